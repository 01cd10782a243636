use proptest::prelude::*;

use super::super::history::tests::sample;
use super::*;
use crate::model::lsn::Lsn;
use crate::telemetry::SlotReport;

fn history(samples: impl IntoIterator<Item = Sample>) -> History {
    let mut history = History::default();
    samples.into_iter().for_each(|sample| history.add(sample));
    history
}

fn live(wal_status: &str, safe: Option<u64>, limit: Option<u64>) -> Live {
    let slot = SlotReport {
        name: "s".into(),
        active: true,
        wal_status: Some(wal_status.into()),
        retained_bytes: Some(1),
        safe_bytes: safe,
        limit_bytes: limit,
    };
    Live { state: State::Streaming, slot: Some(slot), ..Live::starting() }
}

fn limited() -> Live {
    live("reserved", Some(6000), Some(10_000))
}

#[test]
fn a_stream_that_is_held_up_fills_the_slot_and_never_catches_up() {
    // 100 bytes of WAL a second, and nothing is applied.
    let held = history((0..=60).map(|s| sample(s, 1000 + s * 100, s * 100, s as f64)));
    let outlook = Outlook::of(&held, &limited());
    let rate = outlook.rate.unwrap();
    assert_eq!(
        (rate.wal_bytes_per_second, rate.applied_bytes_per_second, rate.over_seconds),
        (100.0, Some(0.0), 60.0)
    );
    let trend = outlook.trend.unwrap();
    assert_eq!(trend.direction, TrendDirection::Rising);
    assert!((trend.seconds_per_minute - 60.0).abs() < 1e-6 && (trend.bytes_per_minute - 6000.0).abs() < 1e-6);
    let survival = outlook.survival.unwrap();
    assert_eq!((survival.state, survival.growth_bytes_per_second), (SurvivalState::Filling, Some(100.0)));
    assert_eq!((survival.seconds_left, survival.seconds_left_if_stopped), (Some(60.0), Some(60.0)));
    assert_eq!(outlook.catch_up, Some(CatchUp { state: CatchUpState::FallingBehind, seconds: None }));
}

#[test]
fn a_backlog_that_becomes_less_has_an_end() {
    // 100 bytes of WAL a second, 300 applied: 20,000 bytes are left after a minute.
    let falling =
        history((0..=60).map(|s| sample(s, 100_000 + s * 100, 32_000 - s * 200, 500.0 - s as f64 * 2.0)));
    let outlook = Outlook::of(&falling, &limited());
    assert_eq!(outlook.trend.unwrap().direction, TrendDirection::Falling);
    let catch_up = outlook.catch_up.unwrap();
    assert_eq!(catch_up.state, CatchUpState::CatchingUp);
    assert!((catch_up.seconds.unwrap() - 100.0).abs() < 1e-6, "{catch_up:?}");
    assert_eq!(outlook.survival.unwrap().state, SurvivalState::NotFilling);
}

#[test]
fn an_idle_server_fills_nothing_and_divides_by_nothing() {
    let idle = history((0..=60).map(|s| sample(s, 1000, 0, 0.0)));
    let outlook = Outlook::of(&idle, &limited());
    assert_eq!(outlook.rate.unwrap().wal_bytes_per_second, 0.0);
    assert_eq!(outlook.trend.unwrap().direction, TrendDirection::Steady);
    let survival = outlook.survival.unwrap();
    assert_eq!(
        (survival.state, survival.seconds_left, survival.seconds_left_if_stopped),
        (SurvivalState::NotFilling, None, None)
    );
    assert_eq!(outlook.catch_up.unwrap().state, CatchUpState::KeepsUp);
}

/// PostgreSQL frees a slot's WAL in steps, so that the retained WAL looks like the teeth of a saw.
#[test]
fn a_slot_whose_wal_grows_and_shrinks_in_steps_is_not_filling() {
    let teeth = |s: u64| Sample { retained: Some(500 + s % 15 * 1000), ..sample(s, 1000 + s * 1000, 0, 0.0) };
    for seconds in 40..=400 {
        let outlook = Outlook::of(&history((0..=seconds).map(teeth)), &limited());
        let survival = outlook.survival.unwrap();
        assert_eq!(survival.state, SurvivalState::NotFilling, "after {seconds} s");
        assert_eq!(survival.seconds_left_if_stopped, Some(6.0));
    }
    // A transaction of the source that stays open keeps all WAL, though the stream keeps up.
    let open = |s: u64| Sample { retained: Some(500 + s * 1000), ..sample(s, 1000 + s * 1000, 0, 0.0) };
    let outlook = Outlook::of(&history((0..=60).map(open)), &limited());
    assert_eq!(outlook.survival.unwrap().seconds_left, Some(6.0));
}

