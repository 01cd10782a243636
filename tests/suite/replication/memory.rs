//! Memory is counted in bytes: many large rows are held a few at a time, wherever rows are collected.
//!
//! The batches are small here, so that some 40 MB of rows exceed the budget many times. The measured build is not
//! optimised.

use std::time::Duration;

use crate::cutover::CutoverSetup;
use crate::testkit::{
    Bridge, Daemon, Said, World, assert_peak, caught_up_and_equal, holds, landing, one, said_with_peak,
    traffic, until_holds,
};

const CONFIGURATION: &str = "[stream]\nbatch_bytes = \"256KiB\"";
/// Bound of every leadbridge process's resident memory in these tests, in bytes.
const MEMORY: u64 = 96 << 20;
/// Number of leads with a hundred kilobytes each.
const LEADS: u32 = 400;

/// Metadata of about the given number of kilobytes, which PostgreSQL cannot compress.
fn metadata(of: &str, kilobytes: u32) -> String {
    format!(
        "jsonb_build_object('answers', (SELECT string_agg(md5({of} || ' ' || k), '') FROM generate_series(1, {}) AS k))",
        kilobytes * 32
    )
}

/// [`LEADS`] leads on both sides, and a streaming daemon.
async fn large_leads() -> (World, Bridge, Daemon) {
    let world = World::new().await;
    let leads = format!(
        "INSERT INTO landing_leads (id, name, phone, metadata)
         SELECT md5('lead ' || n)::uuid, 'n', n::text, {} FROM generate_series(1, {LEADS}) AS n",
        metadata("n::text", 100)
    );
    landing(&world, &leads).await;
    let bridge = Bridge::new(&world).configured(CONFIGURATION);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    (world, bridge, daemon)
}

fn assert_bounded(daemon: &Daemon) {
    assert_peak(daemon.peak_memory().expect("it runs"), MEMORY);
}

async fn bounded(bridge: &Bridge, arguments: &[&str]) -> Said {
    let (said, peak) = said_with_peak(bridge.command(arguments), Duration::from_secs(120)).await;
    assert_peak(peak, MEMORY);
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_leads_that_traffic_lacks_are_read_from_landing_a_few_at_a_time() {
    let (world, _bridge, mut daemon) = large_leads().await;
    traffic(&world, "DELETE FROM traffic_leads").await;
    // The metadata is not sent again.
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_bounded(&daemon);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_large_rows_are_read_ahead_while_traffic_is_held_up() {
    const BYTES: u32 = 2 << 20;
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured(CONFIGURATION);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let held = world.traffic().await;
    held.batch_execute("BEGIN; LOCK TABLE traffic_leads").await.unwrap();
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('waits', '1')").await;
    let waits = "count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'leadbridge%'";
    until_holds(&world.traffic().await, waits).await;
    let large = format!(
        "INSERT INTO landing_leads (name, phone, metadata)
         SELECT 'large', n::text, jsonb_build_object('answers', repeat(md5(n::text), {})) FROM generate_series(1, 100) AS n",
        BYTES / 32
    );
    landing(&world, &large).await;
    let server = world.landing().await;
    let end: String = one(&server, "SELECT pg_current_wal_insert_lsn()::text").await;
    // The server has sent everything, or the connection is full, or the stream has ended to begin again.
    let full = format!(
        "coalesce(bool_or(r.sent_lsn >= '{end}' OR a.wait_event = 'WalSenderWriteData'), true)
         FROM pg_stat_replication AS r JOIN pg_stat_activity AS a ON a.pid = r.pid"
    );
    until_holds(&server, &full).await;
    held.batch_execute("COMMIT").await.unwrap();
    caught_up_and_equal(&world, &mut daemon).await;
    assert_peak(daemon.peak_memory().expect("it runs"), MEMORY + 8 * u64::from(BYTES));
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_rows_in_quarantine_are_read_and_tried_again_a_few_at_a_time() {
    let (world, bridge, mut daemon) = large_leads().await;
    let all = |status: &serde_json::Value| status["quarantined"] == LEADS;
    landing(&world, "UPDATE landing_leads SET name = repeat('n', 300)").await;
    daemon.until("all are quarantined", all).await;
    // The leads' metadata is in quarantine, and not sent again.
    landing(&world, "UPDATE landing_leads SET click_count = 2").await;
    daemon.caught_up(&world).await;
    // The views block the next statement.
    let wider = "DO $$ DECLARE v regclass; BEGIN
            FOR v IN SELECT oid FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace LOOP
                EXECUTE format('DROP VIEW IF EXISTS %s CASCADE', v);
            END LOOP;
        END $$;
        ALTER TABLE traffic_leads ALTER name TYPE varchar(400)";
    traffic(&world, wider).await;
    let said = bounded(&bridge, &["quarantine", "retry"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.starts_with(&format!("{LEADS} of {LEADS} ")), "{}", said.out);
    caught_up_and_equal(&world, &mut daemon).await;
    assert_bounded(&daemon);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_rows_that_differ_are_compared_and_repaired_a_few_at_a_time() {
    let (world, bridge, daemon) = large_leads().await;
    let change = "SET session_replication_role = replica;
        UPDATE traffic_leads SET name = 'changed', metadata = metadata || '{\"changed\": true}'";
    traffic(&world, change).await;
    let said = bounded(&bridge, &["verify"]).await;
    assert_eq!(said.code, 1, "{}", said.err);
    daemon.terminate().await;
    let said = bounded(&bridge, &["verify", "--repair"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let equal = "NOT EXISTS (SELECT FROM traffic_leads WHERE metadata ? 'changed')";
    assert!(holds(&world.traffic().await, equal).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_rows_flow_back_to_landing_a_few_at_a_time() {
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured(CONFIGURATION);
    let setup = CutoverSetup::between(world, bridge).await;
    setup.switches(&[]).await;
    let large = format!(
        "INSERT INTO traffic_leads (name, phone, landing_source, metadata)
         SELECT 'large', n::text, 'twland', jsonb_build_object('answers', repeat(md5(n::text), 3200))
         FROM generate_series(1, {LEADS}) AS n"
    );
    traffic(&setup.world, &large).await;
    let there = format!("count(*) = {LEADS} FROM landing_leads WHERE name = 'large'");
    until_holds(&setup.world.landing().await, &there).await;
    // Both sides have the leads now.
    traffic(&setup.world, "UPDATE traffic_leads SET click_count = 3 WHERE name = 'large'").await;
    let changed = format!("count(*) = {LEADS} FROM landing_leads WHERE name = 'large' AND click_count = 3");
    until_holds(&setup.world.landing().await, &changed).await;
    assert_bounded(&setup.daemon);
}
