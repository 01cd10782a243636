//! Compares Traffic with the oracle's expectation, by ids and column names, never by values.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokio_postgres::Client;
use uuid::Uuid;

use super::World;

pub type Rows = BTreeMap<Uuid, Map<String, Value>>;

const ORACLE: &str = include_str!("oracle.sql");

/// Columns that older Landings may lack, with their types.
const OPTIONAL: [(&str, &str); 16] = [
    ("email", "text"),
    ("amocrm_contact_id", "text"),
    ("amocrm_synced", "boolean"),
    ("email_sent", "boolean"),
    ("sms_sent", "boolean"),
    ("email_clicked", "boolean"),
    ("sms_clicked", "boolean"),
    ("email_clicked_at", "timestamptz"),
    ("sms_clicked_at", "timestamptz"),
    ("click_count", "integer"),
    ("phone_normalized", "text"),
    ("utm_source", "text"),
    ("utm_medium", "text"),
    ("utm_campaign", "text"),
    ("utm_content", "text"),
    ("utm_term", "text"),
];

/// Columns that oracle.sql reads besides the [`OPTIONAL`] columns.
const ORACLE_READS: [&str; 8] =
    ["id", "name", "phone", "source", "metadata", "amocrm_lead_id", "created_at", "updated_at"];

/// Columns of the fixture that no rule of the mapping reads.
pub(super) const OF_FIXTURE: [&str; 14] = [
    "email_sent_at",
    "email_error",
    "email_opened_at",
    "sms_sent_at",
    "sms_error",
    "sms_message_id",
    "amocrm_sync_status",
    "amocrm_sync_attempts",
    "amocrm_sync_last_error",
    "event_type",
    "recipient_name",
    "recipient_email",
    "recipient_phone",
    "source_campaign",
];

/// Whether a column of Traffic is Traffic's own where Landing lacks the column `absent`.
fn is_traffics(column: &str, absent: &str) -> bool {
    // These columns of Traffic have other sources, too.
    let has_sources = absent == "phone_normalized" || absent.starts_with("utm_");
    column.strip_prefix("landing_") == Some(absent) || (column == absent && !has_sources)
}

/// Labels of the children and their tables on Traffic: whole rows, as the same text on both sides.
pub(super) const CHILDREN: [(&str, &str); 2] = [
    ("lead_journey", "traffic_lead_journey"),
    ("scheduled_notifications", "traffic_scheduled_notifications"),
];

/// The table on Landing with a label of ours.
pub(super) async fn on_landing(landing: &Client, label: &str) -> String {
    let is_renamed = label == "lead_journey" && exists(landing, "journey_stages").await;
    if is_renamed { "journey_stages".to_owned() } else { label.to_owned() }
}

/// Fails, naming ids and columns, unless Traffic equals the mapping applied to Landing.
pub async fn assert_equal(world: &World) {
    let found = differences(world).await;
    assert!(found.is_empty(), "{} differences, the first: {:#?}", found.len(), &found[..found.len().min(10)]);
}

/// Every difference of an owned column, every missing or extra row, one line each.
pub async fn differences(world: &World) -> Vec<String> {
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let expected = expected_leads(&landing, &traffic).await;
    let mut found = compare("lead", &expected, &from_landing(&traffic, "traffic_leads").await);
    for (source, target) in CHILDREN {
        if exists(&traffic, target).await {
            let table = on_landing(&landing, source).await;
            let expected = rows(&landing, &whole_rows(&landing, &table).await, &[]).await;
            let expected = under_names_of_traffic(expected, &traffic, target).await;
            found.extend(compare(source, &expected, &from_landing(&traffic, target).await));
        }
    }
    found
}

/// Expected rows of `traffic_leads`, by id: owned columns as text, null for null.
pub async fn expected_leads(landing: &Client, traffic: &Client) -> Rows {
    let absent = absent(landing).await;
    let mut expected = rows(landing, &oracle(&absent), &[&limits(traffic).await]).await;
    let mut without: Vec<&str> = absent.iter().map(|(name, _)| *name).collect();
    if !carries_normalized_phones(traffic).await {
        without.push("phone_normalized");
    }
    for row in expected.values_mut() {
        row.retain(|column, _| !without.iter().any(|name| is_traffics(column, name)));
    }
    for (id, row) in passed_through(landing, traffic).await {
        expected.get_mut(&id).unwrap().extend(row);
    }
    expected
}

/// The columns that oracle.sql does not know, under their names on Traffic. A column of the fixture must have a
/// place on Traffic; a column that a test adds to Landing need not.
async fn passed_through(landing: &Client, traffic: &Client) -> Rows {
    let known = columns(traffic, "traffic_leads").await;
    let mut all = rows(landing, &whole_rows(landing, "landing_leads").await, &[]).await;
    for row in all.values_mut() {
        row.retain(|column, _| {
            let is_read =
                ORACLE_READS.contains(&&**column) || OPTIONAL.iter().any(|(name, _)| column == name);
            !is_read && (OF_FIXTURE.contains(&&**column) || has_place(&known, column))
        });
    }
    under_names_of_traffic(all, traffic, "traffic_leads").await
}

fn has_place(known: &[String], column: &str) -> bool {
    known.iter().any(|name| name == column || name.strip_prefix("landing_") == Some(column))
}

