//! A retry beside the daemon.

use super::{quarantined, streaming};
use crate::testkit::{World, assert_equal, caught_up_and_equal, holds, landing, said, traffic, until_holds};

/// A statement that deletes leads on Traffic waits for this lock before its end.
const GATE: &str = "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END $$;
    CREATE TRIGGER gate AFTER DELETE ON traffic_leads FOR EACH STATEMENT EXECUTE FUNCTION gate()";

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_never_brings_back_a_row_that_the_daemon_is_deleting() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name <> 'bad')").await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('bad', '1')").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 1);
    traffic(&world, "ALTER TABLE traffic_leads DROP CONSTRAINT no").await;
    traffic(&world, GATE).await;
    let gate = world.traffic().await;
    gate.batch_execute("SELECT pg_advisory_lock(42)").await.unwrap();
    landing(&world, "DELETE FROM landing_leads").await;
    let waiting = "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)";
    until_holds(&gate, waiting).await;
    // The daemon has looked for the row without finding the row, and has not yet recorded the result in quarantine.
    let retry = tokio::spawn(said(bridge.command(&["quarantine", "retry"])));
    let came = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE '%quarantine%'
                        AND wait_event_type = 'Lock') OR EXISTS (SELECT FROM traffic_leads)";
    until_holds(&gate, came).await;
    gate.batch_execute("SELECT pg_advisory_unlock(42)").await.unwrap();
    let retried = retry.await.unwrap();
    assert_eq!(retried.code, 0, "{}{}", retried.out, retried.err);
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(quarantined(&world).await, []);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_without_end_beside_the_daemon_end_equal() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    let bad = "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name <> 'bad')";
    let landing_session = world.landing().await;
    for round in 0..4 {
        traffic(&world, bad).await;
        let insert = format!(
            "INSERT INTO landing_leads (name, phone) SELECT 'bad', {round}::text FROM generate_series(1, 20);
             INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM landing_leads WHERE name = 'bad'"
        );
        landing_session.batch_execute(&insert).await.unwrap();
        daemon.caught_up(&world).await;
        assert_eq!(quarantined(&world).await.len(), 40);
        traffic(&world, "ALTER TABLE traffic_leads DROP CONSTRAINT no").await;
        let retry = tokio::spawn(said(bridge.command(&["quarantine", "retry"])));
        for change in ["SET name = 'good'", "SET click_count = 3", "SET name = 'better'"] {
            let sql =
                format!("UPDATE landing_leads {change} WHERE name IN ('bad', 'good') AND random() < 0.5");
            landing_session.batch_execute(&sql).await.unwrap();
        }
        landing_session.batch_execute("DELETE FROM landing_leads WHERE random() < 0.2").await.unwrap();
        let retried = retry.await.unwrap();
        assert_eq!(retried.code, 0, "{}{}", retried.out, retried.err);
        daemon.caught_up(&world).await;
        landing_session.batch_execute("UPDATE landing_leads SET name = 'good'").await.unwrap();
        caught_up_and_equal(&world, &mut daemon).await;
        assert_eq!(quarantined(&world).await, []);
    }
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_a_retry_wrote_beside_the_daemon_goes_when_its_value_is_good_or_its_row_is_gone() {
    let world = World::new().await;
    crate::testkit::repeat_numbers(&world).await;
    let (bridge, mut daemon) = streaming(&world).await;
    let notes = async |count: usize| {
        let sql = format!("count(*) = {count} FROM leadbridge.conversion_notes");
        holds(&world.traffic().await, &sql).await
    };
    for rows in [1, 300] {
        traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name <> 'bad')").await;
        let insert = format!(
            "INSERT INTO landing_leads (name, phone, amocrm_lead_id) VALUES ('bad', '1', 'none'), ('bad', '2', 'none');
             INSERT INTO landing_leads (name, phone) SELECT 'n', n::text FROM generate_series(1, {rows}) AS n"
        );
        landing(&world, &insert).await;
        daemon.caught_up(&world).await;
        assert!(notes(0).await, "the daemon has written none");
        traffic(&world, "ALTER TABLE traffic_leads DROP CONSTRAINT no").await;
        assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
        assert!(notes(2).await);
        let good = "UPDATE landing_leads SET amocrm_lead_id = '5' WHERE name = 'bad' AND phone = '1';
                    UPDATE landing_leads SET email = 'e' WHERE name = 'n'";
        landing(&world, good).await;
        daemon.caught_up(&world).await;
        assert!(notes(1).await);
        landing(&world, "DELETE FROM landing_leads").await;
        caught_up_and_equal(&world, &mut daemon).await;
        assert!(notes(0).await);
    }
    daemon.terminate().await;
}
