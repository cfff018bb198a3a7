//! A picture of the page as a browser shows it, if Chromium is installed.
//!
//! Entry point: [`screenshot`]. Whatever goes wrong here is a remark in the report, no failure.
//! Note: `notes/README.md`.

use super::program;
use crate::cli::shutdown::Stop;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
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
pub fn screenshot(url: &str, folder: &Path, stop: &Stop) -> Result<Vec<u8>, String> {
    let chromium =
        program::find(&NAMES).ok_or("Chromium is not installed (apt install chromium)")?;
    let wrong = |e| format!("cannot write in '{}': {e}", folder.display());
    let folder = fs::canonicalize(folder).map_err(wrong)?;
    let (profile, file) = (folder.join("chromium"), folder.join("page.png"));
    fs::create_dir_all(&profile).map_err(wrong)?;
    let _ = fs::remove_file(&file);
    let mut command = Command::new(chromium);
    command
        .args(["--headless", "--disable-gpu", "--hide-scrollbars", WINDOW])
        .args(["--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync"])
        .args(["--disable-crash-reporter", PAGE_TIME])
        // A picture of a tile that is still growing shows less.
        .arg("--force-prefers-reduced-motion")
        .args(root_flag())
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--screenshot={}", file.display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let ended = run(&mut command, stop);
    let _ = fs::remove_dir_all(&profile);
    ended?;
    let picture = fs::read(&file).map_err(|e| format!("Chromium made no picture: {e}"))?;
    match picture.starts_with(b"\x89PNG") {
        true => Ok(picture),
        false => Err("what Chromium wrote is no PNG".to_owned()),
    }
}

/// In a process group of its own, so that its helpers can be ended with it.
#[cfg(unix)]
fn run(command: &mut Command, stop: &Stop) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    let child = command.process_group(0).spawn();
    let mut child = child.map_err(|e| format!("cannot run Chromium: {e}"))?;
    let ended = program::wait(&mut child, "Chromium", PATIENCE, stop);
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    ended
}

#[cfg(not(unix))]
fn run(command: &mut Command, stop: &Stop) -> Result<(), String> {
    let child = command.spawn();
    let mut child = child.map_err(|e| format!("cannot run Chromium: {e}"))?;
    program::wait(&mut child, "Chromium", PATIENCE, stop)
}

/// Chromium refuses to run as root with its sandbox. The one page it will see is ours.
fn root_flag() -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        let us = fs::metadata("/proc/self");
        us.is_ok_and(|us| us.uid() == 0).then_some("--no-sandbox")
    }
    #[cfg(not(target_os = "linux"))]
    None
}
