//! The files below the root: from a request's path to bytes, never outside the root, in memory
//! while they have not changed on disk.
//!
//! Entry point: [`Files::find`]. Note: `notes/http.md`.

use crate::http::date;
use crate::http::response::{Content, Response};
use crate::net::sys::{self, is_shortage};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Larger files are not kept in memory but streamed from disk, in bounded memory.
const MOST_KEPT: u64 = 8 * 1024 * 1024;
/// Files from this size on are kept in sealed memory, which the kernel sends without a copy; for
/// smaller ones the second system call costs more than the copy.
const SEALED_FROM: u64 = 128 * 1024;
/// Where there is no sealed memory for it, a larger file is streamed.
const MOST_COPIED: u64 = 1024 * 1024;
/// How much is kept in all; beyond it the store starts anew.
const KEPT_TOTAL: u64 = 64 * 1024 * 1024;
/// The most sealed files that are kept, or an eighth of the descriptors that this process may have.
const SEALED: u64 = 128;
const KEPT_NAMES: usize = 1024;
/// How long a kept file is believed before the disk is asked again.
const BELIEVED: Duration = Duration::from_millis(300);

pub struct Files {
    root: PathBuf,
    served_by: String,
    store: RwLock<HashMap<String, Found>>, // files in memory, by their names below the root
    /// Sealed files that are kept or on their way to a client. Slow clients may hold some that are
    /// kept no more: there are as many again of these at most, and as many bytes.
    sealed: Mutex<Vec<(Weak<File>, u64)>>,
    most_sealed: u64,
}

/// A file that may be served.
pub struct Found {
    pub response: Response, // the whole file
    pub revision: Arc<Revision>,
    checked: Instant, // when the disk was last asked
}

/// The difference between one state of a file and the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Revision {
    path: PathBuf,
    /// With its quotes; made of the time of the last change, to the nanosecond, and the length.
    pub etag: String,
    pub last_modified: String,
}

impl Revision {
    fn of(path: PathBuf, metadata: &Metadata) -> Revision {
        let since = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let since = since.unwrap_or_default();
        let etag = format!("\"{:x}-{:x}\"", since.as_nanos(), metadata.len());
        let date = date::format(since.as_secs());
        Revision { path, etag, last_modified: String::from_utf8_lossy(&date).into_owned() }
    }
}

impl Files {
    pub fn new(root: &Path, served_by: &str, descriptors: u64) -> Result<Files, String> {
        // With the dot behind it, a root that is no folder is an error.
        let folder = root.canonicalize().and_then(|root| root.join(".").canonicalize());
        let root = folder.map_err(|e| {
            let root = root.display();
            format!("cannot serve files from '{root}': {e}; choose a folder with --root")
        })?;
        Ok(Files {
            root,
            served_by: served_by.to_owned(),
            store: RwLock::default(),
            sealed: Mutex::default(),
            most_sealed: (descriptors / 8).min(SEALED),
        })
    }

    /// Finds the file that a request's path names; None if there is none to be served. Whether its
    /// content is wanted depends on its revision; if not, a large file is not read. The error says
    /// nothing about the file: the system is short of what it takes to look.
    pub fn find(
        &self,
        path: &str,
        wanted: impl Fn(&Revision) -> bool,
        now: Instant,
    ) -> io::Result<Option<Found>> {
        // Only names that are decoded and allowed are kept, so a plain path is looked up as it is.
        let name = match path.contains('%') {
            true => decode(path).map(Cow::Owned),
            false => path.strip_prefix('/').map(Cow::Borrowed),
        };
        let Some(name) = name else { return Ok(None) };
        let kept = self.store.read().ok().and_then(|store| store.get(&*name)?.share());
        let is_fresh = |file: &Found| now.saturating_duration_since(file.checked) <= BELIEVED;
        if kept.as_ref().is_some_and(is_fresh) {
            return Ok(kept);
        }
        match self.look(path, wanted, kept, now) {
            Err(error) if !is_shortage(&error) => Ok(None),
            found => found,
        }
    }

