//! A command's result on a stdout that is closed or full.

use std::fs::File;
use std::io::pipe;
use std::process::Stdio;

use crate::testkit::{Bridge, World, said_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_cannot_be_written_is_an_error_and_a_reader_that_has_left_is_none() {
    let world = World::new().await;
    world.fill(73, 20).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    for arguments in [
        &["--help"][..],
        &["migrate", "--print"],
        &["doctor"],
        &["doctor", "--json"],
        &["status"],
        &["status", "--json"],
        &["verify"],
        &["verify", "--json"],
        &["cutover", "--dry-run"],
        &["quarantine", "list"],
    ] {
        let code = bridge.run(arguments).await.code;
        let with_stdout = async |stdout: Stdio| {
            let mut command = bridge.command(arguments);
            // `Command::output` would put a pipe of its own in the place of this stdout.
            command.stdout(stdout).stderr(Stdio::piped());
            said_of(command.spawn().unwrap().wait_with_output().await.unwrap())
        };
        let full = with_stdout(File::options().write(true).open("/dev/full").unwrap().into()).await;
        assert_eq!(full.code, 70, "{arguments:?}: {}", full.err);
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let closed = with_stdout(writer.into()).await;
        assert_eq!(closed.code, code, "{arguments:?}: {}", closed.err);
        for said in [&full, &closed] {
            assert!(!said.err.contains("panicked"), "{arguments:?}: {}", said.err);
        }
        let is_told = full.err.contains("stdout cannot be written to");
        assert!(is_told, "{arguments:?}: {}", full.err);
        assert!(!closed.err.contains("stdout"), "{arguments:?}: {}", closed.err);
    }
}
