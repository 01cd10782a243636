//! The rules for single values (docs/mapping.md). Only ASCII letters are compared without case: the words of
//! the rules are ASCII, and no locale shall change a lead's source.

const FUNNELS: [&str; 3] = ["express", "challenge3d", "intensive1d"];

/// ASCII digits and `+`; every other character is dropped. Equals SQL's `normalize_phone`.
pub(crate) fn normalized_phone(phone: &str) -> String {
    phone.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()
}

/// The alternative of a rule that decides a lead's `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceAlternative {
    Null,
    Twland,
    /// The source names this ad platform.
    Platform(&'static str),
    AsItIs,
}

pub(crate) fn source_alternative(source: Option<&str>) -> SourceAlternative {
    match source {
        None => SourceAlternative::Null,
        Some("twland") => SourceAlternative::Twland,
        Some(source) => {
            let platform = ["facebook", "tiktok", "google"].into_iter().find(|word| contains(source, word));
            platform.map_or(SourceAlternative::AsItIs, SourceAlternative::Platform)
        }
    }
}

/// `direct` for `twland` and null; the ad platform for a source that names an ad platform; else the source as
/// it is.
pub(crate) fn source_word(source: Option<&str>) -> &str {
    match (source_alternative(source), source) {
        (SourceAlternative::Platform(word), _) => word,
        (SourceAlternative::AsItIs, Some(source)) => source,
        _ => "direct",
    }
}

/// The alternative of a rule that decides a lead's `funnel_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FunnelAlternative {
    /// The source contains this word.
    Source(&'static str),
    /// The metadata declares the funnel.
    Declared,
    Neither,
}

/// A funnel is chosen by a word in the source or by the declared funnel. `challenge` takes precedence over
/// `intensive`.
pub(crate) fn funnel_alternative(
    source: Option<&str>,
    declared: Option<&str>,
) -> (&'static str, FunnelAlternative) {
    for (word, funnel) in [("challenge", "challenge3d"), ("intensive", "intensive1d")] {
        if source.is_some_and(|source| contains(source, word)) {
            return (funnel, FunnelAlternative::Source(word));
        }
        if declared == Some(funnel) {
            return (funnel, FunnelAlternative::Declared);
        }
    }
    ("express", FunnelAlternative::Neither)
}

pub(crate) fn funnel(source: Option<&str>, declared: Option<&str>) -> &'static str {
    funnel_alternative(source, declared).0
}

/// A declared funnel that does not exist; empty counts as not declared.
pub(super) fn unknown_funnel(declared: Option<&str>) -> Option<&str> {
    declared.filter(|funnel| !funnel.is_empty() && !FUNNELS.contains(funnel))
}

/// The number, `None` for empty text, or the reason why the text is not a number.
pub(crate) fn number(text: &str) -> Result<Option<i64>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not only digits");
    }
    text.parse().map(Some).map_err(|_| "does not fit a bigint")
}

/// The byte at which `text` must be cut to have `limit` characters; `None` when the text is short enough.
pub(crate) fn char_end(text: &str, limit: usize) -> Option<usize> {
    // No text has more characters than bytes: the usual case costs nothing.
    if text.len() <= limit {
        return None;
    }
    text.char_indices().nth(limit).map(|(end, _)| end)
}

fn contains(text: &str, ascii_word: &str) -> bool {
    text.as_bytes().windows(ascii_word.len()).any(|window| window.eq_ignore_ascii_case(ascii_word.as_bytes()))
}
