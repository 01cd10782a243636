//! One side always refuses: from a rollback's decision until Landing is open, and while a cutover is undecided.

use std::time::Duration;

use leadbridge::failpoint::Point;
use nix::sys::signal::Signal;

use super::LEAD;
use crate::cutover::{CutoverSetup, PATIENT, go_on, standing_at};
use crate::testkit::{holds, landing, until_holds, until_true};

const TRAFFICS_LEAD: &str = "INSERT INTO traffic_leads (name) VALUES ('n')";

impl CutoverSetup {
    async fn assert_traffic_refuses(&self) {
        let error = self.world.traffic().await.batch_execute(TRAFFICS_LEAD).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "55000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffics_fence_does_not_expire_while_landing_is_closed() {
    let mut setup = CutoverSetup::switched().await;
    let arguments = setup.rollback_arguments(&["--refuse-for", "1s"]);
    let arguments = [&arguments[..], &PATIENT].concat();
    let command = standing_at(&setup.bridge, &arguments, Point::RollbackFenced).await;
    drop(command);
    // Command and daemon die after the decision, so nobody opens Landing.
    setup.settled().await;
    setup.flows_back().await;
    let arguments = setup.rollback_arguments(&["--refuse-for", "1s"]);
    let stopped = standing_at(&setup.bridge, &arguments, Point::RollbackDecided).await;
    setup.daemon.signal(Signal::SIGKILL);
    setup.daemon.ended(Duration::from_secs(20)).await;
    drop(stopped);
    let client = setup.world.traffic().await;
    let for_good = "count(*) = 1 FROM leadbridge.fence WHERE lifted_at IS NULL AND expires_at IS NULL";
    assert!(holds(&client, for_good).await);
    setup.assert_traffic_refuses().await;
    setup.daemon = setup.bridge.daemon().await;
    until_true("Landing is open", async || setup.world.landing().await.batch_execute(LEAD).await.is_ok())
        .await;
    until_true("Traffic's own writers go on", async || client.batch_execute(TRAFFICS_LEAD).await.is_ok())
        .await;
    setup.daemon.caught_up(&setup.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_after_the_decision_is_ended_and_landing_opens() {
    let mut setup = CutoverSetup::switched().await;
    let arguments = setup.rollback_arguments(&["--timeout", "5s"]);
    let stopped = standing_at(&setup.bridge, &arguments, Point::RollbackDecided).await;
    until_true("Landing is open", async || setup.world.landing().await.batch_execute(LEAD).await.is_ok())
        .await;
    setup.settled().await;
    let (said, code) = go_on(stopped).await;
    assert!(code == 0 || said.contains("DECIDED"), "{said}");
    setup.assert_rolled_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_that_aborts_within_a_rollbacks_time_leaves_traffics_fence_closed() {
    let mut setup = CutoverSetup::switched().await;
    setup.rolls_back(&["--refuse-for", "1h"]).await;
    setup.daemon.caught_up(&setup.world).await;
    let said = setup.cutover(&["--hook", "test $LEADBRIDGE_EVENT != switch"]).await;
    assert!(said.code == 4 && said.err.contains("ABORTED"), "{}", said.err);
    setup.assert_traffic_refuses().await;
    landing(&setup.world, LEAD).await;
    setup.daemon.caught_up(&setup.world).await;
    // The switch opens Traffic in its own transaction.
    setup.switches(&[]).await;
    setup.assert_switched().await;
    setup.world.traffic().await.batch_execute(TRAFFICS_LEAD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuums_lock_on_landing_does_not_keep_a_rollback() {
    let mut setup = CutoverSetup::switched().await;
    let vacuum = setup.world.landing().await;
    vacuum.batch_execute("BEGIN; LOCK TABLE landing_leads IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    setup.rolls_back(&[]).await;
    vacuum.batch_execute("COMMIT").await.unwrap();
    setup.assert_rolled_back().await;
    let gone = "NOT EXISTS (SELECT FROM pg_trigger WHERE tgname LIKE 'leadbridge\\_fence%')";
    until_holds(&setup.world.landing().await, gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollbacks_hook_that_fails_is_named_until_an_operator_has_settled_it() {
    let mut setup = CutoverSetup::switched().await;
    let said = setup.rollback(&["--hook", "test $LEADBRIDGE_EVENT = check"]).await;
    assert!(said.code == 4 && said.err.contains("DECIDED"), "{}", said.err);
    setup.assert_rolled_back().await;
    let command =
        |daemon: &crate::testkit::Daemon, arguments: &[&str]| daemon.command(&setup.bridge, arguments);
    let status = crate::testkit::said(command(&setup.daemon, &["status"])).await;
    assert!(status.code == 2 && status.out.contains("has not succeeded"), "{}", status.out);
    assert!(status.out.contains("LEADBRIDGE_EVENT=switch LEADBRIDGE_DIRECTION=rollback"), "{}", status.out);
    let settled = setup.bridge.run(&["rollback", "--hook-settled"]).await;
    assert_eq!(settled.code, 0, "{}", settled.err);
    let status = crate::testkit::said(command(&setup.daemon, &["status"])).await;
    assert_eq!(status.code, 0, "{}", status.out);
}
