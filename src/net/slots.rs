//! A numbered slot for each connection of a loop; its poller token follows from the number.
//!
//! A slot that is freed is given to nobody before [`Slots::end_turn`]: events of the same
//! turn that were meant for its last owner then find it empty. Note: `notes/async_server.md`.

use std::ops::{Index, IndexMut};

pub struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    freed: Vec<usize>, // freed in this turn
}

impl<T> Slots<T> {
    pub fn new() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new(), freed: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.freed.len()
    }

    pub fn insert(&mut self, value: T) -> usize {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(value);
        slot
    }

    pub fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub fn remove(&mut self, slot: usize) -> Option<T> {
        let value = self.slots.get_mut(slot)?.take()?;
        self.freed.push(slot);
        Some(value)
    }

    /// From now on the slots that were freed may be taken again.
    pub fn end_turn(&mut self) {
        self.free.append(&mut self.freed);
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(i, slot)| slot.as_mut().map(|s| (i, s)))
    }
}

/// For slots that are known to be taken.
impl<T> Index<usize> for Slots<T> {
    type Output = T;

    fn index(&self, slot: usize) -> &T {
        self.slots[slot].as_ref().expect("the slot is taken")
    }
}

impl<T> IndexMut<usize> for Slots<T> {
    fn index_mut(&mut self, slot: usize) -> &mut T {
        self.slots[slot].as_mut().expect("the slot is taken")
    }
}
