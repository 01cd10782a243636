//! The largest promised rows inside the memory limit of the unit (guarantees 3.6): four rows of fifty megabytes in
//! one transaction, in snapshot, stream, verify, repair, cutover and finish.
//!
//! The measured build is not optimised. The leads' metadata compresses well, because the servers' time counts, and
//! PostgreSQL sends the same bytes for metadata that does not compress.

use std::path::Path;
use std::time::Duration;

use leadbridge::files::Manifest;
use serde_json::Value;

use crate::finish::switched::switch_over;
use crate::testkit::{Bridge, Daemon, MemoryLimit, Said, World, landing, said_with_peak, traffic, within};

/// Bytes of a lead's metadata, and the number of such leads.
const BYTES: u32 = 50 << 20;
const LEADS: u32 = 4;
/// The servers need seconds for each of the rows.
const PATIENCE: Duration = Duration::from_secs(600);

/// `MemoryMax` of the unit, in bytes.
fn unit_limit() -> u64 {
    let unit = include_str!("../../../deploy/leadbridge.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("MemoryMax=")).expect("the unit has a limit");
    line.strip_suffix('M').expect("in mebibytes").parse::<u64>().unwrap() << 20
}

/// A condition on both sides: the large leads are there, and of equal metadata.
async fn assert_large_leads_equal(world: &World) {
    let digest = |table: &str, columns: &str| {
        format!(
            "SELECT string_agg(md5(concat_ws('/', id, metadata, {columns})), ',' ORDER BY id) FROM {table}"
        )
    };
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let ours = digest("landing_leads", "name, click_count, 'challenge3d'");
    let theirs = digest("traffic_leads", "name, click_count, funnel_type");
    let (ours, theirs) = tokio::join!(landing.query_one(&ours, &[]), traffic.query_one(&theirs, &[]));
    let [ours, theirs]: [String; 2] = [ours.unwrap().get(0), theirs.unwrap().get(0)];
    assert_eq!(ours.split(',').count(), LEADS as usize);
    assert_eq!(ours, theirs);
}

/// A Landing with the large leads, and an installation held to the unit's limit.
async fn large_leads() -> (World, Bridge) {
    let world = World::new().await;
    let sql = format!(
        "INSERT INTO landing_leads (id, name, phone, metadata)
         SELECT md5('lead ' || n)::uuid, 'n', n::text, jsonb_build_object('funnel_type', 'challenge3d',
             'answers', repeat(md5(n::text), {}))
         FROM generate_series(1, {LEADS}) AS n",
        BYTES / 32
    );
    landing(&world, &sql).await;
    let bridge = Bridge::new(&world).limited(MemoryLimit::of(unit_limit()));
    (world, bridge)
}

async fn limited(bridge: &Bridge, arguments: &[&str]) -> Said {
    let (said, peak) = said_with_peak(bridge.command(arguments), PATIENCE).await;
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
    bridge.assert_limit(&arguments.join(" "), peak);
    said
}

async fn switches(bridge: &Bridge, command: &str) {
    let directory = bridge.dir().to_str().unwrap();
    let patience = ["--max-pause", "300s", "--timeout", "600s", "--max-lag-seconds", "300"];
    limited(bridge, &[&[command, "--yes", "--certificate", directory], &patience[..]].concat()).await;
}

async fn daemon_until(daemon: &mut Daemon, what: &str, wanted: impl Fn(&Value) -> bool) {
    within(PATIENCE, what, async || wanted(&daemon.status().await).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_rows_of_fifty_megabytes_are_copied_streamed_and_verified_inside_the_limit_of_the_unit() {
    let (world, bridge) = large_leads().await;
    limited(&bridge, &["run", "--until-caught-up"]).await;
    landing(&world, "UPDATE landing_leads SET click_count = 7, metadata = metadata || '{\"more\": 1}'").await;
    limited(&bridge, &["run", "--until-caught-up"]).await;
    assert_large_leads_equal(&world).await;
    limited(&bridge, &["verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn large_rows_that_differ_are_repaired_inside_the_limit_of_the_unit() {
    let (world, bridge) = large_leads().await;
    limited(&bridge, &["run", "--until-caught-up"]).await;
    let change = "SET session_replication_role = replica;
        UPDATE traffic_leads SET name = 'changed', metadata = metadata || '{\"changed\": true}'";
    traffic(&world, change).await;
    limited(&bridge, &["verify", "--repair"]).await;
    assert_large_leads_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn large_rows_are_switched_by_a_cutover_inside_the_limit_of_the_unit() {
    let (world, bridge) = large_leads().await;
    let mut daemon = bridge.daemon().await;
    daemon_until(&mut daemon, "the daemon streams", |status| status["state"] == "streaming").await;
    switches(&bridge, "cutover").await;
    daemon_until(&mut daemon, "reverse replication runs", |status| status["state"] == "switched").await;
    assert_large_leads_equal(&world).await;
    bridge.assert_limit("the daemon", daemon.peak_memory().expect("it runs"));
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn large_rows_are_backed_up_by_a_finish_inside_the_limit_of_the_unit() {
    let (world, bridge) = large_leads().await;
    limited(&bridge, &["run", "--until-caught-up"]).await;
    switch_over(&world).await;
    // Not in a memory file system, whose files would count as memory of the process.
    let parent = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let directory = parent.path().join("backup");
    limited(&bridge, &["finish", "--yes", "--format", "jsonl", "--backup", directory.to_str().unwrap()])
        .await;
    assert_backed_up(&directory);
}

fn assert_backed_up(directory: &Path) {
    let manifest = Manifest::read(directory).unwrap().unwrap();
    let leads = manifest.tables.iter().find(|table| table.table.contains("landing_leads")).unwrap();
    assert_eq!(leads.rows, u64::from(LEADS));
    assert!(leads.bytes > u64::from(LEADS * BYTES));
}
