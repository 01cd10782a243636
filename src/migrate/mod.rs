//! `leadbridge migrate`: Migration 016 and leadbridge's own schema on Traffic, the publication and the fence
//! on Landing.
//!
//! The steps are planned on both databases, and refused if necessary, before anything is changed; a dry run
//! ends after the plan. Every step is idempotent, so an interrupted run can be repeated.

mod access;
mod failure;
mod landing;
mod legacy;
mod listed;
mod lock;
mod own;
mod passthrough;
mod sql;
mod traffic;
mod trial;

use std::fmt;

use serde::Serialize;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::access::AccessScope;
use crate::admission::{AdmissionScope, Bars, Extent};
use crate::checkpoint::{Identity, Installation, is_switched};
use crate::error::Result;
use crate::language::{Language, Message, message};
use crate::model::change::Table;
use crate::model::column_rules::ColumnRules;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::{Database, Databases};

use access::PlannedAccess;
pub use access::{ApiAccess, LeftOpen};
pub use lock::Patience;
use own::OwnPlan;
pub use sql::{privileges, script};
pub use trial::TriedWriters;
use trial::WriteTrial;

/// Options of [`migrate`].
#[derive(Clone, Debug, Default)]
pub struct MigrateOptions {
    /// Copy `scheduled_notifications` as well.
    pub notifications: bool,
    /// Decisions about columns that no rule of the mapping reads.
    pub columns: ColumnRules,
    /// Plan the steps, and change nothing.
    pub dry_run: bool,
    /// Give the schema to this installation, even when the schema belongs to another installation.
    pub replace_installation: bool,
    /// Bring the rights of the API's roles on Traffic to those on Landing.
    pub api_access: bool,
    /// Make the legacy names. Once they are made, every run keeps them up to date.
    pub legacy: bool,
    /// Views of Landing that run with their owner's rights there, and are made so on Traffic.
    pub public_views: Vec<String>,
    /// Rights on Traffic beyond those on Landing that are meant: `role:object`.
    pub accept: Vec<String>,
    pub patience: Patience,
}

impl MigrateOptions {
    /// The tables to publish, in the order in which they are copied.
    pub fn tables(&self) -> Vec<Table> {
        Table::replicated(self.notifications)
    }
}

/// The database of a step.
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

/// Effect of a step on its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The object exists in the form of this version.
    Unchanged,
    /// The object does not exist.
    Create,
    /// The object exists in another form, or a part is missing.
    Renew,
}

/// A migration, the publication, or the fence on Landing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MigrationStep {
    pub database: MigratedSide,
    pub name: String,
    pub effect: Effect,
    /// What changes outside of leadbridge's own schema, object by object, in the order of execution.
    pub changes: Vec<String>,
    /// What the operator must know beside the changes.
    pub notes: Vec<String>,
}

impl MigrationStep {
    pub(crate) fn new(database: MigratedSide, name: String, effect: Effect) -> Self {
        MigrationStep { database, name, effect, changes: Vec::new(), notes: Vec::new() }
    }

    fn lines(&self, dry_run: bool) -> Vec<Message> {
        let effect = match (self.effect, dry_run) {
            (Effect::Unchanged, _) => message!("migrate-up-to-date"),
            (Effect::Create, false) => message!("migrate-applied"),
            (Effect::Renew, false) => message!("migrate-renewed"),
            (Effect::Create, true) => message!("migrate-would-be-applied"),
            (Effect::Renew, true) => message!("migrate-would-be-renewed"),
        };
        let side = self.database.to_string();
        let step = message!("migrate-step", side = side, step = &self.name, effect = effect);
        let changes = self.changes.iter().map(|change| Message::verbatim(change).indented(2));
        let notes = self.notes.iter().map(|note| message!("migrate-note", note = note).indented(2));
        [step].into_iter().chain(changes).chain(notes).collect()
    }
}

/// Steps that were done, or in a dry run would be done, in the order of execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub dry_run: bool,
    pub steps: Vec<MigrationStep>,
    pub access: ApiAccess,
    /// The roles as which a write was tried on each changed side; empty in a dry run.
    pub writers: Vec<(MigratedSide, TriedWriters)>,
    /// Roles of leadbridge's on Traffic that have REPLICATION although no cutover has switched.
    pub replicating: Vec<String>,
}

impl Report {
    pub fn changes_something(&self) -> bool {
        let is_due = |step: &MigrationStep| step.effect != Effect::Unchanged;
        self.steps.iter().any(is_due) || !self.access.statements.is_empty()
    }
}

