//! `leadbridge explain`: one lead, end to end.

mod finding;
mod secrecy;
mod shapes;
mod switched;
mod verdicts;

use serde_json::Value;

use crate::testkit::{Bridge, Daemon, World, landing};

/// The lead that most tests explain.
pub const LEAD: &str = "c0ffee00-0000-4000-8000-000000000001";

/// A lead whose columns get their values in different ways, with two journey entries.
pub const RICH: &str = r#"
    INSERT INTO landing_leads (id, name, phone, phone_normalized, email, source, amocrm_lead_id, metadata)
    VALUES ('c0ffee00-0000-4000-8000-000000000001', 'Айгерим', '+7 (701) 123-45-67', 'stale', 'Lead@example.kz',
            'Challenge3D_FB', '12a', '{"utmParams": {"utmSource": "kenjifb"}, "utm_term": "x", "fb_ad_id": "9"}');
    INSERT INTO journey_stages (id, lead_id, stage)
    VALUES ('c0ffee00-0000-4000-8000-0000000000a1', 'c0ffee00-0000-4000-8000-000000000001', 'proftest_submitted'),
           ('c0ffee00-0000-4000-8000-0000000000a2', 'c0ffee00-0000-4000-8000-000000000001', 'payment_kaspi')"#;

/// Waits for the stream as long as a slow machine needs; a stream that does not run is not waited for.
pub const PATIENT: [&str; 3] = ["--json", "--wait", "30s"];

/// Exit code and document.
pub async fn explained(bridge: &Bridge, arguments: &[&str]) -> (i32, Value) {
    let said = bridge.run(&[&["explain"], &PATIENT[..], arguments].concat()).await;
    let document = serde_json::from_str(&said.out);
    (said.code, document.unwrap_or_else(|error| panic!("{error}: {}{}", said.out, said.err)))
}

/// The only lead of the answer, after its exit code and verdict.
pub async fn lead(bridge: &Bridge, arguments: &[&str], code: i32, verdict: &str) -> Value {
    let (said, document) = explained(bridge, arguments).await;
    assert_eq!(document["leads"].as_array().unwrap().len(), 1, "{document:#}");
    let lead = document["leads"][0].clone();
    assert_eq!((said, lead["verdict"].as_str().unwrap()), (code, verdict), "{document:#}");
    lead
}

/// The explanation of a column.
pub fn column<'l>(lead: &'l Value, name: &str) -> &'l Value {
    let columns = lead["columns"].as_array().unwrap();
    columns.iter().find(|column| column["column"] == name).unwrap_or_else(|| panic!("no {name} in {lead:#}"))
}

/// The names of the columns that differ.
pub fn differing(lead: &Value) -> Vec<&str> {
    let columns = lead["columns"].as_array().unwrap().iter().filter(|column| column["equal"] == false);
    columns.map(|column| column["column"].as_str().unwrap()).collect()
}

/// A replicated lead and what `more` writes to Landing, and the daemon that has caught up.
async fn streaming(more: &str) -> (World, Bridge, Daemon) {
    let world = World::new().await;
    landing(&world, RICH).await;
    landing(&world, more).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    (world, bridge, daemon)
}
