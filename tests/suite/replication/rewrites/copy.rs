//! A table that is rewritten while it is copied.

use leadbridge::failpoint::Point;

use super::{rewrite, until_we_wait};
use crate::cutover::{go_on, standing_at};
use crate::testkit::{Bridge, World, assert_equal, landing, one, until_holds, until_true};

/// Runs `sql` on Landing, where no session may block the statement.
async fn on_landing(world: &World, sql: &str) {
    landing(world, "ALTER ROLE postgres SET lock_timeout = '20s'").await;
    landing(world, sql).await;
    landing(world, "ALTER ROLE postgres RESET lock_timeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_rewritten_before_the_copy_has_read_it_is_copied_again_and_whole() {
    let world = World::new().await;
    world.fill(280, 120).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 40\n[snapshot]\nworkers = 2");
    let arguments = ["resync", "--yes"];
    let mut column = 0;
    for point in [Point::SlotCreated, Point::Imported, Point::CopyCommitted] {
        for ddl in ["", "VACUUM FULL journey_stages"] {
            let command = standing_at(&bridge, &arguments, point).await;
            column += 1;
            let sql =
                if ddl.is_empty() { rewrite("journey_stages", &format!("t{column}")) } else { ddl.into() };
            on_landing(&world, &sql).await;
            let (said, code) = go_on(command).await;
            assert_eq!(code, 0, "{} {sql}: {said}", point.name());
            assert!(said.contains("the copy restarts: journey_stages"), "{} {sql}: {said}", point.name());
            landing(&world, &format!("ALTER TABLE journey_stages DROP COLUMN IF EXISTS t{column}")).await;
            assert_equal(&world).await;
        }
    }
    let journeys: i64 = one(&world.traffic().await, "SELECT count(*) FROM traffic_lead_journey").await;
    assert!(journeys > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_rewritten_after_the_copy_has_read_it_is_copied_again() {
    let world = World::new().await;
    world.fill(281, 60).await;
    let bridge = Bridge::new(&world);
    for (at, table) in ["landing_leads", "journey_stages"].into_iter().enumerate() {
        let command = standing_at(&bridge, &["resync", "--yes"], Point::Copied).await;
        on_landing(&world, &rewrite(table, &format!("t{at}"))).await;
        let (said, code) = go_on(command).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(&format!("the copy restarts: {table}")), "{said}");
        landing(&world, &format!("ALTER TABLE {table} DROP COLUMN t{at}")).await;
        assert_equal(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_table_to_himself_is_waited_for_and_named() {
    let world = World::new().await;
    world.fill(282, 60).await;
    let bridge = Bridge::new(&world);
    let command = standing_at(&bridge, &["resync", "--yes"], Point::SlotCreated).await;
    let mut holder = world.landing().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE journey_stages").await.unwrap();
    let copying = tokio::spawn(go_on(command));
    let landing = world.landing().await;
    until_we_wait(&landing).await;
    let tries = "SELECT max(query_start)::text FROM pg_stat_activity
                 WHERE application_name LIKE 'leadbridge%' AND wait_event_type = 'Lock'";
    let first: Option<String> = one(&landing, tries).await;
    until_true("it tries a second time", async || {
        one::<Option<String>>(&landing, tries).await.is_some_and(|now| first.as_ref() != Some(&now))
    })
    .await;
    held.rollback().await.unwrap();
    let (said, code) = copying.await.unwrap();
    assert_eq!(code, 0, "{said}");
    let warning = "\"public\".\"journey_stages\" on the Landing DB cannot be read: waiting for process";
    assert!(said.contains(warning), "{said}");
    assert!(!said.contains("restarts"), "nothing was rewritten: {said}");
    assert_equal(&world).await;
}

/// The copy locks the table only for the present range.
#[tokio::test(flavor = "multi_thread")]
async fn an_alter_table_without_a_rewrite_waits_for_a_range_at_most_and_leaves_the_copy_alone() {
    let world = World::new().await;
    world.fill(283, 60).await;
    let bridge = Bridge::new(&world);
    let command = standing_at(&bridge, &["resync", "--yes"], Point::CopyCommitted).await;
    let altering = world.landing().await;
    let alter = tokio::spawn(async move {
        altering.batch_execute("ALTER TABLE landing_leads ADD COLUMN score int").await.unwrap();
    });
    let landing = world.landing().await;
    let there = "EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'landing_leads'::regclass AND attname = \
                 'score')
        OR EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = \
        'landing_leads'::regclass)";
    until_holds(&landing, there).await;
    let (said, code) = go_on(command).await;
    assert_eq!(code, 0, "{said}");
    alter.await.unwrap();
    assert!(!said.contains("restarts"), "nothing was rewritten: {said}");
    assert_equal(&world).await;
}
