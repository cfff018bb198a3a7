//! The files below the root: from a request's path to bytes, never outside the root, in memory
//! while they have not changed on disk.
//!
//! Entry point: [`Files::find`]. Note: `notes/http.md`.

use crate::http::date;
use crate::http::response::{Bytes, Content, Response};
use crate::net::sys::is_shortage;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Instant, UNIX_EPOCH};

/// Larger files are not kept in memory but streamed from disk, in bounded memory.
const KEPT_FILE: u64 = 1024 * 1024;
/// How much is kept in all; beyond it the store starts anew.
const KEPT_TOTAL: u64 = 64 * 1024 * 1024;
/// How many names are kept: a file has many spellings (`%61` for `a`).
const KEPT_NAMES: usize = 1024;
/// How long a kept file is believed before the disk is asked again.
const BELIEVED_MS: u64 = 300;

#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    served_by: String,
    started: Instant,
    store: RwLock<Store>,
}

#[derive(Debug, Default)]
struct Store {
    files: HashMap<String, Arc<Kept>>,
    bytes: u64,
}

/// A file in memory.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    version: Version,
    response: Response,
    /// When the disk was last asked, in ms since the start.
    checked: AtomicU64,
}

/// What tells one state of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    modified_ns: u128,
    length: u64,
}

impl Version {
    fn of(metadata: &Metadata) -> Version {
        let since = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        Version { modified_ns: since.unwrap_or_default().as_nanos(), length: metadata.len() }
    }

    /// The entity tag, quotes included.
    pub fn etag(self) -> String {
        format!("\"{:x}-{:x}\"", self.modified_ns, self.length)
    }

    /// Last-Modified, in seconds since 1970.
    pub fn modified(self) -> u64 {
        (self.modified_ns / 1_000_000_000) as u64
    }

    /// A response that has the fields by which a client can ask later whether what it has is
    /// current.
    pub fn response(
        self,
        status: u16,
        served_by: &str,
        fields: &[(&str, &str)],
        content: Content,
    ) -> Response {
        let (etag, date) = (self.etag(), date::format(self.modified()));
        let date = String::from_utf8_lossy(&date);
        let validators = [("ETag", &*etag), ("Last-Modified", &*date)];
        Response::new(status, served_by, &[fields, &validators].concat(), content)
    }
}

/// A file that exists and may be served.
#[derive(Debug)]
pub struct Found {
    /// The whole file.
    pub response: Response,
    /// Its state.
    pub version: Version,
}

impl Files {
    pub fn new(root: &Path, served_by: &str) -> Result<Files, String> {
        let problem = |e| {
            format!(
                "cannot serve files from '{}': {e}; choose a folder with --root",
                root.display()
            )
        };
        let root = root.canonicalize().map_err(problem)?;
        if !root.is_dir() {
            return Err(problem(std::io::ErrorKind::NotADirectory.into()));
        }
        let (started, store) = (Instant::now(), RwLock::default());
        Ok(Files { root, served_by: served_by.to_owned(), started, store })
    }

    /// Finds the file that a request's path names; None if there is none to be served. The error
    /// says nothing about the file: the system is short of what it takes to look.
    pub fn find(&self, path: &str, now: Instant) -> io::Result<Option<Found>> {
        let now_ms = now.saturating_duration_since(self.started).as_millis() as u64;
        if let Some(found) = self.find_kept(path, now_ms) {
            return Ok(Some(found));
        }
        let Some(file_name) = decode(path).and_then(|names| self.locate(&names)) else {
            return Ok(None);
        };
        match self.read(path, &file_name, now_ms) {
            Err(error) if !is_shortage(&error) => Ok(None),
            result => result,
        }
    }

