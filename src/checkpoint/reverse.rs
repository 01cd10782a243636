//! Traffic's record of reverse replication: table `leadbridge.reverse`, a row for each slot that was
//! switched.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use super::{Ledger, Published, SlotPosition};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Position;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;

/// How far Traffic's changes since the switch are on Landing, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverse {
    /// The cutover that switched. The cutover's fence stands around Landing.
    pub cutover_id: Uuid,
    /// The slot on Traffic.
    pub slot: String,
    pub traffic_system_id: String,
    /// Position of Traffic's WAL: everything before the position is committed on Landing.
    pub applied: Lsn,
    /// The position `applied` as a moment of Traffic's clock.
    pub caught_up_at: Timestamp,
    /// What Traffic published at the switch. `None` after a switch by an earlier version, until the daemon's
    /// next start.
    pub published: Option<Published>,
    /// Since when a new slot on Landing is being made; `None` when none is.
    pub new_slot_since: Option<Timestamp>,
    /// When the latest new slot on Landing was recorded; `None` when there was none since the switch.
    pub new_slot_made_at: Option<Timestamp>,
}

/// Positions to record once Landing has committed.
#[derive(Clone, Copy, Debug)]
pub struct Carried<'c> {
    /// Position of Traffic's WAL: everything before the position is on Landing.
    pub at: Position,
    /// Durable position of Landing's WAL: since the switch, only leadbridge has written to Landing's tables
    /// before the position.
    pub landing: Lsn,
    /// Moment of Landing's clock at which `landing` was asked for.
    pub landing_time: Timestamp,
    /// Markers of Traffic's WAL before `at`.
    pub markers: &'c [(Uuid, Lsn)],
}

impl Reverse {
    /// The record of our slot; `None` without a switch.
    ///
    /// # Errors
    /// The table is missing (`leadbridge migrate` has not run).
    pub async fn read(client: &Client, names: &Names) -> Result<Option<Reverse>> {
        let sql = format!(
            "SELECT cutover_id, reverse_slot, traffic_system_id, applied_lsn, caught_up_at, published, \
             new_slot_since, new_slot_made_at FROM {} WHERE slot = $1",
            names.own("reverse")
        );
        let row = during(client, "reading the position of reverse replication")
            .row_if_any(&sql, &[&names.slot])
            .await?;
        let Some(row) = row else { return Ok(None) };
        let published = row.get::<_, Option<&str>>(5).map(serde_json::from_str).transpose();
        let published = published.map_err(|error| {
            let reverse = names.own("reverse");
            Error::refused(format!("what {reverse} says of Traffic's publication is not understood: {error}"))
                .remedy(message!("checkpoint-remedy-reverse-newer"))
        })?;
        Ok(Some(Reverse {
            cutover_id: row.get(0),
            slot: row.get(1),
            traffic_system_id: row.get(2),
            applied: row.get::<_, PgLsn>(3).into(),
            caught_up_at: row.get::<_, Option<Timestamp>>(4).unwrap_or_default(),
            published,
            new_slot_since: row.get(6),
            new_slot_made_at: row.get(7),
        }))
    }
}

/// Present state of Traffic, for [`Reverse::check`].
#[derive(Clone, Copy, Debug)]
pub struct TrafficNow<'t> {
    pub system_id: &'t str,
    pub database: &'t str,
    /// End of Traffic's durable WAL.
    pub flushed: Lsn,
    pub slot: Option<&'t SlotPosition>,
}

impl Reverse {
    /// Checks that Traffic's slot can send the changes after the position.
    ///
    /// # Errors
    /// The slot cannot. The error names the positions and a remedy.
    pub fn check(&self, now: TrafficNow<'_>) -> Result<()> {
        let (name, applied) = (&self.slot, self.applied);
        if now.system_id != self.traffic_system_id {
            return Err(Error::refused(format!(
                "reverse replication belongs to another Traffic cluster: its record says system identifier `{}`, this one \
                 has `{}`",
                self.traffic_system_id, now.system_id
            ))
            .remedy(message!("checkpoint-remedy-other-traffic")));
        }
        let Some(slot) = now.slot else {
            return Err(lost(format!("the slot `{name}` is gone from Traffic; Landing is at {applied}")));
        };
        if !slot.decodes(now.database) {
            return Err(Error::refused(format!(
                "the slot `{name}` on Traffic is not leadbridge's: the slot decodes database `{}` with `{}`",
                slot.database, slot.plugin
            ))
            .remedy(message!("checkpoint-remedy-foreign-slot")));
        }
        if slot.wal_status.as_deref() == Some("lost") {
            return Err(lost(format!(
                "the slot `{name}` has lost WAL that it needs (wal_status = lost, max_slot_wal_keep_size); Landing \
                 is at {applied}"
            )));
        }
        if slot.confirmed_flush > applied {
            let at = slot.confirmed_flush;
            return Err(lost(format!("the slot `{name}` is at {at}, but Landing is at {applied} only")));
        }
        if applied > now.flushed {
            return Err(Error::refused(format!(
                "positions contradict each other: Landing has Traffic's changes up to {applied}, but Traffic's WAL \
                 ends at {}",
                now.flushed
            ))
            .remedy(message!("checkpoint-remedy-traffic-restored")));
        }
        Ok(())
    }
}

