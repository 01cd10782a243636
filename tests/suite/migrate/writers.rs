//! `leadbridge migrate` never makes a write of the school's applications fail: what it makes needs no right that a writer
//! lacks, and a write is tried as every role before and after each step.

use leadbridge::error::Kind;
use leadbridge::migrate::MigrateOptions;
use tokio_postgres::Client;

use super::{fails, scalar};
use crate::testkit::{World, landing, traffic};

/// A hardened database: a new function is open to nobody.
const CLOSED_FUNCTIONS: &str = "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC";

/// Afterwards no function outside of pg_catalog is open to PUBLIC.
const CLOSE_FUNCTIONS: &str = "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public, leadbridge FROM PUBLIC";

/// Writes of an application with rights on the two tables alone.
fn writes(leads: &str, journey: &str) -> String {
    format!(
        "INSERT INTO {leads} (id, name, phone, email) VALUES (gen_random_uuid(), 'n', '+7 (701) 1', 'a@b.kz');
         INSERT INTO {journey} (lead_id, stage) SELECT id, 's' FROM {leads};
         UPDATE {leads} SET phone = '8 (702) 2', email = 'c@d.kz'; UPDATE {journey} SET stage = 't';
         DELETE FROM {journey}; DELETE FROM {leads}"
    )
}

/// A session of the role in a server process of its own, with a catalog cache of its own.
async fn session_of(client: Client, role: &str) -> Client {
    client.batch_execute(&format!("SET SESSION AUTHORIZATION {role}")).await.unwrap();
    client
}

#[tokio::test]
async fn writers_with_rights_on_the_tables_alone_go_on_whatever_the_default_privileges_are() {
    for (world, journey) in
        [(World::unmigrated().await, "journey_stages"), (World::older().await, "lead_journey")]
    {
        let site = "CREATE ROLE site BYPASSRLS; CREATE ROLE caller BYPASSRLS";
        for client in [world.landing().await, world.traffic().await] {
            client.batch_execute(&format!("{site}; {CLOSED_FUNCTIONS}")).await.unwrap();
        }
        traffic(&world, "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC").await;
        traffic(&world, "GRANT SELECT, INSERT, UPDATE, DELETE ON traffic_leads TO site").await;
        world.migrate(&MigrateOptions::default()).await;
        // A role of tomorrow has no other rights either.
        for role in ["site", "tomorrow"] {
            let grant = |leads, journey| {
                format!(
                    "DO $$ BEGIN IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} BYPASSRLS; END IF; END $$;
                     GRANT SELECT, INSERT, UPDATE, DELETE ON {leads}, {journey} TO {role}; {CLOSE_FUNCTIONS}"
                )
            };
            landing(&world, &grant("landing_leads", journey)).await;
            traffic(&world, &grant("traffic_leads", "traffic_lead_journey")).await;
            let on_landing = session_of(world.landing().await, role).await;
            on_landing.batch_execute(&writes("landing_leads", journey)).await.unwrap();
            let on_traffic = session_of(world.traffic().await, role).await;
            on_traffic.batch_execute(&writes("traffic_leads", "traffic_lead_journey")).await.unwrap();
        }
        let call = "GRANT EXECUTE ON FUNCTION find_or_create_unified_lead TO caller;
                    GRANT SELECT, INSERT, UPDATE ON traffic_leads TO caller";
        traffic(&world, call).await;
        let caller = session_of(world.traffic().await, "caller").await;
        let found = "SELECT find_or_create_unified_lead('a@b.kz', 'a', '+7 701', 'x') IS NOT NULL";
        assert!(scalar::<bool>(&caller, found).await);
    }
}

#[tokio::test]
async fn a_closed_fence_tells_a_writer_without_other_rights_its_message() {
    let world = World::new().await;
    for (client, leads) in
        [(world.landing().await, "landing_leads"), (world.traffic().await, "traffic_leads")]
    {
        let close = format!(
            "CREATE ROLE site BYPASSRLS; GRANT SELECT, INSERT, UPDATE, DELETE ON {leads} TO site; {CLOSE_FUNCTIONS};
             SELECT leadbridge.close_fence(gen_random_uuid(), 'leads have moved', NULL, false)"
        );
        client.batch_execute(&close).await.unwrap();
        client.batch_execute("SET SESSION AUTHORIZATION site").await.unwrap();
        for statement in [
            format!("INSERT INTO {leads} (name, phone) VALUES ('n', '1')"),
            format!("UPDATE {leads} SET name = 'n'"),
            format!("DELETE FROM {leads}"),
        ] {
            let error = client.batch_execute(&statement).await.unwrap_err();
            let refused = error.as_db_error().unwrap();
            assert_eq!(
                (refused.code().code(), refused.message()),
                ("55000", "leads have moved"),
                "{statement}"
            );
        }
    }
}

