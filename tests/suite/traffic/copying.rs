//! Rows inserted by COPY: a row that a COPY does not take is written or quarantined as without COPY.

use uuid::Uuid;

use crate::testkit::{
    Bridge, World, assert_equal, at_each_insert, differences_beside_quarantine, holds, landing,
    least_privileged, one, traffic,
};

const BORN_HERE: &str = "00000000-0000-0000-0000-00000000000a";

/// From now on Traffic records the kind of statement that inserts rows into a table, for any role.
async fn watch_statements(world: &World) {
    traffic(world, "CREATE TABLE public.came_by (relation text, statement text)").await;
    let note = "INSERT INTO public.came_by
        VALUES (TG_RELNAME, pg_catalog.left(pg_catalog.current_query(), 4))";
    at_each_insert(world, note).await;
}

/// `leads COPY, stages COPY`, for the commits since the last call.
async fn statements(world: &World) -> String {
    let client = world.traffic().await;
    let sql = "SELECT coalesce(string_agg(DISTINCT CASE relation WHEN 'traffic_leads' THEN 'leads ' ELSE 'stages ' END
        || statement, ', '), '') FROM came_by";
    let seen = one(&client, sql).await;
    client.batch_execute("TRUNCATE came_by").await.unwrap();
    seen
}

async fn quarantined(world: &World) -> Vec<(String, String)> {
    let sql = "SELECT source_table, sqlstate FROM leadbridge.quarantine ORDER BY source_table, sqlstate";
    let rows = world.traffic().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn pair(table: &str, sqlstate: &str) -> (String, String) {
    (table.to_owned(), sqlstate.to_owned())
}

/// Leads with a journey entry each, in one transaction: enough rows to make a COPY worth its round trips.
async fn three_hundred_leads(world: &World, source: &str) {
    let sql = format!(
        "WITH made AS (INSERT INTO landing_leads (name, phone, source)
             SELECT 'n' || i, i::text, '{source}' FROM generate_series(1, 300) AS i RETURNING id)
         INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM made"
    );
    landing(world, &sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_into_tables_without_rows_from_landing_is_copied_and_a_second_one_merged() {
    let world = World::new().await;
    world.fill(120, 300).await;
    traffic(&world, "INSERT INTO traffic_leads (name, phone) VALUES ('born here', '1')").await;
    watch_statements(&world).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 70");
    bridge.catch_up().await;
    assert_eq!(statements(&world).await, "leads COPY, stages COPY");
    assert_equal(&world).await;
    assert!(
        holds(&world.traffic().await, "count(*) = 1 FROM traffic_leads WHERE landing_synced_at IS NULL")
            .await
    );
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    assert!(!statements(&world).await.contains("COPY"), "their keys are there");
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_born_on_traffic_under_a_key_of_landings_is_merged_where_the_others_are_copied() {
    let world = World::new().await;
    world.fill(121, 300).await;
    let known: Uuid =
        one(&world.landing().await, "SELECT lead_id FROM journey_stages ORDER BY lead_id LIMIT 1").await;
    let born = format!("INSERT INTO traffic_leads (id, name, status) VALUES ('{known}', 'old', 'lost')");
    traffic(&world, &born).await;
    watch_statements(&world).await;
    let bridge =
        Bridge::new(&world).configured("[stream]\nbatch_rows = 70\n[snapshot]\nsame_id = \"landing\"");
    bridge.catch_up().await;
    assert_eq!(statements(&world).await, "leads COPY, leads WITH, stages COPY", "one batch falls back");
    assert_equal(&world).await;
    let kept =
        format!("status = 'lost' AND landing_synced_at IS NOT NULL FROM traffic_leads WHERE id = '{known}'");
    assert!(holds(&world.traffic().await, &kept).await);

    // The same in the stream, with a row of Traffic's own under the same key.
    let born =
        format!("INSERT INTO traffic_leads (id, name, status) VALUES ('{BORN_HERE}', 'old', 'qualified')");
    traffic(&world, &born).await;
    statements(&world).await;
    let same = format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{BORN_HERE}', 'new', '2')");
    landing(&world, &same).await;
    three_hundred_leads(&world, "twland").await;
    bridge.catch_up().await;
    assert_eq!(statements(&world).await, "leads WITH, stages WITH", "the batch falls back as a whole");
    assert_equal(&world).await;
    let kept = format!("status = 'qualified' AND name = 'new' FROM traffic_leads WHERE id = '{BORN_HERE}'");
    assert!(holds(&world.traffic().await, &kept).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_only_the_server_refuses_are_quarantined_and_their_neighbours_arrive() {
    let world = World::new().await;
    world.fill(122, 200).await;
    traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT c CHECK (click_count <> 77)").await;
    let bad: Uuid =
        one(&world.landing().await, "SELECT lead_id FROM journey_stages ORDER BY lead_id LIMIT 1").await;
    // Without numbers the lead leaves no notes that its quarantine would explain.
    let spoil = "click_count = 77, amocrm_lead_id = NULL, amocrm_contact_id = NULL, metadata = '{}'";
    landing(&world, &format!("UPDATE landing_leads SET {spoil} WHERE id = '{bad}'")).await;
    let stages: i64 =
        one(&world.landing().await, &format!("SELECT count(*) FROM journey_stages WHERE lead_id = '{bad}'"))
            .await;
    watch_statements(&world).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 70");
    bridge.catch_up().await;
    assert!(statements(&world).await.contains("leads COPY"));
    // The lead's entries have no lead on Traffic: no entry was copied.
    let here = quarantined(&world).await;
    assert!(here.contains(&pair("landing_leads", "23514")), "{here:?}");
    let orphans = here.iter().filter(|row| **row == pair("lead_journey", "23503")).count();
    assert!(orphans as i64 >= stages && stages > 0, "{here:?}");
    // The oracle does not know of the constraint: the oracle misses only this lead.
    let missed = differences_beside_quarantine(&world).await;
    assert!(missed.len() == 2 && missed.iter().all(|what| what.contains(&bad.to_string())), "{missed:?}");

    // In the stream: one bad lead among many new leads, with its entry.
    three_hundred_leads(&world, "twland").await;
    landing(
        &world,
        "WITH made AS (INSERT INTO landing_leads (name, phone, click_count) VALUES ('bad', '7', 77) RETURNING id)
         INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM made",
    )
    .await;
    let before = here.len();
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await.len(), before + 2);
    assert_eq!(differences_beside_quarantine(&world).await.len(), 4, "the two that the constraint refuses");
    // A row that is repaired on Landing leaves quarantine, together with its entries.
    landing(&world, "UPDATE landing_leads SET click_count = 1 WHERE click_count = 77").await;
    bridge.catch_up().await;
    assert!(!quarantined(&world).await.contains(&pair("landing_leads", "23514")));
    assert_eq!(differences_beside_quarantine(&world).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_triggers_run_for_replicated_rows_nothing_is_copied() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    traffic(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
    world.fill(123, 100).await;
    watch_statements(&world).await;
    bridge.catch_up().await;
    three_hundred_leads(&world, "twland").await;
    bridge.catch_up().await;
    assert!(!statements(&world).await.contains("COPY"));
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_least_privilege_may_copy() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    world.fill(124, 100).await;
    watch_statements(&world).await;
    bridge.catch_up().await;
    assert_eq!(statements(&world).await, "leads COPY, stages COPY");
    three_hundred_leads(&world, "twland").await;
    bridge.catch_up().await;
    assert_eq!(statements(&world).await, "leads COPY, stages COPY");
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_given_another_shape_is_no_longer_copied_into() {
    let world = World::new().await;
    world.fill(125, 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    watch_statements(&world).await;
    three_hundred_leads(&world, "before").await;
    daemon.caught_up(&world).await;
    assert_eq!(statements(&world).await, "leads COPY, stages COPY");
    // The four bytes of an integer are not a valid bigint.
    let wider =
        "DROP VIEW v_traffic_leads_with_journey; ALTER TABLE traffic_leads ALTER click_count TYPE bigint";
    traffic(&world, wider).await;
    three_hundred_leads(&world, "after").await;
    landing(&world, "UPDATE landing_leads SET click_count = 1234567 WHERE source = 'after'").await;
    let more = "INSERT INTO landing_leads (name, phone, source, click_count)
        SELECT 'n', i::text, 'after', 7000 + i FROM generate_series(1, 300) AS i";
    landing(&world, more).await;
    daemon.caught_up(&world).await;
    assert!(!statements(&world).await.contains("leads COPY"));
    assert_equal(&world).await;
    let numbers = "count(*) = 300 FROM traffic_leads WHERE click_count BETWEEN 7001 AND 7300";
    assert!(holds(&world.traffic().await, numbers).await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_that_no_calendar_has_are_written_as_the_server_reads_them() {
    let world = World::new().await;
    world.fill(126, 50).await;
    let moments =
        "INSERT INTO landing_leads (name, phone, created_at, email_clicked_at, sms_clicked_at) VALUES
        ('a', '1', '0044-03-15 12:00 BC', 'infinity', NULL), ('b', '2', '20000-01-01', '-infinity', now())";
    landing(&world, moments).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_rows_that_went_away_are_gone_after_the_tables_are_copied_into_again() {
    let world = World::new().await;
    world.fill(127, 100).await;
    crate::testkit::repeat_numbers(&world).await;
    landing(&world, "UPDATE landing_leads SET amocrm_lead_id = 'no number'").await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let noted = "count(*) > 0 FROM leadbridge.conversion_notes WHERE column_name = 'amocrm_lead_id'";
    assert!(holds(&world.traffic().await, noted).await);
    traffic(&world, "TRUNCATE traffic_leads CASCADE").await;
    landing(&world, "UPDATE landing_leads SET amocrm_lead_id = '5'").await;
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    assert!(!holds(&world.traffic().await, noted).await);
    assert_equal(&world).await;
}
