//! The deletion of a person on Traffic reaches every copy of the person's values in leadbridge's own tables.

use super::keys::id;
use super::switch::{carried, switch};
use crate::testkit::{Bridge, Daemon, World, landing, one, repeat_numbers, traffic, until_true};

/// A value that stands in every copy of a lead, with the lead's number.
fn secret(number: u16) -> String {
    format!("+7-701-000{number:04}")
}

/// Leads whose AmoCRM number is no number, so that each has a conversion note.
async fn noted_leads(world: &World, numbers: std::ops::Range<u16>) {
    repeat_numbers(world).await;
    for number in numbers {
        let (id, secret) = (id(number), secret(number));
        let lead = format!(
            "INSERT INTO landing_leads (id, name, phone, amocrm_lead_id) VALUES ('{id}', 'lead {number}', '1', '{secret}')"
        );
        landing(world, &lead).await;
    }
}

/// A row that applications wrote on Traffic because of an aborted cutover's hook.
async fn leave_on_traffic(world: &World, numbers: std::ops::Range<u16>) {
    let cutover =
        "INSERT INTO leadbridge.cutover (id, slot, direction, state, deadline, finished_at, lifted_at, operator,
            leadbridge_version)
        VALUES ('c0000000-0000-4000-8000-00000000000a', 'leadbridge', 'cutover', 'aborted', now(), now(), now(), 'o', 'v')
        ON CONFLICT DO NOTHING";
    traffic(world, cutover).await;
    for number in numbers {
        let left = format!(
            "INSERT INTO leadbridge.left_on_traffic (cutover_id, traffic_table, row_id, image)
                 VALUES ('c0000000-0000-4000-8000-00000000000a', 'traffic_leads', '{}', '{{\"phone\": \"{}\"}}')",
            id(number),
            secret(number)
        );
        traffic(world, &left).await;
    }
}

/// In which tables of leadbridge's schema on Traffic a value stands: every table is looked through.
async fn copies(world: &World, value: &str) -> Vec<String> {
    let client = world.traffic().await;
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'leadbridge'::regnamespace AND relkind = 'r' ORDER BY 1";
    let mut found = Vec::new();
    for row in client.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        let holds =
            format!("SELECT count(*) FROM leadbridge.{table} AS t WHERE strpos(t::text, '{value}') > 0");
        if one::<i64>(&client, &holds).await > 0 {
            found.push(table);
        }
    }
    found
}

async fn assert_copies(world: &World, number: u16, tables: &[&str]) {
    assert_eq!(copies(world, &secret(number)).await, tables, "lead {number}");
}

async fn until_no_copies(world: &World, number: u16) {
    until_true("no copy is left", async || copies(world, &secret(number)).await.is_empty()).await;
}

const ALL: [&str; 3] = ["conversion_notes", "left_on_traffic", "quarantine"];

/// Leads 1 to 7 with copies in all three tables, after a switch.
async fn switched(world: &World, bridge: &Bridge) -> Daemon {
    noted_leads(world, 1..8).await;
    bridge.catch_up().await;
    // The later image of each lead is refused, and discarded by an operator.
    traffic(world, "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name NOT LIKE 'bad%')").await;
    let update = "UPDATE landing_leads SET name = 'bad ' || amocrm_lead_id";
    landing(world, update).await;
    bridge.catch_up().await;
    traffic(world, "UPDATE leadbridge.quarantine SET discarded_at = now()").await;
    leave_on_traffic(world, 1..8).await;
    for number in 1..8 {
        assert_copies(world, number, &ALL).await;
    }
    switch(world, bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(world, &mut daemon).await;
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_is_deleted_on_traffic_after_the_switch_leaves_no_copy() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    traffic(&world, &format!("DELETE FROM traffic_leads WHERE id = '{}'", id(1))).await;
    carried(&world, &mut daemon).await;
    assert_copies(&world, 1, &[]).await;
    assert_copies(&world, 2, &ALL).await;

    // A lead under another key takes its copies along, also to the key of a lead that was deleted.
    let change = format!(
        "BEGIN; DELETE FROM traffic_leads WHERE id = '{}'; UPDATE traffic_leads SET id = '{0}' WHERE id = '{}'; COMMIT",
        id(3),
        id(2)
    );
    traffic(&world, &change.replace("{0}", &id(3))).await;
    carried(&world, &mut daemon).await;
    assert_copies(&world, 3, &[]).await;
    assert_copies(&world, 2, &ALL).await;
    traffic(&world, &format!("DELETE FROM traffic_leads WHERE id = '{}'", id(3))).await;
    carried(&world, &mut daemon).await;
    assert_copies(&world, 2, &[]).await;

    // A lead with the key of which nothing was ever known before.
    traffic(&world, &format!("UPDATE traffic_leads SET id = '{}' WHERE id = '{}'", id(40), id(4))).await;
    carried(&world, &mut daemon).await;
    assert_copies(&world, 4, &ALL).await;
    traffic(&world, &format!("DELETE FROM traffic_leads WHERE id = '{}'", id(40))).await;
    carried(&world, &mut daemon).await;
    assert_copies(&world, 4, &[]).await;

    // While no daemon runs.
    daemon.terminate().await;
    traffic(&world, &format!("DELETE FROM traffic_leads WHERE id = '{}'", id(5))).await;
    let _daemon = bridge.daemon().await;
    until_no_copies(&world, 5).await;
    assert_copies(&world, 6, &ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_on_traffic_after_the_switch_leaves_no_copy() {
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured("[stream]\non_truncate = \"apply\"");
    let mut daemon = switched(&world, &bridge).await;
    traffic(&world, "TRUNCATE traffic_leads CASCADE").await;
    carried(&world, &mut daemon).await;
    for number in 1..8 {
        assert_copies(&world, number, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_is_deleted_on_landing_before_the_switch_leaves_no_copy() {
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured("[stream]\non_truncate = \"apply\"");
    noted_leads(&world, 1..4).await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    leave_on_traffic(&world, 1..4).await;
    let noted = ["conversion_notes", "left_on_traffic"];
    landing(&world, &format!("UPDATE landing_leads SET id = '{}' WHERE id = '{}'", id(20), id(2))).await;
    daemon.caught_up(&world).await;
    assert_copies(&world, 2, &noted).await;
    for key in [id(1), id(20)] {
        landing(&world, &format!("DELETE FROM landing_leads WHERE id = '{key}'")).await;
    }
    daemon.caught_up(&world).await;
    assert_copies(&world, 1, &[]).await;
    assert_copies(&world, 2, &[]).await;
    assert_copies(&world, 3, &noted).await;
    landing(&world, "TRUNCATE landing_leads CASCADE").await;
    daemon.caught_up(&world).await;
    assert_copies(&world, 3, &[]).await;
}