#[tokio::test]
async fn the_index_of_an_earlier_version_is_replaced_by_one_that_needs_no_right() {
    let world = World::new().await;
    traffic(
        &world,
        "DROP INDEX traffic_leads_phone_digits_idx;
         CREATE INDEX traffic_leads_phone_unnormalized_idx ON traffic_leads (normalize_phone(phone))
             WHERE phone_normalized IS NULL;
         UPDATE leadbridge.migrations SET checksum = 'old' WHERE name = '031_functions_and_views'",
    )
    .await;
    let planned = world.migrate(&MigrateOptions { dry_run: true, ..MigrateOptions::default() }).await;
    let made = world.migrate(&MigrateOptions::default()).await;
    assert_eq!(planned.steps, made.steps);
    assert!(made.to_string().contains("drops index public.traffic_leads_phone_unnormalized_idx"), "{made}");
    let expressions = "SELECT string_agg(pg_get_expr(indexprs, indrelid), '; ') FROM pg_index
                       WHERE indrelid = 'traffic_leads'::regclass";
    let left: String = scalar(&world.traffic().await, expressions).await;
    assert_eq!(left, "regexp_replace((phone)::text, '[^0-9+]'::text, ''::text, 'g'::text)");
    assert!(!world.migrate(&MigrateOptions::default()).await.changes_something());
}

#[tokio::test]
async fn a_table_of_the_school_s_own_that_roles_use_keeps_its_row_level_security() {
    let world = World::older().await;
    traffic(
        &world,
        "CREATE ROLE site; GRANT SELECT, INSERT, UPDATE, DELETE ON traffic_lead_journey TO site;
         INSERT INTO traffic_leads (name) VALUES ('n');
         INSERT INTO traffic_lead_journey (lead_id, stage) SELECT id, 's' FROM traffic_leads",
    )
    .await;
    let report = world.migrate(&MigrateOptions::default()).await;
    let note =
        "row-level security of public.traffic_lead_journey stays off, because these roles use the table: ";
    assert!(report.to_string().contains(note), "{report}");
    let site = session_of(world.traffic().await, "site").await;
    assert_eq!(site.execute("UPDATE traffic_lead_journey SET stage = 't'", &[]).await.unwrap(), 1);
}

/// A role with every right on the leads of both sides.
const SITE: &str = "CREATE ROLE site BYPASSRLS; GRANT SELECT, INSERT, UPDATE, DELETE ON LEADS TO site";

// What the school's databases do on their own when a migration adds columns, or a table is published.

/// An index on a function that writers may not execute, made whenever a column is added.
const INDEX: &str = "CREATE FUNCTION digits(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
                 REVOKE EXECUTE ON FUNCTION digits(text) FROM PUBLIC;
                 CREATE FUNCTION at_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF to_regclass('public.own') IS NULL THEN
                         EXECUTE 'CREATE INDEX own ON public.traffic_leads (public.digits(phone))'; END IF; END $$;
                 CREATE EVENT TRIGGER at_ddl ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION at_ddl()";

/// A trigger that copies every row into a table with the columns of before.
const AUDIT: &str = "CREATE TABLE audit AS SELECT * FROM traffic_leads; GRANT INSERT ON audit TO site;
                 CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO public.audit SELECT NEW.*; RETURN NEW; END $$;
                 CREATE TRIGGER audit AFTER INSERT ON traffic_leads FOR EACH ROW EXECUTE FUNCTION audit()";

/// A right that is taken away whenever a table is published.
const REVOKE: &str = "CREATE FUNCTION at_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
                      $$ BEGIN REVOKE DELETE ON public.landing_leads FROM site; END $$;
                  CREATE EVENT TRIGGER at_ddl ON ddl_command_end WHEN TAG IN ('ALTER PUBLICATION')
                      EXECUTE FUNCTION at_ddl()";

/// Row-level security that is switched on whenever an index is made.
const POLICY: &str = "GRANT INSERT ON traffic_leads TO visitor; ALTER TABLE traffic_leads DISABLE ROW LEVEL SECURITY;
                  CREATE FUNCTION at_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                      IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = 'public.traffic_leads'::regclass) THEN
                          ALTER TABLE public.traffic_leads ENABLE ROW LEVEL SECURITY; END IF; END $$;
                  CREATE EVENT TRIGGER at_ddl ON ddl_command_end WHEN TAG IN ('CREATE INDEX')
                      EXECUTE FUNCTION at_ddl()";

