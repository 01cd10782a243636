//! The slot: its state and limits, delays of its creation, and its agreement with Traffic's checkpoint.

use bytesize::ByteSize;
use tokio_postgres::Client;

use super::{Outcome, server};
use crate::checkpoint::{Identity, Ledger, Start, agree};
use crate::config::Config;
use crate::landing::catalog;
use crate::language::message;
use crate::model::side::Side;
use crate::postgres::Database;
use crate::postgres::slot::SlotState;
use crate::postgres::step::during;
use crate::postgres::{primary, slot};
use crate::report::{Findings, Verdict};

/// A slot without a consumer that keeps more bytes of WAL will eventually fill the disk.
const MUCH: u64 = 1 << 30;

/// An older transaction delays the creation of a slot noticeably.
const OLD_SECONDS: f64 = 60.0;

pub async fn examine(findings: &mut Findings, client: &Client, config: &Config) {
    let side = Some(Side::Landing);
    let name = &config.names.slot;
    let slot = slot::read(client, name).await;
    let there = matches!(slot, Ok(Some(_)));
    let has_failover = slot.as_ref().ok().and_then(Option::as_ref).and_then(|slot| slot.failover);
    findings.add("slot_failover", side, failover(client, config, has_failover).await);
    if config.slot_failover {
        findings.add("synchronized_standby_slots", side, waits_for_standbys(client).await);
    }
    findings.add("slot", side, slot.map(|slot| judge(name, slot)));
    findings.add("max_slot_wal_keep_size", side, keep_size(client).await);
    findings.add("idle_replication_slot_timeout", side, idle_timeout(client, Side::Landing).await);
    if !there {
        findings.add("old_transactions", side, old_transactions(client).await);
        findings.add("prepared_transactions", side, prepared_transactions(client).await);
    }
}

fn judge(name: &str, slot: Option<SlotState>) -> Verdict {
    let Some(slot) = slot else {
        return Verdict::ok(message!("doctor-slot-absent", name = name));
    };
    let kept = ByteSize(slot.retained_bytes).display().iec().to_string();
    match slot.position.wal_status.as_deref() {
        Some("lost") => {
            Verdict::error(message!("doctor-slot-lost", name = name), message!("doctor-slot-lost-remedy"))
        }
        Some("unreserved") => Verdict::warning(
            message!("doctor-slot-unreserved", name = name, kept = kept),
            message!("doctor-slot-unreserved-remedy"),
        ),
        _ if !slot.active && slot.retained_bytes > MUCH => Verdict::warning(
            message!("doctor-slot-not-read", name = name, kept = kept),
            message!("doctor-slot-not-read-remedy"),
        ),
        _ if slot.active => Verdict::ok(message!("doctor-slot-in-use", name = name, kept = kept)),
        _ => Verdict::ok(message!("doctor-slot-idle", name = name, kept = kept)),
    }
}

/// Whether standbys keep a copy of the slot. `actual` is the property of the existing slot, unknown before
/// PostgreSQL 17.
async fn failover(client: &Client, config: &Config, actual: Option<bool>) -> Outcome {
    let known = server::number(client, "server_version_num").await?.unwrap_or(0) >= 170_000;
    let (slot, wanted) = (&config.names.slot, config.slot_failover);
    Ok(match (wanted, actual) {
        (true, _) if !known => Verdict::error(
            message!("doctor-slot-failover-version"),
            message!("doctor-slot-failover-version-remedy"),
        ),
        (_, Some(actual)) if actual != wanted => Verdict::warning(
            message!("doctor-slot-failover-differs", slot = slot, actual = actual, wanted = wanted),
            message!("doctor-slot-failover-differs-remedy", slot = slot, wanted = wanted),
        ),
        (true, _) => Verdict::ok(message!("doctor-slot-failover-on")),
        (false, _) => Verdict::ok(message!("doctor-slot-failover-off")),
    })
}

/// If the stream is ahead of the standbys, promoting a standby loses changes that Traffic has.
async fn waits_for_standbys(client: &Client) -> Outcome {
    let slots = server::setting(client, "synchronized_standby_slots").await?.unwrap_or_default();
    let sql = "SELECT string_agg(name, ', ') FROM unnest(string_to_array($1, ',')) AS listed, btrim(listed, ' \"') AS name \
               WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = name AND active)";
    let row = during(client, "looking for the slots of Landing's standbys").row(sql, &[&slots]).await?;
    if let Some(unused) = row.get::<_, Option<&str>>(0) {
        return Ok(Verdict::warning(
            message!("doctor-slot-standbys-absent", unused = unused),
            message!("doctor-slot-standbys-absent-remedy"),
        ));
    }
    Ok(if slots.is_empty() {
        Verdict::warning(
            message!("doctor-slot-standbys-empty"),
            message!("doctor-slot-standbys-empty-remedy"),
        )
    } else {
        Verdict::ok(message!("doctor-slot-standbys", slots = slots))
    })
}

async fn keep_size(client: &Client) -> Outcome {
    let megabytes = server::number(client, "max_slot_wal_keep_size").await?.unwrap_or(-1);
    let Ok(megabytes) = u64::try_from(megabytes) else {
        return Ok(Verdict::ok(message!("doctor-slot-keep-unlimited")));
    };
    let size = ByteSize(megabytes << 20);
    let message = message!("doctor-slot-keep", size = size.display().iec().to_string());
    Ok(if size.as_u64() < MUCH {
        Verdict::warning(message, message!("doctor-slot-keep-remedy"))
    } else {
        Verdict::ok(message)
    })
}

