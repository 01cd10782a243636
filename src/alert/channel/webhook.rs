//! A POST with the message as JSON.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::super::message::Message;
use super::http::{self, Web};
use super::{Failure, secret};

/// A receiver of JSON. The URL may hold a secret.
pub struct Webhook {
    url_file: PathBuf,
    web: Web,
}

impl Webhook {
    pub fn new(url_file: PathBuf, web: Web) -> Self {
        Webhook { url_file, web }
    }

    pub async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        let url = secret::read(&self.url_file, "webhook_url_file").await?;
        let url = http::parse(url.expose_secret(), "webhook_url_file")?;
        let body = serde_json::to_string(message).map_err(|_| Failure::lasting("the message is no JSON"))?;
        let request = self.web.client().await?.post(url);
        let request = request.header("content-type", "application/json").body(body);
        let (status, _) = http::send(request).await?;
        match status.as_u16() {
            200..=299 => Ok(()),
            429 => Err(Failure {
                wait: Some(Duration::from_secs(30)),
                ..Failure::passing("the webhook asks to wait (429)")
            }),
            code @ (408 | 425 | 500..=599) => Err(Failure::passing(format!("the webhook answers {code}"))),
            code => Err(Failure::lasting(format!("the webhook refuses the message ({code})"))),
        }
    }
}
