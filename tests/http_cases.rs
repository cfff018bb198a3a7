//! The judge's table of cases (`src/judge/cases/`) against everything that reads HTTP here: the parser, a
//! conversation without a socket, and the servers over TCP. However the bytes are cut, the
//! verdict is the same.

use crate::recipient::{Heard, Recipient, conversation};
use crate::support::{Reader, Server, half_close};
use progjar::http::request::{self, Partial};
use progjar::http::{Limits, ParseError, response};
use progjar::judge::cases::{self, Accepted, Case, Verdict};
use progjar::net::clock::Clock;
use progjar::site::Site;
use std::collections::HashSet;
use std::fmt::Debug;
use std::io::Write;
use std::path::Path;

/// Whether two types that know nothing of each other, the judge's and ours, mean the same: their
/// names are the same, the judge's method is written as it is sent.
fn is_same(judged: impl Debug, ours: impl Debug) -> bool {
    let (judged, ours) = (format!("{judged:?}"), format!("{ours:?}"));
    judged == ours || judged.trim_matches('"') == ours.to_uppercase()
}

/// Whether the case's verdicts are what is heard when the bytes arrive in these pieces.
fn is_judged_right(case: &Case, pieces: &[&[u8]]) -> Result<(), String> {
    let (heard, unfinished) = Recipient::of(pieces).verdicts();
    let agrees = |(verdict, heard): (&Verdict, &Heard)| match (verdict, heard) {
        (Verdict::Refused(status, why), Heard::Refused(s, w)) => status == s && is_same(why, w),
        (
            Verdict::Accepted(a),
            Heard::Request { method, target, host, framing, content, keep_alive },
        ) => {
            (a.target, a.content, a.keep_alive) == (target, content, *keep_alive)
                && is_same(a.method, method)
                && is_same(a.framing, framing)
                && a.host.is_none_or(|h| host.as_deref() == Some(h))
        }
        _ => false,
    };
    let whole = case.ours.iter().filter(|v| **v != Verdict::Incomplete);
    let expects_more = case.ours.last() == Some(&Verdict::Incomplete) && !case.bytes.is_empty();
    if whole.clone().count() == heard.len()
        && whole.zip(&heard).all(agrees)
        && unfinished == expects_more
    {
        return Ok(());
    }
    let lengths: Vec<_> = pieces.iter().map(|p| p.len()).collect();
    Err(format!(
        "{}: {}: expected {:?}, heard {heard:?}, unfinished: {unfinished}, pieces of {lengths:?} bytes",
        case.chapter, case.name, case.ours
    ))
}

/// Panics with all failures, not with the first alone.
fn assert_all(results: impl IntoIterator<Item = Result<(), String>>) {
    let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_table_is_large_and_its_names_are_unique() {
    let mut names = HashSet::new();
    let requests = cases::requests();
    for case in &requests {
        let name = (case.chapter, case.name);
        assert!(names.insert(name), "two cases are called: {name:?}");
    }
    assert!(requests.len() >= 150, "{} cases", requests.len());
}

#[test]
fn every_case_gets_its_verdict_from_the_parser() {
    let cases = cases::requests();
    assert_all(cases.iter().map(|c| is_judged_right(c, &[&c.bytes])));
}

/// The points to cut at: all of them, or of long bytes the first and the last and some between.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..=length).filter(move |&at| length < 1500 || at < 200 || at + 200 > length || at % 97 == 0)
}

#[test]
fn every_case_cut_at_any_byte_gets_the_same_verdict() {
    for case in cases::requests() {
        assert_all(cuts(case.bytes.len()).map(|at| {
            let (before, after) = case.bytes.split_at(at);
            is_judged_right(&case, &[before, after])
        }));
    }
}

#[test]
fn every_case_byte_by_byte_gets_the_same_verdict() {
    let cases = cases::requests();
    assert_all(cases.iter().filter(|c| c.bytes.len() < 1500).map(|c| {
        let bytes: Vec<_> = c.bytes.chunks(1).collect();
        is_judged_right(c, &bytes)
    }));
}