#[tokio::test]
async fn a_step_after_which_a_role_could_not_write_is_refused_by_name_and_undone() {
    for (on_landing, damage, words) in [
        (
            false,
            INDEX,
            [
                "016_unified_leads",
                "INSERT into traffic_leads as role site",
                "permission denied for function digits",
            ],
        ),
        (
            false,
            INDEX,
            [
                "016_unified_leads",
                "UPDATE of traffic_leads as role site",
                "permission denied for function digits",
            ],
        ),
        (
            false,
            AUDIT,
            ["016_unified_leads", "INSERT into traffic_leads as role site", "in the function audit()"],
        ),
        (
            false,
            POLICY,
            ["016_unified_leads", "INSERT into traffic_leads as role visitor", "row-level security"],
        ),
        (
            true,
            REVOKE,
            ["publication leadbridge", "DELETE from landing_leads as role site", "permission denied"],
        ),
    ] {
        let world = World::unmigrated().await;
        let table = if on_landing { "landing_leads" } else { "traffic_leads" };
        let sql = format!("CREATE ROLE visitor; {}; {damage}", SITE.replace("LEADS", table));
        if on_landing {
            landing(&world, &sql).await
        } else {
            traffic(&world, &sql).await
        }
        let error = fails(&world, &MigrateOptions::default()).await;
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        for word in words {
            assert!(error.message().contains(word), "{word}: {error}");
        }
        assert!(error.remedy_text().unwrap().contains("the step has changed nothing"), "{error}");
        let (client, made) = match on_landing {
            true => (world.landing().await, "EXISTS (SELECT FROM pg_publication)"),
            false => (world.traffic().await, "to_regclass('traffic_lead_journey') IS NOT NULL"),
        };
        assert!(!scalar::<bool>(&client, &format!("SELECT {made}")).await, "{words:?}");
    }
}

#[tokio::test]
async fn a_write_that_fails_before_is_not_held_against_a_migration() {
    let world = World::unmigrated().await;
    traffic(
        &world,
        "CREATE ROLE site; GRANT INSERT ON traffic_leads TO site;
         CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
         CREATE TRIGGER broken BEFORE INSERT ON traffic_leads FOR EACH ROW EXECUTE FUNCTION broken()",
    )
    .await;
    let report = world.migrate(&MigrateOptions::default()).await.to_string();
    assert!(
        report.contains("Traffic: writes tried before and after each step, and rolled back, as "),
        "{report}"
    );
    assert!(report.contains("service_role, site"), "{report}");
}

#[tokio::test]
async fn a_trial_leaves_nothing_behind_and_reaches_nothing_outside_of_the_database() {
    let world = World::unmigrated().await;
    let log = |leads: &str| {
        format!(
            "CREATE TABLE log (line text); CREATE FUNCTION log_lead() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO public.log VALUES (TG_OP); NOTIFY seen; RETURN NULL; END $$;
             CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON {leads}
                 FOR EACH ROW EXECUTE FUNCTION log_lead()"
        )
    };
    landing(&world, &log("landing_leads")).await;
    traffic(&world, &log("traffic_leads")).await;
    // The extension stands for one whose functions reach outside of the database. That a trigger has fired shows in a
    // sequence, which no rollback reaches.
    let outside = "CREATE SEQUENCE outside; CREATE EXTENSION pageinspect;
         CREATE FUNCTION call_out() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
             PERFORM nextval('public.outside'); RETURN NULL; END $$;
         CREATE TRIGGER call_out AFTER INSERT ON traffic_leads FOR EACH ROW EXECUTE FUNCTION call_out()";
    traffic(&world, outside).await;
    let report = world.migrate(&MigrateOptions::default()).await;
    assert!(report.writers.iter().all(|(_, writers)| !writers.tried.is_empty()), "{report}");
    let empty = "SELECT (SELECT count(*) FROM log) + (SELECT count(*) FROM LEADS)";
    for (client, leads) in
        [(world.landing().await, "landing_leads"), (world.traffic().await, "traffic_leads")]
    {
        assert_eq!(scalar::<i64>(&client, &empty.replace("LEADS", leads)).await, 0);
    }
    let client = world.traffic().await;
    assert!(!scalar::<bool>(&client, "SELECT is_called FROM outside").await);
    // The trigger does fire when an application writes.
    client.batch_execute("INSERT INTO traffic_leads (name) VALUES ('n')").await.unwrap();
    assert!(scalar::<bool>(&client, "SELECT is_called FROM outside").await);
}
