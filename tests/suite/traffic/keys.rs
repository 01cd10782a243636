//! Deletes, changed keys, TRUNCATE, and transactions larger than a batch.

use std::time::Duration;

use crate::testkit::{
    Bridge, World, assert_equal, caught_up_and_equal, holds, landing, least_privileged, one, traffic,
    until_holds,
};

/// A sale and a status of Traffic's own for each lead.
const OWN: &str = "INSERT INTO traffic_sales (lead_id, amount) SELECT id, 5 FROM traffic_leads;
    INSERT INTO challenge3d_sales (lead_id, amount) SELECT id, 6 FROM traffic_leads;
    UPDATE traffic_leads SET status = 'qualified'";

/// Two keys are exchanged through a third key, in one transaction.
const SWAPPED_KEYS: &str = "CREATE TEMP TABLE two AS SELECT array_agg(id ORDER BY id) AS id FROM (
             SELECT l.id FROM landing_leads AS l WHERE NOT EXISTS (
                 SELECT FROM journey_stages AS j WHERE j.lead_id = l.id) ORDER BY l.id LIMIT 2) AS x;
         BEGIN;
         UPDATE landing_leads SET id = '00000000-0000-0000-0000-0000000000ff' FROM two WHERE landing_leads.id = two.id[1];
         UPDATE landing_leads SET id = two.id[1] FROM two WHERE landing_leads.id = two.id[2];
         UPDATE landing_leads SET id = two.id[2] FROM two
             WHERE landing_leads.id = '00000000-0000-0000-0000-0000000000ff';
         COMMIT";

