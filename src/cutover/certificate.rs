//! The certificate: the decision, the times, and the proof that nothing was lost, as JSON and as a page of
//! text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use super::content::TableProof;
use super::journal::Direction;
use super::marker::Latency;
use super::readiness::TrafficOwned;
use crate::config::Config;
use crate::disk;
use crate::error::{Error, Result};
use crate::fence::Tried;
use crate::landing::left_out::LeftOut;
use crate::language::{Argument, Language, Message, message};
use crate::model::lsn::Lsn;
use crate::model::sha256;
use crate::model::timestamp::{Timestamp, as_rfc3339};
use crate::postgres::Endpoint;

/// Times are by Traffic's clock, durations by the command's clock.
#[derive(Clone, Debug, Serialize)]
pub struct CutoverCertificate {
    pub id: Uuid,
    pub direction: Direction,
    pub leadbridge_version: &'static str,
    /// SHA-256 of the settings and of both databases' addresses, without passwords.
    pub configuration_sha256: String,
    pub landing: CertifiedDatabase,
    pub traffic: CertifiedDatabase,
    pub times: Times,
    /// From the moment when writers had to wait until the fence refused writers with its message.
    pub write_pause_seconds: f64,
    /// From the same moment until the switch, the hook included; no database took a write during this time.
    /// In a rollback, until the journal entry is resolved, shortly after Landing takes writes.
    pub until_decided_seconds: f64,
    /// Position of the marker in the fenced side's WAL. Everything before the marker is on the other side.
    pub marker_lsn: Lsn,
    /// Position in the other side's WAL when everything was there. After a cutover, changes committed later
    /// flow back.
    pub decided_lsn: Lsn,
    pub writers: Tried,
    pub tables: Vec<TableProof>,
    /// Whether every value of every row was compared, as both sides had the rows inside the fence. False
    /// until then for tables that are too large to be compared while writers wait.
    /// [`CutoverCertificate::is_proven`] also asks whether the rows are equal.
    pub complete: bool,
    pub conversion_notes: u64,
    /// Columns of Traffic that were not compared, because Landing lacks their source and neither direction
    /// writes the columns.
    pub traffic_owned: Vec<TrafficOwned>,
    /// Columns of Landing that are not replicated, and were not compared.
    pub left_out: Vec<LeftOut>,
    pub markers_before: Option<Latency>,
    pub hook: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct CertifiedDatabase {
    pub host: String,
    pub database: String,
    pub system_identifier: String,
    pub version: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    #[serde(serialize_with = "as_rfc3339")]
    pub started: Timestamp,
    #[serde(serialize_with = "as_rfc3339")]
    pub fenced: Timestamp,
    #[serde(serialize_with = "as_rfc3339")]
    pub drained: Timestamp,
    #[serde(serialize_with = "as_rfc3339")]
    pub verified: Timestamp,
    #[serde(serialize_with = "as_rfc3339")]
    pub decided: Timestamp,
}

impl CertifiedDatabase {
    fn message(&self) -> Message {
        let CertifiedDatabase { host, database, system_identifier, version } = self;
        message!(
            "cutover-certificate-database",
            database = database,
            host = host,
            version = version,
            system = system_identifier
        )
    }

    pub fn new(endpoint: &Endpoint, system_identifier: String, version: String) -> Self {
        let (host, database) = (endpoint.hosts(), endpoint.database().to_owned());
        CertifiedDatabase { host, database, system_identifier, version }
    }
}

/// A hash that differs between configurations.
pub fn configuration_hash(config: &Config) -> String {
    // The settings hold no URL, and an endpoint prints without its password.
    let text = format!("{:?}\n{}\n{}", config.settings, config.landing, config.traffic);
    sha256::of(text)
}

impl CutoverCertificate {
    pub fn is_proven(&self) -> bool {
        self.complete && self.tables.iter().all(TableProof::is_equal)
    }

    /// The certificate as a page of text.
    pub fn page(&self, language: Language) -> String {
        let mut page = Page { text: String::new(), language };
        self.write(&mut page);
        page.text
    }

    fn write(&self, page: &mut Page) {
        let (from, to) = self.direction.sides();
        let direction = self.direction.as_str();
        page.line(message!("cutover-certificate-title", direction = direction, id = self.id));
        page.empty_line();
        page.line(match self.direction {
            Direction::Cutover => message!("cutover-certificate-cutover-done"),
            Direction::Rollback => message!("cutover-certificate-rollback-done"),
        });
        page.empty_line();
        for (name, database) in [("Landing", &self.landing), ("Traffic", &self.traffic)] {
            page.row(Message::verbatim(name), database.message());
        }
        page.row(Message::verbatim("leadbridge"), Message::verbatim(self.leadbridge_version));
        let configuration = format!("SHA-256 {}", self.configuration_sha256);
        page.row(message!("cutover-certificate-configuration"), Message::verbatim(configuration));
        page.empty_line();
        let Times { started, fenced, drained, verified, decided } = self.times;
        for (name, at) in [
            (message!("cutover-step-started"), started),
            (message!("cutover-step-fenced"), fenced),
            (message!("cutover-step-drained"), drained),
            (message!("cutover-step-verified"), verified),
            (message!("cutover-certificate-decided"), decided),
        ] {
            page.row(name, Message::verbatim(at.to_string()));
        }
        page.row(message!("cutover-certificate-write-pause"), seconds(self.write_pause_seconds));
        page.row(message!("cutover-certificate-until-decided"), seconds(self.until_decided_seconds));
        let marker = message!("cutover-certificate-came-through", position = self.marker_lsn, from = from);
        page.row(message!("cutover-certificate-marker"), marker);
        let decided_at = message!("cutover-certificate-position", position = self.decided_lsn, to = to);
        page.row(message!("cutover-certificate-decided-at"), decided_at);
        page.empty_line();
        for table in &self.tables {
            write_table(page, table);
        }
        self.write_writers(page);
        let notes = Message::verbatim(self.conversion_notes.to_string());
        page.row(message!("cutover-certificate-changed"), notes);
        for TrafficOwned { table, columns } in &self.traffic_owned {
            let columns = Message::verbatim(format!("{table}: {}", columns.join(", ")));
            page.row(message!("cutover-certificate-traffic-owned"), columns);
        }
        for column in &self.left_out {
            page.row(message!("cutover-certificate-left-out"), column.message());
        }
        page.empty_line();
        page.line(self.verdict());
    }

