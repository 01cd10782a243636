//! The slot: its state, what limits it, what would delay its creation, and whether it fits Traffic's checkpoint.

use bytesize::ByteSize;
use tokio_postgres::Client;

use super::{Findings, Outcome, Verdict, server};
use crate::database::Side;
use crate::error::{Error, Result};
use crate::names::Names;

/// A slot that nobody reads and that keeps more than this is on its way to filling the disk.
const MUCH: u64 = 1 << 30;

/// A transaction that is older delays the creation of a slot noticeably.
const OLD_SECONDS: f64 = 60.0;

struct Slot {
    active: bool,
    wal_status: Option<String>,
    retained: u64,
    fits: bool,
}

pub async fn examine(findings: &mut Findings, client: &Client, name: &str) {
    let side = Some(Side::Landing);
    let slot = read(client, name).await;
    let there = matches!(slot, Ok(Some(_)));
    findings.add("slot", side, slot.map(|slot| judge(name, slot)));
    findings.add("max_slot_wal_keep_size", side, keep_size(client).await);
    findings.add("idle_replication_slot_timeout", side, idle_timeout(client).await);
    if !there {
        findings.add("old_transactions", side, old_transactions(client).await);
        findings.add("prepared_transactions", side, prepared_transactions(client).await);
    }
}

async fn read(client: &Client, name: &str) -> Result<Option<Slot>> {
    let sql = "SELECT active, wal_status, COALESCE(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint, \
               COALESCE(plugin = 'pgoutput' AND database = current_database(), false) \
               FROM pg_replication_slots WHERE slot_name::text = $1";
    let row =
        client.query_opt(sql, &[&name]).await.map_err(|error| Error::database("reading the slot", &error))?;
    Ok(row.map(|row| Slot {
        active: row.get(0),
        wal_status: row.get(1),
        retained: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
        fits: row.get(3),
    }))
}

fn judge(name: &str, slot: Option<Slot>) -> Verdict {
    let Some(slot) = slot else {
        return Verdict::ok(format!("slot {name} is not there yet; `leadbridge run` creates it"));
    };
    let kept = ByteSize(slot.retained).display().iec().to_string();
    match slot.wal_status.as_deref() {
        _ if !slot.fits => Verdict::error(
            format!("slot {name} is of another database or another output plugin"),
            "choose another slot name in [names]: that one belongs to somebody else",
        ),
        Some("lost") => Verdict::error(
            format!("slot {name} is lost: Landing has dropped WAL that it needed"),
            "run `leadbridge resync`, and raise max_slot_wal_keep_size",
        ),
        Some("unreserved") => Verdict::warning(
            format!("slot {name} will be lost at Landing's next checkpoint: it keeps {kept}"),
            "start the daemon now, and raise max_slot_wal_keep_size",
        ),
        _ if !slot.active && slot.retained > MUCH => Verdict::warning(
            format!("slot {name} is not read and keeps {kept} of WAL on Landing's disk"),
            "start the daemon; if the replication is over, drop the slot",
        ),
        _ if slot.active => Verdict::ok(format!("slot {name} is in use and keeps {kept} of WAL")),
        _ => Verdict::ok(format!("slot {name} is there, not in use, and keeps {kept} of WAL")),
    }
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
        Verdict::warning(message, "raise it to what an outage of a day writes, as far as the disk allows")
    } else {
        Verdict::ok(message)
    })
}

/// PostgreSQL 18 and later; 0 or absent is off. In seconds.
async fn idle_timeout(client: &Client) -> Outcome {
    Ok(match server::number(client, "idle_replication_slot_timeout").await? {
        Some(seconds) if seconds > 0 => Verdict::warning(
            format!("a slot that is not read for {seconds} s is invalidated (idle_replication_slot_timeout)"),
            "set it to 0, or to longer than any outage of the daemon",
        ),
        _ => Verdict::ok("a slot is not invalidated for being idle"),
    })
}

/// Creating a slot waits for every transaction that is open. Never shows a query: it may hold people's data.
async fn old_transactions(client: &Client) -> Outcome {
    let sql = "SELECT format('pid %s (%s, %s) for %s s', pid, usename, state, \
               round(EXTRACT(EPOCH FROM clock_timestamp() - xact_start))) FROM pg_stat_activity \
               WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() \
               AND EXTRACT(EPOCH FROM clock_timestamp() - xact_start) > $1::float8 ORDER BY xact_start LIMIT 5";
    let rows = client
        .query(sql, &[&OLD_SECONDS])
        .await
        .map_err(|error| Error::database("looking for old transactions", &error))?;
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
    let rows = client
        .query(sql, &[])
        .await
        .map_err(|error| Error::database("looking for prepared transactions", &error))?;
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

/// What a start would refuse: Traffic's checkpoint and Landing's slot do not belong together.
pub async fn agreement(landing: &Client, traffic: &Client, names: &Names) -> Outcome {
    let table = names.own("checkpoint");
    let failed = |error: &tokio_postgres::Error| Error::database("comparing the positions", error);
    let there = "SELECT to_regclass($1) IS NOT NULL";
    let row = traffic.query_one(there, &[&table]).await.map_err(|error| failed(&error))?;
    if !row.get::<_, bool>(0) {
        return Ok(Verdict::ok("nothing was replicated yet"));
    }
    let sql = format!("SELECT landing_system_id, landing_database, state FROM {table} WHERE slot = $1");
    let checkpoint = traffic.query_opt(&sql, &[&names.slot]).await.map_err(|error| failed(&error))?;
    let sql = "SELECT system_identifier::text, current_database()::text, \
               EXISTS (SELECT FROM pg_replication_slots WHERE slot_name::text = $1) FROM pg_control_system()";
    let cluster = landing.query_one(sql, &[&names.slot]).await.map_err(|error| failed(&error))?;
    let Some(checkpoint) = checkpoint else {
        return Ok(Verdict::ok("nothing was replicated for this slot yet"));
    };
    let same = (0..2).all(|column| checkpoint.get::<_, String>(column) == cluster.get::<_, String>(column));
    let (state, slot): (String, bool) = (checkpoint.get(2), cluster.get(2));
    Ok(match (same, slot) {
        (false, _) => Verdict::error(
            "the checkpoint on Traffic is of another Landing database or cluster",
            "check LANDING_DATABASE_URL; if Landing was restored or moved, run `leadbridge resync`",
        ),
        (true, false) if state == "streaming" => Verdict::error(
            format!("Traffic has a checkpoint, but slot {} is gone from Landing", names.slot),
            "run `leadbridge resync`: changes since the checkpoint can no longer be streamed",
        ),
        _ => Verdict::ok("the checkpoint on Traffic belongs to this Landing database"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn slot(active: bool, wal_status: &str, retained: u64) -> Option<Slot> {
        Some(Slot { active, wal_status: Some(wal_status.into()), retained, fits: true })
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
            (slot(true, "reserved", 0).map(|slot| Slot { fits: false, ..slot }), Level::Error),
        ];
        for (slot, level) in table {
            let verdict = judge("leadbridge", slot);
            assert_eq!(verdict.level, level, "{}", verdict.message);
            assert_eq!(verdict.remedy.is_some(), level != Level::Ok);
        }
    }
}
