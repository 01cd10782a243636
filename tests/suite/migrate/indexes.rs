//! Indexes that `leadbridge migrate` makes on tables that hold rows.

use std::time::Duration;

use leadbridge::error::Kind;
use leadbridge::migrate::{MigrateOptions, Patience};

use super::{fails, scalar};
use crate::testkit::{World, until_holds};

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

/// Migrates while a transaction of another session has written to the leads, and writes as a third session while the
/// statement that begins with `making` waits for the transaction.
async fn migrated_while_others_write(world: &World, options: &MigrateOptions, making: &str) -> String {
    let (open, other, watcher) = (world.traffic().await, world.traffic().await, world.traffic().await);
    open.batch_execute("BEGIN; INSERT INTO traffic_leads (name) VALUES ('open')").await.unwrap();
    let writing = async {
        let waits = format!(
            "count(*) > 0 FROM pg_stat_activity WHERE query LIKE '{making}%' AND wait_event_type = 'Lock'"
        );
        until_holds(&watcher, &waits).await;
        let write = "SET lock_timeout = '1s'; INSERT INTO traffic_leads (name) VALUES ('b');
                     UPDATE traffic_leads SET name = 'c' WHERE name = 'b'";
        other.batch_execute(write).await.unwrap();
        open.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(world.migrate(options), writing).0.to_string()
}

#[tokio::test]
async fn an_index_on_a_table_with_rows_is_made_while_others_write() {
    let (world, options) = (without_an_index().await, MigrateOptions::default());
    let report = migrated_while_others_write(&world, &options, "CREATE INDEX CONCURRENTLY").await;
    assert!(report.contains("index on public.traffic_leads (email)"), "{report}");
    assert_eq!(scalar::<String>(&world.traffic().await, BY_EMAIL).await, "traffic_leads_email_idx true");
    assert!(!world.migrate(&options).await.changes_something());
}

#[tokio::test]
async fn the_unique_index_of_the_legacy_names_is_made_while_others_write() {
    let (world, options) = (World::new().await, MigrateOptions { legacy: true, ..MigrateOptions::default() });
    // The first run also copies policies, for which an ordinary lock is needed.
    world.migrate(&options).await;
    let lacking = "INSERT INTO traffic_leads (name) VALUES ('a');
                   DROP INDEX traffic_leads_landing_amocrm_lead_id_key";
    world.traffic().await.batch_execute(lacking).await.unwrap();
    let report = migrated_while_others_write(&world, &options, "CREATE UNIQUE INDEX CONCURRENTLY").await;
    assert!(report.contains("unique index on public.traffic_leads (landing_amocrm_lead_id)"), "{report}");
    let made =
        "SELECT count(*) FROM pg_index AS i WHERE i.indrelid = 'traffic_leads'::regclass AND i.indisunique
                AND i.indisvalid AND pg_get_indexdef(i.indexrelid, 1, true) = 'landing_amocrm_lead_id'";
    assert_eq!(scalar::<i64>(&world.traffic().await, made).await, 1);
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
