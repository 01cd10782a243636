//! The threads of the process: a fixed number, whatever the number of processors, taken at the start.
//!
//! A thread that cannot be started later would be a hang: tokio leaves the work of a thread that it could not
//! start to threads that may never be free.

use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::{Builder, Runtime};

use super::ending::no_thread;
use crate::alert;
use crate::error::{Error, Result};

/// Bounds of the runtime's threads for tasks. More than four have nothing to do: a stream is one pipeline.
const FEWEST_WORKERS: usize = 2;
const MOST_WORKERS: usize = 4;
/// Threads for what blocks: the local store's fsync, and name lookups.
const BLOCKING: usize = 8;
/// sled's own threads: it starts seven, and another while more than seven of its writes wait.
const STORE: usize = 8;
/// The main thread, the thread of `ending`, the thread of the last message, the log's thread, the stream's
/// thread, and the stream's thread of an earlier attempt that is about to end.
const SINGLE: usize = 6;

/// The most threads that a process of leadbridge has.
pub const THREADS: usize = MOST_WORKERS + BLOCKING + STORE + SINGLE + alert::THREADS;

/// Time for the runtime's blocking threads to start, far more than a loaded machine needs.
const STARTING: Duration = Duration::from_secs(30);

/// The runtime of a command. `daemon`: whether the command replicates.
///
/// # Errors
/// `Internal` when the system has fewer threads left than the command needs.
pub fn runtime(daemon: bool) -> Result<Runtime> {
    let processors = thread::available_parallelism().map_or(FEWEST_WORKERS, usize::from);
    let workers = processors.clamp(FEWEST_WORKERS, MOST_WORKERS);
    // The main thread, the thread of `ending` and the log's thread are there.
    probe(if daemon { workers + BLOCKING + STORE + SINGLE + alert::THREADS - 3 } else { workers + 1 })?;
    Builder::new_multi_thread()
        .enable_all()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING)
        // A thread that has been started stays, so that no later start can fail.
        .thread_keep_alive(Duration::from_secs(u32::MAX.into()))
        .build()
        .map_err(|error| Error::internal("the runtime cannot be started").source_error(error))
}

/// Starts `count` threads that exist at the same time, and ends them: tokio panics, and sled waits for ever, where
/// a thread cannot be started.
fn probe(count: usize) -> Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let started = (0..count)
            .try_for_each(|_| thread::Builder::new().spawn_scoped(scope, || drop(gate.lock())).map(drop));
        drop(closed);
        started.map_err(|error| no_thread(&error).context(format!("{count} threads are needed")))
    })
}

/// Starts all of the runtime's blocking threads, which then stay.
///
/// # Errors
/// `Internal` when a thread cannot be started.
pub async fn take_blocking() -> Result<()> {
    let all = Arc::new(Barrier::new(BLOCKING));
    let waiting = (0..BLOCKING).map(|_| {
        let all = Arc::clone(&all);
        tokio::task::spawn_blocking(move || all.wait())
    });
    match tokio::time::timeout(STARTING, join_all(waiting)).await {
        Ok(_) => Ok(()),
        Err(_) => Err(no_thread(&std::io::ErrorKind::WouldBlock.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_of_the_runtime_can_be_taken_and_the_unit_has_room_for_twice_as_many() {
        let runtime = runtime(true).unwrap();
        runtime.block_on(take_blocking()).unwrap();
        let unit = include_str!("../../deploy/leadbridge.service");
        let tasks = unit.lines().find_map(|line| line.strip_prefix("TasksMax=")).unwrap();
        assert!(tasks.parse::<usize>().unwrap() >= 2 * THREADS, "TasksMax={tasks}, {THREADS} threads");
    }
}
