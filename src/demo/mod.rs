//! `leadbridge demo`: the whole story on two throw-away servers, told on one screen.
//!
//! `stage` sets up servers, leads and writers; `daemon` is `leadbridge run` as a process of its own; the steps
//! stand in `story`, `lag`, `crash`, `ownership` and `noise`; `screen` is what the newcomer sees.
//! Nothing outlives the demo: servers, daemon and directories go with it, also when it is killed.

mod crash;
mod daemon;
mod figures;
mod guard;
mod lag;
mod noise;
mod ownership;
mod screen;
mod stage;
mod story;
mod switch;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, Result};
use crate::exit::Exit;
use guard::Home;
use screen::Screen;

/// Tells the story. `Ok` only if everything held, `No` when something did not or when it was interrupted.
///
/// # Errors
/// What made a step fail, after the last lines of the daemon's log have been shown.
pub async fn run() -> Result<Exit> {
    let listen =
        |kind| signal(kind).map_err(|error| Error::internal(format!("signals cannot be heard: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut screen = Screen::new();
    let home = Home::create()?;
    // On a signal the story is dropped where it stands, and everything in it goes.
    let told = tokio::select! {
        told = story::tell(&mut screen, &home) => Some(told),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    match told {
        Some(Ok(true)) => return Ok(Exit::Ok),
        Some(_) => screen.log_tail(&home.log_tail()),
        None => screen.end("Interrupted. The servers, the daemon and their directories are gone."),
    }
    told.transpose().map(|_| Exit::No)
}
