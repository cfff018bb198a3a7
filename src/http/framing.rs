//! Where a message ends (RFC 9112 §6, §7) and whether the connection persists after it (§9).
//!
//! The same rules serve requests and responses, servers and gateway: whoever reads a message
//! here reads the same length. Entry points: `BodyFields`, [`Body::read`], `Persistence`.
//! Note: `notes/http.md`.

use super::fields::{self, Field, is_text_char, is_token_char};
use super::{ParseError, Version};

/// How the end of the content is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(u64), // after so many bytes; no content is `Length(0)`
    Chunked,     // after the last chunk
    UntilClose,  // when the sender closes: responses only
}

/// The meaning of Content-Length and Transfer-Encoding, gathered field by field.
#[derive(Debug, Default)]
pub(super) struct BodyFields<'a> {
    length: Option<(u64, &'a [u8])>, // the number, and how it was written
    /// Whether Transfer-Encoding is there; if so, whether it ends in `chunked`.
    chunked: Option<bool>,
    unknown_coding: bool,
}

impl<'a> BodyFields<'a> {
    /// Takes note of the field if it is one of the two.
    pub fn add(&mut self, field: Field<'a>) -> Result<(), ParseError> {
        let value = field.value;
        if field.is("content-length") {
            self.length = Some(match (self.length, fields::digits(value)) {
                _ if value.contains(&b',') => return Err(ParseError::ContentLengthList),
                (Some((_, first)), _) if first == value => {
                    return Err(ParseError::ContentLengthTwice);
                }
                (Some(_), _) => return Err(ParseError::ContentLengthsDiffer),
                (None, Some(number)) => (number, value),
                (None, None) if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                    return Err(ParseError::ContentLengthTooLarge);
                }
                (None, None) => return Err(ParseError::ContentLength),
            });
        } else if field.is("transfer-encoding") {
            let ends_chunked = self.chunked.get_or_insert(false);
            for coding in fields::list(value) {
                match (*ends_chunked, coding.eq_ignore_ascii_case(b"chunked")) {
                    (true, true) => return Err(ParseError::ChunkedTwice),
                    (true, false) => return Err(ParseError::ChunkedNotLast),
                    (false, true) => *ends_chunked = true,
                    (false, false) => self.unknown_coding = true,
                }
            }
        }
        Ok(())
    }

    pub fn length(&self) -> Option<u64> {
        self.length.map(|(length, _)| length)
    }

    /// Where the content ends (RFC 9112 §6.3); `otherwise`: where neither field is present.
    pub fn framing(&self, version: Version, otherwise: Framing) -> Result<Framing, ParseError> {
        match (self.chunked, self.length) {
            (Some(_), _) if version == Version::Http10 => Err(ParseError::EncodingInHttp10),
            (Some(_), Some(_)) => Err(ParseError::LengthAndEncoding),
            (Some(false), None) => Err(ParseError::ChunkedNotLast),
            (Some(true), None) if self.unknown_coding => Err(ParseError::UnknownEncoding),
            (Some(true), None) => Ok(Framing::Chunked),
            (None, Some((length, _))) => Ok(Framing::Length(length)),
            (None, None) => Ok(otherwise),
        }
    }
}

/// The members of `Connection` about the connection itself (RFC 9110 §7.6.1).
#[derive(Debug, Default)]
pub(super) struct Persistence {
    close: bool,
    keep_alive: bool,
}

