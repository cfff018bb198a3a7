//! Responses: to bytes for whoever answers, and from bytes for the gateway, which must know
//! where a response ends before it passes it on.
//!
//! Entry points: [`Response::new`] and [`Response::write_head`]; [`parse`]. Note: `notes/http.md`.

use super::date;
use super::fields::{self, Field, Fields, write_digits, write_field, write_number};
use super::framing::{BodyFields, Framing, Persistence};
use super::request::parse_version;
use super::{Limits, ParseError, Version};
use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::sync::Arc;

/// The reason phrase of a status code (RFC 9110 §15).
pub const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}

/// What follows the head.
#[derive(Debug)]
pub enum Content {
    /// Bytes in memory.
    Memory(Bytes),
    /// The next `1` bytes of an open file, too large to keep in memory.
    File(File, u64),
}

/// Bytes that many responses may share. Whatever owns them is dropped with the last response, so
/// an owner can count what is still to be sent.
#[derive(Clone)]
pub struct Bytes(pub Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Bytes {
    /// The bytes of `owner`.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Bytes {
        Bytes(Arc::new(owner))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// A response. All of its head that does not depend on the moment or the client is rendered
/// once, when it is made; a response that is sent often is made once and cloned.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    head: Arc<[u8]>,
    /// The content, also where it will not be sent (HEAD).
    pub content: Content,
}

impl Response {
    /// A response with content. `fields` are all but Server, X-Served-By (`served_by`),
    /// Content-Length, Date and Connection, which are added here and when it is sent.
    pub fn new(
        status: u16,
        served_by: &str,
        fields: &[(&str, &str)],
        content: Content,
    ) -> Response {
        let length = match &content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(_, length) => *length,
        };
        let mut head = Vec::with_capacity(256);
        write_status_line(&mut head, status, reason(status).as_bytes());
        write_field(&mut head, b"Server", b"progjar");
        write_field(&mut head, b"X-Served-By", served_by.as_bytes());
        for (name, value) in fields {
            write_field(&mut head, name.as_bytes(), value.as_bytes());
        }
        // RFC 9110 §8.6: no Content-Length in a 204; in a 304 it would be that of the 200.
        if status != 204 && status != 304 {
            write_number(&mut head, b"Content-Length", length);
        }
        Response { status, head: head.into(), content }
    }

    /// A response with a short text as its content.
    pub fn text(status: u16, served_by: &str, fields: &[(&str, &str)], text: &str) -> Response {
        let mut all = vec![("Content-Type", "text/plain; charset=utf-8")];
        all.extend_from_slice(fields);
        Response::new(status, served_by, &all, Content::Memory(Bytes::new(text.to_owned())))
    }

    /// The answer to a request that was wrong: the sentence that says what.
    pub fn error(error: ParseError, served_by: &str) -> Response {
        let (status, sentence) = error.parts();
        Response::text(status, served_by, &[], &format!("{sentence}.\n"))
    }

    /// The same response once more; None if its content is a file, which is read but once.
    pub fn share(&self) -> Option<Response> {
        let Content::Memory(content) = &self.content else {
            return None;
        };
        Some(Response {
            status: self.status,
            head: Arc::clone(&self.head),
            content: Content::Memory(content.clone()),
        })
    }

    /// Appends the head, its empty line included.
    pub fn write_head(&self, out: &mut Vec<u8>, date: &[u8; date::LENGTH], connection: Connection) {
        out.extend_from_slice(&self.head);
        write_date_and_connection(out, date, connection);
    }
}

/// What the head says about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: HTTP/1.1 persists by itself.
    Persists,
    /// `keep-alive`, for an HTTP/1.0 client that asked for it.
    KeepAlive,
    /// `close`.
    Close,
}

impl Connection {
    /// What to say to a client of `version` about a connection that will persist or not.
    pub fn says(version: Version, keep_alive: bool) -> Connection {
        match (keep_alive, version) {
            (false, _) => Connection::Close,
            (true, Version::Http10) => Connection::KeepAlive,
            (true, Version::Http11) => Connection::Persists,
        }
    }
}

/// Appends the status line.
pub fn write_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_digits(out, status.into());
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Appends Date, Connection and the empty line that ends a head.
pub fn write_date_and_connection(
    out: &mut Vec<u8>,
    date: &[u8; date::LENGTH],
    connection: Connection,
) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(date);
    out.extend_from_slice(match connection {
        Connection::Persists => b"\r\n\r\n".as_slice(),
        Connection::KeepAlive => b"\r\nConnection: keep-alive\r\n\r\n",
        Connection::Close => b"\r\nConnection: close\r\n\r\n",
    });
}

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A response's head, as a gateway reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// The version that the sender speaks.
    pub version: Version,
    /// Three digits.
    pub status: u16,
    /// The reason phrase, perhaps empty.
    pub reason: &'a [u8],
    /// All fields, in order.
    pub fields: Fields<'a>,
    /// Where the content ends.
    pub framing: Framing,
    /// Content-Length, which an answer to HEAD has although no content follows.
    pub content_length: Option<u64>,
    /// Whether the sender lets the connection persist.
    pub keep_alive: bool,
}

/// Reads a response's head from the front of `bytes`: the head and its length. None: it has
/// not arrived as a whole yet. `to_head`: it answers a HEAD request, so no content follows.
pub fn parse<'a>(
    bytes: &'a [u8],
    limits: &Limits,
    to_head: bool,
) -> Result<Option<(Head<'a>, usize)>, ParseError> {
    let line = fields::take_line(bytes, limits.request_line, ParseError::FieldSectionTooLarge)?;
    let Some((line, rest)) = line else {
        return Ok(None);
    };
    let (version, status, reason) = parse_status_line(line)?;

    let mut body = BodyFields::default();
    let mut persistence = Persistence::default();
    let section = Fields::parse(rest, limits, |field: Field<'a>| {
        match field.name.len() {
            10 if field.is("connection") => persistence.add(field.value),
            14 | 17 => body.add(field)?,
            _ => {}
        }
        Ok(())
    })?;
    let Some((section, rest)) = section else {
        return Ok(None);
    };

    let framing = body.of_response(version, status, to_head)?;
    let keep_alive = persistence.keep_alive(version) && framing != Framing::UntilClose;
    let content_length = body.length();
    let head =
        Head { version, status, reason, fields: section, framing, content_length, keep_alive };
    Ok(Some((head, bytes.len() - rest.len())))
}

fn parse_status_line(line: &[u8]) -> Result<(Version, u16, &[u8]), ParseError> {
    let (Some(version), Some(b' ')) = (line.get(..8), line.get(8)) else {
        return Err(ParseError::StatusLine);
    };
    let version = parse_version(version)?;
    let (code, reason) = match &line[9..] {
        [a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
        // RFC 9112 §4 wants the second space even before an empty reason; many forget it, and
        // nothing can be misread without it.
        [a, b, c] => ([*a, *b, *c], &b""[..]),
        _ => return Err(ParseError::StatusLine),
    };
    match fields::digits(&code) {
        Some(status @ 100..=599) => Ok((version, status as u16, reason)),
        _ => Err(ParseError::StatusLine),
    }
}
