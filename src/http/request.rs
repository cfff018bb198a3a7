//! Bytes to a request: request line, field section, limits.
//!
//! Entry point: [`parse`], which answers a request, "not all here yet", or an error that knows
//! its status. It keeps nothing between calls and copies nothing: a [`Request`] borrows from
//! the bytes. Note: `notes/http.md`.

use super::fields::{
    self, Field, Fields, is_authority, is_token_char, is_uri_char, percents_encode,
};
use super::framing::{BodyFields, Framing, Persistence};
use super::{Limits, ParseError, Version};

/// A method that RFC 9110 §9 or RFC 5789 (PATCH) defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
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
    const ALL: [Method; 9] = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Delete,
        Method::Connect,
        Method::Options,
        Method::Trace,
        Method::Patch,
    ];

    /// As it stands in the request line.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
        }
    }

    /// Whether doing it twice does no more than doing it once (RFC 9110 §9.2.2).
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Method::Post | Method::Patch | Method::Connect)
    }

    fn parse(bytes: &[u8]) -> Result<Method, ParseError> {
        if bytes == b"GET" {
            return Ok(Method::Get);
        }
        if bytes.is_empty() || !bytes.iter().all(|&b| is_token_char(b)) {
            return Err(ParseError::Method);
        }
        let known = Method::ALL.into_iter().find(|m| m.name().as_bytes() == bytes);
        known.ok_or(ParseError::UnknownMethod)
    }
}

/// A request's head, valid in every respect that a server must check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to do.
    pub method: Method,
    /// Path and query in origin-form, `*`, or for CONNECT host:port. Of an absolute-form only
    /// path and query stay here (see `host`); `?query` alone means `/?query`.
    pub target: &'a str,
    /// The version that the client speaks.
    pub version: Version,
    /// The authority: of an absolute-form target, else of Host; None only in HTTP/1.0.
    pub host: Option<&'a str>,
    /// All fields, in order.
    pub fields: Fields<'a>,
    /// Where the content ends.
    pub framing: Framing,
    /// Whether the client lets the connection persist.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the content.
    pub expects_continue: bool,
    /// Max-Forwards, if present.
    pub max_forwards: Option<u64>,
}

/// Reads a request's head from the front of `bytes`: the request and the length of its head.
/// None: it has not arrived as a whole yet. One empty line before it is passed over (RFC 9112 §2.2).
pub fn parse<'a>(
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<Option<(Request<'a>, usize)>, ParseError> {
    let start = match bytes {
        [b'\r', b'\n', ..] => &bytes[2..],
        [b'\r'] => return Ok(None),
        _ => bytes,
    };
    let Some((line, rest)) =
        fields::take_line(start, limits.request_line, ParseError::RequestLineTooLong)?
    else {
        return Ok(None);
    };
    let (method, target, version) = parse_request_line(line)?;

    let mut host = None;
    let mut body = BodyFields::default();
    let mut persistence = Persistence::default();
    let mut expects_continue = false;
    let mut max_forwards = None;
    let section = Fields::parse(rest, limits, |field: Field<'a>| {
        // Only fields that steer the message itself are looked at; a length is the cheapest
        // way to pass over the others.
        match field.name.len() {
            4 if field.is("host") => match host.replace(field.value) {
                Some(_) => return Err(ParseError::HostTwice),
                None if !is_authority(field.value) => return Err(ParseError::HostInvalid),
                None => {}
            },
            6 if field.is("expect") => {
                if !field.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(ParseError::Expectation);
                }
                expects_continue = version == Version::Http11;
            }
            10 if field.is("connection") => persistence.add(field.value),
            12 if field.is("max-forwards") => {
                max_forwards = Some(fields::digits(field.value).ok_or(ParseError::MaxForwards)?);
            }
            14 | 17 => body.add(field)?,
            _ => {}
        }
        Ok(())
    })?;
    let Some((section, rest)) = section else {
        return Ok(None);
    };

    let framing = body.of_request(version)?;
    let (target, authority) = target.split();
    let host = match (authority, host) {
        (Some(authority), Some(_)) => Some(authority),
        (Some(authority), None) if version == Version::Http10 => Some(authority),
        (None, Some(host)) => Some(ascii(host)),
        (None, None) if version == Version::Http10 => None,
        (_, None) => return Err(ParseError::HostMissing),
    };
    let request = Request {
        method,
        // RFC 9112 §3.2.4 and §3.2.1: what an absolute-form without a path asks about.
        target: match (target, method) {
            ("", Method::Options) => "*",
            ("", _) => "/",
            (target, _) => target,
        },
        version,
        host,
        fields: section,
        framing,
        keep_alive: persistence.keep_alive(version),
        expects_continue: expects_continue && framing != Framing::Length(0),
        max_forwards,
    };
    Ok(Some((request, bytes.len() - rest.len())))
}

