//! Two schedulers that send notifications, one on each database, while the system of record changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::http::{Http, Role};
use super::request::{Condition, Request, compared, equals};
use crate::testkit::until_true;

/// Pause between two runs of a scheduler: slow enough that a switch finds notifications that are still pending.
const PACE: Duration = Duration::from_millis(50);

/// What all schedulers have sent: the senders of each notification, by id.
pub type Sent = Arc<Mutex<BTreeMap<String, Vec<&'static str>>>>;

/// A scheduler that claims a notification before sending: it sends what its own update has changed to `sent`.
pub struct Scheduler {
    name: &'static str,
    sent: Sent,
    /// Notifications that one run may send.
    at_once: Arc<AtomicU32>,
    /// Runs that the database refused.
    refused: Arc<AtomicU32>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// `url` is the HTTP layer's connection, `table` the name by which the scheduler knows the notifications.
    pub async fn start(name: &'static str, url: &str, table: &'static str, sent: &Sent) -> Scheduler {
        let mut http = Http::connect(url).await;
        let (at_once, refused) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicU32::new(0)));
        let stop = CancellationToken::new();
        let (limit, refusals, stopped, book) = (at_once.clone(), refused.clone(), stop.clone(), sent.clone());
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let due = Request::select(table, &["id"])
                    .where_(Condition::All(vec![
                        equals("status", "pending"),
                        compared("scheduled_for", "<=", "now"),
                    ]))
                    .ordered("scheduled_for, id")
                    .page(limit.load(Ordering::Relaxed), 0);
                let due = http.answer(Role::Service, &due).await;
                for row in due["rows"].as_array().unwrap_or(&Vec::new()) {
                    let id = row["id"].as_str().unwrap().to_owned();
                    match claim(&mut http, table, &id).await {
                        Claim::Ours => book.lock().await.entry(id).or_default().push(name),
                        Claim::Anothers => {}
                        Claim::Refused => {
                            refusals.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                tokio::time::sleep(PACE).await;
            }
        });
        Scheduler { name, sent: sent.clone(), at_once, refused, stop, task }
    }

    /// Number of claims that the database refused.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until this scheduler has sent `more` notifications.
    pub async fn sends(&self, more: usize) {
        let before = self.count().await;
        until_true("a scheduler sends", async || self.count().await >= before + more).await;
    }

    async fn count(&self) -> usize {
        let sent = self.sent.lock().await;
        sent.values().filter(|senders| senders.contains(&self.name)).count()
    }

    /// From now on each run sends all that is due.
    pub fn hurry(&self) {
        self.at_once.store(1000, Ordering::Relaxed);
    }

    /// Lets the present run end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

enum Claim {
    Ours,
    Anothers,
    Refused,
}

async fn claim(http: &mut Http, table: &'static str, id: &str) -> Claim {
    let sent = json!({ "status": "sent", "sent_at": "2024-06-01T00:00:00Z" });
    let pending = Condition::All(vec![equals("id", id), equals("status", "pending")]);
    let claim = Request::update(table, sent).where_(pending).returning(&["id"]);
    let answer = http.answer(Role::Service, &claim).await;
    match (&answer["error"], answer["rows"].as_array()) {
        (Value::Null, Some(rows)) if rows.len() == 1 => Claim::Ours,
        (Value::Null, Some(_)) => Claim::Anothers,
        (Value::String(code), _) if code == "55000" || code == "42501" => Claim::Refused,
        _ => panic!("{answer}"),
    }
}
