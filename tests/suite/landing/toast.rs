//! Values that the stream leaves out because an update did not change the TOASTed value.

use serde_json::Value;

use crate::testkit::{
    Bridge, World, assert_equal, caught_up_and_equal, commits_wait, holds, landing, traffic, until_holds,
};

/// A lead with more than 2 kB of incompressible metadata, and a journey entry with the same.
async fn with_large_leads() -> (World, Bridge) {
    let world = World::new().await;
    let sql = "INSERT INTO landing_leads (id, name, phone, source, metadata)
             SELECT md5(n::text)::uuid, 'lead', '1', 'twland', jsonb_build_object(
                 'utm_source', 'kenjifb', 'utm_campaign', 'c' || n, 'funnel_type',
                 CASE n % 2 WHEN 0 THEN 'intensive1d' END, 'answers', noise) FROM generate_series(1, 20) AS n,
             LATERAL (SELECT string_agg(md5(n::text || i), '') AS noise FROM generate_series(1, 150) AS i) AS x;
         INSERT INTO journey_stages (lead_id, stage, metadata)
             SELECT id, 'proftest_submitted', metadata FROM landing_leads";
    world.landing().await.batch_execute(sql).await.unwrap();
    let toasted = "min(pg_column_size(metadata)) > 2000 FROM landing_leads";
    assert!(holds(&world.landing().await, toasted).await);
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    (world, bridge)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_toasted_value_and_all_that_is_derived_from_it_keep_their_value() {
    let (world, bridge) = with_large_leads().await;
    let mut daemon = bridge.daemon().await;
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    caught_up_and_equal(&world, &mut daemon).await;
    // funnel_type comes from metadata and source: the metadata's intensive1d yields to a source with challenge.
    landing(&world, "UPDATE landing_leads SET source = 'Challenge3D_x'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(holds(&world.traffic().await, "bool_and(funnel_type = 'challenge3d') FROM traffic_leads").await);
    landing(&world, "UPDATE landing_leads SET source = 'twland'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    let both = "count(*) FILTER (WHERE funnel_type = 'intensive1d') = 10
        AND count(*) FILTER (WHERE funnel_type = 'express') = 10
        AND bool_and(utm_source = 'kenjifb' AND metadata ? 'answers') FROM traffic_leads";
    assert!(holds(&world.traffic().await, both).await);
    landing(&world, "UPDATE journey_stages SET stage = 'payment_kaspi'").await;
    // Several changes of one row in one transaction, with a changed key among them.
    landing(
        &world,
        "BEGIN; DELETE FROM journey_stages; UPDATE landing_leads SET name = 'a';
         UPDATE landing_leads SET id = gen_random_uuid(); UPDATE landing_leads SET name = 'b'; COMMIT",
    )
    .await;
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_missing_on_traffic_is_read_from_landing() {
    let (world, bridge) = with_large_leads().await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    // Leads deleted by hand, with their entries: a lead returns with its next change, each entry with its own.
    traffic(
        &world,
        "DELETE FROM traffic_leads WHERE id IN (SELECT id FROM traffic_leads ORDER BY id LIMIT 7)",
    )
    .await;
    landing(&world, "UPDATE landing_leads SET click_count = 2").await;
    landing(&world, "UPDATE journey_stages SET stage = 'payment_card'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    // In one transaction, the child first.
    traffic(
        &world,
        "DELETE FROM traffic_leads WHERE id IN (SELECT id FROM traffic_leads ORDER BY id LIMIT 7)",
    )
    .await;
    landing(
        &world,
        "BEGIN; UPDATE journey_stages SET stage = 'payment_manager'; UPDATE landing_leads SET click_count = 3; COMMIT",
    )
    .await;
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_a_row_that_is_gone_on_both_sides_is_dropped_and_nothing_stops() {
    let (world, bridge) = with_large_leads().await;
    // While the daemon is down: changed, then deleted; and on Traffic deleted by hand.
    landing(&world, "UPDATE landing_leads SET click_count = 4").await;
    landing(&world, "UPDATE journey_stages SET stage = 'payment_card'").await;
    landing(
        &world,
        "DELETE FROM landing_leads WHERE id IN (SELECT id FROM landing_leads ORDER BY id LIMIT 5)",
    )
    .await;
    // Gone under the old key, present under the new key.
    landing(
        &world,
        "DELETE FROM journey_stages WHERE lead_id IN (SELECT id FROM landing_leads ORDER BY id LIMIT 5);
         UPDATE landing_leads SET id = gen_random_uuid() WHERE id IN (SELECT id FROM landing_leads ORDER BY id LIMIT 5)",
    )
    .await;
    traffic(&world, "DELETE FROM traffic_leads").await;
    let mut daemon = bridge.daemon().await;
    caught_up_and_equal(&world, &mut daemon).await;
    until_holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.quarantine").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_read_from_landing_is_never_older_than_the_change_that_asked_for_it() {
    let (world, bridge) = with_large_leads().await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    // A commit that waits for a standby is streamed already, but no other session sees the commit.
    commits_wait(&world.landing_url()).await;
    traffic(&world, "DELETE FROM traffic_leads").await;
    let change = landing(&world, "UPDATE landing_leads SET id = gen_random_uuid() WHERE false;
         BEGIN; UPDATE journey_stages SET stage = 'payment_manager'; UPDATE landing_leads SET click_count = 3; COMMIT");
    let release = async {
        let client = world.landing().await;
        until_holds(&client, "count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
        // The daemon has asked for the rows, and waits for the transaction.
        until_holds(
            &client,
            "count(*) = 1 FROM pg_stat_activity WHERE application_name = 'leadbridge control' \
             AND query LIKE '%pg_visible_in_snapshot%'",
        )
        .await;
        client.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    tokio::join!(change, release);
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_traffic_changed_of_unsent_metadata_stays_and_is_counted_apart_until_landing_sends_it() {
    let (world, bridge) = with_large_leads().await;
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone, metadata) VALUES ('small', '2', '{\"utm_source\": \"x\"}')",
    )
    .await;
    bridge.catch_up().await;
    traffic(
        &world,
        "UPDATE traffic_leads SET metadata = metadata || '{\"on\": \"Traffic\"}';
         UPDATE traffic_lead_journey SET metadata = '{\"on\": \"Traffic\"}'",
    )
    .await;
    landing(
        &world,
        "UPDATE landing_leads SET phone = '3'; UPDATE journey_stages SET stage = 'payment_kaspi'",
    )
    .await;
    bridge.catch_up().await;
    let stays = "count(*) = 20 FROM traffic_leads WHERE metadata ->> 'on' = 'Traffic' AND phone = '3' AND name <> 'small'";
    assert!(holds(&world.traffic().await, stays).await);
    let restored = "count(*) = 1 FROM traffic_leads WHERE metadata ->> 'on' IS NULL AND name = 'small'";
    assert!(holds(&world.traffic().await, restored).await, "a small document is sent with each change");
    let said = bridge.run(&["verify", "--json"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let found: Value = serde_json::from_str(&said.out).unwrap();
    for (table, column) in [(0, "metadata"), (1, "metadata")] {
        let table = &found["tables"][table];
        assert_eq!((&table["changed_on_traffic"], &table["different"]), (&20.into(), &0.into()), "{table}");
        let example = &table["examples"][0];
        assert_eq!(
            (&example["kind"], &example["columns"][0]),
            (&"changed".into(), &column.into()),
            "{example}"
        );
    }
    let said = bridge.run(&["verify"]).await;
    assert!(said.out.contains("was changed on Traffic in metadata"), "{}", said.out);
    // A repair does not touch a row without a difference.
    assert_eq!(bridge.run(&["verify", "--repair"]).await.code, 0);
    assert!(holds(&world.traffic().await, stays).await);
    landing(
        &world,
        "UPDATE landing_leads SET metadata = metadata || '{\"sent\": 1}'; UPDATE journey_stages SET metadata = metadata || '{\"sent\": 1}'",
    )
    .await;
    bridge.catch_up().await;
    assert_equal(&world).await;
}
