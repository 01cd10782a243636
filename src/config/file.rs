//! The TOML file as written. Errors name key, file and line, and never show the line, because the line may
//! hold a URL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::alert::{Alert, AlertSection};
use super::values::{self, Listen, LogFormat};
use super::verify::VerifySection;
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::column_rules::{ColumnRules, TableColumnRules};
use crate::model::names::{JOURNEY_NAMES, Names, check_name};
use crate::model::same_id::SameId;
use crate::model::truncate::OnTruncate;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    #[serde(deserialize_with = "secret")]
    pub landing_database_url: Option<Located<SecretString>>,
    #[serde(deserialize_with = "secret")]
    pub traffic_database_url: Option<Located<SecretString>>,
    pub state_dir: PathBuf,
    #[serde(deserialize_with = "values::parsed")]
    pub http_listen: Listen,
    pub http_token_file: Option<PathBuf>,
    pub scheduled_notifications: bool,
    pub names: NamesTable,
    /// By a table's name on Landing.
    columns: BTreeMap<String, ColumnsTable>,
    /// The checked form of `columns`.
    #[serde(skip)]
    pub column_rules: ColumnRules,
    pub stream: StreamSection,
    pub snapshot: SnapshotSection,
    pub cutover: Cutover,
    pub privacy: Privacy,
    pub retry: Retry,
    pub verify: VerifySection,
    alert: AlertSection,
    /// The checked form of `alert`.
    #[serde(skip)]
    pub alerts: Alert,
    pub log: LogTable,
}

