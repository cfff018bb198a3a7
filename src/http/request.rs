//! Bytes to a request: request line, field section, limits.
//!
//! Entry point: [`parse`], which answers a request, "not all here yet", or an error that knows
//! its status. It keeps nothing between calls and copies nothing: a [`Request`] borrows from
//! the bytes. Note: `notes/http.md`.

use super::fields::{self, Field, Fields};
use super::fields::{is_authority, is_token_char, is_uri_char, percents_encode, split_port};
use super::framing::{BodyFields, Framing, Persistence};
use super::{Limits, ParseError, Parsed, Version};

/// A method that RFC 9110 §9 or RFC 5789 (PATCH) defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

impl Method {
    const ALL: [Method; 9] = {
        use Method::*;
        [Get, Head, Post, Put, Delete, Connect, Options, Trace, Patch]
    };
    const NAMES: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

    pub const fn name(self) -> &'static str {
        Method::NAMES[self as usize]
    }

    /// Whether doing it twice does no more than doing it once (RFC 9110 §9.2.2).
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Method::Post | Method::Patch | Method::Connect)
    }

    fn parse(bytes: &[u8]) -> Result<Method, ParseError> {
        let known = Method::ALL.into_iter().find(|m| m.name().as_bytes() == bytes);
        let is_token = !bytes.is_empty() && bytes.iter().all(|&b| is_token_char(b));
        known.ok_or(if is_token { ParseError::UnknownMethod } else { ParseError::Method })
    }
}

/// A request's head, valid in every respect that a server must check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    pub method: Method,
    /// Path and query in origin-form, `*`, or for CONNECT host:port. Of an absolute-form only
    /// path and query stay here (see `host`); `?query` alone means `/?query`.
    pub target: &'a str,
    pub version: Version,
    /// The authority: of an absolute-form target, else of Host; None only in HTTP/1.0.
    pub host: Option<&'a str>,
    pub fields: Fields<'a>,
    pub framing: Framing,
    pub keep_alive: bool, // whether the client lets the connection persist
    /// Whether the client waits for `100 Continue` before it sends the content.
    pub expects_continue: bool,
    pub max_forwards: Option<u64>,
}

/// Reads a request's head. One empty line before it is passed over (RFC 9112 §2.2).
pub fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Parsed<Request<'a>> {
    let start = match bytes {
        [b'\r', b'\n', start @ ..] => start,
        [b'\r'] => return Ok(None),
        _ => bytes,
    };
    let line = fields::take_line(start, limits.request_line, ParseError::RequestLineTooLong)?;
    let Some((line, rest)) = line else { return Ok(None) };
    let (method, (target, authority), version) = parse_request_line(line)?;
    let mut controls = Controls::default();
    let Some((fields, rest)) = Fields::parse(rest, limits, |field| controls.add(field))? else {
        return Ok(None);
    };
    let framing = controls.body.framing(version, Framing::Length(0))?;
    let is_new = version == Version::Http11;
    if is_new && controls.host.is_none() {
        return Err(ParseError::HostMissing);
    }
    let request = Request {
        method,
        target: ascii(target),
        version,
        host: authority.or(controls.host).map(ascii),
        fields,
        framing,
        keep_alive: controls.persistence.keep_alive(version),
        expects_continue: controls.expects_continue && is_new && framing != Framing::Length(0),
        max_forwards: controls.max_forwards,
    };
    Ok(Some((request, bytes.len() - rest.len())))
}

/// The fields that steer the message itself.
#[derive(Default)]
struct Controls<'a> {
    host: Option<&'a [u8]>,
    expects_continue: bool,
    max_forwards: Option<u64>,
    persistence: Persistence,
    body: BodyFields<'a>,
}

impl<'a> Controls<'a> {
    /// Takes note of the field; a look at its length is the cheapest way to pass over the others.
    fn add(&mut self, field: Field<'a>) -> Result<(), ParseError> {
        let value = field.value;
        match field.name.len() {
            4 if field.is("host") => match self.host.replace(value) {
                Some(_) => return Err(ParseError::HostTwice),
                None if !is_authority(value) => return Err(ParseError::HostInvalid),
                None => {}
            },
            6 if field.is("expect") => {
                self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
                if !self.expects_continue {
                    return Err(ParseError::Expectation);
                }
            }
            10 if field.is("connection") => self.persistence.add(value),
            12 if field.is("max-forwards") => {
                self.max_forwards = Some(fields::digits(value).ok_or(ParseError::MaxForwards)?);
            }
            14 | 17 => self.body.add(field)?,
            _ => {}
        }
        Ok(())
    }
}

