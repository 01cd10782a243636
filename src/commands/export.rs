//! `leadbridge export`: the replicated tables of one side as files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{print, print_json};
use crate::cli::ExportArguments;
use crate::config::Config;
use crate::error::Result;
use crate::exit::Exit;
use crate::files::{self, Directory, Manifest, restore_hint};
use crate::model::side::Side;

/// Output of `--json`.
#[derive(Serialize)]
struct ExportDocument<'m> {
    directory: PathBuf,
    manifest: &'m Manifest,
}

pub async fn run(config: &Config, arguments: &ExportArguments) -> Result<Exit> {
    let ExportArguments { directory, format, side, json } = arguments;
    let config = match side {
        Side::Landing => {
            let landing = config.landing.connect("export").await?;
            let resolved = config.resolved(&landing).await?;
            landing.close().await;
            resolved
        }
        Side::Traffic => config.clone(),
    };
    let endpoint = match side {
        Side::Landing => &config.landing,
        Side::Traffic => &config.traffic,
    };
    // The printed lines may be typed elsewhere.
    let directory = &std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
    let claimed = Directory::claim(directory, *format)?;
    let manifest = files::export(endpoint, &config.names, &config.tables(), claimed).await?;
    if *json {
        print_json(&ExportDocument { directory: directory.clone(), manifest: &manifest })?;
    } else {
        print(&text(&manifest, directory))?;
    }
    Ok(Exit::Ok)
}

fn text(manifest: &Manifest, directory: &Path) -> String {
    let source = &manifest.source;
    let mut text = format!(
        "{} in {}, as of {} at {}:\n",
        manifest.side,
        directory.display(),
        source.taken_at,
        source.wal_position
    );
    // Writing to a String cannot fail.
    for file in &manifest.tables {
        let _ = writeln!(text, "  {} rows, {} bytes in {}", file.rows, file.bytes, file.file);
    }
    if manifest.side == Side::Landing {
        let _ = writeln!(text, "To import the files into Traffic: leadbridge import {}", directory.display());
    }
    let _ = write!(
        text,
        "To read the files into empty tables of the same form, in psql:\n{}",
        restore_hint(manifest, directory)
    );
    text
}
