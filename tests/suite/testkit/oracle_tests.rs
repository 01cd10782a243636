//! The oracle itself: gives the domain's examples, and finds differences.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::testkit::{World, assert_equal, differences, expected_leads};

#[tokio::test]
async fn the_oracle_knows_the_examples_of_the_domain() {
    let world = World::new().await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let examples = [
        ("phone = '8 (701) 123-45-67 доб. 4'", json!({"phone_normalized": "870112345674"})),
        (
            r#"source = 'twland', metadata = '{"utmParams":{"utm_source":"kenjifb"}}'"#,
            json!({"source": "direct", "utm_source": "kenjifb", "funnel_type": "express"}),
        ),
        (
            r#"source = 'Challenge3D_FB', metadata = '{"utm_source":"","utmSource":"alex_FB"}'"#,
            json!({"source": "Challenge3D_FB", "utm_source": "alex_FB", "funnel_type": "challenge3d"}),
        ),
        ("amocrm_lead_id = '99999999999999999999'", json!({"amocrm_lead_id": null})),
        ("amocrm_lead_id = '9223372036854775807'", json!({"amocrm_lead_id": "9223372036854775807"})),
        (r#"metadata = '{"utm_source": 42}'"#, json!({"utm_source": "42"})),
        (
            "metadata = '[1,2]', source = 'INTENSIVE'",
            json!({"utm_source": null, "funnel_type": "intensive1d"}),
        ),
        ("metadata = '\"x\"', source = NULL", json!({"source": "direct", "funnel_type": "express"})),
        ("metadata = NULL, click_count = NULL", json!({"metadata": null, "click_count": "0"})),
        ("source = 'Google TikTok'", json!({"source": "tiktok", "landing_source": "Google TikTok"})),
        ("source = repeat('ж', 60)", json!({"source": "ж".repeat(50), "landing_source": "ж".repeat(60)})),
        (r#"metadata = '{"fb_ad_id": 7}'"#, json!({"fb_ad_id": "7"})),
    ];
    for (assignment, expected) in examples {
        let insert = "INSERT INTO landing_leads (name, phone) VALUES ('n', '1') RETURNING id";
        let id: Uuid = landing.query_one(insert, &[]).await.unwrap().get(0);
        let update = format!("UPDATE landing_leads SET {assignment} WHERE id = '{id}'");
        landing.batch_execute(&update).await.unwrap();
        let leads = expected_leads(&landing, &traffic).await;
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(leads[&id].get(column).unwrap_or(&Value::Null), value, "{assignment}: {column}");
        }
        // An absent fb_* is Traffic's own, so the oracle expects no value.
        assert!(!leads[&id].contains_key("fb_form_id"));
    }
}

#[tokio::test]
async fn a_difference_is_named_by_id_and_column_and_never_by_its_value() {
    let world = World::new().await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    world.fill(3, 300).await;
    assert!(differences(&world).await.len() > 300, "Traffic is empty still");

    // Triggers are off, so that updated_at stays.
    traffic.batch_execute("SET session_replication_role = replica").await.unwrap();
    for (id, mut lead) in expected_leads(&landing, &traffic).await {
        lead.extend([("id".into(), json!(id)), ("landing_synced_at".into(), json!("2025-01-01 00:00Z"))]);
        lead.insert("landing_lead".into(), json!(false));
        // Compared separately, because a record's JSON null would become SQL's null.
        let metadata = lead.remove("metadata").unwrap();
        let insert = "INSERT INTO traffic_leads
                      SELECT r.* FROM jsonb_populate_record(NULL::traffic_leads, $1::text::jsonb) AS r";
        traffic.execute(insert, &[&Value::Object(lead).to_string()]).await.unwrap();
        let update = "UPDATE traffic_leads SET metadata = $2::text::jsonb WHERE id = $1";
        traffic.execute(update, &[&id, &metadata.as_str()]).await.unwrap();
    }
    traffic.batch_execute("RESET session_replication_role").await.unwrap();
    copy_journeys(&world).await;
    assert_equal(&world).await;

    let born_here = "INSERT INTO traffic_leads (name) VALUES ('born here')";
    traffic.batch_execute(born_here).await.unwrap();
    assert_equal(&world).await;

    let changed = "UPDATE traffic_leads SET name = 'Секрет' WHERE id = (
                       SELECT id FROM traffic_leads WHERE landing_synced_at IS NOT NULL LIMIT 1) RETURNING id";
    let id: Uuid = traffic.query_one(changed, &[]).await.unwrap().get(0);
    // updated_at differs too, because the user-defined trigger has stamped the column.
    assert_eq!(differences(&world).await, [format!("lead {id}: name"), format!("lead {id}: updated_at")]);

    let changed = "UPDATE traffic_lead_journey SET event_type = 'changed' WHERE id = (
                       SELECT id FROM traffic_lead_journey LIMIT 1) RETURNING id";
    let entry: Uuid = traffic.query_one(changed, &[]).await.unwrap().get(0);
    let changed = format!("UPDATE traffic_leads SET sms_error = 'changed' WHERE id = '{id}'");
    traffic.batch_execute(&changed).await.unwrap();
    let found = differences(&world).await;
    for expected in [format!("lead {id}: sms_error"), format!("lead_journey {entry}: event_type")] {
        assert!(found.contains(&expected), "{expected}");
    }

    let extra = "INSERT INTO traffic_leads (landing_synced_at) VALUES (now()) RETURNING id";
    let extra: Uuid = traffic.query_one(extra, &[]).await.unwrap().get(0);
    assert!(differences(&world).await.contains(&format!("lead {extra}: not on Landing")));
}

async fn copy_journeys(world: &World) {
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let all = "SELECT jsonb_agg(to_jsonb(j) || jsonb_build_object('metadata', j.metadata::text))::text
               FROM journey_stages AS j";
    let journeys: String = landing.query_one(all, &[]).await.unwrap().get(0);
    let sql = "INSERT INTO traffic_lead_journey
                   (id, lead_id, stage, source, metadata, created_at, event_type, landing_synced_at)
               SELECT r.id, r.lead_id, r.stage, r.source, r.metadata::jsonb, r.created_at, r.event_type, now()
               FROM jsonb_to_recordset($1::text::jsonb) AS r (id uuid, lead_id uuid, stage text, source text,
                   metadata text, created_at timestamptz, event_type text)";
    traffic.execute(sql, &[&journeys]).await.unwrap();
}
