//! Every order in which the three positions can stand.

use super::*;
use crate::postgres::timeline::TimelineHistory;

fn identity() -> Identity {
    Identity {
        landing_system_id: "7".into(),
        landing_database: "landing".into(),
        slot: "leadbridge".into(),
        publication: "leadbridge".into(),
    }
}

fn traffic(state: ReplicationState, lsn: u64) -> Recorded {
    Recorded {
        identity: identity(),
        state,
        applied: Some(Lsn(lsn)),
        timeline: Some(1),
        published: None,
        settings: None,
        makes_slot: false,
    }
}

/// Landing's WAL, beyond every position of these tests.
fn wal() -> LandingWal {
    LandingWal { timeline: 1, flushed: Lsn(100), history: TimelineHistory::default() }
}

fn slot(lsn: u64) -> SlotPosition {
    SlotPosition {
        confirmed_flush: Lsn(lsn),
        wal_status: Some("reserved".into()),
        plugin: "pgoutput".into(),
        database: "landing".into(),
    }
}

fn local(lsn: u64) -> (Identity, Lsn) {
    (identity(), Lsn(lsn))
}

fn refusal(result: Result<Start>) -> String {
    let error = result.expect_err("must be refused");
    assert_eq!(error.response(), crate::error::Response::AskOperator);
    error.to_string()
}

#[test]
fn nothing_anywhere_begins_with_a_snapshot() {
    assert_eq!(agree(&identity(), &wal(), None, None, None).unwrap(), Start::Snapshot { drop_slot: false });
}

#[test]
fn an_interrupted_snapshot_starts_again_and_drops_its_slot() {
    let recorded = traffic(ReplicationState::Snapshot, 0);
    for left in [Some(slot(5)), None] {
        let start = agree(&identity(), &wal(), Some(&recorded), None, left.as_ref()).unwrap();
        assert_eq!(start, Start::Snapshot { drop_slot: left.is_some() });
    }
}

#[test]
fn a_local_store_that_is_empty_or_older_yields_to_traffic() {
    let recorded = traffic(ReplicationState::Streaming, 10);
    for local in [None, Some(local(5)), Some(local(10))] {
        let start = agree(&identity(), &wal(), Some(&recorded), local.as_ref(), Some(&slot(5))).unwrap();
        assert_eq!(start, Start::Stream(Lsn(10)));
    }
}

#[test]
fn traffic_behind_the_slot_is_refused() {
    let recorded = traffic(ReplicationState::Streaming, 10);
    let text = refusal(agree(&identity(), &wal(), Some(&recorded), None, Some(&slot(11))));
    assert!(text.contains("0/A") && text.contains("0/B") && text.contains("resync"), "{text}");
}

#[test]
fn traffic_behind_the_local_store_is_refused() {
    let recorded = traffic(ReplicationState::Streaming, 10);
    let text = refusal(agree(&identity(), &wal(), Some(&recorded), Some(&local(11)), Some(&slot(5))));
    assert!(text.contains("0/A") && text.contains("0/B") && text.contains("resync"), "{text}");
}

#[test]
fn a_slot_that_is_gone_or_lost_is_refused() {
    let recorded = traffic(ReplicationState::Streaming, 10);
    assert!(refusal(agree(&identity(), &wal(), Some(&recorded), None, None)).contains("gone"));
    let lost = SlotPosition { wal_status: Some("lost".into()), ..slot(5) };
    assert!(refusal(agree(&identity(), &wal(), Some(&recorded), None, Some(&lost))).contains("lost"));
}

#[test]
fn another_cluster_slot_or_publication_is_refused() {
    let recorded = traffic(ReplicationState::Streaming, 10);
    for change in [
        |identity: &mut Identity| identity.landing_system_id = "8".into(),
        |identity: &mut Identity| identity.landing_database = "other".into(),
        |identity: &mut Identity| identity.publication = "other".into(),
    ] {
        let mut live = identity();
        change(&mut live);
        refusal(agree(&live, &wal(), Some(&recorded), None, None));
        refusal(agree(&live, &wal(), None, Some(&local(1)), None));
    }
}

