//! Properties against PostgreSQL itself: random transactions end equal, `->>` is PostgreSQL's own.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use leadbridge::checkpoint::LocalStore;
use leadbridge::config::{Config, Flags};
use leadbridge::mapping::json::Object;
use leadbridge::replicator::{self, Until};
use leadbridge::telemetry::Telemetry;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestCaseError, TestRunner};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::testkit::{World, differences};

/// What one statement of a random transaction does. Leads and stages are few, so that they meet often.
#[derive(Clone, Debug)]
enum Act {
    InsertLead {
        lead: u8,
        metadata: usize,
        text: usize,
    },
    /// Leaves the (perhaps TOASTed) metadata as it is.
    UpdateSource {
        lead: u8,
        text: usize,
    },
    UpdateAll {
        lead: u8,
        metadata: usize,
        text: usize,
    },
    ChangeLeadKey {
        lead: u8,
        to: u8,
    },
    DeleteLead {
        lead: u8,
    },
    ReinsertLead {
        lead: u8,
        metadata: usize,
    },
    InsertStage {
        stage: u8,
        lead: u8,
        metadata: usize,
    },
    UpdateStage {
        stage: u8,
        text: usize,
    },
    MoveStage {
        stage: u8,
        lead: u8,
    },
    ChangeStageKey {
        stage: u8,
        to: u8,
    },
    DeleteStage {
        stage: u8,
    },
    /// Something that is undone again by a savepoint.
    Undone {
        lead: u8,
    },
    Lms,
}

const TEXTS: [&str; 9] = [
    "twland",
    "",
    "null",
    "Challenge3D_FB",
    "my FaceBook",
    "intensive",
    "Қазақша \\ \"'\t",
    "google tiktok",
    "expresscourse",
];

/// SQL expressions of `metadata`: every UTM form, odd JSON, and documents that are TOASTed.
const METADATA: [&str; 12] = [
    "NULL",
    "'{}'",
    "'null'",
    "'[1, 2]'",
    "'\"x\"'",
    r#"'{"utm_source": "a", "utmSource": "b", "utmParams": {"utm_term": "t"}}'"#,
    r#"'{"utm_source": "", "utmSource": null, "utmParams": {"utmSource": "камп\u0041"}}'"#,
    r#"'{"utm_source": 42, "utm_term": {"a": [1, {"b": null}]}, "funnel_type": "challenge3d"}'"#,
    r#"'{"funnel_type": "webinar", "fb_ad_id": 12345678901234567890.50}'"#,
    "jsonb_build_object('utm_source', repeat('ы', 300), 'fb_form_id', 'null')",
    "jsonb_build_object('funnel_type', 'intensive1d', 'big', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) g))",
    "jsonb_build_object('utmParams', '{\"utm_medium\": true}'::jsonb, 'big', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 900) g))",
];

fn act() -> impl Strategy<Value = Act> {
    let (lead, stage) = (|| 0..4_u8, || 0..5_u8);
    let (metadata, text) = (|| 0..METADATA.len(), || 0..TEXTS.len());
    prop_oneof![
        4 => (lead(), metadata(), text()).prop_map(|(lead, metadata, text)| Act::InsertLead { lead, metadata, text }),
        3 => (lead(), text()).prop_map(|(lead, text)| Act::UpdateSource { lead, text }),
        2 => (lead(), metadata(), text()).prop_map(|(lead, metadata, text)| Act::UpdateAll { lead, metadata, text }),
        2 => (lead(), lead()).prop_map(|(lead, to)| Act::ChangeLeadKey { lead, to }),
        1 => lead().prop_map(|lead| Act::DeleteLead { lead }),
        1 => (lead(), metadata()).prop_map(|(lead, metadata)| Act::ReinsertLead { lead, metadata }),
        4 => (stage(), lead(), metadata()).prop_map(|(stage, lead, metadata)| Act::InsertStage { stage, lead, metadata }),
        2 => (stage(), text()).prop_map(|(stage, text)| Act::UpdateStage { stage, text }),
        2 => (stage(), lead()).prop_map(|(stage, lead)| Act::MoveStage { stage, lead }),
        1 => (stage(), stage()).prop_map(|(stage, to)| Act::ChangeStageKey { stage, to }),
        1 => stage().prop_map(|stage| Act::DeleteStage { stage }),
        1 => lead().prop_map(|lead| Act::Undone { lead }),
        1 => Just(Act::Lms),
    ]
}

