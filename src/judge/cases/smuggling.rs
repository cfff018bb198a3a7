//! Requests made so that two recipients find the end of a message in two places, and what one
//! takes for content is another's next request (RFC 9112 §11.2). Each of them has bitten
//! somebody; here each has one reading, or none.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault::*;

/// What the attacker hides.
const HIDDEN: &str = "GET /santai HTTP/1.1\r\nHost: a\r\n\r\n";

fn hides(name: &'static str, lines: &str, content: &str, fault: Fault) -> Case {
    post(name, lines, format!("{content}{HIDDEN}"), fault)
}

/// Hidden behind the end of chunks.
fn coded(name: &'static str, lines: &str, fault: Fault) -> Case {
    hides(name, lines, "0\r\n\r\n", fault)
}

/// Hidden in what a length covers.
fn sized(name: &'static str, lines: &str, fault: Fault) -> Case {
    hides(name, lines, "", fault)
}

/// Hidden behind wrong chunks.
fn chunk(name: &'static str, content: &str, fault: Fault) -> Case {
    hides(name, "Transfer-Encoding: chunked\r\n", content, fault)
}

/// Hidden in content that the request does not want.
fn behind(name: &'static str, request: &str, ours: Verdict) -> Case {
    let head = format!("{request} HTTP/1.1\r\nHost: a\r\nContent-Length: {}", HIDDEN.len());
    case(name, format!("{head}\r\n\r\n{HIDDEN}"), ours.content(HIDDEN.as_bytes()))
}

pub fn cases() -> Vec<Case> {
    [codings(), lengths_and_lines()].into_iter().flatten().collect()
}

