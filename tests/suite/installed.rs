//! `scripts/postgres`, which `make` asks for a server: it changes this system's packages only with consent.
//!
//! The package manager, `sudo` and `id` are programs of the test, because a real one would install.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres");

/// What the script ran of `sudo`, `apt-get` and `npm`, and what it said.
struct Ran {
    programs: String,
    said: String,
}

/// Runs the script as the user `uid` on a system without a server; `through` is a program that runs it.
fn run(uid: &str, through: Option<&str>, set: &[(&str, &str)]) -> Ran {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let program = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("id", &format!("echo {uid}"));
    program("sudo", "test \"$1\" != -n || shift; exec \"$@\"");
    for name in ["apt-get", "npm", "mkdir", "sh", "rm"] {
        program(name, &format!("echo {name} \"$@\" >> {}; exit 1", log.display()));
    }
    let script = format!("/bin/sh {SCRIPT} 17");
    let mut command = match through {
        None => {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &script]).stdin(Stdio::null());
            command
        }
        // A terminal, at which somebody types.
        Some(typed) => {
            let mut command = Command::new("/bin/sh");
            let line = format!("echo {typed} | script -qec '{script}' /dev/null");
            command.args(["-c", &line]).stdin(Stdio::null());
            command
        }
    };
    command
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", place.path().display()))
        .env("HOME", place.path())
        .env("POSTGRES_FROM", "system")
        .envs(set.iter().copied());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let programs = if Path::exists(&log) { std::fs::read_to_string(&log).unwrap() } else { String::new() };
    Ran { programs, said: String::from_utf8(said).unwrap() }
}

#[test]
fn a_system_gets_packages_only_from_somebody_who_consents() {
    let (consents, refuses) = (("LEADBRIDGE_INSTALL", "yes"), ("LEADBRIDGE_INSTALL", "no"));
    for (uid, typed, set, installs) in [
        // Without a terminal: a user with a sudo that asks nothing, a build, root.
        ("1000", None, vec![], false),
        ("1000", None, vec![consents], true),
        ("1000", None, vec![("CI", "true")], true),
        ("0", None, vec![], true),
        ("0", None, vec![refuses], false),
        // At a terminal.
        ("1000", Some("no"), vec![], false),
        ("1000", Some("yes"), vec![], true),
        ("0", Some("no"), vec![], false),
        ("0", Some("no"), vec![("CI", "true")], false),
        ("0", Some("yes"), vec![], true),
        ("1000", Some("no"), vec![consents], true),
    ] {
        let Ran { programs, said } = run(uid, typed, &set);
        let case = format!("uid {uid}, typed {typed:?}, {set:?}: {programs}{said}");
        assert_eq!(
            programs.contains("apt-get -qy --no-install-recommends install postgresql-17"),
            installs,
            "{case}"
        );
        if !installs {
            assert_eq!(programs, "", "{case}");
            assert!(
                said.contains("apt-get install --no-install-recommends postgresql-17"),
                "not shown: {case}"
            );
        }
    }
}
