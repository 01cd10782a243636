//! Rights are revoked while the daemon runs: the daemon ends at once, names the GRANT, and ends exact afterwards.

use std::time::Duration;

use crate::testkit::{
    Daemon, World, assert_equal, caught_up_and_equal, differences_beside_quarantine, landing,
    least_privileged, traffic,
};

const WORK: &str = "UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1;
    UPDATE journey_stages SET source = 'w' || coalesce(source, '');
    DELETE FROM landing_leads WHERE id = (SELECT id FROM landing_leads ORDER BY id LIMIT 1)";

#[derive(Clone, Copy)]
enum At {
    Landing,
    Traffic,
}

/// Side, the SQL that revokes a right, the SQL that restores the right, and the word for the error.
const REVOKED: [(At, &str, &str, &str); 11] = [
    (
        At::Traffic,
        "REVOKE INSERT ON traffic_leads FROM bridge",
        "GRANT INSERT ON traffic_leads TO bridge",
        "traffic_leads",
    ),
    (
        At::Traffic,
        "REVOKE UPDATE ON traffic_lead_journey FROM bridge",
        "GRANT UPDATE ON traffic_lead_journey TO bridge",
        "traffic_lead_journey",
    ),
    (
        At::Traffic,
        "REVOKE DELETE ON traffic_leads FROM bridge",
        "GRANT DELETE ON traffic_leads TO bridge",
        "traffic_leads",
    ),
    (
        At::Traffic,
        "REVOKE SELECT ON traffic_leads FROM bridge",
        "GRANT SELECT ON traffic_leads TO bridge",
        "traffic_leads",
    ),
    (
        At::Traffic,
        "REVOKE UPDATE ON leadbridge.checkpoint FROM bridge",
        "GRANT UPDATE ON leadbridge.checkpoint TO bridge",
        "checkpoint",
    ),
    (
        At::Traffic,
        "REVOKE ALL ON SCHEMA leadbridge FROM bridge",
        "GRANT USAGE ON SCHEMA leadbridge TO bridge",
        "leadbridge",
    ),
    (At::Traffic, "ALTER ROLE bridge NOBYPASSRLS", "ALTER ROLE bridge BYPASSRLS", "row-level security"),
    (
        At::Traffic,
        "REVOKE SET ON PARAMETER session_replication_role FROM bridge",
        "GRANT SET ON PARAMETER session_replication_role TO bridge",
        "session_replication_role",
    ),
    (At::Landing, "ALTER ROLE bridge NOREPLICATION; CUT", "ALTER ROLE bridge REPLICATION", "replication"),
    (At::Landing, "ALTER ROLE bridge NOLOGIN; CUT", "ALTER ROLE bridge LOGIN", "bridge"),
    (
        At::Traffic,
        "ALTER ROLE bridge PASSWORD 'other'; CUT",
        "ALTER ROLE bridge PASSWORD 'bridge'",
        "password",
    ),
];

