//! A data directory to be copied for each cluster: a copy takes a tenth of the time of an `initdb`.

use std::path::{Path, PathBuf};

use super::binaries::Binaries;
use super::owner::{Owner, io};
use super::watchdog::{GuardedDir, SERVER};
use crate::error::{Error, Result};
use crate::language::Message;

/// A data directory that no server runs on. Removed when dropped, and when the process ends.
#[derive(Debug)]
pub struct Template {
    pub(super) binaries: Binaries,
    pub(super) owner: Owner,
    /// Password of the superuser `postgres`.
    pub(super) password: String,
    dir: GuardedDir,
}

impl Template {
    /// Creates a template with `initdb`. Takes a second or two.
    ///
    /// # Errors
    /// Refused when there is no PostgreSQL, or `initdb` fails.
    pub async fn create() -> Result<Self> {
        let binaries = Binaries::find().await?;
        let owner = Owner::choose()?;
        let dir = GuardedDir::create(owner, SERVER)?;
        // Hexadecimal digits need no escaping in a URL.
        let password = format!("{:032x}", rand::random::<u128>());
        owner.write(&dir.path().join("password"), password.as_bytes())?;
        initdb(&binaries, owner, dir.path()).await?;
        Ok(Template { binaries, owner, password, dir })
    }

    /// A template with this template's programs, owner and password, and with the data directory that a
    /// stopped cluster leaves in `dir`.
    pub(super) fn with_data_of(&self, dir: GuardedDir) -> Self {
        Template { binaries: self.binaries.clone(), owner: self.owner, password: self.password.clone(), dir }
    }

    /// Copies the data directory to `data` in `dir`.
    pub(super) async fn copy_to(&self, dir: &Path) -> Result<()> {
        let mut command = self.owner.command("cp", dir);
        command.arg("-Rp").arg(self.dir.path().join("data")).arg(dir.join("data"));
        run(command, "copying the template").await
    }
}

async fn initdb(binaries: &Binaries, owner: Owner, dir: &Path) -> Result<()> {
    let mut command = owner.command(binaries.program("initdb"), dir);
    command
        .args(["--pgdata", "data", "--username=postgres", "--pwfile=password", "--auth=scram-sha-256"])
        .args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]);
    run(command, "initdb").await
}

/// Runs a command to its end; on failure the error holds the command's own words.
async fn run(command: std::process::Command, step: &str) -> Result<()> {
    let program = PathBuf::from(command.get_program());
    let output = tokio::process::Command::from(command)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .map_err(|e| io("running", &program, &e))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::refused(format!("{step} failed: {}", words.trim())).remedy(Message::verbatim(
        "check that the temporary directory and PostgreSQL's programs are open to the user it runs as",
    )))
}
