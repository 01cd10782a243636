//! The pictures of the documents. `WRITE_SCREENS=1` writes them again; without it nothing is compared, because another
//! machine has other fonts.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use leadbridge::page::Scene;
use leadbridge::telemetry::past::Window;
use serde_json::json;

use super::browser::{Browser, Theme};
use super::{Stage, scenes};

struct Picture {
    name: &'static str,
    scene: fn(Window) -> Scene,
    query: &'static str,
    width: u32,
    theme: Theme,
    /// Whether the daemon has ended.
    is_lost: bool,
}

const PICTURES: [Picture; 5] = [
    Picture {
        name: "page-desk-light-en",
        scene: scenes::streaming,
        query: "?lang=en&window=3h",
        width: 1200,
        theme: Theme::Light,
        is_lost: false,
    },
    Picture {
        name: "page-desk-dark-ru",
        scene: scenes::cutover,
        query: "?lang=ru&window=3h",
        width: 1200,
        theme: Theme::Dark,
        is_lost: false,
    },
    Picture {
        name: "page-phone-light-ru",
        scene: scenes::trouble,
        query: "?lang=ru&window=3h",
        width: 390,
        theme: Theme::Light,
        is_lost: false,
    },
    Picture {
        name: "page-phone-dark-en",
        scene: scenes::snapshot,
        query: "?lang=en&window=10m",
        width: 390,
        theme: Theme::Dark,
        is_lost: false,
    },
    Picture {
        name: "page-lost-light-en",
        scene: scenes::streaming,
        query: "?lang=en&window=3h",
        width: 390,
        theme: Theme::Light,
        is_lost: true,
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn each_picture_of_the_documents_can_be_taken() {
    let browser = Browser::start("en").await;
    for picture in &PICTURES {
        let stage = Stage::of(picture.scene, 2).await;
        browser.look(picture.width, 900, picture.theme).await;
        browser.open(&stage.url(picture.query)).await;
        browser.until("#announce", "the first events", |text| !text.is_empty()).await;
        if picture.is_lost {
            stage.end().await;
            browser.until("#lost", "the daemon has ended", |text| !text.is_empty()).await;
            // The age of the figures is the only text that the moment decides.
            browser.value("document.getElementById('since-age').textContent = '14 seconds ago'").await;
            write(&browser, picture).await;
        } else {
            if picture.width > 600 {
                // The highest lag of the scene's first backlog. A tap, because taking a picture moves a mouse.
                browser.point("touch", "#chart-lag svg", 48.5 / 180.0).await;
                browser.until("#chart-lag .pointed", "the value", |text| !text.is_empty()).await;
            }
            write(&browser, picture).await;
            stage.end().await;
        }
    }
}

async fn write(browser: &Browser, picture: &Picture) {
    let height = browser.value("document.documentElement.scrollHeight").await.as_u64().unwrap();
    let clip = json!({ "x": 0, "y": 0, "width": picture.width, "height": height, "scale": 1 });
    let asked = json!({ "format": "webp", "quality": 80, "captureBeyondViewport": true, "clip": clip });
    let taken = browser.told("Page.captureScreenshot", asked).await;
    let bytes = BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
    assert!(bytes.starts_with(b"RIFF") && bytes.len() > 5_000, "{} bytes", bytes.len());
    if std::env::var_os("WRITE_SCREENS").is_some() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{}.webp", picture.name)), bytes).unwrap();
    }
}
