//! The single conditions, each on one database.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::outside;
use crate::checkpoint::{self, Reverse, own_schema};
use crate::config::Config;
use crate::doctor::privileges_remedy;
use crate::error::{Error, Result};
use crate::fence::holders::{self, Against};
use crate::fence::{left_open, others};
use crate::landing::catalog;
use crate::landing::write::may_record;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::role::SessionRole;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::{Database, Databases, slot, synchronous};
use crate::quarantine::{Quarantine, ReverseQuarantine};
use crate::report::Verdict;

/// How long a daemon may be without a stream, because it connects anew: after a table was altered, for example.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(5);
/// Pause between two looks at a slot from which nobody streams.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn streams(traffic: Database<'_>) -> Result<Verdict> {
    Ok(match checkpoint::recorded_state(traffic.client, traffic.names).await?.as_deref() {
        Some("streaming") => Verdict::ok("the snapshot is complete, and changes are streamed"),
        Some("switched") => {
            Verdict::error("it is already switched: Traffic is the system of record", "nothing to do")
        }
        Some(other) => {
            Verdict::error(format!("it is in state `{other}`"), "let `leadbridge run` get to `streaming`")
        }
        None => Verdict::error(
            format!("nothing was copied yet through slot `{}`", traffic.names.slot),
            "let `leadbridge run` copy the tables first",
        ),
    })
}

pub(super) async fn is_switched(traffic: Database<'_>) -> Result<Verdict> {
    Ok(match checkpoint::is_switched(traffic.client, traffic.names).await? {
        true => Verdict::ok("Traffic is the system of record, with reverse replication"),
        false => Verdict::error(
            "no cutover has switched: Landing is the system of record",
            "nothing to do; `leadbridge rollback` undoes a cutover",
        ),
    })
}

/// A session streams from the slot `name`, or does so within [`BETWEEN_ATTEMPTS`], and the server still has the slot's WAL.
pub(super) async fn slot_in_use(database: Database<'_>, name: &str) -> Result<Verdict> {
    let deadline = Instant::now() + BETWEEN_ATTEMPTS;
    let mut slot = slot::read(database.client, name).await?;
    while slot.as_ref().is_some_and(|slot| !slot.active) && Instant::now() < deadline {
        tokio::time::sleep(LOOK_AGAIN).await;
        slot = slot::read(database.client, name).await?;
    }
    Ok(match slot {
        None => Verdict::error(format!("the slot `{name}` does not exist"), "see `leadbridge doctor`"),
        Some(slot) if !slot.active => {
            Verdict::error(format!("no session streams from the slot `{name}`"), "start the daemon")
        }
        Some(slot) if matches!(slot.position.wal_status.as_deref(), Some("lost" | "unreserved")) => {
            Verdict::error(
                format!("the slot `{name}` is losing the WAL that it needs"),
                format!("raise max_slot_wal_keep_size on {}, and see `leadbridge doctor`", database.side),
            )
        }
        Some(_) => Verdict::ok(format!("the daemon streams from the slot `{name}`")),
    })
}

/// Landing's slot still has its WAL: forward replication uses the slot again after a rollback.
pub(super) async fn slot_is_healthy(databases: Databases<'_>) -> Result<Verdict> {
    let name = &databases.names.slot;
    let slot = slot::read(databases.landing, name).await?;
    // Read after the slot, because the intent of a new slot is recorded before the slot is made.
    let is_made = Reverse::read(databases.traffic, databases.names).await?;
    let is_made = is_made.is_some_and(|reverse| reverse.new_slot_since.is_some());
    let status = slot.as_ref().and_then(|slot| slot.position.wal_status.as_deref());
    Ok(match status {
        _ if slot.as_ref().is_some_and(|slot| !slot.is_ours) => Verdict::error(
            format!("the slot `{name}` on Landing is not leadbridge's"),
            "find out who made it; once it is dropped or has another name, the daemon makes its own",
        ),
        _ if is_made => Verdict::error(
            format!("the slot `{name}` on Landing is being made again"),
            "wait for the daemon: it records the slot's position, and `leadbridge status` shows it; the creation waits \
             for open transactions on Landing",
        ),
        Some("lost") | None => Verdict::error(
            format!("the slot `{name}` on Landing is gone, or has lost the WAL that it needs"),
            "let the daemon run: it makes a new slot within seconds, because Landing is fenced",
        ),
        Some("unreserved") => Verdict::error(
            format!("the slot `{name}` on Landing is losing the WAL that it needs"),
            "the daemon keeps it moving while it runs: see `leadbridge doctor`",
        ),
        Some(_) => Verdict::ok(format!("the slot `{name}` on Landing can be streamed from again")),
    })
}

