//! What is wrong with a message, and what the RFCs ask of a server that receives it.
//!
//! Entry point: [`Fault::rule`]. Note: `notes/judge.md`.

use Demand::*;

/// What becomes of a server that takes a request which our own servers refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// It must not: a fail.
    Must,
    /// It may, if nothing that follows in the same bytes is answered as a request.
    Once,
    /// It should not, or the grammar forbids it and the RFC leaves what to do: a warning.
    Should,
    /// It may, and may also wait for more.
    May,
}

/// Makes [`Fault`] of a table: name, demand, section, why.
macro_rules! faults {
    ($($name:ident $demand:ident $section:literal $why:literal)*) => {
        /// What is wrong with a message; the names are those of `http::ParseError`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $($name),*
        }

        impl Fault {
            /// What a server must do about it, where that is written, and why.
            pub const fn rule(self) -> (Demand, &'static str, &'static str) {
                match self {
                    $(Fault::$name => ($demand, $section, $why)),*
                }
            }
        }
    };
}

impl Fault {
    /// The status of the answer that refuses it.
    pub const fn status(self) -> u16 {
        use Fault::*;
        match self {
            RequestLineTooLong => 414,
            Expectation => 417,
            FieldSectionTooLarge | TooManyFields | TrailerTooLarge => 431,
            UnknownMethod | UnknownEncoding => 501,
            MajorVersion => 505,
            _ => 400,
        }
    }
}

faults! {
    LoneLf Should "RFC 9112 §2.2" "a lone LF may count as a line end: two recipients can see two messages"
    BareCr Should "RFC 9112 §2.2" "a bare CR is invalid, or a space: to some programs it ends a line"
    ControlCharacter Should "RFC 9110 §5.5" "a control character is cut off or kept, and programs disagree on which"
    RequestLine Should "RFC 9112 §3" "an invalid request line should get 400: a lenient reader finds another request in it"
    Method Should "RFC 9110 §5.6.2" "a method is a token: other characters come from a mistake or an attack"
    UnknownMethod Should "RFC 9110 §9.1" "a method that is not known should get 501, or the client believes it was carried out"
    RequestTarget Should "RFC 9112 §3.2" "such characters are percent-encoded in a target, or two programs read two paths"
    TargetForm Should "RFC 9112 §3.2" "each method has its forms of target; another form is a mistake or an attack"
    PercentEncoding Should "RFC 3986 §2.1" "% stands before two hexadecimal digits, or two programs read two paths"
    Scheme Should "RFC 9110 §7.4" "a request for another scheme was meant for another server"
    Authority Should "RFC 9110 §4.2" "a user name in front of the host makes one site look like another"
    Version Should "RFC 9112 §2.3" "the version is HTTP/ digit . digit"
    MajorVersion Should "RFC 9110 §15.6.6" "with another major version the message may mean something else"
    RequestLineTooLong May "RFC 9112 §3" "without a limit one client fills the memory"
    FieldSectionTooLarge May "RFC 6585 §5" "without a limit one client fills the memory"
    TooManyFields May "RFC 6585 §5" "without a limit one client fills the memory"
    FieldName Should "RFC 9112 §5" "a field name is a token: what one program ignores another may take for Host"
    SpaceBeforeColon Must "RFC 9112 §5.1" "a server that ignores the field and one that takes it see two requests"
    MissingColon Should "RFC 9112 §5" "a line without a colon is no field: it may be the next request"
    ObsFold May "RFC 9112 §5.2" "a folded line continues the one above it, or is refused"
    HostMissing Must "RFC 9112 §3.2" "without Host nobody knows which site is meant"
    HostTwice Must "RFC 9112 §3.2" "of two Hosts, one program takes the first and one the last"
    HostInvalid Must "RFC 9112 §3.2" "Host is a host and a port; another value reaches caches and logs"
    ContentLength Must "RFC 9112 §6.3" "a length that is no number leaves the end to each reader: request smuggling"
    ContentLengthList Must "RFC 9112 §6.3" "of two lengths, each reader takes its own: request smuggling"
    ContentLengthTooLarge Must "RFC 9110 §8.6" "a number that overflows becomes another one: request smuggling"
    ContentLengthTwice May "RFC 9112 §6.3" "two lengths that are the same are one, or are refused"
    ContentLengthsDiffer Must "RFC 9112 §6.3" "of two lengths, each reader takes its own: request smuggling"
    LengthAndEncoding Once "RFC 9112 §6.1" "two readers believe two fields; so the connection must close: request smuggling"
    EncodingInHttp10 Once "RFC 9112 §6.1" "HTTP/1.0 knows no chunks; so the connection must close: request smuggling"
    ChunkedNotLast Must "RFC 9112 §6.3" "without chunked at the end nobody knows where the content ends: request smuggling"
    ChunkedTwice Should "RFC 9112 §6.1" "chunked is applied once; two readers would decode once and twice"
    UnknownEncoding Should "RFC 9112 §6.1" "a coding that is not known should get 501: its content cannot be read"
    Expectation May "RFC 9110 §10.1.1" "an expectation that is not known may get 417"
    MaxForwards May "RFC 9110 §7.6.2" "the number of hops is a number"
    ChunkSize Must "RFC 9112 §7.1" "a size that is no number leaves the end to each reader: request smuggling"
    ChunkTooLarge Must "RFC 9112 §7.1" "a number that overflows becomes another one: request smuggling"
    ChunkExtension Should "RFC 9112 §7.1.1" "an extension ends with the line; two readers can see two chunks"
    ChunkEnd Must "RFC 9112 §7.1" "a chunk ends where its size says: two readers can find two ends"
    Trailer Should "RFC 9112 §7.1.2" "trailers are field lines; anything else may be the next request"
    TrailerTooLarge May "RFC 6585 §5" "without a limit one client fills the memory"
    StatusLine Must "RFC 9112 §2.3" "a gateway must not pass on a start line that it has not understood"
}
