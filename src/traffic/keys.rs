//! Changed keys: Traffic's own columns and referring rows stay with a row whose key changes (guarantees 3.1),
//! also where Traffic refuses the change at first.
//!
//! A row whose new key was refused is in quarantine under the new key, and Traffic holds an older image of
//! the row under the earlier key (`held_under`). Until the image has the new key, no other row may have
//! either key. A row with the earlier key would overwrite the image and get Traffic's own data of the other
//! row, and a child of a lead with one of the two keys would belong to the wrong lead.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::catalog::{self, Reference};
use super::writer::Writer;
use crate::batch::{KeyChange, Write};
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::postgres::step::during;
use crate::quarantine::RefusalCause;

impl Writer {
    /// Gives a row its new key and moves the referring rows, so Traffic's own data stays with the row.
    pub(super) async fn change_key(&mut self, change: KeyChange, at: Lsn) -> Result<()> {
        let KeyChange { table, old, new } = change;
        let mut from = Some(old);
        if self.may_have_quarantined {
            from = self.quarantine.held(&self.session, table, &[old]).await?.on_traffic(old);
            // The new key is free on Landing, so a row under the new key on Traffic is a row whose delete
            // waits in quarantine.
            if self.quarantine.is_deleted(&self.session, table, new).await? {
                let stale = self.held_as(table, &[new]).await?;
                self.remove_stale(table, &stale, at).await?;
            }
        }
        if let Some(from) = from {
            self.rename(KeyChange { old: from, ..change }).await?;
        }
        if self.may_have_quarantined {
            self.quarantine.change_key(&self.session, change).await?;
            self.quarantine.at_home(&self.session, table, new).await?;
        }
        Ok(())
    }

    /// Changes the key of a row on its way to quarantine. Traffic's older image gets the new key too, if
    /// Traffic takes the change. If not, returns the key under which Traffic holds the image.
    pub(super) async fn quarantine_key(&mut self, change: KeyChange, at: Lsn) -> Result<Option<Uuid>> {
        self.execute("setting a savepoint on Traffic", "SAVEPOINT key").await?;
        match self.change_key(change, at).await {
            Ok(()) => {
                self.execute("releasing a savepoint on Traffic", "RELEASE key").await?;
                Ok(None)
            }
            Err(error) if error.kind() == Kind::Row => {
                self.execute("undoing a changed key on Traffic", "ROLLBACK TO key; RELEASE key").await?;
                let held = self.quarantine.held(&self.session, change.table, &[change.old]).await?;
                self.quarantine.change_key(&self.session, change).await?;
                Ok(held.on_traffic(change.old))
            }
            Err(error) => Err(error),
        }
    }

    async fn rename(&mut self, change: KeyChange) -> Result<()> {
        let KeyChange { table, old, new } = change;
        let step = format!("changing a key of {}", table.traffic_name());
        let references = catalog::references(&self.session, &self.names, table).await?;
        let sql = rename(&self.names, table, &references);
        let renamed = during(&self.session, &step).write(&sql, &[&old, &new]).await?;
        if renamed == 0 {
            // The row is not on Traffic, or a trigger has left the row out.
            let sql =
                format!("SELECT EXISTS (SELECT FROM {} WHERE id = $1)", self.names.traffic_table(table));
            let row = during(&self.session, &step).row(&sql, &[&old]).await?;
            if row.get(0) {
                return Err(Error::skipped(step));
            }
        }
        reach(Point::KeyMoving);
        if self.may_have_notes() {
            self.notes.change_key(&self.session, change).await?;
        }
        Ok(())
    }

    /// The keys under which Traffic holds the rows.
    pub(super) async fn held_as(&self, table: Table, ids: &[Uuid]) -> Result<Vec<Uuid>> {
        if !self.may_have_quarantined {
            return Ok(ids.to_vec());
        }
        let held = self.quarantine.held(&self.session, table, ids).await?;
        Ok(ids.iter().filter_map(|id| held.on_traffic(*id)).collect())
    }

