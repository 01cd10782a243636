//! `leadbridge import`: the files of an export of Landing become rows of Traffic.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::confirm::confirm;
use super::signals::Signals;
use super::{EARLIER_LINES, print, print_json};
use crate::cli::ImportArguments;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::import::{self, ImportOptions, ImportProgress, ImportReport, PreparedImport};
use crate::language::{Language, Message};
use crate::telemetry::logging;

/// Interval between two updates of the progress bar.
const DRAW: Duration = Duration::from_millis(200);

/// Interval between two lines, where stderr is no terminal.
const LINE: Duration = Duration::from_secs(10);

pub async fn run(config: &Config, arguments: &ImportArguments) -> Result<Exit> {
    let ImportArguments { directory, dry_run, restart, yes, json } = arguments;
    // Traffic's record names the directory.
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
    let options = ImportOptions { directory, restart: *restart };
    let progress = Arc::new(ImportProgress::default());
    let preparing = Box::pin(import::prepare(config, &options, &progress));
    let prepared = shown("checking", &progress, preparing).await??;
    let import = match prepared {
        PreparedImport::Done(report) => {
            show(&report, "This export is imported already: nothing was done.", *json)?;
            return Ok(exit(&report));
        }
        PreparedImport::Ready(import) => import,
    };
    let plan = import.plan();
    if *dry_run {
        print(&format!("{plan}\nNothing was written.\n"))?;
        return Ok(Exit::Ok);
    }
    if *yes {
        logging::flush(EARLIER_LINES);
        // Nobody can be told of a closed stderr.
        let _ = writeln!(io::stderr(), "{plan}");
    } else {
        confirm(&Message::verbatim(plan), Language::English)?;
    }
    let stop = CancellationToken::new();
    let listening = end_at_signal(stop.clone())?;
    let progress = Arc::new(ImportProgress::default());
    let report = shown("importing", &progress, Box::pin(import.carry_out(&progress, &stop))).await;
    listening.abort();
    let report = report??;
    let end = match report.complete {
        true => "Every row is on Traffic or in quarantine.",
        false => "INTERRUPTED: run the same command again, which goes on here.",
    };
    show(&report, end, *json)?;
    Ok(exit(&report))
}

fn exit(report: &ImportReport) -> Exit {
    if report.complete && report.quarantined == 0 { Exit::Ok } else { Exit::CheckFailed }
}

/// Lets the first SIGINT or SIGTERM end the import after the batch in hand.
fn end_at_signal(stop: CancellationToken) -> Result<JoinHandle<()>> {
    let mut signals = Signals::listen()?;
    Ok(tokio::spawn(async move {
        let name = signals.next().await;
        tracing::info!("{name}: finishing the batch in hand; a second signal ends the process at once");
        stop.cancel();
    }))
}

/// Runs a step, with a progress bar if stderr is a terminal, else with a line now and then.
async fn shown<T>(
    what: &'static str,
    progress: &Arc<ImportProgress>,
    step: impl Future<Output = T>,
) -> Result<T> {
    let ended = CancellationToken::new();
    let showing = match io::stderr().is_terminal() {
        true => tokio::spawn(draw(bar(what)?, Arc::clone(progress), ended.clone())),
        false => tokio::spawn(tell(what, Arc::clone(progress), ended.clone())),
    };
    let result = step.await;
    ended.cancel();
    showing.await.map_err(|error| Error::internal(format!("the progress bar: {error}")))?;
    Ok(result)
}

fn bar(what: &'static str) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template(
        "{msg} {bar:40} {percent} % {human_pos}/{human_len} rows, {rate} per second, {eta} left",
    );
    let style = style.map_err(|error| Error::internal(format!("the progress bar: {error}")))?;
    // The default rate has four decimals.
    let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
        // A failed write to the terminal is no reason to fail the command.
        let _ = write!(text, "{:.0}", state.per_sec());
    });
    Ok(ProgressBar::new(0).with_style(style).with_message(what))
}

async fn draw(bar: ProgressBar, progress: Arc<ImportProgress>, ended: CancellationToken) {
    let mut began = false;
    loop {
        let (done, expected) =
            (progress.done.load(Ordering::Relaxed), progress.expected.load(Ordering::Relaxed));
        if expected > 0 {
            bar.set_length(expected);
            bar.set_position(done);
            if !std::mem::replace(&mut began, true) {
                // The rows of earlier runs are not of this run's speed.
                bar.reset_eta();
            }
        }
        tokio::select! {
            () = ended.cancelled() => break,
            () = tokio::time::sleep(DRAW) => {}
        }
    }
    bar.finish_and_clear();
}

async fn tell(what: &'static str, progress: Arc<ImportProgress>, ended: CancellationToken) {
    let (begun, before) = (Instant::now(), progress.done.load(Ordering::Relaxed));
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(LINE) => {}
        }
        let (done, rows) = (progress.done.load(Ordering::Relaxed), progress.expected.load(Ordering::Relaxed));
        let rate = done.saturating_sub(before) as f64 / begun.elapsed().as_secs_f64().max(0.001);
        let left = rows.saturating_sub(done) as f64 / rate.max(0.001);
        let percent = done * 100 / rows.max(1);
        tracing::info!("{what}: {done} of {rows} rows ({percent} %), {rate:.0} per second, {left:.0} s left");
    }
}

fn show(report: &ImportReport, end: &str, json: bool) -> Result<()> {
    if json {
        return print_json(report);
    }
    let mut text = format!(
        "{} of {} rows are imported: {} written, {} equal already, {} refused.\n",
        report.rows_done, report.rows, report.rows_written, report.rows_unchanged, report.rows_quarantined
    );
    // Writing to a String cannot fail.
    for left_out in &report.left_out {
        let _ = writeln!(text, "not carried: {left_out}");
    }
    let (quarantined, notes) = (report.quarantined, report.conversion_notes);
    let _ = writeln!(text, "{quarantined} rows in quarantine, {notes} values changed on the way.\n{end}");
    print(&text)
}
