//! A limit of memory for the processes of an installation, as systemd sets the limit for the unit: a control group
//! whose processes the kernel kills where they need more.
//!
//! Not every machine lets a test make a control group. There the highest resident memory of each process is compared
//! with the same limit instead, and the test prints which of the two proofs was used.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// The hierarchy of control groups of the memory controller: version 1, then version 2.
const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";

/// Files of a control group: the limit, the limit with swap, the highest usage, and the count of killed processes.
struct Files {
    limit: &'static str,
    with_swap: &'static str,
    peak: &'static str,
    events: &'static str,
}

const FILES_V1: Files = Files {
    limit: "memory.limit_in_bytes",
    with_swap: "memory.memsw.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    events: "memory.oom_control",
};
const FILES_V2: Files =
    Files { limit: "memory.max", with_swap: "memory.swap.max", peak: "memory.peak", events: "memory.events" };

/// A limit in bytes, and the means by which the limit is held.
pub struct MemoryLimit {
    pub bytes: u64,
    group: Option<(PathBuf, &'static Files)>,
}

impl MemoryLimit {
    /// A limit of `bytes`. Prints why no control group could be made, if none could.
    pub fn of(bytes: u64) -> MemoryLimit {
        let group = match make(V1, &FILES_V1, bytes)
            .or_else(|v1| make(V2, &FILES_V2, bytes).map_err(|v2| (v1, v2)))
        {
            Ok(group) => {
                eprintln!(
                    "proof: the control group {} with a limit of {} MiB",
                    group.0.display(),
                    bytes >> 20
                );
                Some(group)
            }
            Err((v1, v2)) => {
                eprintln!(
                    "proof: the highest resident memory is compared with {} MiB, because no control group can be made \
                     here ({v1}; {v2})",
                    bytes >> 20
                );
                None
            }
        };
        MemoryLimit { bytes, group }
    }

    /// Starts `program` inside the limit. The process keeps the id of the started process.
    pub fn command(&self, program: &str) -> Command {
        let Some((group, _)) = &self.group else { return Command::new(program) };
        let mut command = Command::new("/bin/sh");
        // The shell moves itself, so that no byte of the program is outside the limit.
        let enter = "echo $$ > \"$0\" && exec \"$@\"";
        command.arg("-c").arg(enter).arg(group.join("cgroup.procs")).arg(program);
        command
    }
}

fn make(root: &str, files: &'static Files, bytes: u64) -> Result<(PathBuf, &'static Files), String> {
    let root = Path::new(root);
    let group = root.join(format!("leadbridge-{}-{:x}", std::process::id(), rand::random::<u64>()));
    fs::create_dir(&group).map_err(|error| format!("{}: {error}", group.display()))?;
    let limit = fs::write(group.join(files.limit), bytes.to_string());
    if let Err(error) = limit {
        let _ = fs::remove_dir(&group);
        return Err(format!("{}: {error}", group.join(files.limit).display()));
    }
    let swap = if files.with_swap == FILES_V2.with_swap { 0 } else { bytes };
    // Absent where the kernel counts no swap: there is none then that the processes could use.
    let _ = fs::write(group.join(files.with_swap), swap.to_string());
    Ok((group, files))
}

impl MemoryLimit {
    /// Asserts that no process was killed for the limit; without a control group, that `peak`, the highest resident
    /// memory of a process, is within the limit. Prints the measure.
    pub fn assert_held(&self, what: &str, peak: u64) {
        let Some((group, files)) = &self.group else {
            eprintln!("{what}: {} MiB resident at the peak", peak >> 20);
            return assert!(peak > 0 && peak <= self.bytes, "{what}: {} MiB resident", peak >> 20);
        };
        let read = |file: &str| fs::read_to_string(group.join(file)).unwrap_or_default();
        // Version 2 of an older kernel has no such file.
        let usage =
            read(files.peak).trim().parse::<u64>().map_or("?".to_owned(), |usage| (usage >> 20).to_string());
        eprintln!("{what}: {usage} MiB in the group at the peak, {} MiB resident", peak >> 20);
        let killed =
            read(files.events).lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        assert_eq!(killed, Some(0_u64), "{what}: processes were killed for the limit");
        // The next measure begins, where the kernel lets a measure begin.
        let _ = fs::write(group.join(files.peak), "0");
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if let Some((group, _)) = &self.group {
            let _ = fs::remove_dir(group);
        }
    }
}
