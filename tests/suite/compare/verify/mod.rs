//! Comparing two real databases.

mod large;
mod live;
mod texts;

use leadbridge::checkpoint::LocalStore;
use leadbridge::compare::{Comparison, Difference, compare};
use leadbridge::config::{Config, Flags};
use leadbridge::model::change::Table;
use leadbridge::postgres::Databases;
use leadbridge::replication::{self, Until};
use leadbridge::telemetry::Telemetry;
use tokio_util::sync::CancellationToken;

use crate::testkit::World;

/// More than two pages.
const LEADS: usize = 1_200;

async fn copied(world: &World) -> Config {
    world.fill(5, LEADS).await;
    let dir = tempfile::tempdir().unwrap();
    let env = |name: &str| match name {
        "LANDING_DATABASE_URL" => Some(world.landing_url()),
        "TRAFFIC_DATABASE_URL" => Some(world.traffic_url()),
        "LEADBRIDGE_STATE_DIR" => Some(dir.path().display().to_string()),
        "LEADBRIDGE_HTTP_LISTEN" => Some("off".into()),
        _ => None,
    };
    let config = Config::load(&Flags::default(), &env).unwrap();
    let store = LocalStore::open(&config.state_dir).unwrap();
    let until = Until::CaughtUp;
    replication::run(config.clone(), store, Telemetry::new(), CancellationToken::new(), until)
        .await
        .close()
        .await
        .unwrap();
    let landing = config.landing.connect("test").await.unwrap();
    config.resolved(&landing).await.unwrap()
}

async fn found(config: &Config, table: Table) -> Comparison {
    let landing = config.landing.connect("test").await.unwrap();
    let traffic = config.traffic.connect("test").await.unwrap();
    let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
    compare(databases, table).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_missing_left_over_or_changed_is_found_and_traffics_own_are_not() {
    let world = World::new().await;
    let config = copied(&world).await;
    let equal = found(&config, Table::LandingLeads).await;
    assert_eq!((equal.landing_rows, equal.traffic_rows), (LEADS as u64, LEADS as u64));
    assert_eq!(equal.differences(), 0, "{:?}", equal.examples);
    assert!(equal.values > 25 * LEADS as u64);
    assert_eq!(found(&config, Table::LeadJourney).await.differences(), 0);

    let traffic = world.traffic().await;
    let tamper = "
        SET session_replication_role = replica;
        DELETE FROM traffic_leads WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads);
        UPDATE traffic_leads SET click_count = click_count + 1
            WHERE id = (SELECT max(id::text)::uuid FROM traffic_leads);
        INSERT INTO traffic_leads (name, landing_synced_at) VALUES ('left over', now());
        INSERT INTO traffic_leads (name) VALUES ('born on Traffic');
        SET session_replication_role = origin;
        UPDATE traffic_leads SET status = 'lost'
            WHERE id = (SELECT id FROM traffic_leads WHERE landing_synced_at IS NOT NULL
                ORDER BY id OFFSET 600 LIMIT 1)";
    traffic.batch_execute(tamper).await.unwrap();
    let found = found(&config, Table::LandingLeads).await;
    assert_eq!((found.missing, found.extra, found.different), (1, 1, 1), "{:?}", found.examples);
    assert_eq!((found.refused, found.stamped), (0, 1));
    let changed = Difference::Different(vec!["click_count".into()]);
    assert!(found.examples.iter().any(|example| example.difference == changed), "{:?}", found.examples);
}
