//! The demo's output: numbered steps, plain words, and one moving line.
//!
//! Nobody has to read the output: a closed stdout does not stop the story, and the exit code gives the
//! result.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::figures;

/// The text's last column, for a terminal of 80 columns.
const WIDTH: usize = 79;
const INDENT: &str = "    ";
/// Interval between two prints of a moving line where stdout is not a terminal.
const PLAIN_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    started: Instant,
    step: u32,
    /// Whether a moving line stands on the screen without an end of line.
    is_moving: bool,
    moved: Option<Instant>,
}

impl Screen {
    pub fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Screen { is_terminal, started: Instant::now(), step: 0, is_moving: false, moved: None }
    }

    /// Prints the title and an introduction.
    pub fn title(&mut self, text: &str, words: &str) {
        self.write(&format!("{}\n", self.bold(text)));
        self.write(&wrapped(words, ""));
    }

    /// Begins a new step.
    pub fn step(&mut self, title: &str) {
        self.step += 1;
        let seconds = format!("{:>5.1} s", self.started.elapsed().as_secs_f64());
        let room = WIDTH - INDENT.len() - seconds.len();
        let line = format!("\n{:>2}  {}{seconds}\n", self.step, self.bold(&format!("{title:<room$}")));
        self.moved = None;
        self.write(&line);
    }

    /// Prints a result in whole sentences.
    pub fn say(&mut self, words: &str) {
        self.write(&wrapped(words, INDENT));
    }

    /// Prints a line that is overwritten on a terminal, and repeated once a second elsewhere.
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

    /// Prints the result of the demo.
    pub fn end(&mut self, words: &str) {
        self.write("\n");
        let seconds = figures::duration(self.started.elapsed());
        self.write(&wrapped(&format!("{words} ({seconds})"), ""));
    }

    /// Prints the daemon's last log lines, to help find out why a step failed.
    pub fn log_tail(&mut self, lines: &[String]) {
        self.write("\nThe demo failed. The daemon's last words:\n");
        if lines.is_empty() {
            self.write(&format!("{INDENT}(none: it had not been started)\n"));
        }
        for line in lines {
            self.write(&format!("{INDENT}{line}\n"));
        }
    }

    /// Clears a moving line first, because its text is not needed any more.
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
    // A reader that has closed stdout misses the rest.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Lines of at most [`WIDTH`] columns, each with `indent` in front.
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
