//! Lag and throughput over time: drawn as SVG, and in words and figures for a reader who cannot see them.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::super::words::Words;
use super::Scene;
use crate::language::written::{clock_minutes, grouped};
use crate::language::{Message, message};
use crate::telemetry::columns::ChartColumn;
use crate::telemetry::past::Window;

/// Height of a chart in its own units. The page stretches a chart to the place that there is.
const HEIGHT: f64 = 100.0;
/// Rows of the table.
const ROWS: usize = 12;

struct Chart {
    name: Message,
    value: fn(&ChartColumn) -> Option<f64>,
    written: fn(Words, f64) -> String,
}

fn lag_chart() -> Chart {
    Chart { name: message!("page-chart-lag"), value: |column| column.lag_seconds, written: Words::duration }
}

fn rows_chart() -> Chart {
    Chart {
        name: message!("page-chart-rows"),
        value: |column| column.rows_per_second,
        written: |_, rows| grouped(rows.ceil() as u64),
    }
}

fn bytes_chart() -> Chart {
    Chart {
        name: message!("page-chart-bytes"),
        value: |column| column.lag_bytes.map(|bytes| bytes as f64),
        written: Words::rate,
    }
}

/// Lag in time, rows a second, lag in bytes.
pub fn charts(scene: &Scene, words: Words) -> [Markup; 3] {
    [lag_chart(), rows_chart(), bytes_chart()].map(|chart| draw(&chart, scene, words))
}

fn draw(chart: &Chart, scene: &Scene, words: Words) -> Markup {
    let values: Vec<_> = scene.columns.iter().map(chart.value).collect();
    let highest = values.iter().flatten().copied().reduce(f64::max);
    let name = words.say(chart.name.clone());
    let scale = match highest {
        Some(highest) => words.say(message!("page-chart-max", value = (chart.written)(words, highest))),
        None => words.say(message!("figures-not-known")),
    };
    let (known, unknown) = (bars(&values, highest.unwrap_or(0.0)), gaps(&values));
    let written =
        values.iter().map(|value| value.map_or_else(String::new, |value| (chart.written)(words, value)));
    let column = scene.window.column();
    let length = scene.window.length();
    let from = clock_minutes(scene.now - SignedDuration::try_from(length).unwrap_or_default());
    let to = clock_minutes(scene.now);
    html! {
        figcaption { span { (name) } " " span class="note" { (scale) } }
        svg viewBox={ "0 0 " (values.len()) " 100" } preserveAspectRatio="none" role="img"
            aria-label=(described(chart, scene, highest, words)) data-values=(written.collect::<Vec<_>>().join("|"))
            data-unknown=(words.say(message!("figures-not-known"))) data-column=(column.as_millis())
            data-end=(end_of(scene).as_millisecond()) {
            path class="gap" d=(unknown) {}
            path class="bars" d=(known) {}
            rect class="mark" width="0" height="100" {}
        }
        div class="axis" aria-hidden="true" { span { (from) } span class="pointed" {} span { (to) } }
    }
}

/// The end of the newest column, as exact as the page writes it: a chart is sent again whenever it has changed.
fn end_of(scene: &Scene) -> Timestamp {
    let step = i64::try_from(scene.window.column().as_secs().min(60)).unwrap_or(60);
    let seconds = scene.now.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(step)).unwrap_or(scene.now)
}

/// Filled columns that stand side by side.
fn bars(values: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    for (place, value) in values.iter().enumerate() {
        let Some(value) = value.filter(|value| *value > 0.0 && top > 0.0) else { continue };
        // A small value is seen beside a large one.
        let height = (value / top * HEIGHT).clamp(1.5, HEIGHT);
        column(&mut path, place, height);
    }
    path
}

/// Columns for which nothing is known.
fn gaps(values: &[Option<f64>]) -> String {
    let mut path = String::new();
    for (place, _) in values.iter().enumerate().filter(|(_, value)| value.is_none()) {
        column(&mut path, place, HEIGHT);
    }
    path
}

fn column(path: &mut String, place: usize, height: f64) {
    // Writing to a String cannot fail.
    let _ = write!(path, "M{place} 100V{:.1}h1V100z", HEIGHT - height);
}

/// The chart in one sentence.
fn described(chart: &Chart, scene: &Scene, highest: Option<f64>, words: Words) -> String {
    let (name, window) = (chart.name.clone(), window_name(scene.window));
    let newest = scene.columns.iter().rev().find_map(chart.value);
    let (Some(highest), Some(newest)) = (highest, newest) else {
        return words.say(message!("page-chart-unknown", name = name, window = window));
    };
    let place = scene.columns.iter().rposition(|column| (chart.value)(column) == Some(highest)).unwrap_or(0);
    let at = moment(scene, place + 1);
    words.say(message!(
        "page-chart-described",
        name = name,
        window = window,
        newest = (chart.written)(words, newest),
        highest = (chart.written)(words, highest),
        at = clock_minutes(at),
    ))
}

/// The end of the column before `place`.
fn moment(scene: &Scene, place: usize) -> Timestamp {
    let later = scene.columns.len().saturating_sub(place);
    let back = scene.window.column() * u32::try_from(later).unwrap_or(u32::MAX);
    scene.now - SignedDuration::try_from(back).unwrap_or_default()
}

/// The name of a window: "3 hours".
pub fn window_name(window: Window) -> Message {
    match window {
        Window::TenMinutes => message!("page-window-minutes"),
        Window::ThreeHours => message!("page-window-hours"),
        Window::Day => message!("page-window-day"),
    }
}

/// The three charts as a table of a dozen rows, the newest first.
pub fn table(scene: &Scene, words: Words) -> Markup {
    let each = scene.columns.len().div_ceil(ROWS).max(1);
    let charts = [lag_chart(), bytes_chart(), rows_chart()];
    let length =
        words.duration((scene.window.column() * u32::try_from(each).unwrap_or(u32::MAX)).as_secs_f64());
    let merged: Vec<_> = scene.columns.chunks(each).map(ChartColumn::of_neighbours).collect();
    let written = |chart: &Chart, column: &ChartColumn| {
        (chart.value)(column).map_or_else(|| "?".to_owned(), |value| (chart.written)(words, value))
    };
    html! {
        table {
            caption { (words.say(message!("page-table-caption", time = length))) }
            thead {
                tr {
                    th scope="col" { (words.say(message!("page-table-until"))) }
                    @for chart in &charts { th scope="col" { (words.say(chart.name.clone())) } }
                }
            }
            tbody {
                @for (place, row) in merged.iter().enumerate().rev() {
                    tr {
                        th scope="row" { (clock_minutes(moment(scene, ((place + 1) * each).min(scene.columns.len())))) }
                        @for chart in &charts { td { (written(chart, row)) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_height_a_small_value_is_seen_and_a_gap_is_not_zero() {
        let values = [Some(0.0), Some(0.001), Some(50.0), Some(100.0), None];
        assert_eq!(bars(&values, 100.0), "M1 100V98.5h1V100zM2 100V50.0h1V100zM3 100V0.0h1V100z");
        assert_eq!(gaps(&values), "M4 100V0.0h1V100z");
        assert_eq!(bars(&[Some(0.0)], 0.0), "");
    }
}
