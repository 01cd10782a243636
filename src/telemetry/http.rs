//! Health, status and metrics over HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;

use super::metrics::CONTENT_TYPE;
use super::{Live, State, Telemetry};
use crate::error::{Error, Result};
use crate::language::message;

/// Limits of the lag. Above either limit, the daemon is not ready.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_lag_bytes: u64,
    pub max_lag_seconds: f64,
}

impl Limits {
    /// The lag in bytes, where it is above its limit.
    pub fn bytes_over(self, live: &Live) -> Option<u64> {
        live.lag_bytes.filter(|bytes| *bytes > self.max_lag_bytes)
    }

    /// The lag in seconds, where it is above its limit.
    pub fn seconds_over(self, live: &Live) -> Option<f64> {
        live.lag_seconds.filter(|seconds| *seconds > self.max_lag_seconds)
    }

    /// `None` while not known: a lag of which one figure is missing may still be above a limit.
    pub fn lag_is_within(self, live: &Live) -> Option<bool> {
        let is_over = self.bytes_over(live).is_some() || self.seconds_over(live).is_some();
        let is_known = live.lag_bytes.is_some() && live.lag_seconds.is_some();
        (is_over || is_known).then_some(!is_over)
    }
}

/// Asks the daemon at `address` for its status; `None` when no daemon answers within `limit`. `T` is [`Live`], or another
/// form of the same document.
///
/// # Errors
/// `Refused` when a daemon answers and does not take the token, or wants one.
pub async fn ask<T: DeserializeOwned>(
    address: SocketAddr,
    token: Option<&SecretString>,
    limit: Duration,
) -> Result<Option<T>> {
    let answer = get_with_token(address, "/status", token.cloned(), limit).await;
    match answer {
        Some((200, body)) => Ok(serde_json::from_str(&body).ok()),
        Some((401 | 403 | 503, why)) if why.contains("token") => {
            let text = format!("the daemon at {address} does not tell its status: {}", why.trim());
            Err(Error::refused(text).remedy(message!("telemetry-remedy-token")))
        }
        _ => Ok(None),
    }
}

/// [`get_with_token`] without a token.
pub async fn get_page(address: SocketAddr, path: &'static str, limit: Duration) -> Option<(u16, String)> {
    get_with_token(address, path, None, limit).await
}

/// Code and body of the answer to `GET path`; `None` when nobody answers within `limit`. The question goes to
/// `address` and nowhere else, whatever proxy the environment names and whatever redirection is answered.
pub async fn get_with_token(
    mut address: SocketAddr,
    path: &'static str,
    token: Option<SecretString>,
    limit: Duration,
) -> Option<(u16, String)> {
    // A daemon that listens on every address is asked at the loopback address.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let request = move || {
        let settings = ureq::Agent::config_builder().timeout_global(Some(limit)).http_status_as_error(false);
        let settings = settings.proxy(None).max_redirects(0).max_redirects_will_error(false);
        let agent = settings.build().new_agent();
        let mut question = agent.get(format!("http://{address}{path}"));
        if let Some(token) = &token {
            question = question.header("Authorization", format!("Bearer {}", token.expose_secret()));
        }
        let mut response = question.call().ok()?;
        Some((response.status().as_u16(), response.body_mut().read_to_string().ok()?))
    };
    tokio::task::spawn_blocking(request).await.ok()?
}

/// All paths that programs read, over a shared state.
pub fn router(telemetry: Telemetry, limits: Limits) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state((telemetry, limits))
}

async fn status(Shared((telemetry, _)): Shared<(Telemetry, Limits)>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(telemetry.live())).into_response()
}

