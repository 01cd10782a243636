//! Properties against PostgreSQL itself: random histories end exact, rows equal the oracle's mapping, `->>` is
//! PostgreSQL's own. `PROPTEST_CASES` sets the number of cases.

mod derived;
mod history;
mod json;
mod mapping;
mod stream;
mod theatre;

use proptest::test_runner::Config as Cases;

fn cases(default: u32) -> Cases {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    Cases { cases, max_shrink_iters: 200, failure_persistence: None, ..Cases::default() }
}
