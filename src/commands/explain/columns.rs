//! The lead's columns as text: what differs first, then each column whose rule has alternatives, then paragraphs of
//! columns that have nothing to tell but their names.

use super::text::{Page, shown};
use crate::explain::{ColumnExplanation, LeadExplanation};

pub(super) fn list(page: &mut Page, lead: &LeadExplanation, with_values: bool) {
    if lead.columns.is_empty() {
        return;
    }
    let count = |equal| lead.columns.iter().filter(|column| column.equal == equal).count();
    let title = match (count(Some(true)), count(Some(false))) {
        (0, 0) => "columns of traffic_leads: not compared".to_owned(),
        (equal, 0) => format!("columns of traffic_leads: {equal} equal"),
        (equal, different) => format!("columns of traffic_leads: {different} different, {equal} equal"),
    };
    page.section(&title);
    for column in lead.columns.iter().filter(|column| column.equal == Some(false)) {
        line(page, column);
    }
    let others = || lead.columns.iter().filter(|column| column.equal != Some(false));
    for column in others().filter(|column| paragraph(column, with_values).is_none()) {
        line(page, column);
    }
    let mut paragraphs: Vec<(&str, Vec<&str>)> = Vec::new();
    for column in others() {
        let Some(title) = paragraph(column, with_values) else { continue };
        match paragraphs.iter_mut().find(|(known, _)| *known == title) {
            Some((_, columns)) => columns.push(column.column.as_str()),
            None => paragraphs.push((title, vec![column.column.as_str()])),
        }
    }
    for (title, columns) in paragraphs {
        page.wrapped(2, &format!("{title}: {}", columns.join(", ")));
    }
    own(page, lead, with_values);
}

/// Whether the rule has one place and nothing to choose.
fn is_plain(column: &ColumnExplanation) -> bool {
    column.rule.ends_with(", verbatim") || column.rule.contains("; null becomes ")
}

/// The paragraph of a column that is not shown on a line of its own. Values need a line.
fn paragraph(column: &ColumnExplanation, with_values: bool) -> Option<&str> {
    if with_values || column.note.is_some() {
        return None;
    }
    match (&column.from, column.how.as_deref()) {
        (Some(_), Some("verbatim")) if is_plain(column) => Some("verbatim"),
        (Some(_), _) => None,
        // A lead of Traffic's own.
        (None, how) => how.or(Some("no row on Landing")),
    }
}

fn line(page: &mut Page, column: &ColumnExplanation) {
    let mark = match column.equal {
        Some(true) => '=',
        Some(false) => '≠',
        None => '·',
    };
    let how = column.how.as_deref().unwrap_or("no row on Landing");
    let origin = match (&column.from, how) {
        (Some(from), "verbatim") => from.clone(),
        (Some(from), how) => format!("{from}: {how}"),
        (None, how) => how.to_owned(),
    };
    page.line(&format!("  {mark} {:<26} {origin}", column.column));
    if let Some(reason) = column.reason {
        page.wrapped(6, reason);
        if !is_plain(column) {
            page.wrapped(6, &format!("rule: {}", column.rule));
        }
    }
    if let Some(note) = &column.note {
        page.wrapped(6, &format!("note: {note}"));
    }
    let Some(values) = &column.values else { return };
    let (given, held) = (shown(values.given.as_deref()), shown(values.on_traffic.as_deref()));
    match column.equal {
        Some(true) => page.line(&format!("      {held}")),
        Some(false) => {
            page.line(&format!("      mapping gives {given}"));
            page.line(&format!("      Traffic has   {held}"));
        }
        // One of the rows is missing, or Traffic alone decides.
        None if values.on_traffic.is_some() => page.line(&format!("      Traffic has   {held}")),
        None => page.line(&format!("      mapping gives {given}")),
    }
}

/// The columns that no rule fills.
fn own(page: &mut Page, lead: &LeadExplanation, with_values: bool) {
    let Some(traffic) = &lead.traffic else { return };
    if with_values {
        for own in &traffic.own_columns {
            let value = own.value.as_ref().and_then(|value| value.as_deref());
            page.line(&format!("  · {:<26} Traffic's own", own.column));
            page.line(&format!("      {}", shown(value)));
        }
    } else if !traffic.own_columns.is_empty() {
        let own: Vec<&str> = traffic.own_columns.iter().map(|own| &*own.column).collect();
        page.wrapped(2, &format!("no rule, Traffic's own: {}", own.join(", ")));
    }
}
