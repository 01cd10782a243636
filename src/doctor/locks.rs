//! Whether another program holds an advisory lock of leadbridge's, which every role may take.

use super::Outcome;
use crate::language::{Message, message};
use crate::postgres::Database;
use crate::postgres::advisory::{self, ExclusiveRight};
use crate::report::Verdict;

/// Not a check of a run: a daemon waits until the lock is free, and must not end.
pub async fn foreign_holders(database: Database<'_>) -> Outcome {
    let mut holders = Vec::new();
    for right in ExclusiveRight::lasting_on(database.side) {
        let held = advisory::own_holders(database, right).await?;
        holders.extend(
            held.first().map(|holder| {
                message!("doctor-locks-held", right = right.message(), holder = holder.message())
            }),
        );
    }
    Ok(Verdict::ok(match holders.is_empty() {
        true => message!("doctor-locks-free"),
        false => Message::joined(holders, "; "),
    }))
}
