use jiff::civil::Time;
use proptest::prelude::*;

use super::*;

const AFTER: u64 = 60;
const REMIND: u64 = 3600;

fn times() -> AlertTimes {
    AlertTimes {
        after: Duration::from_secs(AFTER),
        remind_every: Duration::from_secs(REMIND),
        daily_at: Some(Time::constant(6, 0, 0, 0)),
        offset: Offset::constant(3),
    }
}

/// 2026-11-29 00:00 UTC.
fn midnight() -> Timestamp {
    "2026-11-29T00:00:00Z".parse().unwrap()
}

fn at(seconds: u64) -> Moment {
    let elapsed = Duration::from_secs(seconds);
    Moment { elapsed, wall: midnight() + SignedDuration::try_from(elapsed).unwrap() }
}

fn fresh() -> Schedule {
    Schedule::restored(times(), &Record::default(), at(0))
}

fn seen(detail: &str) -> Observed {
    Observed::Present(Finding::new(detail, "do"))
}

/// The kinds of notices about `cause` that are given when `states` are observed, one each second.
fn played(schedule: &mut Schedule, cause: Cause, states: &[Observed], from: u64) -> Vec<(u64, &'static str)> {
    let mut given = Vec::new();
    for (second, state) in (from..).zip(states) {
        let due = schedule.observe(&[(cause, state.clone())], at(second));
        given.extend(due.iter().map(|notice| (second, kind(notice))));
    }
    given
}

fn kind(notice: &Notice) -> &'static str {
    match notice {
        Notice::Begun(_) => "begun",
        Notice::Reminder(_) => "reminder",
        Notice::Changed(_) => "changed",
        Notice::Over(_) => "over",
        Notice::Aborted { .. } => "aborted",
        Notice::Daily { .. } => "daily",
    }
}

#[test]
fn a_cause_is_told_once_reminded_of_and_told_to_be_over() {
    let mut states = vec![seen("x"); 4000];
    states.extend(vec![Observed::Absent; 200]);
    let given = played(&mut fresh(), Cause::Lag, &states, 0);
    assert_eq!(given, [(60, "begun"), (3660, "reminder"), (4060, "over")]);
}

#[test]
fn a_short_cause_wakes_nobody_and_a_short_recovery_is_no_end() {
    let blip = [vec![seen("x"); 59], vec![Observed::Absent; 100]].concat();
    assert_eq!(played(&mut fresh(), Cause::Lag, &blip, 0), []);
    let pause = [vec![seen("x"); 70], vec![Observed::Absent; 59], vec![seen("x"); 100]].concat();
    assert_eq!(played(&mut fresh(), Cause::Lag, &pause, 0), [(60, "begun")]);
}

#[test]
fn an_unknown_state_begins_nothing_and_ends_nothing() {
    let mut schedule = fresh();
    assert_eq!(played(&mut schedule, Cause::Lag, &vec![Observed::Unknown; 500], 0), []);
    let states = [vec![seen("x"); 61], vec![Observed::Unknown; 9000], vec![seen("x"); 1]].concat();
    assert_eq!(played(&mut schedule, Cause::Lag, &states, 500), [(560, "begun"), (9561, "reminder")]);
}

#[test]
fn the_end_of_an_alert_says_how_long_the_cause_has_lasted() {
    let mut schedule = fresh();
    let states = [vec![seen("x"); 700], vec![Observed::Absent; 61]].concat();
    let mut over = None;
    for (second, state) in (0..).zip(&states) {
        over = schedule.observe(&[(Cause::Lag, state.clone())], at(second)).pop().or(over);
    }
    let Some(Notice::Over(episode)) = over else { panic!("{over:?}") };
    assert_eq!((episode.lasted, episode.since, episode.times), (Duration::from_secs(700), midnight(), 1));
}

#[test]
fn an_operator_is_told_when_something_else_needs_the_operator() {
    let states =
        [vec![seen("the hook"); 70], vec![seen("the fence"); 100], vec![seen("the hook"); 1]].concat();
    let given = played(&mut fresh(), Cause::NeedsOperator, &states, 0);
    assert_eq!(given, [(60, "begun"), (120, "changed")]);
    let lag = [vec![seen("70 s"); 70], vec![seen("71 s"); 100]].concat();
    assert_eq!(played(&mut fresh(), Cause::Lag, &lag, 0), [(60, "begun")]);
}

#[test]
fn the_daemons_end_is_told_at_once_and_stands_for_the_stop_of_replication() {
    let mut schedule = fresh();
    let finding = Finding::new("wrong password", "change it");
    assert!(matches!(schedule.begin(Cause::DaemonEnded, &finding, at(0)), Some(Notice::Begun(_))));
    assert_eq!(schedule.begin(Cause::DaemonEnded, &finding, at(5)), None, "a crash loop repeats nothing");
    let both = |state: Observed| [(Cause::DaemonEnded, state.clone()), (Cause::ReplicationStopped, state)];
    for second in 6..400 {
        assert_eq!(schedule.observe(&both(seen("starting")), at(second)), []);
    }
    let mut given = Vec::new();
    for second in 400..500 {
        given.extend(schedule.observe(&both(Observed::Absent), at(second)));
    }
    assert!(
        matches!(&given[..], [Notice::Over(episode)] if episode.cause == Cause::DaemonEnded),
        "{given:?}"
    );
}

