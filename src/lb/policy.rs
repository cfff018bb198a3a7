//! Which backend is next? One question, three interchangeable answers: round-robin,
//! least-connections, two-choices.
//!
//! Knows neither sockets nor HTTP, and not why a backend may be passed over: a backend here is
//! a number, whether it serves, and how many requests it is busy with. All workers share one
//! policy, so what it remembers is atomic. Note: `notes/lb.md`.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What a policy may ask about the backend with this number.
pub trait Pool {
    /// Whether it may be picked now.
    fn serves(&self, number: usize) -> bool;
    /// How many requests it is busy with.
    fn load(&self, number: usize) -> u64;
}

/// The interface that all share.
pub trait Policy: Debug + Send + Sync {
    /// The backend for the next request; None if nobody serves.
    fn next(&self, pool: &dyn Pool) -> Option<usize>;
}

/// The words for `--policy`.
pub const NAMES: [&str; 3] = ["round-robin", "least-connections", "two-choices"];

/// The policy of this name, for backends of these weights.
pub fn by_name(name: &str, weights: &[u32]) -> Option<Box<dyn Policy>> {
    Some(match name {
        "round-robin" => Box::new(RoundRobin { turns: turns(weights), index: AtomicUsize::new(0) }),
        "least-connections" => Box::new(LeastConnections {
            turns: turns(weights),
            weights: weights.to_vec(),
            index: AtomicUsize::new(0),
        }),
        "two-choices" => Box::new(TwoChoices {
            turns: turns(weights),
            weights: weights.to_vec(),
            draws: AtomicU64::new(0),
        }),
        _ => return None,
    })
}

/// Everyone in turn; who weighs twice as much has two turns.
#[derive(Debug)]
struct RoundRobin {
    turns: Vec<usize>,
    index: AtomicUsize,
}

impl Policy for RoundRobin {
    fn next(&self, pool: &dyn Pool) -> Option<usize> {
        // Each step of the search takes a turn of its own, so that the turns of one who is down
        // are spread over all and do not fall to its neighbour.
        let turn = |_| self.turns[self.index.fetch_add(1, Relaxed) % self.turns.len()];
        let in_turn = (0..self.turns.len()).map(turn).find(|&number| pool.serves(number));
        // Other workers take turns meanwhile and may have taken the only good ones.
        in_turn.or_else(|| self.turns.iter().copied().find(|&number| pool.serves(number)))
    }
}

/// Who is busy with the fewest requests, for its weight. Among equals, everyone in turn.
#[derive(Debug)]
struct LeastConnections {
    turns: Vec<usize>,
    weights: Vec<u32>,
    index: AtomicUsize,
}

impl Policy for LeastConnections {
    fn next(&self, pool: &dyn Pool) -> Option<usize> {
        let first = self.turns[self.index.fetch_add(1, Relaxed) % self.turns.len()];
        // Of several that are the least busy the first is taken, so the search begins with
        // whose turn it is.
        (0..self.weights.len())
            .map(|step| (first + step) % self.weights.len())
            .filter(|&number| pool.serves(number))
            .min_by(|&a, &b| busier(pool, &self.weights, 0, a, b))
    }
}

/// Which of two is busier for its weight, with so many requests more.
fn busier(pool: &dyn Pool, weights: &[u32], more: u64, a: usize, b: usize) -> Ordering {
    // a/v < b/w without a division
    let busy = |number, other: usize| (pool.load(number) + more) * u64::from(weights[other]);
    busy(a, b).cmp(&busy(b, a))
}

/// Two drawn at random, the less busy one of them: nearly as even as asking everyone, and it
/// does not send every worker to the same idle backend at the same moment.
#[derive(Debug)]
struct TwoChoices {
    turns: Vec<usize>,
    weights: Vec<u32>,
    draws: AtomicU64,
}

