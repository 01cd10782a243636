//! Positions after a cutover: Landing's slot proves that a Traffic was restored to an earlier state.

use crate::cutover::CutoverSetup;
use crate::replication::reverse::switch::carried;
use crate::testkit::{Bridge, assert_refused, back_up, holds, one, restore, traffic, until_holds};

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_that_was_restored_after_the_switch_is_refused_also_with_a_new_state_directory() {
    let CutoverSetup { mut world, bridge, daemon } = CutoverSetup::switched().await;
    daemon.terminate().await;
    until_holds(&world.traffic().await, "NOT bool_or(active) FROM pg_replication_slots").await;
    let backup = back_up(&mut world.traffic).await;
    let before: String =
        one(&world.traffic().await, "SELECT applied_lsn::text FROM leadbridge.checkpoint").await;
    let mut daemon = bridge.daemon().await;
    traffic(&world, "UPDATE traffic_leads SET name = 'newest'").await;
    carried(&world, &mut daemon).await;
    let moved = format!("confirmed_flush_lsn > '{before}'::pg_lsn FROM pg_replication_slots");
    until_holds(&world.landing().await, &moved).await;
    daemon.terminate().await;
    restore(&mut world.traffic, &backup).await;
    let newest = "bool_and(name = 'newest') FROM landing_leads";
    for installation in [&Bridge::new(&world), &bridge] {
        let said = installation.run(&["run", "--until-caught-up"]).await;
        assert_refused(&said, &["positions contradict", "restored from a backup"]);
        assert!(holds(&world.landing().await, newest).await);
    }
}
