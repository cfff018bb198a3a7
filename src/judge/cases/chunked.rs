//! RFC 9112 §7.1: chunked content.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault::*;

/// Chunked content for `/echo`.
fn chunks(name: &'static str, content: impl AsRef<[u8]>, ours: impl Into<Vec<Verdict>>) -> Case {
    post(name, "Transfer-Encoding: chunked\r\n", content, ours)
}

const BAD: (&str, &str) =
    ("RFC 9110 §5.6.3", "bad white space is removed and the rest read; some refuse it all");

pub fn sizes() -> Vec<Case> {
    vec![
        chunks("no data", "0\r\n\r\n", chunked(b"")),
        chunks("one chunk", "5\r\nhello\r\n0\r\n\r\n", chunked(b"hello")),
        chunks("two chunks", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", chunked(b"hello")),
        chunks("sizes are hexadecimal, in either case",
            "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", chunked(b"01234567890123456789a")),
        chunks("leading zeros", "0005\r\nhello\r\n000\r\n\r\n", chunked(b"hello")),
        chunks("data that looks like the end", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", chunked(b"\r\n0\r\n\r\n")),
        chunks("no size", "\r\nhello\r\n0\r\n\r\n", ChunkSize),
        chunks("a size that is no number", "x\r\n", ChunkSize),
        chunks("a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        chunks("a size with a plus sign", "+5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        chunks("a size with a minus sign", "-5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        chunks("a space before the size", " 5\r\nhello\r\n0\r\n\r\n", ChunkSize).should(),
        chunks("an underscore in the size", "0_5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        chunks("a fraction", "5.0\r\nhello\r\n0\r\n\r\n", ChunkSize),
        chunks("2 to the 64th plus five, which is five for who counts in 64 bits",
            "10000000000000005\r\nhello\r\n0\r\n\r\n", ChunkTooLarge),
        chunks("2 to the 32nd plus five, spelt with zeros until it is too long",
            "00000000100000005\r\nhello\r\n0\r\n\r\n", ChunkTooLarge).may(),
        chunks("zeros without end", "0".repeat(64), ChunkTooLarge).may(),
        chunks("nothing of the content", "", INCOMPLETE),
        chunks("half a size line", "5", INCOMPLETE),
        chunks("half a line end", "5\r", INCOMPLETE),
        chunks("half a chunk", "5\r\nhel", INCOMPLETE),
        chunks("a chunk without the next size", "5\r\nhello\r\n", INCOMPLETE),
        chunks("the largest size there is", "ffffffffffffffff\r\nhello", INCOMPLETE),
        chunks("the last chunk without the empty line", "0\r\n", INCOMPLETE),
        chunks("half an empty line at the end", "0\r\n\r", INCOMPLETE),
    ]
}

/// §7.1.1: unknown extensions are ignored, whatever their grammar; they end with the line. How many
/// bytes of them is the recipient's choice.
pub fn extensions() -> Vec<Case> {
    vec![
        chunks("an extension", "5;a=b\r\nhello\r\n0\r\n\r\n", chunked(b"hello")),
        chunks("an extension without a value", "5;a\r\nhello\r\n0\r\n\r\n", chunked(b"hello")),
        chunks("an extension in quotes", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", chunked(b"hello")),
        chunks("white space around the semicolon", "5 ;\ta\r\nhello\r\n0\r\n\r\n", chunked(b"hello")).should().because(BAD),
        chunks("white space around the equals sign", "5;a \t= b ;c\r\nhello\r\n0\r\n\r\n", chunked(b"hello")).should().because(BAD),
        chunks("an extension with an escaped quote",
            "5;a=\"b\\\"c\" ;d\r\nhello\r\n0\r\n\r\n", chunked(b"hello")).should().because(BAD),
        chunks("an extension without a name", "5;\r\nhello\r\n0\r\n\r\n", chunked(b"hello")).may(),
        chunks("an extension with an empty value", "5;a=\r\nhello\r\n0\r\n\r\n", chunked(b"hello")).may(),
        chunks("an extension whose quotes do not end", "5;a=\"b\r\nhello\r\n0\r\n\r\n", chunked(b"hello")).may(),
        chunks("an extension with white space at its end", "5;a=b \r\nhello\r\n0\r\n\r\n", chunked(b"hello")).may(),
        chunks("an extension with two values", "5;a=b=c\r\nhello\r\n0\r\n\r\n", chunked(b"hello")).may(),
        chunks("an extension of the last chunk", "0;a=b\r\n\r\n", chunked(b"")),
        chunks("a space behind the size", "5 \r\nhello\r\n0\r\n\r\n", ChunkExtension),
        chunks("a space and something else", "5 a\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        chunks("a size, a comma", "5,a\r\nhello\r\n0\r\n\r\n", ChunkSize),
        chunks("a NUL in an extension", "5;a=\x00\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        chunks("a lone LF in an extension", "5;a\nhello\r\n0\r\n\r\n", ChunkExtension),
        chunks("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", ChunkSize).should(),
        chunks("an extension without end", long("5;", b'a', 5000, ""), ChunkExtension).may(),
        chunks("many small extensions (CVE-2023-39326)",
            format!("1;{}\r\na\r\n", "b".repeat(100)).repeat(50), ChunkExtension).may(),
    ]
}

pub fn terminators() -> Vec<Case> {
    vec![
        chunks("a size line that ends in LF alone", "5\nhello\r\n0\r\n\r\n", ChunkSize).should(),
        chunks("a size line that ends in CR alone", "5\rhello\r\n0\r\n\r\n", ChunkSize),
        chunks("a size line that ends in CR CR LF", "5\r\r\nhello\r\n0\r\n\r\n", ChunkSize).should(),
        chunks("a chunk that ends in LF alone", "5\r\nhello\n0\r\n\r\n", ChunkEnd).should(),
        chunks("a chunk that ends in CR alone", "5\r\nhello\r0\r\n\r\n", ChunkEnd),
        chunks("a chunk without a line end", "5\r\nhello0\r\n\r\n", ChunkEnd),
        chunks("a chunk longer than it says", "5\r\nhello!\r\n0\r\n\r\n", ChunkEnd),
        chunks("a chunk shorter than it says", "5\r\nhell\r\n0\r\n\r\n", ChunkEnd).should(),
        chunks("two bytes instead of the line end", "5\r\nhelloXX0\r\n\r\n", ChunkEnd),
        chunks("an end of LF alone", "0\r\n\n", Trailer),
        chunks("a last size line that ends in LF alone", "0\n\r\n", ChunkSize).should(),
        chunks("an end of CR and something else", "0\r\n\rX", Trailer).may(),
    ]
}

/// §7.1.2: trailers are checked and dropped; none of them is merged into the fields.
pub fn trailers() -> Vec<Case> {
    vec![
        chunks("a trailer", "5\r\nhello\r\n0\r\nA: b\r\n\r\n", chunked(b"hello")),
        chunks("two trailers", "0\r\nA: b\r\nC:d\r\n\r\n", chunked(b"")),
        chunks("a length in a trailer changes nothing",
            "0\r\nContent-Length: 30\r\nHost: evil\r\n\r\nGET /santai HTTP/1.1\r\nHost: a\r\n\r\n",
            [chunked(b""), get("/santai")]).may(),
        chunks("a trailer without a colon", "0\r\nA\r\n\r\n", Trailer),
        chunks("a trailer without a name", "0\r\n: b\r\n\r\n", Trailer),
        chunks("a space before a trailer's colon", "0\r\nA : b\r\n\r\n", Trailer),
        chunks("a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", Trailer).may(),
        chunks("a trailer that ends in LF alone", "0\r\nA: b\n\r\n", Trailer),
        chunks("a bare CR in a trailer", "0\r\nA: b\rc\r\n\r\n", Trailer),
        chunks("a NUL in a trailer", "0\r\nA: \x00\r\n\r\n", Trailer),
        chunks("a request instead of trailers", "0\r\nGET / HTTP/1.1\r\n\r\n", Trailer),
        chunks("trailers without end", long("0\r\nA: ", b'b', 9000, ""), TrailerTooLarge),
        chunks("half a trailer", "0\r\nA: b", INCOMPLETE),
        chunks("a trailer without the empty line", "0\r\nA: b\r\n", INCOMPLETE),
    ]
}
