//! A page that nobody sees, and a page whose daemon takes the connection and says nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::json;

use super::browser::Browser;
use super::{Stage, scenes};
use crate::testkit::until_true;

/// Hidden until a test says otherwise. The minute before the connection is given back takes half a second, and the clock
/// can be moved on.
const HIDDEN: &str = "{ \
    Object.defineProperty(Document.prototype, 'hidden', { get: () => window.isHidden ?? true }); \
    const [wait, now] = [window.setTimeout, Date.now]; \
    window.setTimeout = (what, time) => wait(what, time >= 60000 ? 500 : time); \
    Date.now = () => now() + (window.later ?? 0); }";

/// Connections that are taken and say nothing.
const HANGING: &str = "window.tried = []; \
    window.EventSource = class { \
        static OPEN = 1; \
        readyState = 0; \
        constructor(address) { window.tried.push(address); } \
        addEventListener() {} \
        close() {} }";

async fn prepare(browser: &Browser, script: &str) {
    browser.told("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_hidden_from_its_beginning_gives_its_connection_back_until_it_is_seen() {
    let (is_slow, drawn) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (go_on, gate) = mpsc::sync_channel::<()>(0);
    let gate = Mutex::new(gate);
    let (slow, draws) = (Arc::clone(&is_slow), Arc::clone(&drawn));
    let scene = move |window| {
        draws.fetch_add(1, Ordering::Relaxed);
        if slow.load(Ordering::Relaxed) {
            // Fails as soon as the test lets the events go on.
            let _ = gate.lock().unwrap().recv();
        }
        scenes::streaming(window)
    };
    let stage = Stage::of(scene, 2).await;
    let browser = Browser::start("en").await;
    prepare(&browser, HIDDEN).await;
    browser.open(&stage.url("")).await;
    // A page that is followed is drawn each second.
    until_true("nobody follows the page any more", async || {
        let before = drawn.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        drawn.load(Ordering::Relaxed) == before
    })
    .await;
    assert_eq!(
        browser.value("document.title").await,
        "leadbridge",
        "a title that nobody renews claims nothing"
    );

    // An hour later somebody looks, and the first event comes after the page has looked for a silent daemon.
    is_slow.store(true, Ordering::Relaxed);
    let seen = "const root = document.documentElement; window.wasLost = false; \
                new MutationObserver(() => { window.wasLost ||= root.classList.contains('is-lost'); }) \
                .observe(root, { attributes: true }); \
                window.later = 3600000; window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'));";
    browser.run(seen).await;
    browser.run_until_done("setTimeout(arguments[0], 2500)").await;
    assert_eq!(browser.value("window.wasLost").await, false, "an old page is no silent daemon");
    drop(go_on);
    until_true("the page goes on", async || {
        browser.value("document.title").await == "STREAMING · leadbridge"
    })
    .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_hangs_is_said_to_be_silent_and_tried_again_in_the_pages_own_language() {
    let stage = Stage::of(scenes::streaming, 2).await;
    let browser = Browser::start("ru").await;
    prepare(&browser, HANGING).await;
    browser.open(&stage.url("")).await;
    browser.until("#lost", "nothing comes", |text| text.contains("Демон не отвечает")).await;
    until_true("each try that hangs is followed by another one", async || {
        browser.value("window.tried.length").await.as_u64() >= Some(3)
    })
    .await;
    let same = "window.tried.every(address => address === 'events?lang=ru&window=3h')";
    assert_eq!(browser.value(same).await, true, "{}", browser.value("window.tried").await);
    stage.end().await;
}
