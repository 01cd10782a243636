//! What the daemon tells systemd: ready as soon as it answers, and a watchdog's ping only while it lives.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use leadbridge::failpoint::Point;
use leadbridge::throwaway::{DaemonProcess, ReservedPort};
use tokio::process::Command;

use crate::testkit::{Bridge, World, landing};

const LEAD: &str = "INSERT INTO landing_leads (name, phone) VALUES ('n', '+7')";
const ANSWER: Duration = Duration::from_secs(60);

/// systemd's end of the notifications of one daemon.
struct Notified {
    socket: UnixDatagram,
    port: ReservedPort,
    _daemon: DaemonProcess,
}

impl Notified {
    fn start(bridge: &Bridge, change: impl FnOnce(&mut Command)) -> Notified {
        let path = bridge.dir().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(ANSWER)).unwrap();
        let port = ReservedPort::for_daemon().unwrap();
        let mut command = bridge.command(&["run"]);
        command
            .env("NOTIFY_SOCKET", &path)
            .env("LEADBRIDGE_HTTP_LISTEN", port.address().to_string())
            .stderr(Stdio::null());
        change(&mut command);
        Notified { socket, port, _daemon: DaemonProcess::start(command).unwrap() }
    }

    fn next(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("the daemon tells nothing");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Skips messages until one that is `wanted`.
    fn until(&self, wanted: impl Fn(&str) -> bool) {
        for _ in 0..60 {
            if wanted(&self.next()) {
                return;
            }
        }
        panic!("60 messages, and none as wanted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_ready_before_its_snapshot_and_waits_for_a_database_without_being_hung() {
    let world = World::new().await;
    world.fill(74, 60).await;
    let bridge = Bridge::new(&world);
    // The snapshot waits for this lock.
    let client = world.traffic().await;
    client.batch_execute("BEGIN; LOCK TABLE traffic_leads IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let notified = Notified::start(&bridge, |_| {});
    assert!(notified.next().contains("READY=1"));
    let answer = leadbridge::telemetry::http::get_page(notified.port.address(), "/healthz", ANSWER).await;
    assert_eq!(answer.map(|(code, _)| code), Some(200), "ready, and not answering");
    // Each ping means that the loop and the monitor have both been seen alive since the ping before.
    for _ in 0..5 {
        notified.until(|message| message.contains("WATCHDOG=1") && !message.contains("STATUS=streaming"));
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    notified.until(|message| message.contains("STATUS=streaming") && message.contains("WATCHDOG=1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_hangs_gets_no_ping_although_the_daemon_answers() {
    for point in [Point::Committed, Point::StoreWritten] {
        let world = World::new().await;
        let bridge = Bridge::new(&world);
        bridge.catch_up().await;
        let failpoint = format!("{}:1:hang", point.name());
        let notified = Notified::start(&bridge, |command| {
            command.env("LEADBRIDGE_FAILPOINT", failpoint);
        });
        notified.until(|message| message.contains("STATUS=streaming") && message.contains("WATCHDOG=1"));
        landing(&world, LEAD).await;
        let mut without = 0;
        while without < 5 {
            without = if notified.next().contains("WATCHDOG=1") { 0 } else { without + 1 };
        }
        let answer = leadbridge::telemetry::http::get_page(notified.port.address(), "/healthz", ANSWER).await;
        assert_eq!(answer.map(|(code, _)| code), Some(200), "{}: the HTTP server is gone too", point.name());
    }
}
