//! The page's parts as server-sent events: each second those that have changed, and a sign of life.
//!
//! A stream costs its reader's connection and a few hundred bytes: of a part that was sent only the hash is kept, and
//! nothing is made before the reader has taken what was made before.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Page;
use super::choice::{Asked, Choice};
use super::parts::{Scene, parts};
use super::words::Words;
use crate::language::written::clock;

/// Pause between two events.
const PAUSE: Duration = Duration::from_secs(1);

/// What an event tells the script.
#[derive(Debug, Serialize)]
struct Update {
    /// The moment that the parts show, as the page writes times.
    at: String,
    title: String,
    version: &'static str,
    /// HTML by the id of the element that holds it: only what has changed.
    parts: Vec<(&'static str, String)>,
}

pub(super) async fn follow(
    Shared(page): Shared<Page>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let Ok(permit) = page.followers.clone().try_acquire_owned() else {
        let soon = [(header::RETRY_AFTER, "15"), (header::CACHE_CONTROL, "no-store")];
        return (StatusCode::SERVICE_UNAVAILABLE, soon, "as many pages are followed as can be\n")
            .into_response();
    };
    let follower = Follower::new(page, Choice::of(&asked, &headers), permit);
    // A proxy that collects an answer before it passes it on would hold the events back.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (unbuffered, Sse::new(follower.events())).into_response()
}

struct Follower {
    page: Page,
    choice: Choice,
    ticks: Interval,
    /// Hash of what was sent for each part.
    sent: HashMap<&'static str, u64>,
    has_ended: bool,
    /// The place among the pages that are followed, free again when the stream is dropped.
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    fn new(page: Page, choice: Choice, permit: OwnedSemaphorePermit) -> Self {
        let mut ticks = interval(PAUSE);
        // A reader that was slow gets the present state, and nothing twice.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Follower { page, choice, ticks, sent: HashMap::new(), has_ended: false, _permit: permit }
    }

    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures_util::stream::unfold(self, async |mut follower| {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// `None` after the last event.
    async fn next(&mut self) -> Option<Event> {
        if self.has_ended {
            return None;
        }
        // Both branches may be dropped: a tick that was not taken is taken later.
        let name = tokio::select! {
            () = self.page.shutdown.cancelled() => "end",
            _ = self.ticks.tick() => "update",
        };
        self.has_ended = name == "end";
        let scene = (self.page.source)(self.choice.window);
        // Writing an update as JSON cannot fail: its keys are texts.
        Event::default().event(name).json_data(self.update(&scene)).ok()
    }

    fn update(&mut self, scene: &Scene) -> Update {
        let words = Words(self.choice.language);
        let changed = parts(scene, words).into_iter().filter_map(|(id, html)| {
            let html = html.into_string();
            let mut hasher = DefaultHasher::new();
            html.hash(&mut hasher);
            let hash = hasher.finish();
            (self.sent.insert(id, hash) != Some(hash)).then_some((id, html))
        });
        Update {
            parts: changed.collect(),
            at: clock(scene.now),
            title: scene.title(words),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}
