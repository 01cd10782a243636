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
use crate::language::message;
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
        Some("streaming") => Verdict::ok(message!("cutover-state-streaming")),
        Some("switched") => {
            Verdict::error(message!("cutover-state-switched"), message!("cutover-remedy-nothing-to-do"))
        }
        Some(other) => Verdict::error(
            message!("cutover-state-other", state = other),
            message!("cutover-state-other-remedy"),
        ),
        None => Verdict::error(
            message!("cutover-state-nothing-copied", slot = &traffic.names.slot),
            message!("cutover-state-nothing-copied-remedy"),
        ),
    })
}

pub(super) async fn is_switched(traffic: Database<'_>) -> Result<Verdict> {
    Ok(match checkpoint::is_switched(traffic.client, traffic.names).await? {
        true => Verdict::ok(message!("cutover-state-reverse")),
        false => Verdict::error(
            message!("cutover-state-not-switched"),
            message!("cutover-state-not-switched-remedy"),
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
        None => Verdict::error(message!("cutover-slot-absent", name = name), message!("report-see-doctor")),
        Some(slot) if !slot.active => Verdict::error(
            message!("cutover-slot-unused", name = name),
            message!("cutover-slot-unused-remedy"),
        ),
        Some(slot) if matches!(slot.position.wal_status.as_deref(), Some("lost" | "unreserved")) => {
            Verdict::error(
                message!("cutover-slot-losing", name = name),
                message!("cutover-slot-losing-remedy", side = database.side),
            )
        }
        Some(_) => Verdict::ok(message!("cutover-slot-in-use", name = name)),
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
            message!("cutover-forward-slot-foreign", name = name),
            message!("error-remedy-forward-slot-foreign"),
        ),
        _ if is_made => Verdict::error(
            message!("cutover-forward-slot-made-again", name = name),
            message!("cutover-forward-slot-made-again-remedy"),
        ),
        Some("lost") | None => Verdict::error(
            message!("cutover-forward-slot-lost", name = name),
            message!("cutover-forward-slot-lost-remedy"),
        ),
        Some("unreserved") => Verdict::error(
            message!("cutover-forward-slot-losing", name = name),
            message!("cutover-forward-slot-losing-remedy"),
        ),
        Some(_) => Verdict::ok(message!("cutover-forward-slot-healthy", name = name)),
    })
}

/// Traffic's publication has sent every change since the switch.
pub(super) async fn reverse_publication(databases: Databases<'_>, config: &Config) -> Result<Verdict> {
    let Some(reverse) = Reverse::read(databases.traffic, databases.names).await? else {
        return Err(Error::refused("Traffic has no record of reverse replication")
            .remedy(message!("report-see-doctor")));
    };
    reverse.check_unaltered(databases.on(Side::Traffic), &config.tables()).await?;
    Ok(Verdict::ok(message!("cutover-reverse-publication")))
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
        let fine = message!("cutover-forward-publication-fits");
        return outside::publication(landing, &names.publication, &wanted, fine).await;
    }
    let now = catalog::published_since(landing, &config.tables(), &recorded).await?;
    Ok(match now.difference(&recorded, Side::Landing) {
        None => Verdict::ok(message!("cutover-forward-publication")),
        Some(what) => Verdict::error(
            message!("cutover-forward-publication-altered", what = what),
            message!("cutover-forward-publication-altered-remedy"),
        ),
    })
}

pub(super) async fn reverse_quarantine(traffic: Database<'_>) -> Result<Verdict> {
    Ok(match ReverseQuarantine::new(traffic.names).count(traffic.client).await? {
        0 => Verdict::ok(message!("cutover-reverse-quarantine-empty")),
        waiting => Verdict::error(
            message!("cutover-reverse-quarantine", waiting = waiting),
            message!("cutover-reverse-quarantine-remedy", table = traffic.names.own("reverse_quarantine")),
        ),
    })
}

