//! A private directory with a shell process that cleans up when leadbridge cannot.
//!
//! The shell reads from a pipe whose other end only leadbridge holds. However leadbridge ends, SIGKILL
//! included, the kernel closes the pipe. The shell then ends the directory's process, if one runs, and removes
//! the directory. (PR_SET_PDEATHSIG is no alternative: it fires when the *thread* that started the process
//! ends.)

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::owner::{Owner, io};
use crate::error::Result;

/// Waits for the end of the input. `$0` is the directory; `$1` the file whose first line is the pid, relative
/// to the directory; `$2` the name of the process's program; `$3` the signal. The script runs as the
/// directory's owner, so that it can signal and remove nothing else. It checks the process's name, in case the
/// pid has been given to another process.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r _
pid=$(head -n 1 "$0/$1" 2>/dev/null)
if [ -n "$pid" ]; then
    for _ in $(seq 100); do
        case $(cat "/proc/$pid/comm" 2>/dev/null || ps -o comm= -p "$pid" 2>/dev/null) in *"$2"*) ;; *) break ;; esac
        kill "-$3" "$pid" 2>/dev/null || break
        sleep 0.05
    done
fi
cd / && rm -rf "$0"
"#;

/// The process that is ended before the directory is removed: file of the pid, program, signal.
pub(super) type Watched = [&'static str; 3];
pub(super) const SERVER: Watched = ["data/postmaster.pid", "postgres", "QUIT"];
const DAEMON: Watched = ["pid", "leadbridge", "KILL"];

/// A directory that is open to its owner only. Removed when dropped, and when this process ends.
#[derive(Debug)]
pub struct GuardedDir {
    path: PathBuf,
    watchdog: Child,
}

impl GuardedDir {
    /// A directory of this process's user. A daemon whose pid is given to [`GuardedDir::write_pid`] does not
    /// outlive this process: a daemon that has once reached its databases tries again without limit.
    ///
    /// # Errors
    /// Refused when the temporary directory cannot be written to.
    pub fn for_daemon() -> Result<Self> {
        Self::create(Owner::this_user(), DAEMON)
    }

    pub(super) fn create(owner: Owner, watched: Watched) -> Result<Self> {
        let path = owner.create_dir()?;
        let watchdog = owner
            .command("/bin/sh", &path)
            .args(["-c", SCRIPT])
            .arg(&path)
            .args(watched)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| io("starting a watchdog for", &path, &e))?;
        Ok(GuardedDir { path, watchdog })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the pid of the running daemon for the watchdog.
    pub fn write_pid(&self, pid: u32) -> Result<()> {
        self.write(&self.path.join("pid"), &pid.to_string())
    }

    /// Writes a file of the directory that only this process's user can read.
    pub fn write(&self, file: &Path, text: &str) -> Result<()> {
        Owner::this_user().write(file, text.as_bytes())
    }
}

/// Lets the watchdog clean up, and waits for the watchdog's end.
impl Drop for GuardedDir {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // An error means that the watchdog is gone already, and a destructor has nobody to tell.
        let _ = self.watchdog.wait();
    }
}
