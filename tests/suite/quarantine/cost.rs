//! The cost of bad rows: rounds of a batch, never a round for each row.

use super::{quarantined, streaming};
use crate::testkit::{Bridge, World, assert_equal, caught_up_and_equal, holds, landing, traffic};

/// A world whose Traffic logs every statement.
async fn counting() -> World {
    let settings = [("log_statement", "all"), ("log_parameter_max_length", "0")];
    World::with_settings(&[], &settings).await
}

/// How many statements so far contained the text.
fn times(world: &World, sql: &str) -> usize {
    std::fs::read_to_string(world.traffic.log()).unwrap().matches(sql).count()
}

/// How often a range of changes was undone so far.
fn rounds(world: &World) -> usize {
    times(world, "ROLLBACK TO range")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_among_thousands_costs_a_round_for_each_halving_and_no_more() {
    let world = counting().await;
    // The bound in bytes is out of reach, because the end of a batch decides how often the batch can be halved, and
    // the text of a time of day is now and then a byte shorter.
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_bytes = '64MiB'");
    bridge.catch_up().await;
    traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name <> 'bad')").await;
    // 5,000 changes can be halved thirteen times; one more round is for the COPY, and one for the single change.
    for (bad, most) in [("n = 3333", 13 + 2), ("n % 250 = 7", 20 * 10 + 20)] {
        let before = rounds(&world);
        let insert = format!(
            "INSERT INTO landing_leads (name, phone)
             SELECT CASE WHEN {bad} THEN 'bad' ELSE 'good' END, n::text FROM generate_series(1, 5000) AS n"
        );
        landing(&world, &insert).await;
        bridge.catch_up().await;
        let cost = rounds(&world) - before;
        assert!(cost > 0 && cost <= most, "{cost} rounds for {bad}");
    }
    assert_eq!(quarantined(&world).await.len(), 21);
    landing(&world, "UPDATE landing_leads SET name = 'good' WHERE name = 'bad'").await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_rows_that_waited_for_one_lead_come_in_one_round_with_it() {
    let world = counting().await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone) VALUES (repeat('x', 300), '1'), ('good', '2');
         INSERT INTO journey_stages (lead_id, stage)
             SELECT id, n::text FROM landing_leads, generate_series(1, 500) AS n WHERE phone = '1'",
    )
    .await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await.len(), 501);
    let before = rounds(&world);
    // A good change of another lead frees no quarantined row; the lead's own change frees all rows.
    landing(&world, "UPDATE landing_leads SET click_count = 9 WHERE phone = '2'").await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await.len(), 501);
    landing(&world, "UPDATE landing_leads SET name = 'good' WHERE phone = '1'").await;
    bridge.catch_up().await;
    assert_eq!((quarantined(&world).await.len(), rounds(&world) - before), (0, 0));
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_of_a_transaction_larger_than_a_batch_are_quarantined_with_its_commit() {
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 7");
    bridge.catch_up().await;
    traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name <> 'bad')").await;
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone)
             SELECT CASE WHEN n % 11 = 0 THEN 'bad' ELSE 'good' END, n::text FROM generate_series(1, 100) AS n;
         INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM landing_leads",
    )
    .await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await.len(), 18);
    assert!(holds(&world.traffic().await, "count(*) = 91 FROM traffic_leads").await);
    landing(&world, "UPDATE landing_leads SET name = 'good'").await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_columns_are_read_again_only_for_what_is_too_long() {
    let world = counting().await;
    crate::testkit::repeat_numbers(&world).await;
    let (_bridge, mut daemon) = streaming(&world).await;
    let insert = "INSERT INTO landing_leads (name, phone, source, amocrm_lead_id, metadata) SELECT 'n', n::text, 'x',
        'no number', jsonb_build_object('funnel_type', 'webinar', 'answers', noise) FROM generate_series(1, 5) AS n,
        LATERAL (SELECT string_agg(md5(n::text || i), '') AS noise FROM generate_series(1, 150) AS i) AS x";
    let reads = || times(&world, "a.atttypmod > 4");
    // After the arrival of the first row all queries of the start have run.
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('n', '0')").await;
    caught_up_and_equal(&world, &mut daemon).await;
    let before = reads();
    landing(&world, insert).await;
    landing(&world, "UPDATE landing_leads SET amocrm_lead_id = 'still none'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(holds(&world.traffic().await, "count(*) = 11 FROM leadbridge.conversion_notes").await);
    assert_eq!(reads(), before, "nothing is too long");
    landing(&world, "UPDATE landing_leads SET source = repeat('s', 60) WHERE phone = '1'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    let cut = reads();
    assert!(cut > before, "a value was cut");
    landing(&world, "UPDATE landing_leads SET name = repeat('n', 300) WHERE phone = '2'").await;
    daemon.caught_up(&world).await;
    assert!(reads() > cut, "a row was refused");
    daemon.terminate().await;
}
