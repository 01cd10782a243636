//! What the screen says in words, the most important first; pure.

use bytesize::ByteSize;

use super::copied;
use super::model::{KnownRound, Maxima, Model, Moment, ReadyAnswer};
use super::steps;
use crate::commands::status::outlook::{self, OutlookLine};
use crate::commands::status::verification::{self, VerificationLine};
use crate::commands::status::view;
use crate::language::Message;
use crate::language::written::{clock, duration, grouped};
use crate::telemetry::conditions::{Condition, Met, conditions};
use crate::telemetry::{DaemonPresence, Live, State};

/// How a line is emphasised. Colours only repeat what the words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Bad,
    Old,
}

/// A line, before it is broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Empty for a line that continues the one above.
    pub label: String,
    pub text: String,
    pub tone: Tone,
    /// Place in the order in which lines are left out where the window is too small: the highest first.
    pub rank: u8,
    /// Whether the text is a row of a table, which is not broken.
    pub is_row: bool,
}

impl Fact {
    pub fn new(rank: u8, label: impl Into<String>, text: impl Into<String>) -> Self {
        Fact { label: label.into(), text: text.into(), tone: Tone::Plain, rank, is_row: false }
    }

    fn toned(self, tone: Tone) -> Self {
        Fact { tone, ..self }
    }
}

/// Everything that is known, in the order of the screen.
pub fn facts(model: &Model) -> Vec<Fact> {
    let mut facts = vec![state(model)];
    let Some(newest) = model.newest() else { return facts };
    facts.extend(silence(model, newest));
    if newest.round.live.finished_at.is_some() {
        return facts;
    }
    facts.extend(cutover(model));
    facts.push(lag(model));
    facts.push(rate(model));
    facts.push(readiness(model, newest));
    facts.extend(in_the_way(model));
    facts.extend(snapshot(model));
    facts.extend(places(model, newest));
    facts.extend(trouble(model, newest));
    facts
}

/// The two lines of a window that is too small for more.
pub fn most_important(model: &Model) -> [Fact; 2] {
    [state(model), lag(model)]
}

/// `text`, marked with the moment of its answer where the answer is old.
fn marked(fact: Fact, model: &Model, old_since: Option<Moment>) -> Fact {
    match old_since {
        None => fact,
        Some(at) => {
            let text = format!("OLD, of {}: {}", ago(model, at), fact.text);
            Fact { text, tone: Tone::Old, ..fact }
        }
    }
}

/// `12:03:01 UTC, 14 s ago`.
fn ago(model: &Model, at: Moment) -> String {
    format!("{}, {} ago", clock(at.clock), duration(model.since(at).as_secs_f64()))
}

fn state(model: &Model) -> Fact {
    let Some(newest) = model.newest() else {
        let since = duration(model.since(model.begun).as_secs_f64());
        return Fact::new(
            0,
            "state",
            format!("NOT KNOWN YET — asking since {}, {since}", clock(model.begun.clock)),
        );
    };
    let live = &newest.round.live;
    // Without Landing nobody can tell whether a daemon streams elsewhere, so no state is claimed.
    if live.daemon == DaemonPresence::Unknown && live.finished_at.is_none() {
        let last = model.daemon().map(|known| known.round.live.state.as_str().to_uppercase());
        let last = match (last, model.daemon().and_then(|known| known.old_since)) {
            (Some(state), Some(at)) => format!("; the last was {state}, of {}", ago(model, at)),
            _ => String::new(),
        };
        let text = format!("NOT KNOWN — no daemon answers here, and Landing does not answer{last}");
        return Fact::new(0, "state", text).toned(Tone::Bad);
    }
    let tone = match live.state {
        State::Streaming | State::Switched if live.daemon != DaemonPresence::Down => Tone::Good,
        State::Error | State::Stopped => Tone::Bad,
        _ => Tone::Plain,
    };
    marked(Fact::new(0, "state", view::state(live).to_string()).toned(tone), model, newest.old_since)
}

/// Who does not answer, since when, and why.
fn silence(model: &Model, newest: KnownRound<'_>) -> Vec<Fact> {
    let answered = newest.round.answered;
    let parties = [
        ("the daemon", answered.daemon, model.daemon()),
        ("Landing", answered.landing, model.landing()),
        ("Traffic", answered.traffic, model.traffic()),
    ];
    let mut facts = Vec::new();
    for (name, has_answered, last) in parties {
        // A daemon that has never answered may run elsewhere, which the state says.
        if has_answered || (name == "the daemon" && last.is_none()) {
            continue;
        }
        let since = match last.and_then(|known| known.old_since) {
            Some(at) => format!("since {}", ago(model, at)),
            None => format!("since this watch began at {}", clock(model.begun.clock)),
        };
        facts.push(Fact::new(1, "NO ANSWER", format!("from {name} {since}")).toned(Tone::Bad));
    }
    let errors = newest.round.errors.iter();
    facts.extend(errors.map(|error| Fact::new(4, "error", error.clone()).toned(Tone::Bad)));
    facts
}

