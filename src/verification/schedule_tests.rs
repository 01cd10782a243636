use uuid::Uuid;

use super::*;
use crate::compare::ranges::Keys;
use crate::model::difference_counts::DifferenceCounts;
use crate::verification::Round;

const TERMS: Terms = Terms { every: Duration::from_secs(3600), repairs: false };

fn round(number: u64, ended: bool) -> Round {
    let begun_at = Timestamp::UNIX_EPOCH;
    let ended_at = ended.then_some(begun_at);
    Round { number, basis: String::new(), begun_at, ended_at, last: None, repaired: 0 }
}

fn range(table: Table, first: u128, round: u64, rows: Option<u64>) -> Range {
    let keys = Keys { first: Uuid::from_u128(first), last: Uuid::max() };
    Range { round, rows, ..Range::new(table, keys) }
}

fn at(seconds: i64) -> (Timestamp, Instant) {
    (Timestamp::from_second(seconds).unwrap(), Instant::now())
}

/// The indices of the ranges in the order in which they are compared.
fn order(mut record: Record) -> Vec<usize> {
    let number = record.round.as_ref().unwrap().number;
    let mut order = Vec::new();
    while let Task::Compare(index) = next(&record, TERMS, false, at(0)) {
        order.push(index);
        record.ranges[index].round = number;
    }
    order
}

#[test]
fn damage_comes_first_then_small_tables_then_what_is_written_most() {
    let (leads, journey) = (Table::LandingLeads, Table::LeadJourney);
    let mut ranges = vec![
        range(journey, 0, 1, Some(4_000)),
        range(journey, 1, 1, Some(4_000)),
        range(leads, 0, 1, Some(500)),
        range(leads, 1, 1, Some(500)),
        range(journey, 2, 1, Some(4_000)),
    ];
    ranges[1].written = 7;
    ranges[3].written = 9;
    ranges[4].counts = DifferenceCounts { different: 1, ..DifferenceCounts::default() };
    assert_eq!(order(Record { round: Some(round(2, false)), ranges }), [4, 3, 2, 1, 0]);
}

#[test]
fn a_range_of_unknown_or_great_size_is_divided_before_it_is_compared() {
    for rows in [None, Some(MOST_ROWS + 1)] {
        let ranges = vec![range(Table::LandingLeads, 0, 0, rows)];
        let record = Record { round: Some(round(1, false)), ranges };
        assert_eq!(next(&record, TERMS, false, at(0)), Task::Divide(0));
    }
}

#[test]
fn a_round_ends_after_its_last_range_and_the_next_begins_when_its_time_has_come() {
    let mut record =
        Record { round: Some(round(3, false)), ranges: vec![range(Table::LandingLeads, 0, 3, Some(1))] };
    assert_eq!(next(&record, TERMS, false, at(0)), Task::EndRound);
    record.round = Some(round(3, true));
    assert_eq!(next(&record, TERMS, false, at(3_599)), Task::Wait);
    assert_eq!(next(&record, TERMS, false, at(3_600)), Task::BeginRound);
    assert_eq!(next(&record, TERMS, false, at(-3_600)), Task::BeginRound, "the clock was set back");
    assert_eq!(next(&Record::default(), TERMS, false, at(0)), Task::BeginRound);
}

#[test]
fn rows_are_repaired_once_in_a_round_and_only_where_that_is_wanted() {
    let mut differs = range(Table::LandingLeads, 0, 1, Some(1));
    differs.counts.missing = 2;
    let mut record = Record { round: Some(round(1, false)), ranges: vec![differs] };
    let repairs = Terms { repairs: true, ..TERMS };
    assert_eq!(next(&record, TERMS, false, at(0)), Task::EndRound);
    assert_eq!(next(&record, repairs, false, at(0)), Task::Repair);
    assert_eq!(next(&record, repairs, true, at(0)), Task::EndRound);
    record.ranges[0].counts.quarantined = 2;
    assert_eq!(next(&record, repairs, false, at(0)), Task::EndRound, "quarantine explains both rows");
}

#[test]
fn between_rounds_only_known_differences_are_looked_at_and_not_all_the_time() {
    let mut differs = range(Table::LandingLeads, 0, 1, Some(1));
    let mut record = Record { round: Some(round(1, true)), ranges: vec![differs.clone()] };
    assert_eq!(next(&record, TERMS, false, at(1)), Task::Wait);
    differs.counts.extra = 1;
    record.ranges = vec![differs];
    assert_eq!(next(&record, TERMS, false, at(1)), Task::Compare(0));
    record.ranges[0].tried = Some(Instant::now());
    assert_eq!(next(&record, TERMS, false, at(1)), Task::Wait);
}

#[test]
fn a_range_that_stays_open_lets_the_others_go_first_and_does_not_hold_up_the_round() {
    let found = || crate::compare::ranges::RangeFound {
        horizon: crate::compare::ranges::RangeHorizon {
            landing: crate::compare::ranges::ServerMoment { server: "a".into(), xid: "1".into() },
            traffic: crate::compare::ranges::ServerMoment { server: "b".into(), xid: "2".into() },
        },
        whole: true,
        rows: 1,
        read: 1,
        written: 1,
        counts: DifferenceCounts::default(),
        differing: Vec::new(),
        is_open: true,
        waited: Duration::ZERO,
    };
    let ranges = vec![range(Table::LandingLeads, 0, 0, Some(1)), range(Table::LandingLeads, 1, 0, Some(1))];
    let mut record = Record { round: Some(round(1, false)), ranges };
    let now = Timestamp::UNIX_EPOCH;
    record.ranges[0].take_in(found(), 1, now);
    assert_eq!(next(&record, TERMS, false, at(0)), Task::Compare(1));
    record.ranges[1].round = 1;
    assert_eq!(next(&record, TERMS, false, at(0)), Task::Wait);
    record.ranges[0].take_in(found(), 1, now);
    record.ranges[0].take_in(found(), 1, now);
    assert_eq!(next(&record, TERMS, false, at(0)), Task::EndRound);
    let round = record.round.clone().unwrap();
    assert!(!record.result(&round, now, None).is_clean(), "what is not known is not clean");
}

#[test]
fn a_tenth_of_the_time_means_nine_seconds_of_rest_for_a_second_of_work() {
    let second = Duration::from_secs(1);
    assert_eq!(rest(second, 0.1), 9 * second);
    assert_eq!(rest(second, 0.5), second);
    assert_eq!(rest(second, 1.0), Duration::ZERO);
    assert_eq!(rest(100 * second, 0.01), LONGEST_REST);
}
