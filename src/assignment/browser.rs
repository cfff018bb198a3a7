//! A picture of the page as a browser shows it, if Chromium is installed.
//!
//! Entry point: [`screenshot`]. Whatever goes wrong here is a remark in the report, no failure.
//! Note: `notes/README.md`.

use crate::cli::shutdown::Stop;
use crate::lab::process::{installed, output};
use crate::lab::usage::is_root;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const NAMES: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
/// The whole page in one picture.
const WINDOW: &str = "--window-size=760,2080";
/// In the page's own time: enough for all the tiles to be asked for.
const PAGE_TIME: &str = "--virtual-time-budget=8000";
/// In ours: a cold start on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The page as a PNG; `folder` takes the browser's files while it runs.
pub(super) fn screenshot(url: &str, folder: &Path, stop: &Stop) -> Result<Vec<u8>, String> {
    let chromium = installed(&NAMES).ok_or("Chromium is not installed (apt install chromium)")?;
    let wrong = |e| format!("cannot write in '{}': {e}", folder.display());
    let folder = fs::canonicalize(folder).map_err(wrong)?;
    let (profile, file) = (folder.join("chromium"), folder.join("page.png"));
    fs::create_dir_all(&profile).map_err(wrong)?;
    let _ = fs::remove_file(&file);
    let mut command = Command::new("sh");
    command
        // What its helpers print is for nobody: else we would wait for the last of them.
        .args(["-c", "exec \"$@\" >/dev/null", "Chromium"])
        .arg(chromium)
        .args(["--headless", "--disable-gpu", "--hide-scrollbars", WINDOW])
        .args(["--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync"])
        .args(["--disable-crash-reporter", PAGE_TIME])
        // A picture of a tile that is still growing shows less.
        .arg("--force-prefers-reduced-motion")
        // As root it refuses to run with its sandbox. The one page it will see is ours.
        .args(is_root().then_some("--no-sandbox"))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--screenshot={}", file.display()))
        .arg(url);
    let ended = output(&mut command, PATIENCE, stop);
    let _ = fs::remove_dir_all(&profile);
    ended?;
    let picture = fs::read(&file).map_err(|e| format!("Chromium made no picture: {e}"))?;
    match picture.starts_with(b"\x89PNG") {
        true => Ok(picture),
        false => Err("what Chromium wrote is no PNG".to_owned()),
    }
}
