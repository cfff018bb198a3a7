//! The gateway's own words: a request head for a backend, a response head for a client, and
//! content in the framing that each side understands.
//!
//! Nothing is passed on as it came: a head is written anew from what was understood of it, so
//! bytes that two parsers could read in two ways never reach the second parser (RFC 9112 §11.2).
//! Knows no sockets. Note: `notes/lb.md`.

use crate::http::fields::{self, Field, Fields, write_field, write_number};
use crate::http::framing::{Framing, LAST_CHUNK, write_chunk};
use crate::http::request::{Method, Request};
use crate::http::response::{Head, end_of_head, write_status_line};
use crate::http::{Limits, ParseError, Version, date};
use std::io::Write;
use std::net::IpAddr;

/// How content is framed on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    /// As it is: its length was told, or its end is the end of the connection.
    Plain,
    /// In chunks.
    Chunks,
}

impl Framed {
    /// Appends a piece of content.
    pub fn write(self, out: &mut Vec<u8>, data: &[u8]) {
        match self {
            Framed::Plain => out.extend_from_slice(data),
            Framed::Chunks => write_chunk(out, data),
        }
    }

    /// Appends the end of the content.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self == Framed::Chunks {
            out.extend_from_slice(LAST_CHUNK);
        }
    }
}

/// Fields that speak of one connection, not of the message (RFC 9110 §7.6.1), or of framing,
/// which is written anew for each side.
#[rustfmt::skip]
const HOP_BY_HOP: [&str; 8] = ["connection", "keep-alive", "proxy-connection", "te", "trailer",
    "upgrade", "content-length", "transfer-encoding"];

/// Appends the fields that go on to the next hop: not those for which `is_ours` returns true, which
/// are written anew, and not the hop-by-hop ones, among which are those that `Connection` names.
/// `is_ours` is told also whether the field ends here for that reason.
fn write_fields(out: &mut Vec<u8>, all: Fields, mut is_ours: impl FnMut(Field, bool) -> bool) {
    let named = || all.values("connection").flat_map(fields::list);
    let names_any = named().next().is_some();
    for field in all {
        let ends_here = HOP_BY_HOP.iter().any(|name| field.is(name))
            || (names_any && named().any(|name| name.eq_ignore_ascii_case(field.name)));
        if !is_ours(field, ends_here) && !ends_here {
            write_field(out, field.name, field.value);
        }
    }
}

/// Appends the beginning of a field that grows by a member at each gateway. `before`: where its
/// members stand, if it has any. Empty ones end here (RFC 9110 §5.6.1).
fn begin_list(out: &mut Vec<u8>, name: &str, before: Option<Fields>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let values = before.into_iter().flat_map(|fields| fields.values(name));
    for member in values.flat_map(fields::list) {
        out.extend_from_slice(member);
        out.extend_from_slice(b", ");
    }
}

fn write_via(out: &mut Vec<u8>, before: Option<Fields>, own: &str) {
    begin_list(out, "Via", before);
    out.extend_from_slice(b"1.1 ");
    out.extend_from_slice(own.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// On whose behalf a request is sent on, and through which gateway.
#[derive(Debug, Clone, Copy)]
pub struct Forwarded<'a> {
    /// The client.
    pub peer: IpAddr,
    /// This gateway's name in Via.
    pub via: &'a str,
    /// Its address: the Host of a client that spoke HTTP/1.0 and named none.
    pub authority: &'a str,
}

/// Appends the request head for a backend. The error: with what is added here its fields are
/// beyond the `limits`, which a backend may have too, and would refuse them in its own name. The
/// request line never grows: what a target loses on the way is longer than the `/` it may gain.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &Request,
    forwarded: &Forwarded,
    limits: &Limits,
) -> Result<Framed, ParseError> {
    out.extend_from_slice(request.method.name().as_bytes());
    out.extend_from_slice(if request.target.starts_with('?') { b" /" } else { b" " });
    out.extend_from_slice(request.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let section = out.len();
    write_field(out, b"Host", request.host.unwrap_or(forwarded.authority).as_bytes());
    let (mut via, mut forwarded_for) = (None, None);
    write_fields(out, request.fields, |field, _| {
        let (is_via, is_forwarded_for) = (field.is("via"), field.is("x-forwarded-for"));
        via = via.or(is_via.then_some(request.fields));
        forwarded_for = forwarded_for.or(is_forwarded_for.then_some(request.fields));
        let is_rewritten = ["host", "expect", "max-forwards"].iter().any(|name| field.is(name));
        is_via || is_forwarded_for || is_rewritten
    });
    begin_list(out, "X-Forwarded-For", forwarded_for);
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{}\r\n", forwarded.peer);
    write_via(out, via, forwarded.via);
    if let Some(left) = request.max_forwards {
        write_number(out, b"Max-Forwards", left.saturating_sub(1));
    }
    if request.expects_continue {
        write_field(out, b"Expect", b"100-continue");
    }
    let framed = write_request_framing(out, request);
    limits.check(&out[section..])?;
    out.extend_from_slice(b"\r\n");
    Ok(framed)
}

fn write_request_framing(out: &mut Vec<u8>, request: &Request) -> Framed {
    match request.framing {
        Framing::Chunked | Framing::UntilClose => {
            write_field(out, b"Transfer-Encoding", b"chunked");
            return Framed::Chunks;
        }
        // RFC 9110 §8.6: a method that gives content a meaning says so even if there is none.
        Framing::Length(0)
            if !matches!(request.method, Method::Post | Method::Put | Method::Patch) => {}
        Framing::Length(length) => write_number(out, b"Content-Length", length),
    }
    Framed::Plain
}

/// What a client must be told beside the backend's head.
#[derive(Debug, Clone, Copy)]
pub struct ToClient<'a> {
    /// The version that it speaks.
    pub version: Version,
    /// Whether the connection to it may persist.
    pub keep_alive: bool,
    /// Whether its request was HEAD.
    pub to_head: bool,
    /// This gateway's name.
    pub via: &'a str,
    /// For a backend that forgot it.
    pub date: &'a [u8; date::LENGTH],
}

/// Appends the response head for a client. Returns how the content follows, and whether the
/// client's connection is kept behind it.
pub fn write_response(out: &mut Vec<u8>, head: &Head, to: ToClient) -> (Framed, bool) {
    write_status_line(out, head.status, head.reason);
    let (mut has_date, mut via) = (false, None);
    write_fields(out, head.fields, |field, ends_here| {
        has_date |= !ends_here && field.is("date");
        via = via.or(field.is("via").then_some(head.fields));
        field.is("via")
    });
    if !has_date {
        write_field(out, b"Date", to.date);
    }
    write_via(out, via, to.via);

    let has_content = !to.to_head && head.status != 204 && head.status != 304;
    let (framed, keep_alive) = match (head.framing, head.content_length) {
        (_, Some(length)) if head.status != 204 => {
            write_number(out, b"Content-Length", length);
            (Framed::Plain, to.keep_alive)
        }
        _ if !has_content => (Framed::Plain, to.keep_alive),
        _ if to.version == Version::Http11 => {
            write_field(out, b"Transfer-Encoding", b"chunked");
            (Framed::Chunks, to.keep_alive)
        }
        _ => (Framed::Plain, false),
    };
    out.extend_from_slice(end_of_head(to.version, keep_alive));
    (framed, keep_alive)
}
