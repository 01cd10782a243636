//! The answer as text for a terminal of 80 columns: the verdict first.

use std::fmt::Write as _;

use super::columns;
use crate::compare::RowState;
use crate::explain::{
    Attribution, Born, ChildExplanation, ChildrenExplanation, Explanation, LeadExplanation, StreamPosition,
};
use crate::model::side::Side;

const WIDTH: usize = 80;

/// Rows of a table that are listed even though all is well with them.
const LISTED: usize = 20;

/// Longest value that is shown whole, in characters.
const SHOWN: usize = 200;

pub fn of(found: &Explanation, with_values: bool) -> String {
    let mut page = Page(String::new());
    match &found.leads[..] {
        [] => nothing(&mut page, found),
        [lead] => {
            headline(&mut page, lead);
            one(&mut page, lead, found, with_values);
        }
        several => list(&mut page, several, found),
    }
    for what in &found.incomplete {
        page.wrapped(0, &format!("incomplete: {what}"));
    }
    page.0
}

/// Lines of at most [`WIDTH`] characters, as far as words allow.
pub(super) struct Page(pub String);

impl Page {
    pub fn line(&mut self, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{}", text.trim_end());
    }

    /// Wraps at spaces; every line is indented.
    pub fn wrapped(&mut self, indent: usize, text: &str) {
        let (mut line, margin) = (String::new(), " ".repeat(indent));
        for word in text.split_whitespace() {
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&format!("{margin}{line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.line(&format!("{margin}{line}"));
        }
    }

    pub fn section(&mut self, title: &str) {
        self.line("");
        self.wrapped(0, title);
    }
}

/// A value for a terminal: on one line, without control characters, and cut where it is long.
pub(super) fn shown(value: Option<&str>) -> String {
    let Some(value) = value else { return "null".to_owned() };
    let mut text: String = value.chars().take(SHOWN).map(printable).collect();
    let count = value.chars().count();
    if count > SHOWN {
        let _ = write!(text, "… ({count} characters; --json shows all)");
    }
    format!("'{text}'")
}

/// Characters that steer a terminal, or the direction of writing, are shown and not obeyed.
fn printable(c: char) -> String {
    let steers = c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if steers { c.escape_unicode().to_string() } else { c.to_string() }
}

fn nothing(page: &mut Page, found: &Explanation) {
    let kind = match found.asked_by {
        "id" => "id",
        "phone" => "phone",
        _ => "e-mail",
    };
    let where_it_is_not = match found.incomplete.is_empty() {
        true => "not on Landing, not on Traffic, not in quarantine",
        false => "none was found where the search was complete",
    };
    page.line(&format!("no lead with this {kind}: {where_it_is_not}"));
    let how = match found.asked_by {
        "id" => return,
        "phone" => {
            "Phones are compared by their digits and + as typed: 8701… and +7701… are different numbers, so try the \
             other form too."
        }
        _ => "E-mails are compared by their exact spelling, with the case of letters.",
    };
    page.wrapped(2, how);
}

fn list(page: &mut Page, leads: &[LeadExplanation], found: &Explanation) {
    let more = if found.has_more { "more than " } else { "" };
    page.line(&format!("{more}{} leads match, the oldest first:", leads.len()));
    for lead in leads {
        let created = lead.landing.as_ref().and_then(|facts| facts.created_at.as_deref());
        let created = created.or(lead.traffic.as_ref().and_then(|facts| facts.created_at.as_deref()));
        page.line(&format!("  {}  {:<20}  {}", lead.id, seconds(created), lead.verdict.in_words()));
    }
    page.wrapped(0, "Ask for one of them by its id: `leadbridge explain ID`.");
}

/// A moment without the fraction of its seconds.
fn seconds(at: Option<&str>) -> String {
    let Some(at) = at else { return "-".to_owned() };
    at.split_once('.').map_or_else(|| at.to_owned(), |(whole, _)| format!("{whole}Z"))
}

fn headline(page: &mut Page, lead: &LeadExplanation) {
    page.line(&format!("lead {}: {}", lead.id, lead.verdict.in_words()));
    for reason in &lead.reasons {
        page.wrapped(2, reason);
    }
}

fn one(page: &mut Page, lead: &LeadExplanation, found: &Explanation, with_values: bool) {
    page.line("");
    where_it_is(page, lead, found);
    columns::list(page, lead, with_values);
    for children in &lead.children {
        rows(page, children);
    }
    if let Some(attribution) = &lead.attribution {
        page.section(&format!("targetologist: {}", credited(attribution)));
    }
    records(page, lead);
}

fn where_it_is(page: &mut Page, lead: &LeadExplanation, found: &Explanation) {
    let (landing, traffic) = (lead.landing.as_ref(), lead.traffic.as_ref());
    let silent = |side: Side| found.incomplete.iter().any(|what| what.contains(&side.to_string()));
    let there = |is_there: bool, side| match (is_there, silent(side)) {
        (true, _) => "yes",
        (false, true) => "does not answer",
        (false, false) => "no",
    };
    let mut row = |name: &str, landing: Option<&str>, traffic: Option<&str>| {
        page.line(&format!("  {name:<13} {:<29} {}", landing.unwrap_or("-"), traffic.unwrap_or("-")));
    };
    row("", Some("on Landing"), Some("on Traffic"));
    row(
        "there",
        Some(there(landing.is_some(), Side::Landing)),
        Some(there(traffic.is_some(), Side::Traffic)),
    );
    row(
        "created",
        landing.and_then(|facts| facts.created_at.as_deref()),
        traffic.and_then(|facts| facts.created_at.as_deref()),
    );
    row(
        "last changed",
        landing.and_then(|facts| facts.updated_at.as_deref()),
        traffic.and_then(|facts| facts.updated_at.as_deref()),
    );
    let committed = (
        landing.and_then(|facts| facts.committed_at.as_deref()),
        traffic.and_then(|facts| facts.committed_at.as_deref()),
    );
    if committed != (None, None) {
        row("committed", committed.0, committed.1);
    }
    if let Some(at) = traffic.and_then(|facts| facts.landing_synced_at.as_deref()) {
        row("from Landing", None, Some(at));
    }
    let born = match traffic.map(|facts| facts.born) {
        Some(Born::Landing) => "on Landing",
        Some(Born::ThroughLandingsNames) => "on Traffic, through Landing's names",
        Some(Born::Traffic) => "on Traffic, by Traffic's own code",
        None if landing.is_some() => "on Landing",
        None => "not known",
    };
    page.line(&format!("  {:<13} {born}", "born"));
    page.line(&format!("  {:<13} {}", "writes go to", system_of_record(found)));
    let stream = match found.system_of_record {
        Some(_) => position(&found.stream),
        None => "not known, because Traffic does not answer".to_owned(),
    };
    page.line(&format!("  {:<13} {stream}", "stream"));
}

fn system_of_record(found: &Explanation) -> &'static str {
    match found.system_of_record {
        Some(Side::Landing) => "Landing, the system of record",
        Some(Side::Traffic) => "Traffic, the system of record",
        None => "not known, because Traffic does not answer",
    }
}

