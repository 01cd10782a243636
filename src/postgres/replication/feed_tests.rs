//! Tests of a feed against a scripted server.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::super::super::place::Place;
use super::super::super::url::Host;
use super::*;

/// Longer than anything that these tests wait for.
const LONG: Duration = Duration::from_secs(20);
const KEEPALIVE: &[u8] = b"d\0\0\0\x16k\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0";

fn feed() -> (Feed, DuplexStream) {
    let (ours, server) = tokio::io::duplex(64 << 10);
    let place = Place { host: Host { name: "/nowhere".into(), port: 1, address: None }, address: None };
    (Feed::new(Wire::new(Box::new(ours)), Backend::unknown(place), Side::Landing, Lsn(5)), server)
}

/// The beginning of a message with `length` bytes of content.
fn row_of(length: i32) -> Vec<u8> {
    [b"d", &(length + 4).to_be_bytes()[..], b"w", &[0; 24], b"I"].concat()
}

async fn status(server: &mut DuplexStream) -> (u64, bool) {
    let mut bytes = [0; 39];
    tokio::time::timeout(LONG, server.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes[..6], b"d\0\0\0\x26r");
    (u64::from_be_bytes(bytes[6..14].try_into().unwrap()), bytes[38] == 1)
}

#[tokio::test]
async fn positions_are_confirmed_while_a_message_is_on_its_way_behind_small_ones() {
    let (mut feed, mut server) = feed();
    server.write_all(&[KEEPALIVE, &row_of(1_000_000)].concat()).await.unwrap();
    assert!(matches!(feed.next().await.unwrap(), ReplicationEvent::KeepAlive { wal_end: Lsn(7), .. }));
    assert_eq!(status(&mut server).await.0, 5);
    feed.acknowledge(Lsn(7));
    feed.acknowledge(Lsn(6));
    // A server is asked to answer after a long silence.
    while status(&mut server).await != (7, true) {}
    server.write_all(&vec![0; 1_000_000 - 26]).await.unwrap();
    assert!(matches!(feed.next().await.unwrap(), ReplicationEvent::XLogData { .. }));
}

#[tokio::test]
async fn a_peer_that_has_gone_silently_in_the_middle_of_a_message_does_not_hold_up_the_end() {
    let (feed, mut server) = feed();
    server.write_all(&row_of(1_000_000)).await.unwrap();
    status(&mut server).await;
    tokio::time::timeout(LONG, feed.stop()).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_read_ahead_is_bounded_in_bytes_and_nothing_of_it_is_lost() {
    let (mut feed, mut server) = feed();
    let row = [row_of(1 << 20), vec![0; (1 << 20) - 26]].concat();
    let mut written = 0;
    let writing = async {
        for _ in 0..20 {
            server.write_all(&row).await.unwrap();
            written += 1;
        }
    };
    // Nobody takes an event, so the server is held back.
    tokio::time::timeout(Duration::from_secs(2), writing).await.unwrap_err();
    assert!((2..=6).contains(&written), "{written}");
    assert!(feed.pulse().is_full());
    for _ in 0..written {
        assert!(matches!(feed.next().await.unwrap(), ReplicationEvent::XLogData { .. }));
    }
}

#[tokio::test]
async fn an_error_of_the_server_is_told_once_and_the_end_comes_after_it() {
    let (mut feed, mut server) = feed();
    server.write_all(b"E\0\0\0\x19C57P01\0Mterminating\0\0").await.unwrap();
    let error = feed.next().await.unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "57P01");
    assert!(feed.next().await.unwrap_err().message().contains("has ended"));
    feed.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_message_of_another_program_is_passed_while_positions_are_confirmed() {
    let (mut feed, mut server) = feed();
    let mut message = row_of(100_000_000);
    message[30] = b'M';
    server.write_all(&message).await.unwrap();
    feed.acknowledge(Lsn(6));
    // The rest of the message is under way.
    while status(&mut server).await != (6, false) {}
    let (mut reading, mut writing) = tokio::io::split(server);
    let drained = tokio::spawn(async move { tokio::io::copy(&mut reading, &mut tokio::io::sink()).await });
    for _ in 0..99 {
        writing.write_all(&vec![0; 1_000_000]).await.unwrap();
    }
    writing.write_all(&vec![0; 1_000_000 - 26]).await.unwrap();
    writing.write_all(KEEPALIVE).await.unwrap();
    let next = tokio::time::timeout(LONG, feed.next()).await.unwrap().unwrap();
    assert!(matches!(next, ReplicationEvent::KeepAlive { wal_end: Lsn(7), .. }), "{next:?}");
    feed.stop().await.unwrap();
    drained.abort();
}

#[tokio::test]
async fn a_row_that_is_too_long_is_refused_by_name_before_it_has_arrived() {
    let (mut feed, mut server) = feed();
    let mut row = row_of(200_000_000);
    row.extend([0, 0, 0x30, 0x39, b'N', 0, 1, b't', 0, 0, 0, 9]);
    server.write_all(&row).await.unwrap();
    server.write_all(&[0; 100]).await.unwrap();
    let error = tokio::time::timeout(LONG, feed.next()).await.unwrap().unwrap_err();
    assert_eq!(error.response(), crate::error::Response::AskOperator);
    assert!(error.message().contains("190 MB") && error.message().contains("12345"), "{error}");
    assert!(error.remedy_text().is_some_and(|remedy| remedy.contains("12345::regclass")), "{error}");
}
