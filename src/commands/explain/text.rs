//! The answer as text for a terminal of 80 columns: the verdict first.

use super::columns;
use super::page::{Page, printable};
use crate::compare::RowState;
use crate::explain::{
    Attribution, Born, ChildExplanation, ChildrenExplanation, Explanation, LeadExplanation, StreamPosition,
    silent,
};
use crate::language::{Language, Message, message};
use crate::model::side::Side;
use crate::quarantine::RowLeftOnTraffic;

/// Rows of a table that are listed even though all is well with them.
const LISTED: usize = 20;

pub fn of(found: &Explanation, with_values: bool, language: Language) -> String {
    let mut page = Page::new(language);
    match &found.leads[..] {
        [] => nothing(&mut page, found),
        [lead] => {
            headline(&mut page, lead);
            one(&mut page, lead, found, with_values);
        }
        several => list(&mut page, several, found),
    }
    for what in &found.incomplete {
        page.said(0, &message!("explain-incomplete", what = what));
    }
    page.into_text()
}

fn nothing(page: &mut Page, found: &Explanation) {
    let where_it_is_not = match found.incomplete.is_empty() {
        true => message!("explain-nowhere"),
        false => message!("explain-nowhere-searched"),
    };
    let nothing = message!("explain-nothing", kind = found.asked_by, place = where_it_is_not);
    page.line(&page.say(&nothing));
    match found.asked_by {
        "id" => {}
        "phone" => page.said(2, &message!("explain-phones")),
        _ => page.said(2, &message!("explain-emails")),
    }
}

fn list(page: &mut Page, leads: &[LeadExplanation], found: &Explanation) {
    let count = leads.len();
    let title = match found.has_more {
        true => message!("explain-leads-more", count = count),
        false => message!("explain-leads", count = count),
    };
    page.line(&page.say(&title));
    for lead in leads {
        let created = lead.landing.as_ref().and_then(|facts| facts.created_at.as_deref());
        let created = created.or(lead.traffic.as_ref().and_then(|facts| facts.created_at.as_deref()));
        let verdict = page.say(&lead.verdict.in_words());
        page.line(&format!("  {}  {:<20}  {verdict}", lead.id, seconds(created)));
    }
    page.said(0, &message!("explain-ask-one"));
}

/// A moment without the fraction of its seconds.
fn seconds(at: Option<&str>) -> String {
    let Some(at) = at else { return "-".to_owned() };
    at.split_once('.').map_or_else(|| at.to_owned(), |(whole, _)| format!("{whole}Z"))
}

fn headline(page: &mut Page, lead: &LeadExplanation) {
    let headline = message!("explain-lead", id = lead.id, verdict = lead.verdict.in_words());
    page.line(&page.say(&headline));
    for reason in &lead.reasons {
        page.said(2, reason);
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
        let who = credited(page, attribution);
        page.section(&message!("explain-credit", who = who));
    }
    records(page, lead);
}

