//! Starting a replication stream from a slot of either side.

use std::time::Duration;

use super::Endpoint;
use super::primary::Primary;
use super::replication::Feed;
use crate::error::{Error, Result};
use crate::model::lsn::Lsn;

/// Time in which the server must hand over the slot. The server only reads the slot's state from disk.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A slot and a publication on the server to stream from.
#[derive(Clone, Copy, Debug)]
pub struct StreamSource<'s> {
    pub endpoint: &'s Endpoint,
    pub slot: &'s str,
    pub publication: &'s str,
    pub primary: &'s Primary,
}

/// Starts to stream at `from`, the durably applied position in the WAL of the source's primary. Returns once
/// the server has handed over the slot.
///
/// # Errors
/// Transient while another session still holds the slot; refused when the slot or the publication is gone.
pub async fn start(source: StreamSource<'_>, from: Lsn) -> Result<Feed> {
    let step = "starting the replication stream";
    let mut session = source.endpoint.replicate().await?;
    let starting = async {
        // The server accepts any position as a start, so the server's identity is checked first.
        source.primary.check(&mut session).await?;
        session.stream(step, source.slot, source.publication, from).await
    };
    let started = tokio::time::timeout(START_TIMEOUT, starting).await;
    started.map_err(|_| Error::unreachable(format!("{step}: no answer from the server")))?
}
