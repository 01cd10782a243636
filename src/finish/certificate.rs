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
use crate::language::{Language, Message, message};
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
    pub fn text(&self, language: Language) -> String {
        let lines = self.lines().into_iter().map(|line| line.in_language(language) + "\n");
        lines.collect()
    }

    fn lines(&self) -> Vec<Message> {
        let empty = || Message::verbatim("");
        let sql =
            |text: &str| text.lines().map(|line| Message::verbatim(line).indented(2)).collect::<Vec<_>>();
        let Backup { machine, directory, manifest } = &self.backup;
        let source = &manifest.source;
        let mut lines = vec![
            message!("finish-done", at = &self.finished_at, operator = &self.operator),
            empty(),
            message!(
                "finish-backup",
                database = &source.database,
                host = &source.host,
                at = source.taken_at.to_string(),
                position = source.wal_position
            ),
            Message::verbatim(format!("{machine}:{}", directory.display())).indented(2),
        ];
        for file in &manifest.tables {
            let content = message!(
                "finish-backup-file",
                file = &file.file,
                rows = file.rows,
                bytes = file.bytes,
                sha = &file.sha256
            );
            lines.push(content.indented(2));
            lines.extend(file.generated.iter().map(|generated| {
                message!("finish-backup-generated", column = &generated.column.name).indented(4)
            }));
        }
        let position = self.reverse.applied_lsn;
        lines.extend(match self.reverse.left_behind {
            Some(0) => None,
            Some(count) => {
                Some(message!("finish-backup-lacks", count = count, position = position).indented(2))
            }
            None => Some(message!("finish-backup-may-lack", position = position).indented(2)),
        });
        lines.extend([empty(), message!("finish-restore")]);
        lines.extend(sql(&restore_hint(manifest, directory)));
        lines.extend([empty(), message!("finish-dropped")]);
        lines.extend(objects::summary(self.dropped.iter()).into_iter().map(|(_, line)| line.indented(2)));
        lines.extend([empty(), message!("finish-drop-tables")]);
        lines.extend(sql(&self.drop_tables));
        lines.push(empty());
        lines.extend(persons::left(self));
        if !self.left_for_owner.is_empty() {
            lines.extend([empty(), message!("finish-left")]);
        }
        lines.extend(self.left_for_owner.iter().map(|object| left(object).indented(2)));
        lines
    }
}

/// An object that another owner has to drop, with the SQL.
fn left(object: &OwnedObject) -> Message {
    let superuser = || message!("finish-left-superuser");
    let owner = object.owner.as_ref().map_or_else(superuser, Message::verbatim);
    let as_whom = message!("finish-left-object", side = object.database, owner = owner);
    let note = object.note.as_ref().map(Message::verbatim);
    let comment = Message::joined([Some(as_whom), note].into_iter().flatten(), "; ");
    Message::joined([Message::verbatim(format!("{};", object.sql)), comment], "  -- ")
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