#[test]
fn every_response_gets_its_verdict_wherever_it_is_cut() {
    for case in cases::responses() {
        let judge = |bytes| match response::parse(bytes, &Limits::DEFAULT, case.to_head) {
            Ok(None) => "Incomplete".to_owned(),
            Ok(Some((head, _))) => {
                format!("Accepted({}, {:?}, {})", head.status, head.framing, head.keep_alive)
            }
            Err(error) => format!("Refused({error:?})"),
        };
        let verdict = format!("{:?}", case.verdict);
        assert_eq!(judge(&case.bytes), verdict, "{}", case.name);
        // A gateway asks again whenever more has come: until it knows, it knows nothing.
        let mut known = false;
        for at in cuts(case.bytes.len()) {
            let so_far = judge(&case.bytes[..at]);
            if known || so_far != "Incomplete" {
                known = true;
                assert_eq!(so_far, verdict, "{}, cut at {at}", case.name);
            }
        }
    }
}

/// Feeds the bytes one by one, and asks for another look only where `Partial` does not know;
/// returns how many looks there were until the parser had a verdict.
fn looks(bytes: &[u8], limits: &Limits, is_undecided: impl Fn(&[u8]) -> bool) -> usize {
    let (mut partial, mut looks) = (Partial::default(), 0);
    let is_checked: HashSet<_> = cuts(bytes.len()).collect();
    for at in 1..=bytes.len() {
        let bytes = &bytes[..at];
        if partial.is_still_partial(bytes) {
            // A verdict stays, so one that was missed is still to be seen at the next check.
            let missed = is_checked.contains(&at) && !is_undecided(bytes);
            assert!(!missed, "a verdict on {} was missed", bytes.escape_ascii());
            continue;
        }
        looks += 1;
        if !is_undecided(bytes) {
            break;
        }
        partial = Partial::of(bytes, limits);
    }
    looks
}

#[test]
fn a_head_that_comes_byte_by_byte_is_read_anew_at_most_twice_a_line() {
    let small = Limits { request_line: 40, field_section: 30, fields: 2 };
    let section = 16_384 - "Host: a\r\n".len();
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "a".repeat(8000),
        "b".repeat(section - 5)
    );
    let lines = "a:\r\n".repeat(99);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let mut all: Vec<_> = cases::requests().into_iter().map(|c| c.bytes).collect();
    all.extend([long.clone().into_bytes(), many.into_bytes()]);
    for bytes in &all {
        for limits in [&Limits::DEFAULT, &small] {
            let is_undecided = |bytes: &[u8]| matches!(request::parse(bytes, limits), Ok(None));
            let lines = bytes.iter().filter(|&&b| b == b'\n').count();
            let looks = looks(bytes, limits, is_undecided);
            assert!(looks <= 2 * (lines + 1), "{looks} for {}", bytes.escape_ascii());
        }
    }
    let is_undecided = |bytes: &[u8]| matches!(request::parse(bytes, &Limits::DEFAULT), Ok(None));
    assert_eq!(looks(long.as_bytes(), &Limits::DEFAULT, is_undecided), 9);
}

#[test]
fn what_is_known_of_one_head_is_not_taken_for_the_next() {
    with_every_server(|server, _| {
        let (mut reader, mut clock) =
            (Reader::new(server.connect()), Reader::new(server.connect()));
        let whole = "GET /santai HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n";
        let half = format!("{post}X: {}", "b".repeat(100));
        // A whole request, and so much text behind it that its end is not among the last bytes.
        let next = format!("{whole}GET /{}", "c".repeat(400));
        let send = |reader: &mut Reader<_>, bytes: &str| {
            let sent = std::io::Write::write_all(reader.get_mut(), bytes.as_bytes());
            sent.expect("it is sent");
        };
        for piece in [half.as_str(), "\r\n\r\n"] {
            send(&mut reader, piece);
            // Its answer shows that the server has had time to read the piece.
            send(&mut clock, whole);
            clock.answer(false).expect("an answer");
        }
        send(&mut reader, &format!("hello{next}"));
        for content in ["hello", "santai saja"] {
            assert_eq!(reader.answer(false).expect("an answer").text(), content);
        }
    });
}

#[test]
fn a_conversation_says_the_same_wherever_the_bytes_are_cut() {
    let site = Site::new("test", Path::new("www"), 1024).expect("www is there");
    let clock = Clock::read();
    for case in cases::requests() {
        let whole = conversation(&site, &clock, &[&case.bytes]);
        let bytes: Vec<_> = case.bytes.chunks(1).collect();
        let in_two = cuts(case.bytes.len()).map(|at| {
            let (before, after) = case.bytes.split_at(at);
            conversation(&site, &clock, &[before, after])
        });
        let one_by_one = (bytes.len() < 1500).then(|| conversation(&site, &clock, &bytes));
        for other in in_two.chain(one_by_one) {
            assert_eq!(
                String::from_utf8_lossy(&other.0),
                String::from_utf8_lossy(&whole.0),
                "{}: {}",
                case.chapter,
                case.name
            );
            assert_eq!(other.1, whole.1, "{}: {}", case.chapter, case.name);
        }
    }
}

