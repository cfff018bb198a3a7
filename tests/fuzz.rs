//! Hundreds of thousands of damaged messages, the same ones in every run: nothing panics, no
//! verdict depends on how the bytes are cut, what is accepted is beyond doubt, and what the load
//! balancer would forward says the same as what it was told.
//!
//! The seeds are the cases of `src/judge/cases/`; the damage is what attackers do: a byte changed, a
//! delimiter put in, a piece doubled, two messages spliced.

use crate::recipient::{Heard, Recipient, conversation};
use crate::support::Random;
use http::framing::{Body, Framing};
use http::request::{self, Method, Request};
use http::response;
use http::{Limits, ParseError, Version};
use progjar::http;
use progjar::judge::cases;
use progjar::lb::rewrite;
use progjar::net::clock::Clock;
use progjar::site::Site;
use std::path::Path;
use std::time::Instant;

const REQUESTS: usize = 400_000;
const RESPONSES: usize = 300_000;
const CONVERSATIONS: usize = 100_000;

/// What is put in: the delimiters and words on which framing hangs, and fields that a gateway
/// does not pass on as they are.
const WORDS: [&[u8]; 48] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b",",
    b";",
    b"/",
    b"%",
    b"*",
    b"?",
    b"@",
    b"[",
    b"0",
    b"f",
    b"-",
    b"+",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"chunked",
    b"close",
    b"keep-alive",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"Host: b\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: te, x-a, date\r\n",
    b"Keep-Alive: timeout=5\r\n",
    b"Proxy-Connection: close\r\n",
    b"TE: trailers\r\n",
    b"Trailer: x-a\r\n",
    b"Upgrade: h2c\r\n",
    b"Via: ,1.0 a,\r\n",
    b"X-Forwarded-For:\r\n",
    b"X-A: b\r\n",
    b"Max-Forwards: 3\r\n",
    b"Expect: 100-continue\r\n",
    b"Date: yesterday\r\n",
    b"http://a",
];

/// One to four injuries.
fn damage(message: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(message.len() + 1);
        let end = (at + 1 + random.below(12)).min(message.len());
        match random.below(8) {
            0 if at < end => message[at] ^= 1 << random.below(8),
            1 if at < end => message[at] = random.next() as u8,
            2 => drop(message.drain(at..end)),
            3 => {
                let piece = message[at..end].to_vec();
                message.splice(at..at, piece);
            }
            4 => {
                let from = random.below(other.len() + 1);
                message.truncate(at);
                message.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = WORDS[random.below(WORDS.len())];
                message.splice(at..at, word.iter().copied());
            }
        }
    }
}

/// The same bytes in up to six pieces.
fn cut<'a>(bytes: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = (0..1 + random.below(5))
        .map(|_| random.below(bytes.len() + 1))
        .chain([0, bytes.len()])
        .collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

/// Damaged messages, without end.
struct Damaged {
    seeds: Vec<Vec<u8>>,
    random: Random,
}

impl Damaged {
    fn new(seeds: impl Iterator<Item = Vec<u8>>, seed: u64) -> Damaged {
        Damaged { seeds: seeds.filter(|s| s.len() < 600).collect(), random: Random::new(seed) }
    }

    fn requests(seed: u64) -> Damaged {
        Damaged::new(cases::requests().into_iter().map(|c| c.bytes), seed)
    }

