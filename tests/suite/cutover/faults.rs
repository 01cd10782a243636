//! A server that crashes and a network that is cut, at each step: it ends switched or un-fenced, says which, and a
//! second try works.

use std::process::Stdio;
use std::time::Duration;

use leadbridge::failpoint::Point;
use leadbridge::throwaway::Shutdown;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

use super::Stage;
use crate::testkit::{Bridge, Fault, Proxy, Target, holds, until_true};

/// Where the command stands when it happens.
const POINTS: [Point; 6] = [
    Point::CutoverBegun,
    Point::CutoverFenced,
    Point::CutoverVerified,
    Point::CutoverClosed,
    Point::CutoverKept,
    Point::CutoverSwitched,
];

/// Long enough that standing still is not what ends it.
const PATIENT: [&str; 4] = ["--max-pause", "30s", "--timeout", "60s"];

/// Starts a command with `arguments` and answers when it stands still at `point`.
pub async fn standing_at(bridge: &Bridge, arguments: &[&str], point: Point) -> Child {
    let mut command = bridge.stopping_command(arguments, point);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stat = format!("/proc/{}/stat", child.id().unwrap());
    until_true(point.name(), async || {
        let text = std::fs::read_to_string(&stat).unwrap();
        let (_, state) = text.rsplit_once(") ").unwrap();
        assert!(!state.starts_with('Z'), "{} is not passed", point.name());
        state.starts_with('T')
    })
    .await;
    child
}

/// Lets it go on to its end; what it said, and its exit code.
pub async fn go_on(child: Child) -> (String, i32) {
    kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGCONT).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(90), child.wait_with_output()).await;
    let output = ended.expect("it does not end").unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

/// What it said is true, and a second try works where it was aborted. Answers whether it is switched.
async fn ends_well(stage: &mut Stage, (said, code): (String, i32), point: Point) -> bool {
    stage.settled().await;
    let switched = "EXISTS (SELECT FROM leadbridge.cutover WHERE state = 'switched')";
    if holds(&stage.world.traffic().await, switched).await {
        assert!(
            code == 0 || said.contains("DECIDED: leads are written to Traffic"),
            "{}: {said}",
            point.name()
        );
        stage.assert_switched().await;
        return true;
    }
    assert!(said.contains("ABORTED") || said.contains("NOT KNOWN"), "{}: {said}", point.name());
    stage.daemon.caught_up(&stage.world).await;
    stage.assert_as_before().await;
    false
}

async fn crash(stage: &mut Stage, of_landing: bool) {
    let server = if of_landing { &mut stage.world.landing } else { &mut stage.world.traffic };
    server.restart(Shutdown::Kill).await.unwrap();
}

async fn servers_crash(of_landing: bool) {
    let mut stage = Stage::new().await;
    for point in POINTS {
        let arguments = stage.arguments(&PATIENT);
        let command = standing_at(&stage.bridge, &arguments, point).await;
        crash(&mut stage, of_landing).await;
        let ended = go_on(command).await;
        if ends_well(&mut stage, ended, point).await {
            stage = Stage::new().await;
        }
    }
    stage.switches(&[]).await;
    stage.assert_switched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn landing_crashes_at_each_step() {
    servers_crash(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_crashes_at_each_step() {
    servers_crash(false).await;
}

/// Between the command and one database; the daemon has a way of its own.
async fn networks_are_cut(from_landing: bool) {
    let mut stage = Stage::new().await;
    for point in POINTS {
        let (landing, traffic) = (&stage.world.landing, &stage.world.traffic);
        let proxy = Proxy::to(if from_landing { landing.port() } else { traffic.port() }).await;
        let far = match from_landing {
            true => Bridge::between(
                &proxy.url(&stage.world.landing_url(), landing.port()),
                &stage.world.traffic_url(),
            ),
            false => Bridge::between(
                &stage.world.landing_url(),
                &proxy.url(&stage.world.traffic_url(), traffic.port()),
            ),
        };
        let arguments = stage.arguments(&PATIENT);
        let command = standing_at(&far, &arguments, point).await;
        proxy.inject(Target::Every, Fault::Refuse);
        proxy.inject(Target::Every, Fault::Cut);
        let going = tokio::spawn(go_on(command));
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.heal();
        let ended = going.await.unwrap();
        if ends_well(&mut stage, ended, point).await {
            stage = Stage::new().await;
        }
    }
    stage.switches(&[]).await;
    stage.assert_switched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_to_landing_is_cut_at_each_step() {
    networks_are_cut(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_to_traffic_is_cut_at_each_step() {
    networks_are_cut(false).await;
}
