//! What the screen says in words, the most important first; pure.

use bytesize::ByteSize;

use super::copied;
use super::model::{KnownRound, Maxima, Model, Moment, ReadyAnswer};
use super::steps;
use crate::commands::status::outlook::{self, OutlookLine};
use crate::commands::status::verification::{self, VerificationLine};
use crate::commands::status::view;
use crate::language::written::{clock, duration};
use crate::language::{Argument, Language, Message, message};
use crate::model::side::Side;
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
    pub label: Message,
    pub text: Message,
    pub tone: Tone,
    /// Place in the order in which lines are left out where the window is too small: the highest first.
    pub rank: u8,
    /// Whether the text is a row of a table, which is not broken.
    pub is_row: bool,
}

impl Fact {
    pub fn new(rank: u8, label: Message, text: Message) -> Self {
        Fact { label, text, tone: Tone::Plain, rank, is_row: false }
    }

    fn toned(self, tone: Tone) -> Self {
        Fact { tone, ..self }
    }
}

/// Everything that is known, in the order of the screen. `language` is that of tables, whose columns depend on it.
pub fn facts(model: &Model, language: Language) -> Vec<Fact> {
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
    facts.extend(snapshot(model, language));
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
            let text = message!("watch-old", ago = ago(model, at), text = fact.text);
            Fact { text, tone: Tone::Old, ..fact }
        }
    }
}

/// `12:03:01 UTC, 14 s ago`.
fn ago(model: &Model, at: Moment) -> Message {
    let time = duration(model.since(at).as_secs_f64());
    message!("watch-ago", at = clock(at.clock), time = time)
}

fn not_known() -> Message {
    message!("figures-not-known")
}

fn joined<const N: usize>(parts: [Option<Message>; N], separator: &'static str) -> Message {
    Message::joined(parts.into_iter().flatten(), separator)
}

fn state(model: &Model) -> Fact {
    let label = message!("commands-label-state");
    let Some(newest) = model.newest() else {
        let since = duration(model.since(model.begun).as_secs_f64());
        return Fact::new(
            0,
            label,
            message!("watch-state-asking", at = clock(model.begun.clock), time = since),
        );
    };
    let live = &newest.round.live;
    // Without Landing nobody can tell whether a daemon streams elsewhere, so no state is claimed.
    if live.daemon == DaemonPresence::Unknown && live.finished_at.is_none() {
        let last = model.daemon().map(|known| known.round.live.state.as_str().to_uppercase());
        let last = last.zip(model.daemon().and_then(|known| known.old_since));
        let last = last.map(|(state, at)| message!("watch-state-last", state = state, ago = ago(model, at)));
        let text = joined([Some(message!("watch-state-unknown")), last], "; ");
        return Fact::new(0, label, text).toned(Tone::Bad);
    }
    let tone = match live.state {
        State::Streaming | State::Switched if live.daemon != DaemonPresence::Down => Tone::Good,
        State::Error | State::Stopped => Tone::Bad,
        _ => Tone::Plain,
    };
    marked(Fact::new(0, label, view::state(live)).toned(tone), model, newest.old_since)
}

/// Who does not answer, since when, and why.
fn silence(model: &Model, newest: KnownRound<'_>) -> Vec<Fact> {
    let answered = newest.round.answered;
    let parties = [
        (None, answered.daemon, model.daemon()),
        (Some(Side::Landing), answered.landing, model.landing()),
        (Some(Side::Traffic), answered.traffic, model.traffic()),
    ];
    let mut facts = Vec::new();
    for (side, has_answered, last) in parties {
        // A daemon that has never answered may run elsewhere, which the state says.
        if has_answered || (side.is_none() && last.is_none()) {
            continue;
        }
        let since = match last.and_then(|known| known.old_since) {
            Some(at) => message!("figures-since", since = ago(model, at)),
            None => message!("watch-silent-always", at = clock(model.begun.clock)),
        };
        let text = match side {
            Some(side) => message!("watch-silent-side", side = side, since = since),
            None => message!("watch-silent-daemon", since = since),
        };
        facts.push(Fact::new(1, message!("figures-no-answer"), text).toned(Tone::Bad));
    }
    let errors = newest.round.errors.iter();
    facts.extend(
        errors.map(|error| {
            Fact::new(4, message!("watch-label-error"), Message::verbatim(error)).toned(Tone::Bad)
        }),
    );
    facts
}

fn cutover(model: &Model) -> Vec<Fact> {
    let Some(known) = model.traffic() else { return Vec::new() };
    let Some(report) = &known.round.live.cutover else { return Vec::new() };
    // Only a fresh answer is carried on by this machine's clock, for the part of a second since then.
    let passed = known.old_since.map_or_else(|| model.since_newest(), |_| std::time::Duration::ZERO);
    let lines = steps::lines(report, passed).into_iter().enumerate();
    let label = |place| match place {
        0 => message!("watch-label-steps"),
        _ => Message::verbatim(""),
    };
    lines.map(|(place, text)| marked(Fact::new(2, label(place), text), model, known.old_since)).collect()
}

