//! Checks of Traffic.

use tokio_postgres::Client;

use super::{Outcome, server, slot, tables};
use crate::admission::{AdmissionScope, Extent};
use crate::checkpoint::{Finish, Installation, is_switched};
use crate::config::Config;
use crate::language::message;
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
        Ok(Some(Finish::Finished { at })) => Some(Verdict::ok(message!("doctor-traffic-finished", at = at))),
        Ok(Some(Finish::Dismantling { .. })) => {
            Finish::refuse(client, &config.names).await.err().map(|error| Verdict::from(&error))
        }
        Ok(None) | Err(_) => None,
    }
}

/// The installation that leadbridge's schema belongs to.
async fn installation(client: &Client, config: &Config) -> Outcome {
    Installation::refuse_another(Database::traffic(client, &config.names), &config.landing).await?;
    Ok(Verdict::ok(message!("doctor-traffic-installation")))
}

async fn schema(client: &Client, tables: &[String]) -> Outcome {
    let sql = "SELECT t FROM unnest($1::text[]) AS t WHERE to_regclass(t) IS NULL";
    let rows = during(client, "looking for our tables").rows(sql, &[&tables]).await?;
    let missing: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(Verdict::none_of(
        &missing,
        message!("doctor-traffic-schema"),
        |list| message!("doctor-traffic-schema-lacks", list = list),
        message!("report-migrate-or-print"),
    ))
}

async fn privileges(client: &Client, tables: &[String]) -> Outcome {
    let needed = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    let missing = role::missing_privileges(client, tables, &needed).await?;
    Ok(Verdict::none_of(
        &missing,
        message!("doctor-traffic-writable"),
        |list| message!("doctor-privileges-missing", list = list),
        server::privileges_remedy(Side::Traffic),
    ))
}

/// REPLICATION opens the changes of every table, and is needed on Traffic only from the cutover on.
async fn replication_right(client: &Client, names: &Names) -> Outcome {
    let role = SessionRole::read(client).await?;
    let user = &role.name;
    let is_needed = is_switched(client, names).await.unwrap_or(false);
    Ok(match (role.is_superuser, role.has_replication, is_needed) {
        (true, ..) => Verdict::ok(message!("doctor-traffic-superuser", user = user)),
        (_, true, true) => Verdict::ok(message!("doctor-traffic-replication", user = user)),
        (_, true, false) => Verdict::warning(
            message!("doctor-traffic-replication-early", user = user),
            message!("doctor-traffic-replication-early-remedy", user = user),
        ),
        (_, false, _) => Verdict::ok(message!("doctor-traffic-no-replication", user = user)),
    })
}

/// The same probe as the writer's.
async fn replication_role(client: &Client, config: &Config) -> Outcome {
    let user = config.traffic.user();
    Ok(match TriggerControl::probe(client).await? {
        TriggerControl::ReplicaRole => Verdict::ok(message!("doctor-traffic-triggers-kept")),
        TriggerControl::GuardTriggers => Verdict::warning(
            message!("doctor-traffic-triggers-fire"),
            message!("doctor-traffic-triggers-fire-remedy", user = user),
        ),
    })
}

/// Indexes that an initial copy has left out and not created yet.
async fn left_out(client: &Client, names: &Names) -> Outcome {
    let make = names.own("make_deferred_index");
    Ok(match indexes::left_out(client, names).await? {
        None => Verdict::warning(
            message!("doctor-traffic-indexes-kept"),
            message!(
                "doctor-traffic-indexes-kept-remedy",
                privileges = server::privileges_remedy(Side::Traffic)
            ),
        ),
        Some(missing) if missing.is_empty() => Verdict::ok(message!("doctor-traffic-indexes")),
        // Not an error, because an error would stop the daemon, and the daemon creates the indexes.
        Some(missing) => Verdict::warning(
            message!("doctor-traffic-indexes-missing", missing = missing.join(", ")),
            message!("doctor-traffic-indexes-missing-remedy", make = make),
        ),
    })
}

/// An error after a cutover has switched. Before, only a warning, because nothing streams from Traffic yet.
async fn standbys(client: &Client, names: &Names) -> Outcome {
    let Some(list) = synchronous::listed(client, &names.reverse_slot()).await? else {
        return Ok(Verdict::ok(message!("doctor-traffic-standbys")));
    };
    if is_switched(client, names).await.unwrap_or(false) {
        return Err(synchronous::refusal(Side::Traffic, &list));
    }
    Ok(Verdict::warning(
        message!("doctor-traffic-standbys-cutover", list = list),
        synchronous::remedy(Side::Traffic),
    ))
}
