//! Obstacles to a start: one clear error with its remedy and its exit code, and nothing changed anywhere.

use leadbridge::migrate::MigrateOptions;

use crate::testkit::{
    Bridge, Said, World, brake, differences_beside_quarantine, holds, landing, one, release_brake,
    until_holds,
};

/// One error on stderr, its remedy, no password, no panic.
fn assert_refused(what: &str, said: &Said, code: i32, words: &[&str]) {
    let Said { code: actual, out, err } = said;
    assert_eq!(*actual, code, "{what}: {err}");
    assert_eq!(err.matches("error: ").count(), 1, "{what}: {err}");
    assert_eq!(err.matches("what to do: ").count(), 1, "{what}: {err}");
    for word in words {
        assert!(err.contains(word), "{what}: {word} is not in: {err}");
    }
    assert!(out.is_empty() && !err.contains("panicked"), "{what}: {out} {err}");
    assert!(!err.contains("secret"), "{what}: a password was shown");
}

/// No slot on Landing, and no checkpoint on Traffic.
async fn assert_untouched(world: &World, what: &str) {
    let slots = "count(*) = 0 FROM pg_replication_slots";
    assert!(holds(&world.landing().await, slots).await, "{what}: a slot");
    let traffic = world.traffic().await;
    if holds(&traffic, "to_regclass('leadbridge.checkpoint') IS NOT NULL").await {
        assert!(holds(&traffic, "count(*) = 0 FROM leadbridge.checkpoint").await, "{what}: a checkpoint");
    }
    assert!(holds(&traffic, "count(*) = 0 FROM traffic_leads").await, "{what}: rows");
}

