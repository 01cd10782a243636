//! The peak of a process's resident memory.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use leadbridge::throwaway::peak_memory;
use tokio::process::Command;

use super::{Said, said_of, within};

/// Runs `command` to its end, and returns the highest memory reading as well.
pub async fn said_with_peak(mut command: Command, patience: Duration) -> (Said, u64) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = child.id().expect("not waited for");
    let ended = tokio::spawn(child.wait_with_output());
    let mut peak = 0;
    within(patience, "the command ends", async || {
        peak = peak_memory(process).unwrap_or(0).max(peak);
        ended.is_finished().then_some(())
    })
    .await;
    (said_of(ended.await.unwrap().unwrap()), peak)
}

pub fn assert_peak(peak: u64, bound: u64) {
    eprintln!("{} MiB resident at the peak", peak >> 20);
    assert!(
        peak > 0 && peak <= bound,
        "{} MiB resident at the peak, {} MiB are allowed",
        peak >> 20,
        bound >> 20
    );
}

/// Appends a daemon's peak and the test's name to the file `LEADBRIDGE_PEAKS`; `scripts/test-on` prints the highest
/// peak.
pub fn report(peak: u64) {
    let Some(file) = std::env::var_os("LEADBRIDGE_PEAKS") else { return };
    let test = std::thread::current().name().unwrap_or("a thread without a name").to_owned();
    // One short write appends as a whole, although tests run in parallel. A failed report fails no test.
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(file) {
        let _ = file.write_all(format!("{peak}\t{test}\n").as_bytes());
    }
}
