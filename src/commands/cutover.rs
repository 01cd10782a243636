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
use super::{print, print_json, print_line};
use crate::cli;
use crate::config::Config;
use crate::cutover::orphan::OrphanedFence;
use crate::cutover::readiness::{Readiness, ReadinessTerms, TrafficOwned};
use crate::cutover::{self, CutoverCertificate, CutoverOptions, Direction};
use crate::disk;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::landing::left_out::LeftOut;
use crate::language::{Language, Message, message};
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
    let question = message!(
        "commands-cutover-question",
        landing = config.landing.to_string(),
        traffic = config.traffic.to_string()
    );
    change(config, Direction::Cutover, &arguments.change, Duration::ZERO, &question, language).await
}

pub async fn roll_back(config: &Config, arguments: &cli::Rollback, language: Language) -> Result<Exit> {
    if let Some(orphan) = OrphanedFence::find(config).await? {
        return open_orphan(config, orphan, &arguments.change, language).await;
    }
    let question = message!(
        "commands-rollback-question",
        landing = config.landing.to_string(),
        traffic = config.traffic.to_string(),
        time = humantime::format_duration(arguments.refuse_for).to_string()
    );
    change(config, Direction::Rollback, &arguments.change, arguments.refuse_for, &question, language).await
}

/// Opens a Landing that a fence of a forgotten cutover closes.
async fn open_orphan(
    config: &Config,
    orphan: OrphanedFence,
    arguments: &cli::ChangeArguments,
    language: Language,
) -> Result<Exit> {
    let found = message!("commands-orphan", landing = config.landing.to_string(), id = orphan.cutover());
    if arguments.dry_run {
        print_line(&message!("commands-orphan-dry-run", found = found), language)?;
        return Ok(Exit::Ok);
    }
    if !arguments.yes {
        let question = message!("commands-orphan-question", found = found);
        confirm(&question, language)?;
    }
    orphan.open().await?;
    print_line(&message!("commands-orphan-opened"), language)?;
    Ok(Exit::Ok)
}

async fn change(
    config: &Config,
    direction: Direction,
    arguments: &cli::ChangeArguments,
    refuse_for: Duration,
    question: &Message,
    language: Language,
) -> Result<Exit> {
    let options = CutoverOptions {
        readiness: ReadinessTerms {
            max_lag: Duration::from_secs_f64(arguments.max_lag_seconds),
            max_pause: arguments.max_pause,
            verify_wait: Duration::from_secs(30),
            compare: arguments.compare,
            dry_run: arguments.dry_run,
        },
        timeout: arguments.timeout,
        lock_timeout: arguments.lock_timeout,
        hook: arguments.hook.clone(),
        refuse_for,
    };
    if arguments.hook_settled {
        cutover::hook_settled(config).await?;
        print_line(&message!("commands-hook-settled"), language)?;
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
        print(&(lines(&prepared.readiness.findings, language) + &what_stays(direction, language)))?;
    }
    if !arguments.yes {
        confirm(question, language)?;
    }
    // From here on a signal aborts in order: the hook and the fence are undone first.
    let interrupted = CancellationToken::new();
    // A terminal that closes (a lost ssh session) is such a signal.
    let signals = (Signals::listen()?, handler(SignalKind::hangup())?);
    let listening = AbortOnDropHandle::new(tokio::spawn(interrupt(signals, interrupted.clone())));
    let certificate = Box::pin(cutover::execute(&options, prepared, &interrupted)).await;
    drop(listening);
    let certificate = certificate?;
    let saved = certificate.save(&arguments.certificate, language);
    if arguments.json {
        print_json(&certificate)?;
    } else {
        print(&certificate.page(language))?;
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
        .remedy(message!("commands-remedy-not-proven")))
}

/// Tries to write to the certificate's directory before the switch, so that a failure to write is not first
/// noticed after the switch.
fn check_directory(directory: &Path) -> Result<()> {
    let probe = directory.join(format!(".leadbridge-{}", std::process::id()));
    let tried = disk::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    tried.map_err(|error| {
        Error::usage(format!("--certificate: {} cannot be written to: {error}", directory.display()))
            .remedy(message!("commands-remedy-certificate-directory"))
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
    let mut text = lines(&readiness.findings, language) + &what_stays(direction, language);
    let sum = match readiness.is_ready() {
        true => message!("commands-cutover-ready", direction = direction.as_str()),
        false => message!("commands-cutover-not-ready"),
    };
    text += &sum.in_language(language);
    text.push('\n');
    print(&text)
}

fn not_carried(direction: Direction) -> &'static [NotCarried] {
    match direction {
        Direction::Cutover => not_carried::not_carried(),
        Direction::Rollback => &[],
    }
}

/// The columns that do not flow back to Landing, shown to the operator before any change can be lost.
fn what_stays(direction: Direction, language: Language) -> String {
    let line = |not: &NotCarried| {
        format!("  {:<18}  {}\n", not.column().in_language(language), not.reason.in_language(language))
    };
    let lines: String = not_carried(direction).iter().map(line).collect();
    match lines.is_empty() {
        true => lines,
        false => {
            let heading = message!("commands-cutover-not-carried").in_language(language);
            format!("\n{heading}\n{lines}\n")
        }
    }
}
