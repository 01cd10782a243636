//! A replication connection. The driver for ordinary connections cannot make replication connections.
//!
//! `wire` sends and receives messages on a socket, `login` makes a session of a socket, `feed` streams,
//! `held` counts the memory of long messages, `oversize` judges what a stream cannot bring. This file runs the
//! commands before the stream: commands of the replication grammar and SQL, each with its
//! answer.

mod feed;
mod held;
mod login;
mod oversize;
mod wire;

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::message::frontend;
use tokio_postgres::error::SqlState;

use super::Backend;
use super::failure::ConnectionAttempt;
use super::session;
use super::url::Address;
use crate::error::{Error, Result, ServerAnswer};
use crate::model::lsn::Lsn;
use crate::model::side::Side;
pub use feed::{Feed, Pulse};
use login::Login;
pub(super) use wire::Socket;
use wire::{Frame, Wire};

/// The `application_name` of the replication connection. A list of standbys must quote the blank, so nobody
/// lists the name by accident; `*` matches every name.
pub const STREAM_NAME: &str = "leadbridge stream";

/// Time limit for a command that only reads the server's own state.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A row of an answer: each column as text, `None` for null.
pub type Row = Vec<Option<Bytes>>;

/// A session that does not stream yet. The session ends when dropped.
pub struct Replication {
    side: Side,
    wire: Wire,
    backend: Backend,
}

/// Identity of the server of a replication session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub system_id: String,
    pub timeline: u32,
}

impl Replication {
    /// Logs in on an open socket and pins the session's settings.
    pub(super) async fn log_in(
        attempt: &ConnectionAttempt<'_>,
        address: &Address,
        socket: Box<dyn Socket>,
    ) -> Result<Self> {
        let mut wire = Wire::new(socket);
        Login { attempt, address }.run(&mut wire).await?;
        let mut session =
            Replication { side: attempt.side, wire, backend: Backend::unknown(attempt.place.clone()) };
        let rows = session.query("pinning the settings", &session::pin_statement(STREAM_NAME)).await?;
        // The last row describes the backend of this session.
        let text = |column: usize| text(rows.last().and_then(|row| row.get(column)));
        session.backend.take_in([0, 1, 2, 3].map(text));
        Ok(session)
    }

    /// Backend of this session.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// # Errors
    /// Errors of the server; `Unreachable` without an answer within half a minute.
    pub async fn query(&mut self, step: &str, sql: &str) -> Result<Vec<Row>> {
        let late = |_| Error::unreachable(format!("{step}: no answer within {} s", COMMAND_LIMIT.as_secs()));
        tokio::time::timeout(COMMAND_LIMIT, self.query_patiently(step, sql)).await.map_err(late)?
    }

    /// Runs a query without a time limit, for a command that waits for other sessions. The caller has a
    /// limit.
    pub async fn query_patiently(&mut self, step: &str, sql: &str) -> Result<Vec<Row>> {
        let failed = |error: io::Error| broken(step, error);
        self.wire.send(|out| frontend::query(sql, out)).await.map_err(failed)?;
        let (mut rows, mut refused) = (Vec::new(), None);
        loop {
            let Frame { tag, content, .. } = self.wire.next().await.map_err(failed)?;
            match tag {
                b'D' => rows.push(row(content).map_err(failed)?),
                b'E' => refused = Some(ServerError::parse(&content).during(step)),
                b'Z' => return refused.map_or(Ok(rows), Err),
                // Column descriptions, row counts, settings, notices.
                _ => {}
            }
        }
    }

    /// # Errors
    /// Errors of [`Replication::query`].
    pub async fn identify_system(&mut self, step: &str) -> Result<Identity> {
        let rows = self.query(step, "IDENTIFY_SYSTEM").await?;
        let column = |at: usize| text(rows.first().and_then(|row| row.get(at)));
        let timeline = column(1).and_then(|timeline| timeline.parse().ok());
        match (column(0), timeline) {
            (Some(system_id), Some(timeline)) => Ok(Identity { system_id, timeline }),
            _ => {
                Err(Error::internal(format!("{step}: IDENTIFY_SYSTEM gave an answer that is not understood")))
            }
        }
    }

    /// The history file of a timeline.
    ///
    /// # Errors
    /// Errors of [`Replication::query`], also when the server has no such file.
    pub async fn timeline_history(&mut self, step: &str, timeline: u32) -> Result<String> {
        let rows = self.query(step, &format!("TIMELINE_HISTORY {timeline}")).await?;
        Ok(text(rows.first().and_then(|row| row.get(1))).unwrap_or_default())
    }

