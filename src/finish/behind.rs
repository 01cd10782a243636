//! Reads how far Landing is behind Traffic since the switch. The changes in the reverse slot must be decoded,
//! because positions do not tell: the WAL of other tables moves Traffic's position too.

use std::time::Duration;

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

use super::standing::SettledCutover;
use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::names::Names;
use crate::postgres::{Database, slot};

/// Number of messages to read at first. Applied messages that the slot still holds must be decoded to be
/// passed over.
const FIRST_LOOK: i32 = 1000;

/// Traffic's commits to the replicated tables that Landing lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behind {
    /// Number of transactions; `None` when the reverse slot is gone or has lost WAL.
    pub transactions: Option<u64>,
    /// Age of the oldest transaction by Traffic's clock. Without the reverse slot: the time since Landing
    /// last had everything, infinite when not known.
    pub seconds: f64,
}

impl Behind {
    /// Reads the content of the reverse slot, which must not be in use.
    ///
    /// # Errors
    /// Refused when the slot is still in use after 10 s.
    pub async fn read(traffic: Database<'_>, standing: &SettledCutover) -> Result<Self> {
        let slot =
            slot::read(traffic.client, &traffic.names.reverse_slot()).await?.filter(|slot| slot.is_ours);
        let wal_status = slot.and_then(|slot| slot.position.wal_status);
        if wal_status.is_none_or(|status| status == "lost") {
            let step = traffic.during("reading the time since Landing had everything");
            let sql = "SELECT extract(epoch FROM clock_timestamp() - $1::timestamptz)::float8";
            let row = step.row(sql, &[&standing.caught_up_at]).await?;
            let seconds = row.get::<_, Option<f64>>(0).unwrap_or(f64::INFINITY);
            return Ok(Behind { transactions: None, seconds: seconds.max(0.0) });
        }
        let mut limit = FIRST_LOOK;
        loop {
            let row = patiently(async || peek(traffic, standing, limit).await).await?;
            let count = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
            let (pending, messages) = (count(0), count(1));
            if pending > 0 || messages < u64::from(limit.unsigned_abs()) {
                let seconds = row.get::<_, Option<f64>>(2).unwrap_or(0.0).max(0.0);
                return Ok(Behind { transactions: Some(pending), seconds });
            }
            limit = limit.saturating_mul(10);
        }
    }

    /// # Errors
    /// Refused when Landing lacks a transaction older than `max_behind`.
    pub fn check(self, max_behind: Duration, names: &Names) -> Result<()> {
        if self.seconds <= max_behind.as_secs_f64() {
            return Ok(());
        }
        let Some(transactions) = self.transactions else {
            let since = match self.seconds {
                seconds if seconds.is_finite() => format!("for {seconds:.0} s"),
                _ => "since the switch".to_owned(),
            };
            return Err(Error::refused(format!(
                "the slot `{}` is gone from Traffic or has lost WAL: what Traffic changed {since} may be missing on \
                 Landing",
                names.reverse_slot()
            ))
            .remedy(message!("finish-remedy-may-lack")));
        };
        Err(Error::refused(format!(
            "Landing is behind Traffic: it lacks at least {transactions} of its transactions, the oldest {:.0} s old",
            self.seconds.ceil()
        ))
        .remedy(message!("finish-remedy-behind")))
    }
}

/// Returns one row: the number of transactions that Landing lacks, the number of messages read, and the age
/// in seconds of the oldest of these transactions. `pgoutput` leaves out changes of other tables. A commit
/// message (C) has the commit time after one byte of flags and two positions, in microseconds since 2000. The
/// `lsn` of the message is the end of the commit.
async fn peek(traffic: Database<'_>, standing: &SettledCutover, limit: i32) -> Result<Row> {
    let sql = "SELECT count(*) FILTER (WHERE pending), count(*), \
               extract(epoch FROM clock_timestamp() - min(committed) FILTER (WHERE pending))::float8 FROM ( \
                   SELECT is_commit AND lsn > $4 AS pending, CASE WHEN is_commit THEN timestamptz '2000-01-01 00:00+00' \
                       + ('x' || encode(substring(data FROM 19 FOR 8), 'hex'))::bit(64)::bigint * interval '1 microsecond' \
                       END AS committed \
                   FROM pg_logical_slot_peek_binary_changes($1::text::name, NULL, $2, 'proto_version', '1', \
                       'publication_names', $3), LATERAL (SELECT get_byte(data, 0) = ascii('C')) AS c (is_commit) \
               ) AS message";
    let slot = traffic.names.reverse_slot();
    let publication = escape_identifier(&traffic.names.reverse_publication());
    let applied = PgLsn::from(standing.reverse_applied);
    let step = traffic.during(format!("reading the slot `{slot}` on Traffic"));
    step.row(sql, &[&slot, &limit, &publication, &applied]).await
}

/// How long a slot may stay in use after a daemon was killed, until the server notices.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// Retries while a slot is in use, and refuses after 10 s.
pub(super) async fn patiently<T>(attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = tokio::time::Instant::now() + NOTICED_WITHIN;
    loop {
        match attempt().await {
            Err(error) if in_use(&error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(NOTICED_WITHIN / 100).await;
            }
            Err(error) if in_use(&error) => {
                return Err(
                    Error::new(Kind::Refused, error.message()).remedy(message!("finish-remedy-slot-in-use"))
                );
            }
            done => return done,
        }
    }
}

fn in_use(error: &Error) -> bool {
    error.sqlstate().is_some_and(|code| code.code() == "55006")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_allowed_is_refused_and_what_is_not_known_counts_from_the_last_time_it_was() {
        let names = Names::default();
        let check = |transactions, seconds, allowed| {
            Behind { transactions, seconds }.check(Duration::from_secs(allowed), &names)
        };
        assert!(check(Some(0), 0.0, 0).is_ok());
        assert!(check(Some(2), 59.0, 60).is_ok());
        assert!(check(None, 59.0, 60).is_ok());
        for (transactions, seconds) in [(Some(2), 0.5), (None, 0.5), (None, f64::INFINITY)] {
            let error = check(transactions, seconds, 0).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.remedy_text().unwrap().contains("--max-behind"), "{error}");
        }
    }
}
