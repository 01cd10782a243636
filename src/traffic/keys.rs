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
use super::deletes::{self, Deletion};
use super::writer::Writer;
use crate::batch::{KeyChange, Write};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::write::Savepoint;
use crate::quarantine::RefusalCause;

/// Undoes a changed key that Traffic refuses.
const KEY: Savepoint = Savepoint(Side::Traffic, "key");

/// Gives a row its new key and moves the referring rows, so Traffic's own data stays with the row.
pub(super) async fn change(writer: &mut Writer, change: KeyChange, at: Lsn) -> Result<()> {
    let KeyChange { table, old, new } = change;
    let mut from = Some(old);
    if writer.may_have_quarantined {
        from = writer.quarantine.held(&writer.session, table, &[old]).await?.on_traffic(old);
        // The new key is free on Landing, so a row under the new key on Traffic is a row whose delete
        // waits in quarantine.
        if writer.quarantine.is_deleted(&writer.session, table, new).await? {
            let stale = held_as(writer, table, &[new]).await?;
            deletes::remove_stale(writer, Deletion { table, ids: &stale, at }).await?;
        }
    }
    if let Some(from) = from {
        rename(writer, KeyChange { old: from, ..change }).await?;
    }
    if writer.may_have_quarantined {
        writer.quarantine.change_key(&writer.session, change).await?;
        writer.quarantine.at_home(&writer.session, table, new).await?;
    }
    Ok(())
}

/// Changes the key of a row on its way to quarantine. Traffic's older image gets the new key too, if
/// Traffic takes the change. If not, returns the key under which Traffic holds the image.
pub(super) async fn quarantine(writer: &mut Writer, change: KeyChange, at: Lsn) -> Result<Option<Uuid>> {
    KEY.set(&writer.session).await?;
    let changed = self::change(writer, change, at).await;
    if KEY.close(&writer.session, changed).await?.is_ok() {
        return Ok(None);
    }
    let held = writer.quarantine.held(&writer.session, change.table, &[change.old]).await?;
    writer.quarantine.change_key(&writer.session, change).await?;
    Ok(held.on_traffic(change.old))
}

async fn rename(writer: &Writer, change: KeyChange) -> Result<()> {
    let KeyChange { table, old, new } = change;
    let step = format!("changing a key of {}", table.traffic_name());
    let references = catalog::references(writer.database(), table).await?;
    let sql = statement(&writer.names, table, &references);
    let renamed = during(&writer.session, &step).write(&sql, &[&old, &new]).await?;
    if renamed == 0 {
        // The row is not on Traffic, or a trigger has left the row out.
        let sql = format!("SELECT EXISTS (SELECT FROM {} WHERE id = $1)", writer.names.traffic_table(table));
        let row = during(&writer.session, &step).row(&sql, &[&old]).await?;
        if row.get(0) {
            return Err(Error::skipped(step));
        }
    }
    reach(Point::KeyMoving);
    if writer.may_have_notes() {
        writer.notes.change_key(&writer.session, change).await?;
    }
    Ok(())
}

/// The keys under which Traffic holds the rows.
pub(super) async fn held_as(writer: &Writer, table: Table, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    if !writer.may_have_quarantined {
        return Ok(ids.to_vec());
    }
    let held = writer.quarantine.held(&writer.session, table, ids).await?;
    Ok(ids.iter().filter_map(|id| held.on_traffic(*id)).collect())
}

/// Gives the rows to be written their keys on Traffic. A row that must wait until other rows have their
/// keys goes to quarantine. Returns the ids of the quarantined rows.
pub(super) async fn take(writer: &mut Writer, table: Table, writes: &[Write<'_>]) -> Result<HashSet<Uuid>> {
    if !writer.may_have_quarantined {
        return Ok(HashSet::new());
    }
    let at = writes.iter().map(|write| write.origin.commit_lsn).max().unwrap_or_default();
    let ids: HashSet<Uuid> = writes.iter().map(|write| write.row.id).collect();
    let mut held =
        writer.quarantine.held(&writer.session, table, &Vec::from_iter(ids.iter().copied())).await?;
    while let Some(key) = held.next(&ids) {
        let Some(under) = held.0.remove(&key) else { break };
        if held.occupies(key) {
            // Each row of a circle waits for the key of the next row: a temporary key opens the circle.
            let aside = Uuid::new_v4();
            rename(writer, KeyChange { table, old: under, new: aside }).await?;
            held.0.insert(key, aside);
            continue;
        }
        // The row under `key` on Traffic is another row, deleted by Landing.
        deletes::remove_stale(writer, Deletion { table, ids: &[key], at }).await?;
        rename(writer, KeyChange { table, old: under, new: key }).await?;
        writer.quarantine.at_home(&writer.session, table, key).await?;
    }
    let mut waiting = HashSet::new();
    for write in writes.iter().filter(|write| held.occupies(write.row.id)) {
        let message = "Traffic holds another row under its key, which waits in quarantine";
        writer.quarantine_write(write, &RefusalCause::new("23505", message)).await?;
        waiting.insert(write.row.id);
    }
    let leads: Vec<Uuid> = writes.iter().filter_map(|write| write.row.lead_id()).collect();
    if leads.is_empty() {
        return Ok(waiting);
    }
    let held = writer.quarantine.held(&writer.session, Table::LandingLeads, &leads).await?;
    let is_unsettled = |write: &&Write<'_>| write.row.lead_id().is_some_and(|lead| held.differs_at(lead));
    for write in writes.iter().filter(is_unsettled) {
        let message = "its lead is not on Traffic under its key";
        writer.quarantine_write(write, &RefusalCause::new("23503", message)).await?;
        waiting.insert(write.row.id);
    }
    Ok(waiting)
}

/// Changes a key in `table` and in every column with a reference to the row. Parameters: the old key and the
/// new key.
///
/// PostgreSQL checks foreign keys at the end of a statement, so a single statement works whatever the foreign
/// keys say of an update: at the end all references agree. Each table occurs once, because a statement can
/// change a row only once.
fn statement(names: &Names, table: Table, references: &[Reference]) -> String {
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
        let sql = statement(
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
