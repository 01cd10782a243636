//! The numbered migrations on Traffic: the plan, and the application of due migrations, each in one
//! transaction.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::passthrough::Places;
use super::sql::{Migration, WITH_OTHERS, checksum, record};
use super::{Effect, MigrateOptions, MigratedSide, MigrationStep, Patience};
use crate::error::{Kind, Result};
use crate::mapping::Mapping;
use crate::model::change::Table;
use crate::model::names::{Names, STATE_TABLES};
use crate::postgres::Database;
use crate::postgres::step::during;
use crate::traffic::TargetCatalog;

/// A migration with its SQL and its step.
pub(super) struct Planned {
    pub step: MigrationStep,
    sql: String,
    /// Whether the step is a numbered migration, which is recorded.
    is_recorded: bool,
}

/// Compares the recorded migrations with the migrations of this version; changes nothing.
pub(super) async fn plan(
    client: &Client,
    (names, places): (&Names, &Places),
    options: &MigrateOptions,
) -> Result<Vec<Planned>> {
    let applied = applied(client, names).await?;
    let made = |migration: &Migration| applied.contains_key(migration.name);
    // A table of notifications that was never created is not missing.
    let notifications = Migration::wanted(options).filter(|migration| migration.optional).any(made);
    let whole = is_whole(client, names, notifications).await?;
    let mut planned: Vec<Planned> = Migration::wanted(options)
        .map(|migration| {
            let sql = migration.sql(names);
            let effect = match applied.get(migration.name) {
                None => Effect::Create,
                Some(recorded) if whole && *recorded == checksum(&sql) => Effect::Unchanged,
                Some(_) => Effect::Renew,
            };
            let step =
                MigrationStep { database: MigratedSide::Traffic, name: migration.name.to_owned(), effect };
            Planned { step, sql, is_recorded: true }
        })
        .collect();
    let changes = places.changes(names);
    if !changes.is_empty() {
        // An installation that has copied fills the columns with the next copy.
        let is_filled = places.needs_copy() && applied.contains_key("017_leadbridge_schema");
        let filled = if is_filled { "; `leadbridge resync` fills them" } else { "" };
        let step = MigrationStep {
            database: MigratedSide::Traffic,
            name: format!("passthrough columns: {}{filled}", changes.join("; ")),
            effect: Effect::Create,
        };
        // After the migration that makes the record of the columns, and before the views.
        let record = planned.iter().position(|planned| planned.step.name == "034_passthrough");
        let sql = places.sql(names);
        planned.insert(record.map_or(planned.len(), |at| at + 1), Planned { step, sql, is_recorded: false });
    }
    Ok(planned)
}

/// Makes the migrations due that run whenever another migration runs.
pub(super) fn renew_with_others(planned: &mut [Planned]) {
    if planned.iter().all(|planned| planned.step.effect == Effect::Unchanged) {
        return;
    }
    let with_others = |planned: &&mut Planned| WITH_OTHERS.contains(&planned.step.name.as_str());
    for Planned { step, .. } in planned.iter_mut().filter(with_others) {
        if step.effect == Effect::Unchanged {
            step.effect = Effect::Renew;
        }
    }
}

/// Applies the due migrations in order, and notifies PostgREST after the last migration.
///
/// Two runs at the same time are harmless, because migrations are idempotent, and an advisory lock makes the
/// transactions run after one another.
pub(super) async fn apply(
    client: &mut Client,
    names: &Names,
    planned: &[Planned],
    patience: Patience,
) -> Result<()> {
    let due: Vec<_> = planned.iter().filter(|planned| planned.step.effect != Effect::Unchanged).collect();
    for Planned { step, sql, is_recorded } in &due {
        let name = &step.name;
        let record = if *is_recorded { record(name, sql, names) } else { String::new() };
        let alone = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('leadbridge migrate'));";
        patience
            .execute(client, &format!("migration {name} on Traffic"), &format!("{alone}\n{sql}\n{record}"))
            .await?;
        tracing::info!(migration = name, "applied");
    }
    if !due.is_empty() {
        during(client, "telling PostgREST about the new schema")
            .batch("NOTIFY pgrst, 'reload schema'")
            .await?;
    }
    Ok(())
}

/// Whether every written column and every state table still exists. If a column or a table was dropped, the
/// migrations run again and create it.
async fn is_whole(client: &Client, names: &Names, notifications: bool) -> Result<bool> {
    let tables = Table::replicated(notifications);
    match TargetCatalog::read(Database::traffic(client, names), &tables, &Mapping::whole()).await {
        Ok(_) => {}
        Err(error) if error.kind() == Kind::Refused => return Ok(false),
        Err(error) => return Err(error),
    }
    let state_tables: Vec<String> = STATE_TABLES.iter().map(|table| names.own(table)).collect();
    let sql = "SELECT bool_and(pg_catalog.to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name";
    let row = during(client, "looking for our tables on Traffic").row(sql, &[&state_tables]).await?;
    Ok(row.get(0))
}

/// Name and checksum of each recorded migration; empty on a fresh database.
async fn applied(client: &Client, names: &Names) -> Result<HashMap<String, String>> {
    let migrations = names.own("migrations");
    let step = during(client, "reading which migrations are applied on Traffic");
    let exists = step.row("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &[&migrations]).await?;
    if !exists.get::<_, bool>(0) {
        return Ok(HashMap::new());
    }
    let rows = step.rows(&format!("SELECT name, checksum FROM {migrations}"), &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
