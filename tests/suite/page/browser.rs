//! A headless Chromium with a profile of its own, led through its WebDriver.
//!
//! The few commands of the W3C's WebDriver that these tests need are asked over HTTP directly. Of the libraries for it, one
//! has a licence that the project does not take, and one adds an operator to `String` that changes how the whole crate is
//! compiled for tests.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::testkit::tried_for_a_minute;

/// Longest time for one command, which may be a run of all accessibility rules.
const COMMAND: Duration = Duration::from_secs(120);

/// Nothing that needs the network, a display or a user.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

/// Ends with the browser when dropped.
pub struct Browser {
    /// The session's address at the driver.
    session: String,
    process: Child,
    _profile: TempDir,
}

/// What `scripts/browser` has found or installed.
pub fn directory() -> PathBuf {
    std::env::var_os("BROWSER_DIR")
        .expect("BROWSER_DIR is not set: BROWSER_DIR=\"$(scripts/browser)\" finds or installs a browser")
        .into()
}

/// A driver that listens, and its port. The driver looks for a port that is free on IPv4 and takes the same one on IPv6, where
/// another program may have it: then it ends, and another one is started.
async fn driver(home: &Path) -> (Child, u16) {
    for _ in 0..5 {
        let mut process = Command::new(directory().join("chromedriver"))
            .arg("--port=0")
            .env("HOME", home)
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                return (process, port.trim_end_matches('.').parse().unwrap());
            }
        }
    }
    panic!("chromedriver ends at its start, five times");
}

impl Browser {
    /// Starts a browser that wants pages in `languages`, as of `Accept-Language`.
    pub async fn start(languages: &str) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let (process, port) = driver(profile.path()).await;
        let server = format!("http://127.0.0.1:{port}");
        let mut arguments: Vec<_> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().join("profile").display()));
        let options = json!({
            "binary": directory().join("chromium"),
            "args": arguments,
            "prefs": { "intl.accept_languages": languages },
        });
        let wanted =
            json!({ "alwaysMatch": { "goog:chromeOptions": options, "timeouts": { "script": 60_000 } } });
        let begun = asked(format!("{server}/session"), json!({ "capabilities": wanted })).await;
        let session = format!("{server}/session/{}", begun["sessionId"].as_str().unwrap());
        Browser { session, process, _profile: profile }
    }

    async fn command(&self, path: &str, parameters: Value) -> Value {
        asked(format!("{}/{path}", self.session), parameters).await
    }

    /// A window of this width, as of a phone where it is narrow, and this theme.
    pub async fn look(&self, width: u32, height: u32, theme: Theme) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.told("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if theme == Theme::Dark { "dark" } else { "light" };
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.told("Emulation.setEmulatedMedia", features).await;
    }

    /// A command of Chromium's own protocol for developers.
    pub async fn told(&self, command: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    pub async fn open(&self, url: &str) {
        self.command("url", json!({ "url": url })).await;
    }

    /// Runs a script, and returns the value that it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.command("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Runs a script, and returns the value that it gives to its last argument, a function.
    pub async fn run_until_done(&self, script: &str) -> Value {
        self.command("execute/async", json!({ "script": script, "args": [] })).await
    }

    /// The value of a JavaScript expression.
    pub async fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}")).await
    }

    /// The text that a reader sees in the element.
    pub async fn text(&self, selector: &str) -> String {
        // A hidden element has all of its text as its `innerText`.
        let script = format!(
            "const element = document.querySelector({selector:?}); \
             return element?.checkVisibility() ? element.innerText : ''"
        );
        let text = self.run(&script).await;
        text.as_str().unwrap().replace('\u{a0}', " ")
    }

    /// Waits until the element's text is as wanted, and returns it.
    pub async fn until(&self, selector: &str, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let looked = tried_for_a_minute(async || Some(self.text(selector).await).filter(|text| wanted(text)));
        match looked.await {
            Some(text) => text,
            None => panic!("in vain: {what}; {selector} says {:?}", self.text(selector).await),
        }
    }

    pub async fn click(&self, selector: &str) {
        let found = self.command("element", json!({ "using": "css selector", "value": selector })).await;
        let element = found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.command(&format!("element/{element}/click"), json!({})).await;
    }

    /// Moves a `mouse` to the place that lies so far across the element, from 0 to 1, or taps there by `touch`.
    pub async fn point(&self, kind: &str, selector: &str, across: f64) {
        let place = format!(
            "const element = document.querySelector({selector:?}); element.scrollIntoView({{ block: 'center' }}); \
             const box = element.getBoundingClientRect(); \
             return [box.left + box.width * {across}, box.top + box.height / 2].map(Math.floor)"
        );
        let place = self.run(&place).await;
        let moved = json!({ "type": "pointerMove", "duration": 0, "x": place[0], "y": place[1] });
        let mut actions = vec![moved];
        if kind == "touch" {
            actions.extend(["pointerDown", "pointerUp"].map(|step| json!({ "type": step, "button": 0 })));
        }
        let parameters = json!({ "pointerType": kind });
        let pointer = json!({ "type": "pointer", "id": kind, "parameters": parameters, "actions": actions });
        self.command("actions", json!({ "actions": [pointer] })).await;
    }

    /// Presses and releases a key, by its code point of the WebDriver standard.
    pub async fn press(&self, key: char) {
        let actions = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("actions", json!({ "actions": [keyboard] })).await;
    }
}

/// The value of the driver's answer.
async fn asked(url: String, parameters: Value) -> Value {
    let answer = tokio::task::spawn_blocking(move || {
        let settings = ureq::Agent::config_builder()
            .timeout_global(Some(COMMAND))
            .proxy(None)
            .http_status_as_error(false);
        let mut answer = settings.build().new_agent().post(&url).send_json(parameters).unwrap();
        let code = answer.status().as_u16();
        (code, answer.body_mut().with_config().limit(64 << 20).read_json::<Value>().unwrap())
    });
    let (code, mut answer) = answer.await.unwrap();
    assert_eq!(code, 200, "the driver refuses: {}", answer["value"]);
    answer["value"].take()
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when the session is deleted, and not when the driver is killed.
        let settings =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).proxy(None);
        let _ = settings.build().new_agent().delete(&self.session).call();
        if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
