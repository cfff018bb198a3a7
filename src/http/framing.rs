//! Where a message ends (RFC 9112 §6, §7) and whether the connection persists after it (§9).
//!
//! The same rules serve requests and responses, servers and gateway: whoever reads a message
//! here reads the same length. Entry points: [`BodyFields`], [`Body::read`], [`Persistence`].
//! Note: `notes/http.md`.

use super::fields::{self, Field, is_text_char, is_token_char};
use super::{ParseError, Version};

/// How the end of the content is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes; no content is `Length(0)`.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the sender closes: responses only.
    UntilClose,
}

/// What Content-Length and Transfer-Encoding say, gathered field by field.
#[derive(Debug, Default)]
pub struct BodyFields<'a> {
    length: Option<(u64, &'a [u8])>,
    /// Whether Transfer-Encoding is there; if so, whether it ends in `chunked`.
    chunked: Option<bool>,
    unknown_coding: bool,
}

impl<'a> BodyFields<'a> {
    /// Takes note of the field if it is one of the two.
    pub fn add(&mut self, field: Field<'a>) -> Result<(), ParseError> {
        if field.is("content-length") {
            if field.value.contains(&b',') {
                return Err(ParseError::ContentLengthList);
            }
            if let Some((_, first)) = self.length {
                let same = first == field.value;
                return Err(if same {
                    ParseError::ContentLengthTwice
                } else {
                    ParseError::ContentLengthsDiffer
                });
            }
            let is_number = !field.value.is_empty() && field.value.iter().all(u8::is_ascii_digit);
            let length = match fields::digits(field.value) {
                Some(length) => length,
                None if is_number => return Err(ParseError::ContentLengthTooLarge),
                None => return Err(ParseError::ContentLength),
            };
            self.length = Some((length, field.value));
        } else if field.is("transfer-encoding") {
            self.chunked.get_or_insert(false);
            for coding in fields::list(field.value) {
                if self.chunked == Some(true) {
                    let twice = coding.eq_ignore_ascii_case(b"chunked");
                    return Err(if twice {
                        ParseError::ChunkedTwice
                    } else {
                        ParseError::ChunkedNotLast
                    });
                }
                if coding.eq_ignore_ascii_case(b"chunked") {
                    self.chunked = Some(true);
                } else {
                    self.unknown_coding = true;
                }
            }
        }
        Ok(())
    }

    /// Content-Length, if present.
    pub fn length(&self) -> Option<u64> {
        self.length.map(|(length, _)| length)
    }

    fn common(&self, version: Version) -> Result<Option<Framing>, ParseError> {
        match (self.chunked, self.length) {
            (Some(_), _) if version == Version::Http10 => Err(ParseError::EncodingInHttp10),
            (Some(_), Some(_)) => Err(ParseError::LengthAndEncoding),
            (Some(false), None) => Err(ParseError::ChunkedNotLast),
            (Some(true), None) if self.unknown_coding => Err(ParseError::UnknownEncoding),
            (Some(true), None) => Ok(Some(Framing::Chunked)),
            (None, Some((length, _))) => Ok(Some(Framing::Length(length))),
            (None, None) => Ok(None),
        }
    }

    /// The framing of a request (RFC 9112 §6.3): without either field it has no content.
    pub fn of_request(&self, version: Version) -> Result<Framing, ParseError> {
        Ok(self.common(version)?.unwrap_or(Framing::Length(0)))
    }

    /// The framing of a response to a request that was HEAD or not.
    pub fn of_response(
        &self,
        version: Version,
        status: u16,
        to_head: bool,
    ) -> Result<Framing, ParseError> {
        let framing = self.common(version)?.unwrap_or(Framing::UntilClose);
        let never_has_content = to_head || status < 200 || status == 204 || status == 304;
        Ok(if never_has_content { Framing::Length(0) } else { framing })
    }
}

/// What `Connection` says about the connection itself (RFC 9110 §7.6.1).
#[derive(Debug, Default, Clone, Copy)]
pub struct Persistence {
    close: bool,
    keep_alive: bool,
}