/// Which of the two fields is believed, and a coding that only one of the two recognises.
fn codings() -> Vec<Case> {
    vec![
        // Which of the two fields is believed.
        coded("CL.TE: the front believes the length, the back the coding",
            "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n", LengthAndEncoding),
        hides("TE.CL: the other way round",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "24\r\n", LengthAndEncoding),
        coded("CL.TE with a length of zero",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", LengthAndEncoding),
        // Content that nobody reads.
        behind("CL.0: content of a request that wants none is no request", "GET /", get("/")),
        behind("CL.0 against a refusal: 405 reads the content too",
            "PUT /santai", request("PUT", "/santai").answered(405)),
        behind("CL.0 against HEAD", "HEAD /santai", request("HEAD", "/santai")),
        behind("CL.0 against what was not found", "POST /none", request("POST", "/none").answered(404)),
        // A coding that only one of the two recognises.
        coded("TE.TE: a space before the colon", "Transfer-Encoding : chunked\r\n", SpaceBeforeColon),
        coded("TE.TE: a tab before the colon", "Transfer-Encoding\t: chunked\r\n", SpaceBeforeColon),
        coded("TE.TE: folded", "Transfer-Encoding:\r\n chunked\r\n", ObsFold),
        coded("TE.TE: the field hides behind a fold", "A: b\r\n Transfer-Encoding: chunked\r\n", ObsFold).once(),
        coded("TE.TE: the field hides behind a bare CR", "A: b\rTransfer-Encoding: chunked\r\n", BareCr).once(),
        coded("TE.TE: the field hides behind a lone LF", "A: b\nTransfer-Encoding: chunked\r\n", LoneLf),
        coded("TE.TE: a vertical tab", "Transfer-Encoding:\x0bchunked\r\n", ControlCharacter).must(),
        coded("TE.TE: a form feed", "Transfer-Encoding: \x0cchunked\r\n", ControlCharacter).must(),
        coded("TE.TE: a NUL behind", "Transfer-Encoding: chunked\x00\r\n", ControlCharacter),
        coded("TE.TE: an underscore makes another field of it, and then there is no content",
            "Transfer_Encoding: chunked\r\nContent-Length: x\r\n", ContentLength),
        coded("TE.TE: a letter of Unicode", "Transfer-Encoding: c\u{212a}hunked\r\n", ChunkedNotLast),
        coded("TE.TE: an unknown second coding",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", ChunkedNotLast),
        coded("TE.TE: an unknown first coding",
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", UnknownEncoding),
        coded("TE.TE: a quoted comma", "Transfer-Encoding: x;a=\",chunked,\"\r\n", ChunkedNotLast),
        coded("TE.TE: a name with a byte beyond ASCII", "Transfer-Encoding\u{a0}: chunked\r\n", FieldName).once(),
        coded("TE.TE: the name begins with a space", " Transfer-Encoding: chunked\r\n", ObsFold).once(),
    ]
}

/// Two lengths, wrong chunks, and the line and the fields around them.
fn lengths_and_lines() -> Vec<Case> {
    vec![
        // Two lengths.
        sized("CL.CL", "Content-Length: 0\r\nContent-Length: 36\r\n", ContentLengthsDiffer),
        sized("CL.CL in one line", "Content-Length: 0, 36\r\n", ContentLengthList),
        sized("CL: a space before the colon", "Content-Length : 36\r\n", SpaceBeforeColon),
        sized("CL: a plus sign", "Content-Length: +36\r\n", ContentLength),
        sized("CL: behind a bare CR", "A: b\rContent-Length: 36\r\n", BareCr),
        sized("CL: behind a lone LF", "A: b\nContent-Length: 36\r\n", LoneLf),
        sized("CL: a space inside", "Content-Length: 3 6\r\n", ContentLength),
        sized("CL: a NUL inside", "Content-Length: 3\x006\r\n", ControlCharacter).must(),
        // Chunks.
        chunk("a lone LF in a chunk extension (CVE-2025-55315 and its like): one reads a line, one an extension",
            "5;\nxxxxx\r\n0\r\n\r\n", ChunkExtension),
        chunk("a bare CR in a chunk extension", "5;a\rxxxxx\r\n0\r\n\r\n", ChunkSize).should(),
        chunk("two bytes that are taken for the end of a chunk without looking", "5\r\nhelloXX24\r\n", ChunkEnd),
        chunk("a chunk size that overflows", "100000000000000000\r\n", ChunkTooLarge),
        chunk("a chunk size read to its first wrong character", "0x24\r\n", ChunkSize),
        chunk("a chunk size that is negative", "-1\r\n", ChunkSize),
        chunk("a chunk size with a space behind it", "0 \r\n\r\n", ChunkExtension),
        chunk("a last chunk that ends in LF LF", "0\n\n", ChunkSize).should(),
        chunk("the hidden request as a trailer", "0\r\n", Trailer).once(),
        // The line and the fields around them.
        case("an empty line of CR CR LF",
            "POST /echo HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\r\nGET /santai HTTP/1.1\r\nHost: a\r\n\r\n", BareCr).once(),
        sized("Host once more, behind a lone LF", "A: b\nHost: evil\r\n", LoneLf).must(),
        sized("Host once more", "Host: evil\r\n", HostTwice),
        case("Host with a space before its colon",
            "GET / HTTP/1.1\r\nHost : evil\r\nHost: a\r\n\r\n", SpaceBeforeColon),
        case("a second request line in the target",
            "GET /\r\nHost: a\r\n\r\n HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        line("an encoded line end in the target stays encoded",
            "GET /%0d%0aHost:%20evil HTTP/1.1", get("/%0d%0aHost:%20evil").of_host("a").answered(404)),
        case("an upgrade to HTTP/2 that nobody here grants",
            "GET /santai HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
            get("/santai")).may(),
        post("a framing field that Connection asks a gateway to drop",
            "Connection: Content-Length\r\nContent-Length: 5\r\n", "hello", echo(b"hello")),
        case("Host named in Connection",
            "GET /santai HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n", get("/santai").of_host("a")),
    ]
}
