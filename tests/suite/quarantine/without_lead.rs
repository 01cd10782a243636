//! Journey entries without a lead on Traffic: entries that name no lead, and entries that Landing kept after deleting
//! their lead without its cascade.

use super::{pair, quarantined, streaming};
use crate::testkit::{Bridge, Daemon, World, assert_equal, holds, landing, one, traffic};

const LEAD: &str = "00000000-0000-0000-0000-00000000000a";

const NULLABLE: &str = "ALTER TABLE journey_stages ALTER lead_id DROP NOT NULL";

async fn all_wait(world: &World, daemon: &mut Daemon, entries: usize) {
    daemon.caught_up(world).await;
    assert_eq!(quarantined(world).await, vec![pair("lead_journey", "23503"); entries]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_names_no_lead_waits_in_copy_and_stream_and_leaves_when_it_names_one() {
    let world = World::new().await;
    world.fill(40, 50).await;
    landing(&world, NULLABLE).await;
    landing(&world, "INSERT INTO journey_stages (stage) VALUES ('copied')").await;
    let (bridge, mut daemon) = streaming(&world).await;
    all_wait(&world, &mut daemon, 1).await;
    // A small transaction, which is pipelined, and a transaction that is large enough for a COPY.
    landing(&world, "INSERT INTO journey_stages (stage) VALUES ('small')").await;
    all_wait(&world, &mut daemon, 2).await;
    let large = "WITH made AS (INSERT INTO landing_leads (name, phone) SELECT 'n', n::text
            FROM generate_series(1, 300) AS n RETURNING id)
        INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM made UNION ALL SELECT NULL, 'large'";
    landing(&world, large).await;
    all_wait(&world, &mut daemon, 3).await;
    let named = "count(*) = 300 FROM traffic_lead_journey WHERE stage = 's'";
    assert!(holds(&world.traffic().await, named).await, "its neighbours arrive");
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 1);
    all_wait(&world, &mut daemon, 3).await;
    // A comparison counts the entries as quarantined.
    let verified = bridge.run(&["verify", "--json", "--table", "journey_stages"]).await;
    assert!(
        verified.out.contains("\"quarantined\":3") || verified.out.contains("\"quarantined\": 3"),
        "{}",
        verified.out
    );
    landing(
        &world,
        "UPDATE journey_stages SET lead_id = (SELECT id FROM landing_leads LIMIT 1) WHERE lead_id IS NULL",
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    daemon.terminate().await;
}

/// A lead with three entries, and other leads.
async fn lead_with_entries(world: &World) {
    landing(
        world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone) VALUES ('{LEAD}', 'n', '1'), (gen_random_uuid(), 'm', '2');
             INSERT INTO journey_stages (lead_id, stage, metadata) SELECT l.id, n::text, '{{\"n\": 1.50}}'
                 FROM landing_leads AS l, generate_series(1, 3) AS n"
        ),
    )
    .await;
}

/// Deletes the lead under a role without cascades.
fn without_cascade(more: &str) -> String {
    format!(
        "BEGIN; SET LOCAL session_replication_role = replica; {more}
         DELETE FROM landing_leads WHERE id = '{LEAD}'; COMMIT"
    )
}

async fn images_are_landings(world: &World) {
    let sql = format!(
        "SELECT string_agg(to_jsonb(j)::text, ' ' ORDER BY j.id) FROM journey_stages j WHERE lead_id = '{LEAD}'"
    );
    let kept: String = one(&world.landing().await, &sql).await;
    for word in ["\"stage\": \"2\"", "1.50"] {
        assert!(kept.contains(word), "{kept}");
    }
    let images = format!(
        "count(*) = count(*) FILTER (WHERE row_data ->> 'lead_id' = '{LEAD}' AND lead_id = '{LEAD}'
             AND row_data ->> 'metadata' = '{{\"n\": 1.50}}' AND row_data ? 'created_at' AND row_data ->> 'id' = row_id::text)
         FROM leadbridge.quarantine WHERE source_table = 'lead_journey'"
    );
    assert!(holds(&world.traffic().await, &images).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entries_of_a_lead_that_landing_deleted_without_its_cascade_wait_and_come_back_with_it() {
    let world = World::new().await;
    let (_bridge, mut daemon) = streaming(&world).await;
    lead_with_entries(&world).await;
    daemon.caught_up(&world).await;
    // One of the three entries is deleted with its lead: before or after, as a cascade would.
    landing(&world, &without_cascade("DELETE FROM journey_stages WHERE stage = '1';")).await;
    all_wait(&world, &mut daemon, 2).await;
    images_are_landings(&world).await;
    assert!(
        holds(&world.traffic().await, "count(*) = 2 FROM traffic_lead_journey").await,
        "the other lead's"
    );
    landing(&world, &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{LEAD}', 'again', '1')"))
        .await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    // An entry that Landing deletes later leaves quarantine.
    landing(&world, &without_cascade("")).await;
    all_wait(&world, &mut daemon, 2).await;
    landing(&world, "DELETE FROM journey_stages").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_whose_deletes_come_in_later_batches_leaves_nothing_waiting() {
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 70");
    world.fill(41, 400).await;
    bridge.catch_up().await;
    landing(&world, "DELETE FROM landing_leads").await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entries_that_landing_kept_wait_after_a_resync_a_repair_and_a_retry_too() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    lead_with_entries(&world).await;
    daemon.caught_up(&world).await;
    daemon.terminate().await;
    landing(&world, &without_cascade("")).await;
    let resynced = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}", resynced.err);
    assert_eq!(quarantined(&world).await, vec![pair("lead_journey", "23503"); 3]);
    images_are_landings(&world).await;

    // A lead that exists only on Traffic, with entries of Landing: a repair deletes the lead.
    landing(&world, &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{LEAD}', 'again', '1')"))
        .await;
    bridge.catch_up().await;
    assert_equal(&world).await;
    landing(&world, &without_cascade("")).await;
    let repaired = bridge.run(&["verify", "--repair"]).await;
    assert_eq!(repaired.code, 0, "{}{}", repaired.out, repaired.err);
    assert!(
        repaired.out.contains("1 deleted") && repaired.out.contains("3 in quarantine"),
        "{}",
        repaired.out
    );
    assert_eq!(quarantined(&world).await, vec![pair("lead_journey", "23503"); 3]);

    // A quarantined delete is tried again.
    landing(&world, &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{LEAD}', 'again', '1')"))
        .await;
    bridge.catch_up().await;
    let contracts = "CREATE TABLE contracts (lead_id uuid REFERENCES traffic_leads (id) ON DELETE RESTRICT);
                     INSERT INTO contracts SELECT id FROM traffic_leads";
    traffic(&world, contracts).await;
    landing(&world, &without_cascade("")).await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await, [pair("landing_leads", "23503")]);
    traffic(&world, "DROP TABLE contracts").await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_eq!(quarantined(&world).await, vec![pair("lead_journey", "23503"); 3]);
    images_are_landings(&world).await;
}
