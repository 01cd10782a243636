//! `leadbridge demo` in a newcomer's environment: the real binary, without preparation.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use leadbridge::throwaway::signal;
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// Runs with a temporary directory of its own, which must be empty in the end.
fn demo(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leadbridge"));
    command
        .arg("demo")
        .env("TMPDIR", dir)
        // The operator's real configuration is not meant for the demo.
        .env("TRAFFIC_DATABASE_URL", "postgresql://nobody@192.0.2.1/nothing")
        .env("LEADBRIDGE_HTTP_LISTEN", "nowhere")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Writable for all, like /tmp: under root, the servers run as a user of their own, who removes their directories.
fn private_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    // Set after the creation, because the umask would clear the bits at the creation.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    dir
}

fn left_behind(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[tokio::test]
async fn the_demo_tells_the_whole_story_proves_it_and_leaves_nothing_behind() {
    let dir = private_dir();
    let output = demo(dir.path()).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let flowing = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["1,000 leads", "rows/s", "peak", "kill -9", ": 0 differences", "Everything held"] {
        assert!(flowing.contains(words), "not on the screen: {words}\n{text}");
    }
    assert!(!text.contains('\x1b'), "no control characters where there is no terminal");
    assert!(!text.contains('@') && !text.contains("+7"), "somebody's e-mail or phone");
    assert_eq!(left_behind(dir.path()), 0);
}

#[tokio::test]
async fn an_interrupted_demo_says_so_and_leaves_nothing_behind() {
    let dir = private_dir();
    let mut child = demo(dir.path()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reach = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("the stream") {
                return;
            }
        }
        panic!("the demo ended before it streamed");
    };
    tokio::time::timeout(Duration::from_secs(120), reach).await.unwrap();
    signal(&child, Signal::SIGINT).unwrap();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push_str(&line);
    }
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    assert!(said.contains("Interrupted"), "{said}");
    assert_eq!(left_behind(dir.path()), 0);
}
