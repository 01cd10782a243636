//! `leadbridge doctor` finds and names the obstacles to replication.

use leadbridge::config::{Config, Flags};
use leadbridge::doctor;
use leadbridge::migrate::{MigrateOptions, MigratedSide, privileges};
use leadbridge::report::{Finding, Findings, Level};

use crate::testkit::{World, least_privileged};

fn config(landing: &str, traffic: &str) -> Config {
    let env = |name: &str| match name {
        "LANDING_DATABASE_URL" => Some(landing.to_owned()),
        "TRAFFIC_DATABASE_URL" => Some(traffic.to_owned()),
        "LEADBRIDGE_HTTP_LISTEN" => Some("off".into()),
        "LEADBRIDGE_STATE_DIR" => Some("/nowhere/yet".into()),
        _ => None,
    };
    Config::load(&Flags::default(), &env).unwrap()
}

async fn examine(world: &World) -> Findings {
    doctor::examine(&config(&world.landing_url(), &world.traffic_url())).await
}

/// The checks that found an error or a warning, each with a remedy. Nearly all worlds here lack the legacy names, which
/// `legacy::refused` examines.
fn complaints(findings: &Findings) -> Vec<(&'static str, Level)> {
    let counts = |finding: &&Finding| {
        finding.level != Level::Ok && (finding.check, finding.level) != ("legacy_names", Level::Warning)
    };
    let bad = findings.findings.iter().filter(counts);
    bad.inspect(|finding| assert!(finding.remedy.is_some(), "{finding:?}"))
        .map(|finding| (finding.check, finding.level))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_good_databases_get_no_complaint_and_are_left_as_they_were() {
    let world = World::new().await;
    world.migrate(&MigrateOptions { legacy: true, ..MigrateOptions::default() }).await;
    let findings = examine(&world).await;
    assert_eq!(complaints(&findings), []);
    assert!(findings.findings.iter().all(|finding| finding.level == Level::Ok), "{findings:?}");
    assert!(findings.findings.len() > 25, "{findings:?}");
    let slots = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(world.landing().await.query_one(slots, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_migration_the_missing_pieces_are_named() {
    let world = World::unmigrated().await;
    let complaints = complaints(&examine(&world).await);
    assert_eq!(complaints, [("publication", Level::Error), ("schema", Level::Error)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_to_landing_is_found_by_its_own_check() {
    let world = World::new().await;
    let landing = world.landing().await;
    for (damage, repair, check) in [
        (
            "ALTER TABLE landing_leads RENAME metadata TO extra",
            "ALTER TABLE landing_leads RENAME extra TO metadata",
            "columns",
        ),
        (
            "ALTER TABLE journey_stages ALTER stage TYPE bytea USING stage::bytea",
            "ALTER TABLE journey_stages ALTER stage TYPE text USING encode(stage, 'escape')",
            "columns",
        ),
        (
            "ALTER TABLE landing_leads REPLICA IDENTITY NOTHING",
            "ALTER TABLE landing_leads REPLICA IDENTITY DEFAULT",
            "replica_identity",
        ),
        (
            "CREATE TABLE stray (id int PRIMARY KEY); ALTER PUBLICATION leadbridge ADD TABLE stray",
            "DROP TABLE stray",
            "publication",
        ),
        (
            "ALTER PUBLICATION leadbridge SET (publish = 'insert')",
            "ALTER PUBLICATION leadbridge SET (publish = 'insert, update, delete, truncate')",
            "publication",
        ),
        (
            "SELECT pg_create_logical_replication_slot('leadbridge', 'test_decoding')",
            "SELECT pg_drop_replication_slot('leadbridge')",
            "positions",
        ),
    ] {
        landing.batch_execute(damage).await.unwrap();
        let mut found = complaints(&examine(&world).await);
        // A column under another name is a new column.
        found.retain(|(check, _)| *check != "left_out_columns");
        assert_eq!(found, [(check, Level::Error)], "{damage}");
        landing.batch_execute(repair).await.unwrap();
    }
    landing.batch_execute("ALTER TABLE landing_leads DROP click_count").await.unwrap();
    let findings = examine(&world).await;
    assert_eq!(complaints(&findings), [], "what comes of an optional column is Traffic's");
    assert!(findings.findings.iter().any(|finding| finding.message.to_string().contains("click_count")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_decode_is_an_error_with_the_setting_to_change() {
    let world =
        World::unmigrated_with(&[("wal_level", "replica"), ("max_replication_slots", "0")], &[]).await;
    let found = complaints(&examine(&world).await);
    assert!(found.contains(&("wal_level", Level::Error)), "{found:?}");
    assert!(found.contains(&("slots", Level::Error)), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_privileges_is_told_each_thing_that_it_lacks() {
    let world = World::new().await;
    let role = "CREATE ROLE weak LOGIN PASSWORD 'weak'";
    world.landing().await.batch_execute(role).await.unwrap();
    world.traffic().await.batch_execute(role).await.unwrap();
    let (landing, traffic) =
        (world.landing.url_as("weak", "weak", "landing"), world.traffic.url_as("weak", "weak", "traffic"));
    let found = complaints(&doctor::examine(&config(&landing, &traffic)).await);
    for check in ["role", "replication_connection", "privileges", "row_security", "schemas"] {
        assert!(found.contains(&(check, Level::Error)), "{check}: {found:?}");
    }

    let open = "GRANT USAGE ON SCHEMA leadbridge TO weak; ALTER ROLE weak BYPASSRLS";
    world.traffic().await.batch_execute(open).await.unwrap();
    let found = complaints(&doctor::examine(&config(&world.landing_url(), &traffic)).await);
    assert!(found.contains(&("session_replication_role", Level::Warning)), "{found:?}");
    assert!(found.contains(&("privileges", Level::Error)), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roles_that_a_dba_creates_from_our_sql_get_no_complaint() {
    let world = World::new().await;
    let options = MigrateOptions::default();
    let sql = |database| privileges(database, &world.names, "bridge", &options).unwrap();
    world.landing().await.batch_execute(&sql(MigratedSide::Landing)).await.unwrap();
    world.traffic().await.batch_execute(&sql(MigratedSide::Traffic)).await.unwrap();
    let password = "ALTER ROLE bridge PASSWORD 'bridge'";
    world.landing().await.batch_execute(password).await.unwrap();
    world.traffic().await.batch_execute(password).await.unwrap();
    let landing = world.landing.url_as("bridge", "bridge", "landing");
    let traffic = world.traffic.url_as("bridge", "bridge", "traffic");
    assert_eq!(complaints(&doctor::examine(&config(&landing, &traffic)).await), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn replication_on_traffic_is_a_warning_until_a_cutover_has_switched() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let landing = world.landing.url_as("bridge", "bridge", "landing");
    let traffic = world.traffic.url_as("bridge", "bridge", "traffic");
    let found = doctor::examine(&config(&landing, &traffic)).await;
    assert_eq!(complaints(&found), [("replication_right", Level::Warning)]);
    let said = |found: &Findings, check: &str| {
        let of = |finding: &&Finding| {
            finding.check == check && finding.message.to_string().contains("the changes of every table")
        };
        found.findings.iter().find(of).unwrap().clone()
    };
    assert!(
        said(&found, "replication_right")
            .remedy
            .unwrap()
            .to_string()
            .contains("ALTER ROLE \"bridge\" NOREPLICATION")
    );
    assert_eq!(said(&found, "role").level, Level::Ok);
    let report = world.migrate(&MigrateOptions::default()).await.to_string();
    assert!(report.contains("ALTER ROLE bridge NOREPLICATION"), "{report}");

    bridge.catch_up().await;
    world.traffic().await.batch_execute("UPDATE leadbridge.checkpoint SET state = 'switched'").await.unwrap();
    let found = doctor::examine(&config(&landing, &traffic)).await;
    assert_eq!(said(&found, "replication_right").level, Level::Ok);
    let report = world.migrate(&MigrateOptions::default()).await.to_string();
    assert!(!report.contains("NOREPLICATION"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_column_that_the_mapping_reads_is_an_error_and_one_that_it_never_reads_is_none() {
    let world = World::new().await;
    let landing = world.landing().await;
    let version = "SELECT current_setting('server_version_num')::int / 10000";
    let virtual_too = landing.query_one(version, &[]).await.unwrap().get::<_, i32>(0) >= 18;
    let kinds = ["STORED", "VIRTUAL"].into_iter().take(if virtual_too { 2 } else { 1 });
    for kind in kinds {
        for (table, column, expression, found) in [
            ("landing_leads", "email text", "phone || '@example.com'", true),
            ("landing_leads", "click_count int", "length(phone)", true),
            ("journey_stages", "source text", "upper(stage)", true),
            ("landing_leads", "phone_normalized text", "upper(phone)", false),
        ] {
            let (name, _) = column.split_once(' ').unwrap();
            let sql = format!(
                "ALTER TABLE {table} DROP COLUMN {name},
                     ADD COLUMN {column} GENERATED ALWAYS AS ({expression}) {kind}"
            );
            landing.batch_execute(&sql).await.unwrap();
            let findings = examine(&world).await;
            if found {
                assert_eq!(complaints(&findings), [("columns", Level::Error)], "{sql}");
                let named =
                    |finding: &Finding| finding.message.to_string().contains(&format!("{table}.{name}"));
                assert!(findings.findings.iter().any(named), "{findings:?}");
            } else {
                assert_eq!(complaints(&findings), [], "{sql}");
            }
            let sql = format!("ALTER TABLE {table} DROP COLUMN {name}, ADD COLUMN {column}");
            landing.batch_execute(&sql).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_never_gives_up_on_a_stream_or_at_once_is_a_warning() {
    let world = World::new().await;
    let landing = world.landing().await;
    for (limit, expected) in [("0", true), ("1s", true), ("1min", false)] {
        let sql = format!("ALTER ROLE CURRENT_USER SET wal_sender_timeout = '{limit}'");
        landing.batch_execute(&sql).await.unwrap();
        let warning = [("wal_sender_timeout", Level::Warning)];
        assert_eq!(complaints(&examine(&world).await), warning[usize::from(!expected)..], "{limit}");
    }
}

/// The limit in the server's message is the limit to raise.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_limit_that_is_too_low_is_named_with_the_statement_that_raises_it() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let roomy = "ALTER ROLE bridge CONNECTION LIMIT 10";
    landing.batch_execute(roomy).await.unwrap();
    traffic.batch_execute(&format!("{roomy} NOREPLICATION")).await.unwrap();
    let urls = || {
        (
            world.landing.url_as("bridge", "bridge", "landing"),
            world.traffic.url_as("bridge", "bridge", "traffic"),
        )
    };
    let examined = async || {
        let (from, to) = urls();
        doctor::examine(&config(&from, &to)).await
    };
    assert_eq!(complaints(&examined().await), []);
    for (client, what, limit, level) in [
        (&landing, "ROLE bridge", 4, Level::Error),
        (&landing, "ROLE bridge", 8, Level::Warning),
        (&traffic, "ROLE bridge", 4, Level::Error),
        (&traffic, "DATABASE traffic", 4, Level::Error),
    ] {
        client.batch_execute(&format!("ALTER {what} CONNECTION LIMIT {limit}")).await.unwrap();
        let found = examined().await;
        assert_eq!(complaints(&found), [("connection_limit", level)], "{what} {limit}: {found:?}");
        let remedy = found.findings.iter().find(|one| one.check == "connection_limit" && one.level == level);
        let remedy = remedy.unwrap().remedy.as_ref().unwrap().to_string();
        assert!(remedy.contains(&format!("ALTER {what} CONNECTION LIMIT 1")), "{remedy}");
        let reset = if what.starts_with("ROLE") { 10 } else { -1 };
        client.batch_execute(&format!("ALTER {what} CONNECTION LIMIT {reset}")).await.unwrap();
    }
    // A role that gets no session at all is told the same.
    landing.batch_execute("ALTER ROLE bridge CONNECTION LIMIT 0").await.unwrap();
    let said = bridge.run(&["doctor"]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("ALTER ROLE bridge CONNECTION LIMIT"), "{}", said.out);
    assert!(!said.out.contains("max_connections"), "{}", said.out);
    landing.batch_execute("ALTER ROLE bridge CONNECTION LIMIT 10").await.unwrap();
    // A limit that is enough for a stream stops no stream, and a copy with too few sessions tries again.
    bridge.catch_up().await;
    landing.batch_execute("ALTER ROLE bridge CONNECTION LIMIT 4").await.unwrap();
    bridge.catch_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_always_fires_on_the_target_is_a_warning() {
    let world = World::new().await;
    let sql = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
               CREATE TRIGGER always BEFORE INSERT ON traffic_leads FOR EACH ROW EXECUTE FUNCTION f(); \
               ALTER TABLE traffic_leads ENABLE ALWAYS TRIGGER always";
    world.traffic().await.batch_execute(sql).await.unwrap();
    assert_eq!(complaints(&examine(&world).await), [("triggers", Level::Warning)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_without_its_slot_or_of_another_cluster_is_an_error() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    let insert = "INSERT INTO leadbridge.checkpoint \
                  (slot, publication, landing_system_id, landing_database, state, run_id) VALUES \
                  ('leadbridge', 'leadbridge', $1, 'landing', 'streaming', gen_random_uuid())";
    let system = "SELECT system_identifier::text FROM pg_control_system()";
    let system: String = world.landing().await.query_one(system, &[]).await.unwrap().get(0);
    traffic.execute(insert, &[&system]).await.unwrap();
    let findings = examine(&world).await;
    assert_eq!(complaints(&findings), [("positions", Level::Error)]);
    traffic.batch_execute("UPDATE leadbridge.checkpoint SET landing_system_id = '1'").await.unwrap();
    let findings = examine(&world).await;
    assert!(findings.findings.iter().any(|finding| finding.message.to_string().contains("another Landing")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shape_that_is_not_admissible_is_an_error_with_what_to_run_and_one_that_bars_a_cutover_a_warning() {
    let world = World::new().await;
    let remedy = |findings: &Findings, check: &str| {
        let found = findings.findings.iter().find(|one| one.check == check && one.level != Level::Ok);
        found.and_then(|one| one.remedy.as_ref().map(ToString::to_string)).unwrap_or_default()
    };
    let traffic = world.traffic().await;
    traffic
        .batch_execute("ALTER TABLE traffic_leads DROP CONSTRAINT traffic_leads_pkey CASCADE")
        .await
        .unwrap();
    let findings = examine(&world).await;
    assert_eq!(complaints(&findings), [("keys", Level::Error), ("replica_identity", Level::Error)]);
    assert!(remedy(&findings, "keys").contains("ADD PRIMARY KEY (id)"), "{findings:?}");
    traffic.batch_execute("ALTER TABLE traffic_leads ADD PRIMARY KEY (id)").await.unwrap();
    let landing = world.landing().await;
    landing.batch_execute("ALTER TABLE landing_leads ALTER source TYPE char(20)").await.unwrap();
    let findings = examine(&world).await;
    assert_eq!(complaints(&findings), [("columns", Level::Error)]);
    let says = remedy(&findings, "columns");
    assert!(says.contains("ALTER COLUMN \"source\" TYPE text"), "{says}");
    landing.batch_execute("ALTER TABLE landing_leads ALTER source TYPE text").await.unwrap();
    landing.batch_execute("ALTER TABLE landing_leads ADD UNIQUE (email) DEFERRABLE").await.unwrap();
    assert_eq!(complaints(&examine(&world).await), [("keys", Level::Warning)]);
}