    /// Streams the slot's changes from position `from` on. Returns once the server has granted the slot.
    ///
    /// # Errors
    /// Errors of the server. The caller limits the time.
    pub async fn stream(mut self, step: &str, slot: &str, publication: &str, from: Lsn) -> Result<Feed> {
        let command = start_command(slot, publication, from);
        self.wire.send(|out| frontend::query(&command, out)).await.map_err(|error| broken(step, error))?;
        loop {
            let Frame { tag, content, .. } = self.wire.next().await.map_err(|error| broken(step, error))?;
            match tag {
                b'W' => return Ok(Feed::new(self.wire, self.backend, self.side, from)),
                b'E' => return Err(ServerError::parse(&content).during(step)),
                b'N' | b'S' => {}
                _ => return Err(Error::internal(format!("{step}: an answer that is not understood"))),
            }
        }
    }
}

/// The literal holds a list of publications, which the server parses like any list of names. An unquoted name
/// would be folded to lower case and cut at its commas, and a stream without a publication reports no error.
fn start_command(slot: &str, publication: &str, from: Lsn) -> String {
    format!(
        "START_REPLICATION SLOT {} LOGICAL {from} (proto_version '1', publication_names {}, messages 'true')",
        escape_identifier(slot),
        escape_literal(&escape_identifier(publication)),
    )
}

/// Fields of a server's error message that leadbridge keeps.
struct ServerError {
    code: SqlState,
    message: String,
    routine: Option<String>,
    /// The context.
    place: Option<String>,
}

impl ServerError {
    fn parse(mut content: &[u8]) -> Self {
        let (mut code, mut message) = (SqlState::INTERNAL_ERROR, String::new());
        let (mut routine, mut place) = (None, None);
        // A zero byte instead of a field's code ends the fields.
        while let [kind, rest @ ..] = content
            && *kind != 0
            && let Some(end) = rest.iter().position(|byte| *byte == 0)
        {
            let value = String::from_utf8_lossy(&rest[..end]);
            match kind {
                b'C' => code = SqlState::from_code(&value),
                b'M' => message = value.into_owned(),
                b'R' => routine = Some(value.into_owned()),
                b'W' => place = Some(value.into_owned()),
                _ => {}
            }
            content = &rest[end + 1..];
        }
        ServerError { code, message, routine, place }
    }

    fn answer(&self) -> ServerAnswer<'_> {
        ServerAnswer {
            routine: self.routine.as_deref(),
            place: self.place.as_deref(),
            ..ServerAnswer::new(&self.code, &self.message)
        }
    }

    fn during(&self, step: &str) -> Error {
        Error::answer(step, &self.answer())
    }
}

fn row(mut content: Bytes) -> io::Result<Row> {
    let short = |_| malformed("row");
    let columns = content.try_get_i16().map_err(short)?;
    let mut row = Row::new();
    for _ in 0..columns {
        let length = content.try_get_i32().map_err(short)?;
        row.push(match usize::try_from(length) {
            Err(_) => None,
            Ok(length) if length <= content.len() => Some(content.split_to(length)),
            Ok(_) => return Err(malformed("row")),
        });
    }
    Ok(row)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a {what} that is not understood"))
}

fn broken(step: &str, error: io::Error) -> Error {
    Error::unreachable(format!("the connection broke ({error})")).source_error(error).context(step)
}

fn text(column: Option<&Option<Bytes>>) -> Option<String> {
    column.and_then(Option::as_ref).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_command_is_quoted() {
        let command = start_command("1_slot", "Lead's, \"Bridge\"", Lsn(0x1_0000_0002));
        assert_eq!(
            command,
            "START_REPLICATION SLOT \"1_slot\" LOGICAL 1/2 (proto_version '1', \
             publication_names '\"Lead''s, \"\"Bridge\"\"\"', messages 'true')"
        );
    }

    #[test]
    fn an_error_answer_keeps_its_code_and_its_primary_message_only() {
        let error = ServerError::parse(b"SFATAL\0C57P01\0Mterminating\0Dwho it was\0\0").during("step");
        assert_eq!(error.message(), "step: terminating (SQLSTATE 57P01)");
        for broken in [&b""[..], b"C", b"Cnothing ends this"] {
            assert_eq!(ServerError::parse(broken).during("step").sqlstate(), Some(&SqlState::INTERNAL_ERROR));
        }
    }

    #[test]
    fn a_row_that_is_cut_short_is_an_error() {
        let whole = [&[0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2][..], b"hi"].concat();
        assert_eq!(row(whole.clone().into()).unwrap(), [None, Some(Bytes::from_static(b"hi"))]);
        for length in 0..whole.len() {
            row(whole[..length].to_vec().into()).unwrap_err();
        }
    }
}