/// A role's attributes count from the next connection on, so the present sessions are ended.
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bridge'";

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_ends_the_daemon_with_what_to_grant() {
    let world = World::new().await;
    world.fill(95, 40).await;
    // Row-level security without a policy hides every row from a role without BYPASSRLS.
    traffic(&world, "ALTER TABLE traffic_lead_journey ENABLE ROW LEVEL SECURITY").await;
    let bridge = least_privileged(&world).await;
    for (at, damage, repair, word) in REVOKED {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        landing(&world, WORK).await;
        daemon.caught_up(&world).await;
        let sql = damage.replace("CUT", CUT);
        match at {
            At::Landing => landing(&world, &sql).await,
            At::Traffic => traffic(&world, &sql).await,
        }
        landing(&world, WORK).await;
        let ended = daemon.ended(Duration::from_secs(20)).await;
        let log = daemon.log();
        assert_eq!(ended.code(), Some(4), "{damage}: {log}");
        let (_, error) = log.rsplit_once("error: ").expect("an error");
        assert!(error.contains(word), "{damage}: {word} is not in: {error}");
        assert_eq!(error.matches("what to do: ").count(), 1, "{damage}: {error}");
        match at {
            At::Landing => landing(&world, repair).await,
            At::Traffic => traffic(&world, repair).await,
        }
        bridge.catch_up().await;
        assert_equal(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_without_the_right_to_read_and_a_copy_says_that_it_is_missing() {
    let world = World::new().await;
    world.fill(96, 40).await;
    let bridge = least_privileged(&world).await;
    let mut daemon = bridge.daemon().await;
    for (damage, repair, word) in [
        (
            "REVOKE SELECT ON landing_leads FROM bridge",
            "GRANT SELECT ON landing_leads TO bridge",
            "SELECT on \"public\".\"landing_leads\"",
        ),
        ("ALTER ROLE bridge NOBYPASSRLS", "ALTER ROLE bridge BYPASSRLS", "row-level security"),
    ] {
        daemon.streaming().await;
        landing(&world, damage).await;
        landing(&world, CUT).await;
        landing(&world, WORK).await;
        caught_up_and_equal(&world, &mut daemon).await;
        daemon.terminate().await;
        let said = bridge.run(&["resync", "--yes"]).await;
        assert!(said.code == 4 && said.err.contains(word), "{damage}: {}", said.err);
        assert_eq!(said.err.matches("what to do: ").count(), 1, "{damage}: {}", said.err);
        landing(&world, repair).await;
        daemon = bridge.daemon().await;
    }
    caught_up_and_equal(&world, &mut daemon).await;
}

/// Every kind of work on a row: good, bad, changed, freed, noted, discarded and deleted.
const EVERYTHING: &str = "UPDATE landing_leads SET name = 'good' WHERE name LIKE 'xxx%';
    UPDATE landing_leads SET amocrm_lead_id = NULL WHERE amocrm_lead_id = 'none';
    INSERT INTO landing_leads (name, phone, amocrm_lead_id)
        VALUES (repeat('x', 300), '1', NULL), ('noted', '2', 'none'), ('first', '3', NULL);
    INSERT INTO journey_stages (lead_id, stage) SELECT id, 'new' FROM landing_leads WHERE name = 'first';
    UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1;
    UPDATE journey_stages SET source = 'w' || coalesce(source, '');
    DELETE FROM landing_leads WHERE id = (SELECT lead_id FROM journey_stages ORDER BY lead_id LIMIT 1)";

/// Rights that only a start needs: the stream does not miss these rights.
const ONLY_AT_A_START: [(&str, &str); 2] =
    [("leadbridge.checkpoint", "INSERT"), ("leadbridge.checkpoint", "DELETE")];

#[tokio::test(flavor = "multi_thread")]
async fn each_right_on_traffics_tables_that_is_revoked_ends_the_daemon_and_is_named_at_the_next_start() {
    revoke_each(97, &["traffic_leads", "traffic_lead_journey"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_on_the_daemons_tables_that_is_revoked_ends_it_and_is_named_at_the_next_start() {
    revoke_each(98, &["leadbridge.checkpoint", "leadbridge.quarantine", "leadbridge.conversion_notes"]).await;
}

async fn revoke_each(seed: u64, tables: &[&str]) {
    let world = World::new().await;
    world.fill(seed, 40).await;
    let bridge = least_privileged(&world).await;
    for table in tables {
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let mut daemon = bridge.daemon().await;
            daemon.streaming().await;
            landing(&world, EVERYTHING).await;
            daemon.caught_up(&world).await;
            traffic(&world, &format!("REVOKE {right} ON {table} FROM bridge")).await;
            landing(&world, EVERYTHING).await;
            if ONLY_AT_A_START.contains(&(table, right)) {
                daemon.caught_up(&world).await;
                daemon.terminate().await;
            } else {
                refused(&mut daemon, &format!("{right} on {table}"), table.rsplit('.').next().unwrap()).await;
            }
            let said = bridge.run(&["run"]).await;
            let named = format!("{right} on \"{}\"", qualified(table).replace('.', "\".\""));
            assert!(said.code == 4 && said.err.contains(&named), "{named} is not in: {}", said.err);
            traffic(&world, &format!("GRANT {right} ON {table} TO bridge")).await;
        }
        bridge.catch_up().await;
        assert_eq!(differences_beside_quarantine(&world).await, [""; 0], "{table}");
    }
}

fn qualified(table: &str) -> String {
    if table.contains('.') { table.to_owned() } else { format!("public.{table}") }
}

/// The daemon ends by itself with one error that names `word`, and one remedy.
async fn refused(daemon: &mut Daemon, what: &str, word: &str) {
    let ended = daemon.ended(Duration::from_secs(20)).await;
    let log = daemon.log();
    assert_eq!(ended.code(), Some(4), "{what}: {log}");
    let (_, error) = log.rsplit_once("error: ").expect("an error");
    assert!(error.contains(word), "{what}: {word} is not in: {error}");
    assert_eq!(error.matches("what to do: ").count(), 1, "{what}: {error}");
}

const WRITTEN: [&str; 5] = [
    "traffic_lead_journey",
    "traffic_leads",
    "leadbridge.checkpoint",
    "leadbridge.quarantine",
    "leadbridge.conversion_notes",
];

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_that_is_switched_on_hides_nothing_from_the_roles_that_our_sql_makes() {
    let world = World::new().await;
    world.fill(99, 40).await;
    let bridge = least_privileged(&world).await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let on =
        |table: &str| format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;");
    for table in WRITTEN {
        traffic(&world, &on(table)).await;
        landing(&world, EVERYTHING).await;
    }
    for table in ["landing_leads", "journey_stages"] {
        landing(&world, &on(table)).await;
        landing(&world, EVERYTHING).await;
    }
    daemon.caught_up(&world).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    assert_eq!(differences_beside_quarantine(&world).await, [""; 0]);
    daemon.terminate().await;
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    assert_eq!(differences_beside_quarantine(&world).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_that_is_switched_on_for_a_role_that_it_binds_ends_the_daemon() {
    let world = World::new().await;
    world.fill(100, 40).await;
    let bridge = least_privileged(&world).await;
    let off = |table: &str| format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;");
    let bound = "ALTER ROLE bridge NOBYPASSRLS;";
    traffic(&world, &(WRITTEN.map(off).concat() + bound)).await;
    landing(&world, &(["landing_leads", "journey_stages"].map(off).concat() + bound)).await;
    let policies = [
        // No policy hides every row, this policy some rows: hidden rows must not count as absent.
        "",
        "CREATE POLICY part ON {} USING (pg_backend_pid() > 0)",
        // Only FORCE binds the owner of a table.
        "ALTER TABLE {} FORCE ROW LEVEL SECURITY, OWNER TO bridge",
    ];
    for (table, policy) in WRITTEN.into_iter().zip(policies.into_iter().cycle()) {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        let policy = policy.replace("{}", table);
        traffic(&world, &format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; {policy}")).await;
        landing(&world, EVERYTHING).await;
        refused(&mut daemon, table, "row-level security").await;
        let said = bridge.run(&["run"]).await;
        let name = table.rsplit('.').next().unwrap();
        // A policy in leadbridge's own schema is refused before its rows are asked for.
        let what = ["row-level security", "policy part on"];
        let named = what.iter().any(|what| said.err.contains(what)) && said.err.contains(name);
        assert!(said.code == 4 && named, "{table}: {}", said.err);
        traffic(&world, &format!("{} DROP POLICY IF EXISTS part ON {table}", off(table))).await;
    }
    bridge.catch_up().await;
    // Row-level security on Landing does not bind the stream itself, but binds reading rows.
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, "ALTER TABLE landing_leads ENABLE ROW LEVEL SECURITY").await;
    landing(&world, EVERYTHING).await;
    daemon.caught_up(&world).await;
    assert_eq!(differences_beside_quarantine(&world).await, [""; 0]);
    landing(
        &world,
        "UPDATE landing_leads SET metadata = metadata || jsonb_build_object('long',
             (SELECT string_agg(md5(i::text || name), '') FROM generate_series(1, 150) AS i))",
    )
    .await;
    daemon.caught_up(&world).await;
    traffic(&world, "DELETE FROM traffic_leads").await;
    landing(&world, "UPDATE landing_leads SET click_count = click_count + 1").await;
    refused(&mut daemon, "landing_leads", "row-level security").await;
    let said = bridge.run(&["resync", "--yes"]).await;
    assert!(said.code == 4 && said.err.contains("row-level security"), "{}", said.err);
    landing(&world, &off("landing_leads")).await;
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    assert_eq!(differences_beside_quarantine(&world).await, [""; 0]);
}
