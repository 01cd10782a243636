//! A statement that waits behind a rewrite sees the rewritten table, because PostgreSQL takes the statement's
//! snapshot after the locks.

use nix::sys::signal::Signal;

use super::{rewrite, until_we_wait};
use crate::testkit::{Bridge, World, assert_equal, caught_up_and_equal, landing, traffic};

const LEAD: &str = "00000000-0000-0000-0000-00000000000a";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_read_from_landing_behind_a_rewrite_is_not_taken_for_one_that_is_gone() {
    let world = World::new().await;
    let lead = format!(
        "INSERT INTO landing_leads (id, name, phone, metadata) SELECT '{LEAD}', 'n', '1',
             jsonb_build_object('long', string_agg(md5(i::text), '')) FROM generate_series(1, 2000) AS i"
    );
    landing(&world, &lead).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    daemon.signal(Signal::SIGSTOP);
    traffic(&world, "DELETE FROM traffic_leads").await;
    landing(&world, "UPDATE landing_leads SET name = 'whole'").await;
    let mut altering = world.landing().await;
    let held = altering.transaction().await.unwrap();
    held.batch_execute(&rewrite("landing_leads", "t")).await.unwrap();
    daemon.signal(Signal::SIGCONT);
    let landing = world.landing().await;
    until_we_wait(&landing).await;
    held.commit().await.unwrap();
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_and_a_repair_behind_a_rewrite_find_every_row() {
    let world = World::new().await;
    world.fill(290, 60).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let landing = world.landing().await;
    traffic(&world, "UPDATE traffic_leads SET name = 'wrong' WHERE left(id::text, 1) < '8'").await;
    for (at, table) in ["landing_leads", "journey_stages"].into_iter().enumerate() {
        let mut altering = world.landing().await;
        let held = altering.transaction().await.unwrap();
        held.batch_execute(&rewrite(table, &format!("t{at}"))).await.unwrap();
        let mut command = bridge.command(&["verify", "--repair", "--wait", "1s"]);
        let verifying = tokio::spawn(async move { command.output().await.unwrap() });
        until_we_wait(&landing).await;
        held.commit().await.unwrap();
        let output = verifying.await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(" 0 deleted") || at > 0, "{said}");
        landing.batch_execute(&format!("ALTER TABLE {table} DROP COLUMN t{at}")).await.unwrap();
        assert_equal(&world).await;
    }
}
