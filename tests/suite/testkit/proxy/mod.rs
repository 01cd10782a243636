//! A TCP proxy in front of a server on this machine, for injecting faults into connections.
//!
//! The proxy knows each connection by the `application_name` of its start-up message, so that a fault can be aimed at
//! one kind:
//!
//! ```ignore
//! let proxy = Proxy::to(world.traffic.port()).await;
//! let traffic = proxy.url(&world.traffic_url(), world.traffic.port());
//! proxy.inject(Target::Named("apply"), Fault::CutAfterCommit);
//! proxy.inject(Target::Every, Fault::Delay(Duration::from_millis(200)));
//! proxy.heal();
//! ```
//!
//! The proxy never fails because a peer has vanished. Start-up is read in the clear: URLs need `sslmode=disable`.

mod faults;
mod link;
mod tests;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use faults::Faults;
pub use faults::{Direction, Fault, Target};

/// Forwards to a server on this machine until dropped; dropping the proxy cuts every connection.
pub struct Proxy {
    port: u16,
    server: Arc<AtomicU16>,
    faults: Arc<Faults>,
    _open: DropGuard,
}

impl Proxy {
    pub async fn to(server: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = CancellationToken::new();
        let faults = Arc::new(Faults::new(open.clone()));
        let server = Arc::new(AtomicU16::new(server));
        let accepting = accept(listener, Arc::clone(&server), Arc::clone(&faults));
        let until_dropped = open.clone();
        tokio::spawn(async move { until_dropped.run_until_cancelled(accepting).await });
        Proxy { port, server, faults, _open: open.drop_guard() }
    }

    /// The same URL by way of the proxy.
    pub fn url(&self, url: &str, server: u16) -> String {
        url.replace(&format!(":{server}/"), &format!(":{}/", self.port))
    }

    /// From now on new connections reach another server, as after a change of a DNS name.
    pub fn redirect(&self, server: u16) {
        self.server.store(server, Ordering::Relaxed);
    }

    /// Injects a fault at once. Returns the number of open connections that the fault meets.
    pub fn inject(&self, target: Target, fault: Fault) -> usize {
        self.faults.inject(target, fault)
    }

    /// Ends every lasting fault. Cut connections stay cut, half-open connections stay half-open.
    pub fn heal(&self) {
        self.faults.heal();
    }

    /// Cuts half-open connections, as a server's keepalives do within half a minute without a proxy's answers.
    pub fn forget_half_open(&self) {
        self.faults.forget_half_open();
    }

    /// Number of open connections, without half-open connections.
    pub fn connections(&self, target: Target) -> usize {
        self.faults.connections(target)
    }

    /// How many times [`Fault::CutAfterCommit`] has struck.
    pub fn commits_cut(&self) -> u64 {
        self.faults.commits_cut()
    }
}

async fn accept(listener: TcpListener, server: Arc<AtomicU16>, faults: Arc<Faults>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(link::serve(client, server.load(Ordering::Relaxed), Arc::clone(&faults)));
            }
            // The machine is short of a resource for the moment; at worst the peer has given up.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A connection to the server; `None` while the server is down.
async fn reach(server: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", server)).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}
