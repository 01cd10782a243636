//! The whole move on each shape in which a school has its databases: production's, which every other test uses, and
//! the older Landing beside a Traffic with a Migration 016 of the school's own.

mod story;

use crate::testkit::World;
use story::Story;

#[tokio::test(flavor = "multi_thread")]
async fn productions_databases_are_moved_brought_back_moved_again_and_finished() {
    let world = World::unmigrated().await;
    world.fill(161, 80).await;
    let carried = [
        ("landing_leads", "traffic_leads", "sms_error"),
        ("journey_stages", "traffic_lead_journey", "event_type"),
        ("scheduled_notifications", "traffic_scheduled_notifications", "recipient_name"),
    ];
    Story::begin(world, &carried).await.told().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_landing_is_moved_to_a_traffic_with_a_migration_016_of_its_own_and_back() {
    let carried = [
        ("landing_leads", "traffic_leads", "name"),
        ("lead_journey", "traffic_lead_journey", "stage"),
        ("scheduled_notifications", "traffic_scheduled_notifications", "error_message"),
    ];
    Story::begin(World::older().await, &carried).await.told().await;
}