/// A history: transactions, a daemon's batch size, and after how many transactions it is restarted.
#[derive(Clone, Debug)]
struct History {
    transactions: Vec<Vec<Act>>,
    batch_rows: usize,
    restart_after: usize,
}

fn history() -> impl Strategy<Value = History> {
    let transactions = prop::collection::vec(prop::collection::vec(act(), 1..7), 1..9);
    (transactions, prop::sample::select(vec![1_usize, 2, 7, 5000]), 0..9_usize).prop_map(
        |(transactions, batch_rows, restart_after)| History { transactions, batch_rows, restart_after },
    )
}

impl Act {
    /// `case` keeps the rows of different cases apart.
    fn sql(&self, case: u64) -> String {
        match *self {
            Act::Lms => "UPDATE courses SET id = id".to_owned(),
            Act::InsertStage { stage, lead, metadata } => format!(
                "INSERT INTO lead_journey (id, lead_id, stage, metadata) VALUES ({}, {}, 's', {})",
                stage_id(case, stage),
                lead_id(case, lead),
                METADATA[metadata]
            ),
            Act::UpdateStage { stage, text } => format!(
                "UPDATE lead_journey SET stage = {}, source = NULL WHERE id = {}",
                literal(text),
                stage_id(case, stage)
            ),
            Act::MoveStage { stage, lead } => format!(
                "UPDATE lead_journey SET lead_id = {} WHERE id = {}",
                lead_id(case, lead),
                stage_id(case, stage)
            ),
            Act::ChangeStageKey { stage, to } => format!(
                "UPDATE lead_journey SET id = {} WHERE id = {}",
                stage_id(case, to),
                stage_id(case, stage)
            ),
            Act::DeleteStage { stage } => {
                format!("DELETE FROM lead_journey WHERE id = {}", stage_id(case, stage))
            }
            _ => self.lead_sql(case),
        }
    }

    fn lead_sql(&self, case: u64) -> String {
        match *self {
            Act::InsertLead { lead, metadata, text } => insert_lead(case, lead, metadata, text),
            Act::UpdateSource { lead, text } => format!(
                "UPDATE landing_leads SET source = {}, sms_sent = NOT sms_sent WHERE id = {}",
                literal(text),
                lead_id(case, lead)
            ),
            Act::UpdateAll { lead, metadata, text } => format!(
                "UPDATE landing_leads SET source = {0}, metadata = {1}, email = {0}, click_count = 3 \
                 WHERE id = {2}",
                literal(text),
                METADATA[metadata],
                lead_id(case, lead)
            ),
            // Landing's own foreign key lets a lead change its key only while it has no stages.
            Act::ChangeLeadKey { lead, to } => format!(
                "UPDATE landing_leads SET id = {} WHERE id = {}",
                lead_id(case, to),
                lead_id(case, lead)
            ),
            Act::DeleteLead { lead } => {
                format!("DELETE FROM landing_leads WHERE id = {}", lead_id(case, lead))
            }
            Act::ReinsertLead { lead, metadata } => format!(
                "DELETE FROM landing_leads WHERE id = {}; {}",
                lead_id(case, lead),
                insert_lead(case, lead, metadata, 0)
            ),
            Act::Undone { lead } => format!(
                "SAVEPOINT u; UPDATE landing_leads SET name = 'undone' WHERE id = {}; ROLLBACK TO u",
                lead_id(case, lead)
            ),
            ref other => unreachable!("{other:?} is about a stage"),
        }
    }
}

fn lead_id(case: u64, n: u8) -> String {
    format!("'{case:08x}-0000-4000-8000-0000000000{n:02x}'::uuid")
}

fn stage_id(case: u64, n: u8) -> String {
    format!("'{case:08x}-0000-4000-9000-0000000000{n:02x}'::uuid")
}

fn literal(text: usize) -> String {
    postgres_protocol::escape::escape_literal(TEXTS[text])
}

