//! This machine: the state directory and the HTTP address.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Outcome, alerts};
use crate::checkpoint::LocalStore;
use crate::config::Config;
use crate::disk;
use crate::error::Kind;
use crate::language::{Message, message};
use crate::report::{Findings, Level, Verdict};
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
                // A daemon that refuses a request without its token is a daemon, too.
                && !matches!(http::ask::<Live>(address, None, ANSWER).await, Ok(None)) =>
        {
            Ok(Verdict::ok(message!("doctor-local-http-daemon", address = address)))
        }
        Err(_) => match http_server::bind(address).await {
            Ok(_) => Ok(Verdict::ok(message!("doctor-local-http-free", address = address))),
            // The daemon replicates without HTTP, and tries the address again.
            Err(error) if error.kind() == Kind::Transient => {
                Ok(Verdict { level: Level::Warning, ..Verdict::from(&error) })
            }
            Err(error) => Err(error),
        },
    }
}

/// Who can read status, metrics and the status page.
async fn http_token(config: &Config) -> Verdict {
    let Some(address) = config.http_listen else { return Verdict::ok(message!("doctor-local-http-off")) };
    let Some(file) = &config.http_token_file else {
        return match address.ip().to_canonical().is_loopback() {
            true => Verdict::ok(message!("doctor-local-http-token-local")),
            false => Verdict::warning(
                message!("doctor-local-http-token-absent", address = address),
                message!("doctor-local-http-token-absent-remedy"),
            ),
        };
    };
    match http_access::read_token(file).await {
        Err(why) => Verdict::error(
            message!("doctor-local-http-token-unreadable", why = Message::verbatim(why)),
            message!("doctor-local-http-token-unreadable-remedy"),
        ),
        Ok(_) if disk::is_open_to_others(file).unwrap_or(false) => Verdict::warning(
            message!("doctor-local-http-token-open", file = file.display().to_string()),
            message!("doctor-local-http-token-open-remedy"),
        ),
        Ok(_) => Verdict::ok(message!("doctor-local-http-token-asked")),
    }
}
