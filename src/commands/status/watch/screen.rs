//! The screen as a function of the model and the area; pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use super::charts;
use super::facts::{Fact, Tone, facts, most_important};
use super::figures::COLUMN;
use super::look::Appearance;
use super::model::Model;
use crate::language::written::clock;
use crate::language::{Message, message};

/// Smallest window that shows everything that must be seen.
const SMALLEST: (u16, u16) = (60, 15);
/// Columns of the labels.
pub(super) const LABELS: usize = 12;

/// A line on the screen.
struct Line {
    label: String,
    text: String,
    tone: Tone,
}

/// Draws everything. Writes to every row of `area` at most once.
pub fn draw(model: &Model, look: Appearance, area: Rect, buf: &mut Buffer) {
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return draw_small(model, look, area, buf);
    }
    draw_head(model, look, area, buf);
    let room = usize::from(area.height) - 2;
    let lines = fitting(facts(model, look.language), usize::from(area.width), room, look);
    let used = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    for (line, row) in lines.iter().zip(area.y + 1..) {
        draw_line(line, look, (area.x, row), buf);
    }
    let free = area.height - 2 - used;
    // An empty row tells words from charts, where there is one left.
    let gap = u16::from(free > 7);
    charts::draw(model, look, Rect { y: area.y + 1 + used + gap, height: free - gap, ..area }, buf);
    let legend = message!("watch-legend", seconds = COLUMN.as_secs());
    buf.set_string(area.x, area.bottom() - 1, look.say(&legend), look.faint());
}

fn draw_head(model: &Model, look: Appearance, area: Rect, buf: &mut Buffer) {
    let now = clock(model.now.clock);
    let answered = look.say(&match model.answered_at() {
        Some(at) => message!("watch-head", at = clock(at.clock), now = now),
        None => message!("watch-head-asking", now = now),
    });
    buf.set_string(area.x, area.y, "leadbridge status", look.label());
    let begin = usize::from(area.width).saturating_sub(answered.chars().count());
    buf.set_string(area.x + u16::try_from(begin).unwrap_or(0), area.y, answered, look.faint());
}

fn draw_line(line: &Line, look: Appearance, (x, y): (u16, u16), buf: &mut Buffer) {
    let style = look.tone(line.tone);
    buf.set_string(x, y, &line.label, look.label().patch(style));
    let indent = if line.label.is_empty() && line.text.starts_with("  ") { 0 } else { LABELS };
    buf.set_string(x + u16::try_from(indent).unwrap_or(0), y, &line.text, style);
}

/// The lines of `facts` that fit into `room` rows. Those of the highest rank are left out first, and a line says so.
fn fitting(mut facts: Vec<Fact>, width: usize, room: usize, look: Appearance) -> Vec<Line> {
    let broken = |facts: &[Fact]| facts.iter().flat_map(|fact| broken(fact, width, look)).collect::<Vec<_>>();
    let mut lines = broken(&facts);
    let mut left_out = 0;
    while lines.len() + usize::from(left_out > 0) > room {
        let worst =
            facts.iter().enumerate().max_by_key(|(place, fact)| (fact.rank, *place)).map(|(place, _)| place);
        let Some(worst) = worst.filter(|_| facts.len() > 1) else {
            // A single text that is longer than the window.
            lines.truncate(room.saturating_sub(1));
            left_out += 1;
            break;
        };
        facts.remove(worst);
        left_out += 1;
        lines = broken(&facts);
    }
    if left_out > 0 {
        let text = look.say(&message!("watch-more", count = left_out));
        lines.push(Line { label: look.text("…"), text, tone: Tone::Bad });
    }
    lines
}

/// A fact in lines of `width` columns.
fn broken(fact: &Fact, width: usize, look: Appearance) -> Vec<Line> {
    let (mut label, text) = (look.say(&fact.label), look.say(&fact.text));
    let lines = if fact.is_row { vec![text] } else { wrapped(&text, width - LABELS) };
    let lines =
        lines.into_iter().map(|text| Line { label: std::mem::take(&mut label), text, tone: fact.tone });
    lines.collect()
}

/// `text` in lines of at most `width` columns, broken between words; a word that is longer is broken itself.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let columns = |text: &str| Span::raw(text).width();
    let mut lines = vec![String::new()];
    for word in text.split([' ', '\n', '\t']) {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if columns(line) + 1 + columns(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
        while let Some(line) = lines.last_mut().filter(|line| columns(line) > width) {
            let fits = |end: &usize| columns(&line[..*end]) <= width;
            let cut = line.char_indices().map(|(at, _)| at).take_while(fits).last().unwrap_or(0);
            // At least one character, so that the loop ends.
            let cut = if cut == 0 { line.chars().next().map_or(0, char::len_utf8) } else { cut };
            let rest = line.split_off(cut);
            if rest.is_empty() {
                break;
            }
            lines.push(rest);
        }
    }
    lines
}

/// A window that is too small says so, and shows the two lines that matter most.
fn draw_small(model: &Model, look: Appearance, area: Rect, buf: &mut Buffer) {
    let (width, height) = SMALLEST;
    let (needed, size) = (format!("{width}x{height}"), format!("{}x{}", area.width, area.height));
    let mut texts = vec![message!("watch-too-small", needed = needed, size = size)];
    texts.extend(most_important(model).map(|fact| Message::joined([fact.label, fact.text], ": ")));
    let mut row = area.y;
    for text in texts {
        for line in wrapped(&look.say(&text), usize::from(area.width).max(1)) {
            if row >= area.bottom() {
                return;
            }
            buf.set_stringn(area.x, row, line, usize::from(area.width), Style::new());
            row += 1;
        }
    }
}
