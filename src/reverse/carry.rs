//! Carrying a load: what its keys are on Traffic now, they become on Landing.
//!
//! All rows are read in one snapshot and written in one transaction, in this order: leads, what refers to them, then
//! deletes of those, then deletes of leads, with triggers on so that Landing's own cascades act. What Traffic's foreign
//! keys allow, Landing's allow in this order. Whatever is carried again ends the same.

use tokio_postgres::Client;
use uuid::Uuid;

use super::keys::{Keys, Load};
use super::quarantine::{RefusalCause, ReverseQuarantine};
use super::reading::TrafficSnapshot;
use super::step::LoadInHand;
use super::writer::LandingWriter;
use crate::change::Table;
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::lsn::Lsn;
use crate::names::Names;
use crate::traffic::TargetCatalog;

/// What became of a load.
struct Written {
    /// Keys that were written a second time.
    again: Keys,
    /// Those of them that waited before, and that are not of this load.
    known: Keys,
    /// What Landing refuses.
    refused: Vec<(Table, Uuid, RefusalCause)>,
}

/// Carries loads, and knows which rows have to wait.
pub struct Carrier {
    pub(super) names: Names,
    pub(super) tables: Vec<Table>,
    pub(super) limits: TargetCatalog,
    /// Bytes of rows that are read at once.
    pub(super) bytes: usize,
    pub(super) quarantine: ReverseQuarantine,
    /// May be true while nothing waits, never the other way round.
    pub(super) may_wait: bool,
    /// Keys that waited and are in the open transaction now: they leave quarantine once it is committed.
    pub(super) released: Keys,
}

impl Carrier {
    /// # Errors
    /// A table or column that is not there on Traffic.
    pub async fn new(traffic: &Client, names: &Names, tables: &[Table], bytes: usize) -> Result<Self> {
        let quarantine = ReverseQuarantine::new(names);
        Ok(Carrier {
            limits: TargetCatalog::read(traffic, names, tables).await?,
            may_wait: quarantine.count(traffic).await? > 0,
            names: names.clone(),
            tables: tables.to_owned(),
            bytes,
            quarantine,
            released: Keys::new(),
        })
    }

    /// Everything that waits, to be tried again at a start: what it waited for may have been mended on Landing.
    pub async fn waiting(&self, traffic: &Client) -> Result<Keys> {
        if self.may_wait { self.quarantine.all(traffic).await } else { Ok(Keys::new()) }
    }

    /// Writes a load into the writer's transaction, which stays open. Its transactions must be visible on Traffic.
    ///
    /// # Errors
    /// Whatever makes the attempt end; both sessions are to be dropped then.
    pub async fn carry(&mut self, traffic: &Client, landing: &mut LandingWriter, load: &Load) -> Result<()> {
        let names = self.names.clone();
        // It may have to wait for a lock on Traffic: nothing is held on Landing meanwhile that is not held already.
        let snapshot = TrafficSnapshot::begin(traffic, &names, &self.tables, self.bytes).await?;
        // A fence that stands now stood when the snapshot was taken: Landing has nothing newer of its own.
        landing.begin().await?;
        let released = self.released.clone();
        let mut written = self.write(traffic, landing, &snapshot, load).await?;
        if landing.check_deferred().await? {
            self.released = released;
            written = self.write(traffic, landing, &snapshot, load).await?;
        }
        let Written { again, known, refused } = written;
        snapshot.end().await?;
        let lsn = load.end.map(|end| end.lsn);
        self.keep_released(traffic, &load.keys, &again, &refused).await?;
        // Of those that waited before, and do still, everything is written down.
        let new = |(table, id, _): &(Table, Uuid, RefusalCause)| {
            known.get(table).is_none_or(|ids| !ids.contains(id))
        };
        self.quarantine_refused(traffic, refused.into_iter().filter(new), lsn).await?;
        reach(Point::ReverseWritten);
        Ok(())
    }

    /// Writes the rows, and tries those again that Landing refuses.
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
            deleted: &load.deleted,
            refused: Vec::new(),
            brought: Vec::new(),
        };
        step.truncated(&load.truncated).await?;
        step.keys(&load.keys).await?;
        // What only a row in the way had forbidden, a unique value say, is possible now.
        let mut again: Keys = step.take_refused().0;
        step.add_what_waited_for_brought(&mut again).await?;
        let known = step.add_what_collided_before(&mut again, &load.keys).await?;
        if !again.is_empty() {
            step.keys(&again).await?;
        }
        Ok(Written { again, known, refused: step.take_refused().1 })
    }

    /// What waited and is good now leaves when Landing has it for good.
    async fn keep_released(
        &mut self,
        traffic: &Client,
        keys: &Keys,
        again: &Keys,
        refused: &[(Table, Uuid, RefusalCause)],
    ) -> Result<()> {
        if self.may_wait {
            for asked in [keys, again] {
                for (table, ids) in self.quarantine.among(traffic, asked).await? {
                    self.released.entry(table).or_default().extend(ids);
                }
            }
        }
        for (table, id, _) in refused {
            if let Some(released) = self.released.get_mut(table) {
                released.remove(id);
            }
        }
        Ok(())
    }

    /// Rows that are refused are written down at once, for they are told apart from nothing else.
    async fn quarantine_refused(
        &mut self,
        traffic: &Client,
        refused: impl Iterator<Item = (Table, Uuid, RefusalCause)>,
        lsn: Option<Lsn>,
    ) -> Result<()> {
        for (table, id, cause) in refused {
            self.may_wait = true;
            self.quarantine.put(traffic, table, id, lsn, &cause).await?;
            reach(Point::ReverseQuarantined);
        }
        Ok(())
    }

    /// Landing has committed: what waited and is there now waits no more.
    pub async fn committed(&mut self, traffic: &Client) -> Result<()> {
        let released = std::mem::take(&mut self.released);
        if !released.is_empty() {
            self.quarantine.release(traffic, &released).await?;
        }
        Ok(())
    }
}
