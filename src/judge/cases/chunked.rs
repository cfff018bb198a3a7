//! RFC 9112 §7.1: chunked content.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault as E;

/// Chunked content for `/echo`.
fn chunks(content: &str) -> Vec<u8> {
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}{content}").into_bytes()
}

fn good(name: &'static str, content: &str, data: &'static [u8]) -> Case {
    case(name, chunks(content), [echo(Chunked, data)])
}

fn bad(name: &'static str, content: &str, why: E) -> Case {
    case(name, chunks(content), [refused(400, why)])
}

fn partial(name: &'static str, content: &str) -> Case {
    case(name, chunks(content), [INCOMPLETE])
}

pub fn sizes() -> Vec<Case> {
    vec![
        good("no data", "0\r\n\r\n", b""),
        good("one chunk", "5\r\nhello\r\n0\r\n\r\n", b"hello"),
        good("two chunks", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        good(
            "sizes are hexadecimal, in either case",
            "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
            b"01234567890123456789a",
        ),
        good("leading zeros", "0005\r\nhello\r\n000\r\n\r\n", b"hello"),
        good("data that looks like the end", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
        bad("no size", "\r\nhello\r\n0\r\n\r\n", E::ChunkSize),
        bad("a size that is no number", "x\r\n", E::ChunkSize),
        bad("a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n", E::ChunkSize),
        bad("a size with a plus sign", "+5\r\nhello\r\n0\r\n\r\n", E::ChunkSize),
        bad("a size with a minus sign", "-5\r\nhello\r\n0\r\n\r\n", E::ChunkSize),
        bad("a space before the size", " 5\r\nhello\r\n0\r\n\r\n", E::ChunkSize).should(),
        bad("an underscore in the size", "0_5\r\nhello\r\n0\r\n\r\n", E::ChunkSize),
        bad("a fraction", "5.0\r\nhello\r\n0\r\n\r\n", E::ChunkSize),
        bad(
            "2 to the 64th plus five, which is five for who counts in 64 bits",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
            E::ChunkTooLarge,
        ),
        bad(
            "2 to the 32nd plus five, spelt with zeros until it is too long",
            "00000000100000005\r\nhello\r\n0\r\n\r\n",
            E::ChunkTooLarge,
        )
        .may(),
        bad("zeros without end", &"0".repeat(64), E::ChunkTooLarge).may(),
        partial("nothing of the content", ""),
        partial("half a size line", "5"),
        partial("half a line end", "5\r"),
        partial("half a chunk", "5\r\nhel"),
        partial("a chunk without the next size", "5\r\nhello\r\n"),
        partial("the largest size there is", "ffffffffffffffff\r\nhello"),
        partial("the last chunk without the empty line", "0\r\n"),
        partial("half an empty line at the end", "0\r\n\r"),
    ]
}

const BAD_WHITE_SPACE: &str = "bad white space is removed and the rest read; some refuse it all";

/// §7.1.1: unknown extensions are ignored, whatever their grammar; they end with the line. How many
/// bytes of them is the recipient's choice.
pub fn extensions() -> Vec<Case> {
    let hello = "hello\r\n0\r\n\r\n";
    vec![
        good("an extension", &format!("5;a=b\r\n{hello}"), b"hello"),
        good("an extension without a value", &format!("5;a\r\n{hello}"), b"hello"),
        good("an extension in quotes", &format!("5;a=\"b;c\"\r\n{hello}"), b"hello"),
        good("white space around the semicolon", &format!("5 ;\ta\r\n{hello}"), b"hello")
            .because("RFC 9110 §5.6.3", BAD_WHITE_SPACE)
            .should(),
        good("white space around the equals sign", &format!("5;a \t= b ;c\r\n{hello}"), b"hello")
            .because("RFC 9110 §5.6.3", BAD_WHITE_SPACE)
            .should(),
        good(
            "an extension with an escaped quote",
            &format!("5;a=\"b\\\"c\" ;d\r\n{hello}"),
            b"hello",
        )
        .because("RFC 9110 §5.6.3", BAD_WHITE_SPACE)
        .should(),
        good("an extension without a name", &format!("5;\r\n{hello}"), b"hello").may(),
        good("an extension with an empty value", &format!("5;a=\r\n{hello}"), b"hello").may(),
        good("an extension whose quotes do not end", &format!("5;a=\"b\r\n{hello}"), b"hello")
            .may(),
        good("an extension with white space at its end", &format!("5;a=b \r\n{hello}"), b"hello")
            .may(),
        good("an extension with two values", &format!("5;a=b=c\r\n{hello}"), b"hello").may(),
        good("an extension of the last chunk", "0;a=b\r\n\r\n", b""),
        bad("a space behind the size", &format!("5 \r\n{hello}"), E::ChunkExtension),
        bad("a space and something else", &format!("5 a\r\n{hello}"), E::ChunkExtension),
        bad("a size, a comma", &format!("5,a\r\n{hello}"), E::ChunkSize),
        bad("a NUL in an extension", &format!("5;a=\0\r\n{hello}"), E::ChunkExtension),
        bad("a lone LF in an extension", &format!("5;a\n{hello}"), E::ChunkExtension),
        bad("a bare CR in an extension", &format!("5;a\rb\r\n{hello}"), E::ChunkSize).should(),
        bad("an extension without end", &format!("5;{}", "a".repeat(5000)), E::ChunkExtension)
            .may(),
        bad(
            "many small extensions (CVE-2023-39326)",
            &format!("1;{}\r\na\r\n", "b".repeat(100)).repeat(50),
            E::ChunkExtension,
        )
        .may(),
    ]
}

pub fn terminators() -> Vec<Case> {
    vec![
        bad("a size line that ends in LF alone", "5\nhello\r\n0\r\n\r\n", E::ChunkSize).should(),
        bad("a size line that ends in CR alone", "5\rhello\r\n0\r\n\r\n", E::ChunkSize),
        bad("a size line that ends in CR CR LF", "5\r\r\nhello\r\n0\r\n\r\n", E::ChunkSize)
            .should(),
        bad("a chunk that ends in LF alone", "5\r\nhello\n0\r\n\r\n", E::ChunkEnd).should(),
        bad("a chunk that ends in CR alone", "5\r\nhello\r0\r\n\r\n", E::ChunkEnd),
        bad("a chunk without a line end", "5\r\nhello0\r\n\r\n", E::ChunkEnd),
        bad("a chunk longer than it says", "5\r\nhello!\r\n0\r\n\r\n", E::ChunkEnd),
        bad("a chunk shorter than it says", "5\r\nhell\r\n0\r\n\r\n", E::ChunkEnd).should(),
        bad("two bytes instead of the line end", "5\r\nhelloXX0\r\n\r\n", E::ChunkEnd),
        bad("an end of LF alone", "0\r\n\n", E::Trailer),
        bad("a last size line that ends in LF alone", "0\n\r\n", E::ChunkSize).should(),
        bad("an end of CR and something else", "0\r\n\rX", E::Trailer).may(),
    ]
}

/// §7.1.2: trailers are checked and dropped; none of them is merged into the fields.
pub fn trailers() -> Vec<Case> {
    vec![
        good("a trailer", "5\r\nhello\r\n0\r\nA: b\r\n\r\n", b"hello"),
        good("two trailers", "0\r\nA: b\r\nC:d\r\n\r\n", b""),
        case(
            "a length in a trailer changes nothing",
            chunks(
                "0\r\nContent-Length: 30\r\nHost: evil\r\n\r\nGET /santai HTTP/1.1\r\nHost: a\r\n\r\n",
            ),
            [echo(Chunked, b""), get("/santai")],
        ).may(),
        bad("a trailer without a colon", "0\r\nA\r\n\r\n", E::Trailer),
        bad("a trailer without a name", "0\r\n: b\r\n\r\n", E::Trailer),
        bad("a space before a trailer's colon", "0\r\nA : b\r\n\r\n", E::Trailer),
        bad("a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", E::Trailer).may(),
        bad("a trailer that ends in LF alone", "0\r\nA: b\n\r\n", E::Trailer),
        bad("a bare CR in a trailer", "0\r\nA: b\rc\r\n\r\n", E::Trailer),
        bad("a NUL in a trailer", "0\r\nA: \0\r\n\r\n", E::Trailer),
        bad("a request instead of trailers", "0\r\nGET / HTTP/1.1\r\n\r\n", E::Trailer),
        case(
            "trailers without end",
            chunks(&format!("0\r\nA: {}", "b".repeat(9000))),
            [refused(431, E::TrailerTooLarge)],
        ),
        partial("half a trailer", "0\r\nA: b"),
        partial("a trailer without the empty line", "0\r\nA: b\r\n"),
    ]
}
