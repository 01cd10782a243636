//! kill -9 in the middle of a round and of a repair.

use leadbridge::failpoint::Point;
use serde_json::json;

use super::{LEAD, REPAIRING, a_round, streaming, tamper};
use crate::testkit::{caught_up_and_equal, one, until_true};

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_of_a_round_the_next_daemon_goes_on_and_repairs() {
    let (world, bridge, mut daemon) = streaming(&REPAIRING.replace("1ms", "50ms"), 30).await;
    a_round(&mut daemon).await;
    daemon.terminate().await;
    let client = world.traffic().await;
    let sent = format!("SELECT sms_sent FROM traffic_leads WHERE id = '{LEAD}'");
    let right: bool = one(&client, &sent).await;
    let points: Vec<Point> =
        Point::ALL.iter().copied().filter(|point| point.name().starts_with("verify.")).collect();
    assert!(points.len() >= 4);
    for point in points {
        tamper(&world, &format!("UPDATE traffic_leads SET sms_sent = {} WHERE id = '{LEAD}'", !right)).await;
        let mut daemon = bridge.daemon_with(&[("LEADBRIDGE_FAILPOINT", point.name())]).await;
        until_true("the daemon dies", async || daemon.exit_code() == Some(-1)).await;
        let mut daemon = bridge.daemon().await;
        until_true("the value is back", async || one::<bool>(&client, &sent).await == right).await;
        let status = a_round(&mut daemon).await;
        assert_eq!(status["verification"]["last"]["clean"], json!(true), "{}: {status}", point.name());
        caught_up_and_equal(&world, &mut daemon).await;
        daemon.terminate().await;
    }
}
