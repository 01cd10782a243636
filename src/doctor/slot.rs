//! The slot: its state and limits, delays of its creation, and its agreement with Traffic's checkpoint.

use bytesize::ByteSize;
use tokio_postgres::Client;

use super::{Outcome, server};
use crate::checkpoint::{Identity, Ledger, Start, agree};
use crate::config::Config;
use crate::landing::catalog;
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
        return Verdict::ok(format!("slot {name} does not exist yet; `leadbridge run` creates it"));
    };
    let kept = ByteSize(slot.retained_bytes).display().iec().to_string();
    match slot.position.wal_status.as_deref() {
        Some("lost") => Verdict::error(
            format!("slot {name} is lost: Landing has dropped WAL that it needed"),
            "run `leadbridge resync`, and raise max_slot_wal_keep_size",
        ),
        Some("unreserved") => Verdict::warning(
            format!("slot {name} will be lost at Landing's next checkpoint: it keeps {kept}"),
            "start the daemon now, and raise max_slot_wal_keep_size",
        ),
        _ if !slot.active && slot.retained_bytes > MUCH => Verdict::warning(
            format!("slot {name} is not read and keeps {kept} of WAL on Landing's disk"),
            "start the daemon; if the replication is over, drop the slot",
        ),
        _ if slot.active => Verdict::ok(format!("slot {name} is in use and keeps {kept} of WAL")),
        _ => Verdict::ok(format!("slot {name} is there, not in use, and keeps {kept} of WAL")),
    }
}

/// Whether standbys keep a copy of the slot. `actual` is the property of the existing slot, unknown before
/// PostgreSQL 17.
async fn failover(client: &Client, config: &Config, actual: Option<bool>) -> Outcome {
    let known = server::number(client, "server_version_num").await?.unwrap_or(0) >= 170_000;
    let (slot, wanted) = (&config.names.slot, config.slot_failover);
    Ok(match (wanted, actual) {
        (true, _) if !known => Verdict::error(
            "[snapshot] slot_failover needs PostgreSQL 17 or later on Landing",
            "set slot_failover = false, or upgrade Landing",
        ),
        (_, Some(actual)) if actual != wanted => Verdict::warning(
            format!("slot {slot} has failover = {actual}, the configuration says slot_failover = {wanted}"),
            format!(
                "stop the daemon and run ALTER_REPLICATION_SLOT {slot} (FAILOVER {wanted}) in psql \
                 \"… replication=database\" on Landing, or run `leadbridge resync`"
            ),
        ),
        (true, _) => Verdict::ok("standbys of Landing may keep a copy of the slot"),
        (false, _) => Verdict::ok("the slot does not survive a failover of Landing (slot_failover is off)"),
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
            format!(
                "the stream waits for standbys that are not connected: {unused} (synchronized_standby_slots)"
            ),
            "start these standbys, or take their slots out of synchronized_standby_slots on Landing",
        ));
    }
    Ok(if slots.is_empty() {
        Verdict::warning(
            "synchronized_standby_slots is empty: Traffic may get what no standby of Landing has yet, and a \
             failover to it then needs a resync",
            "set it on Landing to the physical slots of its standbys",
        )
    } else {
        Verdict::ok(format!("the stream waits for the standbys of {slots}"))
    })
}

async fn keep_size(client: &Client) -> Outcome {
    let megabytes = server::number(client, "max_slot_wal_keep_size").await?.unwrap_or(-1);
    let Ok(megabytes) = u64::try_from(megabytes) else {
        return Ok(Verdict::ok(
            "max_slot_wal_keep_size is unlimited: a long outage fills Landing's disk instead",
        ));
    };
    let size = ByteSize(megabytes << 20);
    let message = format!(
        "a slot that keeps more than {} of WAL is invalidated (max_slot_wal_keep_size)",
        size.display().iec()
    );
    Ok(if size.as_u64() < MUCH {
        Verdict::warning(message, "raise it to the WAL of one day, as far as the disk allows")
    } else {
        Verdict::ok(message)
    })
}

/// The setting exists in PostgreSQL 18 and later; 0 or absent is off. In seconds.
pub(super) async fn idle_timeout(client: &Client, side: Side) -> Outcome {
    let slot = match side {
        Side::Landing => "the slot, which the daemon keeps active after a cutover, too",
        Side::Traffic => "the slot of reverse replication",
    };
    Ok(match server::number(client, "idle_replication_slot_timeout").await? {
        Some(seconds) if seconds > 0 => Verdict::warning(
            format!(
                "{slot}, is invalidated when the daemon is down for {seconds} s (idle_replication_slot_timeout)"
            ),
            format!("set it to 0 on the {side}, or to longer than any outage of the daemon or of a database"),
        ),
        _ => Verdict::ok("a slot is not invalidated for being idle"),
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
        Verdict::ok("no old transaction is seen that would delay the slot's creation")
    } else {
        Verdict::warning(
            format!("transactions that the slot's creation must wait for: {}", old.join(", ")),
            "let them end, or end them with pg_terminate_backend(pid)",
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
        Verdict::ok("no transaction is left prepared")
    } else {
        Verdict::warning(
            format!("prepared transactions that the slot's creation must wait for: {}", prepared.join(", ")),
            "COMMIT PREPARED or ROLLBACK PREPARED them; see pg_prepared_xacts",
        )
    })
}

/// The decision of a start of the daemon: whether Traffic's checkpoint and Landing's slot belong together.
pub async fn agreement(landing: &Client, traffic: &Client, config: &Config) -> Outcome {
    let table = config.names.own("checkpoint");
    if !during(traffic, "looking for the checkpoint on Traffic").finds(&table).await? {
        return Ok(Verdict::ok("nothing was replicated yet"));
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
        Start::Snapshot { .. } => Verdict::ok("`leadbridge run` begins with a snapshot"),
        Start::Stream(lsn) => Verdict::ok(format!("`leadbridge run` continues from {lsn}")),
        Start::Reverse => Verdict::ok("`leadbridge run` replicates Traffic's changes to Landing"),
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
