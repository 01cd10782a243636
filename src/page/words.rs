//! Figures in the reader's language; pure.

use bytesize::ByteSize;
use jiff::Timestamp;

use crate::language::{Argument, Language, Message, grouped, message};
use crate::telemetry::written::TimeSpan;

/// Says everything in one language.
#[derive(Clone, Copy, Debug)]
pub struct Words(pub Language);

impl Words {
    pub fn say(self, message: Message) -> String {
        message.in_language(self.0)
    }

    /// `12 345`, with no-break spaces, which both languages use.
    pub fn count(self, number: u64) -> String {
        grouped(&number.to_string())
    }

    /// `1 row`, `12 345 rows`.
    pub fn rows(self, rows: u64) -> String {
        self.say(message!("figures-rows", rows = Argument::Grouped(rows)))
    }

    /// `0.3 s`, `3 min 5 s`, and `0,3 с`, `3 мин 5 с`.
    pub fn duration(self, seconds: f64) -> String {
        self.say(match TimeSpan::of(seconds.max(0.0)) {
            TimeSpan::Tenths(seconds) => {
                message!("figures-seconds", seconds = self.decimal(format!("{seconds:.1}")))
            }
            TimeSpan::Seconds(seconds) => message!("figures-seconds", seconds = seconds.to_string()),
            TimeSpan::Minutes(minutes, seconds) => {
                message!("figures-minutes", minutes = minutes.to_string(), seconds = seconds.to_string())
            }
            TimeSpan::Hours(hours, minutes) => {
                message!("figures-hours", hours = hours.to_string(), minutes = minutes.to_string())
            }
            TimeSpan::Days(days, hours) => {
                message!("figures-days", days = days.to_string(), hours = hours.to_string())
            }
        })
    }

    /// `12.5 KiB`, and `12,5 КиБ`.
    pub fn size(self, bytes: u64) -> String {
        let text = ByteSize(bytes).display().iec().to_string();
        let Some((number, unit)) = text.split_once(' ') else { return text };
        let number = self.decimal(number.to_owned());
        let unit = match (self.0, unit) {
            (Language::English, unit) => unit,
            (Language::Russian, "B") => "Б",
            (Language::Russian, "KiB") => "КиБ",
            (Language::Russian, "MiB") => "МиБ",
            (Language::Russian, "GiB") => "ГиБ",
            (Language::Russian, "TiB") => "ТиБ",
            (Language::Russian, unit) => unit,
        };
        format!("{number}\u{a0}{unit}")
    }

    /// A figure that is a rate in bytes, rounded to whole bytes.
    pub fn rate(self, bytes: f64) -> String {
        self.size(bytes.max(0.0) as u64)
    }

    /// `12:03:01 UTC`.
    pub fn clock(self, at: Timestamp) -> String {
        at.strftime("%H:%M:%S UTC").to_string()
    }

    /// `12:03 UTC`.
    pub fn clock_minutes(self, at: Timestamp) -> String {
        at.strftime("%H:%M UTC").to_string()
    }

    /// `29 Nov 12:03 UTC` is written as `2026-11-29 12:03 UTC`, which both languages read.
    pub fn date(self, at: Timestamp) -> String {
        at.strftime("%Y-%m-%d %H:%M UTC").to_string()
    }

    fn decimal(self, number: String) -> String {
        match self.0 {
            Language::English => number,
            Language::Russian => number.replace('.', ","),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_units_and_the_decimal_point_of_the_language() {
        let said = |language| {
            let words = Words(language);
            let times = [0.25, 42.4, 185.0, 7800.0, 273_600.0].map(|seconds| words.duration(seconds));
            let sizes = [7, 12_800, 3_800_000].map(|bytes| words.size(bytes));
            [times.join(" | "), sizes.join(" | ")].map(|text| text.replace('\u{a0}', " "))
        };
        assert_eq!(
            said(Language::English),
            ["0.2 s | 42 s | 3 min 5 s | 2 h 10 min | 3 d 4 h", "7 B | 12.5 KiB | 3.6 MiB"]
        );
        assert_eq!(
            said(Language::Russian),
            ["0,2 с | 42 с | 3 мин 5 с | 2 ч 10 мин | 3 д 4 ч", "7 Б | 12,5 КиБ | 3,6 МиБ"]
        );
    }
}
