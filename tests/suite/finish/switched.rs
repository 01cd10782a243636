//! A move after its cutover, in the state that `leadbridge cutover` leaves, written by hand.

use crate::testkit::{Bridge, World, landing, traffic};

pub const CUTOVER: &str = "c0000000-0000-4000-8000-000000000001";

/// Both databases after a cutover with the given number of leads.
pub async fn switched(leads: usize) -> (World, Bridge) {
    let world = World::new().await;
    world.fill(60, leads).await;
    let bridge = Bridge::new(&world);
    switch(&world, &bridge).await;
    (world, bridge)
}

/// Copies, closes Landing, and records Traffic as the system of record.
pub async fn switch(world: &World, bridge: &Bridge) {
    bridge.catch_up().await;
    switch_over(world).await;
}

/// The same after a finished copy.
pub async fn switch_over(world: &World) {
    make_reverse_slot(world).await;
    let close =
        format!("SELECT leadbridge.close_fence('{CUTOVER}', 'leads have moved to Traffic', NULL, false)");
    landing(world, &close).await;
    let switch = format!(
        "BEGIN;
         INSERT INTO leadbridge.cutover
             (id, slot, direction, state, deadline, finished_at, certificate, operator, leadbridge_version)
             VALUES ('{CUTOVER}', 'leadbridge', 'cutover', 'switched', now(), now(), '{{}}', 'o', 'v');
         UPDATE leadbridge.checkpoint SET state = 'switched';
         INSERT INTO leadbridge.reverse (slot, cutover_id, reverse_slot, traffic_system_id, applied_lsn, switch_xid, caught_up_at)
             VALUES ('leadbridge', '{CUTOVER}', 'leadbridge_reverse', 'x', pg_current_wal_insert_lsn(), pg_current_xact_id(), now());
         COMMIT"
    );
    traffic(world, &switch).await;
}

pub async fn make_reverse_slot(world: &World) {
    traffic(world, "SELECT pg_create_logical_replication_slot('leadbridge_reverse', 'pgoutput')").await;
}

/// State of a daemon that has carried everything from Traffic to Landing.
pub async fn caught_up(world: &World) {
    let sql = "UPDATE leadbridge.reverse SET applied_lsn = pg_current_wal_insert_lsn(), caught_up_at = now()";
    traffic(world, sql).await;
}
