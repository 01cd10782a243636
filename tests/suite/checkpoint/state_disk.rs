//! The disk of the state directory takes no writes for a while: the daemon tries again, and says so.
//!
//! A limit on the size of files fails every write as a full disk does, without the rights to mount a disk.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::testkit::{Bridge, World, assert_equal, caught_up_and_equal, landing};

const LEAD: &str = "INSERT INTO landing_leads (name, phone) VALUES ('n', '+7')";

/// Sets the maximum size of files for the process; the limit can be lifted again.
async fn limit_files(pid: u32, limit: &str) {
    let (pid, limit) = (pid.to_string(), format!("--fsize={limit}:unlimited"));
    let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status().await.unwrap();
    assert!(set.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_state_disk_is_full_tries_again_and_loses_nothing() {
    let world = World::new().await;
    world.fill(61, 60).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    for _ in 0..2 {
        limit_files(daemon.pid(), "1").await;
        landing(&world, LEAD).await;
        let status = daemon
            .until("the full disk is told", |status| {
                status["state"] == "error"
                    && status["last_error"]["message"]
                        .as_str()
                        .unwrap_or_default()
                        .contains("state directory")
            })
            .await;
        assert_eq!(status["last_error"]["retrying"], true, "{status}");
        assert!(status["last_error"]["remedy"].as_str().unwrap().contains("free space"), "{status}");
        landing(&world, LEAD).await;
        limit_files(daemon.pid(), "unlimited").await;
        daemon.streaming().await;
        caught_up_and_equal(&world, &mut daemon).await;
    }
    daemon.terminate().await;
    bridge.catch_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_starts_on_a_full_state_disk_waits_for_space() {
    let world = World::new().await;
    world.fill(62, 60).await;
    let bridge = Bridge::new(&world);
    let plain = bridge.command(&["run", "--until-caught-up"]);
    let mut command = Command::new("prlimit");
    command.arg("--fsize=1:unlimited").arg(plain.as_std().get_program()).args(plain.as_std().get_args());
    command.env_clear();
    for (name, value) in plain.as_std().get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("WARN") && line.contains("the state directory") {
                return true;
            }
        }
        false
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(60), told).await;
    assert!(told.expect("nothing was said"), "the daemon ended: {:?}", child.wait().await);
    limit_files(child.id().unwrap(), "unlimited").await;
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert_equal(&world).await;
}
