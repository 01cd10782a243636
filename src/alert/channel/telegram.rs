//! Telegram's Bot API.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use super::super::message::Message;
use super::http::{self, Web};
use super::{Failure, secret};
use crate::config::Telegram;

/// Longest text that Telegram takes, in UTF-16 units.
const LONGEST: usize = 4096;

/// A bot that writes to one chat.
pub struct Bot {
    settings: Telegram,
    web: Web,
}

/// Telegram's answer to a refused request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    parameters: RefusalParameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefusalParameters {
    /// Seconds.
    retry_after: Option<u64>,
}

impl Bot {
    pub fn new(settings: Telegram, web: Web) -> Self {
        Bot { settings, web }
    }

    pub async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        let token = secret::read(&self.settings.token_file, "telegram_token_file").await?;
        let chat = secret::read(&self.settings.chat_file, "telegram_chat_file").await?;
        let url = format!("{}/bot{}/sendMessage", self.settings.api, token.expose_secret());
        let url = reqwest::Url::parse(&url)
            .map_err(|_| Failure::passing("telegram_token_file: the file holds no bot token"))?;
        let body = json!({
            "chat_id": chat.expose_secret(),
            "text": message.text.chars().take(LONGEST / 2).collect::<String>(),
            "disable_web_page_preview": true,
        });
        let request = self.web.client().await?.post(url);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let (status, answer) = http::send(request).await?;
        let code = status.as_u16();
        match code {
            200..=299 => Ok(()),
            429 => {
                let refusal: Refusal = serde_json::from_str(&answer).unwrap_or_default();
                let wait = refusal.parameters.retry_after.map(Duration::from_secs);
                Err(Failure { wait, ..Failure::passing("Telegram asks to wait (429)") })
            }
            401 | 404 => Err(Failure::lasting(format!("Telegram does not know the bot's token ({code})"))),
            400 => Err(Failure::lasting("Telegram does not know the chat, or refuses the message (400)")),
            403 => Err(Failure::lasting("the bot may not write to the chat (403)")),
            _ => Err(Failure::passing(format!("Telegram answers {code}"))),
        }
    }
}
