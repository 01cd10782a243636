//! leadbridge's own schema: nobody but its owner and the named role has a right there, on either side, whatever the
//! platform grants on new objects.

use leadbridge::migrate::{MigrateOptions, MigratedSide, Report, privileges};
use leadbridge::throwaway::connect;
use tokio_postgres::Client;

use super::platform::world;
use crate::testkit::{Bridge, World, holds, landing, least_privileged, one, traffic, until_holds};

/// The roles of the platform, and a role of the school's own. `authenticator` is the session user of the HTTP API.
const STRANGERS: [&str; 4] = ["anon", "authenticated", "service_role", "ordinary"];

const OTHERS: &str =
    "CREATE ROLE ordinary LOGIN PASSWORD 'x'; CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'x';
     GRANT anon, authenticated, service_role TO authenticator;";

/// Defaults of the creating role without a schema, which no default of a schema takes back.
const GLOBAL_DEFAULTS: &str = "
     ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO anon, authenticated, service_role, ordinary;
     ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO anon, authenticated, service_role, ordinary, PUBLIC;
     ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO anon, authenticated, service_role, ordinary;
     ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role, ordinary;
     ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO anon, authenticated, service_role, ordinary;";

/// Every right of the role in the schema, by PostgreSQL's own functions.
fn rights_of(role: &str) -> String {
    format!(
        "SELECT coalesce(string_agg(what, ', ' ORDER BY what), '') FROM (
             SELECT 'schema' AS what FROM pg_namespace
             WHERE nspname = 'leadbridge' AND has_schema_privilege('{role}', oid, 'USAGE, CREATE')
             UNION ALL
             SELECT c.relname FROM pg_class AS c
             WHERE c.relnamespace = 'leadbridge'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p') AND (
                 has_table_privilege('{role}', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                 OR has_any_column_privilege('{role}', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
             UNION ALL
             SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'leadbridge'::regnamespace
                 AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege('{role}', c.oid, 'USAGE, SELECT, UPDATE') END
             UNION ALL
             SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'leadbridge'::regnamespace
                 AND has_function_privilege('{role}', p.oid, 'EXECUTE')
         ) AS rights"
    )
}

/// Unmigrated databases whose creating role gives everybody everything, or nobody anything.
async fn platform(grants_by_default: bool) -> World {
    let world = world(grants_by_default).await;
    for client in [world.landing().await, world.traffic().await] {
        client.batch_execute(OTHERS).await.unwrap();
        if grants_by_default {
            client.batch_execute(GLOBAL_DEFAULTS).await.unwrap();
        }
    }
    world
}

async fn nobody_else_has_a_right(world: &World) {
    for (side, client) in [("Landing", world.landing().await), ("Traffic", world.traffic().await)] {
        for role in STRANGERS {
            assert_eq!(one::<String>(&client, &rights_of(role)).await, "", "{role} on {side}");
        }
    }
}

fn closed(report: &Report) -> Vec<&str> {
    let own = report.steps.iter().filter(|step| step.name.contains("leadbridge's own schema"));
    own.flat_map(|step| &step.changes).map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_leaves_nobody_but_owner_and_daemon_a_right_whatever_the_platform_grants() {
    for grants_by_default in [true, false] {
        let world = platform(grants_by_default).await;
        world.migrate(&MigrateOptions::default()).await;
        nobody_else_has_a_right(&world).await;
        let bridge = least_privileged(&world).await;
        world.migrate(&MigrateOptions::default()).await;
        world.fill(3, 5).await;
        bridge.catch_up().await;
        nobody_else_has_a_right(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_for_a_dba_leaves_nobody_else_a_right_either() {
    let world = platform(true).await;
    for (side, client) in
        [(MigratedSide::Landing, world.landing().await), (MigratedSide::Traffic, world.traffic().await)]
    {
        let script = leadbridge::migrate::script(side, &world.names, &MigrateOptions::default()).unwrap();
        client.batch_execute(&script).await.unwrap();
    }
    nobody_else_has_a_right(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_granted_in_the_schema_is_shown_by_a_dry_run_and_taken_by_the_next_run() {
    let world = platform(false).await;
    world.migrate(&MigrateOptions::default()).await;
    let sql = "GRANT USAGE, CREATE ON SCHEMA leadbridge TO anon WITH GRANT OPTION;
         GRANT SELECT ON leadbridge.installation TO PUBLIC;
         GRANT UPDATE (slot), REFERENCES (slot) ON leadbridge.installation TO ordinary;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA leadbridge TO authenticated;
         SET ROLE anon; GRANT USAGE ON SCHEMA leadbridge TO ordinary; RESET ROLE;
         ALTER DEFAULT PRIVILEGES IN SCHEMA leadbridge GRANT ALL ON TABLES TO anon;
         ALTER DEFAULT PRIVILEGES IN SCHEMA leadbridge GRANT EXECUTE ON FUNCTIONS TO ordinary";
    landing(&world, sql).await;
    traffic(&world, &format!("{sql}; GRANT ALL ON ALL SEQUENCES IN SCHEMA leadbridge TO ordinary")).await;
    let planned = world.migrate(&MigrateOptions { dry_run: true, ..MigrateOptions::default() }).await;
    for named in [
        "ON SCHEMA leadbridge FROM anon",
        "ON TABLE leadbridge.installation FROM PUBLIC",
        "ON TABLE leadbridge.installation FROM ordinary",
        "leadbridge.close_fence(",
        "IN SCHEMA leadbridge REVOKE ALL ON TABLES FROM anon",
        "IN SCHEMA leadbridge REVOKE ALL ON FUNCTIONS FROM ordinary",
    ] {
        let both = closed(&planned).iter().filter(|change| change.contains(named)).count();
        assert_eq!(both, 2, "{named}: {planned}");
    }
    assert!(holds(&world.traffic().await, "has_schema_privilege('anon', 'leadbridge', 'USAGE')").await);
    let done = world.migrate(&MigrateOptions::default()).await;
    assert_eq!(closed(&done), closed(&planned));
    nobody_else_has_a_right(&world).await;
    let none = "NOT EXISTS (SELECT FROM pg_default_acl WHERE defaclnamespace <> 0
                AND defaclnamespace = 'leadbridge'::regnamespace)";
    assert!(holds(&world.landing().await, none).await && holds(&world.traffic().await, none).await);
    assert!(!world.migrate(&MigrateOptions::default()).await.changes_something());
}

/// The functions of the schema that run with their owner's rights, each as a call.
async fn calls(client: &Client) -> Vec<String> {
    let sql = "SELECT format('SELECT leadbridge.%I(%s)', p.proname, (
                   SELECT string_agg('NULL::' || t::regtype, ', ') FROM unnest(p.proargtypes) AS t))
               FROM pg_proc AS p WHERE p.pronamespace = 'leadbridge'::regnamespace AND p.prosecdef
                   AND p.prorettype <> 'trigger'::regtype ORDER BY 1";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn refused(client: &Client, call: &str) {
    let error = client.batch_execute(call).await.expect_err(call);
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "42501", "{call}: {error}");
    assert!(error.message().contains("serves leadbridge alone"), "{call}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_with_its_owners_rights_refuses_every_role_that_the_owner_has_not_named() {
    let world = platform(true).await;
    world.migrate(&MigrateOptions::default()).await;
    let _bridge = least_privileged(&world).await;
    let open = "GRANT USAGE ON SCHEMA leadbridge TO PUBLIC; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA leadbridge TO PUBLIC;
                GRANT ALL ON ALL TABLES IN SCHEMA leadbridge TO PUBLIC";
    landing(&world, open).await;
    traffic(&world, open).await;
    for (cluster, database, least) in [(&world.landing, "landing", 8), (&world.traffic, "traffic", 10)] {
        let admin = cluster.connect(database).await.unwrap();
        let calls = calls(&admin).await;
        assert!(calls.len() >= least, "{calls:?}");
        let api = connect(&cluster.url_as("authenticator", "x", database)).await.unwrap();
        let ordinary = connect(&cluster.url_as("ordinary", "x", database)).await.unwrap();
        for call in &calls {
            refused(&ordinary, call).await;
            refused(&api, call).await;
            for role in ["anon", "authenticated", "service_role"] {
                // As the HTTP API takes a role, and as an administrator would.
                for client in [&api, &admin] {
                    client.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
                    refused(client, call).await;
                    client.batch_execute("RESET ROLE").await.unwrap();
                }
            }
        }
        // The named role is served, unless the role has taken another.
        let named = connect(&cluster.url_as("bridge", "bridge", database)).await.unwrap();
        assert!(!one::<bool>(&named, "SELECT leadbridge.keep_fence(gen_random_uuid())").await);
        admin.batch_execute("GRANT anon TO bridge").await.unwrap();
        named.batch_execute("SET ROLE anon").await.unwrap();
        refused(&named, "SELECT leadbridge.keep_fence(gen_random_uuid())").await;
        // A role may not name itself.
        let names_itself = "INSERT INTO leadbridge.served (role) VALUES ('ordinary')";
        admin.batch_execute("REVOKE ALL ON leadbridge.served FROM PUBLIC").await.unwrap();
        assert!(ordinary.batch_execute(names_itself).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_slips_in_later_is_an_error_with_its_sql_bars_a_copy_and_ends_no_stream() {
    let world = platform(false).await;
    world.migrate(&MigrateOptions::default()).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    traffic(&world, "GRANT SELECT ON leadbridge.quarantine TO ordinary").await;
    landing(&world, "GRANT EXECUTE ON FUNCTION leadbridge.lift_fence(uuid) TO anon").await;
    let said = bridge.run(&["doctor"]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    let statements = [
        "REVOKE ALL ON TABLE leadbridge.quarantine FROM ordinary CASCADE",
        "REVOKE ALL ON ROUTINE leadbridge.lift_fence(cutover uuid) FROM anon CASCADE",
    ];
    for statement in statements {
        assert!(said.out.contains(statement), "{statement}: {}", said.out);
    }
    world.fill(4, 3).await;
    bridge.catch_up().await;
    until_holds(&world.traffic().await, "count(*) = 3 FROM traffic_leads").await;
    let said = bridge.run(&["run", "--until-caught-up"]).await;
    assert!(said.err.contains("ordinary has SELECT on table leadbridge.quarantine"), "{}", said.err);
    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    for named in ["ordinary has SELECT on table leadbridge.quarantine", statements[0], "leadbridge migrate"] {
        assert!(said.err.contains(named), "{}", said.err);
    }
    traffic(&world, statements[0]).await;
    landing(&world, statements[1]).await;
    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_from_before_the_names_keeps_its_daemon_and_nobody_else() {
    let world = platform(true).await;
    world.migrate(&MigrateOptions::default()).await;
    let bridge = least_privileged(&world).await;
    // As the platform's defaults have left an older installation.
    let earlier = "DROP TABLE leadbridge.served, leadbridge.shape; DROP FUNCTION leadbridge.admit_caller();
         COMMENT ON SCHEMA leadbridge IS NULL;
         GRANT ALL ON ALL TABLES IN SCHEMA leadbridge TO anon, service_role, ordinary;
         GRANT ALL ON ALL FUNCTIONS IN SCHEMA leadbridge TO anon, service_role, ordinary";
    landing(&world, earlier).await;
    traffic(&world, earlier).await;
    let said = bridge.run(&["run"]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(said.err.contains("run `leadbridge migrate`"), "{}", said.err);
    world.migrate(&MigrateOptions::default()).await;
    nobody_else_has_a_right(&world).await;
    for client in [world.landing().await, world.traffic().await] {
        let served = "SELECT string_agg(role, ' ' ORDER BY role) FROM leadbridge.served";
        assert_eq!(one::<String>(&client, served).await, "bridge");
    }
    world.fill(5, 5).await;
    bridge.catch_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_has_its_grants_and_was_not_named_is_told_before_it_starts() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    traffic(&world, "DELETE FROM leadbridge.served").await;
    let said = bridge.run(&["run", "--until-caught-up"]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    for named in ["has not named the role bridge", "--print=traffic --role bridge"] {
        assert!(said.err.contains(named), "{}", said.err);
    }
    let sql = privileges(MigratedSide::Traffic, &world.names, "bridge", &MigrateOptions::default()).unwrap();
    traffic(&world, &sql).await;
    bridge.catch_up().await;
}
