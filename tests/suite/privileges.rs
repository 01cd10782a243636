//! Rights are taken away while the daemon runs: it ends at once, says what to grant, and ends exact afterwards.

use std::time::Duration;

use crate::testkit::{World, assert_equal, landing, least_privileged, traffic};

const WORK: &str = "UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1;
    UPDATE lead_journey SET source = 'w' || coalesce(source, '');
    DELETE FROM landing_leads WHERE id = (SELECT id FROM landing_leads ORDER BY id LIMIT 1)";

#[derive(Clone, Copy)]
enum At {
    Landing,
    Traffic,
}

/// Where, what takes a right away, what gives it back, and what the error must name.
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

/// Rights of a role count when it connects.
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bridge'";

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_ends_the_daemon_with_what_to_grant() {
    let world = World::new().await;
    world.fill(95, 40).await;
    // On, and without a policy for anybody: what hides every row from a role that does not bypass it.
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
        daemon.caught_up(&world).await;
        assert_equal(&world).await;
        daemon.terminate().await;
        let said = bridge.run(&["resync", "--yes"]).await;
        assert!(said.code == 4 && said.err.contains(word), "{damage}: {}", said.err);
        assert_eq!(said.err.matches("what to do: ").count(), 1, "{damage}: {}", said.err);
        landing(&world, repair).await;
        daemon = bridge.daemon().await;
    }
    daemon.caught_up(&world).await;
    assert_equal(&world).await;
}
