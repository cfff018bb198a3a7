//! Step 4 and 5 without a browser: fetches page.html and all it shows, compares every byte with
//! the file, and sees who answered.
//!
//! Entry points: [`fetch`], [`check_rotation`]. Note: `notes/README.md`.

use crate::cli::shutdown::Stop;
use crate::lab::fleet;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// What the page's own script fetches again and again.
const TILE: &str = "tile.txt";

/// An answer that is as it should be.
#[derive(Debug)]
pub struct Fetched {
    /// Below the root, with the query.
    pub path: String,
    bytes: usize,
    served_by: String,
}

impl Fetched {
    /// One of the many fetches of the tile.
    pub fn is_repeated(&self) -> bool {
        self.path.contains('?')
    }
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "GET /{}: {} bytes, as in the file, from {}",
            self.path, self.bytes, self.served_by
        )
    }
}

/// Fetches page.html, every file beside it that it names, and tiles until `count` requests
/// have been made. The error says which answer differs from which file.
pub fn fetch(
    server: SocketAddr,
    root: &Path,
    count: usize,
    stop: &Stop,
) -> Result<Vec<Fetched>, String> {
    let page = read(root, "page.html")?;
    let text = String::from_utf8_lossy(&page);
    let mut names = vec!["page.html".to_owned()];
    names.extend(files_beside(root)?.into_iter().filter(|n| text.contains(n)));
    let tiles = (1..).map(|n| format!("{TILE}?n={n}"));
    let mut fetched = Vec::new();
    for path in names.into_iter().chain(tiles).take(count) {
        if stop.is_raised() {
            return Err("stopped".to_owned());
        }
        let file = path.split('?').next().unwrap_or_default();
        fetched.push(get(server, &path, &read(root, file)?)?);
    }
    Ok(fetched)
}

fn read(root: &Path, name: &str) -> Result<Vec<u8>, String> {
    let path = root.join(name);
    fs::read(&path).map_err(|e| {
        format!("cannot read '{}': {e}; give the folder with page.html by --root", path.display())
    })
}

/// The names of the other files, sorted.
fn files_beside(root: &Path) -> Result<Vec<String>, String> {
    let wrong = |e| format!("cannot read the folder '{}': {e}", root.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(root).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        names.extend(name.into_string().ok().filter(|n| n != "page.html"));
    }
    names.sort();
    Ok(names)
}

fn get(server: SocketAddr, path: &str, expected: &[u8]) -> Result<Fetched, String> {
    let url = format!("http://{server}/{path}");
    let answer = fleet::get(server, path).map_err(|e| format!("{url}: {e}"))?;
    let head_end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .ok_or_else(|| format!("{url}: the answer is no HTTP"))?;
    let head = String::from_utf8_lossy(&answer[..head_end]);
    let body = &answer[head_end + 4..];
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(format!("{url}: status {status} instead of 200"));
    }
    if body != expected {
        return Err(format!(
            "{url}: the answer ({} bytes) is not the file ({} bytes)",
            body.len(),
            expected.len()
        ));
    }
    let served_by = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-served-by").then(|| value.trim().to_owned())
    });
    Ok(Fetched {
        path: path.to_owned(),
        bytes: body.len(),
        served_by: served_by.ok_or_else(|| format!("{url}: no X-Served-By"))?,
    })
}

/// Four backends in the same order, over and over.
pub fn check_rotation(fetched: &[Fetched]) -> Result<(), String> {
    let order: Vec<&str> = fetched.iter().map(|f| f.served_by.as_str()).collect();
    in_turn(&order)
}

fn in_turn(order: &[&str]) -> Result<(), String> {
    let mut first: Vec<&str> = order.iter().take(4).copied().collect();
    first.sort_unstable();
    first.dedup();
    let repeats = order.iter().zip(order.iter().skip(4)).all(|(a, b)| a == b);
    if first.len() == 4 && repeats {
        return Ok(());
    }
    Err(format!(
        "the backends did not take turns, but answered in this order: {}",
        order.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::in_turn;

    #[test]
    fn a_rotation_repeats_four_different_backends() {
        assert!(in_turn(&["c", "d", "a", "b", "c", "d", "a"]).is_ok());
        for order in
            [["a", "a", "b", "c", "d"], ["a", "b", "c", "d", "b"], ["a", "b", "a", "b", "a"]]
        {
            let error = in_turn(&order).expect_err("no rotation");
            assert!(error.ends_with(&order.join(", ")), "{error}");
        }
    }
}
