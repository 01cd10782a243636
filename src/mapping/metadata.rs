//! Puts members into the text of a `jsonb` object; pure. The result is the text that PostgreSQL itself would
//! print, so equal values have equal texts.

use std::borrow::Cow;

use crate::mapping::json::JsonObject;

/// Whether the JSON is an object, so members can be put in.
pub fn is_object(json: &str) -> bool {
    json.starts_with('{')
}

/// The object with these members, each a string, in place of members with the same keys. `None` is an empty
/// object.
pub fn with_members(json: Option<&str>, put: &[(&str, &str)]) -> String {
    let object = JsonObject::parse(json.unwrap_or("{}"), |_| true);
    let kept = object.members().filter(|(key, _)| put.iter().all(|(name, _)| name != key));
    let kept = kept.map(|(key, value)| (key, Cow::Borrowed(value)));
    let new = put.iter().map(|(key, value)| (*key, Cow::Owned(quoted(value))));
    let mut members: Vec<(&str, Cow<'_, str>)> = kept.chain(new).collect();
    // jsonb sorts keys by length in bytes, then by bytes.
    members.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
    // One buffer of the right size: a member may be very large.
    let keys: Vec<String> = members.iter().map(|(key, _)| quoted(key)).collect();
    let size = keys.iter().zip(&members).map(|(key, (_, value))| key.len() + value.len() + 4).sum::<usize>();
    let mut object = String::with_capacity(size + 2);
    for (key, (_, value)) in keys.iter().zip(&members) {
        object.push_str(if object.is_empty() { "{" } else { ", " });
        object.push_str(key);
        object.push_str(": ");
        object.push_str(value);
    }
    object.push_str(if object.is_empty() { "{}" } else { "}" });
    object
}

/// A JSON string with only the escapes that PostgreSQL prints.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_the_order_of_jsonb() {
        let put =
            with_members(Some(r#"{"a": 1, "zz": [1, 2], "utmSource": "x"}"#), &[("utm_source", "ы\"\n")]);
        assert_eq!(put, r#"{"a": 1, "zz": [1, 2], "utmSource": "x", "utm_source": "ы\"\n"}"#);
        assert_eq!(with_members(None, &[("b", "1"), ("a", "2")]), r#"{"a": "2", "b": "1"}"#);
    }

    #[test]
    fn a_member_is_put_in_the_place_of_the_one_of_its_key() {
        assert_eq!(
            with_members(Some(r#"{"a": {"b": 1.50}, "c": null}"#), &[("a", "x")]),
            r#"{"a": "x", "c": null}"#
        );
    }

    #[test]
    fn nothing_put_leaves_postgresqls_own_text() {
        let text = r#"{"": true, "k": "\u0001\b\f\t\r/é😀", "n": 1e400, "o": {"a": [1, {"b": null}]}}"#;
        assert_eq!(with_members(Some(text), &[]), text);
    }
}
