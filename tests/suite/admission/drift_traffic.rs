//! Traffic's tables change while the stream runs: the rows are right, or quarantined, or the daemon names the
//! obstacle.

use std::time::Duration;

use crate::testkit::{
    Bridge, Daemon, World, assert_equal, differences, differences_beside_quarantine, holds, landing, one,
    traffic, until,
};

/// A change of every table, and leads that the damage may concern. The deleted lead is not among these leads.
const WORK: &str = "UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1,
        metadata = jsonb_build_object('utm_source', 'x', 'n', coalesce(click_count, 0));
    UPDATE journey_stages SET source = 'w' || coalesce(source, '');
    INSERT INTO landing_leads (name, phone, source, amocrm_lead_id) VALUES ('twice', '555', 'twland', '12'),
        ('twice', '555', 'a source that is longer than fifty characters, by some', '13');
    DELETE FROM landing_leads
        WHERE id = (SELECT id FROM landing_leads WHERE created_at < now() ORDER BY id LIMIT 1)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Exact,
    Quarantined,
    Refused(&'static str),
}
use Outcome::{Exact, Quarantined, Refused};

/// A user-defined change, the SQL that undoes the change, and the outcome for rows in between.
const DAMAGES: [(&str, &str, Outcome); 17] = [
    (
        "ALTER TABLE traffic_leads DROP COLUMN utm_term CASCADE",
        "ALTER TABLE traffic_leads ADD COLUMN utm_term varchar(255)",
        Refused("utm_term"),
    ),
    (
        "ALTER TABLE traffic_leads RENAME utm_term TO term",
        "ALTER TABLE traffic_leads RENAME term TO utm_term",
        Refused("utm_term"),
    ),
    (
        "ALTER TABLE traffic_leads ADD COLUMN score int NOT NULL DEFAULT 3, ALTER name TYPE varchar(300)",
        "ALTER TABLE traffic_leads DROP COLUMN score",
        Exact,
    ),
    (
        "ALTER TABLE traffic_leads ADD COLUMN length int GENERATED ALWAYS AS (length(phone)) STORED",
        "ALTER TABLE traffic_leads DROP COLUMN length",
        Exact,
    ),
    (
        "ALTER TABLE traffic_leads DROP COLUMN amocrm_contact_id;
         ALTER TABLE traffic_leads ADD COLUMN amocrm_contact_id bigint GENERATED ALWAYS AS (1) STORED",
        "ALTER TABLE traffic_leads DROP COLUMN amocrm_contact_id;
         ALTER TABLE traffic_leads ADD COLUMN amocrm_contact_id bigint",
        Refused("amocrm_contact_id"),
    ),
    (
        "ALTER TABLE traffic_leads ALTER amocrm_lead_id TYPE text",
        "ALTER TABLE traffic_leads ALTER amocrm_lead_id TYPE bigint USING amocrm_lead_id::bigint",
        Refused("amocrm_lead_id"),
    ),
    (
        "ALTER TABLE traffic_leads ALTER metadata TYPE json",
        "ALTER TABLE traffic_leads ALTER metadata TYPE jsonb",
        Refused("traffic_leads"),
    ),
    (
        "ALTER TABLE traffic_leads ADD CONSTRAINT few CHECK (phone <> '555') NOT VALID",
        "ALTER TABLE traffic_leads DROP CONSTRAINT few",
        Quarantined,
    ),
    (
        "ALTER TABLE traffic_leads ADD CONSTRAINT more CHECK (utm_source IS NULL) NOT VALID",
        "ALTER TABLE traffic_leads DROP CONSTRAINT more",
        Quarantined,
    ),
    (
        "CREATE UNIQUE INDEX alone ON traffic_leads (phone) WHERE phone = '555'
             AND created_at > clock_timestamp_of_the_damage",
        "DROP INDEX alone",
        Quarantined,
    ),
    (
        "ALTER TABLE traffic_leads ADD CONSTRAINT known FOREIGN KEY (utm_source)
             REFERENCES traffic_teams (name) NOT VALID",
        "ALTER TABLE traffic_leads DROP CONSTRAINT known",
        Refused("known"),
    ),
    (
        "ALTER TABLE traffic_leads ALTER utm_source TYPE text",
        "ALTER TABLE traffic_leads ALTER utm_source TYPE varchar(100)",
        Exact,
    ),
    (
        "ALTER TABLE traffic_leads ALTER landing_source TYPE varchar(20) USING left(landing_source, 20)",
        "ALTER TABLE traffic_leads ALTER landing_source TYPE text",
        Quarantined,
    ),
    (
        "ALTER TABLE traffic_leads RENAME TO leads_of_traffic",
        "ALTER TABLE leads_of_traffic RENAME TO traffic_leads",
        Refused("traffic_leads"),
    ),
    (
        "ALTER TABLE traffic_lead_journey SET SCHEMA elsewhere",
        "ALTER TABLE elsewhere.traffic_lead_journey SET SCHEMA public",
        Refused("traffic_lead_journey"),
    ),
    (
        "ALTER TABLE leadbridge.checkpoint RENAME TO point",
        "ALTER TABLE leadbridge.point RENAME TO checkpoint",
        Refused("checkpoint"),
    ),
    (
        "ALTER TABLE leadbridge.conversion_notes RENAME TO notes",
        "ALTER TABLE leadbridge.notes RENAME TO conversion_notes",
        Refused("conversion_notes"),
    ),
];

