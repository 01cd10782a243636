//! The real binary in an operator's setup: a configuration, a state directory, an environment of its own.

use std::path::Path;
use std::process::{Output, Stdio};

use leadbridge::failpoint::Point;
use tempfile::TempDir;
use tokio::process::Command;

use super::{Daemon, MemoryLimit, World};

/// One installation. Dropping the value deletes the directory.
pub struct Bridge {
    landing: String,
    traffic: String,
    dir: TempDir,
    limit: Option<MemoryLimit>,
}

/// Output and exit code of a command.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bridge {
    /// An installation between the two servers of `world`, as superuser. Attempts follow each other quickly.
    pub fn new(world: &World) -> Self {
        Self::between(&world.landing_url(), &world.traffic_url())
    }

    pub fn between(landing: &str, traffic: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bridge = Bridge { landing: landing.to_owned(), traffic: traffic.to_owned(), dir, limit: None };
        bridge.configured("")
    }

    /// The same installation with more lines in the configuration file.
    ///
    /// Without a `[verify]` among the lines there is no background verification: most tests count sessions, compare what is
    /// on the servers, or break connections, and its sessions and its record would be part of what they see.
    pub fn configured(self, lines: &str) -> Self {
        let off = if lines.contains("[verify]") { "" } else { "[verify]\nevery = \"off\"\n" };
        let text = format!("{lines}\n{off}[retry]\ninitial = \"50ms\"\nmax = \"500ms\"\n");
        std::fs::write(self.dir.path().join("leadbridge.toml"), text).unwrap();
        self
    }

    /// The same installation, every process of which is held to `limit`.
    pub fn limited(self, limit: MemoryLimit) -> Self {
        Bridge { limit: Some(limit), ..self }
    }

    /// Asserts that the limit of [`Bridge::limited`] has held. `peak` is the highest resident memory of the process.
    pub fn assert_limit(&self, what: &str, peak: u64) {
        self.limit.as_ref().expect("the installation has a limit").assert_held(what, peak);
    }

    /// URL of Landing in the installation.
    pub fn landing_url(&self) -> &str {
        &self.landing
    }

    pub fn state_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The binary with only the installation's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_leadbridge");
        let mut command = match &self.limit {
            Some(limit) => limit.command(program),
            None => Command::new(program),
        };
        command
            .env_clear()
            .env("LANDING_DATABASE_URL", &self.landing)
            .env("TRAFFIC_DATABASE_URL", &self.traffic)
            .env("LEADBRIDGE_CONFIG", self.dir.path().join("leadbridge.toml"))
            .env("LEADBRIDGE_STATE_DIR", self.state_dir())
            .env("LEADBRIDGE_HTTP_LISTEN", "off")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .args(arguments);
        command
    }

    /// Like [`Bridge::command`], but the process kills itself at the `pass`-th pass of `point`.
    pub fn dying_command(&self, arguments: &[&str], point: Point, pass: u32) -> Command {
        let mut command = self.command(arguments);
        command.env("LEADBRIDGE_FAILPOINT", format!("{}:{pass}", point.name()));
        command
    }

    /// Like [`Bridge::command`], but the process stands still at `point` until SIGCONT.
    pub fn stopping_command(&self, arguments: &[&str], point: Point) -> Command {
        let mut command = self.command(arguments);
        command.env("LEADBRIDGE_FAILPOINT", format!("{}:1:stop", point.name()));
        command
    }

    /// Runs a command to its end, for a minute at most.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments)).await
    }

    /// `run --until-caught-up`, which must succeed.
    pub async fn catch_up(&self) {
        let said = self.run(&["run", "--until-caught-up"]).await;
        assert_eq!(said.code, 0, "{}", said.err);
    }

    /// Starts the daemon, and returns once the daemon answers over HTTP.
    pub async fn daemon(&self) -> Daemon {
        self.daemon_with(&[]).await
    }

    /// The same with more variables in the environment.
    pub async fn daemon_with(&self, environment: &[(&str, &str)]) -> Daemon {
        Daemon::start(self, environment).await
    }
}

/// Runs `command` to its end, for a minute at most.
pub async fn said(mut command: Command) -> Said {
    let limit = std::time::Duration::from_secs(60);
    let ended = tokio::time::timeout(limit, command.output()).await;
    said_of(ended.expect("the command does not end").unwrap())
}

pub fn said_of(output: Output) -> Said {
    let Output { status, stdout, stderr } = output;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}
