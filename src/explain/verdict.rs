//! The verdict on one lead, and the reasons; pure.

use serde::Serialize;
use uuid::Uuid;

use super::LeadExplanation;
use super::facts::Born;
use super::sides::StreamPosition;
use crate::compare::{RowState, SettledRow};
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::quarantine::{QuarantinedRow, ReverseQuarantinedRow};

/// How a lead stands, end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The lead and its journey are as they must be.
    Equal,
    /// Equal but for a later `updated_at` on Traffic.
    TouchedOnTraffic,
    /// A change that was made on Traffic stays until Landing sends the metadata again.
    ChangedOnTraffic,
    /// On Traffic alone, rightly.
    TrafficOnly,
    /// `leadbridge finish` has ended the move: only Traffic is kept.
    Finished,
    Different,
    /// Not on the side that the system of record is carried to.
    Missing,
    /// Not on the system of record any more, and still on the other side.
    Extra,
    /// A row of the lead is in quarantine.
    Quarantined,
    /// A change may be on its way.
    OnItsWay,
    /// No copy is complete.
    NotCopied,
    /// On neither side: only leadbridge's records name the lead.
    Gone,
    /// A database does not answer.
    Unknown,
}

impl Verdict {
    /// Whether everything is as it must be.
    pub fn is_right(self) -> bool {
        matches!(
            self,
            Verdict::Equal
                | Verdict::TouchedOnTraffic
                | Verdict::ChangedOnTraffic
                | Verdict::TrafficOnly
                | Verdict::Finished
        )
    }

    pub fn in_words(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::TouchedOnTraffic => "equal, and touched on Traffic",
            Verdict::ChangedOnTraffic => "changed on Traffic",
            Verdict::TrafficOnly => "on Traffic only",
            Verdict::Finished => "on Traffic; the move is finished",
            Verdict::Different => "DIFFERENT",
            Verdict::Missing => "MISSING",
            Verdict::Extra => "EXTRA",
            Verdict::Quarantined => "IN QUARANTINE",
            Verdict::OnItsWay => "ON ITS WAY",
            Verdict::NotCopied => "NOT COPIED YET",
            Verdict::Gone => "GONE from both sides",
            Verdict::Unknown => "NOT KNOWN",
        }
    }
}

const METADATA: &str = "changed on Traffic: stays until Landing sends metadata again";

/// What the verdict on a lead depends on beside the lead.
#[derive(Clone, Copy)]
pub struct Circumstances<'c> {
    pub source: Side,
    pub stream: &'c StreamPosition,
    /// Whether both databases answer.
    pub both_answer: bool,
    /// How the lead's own row stands; `None` where the sides could not be compared.
    pub lead: Option<&'c SettledRow>,
}

impl LeadExplanation {
    /// Sets the verdict with its reasons, and the reason of each column that differs.
    pub(super) fn judge(&mut self, in_which: Circumstances<'_>) {
        let (verdict, reasons) = self.verdict_and_reasons(in_which);
        (self.verdict, self.reasons) = (verdict, reasons);
        let later = self.is_later_on_traffic();
        let is_quarantined =
            self.records.quarantine.iter().any(|row| row.row_id == self.id && !row.discarded);
        for column in self.columns.iter_mut().filter(|column| column.equal == Some(false)) {
            column.reason = Some(column_reason(&column.column, in_which, is_quarantined, later));
        }
    }

    fn verdict_and_reasons(&self, in_which: Circumstances<'_>) -> (Verdict, Vec<String>) {
        let Circumstances { source, stream, both_answer, lead } = in_which;
        if let Some(at) = &stream.finished_at {
            let why = format!("nothing is carried to Landing any more, since {at}");
            return match (&self.traffic, &self.landing) {
                (Some(_), _) => (Verdict::Finished, vec![why]),
                (None, Some(_)) => (Verdict::Extra, vec!["on Landing, not on Traffic".to_owned(), why]),
                (None, None) => self.on_one_side(source, &RowState::NotCarried),
            };
        }
        let waiting = self.waiting(source);
        if !waiting.is_empty() {
            return (Verdict::Quarantined, waiting);
        }
        if !both_answer {
            return (Verdict::Unknown, vec!["a database does not answer: the sides are not compared".into()]);
        }
        if !stream.has_copied() && self.landing.is_some() {
            let why = match stream.state {
                Some(_) => "a copy is under way: rows are compared when it is complete",
                None => "nothing has been copied yet: `leadbridge run` copies",
            };
            return (Verdict::NotCopied, vec![why.to_owned()]);
        }
        let Some(lead) = lead else {
            return self.on_one_side(source, &RowState::NotCarried);
        };
        if lead.on_its_way {
            return (Verdict::OnItsWay, vec![on_its_way(stream, source)]);
        }
        let (verdict, mut reasons) = self.on_one_side(source, &lead.state);
        let children = self.children_reasons(in_which);
        let mut differing = self.children.iter().filter(|children| children.differences() > 0);
        let on_its_way = differing.all(|children| children.is_on_its_way());
        reasons.extend(children.iter().cloned());
        match (verdict.is_right() && !children.is_empty(), on_its_way) {
            (true, true) => (Verdict::OnItsWay, reasons),
            (true, false) => (Verdict::Different, reasons),
            (false, _) => (verdict, reasons),
        }
    }