/// Traffic's publication has sent every change since the switch.
pub(super) async fn reverse_publication(databases: Databases<'_>, config: &Config) -> Result<Verdict> {
    let Some(reverse) = Reverse::read(databases.traffic, databases.names).await? else {
        return Err(
            Error::refused("Traffic has no record of reverse replication").remedy("see `leadbridge doctor`")
        );
    };
    reverse.check_unaltered(databases.on(Side::Traffic), &config.tables()).await?;
    Ok(Verdict::ok("Traffic's publication is as it was at the switch"))
}

/// Landing's publication is as the stream from Landing will demand after the rollback.
pub(super) async fn forward_publication(databases: Databases<'_>, config: &Config) -> Result<Verdict> {
    let landing = databases.on(Side::Landing);
    let recorded = checkpoint::recorded_published(databases.traffic, databases.names).await?;
    if recorded.tables.is_empty() {
        // The record of an older version.
        let names = databases.names;
        let tables = config.tables().into_iter().map(|table| names.landing_name(table));
        let wanted: Vec<_> = tables.map(|name| (names.landing_schema.clone(), name.to_owned())).collect();
        let fine = "Landing's later changes can be replicated to Traffic";
        return outside::publication(landing, &names.publication, &wanted, fine).await;
    }
    let now = catalog::published_since(landing, &config.tables(), &recorded).await?;
    Ok(match now.difference(&recorded, Side::Landing) {
        None => Verdict::ok("Landing's publication is as it was before the switch"),
        Some(what) => Verdict::error(
            format!("{what}: the stream from Landing would be refused"),
            "put Landing right with `leadbridge migrate` (`leadbridge doctor` says what is wrong); the daemon records the \
             publication once it is right, because Landing is fenced",
        ),
    })
}

pub(super) async fn reverse_quarantine(traffic: Database<'_>) -> Result<Verdict> {
    Ok(match ReverseQuarantine::new(traffic.names).count(traffic.client).await? {
        0 => Verdict::ok("Landing has taken every row of reverse replication"),
        waiting => Verdict::error(
            format!("{waiting} rows of Traffic are in quarantine: Landing could not take them"),
            format!(
                "see {} on Traffic, repair the rows there, and the daemon applies them",
                traffic.names.own("reverse_quarantine")
            ),
        ),
    })
}

pub(super) async fn quarantine(traffic: Database<'_>) -> Result<Verdict> {
    let (waiting, notes) = Quarantine::count_beside_notes(traffic.client, traffic.names).await?;
    Ok(match waiting {
        0 => Verdict::ok(format!("quarantine is empty; {notes} values were changed on the way")),
        _ => Verdict::error(
            format!("{waiting} rows wait in quarantine: Traffic does not have them"),
            "`leadbridge quarantine list`, then repair, retry or discard them",
        ),
    })
}

pub(super) async fn fence(database: Database<'_>, config: &Config) -> Result<Verdict> {
    let Database { side, names, .. } = database;
    let functions = [
        "fenced_tables",
        "close_fence",
        "keep_fence",
        "expire_fence",
        "hold_fence",
        "fence_damage",
        "lift_fence",
        "remove_lifted_fence",
    ];
    let sql = "SELECT count(DISTINCT p.proname), bool_and(has_function_privilege(p.oid, 'EXECUTE')) FROM pg_proc AS p \
               JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = ANY ($2)";
    let step = database.during(format!("looking for the fence on {side}"));
    let row = step.row(sql, &[&names.schema, &functions.as_slice()]).await?;
    if row.get::<_, i64>(0) < functions.len() as i64 {
        return Ok(Verdict::error(
            format!("the fence is not installed on {side}"),
            "run `leadbridge migrate`",
        ));
    }
    if row.get::<_, Option<bool>>(1) != Some(true) {
        return Ok(Verdict::error(
            format!("this role may not close the fence on {side}"),
            privileges_remedy(side),
        ));
    }
    own_schema::refuse_unserved(database).await?;
    if side == Side::Landing && !may_record(database).await? {
        return Ok(Verdict::error(
            "reverse replication could not record changed keys on Landing: tables or rights are missing",
            format!("run `leadbridge migrate`, and then {}", privileges_remedy(side)),
        ));
    }
    let foreign = lacks_owner(database, config).await?;
    if !foreign.is_empty() {
        return Ok(Verdict::error(
            format!("the fence on {side} lacks the rights of the owner of {}", foreign.join(", ")),
            "run `leadbridge migrate` as the owner of the tables, or as a superuser",
        ));
    }
    let others = others(database, config.scheduled_notifications).await?;
    if !others.is_empty() {
        return Ok(Verdict::error(
            format!("another installation's fence stands around the tables on {side}: {}", others.join(", ")),
            "finish or roll back the other installation's cutover first; its daemon removes a fence that is lifted",
        ));
    }
    let open = left_open(database, config.scheduled_notifications).await?;
    Ok(Verdict::none_of(
        &open,
        "the fence is installed",
        "the fence was made for tables of other names, and would leave open to writers",
        "run `leadbridge migrate`",
    ))
}

