//! `leads_with_journey`: Landing's own definition on Traffic.

use leadbridge::migrate::{MigrateOptions, migrate};
use serde_json::json;

use super::{as_announced, http, legacy, opened, step};
use crate::access::platform::errors;
use crate::testkit::{Bridge, World, holds, landing, one, traffic};

/// Groups by the leads' key, as a table allows and a view does not.
const GROUPED: &str = "CREATE VIEW leads_with_journey AS
    SELECT l.*, coalesce(json_agg(json_build_object('stage', j.stage, 'at', j.created_at) ORDER BY j.created_at, j.id)
        FILTER (WHERE j.id IS NOT NULL), '[]') AS stages
    FROM landing_leads l LEFT JOIN journey_stages j ON j.lead_id = l.id GROUP BY l.id ORDER BY l.created_at DESC;
    GRANT ALL ON leads_with_journey TO anon, authenticated, service_role";

const NESTED: &str = "CREATE VIEW leads_with_journey WITH (security_invoker = true) AS
    WITH last AS (SELECT DISTINCT ON (lead_id) lead_id, stage FROM journey_stages ORDER BY lead_id, created_at DESC, id)
    SELECT l.id, l.name, l.source, l.utm_source, l.amocrm_lead_id, last.stage,
        (SELECT jsonb_agg(to_jsonb(j) ORDER BY j.created_at, j.id) FROM journey_stages j WHERE j.lead_id = l.id) AS entries
    FROM landing_leads l LEFT JOIN last ON last.lead_id = l.id;
    GRANT SELECT ON leads_with_journey TO service_role";

#[tokio::test(flavor = "multi_thread")]
async fn the_view_shows_on_traffic_what_it_shows_on_landing() {
    for definition in [GROUPED, NESTED] {
        let world = World::new().await;
        // A null that Traffic turns into false differs, and is documented.
        world.fill(11, 40).await;
        landing(
            &world,
            &format!(
                "UPDATE landing_leads SET email_sent = coalesce(email_sent, false), sms_sent = coalesce(sms_sent, false),
                     email_clicked = coalesce(email_clicked, false), sms_clicked = coalesce(sms_clicked, false),
                     click_count = coalesce(click_count, 0);
                 {definition}"
            ),
        )
        .await;
        as_announced(&world, &legacy()).await;
        Bridge::new(&world).configured("scheduled_notifications = true").catch_up().await;
        traffic(&world, "INSERT INTO traffic_leads (name) VALUES ('facebook')").await;
        let all = "SELECT jsonb_agg(to_jsonb(v) ORDER BY v.id)::text FROM leads_with_journey AS v";
        let (on_landing, on_traffic): (String, String) =
            (one(&world.landing().await, all).await, one(&world.traffic().await, all).await);
        assert_eq!(on_traffic, on_landing);
        let newest = "SELECT id FROM leads_with_journey ORDER BY id LIMIT 1000";
        let read = http(&world.traffic().await, "service_role", newest, &json!(null)).await.unwrap();
        assert_eq!(read.as_array().unwrap().len(), 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_shows_leads_to_everybody_is_named_and_made_so_only_on_the_operators_word() {
    let world = World::new().await;
    world.fill(12, 5).await;
    landing(&world, GROUPED).await;
    let report = as_announced(&world, &legacy()).await;
    let hole = "Landing's view leads_with_journey runs with its owner's rights and shows anon and authenticated every lead";
    assert!(step(&report).notes.iter().any(|note| note.starts_with(hole)), "{report}");
    Bridge::new(&world).configured("scheduled_notifications = true").catch_up().await;
    traffic(&world, "INSERT INTO traffic_leads (name) VALUES ('facebook')").await;
    opened(&world).await;
    let client = world.traffic().await;
    let all = "SELECT id FROM leads_with_journey";
    assert_eq!(http(&client, "anon", all, &json!(null)).await, Ok(json!([])));
    assert_eq!(errors(&world).await, []);

    let public = MigrateOptions { public_views: vec!["leads_with_journey".into()], ..legacy() };
    let report = as_announced(&world, &public).await;
    assert!(step(&report).notes.iter().any(|note| note.contains("because of --public-view")), "{report}");
    let read = http(&client, "anon", all, &json!(null)).await.unwrap();
    assert_eq!(read.as_array().unwrap().len(), 5, "Landing's leads, and none of Traffic's own");
    assert_eq!(errors(&world).await, [], "Landing shows the same");
    // A run that does not decide keeps the decision; a run that decides otherwise takes it back.
    let kept = as_announced(&world, &MigrateOptions { legacy: false, ..legacy() }).await;
    assert!(!kept.changes_something(), "{kept}");
    landing(&world, "REVOKE ALL ON leads_with_journey FROM anon").await;
    assert_eq!(errors(&world).await.len(), 1, "Landing does not show the same any more");
    as_announced(&world, &legacy()).await;
    assert_eq!(http(&client, "anon", all, &json!(null)).await, Ok(json!([])));

    let (mut from, mut to) = (world.landing().await, world.traffic().await);
    let other = MigrateOptions { public_views: vec!["users".into()], ..legacy() };
    let error = migrate(&mut from, &mut to, &world.names, &other).await.unwrap_err();
    assert!(error.message().contains("--public-view users"), "{error}");
}

#[tokio::test]
async fn a_definition_over_other_objects_is_named_and_everything_else_is_made() {
    let world = World::new().await;
    landing(
        &world,
        "CREATE VIEW leads_with_journey AS SELECT l.id, u.full_name FROM landing_leads l, users u",
    )
    .await;
    let report = as_announced(&world, &legacy()).await;
    let note = "Landing's view leads_with_journey is not made: it refers to table users";
    assert!(step(&report).notes.iter().any(|found| found.starts_with(note)), "{report}");
    let made = "to_regclass('landing_leads') IS NOT NULL AND to_regclass('leads_with_journey') IS NULL";
    assert!(holds(&world.traffic().await, made).await);
}