/// What is known of bytes that are the beginning of a request's head and no more: while only its last line
/// grows, another look at all of it would be in vain. Without this a head of 24 KiB that comes
/// byte by byte would be read 24,000 times from its first byte: 0.4 s of CPU time instead of 5 ms.
#[derive(Debug, Clone, Copy, Default)]
pub struct Partial {
    /// So many bytes were looked at.
    seen: usize,
    /// Where the last line becomes too long.
    until: usize,
}

impl Partial {
    /// Of `bytes` that a parser found to be no whole head yet.
    pub fn of(bytes: &[u8], limits: &Limits) -> Partial {
        let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let first_line = bytes[start..].iter().position(|&b| b == b'\n');
        let until = match first_line {
            // Whatever comes next, a CR waits for it.
            _ if bytes.ends_with(b"\r") => bytes.len(),
            None => start + limits.request_line,
            Some(end) => start + end + 1 + limits.field_section,
        };
        let seen = bytes.len();
        Partial { seen, until }
    }

    /// Whether `bytes`, the same ones and perhaps more, are still no whole head and no wrong one.
    /// False: only a parser can tell, at most twice for each line.
    pub fn still(&mut self, bytes: &[u8]) -> bool {
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
pub fn is_head(bytes: &[u8]) -> bool {
    let line = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    line.starts_with(b"HEAD ")
}

fn parse_request_line(line: &[u8]) -> Result<(Method, Target<'_>, Version), ParseError> {
    let mut parts = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ParseError::RequestLine);
    };
    if target.is_empty() {
        return Err(ParseError::RequestLine);
    }
    // The version comes first: what another major version means by the rest is not ours to judge.
    let version = parse_version(version)?;
    let method = Method::parse(method)?;
    Ok((method, Target::parse(method, target)?, version))
}

/// `HTTP/1.x`; shared with the status line of responses.
pub fn parse_version(bytes: &[u8]) -> Result<Version, ParseError> {
    match bytes {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            if *major == b'1' {
                Ok(Version::Http11)
            } else {
                Err(ParseError::MajorVersion)
            }
        }
        _ => Err(ParseError::Version),
    }
}

/// The four forms of RFC 9112 §3.2.
enum Target<'a> {
    /// `/path?query`, or `*`
    Origin(&'a [u8]),
    /// `http://authority/path?query`: authority and the rest, which may be empty
    Absolute(&'a [u8], &'a [u8]),
    /// `host:port`
    Authority(&'a [u8]),
}

impl<'a> Target<'a> {
    fn parse(method: Method, target: &'a [u8]) -> Result<Self, ParseError> {
        if method == Method::Connect {
            let has_port = target
                .iter()
                .rposition(|&b| b == b':' || b == b']')
                .is_some_and(|i| target[i] == b':' && i + 1 < target.len());
            return if !has_port || target[0] == b'/' {
                Err(ParseError::TargetForm)
            } else if is_authority(target) {
                Ok(Target::Authority(target))
            } else {
                Err(ParseError::Authority)
            };
        }
        if target == b"*" {
            let fits = method == Method::Options;
            return if fits { Ok(Target::Origin(target)) } else { Err(ParseError::TargetForm) };
        }
        if target[0] == b'/' {
            check_uri(target)?;
            return Ok(Target::Origin(target));
        }
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
        Ok(Target::Absolute(authority, path))
    }

    /// The target to act on, and the authority if the target names one.
    fn split(self) -> (&'a str, Option<&'a str>) {
        match self {
            Target::Origin(target) | Target::Authority(target) => (ascii(target), None),
            Target::Absolute(authority, b"") => ("", Some(ascii(authority))),
            Target::Absolute(authority, path) => (ascii(path), Some(ascii(authority))),
        }
    }
}

fn check_uri(target: &[u8]) -> Result<(), ParseError> {
    if !target.iter().all(|&b| is_uri_char(b)) {
        return Err(ParseError::RequestTarget);
    }
    if !percents_encode(target) {
        return Err(ParseError::PercentEncoding);
    }
    Ok(())
}

/// Bytes that have been checked to be URI characters, hence ASCII.
fn ascii(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_comes_byte_by_byte_has_each_byte_looked_at_once() {
        let line = [b'a'; 1000];
        let mut partial = Partial::of(&line[..1], &Limits::DEFAULT);
        for at in 1..=line.len() {
            assert!(partial.still(&line[..at]));
            assert_eq!(partial.seen, at);
        }
        assert!(!partial.still(b"a"), "other bytes");
    }
}
