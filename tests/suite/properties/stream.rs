//! For any changes on Landing, and a daemon that stops at any moment, Traffic ends exact.

use proptest::test_runner::{TestCaseError, TestRunner};

use super::cases;
use super::history::{History, history};
use super::theatre::Theatre;

/// Histories that failed once, and histories that every run plays, named by their content.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/stream");

async fn play(theatre: &Theatre, history: &History) -> Result<(), TestCaseError> {
    let played = theatre.play(history).await;
    // A failed history must not make later histories fail.
    theatre.clear(played.is_err()).await;
    played.map_err(|found| {
        let case = serde_json::to_string(history).unwrap();
        TestCaseError::fail(format!("{found}\nto keep it, as a file of tests/regressions/stream:\n{case}"))
    })
}

fn play_at_random(theatre: &Theatre, count: u32) {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let run = |history: History| runtime.block_on(play(theatre, &history));
        TestRunner::new(cases(count)).run(&history(), run).unwrap_or_else(|error| panic!("{error}"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn random_transactions_with_restarts_in_between_end_equal() {
    play_at_random(&Theatre::as_superuser().await, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_transactions_end_equal_where_the_role_may_not_switch_triggers_off() {
    play_at_random(&Theatre::with_guard_triggers().await, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_history_that_is_kept_ends_equal() {
    let theatres = [Theatre::as_superuser().await, Theatre::with_guard_triggers().await];
    let mut files: Vec<_> =
        std::fs::read_dir(REGRESSIONS).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{REGRESSIONS}");
    for file in files {
        let history = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for theatre in &theatres {
            let played = play(theatre, &history).await;
            played.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
}
