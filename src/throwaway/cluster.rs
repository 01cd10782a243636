//! A running throw-away server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postgres_protocol::escape::escape_identifier;
use tokio_postgres::{Client, NoTls};

use super::port::ReservedPort;
use super::server::{ServerProcess, ServerStart};
use super::template::Template;
use super::watchdog::{GuardedDir, SERVER};
use crate::error::{Error, Result};
use crate::language::Message;

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Ends sessions, writes a checkpoint.
    Fast,
    /// Ends immediately; the next start recovers from WAL.
    Immediate,
    /// `kill -9` of the postmaster: a crash.
    Kill,
}

/// A server with its own directory, port and socket. Stopped and removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    server: Option<ServerProcess>,
    template: Arc<Template>,
    /// Reserved while the server is stopped, too.
    port: ReservedPort,
    // Dropped last, because the drop removes the directory.
    dir: GuardedDir,
}

impl Cluster {
    /// Starts a server with logical decoding that does not sync its files. `settings` go into
    /// `postgresql.conf` after leadbridge's settings. Values are put between quotes as they are.
    ///
    /// # Errors
    /// Refused, with the server's own words, when the server does not start.
    pub async fn start(template: &Arc<Template>, settings: &[(&str, &str)]) -> Result<Self> {
        let dir = GuardedDir::create(template.owner, SERVER)?;
        template.copy_to(dir.path()).await?;
        let port = ReservedPort::for_server()?;
        let mut cluster = Cluster { server: None, template: template.clone(), port, dir };
        cluster.configure(settings)?;
        for _ in 0..5 {
            let (port, url) = (cluster.port(), cluster.url("postgres"));
            match ServerProcess::start(template, cluster.dir.path(), port, &url).await? {
                ServerStart::Running(server) => {
                    cluster.server = Some(server);
                    return Ok(cluster);
                }
                // Another program has taken the port.
                ServerStart::Ended(log) if log.contains("could not create any TCP/IP sockets") => {
                    cluster.port = ReservedPort::for_server()?;
                }
                ServerStart::Ended(log) => return Err(not_started(&log)),
            }
        }
        Err(Error::refused("no free port for a throw-away server in five tries")
            .remedy(Message::verbatim("try again")))
    }

    /// A libpq URL for the superuser, over TCP.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", &self.template.password, database)
    }

    /// A libpq URL for another role. The password must need no escaping in a URL.
    pub fn url_as(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgresql://{role}:{password}@127.0.0.1:{}/{database}?sslmode=disable", self.port())
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.template.password
    }

    /// Directory of the private Unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// A program of PostgreSQL's, which not every installation has.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.template.binaries.program(name)).filter(|path| path.is_file())
    }

    /// A command of PostgreSQL's, to be run as the server's user in the server's directory.
    pub fn command(&self, program: &str) -> std::process::Command {
        self.template.owner.command(self.template.binaries.program(program), self.dir.path())
    }

    /// A session of the superuser.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        connect(&self.url(database)).await
    }

    /// Creates a database and runs the script `schema` in the new database.
    pub async fn create_database(&self, name: &str, schema: &str) -> Result<()> {
        let failed = |e| Error::database(format!("creating database {name}"), &e);
        let create = format!("CREATE DATABASE {}", escape_identifier(name));
        self.connect("postgres").await?.batch_execute(&create).await.map_err(failed)?;
        self.connect(name).await?.batch_execute(schema).await.map_err(failed)
    }

    /// Writes a file into the data directory, readable to the server only (a key, `pg_hba.conf`).
    pub fn install(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.data_dir().join(name);
        self.template.owner.write(&path, content)?;
        Ok(path)
    }

    /// Makes the server read its configuration again.
    pub fn reload(&self) {
        if let Some(server) = &self.server {
            server.signal(Signal::SIGHUP);
        }
    }

    /// Returns when the process is gone. A server that is not running stays down.
    pub async fn stop(&mut self, shutdown: Shutdown) -> Result<()> {
        match self.server.take() {
            None => Ok(()),
            Some(server) => server.stop(shutdown.signal()).await,
        }
    }

    /// Starts a stopped server again, on the same port.
    pub async fn resume(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.server.is_none() {
            let (port, url) = (self.port(), self.url("postgres"));
            match ServerProcess::start(&self.template, self.dir.path(), port, &url).await? {
                ServerStart::Running(server) => self.server = Some(server),
                // After a kill, the old server's children hold its memory or its port for a moment.
                ServerStart::Ended(log) if Instant::now() > deadline => return Err(not_started(&log)),
                ServerStart::Ended(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        Ok(())
    }

    /// Stops the server in an orderly way. New clusters then start as copies with the content of all
    /// databases.
    pub async fn into_template(mut self) -> Result<Template> {
        self.stop(Shutdown::Fast).await?;
        let Cluster { template, dir, .. } = self;
        Ok(template.with_data_of(dir))
    }

    pub async fn restart(&mut self, shutdown: Shutdown) -> Result<()> {
        self.stop(shutdown).await?;
        self.resume().await
    }

    fn configure(&self, settings: &[(&str, &str)]) -> Result<()> {
        let path = self.data_dir().join("postgresql.conf");
        let mut text = std::fs::read_to_string(&path).map_err(|e| super::owner::io("reading", &path, &e))?;
        let socket = self.dir.path().display().to_string();
        let ours = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &socket),
            ("wal_level", "logical"),
            ("max_wal_senders", "20"),
            ("max_replication_slots", "20"),
            ("shared_buffers", "64MB"),
            ("fsync", "off"),
            ("timezone", "UTC"),
            ("log_line_prefix", "%m [%p] %a "),
            ("log_error_verbosity", "terse"),
        ];
        for (name, value) in ours.iter().chain(settings) {
            text.push_str(&format!("{name} = '{value}'\n"));
        }
        self.template.owner.write(&path, text.as_bytes())
    }
}

impl Shutdown {
    fn signal(self) -> Signal {
        match self {
            Shutdown::Fast => Signal::SIGINT,
            Shutdown::Immediate => Signal::SIGQUIT,
            Shutdown::Kill => Signal::SIGKILL,
        }
    }
}

/// A session whose connection is driven by a task that ends with the connection.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .map_err(|e| Error::database("connecting to a throw-away server", &e))?;
    // The task ends when the client is dropped. The client's user sees every error of the connection.
    tokio::spawn(async move { connection.await.ok() });
    Ok(client)
}

fn not_started(log: &str) -> Error {
    Error::refused(format!("a throw-away server did not start: {log}"))
        .remedy(Message::verbatim("check the settings, and the free memory and disk of this machine"))
}
