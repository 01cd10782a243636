//! A thread of its own for what reads Landing's stream: the transport, and what collects from it.
//!
//! With both among the runtime's threads, each message may wake two of them, and the server's side of the connection
//! with its acknowledgement. Here both run until there is nothing left to read, and then the thread may nap.

use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{Error, Result};

/// Hundreds of messages at the pace at which a server decodes.
const NAP: Duration = Duration::from_millis(1);

/// Ends when it is dropped, and with it whatever still runs on it.
pub(super) struct StreamThread {
    handle: Handle,
    thread: Thread,
    _ends: DropGuard,
}

impl StreamThread {
    /// # Errors
    /// The system has no thread or no file descriptor left.
    pub(super) fn start() -> Result<Self> {
        let failed = |error| Error::internal("the stream's thread cannot be started").source_error(error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
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

    /// Nobody waits yet.
    pub(super) fn demand(&self) -> Demand {
        Demand { permits: Arc::new(Semaphore::new(0)), thread: self.thread.clone() }
    }
}

/// Whether somebody waits for what is read.
#[derive(Clone)]
pub(super) struct Demand {
    permits: Arc<Semaphore>,
    thread: Thread,
}

impl Demand {
    /// Somebody waits for one thing more. The thread wakes up if it naps.
    pub(super) fn raise(&self) {
        self.permits.add_permits(1);
        self.thread.unpark();
    }

    pub(super) fn is_raised(&self) -> bool {
        self.permits.available_permits() > 0
    }

    /// Waits until it is raised, and takes one thing off it. Cancellation-safe.
    pub(super) async fn taken(&self) {
        // Nobody closes it.
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }

    /// Holds up everything on the stream's thread, so that what comes meanwhile is read at once: until it is raised, for
    /// a millisecond at most. To be called on that thread only.
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