/// Renames each column whose name Traffic had for a column of its own.
async fn under_names_of_traffic(rows: Rows, traffic: &Client, target: &str) -> Rows {
    let known = columns(traffic, target).await;
    let renamed = |column: String| {
        let other = format!("landing_{column}");
        if known.contains(&other) { other } else { column }
    };
    let rename =
        |row: Map<String, Value>| row.into_iter().map(|(column, value)| (renamed(column), value)).collect();
    rows.into_iter().map(|(id, row)| (id, rename(row))).collect()
}

async fn columns(client: &Client, table: &str) -> Vec<String> {
    let sql = "SELECT attname::text FROM pg_attribute
               WHERE attrelid = to_regclass('public.' || $1) AND attnum > 0 AND NOT attisdropped";
    client.query(sql, &[&table]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Whether the last copy knew Landing's own normalisation: the column may be generated, and may appear later.
async fn carries_normalized_phones(traffic: &Client) -> bool {
    let sql = "SELECT NOT EXISTS (SELECT FROM leadbridge.checkpoint WHERE
        NOT published::jsonb #> '{tables,landing_leads,columns}' ? 'phone_normalized')";
    traffic.query_one(sql, &[]).await.unwrap().get(0)
}

/// The [`OPTIONAL`] columns that this Landing lacks.
async fn absent(landing: &Client) -> Vec<(&'static str, &'static str)> {
    let there = columns(landing, "landing_leads").await;
    OPTIONAL.into_iter().filter(|(name, _)| there.iter().all(|known| known != name)).collect()
}

/// The oracle's SQL, with null for each column that Landing lacks.
fn oracle(absent: &[(&str, &str)]) -> String {
    let nulls: String = absent.iter().map(|(name, kind)| format!(", NULL::{kind} AS {name}")).collect();
    let table = "FROM public.landing_leads AS l";
    assert!(ORACLE.contains(table));
    ORACLE.replace(table, &format!("FROM (SELECT *{nulls} FROM public.landing_leads) AS l"))
}

/// The mapping's effect on each lead: the originals of changed values, and whether Traffic cannot take the lead.
pub(super) async fn expected_fates(
    landing: &Client,
    traffic: &Client,
) -> BTreeMap<Uuid, (Map<String, Value>, bool)> {
    let sql = oracle(&absent(landing).await);
    let rows = landing.query(&sql, &[&limits(traffic).await]).await.unwrap();
    rows.iter().map(|row| (row.get(0), (serde_json::from_str(row.get(2)).unwrap(), row.get(3)))).collect()
}

/// The limits of the columns of `traffic_leads`, in characters.
async fn limits(traffic: &Client) -> String {
    traffic
        .query_one(
            "SELECT jsonb_object_agg(attname, coalesce(nullif(atttypmod, -1) - 4, 1000000))::text
             FROM pg_attribute WHERE attrelid = 'public.traffic_leads'::regclass AND attnum > 0
                 AND NOT attisdropped AND atttypid IN ('text'::regtype, 'varchar'::regtype)",
            &[],
        )
        .await
        .unwrap()
        .get(0)
}

/// Rows with `landing_synced_at`, which came from Landing; other rows are Traffic's.
async fn from_landing(traffic: &Client, table: &str) -> Rows {
    let sql = format!("{} WHERE landing_synced_at IS NOT NULL", whole_rows(traffic, table).await);
    rows(traffic, &sql, &[]).await
}

/// Every row of a table, each column in the server's own text.
pub async fn table_rows(client: &Client, table: &str) -> Rows {
    rows(client, &whole_rows(client, table).await, &[]).await
}

/// A query for every row, each column in the server's own text, because reading JSON numbers would round them.
pub(super) async fn whole_rows(client: &Client, table: &str) -> String {
    let sql = "SELECT format('jsonb_object(ARRAY[%s], ARRAY[%s])', string_agg(quote_literal(attname), ', '),
                   string_agg(format('%I::text', attname), ', ')) FROM pg_attribute
               WHERE attrelid = to_regclass('public.' || $1) AND attnum > 0 AND NOT attisdropped";
    let object: String = client.query_one(sql, &[&table]).await.unwrap().get(0);
    format!("SELECT id, {object}::text FROM public.{table}")
}

pub(super) async fn rows(
    client: &Client,
    sql: &str,
    limits: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Rows {
    let rows = client.query(sql, limits).await.unwrap();
    rows.iter().map(|row| (row.get(0), serde_json::from_str(row.get(1)).unwrap())).collect()
}

fn compare(kind: &str, expected: &Rows, actual: &Rows) -> Vec<String> {
    let mut found = Vec::new();
    for (id, row) in expected {
        match actual.get(id) {
            None => found.push(format!("{kind} {id}: missing on Traffic")),
            Some(there) => {
                let differ = row.iter().filter(|(column, value)| there.get(*column) != Some(value));
                found.extend(differ.map(|(column, _)| format!("{kind} {id}: {column}")));
            }
        }
    }
    let left_over = actual.keys().filter(|id| !expected.contains_key(id));
    found.extend(left_over.map(|id| format!("{kind} {id}: not on Landing")));
    found
}

pub(super) async fn exists(traffic: &Client, table: &str) -> bool {
    let sql = "SELECT to_regclass('public.' || $1) IS NOT NULL";
    traffic.query_one(sql, &[&table]).await.unwrap().get(0)
}
