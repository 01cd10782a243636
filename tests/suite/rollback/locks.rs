//! A rollback beside a transaction that holds rows and does nothing: the rollback gives up within its limits, names
//! the holder, and changes nothing.

use std::time::{Duration, Instant};

use leadbridge::failpoint::Point;
use tokio_postgres::Client;

use crate::cutover::{CutoverSetup, PATIENT, go_on, standing_at};
use crate::testkit::{holds, one, traffic, until_holds};

const BORN: &str = "'11111111-1111-4111-8111-111111111111'";

/// A lead that is born on Traffic and carried to Landing: the rollback marks the lead on Traffic.
async fn born_and_carried(setup: &CutoverSetup) {
    let born = format!(
        "INSERT INTO traffic_leads (id, name, phone, landing_source) VALUES ({BORN}, 'b', '+7', 'twland')"
    );
    traffic(&setup.world, &born).await;
    let there = format!("count(*) = 1 FROM landing_leads WHERE id = {BORN}");
    until_holds(&setup.world.landing().await, &there).await;
}

/// Opens a transaction that locks the rows `which` of `table`. Returns the phrase that names its process.
async fn hold(holder: &Client, table: &str, which: &str) -> String {
    let lock = format!("BEGIN; SELECT FROM {table} WHERE {which} FOR UPDATE");
    holder.batch_execute(&lock).await.unwrap();
    format!("held by process {} ", one::<i32>(holder, "SELECT pg_backend_pid()").await)
}

async fn assert_gives_up(setup: &mut CutoverSetup, who: &str) {
    let begun = Instant::now();
    let said = setup.rollback(&["--timeout", "4s", "--max-pause", "3s"]).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    assert!(said.err.contains(who) && said.err.contains("what to do: "), "{who}: {}", said.err);
    setup.assert_still_switched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_that_is_to_be_marked_before_the_fence() {
    let mut setup = CutoverSetup::switched().await;
    born_and_carried(&setup).await;
    let holder = setup.world.traffic().await;
    let who = hold(&holder, "traffic_leads", &format!("id = {BORN}")).await;
    assert_gives_up(&mut setup, &who).await;
    let begun = "count(*) = 0 FROM leadbridge.cutover WHERE direction = 'rollback'";
    assert!(holds(&setup.world.traffic().await, begun).await);
    holder.batch_execute("ROLLBACK").await.unwrap();
    setup.rolls_back(&[]).await;
    setup.assert_rolled_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_that_is_to_be_marked_under_the_fence() {
    let mut setup = CutoverSetup::switched().await;
    let arguments = setup.rollback_arguments(&PATIENT);
    let command = standing_at(&setup.bridge, &arguments, Point::RollbackBegun).await;
    born_and_carried(&setup).await;
    let holder = setup.world.traffic().await;
    let who = hold(&holder, "traffic_leads", &format!("id = {BORN}")).await;
    let (said, code) = go_on(command).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&who) && said.contains("ABORTED"), "{who}: {said}");
    setup.assert_still_switched().await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    setup.rolls_back(&[]).await;
    setup.assert_rolled_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_of_landing_that_is_to_be_sent_again() {
    let mut setup = CutoverSetup::switched().await;
    // Landing has no null there, so Landing has to send the row again.
    traffic(&setup.world, "UPDATE traffic_leads SET email_sent = NULL").await;
    let command = standing_at(&setup.bridge, &setup.rollback_arguments(&PATIENT), Point::RollbackBegun).await;
    let holder = setup.world.landing().await;
    let who = hold(&holder, "landing_leads", "true").await;
    let (said, code) = go_on(command).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&who) && said.contains("ABORTED"), "{who}: {said}");
    setup.assert_still_switched().await;
    // The dry run tries the same.
    let said = setup.rollback(&["--dry-run"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("sent_again") && said.out.contains(&who), "{who}: {}", said.out);
    holder.batch_execute("ROLLBACK").await.unwrap();
    setup.rolls_back(&[]).await;
    setup.assert_rolled_back().await;
    assert!(holds(&setup.world.traffic().await, "bool_and(email_sent IS NOT NULL) FROM traffic_leads").await);
}
