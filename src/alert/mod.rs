//! Alerts: an engineer is told when replication needs somebody, in time and once.
//!
//! `causes` and `schedule` are pure: from the live state to causes, and from causes over time to notices. `words` holds
//! every sentence. Each channel has a queue and a task of its own (`sender`), and all tasks run on a thread of their
//! own, with a runtime and threads for name lookups of their own: no channel, however slow, takes anything from
//! replication.

mod causes;
mod channel;
mod message;
mod ping;
mod record;
mod schedule;
mod sender;
mod trial;
mod watch;
mod words;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use self::causes::Finding;
pub use self::trial::{Delivery, files, test, unreadable};
use self::watch::Watch;
use crate::config::Alert;
use crate::error::Error;
use crate::telemetry::Telemetry;

/// Threads for name lookups and files: one for each channel and the ping.
const BLOCKING: usize = 4;
/// Threads of the alerts.
pub const THREADS: usize = 1 + BLOCKING;
/// Time for the last messages before the process ends by an error.
const LAST_MESSAGES: Duration = Duration::from_secs(4);
/// Time for waiting messages before the process ends because it was told to.
const WAITING_MESSAGES: Duration = Duration::from_secs(1);
/// The same, and the time to write the record.
const END_LIMIT: Duration = Duration::from_secs(5);

/// What the thread is told.
enum Order {
    Watch(Telemetry),
    End(Option<Finding>),
}

/// The running alerts of a daemon.
pub struct Alerts {
    orders: mpsc::Sender<Order>,
    ended: oneshot::Receiver<()>,
}

impl Alerts {
    /// Starts the thread; `None` without a channel and without a ping.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(alert: &Alert, state_dir: &Path) -> std::io::Result<Option<Alerts>> {
        if !alert.is_configured() {
            return Ok(None);
        }
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING)
            // A thread that has been started stays, so that no later start can fail.
            .thread_keep_alive(Duration::from_secs(u32::MAX.into()))
            .build()?;
        let (orders, taken) = mpsc::channel(4);
        let (told, ended) = oneshot::channel();
        let (alert, state_dir) = (alert.clone(), state_dir.to_owned());
        let thread = thread::Builder::new().name("alerts".to_owned());
        // The thread ends with its last order, or with the process.
        thread.spawn(move || work(&runtime, alert, state_dir, taken, told))?;
        Ok(Some(Alerts { orders, ended }))
    }

    /// Watches the daemon's state from now on. The process must have the state directory to itself.
    pub fn watch(&self, telemetry: Telemetry) {
        self.order(Order::Watch(telemetry));
    }

    /// The process ends: with an error, which is told at once, or in order. Does not wait; the first call counts.
    /// `restarts`: whether the service manager starts the process again.
    pub fn end(&self, error: Option<&Error>, restarts: bool) {
        let finding =
            error.map(|error| words::ended(&error.message(), error.remedy_text().as_deref(), restarts));
        self.order(Order::End(finding));
    }

    /// Waits until the last messages are delivered, for a few seconds at most. To be called after [`Alerts::end`].
    pub async fn ended(self) {
        let _ = tokio::time::timeout(END_LIMIT, self.ended).await;
    }

    fn order(&self, order: Order) {
        // Fails only after the end, or with five orders before the thread has taken one: there are three in all.
        let _ = self.orders.try_send(order);
    }
}

fn work(
    runtime: &Runtime,
    alert: Alert,
    state_dir: PathBuf,
    mut orders: mpsc::Receiver<Order>,
    ended: oneshot::Sender<()>,
) {
    runtime.block_on(async {
        take_blocking();
        let mut watch = Watch::start(alert, &state_dir);
        let mut looks = tokio::time::interval(watch.interval());
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Both branches may be dropped: an order stays in its queue, and a look is made at the next tick.
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Watch(telemetry)) => watch.begin(telemetry).await,
                    Some(Order::End(fatal)) => {
                        let limit = if fatal.is_some() { LAST_MESSAGES } else { WAITING_MESSAGES };
                        watch.end(fatal.as_ref(), limit).await;
                        break;
                    }
                    None => break,
                },
                _ = looks.tick() => watch.look().await,
            }
        }
    });
    // Nobody may wait any more.
    let _ = ended.send(());
}

/// Starts all threads for blocking work, which then stay.
fn take_blocking() {
    let all = Arc::new(Barrier::new(BLOCKING));
    for _ in 0..BLOCKING {
        let all = Arc::clone(&all);
        drop(tokio::task::spawn_blocking(move || {
            all.wait();
        }));
    }
}