    fn next(&mut self) -> Vec<u8> {
        let mut message = self.seeds[self.random.below(self.seeds.len())].clone();
        let other = &self.seeds[self.random.below(self.seeds.len())];
        damage(&mut message, other, &mut self.random);
        message
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn no_verdict_on_a_request_depends_on_how_it_is_cut() {
    let (mut damaged, mut random) = (Damaged::requests(1), Random::new(2));
    let start = Instant::now();
    let mut accepted = 0;
    for _ in 0..REQUESTS {
        let message = damaged.next();
        let whole = Recipient::of(&[&message]).verdicts();
        let in_pieces = Recipient::of(&cut(&message, &mut random)).verdicts();
        assert_eq!(in_pieces, whole, "{}", shown(&message));
        accepted += whole.0.iter().filter(|h| !matches!(h, Heard::Refused(..))).count();
        check_by_the_letter(&message);
    }
    // A fuzz that is always refused at the first byte would test nothing.
    assert!(accepted > REQUESTS / 20, "only {accepted} requests were accepted");
    report("requests", REQUESTS, start);
}

fn report(what: &str, count: usize, start: Instant) {
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!("{count} {what}, {rate:.0} per second");
}

/// A second opinion on a head that was accepted: no state, no cleverness, one rule per line.
fn check_by_the_letter(message: &[u8]) {
    let Ok(Some((request, used))) = request::parse(message, &Limits::DEFAULT) else {
        return;
    };
    let shown = shown(message);
    let head = message[..used].strip_prefix(b"\r\n").unwrap_or(&message[..used]);
    let head: String = head.iter().map(|&b| b as char).collect();
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines.split_off(lines.len() - 2), ["", ""], "{shown}");
    let is_text = |c: char| c == '\t' || !c.is_ascii_control();
    assert!(lines.iter().all(|l| l.chars().all(is_text)), "{shown}");

    let first: Vec<&str> = lines[0].split(' ').collect();
    assert_eq!((first.len(), first[0]), (3, request.method.name()), "{shown}");
    assert!(first[2].starts_with("HTTP/1."), "{shown}");
    let is_1_0 = first[2] == "HTTP/1.0";
    assert!(!first[1].contains(['#', '\\', '"', '<', '>']), "{shown}");

    let fields: Vec<(String, &str)> = lines[1..]
        .iter()
        .map(|line| line.split_once(':').expect(&shown))
        .map(|(name, value)| (name.to_ascii_lowercase(), trim_ows(value)))
        .collect();
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    for (name, _) in &fields {
        assert!(!name.is_empty() && name.chars().all(is_token), "{shown}");
    }
    let values = |name: &str| -> Vec<&str> {
        let named = fields.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| *value).collect()
    };
    let (hosts, lengths) = (values("host"), values("content-length"));
    assert!(hosts.len() == 1 || (is_1_0 && hosts.is_empty()), "{shown}");
    assert!(hosts.iter().all(|h| !h.is_empty() && !h.contains(['/', '@', ' '])), "{shown}");
    let codings = values("transfer-encoding");
    let framing = match (&lengths[..], &codings[..]) {
        ([], []) => Framing::Length(0),
        ([length], []) => Framing::Length(length.parse().expect(&shown)),
        ([], codings) => {
            let list = codings.join(",").to_ascii_lowercase();
            let mut members = list.split(',').map(trim_ows).filter(|m| !m.is_empty());
            assert_eq!((members.next(), members.next()), (Some("chunked"), None), "{shown}");
            assert!(!is_1_0, "{shown}");
            Framing::Chunked
        }
        _ => panic!("framing is in doubt: {shown}"),
    };
    assert_eq!(request.framing, framing, "{shown}");
    let options = values("connection").join(",").to_ascii_lowercase();
    let has = |option| options.split(',').any(|o| trim_ows(o) == option);
    let keep_alive = !has("close") && (!is_1_0 || has("keep-alive"));
    assert_eq!(request.keep_alive, keep_alive, "{shown}");
}

/// Optional white space is SP and HTAB, nothing else that Unicode calls white.
fn trim_ows(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[test]
fn no_conversation_depends_on_how_the_requests_are_cut() {
    let site = Site::new("test", Path::new("www"), 1024).expect("www is there");
    let (clock, mut random) = (Clock::read(), Random::new(3));
    let mut damaged = Damaged::requests(4);
    let start = Instant::now();
    for _ in 0..CONVERSATIONS {
        let message = damaged.next();
        let whole = conversation(&site, &clock, &[&message]);
        let in_pieces = conversation(&site, &clock, &cut(&message, &mut random));
        let text = |(said, waits): &(Vec<u8>, _)| format!("{waits:?} {}", shown(said));
        assert_eq!(text(&in_pieces), text(&whole), "{}", shown(&message));
    }
    report("conversations", CONVERSATIONS, start);
}

/// Names in lower case, values without the white space around them.
type Letters = Vec<(String, String)>;

/// The fields of a head, read without the program's own parser.
fn by_the_letter(head: &[u8]) -> Letters {
    let text: String = head.iter().map(|&b| b as char).collect();
    let fields = text.trim_start().split("\r\n").skip(1);
    let fields = fields.filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_ascii_lowercase(), trim_ows(value).to_owned())).collect()
}

fn values<'a>(fields: &'a Letters, name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = fields.iter().filter(move |(n, _)| n == name);
    named.map(|(_, value)| value.as_str())
}

/// The members of all lists of this name; empty ones are none.
fn members<'a>(fields: &'a Letters, name: &'a str) -> impl Iterator<Item = &'a str> {
    let all = values(fields, name).flat_map(|value| value.split(','));
    all.map(trim_ows).filter(|member| !member.is_empty())
}

/// Fields of one connection (RFC 9110 §7.6.1), those of framing, and those that the gateway
/// writes in its own words.
const NOT_AS_THEY_ARE: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "transfer-encoding",
    "content-length",
    "via",
];