fn insert_lead(case: u64, lead: u8, metadata: usize, text: usize) -> String {
    format!(
        "INSERT INTO landing_leads (id, email, name, phone, source, metadata, amocrm_lead_id, click_count) \
         VALUES ({}, NULL, 'n', '+7 (701) {lead}', {}, {}, '{}', NULL)",
        lead_id(case, lead),
        literal(text),
        METADATA[metadata],
        ["17", "x1", "99999999999999999999"][metadata % 3],
    )
}

/// An act that the database refuses (a taken key, a missing lead) is undone alone, and the rest goes on.
async fn commit(landing: &Client, acts: &[Act], case: u64) {
    landing.batch_execute("BEGIN").await.unwrap();
    for act in acts {
        landing.batch_execute("SAVEPOINT act").await.unwrap();
        if landing.batch_execute(&act.sql(case)).await.is_err() {
            landing.batch_execute("ROLLBACK TO act").await.unwrap();
        }
    }
    landing.batch_execute("COMMIT").await.unwrap();
}

async fn catch_up(world: &World, dir: &Path, batch_rows: usize) {
    let file = dir.join("config.toml");
    std::fs::write(&file, format!("[stream]\nbatch_rows = {batch_rows}\n")).unwrap();
    let env = |name: &str| match name {
        "LANDING_DATABASE_URL" => Some(world.landing_url()),
        "TRAFFIC_DATABASE_URL" => Some(world.traffic_url()),
        "LEADBRIDGE_STATE_DIR" => Some(dir.join("state").display().to_string()),
        "LEADBRIDGE_HTTP_LISTEN" => Some("off".into()),
        "LEADBRIDGE_CONFIG" => Some(file.display().to_string()),
        _ => None,
    };
    let config = Config::load(&Flags::default(), &env).unwrap();
    let store = LocalStore::open(&config.state_dir).unwrap();
    replicator::run(config, store, Telemetry::new(), CancellationToken::new(), Until::CaughtUp)
        .await
        .unwrap();
}

fn cases(default: u32) -> Cases {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    Cases { cases, max_shrink_iters: 200, failure_persistence: None, ..Cases::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_transactions_with_restarts_in_between_end_equal() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    catch_up(&world, dir.path(), 5000).await;
    let case = AtomicU64::new(1);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let run = |history: History| {
            let case = case.fetch_add(1, Ordering::Relaxed);
            let found = runtime.block_on(async {
                let landing = world.landing().await;
                for (number, acts) in history.transactions.iter().enumerate() {
                    if number == history.restart_after {
                        catch_up(&world, dir.path(), history.batch_rows).await;
                    }
                    commit(&landing, acts, case).await;
                }
                catch_up(&world, dir.path(), history.batch_rows).await;
                let found = differences(&world).await;
                // A case that failed must not make the next ones fail.
                landing.batch_execute("DELETE FROM landing_leads; DELETE FROM lead_journey").await.unwrap();
                found
            });
            if found.is_empty() { Ok(()) } else { Err(TestCaseError::fail(found.join("\n"))) }
        };
        TestRunner::new(cases(16)).run(&history(), run).unwrap();
    });
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    // jsonb takes every character but U+0000.
    let text = || "[^\\x00]{0,6}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| Value::Number(n.into())),
        (-1e9..1e9_f64).prop_map(|n| serde_json::json!(n)),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(
                (prop_oneof![Just("key".to_owned()), text().prop_map(String::from)], inner),
                0..4
            )
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_member_is_what_postgresql_says_it_is() {
    let world = World::unmigrated().await;
    let landing = world.landing().await;
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let run = |document: serde_json::Value| {
            let sql = "SELECT d::text, CASE jsonb_typeof(d) WHEN 'object' THEN d->>'key' END, \
                       CASE jsonb_typeof(d->'key') WHEN 'object' THEN d->'key'->>'key' END \
                       FROM (SELECT $1::text::jsonb) AS t (d)";
            let row = runtime.block_on(landing.query_one(sql, &[&document.to_string()])).unwrap();
            let (text, outer, inner): (&str, Option<&str>, Option<&str>) =
                (row.get(0), row.get(1), row.get(2));
            let object = Object::parse(text, |_| true);
            let (ours, within) = (object.text("key"), object.object("key", |_| true).text("key"));
            prop_assert_eq!(ours.as_deref(), outer);
            prop_assert_eq!(within.as_deref(), inner);
            Ok(())
        };
        TestRunner::new(cases(512)).run(&json(), run).unwrap();
    });
}
