//! The text of `/metrics`, in the OpenMetrics format.
//!
//! Counters and histograms are recorded where the events happen, without I/O and without waiting. What the status
//! document says is read from the live state at the scrape ([`collected`]), so both always say the same. Labels are
//! closed sets: no metric has a label whose values grow with the data.

mod collected;
mod verification;

use std::fmt;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

use super::Live;
use crate::error::Kind;
use crate::model::side::Side;

/// Media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the durations' buckets, in seconds: from a fast local commit to a lock that is held for long.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];
/// Upper bounds of the sizes' buckets, in changes.
const ROWS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 20_000.0];

/// Direction of replication, the only label of what both directions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    Forward,
    Reverse,
}

impl Direction {
    const ALL: [Direction; 2] = [Direction::Forward, Direction::Reverse];

    fn from(source: Side) -> Self {
        match source {
            Side::Landing => Direction::Forward,
            Side::Traffic => Direction::Reverse,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
        }
    }
}

impl EncodeLabelValue for Direction {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDirection {
    direction: Direction,
}

/// Label of an error that is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

/// A histogram with fixed bounds.
#[derive(Clone, Copy, Debug)]
struct Bounds(&'static [f64]);

impl MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Histograms = Family<OfDirection, Histogram, Bounds>;

/// The counters of the replication, and all metrics as text.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    batch_rows: [Histogram; 2],
    applying: [Histogram; 2],
    committing: [Histogram; 2],
    storing: Histogram,
    queued_rows: Gauge,
    queued_bytes: Gauge,
    retries: Family<OfKind, Counter>,
    streams: Counter,
    reconnects: Counter,
}

impl Metrics {
    /// `live` is read at each scrape.
    pub fn new(live: watch::Receiver<Live>) -> Self {
        let mut registry = Registry::with_prefix("leadbridge");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the daemon", build);
        let (batch_rows, applying, committing) = histograms(&mut registry);
        let storing = Bounds(&SECONDS).new_metric();
        registry.register_with_unit(
            "local_store_flush",
            "Time to write a position to the local store and flush it",
            Unit::Seconds,
            storing.clone(),
        );
        let (queued_rows, queued_bytes) =
            (Gauge::<i64, AtomicI64>::default(), Gauge::<i64, AtomicI64>::default());
        registry.register(
            "queue_rows",
            "Changes that are collected and wait to be applied",
            queued_rows.clone(),
        );
        registry.register_with_unit(
            "queue",
            "Size of the changes that are collected and wait to be applied",
            Unit::Bytes,
            queued_bytes.clone(),
        );
        let retries = Family::<OfKind, Counter>::default();
        registry.register(
            "retries",
            "Attempts that ended with an error and were tried again",
            retries.clone(),
        );
        for kind in [Kind::Unreachable, Kind::Transient] {
            drop(retries.get_or_create(&OfKind { kind: kind.as_str() }));
        }
        let (streams, reconnects) = (Counter::default(), Counter::default());
        registry.register("streams", "Streams that have begun, in both directions", streams.clone());
        registry.register(
            "reconnects",
            "Streams that have begun after an earlier one had ended",
            reconnects.clone(),
        );
        registry.register_collector(Box::new(collected::Collected(live)));
        Metrics {
            registry,
            batch_rows,
            applying,
            committing,
            storing,
            queued_rows,
            queued_bytes,
            retries,
            streams,
            reconnects,
        }
    }

    /// All metrics in the OpenMetrics text format. Reads memory only, so an unreachable database holds up no scrape.
    ///
    /// # Errors
    /// A value could not be written, which a `String` never refuses.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    /// Records a batch whose `rows` changes were written to the target in `time`. The transaction may still be open.
    pub fn applied(&self, source: Side, rows: usize, time: Duration) {
        let of = Direction::from(source) as usize;
        if let (Some(batch_rows), Some(applying)) = (self.batch_rows.get(of), self.applying.get(of)) {
            batch_rows.observe(rows as f64);
            applying.observe(time.as_secs_f64());
        }
    }

    /// Records a commit on the target.
    pub fn committed(&self, source: Side, time: Duration) {
        if let Some(committing) = self.committing.get(Direction::from(source) as usize) {
            committing.observe(time.as_secs_f64());
        }
    }

    /// Records a flush of the local store.
    pub fn stored(&self, time: Duration) {
        self.storing.observe(time.as_secs_f64());
    }

    /// Records what waits to be applied: `rows` changes of `bytes` bytes.
    pub fn queued(&self, rows: usize, bytes: usize) {
        self.queued_rows.set(i64::try_from(rows).unwrap_or(i64::MAX));
        self.queued_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Records an error after which the attempt is tried again.
    pub fn retried(&self, kind: Kind) {
        self.retries.get_or_create(&OfKind { kind: kind.as_str() }).inc();
    }

    /// Records that a stream has begun.
    pub fn stream_begun(&self) {
        if self.streams.inc() > 0 {
            self.reconnects.inc();
        }
    }
}

/// The histograms of both directions: changes of a batch, time to write a batch, time to commit.
fn histograms(registry: &mut Registry) -> ([Histogram; 2], [Histogram; 2], [Histogram; 2]) {
    let families =
        [&ROWS[..], &SECONDS, &SECONDS].map(|bounds| Histograms::new_with_constructor(Bounds(bounds)));
    let [rows, applying, committing] = &families;
    registry.register("batch_rows", "Changes of a batch", rows.clone());
    registry.register_with_unit(
        "apply",
        "Time to write the changes of a batch to the target, without the commit",
        Unit::Seconds,
        applying.clone(),
    );
    registry.register_with_unit(
        "commit",
        "Time of a commit on the target",
        Unit::Seconds,
        committing.clone(),
    );
    let [rows, applying, committing] = families.map(|family| {
        Direction::ALL.map(|direction| family.get_or_create(&OfDirection { direction }).clone())
    });
    (rows, applying, committing)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
