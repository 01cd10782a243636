//! Indexes that `leadbridge migrate` makes on tables that hold rows.

use std::time::Duration;

use leadbridge::error::Kind;
use leadbridge::migrate::{MigrateOptions, Patience};

use super::{fails, scalar};
use crate::testkit::World;

/// Names and validity of the indexes by e-mail.
const BY_EMAIL: &str = "SELECT string_agg(c.relname || ' ' || i.indisvalid, ',')
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = 'traffic_leads'::regclass AND pg_get_indexdef(i.indexrelid, 1, true) = 'email'";

/// A migrated Traffic with a lead and without the index by e-mail.
async fn without_an_index() -> World {
    let world = World::new().await;
    let lacking = "INSERT INTO traffic_leads (name) VALUES ('a'); DROP INDEX traffic_leads_email_idx";
    world.traffic().await.batch_execute(lacking).await.unwrap();
    world
}

#[tokio::test]
async fn an_index_on_a_table_with_rows_is_made_while_others_write() {
    let world = without_an_index().await;
    let (open, other, watcher) = (world.traffic().await, world.traffic().await, world.traffic().await);
    open.batch_execute("BEGIN; INSERT INTO traffic_leads (name) VALUES ('open')").await.unwrap();
    let options = MigrateOptions::default();
    let writing = async {
        let waits = "SELECT count(*) > 0 FROM pg_stat_activity
                     WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'";
        while !scalar::<bool>(&watcher, waits).await {}
        // While the index waits for the open transaction, no writer waits for the index.
        let write = "SET lock_timeout = '1s'; INSERT INTO traffic_leads (name) VALUES ('b');
                     UPDATE traffic_leads SET name = 'c' WHERE name = 'b'";
        other.batch_execute(write).await.unwrap();
        open.batch_execute("COMMIT").await.unwrap();
    };
    let (report, ()) = tokio::join!(world.migrate(&options), writing);
    assert!(report.to_string().contains("index on public.traffic_leads (email)"), "{report}");
    assert_eq!(scalar::<String>(&watcher, BY_EMAIL).await, "traffic_leads_email_idx true");
    assert!(!world.migrate(&options).await.changes_something());
}

#[tokio::test]
async fn an_index_that_was_not_finished_is_dropped_and_made_by_the_next_run() {
    let world = without_an_index().await;
    let open = world.traffic().await;
    open.batch_execute("BEGIN; INSERT INTO traffic_leads (name) VALUES ('open')").await.unwrap();
    let pid: i32 = scalar(&open, "SELECT pg_backend_pid()").await;
    let patience =
        Patience { lock_timeout: Duration::from_millis(100), retries: 1, pause: Duration::from_millis(10) };
    let error = fails(&world, &MigrateOptions { patience, ..MigrateOptions::default() }).await;
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    assert!(error.remedy_text().unwrap().contains(&format!("pid {pid} ")), "{error}");
    assert_eq!(scalar::<String>(&open, BY_EMAIL).await, "traffic_leads_email_idx false");
    open.batch_execute("COMMIT").await.unwrap();

    let dry = MigrateOptions { dry_run: true, ..MigrateOptions::default() };
    let planned = world.migrate(&dry).await.to_string();
    let done = world.migrate(&MigrateOptions::default()).await.to_string();
    for report in [planned, done] {
        assert!(report.contains("drops the unfinished index public.traffic_leads_email_idx"), "{report}");
        assert!(report.contains("index on public.traffic_leads (email)"), "{report}");
    }
    assert_eq!(scalar::<String>(&open, BY_EMAIL).await, "traffic_leads_email_idx true");
}
