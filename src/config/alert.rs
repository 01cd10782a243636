//! `[alert]`: whom the daemon tells about trouble, and from when on.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::Offset;
use lettre::message::Mailbox;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::values;

/// Settings of the alerts, checked. Every `…_file` names a file that holds a secret.
#[derive(Clone, Debug, Default)]
pub struct Alert {
    /// A name that stands in each message; empty for none.
    pub installation: String,
    pub telegram: Option<Telegram>,
    pub webhook_url_file: Option<PathBuf>,
    pub mail: Option<Mail>,
    /// The proxy of Telegram, webhook and ping.
    pub proxy_url_file: Option<PathBuf>,
    pub ping_url_file: Option<PathBuf>,
    pub ping_every: Duration,
    pub limits: AlertLimits,
    pub times: AlertTimes,
}

/// A bot and a chat.
#[derive(Clone, Debug)]
pub struct Telegram {
    pub token_file: PathBuf,
    pub chat_file: PathBuf,
    /// Base URL of the Bot API.
    pub api: String,
}

/// A mail server, and who writes to whom.
#[derive(Clone, Debug)]
pub struct Mail {
    pub url_file: PathBuf,
    pub from: Mailbox,
    pub to: Vec<Mailbox>,
}

/// From which figure on a state is a cause of an alert.
#[derive(Clone, Debug, Default)]
pub struct AlertLimits {
    pub max_lag_bytes: u64,
    pub max_lag_seconds: f64,
    /// Shortest time until the slot is lost.
    pub min_survival: Duration,
    /// Days before the end of a server's certificate.
    pub certificate_days: usize,
}

/// When a message is sent.
#[derive(Clone, Debug)]
pub struct AlertTimes {
    /// How long a cause stands before the first message, and is gone before the last.
    pub after: Duration,
    pub remind_every: Duration,
    /// Time of the daily line; `None` when switched off.
    pub daily_at: Option<Time>,
    /// Zone of `daily_at` and of the times in messages.
    pub offset: Offset,
}

impl Default for AlertTimes {
    fn default() -> Self {
        AlertTimes {
            after: Duration::ZERO,
            remind_every: Duration::ZERO,
            daily_at: None,
            offset: Offset::UTC,
        }
    }
}

impl Alert {
    /// Whether a message or a ping goes anywhere.
    pub fn is_configured(&self) -> bool {
        self.has_channel() || self.ping_url_file.is_some()
    }

    pub fn has_channel(&self) -> bool {
        self.telegram.is_some() || self.webhook_url_file.is_some() || self.mail.is_some()
    }
}

/// The section as written.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertSection {
    #[serde(deserialize_with = "installation")]
    installation: String,
    telegram_token_file: Option<PathBuf>,
    telegram_chat_file: Option<PathBuf>,
    #[serde(deserialize_with = "http_url")]
    telegram_api: String,
    webhook_url_file: Option<PathBuf>,
    smtp_url_file: Option<PathBuf>,
    #[serde(deserialize_with = "sender")]
    mail_from: Option<Mailbox>,
    #[serde(deserialize_with = "recipients")]
    mail_to: Vec<Mailbox>,
    proxy_url_file: Option<PathBuf>,
    ping_url_file: Option<PathBuf>,
    #[serde(deserialize_with = "values::duration")]
    ping_every: Duration,
    #[serde(deserialize_with = "values::duration")]
    after: Duration,
    #[serde(deserialize_with = "values::duration")]
    remind_every: Duration,
    #[serde(deserialize_with = "daily")]
    daily_at: Option<Time>,
    #[serde(deserialize_with = "offset")]
    utc_offset: Offset,
    #[serde(deserialize_with = "values::bytes")]
    max_lag_bytes: u64,
    #[serde(deserialize_with = "values::seconds")]
    max_lag_seconds: f64,
    #[serde(deserialize_with = "values::duration")]
    min_survival: Duration,
    #[serde(deserialize_with = "values::within::<_, 1, 365>")]
    certificate_days: usize,
}

