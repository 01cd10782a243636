//! What a terminal can show: characters, colours, and so the language; pure.

use ratatui::style::{Color, Modifier, Style};

use super::facts::Tone;
use crate::language::{Language, Message};

/// What the terminal is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appearance {
    /// Whether characters beyond ASCII may be sent.
    pub unicode: bool,
    pub colours: bool,
    pub language: Language,
}

impl Appearance {
    /// The look that the variables of the environment ask for. A terminal without characters beyond ASCII cannot show
    /// Russian.
    pub fn of(variable: impl Fn(&str) -> Option<String>, wanted: Language) -> Self {
        // As in POSIX, the first of the three that is set and not empty decides.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(|name| variable(name).filter(|it| !it.is_empty()));
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        let language = if unicode { wanted } else { Language::English };
        Appearance { unicode, colours: variable("NO_COLOR").is_none(), language }
    }

    /// `message` in the language and the characters of the terminal.
    pub fn say(self, message: &Message) -> String {
        self.text(&message.in_language(self.language))
    }

    /// `text` in the characters of the terminal, without control characters.
    pub fn text(self, text: &str) -> String {
        if self.unicode {
            return text.chars().filter(|char| !char.is_control()).collect();
        }
        text.chars().filter(|char| !char.is_control()).fold(String::new(), |mut plain, char| {
            match char {
                '—' | '–' | '─' => plain.push('-'),
                '│' => plain.push('|'),
                '└' => plain.push('+'),
                '×' => plain.push('x'),
                '…' => plain.push_str("..."),
                '\u{a0}' => plain.push(' '),
                ascii if ascii.is_ascii() => plain.push(ascii),
                _ => plain.push('?'),
            }
            plain
        })
    }

    /// Only the eight colours that a terminal shows as its user has chosen them, and no white, black, yellow or blue,
    /// which cannot be read on every background.
    pub fn tone(self, tone: Tone) -> Style {
        let (colour, modifier) = match tone {
            Tone::Plain => return Style::new(),
            Tone::Good => (Color::Green, Modifier::empty()),
            Tone::Bad => (Color::Red, Modifier::BOLD),
            Tone::Old => (Color::Magenta, Modifier::empty()),
        };
        self.coloured(colour).add_modifier(modifier)
    }

    pub fn chart(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// For scales and hints. Not dimmed, because some terminals then show nothing.
    pub fn faint(self) -> Style {
        Style::new()
    }

    pub fn label(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Appearance {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Appearance::of(variable, Language::Russian)
    }

    #[test]
    fn the_locale_and_no_color_decide() {
        assert_eq!(of(&[]), Appearance { unicode: false, colours: true, language: Language::English });
        assert_eq!(of(&[("LANG", "ru_RU.UTF-8")]).language, Language::Russian);
        assert!(of(&[("LANG", "ru_RU.UTF-8")]).unicode);
        assert!(!of(&[("LANG", "ru_RU.UTF-8"), ("LC_ALL", "C")]).unicode);
        assert!(of(&[("LANG", "C"), ("LC_CTYPE", "C.utf8"), ("LC_ALL", "")]).unicode);
        assert!(!of(&[("NO_COLOR", "1")]).colours);
        assert!(of(&[("NO_COLOR", "1")]).tone(Tone::Bad).fg.is_none());
    }

    #[test]
    fn a_terminal_without_unicode_gets_ascii_only_and_no_terminal_gets_control_characters() {
        let ascii = of(&[]);
        assert_eq!(ascii.text("a — b…\u{a0}Ж\u{1b}[2J"), "a - b... ?[2J");
        assert_eq!(Appearance { unicode: true, ..ascii }.text("Ж\u{1b}—"), "Ж—");
    }
}
