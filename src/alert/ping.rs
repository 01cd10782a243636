//! The dead man's ping: a GET at intervals while replication is well. Its receiver sounds the alarm when no ping comes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::channel::{Failure, TRY_LIMIT, Web, parse, read_secret, send};
use crate::telemetry::AlertChannelReport;

/// Pings while `well` holds true.
pub struct Ping {
    pub url_file: PathBuf,
    pub every: Duration,
    pub web: Web,
    pub well: watch::Receiver<bool>,
    pub report: Arc<Mutex<AlertChannelReport>>,
}

impl Ping {
    /// Ends when the other side of `well` is dropped.
    pub async fn run(mut self) {
        while self.well.wait_for(|well| *well).await.is_ok() {
            let begun = Instant::now();
            let pinged = tokio::time::timeout(TRY_LIMIT, Box::pin(self.ping())).await;
            self.record(pinged.unwrap_or_else(|_| Err(Failure::passing("no answer in time"))));
            tokio::time::sleep_until(begun + self.every).await;
        }
    }

    async fn ping(&self) -> Result<(), Failure> {
        let url = read_secret(&self.url_file, "ping_url_file").await?;
        let url = parse(url.expose_secret(), "ping_url_file")?;
        let (status, _) = send(self.web.client().await?.get(url)).await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(Failure::passing(format!("the receiver of the ping answers {}", status.as_u16()))),
        }
    }

    fn record(&self, pinged: Result<(), Failure>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        match pinged {
            Ok(()) => {
                report.delivered += 1;
                report.last_success = Some(Timestamp::now());
                report.last_failure = None;
            }
            Err(failure) => {
                report.failed += 1;
                if report.last_failure.as_ref() != Some(&failure.what) {
                    tracing::warn!(channel = "ping", "a ping fails: {}", failure.what);
                }
                report.last_failure = Some(failure.what);
            }
        }
    }
}
