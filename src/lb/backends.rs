//! The backends: who they are, who is down until when and why, and how busy each is.
//!
//! Knows neither sockets nor HTTP: a backend here is a number with a name and a state. All
//! workers and the probes share it; what changes is atomic. Entry point: [`Backends::next`].
//! Note: `notes/lb.md`.

use super::policy::{Policy, Pool};
use super::stats::{Counters, Sum};
use std::collections::VecDeque;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a backend that failed a request is passed over, if no probe finds it well earlier.
const DOWN_FOR: Duration = Duration::from_secs(1);

/// Events kept for the status page.
const EVENTS: usize = 50;

/// A server in the list.
#[derive(Debug)]
pub struct Backend {
    /// As it was given.
    pub name: String,
    /// Where it is: a name may stand for several addresses, which are tried in this order.
    pub addresses: Vec<SocketAddr>,
    /// How many turns it has to one of a backend of weight 1.
    pub weight: u32,
    /// It failed a request: in ms since the start; 0: it did not.
    failed_until: AtomicU64,
    /// The last probe found it unwell.
    probe_failed: AtomicBool,
    /// It was told as ejected, and not yet as back.
    ejected: AtomicBool,
}

impl Backend {
    /// A backend that is up.
    pub fn new(name: String, addresses: Vec<SocketAddr>, weight: u32) -> Backend {
        let (failed_until, probe_failed) = (AtomicU64::new(0), AtomicBool::new(false));
        Backend {
            name,
            addresses,
            weight,
            failed_until,
            probe_failed,
            ejected: AtomicBool::new(false),
        }
    }

    fn is_up(&self, now_ms: u64) -> bool {
        !self.probe_failed.load(Relaxed) && self.failed_until.load(Relaxed) <= now_ms
    }
}

/// Something that happened to a backend.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// In words.
    pub text: String,
}

/// The list, the policy, and what is known of everyone.
#[derive(Debug)]
pub struct Backends {
    list: Vec<Backend>,
    policy: Box<dyn Policy>,
    /// By worker, then by backend.
    counters: Vec<Vec<Counters>>,
    events: Mutex<VecDeque<Event>>,
    ejections: AtomicUsize,
    started: Instant,
}

impl Backends {
    /// A list in which everyone is up.
    pub fn new(list: Vec<Backend>, policy: Box<dyn Policy>, workers: usize) -> Backends {
        let counters = (0..workers)
            .map(|_| list.iter().map(|_| Counters::default()).collect())
            .collect();
        let (events, ejections) = (Mutex::default(), AtomicUsize::new(0));
        Backends {
            list,
            policy,
            counters,
            events,
            ejections,
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

    /// A worker's numbers, by backend.
    pub fn counters(&self, worker: usize) -> &[Counters] {
        &self.counters[worker]
    }

    /// All workers' numbers about a backend.
    pub fn sum(&self, number: usize) -> Sum {
        Sum::of(self.counters.iter().map(|worker| &worker[number]))
    }

    /// The next one that is up and not among `tried`; None if there is none.
    pub fn next(&self, tried: &[usize], now: Instant) -> Option<usize> {
        self.policy.next(&Choice {
            backends: self,
            tried,
            now_ms: self.ms(now),
        })
    }

    /// Whether it may be picked.
    pub fn is_up(&self, number: usize, now: Instant) -> bool {
        self.list[number].is_up(self.ms(now))
    }

    /// How often someone was ejected: if it has changed, waiting for one of them may be vain.
    pub fn ejections(&self) -> usize {
        self.ejections.load(Relaxed)
    }

    /// A request failed: the next ones pass the backend over for a while. Where it may have been
    /// the request's own fault (`doubtful`), half of the backends stay whatever happens:
    /// otherwise one request that no backend survives, tried on all, would end the service.
    pub fn failed(&self, number: usize, why: &dyn Display, doubtful: bool, now: Instant) {
        let now_ms = self.ms(now);
        let others = (0..self.len())
            .filter(|&n| n != number && self.list[n].is_up(now_ms))
            .count();
        if doubtful && 2 * others < self.len() {
            return;
        }
        self.list[number]
            .failed_until
            .store(self.ms(now + DOWN_FOR), Relaxed);
        self.eject(number, why);
    }

    /// A request succeeded.
    pub fn succeeded(&self, number: usize, now: Instant) {
        if self.list[number].ejected.load(Relaxed) && self.is_up(number, now) {
            self.welcome(number);
        }
    }

    /// A probe found it unwell: it is passed over until one finds it well.
    pub fn probe_failed(&self, number: usize, why: &dyn Display) {
        self.list[number].probe_failed.store(true, Relaxed);
        self.eject(number, why);
    }

    /// A probe found it well.
    pub fn probe_succeeded(&self, number: usize) {
        self.list[number].failed_until.store(0, Relaxed);
        self.list[number].probe_failed.store(false, Relaxed);
        self.welcome(number);
    }

    fn eject(&self, number: usize, why: &dyn Display) {
        if !self.list[number].ejected.swap(true, Relaxed) {
            self.ejections.fetch_add(1, Relaxed);
            self.tell(format!("{} ejected: it {why}", self.list[number].name));
        }
    }

    fn welcome(&self, number: usize) {
        if self.list[number].ejected.swap(false, Relaxed) {
            self.tell(format!("{} is back", self.list[number].name));
        }
    }

    fn tell(&self, text: String) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.truncate(EVENTS - 1);
        events.push_front(Event {
            at: Instant::now(),
            text,
        });
    }

    /// What happened, the latest first.
    pub fn events(&self) -> Vec<Event> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// Since the start.
    pub fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_millis() as u64
    }
}

