//! Scheduled notifications end to end: copied, streamed, verified, switched, carried back, rolled back; and no notification
//! is sent by both databases' schedulers.

use std::collections::BTreeMap;
use std::sync::Arc;

use leadbridge::migrate::{MigrateOptions, MigratedSide, privileges};
use serde_json::Value;
use tokio::sync::Mutex;

use super::http::AUTHENTICATOR;
use super::schedulers::{Scheduler, Sent};
use super::{on_landing_url, on_traffic_url};
use crate::cutover::CutoverSetup;
use crate::replication::reverse::exact::assert_back;
use crate::replication::reverse::switch::carried;
use crate::testkit::{
    Bridge, World, caught_up_and_equal, holds, landing, least_privileged, one, traffic, until_holds,
    until_true,
};

/// Notifications of a lead with the phone `number`: due now, due in ten minutes, tomorrow, and one that has been sent.
fn notifications(number: u32, due: u32) -> String {
    format!(
        "INSERT INTO landing_leads (name, phone, email) VALUES ('n', '{number}', 'n@example.kz');
         INSERT INTO scheduled_notifications (lead_id, notification_type, scheduled_for, status, recipient_email)
         SELECT l.id, 'email', now() + d.after, d.status, 'n@example.kz' FROM landing_leads AS l,
             (SELECT interval '-1 minute' AS after, 'pending' AS status FROM generate_series(1, {due})
              UNION ALL VALUES (interval '10 minutes', 'pending'), ('1 day', 'pending'), ('-1 day', 'sent')) AS d
         WHERE l.phone = '{number}'"
    )
}

fn of_check<'f>(dry_run: &'f Value, check: &str) -> Vec<&'f Value> {
    dry_run["findings"].as_array().unwrap().iter().filter(|one| one["check"] == check).collect()
}

