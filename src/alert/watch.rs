//! The task that watches the live state, and gives what is due to the channels.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::causes::{self, Cause, Finding};
use super::channel::{Channel, Web};
use super::message::Letterhead;
use super::ping::Ping;
use super::record::Record;
use super::schedule::{Moment, Notice, Schedule};
use super::sender::{Delivered, Sender};
use super::words;
use crate::config::Alert;
use crate::telemetry::{AlertChannelReport, Live, State, Telemetry};

/// Longest interval between two looks at the live state.
const LOOK: Duration = Duration::from_secs(1);
/// The monitor changes the live state every second, and more seldom while a database does not answer. A state that
/// is older proves nothing.
const STALE: Duration = Duration::from_secs(60);
/// Delivered messages that wait to be recorded.
const DELIVERED: usize = 64;
/// Time for a write of the record: a hung disk must not keep messages back.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Watch {
    alert: Alert,
    letterhead: Letterhead,
    state_dir: PathBuf,
    begun: Instant,
    started: Timestamp,
    senders: Vec<Sender>,
    delivered: mpsc::Receiver<Delivered>,
    well: watch::Sender<bool>,
    ping: Option<Arc<Mutex<AlertChannelReport>>>,
    schedule: Schedule,
    /// The record on the disk; `None` before this process has read it.
    recorded: Option<Record>,
    /// A write that a hung disk holds up. A second one would take another thread from the name lookups.
    writing: Option<JoinHandle<std::io::Result<()>>>,
    telemetry: Option<Telemetry>,
    changes: Option<watch::Receiver<Live>>,
    changed: Instant,
}

impl Watch {
    /// Starts the tasks of the channels and of the ping.
    pub fn start(alert: Alert, state_dir: &Path) -> Self {
        let (deliveries, delivered) = mpsc::channel(DELIVERED);
        let channels = Channel::configured(&alert).into_iter();
        let senders = channels.map(|channel| Sender::start(channel, deliveries.clone())).collect();
        let (well, is_well) = watch::channel(false);
        let ping = alert.ping_url_file.clone().map(|url_file| start_ping(&alert, url_file, is_well));
        let now = Moment { elapsed: Duration::ZERO, wall: Timestamp::now() };
        Watch {
            letterhead: Letterhead { installation: alert.installation.clone(), offset: alert.times.offset },
            state_dir: state_dir.to_owned(),
            begun: Instant::now(),
            started: now.wall,
            senders,
            delivered,
            well,
            ping,
            schedule: Schedule::restored(alert.times.clone(), &Record::default(), now),
            recorded: None,
            writing: None,
            telemetry: None,
            changes: None,
            changed: Instant::now(),
            alert,
        }
    }

    /// Interval between two looks.
    pub fn interval(&self) -> Duration {
        LOOK.min(self.alert.times.after / 2).max(Duration::from_millis(10))
    }

    /// Watches this state from now on. The process has the state directory to itself, so the record there is the
    /// record of its predecessor.
    pub async fn begin(&mut self, telemetry: Telemetry) {
        self.restore().await;
        self.changes = Some(telemetry.subscribe());
        self.telemetry = Some(telemetry);
        let vanished = self.recorded.as_ref().and_then(|record| record.running);
        if let Some(started) = vanished {
            let finding = words::vanished(started, self.letterhead.offset);
            self.begin_ended(&finding);
        }
        self.save(Some(self.started)).await;
    }

    /// Looks once at the live state.
    pub async fn look(&mut self) {
        while let Ok((event, cause)) = self.delivered.try_recv() {
            self.schedule.delivered(event, cause);
        }
        let Some(telemetry) = self.telemetry.clone() else { return };
        let live = telemetry.live();
        if self.changes.as_mut().is_some_and(|changes| changes.has_changed().unwrap_or(false)) {
            self.changes.as_mut().map(watch::Receiver::mark_unchanged);
            self.changed = Instant::now();
        }
        let now = self.now();
        let found = causes::examine(&live, &self.alert.limits, now.wall);
        let well = self.changed.elapsed() < STALE && causes::is_well(&live, &found);
        self.well.send_replace(well);
        let mut due = self.schedule.observe(&found, now);
        due.extend(live.aborted.as_ref().and_then(|run| self.schedule.aborted(run, now)));
        if live.state != State::Starting || now.elapsed > self.alert.times.after {
            due.extend(self.schedule.daily(now));
        }
        self.send(&due, &live);
        self.save(Some(self.started)).await;
        let reports = self.reports();
        telemetry.update_quietly(|live| live.alerts = Some(reports));
    }

