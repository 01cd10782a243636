//! The trigger on Traffic's leads: for whom it derives, and for whom not.

use leadbridge::migrate::MigrateOptions;
use serde_json::Value;

use crate::testkit::{Bridge, World, assert_equal, holds, landing, one, traffic};

/// A lead of Landing's whose values the trigger would change.
const ODD: &str =
    "INSERT INTO landing_leads (name, phone, phone_normalized, source, email_sent, amocrm_lead_id)
    SELECT 'n', '8 70' || n, NULL, NULL, NULL, '00' || n FROM generate_series(1, 150) AS n";

#[tokio::test(flavor = "multi_thread")]
async fn replicated_rows_are_not_derived_whatever_the_role_may_set() {
    for may_set in [true, false] {
        let world = World::new().await;
        let bridge = if may_set { Bridge::new(&world) } else { without_the_right(&world).await };
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        landing(&world, ODD).await;
        daemon.caught_up(&world).await;
        landing(&world, "UPDATE landing_leads SET phone = phone || '1', source = 'google'").await;
        daemon.caught_up(&world).await;
        assert_equal(&world).await;
        let kept = "bool_and(NOT landing_lead AND landing_phone_normalized IS NULL) FROM traffic_leads";
        assert!(holds(&world.traffic().await, kept).await, "may set: {may_set}");
        daemon.terminate().await;
    }
}

/// A role on Traffic that may not set `session_replication_role`.
async fn without_the_right(world: &World) -> Bridge {
    let bridge = crate::testkit::least_privileged(world).await;
    let revoke = "DO $$ BEGIN IF current_setting('server_version_num')::integer >= 150000 THEN
        EXECUTE 'REVOKE SET ON PARAMETER session_replication_role FROM bridge'; END IF; END $$";
    traffic(world, revoke).await;
    bridge
}