fn where_it_is(page: &mut Page, lead: &LeadExplanation, found: &Explanation) {
    let (landing, traffic) = (lead.landing.as_ref(), lead.traffic.as_ref());
    let there = |is_there: bool, side| match (is_there, found.incomplete.contains(&silent(side))) {
        (true, _) => message!("explain-yes"),
        (false, true) => message!("explain-no-answer"),
        (false, false) => message!("explain-no"),
    };
    let on = |side| message!("figures-on", side = side);
    let mut row = |name: Message, values: [Option<Message>; 2]| {
        let name = page.say(&name);
        let [landing, traffic] =
            values.map(|value| value.map_or_else(|| "-".to_owned(), |value| page.say(&value)));
        page.line(&format!("  {name:<13} {landing:<29} {traffic}"));
    };
    let times = |landing: Option<&String>, traffic: Option<&String>| {
        [landing, traffic].map(|at| at.map(Message::verbatim))
    };
    row(Message::verbatim(""), [Some(on(Side::Landing)), Some(on(Side::Traffic))]);
    let is_there =
        [there(landing.is_some(), Side::Landing), there(traffic.is_some(), Side::Traffic)].map(Some);
    row(message!("explain-there"), is_there);
    let created = times(
        landing.and_then(|facts| facts.created_at.as_ref()),
        traffic.and_then(|facts| facts.created_at.as_ref()),
    );
    row(message!("explain-created"), created);
    let changed = times(
        landing.and_then(|facts| facts.updated_at.as_ref()),
        traffic.and_then(|facts| facts.updated_at.as_ref()),
    );
    row(message!("explain-last-changed"), changed);
    let committed = times(
        landing.and_then(|facts| facts.committed_at.as_ref()),
        traffic.and_then(|facts| facts.committed_at.as_ref()),
    );
    if committed != [None, None] {
        row(message!("explain-committed"), committed);
    }
    if let Some(at) = traffic.and_then(|facts| facts.landing_synced_at.as_ref()) {
        row(message!("explain-from-landing"), times(None, Some(at)));
    }
    let born = match traffic.map(|facts| facts.born) {
        Some(Born::Landing) => on(Side::Landing),
        Some(Born::ThroughLandingsNames) => message!("explain-born-through-names"),
        Some(Born::Traffic) => message!("explain-born-traffic"),
        None if landing.is_some() => on(Side::Landing),
        None => message!("figures-not-known"),
    };
    let stream = match found.system_of_record {
        Some(_) => position(&found.stream),
        None => message!("explain-record-unknown"),
    };
    for (name, value) in [
        (message!("explain-born"), born),
        (message!("explain-writes"), system_of_record(found)),
        (message!("explain-stream"), stream),
    ] {
        page.line(&format!("  {:<13} {}", page.say(&name), page.say(&value)));
    }
}

fn system_of_record(found: &Explanation) -> Message {
    match found.system_of_record {
        Some(side) => message!("explain-record", side = side),
        None => message!("explain-record-unknown"),
    }
}

fn position(stream: &StreamPosition) -> Message {
    if let Some(at) = &stream.finished_at {
        return message!("explain-ended", at = at);
    }
    let Some(applied) = stream.applied_lsn else { return message!("explain-no-position") };
    let no_daemon = (stream.running == Some(false)).then(|| message!("explain-no-daemon-streams"));
    let source = match (stream.source_lsn, stream.lag_bytes) {
        (Some(source), Some(lag)) if lag > 0 => Some(message!("explain-source", position = source)),
        (Some(_), _) => Some(message!("explain-none-on-its-way")),
        (None, _) => None,
    };
    let applied = [Some(message!("explain-applied", position = applied)), source];
    let applied = Message::joined(applied.into_iter().flatten(), ", ");
    Message::joined([no_daemon, Some(applied)].into_iter().flatten(), "; ")
}

fn rows(page: &mut Page, children: &ChildrenExplanation) {
    let count = |rows: Option<u64>| match rows {
        Some(rows) => Message::verbatim(rows.to_string()),
        None => message!("figures-not-known"),
    };
    page.section(&message!(
        "explain-table",
        table = &children.table,
        landing = count(children.on_landing),
        traffic = count(children.on_traffic)
    ));
    let is_well = |row: &&ChildExplanation| row.state == Some(RowState::Equal) && !row.quarantined;
    let well = children.rows.iter().filter(is_well).count();
    let all = children.rows.len() <= LISTED;
    for row in children.rows.iter().filter(|row| all || !is_well(row)) {
        let (mark, what) = state(row);
        let what = page.say(&what);
        let kind =
            row.kind.as_deref().map_or_else(String::new, |kind| format!("  {}", page.shown(Some(kind))));
        let at = seconds(row.created_at.as_deref());
        page.line(&format!("  {mark} {}  {at:<20}  {what}{kind}", row.id));
    }
    if !all {
        page.line(&format!("  = {}", page.say(&message!("explain-more-equal", count = well))));
    }
    if children.not_listed > 0 {
        let more = message!("explain-more-not-compared", count = children.not_listed);
        page.line(&format!("    {}", page.say(&more)));
    }
}

