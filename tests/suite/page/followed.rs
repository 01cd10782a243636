//! The events behind the page: what they cost, and how they end.

use std::net::SocketAddr;
use std::time::Duration;

use leadbridge::telemetry::http::get_page;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::{Stage, scenes};
use crate::testkit::{Bridge, World, until_true};

const ANSWER: Duration = Duration::from_secs(10);

/// A stream of events.
struct Followed(BufReader<TcpStream>);

impl Followed {
    async fn open(address: SocketAddr) -> Followed {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /events?window=3h HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Followed(BufReader::new(stream))
    }

    /// The code of the answer.
    async fn code(&mut self) -> u16 {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The next event's name and data; `None` at the end of the stream.
    async fn event(&mut self) -> Option<(String, Value)> {
        let mut name = None;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(told) = line.strip_prefix("event: ") {
                name = Some(told.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name?, serde_json::from_str(data).unwrap()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_has_every_part_and_a_later_one_only_what_has_changed() {
    let stage = Stage::of(scenes::streaming, 2).await;
    let mut followed = Followed::open(stage.address).await;
    assert_eq!(followed.code().await, 200);
    let (name, first) = followed.event().await.unwrap();
    assert_eq!((name.as_str(), first["parts"].as_array().unwrap().len()), ("update", 13), "{first}");
    let (name, second) = followed.event().await.unwrap();
    assert_eq!((name.as_str(), second["parts"].as_array().unwrap().len()), ("update", 0), "{second}");
    assert!(second.to_string().len() < 200, "a sign of life is small: {second}");
    stage.end().await;
    assert_eq!(followed.event().await.unwrap().0, "end", "the reader is told that the end is meant");
    assert!(followed.event().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_beyond_the_bound_are_refused_until_one_is_closed_and_other_paths_answer_meanwhile() {
    let stage = Stage::of(scenes::streaming, 2).await;
    let mut open = [Followed::open(stage.address).await, Followed::open(stage.address).await];
    for followed in &mut open {
        assert_eq!(followed.code().await, 200);
    }
    assert_eq!(Followed::open(stage.address).await.code().await, 503);
    for path in ["/", "/healthz"] {
        assert_eq!(get_page(stage.address, path, ANSWER).await.unwrap().0, 200, "{path}");
    }
    drop(open);
    until_true("a place is free again", async || Followed::open(stage.address).await.code().await == 200)
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_pages_do_not_keep_a_daemon_from_ending_and_hear_that_it_ends() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let mut read = Followed::open(daemon.address()).await;
    // A reader that reads nothing, and one that sends no request.
    let unread = Followed::open(daemon.address()).await;
    let silent = TcpStream::connect(daemon.address()).await.unwrap();
    assert_eq!(read.event().await.unwrap().0, "update");
    daemon.terminate().await;
    let mut last = read.event().await.expect("an end that is meant is told");
    while let Some(next) = read.event().await {
        last = next;
    }
    assert_eq!(last.0, "end", "{}", last.1);
    drop((unread, silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_nobody_else_and_is_neither_stored_nor_framed() {
    let stage = Stage::of(scenes::trouble, 2).await;
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    for header in [
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "cache-control: no-store",
        "x-frame-options: deny",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    assert!(!head.contains("unsafe"), "{head}");
    // The address of SVG's vocabulary is a name, which nobody asks.
    let addresses = page.replace("http://www.w3.org/2000/svg", "");
    assert!(
        !addresses.contains("http:") && !addresses.contains("https:") && !addresses.contains("src="),
        "{page}"
    );
    stage.end().await;
}
