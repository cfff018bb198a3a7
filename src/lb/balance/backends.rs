//! The backends: their names, which are down until when and why, and how busy each is.
//!
//! Knows neither sockets nor HTTP: a backend here is a number with a name and a state. All
//! workers and the probes share it; what changes is atomic. Entry point: [`Backends::next`].
//! Note: `notes/lb.md`.

use super::policy::Policy;
use crate::lb::status::counters::{Counters, Sum};
use std::collections::VecDeque;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a backend that failed a request is passed over, if no probe finds it well earlier.
const DOWN_FOR: Duration = Duration::from_secs(1);

/// [`Backend::down_until`] of a backend that waits for a probe to find it well.
const UNTIL_PROBED: u64 = u64::MAX;

/// Events kept for the status page.
const EVENTS: usize = 50;

/// A server in the list.
#[derive(Debug, Default)]
pub struct Backend {
    /// As it was given.
    pub name: String,
    /// A name may stand for several addresses, which are tried in this order.
    pub addresses: Vec<SocketAddr>,
    /// How many turns it has to one of a backend of weight 1.
    pub weight: u32,
    /// It was told as ejected, and is passed over until then, in ms since the start. 0: it was
    /// never ejected, or told as back.
    down_until: AtomicU64,
    /// What spoke against it last was a clear no, not silence or a lost answer.
    refuses: AtomicBool,
    /// When a probe found it well, in ms since the start.
    found_well: AtomicU64,
}

impl Backend {
    pub fn new(name: String, addresses: Vec<SocketAddr>, weight: u32) -> Backend {
        Backend { name, addresses, weight, ..Backend::default() }
    }

    fn is_up(&self, now_ms: u64) -> bool {
        self.down_until.load(Relaxed) <= now_ms
    }
}

/// The list, the policy, and what is known of each backend.
#[derive(Debug)]
pub struct Backends {
    pub list: Vec<Backend>,
    pub policy: Policy,
    /// By worker, then by backend.
    counters: Vec<Vec<Counters>>,
    /// When, and what happened; the latest first.
    events: Mutex<VecDeque<(Instant, String)>>,
    ejections: AtomicUsize,
    started: Instant,
}

impl Backends {
    pub fn new(list: Vec<Backend>, policy: Policy, workers: usize) -> Backends {
        let of_worker = |_| list.iter().map(|_| Counters::default()).collect();
        let counters = (0..workers).map(of_worker).collect();
        let (events, ejections) = (Mutex::default(), AtomicUsize::new(0));
        Backends { list, policy, counters, events, ejections, started: Instant::now() }
    }

    pub fn get(&self, backend_id: usize) -> &Backend {
        &self.list[backend_id]
    }

    /// A worker's numbers, by backend.
    pub fn counters(&self, worker_id: usize) -> &[Counters] {
        &self.counters[worker_id]
    }

    /// All workers' numbers, by backend.
    pub fn sums(&self) -> Vec<Sum> {
        let of = |backend_id| Sum::of(self.counters.iter().map(|worker| &worker[backend_id]));
        (0..self.list.len()).map(of).collect()
    }

    /// The next one that may be asked and is not among `tried`; None if there is none.
    pub fn next(&self, tried: &[usize], now: Instant) -> Option<usize> {
        self.policy.next(&self.serves(tried, now), &|backend_id| self.load(backend_id))
    }

    /// Whether there is a next one.
    pub fn has_next(&self, tried: &[usize], now: Instant) -> bool {
        (0..self.list.len()).any(self.serves(tried, now))
    }

    /// Whether a backend may be asked. If no backend is up, those are asked that may only have
    /// been slow.
    fn serves(&self, tried: &[usize], now: Instant) -> impl Fn(usize) -> bool {
        let (now_ms, is_anyone_up) = (self.ms(now), self.is_anyone_up(now));
        move |backend_id| {
            let backend = &self.list[backend_id];
            let may = is_anyone_up && backend.is_up(now_ms)
                || !is_anyone_up && !backend.refuses.load(Relaxed);
            may && !tried.contains(&backend_id)
        }
    }

    pub fn is_anyone_up(&self, now: Instant) -> bool {
        let now_ms = self.ms(now);
        self.list.iter().any(|backend| backend.is_up(now_ms))
    }

    pub fn is_up(&self, backend_id: usize, now: Instant) -> bool {
        self.list[backend_id].is_up(self.ms(now))
    }

