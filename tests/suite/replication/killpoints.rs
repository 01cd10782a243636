//! The daemon dies at every named point, in turn, and always ends exact.

use std::os::unix::process::ExitStatusExt as _;

use leadbridge::failpoint::Point;
use leadbridge::throwaway::writers::WriteRate;

use crate::testkit::{Bridge, Positions, World, assert_equal, holds, landing, one, released, traffic};

/// Points of a copying daemon.
const COPY: [&str; 1] = ["snapshot."];

/// Points of a streaming daemon.
const STREAM: [&str; 2] = ["apply.", "keep."];

fn points(rooms: &[&str]) -> impl Iterator<Item = Point> {
    let wanted = move |point: &&Point| rooms.iter().any(|room| point.name().starts_with(room));
    Point::ALL.iter().filter(wanted).copied()
}

/// Runs a command that must die at the point, and nowhere else.
async fn dies(bridge: &Bridge, arguments: &[&str], point: Point, pass: u32) {
    let limit = std::time::Duration::from_secs(60);
    let ended = tokio::time::timeout(limit, bridge.dying_command(arguments, point, pass).output()).await;
    let output = ended.expect("it neither dies nor ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "{} is not passed: {said}", point.name());
}

/// slot ≤ local ≤ Traffic, where a position is recorded; during a snapshot only the slot has a position.
async fn assert_ordered(world: &World, bridge: &Bridge, point: Point) {
    let Positions { slot, local, traffic } = Positions::read(world, bridge).await;
    let place = point.name();
    assert!(local.is_none_or(|local| slot <= Some(local) && Some(local) <= traffic), "{place}");
    assert!(traffic.is_none() || slot.is_none() || slot <= traffic, "{place}: {slot:?} {traffic:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_of_a_snapshot_the_next_start_ends_exact() {
    let world = World::new().await;
    world.fill(70, 60).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 40");
    let writers = world.write(&WriteRate { writers: 2, ..WriteRate::default() });
    // One interrupted snapshot after another, as at a first start.
    for point in points(&COPY) {
        let finished = matches!(point, Point::FinishStored);
        // The point after an earlier slot is passed because the previous start left a slot.
        dies(&bridge, &["run", "--until-caught-up"], point, 1).await;
        assert_ordered(&world, &bridge, point).await;
        if finished || point == Point::Finished {
            assert!(Positions::read(&world, &bridge).await.traffic.is_some(), "{}", point.name());
            bridge.catch_up().await;
            // Restores the empty state for the next round.
            released(&world).await;
            landing(&world, "SELECT pg_drop_replication_slot('leadbridge')").await;
            traffic(&world, "DELETE FROM leadbridge.checkpoint").await;
            std::fs::remove_dir_all(bridge.state_dir()).unwrap();
        }
        if point == Point::IntentRecorded {
            // The kill leaves a slot, so that the next start has a slot to drop.
            dies(&bridge, &["run", "--until-caught-up"], Point::SlotCreated, 1).await;
        }
    }
    bridge.catch_up().await;
    // The same after an earlier stream: the state left at each point must be enough for a start, too.
    for point in points(&COPY) {
        if matches!(point, Point::Copying | Point::IndexesLeftOut | Point::IndexMade) {
            // Rows are copied, and indexes left out, only where a table holds no row from Landing.
            traffic(&world, "TRUNCATE traffic_leads CASCADE").await;
        }
        dies(&bridge, &["resync", "--yes"], point, 1).await;
        assert_ordered(&world, &bridge, point).await;
        bridge.catch_up().await;
    }
    writers.stop().await.unwrap();
    bridge.catch_up().await;
    Positions::read(&world, &bridge).await.assert_ordered();
    assert_equal(&world).await;
}

const OLD_KEY: &str = "00000000-0000-0000-0000-00000000000a";
const NEW_KEY: &str = "00000000-0000-0000-0000-00000000000b";
const BAD: &str = "00000000-0000-0000-0000-00000000000c";
const DELETED: &str = "00000000-0000-0000-0000-00000000000d";
/// A lead that is deleted and inserted again in one transaction: applying the transaction twice would lose Traffic's
/// own changes in between.
const REBORN: &str = "00000000-0000-0000-0000-00000000000e";

/// Leads for the points that need a lead of their own, and Traffic's own data of these leads.
async fn prepare(world: &World, bridge: &Bridge) {
    let leads = format!(
        "INSERT INTO landing_leads (id, name, phone) VALUES 
             ('{OLD_KEY}', 'k', '1'), ('{DELETED}', 'd', '2'), ('{REBORN}', 'first', '3');
         INSERT INTO journey_stages (lead_id, stage) VALUES ('{DELETED}', 's')"
    );
    landing(world, &leads).await;
    bridge.catch_up().await;
    let owned = format!(
        "UPDATE traffic_leads SET status = 'converted' WHERE id = '{OLD_KEY}';
         INSERT INTO traffic_sales (lead_id, amount) VALUES ('{OLD_KEY}', 1), ('{DELETED}', 2)"
    );
    traffic(world, &owned).await;
}

/// Transactions that pass every point: a large transaction, a changed key, a bad row, a delete with cascades.
async fn everything_happens(world: &World) {
    for sql in [
        format!(
            "DELETE FROM landing_leads WHERE id = '{REBORN}';
             INSERT INTO landing_leads (id, name, phone) VALUES ('{REBORN}', 'second', '3')"
        ),
        "UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1".to_owned(),
        format!("UPDATE landing_leads SET id = '{NEW_KEY}', phone = '9' WHERE id = '{OLD_KEY}'"),
        format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{BAD}', repeat('x', 256), '1')"),
        format!("DELETE FROM landing_leads WHERE id = '{DELETED}'"),
        "UPDATE landing_leads SET email_sent = NOT coalesce(email_sent, false)".to_owned(),
    ] {
        landing(world, &sql).await;
    }
}

/// Traffic's own data has followed the leads, and no row refers to a deleted lead.
async fn assert_owned(world: &World, place: &str) {
    let client = world.traffic().await;
    let kept = format!("status = 'converted' FROM traffic_leads WHERE id = '{NEW_KEY}'");
    assert!(holds(&client, &kept).await, "{place}");
    let sales =
        "SELECT string_agg(coalesce(right(lead_id::text, 1), '-'), '' ORDER BY amount) FROM traffic_sales";
    assert_eq!(one::<String>(&client, sales).await, "b-", "{place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_of_the_stream_the_next_start_ends_exact() {
    let world = World::new().await;
    world.fill(71, 60).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 40\ncheckpoint_interval = \"1h\"");
    bridge.catch_up().await;
    for point in points(&STREAM) {
        // Some points are passed more than once, after different work: the second pass is another case.
        let passes: &[u32] = match point {
            Point::PartWritten | Point::BatchOpened => &[1, 2],
            _ => &[1],
        };
        for pass in passes {
            prepare(&world, &bridge).await;
            everything_happens(&world).await;
            dies(&bridge, &["run", "--until-caught-up"], point, *pass).await;
            Positions::read(&world, &bridge).await.assert_ordered();
            let reborn = format!("id = '{REBORN}' AND name = 'second'");
            let client = world.traffic().await;
            let own = format!("UPDATE traffic_leads SET status = 'lost' WHERE {reborn}");
            let committed = client.execute(&own, &[]).await.unwrap() == 1;
            landing(&world, &format!("UPDATE landing_leads SET name = 'good' WHERE id = '{BAD}'")).await;
            bridge.catch_up().await;
            assert_owned(&world, point.name()).await;
            let kept = format!("(status = 'lost') = {committed} FROM traffic_leads WHERE {reborn}");
            assert!(holds(&client, &kept).await, "{}: applied twice", point.name());
            Positions::read(&world, &bridge).await.assert_ordered();
            assert_equal(&world).await;
            let mine = format!("('{NEW_KEY}', '{BAD}', '{REBORN}')");
            landing(&world, &format!("DELETE FROM landing_leads WHERE id IN {mine}")).await;
            traffic(&world, "TRUNCATE traffic_sales").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_the_commit_of_a_batch_that_was_sent_together_the_next_start_ends_exact() {
    let world = World::new().await;
    world.fill(72, 20).await;
    let bridge = Bridge::new(&world).configured("[stream]\ncheckpoint_interval = \"1h\"");
    bridge.catch_up().await;
    let lead = "WITH made AS (INSERT INTO landing_leads (name, phone) VALUES ('n', '1') RETURNING id)
        INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM made";
    let client = world.traffic().await;
    for (point, new) in [(Point::Recorded, 0), (Point::Committed, 1)] {
        let before: i64 = one(&client, "SELECT count(*) FROM traffic_lead_journey").await;
        landing(&world, lead).await;
        dies(&bridge, &["run", "--until-caught-up"], point, 1).await;
        let stages: i64 = one(&client, "SELECT count(*) FROM traffic_lead_journey").await;
        assert_eq!(stages - before, new, "{}", point.name());
        Positions::read(&world, &bridge).await.assert_ordered();
        bridge.catch_up().await;
        assert_equal(&world).await;
    }
    // The batch was pipelined, because otherwise the daemon would have died here.
    landing(&world, lead).await;
    let mut unharmed = bridge.dying_command(&["run", "--until-caught-up"], Point::BatchOpened, 1);
    assert!(unharmed.status().await.unwrap().success());
    assert_equal(&world).await;
}
