//! Detects several cuts in a row of a stream at the same position. The reason of such cuts is on the server's
//! side, and another attempt alone does not help.

use crate::error::{Error, Response};
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::model::side::Side;

/// Number of cuts in a row at one position that cannot be an accident.
const TELLING: u32 = 3;

/// Position of the last cut of the stream, and the number of cuts in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts {
    at: Lsn,
    times: u32,
}

impl Cuts {
    /// Counts the end of the stream from `side` with `error`, when everything before `applied` was applied.
    /// After too many cuts, the returned error says so.
    pub fn take_in(&mut self, side: Side, applied: Lsn, error: Error) -> Error {
        if error.response() != Response::Retry {
            return error;
        }
        self.times = if self.at == applied { self.times + 1 } else { 1 };
        self.at = applied;
        if self.times < TELLING {
            return error;
        }
        error
            .context(format!(
                "the stream was cut {} times in a row at {applied}, and nothing was applied",
                self.times
            ))
            .remedy(message!("replication-remedy-cut", side = side))
    }

    /// Whether too many cuts in a row have been reported, without progress since.
    pub fn is_told(&self) -> bool {
        self.times >= TELLING
    }

    /// Takes note that everything before `applied` is applied. Returns whether this progress ends the
    /// reported state.
    pub fn ends(&mut self, applied: Lsn) -> bool {
        let ends = self.is_told() && applied > self.at;
        if ends {
            *self = Cuts::default();
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut() -> Error {
        Error::unreachable("reading the replication stream: the connection broke")
    }

    #[test]
    fn the_third_cut_in_a_row_at_one_position_points_to_the_servers_log() {
        let mut cuts = Cuts::default();
        for at in [7, 7, 9, 9] {
            let error = cuts.take_in(Side::Landing, Lsn(at), cut());
            assert_eq!(error.message(), cut().message());
        }
        let error = cuts.take_in(Side::Landing, Lsn(9), cut());
        assert!(error.message().contains("cut 3 times in a row at 0/9"), "{error}");
        assert!(error.remedy_text().unwrap().contains("log of the Landing DB's server"), "{error}");
        assert!(!cuts.ends(Lsn(9)));
        assert!(cuts.ends(Lsn(10)) && !cuts.is_told());
    }
}
