//! A TCP proxy in front of a server, for connections that go wrong.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Forwards to a server on this machine until it is dropped.
pub struct Proxy {
    port: u16,
    /// Raised by each [`Proxy::silence`]: connections that were opened at a lower number carry nothing any more.
    silenced: Arc<watch::Sender<u64>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub async fn to(server: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silenced = Arc::new(watch::Sender::new(0));
        let accepting = tokio::spawn(accept(listener, server, Arc::clone(&silenced)));
        Proxy { port, silenced, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// The same URL by way of the proxy.
    pub fn url(&self, url: &str, server: u16) -> String {
        url.replace(&format!(":{server}/"), &format!(":{}/", self.port))
    }

    /// Every connection that is open now stays open and carries nothing any more. New ones work.
    pub fn silence(&self) {
        self.silenced.send_modify(|number| *number += 1);
    }
}

async fn accept(listener: TcpListener, server: u16, silenced: Arc<watch::Sender<u64>>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(forward(from_client, to_server, silenced.subscribe()));
        tokio::spawn(forward(from_server, to_client, silenced.subscribe()));
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silenced: watch::Receiver<u64>) {
    silenced.mark_unchanged();
    let mut buffer = vec![0; 1 << 16];
    loop {
        tokio::select! {
            biased;
            changed = silenced.changed() => {
                if changed.is_ok() {
                    // Both halves stay open: neither side hears that the other is gone.
                    std::future::pending::<()>().await;
                }
                return;
            }
            read = from.read(&mut buffer) => match read {
                Ok(count) if count > 0 => {
                    if to.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
}
