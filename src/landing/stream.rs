//! The replication stream: from the slot's position on, decoded.

use std::time::Duration;

use pgwire_replication::ReplicationClient;

use super::capture::{Capture, Captured};
use super::primary::Primary;
use crate::change::Table;
use crate::checkpoint::Published;
use crate::database::Endpoint;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::names::Names;

/// How long the server may take to hand over the slot. It reads the slot's state from disk, no more.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// An open replication stream. It holds the slot: no other session can.
pub struct Stream {
    client: ReplicationClient,
    capture: Capture,
}

impl Stream {
    /// Starts to stream at `from`, the position durably applied, which is one of `primary`. Returns once the server has handed over the slot.
    ///
    /// # Errors
    /// Transient while another session still holds the slot; refused when the slot or the publication is gone.
    pub async fn start(
        landing: &Endpoint,
        names: &Names,
        tables: &[Table],
        published: Published,
        from: Lsn,
        primary: &Primary,
    ) -> Result<Self> {
        let step = "starting the replication stream";
        let config = landing.replication(&names.slot, &names.publication).await?.with_start_lsn(from.into());
        let mut client = ReplicationClient::connect_gated(config)
            .await
            .map_err(|error| Error::replication(step, &error))?;
        let starting = async {
            // The server takes any position for a start: it is compared with this one before.
            primary.check(&mut client).await?;
            client.start().await.map_err(|error| Error::replication(step, &error))?;
            client.wait_started().await.map_err(|error| Error::replication(step, &error))
        };
        let started = tokio::time::timeout(START_TIMEOUT, starting).await;
        started.map_err(|_| Error::unreachable(format!("{step}: no answer from the server")))??;
        Ok(Stream { client, capture: Capture::new(&names.landing_schema, tables, published) })
    }

    /// What the stream says next. Cancellation-safe: an event that was not returned is not lost.
    ///
    /// # Errors
    /// The connection broke, the server ended the stream, or what it sent could lose data.
    pub async fn next(&mut self) -> Result<Captured> {
        let step = "reading the replication stream";
        loop {
            let event = self.client.recv().await.map_err(|error| Error::replication(step, &error))?;
            let event = event.ok_or_else(|| Error::unreachable(format!("{step}: the server ended it")))?;
            if let Some(captured) = self.capture.event(event)? {
                return Ok(captured);
            }
        }
    }

    /// Tells the server that everything before `durable` is on Traffic and in the local store: the slot may let
    /// go of it. Sent within a moment.
    pub fn acknowledge(&self, durable: Lsn) {
        self.client.update_applied_lsn(durable.into());
    }

    /// Ends the stream and waits for the server to release the slot.
    pub async fn stop(mut self) -> Result<()> {
        self.client
            .shutdown()
            .await
            .map_err(|error| Error::replication("ending the replication stream", &error))
    }
}
