//! `leadbridge migrate`, and the effect of its SQL on the live Traffic DB.

mod beside;
mod dashboards;
mod functions_and_views;
mod indexes;
mod roles;
mod unified_lead;
mod writers;

use std::time::Duration;

use leadbridge::error::{Error, Kind};
use leadbridge::exit::Exit;
use leadbridge::migrate::{
    Effect, MigrateOptions, MigratedSide, Patience, Report, migrate, privileges, script,
};
use tokio_postgres::Client;

use crate::testkit::World;

const LEAD: &str = "11111111-1111-4111-8111-111111111111";

async fn scalar<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str) -> T {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn fails(world: &World, options: &MigrateOptions) -> Error {
    let (mut landing, mut traffic) = (world.landing().await, world.traffic().await);
    migrate(&mut landing, &mut traffic, &world.names, options).await.unwrap_err()
}

fn effects(report: &Report, effect: Effect) -> usize {
    report.steps.iter().filter(|step| step.effect == effect).count()
}

#[tokio::test]
async fn migrating_twice_does_nothing_the_second_time_and_a_dry_run_never_does() {
    let world = World::unmigrated().await;
    let dry = MigrateOptions { dry_run: true, ..MigrateOptions::default() };
    let planned = world.migrate(&dry).await;
    assert_eq!(effects(&planned, Effect::Create), 23);
    assert_eq!(world.migrate(&dry).await, planned);

    assert!(world.migrate(&MigrateOptions::default()).await.changes_something());
    assert!(!world.migrate(&MigrateOptions::default()).await.changes_something());
    let traffic = world.traffic().await;
    assert_eq!(scalar::<i64>(&traffic, "SELECT count(*) FROM leadbridge.migrations").await, 20);
}

#[tokio::test]
async fn the_readme_shows_what_a_first_run_prints() {
    let printed = World::unmigrated().await.migrate(&MigrateOptions::default()).await.to_string();
    let readme = include_str!("../../../README.md");
    let block = readme.split("   ```").find(|block| block.contains("Traffic: 000_migrations")).unwrap();
    // An ellipsis stands for changes of the step above it.
    let shown = block.lines().skip(1).filter_map(|line| line.strip_prefix("   ")).collect::<Vec<_>>();
    let mut left = printed.lines();
    for line in shown.iter().filter(|line| line.trim() != "…") {
        assert!(
            left.any(|printed| printed == *line),
            "{line} is not printed, or not in this place: {printed}"
        );
    }
    let steps = |lines: &[&str]| lines.iter().filter(|line| !line.starts_with(' ')).count();
    assert_eq!(steps(&shown), steps(&printed.lines().collect::<Vec<_>>()), "{printed}");
}

#[tokio::test]
async fn a_migration_that_has_changed_is_applied_again_and_disturbs_nothing() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    let insert = format!("INSERT INTO traffic_leads (id, name, status) VALUES ('{LEAD}', 'n', 'qualified')");
    traffic.batch_execute(&insert).await.unwrap();
    let rows = "SELECT md5(string_agg(l::text, '')) FROM traffic_leads AS l";
    let before: String = scalar(&traffic, rows).await;
    traffic.batch_execute("UPDATE leadbridge.migrations SET checksum = 'old'").await.unwrap();
    assert_eq!(effects(&world.migrate(&MigrateOptions::default()).await, Effect::Renew), 20);
    assert_eq!(scalar::<String>(&traffic, rows).await, before);
    assert!(!world.migrate(&MigrateOptions::default()).await.changes_something());
}

#[tokio::test]
async fn the_printed_script_does_what_migrate_does() {
    let world = World::unmigrated().await;
    let options = MigrateOptions { notifications: true, ..MigrateOptions::default() };
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    for _ in 0..2 {
        landing.batch_execute(&script(MigratedSide::Landing, &world.names, &options).unwrap()).await.unwrap();
        traffic.batch_execute(&script(MigratedSide::Traffic, &world.names, &options).unwrap()).await.unwrap();
    }
    // The script is made without Landing's catalog.
    let report = world.migrate(&options).await;
    let left = report.steps.iter().find(|step| step.effect == Effect::Create);
    assert_eq!(
        (effects(&report, Effect::Create), &*left.unwrap().name),
        (1, "passthrough columns"),
        "{report}"
    );
    assert!(!world.migrate(&options).await.changes_something());
}

#[tokio::test]
async fn notifications_are_copied_only_when_switched_on() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    let there = "SELECT to_regclass('traffic_scheduled_notifications') IS NOT NULL";
    assert!(!scalar::<bool>(&traffic, there).await);
    let on = MigrateOptions { notifications: true, ..MigrateOptions::default() };
    let report = world.migrate(&on).await;
    assert_eq!((effects(&report, Effect::Create), effects(&report, Effect::Renew)), (2, 4), "{report}");
    assert!(scalar::<bool>(&traffic, there).await);
    assert!(!world.migrate(&on).await.changes_something());
}

