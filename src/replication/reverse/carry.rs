//! Carrying a load: Landing's rows become what Traffic's rows with the load's keys are now.
//!
//! All rows are read in one snapshot and written in one transaction, in this order: changes of keys, leads, rows
//! that refer to leads, deletes of rows that refer to leads, deletes of leads. Deletes run with triggers on, so that
//! Landing's own cascades act. In this order Landing's foreign keys allow everything that Traffic's foreign
//! keys allow. Carrying a load again gives the same result; a load with changed keys is not carried again, because
//! Landing records such a load.

use tokio_postgres::Client;

use super::load::LoadInHand;
use crate::batch::keys::{Keys, Load, TouchedKeys};
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::landing::write::{CarriedTransaction, LandingWriter};
use crate::mapping::Mapping;
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::postgres::Database;
use crate::quarantine::{Copies, RefusedRow, ReverseQuarantine};
use crate::traffic::TargetCatalog;
use crate::traffic::reading::TrafficSnapshot;

/// Result of writing a load.
struct Written {
    /// Keys written a second time.
    again: Keys,
    /// Keys of `again` that are not in the load, and were quarantined before.
    known: Keys,
    /// Rows still refused by Landing after the second try.
    refused: Vec<RefusedRow>,
}

/// Carries loads, and tracks quarantined rows.
pub struct Carrier {
    pub(super) names: Names,
    pub(super) tables: Vec<Table>,
    pub(super) catalog: TargetCatalog,
    /// Maximum number of bytes of rows to read at a time.
    pub(super) bytes: usize,
    pub(super) quarantine: ReverseQuarantine,
    copies: Copies,
    /// Whether `reverse_quarantine` may hold rows. True for an empty table only costs queries; false for a
    /// table with rows would leave the rows in quarantine.
    pub(super) may_wait: bool,
    /// Whether Landing may hold rows under an earlier key. True without such a row only costs queries.
    pub(super) may_hold: bool,
    /// Traffic's timeline.
    timeline: u32,
    /// Quarantined keys written by the open transaction on Landing. The keys leave the quarantine once the
    /// transaction is committed.
    pub(super) released: Keys,
}

impl Carrier {
    /// # Errors
    /// A table or a column is missing on Traffic.
    pub async fn new(
        traffic: Database<'_>,
        landing: &LandingWriter,
        mapping: &Mapping,
        (tables, bytes): (&[Table], usize),
        timeline: u32,
    ) -> Result<Self> {
        let names = traffic.names;
        let (quarantine, copies) = (ReverseQuarantine::new(names), Copies::new(names));
        // Rows may have been deleted while nobody was told of it.
        for table in tables {
            copies.forget_missing(traffic.client, *table, false).await?;
        }
        Ok(Carrier {
            catalog: TargetCatalog::read(traffic, tables, mapping).await?,
            may_wait: quarantine.count(traffic.client).await? > 0,
            may_hold: landing.holds_any().await?,
            names: names.clone(),
            tables: tables.to_owned(),
            bytes,
            quarantine,
            copies,
            released: Keys::new(),
            timeline,
        })
    }

    /// All quarantined keys, to be retried at a start: the cause may have been fixed on Landing meanwhile. Of a
    /// row that Traffic lacks, only a delete that Landing refused is retried: the key of another row may have
    /// changed, and the stream is still to bring the change.
    pub async fn waiting(&self, traffic: &Client) -> Result<TouchedKeys> {
        if !self.may_wait {
            return Ok(TouchedKeys::default());
        }
        let (keys, deleted) = self.quarantine.all(traffic).await?;
        Ok(TouchedKeys { keys, deleted, ..TouchedKeys::default() })
    }

