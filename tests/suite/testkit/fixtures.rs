//! Actions on the two databases that several stories share.

use leadbridge::checkpoint::{LocalStore, own_schema};
use leadbridge::migrate::{MigrateOptions, MigratedSide, privileges};
use leadbridge::model::lsn::Lsn;
use leadbridge::throwaway::{Cluster, connect};
use tokio_postgres::Client;

use super::{Bridge, Daemon, World, assert_equal, until_true};

/// The three positions; `None` where no position is recorded.
#[derive(Debug)]
pub struct Positions {
    pub slot: Option<Lsn>,
    pub local: Option<Lsn>,
    pub traffic: Option<Lsn>,
}

impl Positions {
    /// Positions of a stopped daemon.
    pub async fn read(world: &World, bridge: &Bridge) -> Positions {
        let lsn = |text: Option<String>| text.map(|text| text.parse().unwrap());
        let slot = "SELECT max(confirmed_flush_lsn)::text FROM pg_replication_slots";
        let traffic = "SELECT max(applied_lsn)::text FROM leadbridge.checkpoint";
        Positions {
            slot: lsn(one(&world.landing().await, slot).await),
            local: LocalStore::open(&bridge.state_dir()).unwrap().read().unwrap().map(|(_, lsn)| lsn),
            traffic: lsn(one(&world.traffic().await, traffic).await),
        }
    }

    /// Asserts slot ≤ local store ≤ Traffic (guarantees 1.3).
    pub fn assert_ordered(&self) {
        assert!(self.slot <= self.local && self.local <= self.traffic, "{self:?}");
        assert!(self.slot.is_some(), "{self:?}");
    }
}

/// The first column of the only row.
pub async fn one<T>(client: &Client, sql: &str) -> T
where
    T: for<'v> tokio_postgres::types::FromSql<'v>,
{
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Whether `SELECT <condition>` is true.
pub async fn holds(client: &Client, condition: &str) -> bool {
    one(client, &format!("SELECT {condition}")).await
}

/// Waits until `SELECT <condition>` is true.
pub async fn until_holds(client: &Client, condition: &str) {
    until_true(condition, async || holds(client, condition).await).await;
}

/// Waits until Landing has noticed the end of a streaming daemon: until then the slot is in use.
pub async fn released(world: &World) {
    until_holds(&world.landing().await, "NOT bool_or(active) FROM pg_replication_slots").await;
}

/// Makes every batch of leads take `seconds` on Traffic, for any role, so that a fault can hit the middle of a copy.
pub async fn brake(world: &World, seconds: f64) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION public.brake() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_catalog.pg_sleep({seconds}); RETURN NULL; END $$;
         CREATE OR REPLACE TRIGGER brake AFTER INSERT ON public.traffic_leads
             FOR EACH STATEMENT EXECUTE FUNCTION public.brake();
         ALTER TABLE public.traffic_leads ENABLE ALWAYS TRIGGER brake"
    );
    world.traffic().await.batch_execute(&sql).await.unwrap();
}

pub async fn release_brake(world: &World) {
    world.traffic().await.batch_execute("DROP FUNCTION public.brake CASCADE").await.unwrap();
}

/// From now on Traffic runs `statement` for each statement that inserts rows into its two tables, for any role;
/// `TG_RELNAME` and `TG_RELID` are the table's.
pub async fn at_each_insert(world: &World, statement: &str) {
    let mut sql = format!(
        "CREATE FUNCTION public.at_insert() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
             $$ BEGIN {statement}; RETURN NULL; END $$;"
    );
    for table in ["public.traffic_leads", "public.traffic_lead_journey"] {
        sql += &format!(
            "CREATE TRIGGER at_insert AFTER INSERT ON {table}
                 FOR EACH STATEMENT EXECUTE FUNCTION public.at_insert();
             ALTER TABLE {table} ENABLE ALWAYS TRIGGER at_insert;"
        );
    }
    traffic(world, &sql).await;
}

