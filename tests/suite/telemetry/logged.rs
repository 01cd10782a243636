//! The log never ends replication and never holds it up: a full disk, a reader that stands still, a reader that is
//! gone.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::process::Stdio;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use crate::testkit::{Bridge, Daemon, World, caught_up_and_equal, landing};

const LEAD: &str = "INSERT INTO landing_leads (name, phone) VALUES ('n', '+7')";
/// Smaller than what a daemon logs before it streams.
const CAPACITY: usize = 4096;

/// A pipe that is full already, so that the first line of a log waits for a reader.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    assert_eq!(fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CAPACITY as i32)).unwrap(), CAPACITY as i32);
    writer.write_all(&[b'\n'; CAPACITY]).unwrap();
    (reader, writer)
}

async fn streams_on(world: &World, daemon: &mut Daemon) {
    daemon.streaming().await;
    landing(world, LEAD).await;
    caught_up_and_equal(world, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_log_that_stands_still_holds_up_neither_the_stream_nor_the_end() {
    let world = World::new().await;
    world.fill(71, 60).await;
    let bridge = Bridge::new(&world);
    let (mut reader, writer) = full_pipe();
    let mut daemon = Daemon::logging_to(&bridge, Stdio::from(writer));
    streams_on(&world, &mut daemon).await;

    // The reader is back, and finds what was logged meanwhile.
    let (give, take) = sync_channel(1);
    std::thread::spawn(move || {
        let (mut read, mut part) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&read).contains(" streaming ") {
            let count = reader.read(&mut part).unwrap();
            assert!(count > 0, "the daemon ended");
            read.extend_from_slice(&part[..count]);
        }
        give.send(reader).unwrap();
    });
    let reader = take.recv_timeout(Duration::from_secs(60)).expect("the log does not arrive");
    streams_on(&world, &mut daemon).await;
    daemon.terminate().await;
    drop(reader);

    // The last lines wait for a reader that does not come, for a while.
    let (reader, writer) = full_pipe();
    let mut daemon = Daemon::logging_to(&bridge, Stdio::from(writer));
    streams_on(&world, &mut daemon).await;
    daemon.terminate().await;
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_disk_is_full_or_whose_reader_is_gone_ends_nothing() {
    let world = World::new().await;
    world.fill(72, 60).await;
    let bridge = Bridge::new(&world);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, gone) = pipe().unwrap();
    drop(reader);
    for stderr in [Stdio::from(full), Stdio::from(gone)] {
        let mut daemon = Daemon::logging_to(&bridge, stderr);
        streams_on(&world, &mut daemon).await;
        // A terminal that closes.
        daemon.signal(Signal::SIGHUP);
        streams_on(&world, &mut daemon).await;
        daemon.terminate().await;
    }
}
