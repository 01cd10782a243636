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
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut page);
        page
    }

    fn write(&self, page: &mut String) -> std::fmt::Result {
        let (from, to) = self.direction.sides();
        writeln!(page, "CERTIFICATE OF {} {}\n", self.direction.as_str().to_uppercase(), self.id)?;
        let while_ = if self.direction == Direction::Rollback { " for a while" } else { "" };
        writeln!(page, "Leads are written to {to} now; {from} refuses them{while_}.\n")?;
        for (name, database) in [("Landing", &self.landing), ("Traffic", &self.traffic)] {
            let CertifiedDatabase { host, database, system_identifier, version } = database;
            writeln!(
                page,
                "{name:<26}{database} on {host}, PostgreSQL {version}, system {system_identifier}"
            )?;
        }
        writeln!(page, "{:<26}{}", "leadbridge", self.leadbridge_version)?;
        writeln!(page, "{:<26}SHA-256 {}\n", "configuration", self.configuration_sha256)?;
        let Times { started, fenced, drained, verified, decided } = self.times;
        for (name, at) in [
            ("started", started),
            ("fenced", fenced),
            ("drained", drained),
            ("verified", verified),
            ("decided", decided),
        ] {
            writeln!(page, "{name:<26}{at}")?;
        }
        writeln!(page, "{:<26}{:.3} s", "write pause", self.write_pause_seconds)?;
        writeln!(page, "{:<26}{:.3} s", "until the decision", self.until_decided_seconds)?;
        writeln!(page, "{:<26}{} in {from}'s WAL came through", "marker", self.marker_lsn)?;
        writeln!(page, "{:<26}{} in {to}'s WAL\n", "decided at", self.decided_lsn)?;
        for table in &self.tables {
            self.write_table(page, table)?;
        }
        self.write_writers(page)?;
        writeln!(page, "{:<26}{}", "values changed on the way", self.conversion_notes)?;
        for TrafficOwned { table, columns } in &self.traffic_owned {
            writeln!(page, "{:<26}{table}: {}", "Traffic's, not compared", columns.join(", "))?;
        }
        for column in &self.left_out {
            writeln!(page, "{:<26}{column}", "Landing's, not compared")?;
        }
        let verdict = match (self.complete, self.is_proven()) {
            (false, _) => "Keys and recent rows are equal. Every value is still being compared.",
            (true, true) => match self.direction {
                Direction::Cutover if self.left_out.is_empty() => {
                    "Every value of every row is equal on both sides."
                }
                Direction::Cutover => {
                    "Every value of every row is equal on both sides, in every replicated column."
                }
                Direction::Rollback => {
                    "Landing has every value of every row that reverse replication carries."
                }
            },
            (true, false) => "NOT EQUAL: see above.",
        };
        writeln!(page, "\n{verdict}")
    }

    fn write_writers(&self, page: &mut String) -> std::fmt::Result {
        let Tried { refused, without_privilege, not_tried } = &self.writers;
        writeln!(page, "{:<26}{}", "fence tried as", refused.join(", "))?;
        if !without_privilege.is_empty() {
            writeln!(page, "{:<26}{}", "lacks a privilege", without_privilege.join(", "))?;
        }
        if !not_tried.is_empty() {
            writeln!(page, "{:<26}{}", "and holds, untried, for", not_tried.join(", "))?;
        }
        Ok(())
    }

    fn write_table(&self, page: &mut String, table: &TableProof) -> std::fmt::Result {
        writeln!(page, "{}", table.table)?;
        writeln!(
            page,
            "{:<26}{} on Landing, {} on Traffic",
            "  rows", table.landing_rows, table.traffic_rows
        )?;
        writeln!(page, "{:<26}{} and {}", "  keys", table.landing_keys, table.traffic_keys)?;
        if let Some(contents) = table.contents {
            writeln!(page, "{:<26}{} and {}", "  contents", contents.landing, contents.traffic)?;
        }
        writeln!(page, "{:<26}{}\n", "  differences", table.differences)
    }

    /// Writes the JSON document and the page into `directory`, each as a whole, for this user alone.
    ///
    /// # Errors
    /// Refused when a file cannot be written; the certificate is on Traffic in `leadbridge.cutover` in any
    /// case.
    pub fn save(&self, directory: &Path) -> Result<[PathBuf; 2]> {
        let name = format!("leadbridge-{}-{}", self.direction.as_str(), self.id);
        let json = serde_json::to_string_pretty(self).map_err(|error| {
            Error::internal("the certificate cannot be written as JSON").source_error(error)
        })?;
        let files = [(format!("{name}.json"), json + "\n"), (format!("{name}.txt"), self.page())];
        let mut paths = [PathBuf::new(), PathBuf::new()];
        for ((name, text), path) in files.into_iter().zip(&mut paths) {
            *path = directory.join(name);
            disk::replace(path, text.as_bytes()).map_err(|error| {
                Error::refused(format!("{} cannot be written: {error}", path.display())).remedy(
                    "the certificate is on Traffic, in the column certificate of leadbridge.cutover, all the same",
                )
            })?;
        }
        Ok(paths)
    }
}
