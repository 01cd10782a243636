//! Waiting for a condition, with a deadline: never for time.

use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);
/// Pauses between two looks: at first short, then a tenth of the time waited so far. Looks cost processor time, which the
/// daemons and servers of the tests running at the same time need.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(50);

/// Calls `look` again and again until an answer; fails after a minute.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(DEADLINE, what, look).await
}

/// The same with another deadline, for tests that prove quickness.
pub async fn within<T>(limit: Duration, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    tried(limit, look).await.unwrap_or_else(|| panic!("in vain for {limit:?}: {what}"))
}

/// The same for a caller with a message of its own: `None` after a minute.
pub async fn tried_for_a_minute<T>(look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    tried(DEADLINE, look).await
}

async fn tried<T>(limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        let waited = begun.elapsed();
        if waited >= limit {
            return None;
        }
        tokio::time::sleep((waited / 10).clamp(SHORTEST, LONGEST)).await;
    }
}

/// Calls `look` until the condition holds; fails after a minute.
pub async fn until_true(what: &str, mut look: impl AsyncFnMut() -> bool) {
    until(what, async || look().await.then_some(())).await;
}
