//! Which backend is next, and who is down until when.
//!
//! Knows neither sockets nor HTTP: a backend here is a number with a name and a state. All
//! workers share it; what they write is atomic. Entry point: [`Backends::next`].
//! Note: `notes/lb.md`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a backend that failed is passed over.
const DOWN_FOR: Duration = Duration::from_secs(1);

/// A server in the list.
#[derive(Debug)]
pub struct Backend {
    /// As it was given.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// In ms since the start; 0: it is up.
    down_until: AtomicU64,
}

/// The list, and the index that makes them take turns.
#[derive(Debug)]
pub struct Backends {
    list: Vec<Backend>,
    index: AtomicUsize,
    started: Instant,
}

impl Backends {
    /// A list in which everyone is up.
    pub fn new(list: impl IntoIterator<Item = (String, SocketAddr)>) -> Backends {
        let up = |(name, address)| Backend {
            name,
            address,
            down_until: AtomicU64::new(0),
        };
        let list = list.into_iter().map(up).collect();
        Backends {
            list,
            index: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The backend with this number.
    pub fn get(&self, number: usize) -> &Backend {
        &self.list[number]
    }

    /// The next one in turn that is up and not among `tried`; None if there is none.
    pub fn next(&self, tried: &[usize], now: Instant) -> Option<usize> {
        let now = self.ms(now);
        let serves = |number: &usize| {
            !tried.contains(number) && self.list[*number].down_until.load(Relaxed) <= now
        };
        // Each step of the search takes a turn of its own, so that the turns of one who is down
        // are spread over all and do not fall to its neighbour.
        let turn = |_| self.index.fetch_add(1, Relaxed) % self.list.len();
        let in_turn = (0..self.list.len()).map(turn).find(serves);
        // Other workers take turns meanwhile and may have taken the only good ones.
        in_turn.or_else(|| (0..self.list.len()).find(serves))
    }

    /// The backend did not serve: the next requests pass it over for a while.
    pub fn failed(&self, number: usize, now: Instant) {
        let until = self.ms(now + DOWN_FOR);
        self.list[number].down_until.store(until, Relaxed);
    }

    fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four() -> Backends {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Backends::new((9002..9006).map(|port| (format!("127.0.0.1:{port}"), address(port))))
    }

    #[test]
    fn everyone_takes_turns() {
        let (backends, now) = (four(), Instant::now());
        let order: Vec<_> = (0..8).map(|_| backends.next(&[], now)).collect();
        assert_eq!(order, [0, 1, 2, 3, 0, 1, 2, 3].map(Some));
    }

    #[test]
    fn who_failed_or_was_tried_is_passed_over() {
        let (backends, now) = (four(), Instant::now());
        backends.failed(1, now);
        let order: Vec<_> = (0..5).map(|_| backends.next(&[3], now)).collect();
        assert_eq!(order, [0, 2, 0, 2, 0].map(Some));
        assert_eq!(backends.next(&[0, 2, 3], now), None);
        assert_eq!(backends.next(&[0, 2, 3], now + 2 * DOWN_FOR), Some(1));
    }

    #[test]
    fn many_threads_share_one_turn() {
        let (backends, now) = (four(), Instant::now());
        let counts: [AtomicUsize; 4] = Default::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let number = backends.next(&[], now).expect("all are up");
                        counts[number].fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert_eq!(counts.map(AtomicUsize::into_inner), [1000; 4]);
    }
}
