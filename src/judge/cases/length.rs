//! RFC 9112 §6, RFC 9110 §8.6: Content-Length and Transfer-Encoding.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault as E;

/// A POST to `/echo` with these field lines and this content.
fn post(lines: &str, content: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{lines}\r\n{content}")
}

fn bad(name: &'static str, lines: &str, status: u16, why: E) -> Case {
    case(name, post(lines, "hello"), [refused(status, why)])
}

pub fn lengths() -> Vec<Case> {
    let wrong = |name, value: &str| {
        let lines = format!("Content-Length: {value}\r\n");
        case(name, post(&lines, "hello"), [refused(400, E::ContentLength)])
    };
    vec![
        case(
            "content of five bytes",
            post("Content-Length: 5\r\n", "hello"),
            [echo(Length(5), b"hello")],
        ),
        case(
            "no content, by its length",
            post("Content-Length: 0\r\n", ""),
            [echo(Length(0), b"")],
        ),
        case(
            "a request without either field has no content (§6.3)",
            post("", "GET /santai HTTP/1.1\r\nHost: a\r\n\r\n"),
            [echo(Length(0), b""), get("/santai")],
        ),
        case("content that is not all there", post("Content-Length: 5\r\n", "hel"), [INCOMPLETE]),
        case("content that has not begun", post("Content-Length: 5\r\n", ""), [INCOMPLETE]),
        case(
            "content that looks like a request is content",
            post("Content-Length: 27\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            [echo(Length(27), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")],
        ),
        case(
            "content of any bytes",
            [post("Content-Length: 5\r\n", "").as_bytes(), b"\0\r\n\xff\n"].concat(),
            [echo(Length(5), b"\0\r\n\xff\n")],
        ),
        case(
            "a GET may have content",
            b"GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            [get("/echo").with(|a| Accepted { framing: Length(2), content: b"hi", ..a })],
        ),
        case(
            "leading zeros are digits",
            post("Content-Length: 0005\r\n", "hello"),
            [echo(Length(5), b"hello")],
        ),
        case(
            "white space around the number",
            post("Content-Length: \t5 \r\n", "hello"),
            [echo(Length(5), b"hello")],
        ),
        case(
            "content in HTTP/1.0",
            b"POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
            [echo(Length(5), b"hello").closes()],
        ),
        wrong("an empty length", ""),
        wrong("a plus sign", "+5"),
        wrong("a minus sign", "-5"),
        wrong("minus zero", "-0"),
        wrong("a fraction", "5.0"),
        wrong("a hexadecimal number", "0x5"),
        wrong("hexadecimal digits", "5f"),
        wrong("a power of ten", "5e0"),
        wrong("two numbers", "5 5"),
        wrong("an underscore", "1_0"),
        wrong("a unit", "5B"),
        wrong("in quotes", "\"5\""),
        wrong("digits of another script", "\u{0665}"),
        bad(
            "2 to the 64th",
            "Content-Length: 18446744073709551616\r\n",
            400,
            E::ContentLengthTooLarge,
        ),
        bad(
            "2 to the 64th plus five, which is five for who counts in 64 bits",
            "Content-Length: 18446744073709551621\r\n",
            400,
            E::ContentLengthTooLarge,
        ),
        bad(
            "a hundred digits",
            &format!("Content-Length: {}\r\n", "9".repeat(100)),
            400,
            E::ContentLengthTooLarge,
        ),
        bad(
            "a list of one number twice, which a proxy may have made (RFC 9110 §8.6): refused",
            "Content-Length: 5, 5\r\n",
            400,
            E::ContentLengthList,
        )
        .may(),
        bad("a list of different numbers", "Content-Length: 5, 6\r\n", 400, E::ContentLengthList),
        bad("a list that begins with a comma", "Content-Length: ,5\r\n", 400, E::ContentLengthList)
            .should(),
        bad(
            "the same length twice: refused",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            400,
            E::ContentLengthTwice,
        ),
        bad(
            "two lengths that differ",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            400,
            E::ContentLengthsDiffer,
        ),
        bad(
            "one length in two spellings",
            "Content-Length: 5\r\nContent-Length: 05\r\n",
            400,
            E::ContentLengthsDiffer,
        )
        .should(),
        bad(
            "a length, and one that is none",
            "Content-Length: 5\r\nContent-Length: x\r\n",
            400,
            E::ContentLengthsDiffer,
        ),
    ]
}

pub fn encodings() -> Vec<Case> {
    let chunked = |name, lines: &str| {
        case(name, post(lines, "5\r\nhello\r\n0\r\n\r\n"), [echo(Chunked, b"hello")])
    };
    let te = |name, value: &str, status, why| {
        let lines = format!("Transfer-Encoding: {value}\r\n");
        case(name, post(&lines, "0\r\n\r\n"), [refused(status, why)])
    };
    vec![
        chunked("chunked", "Transfer-Encoding: chunked\r\n"),
        chunked("codings are case-insensitive (§7)", "transfer-encoding: CHUNKED\r\n"),
        chunked(
            "empty list members are passed over (RFC 9110 §5.6.1.2)",
            "Transfer-Encoding: , chunked,\r\n",
        )
        .should(),
        te("an empty list of codings", "", 400, E::ChunkedNotLast).should(),
        te("a list of commas", ",,", 400, E::ChunkedNotLast).should(),
        te("identity is gone since RFC 7230", "identity", 400, E::ChunkedNotLast),
        te("a coding that is not chunked in the end", "gzip", 400, E::ChunkedNotLast),
        te("chunked is not last", "chunked, gzip", 400, E::ChunkedNotLast),
        te("chunked, then identity", "chunked, identity", 400, E::ChunkedNotLast),
        te("chunked twice", "chunked, chunked", 400, E::ChunkedTwice),
        te(
            "a coding that is not known, inside chunked (§6.1): 501",
            "gzip, chunked",
            501,
            E::UnknownEncoding,
        ),
        te("identity inside chunked", "identity, chunked", 501, E::UnknownEncoding),
        bad(
            "chunked twice, in two lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            400,
            E::ChunkedTwice,
        ),
        bad(
            "chunked and then gzip, in two lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
            400,
            E::ChunkedNotLast,
        ),
        bad(
            "gzip and then chunked, in two lines, is one list",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            501,
            E::UnknownEncoding,
        ),
        case(
            "an empty line of codings beside chunked is one list",
            post("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            [echo(Chunked, b"")],
        )
        .should(),
        te("chunked has no parameters", "chunked;a=b", 400, E::ChunkedNotLast),
        te("chunked in quotes", "\"chunked\"", 400, E::ChunkedNotLast),
        te("a coding that ends in chunked", "xchunked", 400, E::ChunkedNotLast),
        te("a coding that begins with chunked", "chunkedx", 400, E::ChunkedNotLast),
        te("a space in chunked", "chun ked", 400, E::ChunkedNotLast),
        te(
            "chunked and a byte beyond ASCII, white space to some",
            "chunked\u{a0}",
            400,
            E::ChunkedNotLast,
        ),
        te("chunked inside a quoted parameter", "a;b=\", chunked\"", 400, E::ChunkedNotLast),
        case(
            "Transfer-Encoding in HTTP/1.0 (§6.1)",
            b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            [refused(400, E::EncodingInHttp10)],
        ),
        bad(
            "both fields (§6.1): refused",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            400,
            E::LengthAndEncoding,
        ),
        bad(
            "both fields, the other way round",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            400,
            E::LengthAndEncoding,
        ),
    ]
}
