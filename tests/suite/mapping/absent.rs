//! Columns that an older Landing lacks: the derived columns are Traffic's own, in every direction.

use serde_json::{Value, json};

use leadbridge::migrate::MigrateOptions;

use crate::cutover::{CutoverSetup, PATIENT};
use crate::testkit::{
    Bridge, World, assert_equal, caught_up_and_equal, holds, landing, one, traffic, until_holds,
};

/// Number of leads; each lead is on Traffic with values of Traffic's own.
const LEADS: i64 = 150;

/// Traffic's own values in the columns that Landing lacks.
const OWN: &str =
    "email = 'own@traffic', amocrm_contact_id = 77, email_sent = true, sms_clicked_at = '2020-01-01+00',
    click_count = 9";

/// A Landing of the oldest form; some leads have TOASTed metadata. Nothing is copied yet.
async fn older() -> (World, Bridge) {
    let world = World::unmigrated().await;
    landing(
        &world,
        "ALTER TABLE landing_leads DROP email, DROP amocrm_contact_id, DROP email_sent, DROP sms_clicked_at,
             DROP click_count, DROP phone_normalized",
    )
    .await;
    world.migrate(&MigrateOptions::default()).await;
    landing(
        &world,
        &format!(
            "INSERT INTO landing_leads (name, phone, source, metadata)
             SELECT 'lead', n::text, 'twland', jsonb_build_object('utm_source', 'kenjifb', 'answers', noise)
             FROM generate_series(1, {LEADS}) AS n, LATERAL (
                 SELECT string_agg(md5(n::text || i), '') AS noise FROM generate_series(1, CASE n % 5 WHEN 0 THEN 150 END) AS i
             ) AS x"
        ),
    )
    .await;
    let bridge = Bridge::new(&world);
    (world, bridge)
}

async fn set_own(world: &World) {
    // Triggers are off, because a trigger would stamp `updated_at`, which Landing owns.
    traffic(world, &format!("SET session_replication_role = replica; UPDATE traffic_leads SET {OWN}")).await;
}

