//! `leadbridge status --watch` on a terminal: a full screen that is asked for about once a second, and never waits for
//! an answer.

mod charts;
mod copied;
mod facts;
mod figures;
mod look;
mod model;
#[cfg(test)]
mod scenes;
mod screen;
#[cfg(test)]
mod screen_tests;
mod steps;
mod terminal;

use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures_util::StreamExt as _;
use look::Appearance;
use model::{Maxima, Model, Moment, ReadyAnswer, Round};
use signal_hook::consts::{SIGCONT, SIGTSTP};
use terminal::FullScreen;
pub use terminal::is_usable;
use tokio::signal::unix::{Signal, SignalKind};
use tokio::time::{Instant, sleep_until};

use super::gather::{self, WhoAnswered};
use crate::cli;
use crate::commands::signals::{Signals, handler};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::language::Language;
use crate::telemetry::http;

/// Pause between an answer and the next question.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two frames.
const FRAME: Duration = Duration::from_secs(1);
/// Time between two frames while the window changes its size.
const RESIZED: Duration = Duration::from_millis(200);
/// Time after which a round of questions is given up, so that a connection that hangs does not end the asking.
const ROUND_LIMIT: Duration = Duration::from_secs(15);
/// The daemon is on this machine.
const READY_LIMIT: Duration = Duration::from_secs(2);

/// What follows from a key, a signal, or another size.
enum Afterwards {
    Leave,
    Draw,
    /// Soon, because more changes of the size follow at once.
    DrawSoon,
    Nothing,
}

/// Shows the screen until a key or a signal ends it. The exit code is 0, because a person has seen the state.
///
/// # Errors
/// The terminal breaks. Facts that cannot be determined are part of the screen.
pub async fn run(config: &Config, arguments: &cli::Status, language: Language) -> Result<Exit> {
    let maxima = Maxima { lag_bytes: arguments.max_lag_bytes, lag_seconds: arguments.max_lag_seconds };
    let begun = std::time::Instant::now();
    let now = || Moment { elapsed: begun.elapsed(), clock: jiff::Timestamp::now() };
    let mut model = Model::new(maxima, now());
    let look = Appearance::of(|name| std::env::var(name).ok(), language);
    let mut signals = ScreenSignals::listen()?;
    let mut screen = FullScreen::take()?;
    let mut keys = EventStream::new();
    let mut asking = Box::pin(ask(config));
    let (mut ask_at, mut is_asking) = (Instant::now(), true);
    let (mut drawn_at, mut draw_at) = (Instant::now(), Instant::now());
    loop {
        let mut next = Afterwards::Nothing;
        // Each branch may be dropped: keys and signals stay in their queues, and a question that is polled later goes on.
        tokio::select! {
            round = &mut asking, if is_asking => {
                is_asking = false;
                ask_at = Instant::now() + PAUSE;
                if model.newest().is_none() {
                    next = Afterwards::Draw;
                }
                if let Some(round) = round {
                    model.take(round, now());
                }
            }
            () = sleep_until(ask_at), if !is_asking => {
                asking = Box::pin(ask(config));
                is_asking = true;
            }
            () = sleep_until(draw_at) => {
                model.tick(now());
                screen.draw(&model, look)?;
                drawn_at = Instant::now();
                draw_at = drawn_at + FRAME;
            }
            event = keys.next() => next = match event.transpose().map_err(no_keys)? {
                Some(event) => after(&event, &mut screen)?,
                None => Afterwards::Leave,
            },
            signal = signals.next() => next = after_signal(&signal, &mut screen)?,
        }
        match next {
            Afterwards::Leave => return Ok(Exit::Ok),
            Afterwards::Draw => draw_at = Instant::now(),
            Afterwards::DrawSoon => draw_at = draw_at.min(drawn_at + RESIZED),
            Afterwards::Nothing => {}
        }
    }
}

/// One round of questions; `None` when the answers take too long. Dropping it leaves nothing on the databases, because
/// the questions only read.
async fn ask(config: &Config) -> Option<Round> {
    tokio::time::timeout(ROUND_LIMIT, gather_round(config)).await.ok()
}

async fn gather_round(config: &Config) -> Round {
    let ready = async {
        let (code, body) = http::get_page(config.http_listen?, "/readyz", READY_LIMIT).await?;
        Some(if code == 200 { ReadyAnswer::Ready } else { ReadyAnswer::NotReady(body.trim().to_owned()) })
    };
    let (gathered, readiness) = tokio::join!(gather::gather(config), ready);
    let answered: WhoAnswered = gathered.answered;
    Round {
        live: gathered.live,
        answered,
        // Another installation's daemon may answer at the address.
        readiness: readiness.filter(|_| answered.daemon),
        errors: gathered.refusal.iter().chain(&gathered.unreachable).map(ToString::to_string).collect(),
    }
}

/// Does what an event asks of the screen.
fn after(event: &Event, screen: &mut FullScreen) -> Result<Afterwards> {
    let key = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        Event::Resize(..) => return Ok(Afterwards::DrawSoon),
        _ => return Ok(Afterwards::Nothing),
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') if control => Ok(Afterwards::Leave),
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Ok(Afterwards::Leave),
        KeyCode::Char('z') if control => screen.suspend().map(|()| Afterwards::Draw),
        KeyCode::Char('l') if control => screen.forget().map(|()| Afterwards::Draw),
        _ => Ok(Afterwards::Nothing),
    }
}

/// Does what a signal asks of the screen.
fn after_signal(signal: &ScreenSignal, screen: &mut FullScreen) -> Result<Afterwards> {
    match signal {
        ScreenSignal::Now => Ok(Afterwards::Leave),
        ScreenSignal::Suspended => screen.suspend().map(|()| Afterwards::Draw),
        ScreenSignal::Continued => screen.take_again().map(|()| Afterwards::Draw),
    }
}

fn no_keys(error: std::io::Error) -> Error {
    Error::internal(format!("keys cannot be read from the terminal: {error}"))
}

/// Signals that concern the screen.
struct ScreenSignals {
    signals: Signals,
    hangup: Signal,
    stop: Signal,
    continued: Signal,
}

enum ScreenSignal {
    Now,
    Suspended,
    Continued,
}

impl ScreenSignals {
    fn listen() -> Result<Self> {
        Ok(ScreenSignals {
            signals: Signals::listen()?,
            hangup: handler(SignalKind::hangup())?,
            stop: handler(SignalKind::from_raw(SIGTSTP))?,
            continued: handler(SignalKind::from_raw(SIGCONT))?,
        })
    }

    /// Cancellation-safe: a signal that has come is kept.
    async fn next(&mut self) -> ScreenSignal {
        tokio::select! {
            _ = self.signals.next() => ScreenSignal::Now,
            _ = self.hangup.recv() => ScreenSignal::Now,
            _ = self.stop.recv() => ScreenSignal::Suspended,
            _ = self.continued.recv() => ScreenSignal::Continued,
        }
    }
}
