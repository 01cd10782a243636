//! The record on Traffic: tables `verification` and `verified_range`.

use jiff::Timestamp as Calendar;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Range, Record, Round};
use crate::compare::ranges::{Keys, RangeHorizon, ServerMoment};
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;

const READING: &str = "reading the record of verification on Traffic";
const WRITING: &str = "recording verification on Traffic";

/// The record of our slot; an empty one where Traffic has no such table yet.
///
/// # Errors
/// Traffic cannot be read.
pub async fn read(traffic: Database<'_>) -> Result<Record> {
    let Some(round) = round(traffic).await? else { return Ok(Record::default()) };
    let sql = format!(
        "SELECT source_table, first_id, last_id, round, rows, written, read_at, landing_server, landing_xid, \
         traffic_server, traffic_xid, differing, counts FROM {} WHERE slot = $1 ORDER BY source_table, first_id",
        traffic.names.own("verified_range")
    );
    let rows = traffic.during(READING).rows(&sql, &[&traffic.names.slot]).await?;
    let ranges = rows.iter().filter_map(range).collect();
    Ok(Record { round: Some(round), ranges })
}

/// The round in hand or the last one, without the ranges.
///
/// # Errors
/// Traffic cannot be read.
pub async fn round(traffic: Database<'_>) -> Result<Option<Round>> {
    let table = traffic.names.own("verification");
    let step = traffic.during(READING);
    if !step.finds(&table).await? {
        return Ok(None);
    }
    let sql =
        format!("SELECT round, basis, begun_at, ended_at, last_round, repaired FROM {table} WHERE slot = $1");
    let row = step.row_if_any(&sql, &[&traffic.names.slot]).await?;
    Ok(row.as_ref().map(|row| Round {
        number: number(row, 0),
        basis: row.get(1),
        begun_at: moment(row.get(2)).unwrap_or_default(),
        ended_at: moment(row.get(3)),
        // A text of another version is no result.
        last: row.get::<_, Option<&str>>(4).and_then(|text| serde_json::from_str(text).ok()),
        repaired: number(row, 5),
    }))
}

/// Begins round `round`, and makes the ranges of `tables` complete. Where the basis has changed, every range is to be
/// read whole.
///
/// # Errors
/// Traffic cannot be written to.
pub async fn begin(traffic: Database<'_>, record: &mut Record, round: Round, tables: &[Table]) -> Result<()> {
    let sql = format!(
        "INSERT INTO {} AS v (slot, basis, round, begun_at) VALUES ($1, $2, $3, $4) ON CONFLICT (slot) DO UPDATE \
         SET basis = EXCLUDED.basis, round = EXCLUDED.round, begun_at = EXCLUDED.begun_at, ended_at = NULL, repaired = 0",
        traffic.names.own("verification")
    );
    let begun_at = Timestamp::of_calendar(round.begun_at);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&traffic.names.slot, &round.basis, &signed(round.number), &begun_at];
    let step = traffic.during(WRITING);
    step.batch("BEGIN").await?;
    step.run(&sql, &values).await?;
    let is_same = record.round.as_ref().is_some_and(|before| before.basis == round.basis);
    record.round = Some(round);
    record.ranges.retain(|range| tables.contains(&range.table));
    for range in &mut record.ranges {
        range.tries = 0;
        if !is_same {
            range.horizon = None;
        }
    }
    let mut is_whole = is_same;
    for &table in tables {
        if !record.is_complete(&[table]) {
            is_whole = false;
            record.ranges.retain(|range| range.table != table);
            record.ranges.push(Range::new(table, Keys::ALL));
        }
    }
    if !is_whole {
        let sql = format!("DELETE FROM {} WHERE slot = $1", traffic.names.own("verified_range"));
        step.run(&sql, &[&traffic.names.slot]).await?;
        for range in &record.ranges {
            save(traffic, range).await?;
        }
    }
    // After an error the caller drops the session, and with it the transaction.
    step.batch("COMMIT").await
}

