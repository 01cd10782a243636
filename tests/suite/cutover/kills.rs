//! A kill at each step leaves the cutover switched or the fence lifted, the next command says which, and a second try
//! works.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use leadbridge::failpoint::Point;

use nix::sys::signal::Signal;

use super::{LEAD, Stage};
use crate::testkit::{holds, until_true};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_killed_at_any_step_leaves_nothing_changed_and_the_next_one_switches() {
    let stage = Stage::new().await;
    let points = Point::ALL.iter().filter(|point| point.name().starts_with("cutover."));
    for &point in points {
        let arguments = stage.arguments(&["--hook", "true"]);
        let output = stage.bridge.dying_command(&arguments, point, 1).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(9), "{} is not passed: {said}", point.name());
        stage.settled().await;
        if point == Point::CutoverSwitched {
            break;
        }
        if point != Point::CutoverPrepared {
            let aborted = "count(*) > 0 FROM leadbridge.cutover WHERE reason = 'whoever began it is gone'";
            assert!(holds(&stage.world.traffic().await, aborted).await, "{}", point.name());
            stage.assert_as_before().await;
        }
    }
    stage.assert_switched().await;
}

/// No process is left to lift the fence.
#[tokio::test]
async fn a_fence_that_everybody_has_died_behind_opens_by_itself_at_its_deadline() {
    let mut stage = Stage::new().await;
    let arguments = stage.arguments(&["--timeout", "6s"]);
    stage.bridge.dying_command(&arguments, Point::CutoverClosed, 1).output().await.unwrap();
    stage.daemon.signal(Signal::SIGKILL);
    stage.daemon.ended(Duration::from_secs(20)).await;
    let client = stage.world.landing().await;
    until_true("the fence opens", async || client.batch_execute(LEAD).await.is_ok()).await;
    // A later daemon brings the cutover to an end.
    stage.daemon = stage.bridge.daemon().await;
    stage.settled().await;
    stage.assert_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_daemon_is_killed_too_the_next_command_cleans_up() {
    for point in [Point::CutoverFenced, Point::CutoverVerified, Point::CutoverClosed, Point::CutoverKept] {
        let mut stage = Stage::new().await;
        stage.bridge.dying_command(&stage.arguments(&[]), point, 1).output().await.unwrap();
        stage.daemon.signal(Signal::SIGKILL);
        stage.daemon.ended(Duration::from_secs(20)).await;
        stage.daemon = stage.bridge.daemon().await;
        stage.daemon.caught_up(&stage.world).await;
        stage.switches(&[]).await;
        stage.assert_switched().await;
    }
}
