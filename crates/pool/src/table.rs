//! A slab whose rows have generations, so that an id of a row that is gone never names its successor.

use slab::Slab;

/// Rows at stable positions; positions are reused, pairs of position and generation are not.
#[derive(Debug)]
pub(crate) struct Table<T> {
    rows: Slab<T>,
    /// For every position ever used: how many rows have been there before the present one.
    generations: Vec<u32>,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Table<T> {
        Table { rows: Slab::new(), generations: Vec::new() }
    }

    /// Puts a row in; answers its position and generation. Allocates only when the table has never been this full.
    pub(crate) fn insert(&mut self, row: T) -> (u32, u32) {
        let position = self.rows.insert(row);
        match self.generations.get_mut(position) {
            Some(generation) => *generation = generation.wrapping_add(1),
            None => self.generations.push(0),
        }
        (position as u32, self.generations[position])
    }

    /// The row, if it is still the one of that generation.
    pub(crate) fn find(&self, index: u32, generation: u32) -> Option<&T> {
        if self.generations.get(index as usize) != Some(&generation) {
            return None;
        }
        self.rows.get(index as usize)
    }

    /// The generation of the present row at a position in use.
    pub(crate) fn generation(&self, index: u32) -> u32 {
        self.generations[index as usize]
    }

    /// The row at a position that is known to be in use.
    pub(crate) fn row(&self, index: u32) -> &T {
        &self.rows[index as usize]
    }

    /// The row at a position that is known to be in use.
    pub(crate) fn row_mut(&mut self, index: u32) -> &mut T {
        &mut self.rows[index as usize]
    }

    /// Takes out the row at a position that is known to be in use.
    pub(crate) fn remove(&mut self, index: u32) -> T {
        self.rows.remove(index as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.rows.iter().map(|(position, row)| (position as u32, row))
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}
