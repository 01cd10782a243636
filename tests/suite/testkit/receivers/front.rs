//! A server in front of a receiver: each connection is led to the receiver once the front's own dialogue is over.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
    copy_bidirectional,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// The front's own dialogue.
#[derive(Clone)]
pub enum Way {
    /// TLS from the first byte.
    Tls(TlsAcceptor),
    /// A mail server that offers nothing but STARTTLS (RFC 3207).
    StartTls(TlsAcceptor),
    /// A SOCKS proxy of version 5 (RFC 1928) that wants a user and a password (RFC 1929). Every name leads to the receiver.
    Socks,
}

/// Ends when dropped.
pub struct Front {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Front {
    pub async fn start(way: Way, receiver: SocketAddr) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let asking = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(lead(way.clone(), stream, receiver, Arc::clone(&asking)));
            }
        });
        Front { address, asked, _serving: AbortOnDropHandle::new(serving) }
    }

    /// What a SOCKS proxy was asked for: `user:password host:port`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Returns at the end of the connection; a client that breaks off is not an error of the front.
async fn lead(
    way: Way,
    mut client: TcpStream,
    receiver: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(receiver).await?;
    match way {
        Way::Tls(acceptor) => pipe(acceptor.accept(client).await?, server).await,
        Way::StartTls(acceptor) => {
            client.write_all(b"220 front ESMTP\r\n").await?;
            let mut lines = BufReader::new(&mut client).lines();
            while let Some(line) = lines.next_line().await? {
                let begins = line.eq_ignore_ascii_case("STARTTLS");
                let reply = match () {
                    () if begins => "220 begin\r\n",
                    () if line.starts_with("EHLO") => "250-front\r\n250 STARTTLS\r\n",
                    () => "530 begin TLS first\r\n",
                };
                lines.get_mut().get_mut().write_all(reply.as_bytes()).await?;
                if begins {
                    break;
                }
            }
            // The client has had a greeting.
            while server.read_u8().await? != b'\n' {}
            pipe(acceptor.accept(client).await?, server).await
        }
        Way::Socks => {
            let methods = text(&mut client, 1).await?;
            assert!(methods.contains('\u{2}'), "no user and password are offered");
            client.write_all(&[5, 2]).await?;
            let user = text(&mut client, 1).await?;
            let password = text(&mut client, 0).await?;
            client.write_all(&[1, 0]).await?;
            // Version, command, reserved, kind of address: 3 is a name.
            let mut head = [0; 4];
            client.read_exact(&mut head).await?;
            assert_eq!(head, [5, 1, 0, 3]);
            let host = text(&mut client, 0).await?;
            let port = client.read_u16().await?;
            asked.lock().unwrap().push(format!("{user}:{password} {host}:{port}"));
            client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
            pipe(client, server).await
        }
    }
}

/// A text with its length in one byte before it, after `skipped` bytes.
async fn text(client: &mut TcpStream, skipped: usize) -> std::io::Result<String> {
    client.read_exact(&mut vec![0; skipped]).await?;
    let mut text = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn pipe(mut client: impl AsyncRead + AsyncWrite + Unpin, mut server: TcpStream) -> std::io::Result<()> {
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