    /// The rows of the lead that wait in the quarantine of the direction.
    fn waiting(&self, source: Side) -> Vec<String> {
        match source {
            Side::Landing => {
                let waiting = self.records.quarantine.iter().filter(|row| !row.discarded);
                let line = |row: &QuarantinedRow| {
                    let (table, id) = (self.named(&row.table), row.row_id);
                    let tries = tries(row.since, row.last_attempt, row.attempts);
                    let why = with_code(&row.message, &row.sqlstate);
                    format!("{table} {id}: {why}; {tries}; `leadbridge quarantine show {}`", row.id)
                };
                waiting.map(line).collect()
            }
            Side::Traffic => {
                let line = |row: &ReverseQuarantinedRow| {
                    let tries = tries(row.since, row.last_attempt, row.attempts);
                    let why = with_code(&row.message, &row.sqlstate);
                    format!("Landing does not take {} {}: {why}; {tries}", row.table, row.row_id)
                };
                self.records.reverse_quarantine.iter().map(line).collect()
            }
        }
    }

    /// The table's name on Landing; the records know the journey by one name.
    fn named<'n>(&'n self, label: &'n str) -> &'n str {
        let of = self.children.iter().find(|children| children.of.label() == label);
        of.map_or(label, |children| children.table.as_str())
    }

    fn on_one_side(&self, source: Side, state: &RowState) -> (Verdict, Vec<String>) {
        let (from, to) = match source {
            Side::Landing => ("Landing", "Traffic"),
            Side::Traffic => ("Traffic", "Landing"),
        };
        let given_up = self.records.quarantine.iter().any(|row| row.row_id == self.id && row.discarded);
        let passed = match given_up {
            true => {
                "an operator discarded the lead from quarantine: it arrives with its next change".to_owned()
            }
            false => format!("the stream has passed every change of the lead on {from}"),
        };
        match state {
            RowState::Equal => (Verdict::Equal, Vec::new()),
            RowState::Touched => {
                let why =
                    "Traffic's trigger stamped `updated_at`; Landing's next change brings back Landing's";
                (Verdict::TouchedOnTraffic, vec![why.to_owned()])
            }
            RowState::Changed(columns) => {
                (Verdict::ChangedOnTraffic, vec![format!("{}: {METADATA}", columns.join(", "))])
            }
            RowState::Different(columns) => (Verdict::Different, self.difference(source, columns, passed)),
            RowState::Missing if self.traffic.is_some() && self.landing.is_some() => {
                let why = "Traffic has a lead of its own under Landing's id: see docs/imports.md";
                (Verdict::Different, vec![why.to_owned(), passed])
            }
            RowState::Missing => (Verdict::Missing, vec![format!("on {from}, not on {to}: {passed}")]),
            RowState::Extra => (Verdict::Extra, vec![format!("on {to}, not on {from}: {passed}")]),
            RowState::Refused => {
                let why = self.refusal.clone().unwrap_or_else(|| "Traffic's columns cannot hold it".into());
                (Verdict::Different, vec![why, passed])
            }
            RowState::NotCarried => self.not_carried(),
        }
    }

    fn not_carried(&self) -> (Verdict, Vec<String>) {
        let Some(traffic) = &self.traffic else {
            return (Verdict::Gone, vec!["only leadbridge's records name the lead".into()]);
        };
        let why = match traffic.born {
            Born::Traffic => "made by Traffic's own code: it never goes to Landing",
            Born::ThroughLandingsNames => {
                "born on Traffic through Landing's names: it goes to Landing after a cutover, when it changes"
            }
            Born::Landing => "it came from Landing",
        };
        (Verdict::TrafficOnly, vec![why.to_owned()])
    }