impl Default for AlertSection {
    fn default() -> Self {
        AlertSection {
            installation: String::new(),
            telegram_token_file: None,
            telegram_chat_file: None,
            telegram_api: "https://api.telegram.org".into(),
            webhook_url_file: None,
            smtp_url_file: None,
            mail_from: None,
            mail_to: Vec::new(),
            proxy_url_file: None,
            ping_url_file: None,
            ping_every: Duration::from_secs(60),
            after: Duration::from_secs(60),
            remind_every: Duration::from_secs(4 * 3600),
            daily_at: Some(Time::constant(6, 0, 0, 0)),
            utc_offset: Offset::UTC,
            max_lag_bytes: 256 << 20,
            max_lag_seconds: 300.0,
            min_survival: Duration::from_secs(24 * 3600),
            certificate_days: 14,
        }
    }
}

impl AlertSection {
    /// # Errors
    /// Two keys that contradict each other, or a key that lacks another: the text names the keys.
    pub fn checked(self) -> Result<Alert, String> {
        if self.remind_every < self.after {
            return Err("alert.remind_every is shorter than alert.after".into());
        }
        let telegram = match (self.telegram_token_file, self.telegram_chat_file) {
            (Some(token_file), Some(chat_file)) => {
                Some(Telegram { token_file, chat_file, api: self.telegram_api })
            }
            (None, None) => None,
            _ => {
                return Err("alert.telegram_token_file and alert.telegram_chat_file need each other".into());
            }
        };
        let mail = match (self.smtp_url_file, self.mail_from, self.mail_to) {
            (Some(url_file), Some(from), to) if !to.is_empty() => Some(Mail { url_file, from, to }),
            (None, None, to) if to.is_empty() => None,
            _ => return Err("alert.smtp_url_file, alert.mail_from and alert.mail_to need each other".into()),
        };
        Ok(Alert {
            installation: self.installation,
            telegram,
            webhook_url_file: self.webhook_url_file,
            mail,
            proxy_url_file: self.proxy_url_file,
            ping_url_file: self.ping_url_file,
            ping_every: self.ping_every,
            limits: AlertLimits {
                max_lag_bytes: self.max_lag_bytes,
                max_lag_seconds: self.max_lag_seconds,
                min_survival: self.min_survival,
                certificate_days: self.certificate_days,
            },
            times: AlertTimes {
                after: self.after,
                remind_every: self.remind_every,
                daily_at: self.daily_at,
                offset: self.utc_offset,
            },
        })
    }
}

fn installation<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.trim() {
        name if name.chars().count() > 40 || name.contains(char::is_control) => {
            Err(D::Error::custom("an installation's name is one line of at most 40 characters"))
        }
        name => Ok(name.to_owned()),
    }
}

/// The text of an address is not repeated in an error: the address may be a person's.
fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| "is not a mail address such as \"leadbridge <alerts@example.com>\"".to_owned())
}

fn sender<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Mailbox>, D::Error> {
    mailbox(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
}

fn recipients<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Mailbox>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| mailbox(text).map_err(D::Error::custom)).collect()
}

fn http_url<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match reqwest::Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.password().is_none() => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(D::Error::custom("is not the http or https URL of a Bot API")),
    }
}

fn daily<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Time>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "off" => Ok(None),
        text => Time::strptime("%H:%M", text)
            .map(Some)
            .map_err(|_| D::Error::custom(format!("`{text}` is neither a time such as 06:00 nor off"))),
    }
}

fn offset<'de, D: Deserializer<'de>>(from: D) -> Result<Offset, D::Error> {
    let text = String::deserialize(from)?;
    // jiff parses an offset as part of a time only.
    jiff::fmt::strtime::parse("%:z", &text)
        .ok()
        .and_then(|parsed| parsed.offset())
        .ok_or_else(|| D::Error::custom(format!("`{text}` is not an offset from UTC such as +03:00")))
}
