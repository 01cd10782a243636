//! Whether a position lies in the history of Landing's WAL (guarantees 1.4); pure.
//!
//! A standby's promotion and a recovery to a point in time leave a timeline and begin another. Changes after
//! the branch point on the old timeline are not in this Landing, and the new timeline gives the same
//! positions to other changes. A stream from such a position would skip changes silently.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::language::message;
use crate::model::lsn::Lsn;

/// The present WAL of Landing, or of Traffic in reverse replication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandingWal {
    pub timeline: u32,
    /// End of the durable WAL.
    pub flushed: Lsn,
    /// History of `timeline`; may be empty when Traffic's position was reached on `timeline` itself.
    pub history: TimelineHistory,
}

/// Ancestors of a timeline, each with the position at which the ancestor was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineHistory(Vec<Ancestor>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ancestor {
    timeline: u32,
    left_at: Lsn,
}

impl LandingWal {
    /// Whether this WAL holds the record that begins at `position` on `timeline`.
    pub fn has_record(&self, position: Lsn, timeline: u32) -> bool {
        let is_before = |end: Lsn| position < end;
        is_before(self.flushed)
            && (timeline == self.timeline || self.history.left(timeline).is_some_and(is_before))
    }

    /// Checks that everything up to `position`, reached on `timeline`, is in this WAL. Without a recorded
    /// `timeline`, only the end of the WAL is checked.
    ///
    /// # Errors
    /// The WAL does not contain the position. The error names the positions and a remedy.
    pub fn check_contains(&self, position: Lsn, timeline: Option<u32>) -> Result<()> {
        let at = format!("Traffic is at {position}");
        if position > self.flushed {
            return Err(ahead(format!("{at}, but Landing's WAL ends at {}", self.flushed)));
        }
        let Some(timeline) = timeline.filter(|timeline| *timeline != self.timeline) else { return Ok(()) };
        let now = self.timeline;
        match self.history.left(timeline) {
            None => Err(ahead(format!(
                "{at} on timeline {timeline}, which is not in the history of Landing's timeline {now}, which is \
                 at {}",
                self.flushed
            ))),
            Some(left) if left < position => Err(ahead(format!(
                "{at} on timeline {timeline}, but Landing left that timeline at {left} (it is on {now} now)"
            ))),
            Some(_) => Ok(()),
        }
    }
}

fn ahead(contradiction: String) -> Error {
    Error::refused(format!("positions contradict each other: {contradiction}"))
        .remedy(message!("postgres-remedy-landing-behind"))
}

impl TimelineHistory {
    /// Position at which `timeline` was left; `None` for a timeline outside of the history.
    fn left(&self, timeline: u32) -> Option<Lsn> {
        self.0.iter().find(|ancestor| ancestor.timeline == timeline).map(|ancestor| ancestor.left_at)
    }
}

/// Parses PostgreSQL's history file: `timeline TAB position TAB reason` in each line, and comments.
impl FromStr for TimelineHistory {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut ancestors: Vec<Ancestor> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let ancestor = ancestor(line)
                .filter(|ancestor| ancestors.last().is_none_or(|last| last.timeline < ancestor.timeline))
                .ok_or_else(|| not_understood(number))?;
            ancestors.push(ancestor);
        }
        Ok(TimelineHistory(ancestors))
    }
}

fn ancestor(line: &str) -> Option<Ancestor> {
    let mut words = line.split_whitespace();
    let timeline = words.next()?.parse().ok()?;
    Some(Ancestor { timeline, left_at: words.next()?.parse().ok()? })
}

fn not_understood(line: u32) -> Error {
    Error::refused(format!("line {line} of Landing's timeline history is not understood"))
        .remedy(message!("postgres-remedy-history-unreadable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: &str = "# by hand\n1\t0/3000148\tno recovery target specified\n\n\
                           3\t1/A0\tbefore 2026-01-01 00:00:00+00\n";

    fn wal(timeline: u32, flushed: u64, history: &str) -> LandingWal {
        LandingWal { timeline, flushed: Lsn(flushed), history: history.parse().unwrap() }
    }

    #[test]
    fn a_record_is_there_on_its_own_timeline_and_before_the_point_at_which_it_was_left() {
        let now = wal(4, 0x2_0000_0000, HISTORY);
        assert!(now.has_record(Lsn(0x1_FFFF_FFFF), 4));
        assert!(!now.has_record(Lsn(0x2_0000_0000), 4), "it would begin at the end");
        assert!(now.has_record(Lsn(0x300_0147), 1));
        assert!(!now.has_record(Lsn(0x300_0148), 1), "another timeline begins here");
        assert!(!now.has_record(Lsn(1), 2), "not in the history");
    }

    #[test]
    fn a_history_says_where_each_timeline_was_left() {
        let history: TimelineHistory = HISTORY.parse().unwrap();
        assert_eq!(history.left(1), Some(Lsn(0x300_0148)));
        assert_eq!(history.left(3), Some(Lsn(0x1_0000_00A0)));
        assert_eq!(history.left(2), None);
        assert_eq!("".parse::<TimelineHistory>().unwrap(), TimelineHistory::default());
        // Without a reason, and with the line end of another system.
        assert_eq!("1 0/5\r\n".parse::<TimelineHistory>().unwrap().left(1), Some(Lsn(5)));
    }

    #[test]
    fn a_history_that_is_not_understood_is_refused_by_its_line() {
        for wrong in ["x\t0/1\n", "1\n", "1\t0-1\n", "1\t0/1\n1\t0/2\n", "2\t0/1\n1\t0/2\n", "-1\t0/1\n"] {
            let error = format!("# first\n{wrong}").parse::<TimelineHistory>().expect_err(wrong);
            assert_eq!(error.response(), crate::error::Response::AskOperator);
            assert!(error.message().contains("line 2") || error.message().contains("line 3"), "{error}");
        }
    }

    #[test]
    fn a_position_is_contained_up_to_the_point_at_which_its_timeline_was_left() {
        let now = wal(4, 0x2_0000_0000, HISTORY);
        for (position, timeline) in [
            (0x300_0148, Some(1)),
            (0x1_0000_00A0, Some(3)),
            (0x2_0000_0000, Some(4)),
            (0x2_0000_0000, None),
            (0, Some(1)),
        ] {
            now.check_contains(Lsn(position), timeline).unwrap();
        }
        for (position, timeline, says) in [
            (0x300_0149, Some(1), "left that timeline at 0/3000148"),
            (0x1_0000_00A1, Some(3), "left that timeline at 1/A0"),
            (1, Some(2), "not in the history of Landing's timeline 4"),
            (1, Some(5), "not in the history of Landing's timeline 4"),
            (0x2_0000_0001, Some(4), "ends at 2/0"),
            (0x2_0000_0001, None, "ends at 2/0"),
        ] {
            let error = now.check_contains(Lsn(position), timeline).expect_err(says);
            assert_eq!(error.response(), crate::error::Response::AskOperator);
            let text = error.to_string();
            assert!(text.contains(says) && text.contains(&Lsn(position).to_string()), "{text}");
            assert!(text.contains("leadbridge resync"), "{text}");
        }
    }

    #[test]
    fn an_older_timeline_that_came_back_is_refused() {
        let error = wal(1, 100, "").check_contains(Lsn(10), Some(2)).expect_err("another branch");
        assert!(error.message().contains("not in the history"), "{error}");
    }
}
