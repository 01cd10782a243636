//! PostgreSQL's `->` and `->>` on the text of a `jsonb` value.
//!
//! The text is PostgreSQL's own output, so a nested value's slice of the text *is* the output of `->>`:
//! numbers keep their digits, objects their spacing. Only strings are unescaped.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The requested members of a JSON object.
#[derive(Default)]
pub struct JsonObject<'j>(Vec<(Cow<'j, str>, &'j RawValue)>);

impl<'j> JsonObject<'j> {
    /// Keeps the members whose key is `wanted`. Empty when `json` is not an object, because `->>` gives null
    /// then.
    pub fn parse(json: &'j str, wanted: impl Fn(&str) -> bool) -> Self {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let members = deserializer.deserialize_any(Members(wanted)).ok();
        JsonObject(members.filter(|_| deserializer.end().is_ok()).unwrap_or_default())
    }

    /// `object->>key`: the text of a string, `None` for null or a missing key, the JSON text of any other
    /// value.
    pub fn text(&self, key: &str) -> Option<Cow<'j, str>> {
        let json = self.get(key)?.get();
        match json.as_bytes().first()? {
            b'"' => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
            b'n' => None,
            _ => Some(Cow::Borrowed(json)),
        }
    }

    /// `object->key` as an object; empty when the value is not an object.
    pub fn object(&self, key: &str, wanted: impl Fn(&str) -> bool) -> JsonObject<'j> {
        self.get(key).map(|value| JsonObject::parse(value.get(), wanted)).unwrap_or_default()
    }

    /// The kept members in the order of the document: the key, and the JSON text of the value.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'j str)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value.get()))
    }

    fn get(&self, key: &str) -> Option<&'j RawValue> {
        // jsonb keeps one member for each key; in a text from elsewhere the last member wins.
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }
}

struct Members<W>(W);

impl<'j, W: Fn(&str) -> bool> Visitor<'j> for Members<W> {
    type Value = Vec<(Cow<'j, str>, &'j RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'j>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<Cow<'j, str>>()? {
            // Neither branch recurses, so a document nested a thousand levels deep is harmless.
            if (self.0)(&key) {
                members.push((key, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str, key: &str) -> Option<String> {
        JsonObject::parse(json, |_| true).text(key).map(Cow::into_owned)
    }

    #[test]
    fn each_kind_of_value_gives_the_text_that_postgresql_gives() {
        let json =
            r#"{"s": "a\"б\u0001", "n": 1.50, "b": true, "z": null, "o": {"k": [1, 2]}, "a": [1, "x"]}"#;
        assert_eq!(text(json, "s").as_deref(), Some("a\"б\u{1}"));
        assert_eq!(text(json, "n").as_deref(), Some("1.50"));
        assert_eq!(text(json, "b").as_deref(), Some("true"));
        assert_eq!(text(json, "z"), None);
        assert_eq!(text(json, "o").as_deref(), Some(r#"{"k": [1, 2]}"#));
        assert_eq!(text(json, "a").as_deref(), Some(r#"[1, "x"]"#));
        assert_eq!(text(json, "missing"), None);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in ["[1,2]", r#""x""#, "null", "42", "true", "", "{", r#"{"a": 1} x"#] {
            assert_eq!(text(json, "a"), None, "{json}");
        }
    }

    #[test]
    fn the_text_null_is_not_null() {
        assert_eq!(text(r#"{"a": "null"}"#, "a").as_deref(), Some("null"));
    }

    #[test]
    fn a_document_nested_far_too_deep_is_read_all_the_same() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let json = format!(r#"{{"ignored": {deep}, "a": {deep}, "b": 7}}"#);
        assert_eq!(text(&json, "b").as_deref(), Some("7"));
        assert_eq!(text(&json, "a"), Some(deep));
    }
}
