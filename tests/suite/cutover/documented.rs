//! The SQL that the documents print for operators and applications.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use leadbridge::failpoint::Point;
use leadbridge::migrate::MigrateOptions;
use tokio_postgres::Client;

use super::CutoverSetup;
use crate::testkit::{World, said};

/// The query for the system of record. It stands in the runbook and in the comment of the journal's migration.
const SYSTEM_OF_RECORD: &str = "SELECT state FROM leadbridge.cutover WHERE state IN ('switched', 'rolled_back') \
                                ORDER BY finished_at DESC LIMIT 1";

/// Every document, with its name.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let paths = listed.chain(["README.md", "README.ru.md"].map(|name| root.join(name)));
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The blocks of SQL of a document for Traffic, and the queries within its text.
fn snippets(text: &str) -> Vec<String> {
    let mut found = blocks(text, "```sql");
    let mut is_text = true;
    for line in text.lines() {
        if line.trim().starts_with("```") {
            is_text = !is_text;
        } else if is_text {
            // The odd pieces stand between backticks.
            let codes = line.split('`').skip(1).step_by(2);
            found.extend(codes.filter(|code| code.starts_with("SELECT ")).map(str::to_owned));
        }
    }
    found
}

/// The blocks of code that begin with the line `fence`.
fn blocks(text: &str, fence: &str) -> Vec<String> {
    let (mut found, mut block) = (Vec::new(), None::<String>);
    for line in text.lines() {
        match (&mut block, line.trim()) {
            (None, line) if line == fence => block = Some(String::new()),
            (Some(code), "```") => {
                found.push(std::mem::take(code));
                block = None;
            }
            (Some(code), _) => *code += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    found
}

#[tokio::test]
async fn every_statement_in_the_documents_runs_on_the_tables_that_leadbridge_makes() {
    let world = World::new().await;
    world.migrate(&MigrateOptions { notifications: true, legacy: true, ..MigrateOptions::default() }).await;
    let mut ran = 0;
    for (name, text) in documents() {
        // The statements of a document belong to one session of each side.
        let (traffic, landing) = (world.traffic().await, world.landing().await);
        for (client, found) in [(traffic, snippets(&text)), (landing, blocks(&text, "```sql landing"))] {
            for sql in found {
                let done = client.batch_execute(&sql).await;
                assert!(done.is_ok(), "{name}: {sql}: {done:?}");
                ran += 1;
            }
        }
    }
    assert!(ran >= 8, "only {ran} statements were found");
}

async fn system_of_record(client: &Client) -> Option<String> {
    client.query_opt(SYSTEM_OF_RECORD, &[]).await.unwrap().map(|row| row.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_query_for_the_system_of_record_knows_aborted_cutovers_and_rollbacks() {
    let runbook = documents().into_iter().find(|(name, _)| name.ends_with("runbook.md")).unwrap().1;
    assert!(snippets(&runbook).iter().any(|sql| sql == SYSTEM_OF_RECORD), "the runbook has another query");
    let migration = include_str!("../../../sql/traffic/020_cutover.sql");
    let comment: String = migration.lines().filter_map(|line| line.strip_prefix("--")).collect();
    let said_there = SYSTEM_OF_RECORD.replace("leadbridge.", "{{schema}}.");
    assert!(comment.split_whitespace().collect::<Vec<_>>().join(" ").contains(&said_there), "{comment}");

    let mut setup = CutoverSetup::new().await;
    let client = setup.world.traffic().await;
    assert_eq!(system_of_record(&client).await, None);
    let dying = setup.bridge.dying_command(&setup.arguments(&[]), Point::CutoverFenced, 1);
    said(dying).await;
    setup.settled().await;
    assert_eq!(system_of_record(&client).await, None);
    setup.switches(&[]).await;
    setup.flows_back().await;
    let dying = setup.bridge.dying_command(&setup.rollback_arguments(&[]), Point::RollbackFenced, 1);
    said(dying).await;
    setup.settled().await;
    assert_eq!(system_of_record(&client).await.as_deref(), Some("switched"));
    setup.flows_back().await;
    setup.rolls_back(&[]).await;
    assert_eq!(system_of_record(&client).await.as_deref(), Some("rolled_back"));
}

/// The commands of leadbridge that a document names in its text, and the lines of its shell blocks without their comments.
fn commands(text: &str) -> BTreeSet<String> {
    let mut prose = String::new();
    let mut is_text = true;
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            is_text = !is_text;
        } else if is_text {
            prose += line;
            prose.push(' ');
        }
    }
    let spans = prose.split('`').skip(1).step_by(2).filter(|span| span.starts_with("leadbridge "));
    let shell = blocks(text, "```sh").concat();
    let lines = shell.lines().map(|line| line.split(" #").next().unwrap().trim());
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    spans.chain(lines).map(str::to_owned).collect()
}

#[test]
fn a_russian_page_has_the_sections_and_commands_of_its_english_page() {
    let documents: BTreeMap<_, _> = documents().into_iter().collect();
    let translated: Vec<_> = documents.iter().filter(|(name, _)| name.ends_with(".ru.md")).collect();
    assert!(translated.len() >= 3, "{:?}", documents.keys());
    for (name, russian) in translated {
        let english = &documents[&name.replace(".ru.md", ".md")];
        let missing: Vec<_> = commands(english).difference(&commands(russian)).cloned().collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?}");
        let sections = |text: &str| text.lines().filter(|line| line.starts_with("## ")).count();
        assert_eq!(sections(russian), sections(english), "{name}");
    }
}
