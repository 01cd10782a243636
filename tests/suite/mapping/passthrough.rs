//! Columns of Landing that no rule of the mapping reads: carried everywhere, or left out by name.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::cutover::{CutoverSetup, PATIENT};
use crate::testkit::{Bridge, Daemon, World, holds, landing, one, traffic, until_holds, until_true};

/// Columns of every kind of type: of the server, with modifiers, arrays, ranges, and types that only Landing has.
/// Traffic has a `status` of its own, and some names need quotes.
const COLUMNS: &str = r#"
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE DOMAIN score AS numeric CHECK (VALUE >= 0);
    ALTER TABLE landing_leads ADD "Тег" text, ADD "order" integer, ADD status varchar(20), ADD code char(4),
        ADD price numeric(12, 2), ADD ratio double precision, ADD share real, ADD small smallint, ADD big bigint,
        ADD flag boolean, ADD day date, ADD at timestamp, ADD seen_at timestamptz(3), ADD span interval, ADD raw bytea,
        ADD tags text[], ADD address inet, ADD extra jsonb, ADD plain json, ADD mood mood, ADD score score,
        ADD period tstzrange, ADD doc xml, ADD relation regclass, ADD other uuid;
    ALTER TABLE journey_stages ADD "Балл" numeric;
"#;

/// Values for `n` leads, beginning at `first`; every seventh row has nulls. Every fifth has a text that is stored out
/// of line.
fn insert(first: i32, n: i32) -> String {
    format!(
        r#"INSERT INTO landing_leads (name, phone, metadata, "Тег", "order", status, code, price, ratio, share, small,
               big, flag, day, at, seen_at, span, raw, tags, address, extra, plain, mood, score, period, doc, relation,
               other)
           SELECT 'lead', i::text, '{{"a": 1}}', CASE i % 5 WHEN 0 THEN (SELECT string_agg(md5(i::text || k), '')
                   FROM generate_series(1, 200) AS k) ELSE 'тег "' || i END,
               i, 'won', 'a', i + 0.10, i / 7.0, i / 3.0, i, i * 4000000000, i % 2 = 0, date '2026-01-01' + i,
               timestamp '2026-01-01 10:00:00.5', timestamptz '2026-01-01 10:00:00.123456+05', interval '1 mon 2 days',
               decode(md5(i::text), 'hex'), ARRAY['a', NULL, '"b'], '10.0.0.1', '{{"n": 1.50}}', '{{"b":1, "a":2 }}', 'bad',
               i + 0.500, tstzrange('2026-01-01', '2026-01-02'), '<a>ж</a>', 'pg_class', gen_random_uuid()
           FROM generate_series({first}, {last}) AS i WHERE i % 7 <> 0;
           INSERT INTO landing_leads (name, phone) SELECT 'lead', i::text FROM generate_series({first}, {last}) AS i
           WHERE i % 7 = 0;
           INSERT INTO journey_stages (lead_id, stage, event_type, "Балл")
           SELECT id, 's', 'click ' || phone, 1.50 FROM landing_leads WHERE phone::int BETWEEN {first} AND {last}"#,
        last = first + n - 1
    )
}

type Texts = BTreeMap<Uuid, Vec<Option<String>>>;

/// The output text of these columns, by id.
async fn texts(client: &Client, table: &str, columns: &[String]) -> Texts {
    let texts: Vec<String> = columns
        .iter()
        .map(|column| {
            let column = format!("\"{column}\"");
            format!("CASE WHEN {column} IS DISTINCT FROM NULL THEN format('%s', {column}) END")
        })
        .collect();
    let rows = client.query(&format!("SELECT id, {} FROM {table}", texts.join(", ")), &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), (1..=columns.len()).map(|at| row.get(at)).collect())).collect()
}

/// Compares every column that the record names, and returns how many columns were compared.
async fn assert_carried(world: &World, after: &str) -> usize {
    let (on_landing, on_traffic) = (world.landing().await, world.traffic().await);
    let mut compared = 0;
    for (label, table, target) in [
        ("landing_leads", "landing_leads", "traffic_leads"),
        ("lead_journey", "journey_stages", "traffic_lead_journey"),
    ] {
        let sql = "SELECT landing_column, traffic_column FROM leadbridge.passthrough WHERE source_table = $1";
        let columns = on_traffic.query(sql, &[&label]).await.unwrap();
        let (theirs, ours): (Vec<String>, Vec<String>) =
            columns.iter().map(|row| (row.get::<_, String>(0), row.get::<_, String>(1))).unzip();
        compared += theirs.len();
        let (expected, held) =
            (texts(&on_landing, table, &theirs).await, texts(&on_traffic, target, &ours).await);
        assert_eq!(expected.len(), held.len(), "{label} after {after}");
        for (id, row) in &expected {
            for (column, (ours, theirs)) in theirs.iter().zip(row.iter().zip(&held[id])) {
                assert!(ours == theirs, "{label}.{column} of {id} after {after}");
            }
        }
    }
    compared
}

