//! Migration of Landing: the publication, which holds exactly the wanted tables, without filters and with
//! every operation; and the fence, which does nothing until a cutover closes the fence.

use tokio_postgres::Client;
use uuid::Uuid;

use super::trial::WriteTrial;
use super::{Effect, MigrateOptions, MigratedSide, MigrationStep, sql};
use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::publication::{self, PublicationMember};
use crate::postgres::step::during;

/// Plans the step for the publication; changes nothing.
///
/// # Errors
/// Refused when the publication covers a schema or the whole database, holds another table, or filters rows
/// or columns.
pub(super) async fn plan(client: &Client, names: &Names, options: &MigrateOptions) -> Result<MigrationStep> {
    let step = |effect| {
        MigrationStep::new(MigratedSide::Landing, format!("publication {}", names.publication), effect)
    };
    let Some(publication) = read(client, names).await? else {
        return Ok(step(Effect::Create));
    };
    publication.check(names, options)?;
    let complete = publication.every_operation && publication.tables.len() == options.tables().len();
    Ok(step(if complete { Effect::Unchanged } else { Effect::Renew }))
}

pub(super) async fn apply(
    client: &mut Client,
    names: &Names,
    step: &MigrationStep,
    (options, trial): (&MigrateOptions, &WriteTrial),
) -> Result<()> {
    if step.effect == Effect::Unchanged {
        return Ok(());
    }
    let sql = sql::publication(names, &options.tables());
    let name = format!("{} on Landing", step.name);
    options.patience.execute(client, (&name, &sql), trial).await.map(drop)
}

/// Plans the step for the fence by comparing the installed fence with this version's fence; changes nothing. The fence
/// is due when leadbridge's own schema is not `is_settled`.
pub(super) async fn plan_fence(client: &Client, names: &Names, is_settled: bool) -> Result<MigrationStep> {
    let sql = "SELECT pg_catalog.obj_description(pg_catalog.to_regclass($1), 'pg_class')
               WHERE pg_catalog.to_regclass($1) IS NOT NULL";
    let step = during(client, "looking for the fence on Landing");
    let row = step.row_if_any(sql, &[&names.own("fence")]).await?;
    let installed = row.map(|row| row.get::<_, Option<String>>(0).unwrap_or_default());
    let effect = match installed {
        None => Effect::Create,
        Some(installed) if is_settled && installed == sql::installed_fence(&sql::landing_fence(names)) => {
            Effect::Unchanged
        }
        Some(_) => Effect::Renew,
    };
    Ok(MigrationStep::new(MigratedSide::Landing, "fence".into(), effect))
}

pub(super) async fn apply_fence(
    client: &mut Client,
    names: &Names,
    step: &MigrationStep,
    (options, trial): (&MigrateOptions, &WriteTrial),
) -> Result<()> {
    if step.effect == Effect::Unchanged {
        return Ok(());
    }
    let fence = sql::landing_fence(names);
    let closing = sql::closing(names);
    let sql = format!("{fence}{}{closing}{}", sql::comment_on_fence(names, &fence), sql::CLOSE);
    options.patience.execute(client, ("the fence on Landing", &sql), trial).await.map(drop)
}

/// Plans a step for each closed fence whose triggers are damaged; changes nothing.
pub(super) async fn plan_damage(client: &Client, names: &Names) -> Result<Vec<(Uuid, MigrationStep)>> {
    let step = during(client, "looking for closed fences on Landing");
    let function = format!("{}(uuid)", names.own("fence_damage"));
    let exists = step.row("SELECT pg_catalog.to_regprocedure($1) IS NOT NULL", &[&function]).await?;
    if !exists.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT f.cutover_id FROM {} AS f WHERE f.lifted_at IS NULL \
         AND (f.expires_at IS NULL OR f.expires_at > pg_catalog.clock_timestamp()) \
         AND EXISTS (SELECT FROM {}(f.cutover_id))",
        names.own("fence"),
        names.own("fence_damage")
    );
    let step = |cutover: Uuid| {
        let name = format!("triggers of the fence of cutover {cutover}");
        (cutover, MigrationStep::new(MigratedSide::Landing, name, Effect::Renew))
    };
    let rows = during(client, "looking for damaged fences on Landing").rows(&sql, &[]).await?;
    Ok(rows.iter().map(|row| step(row.get(0))).collect())
}

/// Makes a damaged fence whole.
pub(super) async fn restore(
    client: &mut Client,
    names: &Names,
    damaged: &[(Uuid, MigrationStep)],
    options: &MigrateOptions,
) -> Result<()> {
    for (cutover, step) in damaged {
        let function = names.own("restore_fence");
        let sql = format!("SELECT {function}('{cutover}', {})", options.notifications);
        let name = format!("{} on Landing", step.name);
        // Writes that pass a damaged fence are to be refused.
        let trial = WriteTrial::of_nothing(Side::Landing);
        options.patience.execute(client, (&name, &sql), &trial).await?;
    }
    Ok(())
}

/// A publication in the catalog.
struct FoundPublication {
    /// FOR ALL TABLES, or FOR TABLES IN SCHEMA.
    wide: bool,
    every_operation: bool,
    tables: Vec<PublicationMember>,
}

impl FoundPublication {
    fn check(&self, names: &Names, options: &MigrateOptions) -> Result<()> {
        let publication = &names.publication;
        let refuse = |what: String, remedy: Message| {
            Err(Error::refused(format!("publication {publication} on Landing {what}")).remedy(remedy))
        };
        if self.wide {
            return refuse(
                "covers all tables of a schema or of the database".into(),
                message!("migrate-remedy-publication-wide"),
            );
        }
        for member in &self.tables {
            let PublicationMember { schema, table, .. } = member;
            let wanted = options.tables().iter().any(|wanted| names.landing_name(*wanted) == table);
            if *schema != names.landing_schema || !wanted {
                return refuse(
                    format!("holds {schema}.{table}, which is not to be copied"),
                    message!("migrate-remedy-publication-foreign-table"),
                );
            }
            if member.is_partial() {
                return refuse(
                    format!("filters rows or columns of {schema}.{table}"),
                    message!("migrate-remedy-publication-partial"),
                );
            }
        }
        Ok(())
    }
}

async fn read(client: &Client, names: &Names) -> Result<Option<FoundPublication>> {
    let Some(entry) = publication::read(client, &names.publication).await? else { return Ok(None) };
    Ok(Some(FoundPublication {
        wide: entry.all_tables || entry.schemas,
        every_operation: entry.every_operation,
        tables: publication::members(client, &names.publication).await?,
    }))
}