/// The setting exists in PostgreSQL 18 and later; 0 or absent is off. In seconds.
pub(super) async fn idle_timeout(client: &Client, side: Side) -> Outcome {
    let slot = match side {
        Side::Landing => message!("doctor-slot-forward"),
        Side::Traffic => message!("doctor-slot-reverse"),
    };
    Ok(match server::number(client, "idle_replication_slot_timeout").await? {
        Some(seconds) if seconds > 0 => Verdict::warning(
            message!("doctor-slot-idle-timeout", slot = slot, seconds = seconds),
            message!("doctor-slot-idle-timeout-remedy", side = side),
        ),
        _ => Verdict::ok(message!("doctor-slot-idle-timeout-off")),
    })
}

/// Creating a slot waits for every open transaction. Never shows a query, because a query may hold people's
/// data.
async fn old_transactions(client: &Client) -> Outcome {
    let sql = "SELECT format('pid %s (%s, %s) for %s s', pid, usename, state, \
               round(EXTRACT(EPOCH FROM clock_timestamp() - xact_start))) FROM pg_stat_activity \
               WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() \
               AND EXTRACT(EPOCH FROM clock_timestamp() - xact_start) > $1::float8 ORDER BY xact_start LIMIT 5";
    let rows = during(client, "looking for old transactions").rows(sql, &[&OLD_SECONDS]).await?;
    let old: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(if old.is_empty() {
        Verdict::ok(message!("doctor-slot-no-old-transaction"))
    } else {
        Verdict::warning(
            message!("doctor-slot-old-transactions", list = old.join(", ")),
            message!("doctor-slot-old-transactions-remedy"),
        )
    })
}

async fn prepared_transactions(client: &Client) -> Outcome {
    let sql = "SELECT format('one of %s in %s for %s s', owner, database, \
               round(EXTRACT(EPOCH FROM clock_timestamp() - prepared))) FROM pg_prepared_xacts \
               ORDER BY prepared LIMIT 5";
    let rows = during(client, "looking for prepared transactions").rows(sql, &[]).await?;
    let prepared: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(if prepared.is_empty() {
        Verdict::ok(message!("doctor-slot-nothing-prepared"))
    } else {
        Verdict::warning(
            message!("doctor-slot-prepared", list = prepared.join(", ")),
            message!("doctor-slot-prepared-remedy"),
        )
    })
}

/// The decision of a start of the daemon: whether Traffic's checkpoint and Landing's slot belong together.
pub async fn agreement(landing: &Client, traffic: &Client, config: &Config) -> Outcome {
    let table = config.names.own("checkpoint");
    if !during(traffic, "looking for the checkpoint on Traffic").finds(&table).await? {
        return Ok(Verdict::ok(message!("doctor-positions-nothing-yet")));
    }
    let system_id = primary::system_identifier(&config.landing).await?;
    let timeline = primary::wal(landing, Side::Landing).await?.timeline;
    let ledger =
        Ledger::new(&config.names, Identity::new(&config.names, &config.landing, system_id), timeline);
    let recorded = ledger.read(traffic).await?;
    // Read after Traffic's position, because a running daemon advances both positions.
    let wal = primary::wal(landing, Side::Landing).await?;
    let timeline = recorded.as_ref().and_then(|recorded| recorded.timeline);
    let wal = primary::with_history(wal, &config.landing, timeline).await?;
    let slot = slot::read(landing, &config.names.slot).await?.map(|slot| slot.position);
    // The local store is left out, because a running daemon holds the store's lock.
    let start = agree(ledger.identity(), &wal, recorded.as_ref(), None, slot.as_ref())?;
    let before = recorded.and_then(|recorded| recorded.published);
    if let (Start::Stream(_), Some(before)) = (start, before) {
        let on_landing = Database::landing(landing, &config.names);
        let now = catalog::published_since(on_landing, &config.tables(), &before).await?;
        now.check_successor_of(&before)?;
    }
    Ok(match start {
        Start::Snapshot { .. } => Verdict::ok(message!("doctor-positions-snapshot")),
        Start::Stream(lsn) => Verdict::ok(message!("doctor-positions-stream", lsn = lsn)),
        Start::Reverse => Verdict::ok(message!("doctor-positions-reverse")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lsn::Lsn;
    use crate::postgres::slot::SlotPosition;
    use crate::report::Level;

    fn slot(active: bool, wal_status: &str, retained_bytes: u64) -> Option<SlotState> {
        let position = SlotPosition {
            confirmed_flush: Lsn(1),
            wal_status: Some(wal_status.into()),
            plugin: "pgoutput".into(),
            database: "landing".into(),
        };
        Some(SlotState {
            position,
            active,
            active_pid: None,
            is_ours: true,
            retained_bytes,
            safe_bytes: None,
            limit_bytes: None,
            failover: None,
        })
    }

    #[test]
    fn a_slot_is_judged_by_what_it_can_still_do() {
        let table = [
            (None, Level::Ok),
            (slot(true, "reserved", 0), Level::Ok),
            (slot(true, "extended", MUCH * 2), Level::Ok),
            (slot(false, "extended", MUCH + 1), Level::Warning),
            (slot(true, "unreserved", 0), Level::Warning),
            (slot(false, "lost", 0), Level::Error),
        ];
        for (slot, level) in table {
            let verdict = judge("leadbridge", slot);
            assert_eq!(verdict.level, level, "{}", verdict.message);
            assert_eq!(verdict.remedy.is_some(), level != Level::Ok);
        }
    }
}
