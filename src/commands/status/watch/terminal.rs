//! The terminal: raw mode and a screen of its own, and everything as before at the end, however the end comes.

use std::io::{self, IsTerminal as _, Stdout};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use nix::sys::signal::{Signal, raise};
use nix::unistd::{getpid, getsid};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::look::Appearance;
use super::model::Model;
use super::screen;
use crate::error::{Error, Result};
use crate::telemetry::logging::{self, HeldLines};

/// Whether a person looks at a terminal that can show a screen.
pub fn is_usable() -> bool {
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    is_terminal && std::env::var("TERM").is_ok_and(|kind| !kind.is_empty() && kind != "dumb")
}

/// The screen. Dropping the value gives the terminal back.
pub struct FullScreen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// Whether the terminal is ours at the moment; shared with the panic hook.
    is_ours: Arc<AtomicBool>,
    /// Lines of the log would destroy the screen, so they wait for its end.
    log: Option<HeldLines>,
}

impl FullScreen {
    /// Takes the terminal. From now on a panic gives it back before its message is written.
    ///
    /// # Errors
    /// `Internal` when the terminal refuses.
    pub fn take() -> Result<Self> {
        let is_ours = Arc::new(AtomicBool::new(false));
        let hook = panic::take_hook();
        let shared = Arc::clone(&is_ours);
        panic::set_hook(Box::new(move |panic| {
            give_back(&shared);
            logging::let_go();
            hook(panic);
        }));
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(broken)?;
        let mut screen = FullScreen { terminal, is_ours, log: None };
        screen.enter()?;
        Ok(screen)
    }

    fn enter(&mut self) -> Result<()> {
        self.log = io::stderr().is_terminal().then(logging::hold);
        // Set first, so that a terminal that was taken in part is given back.
        self.is_ours.store(true, Ordering::Relaxed);
        enable_raw_mode().map_err(broken)?;
        execute!(io::stdout(), EnterAlternateScreen, Hide).map_err(broken)
    }

    fn leave(&mut self) {
        give_back(&self.is_ours);
        self.log = None;
    }

    /// Draws a frame: only what differs from the last one is sent.
    ///
    /// # Errors
    /// `Internal` when the terminal is gone.
    pub fn draw(&mut self, model: &Model, look: Appearance) -> Result<()> {
        let draw =
            |frame: &mut ratatui::Frame<'_>| screen::draw(model, look, frame.area(), frame.buffer_mut());
        self.terminal.draw(draw).map(drop).map_err(broken)
    }

    /// The next frame is sent whole, because another program may have written to the terminal.
    ///
    /// # Errors
    /// `Internal` when the terminal is gone.
    pub fn forget(&mut self) -> Result<()> {
        // Not `Terminal::clear`, which asks the terminal for the cursor's place: the stream of keys would take the answer.
        execute!(io::stdout(), Clear(ClearType::All)).map_err(broken)?;
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(broken)?;
        Ok(())
    }

    /// Takes the terminal again after another program has had it.
    ///
    /// # Errors
    /// `Internal` when the terminal is gone.
    pub fn take_again(&mut self) -> Result<()> {
        self.leave();
        self.enter()?;
        self.forget()
    }

    /// Gives the terminal to the shell, and stops until the shell continues the process. The leader of a session has no
    /// shell that could continue it, and goes on.
    ///
    /// # Errors
    /// `Internal` when the terminal is gone afterwards.
    pub fn suspend(&mut self) -> Result<()> {
        if getsid(None).is_ok_and(|leader| leader == getpid()) {
            return Ok(());
        }
        self.leave();
        raise(Signal::SIGSTOP).map_err(|error| broken(error.into()))?;
        self.enter()?;
        self.forget()
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Once for each time that the terminal was taken. Nobody can be told of a terminal that is gone.
fn give_back(is_ours: &AtomicBool) {
    if is_ours.swap(false, Ordering::Relaxed) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

fn broken(error: io::Error) -> Error {
    Error::internal(format!("the terminal cannot be used: {error}"))
}
