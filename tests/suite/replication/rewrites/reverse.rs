//! Tables that are rewritten after a cutover.

use leadbridge::compare::Difference;
use leadbridge::failpoint::Point;
use leadbridge::traffic::since_switch::storage;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{rewrite, until_we_wait};
use crate::cutover::{CutoverSetup, PATIENT, go_on, standing_at};
use crate::replication::reverse::compare::{born, compared, tamper};
use crate::replication::reverse::exact::assert_back;
use crate::replication::reverse::rows::switched;
use crate::replication::reverse::switch::carried;
use crate::testkit::{Bridge, World, ends_refused, holds, one, traffic, until_holds};

const BORN: &str = "00000000-0000-0000-0000-00000000000b";
const UNTOUCHED: &str = "00000000-0000-0000-0000-00000000000c";

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_carried_behind_a_rewrite_are_not_taken_for_deleted_ones() {
    let world = World::new().await;
    world.fill(300, 40).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let client = world.traffic().await;
    let landing = world.landing().await;
    let before: i64 = one(&landing, "SELECT count(*) FROM journey_stages").await;
    for (at, table) in ["traffic_leads", "traffic_lead_journey"].into_iter().enumerate() {
        daemon.signal(Signal::SIGSTOP);
        traffic(
            &world,
            "UPDATE traffic_leads SET click_count = coalesce(click_count, 0) + 1;
             UPDATE traffic_lead_journey SET source = 'changed'",
        )
        .await;
        let mut altering = world.traffic().await;
        let held = altering.transaction().await.unwrap();
        held.batch_execute(&rewrite(table, &format!("t{at}"))).await.unwrap();
        daemon.signal(Signal::SIGCONT);
        until_we_wait(&client).await;
        held.commit().await.unwrap();
        carried(&world, &mut daemon).await;
        assert!(holds(&landing, "count(*) = 40 FROM landing_leads").await, "{table}");
        assert!(holds(&landing, &format!("count(*) = {before} FROM journey_stages")).await, "{table}");
        assert_back(&world, &[]).await;
    }
    daemon.terminate().await;
}

/// With `on_truncate = "stop"`.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_written_before_a_refused_truncate_stay_on_landing() {
    let world = World::new().await;
    world.fill(302, 40).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let landing = world.landing().await;
    let before: i64 = one(&landing, "SELECT count(*) FROM journey_stages").await;
    daemon.signal(Signal::SIGSTOP);
    traffic(
        &world,
        "UPDATE traffic_leads SET click_count = 7; UPDATE traffic_lead_journey SET source = 'changed'",
    )
    .await;
    let mut truncating = world.traffic().await;
    let held = truncating.transaction().await.unwrap();
    held.batch_execute("TRUNCATE traffic_leads CASCADE").await.unwrap();
    daemon.signal(Signal::SIGCONT);
    until_we_wait(&world.traffic().await).await;
    held.commit().await.unwrap();
    ends_refused(&mut daemon, &["TRUNCATE on Traffic"]).await;
    assert!(holds(&landing, "count(*) = 40 FROM landing_leads").await);
    assert!(holds(&landing, &format!("count(*) = {before} FROM journey_stages")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compared_after_the_decision_cannot_be_rewritten_until_then() {
    let setup = CutoverSetup::new().await;
    let arguments = setup.arguments(&[&PATIENT[..], &["--compare", "after"]].concat());
    let command = standing_at(&setup.bridge, &arguments, Point::CutoverSwitched).await;
    let altering = setup.world.traffic().await;
    let alter = tokio::spawn(async move {
        altering.batch_execute(&rewrite("traffic_leads", "t")).await.unwrap();
    });
    let client = setup.world.traffic().await;
    until_holds(
        &client,
        "EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'traffic_leads'::regclass)
         OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'traffic_leads'::regclass AND attname = 't')",
    )
    .await;
    let (said, code) = go_on(command).await;
    assert_eq!(code, 0, "{said}");
    alter.await.unwrap();
    let certificate = "SELECT certificate::text FROM leadbridge.cutover WHERE state = 'switched'";
    let certificate: Value = serde_json::from_str(&one::<String>(&client, certificate).await).unwrap();
    assert_eq!(certificate["complete"], true, "{certificate}");
    for table in certificate["tables"].as_array().unwrap() {
        assert_eq!(table["differences"], 0, "{table}");
        assert_eq!(table["contents"]["landing"], table["contents"]["traffic"], "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rewrite_on_traffic_a_rollback_goes_on() {
    let mut setup = CutoverSetup::new().await;
    traffic(
        &setup.world,
        "INSERT INTO traffic_leads (name, phone, landing_source)
             SELECT 'born', '1', 'twland' FROM generate_series(1, 50);
         INSERT INTO traffic_lead_journey (lead_id, stage, created_at)
             SELECT id, 's', now() FROM traffic_leads WHERE name = 'born'",
    )
    .await;
    setup.switches(&[]).await;
    setup.flows_back().await;
    for table in ["traffic_leads", "traffic_lead_journey"] {
        traffic(&setup.world, &rewrite(table, "t")).await;
    }
    traffic(
        &setup.world,
        "UPDATE traffic_leads SET name = 'carried' WHERE id = (SELECT id FROM traffic_leads WHERE name = 'born' LIMIT 1)",
    )
    .await;
    setup.rolls_back(&[]).await;
    let landing = setup.world.landing().await;
    assert!(holds(&landing, "count(*) = 1 FROM landing_leads WHERE name IN ('born', 'carried')").await);
    setup.assert_rolled_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_after_a_rewrite_must_be_on_landing_and_what_was_not_need_not() {
    let world = World::new().await;
    world.fill(301, 20).await;
    traffic(&world, &born(UNTOUCHED)).await;
    let bridge = Bridge::new(&world);
    let daemon = switched(&world, &bridge).await;
    let names = &world.names;
    traffic(&world, &format!("UPDATE leadbridge.reverse SET storage = ({})", storage(names))).await;
    traffic(&world, &rewrite("traffic_leads", "t")).await;
    traffic(&world, &born(BORN)).await;
    let mut daemon = daemon;
    carried(&world, &mut daemon).await;
    daemon.terminate().await;
    tamper(&world, &format!("DELETE FROM landing_leads WHERE id = '{BORN}'")).await;
    let found = compared(&world).await;
    let differences: Vec<_> =
        found[0].examples.iter().map(|example| (example.id.to_string(), &example.difference)).collect();
    assert_eq!(differences, [(BORN.to_owned(), &Difference::Missing)]);
    assert_eq!(found[0].elsewhere, 1);
}
