//! The operator's own command, which points the applications to the other database.
//!
//! The command runs in a process group of its own, so that nothing of a failed hook goes on: the group is
//! ended and waited for before the cutover is undone.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use uuid::Uuid;

use super::journal::{CutoverRun, Direction};
use crate::error::{Error, Result};
use crate::language::message;
use crate::report::Verdict;

/// Reason for running the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing happens yet: the hook says whether it could do its work, and changes nothing.
    Check,
    /// The old database refuses writes from now on: the applications must use the other database.
    Switch,
    /// The cutover or rollback was aborted: the applications must use the old database again.
    Abort,
}

impl Event {
    fn as_str(self) -> &'static str {
        match self {
            Event::Check => "check",
            Event::Switch => "switch",
            Event::Abort => "abort",
        }
    }
}

/// Time that a hook is given to end after SIGTERM.
const TERMINATING: Duration = Duration::from_secs(2);
/// Time that a hook's processes are given to end after SIGKILL.
const KILLING: Duration = Duration::from_secs(5);
/// Pause between two looks whether the processes of a hook have ended.
const LOOK: Duration = Duration::from_millis(20);

/// Variables of the command's own environment that a hook gets: what a shell, a locale and a terminal program
/// need, and nothing that may hold a secret.
const PASSED: [&str; 11] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "PWD"];

/// The operator's command, and the names of the environment variables that the operator passes to it.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'c> {
    pub command: &'c str,
    pub environment: &'c [String],
}

impl Hook<'_> {
    /// Whether the hook gets a variable of the command's own environment. All others stay outside: both
    /// databases' URLs are among them.
    fn gets(self, name: &OsStr) -> bool {
        let Some(name) = name.to_str() else { return false };
        PASSED.contains(&name)
            || name.starts_with("LC_")
            || self.environment.iter().any(|asked| asked == name)
    }
}

/// Runs the hook with `sh -c`. Environment variables name the event, the direction and the cutover. Output of
/// the hook goes to stderr. Dropping the future kills every process of the hook.
///
/// # Errors
/// Refused when the command fails, or is ended because `limit` is over. Then none of its processes is left.
pub async fn call(hook: Hook<'_>, event: Event, run: CutoverRun, limit: Duration) -> Result<()> {
    let mut child = tokio::process::Command::new("/bin/sh");
    child
        .args(["-c", hook.command])
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| hook.gets(name)))
        .env("LEADBRIDGE_EVENT", event.as_str())
        .env("LEADBRIDGE_DIRECTION", run.direction.as_str())
        .env("LEADBRIDGE_CUTOVER_ID", run.id.to_string())
        // Our stdout carries one document, the result; and nobody answers a prompt.
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .process_group(0)
        .kill_on_drop(true);
    let failed = |what: String| {
        Err(Error::refused(format!("the hook {what}")).remedy(message!("cutover-remedy-hook-failed")))
    };
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("cannot be run: {error}")),
    };
    let group = Group::of(&child);
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => {
            group.leave();
            Ok(())
        }
        Ok(Ok(status)) => {
            group.end().await;
            failed(format!("failed: {status}"))
        }
        Ok(Err(error)) => {
            group.end().await;
            failed(format!("cannot be waited for: {error}"))
        }
        Err(_) => {
            group.terminate();
            // The shell itself has to be waited for; a process that is not waited for keeps its group.
            let _ = tokio::time::timeout(TERMINATING, child.wait()).await;
            group.end().await;
            failed(format!("did not end within {:.1} s", limit.as_secs_f64()))
        }
    }
}

/// Time for a hook to say whether it could do its work.
const CHECKING: Duration = Duration::from_secs(30);

/// Asks the hook whether it could do its work.
///
/// # Errors
/// The errors of [`call`].
pub async fn check(hook: Hook<'_>, direction: Direction) -> Result<Verdict> {
    let run = CutoverRun { id: Uuid::nil(), direction };
    call(hook, Event::Check, run, CHECKING).await?;
    Ok(Verdict::ok(message!("cutover-hook")))
}

/// The process group of a hook. Dropping the value kills the group.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Group(pid.map(Pid::from_raw))
    }

    /// Lets the processes that a successful hook has left in the background go on.
    fn leave(mut self) {
        self.0 = None;
    }

    fn signal(&self, signal: Option<Signal>) -> nix::Result<()> {
        self.0.map_or(Err(Errno::ESRCH), |group| killpg(group, signal))
    }

    fn terminate(&self) {
        // A group that is gone needs no signal.
        let _ = self.signal(Some(Signal::SIGTERM));
    }

    /// Kills the group and waits until no process of it is left, for a limited time: a process in an
    /// uninterruptible system call takes no signal.
    async fn end(self) {
        let _ = self.signal(Some(Signal::SIGKILL));
        let started = tokio::time::Instant::now();
        while self.signal(None) != Err(Errno::ESRCH) {
            if started.elapsed() > KILLING {
                tracing::error!("a process of the hook does not end: group {:?}", self.0);
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.signal(Some(Signal::SIGKILL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_gets_what_is_known_to_be_harmless_and_what_was_asked_for() {
        let hook = Hook { command: "true", environment: &["SSH_AUTH_SOCK".to_owned()] };
        for (name, gets) in [
            ("PATH", true),
            ("LC_ALL", true),
            ("SSH_AUTH_SOCK", true),
            ("LANDING_DATABASE_URL", false),
            ("TRAFFIC_DATABASE_URL_FILE", false),
            ("CREDENTIALS_DIRECTORY", false),
            ("LEADBRIDGE_CONFIG", false),
            ("PGPASSWORD", false),
            ("LD_PRELOAD", false),
        ] {
            assert_eq!(hook.gets(OsStr::new(name)), gets, "{name}");
        }
    }
}
