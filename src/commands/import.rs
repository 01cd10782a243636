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
use crate::import::{self, Import, ImportOptions, ImportProgress, ImportReport, PreparedImport};
use crate::telemetry::logging;

/// Interval between two updates of the progress bar.
const DRAW: Duration = Duration::from_millis(200);

/// Interval between two lines, where stderr is no terminal.
const LINE: Duration = Duration::from_secs(10);

pub async fn run(config: &Config, arguments: &ImportArguments) -> Result<Exit> {
    let ImportArguments { directory, dry_run, restart, yes, json } = arguments;
    let options = ImportOptions { directory: directory.clone(), restart: *restart };
    let (progress, stop) = (Arc::new(ImportProgress::default()), CancellationToken::new());
    let prepared = Box::pin(import::prepare(config, &options, (&progress, &stop))).await?;
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
        confirm(&plan)?;
    }
    let listening = end_at_signal(stop.clone())?;
    let report = with_progress(*import, (&progress, &stop)).await;
    listening.abort();
    let report = report?;
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

/// Imports, with a progress bar if stderr is a terminal, else with a line now and then.
async fn with_progress(
    import: Import,
    (progress, stop): (&Arc<ImportProgress>, &CancellationToken),
) -> Result<ImportReport> {
    let (rows, ended) = (import.rows(), CancellationToken::new());
    let showing = match io::stderr().is_terminal() {
        true => tokio::spawn(draw(bar(rows)?, Arc::clone(progress), ended.clone())),
        false => tokio::spawn(tell(rows, Arc::clone(progress), ended.clone())),
    };
    let imported = Box::pin(import.carry_out(progress, stop)).await;
    ended.cancel();
    showing.await.map_err(|error| Error::internal(format!("the progress bar: {error}")))?;
    imported
}

fn bar(rows: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template(
        "{bar:40} {percent} % {human_pos}/{human_len} rows, {rate} per second, {eta} left",
    );
    let style = style.map_err(|error| Error::internal(format!("the progress bar: {error}")))?;
    // The default rate has four decimals.
    let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
        // A failed write to the terminal is no reason to fail the command.
        let _ = write!(text, "{:.0}", state.per_sec());
    });
    Ok(ProgressBar::new(rows).with_style(style))
}

async fn draw(bar: ProgressBar, progress: Arc<ImportProgress>, ended: CancellationToken) {
    // The rows of earlier runs are not of this run's speed.
    let mut bar = bar.with_position(progress.done.load(Ordering::Relaxed));
    bar.reset_elapsed();
    bar.reset_eta();
    loop {
        bar.set_position(progress.done.load(Ordering::Relaxed));
        tokio::select! {
            () = ended.cancelled() => break,
            () = tokio::time::sleep(DRAW) => {}
        }
    }
    bar.finish_and_clear();
}

async fn tell(rows: u64, progress: Arc<ImportProgress>, ended: CancellationToken) {
    let (begun, before) = (Instant::now(), progress.done.load(Ordering::Relaxed));
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(LINE) => {}
        }
        let done = progress.done.load(Ordering::Relaxed);
        let rate = done.saturating_sub(before) as f64 / begun.elapsed().as_secs_f64().max(0.001);
        let left = rows.saturating_sub(done) as f64 / rate.max(0.001);
        let percent = done * 100 / rows.max(1);
        tracing::info!("{done} of {rows} rows ({percent} %), {rate:.0} per second, {left:.0} s left");
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
