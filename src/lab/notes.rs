//! The results blocks of the notes: what stands between `<!-- measured: NAME -->` and
//! `<!-- end -->` comes from a run, never from a hand; and the line that says from which run.
//!
//! Knows the names, not what stands in the blocks. Entry points: [`check`], [`refresh`],
//! [`circumstances`].
//! Note: `notes/README.md`.

use super::chart::Chart;
use super::exhibit;
use super::page::put_charts;
use super::process::say;
use crate::bench::saved::{machine, now};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The names of the blocks.
pub fn names() -> Vec<String> {
    let names = "async_server lb thread_server bench compare pollers tricks peers".split(' ');
    let exhibits = exhibit::names().map(|name| format!("exhibit-{name}"));
    names.map(str::to_owned).chain(exhibits).collect()
}

const BEGIN: &str = "<!-- measured: ";
const END: &str = "<!-- end -->";

/// Looks through the folder's notes without changing them. The error names the line.
pub fn check(folder: &Path) -> Result<(), String> {
    for (path, text) in texts(folder, "md")? {
        replace(&text, &|_| None).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// Fills the blocks of the folder's notes with what `block` says of their names, leaves the others,
/// and draws the charts anew. No note is written before all have been understood.
pub(crate) fn refresh(
    folder: &Path,
    block: &dyn Fn(&str) -> Option<String>,
    charts: &[(&str, Chart)],
) -> Result<(), String> {
    let (mut changed, mut count) = (Vec::new(), 0);
    for (path, text) in texts(folder, "md")? {
        let filled = replace(&text, block).map_err(|e| format!("{}: {e}", path.display()))?;
        count += filled.1;
        changed.push((path, filled.0));
    }
    for (path, text) in changed {
        fs::write(&path, text).map_err(|e| format!("cannot write '{}': {e}", path.display()))?;
    }
    let images = folder.join("img");
    if count > 0 && images.is_dir() {
        put_charts(&images, charts)?;
    }
    say(&format!("results blocks refreshed in {}: {count}", folder.display()));
    Ok(())
}

/// The files with this extension, in the order of their names.
pub(super) fn texts(folder: &Path, extension: &str) -> Result<Vec<(PathBuf, String)>, String> {
    let wrong = |path: &Path, e| format!("cannot read '{}': {e}", path.display());
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| wrong(folder, e))? {
        let path = entry.map_err(|e| wrong(folder, e))?.path();
        if path.extension().is_some_and(|e| e == extension) {
            let text = fs::read_to_string(&path).map_err(|e| wrong(&path, e))?;
            texts.push((path, text));
        }
    }
    texts.sort();
    Ok(texts)
}

/// The text with its blocks filled, and how many. Markers are whole lines, not in fenced code.
fn replace(text: &str, block: &dyn Fn(&str) -> Option<String>) -> Result<(String, usize), String> {
    let (mut out, mut count, mut is_code) = (String::new(), 0, false);
    let mut lines = (1..).zip(text.split_inclusive('\n'));
    while let Some((number, line)) = lines.next() {
        out.push_str(line);
        is_code ^= line.trim().starts_with("```");
        let Some(name) = begun(line).filter(|_| !is_code) else { continue };
        let wrong = |what: String| Err(format!("line {number}: {what}"));
        if !names().iter().any(|known| known == name) {
            let known = names().join(", ");
            return wrong(format!("there is no measurement '{name}'; the names are {known}"));
        }
        let mut old = String::new();
        let end = loop {
            match lines.next() {
                Some((_, line)) if line.trim() == END => break line,
                Some((_, line)) if begun(line).is_none() => old.push_str(line),
                _ => return wrong(format!("the block has no end; put {END} on a line below it")),
            }
        };
        let new = block(name).map(|new| new.trim_end().to_owned() + "\n");
        count += usize::from(new.is_some());
        out.push_str(&new.unwrap_or(old));
        out.push_str(end);
    }
    Ok((out, count))
}

/// The name of the block that begins with this line.
fn begun(line: &str) -> Option<&str> {
    Some(line.trim().strip_prefix(BEGIN)?.strip_suffix("-->")?.trim())
}

pub(crate) fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(text).filter(|text| output.status.success() && !text.is_empty())
}

/// Where that which this command finds out now comes from, in a line.
pub(crate) fn circumstances(command: &str) -> String {
    let (date, machine) = (now(), machine());
    let compiler = compiler().map_or_else(String::new, |rustc| format!(" Compiler: {rustc}."));
    format!("Command: `{command}`. Date: {date}. Machine: {machine}.{compiler}")
}
