//! HTTP can cost replication nothing, whatever its clients and the machine do.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use leadbridge::throwaway::ReservedPort;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::testkit::{Bridge, Daemon, World, assert_equal, landing, said, until_holds, until_true};

const LEAD: &str = "INSERT INTO landing_leads (name, phone) VALUES ('n', '+7')";

async fn sends(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_does_not_keep_the_daemon_from_ending() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    for request in ["", "GET /status HT", "POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"] {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        let half = sends(daemon.address(), request).await;
        // The daemon has accepted the connection, because a later one is answered.
        daemon.status().await;
        daemon.terminate().await;
        drop(half);
    }
}

/// Opens connections with half a request, each again as soon as the daemon closes it.
fn besiege(address: SocketAddr, connections: usize) -> JoinSet<()> {
    let mut held = JoinSet::new();
    for _ in 0..connections {
        held.spawn(async move {
            loop {
                if let Ok(mut stream) = TcpStream::connect(address).await {
                    // The daemon may close the connection at any moment.
                    let _ = stream.write_all(b"GET / HT").await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hold_connections_leave_descriptors_for_the_databases() {
    let mut world = World::new().await;
    world.fill(71, 20).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let pid = daemon.pid().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, "--nofile=96:96"]).status().await.unwrap();
    assert!(limited.success());
    let siege = besiege(daemon.address(), 300);
    daemon.logs("further connections are closed at once").await;
    world.landing.stop(leadbridge::throwaway::Shutdown::Fast).await.unwrap();
    world.landing.resume().await.unwrap();
    landing(&world, LEAD).await;
    until_holds(&world.traffic().await, "count(*) = 21 FROM traffic_leads").await;
    drop(siege);
    daemon.caught_up(&world).await;
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_costs_no_replication_and_is_used_once_it_is_free() {
    let world = World::new().await;
    world.fill(72, 20).await;
    let bridge = Bridge::new(&world);
    let port = ReservedPort::for_daemon().unwrap();
    let taken = TcpListener::bind(port.address()).unwrap();
    let mut daemon = Daemon::spawn(&bridge, &[], port);
    until_holds(&world.traffic().await, "count(*) = 20 FROM traffic_leads").await;
    landing(&world, LEAD).await;
    until_holds(&world.traffic().await, "count(*) = 21 FROM traffic_leads").await;
    assert_eq!(daemon.log().matches("no HTTP yet").count(), 1, "{}", daemon.log());
    let doctor = said(daemon.command(&bridge, &["doctor"])).await;
    assert!(doctor.code == 0 && doctor.out.contains("warning  the HTTP address"), "{}", doctor.out);
    drop(taken);
    until_true("HTTP answers", async || daemon.asked().await.is_some()).await;
    assert!(daemon.log().contains("is free now"), "{}", daemon.log());
    daemon.caught_up(&world).await;
    daemon.terminate().await;

    // A daemon whose port never becomes free ends as every other.
    let port = ReservedPort::for_daemon().unwrap();
    let _taken = TcpListener::bind(port.address()).unwrap();
    let daemon = Daemon::spawn(&bridge, &[], port);
    daemon.logs("streaming").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_may_come_later_is_waited_for_and_one_that_cannot_is_refused() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let at = |address: &str| {
        let mut command = bridge.command(&["run", "--until-caught-up"]);
        command.env("LEADBRIDGE_HTTP_LISTEN", address);
        said(command)
    };
    // An address of a documentation network is not of this machine, and might be at the next moment.
    let later = at("192.0.2.1:9187").await;
    assert_eq!(later.code, 0, "{}", later.err);
    assert!(later.err.contains("192.0.2.1:9187 is not an address of this machine"), "{}", later.err);
    let never = at("here:9187").await;
    assert_eq!(never.code, 64, "{}", never.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_to_the_daemon_pass_by_every_proxy() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let asked = async |arguments: &[&str]| {
        let mut command = daemon.command(&bridge, arguments);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(name, &url).env(name.to_lowercase(), &url);
        }
        let said = said(command).await;
        serde_json::from_str::<Value>(&said.out).unwrap()
    };
    let status = asked(&["status", "--json"]).await;
    assert_eq!(status["daemon"], "running", "{status}");
    let found = asked(&["doctor", "--json"]).await;
    assert!(found.to_string().contains("a daemon answers at the HTTP address"), "{found}");
    let nobody = proxy.accept().map(drop).unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "the proxy was asked");
    daemon.signal(Signal::SIGKILL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_of_every_reader_but_the_probes_and_status_goes_on_working() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let file = bridge.dir().join("token");
    std::fs::write(&file, "a-token-of-the-operator\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    let token = [("LEADBRIDGE_HTTP_TOKEN_FILE", file)];
    let port = ReservedPort::for_daemon().unwrap();
    let mut daemon = Daemon::spawn(&bridge, &token, port);
    until_true("the daemon is ready", async || {
        daemon.get("/readyz").await.is_some_and(|said| said == "ready\n")
    })
    .await;
    let get = async |path: &str, header: &str| {
        let mut answer = Vec::new();
        let mut stream =
            sends(daemon.address(), &format!("GET {path} HTTP/1.1\r\nHost: daemon.example\r\n{header}\r\n"))
                .await;
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    for path in ["/status", "/metrics", "/"] {
        for header in ["", "Authorization: Bearer another-token-of-nobody\r\n"] {
            let refused = get(path, header).await;
            assert!(
                refused.starts_with("HTTP/1.1 401") && !refused.contains("leadbridge_state"),
                "{refused}"
            );
        }
    }
    let scraped = get("/metrics", "Authorization: Bearer a-token-of-the-operator\r\n").await;
    assert!(scraped.starts_with("HTTP/1.1 200") && scraped.contains("leadbridge_state"), "{scraped}");

    let status = async |token: Option<&str>| {
        let mut command = daemon.command(&bridge, &["status", "--json"]);
        command.envs(token.map(|file| ("LEADBRIDGE_HTTP_TOKEN_FILE", file)));
        let said = said(command).await;
        (serde_json::from_str::<Value>(&said.out).unwrap()["daemon"].clone(), said.err)
    };
    assert_eq!(status(Some(file)).await.0, "running");
    let missing = bridge.dir().join("nowhere");
    for (token, why) in [(None, "does not tell its status"), (missing.to_str(), "cannot be read")] {
        let (daemon, complaint) = status(token).await;
        assert_eq!(daemon, "elsewhere");
        assert!(complaint.contains(why) && complaint.contains("http_token_file"), "{complaint}");
    }
    let mut doctor = daemon.command(&bridge, &["doctor"]);
    doctor.envs(token);
    let doctor = said(doctor).await;
    assert!(
        doctor.out.contains("a daemon answers") && doctor.out.contains("token of http_token_file"),
        "{}",
        doctor.out
    );
    assert!(!daemon.log().contains("a-token"), "{}", daemon.log());
    assert!(daemon.exit_code().is_none());
    daemon.terminate().await;
}
