//! Responses: to bytes for whoever answers, and from bytes for the gateway, which must know
//! where a response ends before it passes it on.
//!
//! Entry points: [`Response::new`] and [`Response::write_head`]; [`parse`]. Note: `notes/http.md`.

use super::fields::{self, Field, Fields, write_digits, write_field, write_number};
use super::framing::{BodyFields, Framing, Persistence};
use super::request::parse_version;
use super::{Limits, ParseError, Parsed, Version};
use std::fs::File;
use std::sync::Arc;

/// The reason phrase of a status code (RFC 9110 §15).
const fn reason(status: u16) -> &'static str {
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

pub enum Content {
    Memory(Bytes),
    File(File, u64), // an open file, too large to keep in memory, and how many of its next bytes
    Sealed(Arc<File>, u64), // a file in sealed memory, and its length
}

impl Content {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Content::Memory(bytes) => (**bytes).as_ref().len() as u64,
            Content::File(_, length) | Content::Sealed(_, length) => *length,
        }
    }
}

/// Bytes that many responses may share. Their owner is dropped with the last response, so
/// an owner can count what is still to be sent.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A response. All of its head that does not depend on the moment or the client is rendered
/// once, when it is made; a response that is sent often is made once and shared.
pub struct Response {
    pub status: u16,
    head: Arc<[u8]>,
    pub content: Content, // the content, also where it will not be sent (HEAD)
}

impl Response {
    /// A response with content. `fields` are all but Server, X-Served-By (`served_by`),
    /// Content-Length, Date and Connection, which are added here and when it is sent.
    pub fn new(status: u16, served_by: &str, fields: &[(&str, &str)], content: Content) -> Self {
        let mut head = Vec::with_capacity(256);
        write_status_line(&mut head, status, reason(status).as_bytes());
        write_field(&mut head, b"Server", b"progjar");
        write_field(&mut head, b"X-Served-By", served_by.as_bytes());
        for (name, value) in fields {
            write_field(&mut head, name.as_bytes(), value.as_bytes());
        }
        // RFC 9110 §8.6: no Content-Length in a 204; in a 304 it would be that of the 200.
        if status != 204 && status != 304 {
            write_number(&mut head, b"Content-Length", content.length());
        }
        Response { status, head: head.into(), content }
    }

    pub fn text(status: u16, served_by: &str, fields: &[(&str, &str)], text: &str) -> Response {
        let mut all = vec![("Content-Type", "text/plain; charset=utf-8")];
        all.extend_from_slice(fields);
        Response::new(status, served_by, &all, Content::Memory(Arc::new(text.to_owned())))
    }

    pub fn error(error: ParseError, served_by: &str) -> Response {
        let (status, sentence) = error.parts();
        Response::text(status, served_by, &[], &format!("{sentence}.\n"))
    }

    /// The same response once more; None if its content is a file, which is read but once.
    pub fn share(&self) -> Option<Response> {
        let content = match &self.content {
            Content::Memory(bytes) => Content::Memory(Arc::clone(bytes)),
            Content::Sealed(file, length) => Content::Sealed(Arc::clone(file), *length),
            Content::File(..) => return None,
        };
        Some(Response { status: self.status, head: Arc::clone(&self.head), content })
    }

    /// Appends the head, its empty line included, for a client of `version`.
    pub fn write_head(&self, out: &mut Vec<u8>, date: &[u8], version: Version, keep_alive: bool) {
        out.extend_from_slice(&self.head);
        write_field(out, b"Date", date);
        out.extend_from_slice(end_of_head(version, keep_alive));
    }
}

/// The last lines of a head: the Connection field that tells a client of `version` whether the
/// connection persists, if it needs to be told (RFC 9112 §9.3), and the empty line.
pub(crate) fn end_of_head(version: Version, keep_alive: bool) -> &'static [u8] {
    match (keep_alive, version) {
        (false, _) => b"Connection: close\r\n\r\n",
        (true, Version::Http10) => b"Connection: keep-alive\r\n\r\n",
        (true, Version::Http11) => b"\r\n",
    }
}

pub(crate) fn write_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_digits(out, status.into());
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// The interim answer to `Expect: 100-continue`.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A response's head, as a gateway reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    pub version: Version,
    pub status: u16,
    pub reason: &'a [u8], // the reason phrase, perhaps empty
    pub fields: Fields<'a>,
    pub framing: Framing,
    /// Content-Length, which an answer to HEAD has although no content follows.
    pub content_length: Option<u64>,
    pub keep_alive: bool, // whether the sender lets the connection persist
}

/// Reads a response's head. `to_head`: it answers a HEAD request, so no content follows.
pub fn parse<'a>(bytes: &'a [u8], limits: &Limits, to_head: bool) -> Parsed<Head<'a>> {
    let line = fields::take_line(bytes, limits.request_line, ParseError::FieldSectionTooLarge)?;
    let Some((line, rest)) = line else { return Ok(None) };
    let (version, status, reason) = parse_status_line(line)?;
    let (mut body, mut persistence) = (BodyFields::default(), Persistence::default());
    let section = Fields::parse(rest, limits, |field: Field<'a>| {
        match field.name.len() {
            10 if field.is("connection") => persistence.add(field.value),
            14 | 17 => body.add(field)?,
            _ => {}
        }
        Ok(())
    })?;
    let Some((fields, rest)) = section else { return Ok(None) };
    let framing = match body.framing(version, Framing::UntilClose)? {
        _ if to_head || matches!(status, 100..=199 | 204 | 304) => Framing::Length(0),
        framing => framing,
    };
    let keep_alive = persistence.keep_alive(version) && framing != Framing::UntilClose;
    let content_length = body.length();
    let head = Head { version, status, reason, fields, framing, content_length, keep_alive };
    Ok(Some((head, bytes.len() - rest.len())))
}

fn parse_status_line(line: &[u8]) -> Result<(Version, u16, &[u8]), ParseError> {
    let (version, rest) = line.split_at_checked(8).ok_or(ParseError::StatusLine)?;
    let (code, reason) = match rest {
        [b' ', a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
        // RFC 9112 §4 wants the second space even before an empty reason; many forget it, and
        // nothing can be misread without it.
        [b' ', a, b, c] => ([*a, *b, *c], b"".as_slice()),
        _ => return Err(ParseError::StatusLine),
    };
    match (parse_version(version)?, fields::digits(&code)) {
        (version, Some(status @ 100..=599)) => Ok((version, status as u16, reason)),
        _ => Err(ParseError::StatusLine),
    }
}
