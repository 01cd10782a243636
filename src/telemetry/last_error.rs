//! The error that the document shows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::language::{Language, Message, PortableMessage};

/// The last error. Holds no row values and no password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    pub message: String,
    /// Remedy for the operator, in English.
    pub remedy: Option<String>,
    /// The same for a reader of another language. A record on Traffic, or of an earlier version, has none.
    #[serde(default)]
    pub remedy_message: Option<PortableMessage>,
    /// Time by this machine's clock.
    pub at: Timestamp,
    /// Whether the daemon retries by itself.
    pub retrying: bool,
}

impl LastError {
    /// Describes `error`, at the present time.
    pub fn new(error: &crate::error::Error) -> Self {
        LastError {
            message: error.message().to_owned(),
            remedy: error.remedy_text(),
            remedy_message: error.remedy_message().cloned().map(PortableMessage),
            at: Timestamp::now(),
            retrying: error.response() == crate::error::Response::Retry,
        }
    }

    /// The remedy; its English text where this version does not know the message.
    pub fn known_remedy(&self) -> Option<Message> {
        let known = self.remedy_message.as_ref().and_then(PortableMessage::known).cloned();
        known.or_else(|| self.remedy.clone().map(Message::verbatim))
    }

    /// The remedy for a reader of this language; in English where no translation is known.
    pub fn remedy_in(&self, language: Language) -> Option<String> {
        self.known_remedy().map(|remedy| remedy.in_language(language))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::language::message;

    #[test]
    fn a_reader_in_another_process_gets_the_remedy_in_its_language() {
        let missed = message!("error-missed-in-function", name = "public.f()");
        let written =
            serde_json::to_string(&LastError::new(&Error::refused("x").remedy(missed.clone()))).unwrap();
        let read: LastError = serde_json::from_str(&written).unwrap();
        assert_eq!(read.remedy_in(Language::Russian).unwrap(), missed.in_language(Language::Russian));
        assert_eq!(read.remedy_in(Language::English), read.remedy);
        // As a later version may write, and as an earlier one has.
        let unknown = written.replace("\"error-missed-in-function\"", "\"error-of-a-later-version\"");
        let read: LastError = serde_json::from_str(&unknown).unwrap();
        assert_eq!(read.remedy_in(Language::Russian), read.remedy);
        let earlier = r#"{"message":"x","remedy":"do it","at":"2026-11-29T12:00:00Z","retrying":false}"#;
        let read: LastError = serde_json::from_str(earlier).unwrap();
        assert_eq!(read.remedy_in(Language::Russian).as_deref(), Some("do it"));
    }
}
