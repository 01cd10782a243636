//! The throw-away servers themselves.

use std::path::PathBuf;
use std::time::Duration;

use leadbridge::throwaway::writers::WriteRate;
use leadbridge::throwaway::{Cluster, Shutdown};

use crate::testkit::{World, template, until_true};

/// Looks again and again, for at most a minute.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    until_true(what, async || condition()).await;
}

#[tokio::test]
async fn a_server_survives_a_crash_and_keeps_its_port_and_rows() {
    let mut cluster = Cluster::start(&template().await, &[]).await.unwrap();
    cluster.create_database("d", "CREATE TABLE t AS SELECT 42 AS n").await.unwrap();
    let port = cluster.port();
    for shutdown in [Shutdown::Kill, Shutdown::Immediate, Shutdown::Fast] {
        cluster.restart(shutdown).await.unwrap();
        let row = cluster.connect("d").await.unwrap().query_one("SELECT n FROM t", &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 42, "{shutdown:?}");
    }
    assert_eq!(cluster.port(), port);
}

#[tokio::test]
async fn a_server_and_its_directory_are_gone_when_dropped_also_by_a_panic() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let (dir, url) = (cluster.socket_dir().to_owned(), cluster.url("postgres"));
    let panicked = std::thread::spawn(move || {
        let _cluster = cluster;
        panic!("a test that fails on purpose");
    });
    assert!(panicked.join().is_err());
    assert!(!dir.exists());
    assert!(leadbridge::throwaway::connect(&url).await.is_err());
}

/// The other half of the test below: runs alone, in a process that is killed.
#[tokio::test]
#[ignore = "started by another test, in a process of its own"]
async fn child_that_is_killed() {
    let path = PathBuf::from(std::env::var_os("LEADBRIDGE_TEST_OUT").unwrap());
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let draft = path.with_extension("draft");
    std::fs::write(&draft, cluster.socket_dir().to_str().unwrap()).unwrap();
    std::fs::rename(draft, path).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_process_leaves_no_server_and_no_directory() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("dir");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "throwaway::child_that_is_killed"])
        .env("LEADBRIDGE_TEST_OUT", &path)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the child has a server", || path.exists()).await;
    let dir = PathBuf::from(std::fs::read_to_string(&path).unwrap());
    let postmaster = std::fs::read_to_string(dir.join("data/postmaster.pid")).unwrap();
    let pid: i32 = postmaster.lines().next().unwrap().parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the directory is gone", || !dir.exists()).await;
    let server = nix::unistd::Pid::from_raw(pid);
    // A zombie without a reaping parent counts as gone.
    eventually("the server is gone", || {
        nix::sys::signal::kill(server, None).is_err()
            || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "))
    })
    .await;
}

#[tokio::test]
async fn the_same_seed_makes_the_same_leads() {
    let world = World::unmigrated().await;
    let filled = world.fill(7, 1000).await;
    assert_eq!(filled.leads, 1000);
    assert!((2500..3500).contains(&filled.journey_entries), "{filled:?}");
    let landing = world.landing().await;
    let digest = "SELECT md5(string_agg(l::text, '' ORDER BY id)) FROM landing_leads AS l";
    let first: String = landing.query_one(digest, &[]).await.unwrap().get(0);
    landing.batch_execute("TRUNCATE landing_leads CASCADE").await.unwrap();
    world.fill(7, 1000).await;
    assert_eq!(landing.query_one(digest, &[]).await.unwrap().get::<_, String>(0), first);
}

#[tokio::test]
async fn leads_come_in_every_form_that_the_mapping_knows() {
    let world = World::unmigrated().await;
    world.fill(1, 2000).await;
    let forms = [
        "metadata IS NULL",
        "jsonb_typeof(metadata) = 'array'",
        "metadata ? 'utm_source'",
        "metadata ? 'utmSource'",
        "metadata -> 'utmParams' ? 'utm_source'",
        "metadata -> 'utmParams' ? 'utmSource'",
        "jsonb_typeof(metadata -> 'utm_source') = 'number'",
        "metadata ->> 'utm_source' = ''",
        "metadata ->> 'funnel_type' = 'webinar'",
        "pg_column_size(metadata) > 2000",
        "length(metadata::text) > 10000",
        "length(metadata::text) < 200",
        "source IS NULL",
        "length(source) > 50",
        "source ILIKE '%challenge%'",
        "amocrm_contact_id = '99999999999999999999'",
        "amocrm_lead_id ~ '^[0-9]{18}$'",
        "utm_source IS NOT NULL AND metadata ->> 'utm_source' IS NULL AND metadata -> 'utmParams' IS NULL",
        "metadata ?& ARRAY['utmParams', 'userAgent', 'ip', 'answers', 'campaignSlug', 'paymentMethod']",
        "email_sent_at IS NOT NULL AND email_error IS NOT NULL",
        "sms_message_id IS NULL",
        "email_sent IS NULL",
    ];
    let landing = world.landing().await;
    for form in forms {
        let sql = format!("SELECT count(*) FROM landing_leads WHERE {form}");
        let count: i64 = landing.query_one(&sql, &[]).await.unwrap().get(0);
        assert!(count > 0, "no lead with {form}");
    }
}

#[tokio::test]
async fn writers_go_on_over_a_restart_and_stop_when_told() {
    let mut world = World::unmigrated().await;
    world.fill(1, 100).await;
    let writers = world.write(&WriteRate { pause: Duration::ZERO, ..WriteRate::default() });
    let events = async |world: &World| -> i64 {
        let row = world.landing().await.query_one("SELECT count(*) FROM video_events", &[]).await;
        row.unwrap().get(0)
    };
    let wait_past = async |world: &World, count: i64| {
        until_true("the writers go on", async || events(world).await > count).await;
    };
    wait_past(&world, 50).await;
    world.landing.restart(Shutdown::Fast).await.unwrap();
    let before = events(&world).await;
    wait_past(&world, before + 50).await;
    let totals = writers.stop().await.unwrap();
    assert!(totals.committed > 10 && totals.broken >= 4, "{totals:?}");
}
