//! What a stream cannot bring: rows that are longer than leadbridge takes, and records that the server cannot decode.

use super::ServerError;
use super::feed::READING;
use super::wire::{Frame, LONGEST_IMAGE};
use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::pgoutput::Beginning;

/// The way past a position that no stream of the slot can pass.
fn way_past(source: Side) -> Message {
    match source {
        Side::Landing => {
            message!("postgres-remedy-past-on-landing")
        }
        Side::Traffic => {
            message!("postgres-remedy-past-on-traffic")
        }
    }
}

/// Passes a logical message of another program, which the connection discards. Returns the message's position.
///
/// # Errors
/// Refused for a row that is longer than leadbridge takes. Such a row is never held.
pub(super) fn pass(source: Side, frame: &Frame) -> Result<Lsn> {
    let (megabytes, way_past) = (frame.length >> 20, way_past(source));
    let (what, remedy) = match Beginning::of(&frame.content) {
        Some(Beginning::LogicalMessage { lsn }) => return Ok(lsn),
        Some(Beginning::Change { relation, .. }) => (
            format!(
                "{source}: the stream brings a row of {megabytes} MB of the table with OID {relation}, and leadbridge \
                 takes rows of {} MB",
                LONGEST_IMAGE >> 20
            ),
            message!("postgres-remedy-long-row", relation = relation, way_past = way_past),
        ),
        Some(Beginning::Other) | None => {
            (format!("{source}: the stream brings a message of {megabytes} MB that is not a row"), way_past)
        }
    };
    Err(Error::refused(what).remedy(remedy).context(READING))
}

/// An error with which the server has ended the stream. PostgreSQL 15 takes a logical message of more than 1020 MB
/// into its WAL, and cannot decode the record; each further try ends in the same way.
pub(super) fn ended(source: Side, error: ServerError) -> Error {
    // Words of the server's allocator, its string buffer, and its reader of WAL. Other limits of memory pass.
    let is_too_long = ["invalid memory alloc request size", "string buffer", "record length"]
        .iter()
        .any(|words| error.message.contains(words));
    if !is_too_long {
        return error.during(READING);
    }
    Error::refused(format!(
        "{source}: the server cannot decode a record of its own WAL, which is too long ({}, SQLSTATE {}); PostgreSQL 15 \
         lets any role write such a record as a logical message of more than 1020 MB",
        error.message,
        error.code.code()
    ))
    .remedy(message!("postgres-remedy-long-message", way_past = way_past(source)))
    .context(READING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Response;

    #[test]
    fn a_record_that_no_try_can_pass_is_refused_with_the_way_past_it_and_a_passing_lack_of_memory_is_retried()
    {
        let said = |content: &[u8]| ended(Side::Landing, ServerError::parse(content));
        let error = said(b"CXX000\0Minvalid memory alloc request size 1073741824\0\0");
        assert_eq!(error.response(), Response::AskOperator);
        assert!(
            error.message().contains("pg_logical_emit_message")
                || error.message().contains("logical message")
        );
        assert!(error.remedy_text().is_some_and(|remedy| remedy.contains("resync")), "{error}");
        assert_eq!(said(b"C53200\0Mout of memory\0\0").response(), Response::Retry);
        assert_eq!(said(b"C57P01\0Mterminating\0\0").response(), Response::Retry);
    }
}