    /// Opens a file, and keeps what is small enough.
    fn read(&self, path: &str, file_name: &Path, now_ms: u64) -> io::Result<Option<Found>> {
        // Asked before it is opened: opening a pipe would wait for its other end.
        if !file_name.metadata()?.is_file() {
            return Ok(None);
        }
        let mut file = File::open(file_name)?;
        let version = Version::of(&file.metadata()?);
        let content = if version.length <= KEPT_FILE {
            let mut bytes = Vec::with_capacity(version.length as usize);
            (&mut file).take(version.length).read_to_end(&mut bytes)?;
            Content::Memory(Bytes::new(bytes))
        } else {
            Content::File(file, version.length)
        };
        let media_type = ("Content-Type", media_type(file_name));
        let response = version.response(200, &self.served_by, &[media_type], content);
        if let Some(shared) = response.share() {
            let checked = AtomicU64::new(now_ms);
            self.keep(
                path,
                Kept { path: file_name.to_owned(), version, response: shared, checked },
            );
        }
        Ok(Some(Found { response, version }))
    }

    fn find_kept(&self, path: &str, now_ms: u64) -> Option<Found> {
        let kept = Arc::clone(self.store.read().ok()?.files.get(path)?);
        if now_ms.saturating_sub(kept.checked.load(Ordering::Relaxed)) > BELIEVED_MS {
            // The name is resolved anew too: a link may point elsewhere by now.
            let unchanged = self.locate(&decode(path)?).as_ref() == Some(&kept.path)
                && kept
                    .path
                    .metadata()
                    .is_ok_and(|m| m.is_file() && Version::of(&m) == kept.version);
            if !unchanged {
                return None;
            }
            kept.checked.store(now_ms, Ordering::Relaxed);
        }
        let (response, version) = (kept.response.share()?, kept.version);
        Some(Found { response, version })
    }

    fn keep(&self, path: &str, kept: Kept) {
        let Ok(mut store) = self.store.write() else {
            return;
        };
        if store.files.len() >= KEPT_NAMES || store.bytes + kept.version.length > KEPT_TOTAL {
            *store = Store::default();
        }
        store.bytes += kept.version.length;
        if let Some(old) = store.files.insert(path.to_owned(), Arc::new(kept)) {
            store.bytes -= old.version.length;
        }
    }

    /// The real file behind the segments, if it lies below the root when every link on the way
    /// has been followed.
    fn locate(&self, segments: &str) -> Option<PathBuf> {
        let real = self.root.join(segments).canonicalize().ok()?;
        real.starts_with(&self.root).then_some(real)
    }
}

/// Percent-decodes a path, once, into a relative path that contains nothing but names: no `.`
/// or `..`, no hidden names, and no separator, NUL or control character that was encoded.
fn decode(path: &str) -> Option<String> {
    let segments = path.strip_prefix('/')?.split('/').map(|segment| {
        let mut bytes = Vec::with_capacity(segment.len());
        let mut rest = segment.as_bytes();
        while let [first, after @ ..] = rest {
            match (first, after) {
                (b'%', [a, b, after @ ..]) => {
                    let digit = |d: &u8| (*d as char).to_digit(16);
                    bytes.push((digit(a)? * 16 + digit(b)?) as u8);
                    rest = after;
                }
                _ => {
                    bytes.push(*first);
                    rest = after;
                }
            }
        }
        // Bytes that are no UTF-8, overlong forms among them, name no file.
        let name = String::from_utf8(bytes).ok()?;
        let is_plain = !name.is_empty()
            && !name.starts_with('.')
            && !name.contains(['/', '\\', ':'])
            && !name.contains(char::is_control);
        is_plain.then_some(name)
    });
    segments.collect::<Option<Vec<String>>>().map(|names| names.join("/"))
}

fn media_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "txt" | "md" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "pdf" => "application/pdf",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_decodes_once_and_to_plain_names_only() {
        for (path, names) in [
            ("/page.html", Some("page.html")),
            ("/a/b%20c.txt", Some("a/b c.txt")),
            ("/%61", Some("a")),
            ("/%252e%252e/x", Some("%2e%2e/x")),
            ("/..", None),
            ("/a/../b", None),
            ("/%2e%2e/etc/passwd", None),
            ("/..%2fetc", None),
            ("/..%5cetc", None),
            ("/a%00.html", None),
            ("/%c0%ae%c0%ae/x", None),
            ("//etc/passwd", None),
            ("/.git/config", None),
            ("/a/", None),
            ("*", None),
        ] {
            assert_eq!(decode(path).as_deref(), names, "{path}");
        }
    }
}
