use super::super::message::Letterhead;
use super::super::schedule::{Episode, Notice};
use super::*;
use crate::language::Message;
use crate::model::difference_counts::DifferenceCounts;
use crate::report::Attention;
use crate::telemetry::{LastError, ReverseReport, SlotReport, scenes_for_tests};

fn limits() -> AlertLimits {
    AlertLimits {
        max_lag_bytes: 1 << 20,
        max_lag_seconds: 60.0,
        min_survival: std::time::Duration::from_secs(3600),
        certificate_days: 14,
    }
}

fn now() -> Timestamp {
    "2026-11-29T03:12:00Z".parse().unwrap()
}

fn streaming() -> Live {
    Live { lag_bytes: Some(0), lag_seconds: Some(0.0), ..scenes_for_tests::live(State::Streaming) }
}

fn survival(state: SurvivalState, seconds_left: Option<f64>) -> Option<Survival> {
    Some(Survival {
        state,
        side: Side::Landing,
        limit_bytes: Some(9),
        safe_bytes: Some(4),
        growth_bytes_per_second: Some(1.0),
        seconds_left,
        seconds_left_if_stopped: None,
    })
}

/// The causes that are present, and those that are not known.
fn seen(live: &Live) -> (Vec<Cause>, Vec<Cause>) {
    let found = examine(live, &limits(), now());
    let all = |wanted: fn(&Observed) -> bool| {
        found.iter().filter(|(_, seen)| wanted(seen)).map(|(cause, _)| *cause).collect()
    };
    (all(|seen| matches!(seen, Observed::Present(_))), all(|seen| *seen == Observed::Unknown))
}

fn well(live: &Live) -> bool {
    is_well(live, &examine(live, &limits(), now()))
}

#[test]
fn a_stream_without_lag_is_well_and_gives_no_cause() {
    let live = streaming();
    let unknown = vec![Cause::LandingCertificate, Cause::TrafficCertificate, Cause::Difference];
    assert_eq!(seen(&live), (vec![], unknown));
    assert!(well(&live));
}

#[test]
fn each_state_of_the_live_document_gives_its_cause_and_most_end_the_ping() {
    let slot = |status: &str| {
        let slot = SlotReport { wal_status: Some(status.into()), ..streaming().slot.unwrap() };
        Live { slot: Some(slot), ..streaming() }
    };
    let reverse = |quarantined| ReverseReport {
        wal_status: Some("reserved".into()),
        quarantined: Some(quarantined),
        ..ReverseReport::default()
    };
    let switched =
        |quarantined| Live { state: State::Switched, reverse: Some(reverse(quarantined)), ..slot("lost") };
    let filling = |left| Live { survival: survival(SurvivalState::Filling, Some(left)), ..streaming() };
    let waiting = vec![Attention::new(Message::verbatim("the hook waits"), Message::verbatim("run it"))];
    let in_days = |days: i64| {
        let mut live = streaming();
        live.certificate_ends.landing = Some(now() + SignedDuration::from_hours(24 * days));
        live
    };
    for (live, cause, is_well) in [
        (Live { lag_seconds: Some(61.0), ..streaming() }, Some(Cause::Lag), false),
        (Live { lag_bytes: Some(2 << 20), ..streaming() }, Some(Cause::Lag), false),
        (slot("unreserved"), Some(Cause::SlotInDanger), false),
        (slot("lost"), Some(Cause::SlotInDanger), false),
        (slot("extended"), None, true),
        (filling(3599.0), Some(Cause::SlotInDanger), false),
        (filling(3601.0), None, true),
        (switched(0), None, true),
        (switched(2), Some(Cause::ReverseQuarantine), true),
        (Live { quarantined: Some(1), ..streaming() }, Some(Cause::Quarantine), true),
        (Live { attention: Some(waiting), ..streaming() }, Some(Cause::NeedsOperator), true),
        (in_days(13), Some(Cause::LandingCertificate), true),
        (in_days(-1), Some(Cause::LandingCertificate), true),
        (in_days(15), None, true),
        (Live { state: State::Snapshot, ..streaming() }, None, true),
    ] {
        assert_eq!(seen(&live).0, cause.into_iter().collect::<Vec<_>>(), "{live:?}");
        assert_eq!(well(&live), is_well, "{live:?}");
    }
}

