//! Whether the legacy names on Traffic show what Landing's tables hold, column by column, whichever database takes writes.

use serde_json::{Map, Value};

use crate::testkit::{World, table_rows};

/// A null of Landing that Traffic shows as a value (docs/mapping.md).
fn is_read_for_null(column: &str, value: &Value) -> bool {
    match column {
        "email_sent" | "sms_sent" | "email_clicked" | "sms_clicked" => value == "false",
        "click_count" => value == "0",
        _ => false,
    }
}

fn columns_that_differ<'r>(ours: &'r Map<String, Value>, theirs: &'r Map<String, Value>) -> Vec<&'r String> {
    let differs = |(column, value): &(&String, &Value)| {
        let shown = theirs.get(*column);
        let is_admitted = value.is_null() && shown.is_some_and(|shown| is_read_for_null(column, shown));
        shown != Some(*value) && !is_admitted
    };
    ours.iter().filter(differs).map(|(column, _)| column).collect()
}

/// Compares whole tables: names of columns, keys, and every value as the servers' text.
pub async fn assert_legacy_names_show_landing(world: &World, journey: &str) {
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let mut found = Vec::new();
    for table in ["landing_leads", journey, "scheduled_notifications"] {
        let (ours, theirs) = (table_rows(&landing, table).await, table_rows(&traffic, table).await);
        assert!(!ours.is_empty(), "{table} is empty");
        for (id, row) in &ours {
            match theirs.get(id) {
                None => found.push(format!("{table} {id}: not shown on Traffic")),
                Some(shown) => {
                    let differing = columns_that_differ(row, shown);
                    found.extend(differing.into_iter().map(|column| format!("{table} {id}: {column}")));
                    let more = shown.keys().filter(|column| !row.contains_key(*column));
                    found.extend(more.map(|column| format!("{table}: {column} is not Landing's")));
                }
            }
        }
        let left_over = theirs.keys().filter(|id| !ours.contains_key(id));
        found.extend(left_over.map(|id| format!("{table} {id}: not on Landing")));
    }
    assert!(found.is_empty(), "{} differences, the first: {:#?}", found.len(), &found[..found.len().min(10)]);
}
