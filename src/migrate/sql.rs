//! The SQL files, with names in the place of the placeholders.

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::{MigrateOptions, MigratedSide};
use crate::access::foreign_rights_sql;
use crate::checkpoint::own_schema::{HASH, shape};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::names::{self, Names};
use crate::model::sha256;

/// A migration of Traffic, with the SQL file as a template.
pub(super) struct Migration {
    pub name: &'static str,
    template: &'static str,
    /// Applied only when the operator has switched notifications on.
    pub optional: bool,
}

macro_rules! migration {
    ($name:literal, optional: $optional:literal) => {
        migration!($name, include_str!(concat!("../../sql/traffic/", $name, ".sql")), optional: $optional)
    };
    ($name:literal, $template:expr, optional: $optional:literal) => {
        Migration { name: $name, template: $template, optional: $optional }
    };
}

/// SQL for both databases.
const FENCE: &str = include_str!("../../sql/fence.sql");
const INSTALLATION: &str = include_str!("../../sql/installation.sql");
const SERVED: &str = include_str!("../../sql/own/served.sql");
const CLOSING: &str = include_str!("../../sql/own/closing.sql");
const SETTLE: &str = include_str!("../../sql/own/settle.sql");

// 035 comes before the migrations whose functions serve only named roles, and before the schema's rights are looked at.
// 024 comes before the migrations that change existing objects, because 024 refuses another installation's
// schema. 030 comes before 016, because 030 recognises an earlier version's objects by a recorded 016.
// 019 comes before 018, because 018 looks at the tables that exist.
// 032 records which objects exist before any is created. 031 comes after the migrations that add columns, because
// its views show the columns, and 033 after every object.
const MIGRATIONS: [Migration; 21] = [
    migration!("000_migrations", optional: false),
    migration!("035_served", SERVED, optional: false),
    migration!("024_installation", INSTALLATION, optional: false),
    migration!("032_api_objects", optional: false),
    migration!("030_replaced", optional: false),
    migration!("016_unified_leads", optional: false),
    migration!("017_leadbridge_schema", optional: false),
    migration!("019_scheduled_notifications", optional: true),
    migration!("018_keep_updated_at", optional: false),
    migration!("020_cutover", optional: false),
    migration!("021_fence", FENCE, optional: false),
    migration!("022_finish", optional: false),
    migration!("023_deferred_indexes", optional: false),
    migration!("028_last_error", optional: false),
    migration!("029_derived_leads", optional: false),
    migration!("034_passthrough", optional: false),
    migration!("036_legacy_names", optional: false),
    migration!("037_import", optional: false),
    migration!("038_verification", optional: false),
    migration!("031_functions_and_views", optional: false),
    migration!("033_api_grants", optional: false),
];

/// Migrations that run whenever another migration runs, because any migration may create an object in
/// Traffic's schema: 032 records before, and 033 grants after.
pub(super) const WITH_OTHERS: [&str; 2] = ["032_api_objects", "033_api_grants"];

/// The migration that makes nothing in leadbridge's own schema, though nothing of it can be planned.
const OUTSIDE: &str = "033_api_grants";

/// The functions of the session that migrations of Traffic call.
const PLANNING: &str = include_str!("../../sql/traffic/planning.sql");
const REPLACING: &str = include_str!("../../sql/traffic/replacing.sql");
const LEGACY: &str = include_str!("../../sql/traffic/legacy.sql");

/// The line of a migration from which on each change is listed, so that a plan can run the rest of the file.
pub(super) const PLAN_BEGINS: &str = "-- The plan begins here.\n";

const PUBLICATION: &str = include_str!("../../sql/landing/publication.sql");
const CHANGED_KEYS: &str = include_str!("../../sql/landing/changed_keys.sql");
const REFERRING: &str = include_str!("../../sql/referring.sql");
const ROLE: &str = include_str!("../../sql/role.sql");
const LANDING_PRIVILEGES: &str = include_str!("../../sql/landing/privileges.sql");
const TRAFFIC_PRIVILEGES: &str = include_str!("../../sql/traffic/privileges.sql");

