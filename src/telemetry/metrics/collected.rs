//! Metrics that are read from the live state at the scrape. A figure that is not known has no sample; a time that
//! never comes is infinite.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::sync::watch;

use super::{Direction, verification};
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::telemetry::outlook::{CatchUpState, SurvivalState};
use crate::telemetry::{Live, State};

/// Reads the live state at each scrape.
#[derive(Debug)]
pub(super) struct Collected(pub watch::Receiver<Live>);

/// Values of `wal_status` in `pg_replication_slots`.
const WAL_STATUSES: [&str; 4] = ["reserved", "extended", "unreserved", "lost"];

/// Labels and values of one metric.
#[derive(Default)]
pub(super) struct Samples(Vec<(Vec<(&'static str, String)>, f64)>);

impl Samples {
    pub(super) fn plain(&mut self, value: Option<f64>) {
        self.0.extend(value.map(|value| (Vec::new(), value)));
    }

    fn of(&mut self, direction: Direction, value: Option<f64>) {
        self.labelled(&[("direction", direction.as_str())], value);
    }

    pub(super) fn labelled(&mut self, labels: &[(&'static str, &str)], value: Option<f64>) {
        let labels = || labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.0.extend(value.map(|value| (labels(), value)));
    }
}

/// A metric of the live state.
pub(super) struct Metric {
    pub name: &'static str,
    pub unit: Option<Unit>,
    pub help: &'static str,
    pub read: fn(&Live, &mut Samples),
}

/// The metrics that may fall as well as rise.
static GAUGES: [Metric; 28] = [
    Metric {
        name: "state",
        unit: None,
        help: "State of the replication: 1 for the present state, 0 for the others.",
        read: |live, out| {
            for state in State::ALL {
                out.labelled(&[("state", state.as_str())], Some(flag(live.state == state)));
            }
        },
    },
    Metric {
        name: "start_time",
        unit: Some(Unit::Seconds),
        help: "Start of the process, in seconds since 1970.",
        read: |live, out| out.plain(live.started_at.map(|at| at.as_millisecond() as f64 / 1e3)),
    },
    Metric {
        name: "lag",
        unit: Some(Unit::Bytes),
        help: "WAL position of the source minus the applied position; 0 when nothing is under way.",
        read: |live, out| out.of(running(live), live.lag_bytes.map(float)),
    },
    Metric {
        name: "lag",
        unit: Some(Unit::Seconds),
        help: "Age of the oldest transaction of the source that is not applied; 0 without one.",
        read: |live, out| out.of(running(live), live.lag_seconds),
    },
    Metric {
        name: "lag_trend_seconds_per_minute",
        unit: None,
        help: "Change of the lag in seconds in a minute, over the last minute.",
        read: |live, out| out.of(running(live), live.trend.map(|trend| trend.seconds_per_minute)),
    },
    Metric {
        name: "applied_position",
        unit: Some(Unit::Bytes),
        help: "WAL position of the source before which everything is committed on the target.",
        read: |live, out| {
            out.of(Direction::Forward, live.applied_lsn.map(position));
            out.of(
                Direction::Reverse,
                live.reverse.as_ref().and_then(|reverse| reverse.applied_lsn).map(position),
            );
        },
    },
    Metric {
        name: "landing_position",
        unit: Some(Unit::Bytes),
        help: "WAL position of Landing at the last query.",
        read: |live, out| out.plain(live.landing_lsn.map(position)),
    },
    Metric {
        name: "applied_rows_per_second",
        unit: None,
        help: "Rows applied in a second, over the last minute.",
        read: |live, out| out.plain(live.rate.and_then(|rate| rate.rows_per_second)),
    },
    Metric {
        name: "applied_bytes_per_second",
        unit: None,
        help: "WAL of the source by which the applied position advances in a second, over the last minute.",
        read: |live, out| out.plain(live.rate.and_then(|rate| rate.applied_bytes_per_second)),
    },
    Metric {
        name: "wal_bytes_per_second",
        unit: None,
        help: "WAL that the source writes in a second, over the last minute.",
        read: |live, out| out.plain(live.rate.map(|rate| rate.wal_bytes_per_second)),
    },
    Metric {
        name: "catch_up",
        unit: Some(Unit::Seconds),
        help: "Time until the lag is gone at the present rate; infinite when the lag does not become less.",
        read: |live, out| {
            let seconds = live.catch_up.map(|it| match it.state {
                CatchUpState::FallingBehind => f64::INFINITY,
                CatchUpState::KeepsUp | CatchUpState::CatchingUp => it.seconds.unwrap_or(f64::INFINITY),
            });
            out.of(running(live), seconds);
        },
    },
    Metric {
        name: "slot_active",
        unit: None,
        help: "1 while a process streams from the slot.",
        read: |live, out| {
            out.of(Direction::Forward, live.slot.as_ref().map(|slot| flag(slot.active)));
            out.of(Direction::Reverse, live.reverse.as_ref().map(|reverse| flag(reverse.active)));
        },
    },
    Metric {
        name: "slot_wal_status",
        unit: None,
        help: "The slot's wal_status: 1 for the present one, 0 for the others.",
        read: |live, out| {
            for (direction, found) in of_slots(live, |slot| slot.wal_status) {
                for status in WAL_STATUSES {
                    let labels = [("direction", direction.as_str()), ("status", status)];
                    out.labelled(&labels, Some(flag(found == status)));
                }
            }
        },
    },
    Metric {
        name: "slot_retained",
        unit: Some(Unit::Bytes),
        help: "WAL that the slot keeps on the source's disk.",
        read: |live, out| {
            of_slots(live, |slot| slot.retained).for_each(|(of, bytes)| out.of(of, Some(float(bytes))))
        },
    },
    Metric {
        name: "slot_safe",
        unit: Some(Unit::Bytes),
        help: "WAL that may be written before the source drops WAL that the slot needs; no sample without a limit.",
        read: |live, out| {
            of_slots(live, |slot| slot.safe).for_each(|(of, bytes)| out.of(of, Some(float(bytes))))
        },
    },
    Metric {
        name: "slot_limit",
        unit: Some(Unit::Bytes),
        help: "max_slot_wal_keep_size of the source; no sample without a limit.",
        read: |live, out| {
            of_slots(live, |slot| slot.limit).for_each(|(of, bytes)| out.of(of, Some(float(bytes))))
        },
    },
    Metric {
        name: "slot_survival",
        unit: Some(Unit::Seconds),
        help: "Time until the limit of the slot's WAL is reached at the present growth; infinite while it does not grow.",
        read: |live, out| {
            let seconds = live.survival.and_then(|survival| match survival.state {
                SurvivalState::Lost => Some(0.0),
                SurvivalState::NoLimit | SurvivalState::NotFilling => Some(f64::INFINITY),
                SurvivalState::Unreserved | SurvivalState::Filling => survival.seconds_left,
                SurvivalState::Unknown => None,
            });
            out.of(running(live), seconds);
        },
    },
    Metric {
        name: "slot_survival_if_stopped",
        unit: Some(Unit::Seconds),
        help: "Time until the limit of the slot's WAL would be reached if replication stopped now; no sample without a limit.",
        read: |live, out| {
            out.of(running(live), live.survival.and_then(|survival| survival.seconds_left_if_stopped))
        },
    },
    Metric {
        name: "blocking_sessions",
        unit: None,
        help: "Sessions that hold locks for which leadbridge has waited for a second or more.",
        read: |live, out| out.plain(live.blocked_by.as_ref().map(|sessions| sessions.len() as f64)),
    },
    Metric {
        name: "quarantined_rows",
        unit: None,
        help: "Rows that the target could not take.",
        read: |live, out| {
            out.of(Direction::Forward, live.quarantined.map(float));
            out.of(
                Direction::Reverse,
                live.reverse.as_ref().and_then(|reverse| reverse.quarantined).map(float),
            );
        },
    },
    Metric {
        name: "conversion_notes",
        unit: None,
        help: "Values that the mapping had to change.",
        read: |live, out| out.plain(live.conversion_notes.map(float)),
    },
    Metric {
        name: "reverse_active",
        unit: None,
        help: "1 while a cutover has switched and reverse replication is this daemon's task, else 0.",
        read: |live, out| out.plain(Some(flag(live.reverse.is_some()))),
    },
    Metric {
        name: "error",
        unit: None,
        help: "1 while a last error is shown, by whether the daemon retries by itself.",
        read: |live, out| {
            for (label, retrying) in [("true", true), ("false", false)] {
                let is_shown = live.last_error.as_ref().is_some_and(|error| error.retrying == retrying);
                out.labelled(&[("retrying", label)], Some(flag(is_shown)));
            }
        },
    },
    Metric {
        name: "snapshot_rows",
        unit: None,
        help: "Rows copied by the running or last initial copy of this process.",
        read: |live, out| {
            for table in &live.snapshot {
                out.labelled(&[("table", &table.table)], Some(float(table.rows_done)));
            }
        },
    },
    Metric {
        name: "snapshot_expected_rows",
        unit: None,
        help: "Rows of the table at the start of the initial copy: counted, for a large table estimated.",
        read: |live, out| {
            for table in &live.snapshot {
                out.labelled(&[("table", &table.table)], table.rows_expected.map(float));
            }
        },
    },
    Metric {
        name: "snapshot_rows_per_second",
        unit: None,
        help: "Speed of the running or last initial copy.",
        read: |live, out| out.plain(live.snapshot_rows_per_second),
    },
    Metric {
        name: "snapshot_left",
        unit: Some(Unit::Seconds),
        help: "Time that the running initial copy still takes.",
        read: |live, out| out.plain(live.snapshot_seconds_left),
    },
    Metric {
        name: "snapshot_missing_indexes",
        unit: None,
        help: "Indexes that are missing on Traffic until the initial copy has copied every row.",
        read: |live, out| out.plain(live.snapshot_indexes_left.map(float)),
    },
];

/// The metrics that only rise while the process runs.
static COUNTERS: [Metric; 2] = [
    Metric {
        name: "rows_applied",
        unit: None,
        help: "Changed rows applied on the target, in both directions.",
        read: |live, out| out.plain(Some(float(live.rows_applied))),
    },
    Metric {
        name: "transactions_applied",
        unit: None,
        help: "Transactions of the source applied on the target, in both directions.",
        read: |live, out| out.plain(Some(float(live.transactions_applied))),
    },
];

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // A copy, because the encoding must not hold up a change of the state.
        let live = self.0.borrow().clone();
        let gauges = GAUGES.iter().chain(&verification::GAUGES).map(|metric| (metric, MetricType::Gauge));
        let counters = COUNTERS.iter().chain(&verification::COUNTERS);
        for (metric, kind) in gauges.chain(counters.map(|metric| (metric, MetricType::Counter))) {
            let mut samples = Samples::default();
            (metric.read)(&live, &mut samples);
            let mut family =
                encoder.encode_descriptor(metric.name, metric.help, metric.unit.as_ref(), kind)?;
            for (labels, value) in &samples.0 {
                let sample = family.encode_family(labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(*value as u64).encode(sample)?,
                    _ => ConstGauge::new(*value).encode(sample)?,
                }
            }
        }
        Ok(())
    }
}

/// What the metrics of a slot need.
struct Slot<'s> {
    wal_status: Option<&'s str>,
    retained: Option<u64>,
    safe: Option<u64>,
    limit: Option<u64>,
}

/// A figure of Landing's slot, and of the slot of reverse replication, each where the figure is known.
fn of_slots<'l, T>(
    live: &'l Live,
    figure: fn(Slot<'l>) -> Option<T>,
) -> impl Iterator<Item = (Direction, T)> {
    let forward = live.slot.as_ref().map(|slot| Slot {
        wal_status: slot.wal_status.as_deref(),
        retained: slot.retained_bytes,
        safe: slot.safe_bytes,
        limit: slot.limit_bytes,
    });
    let reverse = live.reverse.as_ref().map(|slot| Slot {
        wal_status: slot.wal_status.as_deref(),
        retained: slot.retained_bytes,
        safe: slot.safe_bytes,
        limit: slot.limit_bytes,
    });
    let sides = [(Direction::Forward, forward), (Direction::Reverse, reverse)];
    sides.into_iter().filter_map(move |(direction, slot)| Some((direction, figure(slot?)?)))
}

/// The direction whose lag the live state has.
fn running(live: &Live) -> Direction {
    Direction::from(if live.reverse.is_some() { Side::Traffic } else { Side::Landing })
}

pub(super) fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

pub(super) fn float(number: u64) -> f64 {
    number as f64
}

fn position(lsn: Lsn) -> f64 {
    lsn.0 as f64
}
