//! What flows back begins at a point before which everything was visible; and no slot but leadbridge's own is dropped.

use std::sync::Arc;

use leadbridge::failpoint::Point;

use super::CutoverSetup;
use super::faults::{PATIENT, go_on, standing_at};
use crate::testkit::{Bridge, World, holds, one, traffic, until, until_holds, until_true};

/// The command asks whether every transaction before the handover is over.
const HANDOVER: &str = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'leadbridge cutover' \
                        AND query LIKE '%pg_snapshot_xmin%>=%')";

/// A commit on Traffic that is in the WAL and not visible: its backend stands still, because a standby that is away
/// was waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_in_the_wal_and_not_visible_at_the_handover_is_waited_for_and_compared() {
    let setup = CutoverSetup::new().await;
    let arguments = setup.arguments(&PATIENT);
    let command = standing_at(&setup.bridge, &arguments, Point::CutoverPrepared).await;
    let (writer, operator) = (setup.world.traffic().await, setup.world.traffic().await);
    let backend: i32 = one(&writer, "SELECT pg_backend_pid()").await;
    let id: String = one(&operator, "SELECT min(id::text) FROM traffic_leads").await;
    let writer = Arc::new(writer);
    away(&operator, "away").await;
    let write = format!("UPDATE traffic_leads SET name = name || '!' WHERE id = '{id}'");
    let waits =
        format!("EXISTS (SELECT FROM pg_stat_activity WHERE pid = {backend} AND wait_event = 'SyncRep')");
    // The server takes a moment to read its new configuration: a commit before then does not wait.
    let committing = until("a commit waits for the standby", async || {
        let (writer, write) = (Arc::clone(&writer), write.clone());
        let committing = tokio::spawn(async move { writer.batch_execute(&write).await });
        until_true("the commit waits, or has ended", async || {
            committing.is_finished() || holds(&operator, &waits).await
        })
        .await;
        (!committing.is_finished()).then_some(committing)
    })
    .await;
    let backend = nix::unistd::Pid::from_raw(backend);
    nix::sys::signal::kill(backend, nix::sys::signal::Signal::SIGSTOP).unwrap();
    away(&operator, "").await;
    let going = tokio::spawn(go_on(command));
    until_holds(&operator, HANDOVER).await;
    let decided = holds(&operator, "bool_and(state <> 'started') FROM leadbridge.cutover").await;
    nix::sys::signal::kill(backend, nix::sys::signal::Signal::SIGCONT).unwrap();
    assert!(!decided, "the handover did not wait");
    committing.await.unwrap().unwrap();
    // The comparison sees the row, which Landing does not have so.
    let (said, code) = going.await.unwrap();
    assert!(code == 4 && said.contains("landing_leads differs under the fence"), "{said}");
    setup.settled().await;
    setup.assert_as_before().await;
}

async fn away(operator: &tokio_postgres::Client, standby: &str) {
    operator
        .batch_execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"))
        .await
        .unwrap();
    operator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handover_waits_for_a_transaction_that_is_open_when_the_slot_exists() {
    let mut setup = CutoverSetup::new().await;
    let arguments = setup.arguments(&PATIENT);
    let command = standing_at(&setup.bridge, &arguments, Point::CutoverPrepared).await;
    let writer = setup.world.traffic().await;
    let id: String = one(&setup.world.traffic().await, "SELECT min(id::text) FROM traffic_leads").await;
    let write = format!(
        "BEGIN; INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES ('{id}', 'late', now())"
    );
    writer.batch_execute(&write).await.unwrap();
    let going = tokio::spawn(go_on(command));
    let undecided = "bool_and(state = 'started') FROM leadbridge.cutover";
    until_holds(&setup.world.traffic().await, HANDOVER).await;
    assert!(holds(&setup.world.traffic().await, undecided).await, "the handover did not wait");
    writer.batch_execute("COMMIT").await.unwrap();
    let (said, code) = going.await.unwrap();
    assert_eq!(code, 0, "{said}");
    setup.flows_back().await;
    // The entry was committed before the switch, and after the point from which changes flow back.
    let carried = "count(*) = 1 FROM journey_stages WHERE stage = 'late'";
    until_holds(&setup.world.landing().await, carried).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_the_reverse_slots_name_that_is_not_ours_is_refused_and_never_dropped() {
    let setup = CutoverSetup::new().await;
    for plugin in ["test_decoding", "pgoutput"] {
        let create = format!("SELECT pg_create_logical_replication_slot('leadbridge_reverse', '{plugin}')");
        traffic(&setup.world, &create).await;
        let said = setup.cutover(&[]).await;
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        assert!(said.out.contains("a slot `leadbridge_reverse` exists"), "{}", said.out);
        setup.settled().await;
        let there = format!("count(*) = 1 FROM pg_replication_slots WHERE plugin = '{plugin}'");
        assert!(holds(&setup.world.traffic().await, &there).await);
        traffic(&setup.world, "SELECT pg_drop_replication_slot('leadbridge_reverse')").await;
    }
    setup.switches(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_killed_while_its_slot_is_created_leaves_no_slot() {
    let setup = CutoverSetup::new().await;
    // A transaction that the creation of the slot waits for.
    let holder = setup.world.traffic().await;
    holder.batch_execute("BEGIN; CREATE TABLE held (); LOCK TABLE held").await.unwrap();
    let arguments = setup.arguments(&["--timeout", "20s"]);
    let mut command = setup.bridge.command(&arguments).spawn().unwrap();
    let creating = "EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'leadbridge_reverse')";
    until_holds(&setup.world.traffic().await, creating).await;
    command.kill().await.unwrap();
    holder.batch_execute("ROLLBACK").await.unwrap();
    setup.settled().await;
    until_true("no slot is left", async || {
        holds(&setup.world.traffic().await, "NOT EXISTS (SELECT FROM pg_replication_slots)").await
    })
    .await;
    setup.assert_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reverse_slot_survives_a_failover_of_traffic_where_slots_are_made_to() {
    let world = World::new().await;
    if holds(&world.landing().await, "current_setting('server_version_num')::int < 170000").await {
        return;
    }
    let bridge = Bridge::new(&world).configured("[snapshot]\nslot_failover = true");
    let setup = CutoverSetup::between(world, bridge).await;
    setup.switches(&[]).await;
    let survives = "bool_and(failover) FROM pg_replication_slots WHERE slot_name = 'leadbridge_reverse'";
    assert!(holds(&setup.world.traffic().await, survives).await);
}