#[test]
fn the_limits_of_the_slot_come_before_its_growth() {
    let held = history((0..=60).map(|s| sample(s, 1000 + s * 100, s * 100, s as f64)));
    let state = |live: &Live| Outlook::of(&held, live).survival.map(|it| (it.state, it.seconds_left));
    assert_eq!(state(&live("lost", None, Some(10))), Some((SurvivalState::Lost, None)));
    assert_eq!(state(&live("unreserved", Some(0), Some(10))), Some((SurvivalState::Unreserved, Some(0.0))));
    assert_eq!(state(&live("reserved", None, None)), Some((SurvivalState::NoLimit, None)));
    assert_eq!(state(&live("extended", Some(0), Some(10))), Some((SurvivalState::Filling, Some(0.0))));
    assert_eq!(state(&Live::starting()), None, "no slot");
}

#[test]
fn too_little_is_not_known() {
    let early = history((0..5).map(|s| sample(s, 1000 + s * 100, s * 100, s as f64)));
    let outlook = Outlook::of(&early, &limited());
    assert_eq!((outlook.rate, outlook.trend, outlook.catch_up), (None, None, None));
    assert_eq!(outlook.survival.unwrap().state, SurvivalState::Unknown);
    assert_eq!(Outlook::of(&History::default(), &limited()), Outlook::default());
    // A source that does not answer: the figures of before are not the present ones.
    let gone = |s: u64| Sample {
        written: None,
        lag_bytes: None,
        lag_seconds: None,
        retained: None,
        ..sample(s, 9000, 0, 0.0)
    };
    let held = (0..=60).map(|s| sample(s, 1000 + s * 100, 0, 0.0)).chain([gone(61)]);
    let outlook = Outlook::of(&history(held), &limited());
    assert_eq!((outlook.rate, outlook.trend, outlook.catch_up), (None, None, None));
}

#[test]
fn during_a_copy_the_slots_survival_is_known_and_no_stream_catches_up() {
    let copying = |s: u64| Sample {
        lag_bytes: None,
        lag_seconds: None,
        applied: None,
        retained: Some(s * 100),
        ..sample(s, 1000 + s * 100, 0, 0.0)
    };
    let live = Live { state: State::Snapshot, ..limited() };
    let outlook = Outlook::of(&history((0..=60).map(copying)), &live);
    assert_eq!((outlook.trend, outlook.catch_up), (None, None));
    assert_eq!(outlook.survival.unwrap().seconds_left, Some(60.0));
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let position = || proptest::option::of(prop_oneof![0..1000_u64, any::<u64>()].prop_map(Lsn));
    let bytes = || proptest::option::of(prop_oneof![0..1000_u64, any::<u64>()]);
    let seconds = proptest::option::of(prop_oneof![0.0..1e4_f64, Just(0.0), Just(f64::MAX)]);
    let side = prop_oneof![9 => Just(Side::Landing), 1 => Just(Side::Traffic)];
    (0..400_000_u64, side, bytes(), seconds, position(), position(), bytes(), 0..1000_u64).prop_map(
        |(at, source, lag_bytes, lag_seconds, applied, written, retained, rows)| Sample {
            at: Duration::from_millis(at),
            source,
            lag_bytes,
            lag_seconds,
            applied,
            written,
            retained,
            rows,
        },
    )
}

proptest! {
    /// Whatever the samples, every figure is a finite number, and no time is negative.
    #[test]
    fn no_figure_is_ever_absurd(
        mut samples in proptest::collection::vec(any_sample(), 0..80),
        ordered: bool,
        safe in proptest::option::of(any::<u64>()),
    ) {
        if ordered {
            samples.sort_by_key(|sample| (sample.at, sample.written, sample.applied));
        }
        let live = live("extended", safe, safe);
        let history = history(samples);
        let Outlook { rate, trend, survival, catch_up } = Outlook::of(&history, &live);
        let rates = rate.map(|it| [it.rows_per_second, it.applied_bytes_per_second, Some(it.wal_bytes_per_second), Some(it.over_seconds)]);
        let clock = survival.map(|it| [it.growth_bytes_per_second, it.seconds_left, it.seconds_left_if_stopped]);
        let never_negative = rates.into_iter().flatten().chain(clock.into_iter().flatten());
        for figure in never_negative.chain([catch_up.and_then(|it| it.seconds)]).flatten() {
            prop_assert!(figure.is_finite() && figure >= 0.0, "{figure}");
        }
        if let Some(trend) = trend {
            prop_assert!(trend.bytes_per_minute.is_finite() && trend.seconds_per_minute.is_finite());
        }
    }
}
