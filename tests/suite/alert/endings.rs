//! The daemon's own end is told, and a start after it repeats nothing.

use std::time::Duration;

use leadbridge::throwaway::{ReservedPort, Shutdown};

use super::{TOO_LONG, events, told, told_by_webhook, told_by_webhook_after};
use crate::testkit::{Answer, Bridge, Daemon, WebServer, World, landing, released, until_true};

async fn begun(lines: &str) -> (World, WebServer, Bridge, Daemon) {
    let world = World::new().await;
    let webhook = WebServer::start().await;
    let bridge = told_by_webhook(Bridge::new(&world), &webhook, lines);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    (world, webhook, bridge, daemon)
}

/// Ends the daemon with a refusal: the slot is gone.
async fn end_for_good(world: &World, daemon: &mut Daemon) {
    let sql = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots;
               DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_replication_slots) LOOP BEGIN
                   PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots;
               EXCEPTION WHEN object_in_use THEN
                   PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active;
               END; END LOOP; END $$";
    landing(world, sql).await;
    let status = daemon.ended(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(4), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_for_good_says_so_before_it_ends_and_a_crash_loop_says_it_once() {
    let (world, webhook, bridge, mut daemon) = begun("").await;
    end_for_good(&world, &mut daemon).await;
    let text = told(&webhook, "begun", "daemon_ended").await;
    assert!(text.starts_with("[leadbridge] the daemon has ended\n"), "{text}");
    assert!(text.contains("NOT start the daemon again") && text.contains("leadbridge resync"), "{text}");
    for _ in 0..2 {
        let mut again = Daemon::spawn(&bridge, &[], ReservedPort::for_daemon().unwrap());
        assert_eq!(again.ended(Duration::from_secs(30)).await.code(), Some(4), "{}", again.log());
    }
    assert_eq!(events(&webhook, "daemon_ended"), ["begun"]);
    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    told(&webhook, "over", "daemon_ended").await;
    assert_eq!(events(&webhook, "daemon_ended"), ["begun", "over"]);
    // The slot took its time to go, so that the stop may have been told before the end; never after it.
    let mut after = webhook.taken().into_iter().skip_while(|body| body["cause"] != "daemon_ended");
    assert!(!after.any(|body| body["cause"] == "replication_stopped" && body["event"] == "begun"));
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_does_not_keep_the_daemon_from_ending() {
    let (world, webhook, _bridge, mut daemon) = begun("").await;
    webhook.answers(Answer::Never);
    // The limit of the process's end is 10 s; the end by it would have another exit code.
    end_for_good(&world, &mut daemon).await;
    assert!(!webhook.requests().is_empty(), "the last message is tried");
    assert_eq!(webhook.taken().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_channel_delivered_is_sent_by_the_next_process() {
    let (world, webhook, bridge, mut daemon) = begun("").await;
    webhook.answers(Answer::Status(500, ""));
    end_for_good(&world, &mut daemon).await;
    assert!(!webhook.requests().is_empty(), "the first process tries");
    assert_eq!(webhook.taken().len(), 0);
    webhook.answers(Answer::Ok);
    let mut again = Daemon::spawn(&bridge, &[], ReservedPort::for_daemon().unwrap());
    assert_eq!(again.ended(Duration::from_secs(30)).await.code(), Some(4), "{}", again.log());
    assert_eq!(events(&webhook, "daemon_ended"), ["begun"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_repeats_nothing_and_goes_on_with_the_reminders() {
    let (world, webhook, bridge, daemon) = begun("remind_every = '6s'").await;
    landing(&world, TOO_LONG).await;
    told(&webhook, "begun", "quarantine").await;
    daemon.terminate().await;
    for _ in 0..2 {
        released(&world).await;
        let mut daemon = bridge.daemon().await;
        daemon.until("the quarantine is counted", |status| status["quarantined"] == 1).await;
        daemon.terminate().await;
    }
    released(&world).await;
    let daemon = bridge.daemon().await;
    told(&webhook, "reminder", "quarantine").await;
    let events = events(&webhook, "quarantine");
    assert!(events[1..].iter().all(|event| event == "reminder"), "{events:?}");
    assert_eq!(events[0], "begun");
    // A daemon that was told to stop has nothing to say about its end.
    assert!(!webhook.taken().iter().any(|body| body["cause"] == "daemon_ended"));
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed_is_told_by_the_next_one() {
    let (world, webhook, bridge, daemon) = begun("").await;
    until_true("the start is recorded", async || bridge.state_dir().join("alerts.json").exists()).await;
    daemon.kill().await;
    assert!(webhook.taken().is_empty());
    released(&world).await;
    let mut daemon = bridge.daemon().await;
    let text = told(&webhook, "begun", "daemon_ended").await;
    assert!(text.contains("without its last word"), "{text}");
    daemon.streaming().await;
    told(&webhook, "over", "daemon_ended").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_wakes_nobody() {
    let mut world = World::new().await;
    let webhook = WebServer::start().await;
    let bridge = told_by_webhook_after("10s", Bridge::new(&world), &webhook, "");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    world.traffic.restart(Shutdown::Immediate).await.unwrap();
    daemon.logs("retry_in").await;
    daemon.streaming().await;
    // A cause that begins later and lasts shows that everything before was looked at.
    landing(&world, TOO_LONG).await;
    told(&webhook, "begun", "quarantine").await;
    assert_eq!(events(&webhook, "replication_stopped"), [""; 0]);
    daemon.terminate().await;
}
