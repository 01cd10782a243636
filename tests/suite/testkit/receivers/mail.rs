//! A mail server: the dialogue of RFC 5321 as far as one mail needs it, with a login, and without TLS.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// A mail as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    /// Headers and body.
    pub text: String,
}

/// Ends when dropped.
pub struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
    /// The reply to a recipient.
    recipient: Arc<Mutex<&'static str>>,
    _serving: AbortOnDropHandle<()>,
}

impl MailServer {
    pub async fn start() -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mails, recipient) = (Arc::<Mutex<Vec<Mail>>>::default(), Arc::new(Mutex::new("250 fine")));
        let (kept, replies) = (Arc::clone(&mails), Arc::clone(&recipient));
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (kept, replies) = (Arc::clone(&kept), Arc::clone(&replies));
                tokio::spawn(async move { talk(stream, &kept, &replies).await });
            }
        });
        MailServer { port, mails, recipient, _serving: AbortOnDropHandle::new(serving) }
    }

    pub fn url(&self) -> String {
        format!("smtp://mailer:geheim-smtp@127.0.0.1:{}", self.port)
    }

    /// Replies so to every recipient from now on.
    pub fn replies(&self, reply: &'static str) {
        *self.recipient.lock().unwrap() = reply;
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

/// Returns at the end of the connection.
async fn talk(stream: TcpStream, kept: &Mutex<Vec<Mail>>, replies: &Mutex<&'static str>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut mail = Mail::default();
    stream.write_all(b"220 test ESMTP\r\n").await.ok()?;
    loop {
        let line = read_line(&mut stream).await?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN".to_owned(),
            "AUTH" => "235 welcome".to_owned(),
            "MAIL" => {
                mail = Mail { from: line, ..Mail::default() };
                "250 fine".to_owned()
            }
            "RCPT" => {
                mail.to.push(line);
                (*replies.lock().unwrap()).to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                loop {
                    match read_line(&mut stream).await?.as_str() {
                        "." => break,
                        line => {
                            if let Some(subject) = line.strip_prefix("Subject: ") {
                                subject.clone_into(&mut mail.subject);
                            }
                            mail.text.push_str(line.strip_prefix('.').unwrap_or(line));
                            mail.text.push('\n');
                        }
                    }
                }
                kept.lock().unwrap().push(std::mem::take(&mut mail));
                "250 kept".to_owned()
            }
            "QUIT" => return None,
            _ => "250 fine".to_owned(),
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
    }
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await {
        Ok(1..) => Some(line.trim_end().to_owned()),
        _ => None,
    }
}
