//! File descriptors: the databases come first, HTTP gets a small part.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::telemetry::http_server::Bounds;

/// Descriptors that are asked for at the start: several times the number that the daemon and all connections of
/// HTTP need together.
const WANTED: u64 = 512;
/// Fewer descriptors may be too few for a snapshot with all its sessions.
const ENOUGH: u64 = 128;
/// HTTP gets one descriptor of so many.
const SHARE: u64 = 8;

/// Raises the process's own limit where the system allows it, and returns the bounds of HTTP under the limit.
pub fn reserve() -> Bounds {
    let limit = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < WANTED.min(hard) => {
            let wanted = WANTED.min(hard);
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_or(soft, |()| wanted)
        }
        Ok((soft, _)) => soft,
        // Cannot fail for this resource; the first connections show what is possible.
        Err(_) => WANTED,
    };
    if limit < ENOUGH {
        tracing::warn!(
            "only {limit} files may be open at once, which may be too few for the databases: raise LimitNOFILE of \
             the unit, or `ulimit -n`, to {WANTED}"
        );
    }
    bounds(limit)
}

fn bounds(limit: u64) -> Bounds {
    let usual = Bounds::default();
    let share = usize::try_from(limit / SHARE).unwrap_or(usize::MAX);
    Bounds { connections: usual.connections.min(share).max(1), ..usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_gets_an_eighth_of_the_descriptors_at_most() {
        for (limit, connections) in [(4, 1), (64, 8), (128, 16), (256, 32), (u64::MAX, 32)] {
            assert_eq!(bounds(limit).connections, connections, "{limit}");
        }
    }
}
