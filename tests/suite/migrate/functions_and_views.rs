//! The functions and views that `leadbridge migrate` makes on Traffic.

use tokio_postgres::Client;
use uuid::Uuid;

use super::{LEAD, scalar};
use crate::testkit::World;

#[tokio::test]
async fn normalize_phone_keeps_ascii_digits_and_plus() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    for (phone, normalized) in [
        ("8 (701) 123-45-67 доб. 4", "870112345674"),
        ("+7 (701) 123-45-67", "+77011234567"),
        ("٠123 ４5", "1235"),
        ("нет", ""),
        ("", ""),
    ] {
        let row = traffic.query_one("SELECT normalize_phone($1)", &[&phone]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), normalized, "{phone}");
    }
    assert_eq!(scalar::<Option<String>>(&traffic, "SELECT normalize_phone(NULL)").await, None);
    // Inlined: the plan shows the expression, not the function.
    let plan = traffic.query("EXPLAIN VERBOSE SELECT normalize_phone(phone) FROM traffic_leads", &[]).await;
    let text: String = plan.unwrap().iter().map(|row| row.get::<_, String>(0)).collect();
    assert!(text.contains("regexp_replace") && !text.contains("normalize_phone("), "{text}");
}

async fn unified(client: &Client, email: &str, name: &str, phone: &str) -> Uuid {
    let sql = "SELECT find_or_create_unified_lead($1, $2, $3, 'twland', '{}')";
    client.query_one(sql, &[&email, &name, &phone]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_unified_lead_is_found_by_phone_then_by_email_and_takes_the_name_that_is_given() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    // A lead from a webhook has no phone_normalized.
    let webhook = format!("INSERT INTO traffic_leads (id, name, phone) VALUES ('{LEAD}', 'old', '+7 701 1')");
    traffic.batch_execute(&webhook).await.unwrap();
    let lead: Uuid = LEAD.parse().unwrap();
    assert_eq!(unified(&traffic, "a@b.kz", "", "+7-701-1").await, lead);
    assert_eq!(unified(&traffic, "a@b.kz", "new", "8").await, lead);
    let name = format!("SELECT name || email FROM traffic_leads WHERE id = '{LEAD}'");
    assert_eq!(scalar::<String>(&traffic, &name).await, "newa@b.kz");
    // Without a key to search for: an empty phone and an empty e-mail identify no lead.
    let nobody = unified(&traffic, "", "x", "нет").await;
    assert_ne!(unified(&traffic, "", "y", "").await, nobody);
}

#[tokio::test]
async fn two_callers_at_once_never_make_two_leads() {
    let world = World::new().await;
    for (number, isolation) in ["READ COMMITTED", "SERIALIZABLE"].into_iter().enumerate() {
        let (first, second) = (world.traffic().await, world.traffic().await);
        let begin = format!("BEGIN ISOLATION LEVEL {isolation}; SELECT FROM traffic_teams");
        first.batch_execute(&begin).await.unwrap();
        second.batch_execute(&begin).await.unwrap();
        let (phone, email) = (format!("+7{number}"), format!("{number}@x.kz"));
        let made = unified(&first, "", "a", &phone).await;
        let waiting = async {
            let sql = "SELECT find_or_create_unified_lead($1, 'b', $2, NULL, NULL)";
            let found = second.query_one(sql, &[&email, &phone]).await;
            let found = found.map(|row| row.get::<_, Uuid>(0));
            second.batch_execute("COMMIT").await.and(found)
        };
        let committing = async {
            let watcher = world.traffic().await;
            let blocked = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'";
            while !scalar::<bool>(&watcher, blocked).await {}
            first.batch_execute("COMMIT").await.unwrap();
        };
        let (found, ()) = tokio::join!(waiting, committing);
        match found {
            Ok(found) => assert_eq!(found, made, "{isolation}"),
            Err(error) => assert_eq!(error.code().unwrap().code(), "40001", "{isolation}"),
        }
        let count = format!("SELECT count(*) FROM traffic_leads WHERE phone = '{phone}'");
        assert_eq!(scalar::<i64>(&first, &count).await, 1, "{isolation}");
    }
}

#[tokio::test]
async fn views_show_a_lead_once_with_its_journey_in_order_and_its_targetologist() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    // Two bindings differ only in case; the lead's own spelling wins.
    let sql = format!(
        "INSERT INTO traffic_user_utm_sources (user_id, utm_source, funnel_type)
             SELECT id, 'kenjifb', 'express' FROM traffic_users WHERE full_name = 'Arystan';
         INSERT INTO traffic_leads (id, utm_source, funnel_type) VALUES ('{LEAD}', 'KenjiFB', 'express');
         INSERT INTO traffic_leads (utm_source, funnel_type) VALUES
             ('ALEX_fb', 'challenge3d'), ('ALEX_fb', 'express'), ('google_ads', 'express');
         INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES
             ('{LEAD}', 'payment_card', '2024-02-01'), ('{LEAD}', 'proftest_submitted', '2024-01-01')"
    );
    traffic.batch_execute(&sql).await.unwrap();
    let row = format!(
        "SELECT concat_ws(' ', targetologist_name, jsonb_path_query_array(journey_stages, '$[*].stage'))
         FROM v_traffic_leads_with_journey WHERE id = '{LEAD}'"
    );
    assert_eq!(scalar::<String>(&traffic, &row).await, r#"Kenji ["proftest_submitted", "payment_card"]"#);
    // An inactive binding and an inactive user attribute nothing.
    let names = "SELECT count(*) || string_agg(targetologist_name, ',' ORDER BY targetologist_name)
                 FROM v_traffic_leads_with_journey";
    assert_eq!(scalar::<String>(&traffic, names).await, "4Alex,Kenji");
    let spelling =
        format!("SELECT attributed_utm_source FROM v_traffic_leads_with_journey WHERE id = '{LEAD}'");
    assert_eq!(scalar::<String>(&traffic, &spelling).await, "KenjiFB");
    let last = format!("SELECT last_stage FROM v_traffic_leads_last_stage WHERE lead_id = '{LEAD}'");
    assert_eq!(scalar::<String>(&traffic, &last).await, "payment_card");
}

#[tokio::test]
async fn views_for_dashboards_count_a_lead_once_and_name_teams_days_and_sources() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    let sql = "INSERT INTO traffic_user_utm_sources (user_id, utm_source, funnel_type)
             SELECT id, 'kenjifb', 'express' FROM traffic_users WHERE full_name = 'Arystan';
         INSERT INTO traffic_leads (utm_source, funnel_type, source, created_at, amocrm_lead_id, amocrm_synced) VALUES
             ('KenjiFB', 'express', 'direct', '2024-01-01 10:00Z', 7, NULL),
             ('KENJIFB', 'express', 'direct', '2024-01-01 11:00Z', NULL, true),
             ('KenjiFB', 'express', 'direct', '2024-01-03 10:00Z', NULL, false),
             ('google_ads', 'express', 'direct', '2024-01-01 10:00Z', NULL, NULL),
             (NULL, NULL, 'facebook', '2024-01-01 10:00Z', NULL, NULL)";
    traffic.batch_execute(sql).await.unwrap();
    for (view, expected) in [
        (
            "SELECT date, user_id IS NOT NULL, targetologist, team_name, utm_source, funnel_type, leads_count
             FROM v_leads_by_targetologist_daily",
            // KENJIFB has no binding of its own spelling: the first of both in byte order is Kenji's.
            "(2024-01-01,t,Kenji,Кенжи,KenjiFB,express,2) (2024-01-03,t,Kenji,Кенжи,KenjiFB,express,1)",
        ),
        (
            "SELECT date, team_name, funnel_type, source, leads_count FROM v_leads_by_team_daily",
            "(2024-01-01,Unassigned,express,direct,1) (2024-01-01,Unassigned,express,facebook,1) \
             (2024-01-01,Кенжи,express,direct,2) (2024-01-03,Кенжи,express,direct,1)",
        ),
        (
            "SELECT utm_source, funnel_type, total_leads, active_days, first_lead_date, last_lead_date, synced_to_amocrm
             FROM v_top_utm_sources_by_leads",
            "(google_ads,express,1,1,2024-01-01,2024-01-01,0) (KENJIFB,express,1,1,2024-01-01,2024-01-01,1) \
             (KenjiFB,express,2,2,2024-01-01,2024-01-03,1)",
        ),
    ] {
        let sorted = format!(
            "SELECT string_agg(v::text, ' ' ORDER BY lower(v::text) COLLATE \"C\", v::text COLLATE \"C\") FROM ({view}) AS v"
        );
        assert_eq!(scalar::<String>(&traffic, &sorted).await, expected);
    }
    // A lead without a journey has no last stage.
    assert_eq!(scalar::<i64>(&traffic, "SELECT count(*) FROM v_traffic_leads_last_stage").await, 0);
}

#[tokio::test]
async fn a_unified_lead_needs_no_metadata() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    let sql = "SELECT find_or_create_unified_lead(p_email => 'a@b.kz', p_name => 'a', p_phone => '1', p_source => 'x')";
    let lead: Uuid = scalar(&traffic, sql).await;
    let metadata = format!("SELECT metadata::text FROM traffic_leads WHERE id = '{lead}'");
    assert_eq!(scalar::<String>(&traffic, &metadata).await, "{}");
}
