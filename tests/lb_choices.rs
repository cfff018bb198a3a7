//! Decisions of the load balancer that need no socket, as tables: which backend each policy picks,
//! which are passed over, what is counted of them, and who may see the status page.

use progjar::cli::quoted;
use progjar::lb::balance::backends::{Backend, Backends, DOWN_FOR};
use progjar::lb::balance::counters::{Counters, Sum};
use progjar::lb::balance::policy::{NAMES, Policy};
use progjar::lb::status::is_asked_from_here;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

fn policy(name: &str, weights: &[u32]) -> Policy {
    Policy::new(name, weights.to_vec()).expect("a known name")
}

/// The next ones, of backends with these loads; a negative one does not serve.
fn picks(policy: &Policy, loads: &[i64], count: usize) -> Vec<usize> {
    let next = |_| policy.next(&|id| loads[id] >= 0, &|id| loads[id].unsigned_abs());
    (0..count).map(|n| next(n).expect("someone serves")).collect()
}

/// How often each of four was picked.
fn counts(picks: &[usize]) -> [usize; 4] {
    [0, 1, 2, 3].map(|id| picks.iter().filter(|&&pick| pick == id).count())
}

#[test]
fn each_policy_picks_by_turn_weight_and_load() {
    for (name, weights, loads, expected) in [
        ("round-robin", &[1, 1, 1, 1][..], &[0, 0, 0, 0][..], &[0, 1, 2, 3, 0, 1, 2, 3][..]),
        ("round-robin", &[2, 1], &[0, 0], &[0, 1, 0, 0, 1, 0]),
        ("round-robin", &[5, 1, 1], &[0, 0, 0], &[0, 0, 1, 0, 2, 0, 0]),
        // The turns of one that is down are spread over all.
        ("round-robin", &[1, 1, 1, 1], &[0, -1, 0, 0], &[0, 2, 3, 0, 2, 3, 0, 2, 3]),
        ("least-connections", &[1, 1, 1, 1], &[3, 1, 2, 2], &[1, 1, 1]),
        ("least-connections", &[1, 1, 1, 1], &[3, -1, 2, 5], &[2, 2]),
        ("least-connections", &[1, 1, 1, 1], &[0, 0, 0, 0], &[0, 1, 2, 3, 0, 1, 2, 3]),
        ("least-connections", &[4, 1], &[2, 1], &[0, 0]),
        ("least-connections", &[2, 1], &[0, 0], &[0, 1, 0]),
        ("two-choices", &[1, 1, 1, 1], &[-1, -1, 5, -1], &[2, 2]),
        // Two of three are fewer than one of one.
        ("two-choices", &[3, 1], &[1, 0], &[0, 0, 0]),
    ] {
        let policy = policy(name, weights);
        assert_eq!(picks(&policy, loads, expected.len()), expected, "{name} {weights:?}");
    }
    for name in NAMES {
        assert_eq!(policy(name, &[1; 2]).next(&|_| false, &|_| 0), None, "{name}");
    }
}

#[test]
fn many_threads_share_one_round() {
    let robin = policy("round-robin", &[1; 4]);
    let picks = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(|| picks(&robin, &[0; 4], 1000)));
        threads.map(|thread| thread.join().expect("no panic")).concat()
    });
    assert_eq!(counts(&picks), [1000; 4]);
}

#[test]
fn two_choices_never_picks_the_busiest_and_spreads_the_rest() {
    let counts = counts(&picks(&policy("two-choices", &[1; 4]), &[9, 0, 0, 0], 3000));
    assert_eq!(counts[0], 0);
    assert!(counts[1..].iter().all(|&c| c > 700), "{counts:?}");
}

#[test]
fn the_status_is_shown_to_a_loopback_peer_that_asks_for_a_loopback_host() {
    let here = "localhost localhost:44444 LocalHost:1 localhost: 127.0.0.1 127.0.0.1:80 \
        127.255.0.9 [::1] [::1]:44444 [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1]";
    // The first one is empty.
    let elsewhere = " evil.example evil.example:44444 localhost.evil.example evil-localhost \
        localhost. 127.0.0.1.evil.example 127.1 2130706433 0x7f.0.0.1 0.0.0.0 128.0.0.1 \
        192.0.2.1:80 [::] [::2] [fe80::1] :: localhost:44444:1";
    let hosts = here.split(' ').map(|host| (Some(host), true)).chain([(None, true)]);
    let hosts = hosts.chain(elsewhere.split(' ').map(|host| (Some(host), false)));
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    for (host, is_here) in hosts {
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(is_asked_from_here(host, address(peer)), is_here, "{host:?}, {peer}");
        }
        for peer in ["192.0.2.1", "10.0.0.1", "0.0.0.0", "fe80::1", "::ffff:192.0.2.1"] {
            assert!(!is_asked_from_here(host, address(peer)), "{host:?} from {peer}");
        }
    }
}

