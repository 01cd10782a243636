//! A notice as the text of every channel.

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::Serialize;

use super::causes::{Cause, Finding};
use super::schedule::{Episode, Notice};
use super::words;
use crate::telemetry::Live;

/// What happened; the key `event` of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Begun,
    Reminder,
    Changed,
    Over,
    Aborted,
    Daily,
    Test,
}

/// A message, the same for all channels. The webhook sends it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    pub event: Event,
    pub cause: Option<Cause>,
    pub installation: String,
    /// The first line: a mail's subject.
    pub title: String,
    /// All lines, the title first.
    pub text: String,
    pub since: Option<Timestamp>,
    pub at: Timestamp,
}

/// What the messages of one installation have in common.
#[derive(Clone, Debug)]
pub struct Letterhead {
    pub installation: String,
    pub offset: Offset,
}

impl Letterhead {
    /// The message that tells the notice. `live` is for the daily line.
    pub fn tell(&self, notice: &Notice, live: &Live, at: Timestamp) -> Message {
        match notice {
            Notice::Begun(episode) => {
                let lines = self.present(episode, format!("Since {}.", self.moment(episode.since)));
                self.about(episode, Event::Begun, episode.title().to_owned(), lines, at)
            }
            Notice::Reminder(episode) => {
                let title = format!("still: {}", episode.title());
                self.about(episode, Event::Reminder, title, self.present(episode, self.lasting(episode)), at)
            }
            Notice::Changed(episode) => {
                let title = format!("changed: {}", episode.title());
                self.about(episode, Event::Changed, title, self.present(episode, self.lasting(episode)), at)
            }
            Notice::Over(episode) => {
                let title = format!("over: {}", words::over(episode.cause));
                let lines = vec![format!(
                    "Alert \"{}\" of {} is over after {}.{}",
                    episode.title(),
                    self.moment(episode.since),
                    words::span(episode.lasted),
                    came_and_went(episode.times)
                )];
                self.about(episode, Event::Over, title, lines, at)
            }
            Notice::Aborted { direction, reason, at: aborted_at } => {
                let finding = words::aborted(direction, reason.as_deref());
                let lines = advice(&finding, format!("At {}.", self.moment(*aborted_at)));
                self.message(
                    (Event::Aborted, None),
                    format!("{direction} aborted"),
                    lines,
                    Some(*aborted_at),
                    at,
                )
            }
            Notice::Daily { standing } => self.daily(standing, live, at),
        }
    }

    /// A message by which an operator tries the channels.
    pub fn test(&self, at: Timestamp) -> Message {
        let lines = vec!["This is a test by `leadbridge alert test`. Nothing is wrong.".to_owned()];
        self.message((Event::Test, None), "test".to_owned(), lines, None, at)
    }

    fn daily(&self, standing: &[Episode], live: &Live, at: Timestamp) -> Message {
        if standing.is_empty() {
            let title = match live.state {
                crate::telemetry::State::Standby => "daily: this daemon stands by",
                _ => "daily: all is well",
            };
            let lines = vec![words::all_is_well(live)];
            return self.message((Event::Daily, None), title.to_owned(), lines, None, at);
        }
        let title = match standing.len() {
            1 => "daily: NOT well, 1 alert stands".to_owned(),
            several => format!("daily: NOT well, {several} alerts stand"),
        };
        let line = |episode: &Episode| format!("- {}. {}", episode.title(), self.lasting(episode));
        self.message((Event::Daily, None), title, standing.iter().map(line).collect(), None, at)
    }

    fn about(
        &self,
        episode: &Episode,
        event: Event,
        title: String,
        lines: Vec<String>,
        at: Timestamp,
    ) -> Message {
        self.message((event, Some(episode.cause)), title, lines, Some(episode.since), at)
    }

    fn message(
        &self,
        (event, cause): (Event, Option<Cause>),
        title: String,
        lines: Vec<String>,
        since: Option<Timestamp>,
        at: Timestamp,
    ) -> Message {
        let title = match self.installation.as_str() {
            "" => format!("[leadbridge] {title}"),
            name => format!("[leadbridge {name}] {title}"),
        };
        let text = std::iter::once(title.clone()).chain(lines).collect::<Vec<_>>().join("\n");
        Message { event, cause, installation: self.installation.clone(), title, text, since, at }
    }

    fn present(&self, episode: &Episode, when: String) -> Vec<String> {
        advice(&episode.finding, when + &came_and_went(episode.times))
    }

    fn lasting(&self, episode: &Episode) -> String {
        format!("Since {}, for {}.", self.moment(episode.since), words::span(episode.lasted))
    }

    fn moment(&self, at: Timestamp) -> String {
        words::moment(at, self.offset)
    }
}

fn advice(finding: &Finding, when: String) -> Vec<String> {
    let mut lines = vec![finding.detail.clone(), when];
    if !finding.remedy.is_empty() {
        lines.push(format!("What to do: {}", finding.remedy));
    }
    lines
}

fn came_and_went(times: u32) -> String {
    if times > 1 { format!(" Seen {times} times meanwhile.") } else { String::new() }
}
