//! When background verification rests.

use serde_json::json;

use super::{EAGER, a_round, ended_rounds, streaming};
use crate::testkit::{brake, landing, release_brake};

#[tokio::test(flavor = "multi_thread")]
async fn it_rests_while_the_lag_is_over_its_limit_and_goes_on_afterwards() {
    let settings = format!("{EAGER}max_lag_seconds = 0.5\n");
    let (world, _bridge, mut daemon) = streaming(&settings, 30).await;
    a_round(&mut daemon).await;
    brake(&world, 8.0).await;
    landing(&world, "INSERT INTO landing_leads (name, phone, email) SELECT n::text, n::text, n || '@b.kz' FROM generate_series(1, 20) AS n").await;
    daemon
        .until("it rests", |status| {
            status["verification"]["activity"] == "resting"
                && status["verification"]["rests_because"]
                    .as_str()
                    .is_some_and(|why| why.contains("max_lag_seconds"))
        })
        .await;
    release_brake(&world).await;
    a_round(&mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_rests_after_the_switch_and_says_so_and_goes_on_after_a_rollback() {
    let (_world, bridge, mut daemon) = streaming(EAGER, 30).await;
    a_round(&mut daemon).await;
    let said = bridge.run(&["cutover", "--yes", "--certificate", bridge.dir().to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let status = daemon
        .until("it rests", |status| {
            status["state"] == "switched"
                && status["verification"]["rests_because"]
                    .as_str()
                    .is_some_and(|why| why.contains("system of record"))
        })
        .await;
    let said = crate::testkit::said(daemon.command(&bridge, &["status"])).await;
    assert!(said.out.contains("Traffic is the system of record since the cutover"), "{}", said.out);
    let rounds = ended_rounds(&status);
    let said = bridge.run(&["rollback", "--yes", "--certificate", bridge.dir().to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let status = daemon.until("another round ends", |status| ended_rounds(status) > rounds).await;
    assert_eq!(status["verification"]["last"]["clean"], json!(true), "{status}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_it_says_so_and_opens_no_session() {
    let (world, _bridge, mut daemon) = streaming("[verify]\nevery = \"off\"\n", 5).await;
    let status = daemon.status().await;
    assert_eq!(status["verification"]["activity"], json!("off"), "{status}");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leadbridge background verify'";
    assert_eq!(crate::testkit::one::<i64>(&world.traffic().await, sql).await, 0);
    daemon.terminate().await;
}
