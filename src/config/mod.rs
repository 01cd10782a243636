//! The operator's configuration: file, then environment, then flags. `file` is the raw form, [`Config`] the
//! checked form.

mod alert;
mod file;
mod journey;
mod secret_file;
mod values;
mod verify;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::column_rules::ColumnRules;
use crate::model::names::Names;
use crate::model::same_id::SameId;
use crate::model::side::Side;
use crate::model::truncate::OnTruncate;
use crate::postgres::Endpoint;
pub use alert::{Alert, AlertLimits, AlertTimes, Mail, Telegram};
use file::{File, Located};
pub use secret_file::read_secret;
pub use values::{Listen, LogFormat, size as parse_size};
pub use verify::BackgroundVerify;

/// Path of the file when no flag names another file. The file at this path may be absent.
pub const DEFAULT_FILE: &str = "/etc/leadbridge/leadbridge.toml";

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub landing: Endpoint,
    pub traffic: Endpoint,
    pub settings: Settings,
}

/// All settings but the two databases, for commands that connect to no database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As configured; [`Config::resolved`] puts in the names that Landing has.
    pub names: Names,
    /// The configured name of the journey's table on Landing; `None` when the name is to be found.
    pub landing_journey: Option<String>,
    /// Directory of the local store (sled).
    pub state_dir: PathBuf,
    /// Address for health, status, metrics and the status page; `None` when switched off.
    pub http_listen: Option<SocketAddr>,
    /// File with the token that readers of status, metrics and page must have; `None` when only this machine reads.
    pub http_token_file: Option<PathBuf>,
    /// Whether the optional table `scheduled_notifications` is replicated too.
    pub scheduled_notifications: bool,
    /// Decisions about columns that no rule of the mapping reads.
    pub columns: ColumnRules,
    pub on_truncate: OnTruncate,
    /// A batch for Traffic closes at this many rows or bytes, whichever comes first.
    pub batch_rows: usize,
    pub batch_bytes: usize,
    /// Interval at which the position of an idle stream is written down.
    pub checkpoint_interval: Duration,
    /// `/readyz` answers "not ready" above either limit.
    pub max_lag_bytes: u64,
    pub max_lag_seconds: f64,
    pub snapshot_workers: usize,
    /// Whether a snapshot into an empty table defers the table's indexes until the rows are copied.
    pub defer_indexes: bool,
    /// What a copy does with Traffic's own leads that have the ids of Landing's leads.
    pub same_id: SameId,
    /// How long the slot's creation may wait for old transactions on Landing.
    pub slot_creation_timeout: Duration,
    /// Whether the slot is created so that standbys keep a copy of the slot.
    pub slot_failover: bool,
    /// Message to a writer refused by the fence of a cutover or a rollback.
    pub fence_message: String,
    /// Names of environment variables that a hook gets, besides those that every hook gets.
    pub hook_environment: Vec<String>,
    /// Rights on Traffic beyond those on Landing that are meant: `role:object`.
    pub accepted_access: Vec<String>,
    /// The first and the longest pause between two attempts.
    pub retry_initial: Duration,
    pub retry_max: Duration,
    pub verify: BackgroundVerify,
    /// Whom the daemon tells about trouble.
    pub alert: Alert,
    pub log: Log,
}

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter, such as `leadbridge=debug,info`.
    pub filter: String,
    pub format: LogFormat,
}

/// Lets a caller read a setting without naming the level `settings`.
impl std::ops::Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

/// Flags of the command line. A flag wins over environment and file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    pub http_listen: Option<Listen>,
    pub log: Option<String>,
    pub log_format: Option<LogFormat>,
}

/// Looks up an environment variable; [`environment`] looks in the process's own environment.
pub use crate::postgres::Environment;

/// The process's own environment. An empty variable counts as unset.
pub fn environment(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    Some(value).filter(|value| !value.is_empty())
}

impl Config {
    /// Reads file, environment and flags, including the two URLs.
    ///
    /// # Errors
    /// `Usage`, naming key, file and line; `Refused` for a pooler. No error shows a URL.
    pub fn load(flags: &Flags, env: Environment<'_>) -> Result<Config> {
        let (file, source) = read(flags, env)?;
        Config::checked(file, &source, flags, env)
    }

    /// Reads like [`Config::load`], with `text` for the content of the file `source`.
    ///
    /// # Errors
    /// Errors of [`Config::load`].
    pub fn of_text(text: &str, source: &Path, flags: &Flags, env: Environment<'_>) -> Result<Config> {
        Config::checked(file::parse(text, source)?, source, flags, env)
    }

    fn checked(file: File, source: &Path, flags: &Flags, env: Environment<'_>) -> Result<Config> {
        let landing = endpoint(Side::Landing, file.landing_database_url.as_ref(), source, env)?;
        let traffic = endpoint(Side::Traffic, file.traffic_database_url.as_ref(), source, env)?;
        Ok(Config { landing, traffic, settings: settings(file, flags, env)? })
    }
}

impl Settings {
    /// The tables replicated with this configuration, leads first.
    pub fn tables(&self) -> Vec<Table> {
        Table::replicated(self.scheduled_notifications)
    }

