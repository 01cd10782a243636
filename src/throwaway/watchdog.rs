//! What cleans up when we cannot: a tiny shell process for each directory.
//!
//! It holds the reading end of a pipe whose other end only we hold. However we end, SIGKILL included, the kernel
//! closes ours; the watchdog then stops the server of that directory, if one runs, and removes the directory.
//! (PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the server ends.)

use std::path::Path;
use std::process::{Child, Stdio};

use super::owner::{Owner, io};
use crate::error::Result;

/// Waits for the end of its input; `$0` is the directory. It runs as the servers' user, so that it can signal
/// and remove nothing else, and looks at the process's name in case the pid has been given to somebody else.
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

/// Lets it do its work, and waits for that.
impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // An error here means that it is gone already; there is nobody to tell.
        let _ = self.0.wait();
    }
}
