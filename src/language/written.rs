//! How figures and times are written for people.

use jiff::Timestamp;

use super::texts::groups;
use super::{Argument, Message, message};

/// A time in the two units that matter for its length: `0.3 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. A negative one
/// is written as 0.
pub fn duration(seconds: f64) -> Message {
    let seconds = seconds.max(0.0);
    let whole = seconds as u64;
    match whole {
        0..10 => message!("figures-seconds", seconds = Argument::Decimal(format!("{seconds:.1}"))),
        10..60 => message!("figures-seconds", seconds = whole),
        60..3600 => message!("figures-minutes", minutes = whole / 60, seconds = whole % 60),
        3600..86400 => message!("figures-hours", hours = whole / 3600, minutes = whole % 3600 / 60),
        _ => message!("figures-days", days = whole / 86400, hours = whole % 86400 / 3600),
    }
}

/// `12 345 678`, with no-break spaces.
pub fn grouped(number: u64) -> String {
    groups(&number.to_string())
}

/// The part of an estimate that is done. Never 100, because an estimate may be too low.
pub fn per_cent(done: u64, expected: u64) -> u64 {
    let part = u128::from(done) * 100 / u128::from(expected.max(1));
    u64::try_from(part).map_or(99, |part| part.min(99))
}

/// `12:03:01 UTC`.
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

/// `12:03 UTC`.
pub fn clock_minutes(at: Timestamp) -> String {
    at.strftime("%H:%M UTC").to_string()
}

/// `2026-11-29 12:03 UTC`, which both languages read.
pub fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn times_and_figures_are_written_for_people() {
        let said = |language| {
            [-1.0, 0.25, 42.4, 185.0, 7800.0, 273_600.0]
                .map(|seconds| duration(seconds).in_language(language))
        };
        assert_eq!(said(Language::English), ["0.0 s", "0.2 s", "42 s", "3 min 5 s", "2 h 10 min", "3 d 4 h"]);
        assert_eq!(said(Language::Russian), ["0,0 с", "0,2 с", "42 с", "3 мин 5 с", "2 ч 10 мин", "3 д 4 ч"]);
        assert_eq!([999, 1_234_567].map(grouped), ["999", "1\u{a0}234\u{a0}567"]);
    }

    #[test]
    fn a_part_is_never_the_whole() {
        let parts = [(0, 4), (1, 3), (4, 4), (9, 4), (3, 0), (u64::MAX, 1), (u64::MAX, u64::MAX)];
        assert_eq!(parts.map(|(done, expected)| per_cent(done, expected)), [0, 33, 99, 99, 99, 99, 99]);
    }
}