/// An installation with the roles of least privilege that a DBA makes from leadbridge's SQL, and with REPLICATION on Traffic,
/// as the runbook's step before a cutover gives it.
pub async fn least_privileged(world: &World) -> Bridge {
    for (database, client) in
        [(MigratedSide::Landing, world.landing().await), (MigratedSide::Traffic, world.traffic().await)]
    {
        let sql = privileges(database, &world.names, "bridge", &MigrateOptions::default()).unwrap();
        client.batch_execute(&sql).await.unwrap();
        client.batch_execute("ALTER ROLE bridge PASSWORD 'bridge'").await.unwrap();
    }
    traffic(world, "ALTER ROLE bridge REPLICATION").await;
    Bridge::between(
        &world.landing.url_as("bridge", "bridge", "landing"),
        &world.traffic.url_as("bridge", "bridge", "traffic"),
    )
}

/// A session of a role that has no right at all.
pub async fn stranger(cluster: &Cluster, database: &str) -> Client {
    let admin = cluster.connect(database).await.unwrap();
    admin.batch_execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'").await.unwrap();
    connect(&cluster.url_as("stranger", "stranger", database)).await.unwrap()
}

/// Lets every commit of a server wait for a standby that is away. A server reads a setting some time later, so the setting
/// is in force once a commit is seen to wait; that commit's session is ended.
pub async fn commits_wait(url: &str) {
    let (operator, committing) = (connect(url).await.unwrap(), connect(url).await.unwrap());
    let backend: i32 = one(&committing, "SELECT pg_backend_pid()").await;
    operator.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'away'").await.unwrap();
    operator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let commits = tokio::spawn(async move {
        while committing.batch_execute("SELECT pg_logical_emit_message(true, 'probe', '')").await.is_ok() {}
    });
    let waits =
        format!("EXISTS (SELECT FROM pg_stat_activity WHERE pid = {backend} AND wait_event = 'SyncRep')");
    until_holds(&operator, &waits).await;
    operator.execute("SELECT pg_terminate_backend($1)", &[&backend]).await.unwrap();
    commits.await.unwrap();
    until_holds(&operator, &format!("NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {backend})")).await;
}

/// Waits until live writers have inserted the given number of further events.
pub async fn writers_go_on(world: &World, events: i64) {
    let landing = world.landing().await;
    let before: i64 = one(&landing, "SELECT count(*) FROM video_events").await;
    until_holds(&landing, &format!("count(*) >= {} FROM video_events", before + events)).await;
}

/// Lets several leads have the same number in AmoCRM, as older Landings do.
pub async fn repeat_numbers(world: &World) {
    landing(world, "ALTER TABLE landing_leads DROP CONSTRAINT landing_leads_amocrm_lead_id_key").await;
}

/// Records the present form of leadbridge's schema as if `migrate` had made it.
pub async fn record_form(client: &Client) {
    // PostgreSQL prints names as the path needs them, and leadbridge's sessions have none.
    client.batch_execute("SET search_path = ''").await.unwrap();
    let form = own_schema::shape("'leadbridge'::regnamespace");
    let recorded: String = one(client, &format!("SELECT {} FROM ({form}) AS s", own_schema::HASH)).await;
    client.batch_execute(&format!("COMMENT ON SCHEMA leadbridge IS '{recorded}'")).await.unwrap();
}

/// Runs statements on Landing.
pub async fn landing(world: &World, sql: &str) {
    world.landing().await.batch_execute(sql).await.unwrap();
}

/// Runs statements on Traffic.
pub async fn traffic(world: &World, sql: &str) {
    world.traffic().await.batch_execute(sql).await.unwrap();
}

/// Every row written on Landing so far has arrived, exactly.
pub async fn caught_up_and_equal(world: &World, daemon: &mut Daemon) {
    daemon.caught_up(world).await;
    assert_equal(world).await;
}
