//! The origin server's policy: a request to a response. Routes, and the files of `--root`.
//!
//! Keeps nothing of a client, and knows no sockets: only `serve` opens one.
//! Entry point: [`Site::reply`]. Note: `notes/http.md`.

// the content that all clients of `/echo` together may hold
mod echo;
// the files below the root, in memory while they have not changed
mod files;
// one client's conversation without a socket: bytes in, bytes out
pub mod session;
// how an origin server comes to serve: its flags, socket, site and log
pub(crate) mod serve;

use crate::http::fields;
use crate::http::request::{Method, Request};
use crate::http::response::{Content, Response};
use crate::http::{Version, date};
use echo::Gathered;
use files::{Files, Revision};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

// The assignment's answers: to GET of `/` and `/santai`, to POST ("empty"), and where
// `/video` leads.
const HOME: &str = "Ini Adalah web Server percobaan";
const SANTAI: &str = "santai saja";
const KOSONG: &str = "kosong";
const VIDEO: &str = "https://youtu.be/katoxpnTf04";
const ELSEWHERE: &str = "The video is elsewhere.\n";
const NOTHING: &str = "There is nothing here by this name.\n";

/// The answer to a request, decided when its head is known.
pub enum Reply {
    With(Response), // answer this; content that comes with the request is read and dropped
    Echo(Gathered), // answer with the request's own content
}

pub struct Site {
    pub(crate) name: String, // its name in X-Served-By
    home: Response,
    files: Files,
    held: Arc<AtomicU64>, // the bytes that clients of `/echo` hold now
}

impl Site {
    /// A site that calls itself `name` and serves the files below `root`; the process may have so
    /// many `descriptors`.
    pub fn new(name: &str, root: &Path, descriptors: u64) -> Result<Site, String> {
        Ok(Site {
            name: name.to_owned(),
            home: Response::text(200, name, &[], HOME),
            files: Files::new(root, name, descriptors)?,
            held: Arc::default(),
        })
    }

    pub fn reply(&self, request: &Request, now: Instant) -> Reply {
        use Method::*;
        let path = request.target.split('?').next().filter(|path| !path.is_empty());
        let path = path.unwrap_or("/"); // `?query` alone
        let allow = match path {
            "/echo" => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            "/" | "*" => "GET, HEAD, POST, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        };
        Reply::With(match (path, request.method) {
            (_, Connect | Trace) => self.not_allowed(allow),
            ("/" | "*" | "/echo" | "/santai" | "/video", Options) => {
                self.empty(204, &[("Allow", allow)])
            }
            ("/echo", _) => return Reply::Echo(Gathered::new(&self.held)),
            ("/", Get | Head) => self.home.share().unwrap_or_else(|| self.text(200, &[], HOME)),
            ("/", Post) => self.text(200, &[], KOSONG),
            ("/santai", Get | Head) => self.text(200, &[], SANTAI),
            ("/video", Get | Head) => self.text(302, &[("Location", VIDEO)], ELSEWHERE),
            ("/" | "/santai" | "/video", _) => self.not_allowed(allow),
            _ => self.file(path, request, allow, now),
        })
    }

    fn file(&self, path: &str, request: &Request, allow: &str, now: Instant) -> Response {
        // Content that is not sent is not read either, so such a request costs little.
        let wanted =
            |revision: &Revision| request.method == Method::Get && !is_current(request, revision);
        let file = match self.files.find(path, wanted, now) {
            Ok(Some(file)) => file,
            Ok(None) => return self.text(404, &[], NOTHING),
            // That there is no descriptor for it now does not mean that there is no file.
            Err(_) => return self.overloaded("open a file"),
        };
        match request.method {
            Method::Get | Method::Head if is_current(request, &file.revision) => {
                let Revision { etag, last_modified, .. } = &*file.revision;
                self.empty(304, &[("ETag", etag), ("Last-Modified", last_modified)])
            }
            Method::Get | Method::Head => file.response,
            Method::Options => self.empty(204, &[("Allow", allow)]),
            _ => self.not_allowed(allow),
        }
    }

    /// The response to give, once the request's content is there as a whole. An echo is plain text
    /// whatever it claims to be.
    pub fn response(&self, reply: Reply) -> Response {
        let content = match reply {
            Reply::With(response) => return response,
            Reply::Echo(content) => content,
        };
        let fields =
            [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")];
        Response::new(200, &self.name, &fields, Content::Memory(Arc::new(content)))
    }

    fn text(&self, status: u16, fields: &[(&str, &str)], text: &str) -> Response {
        Response::text(status, &self.name, fields, text)
    }

    /// The answer where the server is short of something for now.
    pub fn overloaded(&self, to: &str) -> Response {
        let sentence = format!("This server has too much to do at once to {to} now.\n");
        self.text(503, &[("Retry-After", "1")], &sentence)
    }

    /// The same in bytes, for a client that is not served at all.
    pub fn refusal(&self, to: &str, date: &[u8; date::LENGTH]) -> Vec<u8> {
        let (response, mut bytes) = (self.overloaded(to), Vec::new());
        response.write_head(&mut bytes, date, Version::Http11, false);
        if let Content::Memory(text) = response.content {
            bytes.extend_from_slice((*text).as_ref());
        }
        bytes
    }

    fn not_allowed(&self, allow: &str) -> Response {
        let sentence = format!("This method does not apply here; these do: {allow}.\n");
        self.text(405, &[("Allow", allow)], &sentence)
    }

    fn empty(&self, status: u16, fields: &[(&str, &str)]) -> Response {
        Response::new(status, &self.name, fields, Content::Memory(Arc::new("")))
    }
}

/// Whether what the client has is still current (RFC 9110 §13.1.2, §13.1.3): If-None-Match
/// decides where it is present, else If-Modified-Since. Clients send the date that they were told,
/// so a date that is written otherwise counts as another one.
fn is_current(request: &Request, revision: &Revision) -> bool {
    let mut tags = request.fields.values("if-none-match").peekable();
    if tags.peek().is_none() {
        let mut dates = request.fields.values("if-modified-since");
        return dates.next() == Some(revision.last_modified.as_bytes());
    }
    let etag = revision.etag.as_bytes();
    let is_same = |tag: &[u8]| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag;
    tags.flat_map(fields::list).any(is_same)
}
