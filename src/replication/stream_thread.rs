//! A dedicated thread for the reader of Landing's stream: the transport, and the collector of changes.
//!
//! On the runtime's shared threads each message may wake two threads, and the acknowledgement of each message
//! wakes the server's side of the connection. On the dedicated thread both tasks run until no data is left to
//! read; then the thread may sleep.

use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{Error, Kind, Result};
use crate::language::message;

/// In a millisecond a server decodes hundreds of messages.
const NAP: Duration = Duration::from_millis(1);

/// Handle of the thread. Dropping the handle ends the thread and cancels the tasks on it.
pub(super) struct StreamThread {
    handle: Handle,
    thread: Thread,
    _ends: DropGuard,
}

impl StreamThread {
    /// # Errors
    /// `Transient`: the system has no thread or no file descriptor left.
    pub(super) fn start() -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(Kind::Transient, format!("the stream's thread cannot be started: {error}"))
                .remedy(message!("replication-remedy-threads"))
        };
        // Nothing on this thread blocks.
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(1).build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let ends = CancellationToken::new();
        let ended = ends.clone();
        let run = move || runtime.block_on(ended.cancelled());
        let started = thread::Builder::new().name("stream".to_owned()).spawn(run).map_err(failed)?;
        Ok(StreamThread { handle, thread: started.thread().clone(), _ends: ends.drop_guard() })
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(work)
    }

    /// A new demand that is not raised.
    pub(super) fn demand(&self) -> Demand {
        Demand { permits: Arc::new(Semaphore::new(0)), thread: self.thread.clone() }
    }
}

/// Signal from the consumer of the stream's batches to the stream's thread: the consumer waits for a batch.
#[derive(Clone)]
pub(super) struct Demand {
    permits: Arc<Semaphore>,
    thread: Thread,
}

impl Demand {
    /// Raises the demand by one item, and wakes the thread if the thread sleeps.
    pub(super) fn raise(&self) {
        self.permits.add_permits(1);
        self.thread.unpark();
    }

    pub(super) fn is_raised(&self) -> bool {
        self.permits.available_permits() > 0
    }

    /// Waits until the demand is raised, and lowers the demand by one item. Cancellation-safe.
    pub(super) async fn taken(&self) {
        // Cannot fail, because the semaphore is never closed.
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }

    /// Suspends all tasks on the stream's thread until the demand is raised, for a millisecond at most, so
    /// that the messages of this time are read together. Must be called on the stream's thread only.
    pub(super) fn nap(&self) {
        thread::park_timeout(NAP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_on_the_streams_thread_and_ends_with_it() {
        let thread = StreamThread::start().unwrap();
        let name = thread.spawn(async { std::thread::current().name().map(str::to_owned) });
        assert_eq!(name.await.unwrap().as_deref(), Some("stream"));
        let endless = thread.spawn(std::future::pending::<()>());
        drop(thread);
        assert!(endless.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn what_is_demanded_once_is_taken_once() {
        let demand = StreamThread::start().unwrap().demand();
        assert!(!demand.is_raised());
        demand.raise();
        assert!(demand.is_raised());
        demand.taken().await;
        assert!(!demand.is_raised());
    }
}
