//! The statements that the HTTP layer sends for old code's calls, on Traffic after the switch.

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{http, insert, legacy, opened};
use crate::testkit::{World, holds, traffic};

const NONE: Value = Value::Null;
const SERVICE: &str = "service_role";

async fn open_world() -> (World, Client) {
    let world = World::new().await;
    world.migrate(&legacy()).await;
    opened(&world).await;
    let client = world.traffic().await;
    (world, client)
}

#[tokio::test]
async fn leads_are_inserted_with_and_without_an_id_and_come_back_as_landing_returns_them() {
    let (_world, client) = open_world().await;
    let columns = [("name", "text"), ("phone", "text"), ("source", "text"), ("metadata", "jsonb")];
    let statement = insert("landing_leads", &columns, "RETURNING landing_leads.*");
    let body = json!({"name": "n", "phone": "8 (701) 1", "source": "Challenge3D_FB", "metadata": {"utmSource": "alex"}});
    let made = http(&client, SERVICE, &statement, &body).await.unwrap();
    let made = &made[0];
    for (column, value) in [
        ("source", json!("Challenge3D_FB")),
        ("phone_normalized", json!("87011")),
        ("amocrm_lead_id", NONE),
        ("utm_source", NONE),
        ("amocrm_sync_status", json!("pending")),
        ("click_count", json!(0)),
        ("metadata", json!({"utmSource": "alex"})),
    ] {
        assert_eq!(made[column], value, "{column}");
    }
    assert!(made.get("landing_source").is_none() && made.get("status").is_none(), "{made}");
    let derived =
        "(source, funnel_type, utm_source) = ('Challenge3D_FB', 'challenge3d', 'alex') FROM traffic_leads";
    assert!(holds(&client, derived).await);
    let id = "11111111-1111-4111-8111-111111111111";
    let with_id = insert(
        "landing_leads",
        &[("id", "uuid"), ("name", "text"), ("phone", "text")],
        "RETURNING id, source",
    );
    let made = http(&client, SERVICE, &with_id, &json!({"id": id, "name": "n", "phone": "1"})).await;
    assert_eq!(made, Ok(json!([{"id": id, "source": "twland"}])));
}

