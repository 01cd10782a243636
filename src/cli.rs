//! The command line, as clap types only. A command is added to [`Command`] when the command works.

mod alert;
mod choices;
mod explain;
mod files;
mod migrate;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{Flags, Listen, LogFormat, parse_size};
use crate::cutover::readiness::Compare;
use crate::files::Format;
use crate::language::Language;
use crate::model::change::Table;
use crate::model::names::JOURNEY_NAMES;
pub use alert::{AlertAction, AlertArguments};
pub use explain::ExplainArguments;
pub use files::{ExportArguments, ImportArguments};
pub use migrate::{Migrate, Print};

/// Moves a school's leads from the Landing DB to the Traffic DB, without downtime and without losing a lead.
#[derive(Debug, Parser)]
#[command(name = "leadbridge", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done; 1 a check failed (a difference, lag over a maximum, an error that doctor \
                  found); \
    2 daemon down or replication broken; 3 a database unreachable; 4 refused, an operator must act; \
    64 wrong usage or configuration; 70 internal error.\n\n\
    Example: LANDING_DATABASE_URL=postgresql://… TRAFFIC_DATABASE_URL=postgresql://… leadbridge doctor"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command. A flag takes precedence over the environment, and the environment over the file.
#[derive(Debug, Args)]
pub struct Global {
    /// The configuration file [default: /etc/leadbridge/leadbridge.toml, if the file exists]
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the local checkpoint [env: LEADBRIDGE_STATE_DIR] [default: /var/lib/leadbridge]
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Address of health, status, metrics and status page over HTTP, or off [env: LEADBRIDGE_HTTP_LISTEN] [default: 127.0.0.1:9187]
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "ADDRESS")]
    http_listen: Option<Listen>,
    /// Filter of the log on stderr, in tracing's syntax [env: LEADBRIDGE_LOG] [default: info]
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "FILTER")]
    log: Option<String>,
    /// text or json [env: LEADBRIDGE_LOG_FORMAT] [default: text]
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Language of texts: findings, status, certificate. Logs, JSON and this help stay English [env: LC_ALL,
    /// LC_MESSAGES, LANG] [default: en]
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        value_enum,
        value_name = "LANGUAGE"
    )]
    lang: Option<Language>,
}

impl Global {
    pub fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            state_dir: self.state_dir.clone(),
            http_listen: self.http_listen,
            log: self.log.clone(),
            log_format: self.log_format,
        }
    }

    /// The language of what the command prints for people.
    pub fn language(&self, environment: &dyn Fn(&str) -> Option<String>) -> Language {
        self.lang.unwrap_or_else(|| Language::of_environment(environment))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Migrate(Migrate),
    Doctor(Doctor),
    Run(RunArguments),
    Status(Status),
    Verify(Verify),
    Explain(ExplainArguments),
    Cutover(Cutover),
    Rollback(Rollback),
    Resync(Resync),
    Finish(FinishArguments),
    Quarantine(QuarantineArguments),
    Export(ExportArguments),
    Import(ImportArguments),
    Alert(AlertArguments),
    Demo(Demo),
}

