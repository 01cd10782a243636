//! `make bench`: the real daemon between two real servers, against what PostgreSQL itself needs for the same.
//!
//! Each measurement ends with a comparison of both sides; a run that differs ends everything.

mod comparison;
mod daemon;
mod floor;
mod latency;
mod native;
mod report;
mod restart;
mod snapshot;
mod stream;
mod world;

use std::io::{self, Write as _};
use std::process::ExitCode;

use leadbridge::error::{Error, Result};
use report::Report;
use world::World;

/// How much is done, from the environment.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// `BENCH_LEADS`; three stages to each.
    leads: usize,
    /// `BENCH_TRANSACTIONS`: small ones in the backlog.
    transactions: usize,
    /// `BENCH_REPEAT`: the median of so many runs counts.
    repeat: usize,
}

impl Size {
    fn from_environment() -> Result<Self> {
        let number = |name: &str, default: usize| match std::env::var(name) {
            Ok(text) => text.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
                Error::usage(format!("{name}={text} is no number above zero"))
                    .remedy("as in BENCH_LEADS=300000")
            }),
            Err(_) => Ok(default),
        };
        Ok(Size {
            leads: number("BENCH_LEADS", 30_000)?,
            transactions: number("BENCH_TRANSACTIONS", 15_000)?,
            repeat: number("BENCH_REPEAT", 3)?,
        })
    }
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "bench: {error}");
    ExitCode::FAILURE
}

async fn measure() -> Result<()> {
    let size = Size::from_environment()?;
    say(&format!(
        "{} leads, {} small transactions, {} runs of each",
        size.leads, size.transactions, size.repeat
    ));
    let mut report = Report::default();
    let mut world = World::filled(size.leads).await?;
    let contenders = snapshot::measure(&mut world, size, &mut report).await?;
    stream::small_transactions(&world, Some(&contenders), size, &mut report).await?;
    stream::spread_updates(&world, Some(&contenders), size, &mut report).await?;
    stream::one_large_transaction(&world, Some(&contenders), &mut report).await?;
    drop(contenders);
    world.forget_contenders().await?;
    latency::measure(&world, &mut report).await?;
    restart::measure(&world, &mut report).await?;
    let mut stdout = io::stdout().lock();
    write!(stdout, "{report}").map_err(|error| Error::internal(format!("writing the report: {error}")))
}

/// Progress, for a person who waits.
fn say(what: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "bench: {what}");
}
