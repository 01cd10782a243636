//! How figures are written for people, as far as no language is involved; pure.

/// A time in the two units that matter for its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TimeSpan {
    /// Under ten seconds, with a tenth.
    Tenths(f64),
    Seconds(u64),
    Minutes(u64, u64),
    Hours(u64, u64),
    Days(u64, u64),
}

impl TimeSpan {
    /// Of a number of seconds.
    pub fn of(seconds: f64) -> Self {
        let whole = seconds as u64;
        match whole {
            0..10 => TimeSpan::Tenths(seconds),
            10..60 => TimeSpan::Seconds(whole),
            60..3600 => TimeSpan::Minutes(whole / 60, whole % 60),
            3600..86400 => TimeSpan::Hours(whole / 3600, whole % 3600 / 60),
            _ => TimeSpan::Days(whole / 86400, whole % 86400 / 3600),
        }
    }
}
