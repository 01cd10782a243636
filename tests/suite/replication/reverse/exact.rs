//! Whether Landing is exact: the forward mapping of Landing's rows, by the oracle, gives Traffic's rows.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::testkit::{World, expected_leads, one, table_rows};

const TABLES: [(&str, &str); 2] = [
    ("journey_stages", "traffic_lead_journey"),
    ("scheduled_notifications", "traffic_scheduled_notifications"),
];

/// Columns without a place on Landing.
const TRAFFICS_OWN: [&str; 4] = ["status", "amocrm_pipeline_id", "amocrm_status_id", "landing_synced_at"];

/// Whether leadbridge documents that Traffic's value of a column is not carried back. Called with the column and both
/// rows: the mapping of Landing's row first.
pub type Admitted = fn(&str, &Map<String, Value>, &Map<String, Value>) -> bool;

/// Differences, one line each. `elsewhere` lists rows of Traffic that need not be on Landing. A lead that Traffic's own
/// code made, and everything that refers to the lead, must not be there.
pub async fn differences_back(world: &World, elsewhere: &[Uuid]) -> Vec<String> {
    differences_admitting(world, elsewhere, |_, _, _| false).await
}

pub async fn differences_admitting(world: &World, elsewhere: &[Uuid], admitted: Admitted) -> Vec<String> {
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let expected = expected_leads(&landing, &traffic).await;
    let actual = table_rows(&traffic, "traffic_leads").await;
    let mut found = Vec::new();
    let stays =
        |row: &Map<String, Value>| row["landing_synced_at"].is_null() && row["landing_lead"] == "false";
    let staying: BTreeSet<String> =
        actual.iter().filter(|(_, row)| stays(row)).map(|(id, _)| id.to_string()).collect();
    for (id, row) in &actual {
        match expected.get(id) {
            None if staying.contains(&id.to_string()) => {}
            Some(_) if staying.contains(&id.to_string()) => {
                found.push(format!("lead {id}: is Traffic's own"))
            }
            None if elsewhere.contains(id) => {}
            None => found.push(format!("lead {id}: not on Landing")),
            Some(made) => {
                found.extend(columns(made, row, admitted).map(|column| format!("lead {id}: {column}")))
            }
        }
    }
    found.extend(
        expected.keys().filter(|id| !actual.contains_key(id)).map(|id| format!("lead {id}: left over")),
    );
    for (table, on_traffic) in TABLES {
        let there: bool =
            one(&traffic, &format!("SELECT to_regclass('public.{on_traffic}') IS NOT NULL")).await;
        if !there {
            continue;
        }
        let table = if table == "journey_stages" { &world.names.landing_journey } else { table };
        let (ours, theirs) = (table_rows(&landing, table).await, table_rows(&traffic, on_traffic).await);
        for (id, row) in &theirs {
            let stays = row["lead_id"].as_str().is_some_and(|lead| staying.contains(lead));
            match ours.get(id) {
                None if stays => {}
                Some(_) if stays => found.push(format!("{table} {id}: belongs to a lead of Traffic's own")),
                None if elsewhere.contains(id) => {}
                None => found.push(format!("{table} {id}: not on Landing")),
                Some(made) => {
                    found.extend(columns(made, row, admitted).map(|column| format!("{table} {id}: {column}")))
                }
            }
        }
        found.extend(
            ours.keys().filter(|id| !theirs.contains_key(id)).map(|id| format!("{table} {id}: left over")),
        );
    }
    found
}

/// Columns in which Traffic's value differs from the mapping of Landing's row.
fn columns<'r>(
    made: &'r Map<String, Value>,
    row: &'r Map<String, Value>,
    admitted: Admitted,
) -> impl Iterator<Item = &'r String> {
    let differs = move |(column, value): &(&String, &Value)| {
        if made.get(*column).is_none_or(|made| made == *value) || TRAFFICS_OWN.contains(&column.as_str()) {
            return false;
        }
        let comes_back = match column.as_str() {
            "metadata" => !only_gained(made.get(*column), value),
            // A lead born on Traffic: Landing has a single column for `landing_source` and `source`.
            "landing_source" => !value.is_null(),
            _ => true,
        };
        comes_back && !admitted(column, made, row)
    };
    row.iter().filter(differs).map(|(column, _)| column)
}

/// Landing's metadata contains Traffic's metadata, and values of Traffic's separate columns besides.
fn only_gained(landing: Option<&Value>, traffic: &Value) -> bool {
    let object = |value: Option<&Value>| match value {
        Some(Value::String(text)) => serde_json::from_str::<Map<String, Value>>(text).ok(),
        _ => None,
    };
    let Some(landing) = object(landing) else { return false };
    let traffic = if traffic.is_null() { Some(Map::new()) } else { object(Some(traffic)) };
    let implied = |key: &str| key.starts_with("utm_") || key.starts_with("fb_") || key == "funnel_type";
    traffic.is_some_and(|traffic| {
        landing.iter().all(|(key, value)| traffic.get(key) == Some(value) || implied(key))
            && traffic.iter().all(|(key, value)| landing.get(key) == Some(value) || implied(key))
    })
}

pub async fn assert_back(world: &World, elsewhere: &[Uuid]) {
    let found = differences_back(world, elsewhere).await;
    assert!(found.is_empty(), "{} differences, the first: {:#?}", found.len(), &found[..found.len().min(10)]);
}