    fn verdict(&self) -> Message {
        match (self.complete, self.is_proven()) {
            (false, _) => message!("cutover-certificate-comparing"),
            (true, true) => match self.direction {
                Direction::Cutover if self.left_out.is_empty() => message!("cutover-certificate-equal"),
                Direction::Cutover => message!("cutover-certificate-equal-where-replicated"),
                Direction::Rollback => message!("cutover-certificate-equal-backward"),
            },
            (true, false) => message!("cutover-certificate-not-equal"),
        }
    }

    fn write_writers(&self, page: &mut Page) {
        let Tried { refused, without_privilege, not_tried } = &self.writers;
        let roles = |roles: &[String]| Message::verbatim(roles.join(", "));
        page.row(message!("cutover-certificate-tried"), roles(refused));
        if !without_privilege.is_empty() {
            page.row(message!("cutover-certificate-without-privilege"), roles(without_privilege));
        }
        if !not_tried.is_empty() {
            page.row(message!("cutover-certificate-not-tried"), roles(not_tried));
        }
    }

    /// Writes the JSON document and the page, in `language`, into `directory`, each as a whole, for this user alone.
    ///
    /// # Errors
    /// Refused when a file cannot be written; the certificate is on Traffic in `leadbridge.cutover` in any
    /// case.
    pub fn save(&self, directory: &Path, language: Language) -> Result<[PathBuf; 2]> {
        let name = format!("leadbridge-{}-{}", self.direction.as_str(), self.id);
        let json = serde_json::to_string_pretty(self).map_err(|error| {
            Error::internal("the certificate cannot be written as JSON").source_error(error)
        })?;
        let files = [(format!("{name}.json"), json + "\n"), (format!("{name}.txt"), self.page(language))];
        let mut paths = [PathBuf::new(), PathBuf::new()];
        for ((name, text), path) in files.into_iter().zip(&mut paths) {
            *path = directory.join(name);
            disk::replace(path, text.as_bytes()).map_err(|error| {
                Error::refused(format!("{} cannot be written: {error}", path.display()))
                    .remedy(message!("cutover-remedy-certificate-on-traffic"))
            })?;
        }
        Ok(paths)
    }
}

/// The page while it is written, in its reader's language.
struct Page {
    text: String,
    language: Language,
}

impl Page {
    fn line(&mut self, line: Message) {
        self.text += &line.in_language(self.language);
        self.text.push('\n');
    }

    fn empty_line(&mut self) {
        self.text.push('\n');
    }

    fn row(&mut self, name: Message, value: Message) {
        self.write_row("", &name, &value);
    }

    /// A row about one table.
    fn indented_row(&mut self, name: Message, value: Message) {
        self.write_row("  ", &name, &value);
    }

    fn write_row(&mut self, indent: &str, name: &Message, value: &Message) {
        let name = format!("{indent}{}", name.in_language(self.language));
        // Writing to a String cannot fail. A letter of either language is one column wide.
        let _ = writeln!(self.text, "{name:<26}{}", value.in_language(self.language));
    }
}

fn seconds(seconds: f64) -> Message {
    message!("figures-seconds", seconds = Argument::Decimal(format!("{seconds:.3}")))
}

fn write_table(page: &mut Page, table: &TableProof) {
    page.line(Message::verbatim(table.table.to_string()));
    page.indented_row(
        message!("cutover-certificate-rows"),
        message!(
            "cutover-certificate-row-counts",
            landing = table.landing_rows,
            traffic = table.traffic_rows
        ),
    );
    let hashes = |landing: String, traffic: String| {
        message!("cutover-certificate-hashes", landing = landing, traffic = traffic)
    };
    let keys = hashes(table.landing_keys.to_string(), table.traffic_keys.to_string());
    page.indented_row(message!("cutover-certificate-keys"), keys);
    if let Some(contents) = table.contents {
        let contents = hashes(contents.landing.to_string(), contents.traffic.to_string());
        page.indented_row(message!("cutover-certificate-contents"), contents);
    }
    let differences = Message::verbatim(table.differences.to_string());
    page.indented_row(message!("cutover-certificate-differences"), differences);
    page.empty_line();
}