    /// The process ends, by `fatal` or in order. Messages that wait get one try each, within `limit`.
    pub async fn end(&mut self, fatal: Option<&Finding>, limit: Duration) {
        self.well.send_replace(false);
        if let Some(finding) = fatal {
            if self.recorded.is_none() {
                self.restore().await;
            }
            self.begin_ended(finding);
        }
        let finished = join_all(self.senders.iter().map(Sender::finish));
        if tokio::time::timeout(limit, finished).await.is_err() {
            tracing::warn!("an alert is not delivered before the end of the process");
        }
        while let Ok((event, cause)) = self.delivered.try_recv() {
            self.schedule.delivered(event, cause);
        }
        if self.recorded.is_some() {
            self.save(None).await;
        }
    }

    async fn restore(&mut self) {
        let state_dir = self.state_dir.clone();
        let read = tokio::task::spawn_blocking(move || Record::read(&state_dir));
        let record = match tokio::time::timeout(WRITE_LIMIT, read).await {
            Ok(Ok(record)) => record,
            _ => Record::default(),
        };
        self.schedule = Schedule::restored(self.alert.times.clone(), &record, self.now());
        self.recorded = Some(record);
    }

    fn begin_ended(&mut self, finding: &Finding) {
        let now = self.now();
        let due: Vec<_> = self.schedule.begin(Cause::DaemonEnded, finding, now).into_iter().collect();
        let live = self.telemetry.as_ref().map_or_else(Live::stopped, Telemetry::live);
        self.send(&due, &live);
    }

    fn send(&self, due: &[Notice], live: &Live) {
        for notice in due {
            let message = self.letterhead.tell(notice, live, Timestamp::now());
            tracing::info!(cause = ?message.cause, event = ?message.event, "alert");
            for sender in &self.senders {
                sender.send(message.clone());
            }
        }
    }

    /// Writes the record if it has changed.
    async fn save(&mut self, running: Option<Timestamp>) {
        let (standing, daily, aborted) = self.schedule.record();
        let record = Record { format: 0, standing, daily, aborted, running };
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        let as_read = self.recorded.as_ref().map(|record| Record { format: 0, ..record.clone() });
        if as_read.as_ref() == Some(&record) {
            return;
        }
        let (state_dir, written) = (self.state_dir.clone(), record.clone());
        let mut writing = tokio::task::spawn_blocking(move || written.write(&state_dir));
        match tokio::time::timeout(WRITE_LIMIT, &mut writing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the record of the alerts cannot be written: a restart repeats them");
            }
            _ => {
                tracing::warn!("the record of the alerts cannot be written: the disk does not answer");
                self.writing = Some(writing);
            }
        }
        // Not tried again before the next change, because the disk of the state directory is needed by others.
        self.recorded = Some(record);
    }

    fn reports(&self) -> Vec<AlertChannelReport> {
        let ping = self.ping.iter().map(|ping| ping.lock().unwrap_or_else(PoisonError::into_inner).clone());
        self.senders.iter().map(Sender::report).chain(ping).collect()
    }

    fn now(&self) -> Moment {
        Moment { elapsed: self.begun.elapsed(), wall: Timestamp::now() }
    }
}

fn start_ping(
    alert: &Alert,
    url_file: PathBuf,
    well: watch::Receiver<bool>,
) -> Arc<Mutex<AlertChannelReport>> {
    let report = AlertChannelReport { channel: "ping".to_owned(), ..AlertChannelReport::default() };
    let report = Arc::new(Mutex::new(report));
    let web = Web::new(alert.proxy_url_file.clone());
    let ping = Ping { url_file, every: alert.ping_every, web, well, report: Arc::clone(&report) };
    // Ends with the runtime of the alerts.
    drop(tokio::spawn(ping.run()));
    report
}