impl Migration {
    /// The migrations that `options` ask for, in the order of application.
    pub fn wanted(options: &MigrateOptions) -> impl Iterator<Item = &'static Migration> {
        let notifications = options.notifications;
        MIGRATIONS.iter().filter(move |migration| notifications || !migration.optional)
    }

    pub fn sql(&self, names: &Names) -> String {
        fenced(render(self.template, names), &|table| names.traffic_table(table))
    }
}

/// The functions that migrations of Traffic call, for the session that runs the migrations.
pub(super) fn session(names: &Names) -> String {
    [PLANNING, REPLACING, LEGACY].map(|file| render(file, names)).concat()
}

/// The functions that take away the rights of others in leadbridge's own schema, on either database.
pub(super) fn closing(names: &Names) -> String {
    render(&CLOSING.replace("{{rights}}", &foreign_rights_sql(names, "served")), names)
}

/// The functions that judge leadbridge's own schema on `database`, and those of [`session`] on Traffic, which the
/// trial calls.
pub(super) fn judging(database: MigratedSide, names: &Names) -> String {
    let settle = SETTLE.replace("{{shape}}", &shape("leadbridge_shape.own")).replace("{{hash}}", HASH);
    let settle = render(&settle, names).replace("{{trial}}", &trial(database, names));
    let called = match database {
        MigratedSide::Landing => String::new(),
        MigratedSide::Traffic => session(names),
    };
    called + &closing(names) + &settle
}

/// The SQL of everything that leadbridge makes in its own schema on `database`, with pg_temp in the schema's place.
fn trial(database: MigratedSide, names: &Names) -> String {
    let names = Names { schema: "pg_temp".to_owned(), ..names.clone() };
    match database {
        MigratedSide::Landing => landing_fence(&names),
        MigratedSide::Traffic => {
            let own = MIGRATIONS.iter().filter(|migration| migration.name != OUTSIDE);
            let sql = own.map(|migration| migration.sql(&names));
            sql.map(|sql| sql.split_once(PLAN_BEGINS).map_or(sql.clone(), |(own, _)| own.to_owned()))
                .collect()
        }
    }
}

/// Takes away the rights of others on what the transaction has made.
pub(super) const CLOSE: &str = "DO $close$ BEGIN PERFORM pg_temp.leadbridge_close(); END $close$;\n";

/// The end of every run, on either database.
pub(super) const SETTLED: &str = "DO $settle$ BEGIN PERFORM pg_temp.leadbridge_settle(); END $settle$;\n";

/// The part of a migration that can be planned; `None` for a migration of leadbridge's own schema.
pub(super) fn plannable(sql: &str) -> Option<&str> {
    sql.split_once(PLAN_BEGINS).map(|(_, plannable)| plannable)
}

/// The fence on Landing, the tables for changed keys, and the record of the installation that owns the schema.
/// Landing has no table of migrations: a comment on the table `fence` holds the checksum.
pub(super) fn landing_fence(names: &Names) -> String {
    let files = [SERVED, FENCE, CHANGED_KEYS, INSTALLATION];
    let sql: String = files.iter().map(|file| render(file, names)).collect();
    fenced(sql, &|table| names.landing_table(table))
}

/// The statement that records the checksum of the installed fence.
pub(super) fn comment_on_fence(names: &Names, fence: &str) -> String {
    format!("COMMENT ON TABLE {} IS {};\n", names.own("fence"), escape_literal(&installed_fence(fence)))
}

/// Text of the comment on the table `fence`.
pub(super) fn installed_fence(fence: &str) -> String {
    format!("leadbridge fence {}", checksum(fence))
}

