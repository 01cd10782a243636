//! Conditions that prevent a finish: one clear error with its remedy, and nothing changed anywhere.

use leadbridge::files::Manifest;
use nix::sys::signal::Signal;

use super::switched::{CUTOVER, caught_up, make_reverse_slot, switch_over, switched};
use super::{FINISHED, remains};
use crate::testkit::{Bridge, World, assert_refused, holds, landing, one, traffic};

/// Refused with these words, and every database is as before.
async fn refused(world: &World, bridge: &Bridge, arguments: &[&str], words: &[&str]) {
    let before = remains(world).await;
    let arguments = [&["finish", "--yes"], arguments].concat();
    assert_refused(&bridge.run(&arguments).await, words);
    assert_eq!(remains(world).await, before, "{words:?}");
    let begun = "count(*) = 0 FROM leadbridge.finish WHERE dismantling_at IS NOT NULL";
    assert!(holds(&world.traffic().await, begun).await, "{words:?}");
    assert!(!bridge.state_dir().join("backups").exists(), "{words:?}: something was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_without_a_settled_cutover_is_not_finished() {
    let world = World::new().await;
    world.fill(64, 20).await;
    let bridge = Bridge::new(&world);
    refused(&world, &bridge, &[], &["no record of slot `leadbridge`"]).await;
    bridge.catch_up().await;
    refused(&world, &bridge, &[], &["says `streaming`", "run `leadbridge cutover` first"]).await;
    let daemon = bridge.daemon().await;
    refused(&world, &bridge, &[], &["says `streaming`"]).await;
    daemon.terminate().await;
    traffic(&world, "UPDATE leadbridge.checkpoint SET state = 'switched'").await;
    refused(&world, &bridge, &[], &["has no row for slot", "restored from a backup"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_undecided_quarantined_or_open_is_settled_first() {
    let (world, bridge) = switched(20).await;
    for (damage, repair, words) in [
        (
            "INSERT INTO leadbridge.cutover (id, slot, direction, state, deadline, operator, leadbridge_version)
             VALUES (gen_random_uuid(), 'leadbridge', 'rollback', 'fenced', now(), 'o', 'v')",
            "DELETE FROM leadbridge.cutover WHERE direction = 'rollback'",
            ["a rollback is not decided yet", "run `leadbridge rollback` again"],
        ),
        (
            "INSERT INTO leadbridge.reverse_quarantine (traffic_table, row_id, sqlstate, message)
             VALUES ('traffic_leads', gen_random_uuid(), '23514', 'm')",
            "DELETE FROM leadbridge.reverse_quarantine",
            ["1 rows of Traffic could not be written", "reverse_quarantine"],
        ),
        (
            "UPDATE leadbridge.checkpoint SET landing_system_id = '7'",
            "UPDATE leadbridge.checkpoint SET landing_system_id = system_id FROM system",
            ["is not the database that was moved", "LANDING_DATABASE_URL"],
        ),
    ] {
        let system: String = one(
            &world.landing().await,
            "SELECT system_identifier::text FROM pg_control_system()",
        )
        .await;
        traffic(&world, damage).await;
        refused(&world, &bridge, &[], &words).await;
        traffic(&world, &format!("WITH system (system_id) AS (VALUES ('{system}')) {repair}")).await;
    }
    // The fence is open, or about to open by itself.
    for (damage, repair) in [
        ("UPDATE leadbridge.fence SET lifted_at = now()", "UPDATE leadbridge.fence SET lifted_at = NULL"),
        (
            "UPDATE leadbridge.fence SET expires_at = now() + interval '1 hour'",
            "UPDATE leadbridge.fence SET expires_at = NULL",
        ),
    ] {
        landing(&world, damage).await;
        refused(&world, &bridge, &[], &["no fence of cutover", CUTOVER, "journey_stages"]).await;
        landing(&world, repair).await;
    }
    // The fence's triggers were off for a while.
    landing(&world, "ALTER TABLE journey_stages DISABLE TRIGGER USER").await;
    landing(&world, "ALTER TABLE journey_stages ENABLE TRIGGER USER").await;
    refused(&world, &bridge, &[], &["the fence of cutover", CUTOVER, "is damaged", "journey_stages"]).await;
    landing(&world, &format!("SELECT leadbridge.restore_fence('{CUTOVER}', false)")).await;
    assert_eq!(bridge.run(&["finish", "--yes"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn landing_behind_traffic_is_told_from_a_busy_traffic_by_decoding() {
    let (world, bridge) = switched(20).await;
    traffic(&world, "UPDATE traffic_leads SET status = 'contacted', updated_at = now()").await;
    refused(
        &world,
        &bridge,
        &[],
        &["behind Traffic: it lacks at least 1 of its transactions", "start the daemon"],
    )
    .await;
    caught_up(&world).await;
    // The slot's remaining WAL and other tables' writes are no work for reverse replication; nor are rolled-back
    // transactions.
    traffic(
        &world,
        "INSERT INTO traffic_weekly_plans (id) SELECT gen_random_uuid() WHERE false;
         CREATE TABLE lms (t text);
         INSERT INTO lms SELECT repeat('x', 1000) FROM generate_series(1, 3000)",
    )
    .await;
    traffic(&world, "BEGIN; DELETE FROM traffic_leads; ROLLBACK").await;
    assert_eq!(bridge.run(&["finish", "--yes"]).await.code, 0);
    assert_eq!(remains(&world).await, FINISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_thousand_applied_changes_in_the_slot_hide_none_that_is_not() {
    let (world, bridge) = switched(20).await;
    let insert = "INSERT INTO traffic_leads (name) SELECT 'n' FROM generate_series(1, 400)";
    for _ in 0..4 {
        traffic(&world, insert).await;
    }
    caught_up(&world).await;
    traffic(
        &world,
        "DELETE FROM traffic_lead_journey WHERE id IN (SELECT id FROM traffic_lead_journey LIMIT 1)",
    )
    .await;
    refused(&world, &bridge, &[], &["behind Traffic"]).await;
    let behind = bridge.run(&["finish", "--yes", "--max-behind", "1h", "--json"]).await;
    assert_eq!(behind.code, 0, "{}", behind.err);
    let certificate: serde_json::Value = serde_json::from_str(&behind.out).unwrap();
    assert_eq!(certificate["reverse"]["left_behind"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_reverse_slot_only_an_operator_says_how_much_a_backup_may_lack() {
    let (world, bridge) = switched(20).await;
    traffic(&world, "SELECT pg_drop_replication_slot('leadbridge_reverse')").await;
    refused(&world, &bridge, &[], &["is gone from Traffic or has lost WAL", "--max-behind"]).await;
    traffic(&world, "UPDATE leadbridge.reverse SET caught_up_at = NULL").await;
    refused(&world, &bridge, &["--max-behind", "10years"], &["since the switch"]).await;
    caught_up(&world).await;
    let said = bridge.run(&["finish", "--yes", "--max-behind", "1h"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("It may lack what Traffic committed after"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_not_ours_or_not_for_our_role_is_not_dropped() {
    let (world, bridge) = switched(20).await;
    landing(&world, "SELECT pg_drop_replication_slot('leadbridge')").await;
    landing(&world, "SELECT pg_create_physical_replication_slot('leadbridge')").await;
    refused(&world, &bridge, &[], &["the slot `leadbridge` on Landing is not leadbridge's"]).await;
    landing(&world, "SELECT pg_drop_replication_slot('leadbridge')").await;
    traffic(&world, "SELECT pg_drop_replication_slot('leadbridge_reverse')").await;
    let theirs = "SELECT pg_create_logical_replication_slot('leadbridge_reverse', 'test_decoding')";
    traffic(&world, theirs).await;
    let words = ["the slot `leadbridge_reverse` on the Traffic DB is not leadbridge's"];
    refused(&world, &bridge, &["--max-behind", "1h"], &words).await;
    traffic(&world, "SELECT pg_drop_replication_slot('leadbridge_reverse')").await;
    make_reverse_slot(&world).await;

    let user = "CREATE ROLE plain LOGIN PASSWORD 'plain' BYPASSRLS;
        GRANT USAGE ON SCHEMA leadbridge TO plain; GRANT ALL ON ALL TABLES IN SCHEMA leadbridge TO plain";
    traffic(&world, user).await;
    let plain = Bridge::between(&world.landing_url(), &world.traffic.url_as("plain", "plain", "traffic"));
    refused(&world, &plain, &[], &["may not drop the slot `leadbridge_reverse`", "REPLICATION"]).await;
    // Without a slot to drop the role lacks no right.
    assert_eq!(bridge.run(&["finish", "--yes"]).await.code, 0);
    make_reverse_slot(&world).await;
    let said = bridge.run(&["finish"]).await;
    assert!(said.code == 0 && said.out.contains("Left for the owner"), "{} {}", said.out, said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_in_use_stops_it_before_the_other_one_is_dropped() {
    let world = World::new().await;
    world.fill(65, 20).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    // The daemon stands still, and Traffic has ended the daemon's session: no lease, but Landing still streams to the
    // daemon.
    daemon.signal(Signal::SIGSTOP);
    let others =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'leadbridge %'";
    traffic(&world, others).await;
    switch_over(&world).await;
    refused(&world, &bridge, &[], &["`leadbridge` is in use by process", "stop the daemon"]).await;
    daemon.kill().await;
    assert_eq!(bridge.run(&["finish", "--yes"]).await.code, 0);
    assert_eq!(remains(&world).await, FINISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_used_is_refused_before_anything_is_dropped() {
    let (world, bridge) = switched(20).await;
    let full = bridge.dir().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("theirs"), "x").unwrap();
    let file = bridge.dir().join("leadbridge.toml");
    for (directory, words) in [
        (full.to_str().unwrap(), ["is not empty", "does not exist yet"]),
        (file.to_str().unwrap(), ["leadbridge.toml", "name another directory"]),
        ("/proc/self/backup", ["/proc/self/backup", "name another directory"]),
    ] {
        refused(&world, &bridge, &["--backup", directory], &words).await;
    }
    assert_eq!(std::fs::read_to_string(full.join("theirs")).unwrap(), "x");
    let said = bridge.run(&["finish"]).await;
    assert_eq!(said.code, 64, "nobody can be asked: {}", said.err);
    assert!(said.err.contains("slot leadbridge_reverse on the Traffic DB: dropped"), "{}", said.err);

    let empty = bridge.dir().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let said =
        bridge.run(&["finish", "--yes", "--format", "jsonl", "--backup", empty.to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(Manifest::read(&empty).unwrap().unwrap().tables[0].file, "landing_leads.jsonl");
}
