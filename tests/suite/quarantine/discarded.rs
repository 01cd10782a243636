//! Discarded rows: no work for the operator any more, but not forgotten.

use super::{pair, quarantined, streaming};
use crate::testkit::{
    Bridge, World, assert_equal, caught_up_and_equal, differences, holds, landing, one, traffic,
};

const LEAD: &str = "00000000-0000-0000-0000-0000000000cc";

/// Incompressible metadata, so that PostgreSQL stores the value out of line.
fn large(seed: &str) -> String {
    format!(
        "(SELECT jsonb_build_object('utm_source', '{seed}', 'answers', string_agg(md5('{seed}' || i), ''))
          FROM generate_series(1, 150) AS i)"
    )
}

/// Discards every quarantined row.
async fn discard_all(world: &World, bridge: &Bridge) {
    let ids = "SELECT array_agg(id::text) FROM leadbridge.quarantine WHERE discarded_at IS NULL";
    let ids: Vec<String> = one(&world.traffic().await, ids).await;
    let arguments: Vec<&str> =
        ["quarantine", "discard", "--yes"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let discarded = bridge.run(&arguments).await;
    assert_eq!(discarded.code, 0, "{}", discarded.err);
    assert_eq!(quarantined(world).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_a_later_change_does_not_send_are_those_of_the_row_that_was_discarded() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    landing(
        &world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone, metadata) VALUES ('{LEAD}', 'n', '1', {});
             INSERT INTO journey_stages (lead_id, stage, metadata) VALUES ('{LEAD}', 'good', {})",
            large("first"),
            large("first")
        ),
    )
    .await;
    bridge.catch_up().await;
    traffic(&world, "ALTER TABLE traffic_lead_journey ADD CONSTRAINT no CHECK (stage <> 'bad')").await;
    landing(
        &world,
        &format!(
            "UPDATE landing_leads SET name = repeat('x', 300), metadata = {};
             UPDATE journey_stages SET stage = 'bad', metadata = {}",
            large("second"),
            large("second")
        ),
    )
    .await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await, [pair("landing_leads", "22001"), pair("lead_journey", "23514")]);
    discard_all(&world, &bridge).await;
    // Another process, which must find out by itself whether a discarded image exists.
    let good = "UPDATE landing_leads SET name = 'good'; UPDATE journey_stages SET stage = 'good'";
    landing(&world, good).await;
    bridge.catch_up().await;
    assert_equal(&world).await;
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.quarantine").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_takes_what_was_discarded_along_and_a_row_that_is_bad_again_waits_again() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    let insert = format!(
        "INSERT INTO landing_leads (id, name, phone, metadata) VALUES ('{LEAD}', 'n', '1', {})",
        large("first")
    );
    landing(&world, &insert).await;
    caught_up_and_equal(&world, &mut daemon).await;
    let update = format!("UPDATE landing_leads SET name = repeat('x', 300), metadata = {}", large("second"));
    landing(&world, &update).await;
    daemon.caught_up(&world).await;
    discard_all(&world, &bridge).await;
    landing(&world, "UPDATE landing_leads SET id = gen_random_uuid(), phone = '2'").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [pair("landing_leads", "22001")]);
    assert!(
        holds(
            &world.traffic().await,
            "bool_and(row_data ->> 'metadata' LIKE '%second%' AND attempts = 1) FROM leadbridge.quarantine"
        )
        .await
    );
    discard_all(&world, &bridge).await;
    landing(&world, "UPDATE landing_leads SET id = gen_random_uuid(), name = 'good'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.quarantine").await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_discarded_is_neither_listed_nor_counted_nor_tried_until_its_next_change() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    let insert = format!(
        "INSERT INTO landing_leads (id, name, phone) VALUES ('{LEAD}', repeat('x', 300), '1');
         INSERT INTO journey_stages (lead_id, stage) VALUES ('{LEAD}', 'given up')"
    );
    landing(&world, &insert).await;
    daemon.caught_up(&world).await;
    daemon.until("status counts them", |status| status["quarantined"] == 2).await;
    let traffic = world.traffic().await;
    let stage = "SELECT id::text FROM leadbridge.quarantine WHERE source_table = 'lead_journey'";
    let stage: String = one(&traffic, stage).await;
    assert_eq!(bridge.run(&["quarantine", "discard", "--yes", &stage]).await.code, 0);
    daemon.until("status counts one", |status| status["quarantined"] == 1).await;
    for command in [["quarantine", "show"], ["quarantine", "discard"]] {
        let arguments: Vec<&str> = command.into_iter().chain([stage.as_str()]).collect();
        let arguments =
            if command[1] == "discard" { [&arguments[..], &["--yes"]].concat() } else { arguments };
        assert_eq!(bridge.run(&arguments).await.code, 4, "{command:?}");
    }
    // The discarded entry's lead arrives by itself, and a retry names the entry: the entry stays discarded.
    landing(&world, "UPDATE landing_leads SET name = 'good'").await;
    daemon.caught_up(&world).await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_eq!(bridge.run(&["quarantine", "retry", &stage]).await.code, 0);
    assert_eq!(bridge.run(&["quarantine", "list"]).await.out, "Quarantine is empty.\n");
    let status = bridge.run(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(status["quarantined"], 0);
    assert_eq!(differences(&world).await.len(), 1, "only the stage that was given up is not there");
    landing(&world, "UPDATE journey_stages SET stage = 'taken up again'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(holds(&traffic, "count(*) = 0 FROM leadbridge.quarantine").await);
    daemon.terminate().await;
}