impl Report {
    /// The report for people.
    pub fn text(&self, language: Language) -> String {
        self.lines().into_iter().map(|line| line.in_language(language) + "\n").collect()
    }

    fn lines(&self) -> Vec<Message> {
        let mut lines: Vec<Message> = self.steps.iter().flat_map(|step| step.lines(self.dry_run)).collect();
        lines.extend(self.access.lines(self.dry_run));
        for (side, TriedWriters { tried, not_tried }) in &self.writers {
            let roles = match tried.as_slice() {
                [] => message!("migrate-tried-as-nobody"),
                tried => Message::verbatim(tried.join(", ")),
            };
            let tried = message!("migrate-tried", side = side.to_string(), roles = roles);
            let not_tried =
                (!not_tried.is_empty()).then(|| message!("migrate-not-tried", roles = not_tried.join(", ")));
            lines.push(Message::joined([Some(tried), not_tried].into_iter().flatten(), "; "));
        }
        for role in &self.replicating {
            let remedy = Message::verbatim(format!("ALTER ROLE {role} NOREPLICATION"));
            lines.extend(with_remedy(message!("migrate-replicating", role = role), remedy));
        }
        lines
    }
}

/// The report in English.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Language::English))
    }
}

/// What was found, and below it what to do.
fn with_remedy(what: Message, remedy: Message) -> [Message; 2] {
    [what, message!("error-what-to-do", remedy = remedy).indented(2)]
}

/// Brings both databases to the form that this version needs.
///
/// # Errors
/// Refused, before anything is changed, when a table is not admissible, when the publication holds what it
/// must not, or when the schema on either side or the tables on Traffic belong to another installation.
/// Refused with the step's name, when a database refuses a statement. Transient when a lock could not be had
/// within [`Patience`]. In both cases the steps applied until then stay, and are recorded.
pub async fn migrate(
    landing: &mut Client,
    traffic: &mut Client,
    names: &Names,
    options: &MigrateOptions,
) -> Result<Report> {
    plan_and_apply(landing, traffic, names, options).await.map_err(failure::for_the_operator)
}

async fn plan_and_apply(
    landing: &mut Client,
    traffic: &mut Client,
    names: &Names,
    options: &MigrateOptions,
) -> Result<Report> {
    sql::check_names(names)?;
    // Before a table of the schema is read, because somebody else's view or policy would run with our rights.
    let own_on_traffic = OwnPlan::read(traffic, MigratedSide::Traffic, names).await?;
    let own_on_landing = OwnPlan::read(landing, MigratedSide::Landing, names).await?;
    let identity = identity(landing, names).await?;
    if !options.replace_installation {
        Installation::refuse_another_than(&identity, Database::traffic(traffic, names)).await?;
        Installation::refuse_another_than(&identity, Database::landing(landing, names)).await?;
    }
    Installation::refuse_shared_tables(traffic, names).await?;
    let tables = options.tables();
    // Admission comes before the publication, because a published table without a usable replica identity
    // refuses the applications' updates and deletes.
    let scope = AdmissionScope { side: Side::Landing, names, tables: &tables, extent: Extent::Whole };
    scope.admit(landing, Bars::Replication).await?;
    let scope = AdmissionScope { side: Side::Traffic, extent: Extent::BeforeMigrate, ..scope };
    scope.admit(traffic, Bars::Replication).await?;
    let publication = landing::plan(landing, names, options).await?;
    let fence = landing::plan_fence(landing, names, own_on_landing.is_settled).await?;
    let damaged = landing::plan_damage(landing, names).await?;
    let databases = Databases { landing, traffic, names };
    let places = passthrough::plan(databases, &tables, &options.columns).await?;
    let scope = AccessScope { names, tables: &tables, accept: &options.accept };
    let access = PlannedAccess::read(landing, traffic, (scope, options.api_access)).await?;
    let legacy =
        legacy::plan(databases, options, (&places.passthrough(), &access.comparison_afterwards())).await?;
    let catalogs = FromCatalogs { places: &places, legacy };
    let mut migrations =
        traffic::plan(traffic, (names, &catalogs), (options, own_on_traffic.is_settled)).await?;
    traffic::renew_with_others(&mut migrations);

    let own = [own_on_traffic, own_on_landing].map(|plan| plan.step());
    let planned = PlannedSteps { publication, fence, damaged, migrations, own, access };
    if options.dry_run {
        return Ok(planned.predicted(replicating(traffic, names).await?));
    }
    if options.replace_installation {
        Installation::replace(&identity, Database::traffic(traffic, names)).await?;
        Installation::replace(&identity, Database::landing(landing, names)).await?;
    }
    let report = planned.apply(landing, traffic, (names, options)).await?;
    Installation::admit(&identity, Database::traffic(traffic, names)).await?;
    Installation::admit(&identity, Database::landing(landing, names)).await?;
    Ok(report)
}

