//! A rollback's comparison before opening Landing again, and the state after the rollback.

use leadbridge::compare::reverse::{Compared, Lack, compare};
use leadbridge::config::{Config, Flags};
use leadbridge::cutover::adopt::mark_born;
use leadbridge::model::change::Table;
use leadbridge::postgres::Session;
use leadbridge::postgres::triggers::TriggerControl;

use super::switch::switch;
use crate::testkit::{Bridge, World, holds, landing, one, traffic};

const LEAD: &str = "00000000-0000-0000-0000-00000000000a";
const BORN: &str = "00000000-0000-0000-0000-00000000000b";
const UNTOUCHED: &str = "00000000-0000-0000-0000-00000000000c";

pub fn born(id: &str) -> String {
    format!(
        "INSERT INTO traffic_leads (id, name, phone, phone_normalized, funnel_type)
             VALUES ('{id}', 'b', '1', '1', 'express');"
    )
}

fn config(world: &World) -> Config {
    let env = |name: &str| match name {
        "LANDING_DATABASE_URL" => Some(world.landing_url()),
        "TRAFFIC_DATABASE_URL" => Some(world.traffic_url()),
        _ => None,
    };
    Config::load(&Flags::default(), &env).unwrap()
}

pub async fn sessions(world: &World) -> (Session, Session) {
    let config = config(world);
    let sessions = (config.landing.connect("test").await, config.traffic.connect("test").await);
    (sessions.0.unwrap(), sessions.1.unwrap())
}

async fn compared(world: &World) -> Vec<Compared> {
    let (landing, traffic) = sessions(world).await;
    compare(&landing, &traffic, &world.names, &Table::replicated(false), 10).await.unwrap()
}

/// Writes by hand on Landing, past the fence.
pub async fn tamper(world: &World, sql: &str) {
    landing(
        world,
        &format!("SET leadbridge.passes_fence = 'on'; SET session_replication_role = replica; {sql}"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_names_what_landing_lacks_and_nothing_else() {
    let world = World::new().await;
    world.fill(270, 1200).await;
    landing(&world, &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{LEAD}', 'n', '1')"))
        .await;
    traffic(&world, &born(UNTOUCHED)).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let (one_side, other) = sessions(&world).await;
    let early = compare(&one_side, &other, &world.names, &[Table::LandingLeads], 1).await;
    assert!(early.is_err_and(|error| error.to_string().contains("leadbridge verify")));
    switch(&world, &bridge).await;
    let changes = format!(
        "{} UPDATE traffic_leads SET utm_source = 'u', source = 'google', name = 'Әсем' WHERE left(id::text, 1) = '3';
         DELETE FROM traffic_leads WHERE left(id::text, 1) = '4'",
        born(BORN)
    );
    traffic(&world, &changes).await;
    let behind = compared(&world).await;
    assert!(behind[0].missing == 1 && behind[0].extra > 0 && behind[0].different > 0, "{behind:?}");
    bridge.catch_up().await;
    let found = compared(&world).await;
    assert!(found.iter().all(Compared::is_equal), "{found:?}");
    assert_eq!((found[0].elsewhere, found[0].stamped, found[0].quarantined), (1, 0, 0));
    let rows: i64 = one(&world.landing().await, "SELECT count(*) FROM landing_leads").await;
    assert_eq!(found[0].compared, rows.unsigned_abs());

    let wrong = format!(
        "UPDATE landing_leads SET name = 'x' WHERE id = '{LEAD}'; DELETE FROM landing_leads WHERE id = '{BORN}'"
    );
    tamper(&world, &wrong).await;
    let found = &compared(&world).await[0];
    assert_eq!((found.missing, found.extra, found.different), (1, 0, 1), "{found:?}");
    let lacks: Vec<_> =
        found.examples.iter().map(|example| (example.id.to_string(), &example.lack)).collect();
    assert!(lacks.contains(&(LEAD.into(), &Lack::Different(vec!["name"]))), "{lacks:?}");
    assert!(lacks.contains(&(BORN.into(), &Lack::Missing)), "{lacks:?}");
    tamper(
        &world,
        &format!("UPDATE landing_leads SET name = 'n', updated_at = '2099-01-01' WHERE id = '{LEAD}'"),
    )
    .await;
    assert_eq!(compared(&world).await[0].stamped, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_born_on_traffic_is_landings_after_a_rollback() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let cutover = switch(&world, &bridge).await;
    let stage = format!(
        "INSERT INTO traffic_lead_journey (lead_id, stage, created_at) VALUES ('{BORN}', 's', now())"
    );
    traffic(&world, &(born(BORN) + &stage)).await;
    bridge.catch_up().await;
    let (on_landing, on_traffic) = sessions(&world).await;
    let tables = Table::replicated(false);
    let triggers = TriggerControl::probe(&on_traffic).await.unwrap();
    on_traffic.batch_execute("BEGIN").await.unwrap();
    let adopted = mark_born(&on_landing, &on_traffic, &world.names, &tables, triggers, "true").await.unwrap();
    on_traffic.batch_execute("UPDATE leadbridge.checkpoint SET state = 'streaming'; COMMIT").await.unwrap();
    assert_eq!(adopted, 2);
    landing(&world, &format!("SELECT leadbridge.lift_fence('{cutover}')")).await;
    landing(&world, &format!("DELETE FROM landing_leads WHERE id = '{BORN}'")).await;
    bridge.catch_up().await;
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM traffic_leads").await);
    let verified = bridge.run(&["verify"]).await;
    assert_eq!(verified.code, 0, "{}", verified.out);
}
