//! Columns of Landing that are not replicated.

use crate::landing::left_out::{LeftOut, LeftOutReason};
use crate::language::{Message, message};
use crate::report::Verdict;

/// A warning for columns that were left out by nobody's decision; columns that are left out on purpose are
/// named.
pub fn judge_left_out(left_out: &[LeftOut]) -> Verdict {
    let list = |columns: Vec<&LeftOut>| Message::joined(columns.into_iter().map(LeftOut::message), ", ");
    let (unasked, decided): (Vec<_>, Vec<_>) =
        left_out.iter().partition(|column| column.reason == LeftOutReason::NotCopied);
    match (unasked.is_empty(), decided.is_empty()) {
        (true, true) => Verdict::ok(message!("doctor-columns-all")),
        (true, false) => Verdict::ok(message!("doctor-columns-not-replicated", columns = list(decided))),
        (false, _) => Verdict::warning(
            message!("doctor-columns-not-replicated", columns = list(left_out.iter().collect())),
            message!("doctor-columns-left-out-remedy"),
        ),
    }
}