impl Persistence {
    pub fn add(&mut self, value: &[u8]) {
        for option in fields::list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112 §9.3: close wins; 1.1 persists; 1.0 persists if it was asked for.
    pub fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Bytes of chunk extensions accepted per message: nobody uses them, and unbounded they are a
/// way to keep a server busy with content that never grows (CVE-2023-39326).
const EXTENSIONS: u32 = 4096;
/// Bytes of the trailer section accepted.
const TRAILERS: u32 = 8192;

/// Reads content as it arrives: strips the framing, hands out the data.
pub struct Body {
    state: State,
    extensions: u32, // bytes of chunk extensions so far
    trailers: u32,   // bytes of the trailer section so far
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    UntilClose,
    /// So many bytes are left; whether they are those of a chunk, not of the whole content.
    Data(u64, bool),
    Size(u64, u8), // in the chunk size; how many digits so far
    /// Behind the size; whether the semicolon that begins an extension has come.
    Extension(u64, bool),
    SizeLf(u64),
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

impl Body {
    pub fn new(framing: Framing) -> Body {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Data(left, false),
            Framing::Chunked => State::Size(0, 0),
            Framing::UntilClose => State::UntilClose,
        };
        Body { state, extensions: 0, trailers: 0 }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the sender's close ends the content as it should.
    pub fn ends_with_close(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// Takes framing and at most one run of data off the front of `bytes`: how many bytes were
    /// taken, and the data among them (their end). Zero bytes taken: more must arrive, or it is done.
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, &'a [u8]), ParseError> {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            self.state = match self.state {
                State::Done => break,
                State::UntilClose => return Ok((bytes.len(), &bytes[used..])),
                State::Data(left, of_chunk) => {
                    let available = bytes.len() - used;
                    let taken = usize::try_from(left).map_or(available, |n| n.min(available));
                    self.state = match left - taken as u64 {
                        0 if of_chunk => State::DataCr,
                        0 => State::Done,
                        left => State::Data(left, of_chunk),
                    };
                    return Ok((used + taken, &bytes[used..used + taken]));
                }
                state => self.framing_byte(state, byte)?,
            };
            used += 1;
        }
        Ok((used, &bytes[used..used]))
    }

    /// The state that follows `byte` in chunked framing (RFC 9112 §7.1).
    ///
    /// Extensions are skipped, as §7.1.1 demands of those that are not understood: in quotes or not,
    /// they end with the line. Trailers are checked and dropped: a field that arrives behind the
    /// content must not pass for one that came before it (RFC 9110 §6.5.1).
    fn framing_byte(&mut self, state: State, byte: u8) -> Result<State, ParseError> {
        use State::*;
        match state {
            Extension(..) => self.extensions += 1,
            TrailerStart | TrailerName | TrailerValue | TrailerLf | LastLf => self.trailers += 1,
            _ => {}
        }
        Ok(match (state, byte) {
            // Leading zeros count too: 16 digits are as many as fit into 64 bits.
            (Size(_, 16), byte) if byte.is_ascii_hexdigit() => {
                return Err(ParseError::ChunkTooLarge);
            }
            (Size(size, digits), byte) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Size((size << 4) | u64::from(digit), digits + 1)
            }
            (Size(size, 1..), b'\r') => SizeLf(size),
            (Size(size, 1..), b';' | b' ' | b'\t') => Extension(size, byte == b';'),
            (Size(..), _) => return Err(ParseError::ChunkSize),
            _ if self.extensions > EXTENSIONS => return Err(ParseError::ChunkExtension),
            (Extension(size, _), b';') => Extension(size, true),
            (Extension(..), b' ' | b'\t') => state,
            (Extension(size, true), b'\r') => SizeLf(size),
            (Extension(_, true), byte) if is_text_char(byte) => state,
            (Extension(..), _) => return Err(ParseError::ChunkExtension),
            (SizeLf(0), b'\n') => TrailerStart,
            (SizeLf(left), b'\n') => Data(left, true),
            (SizeLf(_), _) => return Err(ParseError::ChunkSize),
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size(0, 0),
            (DataCr | DataLf, _) => return Err(ParseError::ChunkEnd),
            _ if self.trailers > TRAILERS => return Err(ParseError::TrailerTooLarge),
            (TrailerStart, b'\r') => LastLf,
            (TrailerStart | TrailerName, byte) if is_token_char(byte) => TrailerName,
            (TrailerName, b':') => TrailerValue,
            (TrailerValue, b'\r') => TrailerLf,
            (TrailerValue, byte) if is_text_char(byte) => TrailerValue,
            (TrailerLf, b'\n') => TrailerStart,
            (LastLf, b'\n') => Done,
            _ => return Err(ParseError::Trailer),
        })
    }
}

impl Framing {
    /// Writes a piece of content; nothing for no data, which as a chunk would mean the end.
    pub fn write(self, out: &mut Vec<u8>, data: &[u8]) {
        if self != Framing::Chunked {
            out.extend_from_slice(data);
        } else if !data.is_empty() {
            out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the end of the content: if it is chunked, a last chunk without trailers.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self == Framing::Chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}
