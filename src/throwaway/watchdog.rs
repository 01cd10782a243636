//! A shell process for each directory, which cleans up when leadbridge cannot.
//!
//! The shell reads from a pipe whose other end only leadbridge holds. However leadbridge ends, SIGKILL
//! included, the kernel closes the pipe. The watchdog then stops the directory's server, if a server runs,
//! and removes the directory. (PR_SET_PDEATHSIG is no alternative: it fires when the *thread* that started
//! the server ends.)

use std::path::Path;
use std::process::{Child, Stdio};

use super::owner::{Owner, io};
use crate::error::Result;

/// Waits for the end of the input; `$0` is the directory. The script runs as the servers' user, so that it
/// can signal and remove nothing else. It checks the process's name, in case the pid has been given to
/// another process.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r _
pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    for _ in $(seq 100); do
        case $(cat "/proc/$pid/comm" 2>/dev/null || ps -o comm= -p "$pid" 2>/dev/null) in *postgres*) ;; *) break ;; esac
        kill -QUIT "$pid" 2>/dev/null || break
        sleep 0.05
    done
fi
cd / && rm -rf "$0"
"#;

#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    pub fn watch(owner: Owner, dir: &Path) -> Result<Self> {
        owner
            .command("/bin/sh", dir)
            .arg("-c")
            .arg(SCRIPT)
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Watchdog)
            .map_err(|e| io("starting a watchdog for", dir, &e))
    }
}

/// Lets the watchdog clean up, and waits for the watchdog's end.
impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // An error means that the watchdog is gone already, and a destructor has nobody to tell.
        let _ = self.0.wait();
    }
}