/// What the policy sees for one request.
struct Choice<'a> {
    backends: &'a Backends,
    tried: &'a [usize],
    now_ms: u64,
}

impl Pool for Choice<'_> {
    fn serves(&self, number: usize) -> bool {
        !self.tried.contains(&number) && self.backends.list[number].is_up(self.now_ms)
    }

    fn load(&self, number: usize) -> u64 {
        // Read while others count, so a sum may be off by a few; a policy lives with that.
        let loads = self
            .backends
            .counters
            .iter()
            .map(|worker| worker[number].in_flight.get());
        loads.fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lb::policy;

    fn four() -> Backends {
        let backend = |port| {
            Backend::new(
                format!("b:{port}"),
                vec![SocketAddr::from(([127, 0, 0, 1], port))],
                1,
            )
        };
        let policy = policy::by_name("round-robin", &[1; 4]).expect("a known name");
        Backends::new((9002..9006).map(backend).collect(), policy, 2)
    }

    #[test]
    fn who_failed_or_was_tried_is_passed_over() {
        let (backends, now) = (four(), Instant::now());
        backends.failed(1, &"failed", false, now);
        let order: Vec<_> = (0..5).map(|_| backends.next(&[3], now)).collect();
        assert_eq!(order, [0, 2, 0, 2, 0].map(Some));
        assert_eq!(backends.next(&[0, 2, 3], now), None);
        assert_eq!(backends.next(&[0, 2, 3], now + 2 * DOWN_FOR), Some(1));
    }

    #[test]
    fn a_request_that_no_backend_survives_does_not_end_the_service() {
        let (backends, now) = (four(), Instant::now());
        for number in 0..4 {
            backends.failed(number, &"closed", true, now);
        }
        assert_eq!((0..4).filter(|&n| backends.is_up(n, now)).count(), 2);
        for number in 0..4 {
            backends.failed(number, &"refused", false, now);
        }
        assert_eq!(backends.next(&[], now), None);
    }

    #[test]
    fn each_change_of_state_is_told_once() {
        let (backends, now) = (four(), Instant::now());
        backends.failed(2, &"refused", false, now);
        backends.probe_failed(2, &"refused");
        backends.succeeded(2, now);
        assert!(
            !backends.is_up(2, now + 2 * DOWN_FOR),
            "only a probe undoes a probe"
        );
        backends.probe_succeeded(2);
        backends.probe_succeeded(2);
        assert!(backends.is_up(2, now));
        let told: Vec<_> = backends.events().into_iter().map(|e| e.text).collect();
        assert_eq!(told, ["b:9004 is back", "b:9004 ejected: it refused"]);
        assert_eq!(backends.ejections(), 1);
    }
}
