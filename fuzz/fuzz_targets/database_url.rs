//! Any text is a URL with one meaning or an error; no message shows a password. The first line is a URL and what stands
//! before a password, the second what stands after the password, the others are variables of the environment.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/suite/properties/operators_text.rs"]
#[allow(dead_code, reason = "each target checks one of the parsers")]
mod operators_text;

fuzz_target!(|data: &str| {
    let (url, rest) = data.split_once('\n').unwrap_or((data, ""));
    let (after, variables) = rest.split_once('\n').unwrap_or((rest, ""));
    operators_text::any_url(url, variables);
    operators_text::url_with_password(url, after);
});
