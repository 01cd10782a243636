//! Documents, alerts and dashboard name the metrics that a running daemon has, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::exposition::Exposition;
use super::metrics::scrape;
use crate::testkit::{Bridge, World, landing};

fn file(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The cells of each row of the tables of a page whose first cell is code.
fn rows(page: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split(" |").map(|cell| cell.trim().to_owned()).collect();
    page.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

/// The words in backquotes.
fn codes(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every `expr` of the alerts. Each stands on one line.
fn alert_expressions(alerts: &str) -> Vec<String> {
    let lines = || alerts.lines().map(str::trim_start);
    let found: Vec<_> = lines().filter_map(|line| line.strip_prefix("expr: ")).map(str::to_owned).collect();
    assert!(!found.is_empty() && lines().filter(|line| line.starts_with("expr")).count() == found.len());
    assert_eq!(lines().filter(|line| line.starts_with("- alert: ")).count(), found.len());
    assert!(found.iter().all(|expression| !expression.starts_with(['|', '>', '"', '\''])), "{found:?}");
    found
}

/// Every query of the dashboard, of panels and of variables.
fn dashboard_expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if ["expr", "query", "definition"].contains(&name.as_str()) => {
                        found.push(text.to_owned());
                    }
                    _ => dashboard_expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| dashboard_expressions(value, found)),
        _ => {}
    }
}

/// The names of metrics in a query, each with the labels of its selector.
fn metrics_in(expression: &str) -> Vec<(String, BTreeSet<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("leadbridge_") {
        assert!(at == 0 || !rest[..at].ends_with(is_name), "{expression}");
        let end = rest[at..].find(|c| !is_name(c)).map_or(rest.len(), |length| at + length);
        let name = rest[at..end].to_owned();
        rest = &rest[end..];
        let selector =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |parts| parts.0);
        let label = |matcher: &str| matcher.split(['=', '!']).next().unwrap().trim().to_owned();
        found.push((name, selector.split(',').filter(|matcher| !matcher.is_empty()).map(label).collect()));
    }
    found
}

/// Names and labels of the page's table, by metric.
fn documented(page: &str) -> BTreeMap<String, (String, Option<String>, BTreeSet<String>)> {
    let entry = |cells: &Vec<String>| {
        let [name, kind, unit, labels, meaning] = cells.as_slice() else { panic!("{cells:?}") };
        assert!(meaning.len() > 10, "{name}");
        let unit = Some(unit.clone()).filter(|unit| !unit.is_empty());
        (codes(name).pop_first().unwrap(), (kind.clone(), unit, codes(labels)))
    };
    rows(page).iter().map(entry).collect()
}

fn assert_table_is_true(page: &str, found: &Exposition) {
    let documented = documented(page);
    let names = |map: &BTreeSet<&String>| map.iter().map(|name| (*name).clone()).collect::<Vec<_>>();
    assert_eq!(names(&documented.keys().collect()), names(&found.0.keys().collect()));
    for (name, family) in &found.0 {
        let (kind, unit, labels) = &documented[name];
        assert_eq!((kind, unit), (&family.kind, &family.unit), "{name}");
        for sample in &family.samples {
            let mut present: BTreeSet<_> = sample.labels.keys().cloned().collect();
            present.remove("le");
            assert_eq!(&present, labels, "{name}");
        }
        let has_unit = ["_bytes", "_seconds"].iter().any(|unit| name.ends_with(unit));
        assert_eq!(has_unit, family.unit.is_some(), "{name}");
    }
}

/// Metrics and labels of the queries exist.
fn assert_queries_have_metrics(what: &str, expressions: &[String], page: &str, found: &Exposition) {
    let (queryable, documented) = (found.queryable(), documented(page));
    let mut used = 0;
    for (name, labels) in expressions.iter().flat_map(|expression| metrics_in(expression)) {
        assert!(queryable.contains(&name), "{what}: {name}");
        let family = documented.iter().find(|(family, (kind, ..))| match kind.as_str() {
            "gauge" => name == **family,
            _ => name.strip_prefix(*family).is_some_and(|suffix| suffix.matches('_').count() == 1),
        });
        let (_, _, known) = family.unwrap_or_else(|| panic!("{what}: {name}")).1;
        // Prometheus adds `job` and `instance`.
        let of_prometheus = ["job", "instance", "le"];
        let unknown =
            labels.iter().find(|label| !known.contains(*label) && !of_prometheus.contains(&label.as_str()));
        assert_eq!(unknown, None, "{what}: {name}");
        used += 1;
    }
    assert!(used > 5, "{what} uses metrics");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_the_alerts_and_the_dashboard_name_the_metrics_that_a_daemon_has() {
    let world = World::with_settings(&[("max_slot_wal_keep_size", "1GB")], &[]).await;
    world.fill(86, 20).await;
    let bridge = Bridge::new(&world).configured("[verify]\nshare = 1.0\n");
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    daemon.until("a round of verification", |status| status["verification"]["last"].is_object()).await;
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    daemon.caught_up(&world).await;
    daemon.until("an outlook", |status| status["trend"].is_object()).await;
    let found = scrape(&daemon).await;
    let page = file("docs/metrics.md");
    assert_table_is_true(&page, &found);

    let alerts = file("deploy/prometheus/alerts.yaml");
    assert_queries_have_metrics("alerts", &alert_expressions(&alerts), &page, &found);
    let dashboard: Value = serde_json::from_str(&file("deploy/grafana/leadbridge.json")).unwrap();
    let mut expressions = Vec::new();
    dashboard_expressions(&dashboard, &mut expressions);
    assert_queries_have_metrics("dashboard", &expressions, &page, &found);
    daemon.terminate().await;
}

#[test]
fn each_alert_has_its_line_on_the_page_with_its_severity() {
    let alerts = file("deploy/prometheus/alerts.yaml");
    let mut listed = BTreeMap::new();
    for rule in alerts.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        for key in ["summary: ", "description: ", "remedy: "] {
            assert_eq!(rule.matches(key).count(), 1, "{name} has one {key}");
        }
        let severity = rule.split("severity: ").nth(1).and_then(|text| text.lines().next()).unwrap();
        listed.insert(name.to_owned(), severity.to_owned());
    }
    let page = rows(&file("docs/alerts.md"));
    let on_page =
        page.iter().map(|cells| (codes(&cells[0]).pop_first().unwrap(), cells[1].clone())).collect();
    assert_eq!(listed, on_page);
}

#[test]
fn a_query_with_an_unknown_metric_is_noticed() {
    let query = "rate(leadbridge_a_total{kind=\"x\",instance=~\"$instance\"}[5m]) / leadbridge_b < 3";
    let labels = ["instance".to_owned(), "kind".to_owned()].into();
    assert_eq!(
        metrics_in(query),
        [("leadbridge_a_total".into(), labels), ("leadbridge_b".into(), BTreeSet::new())]
    );
}
