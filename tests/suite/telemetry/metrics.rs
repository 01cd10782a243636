//! `GET /metrics` of a running daemon.

use std::collections::BTreeSet;

use leadbridge::throwaway::Shutdown;

use super::exposition::{Exposition, parse};
use crate::cutover::CutoverSetup;
use crate::testkit::{
    Bridge, Daemon, World, brake, caught_up_and_equal, landing, release_brake, traffic, until, until_true,
};

const FORWARD: [(&str, &str); 1] = [("direction", "forward")];
const REVERSE: [(&str, &str); 1] = [("direction", "reverse")];

pub async fn scrape(daemon: &Daemon) -> Exposition {
    parse(&daemon.get("/metrics").await.expect("the daemon answers"))
}

/// Waits until the sample is as wanted.
async fn until_value(
    daemon: &Daemon,
    name: &str,
    labels: &[(&str, &str)],
    wanted: impl Fn(f64) -> bool,
) -> f64 {
    let value = async || scrape(daemon).await.value(name, labels).filter(|value| wanted(*value));
    until(&format!("{name} {labels:?}"), value).await
}

fn value(found: &Exposition, name: &str, labels: &[(&str, &str)]) -> f64 {
    found.value(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in {found:?}"))
}

/// Every label has one of a few values, whatever the rows hold.
fn assert_closed_labels(found: &Exposition) {
    const STATES: [&str; 10] = [
        "starting",
        "snapshot",
        "streaming",
        "standby",
        "fenced",
        "drained",
        "verified",
        "switched",
        "stopped",
        "error",
    ];
    for sample in found.0.values().flat_map(|family| &family.samples) {
        for (label, value) in &sample.labels {
            let closed: &[&str] = match label.as_str() {
                "direction" => &["forward", "reverse"],
                "state" => &STATES,
                "status" => &["reserved", "extended", "unreserved", "lost"],
                "kind" => &["unreachable", "transient"],
                "retrying" => &["true", "false"],
                "table" => &["landing_leads", "journey_stages", "lead_journey", "scheduled_notifications"],
                "version" => &[env!("CARGO_PKG_VERSION")],
                "le" => continue,
                other => panic!("a label that is not expected: {other}"),
            };
            assert!(closed.contains(&value.as_str()), "{label}={value} of {}", sample.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_move_as_rows_are_replicated_and_hold_nobodys_data() {
    let world = World::new().await;
    let filled = world.fill(81, 200).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let before = scrape(&daemon).await;
    let leads = [("table", "landing_leads")];
    assert_eq!(value(&before, "leadbridge_snapshot_rows", &leads), filled.leads as f64);
    assert_eq!(value(&before, "leadbridge_state", &[("state", "streaming")]), 1.0);
    until_value(&daemon, "leadbridge_lag_bytes", &FORWARD, |lag| lag == 0.0).await;

    let rows = value(&before, "leadbridge_rows_applied_total", &[]);
    for n in 0..30 {
        let lead = format!(
            "INSERT INTO landing_leads (name, phone, email) VALUES ('Айгерим', '+7 701 555 00 {n}', 'a{n}@example.kz')"
        );
        landing(&world, &lead).await;
    }
    caught_up_and_equal(&world, &mut daemon).await;
    until_value(&daemon, "leadbridge_rows_applied_total", &[], |now| now == rows + 30.0).await;
    let after = scrape(&daemon).await;
    let moved = |name: &str| value(&after, name, &FORWARD) - value(&before, name, &FORWARD);
    assert!(moved("leadbridge_applied_position_bytes") > 0.0);
    let batches = moved("leadbridge_batch_rows_count");
    assert!((1.0..=30.0).contains(&batches), "{batches}");
    assert_eq!(moved("leadbridge_batch_rows_sum"), 30.0);
    assert!(moved("leadbridge_commit_seconds_count") >= 1.0 && moved("leadbridge_commit_seconds_sum") > 0.0);
    assert!(moved("leadbridge_apply_seconds_sum") > 0.0);
    assert!(value(&after, "leadbridge_local_store_flush_seconds_count", &[]) >= 1.0);
    until_value(&daemon, "leadbridge_queue_rows", &[], |rows| rows == 0.0).await;
    until_value(&daemon, "leadbridge_slot_active", &FORWARD, |active| active == 1.0).await;
    assert_eq!(after.value("leadbridge_slot_limit_bytes", &FORWARD), None, "the server has no limit");

    assert_eq!(value(&after, "leadbridge_quarantined_rows", &FORWARD), 0.0);
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES (repeat('Айгерим', 60), '+7')").await;
    until_value(&daemon, "leadbridge_quarantined_rows", &FORWARD, |rows| rows == 1.0).await;
    let text = daemon.get("/metrics").await.unwrap();
    for word in ["Айгерим", "555", "example", "postgres", "127.0.0.1"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    assert_closed_labels(&parse(&text));
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_session_is_a_retry_and_a_reconnect_and_positions_do_not_fall() {
    let world = World::new().await;
    world.fill(82, 20).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let before = scrape(&daemon).await;
    assert_eq!(value(&before, "leadbridge_reconnects_total", &[]), 0.0);
    let retries = |found: &Exposition| -> f64 {
        ["unreachable", "transient"]
            .map(|kind| value(found, "leadbridge_retries_total", &[("kind", kind)]))
            .iter()
            .sum()
    };
    assert_eq!(retries(&before), 0.0);
    let kill =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leadbridge apply'";
    traffic(&world, kill).await;
    landing(&world, "UPDATE landing_leads SET click_count = 7").await;
    until_value(&daemon, "leadbridge_reconnects_total", &[], |count| count >= 1.0).await;
    caught_up_and_equal(&world, &mut daemon).await;
    let after = scrape(&daemon).await;
    assert!(retries(&after) >= 1.0);
    let position = |found: &Exposition| value(found, "leadbridge_applied_position_bytes", &FORWARD);
    assert!(position(&after) > position(&before));
    assert_eq!(value(&after, "leadbridge_state", &[("state", "error")]), 0.0);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_there_in_a_copy_in_standby_and_without_a_database() {
    let mut world = World::new().await;
    world.fill(83, 100).await;
    brake(&world, 0.2).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 20");
    let mut daemon = bridge.daemon().await;
    until_value(&daemon, "leadbridge_snapshot_rows", &[("table", "landing_leads")], |rows| rows > 0.0).await;
    let copying = scrape(&daemon).await;
    assert_eq!(value(&copying, "leadbridge_state", &[("state", "snapshot")]), 1.0);
    assert_eq!(copying.value("leadbridge_lag_seconds", &FORWARD), None, "not known");
    release_brake(&world).await;
    daemon.caught_up(&world).await;

    let beside = Bridge::new(&world);
    let second = beside.daemon().await;
    until_value(&second, "leadbridge_state", &[("state", "standby")], |is_so| is_so == 1.0).await;
    assert_closed_labels(&scrape(&second).await);
    second.terminate().await;

    world.landing.stop(Shutdown::Immediate).await.unwrap();
    until_value(&daemon, "leadbridge_state", &[("state", "error")], |is_so| is_so == 1.0).await;
    until_true("the lag is not known", async || {
        scrape(&daemon).await.value("leadbridge_lag_seconds", &FORWARD).is_none()
    })
    .await;
    assert_eq!(value(&scrape(&daemon).await, "leadbridge_error", &[("retrying", "true")]), 1.0);
    world.landing.resume().await.unwrap();
    until_value(&daemon, "leadbridge_state", &[("state", "streaming")], |is_so| is_so == 1.0).await;

    world.traffic.stop(Shutdown::Immediate).await.unwrap();
    landing(&world, "UPDATE landing_leads SET click_count = 9").await;
    until_value(&daemon, "leadbridge_state", &[("state", "error")], |is_so| is_so == 1.0).await;
    until_value(&daemon, "leadbridge_lag_bytes", &FORWARD, |lag| lag > 0.0).await;
    world.traffic.resume().await.unwrap();
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cutover_lag_slot_and_batches_are_those_of_reverse_replication() {
    let setup = CutoverSetup::switched().await;
    until_value(&setup.daemon, "leadbridge_reverse_active", &[], |is_so| is_so == 1.0).await;
    until_value(&setup.daemon, "leadbridge_lag_bytes", &REVERSE, |lag| lag == 0.0).await;
    until_value(&setup.daemon, "leadbridge_state", &[("state", "switched")], |is_so| is_so == 1.0).await;
    let before = scrape(&setup.daemon).await;
    let rows = value(&before, "leadbridge_batch_rows_sum", &REVERSE);
    let position = value(&before, "leadbridge_applied_position_bytes", &REVERSE);
    traffic(&setup.world, "INSERT INTO traffic_leads (name, phone) VALUES ('n', '+7')").await;
    // The figures of a batch come with the batch, those of positions and slots with the monitor's next round.
    until_value(&setup.daemon, "leadbridge_batch_rows_sum", &REVERSE, |now| now > rows).await;
    until_value(&setup.daemon, "leadbridge_applied_position_bytes", &REVERSE, |now| now > position).await;
    until_value(&setup.daemon, "leadbridge_lag_seconds", &REVERSE, |lag| lag == 0.0).await;
    until_value(&setup.daemon, "leadbridge_slot_active", &REVERSE, |is_so| is_so == 1.0).await;
    let after = scrape(&setup.daemon).await;
    assert_eq!(after.value("leadbridge_lag_seconds", &FORWARD), None);
    let directions: BTreeSet<_> = after.0["leadbridge_slot_retained_bytes"]
        .samples
        .iter()
        .map(|sample| &sample.labels["direction"])
        .collect();
    assert_eq!(directions.len(), 2, "Landing keeps its slot for a rollback");
    assert_closed_labels(&after);
}
