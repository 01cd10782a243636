//! Bisection: finds the refused items of a list in few attempts; pure.

use crate::model::change::SourcedChange;

/// The ranges of a list that are still to be attempted, in the order of the list. Each item is part of an
/// accepted range, or is refused alone. Because the order stays, bisection does not change the result.
pub struct Bisection<'i, T> {
    /// The next range is the last.
    ranges: Vec<&'i [T]>,
    /// Where to split a range of two items or more: the length of the first half.
    cut: fn(&[T]) -> usize,
}

impl<'i, T> Bisection<'i, T> {
    pub fn new(items: &'i [T], cut: fn(&[T]) -> usize) -> Self {
        Bisection { ranges: vec![items], cut }
    }

    /// Takes the next range to attempt, never an empty one.
    pub fn next_range(&mut self) -> Option<&'i [T]> {
        self.ranges.pop().filter(|range| !range.is_empty())
    }

    /// Attempts `range` once more, before all other ranges.
    pub fn repeat(&mut self, range: &'i [T]) {
        self.ranges.push(range);
    }

    /// Records that `range` was refused, and returns the item of a range of one. The halves of a longer range
    /// are attempted next.
    pub fn refuse(&mut self, range: &'i [T]) -> Option<&'i T> {
        if let [item] = range {
            return Some(item);
        }
        let (first, second) = range.split_at((self.cut)(range));
        self.ranges.extend([second, first]);
        None
    }
}

/// Cuts a range in the middle.
pub fn middle<T>(range: &[T]) -> usize {
    range.len() / 2
}

/// Cuts a range at the boundary between two transactions that is nearest to the middle, because each
/// transaction is valid as a whole. Cuts a range of one transaction in the middle.
pub fn between_transactions(range: &[SourcedChange]) -> usize {
    nearest_boundary(range, middle(range), range.len().saturating_sub(1) / 2)
}

/// The boundary between two transactions that is nearest to the position `at` and at most `near` positions
/// away; `at` if there is none.
pub fn nearest_boundary(changes: &[SourcedChange], at: usize, near: usize) -> usize {
    let commit = |at: usize| changes.get(at).map(|change| change.origin.commit_lsn);
    let places = at.saturating_sub(near).max(1)..=at.saturating_add(near);
    let between = places.filter(|place| commit(place - 1) != commit(*place));
    between.min_by_key(|place| place.abs_diff(at)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::change::{Change, Origin, Table};
    use crate::model::lsn::Lsn;
    use crate::model::timestamp::Timestamp;

    /// Bisects `0..count` with the refused items `bad`. Returns the attempted ranges, each by its first item
    /// and its length, and the refused items.
    fn bisect(count: usize, bad: &[usize]) -> (Vec<(usize, usize)>, Vec<usize>) {
        let items: Vec<usize> = (0..count).collect();
        let mut bisection = Bisection::new(&items, middle);
        let (mut attempts, mut refused) = (Vec::new(), Vec::new());
        while let Some(range) = bisection.next_range() {
            attempts.push((range[0], range.len()));
            if range.iter().any(|item| bad.contains(item)) {
                refused.extend(bisection.refuse(range));
            }
        }
        (attempts, refused)
    }

    fn transactions(lsns: &[u64]) -> Vec<SourcedChange> {
        let change = |lsn: &u64| SourcedChange {
            origin: Origin { xid: None, commit_lsn: Lsn(*lsn), commit_time: Timestamp(0) },
            change: Change::Delete { table: Table::LandingLeads, id: Uuid::nil() },
        };
        lsns.iter().map(change).collect()
    }

    #[test]
    fn a_list_that_is_accepted_takes_one_attempt_and_an_empty_list_takes_none() {
        assert_eq!(bisect(5, &[]), (vec![(0, 5)], vec![]));
        assert_eq!(bisect(0, &[]), (vec![], vec![]));
    }

    #[test]
    fn each_refused_item_is_found_alone_and_the_ranges_keep_the_order_of_the_list() {
        let (attempts, refused) = bisect(5, &[3, 0]);
        assert_eq!(refused, [0, 3]);
        assert_eq!(attempts, [(0, 5), (0, 2), (0, 1), (1, 1), (2, 3), (2, 1), (3, 2), (3, 1), (4, 1)]);
    }

    #[test]
    fn a_repeated_range_comes_before_all_others() {
        let items = [1, 2, 3];
        let mut bisection = Bisection::new(&items, middle);
        let whole = bisection.next_range().unwrap();
        assert_eq!(bisection.refuse(whole), None);
        let first = bisection.next_range().unwrap();
        bisection.repeat(first);
        assert_eq!(bisection.next_range(), Some(&items[..1]));
        assert_eq!(bisection.next_range(), Some(&items[1..]));
        assert_eq!(bisection.next_range(), None);
    }

    #[test]
    fn a_range_is_cut_between_two_transactions_where_there_are_two() {
        assert_eq!(between_transactions(&transactions(&[1, 1, 1, 1, 1, 2])), 5);
        assert_eq!(between_transactions(&transactions(&[1, 2, 2, 2, 2])), 1);
        assert_eq!(between_transactions(&transactions(&[1, 1, 2, 3])), 2);
        assert_eq!(between_transactions(&transactions(&[1, 1, 1, 1])), 2);
        assert_eq!(between_transactions(&transactions(&[1, 1, 1, 1, 1])), 2);
    }
}
