//! The place where histories are played: two databases, changing daemons, and the rows that must survive.

use std::path::Path;
use std::time::Duration;

use leadbridge::checkpoint::LocalStore;
use leadbridge::config::{Config, Flags};
use leadbridge::migrate::{MigrateOptions, MigratedSide, privileges};
use leadbridge::replication::{self, Until};
use leadbridge::telemetry::Telemetry;
use tempfile::TempDir;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::history::{Act, History, Step, lead_id};
use crate::testkit::{World, differences_beside_quarantine, one, until};

/// Two databases with everything replicated. Each lead on Landing has an `incarnation`, a column that the mapping
/// does not know: the value stays with the row through changes of the key, and differs after a delete.
pub struct Theatre {
    world: World,
    urls: [String; 2],
    dir: TempDir,
}

/// Traffic's own data, which must survive.
#[derive(Default)]
struct Owned {
    /// Incarnations with a sale, and the sale.
    sold: Vec<(Uuid, Uuid)>,
    /// Whole rows of leads born on Traffic.
    born: Vec<String>,
}

impl Theatre {
    pub async fn as_superuser() -> Theatre {
        let world = World::unmigrated().await;
        let urls = [world.landing_url(), world.traffic_url()];
        Theatre::open(world, urls).await
    }

    /// Uses the role of least privilege, which may not set `session_replication_role` here.
    pub async fn with_guard_triggers() -> Theatre {
        let world = World::unmigrated().await;
        let urls = [
            world.landing.url_as("bridge", "bridge", "landing"),
            world.traffic.url_as("bridge", "bridge", "traffic"),
        ];
        let theatre = Theatre::open(world, urls).await;
        let options = MigrateOptions { notifications: true, ..MigrateOptions::default() };
        let world = &theatre.world;
        for (database, client) in
            [(MigratedSide::Landing, world.landing().await), (MigratedSide::Traffic, world.traffic().await)]
        {
            let sql = privileges(database, &world.names, "bridge", &options).unwrap();
            client.batch_execute(&sql).await.unwrap();
            client.batch_execute("ALTER ROLE bridge PASSWORD 'bridge'").await.unwrap();
        }
        let revoke = "REVOKE SET ON PARAMETER session_replication_role FROM bridge";
        world.traffic().await.batch_execute(revoke).await.unwrap();
        theatre
    }

    async fn open(world: World, urls: [String; 2]) -> Theatre {
        world.migrate(&MigrateOptions { notifications: true, ..MigrateOptions::default() }).await;
        crate::testkit::repeat_numbers(&world).await;
        let incarnation =
            "ALTER TABLE landing_leads ADD COLUMN incarnation uuid NOT NULL DEFAULT gen_random_uuid()";
        world.landing().await.batch_execute(incarnation).await.unwrap();
        Theatre { world, urls, dir: tempfile::tempdir().unwrap() }
    }

    /// Returns violations found after any of the drains.
    pub async fn play(&self, history: &History) -> Result<(), String> {
        let (landing, traffic) = (self.world.landing().await, self.world.traffic().await);
        let identity = if history.replica_identity_full { "FULL" } else { "DEFAULT" };
        for table in ["landing_leads", "journey_stages", "scheduled_notifications"] {
            let sql = format!("ALTER TABLE {table} REPLICA IDENTITY {identity}");
            landing.batch_execute(&sql).await.unwrap();
        }
        let mut owned = Owned::default();
        for step in &history.steps {
            match step {
                Step::Transaction(acts) => {
                    landing.batch_execute("BEGIN").await.unwrap();
                    act(&landing, acts).await;
                    landing.batch_execute("COMMIT").await.unwrap();
                }
                Step::Interleaved { one, other, other_commits_first } => {
                    self.interleave(&landing, one, other, *other_commits_first).await;
                }
                Step::CatchUp { batch_rows } => {
                    self.catch_up(*batch_rows).await?;
                    self.examine(&landing, &traffic, &owned).await?;
                }
                Step::Interrupted { batch_rows, millis } => {
                    let limit = Duration::from_millis(*millis);
                    // The order of the time limit and the end does not matter.
                    let _ = tokio::time::timeout(limit, self.run(Until::CaughtUp, *batch_rows)).await;
                }
                Step::Sold { lead } => {
                    // After the catch-up Traffic shows Landing's rows, so the sale's lead is known.
                    self.catch_up(5000).await?;
                    owned.sell(&landing, &traffic, *lead).await;
                }
                Step::BornOnTraffic => owned.give_birth(&traffic).await,
            }
        }
        self.catch_up(5000).await?;
        self.examine(&landing, &traffic, &owned).await
    }

