//! Trying the channels: a test message through each, and the files that `doctor` looks at.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::channel::{Channel, read_secret};
use super::message::Letterhead;
use crate::config::Alert;

/// What became of the test message in one channel.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    pub channel: &'static str,
    /// The kind of the failure; `None` when the message arrived.
    pub failure: Option<String>,
}

/// Sends a test message through each configured channel, once, at the same time. The ping is left out, because a ping
/// says that replication is well.
pub async fn test(alert: &Alert) -> Vec<Delivery> {
    let letterhead = Letterhead { installation: alert.installation.clone(), offset: alert.times.offset };
    let message = letterhead.test(Timestamp::now());
    let channels = Channel::configured(alert);
    let tries = channels.iter().map(async |channel| {
        let failure = channel.deliver(&message).await.err().map(|failure| failure.what);
        Delivery { channel: channel.name(), failure }
    });
    futures_util::future::join_all(tries).await
}

/// What is wrong with the files, a text for each.
pub async fn unreadable(files: &[(&'static str, PathBuf)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, path) in files {
        wrong.extend(read_secret(path, key).await.err().map(|failure| failure.what));
    }
    wrong
}

/// The configured files, each with its key.
pub fn files(alert: &Alert) -> Vec<(&'static str, PathBuf)> {
    let telegram = alert.telegram.as_ref();
    let named: [(&'static str, Option<&Path>); 6] = [
        ("telegram_token_file", telegram.map(|bot| bot.token_file.as_path())),
        ("telegram_chat_file", telegram.map(|bot| bot.chat_file.as_path())),
        ("webhook_url_file", alert.webhook_url_file.as_deref()),
        ("smtp_url_file", alert.mail.as_ref().map(|mail| mail.url_file.as_path())),
        ("proxy_url_file", alert.proxy_url_file.as_deref()),
        ("ping_url_file", alert.ping_url_file.as_deref()),
    ];
    named.into_iter().filter_map(|(key, path)| Some((key, path?.to_owned()))).collect()
}
