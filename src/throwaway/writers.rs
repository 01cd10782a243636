//! Live writers on Landing, which write like the school's sites until stopped.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::cluster::connect;
use super::work::transaction;
use crate::error::{Error, Kind, Result};
use crate::model::names::Names;

/// Number and speed of the writers.
#[derive(Clone, Debug)]
pub struct WriteRate {
    pub writers: u64,
    /// Pause between two transactions of one writer; zero for the server's full speed.
    pub pause: Duration,
    /// Each writer's own seed is this number plus the writer's number.
    pub seed: u64,
}

impl Default for WriteRate {
    fn default() -> Self {
        WriteRate { writers: 4, pause: Duration::from_millis(20), seed: 1 }
    }
}

/// Numbers of transactions and broken sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Transactions whose commit the server has acknowledged.
    pub committed: u64,
    /// Transactions rolled back on purpose, or by the server.
    pub rolled_back: u64,
    /// Sessions that broke. The open transaction may or may not have been committed.
    pub broken: u64,
}

/// Running writers. Dropping the value aborts the writers in the middle of a transaction;
/// [`LiveWriters::stop`] lets each writer end its transaction.
#[derive(Debug)]
pub struct LiveWriters {
    stop: CancellationToken,
    tasks: JoinSet<Result<Totals>>,
}

impl LiveWriters {
    /// Starts the writers on the Landing server at `url`.
    pub fn start(url: &str, names: &Names, pace: &WriteRate) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for number in 0..pace.writers {
            let writer = LiveWriter {
                url: url.to_owned(),
                names: names.clone(),
                pause: pace.pause,
                rng: StdRng::seed_from_u64(pace.seed.wrapping_add(number)),
                totals: Totals::default(),
            };
            tasks.spawn(writer.run(stop.clone()));
        }
        LiveWriters { stop, tasks }
    }

    /// Returns when every writer has ended its last transaction.
    ///
    /// # Errors
    /// The error that ended a writer: any error but a broken connection or a conflict with another writer.
    pub async fn stop(mut self) -> Result<Totals> {
        self.stop.cancel();
        let mut sum = Totals::default();
        while let Some(ended) = self.tasks.join_next().await {
            let totals = ended.map_err(|e| Error::internal(format!("a writer died: {e}")))??;
            sum.committed += totals.committed;
            sum.rolled_back += totals.rolled_back;
            sum.broken += totals.broken;
        }
        Ok(sum)
    }
}

struct LiveWriter {
    url: String,
    names: Names,
    pause: Duration,
    rng: StdRng,
    totals: Totals,
}

impl LiveWriter {
    async fn run(mut self, stop: CancellationToken) -> Result<Totals> {
        while !stop.is_cancelled() {
            match connect(&self.url).await {
                Ok(mut client) => self.session(&mut client, &stop).await?,
                Err(error) if passes(&error) => self.totals.broken += 1,
                Err(error) => return Err(error),
            }
            // A short pause, because the server may be restarting.
            stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(50))).await;
        }
        Ok(self.totals)
    }

    /// Runs transactions until stopped, or until the session breaks.
    async fn session(&mut self, client: &mut Client, stop: &CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            match transaction(client, &self.names, &mut self.rng).await {
                Ok(true) => self.totals.committed += 1,
                Ok(false) => self.totals.rolled_back += 1,
                Err(error) if client.is_closed() && passes(&error) => {
                    self.totals.broken += 1;
                    return Ok(());
                }
                Err(error) if passes(&error) => self.totals.rolled_back += 1,
                Err(error) => return Err(error),
            }
            stop.run_until_cancelled(tokio::time::sleep(self.pause)).await;
        }
        Ok(())
    }
}

/// A restart, a deadlock with another writer, a lead that another writer has just deleted (23503).
fn passes(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unreachable | Kind::Transient | Kind::Row)
}
