//! Traffic's own code: a Facebook form that writes its leads straight into `traffic_leads`, whatever is moved meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::http::{Http, Role};
use super::request::{Request, equals};
use crate::testkit::{World, table_rows, until_true};

/// Pause between two writes.
const PACE: Duration = Duration::from_millis(40);

#[derive(Default)]
struct Leads {
    /// What the form has written, by id: columns and their text.
    written: BTreeMap<Uuid, Map<String, Value>>,
    accepted: usize,
    /// Writes that a fence of Traffic refused.
    refused: usize,
}

pub struct Form {
    leads: Arc<Mutex<Leads>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Form {
    pub async fn open(traffic: &str) -> Form {
        let (leads, stop) = (Arc::new(Mutex::new(Leads::default())), CancellationToken::new());
        let (shared, stopped) = (leads.clone(), stop.clone());
        let mut http = Http::connect(traffic).await;
        let task = tokio::spawn(async move {
            let mut number = 0_u64;
            while !stopped.is_cancelled() {
                // The lock is held while a write is under way, so a comparison sees whole writes.
                let mut leads = shared.lock().await;
                leads.write(&mut http, number).await;
                drop(leads);
                number += 1;
                tokio::time::sleep(PACE).await;
            }
        });
        Form { leads, stop, task }
    }

    /// Number of writes that Traffic refused so far.
    pub async fn refused(&self) -> usize {
        self.leads.lock().await.refused
    }

    /// Waits until Traffic has accepted another write.
    pub async fn goes_on(&self) {
        let before = self.leads.lock().await.accepted;
        until_true("the form writes a lead", async || self.leads.lock().await.accepted > before).await;
    }

    /// Each lead is on Traffic as the form has written it, and is neither on Landing nor under Landing's name.
    pub async fn assert_undisturbed(&self, world: &World) {
        let leads = self.leads.lock().await;
        assert!(!leads.written.is_empty(), "the form has written nothing");
        let (landing, traffic) = (world.landing().await, world.traffic().await);
        let rows = table_rows(&traffic, "traffic_leads").await;
        for (id, written) in &leads.written {
            let row = rows.get(id).unwrap_or_else(|| panic!("the form's lead {id} is gone"));
            let wrong: Vec<&String> =
                written.iter().filter(|(name, value)| row[*name] != **value).map(|(name, _)| name).collect();
            assert!(wrong.is_empty(), "the form's lead {id} has other values in {wrong:?}");
            assert_eq!(row["landing_synced_at"], Value::Null, "{id}");
            assert_eq!(row["landing_lead"], "false", "{id}");
        }
        let known: Vec<Uuid> = leads.written.keys().copied().collect();
        for client in [landing, traffic] {
            let sql = "SELECT to_regclass('public.landing_leads') IS NOT NULL";
            if client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
                let found = "SELECT count(*) FROM landing_leads WHERE id = ANY ($1)";
                assert_eq!(client.query_one(found, &[&known]).await.unwrap().get::<_, i64>(0), 0);
            }
        }
    }

    pub async fn close(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

impl Leads {
    /// A new lead, and every third time a change of an earlier one.
    async fn write(&mut self, http: &mut Http, number: u64) {
        let earlier = self.written.keys().next_back().copied();
        let (id, request, columns) = match earlier {
            Some(id) if number % 3 == 2 => {
                let change = json!({ "status": "contacted", "utm_term": format!("again {number}") });
                let update = Request::update("traffic_leads", change.clone());
                (id, update.where_(equals("id", &id.to_string())).returning(&["id"]), change)
            }
            _ => {
                let id = Uuid::new_v4();
                let lead = json!({ "id": id.to_string(), "fb_lead_id": format!("fb{number}"), "fb_form_id": "form",
                    "fb_campaign_id": "camp", "utm_source": "kenjifb", "utm_campaign": "лето", "status": "new",
                    "name": "Форма", "phone": format!("+7 702 {number:07}"), "email": format!("form{number}@example.kz") });
                (id, Request::insert("traffic_leads", lead.clone()).returning(&["id"]), lead)
            }
        };
        let answer = http.answer(Role::Service, &request).await;
        if answer["error"] == "55000" {
            self.refused += 1;
            return;
        }
        assert_eq!(answer["rows"], json!([{ "id": id.to_string() }]));
        self.accepted += 1;
        self.written.entry(id).or_default().extend(columns.as_object().unwrap().clone());
    }
}
