//! A rollback's comparison before opening Landing again, and the state after the rollback.

use leadbridge::compare::reverse::compare;
use leadbridge::compare::{Comparison, Difference};
use leadbridge::config::{Config, Flags};
use leadbridge::cutover::adopt::Adoption;
use leadbridge::model::change::Table;
use leadbridge::postgres::triggers::TriggerControl;
use leadbridge::postgres::{Databases, Session};

use super::switch::switch;
use crate::testkit::{Bridge, World, holds, landing, one, traffic};

const LEAD: &str = "00000000-0000-0000-0000-00000000000a";
const BORN: &str = "00000000-0000-0000-0000-00000000000b";
const UNTOUCHED: &str = "00000000-0000-0000-0000-00000000000c";

/// A lead born on Traffic through Landing's names.
pub fn born(id: &str) -> String {
    format!(
        "INSERT INTO traffic_leads (id, name, phone, landing_source) VALUES ('{id}', 'b', '1', 'twland');"
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

pub async fn compared(world: &World) -> Vec<Comparison> {
    let (landing, traffic) = sessions(world).await;
    let databases = Databases { landing: &landing, traffic: &traffic, names: &world.names };
    let mut found = Vec::new();
    for table in Table::replicated(false) {
        found.push(compare(databases, table).await.unwrap());
    }
    found
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
    let databases = Databases { landing: &one_side, traffic: &other, names: &world.names };
    let early = compare(databases, Table::LandingLeads).await;
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
    assert!(found.iter().all(|table| table.differences() == 0), "{found:?}");
    assert_eq!((found[0].elsewhere, found[0].stamped), (1, 0));
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.reverse_quarantine").await);
    let rows: i64 = one(&world.landing().await, "SELECT count(*) FROM landing_leads").await;
    assert_eq!(
        (found[0].landing_rows, found[0].traffic_rows),
        (rows.unsigned_abs(), rows.unsigned_abs() + 1)
    );

    let wrong = format!(
        "UPDATE landing_leads SET name = 'x' WHERE id = '{LEAD}'; DELETE FROM landing_leads WHERE id = '{BORN}'"
    );
    tamper(&world, &wrong).await;
    let found = &compared(&world).await[0];
    assert_eq!((found.missing, found.extra, found.different), (1, 0, 1), "{found:?}");
    let differences: Vec<_> =
        found.examples.iter().map(|example| (example.id.to_string(), &example.difference)).collect();
    assert!(
        differences.contains(&(LEAD.into(), &Difference::Different(vec!["name".into()]))),
        "{differences:?}"
    );
    assert!(differences.contains(&(BORN.into(), &Difference::Missing)), "{differences:?}");
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
    let databases = Databases { landing: &on_landing, traffic: &on_traffic, names: &world.names };
    let adopted = Adoption { databases, tables, triggers, lock_timeout: std::time::Duration::from_secs(5) }
        .mark_born("true")
        .await
        .unwrap();
    on_traffic.batch_execute("UPDATE leadbridge.checkpoint SET state = 'streaming'; COMMIT").await.unwrap();
    assert_eq!(adopted, 2);
    landing(&world, &format!("SELECT leadbridge.lift_fence('{cutover}')")).await;
    landing(&world, &format!("DELETE FROM landing_leads WHERE id = '{BORN}'")).await;
    bridge.catch_up().await;
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM traffic_leads").await);
    let verified = bridge.run(&["verify"]).await;
    assert_eq!(verified.code, 0, "{}", verified.out);
}