    /// Acts of two sessions in turns. A session that meets a lock of the other session gives the act up.
    async fn interleave(&self, landing: &Client, one: &[Act], other: &[Act], other_commits_first: bool) {
        let second = self.world.landing().await;
        for session in [landing, &second] {
            session.batch_execute("BEGIN; SET LOCAL lock_timeout = '10ms'").await.unwrap();
        }
        for turn in 0..one.len().max(other.len()) {
            act(landing, one.get(turn..=turn).unwrap_or_default()).await;
            act(&second, other.get(turn..=turn).unwrap_or_default()).await;
        }
        let order = if other_commits_first { [&second, landing] } else { [landing, &second] };
        for session in order {
            session.batch_execute("COMMIT").await.unwrap();
        }
    }

    async fn catch_up(&self, batch_rows: usize) -> Result<(), String> {
        self.run(Until::CaughtUp, batch_rows).await
    }

    async fn run(&self, until_when: Until, batch_rows: usize) -> Result<(), String> {
        let config = self.config(self.dir.path(), batch_rows);
        // A dropped daemon releases its state directory a moment later.
        let store =
            until("the state directory is free", async || LocalStore::open(&config.state_dir).ok()).await;
        let shutdown = CancellationToken::new();
        // Dropping the guard ends the daemon's spawned tasks, too.
        let _ended = shutdown.clone().drop_guard();
        let telemetry = Telemetry::new();
        let running = replication::run(config, store, telemetry.clone(), shutdown, until_when);
        match tokio::time::timeout(Duration::from_secs(30), running).await {
            Ok(ended) => ended.close().await.map_err(|error| format!("the daemon ended: {error}")),
            Err(_) => Err(format!("the daemon does not catch up: {:?}", telemetry.live().last_error)),
        }
    }

    fn config(&self, dir: &Path, batch_rows: usize) -> Config {
        let file = dir.join("config.toml");
        let text = format!(
            "scheduled_notifications = true\n[stream]\nbatch_rows = {batch_rows}\non_truncate = \"apply\"\n\
             [retry]\ninitial = \"20ms\"\nmax = \"100ms\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let env = |name: &str| match name {
            "LANDING_DATABASE_URL" => Some(self.urls[0].clone()),
            "TRAFFIC_DATABASE_URL" => Some(self.urls[1].clone()),
            "LEADBRIDGE_STATE_DIR" => Some(dir.join("state").display().to_string()),
            "LEADBRIDGE_HTTP_LISTEN" => Some("off".into()),
            "LEADBRIDGE_CONFIG" => Some(file.display().to_string()),
            _ => None,
        };
        Config::load(&Flags::default(), &env).unwrap()
    }

    async fn examine(&self, landing: &Client, traffic: &Client, owned: &Owned) -> Result<(), String> {
        let mut found = differences_beside_quarantine(&self.world).await;
        found.extend(owned.losses(landing, traffic).await);
        if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
    }

    /// Empties Landing, and deletes Traffic's own rows.
    pub async fn clear(&self, broken: bool) {
        self.world.landing().await.batch_execute("DELETE FROM landing_leads").await.unwrap();
        if broken {
            self.run(Until::Resynced, 5000).await.unwrap();
        }
        let own = "DELETE FROM traffic_sales; DELETE FROM traffic_leads WHERE landing_synced_at IS NULL";
        let traffic = self.world.traffic().await;
        traffic.batch_execute(own).await.unwrap();
        if broken {
            let rest = "DELETE FROM traffic_leads; DELETE FROM leadbridge.quarantine; DELETE FROM leadbridge.conversion_notes";
            traffic.batch_execute(rest).await.unwrap();
        }
    }
}

