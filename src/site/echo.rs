//! What `/echo` holds in memory: the content of each client, all of it together within a budget.
//!
//! Knows no requests. Entry point: [`Gathered`]. Note: `notes/http.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes that all clients of one site together may hold, from when they arrive until they have
/// been sent back or the client has left. The memory behind them is at most twice as much, since a
/// vector that grows is copied. With `--max-content` alone, each client might hold as much as that.
pub const BUDGET: u64 = 64 * 1024 * 1024;

/// The bytes that are held now. Clones count the same ones.
#[derive(Debug, Clone, Default)]
pub struct Budget(Arc<AtomicU64>);

/// One client's content, which is given back to the budget when it is dropped.
#[derive(Debug)]
pub struct Gathered {
    bytes: Vec<u8>,
    budget: Budget,
}

impl Gathered {
    /// Nothing yet.
    pub fn new(budget: &Budget) -> Gathered {
        Gathered { bytes: Vec::new(), budget: budget.clone() }
    }

    /// Adds what has arrived; false: the budget does not allow it now.
    #[must_use]
    pub fn add(&mut self, arrived: &[u8]) -> bool {
        let Budget(held) = &self.budget;
        let length = arrived.len() as u64;
        let within = |held: u64| Some(held + length).filter(|sum| *sum <= BUDGET);
        let fits = held.fetch_update(Relaxed, Relaxed, within).is_ok();
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
        let Budget(held) = &self.budget;
        held.fetch_sub(self.bytes.len() as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_gathered_stays_within_the_budget_and_comes_back_to_it() {
        let budget = Budget::default();
        let most = vec![b'e'; BUDGET as usize - 1];
        let [mut one, mut other] = [(); 2].map(|()| Gathered::new(&budget));
        assert!(one.add(&most) && one.add(b"e"));
        assert!(!other.add(b"e"), "it is full");
        assert!(!one.add(b"e"), "for its owner too");
        assert_eq!(one.as_ref().len() as u64, BUDGET);
        drop(one);
        assert!(other.add(&most), "it is empty again");
    }
}
