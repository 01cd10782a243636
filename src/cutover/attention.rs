//! States of a cutover or rollback that are not normal, each with the way out.

use super::effects::HookState;
use super::journal::{CutoverJournal, JournalEntry};
use super::{left, orphan};
use crate::error::{Kind, Result};
use crate::fence;
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::postgres::advisory::{self, ExclusiveRight};
use crate::postgres::{Database, Databases};
use crate::report::Attention;

/// The states that both databases show. Changes nothing.
///
/// # Errors
/// A database cannot be read, or `leadbridge migrate` has not run.
pub async fn examine(databases: Databases<'_>) -> Result<Vec<Attention>> {
    let mut found = of_journal(databases.on(Side::Traffic)).await?;
    if let Some(orphan) = orphan::find(databases).await? {
        found.push(orphan.attention());
    }
    for side in [Side::Landing, Side::Traffic] {
        let database = databases.on(side);
        found.extend(foreign_holders(database).await?);
        for cutover in fence::closed(database).await? {
            if let Err(damage) = fence::pass::refuse_damage(database, cutover).await {
                let remedy = damage
                    .remedy_message()
                    .cloned()
                    .unwrap_or_else(|| message!("cutover-attention-log-remedy"));
                found.push(Attention::new(Message::verbatim(damage.message()), remedy));
            }
        }
    }
    Ok(found)
}

/// Sessions of other programs that hold a right of this installation, and so keep replication, a cutover or a rollback
/// from going on.
async fn foreign_holders(database: Database<'_>) -> Result<Vec<Attention>> {
    let mut found = Vec::new();
    for right in ExclusiveRight::lasting_on(database.side) {
        match advisory::refuse_foreign(database, right).await {
            Err(foreign) if foreign.kind() == Kind::Refused => {
                let remedy = foreign.remedy_message().cloned();
                let remedy = remedy.unwrap_or_else(|| message!("cutover-attention-log-remedy"));
                found.push(Attention::new(Message::verbatim(foreign.message()), remedy));
            }
            looked => looked?,
        }
    }
    Ok(found)
}

async fn of_journal(traffic: Database<'_>) -> Result<Vec<Attention>> {
    let Database { client, names, .. } = traffic;
    let journal = CutoverJournal::new(names);
    let unresolved = journal.unresolved(client).await?;
    let mut found = Vec::new();
    // A running command holds the right, and the daemon takes the right for a moment.
    let is_abandoned = !unresolved.is_empty() && journal.take(client).await?;
    if is_abandoned {
        journal.give_back(client).await?;
    }
    for entry in &unresolved {
        let direction = entry.direction.as_str();
        if let Some(duty) = hook_duty(entry) {
            found.push(duty);
        } else if is_abandoned {
            found.push(Attention::new(
                message!(
                    "cutover-attention-abandoned",
                    direction = direction,
                    id = entry.id,
                    state = entry.state.to_string()
                ),
                message!("cutover-attention-abandoned-remedy"),
            ));
        }
    }
    let newest = journal.newest(client).await?;
    if let Some(newest) = newest.filter(|newest| !unresolved.iter().any(|entry| entry.id == newest.id)) {
        found.extend(hook_duty(&newest));
        let kept = left::count(client, names, newest.id).await?;
        if kept > 0 {
            found.push(Attention::new(
                message!("cutover-attention-left", kept = kept, id = newest.id),
                message!("cutover-attention-left-remedy", table = names.own("left_on_traffic")),
            ));
        }
    }
    Ok(found)
}

/// What an operator has to do about the hook of a cutover or rollback; `None` when the hook has ended well.
pub(super) fn hook_duty(entry: &JournalEntry) -> Option<Attention> {
    let (from, to) = entry.direction.sides();
    let direction = entry.direction.as_str();
    let variables = format!("LEADBRIDGE_DIRECTION={direction} LEADBRIDGE_CUTOVER_ID={}", entry.id);
    if entry.needs_hook_undone() {
        return Some(Attention::new(
            message!(
                "cutover-attention-hook-undone",
                direction = direction,
                id = entry.id,
                to = to,
                from = from
            ),
            message!(
                "cutover-attention-hook-undone-remedy",
                variables = variables,
                from = from,
                direction = direction
            ),
        ));
    }
    let unfinished = entry.state == entry.direction.done() && entry.hook == HookState::Begun;
    unfinished.then(|| {
        Attention::new(
            message!("cutover-attention-hook-unfinished", direction = direction, id = entry.id, from = from),
            message!(
                "cutover-attention-hook-unfinished-remedy",
                variables = variables,
                direction = direction
            ),
        )
    })
}
