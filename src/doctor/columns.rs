//! Columns of Landing that are not replicated.

use crate::landing::left_out::{LeftOut, LeftOutReason};
use crate::report::Verdict;

/// A warning for columns that were left out by nobody's decision; columns that are left out on purpose are
/// named.
pub fn judge_left_out(left_out: &[LeftOut]) -> Verdict {
    let list =
        |columns: Vec<&LeftOut>| columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (unasked, decided): (Vec<_>, Vec<_>) =
        left_out.iter().partition(|column| column.reason == LeftOutReason::NotCopied);
    match (unasked.is_empty(), decided.is_empty()) {
        (true, true) => Verdict::ok("every column of Landing's tables is replicated"),
        (true, false) => Verdict::ok(format!("not replicated: {}", list(decided))),
        (false, _) => Verdict::warning(
            format!("not replicated: {}", list(left_out.iter().collect())),
            "run `leadbridge migrate`, which makes places for the columns on Traffic, and then, once rows were \
             copied, `leadbridge resync`; or name the columns under `skip` in [columns] of the configuration",
        ),
    }
}