/// Reads the answers that the case calls for, then makes sure that nothing else is said: where
/// the connection persists, the next answer belongs to the next request.
fn answers_are_right(case: &Case, stream: std::net::TcpStream) -> Result<(), String> {
    let mut reader = Reader::new(stream);
    let problem = |text: String| Err(format!("{}: {}: {text}", case.chapter, case.name));
    let mut closes = false;
    for verdict in &case.ours {
        let (method, status, why) = match verdict {
            Verdict::Accepted(a) => (a.method, a.status, None),
            Verdict::Refused(status, _) => {
                let heard = Recipient::of(&[&case.bytes]).heard;
                let why = match heard.last() {
                    Some(Heard::Refused(_, why)) => *why,
                    other => return problem(format!("the parser heard {other:?}")),
                };
                ("GET", *status, Some(why))
            }
            // The client goes silent and ends: half a request is told so, nothing is not.
            Verdict::Incomplete if case.bytes.is_empty() => break,
            Verdict::Incomplete => {
                half_close(reader.get_mut());
                match case.name.starts_with("HEAD") {
                    true => ("HEAD", 400, None),
                    false => ("GET", 400, Some(ParseError::EndedEarly)),
                }
            }
        };
        let answer = match reader.answer(method == "HEAD") {
            Ok(answer) if answer.status == status => answer,
            Ok(answer) => return problem(format!("expected {status}, got {answer:?}")),
            Err(error) => return problem(format!("expected {status}, got {error}")),
        };
        let sentence = why.map(|w| format!("{w}.\n"));
        let is_echo = |a: &Accepted| a.target == "/echo" && a.method == "POST";
        let content_is_right = match verdict {
            Verdict::Accepted(a) if is_echo(a) => answer.content == a.content,
            Verdict::Accepted(a) if a.target == "/santai" && status == 200 => {
                answer.content == if a.method == "HEAD" { b"".as_slice() } else { b"santai saja" }
            }
            _ => sentence.is_none_or(|s| answer.text() == s),
        };
        if !content_is_right {
            return problem(format!("the content is {:?}", answer.text()));
        }
        if status == 405 && answer.field("allow").is_none() {
            return problem("405 without Allow".to_owned());
        }
        closes = !matches!(verdict, Verdict::Accepted(Accepted { keep_alive: true, .. }));
        let says_close = answer.field("connection") == Some("close");
        if says_close != closes {
            return problem(format!("expected to close: {closes}, got {:?}", answer.head));
        }
    }
    if !closes {
        // A server that still holds hidden bytes would answer those, not this.
        let probe = b"GET /santai HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";
        let sent = reader.get_mut().write_all(probe);
        match reader.answer(false) {
            Ok(answer) if answer.content == b"santai saja" => {}
            other => {
                return problem(format!("the next request was answered by {other:?} ({sent:?})"));
            }
        }
    }
    if !reader.is_at_end() {
        return problem("there are bytes behind the last answer".to_owned());
    }
    Ok(())
}

/// Where the load balancer answers otherwise than a server would: what it adds counts too, so
/// what just fits into the limits without it does not fit any more.
const NOT_THROUGH_LB: [&str; 2] =
    ["as many field lines as allowed", "a field section as large as allowed"];

/// The cases, and every server in turn, the load balancer with both others behind it.
fn with_every_server(test: impl Fn(&Server, &[Case])) {
    // On a busy machine a request that comes in pieces may take longer than by default.
    let patient = ["--header-timeout", "60s", "--content-timeout", "60s"];
    let mut cases = cases::requests();
    for topic in ["async_server", "thread_server"] {
        test(&Server::start(topic, &patient), &cases);
    }
    cases.retain(|c| !NOT_THROUGH_LB.contains(&c.name));
    let backends = ["async_server", "thread_server"].map(|topic| Server::start(topic, &patient));
    let backends: Vec<_> = backends.iter().collect();
    test(&Server::start_lb(&backends, &[&["--workers", "1"], &patient[..]].concat()), &cases);
}

