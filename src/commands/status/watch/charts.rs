//! Lag and throughput over the last minutes; pure.

use bytesize::ByteSize;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::bar;
use ratatui::widgets::{RenderDirection, Sparkline, SparklineBar, Widget as _};

use super::figures::COLUMN;
use super::look::Appearance;
use super::model::Model;
use crate::language::written::{duration, grouped};
use crate::language::{Message, message};
use crate::telemetry::columns::ChartColumn;

/// Columns to the left of a chart, for its name and its highest value.
const SCALE: u16 = 16;
/// Rows of a chart: name and highest value stand in one each.
const LEAST: u16 = 2;
/// Rows beyond which a chart becomes no clearer.
const MOST: u16 = 12;

/// Bars for a terminal without block characters.
const ASCII: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "#",
    five_eighths: "#",
    half: ":",
    three_eighths: ":",
    one_quarter: ".",
    one_eighth: ".",
    empty: " ",
};

struct Chart {
    name: fn() -> Message,
    value: fn(&ChartColumn) -> Option<f64>,
    words: fn(f64) -> Message,
}

/// In the order of importance.
const CHARTS: [Chart; 3] = [
    Chart { name: || message!("watch-chart-lag"), value: |column| column.lag_seconds, words: duration },
    Chart {
        name: || message!("watch-chart-rows"),
        value: |column| column.rows_per_second,
        words: |rows| Message::verbatim(grouped(rows.ceil() as u64)),
    },
    Chart {
        name: || message!("watch-chart-bytes"),
        value: |column| column.lag_bytes.map(|bytes| bytes as f64),
        words: |bytes| Message::verbatim(ByteSize(bytes as u64).display().iec().to_string()),
    },
];

/// Draws as many charts as there is place for, above one another, with one axis of time below.
pub fn draw(model: &Model, look: Appearance, area: Rect, buf: &mut Buffer) {
    let Some(rows) = area.height.checked_sub(1).filter(|rows| *rows >= LEAST) else { return };
    let count = (rows / LEAST).min(3);
    let width = area.width.saturating_sub(SCALE);
    let columns = model.figures.columns(model.now.elapsed, usize::from(width));
    let height = (rows / count).min(MOST);
    let mut top = area.y;
    for (place, chart) in CHARTS.iter().take(usize::from(count)).enumerate() {
        // The rows that remain of the division go to the first charts.
        let more = u16::from(height < MOST && u16::try_from(place).is_ok_and(|place| place < rows % count));
        let area = Rect { y: top, height: height + more, ..area };
        draw_chart(chart, &columns, look, area, buf);
        top += height + more;
    }
    let line = look.text("─").repeat(usize::from(width));
    buf.set_string(area.x + SCALE - 1, top, look.text("└") + &line, look.chart());
    let shown = COLUMN * u32::from(width);
    let begin = look.say(&message!("watch-chart-begin", time = duration(shown.as_secs_f64()))) + " ";
    buf.set_string(area.x + SCALE, top, begin, look.faint());
    let now = format!(" {}", look.say(&message!("watch-chart-now")));
    // A letter of either language is one column wide.
    let wide = u16::try_from(now.chars().count()).unwrap_or(0);
    buf.set_string(area.right().saturating_sub(wide), top, now, look.faint());
}

fn draw_chart(chart: &Chart, columns: &[ChartColumn], look: Appearance, area: Rect, buf: &mut Buffer) {
    let values: Vec<_> = columns.iter().map(chart.value).collect();
    let highest = values
        .iter()
        .flatten()
        .copied()
        .fold(None, |most: Option<f64>, value| Some(most.map_or(value, |most| most.max(value))));
    for (text, row) in scale(chart, highest).iter().zip(area.y..) {
        buf.set_string(area.x, row, look.say(text), look.faint());
    }
    for row in area.y..area.bottom() {
        buf.set_string(area.x + SCALE - 1, row, look.text("│"), look.chart());
    }
    let plot = Rect { x: area.x + SCALE, width: area.width.saturating_sub(SCALE), ..area };
    let top = highest.unwrap_or(0.0);
    let ticks = u64::from(plot.height) * 8;
    let bars = values
        .into_iter()
        .rev()
        .map(|value| SparklineBar::from(value.map(|value| height(value, top, ticks))));
    Sparkline::default()
        .data(bars)
        .max(ticks)
        .direction(RenderDirection::RightToLeft)
        .absent_value_symbol("?")
        .absent_value_style(look.faint())
        .bar_set(if look.unicode { bar::NINE_LEVELS } else { ASCII })
        .style(look.chart())
        .render(plot, buf);
}

/// What stands to the left of a chart.
fn scale(chart: &Chart, highest: Option<f64>) -> [Message; 2] {
    let most = |highest| message!("watch-chart-max", value = (chart.words)(highest));
    [(chart.name)(), highest.map_or_else(|| message!("figures-not-known"), most)]
}

/// Eighths of a row: 0 for zero only, so that a small value is seen beside a large one.
fn height(value: f64, top: f64, ticks: u64) -> u64 {
    if value <= 0.0 || top <= 0.0 {
        return 0;
    }
    ((value / top * ticks as f64).ceil() as u64).clamp(1, ticks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn every_scale_has_place_beside_its_chart() {
        let highest = [f64::from(59 * 60 + 59), f64::from(23 * 3_600 + 59 * 60), 1_047_552.0];
        for (chart, language) in
            CHARTS.iter().flat_map(|chart| Language::ALL.map(|language| (chart, language)))
        {
            for text in highest.iter().flat_map(|highest| scale(chart, Some(*highest))) {
                let text = text.in_language(language);
                assert!(text.chars().count() < usize::from(SCALE), "{text}");
            }
        }
    }

    #[test]
    fn only_nothing_has_no_height() {
        assert_eq!([0.0, 0.001, 50.0, 100.0, 1e300].map(|value| height(value, 100.0, 16)), [0, 1, 8, 16, 16]);
        assert_eq!(height(0.0, 0.0, 16), 0);
    }
}
