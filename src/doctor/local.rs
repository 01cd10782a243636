//! This machine: the state directory and the HTTP address.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Outcome, alerts};
use crate::checkpoint::LocalStore;
use crate::config::Config;
use crate::disk;
use crate::error::Kind;
use crate::language::message;
use crate::report::{Findings, Level, Verdict};
use crate::telemetry::{Live, http, http_server};

/// The daemon is on this machine: a daemon that takes longer is not going to answer.
const ANSWER: Duration = Duration::from_secs(2);

pub async fn examine(findings: &mut Findings, config: &Config) {
    findings.add("state_dir", None, Ok(state_dir(&config.state_dir)));
    findings.add("http_listen", None, http_listen(config).await);
    findings.add("alerts", None, Ok(alerts::channels(&config.alert).await));
}

/// The daemon must be able to write to the directory, and must be the only daemon there. The check creates
/// and removes a file.
fn state_dir(directory: &Path) -> Verdict {
    let place = &directory.display().to_string();
    if !directory.exists() {
        return Verdict::ok(message!("doctor-local-state-dir-absent", place = place));
    }
    if LocalStore::is_held(directory) {
        return Verdict::ok(message!("doctor-local-state-dir-in-use", place = place));
    }
    let probe = directory.join(format!(".doctor.{}", std::process::id()));
    let written = disk::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    match written {
        Ok(()) if disk::is_open_to_others(directory).unwrap_or(false) => Verdict::warning(
            message!("doctor-local-state-dir-open", place = place),
            message!("doctor-local-state-dir-open-remedy", place = place),
        ),
        Ok(()) => Verdict::ok(message!("doctor-local-state-dir", place = place)),
        Err(error) => Verdict::error(
            message!("doctor-local-state-dir-closed", place = place, error = error.to_string()),
            message!("doctor-local-state-dir-closed-remedy"),
        ),
    }
}

async fn http_listen(config: &Config) -> Outcome {
    let Some(address) = config.http_listen else { return Ok(Verdict::ok(message!("doctor-local-http-off"))) };
    match tokio::net::TcpListener::bind(address).await {
        Ok(_) => Ok(Verdict::ok(message!("doctor-local-http-free", address = address))),
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && http::ask::<Live>(address, ANSWER).await.is_some() =>
        {
            Ok(Verdict::ok(message!("doctor-local-http-daemon", address = address)))
        }
        Err(_) => match http_server::bind(address).await {
            Ok(_) => Ok(Verdict::ok(message!("doctor-local-http-bindable", address = address))),
            // The daemon replicates without HTTP, and tries the address again.
            Err(error) if error.kind() == Kind::Transient => {
                Ok(Verdict { level: Level::Warning, ..Verdict::from(&error) })
            }
            Err(error) => Err(error),
        },
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
        assert!(state_dir(directory.path()).message.to_string().contains("running daemon"));
        drop(store);
        // A child process of another test shares the lock of every file that was open at the fork, until exec
        // closes the file.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while state_dir(directory.path()).message.to_string().contains("running daemon") {
            assert!(std::time::Instant::now() < deadline, "the lock outlives its store");
            std::thread::yield_now();
        }
        assert_eq!(state_dir(Path::new("/proc/self")).level, Level::Error);
    }
}
