//! The decoded replication stream, from the slot's position on.

use std::time::Duration;

use super::capture::{Capture, Captured};
use super::primary::Primary;
use crate::checkpoint::Published;
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::postgres::Endpoint;
use crate::postgres::replication::Feed;

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

/// Landing's decoded stream.
pub struct LandingStream {
    feed: Feed,
    capture: Capture,
}

impl LandingStream {
    /// # Errors
    /// Errors of [`start`].
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

    /// The next event of the stream. Cancellation-safe: an event that was not returned is not lost.
    ///
    /// # Errors
    /// The connection broke, the server ended the stream, or the server sent a change that could lose data.
    pub async fn next(&mut self) -> Result<Captured> {
        loop {
            if let Some(captured) = self.capture.event(self.feed.next().await?)? {
                return Ok(captured);
            }
        }
    }

    /// The transport. The transport takes acknowledgements of positions that are on Traffic and in the local
    /// store.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// See [`Feed::stop`].
    pub async fn stop(self) -> Result<()> {
        self.feed.stop().await
    }
}
