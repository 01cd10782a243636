//! The three positions, and their agreement at the start (guarantees 1.3, 1.4); this file is pure.
//!
//! leadbridge writes a position to Traffic in the transaction of the rows, then to the local store, and only
//! then acknowledges the position to the slot. So always: slot ≤ local ≤ Traffic, and Traffic's position lies
//! in Landing's own WAL. [`agree`] checks the order at every start. Whatever breaks the order (a restored
//! backup, a recreated slot, a standby that lacked WAL, a foreign state directory) is refused, never guessed
//! around.

mod catalog;
mod finished;
mod forward_slot;
mod imported;
mod installation;
pub mod lease;
mod ledger;
pub mod legacy_names;
mod local;
pub mod own_schema;
pub mod passthrough;
mod published;
mod reverse;
mod reverse_published;
mod settings;

pub use catalog::published;
pub use finished::Finish;
pub use imported::{ImportPosition, ImportRecord, ImportedColumns, ImportedExport, ImportedRows};
pub use installation::Installation;
pub use ledger::{
    Ledger, Recorded, Recording, ReplicationState, is_switched, recorded_published, recorded_state,
    refuse_switched,
};
pub use local::{LocalPosition, LocalStore};
pub use published::{Publication, Published, PublishedColumn, PublishedTable};
pub use reverse::{Carried, Reverse, TrafficNow};
pub use reverse_published::{check_published_since, published_on_traffic};
pub use settings::ReplicatedSettings;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::postgres::Endpoint;
use crate::postgres::slot::SlotPosition;
use crate::postgres::timeline::LandingWal;

/// Identity of a replication. Every position belongs to an identity, and positions of different identities
/// cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The Landing cluster's system identifier.
    pub landing_system_id: String,
    pub landing_database: String,
    pub slot: String,
    pub publication: String,
}

impl Identity {
    /// Identity for the database `landing`, whose cluster has reported `landing_system_id`.
    pub fn new(names: &Names, landing: &Endpoint, landing_system_id: String) -> Self {
        Identity {
            landing_system_id,
            landing_database: landing.database().to_owned(),
            slot: names.slot.clone(),
            publication: names.publication.clone(),
        }
    }
}

/// Beginning of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No snapshot is complete. `drop_slot`: an interrupted snapshot has left a slot.
    Snapshot { drop_slot: bool },
    /// Stream from the position on.
    Stream(Lsn),
    /// A cutover has switched: reverse replication applies Traffic's changes to Landing.
    Reverse,
}

/// Decides where a run begins, from the positions of Traffic, the local store and Landing.
///
/// # Errors
/// The positions contradict each other. The error names the positions and a remedy.
pub fn agree(
    live: &Identity,
    wal: &LandingWal,
    traffic: Option<&Recorded>,
    local: Option<&(Identity, Lsn)>,
    slot: Option<&SlotPosition>,
) -> Result<Start> {
    if let Some((identity, _)) = local {
        same_identity(live, identity, "the local state directory")?;
    }
    if let Some(slot) = slot {
        check_slot(live, slot)?;
    }
    let Some(recorded) = traffic else {
        return first_start(live, local, slot);
    };
    same_identity(live, &recorded.identity, "Traffic's checkpoint")?;
    match recorded.state {
        ReplicationState::Snapshot => Ok(Start::Snapshot { drop_slot: slot.is_some() }),
        ReplicationState::Streaming => resume(live, wal, recorded, local.map(|(_, lsn)| *lsn), slot),
        ReplicationState::Switched => start_reverse(live, wal, recorded, local.map(|(_, lsn)| *lsn), slot),
    }
}

fn first_start(
    live: &Identity,
    local: Option<&(Identity, Lsn)>,
    slot: Option<&SlotPosition>,
) -> Result<Start> {
    if let Some((_, lsn)) = local {
        return Err(behind("Traffic has no checkpoint", &format!("the local state directory is at {lsn}")));
    }
    if let Some(slot) = slot {
        return Err(Error::refused(format!(
            "Landing has a slot `{}` (at {}), but Traffic has no record of it",
            live.slot, slot.confirmed_flush
        ))
        .remedy(message!("checkpoint-remedy-unknown-slot")));
    }
    Ok(Start::Snapshot { drop_slot: false })
}

/// The position that a checkpoint of `state` records.
fn position(recorded: &Recorded, state: &str) -> Result<Lsn> {
    let missing = || Error::internal(format!("Traffic's checkpoint says `{state}` but has no position"));
    recorded.applied.ok_or_else(missing)
}

