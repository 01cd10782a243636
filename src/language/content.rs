//! A text to a person, before its language is known.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{Language, texts};
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;

/// A text to a person. [`Message::in_language`] makes it readable; `Display` and `Serialize` give the English text, for
/// logs and JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Content);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Translated { id: Cow<'static, str>, arguments: Vec<(Cow<'static, str>, Argument)> },
    Verbatim(String),
    Joined { parts: Vec<Content>, separator: Cow<'static, str> },
    Indented { text: Box<Content>, by: usize },
    Unbroken(Box<Content>),
}

/// A message in JSON for another process, which gives the text in its reader's language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortableMessage(#[serde(with = "portable")] pub Message);

/// The values in a message, each with its name.
pub type Arguments = [(Cow<'static, str>, Argument)];

/// A value in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    /// A name, an identifier, or a figure with its unit: the same in every language.
    Text(String),
    /// A count, of which the plural depends.
    Number(i128),
    /// A count that is shown in groups of three digits, `12 345 678`, with no-break spaces.
    Grouped(u64),
    /// A number with a decimal point, which Russian writes as a comma.
    Decimal(String),
    /// A part of the sentence, which is translated with the sentence.
    Message(#[serde(with = "portable")] Message),
}

impl Message {
    /// For the macro `message!`, whose uses the tests check.
    pub const fn new(id: &'static str, arguments: Vec<(Cow<'static, str>, Argument)>) -> Self {
        Message(Content::Translated { id: Cow::Borrowed(id), arguments })
    }

    /// A text that has no translation and reads the same in every language: the words of a server, of an error, or of
    /// another program.
    pub fn verbatim(text: impl Into<String>) -> Self {
        Message(Content::Verbatim(text.into()))
    }

    /// The messages one after the other, with marks that every language has in between.
    pub fn joined(parts: impl IntoIterator<Item = Message>, separator: &'static str) -> Self {
        let parts = parts.into_iter().map(|part| part.0).collect();
        Message(Content::Joined { parts, separator: Cow::Borrowed(separator) })
    }

    /// The message with each of its lines moved to the right.
    pub fn indented(self, by: usize) -> Self {
        Message(Content::Indented { text: Box::new(self.0), by })
    }

    /// The message with no-break spaces, so that it stays on one line.
    pub fn unbroken(self) -> Self {
        Message(Content::Unbroken(Box::new(self.0)))
    }

    /// The text for a reader of this language. Where a text is missing there, the whole message is given in English, and by
    /// its ids where one is missing in English too; the tests make sure that neither happens.
    pub fn in_language(&self, language: Language) -> String {
        let text = self.text(language).or_else(|| self.text(Language::English));
        text.unwrap_or_else(|| self.0.ids())
    }

    /// The text in that language; `None` where it, or a part of it, is missing.
    pub(super) fn text(&self, language: Language) -> Option<String> {
        self.0.text(language)
    }
}

impl Content {
    fn text(&self, language: Language) -> Option<String> {
        Some(match self {
            Content::Translated { id, arguments } => texts::text(language, id, arguments)?,
            Content::Verbatim(text) => text.clone(),
            Content::Joined { parts, separator } => {
                let texts: Option<Vec<String>> = parts.iter().map(|part| part.text(language)).collect();
                texts?.join(separator)
            }
            Content::Unbroken(content) => content.text(language)?.replace(' ', "\u{a0}"),
            Content::Indented { text: content, by } => {
                let lines = content.text(language)?;
                let lines: Vec<String> = lines.split('\n').map(|line| format!("{:by$}{line}", "")).collect();
                lines.join("\n")
            }
        })
    }

    /// What a reader can look for where a text is missing.
    fn ids(&self) -> String {
        match self {
            Content::Translated { id, .. } => id.to_string(),
            Content::Verbatim(text) => text.clone(),
            Content::Joined { parts, separator } => {
                parts.iter().map(Content::ids).collect::<Vec<_>>().join(separator)
            }
            Content::Unbroken(content) | Content::Indented { text: content, .. } => content.ids(),
        }
    }
}

impl PortableMessage {
    /// The message, where this version of leadbridge has its text.
    pub fn known(&self) -> Option<&Message> {
        self.0.text(Language::English).map(|_| &self.0)
    }
}

/// A message with its id and arguments, not as its English text.
mod portable {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::{Content, Message};

    pub fn serialize<S: Serializer>(message: &Message, serializer: S) -> Result<S::Ok, S::Error> {
        message.0.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Message, D::Error> {
        Content::deserialize(deserializer).map(Message)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.in_language(Language::English))
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text out of JSON: its id is not known any more.
impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Message::verbatim)
    }
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Argument::Text(text)
    }
}

impl From<&String> for Argument {
    fn from(text: &String) -> Self {
        Argument::Text(text.clone())
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Argument::Text(text.to_owned())
    }
}

/// The name alone, "Landing": each language says in its own words that this is a database.
impl From<Side> for Argument {
    fn from(side: Side) -> Self {
        Argument::Text(side.name().to_owned())
    }
}

macro_rules! text {
    ($($kind:ty),*) => {
        $(impl From<$kind> for Argument {
            fn from(value: $kind) -> Self {
                Argument::Text(value.to_string())
            }
        })*
    };
}
text!(Lsn, Timestamp, Uuid, SocketAddr, bool, f64, Cow<'_, str>);

impl From<Message> for Argument {
    fn from(part: Message) -> Self {
        Argument::Message(part)
    }
}

impl From<&Message> for Argument {
    fn from(part: &Message) -> Self {
        Argument::Message(part.clone())
    }
}

macro_rules! number {
    ($($integer:ty),*) => {
        $(impl From<$integer> for Argument {
            fn from(number: $integer) -> Self {
                Argument::Number(i128::from(number))
            }
        }

        impl From<&$integer> for Argument {
            fn from(number: &$integer) -> Self {
                Argument::from(*number)
            }
        })*
    };
}
number!(i32, i64, u8, u16, u32, u64);

impl From<usize> for Argument {
    fn from(number: usize) -> Self {
        // No platform has a usize beyond i128.
        Argument::Number(i128::try_from(number).unwrap_or(i128::MAX))
    }
}