#[tokio::test]
async fn a_publication_with_anything_else_in_it_is_refused_and_nothing_is_changed() {
    let world = World::unmigrated().await;
    let landing = world.landing().await;
    for wrong in [
        "FOR ALL TABLES",
        "FOR TABLES IN SCHEMA public",
        "FOR TABLE landing_leads, users",
        "FOR TABLE landing_leads (id, name)",
        "FOR TABLE landing_leads WHERE (source = 'twland')",
        "FOR TABLE landing_leads, scheduled_notifications",
    ] {
        landing.batch_execute(&format!("CREATE PUBLICATION leadbridge {wrong}")).await.unwrap();
        let error = fails(&world, &MigrateOptions::default()).await;
        assert_eq!(error.kind(), Kind::Refused, "{wrong}");
        assert!(error.remedy_text().is_some(), "{wrong}");
        landing.batch_execute("DROP PUBLICATION leadbridge").await.unwrap();
    }
    let traffic = world.traffic().await;
    assert!(!scalar::<bool>(&traffic, "SELECT to_regnamespace('leadbridge') IS NOT NULL").await);
}

#[tokio::test]
async fn a_publication_that_lacks_something_is_completed() {
    let world = World::unmigrated().await;
    let landing = world.landing().await;
    let lacking = "CREATE PUBLICATION leadbridge FOR TABLE journey_stages WITH (publish = 'insert')";
    landing.batch_execute(lacking).await.unwrap();
    let report = world.migrate(&MigrateOptions::default()).await;
    let publication = report.steps.iter().find(|step| step.name.starts_with("publication")).unwrap();
    assert_eq!(publication.effect, Effect::Renew);
    let tables = "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_publication_tables";
    assert_eq!(scalar::<String>(&landing, tables).await, "journey_stages,landing_leads");
    assert!(scalar::<bool>(&landing, "SELECT pubtruncate AND pubdelete FROM pg_publication").await);
}

#[tokio::test]
async fn a_table_without_a_replica_identity_is_refused_and_not_published() {
    let world = World::unmigrated().await;
    let drop = "ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_pkey";
    world.landing().await.batch_execute(drop).await.unwrap();
    let error = fails(&world, &MigrateOptions::default()).await;
    assert!(error.to_string().contains("journey_stages: id is not unique"), "{error}");
    let unpublished = "SELECT count(*) = 0 FROM pg_publication";
    assert!(scalar::<bool>(&world.landing().await, unpublished).await, "{error}");
}

#[tokio::test]
async fn migrating_gives_up_politely_while_a_long_transaction_holds_the_table_and_works_afterwards() {
    let world = World::unmigrated().await;
    let holder = world.traffic().await;
    holder.batch_execute("BEGIN; SELECT FROM traffic_leads").await.unwrap();
    let pid: i32 = scalar(&holder, "SELECT pg_backend_pid()").await;
    let patience =
        Patience { lock_timeout: Duration::from_millis(50), retries: 1, pause: Duration::from_millis(10) };
    let hasty = MigrateOptions { patience, ..MigrateOptions::default() };
    let error = fails(&world, &hasty).await;
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    assert!(error.remedy_text().unwrap().contains(&format!("pid {pid} (idle in transaction")), "{error}");
    // No session queues behind the migration: the table is open to others.
    world.traffic().await.batch_execute("INSERT INTO traffic_leads (name) VALUES ('n')").await.unwrap();

    holder.batch_execute("COMMIT").await.unwrap();
    assert!(world.migrate(&hasty).await.changes_something());
}

#[tokio::test]
async fn two_migrations_at_once_are_as_good_as_one() {
    let world = World::unmigrated().await;
    let options = MigrateOptions::default();
    let (first, second) = tokio::join!(world.migrate(&options), world.migrate(&options));
    // The later run may have found nothing to do.
    assert!(first.changes_something() || second.changes_something());
    assert!(!world.migrate(&options).await.changes_something());
}

#[tokio::test]
async fn updated_at_is_kept_for_leadbridge_and_stamped_for_everybody_else() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    traffic.batch_execute(&format!("INSERT INTO traffic_leads (id) VALUES ('{LEAD}')")).await.unwrap();
    let update = "UPDATE traffic_leads SET name = 'n', updated_at = '2024-05-06 07:08:09.123456+00'";
    let kept = "SELECT updated_at = '2024-05-06 07:08:09.123456+00' FROM traffic_leads";

    traffic.batch_execute(update).await.unwrap();
    assert!(!scalar::<bool>(&traffic, kept).await);
    let applying = format!(
        "BEGIN; SET LOCAL datestyle = 'SQL, DMY'; SET LOCAL timezone = 'Asia/Almaty';
         SET LOCAL leadbridge.applying = 'on'; {update}; COMMIT"
    );
    traffic.batch_execute(&applying).await.unwrap();
    assert!(scalar::<bool>(&traffic, kept).await);
    traffic.batch_execute("UPDATE traffic_leads SET name = 'o'").await.unwrap();
    assert!(!scalar::<bool>(&traffic, kept).await);
}

