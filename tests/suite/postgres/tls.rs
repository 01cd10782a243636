//! `sslmode` and `sslrootcert` have libpq's meaning, on both kinds of connection.

use std::path::Path;

use leadbridge::error::{Error, Kind, Result};
use leadbridge::model::side::Side;
use leadbridge::postgres::Endpoint;
use leadbridge::throwaway::Cluster;

use crate::testkit::{Authority, template, until_true};

/// A server with a certificate for `names`, and the server's CA.
async fn server(dir: &Path, names: &[&str]) -> (Cluster, Authority) {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let authority = Authority::new(dir.join("ca.pem"));
    certify(&cluster, &authority, names).await;
    (cluster, authority)
}

async fn certify(cluster: &Cluster, authority: &Authority, names: &[&str]) {
    let (certificate, key) = authority.server(names);
    cluster.install("server.crt", certificate.as_bytes()).unwrap();
    cluster.install("server.key", key.as_bytes()).unwrap();
    let session = cluster.connect("postgres").await.unwrap();
    session.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    cluster.reload();
    let encrypted = url(cluster, "127.0.0.1", "require", None);
    until_true("the server speaks TLS", async || ordinary(&encrypted).await.is_ok()).await;
}

/// Lets a running server speak TLS.
pub async fn encrypt(cluster: &Cluster, dir: &Path) {
    certify(cluster, &Authority::new(dir.join("ca.pem")), &["localhost"]).await;
}

fn url(cluster: &Cluster, host: &str, mode: &str, root: Option<&Path>) -> String {
    let root = root.map_or_else(String::new, |file| format!("&sslrootcert={}", file.display()));
    let (password, port) = (cluster.password(), cluster.port());
    format!("postgresql://postgres:{password}@{host}:{port}/postgres?sslmode={mode}{root}")
}

/// Whether an ordinary connection was encrypted.
async fn ordinary(url: &str) -> Result<bool> {
    let session = Endpoint::parse(Side::Landing, &url.into())?.connect("test").await?;
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = session.query_one(sql, &[]).await.map_err(|error| Error::database("asking", &error))?;
    Ok(row.get(0))
}

async fn replication(url: &str) -> Result<()> {
    let mut session = Endpoint::parse(Side::Landing, &url.into())?.replicate().await?;
    session.identify_system("connecting").await.map(|_| ())
}

async fn accepted(url: &str) {
    assert!(ordinary(url).await.unwrap(), "not encrypted");
    replication(url).await.unwrap();
}

/// Refused on both kinds of connection; the error `says` the reason and the remedy.
async fn refused(url: &str, says: &str) {
    let error = ordinary(url).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert!(error.message().contains(says) && error.remedy_text().is_some(), "{error}");
    let error = replication(url).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert!(error.message().contains(says) && error.remedy_text().is_some(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_ca_and_the_right_name_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, authority) = server(dir.path(), &["localhost"]).await;
    for mode in ["verify-full", "verify-ca", "require"] {
        accepted(&url(&cluster, "localhost", mode, Some(&authority.file))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_the_certificate_is_as_good_as_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, authority) = server(dir.path(), &["127.0.0.1"]).await;
    for mode in ["verify-full", "verify-ca"] {
        accepted(&url(&cluster, "127.0.0.1", mode, Some(&authority.file))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ca_is_refused_by_every_mode_that_checks() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = server(dir.path(), &["localhost"]).await;
    let other = Authority::new(dir.path().join("other.pem"));
    for mode in ["verify-full", "verify-ca", "require"] {
        refused(&url(&cluster, "localhost", mode, Some(&other.file)), "signed by a CA").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_name_is_refused_by_verify_full_alone() {
    let dir = tempfile::tempdir().unwrap();
    for names in [&["db.example"][..], &["*.school.example"]] {
        let (cluster, authority) = server(dir.path(), names).await;
        let root = Some(authority.file.as_path());
        refused(&url(&cluster, "127.0.0.1", "verify-full", root), "another name").await;
        refused(&url(&cluster, "localhost", "verify-full", root), "another name").await;
        accepted(&url(&cluster, "127.0.0.1", "verify-ca", root)).await;
        accepted(&url(&cluster, "localhost", "require", root)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_root_certificate_the_connection_is_encrypted_and_nobody_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = server(dir.path(), &["db.example"]).await;
    for mode in ["require", "prefer"] {
        accepted(&url(&cluster, "127.0.0.1", mode, None)).await;
    }
    assert!(!ordinary(&url(&cluster, "127.0.0.1", "disable", None)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_by_require_and_good_enough_for_prefer() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    refused(&url(&cluster, "127.0.0.1", "require", None), "does not support TLS").await;
    let prefer = url(&cluster, "127.0.0.1", "prefer", None);
    assert!(!ordinary(&prefer).await.unwrap());
    replication(&prefer).await.unwrap();
}
