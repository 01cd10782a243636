//! Signs of life of the daemon's parts, for the service manager's watchdog.
//!
//! A part is a task that must go on, or a step that must end. The parts that wait for a database beat while they
//! wait: a database that does not answer is no hang.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Interval of the beats of [`Heartbeat::pulse`].
const INTERVAL: Duration = Duration::from_secs(1);

/// The parts that run now; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    next: u64,
    running: BTreeMap<u64, Part>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    has_beaten: bool,
}

/// A running part. Dropping the value ends the part.
#[derive(Debug)]
pub struct Heartbeat {
    parts: Heartbeats,
    id: u64,
}

impl Heartbeats {
    /// Begins a part, with its first beat.
    pub fn begin(&self, name: &'static str) -> Heartbeat {
        let mut parts = self.parts();
        let id = parts.next;
        parts.next += 1;
        parts.running.insert(id, Part { name, has_beaten: true });
        Heartbeat { parts: self.clone(), id }
    }

    /// Whether each running part has beaten since the last time that every part had; if so, the count begins
    /// anew.
    ///
    /// # Errors
    /// The names of the silent parts.
    pub fn all_beat(&self) -> Result<(), Vec<&'static str>> {
        let mut parts = self.parts();
        let silent = parts.running.values().filter(|part| !part.has_beaten);
        let silent: Vec<_> = silent.map(|part| part.name).collect();
        if !silent.is_empty() {
            return Err(silent);
        }
        for part in parts.running.values_mut() {
            part.has_beaten = false;
        }
        Ok(())
    }

    /// Ignores a poisoned lock, because no holder of the lock can panic between two changes of the value.
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heartbeat {
    pub fn beat(&self) {
        if let Some(part) = self.parts.parts().running.get_mut(&self.id) {
            part.has_beaten = true;
        }
    }

    /// Beats for as long as the task is polled: a branch of a `select!` that proves that the task is not held up
    /// by a call that blocks.
    pub async fn pulse(&self) -> Infallible {
        loop {
            self.beat();
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.parts.parts().running.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_running_part_must_beat_and_one_that_has_ended_need_not() {
        let parts = Heartbeats::default();
        assert_eq!(parts.all_beat(), Ok(()), "nothing runs");
        let (one, two) = (parts.begin("one"), parts.begin("two"));
        assert_eq!(parts.all_beat(), Ok(()));
        one.beat();
        assert_eq!(parts.all_beat(), Err(vec!["two"]));
        // A beat counts until every part has beaten.
        two.beat();
        assert_eq!(parts.all_beat(), Ok(()));
        assert_eq!(parts.all_beat(), Err(vec!["one", "two"]));
        one.beat();
        drop(two);
        assert_eq!(parts.all_beat(), Ok(()));
    }

    #[tokio::test]
    async fn a_task_that_is_polled_beats_and_one_that_is_not_polled_does_not() {
        let parts = Heartbeats::default();
        let part = parts.begin("waiting");
        for _ in 0..3 {
            assert_eq!(parts.all_beat(), Ok(()));
            tokio::select! {
                biased;
                never = part.pulse() => match never {},
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(parts.all_beat(), Ok(()));
        assert_eq!(parts.all_beat(), Err(vec!["waiting"]), "nobody polls any more");
    }
}
