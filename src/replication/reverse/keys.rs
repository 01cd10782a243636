//! Changed keys of a load: on Landing a row keeps its identity under another key.
//!
//! Rows are written as Traffic has them when they are read, but keys change in the order of the stream, before any
//! row of the load is written. A row whose new key Landing refuses is quarantined under the new key and stays on
//! Landing under the earlier key (`held_keys`). Until the row has the new key, no other row takes either key.

use std::collections::HashSet;

use uuid::Uuid;

use super::load::LoadInHand;
use crate::batch::KeyChange;
use crate::error::Result;
use crate::model::change::Table;
use crate::quarantine::held::KeysOnTarget;
use crate::quarantine::{RefusalCause, RefusedRow};

impl LoadInHand<'_> {
    /// Changes keys on Landing, in the order of the stream. A key that Landing refuses is tried again when the
    /// row is written, and refused with the reason there.
    pub(super) async fn change_keys(&mut self, changes: &[KeyChange]) -> Result<()> {
        for KeyChange { table, old, new } in changes {
            let mut held = self.held(*table, &[*old, *new]).await?;
            // None: another row waits on Landing under this key, so Landing never had this row.
            let Some(under) = held.on_target(*old) else { continue };
            if held.0.remove(old).is_some() {
                self.landing.let_go(*table, &[*old]).await?;
            }
            // Traffic has deleted the row with this key, and Landing holds the row under another key.
            if held.0.remove(new).is_some() {
                self.delete(&[(*table, vec![*new])]).await?;
                self.landing.let_go(*table, &[*new]).await?;
            }
            if under == *new {
                continue;
            }
            let is_waited_for = held.occupies(*new);
            if is_waited_for || self.landing.change_key(*table, (under, *new)).await?.is_err() {
                self.hold(*table, *new, under).await?;
            }
        }
        Ok(())
    }

    /// Gives the rows to be written their keys on Landing. Returns the rows that must wait, with the reasons:
    /// Landing refuses the row's key, or holds another row under the key.
    pub(super) async fn take_keys(&mut self, table: Table, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
        let mut held = self.held(table, ids).await?;
        let mut open: HashSet<Uuid> = ids.iter().copied().collect();
        let mut waiting = HashSet::new();
        while let Some(key) = held.next(&open) {
            let Some(under) = held.0.get(&key).copied() else { break };
            // Each row of a circle waits for the key of the next row: a temporary key opens the circle.
            let is_circle = held.occupies(key);
            let to = if is_circle { Uuid::new_v4() } else { key };
            match self.landing.change_key(table, (under, to)).await? {
                Ok(()) if is_circle => {
                    self.hold(table, key, to).await?;
                    held.0.insert(key, to);
                }
                Ok(()) => {
                    self.landing.let_go(table, &[key]).await?;
                    held.0.remove(&key);
                }
                Err(cause) => {
                    open.remove(&key);
                    waiting.insert(key);
                    self.refused.push(RefusedRow::write(table, key, cause));
                }
            }
        }
        for id in ids.iter().copied().filter(|id| held.differs_at(*id)) {
            if waiting.insert(id) {
                let message = "Landing holds another row under its key, which waits in quarantine";
                self.refused.push(RefusedRow::write(table, id, RefusalCause::new("23505", message)));
            }
        }
        Ok(waiting)
    }

    /// The rows that Landing holds under an earlier key, where either key is among `ids`.
    pub(super) async fn held(&self, table: Table, ids: &[Uuid]) -> Result<KeysOnTarget> {
        match self.carrier.may_hold {
            true => self.landing.held(table, ids).await,
            false => Ok(KeysOnTarget::default()),
        }
    }

    async fn hold(&mut self, table: Table, id: Uuid, under: Uuid) -> Result<()> {
        self.carrier.may_hold = true;
        self.landing.hold(table, id, under).await
    }
}
