//! The decoded replication stream, from the slot's position on.

use crate::capture::rows::{Capture, Captured};
use crate::checkpoint::Published;
use crate::error::Result;
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::postgres::Endpoint;
use crate::postgres::primary::Primary;
use crate::postgres::replication::Feed;
use crate::postgres::stream::{self, StreamSource};

/// Landing's decoded stream.
pub struct LandingStream {
    feed: Feed,
    capture: Capture,
}

impl LandingStream {
    /// # Errors
    /// Errors of [`stream::start`].
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
        let feed = stream::start(source, from).await?;
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
