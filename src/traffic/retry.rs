//! The retry of quarantined rows.

use super::writer::Writer;
use crate::checkpoint::{ImportRecord, refuse_switched};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;

/// Result of a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retried {
    pub tried: usize,
    /// Number of tried rows still in quarantine.
    pub left: usize,
}

impl Writer {
    /// Applies quarantined rows again, in one transaction: all rows or the rows `ids`, then the rows waiting
    /// for the written leads. Safe beside a running daemon: the second of the two waits, and finds the row
    /// gone or newer.
    pub async fn retry(&mut self, ids: Option<&[i64]>) -> Result<Retried> {
        // No other session of leadbridge touches quarantined rows, or the rows on Traffic with the same keys,
        // until the transaction ends.
        self.session.open(&self.opening_with("SHARE ROW EXCLUSIVE")).await?;
        // The check also keeps a cutover from switching before the transaction of the retry ends.
        let instead = message!("traffic-remedy-retry-switched");
        refuse_switched(&self.session, &self.names, instead).await?;
        let now = self.landing_time().await?;
        let portions = match ids {
            Some(ids) => self.quarantine.portions(&self.session, "id = ANY ($1)", &[&ids]).await?,
            None => self.quarantine.portions(&self.session, "true", &[]).await?,
        };
        // A row without an image needs the whole row from Landing, which arrives with the row's next change.
        let without_image = self.quarantine.count_without_image(&self.session, ids).await?;
        let (mut tried, mut left) = (without_image, without_image);
        for portion in portions {
            tried += portion.len();
            // A row of this portion may have left quarantine together with a row of an earlier portion.
            let changes = self.quarantine.changes(&self.session, &portion, now).await?;
            left += self.reapply(&changes).await?;
        }
        self.commit().await?;
        Ok(Retried { tried, left })
    }

    /// The moment of the checkpoint, by Landing's clock. The lock on the checkpoint keeps a snapshot from
    /// beginning before the transaction ends, because a snapshot forgets the quarantined rows, and would find
    /// unknown rows at its end.
    async fn landing_time(&self) -> Result<Timestamp> {
        let sql = format!(
            "SELECT caught_up_at, state = 'snapshot' FROM {} WHERE slot = $1 FOR SHARE",
            self.names.own("checkpoint")
        );
        let step = during(&self.session, "reading the checkpoint on Traffic");
        let row = step.row_if_any(&sql, &[&self.names.slot]).await?;
        // Without a checkpoint the rows are those of an import.
        let Some(row) = row else {
            let imported = ImportRecord::read(self.database()).await?;
            return Ok(imported.map(|imported| imported.export.origin.commit_time).unwrap_or_default());
        };
        if row.get(1) {
            // The copy tells its own rows by their time, and would remove a row with another time at its end.
            return Err(Error::refused("a snapshot is being copied: it quarantines and frees rows itself")
                .remedy(message!("traffic-remedy-snapshot")));
        }
        Ok(row.get::<_, Option<Timestamp>>(0).unwrap_or_default())
    }
}
