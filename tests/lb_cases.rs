//! What the load balancer decides without a socket: what follows when a backend does not serve,
//! whom that speaks against, what is waited for, and how much of a request is held.

use crate::support::Random;
use progjar::cli::limits::READ;
use progjar::http::framing::{Body, Framing};
use progjar::http::{Limits, ParseError, request};
use progjar::lb::exchange::{Exchange, KEPT, WAITING};
use progjar::lb::retry::Fault::{self, *};
use progjar::lb::retry::Verdict::*;
use progjar::lb::retry::{Blame, History, Situation, blame, decide};
use progjar::lb::rewrite::ToBackend;
use progjar::lb::worker::wait::{Phase, State, phase, upstream_interest};
use std::time::Instant;

const BAD: Fault = BadAnswer(ParseError::StatusLine);

/// A GET that was sent, the first time, with everything left.
fn get(fault: Fault) -> Situation {
    Situation {
        fault,
        may_repeat: true,
        sent: !matches!(fault, Refused | ConnectTimeout),
        begun: false,
        losses: usize::from(matches!(fault, Stale | Closed | BAD)),
        suspect: matches!(fault, Closed | BAD),
        another: true,
        budget: true,
        in_time: true,
    }
}

#[test]
fn what_follows_a_fault() {
    // Each column changes one thing: the request is a POST; there is no other backend;
    // there is no budget; it was lost before; it is late.
    #[rustfmt::skip]
    let table = [
        //                  GET          POST         no other     no budget    lost before  late
        (Refused,         [Elsewhere,   Elsewhere,   Answer(503), Elsewhere,   Elsewhere,   Answer(504)]),
        (ConnectTimeout,  [Elsewhere,   Elsewhere,   Answer(504), Elsewhere,   Elsewhere,   Answer(504)]),
        (SendTimeout,     [Answer(504), Answer(504), Answer(504), Answer(504), Answer(504), Answer(504)]),
        (ResponseTimeout, [Answer(504), Answer(504), Answer(504), Answer(504), Answer(504), Answer(504)]),
        (Stale,           [Elsewhere,   Answer(502), Answer(503), Elsewhere,   Answer(502), Answer(504)]),
        (Closed,          [Elsewhere,   Answer(502), Check,       Answer(502), Check,       Answer(504)]),
        (BAD,             [Elsewhere,   Answer(502), Check,       Answer(502), Check,       Answer(504)]),
        (Ejected,         [Elsewhere,   Answer(502), Answer(503), Elsewhere,   Elsewhere,   Answer(504)]),
    ];
    for (fault, expected) in table {
        let first = get(fault);
        let post = Situation { may_repeat: !first.sent, ..first };
        let no_other = Situation { another: false, ..first };
        let no_budget = Situation { budget: false, ..first };
        let before = Situation { losses: first.losses + 1, ..first };
        let late = Situation { in_time: false, ..first };
        let all = [first, post, no_other, no_budget, before, late];
        assert_eq!(all.map(|at| decide(&at)), expected, "{fault:?}");
        // Whatever else: half an answer is cut, and what is no longer here cannot be sent again.
        for at in all {
            assert_eq!(decide(&Situation { begun: true, ..at }), Cut);
            let gone = decide(&Situation { may_repeat: false, ..at });
            assert!(matches!(gone, Answer(502 | 504)), "{at:?}: {gone:?}");
        }
    }
    // A POST of which nothing was sent is like a GET.
    for fault in [Stale, Ejected] {
        let unsent = Situation { sent: false, losses: 0, ..get(fault) };
        assert_eq!(decide(&unsent), Elsewhere, "{fault:?}");
    }
}

#[test]
fn whom_a_fault_speaks_against() {
    for (fault, others_answered, silent) in [
        (Refused, Blame::Eject, Blame::Eject),
        (ConnectTimeout, Blame::Eject, Blame::Eject),
        (SendTimeout, Blame::Count, Blame::Eject),
        (ResponseTimeout, Blame::Count, Blame::Eject),
        (Stale, Blame::Nothing, Blame::Nothing),
        (Closed, Blame::Count, Blame::Count),
        (BAD, Blame::Count, Blame::Count),
        (Ejected, Blame::Count, Blame::Count),
    ] {
        assert_eq!(blame(fault, false), others_answered, "{fault:?}");
        assert_eq!(blame(fault, true), silent, "{fault:?}");
    }
}

#[test]
fn what_the_end_of_a_connection_means() {
    for (reused, sent, begun, fault) in [
        (true, true, false, Stale),
        (true, false, false, Stale),
        (true, true, true, Closed),
        (false, true, false, Closed),
        (false, true, true, Closed),
        (false, false, false, Refused),
    ] {
        assert_eq!(Fault::of_end(reused, sent, begun), fault);
    }
}

#[test]
fn a_loss_to_a_backend_that_has_died_is_no_loss() {
    let mut history = History::default();
    history.note(3, Stale, true);
    assert_eq!((history.losses, history.lost), (1, None));
    assert!(history.fresh && history.tried.is_empty(), "asked once more");
    history.note(1, Closed, true);
    assert_eq!((history.losses, history.checked_backend()), (2, None));
    history.checking = true;
    assert_eq!(history.checked_backend(), Some((1, Closed)));
    history.note(1, Refused, false);
    assert_eq!((history.losses, history.checked_backend()), (1, None));
    assert_eq!(history.tried, [1]);
}

