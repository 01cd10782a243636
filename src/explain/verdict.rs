//! The verdict on one lead, and the reasons; pure.

use serde::Serialize;
use uuid::Uuid;

use super::LeadExplanation;
use super::facts::Born;
use super::sides::StreamPosition;
use crate::compare::{RowState, SettledRow};
use crate::language::{Message, message};
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

    pub fn in_words(self) -> Message {
        match self {
            Verdict::Equal => message!("explain-verdict-equal"),
            Verdict::TouchedOnTraffic => message!("explain-verdict-touched"),
            Verdict::ChangedOnTraffic => message!("explain-verdict-changed"),
            Verdict::TrafficOnly => message!("explain-verdict-traffic-only"),
            Verdict::Finished => message!("explain-verdict-finished"),
            Verdict::Different => message!("explain-verdict-different"),
            Verdict::Missing => message!("explain-verdict-missing"),
            Verdict::Extra => message!("explain-verdict-extra"),
            Verdict::Quarantined => message!("explain-verdict-quarantined"),
            Verdict::OnItsWay => message!("explain-verdict-on-its-way"),
            Verdict::NotCopied => message!("explain-verdict-not-copied"),
            Verdict::Gone => message!("explain-verdict-gone"),
            Verdict::Unknown => message!("explain-verdict-unknown"),
        }
    }
}

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

    fn verdict_and_reasons(&self, in_which: Circumstances<'_>) -> (Verdict, Vec<Message>) {
        let Circumstances { source, stream, both_answer, lead } = in_which;
        if let Some(at) = &stream.finished_at {
            let why = message!("explain-finished-since", at = at);
            return match (&self.traffic, &self.landing) {
                (Some(_), _) => (Verdict::Finished, vec![why]),
                (None, Some(_)) => (Verdict::Extra, vec![message!("explain-on-landing-only"), why]),
                (None, None) => self.on_one_side(source, &RowState::NotCarried),
            };
        }
        let waiting = self.waiting(source);
        if !waiting.is_empty() {
            return (Verdict::Quarantined, waiting);
        }
        if !both_answer {
            return (Verdict::Unknown, vec![message!("explain-not-compared")]);
        }
        if !stream.has_copied() && self.landing.is_some() {
            let why = match stream.state {
                Some(_) => message!("explain-copy-under-way"),
                None => message!("explain-nothing-copied"),
            };
            return (Verdict::NotCopied, vec![why]);
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
    fn waiting(&self, source: Side) -> Vec<Message> {
        match source {
            Side::Landing => {
                let waiting = self.records.quarantine.iter().filter(|row| !row.discarded);
                let line = |row: &QuarantinedRow| {
                    let (table, id) = (self.named(&row.table), row.row_id);
                    let tries = tries(row.since, row.last_attempt, row.attempts);
                    let why = with_code(&row.message, &row.sqlstate);
                    message!(
                        "explain-waiting",
                        table = table,
                        id = id,
                        why = why,
                        tries = tries,
                        entry = row.id.to_string()
                    )
                };
                waiting.map(line).collect()
            }
            Side::Traffic => {
                let line = |row: &ReverseQuarantinedRow| {
                    let tries = tries(row.since, row.last_attempt, row.attempts);
                    let why = with_code(&row.message, &row.sqlstate);
                    let (table, id) = (row.table.to_string(), row.row_id);
                    message!("explain-waiting-reverse", table = table, id = id, why = why, tries = tries)
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

    fn on_one_side(&self, source: Side, state: &RowState) -> (Verdict, Vec<Message>) {
        let (from, to) = match source {
            Side::Landing => (Side::Landing, Side::Traffic),
            Side::Traffic => (Side::Traffic, Side::Landing),
        };
        let given_up = self.records.quarantine.iter().any(|row| row.row_id == self.id && row.discarded);
        let passed = match given_up {
            true => message!("explain-discarded"),
            false => message!("explain-passed", from = from),
        };
        match state {
            RowState::Equal => (Verdict::Equal, Vec::new()),
            RowState::Touched => (Verdict::TouchedOnTraffic, vec![message!("explain-touched")]),
            RowState::Changed(columns) => {
                let columns = Message::verbatim(columns.join(", "));
                let why = Message::joined([columns, message!("explain-metadata")], ": ");
                (Verdict::ChangedOnTraffic, vec![why])
            }
            RowState::Different(columns) => (Verdict::Different, self.difference(source, columns, passed)),
            RowState::Missing if self.traffic.is_some() && self.landing.is_some() => {
                (Verdict::Different, vec![message!("explain-own-lead"), passed])
            }
            RowState::Missing => (
                Verdict::Missing,
                vec![message!("explain-on-one-side", from = from, to = to, passed = passed)],
            ),
            RowState::Extra => {
                (Verdict::Extra, vec![message!("explain-on-one-side", from = to, to = from, passed = passed)])
            }
            RowState::Refused => {
                let why =
                    self.refusal.as_ref().map_or_else(|| message!("explain-refused"), Message::verbatim);
                (Verdict::Different, vec![why, passed])
            }
            RowState::NotCarried => self.not_carried(),
        }
    }

    fn not_carried(&self) -> (Verdict, Vec<Message>) {
        let Some(traffic) = &self.traffic else {
            return (Verdict::Gone, vec![message!("explain-records-only")]);
        };
        let why = match traffic.born {
            Born::Traffic => message!("explain-made-by-traffic"),
            Born::ThroughLandingsNames => message!("explain-made-through-names"),
            Born::Landing => message!("explain-came-from-landing"),
        };
        (Verdict::TrafficOnly, vec![why])
    }

    fn difference(
        &self,
        source: Side,
        columns: &[std::borrow::Cow<'static, str>],
        passed: Message,
    ) -> Vec<Message> {
        let columns = columns.join(", ");
        match source {
            Side::Landing if self.is_later_on_traffic() => vec![message!("explain-later", columns = columns)],
            Side::Landing => vec![
                message!("explain-differs", side = Side::Traffic, columns = columns),
                passed,
                message!("explain-repair"),
            ],
            Side::Traffic => {
                vec![message!("explain-differs", side = Side::Landing, columns = columns), passed]
            }
        }
    }

    /// Whether Traffic's trigger has stamped the row after Landing's last change of the lead.
    fn is_later_on_traffic(&self) -> bool {
        let landing = self.landing.as_ref().and_then(|facts| facts.updated);
        let traffic = self.traffic.as_ref().and_then(|facts| facts.updated);
        landing.zip(traffic).is_some_and(|(landing, traffic)| traffic > landing)
    }

    fn children_reasons(&self, in_which: Circumstances<'_>) -> Vec<Message> {
        let reason = |children: &super::children::ChildrenExplanation| {
            let count = |wanted: fn(&RowState) -> bool| {
                let states = children.rows.iter().filter_map(|row| row.state.as_ref());
                states.filter(|state| wanted(state)).count()
            };
            let [missing, extra, different, refused] = [
                count(|state| *state == RowState::Missing),
                count(|state| *state == RowState::Extra),
                count(|state| matches!(state, RowState::Different(_))),
                count(|state| *state == RowState::Refused),
            ];
            let counts = [
                (missing, message!("explain-count-missing", count = missing)),
                (extra, message!("explain-count-extra", count = extra)),
                (different, message!("explain-count-different", count = different)),
                (refused, message!("explain-count-refused", count = refused)),
            ];
            let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, what)| what);
            let (table, rows) = (&children.table, children.rows.len());
            let counts = Message::joined(counts, ", ");
            let found = message!("explain-children", table = table, counts = counts, rows = rows);
            let way = children.is_on_its_way().then(|| on_its_way(in_which.stream, in_which.source));
            Message::joined([Some(found), way].into_iter().flatten(), "; ")
        };
        self.children.iter().filter(|children| children.differences() > 0).map(reason).collect()
    }
}

/// The message of a refusal, which usually ends with the SQLSTATE.
fn with_code(message: &str, sqlstate: &str) -> String {
    if message.contains(sqlstate) { message.to_owned() } else { format!("{message} (SQLSTATE {sqlstate})") }
}

fn tries(since: Timestamp, last: Timestamp, attempts: i32) -> Message {
    match attempts {
        1 => message!("explain-tried-once", since = since),
        _ => message!("explain-tried", attempts = attempts, since = since, last = last),
    }
}

fn on_its_way(stream: &StreamPosition, source: Side) -> Message {
    let at = match stream.applied_lsn {
        Some(at) => message!("explain-stream-at", position = at),
        None => message!("explain-stream-nowhere"),
    };
    let behind = stream.source_lsn.map(|lsn| message!("explain-source-at", side = source, position = lsn));
    let position = Message::joined([Some(at), behind].into_iter().flatten(), ", ");
    match stream.running {
        Some(false) => message!("explain-no-daemon", position = position),
        _ => message!("explain-not-applied", from = source, position = position),
    }
}

fn column_reason(column: &str, in_which: Circumstances<'_>, is_quarantined: bool, is_later: bool) -> Message {
    let has = |columns: &[std::borrow::Cow<'static, str>]| columns.iter().any(|name| name == column);
    match in_which.lead.map(|lead| (&lead.state, lead.on_its_way)) {
        _ if is_quarantined => message!("explain-column-quarantined"),
        Some((_, true)) => message!("explain-column-on-its-way"),
        Some((RowState::Changed(columns), _)) if has(columns) => message!("explain-metadata"),
        Some((RowState::Equal | RowState::Touched, _)) if in_which.source == Side::Traffic => {
            message!("explain-column-no-place")
        }
        Some((RowState::Touched, _)) => message!("explain-column-stamped"),
        Some((RowState::Equal, _)) => message!("explain-column-meanwhile"),
        _ if is_later => message!("explain-column-later"),
        _ => message!("explain-column-differs"),
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
