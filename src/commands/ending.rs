//! The end of a process that does not end: a limit for everything after a command's work, and the panic hook.
//!
//! A thread of its own keeps the limit, because a hung disk may hold up any thread of the runtime.

use std::panic::{self, PanicHookInfo};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::complain;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::language::{Language, message};
use crate::replication::last_error;
use crate::telemetry::logging;

/// Time for everything after the command's work: joins, the local store, HTTP, the last output.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// Steps that wait for the thread, which takes each at once.
const STEPS: usize = 16;
/// Time for the message of a process that ends by force, because the log's reader may be stuck.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the process is doing to end, and by when with which exit code the process ends by force.
struct Step {
    what: &'static str,
    /// `None` leaves the deadline of an earlier step.
    by: Option<(Instant, Exit)>,
    /// Whether an earlier deadline stays.
    keeps: bool,
}

/// Ends the process when its end takes too long. Clones share the deadline.
#[derive(Clone)]
pub(super) struct Ending(SyncSender<Step>);

impl Ending {
    /// Starts the thread. Nothing has a limit before [`Ending::begin`].
    ///
    /// # Errors
    /// `Internal` when the system has no thread left.
    pub fn start() -> Result<Self> {
        let (steps, taken) = mpsc::sync_channel(STEPS);
        let thread = thread::Builder::new().name("ending".to_owned());
        match thread.spawn(move || keep(&taken)) {
            Ok(_) => Ok(Ending(steps)),
            Err(error) => Err(no_thread(&error)),
        }
    }

    /// From now on the process has `limit` to end, else it ends with `exit`. Replaces an earlier deadline.
    pub fn begin(&self, limit: Duration, what: &'static str, exit: Exit) {
        self.tell(Step { what, by: Some((Instant::now() + limit, exit)), keeps: false });
    }

    /// The process has done its work. An earlier deadline stays; without one the process has [`LIMIT`] to end.
    pub fn last(&self, what: &'static str, exit: Exit) {
        self.tell(Step { what, by: Some((Instant::now() + LIMIT, exit)), keeps: true });
    }

    /// Names what the process waits for next. The deadline stays.
    pub fn step(&self, what: &'static str) {
        self.tell(Step { what, by: None, keeps: true });
    }

    fn tell(&self, step: Step) {
        // Cannot fail: the thread ends only with the process or with the last sender.
        let _ = self.0.send(step);
    }
}

/// The error of a thread that cannot be started.
pub(super) fn no_thread(error: &std::io::Error) -> Error {
    Error::internal(format!("a thread cannot be started: {error}"))
        .remedy(message!("commands-remedy-no-thread"))
}

/// Waits for the steps; returns when nobody can send any more.
fn keep(steps: &Receiver<Step>) {
    let Ok(Step { mut what, mut by, .. }) = steps.recv() else { return };
    loop {
        let next = match by {
            None => steps.recv().map_err(RecvTimeoutError::from),
            Some((deadline, _)) => steps.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        };
        match (next, by) {
            (Ok(step), _) => {
                what = step.what;
                by = if step.keeps { by.or(step.by) } else { step.by };
            }
            (Err(RecvTimeoutError::Timeout), Some((_, exit))) => {
                let text = format!("{what} did not end in time: the process ends without");
                say_and_exit(Error::internal(text), exit, None);
            }
            (Err(_), _) => return,
        }
    }
}

/// Lets every panic, on any thread, end the process with exit code 70, after a message with the place. What a
/// panic formats may be a value of a row, so only a text that stands in the source is repeated.
pub fn end_at_panic() {
    end_at_panic_keeping(None);
}

/// The same, and `status` reads the message in the state directory afterwards.
#[allow(
    clippy::disallowed_methods,
    reason = "the thread has panicked: nothing of the process is worth a Drop"
)]
pub(super) fn end_at_panic_keeping(state_dir: Option<PathBuf>) {
    static ENDS: AtomicBool = AtomicBool::new(false);
    panic::set_hook(Box::new(move |panic| {
        if ENDS.swap(true, Ordering::Relaxed) {
            // Another thread panics, perhaps the one that gives the first panic's message: the first panic ends the
            // process meanwhile.
            thread::sleep(LAST_WORDS * 2);
            process::exit(Exit::Internal as i32);
        }
        say_and_exit(panicked(panic), Exit::Internal, state_dir.clone());
    }));
}

fn panicked(panic: &PanicHookInfo<'_>) -> Error {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let on = thread::current().name().unwrap_or("without a name").to_owned();
    let why =
        panic.payload().downcast_ref::<&'static str>().map_or_else(String::new, |why| format!(": {why}"));
    Error::internal(format!("the thread `{on}` panicked at {place}{why}"))
        .remedy(message!("commands-remedy-panicked"))
}

/// Gives the error to the log, or to stderr where the log does not take errors, and ends the process. The message
/// comes from a thread of its own, because a write to a stuck reader or to a hung disk does not return.
#[allow(clippy::disallowed_methods, reason = "a Drop may wait for what does not end")]
fn say_and_exit(error: Error, exit: Exit, state_dir: Option<PathBuf>) -> ! {
    let (said, done) = mpsc::sync_channel(1);
    let say = move || {
        say(&error);
        if let Some(state_dir) = state_dir {
            last_error::keep_here(&state_dir, &error);
        }
        // The process waits for this message only.
        let _ = said.send(());
    };
    if thread::Builder::new().spawn(say).is_ok() {
        let _ = done.recv_timeout(LAST_WORDS);
    }
    process::exit(exit as i32)
}

fn say(error: &Error) {
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{error}");
        // The other half is for the record in the state directory.
        logging::flush(LAST_WORDS / 2);
    } else {
        complain(error, Language::English);
    }
}
