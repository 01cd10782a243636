//! The fence around one side's tables (`sql/fence.sql`), during a cutover or rollback.
//!
//! `close` closes the fence in one open transaction on the fenced side. Until the transaction commits, writers
//! wait for its locks and nothing has changed; `holders` names the sessions that hold the tables. A killed
//! command, a broken connection or a time limit of the server ends the transaction, and with the transaction
//! the fence. After the commit, writers get an error with the operator's message, until `lift` opens the fence.
//! `pass` checks whether leadbridge's own sessions may write through a closed fence; `roles` are the roles that
//! the fence refuses.

mod close;
pub mod holders;
mod lift;
pub mod pass;
mod roles;

use uuid::Uuid;

pub use close::{FenceTerms, HeldFence, is_released, keep, left_open, others};
pub use lift::{closed, expire, lift, lift_all, open, remove, sweep, wait};
pub use roles::{FencedRoles, Tried};

use crate::error::Result;
use crate::postgres::Database;

/// Calls a function of the fence that answers with a boolean.
async fn call(fenced: Database<'_>, function: &str, cutover: Uuid) -> Result<bool> {
    let sql = format!("SELECT {}($1)", fenced.names.own(function));
    Ok(fenced.during(format!("calling {function}")).row(&sql, &[&cutover]).await?.get(0))
}