async fn refused(world: &World, bridge: &Bridge, what: &str, code: i32, words: &[&str]) {
    assert_refused(what, &bridge.run(&["run"]).await, code, words);
    assert_untouched(world, what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_or_password_is_refused_with_its_remedy_and_changes_nothing() {
    let world = World::new().await;
    world.fill(12, 20).await;
    let (landing, traffic) = (world.landing_url(), world.traffic_url());
    let wrong_landing = world.landing.url_as("postgres", "secret", "landing");
    let wrong_traffic = world.traffic.url_as("postgres", "secret", "traffic");
    let nobody = "postgresql://postgres:secret@127.0.0.1:1/landing?sslmode=disable";
    let no_name = "postgresql://postgres:secret@no-such-host.invalid/landing?sslmode=disable";
    let no_database = world.landing.url("nowhere");
    let pooler = "postgresql://postgres:secret@aws-0-eu.pooler.supabase.com:5432/postgres";
    let pooler_port = "postgresql://postgres:secret@127.0.0.1:6543/postgres?sslmode=disable";
    for (what, from, to, code, words) in [
        ("wrong password on Landing", wrong_landing.as_str(), traffic.as_str(), 4, "LANDING_DATABASE_URL"),
        ("wrong password on Traffic", &landing, &wrong_traffic, 4, "TRAFFIC_DATABASE_URL"),
        ("nobody listens", nobody, &traffic, 3, "refused the connection"),
        ("nobody listens on Traffic", &landing, nobody, 3, "refused the connection"),
        ("a name that is none", no_name, &traffic, 3, "LANDING_DATABASE_URL"),
        ("no such database", &no_database, &traffic, 4, "LANDING_DATABASE_URL"),
        ("a pooler", pooler, &traffic, 4, "pooler"),
        ("a pooler's port", pooler_port, &traffic, 4, "6543"),
        ("no URL", "", &traffic, 64, "LANDING_DATABASE_URL"),
        ("no URL at all", "landing", &traffic, 64, "LANDING_DATABASE_URL"),
    ] {
        refused(&world, &Bridge::between(from, to), what, code, &[words]).await;
    }
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_row = 3");
    refused(&world, &bridge, "an unknown key", 64, &["batch_row", "line 2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_ready_is_refused_with_its_remedy_and_changes_nothing() {
    let world = World::unmigrated().await;
    world.fill(13, 20).await;
    let bridge = Bridge::new(&world);
    refused(&world, &bridge, "nothing is migrated", 4, &["leadbridge migrate"]).await;
    world.migrate(&MigrateOptions::default()).await;
    let landing = world.landing().await;
    for (what, damage, repair, words) in [
        (
            "missing table",
            "ALTER TABLE journey_stages RENAME TO elsewhere",
            "ALTER TABLE elsewhere RENAME TO journey_stages",
            "journey_stages",
        ),
        (
            "missing column",
            "ALTER TABLE landing_leads RENAME metadata TO extra",
            "ALTER TABLE landing_leads RENAME extra TO metadata",
            "metadata",
        ),
        (
            "column of another type",
            "ALTER TABLE landing_leads ALTER name TYPE bytea USING convert_to(name, 'UTF8')",
            "ALTER TABLE landing_leads ALTER name TYPE text USING convert_from(name, 'UTF8')",
            "name",
        ),
        (
            "missing publication",
            "DROP PUBLICATION leadbridge",
            "CREATE PUBLICATION leadbridge FOR TABLE landing_leads, journey_stages",
            "publication",
        ),
        (
            "publication without a table",
            "ALTER PUBLICATION leadbridge DROP TABLE journey_stages",
            "ALTER PUBLICATION leadbridge ADD TABLE journey_stages",
            "journey_stages",
        ),
    ] {
        landing.batch_execute(damage).await.unwrap();
        refused(&world, &bridge, what, 4, &[words]).await;
        landing.batch_execute(repair).await.unwrap();
    }
    rows_that_are_hidden(&world).await;
    let traffic = world.traffic().await;
    traffic.batch_execute("ALTER TABLE traffic_leads RENAME landing_source TO other").await.unwrap();
    refused(&world, &bridge, "missing column on Traffic", 4, &["landing_source", "migrate"]).await;
    traffic.batch_execute("ALTER TABLE traffic_leads RENAME other TO landing_source").await.unwrap();
    // After all refusals the daemon runs.
    bridge.catch_up().await;
    crate::testkit::assert_equal(&world).await;
}

/// A role that may read the tables, but not past their row-level security.
async fn rows_that_are_hidden(world: &World) {
    let role = "CREATE ROLE hidden LOGIN REPLICATION PASSWORD 'secret';
        GRANT SELECT ON landing_leads, journey_stages TO hidden;
        CREATE POLICY partly ON landing_leads FOR SELECT TO hidden USING (source = 'twland')";
    let landing = world.landing().await;
    landing.batch_execute(role).await.unwrap();
    let bridge = Bridge::between(&world.landing.url_as("hidden", "secret", "landing"), &world.traffic_url());
    refused(world, &bridge, "hidden rows", 4, &["row", "BYPASSRLS"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_does_not_decode_is_refused_with_the_setting_to_change() {
    let world = World::with_settings(&[("wal_level", "replica")], &[]).await;
    refused(&world, &Bridge::new(&world), "wal_level", 4, &["wal_level", "logical"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_used_or_is_not_ours_is_refused() {
    let world = World::new().await;
    world.fill(14, 20).await;
    // Root may write everywhere except to these places.
    for place in ["/proc/leadbridge", "/dev/null"] {
        let bridge = Bridge::new(&world);
        let mut command = bridge.command(&["run"]);
        command.env("LEADBRIDGE_STATE_DIR", place);
        let said = crate::testkit::said(command).await;
        assert_refused(place, &said, 4, &[place, "LEADBRIDGE_STATE_DIR"]);
        assert_untouched(&world, place).await;
    }
    let bridge = Bridge::new(&world);
    let other = World::of_another_cluster().await;
    let theirs = Bridge::new(&other);
    theirs.catch_up().await;
    let mut command = bridge.command(&["run"]);
    command.env("LEADBRIDGE_STATE_DIR", theirs.state_dir());
    let said = crate::testkit::said(command).await;
    assert_refused("another installation's", &said, 4, &["another Landing cluster", "LEADBRIDGE_STATE_DIR"]);
    assert_untouched(&world, "another installation's").await;
    // The other program's slot is unchanged.
    let before: String =
        one(&other.traffic().await, "SELECT applied_lsn::text FROM leadbridge.checkpoint").await;
    theirs.catch_up().await;
    let after: String =
        one(&other.traffic().await, "SELECT applied_lsn::text FROM leadbridge.checkpoint").await;
    assert!(before <= after || before.len() < after.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_quarantine_while_a_snapshot_is_copied_is_refused() {
    let world = World::new().await;
    world.fill(13, 60).await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES (repeat('x', 300), '1')").await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 40\n[snapshot]\nworkers = 1");
    brake(&world, 0.3).await;
    let mut daemon = bridge.daemon().await;
    let traffic = world.traffic().await;
    until_holds(&traffic, "count(*) > 0 FROM traffic_leads").await;
    let said = bridge.run(&["quarantine", "retry"]).await;
    assert_refused("a retry", &said, 4, &["a snapshot is being copied", "leadbridge status"]);
    assert!(holds(&traffic, "state = 'snapshot' FROM leadbridge.checkpoint").await, "the copy was too quick");
    release_brake(&world).await;
    daemon.caught_up(&world).await;
    let said = bridge.run(&["quarantine", "retry"]).await;
    assert_eq!(said.code, 1, "it is as bad as before: {}{}", said.out, said.err);
    assert_eq!(differences_beside_quarantine(&world).await, [""; 0]);
    daemon.terminate().await;
}