fn lag(model: &Model) -> Fact {
    let label = message!("commands-label-lag");
    let Some(known) = model.lag() else { return Fact::new(3, label, not_known()) };
    let live = &known.round.live;
    let over = over_maximum(live, model.maxima);
    let tone = if over.is_empty() { Tone::Plain } else { Tone::Bad };
    let lag = joined([Some(view::lag(live)), outlook::trend(live)], ", ");
    let text = Message::joined([lag].into_iter().chain(over), "; ");
    marked(Fact::new(3, label, text).toned(tone), model, known.old_since)
}

fn over_maximum(live: &Live, maxima: Maxima) -> Vec<Message> {
    let bytes = maxima.lag_bytes.filter(|most| live.lag_bytes.is_some_and(|lag| lag > *most));
    let bytes = bytes.map(|most| Message::verbatim(ByteSize(most).display().iec().to_string()));
    let seconds = maxima.lag_seconds.filter(|most| live.lag_seconds.is_some_and(|lag| lag > *most));
    let limits = [bytes, seconds.map(duration)].into_iter().flatten();
    limits.map(|limit| message!("watch-over", limit = limit)).collect()
}

/// Rows and WAL in a second.
fn rate(model: &Model) -> Fact {
    let label = message!("commands-label-rate");
    let Some(daemon) = model.daemon() else {
        // The rate of an answer without a daemon is of the source's WAL only.
        let known = model.newest().and_then(|known| Some((known, outlook::rate(&known.round.live)?)));
        return match known {
            Some((known, text)) => marked(Fact::new(5, label, text), model, known.old_since),
            None => Fact::new(5, label, not_known()),
        };
    };
    let live = &daemon.round.live;
    let rows = match (model.figures.rows_per_second(), daemon.old_since) {
        (Some(rows), None) => message!(
            "watch-rate-window",
            rows = Argument::Grouped(rows.round() as u64),
            time = duration(model.figures.window().as_secs_f64())
        ),
        (None, None) => message!("watch-rate-next"),
        (_, Some(_)) => message!("watch-rate-unknown"),
    };
    let wal = model.figures.wal_per_second().filter(|_| daemon.old_since.is_none());
    let wal = wal.map(|(written, applied)| {
        let [written, applied] =
            [written, applied].map(|bytes| ByteSize(bytes as u64).display().iec().to_string());
        message!("watch-rate-wal", written = written, applied = applied)
    });
    // The daemon counts the rows of the stream only.
    let applied = (live.state != State::Snapshot).then(|| {
        let rows = message!("figures-rows", rows = Argument::Grouped(live.rows_applied));
        match live.started_at {
            Some(at) => message!("watch-rate-since", rows = rows, at = clock(at)),
            None => rows,
        }
    });
    marked(Fact::new(5, label, joined([Some(rows), wal, applied], "; ")), model, daemon.old_since)
}

fn readiness(model: &Model, newest: KnownRound<'_>) -> Fact {
    let (text, tone) = match &newest.round.readiness {
        None => (message!("watch-ready-unknown"), Tone::Plain),
        Some(ReadyAnswer::Ready) => (message!("watch-ready-yes"), Tone::Good),
        Some(ReadyAnswer::NotReady(why)) => (message!("watch-ready-no", why = why), Tone::Bad),
    };
    marked(Fact::new(6, message!("watch-label-ready"), text).toned(tone), model, newest.old_since)
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
            Condition::Stream => message!("watch-way-state", state = live.state.as_str()),
            Condition::Lag => match &known.round.readiness {
                Some(ReadyAnswer::NotReady(why)) => Message::verbatim(why),
                _ => message!("watch-way-lag"),
            },
            Condition::Quarantine { rows } => {
                message!("watch-way-quarantine", rows = Argument::Grouped(rows.unwrap_or(0)))
            }
            Condition::Equal { differing } => {
                message!("watch-way-differing", rows = Argument::Grouped(differing.unwrap_or(0)))
            }
            Condition::ReverseSlot => message!("watch-way-reverse-slot"),
            Condition::LandingSlot => message!("watch-way-landing-slot"),
            Condition::LandingPublication => message!("watch-way-landing-publication"),
            Condition::Operator { count } => message!("watch-way-attention", count = count.unwrap_or(0)),
        })
        .collect();
    let change = if conditions.is_rollback { "rollback" } else { "cutover" };
    let (text, tone) = match found.is_empty() {
        true => (message!("watch-way-clear", change = change), Tone::Plain),
        false => {
            let what = Message::joined(found, "; ");
            (message!("watch-way-blocked", change = change, what = what), Tone::Bad)
        }
    };
    let fact = Fact::new(6, message!("watch-label-in-the-way"), text).toned(tone);
    Some(marked(fact, model, known.old_since))
}

