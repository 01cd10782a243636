//! Any text is a configuration or an error, and no error shows the password of a URL in the text.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/suite/properties/operators_text.rs"]
#[allow(dead_code, reason = "each target checks one of the parsers")]
mod operators_text;

fuzz_target!(|data: &str| operators_text::any_config(data));