/// The fields that are passed on as they are: neither of one connection, by name or because
/// Connection says so, nor in the gateway's words.
fn passed_on(fields: &Letters, in_own_words: &[&str]) -> Letters {
    let is_nominated =
        |name: &str| members(fields, "connection").any(|m| m.eq_ignore_ascii_case(name));
    let stays = |name: &str| {
        NOT_AS_THEY_ARE.contains(&name) || in_own_words.contains(&name) || is_nominated(name)
    };
    fields.iter().filter(|(name, _)| !stays(name)).cloned().collect()
}

/// Adds a field that grows by a member at each gateway.
fn add_list(to: &mut Letters, of: &Letters, name: &str, own: &str) {
    let list: Vec<_> = members(of, name).chain([own]).collect();
    to.push((name.to_owned(), list.join(", ")));
}

/// Every field of a forwarded request, in order.
fn expected_of_request(told: &Letters, request: &Request) -> Letters {
    let host = request.host.unwrap_or("127.0.0.1:44444");
    let mut expected = vec![("host".to_owned(), host.to_owned())];
    let in_own_words = ["host", "expect", "max-forwards", "x-forwarded-for"];
    expected.extend(passed_on(told, &in_own_words));
    add_list(&mut expected, told, "x-forwarded-for", "127.0.0.1");
    add_list(&mut expected, told, "via", "1.1 lb");
    let mut add = |name: &str, value: String| expected.push((name.to_owned(), value));
    if let Some(hops) = values(told, "max-forwards").last() {
        let hops: u64 = hops.parse().expect("it is a number");
        add("max-forwards", hops.saturating_sub(1).to_string());
    }
    let has_content = request.framing != Framing::Length(0);
    let speaks_1_1 = request.version == Version::Http11;
    if speaks_1_1 && has_content && values(told, "expect").next().is_some() {
        add("expect", "100-continue".to_owned());
    }
    match request.framing {
        Framing::Length(0) if !["POST", "PUT", "PATCH"].contains(&request.method.name()) => {}
        Framing::Length(length) => add("content-length", length.to_string()),
        _ => add("transfer-encoding", "chunked".to_owned()),
    }
    expected
}

/// Every field of a response that is passed on, in order.
fn expected_of_response(told: &Letters, status: u16, date: &str, to: Version) -> Letters {
    let mut expected = passed_on(told, &[]);
    if values(&expected, "date").next().is_none() {
        expected.push(("date".to_owned(), date.to_owned()));
    }
    add_list(&mut expected, told, "via", "1.1 lb");
    let mut add = |name: &str, value: &str| expected.push((name.to_owned(), value.to_owned()));
    let length = values(told, "content-length").next();
    let length = length.map(|l| l.parse::<u64>().expect("it is a number").to_string());
    let ends_with_close = match (length, status) {
        (_, 204) => false,
        (Some(length), _) => {
            add("content-length", &length);
            false
        }
        (None, 304) => false,
        (None, _) if to == Version::Http11 => {
            add("transfer-encoding", "chunked");
            false
        }
        (None, _) => true,
    };
    match to {
        _ if ends_with_close => add("connection", "close"),
        Version::Http10 => add("connection", "keep-alive"),
        Version::Http11 => {}
    }
    expected
}

/// Content and where it ended; None if it is not whole.
fn content_of(framing: Framing, bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut content, mut at) = (Body::new(framing), Vec::new(), 0);
    while !body.is_done() {
        match body.read(&bytes[at..]) {
            Ok((0, _)) if body.ends_with_close() => break,
            Ok((0, _)) | Err(_) => return None,
            Ok((used, data)) => {
                content.extend_from_slice(data);
                at += used;
            }
        }
    }
    Some((content, at))
}

#[test]
fn what_the_load_balancer_forwards_is_what_it_was_told() {
    let mut damaged = Damaged::requests(5);
    let start = Instant::now();
    let mut forwarded = 0;
    for _ in 0..REQUESTS {
        let message = damaged.next();
        let Ok(Some((request, used))) = request::parse(&message, &Limits::DEFAULT) else {
            continue;
        };
        let Some((content, _)) = content_of(request.framing, &message[used..]) else {
            continue;
        };
        // CONNECT and TRACE are not forwarded.
        if matches!(request.method, Method::Connect | Method::Trace) {
            continue;
        }
        let mut out = Vec::new();
        let from =
            rewrite::ToBackend { peer: "127.0.0.1", via: "lb", authority: "127.0.0.1:44444" };
        let written = rewrite::write_request(&mut out, &request, &from, &Limits::DEFAULT);
        written.expect("the seeds are short");
        request.framing.write(&mut out, &content);
        request.framing.finish(&mut out);
        check_forwarded(&message[..used], &request, &content, &out);
        forwarded += 1;
    }
    assert!(forwarded > REQUESTS / 20, "only {forwarded} requests were forwarded");
    report("requests for the load balancer", REQUESTS, start);
}