/// The tables whose owner's rights the fence lacks: its function has the rights of its own owner.
async fn lacks_owner(database: Database<'_>, config: &Config) -> Result<Vec<String>> {
    let names = database.names;
    let sql = format!(
        "SELECT c.oid::regclass::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace, \
         {}($2) AS t JOIN pg_class AS c ON c.oid = t WHERE n.nspname = $1 AND p.proname = 'close_fence' \
         AND NOT pg_has_role(p.proowner, c.relowner, 'USAGE')",
        names.own("fenced_tables")
    );
    let step = database.during(format!("looking for the fence's owner on {}", database.side));
    let rows = step.rows(&sql, &[&names.schema, &config.scheduled_notifications]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// No long transaction holds the tables in a way that the cutover or rollback would have to wait for.
pub(super) async fn held(database: Database<'_>, config: &Config, against: Against) -> Result<Verdict> {
    let holders = holders::old(database, config.scheduled_notifications, against).await?;
    Ok(Verdict::none_of(
        &holders,
        match against {
            Against::Fence => "no long transaction holds the tables",
            Against::Writers => "no long transaction closes the tables to writers",
            Against::Readers => "no long transaction closes the tables to readers",
        },
        match against {
            Against::Fence => "the tables are held, and a fence would have to wait",
            Against::Writers => "the tables are closed to writers",
            Against::Readers => "the tables are closed to readers",
        },
        "let these transactions end, or end them (pg_terminate_backend; COMMIT PREPARED or ROLLBACK PREPARED)",
    ))
}

/// Changes on Traffic after the switch must be able to flow back.
pub(super) async fn reverse_replication(traffic: Database<'_>, config: &Config) -> Result<Verdict> {
    let names = traffic.names;
    let sql = "SELECT current_setting('wal_level') = 'logical',
                      (SELECT count(*) FROM pg_replication_slots WHERE slot_name <> $1)
                          < current_setting('max_replication_slots')::int";
    let step = traffic.during("looking for reverse replication from Traffic");
    let row = step.row(sql, &[&names.reverse_slot()]).await?;
    Ok(if !row.get::<_, bool>(0) {
        Verdict::error(
            "Traffic cannot decode its WAL: reverse replication would be impossible",
            "set wal_level = logical on Traffic and restart it",
        )
    } else if !SessionRole::read(traffic.client).await?.may_replicate() {
        Verdict::error(
            format!(
                "the role {} may not replicate from Traffic: reverse replication would be impossible",
                config.traffic.user()
            ),
            format!(
                "for the cutover alone, run on Traffic as an administrator, because the role cannot give itself \
                 REPLICATION: ALTER ROLE \"{0}\" REPLICATION; after a rollback, or if the cutover is put off: ALTER ROLE \
                 \"{0}\" NOREPLICATION (on Supabase before PostgreSQL 17 only the role postgres can replicate: let daemon and \
                 commands use it on Traffic)",
                config.traffic.user()
            ),
        )
    } else if !row.get::<_, bool>(1) {
        Verdict::error(
            "Traffic has no replication slot left",
            "raise max_replication_slots on Traffic, or drop a slot that nobody uses",
        )
    } else {
        let tables = config.tables().into_iter().map(Table::traffic_name);
        let wanted: Vec<_> = tables.map(|name| (names.traffic_schema.clone(), name.to_owned())).collect();
        let fine = "Traffic's later changes can be replicated to Landing";
        outside::publication(traffic, &names.reverse_publication(), &wanted, fine).await?
    })
}

/// After the change of direction, no commit on the source of the stream may wait for the stream.
pub(super) async fn standbys(source: Database<'_>, slot: &str) -> Result<Verdict> {
    synchronous::refuse(source.client, source.side, slot).await?;
    Ok(Verdict::ok(format!("no commit on the {} will wait for the stream", source.side)))
}

pub(super) async fn landing_triggers(landing: &Client) -> Result<Verdict> {
    Ok(match TriggerControl::probe(landing).await? {
        TriggerControl::ReplicaRole => {
            Verdict::ok("reverse replication will not fire Landing's ordinary triggers")
        }
        TriggerControl::GuardTriggers => Verdict::warning(
            "the role may not set session_replication_role on Landing: Landing's triggers will fire for rows of \
             reverse replication, and set updated_at",
            "run as a superuser on Landing: GRANT SET ON PARAMETER session_replication_role TO the role",
        ),
    })
}