pub(super) async fn quarantine(traffic: Database<'_>) -> Result<Verdict> {
    let (waiting, notes) = Quarantine::count_beside_notes(traffic.client, traffic.names).await?;
    Ok(match waiting {
        0 => Verdict::ok(message!("cutover-quarantine-empty", notes = notes)),
        _ => Verdict::error(
            message!("cutover-quarantine", waiting = waiting),
            message!("cutover-quarantine-remedy"),
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
        return Ok(Verdict::error(message!("cutover-fence-absent", side = side), message!("report-migrate")));
    }
    if row.get::<_, Option<bool>>(1) != Some(true) {
        return Ok(Verdict::error(
            message!("cutover-fence-closed-to-role", side = side),
            privileges_remedy(side),
        ));
    }
    own_schema::refuse_unserved(database).await?;
    if side == Side::Landing && !may_record(database).await? {
        return Ok(Verdict::error(
            message!("cutover-fence-no-record"),
            message!("cutover-fence-no-record-remedy", privileges = privileges_remedy(side)),
        ));
    }
    let foreign = lacks_owner(database, config).await?;
    if !foreign.is_empty() {
        return Ok(Verdict::error(
            message!("cutover-fence-lacks-owner", side = side, tables = foreign.join(", ")),
            message!("cutover-fence-lacks-owner-remedy"),
        ));
    }
    let others = others(database, config.scheduled_notifications).await?;
    if !others.is_empty() {
        return Ok(Verdict::error(
            message!("cutover-fence-of-others", side = side, others = others.join(", ")),
            message!("cutover-fence-of-others-remedy"),
        ));
    }
    let open = left_open(database, config.scheduled_notifications).await?;
    Ok(Verdict::none_of(
        &open,
        message!("cutover-fence-installed"),
        |list| message!("cutover-fence-other-tables", list = list),
        message!("report-migrate"),
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
            Against::Fence => message!("cutover-held-no-fence"),
            Against::Writers => message!("cutover-held-no-writers"),
            Against::Readers => message!("cutover-held-no-readers"),
        },
        |list| match against {
            Against::Fence => message!("cutover-held-fence", list = list),
            Against::Writers => message!("cutover-held-writers", list = list),
            Against::Readers => message!("cutover-held-readers", list = list),
        },
        message!("cutover-held-remedy"),
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
        Verdict::error(message!("cutover-reverse-wal-level"), message!("cutover-reverse-wal-level-remedy"))
    } else if !SessionRole::read(traffic.client).await?.may_replicate() {
        Verdict::error(
            message!("cutover-reverse-role", user = config.traffic.user()),
            message!("cutover-reverse-role-remedy", user = config.traffic.user()),
        )
    } else if !row.get::<_, bool>(1) {
        Verdict::error(
            message!("cutover-reverse-no-slot-left"),
            message!("cutover-reverse-no-slot-left-remedy"),
        )
    } else {
        let tables = config.tables().into_iter().map(Table::traffic_name);
        let wanted: Vec<_> = tables.map(|name| (names.traffic_schema.clone(), name.to_owned())).collect();
        let fine = message!("cutover-reverse-possible");
        outside::publication(traffic, &names.reverse_publication(), &wanted, fine).await?
    })
}

/// After the change of direction, no commit on the source of the stream may wait for the stream.
pub(super) async fn standbys(source: Database<'_>, slot: &str) -> Result<Verdict> {
    synchronous::refuse(source.client, source.side, slot).await?;
    Ok(Verdict::ok(message!("cutover-standbys", side = source.side)))
}

pub(super) async fn landing_triggers(landing: &Client) -> Result<Verdict> {
    Ok(match TriggerControl::probe(landing).await? {
        TriggerControl::ReplicaRole => Verdict::ok(message!("cutover-triggers-kept")),
        TriggerControl::GuardTriggers => {
            Verdict::warning(message!("cutover-triggers-fire"), message!("cutover-triggers-fire-remedy"))
        }
    })
}
