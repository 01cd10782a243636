//! `leadbridge migrate`: Migration 016 and our own schema on Traffic, the publication and the fence on Landing.
//!
//! What is to be done is found out first, on both databases, and refused before anything is changed; a dry run
//! stops there. Everything is idempotent, so an interrupted run is simply run again.

mod landing;
mod lock;
mod sql;
mod traffic;

use std::fmt;

use serde::Serialize;
use tokio_postgres::Client;

use crate::admission::{self, Bars, Extent};
use crate::change::Table;
use crate::checkpoint::{Identity, Installation};
use crate::database::Side;
use crate::error::{Error, Result};
use crate::names::Names;

pub use lock::Patience;
pub use sql::{privileges, script};

/// What to migrate, and how.
#[derive(Clone, Debug, Default)]
pub struct MigrateOptions {
    /// Copy `scheduled_notifications` as well.
    pub notifications: bool,
    /// Find out what would be done, and do nothing.
    pub dry_run: bool,
    /// The schema is this installation's from now on, whosever it was.
    pub replace_installation: bool,
    pub patience: Patience,
}

impl MigrateOptions {
    /// The tables to publish, in the order in which they are copied.
    pub fn tables(&self) -> Vec<Table> {
        Table::replicated(self.notifications)
    }
}

/// Which of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MigratedSide {
    Landing,
    Traffic,
}

impl fmt::Display for MigratedSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MigratedSide::Landing => "Landing",
            MigratedSide::Traffic => "Traffic",
        })
    }
}

/// What a step does to its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It is there, and as this version wants it.
    Unchanged,
    /// It was not there.
    Create,
    /// It was there in an older form.
    Renew,
}

/// One migration, the publication, or the fence on Landing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MigrationStep {
    pub database: MigratedSide,
    pub name: String,
    pub effect: Effect,
}

/// What was done, or in a dry run would be done, in that order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub dry_run: bool,
    pub steps: Vec<MigrationStep>,
}

impl Report {
    pub fn changes_something(&self) -> bool {
        self.steps.iter().any(|step| step.effect != Effect::Unchanged)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for MigrationStep { database, name, effect } in &self.steps {
            let effect = match (effect, self.dry_run) {
                (Effect::Unchanged, _) => "up to date",
                (Effect::Create, false) => "applied",
                (Effect::Renew, false) => "renewed",
                (Effect::Create, true) => "would be applied",
                (Effect::Renew, true) => "would be renewed",
            };
            writeln!(f, "{database}: {name}: {effect}")?;
        }
        Ok(())
    }
}

/// Brings both databases to the form that this version wants.
///
/// # Errors
/// Refused, before anything is changed, when a table is not admissible, when the publication holds what it must not, or
/// when the schema or the tables on Traffic belong to another installation. Transient when a lock could not be had within
/// [`Patience`]: what was applied until then stays, recorded.
pub async fn migrate(
    landing: &mut Client,
    traffic: &mut Client,
    names: &Names,
    options: &MigrateOptions,
) -> Result<Report> {
    sql::check_names(names)?;
    let identity = identity(landing, names).await?;
    if !options.replace_installation {
        Installation::refuse_another_than(&identity, traffic, names, Side::Traffic).await?;
        Installation::refuse_another_than(&identity, landing, names, Side::Landing).await?;
    }
    Installation::refuse_shared_tables(traffic, names).await?;
    let tables = options.tables();
    // A table of another shape would be published to the harm of the applications that write to it.
    admission::admit(landing, Side::Landing, names, &tables, Extent::Whole, Bars::Replication).await?;
    admission::admit(traffic, Side::Traffic, names, &tables, Extent::BeforeMigrate, Bars::Replication)
        .await?;
    let publication = landing::plan(landing, names, options).await?;
    let fence = landing::plan_fence(landing, names).await?;
    let migrations = traffic::plan(traffic, names, options).await?;

    let mut steps: Vec<MigrationStep> = migrations.iter().map(|planned| planned.step.clone()).collect();
    steps.extend([publication.clone(), fence.clone()]);
    let report = Report { dry_run: options.dry_run, steps };
    if !options.dry_run {
        if options.replace_installation {
            Installation::replace(&identity, traffic, names).await?;
            Installation::replace(&identity, landing, names).await?;
        }
        traffic::apply(traffic, names, &migrations, options.patience).await?;
        landing::apply(landing, names, &publication, options).await?;
        landing::apply_fence(landing, names, &fence, options).await?;
        Installation::admit(&identity, traffic, names, Side::Traffic).await?;
        Installation::admit(&identity, landing, names, Side::Landing).await?;
    }
    Ok(report)
}

/// Who this installation is, as Landing itself says.
async fn identity(landing: &Client, names: &Names) -> Result<Identity> {
    let sql = "SELECT system_identifier::text, pg_catalog.current_database()::text FROM pg_catalog.pg_control_system()";
    let row = landing.query_one(sql, &[]).await;
    let row = row.map_err(|error| Error::database("asking Landing for its system identifier", &error))?;
    let (slot, publication) = (names.slot.clone(), names.publication.clone());
    Ok(Identity { landing_system_id: row.get(0), landing_database: row.get(1), slot, publication })
}