async fn derived(world: &World, set: &str) -> Value {
    let sql = format!(
        "WITH lead AS (INSERT INTO traffic_leads {set} RETURNING *) SELECT to_jsonb(lead)::text FROM lead"
    );
    serde_json::from_str(&one::<String>(&world.traffic().await, &sql).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_of_traffics_own_code_is_derived_and_keeps_what_the_code_says() {
    let world = World::new().await;
    let lead = derived(
        &world,
        r#"(name, phone, fb_lead_id, amocrm_lead_id, metadata)
           VALUES ('n', '8 (701)', 'own', 42, '{"utm_source": "kenjifb", "fb_lead_id": "1", "fb_ad_id": 7}')"#,
    )
    .await;
    for (column, value) in [
        ("source", "facebook"),
        ("landing_source", "facebook"),
        ("funnel_type", "express"),
        ("phone_normalized", "8701"),
        ("utm_source", "kenjifb"),
        ("fb_lead_id", "own"),
        ("fb_ad_id", "7"),
        ("status", "new"),
    ] {
        assert_eq!(lead[column], value, "{column}");
    }
    assert_eq!((&lead["landing_lead"], &lead["landing_utm_source"]), (&Value::Bool(false), &Value::Null));
    // The number of a lead of Traffic's own is no text of Landing's, whose texts may be unique.
    assert_eq!((&lead["amocrm_lead_id"], &lead["landing_amocrm_lead_id"]), (&42.into(), &Value::Null));
    let lead = derived(&world, "(name, landing_source, amocrm_lead_id) VALUES ('n', 'twland', 42)").await;
    assert_eq!((&lead["landing_lead"], &lead["landing_amocrm_lead_id"]), (&Value::Bool(true), &"42".into()));
    // A writer of Landing's names leaves source at the column's default, whatever the default is.
    traffic(&world, "ALTER TABLE traffic_leads ALTER source SET DEFAULT 'it''s \\ 100%'").await;
    let lead = derived(&world, "(name, landing_source) VALUES ('n', 'intensive_TikTok')").await;
    assert_eq!((&lead["source"], &lead["funnel_type"]), (&"tiktok".into(), &"intensive1d".into()));
    assert_eq!(lead["landing_lead"], true);
    let lead = derived(&world, "(name, source, landing_source) VALUES ('n', 'shop', 'google')").await;
    assert_eq!((&lead["source"], &lead["landing_source"]), (&"shop".into(), &"google".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unified_lead_is_derived_and_flows_back() {
    let world = World::new().await;
    let client = world.traffic().await;
    let call =
        "SELECT find_or_create_unified_lead('a@b.kz', 'n', '8 701', 'twland', '{\"utmSource\": \"alex\"}')";
    client.execute(call, &[]).await.unwrap();
    let made = "(source, landing_source, utm_source, funnel_type, phone_normalized, landing_phone_normalized)
        = ('direct', 'twland', 'alex', 'express', '8701', '8701') AND landing_lead FROM traffic_leads";
    assert!(holds(&client, made).await);
    let call = "SELECT find_or_create_unified_lead(NULL, 'n', '8 702', NULL)";
    client.execute(call, &[]).await.unwrap();
    let made =
        "count(*) = 1 FROM traffic_leads WHERE source = 'direct' AND landing_source IS NULL AND landing_lead";
    assert!(holds(&client, made).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trigger_never_makes_a_writers_statement_fail() {
    let world = World::new().await;
    traffic(
        &world,
        "DROP VIEW v_traffic_leads_with_journey, v_traffic_leads_last_stage, v_leads_by_targetologist_daily,
             v_leads_by_team_daily, v_top_utm_sources_by_leads;
         ALTER TABLE traffic_leads ALTER utm_term TYPE varchar(3), ALTER source TYPE varchar(4), ALTER source DROP DEFAULT,
             ALTER fb_ad_id TYPE varchar(2)",
    )
    .await;
    let lead = derived(
        &world,
        r#"(name, landing_source, landing_amocrm_lead_id, metadata) VALUES ('n', 'ұзақ дереккөз', repeat('9', 400),
           '{"utm_term": "қазақша", "fb_ad_id": [1, 2]}')"#,
    )
    .await;
    for (column, value) in [("source", "ұзақ"), ("utm_term", "қаз"), ("fb_ad_id", "[1")] {
        assert_eq!(lead[column], value, "{column}");
    }
    assert_eq!(lead["amocrm_lead_id"], Value::Null);
    // A school that has removed a column gets leads that are not derived, and a warning.
    traffic(&world, "ALTER TABLE traffic_leads DROP landing_utm_term CASCADE").await;
    let lead = derived(&world, "(name, source) VALUES ('n', 'shop')").await;
    assert_eq!(lead["source"], "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_schools_own_trigger_counts_as_the_writers() {
    let world = World::new().await;
    traffic(
        &world,
        "CREATE FUNCTION public.trims() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN NEW.phone := '8705'; NEW.landing_source := 'google'; RETURN NEW; END $$;
         CREATE TRIGGER zz_trims BEFORE INSERT OR UPDATE ON traffic_leads FOR EACH ROW EXECUTE FUNCTION public.trims()",
    )
    .await;
    let lead = derived(&world, "(name, phone, landing_source) VALUES ('n', '1', 'twland')").await;
    assert_eq!((&lead["phone_normalized"], &lead["source"]), (&"8705".into(), &"google".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_of_an_installation_that_has_switched_go_on_flowing_back() {
    for (state, flows) in [("switched", "true"), ("streaming", "false")] {
        let world = World::new().await;
        let bridge = Bridge::new(&world);
        bridge.catch_up().await;
        let earlier = format!(
            "INSERT INTO traffic_leads (name) VALUES ('earlier'); UPDATE leadbridge.checkpoint SET state = '{state}';
             ALTER TABLE traffic_leads DROP landing_lead CASCADE"
        );
        traffic(&world, &earlier).await;
        world.migrate(&MigrateOptions::default()).await;
        traffic(&world, "INSERT INTO traffic_leads (name) VALUES ('later')").await;
        let leads = "SELECT string_agg(name || ' ' || landing_lead, ', ' ORDER BY name) FROM traffic_leads";
        let found: String = one(&world.traffic().await, leads).await;
        assert_eq!(found, format!("earlier {flows}, later false"), "{state}");
    }
}
