//! `leadbridge cutover` and `leadbridge rollback`: fence, drain, verify, switch.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::confirm::confirm;
use super::doctor::lines;
use super::signals::{Signals, handler};
use super::{print, print_json};
use crate::cli;
use crate::config::Config;
use crate::cutover::orphan::OrphanedFence;
use crate::cutover::readiness::{Readiness, ReadinessTerms, TrafficOwned};
use crate::cutover::{self, CutoverCertificate, CutoverOptions, Direction};
use crate::disk;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::landing::left_out::LeftOut;
use crate::language::Language;
use crate::mapping::not_carried::{self, NotCarried};
use crate::report::Findings;

/// Output of `--json` when nothing was switched: a dry run, or a condition that does not hold.
#[derive(Serialize)]
struct CutoverDocument<'r> {
    ready: bool,
    #[serde(flatten)]
    findings: &'r Findings,
    markers: Option<cutover::Latency>,
    predicted_pause_seconds: Option<f64>,
    max_pause_seconds: f64,
    /// Columns that a rollback would not bring back to Landing.
    not_carried_back: &'static [NotCarried],
    /// Columns that neither direction writes, because Landing lacks their source.
    traffic_owned: &'r [TrafficOwned],
    left_out: &'r [LeftOut],
}

pub async fn run(config: &Config, arguments: &cli::Cutover, language: Language) -> Result<Exit> {
    let question = format!(
        "Landing ({}) will refuse every write to leads, and Traffic ({}) will be the system of record. `leadbridge \
         rollback` undoes it.",
        config.landing, config.traffic
    );
    change(config, Direction::Cutover, &arguments.change, Duration::ZERO, &question, language).await
}

pub async fn roll_back(config: &Config, arguments: &cli::Rollback, language: Language) -> Result<Exit> {
    if let Some(orphan) = OrphanedFence::find(config).await? {
        return open_orphan(config, orphan, &arguments.change).await;
    }
    let question = format!(
        "Landing ({}) will take writes to leads again, and Traffic ({}) will refuse them for {}.",
        config.landing,
        config.traffic,
        humantime::format_duration(arguments.refuse_for)
    );
    change(config, Direction::Rollback, &arguments.change, arguments.refuse_for, &question, language).await
}

/// Opens a Landing that a fence of a forgotten cutover closes.
async fn open_orphan(
    config: &Config,
    orphan: OrphanedFence,
    arguments: &cli::ChangeArguments,
) -> Result<Exit> {
    let text = format!(
        "Landing ({}) is closed by the fence of cutover {}, which Traffic does not know, and Traffic has Landing's rows",
        config.landing,
        orphan.cutover()
    );
    if arguments.dry_run {
        print(&format!("{text}: `leadbridge rollback` would open Landing. Nothing was changed.\n"))?;
        return Ok(Exit::Ok);
    }
    if !arguments.yes {
        confirm(&format!("{text}. Landing will take writes to leads again."))?;
    }
    orphan.open().await?;
    print("Landing takes writes to leads again.\n")?;
    Ok(Exit::Ok)
}

