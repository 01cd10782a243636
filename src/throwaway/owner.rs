//! The user that the servers run as, because PostgreSQL refuses to run as root.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::error::{Error, Result};
use crate::language::Message;

/// The user to switch to; `None` when this process is not root and servers run as the process's own user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner(Option<(u32, u32)>);

impl Owner {
    pub fn this_user() -> Self {
        Owner(None)
    }

    /// `postgres` when there is such a user, else `nobody`.
    pub fn choose() -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Owner::this_user());
        }
        for name in ["postgres", "nobody"] {
            if let Ok(Some(user)) = User::from_name(name) {
                return Ok(Owner(Some((user.uid.as_raw(), user.gid.as_raw()))));
            }
        }
        Err(Error::refused("PostgreSQL does not run as root, and there is no user postgres or nobody")
            .remedy(Message::verbatim("run this as an ordinary user")))
    }

    /// A command that runs as this user, in `dir`, in a process group of its own. So an interrupt typed at
    /// the terminal reaches only leadbridge, and leadbridge ends the servers in an orderly way.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> std::process::Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = std::process::Command::new(program);
        command.current_dir(dir).env("HOME", dir).env("LC_ALL", "C").process_group(0);
        if let Some((uid, gid)) = self.0 {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// A new, private directory under the system's temporary directory.
    pub fn create_dir(self) -> Result<PathBuf> {
        let name = format!("leadbridge-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let dir = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&dir).map_err(|e| io("creating", &dir, &e))?;
        self.own(&dir)?;
        Ok(dir)
    }

    /// Writes a file that only the servers' user can read.
    pub fn write(self, path: &Path, content: &[u8]) -> Result<()> {
        let failed = |e: &std::io::Error| io("writing", path, e);
        fs::write(path, content).map_err(|e| failed(&e))?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|e| failed(&e))?;
        self.own(path)
    }

    fn own(self, path: &Path) -> Result<()> {
        match self.0 {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)).map_err(|e| io("giving away", path, &e)),
            None => Ok(()),
        }
    }
}

pub(super) fn io(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::refused(format!("{doing} {}: {error}", path.display())).remedy(Message::verbatim(
        "check the disk's free space and the permissions of that directory, or set TMPDIR to another",
    ))
}
