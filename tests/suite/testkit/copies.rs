//! Copies of a server's data directory: a backup of its disk, or a standby.

use std::path::{Path, PathBuf};

use leadbridge::throwaway::{Cluster, Shutdown};

use super::template;

pub async fn copy_dir(from: &Path, to: &Path) {
    let mut command = tokio::process::Command::new("cp");
    assert!(command.arg("-Rp").arg(from).arg(to).status().await.unwrap().success());
}

/// Stops the server, copies the server's disk, and starts the server again.
pub async fn back_up(server: &mut Cluster) -> PathBuf {
    let backup = server.data_dir().with_file_name("backup");
    server.stop(Shutdown::Fast).await.unwrap();
    copy_dir(&server.data_dir(), &backup).await;
    server.resume().await.unwrap();
    backup
}

/// Puts the copied disk back; later work of the server is lost.
pub async fn restore(server: &mut Cluster, backup: &Path) {
    server.stop(Shutdown::Immediate).await.unwrap();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    copy_dir(backup, &server.data_dir()).await;
    server.resume().await.unwrap();
}

/// A running standby of `primary`, which is restarted for the standby. The standby synchronises slots through
/// `database`.
pub async fn standby_of(primary: &mut Cluster, database: &str, settings: &[(&str, &str)]) -> Cluster {
    let mut standby = Cluster::start(&template().await, &[]).await.unwrap();
    standby.stop(Shutdown::Fast).await.unwrap();
    primary.stop(Shutdown::Fast).await.unwrap();
    std::fs::remove_dir_all(standby.data_dir()).unwrap();
    copy_dir(&primary.data_dir(), &standby.data_dir()).await;
    let (port, password) = (primary.port(), primary.password());
    let primary_conninfo =
        format!("host=127.0.0.1 port={port} user=postgres password={password} dbname={database}");
    let socket_dir = standby.socket_dir().display().to_string();
    let mut text = std::fs::read_to_string(standby.data_dir().join("postgresql.conf")).unwrap();
    let own = [("unix_socket_directories", &*socket_dir), ("primary_conninfo", &primary_conninfo)];
    for (name, value) in own.iter().chain(settings) {
        text.push_str(&format!("{name} = '{value}'\n"));
    }
    standby.install("postgresql.conf", text.as_bytes()).unwrap();
    standby.install("standby.signal", b"").unwrap();
    primary.resume().await.unwrap();
    standby.resume().await.unwrap();
    standby
}
