//! Each channel delivers once, whatever the others and the network do, and replication goes on.

use leadbridge::throwaway::Shutdown;

use super::{CHAT, Receivers, TOKEN, TOO_LONG, events, told, told_by_webhook};
use crate::testkit::{Answer, Bridge, WebServer, World, caught_up_and_equal, landing, until_true};

#[tokio::test(flavor = "multi_thread")]
async fn every_channel_is_told_once_then_reminded_and_told_when_it_is_over() {
    let mut world = World::new().await;
    let receivers = Receivers::start().await;
    let bridge = receivers.told_by(Bridge::new(&world), "3s");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    world.traffic.stop(Shutdown::Fast).await.unwrap();
    let text = told(&receivers.webhook, "begun", "replication_stopped").await;
    assert!(text.starts_with("[leadbridge School 1] replication has stopped\n"), "{text}");
    assert!(text.contains("\nSince ") && text.contains("\nWhat to do: "), "{text}");
    told(&receivers.webhook, "reminder", "replication_stopped").await;
    world.traffic.resume().await.unwrap();
    let over = told(&receivers.webhook, "over", "replication_stopped").await;
    assert!(over.starts_with("[leadbridge School 1] over: replication works again\n"), "{over}");
    let events = events(&receivers.webhook, "replication_stopped");
    assert_eq!((events.first().unwrap().as_str(), events.last().unwrap().as_str()), ("begun", "over"));
    assert!(events[1..events.len() - 1].iter().all(|event| event == "reminder"), "{events:?}");
    // The other channels got the same messages.
    until_true("Telegram and mail have all", async || {
        receivers.telegram.taken().len() == receivers.webhook.taken().len()
            && receivers.mail.mails().len() == receivers.webhook.taken().len()
    })
    .await;
    for request in receivers.telegram.requests() {
        assert_eq!((request.method.as_str(), request.target), ("POST", format!("/bot{TOKEN}/sendMessage")));
        assert_eq!(request.body["chat_id"], CHAT);
    }
    assert_eq!(receivers.telegram.taken()[0]["text"], text);
    let mail = receivers.mail.mails().remove(0);
    assert_eq!(mail.subject, "[leadbridge School 1] replication has stopped");
    assert!(mail.from.contains("<from@example.com>") && mail.to[0].contains("<oncall-person@example.com>"));
    assert!(mail.text.contains("What to do: "), "{}", mail.text);
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_and_a_dead_channel_delay_neither_the_others_nor_replication() {
    let world = World::new().await;
    let receivers = Receivers::start().await;
    let bridge = receivers.told_by(Bridge::new(&world), "1h");
    receivers.telegram.answers(Answer::Never);
    // Nobody listens there any more.
    let gone = WebServer::start().await.url("/hook");
    std::fs::write(bridge.dir().join("webhook"), gone).unwrap();
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, TOO_LONG).await;
    until_true("the mail arrives", async || {
        receivers.mail.mails().iter().any(|mail| mail.subject.contains("rows are in quarantine"))
    })
    .await;
    until_true("Telegram is asked", async || !receivers.telegram.requests().is_empty()).await;
    assert_eq!(receivers.telegram.taken().len(), 0);
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('n', '2')").await;
    daemon.caught_up(&world).await;
    let channel = |status: &serde_json::Value, name: &str| {
        status["alerts"].as_array().unwrap().iter().find(|one| one["channel"] == name).unwrap().clone()
    };
    let status = daemon.until("the status shows the channels", |status| {
        channel(status, "webhook")["last_failure"].is_string() && channel(status, "smtp")["delivered"] == 1
    });
    let status = status.await;
    assert_eq!(
        (&channel(&status, "webhook")["waiting"], &channel(&status, "webhook")["delivered"]),
        (&1.into(), &0.into())
    );
    assert!(channel(&status, "webhook")["last_failure"].as_str().unwrap().contains("connect"), "{status}");
    assert_eq!(channel(&status, "telegram")["waiting"], 1);
    // Both come back, and get what they have missed.
    receivers.telegram.answers(Answer::Ok);
    std::fs::write(bridge.dir().join("webhook"), receivers.webhook.url("/hook")).unwrap();
    until_true("Telegram gets the message", async || receivers.telegram.taken().len() == 1).await;
    told(&receivers.webhook, "begun", "quarantine").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_a_moment_are_tried_again_and_the_message_arrives_once() {
    let world = World::new().await;
    let receivers = Receivers::start().await;
    let bridge = receivers.told_by(Bridge::new(&world), "1h");
    receivers.telegram.answers(Answer::Status(429, r#"{"ok":false,"parameters":{"retry_after":1}}"#));
    receivers.webhook.answers(Answer::Status(503, "later"));
    receivers.mail.replies("451 try later");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, TOO_LONG).await;
    until_true("each has refused", async || {
        !receivers.telegram.requests().is_empty() && receivers.webhook.requests().len() > 1
    })
    .await;
    receivers.telegram.answers(Answer::Ok);
    receivers.webhook.answers(Answer::Ok);
    daemon.logs("takes no mail now (451)").await;
    receivers.mail.replies("250 fine");
    until_true("each has the message", async || {
        receivers.telegram.taken().len() == 1
            && receivers.webhook.taken().len() == 1
            && receivers.mail.mails().len() == 1
    })
    .await;
    landing(&world, "DELETE FROM landing_leads").await;
    told(&receivers.webhook, "over", "quarantine").await;
    assert_eq!(events(&receivers.webhook, "quarantine"), ["begun", "over"]);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_even_a_trace_shows_a_secret_of_a_channel() {
    let world = World::new().await;
    let receivers = Receivers::start().await;
    let bridge = receivers.told_by(Bridge::new(&world), "1h");
    receivers.telegram.answers(Answer::Status(500, "bot123456:geheim-token"));
    receivers.mail.replies("550 no oncall-person@example.com here");
    let mut daemon = bridge.daemon_with(&[("LEADBRIDGE_LOG", "trace")]).await;
    daemon.streaming().await;
    landing(&world, TOO_LONG).await;
    told(&receivers.webhook, "begun", "quarantine").await;
    daemon.logs("Telegram answers 500").await;
    daemon.logs("refuses the mail or the login (550)").await;
    until_true("a ping arrives", async || !receivers.ping.requests().is_empty()).await;
    let status = daemon.status().await.to_string();
    let shown = daemon.log() + &status;
    for secret in ["geheim", CHAT, "oncall-person", "123456:"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_carries_the_messages_and_its_password_is_not_shown() {
    let world = World::new().await;
    // Stands for the proxy: a plain request through a proxy names the whole URL.
    let proxy = WebServer::start().await;
    let webhook = WebServer::start().await;
    let bridge = Bridge::new(&world);
    let file = bridge.dir().join("proxy");
    std::fs::write(&file, proxy.url("").replace("://", "://user:geheim-proxy@")).unwrap();
    let bridge = told_by_webhook(bridge, &webhook, &format!("proxy_url_file = '{}'", file.display()));
    let said = bridge.run(&["alert", "test"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!(proxy.requests()[0].target, webhook.url("/hook"));
    assert!(webhook.requests().is_empty());
    std::fs::write(&file, "geheim-proxy").unwrap();
    let said = bridge.run(&["alert", "test"]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("proxy_url_file") && !said.out.contains("geheim"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ping_comes_only_while_replication_is_well() {
    let mut world = World::new().await;
    let receivers = Receivers::start().await;
    let bridge = receivers.told_by(Bridge::new(&world), "2s");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    until_true("pings arrive", async || receivers.ping.requests().len() > 2).await;
    world.traffic.stop(Shutdown::Fast).await.unwrap();
    told(&receivers.webhook, "begun", "replication_stopped").await;
    let before = receivers.ping.requests().len();
    // Comes many intervals of the ping later.
    told(&receivers.webhook, "reminder", "replication_stopped").await;
    assert_eq!(receivers.ping.requests().len(), before, "a ping came while replication stood still");
    world.traffic.resume().await.unwrap();
    until_true("pings arrive again", async || receivers.ping.requests().len() > before).await;
    daemon.terminate().await;
}
