//! Rows that Traffic cannot take, and values that the mapping has to change.

mod codes;
mod cost;
mod deferred;
mod deletes;
mod discarded;
mod functions;
mod keys;
mod left_out;
mod neighbours;
mod retry;
mod too_large;
mod without_lead;

use serde_json::Value;

use crate::testkit::{
    Bridge, Daemon, World, assert_equal, caught_up_and_equal, differences, holds, landing, one, said,
};

async fn quarantined(world: &World) -> Vec<(String, String)> {
    let sql = "SELECT source_table, sqlstate FROM leadbridge.quarantine WHERE discarded_at IS NULL
               ORDER BY source_table, sqlstate";
    let rows = world.traffic().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn streaming(world: &World) -> (Bridge, Daemon) {
    let bridge = Bridge::new(world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    (bridge, daemon)
}

fn pair(table: &str, sqlstate: &str) -> (String, String) {
    (table.to_owned(), sqlstate.to_owned())
}

const LONG: &str = "00000000-0000-0000-0000-00000000000a";

#[tokio::test(flavor = "multi_thread")]
async fn a_name_too_long_quarantines_the_lead_and_its_stages_and_a_good_change_frees_them_all() {
    let world = World::new().await;
    world.fill(30, 50).await;
    let (_bridge, mut daemon) = streaming(&world).await;
    landing(
        &world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone) VALUES ('{LONG}', repeat('Ә', 256), '1');
             INSERT INTO journey_stages (lead_id, stage) VALUES ('{LONG}', 'a'), ('{LONG}', 'b');
             UPDATE landing_leads SET click_count = 7 WHERE id <> '{LONG}'"
        ),
    )
    .await;
    landing(&world, &format!("INSERT INTO journey_stages (lead_id, stage) VALUES ('{LONG}', 'c')")).await;
    daemon.caught_up(&world).await;
    let stage = pair("lead_journey", "23503");
    assert_eq!(
        quarantined(&world).await,
        [pair("landing_leads", "22001"), stage.clone(), stage.clone(), stage]
    );
    assert_eq!(differences(&world).await.len(), 4, "everything else has arrived");
    daemon.until("status counts them", |status| status["quarantined"] == 4).await;
    // A change that leaves the row bad replaces the row's image; the entries go on waiting.
    landing(&world, &format!("UPDATE landing_leads SET phone = '2' WHERE id = '{LONG}'")).await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 4);
    assert!(
        holds(
            &world.traffic().await,
            "row_data ->> 'phone' = '2' FROM leadbridge.quarantine WHERE lead_id IS NULL"
        )
        .await
    );
    let untried = "bool_and(attempts = 1) FROM leadbridge.quarantine WHERE lead_id IS NOT NULL";
    assert!(holds(&world.traffic().await, untried).await, "their lead is not there, and they were tried");
    assert!(!daemon.log().contains("rows leave quarantine"), "{}", daemon.log());
    landing(&world, &format!("UPDATE landing_leads SET name = 'Әлия' WHERE id = '{LONG}'")).await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    assert!(daemon.log().contains("rows leave quarantine"), "{}", daemon.log());
    assert!(!daemon.log().contains("ӘӘ"), "a name was logged");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_on_traffic_quarantines_one_row_of_five_thousand_and_only_that() {
    let world = World::new().await;
    let (_bridge, mut daemon) = streaming(&world).await;
    let traffic = world.traffic().await;
    let check = "ALTER TABLE traffic_leads ADD CONSTRAINT no_bots CHECK (name <> 'bot')";
    traffic.batch_execute(check).await.unwrap();
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone)
             SELECT CASE n WHEN 3333 THEN 'bot' ELSE 'lead' END, n::text FROM generate_series(1, 5000) AS n",
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [pair("landing_leads", "23514")]);
    assert!(holds(&traffic, "count(*) = 4999 FROM traffic_leads").await);

    // A bad row's key changes; the key of a good row, which turns bad with the bad row, changes too.
    landing(&world, "UPDATE landing_leads SET id = gen_random_uuid() WHERE name = 'bot'").await;
    landing(&world, "UPDATE landing_leads SET id = gen_random_uuid(), name = 'bot' WHERE phone = '4444'")
        .await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 2);
    landing(&world, "UPDATE landing_leads SET name = 'person' WHERE name = 'bot'").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_whose_lead_was_deleted_on_traffic_by_hand_waits_for_it() {
    let world = World::new().await;
    world.fill(31, 20).await;
    let (_bridge, mut daemon) = streaming(&world).await;
    let lead: uuid::Uuid = one(&world.landing().await, "SELECT id FROM landing_leads LIMIT 1").await;
    let delete = format!("DELETE FROM traffic_leads WHERE id = '{lead}'");
    world.traffic().await.batch_execute(&delete).await.unwrap();
    landing(&world, &format!("DELETE FROM journey_stages WHERE lead_id = '{lead}'")).await;
    landing(&world, &format!("INSERT INTO journey_stages (lead_id, stage) VALUES ('{lead}', 'late')")).await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [pair("lead_journey", "23503")]);
    landing(&world, &format!("UPDATE landing_leads SET click_count = 9 WHERE id = '{lead}'")).await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    // A row that is deleted on Landing leaves quarantine.
    landing(&world, &format!("UPDATE landing_leads SET name = repeat('x', 300) WHERE id = '{lead}'")).await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 1);
    landing(&world, &format!("DELETE FROM landing_leads WHERE id = '{lead}'")).await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_shows_retries_and_discards() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    assert_eq!(bridge.run(&["quarantine", "list"]).await.out, "Quarantine is empty.\n");
    let traffic = world.traffic().await;
    let check = "ALTER TABLE traffic_leads ADD CONSTRAINT no_bots CHECK (name NOT LIKE 'bot%')";
    traffic.batch_execute(check).await.unwrap();
    landing(
        &world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone) VALUES ('{LONG}', 'bot 1', '1'), (gen_random_uuid(), 'bot 2', '2');
             INSERT INTO journey_stages (lead_id, stage) VALUES ('{LONG}', 'a')"
        ),
    )
    .await;
    daemon.caught_up(&world).await;
    let list = bridge.run(&["quarantine", "list"]).await;
    assert_eq!(list.code, 0, "{}", list.err);
    for word in [LONG, "landing_leads", "lead_journey", "23514", "23503"] {
        assert!(list.out.contains(word), "{word}: {}", list.out);
    }
    assert!(!list.out.contains("bot 1"), "a list shows no values");
    let id = |name: &str| {
        format!("SELECT id::text FROM leadbridge.quarantine WHERE row_data ->> 'name' = '{name}'")
    };
    let (first, second): (String, String) =
        (one(&traffic, &id("bot 1")).await, one(&traffic, &id("bot 2")).await);
    let shown = bridge.run(&["quarantine", "show", &first]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert!(shown.to_string().contains("bot 1"));

    // Nothing has changed: every row stays, and the exit code reports a failed check.
    let retried = bridge.run(&["quarantine", "retry"]).await;
    assert_eq!((retried.code, quarantined(&world).await.len()), (1, 3), "{}", retried.err);
    let unasked = bridge.run(&["quarantine", "discard", &second]).await;
    assert_ne!(unasked.code, 0, "without a terminal to ask on it needs --yes");
    let discarded = bridge.run(&["quarantine", "discard", &second, "--yes"]).await;
    assert_eq!((discarded.code, quarantined(&world).await.len()), (0, 2), "{}", discarded.err);
    let again = bridge.run(&["quarantine", "discard", &second, "--yes"]).await;
    assert_eq!(again.code, 4, "{}", again.err);
    traffic.batch_execute("ALTER TABLE traffic_leads DROP CONSTRAINT no_bots").await.unwrap();
    let retried = bridge.run(&["quarantine", "retry", &first]).await;
    assert_eq!((retried.code, quarantined(&world).await.len()), (0, 0), "its stage follows: {}", retried.err);
    // A discarded row returns with its next change.
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_keep_the_original_of_a_changed_value_until_the_value_is_good() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    landing(
        &world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone, source, amocrm_lead_id, metadata) VALUES ('{LONG}', 'n', '1',
                 repeat('ж', 60), '99999999999999999999', jsonb_build_object('utm_source', repeat('u', 101),
                 'funnel_type', 'webinar', 'fb_ad_id', repeat('f', 101)))"
        ),
    )
    .await;
    caught_up_and_equal(&world, &mut daemon).await;
    let notes = async || -> Vec<(String, String)> {
        let sql = "SELECT column_name, original FROM leadbridge.conversion_notes ORDER BY 1";
        let rows = world.traffic().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let noted = notes().await;
    let columns: Vec<_> = noted.iter().map(|(column, _)| column.as_str()).collect();
    assert_eq!(columns, ["amocrm_lead_id", "fb_ad_id", "funnel_type", "source", "utm_source"]);
    assert_eq!(noted[0].1, "99999999999999999999");
    let status = daemon.until("status counts them", |status| status["conversion_notes"] == 5).await;
    assert_eq!(status["quarantined"], 0);
    landing(&world, "UPDATE landing_leads SET amocrm_lead_id = '5', source = 'x'").await;
    daemon.caught_up(&world).await;
    assert_eq!(notes().await.len(), 3);
    landing(&world, "UPDATE landing_leads SET metadata = '{}'").await;
    daemon.caught_up(&world).await;
    assert_eq!(notes().await, []);
    let command = daemon.command(&bridge, &["status"]);
    assert_eq!(said(command).await.code, 0);
    daemon.terminate().await;
}
