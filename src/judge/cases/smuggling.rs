//! Requests made so that two recipients find the end of a message in two places, and what one
//! takes for content is another's next request (RFC 9112 §11.2). Each of them has bitten
//! somebody; here each has one reading, or none.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault as E;

/// What the attacker hides.
const HIDDEN: &str = "GET /santai HTTP/1.1\r\nHost: a\r\n\r\n";

fn refused_with(name: &'static str, lines: &str, content: &str, status: u16, why: E) -> Case {
    let bytes = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{lines}\r\n{content}{HIDDEN}");
    case(name, bytes, [refused(status, why)])
}

pub fn cases() -> Vec<Case> {
    let te = "Transfer-Encoding: chunked\r\n";
    let end = "0\r\n\r\n";
    vec![
        // Who believes which of the two fields.
        refused_with(
            "CL.TE: the front believes the length, the back the coding",
            &format!("Content-Length: 40\r\n{te}"),
            end,
            400,
            E::LengthAndEncoding,
        ),
        refused_with(
            "TE.CL: the other way round",
            &format!("{te}Content-Length: 4\r\n"),
            "24\r\n",
            400,
            E::LengthAndEncoding,
        ),
        refused_with(
            "CL.TE with a length of zero",
            &format!("Content-Length: 0\r\n{te}"),
            end,
            400,
            E::LengthAndEncoding,
        ),
        case(
            "CL.0: content of a request that wants none is no request",
            format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            [get("/").with(|a| Accepted {
                framing: Length(HIDDEN.len() as u64),
                content: HIDDEN.as_bytes(),
                ..a
            })],
        ),
        case(
            "CL.0 against a refusal: 405 reads the content too",
            format!("PUT /santai HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            [request("PUT", "/santai").answered(405).with(|a| Accepted {
                framing: Length(HIDDEN.len() as u64),
                content: HIDDEN.as_bytes(),
                ..a
            })],
        ),
        case(
            "CL.0 against HEAD",
            format!("HEAD /santai HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            [request("HEAD", "/santai").with(|a| Accepted {
                framing: Length(HIDDEN.len() as u64),
                content: HIDDEN.as_bytes(),
                ..a
            })],
        ),
        case(
            "CL.0 against what was not found",
            format!("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            [request("POST", "/none").answered(404).with(|a| Accepted {
                framing: Length(HIDDEN.len() as u64),
                content: HIDDEN.as_bytes(),
                ..a
            })],
        ),
        // TE.TE: a coding that only one of the two recognises.
        refused_with("TE.TE: a space before the colon", "Transfer-Encoding : chunked\r\n", end, 400, E::SpaceBeforeColon),
        refused_with("TE.TE: a tab before the colon", "Transfer-Encoding\t: chunked\r\n", end, 400, E::SpaceBeforeColon),
        refused_with(
            "TE.TE: folded",
            "Transfer-Encoding:\r\n\x20chunked\r\n",
            end,
            400,
            E::ObsFold,
        ),
        refused_with(
            "TE.TE: the field hides behind a fold",
            "A: b\r\n\x20Transfer-Encoding: chunked\r\n",
            end,
            400,
            E::ObsFold,
        ).once(),
        refused_with(
            "TE.TE: the field hides behind a bare CR",
            "A: b\rTransfer-Encoding: chunked\r\n",
            end,
            400,
            E::BareCr,
        ).once(),
        refused_with(
            "TE.TE: the field hides behind a lone LF",
            "A: b\nTransfer-Encoding: chunked\r\n",
            end,
            400,
            E::LoneLf,
        ),
        refused_with("TE.TE: a vertical tab", "Transfer-Encoding:\x0bchunked\r\n", end, 400, E::ControlCharacter).must(),
        refused_with("TE.TE: a form feed", "Transfer-Encoding: \x0cchunked\r\n", end, 400, E::ControlCharacter).must(),
        refused_with("TE.TE: a NUL behind", "Transfer-Encoding: chunked\0\r\n", end, 400, E::ControlCharacter),
        refused_with(
            "TE.TE: an underscore makes another field of it, and then there is no content",
            "Transfer_Encoding: chunked\r\nContent-Length: x\r\n",
            end,
            400,
            E::ContentLength,
        ),
        refused_with("TE.TE: a letter of Unicode", "Transfer-Encoding: c\u{212a}hunked\r\n", end, 400, E::ChunkedNotLast),
        refused_with("TE.TE: an unknown second coding", &format!("{te}Transfer-Encoding: x\r\n"), end, 400, E::ChunkedNotLast),
        refused_with("TE.TE: an unknown first coding", &format!("Transfer-Encoding: x\r\n{te}"), end, 501, E::UnknownEncoding),
        refused_with("TE.TE: a quoted comma", "Transfer-Encoding: x;a=\",chunked,\"\r\n", end, 400, E::ChunkedNotLast),
        refused_with("TE.TE: a name with a byte beyond ASCII", "Transfer-Encoding\u{a0}: chunked\r\n", end, 400, E::FieldName).once(),
        refused_with("TE.TE: the name begins with a space", "\x20Transfer-Encoding: chunked\r\n", end, 400, E::ObsFold).once(),
        // Two lengths.
        refused_with("CL.CL", "Content-Length: 0\r\nContent-Length: 36\r\n", "", 400, E::ContentLengthsDiffer),
        refused_with("CL.CL in one line", "Content-Length: 0, 36\r\n", "", 400, E::ContentLengthList),
        refused_with("CL: a space before the colon", "Content-Length : 36\r\n", "", 400, E::SpaceBeforeColon),
        refused_with("CL: a plus sign", "Content-Length: +36\r\n", "", 400, E::ContentLength),
        refused_with("CL: behind a bare CR", "A: b\rContent-Length: 36\r\n", "", 400, E::BareCr),
        refused_with("CL: behind a lone LF", "A: b\nContent-Length: 36\r\n", "", 400, E::LoneLf),
        refused_with("CL: a space inside", "Content-Length: 3 6\r\n", "", 400, E::ContentLength),
        refused_with("CL: a NUL inside", "Content-Length: 3\x006\r\n", "", 400, E::ControlCharacter).must(),
        // Chunks.
        refused_with(
            "a lone LF in a chunk extension (CVE-2025-55315 and its like): one reads a line, one an extension",
            te,
            "5;\nxxxxx\r\n0\r\n\r\n",
            400,
            E::ChunkExtension,
        ),
        refused_with(
            "a bare CR in a chunk extension",
            te,
            "5;a\rxxxxx\r\n0\r\n\r\n",
            400,
            E::ChunkSize,
        ).should(),
        refused_with(
            "two bytes that are taken for the end of a chunk without looking",
            te,
            "5\r\nhelloXX24\r\n",
            400,
            E::ChunkEnd,
        ),
        refused_with("a chunk size that overflows", te, "100000000000000000\r\n", 400, E::ChunkTooLarge),
        refused_with("a chunk size read to its first wrong character", te, "0x24\r\n", 400, E::ChunkSize),
        refused_with("a chunk size that is negative", te, "-1\r\n", 400, E::ChunkSize),
        refused_with("a chunk size with a space behind it", te, "0 \r\n\r\n", 400, E::ChunkExtension),
        refused_with("a last chunk that ends in LF LF", te, "0\n\n", 400, E::ChunkSize).should(),
        refused_with("the hidden request as a trailer", te, "0\r\n", 400, E::Trailer).once(),
        // The line and the fields around them.
        refused_with("an empty line of CR CR LF", "A: b\r\n\r", "", 400, E::BareCr).once(),
        refused_with("Host once more, behind a lone LF", "A: b\nHost: evil\r\n", "", 400, E::LoneLf).must(),
        refused_with("Host once more", "Host: evil\r\n", "", 400, E::HostTwice),
        case(
            "Host with a space before its colon",
            b"GET / HTTP/1.1\r\nHost : evil\r\nHost: a\r\n\r\n",
            [refused(400, E::SpaceBeforeColon)],
        ),
        case(
            "a second request line in the target",
            b"GET /\r\nHost: a\r\n\r\n HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        ),
        case(
            "an encoded line end in the target stays encoded",
            b"GET /%0d%0aHost:%20evil HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/%0d%0aHost:%20evil").of_host("a").answered(404)],
        ),
        case(
            "an upgrade to HTTP/2 that nobody here grants",
            b"GET /santai HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
              Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
            [get("/santai")],
        ).may(),
        case(
            "a framing field that Connection asks a gateway to drop",
            b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
            [echo(Length(5), b"hello")],
        ),
        case(
            "Host named in Connection",
            b"GET /santai HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n",
            [get("/santai").of_host("a")],
        ),
    ]
}
