//! Exports as files, and imports of such files through the mapping.

mod bad_rows;
mod exported;
mod imported;
mod interrupted;
mod large;
mod refusals;

use std::path::PathBuf;

use serde_json::Value;

use crate::testkit::{Bridge, Said, World, landing, one, traffic};

/// Columns that no rule reads, of types whose text has quotes, commas, braces or trailing blanks.
const COLUMNS: &str = r#"
    CREATE TYPE mood AS ENUM ('good', 'b,"ad');
    ALTER TABLE landing_leads ADD "Тег ,x" text, ADD code char(4), ADD price numeric(20, 10), ADD tags text[],
        ADD mood mood, ADD raw bytea, ADD seen_at timestamptz(3), ADD doc json, ADD status varchar(20),
        ADD ratio double precision, ADD flag boolean;
    ALTER TABLE journey_stages ADD "Балл" numeric;
"#;

/// Values that a careless reader or writer of files would break.
const VALUES: &str = r#"
    INSERT INTO landing_leads (name, phone, email, source, metadata, "Тег ,x", code, price, tags, mood, raw, seen_at,
            doc, status, ratio, flag)
    VALUES
        (E'a\\b\nc\td\re"f\'g,\\.', E'\\N', '', NULL, 'null', E'\\.', ' x ', 1234567890.0000000001,
            ARRAY['a,"b', NULL, ''], 'b,"ad', '\x00ff5c0a', '2026-02-28 23:59:59.999+05', E'{"a" : 1,\n"a":2}', 'won',
            'NaN', true),
        ('Айгерим Қасымова ℵ 😀', '+7 (701) 1', NULL, '', '{"k": "v\\\"\n\u0001"}', '"', '', 0.5, '{}', 'good', '', NULL,
            'null', '', 0.1::float8 + 0.2, false),
        (E'a\n\\.\nb\r\n\\.\r\nc', E'\\.\n\\.', E'\\.x', '"', NULL, E'\n\\."\n', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, NULL),
        (E'\n', E'\t', E'\\', 'NULL', '[1, "x"]', '', 'a', 'NaN', '{{"",NULL},{"NULL","\\"}}', NULL, E'\\x0a',
            '0001-01-01', '""', 'null', '-Infinity', NULL),
        (E'\b\f\v\x01\x7f', '""', '""', ',', '"text"', ',', ',', -0.1, '{","}', NULL, '\x2c', NULL, '","', ',', 1e300, true),
        ('large', '7', NULL, 'twland', jsonb_build_object('utm_source', 'kenji', 'answers',
            (SELECT string_agg(md5(n::text), E'"\n,') FROM generate_series(1, 1500) AS n)), NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, NULL, NULL, NULL, NULL);
    INSERT INTO journey_stages (lead_id, stage, source, metadata, event_type, "Балл")
    SELECT id, E's\\n\n' || name, '', NULL, '', 1.50 FROM landing_leads;
    INSERT INTO scheduled_notifications (lead_id, notification_type, scheduled_for, recipient_name)
    SELECT id, 'both', now(), name FROM landing_leads WHERE name <> 'large'
"#;

/// A directory for an export of the installation.
fn directory(bridge: &Bridge, name: &str) -> PathBuf {
    bridge.dir().join(name)
}

/// Exports to a new directory below the installation's, which must succeed.
async fn export(bridge: &Bridge, name: &str, arguments: &[&str]) -> PathBuf {
    let path = directory(bridge, name);
    let said = bridge.run(&[&["export", path.to_str().unwrap()], arguments].concat()).await;
    assert_eq!(said.code, 0, "{}", said.err);
    path
}

async fn import(bridge: &Bridge, path: &std::path::Path, arguments: &[&str]) -> Said {
    bridge.run(&[&["import", path.to_str().unwrap(), "--yes", "--json"], arguments].concat()).await
}

/// Imports everything; returns the report.
async fn imported(bridge: &Bridge, path: &std::path::Path) -> Value {
    let said = import(bridge, path, &[]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    serde_json::from_str(&said.out).unwrap()
}

/// The command says that both sides are equal.
async fn assert_verified(bridge: &Bridge) {
    let said = bridge.run(&["verify", "--json", "--wait", "0s"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
}

/// Traffic without a row, and without a trace of an import.
async fn emptied(world: &World) {
    let all = "TRUNCATE traffic_leads CASCADE;
        DELETE FROM leadbridge.import; DELETE FROM leadbridge.quarantine; DELETE FROM leadbridge.conversion_notes";
    traffic(world, all).await;
}

/// Number of rows that Traffic holds, and of records of an import.
async fn held(world: &World) -> (i64, i64) {
    let client = world.traffic().await;
    let rows = "SELECT (SELECT count(*) FROM traffic_leads) + (SELECT count(*) FROM traffic_lead_journey)
        + (SELECT count(*) FROM leadbridge.quarantine)";
    (one(&client, rows).await, one(&client, "SELECT count(*) FROM leadbridge.import").await)
}

/// Leads with numbers from `first` to `last`, and two journey entries for each.
async fn leads(world: &World, first: u32, last: u32) {
    let sql = format!(
        "INSERT INTO landing_leads (id, name, phone, source) SELECT md5('lead ' || n)::uuid, 'lead ' || n, n::text, 'twland'
             FROM generate_series({first}, {last}) AS n;
         INSERT INTO {} (lead_id, stage) SELECT md5('lead ' || n)::uuid, 's' || k
             FROM generate_series({first}, {last}) AS n, generate_series(1, 2) AS k",
        world.names.landing_journey
    );
    landing(world, &sql).await;
}