fn state(row: &ChildExplanation) -> (char, Message) {
    let text = match &row.state {
        _ if row.quarantined => message!("explain-row-quarantined"),
        _ if row.on_its_way => message!("explain-row-on-its-way"),
        Some(RowState::Equal) => return ('=', Message::verbatim("")),
        Some(RowState::Touched) => return ('=', message!("explain-row-touched")),
        Some(RowState::NotCarried) => return ('·', message!("explain-row-own")),
        Some(RowState::Changed(columns)) => {
            return ('·', message!("explain-row-changed", columns = columns.join(", ")));
        }
        Some(RowState::Different(columns)) => {
            message!("explain-row-differs", columns = columns.join(", "))
        }
        Some(RowState::Missing) => message!("explain-row-missing"),
        Some(RowState::Extra) => message!("explain-row-extra"),
        Some(RowState::Refused) => message!("explain-row-refused"),
        None => return ('·', message!("explain-row-not-compared")),
    };
    ('≠', text)
}

fn credited(page: &Page, attribution: &Attribution) -> Message {
    let Some(id) = attribution.targetologist_id else {
        let reason = attribution.reason.clone().unwrap_or_else(|| message!("figures-not-known"));
        return message!("explain-credit-nobody", reason = reason);
    };
    let team = match attribution.team.as_deref() {
        Some(team) => message!("explain-team", team = team.chars().map(printable).collect::<String>()),
        None => message!("explain-no-team"),
    };
    let binding = match attribution.exact_spelling {
        Some(false) => message!("explain-binding-other-case"),
        _ => message!("explain-binding"),
    };
    let others = attribution.matching_bindings.saturating_sub(1);
    let others = (others > 0).then(|| message!("explain-more-bindings", count = others));
    let values = attribution.values.as_ref().map(|values| {
        let [name, source] = [&values.targetologist_name, &values.attributed_utm_source]
            .map(|value| page.shown(value.as_deref()));
        message!("explain-credited-values", name = name, source = source)
    });
    let credited = message!("explain-credited", id = id, team = team, binding = binding);
    Message::joined([Some(credited), others, values].into_iter().flatten(), "; ")
}

fn records(page: &mut Page, lead: &LeadExplanation) {
    let records = &lead.records;
    if !records.conversion_notes.is_empty() {
        page.section(&message!("explain-notes"));
    }
    for note in &records.conversion_notes {
        let says = match note.of_traffic {
            true => message!("explain-own-value", reason = note.reason.to_string()),
            false => Message::verbatim(note.reason.to_string()),
        };
        let at = note.noted_at.to_string();
        let note_of = message!("explain-note", column = note.column.to_string(), says = says, at = at);
        let original = note.original.as_deref().map(|text| page.shown(Some(text)));
        let original = original.map(|value| message!("explain-original", value = value));
        page.said(2, &Message::joined([Some(note_of), original].into_iter().flatten(), "; "));
    }
    // The reasons of the verdict name the rows that wait.
    let discarded: Vec<_> =
        records.quarantine.iter().filter(|row| row.discarded || row.held_under.is_some()).collect();
    if !discarded.is_empty() {
        page.section(&message!("explain-quarantine"));
    }
    for row in discarded {
        let state = match row.discarded {
            true => message!("explain-entry-discarded"),
            false => message!("explain-entry-waits"),
        };
        let entry = message!(
            "explain-entry",
            id = row.id.to_string(),
            table = row.table.to_string(),
            row = row.row_id,
            state = state,
            message = row.message.to_string(),
            at = row.last_attempt.to_string()
        );
        let under = row.held_under.map(|key| message!("explain-held-under", key = key));
        page.said(2, &Message::joined([Some(entry), under].into_iter().flatten(), "; "));
    }
    if !records.left_on_traffic.is_empty() {
        page.section(&message!("explain-left"));
    }
    for row in &records.left_on_traffic {
        page.said(2, &left(row));
    }
}

fn left(row: &RowLeftOnTraffic) -> Message {
    let (table, id, at, cutover) =
        (row.table.to_string(), row.row_id, row.kept_at.to_string(), row.cutover_id);
    match row.was_deleted {
        true => message!("explain-left-deleted", table = table, row = id, at = at, cutover = cutover),
        false => message!("explain-left-row", table = table, row = id, at = at, cutover = cutover),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_seconds() {
        assert_eq!(seconds(Some("2026-01-02T03:04:05.123456Z")), "2026-01-02T03:04:05Z");
        assert_eq!(seconds(Some("2026-01-02T03:04:05Z")), "2026-01-02T03:04:05Z");
    }
}
