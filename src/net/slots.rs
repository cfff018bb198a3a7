//! A numbered place for each connection of a loop; the number is its poller token.
//!
//! A place that is freed is given to nobody before [`Slots::end_turn`]: events of the same
//! turn that were meant for its last owner then find it empty. Note: `notes/async_server.md`.

use std::ops::{Index, IndexMut};

/// See the module.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
    freed: Vec<usize>,
}

impl<T> Slots<T> {
    /// No places taken.
    pub fn new() -> Slots<T> {
        Slots { places: Vec::new(), free: Vec::new(), freed: Vec::new() }
    }

    /// How many places are taken.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len() - self.freed.len()
    }

    /// Whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a place.
    pub fn insert(&mut self, value: T) -> usize {
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(value);
        place
    }

    /// Who has the place.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place)?.as_mut()
    }

    /// Frees the place.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        let value = self.places.get_mut(place)?.take()?;
        self.freed.push(place);
        Some(value)
    }

    /// From now on the places that were freed may be taken again.
    pub fn end_turn(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// Everyone, with the places.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(i, p)| p.as_mut().map(|p| (i, p)))
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots::new()
    }
}

/// For places that are known to be taken.
impl<T> Index<usize> for Slots<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        self.places[place].as_ref().expect("the place is taken")
    }
}

impl<T> IndexMut<usize> for Slots<T> {
    fn index_mut(&mut self, place: usize) -> &mut T {
        self.places[place].as_mut().expect("the place is taken")
    }
}
