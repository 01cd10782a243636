//! leadbridge is never a synchronous standby: no commit of the site waits for leadbridge.

use std::time::Duration;

use tokio_postgres::Client;

use crate::cutover::CutoverSetup;
use crate::testkit::{
    Bridge, World, assert_refused, differences_beside_quarantine, ends_refused, least_privileged, one,
    standby_of, until_holds,
};

/// Sets the server's list of standbys, and waits until the list is in force.
async fn wait_for_standbys(client: &Client, list: &str) {
    client.batch_execute("SET synchronous_commit = local").await.unwrap();
    let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{list}'");
    client.batch_execute(&set).await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    until_holds(client, &format!("current_setting('synchronous_standby_names') = '{list}'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_would_wait_for_the_stream_is_refused_at_the_start_and_named_by_doctor() {
    let world = World::new().await;
    world.fill(41, 20).await;
    let bridge = Bridge::new(&world);
    let landing = world.landing().await;
    for list in ["*", "FIRST 1 (s1, *)", "ANY 1 (\"LeadBridge Stream\")"] {
        wait_for_standbys(&landing, list).await;
        let said = bridge.run(&["run"]).await;
        assert_refused(&said, &["Landing DB", "synchronous_standby_names", list]);
        let doctor = bridge.run(&["doctor"]).await;
        assert_eq!(doctor.code, 1, "{}{}", doctor.out, doctor.err);
        assert!(doctor.out.contains("takes the stream for a synchronous standby"), "{}", doctor.out);
    }
    let slots: i64 = one(&landing, "SELECT count(*) FROM pg_replication_slots").await;
    assert_eq!(slots, 0, "a slot was left");
    // A list of the school's own standbys does not concern leadbridge.
    wait_for_standbys(&landing, "leadbridge, s1").await;
    bridge.catch_up().await;
}

/// Effect on Landing's site of a list that changes under a running daemon: one commit waits for a moment.
async fn a_changed_list_ends_the_stream(world: &World, bridge: &Bridge) {
    world.fill(42, 30).await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(world).await;
    let writer = world.landing().await;
    let landing = world.landing().await;
    // The positions were just recorded, so the next regular time is far away.
    daemon.caught_up(world).await;
    wait_for_standbys(&landing, "*").await;
    let waited = tokio::time::timeout(Duration::from_secs(5), writer.batch_execute(LEAD)).await;
    waited.expect("a commit of the site waits for leadbridge").unwrap();
    ends_refused(&mut daemon, &["Landing DB", "synchronous_standby_names"]).await;
}

const LEAD: &str = "CREATE TABLE of_the_site ()";

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_becomes_a_synchronous_standby_lets_waiting_commits_go_and_ends() {
    let world = World::new().await;
    a_changed_list_ends_the_stream(&world, &Bridge::new(&world)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_see_the_state_of_standbys_finds_out_all_the_same() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    a_changed_list_ends_the_stream(&world, &bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_must_be_read_from_landing_does_not_wait_for_its_own_acknowledgement() {
    let world = World::new().await;
    world.fill(43, 30).await;
    let landing = world.landing().await;
    let long = "INSERT INTO landing_leads (id, name, phone, metadata) SELECT \
                '00000000-0000-4000-8000-000000000001', 'n', '+7', jsonb_build_object('x', \
                (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) AS i))";
    landing.batch_execute(long).await.unwrap();
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    // The row is absent on Traffic, so that the stream's partial image is not enough.
    let gone = "DELETE FROM traffic_leads WHERE id = '00000000-0000-4000-8000-000000000001'";
    world.traffic().await.batch_execute(gone).await.unwrap();
    let writer = world.landing().await;
    let change = "UPDATE landing_leads SET phone = '+77' WHERE id = '00000000-0000-4000-8000-000000000001'";
    wait_for_standbys(&landing, "*").await;
    let writing = tokio::spawn(async move { writer.batch_execute(change).await });
    ends_refused(&mut daemon, &["synchronous_standby_names"]).await;
    // The daemon never holds the commit: the commit succeeds when the list is corrected.
    wait_for_standbys(&landing, "").await;
    writing.await.unwrap().unwrap();
    bridge.catch_up().await;
    assert_eq!(differences_beside_quarantine(&world).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_that_would_wait_for_reverse_replication_is_found_before_the_cutover() {
    let mut world = World::new().await;
    let standby = standby_of(&mut world.traffic, "traffic", &[]).await;
    let traffic = world.traffic().await;
    until_holds(&traffic, "count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'").await;
    wait_for_standbys(&traffic, "*").await;
    let bridge = Bridge::new(&world);
    let setup = CutoverSetup::between(world, bridge).await;
    let said = setup.cutover(&["--dry-run"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("Traffic DB takes the stream for a synchronous standby"), "{}", said.out);
    let doctor = setup.bridge.run(&["doctor"]).await;
    assert_eq!(doctor.code, 0, "only a warning before the switch: {}{}", doctor.out, doctor.err);
    assert!(doctor.out.contains("no cutover can be made"), "{}", doctor.out);
    drop(standby);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_switch_traffics_commits_do_not_wait_either() {
    let mut setup = CutoverSetup::new().await;
    setup.switches(&[]).await;
    setup.daemon.until("reverse replication", |status| status["state"] == "switched").await;
    let traffic = setup.world.traffic().await;
    wait_for_standbys(&traffic, "*").await;
    ends_refused(&mut setup.daemon, &["Traffic DB", "synchronous_standby_names"]).await;
    // A commit of the daemon's own session may be waiting, and the waiting session keeps the lease.
    wait_for_standbys(&traffic, "").await;
    let gone = "NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'leadbridge apply')";
    until_holds(&traffic, gone).await;
    wait_for_standbys(&traffic, "*").await;
    let said = setup.bridge.run(&["run"]).await;
    assert_refused(&said, &["Traffic DB", "synchronous_standby_names"]);
}
