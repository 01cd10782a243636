//! `leadbridge demo`: the whole story on two throw-away servers, told on one screen.
//!
//! `setup` starts servers, leads and writers; `daemon` is `leadbridge run` as a process of its own; `story`,
//! `lag`, `crash`, `ownership` and `noise` contain the steps; `screen` prints to the terminal. Nothing
//! outlives the demo: servers, daemon and directories are removed with the demo, also when the demo is
//! killed.

mod crash;
mod daemon;
mod figures;
mod home;
mod lag;
mod noise;
mod ownership;
mod screen;
mod setup;
mod story;
mod switch;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, Result};
use crate::exit::Exit;
use home::Home;
use screen::Screen;

/// Tells the story. `Ok` only if every check held, `No` when a check failed or the demo was interrupted.
///
/// # Errors
/// The error of the failed step, after the last lines of the daemon's log have been shown.
pub async fn run() -> Result<Exit> {
    let listen =
        |kind| signal(kind).map_err(|error| Error::internal(format!("signals cannot be heard: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut screen = Screen::new();
    let home = Home::create()?;
    // A signal drops the story wherever the story is, and with it the servers, the daemon and the
    // directories.
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
    told.transpose().map(|_| Exit::CheckFailed)
}
