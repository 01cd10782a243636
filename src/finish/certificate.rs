//! The certificate of a finish: the backup, the dropped objects, and the objects left for other owners.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use super::objects::{self, OwnedObject};
use super::persons;
use crate::error::Result;
use crate::files::{Manifest, restore_hint};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::postgres::Database;
use crate::postgres::step::during;
use crate::quarantine::HeldCopies;

/// Name of the certificate's file, beside the backup's manifest.
pub(super) const FILE: &str = "certificate.json";

/// Content of `certificate.json` and output of `--json`: names, counts and hashes; no row, no password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishCertificate {
    pub cutover_id: Uuid,
    pub begun_at: String,
    pub finished_at: String,
    /// The operator's account on this machine.
    pub operator: String,
    pub leadbridge_version: String,
    pub traffic: FinishedServer,
    pub reverse: ReverseState,
    pub backup: Backup,
    pub dropped: Vec<OwnedObject>,
    /// Objects that leadbridge's role may not drop. The objects are harmless without the slots, and the owner
    /// has to remove them.
    pub left_for_owner: Vec<OwnedObject>,
    /// Copies of rows that were removed from leadbridge's tables on Traffic.
    #[serde(default)]
    pub copies_removed: HeldCopies,
    /// Conversion notes that stay on Traffic, as the operator wished.
    #[serde(default)]
    pub notes_kept: u64,
    /// SQL that removes Landing's tables and the fence around the tables; never run by leadbridge.
    pub drop_tables: String,
}

/// Traffic at the time of the certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedServer {
    pub host: String,
    pub database: String,
    pub server_version: String,
    pub wal_position: Lsn,
}

/// Position of reverse replication when the backup was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReverseState {
    pub slot: String,
    /// Everything that Traffic committed before this position is in the backup.
    pub applied_lsn: Lsn,
    /// Number of later transactions that the backup lacks, because `--max-behind` allowed the gap; null when
    /// not known.
    pub left_behind: Option<u64>,
}

/// Place and content of the backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    pub machine: String,
    pub directory: PathBuf,
    pub manifest: Manifest,
}

impl FinishCertificate {
    /// The certificate as text for people.
    pub fn text(&self) -> String {
        let Backup { machine, directory, manifest } = &self.backup;
        let source = &manifest.source;
        let mut text = format!(
            "The move is finished ({}, by {}).\n\nBackup of {} on {}, as of {} at {}:\n  {}:{}\n",
            self.finished_at,
            self.operator,
            source.database,
            source.host,
            source.taken_at,
            source.wal_position,
            machine,
            directory.display()
        );
        // Writing to a String cannot fail.
        for file in &manifest.tables {
            let _ = writeln!(
                text,
                "  {}: {} rows, {} bytes, SHA-256 {}",
                file.file, file.rows, file.bytes, file.sha256
            );
            for generated in &file.generated {
                let _ = writeln!(text, "    without {}, which is generated", generated.column.name);
            }
        }
        if self.reverse.left_behind != Some(0) {
            let behind = self
                .reverse
                .left_behind
                .map_or("what".to_owned(), |count| format!("{count} transactions that"));
            let _ = writeln!(
                text,
                "  It may lack {behind} Traffic committed after {}: Traffic has them.",
                self.reverse.applied_lsn
            );
        }
        let _ = writeln!(text, "\nTo restore it, in psql:\n{}", indented(&restore_hint(manifest, directory)));
        text.push_str("Dropped, or taken away:\n");
        for (_, line) in objects::summary(self.dropped.iter()) {
            let _ = writeln!(text, "  {line}");
        }
        text.push_str(
            "\nLanding's tables are still there, and so is the fence around them: writers are refused as before. When \
             nobody\nneeds the tables any more, their owner runs on Landing:\n",
        );
        text.push_str(&indented(&self.drop_tables));
        text.push_str(&persons::left(self));
        text.push_str(&left(&self.left_for_owner));
        text
    }
}

/// The objects that other owners have to drop, with the SQL; empty if there are none.
fn left(objects: &[OwnedObject]) -> String {
    let mut text = String::new();
    if !objects.is_empty() {
        text.push_str(
            "\nLeft for the owner, since our role may not drop it or take it away. A role with REPLICATION may still \
             read the\nchanges of every table of its server:\n",
        );
    }
    for object in objects {
        let owner = object.owner.as_deref().unwrap_or("a superuser");
        let note = object.note.as_ref().map_or_else(String::new, |note| format!("; {note}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {};  -- on the {}, as {owner}{note}", object.sql, object.database);
    }
    text
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("  {line}\n")).collect()
}

/// SQL that removes Landing's tables, referring tables first, and then the fence. PostgreSQL refuses the drop
/// while another table refers to Landing's tables, so the SQL names each such table in a comment.
pub(super) async fn drop_tables(landing: Database<'_>, tables: &[Table]) -> Result<String> {
    let ours: Vec<String> = tables.iter().map(|table| landing.table(*table)).collect();
    let sql = "WITH ours AS (SELECT to_regclass(name)::oid AS oid FROM unnest($1::text[]) AS name) \
               SELECT DISTINCT conrelid::regclass::text FROM pg_constraint \
               WHERE contype = 'f' AND confrelid IN (SELECT oid FROM ours) \
               AND NOT EXISTS (SELECT FROM ours WHERE ours.oid = conrelid) ORDER BY 1";
    let step = landing.during("looking for what refers to Landing's tables");
    let others = step.rows(sql, &[&ours]).await?;
    let mut text = "BEGIN;\n".to_owned();
    // Writing to a String cannot fail.
    for row in others {
        let _ = writeln!(text, "-- {} refers to them and is not in the backup", row.get::<_, &str>(0));
    }
    for table in ours.iter().rev() {
        let _ = writeln!(text, "DROP TABLE {table};");
    }
    let schema = postgres_protocol::escape::escape_identifier(&landing.names.schema);
    let _ = write!(text, "DROP SCHEMA {schema} CASCADE;\nCOMMIT;\n");
    Ok(text)
}

/// Traffic's version and WAL position, and the time by Traffic's clock.
pub(super) async fn server(
    traffic: &Client,
    endpoint: &crate::postgres::Endpoint,
) -> Result<(FinishedServer, String)> {
    let sql = "SELECT current_setting('server_version'), pg_current_wal_insert_lsn(), clock_timestamp()";
    let row = during(traffic, "reading Traffic's WAL position").row(sql, &[]).await?;
    let server = FinishedServer {
        host: endpoint.hosts(),
        database: endpoint.database().to_owned(),
        server_version: row.get(0),
        wal_position: row.get::<_, PgLsn>(1).into(),
    };
    Ok((server, row.get::<_, crate::model::timestamp::Timestamp>(2).to_string()))
}
