//! Which backend is next? One question, three answers: round-robin, least-connections,
//! two-choices.
//!
//! Knows neither sockets nor HTTP, and not why a backend may be passed over: a backend here is
//! a number, whether it serves, and how many requests it is busy with. All workers share one
//! policy, so what it remembers is atomic. Entry point: [`Policy::next`]. Note: `notes/lb.md`.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The words for `--policy`.
pub const NAMES: [&str; 3] = ["round-robin", "least-connections", "two-choices"];

type Serves<'a> = &'a dyn Fn(usize) -> bool; // whether a backend may be picked now
type Load<'a> = &'a dyn Fn(usize) -> u64; // how many requests a backend is busy with

/// One of [`NAMES`], for backends of given weights.
pub struct Policy {
    pub name: &'static str, // as the user wrote it
    weights: Vec<u32>,
    turns: Vec<usize>,  // one round: see `turns`
    index: AtomicUsize, // turns taken so far
}

impl Policy {
    /// None: there is no policy of this name.
    pub fn new(name: &str, weights: Vec<u32>) -> Option<Policy> {
        let name = NAMES.into_iter().find(|known| *known == name)?;
        Some(Policy { name, turns: turns(&weights), weights, index: AtomicUsize::new(0) })
    }

    /// The backend for the next request; None if nobody serves.
    pub fn next(&self, serves: Serves, load: Load) -> Option<usize> {
        match self.name {
            "least-connections" => self.least_connections(serves, load),
            "two-choices" => self.two_choices(serves, load),
            _ => self.round_robin(serves),
        }
    }

    fn turn(&self) -> usize {
        self.turns[self.index.fetch_add(1, Relaxed) % self.turns.len()]
    }

    /// Each backend in turn; one that weighs twice as much has two turns.
    fn round_robin(&self, serves: Serves) -> Option<usize> {
        // Each step of the search takes a turn of its own, so that the turns of a backend that
        // is down are spread over all and do not fall to its neighbour.
        let in_turn = (0..self.turns.len()).map(|_| self.turn()).find(|&id| serves(id));
        // Other workers take turns meanwhile and may have taken the only good ones.
        in_turn.or_else(|| self.turns.iter().copied().find(|&id| serves(id)))
    }

    /// The backend that is busy with the fewest requests for its weight. Among equals, each in
    /// turn: the first of them is taken, so the search begins with the one whose turn it is.
    fn least_connections(&self, serves: Serves, load: Load) -> Option<usize> {
        let (first, count) = (self.turn(), self.weights.len());
        let in_order = (first..first + count).map(|id| id % count);
        in_order.filter(|&id| serves(id)).min_by_key(|&id| self.per_weight(id, load(id)))
    }

    /// The less busy one of two drawn at random: nearly as even as asking all, and workers do not
    /// all go to the same idle backend at the same moment.
    fn two_choices(&self, serves: Serves, load: Load) -> Option<usize> {
        let draw = |other: Option<usize>| {
            let may = move |id: &usize| Some(*id) != other && serves(*id);
            let turns = self.turns.iter().copied().filter(may);
            let random = RandomState::new().hash_one(()) as usize;
            // Round and round, since one of those that are counted may go down before it is drawn.
            turns.clone().cycle().nth(random % turns.count().max(1))
        };
        let first = draw(None)?;
        let second = draw(Some(first)).unwrap_or(first);
        [first, second].into_iter().min_by_key(|&id| self.per_weight(id, load(id) + 1))
    }

    /// Requests for each unit of weight, in fixed point: since weights are at most 100, fractions
    /// that differ do so by more than 2^-20.
    fn per_weight(&self, id: usize, load: u64) -> u64 {
        (load << 20) / u64::from(self.weights[id])
    }
}

/// One round in which each backend has as many turns as it weighs, spread as evenly as they can
/// be (the smooth weighted round robin of nginx): for 2 and 1 it is 0 1 0, not 0 0 1.
fn turns(weights: &[u32]) -> Vec<usize> {
    let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
    let mut credit = vec![0i64; weights.len()];
    let turn = |_| {
        credit.iter_mut().zip(weights).for_each(|(credit, &weight)| *credit += i64::from(weight));
        // The first of those with the most credit.
        let richest = (0..credit.len()).rev().max_by_key(|&id| credit[id]).unwrap_or(0);
        credit[richest] -= total;
        richest
    };
    (0..total).map(turn).collect()
}
