//! What a database answered to the application, with everything replaced that differs from run to run: ids, the present
//! time, and the run's tag.

use serde_json::Value;

use super::http::Http;

pub struct Transcript {
    entries: Vec<(String, Value)>,
    ids: Vec<String>,
    tag: String,
    /// The clock of the database when the run began, as JSON has it.
    begun: String,
}

impl Transcript {
    pub async fn begin(http: &mut Http, tag: &str) -> Transcript {
        let clock = http.clock().await;
        Transcript { entries: Vec::new(), ids: Vec::new(), tag: tag.to_owned(), begun: clock }
    }

    pub fn note(&mut self, what: &str, answer: Value) {
        let answer = self.normalised(answer);
        self.entries.push((what.to_owned(), answer));
    }

    fn normalised(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.replaced(text)),
            Value::Array(values) => values.into_iter().map(|value| self.normalised(value)).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(key, value)| (key, self.normalised(value))).collect()
            }
            other => other,
        }
    }

    fn replaced(&mut self, text: String) -> String {
        if text.parse::<uuid::Uuid>().is_ok() {
            let known = self.ids.iter().position(|id| *id == text);
            let number = known.unwrap_or_else(|| {
                self.ids.push(text);
                self.ids.len() - 1
            });
            return format!("id {number}");
        }
        // Times that the application gives lie years away.
        let is_time = text.len() > 20 && text.as_bytes()[10] == b'T' && text.starts_with("20");
        if is_time && text >= self.begun && !text.starts_with("2099") {
            return "now".to_owned();
        }
        text.replace(&self.tag, "TAG")
    }

    /// Entries that differ, one line each: the call, both answers.
    pub fn differences(&self, other: &Transcript) -> Vec<String> {
        assert_eq!(self.entries.len(), other.entries.len(), "both ran the same code");
        let pairs = self.entries.iter().zip(&other.entries);
        let differing = pairs.filter(|(ours, theirs)| ours != theirs);
        differing.map(|((what, ours), (_, theirs))| format!("{what}:\n  {ours}\n  {theirs}")).collect()
    }

    /// The answer to the first call with this name.
    pub fn answer(&self, what: &str) -> &Value {
        &self.entries.iter().find(|(name, _)| name == what).unwrap_or_else(|| panic!("no call {what}")).1
    }
}

impl std::fmt::Display for Transcript {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.entries.iter().try_for_each(|(what, answer)| writeln!(out, "{what}: {answer}"))
    }
}
