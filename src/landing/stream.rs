//! The replication stream: from the slot's position on, decoded.

use std::time::Duration;

use pgwire_replication::{PgWireError, ReplicationClient, ReplicationEvent};

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

/// A slot, and what of it is published, on the server that is to be streamed from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s> {
    pub endpoint: &'s Endpoint,
    pub slot: &'s str,
    pub publication: &'s str,
    pub primary: &'s Primary,
}

/// An open replication stream, not yet understood. It holds the slot: no other session can.
pub struct Events {
    client: ReplicationClient,
    endpoint: Endpoint,
}

impl Events {
    /// Starts to stream at `from`, the position durably applied, which is one of the source's primary. Returns once
    /// the server has handed over the slot.
    ///
    /// # Errors
    /// Transient while another session still holds the slot; refused when the slot or the publication is gone.
    pub async fn start(source: Source<'_>, from: Lsn) -> Result<Self> {
        let step = "starting the replication stream";
        let config = source.endpoint.replication(source.slot, source.publication).await?;
        let mut client = ReplicationClient::connect_gated(config.with_start_lsn(from.into()))
            .await
            .map_err(|error| Error::replication(step, &error))?;
        let starting = async {
            // The server takes any position for a start: it is compared with this one before.
            source.primary.check(&mut client).await?;
            client.start().await.map_err(|error| Error::replication(step, &error))?;
            client.wait_started().await.map_err(|error| Error::replication(step, &error))
        };
        let started = tokio::time::timeout(START_TIMEOUT, starting).await;
        started.map_err(|_| Error::unreachable(format!("{step}: no answer from the server")))??;
        Ok(Events { client, endpoint: source.endpoint.clone() })
    }

    /// What the server sends next. Cancellation-safe: an event that was not returned is not lost.
    ///
    /// # Errors
    /// The connection broke, or the server ended the stream.
    pub async fn next(&mut self) -> Result<ReplicationEvent> {
        let step = "reading the replication stream";
        let failed = |error| {
            if let PgWireError::MessageTooLarge { .. } = error {
                self.endpoint.read_alone();
            }
            Error::replication(step, &error)
        };
        let event = self.client.recv().await.map_err(failed)?;
        event.ok_or_else(|| Error::unreachable(format!("{step}: the server ended it")))
    }

    /// Tells the server that everything before `durable` is where it belongs, for good: the slot may let go of it.
    /// Sent within a moment.
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

/// Landing's stream, understood.
pub struct Stream {
    events: Events,
    capture: Capture,
}

impl Stream {
    /// # Errors
    /// Those of [`Events::start`].
    pub async fn start(
        landing: &Endpoint,
        names: &Names,
        tables: &[Table],
        published: Published,
        from: Lsn,
        primary: &Primary,
    ) -> Result<Self> {
        let source =
            Source { endpoint: landing, slot: &names.slot, publication: &names.publication, primary };
        let events = Events::start(source, from).await?;
        Ok(Stream { events, capture: Capture::new(&names.landing_schema, tables, published) })
    }

    /// What the stream says next. Cancellation-safe: an event that was not returned is not lost.
    ///
    /// # Errors
    /// The connection broke, the server ended the stream, or what it sent could lose data.
    pub async fn next(&mut self) -> Result<Captured> {
        loop {
            if let Some(captured) = self.capture.event(self.events.next().await?)? {
                return Ok(captured);
            }
        }
    }

    /// See [`Events::acknowledge`]: on Traffic and in the local store.
    pub fn acknowledge(&self, durable: Lsn) {
        self.events.acknowledge(durable);
    }

    /// See [`Events::stop`].
    pub async fn stop(self) -> Result<()> {
        self.events.stop().await
    }
}