fn cutover(model: &Model) -> Vec<Fact> {
    let Some(known) = model.traffic() else { return Vec::new() };
    let Some(report) = &known.round.live.cutover else { return Vec::new() };
    // Only a fresh answer is carried on by this machine's clock, for the part of a second since then.
    let passed = known.old_since.map_or_else(|| model.since_newest(), |_| std::time::Duration::ZERO);
    let lines = steps::lines(report, passed).into_iter().enumerate();
    let label = |place| if place == 0 { "steps" } else { "" };
    lines.map(|(place, text)| marked(Fact::new(2, label(place), text), model, known.old_since)).collect()
}

fn lag(model: &Model) -> Fact {
    let Some(known) = model.lag() else { return Fact::new(3, "lag", "not known") };
    let live = &known.round.live;
    let (over, is_over) = over_maximum(live, model.maxima);
    let tone = if is_over { Tone::Bad } else { Tone::Plain };
    let lag = [Some(view::lag(live)), outlook::trend(live)];
    let text = Message::joined(lag.into_iter().flatten(), ", ").to_string() + &over;
    marked(Fact::new(3, "lag", text).toned(tone), model, known.old_since)
}

fn over_maximum(live: &Live, maxima: Maxima) -> (String, bool) {
    let bytes = maxima.lag_bytes.filter(|most| live.lag_bytes.is_some_and(|lag| lag > *most));
    let seconds = maxima.lag_seconds.filter(|most| live.lag_seconds.is_some_and(|lag| lag > *most));
    let bytes = bytes.map(|most| format!("; OVER the maximum of {}", ByteSize(most).display().iec()));
    let seconds = seconds.map(|most| format!("; OVER the maximum of {}", duration(most)));
    let text = [bytes, seconds].into_iter().flatten().collect::<String>();
    let is_over = !text.is_empty();
    (text, is_over)
}

/// Rows and WAL in a second.
fn rate(model: &Model) -> Fact {
    let Some(daemon) = model.daemon() else {
        // The rate of an answer without a daemon is of the source's WAL only.
        let known = model.newest().and_then(|known| Some((known, outlook::rate(&known.round.live)?)));
        return match known {
            Some((known, text)) => marked(Fact::new(5, "rate", text.to_string()), model, known.old_since),
            None => Fact::new(5, "rate", "not known"),
        };
    };
    let live = &daemon.round.live;
    let mut text = match (model.figures.rows_per_second(), daemon.old_since) {
        (Some(rows), None) => format!(
            "{} rows/s in the last {}",
            grouped(rows.round() as u64),
            duration(model.figures.window().as_secs_f64())
        ),
        (None, None) => "rows/s not known before the daemon's next answer".to_owned(),
        (_, Some(_)) => "rows/s not known".to_owned(),
    };
    if let Some((written, applied)) = model.figures.wal_per_second().filter(|_| daemon.old_since.is_none()) {
        let a_second = |bytes: f64| ByteSize(bytes as u64).display().iec();
        text += &format!("; WAL: Landing writes {}/s, applied {}/s", a_second(written), a_second(applied));
    }
    // The daemon counts the rows of the stream only.
    if live.state != State::Snapshot {
        let begun = live.started_at.map_or_else(String::new, |at| format!(" since {}", clock(at)));
        text += &format!("; {} rows{begun}", grouped(live.rows_applied));
    }
    marked(Fact::new(5, "rate", text), model, daemon.old_since)
}

fn readiness(model: &Model, newest: KnownRound<'_>) -> Fact {
    let fact = match &newest.round.readiness {
        None => Fact::new(6, "ready", "not known: no daemon answers GET /readyz here"),
        Some(ReadyAnswer::Ready) => Fact::new(6, "ready", "yes, says GET /readyz").toned(Tone::Good),
        Some(ReadyAnswer::NotReady(why)) => Fact::new(6, "ready", format!("NO: {why}")).toned(Tone::Bad),
    };
    marked(fact, model, newest.old_since)
}

/// What these figures show that a cutover or a rollback would refuse.
fn in_the_way(model: &Model) -> Option<Fact> {
    let known = model.traffic()?;
    let live = &known.round.live;
    let lag = match &known.round.readiness {
        Some(ReadyAnswer::NotReady(_)) => Met::No,
        _ => Met::Yes,
    };
    let conditions = conditions(live, lag)?;
    let unmet = conditions.all.into_iter().filter(|(_, met)| *met == Met::No);
    let found: Vec<_> = unmet
        .map(|(condition, _)| match condition {
            Condition::Stream => format!("the state is {}", live.state),
            Condition::Lag => match &known.round.readiness {
                Some(ReadyAnswer::NotReady(why)) => why.clone(),
                _ => "the lag".to_owned(),
            },
            Condition::Quarantine { rows } => {
                format!("{} rows in quarantine", grouped(rows.unwrap_or(0)))
            }
            Condition::Equal { differing } => {
                format!("{} rows that differ", grouped(differing.unwrap_or(0)))
            }
            Condition::ReverseSlot => "reverse replication is impossible".to_owned(),
            Condition::LandingSlot => "Landing's slot is being made again".to_owned(),
            Condition::LandingPublication => "Landing's publication".to_owned(),
            Condition::Operator { count } => format!("{} × ATTENTION below", count.unwrap_or(0)),
        })
        .collect();
    let what = if conditions.is_rollback { "rollback" } else { "cutover" };
    let fact = if found.is_empty() {
        let all = format!("of a {what}: nothing seen here; `{what} --dry-run` checks all");
        Fact::new(6, "in the way", all)
    } else {
        Fact::new(6, "in the way", format!("of a {what}: {}", found.join("; "))).toned(Tone::Bad)
    };
    Some(marked(fact, model, known.old_since))
}

