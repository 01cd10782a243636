//! Two throw-away servers, Landing full of leads.

use std::path::Path;
use std::sync::Arc;

use leadbridge::error::{Error, Result};
use leadbridge::migrate::{MigrateOptions, migrate};
use leadbridge::model::names::Names;
use leadbridge::throwaway::{Cluster, Template, connect, fixture, leads};
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

/// Memory and WAL as a small server has them; commit times are recorded so that latency is measured by the
/// servers themselves, and nobody has to poll.
const SETTINGS: [(&str, &str); 4] = [
    ("shared_buffers", "512MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "30min"),
    ("track_commit_timestamp", "on"),
];

/// How large the leads' documents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// Some 300 bytes each.
    Usual,
    /// From 100 bytes to 20 kB.
    Any,
}

/// The end of a backlog: everything before `end`, then one stage that gets `word` as its source.
pub struct Mark {
    pub end: PgLsn,
    /// Of the stage.
    pub id: Uuid,
    pub word: String,
}

/// Of the servers that subscribe. By default a worker that starts within five seconds after another waits for five
/// seconds; that pause is not what the benchmark asks about.
const SUBSCRIBER: (&str, &str) = ("wal_retrieve_retry_interval", "10ms");

pub struct World {
    template: Arc<Template>,
    pub landing: Cluster,
    pub traffic: Cluster,
    pub names: Names,
    /// Rows of both tables at the beginning.
    pub rows: u64,
    state: tempfile::TempDir,
}

impl World {
    /// Landing holds `count` leads and three times as many stages; Traffic is migrated and empty.
    pub async fn filled(count: usize, metadata: Metadata) -> Result<Self> {
        let template = Arc::new(Template::create().await?);
        let (landing, traffic) = tokio::try_join!(
            server(&template, "landing", fixture::LANDING),
            server(&template, "traffic", fixture::TRAFFIC)
        )?;
        let mut world =
            World { template, landing, traffic, names: Names::default(), rows: 0, state: directory()? };
        let client = world.landing().await?;
        let filled = match metadata {
            Metadata::Usual => leads::fill_usual(&client, &world.names, 1, count).await?,
            Metadata::Any => leads::fill(&client, &world.names, 1, count).await?,
        };
        world.rows = filled.leads + filled.stages;
        // Whoever reads first would otherwise write the hint bits of every page.
        execute(&client, "VACUUM ANALYZE").await?;
        world.migrate().await?;
        Ok(world)
    }

    /// How large the leads' metadata is as text, where there is any, for a person who waits.
    pub async fn metadata_bytes(&self) -> Result<String> {
        let sql = "SELECT avg(octet_length(metadata::text))::bigint, max(octet_length(metadata::text))::bigint \
                   FROM public.landing_leads";
        let row = self.landing().await?.query_one(sql, &[]).await.map_err(|error| failed(&error))?;
        let (average, largest): (i64, i64) = (row.get(0), row.get(1));
        Ok(format!("metadata of {average} bytes on average, {largest} at most"))
    }

    /// A new, empty Traffic, and nothing left of an earlier replication.
    pub async fn renew_traffic(&mut self) -> Result<()> {
        let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
        execute(&self.landing().await?, drop).await?;
        self.traffic = server(&self.template, "traffic", fixture::TRAFFIC).await?;
        self.state = directory()?;
        self.migrate().await
    }

    /// Drops the slots that are not the daemon's, so that Landing keeps no WAL for them.
    pub async fn forget_contenders(&self) -> Result<()> {
        let sql =
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name <> $1";
        self.landing().await?.execute(sql, &[&self.names.slot]).await.map_err(|error| failed(&error))?;
        Ok(())
    }

    async fn migrate(&self) -> Result<()> {
        self.migrate_to(self.traffic().await?).await
    }

    /// A second Traffic like the first, for somebody else than the daemon.
    pub async fn another_traffic(&self) -> Result<Cluster> {
        let traffic = Cluster::start(&self.template, &[&SETTINGS[..], &[SUBSCRIBER]].concat()).await?;
        traffic.create_database("traffic", fixture::TRAFFIC).await?;
        self.migrate_to(traffic.connect("traffic").await?).await?;
        Ok(traffic)
    }

    async fn migrate_to(&self, mut traffic: Client) -> Result<()> {
        migrate(&mut self.landing().await?, &mut traffic, &self.names, &MigrateOptions::default()).await?;
        Ok(())
    }

    /// What is behind the last commit, and a change after it by which a reader knows that it has passed it.
    pub async fn mark(&self) -> Result<Mark> {
        let landing = self.landing().await?;
        let end = landing.query_one("SELECT pg_current_wal_insert_lsn()", &[]).await;
        let end: PgLsn = end.map_err(|error| failed(&error))?.get(0);
        let word = format!("marker {end}");
        let sql = "UPDATE public.lead_journey SET source = $1 \
                   WHERE id = (SELECT id FROM public.lead_journey ORDER BY id LIMIT 1) RETURNING id";
        let row = landing.query_one(sql, &[&word]).await.map_err(|error| failed(&error))?;
        Ok(Mark { end, id: row.get(0), word })
    }

    /// The daemon's state directory.
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    pub fn landing_url(&self) -> String {
        self.landing.url("landing")
    }

    pub fn traffic_url(&self) -> String {
        self.traffic.url("traffic")
    }

    pub async fn landing(&self) -> Result<Client> {
        connect(&self.landing_url()).await
    }

    pub async fn traffic(&self) -> Result<Client> {
        connect(&self.traffic_url()).await
    }
}

async fn server(template: &Arc<Template>, name: &str, schema: &str) -> Result<Cluster> {
    let cluster = Cluster::start(template, &SETTINGS).await?;
    cluster.create_database(name, schema).await?;
    Ok(cluster)
}

fn directory() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(|error| Error::internal(format!("a private directory: {error}")))
}

pub async fn execute(client: &Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).await.map_err(|error| failed(&error))
}

pub fn failed(error: &tokio_postgres::Error) -> Error {
    Error::database("the benchmark", error)
}
