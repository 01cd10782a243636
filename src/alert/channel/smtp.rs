//! A mail through the operator's mail server.

use std::net::IpAddr;

use lettre::message::header::ContentType;
use lettre::transport::smtp::Error as SmtpError;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};

use super::super::message::Message;
use super::{Failure, TRY_LIMIT, is_tls, secret};
use crate::config::Mail;

pub struct Smtp {
    settings: Mail,
}

impl Smtp {
    pub fn new(settings: Mail) -> Self {
        Smtp { settings }
    }

    pub async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        let url = secret::read(&self.settings.url_file, "smtp_url_file").await?;
        let transport = transport(&url)?;
        let mut mail = lettre::Message::builder()
            .from(self.settings.from.clone())
            .subject(&message.title)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.settings.to {
            mail = mail.to(to.clone());
        }
        let mail =
            mail.body(message.text.clone()).map_err(|_| Failure::lasting("the mail cannot be written"))?;
        transport.send(mail).await.map(drop).map_err(|error| failure(&error))
    }
}

/// # Errors
/// The file holds no URL of a mail server, or a password that would travel in clear.
fn transport(url: &SecretString) -> Result<AsyncSmtpTransport<Tokio1Executor>, Failure> {
    let bad =
        |_| Failure::passing("smtp_url_file: the file holds no URL such as smtps://user:password@host:465");
    let parsed = reqwest::Url::parse(url.expose_secret()).map_err(|_| bad(()))?;
    let demands_tls = parsed.scheme() == "smtps"
        || parsed.query_pairs().any(|(key, value)| key == "tls" && value == "required");
    let is_local = parsed.host_str().is_some_and(|host| {
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    });
    if parsed.password().is_some() && !demands_tls && !is_local {
        return Err(Failure::passing(
            "smtp_url_file: the password would travel in clear: write smtps://, or smtp:// with ?tls=required",
        ));
    }
    let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret()).map_err(|_| bad(()))?;
    Ok(builder.timeout(Some(TRY_LIMIT)).build())
}

/// The library's own text may repeat the server's, which may name a recipient.
fn failure(error: &SmtpError) -> Failure {
    if let Some(code) = error.status() {
        return match error.is_permanent() {
            true => Failure::lasting(format!("the mail server refuses the mail or the login ({code})")),
            false => Failure::passing(format!("the mail server takes no mail now ({code})")),
        };
    }
    Failure::passing(match error {
        error if error.is_timeout() => "no answer from the mail server in time",
        error if error.is_tls() || is_tls(error) => "TLS with the mail server failed",
        error if error.is_response() => "the mail server answers nonsense",
        _ => "cannot connect to the mail server, or the connection broke",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_travels_in_clear_to_this_machine_only() {
        for (url, good) in [
            ("smtps://user:geheim@mail.example:465", true),
            ("smtp://user:geheim@mail.example:587?tls=required", true),
            ("smtp://user:geheim@127.0.0.1:25", true),
            ("smtp://relay.example:25", true),
            ("smtp://user:geheim@mail.example:587?tls=opportunistic", false),
            ("smtp://user:geheim@mail.example:25", false),
            ("http://user:geheim@mail.example", false),
            ("geheim", false),
        ] {
            let made = transport(&SecretString::from(url));
            assert_eq!(made.is_ok(), good, "{url}");
            assert!(made.err().is_none_or(|failure| !failure.what.contains("geheim")));
        }
    }
}
