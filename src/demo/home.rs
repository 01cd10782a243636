//! The demo's private directory: configuration, state and log of the demo's daemons.

use std::fs::File;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::language::Message;
use crate::throwaway::GuardedDir;

/// Lines of the daemon's log that are shown when a step fails.
const TAIL: usize = 12;

/// Removed when dropped, together with the daemon that still runs when the demo was killed.
#[derive(Debug)]
pub struct Home(GuardedDir);

impl Home {
    /// # Errors
    /// Refused when the temporary directory cannot be written to.
    pub fn create() -> Result<Self> {
        GuardedDir::for_daemon().map(Home)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.0.path().join("state")
    }

    pub fn config(&self) -> PathBuf {
        self.0.path().join("leadbridge.toml")
    }

    /// Writes the configuration, readable only to this user, because it holds the password of the throw-away
    /// servers.
    pub fn write_config(&self, text: &str) -> Result<()> {
        self.0.write(&self.config(), text)
    }

    /// Writes the pid of the running daemon for the directory's watchdog.
    pub fn write_pid(&self, pid: u32) -> Result<()> {
        self.0.write_pid(pid)
    }

    /// The daemon's log, opened for appending, because all daemons of one demo share the log.
    pub fn open_log(&self) -> Result<File> {
        let path = self.log();
        File::options().create(true).append(true).open(&path).map_err(|error| {
            Error::refused(format!("opening {}: {error}", path.display()))
                .remedy(Message::verbatim("check the temporary directory's free space and permissions"))
        })
    }

    /// The log's last lines; empty when no daemon has run.
    pub fn log_tail(&self) -> Vec<String> {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(TAIL)..].to_vec()
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("daemon.log")
    }
}
