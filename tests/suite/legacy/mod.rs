//! The legacy names on Traffic (docs/legacy-names.md): what old code finds there, and who may do what when.

mod definition;
mod names;
mod over_time;
mod refused;
mod statements;

use leadbridge::migrate::{MigrateOptions, MigrationStep, Report};
use serde_json::Value;
use tokio_postgres::Client;

use crate::application::http::Text;
use crate::testkit::{World, traffic};

pub fn legacy() -> MigrateOptions {
    MigrateOptions { legacy: true, notifications: true, ..MigrateOptions::default() }
}

/// Migrates after a dry run that must have said the same, and before a second run that must find nothing to do.
async fn as_announced(world: &World, options: &MigrateOptions) -> Report {
    let announced = world.migrate(&MigrateOptions { dry_run: true, ..options.clone() }).await;
    let report = world.migrate(options).await;
    assert_eq!(announced.steps, report.steps);
    let again = world.migrate(options).await;
    assert!(!again.changes_something(), "{again}");
    report
}

fn step(report: &Report) -> &MigrationStep {
    report.steps.iter().find(|step| step.name == "legacy names").expect("a step of the legacy names")
}

/// Gives the rights that the switch gives.
async fn opened(world: &World) {
    traffic(world, "SELECT leadbridge.open_legacy_names()").await;
}

/// A statement in the form in which the HTTP layer sends it: as the role of the request, with the body as the only
/// parameter, and with the answer as one JSON array. The error is the SQLSTATE.
async fn http(client: &Client, role: &str, source: &str, body: &Value) -> Result<Value, String> {
    let sql = format!(
        "WITH source AS ({source}) SELECT coalesce(json_agg(_t), '[]')::text AS body, count(_t)::text AS page_total \
         FROM (SELECT * FROM source) AS _t"
    );
    client
        .batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}; SET LOCAL search_path = public"))
        .await
        .unwrap();
    let body = body.to_string();
    let answer = match client.prepare(&sql).await {
        Ok(statement) if statement.params().is_empty() => client.query_one(&statement, &[]).await,
        Ok(statement) => client.query_one(&statement, &[&Text(body)]).await,
        Err(error) => Err(error),
    };
    let end = if answer.is_ok() { "COMMIT" } else { "ROLLBACK" };
    client.batch_execute(end).await.unwrap();
    match answer {
        Ok(row) => Ok(serde_json::from_str(row.get(0)).unwrap()),
        Err(error) => Err(error.code().unwrap_or_else(|| panic!("{error}")).code().to_owned()),
    }
}

/// `INSERT INTO name (columns)` from the body of a request; `after` is what follows the SELECT.
fn insert(name: &str, columns: &[(&str, &str)], after: &str) -> String {
    let list = columns.iter().map(|(column, _)| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
    let typed =
        columns.iter().map(|(column, kind)| format!("\"{column}\" {kind}")).collect::<Vec<_>>().join(", ");
    format!(
        "INSERT INTO \"public\".\"{name}\" ({list}) SELECT {list} FROM json_to_record($1::json) AS _ ({typed}) {after}"
    )
}
