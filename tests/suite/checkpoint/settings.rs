//! The settings that decide what is replicated: a command or a daemon with other settings than the recorded ones is
//! refused, by the name of the setting.

use leadbridge::migrate::MigrateOptions;

use crate::cutover::CutoverSetup;
use crate::replication::reverse::switch::{carried, switch};
use crate::testkit::{
    Bridge, World, assert_refused, ends_refused, holds, landing, one, traffic, until_holds,
};

const NOTIFICATIONS: &str = "scheduled_notifications = true";

async fn with_notifications() -> World {
    let world = World::unmigrated().await;
    world.migrate(&MigrateOptions { notifications: true, ..MigrateOptions::default() }).await;
    world
}

/// The installation after a copy with notifications.
async fn copied_with_notifications(seed: u64) -> (World, Bridge) {
    let world = with_notifications().await;
    world.fill(seed, 10).await;
    let bridge = Bridge::new(&world).configured(NOTIFICATIONS);
    bridge.catch_up().await;
    (world, bridge)
}

/// Commands that would fence, compare or back up the tables of their own configuration.
const COMMANDS: [&[&str]; 5] = [
    &["cutover", "--yes"],
    &["cutover", "--dry-run"],
    &["rollback", "--yes"],
    &["verify"],
    &["verify", "--repair"],
];