#[tokio::test]
async fn leads_are_upserted_by_amocrms_text_and_by_id() {
    let (world, client) = open_world().await;
    // The number of a lead of Traffic's own does not stand in the way.
    traffic(&world, "INSERT INTO traffic_leads (name, amocrm_lead_id) VALUES ('facebook', 7)").await;
    let columns =
        [("amocrm_lead_id", "text"), ("name", "text"), ("phone", "text"), ("amocrm_synced", "boolean")];
    let by_text = insert(
        "landing_leads",
        &columns,
        "ON CONFLICT (amocrm_lead_id) DO UPDATE SET amocrm_lead_id = EXCLUDED.amocrm_lead_id, name = EXCLUDED.name,
             phone = EXCLUDED.phone, amocrm_synced = EXCLUDED.amocrm_synced RETURNING id, name, amocrm_lead_id",
    );
    let mut ids = Vec::new();
    for name in ["first", "second"] {
        let body = json!({"amocrm_lead_id": "007", "name": name, "phone": "1", "amocrm_synced": true});
        let made = http(&client, SERVICE, &by_text, &body).await.unwrap();
        assert_eq!((&made[0]["name"], &made[0]["amocrm_lead_id"]), (&json!(name), &json!("007")));
        ids.push(made[0]["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert!(
        holds(&client, "count(*) = 1 AND min(amocrm_lead_id) = 7 FROM traffic_leads WHERE landing_lead")
            .await
    );
    let by_id = insert(
        "landing_leads",
        &[("id", "uuid"), ("name", "text"), ("phone", "text")],
        "ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id, name = EXCLUDED.name, phone = EXCLUDED.phone RETURNING name, amocrm_lead_id",
    );
    let body = json!({"id": ids[0], "name": "third", "phone": "8 702"});
    let made = http(&client, SERVICE, &by_id, &body).await;
    assert_eq!(made, Ok(json!([{"name": "third", "amocrm_lead_id": "007"}])));
    let ignored = insert("landing_leads", &columns, "ON CONFLICT (amocrm_lead_id) DO NOTHING RETURNING id");
    let body = json!({"amocrm_lead_id": "007", "name": "x", "phone": "1"});
    assert_eq!(http(&client, SERVICE, &ignored, &body).await, Ok(json!([])));
}

#[tokio::test]
async fn any_subset_of_columns_is_updated_and_deletes_cascade() {
    let (world, client) = open_world().await;
    let id = "22222222-2222-4222-8222-222222222222";
    traffic(
        &world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone) VALUES ('{id}', 'n', '1');
             INSERT INTO journey_stages (lead_id, stage, event_type) VALUES ('{id}', 'proftest_submitted', 'form')"
        ),
    )
    .await;
    for (set, kind, value) in [
        ("amocrm_lead_id", "text", json!("0012")),
        ("source", "text", json!("google")),
        ("utm_source", "text", json!("kenjifb")),
        ("sms_clicked_at", "timestamptz", json!("2026-01-01T00:00:00+00:00")),
        ("amocrm_sync_last_error", "text", json!("қате")),
        ("metadata", "jsonb", json!({"answers": [1, 2]})),
        ("email_sent", "boolean", json!(true)),
        ("phone_normalized", "text", NONE),
    ] {
        let update = format!(
            "UPDATE \"public\".\"landing_leads\" SET \"{set}\" = pgrst_body.\"{set}\"
             FROM (SELECT * FROM json_to_record($1::json) AS _ (\"{set}\" {kind})) AS pgrst_body
             WHERE \"public\".\"landing_leads\".\"id\" = '{id}' RETURNING \"public\".\"landing_leads\".\"{set}\""
        );
        let body = json!({set: value});
        assert_eq!(http(&client, SERVICE, &update, &body).await, Ok(json!([body])), "{set}");
    }
    let derived = "(amocrm_lead_id, source, utm_source) = (12, 'google', 'kenjifb') FROM traffic_leads";
    assert!(holds(&client, derived).await);
    let embedded = "SELECT j.stage, j.event_type, row_to_json(l_1.*)::jsonb AS landing_leads
        FROM \"public\".\"journey_stages\" AS j LEFT JOIN LATERAL (
            SELECT l.id, l.name, l.amocrm_lead_id FROM \"public\".\"landing_leads\" AS l WHERE l.id = j.lead_id) AS l_1 ON true";
    let expected = json!([{"stage": "proftest_submitted", "event_type": "form",
        "landing_leads": {"id": id, "name": "n", "amocrm_lead_id": "0012"}}]);
    assert_eq!(http(&client, SERVICE, embedded, &NONE).await, Ok(expected));
    let delete = format!("DELETE FROM \"public\".\"landing_leads\" WHERE id = '{id}' RETURNING id");
    assert_eq!(http(&client, SERVICE, &delete, &NONE).await, Ok(json!([{"id": id}])));
    assert!(holds(&client, "count(*) = 0 FROM traffic_lead_journey").await);
}

#[tokio::test]
async fn filters_order_limits_and_exact_counts_read_as_on_a_table() {
    let (world, client) = open_world().await;
    traffic(
        &world,
        "INSERT INTO landing_leads (name, phone, source, amocrm_lead_id, email, created_at)
         SELECT 'n' || n, '8 70' || n, CASE WHEN n % 2 = 0 THEN 'twland' ELSE 'challenge3d_' || n END,
             CASE WHEN n > 3 THEN n::text END, CASE WHEN n = 1 THEN 'a@b.kz' END, timestamptz '2026-01-01 00:00Z' + n * interval '1 day'
         FROM generate_series(1, 6) AS n",
    )
    .await;
    for (filter, expected) in [
        ("source LIKE 'challenge%'", "n1 n3 n5"),
        ("source ILIKE 'CHALLENGE%' AND amocrm_lead_id IS NULL", "n1 n3"),
        ("amocrm_lead_id = ANY ('{4,6}')", "n4 n6"),
        ("(phone_normalized = '8701' OR email = 'a@b.kz' OR amocrm_lead_id = '5')", "n1 n5"),
        ("created_at >= '2026-01-05Z' AND created_at < '2026-01-07Z'", "n4 n5"),
        ("NOT amocrm_synced IS TRUE AND email_sent IS FALSE", "n1 n2 n3 n4 n5 n6"),
    ] {
        let sql = format!(
            "SELECT string_agg(name, ' ' ORDER BY name) AS names, count(*) AS exact FROM landing_leads WHERE {filter}"
        );
        let count = expected.split(' ').count();
        assert_eq!(
            http(&client, SERVICE, &sql, &NONE).await,
            Ok(json!([{"names": expected, "exact": count}])),
            "{filter}"
        );
    }
    let page = "SELECT name FROM landing_leads ORDER BY created_at DESC NULLS LAST LIMIT 2 OFFSET 1";
    assert_eq!(http(&client, SERVICE, page, &NONE).await, Ok(json!([{"name": "n5"}, {"name": "n4"}])));
}

#[tokio::test]
async fn the_function_is_called_by_name_with_four_and_five_arguments() {
    let (_world, client) = open_world().await;
    let call = |body: &str| {
        format!("SELECT pgrst_call FROM \"public\".\"find_or_create_unified_lead\"({body}) AS pgrst_call")
    };
    let four = call("p_email := 'a@b.kz', p_name := 'n', p_phone := '8 701', p_source := 'twland'");
    let five = call(
        "p_email := 'a@b.kz', p_name := 'n', p_phone := '8 (701)', p_source := 'twland', p_metadata := '{}'",
    );
    let [one, two] = [http(&client, SERVICE, &four, &NONE).await, http(&client, SERVICE, &five, &NONE).await];
    assert_eq!(one, two);
    assert!(holds(&client, "count(*) = 1 AND bool_and(source = 'twland') FROM landing_leads").await);
}

#[tokio::test]
async fn each_role_does_through_the_names_what_it_does_on_landing() {
    let (world, traffic_client) = open_world().await;
    let landing_client = world.landing().await;
    for client in [&landing_client, &traffic_client] {
        let rows = "INSERT INTO landing_leads (name, phone) VALUES ('n', '1');
            INSERT INTO scheduled_notifications (lead_id, notification_type, scheduled_for)
                SELECT id, 'sms', now() FROM landing_leads";
        client.batch_execute(rows).await.unwrap();
    }
    let lead = [("name", "text"), ("phone", "text")];
    let (bare, whole) = (
        insert("landing_leads", &lead, "RETURNING 1 AS one"),
        insert("landing_leads", &lead, "RETURNING name"),
    );
    let statements = [
        bare.as_str(),
        whole.as_str(),
        "SELECT name FROM landing_leads",
        "UPDATE landing_leads SET name = 'x' RETURNING name",
        "UPDATE landing_leads SET name = 'x' WHERE id IS NOT NULL RETURNING 1 AS one",
        "DELETE FROM landing_leads RETURNING 1 AS one",
        "SELECT stage FROM journey_stages",
        "INSERT INTO journey_stages (lead_id, stage) SELECT gen_random_uuid(), 's' RETURNING 1 AS one",
        "SELECT status FROM scheduled_notifications",
        "UPDATE scheduled_notifications SET status = 'sent' RETURNING status",
    ];
    let body = json!({"name": "n", "phone": "1"});
    for role in ["anon", "authenticated"] {
        for statement in statements {
            let on_landing = http(&landing_client, role, statement, &body).await;
            let on_traffic = http(&traffic_client, role, statement, &body).await;
            assert_eq!(on_traffic, on_landing, "{role}: {statement}");
        }
    }
}