#[test]
fn what_is_not_known_is_neither_a_cause_nor_an_end() {
    let starting = |at| Live { started_at: Some(at), ..Live::starting() };
    assert_eq!(seen(&starting(now())).0, []);
    let (present, unknown) = seen(&starting(now() - SignedDuration::from_secs(61)));
    assert_eq!(present, [Cause::DaemonEnded, Cause::ReplicationStopped]);
    for cause in [Cause::Lag, Cause::SlotInDanger, Cause::Quarantine, Cause::NeedsOperator] {
        assert!(unknown.contains(&cause), "{cause:?}");
    }
    let silent = Live { lag_bytes: None, lag_seconds: None, ..streaming() };
    assert!(seen(&silent).1.contains(&Cause::Lag) && !well(&silent));
    // The stream is cut again and again, and flows for a moment.
    let error =
        LastError { message: "cut".into(), remedy: None, remedy_message: None, at: now(), retrying: true };
    let cut = Live { last_error: Some(error), ..streaming() };
    assert!(seen(&cut).1.contains(&Cause::ReplicationStopped) && !well(&cut));
}

#[test]
fn a_standby_repeats_nothing_and_does_not_ping() {
    let holder = crate::telemetry::LeaseHolder {
        pid: Some(7),
        role: None,
        application_name: None,
        client_address: None,
        since: None,
        is_leadbridge: true,
    };
    let standby =
        Live { state: State::Standby, quarantined: Some(3), lease_holder: Some(holder), ..streaming() };
    assert_eq!(seen(&standby).0, []);
    assert!(!well(&standby), "the daemon that replicates pings");
}

#[test]
fn a_message_says_what_is_wrong_since_when_and_what_to_do() {
    let letterhead = Letterhead { installation: "School 1".into(), offset: jiff::tz::Offset::constant(5) };
    let error = LastError {
        message: "no answer from the Traffic DB".into(),
        remedy: Some("start the server".into()),
        remedy_message: None,
        at: now(),
        retrying: true,
    };
    let episode = Episode {
        cause: Cause::ReplicationStopped,
        finding: words::stopped(Some(&error)),
        since: now(),
        lasted: std::time::Duration::from_secs(12 * 60 + 5),
        times: 1,
    };
    let tell = |notice: &Notice| letterhead.tell(notice, &streaming(), now()).text;
    assert_eq!(
        tell(&Notice::Begun(episode.clone())),
        "[leadbridge School 1] replication has stopped\n\
         no answer from the Traffic DB.\n\
         Since 29 Nov 08:12 +05.\n\
         What to do: start the server. leadbridge tries again by itself meanwhile."
    );
    assert_eq!(
        tell(&Notice::Over(Episode { times: 3, ..episode.clone() })),
        "[leadbridge School 1] over: replication works again\n\
         Alert \"replication has stopped\" of 29 Nov 08:12 +05 is over after 12 min. Seen 3 times meanwhile."
    );
    assert_eq!(
        tell(&Notice::Daily { standing: vec![episode] }),
        "[leadbridge School 1] daily: NOT well, 1 alert stands\n\
         - replication has stopped. Since 29 Nov 08:12 +05, for 12 min."
    );
    assert_eq!(
        tell(&Notice::Daily { standing: vec![] }),
        "[leadbridge School 1] daily: all is well\n\
         State streaming, lag 0 s (0 B), quarantine empty, 0 rows applied since the daemon started."
    );
}

#[test]
fn rows_that_differ_are_a_cause_and_rows_in_quarantine_or_from_before_the_switch_are_none() {
    let rows = |quarantined| crate::telemetry::DifferingRows {
        table: "landing_leads".into(),
        counts: DifferenceCounts { different: 1, quarantined, ..DifferenceCounts::default() },
        examples: vec![uuid::Uuid::nil()],
    };
    let report = |quarantined| crate::telemetry::VerificationReport {
        differing: Some(vec![rows(quarantined)]),
        ..crate::telemetry::VerificationReport::new(crate::telemetry::VerificationActivity::Waiting, false)
    };
    let live = |quarantined| Live { verification: Some(report(quarantined)), ..streaming() };
    assert_eq!(seen(&live(0)).0, [Cause::Difference]);
    assert_eq!(seen(&live(1)).0, []);
    let switched = Live { state: State::Switched, ..live(0) };
    assert!(!seen(&switched).0.contains(&Cause::Difference));
    let finding = words::difference(1, &live(0));
    assert!(finding.detail.contains("1 row is") && finding.detail.contains("landing_leads"), "{finding:?}");
    assert!(finding.remedy.contains("[verify] repair"), "{finding:?}");
}
