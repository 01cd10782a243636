//! Checks of Traffic.

use tokio_postgres::Client;

use super::{Outcome, server, slot, tables};
use crate::admission::{AdmissionScope, Extent};
use crate::checkpoint::{Finish, Installation, is_switched};
use crate::config::Config;
use crate::model::names::{Names, STATE_TABLES};
use crate::model::side::Side;
use crate::postgres::Database;
use crate::postgres::role::{self, SessionRole};
use crate::postgres::step::during;
use crate::postgres::synchronous;
use crate::postgres::triggers::TriggerControl;
use crate::report::{Findings, Level, Verdict};
use crate::traffic::indexes;

/// Examines Traffic. False when the state tables cannot be examined.
pub async fn examine(findings: &mut Findings, client: &Client, config: &Config) -> bool {
    let schemas = [config.names.traffic_schema.as_str(), config.names.schema.as_str()];
    if !server::open_schemas(findings, client, Side::Traffic, &schemas).await {
        return false;
    }
    let side = Some(Side::Traffic);
    findings.add("installation", side, installation(client, config).await);
    let targets: Vec<String> =
        config.tables().into_iter().map(|table| config.names.traffic_table(table)).collect();
    let written: Vec<String> =
        targets.into_iter().chain(STATE_TABLES.iter().map(|table| config.names.own(table))).collect();
    let schema = schema(client, &written).await;
    let complete = matches!(&schema, Ok(verdict) if verdict.level == Level::Ok);
    findings.add("schema", side, schema);
    let extent = if complete { Extent::Whole } else { Extent::BeforeMigrate };
    let scope =
        AdmissionScope { side: Side::Traffic, names: &config.names, tables: &config.tables(), extent };
    tables::examine(findings, client, scope).await;
    if complete {
        findings.add("indexes", side, left_out(client, &config.names).await);
    }
    findings.add("privileges", side, privileges(client, &written).await);
    findings.add("row_security", side, server::row_security(client, &config.traffic, &written).await);
    findings.add("replication_right", side, replication_right(client, &config.names).await);
    findings.add("session_replication_role", side, replication_role(client, config).await);
    findings.add("idle_replication_slot_timeout", side, slot::idle_timeout(client, Side::Traffic).await);
    findings.add("synchronous_standby_names", side, standbys(client, &config.names).await);
    true
}

/// A verdict when the move is finished, or about to be; `None` before. Another check reports state tables
/// that cannot be read.
pub async fn end(client: &Client, config: &Config) -> Option<Verdict> {
    match Finish::read(client, &config.names).await {
        Ok(Some(Finish::Finished { at })) => Some(Verdict::ok(format!(
            "the move was finished at {at}: slots and publications are dropped, nothing is left to examine"
        ))),
        Ok(Some(Finish::Dismantling { .. })) => {
            Finish::refuse(client, &config.names).await.err().map(Verdict::from)
        }
        Ok(None) | Err(_) => None,
    }
}

/// The installation that leadbridge's schema belongs to.
async fn installation(client: &Client, config: &Config) -> Outcome {
    Installation::refuse_another(Database::traffic(client, &config.names), &config.landing).await?;
    Ok(Verdict::ok("the schema belongs to no other installation"))
}

async fn schema(client: &Client, tables: &[String]) -> Outcome {
    let sql = "SELECT t FROM unnest($1::text[]) AS t WHERE to_regclass(t) IS NULL";
    let rows = during(client, "looking for our tables").rows(sql, &[&tables]).await?;
    let missing: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(Verdict::none_of(
        &missing,
        "the schema is there",
        "tables are missing",
        "run `leadbridge migrate`, or have a DBA run what `leadbridge migrate --print` shows",
    ))
}

async fn privileges(client: &Client, tables: &[String]) -> Outcome {
    let needed = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    let missing = role::missing_privileges(client, tables, &needed).await?;
    Ok(Verdict::none_of(
        &missing,
        "the existing tables can be written to",
        "privileges are missing",
        server::privileges_remedy(Side::Traffic),
    ))
}

/// REPLICATION opens the changes of every table, and is needed on Traffic only from the cutover on.
async fn replication_right(client: &Client, names: &Names) -> Outcome {
    let role = SessionRole::read(client).await?;
    let user = &role.name;
    let is_needed = is_switched(client, names).await.unwrap_or(false);
    Ok(match (role.is_superuser, role.has_replication, is_needed) {
        (true, ..) => Verdict::ok(format!("{user} is a superuser, and may do everything on Traffic")),
        (_, true, true) => Verdict::ok(format!(
            "{user} has REPLICATION for reverse replication, and may read the changes of every table on Traffic; \
             `leadbridge finish` takes it away"
        )),
        (_, true, false) => Verdict::warning(
            format!(
                "{user} has REPLICATION, and may read the changes of every table on Traffic; before a cutover \
                 nothing needs that"
            ),
            format!(
                "run as an administrator: ALTER ROLE \"{user}\" NOREPLICATION; the dry run of the cutover says when to \
                 give it"
            ),
        ),
        (_, false, _) => Verdict::ok(format!(
            "{user} has no REPLICATION on Traffic: only a cutover needs it, and the cutover's dry run names the SQL"
        )),
    })
}

/// The same probe as the writer's.
async fn replication_role(client: &Client, config: &Config) -> Outcome {
    let user = config.traffic.user();
    Ok(match TriggerControl::probe(client).await? {
        TriggerControl::ReplicaRole => {
            Verdict::ok("the role may keep Traffic's ordinary triggers from firing")
        }
        TriggerControl::GuardTriggers => Verdict::warning(
            "the role may not set session_replication_role: Traffic's triggers fire for replicated rows, and \
             leadbridge's own pair of triggers keeps updated_at",
            format!("run as a superuser: GRANT SET ON PARAMETER session_replication_role TO \"{user}\""),
        ),
    })
}

/// Indexes that an initial copy has left out and not created yet.
async fn left_out(client: &Client, names: &Names) -> Outcome {
    let make = names.own("make_deferred_index");
    Ok(match indexes::left_out(client, names).await? {
        None => Verdict::warning(
            "a snapshot has to keep up every index of an empty table, which takes longer",
            format!("run `leadbridge migrate`, or {}", server::privileges_remedy(Side::Traffic)),
        ),
        Some(missing) if missing.is_empty() => Verdict::ok("no index waits to be made"),
        // Not an error, because an error would stop the daemon, and the daemon creates the indexes.
        Some(missing) => Verdict::warning(
            format!("missing until a snapshot is complete: {}", missing.join(", ")),
            format!("`leadbridge run` makes them; by hand: SELECT {make}(), again until it names none"),
        ),
    })
}

/// An error after a cutover has switched. Before, only a warning, because nothing streams from Traffic yet.
async fn standbys(client: &Client, names: &Names) -> Outcome {
    let Some(list) = synchronous::listed(client, &names.reverse_slot()).await? else {
        return Ok(Verdict::ok(
            "no commit on Traffic waits, or will wait, for the stream of reverse replication",
        ));
    };
    if is_switched(client, names).await.unwrap_or(false) {
        return Err(synchronous::refusal(Side::Traffic, &list));
    }
    Ok(Verdict::warning(
        format!(
            "Traffic would take reverse replication for a synchronous standby, so no cutover can be made \
             (synchronous_standby_names = '{list}')"
        ),
        synchronous::remedy(Side::Traffic),
    ))
}
