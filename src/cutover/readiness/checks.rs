//! The single conditions, each on one database.

use tokio_postgres::Client;

use crate::checkpoint::{self, Reverse};
use crate::config::Config;
use crate::doctor::privileges_remedy;
use crate::error::{Error, Result};
use crate::fence::{holders, left_open};
use crate::landing::catalog;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::role::SessionRole;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::{Database, Databases, publication, slot, synchronous};
use crate::quarantine::{Quarantine, ReverseQuarantine};
use crate::report::Verdict;

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

/// A session streams from the slot `name`, and the server still has the slot's WAL.
pub(super) async fn slot_in_use(database: Database<'_>, name: &str) -> Result<Verdict> {
    Ok(match slot::read(database.client, name).await? {
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
    let recorded = checkpoint::recorded_published(databases.traffic, databases.names).await?;
    if recorded.tables.is_empty() {
        return Ok(Verdict::ok("what Landing published before the switch is not recorded"));
    }
    let landing = databases.on(Side::Landing);
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
    let functions = ["close_fence", "keep_fence", "lift_fence"];
    let sql = "SELECT count(*), bool_and(has_function_privilege(p.oid, 'EXECUTE')) FROM pg_proc AS p \
               JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = ANY ($2)";
    let step = database.during(format!("looking for the fence on {side}"));
    let row = step.row(sql, &[&names.schema, &functions.as_slice()]).await?;
    Ok(match (row.get::<_, i64>(0), row.get::<_, Option<bool>>(1)) {
        (3, Some(true)) => {
            let open = left_open(database, config.scheduled_notifications).await?;
            Verdict::none_of(
                &open,
                "the fence is installed",
                "the fence was made for tables of other names, and would leave open to writers",
                "run `leadbridge migrate`",
            )
        }
        (3, _) => {
            Verdict::error(format!("this role may not close the fence on {side}"), privileges_remedy(side))
        }
        _ => Verdict::error(format!("the fence is not installed on {side}"), "run `leadbridge migrate`"),
    })
}

pub(super) async fn held(fenced: Database<'_>, config: &Config) -> Result<Verdict> {
    let holders = holders::old(fenced, config.scheduled_notifications).await?;
    Ok(Verdict::none_of(
        &holders,
        "no long transaction holds the tables",
        "the tables are held, and a fence would have to wait",
        "let these transactions end, or end them (pg_terminate_backend; COMMIT PREPARED or ROLLBACK PREPARED)",
    ))
}

/// Changes on Traffic after the switch must be able to flow back.
pub(super) async fn reverse_replication(traffic: Database<'_>, config: &Config) -> Result<Verdict> {
    let names = traffic.names;
    let publication = names.reverse_publication();
    let members = publication::members(traffic.client, &publication).await?;
    let is_published =
        |name: &str| members.iter().any(|m| m.schema == names.traffic_schema && m.table == name);
    let wanted = config.tables().into_iter().map(Table::traffic_name);
    let unpublished: Vec<String> = wanted.filter(|name| !is_published(name)).map(str::to_owned).collect();
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
            format!("run as a superuser: ALTER ROLE \"{}\" REPLICATION", config.traffic.user()),
        )
    } else if !row.get::<_, bool>(1) {
        Verdict::error(
            "Traffic has no replication slot left",
            "raise max_replication_slots on Traffic, or drop a slot that nobody uses",
        )
    } else {
        Verdict::none_of(
            &unpublished,
            "Traffic's later changes can be replicated to Landing",
            &format!("the publication `{publication}` on Traffic lacks"),
            "run `leadbridge migrate`",
        )
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
