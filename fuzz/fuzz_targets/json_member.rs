//! `->>` agrees with a JSON parser that builds the whole document.
#![no_main]

use leadbridge::mapping::json::JsonObject;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &str| {
    let object = JsonObject::parse(data, |_| true);
    let ours = object.text("key");
    let _ = object.object("key", |_| true).text("key");
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(data) else { return };
    match members.get("key") {
        None | Some(Value::Null) => assert_eq!(ours, None),
        Some(Value::String(text)) => assert_eq!(ours.as_deref(), Some(text.as_str())),
        // Its own text, as it stands there: the same value when it is read again.
        Some(value) => assert_eq!(serde_json::from_str::<Value>(&ours.unwrap()).unwrap(), *value),
    }
});
