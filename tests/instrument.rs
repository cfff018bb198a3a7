//! The parts of the instrument by themselves: where an answer ends, what a request says, what
//! times and figures come to, when two systems differ.

use crate::support::Random;
use progjar::bench::Outcome;
use progjar::bench::cpu::{Cpu, Stat, of_this_thread, parse_stat};
use progjar::bench::options::{Format, TOPIC, parse};
use progjar::bench::plan::{Plan, Target, base64};
use progjar::bench::reader::{Answer, HEAD_LIMIT, Heads, Reader};
use progjar::bench::report::{Parts, ab_text, calendar, ms};
use progjar::bench::rounds::{order, two_digits};
use progjar::bench::stats::{Histogram, RELATIVE_ERROR, Spread, median_run};
use progjar::bench::table::{COLUMNS, Table};
use progjar::bench::tally::{Class, Failed, Tally};
use progjar::bench::verdict::{Pair, Verdict, between, compare, holm, judge, rounds_needed};
use progjar::lab::chart::Scale;
use progjar::lab::page::number;
use std::time::{Duration, Instant};

/// Feeds `bytes` in pieces that end at the given places, then ends the stream.
fn read(bytes: &[u8], cuts: &[usize], head_only: bool) -> Result<Option<Answer>, &'static str> {
    let mut reader = Reader::default();
    let mut run = Heads { head_only, ..Heads::default() };
    let mut from = 0;
    for &to in cuts.iter().chain([&bytes.len()]) {
        match reader.feed(&bytes[from..to], &mut run)? {
            None => from = to,
            whole => return Ok(whole),
        }
    }
    Ok(reader.end())
}

fn done(
    status: u16,
    persistent: bool,
    body: u64,
    total: usize,
) -> Result<Option<Answer>, &'static str> {
    let total = total as u64;
    Ok(Some(Answer { status, persistent, body, total }))
}

/// The bytes; whether the request was HEAD; status, persistent, body.
const WHOLE: &[(&str, bool, u16, bool, u64)] = &[
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, 200, true, 5),
    (
        "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length:2\r\n\r\nhi",
        false,
        200,
        true,
        2,
    ),
    ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi\r\n\r\n", false, 200, false, 6),
    ("HTTP/1.0 404 Not Found\r\n\r\nuntil the end", false, 404, false, 13),
    (
        "HTTP/1.1 200 OK\r\nConnection: foo, close\r\nContent-Length: 1\r\n\r\nx",
        false,
        200,
        false,
        1,
    ),
    ("HTTP/1.1 204 No Content\r\n\r\n", false, 204, true, 0),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", false, 304, true, 0),
    ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", true, 200, true, 0),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 200, true, 0),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
        false,
        200,
        true,
        1,
    ),
    ("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", false, 200, true, 3),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n",
        false,
        200,
        true,
        14,
    ),
];

#[test]
fn a_response_cut_at_any_two_bytes_gives_the_same_answer() {
    for &(text, head_only, status, persistent, body) in WHOLE {
        let bytes = text.as_bytes();
        let whole = done(status, persistent, body, bytes.len());
        assert_eq!(read(bytes, &[], head_only), whole, "{text:?}");
        for i in 1..bytes.len() {
            for j in i..bytes.len() {
                assert_eq!(read(bytes, &[i, j], head_only), whole, "{text:?} cut at {i}, {j}");
            }
        }
    }
}

#[test]
fn a_response_cut_short_is_never_taken_for_a_whole_one() {
    for &(text, head_only, ..) in WHOLE {
        // One that ends with the connection and promises no length may end anywhere.
        if text.contains("until the end") {
            continue;
        }
        let body = text.find("\r\n\r\nhi\r\n").map_or(text.len(), |i| i + 6);
        for i in 0..body {
            assert_eq!(read(&text.as_bytes()[..i], &[], head_only), Ok(None), "{text:?} to {i}");
        }
    }
}

#[test]
fn what_is_no_response_is_refused() {
    for text in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
    ] {
        assert!(read(text.as_bytes(), &[], false).is_err(), "{text:?}");
    }
    let endless = vec![b'x'; HEAD_LIMIT + 1];
    assert!(read(&endless, &[], false).is_err());
}