#[tokio::test(flavor = "multi_thread")]
async fn deletes_cascade_to_traffics_own_rows_and_changed_keys_keep_them() {
    let world = World::new().await;
    deletes_and_keys(&world, &Bridge::new(&world)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_changed_keys_do_the_same_where_triggers_cannot_be_switched_off() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    traffic(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
    deletes_and_keys(&world, &bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_takes_the_schools_own_columns_along_whatever_fills_them() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    // Under a role without the right to switch foreign key checks off.
    traffic(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
    world.fill(43, 10).await;
    traffic(
        &world,
        "ALTER TABLE traffic_leads ADD COLUMN digits int GENERATED ALWAYS AS (length(phone)) STORED,
             ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY, ADD COLUMN gone int, ADD COLUMN \"Note\" text;
         ALTER TABLE traffic_leads DROP COLUMN gone",
    )
    .await;
    bridge.catch_up().await;
    traffic(&world, "UPDATE traffic_leads SET \"Note\" = name || number").await;
    let kept = "SELECT string_agg(digits || ' ' || number || ' ' || \"Note\", ',' ORDER BY number) FROM traffic_leads";
    let before: String = one(&world.traffic().await, kept).await;
    landing(
        &world,
        "DELETE FROM journey_stages; UPDATE landing_leads SET id = gen_random_uuid(), click_count = 5",
    )
    .await;
    bridge.catch_up().await;
    assert_equal(&world).await;
    assert_eq!(one::<String>(&world.traffic().await, kept).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_keeps_what_traffic_owns_beside_unique_indexes_and_whatever_refers_to_the_lead() {
    for switches_triggers_off in [true, false] {
        let world = World::new().await;
        let bridge = least_privileged(&world).await;
        if !switches_triggers_off {
            traffic(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
        }
        landing(
            &world,
            "INSERT INTO landing_leads (name, phone) SELECT 'n', n::text FROM generate_series(1, 10) AS n",
        )
        .await;
        bridge.catch_up().await;
        traffic(
            &world,
            "CREATE UNIQUE INDEX ON traffic_leads (phone);
             ALTER TABLE traffic_leads ADD tenant int DEFAULT 1, ADD merged_into uuid REFERENCES traffic_leads,
                 ADD UNIQUE (tenant, id);
             CREATE TABLE deals (tenant int DEFAULT 1, lead_id uuid, second uuid REFERENCES traffic_leads ON UPDATE RESTRICT,
                 FOREIGN KEY (tenant, lead_id) REFERENCES traffic_leads (tenant, id) ON UPDATE SET NULL);
             GRANT SELECT, UPDATE ON deals TO bridge;
             INSERT INTO deals (lead_id, second) SELECT id, id FROM traffic_leads;
             SET session_replication_role = replica; UPDATE traffic_leads SET merged_into = id",
        )
        .await;
        traffic(&world, OWN).await;
        landing(&world, "UPDATE landing_leads SET id = gen_random_uuid(), name = 'm'").await;
        bridge.catch_up().await;
        assert_equal(&world).await;
        let own = world.traffic().await;
        assert!(holds(&own, "count(*) = 0 FROM leadbridge.quarantine").await);
        let kept = "count(*) = 10 FROM traffic_leads AS l JOIN traffic_sales AS s ON s.lead_id = l.id
            JOIN deals AS d ON (d.tenant, d.lead_id, d.second) = (l.tenant, l.id, l.id)
            WHERE l.status = 'qualified' AND l.merged_into = l.id";
        assert!(holds(&own, kept).await, "{switches_triggers_off}");
    }
}

async fn deletes_and_keys(world: &World, bridge: &Bridge) {
    world.fill(40, 60).await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    traffic(world, OWN).await;
    let own = world.traffic().await;

    landing(
        world,
        "DELETE FROM landing_leads WHERE id IN (SELECT id FROM landing_leads ORDER BY id LIMIT 10)",
    )
    .await;
    landing(world, "UPDATE landing_leads SET click_count = 77").await;
    caught_up_and_equal(world, &mut daemon).await;
    for sales in ["traffic_sales", "challenge3d_sales"] {
        assert!(holds(&own, &format!("count(*) = 10 FROM {sales} WHERE lead_id IS NULL")).await, "{sales}");
    }
    // A key changes, together with the entries' references, as Landing's own foreign key demands.
    landing(
        world,
        "BEGIN;
         ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_lead_id_fkey;
         UPDATE journey_stages SET lead_id = md5(lead_id::text)::uuid;
         UPDATE landing_leads SET id = md5(id::text)::uuid, click_count = 78;
         ALTER TABLE journey_stages ADD CONSTRAINT journey_stages_lead_id_fkey
             FOREIGN KEY (lead_id) REFERENCES landing_leads (id) ON DELETE CASCADE;
         COMMIT",
    )
    .await;
    caught_up_and_equal(world, &mut daemon).await;
    let kept = "count(*) = 50 FROM traffic_leads AS l JOIN traffic_sales AS s ON s.lead_id = l.id
        JOIN challenge3d_sales AS c ON c.lead_id = l.id WHERE l.status = 'qualified'";
    assert!(holds(&own, kept).await, "a changed key lost what Traffic owns");
    // The key of a journey entry itself changes.
    landing(world, "UPDATE journey_stages SET id = gen_random_uuid(), stage = 'renamed'").await;
    caught_up_and_equal(world, &mut daemon).await;

    // Deleted and inserted again: a new lead under an old id, in one transaction and in two.
    let again = "CREATE TEMP TABLE kept AS SELECT * FROM landing_leads ORDER BY id LIMIT 5;
         BEGIN; DELETE FROM landing_leads WHERE id IN (SELECT id FROM kept);
         INSERT INTO landing_leads SELECT * FROM kept; COMMIT; DROP TABLE kept";
    landing(world, again).await;
    landing(
        world,
        &again.replace("BEGIN;", "").replace("COMMIT;", "").replace("LIMIT 5", "OFFSET 5 LIMIT 5"),
    )
    .await;
    caught_up_and_equal(world, &mut daemon).await;
    assert!(holds(&own, "count(*) = 10 FROM traffic_leads WHERE status = 'new'").await);
    assert!(holds(&own, "count(*) = 20 FROM traffic_sales WHERE lead_id IS NULL").await);
    landing(world, SWAPPED_KEYS).await;
    caught_up_and_equal(world, &mut daemon).await;
    assert!(holds(&own, "count(*) = 0 FROM leadbridge.quarantine").await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_stops_with_exit_4_and_applied_it_deletes_only_what_came_from_landing() {
    let world = World::new().await;
    world.fill(41, 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    traffic(&world, "INSERT INTO traffic_leads (name, fb_lead_id) VALUES ('born here', 'fb-1')").await;
    traffic(&world, OWN).await;
    landing(
        &world,
        "TRUNCATE landing_leads CASCADE; INSERT INTO landing_leads (name, phone) VALUES ('after', '1')",
    )
    .await;
    let ended = daemon.ended(Duration::from_secs(20)).await;
    assert_eq!(ended.code(), Some(4), "{}", daemon.log());
    assert!(daemon.log().contains("TRUNCATE") && daemon.log().contains("on_truncate"), "{}", daemon.log());
    assert!(holds(&world.traffic().await, "count(*) = 51 FROM traffic_leads").await);
    // A restart does not skip the TRUNCATE either.
    assert_eq!(bridge.run(&["run", "--until-caught-up"]).await.code, 4);

    let bridge = bridge.configured("[stream]\non_truncate = \"apply\"");
    bridge.catch_up().await;
    assert_equal(&world).await;
    let own = "count(*) = 1 FROM traffic_leads AS l JOIN traffic_sales AS s ON s.lead_id = l.id
        WHERE l.landing_synced_at IS NULL AND l.fb_lead_id = 'fb-1'";
    assert!(holds(&world.traffic().await, own).await);
    assert!(holds(&world.traffic().await, "count(*) = 50 FROM traffic_sales WHERE lead_id IS NULL").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facebook_key_that_landing_drops_is_kept_however_the_changes_fall_into_batches() {
    let changes = [
        "INSERT INTO landing_leads (name, phone, metadata) SELECT 'n', n::text,
             jsonb_build_object('fb_ad_id', n, 'fb_form_id', 'f', 'utm_source', 'u') FROM generate_series(1, 30) AS n",
        "UPDATE landing_leads SET metadata = metadata - 'fb_ad_id' - 'utm_source' WHERE phone::int % 3 > 0",
        "UPDATE landing_leads SET metadata = NULL WHERE phone::int % 3 > 1",
        "UPDATE landing_leads SET name = 'm'",
    ];
    for rows in [1, 5000] {
        let world = World::new().await;
        let bridge = Bridge::new(&world).configured(&format!("[stream]\nbatch_rows = {rows}"));
        bridge.catch_up().await;
        landing(&world, &changes.join(";")).await;
        for transaction in changes {
            landing(&world, transaction).await;
        }
        bridge.catch_up().await;
        assert_equal(&world).await;
        let kept = "count(*) = 60 AND bool_and((fb_ad_id, fb_form_id) IS NOT DISTINCT FROM (phone, 'f')) FROM traffic_leads";
        assert!(holds(&world.traffic().await, kept).await, "in batches of {rows}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_larger_than_a_batch_is_never_seen_in_part() {
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 10");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let observer = world.traffic().await;
    let observe = async {
        let mut looks = 0_u32;
        loop {
            let seen: i64 = one(&observer, "SELECT count(*) FROM traffic_leads").await;
            assert_eq!(seen % 700, 0, "a part of a transaction is seen");
            looks += 1;
            if seen == 2100 {
                return looks;
            }
        }
    };
    let write = async {
        for _ in 0..3 {
            let sql = "INSERT INTO landing_leads (name, phone) SELECT 'n', n::text FROM generate_series(1, 700) AS n";
            landing(&world, sql).await;
        }
    };
    let both = async { tokio::join!(observe, write).0 };
    let looks = tokio::time::timeout(Duration::from_secs(60), both).await.expect("all arrive");
    assert!(looks > 3, "{looks}");
    caught_up_and_equal(&world, &mut daemon).await;

    // Killed midway, the transaction leaves no effect.
    let mut locker = world.traffic().await;
    let lock = locker.transaction().await.unwrap();
    let last =
        "SELECT FROM traffic_leads WHERE id = (SELECT max(id::text)::uuid FROM traffic_leads) FOR UPDATE";
    lock.query(last, &[]).await.unwrap();
    landing(
        &world,
        "CREATE TEMP TABLE o AS SELECT id FROM landing_leads ORDER BY id;
         DO $$ DECLARE i uuid; BEGIN FOR i IN SELECT id FROM o ORDER BY id LOOP
             UPDATE landing_leads SET click_count = 99 WHERE id = i; END LOOP; END $$",
    )
    .await;
    until_holds(&observer, "count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").await;
    daemon.kill().await;
    lock.rollback().await.unwrap();
    let idle =
        "count(*) = 0 FROM pg_stat_activity WHERE state <> 'idle' AND application_name LIKE 'leadbridge%'";
    until_holds(&observer, idle).await;
    assert!(holds(&observer, "count(*) = 0 FROM traffic_leads WHERE click_count = 99").await);
    bridge.catch_up().await;
    assert_equal(&world).await;
}