impl Owned {
    async fn sell(&mut self, landing: &Client, traffic: &Client, lead: u8) {
        let id = lead_id(lead);
        let incarnation = format!("SELECT incarnation FROM landing_leads WHERE id = {id}");
        let Some(found) = landing.query_opt(&incarnation, &[]).await.unwrap() else { return };
        // Triggers are off, because the user-defined trigger would stamp updated_at.
        traffic.batch_execute("BEGIN; SET LOCAL session_replication_role = replica").await.unwrap();
        let sale = format!(
            "WITH met AS (UPDATE traffic_leads SET status = 'qualified' WHERE id = {id} RETURNING id)
             INSERT INTO traffic_sales (lead_id, amount) SELECT id, 1 FROM met RETURNING id"
        );
        let sale = traffic.query_opt(&sale, &[]).await.unwrap();
        traffic.batch_execute("COMMIT").await.unwrap();
        self.sold.extend(sale.map(|sale| (found.get(0), sale.get(0))));
    }

    async fn give_birth(&mut self, traffic: &Client) {
        let sql = "WITH born AS (INSERT INTO traffic_leads (name, status, source, fb_lead_id)
                       VALUES ('born here', 'contacted', 'facebook', '1') RETURNING *)
                   SELECT row(born.*)::text FROM born";
        self.born.push(one(traffic, sql).await);
    }

    async fn losses(&self, landing: &Client, traffic: &Client) -> Vec<String> {
        let mut found = Vec::new();
        for (incarnation, sale) in &self.sold {
            let now = "SELECT id FROM landing_leads WHERE incarnation = $1";
            let now = landing.query_opt(now, &[incarnation]).await.unwrap().map(|row| row.get::<_, Uuid>(0));
            let kept = "SELECT s.lead_id, l.status = 'qualified' FROM traffic_sales s
                        LEFT JOIN traffic_leads l ON l.id = s.lead_id WHERE s.id = $1";
            let kept = traffic.query_one(kept, &[sale]).await.unwrap();
            let (lead, status): (Option<Uuid>, Option<bool>) = (kept.get(0), kept.get(1));
            if lead != now || status != now.map(|_| true) {
                found.push(format!("a sale: of {lead:?}, qualified {status:?}, and Landing has {now:?}"));
            }
        }
        let sold: Vec<Uuid> = self.sold.iter().map(|(incarnation, _)| *incarnation).collect();
        let others = "SELECT id FROM landing_leads WHERE incarnation <> ALL ($1)";
        let others = landing.query(others, &[&sold]).await.unwrap();
        let others: Vec<Uuid> = others.iter().map(|row| row.get(0)).collect();
        let changed = "SELECT id FROM traffic_leads WHERE id = ANY ($1) AND status <> 'new'";
        let changed = traffic.query(changed, &[&others]).await.unwrap();
        found.extend(
            changed.iter().map(|row| format!("lead {}: another one's status", row.get::<_, Uuid>(0))),
        );
        for born in &self.born {
            let there = "SELECT count(*) FROM traffic_leads t WHERE row(t.*)::text = $1";
            if traffic.query_one(there, &[born]).await.unwrap().get::<_, i64>(0) != 1 {
                found.push("a lead that was born on Traffic is not what it was".to_owned());
            }
        }
        found
    }
}

/// An act that the database refuses (a taken key, a missing lead) is undone alone, and the rest goes on.
async fn act(landing: &Client, acts: &[Act]) {
    for one in acts {
        match one {
            Act::Undone(acts) => {
                landing.batch_execute("SAVEPOINT outer_act").await.unwrap();
                Box::pin(act(landing, acts)).await;
                landing.batch_execute("ROLLBACK TO outer_act; RELEASE outer_act").await.unwrap();
            }
            Act::Kept(acts) => {
                landing.batch_execute("SAVEPOINT outer_act").await.unwrap();
                Box::pin(act(landing, acts)).await;
                landing.batch_execute("RELEASE outer_act").await.unwrap();
            }
            plain => {
                landing.batch_execute("SAVEPOINT act").await.unwrap();
                let end = match landing.batch_execute(&plain.sql()).await {
                    Ok(()) => "RELEASE act",
                    Err(_) => "ROLLBACK TO act; RELEASE act",
                };
                landing.batch_execute(end).await.unwrap();
            }
        }
    }
}
