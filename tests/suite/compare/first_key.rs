//! The smallest key, `00000000-0000-0000-0000-000000000000`, is a key like any other.

use leadbridge::compare::Difference;
use leadbridge::cutover::adopt::Adoption;
use leadbridge::model::change::Table;
use leadbridge::postgres::Databases;
use leadbridge::postgres::triggers::TriggerControl;

use crate::finish::switched::{caught_up, switch as switch_by_hand};
use crate::replication::reverse::compare::{born, compared, sessions, tamper};
use crate::replication::reverse::rows::switched;
use crate::replication::reverse::switch::carried;
use crate::testkit::{Bridge, World, caught_up_and_equal, holds, landing, traffic, until_holds};

const FIRST: &str = "00000000-0000-0000-0000-000000000000";

/// A lead and a journey entry, both with the smallest key.
async fn born_on_landing(world: &World) {
    let sql = format!(
        "INSERT INTO landing_leads (id, name, phone) VALUES ('{FIRST}', 'n', '1');
         INSERT INTO journey_stages (id, lead_id, stage) VALUES ('{FIRST}', '{FIRST}', 's')"
    );
    landing(world, &sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_and_a_repair_see_the_first_key() {
    let world = World::new().await;
    world.fill(310, 20).await;
    born_on_landing(&world).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    caught_up_and_equal(&world, &mut daemon).await;
    traffic(&world, &format!("UPDATE traffic_leads SET name = 'x' WHERE id = '{FIRST}'")).await;
    let said = bridge.run(&["verify"]).await;
    assert!(said.code == 1 && said.out.contains(FIRST), "{}{}", said.out, said.err);
    traffic(&world, &format!("DELETE FROM traffic_lead_journey WHERE id = '{FIRST}'")).await;
    daemon.terminate().await;
    let said = bridge.run(&["verify", "--repair", "--wait", "1s"]).await;
    assert!(said.out.contains("Repaired: 2 rows"), "{}{}", said.out, said.err);
    let mut daemon = bridge.daemon().await;
    caught_up_and_equal(&world, &mut daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_compares_and_adopts_the_first_key() {
    let world = World::new().await;
    world.fill(311, 20).await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let stage = format!(
        "INSERT INTO traffic_lead_journey (id, lead_id, stage, created_at) VALUES ('{FIRST}', '{FIRST}', 's', now())"
    );
    traffic(&world, &(born(FIRST) + &stage)).await;
    carried(&world, &mut daemon).await;
    daemon.terminate().await;
    let (on_landing, on_traffic) = sessions(&world).await;
    let tables = Table::replicated(false);
    tamper(&world, &format!("UPDATE landing_leads SET name = 'x' WHERE id = '{FIRST}'")).await;
    tamper(&world, &format!("DELETE FROM journey_stages WHERE id = '{FIRST}'")).await;
    let found = compared(&world).await;
    let examples = found.iter().flat_map(|table| &table.examples);
    let differences: Vec<_> = examples.map(|example| &example.difference).collect();
    assert_eq!(differences, [&Difference::Different(vec!["name".into()]), &Difference::Missing]);
    let triggers = TriggerControl::probe(&on_traffic).await.unwrap();
    on_traffic.batch_execute("BEGIN").await.unwrap();
    let databases = Databases { landing: &on_landing, traffic: &on_traffic, names: &world.names };
    let adopted = Adoption { databases, tables, triggers, lock_timeout: std::time::Duration::from_secs(5) }
        .mark_born("true")
        .await
        .unwrap();
    assert_eq!(adopted, 1, "the lead; Landing has lost the journey entry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_on_traffic_takes_the_first_key_along_on_landing() {
    let world = World::new().await;
    world.fill(312, 20).await;
    born_on_landing(&world).await;
    let bridge = Bridge::new(&world).configured("[stream]\non_truncate = \"apply\"");
    let mut daemon = switched(&world, &bridge).await;
    let on_landing = world.landing().await;
    assert!(holds(&on_landing, "count(*) = 21 FROM landing_leads").await);
    traffic(&world, "TRUNCATE traffic_leads CASCADE").await;
    carried(&world, &mut daemon).await;
    until_holds(&on_landing, "count(*) = 0 FROM landing_leads").await;
    assert!(holds(&on_landing, "count(*) = 0 FROM journey_stages").await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_landing_holds_the_first_key() {
    let world = World::new().await;
    world.fill(313, 5).await;
    born_on_landing(&world).await;
    let bridge = Bridge::new(&world);
    switch_by_hand(&world, &bridge).await;
    caught_up(&world).await;
    let said = bridge.run(&["finish", "--yes"]).await;
    assert!(said.code == 0 && said.out.contains("6 rows"), "{}{}", said.out, said.err);
}
