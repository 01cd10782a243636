//! A Landing and a Traffic server of a test's own.

use std::sync::Arc;

use leadbridge::migrate::{Options, Report, migrate};
use leadbridge::names::Names;
use leadbridge::throwaway::{Cluster, Template, connect, fixture, leads, writers};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

/// Both servers, with the names that leadbridge uses on them. Gone when dropped.
pub struct World {
    pub landing: Cluster,
    pub traffic: Cluster,
    pub names: Names,
}

/// One `initdb` for all tests of this process.
pub async fn template() -> Arc<Template> {
    static TEMPLATE: OnceCell<Arc<Template>> = OnceCell::const_new();
    TEMPLATE.get_or_init(async || Arc::new(Template::create().await.unwrap())).await.clone()
}

impl World {
    /// The databases as the school has them, before `leadbridge migrate`.
    pub async fn unmigrated() -> World {
        Self::unmigrated_with(&[], &[]).await
    }

    /// The same, with settings for the two servers.
    pub async fn unmigrated_with(landing: &[(&str, &str)], traffic: &[(&str, &str)]) -> World {
        Self::from_template(&template().await, landing, traffic).await
    }

    async fn from_template(
        template: &Arc<Template>,
        landing: &[(&str, &str)],
        traffic: &[(&str, &str)],
    ) -> World {
        let server = async |settings, name, schema| {
            let cluster = Cluster::start(template, settings).await.unwrap();
            cluster.create_database(name, schema).await.unwrap();
            cluster
        };
        let (landing, traffic) = tokio::join!(
            server(landing, "landing", fixture::LANDING),
            server(traffic, "traffic", fixture::TRAFFIC),
        );
        World { landing, traffic, names: Names::default() }
    }

    /// Migrated, and still empty of leads.
    pub async fn new() -> World {
        let world = Self::unmigrated().await;
        world.migrate(&Options::default()).await;
        world
    }

    /// Migrated, and with other system identifiers than all other worlds have: not of the one template.
    pub async fn of_another_cluster() -> World {
        let template = Arc::new(Template::create().await.unwrap());
        let world = Self::from_template(&template, &[], &[]).await;
        world.migrate(&Options::default()).await;
        world
    }

    pub async fn migrate(&self, options: &Options) -> Report {
        let (mut landing, mut traffic) = (self.landing().await, self.traffic().await);
        migrate(&mut landing, &mut traffic, &self.names, options).await.unwrap()
    }

    pub fn landing_url(&self) -> String {
        self.landing.url("landing")
    }

    pub fn traffic_url(&self) -> String {
        self.traffic.url("traffic")
    }

    /// A superuser's session on Landing, with times in UTC.
    pub async fn landing(&self) -> Client {
        connect(&self.landing_url()).await.unwrap()
    }

    /// A superuser's session on Traffic, with times in UTC.
    pub async fn traffic(&self) -> Client {
        connect(&self.traffic_url()).await.unwrap()
    }

    /// Writes that many leads, and three times as many stages, to Landing.
    pub async fn fill(&self, seed: u64, count: usize) -> leads::Filled {
        leads::fill(&self.landing().await, &self.names, seed, count).await.unwrap()
    }

    /// Lets live writers run on Landing until they are stopped.
    pub fn write(&self, pace: &writers::Pace) -> writers::Writers {
        writers::Writers::start(&self.landing_url(), &self.names, pace)
    }
}
