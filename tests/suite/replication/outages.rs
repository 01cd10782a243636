//! Servers that refuse, stall, fill up and restart: the status shows each fault, and Traffic ends exact.

use std::path::{Path, PathBuf};

use leadbridge::throwaway::writers::WriteRate;
use leadbridge::throwaway::{Shutdown, connect};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::Client;

use crate::testkit::{
    Bridge, Daemon, Positions, World, assert_equal, brake, holds, landing, one, release_brake, traffic,
    until_holds, until_true, writers_go_on,
};

async fn with_settings(landing: &[(&str, &str)], traffic: &[(&str, &str)], leads: usize) -> World {
    let world = World::with_settings(landing, traffic).await;
    world.fill(90, leads).await;
    world
}

async fn streaming(bridge: &Bridge) -> Daemon {
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    daemon
}

/// The status shows the fault, with its SQLSTATE, and with the promise to retry.
async fn seen(daemon: &mut Daemon, sqlstate: &str) {
    let says = |status: &serde_json::Value| {
        let error = &status["last_error"];
        status["state"] == "error"
            && error["retrying"] == true
            && error["message"].as_str().is_some_and(|message| message.contains(sqlstate))
    };
    daemon.until(sqlstate, says).await;
}

/// Ends a story: every change has arrived, no error is left, the positions have their order.
async fn exact(world: &World, bridge: &Bridge, mut daemon: Daemon) {
    daemon.caught_up(world).await;
    let status = daemon.status().await;
    assert!(status["last_error"].is_null(), "{status}");
    daemon.terminate().await;
    Positions::read(world, bridge).await.assert_ordered();
    assert_equal(world).await;
}

const TOUCH: &str = "UPDATE landing_leads SET click_count = click_count + 1";

