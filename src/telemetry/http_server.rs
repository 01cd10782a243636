//! The HTTP server, bounded so that no client can cost the replication anything: the number of connections, the
//! time for a request's head, the time for which a reader may read nothing, and the time for the end.
//!
//! A connection serves one request, so an idle connection holds no place. No limit bounds the whole time of an
//! answer: a route may answer with an endless stream, as long as its reader reads.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::{Extension, Router};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use nix::errno::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::http_access::Peer;
use crate::error::{Error, Kind, Result};
use crate::language::message;

/// Pause after a connection could not be accepted: most likely no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Time for the answers in hand at the end.
const PARTING: Duration = Duration::from_secs(2);
/// Bytes of a request's head, and of an answer that is being written, that are held for a connection.
const BUFFER: usize = 16 << 10;
/// Pauses between two attempts to take an address: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections. A connection beyond this number is closed at once.
    pub connections: usize,
    /// Time from the beginning of a connection to the end of its request's head.
    pub head: Duration,
    /// Time for which a write may make no progress, because the client does not read, or is gone without a word.
    pub stalled: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { connections: 32, head: Duration::from_secs(5), stalled: Duration::from_secs(10) }
    }
}

/// Takes the address.
///
/// # Errors
/// `Transient` where another attempt may succeed: the address is in use, or not yet of this machine, or the
/// system has no descriptor or memory left. Otherwise `Usage`. Both have a remedy.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| bind_error(address, &error))
}

fn bind_error(address: SocketAddr, error: &io::Error) -> Error {
    let (kind, why, remedy) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EADDRINUSE) => {
            (Kind::Transient, "is in use".to_owned(), message!("telemetry-remedy-address-in-use"))
        }
        Some(Errno::EADDRNOTAVAIL) => (
            Kind::Transient,
            "is not an address of this machine".to_owned(),
            message!("telemetry-remedy-address-not-ours"),
        ),
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => (
            Kind::Transient,
            format!("cannot be listened on yet: {error}"),
            message!("telemetry-remedy-descriptors"),
        ),
        Some(Errno::EACCES) => {
            (Kind::Usage, "needs a privilege".to_owned(), message!("telemetry-remedy-port-privilege"))
        }
        _ => (
            Kind::Usage,
            format!("cannot be listened on: {error}"),
            message!("telemetry-remedy-address-wrong"),
        ),
    };
    Error::new(kind, format!("the HTTP address {address} {why}")).remedy(remedy)
}

/// Takes the address as soon as the address can be taken, with growing pauses. After a first failure that may
/// pass, every later failure counts as one that may pass, too.
pub async fn bind_when_free(address: SocketAddr) -> TcpListener {
    let [first, longest] = PAUSES;
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        tokio::time::sleep(pauses.next().unwrap_or(longest)).await;
        match bind(address).await {
            Ok(listener) => {
                tracing::info!("the HTTP address {address} is free now: listening");
                return listener;
            }
            Err(error) => tracing::debug!("{error}"),
        }
    }
}

/// Serves until `shutdown`, then gives the answers in hand two seconds. The caller spawns and joins the task.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, shutdown: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head).keep_alive(false).max_buf_size(BUFFER);
    let (graceful, mut open) = (GracefulShutdown::new(), JoinSet::new());
    let (mut full, mut failing) = (false, false);
    loop {
        // Each branch may be dropped: a connection that was not accepted stays in the listener's queue.
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = open.join_next() => continue,
            stream = accept(&listener, &mut failing) => stream,
        };
        if open.len() >= bounds.connections {
            if !std::mem::replace(&mut full, true) {
                tracing::warn!(
                    "{} HTTP connections are open: further connections are closed at once",
                    bounds.connections
                );
            }
            continue;
        }
        full = false;
        // A write succeeds into the kernel's buffer for minutes after the client's machine has vanished.
        if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(bounds.stalled)) {
            tracing::debug!("a connection of {peer} has no time limit of the kernel: {error}");
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(bounds.stalled));
        let service = TowerToHyperService::new(router.clone().layer(Extension(Peer(peer))));
        open.spawn(graceful.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), service)));
    }
    drop(listener);
    if tokio::time::timeout(PARTING, graceful.shutdown()).await.is_err() {
        tracing::info!("HTTP connections that do not end are closed");
    }
    open.shutdown().await;
}

