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
    /// What spoke against it last was a clear no, not silence or a lost answer.
    refuses: AtomicBool,
    /// When a probe found it well: in ms since the start.
    found_well: AtomicU64,
    /// It was told as ejected, and not yet as back.
    ejected: AtomicBool,
}

impl Backend {
    /// A backend that is up.
    pub fn new(name: String, addresses: Vec<SocketAddr>, weight: u32) -> Backend {
        Backend {
            name,
            addresses,
            weight,
            failed_until: AtomicU64::new(0),
            probe_failed: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            found_well: AtomicU64::new(0),
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
        let counters =
            (0..workers).map(|_| list.iter().map(|_| Counters::default()).collect()).collect();
        let (events, ejections) = (Mutex::default(), AtomicUsize::new(0));
        Backends { list, policy, counters, events, ejections, started: Instant::now() }
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

    /// The next one that may be asked and is not among `tried`; None if there is none.
    pub fn next(&self, tried: &[usize], now: Instant) -> Option<usize> {
        self.policy.next(&self.choice(tried, now))
    }

    /// Whether there is a next one.
    pub fn has_next(&self, tried: &[usize], now: Instant) -> bool {
        let choice = self.choice(tried, now);
        (0..self.len()).any(|number| choice.serves(number))
    }

    fn choice<'a>(&'a self, tried: &'a [usize], now: Instant) -> Choice<'a> {
        Choice {
            backends: self,
            tried,
            now_ms: self.ms(now),
            is_last_resort: !self.is_anyone_up(now),
        }
    }

    /// Whether anyone may be picked.
    pub fn is_anyone_up(&self, now: Instant) -> bool {
        let now_ms = self.ms(now);
        self.list.iter().any(|backend| backend.is_up(now_ms))
    }

    /// Whether it may be picked.
    pub fn is_up(&self, number: usize, now: Instant) -> bool {
        self.list[number].is_up(self.ms(now))
    }

    /// How often someone was ejected: if it has changed, waiting for one of them may be vain.
    pub fn ejections(&self) -> usize {
        self.ejections.load(Relaxed)
    }

    /// Whether it has answered nobody, not even a probe, for so long, although somebody waits.
    pub fn is_silent(&self, number: usize, so_long: Duration, now: Instant) -> bool {
        let since = self.ms(now).saturating_sub(so_long.as_millis() as u64);
        let mut heard = self.counters.iter().map(|worker| &worker[number].heard);
        self.list[number].found_well.load(Relaxed) <= since
            && heard.all(|heard| heard.get() <= since)
            && self.load(number) > 0
    }

    /// Requests that it is busy with.
    fn load(&self, number: usize) -> u64 {
        // Read while others count, so a sum may be off by a few; who asks lives with that.
        let loads = self.counters.iter().map(|worker| worker[number].in_flight.get());
        loads.fold(0, u64::wrapping_add)
    }

    /// A request failed: the next ones pass the backend over for a while. `refuses`: not even
    /// as a last resort is it asked.
    pub fn failed(&self, number: usize, why: &dyn Display, refuses: bool, now: Instant) {
        let backend = &self.list[number];
        backend.failed_until.store(self.ms(now + DOWN_FOR), Relaxed);
        backend.refuses.store(refuses, Relaxed);
        self.eject(number, why);
    }

    /// A request succeeded.
    pub fn succeeded(&self, number: usize, now: Instant) {
        if self.list[number].ejected.load(Relaxed) && self.is_up(number, now) {
            self.welcome(number);
        }
    }

    /// A probe found it unwell: it is passed over until one finds it well. `refuses`: as above.
    pub fn probe_failed(&self, number: usize, why: &dyn Display, refuses: bool) {
        self.list[number].refuses.store(refuses, Relaxed);
        self.list[number].probe_failed.store(true, Relaxed);
        self.eject(number, why);
    }

    /// A probe found it well.
    pub fn probe_succeeded(&self, number: usize, now: Instant) {
        self.list[number].found_well.store(self.ms(now), Relaxed);
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
        events.push_front(Event { at: Instant::now(), text });
    }

    /// What happened, the latest first.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
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
    /// Nobody is up: those are asked that may only have been slow.
    is_last_resort: bool,
}

impl Pool for Choice<'_> {
    fn serves(&self, number: usize) -> bool {
        let backend = &self.backends.list[number];
        let may = match self.is_last_resort {
            false => backend.is_up(self.now_ms),
            true => !backend.refuses.load(Relaxed),
        };
        may && !self.tried.contains(&number)
    }

    fn load(&self, number: usize) -> u64 {
        self.backends.load(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lb::policy;

    fn four() -> Backends {
        let backend = |port| {
            Backend::new(format!("b:{port}"), vec![SocketAddr::from(([127, 0, 0, 1], port))], 1)
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
        assert!(!backends.has_next(&[0, 2, 3], now));
        assert_eq!(backends.next(&[0, 2, 3], now + 2 * DOWN_FOR), Some(1));
    }

    #[test]
    fn if_nobody_is_up_those_that_do_not_refuse_are_asked_all_the_same() {
        let (backends, now) = (four(), Instant::now());
        backends.failed(0, &"refused", true, now);
        backends.probe_failed(1, &"refused", true);
        backends.failed(2, &"was silent", false, now);
        assert_eq!(backends.next(&[], now), Some(3));
        assert!(!backends.has_next(&[3], now), "somebody is up");
        backends.probe_failed(3, &"was silent", false);
        assert!(!backends.is_anyone_up(now));
        let asked: Vec<_> = (0..4).map(|_| backends.next(&[], now)).collect();
        assert_eq!(asked, [2, 3, 2, 3].map(Some));
        backends.failed(2, &"refused", true, now);
        backends.probe_failed(3, &"refused", true);
        assert_eq!(backends.next(&[], now), None);
    }

    #[test]
    fn silent_is_who_answers_nobody_although_others_wait() {
        let (backends, so_long) = (four(), Duration::from_millis(500));
        let now = Instant::now() + Duration::from_secs(10);
        let mine = &backends.counters(0)[1];
        assert!(!backends.is_silent(1, so_long, now), "nobody waits");
        mine.in_flight.up();
        assert!(backends.is_silent(1, so_long, now));
        // Another worker heard of it, or a probe did.
        let heard = &backends.counters(1)[1].heard;
        heard.set(backends.ms(now) - 499);
        assert!(!backends.is_silent(1, so_long, now));
        heard.set(backends.ms(now) - 500);
        assert!(backends.is_silent(1, so_long, now));
        backends.probe_succeeded(1, now);
        assert!(!backends.is_silent(1, so_long, now));
    }

    #[test]
    fn each_change_of_state_is_told_once() {
        let (backends, now) = (four(), Instant::now());
        backends.failed(2, &"refused", true, now);
        backends.probe_failed(2, &"refused", true);
        backends.succeeded(2, now);
        assert!(!backends.is_up(2, now + 2 * DOWN_FOR), "only a probe undoes a probe");
        backends.probe_succeeded(2, now);
        backends.probe_succeeded(2, now);
        assert!(backends.is_up(2, now));
        let told: Vec<_> = backends.events().into_iter().map(|e| e.text).collect();
        assert_eq!(told, ["b:9004 is back", "b:9004 ejected: it refused"]);
        assert_eq!(backends.ejections(), 1);
    }
}
