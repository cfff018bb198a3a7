//! HTTP/1.1 as bytes: requests and responses in and out, without a socket in sight.
//!
//! Strict where RFC 9112 leaves a choice: what two programs could read in two ways is refused,
//! since that difference is what request smuggling lives on. Note: `notes/http.md`.

// names and values: lines, tokens, lists (RFC 9110 §5, RFC 9112 §2 and §5)
pub(crate) mod fields;
// bytes to a request (RFC 9112 §3)
pub mod request;
// where a message ends, and whether the connection persists (RFC 9112 §6, §7, §9)
pub mod framing;
// a response to bytes, and for the gateway a response head from bytes (RFC 9112 §4)
pub mod response;
// HTTP-date (RFC 9110 §5.6.7)
pub mod date;

/// The minor version of HTTP/1.x; a higher one is treated as 1.1 (RFC 9110 §2.5).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http10, // the connection closes after an answer unless the client asked for keep-alive
    #[default]
    Http11, // the connection persists unless someone says close
}

/// How much of a head is accepted; each limit has its status.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the request line: 414 beyond. RFC 9112 §3 recommends at least 8000.
    pub request_line: usize,
    pub field_section: usize, // bytes of the field section: 431 beyond
    pub fields: usize,        // field lines: 431 beyond
}

impl Limits {
    /// Any size; an eighth of the largest number, so that sums of limits are numbers too.
    pub const NONE: Limits = {
        let any = usize::MAX / 8;
        Limits { request_line: any, field_section: any, fields: any }
    };

    pub const DEFAULT: Limits = Limits { request_line: 8192, field_section: 16384, fields: 100 };

    /// Whether [`fields::Fields::parse`] accepts a section of these lines, all of them valid.
    pub(crate) fn check(&self, section: &[u8]) -> Result<(), ParseError> {
        if section.len() > self.field_section {
            Err(ParseError::FieldSectionTooLarge)
        } else if section.iter().filter(|&&byte| byte == b'\n').count() > self.fields {
            Err(ParseError::TooManyFields)
        } else {
            Ok(())
        }
    }
}

/// A parser's result for the beginning of some bytes: a head and how long it is. None: it has not
/// arrived as a whole yet.
pub type Parsed<T> = Result<Option<(T, usize)>, ParseError>;

/// Makes [`ParseError`] of a table: the error's name, the status of the answer, the sentence.
macro_rules! parse_errors {
    ($($name:ident $status:literal $sentence:literal)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ParseError {
            $($name),*
        }

        impl ParseError {
            /// The status code of the answer, and what was wrong in one sentence, so that the
            /// author of the client can mend it.
            pub const fn parts(self) -> (u16, &'static str) {
                match self {
                    $(ParseError::$name => ($status, $sentence)),*
                }
            }
        }
    };
}

parse_errors! {
    LoneLf 400 "A line ends in LF alone; HTTP lines end in CR LF"
    BareCr 400 "A CR is not followed by LF"
    ControlCharacter 400 "The head contains a control character"
    RequestLine 400 "The request line is not: method SP request-target SP HTTP-version"
    Method 400 "The method is not a token"
    UnknownMethod 501 "This server does not know the method"
    RequestTarget 400 "The request-target contains a character that a URI must percent-encode"
    TargetForm 400 "The request-target has a form that does not go with this method"
    PercentEncoding 400 "A % in the request-target is not followed by two hexadecimal digits"
    Scheme 400 "The request-target names a scheme other than http"
    Authority 400 "The authority in the request-target is not host or host:port"
    Version 400 "The HTTP-version is not HTTP/ digit . digit"
    MajorVersion 505 "This server speaks HTTP/1.1 and HTTP/1.0 only"
    RequestLineTooLong 414 "The request line is longer than this server accepts"
    FieldSectionTooLarge 431 "The field section is larger than this server accepts"
    TooManyFields 431 "The field section has more lines than this server accepts"
    FieldName 400 "A field name is empty or not a token"
    SpaceBeforeColon 400 "There is a space between a field name and its colon"
    MissingColon 400 "A field line has no colon"
    ObsFold 400 "A field line starts with a space (obsolete line folding)"
    HostMissing 400 "Host is missing, which HTTP/1.1 requires"
    HostTwice 400 "Host appears more than once"
    HostInvalid 400 "Host is not host or host:port"
    ContentLength 400 "Content-Length is not a number made of digits alone"
    ContentLengthList 400 "Content-Length is a list"
    ContentLengthTooLarge 400 "Content-Length is too large a number"
    ContentLengthTwice 400 "Content-Length appears twice"
    ContentLengthsDiffer 400 "Content-Length appears twice with different values"
    LengthAndEncoding 400 "Both Content-Length and Transfer-Encoding are present"
    EncodingInHttp10 400 "Transfer-Encoding is present in an HTTP/1.0 message"
    ChunkedNotLast 400 "The last transfer coding is not chunked"
    ChunkedTwice 400 "The transfer coding chunked is applied more than once"
    UnknownEncoding 501 "This server knows no transfer coding but chunked"
    Expectation 417 "Expect asks for something other than 100-continue"
    MaxForwards 400 "Max-Forwards is not a number made of digits alone"
    ChunkSize 400 "A chunk size is not a hexadecimal number"
    ChunkTooLarge 400 "A chunk size is too large a number"
    ChunkExtension 400 "The chunk extensions are malformed or too long"
    ChunkEnd 400 "A chunk is not followed by CR LF where its size says it ends"
    Trailer 400 "The trailer section is malformed"
    TrailerTooLarge 431 "The trailer section is larger than this server accepts"
    ContentTooLarge 413 "The content is larger than this server accepts"
    EndedEarly 400 "The connection ended in the middle of a request"
    HeadTimeout 408 "The request did not arrive in time"
    ContentTimeout 408 "The content stopped arriving"
    StatusLine 502 "The status line is not: HTTP-version SP three digits SP reason"
}

impl ParseError {
    pub const fn status(self) -> u16 {
        self.parts().0
    }
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.parts().1)
    }
}
