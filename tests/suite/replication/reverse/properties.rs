//! For any changes on Traffic, and a daemon that stops at any moment: the forward mapping of Landing's rows gives
//! Traffic's rows, in everything that can be carried, and what refers to a lead on Landing stays with the lead.

use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestCaseError, TestRunner};
use serde_json::{Map, Value};
use tokio_postgres::Client;
use uuid::Uuid;

use super::exact::differences_admitting;
use super::switch::switch;
use crate::testkit::{Bridge, Positions, World, holds, landing, one, traffic};

const TEXTS: &[&str] =
    &["NULL", "''", "'a'", r#"'Қазақша \ "''q'''"#, "repeat('ж', 50)", "'null'", "E'\\x01\\t\\n'"];
const SOURCES: &[&str] =
    &["NULL", "''", "'twland'", "'direct'", "'google'", "'my FaceBook'", "'Challenge_x'", "'INTENSIVE'"];
const FUNNELS: &[&str] = &["NULL", "'express'", "'challenge3d'", "'intensive1d'"];
const NUMBERS: &[&str] = &["NULL", "0", "7", "2147483647"];
const BOOLEANS: &[&str] = &["NULL", "true", "false"];
const TIMES: &[&str] =
    &["NULL", "'infinity'", "'2025-03-30 01:30:00.123456+02'", "'0044-03-15 00:00:00+00 BC'"];
const METADATA: &[&str] = &[
    "NULL",
    "'{}'",
    "'null'",
    "'[1]'",
    r#"'{"utm_source": "a", "utmParams": {"utm_term": "t", "utmMedium": 7}, "funnel_type": "challenge3d"}'"#,
    r#"'{"utmSource": "", "fb_ad_id": 12345678901234567890.50, "": {"ж": [1, {"b": null}]}, "funnel_type": "webinar"}'"#,
    "jsonb_build_object('utm_campaign', repeat('ы', 300), 'big', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 300) g))",
];

const COLUMNS: &[(&str, &[&str])] = &[
    ("email", TEXTS),
    ("name", TEXTS),
    ("phone", TEXTS),
    ("source", SOURCES),
    ("landing_source", SOURCES),
    ("utm_source", TEXTS),
    ("utm_medium", TEXTS),
    ("utm_term", TEXTS),
    ("funnel_type", FUNNELS),
    ("status", &["'new'", "'lost'"]),
    ("amocrm_lead_id", NUMBERS),
    ("amocrm_contact_id", NUMBERS),
    ("amocrm_synced", BOOLEANS),
    ("email_sent", BOOLEANS),
    ("sms_clicked", BOOLEANS),
    ("sms_clicked_at", TIMES),
    ("click_count", NUMBERS),
    ("fb_lead_id", TEXTS),
    ("fb_ad_id", TEXTS),
    ("metadata", METADATA),
    ("sms_error", TEXTS),
    ("email_sent_at", TIMES),
    ("updated_at", &["now()", "'infinity'"]),
];

/// One statement on Traffic, as SQL.
fn act() -> impl Strategy<Value = String> {
    let lead = || (0..6_u8).prop_map(|n| format!("'00000000-0000-0000-0000-0000000000a{n}'"));
    let stage = || (0..6_u8).prop_map(|n| format!("'00000000-0000-0000-0000-0000000000b{n}'"));
    let name = proptest::sample::select(TEXTS);
    let sets = proptest::collection::btree_map(
        proptest::sample::select(COLUMNS).prop_map(|(name, _)| name),
        any::<proptest::sample::Index>(),
        1..6,
    );
    let set = sets.prop_map(|sets| {
        let value = |name: &str, index: &proptest::sample::Index| {
            let values =
                COLUMNS.iter().find(|(column, _)| *column == name).map_or(&[][..], |(_, values)| values);
            format!("{name} = {}", index.get(values))
        };
        sets.iter().map(|(name, index)| value(name, index)).collect::<Vec<_>>().join(", ")
    });
    prop_oneof![
        3 => (lead(), name.clone()).prop_map(|(id, name)| {
            format!("INSERT INTO traffic_leads (id, name, phone, landing_source) VALUES ({id}, {name}, '1', 'twland')")
        }),
        // A lead of Traffic's own.
        1 => (lead(), name).prop_map(|(id, name)| {
            format!("INSERT INTO traffic_leads (id, name, phone, fb_lead_id) VALUES ({id}, {name}, '1', 'fb')")
        }),
        8 => (lead(), set).prop_map(|(id, set)| format!("UPDATE traffic_leads SET {set} WHERE id = {id}")),
        1 => (lead(), lead()).prop_map(|(id, to)| format!("UPDATE traffic_leads SET id = {to} WHERE id = {id}")),
        // A key, together with the entries.
        1 => (lead(), lead()).prop_map(|(id, to)| {
            format!(
                "WITH entries AS (UPDATE traffic_lead_journey SET lead_id = {to} WHERE lead_id = {id})
                     UPDATE traffic_leads SET id = {to} WHERE id = {id}"
            )
        }),
        2 => lead().prop_map(|id| format!("DELETE FROM traffic_leads WHERE id = {id}")),
        4 => (stage(), lead()).prop_map(|(id, lead)| {
            format!("INSERT INTO traffic_lead_journey (id, lead_id, stage, created_at) VALUES ({id}, {lead}, 's', now())")
        }),
        2 => (stage(), lead()).prop_map(|(id, lead)| {
            format!("UPDATE traffic_lead_journey SET lead_id = {lead}, metadata = '[1]' WHERE id = {id}")
        }),
        1 => (stage(), stage()).prop_map(|(id, to)| format!("UPDATE traffic_lead_journey SET id = {to} WHERE id = {id}")),
        1 => stage().prop_map(|id| format!("DELETE FROM traffic_lead_journey WHERE id = {id}")),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Transaction(Vec<String>),
    CatchUp { batch_rows: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::collection::vec(act(), 1..8).prop_map(Step::Transaction),
        1 => proptest::sample::select(&[1_usize, 3, 5000][..]).prop_map(|batch_rows| Step::CatchUp { batch_rows }),
    ];
    proptest::collection::vec(step, 3..14)
}

/// A statement that Traffic refuses (a taken key, a missing lead) is undone alone.
async fn transaction(traffic: &Client, acts: &[String]) {
    traffic.batch_execute("BEGIN").await.unwrap();
    for act in acts {
        traffic.batch_execute("SAVEPOINT act").await.unwrap();
        let end = match traffic.batch_execute(act).await {
            Ok(()) => "RELEASE act",
            Err(_) => "ROLLBACK TO act; RELEASE act",
        };
        traffic.batch_execute(end).await.unwrap();
    }
    traffic.batch_execute("COMMIT").await.unwrap();
}

fn word(source: Option<&str>) -> String {
    let Some(source) = source.filter(|source| *source != "twland") else { return "direct".into() };
    let lower = source.to_ascii_lowercase();
    ["facebook", "tiktok", "google"]
        .into_iter()
        .find(|word| lower.contains(word))
        .unwrap_or(source)
        .to_owned()
}

/// Documented values without a place on Landing.
fn admitted(column: &str, made: &Map<String, Value>, row: &Map<String, Value>) -> bool {
    let text =
        |of: &'_ Map<String, Value>, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let value = text(row, column);
    let no_object = text(row, "metadata").is_some_and(|json| !json.starts_with('{'));
    match column {
        "source" => value.as_ref().is_none_or(|source| word(Some(source)) != *source),
        "landing_source" => Some(word(value.as_deref())) != text(row, "source"),
        "phone_normalized" => true,
        "funnel_type" => {
            let source = text(made, "landing_source").unwrap_or_default().to_ascii_lowercase();
            no_object || value.is_none() || source.contains("challenge") || source.contains("intensive")
        }
        "name" | "phone" | "click_count" | "email_sent" | "sms_clicked" => value.is_none(),
        name if name.starts_with("utm_") => no_object || value.is_none_or(|value| value.is_empty()),
        name if name.starts_with("fb_") => no_object || value.is_none(),
        _ => false,
    }
}

struct Theatre {
    world: World,
    bridge: Bridge,
    /// Number of leads at the ends of histories.
    compared: AtomicI64,
    /// Number of rows of a user-defined table on Landing that do not refer to their leads.
    strays: AtomicI64,
}

impl Theatre {
    async fn play(&self, steps: &[Step]) -> Result<(), TestCaseError> {
        let traffic = self.world.traffic().await;
        // The user-defined trigger is off, because the trigger would stamp updated_at; the cascades must act.
        let unstamped = "ALTER TABLE traffic_leads DISABLE TRIGGER update_traffic_leads_updated_at";
        traffic.batch_execute(unstamped).await.unwrap();
        for step in steps {
            match step {
                Step::Transaction(acts) => transaction(&traffic, acts).await,
                Step::CatchUp { batch_rows } => self.catch_up(*batch_rows).await,
            }
        }
        self.catch_up(5000).await;
        let strays = self.strays.swap(0, Ordering::Relaxed);
        let leads: i64 = one(&self.world.landing().await, "SELECT count(*) FROM landing_leads").await;
        self.compared.fetch_add(leads, Ordering::Relaxed);
        let mut found = differences_admitting(&self.world, &[], admitted).await;
        if !holds(&traffic, "count(*) = 0 FROM leadbridge.reverse_quarantine").await {
            found.push("a row waits".into());
        }
        if strays > 0 {
            found.push(format!("{strays} rows of a user-defined table have lost their leads"));
        }
        // The next history begins with empty tables.
        traffic
            .batch_execute("DELETE FROM traffic_leads; DELETE FROM leadbridge.reverse_quarantine")
            .await
            .unwrap();
        self.catch_up(5000).await;
        if !holds(&self.world.landing().await, "count(*) = 0 FROM landing_leads").await {
            found.push("a row is left over".into());
        }
        if found.is_empty() { Ok(()) } else { Err(TestCaseError::fail(found.join("\n"))) }
    }

    async fn catch_up(&self, batch_rows: usize) {
        let lines =
            format!("[stream]\nbatch_rows = {batch_rows}\n[retry]\ninitial = \"50ms\"\nmax = \"500ms\"\n");
        std::fs::write(self.bridge.dir().join("leadbridge.toml"), lines).unwrap();
        self.bridge.catch_up().await;
        Positions::read(&self.world, &self.bridge).await.assert_ordered();
        self.mark().await;
    }

    /// Counts the leads of which Landing has lost the row in `marks`, and gives every other lead such a row.
    async fn mark(&self) {
        let rows = self.world.traffic().await.query("SELECT id, mark FROM traffic_leads", &[]).await.unwrap();
        let (ids, marks): (Vec<Uuid>, Vec<Uuid>) =
            rows.iter().map(|row| (row.get::<_, Uuid>(0), row.get::<_, Uuid>(1))).unzip();
        let landing = self.world.landing().await;
        let strays =
            "SELECT count(*) FROM unnest($1::uuid[], $2::uuid[]) AS l (id, mark) JOIN given USING (mark)
            WHERE NOT EXISTS (SELECT FROM marks AS m WHERE (m.lead_id, m.mark) = (l.id, l.mark))";
        let strays = landing.query_one(strays, &[&ids, &marks]).await.unwrap();
        self.strays.fetch_add(strays.get(0), Ordering::Relaxed);
        let give = "WITH new AS (INSERT INTO marks SELECT id, mark FROM unnest($1::uuid[], $2::uuid[]) AS l (id, mark)
                JOIN landing_leads USING (id) WHERE mark NOT IN (SELECT mark FROM given) RETURNING mark)
            INSERT INTO given SELECT mark FROM new";
        landing.execute(give, &[&ids, &marks]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_changes_of_traffic_end_equal_in_everything_that_can_be_carried() {
    let world = World::new().await;
    crate::testkit::repeat_numbers(&world).await;
    let bridge = Bridge::new(&world);
    // A lead keeps its mark on Traffic under every key, and so must the row that refers to the lead on Landing.
    traffic(&world, "ALTER TABLE traffic_leads ADD COLUMN mark uuid DEFAULT gen_random_uuid()").await;
    let marks = "CREATE TABLE marks (lead_id uuid REFERENCES landing_leads ON DELETE CASCADE, mark uuid);
                 CREATE TABLE given (mark uuid)";
    landing(&world, marks).await;
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let theatre = Theatre { world, bridge, compared: AtomicI64::new(0), strays: AtomicI64::new(0) };
    let runtime = tokio::runtime::Handle::current();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12_u32);
    let count = cases;
    let cases = Cases { cases, max_shrink_iters: 60, failure_persistence: None, ..Cases::default() };
    tokio::task::block_in_place(|| {
        let run = |history: Vec<Step>| runtime.block_on(theatre.play(&history));
        TestRunner::new(cases).run(&steps(), run).unwrap_or_else(|error| panic!("{error}"));
    });
    // The compared histories had leads.
    let compared = theatre.compared.load(Ordering::Relaxed);
    assert!(compared > i64::from(count), "{compared} leads of {count} histories");
}
