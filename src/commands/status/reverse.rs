//! Reverse replication after a cutover, from Traffic's state tables.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use crate::error::Result;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;
use crate::telemetry::{DaemonPresence, Live, ReverseReport};

/// Reverse replication from Traffic's own record. The lag is an upper bound; a daemon's measurement is more
/// exact.
pub async fn ask(client: &Client, names: &Names) -> Result<Option<ReverseReport>> {
    // An older schema lacks the columns of the new slot, and is no reason not to answer.
    let sql = format!(
        "SELECT r.reverse_slot, COALESCE(s.active, false), s.wal_status, \
         pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint, r.applied_lsn, \
         greatest(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), r.applied_lsn), 0)::bigint, \
         EXTRACT(EPOCH FROM clock_timestamp() - r.caught_up_at)::float8, (SELECT count(*) FROM {}), \
         (to_jsonb(r) ->> 'new_slot_since')::timestamptz, (to_jsonb(r) ->> 'new_slot_made_at')::timestamptz, \
         s.safe_wal_size, pg_size_bytes(current_setting('max_slot_wal_keep_size')) \
         FROM {} AS r LEFT JOIN pg_replication_slots AS s ON s.slot_name::text = r.reverse_slot WHERE r.slot = $1",
        names.own("reverse_quarantine"),
        names.own("reverse"),
    );
    let row = during(client, "asking Traffic the position of reverse replication")
        .row_if_any(&sql, &[&names.slot])
        .await?;
    let unsigned = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    Ok(row.map(|row| {
        let lag_bytes = unsigned(row.get(5));
        ReverseReport {
            slot: row.get(0),
            active: row.get(1),
            wal_status: row.get(2),
            retained_bytes: row.get::<_, Option<i64>>(3).map(unsigned),
            safe_bytes: row.get::<_, Option<i64>>(10).map(unsigned),
            limit_bytes: u64::try_from(row.get::<_, i64>(11)).ok(),
            applied_lsn: Some(row.get::<_, PgLsn>(4).into()),
            lag_bytes: Some(lag_bytes),
            lag_seconds: if lag_bytes == 0 {
                Some(0.0)
            } else {
                row.get::<_, Option<f64>>(6).map(|s| s.max(0.0))
            },
            quarantined: Some(unsigned(row.get(7))),
            new_slot_since: text(row.get(8)),
            new_slot_made_at: text(row.get(9)),
            landing_publication: None,
        }
    }))
}

/// After the switch, both the lag and the slot that reveals a running daemon are those of reverse
/// replication.
pub fn without_daemon(live: &mut Live, reverse: ReverseReport) {
    live.daemon = if reverse.active { DaemonPresence::Elsewhere } else { DaemonPresence::Down };
    live.lag_is_estimate = true;
    (live.lag_bytes, live.lag_seconds) = (reverse.lag_bytes, reverse.lag_seconds);
    live.reverse = Some(reverse);
}
