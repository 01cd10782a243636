//! A daemon's page as its reader sees it.

use leadbridge::throwaway::ReservedPort;
use serde_json::Value;

use super::browser::{Browser, Theme};
use super::{Stage, scenes};
use crate::testkit::{Bridge, Daemon, World, landing, until_true};

/// The charts whose shapes take place on the screen.
const DRAWN: &str = "[...document.querySelectorAll('figure')].filter(chart => { \
    const box = chart.querySelector('.bars').getBoundingClientRect(); \
    return box.width > 0 && box.height > 0; }).map(chart => chart.id)";

/// The keys' code points in the WebDriver standard.
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_followed_in_both_languages_and_a_killed_daemon_is_said_to_be_gone() {
    let world = World::new().await;
    world.fill(80, 40).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let browser = Browser::start("en").await;
    browser.look(390, 844, Theme::Light).await;
    let url = format!("http://{}/", daemon.address());
    browser.open(&format!("{url}?window=10m")).await;
    browser.until("#state", "the state", |text| text.starts_with("STREAMING")).await;
    browser.until("#readiness", "every condition is met", |text| text.matches("— met").count() == 4).await;
    assert!(browser.text("#figures").await.contains("Quarantine\nempty"));

    // A change is seen without another load.
    browser.value("window.isTheSame = true").await;
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone) SELECT 'n', '+7' || g FROM generate_series(1, 400) AS g",
    )
    .await;
    browser.until("#figures", "the rows that were applied", |text| text.contains("400 rows since")).await;
    until_true("the throughput is drawn", async || {
        browser.value(DRAWN).await.as_array().unwrap().contains(&Value::from("chart-rows"))
    })
    .await;
    assert_eq!(browser.value("window.isTheSame").await, true);
    let asked = browser.value("performance.getEntriesByType('resource').map(asked => asked.name)").await;
    let asked = asked.as_array().unwrap();
    assert!(asked.iter().all(|asked| asked.as_str().unwrap().starts_with(&url)), "{asked:?}");

    browser.click("header nav a[lang=ru]").await;
    browser.until("#state", "Russian", |text| text.starts_with("РЕПЛИКАЦИЯ ИДЁТ")).await;
    assert_eq!(browser.value("document.documentElement.lang").await, "ru");
    browser.open(&url).await;
    browser.until("#state", "the language is kept", |text| text.starts_with("РЕПЛИКАЦИЯ ИДЁТ")).await;

    daemon.kill().await;
    browser.until("#lost", "the daemon is gone", |text| text.contains("Демон не отвечает")).await;
    let since = browser.text("#since").await;
    assert!(
        since.contains("Ничего не известно с")
            && since.contains("UTC (")
            && since.contains("секунд")
            && since.contains("назад)"),
        "{since}"
    );
    assert_eq!(browser.value("document.title").await, "НЕТ ОТВЕТА · leadbridge");
    let grey = browser.value("getComputedStyle(document.querySelector('main')).filter").await;
    assert_eq!(grey, "grayscale(1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_has_lost_its_daemon_goes_on_when_the_daemon_is_back() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let port = ReservedPort::for_daemon().unwrap();
    let address = port.address();
    let browser = Browser::start("en").await;
    let daemon = Daemon::spawn(&bridge, &[], port);
    until_true("the daemon answers", async || daemon.asked().await.is_some()).await;
    browser.open(&format!("http://{address}/")).await;
    browser.until("#state", "the state", |text| text.starts_with("STREAMING")).await;
    daemon.terminate().await;
    let said = browser.until("#lost", "the daemon has ended", |text| !text.is_empty()).await;
    assert!(said.contains("was stopped in an orderly way"), "{said}");
    assert!(browser.text("#state").await.starts_with("STOPPED"), "{}", browser.text("#state").await);

    // Another program may have taken the port meanwhile; then the daemon waits for it, and the page with it.
    let listen = address.to_string();
    let mut again = bridge.command(&["run"]);
    let mut again = again.env("LEADBRIDGE_HTTP_LISTEN", &listen).kill_on_drop(true).spawn().unwrap();
    browser.until("#state", "the page goes on", |text| text.starts_with("STREAMING")).await;
    browser.until("#lost", "nothing is lost", str::is_empty).await;
    assert_eq!(browser.value("document.documentElement.classList.contains('is-lost')").await, false);
    again.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browsers_language_is_taken_where_nothing_else_is_chosen() {
    let stage = Stage::of(scenes::snapshot, 2).await;
    for (languages, first) in [("ru-RU,ru,en", "ПЕРВОЕ КОПИРОВАНИЕ"), ("de,en", "SNAPSHOT")]
    {
        let browser = Browser::start(languages).await;
        browser.open(&stage.url("")).await;
        browser.until("#state", first, |text| text.starts_with(first)).await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_control_is_reached_by_keyboard_and_a_closed_table_opens_with_it() {
    let stage = Stage::of(scenes::streaming, 2).await;
    let browser = Browser::start("en").await;
    browser.open(&stage.url("")).await;
    let mut reached = Vec::new();
    for _ in 0..10 {
        browser.press(TAB).await;
        let focused = browser.text(":focus").await;
        reached.extend(focused.lines().next().map(str::to_owned));
    }
    let expected = [
        "Skip to the state",
        "English",
        "Русский",
        "10 minutes",
        "3 hours",
        "24 hours",
        "lag in time",
        "rows a second",
        "lag in bytes",
        "The charts as a table",
    ];
    assert_eq!(reached, expected);
    browser.press(ENTER).await;
    let table = browser.until("#table", "the table opens", |text| text.contains("lag in bytes")).await;
    assert_eq!(table.lines().filter(|line| line.contains("UTC")).count(), 12, "{table}");
    // The open table stays open when events renew it.
    let clock = browser.text("#clock").await;
    assert!(clock.contains("12:00:00 UTC"), "{clock}");
    stage.end().await;
}
