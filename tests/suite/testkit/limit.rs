//! A limit of memory for the processes of an installation, as systemd sets the limit for the unit: a control group for
//! each process, which the kernel kills where the process needs more.
//!
//! Not every machine lets a test make a control group. There the highest resident memory of each process is compared
//! with the same limit instead, and the test prints which of the two proofs was used.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tokio::process::Command;

/// The hierarchy of control groups of the memory controller, and the files of a group: the limit, the limit with swap
/// and its value for a limit without swap, the highest usage, and the count of killed processes.
struct Version {
    root: &'static str,
    limit: &'static str,
    swap: &'static str,
    counts_both: bool,
    peak: &'static str,
    events: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version {
        root: "/sys/fs/cgroup/memory",
        limit: "memory.limit_in_bytes",
        swap: "memory.memsw.limit_in_bytes",
        counts_both: true,
        peak: "memory.max_usage_in_bytes",
        events: "memory.oom_control",
    },
    Version {
        root: "/sys/fs/cgroup",
        limit: "memory.max",
        swap: "memory.swap.max",
        counts_both: false,
        peak: "memory.peak",
        events: "memory.events",
    },
];

impl Version {
    fn make(&self, bytes: u64) -> Result<PathBuf, String> {
        let name = format!("leadbridge-{}-{:x}", std::process::id(), rand::random::<u64>());
        let group = Path::new(self.root).join(name);
        fs::create_dir(&group).map_err(|error| format!("{}: {error}", group.display()))?;
        let limit = group.join(self.limit);
        if let Err(error) = fs::write(&limit, bytes.to_string()) {
            let _ = fs::remove_dir(&group);
            return Err(format!("{}: {error}", limit.display()));
        }
        let swap = if self.counts_both { bytes } else { 0 };
        // Absent where the kernel counts no swap, and then there is none that a process could use.
        let _ = fs::write(group.join(self.swap), swap.to_string());
        Ok(group)
    }
}

/// A limit in bytes for each process, and the means by which the limit is held.
pub struct MemoryLimit {
    bytes: u64,
    version: Option<&'static Version>,
    groups: Mutex<Vec<PathBuf>>,
}

impl MemoryLimit {
    /// A limit of `bytes`. Prints which proof is used, and why no control group could be made.
    pub fn of(bytes: u64) -> MemoryLimit {
        let mut refused = Vec::new();
        let version = VERSIONS.iter().find(|version| match version.make(bytes) {
            Ok(group) => fs::remove_dir(group).is_ok(),
            Err(error) => {
                refused.push(error);
                false
            }
        });
        let limit = bytes >> 20;
        match version {
            Some(Version { root, .. }) => {
                eprintln!("proof: control groups below {root} with {limit} MiB each")
            }
            None => eprintln!(
                "proof: the highest resident memory is compared with {limit} MiB, because no control group can be \
                 made here ({})",
                refused.join("; ")
            ),
        }
        MemoryLimit { bytes, version, groups: Mutex::default() }
    }

    /// Starts `program` inside the limit. The process keeps the id of the started process.
    pub fn command(&self, program: &str) -> Command {
        let Some(version) = self.version else { return Command::new(program) };
        let group = version.make(self.bytes).unwrap();
        let mut command = Command::new("/bin/sh");
        // The shell moves itself, so that no byte of the program is outside the limit.
        let enter = "echo $$ > \"$0\" && exec \"$@\"";
        command.arg("-c").arg(enter).arg(group.join("cgroup.procs")).arg(program);
        self.groups.lock().unwrap().push(group);
        command
    }

    /// Asserts that no process was killed for the limit; without a control group, that `peak`, the highest resident
    /// memory of a process, is within the limit. Prints the measures.
    pub fn assert_held(&self, what: &str, peak: u64) {
        let resident = peak >> 20;
        let Some(version) = self.version else {
            eprintln!("{what}: {resident} MiB resident at the peak");
            return assert!(peak > 0 && peak <= self.bytes, "{what}: {resident} MiB resident");
        };
        for group in &*self.groups.lock().unwrap() {
            let read = |file: &str| fs::read_to_string(group.join(file)).unwrap_or_default();
            // Version 2 of an older kernel does not tell the peak.
            let peak = read(version.peak).trim().parse::<u64>().map_or(0, |usage| usage >> 20);
            eprintln!("{what}: {peak} MiB in {} at the peak, {resident} MiB resident", group.display());
            let events = read(version.events);
            let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
            assert_eq!(killed, Some(0_u64), "{what}: a process was killed for the limit");
        }
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        for group in self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..) {
            let _ = fs::remove_dir(group);
        }
    }
}
