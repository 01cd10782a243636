//! The daemon dies at every named point of reverse replication, in turn, and always ends exact.

use std::os::unix::process::ExitStatusExt as _;

use leadbridge::failpoint::Point;

use super::exact::assert_back;
use super::switch::switch;
use crate::testkit::{Bridge, Positions, World, holds, landing, one, traffic, until_holds};

const BAD: &str = "00000000-0000-0000-0000-00000000000c";

fn points() -> impl Iterator<Item = Point> {
    Point::ALL.iter().filter(|point| point.name().starts_with("reverse.")).copied()
}

/// Runs to the point, and no further.
pub async fn dies(bridge: &Bridge, point: Point) {
    let limit = std::time::Duration::from_secs(60);
    let dying = bridge.dying_command(&["run", "--until-caught-up"], point, 1).output();
    let output = tokio::time::timeout(limit, dying).await.expect("it neither dies nor ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "{} is not passed: {said}", point.name());
}

/// Transactions that pass every point: a large transaction, a bad row, a repaired row, a changed key of a row that Landing
/// has, deletes with cascades.
async fn everything_happens(world: &World, round: usize) {
    let sql = format!(
        "INSERT INTO traffic_leads (id, name, phone, landing_source)
             VALUES ('{BAD}', 'bad', '1', 'twland') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name;
         UPDATE traffic_leads SET click_count = {round} WHERE id <> '{BAD}';
         INSERT INTO traffic_lead_journey (lead_id, stage, created_at)
             SELECT id, 'round {round}', now() FROM traffic_leads WHERE id <> '{BAD}' ORDER BY id LIMIT 30;
         WITH moved AS MATERIALIZED (
                 SELECT id, gen_random_uuid() AS key FROM traffic_leads WHERE id <> '{BAD}' ORDER BY id LIMIT 1),
             entries AS (UPDATE traffic_lead_journey SET lead_id = moved.key FROM moved WHERE lead_id = moved.id)
             UPDATE traffic_leads SET id = moved.key FROM moved WHERE traffic_leads.id = moved.id;
         WITH born AS (INSERT INTO traffic_leads (name, phone, landing_source)
             SELECT 'b', n::text, 'twland' FROM generate_series(1, 5) AS n RETURNING id)
         INSERT INTO traffic_lead_journey (lead_id, stage, created_at) SELECT id, 'born', now() FROM born;
         DELETE FROM traffic_leads WHERE id IN (SELECT id FROM traffic_leads WHERE id <> '{BAD}' ORDER BY id DESC LIMIT 3)"
    );
    traffic(world, &sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_of_reverse_replication_the_next_start_ends_exact() {
    let world = World::new().await;
    world.fill(250, 60).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 20");
    bridge.catch_up().await;
    landing(&world, "ALTER TABLE landing_leads ADD CONSTRAINT good CHECK (name <> 'bad')").await;
    switch(&world, &bridge).await;
    let (client, on_landing) = (world.traffic().await, world.landing().await);
    // A row that is quarantined from the start, and leaves quarantine in each round, because the release is a point,
    // too.
    for (round, point) in points().enumerate() {
        everything_happens(&world, round).await;
        if point == Point::ReverseReleased {
            bridge.catch_up().await;
            traffic(&world, &format!("UPDATE traffic_leads SET name = 'good' WHERE id = '{BAD}'")).await;
        }
        dies(&bridge, point).await;
        until_holds(&client, "NOT bool_or(active) FROM pg_replication_slots").await;
        Positions::read(&world, &bridge).await.assert_ordered();
        traffic(&world, &format!("UPDATE traffic_leads SET name = 'good' WHERE id = '{BAD}'")).await;
        bridge.catch_up().await;
        assert!(holds(&client, "count(*) = 0 FROM leadbridge.reverse_quarantine").await, "{}", point.name());
        Positions::read(&world, &bridge).await.assert_ordered();
        assert_back(&world, &[]).await;
        let rows: i64 = one(&on_landing, "SELECT count(*) FROM landing_leads").await;
        assert!(rows > 60, "{rows}");
    }
}