/// Check for every condition that would stop replication, and show a remedy for each finding.
///
/// Changes nothing. Exits 1 on an error.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge doctor --json | jq '.findings[] | select(.level == \"error\")'")]
pub struct Doctor {
    /// Print one JSON document instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Run the daemon: an initial copy (snapshot) if there is none, then the stream.
///
/// After a cutover has switched, the daemon instead carries Traffic's changes back to Landing (reverse
/// replication).
///
/// SIGTERM and SIGINT finish the current transaction and exit 0.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge run --until-caught-up")]
pub struct RunArguments {
    /// Exit 0 once everything committed before the start is applied, or carried back after a cutover
    #[arg(long)]
    pub until_caught_up: bool,
}

/// Show state and lag, also when the daemon is down.
///
/// Exits 0 when all is well, 1 with a lag over a given maximum, 2 when the daemon is down or replication is
/// broken, 3 when a database is unreachable.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge status --max-lag-seconds 60 --max-lag-bytes 16MiB || alert")]
pub struct Status {
    /// Print one JSON document instead of text; with --watch one document on each line
    #[arg(long)]
    pub json: bool,
    /// Watch, until q or Ctrl-C: a full screen on a terminal, which exits 0; elsewhere lines, every 2 seconds
    #[arg(long)]
    pub watch: bool,
    /// Exit 1 when Traffic's lag in bytes is larger than SIZE, such as 1048576 or 16MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_lag_bytes: Option<u64>,
    /// Exit 1 when Traffic's lag in seconds is larger than SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub max_lag_seconds: Option<f64>,
}

/// Compare Landing, through the mapping, with Traffic: row by row, while both are live.
///
/// Rows in flight are compared again once the stream has passed them. Shows ids, columns and counts, never
/// values. Exits 0 when all is equal, 1 on a difference.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge verify --table landing_leads --json | jq .equal")]
pub struct Verify {
    /// Print one JSON document instead of tables
    #[arg(long)]
    pub json: bool,
    /// Compare only this table: landing_leads, lead_journey (or journey_stages) or scheduled_notifications
    #[arg(long, value_name = "TABLE", value_parser = landing_table)]
    pub table: Option<Table>,
    /// How long the stream may take to pass a differing row, before the row counts as a difference
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "30s")]
    pub wait: Duration,
    /// Read no more than ROWS rows of Landing in a second, to leave capacity to the school's site
    #[arg(long, value_name = "ROWS")]
    pub max_rows_per_second: Option<NonZeroU64>,
    /// Write the differing rows again, as the stream would; the daemon must be stopped
    #[arg(long)]
    pub repair: bool,
    /// Go on where a comparison was interrupted (Ctrl-C or SIGTERM)
    #[arg(long, conflicts_with_all = ["repair", "table"])]
    pub resume: bool,
}

/// Make Traffic the system of record: fence Landing, drain, verify, switch. On any failure nothing is
/// changed.
///
/// Checks every condition first, and asks for confirmation, unless --yes. Landing's writers wait for the
/// drain and the proof, and afterwards get an error that names Traffic. Any failure before the decision lifts
/// the fence. Exits 0 when switched, 1 when a condition does not hold, 4 when the cutover was aborted.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge cutover --dry-run && leadbridge cutover --hook ./point-apps")]
pub struct Cutover {
    #[command(flatten)]
    pub change: ChangeArguments,
}

/// Arguments of a cutover and of a rollback.
#[derive(Debug, Args)]
pub struct ChangeArguments {
    /// Check everything and predict the write pause; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Skip the confirmation prompt
    #[arg(long)]
    pub yes: bool,
    /// Print one JSON document instead of text: the findings, or the certificate
    #[arg(long)]
    pub json: bool,
    /// Refuse when a marker takes longer than SECONDS through the stream
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub max_lag_seconds: f64,
    /// Abort when writers would have to wait longer than DURATION
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "2s")]
    pub max_pause: Duration,
    /// Abort when the switch is not decided after DURATION, the hook included
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "60s")]
    pub timeout: Duration,
    /// How long a writer may wait for an attempt to lock the tables. A failed attempt is repeated until the
    /// timeout
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "200ms")]
    pub lock_timeout: Duration,
    /// When every value of every row is compared once more, in the state of both sides under the fence
    #[arg(long, value_enum, default_value = "auto")]
    pub compare: Compare,
    /// Command, run by `sh -c`, that points the applications to the other database. In a cutover the command
    /// runs once Landing refuses writes, and a failure of the command undoes everything. In a rollback the
    /// command runs once Landing takes writes. LEADBRIDGE_DIRECTION holds the direction, LEADBRIDGE_EVENT is
    /// `check` beforehand, when the command must change nothing, then `switch`, and `abort` when the
    /// applications must be pointed back
    #[arg(long, value_name = "CMD")]
    pub hook: Option<String>,
    /// Record that the hook of the last cutover or rollback was run by hand, as `leadbridge status` asks for,
    /// and do nothing else
    #[arg(long, conflicts_with_all = ["dry_run", "hook"])]
    pub hook_settled: bool,
    /// Directory for the certificate, written as JSON and as a page
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub certificate: PathBuf,
}

