//! The initial copy, table by table.

use maud::{Markup, html};

use super::super::words::Words;
use super::Scene;
use crate::language::message;
use crate::language::written::{grouped, per_cent};
use crate::telemetry::{Live, State, TableProgress};

/// Empty unless a copy is under way.
pub fn progress(scene: &Scene, words: Words) -> Markup {
    let live = &scene.live;
    if live.state != State::Snapshot {
        return html! {};
    }
    html! {
        section aria-labelledby="h-snapshot" {
            h2 id="h-snapshot" { (words.say(message!("page-snapshot"))) }
            p { (whole(live, words)) }
            ul class="tables" {
                @for table in &live.snapshot { li { (row(table, words)) } }
            }
        }
    }
}

/// Rows, time left and what follows.
fn whole(live: &Live, words: Words) -> String {
    let (done, expected) = live.snapshot_rows();
    let mut parts = vec![match expected.filter(|expected| *expected > 0) {
        Some(expected) => rows_of(done, expected, words),
        None => words.rows(done),
    }];
    let left = live.snapshot_seconds_left.map(|left| words.duration(left));
    parts.extend(left.map(|time| words.say(message!("figures-left", time = time))));
    let indexes = live.snapshot_indexes_left.filter(|left| *left > 0);
    parts.extend(indexes.map(|count| words.say(message!("figures-indexes", count = count))));
    parts.join("; ")
}

fn row(table: &TableProgress, words: Words) -> Markup {
    let expected = table.rows_expected.filter(|expected| *expected > 0 && !table.finished);
    let text = match expected {
        _ if table.finished => words.say(message!("figures-done", what = words.rows(table.rows_done))),
        _ if table.rows_done == 0 => words.say(message!("page-snapshot-waits")),
        Some(expected) => rows_of(table.rows_done, expected, words),
        None => words.rows(table.rows_done),
    };
    let part = match (table.finished, expected) {
        (true, _) => Some(100),
        (false, Some(expected)) => Some(per_cent(table.rows_done, expected)),
        (false, None) => None,
    };
    html! {
        code { (table.table) }
        progress max="100" value=[part] aria-label=(table.table) {}
        span { (text) }
    }
}

fn rows_of(done: u64, expected: u64, words: Words) -> String {
    let part = per_cent(done, expected);
    let (done, expected) = (grouped(done), grouped(expected));
    words.say(message!("page-snapshot-rows-of", rows = done, expected = expected, part = part))
}
