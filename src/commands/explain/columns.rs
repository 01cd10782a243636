//! The lead's columns as text: what is verbatim and equal in one paragraph, everything else on a line of its own.

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
    let is_plain = |column: &&ColumnExplanation| {
        !with_values && is_verbatim(column) && column.equal != Some(false) && column.note.is_none()
    };
    for column in lead.columns.iter().filter(|column| column.equal == Some(false)) {
        line(page, column);
    }
    for column in lead.columns.iter().filter(|column| column.equal != Some(false) && !is_plain(column)) {
        line(page, column);
    }
    let plain: Vec<&str> = lead.columns.iter().filter(is_plain).map(|column| &*column.column).collect();
    if !plain.is_empty() {
        page.wrapped(2, &format!("verbatim: {}", plain.join(", ")));
    }
    own(page, lead, with_values);
}

/// Whether the column holds a value of Landing, or a null of Landing, unchanged.
fn is_verbatim(column: &ColumnExplanation) -> bool {
    column.rule.ends_with(", verbatim")
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
        page.wrapped(6, &format!("rule: {}", column.rule));
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
        page.wrapped(2, &format!("Traffic's own: {}", own.join(", ")));
    }
}
