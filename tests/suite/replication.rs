//! End to end: snapshot, stream and restart between two real servers.

use leadbridge::checkpoint::LocalStore;
use leadbridge::config::{Config, Flags};
use leadbridge::replicator::{self, Until};
use leadbridge::telemetry::Telemetry;
use leadbridge::throwaway::writers::Pace;
use tokio_util::sync::CancellationToken;

use crate::testkit::{World, assert_equal};

fn config(world: &World, dir: &std::path::Path) -> Config {
    let env = |name: &str| match name {
        "LANDING_DATABASE_URL" => Some(world.landing_url()),
        "TRAFFIC_DATABASE_URL" => Some(world.traffic_url()),
        "LEADBRIDGE_STATE_DIR" => Some(dir.display().to_string()),
        "LEADBRIDGE_HTTP_LISTEN" => Some("off".into()),
        _ => None,
    };
    Config::load(&Flags::default(), &env).unwrap()
}

async fn catch_up(world: &World, dir: &std::path::Path) {
    let config = config(world, dir);
    let store = LocalStore::open(&config.state_dir).unwrap();
    replicator::run(config, store, Telemetry::new(), CancellationToken::new(), Until::CaughtUp)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_what_follows_arrive_exactly() {
    let _ = tracing_subscriber::fmt().with_env_filter("leadbridge=debug,warn").with_test_writer().try_init();
    let world = World::new().await;
    world.fill(1, 1000).await;
    let dir = tempfile::tempdir().unwrap();
    catch_up(&world, dir.path()).await;
    assert_equal(&world).await;
    let writers = world.write(&Pace::default());
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let totals = writers.stop().await.unwrap();
    println!("{totals:?}");
    let t = std::time::Instant::now();
    catch_up(&world, dir.path()).await;
    println!("caught up in {:?}", t.elapsed());
    assert_equal(&world).await;
}
