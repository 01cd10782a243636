//! `leadbridge alert test`, and what `doctor` says about the channels.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::Receivers;
use crate::testkit::{Answer, Bridge, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_goes_through_each_channel_and_names_the_one_that_fails() {
    let world = World::new().await;
    let receivers = Receivers::start().await;
    let bridge = receivers.told_by(Bridge::new(&world), "1h");
    let said = bridge.run(&["alert", "test"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!(said.out.matches("a test message was delivered").count(), 3, "{}", said.out);
    assert_eq!(receivers.mail.mails()[0].subject, "[leadbridge School 1] test");
    assert!(receivers.telegram.taken()[0]["text"].as_str().unwrap().contains("Nothing is wrong"));
    assert!(receivers.ping.requests().is_empty(), "a ping says that replication is well");
    receivers.telegram.answers(Answer::Status(401, "{}"));
    let said = bridge.run(&["alert", "test", "--json"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["channels"][0]["channel"], "telegram");
    assert!(found["channels"][0]["failure"].as_str().unwrap().contains("token (401)"), "{found}");
    assert_eq!(found["channels"][1]["failure"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_there_is_nothing_to_test() {
    let world = World::new().await;
    let said = Bridge::new(&world).run(&["alert", "test"]).await;
    assert_eq!(said.code, 64, "{}", said.out);
    assert!(
        said.err.contains("no channel is configured") && said.err.contains("docs/alerting.md"),
        "{}",
        said.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_files_of_channels_that_cannot_be_read_or_that_others_may_read() {
    let world = World::new().await;
    let receivers = Receivers::start().await;
    let bridge = receivers.told_by(Bridge::new(&world), "1h");
    let finding = async || {
        let said = bridge.run(&["doctor", "--json"]).await;
        let found: Value = serde_json::from_str(&said.out).unwrap();
        found["findings"].as_array().unwrap().iter().find(|one| one["check"] == "alerts").unwrap().clone()
    };
    let files = ["token", "chat", "webhook", "ping", "smtp"].map(|name| bridge.dir().join(name));
    for file in &files {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(finding().await["level"], "ok");
    std::fs::set_permissions(&files[0], std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = finding().await;
    assert!(
        open["level"] == "warning" && open["message"].as_str().unwrap().contains("telegram_token_file"),
        "{open}"
    );
    std::fs::remove_file(&files[2]).unwrap();
    let gone = finding().await;
    assert!(
        gone["level"] == "error" && gone["message"].as_str().unwrap().contains("webhook_url_file"),
        "{gone}"
    );
}
