//! Each verdict, and its reasons, while Landing is the system of record.

use serde_json::{Value, json};

use super::{LEAD, RICH, column, differing, explained, lead, streaming};
use crate::testkit::{Bridge, World, landing, least_privileged, one, released, traffic};

fn reasons(lead: &Value) -> String {
    lead["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("; ")
}

/// Changes Traffic's row past its trigger, which would stamp `updated_at`.
fn silently(sql: &str) -> String {
    format!("SET session_replication_role = replica; {sql}; RESET session_replication_role")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_lead_names_the_rule_and_the_place_behind_each_column() {
    let (world, bridge, _daemon) = streaming("").await;
    let found = lead(&bridge, &[LEAD, "--values"], 0, "equal").await;
    for (name, from, how) in [
        ("email", json!("email"), "verbatim"),
        ("phone_normalized", json!("phone"), "ASCII digits and +"),
        ("landing_phone_normalized", json!("phone_normalized"), "verbatim"),
        ("source", json!("source"), "verbatim"),
        ("utm_source", json!("metadata->'utmParams'->>'utmSource'"), "verbatim"),
        ("utm_term", json!("metadata->>'utm_term'"), "verbatim"),
        ("utm_medium", Value::Null, "no place has a value"),
        ("funnel_type", json!("source"), "contains challenge"),
        ("fb_ad_id", json!("metadata->>'fb_ad_id'"), "verbatim"),
        ("fb_form_id", Value::Null, "not in metadata, so Traffic's own"),
        ("sms_error", Value::Null, "null on Landing"),
    ] {
        let column = column(&found, name);
        assert_eq!((&column["from"], column["how"].as_str().unwrap()), (&from, how), "{column}");
    }
    let number = column(&found, "amocrm_lead_id");
    assert_eq!((&number["note"], &number["equal"]), (&json!("not only digits"), &json!(true)), "{number}");
    // What each column is said to hold is what PostgreSQL prints.
    let client = world.traffic().await;
    for column in found["columns"].as_array().unwrap() {
        let name = column["column"].as_str().unwrap();
        let text = format!("SELECT {name}::text FROM traffic_leads WHERE id = '{LEAD}'");
        let held: Option<String> = one(&client, &text).await;
        let held = held.map(|text| match text.as_str() {
            "true" => "t".to_owned(),
            "false" => "f".to_owned(),
            _ => text,
        });
        assert_eq!(column["on_traffic"], json!(held), "{name}");
        if !column["equal"].is_null() {
            assert_eq!((&column["given"], &column["equal"]), (&column["on_traffic"], &json!(true)), "{name}");
        }
    }
    assert_eq!(found["conversion_notes"][0]["original"], "12a", "{found:#}");
    let journey = &found["children"][0];
    assert_eq!(
        (&journey["table"], &journey["on_landing"], &journey["on_traffic"]),
        (&json!("journey_stages"), &json!(2), &json!(2))
    );
    assert!(journey["rows"].as_array().unwrap().iter().all(|row| row["state"] == "equal"), "{journey:#}");
    let own: Vec<&Value> = found["traffic"]["own_columns"].as_array().unwrap().iter().collect();
    assert!(own.iter().any(|own| own["column"] == "status" && own["value"] == "new"), "{own:?}");
    assert_eq!(found["traffic"]["born"], "landing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_traffic_is_told_from_a_touch_and_from_damage() {
    let (world, bridge, _daemon) = streaming("").await;
    traffic(&world, "UPDATE traffic_leads SET status = 'qualified'").await;
    let found = lead(&bridge, &[LEAD], 0, "touched_on_traffic").await;
    assert_eq!(differing(&found), ["updated_at"]);
    traffic(&world, "UPDATE traffic_leads SET name = 'changed'").await;
    let found = lead(&bridge, &[LEAD], 1, "different").await;
    assert!(reasons(&found).contains("changed on Traffic since"), "{found:#}");
    assert_eq!(column(&found, "name")["reason"], "changed on Traffic since");
    // Landing's next change of the lead brings its values back.
    landing(&world, "UPDATE landing_leads SET click_count = 3").await;
    lead(&bridge, &[LEAD], 0, "equal").await;
    traffic(&world, &silently("UPDATE traffic_leads SET email_sent = true")).await;
    let found = lead(&bridge, &[LEAD], 1, "different").await;
    assert_eq!(differing(&found), ["email_sent"]);
    assert!(reasons(&found).contains("verify --repair"), "{found:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_traffic_changed_stays_until_landing_sends_it_again() {
    let (world, bridge, mut daemon) = streaming("").await;
    let large = "UPDATE landing_leads SET metadata = metadata || jsonb_build_object('answers',
                     (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 200) AS n))";
    landing(&world, large).await;
    daemon.caught_up(&world).await;
    traffic(&world, &silently("UPDATE traffic_leads SET fb_ad_id = '10'")).await;
    let found = lead(&bridge, &[LEAD], 0, "changed_on_traffic").await;
    assert!(reasons(&found).contains("until Landing sends metadata again"), "{found:#}");
    assert_eq!(differing(&found), ["fb_ad_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_or_a_journey_entry_on_one_side_only_is_missing_extra_or_rightly_there() {
    let (world, bridge, _daemon) = streaming("").await;
    traffic(&world, &silently("DELETE FROM traffic_lead_journey WHERE stage = 'payment_kaspi'")).await;
    let found = lead(&bridge, &[LEAD], 1, "different").await;
    assert!(reasons(&found).contains("journey_stages: 1 missing of 2 rows"), "{found:#}");
    traffic(&world, "DELETE FROM traffic_leads").await;
    let found = lead(&bridge, &[LEAD], 1, "missing").await;
    assert!(found["traffic"].is_null() && !found["landing"].is_null(), "{found:#}");

    let born = "c0ffee00-0000-4000-8000-000000000002";
    let names = "c0ffee00-0000-4000-8000-000000000003";
    let left = "c0ffee00-0000-4000-8000-000000000004";
    traffic(
        &world,
        &format!(
            "INSERT INTO traffic_leads (id, name, phone, fb_lead_id) VALUES ('{born}', 'n', '1', 'fb');
             INSERT INTO traffic_leads (id, name, phone, landing_lead) VALUES ('{names}', 'n', '2', true);
             INSERT INTO traffic_leads (id, name, phone, landing_synced_at) VALUES ('{left}', 'n', '3', now())"
        ),
    )
    .await;
    let found = lead(&bridge, &[born], 0, "traffic_only").await;
    assert_eq!(
        (&found["traffic"]["born"], &found["traffic"]["stays_on_traffic"]),
        (&json!("traffic"), &json!(true))
    );
    assert!(reasons(&found).contains("never goes to Landing"), "{found:#}");
    let found = lead(&bridge, &[names], 0, "traffic_only").await;
    assert_eq!(found["traffic"]["born"], "through_landings_names");
    lead(&bridge, &[left], 1, "extra").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_lead_is_told_with_its_waiting_journey_and_how_often_it_was_tried() {
    let (world, bridge, mut daemon) = streaming("").await;
    traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT no_bots CHECK (phone <> 'bot')").await;
    let bot = "c0ffee00-0000-4000-8000-000000000005";
    let rows = format!(
        "BEGIN; INSERT INTO landing_leads (id, name, phone) VALUES ('{bot}', 'n', 'bot');
         INSERT INTO journey_stages (lead_id, stage) VALUES ('{bot}', 's'); COMMIT"
    );
    landing(&world, &rows).await;
    daemon.caught_up(&world).await;
    let found = lead(&bridge, &[bot], 1, "quarantined").await;
    let codes: Vec<&Value> =
        found["quarantine"].as_array().unwrap().iter().map(|row| &row["sqlstate"]).collect();
    assert_eq!(codes, ["23514", "23503"], "{found:#}");
    assert!(reasons(&found).contains("no_bots") && reasons(&found).contains("quarantine show"), "{found:#}");
    assert_eq!(found["children"][0]["rows"][0]["quarantined"], true, "{found:#}");
    // The id of the waiting journey entry names the lead.
    let entry: uuid::Uuid =
        one(&world.landing().await, "SELECT id FROM journey_stages WHERE stage = 's'").await;
    assert_eq!(lead(&bridge, &[&entry.to_string()], 1, "quarantined").await["id"], bot);
    // An update of a lead that Traffic has: the quarantined image is newer than Traffic's row.
    landing(&world, &format!("UPDATE landing_leads SET phone = 'bot' WHERE id = '{LEAD}'")).await;
    daemon.caught_up(&world).await;
    let found = lead(&bridge, &[LEAD], 1, "quarantined").await;
    assert_eq!(column(&found, "phone")["reason"], "the lead is in quarantine", "{found:#}");
    // Given up by an operator: no longer waiting, and not on Traffic either.
    let id = format!("{}", found["quarantine"][0]["id"]);
    assert_eq!(bridge.run(&["quarantine", "discard", &id, "--yes"]).await.code, 0);
    let found = lead(&bridge, &[LEAD], 1, "different").await;
    assert!(reasons(&found).contains("an operator discarded the lead"), "{found:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_a_change_is_on_its_way_and_nobody_waits() {
    let (world, bridge, daemon) = streaming("").await;
    daemon.terminate().await;
    released(&world).await;
    landing(&world, "UPDATE landing_leads SET name = 'newer'").await;
    let (code, document) = explained(&bridge, &[LEAD]).await;
    let found = &document["leads"][0];
    assert_eq!((code, found["verdict"].as_str().unwrap()), (1, "on_its_way"), "{document:#}");
    assert!(reasons(found).contains("no daemon streams"), "{document:#}");
    assert_eq!(column(found, "name")["reason"], "a change may be on its way");
    assert_eq!(document["stream"]["running"], false);
    assert!(document["stream"]["lag_bytes"].as_u64().unwrap() > 0);
    bridge.catch_up().await;
    lead(&bridge, &[LEAD], 0, "equal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_copy_nothing_is_called_missing_and_before_migrate_it_is_refused() {
    let world = World::new().await;
    landing(&world, RICH).await;
    let bridge = Bridge::new(&world);
    let found = lead(&bridge, &[LEAD], 1, "not_copied").await;
    assert_eq!(column(&found, "utm_source")["from"], "metadata->'utmParams'->>'utmSource'");
    let bare = World::unmigrated().await;
    let said = Bridge::new(&bare).run(&["explain", LEAD]).await;
    assert_eq!(said.code, 4, "{}{}", said.out, said.err);
    assert!(said.err.contains("leadbridge migrate"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_value_is_noted_and_the_original_shown_on_request() {
    let world = World::new().await;
    landing(&world, RICH).await;
    landing(&world, "UPDATE landing_leads SET source = repeat('ж', 60)").await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let found = lead(&bridge, &[LEAD], 0, "equal").await;
    assert_eq!(column(&found, "source")["note"], "cut at 50 characters");
    let note = |found: &Value| {
        let notes = found["conversion_notes"].as_array().unwrap();
        notes.iter().find(|note| note["column"] == "source").unwrap()["original"].clone()
    };
    assert!(note(&found).is_null(), "{found:#}");
    assert_eq!(note(&lead(&bridge, &[LEAD, "--values"], 0, "equal").await), "ж".repeat(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_named_and_the_other_side_is_explained() {
    let (world, _bridge, daemon) = streaming("").await;
    daemon.terminate().await;
    let dead = "postgresql://postgres@127.0.0.1:1/landing?sslmode=disable";
    let bridge = Bridge::between(dead, &world.traffic_url());
    let found = lead(&bridge, &[LEAD], 3, "unknown").await;
    assert!(found["landing"].is_null() && found["traffic"]["born"] == "landing", "{found:#}");
    assert_eq!(found["children"][0]["on_traffic"], 2, "{found:#}");
    let said = bridge.run(&["explain", LEAD]).await;
    assert!(said.out.contains("incomplete: the Landing DB does not answer"), "{}", said.out);
    let dead = "postgresql://postgres@127.0.0.1:1/traffic?sslmode=disable";
    let bridge = Bridge::between(&world.landing_url(), dead);
    let found = lead(&bridge, &["+77011234567"], 3, "unknown").await;
    assert_eq!(column(&found, "utm_source")["from"], "metadata->'utmParams'->>'utmSource'");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_privileged_role_explains_and_names_the_binding_of_the_targetologist() {
    let world = World::new().await;
    landing(&world, RICH).await;
    let bridge = least_privileged(&world).await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let found = lead(&bridge, &[LEAD], 0, "equal").await;
    let view = format!("SELECT targetologist_id::text FROM v_traffic_leads_with_journey WHERE id = '{LEAD}'");
    let credited = &found["attribution"];
    assert_eq!(credited["targetologist_id"], one::<String>(&world.traffic().await, &view).await);
    assert_eq!((&credited["exact_spelling"], &credited["matching_bindings"]), (&json!(true), &json!(1)));
    let renamed = "UPDATE traffic_user_utm_sources SET utm_source = upper(utm_source);
                   UPDATE traffic_users SET full_name = 'Somebody', team_name = 'Кенжи'";
    traffic(&world, renamed).await;
    let found = lead(&bridge, &[LEAD, "--values"], 0, "equal").await;
    let credited = &found["attribution"];
    assert_eq!((&credited["team"], &credited["exact_spelling"]), (&json!("Кенжи"), &json!(false)));
    assert_eq!(credited["targetologist_name"], "Somebody");
    assert!(!lead(&bridge, &[LEAD], 0, "equal").await.to_string().contains("Somebody"));
    for (change, reason) in [
        ("UPDATE traffic_users SET is_active = false", "the binding, or its targetologist, is not active"),
        ("DELETE FROM traffic_user_utm_sources", "no binding has the lead's utm_source and funnel"),
    ] {
        traffic(&world, change).await;
        let found = lead(&bridge, &[LEAD], 0, "equal").await;
        assert_eq!(found["attribution"]["reason"], reason, "{found:#}");
        assert!(found["attribution"]["targetologist_id"].is_null(), "{found:#}");
    }
}
