//! RFC 9112 §6, RFC 9110 §8.6: Content-Length and Transfer-Encoding.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault::*;
use std::fmt::Display;

/// Five bytes of content, and what Content-Length says of them.
fn length(name: &'static str, value: impl Display, ours: impl Into<Vec<Verdict>>) -> Case {
    post(name, format!("Content-Length: {value}\r\n"), "hello", ours)
}

/// No content in chunks, and what Transfer-Encoding says of it.
fn coding(name: &'static str, value: &str, ours: impl Into<Vec<Verdict>>) -> Case {
    post(name, format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n", ours)
}

/// Two lines that do not agree.
fn both(name: &'static str, lines: &str, fault: Fault) -> Case {
    post(name, lines, "hello", fault)
}

pub fn lengths() -> Vec<Case> {
    vec![
        length("content of five bytes", "5", echo(b"hello")),
        post("no content, by its length", "Content-Length: 0\r\n", "", echo(b"")),
        post("a request without either field has no content (§6.3)",
            "", "GET /santai HTTP/1.1\r\nHost: a\r\n\r\n", [echo(b""), get("/santai")]),
        post("content that is not all there", "Content-Length: 5\r\n", "hel", INCOMPLETE),
        post("content that has not begun", "Content-Length: 5\r\n", "", INCOMPLETE),
        post("content that looks like a request is content",
            "Content-Length: 27\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            echo(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
        post("content of any bytes", "Content-Length: 5\r\n", b"\x00\r\n\xff\n", echo(b"\0\r\n\xff\n")),
        case("a GET may have content",
            "GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", get("/echo").content(b"hi")),
        length("leading zeros are digits", "0005", echo(b"hello")),
        length("white space around the number", "\t5 ", echo(b"hello")),
        case("content in HTTP/1.0", "POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", echo(b"hello").closes()),
        length("an empty length", "", ContentLength),
        length("a plus sign", "+5", ContentLength),
        length("a minus sign", "-5", ContentLength),
        length("minus zero", "-0", ContentLength),
        length("a fraction", "5.0", ContentLength),
        length("a hexadecimal number", "0x5", ContentLength),
        length("hexadecimal digits", "5f", ContentLength),
        length("a power of ten", "5e0", ContentLength),
        length("two numbers", "5 5", ContentLength),
        length("an underscore", "1_0", ContentLength),
        length("a unit", "5B", ContentLength),
        length("in quotes", "\"5\"", ContentLength),
        length("digits of another script", "\u{665}", ContentLength),
        length("2 to the 64th", "18446744073709551616", ContentLengthTooLarge),
        length("2 to the 64th plus five, which is five for who counts in 64 bits",
            "18446744073709551621", ContentLengthTooLarge),
        length("a hundred digits", "9".repeat(100), ContentLengthTooLarge),
        length("a list of one number twice, which a proxy may have made (RFC 9110 §8.6): refused",
            "5, 5", ContentLengthList).may(),
        length("a list of different numbers", "5, 6", ContentLengthList),
        length("a list that begins with a comma", ",5", ContentLengthList).should(),
        post("the same length twice: refused",
            "Content-Length: 5\r\nContent-Length: 5\r\n", "hello", ContentLengthTwice),
        post("two lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello", ContentLengthsDiffer),
        post("one length in two spellings",
            "Content-Length: 5\r\nContent-Length: 05\r\n", "hello", ContentLengthsDiffer).should(),
        post("a length, and one that is none",
            "Content-Length: 5\r\nContent-Length: x\r\n", "hello", ContentLengthsDiffer),
    ]
}

pub fn encodings() -> Vec<Case> {
    vec![
        post("chunked", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", chunked(b"hello")),
        post("codings are case-insensitive (§7)",
            "transfer-encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n", chunked(b"hello")),
        post("empty list members are passed over (RFC 9110 §5.6.1.2)",
            "Transfer-Encoding: , chunked,\r\n", "5\r\nhello\r\n0\r\n\r\n", chunked(b"hello")).should(),
        coding("an empty list of codings", "", ChunkedNotLast).should(),
        coding("a list of commas", ",,", ChunkedNotLast).should(),
        coding("identity is gone since RFC 7230", "identity", ChunkedNotLast),
        coding("a coding that is not chunked in the end", "gzip", ChunkedNotLast),
        coding("chunked is not last", "chunked, gzip", ChunkedNotLast),
        coding("chunked, then identity", "chunked, identity", ChunkedNotLast),
        coding("chunked twice", "chunked, chunked", ChunkedTwice),
        coding("a coding that is not known, inside chunked (§6.1): 501", "gzip, chunked", UnknownEncoding),
        coding("identity inside chunked", "identity, chunked", UnknownEncoding),
        both("chunked twice, in two lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ChunkedTwice),
        both("chunked and then gzip, in two lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", ChunkedNotLast),
        both("gzip and then chunked, in two lines, is one list",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", UnknownEncoding),
        post("an empty line of codings beside chunked is one list",
            "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", chunked(b"")).should(),
        coding("chunked has no parameters", "chunked;a=b", ChunkedNotLast),
        coding("chunked in quotes", "\"chunked\"", ChunkedNotLast),
        coding("a coding that ends in chunked", "xchunked", ChunkedNotLast),
        coding("a coding that begins with chunked", "chunkedx", ChunkedNotLast),
        coding("a space in chunked", "chun ked", ChunkedNotLast),
        coding("chunked and a byte beyond ASCII, white space to some", "chunked\u{a0}", ChunkedNotLast),
        coding("chunked inside a quoted parameter", "a;b=\", chunked\"", ChunkedNotLast),
        case("Transfer-Encoding in HTTP/1.0 (§6.1)",
            "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", EncodingInHttp10),
        both("both fields (§6.1): refused", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndEncoding),
        both("both fields, the other way round",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", LengthAndEncoding),
    ]
}
