//! The configured response to a TRUNCATE.

use std::str::FromStr;

/// Effect of a TRUNCATE on Landing (guarantees 3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTruncate {
    /// The daemon stops with an error.
    #[default]
    Stop,
    /// The rows that came from Landing are deleted on Traffic, and no other rows.
    Apply,
}

impl FromStr for OnTruncate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stop" => Ok(OnTruncate::Stop),
            "apply" => Ok(OnTruncate::Apply),
            other => Err(format!("`{other}` is neither stop nor apply")),
        }
    }
}
