//! Whether a server treats leadbridge's stream as a synchronous standby. Covers Landing, and Traffic for
//! reverse replication.
//!
//! Every commit of a server with a synchronous standby waits until the standby has acknowledged the commit's
//! position. A change whose row must be read from the server is applied once the commit is visible there, and
//! the commit becomes visible once the change is acknowledged: neither ever happens. So leadbridge never
//! streams from a server that treats the stream as a synchronous standby.

use std::time::Duration;

use tokio_postgres::Client;

use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::replication::STREAM_NAME;
use crate::postgres::slot;
use crate::postgres::step::during;

/// Time for the commits that wait for the stream to complete, before the stream ends.
const RELEASE: Duration = Duration::from_secs(2);
/// Interval between two reads of the slot's position in [`release`].
const LOOK: Duration = Duration::from_millis(50);

/// The server's `synchronous_standby_names`, if the server counts, or would count, the stream from `slot`
/// among the synchronous standbys; `None` otherwise.
pub async fn listed(client: &Client, slot: &str) -> Result<Option<String>> {
    // A role without pg_read_all_stats sees no sync_state, and the list of names alone decides.
    let sql = "SELECT current_setting('synchronous_standby_names'), (SELECT r.sync_state \
               FROM pg_replication_slots AS s JOIN pg_stat_replication AS r ON r.pid = s.active_pid \
               WHERE s.slot_name::text = $1)";
    let row = during(client, "reading synchronous_standby_names").row(sql, &[&slot]).await?;
    let (names, state): (String, Option<String>) = (row.get(0), row.get(1));
    let counted = state.is_some_and(|state| state != "async");
    Ok((counted || matches_stream(&names)).then_some(names))
}

/// # Errors
/// Refused where the server would count the stream from `slot` among the synchronous standbys.
pub async fn refuse(client: &Client, side: Side, slot: &str) -> Result<()> {
    match listed(client, slot).await? {
        None => Ok(()),
        Some(names) => Err(refusal(side, &names)),
    }
}

pub fn refusal(side: Side, names: &str) -> Error {
    Error::refused(format!(
        "{side} takes the stream for a synchronous standby: every commit there would wait for leadbridge \
         (synchronous_standby_names = '{names}')"
    ))
    .remedy(remedy(side))
}

pub fn remedy(side: Side) -> Message {
    message!("postgres-remedy-synchronous", side = side, stream_name = STREAM_NAME)
}

/// Waits until the slot's acknowledged position has reached `sampled`, for two seconds at most. The server
/// then lets every commit before `sampled` complete; otherwise the commits would wait for a stream that is
/// about to end.
pub async fn release(client: &Client, slot: &str, sampled: Lsn) -> Result<()> {
    let released = async {
        while slot::read(client, slot).await?.is_some_and(|slot| slot.position.confirmed_flush < sampled) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    tokio::time::timeout(RELEASE, released).await.unwrap_or(Ok(()))
}

/// Whether a list of standbys, as PostgreSQL reads the list, contains the stream's name.
fn matches_stream(list: &str) -> bool {
    members(list).iter().any(|name| name == "*" || name.eq_ignore_ascii_case(STREAM_NAME))
}

/// The names in `a, b`, `2 (a, b)`, `FIRST 2 (a, b)` or `ANY 2 (a, b)`. PostgreSQL accepts no other form.
fn members(list: &str) -> Vec<String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    let mut quoted = false;
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => quoted = !quoted,
            _ if quoted => name.push(letter),
            // The text before the parenthesis gives the number of standbys to wait for.
            '(' => (names, name) = (Vec::new(), String::new()),
            ',' | ')' => names.push(std::mem::take(&mut name)),
            _ if letter.is_whitespace() => {}
            _ => name.push(letter),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_standbys_is_read_as_postgresql_reads_it() {
        let table = [
            ("", &[][..]),
            ("s1", &["s1"]),
            ("s1, \"s 2\" ,S3", &["s1", "s 2", "S3"]),
            ("2 (s1,s2)", &["s1", "s2"]),
            ("FIRST 1 (s1)", &["s1"]),
            ("any 1(\"a\"\"b,(\", *)", &["a\"b,(", "*"]),
        ];
        for (list, expected) in table {
            assert_eq!(members(list), expected, "{list}");
        }
    }

    #[test]
    fn the_stream_is_meant_by_its_name_and_by_every_name() {
        for list in
            ["*", "s1, *", "ANY 1 (*)", "\"*\"", "\"LeadBridge Stream\"", "2 (s1, \"leadbridge stream\")"]
        {
            assert!(matches_stream(list), "{list}");
        }
        for list in
            ["", "s1", "leadbridge", "leadbridge_stream", "FIRST 1 (s1, s2)", "\"leadbridge stream 2\""]
        {
            assert!(!matches_stream(list), "{list}");
        }
    }
}
