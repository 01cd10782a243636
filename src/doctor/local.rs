//! This machine: the state directory and the HTTP address.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Outcome, alerts};
use crate::checkpoint::LocalStore;
use crate::config::Config;
use crate::disk;
use crate::error::Kind;
use crate::report::{Findings, Verdict};
use crate::telemetry::{Live, http, http_access, http_server};

/// The daemon is on this machine: a daemon that takes longer is not going to answer.
const ANSWER: Duration = Duration::from_secs(2);

pub async fn examine(findings: &mut Findings, config: &Config) {
    findings.add("state_dir", None, Ok(state_dir(&config.state_dir)));
    findings.add("http_listen", None, http_listen(config).await);
    findings.add("http_token", None, Ok(http_token(config).await));
    findings.add("alerts", None, Ok(alerts::channels(&config.alert).await));
}

/// The daemon must be able to write to the directory, and must be the only daemon there. The check creates
/// and removes a file.
fn state_dir(directory: &Path) -> Verdict {
    let place = directory.display();
    if !directory.exists() {
        return Verdict::ok(format!(
            "the state directory {place} does not exist yet; `leadbridge run` creates it"
        ));
    }
    if LocalStore::is_held(directory) {
        return Verdict::ok(format!("the state directory {place} is in use by a running daemon"));
    }
    let probe = directory.join(format!(".doctor.{}", std::process::id()));
    let written = disk::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    match written {
        Ok(()) if disk::is_open_to_others(directory).unwrap_or(false) => Verdict::warning(
            format!("the state directory {place} is open to other users of this machine"),
            format!(
                "chmod 0700 {place}; a directory that others need as well should not be the state directory"
            ),
        ),
        Ok(()) => Verdict::ok(format!("the state directory {place} can be written to")),
        Err(error) => Verdict::error(
            format!("the state directory {place} cannot be written to: {error}"),
            "give it to the daemon's user, or set LEADBRIDGE_STATE_DIR; is this command run as that user?",
        ),
    }
}

async fn http_listen(config: &Config) -> Outcome {
    let Some(address) = config.http_listen else { return Ok(Verdict::ok("HTTP is switched off")) };
    match tokio::net::TcpListener::bind(address).await {
        Ok(_) => Ok(Verdict::ok(format!("the HTTP address {address} is free"))),
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                // A daemon that refuses a request without its token is a daemon, too.
                && !matches!(http::ask::<Live>(address, None, ANSWER).await, Ok(None)) =>
        {
            Ok(Verdict::ok(format!("a daemon answers at the HTTP address {address}")))
        }
        Err(_) => match http_server::bind(address).await {
            Ok(_) => Ok(Verdict::ok(format!("the HTTP address {address} is free"))),
            // The daemon replicates without HTTP, and tries the address again.
            Err(error) if error.kind() == Kind::Transient => {
                Ok(Verdict::warning(error.message(), error.remedy_text().unwrap_or_default()))
            }
            Err(error) => Err(error),
        },
    }
}

/// Who can read status, metrics and the status page.
async fn http_token(config: &Config) -> Verdict {
    let Some(address) = config.http_listen else { return Verdict::ok("HTTP is switched off") };
    let Some(file) = &config.http_token_file else {
        return match address.ip().to_canonical().is_loopback() {
            true => Verdict::ok("status, metrics and page are read on this machine alone"),
            false => Verdict::warning(
                format!(
                    "{address} answers other machines with /healthz and /readyz alone, because no token is configured"
                ),
                "set http_token_file for readers on other machines (docs/page.md), or listen on 127.0.0.1",
            ),
        };
    };
    match http_access::read_token(file).await {
        Err(why) => Verdict::error(
            format!("status, metrics and page are closed: {why}"),
            "write a token of 16 characters or more into the file, and let the daemon's user read the file; is this \
             command run as that user?",
        ),
        Ok(_) if disk::is_open_to_others(file).unwrap_or(false) => Verdict::warning(
            format!("other users of this machine may read the token in {}", file.display()),
            "chmod 0600 the file, and give it to the daemon's user",
        ),
        Ok(_) => Verdict::ok("status, metrics and page ask their readers for the token of http_token_file"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::report::Level;

    #[test]
    fn a_directory_that_a_daemon_holds_is_told_from_one_that_cannot_be_written() {
        // The mode of a temporary directory follows the umask.
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(state_dir(directory.path()).level, Level::Warning);
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(state_dir(directory.path()).level, Level::Ok);
        let store = crate::checkpoint::LocalStore::open(directory.path()).unwrap();
        assert!(state_dir(directory.path()).message.contains("running daemon"));
        drop(store);
        // A child process of another test shares the lock of every file that was open at the fork, until exec
        // closes the file.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while state_dir(directory.path()).message.contains("running daemon") {
            assert!(std::time::Instant::now() < deadline, "the lock outlives its store");
            std::thread::yield_now();
        }
        assert_eq!(state_dir(Path::new("/proc/self")).level, Level::Error);
    }
}
