//! Traffic's record of a finish: `leadbridge.finish`, one row for each slot. A run that was killed is
//! continued from this record.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Client;
use tokio_postgres::types::{PgLsn, ToSql};
use uuid::Uuid;

use super::certificate::FinishCertificate;
use super::objects::OwnedObject;
use super::standing::SettledCutover;
use crate::error::{Error, Result};
use crate::files::Manifest;
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::operator;
use crate::postgres::step::during;

const WRITING: &str = "writing the finish on Traffic";

/// Progress of an earlier run.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishRecord {
    pub cutover_id: Uuid,
    /// Position of reverse replication on Traffic when the backup began. Landing's tables are unchanged as
    /// long as the position is.
    pub reverse_applied: Lsn,
    /// Number of Traffic's transactions that Landing lacks, as the operator allowed; `None` when not known.
    pub left_behind: Option<u64>,
    pub directory: PathBuf,
    pub begun_at: Timestamp,
    /// `None` until the backup is complete; from then on the slots may be gone.
    pub dismantling: Option<Dismantling>,
    /// Present once the finish has ended.
    pub certificate: Option<FinishCertificate>,
}

/// The point of no return: the backup is complete, and objects may be dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Dismantling {
    pub manifest: Manifest,
    /// All objects that were found before the first drop.
    pub objects: Vec<OwnedObject>,
}

/// Reads and writes the row of `leadbridge.finish`. Writing needs a session that holds the lease.
pub struct FinishJournal {
    table: String,
    slot: String,
}

impl FinishJournal {
    pub fn new(names: &Names) -> Self {
        FinishJournal { table: names.own("finish"), slot: names.slot.clone() }
    }

    /// # Errors
    /// The table is missing, because `leadbridge migrate` of this version has not run. Refused when another
    /// version of leadbridge has written the row in another form.
    pub async fn read(&self, traffic: &Client) -> Result<Option<FinishRecord>> {
        let sql = format!(
            "SELECT cutover_id, reverse_applied_lsn, left_behind, directory, begun_at, manifest::text, \
             dismantled::text, certificate::text, dismantling_at IS NOT NULL FROM {} WHERE slot = $1",
            self.table
        );
        let row = during(traffic, "reading the finish on Traffic").row_if_any(&sql, &[&self.slot]).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let dismantling = match (row.get(8), row.get(5), row.get(6)) {
            (true, Some(manifest), Some(objects)) => {
                Some(Dismantling { manifest: self.understood(manifest)?, objects: self.understood(objects)? })
            }
            _ => None,
        };
        let certificate = row.get::<_, Option<&str>>(7).map(|text| self.understood(text)).transpose()?;
        Ok(Some(FinishRecord {
            cutover_id: row.get(0),
            reverse_applied: row.get::<_, PgLsn>(1).into(),
            left_behind: row.get::<_, Option<i64>>(2).and_then(|count| count.try_into().ok()),
            directory: PathBuf::from(row.get::<_, &str>(3)),
            begun_at: row.get(4),
            dismantling,
            certificate,
        }))
    }

    fn understood<T: DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| {
            Error::refused(format!(
                "what {} says of slot `{}` is not understood: {error}",
                self.table, self.slot
            ))
            .remedy(message!("finish-remedy-other-version"))
        })
    }

    /// Records that a backup begins in `directory`. Replaces the record of an earlier, incomplete backup.
    pub async fn begin(
        &self,
        traffic: &Client,
        standing: &SettledCutover,
        left_behind: Option<u64>,
        directory: &Path,
    ) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} (slot, cutover_id, reverse_applied_lsn, left_behind, directory, operator, leadbridge_version) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (slot) DO UPDATE SET cutover_id = EXCLUDED.cutover_id, \
             reverse_applied_lsn = EXCLUDED.reverse_applied_lsn, left_behind = EXCLUDED.left_behind, \
             directory = EXCLUDED.directory, begun_at = EXCLUDED.begun_at, operator = EXCLUDED.operator, \
             leadbridge_version = EXCLUDED.leadbridge_version",
            self.table
        );
        let left_behind = left_behind.and_then(|count| i64::try_from(count).ok());
        let (position, directory) = (PgLsn::from(standing.reverse_applied), directory.to_string_lossy());
        let (operator, version) = (operator::name(), env!("CARGO_PKG_VERSION"));
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&self.slot, &standing.cutover_id, &position, &left_behind, &directory, &operator, &version];
        during(traffic, WRITING).run(&sql, &parameters).await.map(drop)
    }

    /// Records that the backup is complete: from here on no daemon starts. `dismantling` must hold the
    /// objects found by the first run, because a later run finds only the rest.
    pub async fn dismantle(
        &self,
        traffic: &Client,
        directory: &Path,
        dismantling: &Dismantling,
    ) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET directory = $2, manifest = $3::text::jsonb, dismantled = $4::text::jsonb, \
             dismantling_at = coalesce(dismantling_at, clock_timestamp()) WHERE slot = $1",
            self.table
        );
        let (manifest, objects) = (text(&dismantling.manifest)?, text(&dismantling.objects)?);
        let directory = directory.to_string_lossy();
        let parameters: [&(dyn ToSql + Sync); 4] = [&self.slot, &directory, &manifest, &objects];
        during(traffic, WRITING).run(&sql, &parameters).await.map(drop)
    }

    /// Records the certificate, after everything is dropped.
    pub async fn finish(&self, traffic: &Client, certificate: &FinishCertificate) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET certificate = $2::text::jsonb, finished_at = clock_timestamp() WHERE slot = $1",
            self.table
        );
        during(traffic, WRITING).run(&sql, &[&self.slot, &text(certificate)?]).await.map(drop)
    }
}

fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(error.to_string()))
}
