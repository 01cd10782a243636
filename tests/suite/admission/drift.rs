//! Landing's tables change while the stream runs.

use std::time::Duration;

use crate::testkit::{Bridge, World, assert_equal, caught_up_and_equal, holds, landing, one, until_holds};

/// A lead written after the change.
const LATER: &str = "INSERT INTO landing_leads (name, phone) VALUES ('later', '1')";

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_mapping_does_not_know_is_passed_over_with_a_warning() {
    let world = World::new().await;
    world.fill(60, 20).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let landing = world.landing().await;
    landing
        .batch_execute(&format!("ALTER TABLE landing_leads ADD COLUMN score int DEFAULT 7; {LATER}"))
        .await
        .unwrap();
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.logs("score").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_dropped_renamed_or_retyped_in_mid_stream_stops_before_anything_is_applied() {
    let world = World::new().await;
    world.fill(61, 20).await;
    let bridge = Bridge::new(&world);
    let landing = world.landing().await;
    for (damage, repair, column) in [
        (
            "ALTER TABLE landing_leads RENAME phone TO telephone",
            "ALTER TABLE landing_leads RENAME telephone TO phone",
            "landing_leads.phone",
        ),
        (
            "ALTER TABLE landing_leads ALTER amocrm_lead_id TYPE bytea USING NULL",
            "ALTER TABLE landing_leads ALTER amocrm_lead_id TYPE text USING NULL",
            "landing_leads.amocrm_lead_id",
        ),
        (
            "ALTER TABLE landing_leads RENAME click_count TO clicks",
            "ALTER TABLE landing_leads RENAME clicks TO click_count",
            "landing_leads.click_count",
        ),
    ] {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        // Every table's columns are announced before the table's first change.
        landing.batch_execute("UPDATE landing_leads SET email_sent = NOT email_sent").await.unwrap();
        daemon.caught_up(&world).await;
        landing.batch_execute(&format!("BEGIN; {damage}; COMMIT")).await.unwrap();
        let again =
            "UPDATE landing_leads SET sms_sent = true WHERE id = (SELECT id FROM landing_leads LIMIT 1)";
        landing.batch_execute(again).await.unwrap();
        let ended = daemon.ended(Duration::from_secs(20)).await;
        assert_eq!(ended.code(), Some(4), "{damage}: {}", daemon.log());
        assert!(daemon.log().contains(column), "{damage}: {}", daemon.log());
        assert!(holds(&world.traffic().await, "count(*) > 0 FROM traffic_leads").await);
        landing.batch_execute(repair).await.unwrap();
        // Rows written under the other shape cannot be streamed any more; the error names the remedy, a resync.
        assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
        bridge.catch_up().await;
        assert_equal(&world).await;
    }
}

/// Changes of rows on both sides of `ddl`, all in one transaction.
fn with_rows(ddl: &str) -> String {
    format!(
        "BEGIN; UPDATE landing_leads SET source = 'before'; INSERT INTO landing_leads (name, phone) VALUES ('b', '1');
         {ddl};
         UPDATE landing_leads SET source = 'after'; INSERT INTO landing_leads (name, phone) VALUES ('a', '2'); COMMIT"
    )
}

/// Harmless changes are recorded one by one: an altered column together with a rewritten table would be refused.
async fn until_written_down(world: &World) {
    let seen = "SELECT format('(published::jsonb #>> ''{tables,landing_leads,storage}'') = %L
            AND (published::jsonb #>> ''{tables,landing_leads,columns,email,version}'') = %L
            AND (published::jsonb #>> ''{tables,landing_leads,columns,phone,version}'') = %L
            FROM leadbridge.checkpoint', c.relfilenode, e.xmin, p.xmin)
        FROM pg_class AS c JOIN pg_attribute AS e ON e.attrelid = c.oid AND e.attname = 'email'
            JOIN pg_attribute AS p ON p.attrelid = c.oid AND p.attname = 'phone'
        WHERE c.relname = 'landing_leads'";
    until_holds(&world.traffic().await, &one::<String>(&world.landing().await, seen).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_change_without_a_value_are_followed_in_mid_stream() {
    let world = World::new().await;
    world.fill(62, 20).await;
    landing(&world, "ALTER TABLE landing_leads DROP COLUMN phone_normalized").await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    for ddl in [
        "ALTER TABLE landing_leads ADD COLUMN phone_normalized text DEFAULT '7'",
        "ALTER TABLE landing_leads ALTER phone TYPE varchar, ALTER email TYPE varchar",
        "ALTER TABLE landing_leads ALTER phone TYPE text",
        "ALTER TABLE landing_leads ADD COLUMN score int DEFAULT 7, ADD COLUMN rank text",
        "ALTER TABLE landing_leads ALTER score TYPE bigint",
        "ALTER TABLE landing_leads RENAME score TO points; ALTER TABLE landing_leads DROP COLUMN rank",
        "ALTER TABLE landing_leads ADD CHECK (name <> '') NOT VALID, ALTER email SET DEFAULT 'none'",
    ] {
        landing(&world, &with_rows(ddl)).await;
        until_written_down(&world).await;
        caught_up_and_equal(&world, &mut daemon).await;
    }
    daemon.terminate().await;
}

/// DDL that changes values silently in the stream, the DDL that undoes the change, and the column.
const UNSENT: [(&str, &str, &str); 10] = [
    ("ALTER TABLE landing_leads ADD COLUMN click_count int DEFAULT 5", "", "click_count"),
    ("ALTER TABLE landing_leads ALTER name TYPE text USING upper(name)", "", "name"),
    ("ALTER TABLE landing_leads ALTER click_count TYPE smallint USING 3", "", "click_count"),
    (
        "ALTER TABLE landing_leads DROP COLUMN email",
        "ALTER TABLE landing_leads ADD COLUMN email text",
        "email",
    ),
    (
        "ALTER TABLE landing_leads DROP COLUMN click_count, ADD COLUMN click_count int DEFAULT 9",
        "",
        "click_count",
    ),
    (
        "ALTER TABLE landing_leads ALTER click_count TYPE bigint",
        "ALTER TABLE landing_leads ALTER click_count TYPE integer",
        "click_count",
    ),
    (
        "ALTER TABLE landing_leads ALTER created_at TYPE timestamp",
        "ALTER TABLE landing_leads ALTER created_at TYPE timestamptz",
        "created_at",
    ),
    (
        "ALTER TABLE landing_leads ALTER email_sent DROP DEFAULT, ALTER email_sent TYPE text",
        "ALTER TABLE landing_leads ALTER email_sent TYPE boolean USING email_sent::boolean",
        "email_sent",
    ),
    (
        "ALTER TABLE landing_leads ALTER metadata TYPE json",
        "ALTER TABLE landing_leads ALTER metadata TYPE jsonb",
        "metadata",
    ),
    (
        "ALTER TABLE journey_stages ALTER metadata DROP DEFAULT, ALTER metadata TYPE text",
        "ALTER TABLE journey_stages ALTER metadata TYPE jsonb USING metadata::jsonb",
        "metadata",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn values_that_change_without_being_sent_end_the_stream_until_a_resync() {
    let world = World::new().await;
    world.fill(63, 20).await;
    landing(&world, "ALTER TABLE landing_leads DROP COLUMN click_count").await;
    let bridge = Bridge::new(&world);
    for (ddl, repair, column) in UNSENT {
        bridge.catch_up().await;
        // No later write touches the table: only the catalog shows the change.
        let silent = !repair.contains(" TYPE ");
        let sql = if silent { ddl.to_owned() } else { with_rows(ddl) };
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        landing(&world, &sql).await;
        let ended = daemon.ended(Duration::from_secs(20)).await;
        let log = daemon.log();
        assert_eq!(ended.code(), Some(4), "{ddl}: {log}");
        let (_, error) = log.rsplit_once("error: ").expect("an error");
        assert!(error.contains(column) && error.contains("leadbridge resync"), "{ddl}: {error}");
        assert!(error.contains("what to do: "), "{ddl}: {error}");
        landing(&world, repair).await;
        assert_eq!(bridge.run(&["run"]).await.code, 4, "{ddl}: it must be remembered");
        let said = bridge.run(&["resync", "--yes"]).await;
        assert_eq!(said.code, 0, "{ddl}: {}", said.err);
        assert_equal(&world).await;
    }
}

/// Replica identities that leads get, and a change for which the identity is not enough.
const IDENTITIES: [(&str, &str); 4] = [
    ("NOTHING", LATER),
    ("USING INDEX numbered", "UPDATE landing_leads SET id = gen_random_uuid() WHERE name = 'later'"),
    ("USING INDEX numbered", "DELETE FROM landing_leads WHERE name = 'later'"),
    ("USING INDEX numbered", "UPDATE landing_leads SET number = -number; DROP INDEX numbered"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_identity_without_the_id_ends_the_stream_until_a_resync() {
    let world = World::new().await;
    world.fill(64, 20).await;
    landing(
        &world,
        "ALTER TABLE landing_leads ADD COLUMN number int GENERATED BY DEFAULT AS IDENTITY;
         CREATE UNIQUE INDEX numbered ON landing_leads (number);
         CREATE UNIQUE INDEX numbered_and_named ON landing_leads (number, id)",
    )
    .await;
    let default = "ALTER TABLE landing_leads REPLICA IDENTITY DEFAULT";
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    for (identity, change) in IDENTITIES {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        landing(&world, LATER).await;
        landing(&world, &format!("ALTER TABLE landing_leads REPLICA IDENTITY {identity}")).await;
        landing(&world, change).await;
        let ended = daemon.ended(Duration::from_secs(20)).await;
        let log = daemon.log();
        assert_eq!(ended.code(), Some(4), "{change}: {log}");
        let (_, error) = log.rsplit_once("error: ").expect("an error");
        assert_eq!(error.matches("what to do: ").count(), 1, "{change}: {error}");
        for word in ["REPLICA IDENTITY DEFAULT", "leadbridge resync"] {
            assert!(error.contains(word), "{change}: {word} is not in: {error}");
        }
        assert_eq!(bridge.run(&["run"]).await.code, 4, "{change}: with Landing as it is");
        landing(&world, default).await;
        let said = bridge.run(&["run"]).await;
        assert!(said.code == 4 && said.err.contains("leadbridge resync"), "{change}: {}", said.err);
        let said = bridge.run(&["resync", "--yes"]).await;
        assert_eq!(said.code, 0, "{change}: {}", said.err);
        assert_equal(&world).await;
    }
    // With the id among other columns, the identity names a row as well as the key does.
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, "ALTER TABLE landing_leads REPLICA IDENTITY USING INDEX numbered_and_named").await;
    for change in [
        LATER,
        "UPDATE landing_leads SET source = 'both'",
        "UPDATE landing_leads SET id = gen_random_uuid() WHERE name = 'later'",
        "UPDATE landing_leads SET number = number * 10",
        "DELETE FROM landing_leads WHERE number % 20 = 0",
    ] {
        landing(&world, change).await;
    }
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn landings_own_normalized_phone_may_be_a_generated_column() {
    let world = World::new().await;
    world.fill(65, 20).await;
    let generated = "ALTER TABLE landing_leads DROP COLUMN phone_normalized,
        ADD COLUMN phone_normalized text GENERATED ALWAYS AS (upper(phone)) STORED";
    landing(&world, generated).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, &with_rows("UPDATE landing_leads SET phone = phone || '7'")).await;
    caught_up_and_equal(&world, &mut daemon).await;
    landing(&world, &with_rows("ALTER TABLE landing_leads ALTER phone_normalized DROP EXPRESSION")).await;
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}
