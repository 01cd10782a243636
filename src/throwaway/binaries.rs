//! Finding a PostgreSQL installation.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::error::{Error, Result};
use crate::language::Message;

/// The oldest major version that leadbridge supports.
const OLDEST: u32 = 15;

/// A directory with `initdb` and `postgres` of a supported version.
#[derive(Clone, Debug)]
pub struct Binaries {
    dir: PathBuf,
    major: u32,
}

impl Binaries {
    /// Looks in `$PG_BIN`, then in the directory given by `pg_config`, then in the usual places, newest
    /// version first.
    ///
    /// # Errors
    /// Refused when there is no installation, or `$PG_BIN` names a directory without a supported
    /// installation.
    pub async fn find() -> Result<Self> {
        if let Some(dir) = std::env::var_os("PG_BIN") {
            return Self::at(Path::new(&dir)).await.ok_or_else(|| {
                Error::refused(format!("PG_BIN={} holds no PostgreSQL {OLDEST} or later", dir.display()))
                    .remedy(Message::verbatim(
                        "let PG_BIN name the directory that holds `postgres` and `initdb`",
                    ))
            });
        }
        for dir in candidates().await {
            if let Some(found) = Self::at(&dir).await {
                return Ok(found);
            }
        }
        Err(Error::refused(format!("no PostgreSQL server {OLDEST} or later on this machine")).remedy(
            Message::verbatim(
                "install one (Debian and Ubuntu: apt-get install postgresql), or set PG_BIN to the directory \
             that holds `postgres` and `initdb`",
            ),
        ))
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The major version, such as 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    async fn at(dir: &Path) -> Option<Self> {
        let postgres = dir.join("postgres");
        if !dir.join("initdb").is_file() || !postgres.is_file() {
            return None;
        }
        let output = Command::new(postgres).arg("--version").output().await.ok()?;
        let major = parse_major(std::str::from_utf8(&output.stdout).ok()?)?;
        (major >= OLDEST).then(|| Binaries { dir: dir.to_owned(), major })
    }
}

async fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output().await {
        let dir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        found.extend((!dir.is_empty()).then(|| PathBuf::from(dir)));
    }
    for (parent, suffix) in [
        ("/usr/lib/postgresql", "bin"), // Debian, Ubuntu
        ("/usr/libexec", "bin"),        // Alpine: /usr/libexec/postgresql16
        ("/usr", "bin"),                // PGDG on Fedora and its relatives: /usr/pgsql-16
        ("/opt/homebrew/opt", "bin"),   // macOS
        ("/usr/local/opt", "bin"),
    ] {
        found.extend(versions_in(Path::new(parent)).into_iter().map(|dir| dir.join(suffix)));
    }
    found.extend(
        ["/usr/libexec/postgresql", "/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin"].map(PathBuf::from),
    );
    // Alpine keeps the programs in the versioned directory itself.
    found.extend(versions_in(Path::new("/usr/libexec")));
    found
}

/// Directories named by a version (`16`, `postgresql16`, `pgsql-16`, `postgresql@16`), newest first.
fn versions_in(parent: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let digits = name.to_str()?.trim_start_matches(|c: char| !c.is_ascii_digit());
            Some((digits.parse().ok()?, entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// The major version in `postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`.
fn parse_major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_major;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("bash 5.2"), None);
    }
}
