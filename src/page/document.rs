//! The page as one document: frame, style and script.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::choice::Choice;
use super::parts::{Scene, parts, window_name};
use super::words::Words;
use crate::language::{Language, message};
use crate::telemetry::past::Window;

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
/// A picture of its own, so that the browser asks for none.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath \
                    fill='%231a6fb5' d='M1 6h8V2l6 6-6 6v-4H1z'/%3E%3C/svg%3E";

/// The parts by their ids.
type Parts = HashMap<&'static str, Markup>;

/// The Content-Security-Policy: nothing but the page's own style and script, and its own daemon.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT),
    )
});

/// The whole page.
pub fn html(scene: &Scene, choice: Choice) -> String {
    let words = Words(choice.language);
    let said = |message| words.say(message);
    let parts: Parts = parts(scene, words).into_iter().collect();
    html! {
        (DOCTYPE)
        html lang=(choice.language.code()) data-version=(env!("CARGO_PKG_VERSION"))
            data-query=(choice.query()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (scene.title(words)) }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#main" { (said(message!("page-skip"))) }
                (banner(&parts, choice))
                (main(&parts, choice))
                footer { p { (said(message!("page-footer"))) } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

/// The name, the moment that the page shows, and the languages.
fn banner(parts: &Parts, choice: Choice) -> Markup {
    let words = Words(choice.language);
    html! {
        header {
            h1 { "leadbridge" }
            p id="clock" class="note" { @if let Some(clock) = parts.get("clock") { (clock) } }
            nav aria-label=(words.say(message!("page-languages"))) {
                @for language in Language::ALL {
                    @let name = match language { Language::English => "English", Language::Russian => "Русский" };
                    a href=(Choice { language, ..choice }.query()) lang=(language.code()) hreflang=(language.code())
                        aria-current=[(language == choice.language).then_some("true")] { (name) }
                }
            }
            (silence(words))
        }
    }
}

/// What the script shows when nothing comes. The script fills the moment and the age in.
fn silence(words: Words) -> Markup {
    let said = |message| words.say(message);
    html! {
        noscript { p class="alert" { (said(message!("page-no-script"))) } }
        div id="lost" role="alert" hidden {
            p data-when="silent" hidden { (said(message!("page-lost"))) " " (said(message!("page-lost-old"))) }
            p data-when="ended" hidden { (said(message!("page-ended"))) " " (said(message!("page-lost-old"))) }
            p data-when="refused" hidden { (said(message!("page-refused"))) " " (said(message!("page-lost-old"))) }
        }
        p id="since" class="note" hidden data-title=(said(message!("figures-no-answer"))) {
            (said(message!("page-lost-since"))) " " strong id="since-clock" {} " (" span id="since-age" {} ")"
        }
        p id="announce" class="unseen" role="status" {}
    }
}

fn main(parts: &Parts, choice: Choice) -> Markup {
    let words = Words(choice.language);
    let part = |id| parts.get(id).cloned().unwrap_or_else(|| html! {});
    html! {
        main id="main" tabindex="-1" {
            div id="state" { (part("state")) }
            div id="trouble" { (part("trouble")) }
            div id="steps" { (part("steps")) }
            div id="figures" { (part("figures")) }
            div id="snapshot" { (part("snapshot")) }
            section aria-labelledby="h-charts" {
                h2 id="h-charts" { (words.say(message!("page-charts"))) }
                nav class="windows" aria-label=(words.say(message!("page-windows"))) {
                    @for window in Window::ALL {
                        a href=(Choice { window, ..choice }.query())
                            aria-current=[(window == choice.window).then_some("true")] { (words.say(window_name(window))) }
                    }
                }
                div class="charts" {
                    @for id in ["chart-lag", "chart-rows", "chart-bytes"] { figure id=(id) { (part(id)) } }
                }
                details {
                    summary { (words.say(message!("page-table"))) }
                    div id="table" tabindex="0" role="region" aria-label=(words.say(message!("page-table"))) { (part("table")) }
                }
            }
            div id="readiness" { (part("readiness")) }
            div id="details" { (part("details")) }
        }
    }
}
