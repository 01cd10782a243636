//! Exit codes of the process. `commands::run` maps results to exit codes, and `main` maps a command line that
//! cannot be parsed.

use std::process::ExitCode;

use crate::error::{Error, Kind};

/// Exit codes. Scripts depend on the numbers. A second SIGTERM or SIGINT ends a process by the signal itself, which a
/// shell shows as 128 and the signal's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded.
    Ok = 0,
    /// A check failed: a difference, a lag over a given maximum, an error that `doctor` found.
    CheckFailed = 1,
    /// The daemon is down or the replication is broken (`status`).
    Down = 2,
    /// A database cannot be reached.
    Unreachable = 3,
    /// Refused: an operator must act first, because another try does not help.
    Refused = 4,
    /// Wrong usage or configuration (`EX_USAGE`).
    Usage = 64,
    /// An internal error (`EX_SOFTWARE`).
    Internal = 70,
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.kind() {
            Kind::Usage => Exit::Usage,
            Kind::Unreachable | Kind::Transient => Exit::Unreachable,
            Kind::Refused => Exit::Refused,
            Kind::Row | Kind::Internal => Exit::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_its_documented_code() {
        let table = [
            (Kind::Usage, 64),
            (Kind::Unreachable, 3),
            (Kind::Transient, 3),
            (Kind::Refused, 4),
            (Kind::Row, 70),
            (Kind::Internal, 70),
        ];
        for (kind, code) in table {
            assert_eq!(Exit::from(&Error::new(kind, "message")) as u8, code, "{kind:?}");
        }
    }
}
