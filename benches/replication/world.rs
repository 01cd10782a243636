//! Two throw-away servers, with Landing full of leads.

use std::path::Path;
use std::sync::Arc;

use leadbridge::error::{Error, Result};
use leadbridge::migrate::{MigrateOptions, migrate};
use leadbridge::model::names::Names;
use leadbridge::throwaway::{Cluster, Template, connect, fixture, leads};
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

/// Memory and WAL as on a small server. The servers record commit times, so latency needs no polling.
const SETTINGS: [(&str, &str); 4] = [
    ("shared_buffers", "512MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "30min"),
    ("track_commit_timestamp", "on"),
];

/// Size of the leads' documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// Some 350 bytes each.
    Usual,
    /// From 100 bytes to 20 kB.
    Any,
}

/// The end of a backlog: all work ends before `end`; then a journey entry gets `word` as its source.
pub struct Mark {
    pub end: PgLsn,
    /// Id of the journey entry.
    pub id: Uuid,
    pub word: String,
}

/// Setting for subscribing servers. By default a worker that starts within five seconds after another worker waits
/// for five seconds, and the benchmark does not measure that wait.
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
    /// Landing holds `count` leads and three times as many journey entries; Traffic is migrated and empty.
    pub async fn filled(count: usize, metadata: Metadata) -> Result<Self> {
        let template = Arc::new(Template::create().await?);
        let (landing, traffic) = tokio::try_join!(
            server(&template, "landing", fixture::LANDING),
            server(&template, "traffic", fixture::TRAFFIC)
        )?;
        let mut world =
            World { template, landing, traffic, names: fixture::names(), rows: 0, state: directory()? };
        let client = world.landing().await?;
        let filled = match metadata {
            Metadata::Usual => leads::fill_usual(&client, &world.names, 1, count).await?,
            Metadata::Any => leads::fill(&client, &world.names, 1, count).await?,
        };
        world.rows = filled.leads + filled.journey_entries;
        // Without VACUUM the first reader would write the hint bits of every page.
        execute(&client, "VACUUM ANALYZE").await?;
        world.migrate().await?;
        Ok(world)
    }

    /// Average size of the leads' metadata as text, for a waiting person.
    pub async fn metadata_bytes(&self) -> Result<String> {
        let sql = "SELECT avg(octet_length(metadata::text))::bigint, max(octet_length(metadata::text))::bigint \
                   FROM public.landing_leads";
        let row = self.landing().await?.query_one(sql, &[]).await.map_err(|error| failed(&error))?;
        let (average, largest): (i64, i64) = (row.get(0), row.get(1));
        Ok(format!("metadata of {average} bytes on average, {largest} at most"))
    }

    /// A new, empty Traffic, without remains of an earlier replication.
    pub async fn renew_traffic(&mut self) -> Result<()> {
        let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
        execute(&self.landing().await?, drop).await?;
        self.traffic = server(&self.template, "traffic", fixture::TRAFFIC).await?;
        self.state = directory()?;
        self.migrate().await
    }

    /// Drops every slot except the daemon's, so that Landing keeps no WAL for the contenders.
    pub async fn forget_contenders(&self) -> Result<()> {
        let sql =
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name <> $1";
        self.landing().await?.execute(sql, &[&self.names.slot]).await.map_err(|error| failed(&error))?;
        Ok(())
    }

    async fn migrate(&self) -> Result<()> {
        self.migrate_to(self.traffic().await?).await
    }

    /// A second Traffic like the first, for a contender.
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

    /// The position after the last commit, and a later change by which a reader notices that the position is passed.
    pub async fn mark(&self) -> Result<Mark> {
        let landing = self.landing().await?;
        let end = landing.query_one("SELECT pg_current_wal_insert_lsn()", &[]).await;
        let end: PgLsn = end.map_err(|error| failed(&error))?.get(0);
        let word = format!("marker {end}");
        let sql = "UPDATE public.journey_stages SET source = $1 \
                   WHERE id = (SELECT id FROM public.journey_stages ORDER BY id LIMIT 1) RETURNING id";
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
