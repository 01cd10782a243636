//! Messages to people, in English and in Russian.
//!
//! A [`Message`] is an id and its arguments; the text is made where somebody reads it, in the reader's [`Language`].
//! The texts are Fluent files, one for each room that speaks (`en/doctor.ftl`, `ru/doctor.ftl`). Logs and JSON take
//! the English text, which is also a message's `Display` and its serialised form.
//!
//! The language is a value that is passed along, never a setting of the process: the status page has readers of both
//! languages at the same time.

mod content;
mod texts;
pub mod written;

use std::str::FromStr;

pub use content::{Argument, Message, PortableMessage};
pub use written::grouped;

/// A language in which messages can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Russian,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::English, Language::Russian];

    /// The language's code, in ISO 639 and in `--lang`.
    pub fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Russian => "ru",
        }
    }

    /// The language of messages that the environment asks for, as POSIX orders its variables: the first of `LC_ALL`,
    /// `LC_MESSAGES` and `LANG` that has a value decides. English when none has, and for every locale that has no
    /// messages here, such as `C`.
    pub fn of_environment(environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| environment(name).filter(|value| !value.is_empty()));
        locale.map_or(Language::English, |locale| Language::of_locale(&locale))
    }

    /// `language[_territory][.codeset][@modifier]`.
    fn of_locale(locale: &str) -> Self {
        let language = locale.split(['_', '.', '@']).next().unwrap_or_default();
        language.to_ascii_lowercase().parse().unwrap_or_default()
    }
}

/// No language of this code has messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLanguage;

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(code: &str) -> Result<Self, UnknownLanguage> {
        Language::ALL.into_iter().find(|language| language.code() == code).ok_or(UnknownLanguage)
    }
}

/// Makes a [`Message`]: its id, then each argument of its text by name, `message!("doctor-slot-lost", slot = name)`.
///
/// The tests of this room read every use of the macro in the source, and compare id and arguments with the texts of
/// both languages.
macro_rules! message {
    ($id:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::language::Message::new(
            $id,
            vec![$((
                ::std::borrow::Cow::Borrowed(stringify!($name)),
                $crate::language::Argument::from($value),
            )),*],
        )
    };
}
pub(crate) use message;

#[cfg(test)]
mod texts_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)]) -> Language {
        Language::of_environment(&|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_chooses_in_the_order_of_posix() {
        assert_eq!(chosen(&[]), Language::English);
        assert_eq!(chosen(&[("LANG", "ru_RU.UTF-8")]), Language::Russian);
        assert_eq!(chosen(&[("LANG", "ru_RU.UTF-8"), ("LC_MESSAGES", "C")]), Language::English);
        assert_eq!(chosen(&[("LC_MESSAGES", "ru"), ("LC_ALL", "en_US.UTF-8")]), Language::English);
        assert_eq!(chosen(&[("LANG", "C"), ("LC_MESSAGES", "ru_UA@x")]), Language::Russian);
        assert_eq!(chosen(&[("LANG", "ru_RU.UTF-8"), ("LC_ALL", "")]), Language::Russian);
    }

    #[test]
    fn a_locale_without_messages_means_english() {
        for locale in ["C", "C.UTF-8", "POSIX", "de_DE.UTF-8", "russian", "rus", "_RU", "."] {
            assert_eq!(Language::of_locale(locale), Language::English, "{locale}");
        }
        assert_eq!(Language::of_locale("RU"), Language::Russian);
    }
}
