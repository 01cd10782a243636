use super::*;

fn keys(first: u128, last: u128) -> Keys {
    Keys { first: Uuid::from_u128(first), last: Uuid::from_u128(last) }
}

#[test]
fn ranges_are_complete_when_they_hold_every_key_once() {
    let max = u128::MAX;
    assert!(are_complete(&[Keys::ALL]));
    assert!(are_complete(&[keys(0, 4), keys(5, 5), keys(6, max)]));
    for broken in [
        vec![],
        vec![keys(0, 4)],
        vec![keys(1, max)],
        vec![keys(0, 4), keys(6, max)],
        vec![keys(0, 5), keys(5, max)],
        vec![keys(0, max), keys(0, max)],
    ] {
        assert!(!are_complete(&broken), "{broken:?}");
    }
}

fn read_at(second: i64) -> Range {
    let moment = |xid: &str| crate::compare::ranges::ServerMoment { server: "s".into(), xid: xid.into() };
    Range {
        read_at: Some(Timestamp::from_second(second).unwrap()),
        horizon: Some(RangeHorizon { landing: moment("5"), traffic: moment("6") }),
        ..Range::new(Table::LandingLeads, Keys::ALL)
    }
}

#[test]
fn a_range_is_read_whole_once_its_last_whole_reading_is_long_ago_on_whatever_side_of_now() {
    let (hour, range) = (Duration::from_secs(3600), read_at(10_000));
    let is_cheap = |now| range.known(hour, Timestamp::from_second(now).unwrap()).since.is_some();
    assert!(is_cheap(10_000) && is_cheap(13_599));
    assert!(!is_cheap(13_600) && !is_cheap(6_400));
}

#[test]
fn a_range_whose_differing_keys_are_not_all_known_is_read_whole() {
    let mut range = read_at(0);
    let now = Timestamp::UNIX_EPOCH;
    (range.counts.missing, range.differing) = (2, vec![Uuid::nil()]);
    assert!(range.known(Duration::from_secs(9), now).since.is_none());
    range.differing.push(Uuid::max());
    assert_eq!(range.known(Duration::from_secs(9), now).differing.len(), 2);
}

#[test]
fn the_parts_of_a_range_know_of_their_own_keys_only() {
    let mut range = read_at(0);
    range.differing = vec![Uuid::from_u128(3), Uuid::from_u128(9)];
    range.counts.extra = 2;
    let parts = range.divided(&[keys(0, 4), keys(5, u128::MAX)]);
    assert_eq!(parts[0].differing, [Uuid::from_u128(3)]);
    assert_eq!(parts[1].differing, [Uuid::from_u128(9)]);
    assert!(parts.iter().all(|part| part.horizon.is_none()), "each part is read whole");
    assert!(parts.iter().all(|part| part.counts.all() == 1));
    range.counts = DifferenceCounts::default();
    assert!(range.divided(&[keys(0, 4), keys(5, u128::MAX)]).iter().all(|part| part.horizon.is_some()));
}
