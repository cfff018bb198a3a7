//! The memory of `/echo`: the content of each client, all of it together within a budget.
//!
//! Knows no requests. Entry point: [`Gathered`]. Note: `notes/http.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes that all clients of one site together may hold, from when they arrive until they have
/// been sent back or the client has left. The memory behind them is at most twice as much, since a
/// vector that grows is copied. With `--max-content` alone, each client might hold as much as that.
pub const BUDGET: u64 = 64 * 1024 * 1024;

/// One client's content, which is given back to the budget when it is dropped.
pub struct Gathered {
    bytes: Vec<u8>,
    held: Arc<AtomicU64>, // the bytes that all clients hold now
}

impl Gathered {
    pub fn new(held: &Arc<AtomicU64>) -> Gathered {
        Gathered { bytes: Vec::new(), held: Arc::clone(held) }
    }

    /// Adds what has arrived; false: the budget does not allow it now.
    #[must_use]
    pub fn add(&mut self, arrived: &[u8]) -> bool {
        let length = arrived.len() as u64;
        let within = |held: u64| Some(held + length).filter(|sum| *sum <= BUDGET);
        let fits = self.held.fetch_update(Relaxed, Relaxed, within).is_ok();
        if fits {
            self.bytes.extend_from_slice(arrived);
        }
        fits
    }
}

impl AsRef<[u8]> for Gathered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len() as u64, Relaxed);
    }
}