#[test]
fn a_slot_that_traffic_does_not_know_is_not_taken_over() {
    assert!(refusal(agree(&identity(), &wal(), None, None, Some(&slot(5)))).contains("no record"));
    refusal(agree(&identity(), &wal(), None, Some(&local(5)), None));
}

#[test]
fn a_slot_of_another_kind_is_never_touched() {
    let recorded = traffic(ReplicationState::Snapshot, 0);
    let foreign = SlotPosition { plugin: "wal2json".into(), ..slot(5) };
    assert!(refusal(agree(&identity(), &wal(), Some(&recorded), None, Some(&foreign))).contains("wal2json"));
}

#[test]
fn traffic_ahead_of_landing_or_on_a_timeline_that_it_left_before_is_refused() {
    let recorded = traffic(ReplicationState::Streaming, 10);
    let agreed = |wal: &LandingWal| agree(&identity(), wal, Some(&recorded), None, Some(&slot(5)));
    let text = refusal(agreed(&LandingWal { flushed: Lsn(9), ..wal() }));
    assert!(text.contains("0/A") && text.contains("0/9") && text.contains("resync"), "{text}");
    let promoted = |left: &str| LandingWal { timeline: 2, history: left.parse().unwrap(), ..wal() };
    let text = refusal(agreed(&promoted("1\t0/9\tno recovery target specified")));
    assert!(text.contains("0/A") && text.contains("0/9") && text.contains("resync"), "{text}");
    assert_eq!(agreed(&promoted("1\t0/A\tno recovery target specified")).unwrap(), Start::Stream(Lsn(10)));
    // A record of a version without timelines.
    let unknown = Recorded { timeline: None, ..recorded.clone() };
    let start = agree(&identity(), &promoted("1\t0/9\t"), Some(&unknown), None, Some(&slot(5)));
    assert_eq!(start.unwrap(), Start::Stream(Lsn(10)));
}

#[test]
fn after_the_switch_a_slot_that_lost_its_wal_does_not_matter_and_the_histories_of_both_servers_do() {
    let recorded = traffic(ReplicationState::Switched, 50);
    let start = |local: Option<(Identity, Lsn)>, slot: Option<SlotPosition>, wal: &LandingWal| {
        agree(&identity(), wal, Some(&recorded), local.as_ref(), slot.as_ref())
    };
    let lost = |lsn| SlotPosition { wal_status: Some("lost".into()), ..slot(lsn) };
    for slot in [None, Some(lost(5)), Some(slot(50))] {
        assert_eq!(start(Some(local(50)), slot, &wal()).unwrap(), Start::Reverse);
    }
    let restored =
        [(Some(local(51)), slot(5)), (None, slot(51)), (Some(local(50)), slot(51)), (None, lost(51))];
    for (local, slot) in restored {
        let restored = refusal(start(local, Some(slot), &wal()));
        assert!(restored.contains("Traffic was restored") && !restored.contains("resync"), "{restored}");
    }
    // The slot that is being made is ahead until its position is recorded, and the local store never is.
    let making = Recorded { makes_slot: true, ..recorded.clone() };
    let made = agree(&identity(), &wal(), Some(&making), Some(&local(50)), Some(&slot(60)));
    assert_eq!(made.unwrap(), Start::Reverse);
    refusal(agree(&identity(), &wal(), Some(&making), Some(&local(51)), Some(&slot(60))));
    let behind = LandingWal { flushed: Lsn(49), ..wal() };
    let gone_back = refusal(start(Some(local(50)), Some(slot(5)), &behind));
    assert!(gone_back.contains("Landing was restored") && !gone_back.contains("resync"), "{gone_back}");
    let another = Recorded { identity: Identity { slot: "x".into(), ..identity() }, ..recorded.clone() };
    refusal(agree(&identity(), &wal(), Some(&another), None, None));
}
