//! Progress and time left: a bar where stderr is a terminal, else a line from time to time.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::compare::ReadRate;
use crate::compare::live::{self, Verification, VerifyOptions};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::language::{Language, message};

/// Interval between two updates of the progress bar.
const DRAW: Duration = Duration::from_millis(200);
/// Interval between two lines where there is no terminal.
const SAY: Duration = Duration::from_secs(10);

/// Compares, and shows how far. May be dropped.
pub async fn shown(config: &Config, options: &VerifyOptions, language: Language) -> Result<Verification> {
    let expected = live::expected_rows(config, &options.tables).await?;
    let counted = Counted { earlier: options.place.rows(), pace: Arc::clone(&options.pace), expected };
    let stop = CancellationToken::new();
    let drawing = match std::io::stderr().is_terminal() {
        true => tokio::spawn(draw(bar(expected, language)?, counted, stop.clone())),
        false => tokio::spawn(say(counted, stop.clone())),
    };
    let drawing = AbortOnDropHandle::new(drawing);
    let verified = live::verify(config, options).await;
    stop.cancel();
    drawing.await.map_err(|error| Error::internal(format!("the progress bar: {error}")))?;
    verified
}

/// Rows compared, by this run and the earlier ones.
struct Counted {
    earlier: u64,
    pace: Arc<ReadRate>,
    expected: u64,
}

impl Counted {
    fn rows(&self) -> u64 {
        self.earlier + self.pace.rows()
    }
}

fn bar(expected: u64, language: Language) -> Result<ProgressBar> {
    let bar = ProgressBar::new(expected);
    let text = message!(
        "verify-progress",
        rows = "{human_pos}",
        expected = "{human_len}",
        rate = "{rate}",
        left = "{eta}"
    );
    let style = ProgressStyle::with_template(&format!("{{bar:40}} {}", text.in_language(language)));
    let style = style.map_err(|error| Error::internal(format!("the progress bar: {error}")))?;
    // The default rate has four decimals.
    bar.set_style(style.with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
        // A failed write to the terminal is no reason to fail the command.
        let _ = write!(text, "{:.0}", state.per_sec());
    }));
    Ok(bar)
}

async fn draw(bar: ProgressBar, counted: Counted, stop: CancellationToken) {
    bar.set_position(counted.earlier);
    bar.reset_eta();
    loop {
        bar.set_position(counted.rows());
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(DRAW) => {}
        }
    }
    bar.finish_and_clear();
}

async fn say(counted: Counted, stop: CancellationToken) {
    let begun = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SAY) => {}
        }
        let (rows, expected) = (counted.rows(), counted.expected);
        let left = left(counted.pace.rows(), expected.saturating_sub(rows), begun.elapsed());
        tracing::info!(rows, expected, seconds_left = left.map(f64::round), "comparing");
    }
}

/// Seconds until `left` more rows are compared, at the rate of `rows` in `elapsed`; `None` without a rate.
fn left(rows: u64, left: u64, elapsed: Duration) -> Option<f64> {
    (rows > 0).then(|| elapsed.as_secs_f64() * left as f64 / rows as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_this_runs_rate() {
        assert_eq!(left(100, 50, Duration::from_secs(10)), Some(5.0));
        assert_eq!(left(0, 50, Duration::from_secs(10)), None);
    }

    #[test]
    fn the_bar_can_be_drawn_in_every_language() {
        for language in Language::ALL {
            assert!(bar(10, language).is_ok(), "{language:?}");
        }
    }
}
