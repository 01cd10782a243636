//! Large and awkward: transactions and rows far larger than a batch, in bounded memory, and never half applied.
//!
//! These tests take minutes, so only `make test-large` runs them.

use std::fmt::Display;
use std::time::Duration;

use crate::cutover::CutoverSetup;
use crate::testkit::{
    Bridge, Daemon, World, assert_equal, assert_peak, caught_up_and_equal, holds, landing, one,
    said_with_peak, within,
};

/// Bound of the daemon's resident memory under any load, in bytes. The measured build is not optimised.
const MEMORY: u64 = 96 << 20;
/// A row is one message of the protocol, so the daemon holds the row whole: as received, as parameters, and as sent.
const COPIES_OF_A_ROW: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(900);

/// Leads `from..=to`, with some 300 bytes of metadata each.
fn leads(from: impl Display, to: impl Display) -> String {
    format!(
        "INSERT INTO landing_leads (id, name, phone, source, metadata)
         SELECT md5('lead ' || n)::uuid, 'n', '+7 (701) ' || n, 'twland',
                jsonb_build_object('utm_source', 'kenji' || n % 50, 'utmParams', jsonb_build_object('utm_term', n),
                                   'answers', repeat(md5(n::text), 7))
         FROM generate_series({from}, {to}) AS n"
    )
}

/// Two journey entries for each lead of the range.
fn stages(from: u32, to: u32) -> String {
    format!(
        "INSERT INTO journey_stages (id, lead_id, stage)
         SELECT md5('stage ' || n || ' ' || k)::uuid, md5('lead ' || n)::uuid, 'payment_kaspi'
         FROM generate_series({from}, {to}) AS n, generate_series(1, 2) AS k"
    )
}

/// Looks at Traffic until `whole` reports that a transaction is applied completely. Fails on a partial transaction;
/// `whole` returns null while no part is applied.
async fn watch_for_halves(world: &World, whole: &str) {
    let traffic = world.traffic().await;
    within(PATIENCE, "the whole transaction is there", async || {
        let seen: Option<bool> = one(&traffic, whole).await;
        seen.expect("half a transaction is visible on Traffic").then_some(())
    })
    .await;
}

