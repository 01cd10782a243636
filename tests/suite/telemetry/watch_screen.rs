//! `leadbridge status --watch`, the real binary on a real terminal (a pseudo terminal), read as a person reads it.

use std::io::{Read as _, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::testkit::{Bridge, World, tried_for_a_minute};

/// A terminal and the program on it. Killed when dropped.
struct Watched {
    master: Box<dyn MasterPty>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// The terminal's modes before the program ran.
    modes: String,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn size(cols: u16, rows: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

fn positive(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

impl Watched {
    /// Runs `command` on a terminal of 80×24, with `environment` on top of its own.
    fn start(command: &Command, environment: &[(&str, &str)]) -> Watched {
        let pair = native_pty_system().openpty(size(80, 24)).unwrap();
        let command = command.as_std();
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.env_clear();
        for (name, value) in command.get_envs() {
            builder.env(name, value.unwrap_or_default());
        }
        builder.env("TERM", "xterm-256color");
        builder.env("LANG", "C.UTF-8");
        for (name, value) in environment {
            builder.env(name, value);
        }
        let modes = modes(pair.master.as_ref());
        let child = pair.slave.spawn_command(builder).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(positive(24), positive(80), 0)));
        let (mut output, parser) = (pair.master.try_clone_reader().unwrap(), Arc::clone(&screen));
        // Ends when the terminal is closed.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                parser.lock().unwrap().process(&bytes[..read]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Watched { master: pair.master, keys, child, screen, modes }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents().replace('\u{a0}', " ")
    }

    async fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let looked = tried_for_a_minute(async || Some(self.text()).filter(|text| wanted(text)));
        match looked.await {
            Some(text) => text,
            None => panic!("in vain: {what}; the screen is\n{}", self.text()),
        }
    }

    /// Changes the size, and waits until the whole screen is drawn in it and is as wanted.
    async fn resize(&self, cols: u16, rows: u16, wanted: impl Fn(&str) -> bool) {
        self.screen.lock().unwrap().screen_mut().set_size(positive(rows), positive(cols));
        self.master.resize(size(cols, rows)).unwrap();
        let is_complete = |text: &str| {
            let lines: Vec<_> = text.lines().collect();
            let [first, .., last] = lines.as_slice() else { return false };
            // The clock stands at the right edge of the first row.
            let is_wide =
                first.starts_with("leadbridge status") && first.chars().count() == usize::from(cols);
            is_wide && lines.len() == usize::from(rows) && last.starts_with("q quits") && wanted(text)
        };
        self.until(&format!("a screen of {cols}×{rows}"), is_complete).await;
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for the end; the terminal is as before.
    async fn ends_well(&mut self) {
        let ended = tried_for_a_minute(async || self.child.try_wait().unwrap()).await;
        assert_eq!(ended.expect("the watch ends").exit_code(), 0);
        self.until("the screen is given back", |_| !self.has_screen()).await;
        assert!(!self.screen.lock().unwrap().screen().hide_cursor());
        assert_eq!(modes(self.master.as_ref()), self.modes);
    }

    /// Whether the program has a screen of its own.
    fn has_screen(&self) -> bool {
        self.screen.lock().unwrap().screen().alternate_screen()
    }

    fn has_colours(&self) -> bool {
        let parser = self.screen.lock().unwrap();
        let (rows, cols) = parser.screen().size();
        let (rows, cols) = (rows.get(), cols.get());
        let cells = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        let mut cells = cells.filter_map(|(row, col)| parser.screen().cell(row, col));
        cells.any(|cell| cell.fgcolor() != vt100::Color::Default || cell.bgcolor() != vt100::Color::Default)
    }
}

fn modes(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}

/// An installation whose databases do not exist.
fn nowhere() -> Bridge {
    let nobody = "postgresql://postgres@127.0.0.1:1/nowhere?sslmode=disable";
    Bridge::between(nobody, nobody)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_watched_at_every_size_and_q_gives_the_terminal_back() {
    let world = World::new().await;
    world.fill(60, 40).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let mut watched = Watched::start(&daemon.command(&bridge, &["status", "--watch"]), &[]);
    let is_whole = |text: &str| {
        let facts = [
            "STREAMING",
            "ready       yes",
            "quarantine  empty",
            "lag in time",
            "rows a second",
            "lag in bytes",
        ];
        facts.iter().all(|fact| text.contains(fact))
    };
    watched.until("the whole stream is shown at 80×24", is_whole).await;
    assert!(watched.has_screen() && watched.has_colours());
    for (cols, rows) in [(120, 40), (200, 50), (80, 24)] {
        watched.resize(cols, rows, is_whole).await;
    }
    watched.screen.lock().unwrap().screen_mut().set_size(positive(10), positive(50));
    watched.master.resize(size(50, 10)).unwrap();
    let is_small = |text: &str| text.contains("window too small: 60x15 needed") && text.contains("STREAMING");
    watched.until("a window that is too small says so", is_small).await;
    watched.resize(80, 24, is_whole).await;

    daemon.kill().await;
    let tells = |text: &str| {
        text.contains("NO ANSWER   from the daemon since")
            && text.contains("STOPPED")
            && text.contains("OLD, of ")
    };
    watched.until("the daemon is gone, and its last figures are old", tells).await;
    watched.press(b"q");
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_a_cutover_and_a_rollback_are_shown_without_colours_too() {
    let world = World::new().await;
    world.fill(61, 40).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let plain = [("NO_COLOR", "1"), ("LANG", "C")];
    let mut watched = Watched::start(&daemon.command(&bridge, &["status", "--watch"]), &plain);
    watched.until("what stands in the way", |text| text.contains("in the way  of a cutover: nothing")).await;
    let directory = bridge.dir().to_str().unwrap().to_owned();
    let cutover =
        ["cutover", "--yes", "--certificate", &directory, "--max-lag-seconds", "30", "--timeout", "2m"];
    let said = bridge.run(&cutover).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let steps = ["cutover: [x] started", "[x] fenced +", "[x] drained +", "[x] verified +", "[x] switched +"];
    let has_all = |text: &str, steps: &[&str]| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        steps.iter().all(|step| text.contains(step))
    };
    let switched =
        |text: &str| has_all(text, &steps) && text.contains("SWITCHED") && text.contains("reverse");
    watched.until("every step of the cutover, and reverse replication", switched).await;
    daemon.until("reverse replication runs", |status| status["reverse"]["lag_bytes"] == 0).await;
    let rollback =
        ["rollback", "--yes", "--certificate", &directory, "--max-lag-seconds", "30", "--timeout", "2m"];
    let said = bridge.run(&rollback).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let steps =
        ["rollback: [x] started", "[x] verified +", "[x] rolled back +", "Landing is the system of record"];
    watched.until("every step of the rollback", |text| has_all(text, &steps)).await;
    assert!(watched.text().is_ascii() && !watched.has_colours(), "{}", watched.text());
    watched.press(b"\x1b");
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_gives_the_terminal_back_and_nothing_known_is_said_plainly() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let bridge = nowhere();
        let mut watched = Watched::start(&bridge.command(&["status", "--watch"]), &[]);
        let text = watched
            .until("nothing is known", |text| text.contains("NOT KNOWN — no daemon answers here"))
            .await;
        assert!(text.contains("NO ANSWER   from Landing since this watch began"), "{text}");
        assert!(watched.has_screen());
        let process = Pid::from_raw(i32::try_from(watched.child.process_id().unwrap()).unwrap());
        kill(process, signal).unwrap();
        watched.ends_well().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_that_can_show_a_screen_lines_are_printed() {
    let bridge = nowhere();
    let dumb = Watched::start(&bridge.command(&["status", "--watch"]), &[("TERM", "dumb")]);
    dumb.until("a line", |text| text.contains("state       STOPPED")).await;
    assert!(!dumb.has_screen() && !dumb.has_colours());

    let mut command = bridge.command(&["status", "--watch"]);
    let mut child = command.env("TERM", "xterm").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut states = 0;
    while states < 2 {
        let line = lines.next_line().await.unwrap().expect("it goes on");
        assert!(!line.contains('\u{1b}'), "{line:?}");
        states += usize::from(line.starts_with("state "));
    }
    child.kill().await.unwrap();
}
