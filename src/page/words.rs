//! Figures in the reader's language; pure.

use bytesize::ByteSize;

use crate::language::written::duration;
use crate::language::{Argument, Language, Message, message};

/// Says everything in one language.
#[derive(Clone, Copy, Debug)]
pub struct Words(pub Language);

impl Words {
    pub fn say(self, message: Message) -> String {
        message.in_language(self.0)
    }

    /// `1 row`, `12 345 rows`.
    pub fn rows(self, rows: u64) -> String {
        self.say(message!("figures-rows", rows = Argument::Grouped(rows)))
    }

    pub fn duration(self, seconds: f64) -> String {
        self.say(duration(seconds))
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

    /// A rate in bytes, without its part of a byte.
    pub fn rate(self, bytes: f64) -> String {
        self.size(bytes.max(0.0) as u64)
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
    fn a_size_has_the_units_and_the_decimal_point_of_the_language() {
        let said = |language| {
            let words = Words(language);
            [7, 12_800, 3_800_000].map(|bytes| words.size(bytes).replace('\u{a0}', " "))
        };
        assert_eq!(said(Language::English), ["7 B", "12.5 KiB", "3.6 MiB"]);
        assert_eq!(said(Language::Russian), ["7 Б", "12,5 КиБ", "3,6 МиБ"]);
    }
}
