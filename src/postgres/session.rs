//! An ordinary connection with pinned settings.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use postgres_protocol::escape::escape_literal;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_util::task::AbortOnDropHandle;

use super::place::Place;

/// A connection to Landing or Traffic. Dropping a session ends the connection; [`Session::close`] also waits
/// for the end.
pub struct Session {
    client: Client,
    // Handle of the task that moves the bytes. The task ends with the session, never later.
    connection: AbortOnDropHandle<()>,
    backend: Backend,
}

/// Backend of a session, with the values that tell the backend from every other backend of its server, now
/// and later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub pid: i32,
    /// Start time of the backend, in the server's text form.
    pub started: String,
    /// Place at which leadbridge reached the server.
    pub place: Place,
    /// The server's own address and port: a single place may lead to several servers. `None` on a Unix
    /// socket.
    pub reached: Option<String>,
    /// Whether the server was a standby at the session's start.
    pub on_standby: bool,
}

impl Backend {
    /// A backend before the server has answered [`pin_statement`].
    pub(super) fn unknown(place: Place) -> Self {
        Backend { pid: 0, started: "-infinity".to_owned(), place, reached: None, on_standby: false }
    }

    /// Takes the columns of the last row of [`pin_statement`].
    pub(super) fn take_in(&mut self, columns: [Option<String>; 4]) {
        let [pid, started, reached, on_standby] = columns;
        self.pid = pid.and_then(|pid| pid.parse().ok()).unwrap_or(self.pid);
        self.started = started.unwrap_or_else(|| self.started.clone());
        self.reached = reached;
        self.on_standby = on_standby.as_deref() == Some("t");
    }

    /// Whether the same server runs `other`.
    pub fn is_beside(&self, other: &Backend) -> bool {
        self.place == other.place && self.reached == other.reached
    }
}

impl Session {
    /// Pins the settings of a new connection.
    pub(super) async fn pin(
        client: Client,
        connection: AbortOnDropHandle<()>,
        place: Place,
        application: &str,
    ) -> Result<Self, tokio_postgres::Error> {
        let answers = client.simple_query(&pin_statement(application)).await?;
        let rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let mut backend = Backend::unknown(place);
        // The last row describes the backend of this session. Process ID 0 belongs to no backend.
        if let Some(row) = rows.last() {
            backend.take_in(
                [0_usize, 1, 2, 3].map(|column| row.try_get(column).ok().flatten().map(str::to_owned)),
            );
        }
        Ok(Session { client, connection, backend })
    }

    /// Backend of this session, also through a pooler, because the server itself was asked.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Says goodbye to the server and waits for the end of the connection's task, for a moment at most,
    /// because a peer that is gone takes no goodbye.
    pub async fn close(self) {
        let Session { client, connection, .. } = self;
        drop(client);
        // The task has ended, has panicked, or is aborted: in each case the connection is gone.
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

/// Pinned settings of every session, whatever the server, the database and the role set. A setting unknown to
/// the server's version is skipped, so that leadbridge can still report a server too old for replication.
///
/// Text output must be the same everywhere, because values are compared and stored as text. The server's time
/// limits must not cut a long copy. Keepalives let the server notice within about 30 seconds that a daemon's
/// machine is gone, and release the daemon's locks. `row_security = off` turns silently hidden rows into an
/// error. `synchronous_commit = on`, because a position is acknowledged to the slot as soon as Traffic has
/// committed the position: a crash must not undo the commit. `read committed`, because statements that wait
/// for other writers are written to continue with the rows of those writers. `jit = off`, because the queries of
/// the catalog are long and read few rows: compiling one took thirty times as long as answering it.
/// `client_min_messages = error`, because a user-defined trigger may raise any number of notices of any size, and nobody
/// reads them.
const PINNED: [(&str, &str); 22] = [
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
    ("jit", "off"),
    ("client_min_messages", "error"),
];

/// Leaves `replica`, which may be a role's default, because no cascade of a delete runs under `replica`. The
/// writers set `replica` themselves, for a transaction. Only a role with that default needs the right to set
/// the parameter.
const PIN_ROLE: &str = "SELECT pg_catalog.set_config('session_replication_role', 'origin', false) \
     WHERE pg_catalog.current_setting('session_replication_role') = 'replica'";

/// SQL that pins all settings and then describes the backend: a single round trip, and no setting is missed.
/// `current_setting` looks up one setting, where the view `pg_settings` lists all of them: half of the time that a
/// new session took.
///
/// The name of the `application` is set once more, because a pooler may have its own name in the start-up message, and
/// the holders of locks are told apart by their names.
pub(super) fn pin_statement(application: &str) -> String {
    let named = [("application_name", application)];
    let rows =
        PINNED.iter().chain(&named).map(|(name, value)| format!("('{name}', {})", escape_literal(value)));
    let rows: Vec<String> = rows.collect();
    format!(
        "SELECT pg_catalog.set_config(p.name, p.value, false) FROM (VALUES {}) AS p (name, value) \
         WHERE pg_catalog.current_setting(p.name, true) IS NOT NULL; {PIN_ROLE}; \
         SELECT pid, backend_start, pg_catalog.host(pg_catalog.inet_server_addr()) || ':' || \
         pg_catalog.inet_server_port(), pg_catalog.pg_is_in_recovery() \
         FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())",
        rows.join(", ")
    )
}
