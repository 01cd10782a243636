//! The number of threads is fixed, and a system without threads left is a clear error.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Stdio;

use leadbridge::commands::THREADS;
use leadbridge::throwaway::writers::WriteRate;
use nix::unistd::Uid;
use tokio::process::Command;

use crate::testkit::{
    Bridge, Daemon, Said, World, brake, caught_up_and_equal, release_brake, said, writers_go_on,
};

fn threads(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_has_the_same_few_threads_on_a_machine_of_any_size() {
    let world = World::new().await;
    world.fill(81, 500).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 20");
    brake(&world, 0.05).await;
    // tokio's own number of threads is the number of processors, or what this variable says.
    let mut daemon = bridge.daemon_with(&[("TOKIO_WORKER_THREADS", "64")]).await;
    let copied = |status: &serde_json::Value| status["snapshot"][0]["rows_done"].as_u64() > Some(0);
    daemon.until("rows are copied", copied).await;
    let in_the_snapshot = threads(&daemon);
    release_brake(&world).await;
    let writers = world.write(&WriteRate::default());
    daemon.streaming().await;
    writers_go_on(&world, 100).await;
    let in_the_stream = threads(&daemon);
    writers.stop().await.unwrap();
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
    eprintln!("{in_the_snapshot} threads in the snapshot, {in_the_stream} in the stream, {THREADS} at most");
    assert!(in_the_snapshot <= THREADS && in_the_stream <= THREADS, "{in_the_snapshot}, {in_the_stream}");
}

/// A user of the tests alone: the kernel counts the threads of a user, and root has no limit.
const NOBODY_ELSE: u32 = 1_902_611;

/// Runs `run --until-caught-up` with a limit of threads for its user.
async fn with_threads(bridge: &Bridge, limit: u32) -> Said {
    let plain = bridge.command(&["run", "--until-caught-up"]);
    let mut command = Command::new("prlimit");
    command.arg(format!("--nproc={limit}:{limit}"));
    command.arg(plain.as_std().get_program()).args(plain.as_std().get_args()).env_clear();
    for (name, value) in plain.as_std().get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    if Uid::effective().is_root() {
        std::fs::create_dir_all(bridge.state_dir()).unwrap();
        std::fs::set_permissions(bridge.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
        chown(bridge.state_dir(), Some(NOBODY_ELSE), Some(NOBODY_ELSE)).unwrap();
        command.uid(NOBODY_ELSE).gid(NOBODY_ELSE);
    }
    command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).kill_on_drop(true);
    said(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_without_threads_left_is_one_clear_error_and_no_hang() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    // As another user than root the limit counts the user's other threads, too, so that only the smallest is certain.
    let limits: &[u32] = if Uid::effective().is_root() { &[1, 2, 3, 8, 16] } else { &[1] };
    for limit in limits {
        let said = with_threads(&bridge, *limit).await;
        assert_eq!(said.code, 70, "{limit}: {}", said.err);
        assert!(said.err.contains("a thread cannot be started"), "{limit}: {}", said.err);
        assert!(said.err.contains("TasksMax") && !said.err.contains("panicked"), "{limit}: {}", said.err);
    }
    if Uid::effective().is_root() {
        let said = with_threads(&bridge, u32::try_from(THREADS).unwrap()).await;
        assert_eq!(said.code, 0, "{}", said.err);
    }
}
