//! A bounded queue and a task for each channel, so that a slow or dead channel delays no other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::causes::Cause;
use super::channel::{Channel, Failure};
use super::message::{Event, Message};
use crate::telemetry::AlertChannelReport;

/// Event and cause of a message that a channel has delivered.
pub type Delivered = (Event, Option<Cause>);

/// Messages that wait for one channel. The oldest gives way.
const QUEUE: usize = 64;
/// How long a message is tried.
const GIVE_UP: Duration = Duration::from_secs(3600);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause after a failure that lasts until somebody changes something.
const LASTING_PAUSE: Duration = Duration::from_secs(300);

/// The queue of one channel; clones share it.
#[derive(Clone)]
pub struct Sender(Arc<Shared>);

struct Shared {
    line: Mutex<Line>,
    /// Something came into the queue, or the process ends.
    woken: Notify,
    /// The queue is empty.
    emptied: Notify,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Message>,
    /// The process ends: each message has one try left.
    ends: bool,
    report: AlertChannelReport,
}

impl Sender {
    /// Starts the task of `channel`. Event and cause of each delivered message go to `delivered`.
    pub fn start(channel: Channel, delivered: mpsc::Sender<Delivered>) -> Sender {
        let report =
            AlertChannelReport { channel: channel.name().to_owned(), ..AlertChannelReport::default() };
        let line = Mutex::new(Line { report, ..Line::default() });
        let sender = Sender(Arc::new(Shared { line, woken: Notify::new(), emptied: Notify::new() }));
        // Ends with the runtime of the alerts.
        drop(tokio::spawn(sender.clone().work(channel, delivered)));
        sender
    }

    /// Puts the message into the queue.
    pub fn send(&self, message: Message) {
        let mut line = self.line();
        if line.waiting.len() >= QUEUE {
            line.waiting.pop_front();
            line.report.failed += 1;
            tracing::warn!(channel = line.report.channel, "an alert is given up: too many wait");
        }
        line.waiting.push_back(message);
        drop(line);
        self.0.woken.notify_one();
    }

    /// Returns once every message has been tried. The caller limits the time.
    pub async fn finish(&self) {
        self.line().ends = true;
        self.0.woken.notify_one();
        loop {
            let emptied = self.0.emptied.notified();
            if self.line().waiting.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    pub fn report(&self) -> AlertChannelReport {
        let line = self.line();
        AlertChannelReport { waiting: line.waiting.len() as u64, ..line.report.clone() }
    }

    async fn work(self, channel: Channel, delivered: mpsc::Sender<Delivered>) {
        loop {
            let woken = self.0.woken.notified();
            let next = self.line().waiting.front().cloned();
            match next {
                None => {
                    self.0.emptied.notify_waiters();
                    woken.await;
                }
                Some(message) => self.deliver(&channel, &message, &delivered).await,
            }
        }
    }

    /// Tries until the message is delivered or given up, and takes it from the queue.
    async fn deliver(&self, channel: &Channel, message: &Message, delivered: &mpsc::Sender<Delivered>) {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(failure) = channel.deliver(message).await else {
                // A full queue means that the watching task hangs, and then nothing is recorded.
                let _ = delivered.try_send((message.event, message.cause));
                return self.done(message, None);
            };
            let wait = wait_after(&failure, pause);
            let ends = self.failed(channel, &failure, wait);
            if ends || begun.elapsed() + wait > GIVE_UP {
                return self.done(message, Some(&failure));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            let awake = async {
                // A message that is put into the queue does not shorten the pause; the end of the process does.
                while !self.line().ends {
                    self.0.woken.notified().await;
                }
            };
            // Dropping either branch loses nothing: the flag and the queue are looked at again.
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = awake => {}
            }
        }
    }

    /// Returns whether the process ends.
    fn failed(&self, channel: &Channel, failure: &Failure, wait: Duration) -> bool {
        let mut line = self.line();
        if line.report.last_failure.as_ref() != Some(&failure.what) {
            tracing::warn!(channel = channel.name(), retry_in = ?wait, "an alert is not delivered: {}", failure.what);
        }
        line.report.last_failure = Some(failure.what.clone());
        line.ends
    }

    /// Takes the message from the queue, where it may have given way to others meanwhile.
    fn done(&self, message: &Message, failure: Option<&Failure>) {
        let mut line = self.line();
        if line.waiting.front() == Some(message) {
            line.waiting.pop_front();
        }
        match failure {
            None => {
                line.report.delivered += 1;
                line.report.last_success = Some(Timestamp::now());
                line.report.last_failure = None;
            }
            Some(failure) => {
                line.report.failed += 1;
                tracing::warn!(channel = line.report.channel, "an alert is given up: {}", failure.what);
            }
        }
        if line.waiting.is_empty() {
            drop(line);
            self.0.emptied.notify_waiters();
        }
    }

    /// Ignores a poisoned lock, because no holder of the lock can panic between two changes of the value.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Half of the pause is random, because many daemons may have lost the same receiver.
fn wait_after(failure: &Failure, pause: Duration) -> Duration {
    match failure {
        Failure { wait: Some(asked), .. } => (*asked).clamp(FIRST_PAUSE, GIVE_UP / 4),
        Failure { lasts: true, .. } => LASTING_PAUSE,
        _ => pause.mul_f64(0.5 + rand::random::<f64>() / 2.0),
    }
}
