//! The backends: their names, which are down until when and why, and how busy each is.
//!
//! Knows neither sockets nor HTTP: a backend here is a number with a name and a state. All
//! workers and the probes share it; what changes is atomic. Entry point: [`Backends::next`].
//! Note: `notes/lb.md`.

use super::counters::{Counters, Sum};
use super::policy::Policy;
use std::collections::VecDeque;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a backend that failed a request is passed over, if no probe finds it well earlier.
pub const DOWN_FOR: Duration = Duration::from_secs(1);

/// [`Backend::down_until`] of a backend that waits for a probe to find it well.
const UNTIL_PROBED: u64 = u64::MAX;

/// Events kept for the status page.
const EVENTS: usize = 50;

#[derive(Debug, Default)]
pub struct Backend {
    pub name: String,               // as it was given
    pub addresses: Vec<SocketAddr>, // of one name, tried in this order
    pub weight: u32,                // how many turns it has to one of a backend of weight 1
    /// Passed over until then, in ms since the start; its ejection has been recorded. 0: it is up,
    /// and its return has been recorded.
    down_until: AtomicU64,
    refuses: AtomicBool, // it said a clear no last, against silence or a lost answer
    found_well: AtomicU64, // when a probe found it well, in ms since the start
}

impl Backend {
    pub fn new(name: String, addresses: Vec<SocketAddr>, weight: u32) -> Backend {
        Backend { name, addresses, weight, ..Backend::default() }
    }

    fn is_up(&self, now_ms: u64) -> bool {
        self.down_until.load(Relaxed) <= now_ms
    }
}

pub struct Backends {
    pub list: Vec<Backend>,
    pub policy: Policy,
    pub counters: Vec<Vec<Counters>>, // by worker, then by backend
    events: Mutex<VecDeque<(Instant, String)>>, // when something happened, the latest first
    pub ejections: AtomicUsize,       // if this changes, a request may wait for a backend in vain
    started: Instant,
}

impl Backends {
    pub fn new(list: Vec<Backend>, policy: Policy, workers: usize) -> Backends {
        let of_worker = |_| list.iter().map(|_| Counters::default()).collect();
        let counters = (0..workers).map(of_worker).collect();
        let (events, ejections) = (Mutex::default(), AtomicUsize::new(0));
        Backends { list, policy, counters, events, ejections, started: Instant::now() }
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

    /// It failed: it is passed over until then; None: until a probe finds it well. `refuses`: not
    /// even as a last resort is it asked.
    pub fn eject(&self, id: usize, why: &dyn Display, refuses: bool, until: Option<Instant>) {
        let until = until.map_or(UNTIL_PROBED, |until| self.ms(until));
        let backend = &self.list[id];
        backend.refuses.store(refuses, Relaxed);
        if backend.down_until.fetch_max(until, Relaxed) == 0 {
            self.ejections.fetch_add(1, Relaxed);
            self.record(format!("{} ejected: it {why}", backend.name));
        }
    }

    /// It served a request or, `probed`, a probe: it is back if it was ejected until now or an
    /// earlier time, and in any case if it was probed.
    pub fn succeeded(&self, backend_id: usize, probed: bool, now: Instant) {
        let Backend { name, down_until, found_well, .. } = &self.list[backend_id];
        if probed {
            found_well.store(self.ms(now), Relaxed);
        }
        let until = if probed { UNTIL_PROBED } else { self.ms(now) };
        let old = down_until.load(Relaxed);
        // If another thread has changed it meanwhile, the backend has failed again.
        if old > 0 && old <= until && down_until.compare_exchange(old, 0, Relaxed, Relaxed).is_ok()
        {
            self.record(format!("{name} is back"));
        }
    }

    fn record(&self, text: String) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.truncate(EVENTS - 1);
        events.push_front((Instant::now(), text));
    }

    pub fn events(&self) -> Vec<(Instant, String)> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_millis() as u64
    }
}
