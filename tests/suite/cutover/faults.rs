//! A server crash and a cut network at each step: the cutover ends switched or with the fence lifted, says which, and
//! a second try works.

use std::process::Stdio;
use std::time::Duration;

use leadbridge::failpoint::Point;
use leadbridge::throwaway::{Shutdown, signal};
use nix::sys::signal::Signal;
use tokio::process::Child;

use super::{CutoverSetup, LEAD};
use crate::testkit::{Bridge, Fault, Proxy, Target, holds, landing, record_form, traffic, until_true};

/// Points at which the command stands still for the fault.
const POINTS: [Point; 6] = [
    Point::CutoverBegun,
    Point::CutoverFenced,
    Point::CutoverVerified,
    Point::CutoverClosed,
    Point::CutoverKept,
    Point::CutoverSwitched,
];

/// Long enough to keep both a stopped process and a busy machine from ending the cutover.
pub const PATIENT: [&str; 4] = ["--max-pause", "30s", "--timeout", "60s"];

/// Starts a command with `arguments`, and returns when the command stands still at `point`.
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

/// Lets the command go on to its end; returns the output and the exit code.
pub async fn go_on(child: Child) -> (String, i32) {
    signal(&child, Signal::SIGCONT).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(90), child.wait_with_output()).await;
    let output = ended.expect("it does not end").unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

/// The output is true, and after an abort a second try works. Returns whether the cutover is switched.
async fn ends_well(setup: &mut CutoverSetup, (said, code): (String, i32), point: Point) -> bool {
    setup.settled().await;
    let switched = "EXISTS (SELECT FROM leadbridge.cutover WHERE state = 'switched')";
    if holds(&setup.world.traffic().await, switched).await {
        assert!(
            code == 0 || said.contains("DECIDED: leads are written to Traffic"),
            "{}: {said}",
            point.name()
        );
        setup.assert_switched().await;
        return true;
    }
    assert!(said.contains("ABORTED") || said.contains("NOT KNOWN"), "{}: {said}", point.name());
    setup.daemon.caught_up(&setup.world).await;
    setup.assert_as_before().await;
    false
}

async fn crash(setup: &mut CutoverSetup, of_landing: bool) {
    let server = if of_landing { &mut setup.world.landing } else { &mut setup.world.traffic };
    server.restart(Shutdown::Kill).await.unwrap();
}

async fn servers_crash(of_landing: bool) {
    let mut setup = CutoverSetup::new().await;
    for point in POINTS {
        let arguments = setup.arguments(&PATIENT);
        let command = standing_at(&setup.bridge, &arguments, point).await;
        crash(&mut setup, of_landing).await;
        let ended = go_on(command).await;
        if ends_well(&mut setup, ended, point).await {
            setup = CutoverSetup::new().await;
        }
    }
    setup.switches(&[]).await;
    setup.assert_switched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn landing_crashes_at_each_step() {
    servers_crash(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_crashes_at_each_step() {
    servers_crash(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_dies_at_each_step() {
    let mut setup = CutoverSetup::new().await;
    for point in POINTS {
        // Without a daemon no marker arrives.
        let arguments = setup.arguments(&["--max-pause", "3s", "--timeout", "60s"]);
        let command = standing_at(&setup.bridge, &arguments, point).await;
        setup.daemon.signal(Signal::SIGKILL);
        setup.daemon.ended(Duration::from_secs(20)).await;
        let ended = go_on(command).await;
        setup.daemon = setup.bridge.daemon().await;
        if ends_well(&mut setup, ended, point).await {
            setup = CutoverSetup::new().await;
        }
    }
    setup.switches(&[]).await;
    setup.assert_switched().await;
}

/// The stopped command makes every waiting writer wait: for `--max-pause`, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_holds_no_writer_for_longer_than_it_may() {
    let mut setup = CutoverSetup::new().await;
    let arguments = setup.arguments(&["--max-pause", "1s"]);
    let command = standing_at(&setup.bridge, &arguments, Point::CutoverFenced).await;
    let writer = setup.world.landing().await;
    writer.batch_execute(&format!("SET lock_timeout = '20s'; BEGIN; {LEAD}; ROLLBACK")).await.unwrap();
    let (said, code) = go_on(command).await;
    assert!(said.contains("ABORTED") && code != 0, "{said}");
    assert!(!ends_well(&mut setup, (said, code), Point::CutoverFenced).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changes_behind_the_comparison_is_found_behind_the_fence() {
    for compare in ["waiting", "after"] {
        let mut setup = CutoverSetup::new().await;
        let arguments = setup.arguments(&[&PATIENT[..], &["--compare", compare]].concat());
        let command = standing_at(&setup.bridge, &arguments, Point::CutoverBegun).await;
        let change = "UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = (SELECT \
                      min(id::text)::uuid FROM traffic_leads)";
        traffic(&setup.world, change).await;
        let (said, code) = go_on(command).await;
        assert!(said.contains("landing_leads differs under the fence"), "{said}");
        assert_eq!(code, 4);
        assert!(!ends_well(&mut setup, (said, code), Point::CutoverBegun).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_does_not_hold_is_found_by_trying() {
    let mut setup = CutoverSetup::new().await;
    let harmless = "CREATE OR REPLACE FUNCTION leadbridge.refuse_write() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RETURN NULL; END $$";
    landing(&setup.world, harmless).await;
    record_form(&setup.world.landing().await).await;
    let said = setup.cutover(&[]).await;
    assert!(
        said.err.contains("the fence does not hold") && said.err.contains("landing_leads as "),
        "{}",
        said.err
    );
    assert!(!ends_well(&mut setup, (said.err, said.code), Point::CutoverFenced).await);
}

/// Runs a command without a network to one database for a second at `point`; the daemon has a connection of its own.
/// Returns the output and the exit code.
pub async fn cut_off(
    setup: &CutoverSetup,
    to_landing: bool,
    arguments: &[&str],
    point: Point,
) -> (String, i32) {
    let server = if to_landing { &setup.world.landing } else { &setup.world.traffic };
    let proxy = Proxy::to(server.port()).await;
    let mut urls = [setup.world.landing_url(), setup.world.traffic_url()];
    let url = &mut urls[usize::from(!to_landing)];
    *url = proxy.url(url, server.port());
    let command = standing_at(&Bridge::between(&urls[0], &urls[1]), arguments, point).await;
    proxy.inject(Target::Every, Fault::Refuse);
    proxy.inject(Target::Every, Fault::Cut);
    let going = tokio::spawn(go_on(command));
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.heal();
    going.await.unwrap()
}

async fn networks_are_cut(to_landing: bool) {
    let mut setup = CutoverSetup::new().await;
    for point in POINTS {
        let ended = cut_off(&setup, to_landing, &setup.arguments(&PATIENT), point).await;
        if ends_well(&mut setup, ended, point).await {
            setup = CutoverSetup::new().await;
        }
    }
    setup.switches(&[]).await;
    setup.assert_switched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_to_landing_is_cut_at_each_step() {
    networks_are_cut(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_to_traffic_is_cut_at_each_step() {
    networks_are_cut(false).await;
}