/// Accepts a connection. Failures are waited out, and the first of several in a row is logged.
async fn accept(listener: &TcpListener, failing: &mut bool) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                *failing = false;
                return accepted;
            }
            Err(error) => {
                if !std::mem::replace(failing, true) {
                    tracing::warn!("no HTTP connection can be accepted: {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Instant;

    use axum::body::Body;
    use axum::routing::get;
    use socket2::SockFilter;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    use super::*;

    /// Far more than any of the limits of these tests, for a loaded machine.
    const PATIENCE: Duration = Duration::from_secs(60);
    /// Larger than the buffers of both ends of a connection.
    const LARGE: usize = 64 << 20;

    struct Server {
        address: SocketAddr,
        shutdown: CancellationToken,
        task: JoinHandle<()>,
    }

    impl Server {
        async fn start(bounds: Bounds) -> Self {
            let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let routes = Router::new()
                .route("/", get(|| async { "here" }))
                .route("/large", get(|| async { vec![b'x'; LARGE] }))
                .route("/endless", get(endless));
            let shutdown = CancellationToken::new();
            let task = tokio::spawn(serve(listener, routes, bounds, shutdown.clone()));
            Server { address, shutdown, task }
        }

        async fn send(&self, request: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }

        async fn ends(self) {
            self.shutdown.cancel();
            tokio::time::timeout(PATIENCE, self.task).await.expect("the server does not end").unwrap();
        }
    }

    /// An answer that goes on as a followed page does: a few bytes at a time.
    async fn endless() -> Body {
        Body::from_stream(futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, Infallible>("news"), ()))
        }))
    }

    /// All that the server sends before it ends the connection.
    async fn received(mut stream: TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        // A connection that is closed with data unread is reset.
        let _ = read.expect("the server keeps the connection");
        bytes
    }

    fn with_head(head: Duration) -> Bounds {
        Bounds { head, ..Bounds::default() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_that_is_not_sent_to_its_end_is_given_up() {
        let server = Server::start(with_head(Duration::from_millis(50))).await;
        for half in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"] {
            let stream = server.send(half).await;
            assert!(!String::from_utf8(received(stream).await).unwrap().contains("200 OK"), "{half:?}");
        }
        // A body that never comes holds no connection either: no route reads a body.
        let post = server.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx").await;
        received(post).await;
        server.ends().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_ends_with_its_answer() {
        let server = Server::start(Bounds::default()).await;
        let answer = received(server.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("connection: close") && answer.ends_with("here"), "{answer}");
        server.ends().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_that_does_not_read_is_given_up_and_one_that_reads_slowly_is_not() {
        let server = Server::start(Bounds { stalled: Duration::from_millis(200), ..Bounds::default() }).await;
        let request = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut slow = server.send(request).await;
        let mut chunk = vec![0; LARGE / 16];
        for _ in 0..4 {
            slow.read_exact(&mut chunk).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(received(slow).await.len() > LARGE / 2);

        let held = server.send(request).await;
        let connections = server.address;
        // The server has closed its end when the kernel knows no connection of its side any more.
        let begun = Instant::now();
        while open_at(connections) > 0 {
            assert!(begun.elapsed() < PATIENCE, "the server holds a connection that nobody reads");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(received(held).await.len() < LARGE);
        server.ends().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_vanishes_is_given_up_though_the_kernel_takes_what_is_written() {
        let server = Server::start(Bounds { stalled: Duration::from_millis(300), ..Bounds::default() }).await;
        let mut followed = server.send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await;
        // A client that is there is followed for longer than the limit.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            followed.read_exact(&mut [0; 64]).await.unwrap();
        }
        // `return 0`: every packet to the client is dropped, as where its machine has lost its network.
        let drop_all = SockFilter::new(6, 0, 0, 0);
        SockRef::from(&followed).attach_filter(&[drop_all]).unwrap();
        let begun = Instant::now();
        while open_at(server.address) > 0 {
            assert!(begun.elapsed() < PATIENCE, "the server holds a connection whose client is gone");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.ends().await;
    }

    /// Number of established connections whose local end is `address`.
    fn open_at(address: SocketAddr) -> usize {
        let local = format!("0100007F:{:04X}", address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields.filter(|fields| fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&"01")).count()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_beyond_the_bound_is_closed_at_once_and_the_others_stay() {
        let server = Server::start(Bounds { connections: 2, ..with_head(PATIENCE) }).await;
        let request = ["GET / HTTP/1.1\r\n", "Host: x\r\n\r\n"];
        let (mut first, second) = (server.send(request[0]).await, server.send(request[0]).await);
        assert_eq!(received(TcpStream::connect(server.address).await.unwrap()).await, b"");
        first.write_all(request[1].as_bytes()).await.unwrap();
        assert!(received(first).await.ends_with(b"here"));
        // The place is free again.
        let begun = Instant::now();
        while !received(server.send(&request.concat()).await).await.ends_with(b"here") {
            assert!(begun.elapsed() < PATIENCE, "the place stays taken");
        }
        drop(second);
        server.ends().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn half_a_request_does_not_hold_up_the_end() {
        let server = Server::start(with_head(PATIENCE * 2)).await;
        let half = server.send("GET / HT").await;
        // Accepted: a later connection was answered.
        received(server.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
        server.ends().await;
        drop(half);
    }

    #[tokio::test]
    async fn only_an_address_that_may_become_free_is_tried_again() {
        let address = ([127, 0, 0, 1], 9187).into();
        for (errno, kind) in [
            (Errno::EADDRINUSE, Kind::Transient),
            (Errno::EADDRNOTAVAIL, Kind::Transient),
            (Errno::EMFILE, Kind::Transient),
            (Errno::ENFILE, Kind::Transient),
            (Errno::ENOBUFS, Kind::Transient),
            (Errno::EACCES, Kind::Usage),
            (Errno::EAFNOSUPPORT, Kind::Usage),
            (Errno::EINVAL, Kind::Usage),
        ] {
            let error = bind_error(address, &io::Error::from_raw_os_error(errno as i32));
            assert_eq!(error.kind(), kind, "{errno}");
            assert!(error.remedy_text().is_some(), "{errno}");
        }
        let first = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let taken = first.local_addr().unwrap();
        let error = bind(taken).await.unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        drop(first);
        let later = tokio::time::timeout(PATIENCE, bind_when_free(taken)).await.expect("still taken");
        assert_eq!(later.local_addr().unwrap(), taken);
    }
}