    /// Writes a load into the writer's transaction, which stays open. The load's transactions must be visible
    /// on Traffic.
    ///
    /// # Errors
    /// Every error ends the attempt: the caller must drop both sessions.
    pub async fn carry(&mut self, traffic: &Client, landing: &mut LandingWriter, load: &Load) -> Result<()> {
        let names = self.names.clone();
        // The snapshot may wait for a table lock on Traffic. Landing's transaction begins after the snapshot,
        // so that no new lock is held on Landing during the wait.
        let snapshot =
            TrafficSnapshot::begin(Database::traffic(traffic, &names), &self.tables, self.bytes).await?;
        // If the fence stands now, the fence stood when the snapshot was taken, so Landing has no newer
        // writes.
        landing.begin().await?;
        let released = self.released.clone();
        let mut written = self.write(traffic, landing, &snapshot, load).await?;
        if landing.check_deferred().await? {
            self.released = released;
            written = self.write(traffic, landing, &snapshot, load).await?;
        }
        let Written { again, known, refused } = written;
        if !load.changes.key_changes.is_empty() {
            let last = CarriedTransaction { commit: load.changes.last_commit, timeline: self.timeline };
            landing.record_carried(last).await?;
        }
        snapshot.end().await?;
        let lsn = load.end.map(|end| end.lsn);
        self.keep_released(traffic, &load.changes.keys, &again, &refused).await?;
        self.forget_changed(traffic, &load.changes).await?;
        self.follow_in_copies(traffic, &load.changes).await?;
        // The rows of `known` are in the quarantine already.
        let new =
            |refused: &RefusedRow| known.get(&refused.table).is_none_or(|ids| !ids.contains(&refused.id));
        self.quarantine_refused(traffic, refused.into_iter().filter(new), lsn).await?;
        reach(Point::ReverseWritten);
        Ok(())
    }

    /// Writes the rows, and then retries the refused rows.
    async fn write(
        &mut self,
        traffic: &Client,
        landing: &LandingWriter,
        snapshot: &TrafficSnapshot<'_>,
        load: &Load,
    ) -> Result<Written> {
        let mut step = LoadInHand {
            carrier: self,
            traffic,
            landing,
            snapshot,
            deleted: &load.changes.deleted,
            refused: Vec::new(),
            brought: Vec::new(),
        };
        step.truncated(&load.changes.truncated).await?;
        step.change_keys(&load.changes.key_changes).await?;
        step.keys(&load.changes.keys).await?;
        // A row may have been refused only because of another row, for example one with the same unique
        // value. Landing may take the row now, because the other rows are written or deleted.
        let mut again: Keys = step.take_refused().0;
        step.add_what_waited_for_brought(&mut again).await?;
        let known = step.add_what_collided_before(&mut again, &load.changes.keys).await?;
        if !again.is_empty() {
            step.keys(&again).await?;
        }
        Ok(Written { again, known, refused: step.take_refused().1 })
    }

    /// Adds the quarantined keys of the load to `released`, without the rows that were refused again.
    async fn keep_released(
        &mut self,
        traffic: &Client,
        keys: &Keys,
        again: &Keys,
        refused: &[RefusedRow],
    ) -> Result<()> {
        if self.may_wait {
            for asked in [keys, again] {
                for (table, ids) in self.quarantine.among(traffic, asked).await? {
                    self.released.entry(table).or_default().extend(ids);
                }
            }
        }
        for RefusedRow { table, id, .. } in refused {
            if let Some(released) = self.released.get_mut(table) {
                released.remove(id);
            }
        }
        Ok(())
    }

    /// Removes the keys that rows have left or taken from the quarantine, because an entry is about a row that no
    /// longer has the key. Until Landing commits, the stream brings the changes again. Later, a crash would leave
    /// entries that the next start takes for other rows.
    async fn forget_changed(&self, traffic: &Client, changes: &TouchedKeys) -> Result<()> {
        match self.may_wait && !changes.key_changes.is_empty() {
            true => self.quarantine.release(traffic, &changes.changed_keys()).await,
            false => Ok(()),
        }
    }

    /// Lets deletions and changed keys reach the copies of the rows in leadbridge's tables on Traffic. Until
    /// Landing commits, the stream brings the changes again; afterwards a crash would leave the copies for ever.
    async fn follow_in_copies(&self, traffic: &Client, changes: &TouchedKeys) -> Result<()> {
        self.copies.forget(traffic, &changes.replaced).await?;
        self.copies.change_keys(traffic, &changes.key_changes).await?;
        self.copies.forget(traffic, &changes.deleted).await?;
        for table in &changes.truncated {
            self.copies.forget_missing(traffic, *table, true).await?;
        }
        Ok(())
    }

    /// Quarantines refused rows before Landing commits, because nothing else records a refusal.
    async fn quarantine_refused(
        &mut self,
        traffic: &Client,
        refused: impl Iterator<Item = RefusedRow>,
        lsn: Option<Lsn>,
    ) -> Result<()> {
        for refused in refused {
            self.may_wait = true;
            self.quarantine.put(traffic, &refused, lsn).await?;
            reach(Point::ReverseQuarantined);
        }
        Ok(())
    }

    /// Removes the released keys from the quarantine. To be called after Landing's commit.
    pub async fn committed(&mut self, traffic: &Client) -> Result<()> {
        let released = std::mem::take(&mut self.released);
        if !released.is_empty() {
            self.quarantine.release(traffic, &released).await?;
        }
        Ok(())
    }
}