async fn dry_run(setup: &CutoverSetup, command: &str) -> Value {
    let said = setup.bridge.run(&[command, "--dry-run", "--json", "--max-pause", "20s"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    serde_json::from_str(&said.out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dry_runs_name_pending_notifications_and_whose_scheduler_stops_and_starts() {
    let world = World::unmigrated().await;
    let configured = "scheduled_notifications = true";
    let owner = Bridge::new(&world).configured(configured);
    assert_eq!(owner.run(&["migrate"]).await.code, 0);
    let bridge = least_privileged(&world).await.configured(configured);
    let with = MigrateOptions { notifications: true, ..MigrateOptions::default() };
    for (side, client) in
        [(MigratedSide::Landing, world.landing().await), (MigratedSide::Traffic, world.traffic().await)]
    {
        client.batch_execute(&privileges(side, &world.names, "bridge", &with).unwrap()).await.unwrap();
    }
    let mut setup = CutoverSetup::between(world, bridge).await;
    let found = dry_run(&setup, "cutover").await;
    let [nothing] = of_check(&found, "notifications")[..] else { panic!("{found}") };
    assert_eq!(
        (&nothing["level"], &nothing["message"]),
        (&"ok".into(), &"no notification is pending".into())
    );

    landing(&setup.world, &notifications(1, 3)).await;
    // A notification that is due never.
    landing(&setup.world, "UPDATE scheduled_notifications SET scheduled_for = 'infinity' WHERE scheduled_for > now() + interval '1 hour'").await;
    setup.daemon.caught_up(&setup.world).await;
    let next = "SELECT to_char(min(scheduled_for) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"')
                FROM scheduled_notifications WHERE scheduled_for > now()";
    let next: String = one(&setup.world.landing().await, next).await;
    let told = format!(
        "notifications pending on both databases: 5 (overdue: 3; due within 15 minutes: 1, the next at {next}); \
         either database's scheduler would send them"
    );
    let found = dry_run(&setup, "cutover").await;
    assert_eq!(found["ready"], true, "{found}");
    let [pending] = of_check(&found, "notifications")[..] else { panic!("{found}") };
    assert_eq!((&pending["level"], &pending["message"]), (&"warning".into(), &told.clone().into()));
    assert_eq!(pending["side"], "landing");
    let remedy = pending["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("stop Landing's scheduler before the cutover"), "{remedy}");

    setup.switches(&[]).await;
    setup.flows_back().await;
    // A lead that Traffic's own code made stays on Traffic, with its notification.
    let own = "INSERT INTO traffic_leads (name) VALUES ('form');
        INSERT INTO traffic_scheduled_notifications (lead_id, notification_type, scheduled_for)
        SELECT id, 'sms', now() FROM traffic_leads WHERE name = 'form'";
    traffic(&setup.world, own).await;
    carried(&setup.world, &mut setup.daemon).await;
    let found = dry_run(&setup, "rollback").await;
    assert_eq!(found["ready"], true, "{found}");
    let [pending] = of_check(&found, "notifications")[..] else { panic!("{found}") };
    assert_eq!((&pending["level"], &pending["message"]), (&"warning".into(), &told.into()));
    assert_eq!(pending["side"], "traffic");
    let remedy = pending["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("stop Traffic's scheduler before the rollback"), "{remedy}");
    assert!(!found.to_string().contains("example.kz"), "a recipient is told");
}

/// One sender for each of the notifications that were due.
async fn assert_sent_once(sent: &Sent, world: &World) {
    let sent = sent.lock().await;
    let twice: Vec<_> = sent.iter().filter(|(_, senders)| senders.len() != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let due = "SELECT count(*) FROM scheduled_notifications WHERE sent_at IS NOT NULL";
    assert_eq!(one::<i64>(&world.landing().await, due).await, sent.len() as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_moved_and_brought_back_and_each_is_sent_once_by_schedulers_that_take_turns() {
    let world = World::unmigrated().await;
    for sql in [AUTHENTICATOR, &notifications(1, 40)] {
        landing(&world, sql).await;
    }
    traffic(&world, AUTHENTICATOR).await;
    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    assert_eq!(bridge.run(&["migrate"]).await.code, 0);
    let mut setup = CutoverSetup::between(world, bridge).await;
    let sent: Sent = Arc::new(Mutex::new(BTreeMap::new()));
    let (landing_url, traffic_url) = (on_landing_url(&setup.world), on_traffic_url(&setup.world));

    // Streamed while Landing's scheduler sends.
    let on_landing = Scheduler::start("Landing", &landing_url, "scheduled_notifications", &sent).await;
    landing(&setup.world, &notifications(2, 40)).await;
    on_landing.sends(5).await;
    on_landing.stop().await;
    caught_up_and_equal(&setup.world, &mut setup.daemon).await;
    let verified = setup.bridge.run(&["verify", "--table", "scheduled_notifications"]).await;
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);

    setup.switches(&[]).await;
    setup.flows_back().await;
    // A scheduler that was forgotten on Landing may read, and may not claim.
    let forgotten = Scheduler::start("Landing", &landing_url, "scheduled_notifications", &sent).await;
    until_true("Landing's scheduler is refused", async || forgotten.refused() > 0).await;
    let on_traffic =
        Scheduler::start("Traffic", &traffic_url, "traffic_scheduled_notifications", &sent).await;
    on_traffic.sends(5).await;
    forgotten.stop().await;
    on_traffic.stop().await;
    carried(&setup.world, &mut setup.daemon).await;
    assert_back(&setup.world, &[]).await;

    setup.rolls_back(&[]).await;
    let on_landing = Scheduler::start("Landing", &landing_url, "scheduled_notifications", &sent).await;
    on_landing.sends(5).await;
    on_landing.hurry();
    let nothing_due =
        "count(*) = 0 FROM scheduled_notifications WHERE status = 'pending' AND scheduled_for <= now()";
    until_holds(&setup.world.landing().await, nothing_due).await;
    on_landing.stop().await;
    setup.daemon.until("the stream from Landing resumes", |status| status["state"] == "streaming").await;
    caught_up_and_equal(&setup.world, &mut setup.daemon).await;
    assert_sent_once(&sent, &setup.world).await;
    assert_eq!(sent.lock().await.len(), 80);
    let carried = "bool_and(recipient_email = 'n@example.kz') FROM traffic_scheduled_notifications";
    assert!(holds(&setup.world.traffic().await, carried).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_of_both_databases_that_run_all_the_time_send_each_notification_once() {
    let world = World::unmigrated().await;
    for sql in [AUTHENTICATOR, &notifications(1, 1500)] {
        landing(&world, sql).await;
    }
    traffic(&world, AUTHENTICATOR).await;
    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    let migrated = bridge.run(&["migrate", "--api-access", "--legacy"]).await;
    assert_eq!(migrated.code, 0, "{}{}", migrated.out, migrated.err);
    let mut setup = CutoverSetup::between(world, bridge).await;
    let sent: Sent = Arc::new(Mutex::new(BTreeMap::new()));
    let (landing_url, traffic_url) = (on_landing_url(&setup.world), on_traffic_url(&setup.world));
    let on_landing = Scheduler::start("Landing", &landing_url, "scheduled_notifications", &sent).await;
    let on_traffic = Scheduler::start("Traffic", &traffic_url, "scheduled_notifications", &sent).await;
    on_landing.sends(5).await;
    until_true("Traffic's scheduler is refused", async || on_traffic.refused() > 0).await;

    setup.switches(&[]).await;
    on_traffic.sends(5).await;
    setup.flows_back().await;
    until_true("Landing's scheduler is refused", async || on_landing.refused() > 0).await;

    setup.rolls_back(&[]).await;
    on_landing.sends(5).await;
    on_landing.hurry();
    let nothing_due =
        "count(*) = 0 FROM scheduled_notifications WHERE status = 'pending' AND scheduled_for <= now()";
    until_holds(&setup.world.landing().await, nothing_due).await;
    on_landing.stop().await;
    on_traffic.stop().await;
    setup.daemon.until("the stream from Landing resumes", |status| status["state"] == "streaming").await;
    caught_up_and_equal(&setup.world, &mut setup.daemon).await;
    assert_sent_once(&sent, &setup.world).await;
    assert_eq!(sent.lock().await.len(), 1500);
}