fn resume(
    live: &Identity,
    wal: &LandingWal,
    recorded: &Recorded,
    local: Option<Lsn>,
    slot: Option<&SlotPosition>,
) -> Result<Start> {
    let traffic = position(recorded, "streaming")?;
    check_start(live, slot, traffic)?;
    match local {
        Some(local) if local > traffic => Err(behind(
            &format!("Traffic is at {traffic}"),
            &format!("the local state directory is at {local}"),
        )),
        _ => wal.check_contains(traffic, recorded.timeline).map(|()| Start::Stream(traffic)),
    }
}

/// After the switch the slot on Landing holds nothing necessary, because only leadbridge writes to Landing.
/// But a server restored to an earlier state, on either side, lacks changes that the other side has recorded.
/// Traffic records each position before the local store and the slot do, so a position of theirs beyond
/// Traffic's proves that Traffic was restored. The slot that is being made (`makes_slot`) proves nothing.
fn start_reverse(
    live: &Identity,
    wal: &LandingWal,
    recorded: &Recorded,
    local: Option<Lsn>,
    slot: Option<&SlotPosition>,
) -> Result<Start> {
    let traffic = position(recorded, "switched")?;
    let slot = slot.map(|slot| slot.confirmed_flush).filter(|_| !recorded.makes_slot);
    let ahead = [
        (local, "the local state directory".to_owned()),
        (slot, format!("the slot `{}` on Landing", live.slot)),
    ];
    let ahead = ahead.into_iter().find_map(|(at, place)| Some((at.filter(|at| *at > traffic)?, place)));
    if let Some((at, place)) = ahead {
        return Err(Error::refused(format!(
            "positions contradict each other: Traffic is at {traffic}, but {place} is at {at}"
        ))
        .remedy(message!("checkpoint-remedy-traffic-behind")));
    }
    wal.check_contains(traffic, recorded.timeline)
        .map(|()| Start::Reverse)
        .map_err(|error| Error::refused(error.message()).remedy(message!("checkpoint-remedy-landing-behind")))
}

/// # Errors
/// The slot cannot send the changes after Traffic's position.
pub fn check_start(live: &Identity, slot: Option<&SlotPosition>, traffic: Lsn) -> Result<()> {
    let Some(slot) = slot else {
        return Err(Error::refused(format!(
            "the slot `{}` is gone from Landing; Traffic is at {traffic}",
            live.slot
        ))
        .remedy(message!("checkpoint-remedy-gap")));
    };
    if slot.wal_status.as_deref() == Some("lost") {
        return Err(Error::refused(format!(
            "the slot `{}` has lost WAL that it needs (wal_status = lost, max_slot_wal_keep_size); Traffic is at {traffic}",
            live.slot
        ))
        .remedy(message!("checkpoint-remedy-gap")));
    }
    if slot.confirmed_flush > traffic {
        let slot = format!("the slot `{}` is at {}", live.slot, slot.confirmed_flush);
        return Err(behind(&format!("Traffic is at {traffic}"), &slot));
    }
    Ok(())
}

fn behind(traffic: &str, other: &str) -> Error {
    Error::refused(format!("positions contradict each other: {traffic}, but {other}"))
        .remedy(message!("checkpoint-remedy-skipped"))
}

fn same_identity(live: &Identity, recorded: &Identity, place: &str) -> Result<()> {
    let fields = [
        ("Landing cluster (system identifier)", &live.landing_system_id, &recorded.landing_system_id),
        ("Landing database", &live.landing_database, &recorded.landing_database),
        ("slot", &live.slot, &recorded.slot),
        ("publication", &live.publication, &recorded.publication),
    ];
    match fields.into_iter().find(|(_, live, recorded)| live != recorded) {
        None => Ok(()),
        Some((what, live, recorded)) => Err(Error::refused(format!(
            "{place} belongs to another {what}: it says `{recorded}`, this run has `{live}`"
        ))
        .remedy(message!("checkpoint-remedy-identity"))),
    }
}

/// # Errors
/// The slot of the configured name belongs to another program. leadbridge never touches such a slot.
pub fn check_slot(live: &Identity, slot: &SlotPosition) -> Result<()> {
    if slot.decodes(&live.landing_database) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the slot `{}` on Landing is not leadbridge's: the slot decodes database `{}` with `{}`",
        live.slot, slot.database, slot.plugin
    ))
    .remedy(message!("checkpoint-remedy-slot-name")))
}

#[cfg(test)]
mod tests;
