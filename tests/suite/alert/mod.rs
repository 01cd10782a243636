//! Alerts of a real daemon, received by local servers of each protocol.

mod causes;
mod channels;
mod endings;
mod network;
mod trial;

use serde_json::Value;

use crate::testkit::{Bridge, MailServer, WebServer, until_true};

const TOKEN: &str = "123456:geheim-token";
const CHAT: &str = "-100987654";

/// Receivers of every kind, and an installation that tells all of them.
struct Receivers {
    telegram: WebServer,
    webhook: WebServer,
    ping: WebServer,
    mail: MailServer,
}

impl Receivers {
    async fn start() -> Receivers {
        Receivers {
            telegram: WebServer::start().await,
            webhook: WebServer::start().await,
            ping: WebServer::start().await,
            mail: MailServer::start().await,
        }
    }

    /// The installation, with short times.
    fn told_by(&self, bridge: Bridge, remind_every: &str) -> Bridge {
        let keep = |name: &str, content: &str| {
            let path = bridge.dir().join(name);
            std::fs::write(&path, format!("{content}\n")).unwrap();
            path.display().to_string()
        };
        let lines = format!(
            "[alert]\ninstallation = 'School 1'\nafter = '300ms'\nremind_every = '{remind_every}'\nping_every = '100ms'\n\
             daily_at = 'off'\ntelegram_api = '{}'\ntelegram_token_file = '{}'\ntelegram_chat_file = '{}'\n\
             webhook_url_file = '{}'\nping_url_file = '{}'\nsmtp_url_file = '{}'\n\
             mail_from = 'leadbridge <from@example.com>'\nmail_to = ['oncall-person@example.com']\n",
            self.telegram.url(""),
            keep("token", TOKEN),
            keep("chat", CHAT),
            keep("webhook", &self.webhook.url("/hook/geheim-webhook")),
            keep("ping", &self.ping.url("/geheim-ping")),
            keep("smtp", &self.mail.url()),
        );
        bridge.configured(&lines)
    }
}

/// An installation that tells a webhook alone, soon.
fn told_by_webhook(bridge: Bridge, webhook: &WebServer, lines: &str) -> Bridge {
    told_by_webhook_after("300ms", bridge, webhook, lines)
}

/// The same, for causes that last.
fn told_by_webhook_after(after: &str, bridge: Bridge, webhook: &WebServer, lines: &str) -> Bridge {
    let path = bridge.dir().join("webhook");
    std::fs::write(&path, webhook.url("/hook")).unwrap();
    let path = path.display().to_string();
    bridge.configured(&format!(
        "[alert]\nafter = '{after}'\ndaily_at = 'off'\nwebhook_url_file = '{path}'\n{lines}"
    ))
}

/// The events about `cause` that the webhook has taken, in their order.
fn events(webhook: &WebServer, cause: &str) -> Vec<String> {
    let about = |body: &&Value| body["cause"] == cause;
    webhook.taken().iter().filter(about).map(|body| body["event"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the webhook has taken the event about `cause`, and returns its text.
async fn told(webhook: &WebServer, event: &str, cause: &str) -> String {
    let is_it = |body: &&Value| body["cause"] == cause && body["event"] == event;
    until_true(&format!("{event} {cause}"), async || webhook.taken().iter().any(|body| is_it(&body))).await;
    webhook.taken().iter().find(is_it).unwrap()["text"].as_str().unwrap().to_owned()
}

/// A lead that Traffic cannot take.
const TOO_LONG: &str = "INSERT INTO landing_leads (name, phone) VALUES (repeat('x', 300), '1')";
