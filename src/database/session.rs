//! One ordinary connection, its settings pinned.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};
use tokio_util::task::AbortOnDropHandle;

use super::url::Host;

/// A connection to one database. Dropping it ends the connection; [`Session::close`] does so and waits for it.
pub struct Session {
    client: Client,
    // Owns the task that moves the bytes: it ends with the session, never after it.
    connection: AbortOnDropHandle<()>,
    host: Host,
    backend: Backend,
}

/// The process that serves a session, by what tells it apart from every other on its server, now and later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub pid: i32,
    /// When it started, as the server writes it.
    pub started: String,
}

impl Session {
    /// Takes over a new connection and pins its settings.
    pub(super) async fn pin(
        client: Client,
        connection: AbortOnDropHandle<()>,
        host: Host,
    ) -> Result<Self, tokio_postgres::Error> {
        let answers = client.simple_query(&pin_statement()).await?;
        let rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let column = |row: &SimpleQueryRow, name| row.try_get(name).ok().flatten().map(str::to_owned);
        let backend = rows.last().map(|row| Backend {
            // The last row is the server's word on this very session; process 0 is nobody's.
            pid: column(row, "pid").and_then(|pid| pid.parse().ok()).unwrap_or(0),
            started: column(row, "started").unwrap_or_else(|| "-infinity".to_owned()),
        });
        let backend = backend.unwrap_or(Backend { pid: 0, started: "-infinity".to_owned() });
        Ok(Session { client, connection, host, backend })
    }

    /// Who serves it: behind a pooler too, since the server itself was asked.
    pub fn backend(&self) -> &Backend {
        &self.backend
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
/// because a position is acknowledged to the slot as soon as Traffic has committed it: a crash must not undo that;
/// `read committed`, as statements that wait for other writers and then go on with what those wrote are written for.
pub(super) const PINNED: [(&str, &str); 20] = [
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
fn pin_statement() -> String {
    let rows: Vec<String> = PINNED.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    format!(
        "SELECT pg_catalog.set_config(p.name, p.value, false) FROM (VALUES {}) AS p (name, value) \
         JOIN pg_catalog.pg_settings AS s ON pg_catalog.lower(s.name) = p.name; {PIN_ROLE}; \
         SELECT pid, backend_start AS started FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())",
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
