//! What a cutover or a rollback needs from the servers beside the replicated tables: streams, a slot, publications,
//! and rights on leadbridge's own tables.

use std::time::Duration;

use crate::config::Config;
use crate::doctor::privileges_remedy;
use crate::error::Result;
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::postgres::{Database, Endpoint, primary, publication, role, slot};
use crate::report::Verdict;

/// How long the trial of a slot waits for open transactions.
const PATIENCE: Duration = Duration::from_secs(5);

/// A replication connection can be opened, as a stream and the certificate need one.
pub(super) async fn stream(endpoint: &Endpoint) -> Result<Verdict> {
    let side = endpoint.side();
    match primary::system_identifier(endpoint).await {
        Ok(_) => Ok(Verdict::ok(message!("cutover-stream", side = side))),
        Err(error) if error.sqlstate().is_some_and(|code| code.code() == "53300") => Ok(Verdict::error(
            message!("cutover-stream-no-sender", side = side, error = error.message()),
            message!("cutover-stream-no-sender-remedy", side = side),
        )),
        Err(error) => Err(error),
    }
}

/// A slot can be created on Traffic.
pub(super) async fn slot_creation(config: &Config) -> Result<Verdict> {
    let session = config.traffic.connect("cutover").await?;
    let blocker = slot::try_creation(&session, PATIENCE).await?;
    session.close().await;
    Ok(match blocker {
        None => Verdict::ok(message!("cutover-slot-creation")),
        Some(blocker) => Verdict::warning(
            message!("cutover-slot-creation-slow", patience = format!("{:?}", PATIENCE), blocker = blocker),
            message!("cutover-slot-creation-slow-remedy"),
        ),
    })
}

/// No slot has the name of the slot of reverse replication.
pub(super) async fn reverse_slot(traffic: Database<'_>) -> Result<Verdict> {
    slot::refuse_existing(traffic, &traffic.names.reverse_slot()).await?;
    Ok(Verdict::ok(message!("cutover-reverse-slot-free")))
}

/// The publication sends every change of the tables, each given by schema and name.
pub(super) async fn publication(
    database: Database<'_>,
    name: &str,
    wanted: &[(String, String)],
    fine: Message,
) -> Result<Verdict> {
    let side = database.side;
    let remedy = message!("cutover-publication-remedy");
    let Some(entry) = publication::read(database.client, name).await? else {
        return Ok(Verdict::error(message!("cutover-publication-absent", name = name, side = side), remedy));
    };
    if !entry.every_operation {
        return Ok(Verdict::error(
            message!("cutover-publication-operations", name = name, side = side),
            message!("cutover-publication-operations-remedy", name = name),
        ));
    }
    let members = publication::members(database.client, name).await?;
    let sends = |schema: &str, table: &str| {
        members.iter().any(|m| m.schema == schema && m.table == table && !m.is_partial())
    };
    let lacking = wanted.iter().filter(|(schema, table)| !sends(schema, table));
    let lacking: Vec<String> = lacking.map(|(_, table)| table.clone()).collect();
    let wrong = |list| message!("cutover-publication-lacks", name = name, side = side, list = list);
    Ok(Verdict::none_of(&lacking, fine, wrong, remedy))
}

/// Tables of leadbridge's own on Traffic that a cutover or a rollback writes, and those that it reads.
const WRITTEN: [&str; 6] =
    ["cutover", "left_on_traffic", "checkpoint", "markers", "reverse", "reverse_quarantine"];
const READ: [&str; 2] = ["fence", "installation"];

/// This role has its rights on leadbridge's tables.
pub(super) async fn state_tables(database: Database<'_>) -> Result<Verdict> {
    let Database { client, side, names } = database;
    let own = |tables: &[&str]| tables.iter().map(|table| names.own(table)).collect::<Vec<_>>();
    let mut missing = role::missing_privileges(client, &own(&READ), &["SELECT"]).await?;
    if side == Side::Traffic {
        let all = ["SELECT", "INSERT", "UPDATE", "DELETE"];
        missing.extend(role::missing_privileges(client, &own(&WRITTEN), &all).await?);
    }
    Ok(Verdict::none_of(
        &missing,
        message!("cutover-own-tables", side = side),
        |list| message!("cutover-own-tables-lacks", side = side, list = list),
        privileges_remedy(side),
    ))
}
