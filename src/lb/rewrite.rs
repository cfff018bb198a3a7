//! The gateway's own words: a request head for a backend, a response head for a client, and
//! content in the framing that each side understands.
//!
//! Nothing is passed on as it came: a head is written anew from what was understood of it, so
//! bytes that two parsers could read in two ways never reach the second parser (RFC 9112 §11.2).
//! Knows no sockets. Note: `notes/lb.md`.

use crate::http::fields::{self, Field, Fields, write_field, write_number};
use crate::http::framing::Framing;
use crate::http::request::{Method, Request};
use crate::http::response::{Head, end_of_head, write_status_line};
use crate::http::{Limits, ParseError, Version, date};

/// Fields that speak of one connection, not of the message (RFC 9110 §7.6.1), or of framing,
/// which is written anew for each side.
#[rustfmt::skip]
const HOP_BY_HOP: [&str; 8] = ["connection", "keep-alive", "proxy-connection", "te", "trailer",
    "upgrade", "content-length", "transfer-encoding"];

/// Appends the fields that go on to the next hop: not those for which `visit` returns true, which
/// are written anew, and not the hop-by-hop ones, among which are those that `Connection` names.
/// `visit` sees every field, and is told whether it ends here for that reason.
fn write_fields(out: &mut Vec<u8>, all: Fields, mut visit: impl FnMut(Field, bool) -> bool) {
    let named = || all.values("connection").flat_map(fields::list);
    let names_any = named().next().is_some();
    for field in all {
        let ends_here = HOP_BY_HOP.iter().any(|name| field.is(name))
            || (names_any && named().any(|name| name.eq_ignore_ascii_case(field.name)));
        if !visit(field, ends_here) && !ends_here {
            write_field(out, field.name, field.value);
        }
    }
}

/// Appends a field that grows by a member at each gateway. `has_any`: some of `all` fields bear its
/// name. Empty members end here (RFC 9110 §5.6.1).
fn write_list(out: &mut Vec<u8>, name: &str, all: Fields, has_any: bool, own: &[&str]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let values = has_any.then(|| all.values(name)).into_iter().flatten();
    for member in values.flat_map(fields::list) {
        out.extend_from_slice(member);
        out.extend_from_slice(b", ");
    }
    own.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

/// A request's client and gateway, for the head that a backend gets.
#[derive(Debug, Clone, Copy)]
pub struct ToBackend<'a> {
    pub peer: &'a str,      // the client's address
    pub via: &'a str,       // this gateway's name in Via
    pub authority: &'a str, // its address: the Host of an HTTP/1.0 client that named none
}

/// Appends the request head for a backend. The error: with what is added here its fields are
/// beyond the `limits`, which a backend may have too, and would refuse them in its own name. The
/// request line never grows: what a target loses on the way is longer than the `/` it may gain.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &Request,
    to: &ToBackend,
    limits: &Limits,
) -> Result<(), ParseError> {
    out.extend_from_slice(request.method.name().as_bytes());
    out.extend_from_slice(if request.target.starts_with('?') { b" /" } else { b" " });
    out.extend_from_slice(request.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let section = out.len();
    write_field(out, b"Host", request.host.unwrap_or(to.authority).as_bytes());
    let (mut has_via, mut has_forwarded_for) = (false, false);
    write_fields(out, request.fields, |field, _| {
        let (is_via, is_forwarded_for) = (field.is("via"), field.is("x-forwarded-for"));
        has_via |= is_via;
        has_forwarded_for |= is_forwarded_for;
        let is_rewritten = ["host", "expect", "max-forwards"].iter().any(|name| field.is(name));
        is_via || is_forwarded_for || is_rewritten
    });
    write_list(out, "X-Forwarded-For", request.fields, has_forwarded_for, &[to.peer]);
    write_list(out, "Via", request.fields, has_via, &["1.1 ", to.via]);
    if let Some(left) = request.max_forwards {
        write_number(out, b"Max-Forwards", left.saturating_sub(1));
    }
    if request.expects_continue {
        write_field(out, b"Expect", b"100-continue");
    }
    match request.framing {
        // RFC 9110 §8.6: a method that gives content a meaning says so even if there is none.
        Framing::Length(0)
            if !matches!(request.method, Method::Post | Method::Put | Method::Patch) => {}
        Framing::Length(length) => write_number(out, b"Content-Length", length),
        _ => write_field(out, b"Transfer-Encoding", b"chunked"),
    }
    limits.check(&out[section..])?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The gateway's share of the head that a client gets.
#[derive(Debug, Clone, Copy)]
pub struct ToClient<'a> {
    pub version: Version, // that it speaks
    pub keep_alive: bool, // whether the connection to it may persist
    pub to_head: bool,    // whether its request was HEAD
    pub via: &'a str,
    pub date: &'a [u8; date::LENGTH], // for a backend that forgot it
}

/// Appends the response head for a client. Returns how the content follows, and whether the
/// client's connection is kept behind it.
pub fn write_response(out: &mut Vec<u8>, head: &Head, to: ToClient) -> (Framing, bool) {
    write_status_line(out, head.status, head.reason);
    let (mut has_date, mut has_via) = (false, false);
    write_fields(out, head.fields, |field, ends_here| {
        has_date |= !ends_here && field.is("date");
        let is_via = field.is("via");
        has_via |= is_via;
        is_via
    });
    if !has_date {
        write_field(out, b"Date", to.date);
    }
    write_list(out, "Via", head.fields, has_via, &["1.1 ", to.via]);
    let has_content = !to.to_head && head.status != 204 && head.status != 304;
    let framing = match head.content_length {
        Some(length) if head.status != 204 => {
            write_number(out, b"Content-Length", length);
            Framing::Length(length)
        }
        _ if !has_content => Framing::Length(0),
        _ if to.version == Version::Http11 => {
            write_field(out, b"Transfer-Encoding", b"chunked");
            Framing::Chunked
        }
        _ => Framing::UntilClose,
    };
    let keep_alive = to.keep_alive && framing != Framing::UntilClose;
    out.extend_from_slice(end_of_head(to.version, keep_alive));
    (framing, keep_alive)
}