    fn difference(
        &self,
        source: Side,
        columns: &[std::borrow::Cow<'static, str>],
        passed: String,
    ) -> Vec<String> {
        let columns = columns.join(", ");
        match source {
            Side::Landing if self.is_later_on_traffic() => vec![format!(
                "{columns}: changed on Traffic since; Landing's values come back with Landing's next change of the \
                 lead, or with `leadbridge verify --repair`"
            )],
            Side::Landing => vec![
                format!("Traffic differs in {columns}"),
                passed,
                "`leadbridge verify --repair`, with the daemon stopped, writes Landing's values".to_owned(),
            ],
            Side::Traffic => vec![format!("Landing differs in {columns}"), passed],
        }
    }

    /// Whether Traffic's trigger has stamped the row after Landing's last change of the lead.
    fn is_later_on_traffic(&self) -> bool {
        let landing = self.landing.as_ref().and_then(|facts| facts.updated);
        let traffic = self.traffic.as_ref().and_then(|facts| facts.updated);
        landing.zip(traffic).is_some_and(|(landing, traffic)| traffic > landing)
    }

    fn children_reasons(&self, in_which: Circumstances<'_>) -> Vec<String> {
        let reason = |children: &super::children::ChildrenExplanation| {
            let count = |wanted: fn(&RowState) -> bool| {
                let states = children.rows.iter().filter_map(|row| row.state.as_ref());
                states.filter(|state| wanted(state)).count()
            };
            let counts = [
                (count(|state| *state == RowState::Missing), "missing"),
                (count(|state| *state == RowState::Extra), "extra"),
                (count(|state| matches!(state, RowState::Different(_))), "different"),
                (count(|state| *state == RowState::Refused), "too long for Traffic"),
            ];
            let counts = counts.iter().filter(|(count, _)| *count > 0);
            let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
            let way = match children.is_on_its_way() {
                true => format!("; {}", on_its_way(in_which.stream, in_which.source)),
                false => String::new(),
            };
            format!("{}: {} of {} rows{way}", children.table, counts.join(", "), children.rows.len())
        };
        self.children.iter().filter(|children| children.differences() > 0).map(reason).collect()
    }
}

/// The message of a refusal, which usually ends with the SQLSTATE.
fn with_code(message: &str, sqlstate: &str) -> String {
    if message.contains(sqlstate) { message.to_owned() } else { format!("{message} (SQLSTATE {sqlstate})") }
}

fn tries(since: Timestamp, last: Timestamp, attempts: i32) -> String {
    match attempts {
        1 => format!("once, at {since}"),
        _ => format!("{attempts} times since {since}, last at {last}"),
    }
}

fn on_its_way(stream: &StreamPosition, source: Side) -> String {
    let from = source.name();
    let at = stream.applied_lsn.map_or_else(|| "nowhere yet".to_owned(), |at| format!("at {at}"));
    let behind = stream.source_lsn.map_or_else(String::new, |lsn| format!(", {from} at {lsn}"));
    match stream.running {
        Some(false) => format!("no daemon streams: start `leadbridge run` (the stream is {at}{behind})"),
        _ => format!("a change of {from} may not have been applied yet (the stream is {at}{behind})"),
    }
}

fn column_reason(
    column: &str,
    in_which: Circumstances<'_>,
    is_quarantined: bool,
    is_later: bool,
) -> &'static str {
    let has = |columns: &[std::borrow::Cow<'static, str>]| columns.iter().any(|name| name == column);
    match in_which.lead.map(|lead| (&lead.state, lead.on_its_way)) {
        _ if is_quarantined => "the lead is in quarantine",
        Some((_, true)) => "a change may be on its way",
        Some((RowState::Changed(columns), _)) if has(columns) => METADATA,
        Some((RowState::Equal | RowState::Touched, _)) if in_which.source == Side::Traffic => {
            "Traffic's value has no place on Landing"
        }
        Some((RowState::Touched, _)) => "stamped by Traffic's trigger",
        Some((RowState::Equal, _)) => "changed while the lead was read",
        _ if is_later => "changed on Traffic since",
        _ => "not as the mapping makes it, although the stream has passed",
    }
}

/// The worst of several verdicts decides whether everything is right.
pub fn all_right(leads: &[LeadExplanation]) -> bool {
    !leads.is_empty() && leads.iter().all(|lead| lead.verdict.is_right())
}

/// The keys whose records concern a lead.
pub(super) fn keys(lead: Uuid, children: &[super::children::ChildrenExplanation]) -> Vec<Uuid> {
    let rows = children.iter().flat_map(|children| children.rows.iter().map(|row| row.id));
    std::iter::once(lead).chain(rows).collect()
}
