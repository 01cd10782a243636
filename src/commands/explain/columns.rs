//! The lead's columns as text: what differs first, then each column whose rule has alternatives, then paragraphs of
//! columns that have nothing to tell but their names.

use super::page::Page;
use crate::explain::{ColumnExplanation, LeadExplanation};
use crate::language::{Message, message};

pub(super) fn list(page: &mut Page, lead: &LeadExplanation, with_values: bool) {
    if lead.columns.is_empty() {
        return;
    }
    let count = |equal| lead.columns.iter().filter(|column| column.equal == equal).count();
    let what = match (count(Some(true)), count(Some(false))) {
        (0, 0) => message!("explain-row-not-compared"),
        (equal, 0) => message!("explain-columns-equal", equal = equal),
        (equal, different) => message!("explain-columns-different", different = different, equal = equal),
    };
    page.section(&message!("explain-columns", what = what));
    for column in lead.columns.iter().filter(|column| column.equal == Some(false)) {
        line(page, column);
    }
    let others = || lead.columns.iter().filter(|column| column.equal != Some(false));
    for column in others().filter(|column| paragraph(column, with_values).is_none()) {
        line(page, column);
    }
    let mut paragraphs: Vec<(Message, Vec<&str>)> = Vec::new();
    for column in others() {
        let Some(title) = paragraph(column, with_values) else { continue };
        match paragraphs.iter_mut().find(|(known, _)| *known == title) {
            Some((_, columns)) => columns.push(column.column.as_str()),
            None => paragraphs.push((title, vec![column.column.as_str()])),
        }
    }
    for (title, columns) in paragraphs {
        page.said(2, &Message::joined([title, Message::verbatim(columns.join(", "))], ": "));
    }
    own(page, lead, with_values);
}

/// Whether the rule has one place and nothing to choose.
fn is_plain(column: &ColumnExplanation) -> bool {
    column.rule.ends_with(", verbatim") || column.rule.contains("; null becomes ")
}

/// What the rule has done, or that it has nothing to work on.
fn how(column: &ColumnExplanation) -> Message {
    column.how.as_ref().map_or_else(|| message!("explain-no-row"), Message::verbatim)
}

/// The paragraph of a column that is not shown on a line of its own. Values need a line.
fn paragraph(column: &ColumnExplanation, with_values: bool) -> Option<Message> {
    if with_values || column.note.is_some() {
        return None;
    }
    match (&column.from, column.how.as_deref()) {
        (Some(_), Some("verbatim")) if is_plain(column) => Some(how(column)),
        (Some(_), _) => None,
        // A lead of Traffic's own.
        (None, _) => Some(how(column)),
    }
}

fn line(page: &mut Page, column: &ColumnExplanation) {
    let mark = match column.equal {
        Some(true) => '=',
        Some(false) => '≠',
        None => '·',
    };
    let origin = match (&column.from, column.how.as_deref()) {
        (Some(from), Some("verbatim")) => Message::verbatim(from),
        (Some(from), _) => Message::joined([Message::verbatim(from), how(column)], ": "),
        (None, _) => how(column),
    };
    page.line(&format!("  {mark} {:<26} {}", column.column, page.say(&origin)));
    if let Some(reason) = &column.reason {
        page.said(6, reason);
        if !is_plain(column) {
            page.said(6, &message!("explain-rule", rule = &column.rule));
        }
    }
    if let Some(note) = &column.note {
        page.said(6, &message!("explain-column-note", note = note));
    }
    let Some(values) = &column.values else { return };
    let [given, held] = [&values.given, &values.on_traffic].map(|value| page.shown(value.as_deref()));
    let (gives, holds) = (message!("explain-given", value = given), message!("explain-held", value = &held));
    let lines = match column.equal {
        Some(true) => vec![Message::verbatim(held)],
        Some(false) => vec![gives, holds],
        // One of the rows is missing, or Traffic alone decides.
        None if values.on_traffic.is_some() => vec![holds],
        None => vec![gives],
    };
    for text in lines {
        page.line(&format!("      {}", page.say(&text)));
    }
}

/// The columns that no rule fills.
fn own(page: &mut Page, lead: &LeadExplanation, with_values: bool) {
    let Some(traffic) = &lead.traffic else { return };
    if with_values {
        for own in &traffic.own_columns {
            let value = own.value.as_ref().and_then(|value| value.as_deref());
            page.line(&format!("  · {:<26} {}", own.column, page.say(&message!("explain-row-own"))));
            page.line(&format!("      {}", page.shown(value)));
        }
    } else if !traffic.own_columns.is_empty() {
        let own: Vec<&str> = traffic.own_columns.iter().map(|own| &*own.column).collect();
        page.said(2, &message!("explain-own-columns", columns = own.join(", ")));
    }
}