/// PostgreSQL refuses to change the type of a column that a view shows.
async fn drop_views(world: &World) {
    let sql = "DO $$ DECLARE v record; BEGIN
        FOR v IN SELECT viewname FROM pg_views WHERE schemaname = 'public' LOOP
            EXECUTE format('DROP VIEW IF EXISTS public.%I CASCADE', v.viewname);
        END LOOP; END $$";
    traffic(world, sql).await;
}

/// Waits until the daemon has applied everything, or has ended by itself.
async fn outcome(world: &World, daemon: &mut Daemon) -> Option<i32> {
    let goal: String = one(&world.landing().await, "SELECT pg_current_wal_insert_lsn()::text").await;
    until("the daemon takes it or ends", async || {
        if let Some(status) = daemon.ended_already() {
            return Some(status.code());
        }
        let reached = format!("confirmed_flush_lsn >= '{goal}' FROM pg_replication_slots");
        holds(&world.landing().await, &reached).await.then_some(None)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_changed_target_table_still_takes_are_right_and_the_others_are_quarantined() {
    suffer(90, |wanted| !matches!(wanted, Refused(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_table_that_cannot_be_written_any_more_ends_the_daemon_with_what_to_do() {
    suffer(93, |wanted| matches!(wanted, Refused(_))).await;
}

async fn suffer(seed: u64, of_kind: impl Fn(&Outcome) -> bool) {
    let world = World::new().await;
    crate::testkit::repeat_numbers(&world).await;
    world.fill(seed, 20).await;
    traffic(&world, "CREATE SCHEMA elsewhere").await;
    drop_views(&world).await;
    let bridge = Bridge::new(&world).configured("[stream]\ncheckpoint_interval = \"50ms\"");
    for (damage, repair, wanted) in DAMAGES.into_iter().filter(|(.., wanted)| of_kind(wanted)) {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        landing(&world, WORK).await;
        daemon.caught_up(&world).await;
        let now: String = one(&world.landing().await, "SELECT quote_literal(clock_timestamp()::text)").await;
        traffic(&world, &damage.replace("clock_timestamp_of_the_damage", &format!("timestamptz {now}")))
            .await;
        landing(&world, WORK).await;
        // Changes applied before the next check of the shape do no harm; the check happens all the same.
        let code = match wanted {
            Refused(_) => daemon.ended(Duration::from_secs(30)).await.code(),
            Exact | Quarantined => outcome(&world, &mut daemon).await,
        };
        let quarantined = "SELECT count(*) FROM leadbridge.quarantine";
        match wanted {
            Refused(word) => {
                let log = daemon.log();
                assert_eq!(code, Some(4), "{damage}: {log}");
                let (_, error) = log.rsplit_once("error: ").expect("an error");
                assert!(error.contains(word) && error.contains("what to do: "), "{damage}: {error}");
            }
            Quarantined => {
                assert_eq!(code, None, "{damage}: {}", daemon.log());
                assert!(
                    one::<i64>(&world.traffic().await, quarantined).await > 0,
                    "{damage}: nothing is quarantined"
                );
            }
            Exact => {
                assert_eq!(code, None, "{damage}: {}", daemon.log());
                assert_eq!(differences(&world).await, [""; 0], "{damage}");
            }
        }
        traffic(&world, repair).await;
        daemon.kill().await;
        landing(&world, "UPDATE landing_leads SET email_sent = NOT coalesce(email_sent, false)").await;
        bridge.catch_up().await;
        assert_eq!(one::<i64>(&world.traffic().await, quarantined).await, 0, "{damage}: quarantined still");
        assert_eq!(differences(&world).await, [""; 0], "{damage}: after {repair}");
    }
}

const OLD_KEY: &str = "00000000-0000-0000-0000-00000000000a";
const NEW_KEY: &str = "00000000-0000-0000-0000-00000000000b";

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_begins_to_refer_to_leads_while_the_stream_runs_follows_a_changed_key() {
    let world = World::new().await;
    world.fill(91, 10).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{OLD_KEY}', 'k', '1')"))
        .await;
    daemon.caught_up(&world).await;
    let refers = format!(
        "CREATE TABLE traffic_calls (lead uuid NOT NULL REFERENCES traffic_leads (id));
         INSERT INTO traffic_calls VALUES ('{OLD_KEY}')"
    );
    traffic(&world, &refers).await;
    landing(&world, &format!("UPDATE landing_leads SET id = '{NEW_KEY}' WHERE id = '{OLD_KEY}'")).await;
    daemon.caught_up(&world).await;
    assert!(holds(&world.traffic().await, &format!("lead = '{NEW_KEY}' FROM traffic_calls")).await);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wider_column_takes_the_whole_value_from_the_next_row_on() {
    let world = World::new().await;
    world.fill(92, 10).await;
    drop_views(&world).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let long = "INSERT INTO landing_leads (name, phone, metadata)
        VALUES ('n', '1', jsonb_build_object('utm_source', repeat('u', 150)))";
    landing(&world, long).await;
    daemon.caught_up(&world).await;
    for (sql_type, length) in
        [("varchar(120)", 120), ("text", 150), ("varchar(40) USING left(utm_source, 40)", 40)]
    {
        traffic(&world, &format!("ALTER TABLE traffic_leads ALTER utm_source TYPE {sql_type}")).await;
        landing(&world, &format!("DELETE FROM landing_leads WHERE name = 'n'; {long}")).await;
        daemon.caught_up(&world).await;
        let cut = format!("length(utm_source) = {length} FROM traffic_leads WHERE name = 'n'");
        let quarantined = "count(*) > 0 FROM leadbridge.quarantine";
        let client = world.traffic().await;
        assert!(holds(&client, quarantined).await || holds(&client, &cut).await, "{sql_type}");
    }
}

/// New rows of every kind. Rows on Traffic are not changed on Landing: only a copy restores lost rows.
const NEWS: &str = "INSERT INTO landing_leads (name, phone, amocrm_lead_id)
        VALUES ('new', '1', 'none'), (repeat('x', 300), '2', NULL);
    INSERT INTO journey_stages (lead_id, stage) SELECT id, 'new' FROM landing_leads WHERE name = 'new'";

/// Lost objects, and the word for the error. The school restores the last object itself, in the form before
/// leadbridge.
const LOSSES: [(&str, &str); 5] = [
    ("DROP TABLE traffic_lead_journey CASCADE", "traffic_lead_journey"),
    ("ALTER TABLE traffic_leads DROP COLUMN click_count CASCADE", "click_count"),
    ("DROP TABLE leadbridge.quarantine", "quarantine"),
    ("DROP TABLE leadbridge.conversion_notes", "conversion_notes"),
    ("DROP TABLE traffic_leads CASCADE", "traffic_leads"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_table_or_column_that_was_dropped_is_made_by_migrate_again_and_filled_by_the_next_start() {
    let world = World::new().await;
    crate::testkit::repeat_numbers(&world).await;
    world.fill(95, 20).await;
    landing(&world, NEWS).await;
    traffic(
        &world,
        "CREATE TABLE bare (LIKE traffic_leads INCLUDING ALL); ALTER TABLE bare DROP landing_synced_at",
    )
    .await;
    let bridge = Bridge::new(&world).configured("[stream]\ncheckpoint_interval = \"50ms\"");
    for (loss, word) in LOSSES {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        traffic(&world, loss).await;
        landing(&world, NEWS).await;
        assert_eq!(outcome(&world, &mut daemon).await, Some(4), "{loss}: {}", daemon.log());
        let log = daemon.log();
        let (_, error) = log.rsplit_once("error: ").expect("an error");
        assert!(error.contains(word) && error.contains("leadbridge migrate"), "{loss}: {error}");
        if loss.contains("TABLE traffic_leads CASCADE") {
            assert_eq!(bridge.run(&["migrate"]).await.code, 4, "{loss}");
            let restored = "ALTER TABLE bare RENAME TO traffic_leads; ALTER TABLE traffic_lead_journey
                ADD FOREIGN KEY (lead_id) REFERENCES traffic_leads (id) ON DELETE CASCADE NOT VALID";
            traffic(&world, restored).await;
        }
        let said = bridge.run(&["run"]).await;
        assert!(said.code == 4 && said.err.contains("leadbridge migrate"), "{loss}: {}", said.err);
        let said = bridge.run(&["migrate"]).await;
        assert_eq!(said.code, 0, "{loss}: {}", said.err);
        bridge.catch_up().await;
        assert_eq!(differences_beside_quarantine(&world).await, [""; 0], "{loss}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_derived_column_made_narrower_while_streaming_is_cut_with_a_note_and_a_verbatim_one_is_quarantined()
{
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let long = |phone: &str, rows: usize| {
        format!(
            "INSERT INTO landing_leads (name, phone, metadata) SELECT 'n', '{phone}',
                 jsonb_build_object('utm_source', repeat('u', 30)) FROM generate_series(1, {rows})"
        )
    };
    landing(&world, &long("1", 1)).await;
    daemon.caught_up(&world).await;
    drop_views(&world).await;
    let narrower = "ALTER TABLE traffic_leads ALTER utm_source TYPE varchar(20) USING left(utm_source, 20)";
    traffic(&world, narrower).await;
    let client = world.traffic().await;
    // A pipelined batch, a batch of partial and whole updates, and a copied batch.
    for (phone, rows) in [("2", 1), ("3", 50), ("4", 300)] {
        landing(&world, &long(phone, rows)).await;
        daemon.caught_up(&world).await;
        let cut = format!(
            "(SELECT count(*) = {rows} FROM traffic_leads WHERE phone = '{phone}' AND length(utm_source) = 20)
             AND NOT EXISTS (SELECT FROM leadbridge.quarantine)"
        );
        assert!(holds(&client, &cut).await, "{phone}");
    }
    let noted = "count(*) = 351 FROM leadbridge.conversion_notes WHERE column_name = 'utm_source' AND length(original) = 30";
    assert!(holds(&client, noted).await);
    traffic(&world, "ALTER TABLE traffic_leads ALTER landing_source TYPE varchar(10)").await;
    landing(&world, "UPDATE landing_leads SET source = repeat('s', 11) WHERE phone = '2'").await;
    daemon.caught_up(&world).await;
    assert!(holds(&client, "count(*) = 1 FROM leadbridge.quarantine WHERE sqlstate = '22001'").await);
    daemon.terminate().await;
}
