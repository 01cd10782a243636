//! libpq's own verdicts, from the library beside the server's programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cases::{Case, Verdict};

/// A small program that connects with libpq.
pub struct Libpq {
    program: PathBuf,
    /// Directories of the shared libraries.
    libraries: String,
}

impl Libpq {
    /// Builds the program in `dir` with the C compiler, for the library that `LIBPQ` names, else for the one of a server
    /// with the programs in `bin`.
    pub fn build(dir: &Path, bin: &Path) -> Self {
        let library = std::env::var_os("LIBPQ").map(PathBuf::from).unwrap_or_else(|| beside(bin));
        let program = dir.join("libpq");
        // The name that a program asks the loader for, which not every installation has.
        std::os::unix::fs::symlink(&library, dir.join("libpq.so.5")).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/postgres/security/libpq.c");
        let folder = library.parent().unwrap().display().to_string();
        let built = Command::new("cc")
            .args([Path::new("-o"), &program, Path::new(source), &library])
            .arg(format!("-Wl,-rpath-link,{folder}"))
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Libpq { program, libraries: format!("{}:{folder}", dir.display()) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    /// Such as 170010.
    pub fn version(&self) -> String {
        let said = self.command().output().unwrap();
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    pub fn verdict(&self, case: &Case, port: u16, home: &Path) -> Verdict {
        let said = self
            .command()
            .arg(case.url(port))
            .env("HOME", home)
            .envs(case.env.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let word = String::from_utf8(said.stdout).unwrap();
        Verdict::read(word.trim()).unwrap_or_else(|| panic!("{}: {word}", case.name))
    }
}

/// The shared library of the installation whose programs are in `bin`.
fn beside(bin: &Path) -> PathBuf {
    let folder = bin.parent().unwrap().join("lib");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("libpq.so.5"))
        .collect();
    found.sort();
    found.pop().expect("no libpq beside the server: name the file in LIBPQ")
}
