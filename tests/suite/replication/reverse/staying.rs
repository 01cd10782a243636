//! A lead that Traffic's own code made stays on Traffic with everything that refers to it; leads born through Landing's
//! names flow back.

use leadbridge::migrate::MigrateOptions;

use super::compare::{born, compared, tamper};
use super::exact::assert_back;
use super::rows::switched;
use super::switch::carried;
use crate::cutover::CutoverSetup;
use crate::testkit::{Bridge, World, holds, landing, one, traffic};

const LEAD: &str = "00000000-0000-0000-0000-00000000000a";
const BORN: &str = "00000000-0000-0000-0000-00000000000b";
const OWN: &str = "00000000-0000-0000-0000-0000000000f1";
const LATER: &str = "00000000-0000-0000-0000-0000000000f2";
const LAST: &str = "00000000-0000-0000-0000-0000000000f3";

/// A lead of a Facebook form with a journey entry of the same key.
fn of_a_form(id: &str) -> String {
    format!(
        "INSERT INTO traffic_leads (id, name, phone, fb_lead_id) VALUES ('{id}', 'form', '+7 705', 'fb');
         INSERT INTO traffic_lead_journey (id, lead_id, stage, created_at) VALUES ('{id}', '{id}', 'form', now());"
    )
}

async fn assert_none_waits(world: &World) {
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.reverse_quarantine").await);
    let found = compared(world).await;
    assert!(found.iter().all(|table| table.differences() == 0), "{found:?}");
    assert_back(world, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_of_traffics_own_code_stays_with_its_children_whatever_changes() {
    let world = World::unmigrated().await;
    world.migrate(&MigrateOptions { notifications: true, ..MigrateOptions::default() }).await;
    world.fill(280, 20).await;
    traffic(&world, &of_a_form(OWN)).await;
    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    let mut daemon = switched(&world, &bridge).await;
    let rows =
        "SELECT concat_ws(' ', (SELECT count(*) FROM landing_leads), (SELECT count(*) FROM journey_stages),
                       (SELECT count(*) FROM scheduled_notifications))";
    let before: String = one(&world.landing().await, rows).await;
    for change in [
        of_a_form(LATER),
        format!(
            "UPDATE traffic_leads SET name = 'changed', amocrm_lead_id = 5, landing_source = 'twland' WHERE id IN ('{OWN}', '{LATER}');
             UPDATE traffic_lead_journey SET stage = 'changed' WHERE lead_id IN ('{OWN}', '{LATER}');
             INSERT INTO traffic_scheduled_notifications (lead_id, notification_type, scheduled_for)
                 VALUES ('{OWN}', 'sms', now()), ('{LATER}', 'sms', now())"
        ),
        // The function finds the lead of the form, and does not make it Landing's.
        "SELECT find_or_create_unified_lead('form@x.kz', 'found', '+7705', 'twland')".to_owned(),
        format!("DELETE FROM traffic_scheduled_notifications WHERE lead_id = '{OWN}'"),
        format!("DELETE FROM traffic_lead_journey WHERE id = '{LATER}'"),
        format!(
            "DELETE FROM traffic_scheduled_notifications WHERE lead_id = '{LATER}';
             UPDATE traffic_leads SET id = '{LAST}' WHERE id = '{LATER}'"
        ),
        format!("DELETE FROM traffic_leads WHERE id IN ('{OWN}', '{LAST}')"),
    ] {
        traffic(&world, &change).await;
        carried(&world, &mut daemon).await;
        assert_eq!(one::<String>(&world.landing().await, rows).await, before, "{change}");
        assert_none_waits(&world).await;
    }
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_born_through_landings_names_or_the_function_flows_back_with_its_journey() {
    let world = World::new().await;
    world.fill(281, 10).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let entry = "INSERT INTO traffic_lead_journey (lead_id, stage, created_at)";
    traffic(
        &world,
        &format!(
            "{} {entry} VALUES ('{BORN}', 's', now());
             {entry} SELECT find_or_create_unified_lead('a@b.kz', 'asked', '8 707', 'challenge3d'), 's', now()",
            born(BORN)
        ),
    )
    .await;
    carried(&world, &mut daemon).await;
    let both = "count(*) = 2 FROM landing_leads AS l JOIN journey_stages AS j ON j.lead_id = l.id
        WHERE (l.name, l.source) IN (('b', 'twland'), ('asked', 'challenge3d'))";
    assert!(holds(&world.landing().await, both).await);
    assert_none_waits(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_entry_that_passes_between_a_lead_of_landings_and_one_of_traffics_own_goes_and_comes() {
    let world = World::new().await;
    let lead = format!(
        "INSERT INTO landing_leads (id, name, phone) VALUES ('{LEAD}', 'n', '1');
         INSERT INTO journey_stages (id, lead_id, stage) VALUES ('{LEAD}', '{LEAD}', 's')"
    );
    landing(&world, &lead).await;
    traffic(&world, &of_a_form(OWN)).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let there = |count: u8| format!("count(*) = {count} FROM journey_stages WHERE id = '{LEAD}'");
    for (lead, count) in [(OWN, 0), (LEAD, 1), (OWN, 0)] {
        let pass = format!("UPDATE traffic_lead_journey SET lead_id = '{lead}' WHERE id = '{LEAD}'");
        traffic(&world, &pass).await;
        carried(&world, &mut daemon).await;
        assert!(holds(&world.landing().await, &there(count)).await, "{lead}");
        assert_none_waits(&world).await;
    }
    // A lead of Landing's is deleted and comes again as a lead of Traffic's own.
    let again = format!("BEGIN; DELETE FROM traffic_leads WHERE id = '{LEAD}'; {} COMMIT", of_a_form(LEAD));
    traffic(&world, &format!("UPDATE traffic_lead_journey SET id = gen_random_uuid(); {again}")).await;
    carried(&world, &mut daemon).await;
    assert!(holds(&world.landing().await, "count(*) = 0 FROM landing_leads").await);
    assert_none_waits(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_on_landing_with_the_key_of_a_lead_of_traffics_own_is_left_alone_and_not_reported() {
    let world = World::new().await;
    world.fill(282, 5).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    tamper(&world, &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{OWN}', 'other', '1')"))
        .await;
    traffic(&world, &of_a_form(OWN)).await;
    traffic(&world, &format!("UPDATE traffic_leads SET name = 'changed' WHERE id = '{OWN}'")).await;
    carried(&world, &mut daemon).await;
    let other = format!("name = 'other' FROM landing_leads WHERE id = '{OWN}'");
    assert!(holds(&world.landing().await, &other).await);
    let found = compared(&world).await;
    assert!(found.iter().all(|table| table.differences() == 0), "{found:?}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_leaves_nothing_on_landing_whatever_traffics_own_code_writes_afterwards() {
    let world = World::new().await;
    world.fill(283, 20).await;
    let bridge = Bridge::new(&world).configured("[stream]\non_truncate = \"apply\"");
    let mut daemon = switched(&world, &bridge).await;
    traffic(&world, &format!("TRUNCATE traffic_leads CASCADE; {}", of_a_form(OWN))).await;
    carried(&world, &mut daemon).await;
    let rows = "SELECT (SELECT count(*) FROM landing_leads) + (SELECT count(*) FROM journey_stages)";
    assert_eq!(one::<i64>(&world.landing().await, rows).await, 0);
    assert_none_waits(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_leaves_traffics_own_leads_and_a_later_copy_keeps_them() {
    let mut setup = CutoverSetup::new().await;
    traffic(&setup.world, &of_a_form(OWN)).await;
    setup.switches(&[]).await;
    setup.flows_back().await;
    // A journey entry of Landing's passes to a lead of Traffic's own.
    let passes = format!(
        "{} UPDATE traffic_lead_journey SET lead_id = '{OWN}' WHERE id = (
             SELECT id FROM traffic_lead_journey WHERE landing_synced_at IS NOT NULL ORDER BY id LIMIT 1);
         {} UPDATE traffic_leads SET name = 'changed' WHERE id = '{OWN}'",
        of_a_form(LATER),
        born(BORN)
    );
    traffic(&setup.world, &passes).await;
    let certificate = setup.rolls_back(&[]).await;
    for table in certificate["tables"].as_array().unwrap() {
        assert_eq!(table["differences"], 0, "{table}");
        assert_eq!(table["landing_keys"], table["traffic_keys"], "{table}");
    }
    setup.assert_rolled_back().await;
    setup.daemon.terminate().await;
    let resynced = setup.bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}{}", resynced.out, resynced.err);
    let client = setup.world.traffic().await;
    let own = format!(
        "count(*) = 2 FROM traffic_leads WHERE id IN ('{OWN}', '{LATER}') AND landing_synced_at IS NULL"
    );
    assert!(holds(&client, &own).await);
    let journey = format!(
        "count(*) = 3 FROM traffic_lead_journey WHERE lead_id IN ('{OWN}', '{LATER}') AND landing_synced_at IS NULL"
    );
    assert!(holds(&client, &journey).await);
    assert!(
        holds(&client, &format!("landing_synced_at IS NOT NULL FROM traffic_leads WHERE id = '{BORN}'"))
            .await
    );
    let on_landing = "count(*) = 0 FROM landing_leads WHERE name IN ('form', 'changed')";
    assert!(holds(&setup.world.landing().await, on_landing).await);
    let verified = setup.bridge.run(&["verify"]).await;
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_backs_up_no_lead_of_traffics_own() {
    let setup = CutoverSetup::switched().await;
    traffic(&setup.world, &(of_a_form(OWN) + &born(BORN))).await;
    let CutoverSetup { world, bridge, mut daemon } = setup;
    carried(&world, &mut daemon).await;
    daemon.terminate().await;
    let said = bridge.run(&["finish", "--yes", "--json"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let certificate: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(certificate["reverse"]["left_behind"], 0);
    let leads = &certificate["backup"]["manifest"]["tables"][0]["rows"];
    assert_eq!(leads, &one::<i64>(&world.landing().await, "SELECT count(*) FROM landing_leads").await);
    let kept = format!("count(*) = 1 FROM traffic_leads WHERE id = '{OWN}'");
    assert!(holds(&world.traffic().await, &kept).await);
    // The trigger stays, because applications go on writing to Traffic.
    let derived = "INSERT INTO traffic_leads (landing_source) VALUES ('google') RETURNING funnel_type";
    assert_eq!(one::<String>(&world.traffic().await, derived).await, "express");
}
