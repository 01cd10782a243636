//! The contenders: PostgreSQL's own logical replication on a Traffic server of its own, with and without translating
//! triggers. A paused contender costs only the WAL kept by its slot.

use std::time::{Duration, Instant};

use leadbridge::error::{Error, Result};
use leadbridge::model::change::Table;
use leadbridge::throwaway::{Cluster, connect};
use tokio_postgres::Client;

use super::world::{Mark, World, execute, failed};
use super::{comparison, floor};

/// The shadow tables' triggers.
const TRIGGERS: &str = include_str!("native.sql");
const TABLES: [Table; 2] = [Table::LandingLeads, Table::LeadJourney];
const POLL: Duration = Duration::from_millis(2);

/// Destination of the arriving rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tables like Landing's with only a primary key.
    Plain,
    /// The same tables, with triggers that write the real tables with all their indexes.
    Triggers,
}

/// Duration of the subscription's initial copy, from CREATE SUBSCRIPTION.
#[derive(Clone, Copy, Debug)]
pub struct Synchronised {
    /// Until the rows of both tables are there: the copying workers have ended.
    pub copied: Duration,
    /// Until `srsubstate` is `r` for every table. An idle apply worker checks once a second.
    pub ready: Duration,
}

/// A subscription and its server. Paused except during measurements.
pub struct Native {
    kind: Kind,
    traffic: Cluster,
    client: Client,
}

impl Native {
    /// Copies all of Landing into a new Traffic.
    pub async fn synchronise(world: &World, kind: Kind) -> Result<(Native, Synchronised)> {
        let traffic = world.another_traffic().await?;
        let (landing, client) = (world.landing().await?, connect(&traffic.url("traffic")).await?);
        for table in TABLES {
            let source = world.names.landing_table(table);
            floor::plain_table(&landing, &source, &client, &source).await?;
        }
        if kind == Kind::Triggers {
            execute(&client, TRIGGERS).await?;
        }
        let native = Native { kind, traffic, client };
        // The contender has a publication of its own, so the daemon's publication stays unchanged. A publication of
        // an earlier run has no slot left.
        let (name, tables) = (native.name(), TABLES.map(|table| world.names.landing_table(table)).join(", "));
        let publish =
            format!("DROP PUBLICATION IF EXISTS {name}; CREATE PUBLICATION {name} FOR TABLE {tables}");
        execute(&landing, &publish).await?;
        let took = native.subscribe(world).await?;
        native.pause(world).await?;
        Ok((native, took))
    }

    async fn subscribe(&self, world: &World) -> Result<Synchronised> {
        let name = self.name();
        let (port, password) = (world.landing.port(), world.landing.password());
        let subscribe = format!(
            "CREATE SUBSCRIPTION {name} CONNECTION \
             'host=127.0.0.1 port={port} user=postgres password={password} dbname=landing' PUBLICATION {name}"
        );
        let started = Instant::now();
        execute(&self.client, &subscribe).await?;
        self.until("SELECT bool_and(srsubstate IN ('s', 'r')) FROM pg_subscription_rel").await?;
        let copied = started.elapsed();
        self.until("SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel").await?;
        Ok(Synchronised { copied, ready: started.elapsed() })
    }

    /// Applies everything up to the mark.
    pub async fn catch_up(&self, world: &World, mark: &Mark) -> Result<Duration> {
        let table = self.journey();
        let Mark { id, word, .. } = mark;
        let started = Instant::now();
        self.resume().await?;
        self.until(&format!("SELECT source = '{word}' FROM public.{table} WHERE id = '{id}'")).await?;
        let taken = started.elapsed();
        self.pause(world).await?;
        Ok(taken)
    }

    /// # Errors
    /// The first row that differs from the expectation.
    pub async fn compare(&self, world: &World) -> Result<()> {
        let landing = world.landing().await?;
        match self.kind {
            Kind::Plain => comparison::copied(&landing, &self.client).await,
            Kind::Triggers => comparison::mapped(&landing, &self.client).await,
        }
    }

    /// Does autovacuum's work now, so that autovacuum does not disturb another contender's measurement.
    pub async fn settle(&self) -> Result<()> {
        settle(&self.client).await
    }

    pub async fn resume(&self) -> Result<()> {
        execute(&self.client, &format!("ALTER SUBSCRIPTION {} ENABLE", self.name())).await
    }

    /// Returns once no worker reads the slot.
    pub async fn pause(&self, world: &World) -> Result<()> {
        let name = self.name();
        execute(&self.client, &format!("ALTER SUBSCRIPTION {name} DISABLE")).await?;
        let sql = format!("SELECT NOT bool_or(active) FROM pg_replication_slots WHERE slot_name = '{name}'");
        until(&world.landing().await?, &sql).await
    }

    async fn until(&self, condition: &str) -> Result<()> {
        until(&self.client, condition).await.map_err(|error| {
            Error::internal(format!("{error}; the server's log: {}", self.traffic.log().display()))
        })
    }

    /// A session on the contender's Traffic.
    pub fn traffic(&self) -> &Client {
        &self.client
    }

    /// The table in schema public in which a journey entry finally arrives.
    fn journey(&self) -> &'static str {
        match self.kind {
            Kind::Plain => comparison::JOURNEY,
            Kind::Triggers => Table::LeadJourney.traffic_name(),
        }
    }

    /// Name of the subscription, of its slot and of its publication.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Plain => "native_plain",
            Kind::Triggers => "native_triggers",
        }
    }
}

/// Both contenders, side by side.
pub struct Contenders {
    pub plain: Native,
    pub triggers: Native,
}

impl Contenders {
    pub async fn settle(&self) -> Result<()> {
        self.plain.settle().await?;
        self.triggers.settle().await
    }
}

pub async fn settle(client: &Client) -> Result<()> {
    execute(client, "VACUUM ANALYZE").await?;
    execute(client, "CHECKPOINT").await
}

async fn until(client: &Client, condition: &str) -> Result<()> {
    let condition = client.prepare(condition).await.map_err(|error| failed(&error))?;
    let deadline = Instant::now() + Duration::from_secs(600);
    while Instant::now() < deadline {
        let found = client.query_opt(&condition, &[]).await.map_err(|error| failed(&error))?;
        if found.and_then(|row| row.get::<_, Option<bool>>(0)) == Some(true) {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Error::internal("PostgreSQL's own replication did not arrive in ten minutes"))
}
