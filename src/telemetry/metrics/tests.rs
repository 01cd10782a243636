use super::*;
use crate::telemetry::{State, TableProgress};

fn metrics_of(live: Live) -> (watch::Sender<Live>, Metrics) {
    let live = watch::Sender::new(live);
    let metrics = Metrics::new(live.subscribe());
    (live, metrics)
}

/// The value of the sample with this name and these labels.
fn value(metrics: &Metrics, sample: &str) -> Option<f64> {
    let text = metrics.text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ').map(str::to_owned));
    line.map(|number| number.parse().unwrap())
}

#[test]
fn a_figure_that_is_not_known_has_no_sample_and_one_that_changes_is_read_again() {
    let (live, metrics) = metrics_of(Live::starting());
    assert_eq!(value(&metrics, "leadbridge_lag_bytes{direction=\"forward\"}"), None);
    live.send_modify(|live| {
        live.state = State::Streaming;
        live.lag_bytes = Some(7);
        live.rows_applied = 3;
    });
    assert_eq!(value(&metrics, "leadbridge_lag_bytes{direction=\"forward\"}"), Some(7.0));
    assert_eq!(value(&metrics, "leadbridge_rows_applied_total"), Some(3.0));
    assert_eq!(value(&metrics, "leadbridge_state{state=\"streaming\"}"), Some(1.0));
    assert_eq!(value(&metrics, "leadbridge_state{state=\"starting\"}"), Some(0.0));
}

#[test]
fn what_is_recorded_appears_under_its_direction() {
    let (_live, metrics) = metrics_of(Live::starting());
    metrics.applied(Side::Landing, 3, Duration::from_millis(20));
    metrics.applied(Side::Traffic, 4, Duration::from_secs(2));
    metrics.committed(Side::Landing, Duration::from_millis(1));
    metrics.stored(Duration::from_millis(4));
    metrics.queued(5, 600);
    metrics.retried(Kind::Transient);
    metrics.stream_begun();
    metrics.stream_begun();
    for (sample, expected) in [
        ("leadbridge_batch_rows_sum{direction=\"forward\"}", 3.0),
        ("leadbridge_batch_rows_sum{direction=\"reverse\"}", 4.0),
        ("leadbridge_apply_seconds_bucket{le=\"0.025\",direction=\"forward\"}", 1.0),
        ("leadbridge_apply_seconds_count{direction=\"reverse\"}", 1.0),
        ("leadbridge_commit_seconds_count{direction=\"forward\"}", 1.0),
        ("leadbridge_commit_seconds_count{direction=\"reverse\"}", 0.0),
        ("leadbridge_local_store_flush_seconds_count", 1.0),
        ("leadbridge_queue_rows", 5.0),
        ("leadbridge_queue_bytes", 600.0),
        ("leadbridge_retries_total{kind=\"transient\"}", 1.0),
        ("leadbridge_retries_total{kind=\"unreachable\"}", 0.0),
        ("leadbridge_streams_total", 2.0),
        ("leadbridge_reconnects_total", 1.0),
    ] {
        assert_eq!(value(&metrics, sample), Some(expected), "{sample} in {}", metrics.text().unwrap());
    }
}

#[test]
fn a_label_with_a_quote_stays_one_label() {
    let table =
        TableProgress { table: "a\"b\\\n".into(), rows_done: 1, rows_expected: None, finished: false };
    let (_live, metrics) = metrics_of(Live { snapshot: vec![table], ..Live::starting() });
    assert_eq!(value(&metrics, "leadbridge_snapshot_rows{table=\"a\\\"b\\\\\\n\"}"), Some(1.0));
}

#[test]
#[ignore = "measures"]
fn measure() {
    let (live, metrics) = metrics_of(Live::starting());
    let n = 200_000;
    let t = std::time::Instant::now();
    for i in 0..n {
        metrics.applied(Side::Landing, i % 3000, Duration::from_micros(i as u64));
        metrics.committed(Side::Landing, Duration::from_micros(i as u64));
    }
    println!("a batch: {:?}", t.elapsed() / n as u32);
    let t = std::time::Instant::now();
    for i in 0..n {
        metrics.queued(i, i);
    }
    println!("queued: {:?}", t.elapsed() / n as u32);
    let t = std::time::Instant::now();
    for _ in 0..200 {
        metrics.text().unwrap();
    }
    println!("text: {:?}", t.elapsed() / 200);
    let telemetry = crate::telemetry::Telemetry::new();
    telemetry.update(|to| {
        *to = Live {
            lag_bytes: Some(1),
            lag_seconds: Some(1.0),
            landing_lsn: Some(crate::model::lsn::Lsn(5)),
            applied_lsn: Some(crate::model::lsn::Lsn(4)),
            ..live.borrow().clone()
        }
    });
    let t = std::time::Instant::now();
    for _ in 0..2000 {
        telemetry.sample(true);
    }
    println!("sample: {:?}", t.elapsed() / 2000);
}
