//! The setup of the demo: two servers with the school's databases, realistic leads, and writers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::daemon::DemoDaemon;
use super::home::Home;
use crate::config::{Config, Flags};
use crate::error::{Error, Result};
use crate::model::lsn::Lsn;
use crate::postgres::step::during;
use crate::postgres::{Session, wal};
use crate::throwaway::leads::{self, Filled};
use crate::throwaway::writers::{LiveWriters, WriteRate};
use crate::throwaway::{Cluster, ReservedPort, Template, fixture};

/// Leads that exist before the story begins; each has about three journey entries.
const LEADS: usize = 1_000;
/// A constant seed gives the same leads in every demo.
const SEED: u64 = 2026;

/// Servers, daemon, writers and sessions of the demo.
pub struct DemoSetup<'h> {
    // Fields are dropped in this order: the daemon before the servers that the daemon talks to.
    pub daemon: Option<DemoDaemon>,
    pub writers: Option<LiveWriters>,
    pub config: Config,
    /// The demo's own sessions, pinned like the daemon's.
    pub landing: Session,
    pub traffic: Session,
    pub filled: Filled,
    /// Version of both servers, such as `15.14`.
    pub version: String,
    home: &'h Home,
    port: ReservedPort,
    landing_url: String,
    _servers: [Cluster; 2],
}

impl<'h> DemoSetup<'h> {
    pub async fn set(home: &'h Home) -> Result<Self> {
        let template = Arc::new(Template::create().await?);
        let (landing_server, traffic_server) = tokio::try_join!(
            server(&template, "landing", fixture::LANDING),
            server(&template, "traffic", fixture::TRAFFIC),
        )?;
        let landing_url = landing_server.url("landing");
        let port = ReservedPort::for_daemon()?;
        home.write_config(&configuration(
            home,
            &landing_url,
            &traffic_server.url("traffic"),
            port.address(),
        ))?;
        let flags = Flags { config: Some(home.config()), ..Flags::default() };
        let config = Config::load(&flags, &|_| None)?;
        let (landing, traffic) =
            tokio::try_join!(config.landing.connect("demo"), config.traffic.connect("demo"))?;
        let config = config.resolved(&landing).await?;
        let version = version(&landing).await?;
        let filled = leads::fill(&landing, &config.names, SEED, LEADS).await?;
        Ok(DemoSetup {
            daemon: None,
            writers: None,
            version,
            config,
            landing,
            traffic,
            filled,
            home,
            port,
            landing_url,
            _servers: [landing_server, traffic_server],
        })
    }

    /// Starts writers that write to Landing like the school's sites, until [`DemoSetup::writers`] is stopped.
    pub fn start_writers(&mut self) {
        let pace = WriteRate { pause: Duration::from_millis(25), seed: SEED, ..WriteRate::default() };
        self.writers = Some(LiveWriters::start(&self.landing_url, &self.config.names, &pace));
    }

    pub fn start_daemon(&mut self) -> Result<&mut DemoDaemon> {
        Ok(self.daemon.insert(DemoDaemon::start(self.home, self.port.address())?))
    }

    /// The running daemon.
    pub fn daemon(&mut self) -> Result<&mut DemoDaemon> {
        self.daemon.as_mut().ok_or_else(|| Error::internal("no daemon runs"))
    }

    /// A position after every change that Landing has committed and flushed.
    pub async fn landing_position(&self) -> Result<Lsn> {
        Ok(wal::sample(&self.landing).await?.flushed)
    }
}

async fn version(session: &Session) -> Result<String> {
    let row = during(session, "asking for the version")
        .row("SELECT split_part(current_setting('server_version'), ' ', 1)", &[])
        .await?;
    Ok(row.get(0))
}

async fn server(template: &Arc<Template>, name: &str, schema: &str) -> Result<Cluster> {
    let cluster = Cluster::start(template, &[]).await?;
    cluster.create_database(name, schema).await?;
    Ok(cluster)
}

/// Small batches, so that a thousand leads show progress; an idle position every second, to keep waits short.
fn configuration(home: &Home, landing: &str, traffic: &str, listen: SocketAddr) -> String {
    // The quotes and escapes of Debug are valid in TOML for the demo's paths and URLs.
    format!(
        "landing_database_url = {landing:?}\ntraffic_database_url = {traffic:?}\nstate_dir = {:?}\n\
         http_listen = \"{listen}\"\n[stream]\nbatch_rows = 250\ncheckpoint_interval = \"1s\"\n",
        home.state_dir()
    )
}
