//! A stream that is cut again and again at one position: something on the server's side cuts it, and trying again does
//! not help.

use crate::database::Side;
use crate::error::{Error, Response};
use crate::lsn::Lsn;

/// So many cuts in a row at one position are no accident.
const TELLING: u32 = 3;

/// The position at which the stream was last cut, and how often in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts {
    at: Lsn,
    times: u32,
}

impl Cuts {
    /// Takes in that the stream from `side` ended with `error` when everything before `applied` was applied. What is
    /// returned says so when that has happened too often.
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
            .context(format!("the stream was cut {} times in a row at {applied}, and nothing was applied", self.times))
            .remedy(format!(
                "look into the log of the {side}'s server for what ends the walsender: a time limit, a crash while it \
                 decodes, a proxy or firewall in between; it is tried again meanwhile"
            ))
    }

    /// Whether too many cuts in a row have been told of, and are yet to be followed by progress.
    pub fn is_told(&self) -> bool {
        self.times >= TELLING
    }

    /// Everything before `applied` is applied. Returns whether that ends what was told.
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
