//! Live writers through a cutover: every acknowledged write exists exactly once, on the right side, and each writer
//! sees a pause and one clear error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{CLOSED, CutoverSetup};
use crate::testkit::{one, until_true};

/// All writers together commit 500 transactions a second.
const WRITERS: usize = 10;
const PAUSE: Duration = Duration::from_millis(18);

/// The database that a writer takes for the system of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    Landing,
    Traffic,
}

impl Home {
    fn other(self) -> Home {
        match self {
            Home::Landing => Home::Traffic,
            Home::Traffic => Home::Landing,
        }
    }

    /// Statements of two transactions: a new lead, and a change of the lead.
    fn statements(self) -> [&'static str; 2] {
        match self {
            Home::Landing => [
                "INSERT INTO landing_leads (id, name, phone) VALUES ($1, 'Айгерим', '+7 701')",
                "UPDATE landing_leads SET click_count = 7 WHERE id = $1",
            ],
            Home::Traffic => [
                "INSERT INTO traffic_leads (id, name, phone, landing_source) VALUES ($1, 'Айгерим', '+7 701', 'twland')",
                "UPDATE traffic_leads SET click_count = 7 WHERE id = $1",
            ],
        }
    }
}

/// A lead with an acknowledged insert.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    pub id: Uuid,
    pub inserted_on: Home,
    /// The database that acknowledged the change.
    pub updated_on: Option<Home>,
}

/// Live writers that run until stopped, and record the acknowledged writes.
pub struct LiveWriters {
    stop: CancellationToken,
    tasks: JoinSet<(Vec<Acknowledged>, Vec<String>)>,
    committed: Arc<AtomicUsize>,
}

impl LiveWriters {
    pub fn start(setup: &CutoverSetup) -> LiveWriters {
        let (stop, committed) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let urls = [setup.world.landing_url(), setup.world.traffic_url()];
        let mut tasks = JoinSet::new();
        for _ in 0..WRITERS {
            tasks.spawn(write(urls.clone(), stop.clone(), Arc::clone(&committed)));
        }
        LiveWriters { stop, tasks, committed }
    }

    /// Waits for the given number of further acknowledged transactions.
    pub async fn go_on(&self, transactions: usize) {
        let goal = self.committed.load(Ordering::Relaxed) + transactions;
        until_true("the writers go on", async || self.committed.load(Ordering::Relaxed) >= goal).await;
    }

    /// Returns the acknowledged writes, and the errors of each writer.
    pub async fn stop(mut self) -> (Vec<Acknowledged>, Vec<Vec<String>>) {
        self.stop.cancel();
        let (mut acknowledged, mut errors) = (Vec::new(), Vec::new());
        while let Some(ended) = self.tasks.join_next().await {
            let (of_one, seen) = ended.unwrap();
            acknowledged.extend(of_one);
            errors.push(seen);
        }
        (acknowledged, errors)
    }
}

async fn write(
    urls: [String; 2],
    stop: CancellationToken,
    committed: Arc<AtomicUsize>,
) -> (Vec<Acknowledged>, Vec<String>) {
    let connect = async |url: &str| leadbridge::throwaway::connect(url).await.unwrap();
    let clients = [connect(&urls[0]).await, connect(&urls[1]).await];
    let (mut acknowledged, mut errors, mut home) = (Vec::new(), Vec::new(), Home::Landing);
    let mut execute = async |sql_of: usize, id: Uuid| -> Home {
        loop {
            let client: &Client = &clients[usize::from(home == Home::Traffic)];
            match client.execute(home.statements()[sql_of], &[&id]).await {
                Ok(rows) => {
                    assert_eq!(rows, 1, "an acknowledged lead is not on {home:?}");
                    committed.fetch_add(1, Ordering::Relaxed);
                    return home;
                }
                // As an application does whose connection is configured again.
                Err(error) => {
                    let error = error.as_db_error().expect("the server answers");
                    errors.push(format!("{}: {}", error.code().code(), error.message()));
                    home = home.other();
                }
            }
        }
    };
    while !stop.is_cancelled() {
        let id = Uuid::new_v4();
        let inserted_on = execute(0, id).await;
        tokio::time::sleep(PAUSE).await;
        let mut lead = Acknowledged { id, inserted_on, updated_on: None };
        if !stop.is_cancelled() {
            lead.updated_on = Some(execute(1, id).await);
            tokio::time::sleep(PAUSE).await;
        }
        acknowledged.push(lead);
    }
    (acknowledged, errors)
}

/// Ids and click counts in `table`.
pub async fn held(client: &Client, table: &str, leads: &[Acknowledged]) -> Vec<(Uuid, Option<i32>)> {
    let ids: Vec<Uuid> = leads.iter().map(|lead| lead.id).collect();
    let sql = format!("SELECT id, click_count FROM {table} WHERE id = ANY ($1)");
    client.query(&sql, &[&ids]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Every acknowledged write exists exactly once.
pub fn assert_holds(leads: &[Acknowledged], held: Vec<(Uuid, Option<i32>)>, place: &str) {
    assert_eq!(held.len(), leads.len());
    let held: std::collections::HashMap<Uuid, Option<i32>> = held.into_iter().collect();
    for lead in leads.iter().filter(|lead| lead.updated_on.is_some()) {
        assert_eq!(held.get(&lead.id), Some(&Some(7)), "{place}: {lead:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_on_traffic_and_writers_see_one_clear_error() {
    let setup = CutoverSetup::new().await;
    let writers = LiveWriters::start(&setup);
    writers.go_on(500).await;
    let certificate = setup.switches(&[]).await;
    writers.go_on(500).await;
    let (leads, errors) = writers.stop().await;

    for seen in &errors {
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(seen[0].starts_with(&format!("55000: {CLOSED}")), "{seen:?}");
    }
    let traffic = setup.world.traffic().await;
    assert_holds(&leads, held(&traffic, "traffic_leads", &leads).await, "Traffic");
    let born_there = leads.iter().filter(|lead| lead.inserted_on == Home::Traffic).count() as i64;
    assert!(born_there > 0 && (born_there as usize) < leads.len());
    // Rows from Landing equal Landing's rows at the closing of the fence.
    let from_landing = "SELECT count(*) FROM traffic_leads WHERE landing_synced_at IS NOT NULL";
    let from_landing: i64 = one(&traffic, from_landing).await;
    assert_eq!(certificate["tables"][0]["landing_rows"].as_i64(), Some(from_landing));
    let pause = certificate["write_pause_seconds"].as_f64().unwrap();
    assert!(pause < 20.0, "longer than --max-pause: {pause}");
}
