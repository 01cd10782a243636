//! The accessibility rules of axe-core, over every scene, theme, language and width.

use leadbridge::page::Scene;
use leadbridge::telemetry::past::Window;
use serde_json::Value;

use super::browser::{Browser, Theme, directory};
use super::{Stage, scenes};

/// Findings of axe-core on the open page: rule, what to do, and where.
async fn violations(browser: &Browser) -> Vec<String> {
    let axe = std::fs::read_to_string(directory().join("axe.min.js")).unwrap();
    browser.run(&axe).await;
    let run = "const done = arguments[arguments.length - 1]; \
               axe.run(document, { resultTypes: ['violations'] }).then(found => done(found.violations), \
               error => done([{ id: String(error), help: '', nodes: [] }]));";
    let found: Value = browser.run_until_done(run).await;
    let found = found.as_array().unwrap().iter().map(|violation| {
        let nodes = violation["nodes"].as_array().unwrap().iter().map(|node| node["html"].to_string());
        format!("{}: {} at {}", violation["id"], violation["help"], nodes.collect::<Vec<_>>().join(", "))
    });
    found.collect()
}

/// Opens every part that is closed at first.
async fn unfold(browser: &Browser) {
    browser.value("document.querySelectorAll('details').forEach(part => part.open = true)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_in_any_scene_theme_language_and_width() {
    let browser = Browser::start("en").await;
    let scenes: [fn(Window) -> Scene; 4] =
        [scenes::streaming, scenes::snapshot, scenes::cutover, scenes::trouble];
    for scene in scenes {
        let stage = Stage::of(scene, 4).await;
        for (width, theme, lang) in [
            (320, Theme::Light, "ru"),
            (320, Theme::Dark, "en"),
            (1280, Theme::Light, "en"),
            (1280, Theme::Dark, "ru"),
        ] {
            browser.look(width, 900, theme).await;
            browser.open(&stage.url(&format!("?lang={lang}"))).await;
            unfold(&browser).await;
            assert_eq!(violations(&browser).await, [""; 0], "{width} {theme:?} {lang}");
            // Nothing stands out of a narrow screen.
            let over = browser.value("document.documentElement.scrollWidth - innerWidth").await;
            assert!(over.as_i64().unwrap() <= 0, "{over} pixels too wide at {width}, {lang}");
        }
        stage.end().await;
        // The page of a daemon that has ended is read, too.
        browser.until("#lost", "the page says that the daemon has ended", |text| !text.is_empty()).await;
        assert_eq!(violations(&browser).await, [""; 0], "after the end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_what_is_wrong() {
    let browser = Browser::start("en").await;
    let stage = Stage::of(scenes::streaming, 4).await;
    browser.open(&stage.url("")).await;
    browser.value("document.querySelector('#chart-lag svg').removeAttribute('aria-label')").await;
    let found = violations(&browser).await;
    assert!(found.iter().any(|violation| violation.contains("svg-img-alt")), "{found:?}");
    stage.end().await;
}