    /// How often a backend was ejected: if this has changed, a request may wait for one in vain.
    pub fn ejections(&self) -> usize {
        self.ejections.load(Relaxed)
    }

    /// Whether requests wait for the backend, and for so long it has answered none of any
    /// worker, nor a probe.
    pub fn is_silent(&self, backend_id: usize, so_long: Duration, now: Instant) -> bool {
        let since = self.ms(now).saturating_sub(so_long.as_millis() as u64);
        let mut heard = self.counters.iter().map(|worker| &worker[backend_id].heard);
        self.list[backend_id].found_well.load(Relaxed) <= since
            && heard.all(|heard| heard.get() <= since)
            && self.load(backend_id) > 0
    }

    /// Requests that it is busy with. Other workers count meanwhile, so the sum may be off by a
    /// few; a policy's choice is then a little worse.
    fn load(&self, backend_id: usize) -> u64 {
        self.counters.iter().map(|worker| worker[backend_id].in_flight.get()).sum()
    }

    /// A request failed: the next ones pass the backend over for a while. `refuses`: not even
    /// as a last resort is it asked.
    pub fn failed(&self, backend_id: usize, why: &dyn Display, refuses: bool, now: Instant) {
        self.eject(backend_id, why, refuses, self.ms(now + DOWN_FOR));
    }

    /// A probe found it unwell: it is passed over until one finds it well. `refuses`: as above.
    pub fn probe_failed(&self, backend_id: usize, why: &dyn Display, refuses: bool) {
        self.eject(backend_id, why, refuses, UNTIL_PROBED);
    }

    fn eject(&self, backend_id: usize, why: &dyn Display, refuses: bool, until: u64) {
        let backend = &self.list[backend_id];
        backend.refuses.store(refuses, Relaxed);
        if backend.down_until.fetch_max(until, Relaxed) == 0 {
            self.ejections.fetch_add(1, Relaxed);
            self.tell(format!("{} ejected: it {why}", backend.name));
        }
    }

    /// A request succeeded.
    pub fn succeeded(&self, backend_id: usize, now: Instant) {
        self.mark_up(backend_id, self.ms(now));
    }

    /// A probe found it well.
    pub fn probe_succeeded(&self, backend_id: usize, now: Instant) {
        self.list[backend_id].found_well.store(self.ms(now), Relaxed);
        self.mark_up(backend_id, UNTIL_PROBED);
    }

    /// If it was ejected until this time or an earlier one, it is back.
    fn mark_up(&self, backend_id: usize, until: u64) {
        let Backend { name, down_until, .. } = &self.list[backend_id];
        let old = down_until.load(Relaxed);
        // If the exchange fails, the backend has failed again meanwhile.
        if old > 0 && old <= until && down_until.compare_exchange(old, 0, Relaxed, Relaxed).is_ok()
        {
            self.tell(format!("{name} is back"));
        }
    }

    fn tell(&self, text: String) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.truncate(EVENTS - 1);
        events.push_front((Instant::now(), text));
    }

    /// What happened and when, the latest first.
    pub fn events(&self) -> Vec<(Instant, String)> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Milliseconds since the start.
    pub fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four() -> Backends {
        let backend = |port| Backend::new(format!("b:{port}"), vec![], 1);
        let policy = Policy::new("round-robin", vec![1; 4]).expect("a known name");
        Backends::new((9002..9006).map(backend).collect(), policy, 2)
    }

    #[test]
    fn who_failed_or_was_tried_is_passed_over() {
        let (backends, now) = (four(), Instant::now());
        backends.failed(1, &"failed", false, now);
        let order = [(); 5].map(|()| backends.next(&[3], now));
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
        let asked = [(); 4].map(|()| backends.next(&[], now));
        assert_eq!(asked, [2, 3, 2, 3].map(Some));
        backends.failed(2, &"refused", true, now);
        backends.probe_failed(3, &"refused", true);
        assert_eq!(backends.next(&[], now), None);
    }

    #[test]
    fn silent_is_who_answers_nobody_although_others_wait() {
        let (backends, so_long) = (four(), Duration::from_millis(500));
        let now = Instant::now() + Duration::from_secs(10);
        assert!(!backends.is_silent(1, so_long, now), "nobody waits");
        backends.counters(0)[1].in_flight.up();
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
        let told: Vec<_> = backends.events().into_iter().map(|(_, text)| text).collect();
        assert_eq!(told, ["b:9004 is back", "b:9004 ejected: it refused"]);
        assert_eq!(backends.ejections(), 1);
    }
}
