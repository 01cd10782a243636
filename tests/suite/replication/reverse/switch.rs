//! A switch, made as a cutover's last steps.

use leadbridge::model::lsn::Lsn;
use leadbridge::throwaway::connect;
use uuid::Uuid;

use crate::testkit::{Bridge, Daemon, World, one};

/// The fence's message for a refused writer.
pub const TOLD: &str = "leads have moved to the Traffic DB";

/// Closes the fence without an expiry, and switches. Every change on Landing has been applied before.
pub async fn switch(world: &World, bridge: &Bridge) -> Uuid {
    let cutover = Uuid::new_v4();
    let traffic = world.traffic().await;
    // Before the fence, because creating a slot waits for open transactions.
    let slot = "SELECT pg_create_logical_replication_slot('leadbridge_reverse', 'pgoutput')";
    traffic.batch_execute(slot).await.unwrap();
    fence(world, bridge, cutover).await;
    let switched = format!(
        "BEGIN;
         INSERT INTO leadbridge.cutover (id, slot, direction, state, deadline, finished_at, operator, leadbridge_version)
             VALUES ('{cutover}', 'leadbridge', 'cutover', 'switched', now(), now(), 'test', '0');
         UPDATE leadbridge.checkpoint SET state = 'switched' WHERE slot = 'leadbridge';
         INSERT INTO leadbridge.reverse (slot, cutover_id, reverse_slot, traffic_system_id, applied_lsn, switch_xid, caught_up_at)
             SELECT 'leadbridge', '{cutover}', 'leadbridge_reverse', system_identifier::text,
                    pg_current_wal_insert_lsn(), pg_current_xact_id(), clock_timestamp() FROM pg_control_system();
         SELECT pg_notify('leadbridge_cutover', '{cutover}');
         COMMIT"
    );
    traffic.batch_execute(&switched).await.unwrap();
    cutover
}

/// Closes the fence under the daemon's own role.
async fn fence(world: &World, bridge: &Bridge, cutover: Uuid) {
    let notifications = "to_regclass('public.traffic_scheduled_notifications') IS NOT NULL";
    let with: bool = one(&world.traffic().await, &format!("SELECT {notifications}")).await;
    let landing = connect(bridge.landing_url()).await.unwrap();
    let close = format!("SELECT leadbridge.close_fence('{cutover}', '{TOLD}', NULL, {with})");
    landing.batch_execute(&close).await.unwrap();
}

/// The position after every present commit of Traffic.
pub async fn goal(world: &World) -> Lsn {
    let traffic = world.traffic().await;
    // A commit that also flushes earlier asynchronous commits, and that the stream does not show.
    traffic.batch_execute("CREATE TEMPORARY TABLE flushed ()").await.unwrap();
    one::<String>(&traffic, "SELECT pg_current_wal_flush_lsn()::text").await.parse().unwrap()
}

/// Waits until every present commit of Traffic is on Landing.
pub async fn carried(world: &World, daemon: &mut Daemon) {
    let goal = goal(world).await;
    daemon
        .until("what changed on Traffic is carried back", |status| {
            status["state"] == "switched"
                && status["reverse"]["applied_lsn"]
                    .as_str()
                    .is_some_and(|at| at.parse::<Lsn>().unwrap() >= goal)
        })
        .await;
}
