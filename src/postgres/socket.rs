//! Opens a socket to a place, with TLS according to `sslmode`, for replication connections, because the driver
//! makes ordinary connections only.

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect as _};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{self, ConnectionAttempt};
use super::replication::Socket;
use super::tls::{CertificateEnd, Encryption, Tls};
use crate::error::Result;

/// Opens the socket. The caller limits the time.
///
/// # Errors
/// Errors of connecting, in an operator's words.
pub async fn open(
    attempt: &ConnectionAttempt<'_>,
    tls: &Tls,
    certificate_end: &CertificateEnd,
) -> Result<Box<dyn Socket>> {
    let failed = |error: std::io::Error| failure::broken(attempt, &error);
    let host = &attempt.place.host;
    let Some(address) = attempt.place.address else {
        let path = format!("{}/.s.PGSQL.{}", host.name, host.port);
        return Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?));
    };
    let mut stream = TcpStream::connect((address, host.port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    if tls.encryption() == Encryption::Never {
        return Ok(Box::new(stream));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(failed)?;
    // Exactly one byte is read, because the bytes after the answer are encrypted.
    match (stream.read_u8().await.map_err(failed)?, tls.encryption()) {
        (b'S', _) => {}
        (b'N', Encryption::IfOffered) => return Ok(Box::new(stream)),
        (b'N', _) => return Err(failure::no_tls(attempt)),
        _ => return Err(failure::not_postgresql(attempt)),
    }
    let mut connector = MakeRustlsConnect::new(tls.client_config(&host.name, certificate_end)?);
    let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut connector, &host.name);
    let connect = connect.map_err(|_| failure::no_tls(attempt))?;
    Ok(Box::new(connect.connect(stream).await.map_err(failed)?))
}