impl TwoChoices {
    fn draw(&self) -> usize {
        // splitmix64: a counter is made to look random, so threads need to share no more.
        let mut z = self.draws.fetch_add(1, Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.turns[((z ^ (z >> 31)) % self.turns.len() as u64) as usize]
    }

    /// Someone who may be picked; if luck does not find one soon, the next in the list.
    fn draw_one(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        let drawn = (0..4).map(|_| self.draw()).find(|&number| may(number));
        drawn.or_else(|| self.turns.iter().copied().find(|&number| may(number)))
    }
}

impl Policy for TwoChoices {
    fn next(&self, pool: &dyn Pool) -> Option<usize> {
        let a = self.draw_one(|number| pool.serves(number))?;
        let b = self.draw_one(|number| number != a && pool.serves(number)).unwrap_or(a);
        Some(match busier(pool, &self.weights, 1, a, b) {
            Ordering::Greater => b,
            _ => a,
        })
    }
}

/// One round in which everyone has as many turns as it weighs, spread as evenly as they can be
/// (the smooth weighted round robin of nginx): for 2 and 1 it is 0 1 0, not 0 0 1.
fn turns(weights: &[u32]) -> Vec<usize> {
    let total: i64 = weights.iter().map(|&w| i64::from(w)).sum();
    let mut credit = vec![0i64; weights.len()];
    let turn = |_| {
        for (credit, &weight) in credit.iter_mut().zip(weights) {
            *credit += i64::from(weight);
        }
        // The first of those with the most credit.
        let richest = (0..credit.len()).rev().max_by_key(|&n| credit[n]).unwrap_or(0);
        credit[richest] -= total;
        richest
    };
    (0..total).map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Backends with the given loads; a negative one does not serve.
    struct Loads(Vec<i64>);

    impl Pool for Loads {
        fn serves(&self, number: usize) -> bool {
            self.0[number] >= 0
        }
        fn load(&self, number: usize) -> u64 {
            self.0[number].unsigned_abs()
        }
    }

    fn picks(policy: &dyn Policy, loads: &[i64], count: usize) -> Vec<usize> {
        let pool = Loads(loads.to_vec());
        (0..count).map(|_| policy.next(&pool).expect("someone serves")).collect()
    }

    fn policy(name: &str, weights: &[u32]) -> Box<dyn Policy> {
        by_name(name, weights).expect("a known name")
    }

    #[test]
    fn round_robin_gives_everyone_a_turn_and_the_heavy_more() {
        assert_eq!(picks(&*policy("round-robin", &[1; 4]), &[0; 4], 8), [0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!(picks(&*policy("round-robin", &[2, 1]), &[0; 2], 6), [0, 1, 0, 0, 1, 0]);
        assert_eq!(turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn the_turns_of_one_who_is_down_are_spread_over_all() {
        let mut counts = [0; 4];
        for number in picks(&*policy("round-robin", &[1; 4]), &[0, -1, 0, 0], 300) {
            counts[number] += 1;
        }
        assert_eq!(counts, [100, 0, 100, 100]);
    }

    #[test]
    fn many_threads_share_one_round() {
        let robin = policy("round-robin", &[1; 4]);
        let counts: [AtomicUsize; 4] = Default::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in picks(&*robin, &[0; 4], 1000) {
                        counts[number].fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert_eq!(counts.map(AtomicUsize::into_inner), [1000; 4]);
    }

    #[test]
    fn least_connections_picks_the_least_busy_for_its_weight() {
        let fewest = policy("least-connections", &[1; 4]);
        assert_eq!(picks(&*fewest, &[3, 1, 2, 2], 3), [1, 1, 1]);
        assert_eq!(picks(&*fewest, &[3, -1, 2, 5], 2), [2, 2]);
        let equals = picks(&*fewest, &[0; 4], 8);
        assert!((0..4).all(|n| equals.iter().filter(|&&e| e == n).count() == 2), "{equals:?}");
        assert_eq!(picks(&*policy("least-connections", &[4, 1]), &[2, 1], 2), [0, 0]);
        assert_eq!(
            picks(&*policy("least-connections", &[2, 1]), &[0, 0], 3),
            [0, 1, 0],
            "idle, they take turns by weight"
        );
    }

    #[test]
    fn two_choices_never_picks_the_busiest_and_spreads_the_rest() {
        let mut counts = [0; 4];
        for number in picks(&*policy("two-choices", &[1; 4]), &[9, 0, 0, 0], 3000) {
            counts[number] += 1;
        }
        assert_eq!(counts[0], 0);
        assert!(counts[1..].iter().all(|&c| c > 700), "{counts:?}");
        assert_eq!(picks(&*policy("two-choices", &[1; 4]), &[-1, -1, 5, -1], 2), [2, 2]);
        assert_eq!(
            picks(&*policy("two-choices", &[3, 1]), &[1, 0], 3),
            [0, 0, 0],
            "two of three are fewer than one of one"
        );
    }

    #[test]
    fn nobody_serves() {
        for name in NAMES {
            assert_eq!(policy(name, &[1; 2]).next(&Loads(vec![-1, -1])), None, "{name}");
        }
    }
}