#[test]
fn each_state_of_both_sides_has_its_phase() {
    // drained, closing, begun, stage
    for (drained, closing, begun, stage, expected) in [
        (true, false, false, None, Phase::Idle),
        (true, false, true, None, Phase::Head),
        (true, false, false, Some(Phase::Content), Phase::Content),
        (true, false, true, Some(Phase::Connect), Phase::Connect),
        (true, false, false, Some(Phase::Response), Phase::Response),
        (true, false, false, Some(Phase::Behind), Phase::Behind),
        (true, false, true, Some(Phase::Relay), Phase::Relay),
        (false, false, true, Some(Phase::Relay), Phase::Write),
        (false, false, false, Some(Phase::Connect), Phase::Write),
        (false, false, false, Some(Phase::Behind), Phase::Behind),
        (false, true, false, None, Phase::Write),
        (true, true, true, None, Phase::Linger),
    ] {
        assert_eq!(phase(drained, closing, begun, stage), expected, "{stage:?}");
    }
}

#[test]
fn a_backend_is_read_only_while_the_client_has_no_output_left() {
    let open = State::default();
    let connecting = State { connecting: true, ..open };
    let sending = State { unsent: true, ..open };
    // drained, readable, writable
    for (at, drained, readable, writable) in [
        (connecting, true, false, true),
        (connecting, false, false, true),
        (open, true, true, false),
        (open, false, false, false),
        (sending, true, true, true),
        (sending, false, false, true),
        (State { broken: true, ..sending }, true, true, false),
        (State { ended: true, ..sending }, true, false, false),
    ] {
        assert_eq!(upstream_interest(at, drained), (readable, writable), "{at:?}");
    }
}

/// The most that may be held of a request: what may be kept for another try, what may wait, and
/// what one read brings, with the frame of a chunk.
const BOUND: usize = KEPT + WAITING + READ + 16;

fn put(field: &str) -> Exchange {
    let head = format!("PUT /upload HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
    let parsed = request::parse(head.as_bytes(), &Limits::DEFAULT);
    let (request, _) = parsed.expect("it is HTTP").expect("it is whole");
    let on = ToBackend { peer: "127.0.0.1", via: "lb", authority: "lb:1" };
    let now = Instant::now();
    let begun = Exchange::begin(Vec::new(), &request, &on, &Limits::DEFAULT, now, false);
    begun.expect("small enough")
}

/// Takes and sends in an order that is drawn. Returns what reaches the backend; at no time
/// more than [`BOUND`] is held.
fn upload(field: &str, message: &[u8], random: &mut Random) -> Vec<u8> {
    let mut exchange = put(field);
    let (arrives, leaves) = (100 + random.below(READ), 100 + random.below(READ));
    // Whether the backend's socket takes all that waits, now and then.
    let drains = random.below(2) == 0;
    let (mut arrived, mut came, mut tries) = (0, Vec::new(), 3);
    while !exchange.content.is_done() || !exchange.unsent().is_empty() {
        if random.below(2) == 0 && exchange.has_room() {
            let end = message.len().min(arrived + 1 + random.below(arrives));
            let taken = exchange.take_content(&message[arrived..end], u64::MAX);
            arrived += taken.expect("it is well framed");
        }
        let stays = usize::from(!drains && !exchange.content.is_done());
        let n = exchange.unsent().len().saturating_sub(stays).min(random.below(leaves + 1));
        came.extend_from_slice(&exchange.unsent()[..n]);
        exchange.sent(n);
        let held = exchange.request.len();
        assert!(held <= BOUND, "{held} bytes held of {arrived}");
        if tries > 0 && random.below(50) == 0 && exchange.may_repeat(true) {
            exchange.rewind();
            came.clear();
            tries -= 1;
        }
    }
    assert!(came.starts_with(put(field).unsent()), "the head comes first");
    came.split_off(put(field).unsent().len())
}

/// The content of a message's body, which is whole.
fn unframed(mut bytes: &[u8], framing: Framing) -> Vec<u8> {
    let (mut body, mut content) = (Body::new(framing), Vec::new());
    while !body.is_done() {
        let (used, data) = body.read(bytes).expect("it is well framed");
        assert!(used > 0, "it is whole");
        content.extend_from_slice(data);
        bytes = &bytes[used..];
    }
    assert!(bytes.is_empty(), "nothing more comes");
    content
}

#[test]
fn what_is_held_of_an_upload_is_bounded_however_it_is_taken_and_sent() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let length = random.below(3 << 20);
        let content: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        let mut chunks = Vec::new();
        content.chunks(1 + random.below(READ)).for_each(|c| Framing::Chunked.write(&mut chunks, c));
        Framing::Chunked.finish(&mut chunks);
        for (field, message, framing) in [
            (format!("Content-Length: {length}"), &content, Framing::Length(length as u64)),
            ("Transfer-Encoding: chunked".to_owned(), &chunks, Framing::Chunked),
        ] {
            let came = unframed(&upload(&field, message, &mut random), framing);
            assert!(came == content, "seed {seed}: it is not what went in");
        }
    }
}
