//! The form of a clear refusal: exit code 4, one error, and a remedy.

use std::time::Duration;

use super::{Daemon, Said};

/// Asserts exit code 4, one error, and a remedy.
pub fn assert_refused(said: &Said, words: &[&str]) {
    assert_eq!(said.code, 4, "{}", said.err);
    assert_eq!(said.err.matches("error: ").count(), 1, "{}", said.err);
    assert_eq!(said.err.matches("what to do: ").count(), 1, "{}", said.err);
    for word in words {
        assert!(said.err.contains(word), "{word} is not in: {}", said.err);
    }
}

/// The same for a daemon, which must end by itself.
pub async fn ends_refused(daemon: &mut Daemon, words: &[&str]) {
    let ended = daemon.ended(Duration::from_secs(30)).await;
    assert_eq!(ended.code(), Some(4), "{}", daemon.log());
    let log = daemon.log();
    let (_, error) = log.rsplit_once("error: ").expect("an error");
    for word in words.iter().chain(&["what to do: "]) {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
}
