//! The reader's language and the charts' window; pure.

use axum::http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;

use crate::language::Language;
use crate::telemetry::past::Window;

const COOKIE: &str = "leadbridge_lang";

/// The query of the page's address.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    lang: Option<String>,
    window: Option<String>,
}

impl Asked {
    fn language(&self) -> Option<Language> {
        self.lang.as_deref()?.parse().ok()
    }

    /// The cookie that keeps an asked language for a year; `None` when none is asked for.
    pub fn cookie(&self) -> Option<HeaderValue> {
        let code = self.language()?.code();
        let cookie = format!("{COOKIE}={code}; Path=/; Max-Age=31536000; SameSite=Strict; HttpOnly");
        HeaderValue::from_str(&cookie).ok()
    }
}

/// What one reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub language: Language,
    pub window: Window,
}

impl Choice {
    /// The address decides, then the cookie, then the browser's languages in the browser's order, then English.
    pub fn of(asked: &Asked, headers: &HeaderMap) -> Self {
        let language = asked.language().or_else(|| kept(headers)).or_else(|| preferred(headers));
        let named = asked.window.as_deref();
        let window = Window::ALL.into_iter().find(|window| Some(window_code(*window)) == named);
        Choice { language: language.unwrap_or_default(), window: window.unwrap_or_default() }
    }

    /// The query of the address with this choice.
    pub fn query(self) -> String {
        format!("?lang={}&window={}", self.language.code(), window_code(self.window))
    }
}

fn window_code(window: Window) -> &'static str {
    match window {
        Window::TenMinutes => "10m",
        Window::ThreeHours => "3h",
        Window::Day => "24h",
    }
}

fn kept(headers: &HeaderMap) -> Option<Language> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE)?.1.parse().ok()
}

/// Of the languages that the page has, the one that the browser wants most.
fn preferred(headers: &HeaderMap) -> Option<Language> {
    let wanted = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let weighed = wanted.split(',').filter_map(|range| {
        let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
        let weight =
            parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.trim().parse::<f64>().ok())?;
        let code = tag.trim().split('-').next()?.to_ascii_lowercase();
        Some((code.parse::<Language>().ok()?, weight)).filter(|(_, weight)| *weight > 0.0)
    });
    // The first of equal weights, as the browser orders them.
    weighed.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(language, _)| language)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lang: Option<&str>, cookie: Option<&str>, accepted: Option<&str>) -> Language {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::COOKIE, cookie), (header::ACCEPT_LANGUAGE, accepted)] {
            headers.extend(value.map(|value| (name, value.parse().unwrap())));
        }
        Choice::of(&Asked { lang: lang.map(Into::into), window: None }, &headers).language
    }

    #[test]
    fn the_address_decides_before_the_cookie_and_the_cookie_before_the_browser() {
        let (en, ru) = (Language::English, Language::Russian);
        assert_eq!(chosen(Some("ru"), Some("leadbridge_lang=en"), Some("en")), ru);
        assert_eq!(chosen(Some("xx"), Some("a=b; leadbridge_lang=ru"), Some("en")), ru);
        assert_eq!(chosen(None, Some("leadbridge_lang=xx"), Some("ru-RU,ru;q=0.9,en;q=0.8")), ru);
        assert_eq!(chosen(None, None, Some("en-GB,ru;q=0.9")), en);
        assert_eq!(chosen(None, None, Some("de,ru;q=0.5,en;q=0.4")), ru);
        assert_eq!(chosen(None, None, Some("ru;q=0,en;q=0.1")), en);
        for other in [None, Some("de"), Some(""), Some(";;q=,"), Some("ru;q=x")] {
            assert_eq!(chosen(None, None, other), en, "{other:?}");
        }
    }

    #[test]
    fn a_choice_is_found_again_in_its_own_query() {
        for language in Language::ALL {
            for window in Window::ALL {
                let choice = Choice { language, window };
                let query = choice.query();
                let asked =
                    axum::extract::Query::<Asked>::try_from_uri(&format!("/{query}").parse().unwrap());
                assert_eq!(Choice::of(&asked.unwrap(), &HeaderMap::new()), choice);
            }
        }
        assert!(Asked { lang: Some("ru".into()), window: None }.cookie().is_some());
        assert!(Asked { lang: Some("x; Path=/".into()), window: None }.cookie().is_none());
    }
}