    /// Asks the disk, and keeps what is small enough. Every link on the way is followed anew: it may
    /// point elsewhere by now.
    fn look(
        &self,
        path: &str,
        wanted: impl Fn(&Revision) -> bool,
        kept: Option<Found>,
        now: Instant,
    ) -> io::Result<Option<Found>> {
        let Some(name) = decode(path) else { return Ok(None) };
        let real = self.root.join(&name).canonicalize()?;
        let metadata = real.metadata()?;
        // A pipe is not even opened: that would wait for its other end.
        if !real.starts_with(&self.root) || !metadata.is_file() {
            return Ok(None);
        }
        let revision = Revision::of(real, &metadata);
        let found = match kept {
            Some(kept) if *kept.revision == revision => Found { checked: now, ..kept },
            _ => {
                let length = metadata.len();
                let is_read = length < SEALED_FROM || (length <= MOST_KEPT && wanted(&revision));
                if is_read && let Ok(mut store) = self.store.write() {
                    store.remove(&name);
                    self.make_room(&mut store, length);
                }
                self.read(revision.path, is_read, now)?
            }
        };
        if let (Some(shared), Ok(mut store)) = (found.share(), self.store.write()) {
            store.insert(name, shared);
        }
        Ok(Some(found))
    }

    /// Starts the store anew if a file of this length would be too much.
    fn make_room(&self, store: &mut HashMap<String, Found>, length: u64) {
        let lengths = || store.values().map(|file| file.response.content.length());
        let sealed = lengths().filter(|length| *length >= SEALED_FROM).count() as u64;
        let is_full = store.len() >= KEPT_NAMES || lengths().sum::<u64>() + length > KEPT_TOTAL;
        if is_full || (length >= SEALED_FROM && sealed >= self.most_sealed) {
            store.clear();
        }
    }

    fn read(&self, path: PathBuf, is_read: bool, now: Instant) -> io::Result<Found> {
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        let content = match metadata.len() {
            length if is_read => self.content_of(file, length)?,
            length => Content::File(file, length),
        };
        let media_type = media_type(&path);
        let revision = Revision::of(path, &metadata);
        let (etag, modified) = (revision.etag.as_str(), revision.last_modified.as_str());
        let fields = [("Content-Type", media_type), ("ETag", etag), ("Last-Modified", modified)];
        let response = Response::new(200, &self.served_by, &fields, content);
        Ok(Found { response, revision: Arc::new(revision), checked: now })
    }

    /// A file's content as it is now, if it is small enough to be kept; else the file.
    fn content_of(&self, mut file: File, length: u64) -> io::Result<Content> {
        if (SEALED_FROM..=MOST_KEPT).contains(&length) {
            if let Some(content) = self.seal(&file, length) {
                return Ok(content);
            }
            file.rewind()?;
        }
        if length > MOST_COPIED {
            return Ok(Content::File(file, length));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(length).read_to_end(&mut bytes)?;
        Ok(Content::Memory(Arc::new(bytes)))
    }

    /// The content in sealed memory, if there is room for it and the system has such.
    fn seal(&self, file: &File, length: u64) -> Option<Content> {
        let mut all = self.sealed.lock().ok()?;
        all.retain(|(sealed, _)| sealed.strong_count() > 0);
        let bytes: u64 = all.iter().map(|(_, length)| length).sum();
        if all.len() as u64 >= 2 * self.most_sealed || bytes + length > 2 * KEPT_TOTAL {
            return None;
        }
        let (sealed, length) = sys::seal(file.take(length), length).ok().filter(|(_, n)| *n > 0)?;
        let sealed = Arc::new(sealed);
        all.push((Arc::downgrade(&sealed), length));
        Some(Content::Sealed(sealed, length))
    }
}

impl Found {
    /// The same once more; None if it is too large to be kept.
    fn share(&self) -> Option<Found> {
        let (response, revision) = (self.response.share()?, Arc::clone(&self.revision));
        Some(Found { response, revision, checked: self.checked })
    }
}

/// Percent-decodes a path, once, into a relative path that contains nothing but names: no `.`
/// or `..`, no hidden names, and no separator, NUL or control character that was encoded.
fn decode(path: &str) -> Option<String> {
    let mut pieces = path.strip_prefix('/')?.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, text) = piece.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != b'/')?;
        bytes.push(byte);
        bytes.extend_from_slice(text.as_bytes());
    }
    // Bytes that are no UTF-8, overlong forms among them, name no file.
    let names = String::from_utf8(bytes).ok()?;
    let is_shown = |name: &str| !name.is_empty() && !name.starts_with('.');
    let is_plain = names.split('/').all(is_shown)
        && !names.contains(['\\', ':'])
        && !names.contains(char::is_control);
    is_plain.then_some(names)
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