/// Puts in the names of the replicated tables, which a fence closes, as the side has the tables.
fn fenced(sql: String, name: &dyn Fn(Table) -> String) -> String {
    let literal = |table| escape_literal(&name(table));
    sql.replace("{{fenced_leads}}", &literal(Table::LandingLeads))
        .replace("{{fenced_journeys}}", &literal(Table::LeadJourney))
        .replace("{{fenced_notifications}}", &literal(Table::ScheduledNotifications))
}

/// Identifies an applied migration: SHA-256 of the SQL with its names, in hexadecimal.
pub(super) fn checksum(sql: &str) -> String {
    sha256::of(sql)
}

/// The statement that records an applied migration.
pub(super) fn record(name: &str, sql: &str, names: &Names) -> String {
    format!(
        "INSERT INTO {migrations} (name, checksum, leadbridge_version) VALUES ({name}, {checksum}, {version})\n\
         ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = excluded.applied_at,\n    \
         applied_by = excluded.applied_by, leadbridge_version = excluded.leadbridge_version;\n",
        migrations = names.own("migrations"),
        name = escape_literal(name),
        checksum = escape_literal(&checksum(sql)),
        version = escape_literal(env!("CARGO_PKG_VERSION")),
    )
}

pub(super) fn publication(names: &Names, tables: &[Table]) -> String {
    let published: Vec<_> = tables.iter().map(|table| escape_literal(&names.landing_table(*table))).collect();
    render(PUBLICATION, names).replace("{{published}}", &published.join(", "))
}

/// Everything that [`super::migrate`] does on a fresh database, as a script for a DBA to run with `psql`.
///
/// # Errors
/// Usage, for a name that cannot stand in the SQL files.
pub fn script(database: MigratedSide, names: &Names, options: &MigrateOptions) -> Result<String> {
    check_names(names)?;
    let mut script = format!(
        "-- leadbridge {}, for the {database} database. Run with: psql -v ON_ERROR_STOP=1 -f FILE\n\
         SET lock_timeout = '2s';\n\n",
        env!("CARGO_PKG_VERSION")
    );
    match database {
        MigratedSide::Landing => {
            let fence = landing_fence(names);
            script.push_str(&publication(names, &options.tables()));
            script.push_str(&judging(database, names));
            let comment = comment_on_fence(names, &fence);
            script.push_str(&format!("\nBEGIN;\n{fence}{comment}{SETTLED}COMMIT;\n"));
        }
        MigratedSide::Traffic => {
            script.push_str(
                "-- The columns of Landing that no rule of the mapping reads are not part of this script, which is made\n\
                 -- without a connection: `leadbridge migrate` makes them. For the same reason the legacy names are not part of\n\
                 -- it: `leadbridge migrate --legacy` makes the views under Landing's names, from Landing's own catalog.\n\n",
            );
            script.push_str(&judging(database, names));
            for migration in Migration::wanted(options) {
                let sql = migration.sql(names);
                let record = record(migration.name, &sql, names);
                script.push_str(&format!("BEGIN;\n-- {}\n{sql}{record}{CLOSE}COMMIT;\n\n", migration.name));
            }
            script.push_str(&format!("BEGIN;\n{SETTLED}COMMIT;\n\n"));
            script.push_str("NOTIFY pgrst, 'reload schema';\n");
        }
    }
    Ok(script)
}