fn snapshot(model: &Model, language: Language) -> Vec<Fact> {
    let Some(known) = model.daemon() else { return Vec::new() };
    let live = &known.round.live;
    if live.state != State::Snapshot
        || model.newest().is_some_and(|newest| newest.round.live.state != live.state)
    {
        return Vec::new();
    }
    let whole = Fact::new(3, message!("watch-label-snapshot"), copied::whole(live));
    let mut facts = vec![marked(whole, model, known.old_since)];
    let rate = |table: &str| model.figures.copied_per_second(table).filter(|_| known.old_since.is_none());
    let tone = if known.old_since.is_some() { Tone::Old } else { Tone::Plain };
    facts.extend(copied::rows(live, rate, language).into_iter().map(|row| Fact {
        is_row: true,
        ..Fact::new(3, Message::verbatim(""), Message::verbatim(row)).toned(tone)
    }));
    facts
}

/// Slots, quarantine, and what is not replicated.
fn places(model: &Model, newest: KnownRound<'_>) -> Vec<Fact> {
    let live = &newest.round.live;
    let mut facts = Vec::new();
    let lease = live.lease_holder.as_ref().filter(|_| view::is_held_elsewhere(live));
    facts.extend(lease.map(|holder| Fact::new(7, message!("commands-label-lease"), view::lease(holder))));
    let label = message!("commands-label-slot");
    facts.push(match model.landing() {
        Some(known) => marked(Fact::new(8, label, view::slot(&known.round.live)), model, known.old_since),
        None => Fact::new(8, label, not_known()),
    });
    for (line, text) in outlook::lines(live).into_iter().filter(|(line, _)| *line != OutlookLine::Rate) {
        let (rank, tone) = if line == OutlookLine::Blocked { (4, Tone::Bad) } else { (7, Tone::Plain) };
        facts.push(marked(Fact::new(rank, line.label(), text).toned(tone), model, newest.old_since));
    }
    let label = message!("commands-label-quarantine");
    let Some(known) = model.traffic() else {
        facts.push(Fact::new(7, label, not_known()));
        return facts;
    };
    let live = &known.round.live;
    if let Some(reverse) = &live.reverse {
        let fact = Fact::new(7, message!("commands-label-reverse"), view::reverse_line(reverse));
        facts.push(marked(fact, model, known.old_since));
        let slot = reverse.new_slot_since.as_ref().map(|at| view::made_again_since(at));
        facts.extend(
            slot.map(|text| Fact::new(5, message!("commands-label-new-slot"), text).toned(Tone::Bad)),
        );
        let publication = reverse.landing_publication.as_ref().map(Message::verbatim);
        facts.extend(
            publication
                .map(|text| Fact::new(5, message!("commands-label-publication"), text).toned(Tone::Bad)),
        );
    }
    let tone = if live.quarantined.is_some_and(|rows| rows > 0) { Tone::Bad } else { Tone::Plain };
    facts.push(marked(Fact::new(6, label, view::quarantine(live)).toned(tone), model, known.old_since));
    for (line, text) in verification::lines(live, model.now.clock) {
        let (rank, tone) = match line {
            VerificationLine::Verified => (8, Tone::Plain),
            VerificationLine::Different | VerificationLine::NotRepaired => (6, Tone::Bad),
        };
        facts.push(marked(Fact::new(rank, line.label(), text).toned(tone), model, known.old_since));
    }
    let left_out = live.columns_not_replicated.as_ref().map_or(0, Vec::len);
    let left_out = (left_out > 0).then(|| message!("watch-left-out", count = left_out));
    facts.extend(left_out.map(|text| Fact::new(9, message!("commands-label-left-out"), text)));
    facts
}

/// What waits for an operator, and the last error.
fn trouble(model: &Model, newest: KnownRound<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let what_to_do = || message!("commands-label-what-to-do");
    if let Some(known) = model.attention() {
        for attention in known.round.live.attention.iter().flatten() {
            let label = message!("commands-label-attention");
            let fact = Fact::new(3, label, attention.message.clone()).toned(Tone::Bad);
            facts.push(marked(fact, model, known.old_since));
            facts.push(Fact::new(4, what_to_do(), attention.remedy.clone()));
        }
    }
    if let Some(error) = &newest.round.live.last_error {
        let says = match error.retrying {
            true => message!("commands-error-retrying", error = &error.message),
            false => Message::verbatim(&error.message),
        };
        let text = Message::joined([Message::verbatim(clock(error.at)), says], ": ");
        let label = message!("commands-label-last-error");
        facts.push(marked(Fact::new(4, label, text).toned(Tone::Bad), model, newest.old_since));
        facts.extend(error.known_remedy().map(|remedy| Fact::new(5, what_to_do(), remedy)));
    }
    facts
}