fn snapshot(model: &Model) -> Vec<Fact> {
    let Some(known) = model.daemon() else { return Vec::new() };
    let live = &known.round.live;
    if live.state != State::Snapshot
        || model.newest().is_some_and(|newest| newest.round.live.state != live.state)
    {
        return Vec::new();
    }
    let mut facts = vec![marked(Fact::new(3, "snapshot", copied::whole(live)), model, known.old_since)];
    let rate = |table: &str| model.figures.copied_per_second(table).filter(|_| known.old_since.is_none());
    let tone = if known.old_since.is_some() { Tone::Old } else { Tone::Plain };
    let rows = copied::rows(live, rate);
    facts.extend(rows.into_iter().map(|row| Fact { is_row: true, ..Fact::new(3, "", row).toned(tone) }));
    facts
}

/// Slots, quarantine, and what is not replicated.
fn places(model: &Model, newest: KnownRound<'_>) -> Vec<Fact> {
    let live = &newest.round.live;
    let mut facts = Vec::new();
    let lease = live.lease_holder.as_ref().filter(|_| view::is_held_elsewhere(live));
    facts.extend(lease.map(|holder| Fact::new(7, "lease", view::lease(holder).to_string())));
    match model.landing() {
        Some(known) => {
            let fact = Fact::new(8, "slot", view::slot(&known.round.live).to_string());
            facts.push(marked(fact, model, known.old_since));
        }
        None => facts.push(Fact::new(8, "slot", "not known")),
    }
    for (line, text) in outlook::lines(live).into_iter().filter(|(line, _)| *line != OutlookLine::Rate) {
        let (rank, tone) = if line == OutlookLine::Blocked { (4, Tone::Bad) } else { (7, Tone::Plain) };
        let fact = Fact::new(rank, line.label().to_string(), text.to_string()).toned(tone);
        facts.push(marked(fact, model, newest.old_since));
    }
    let Some(known) = model.traffic() else {
        facts.push(Fact::new(7, "quarantine", "not known"));
        return facts;
    };
    let live = &known.round.live;
    if let Some(reverse) = &live.reverse {
        facts.push(marked(
            Fact::new(7, "reverse", view::reverse_line(reverse).to_string()),
            model,
            known.old_since,
        ));
        let slot = reverse.new_slot_since.as_ref();
        let slot = slot.map(|at| view::made_again_since(at).to_string());
        facts.extend(slot.map(|text| Fact::new(5, "new slot", text).toned(Tone::Bad)));
        let publication = reverse.landing_publication.as_ref();
        facts.extend(publication.map(|text| Fact::new(5, "publication", text.clone()).toned(Tone::Bad)));
    }
    let tone = if live.quarantined.is_some_and(|rows| rows > 0) { Tone::Bad } else { Tone::Plain };
    facts.push(marked(
        Fact::new(6, "quarantine", view::quarantine(live).to_string()).toned(tone),
        model,
        known.old_since,
    ));
    for (line, text) in verification::lines(live, model.now.clock) {
        let (rank, tone) = match line {
            VerificationLine::Verified => (8, Tone::Plain),
            VerificationLine::Different | VerificationLine::NotRepaired => (6, Tone::Bad),
        };
        facts.push(marked(
            Fact::new(rank, line.label().to_string(), text.to_string()).toned(tone),
            model,
            known.old_since,
        ));
    }
    let left_out = live.columns_not_replicated.as_ref().map_or(0, Vec::len);
    let left_out = (left_out > 0).then(|| format!("{left_out} columns of Landing: see `leadbridge status`"));
    facts.extend(left_out.map(|text| Fact::new(9, "left out", text)));
    facts
}

/// What waits for an operator, and the last error.
fn trouble(model: &Model, newest: KnownRound<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(known) = model.attention() {
        for attention in known.round.live.attention.iter().flatten() {
            let fact = Fact::new(3, "ATTENTION", attention.message.to_string()).toned(Tone::Bad);
            facts.push(marked(fact, model, known.old_since));
            facts.push(Fact::new(4, "what to do", attention.remedy.to_string()));
        }
    }
    if let Some(error) = &newest.round.live.last_error {
        let again = if error.retrying { " (the daemon tries again by itself)" } else { "" };
        let text = format!("{}: {}{again}", clock(error.at), error.message);
        facts.push(marked(Fact::new(4, "last error", text).toned(Tone::Bad), model, newest.old_since));
        facts.extend(error.remedy.as_ref().map(|remedy| Fact::new(5, "what to do", remedy.clone())));
    }
    facts
}