/// The least-privilege role for the daemon on `database`, as SQL for a DBA to run. The SQL holds no password, takes
/// nothing from a role that exists, and refuses a role that lacks an attribute and is not leadbridge's.
///
/// # Errors
/// Usage, for a name that cannot stand in the SQL files.
pub fn privileges(
    database: MigratedSide,
    names: &Names,
    role: &str,
    options: &MigrateOptions,
) -> Result<String> {
    check_names(names)?;
    check_name("role", role)?;
    let tables = options.tables();
    let list =
        |name: &dyn Fn(Table) -> String| tables.iter().map(|t| name(*t)).collect::<Vec<_>>().join(", ");
    let on_landing = |table| names.landing_table(table);
    let on_traffic = |table| names.traffic_table(table);
    // Reverse replication alone needs REPLICATION on Traffic, so REPLICATION is the cutover's.
    let (template, attributes, name): (&str, &str, &dyn Fn(Table) -> String) = match database {
        MigratedSide::Landing => (LANDING_PRIVILEGES, "'LOGIN', 'REPLICATION', 'BYPASSRLS'", &on_landing),
        MigratedSide::Traffic => (TRAFFIC_PRIVILEGES, "'LOGIN', 'BYPASSRLS'", &on_traffic),
    };
    let sql = template.replace("{{make_role}}", ROLE).replace("{{referring}}", REFERRING);
    Ok(render(&fenced(sql, name), names)
        .replace("{{attributes}}", attributes)
        .replace("{{role_mark}}", &escape_literal(&names.role_mark()))
        .replace("{{role}}", &escape_identifier(role))
        .replace("{{role_name}}", &escape_literal(role))
        .replace("{{published}}", &list(&|table| names.landing_table(table)))
        .replace("{{written}}", &list(&|table| names.traffic_table(table))))
}

fn render(template: &str, names: &Names) -> String {
    template
        .replace("{{schema}}", &escape_identifier(&names.schema))
        .replace("{{schema_name}}", &escape_literal(&names.schema))
        .replace("{{slot_name}}", &escape_literal(&names.slot))
        .replace("{{publication_name}}", &escape_literal(&names.publication))
        .replace("{{traffic_name}}", &escape_literal(&names.traffic_schema))
        .replace("{{traffic}}", &escape_identifier(&names.traffic_schema))
        .replace("{{landing}}", &escape_identifier(&names.landing_schema))
        .replace("{{publication}}", &escape_identifier(&names.publication))
        .replace("{{reverse_publication}}", &escape_identifier(&names.reverse_publication()))
        .replace("{{reverse_publication_name}}", &escape_literal(&names.reverse_publication()))
}

/// Checks the names before the names are put into SQL. The configuration has passed the same check; a role's
/// name comes from the command line, and [`privileges`] checks the name separately.
pub(super) fn check_names(names: &Names) -> Result<()> {
    let Names { slot: _, publication, schema, landing_schema, traffic_schema, landing_journey } = names;
    check_name("publication", publication)?;
    check_name("publication on Traffic", &names.reverse_publication())?;
    check_name("schema", schema)?;
    check_name("Landing schema", landing_schema)?;
    check_name("Traffic schema", traffic_schema)?;
    check_name("Landing journey", landing_journey)
}

fn check_name(what: &str, name: &str) -> Result<()> {
    names::check_name(name).map_err(|why| {
        Error::usage(format!("`{name}` cannot be the name of the {what}: it {why}"))
            .remedy(message!("migrate-remedy-name"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_is_left_in_what_a_dba_is_given() {
        let options = MigrateOptions { notifications: true, ..MigrateOptions::default() };
        let names = Names::default();
        for database in [MigratedSide::Landing, MigratedSide::Traffic] {
            let text = script(database, &names, &options).unwrap()
                + &privileges(database, &names, "leadbridge", &options).unwrap();
            assert!(!text.contains("{{"), "{database}");
        }
    }

    #[test]
    fn a_name_that_would_break_out_of_its_quotes_is_refused() {
        for name in ["", "a'b", "a\"b", "a$b", "a%I", "a\nb"] {
            assert!(
                script(MigratedSide::Landing, &named(name), &MigrateOptions::default()).is_err(),
                "{name}"
            );
        }
        assert!(script(MigratedSide::Traffic, &named("Школа-2"), &MigrateOptions::default()).is_ok());
    }

    fn named(schema: &str) -> Names {
        Names { schema: schema.into(), ..Names::default() }
    }
}
