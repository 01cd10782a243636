//! Rows that exchange the values of a unique index: each row is refused as long as another row holds its value, and
//! as a set the rows are valid.

use crate::replication::reverse::rows::switched;
use crate::replication::reverse::switch::carried;
use crate::testkit::{
    Bridge, Daemon, World, assert_equal, caught_up_and_equal, holds, landing, least_privileged, one, traffic,
};

/// Leads on both sides with the given e-mails, which are also their names; Traffic's e-mails are unique. With or
/// without the right to switch triggers off.
async fn leads(emails: &[&str], switches_triggers_off: bool) -> (World, Bridge, Daemon) {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    if !switches_triggers_off {
        traffic(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
    }
    traffic(&world, "CREATE UNIQUE INDEX one_email ON traffic_leads (email)").await;
    for email in emails {
        landing(
            &world,
            &format!("INSERT INTO landing_leads (name, phone, email) VALUES ('{email}', '1', '{email}')"),
        )
        .await;
    }
    let mut daemon = bridge.daemon().await;
    caught_up_and_equal(&world, &mut daemon).await;
    traffic(&world, "SET session_replication_role = replica; UPDATE traffic_leads SET status = 'qualified'")
        .await;
    (world, bridge, daemon)
}

async fn waiting(world: &World) -> i64 {
    one(&world.traffic().await, "SELECT count(*) FROM leadbridge.quarantine").await
}

/// Gives each lead of a circle the next lead's e-mail, with one statement.
fn turned(circle: &[&str]) -> String {
    let next = |at: usize| circle[(at + 1) % circle.len()];
    let whens: Vec<String> =
        circle.iter().enumerate().map(|(at, email)| format!("WHEN '{email}' THEN '{}'", next(at))).collect();
    let all = circle.join("', '");
    format!("UPDATE landing_leads SET email = CASE email {} END WHERE email IN ('{all}')", whens.join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_that_exchange_a_unique_value_are_written_as_a_set() {
    for switches_triggers_off in [true, false] {
        let (world, _bridge, mut daemon) = leads(&["a", "b", "c", "d", "e"], switches_triggers_off).await;
        for circle in [&["a", "b"][..], &["a", "b", "c", "d", "e"]] {
            landing(&world, &turned(circle)).await;
            caught_up_and_equal(&world, &mut daemon).await;
            assert_eq!(waiting(&world).await, 0, "{circle:?}");
        }
        assert!(holds(&world.traffic().await, "bool_and(status = 'qualified') FROM traffic_leads").await);
        daemon.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_set_are_written_although_their_changes_come_in_transactions_of_their_own() {
    let (world, _bridge, mut daemon) = leads(&["a", "b"], true).await;
    landing(&world, "UPDATE landing_leads SET email = 'b' WHERE name = 'a'").await;
    daemon.caught_up(&world).await;
    assert_eq!(waiting(&world).await, 1, "two leads have one e-mail");
    landing(&world, "UPDATE landing_leads SET email = 'a' WHERE name = 'b'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await, 0);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_set_makes_good_waits_alone_and_keeps_its_last_good_image() {
    let (world, bridge, mut daemon) = leads(&["a", "b", "c", "d"], true).await;
    // `c` takes the value that `d` keeps; `a` and `b` exchange their values.
    landing(
        &world,
        &format!(
            "BEGIN; UPDATE landing_leads SET email = 'd' WHERE name = 'c'; {}; COMMIT",
            turned(&["a", "b"])
        ),
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(waiting(&world).await, 1);
    let emails = "string_agg(name || email, ' ' ORDER BY name) = 'ab ba cc dd' FROM traffic_leads";
    assert!(holds(&world.traffic().await, emails).await);
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 1);
    landing(&world, "UPDATE landing_leads SET email = 'x' WHERE name = 'd'").await;
    daemon.caught_up(&world).await;
    let retried = bridge.run(&["quarantine", "retry"]).await;
    assert_eq!(retried.code, 0, "{}", retried.err);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_may_not_be_null_and_expressions_are_exchanged_as_well() {
    let (world, _bridge, mut daemon) = leads(&["a", "b"], true).await;
    crate::testkit::repeat_numbers(&world).await;
    landing(&world, "UPDATE landing_leads SET amocrm_lead_id = CASE name WHEN 'a' THEN '1' ELSE '2' END")
        .await;
    caught_up_and_equal(&world, &mut daemon).await;
    traffic(
        &world,
        "DROP INDEX one_email; ALTER TABLE traffic_leads ALTER name SET NOT NULL;
         CREATE UNIQUE INDEX ON traffic_leads (lower(name), funnel_type);
         CREATE UNIQUE INDEX ON traffic_leads (amocrm_lead_id) NULLS NOT DISTINCT WHERE status = 'qualified'",
    )
    .await;
    landing(
        &world,
        "UPDATE landing_leads SET name = CASE name WHEN 'a' THEN 'B' ELSE 'A' END,
             amocrm_lead_id = CASE name WHEN 'a' THEN '2' ELSE '1' END",
    )
    .await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(waiting(&world).await, 0);
    daemon.terminate().await;
}

/// Two leads with the numbers 1 and 2, which are unique on Landing, after a switch.
async fn numbered() -> (World, Daemon) {
    let world = World::new().await;
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone, amocrm_lead_id) VALUES ('a', '1', '1'), ('b', '2', '2')",
    )
    .await;
    let daemon = switched(&world, &Bridge::new(&world)).await;
    (world, daemon)
}

const EXCHANGED: &str = "string_agg(name || amocrm_lead_id, ' ' ORDER BY name) = 'a2 b1' FROM landing_leads";

#[tokio::test(flavor = "multi_thread")]
async fn leads_that_exchange_a_unique_value_on_traffic_are_carried_back_as_a_set() {
    let (world, mut daemon) = numbered().await;
    traffic(&world, "UPDATE traffic_leads SET amocrm_lead_id = 3 - amocrm_lead_id").await;
    carried(&world, &mut daemon).await;
    assert!(holds(&world.landing().await, EXCHANGED).await);
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.reverse_quarantine").await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_set_are_carried_back_although_they_changed_in_transactions_of_their_own() {
    let (world, mut daemon) = numbered().await;
    traffic(&world, "UPDATE traffic_leads SET amocrm_lead_id = 2 WHERE name = 'a'").await;
    carried(&world, &mut daemon).await;
    let client = world.traffic().await;
    assert!(holds(&client, "count(*) = 1 FROM leadbridge.reverse_quarantine").await);
    traffic(&world, "UPDATE traffic_leads SET amocrm_lead_id = 1 WHERE name = 'b'").await;
    carried(&world, &mut daemon).await;
    assert!(holds(&client, "count(*) = 0 FROM leadbridge.reverse_quarantine").await);
    assert!(holds(&world.landing().await, EXCHANGED).await);
    // A row that waits for a value is carried as soon as another row gives the value up.
    traffic(&world, "UPDATE traffic_leads SET amocrm_lead_id = 1 WHERE name = 'a'").await;
    carried(&world, &mut daemon).await;
    assert!(holds(&client, "count(*) = 1 FROM leadbridge.reverse_quarantine").await);
    traffic(&world, "UPDATE traffic_leads SET amocrm_lead_id = 9 WHERE name = 'b'").await;
    carried(&world, &mut daemon).await;
    assert!(holds(&client, "count(*) = 0 FROM leadbridge.reverse_quarantine").await);
    daemon.terminate().await;
}
