//! The texts of both languages: Fluent files inside the program.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::types::FluentNumber;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use intl_memoizer::concurrent::IntlLangMemoizer;

use super::content::Arguments;
use super::written::grouped;
use super::{Argument, Language};

/// The texts of one room.
pub(super) struct RoomTexts {
    /// The name of the file, with which each id in it begins.
    #[cfg(test)]
    pub(super) room: &'static str,
    pub(super) english: &'static str,
    pub(super) russian: &'static str,
}

macro_rules! rooms {
    ($($room:literal),* $(,)?) => {
        [$(RoomTexts {
            #[cfg(test)]
            room: $room,
            english: include_str!(concat!("en/", $room, ".ftl")),
            russian: include_str!(concat!("ru/", $room, ".ftl")),
        }),*]
    };
}

/// Each file of `en` and `ru`.
pub(super) const ROOMS: &[RoomTexts] = &rooms![
    "figures",
    "error",
    "report",
    "postgres",
    "mapping",
    "admission",
    "landing",
    "config",
    "checkpoint",
    "capture",
    "replication",
    "traffic",
    "quarantine",
    "telemetry",
    "compare",
    "doctor",
    "cutover",
    "page",
    "commands",
    "verify",
    "finish",
    "migrate",
    "watch",
    "explain",
    "fence",
    "import",
    "files",
    "access"
];

static ENGLISH: LazyLock<Texts> = LazyLock::new(|| Texts::of(Language::English));
static RUSSIAN: LazyLock<Texts> = LazyLock::new(|| Texts::of(Language::Russian));

/// Every text of one language.
struct Texts {
    language: Language,
    bundle: FluentBundle<FluentResource>,
}

impl Texts {
    fn of(language: Language) -> Self {
        let locale = language.code().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![locale]);
        // The marks around a value show as boxes, or shift columns, on a terminal; all texts run from left to right.
        bundle.set_use_isolating(false);
        bundle.set_formatter(Some(shown));
        for room in ROOMS {
            let source = match language {
                Language::English => room.english,
                Language::Russian => room.russian,
            };
            // The tests refuse a file with an error and an id that two files have; here the rest counts.
            let resource = FluentResource::try_new(source.to_owned()).unwrap_or_else(|(rest, _)| rest);
            bundle.add_resource_overriding(resource);
        }
        Texts { language, bundle }
    }

    /// `None` when the text is missing, or lacks an argument.
    fn text(&self, id: &str, arguments: &Arguments) -> Option<String> {
        let pattern = self.bundle.get_message(id)?.value()?;
        let mut values = FluentArgs::with_capacity(arguments.len());
        for (name, argument) in arguments {
            values.set(name.as_ref(), self.value(argument)?);
        }
        let mut errors = Vec::new();
        let text = self.bundle.format_pattern(pattern, Some(&values), &mut errors).into_owned();
        errors.is_empty().then_some(text)
    }

    /// `None` when the text of a part of the sentence is missing.
    fn value<'a>(&self, argument: &'a Argument) -> Option<FluentValue<'a>> {
        /// Fluent counts in f64, which holds each whole number up to this one.
        const EXACT: u128 = 1 << f64::MANTISSA_DIGITS;
        Some(match argument {
            Argument::Text(text) => FluentValue::from(text.as_str()),
            Argument::Number(number) if number.unsigned_abs() <= EXACT => {
                counted(FluentNumber::from(*number), false)
            }
            Argument::Number(number) => FluentValue::from(number.to_string()),
            Argument::Grouped(number) if u128::from(*number) <= EXACT => {
                counted(FluentNumber::from(*number), true)
            }
            Argument::Grouped(number) => FluentValue::from(grouped(*number)),
            Argument::Decimal(text) => FluentValue::from(match self.language {
                Language::English => text.clone(),
                Language::Russian => text.replace('.', ","),
            }),
            Argument::Message(part) => FluentValue::from(part.text(self.language)?),
        })
    }
}

fn counted<'a>(mut number: FluentNumber, use_grouping: bool) -> FluentValue<'a> {
    number.options.use_grouping = use_grouping;
    FluentValue::Number(number)
}

/// How a bundle shows a value; `None` leaves the value to Fluent, which knows no groups of digits.
fn shown(value: &FluentValue<'_>, _: &IntlLangMemoizer) -> Option<String> {
    match value {
        FluentValue::Number(number) if number.options.use_grouping => Some(groups(&number.as_string())),
        _ => None,
    }
}

/// The digits of a whole number in groups of three, with no-break spaces: `12 345 678`.
pub(super) fn groups(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// The text in that language; `None` when it is missing, or lacks an argument.
pub(super) fn text(language: Language, id: &str, arguments: &Arguments) -> Option<String> {
    match language {
        Language::English => ENGLISH.text(id, arguments),
        Language::Russian => RUSSIAN.text(id, arguments),
    }
}