/// Make Landing the system of record again: fence Traffic, drain, verify, open Landing. Loses nothing.
///
/// Undoes a cutover, with the same proofs. Traffic's writers wait for the drain and the proof, and afterwards
/// get an error that names Landing for a while. Exits as `cutover` does.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge rollback --dry-run && leadbridge rollback --hook ./point-apps")]
pub struct Rollback {
    #[command(flatten)]
    pub change: ChangeArguments,
    /// How long Traffic refuses writes to leads and journey entries afterwards, so that an application that
    /// has not noticed the rollback gets an error; then Traffic's own writers continue as before the cutover.
    /// At least --max-pause
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5m")]
    pub refuse_for: Duration,
}

/// Begin again with a new initial copy (snapshot) into the live Traffic DB.
///
/// Rows born on Traffic and columns that Traffic owns stay as they are. Asks for confirmation, unless --yes.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge resync --yes")]
pub struct Resync {
    /// Skip the confirmation prompt
    #[arg(long)]
    pub yes: bool,
}

/// End a settled cutover: back up Landing's tables, then drop slots, publications and fence functions.
///
/// The daemon must be stopped, and Landing must have everything that Traffic changed since the switch.
/// Landing's tables stay, closed to writers; the command shows the SQL that drops the tables. After an
/// interruption, running the command again continues. Asks for confirmation, unless --yes.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge finish --backup /srv/backup/landing --format jsonl")]
pub struct FinishArguments {
    /// Directory of the backup: new, or empty [default: a new directory in backups/ of the state directory]
    #[arg(long, value_name = "DIR")]
    pub backup: Option<PathBuf>,
    /// Format of the backup's rows
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// How old a change of Traffic may be that the backup lacks, for a Traffic that is never quiet
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "0s")]
    pub max_behind: Duration,
    /// Keep the conversion notes on Traffic, which hold values of leads and which no deletion of a lead reaches any more
    #[arg(long)]
    pub keep_notes: bool,
    /// Skip the confirmation prompt
    #[arg(long)]
    pub yes: bool,
    /// Print the certificate as one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// Show, retry or discard rows that Traffic did not take.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge quarantine list")]
pub struct QuarantineArguments {
    #[command(subcommand)]
    pub action: QuarantineAction,
}

#[derive(Debug, Subcommand)]
pub enum QuarantineAction {
    /// Show one line for each row, without the row's values
    #[command(after_help = "Example: leadbridge quarantine list")]
    List,
    /// Show one row completely, with its values: the values are people's data
    #[command(after_help = "Example: leadbridge quarantine show 17")]
    Show {
        /// The id shown by `list`
        id: i64,
    },
    /// Apply rows again, all rows when no id is given
    #[command(after_help = "Example: leadbridge quarantine retry 17 18")]
    Retry {
        /// The ids shown by `list`
        ids: Vec<i64>,
    },
    /// Give rows up: these rows will not arrive on Traffic. Asks for confirmation, unless --yes
    #[command(after_help = "Example: leadbridge quarantine discard 17")]
    Discard {
        /// The ids shown by `list`
        #[arg(required = true)]
        ids: Vec<i64>,
        /// Skip the confirmation prompt
        #[arg(long)]
        yes: bool,
    },
}

/// Show the whole story on two throw-away PostgreSQL servers, on one screen, within a minute.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge demo")]
pub struct Demo {}

/// The journey is accepted by each of its names, whatever Landing calls the journey.
fn landing_table(text: &str) -> Result<Table, String> {
    if JOURNEY_NAMES.contains(&text) {
        return Ok(Table::LeadJourney);
    }
    Table::from_label(text).ok_or_else(|| {
        format!(
            "not a replicated table of Landing; the replicated tables are {}; {} is lead_journey",
            Table::ALL.map(Table::label).join(", "),
            JOURNEY_NAMES[1]
        )
    })
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
        .ok_or_else(|| format!("`{text}` is not a valid number of seconds"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example: leadbridge"), "{help}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let cli = Cli::try_parse_from(["leadbridge", "status", "--max-lag-bytes", "16MiB"]).unwrap();
        let Command::Status(status) = cli.command else { panic!("another command") };
        assert_eq!(status.max_lag_bytes, Some(16 << 20));
        assert!(Cli::try_parse_from(["leadbridge", "status", "--max-lag-seconds", "-1"]).is_err());
    }
}
