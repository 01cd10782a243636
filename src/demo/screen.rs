//! What the newcomer sees: numbered steps, plain words, and one line that moves.
//!
//! Nobody has to read it: a closed stdout does not stop the story, whose exit code says how it ended.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::figures;

/// The text's last column, for a terminal of 80.
const WIDTH: usize = 79;
const INDENT: &str = "    ";
/// How often a moving line is repeated where it cannot move.
const PLAIN_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    started: Instant,
    step: u32,
    /// The moving line stands on the screen and has no end yet.
    is_moving: bool,
    moved: Option<Instant>,
}

impl Screen {
    pub fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Screen { is_terminal, started: Instant::now(), step: 0, is_moving: false, moved: None }
    }

    /// What the whole is about.
    pub fn title(&mut self, text: &str, words: &str) {
        self.write(&format!("{}\n", self.bold(text)));
        self.write(&wrapped(words, ""));
    }

    /// A new step begins.
    pub fn step(&mut self, title: &str) {
        self.step += 1;
        let seconds = format!("{:>5.1} s", self.started.elapsed().as_secs_f64());
        let room = WIDTH - INDENT.len() - seconds.len();
        let line = format!("\n{:>2}  {}{seconds}\n", self.step, self.bold(&format!("{title:<room$}")));
        self.moved = None;
        self.write(&line);
    }

    /// What happened, in whole sentences.
    pub fn say(&mut self, words: &str) {
        self.write(&wrapped(words, INDENT));
    }

    /// A line that is written over and over on a terminal, and once a second elsewhere.
    pub fn moving(&mut self, text: &str) {
        if self.is_terminal {
            let text: String = text.chars().take(WIDTH - INDENT.len()).collect();
            put(&format!("\r\x1b[2K{INDENT}{text}"));
            self.is_moving = true;
        } else if self.moved.is_none_or(|at| at.elapsed() >= PLAIN_PAUSE) {
            self.moved = Some(Instant::now());
            put(&format!("{INDENT}{text}\n"));
        }
    }

    /// How it ended.
    pub fn end(&mut self, words: &str) {
        self.write("\n");
        let seconds = figures::duration(self.started.elapsed());
        self.write(&wrapped(&format!("{words} ({seconds})"), ""));
    }

    /// What the daemon said last, for who must find out why a step failed.
    pub fn log_tail(&mut self, lines: &[String]) {
        self.write("\nThe demo failed. The daemon's last words:\n");
        if lines.is_empty() {
            self.write(&format!("{INDENT}(none: it had not been started)\n"));
        }
        for line in lines {
            self.write(&format!("{INDENT}{line}\n"));
        }
    }

    /// A moving line is wiped away first: what it said last is not needed any more.
    fn write(&mut self, text: &str) {
        if std::mem::take(&mut self.is_moving) {
            put("\r\x1b[2K");
        }
        put(text);
    }

    fn bold(&self, text: &str) -> String {
        if self.is_terminal { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn put(text: &str) {
    let mut stdout = io::stdout().lock();
    // A reader that has gone misses the rest.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Lines of at most [`WIDTH`] columns, each behind `indent`.
fn wrapped(words: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            text.push('\n');
            column = 0;
        }
        let before = if column == 0 { indent } else { " " };
        text.push_str(before);
        text.push_str(word);
        column += before.len() + length;
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_broken_between_words_and_indented() {
        let text = wrapped(&"word ".repeat(40), INDENT);
        assert!(text.lines().count() > 2);
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("    word")), "{text}");
        assert_eq!(text.split_whitespace().count(), 40);
    }
}
