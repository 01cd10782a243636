//! The channels of `[alert]`: whether the daemon would tell anybody about trouble.

use std::path::Path;

use crate::alert;
use crate::config::Alert;
use crate::disk;
use crate::report::Verdict;

/// Sends nothing: `leadbridge alert test` does.
pub async fn channels(configured: &Alert) -> Verdict {
    if !configured.has_channel() {
        return Verdict::ok(
            "no channel is configured in [alert]: leadbridge itself tells nobody about trouble",
        );
    }
    let files = alert::files(configured);
    let wrong = alert::unreadable(&files).await;
    if !wrong.is_empty() {
        return Verdict::error(
            format!("alerts cannot be sent: {}", wrong.join("; ")),
            "correct the paths in [alert], and let the daemon's user read the files; is this command run as that user?",
        );
    }
    let open: Vec<_> = files.iter().filter(|(_, path)| is_open(path)).map(|(key, _)| *key).collect();
    if !open.is_empty() {
        return Verdict::warning(
            format!(
                "other users of this machine may read files with secrets of [alert]: {}",
                open.join(", ")
            ),
            "chmod 0600 the files, and give them to the daemon's user",
        );
    }
    match configured.ping_url_file {
        Some(_) => Verdict::ok("alerts are configured; `leadbridge alert test` tries the channels"),
        None => Verdict::ok(
            "alerts are configured, without a dead man's ping: nobody is told when this machine is gone \
             (ping_url_file in [alert]); `leadbridge alert test` tries the channels",
        ),
    }
}

/// systemd's credentials are readable by root and by the unit alone, whatever their mode says.
fn is_open(path: &Path) -> bool {
    !path.starts_with("/run/credentials") && disk::is_open_to_others(path).unwrap_or(false)
}
