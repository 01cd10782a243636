//! Carrying a load: what its keys are on Traffic now, they become on Landing.
//!
//! All rows are read in one snapshot and written in one transaction, in this order: leads, what refers to them, then
//! deletes of those, then deletes of leads, with triggers on so that Landing's own cascades act. What Traffic's foreign
//! keys allow, Landing's allow in this order. Whatever is carried again ends the same.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use uuid::Uuid;

use super::keys::{Keys, Load};
use super::mapping::{self, Held};
use super::quarantine::{Cause, ReverseQuarantine};
use super::reading::Snapshot;
use super::writer::{Act, LandingWriter};
use crate::change::{ColumnType, Row, Table};
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::lsn::Lsn;
use crate::names::Names;
use crate::traffic::TargetCatalog;

/// Keys of a page of a table that was emptied.
const PAGE: i64 = 500;

/// Carries loads, and knows which rows have to wait.
pub struct Carrier {
    names: Names,
    tables: Vec<Table>,
    limits: TargetCatalog,
    /// Bytes of rows that are read at once.
    bytes: usize,
    quarantine: ReverseQuarantine,
    /// May be true while nothing waits, never the other way round.
    may_wait: bool,
    /// Keys that waited and are in the open transaction now: they leave quarantine once it is committed.
    released: Keys,
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
        landing.begin().await?;
        let names = self.names.clone();
        let snapshot = Snapshot::begin(traffic, &names, self.bytes).await?;
        let mut step = Step { carrier: self, traffic, landing, snapshot: &snapshot, refused: Vec::new() };
        step.truncated(&load.truncated).await?;
        step.keys(&load.keys).await?;
        // What only a row in the way had forbidden, a unique value say, is possible now.
        let again: Keys = step.take_refused().0;
        if !again.is_empty() {
            step.keys(&again).await?;
        }
        let (_, refused) = step.take_refused();
        snapshot.end().await?;
        let lsn = load.end.map(|end| end.lsn);
        self.settle(traffic, &load.keys, &again, refused, lsn).await?;
        reach(Point::ReverseWritten);
        Ok(())
    }

    /// Rows that are refused are written down at once, for they are told apart from nothing else; those that are
    /// good leave when Landing has them for good.
    async fn settle(
        &mut self,
        traffic: &Client,
        keys: &Keys,
        again: &Keys,
        refused: Vec<(Table, Uuid, Cause)>,
        lsn: Option<Lsn>,
    ) -> Result<()> {
        if self.may_wait {
            for asked in [keys, again] {
                for (table, ids) in self.quarantine.among(traffic, asked).await? {
                    self.released.entry(table).or_default().extend(ids);
                }
            }
        }
        for (table, id, cause) in refused {
            self.may_wait = true;
            if let Some(released) = self.released.get_mut(&table) {
                released.remove(&id);
            }
            self.quarantine.park(traffic, table, id, lsn, &cause).await?;
            reach(Point::ReverseParked);
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

/// One load in hand.
struct Step<'s> {
    carrier: &'s mut Carrier,
    traffic: &'s Client,
    landing: &'s LandingWriter,
    snapshot: &'s Snapshot<'s>,
    refused: Vec<(Table, Uuid, Cause)>,
}

impl Step<'_> {
    /// What was refused so far, by key and with the reasons; from now on nothing was.
    fn take_refused(&mut self) -> (Keys, Vec<(Table, Uuid, Cause)>) {
        let refused = std::mem::take(&mut self.refused);
        let mut keys = Keys::new();
        for (table, id, _) in &refused {
            keys.entry(*table).or_default().insert(*id);
        }
        (keys, refused)
    }

    async fn keys(&mut self, keys: &Keys) -> Result<()> {
        let mut gone: Vec<(Table, Vec<Uuid>)> = Vec::new();
        let mut written = Vec::new();
        for table in self.carrier.tables.clone() {
            let mut ids: BTreeSet<Uuid> = keys.get(&table).cloned().unwrap_or_default();
            if table != Table::LandingLeads && self.carrier.may_wait && !written.is_empty() {
                let waiting = self.carrier.quarantine.dependents(self.traffic, table, &written).await?;
                self.carrier.released.entry(table).or_default().extend(&waiting);
                ids.extend(waiting);
            }
            if ids.is_empty() {
                continue;
            }
            let ids: Vec<Uuid> = ids.into_iter().collect();
            let there = self.write(table, &ids).await?;
            gone.push((table, ids.into_iter().filter(|id| there.binary_search(id).is_err()).collect()));
            if table == Table::LandingLeads {
                written = there;
            }
        }
        self.delete(&gone).await
    }

    /// Writes those of these rows that are on Traffic; answers which they are, in order.
    async fn write(&mut self, table: Table, ids: &[Uuid]) -> Result<Vec<Uuid>> {
        let portions = self.snapshot.portions(table, ids).await?;
        for portion in &portions {
            let held = self.snapshot.rows(table, portion).await?;
            let held = if table == Table::LandingLeads { held } else { self.with_their_leads(held).await? };
            self.write_rows(table, &held).await?;
        }
        Ok(portions.concat())
    }

    async fn write_rows(&mut self, table: Table, held: &[Held]) -> Result<()> {
        let ids: Vec<Uuid> = held.iter().map(|held| held.id).collect();
        let now = self.landing.rows(table, &ids).await?;
        let target = self.landing.target(table)?;
        let limits = self.carrier.limits.limits(table);
        let act = |held: &Held| {
            let own = now.get(&held.id);
            let row = mapping::inverse(held, own, &target.places, limits);
            match own {
                None => Some(Act::Insert(row)),
                // What changes nothing writes nothing.
                Some(own) if own.values == row.values => None,
                Some(own) => Some(Act::Update { keeps_json: has_json_of(&row, own), row }),
            }
        };
        let acts: Vec<Act> = held.iter().filter_map(act).collect();
        reach(Point::ReverseRead);
        let refused = self.landing.apply(table, &acts).await?;
        self.refused.extend(refused.into_iter().map(|(id, cause)| (table, id, cause)));
        Ok(())
    }

    /// Leaves out the rows whose lead Landing cannot have. A lead that was born on Traffic before the switch comes
    /// with the first of what refers to it.
    async fn with_their_leads(&mut self, held: Vec<Held>) -> Result<Vec<Held>> {
        let leads: BTreeSet<Uuid> = held.iter().filter_map(Held::lead_id).collect();
        let leads: Vec<Uuid> = leads.into_iter().collect();
        let there: BTreeSet<Uuid> = self.landing.leads_among(&leads).await?.into_iter().collect();
        let mut missing: BTreeSet<Uuid> = leads.into_iter().filter(|id| !there.contains(id)).collect();
        if missing.is_empty() {
            return Ok(held);
        }
        // Those that were refused a moment ago would be refused again.
        let ask: Vec<Uuid> = missing.iter().copied().filter(|id| !self.is_refused(*id)).collect();
        Box::pin(self.write(Table::LandingLeads, &ask)).await?;
        for id in self.landing.leads_among(&ask).await? {
            missing.remove(&id);
        }
        let orphaned = |held: &Held| held.lead_id().is_none_or(|lead| missing.contains(&lead));
        let (waiting, good): (Vec<Held>, Vec<Held>) = held.into_iter().partition(orphaned);
        let waiting = waiting.into_iter().map(|held| (held.table, held.id, Cause::lead_is_missing()));
        self.refused.extend(waiting);
        Ok(good)
    }

    fn is_refused(&self, lead: Uuid) -> bool {
        self.refused.iter().any(|(table, id, _)| *table == Table::LandingLeads && *id == lead)
    }

    /// What is not on Traffic any more, the children first.
    async fn delete(&mut self, gone: &[(Table, Vec<Uuid>)]) -> Result<()> {
        if gone.iter().all(|(_, ids)| ids.is_empty()) {
            return Ok(());
        }
        self.landing.fire_triggers(true).await?;
        for (table, ids) in gone.iter().rev() {
            let acts: Vec<Act> = ids.iter().copied().map(Act::Delete).collect();
            let refused = self.landing.apply(*table, &acts).await?;
            self.refused.extend(refused.into_iter().map(|(id, cause)| (*table, id, cause)));
        }
        self.landing.fire_triggers(false).await
    }

    /// A table that was emptied: what Landing has of it and Traffic has not is deleted.
    async fn truncated(&mut self, tables: &BTreeSet<Table>) -> Result<()> {
        for &table in tables.iter().rev() {
            let mut after = Uuid::nil();
            loop {
                let page = self.landing.keys(table, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = *last;
                let there = self.snapshot.portions(table, &page).await?.concat();
                let gone = page.into_iter().filter(|id| there.binary_search(id).is_err()).collect();
                self.delete(&[(table, gone)]).await?;
            }
        }
        Ok(())
    }
}

fn has_json_of(row: &Row, own: &Row) -> bool {
    let columns = row.table.columns().iter().zip(row.values.iter().zip(&own.values));
    columns.filter(|(column, _)| column.kind == ColumnType::Jsonb).all(|(_, (ours, theirs))| ours == theirs)
}