/// What follows Landing's catalog, and is not a numbered migration.
struct FromCatalogs<'c> {
    places: &'c passthrough::Places,
    legacy: Option<legacy::LegacyPlan>,
}

/// The steps on both sides.
struct PlannedSteps<'p> {
    publication: MigrationStep,
    fence: MigrationStep,
    damaged: Vec<(Uuid, MigrationStep)>,
    migrations: Vec<traffic::Planned>,
    /// Rights that are taken away in leadbridge's own schema: on Traffic, on Landing.
    own: [Option<MigrationStep>; 2],
    access: PlannedAccess<'p>,
}

impl PlannedSteps<'_> {
    /// The report of a dry run.
    fn predicted(self, replicating: Vec<String>) -> Report {
        let damaged = self.damaged.into_iter().map(|(_, step)| step);
        let migrations = self.migrations.into_iter().map(|planned| planned.step);
        let own = self.own.into_iter().flatten();
        let steps = migrations.chain([self.publication, self.fence]).chain(damaged).chain(own).collect();
        Report { dry_run: true, steps, access: self.access.predicted(), writers: Vec::new(), replicating }
    }

    async fn apply(
        self,
        landing: &mut Client,
        traffic: &mut Client,
        (names, options): (&Names, &MigrateOptions),
    ) -> Result<Report> {
        let PlannedSteps { publication, fence, damaged, migrations, own, access } = self;
        let tables = options.tables();
        access.announce(traffic).await?;
        let on_traffic = WriteTrial::plan(traffic, Side::Traffic, names, &tables).await?;
        let on_landing = WriteTrial::plan(landing, Side::Landing, names, &tables).await?;
        let mut steps = traffic::apply(traffic, names, migrations, (options.patience, &on_traffic)).await?;
        access.apply(traffic, (options.patience, &on_traffic)).await?;
        landing::apply(landing, names, &publication, (options, &on_landing)).await?;
        landing::apply_fence(landing, names, &fence, (options, &on_landing)).await?;
        landing::restore(landing, names, &damaged, options).await?;
        own::settle(traffic, MigratedSide::Traffic, names, (options.patience, &on_traffic)).await?;
        own::settle(landing, MigratedSide::Landing, names, (options.patience, &on_landing)).await?;
        steps.extend([publication, fence].into_iter().chain(damaged.into_iter().map(|(_, step)| step)));
        steps.extend(own.into_iter().flatten());
        let access = access.done(landing, traffic).await?;
        let is_changed =
            |side| steps.iter().any(|step| step.database == side && step.effect != Effect::Unchanged);
        let tried = [(MigratedSide::Traffic, on_traffic), (MigratedSide::Landing, on_landing)];
        let changed = tried.into_iter().filter(|(side, _)| is_changed(*side));
        let writers = changed.map(|(side, trial)| (side, trial.writers().clone())).collect();
        let replicating = replicating(traffic, names).await?;
        Ok(Report { dry_run: false, steps, access, writers, replicating })
    }
}

/// Roles with rights in leadbridge's schema on Traffic, as SQL, that have REPLICATION before a cutover has switched.
async fn replicating(traffic: &Client, names: &Names) -> Result<Vec<String>> {
    if is_switched(traffic, names).await.unwrap_or(false) {
        return Ok(Vec::new());
    }
    let sql = "SELECT DISTINCT pg_catalog.quote_ident(r.rolname) FROM pg_catalog.pg_namespace AS n, \
               pg_catalog.aclexplode(n.nspacl) AS a JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee \
               WHERE n.nspname = $1 AND a.grantee <> n.nspowner AND r.rolreplication AND NOT r.rolsuper ORDER BY 1";
    let rows =
        during(traffic, "looking for roles with REPLICATION on Traffic").rows(sql, &[&names.schema]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Identity of this installation, with the system identifier and the database name that Landing reports.
async fn identity(landing: &Client, names: &Names) -> Result<Identity> {
    let sql = "SELECT system_identifier::text, pg_catalog.current_database()::text FROM pg_catalog.pg_control_system()";
    let row = during(landing, "reading Landing's system identifier").row(sql, &[]).await?;
    let (slot, publication) = (names.slot.clone(), names.publication.clone());
    Ok(Identity { landing_system_id: row.get(0), landing_database: row.get(1), slot, publication })
}
