//! Carrying one load: reading, comparing and writing the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_postgres::Client;
use uuid::Uuid;

use super::carry::Carrier;
use crate::batch::keys::Keys;
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::landing::write::{Act, LandingWriter};
use crate::mapping::TableMapping;
use crate::mapping::inverse::{self, Inverse, TrafficImage};
use crate::model::change::{ColumnType, Datum, Row, Table};
use crate::model::side::Side;
use crate::postgres::paging::PageStart;
use crate::quarantine::{RefusalCause, RefusedRow};
use crate::traffic::reading::{FoundRows, TrafficSnapshot};

/// Number of keys in a page of a truncated table.
const PAGE: i64 = 500;

/// A load while it is carried.
pub(super) struct LoadInHand<'s> {
    pub(super) carrier: &'s mut Carrier,
    pub(super) traffic: &'s Client,
    pub(super) landing: &'s LandingWriter,
    pub(super) snapshot: &'s TrafficSnapshot<'s>,
    /// Keys that may be deleted on Landing if Traffic lacks the row.
    pub(super) deleted: &'s Keys,
    pub(super) refused: Vec<RefusedRow>,
    /// Leads outside of the load, written because rows of the load refer to them.
    pub(super) brought: Vec<Uuid>,
}

impl LoadInHand<'_> {
    /// Takes the refused rows out of the list. Returns the keys, and the rows with the reasons.
    pub(super) fn take_refused(&mut self) -> (Keys, Vec<RefusedRow>) {
        let refused = std::mem::take(&mut self.refused);
        let mut keys = Keys::new();
        for RefusedRow { table, id, .. } in &refused {
            keys.entry(*table).or_default().insert(*id);
        }
        (keys, refused)
    }

    pub(super) async fn keys(&mut self, keys: &Keys) -> Result<()> {
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
            let (there, staying) = self.write(table, &ids).await?;
            // Only keys in `deleted` are deleted. Of any other absent row the stream has sent only a write:
            // the row's delete or a TRUNCATE is still to come, and a TRUNCATE may have to be refused.
            let deleted = |id: &Uuid| self.deleted.get(&table).is_some_and(|deleted| deleted.contains(id));
            let absent = ids.into_iter().filter(|id| there.binary_search(id).is_err());
            let mut leaving: BTreeSet<Uuid> = absent.filter(deleted).collect();
            if table == Table::LandingLeads {
                written = there;
            } else if !staying.is_empty() {
                // A journey entry that passed from a lead of Landing's to a lead of Traffic's own leaves Landing.
                leaving.extend(self.landing.ids_among(table, &staying).await?);
                leaving.extend(self.held(table, &staying).await?.among(&staying));
            }
            gone.push((table, leaving.into_iter().collect()));
        }
        self.delete(&gone).await
    }

    /// Writes to Landing the rows of `ids` that flow to Landing. Returns the sorted ids of these rows, and the
    /// ids of the rows that stay on Traffic.
    async fn write(&mut self, table: Table, ids: &[Uuid]) -> Result<(Vec<Uuid>, Vec<Uuid>)> {
        let mapping = Arc::clone(self.carrier.catalog.mapping(table));
        let FoundRows { portions, staying } = self.snapshot.find(&mapping, ids).await?;
        let waiting = self.take_keys(table, &portions.concat()).await?;
        for portion in &portions {
            let portion: Vec<Uuid> = portion.iter().copied().filter(|id| !waiting.contains(id)).collect();
            let held = self.snapshot.rows(&mapping, &portion).await?;
            let held = if table == Table::LandingLeads { held } else { self.with_their_leads(held).await? };
            self.write_rows(table, &held).await?;
        }
        Ok((portions.concat(), staying))
    }

    async fn write_rows(&mut self, table: Table, held: &[TrafficImage]) -> Result<()> {
        let ids: Vec<Uuid> = held.iter().map(|held| held.id).collect();
        let target = self.landing.target(table)?;
        let catalog = &self.carrier.catalog;
        let (mapping, limits) = (catalog.mapping(table), catalog.limits(table));
        let way = Inverse { mapping, places: &target.places, limits };
        let mut left: BTreeMap<Uuid, &TrafficImage> = held.iter().map(|held| (held.id, held)).collect();
        let mut acts = BTreeMap::new();
        // Landing's rows may be larger than Traffic's, so each Landing row is dropped as soon as the row's
        // act is known.
        let meet = |own: Row| {
            let Some(held) = left.remove(&own.id) else { return };
            let mut row = inverse::inverse(held, Some(&own), way);
            // An equal row is not written.
            if own.values != row.values {
                let keeps_json = has_json_of(mapping, &row, &own);
                if keeps_json {
                    forget_json(mapping, &mut row);
                }
                acts.insert(own.id, Act::Update { keeps_json, row });
            }
        };
        self.landing.each_row(table, &ids, meet).await?;
        let new = left.into_iter().map(|(id, held)| (id, Act::Insert(inverse::inverse(held, None, way))));
        acts.extend(new);
        let acts: Vec<Act> = acts.into_values().collect();
        reach(Point::ReverseRead);
        let refused = self.landing.apply(table, &acts).await?;
        self.refused.extend(refused.into_iter().map(|(id, cause)| RefusedRow::write(table, id, cause)));
        Ok(())
    }

    /// Refuses rows if Landing lacks the lead, and returns the other rows. A lead born on Traffic before the
    /// switch is written here, together with the first row that refers to the lead.
    async fn with_their_leads(&mut self, held: Vec<TrafficImage>) -> Result<Vec<TrafficImage>> {
        let leads: BTreeSet<Uuid> = held.iter().filter_map(TrafficImage::lead_id).collect();
        let leads: Vec<Uuid> = leads.into_iter().collect();
        let there = self.landing.ids_among(Table::LandingLeads, &leads).await?;
        let mut there: BTreeSet<Uuid> = there.into_iter().collect();
        // A lead with one of the two keys of a lead that waits is another lead on Landing than on Traffic.
        let waiting = self.held(Table::LandingLeads, &leads).await?;
        there.retain(|lead| !waiting.differs_at(*lead));
        let mut missing: BTreeSet<Uuid> = leads.into_iter().filter(|id| !there.contains(id)).collect();
        if missing.is_empty() {
            return Ok(held);
        }
        // A lead refused earlier in the load would be refused again.
        let may_come = |id: &Uuid| !waiting.differs_at(*id) && !self.is_refused(*id);
        let ask: Vec<Uuid> = missing.iter().copied().filter(may_come).collect();
        Box::pin(self.write(Table::LandingLeads, &ask)).await?;
        let brought = self.landing.ids_among(Table::LandingLeads, &ask).await?;
        for id in &brought {
            missing.remove(id);
        }
        if self.carrier.may_wait {
            self.carrier.released.entry(Table::LandingLeads).or_default().extend(&brought);
            self.brought.extend(brought);
        }
        let orphaned = |held: &TrafficImage| held.lead_id().is_none_or(|lead| missing.contains(&lead));
        let (waiting, good): (Vec<TrafficImage>, Vec<TrafficImage>) = held.into_iter().partition(orphaned);
        let waiting = waiting
            .into_iter()
            .map(|held| RefusedRow::write(held.table, held.id, RefusalCause::lead_is_missing(Side::Landing)));
        self.refused.extend(waiting);
        Ok(good)
    }

    /// Adds the keys of all quarantined rows of the leads in `brought`.
    pub(super) async fn add_what_waited_for_brought(&mut self, keys: &mut Keys) -> Result<()> {
        let brought = std::mem::take(&mut self.brought);
        for &table in self.carrier.tables.iter().filter(|table| table.lead_column().is_some()) {
            if !brought.is_empty() {
                let waiting = self.carrier.quarantine.dependents(self.traffic, table, &brought).await?;
                keys.entry(table).or_default().extend(waiting);
            }
        }
        Ok(())
    }

    /// Adds the keys of rows that earlier loads quarantined because another row holds a unique value, except
    /// for keys already in `load` or `keys`. Returns the added keys.
    pub(super) async fn add_what_collided_before(&self, keys: &mut Keys, load: &Keys) -> Result<Keys> {
        let mut known = Keys::new();
        if !self.carrier.may_wait {
            return Ok(known);
        }
        let holds =
            |keys: &Keys, table: &Table, id: &Uuid| keys.get(table).is_some_and(|ids| ids.contains(id));
        for (table, ids) in self.carrier.quarantine.colliding(self.traffic).await? {
            for id in ids.into_iter().filter(|id| !holds(load, &table, id) && !holds(keys, &table, id)) {
                known.entry(table).or_default().insert(id);
            }
        }
        for (table, ids) in &known {
            keys.entry(*table).or_default().extend(ids);
        }
        Ok(known)
    }

    fn is_refused(&self, lead: Uuid) -> bool {
        self.refused.iter().any(|refused| refused.table == Table::LandingLeads && refused.id == lead)
    }

    /// Deletes these rows from Landing, dependent tables first.
    pub(super) async fn delete(&mut self, gone: &[(Table, Vec<Uuid>)]) -> Result<()> {
        if gone.iter().all(|(_, ids)| ids.is_empty()) {
            return Ok(());
        }
        self.landing.fire_triggers(true).await?;
        for (table, ids) in gone.iter().rev() {
            let held = self.held(*table, ids).await?;
            // Each key on Landing, with the key on Traffic. A key of another row is left out.
            let under = ids.iter().flat_map(|id| {
                let own = (!held.occupies(*id)).then_some(*id);
                held.0.get(id).copied().into_iter().chain(own).map(|under| (under, *id))
            });
            let under: BTreeMap<Uuid, Uuid> = under.collect();
            let leads: Vec<Uuid> = under.keys().copied().collect();
            let kept = if *table == Table::LandingLeads { self.kept(&leads).await? } else { Vec::new() };
            let acts: Vec<Act> = under.keys().copied().map(Act::Delete).collect();
            let refused: BTreeMap<Uuid, RefusalCause> =
                self.landing.apply(*table, &acts).await?.into_iter().collect();
            for (child, id, _) in kept.into_iter().filter(|(_, _, lead)| !refused.contains_key(lead)) {
                self.refused.push(RefusedRow::write(child, id, RefusalCause::lead_is_missing(Side::Landing)));
            }
            let gone =
                held.among(ids).filter(|id| held.0.get(id).is_some_and(|under| !refused.contains_key(under)));
            let gone: Vec<Uuid> = gone.collect();
            if !gone.is_empty() {
                self.landing.let_go(*table, &gone).await?;
            }
            let refused = refused.into_iter().filter_map(|(key, cause)| Some((*under.get(&key)?, cause)));
            self.refused.extend(refused.map(|(id, cause)| RefusedRow::delete(*table, id, cause)));
        }
        self.landing.fire_triggers(false).await
    }

    /// The leads' journey entries and notifications on both sides, each with the id of the lead. Traffic has
    /// deleted the leads without a cascade, but Landing's cascade will delete the entries and notifications.
    async fn kept(&self, leads: &[Uuid]) -> Result<Vec<(Table, Uuid, Uuid)>> {
        let mut kept = Vec::new();
        for &table in self.carrier.tables.iter().filter(|table| table.lead_column().is_some()) {
            let (ids, of): (Vec<Uuid>, Vec<Uuid>) =
                self.landing.of_leads(table, leads).await?.into_iter().unzip();
            let there = self.snapshot.flowing(self.carrier.catalog.mapping(table), &ids).await?;
            let both = ids.into_iter().zip(of).filter(|(id, _)| there.binary_search(id).is_ok());
            kept.extend(both.map(|(id, lead)| (table, id, lead)));
        }
        Ok(kept)
    }

    /// Carries a TRUNCATE: deletes every row of Landing's tables that Traffic lacks.
    pub(super) async fn truncated(&mut self, tables: &BTreeSet<Table>) -> Result<()> {
        for &table in tables.iter().rev() {
            let mut start = PageStart::FIRST;
            loop {
                let page = self.landing.keys(table, start, PAGE).await?;
                let Some(last) = page.last() else { break };
                start = PageStart::after(*last);
                let held = self.held(table, &page).await?;
                let page: Vec<Uuid> = page.into_iter().map(|key| held.on_source(key)).collect();
                let there = self.snapshot.flowing(self.carrier.catalog.mapping(table), &page).await?;
                let gone = page.into_iter().filter(|id| there.binary_search(id).is_err()).collect();
                self.delete(&[(table, gone)]).await?;
            }
        }
        Ok(())
    }
}

/// Removes the JSON values from a row. Landing keeps the JSON, so the values are not sent.
fn forget_json(mapping: &TableMapping, row: &mut Row) {
    for (column, value) in mapping.columns().iter().zip(&mut row.values) {
        if column.kind == ColumnType::Jsonb {
            *value = Datum::Null;
        }
    }
}

fn has_json_of(mapping: &TableMapping, row: &Row, own: &Row) -> bool {
    let columns = mapping.columns().iter().zip(row.values.iter().zip(&own.values));
    columns.filter(|(column, _)| column.kind == ColumnType::Jsonb).all(|(_, (ours, theirs))| ours == theirs)
}
