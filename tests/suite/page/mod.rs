//! The status page, in a real browser.

mod away;
mod axe;
mod browser;
mod followed;
mod pointed;
mod scenes;
mod screenshots;
mod shown;

use std::net::SocketAddr;
use std::sync::Arc;

use leadbridge::page::{self, Scene};
use leadbridge::telemetry::http_access;
use leadbridge::telemetry::http_server::{self, Bounds};
use leadbridge::telemetry::past::Window;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The page over a scene of the test's own. Ends with [`Stage::end`].
struct Stage {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Stage {
    /// Shows `scene` for ever.
    async fn of(scene: impl Fn(Window) -> Scene + Send + Sync + 'static, followers: usize) -> Stage {
        let listener = http_server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let routes = page::router(Arc::new(scene), followers, shutdown.clone())
            .route("/healthz", axum::routing::get(|| async { "alive\n" }));
        let routes = http_access::guarded(routes, None);
        let server = tokio::spawn(http_server::serve(listener, routes, Bounds::default(), shutdown.clone()));
        Stage { address, shutdown, server }
    }

    fn url(&self, query: &str) -> String {
        format!("http://{}/{query}", self.address)
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.server.await.unwrap();
    }
}
