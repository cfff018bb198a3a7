//! Step 4 and 5 without a browser: fetches page.html and all it shows, compares every byte with
//! the file, and sees who answered.
//!
//! Entry points: [`fetch`], [`check_rotation`]. Note: `notes/README.md`.

use crate::cli::Result;
use crate::cli::shutdown::Stop;
use crate::lab::fleet;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// What the page's own script fetches again and again.
const TILE: &str = "tile.txt";

/// An answer that is as it should be.
pub(super) struct Fetched {
    /// Below the root, with the query.
    pub path: String,
    /// How many bytes, and from whom.
    pub line: String,
    pub served_by: String,
}

/// Fetches page.html, every file beside it that it names, and tiles until `n` requests
/// have been made. The error says which answer differs from which file.
pub(super) fn fetch(lb: SocketAddr, root: &Path, n: usize, stop: &Stop) -> Result<Vec<Fetched>> {
    let page = read(root, "page.html")?;
    let text = String::from_utf8_lossy(&page);
    let wrong = |e| format!("cannot read the folder '{}': {e}", root.display());
    let files = fs::read_dir(root).map_err(wrong)?.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = files.filter_map(|name| name.into_string().ok()).collect();
    names.retain(|name| name != "page.html" && text.contains(name.as_str()));
    names.sort();
    let tiles = (1..).map(|n| format!("{TILE}?n={n}"));
    let mut fetched = Vec::new();
    for path in ["page.html".to_owned()].into_iter().chain(names).chain(tiles).take(n) {
        if stop.is_raised() {
            return Err("stopped".to_owned());
        }
        let file = path.split('?').next().unwrap_or_default();
        fetched.push(get(lb, &path, &read(root, file)?)?);
    }
    Ok(fetched)
}

fn read(root: &Path, name: &str) -> Result<Vec<u8>> {
    let path = root.join(name);
    fs::read(&path).map_err(|e| {
        format!("cannot read '{}': {e}; give the folder with page.html by --root", path.display())
    })
}

fn get(server: SocketAddr, path: &str, expected: &[u8]) -> Result<Fetched> {
    let wrong = |what: String| format!("http://{server}/{path}: {what}");
    let answer = fleet::get(server, path).map_err(|e| wrong(e.to_string()))?;
    let head_end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let head_end = head_end.ok_or_else(|| wrong("the answer is no HTTP".to_owned()))?;
    let (head, body) = (String::from_utf8_lossy(&answer[..head_end]), &answer[head_end + 4..]);
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(wrong(format!("status {status} instead of 200")));
    }
    let (bytes, file) = (body.len(), expected.len());
    if body != expected {
        return Err(wrong(format!("the answer ({bytes} bytes) is not the file ({file} bytes)")));
    }
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let served_by = fields.find(|(name, _)| name.eq_ignore_ascii_case("x-served-by"));
    let (_, served_by) = served_by.ok_or_else(|| wrong("no X-Served-By".to_owned()))?;
    let (path, served_by) = (path.to_owned(), served_by.trim().to_owned());
    let line = format!("GET /{path}: {bytes} bytes, as in the file, from {served_by}");
    Ok(Fetched { path, line, served_by })
}

/// Whether four backends answered in the same order, over and over.
pub fn check_rotation(order: &[&str]) -> Result<()> {
    let first: BTreeSet<&&str> = order.iter().take(4).collect();
    if first.len() == 4 && order.iter().zip(order.iter().skip(4)).all(|(a, b)| a == b) {
        return Ok(());
    }
    let order = order.join(", ");
    Err(format!("the backends did not take turns, but answered in this order: {order}"))
}
