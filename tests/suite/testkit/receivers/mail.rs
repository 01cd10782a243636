//! A mail server: the dialogue of RFC 5321 as far as one mail needs it, with a login, and without TLS.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

struct Shared {
    mails: Mutex<Vec<Mail>>,
    /// The reply to a recipient.
    recipient: Mutex<&'static str>,
    logins: AtomicUsize,
}

impl MailServer {
    pub async fn start() -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            mails: Mutex::default(),
            recipient: Mutex::new("250 fine"),
            logins: AtomicUsize::default(),
        });
        let kept = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let kept = Arc::clone(&kept);
                tokio::spawn(async move { talk(stream, &kept).await });
            }
        });
        MailServer { address, shared, _serving: AbortOnDropHandle::new(serving) }
    }

    pub fn url(&self) -> String {
        format!("smtp://mailer:geheim-smtp@{}", self.address)
    }

    /// Replies so to every recipient from now on.
    pub fn replies(&self, reply: &'static str) {
        *self.shared.recipient.lock().unwrap() = reply;
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap().clone()
    }

    /// How often a password was sent.
    pub fn logins(&self) -> usize {
        self.shared.logins.load(Ordering::Relaxed)
    }
}

/// Returns at the end of the connection.
async fn talk(stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut mail = Mail::default();
    stream.write_all(b"220 test ESMTP\r\n").await.ok()?;
    loop {
        let line = read_line(&mut stream).await?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN".to_owned(),
            "AUTH" => {
                shared.logins.fetch_add(1, Ordering::Relaxed);
                "235 welcome".to_owned()
            }
            "MAIL" => {
                mail = Mail { from: line, ..Mail::default() };
                "250 fine".to_owned()
            }
            "RCPT" => {
                mail.to.push(line);
                (*shared.recipient.lock().unwrap()).to_owned()
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
                shared.mails.lock().unwrap().push(std::mem::take(&mut mail));
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
