//! The ways to an engineer. Each knows one protocol, and tells failures by kind: a failure's text holds no token, no
//! chat, no address and no path of a URL.

mod http;
mod secret;
mod smtp;
mod telegram;
mod webhook;

use std::error::Error as StdError;
use std::time::Duration;

use super::message::Message;
use crate::config::Alert;
pub(super) use http::{Web, parse, send};
pub(super) use secret::read as read_secret;
use smtp::Smtp;
use telegram::Bot;
use webhook::Webhook;

/// Time for one try, from the connection to the answer.
pub(super) const TRY_LIMIT: Duration = Duration::from_secs(15);

/// Why a try has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, for the log and for `status`.
    pub what: String,
    /// Whether the failure lasts until somebody changes something.
    pub lasts: bool,
    /// How long the receiver asks to wait.
    pub wait: Option<Duration>,
}

impl Failure {
    /// A failure that may pass.
    pub fn passing(what: impl Into<String>) -> Self {
        Failure { what: what.into(), lasts: false, wait: None }
    }

    /// A failure that lasts until somebody changes something.
    pub fn lasting(what: impl Into<String>) -> Self {
        Failure { lasts: true, ..Failure::passing(what) }
    }
}

/// The errors that lie under a library's error. What an I/O error wraps is not its source but lies under it all the same.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|wrapped| wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<rustls::Error>())
}

/// A way to deliver a message. Files with secrets are read at each try, so that a new secret needs no restart.
pub enum Channel {
    Telegram(Bot),
    Webhook(Webhook),
    Smtp(Smtp),
}

impl Channel {
    /// The configured channels.
    pub fn configured(alert: &Alert) -> Vec<Channel> {
        let web = || Web::new(alert.proxy_url_file.clone());
        let telegram = alert.telegram.clone().map(|bot| Channel::Telegram(Bot::new(bot, web())));
        let webhook = alert.webhook_url_file.clone().map(|file| Channel::Webhook(Webhook::new(file, web())));
        let mail = alert.mail.clone().map(|mail| Channel::Smtp(Smtp::new(mail)));
        [telegram, webhook, mail].into_iter().flatten().collect()
    }

    /// The name in the log and in `status`.
    pub fn name(&self) -> &'static str {
        match self {
            Channel::Telegram(_) => "telegram",
            Channel::Webhook(_) => "webhook",
            Channel::Smtp(_) => "smtp",
        }
    }

    /// Tries once, for [`TRY_LIMIT`] at most.
    ///
    /// # Errors
    /// The failure's kind.
    pub async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        let delivering = async {
            match self {
                Channel::Telegram(bot) => bot.deliver(message).await,
                Channel::Webhook(webhook) => webhook.deliver(message).await,
                Channel::Smtp(smtp) => smtp.deliver(message).await,
            }
        };
        match tokio::time::timeout(TRY_LIMIT, Box::pin(delivering)).await {
            Ok(delivered) => delivered,
            Err(_) => Err(Failure::passing(format!("no answer within {} s", TRY_LIMIT.as_secs()))),
        }
    }
}