    /// Gives the rows to be written their keys on Traffic. A row that must wait until other rows have their
    /// keys goes to quarantine. Returns the ids of the quarantined rows.
    pub(super) async fn take_keys(&mut self, table: Table, writes: &[Write<'_>]) -> Result<HashSet<Uuid>> {
        if !self.may_have_quarantined {
            return Ok(HashSet::new());
        }
        let at = writes.iter().map(|write| write.origin.commit_lsn).max().unwrap_or_default();
        let ids: HashSet<Uuid> = writes.iter().map(|write| write.row.id).collect();
        let mut held =
            self.quarantine.held(&self.session, table, &Vec::from_iter(ids.iter().copied())).await?;
        while let Some(key) = held.next(&ids) {
            let Some(under) = held.0.remove(&key) else { break };
            if held.occupies(key) {
                // Each row of a circle waits for the key of the next row: a temporary key opens the circle.
                let aside = Uuid::new_v4();
                self.rename(KeyChange { table, old: under, new: aside }).await?;
                held.0.insert(key, aside);
                continue;
            }
            // The row under `key` on Traffic is another row, deleted by Landing.
            self.remove_stale(table, &[key], at).await?;
            self.rename(KeyChange { table, old: under, new: key }).await?;
            self.quarantine.at_home(&self.session, table, key).await?;
        }
        let mut waiting = HashSet::new();
        for write in writes.iter().filter(|write| held.occupies(write.row.id)) {
            let message = "Traffic holds another row under its key, which waits in quarantine";
            self.quarantine_write(write, &RefusalCause::new("23505", message)).await?;
            waiting.insert(write.row.id);
        }
        let leads: Vec<Uuid> = writes.iter().filter_map(|write| write.row.lead_id()).collect();
        if leads.is_empty() {
            return Ok(waiting);
        }
        let held = self.quarantine.held(&self.session, Table::LandingLeads, &leads).await?;
        let is_unsettled = |write: &&Write<'_>| write.row.lead_id().is_some_and(|lead| held.differs_at(lead));
        for write in writes.iter().filter(is_unsettled) {
            let message = "its lead is not on Traffic under its key";
            self.quarantine_write(write, &RefusalCause::new("23503", message)).await?;
            waiting.insert(write.row.id);
        }
        Ok(waiting)
    }
}

/// Changes a key in `table` and in every column with a reference to the row. Parameters: the old key and the
/// new key.
///
/// PostgreSQL checks foreign keys at the end of a statement, so a single statement works whatever the foreign
/// keys say of an update: at the end all references agree. Each table occurs once, because a statement can
/// change a row only once.
fn rename(names: &Names, table: Table, references: &[Reference]) -> String {
    let itself = names.traffic_table(table);
    let mut columns: BTreeMap<&str, Vec<&str>> = BTreeMap::from([(&*itself, vec!["id"])]);
    for Reference { table, column } in references {
        columns.entry(table).or_default().push(column);
    }
    let update = |table: &str, columns: &[&str]| {
        let set: Vec<String> = columns
            .iter()
            .map(|c| format!("{c} = CASE {c} WHEN $1::uuid THEN $2::uuid ELSE {c} END"))
            .collect();
        format!("UPDATE {table} SET {} WHERE $1::uuid IN ({})", set.join(", "), columns.join(", "))
    };
    let (own, others): (Vec<_>, Vec<_>) = columns.iter().partition(|(table, _)| **table == itself);
    let moves: Vec<String> = others
        .iter()
        .enumerate()
        .map(|(at, (table, columns))| format!("moved_{at} AS ({})", update(table, columns)))
        .collect();
    let with = if moves.is_empty() { String::new() } else { format!("WITH {} ", moves.join(", ")) };
    let own: String = own.iter().map(|(table, columns)| update(table, columns)).collect();
    with + &own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_refers_to_a_row_more_than_once_and_the_rows_own_are_updated_once() {
        let names = Names::default();
        let reference = |table: &str, column: &str| Reference { table: table.into(), column: column.into() };
        let leads = names.traffic_table(Table::LandingLeads);
        let sql = rename(
            &names,
            Table::LandingLeads,
            &[reference("s", "a"), reference("s", "b"), reference(&leads, "c")],
        );
        assert_eq!((sql.matches("UPDATE").count(), sql.matches("UPDATE s SET").count()), (2, 1), "{sql}");
        assert!(
            sql.contains("WHERE $1::uuid IN (id, c)") && sql.contains("WHERE $1::uuid IN (a, b)"),
            "{sql}"
        );
    }
}
