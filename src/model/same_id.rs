//! The configured handling of leads that Traffic holds under Landing's ids before a copy.

use std::str::FromStr;

/// What a copy does when Traffic holds leads that leadbridge did not bring, with the ids of Landing's leads
/// (docs/imports.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameId {
    /// No copy begins.
    #[default]
    Refuse,
    /// Landing's values win. Traffic's different values are kept as conversion notes.
    Landing,
}

impl FromStr for SameId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(SameId::Refuse),
            "landing" => Ok(SameId::Landing),
            other => Err(format!("`{other}` is neither refuse nor landing")),
        }
    }
}