fn position(stream: &StreamPosition) -> String {
    if let Some(at) = &stream.finished_at {
        return format!("ended by `leadbridge finish` at {at}");
    }
    let Some(applied) = stream.applied_lsn else { return "no position yet".to_owned() };
    let running = match stream.running {
        Some(true) => "",
        Some(false) => "no daemon streams; ",
        None => "",
    };
    match (stream.source_lsn, stream.lag_bytes) {
        (Some(source), Some(lag)) if lag > 0 => format!("{running}applied to {applied}, source at {source}"),
        (Some(_), _) => format!("{running}applied to {applied}, nothing is on its way"),
        (None, _) => format!("{running}applied to {applied}"),
    }
}

fn rows(page: &mut Page, children: &ChildrenExplanation) {
    let count = |rows: Option<u64>| rows.map_or_else(|| "not known".to_owned(), |rows| rows.to_string());
    let title = format!(
        "{}: {} on Landing, {} on Traffic",
        children.table,
        count(children.on_landing),
        count(children.on_traffic)
    );
    page.section(&title);
    let is_well = |row: &&ChildExplanation| row.state == Some(RowState::Equal) && !row.quarantined;
    let well = children.rows.iter().filter(is_well).count();
    let all = children.rows.len() <= LISTED;
    for row in children.rows.iter().filter(|row| all || !is_well(row)) {
        let (mark, what) = state(row);
        let kind = row.kind.as_deref().map_or_else(String::new, |kind| format!("  {}", shown(Some(kind))));
        let at = seconds(row.created_at.as_deref());
        page.line(&format!("  {mark} {}  {at:<20}  {what}{kind}", row.id));
    }
    if !all {
        page.line(&format!("  = {well} more rows are equal"));
    }
    if children.not_listed > 0 {
        page.line(&format!("    {} more rows were not compared", children.not_listed));
    }
}

