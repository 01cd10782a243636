//! From PostgreSQL 18 on a server invalidates a slot without use for a while. After a switch no client streams from
//! Landing's own slot, and a rollback needs the slot.

use std::time::{Duration, Instant};

use leadbridge::migrate::MigrateOptions;

use crate::cutover::CutoverSetup;
use crate::testkit::{Bridge, World, holds, one};

#[tokio::test(flavor = "multi_thread")]
async fn landings_slot_outlives_a_quiet_time_after_the_switch() {
    let probe = World::unmigrated().await;
    let version: i32 = one(&probe.landing().await, "SELECT current_setting('server_version_num')::int").await;
    drop(probe);
    if version < 180_000 {
        return;
    }
    let world = World::unmigrated_with(&[("idle_replication_slot_timeout", "2s")], &[]).await;
    world.migrate(&MigrateOptions::default()).await;
    let bridge = Bridge::new(&world);
    let mut setup = CutoverSetup::between(world, bridge).await;
    let doctor = setup.bridge.run(&["doctor"]).await;
    assert_eq!(doctor.code, 0, "{}", doctor.out);
    assert!(doctor.out.contains("invalidated when the daemon is down for 2 s"), "{}", doctor.out);
    setup.switches(&[]).await;
    setup.flows_back().await;
    let landing = setup.world.landing().await;
    // A checkpoint invalidates idle slots; no row is written on either side meanwhile.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        landing.batch_execute("CHECKPOINT").await.unwrap();
        assert!(
            holds(&landing, "bool_and(invalidation_reason IS NULL) FROM pg_replication_slots").await,
            "the slot is lost after {:?}",
            began.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    setup.flows_back().await;
    setup.rolls_back(&[]).await;
    setup.assert_rolled_back().await;
}