impl Default for File {
    fn default() -> Self {
        File {
            landing_database_url: None,
            traffic_database_url: None,
            state_dir: "/var/lib/leadbridge".into(),
            http_listen: Listen::At(([127, 0, 0, 1], 9187).into()),
            http_token_file: None,
            scheduled_notifications: false,
            names: NamesTable::default(),
            columns: BTreeMap::new(),
            column_rules: ColumnRules::default(),
            stream: StreamSection::default(),
            snapshot: SnapshotSection::default(),
            cutover: Cutover::default(),
            privacy: Privacy::default(),
            retry: Retry::default(),
            verify: VerifySection::default(),
            alert: AlertSection::default(),
            alerts: Alert::default(),
            log: LogTable::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamesTable {
    #[serde(deserialize_with = "slot")]
    slot: String,
    #[serde(deserialize_with = "publication")]
    publication: String,
    #[serde(deserialize_with = "own_schema")]
    schema: String,
    #[serde(deserialize_with = "identifier")]
    landing_schema: String,
    #[serde(deserialize_with = "identifier")]
    traffic_schema: String,
    /// `None`: the name is found on Landing.
    #[serde(deserialize_with = "journey")]
    pub landing_journey: Option<String>,
}

impl Default for NamesTable {
    fn default() -> Self {
        let Names { slot, publication, schema, landing_schema, traffic_schema, landing_journey: _ } =
            Names::default();
        NamesTable { slot, publication, schema, landing_schema, traffic_schema, landing_journey: None }
    }
}

impl From<NamesTable> for Names {
    fn from(table: NamesTable) -> Self {
        let NamesTable { slot, publication, schema, landing_schema, traffic_schema, landing_journey } = table;
        let landing_journey = landing_journey.unwrap_or(Names::default().landing_journey);
        Names { slot, publication, schema, landing_schema, traffic_schema, landing_journey }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnsTable {
    #[serde(deserialize_with = "renamed")]
    rename: BTreeMap<String, String>,
    skip: BTreeSet<String>,
}

/// The decisions about columns. `journey` is the journey's configured name on Landing.
///
/// # Errors
/// Usage, for a table that is not replicated, or a table that stands twice under two names.
fn column_rules(
    columns: BTreeMap<String, ColumnsTable>,
    journey: Option<&str>,
    path: &Path,
) -> Result<ColumnRules> {
    let mut rules = ColumnRules::default();
    for (name, ColumnsTable { rename, skip }) in columns {
        let is_journey = JOURNEY_NAMES.contains(&&*name) || journey == Some(&*name);
        let table = if is_journey { Some(Table::LeadJourney) } else { Table::from_label(&name) };
        let wrong = |what: &str| {
            // What is no plain name may be a URL with a password.
            let section = if is_plain(&name) { format!("[columns.{name}]") } else { "[columns]".to_owned() };
            Error::usage(format!("{}: {section} {what}", path.display()))
                .remedy(message!("config-remedy-columns-section"))
        };
        let table = table.ok_or_else(|| wrong("is no replicated table of Landing"))?;
        if rules.0.insert(table, TableColumnRules { rename, skip }).is_some() {
            return Err(wrong("is a table that has a section already, under another name"));
        }
    }
    Ok(rules)
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSection {
    #[serde(deserialize_with = "values::parsed")]
    pub on_truncate: OnTruncate,
    #[serde(deserialize_with = "values::within::<_, 1, 1_000_000>")]
    pub batch_rows: usize,
    #[serde(deserialize_with = "values::batch_bytes")]
    pub batch_bytes: usize,
    #[serde(deserialize_with = "values::duration")]
    pub checkpoint_interval: Duration,
    #[serde(deserialize_with = "values::bytes")]
    pub max_lag_bytes: u64,
    #[serde(deserialize_with = "values::seconds")]
    pub max_lag_seconds: f64,
}

impl Default for StreamSection {
    fn default() -> Self {
        StreamSection {
            on_truncate: OnTruncate::default(),
            batch_rows: 10_000,
            batch_bytes: 4 << 20,
            checkpoint_interval: Duration::from_secs(10),
            max_lag_bytes: 64 << 20,
            max_lag_seconds: 60.0,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotSection {
    #[serde(deserialize_with = "values::within::<_, 1, 32>")]
    pub workers: usize,
    pub defer_indexes: bool,
    #[serde(deserialize_with = "values::parsed")]
    pub same_id: SameId,
    #[serde(deserialize_with = "values::duration")]
    pub slot_creation_timeout: Duration,
    pub slot_failover: bool,
}

impl Default for SnapshotSection {
    fn default() -> Self {
        SnapshotSection {
            workers: 2,
            defer_indexes: true,
            same_id: SameId::default(),
            slot_creation_timeout: Duration::from_secs(600),
            slot_failover: false,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cutover {
    #[serde(deserialize_with = "message")]
    pub message: String,
    #[serde(deserialize_with = "variables")]
    pub hook_environment: Vec<String>,
}

impl Default for Cutover {
    fn default() -> Self {
        Cutover {
            message: "writes to this table are closed for maintenance".into(),
            hook_environment: Vec::new(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    #[serde(deserialize_with = "accepted")]
    pub accept: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    #[serde(deserialize_with = "values::duration")]
    pub initial: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { initial: Duration::from_millis(200), max: Duration::from_secs(30) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogTable {
    #[serde(deserialize_with = "filter")]
    pub filter: String,
    #[serde(deserialize_with = "values::parsed")]
    pub format: LogFormat,
}

impl Default for LogTable {
    fn default() -> Self {
        LogTable { filter: "info".into(), format: LogFormat::default() }
    }
}

/// A value and its line. While parsing, `line` holds the offset in bytes.
#[derive(Clone, Debug)]
pub struct Located<T> {
    pub value: T,
    pub line: usize,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Located<SecretString>>, D::Error> {
    let written = Spanned::<String>::deserialize(from)?;
    let line = written.span().start;
    Ok(Some(Located { value: written.into_inner().into(), line }))
}

fn slot<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    values::checked(from, values::slot)
}

fn publication<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    values::checked(from, values::publication)
}

fn own_schema<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    values::checked(from, values::own_schema)
}

fn identifier<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    values::checked(from, values::identifier)
}

fn journey<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    values::checked(from, values::journey).map(Some)
}

fn renamed<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let rename = BTreeMap::<String, String>::deserialize(from)?;
    for (column, name) in &rename {
        check_name(name)
            .map_err(|why| serde::de::Error::custom(format!("`{name}`, the new name of {column}, {why}")))?;
    }
    Ok(rename)
}

fn message<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    values::checked(from, values::message)
}

fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    values::each(from, values::variable)
}

fn accepted<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    values::each(from, values::role_and_object)
}

fn filter<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    values::checked(from, values::filter)
}

/// Parses the file's text. `path` is for the messages.
pub fn parse(text: &str, path: &Path) -> Result<File> {
    let mut file: File = toml::from_str(text).map_err(|error| explain(&error, text, path))?;
    for url in [&mut file.landing_database_url, &mut file.traffic_database_url].into_iter().flatten() {
        url.line = line_at(text, url.line);
    }
    let journey = file.names.landing_journey.as_deref();
    file.column_rules = column_rules(std::mem::take(&mut file.columns), journey, path)?;
    if file.retry.initial > file.retry.max {
        return Err(Error::usage(format!("{}: retry.initial is longer than retry.max", path.display()))
            .remedy(message!("config-remedy-retry-pause")));
    }
    file.alerts = std::mem::take(&mut file.alert).checked().map_err(|why| {
        Error::usage(format!("{}: {why}", path.display())).remedy(message!("config-remedy-alerting"))
    })?;
    Ok(file)
}

fn explain(error: &toml::de::Error, text: &str, path: &Path) -> Error {
    let line = line_at(text, error.span().map_or(0, |span| span.start));
    let key = key_on(text, line).map_or_else(String::new, |key| format!(", key `{key}`"));
    // A message may quote a value under a wrong key, and the value may be a URL with a password.
    let message = if error.message().contains("://") {
        "a database URL stands where something else is expected"
    } else {
        error.message()
    };
    Error::usage(format!("{}, line {line}{key}: {message}", path.display()))
        .remedy(message!("config-remedy-line"))
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

/// The key in a line, if the text before the equals sign looks like a key.
fn key_on(text: &str, line: usize) -> Option<&str> {
    let (key, _) = text.lines().nth(line - 1)?.split_once('=')?;
    let key = key.trim();
    (is_plain(key) && !key.is_empty()).then_some(key)
}

/// Whether a key needs no quotes.
fn is_plain(key: &str) -> bool {
    key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}