/// Writes the state of a range.
///
/// # Errors
/// Traffic cannot be written to.
pub async fn save(traffic: Database<'_>, range: &Range) -> Result<()> {
    let sql = format!(
        "INSERT INTO {} (slot, source_table, first_id, last_id, round, rows, written, read_at, landing_server, \
         landing_xid, traffic_server, traffic_xid, differing, counts) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
         ON CONFLICT (slot, source_table, first_id) DO UPDATE SET last_id = EXCLUDED.last_id, round = EXCLUDED.round, \
         rows = EXCLUDED.rows, written = EXCLUDED.written, read_at = EXCLUDED.read_at, \
         landing_server = EXCLUDED.landing_server, landing_xid = EXCLUDED.landing_xid, \
         traffic_server = EXCLUDED.traffic_server, traffic_xid = EXCLUDED.traffic_xid, \
         differing = EXCLUDED.differing, counts = EXCLUDED.counts",
        traffic.names.own("verified_range")
    );
    let counts = serde_json::to_string(&range.counts).map_err(|error| Error::internal(error.to_string()))?;
    let horizon = range.horizon.as_ref();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 14] = [
        &traffic.names.slot,
        &range.table.label(),
        &range.keys.first,
        &range.keys.last,
        &signed(range.round),
        &range.rows.map(signed),
        &signed(range.written),
        &range.read_at.map(Timestamp::of_calendar),
        &horizon.map(|horizon| horizon.landing.server.as_str()),
        &horizon.map(|horizon| horizon.landing.xid.as_str()),
        &horizon.map(|horizon| horizon.traffic.server.as_str()),
        &horizon.map(|horizon| horizon.traffic.xid.as_str()),
        &range.differing,
        &counts,
    ];
    traffic.during(WRITING).run(&sql, &values).await.map(drop)
}

/// Writes ranges in the place of the range of which they are parts, in one transaction.
///
/// # Errors
/// Traffic cannot be written to; the caller drops the session, and with it the transaction.
pub async fn save_divided(traffic: Database<'_>, parts: &[Range]) -> Result<()> {
    let step = traffic.during(WRITING);
    step.batch("BEGIN").await?;
    for part in parts {
        save(traffic, part).await?;
    }
    step.batch("COMMIT").await
}

/// Records the rows that the round in hand has repaired.
///
/// # Errors
/// Traffic cannot be written to.
pub async fn repaired(traffic: Database<'_>, rows: u64) -> Result<()> {
    let sql = format!("UPDATE {} SET repaired = $2 WHERE slot = $1", traffic.names.own("verification"));
    traffic.during(WRITING).run(&sql, &[&traffic.names.slot, &signed(rows)]).await.map(drop)
}

/// Records the end of the round in hand; its result is `round.last`.
///
/// # Errors
/// Traffic cannot be written to.
pub async fn end(traffic: Database<'_>, round: &Round) -> Result<()> {
    let sql = format!(
        "UPDATE {} SET ended_at = $2, last_round = $3 WHERE slot = $1 AND round = $4",
        traffic.names.own("verification")
    );
    let last = serde_json::to_string(&round.last).map_err(|error| Error::internal(error.to_string()))?;
    let ended_at = round.ended_at.map(Timestamp::of_calendar);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&traffic.names.slot, &ended_at, &last, &signed(round.number)];
    traffic.during(WRITING).run(&sql, &values).await.map(drop)
}

/// `None` for a table of another version.
fn range(row: &Row) -> Option<Range> {
    let table = Table::from_label(row.get(0))?;
    let keys = Keys { first: row.get(1), last: row.get(2) };
    let moment_of = |server: usize, xid: usize| {
        Some(ServerMoment {
            server: row.get::<_, Option<String>>(server)?,
            xid: row.get::<_, Option<String>>(xid)?,
        })
    };
    // The horizon is part of SQL text, so only what is a number counts.
    let is_number = |moment: &ServerMoment| moment.xid.parse::<u64>().is_ok();
    let horizon = moment_of(7, 8).filter(is_number).zip(moment_of(9, 10).filter(is_number));
    let counts = row.get::<_, Option<&str>>(12).map(serde_json::from_str);
    let (counts, is_read) = match counts {
        Some(Ok(counts)) => (counts, true),
        _ => Default::default(),
    };
    Some(Range {
        round: number(row, 3),
        rows: row.get::<_, Option<i64>>(4).map(i64::unsigned_abs),
        written: number(row, 5),
        read_at: moment(row.get(6)),
        horizon: horizon.filter(|_| is_read).map(|(landing, traffic)| RangeHorizon { landing, traffic }),
        differing: row.get::<_, Vec<Uuid>>(11),
        counts,
        ..Range::new(table, keys)
    })
}

fn number(row: &Row, column: usize) -> u64 {
    row.get::<_, i64>(column).unsigned_abs()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn moment(at: Option<Timestamp>) -> Option<Calendar> {
    at.and_then(Timestamp::in_calendar)
}
