//! Each kind of change of a row, in reverse replication.

use uuid::Uuid;

use super::exact::assert_back;
use super::switch::{carried, switch};
use crate::testkit::{Bridge, Daemon, World, holds, landing, one, traffic, until_holds};

const LEAD: &str = "00000000-0000-0000-0000-00000000000a";
const BORN: &str = "00000000-0000-0000-0000-00000000000b";
const BORN_BEFORE: &str = "00000000-0000-0000-0000-00000000000c";
const SPELLED: &str = "00000000-0000-0000-0000-00000000000d";

pub async fn switched(world: &World, bridge: &Bridge) -> Daemon {
    bridge.catch_up().await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(world).await;
    switch(world, bridge).await;
    carried(world, &mut daemon).await;
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_streams_turns_round_by_itself_and_carries_every_column_back() {
    let world = World::new().await;
    crate::testkit::repeat_numbers(&world).await;
    world.fill(200, 60).await;
    let lead = format!(
        "INSERT INTO landing_leads (id, name, phone, source, metadata)
             VALUES ('{LEAD}', 'n', '8 701', 'twland', '{{\"utmParams\": {{\"utm_source\": \"old\"}}}}')"
    );
    landing(&world, &lead).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
    for set in [
        "email = 'new@b.kz', name = 'Әсем', phone = '+7 702', phone_normalized = '+7702'",
        "source = 'google', landing_source = 'google'",
        "utm_source = 'new', utm_term = 'ы \"quoted\"', funnel_type = 'challenge3d'",
        "amocrm_lead_id = 42, amocrm_contact_id = NULL, amocrm_synced = true",
        "email_sent = true, sms_clicked = true, sms_clicked_at = now(), click_count = 7",
        "fb_ad_id = '7', fb_lead_id = 'x'",
        "metadata = metadata || '{\"answer\": [1, 2.50]}'",
        "created_at = '2020-02-02 00:00:00.5+06'",
        "status = 'converted', amocrm_status_id = 3",
    ] {
        traffic(&world, &format!("UPDATE traffic_leads SET {set} WHERE id = '{LEAD}'")).await;
        traffic(&world, &format!("UPDATE traffic_leads SET {set} WHERE left(id::text, 1) = '3'")).await;
        carried(&world, &mut daemon).await;
        assert_back(&world, &[]).await;
    }
    let client = world.landing().await;
    let normalized = format!("phone_normalized = '+7702' FROM landing_leads WHERE id = '{LEAD}'");
    assert!(holds(&client, &normalized).await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_and_stages_that_are_born_changed_and_deleted_on_traffic_follow() {
    let world = World::new().await;
    world.fill(201, 30).await;
    let born_before = format!(
        "INSERT INTO traffic_leads (id, name, phone, landing_source)
             VALUES ('{BORN_BEFORE}', 'b', '1', 'twland');
         INSERT INTO traffic_lead_journey (id, lead_id, stage, created_at)
             VALUES ('{BORN_BEFORE}', '{BORN_BEFORE}', 'before', now())"
    );
    traffic(&world, &born_before).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let before: Uuid = BORN_BEFORE.parse().unwrap();
    assert_back(&world, &[before]).await;
    let born = format!(
        "BEGIN;
         INSERT INTO traffic_leads (id, phone, landing_source, utm_source, funnel_type)
             VALUES ('{BORN}', '2', 'twland', 'alex', 'intensive1d');
         INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES ('{BORN}', 's', now());
         COMMIT"
    );
    traffic(&world, &born).await;
    // A journey entry brings its lead along; the other entry from before the switch did not change.
    let stage = format!(
        "INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES ('{BORN_BEFORE}', 'after', now())"
    );
    traffic(&world, &stage).await;
    carried(&world, &mut daemon).await;
    let client = world.landing().await;
    let there = format!("count(*) = 2 FROM landing_leads WHERE id IN ('{BORN}', '{BORN_BEFORE}')");
    assert!(holds(&client, &there).await);
    // The column on Landing is NOT NULL.
    assert!(holds(&client, &format!("name = '' FROM landing_leads WHERE id = '{BORN}'")).await);
    traffic(&world, &format!("UPDATE traffic_leads SET name = 'named' WHERE id = '{BORN}'")).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[before]).await;
    // Deletes, with Traffic's cascades and Landing's own.
    let gone = "DELETE FROM traffic_leads WHERE left(id::text, 1) IN ('1', '2', '3');
                DELETE FROM traffic_lead_journey WHERE left(id::text, 1) IN ('4', '5');
                DELETE FROM traffic_leads WHERE id = ";
    traffic(&world, &format!("{gone} '{BORN}'")).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[before]).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_and_a_row_deleted_and_born_again_keep_their_stages() {
    let world = World::new().await;
    let lead = format!(
        "INSERT INTO landing_leads (id, name, phone) VALUES ('{LEAD}', 'a', '1'), ('{SPELLED}', 'd', '2');
         INSERT INTO journey_stages (lead_id, stage) VALUES ('{LEAD}', 's'), ('{SPELLED}', 't')"
    );
    landing(&world, &lead).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let moved = format!(
        "BEGIN;
         INSERT INTO traffic_leads (id, name, phone, landing_source)
             VALUES ('{BORN}', 'a', '1', 'twland');
         UPDATE traffic_lead_journey SET lead_id = '{BORN}' WHERE lead_id = '{LEAD}';
         DELETE FROM traffic_leads WHERE id = '{LEAD}';
         COMMIT;
         UPDATE traffic_lead_journey SET id = gen_random_uuid();
         UPDATE traffic_leads SET id = '{BORN_BEFORE}' WHERE id = '{SPELLED}'
             AND NOT EXISTS (SELECT FROM traffic_lead_journey WHERE lead_id = '{SPELLED}');
         BEGIN;
         DELETE FROM traffic_leads WHERE id = '{SPELLED}';
         INSERT INTO traffic_leads (id, name, phone, landing_source)
             VALUES ('{SPELLED}', 'again', '3', 'twland');
         COMMIT"
    );
    traffic(&world, &moved).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    assert!(holds(&world.landing().await, "count(*) = 1 FROM journey_stages").await);
    traffic(&world, &format!("UPDATE traffic_leads SET id = '{LEAD}' WHERE id = '{SPELLED}'")).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_writes_nothing_and_landing_keeps_its_own_spelling() {
    let world = World::new().await;
    let lead = format!(
        "INSERT INTO landing_leads (id, name, phone, phone_normalized, source, metadata, amocrm_lead_id,
             amocrm_contact_id, amocrm_synced, email_sent, click_count)
         VALUES ('{SPELLED}', 'n', '8 701', 'stale', NULL,
             jsonb_build_object('utmSource', 'a', 'big', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 300) g)),
             '007', 'n/a', NULL, NULL, NULL);
         INSERT INTO journey_stages (id, lead_id, stage) VALUES ('{SPELLED}', '{SPELLED}', 's')"
    );
    landing(&world, &lead).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let client = world.landing().await;
    let versions = "SELECT (SELECT string_agg(xmin::text || updated_at, ',') FROM landing_leads)
                        || (SELECT string_agg(xmin::text, ',') FROM journey_stages)";
    let before: String = one(&client, versions).await;
    // The user-defined trigger is off, because the trigger would stamp updated_at.
    let same = "SET session_replication_role = replica;
                UPDATE traffic_leads SET status = 'contacted', name = name, click_count = 0, amocrm_lead_id = 7;
                UPDATE traffic_lead_journey SET stage = stage";
    traffic(&world, same).await;
    carried(&world, &mut daemon).await;
    assert_eq!(one::<String>(&client, versions).await, before);
    // A change of another column leaves every spelling, and leaves the large value in place.
    let chunks = "SELECT string_agg(DISTINCT chunk_id::text, ',') FROM ".to_owned()
        + &one::<String>(
            &client,
            "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'landing_leads'::regclass",
        )
        .await;
    let stored: String = one(&client, &chunks).await;
    traffic(&world, "UPDATE traffic_leads SET sms_sent = true").await;
    carried(&world, &mut daemon).await;
    let spelled =
        "source IS NULL AND amocrm_lead_id = '007' AND amocrm_contact_id = 'n/a' AND amocrm_synced IS NULL
                   AND email_sent IS NULL AND click_count IS NULL AND phone_normalized = 'stale' AND sms_sent
                   FROM landing_leads";
    assert!(holds(&client, spelled).await);
    assert_eq!(one::<String>(&client, &chunks).await, stored, "the large value was written again");
    assert_back(&world, &[]).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_the_stream_does_not_send_is_carried_whole() {
    let world = World::new().await;
    world.fill(202, 10).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let large = "jsonb_build_object('funnel_type', 'intensive1d', 'big',
                     (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 900) g))";
    traffic(&world, &format!("UPDATE traffic_leads SET metadata = {large}, funnel_type = 'intensive1d'"))
        .await;
    traffic(&world, "UPDATE traffic_leads SET click_count = click_count + 1").await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_never_carried_as_it_was_before_the_change_that_asked_for_it() {
    let world = World::new().await;
    world.fill(206, 10).await;
    let bridge = Bridge::new(&world).configured("[stream]\ncheckpoint_interval = \"1h\"");
    let mut daemon = switched(&world, &bridge).await;
    // A commit that waits for a standby is streamed already, but no other session sees the commit.
    traffic(&world, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    traffic(&world, "SELECT pg_reload_conf()").await;
    let change = traffic(&world, "UPDATE traffic_leads SET click_count = 77");
    let release = async {
        let client = world.traffic().await;
        until_holds(&client, "count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
        let waits = "count(*) = 1 FROM pg_stat_activity WHERE application_name = 'leadbridge apply'
                     AND query LIKE '%pg_visible_in_snapshot%'";
        until_holds(&client, waits).await;
        client.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    tokio::join!(change, release);
    carried(&world, &mut daemon).await;
    assert!(holds(&world.landing().await, "bool_and(click_count = 77) FROM landing_leads").await);
    assert_back(&world, &[]).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_larger_than_a_load_is_seen_whole_or_not_at_all() {
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 40");
    let daemon = switched(&world, &bridge).await;
    daemon.terminate().await;
    let many = "INSERT INTO traffic_leads (name, phone, landing_source)
                    SELECT 'n' || n, n::text, 'twland' FROM generate_series(1, 500) AS n;
                INSERT INTO traffic_lead_journey (lead_id, stage, created_at) SELECT id, 's', now() FROM traffic_leads";
    traffic(&world, &format!("BEGIN; {many}; COMMIT")).await;
    let client = world.landing().await;
    let mut seen = Vec::new();
    let catching_up = bridge.run(&["run", "--until-caught-up"]);
    tokio::pin!(catching_up);
    let said = loop {
        tokio::select! {
            said = &mut catching_up => break said,
            count = one::<i64>(&client, "SELECT count(*) FROM landing_leads") => seen.push(count),
        }
    };
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(seen.iter().all(|count| [0, 500].contains(count)), "{seen:?}");
    assert_back(&world, &[]).await;
}
