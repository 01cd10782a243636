//! The channels of `[alert]`: whether the daemon would tell anybody about trouble.

use std::path::Path;

use crate::alert;
use crate::config::Alert;
use crate::disk;
use crate::language::message;
use crate::report::Verdict;

/// Sends nothing: `leadbridge alert test` does.
pub async fn channels(configured: &Alert) -> Verdict {
    if !configured.has_channel() {
        return Verdict::ok(message!("doctor-alerts-none"));
    }
    let files = alert::files(configured);
    let wrong = alert::unreadable(&files).await;
    if !wrong.is_empty() {
        return Verdict::error(
            message!("doctor-alerts-unreadable", wrong = wrong.join("; ")),
            message!("doctor-alerts-unreadable-remedy"),
        );
    }
    let open: Vec<_> = files.iter().filter(|(_, path)| is_open(path)).map(|(key, _)| *key).collect();
    if !open.is_empty() {
        return Verdict::warning(
            message!("doctor-alerts-open-files", keys = open.join(", ")),
            message!("doctor-alerts-open-files-remedy"),
        );
    }
    match configured.ping_url_file {
        Some(_) => Verdict::ok(message!("doctor-alerts-configured")),
        None => Verdict::ok(message!("doctor-alerts-without-ping")),
    }
}

/// systemd's credentials are readable by root and by the unit alone, whatever their mode says.
fn is_open(path: &Path) -> bool {
    !path.starts_with("/run/credentials") && disk::is_open_to_others(path).unwrap_or(false)
}