fn state(row: &ChildExplanation) -> (char, String) {
    let text = match &row.state {
        _ if row.quarantined => "in quarantine".to_owned(),
        _ if row.on_its_way => "on its way".to_owned(),
        Some(RowState::Equal) => return ('=', String::new()),
        Some(RowState::Touched) => return ('=', "touched on Traffic".to_owned()),
        Some(RowState::NotCarried) => return ('·', "Traffic's own".to_owned()),
        Some(RowState::Changed(columns)) => {
            return ('·', format!("changed on Traffic: {}", columns.join(", ")));
        }
        Some(RowState::Different(columns)) => format!("differs: {}", columns.join(", ")),
        Some(RowState::Missing) => "missing".to_owned(),
        Some(RowState::Extra) => "extra".to_owned(),
        Some(RowState::Refused) => "too long for Traffic".to_owned(),
        None => return ('·', "not compared".to_owned()),
    };
    ('≠', text)
}

fn credited(attribution: &Attribution) -> String {
    let Some(id) = attribution.targetologist_id else {
        return format!("nobody: {}", attribution.reason.unwrap_or("not known"));
    };
    let team = attribution.team.as_deref().map_or_else(
        || "no team".to_owned(),
        |team| format!("team {}", team.chars().map(printable).collect::<String>()),
    );
    let spelling = match attribution.exact_spelling {
        Some(false) => "a binding of the lead's utm_source in another case, and of its funnel",
        _ => "the binding of the lead's utm_source and funnel",
    };
    let others = match attribution.matching_bindings {
        0 | 1 => String::new(),
        more => format!("; {} more bindings match", more - 1),
    };
    let values = attribution.values.as_ref().map_or_else(String::new, |values| {
        let (name, source) = (&values.targetologist_name, &values.attributed_utm_source);
        format!("; {}, binding {}", shown(name.as_deref()), shown(source.as_deref()))
    });
    format!("{id}, {team}, by {spelling}{others}{values}")
}

fn records(page: &mut Page, lead: &LeadExplanation) {
    let records = &lead.records;
    if !records.conversion_notes.is_empty() {
        page.section("conversion notes");
    }
    for note in &records.conversion_notes {
        let own = if note.of_traffic { "Traffic's own value, replaced by the first copy: " } else { "" };
        let original = note
            .original
            .as_deref()
            .map_or_else(String::new, |text| format!("; original {}", shown(Some(text))));
        page.wrapped(2, &format!("{}: {own}{}, {}{original}", note.column, note.reason, note.noted_at));
    }
    // The reasons of the verdict name the rows that wait.
    let discarded: Vec<_> =
        records.quarantine.iter().filter(|row| row.discarded || row.held_under.is_some()).collect();
    if !discarded.is_empty() {
        page.section("quarantine");
    }
    for row in discarded {
        let state = if row.discarded { "discarded by an operator" } else { "waits" };
        let under = row.held_under.map_or_else(String::new, |key| format!("; Traffic holds it under {key}"));
        page.wrapped(
            2,
            &format!(
                "{} {} {}: {state}; {}, {}{under}",
                row.id, row.table, row.row_id, row.message, row.last_attempt
            ),
        );
    }
    if !records.left_on_traffic.is_empty() {
        page.section("left on Traffic by an aborted cutover: write the rows to Landing by hand");
    }
    for row in &records.left_on_traffic {
        let deleted = if row.was_deleted { ", deleted there" } else { "" };
        page.wrapped(
            2,
            &format!("{} {}{deleted}, {}, cutover {}", row.table, row.row_id, row.kept_at, row.cutover_id),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_does_not_steer_the_terminal() {
        assert_eq!(shown(Some("a\u{1b}[2Jb\n\u{202e}c")), "'a\\u{1b}[2Jb\\u{a}\\u{202e}c'");
        assert_eq!(shown(Some("Айгерім 🌸")), "'Айгерім 🌸'");
        assert_eq!(shown(None), "null");
        assert!(shown(Some(&"x".repeat(300))).contains("(300 characters"));
    }

    #[test]
    fn lines_break_at_the_width() {
        let mut page = Page(String::new());
        page.wrapped(4, &"word ".repeat(40));
        assert!(page.0.lines().count() == 3 && page.0.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn a_moment_is_shown_in_seconds() {
        assert_eq!(seconds(Some("2026-01-02T03:04:05.123456Z")), "2026-01-02T03:04:05Z");
        assert_eq!(seconds(Some("2026-01-02T03:04:05Z")), "2026-01-02T03:04:05Z");
    }
}