/// Notes on bytes that are the beginning of a request's head and no more: while only its
/// last line grows, another look at all of it would be in vain. Without this a head of 24 KiB that
/// comes byte by byte would be read 24,000 times from its first byte: 0.4 s of CPU time, not 5 ms.
#[derive(Debug, Clone, Copy, Default)]
pub struct Partial {
    seen: usize,  // so many bytes were looked at
    until: usize, // where the last line becomes too long
}

impl Partial {
    /// Of `bytes` that a parser found to be no whole head yet.
    pub fn of(bytes: &[u8], limits: &Limits) -> Partial {
        let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let until = match bytes[start..].iter().position(|&b| b == b'\n') {
            // Behind a CR the next byte decides, whatever it is.
            _ if bytes.ends_with(b"\r") => bytes.len(),
            None => start + limits.request_line,
            Some(end) => start + end + 1 + limits.field_section,
        };
        Partial { seen: bytes.len(), until }
    }

    /// Whether `bytes`, the same ones and perhaps more, are still no whole head and no wrong one.
    /// False: a parser must look; that happens at most twice for each line.
    pub fn is_still_partial(&mut self, bytes: &[u8]) -> bool {
        let new = bytes.get(self.seen..);
        self.seen = bytes.len();
        bytes.len() <= self.until
            && new.is_some_and(|new| new.iter().all(|&b| fields::is_text_char(b)))
    }
}

/// Whether bytes that are no whole request are the beginning of one: the empty line that may
/// precede it is not.
pub fn has_begun(bytes: &[u8]) -> bool {
    !matches!(bytes, b"" | b"\r" | b"\r\n")
}

/// Whether bytes that are no request begin as a HEAD: the answer must not have content then
/// either (RFC 9110 §9.3.2).
pub fn is_head_method(bytes: &[u8]) -> bool {
    let line = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    line.starts_with(b"HEAD ")
}

fn parse_request_line(line: &[u8]) -> Result<(Method, Target<'_>, Version), ParseError> {
    let mut parts = line.split(|&b| b == b' ');
    let parts = [(); 4].map(|()| parts.next());
    let [Some(method), Some(target @ [_, ..]), Some(version), None] = parts else {
        return Err(ParseError::RequestLine);
    };
    // The version comes first: what another major version means by the rest is not ours to judge.
    let version = parse_version(version)?;
    let method = Method::parse(method)?;
    Ok((method, parse_target(method, target)?, version))
}

/// `HTTP/1.x`; shared with the status line of responses.
pub(super) fn parse_version(bytes: &[u8]) -> Result<Version, ParseError> {
    match bytes {
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'] => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(ParseError::MajorVersion)
        }
        _ => Err(ParseError::Version),
    }
}

/// The target to act on, and the authority of an absolute-form.
type Target<'a> = (&'a [u8], Option<&'a [u8]>);

/// Reads one of the four forms of RFC 9112 §3.2.
fn parse_target(method: Method, target: &[u8]) -> Result<Target<'_>, ParseError> {
    let is_connect = method == Method::Connect;
    match target {
        b"*" if method == Method::Options => Ok((target, None)),
        b"*" => Err(ParseError::TargetForm),
        [b'/', ..] if is_connect => Err(ParseError::TargetForm),
        [b'/', ..] => check_uri(target).map(|()| (target, None)),
        _ if !is_connect => parse_absolute_form(method, target),
        _ if split_port(target).1.is_empty() => Err(ParseError::TargetForm),
        _ if is_authority(target) => Ok((target, None)),
        _ => Err(ParseError::Authority),
    }
}

fn parse_absolute_form(method: Method, target: &[u8]) -> Result<Target<'_>, ParseError> {
    let Some(colon) = target.windows(3).position(|w| w == b"://") else {
        check_uri(target)?;
        return Err(ParseError::TargetForm);
    };
    if !target[..colon].eq_ignore_ascii_case(b"http") {
        return Err(ParseError::Scheme);
    }
    let rest = &target[colon + 3..];
    let end = rest.iter().position(|b| b"/?#".contains(b)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !is_authority(authority) {
        return Err(ParseError::Authority);
    }
    check_uri(path)?;
    // RFC 9112 §3.2.4 and §3.2.1: what an absolute-form without a path asks about.
    let path = match path {
        b"" if method == Method::Options => b"*",
        b"" => b"/",
        path => path,
    };
    Ok((path, Some(authority)))
}

fn check_uri(target: &[u8]) -> Result<(), ParseError> {
    if !target.iter().all(|&b| is_uri_char(b)) {
        Err(ParseError::RequestTarget)
    } else if !percents_encode(target) {
        Err(ParseError::PercentEncoding)
    } else {
        Ok(())
    }
}

/// Bytes that have been checked to be URI characters, hence ASCII.
fn ascii(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}