impl Persistence {
    /// Takes note of a Connection field's value, a list without regard to case.
    pub fn add(&mut self, value: &[u8]) {
        for option in fields::list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112 §9.3: close wins; 1.1 persists; 1.0 persists if it was asked for.
    pub fn keep_alive(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Bytes of chunk extensions accepted per message: nobody uses them, and unbounded they are a
/// way to keep a server busy with content that never grows (CVE-2023-39326).
const EXTENSIONS: u32 = 4096;
/// Bytes of the trailer section accepted.
const TRAILERS: u32 = 8192;

/// Reads content as it arrives: strips the framing, hands out the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    state: State,
    /// The size of the chunk whose extension is being read.
    pending: u64,
    extensions: u32,
    trailers: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    /// In the chunk size; how many digits so far.
    Size(u64, u8),
    Extension(Extension),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

/// In `;name=value` behind a chunk size (RFC 9112 §7.1.1), with white space where it may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    BeforeSemicolon,
    BeforeName,
    Name,
    BeforeEquals,
    BeforeValue,
    Value,
    Quoted,
    Escaped,
    AfterQuoted,
}

impl Body {
    /// At the start of content that is framed so.
    pub fn new(framing: Framing) -> Body {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Size(0, 0),
            Framing::UntilClose => State::UntilClose,
        };
        Body { state, pending: 0, extensions: 0, trailers: 0 }
    }

    /// Whether the content has ended.
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
                State::Length(left) => {
                    let (taken, left) = share(bytes.len() - used, left);
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok((used + taken, &bytes[used..used + taken]));
                }
                State::Data(left) => {
                    let (taken, left) = share(bytes.len() - used, left);
                    self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                    return Ok((used + taken, &bytes[used..used + taken]));
                }
                state => self.framing_byte(state, byte)?,
            };
            used += 1;
        }
        Ok((used, &bytes[used..used]))
    }

    /// One byte of chunked framing (RFC 9112 §7.1).
    fn framing_byte(&mut self, state: State, byte: u8) -> Result<State, ParseError> {
        Ok(match (state, byte) {
            (State::Size(size, digits), b) if b.is_ascii_hexdigit() => {
                // Leading zeros count too: a size is at most 16 digits.
                if digits == 16 {
                    return Err(ParseError::ChunkTooLarge);
                }
                let digit = (b as char).to_digit(16).unwrap_or(0);
                let size =
                    size.checked_mul(16).ok_or(ParseError::ChunkTooLarge)? + u64::from(digit);
                State::Size(size, digits + 1)
            }
            (State::Size(_, 0), _) => return Err(ParseError::ChunkSize),
            (State::Size(size, _), b'\r') => State::SizeLf(size),
            (State::Size(size, _), b';' | b' ' | b'\t') => {
                self.pending = size;
                State::Extension(match byte {
                    b';' => Extension::BeforeName,
                    _ => Extension::BeforeSemicolon,
                })
            }
            (State::Size(..), _) => return Err(ParseError::ChunkSize),
            (State::Extension(part), byte) => {
                self.extensions += 1;
                if self.extensions > EXTENSIONS {
                    return Err(ParseError::ChunkExtension);
                }
                match extension_byte(part, byte)? {
                    Some(part) => State::Extension(part),
                    None => State::SizeLf(self.pending),
                }
            }
            (State::SizeLf(0), b'\n') => State::TrailerStart,
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0, 0),
            (State::SizeLf(_), _) => return Err(ParseError::ChunkSize),
            (State::DataCr | State::DataLf, _) => return Err(ParseError::ChunkEnd),
            (state, byte) => {
                self.trailers += 1;
                if self.trailers > TRAILERS {
                    return Err(ParseError::TrailerTooLarge);
                }
                trailer_byte(state, byte)?
            }
        })
    }
}

/// What comes after `byte`; None: it was the CR that ends the line.
fn extension_byte(part: Extension, byte: u8) -> Result<Option<Extension>, ParseError> {
    use Extension::*;
    Ok(Some(match (part, byte) {
        (Name | Value | AfterQuoted, b'\r') => return Ok(None),
        (Name | Value | AfterQuoted | BeforeSemicolon | BeforeEquals, b';') => BeforeName,
        (BeforeName | BeforeSemicolon | BeforeEquals | BeforeValue, b' ' | b'\t') => part,
        (Name, b' ' | b'\t') => BeforeEquals,
        (Value | AfterQuoted, b' ' | b'\t') => BeforeSemicolon,
        (Name | BeforeEquals, b'=') => BeforeValue,
        (BeforeName | Name, b) if is_token_char(b) => Name,
        (BeforeValue | Value, b) if is_token_char(b) => Value,
        (BeforeValue, b'"') | (Escaped, b'"' | b'\\') => Quoted,
        (Quoted, b'"') => AfterQuoted,
        (Quoted, b'\\') => Escaped,
        (Quoted | Escaped, b) if is_text_char(b) => Quoted,
        _ => return Err(ParseError::ChunkExtension),
    }))
}

/// Trailers are checked and dropped: nothing here needs one, and a field that arrives behind
/// the content must not pass for one that came before it (RFC 9110 §6.5.1).
fn trailer_byte(state: State, byte: u8) -> Result<State, ParseError> {
    match (state, byte) {
        (State::TrailerStart, b'\r') => Ok(State::LastLf),
        (State::TrailerStart | State::TrailerName, b) if is_token_char(b) => Ok(State::TrailerName),
        (State::TrailerName, b':') => Ok(State::TrailerValue),
        (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
        (State::TrailerValue, b) if is_text_char(b) => Ok(State::TrailerValue),
        (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
        (State::LastLf, b'\n') => Ok(State::Done),
        _ => Err(ParseError::Trailer),
    }
}

fn share(available: usize, left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(available, |left| available.min(left));
    (taken, left - taken as u64)
}

/// Writes `data` as one chunk; nothing for no data, which would mean the end.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        write_hex(out, data.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// The chunk that ends chunked content, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn write_hex(out: &mut Vec<u8>, n: usize) {
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(n >> (4 * i)) & 15]);
    }
}