/// Answers from memory, whatever state the databases are in.
async fn metrics(Shared((telemetry, _)): Shared<(Telemetry, Limits)>) -> Response {
    match telemetry.metrics().text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], text)
            .into_response(),
        Err(error) => {
            tracing::error!("the metrics could not be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(Shared((telemetry, limits)): Shared<(Telemetry, Limits)>) -> Response {
    match not_ready(&telemetry.live(), limits) {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

/// Reason why a daemon in this state is not ready; `None` for a ready daemon.
fn not_ready(live: &Live, limits: Limits) -> Option<String> {
    if !matches!(live.state, State::Streaming | State::Switched) {
        return Some(format!("not streaming: {}", live.state));
    }
    if let Some(bytes) = limits.bytes_over(live) {
        return Some(format!("lag of {bytes} bytes is above {}", limits.max_lag_bytes));
    }
    if let Some(seconds) = limits.seconds_over(live) {
        return Some(format!("lag of {seconds:.1} s is above {} s", limits.max_lag_seconds));
    }
    limits.lag_is_within(live).is_none().then(|| "the lag is not known yet".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::telemetry::{http_access, http_server};

    const LIMITS: Limits = Limits { max_lag_bytes: 1000, max_lag_seconds: 10.0 };

    fn streaming(lag_bytes: Option<u64>, lag_seconds: Option<f64>) -> Live {
        Live { state: State::Streaming, lag_bytes, lag_seconds, ..Live::starting() }
    }

    async fn serve_any(
        token_file: Option<PathBuf>,
    ) -> (SocketAddr, Telemetry, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = http_server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (telemetry, shutdown) = (Telemetry::new(), CancellationToken::new());
        let routes = http_access::guarded(router(telemetry.clone(), LIMITS), token_file);
        let bounds = http_server::Bounds::default();
        let server = tokio::spawn(http_server::serve(listener, routes, bounds, shutdown.clone()));
        (address, telemetry, shutdown, server)
    }

    async fn get_text(address: SocketAddr, path: &'static str) -> (u16, String) {
        get_page(address, path, Duration::from_secs(10)).await.unwrap()
    }

    #[test]
    fn ready_means_streaming_with_a_known_lag_under_both_limits() {
        assert_eq!(not_ready(&streaming(Some(1000), Some(10.0)), LIMITS), None);
        let switched = |bytes| Live { state: State::Switched, ..streaming(Some(bytes), Some(0.0)) };
        assert_eq!(not_ready(&switched(1000), LIMITS), None);
        assert!(not_ready(&switched(1001), LIMITS).is_some());
        for live in [streaming(Some(1001), None), streaming(None, Some(10.1))] {
            assert_eq!(LIMITS.lag_is_within(&live), Some(false), "one figure suffices: {live:?}");
        }
        for live in [
            streaming(Some(1001), Some(0.0)),
            streaming(Some(0), Some(10.1)),
            streaming(None, Some(0.0)),
            streaming(Some(0), None),
            Live { state: State::Standby, ..streaming(Some(0), Some(0.0)) },
            Live::starting(),
        ] {
            assert!(not_ready(&live, LIMITS).is_some(), "{live:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_path_answers_from_the_live_state() {
        let (address, telemetry, shutdown, server) = serve_any(None).await;
        assert_eq!(get_text(address, "/healthz").await.0, 200);
        let (code, why) = get_text(address, "/readyz").await;
        assert_eq!((code, why.as_str()), (503, "not streaming: starting\n"));
        telemetry.update(|live| *live = streaming(Some(0), Some(0.0)));
        assert_eq!(get_text(address, "/readyz").await.0, 200);
        let (code, body) = get_text(address, "/status").await;
        assert_eq!(code, 200);
        assert_eq!(serde_json::from_str::<Live>(&body).unwrap(), telemetry.live());
        shutdown.cancel();
        server.await.unwrap();
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn a_token_closes_all_but_the_probes_and_a_changed_token_needs_no_restart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let (address, _, shutdown, server) = serve_any(Some(file.clone())).await;
        let asked = async |token: Option<&str>| {
            let token = token.map(SecretString::from);
            ask::<Live>(address, token.as_ref(), Duration::from_secs(10)).await.map(|live| live.is_some())
        };
        for path in ["/healthz", "/readyz"] {
            assert!(!get_text(address, path).await.1.contains("token"), "{path}");
        }
        assert!(
            asked(Some("0123456789abcdef")).await.unwrap_err().to_string().contains("cannot read its token")
        );
        for token in ["0123456789abcdef", "fedcba9876543210"] {
            std::fs::write(&file, token).unwrap();
            let begun = std::time::Instant::now();
            while !asked(Some(token)).await.unwrap_or(false) {
                assert!(begun.elapsed() < Duration::from_secs(60), "the token is not read again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            for path in ["/status", "/metrics", "/", "/another"] {
                assert_eq!(get_text(address, path).await.0, 401, "{path}");
            }
            let refused = asked(Some("another-token-of-somebody")).await.unwrap_err();
            assert!(
                refused.remedy_text().is_some_and(|remedy| remedy.contains("http_token_file")),
                "{refused}"
            );
        }
        shutdown.cancel();
        server.await.unwrap();
    }
}
