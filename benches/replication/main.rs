//! `make bench`: the real daemon between two real servers, against PostgreSQL's own cost for the same work.
//!
//! Each measurement ends with a comparison of both sides; a difference ends the benchmark.

mod comparison;
mod cutover;
mod daemon;
mod dashboards;
mod explain;
mod floor;
mod latency;
mod native;
mod report;
mod restart;
mod scale;
mod snapshot;
mod stream;
mod verify;
mod world;

use std::io::{self, Write as _};
use std::process::ExitCode;

use leadbridge::error::{Error, Result};
use leadbridge::language::Message;
use report::Report;
use stream::Commits;
use world::{Metadata, World};

/// Optional parts after the snapshot, which comes first unless the dashboards alone are wanted.
const PARTS: [&str; 8] =
    ["backlog", "updates", "large", "latency", "restart", "verify", "cutover", "dashboards"];

/// Selected [`PARTS`]: all, or the comma-separated list in `BENCH_ONLY`.
struct Wanted(Vec<String>);

impl Wanted {
    fn from_environment() -> Result<Self> {
        let Ok(text) = std::env::var("BENCH_ONLY") else {
            return Ok(Wanted(PARTS.map(str::to_owned).to_vec()));
        };
        let wanted: Vec<String> = text.split(',').map(str::to_owned).collect();
        let known = |part: &String| part == "snapshot" || PARTS.contains(&part.as_str());
        match wanted.iter().find(|part| !known(part)) {
            None => Ok(Wanted(wanted)),
            Some(part) => Err(Error::usage(format!("BENCH_ONLY: there is no part {part}"))
                .remedy(Message::verbatim(format!("the parts: snapshot, {}", PARTS.join(", "))))),
        }
    }

    fn has(&self, part: &str) -> bool {
        self.0.iter().any(|wanted| wanted == part)
    }
}

/// Amount of work, from the environment.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// `BENCH_LEADS`; three journey entries for each lead.
    leads: usize,
    /// `BENCH_TRANSACTIONS`: small transactions in the backlog.
    transactions: usize,
    /// `BENCH_REPEAT`: number of runs behind each median.
    repeat: usize,
    /// `BENCH_METADATA`: `usual`, or `any` for documents of up to 20 kB.
    metadata: Metadata,
}

impl Size {
    /// Reads the environment; `leads` is the default number of leads.
    fn from_environment(leads: usize) -> Result<Self> {
        let number = |name: &str, default: usize| match std::env::var(name) {
            Ok(text) => text.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
                Error::usage(format!("{name}={text} is no number above zero"))
                    .remedy(Message::verbatim("as in BENCH_LEADS=300000"))
            }),
            Err(_) => Ok(default),
        };
        Ok(Size {
            leads: number("BENCH_LEADS", leads)?,
            transactions: number("BENCH_TRANSACTIONS", 15_000)?,
            repeat: number("BENCH_REPEAT", 3)?,
            metadata: match std::env::var("BENCH_METADATA").as_deref() {
                Ok("any") => Metadata::Any,
                Ok("usual") | Err(_) => Metadata::Usual,
                Ok(other) => {
                    return Err(Error::usage(format!("BENCH_METADATA={other} is neither usual nor any"))
                        .remedy(Message::verbatim("leave it out for documents of some 350 bytes")));
                }
            },
        })
    }
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let scales = std::env::var_os("BENCH_SCALES").is_some();
    let measured = runtime.block_on(async { if scales { scale::measure().await } else { measure().await } });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    // With stderr closed the error has no reader.
    let _ = writeln!(io::stderr(), "bench: {error}");
    ExitCode::FAILURE
}

async fn measure() -> Result<()> {
    let (size, wanted) = (Size::from_environment(30_000)?, Wanted::from_environment()?);
    if wanted.0 != ["dashboards"] {
        print(&replication(size, &wanted).await?)?;
    }
    if wanted.has("dashboards") {
        print(&dashboards::measure().await?)?;
    }
    Ok(())
}

async fn replication(size: Size, wanted: &Wanted) -> Result<Report> {
    say(&format!(
        "{} leads, {} small transactions, {} runs of each",
        size.leads, size.transactions, size.repeat
    ));
    let mut report = Report::default();
    let mut world = World::filled(size.leads, size.metadata).await?;
    say(&world.metadata_bytes().await?);
    let contenders = snapshot::measure(&mut world, size, &mut report).await?;
    if wanted.has("backlog") {
        for commits in [Commits::Together, Commits::Apart] {
            stream::small_transactions(&world, Some(&contenders), size, commits, &mut report).await?;
        }
    }
    if wanted.has("updates") {
        stream::spread_updates(&world, Some(&contenders), size, &mut report).await?;
    }
    if wanted.has("large") {
        stream::one_large_transaction(&world, Some(&contenders), &mut report).await?;
    }
    if wanted.has("latency") {
        latency::measure(&world, &contenders.triggers, &mut report).await?;
    }
    if wanted.has("restart") {
        restart::contenders(&world, &contenders, &mut report).await?;
    }
    drop(contenders);
    world.forget_contenders().await?;
    if wanted.has("restart") {
        restart::measure(&world, &mut report).await?;
    }
    if wanted.has("verify") {
        verify::measure(&world, size, &mut report).await?;
    }
    drop(world);
    if wanted.has("cutover") {
        cutover::measure(&mut report).await?;
    }
    Ok(report)
}

fn print(report: &dyn std::fmt::Display) -> Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{report}").map_err(|error| Error::internal(format!("writing the report: {error}")))
}

/// Progress, for a waiting person.
fn say(what: &str) {
    // With stderr closed the message has no reader.
    let _ = writeln!(io::stderr(), "bench: {what}");
}
