//! One ordinary connection, its settings pinned.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio_postgres::Client;
use tokio_util::task::AbortOnDropHandle;

use super::url::Host;

/// A connection to one database. Dropping it ends the connection; [`Session::close`] does so and waits for it.
pub struct Session {
    client: Client,
    // Owns the task that moves the bytes: it ends with the session, never after it.
    connection: AbortOnDropHandle<()>,
    host: Host,
}

impl Session {
    pub(super) fn new(client: Client, connection: AbortOnDropHandle<()>, host: Host) -> Self {
        Session { client, connection, host }
    }

    /// The host that answered, of those in the URL.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Says goodbye to the server and waits until the connection's task has ended, for a moment at most: a peer
    /// that is gone takes no goodbye.
    pub async fn close(self) {
        let Session { client, connection, .. } = self;
        drop(client);
        // Ended, panicked or given up and aborted: the connection is gone either way.
        let _ = tokio::time::timeout(GOODBYE, connection).await;
    }
}

const GOODBYE: Duration = Duration::from_secs(2);

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// What every session is pinned to, whatever the server, the database and the role say. A setting that this
/// server's version lacks is passed over, so that a server too old can still be told so.
///
/// Text output must be the same everywhere, for it is compared and stored; the server's own time limits must not
/// cut a long copy; keepalives let the server notice within about 30 seconds that a daemon's machine is gone, so
/// that its locks go too; `row_security = off` turns silently hidden rows into an error; `synchronous_commit = on`,
/// because a position is acknowledged to the slot as soon as Traffic has committed it: a crash must not undo that.
pub(super) const PINNED: [(&str, &str); 19] = [
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, YMD"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    ("row_security", "off"),
    ("synchronous_commit", "on"),
    ("search_path", ""),
    ("standard_conforming_strings", "on"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "4"),
    ("tcp_user_timeout", "30000"),
];

/// One statement that pins them all: one round trip, and no setting is missed.
pub(super) fn pin_statement() -> String {
    let rows: Vec<String> = PINNED.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    format!(
        "SELECT pg_catalog.set_config(p.name, p.value, false) FROM (VALUES {}) AS p (name, value) \
         JOIN pg_catalog.pg_settings AS s ON pg_catalog.lower(s.name) = p.name",
        rows.join(", ")
    )
}

/// The same for a replication connection, as start-up options: it takes no `SET` before it streams, and only
/// what every supported server (15 and later) knows may stand here.
pub(super) fn start_options() -> String {
    PINNED
        .iter()
        .filter(|(name, value)| {
            !value.is_empty() && !matches!(*name, "transaction_timeout" | "client_encoding")
        })
        .map(|(name, value)| format!("-c {name}={}", value.replace(' ', "\\ ")))
        .collect::<Vec<_>>()
        .join(" ")
}