#[test]
fn a_reader_is_ready_for_the_next_response() {
    let mut reader = Reader::default();
    let mut run = Heads::default();
    for (text, status) in [
        ("HTTP/1.1 200 OK\r\nServer: one\r\nContent-Length: 0\r\n\r\n", 200),
        ("HTTP/1.1 503 Busy\r\nServer: two\r\nContent-Length: 0\r\n\r\n", 503),
    ] {
        let step = reader.feed(text.as_bytes(), &mut run);
        assert_eq!(step, done(status, true, 0, text.len()));
    }
    let text = String::from_utf8_lossy(&run.head);
    assert!(text.contains("Server: one"), "the first head is kept: {text}");
}

#[test]
fn urls_are_taken_in_every_spelling() {
    for (url, host, port, path) in [
        ("http://127.0.0.1:44444/", "127.0.0.1", 44444, "/"),
        ("localhost", "localhost", 80, "/"),
        ("localhost:8080", "localhost", 8080, "/"),
        ("HTTP://a.example/x/y?q=1#part", "a.example", 80, "/x/y?q=1"),
        ("http://[::1]:9/p", "::1", 9, "/p"),
        ("http://a?q", "a", 80, "/?q"),
    ] {
        let target = Target::parse(url).expect(url);
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), (host, port, path));
    }
    for url in [
        "https://a/",
        "http:///x",
        "http://a:x/",
        "http://a:0/",
        "http://u@a/",
        "http://a/b c",
        "",
        "[::1",
    ] {
        assert!(Target::parse(url).is_err(), "{url}");
    }
}

#[test]
fn a_request_has_abs_lines_in_abs_order() {
    let mut plan = Plan::new("http://h:8/p").expect("valid");
    plan.keep_alive = true;
    plan.cookies = vec!["a=1".to_owned()];
    plan.fields = vec!["accept: text/html".to_owned(), "X-Y: z".to_owned()];
    plan.body = Some(b"body".to_vec());
    let text = String::from_utf8(plan.request()).expect("ASCII");
    let agent = format!("User-Agent: progjar/{}\r\n", env!("CARGO_PKG_VERSION"));
    let expected = "GET /p HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-length: 4\r\n\
        Content-type: text/plain\r\nCookie: a=1\r\nHost: h:8\r\n"
        .to_owned()
        + &agent
        + "accept: text/html\r\nX-Y: z\r\n\r\nbody";
    assert_eq!(text, expected);
    let sent = |line: &str| {
        let options = parse(&line.split(' ').collect::<Vec<_>>()).expect(line);
        String::from_utf8(options.plans[0].request()).expect("ASCII")
    };
    let text = sent("-k -H Connection:close -A user:pass h:80");
    assert_eq!(text.to_lowercase().matches("connection:").count(), 1, "{text}");
    assert!(text.contains("\r\nHost: h\r\n"), "as ab, without the usual port: {text}");
    assert!(text.contains("\r\nAuthorization: Basic dXNlcjpwYXNz\r\n"), "{text}");
    let text = sent("--http11 -k h");
    assert!(text.starts_with("GET / HTTP/1.1\r\nHost: h\r\n"), "{text}");
    assert!(sent("--http11 h").contains("\r\nConnection: close\r\n"));
    let coded = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|t| base64(t.as_bytes()));
    let rfcs = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
    assert_eq!(coded, rfcs);
}