/// Every lead of the beginning has Traffic's own values.
async fn assert_own(world: &World, after: &str) {
    let kept = format!(
        "count(*) = {LEADS} FROM traffic_leads WHERE (email, amocrm_contact_id, email_sent, sms_clicked_at, click_count)
             = ('own@traffic', 77, true, '2020-01-01+00', 9)"
    );
    assert!(holds(&world.traffic().await, &kept).await, "lost {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_landing_lacks_is_written_by_no_change_no_copy_and_no_repair() {
    let (world, bridge) = older().await;
    bridge.catch_up().await;
    assert_equal(&world).await;
    let new = "bool_and((email, amocrm_contact_id, sms_clicked_at) IS NOT DISTINCT FROM (NULL, NULL::bigint, NULL::timestamptz)
        AND NOT email_sent AND click_count = 0) FROM traffic_leads";
    assert!(holds(&world.traffic().await, new).await, "a new row gets what the mapping makes of null");
    set_own(&world).await;

    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let changes = [
        ("a small batch", "UPDATE landing_leads SET name = 'small' WHERE phone = '1'"),
        ("a large batch", "UPDATE landing_leads SET name = 'large'"),
        ("leads without their metadata", "UPDATE landing_leads SET source = 'Challenge3D' WHERE phone::int % 5 = 0"),
        ("changed keys", "UPDATE landing_leads SET id = gen_random_uuid() WHERE phone::int % 10 < 2"),
        (
            "a row that is copied beside those that are there",
            "BEGIN; INSERT INTO landing_leads (name, phone) SELECT 'new', '0' FROM generate_series(1, 200);
                 UPDATE landing_leads SET name = 'beside'; DELETE FROM landing_leads WHERE phone = '0'; COMMIT",
        ),
    ];
    for (what, sql) in changes {
        landing(&world, sql).await;
        caught_up_and_equal(&world, &mut daemon).await;
        assert_own(&world, what).await;
    }
    traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT no_bots CHECK (name <> 'bot')").await;
    landing(&world, "UPDATE landing_leads SET name = 'bot' WHERE phone::int < 6").await;
    daemon.caught_up(&world).await;
    assert!(holds(&world.traffic().await, "count(*) = 5 FROM leadbridge.quarantine").await);
    traffic(&world, "ALTER TABLE traffic_leads DROP CONSTRAINT no_bots").await;
    let retried = bridge.run(&["quarantine", "retry"]).await;
    assert_eq!(retried.code, 0, "{}{}", retried.out, retried.err);
    assert_equal(&world).await;
    assert_own(&world, "a retry from quarantine").await;
    daemon.terminate().await;

    traffic(&world, "SET session_replication_role = replica; UPDATE traffic_leads SET name = 'wrong'").await;
    let repaired = bridge.run(&["verify", "--repair"]).await;
    assert_eq!(repaired.code, 0, "{}{}", repaired.out, repaired.err);
    assert_equal(&world).await;
    assert_own(&world, "a repair").await;
    let resynced = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}{}", resynced.out, resynced.err);
    assert_equal(&world).await;
    assert_own(&world, "a resync").await;
    let verified = bridge.run(&["verify"]).await;
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_leaves_traffic_what_landing_lacks_and_a_dry_run_lists_it() {
    let (world, bridge) = older().await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let mut setup = CutoverSetup { world, bridge, daemon };
    let said = setup.cutover(&["--dry-run"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let found: Value = serde_json::from_str(&said.out).unwrap();
    let columns = ["email", "amocrm_contact_id", "email_sent", "sms_clicked_at", "click_count"];
    let owned = &found["traffic_owned"][0];
    assert_eq!(owned["table"], "traffic_leads", "{found}");
    for column in columns {
        assert!(owned["columns"].as_array().unwrap().contains(&json!(column)), "{column}: {owned}");
    }
    assert_eq!(owned["columns"].as_array().unwrap().len(), columns.len(), "{owned}");
    let said = setup.bridge.run(&["cutover", "--dry-run"]).await;
    assert!(said.out.contains("traffic_leads.click_count"), "{}", said.out);

    let certificate = setup.switches(&PATIENT).await;
    assert_eq!(certificate["traffic_owned"], found["traffic_owned"]);
    setup.flows_back().await;
    set_own(&setup.world).await;
    traffic(&setup.world, "UPDATE traffic_leads SET name = 'on Traffic' WHERE phone = '1'").await;
    setup.rolls_back(&PATIENT).await;
    assert!(
        holds(&setup.world.landing().await, "count(*) = 1 FROM landing_leads WHERE name = 'on Traffic'")
            .await
    );
    assert_own(&setup.world, "by the rollback").await;
    landing(&setup.world, "UPDATE landing_leads SET name = 'on Landing'").await;
    caught_up_and_equal(&setup.world, &mut setup.daemon).await;
    assert_own(&setup.world, "when Landing changed the leads after the rollback").await;
    let verified = setup.bridge.run(&["verify"]).await;
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_landing_gets_later_is_landings_from_the_resync_on() {
    let (world, bridge) = older().await;
    bridge.catch_up().await;
    set_own(&world).await;
    landing(&world, "ALTER TABLE landing_leads ADD click_count integer DEFAULT 4").await;
    let refused = bridge.run(&["run", "--until-caught-up"]).await;
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("click_count") && refused.err.contains("resync"), "{}", refused.err);
    let resynced = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}", resynced.err);
    assert_equal(&world).await;
    let both = "bool_and((click_count, amocrm_contact_id) = (4, 77)) FROM traffic_leads";
    assert!(holds(&world.traffic().await, both).await);
    let daemon = bridge.daemon().await;
    landing(&world, "UPDATE landing_leads SET click_count = 5").await;
    until_holds(&world.traffic().await, "bool_and(click_count = 5) FROM traffic_leads").await;
    assert_eq!(
        one::<i64>(&world.traffic().await, "SELECT count(*) FROM traffic_leads WHERE email_sent").await,
        LEADS
    );
    daemon.terminate().await;
}
