//! Decisions of the load balancer that need no socket, as tables: which backend each policy picks,
//! and who may see the status page.

use progjar::lb::balance::policy::{NAMES, Policy};
use progjar::lb::status::is_asked_from_here;
use std::net::IpAddr;

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