#[tokio::test]
async fn a_trigger_outside_of_the_pair_that_keeps_updated_at_is_refused() {
    let world = World::unmigrated().await;
    let outside = "CREATE TRIGGER \"я\" BEFORE UPDATE ON traffic_leads FOR EACH ROW
                   EXECUTE FUNCTION update_updated_at_column()";
    world.traffic().await.batch_execute(outside).await.unwrap();
    let error = fails(&world, &MigrateOptions::default()).await;
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert!(error.message().contains("sorts outside of leadbridge's pair"), "{error}");
    assert!(error.remedy_text().unwrap().contains("rename the trigger"), "{error}");
    let nothing = "SELECT to_regnamespace('leadbridge') IS NULL";
    assert!(scalar::<bool>(&world.traffic().await, nothing).await);
}

#[tokio::test]
async fn a_trigger_that_has_the_name_of_ours_and_calls_another_function_is_refused() {
    for name in ["!leadbridge_remember_updated_at", "~leadbridge_keep_updated_at", "~leadbridge_derive"] {
        let world = World::unmigrated().await;
        let taken = format!(
            "CREATE TRIGGER \"{name}\" BEFORE UPDATE ON traffic_leads FOR EACH ROW
             EXECUTE FUNCTION update_updated_at_column()"
        );
        world.traffic().await.batch_execute(&taken).await.unwrap();
        let error = fails(&world, &MigrateOptions::default()).await;
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.message().contains(name) && error.message().contains("not leadbridge's"), "{error}");
        let nothing = "SELECT to_regnamespace('leadbridge') IS NULL";
        assert!(scalar::<bool>(&world.traffic().await, nothing).await);
    }
}

#[tokio::test]
async fn what_a_database_refuses_is_named_with_its_statement_and_needs_an_operator() {
    let world = World::unmigrated().await;
    let no_indexes = "CREATE FUNCTION no_indexes() RETURNS event_trigger LANGUAGE plpgsql AS
                      'BEGIN RAISE ''not for %'', session_user USING ERRCODE = ''XX001''; END';
                      CREATE EVENT TRIGGER no_indexes ON ddl_command_start WHEN TAG IN ('CREATE INDEX')
                      EXECUTE FUNCTION no_indexes()";
    world.traffic().await.batch_execute(no_indexes).await.unwrap();
    let error = fails(&world, &MigrateOptions::default()).await;
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert_eq!(Exit::from(&error), Exit::Refused);
    assert!(error.message().contains("migration 016_unified_leads on Traffic"), "{error}");
    assert!(error.remedy_text().unwrap().contains("run `leadbridge migrate` again"), "{error}");
    // The text of a RAISE of the school's own may hold anything.
    assert!(!error.to_string().contains("not for"), "{error}");

    let occupied = "DROP EVENT TRIGGER no_indexes; CREATE TYPE traffic_lead_journey AS ENUM ('a')";
    world.traffic().await.batch_execute(occupied).await.unwrap();
    let error = fails(&world, &MigrateOptions::default()).await;
    assert_eq!(Exit::from(&error), Exit::Refused, "{error}");
    assert!(error.message().contains("CREATE TABLE \"public\".traffic_lead_journey"), "{error}");
}

#[tokio::test]
async fn the_least_privileged_roles_can_do_their_work_and_no_more() {
    let world = World::new().await;
    let options = MigrateOptions::default();
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    for (client, database) in [(&landing, MigratedSide::Landing), (&traffic, MigratedSide::Traffic)] {
        let sql = privileges(database, &world.names, "lead-bridge", &options).unwrap();
        client.batch_execute(&sql).await.unwrap();
        client.batch_execute(&sql).await.unwrap();
        client.batch_execute("SET SESSION AUTHORIZATION \"lead-bridge\"").await.unwrap();
    }
    landing.batch_execute("SET row_security = off; SELECT FROM landing_leads, journey_stages").await.unwrap();
    traffic
        .batch_execute(&format!(
            "BEGIN; SET LOCAL session_replication_role = replica;
             INSERT INTO traffic_leads (id) VALUES ('{LEAD}');
             INSERT INTO traffic_lead_journey (lead_id, stage) VALUES ('{LEAD}', 's');
             UPDATE traffic_sales SET lead_id = '{LEAD}' WHERE lead_id = '{LEAD}';
             DELETE FROM leadbridge.quarantine; COMMIT;
             SELECT FROM traffic_user_utm_sources, traffic_users, leadbridge.migrations"
        ))
        .await
        .unwrap();
    for (client, forbidden) in [
        (&landing, "SELECT FROM users"),
        (&landing, "DELETE FROM landing_leads"),
        (&traffic, "SELECT amount FROM traffic_sales"),
        (&traffic, "TRUNCATE traffic_leads CASCADE"),
        (&traffic, "DELETE FROM leadbridge.migrations"),
    ] {
        let error = client.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{forbidden}");
    }
}

#[tokio::test]
async fn nobody_but_its_owner_reads_what_is_quarantined() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    traffic.batch_execute("SET ROLE anon").await.unwrap();
    let error = traffic.batch_execute("SELECT FROM leadbridge.quarantine").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
}
