//! Results of the checks.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::language::{Message, message};
use crate::model::side::Side;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Replication works, but trouble is to be expected.
    Warning,
    /// Replication cannot work.
    Error,
}

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub level: Level,
    pub message: Message,
    pub remedy: Option<Message>,
}

impl Verdict {
    pub fn ok(message: Message) -> Self {
        Verdict { level: Level::Ok, message, remedy: None }
    }

    pub fn warning(message: Message, remedy: Message) -> Self {
        Verdict { level: Level::Warning, message, remedy: Some(remedy) }
    }

    pub fn error(message: Message, remedy: Message) -> Self {
        Verdict { level: Level::Error, message, remedy: Some(remedy) }
    }

    /// Ok when `listed` is empty; otherwise an error whose message `wrong` makes of the list.
    pub fn none_of(
        listed: &[String],
        fine: Message,
        wrong: impl FnOnce(String) -> Message,
        remedy: Message,
    ) -> Self {
        if listed.is_empty() { Verdict::ok(fine) } else { Verdict::error(wrong(listed.join(", ")), remedy) }
    }
}

/// What happened has no translation.
impl From<&Error> for Verdict {
    fn from(error: &Error) -> Self {
        let remedy = error.remedy_message().cloned().unwrap_or_else(|| message!("report-server-log"));
        Verdict::error(Message::verbatim(error.message()), remedy)
    }
}

/// One line of the doctor's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name of the check.
    pub check: &'static str,
    /// Null for a check of this machine or of both databases.
    pub side: Option<Side>,
    pub level: Level,
    pub message: Message,
    /// Advice to the operator; null when all is well.
    pub remedy: Option<Message>,
    /// The kind of error that prevented the check; `None` when the check was made.
    #[serde(skip)]
    pub hindrance: Option<Kind>,
}

/// The report, in the order of the checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    pub findings: Vec<Finding>,
}

impl Findings {
    /// Adds a check's outcome. A check that could not be made counts as an error, too.
    pub fn add(&mut self, check: &'static str, side: Option<Side>, outcome: Result<Verdict>) {
        let hindrance = outcome.as_ref().err().map(Error::kind);
        let Verdict { level, message, remedy } = outcome.unwrap_or_else(|error| Verdict::from(&error));
        self.findings.push(Finding { check, side, level, message, remedy, hindrance });
    }

    /// Appends another part of the report.
    pub fn extend(&mut self, part: Findings) {
        self.findings.extend(part.findings);
    }

    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

/// A state that does not end by itself: an operator has to end the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    pub message: Message,
    pub remedy: Message,
}

impl Attention {
    pub fn new(message: Message, remedy: Message) -> Self {
        Attention { message, remedy }
    }
}