async fn ok(bridge: &Bridge, arguments: &[&str]) -> String {
    let said = bridge.run(arguments).await;
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
    said.out
}

async fn with_columns() -> (World, Bridge) {
    let world = World::unmigrated().await;
    landing(&world, COLUMNS).await;
    let bridge = Bridge::new(&world);
    let planned = ok(&bridge, &["migrate", "--dry-run"]).await;
    for named in ["traffic_leads.landing_status", "landing_leads.mood", "traffic_lead_journey.event_type"] {
        assert!(planned.contains(named), "{named}: {planned}");
    }
    ok(&bridge, &["migrate"]).await;
    let again = ok(&bridge, &["migrate", "--dry-run"]).await;
    assert!(!again.contains("landing_status") && !again.contains("would be"), "{again}");
    (world, bridge)
}

async fn caught_up(world: &World, daemon: &mut Daemon, after: &str) {
    daemon.caught_up(world).await;
    assert_eq!(assert_carried(world, after).await, 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_every_type_are_carried_by_copy_stream_quarantine_repair_and_back() {
    let (world, bridge) = with_columns().await;
    landing(&world, &insert(1, 150)).await;
    let mut daemon = bridge.daemon().await;
    caught_up(&world, &mut daemon, "the copy").await;
    landing(&world, &insert(200, 3)).await;
    caught_up(&world, &mut daemon, "a small batch").await;
    landing(&world, &insert(300, 300)).await;
    caught_up(&world, &mut daemon, "a large batch").await;
    landing(&world, "UPDATE landing_leads SET name = 'unsent texts stay'").await;
    caught_up(&world, &mut daemon, "an update without the texts").await;
    let update = r#"UPDATE landing_leads SET "order" = 7, mood = 'good', tags = NULL, price = 1, address = '::1/64',
        "Тег" = NULL WHERE phone::int % 3 = 0; UPDATE journey_stages SET "Балл" = NULL WHERE random() < 0.5"#;
    landing(&world, update).await;
    caught_up(&world, &mut daemon, "an update").await;
    let key = "DELETE FROM journey_stages USING landing_leads AS l WHERE l.id = lead_id AND l.phone::int = 5;
        UPDATE landing_leads SET id = gen_random_uuid() WHERE phone::int = 5";
    landing(&world, key).await;
    caught_up(&world, &mut daemon, "a changed key").await;

    traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT no_bots CHECK (name <> 'bot')").await;
    landing(&world, "UPDATE landing_leads SET name = 'bot', score = 9 WHERE phone::int % 10 = 0").await;
    daemon.caught_up(&world).await;
    let kept = "count(*) > 40 AND bool_and(row_data ->> 'score' = '9') FROM leadbridge.quarantine";
    assert!(holds(&world.traffic().await, kept).await);
    traffic(&world, "ALTER TABLE traffic_leads DROP CONSTRAINT no_bots").await;
    ok(&bridge, &["quarantine", "retry"]).await;
    caught_up(&world, &mut daemon, "a retry").await;
    ok(&bridge, &["verify"]).await;
    daemon.terminate().await;

    let damage = "SET session_replication_role = replica; UPDATE traffic_leads SET landing_status = 'lost'
        WHERE phone::int = 11; UPDATE traffic_lead_journey SET event_type = 'x'";
    traffic(&world, damage).await;
    let found = bridge.run(&["verify", "--json"]).await;
    assert_eq!(found.code, 1, "{}", found.err);
    assert!(found.out.contains("landing_status") && found.out.contains("event_type"), "{}", found.out);
    ok(&bridge, &["verify", "--repair"]).await;
    assert_carried(&world, "a repair").await;
    ok(&bridge, &["resync", "--yes"]).await;
    assert_carried(&world, "a resync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_every_type_go_back_to_landing_and_a_rollback_keeps_them() {
    let (world, bridge) = with_columns().await;
    landing(&world, &insert(1, 60)).await;
    let daemon = bridge.daemon().await;
    let mut setup = CutoverSetup { world, bridge, daemon };
    setup.daemon.caught_up(&setup.world).await;
    let certificate = setup.switches(&PATIENT).await;
    assert_eq!(certificate["left_out"], Value::Array(Vec::new()));
    setup.flows_back().await;
    let change = r#"UPDATE traffic_leads SET landing_status = 'new on Traffic', mood = 'good', score = '3.5', price = 7,
        tags = '{x}', "Тег" = 'т', doc = NULL, flag = NOT flag WHERE phone::int % 2 = 0;
        UPDATE traffic_lead_journey SET event_type = 'on Traffic'"#;
    traffic(&setup.world, change).await;
    let arrived = "count(*) FILTER (WHERE status = 'new on Traffic' AND mood = 'good' AND score = 3.5) = 30
        AND (SELECT bool_and(event_type = 'on Traffic') FROM journey_stages) FROM landing_leads";
    until_holds(&setup.world.landing().await, arrived).await;
    assert_carried(&setup.world, "a change on Traffic").await;
    setup.rolls_back(&PATIENT).await;
    assert_carried(&setup.world, "the rollback").await;
    landing(&setup.world, "UPDATE landing_leads SET status = 'again on Landing'").await;
    caught_up(&setup.world, &mut setup.daemon, "a change on Landing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_is_renamed_or_skipped_as_configured_and_what_is_skipped_is_named() {
    let world = World::unmigrated().await;
    landing(&world, "ALTER TABLE landing_leads ADD tag text, ADD raw jsonb, ADD upper text GENERATED ALWAYS AS (upper(name)) STORED").await;
    let columns = "[columns.landing_leads]\nrename = { tag = \"site_tag\" }\nskip = [\"raw\"]";
    let bridge = Bridge::new(&world).configured(columns);
    ok(&bridge, &["migrate"]).await;
    landing(&world, "INSERT INTO landing_leads (name, phone, tag, raw) VALUES ('n', '1', 'a', '{}')").await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    assert!(holds(&world.traffic().await, "site_tag = 'a' FROM traffic_leads").await);
    for arguments in [&["doctor"][..], &["status"], &["cutover", "--dry-run"]] {
        let said = bridge.run(arguments).await;
        for named in ["landing_leads.raw (skipped", "landing_leads.upper (computed"] {
            assert!(said.out.contains(named), "{arguments:?} names {named}: {}", said.out);
        }
    }
    daemon.terminate().await;
    for (wrong, says) in [
        ("rename = { tag = \"phone\" }", "column phone already"),
        ("skip = [\"name\"]", "always replicated"),
        ("skip = [\"nothing\"]", "does not have"),
    ] {
        let world = World::unmigrated().await;
        landing(&world, "ALTER TABLE landing_leads ADD tag text").await;
        let bridge = Bridge::new(&world).configured(&format!("[columns.landing_leads]\n{wrong}"));
        let refused = bridge.run(&["migrate"]).await;
        assert_eq!(refused.code, 4, "{wrong}: {}", refused.err);
        assert!(refused.err.contains(says) && refused.err.contains("[columns."), "{wrong}: {}", refused.err);
    }
    let refused = bridge.configured("[columns.users]\nskip = [\"a\"]").run(&["migrate"]).await;
    assert_eq!(refused.code, 64, "{}", refused.err);
    assert!(refused.err.contains("[columns.users]"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_appears_stops_nothing_and_is_named_until_it_is_carried() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, "ALTER TABLE landing_leads ADD tag text DEFAULT 'old'").await;
    landing(&world, "INSERT INTO landing_leads (name, phone, tag) VALUES ('n', '1', 'new')").await;
    daemon.caught_up(&world).await;
    let named =
        async |arguments: &[&str]| bridge.run(arguments).await.out.contains("landing_leads.tag (not copied");
    assert!(named(&["status"]).await && named(&["doctor"]).await && named(&["cutover", "--dry-run"]).await);
    // The place alone brings no values: the column stays named, and nothing is compared that was not copied.
    let migrated = ok(&bridge, &["migrate"]).await;
    assert!(migrated.contains("traffic_leads.tag") && migrated.contains("resync"), "{migrated}");
    landing(&world, "INSERT INTO landing_leads (name, phone, tag) VALUES ('n', '2', 'new')").await;
    daemon.caught_up(&world).await;
    ok(&bridge, &["verify"]).await;
    assert!(named(&["status"]).await);
    daemon.terminate().await;
    ok(&bridge, &["resync", "--yes"]).await;
    assert!(!named(&["status"]).await && !named(&["doctor"]).await);
    assert!(holds(&world.traffic().await, "count(*) = 2 AND bool_and(tag = 'new') FROM traffic_leads").await);

    // A carried column that goes ends the stream: its values would become null.
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(
        &world,
        "ALTER TABLE landing_leads DROP tag; INSERT INTO landing_leads (name, phone) VALUES ('n', '3')",
    )
    .await;
    until_true("the end of the daemon", async || daemon.ended_already().is_some()).await;
    assert!(daemon.log().contains("landing_leads.tag"), "{}", daemon.log());
    ok(&bridge, &["resync", "--yes"]).await;
    let kept = "count(*) = 3 AND count(*) FILTER (WHERE tag = 'new') = 2 FROM traffic_leads";
    assert!(holds(&world.traffic().await, kept).await, "the column is Traffic's now");
    assert_eq!(
        one::<i64>(
            &world.traffic().await,
            "SELECT count(*) FROM leadbridge.passthrough WHERE landing_column = 'tag'"
        )
        .await,
        1
    );
}
