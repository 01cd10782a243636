//! Traffic's publication must stay as it was at the switch: while it is altered, changes are missing on Landing
//! although the lag is 0.

use nix::sys::signal::Signal;

use super::exact::assert_back;
use super::switch::{carried, switch};
use crate::cutover::CutoverSetup;
use crate::testkit::{Bridge, World, assert_refused, ends_refused, holds, one, traffic, until_true};

const WHOLE: &str = "ALTER PUBLICATION leadbridge_reverse SET (publish = 'insert, update, delete, truncate')";

async fn switched(world: &World) -> Bridge {
    world.fill(270, 20).await;
    let bridge = Bridge::new(world);
    bridge.catch_up().await;
    switch(world, &bridge).await;
    bridge
}

/// Each alteration, and the statement that leaves the publication whole again.
const ALTERATIONS: [(&str, &str, &str); 5] = [
    ("ALTER PUBLICATION leadbridge_reverse SET (publish = 'insert')", WHOLE, "was altered"),
    (
        "ALTER PUBLICATION leadbridge_reverse DROP TABLE traffic_leads",
        "ALTER PUBLICATION leadbridge_reverse ADD TABLE traffic_leads",
        "traffic_leads was taken out of the publication",
    ),
    (
        "ALTER PUBLICATION leadbridge_reverse SET TABLE traffic_leads WHERE (id IS NULL), traffic_lead_journey",
        "ALTER PUBLICATION leadbridge_reverse SET TABLE traffic_leads, traffic_lead_journey",
        "traffic_leads was taken out of the publication",
    ),
    (
        "ALTER PUBLICATION leadbridge_reverse SET TABLE traffic_leads (id), traffic_lead_journey",
        "ALTER PUBLICATION leadbridge_reverse SET TABLE traffic_leads, traffic_lead_journey",
        "traffic_leads was taken out of the publication",
    ),
    (
        "DROP PUBLICATION leadbridge_reverse",
        "CREATE PUBLICATION leadbridge_reverse FOR TABLE traffic_leads, traffic_lead_journey",
        "recreated",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_publication_that_is_whole_again_is_refused_at_the_start_by_a_rollback_and_by_finish() {
    let world = World::new().await;
    let bridge = switched(&world).await;
    bridge.catch_up().await;
    for (alter, put_back, says) in ALTERATIONS {
        traffic(&world, alter).await;
        // The server cannot decode a change from a time without the publication.
        if !alter.starts_with("DROP PUBLICATION") {
            traffic(&world, "UPDATE traffic_leads SET click_count = coalesce(click_count, 0) + 1").await;
        }
        traffic(&world, put_back).await;
        let words = ["leadbridge_reverse", says, "may not have been sent"];
        assert_refused(&bridge.run(&["run"]).await, &words);
        assert_refused(&bridge.run(&["finish", "--yes", "--max-behind", "1h"]).await, &words);
        assert!(!bridge.state_dir().join("backups").exists());
        let said = bridge.run(&["rollback", "--dry-run"]).await;
        assert!(said.code == 1 && said.out.contains(says), "{}", said.out);
        // What the remedy says: the new state is accepted, and what was written meanwhile is written again.
        traffic(&world, "UPDATE leadbridge.reverse SET published = NULL").await;
        bridge.catch_up().await;
        traffic(&world, "UPDATE traffic_leads SET id = id; UPDATE traffic_lead_journey SET id = id").await;
        bridge.catch_up().await;
        assert_back(&world, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alteration_ends_a_running_daemon_within_seconds() {
    let world = World::new().await;
    let bridge = switched(&world).await;
    for (alter, put_back, _) in ALTERATIONS {
        let mut daemon = bridge.daemon().await;
        carried(&world, &mut daemon).await;
        traffic(&world, &format!("BEGIN; {alter}; {put_back}; COMMIT")).await;
        ends_refused(&mut daemon, &["leadbridge_reverse"]).await;
        traffic(&world, "UPDATE leadbridge.reverse SET published = NULL").await;
    }
}

/// The daemon stands still from the cutover's hook on, so that only the cutover itself can have recorded the
/// publication.
#[tokio::test(flavor = "multi_thread")]
async fn the_switch_itself_records_the_publication() {
    let mut setup = CutoverSetup::new().await;
    let hook = format!("test $LEADBRIDGE_EVENT != switch || kill -STOP {}", setup.daemon.pid());
    setup.switches(&["--hook", &hook]).await;
    let recorded: Option<String> =
        one(&setup.world.traffic().await, "SELECT published FROM leadbridge.reverse").await;
    assert!(recorded.is_some_and(|record| record.contains("traffic_leads")));
    let alter = "ALTER PUBLICATION leadbridge_reverse SET (publish = 'insert')";
    traffic(&setup.world, &format!("{alter}; {WHOLE}")).await;
    setup.daemon.signal(Signal::SIGCONT);
    ends_refused(&mut setup.daemon, &["leadbridge_reverse", "was altered"]).await;
}

/// Traffic lives on after the switch: columns of its own, a rewrite, another owner of the publication.
#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_out_no_change_is_not_refused() {
    let world = World::new().await;
    let bridge = switched(&world).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    traffic(
        &world,
        "CREATE ROLE other; ALTER PUBLICATION leadbridge_reverse OWNER TO postgres;
         ALTER TABLE traffic_leads ADD own_column integer DEFAULT 7; ALTER TABLE traffic_leads DROP own_column",
    )
    .await;
    let client = world.traffic().await;
    let record = "SELECT published FROM leadbridge.reverse";
    let before: String = one(&client, record).await;
    traffic(&world, "ALTER TABLE traffic_leads ALTER COLUMN name SET DEFAULT 'n'").await;
    until_true("the record follows", async || one::<String>(&client, record).await != before).await;
    traffic(&world, "VACUUM FULL traffic_leads").await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 9").await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    daemon.terminate().await;
    bridge.catch_up().await;
    assert!(holds(&world.landing().await, "bool_and(click_count = 9) FROM landing_leads").await);
}