#[tokio::test(flavor = "multi_thread")]
async fn either_server_may_be_restarted_in_any_way_in_the_middle_of_a_snapshot() {
    let mut world = with_settings(&[], &[], 200).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 40");
    let writers = world.write(&WriteRate::default());
    brake(&world, 0.2).await;
    let mut daemon = bridge.daemon().await;
    let copies = |status: &serde_json::Value| {
        status["state"] == "snapshot"
            && status["snapshot"][0]["rows_done"].as_u64().is_some_and(|rows| rows > 0)
    };
    for shutdown in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Kill] {
        daemon.until("rows are copied", copies).await;
        world.landing.restart(shutdown).await.unwrap();
        daemon.until("rows are copied", copies).await;
        world.traffic.restart(shutdown).await.unwrap();
    }
    release_brake(&world).await;
    writers.stop().await.unwrap();
    exact(&world, &bridge, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_server_may_crash_under_the_stream() {
    let mut world = with_settings(&[], &[], 50).await;
    let bridge = Bridge::new(&world);
    let writers = world.write(&WriteRate::default());
    let mut daemon = streaming(&bridge).await;
    for _ in 0..2 {
        world.landing.restart(Shutdown::Kill).await.unwrap();
        writers_go_on(&world, 20).await;
        world.traffic.restart(Shutdown::Kill).await.unwrap();
        daemon.caught_up(&world).await;
    }
    writers.stop().await.unwrap();
    exact(&world, &bridge, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_server_that_is_read_only_for_a_while_is_waited_for() {
    let world = with_settings(&[], &[], 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = streaming(&bridge).await;
    traffic(&world, "ALTER SYSTEM SET default_transaction_read_only = on").await;
    world.traffic.reload();
    until_holds(&world.traffic().await, "current_setting('default_transaction_read_only') = 'on'").await;
    landing(&world, TOUCH).await;
    seen(&mut daemon, "25006").await;
    traffic(&world, "ALTER SYSTEM RESET default_transaction_read_only").await;
    world.traffic.reload();
    exact(&world, &bridge, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_server_in_recovery_is_waited_for_until_it_is_promoted() {
    let mut world = with_settings(&[], &[], 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = streaming(&bridge).await;
    world.traffic.install("standby.signal", b"").unwrap();
    world.traffic.restart(Shutdown::Fast).await.unwrap();
    landing(&world, TOUCH).await;
    seen(&mut daemon, "25006").await;
    traffic(&world, "SELECT pg_promote()").await;
    exact(&world, &bridge, daemon).await;
}

/// A small disk, unmounted when dropped; `None` where the test may not mount a disk.
struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    fn mount(owner_of: &Path) -> Option<SmallDisk> {
        use std::os::unix::fs::MetadataExt as _;
        let owner = std::fs::metadata(owner_of).unwrap();
        let dir = std::env::temp_dir().join(format!("small-disk-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&dir).unwrap();
        let options = format!("size=4m,mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&dir).output();
        // Dropping the value removes the directory even without a mount.
        let disk = SmallDisk { dir };
        mounted.is_ok_and(|output| output.status.success()).then_some(disk)
    }

    /// Fills the disk completely.
    fn fill(&self) {
        use std::io::Write as _;
        let mut ballast = std::fs::File::create(self.dir.join("ballast")).unwrap();
        for size in [4096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.dir.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount, because the server may still have open files there. Fails when no disk is mounted.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.dir).output();
        let _ = std::fs::remove_dir(&self.dir);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_on_traffic_is_waited_for() {
    let world = with_settings(&[], &[], 50).await;
    let bridge = Bridge::new(&world);
    let disk = SmallDisk::mount(&world.traffic.data_dir());
    if let Some(disk) = &disk {
        let space = format!("CREATE TABLESPACE small LOCATION '{}'", disk.dir.display());
        traffic(&world, &space).await;
        traffic(&world, "ALTER TABLE traffic_leads SET TABLESPACE small").await;
    }
    let mut daemon = streaming(&bridge).await;
    match &disk {
        Some(disk) => {
            println!("a tmpfs of 4 MB is filled");
            disk.fill();
        }
        None => {
            println!("nothing may be mounted here: a trigger says what a full disk says");
            refuse(&world, "53100", i64::MAX).await;
        }
    }
    world.fill(91, 200).await;
    seen(&mut daemon, "53100").await;
    match &disk {
        Some(disk) => disk.free(),
        None => traffic(&world, "DROP FUNCTION public.refuse CASCADE").await,
    }
    exact(&world, &bridge, daemon).await;
}

/// Traffic answers the given number of writes of leads with an error, for any role.
async fn refuse(world: &World, sqlstate: &str, times: i64) {
    let sql = format!(
        "CREATE SEQUENCE IF NOT EXISTS public.refused; SELECT setval('public.refused', 1, false);
         CREATE OR REPLACE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('public.refused') <= {times} THEN
                 RAISE EXCEPTION 'refused by the test' USING ERRCODE = '{sqlstate}'; END IF;
             RETURN NULL; END $$;
         CREATE OR REPLACE TRIGGER refuse AFTER INSERT OR UPDATE ON public.traffic_leads
             FOR EACH STATEMENT EXECUTE FUNCTION public.refuse();
         ALTER TABLE public.traffic_leads ENABLE ALWAYS TRIGGER refuse"
    );
    traffic(world, &sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_away_by_itself_is_tried_again_until_it_has() {
    let world = with_settings(&[], &[], 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = streaming(&bridge).await;
    for sqlstate in ["40001", "40P01", "53200", "53400", "55P03", "57014", "58030"] {
        refuse(&world, sqlstate, 2).await;
        landing(&world, TOUCH).await;
        daemon.caught_up(&world).await;
        assert_eq!(daemon.log().matches(&format!("SQLSTATE {sqlstate}")).count(), 2, "{}", daemon.log());
    }
    exact(&world, &bridge, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_with_a_traffic_session_is_lost_and_tried_again() {
    let world = with_settings(&[], &[("deadlock_timeout", "3s")], 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = streaming(&bridge).await;
    let admin = world.traffic().await;
    for _ in 0..3 {
        let other = world.traffic().await;
        // The daemon's session looks for a deadlock first, and is the victim.
        other.batch_execute("SET deadlock_timeout = '1h'; BEGIN").await.unwrap();
        let lock = "SELECT FROM traffic_leads WHERE id = (SELECT id FROM traffic_leads ORDER BY id";
        other.batch_execute(&format!("{lock} DESC LIMIT 1) FOR UPDATE")).await.unwrap();
        landing(&world, TOUCH).await;
        let waits = "count(*) > 0 FROM pg_stat_activity WHERE application_name = 'leadbridge apply' \
                     AND wait_event_type = 'Lock'";
        until_holds(&admin, waits).await;
        let locking = format!("SET lock_timeout = '6s'; {lock} LIMIT 1) FOR UPDATE");
        // When the daemon's session came too late for PostgreSQL's single check, no session finds the deadlock: once
        // more.
        let locked = other.batch_execute(&locking).await;
        other.batch_execute("ROLLBACK").await.unwrap();
        daemon.caught_up(&world).await;
        if locked.is_ok() {
            break;
        }
    }
    assert!(daemon.log().contains("40P01"), "{}", daemon.log());
    exact(&world, &bridge, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffics_own_isolation_level_does_not_set_the_daemon_against_traffics_writers() {
    let world = with_settings(&[], &[("default_transaction_isolation", "serializable")], 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = streaming(&bridge).await;
    for _ in 0..3 {
        let other = world.traffic().await;
        other.batch_execute("BEGIN; UPDATE traffic_leads SET amocrm_status_id = 7").await.unwrap();
        landing(&world, TOUCH).await;
        let waits = "count(*) > 0 FROM pg_stat_activity WHERE application_name = 'leadbridge apply' \
                     AND wait_event_type = 'Lock'";
        until_holds(&world.traffic().await, waits).await;
        other.batch_execute("COMMIT").await.unwrap();
        daemon.caught_up(&world).await;
    }
    assert!(!daemon.log().contains("40001"), "{}", daemon.log());
    exact(&world, &bridge, daemon).await;
}

/// The process ids of leadbridge's sessions on the server, except for sessions that the role may not name.
async fn backends(client: &Client, name: &str) -> Vec<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE $1";
    client.query(sql, &[&name]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_of_ours_may_be_terminated_under_live_writers() {
    let world = with_settings(&[], &[], 50).await;
    let bridge = Bridge::new(&world);
    let writers = world.write(&WriteRate::default());
    let mut daemon = streaming(&bridge).await;
    let names = [
        (world.landing().await, "leadbridge stream"),
        (world.landing().await, "leadbridge control"),
        (world.landing().await, "leadbridge monitor"),
        (world.traffic().await, "leadbridge apply"),
        (world.traffic().await, "leadbridge monitor"),
        (world.landing().await, "leadbridge %"),
        (world.traffic().await, "leadbridge %"),
    ];
    for (client, name) in names {
        until_true(name, async || !backends(&client, name).await.is_empty()).await;
        for pid in backends(&client, name).await {
            client.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
        }
        writers_go_on(&world, 10).await;
    }
    writers.stop().await.unwrap();
    daemon.caught_up(&world).await;
    exact(&world, &bridge, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_server_without_a_free_connection_is_waited_for() {
    let world = with_settings(&[], &[("max_connections", "20")], 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = streaming(&bridge).await;
    let admin = world.traffic().await;
    let mut hogs = Vec::new();
    until_true("no connection is free when the daemon wants one", async || {
        while let Ok(hog) = connect(&world.traffic_url()).await {
            hogs.push(hog);
        }
        for pid in backends(&admin, "leadbridge %").await {
            admin.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
        }
        daemon.log().contains("53300")
    })
    .await;
    landing(&world, TOUCH).await;
    seen(&mut daemon, "53300").await;
    drop(hogs);
    exact(&world, &bridge, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_process_that_stands_still_for_a_while_is_waited_for() {
    let world = with_settings(&[], &[], 50).await;
    let bridge = Bridge::new(&world);
    let writers = world.write(&WriteRate::default());
    let mut daemon = streaming(&bridge).await;
    for (client, name) in
        [(world.landing().await, "leadbridge stream"), (world.traffic().await, "leadbridge apply")]
    {
        let pids: Vec<_> = backends(&client, name).await.into_iter().map(Pid::from_raw).collect();
        assert!(!pids.is_empty(), "{name}");
        pids.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
        writers_go_on(&world, 100).await;
        // A backend that is gone by now was terminated by the daemon.
        for pid in pids {
            let _ = kill(pid, Signal::SIGCONT);
        }
        daemon.caught_up(&world).await;
    }
    writers.stop().await.unwrap();
    exact(&world, &bridge, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_traffic_server_does_not_cost_the_stream_however_short_landings_patience() {
    let world = with_settings(&[("wal_sender_timeout", "1s")], &[], 20).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 400");
    let mut daemon = streaming(&bridge).await;
    brake(&world, 3.0).await;
    world.fill(92, 700).await;
    daemon.caught_up(&world).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    assert_eq!(one::<i64>(&world.traffic().await, "SELECT count(*) FROM traffic_leads").await, 720);
    exact(&world, &bridge, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_the_next_checkpoint_would_lose_is_saved_by_catching_up_before_it() {
    let settings =
        [("max_slot_wal_keep_size", "16MB"), ("checkpoint_timeout", "1h"), ("max_wal_size", "4GB")];
    let world = with_settings(&settings, &[], 50).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    landing(&world, TOUCH).await;
    let client = world.landing().await;
    until_true("the slot is about to be lost", async || {
        client.batch_execute("SELECT pg_switch_wal(); CREATE TABLE w(); DROP TABLE w").await.unwrap();
        holds(&client, "wal_status = 'unreserved' FROM pg_replication_slots").await
    })
    .await;
    let doctor = bridge.run(&["doctor"]).await;
    assert!(doctor.code == 0 && doctor.out.contains("will be lost"), "{}", doctor.out);
    let mut daemon = streaming(&bridge).await;
    daemon.caught_up(&world).await;
    until_true("the slot lets go", async || {
        // Creating another slot makes the server record the daemon's slot's restart position, which otherwise happens
        // only after a while.
        client.batch_execute(OTHER_SLOT).await.unwrap();
        holds(&client, "wal_status IN ('reserved', 'extended') FROM pg_replication_slots").await
    })
    .await;
    client.batch_execute("CHECKPOINT").await.unwrap();
    landing(&world, TOUCH).await;
    exact(&world, &bridge, daemon).await;
}

const OTHER_SLOT: &str = "SELECT pg_create_logical_replication_slot('other', 'pgoutput');
    SELECT pg_drop_replication_slot('other')";
