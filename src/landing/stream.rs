//! The replication stream: from the slot's position on, decoded.

use std::time::Duration;

use super::capture::{Capture, Captured};
use super::primary::Primary;
use crate::change::Table;
use crate::checkpoint::Published;
use crate::database::Endpoint;
use crate::database::replication::Feed;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::names::Names;

/// How long the server may take to hand over the slot. It reads the slot's state from disk, no more.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A slot, and what of it is published, on the server that is to be streamed from.
#[derive(Clone, Copy, Debug)]
pub struct StreamSource<'s> {
    pub endpoint: &'s Endpoint,
    pub slot: &'s str,
    pub publication: &'s str,
    pub primary: &'s Primary,
}

/// Starts to stream at `from`, the position durably applied, which is one of the source's primary. Returns once the
/// server has handed over the slot.
///
/// # Errors
/// Transient while another session still holds the slot; refused when the slot or the publication is gone.
pub async fn start(source: StreamSource<'_>, from: Lsn) -> Result<Feed> {
    let step = "starting the replication stream";
    let mut session = source.endpoint.replicate().await?;
    let starting = async {
        // The server takes any position for a start: it is compared with this one before.
        source.primary.check(&mut session).await?;
        session.stream(step, source.slot, source.publication, from).await
    };
    let started = tokio::time::timeout(START_TIMEOUT, starting).await;
    started.map_err(|_| Error::unreachable(format!("{step}: no answer from the server")))?
}

/// Landing's stream, understood.
pub struct LandingStream {
    feed: Feed,
    capture: Capture,
}

impl LandingStream {
    /// # Errors
    /// Those of [`start`].
    pub async fn start(
        landing: &Endpoint,
        names: &Names,
        tables: &[Table],
        published: Published,
        from: Lsn,
        primary: &Primary,
    ) -> Result<Self> {
        let source =
            StreamSource { endpoint: landing, slot: &names.slot, publication: &names.publication, primary };
        let feed = start(source, from).await?;
        Ok(LandingStream { feed, capture: Capture::new(&names.landing_schema, tables, published) })
    }

    /// What the stream says next. Cancellation-safe: an event that was not returned is not lost.
    ///
    /// # Errors
    /// The connection broke, the server ended the stream, or what it sent could lose data.
    pub async fn next(&mut self) -> Result<Captured> {
        loop {
            if let Some(captured) = self.capture.event(self.feed.next().await?)? {
                return Ok(captured);
            }
        }
    }

    /// The transport, which takes acknowledgements of what is on Traffic and in the local store.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// See [`Feed::stop`].
    pub async fn stop(self) -> Result<()> {
        self.feed.stop().await
    }
}