fn four() -> Backends {
    let backend = |port| Backend::new(format!("b:{port}"), vec![], 1);
    Backends::new((9002..9006).map(backend).collect(), policy("round-robin", &[1; 4]), 2)
}

#[test]
fn who_failed_or_was_tried_is_passed_over() {
    let (backends, now) = (four(), Instant::now());
    backends.eject(1, &"failed", false, Some(now + DOWN_FOR));
    let order = [(); 5].map(|()| backends.next(&[3], now));
    assert_eq!(order, [0, 2, 0, 2, 0].map(Some));
    assert_eq!(backends.next(&[0, 2, 3], now), None);
    assert!(!backends.has_next(&[0, 2, 3], now));
    assert_eq!(backends.next(&[0, 2, 3], now + 2 * DOWN_FOR), Some(1));
}

#[test]
fn if_nobody_is_up_those_that_do_not_refuse_are_asked_all_the_same() {
    let (backends, now) = (four(), Instant::now());
    backends.eject(0, &"refused", true, Some(now + DOWN_FOR));
    backends.eject(1, &"refused", true, None);
    backends.eject(2, &"was silent", false, Some(now + DOWN_FOR));
    assert_eq!(backends.next(&[], now), Some(3));
    assert!(!backends.has_next(&[3], now), "somebody is up");
    backends.eject(3, &"was silent", false, None);
    assert!(!backends.is_anyone_up(now));
    let asked = [(); 4].map(|()| backends.next(&[], now));
    assert_eq!(asked, [2, 3, 2, 3].map(Some));
    backends.eject(2, &"refused", true, Some(now + DOWN_FOR));
    backends.eject(3, &"refused", true, None);
    assert_eq!(backends.next(&[], now), None);
}

#[test]
fn silent_is_who_answers_nobody_although_others_wait() {
    let (backends, so_long) = (four(), Duration::from_millis(500));
    let now = Instant::now() + Duration::from_secs(10);
    assert!(!backends.is_silent(1, so_long, now), "nobody waits");
    backends.counters[0][1].in_flight.up();
    assert!(backends.is_silent(1, so_long, now));
    // Another worker heard of it, or a probe did.
    let heard = &backends.counters[1][1].heard;
    heard.set(backends.ms(now) - 499);
    assert!(!backends.is_silent(1, so_long, now));
    heard.set(backends.ms(now) - 500);
    assert!(backends.is_silent(1, so_long, now));
    backends.succeeded(1, true, now);
    assert!(!backends.is_silent(1, so_long, now));
}

#[test]
fn each_change_of_state_is_told_once() {
    let (backends, now) = (four(), Instant::now());
    backends.eject(2, &"refused", true, Some(now + DOWN_FOR));
    backends.eject(2, &"refused", true, None);
    backends.succeeded(2, false, now);
    assert!(!backends.is_up(2, now + 2 * DOWN_FOR), "only a probe undoes a probe");
    backends.succeeded(2, true, now);
    backends.succeeded(2, true, now);
    assert!(backends.is_up(2, now));
    let told: Vec<_> = backends.events().into_iter().map(|(_, text)| text).collect();
    assert_eq!(told, ["b:9004 is back", "b:9004 ejected: it refused"]);
    assert_eq!(backends.ejections.load(Relaxed), 1);
}

/// The time in ms within which a share of the answers was passed on, if they took so long.
fn percentile(share: f64, times: impl Iterator<Item = Duration>) -> Option<f64> {
    let counters = Counters::default();
    times.for_each(|time| counters.answered(time));
    Sum::of([&counters].into_iter()).percentile(share)
}

#[test]
fn percentiles_of_known_times() {
    assert_eq!(percentile(0.5, [].into_iter()), None);
    for (share, exact) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
        let found = percentile(share, (1..=100).map(Duration::from_millis));
        let found = found.expect("there are times");
        assert!((exact..=exact * 1.2).contains(&found), "{share}: {found} for {exact}");
    }
}

#[test]
fn every_time_lies_in_its_bucket() {
    let longest = |time| percentile(1.0, [time].into_iter()).expect("there is a time");
    for us in (0..2000).chain((2000..100_000_000).step_by(99_991)) {
        assert!(us as f64 / 1000.0 <= longest(Duration::from_micros(us)), "{us}");
    }
    // The last bucket has all that are longer than an hour.
    assert_eq!(longest(Duration::from_secs(1 << 40)), longest(Duration::from_secs(1 << 41)));
}

#[test]
fn strings_are_quoted_as_json_wants() {
    assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
}
