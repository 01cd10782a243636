//! A lag that rises and falls: a session locks Traffic's leads while writers write to Landing.

use std::time::{Duration, Instant};

use super::daemon::DemoDaemon;
use super::figures;
use super::screen::Screen;
use super::setup::DemoSetup;
use crate::error::Result;
use crate::model::change::Table;
use crate::postgres::Session;
use crate::postgres::step::during;
use crate::telemetry::Live;

/// Seconds of lag at which the lock is released.
const HIGH: f64 = 4.0;
/// A lag below this number of seconds counts as caught up, because such changes have just been written.
const LOW: f64 = 0.5;

/// The measured lag.
#[derive(Debug)]
pub struct Wave {
    pub peak_bytes: u64,
    pub peak_seconds: f64,
    /// Time from the release of the lock until all waiting changes were on Traffic.
    pub caught_up: Duration,
    /// Each reading, in bytes.
    pub readings: Vec<u64>,
}

pub async fn rise_and_fall(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<Wave> {
    let mut wave = Wave { peak_bytes: 0, peak_seconds: 0.0, caught_up: Duration::ZERO, readings: Vec::new() };
    let lock = Lock::take(setup, &setup.config.names.traffic_table(Table::LandingLeads)).await?;
    wave.follow(setup.daemon()?, screen, "the lag to grow", |live| live.lag_seconds >= Some(HIGH)).await?;
    let waiting = setup.landing_position().await?;
    let released = Instant::now();
    lock.release().await?;
    wave.follow(setup.daemon()?, screen, "the backlog to arrive", |live| live.applied_lsn >= Some(waiting))
        .await?;
    wave.caught_up = released.elapsed();
    let low = |live: &Live| live.lag_seconds.is_some_and(|lag| lag < LOW);
    wave.follow(setup.daemon()?, screen, "the lag to fall", low).await?;
    Ok(wave)
}

impl Wave {
    /// Reads and shows the lag until `reached`.
    async fn follow(
        &mut self,
        daemon: &mut DemoDaemon,
        screen: &mut Screen,
        what: &str,
        reached: impl Fn(&Live) -> bool,
    ) -> Result<()> {
        daemon
            .until(what, |live| {
                if let (Some(bytes), Some(seconds)) = (live.lag_bytes, live.lag_seconds) {
                    self.see(bytes, seconds);
                    screen.moving(&format!("{}  {}", reading(live), figures::curve(&self.readings)));
                }
                reached(live).then_some(())
            })
            .await
    }

    /// The daemon measures about once a second, so two equal readings in a row count as one.
    fn see(&mut self, bytes: u64, seconds: f64) {
        self.peak_bytes = self.peak_bytes.max(bytes);
        self.peak_seconds = self.peak_seconds.max(seconds);
        if self.readings.last() != Some(&bytes) {
            self.readings.push(bytes);
        }
    }
}

/// The lag in one phrase.
pub fn reading(live: &Live) -> String {
    match (live.lag_bytes, live.lag_seconds) {
        (Some(bytes), Some(seconds)) => {
            format!("lag {:>7}  {:>6}", figures::bytes(bytes), figures::seconds(seconds))
        }
        _ => "lag not known yet".to_owned(),
    }
}

/// A lock on one of Traffic's tables, in a session of its own. Dropping the value ends the session and
/// releases the lock.
pub struct Lock(Session);

impl Lock {
    pub async fn take(setup: &DemoSetup<'_>, table: &str) -> Result<Self> {
        let session = setup.config.traffic.connect("demo lock").await?;
        let sql = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        during(&session, "locking a table").batch(&sql).await?;
        Ok(Lock(session))
    }

    pub async fn release(self) -> Result<()> {
        during(&self.0, "releasing a lock").batch("ROLLBACK").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_highest_reading_and_a_repeated_one_counts_once() {
        let mut wave =
            Wave { peak_bytes: 0, peak_seconds: 0.0, caught_up: Duration::ZERO, readings: Vec::new() };
        for (bytes, seconds) in [(10, 0.1), (10, 0.1), (900, 4.2), (20, 0.0)] {
            wave.see(bytes, seconds);
        }
        assert_eq!((wave.peak_bytes, wave.peak_seconds), (900, 4.2));
        assert_eq!(wave.readings, [10, 900, 20]);
    }
}