async fn change(
    config: &Config,
    direction: Direction,
    arguments: &cli::ChangeArguments,
    refuse_for: Duration,
    question: &str,
    language: Language,
) -> Result<Exit> {
    let options = CutoverOptions {
        readiness: ReadinessTerms {
            max_lag: Duration::from_secs_f64(arguments.max_lag_seconds),
            max_pause: arguments.max_pause,
            verify_wait: Duration::from_secs(30),
            compare: arguments.compare,
        },
        timeout: arguments.timeout,
        lock_timeout: arguments.lock_timeout,
        hook: arguments.hook.clone(),
        refuse_for,
    };
    if arguments.hook_settled {
        cutover::hook_settled(config).await?;
        print("recorded: the hook of the last cutover or rollback was run by hand\n")?;
        return Ok(Exit::Ok);
    }
    check_directory(&arguments.certificate)?;
    let prepared = Box::pin(cutover::prepare(config, &options, direction)).await?;
    let ready = prepared.readiness.is_ready();
    if arguments.dry_run || !ready {
        report(&prepared.readiness, direction, arguments, language)?;
        return Ok(if ready { Exit::Ok } else { Exit::CheckFailed });
    }
    if !arguments.json {
        print(&(lines(&prepared.readiness.findings, language) + &what_stays(direction)))?;
    }
    if !arguments.yes {
        confirm(question)?;
    }
    // From here on a signal aborts in order: the hook and the fence are undone first.
    let interrupted = CancellationToken::new();
    // A terminal that closes (a lost ssh session) is such a signal.
    let signals = (Signals::listen()?, handler(SignalKind::hangup())?);
    let listening = AbortOnDropHandle::new(tokio::spawn(interrupt(signals, interrupted.clone())));
    let certificate = Box::pin(cutover::execute(&options, prepared, &interrupted)).await;
    drop(listening);
    let certificate = certificate?;
    let saved = certificate.save(&arguments.certificate);
    if arguments.json {
        print_json(&certificate)?;
    } else {
        print(&certificate.page())?;
    }
    let paths = saved?;
    tracing::info!("the certificate: {}", paths.map(|path| path.display().to_string()).join(", "));
    verdict(&certificate)
}

/// Cancels `interrupted` at the first signal.
async fn interrupt((mut signals, mut hangup): (Signals, Signal), interrupted: CancellationToken) {
    let name = tokio::select! {
        name = signals.next() => name,
        _ = hangup.recv() => "SIGHUP",
    };
    tracing::warn!(
        "{name}: undoing what was begun; a second signal ends the command at once, and the daemon or the next command \
         undoes the rest"
    );
    interrupted.cancel();
}

fn verdict(certificate: &CutoverCertificate) -> Result<Exit> {
    if certificate.is_proven() {
        return Ok(Exit::Ok);
    }
    Err(Error::refused("switched, but the comparison of every value has found differences")
        .remedy("the certificate says where; `leadbridge rollback` goes back, and loses nothing"))
}

/// Tries to write to the certificate's directory before the switch, so that a failure to write is not first
/// noticed after the switch.
fn check_directory(directory: &Path) -> Result<()> {
    let probe = directory.join(format!(".leadbridge-{}", std::process::id()));
    let tried = disk::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    tried.map_err(|error| {
        Error::usage(format!("--certificate: {} cannot be written to: {error}", directory.display()))
            .remedy("name a directory that this user may write to")
    })
}

fn report(
    readiness: &Readiness,
    direction: Direction,
    arguments: &cli::ChangeArguments,
    language: Language,
) -> Result<()> {
    if arguments.json {
        return print_json(&CutoverDocument {
            ready: readiness.is_ready(),
            findings: &readiness.findings,
            markers: readiness.latency,
            predicted_pause_seconds: readiness.predicted_pause,
            max_pause_seconds: arguments.max_pause.as_secs_f64(),
            not_carried_back: not_carried(direction),
            traffic_owned: &readiness.traffic_owned,
            left_out: &readiness.left_out,
        });
    }
    let mut text = lines(&readiness.findings, language) + &what_stays(direction);
    text += &match readiness.is_ready() {
        true => {
            format!("Ready: `leadbridge {}` would go through. Nothing was changed.\n", direction.as_str())
        }
        false => "NOT READY: nothing was changed.\n".to_owned(),
    };
    print(&text)
}

fn not_carried(direction: Direction) -> &'static [NotCarried] {
    match direction {
        Direction::Cutover => not_carried::not_carried(),
        Direction::Rollback => &[],
    }
}

/// The columns that do not flow back to Landing, shown to the operator before any change can be lost.
fn what_stays(direction: Direction) -> String {
    let lines = not_carried(direction).iter().map(|not| format!("  {:<18}  {}\n", not.column, not.reason));
    let lines: String = lines.collect();
    match lines.is_empty() {
        true => lines,
        false => {
            format!("\nWhat is changed on Traffic afterwards flows back to Landing, but for:\n{lines}\n")
        }
    }
}
