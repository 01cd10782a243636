//! No value of a row is printed or logged without `--values`.

use super::{LEAD, explained};
use crate::testkit::{Bridge, Said, World, landing, said, traffic};

/// Values that occur only in rows, each in a different place.
const PEOPLE: [&str; 7] = [
    "Айгерим-ЖОҚ",
    "secret-mail@example.kz",
    "+7-701-0000042",
    "+77010000042",
    "utm-of-somebody",
    "stage-of-somebody",
    "Targetologist-of-somebody",
];

async fn traced(bridge: &Bridge, arguments: &[&str]) -> Said {
    let mut command = bridge.command(arguments);
    command.env("LEADBRIDGE_LOG", "trace");
    said(command).await
}

fn assert_silent(arguments: &[&str], text: &str) {
    for value in PEOPLE {
        // The test's own output leaves the value out, too.
        assert!(!text.contains(value), "{} shows a value of {} bytes", arguments[1], value.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_answer_nor_a_trace_shows_a_value_unless_values_are_asked_for() {
    let world = World::new().await;
    let [name, email, phone, normalized, utm, stage, targetologist] = PEOPLE;
    landing(
        &world,
        &format!(
            "INSERT INTO landing_leads (id, name, email, phone, source, amocrm_lead_id, metadata)
             VALUES ('{LEAD}', '{name}', '{email}', '{phone}', '{utm}', '{phone}', '{{\"utm_source\": \"{utm}\"}}');
             INSERT INTO journey_stages (lead_id, stage) VALUES ('{LEAD}', '{stage}');
             INSERT INTO landing_leads (name, email, phone) VALUES ('{name} twice', '{email}', '{phone}')"
        ),
    )
    .await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    traffic(
        &world,
        &format!(
            "WITH u AS (INSERT INTO traffic_users (full_name) VALUES ('{targetologist}') RETURNING id)
             INSERT INTO traffic_user_utm_sources (user_id, utm_source, funnel_type) SELECT id, '{utm}', 'express' FROM u;
             ALTER TABLE traffic_leads ADD CHECK (name NOT LIKE '%twice') NOT VALID"
        ),
    )
    .await;
    // The second lead is quarantined.
    landing(&world, "UPDATE landing_leads SET click_count = 1 WHERE name LIKE '%twice'").await;
    bridge.catch_up().await;
    for asked in [LEAD, email, phone, normalized, "nobody@example.kz"] {
        for form in [&["explain", asked][..], &["explain", asked, "--json"]] {
            let Said { out, err, .. } = traced(&bridge, form).await;
            assert!(!out.is_empty(), "{err}");
            assert_silent(form, &(out + &err));
        }
    }
    let (_, document) = explained(&bridge, &[LEAD, "--values"]).await;
    let shown = document.to_string();
    for value in PEOPLE {
        assert!(shown.contains(value), "a value of {} bytes is not shown", value.len());
    }
    let text = traced(&bridge, &["explain", LEAD, "--values"]).await.out;
    assert!(PEOPLE.iter().all(|value| text.contains(value)), "{} bytes", text.len());
}
