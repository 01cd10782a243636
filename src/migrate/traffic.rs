//! The numbered migrations on Traffic: the plan, and the application of due migrations, each in one
//! transaction.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::listed::{self, Listed};
use super::sql::{CLOSE, Migration, WITH_OTHERS, checksum, closing, plannable, record, session};
use super::trial::WriteTrial;
use super::{Effect, FromCatalogs, MigrateOptions, MigratedSide, MigrationStep, Patience, failure};
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
}

/// The steps that are no numbered migrations, and are not recorded: their work follows Landing's catalog.
const PASSTHROUGH: &str = "passthrough columns";
const LEGACY: &str = "legacy names";

/// Compares the recorded migrations with the migrations of this version, and lists the changes; changes
/// nothing. Every migration is due when leadbridge's own schema is not `is_settled`.
///
/// # Errors
/// Refused when an object of the school's own stands in the way of a change.
pub(super) async fn plan(
    client: &mut Client,
    (names, catalogs): (&Names, &FromCatalogs<'_>),
    (options, is_settled): (&MigrateOptions, bool),
) -> Result<Vec<Planned>> {
    let applied = applied(client, names).await?;
    let made = |migration: &Migration| applied.contains_key(migration.name);
    // A table of notifications that was never created is not missing.
    let notifications = Migration::wanted(options).filter(|migration| migration.optional).any(made);
    let whole = is_settled && is_whole(client, names, notifications).await?;
    let mut migrations: Vec<(&str, String)> =
        Migration::wanted(options).map(|migration| (migration.name, migration.sql(names))).collect();
    if let Some(sql) = catalogs.places.sql(names, applied.contains_key("017_leadbridge_schema")) {
        // After the migration that makes the record of the columns, and before the views.
        let record = migrations.iter().position(|(name, _)| *name == "034_passthrough");
        migrations.insert(record.map_or(migrations.len(), |at| at + 1), (PASSTHROUGH, sql));
    }
    if let Some(legacy) = &catalogs.legacy {
        // After every migration, because the views show every column.
        migrations.push((LEGACY, legacy.sql.clone()));
    }
    let has_legacy = catalogs.legacy.as_ref().is_some_and(|legacy| legacy.is_recorded);
    let listed = list(client, names, &migrations, options.patience).await?;
    if let Some(refusal) = listed::refusal(listed.iter()) {
        return Err(refusal);
    }
    let planned = migrations.into_iter().zip(listed).map(|((name, sql), Listed { changes, notes, .. })| {
        let effect = match applied.get(name) {
            None if name == LEGACY && has_legacy && changes.is_empty() => Effect::Unchanged,
            None if name == LEGACY && has_legacy => Effect::Renew,
            None => Effect::Create,
            Some(recorded) if whole && changes.is_empty() && *recorded == checksum(&sql) => Effect::Unchanged,
            Some(_) => Effect::Renew,
        };
        let step = MigrationStep::new(MigratedSide::Traffic, name.to_owned(), effect);
        Planned { step: MigrationStep { changes, notes, ..step }, sql }
    });
    Ok(planned.collect())
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

/// Lists the changes of each migration outside of leadbridge's schema, in a transaction that is rolled back.
/// The migrations list each change instead of making it, so no table is locked.
async fn list(
    client: &mut Client,
    names: &Names,
    migrations: &[(&str, String)],
    patience: Patience,
) -> Result<Vec<Listed>> {
    let failed = |error| failure::of_statement("planning the migrations on Traffic", &error);
    let transaction = client.transaction().await.map_err(failed)?;
    patience.set_timeout(&transaction).await.map_err(failed)?;
    let begin =
        format!("{}SELECT pg_catalog.set_config('leadbridge.plan_only', 'on', true);", session(names));
    transaction.batch_execute(&begin).await.map_err(failed)?;
    let mut listed = Vec::new();
    for (name, sql) in migrations {
        let Some(sql) = plannable(sql) else {
            listed.push(Listed::default());
            continue;
        };
        let step = format!("planning migration {name} on Traffic");
        transaction
            .batch_execute(&format!("{}\n{sql}", listed::EMPTY))
            .await
            .map_err(|error| failure::of_statement(&step, &error))?;
        listed.push(Listed::read(&transaction, &step).await?);
    }
    transaction.rollback().await.map_err(failed)?;
    Ok(listed)
}

/// Applies the due migrations in order, and notifies PostgREST after the last migration. Returns all steps,
/// with the changes that were made.
///
/// Two runs at the same time are harmless, because migrations are idempotent, and an advisory lock makes the
/// transactions run after one another.
pub(super) async fn apply(
    client: &mut Client,
    names: &Names,
    planned: Vec<Planned>,
    (patience, trial): (Patience, &WriteTrial),
) -> Result<Vec<MigrationStep>> {
    let session = session(names) + &closing(names);
    let mut steps = Vec::new();
    for Planned { step, sql } in planned {
        if step.effect == Effect::Unchanged {
            steps.push(step);
            continue;
        }
        let name = &step.name;
        let is_numbered = ![PASSTHROUGH, LEGACY].contains(&name.as_str());
        let record = if is_numbered { record(name, &sql, names) } else { String::new() };
        let alone = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('leadbridge migrate')); \
                     SELECT pg_catalog.set_config('leadbridge.indexes_later', 'on', true);";
        let statements = format!("{alone}\n{session}\n{sql}\n{record}{CLOSE}");
        let step_name = format!("migration {name} on Traffic");
        let Listed { changes, notes, indexes, .. } =
            patience.execute(client, (&step_name, &statements), trial).await?;
        for index in &indexes {
            patience.make_index(client, (&step_name, index)).await?;
        }
        tracing::info!(migration = name, "applied");
        steps.push(MigrationStep { changes, notes, ..step });
    }
    if steps.iter().any(|step| step.effect != Effect::Unchanged) {
        during(client, "telling PostgREST about the new schema")
            .batch("NOTIFY pgrst, 'reload schema'")
            .await?;
    }
    Ok(steps)
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
    if !step.finds(&migrations).await? {
        return Ok(HashMap::new());
    }
    let rows = step.rows(&format!("SELECT name, checksum FROM {migrations}"), &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