    /// Reads like [`Config::load`], for commands that connect to no configured database: the URLs may be
    /// missing.
    pub fn load(flags: &Flags, env: Environment<'_>) -> Result<Settings> {
        let (file, _) = read(flags, env)?;
        settings(file, flags, env)
    }
}

fn read(flags: &Flags, env: Environment<'_>) -> Result<(File, PathBuf)> {
    let named = flags.config.clone().or_else(|| env("LEADBRIDGE_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((file::parse(&text, &path)?, path)),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok((file::parse("", &path)?, path))
        }
        Err(error) => {
            Err(Error::usage(format!("the configuration {} cannot be read: {error}", path.display()))
                .remedy(message!("config-remedy-file")))
        }
    }
}

fn settings(file: File, flags: &Flags, env: Environment<'_>) -> Result<Settings> {
    let http_listen = match (flags.http_listen, env("LEADBRIDGE_HTTP_LISTEN")) {
        (Some(flag), _) => flag,
        (None, Some(text)) => text.parse().map_err(|error| bad_variable("LEADBRIDGE_HTTP_LISTEN", error))?,
        (None, None) => file.http_listen,
    };
    Ok(Settings {
        log: log(&file, flags, env)?,
        landing_journey: file.names.landing_journey.clone(),
        names: file.names.into(),
        state_dir: flags
            .state_dir
            .clone()
            .or_else(|| env("LEADBRIDGE_STATE_DIR").map(PathBuf::from))
            .unwrap_or(file.state_dir),
        http_listen: http_listen.address(),
        http_token_file: env("LEADBRIDGE_HTTP_TOKEN_FILE").map(PathBuf::from).or(file.http_token_file),
        scheduled_notifications: file.scheduled_notifications,
        columns: file.column_rules,
        on_truncate: file.stream.on_truncate,
        batch_rows: file.stream.batch_rows,
        batch_bytes: file.stream.batch_bytes,
        checkpoint_interval: file.stream.checkpoint_interval,
        max_lag_bytes: file.stream.max_lag_bytes,
        max_lag_seconds: file.stream.max_lag_seconds,
        snapshot_workers: file.snapshot.workers,
        defer_indexes: file.snapshot.defer_indexes,
        same_id: file.snapshot.same_id,
        slot_creation_timeout: file.snapshot.slot_creation_timeout,
        slot_failover: file.snapshot.slot_failover,
        fence_message: file.cutover.message,
        hook_environment: file.cutover.hook_environment,
        accepted_access: file.privacy.accept,
        retry_initial: file.retry.initial,
        retry_max: file.retry.max,
        verify: file.verify.into(),
        alert: file.alerts,
    })
}

fn log(file: &File, flags: &Flags, env: Environment<'_>) -> Result<Log> {
    let filter = match (&flags.log, env("LEADBRIDGE_LOG")) {
        (Some(flag), _) => values::filter(flag).map_err(|error| bad_variable("--log", error))?,
        (None, Some(text)) => values::filter(&text).map_err(|error| bad_variable("LEADBRIDGE_LOG", error))?,
        (None, None) => file.log.filter.clone(),
    };
    let format = match (flags.log_format, env("LEADBRIDGE_LOG_FORMAT")) {
        (Some(flag), _) => flag,
        (None, Some(text)) => text.parse().map_err(|error| bad_variable("LEADBRIDGE_LOG_FORMAT", error))?,
        (None, None) => file.log.format,
    };
    Ok(Log { filter, format })
}

fn bad_variable(name: &str, why: String) -> Error {
    Error::usage(format!("{name}: {why}")).remedy(message!("config-remedy-variable"))
}

/// The endpoint by the URL in the environment, in the file named by the environment, or in the configuration,
/// in this order.
fn endpoint(
    side: Side,
    configured: Option<&Located<SecretString>>,
    source: &Path,
    env: Environment<'_>,
) -> Result<Endpoint> {
    let variable = side.variable();
    let file_variable = format!("{variable}_FILE");
    match (env(variable), env(&file_variable), configured) {
        (Some(_), Some(_), _) => Err(Error::usage(format!("{variable} and {file_variable} are both set"))
            .remedy(message!("config-remedy-both-urls"))),
        (Some(url), None, _) => Endpoint::parse_in(side, &SecretString::from(url), env),
        (None, Some(path), _) => {
            let url = std::fs::read_to_string(&path).map_err(|error| {
                Error::usage(format!("{file_variable}: {path} cannot be read: {error}"))
                    .remedy(message!("config-remedy-url-file"))
            })?;
            Endpoint::parse_in(side, &SecretString::from(url), env).map_err(|error| error.context(path))
        }
        (None, None, Some(url)) => Endpoint::parse_in(side, &url.value, env).map_err(|error| {
            let key = variable.to_lowercase();
            error.context(format!("{}, line {}, key `{key}`", source.display(), url.line))
        }),
        (None, None, None) => Err(Error::usage(format!("the URL of the {side} is not set"))
            .remedy(message!("config-remedy-no-url", variable = variable, file_variable = file_variable))),
    }
}

#[cfg(test)]
mod tests;
