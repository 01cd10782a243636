//! When an import may write: while no replication has begun, and no other process can begin it.

use crate::access::{self, AccessScope};
use crate::admission::{AdmissionScope, Bars, Extent as TableExtent};
use crate::checkpoint::own_schema::{self, Extent};
use crate::checkpoint::{Finish, Installation, lease, recorded_state};
use crate::config::Config;
use crate::cutover::journal::CutoverJournal;
use crate::error::{Error, Result};
use crate::files::Manifest;
use crate::language::message;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::Database;

/// Takes the lease, and checks everything that does not depend on the rows.
///
/// # Errors
/// Refused with the first condition that does not hold.
pub(super) async fn admit(
    traffic: Database<'_>,
    (config, tables): (&Config, &[Table]),
    manifest: &Manifest,
) -> Result<()> {
    own_schema::enter(traffic, &config.landing, Extent::Present).await?;
    Installation::refuse_shared_tables(traffic.client, traffic.names).await?;
    refuse_replication(traffic).await?;
    let lease = lease::take_soon(traffic).await?;
    if !lease.is_taken() {
        return Err(Error::refused(format!("a daemon applies for this slot: {}", lease.holder()))
            .remedy(message!("import-remedy-daemon-runs")));
    }
    // A daemon may have begun a copy, and ended, before the lease was taken.
    refuse_replication(traffic).await?;
    let Database { client, names, .. } = traffic;
    let accept = &config.accepted_access;
    access::admit_exported(&manifest.access, client, AccessScope { names, tables, accept }).await?;
    AdmissionScope { side: Side::Traffic, names, tables, extent: TableExtent::Whole }
        .admit(client, Bars::Replication)
        .await
}

/// Without a checkpoint nothing is replicated, and nothing was switched.
async fn refuse_replication(traffic: Database<'_>) -> Result<()> {
    let Database { client, names, .. } = traffic;
    Finish::refuse(client, names).await?;
    if let Some(state) = recorded_state(client, names).await? {
        return Err(already_replicated(&state, names));
    }
    let unresolved = CutoverJournal::new(names).unresolved(client).await?;
    match unresolved.first() {
        None => Ok(()),
        Some(entry) => Err(Error::refused(format!(
            "a {} is not at its end: {} is `{}`",
            entry.direction.as_str(),
            entry.id,
            entry.state
        ))
        .remedy(message!("import-remedy-unresolved", direction = entry.direction.as_str()))),
    }
}

fn already_replicated(state: &str, names: &Names) -> Error {
    let (what, remedy) = match state {
        "snapshot" => {
            ("a daemon has begun to copy Landing into this Traffic", message!("import-remedy-being-copied"))
        }
        "switched" => ("Traffic is the system of record", message!("import-remedy-switched")),
        _ => (
            "a daemon replicates Landing into this Traffic: the rows belong to the stream",
            message!("import-remedy-replicated"),
        ),
    };
    Error::refused(format!("{what} (the checkpoint of slot `{}` says `{state}`)", names.slot)).remedy(remedy)
}
