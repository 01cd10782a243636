//! leadbridge's own schema on either side: what stands in the way of the migrations, and the end of every run. The
//! schema is compared with one that the same SQL makes anew, in a transaction that is rolled back
//! (`sql/own/settle.sql`).

use tokio_postgres::Client;

use super::sql::{SETTLED, judging};
use super::trial::WriteTrial;
use super::{Effect, MigratedSide, MigrationStep, Patience, failure};
use crate::checkpoint::own_schema;
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::names::Names;
use crate::postgres::Database;

/// Objects of earlier versions, which the migrations remove.
const EARLIER: [&str; 1] = ["column fence.granted"];

/// Beginning of the objects that the migrations replace whatever their form is.
const REPLACED: &str = "function ";

/// How the schema differs from what the migrations make.
pub(super) struct OwnPlan {
    side: MigratedSide,
    /// Whether every object is as this version makes it.
    pub is_settled: bool,
    /// Rights of others, which the run takes away.
    rights: Vec<String>,
}

impl OwnPlan {
    /// Compares; changes nothing.
    ///
    /// # Errors
    /// Refused when somebody else owns the schema or an object, and when an object is not of the migrations, or has
    /// a form that the migrations leave as it is.
    pub(super) async fn read(client: &mut Client, side: MigratedSide, names: &Names) -> Result<Self> {
        let database = match side {
            MigratedSide::Landing => Database::landing(client, names),
            MigratedSide::Traffic => Database::traffic(client, names),
        };
        own_schema::refuse_foreign_owner(database).await?;
        let step = format!("examining leadbridge's own schema on {side}");
        let failed = |error| failure::of_statement(&step, &error);
        let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
        if !client.query_one(there, &[&names.schema]).await.map_err(failed)?.get::<_, bool>(0) {
            return Ok(OwnPlan { side, is_settled: false, rights: Vec::new() });
        }
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.batch_execute(&judging(side, names)).await.map_err(failed)?;
        let rows = transaction
            .query("SELECT kind, object FROM pg_temp.leadbridge_differences()", &[])
            .await
            .map_err(failed)?;
        let different: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let rows = transaction.query("SELECT statement FROM pg_temp.leadbridge_rights()", &[]).await;
        let rights = rows.map_err(failed)?.iter().map(|row| row.get(0)).collect();
        transaction.rollback().await.map_err(failed)?;
        refuse(side, &names.schema, &different)?;
        Ok(OwnPlan { side, is_settled: different.is_empty(), rights })
    }

    /// The step that takes the rights of others away, if there are any.
    pub(super) fn step(&self) -> Option<MigrationStep> {
        let step =
            || MigrationStep::new(self.side, "rights in leadbridge's own schema".into(), Effect::Renew);
        (!self.rights.is_empty()).then(|| MigrationStep { changes: self.rights.clone(), ..step() })
    }
}

fn refuse(side: MigratedSide, schema: &str, different: &[(String, String)]) -> Result<()> {
    let of = |wanted: &'static str| {
        different.iter().filter(move |(kind, _)| kind == wanted).map(|(_, object)| object)
    };
    let foreign: Vec<String> =
        of("foreign").filter(|object| !EARLIER.contains(&object.as_str())).cloned().collect();
    let altered: Vec<String> =
        of("altered").filter(|object| !object.starts_with(REPLACED)).cloned().collect();
    let phrases = [("not leadbridge's: ", foreign), ("altered: ", altered)];
    let phrases: Vec<String> = phrases
        .iter()
        .filter(|(_, objects)| !objects.is_empty())
        .map(|(what, objects)| format!("{what}{}", own_schema::named(objects)))
        .collect();
    if phrases.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{side}: the schema `{schema}` is not as leadbridge makes it; {}",
        phrases.join("; ")
    ))
    .remedy(message!("migrate-remedy-schema-altered")))
}

/// Takes away the rights of others, refuses a schema that is not as the migrations make it, and records its form.
pub(super) async fn settle(
    client: &mut Client,
    side: MigratedSide,
    names: &Names,
    (patience, trial): (Patience, &WriteTrial),
) -> Result<()> {
    let sql = judging(side, names) + SETTLED;
    let step = format!("settling leadbridge's own schema on {side}");
    patience.execute(client, (&step, &sql), trial).await.map(drop)
}
