//! The origin server's policy: a request to a response. Routes, and the files of `--root`.
//!
//! Knows no sockets and keeps nothing of a client. Entry point: [`Site::respond`].
//! Note: `notes/http.md`.

// what all clients of `/echo` together may hold
mod echo;
// the files below the root, in memory while they have not changed
mod files;
// one client's conversation without a socket: bytes in, bytes out
pub mod session;
// how an origin server comes to serve: its flags, socket, site and log
pub mod serve;

use crate::http::fields;
use crate::http::request::{Method, Request};
use crate::http::response::{Bytes, Connection, Content, Response};
use crate::http::{ParseError, date};
use crate::net::output::Output;
use echo::{Budget, Gathered};
use files::{Files, Version};
use std::path::Path;
use std::time::Instant;

/// The text of `/` in the assignment.
const HOME: &str = "Ini Adalah web Server percobaan";
/// The text of `/santai` in the assignment.
const SANTAI: &str = "santai saja";
/// The answer to a POST in the assignment: "empty".
const KOSONG: &str = "kosong";
/// Where `/video` leads in the assignment.
const VIDEO: &str = "https://youtu.be/katoxpnTf04";

/// What to do with a request, decided when its head is known.
#[derive(Debug)]
pub enum Reply {
    /// Answer this; content that comes with the request is read and dropped.
    With(Response),
    /// Answer with the request's own content.
    Echo(Gathered),
}

impl Reply {
    /// More content than this can never be answered so.
    pub fn most_content(&self) -> u64 {
        match self {
            Reply::With(_) => u64::MAX,
            Reply::Echo(_) => echo::BUDGET,
        }
    }
}

/// Everything that a server has to say.
#[derive(Debug)]
pub struct Site {
    name: String,
    home: Response,
    files: Files,
    echo: Budget,
}

impl Site {
    /// A site that calls itself `name` and serves the files below `root`.
    pub fn new(name: &str, root: &Path) -> Result<Site, String> {
        let files = Files::new(root, name)?;
        Ok(Site {
            name: name.to_owned(),
            home: Response::text(200, name, &[], HOME),
            files,
            echo: Budget::default(),
        })
    }

    /// What it calls itself in X-Served-By.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Decides what to answer.
    pub fn respond(&self, request: &Request, now: Instant) -> Reply {
        use Method::*;
        if request.target == "/" && matches!(request.method, Get | Head) {
            return Reply::With(self.home.share().unwrap_or_else(|| self.not_found()));
        }
        let path = match request.target.split('?').next() {
            None | Some("") => "/", // of `?query`
            Some(path) => path,
        };
        Reply::With(match (path, request.method) {
            (_, Connect | Trace) => self.not_allowed("GET, HEAD, OPTIONS"),
            ("/echo", Options) => self.options("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            ("/echo", _) => return Reply::Echo(Gathered::new(&self.echo)),
            ("/" | "*", Options) => self.options("GET, HEAD, POST, OPTIONS"),
            ("/", Get | Head) => self.text(HOME),
            ("/", Post) => self.text(KOSONG),
            ("/", _) => self.not_allowed("GET, HEAD, POST, OPTIONS"),
            ("/santai", Get | Head) => self.text(SANTAI),
            ("/video", Get | Head) => {
                let location = ("Location", VIDEO);
                Response::text(302, &self.name, &[location], "The video is elsewhere.\n")
            }
            ("/santai" | "/video", Options) => self.options("GET, HEAD, OPTIONS"),
            ("/santai" | "/video", _) => self.not_allowed("GET, HEAD, OPTIONS"),
            _ => self.file(path, request, now),
        })
    }

    fn file(&self, path: &str, request: &Request, now: Instant) -> Response {
        let file = match self.files.find(path, now) {
            Ok(Some(file)) => file,
            Ok(None) => return self.not_found(),
            // That there is no descriptor for it now does not mean that there is no file.
            Err(_) => return self.overloaded("open a file"),
        };
        match request.method {
            Method::Get | Method::Head if is_current(request, file.version) => {
                let nothing = Content::Memory(Bytes::new(""));
                file.version.response(304, &self.name, &[], nothing)
            }
            Method::Get | Method::Head => file.response,
            Method::Options => self.options("GET, HEAD, OPTIONS"),
            _ => self.not_allowed("GET, HEAD, OPTIONS"),
        }
    }

    /// The answer to a request that was wrong.
    pub fn error(&self, error: ParseError) -> Response {
        Response::error(error, &self.name)
    }

    /// The answer, once the request's content is there as a whole. An echo is plain text whatever
    /// it claims to be.
    pub fn response(&self, reply: Reply) -> Response {
        let content = match reply {
            Reply::With(response) => return response,
            Reply::Echo(content) => content,
        };
        let fields =
            [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")];
        Response::new(200, &self.name, &fields, Content::Memory(Bytes::new(content)))
    }

    fn text(&self, text: &str) -> Response {
        Response::text(200, &self.name, &[], text)
    }

    fn not_found(&self) -> Response {
        Response::text(404, &self.name, &[], "There is nothing here by this name.\n")
    }

    /// The answer where the server is short of something for now.
    pub fn overloaded(&self, to: &str) -> Response {
        let sentence = format!("This server has too much to do at once to {to} now.\n");
        Response::text(503, &self.name, &[("Retry-After", "1")], &sentence)
    }

    /// The same, written for a client that is not served at all.
    pub fn refuse(&self, to: &str, date: &[u8; date::LENGTH], output: &mut Output) {
        let response = self.overloaded(to);
        response.write_head(&mut output.bytes, date, Connection::Close);
        if let Content::Memory(text) = response.content {
            output.send_shared(text.0);
        }
    }

    fn not_allowed(&self, allow: &str) -> Response {
        let sentence = format!("This method does not apply here; these do: {allow}.\n");
        Response::text(405, &self.name, &[("Allow", allow)], &sentence)
    }

    fn options(&self, allow: &str) -> Response {
        Response::new(204, &self.name, &[("Allow", allow)], Content::Memory(Bytes::new("")))
    }
}

/// Whether what the client has is still current (RFC 9110 §13.1.2, §13.1.3): If-None-Match
/// decides where it is present, else If-Modified-Since.
fn is_current(request: &Request, version: Version) -> bool {
    let mut tags = request.fields.values("if-none-match").peekable();
    if tags.peek().is_some() {
        let etag = version.etag();
        return tags
            .flat_map(fields::list)
            .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes());
    }
    let since = request.fields.values("if-modified-since").next().and_then(date::parse);
    since.is_some_and(|since| version.modified() <= since)
}
