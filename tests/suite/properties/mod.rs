//! Properties against PostgreSQL itself: random histories end exact, rows equal the oracle's mapping, `->>` is
//! PostgreSQL's own. Properties of what operators write: URLs and configuration files. `PROPTEST_CASES` sets the number of cases.

mod derived;
mod history;
mod json;
mod mapping;
mod operators;
mod operators_text;
mod stream;
mod theatre;

use proptest::test_runner::Config as Cases;

fn cases(default: u32) -> Cases {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    Cases { cases, max_shrink_iters: 200, failure_persistence: None, ..Cases::default() }
}
