//! The views that dashboards read, against their rules as they are spelt, and what a dashboard's question reads.

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::scalar;
use crate::testkit::{Bridge, World};

#[allow(dead_code, reason = "goals and the forms by hand are for the bench alone")]
#[path = "../../../benches/replication/dashboards/questions.rs"]
mod questions;

const LANDING: &str = include_str!("../../../benches/replication/dashboards/landing.sql");
const TARGETOLOGISTS: &str = include_str!("../../../benches/replication/dashboards/targetologists.sql");
const LITERAL_VIEWS: &str = include_str!("../../../benches/replication/dashboards/literal_views.sql");

/// Targetologists, bindings, leads and journeys at random: spellings that differ in case, inactive users and bindings,
/// nulls, leads without a journey, entries of the same time. Times of leads: everywhere in a year, around midnights that
/// come twice (Havana's clocks go back from 01:00 to 00:00, St. John's went back from 00:01), and far away.
const RANDOM_ROWS: &str = "
    SELECT setseed(0.25);
    INSERT INTO traffic_users (full_name, team_name, is_active)
    SELECT 'user ' || i, (ARRAY['Кенжи', 'Арыстан', NULL])[1 + i % 3], i % 5 > 0 FROM generate_series(1, 12) AS i;
    INSERT INTO traffic_user_utm_sources (user_id, utm_source, funnel_type, is_active)
    SELECT (SELECT id FROM traffic_users WHERE i > 0 ORDER BY random() LIMIT 1),
        (ARRAY['src_', 'Src_', 'SRC_'])[1 + floor(random() * 3)::int] || (ARRAY['a', 'A', 'ы', 'Ы', 'b'])[1 + i % 5],
        (ARRAY['express', 'challenge3d', 'intensive1d'])[1 + floor(random() * 3)::int], random() < 0.7
    FROM generate_series(1, 120) AS i ON CONFLICT DO NOTHING;
    INSERT INTO traffic_leads (utm_source, funnel_type, source, amocrm_synced, amocrm_lead_id, created_at)
    SELECT CASE WHEN random() < 0.9 THEN
            (ARRAY['src_', 'Src_', 'SRC_'])[1 + floor(random() * 3)::int]
            || (ARRAY['a', 'A', 'ы', 'Ы', 'b', 'nobody'])[1 + floor(random() * 6)::int] END,
        (ARRAY['express', 'challenge3d', 'intensive1d', NULL])[1 + floor(random() * 4)::int],
        (ARRAY['direct', 'facebook', NULL])[1 + floor(random() * 3)::int],
        (ARRAY[true, false, NULL])[1 + floor(random() * 3)::int], CASE WHEN random() < 0.3 THEN 7 END, at
    FROM (
        SELECT '2024-01-01Z'::timestamptz + random() * interval '365 days' AS at FROM generate_series(1, 600)
        UNION ALL SELECT '2024-11-02 20:00Z'::timestamptz + random() * interval '20 hours' FROM generate_series(1, 300)
        UNION ALL SELECT '2005-10-30 00:00Z'::timestamptz + random() * interval '4 hours' FROM generate_series(1, 200)
        -- Alone in the first of two hours after midnight in Havana, a day after the lead before; and in the minute
        -- before the clocks go back in St. John's, with a lead of the evening that comes again.
        UNION ALL VALUES ('2021-11-06 12:00Z'::timestamptz), ('2021-11-07 04:30Z'), ('2003-10-26 02:30:30Z'),
            ('2003-10-26 02:40Z'), ('infinity'), ('-infinity'), ('0001-01-01Z'), ('2300-01-01Z')
    ) AS lead;
    INSERT INTO traffic_lead_journey (lead_id, stage, source, created_at)
    SELECT id, 'stage ' || n, CASE WHEN random() < 0.5 THEN 'landing' END,
        '2024-01-01Z'::timestamptz + floor(random() * 3) * interval '1 hour'
    FROM traffic_leads, generate_series(1, 4) AS n WHERE random() < 0.4";

/// What dashboards ask for, by view, in order. The lead's columns come first in the first view.
const COLUMNS: [(&str, &str); 5] = [
    (
        "v_traffic_leads_with_journey",
        "journey_stages targetologist_id targetologist_name targetologist_team attributed_utm_source",
    ),
    ("v_traffic_leads_last_stage", "lead_id last_stage last_source last_stage_at"),
    (
        "v_leads_by_targetologist_daily",
        "date user_id targetologist team_name utm_source funnel_type leads_count",
    ),
    ("v_leads_by_team_daily", "date team_name funnel_type source leads_count"),
    (
        "v_top_utm_sources_by_leads",
        "utm_source funnel_type total_leads active_days first_lead_date last_lead_date synced_to_amocrm",
    ),
];

