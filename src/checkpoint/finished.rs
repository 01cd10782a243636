//! The end of a move: the record of `leadbridge finish`, and the refusal of commands after a finish.

use tokio_postgres::Client;

use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;

/// Progress of a finish that can no longer be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Set when the backup is complete, before the first slot is dropped. Only `leadbridge finish` continues
    /// from here.
    Dismantling { since: Timestamp },
    /// Set when everything is dropped and certified; lasts.
    Finished { at: Timestamp },
}

impl Finish {
    /// The finish of our slot; `None` while the move is under way. Also `None` when the state table is missing
    /// or closed to the role, because every caller examines the state tables anyway, and names a missing table.
    ///
    /// # Errors
    /// Traffic cannot be queried.
    pub async fn read(traffic: &Client, names: &Names) -> Result<Option<Finish>> {
        let sql = format!("SELECT dismantling_at, finished_at FROM {} WHERE slot = $1", names.own("finish"));
        let step = during(traffic, "asking Traffic whether the move is finished");
        let row = match step.row_if_any(&sql, &[&names.slot]).await {
            Err(error) if error.kind() == Kind::Refused => return Ok(None),
            row => row?,
        };
        let Some(row) = row else { return Ok(None) };
        let finished = row.get::<_, Option<Timestamp>>(1).map(|at| Finish::Finished { at });
        Ok(finished.or(row.get::<_, Option<Timestamp>>(0).map(|since| Finish::Dismantling { since })))
    }

    /// Refuses commands that need the slots: the daemon, a resync, a cutover, a rollback.
    ///
    /// # Errors
    /// `Refused` once the slots may be gone: the slots were dropped on purpose, and nothing restores a slot.
    pub async fn refuse(traffic: &Client, names: &Names) -> Result<()> {
        match Self::read(traffic, names).await? {
            None => Ok(()),
            Some(Finish::Dismantling { since }) => Err(Error::refused(format!(
                "the move of slot `{}` is being finished (since {since}): its slots are dropped",
                names.slot
            ))
            .remedy(message!("checkpoint-remedy-finishing"))),
            Some(Finish::Finished { at }) => Err(Error::refused(format!(
                "the move of slot `{}` was finished at {at}: Traffic has all leads, nothing is left to replicate",
                names.slot
            ))
            .remedy(message!("checkpoint-remedy-finished"))),
        }
    }
}
