//! A kill, a crash and a cut network at each step of a rollback: the rollback ends complete or switched as before,
//! and a second try works.

use std::os::unix::process::ExitStatusExt as _;

use leadbridge::failpoint::Point;
use leadbridge::throwaway::Shutdown;
use nix::sys::signal::Signal;

use crate::cutover::{CutoverSetup, PATIENT, cut_off, go_on, standing_at};
use crate::testkit::holds;

fn points() -> impl Iterator<Item = Point> {
    Point::ALL.iter().filter(|point| point.name().starts_with("rollback.")).copied()
}

/// The journal tells whether the rollback is decided; the state must agree. Returns whether the rollback is complete.
async fn ends_well(setup: &mut CutoverSetup) -> bool {
    setup.settled().await;
    let decided = "EXISTS (SELECT FROM leadbridge.cutover WHERE state = 'rolled_back')";
    if holds(&setup.world.traffic().await, decided).await {
        setup.assert_rolled_back().await;
        return true;
    }
    setup.assert_still_switched().await;
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_killed_at_any_step_is_undone_or_brought_to_its_end() {
    let mut setup = CutoverSetup::switched().await;
    for point in points() {
        let arguments = setup.rollback_arguments(&["--max-pause", "20s"]);
        let output = setup.bridge.dying_command(&arguments, point, 1).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(9), "{} is not passed: {said}", point.name());
        if ends_well(&mut setup).await {
            assert!(matches!(point, Point::RollbackDecided | Point::RollbackLifted), "{}", point.name());
            setup = CutoverSetup::switched().await;
        }
    }
    setup.rolls_back(&[]).await;
    setup.assert_rolled_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_server_crashes_at_each_step() {
    for of_landing in [true, false] {
        let mut setup = CutoverSetup::switched().await;
        for point in points() {
            let arguments = setup.rollback_arguments(&PATIENT);
            let command = standing_at(&setup.bridge, &arguments, point).await;
            let server = if of_landing { &mut setup.world.landing } else { &mut setup.world.traffic };
            server.restart(Shutdown::Kill).await.unwrap();
            go_on(command).await;
            if ends_well(&mut setup).await {
                setup = CutoverSetup::switched().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_dies_at_each_step() {
    let mut setup = CutoverSetup::switched().await;
    for point in points() {
        // Without a daemon no marker arrives.
        let arguments = setup.rollback_arguments(&["--max-pause", "3s", "--timeout", "60s"]);
        let command = standing_at(&setup.bridge, &arguments, point).await;
        setup.daemon.signal(Signal::SIGKILL);
        setup.daemon.ended(std::time::Duration::from_secs(20)).await;
        go_on(command).await;
        setup.daemon = setup.bridge.daemon().await;
        if ends_well(&mut setup).await {
            setup = CutoverSetup::switched().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_network_is_cut_at_each_step() {
    for to_landing in [true, false] {
        let mut setup = CutoverSetup::switched().await;
        for point in points() {
            cut_off(&setup, to_landing, &setup.rollback_arguments(&PATIENT), point).await;
            if ends_well(&mut setup).await {
                setup = CutoverSetup::switched().await;
            }
        }
    }
}
