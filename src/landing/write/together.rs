//! Rows that Landing refuses one at a time and takes as a set, because each row needs a unique value that
//! another row of the set still holds.

use std::collections::HashSet;

use uuid::Uuid;

use super::statements;
use super::{Act, LandingWriter, columns, parameters};
use crate::error::Result;
use crate::model::change::{Row, Table};
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::unique::{self, Filler};
use crate::postgres::write::Savepoint;
use crate::quarantine::RefusalCause;

/// Undoes an attempt to write a set.
const TOGETHER: Savepoint = Savepoint(Side::Landing, "together");

/// Undoes an attempt with one kind of filler.
const FILLER: Savepoint = Savepoint(Side::Landing, "filler");

impl LandingWriter {
    /// Applies the acts, and returns each row refused by Landing, with the reason. Rows refused because
    /// another row holds a value are tried again as a set.
    pub async fn apply(&self, table: Table, acts: &[Act]) -> Result<Vec<(Uuid, RefusalCause)>> {
        let all: Vec<&Act> = acts.iter().collect();
        let mut refused = self.bisect(table, &all).await?;
        let colliding: HashSet<Uuid> =
            refused.iter().filter(|(_, cause)| cause.is_collision()).map(|(id, _)| *id).collect();
        let is_member = |act: &&Act| colliding.contains(&act.id()) && !matches!(act, Act::Delete(_));
        let written = self.apply_together(table, acts.iter().filter(is_member).collect()).await?;
        refused.retain(|(id, _)| !written.contains(id));
        Ok(refused)
    }

    /// Applies acts refused because of other rows' values, after all rows of the set have given up their
    /// values. A row refused again leaves the set, and the rest is tried again. Returns the ids of the
    /// applied acts.
    async fn apply_together(&self, table: Table, mut set: Vec<&Act>) -> Result<HashSet<Uuid>> {
        // A set of one is not tried: the act was refused alone already.
        while set.len() > 1 {
            TOGETHER.set(&self.session).await?;
            let refused: HashSet<Uuid> = match self.give_up(table, &set).await? {
                true => self.bisect(table, &set).await?.into_iter().map(|(id, _)| id).collect(),
                false => set.iter().map(|act| act.id()).collect(),
            };
            if refused.is_empty() {
                TOGETHER.release(&self.session).await?;
                return Ok(set.iter().map(|act| act.id()).collect());
            }
            TOGETHER.discard(&self.session).await?;
            set.retain(|act| !refused.contains(&act.id()));
        }
        Ok(HashSet::new())
    }

    /// Lets the rows give up the unique values that are about to change. Returns whether Landing took the
    /// fillers.
    async fn give_up(&self, table: Table, set: &[&Act]) -> Result<bool> {
        let target = self.target(table)?;
        let unique = unique::columns(&self.session, &self.names.landing_table(table)).await?;
        let mut rows: Vec<(&Row, bool)> = Vec::new();
        for act in set {
            if let Act::Insert(row) | Act::Update { row, .. } = act {
                rows.push((row, false));
            }
        }
        let columns = columns(target, &rows);
        let step = during(&self.session, format!("updating {} on Landing", self.names.landing_name(table)));
        for filler in Filler::ALL {
            let Some(sql) = statements::give_up(&self.names, target, (&unique, filler)) else { break };
            FILLER.set(&self.session).await?;
            let given = step.write(&sql, &parameters(&columns)).await;
            if FILLER.close(&self.session, given).await?.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
