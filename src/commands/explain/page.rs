//! Lines for a terminal of 80 columns.

use std::fmt::Write as _;

use crate::language::{Language, Message, message};

const WIDTH: usize = 80;

/// Longest value that is shown whole, in characters.
const SHOWN: usize = 200;

/// Lines of at most [`WIDTH`] characters, as far as words allow.
pub(super) struct Page {
    text: String,
    language: Language,
}

impl Page {
    pub fn new(language: Language) -> Self {
        Page { text: String::new(), language }
    }

    pub fn into_text(self) -> String {
        self.text
    }

    pub fn say(&self, message: &Message) -> String {
        message.in_language(self.language)
    }

    pub fn line(&mut self, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}", text.trim_end());
    }

    /// Wraps at spaces; every line is indented.
    fn wrapped(&mut self, indent: usize, text: &str) {
        let (mut line, margin) = (String::new(), " ".repeat(indent));
        for word in text.split_whitespace() {
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&format!("{margin}{line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.line(&format!("{margin}{line}"));
        }
    }

    /// The message in lines that are indented.
    pub fn said(&mut self, indent: usize, message: &Message) {
        self.wrapped(indent, &self.say(message));
    }

    pub fn section(&mut self, title: &Message) {
        self.line("");
        self.said(0, title);
    }

    pub fn shown(&self, value: Option<&str>) -> String {
        shown(value, self.language)
    }
}

/// A value for a terminal: on one line, without control characters, and cut where it is long.
fn shown(value: Option<&str>, language: Language) -> String {
    let Some(value) = value else { return "null".to_owned() };
    let mut text: String = value.chars().take(SHOWN).map(printable).collect();
    let count = value.chars().count();
    if count > SHOWN {
        text += &message!("explain-cut", count = count).in_language(language);
    }
    format!("'{text}'")
}

/// Characters that steer a terminal, or the direction of writing, are shown and not obeyed.
pub(super) fn printable(c: char) -> String {
    let steers = c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if steers { c.escape_unicode().to_string() } else { c.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_does_not_steer_the_terminal() {
        assert_eq!(
            shown(Some("a\u{1b}[2Jb\n\u{202e}c"), Language::English),
            "'a\\u{1b}[2Jb\\u{a}\\u{202e}c'"
        );
        assert_eq!(shown(Some("Айгерім 🌸"), Language::English), "'Айгерім 🌸'");
        assert_eq!(shown(None, Language::English), "null");
        assert!(shown(Some(&"x".repeat(300)), Language::English).contains("(300 characters"));
    }

    #[test]
    fn lines_break_at_the_width() {
        let mut page = Page::new(Language::English);
        page.wrapped(4, &"word ".repeat(40));
        assert!(
            page.text.lines().count() == 3 && page.text.lines().all(|line| line.chars().count() <= WIDTH)
        );
    }
}