/// Makes the literal views over Traffic's own tables, in a schema of their own.
async fn literal_views(traffic: &Client) {
    let views = LITERAL_VIEWS
        .replace("{{schema}}", "literal")
        .replace("{{leads}}", "public.traffic_leads")
        .replace("{{journey}}", "public.traffic_lead_journey");
    traffic.batch_execute(&format!("CREATE SCHEMA literal; {views}")).await.unwrap();
}

/// Rows of a query as texts, in order.
async fn rows(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap();
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

#[tokio::test]
async fn each_view_says_what_its_rule_says_on_random_rows_in_every_time_zone() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    traffic.batch_execute(RANDOM_ROWS).await.unwrap();
    literal_views(&traffic).await;
    for zone in ["UTC", "Asia/Almaty", "America/Havana", "America/St_Johns", "Pacific/Apia"] {
        traffic.batch_execute(&format!("SET timezone = '{zone}'")).await.unwrap();
        for (view, columns) in COLUMNS {
            let id = if view == "v_traffic_leads_with_journey" { "id, " } else { "" };
            let columns = format!("{id}{}", columns.replace(' ', ", "));
            let sorted = |schema: &str| {
                format!(
                    "SELECT v::text FROM (SELECT {columns} FROM {schema}.{view}) AS v ORDER BY v::text COLLATE \"C\""
                )
            };
            let (ours, rule) =
                (rows(&traffic, &sorted("public")).await, rows(&traffic, &sorted("literal")).await);
            assert!(rule.len() > 10, "{view}: {} rows", rule.len());
            assert_eq!(ours, rule, "{view} in {zone}");
        }
        let counted = "SELECT (SELECT sum(leads_count) FROM v_leads_by_team_daily) = count(*)
                       AND (SELECT count(*) FROM v_traffic_leads_with_journey) = count(*) FROM traffic_leads";
        assert!(scalar::<bool>(&traffic, counted).await, "a lead counts once in {zone}");
    }
}

#[tokio::test]
async fn each_view_has_the_columns_that_dashboards_ask_for_in_their_order() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    let columns = async |name: &str| {
        let sql = format!(
            "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = '{name}'::regclass AND attnum > 0 AND NOT attisdropped"
        );
        scalar::<String>(&traffic, &sql).await
    };
    let lead = columns("traffic_leads").await;
    for (view, expected) in COLUMNS {
        let expected = match view {
            "v_traffic_leads_with_journey" => format!("{lead} {expected}"),
            _ => expected.to_owned(),
        };
        assert_eq!(columns(view).await, expected, "{view}");
    }
    let invoked = "SELECT count(*) FROM pg_class WHERE relname LIKE 'v\\_%' AND relkind = 'v'
                   AND 'security_invoker=true' = ANY (reloptions)";
    assert_eq!(scalar::<i64>(&traffic, invoked).await, 5);
}

/// Rows that the plan's scans of a table have read, whether a filter took or dropped them.
fn rows_read(plan: &Value, table: &str) -> f64 {
    let children = plan["Plans"].as_array().into_iter().flatten().map(|child| rows_read(child, table));
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    let own = match plan["Relation Name"].as_str() {
        Some(name) if name == table => {
            (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops")
        }
        _ => 0.0,
    };
    own + children.sum::<f64>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_s_questions_have_the_rules_answers_and_read_no_more_leads_than_their_dates_name() {
    let world = World::new().await;
    let landing = world.landing().await;
    let leads = 5_000;
    for statement in LANDING.replace("{{leads}}", &leads.to_string()).split(";\n") {
        landing.batch_execute(statement).await.unwrap();
    }
    Bridge::new(&world).catch_up().await;
    let traffic = world.traffic().await;
    for statement in TARGETOLOGISTS.split(";\n").chain(["VACUUM ANALYZE"]) {
        traffic.batch_execute(statement).await.unwrap();
    }
    literal_views(&traffic).await;
    for question in &questions::QUESTIONS {
        let sql = question.sql.replace("{{leads}}", "traffic_leads");
        let ours = rows(&traffic, &sql).await;
        traffic.batch_execute("SET search_path = literal, public").await.unwrap();
        assert_eq!(ours, rows(&traffic, &sql).await, "{}", question.name);
        traffic.batch_execute("RESET search_path").await.unwrap();

        let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}");
        let plan: Value =
            serde_json::from_str(&rows(&traffic, &explain).await.concat()[0].clone().unwrap()).unwrap();
        // A month has a twelfth of the leads; the days of the year are found with some rows for each. Of a join with
        // leads, the ids of all leads may be read, but no other lead's entries.
        let (table, most) = match question.name {
            name if name.contains(" all ") => continue,
            name if name.contains("last stages") => ("traffic_lead_journey", 0.25 * 3.0),
            name if name.contains("quarter") => ("traffic_leads", 0.3),
            _ => ("traffic_leads", 0.25),
        };
        let (read, most) = (rows_read(&plan[0]["Plan"], table), most * f64::from(leads));
        assert!(read > 0.0 && read < most, "{}: {read} rows of {table}\n{plan:#}", question.name);
    }
}
