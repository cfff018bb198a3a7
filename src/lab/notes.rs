//! The results blocks of the notes: what stands between `<!-- measured: NAME -->` and
//! `<!-- end -->` comes from a run, never from a hand.
//!
//! Knows the names, not what stands in the blocks. Entry points: [`check`], [`refresh`].
//! Note: `notes/README.md`.

use std::fs;
use std::path::{Path, PathBuf};

/// The names of the blocks.
pub const NAMES: [&str; 15] = [
    "async_server",
    "lb",
    "thread_server",
    "bench",
    "compare",
    "pollers",
    "tricks",
    "peers",
    "exhibit-spin",
    "exhibit-not-found",
    "exhibit-dead-port",
    "exhibit-omission",
    "exhibit-noise",
    "exhibit-policies",
    "exhibit-pipeline",
];

const BEGIN: &str = "<!-- measured: ";
const END: &str = "<!-- end -->";

/// Looks through the folder's notes without changing them. The error names the line.
pub fn check(folder: &Path) -> Result<(), String> {
    for (path, text) in notes(folder)? {
        replace(&text, &|_| None).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// Puts what `block` says of a name into the blocks of that name in the folder's notes, and
/// leaves those of which it says nothing; how many were filled. No note is written before all
/// have been understood.
pub fn refresh(folder: &Path, block: &dyn Fn(&str) -> Option<String>) -> Result<usize, String> {
    let (mut changed, mut count) = (Vec::new(), 0);
    for (path, text) in notes(folder)? {
        let filled = replace(&text, block).map_err(|e| format!("{}: {e}", path.display()))?;
        count += filled.1;
        changed.push((path, filled.0));
    }
    for (path, text) in changed {
        fs::write(&path, text).map_err(|e| format!("cannot write '{}': {e}", path.display()))?;
    }
    Ok(count)
}

/// The folder's Markdown files, sorted.
fn notes(folder: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    let wrong = |path: &Path, e| format!("cannot read '{}': {e}", path.display());
    let mut notes = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| wrong(folder, e))? {
        let path = entry.map_err(|e| wrong(folder, e))?.path();
        if path.extension().is_some_and(|e| e == "md") {
            let text = fs::read_to_string(&path).map_err(|e| wrong(&path, e))?;
            notes.push((path, text));
        }
    }
    notes.sort();
    Ok(notes)
}

/// The text with its blocks filled anew, and how many were filled. Markers are whole lines; in
/// fenced code they are only shown.
fn replace(text: &str, block: &dyn Fn(&str) -> Option<String>) -> Result<(String, usize), String> {
    let (mut out, mut count) = (String::new(), 0);
    let mut is_code = false;
    // The line of the block that is open, and whether its old lines stay.
    let mut open: Option<(usize, bool)> = None;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let marker = line.trim();
        is_code ^= open.is_none() && marker.starts_with("```");
        let name = marker.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix("-->"));
        match (open, name.filter(|_| !is_code)) {
            (Some((begun, _)), Some(_)) => return Err(unended(begun)),
            (None, Some(name)) => {
                let name = name.trim();
                if !NAMES.contains(&name) {
                    let known = NAMES.join(", ");
                    return Err(format!(
                        "line {number}: there is no measurement '{name}'; the names are {known}"
                    ));
                }
                out.push_str(line);
                let new = block(name);
                open = Some((number, new.is_none()));
                if let Some(new) = new {
                    out.push_str(new.trim_end());
                    out.push('\n');
                    count += 1;
                }
            }
            (Some(_), None) if marker == END => {
                out.push_str(line);
                open = None;
            }
            (Some((_, false)), None) => {} // the old results
            (_, None) => out.push_str(line),
        }
    }
    open.map_or(Ok((out, count)), |(begun, _)| Err(unended(begun)))
}

fn unended(line: usize) -> String {
    format!("line {line}: the block has no end; put {END} on a line below it")
}
