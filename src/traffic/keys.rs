//! Changed keys: Traffic's own columns and referring rows stay with a row whose key changes (guarantees 3.1),
//! also where Traffic refuses the change at first.
//!
//! A row whose new key was refused is in quarantine under the new key, and Traffic holds an older image of
//! the row under the earlier key (`held_under`). Until the image has the new key, no other row may have
//! either key. A row with the earlier key would overwrite the image and get Traffic's own data of the other
//! row, and a child of a lead with one of the two keys would belong to the wrong lead.

use std::collections::HashSet;

use uuid::Uuid;

use super::deletes::{self, Deletion};
use super::writer::Writer;
use crate::batch::{KeyChange, Write};
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::references;
use crate::postgres::write::Savepoint;
use crate::quarantine::RefusalCause;

/// Undoes a changed key that Traffic refuses.
const KEY: Savepoint = Savepoint(Side::Traffic, "key");

/// Gives a row its new key and moves the referring rows, so Traffic's own data stays with the row.
pub(super) async fn change(writer: &mut Writer, change: KeyChange, at: Lsn) -> Result<()> {
    let KeyChange { table, old, new } = change;
    let mut from = Some(old);
    if writer.may_have_quarantined {
        from = writer.quarantine.held(&writer.session, table, &[old]).await?.on_target(old);
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
    Ok(held.on_target(change.old))
}

async fn rename(writer: &Writer, change: KeyChange) -> Result<()> {
    let KeyChange { table, old, new } = change;
    let step = format!("changing a key of {} on Traffic", table.traffic_name());
    let name = writer.names.traffic_table(table);
    let references = references::referring(&writer.session, &step, &name).await?;
    references::change_key(&writer.session, &step, (&name, &references), (old, new)).await?;
    reach(Point::KeyMoving);
    if writer.may_have_notes() {
        writer.notes.change_key(&writer.session, change).await?;
    }
    writer.copies.change_left_key(&writer.session, change).await
}

/// The keys under which Traffic holds the rows.
pub(super) async fn held_as(writer: &Writer, table: Table, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    if !writer.may_have_quarantined {
        return Ok(ids.to_vec());
    }
    let held = writer.quarantine.held(&writer.session, table, ids).await?;
    Ok(ids.iter().filter_map(|id| held.on_target(*id)).collect())
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