#[test]
fn options_mean_what_they_mean_to_ab() {
    let of = |line: &str| parse(&line.split(' ').collect::<Vec<_>>());
    let options = of("-n 1000 -c 100 -r -k -s 99999 http://127.0.0.1:44444/").expect("valid");
    let plan = &options.plans[0];
    assert_eq!((plan.requests, plan.concurrency), (1000, 100));
    assert!(plan.keep_alive && plan.go_on && plan.timeout.as_secs() == 99_999);
    assert_eq!(options.format, Format::Text);
    assert_eq!(of("-t 5 h").expect("valid").plans[0].requests, 50_000);
    // The last one counts, as with ab.
    assert_eq!(of("-n 10 -t 5 h").expect("valid").plans[0].requests, 50_000);
    assert_eq!(of("-t 5 -n 10 h").expect("valid").plans[0].requests, 10);
    let scheduled = of("--rate 1k,20k -t 5 h").expect("valid").plans;
    let due: Vec<_> = scheduled.iter().map(|p| (p.rate, p.requests, p.concurrency)).collect();
    assert_eq!(due, [(Some(1000.0), 5000, 64), (Some(20_000.0), 100_000, 64)]);
    assert_eq!(of("-i h").expect("valid").plans[0].method, "HEAD");
    let many = of("-n 100 -c 1,10 a b").expect("valid");
    let order: Vec<_> =
        many.plans.iter().map(|p| (p.concurrency, p.target.host.as_str())).collect();
    assert_eq!(order, [(1, "a"), (1, "b"), (10, "a"), (10, "b")]);
    assert_eq!((many.format, many.rounds), (Format::Table, 15), "enough for a verdict");
    let named = of("old=h:1/?a=b new=h:2").expect("valid").plans;
    let names = named.iter().map(|p| (p.target.name.as_str(), p.target.path.as_str()));
    assert!(names.eq([("old", "/?a=b"), ("new", "/")]));
    for bad in [
        "-c 5 h",
        "-n 0 h",
        "-c 0 h",
        "-H x h",
        "-m  h",
        "--rate 0 h",
        "-t 0 h",
        "-c 1,1 -n 5 h",
        "-i -p Cargo.toml h",
        "h h",
        "--cpu 1,x h",
        "--against /does/not/exist h",
        "-n 1",
    ] {
        let error = of(bad).expect_err(bad);
        assert!(error.contains("progjar help bench") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn what_ab_has_and_bench_has_not_is_said_with_the_reason() {
    for option in
        ["-P a", "-X a", "-b 1", "-B a", "-w", "-x a", "-y a", "-z a", "-I", "-Z a", "-f a", "-E a"]
    {
        let words: Vec<&str> = option.split(' ').chain(["h"]).collect();
        let error = parse(&words).expect_err(option);
        assert!(error.contains(" is not supported, because "), "{error}");
        assert!(!TOPIC.help().contains(&format!("\n  {} ", words[0])), "{option}");
    }
}

#[test]
fn the_help_fits_a_screen() {
    let help = TOPIC.help();
    assert!(help.lines().count() <= 50, "{}", help.lines().count());
    let widest = help.lines().map(|l| l.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?}");
}

fn histogram(samples: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    samples.iter().for_each(|&s| histogram.record(s));
    histogram
}

#[test]
fn quantiles_are_within_the_stated_error_of_the_sorted_samples() {
    // A long-tailed set without a random generator: squares of a linear congruence.
    let mut x = 12345_u64;
    let mut samples: Vec<u64> = (0..10_000)
        .map(|_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let short = x >> 44;
            short * short / 1000 + 50
        })
        .collect();
    let all = histogram(&samples);
    samples.sort_unstable();
    for q in [0.0001, 0.01, 0.5, 0.66, 0.9, 0.99, 0.999, 1.0] {
        let rank = ((q * samples.len() as f64).ceil() as usize).max(1);
        let truth = samples[rank - 1];
        let error = all.quantile(q).abs_diff(truth) as f64;
        assert!(error <= RELATIVE_ERROR * truth as f64 + 1.0, "{q}");
    }
    assert_eq!((all.min(), all.max()), (samples[0], samples[9_999]));
}

#[test]
fn every_time_is_read_back_within_the_stated_error() {
    let mut value = 1_u64;
    while value < u64::MAX / 8 {
        for v in [value - 1, value, value + 1, value + value / 3] {
            let read = histogram(&[0, v, u64::MAX / 2]).quantile(0.5);
            let error = read.abs_diff(v) as f64;
            assert!(error <= RELATIVE_ERROR * v as f64 + 1.0, "{v}: {read}");
        }
        value += value / 2 + 1;
    }
}

#[test]
fn hand_computed_samples_and_their_halves_merged() {
    for (samples, median, mean, deviation) in [
        (&[][..], 0, 0.0, 0.0),
        (&[7_000_001], 7_000_001, 7_000_001.0, 0.0),
        (&[1, 3], 1, 2.0, 2.0_f64.sqrt()),
        (&[3, 1, 2], 2, 2.0, 1.0),
        (&[2, 4, 4, 4, 5, 5, 7, 9], 4, 5.0, (32.0_f64 / 7.0).sqrt()),
    ] {
        let mut all = histogram(&samples[..samples.len() / 2]);
        all.merge(&histogram(&samples[samples.len() / 2..]));
        assert_eq!((all.quantile(0.5), all.mean()), (median, mean), "{samples:?}");
        assert!((all.deviation() - deviation).abs() < 1e-9, "{samples:?}");
        assert_eq!(all.max(), samples.iter().copied().max().unwrap_or(0));
    }
}

#[test]
fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
    let spread = Spread::of([3.0, 9.0, 1.0, 4.0]).expect("figures");
    assert_eq!((spread.lowest, spread.median, spread.highest), (1.0, 3.5, 9.0));
    assert_eq!(Spread::of([5.0, 1.0, 2.0]).expect("figures").median, 2.0);
    assert_eq!(Spread::of([]), None);
    assert_eq!(median_run(&["ccc", "a", "bb"], |s| s.len() as f64), &"bb");
}

#[test]
fn a_table_is_text_markdown_or_csv() {
    let mut table = Table::new(&["n", "rate"]);
    table.rows.push(vec!["10".to_owned(), "5,\"x\"".to_owned()]);
    assert_eq!(table.text(), " n   rate\n10  5,\"x\"\n");
    assert_eq!(table.csv(), "n,rate\n10,\"5,\"\"x\"\"\"\n");
    assert_eq!(table.markdown(), "| n | rate |\n|:-:|:----:|\n|10|5,\"x\"|\n");
    let heading = Table::new(&COLUMNS.map(|(heading, _)| heading)).markdown();
    let columns = "| Concurrency level | Time taken for test (seconds) | Complete request | Failed request | Total transferred (bytes) | Request per second | Time per request (ms) | Transfer rate (Kbytes/sec) |";
    let rule = "|:-----------------:|:-----------------------------:|:----------------:|:--------------:|:-------------------------:|:------------------:|:---------------------:|:--------------------------:|";
    assert_eq!(heading, format!("{columns}\n{rule}\n"), "the assignment's, to the letter");
}

#[test]
fn six_rounds_of_one_mind_are_two_of_64_patterns_and_five_are_too_few() {
    let slow = [100.0, 110.0, 105.0, 108.0, 102.0, 99.0];
    let fast = slow.map(|rate| rate * 2.0);
    let compared = compare(&fast, &slow);
    assert!((compared.p_value - 2.0 / 64.0).abs() < 1e-12);
    assert!((compared.ratio - 2.0).abs() < 1e-9);
    let (low, high) = compared.interval.expect("six rounds have one");
    assert!((low - 2.0).abs() < 1e-9 && (high - 2.0).abs() < 1e-9);
    let said = between(("a", &slow), ("b", &fast));
    assert_eq!(said, "b is 2.00x as fast as a (2.00 to 2.00; 6 rounds, p = 0.031).");
    let few = between(("a", &slow[..5]), ("b", &fast[..5]));
    assert!(
        few.starts_with("No verdict: 5 rounds are too few") && few.contains("it takes 6"),
        "{few}"
    );
    assert_eq!(compare(&slow[..5], &fast[..5]).interval, None);
    let same = between(("a", &slow), ("b", &slow));
    assert!(same.starts_with("a and b cannot be told apart (1.00x"), "{same}");
    assert_eq!([1, 2, 12, 24].map(rounds_needed), [6, 7, 9, 10]);
    assert_eq!((compare(&[], &[]).p_value, compare(&[0.0], &[0.0]).ratio), (1.0, 1.0));
}

/// Wilcoxon's statistic by its definition, and its distribution by trying all signs.
#[test]
fn the_signed_rank_test_agrees_with_all_patterns_of_signs_tried_out() {
    // Sizes without ties, so that the ranks are 1, 2, 3, …
    for signs in 0..1 << 8_u32 {
        let sign = |i: usize| if signs >> i & 1 == 1 { 1.0 } else { -1.0 };
        let a: Vec<f64> = (0..8).map(|i| (sign(i) * 0.01 * (i + 1) as f64).exp()).collect();
        let sum = |signs: u32| (0..8).filter(|i| signs >> i & 1 == 1).map(|i| i + 1).sum::<u32>();
        let extreme = |signs: u32| sum(signs).min(36 - sum(signs));
        let as_far = (0..1 << 8_u32).filter(|s| extreme(*s) <= extreme(signs)).count();
        let p = compare(&a, &[1.0; 8]).p_value;
        assert!((p - as_far as f64 / 256.0).abs() < 1e-12, "{signs:08b}: {p}");
    }
}

#[test]
fn the_correction_multiplies_by_the_verdicts_that_are_left() {
    assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
    assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}

/// Normally distributed numbers.
struct Noise(Random);

impl Noise {
    fn uniform(&mut self) -> f64 {
        (self.0.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

const VERDICTS: usize = 12;

/// A report of twelve verdicts: 8 % noise that a round's two runs share, 5 % that each has for
/// itself; in the first pair one system is faster by `gap`.
fn report(noise: &mut Noise, rounds: usize, gap: f64) -> Vec<Verdict> {
    let pairs = (0..VERDICTS).map(|i| {
        let mut pair = Pair::default();
        for _ in 0..rounds {
            let common = 0.08 * noise.normal();
            for (which, samples) in pair.samples.iter_mut().enumerate() {
                let faster = if (i, which) == (0, 0) { 1.0 + gap } else { 1.0 };
                samples.push(faster * 10_000.0 * (common + 0.05 * noise.normal()).exp());
            }
        }
        pair
    });
    judge(pairs.collect())
}

#[test]
fn identical_systems_get_a_verdict_in_one_report_of_twenty_at_most_and_a_gap_of_a_tenth_is_found() {
    const REPORTS: usize = 2000;
    let mut noise = Noise(Random::new(20_260_811));
    let is_different = |verdict: &Verdict| verdict.is_different();
    for rounds in [9, 12, 15, 20] {
        let (mut wrong, mut found) = (0, 0);
        for _ in 0..REPORTS {
            wrong += usize::from(report(&mut noise, rounds, 0.0).iter().any(is_different));
            found += usize::from(is_different(&report(&mut noise, rounds, 0.1)[0]));
        }
        let percent = |n: usize| 100.0 * n as f64 / REPORTS as f64;
        let (wrong, found) = (percent(wrong), percent(found));
        println!(
            "{rounds} rounds: {wrong:.1} % of reports on identical systems have a verdict; a gap of 10 % is found in {found:.1} %"
        );
        assert!(wrong <= 5.0, "{rounds} rounds: {wrong} %");
        assert!(rounds < 15 || found >= 90.0, "{rounds} rounds: {found} %");
    }
}

/// Four requests in a tenth of a second, one of them failed.
fn outcome() -> Outcome {
    let mut plan = Plan::new("http://127.0.0.1:44444/page.html").expect("valid");
    plan.keep_alive = true;
    plan.concurrency = 2;
    let mut tally = Tally::default();
    let answer = Answer { status: 404, persistent: true, body: 31, total: 131 };
    for ms in [1, 2, 3] {
        tally.answered(answer, 0, ms * 1_000_000, 1_000_000);
    }
    tally.failed.0[Class::Length as usize] += 1;
    (tally.done, tally.keep_alive, tally.non_2xx, tally.transferred) = (4, 4, 4, 524);
    (tally.software, tally.document) = ("test/1.0".to_owned(), Some(31));
    Outcome {
        plan,
        wall: Duration::from_millis(100),
        tally,
        cpu: None,
        idle_memory: None,
        interrupted: false,
    }
}

const GOLDEN: &str = "

Server Software:        test/1.0
Server Hostname:        127.0.0.1
Server Port:            44444

Document Path:          /page.html
Document Length:        31 bytes

Concurrency Level:      2
Time taken for tests:   0.100 seconds
Complete requests:      4
Failed requests:        1
   (Connect: 0, Receive: 0, Length: 1, Exceptions: 0)
Non-2xx responses:      4
Keep-Alive requests:    4
Total transferred:      524 bytes
HTML transferred:       93 bytes
Requests per second:    30.00 [#/sec] (mean)
Time per request:       66.667 [ms] (mean)
Time per request:       33.333 [ms] (mean, across all concurrent requests)
Transfer rate:          3.84 [Kbytes/sec] received

Connection Times (ms)
              min  mean[+/-sd] median   max
Connect:    0.000 0.000 0.000  0.000  0.000
Processing: 1.000 2.000 1.000  2.003  3.000
Waiting:    1.000 1.000 0.000  1.000  1.000
Total:      1.000 2.000 1.000  2.003  3.000

Percentage of the requests served within a certain time (ms)
  50%  2.003
  66%  2.003
  75%  3.000
  80%  3.000
  90%  3.000
  95%  3.000
  98%  3.000
  99%  3.000
 100%  3.000 (longest request)

Latency:         p50 2.003 p90 3.000 p99 3.000 p99.9 3.000 max 3.000 stddev 1.000 (ms)
";

#[test]
fn the_text_is_abs_to_the_column() {
    assert_eq!(ab_text(&outcome(), Parts::default()), GOLDEN);
}

#[test]
fn a_time_has_the_digits_that_mean_something() {
    for (nanos, text) in [
        (0.0, "0.000"),
        (1_234.0, "0.001"),
        (9_999_600.0, "10.00"),
        (99_990_000.0, "99.99"),
        (123_456_789.0, "123.5"),
        (61_000_000_000.0, "61000"),
    ] {
        assert_eq!(ms(nanos), text);
    }
}

/// Counts that all differ, from `n` on; one time in each histogram, two in the next.
fn tally(begun: Instant, n: u64) -> Tally {
    let times = |from: u64| {
        let samples: Vec<u64> = (0..=from).map(|i| n + from + i).collect();
        histogram(&samples)
    };
    Tally {
        last: Some(begun + Duration::from_secs(n)),
        done: n,
        failed: Failed([n + 1, n + 2, n + 3, n + 4]),
        reason: None,
        timed_out: n + 5,
        unanswered: n + 6,
        retried: n + 7,
        good: n + 8,
        non_2xx: n + 9,
        keep_alive: n + 10,
        transferred: n + 11,
        useful: n + 12,
        html: n + 13,
        sent: n + 14,
        connect: times(0),
        processing: times(1),
        waiting: times(2),
        total: times(3),
        response: times(4),
        software: String::new(),
        cpu: Some(Duration::from_secs(n)),
        document: None,
        broken: None,
    }
}

#[test]
fn merging_threads_adds_every_count() {
    let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(1));
    let named = |mut tally: Tally, name: &str| {
        let name = || name.to_owned();
        (tally.reason, tally.software, tally.broken) = (Some(name()), name(), Some(name()));
        tally.document = Some(7);
        tally
    };
    let (one, other) = (tally(late, 100), named(tally(early, 1000), "other"));
    // Without `..`: a new count is to be thought of here too.
    let Tally {
        last,
        done,
        failed,
        reason,
        timed_out,
        unanswered,
        retried,
        good,
        non_2xx,
        keep_alive,
        transferred,
        useful,
        html,
        sent,
        connect,
        processing,
        waiting,
        total,
        response,
        software,
        cpu,
        document,
        broken,
    } = one.merged(other);
    assert_eq!((last, document), (Some(early + Duration::from_secs(1000)), Some(7)));
    assert_eq!((done, failed.0), (1100, [1102, 1104, 1106, 1108]));
    assert_eq!((timed_out, unanswered, retried, good), (1110, 1112, 1114, 1116));
    assert_eq!((non_2xx, keep_alive, transferred), (1118, 1120, 1122));
    assert_eq!((useful, html, sent), (1124, 1126, 1128));
    assert_eq!(cpu, Some(Duration::from_secs(1100)));
    let times = [connect, processing, waiting, total, response];
    for (histogram, from) in times.iter().zip(0..) {
        let range = (histogram.min(), histogram.max());
        assert_eq!(histogram.count(), 2 * (from + 1));
        assert_eq!(range, (100 + from, 1000 + 2 * from));
    }
    let words = (reason.as_deref(), &*software, broken.as_deref());
    assert_eq!(words, (Some("other"), "other", Some("other")));
    // The first name and the first reason stay.
    let first = named(tally(early, 0), "first").merged(named(tally(early, 0), "second"));
    let words = (first.reason.as_deref(), &*first.software);
    assert_eq!(words, (Some("first"), "first"));
}

#[test]
fn each_round_begins_with_another_target_and_keeps_the_levels_apart() {
    let plans = parse(&["-n", "9", "-c", "1,9", "a", "b", "c"]).expect("valid").plans;
    let first = [0, 1, 2, 3, 4, 5];
    let expected = [first, first, [1, 2, 0, 4, 5, 3], [2, 0, 1, 5, 3, 4], first];
    for (round, places) in expected.into_iter().enumerate() {
        assert_eq!(order(&plans, round), places.map(|place| (round, place)));
    }
}

#[test]
fn a_rate_of_a_curve_has_two_digits() {
    for (rate, shown) in [(0.0, 1.0), (7.6, 8.0), (123.0, 120.0), (98_765.0, 99_000.0)] {
        assert_eq!(two_digits(rate), shown);
    }
}

#[test]
fn a_date_is_written_as_by_ctime() {
    assert_eq!(calendar(0), "Thu Jan  1 00:00:00 1970");
    assert_eq!(calendar(1_795_442_848), "Mon Nov 23 14:07:28 2026");
}

#[test]
fn a_line_of_stat_is_read_whatever_the_program_is_called() {
    let rest = "S 41 42 42 0 -1 4194560 2112 0 0 0 123 45 6 7 20 0 3 0 445534 5677056 257";
    for name in ["nginx", "a b", "evil) R 1 2", ""] {
        let stat = parse_stat(&format!("4711 ({name}) {rest}\n"));
        assert_eq!(stat, Some(Stat { parent: 41, ticks: [123, 45] }), "{name}");
    }
    for broken in ["", "4711 (nginx", "4711 (nginx) S 41", "1 (x) S y 2 3"] {
        assert_eq!(parse_stat(broken), None, "{broken}");
    }
}

#[test]
fn threads_that_came_and_went_are_counted_in_ticks() {
    let cpu = |threads: &[(u32, u64)], ticks: u64| Cpu {
        threads: threads.iter().copied().collect(),
        ticks: [ticks / 4, ticks - ticks / 4],
        processes: 1,
        preempted: 0,
    };
    let then = cpu(&[(1, 1_000), (2, 500)], 10);
    for (now, ticks, expected) in [
        (&[(1, 3_000), (2, 700)][..], 11, Duration::from_nanos(2_200)),
        (&[(1, 3_000), (3, 9)], 14, Duration::from_millis(40)),
        (&[(1, 3_000), (2, 700)], 60, Duration::from_millis(500)),
    ] {
        assert_eq!(cpu(now, ticks).since(&then), expected, "{now:?}");
    }
    let (none, some) = (cpu(&[], 0), cpu(&[], 40));
    assert_eq!(some.since(&none), Duration::from_millis(400), "without schedstat");
    assert_eq!(none.kernel_share_since(&none), None);
    assert_eq!(some.kernel_share_since(&none), Some(0.75));
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_and_a_thread_know_their_time() {
    let then = Cpu::of(&[std::process::id()]).expect("readable");
    assert!(then.since(&then).is_zero());
    assert!(of_this_thread().is_some_and(|time| !time.is_zero()));
}

#[test]
fn numbers_are_written_as_people_write_them() {
    let shown = [0.0421, 9.876, 42.04, 151.3, 23_999.3, 1_234_567.0].map(number);
    assert_eq!(shown, ["0.042", "9.88", "42.0", "151", "23,999", "1,234,567"]);
}

#[test]
fn ticks_are_round_and_few_and_every_value_lies_within() {
    let names = |scale: &Scale| scale.ticks.iter().map(|t| t.1.clone()).collect::<Vec<_>>();
    let zero = names(&Scale::from_zero(83_000.0));
    assert_eq!(zero, ["0", "20,000", "40,000", "60,000", "80,000", "100,000"]);
    let log = Scale::log(0.011, 0.9);
    assert_eq!(names(&log), ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
    assert!((log.share(0.1) - 0.5).abs() < 1e-9);
    assert_eq!((log.share(0.0), log.share(99.0)), (0.0, 1.0));
    let counts = [(0.003, 90.0), (1.0, 1.0), (0.0, 0.0), (5e-7, 1e7), (0.02, 1.9)]
        .map(|(low, high)| Scale::log(low, high).ticks.len());
    assert!(counts.iter().all(|count| (2..=18).contains(count)), "{counts:?}");
}