async fn assert_refuses(other: &Bridge, commands: &[&[&str]], words: &[&str]) {
    for command in commands {
        let said = other.run(command).await;
        assert_refused(&said, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_a_table_that_the_daemon_replicates_is_refused_and_no_fence_is_closed() {
    let world = with_notifications().await;
    let bridge = Bridge::new(&world).configured(NOTIFICATIONS);
    let setup = CutoverSetup::between(world, bridge).await;
    let other = Bridge::new(&setup.world);
    let words = ["scheduled_notifications", "`true`", "`false`", "the daemon"];
    assert_refuses(&other, &COMMANDS, &words).await;
    assert!(holds(&setup.world.landing().await, "count(*) = 0 FROM leadbridge.fence").await);
    assert!(holds(&setup.world.traffic().await, "count(*) = 0 FROM leadbridge.cutover").await);
    setup.switches(&[]).await;
    let mut setup = setup;
    setup.flows_back().await;
    assert_refuses(&other, &[&["rollback", "--yes"], &["rollback", "--dry-run"]], &words).await;
    setup.rolls_back(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_with_other_settings_than_the_daemons_backs_up_nothing() {
    let (world, bridge) = copied_with_notifications(91).await;
    switch(&world, &bridge).await;
    bridge.catch_up().await;
    let other = Bridge::new(&world);
    assert_refused(&other.run(&["finish", "--yes"]).await, &["scheduled_notifications", "`true`", "`false`"]);
    assert!(!other.state_dir().join("backups").exists());
    assert_eq!(bridge.run(&["finish", "--yes"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_with_another_journey_or_other_columns_is_refused() {
    let world = World::unmigrated().await;
    let more = "ALTER TABLE landing_leads ADD tag text;
                CREATE TABLE lead_journey (LIKE journey_stages INCLUDING ALL)";
    landing(&world, more).await;
    let journey = "[names]\nlanding_journey = \"journey_stages\"\n";
    let bridge = Bridge::new(&world).configured(journey);
    let said = bridge.run(&["migrate"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let setup = CutoverSetup::between(world, bridge).await;
    let other = Bridge::new(&setup.world).configured("[names]\nlanding_journey = \"lead_journey\"");
    assert_refuses(&other, &COMMANDS, &["[names] landing_journey", "`journey_stages`", "`lead_journey`"])
        .await;
    for columns in ["skip = [\"tag\"]", "rename = { tag = \"site_tag\" }"] {
        let other = other_columns(&setup.world, journey, columns);
        assert_refuses(&other, &COMMANDS, &["[columns.landing_leads]", "tag"]).await;
    }
    setup.switches(&[]).await;
}

fn other_columns(world: &World, journey: &str, columns: &str) -> Bridge {
    Bridge::new(world).configured(&format!("{journey}[columns.landing_leads]\n{columns}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_with_other_settings_than_recorded_is_refused_before_and_after_the_switch() {
    let world = with_notifications().await;
    landing(&world, "ALTER TABLE landing_leads ADD tag text").await;
    world.migrate(&MigrateOptions { notifications: true, ..MigrateOptions::default() }).await;
    world.fill(92, 10).await;
    let bridge = Bridge::new(&world).configured(NOTIFICATIONS);
    bridge.catch_up().await;
    let words = ["scheduled_notifications", "`true`", "`false`"];
    let skipping = format!("{NOTIFICATIONS}\n[columns.landing_leads]\nskip = [\"tag\"]");
    let columns = ["[columns.landing_leads]", "tag"];
    let bridge = bridge.configured("");
    assert_refused(&bridge.run(&["run"]).await, &words);
    let bridge = bridge.configured(&skipping);
    assert_refused(&bridge.run(&["run"]).await, &columns);
    let bridge = bridge.configured(NOTIFICATIONS);
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let bridge = bridge.configured("");
    assert_refused(&bridge.run(&["run"]).await, &words);
    let bridge = bridge.configured(&skipping);
    assert_refused(&bridge.run(&["run"]).await, &columns);
    let bridge = bridge.configured(NOTIFICATIONS);
    bridge.catch_up().await;
}

/// A column that is new on Landing is not carried before a resync, so that skipping the column changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_not_carried_may_be_skipped_at_any_time_and_the_record_follows() {
    let world = World::new().await;
    world.fill(93, 10).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    landing(&world, "ALTER TABLE landing_leads ADD tag text").await;
    let bridge = bridge.configured("[columns.landing_leads]\nskip = [\"tag\"]");
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let said = bridge.run(&["verify"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_refused(&Bridge::new(&world).run(&["verify"]).await, &["[columns.landing_leads]", "tag"]);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_without_a_record_gets_the_record_at_the_daemons_next_start() {
    let (world, bridge) = copied_with_notifications(94).await;
    let (forget, recorded) = (
        "UPDATE leadbridge.checkpoint SET settings = NULL",
        "settings IS NOT NULL FROM leadbridge.checkpoint",
    );
    traffic(&world, forget).await;
    // The copy's own record tells the tables, and the record of the settings is not made from another configuration.
    let other = Bridge::new(&world);
    assert_refused(&other.run(&["run"]).await, &["scheduled_notifications"]);
    assert_refused(&other.run(&["verify"]).await, &["scheduled_notifications"]);
    bridge.catch_up().await;
    assert!(holds(&world.traffic().await, recorded).await);
    switch(&world, &bridge).await;
    traffic(&world, forget).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    until_holds(&world.traffic().await, recorded).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_changes_what_is_replicated_and_the_daemon_with_the_old_settings_is_refused() {
    let (world, bridge) = copied_with_notifications(95).await;
    let bridge = bridge.configured("");
    landing(&world, "ALTER PUBLICATION leadbridge SET TABLE landing_leads, journey_stages").await;
    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("scheduled_notifications"), "{}", said.err);
    let bridge = bridge.configured(NOTIFICATIONS);
    let mut daemon = bridge.daemon().await;
    ends_refused(&mut daemon, &["scheduled_notifications", "`false`", "`true`"]).await;
    let recorded: String = one(&world.traffic().await, "SELECT settings FROM leadbridge.checkpoint").await;
    assert!(recorded.contains("\"scheduled_notifications\":false"), "{recorded}");
}

/// A switched installation of an earlier version: the tables lack the columns of this version.
#[tokio::test(flavor = "multi_thread")]
async fn an_installation_of_an_earlier_version_goes_on_after_another_migrate_also_after_the_switch() {
    let world = World::new().await;
    world.fill(96, 10).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let earlier = "ALTER TABLE leadbridge.checkpoint DROP settings;
                   ALTER TABLE leadbridge.reverse DROP published, DROP new_slot_since, DROP new_slot_made_at;
                   UPDATE leadbridge.migrations SET checksum = 'of an earlier version'
                       WHERE name LIKE '017%' OR name LIKE '020%'";
    traffic(&world, earlier).await;
    assert_refused(&bridge.run(&["run"]).await, &["leadbridge migrate"]);
    let status = bridge.run(&["status"]).await;
    assert!(status.out.contains("leadbridge_reverse"), "{}{}", status.out, status.err);
    assert_eq!(bridge.run(&["migrate"]).await.code, 0);
    bridge.catch_up().await;
    assert!(holds(&world.traffic().await, "settings IS NOT NULL FROM leadbridge.checkpoint").await);
    assert!(holds(&world.traffic().await, "published IS NOT NULL FROM leadbridge.reverse").await);
}
