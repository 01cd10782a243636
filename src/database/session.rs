//! One ordinary connection, its settings pinned.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_util::task::AbortOnDropHandle;

use super::place::Place;

/// A connection to one database. Dropping it ends the connection; [`Session::close`] does so and waits for it.
pub struct Session {
    client: Client,
    // Owns the task that moves the bytes: it ends with the session, never after it.
    connection: AbortOnDropHandle<()>,
    backend: Backend,
}

/// The process that serves a session, by what tells it apart from every other on its server, now and later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub pid: i32,
    /// When it started, as the server writes it.
    pub started: String,
    /// Where we have reached its server.
    pub place: Place,
    /// Where its server says that it was reached: one address may lead to several. `None` on a Unix socket.
    pub reached: Option<String>,
    /// Its server was a standby then.
    pub on_standby: bool,
}

impl Backend {
    /// Nobody's, until the server has said who it is.
    pub(super) fn unknown(place: Place) -> Self {
        Backend { pid: 0, started: "-infinity".to_owned(), place, reached: None, on_standby: false }
    }

    /// The columns of the last row that [`pin_statement`] brings.
    pub(super) fn take_in(&mut self, columns: [Option<String>; 4]) {
        let [pid, started, reached, on_standby] = columns;
        self.pid = pid.and_then(|pid| pid.parse().ok()).unwrap_or(self.pid);
        self.started = started.unwrap_or_else(|| self.started.clone());
        self.reached = reached;
        self.on_standby = on_standby.as_deref() == Some("t");
    }

    /// Whether the same server serves `other`.
    pub fn is_beside(&self, other: &Backend) -> bool {
        self.place == other.place && self.reached == other.reached
    }
}

impl Session {
    /// Takes over a new connection and pins its settings.
    pub(super) async fn pin(
        client: Client,
        connection: AbortOnDropHandle<()>,
        place: Place,
    ) -> Result<Self, tokio_postgres::Error> {
        let answers = client.simple_query(&pin_statement()).await?;
        let rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let mut backend = Backend::unknown(place);
        // The last row is the server's word on this very session; process 0 is nobody's.
        if let Some(row) = rows.last() {
            backend.take_in(
                [0_usize, 1, 2, 3].map(|column| row.try_get(column).ok().flatten().map(str::to_owned)),
            );
        }
        Ok(Session { client, connection, backend })
    }

    /// Who serves it: behind a pooler too, since the server itself was asked.
    pub fn backend(&self) -> &Backend {
        &self.backend
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
/// because a position is acknowledged to the slot as soon as Traffic has committed it: a crash must not undo that;
/// `read committed`, as statements that wait for other writers and then go on with what those wrote are written for.
const PINNED: [(&str, &str); 20] = [
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
    ("default_transaction_isolation", "read committed"),
    ("search_path", ""),
    ("standard_conforming_strings", "on"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "4"),
    ("tcp_user_timeout", "30000"),
];

/// A role's default may be `replica`: then no cascade of a delete would run. The writers switch to it themselves, for a
/// transaction. Only who has that default needs the right to leave it.
const PIN_ROLE: &str = "SELECT pg_catalog.set_config('session_replication_role', 'origin', false) \
     WHERE pg_catalog.current_setting('session_replication_role') = 'replica'";

/// Pins them all and then says who serves the session: one round trip, and no setting is missed.
pub(super) fn pin_statement() -> String {
    let rows: Vec<String> = PINNED.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    format!(
        "SELECT pg_catalog.set_config(p.name, p.value, false) FROM (VALUES {}) AS p (name, value) \
         JOIN pg_catalog.pg_settings AS s ON pg_catalog.lower(s.name) = p.name; {PIN_ROLE}; \
         SELECT pid, backend_start, pg_catalog.host(pg_catalog.inet_server_addr()) || ':' || \
         pg_catalog.inet_server_port(), pg_catalog.pg_is_in_recovery() \
         FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())",
        rows.join(", ")
    )
}
