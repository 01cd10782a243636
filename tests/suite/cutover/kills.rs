//! A kill at each step leaves the cutover switched or the fence lifted, the next command says which, and a second try
//! works.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use leadbridge::failpoint::Point;

use nix::sys::signal::Signal;

use super::{CutoverSetup, LEAD};
use crate::testkit::{holds, until_true};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_killed_at_any_step_leaves_nothing_changed_and_the_next_one_switches() {
    let setup = CutoverSetup::new().await;
    let is_passed = |point: &&Point| point.name().starts_with("cutover.") || **point == Point::HookBegun;
    let points = Point::ALL.iter().filter(is_passed);
    for &point in points {
        let arguments = setup.arguments(&["--hook", "true"]);
        let output = setup.bridge.dying_command(&arguments, point, 1).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(9), "{} is not passed: {said}", point.name());
        setup.settled().await;
        if point == Point::CutoverSwitched {
            break;
        }
        let aborted = "count(*) > 0 FROM leadbridge.cutover WHERE reason = 'the process that began it \
                       has ended'";
        assert!(holds(&setup.world.traffic().await, aborted).await, "{}", point.name());
        setup.assert_as_before().await;
        // A command that has died has not undone its hook: an operator does, and says so.
        let hooked = "EXISTS (SELECT FROM leadbridge.cutover WHERE hook_begun_at IS NOT NULL AND hook_undone_at IS NULL)";
        if holds(&setup.world.traffic().await, hooked).await {
            crate::testkit::assert_refused(
                &setup.cutover(&[]).await,
                &["--hook-settled", "LEADBRIDGE_EVENT=abort"],
            );
            assert_eq!(setup.cutover(&["--hook-settled"]).await.code, 0, "{}", point.name());
        }
    }
    setup.assert_switched().await;
}

/// No process is left to lift the fence.
#[tokio::test]
async fn a_fence_that_everybody_has_died_behind_opens_by_itself_at_its_deadline() {
    let mut setup = CutoverSetup::new().await;
    let arguments = setup.arguments(&["--timeout", "6s"]);
    setup.bridge.dying_command(&arguments, Point::CutoverClosed, 1).output().await.unwrap();
    setup.daemon.signal(Signal::SIGKILL);
    setup.daemon.ended(Duration::from_secs(20)).await;
    let client = setup.world.landing().await;
    until_true("the fence opens", async || client.batch_execute(LEAD).await.is_ok()).await;
    // A later daemon brings the cutover to an end.
    setup.daemon = setup.bridge.daemon().await;
    setup.settled().await;
    setup.assert_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_daemon_is_killed_too_the_next_command_cleans_up() {
    for point in [Point::CutoverFenced, Point::CutoverVerified, Point::CutoverClosed, Point::CutoverKept] {
        let mut setup = CutoverSetup::new().await;
        setup.bridge.dying_command(&setup.arguments(&[]), point, 1).output().await.unwrap();
        setup.daemon.signal(Signal::SIGKILL);
        setup.daemon.ended(Duration::from_secs(20)).await;
        let status = setup.bridge.command(&["status"]).output().await.unwrap();
        let said = String::from_utf8(status.stdout).unwrap();
        assert!(said.contains("was begun and is not decided"), "{point:?}: {said}");
        assert!(
            said.contains("its command has ended") && said.contains("start the daemon"),
            "{point:?}: {said}"
        );
        setup.daemon = setup.bridge.daemon().await;
        setup.daemon.caught_up(&setup.world).await;
        setup.switches(&[]).await;
        setup.assert_switched().await;
    }
}
