//! Each fault has its documented effect on matching connections, and no effect on others.

use std::time::{Duration, Instant};

use leadbridge::throwaway::{Cluster, connect};
use tokio_postgres::Client;

use super::faults::Direction;
use super::{Fault, Proxy, Target};
use crate::testkit::{holds, one, template, until_holds, until_true};

const APPLY: Target = Target::Named("apply");

/// A server with a table, a proxy in front of the server, and a function that connects through the proxy under a
/// name.
async fn behind_proxy() -> (Cluster, Proxy, Client, impl AsyncFn(&str) -> Client) {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let proxy = Proxy::to(cluster.port()).await;
    let direct = cluster.connect("postgres").await.unwrap();
    direct.batch_execute("CREATE TABLE written (n int)").await.unwrap();
    let url = proxy.url(&cluster.url("postgres"), cluster.port());
    let named = async move |name: &str| {
        connect(&format!("{url}&application_name=leadbridge%20{name}")).await.unwrap()
    };
    (cluster, proxy, direct, named)
}

#[tokio::test]
async fn the_proxy_cuts_a_commit_that_the_server_has_executed_and_no_other_connection() {
    let (_cluster, proxy, direct, named) = behind_proxy().await;
    let (apply, other) = (named("apply").await, named("control").await);
    assert_eq!(proxy.inject(APPLY, Fault::CutAfterCommit), 1);
    other.batch_execute("BEGIN; INSERT INTO written VALUES (1); COMMIT").await.unwrap();
    apply.batch_execute("BEGIN; INSERT INTO written VALUES (2); ROLLBACK").await.unwrap();
    apply.batch_execute("INSERT INTO written VALUES (3)").await.unwrap();
    apply.batch_execute("BEGIN; INSERT INTO written VALUES (4)").await.unwrap();
    assert!(apply.batch_execute("COMMIT").await.unwrap_err().as_db_error().is_none());
    assert_eq!(proxy.commits_cut(), 1);
    assert_eq!(one::<String>(&direct, "SELECT string_agg(n::text, ' ') FROM written").await, "1 3 4");
    assert!(holds(&other, "true").await);
    // The fault strikes only once.
    named("apply").await.batch_execute("BEGIN; COMMIT").await.unwrap();
}

#[tokio::test]
async fn the_proxy_resets_refuses_and_heals() {
    let (cluster, proxy, _direct, named) = behind_proxy().await;
    let (apply, other) = (named("apply").await, named("control").await);
    assert_eq!((proxy.connections(APPLY), proxy.connections(Target::Every)), (1, 2));
    assert_eq!(proxy.inject(APPLY, Fault::Cut), 1);
    apply.batch_execute("SELECT 1").await.unwrap_err();
    other.batch_execute("SELECT 1").await.unwrap();
    until_true("the cut connection is gone", async || proxy.connections(Target::Every) == 1).await;
    proxy.inject(APPLY, Fault::Refuse);
    let url = proxy.url(&cluster.url("postgres"), cluster.port());
    connect(&format!("{url}&application_name=leadbridge%20apply")).await.err().unwrap();
    connect(&url).await.unwrap();
    proxy.heal();
    named("apply").await.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn the_proxy_delays_throttles_and_stalls_until_it_is_healed() {
    let (_cluster, proxy, direct, named) = behind_proxy().await;
    let client = named("apply").await;
    let read = async |count: usize| {
        let begun = Instant::now();
        client.query_one(&format!("SELECT repeat('x', {count})"), &[]).await.unwrap();
        begun.elapsed()
    };
    proxy.inject(APPLY, Fault::Delay(Duration::from_millis(100)));
    assert!(read(1).await >= Duration::from_millis(200), "once there and once back, at least");
    proxy.heal();
    proxy.inject(APPLY, Fault::Throttle(100_000));
    assert!(read(50_000).await >= Duration::from_millis(400), "50 kB at 100 kB/s");
    proxy.heal();
    proxy.inject(APPLY, Fault::Stall);
    let insert = tokio::spawn(async move { client.batch_execute("INSERT INTO written VALUES (1)").await });
    direct.batch_execute("SELECT pg_sleep(0.2)").await.unwrap();
    assert!(holds(&direct, "count(*) = 0 FROM written").await && !insert.is_finished());
    proxy.heal();
    insert.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_proxy_leaves_a_connection_half_open_in_one_direction_or_both() {
    let (_cluster, proxy, direct, named) = behind_proxy().await;
    let client = named("apply").await;
    assert_eq!(proxy.inject(APPLY, Fault::OneWay(Direction::ToServer)), 1);
    let unheard = tokio::spawn(async move { client.batch_execute("INSERT INTO written VALUES (1)").await });
    until_holds(&direct, "count(*) = 1 FROM written").await;
    let client = named("control").await;
    assert_eq!(proxy.inject(Target::Every, Fault::HalfOpen), 1, "the other one is dead already");
    let unsaid = tokio::spawn(async move { client.batch_execute("INSERT INTO written VALUES (2)").await });
    direct.batch_execute("SELECT pg_sleep(0.2)").await.unwrap();
    assert!(holds(&direct, "count(*) = 1 FROM written").await);
    assert!(!unheard.is_finished() && !unsaid.is_finished());
    assert!(
        holds(&direct, "count(*) = 2 FROM pg_stat_activity WHERE application_name ~ '^leadbridge'").await
    );
}
