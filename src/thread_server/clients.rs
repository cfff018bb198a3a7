//! The clients that are connected, each in a slot; which one makes room when all slots are taken.
//!
//! Knows no requests. Entry points: [`Clients::make_room`], [`Clients::enter`].
//! Note: `notes/thread_server.md`.

use crate::cli::limits::LAST_CHANCE;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A client, known to its own thread and to the one that accepts.
pub struct Client {
    pub stream: TcpStream, // its socket, closed when the last of the two forgets it
    pub peer: SocketAddr,
    state: Mutex<State>,
}

/// The state of a client's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Busy,          // reads or answers a request, so the client may not be sent away
    Idle(Instant), // has waited since then for a request to begin
    Dismissed,     // its read was ended: it answers what has arrived, and leaves
}

/// The clients that are present, locked.
type Present<'a> = MutexGuard<'a, Vec<Arc<Client>>>;

pub struct Clients {
    slots: usize,
    present: Mutex<Vec<Arc<Client>>>,
    left: Condvar,
    somebody_waits: AtomicBool,
}

/// A client's slot. Dropped, it is free again, however the client's thread ends.
pub struct Slot {
    clients: Arc<Clients>,
    pub client: Arc<Client>, // its owner
}

impl Clients {
    pub fn new(slots: usize) -> Arc<Clients> {
        Arc::new(Clients {
            slots,
            present: Mutex::default(),
            left: Condvar::new(),
            somebody_waits: AtomicBool::new(false),
        })
    }

    /// Called while somebody waits: whether there is a slot now, or within `patience`. If all are
    /// taken, the client that has been idle longest is sent away.
    pub fn make_room(&self, patience: Duration) -> bool {
        let mut present = lock(&self.present);
        if present.len() >= self.slots {
            self.somebody_waits.store(true, SeqCst);
            let states: Vec<State> = present.iter().map(|c| *lock(&c.state)).collect();
            if let Some(slot) = to_dismiss(&states, Instant::now()) {
                present[slot].dismiss();
            }
            present = self.wait_for_fewer(present, self.slots, patience);
        }
        let has_room = present.len() < self.slots;
        self.somebody_waits.store(!has_room, SeqCst);
        has_room
    }

    pub fn somebody_waits(&self) -> bool {
        self.somebody_waits.load(SeqCst)
    }

    pub fn enter(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) -> Slot {
        let state = Mutex::new(State::Busy);
        let client = Arc::new(Client { stream, peer, state });
        lock(&self.present).push(Arc::clone(&client));
        Slot { clients: Arc::clone(self), client }
    }

    /// Waits until all have left: the idle ones get [`LAST_CHANCE`] for a request that may be on
    /// its way, the others the time until `give_up`.
    pub fn drain(&self, give_up: Instant) {
        let left = || give_up.saturating_duration_since(Instant::now());
        let present = self.wait_for_fewer(lock(&self.present), 1, LAST_CHANCE.min(left()));
        present.iter().for_each(|c| c.dismiss());
        drop(self.wait_for_fewer(present, 1, left()));
    }

    fn wait_for_fewer<'a>(&self, all: Present<'a>, than: usize, most: Duration) -> Present<'a> {
        let waited = self.left.wait_timeout_while(all, most, |all| all.len() >= than);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Client {
    /// Called by its own thread. One that is dismissed just when its request arrives is busy again:
    /// it may take long to read its answer, and must not keep others from being dismissed meanwhile.
    pub fn set(&self, state: State) {
        *lock(&self.state) = state;
    }

    /// Ends its waiting, if it is idle: its read returns as if the client had left. Bytes that
    /// have arrived by then are still read.
    fn dismiss(&self) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Idle(_)) {
            *state = State::Dismissed;
            // One that is gone already needs no telling.
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.clients.present).retain(|c| !Arc::ptr_eq(c, &self.client));
        self.clients.left.notify_all();
    }
}

/// Which client makes room: the one idle longest. Not before [`LAST_CHANCE`] has passed: its
/// request may be on its way. Nobody while one that was dismissed has not left yet.
fn to_dismiss(states: &[State], now: Instant) -> Option<usize> {
    if states.contains(&State::Dismissed) {
        return None;
    }
    let idle = |(slot, state): (usize, &State)| match state {
        State::Idle(since) if now.duration_since(*since) >= LAST_CHANCE => Some((*since, slot)),
        _ => None,
    };
    let longest = states.iter().enumerate().filter_map(idle).min();
    longest.map(|(_, slot)| slot)
}

/// A thread that panicked leaves nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn the_client_idle_longest_is_dismissed_unless_its_request_may_be_on_its_way() {
        use State::*;
        let start = Instant::now();
        let idle = |at| Idle(start + Duration::from_secs(at));
        let now = start + Duration::from_secs(10);
        for (states, expected) in [
            (vec![], None),
            (vec![Busy, Busy], None),
            (vec![idle(5), idle(3), idle(4)], Some(1)),
            (vec![Busy, idle(5), Busy], Some(1)),
            (vec![idle(3), Dismissed], None),
            (vec![Idle(now), Busy], None),
            (vec![Idle(now - LAST_CHANCE), Idle(now)], Some(0)),
        ] {
            assert_eq!(to_dismiss(&states, now), expected, "{states:?}");
        }
    }

    #[test]
    fn a_client_whose_thread_panics_gives_its_slot_back() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let clients = Clients::new(1);
        let stream = TcpStream::connect(address).expect("it listens");
        let slot = clients.enter(stream, address);
        assert!(!clients.make_room(Duration::ZERO), "it is taken");
        assert!(clients.somebody_waits());
        let job = move || {
            slot.client.set(State::Busy);
            panic!("as a fault in an answer would");
        };
        assert!(thread::spawn(job).join().is_err());
        assert!(clients.make_room(Duration::ZERO), "it is free");
        assert!(!clients.somebody_waits());
    }
}