fn assert_bounded(daemon: &Daemon, bound: u64) {
    assert_peak(daemon.peak_memory().expect("it runs"), bound);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn a_transaction_of_a_million_row_changes_is_seen_whole_or_not_at_all_and_memory_stays_bounded() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let whole = "SELECT CASE WHEN l = 0 AND s = 0 THEN false \
                             WHEN l = 250000 AND s = 500000 AND u = 250000 THEN true END \
                 FROM (SELECT (SELECT count(*) FROM traffic_leads) AS l, \
                              (SELECT count(*) FROM traffic_lead_journey) AS s, \
                              (SELECT count(*) FROM traffic_leads WHERE click_count = 9) AS u) AS seen";
    let (leads, stages) = (leads(1, 250_000), stages(1, 250_000));
    let million = format!("BEGIN; {leads}; {stages}; UPDATE landing_leads SET click_count = 9; COMMIT");
    tokio::join!(landing(&world, &million), watch_for_halves(&world, whole));
    caught_up_and_equal(&world, &mut daemon).await;
    assert_bounded(&daemon, MEMORY);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn two_hundred_thousand_leads_deleted_by_cascade_are_gone_at_once_with_what_belongs_to_them() {
    let world = World::new().await;
    landing(&world, &format!("{}; {}", leads(1, 220_000), stages(1, 220_000))).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    within(PATIENCE, "the copy is complete", async || {
        (daemon.status().await["state"] == "streaming").then_some(())
    })
    .await;
    let sales =
        "INSERT INTO traffic_sales (lead_id, amount) SELECT id, 1 FROM traffic_leads ORDER BY id LIMIT 1000";
    let traffic = world.traffic().await;
    traffic.batch_execute(sales).await.unwrap();
    let whole = "SELECT CASE WHEN l = 220000 AND s = 440000 THEN false WHEN l = 20000 AND s = 40000 THEN true END \
                 FROM (SELECT (SELECT count(*) FROM traffic_leads) AS l, \
                              (SELECT count(*) FROM traffic_lead_journey) AS s) AS seen";
    // All leads but the last 20,000 by id: Landing's foreign key deletes their entries as well.
    let cascade =
        "DELETE FROM landing_leads WHERE id IN (SELECT id FROM landing_leads ORDER BY id LIMIT 200000)";
    tokio::join!(landing(&world, cascade), watch_for_halves(&world, whole));
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(holds(&traffic, "count(*) = 1000 FROM traffic_sales WHERE lead_id IS NULL").await);
    assert_bounded(&daemon, MEMORY);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn a_hundred_thousand_tiny_transactions_as_fast_as_landing_commits_end_exact_in_bounded_memory() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let burst = format!(
        "SET synchronous_commit = off;
         CREATE PROCEDURE burst() LANGUAGE plpgsql AS $$ BEGIN
             FOR k IN 1..33000 LOOP
                 {lead}; COMMIT;
                 INSERT INTO journey_stages (id, lead_id, stage)
                     VALUES (md5('stage ' || k)::uuid, md5('lead ' || k)::uuid, 's'); COMMIT;
                 UPDATE landing_leads SET click_count = k WHERE id = md5('lead ' || k % 1000)::uuid; COMMIT;
             END LOOP; END $$",
        lead = leads("k", "k"),
    );
    let client = world.landing().await;
    client.batch_execute(&burst).await.unwrap();
    let begun = std::time::Instant::now();
    client.batch_execute("CALL burst()").await.unwrap();
    eprintln!("{:.0} transactions a second on Landing", 99_000.0 / begun.elapsed().as_secs_f64());
    caught_up_and_equal(&world, &mut daemon).await;
    eprintln!("{:.0} transactions a second to the end", 99_000.0 / begun.elapsed().as_secs_f64());
    assert_bounded(&daemon, MEMORY);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn a_row_with_fifty_megabytes_of_metadata_is_copied_streamed_left_alone_quarantined_and_deleted() {
    const BYTES: u64 = 50 << 20;
    let huge = format!(
        "jsonb_build_object('funnel_type', 'challenge3d', 'answers', \
         (SELECT string_agg(md5(n::text), '') FROM generate_series(1, {}) AS n))",
        BYTES / 32
    );
    let insert = |name: &str, n: u8| {
        format!(
            "INSERT INTO landing_leads (id, name, phone, metadata) VALUES (md5('{n}')::uuid, '{name}', '1', {huge})"
        )
    };
    let world = World::new().await;
    landing(&world, &insert("copied", 1)).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    assert_equal(&world).await;
    landing(&world, &insert("streamed", 2)).await;
    caught_up_and_equal(&world, &mut daemon).await;
    // The metadata is not sent again; the funnel is computed from the metadata on Traffic.
    landing(&world, "UPDATE landing_leads SET source = 'my intensive', click_count = 4").await;
    caught_up_and_equal(&world, &mut daemon).await;
    landing(&world, "UPDATE landing_leads SET metadata = metadata || '{\"utm_source\": \"x\"}'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    // Too long for Traffic: the row is quarantined whole, and good again without a new copy of its metadata.
    landing(&world, "UPDATE landing_leads SET name = repeat('n', 300), source = 'x' WHERE name = 'copied'")
        .await;
    daemon.until("the row is quarantined", |status| status["quarantined"] == 1).await;
    landing(&world, "UPDATE landing_leads SET name = 'good again' WHERE name LIKE 'nnn%'").await;
    daemon.until("the row is free", |status| status["quarantined"] == 0).await;
    caught_up_and_equal(&world, &mut daemon).await;
    landing(&world, "DELETE FROM landing_leads").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_bounded(&daemon, MEMORY + COPIES_OF_A_ROW * BYTES);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn one_flipped_boolean_in_a_million_rows_is_found_in_bounded_memory() {
    let world = World::new().await;
    landing(&world, &leads(1, 340_000)).await;
    landing(&world, &stages(1, 340_000)).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    let copied = async || (daemon.status().await["state"] == "streaming").then_some(());
    within(PATIENCE, "the copy is complete", copied).await;
    // Triggers are off, so that no trigger stamps the row.
    let flip = "SET session_replication_role = replica;
        UPDATE traffic_leads SET email_clicked = NOT email_clicked WHERE id = md5('lead 271828')::uuid";
    world.traffic().await.batch_execute(flip).await.unwrap();

    let (said, peak) = said_with_peak(bridge.command(&["verify", "--json"]), PATIENCE).await;
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    eprintln!("{} rows per second", found["rows_per_second"]);
    assert_eq!(said.code, 1, "{found}");
    let rows = |at: usize| found["tables"][at]["landing_rows"].as_u64().unwrap();
    assert_eq!(rows(0) + rows(1), 1_020_000);
    let different = |at: usize| found["tables"][at]["different"].as_u64().unwrap();
    assert_eq!((different(0), different(1)), (1, 0), "{found}");
    assert_eq!(found["tables"][0]["examples"][0]["columns"], serde_json::json!(["email_clicked"]));
    assert_peak(peak, MEMORY);
}

/// An hour of a busy school, at once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn a_hundred_thousand_changes_of_traffic_flow_back_and_a_rollback_has_them_all() {
    let mut setup = CutoverSetup::switched().await;
    let burst = "SET synchronous_commit = off;
         CREATE PROCEDURE burst() LANGUAGE plpgsql AS $$ BEGIN
             FOR k IN 1..33000 LOOP
                 INSERT INTO traffic_leads (id, name, phone, landing_source, metadata) VALUES
                     (md5('lead ' || k)::uuid, 'n', '+7', 'twland', '{\"utm_source\": \"kenji\"}'); COMMIT;
                 INSERT INTO traffic_lead_journey (id, lead_id, stage)
                     VALUES (md5('stage ' || k)::uuid, md5('lead ' || k)::uuid, 's'); COMMIT;
                 UPDATE traffic_leads SET click_count = k WHERE id = md5('lead ' || k % 1000)::uuid; COMMIT;
             END LOOP; END $$";
    let client = setup.world.traffic().await;
    client.batch_execute(burst).await.unwrap();
    let begun = std::time::Instant::now();
    client.batch_execute("CALL burst()").await.unwrap();
    eprintln!("{:.0} transactions a second on Traffic", 99_000.0 / begun.elapsed().as_secs_f64());
    let landing = setup.world.landing().await;
    let there = "count(*) = 33000 FROM journey_stages WHERE stage = 's'";
    within(PATIENCE, "the last stage is on Landing", async || holds(&landing, there).await.then_some(()))
        .await;
    eprintln!("{:.0} transactions a second to the end", 99_000.0 / begun.elapsed().as_secs_f64());
    assert_bounded(&setup.daemon, MEMORY);
    setup.rolls_back(&["--max-pause", "60s", "--timeout", "300s"]).await;
    setup.assert_rolled_back().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn a_row_of_which_quarantine_could_hold_no_image_waits_by_its_key_and_everything_else_flows() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let name = "INSERT INTO landing_leads (name, phone) VALUES (repeat('x', 280 << 20), '1'), ('n', '2')";
    landing(&world, name).await;
    daemon.caught_up(&world).await;
    let client = world.traffic().await;
    let held = "count(*) = 1 FROM leadbridge.quarantine WHERE row_data IS NULL AND message LIKE '%too large to be kept%'";
    assert!(holds(&client, held).await);
    landing(&world, "UPDATE landing_leads SET name = 'short' WHERE phone = '1'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(holds(&client, "count(*) = 0 FROM leadbridge.quarantine").await);
    assert_bounded(&daemon, (280 << 20) * COPIES_OF_A_ROW);
    daemon.terminate().await;
}
