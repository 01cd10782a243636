//! The whole promise: every row that fits is on Traffic, every other row is in quarantine with Landing's present
//! values, and the notes belong to rows on Traffic.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tokio_postgres::Client;
use uuid::Uuid;

use super::World;
use super::oracle::{
    CHILDREN, OF_FIXTURE, Rows, differences, exists, expected_fates, on_landing, rows, whole_rows,
};

type Key = (String, Uuid);

/// Every difference that the required content of quarantine does not explain, one line each.
pub async fn differences_beside_quarantine(world: &World) -> Vec<String> {
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let fates = expected_fates(&landing, &traffic).await;
    let landed = landed(&landing, &traffic).await;
    let must_wait = must_wait(&traffic, &landed, &fates).await;
    let quarantined = quarantined(&traffic).await;
    let mut found = Vec::new();
    for key in must_wait.difference(&quarantined.keys().cloned().collect()) {
        found.push(format!("{} {}: not in quarantine", key.0, key.1));
    }
    for (key, image) in &quarantined {
        match landed.get(key).filter(|_| must_wait.contains(key)) {
            None => found.push(format!("{} {}: in quarantine without need", key.0, key.1)),
            Some(row) => found.extend(stale_columns(key, row, image)),
        }
    }
    let waiting: BTreeSet<String> = must_wait.iter().map(|(_, id)| id.to_string()).collect();
    let explained =
        |line: &String| waiting.iter().any(|id| line.contains(id) && !line.ends_with("not on Landing"));
    found.extend(differences(world).await.into_iter().filter(|line| !explained(line)));
    found.extend(wrong_notes(&traffic, &fates).await);
    found
}

/// Every row of Landing, each column as text.
async fn landed(landing: &Client, traffic: &Client) -> BTreeMap<Key, Map<String, Value>> {
    let mut all = BTreeMap::new();
    let children = CHILDREN.map(|(source, target)| (source, target));
    for (source, target) in [("landing_leads", "traffic_leads")].into_iter().chain(children) {
        if exists(traffic, target).await {
            let table = on_landing(landing, source).await;
            let found: Rows = rows(landing, &whole_rows(landing, &table).await, &[]).await;
            all.extend(found.into_iter().map(|(id, row)| ((source.to_owned(), id), row)));
        }
    }
    all
}

/// Leads with a verbatim value that is too long, and rows that refer to a lead that is absent on Traffic.
async fn must_wait(
    traffic: &Client,
    landed: &BTreeMap<Key, Map<String, Value>>,
    fates: &BTreeMap<Uuid, (Map<String, Value>, bool)>,
) -> BTreeSet<Key> {
    let leads = traffic.query("SELECT id FROM traffic_leads", &[]).await.unwrap();
    let leads: BTreeSet<Uuid> = leads.iter().map(|row| row.get(0)).collect();
    let waits = |(table, id): &Key, row: &Map<String, Value>| match table.as_str() {
        "landing_leads" => fates[id].1,
        _ => !leads.contains(&row["lead_id"].as_str().unwrap().parse().unwrap()),
    };
    landed.iter().filter(|(key, row)| waits(key, row)).map(|(key, _)| key.clone()).collect()
}

async fn quarantined(traffic: &Client) -> BTreeMap<Key, Map<String, Value>> {
    let sql = "SELECT source_table, row_id, coalesce(row_data, '{}')::text FROM leadbridge.quarantine";
    let rows = traffic.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| ((row.get(0), row.get(1)), serde_json::from_str(row.get(2)).unwrap())).collect()
}

/// Columns in which a quarantined image differs from Landing's present row.
fn stale_columns(key: &Key, row: &Map<String, Value>, image: &Map<String, Value>) -> Vec<String> {
    let columns = image.iter().filter(|(column, value)| {
        let boolean = matches!(value.as_str(), Some("t" | "f"));
        // Landing's own normalisation is not needed, and not read again after an update without the column.
        let differs = row.get(*column) != Some(value) && *column != "phone_normalized";
        if boolean {
            row.get(*column).and_then(Value::as_str).map(|text| &text[..1]) != value.as_str()
        } else {
            differs
        }
    });
    let complete = image.len() > 1;
    let mut found: Vec<_> =
        columns.map(|(column, _)| format!("{} {}: {column} in quarantine", key.0, key.1)).collect();
    let lacking = row.keys().filter(|name| OF_FIXTURE.contains(&&***name) && !image.contains_key(*name));
    found.extend(lacking.map(|name| format!("{} {}: {name} lacks in quarantine", key.0, key.1)));
    found.extend((!complete).then(|| format!("{} {}: no image in quarantine", key.0, key.1)));
    found
}

/// A quarantined lead keeps the notes of its older image on Traffic; without an older image the lead has no notes.
async fn wrong_notes(traffic: &Client, fates: &BTreeMap<Uuid, (Map<String, Value>, bool)>) -> Vec<String> {
    let sql = "SELECT n.row_id, jsonb_object_agg(n.column_name, n.original)::text,
                      EXISTS (SELECT FROM traffic_leads t WHERE t.id = n.row_id)
               FROM leadbridge.conversion_notes AS n GROUP BY n.row_id";
    let mut noted: BTreeMap<Uuid, (Map<String, Value>, bool)> = BTreeMap::new();
    for row in traffic.query(sql, &[]).await.unwrap() {
        noted.insert(row.get(0), (serde_json::from_str(row.get(1)).unwrap(), row.get(2)));
    }
    let mut found = Vec::new();
    for (id, (expected, waits)) in fates {
        let (notes, there) = noted.remove(id).unwrap_or_default();
        let right = if *waits { notes.is_empty() || there } else { notes == *expected };
        if !right {
            let columns = |notes: &Map<String, Value>| notes.keys().cloned().collect::<Vec<_>>().join(", ");
            found.push(format!("lead {id}: notes on {} and not on {}", columns(&notes), columns(expected)));
        }
    }
    found.extend(noted.keys().map(|id| format!("lead {id}: notes of a lead that is not on Landing")));
    found
}
