//! Connecting: the session's settings, and the operator's message after a failure.

use leadbridge::error::{Error, Kind};
use leadbridge::model::side::Side;
use leadbridge::postgres::Endpoint;
use leadbridge::throwaway::Cluster;

use crate::testkit::{one, template, until_true};

fn endpoint(url: &str) -> Endpoint {
    Endpoint::parse(Side::Traffic, &url.into()).unwrap()
}

async fn fails(url: &str) -> Error {
    let error = endpoint(url).connect("test").await.err().unwrap();
    assert!(error.remedy_text().is_some(), "{error}");
    assert!(error.message().contains("Traffic DB"), "{error}");
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    error
}

#[tokio::test]
async fn a_session_is_pinned_whatever_server_database_and_role_say() {
    let settings = [
        ("statement_timeout", "1min"),
        ("timezone", "Asia/Almaty"),
        ("idle_session_timeout", "1h"),
        ("default_transaction_isolation", "serializable"),
    ];
    let cluster = Cluster::start(&template().await, &settings).await.unwrap();
    let admin = cluster.connect("postgres").await.unwrap();
    let role = "ALTER ROLE postgres SET datestyle = 'German'; ALTER ROLE postgres SET bytea_output = 'escape'; \
                ALTER ROLE postgres SET lock_timeout = '7s'; ALTER ROLE postgres SET search_path = 'public'";
    admin.batch_execute(role).await.unwrap();
    let session = endpoint(&cluster.url("postgres")).connect("test").await.unwrap();
    let show = async |name: &str| {
        let row = session.query_one("SELECT current_setting($1)", &[&name]).await.unwrap();
        row.get::<_, String>(0)
    };
    for (name, value) in [
        ("statement_timeout", "0"),
        ("idle_session_timeout", "0"),
        ("lock_timeout", "0"),
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, YMD"),
        ("bytea_output", "hex"),
        ("row_security", "off"),
        ("search_path", ""),
        ("tcp_keepalives_idle", "10"),
        ("jit", "off"),
        ("default_transaction_isolation", "read committed"),
        ("application_name", "leadbridge test"),
    ] {
        assert_eq!(show(name).await, value, "{name}");
    }
}

#[tokio::test]
async fn a_session_that_is_closed_or_dropped_is_gone_from_the_server() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let admin = cluster.connect("postgres").await.unwrap();
    let endpoint = endpoint(&cluster.url("postgres"));
    endpoint.connect("one").await.unwrap().close().await;
    drop(endpoint.connect("two").await.unwrap());
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'leadbridge %'";
    until_true("every session has ended", async || one::<i64>(&admin, sql).await == 0).await;
}

#[tokio::test]
async fn a_unix_socket_needs_no_tls_whatever_sslmode_says() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let (dir, port, password) = (cluster.socket_dir().display(), cluster.port(), cluster.password());
    let url = format!("postgresql://postgres:{password}@/postgres?host={dir}&port={port}&sslmode=require");
    endpoint(&url).connect("test").await.unwrap();
}

#[tokio::test]
async fn the_next_host_is_tried_when_one_does_not_answer() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let (port, password) = (cluster.port(), cluster.password());
    let url = format!("postgresql://postgres:{password}@127.0.0.1:1,127.0.0.1:{port}/postgres");
    endpoint(&url).connect("test").await.unwrap();
    let landing = Endpoint::parse(Side::Landing, &url.as_str().into()).unwrap();
    assert_eq!(landing.replicate().await.unwrap().backend().place.host.port, port);
}

#[tokio::test]
async fn each_failure_says_what_is_wrong_and_what_to_do() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let (port, password) = (cluster.port(), cluster.password());
    for (url, kind, says) in [
        (format!("postgresql://postgres:geheim@127.0.0.1:{port}/postgres"), Kind::Refused, "28P01"),
        (format!("postgresql://postgres@127.0.0.1:{port}/postgres"), Kind::Refused, "URL has none"),
        (format!("postgresql://postgres:{password}@127.0.0.1:{port}/nowhere"), Kind::Refused, "nowhere"),
        ("postgresql://u:geheim@127.0.0.1:1/d".into(), Kind::Unreachable, "refused the connection"),
        ("postgresql://u:geheim@no.such.host.invalid/d".into(), Kind::Unreachable, "cannot be resolved"),
        ("postgresql://u:geheim@/d?host=/nowhere".into(), Kind::Unreachable, "no such socket"),
    ] {
        let error = fails(&url).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_and_another_service_is_told_apart() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = fails(&format!("postgresql://u:geheim@127.0.0.1:{port}/d?connect_timeout=2")).await;
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.message().contains("did not answer within 2 s"), "{error}");

    let web = tokio::spawn(async move {
        while let Ok((mut stream, _)) = silent.accept().await {
            use tokio::io::AsyncWriteExt as _;
            // The peer may be gone already, after enough input.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = fails(&format!("postgresql://u:geheim@127.0.0.1:{port}/d?sslmode=disable")).await;
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    web.abort();
}
