//! Values that a reader points at in the charts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::browser::{Browser, Theme};
use super::{Stage, scenes};
use crate::testkit::until_true;

/// The keys' code points in the WebDriver standard.
const TAB: char = '\u{e004}';
const ESCAPE: char = '\u{e00c}';
const END: char = '\u{e010}';
const HOME: char = '\u{e011}';
const ARROW_LEFT: char = '\u{e012}';

const LAG: &str = "#chart-lag .pointed";

/// The middle of a column of the 180 of three hours.
fn middle(place: u16) -> f64 {
    (f64::from(place) + 0.5) / 180.0
}

#[tokio::test(flavor = "multi_thread")]
async fn every_chart_says_its_value_under_a_mouse_or_a_finger_and_goes_on_when_it_is_renewed() {
    // The newest column changes with each event, so that the chart is sent again and again.
    let events = Arc::new(AtomicU64::new(0));
    let scene = move |window| {
        let mut scene = scenes::streaming(window);
        let newest = scene.columns.last_mut().unwrap();
        newest.lag_seconds = Some(20.0 + events.fetch_add(1, Ordering::Relaxed) as f64);
        scene
    };
    let stage = Stage::of(scene, 2).await;
    for (width, kind) in [(1200, "mouse"), (320, "touch")] {
        let browser = Browser::start("en").await;
        browser.look(width, 900, Theme::Light).await;
        browser.open(&stage.url("?window=3h")).await;
        browser.until("#announce", "the first events", |text| !text.is_empty()).await;
        assert_eq!(browser.text(LAG).await, "");
        browser.point(kind, "#chart-lag svg", middle(48)).await;
        // Where the scene's first backlog is highest, 131 minutes before noon.
        let lag = browser.until(LAG, "the value", |text| text == "09:49 UTC: 21 s").await;
        for chart in ["rows", "bytes"] {
            let said = browser.text(&format!("#chart-{chart} .pointed")).await;
            assert!(said.starts_with("09:49 UTC: ") && said.len() > 11, "{said}");
        }
        browser.value("document.querySelector('#chart-lag svg').isOld = true").await;
        until_true("the chart is renewed", async || {
            browser.value("document.querySelector('#chart-lag svg').isOld !== true").await == true
        })
        .await;
        assert_eq!(browser.text(LAG).await, lag);
        assert_eq!(browser.value("document.querySelector('#chart-lag .mark').getAttribute('x')").await, "48");
        let over = browser.value("document.documentElement.scrollWidth - innerWidth").await;
        assert!(over.as_i64().unwrap() <= 0, "{over} pixels too wide at {width}");
        // A column of the hour in which nothing was known.
        browser.point(kind, "#chart-rows svg", middle(64)).await;
        browser.until(LAG, "no value", |text| text == "10:05 UTC: not known").await;
        if kind == "mouse" {
            browser.point(kind, "#state", 0.5).await;
            browser.until(LAG, "the mouse has left", str::is_empty).await;
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_goes_through_the_columns_of_a_chart() {
    let stage = Stage::of(scenes::streaming, 2).await;
    let browser = Browser::start("en").await;
    browser.open(&stage.url("?window=3h")).await;
    for _ in 0..7 {
        browser.press(TAB).await;
    }
    assert_eq!(browser.value("document.activeElement.id").await, "chart-lag");
    browser.until(LAG, "the newest column", |text| text.starts_with("12:00 UTC: ")).await;
    for (key, time) in [(ARROW_LEFT, "11:59"), (HOME, "09:01"), (ARROW_LEFT, "09:01"), (END, "12:00")] {
        browser.press(key).await;
        let said = browser.text(LAG).await;
        assert!(said.starts_with(&format!("{time} UTC: ")), "{said}");
    }
    browser.press(ESCAPE).await;
    assert_eq!(browser.text(LAG).await, "");
    stage.end().await;
}
