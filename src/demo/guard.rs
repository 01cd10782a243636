//! The demo's private directory, and a guard process that ends the daemon and removes the directory when the
//! demo cannot.
//!
//! A daemon that has once reached its databases tries again without limit, so the daemon must not outlive a
//! demo that was killed. Like the servers' watchdogs, the guard is a shell that waits for the end of a pipe
//! held only by the demo.

use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::{Error, Result};

/// `$0` is the directory. The script checks the process's name, in case the pid has been given to another
/// process.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r _
pid=$(cat "$0/pid" 2>/dev/null)
if [ -n "$pid" ]; then
    case $(cat "/proc/$pid/comm" 2>/dev/null || ps -o comm= -p "$pid" 2>/dev/null) in
        *leadbridge*) kill -KILL "$pid" 2>/dev/null ;;
    esac
fi
cd / && rm -rf "$0"
"#;

/// Lines of the daemon's log that are shown when a step fails.
const TAIL: usize = 12;

/// A private directory for configuration, state and log. Removed when dropped.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    guard: Child,
}

impl Home {
    /// # Errors
    /// Refused when the temporary directory cannot be written to.
    pub fn create() -> Result<Self> {
        let name = format!("leadbridge-demo-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let dir = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&dir).map_err(|error| io("creating", &dir, &error))?;
        let guard = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| io("starting a guard for", &dir, &error))?;
        Ok(Home { dir, guard })
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("leadbridge.toml")
    }

    /// Writes the configuration, readable only to this user, because it holds the password of the throw-away
    /// servers.
    pub fn write_config(&self, text: &str) -> Result<()> {
        let path = self.config();
        let written = std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o600)));
        written.map_err(|error| io("writing", &path, &error))
    }

    /// Tells the guard the pid of the running daemon.
    pub fn write_pid(&self, pid: u32) -> Result<()> {
        let path = self.dir.join("pid");
        std::fs::write(&path, pid.to_string()).map_err(|error| io("writing", &path, &error))
    }

    /// The daemon's log, opened for appending, because all daemons of one demo share the log.
    pub fn open_log(&self) -> Result<File> {
        let path = self.log();
        File::options().create(true).append(true).open(&path).map_err(|error| io("opening", &path, &error))
    }

    /// The log's last lines; empty when no daemon has run.
    pub fn log_tail(&self) -> Vec<String> {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(TAIL)..].to_vec()
    }

    fn log(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }
}

/// Lets the guard clean up, and waits for the guard's end.
impl Drop for Home {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // An error means that the guard is gone already, and a destructor has nobody to tell.
        let _ = self.guard.wait();
    }
}

fn io(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::refused(format!("{doing} {}: {error}", path.display()))
        .remedy("check the temporary directory's free space and permissions, or set TMPDIR to another")
}
