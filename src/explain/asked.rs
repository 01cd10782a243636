//! What an operator knows of a lead: its id, a phone or an e-mail; pure.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::language::message;
use crate::mapping::values::normalized_phone;

/// A value by which leads are found. The value is never printed: it may be a person's phone or e-mail.
#[derive(Clone, PartialEq, Eq)]
pub enum Asked {
    /// The id of a lead, or of one of its journey entries or notifications.
    Id(Uuid),
    /// Compared by its exact spelling, as `find_or_create_unified_lead` compares.
    Email(String),
    /// ASCII digits and `+`. Nothing is guessed: `8701…` and `+7701…` are different numbers.
    Phone(String),
}

impl Asked {
    /// # Errors
    /// `Usage` for a text that is none of the three. The error does not show the text.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Ok(id) = text.parse() {
            return Ok(Asked::Id(id));
        }
        if text.contains('@') {
            return Ok(Asked::Email(text.to_owned()));
        }
        // As in `find_or_create_unified_lead`, a text without a digit is not a number. A text with letters is more
        // likely a mistyped id than a number.
        let phone = normalized_phone(text);
        if !phone.chars().any(|c| c.is_ascii_digit()) || text.chars().any(char::is_alphabetic) {
            return Err(Error::usage("the argument is not an id (a UUID), an e-mail (with @) or a phone")
                .remedy(message!("explain-remedy-argument")));
        }
        Ok(Asked::Phone(phone))
    }

    /// The kind of the value, for messages and documents.
    pub fn kind(&self) -> &'static str {
        match self {
            Asked::Id(_) => "id",
            Asked::Email(_) => "email",
            Asked::Phone(_) => "phone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_an_id_and_an_at_sign_makes_an_email_and_everything_else_must_be_a_number() {
        let id = "c0ffee00-0000-4000-8000-000000000001";
        assert!(Asked::parse(&format!(" {id}\n")).is_ok_and(|asked| asked == Asked::Id(id.parse().unwrap())));
        assert!(Asked::parse("A.b@Example.kz").is_ok_and(|a| a == Asked::Email("A.b@Example.kz".into())));
        for phone in ["+7 (701) 123-45-67", "+77011234567", " +7 701 1234567 "] {
            assert!(Asked::parse(phone).is_ok_and(|asked| asked == Asked::Phone("+77011234567".into())));
        }
        assert!(Asked::parse("8 701 1234567").is_ok_and(|asked| asked == Asked::Phone("87011234567".into())));
    }

    #[test]
    fn what_is_none_of_the_three_is_refused_without_being_shown() {
        for text in ["", "+", "()", "c0ffee00-0000-4000-8000-00000000000", "Айгерим 7", "٠٧٠١"] {
            let error = Asked::parse(text).err().expect("refused");
            assert!(text.len() < 2 || !error.to_string().contains(text), "{error}");
        }
    }
}