#[test]
fn a_restart_repeats_what_was_delivered_only_as_a_reminder() {
    let mut schedule = fresh();
    played(&mut schedule, Cause::Lag, &vec![seen("x"); 61], 0);
    assert!(schedule.record().0.is_empty(), "no channel has delivered it");
    schedule.delivered(Event::Begun, Some(Cause::Lag));
    let (standing, daily, aborted) = schedule.record();
    assert_eq!(standing.len(), 1);
    let record = Record { standing, daily, aborted, ..Record::default() };
    let later = |seconds: u64| Moment { elapsed: Duration::from_secs(seconds), ..at(1000 + seconds) };
    let mut next = Schedule::restored(times(), &record, later(0));
    let mut given = Vec::new();
    for second in 0..3000 {
        given.extend(
            next.observe(&[(Cause::Lag, seen("x"))], later(second)).iter().map(|n| (second, kind(n))),
        );
    }
    assert_eq!(given, [(2660, "reminder")], "one interval after the message of the earlier process");
}

#[test]
fn the_daily_line_comes_once_a_day_at_the_hour_of_its_zone() {
    let mut schedule = fresh();
    // 06:00 at +03:00 is 03:00 UTC.
    let due: Vec<u64> =
        (0..3 * 86_400).step_by(60).filter(|second| schedule.daily(at(*second)).is_some()).collect();
    assert_eq!(due, [3 * 3600, 27 * 3600, 51 * 3600]);
}

#[test]
fn a_clock_that_was_ahead_costs_one_daily_line_at_most() {
    let mut schedule = fresh();
    let ahead = Moment { wall: midnight() + SignedDuration::from_hours(24 * 365), ..at(10) };
    assert!(schedule.daily(ahead).is_some());
    let due: Vec<u64> =
        (60..2 * 86_400).step_by(60).filter(|second| schedule.daily(at(*second)).is_some()).collect();
    assert_eq!(due, [3 * 3600, 27 * 3600]);
}

#[test]
fn an_aborted_cutover_is_told_once_and_not_when_it_is_old_news() {
    let run = |id: &str, hours: i64| crate::telemetry::AbortedChange {
        id: id.into(),
        direction: "cutover".into(),
        reason: None,
        at: midnight() - SignedDuration::from_hours(hours),
    };
    let mut schedule = fresh();
    assert_eq!(schedule.aborted(&run("a", 5), at(0)), None);
    assert!(schedule.aborted(&run("b", 0), at(1)).is_some());
    assert_eq!(schedule.aborted(&run("b", 0), at(2)), None);
}

#[derive(Clone, Debug)]
enum Act {
    See(u8, u64),
    Restart,
    JumpClock(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..3_u8, 1..400_u64).prop_map(|(state, seconds)| Act::See(state, seconds)),
        1 => Just(Act::Restart),
        1 => (-200_000..200_000_i64).prop_map(Act::JumpClock),
    ]
}

proptest! {
    /// Whatever a cause and the clocks do, and however often the process starts again: an alert begins once before it
    /// is over, is over only after it began, and the number of messages is bounded by the time that has passed.
    #[test]
    fn no_sequence_gives_two_beginnings_without_an_end_or_a_flood(acts in prop::collection::vec(act(), 1..60)) {
        let (mut schedule, mut elapsed, mut skew) = (fresh(), 0_u64, 0_i64);
        let (mut process, mut restarts, mut jumps) = (0_u64, 0_u64, 0_u64);
        let (mut stands, mut messages) = (false, 0_u64);
        for act in acts {
            let moment = |elapsed: u64, process: u64, skew: i64| Moment {
                elapsed: Duration::from_secs(elapsed - process),
                wall: at(elapsed).wall + SignedDuration::from_secs(skew),
            };
            match act {
                Act::JumpClock(seconds) => { skew = (skew + seconds).clamp(-400_000, 400_000); jumps += 1; }
                Act::Restart => {
                    let (standing, daily, aborted) = schedule.record();
                    let record = Record { standing, daily, aborted, ..Record::default() };
                    process = elapsed;
                    restarts += 1;
                    schedule = Schedule::restored(times(), &record, moment(elapsed, process, skew));
                }
                Act::See(state, seconds) => {
                    for _ in 0..seconds {
                        elapsed += 1;
                        let state = match state { 0 => Observed::Absent, 1 => Observed::Unknown, _ => seen("x") };
                        for notice in schedule.observe(&[(Cause::Lag, state)], moment(elapsed, process, skew)) {
                            messages += 1;
                            match kind(&notice) {
                                "begun" => { prop_assert!(!stands, "begun twice"); stands = true; }
                                "over" => { prop_assert!(stands, "over without a beginning"); stands = false; }
                                "reminder" => prop_assert!(stands, "a reminder of nothing"),
                                other => prop_assert!(false, "{other}"),
                            }
                            schedule.delivered(Event::Begun, Some(Cause::Lag));
                        }
                    }
                }
            }
        }
        // An interval of reminders holds one reminder, and a few beginnings and ends while the time doubles from `after` to
        // `remind_every`; a restart or a jump of the clock begins the doubling again.
        let bound = 6 * (elapsed / REMIND + 1) + 14 + 14 * restarts + jumps;
        prop_assert!(messages <= bound, "{messages} messages in {elapsed} s with {restarts} restarts");
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// A cause that comes and goes for a day gives few messages.
    #[test]
    fn a_flapping_cause_does_not_flood(on in 61..300_usize, off in 61..300_usize) {
        let cycle = [vec![seen("x"); on], vec![Observed::Absent; off]].concat();
        let states: Vec<_> = cycle.iter().cycle().take(86_400).cloned().collect();
        let given = played(&mut fresh(), Cause::Lag, &states, 0);
        prop_assert!(given.len() <= 40, "{} messages in a day", given.len());
        prop_assert_eq!(given.first().copied(), Some((60, "begun")));
    }
}
