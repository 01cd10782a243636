//! The status page: what the daemon knows about itself, for people.
//!
//! The page is one document with its style and script inside, and is complete without the script. The script replaces
//! the page's parts as `events` sends them, says since when nothing has come, and shows the value of the column that a
//! reader points at. Every text, figure and chart is made here, by the pure functions of `parts`, so that the script has
//! no words of its own, and counts only the age of the news and the time of a column.

mod choice;
mod document;
mod events;
mod parts;
#[cfg(test)]
mod scenes_for_tests;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use choice::{Asked, Choice};
pub use parts::Scene;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Telemetry;
use crate::telemetry::http::Limits;
use crate::telemetry::past::Window;

/// What is shown at the present moment, with the charts' columns of a window.
pub type Source = Arc<dyn Fn(Window) -> Scene + Send + Sync>;

/// The present state of this process.
pub fn of_daemon(telemetry: Telemetry, limits: Limits) -> Source {
    Arc::new(move |window| Scene {
        live: telemetry.live(),
        columns: telemetry.columns(window),
        window,
        limits,
        now: jiff::Timestamp::now(),
    })
}

/// What all requests share.
#[derive(Clone)]
struct Page {
    source: Source,
    /// A permit for each page that is followed.
    followers: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// The page and its events. At most `followers` pages are followed at a time; `shutdown` ends their streams.
pub fn router(source: Source, followers: usize, shutdown: CancellationToken) -> Router {
    let followers = Arc::new(Semaphore::new(followers));
    let page = Page { source, followers, shutdown };
    Router::new().route("/", get(show)).route("/events", get(events::follow)).with_state(page)
}

async fn show(Shared(page): Shared<Page>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let choice = Choice::of(&asked, &headers);
    let html = document::html(&(page.source)(choice.window), choice);
    let constant = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept-Language, Cookie"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_LANGUAGE, choice.language.code()),
    ];
    let mut response =
        (constant, [(header::CONTENT_SECURITY_POLICY, document::POLICY.as_str())], html).into_response();
    if let Some(cookie) = asked.cookie() {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