/// `out` is one request and nothing else, and says what `request` said.
fn check_forwarded(head: &[u8], request: &Request, content: &[u8], out: &[u8]) {
    let shown = &shown(head);
    let parsed = request::parse(out, &Limits::DEFAULT);
    let Ok(Some((again, used))) = parsed else {
        panic!("{shown} became {}: {parsed:?}", out.escape_ascii());
    };
    let target = match request.target {
        target if target.starts_with('?') => format!("/{target}"),
        target => target.to_owned(),
    };
    assert_eq!((again.method, again.target), (request.method, &*target), "{shown}");
    assert_eq!(again.version, Version::Http11, "{shown}");
    let expected = expected_of_request(&by_the_letter(head), request);
    assert_eq!(by_the_letter(&out[..used]), expected, "{shown}");
    let (same, end) = content_of(again.framing, &out[used..]).expect(shown);
    assert_eq!((same.as_slice(), used + end), (content, out.len()), "{shown}");
}

/// A response, as a gateway reads it: status, framing and content, whether it is whole, and
/// what is left over.
type HeardResponse = Result<Option<(u16, Framing, Vec<u8>, bool, usize)>, ParseError>;

fn hear_response(pieces: &[&[u8]]) -> HeardResponse {
    let (mut unread, mut answer) = (Vec::new(), None);
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            let used = match &mut answer {
                None => match response::parse(&unread, &Limits::DEFAULT, false)? {
                    None => 0,
                    Some((head, used)) => {
                        let body = Body::new(head.framing);
                        answer = Some((head.status, head.framing, Vec::new(), body));
                        used
                    }
                },
                Some((_, _, content, body)) => {
                    let (used, data) = body.read(&unread)?;
                    content.extend_from_slice(data);
                    used
                }
            };
            unread.drain(..used);
            if used == 0 {
                break;
            }
        }
    }
    let left = unread.len();
    Ok(answer.map(|(status, framing, content, body)| {
        (status, framing, content, body.ends_with_close(), left)
    }))
}

#[test]
fn no_verdict_on_a_response_depends_on_how_it_is_cut() {
    let contents: [&[u8]; 3] = [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"];
    let seeds = cases::responses()
        .into_iter()
        .flat_map(|c| contents.map(|content| [&c.bytes, content].concat()));
    let (mut damaged, mut random) = (Damaged::new(seeds, 6), Random::new(7));
    let start = Instant::now();
    let mut accepted = 0;
    for _ in 0..RESPONSES {
        let message = damaged.next();
        let whole = hear_response(&[&message]);
        let in_pieces = hear_response(&cut(&message, &mut random));
        assert_eq!(in_pieces, whole, "{}", shown(&message));
        if let Ok(Some((status, _, content, true, _))) = &whole
            && *status >= 200
        {
            accepted += 1;
            check_relayed(&message, content, random.below(2) == 0);
        }
    }
    assert!(accepted > RESPONSES / 20, "only {accepted} responses were accepted");
    report("responses", RESPONSES, start);
}

/// What the load balancer tells a client is one response and says what the backend said.
fn check_relayed(message: &[u8], content: &[u8], to_http10: bool) {
    let shown = shown(message);
    let parsed = response::parse(message, &Limits::DEFAULT, false).expect(&shown);
    let (head, length) = parsed.expect(&shown);
    let version = if to_http10 { Version::Http10 } else { Version::Http11 };
    let to = rewrite::ToClient {
        version,
        keep_alive: true,
        to_head: false,
        via: "lb",
        date: b"Sun, 06 Nov 1994 08:49:37 GMT",
    };
    let mut out = Vec::new();
    let (framed, keep_alive) = rewrite::write_response(&mut out, &head, to);
    framed.write(&mut out, content);
    framed.finish(&mut out);
    let parsed = response::parse(&out, &Limits::DEFAULT, false);
    let Ok(Some((again, used))) = parsed else {
        panic!("{shown} became {}: {parsed:?}", out.escape_ascii());
    };
    assert_eq!((again.status, again.reason), (head.status, head.reason), "{shown}");
    let told = by_the_letter(&message[..length]);
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let expected = expected_of_response(&told, head.status, date, version);
    assert_eq!(by_the_letter(&out[..used]), expected, "{shown}");
    assert_eq!(keep_alive, again.framing != Framing::UntilClose, "{shown}");
    let (same, end) = content_of(again.framing, &out[used..]).expect(&shown);
    assert_eq!((same.as_slice(), used + end), (content, out.len()), "{shown}");
}
