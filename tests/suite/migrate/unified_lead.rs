//! `find_or_create_unified_lead` on Traffic: one lead for one person, with everything that the mapping derives.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Barrier;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::testkit::{World, expected_leads, landing, one, table_rows, traffic};

/// A call by name with SQL literals, with four or five arguments.
fn call(email: &str, name: &str, phone: &str, rest: &str) -> String {
    format!(
        "SELECT find_or_create_unified_lead(p_email => {email}, p_name => {name}, p_phone => {phone}, {rest})"
    )
}

async fn made(client: &Client, email: &str, name: &str, phone: &str) -> Uuid {
    one(client, &call(email, name, phone, "p_source => 'twland'")).await
}

/// Runs one statement in each of many sessions, all at the same time, as the API's service role.
async fn at_once(world: &World, statements: Vec<String>) -> Vec<Uuid> {
    let start = Arc::new(Barrier::new(statements.len()));
    let mut tasks = tokio::task::JoinSet::new();
    for statement in statements {
        let (client, start) = (world.traffic().await, start.clone());
        tasks.spawn(async move {
            client.batch_execute("SET ROLE service_role").await.unwrap();
            start.wait().await;
            one::<Uuid>(&client, &statement).await
        });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_sessions_with_one_phone_make_one_lead() {
    let world = World::new().await;
    // Each session spells the phone in a way of its own, and has an e-mail of its own.
    let statements = (0..50).map(|n| {
        let phone = format!("'8 (701) {}123-45-67'", " ".repeat(n % 7));
        let rest =
            if n % 2 == 0 { "p_source => 'twland'" } else { "p_source => 'x', p_metadata => '{\"n\": 1}'" };
        call(&format!("'{n}@example.kz'"), &format!("'name {n}'"), &phone, rest)
    });
    let leads: BTreeSet<Uuid> = at_once(&world, statements.collect()).await.into_iter().collect();
    assert_eq!(leads.len(), 1);
    let rows = table_rows(&world.traffic().await, "traffic_leads").await;
    assert_eq!(rows.keys().copied().collect::<BTreeSet<_>>(), leads);
    let row = rows.values().next().unwrap();
    assert_eq!(row["phone_normalized"], "87011234567");
    // Name and e-mail are of one caller, the last one.
    let name = row["name"].as_str().unwrap();
    assert_eq!(row["email"], format!("{}@example.kz", name.strip_prefix("name ").unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_sessions_with_few_phones_and_e_mails_in_every_combination_never_deadlock() {
    let world = World::new().await;
    let statements = (0..50).map(|n| {
        let (phone, email) = (format!("'+7701{}'", n % 5), format!("'{}@example.kz'", n / 10));
        call(&email, "'n'", &phone, "p_source => 'twland'")
    });
    at_once(&world, statements.collect()).await;
    let twice =
        "SELECT count(*) FROM (SELECT FROM traffic_leads GROUP BY phone_normalized HAVING count(*) > 1) AS p";
    assert_eq!(one::<i64>(&world.traffic().await, twice).await, 0);
}

#[tokio::test]
async fn a_null_or_empty_phone_or_e_mail_finds_no_lead_and_overwrites_nothing() {
    let world = World::new().await;
    let client = world.traffic().await;
    // Leads with empty and absent values, which a search for an empty value must not find.
    traffic(
        &world,
        "INSERT INTO traffic_leads (name, phone, email) VALUES ('a', '', ''), ('b', NULL, NULL), ('c', '-', 'c@example.kz')",
    )
    .await;
    let empty = ["NULL", "''", "'нет'"];
    let mut nobodies = BTreeSet::new();
    for phone in empty {
        for email in ["NULL", "''"] {
            nobodies.insert(made(&client, email, "'nobody'", phone).await);
        }
    }
    assert_eq!(nobodies.len(), 6, "each call makes a lead");
    let count: i64 = one(&client, "SELECT count(*) FROM traffic_leads").await;
    assert_eq!(count, 9);
    // The e-mail decides where the phone says nothing, and the phone where the e-mail says nothing.
    let known = made(&client, "'k@example.kz'", "'known'", "'+7 702 1'").await;
    for phone in empty {
        assert_eq!(made(&client, "'k@example.kz'", "NULL", phone).await, known);
    }
    for email in ["NULL", "''"] {
        assert_eq!(made(&client, email, "''", "'+7-702-1'").await, known);
    }
    let row = &table_rows(&client, "traffic_leads").await[&known];
    assert_eq!(
        (&row["name"], &row["email"], &row["phone"]),
        (&"known".into(), &"k@example.kz".into(), &"+7 702 1".into())
    );
}

#[tokio::test]
async fn where_phone_and_e_mail_match_different_leads_the_phone_wins_and_the_oldest_lead_of_a_phone() {
    let world = World::new().await;
    let client = world.traffic().await;
    traffic(
        &world,
        "INSERT INTO traffic_leads (id, name, phone, email, created_at) VALUES
             ('00000000-0000-4000-8000-000000000001', 'by e-mail', '+7 1', 'e@example.kz', '2020-01-01'),
             ('00000000-0000-4000-8000-000000000002', 'younger', '+7 2', 'y@example.kz', '2024-01-01'),
             ('00000000-0000-4000-8000-000000000003', 'oldest', '+7 (2)', 'o@example.kz', '2022-01-01')",
    )
    .await;
    let found = made(&client, "'e@example.kz'", "'new name'", "'+72'").await;
    assert_eq!(found.to_string(), "00000000-0000-4000-8000-000000000003");
    let rows = table_rows(&client, "traffic_leads").await;
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[&found]["name"], &rows[&found]["email"]), (&"new name".into(), &"e@example.kz".into()));
    let others = rows.iter().filter(|(id, _)| **id != found).map(|(_, row)| row["name"].as_str().unwrap());
    assert_eq!(others.collect::<BTreeSet<_>>(), BTreeSet::from(["by e-mail", "younger"]));
}

/// Arguments of the function after the phone.
const SUBMITTED: [&str; 8] = [
    "p_source => 'twland', p_metadata => '{\"utmParams\": {\"utm_source\": \"kenjifb\", \"utmCampaign\": \"лето\"}}'",
    "p_source => 'Challenge3D_FB', p_metadata => '{\"utm_source\": \"\", \"utmSource\": \"alex_FB\", \"fb_lead_id\": 7}'",
    "p_source => 'intensive_google'",
    "p_source => 'express', p_metadata => '{\"funnel_type\": \"intensive1d\", \"utm_term\": \"t\"}'",
    "p_source => 'proftest_arystan', p_metadata => '[1, 2]'",
    "p_source => NULL, p_metadata => '{\"utm_source\": 42, \"funnel_type\": \"webinar\"}'",
    "p_source => ''",
    "p_source => 'facebook_' || repeat('x', 300), p_metadata => jsonb_build_object('utm_content', repeat('y', 300))",
];

/// Times, which are each database's own, and columns that have defaults on Landing alone.
const WITHOUT_LEGACY_NAMES: [&str; 5] =
    ["created_at", "updated_at", "amocrm_synced", "amocrm_sync_status", "amocrm_sync_attempts"];

#[tokio::test]
async fn a_new_lead_has_what_the_mapping_makes_of_the_lead_that_landing_would_have() {
    let world = World::new().await;
    // Landing's function makes the leads that the oracle reads.
    let mut calls = String::new();
    for (number, rest) in SUBMITTED.iter().enumerate() {
        calls += &format!(
            "{};",
            call(&format!("'{number}@example.kz'"), "'Айгерім'", &format!("'8 (701) {number}'"), rest)
        );
    }
    landing(&world, &calls).await;
    traffic(&world, &format!("SET ROLE service_role; {calls}")).await;
    let (on_landing, on_traffic) = (world.landing().await, world.traffic().await);
    let by_email = |rows: std::collections::BTreeMap<Uuid, Map<String, Value>>| {
        rows.into_values()
            .map(|row| (row["email"].to_string(), row))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let expected = by_email(expected_leads(&on_landing, &on_traffic).await);
    let actual = by_email(table_rows(&on_traffic, "traffic_leads").await);
    assert_eq!((expected.len(), actual.len()), (SUBMITTED.len(), SUBMITTED.len()));
    let mut wrong = Vec::new();
    for (email, row) in &expected {
        let differs = |(column, value): &(&String, &Value)| {
            !WITHOUT_LEGACY_NAMES.contains(&column.as_str()) && actual[email].get(*column) != Some(*value)
        };
        wrong.extend(
            row.iter().filter(differs).map(|(column, value)| format!("{email}: {column} should be {value}")),
        );
        assert_eq!(actual[email]["landing_lead"], "true", "{email}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let credited = "SELECT string_agg(DISTINCT targetologist_name || ' ' || funnel_type, ',') FROM v_traffic_leads_with_journey";
    assert_eq!(one::<String>(&on_traffic, credited).await, "Alex challenge3d,Kenji express");
}
