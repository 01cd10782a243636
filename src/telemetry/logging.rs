//! Log lines on stderr, because stdout belongs to the commands' results.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

pub use super::lines::LogLines;
use crate::config::{Log, LogFormat};
use crate::error::{Error, Result};
use crate::language::message;

/// Starts logging for this process. Lines are coloured only on a terminal, and never when `NO_COLOR` is set.
///
/// # Errors
/// `Usage` for an invalid filter, `Internal` for a second call.
pub fn start(log: &Log, lines: &LogLines) -> Result<()> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|_| {
        Error::usage(format!("`{}` is not a valid tracing filter", log.filter))
            .remedy(message!("telemetry-remedy-filter"))
    })?;
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // The subscriber would report its own failures with `eprintln!`, which panics on a full disk.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines.clone())
        .with_ansi(colour)
        .log_internal_errors(false);
    let started = match log.format {
        LogFormat::Text => builder.finish().with(lines.clone()).try_init(),
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false);
            builder.finish().with(lines.clone()).try_init()
        }
    };
    started.map_err(|error| Error::internal(format!("logging cannot be started: {error}")))
}

/// A layer that takes nothing: by it [`flush`] finds the lines of the process's log.
impl<S: tracing::Subscriber> Layer<S> for LogLines {}

/// [`LogLines::flush`] for a caller that has no handle, such as a panic hook. Without a log, nothing waits.
pub fn flush(limit: Duration) -> bool {
    tracing::dispatcher::get_default(|log| {
        log.downcast_ref::<LogLines>().is_none_or(|lines| lines.flush(limit))
    })
}

/// Lets the lines of the process's log wait in their queue for as long as the value lives, because a screen of its own has
/// the terminal.
#[must_use]
pub fn hold() -> HeldLines {
    with_lines(|lines| lines.hold(true));
    HeldLines(())
}

/// Lets the lines go on at once, for a panic that must be told.
pub fn let_go() {
    with_lines(|lines| lines.hold(false));
}

/// The lines that wait; they go on when the value is dropped.
#[derive(Debug)]
pub struct HeldLines(());

impl Drop for HeldLines {
    fn drop(&mut self) {
        let_go();
    }
}

fn with_lines(change: impl Fn(&LogLines)) {
    tracing::dispatcher::get_default(|log| {
        if let Some(lines) = log.downcast_ref::<LogLines>() {
            change(lines);
        }
    });
}
