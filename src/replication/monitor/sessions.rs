//! The monitor's own sessions, one on each side.

use super::super::Context;
use crate::admission;
use crate::error::{Error, Result};
use crate::model::side::Side;
use crate::postgres::{Endpoint, Session};

/// Rounds between two new connections, which show a certificate that was renewed.
const RECONNECT_EVERY: u32 = 600;
/// Rounds with an inactive slot after which the stream counts as dead: the server ended its walsender
/// (`wal_sender_timeout`), and the network did not deliver the end.
const ABANDONED_AFTER: u32 = 5;

#[derive(Default)]
pub struct Sessions {
    pub(super) landing: Option<Session>,
    pub(super) traffic: Option<Session>,
    /// Last findings of admission, on Landing and on Traffic.
    pub(super) shapes: [admission::Watch; 2],
    /// Rounds in a row in which leadbridge streamed and the server's slot was inactive.
    slot_unused: u32,
}

impl Sessions {
    /// The session on one side, opened if there is none.
    pub async fn on(&mut self, context: &Context, side: Side) -> Result<&Session> {
        match side {
            Side::Landing => open(&mut self.landing, &context.config.landing).await,
            Side::Traffic => open(&mut self.traffic, &context.config.traffic).await,
        }
    }

    /// Closes both sessions once in `RECONNECT_EVERY` rounds.
    pub fn renew(&mut self, round: u32) {
        if round > 0 && round.is_multiple_of(RECONNECT_EVERY) {
            (self.landing, self.traffic) = (None, None);
        }
    }

    /// Counts the rounds in which a stream runs and its slot is inactive, and abandons the stream after too
    /// many.
    pub fn saw_slot(&mut self, context: &Context, source: Side, unused: bool) {
        self.slot_unused = if unused { self.slot_unused + 1 } else { 0 };
        if self.slot_unused >= ABANDONED_AFTER {
            context.progress.abandon(Error::unreachable(format!("{source} no longer serves the stream")));
        }
    }
}

/// The session, opened if there is none.
pub async fn open<'s>(session: &'s mut Option<Session>, endpoint: &Endpoint) -> Result<&'s Session> {
    Ok(match session {
        Some(session) => session,
        None => session.insert(endpoint.connect("monitor").await?),
    })
}