#[test]
fn every_case_gets_its_answer_over_tcp() {
    with_every_server(|server, cases| {
        assert_all(cases.iter().map(|case| {
            let mut stream = server.connect();
            // What is refused at its beginning need not be taken to its end.
            let _ = stream.write_all(&case.bytes);
            answers_are_right(case, stream)
        }));
    });
}

/// All cases at once, each on its connection, in rounds: a piece of each, then a request on yet
/// another connection, whose answer shows that the server has had time to read the pieces.
fn in_rounds(
    server: &Server,
    cases: &[&Case],
    piece_of: impl Fn(&Case, usize) -> Option<(usize, usize)>,
) {
    let mut streams: Vec<_> = cases.iter().map(|_| server.connect()).collect();
    let mut clock = Reader::new(server.connect());
    for round in 0.. {
        let mut is_last = true;
        for (case, stream) in cases.iter().zip(&mut streams) {
            if let Some((from, to)) = piece_of(case, round) {
                is_last = false;
                let _ = stream.write_all(&case.bytes[from..to]);
            }
        }
        if is_last {
            break;
        }
        let tick = b"GET /santai HTTP/1.1\r\nHost: a\r\n\r\n";
        clock.get_mut().write_all(tick).expect("the server reads");
        clock.answer(false).expect("the server answers");
    }
    assert_all(cases.iter().zip(streams).map(|(case, stream)| answers_are_right(case, stream)));
}

#[test]
fn every_case_byte_by_byte_gets_its_answer_over_tcp() {
    with_every_server(|server, cases| {
        let cases: Vec<_> = cases.iter().filter(|c| c.bytes.len() < 300).collect();
        in_rounds(server, &cases, |case, round| {
            (round < case.bytes.len()).then_some((round, round + 1))
        });
    });
}

#[test]
fn every_case_in_two_pieces_gets_its_answer_over_tcp() {
    with_every_server(|server, cases| {
        let cases: Vec<_> = cases.iter().filter(|c| !c.bytes.is_empty()).collect();
        for cut in [|n| n / 2, |n| n - 1, |n| n / 3, |n| n * 4 / 5] {
            in_rounds(server, &cases, |case, round| {
                let (at, end) = (cut(case.bytes.len()), case.bytes.len());
                [(0, at), (at, end)].get(round).copied()
            });
        }
    });
}

#[test]
fn a_head_that_is_refused_gets_no_content_either() {
    let backend = Server::start("async_server", &["--max-content", "10"]);
    for topic in ["async_server", "thread_server", "lb"] {
        let server = match topic {
            "lb" => Server::start_lb(&[&backend], &["--max-content", "10"]),
            _ => Server::start(topic, &["--max-content", "10"]),
        };
        for request in [
            "HEAD / HTTP/1.1\r\n\r\n",
            "\r\nHEAD / HTTP/1.1\r\nHost : a\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        ] {
            let mut stream = server.connect();
            stream.write_all(request.as_bytes()).expect("it is sent");
            let mut reader = Reader::new(stream);
            let answer = reader.answer(true).expect("it is answered");
            assert!(answer.status >= 400, "{topic}: {request:?}");
            assert!(reader.is_at_end(), "{topic}: {request:?} got content");
        }
    }
}

#[test]
fn a_head_that_is_cut_short_or_timed_out_gets_no_content_either() {
    let short = ["--header-timeout", "100ms", "--content-timeout", "100ms"];
    let backend = Server::start("async_server", &[]);
    for topic in ["async_server", "thread_server", "lb"] {
        for (ends, status, options) in [(true, 400, &[][..]), (false, 408, &short)] {
            let server = match topic {
                "lb" => Server::start_lb(&[&backend], options),
                _ => Server::start(topic, options),
            };
            for (before, begun) in [
                ("", "HEAD / HTTP/1.1\r\nHost: a\r\n"),
                ("", "\r\nHEAD /"),
                ("", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel"),
                ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HT"),
            ] {
                let mut stream = server.connect();
                let bytes = [before, begun].concat();
                stream.write_all(bytes.as_bytes()).expect("it is sent");
                let mut reader = Reader::new(stream);
                if !before.is_empty() {
                    assert_eq!(reader.answer(false).expect("an answer").status, 200);
                }
                if ends {
                    half_close(reader.get_mut());
                }
                let answer = reader.answer(true).expect("it is answered");
                assert_eq!(answer.status, status, "{topic}: {begun:?}");
                assert!(reader.is_at_end(), "{topic}: {begun:?}, {status}: content");
            }
        }
    }
}