fn lost(what: String) -> Error {
    Error::refused(what).remedy(message!("checkpoint-remedy-reverse-lost"))
}

impl Ledger {
    /// Writes down the positions of both directions in a single transaction, so that the next stream from
    /// Landing begins after the rows that leadbridge has written to Landing. Uses a single statement, so that
    /// a distant Traffic costs a single round trip.
    ///
    /// # Errors
    /// `Transient` when the checkpoint is no longer `switched` or belongs to another daemon, or the position
    /// lies before the recorded position. Nothing is written then.
    pub async fn record_carried(
        &self,
        client: &Client,
        reverse: &Reverse,
        carried: Carried<'_>,
    ) -> Result<()> {
        let sql = format!(
            "WITH ours AS (UPDATE {checkpoint} SET applied_lsn = greatest(applied_lsn, $3), \
               caught_up_at = greatest(caught_up_at, $4), updated_at = now() \
               WHERE slot = $1 AND run_id = $2 AND state = 'switched' \
               AND EXISTS (SELECT FROM {reverse} AS r WHERE r.slot = $1 AND r.applied_lsn <= $5) RETURNING true), \
             marked AS (UPDATE {markers} AS k SET lsn = m.lsn, applied_at = clock_timestamp() \
               FROM (SELECT id, max(lsn) AS lsn FROM unnest($8::uuid[], $9::pg_lsn[]) AS m (id, lsn) GROUP BY id) AS m \
               WHERE k.id = m.id AND k.slot = $7 AND k.lsn < m.lsn AND EXISTS (SELECT FROM ours)) \
             UPDATE {reverse} SET applied_lsn = $5, caught_up_at = greatest(caught_up_at, $6), updated_at = now() \
               WHERE slot = $1 AND applied_lsn <= $5 AND EXISTS (SELECT FROM ours)",
            checkpoint = self.table,
            markers = self.markers,
            reverse = self.reverse,
        );
        let (ids, positions): (Vec<Uuid>, Vec<PgLsn>) =
            carried.markers.iter().map(|(id, lsn)| (*id, PgLsn::from(*lsn))).unzip();
        let (landing, at): (PgLsn, PgLsn) = (carried.landing.into(), carried.at.lsn.into());
        let written = during(client, "writing down the position of reverse replication")
            .run(
                &sql,
                &[
                    &self.identity.slot,
                    &self.run_id,
                    &landing,
                    &carried.landing_time,
                    &at,
                    &carried.at.caught_up_at,
                    &reverse.slot,
                    &ids,
                    &positions,
                ],
            )
            .await?;
        self.one_row(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Response;

    fn reverse() -> Reverse {
        Reverse {
            cutover_id: Uuid::nil(),
            slot: "leadbridge_reverse".into(),
            traffic_system_id: "7".into(),
            applied: Lsn(100),
            caught_up_at: Timestamp(0),
            published: None,
            new_slot_since: None,
            new_slot_made_at: None,
        }
    }

    fn slot(at: u64) -> SlotPosition {
        SlotPosition {
            confirmed_flush: Lsn(at),
            wal_status: Some("reserved".into()),
            plugin: "pgoutput".into(),
            database: "traffic".into(),
        }
    }

    #[test]
    fn a_slot_that_stands_at_or_before_the_position_serves_it() {
        for at in [0, 100] {
            let slot = slot(at);
            let now =
                TrafficNow { system_id: "7", database: "traffic", flushed: Lsn(100), slot: Some(&slot) };
            reverse().check(now).unwrap();
        }
    }

    #[test]
    fn whatever_would_skip_changes_is_refused_with_what_to_do() {
        let of = |change: fn(&mut SlotPosition)| {
            let mut slot = slot(100);
            change(&mut slot);
            Some(slot)
        };
        for (slot, system_id, flushed, says) in [
            (None, "7", 100, "is gone"),
            (of(|_| {}), "8", 100, "another Traffic cluster"),
            (of(|_| {}), "7", 99, "ends at 0/63"),
            (of(|slot| slot.confirmed_flush = Lsn(101)), "7", 200, "is at 0/65"),
            (of(|slot| slot.wal_status = Some("lost".into())), "7", 100, "lost"),
            (of(|slot| slot.plugin = "wal2json".into()), "7", 100, "not leadbridge's"),
            (of(|slot| slot.database = "x".into()), "7", 100, "not leadbridge's"),
        ] {
            let now =
                TrafficNow { system_id, database: "traffic", flushed: Lsn(flushed), slot: slot.as_ref() };
            let error = reverse().check(now).expect_err(says);
            assert_eq!(error.response(), Response::AskOperator);
            assert!(error.message().contains(says) && error.remedy_text().is_some(), "{error}");
        }
    }
}
