//! Doubly linked lists through the rows of a [`Table`]: oldest first, everything O(1), nothing allocated.

use crate::table::Table;

/// No row.
const NONE: u32 = u32::MAX;

/// Which of its row's links a list runs through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// All rows of a pool.
    Pool,
    /// The rows of a pool that belong to one worker.
    Worker,
}

/// A row's neighbours in one list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    older: u32,
    newer: u32,
}

impl Link {
    /// In no list.
    pub(crate) const LOOSE: Link = Link { older: NONE, newer: NONE };
}

/// A row that can be in lists.
pub(crate) trait Linked {
    fn link(&self, chain: Chain) -> Link;
    fn link_mut(&mut self, chain: Chain) -> &mut Link;
}

/// A list: its two ends and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    chain: Chain,
    oldest: u32,
    newest: u32,
    len: u32,
}

impl List {
    pub(crate) fn new(chain: Chain) -> List {
        List { chain, oldest: NONE, newest: NONE, len: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    pub(crate) fn newest(&self) -> Option<u32> {
        (self.newest != NONE).then_some(self.newest)
    }

    /// Appends a row that is in no list of this chain.
    pub(crate) fn push<T: Linked>(&mut self, table: &mut Table<T>, index: u32) {
        *table.row_mut(index).link_mut(self.chain) = Link { older: self.newest, newer: NONE };
        match self.newest {
            NONE => self.oldest = index,
            newest => table.row_mut(newest).link_mut(self.chain).newer = index,
        }
        self.newest = index;
        self.len += 1;
    }

    /// Takes out a row that is in this list.
    pub(crate) fn remove<T: Linked>(&mut self, table: &mut Table<T>, index: u32) {
        let Link { older, newer } = std::mem::replace(table.row_mut(index).link_mut(self.chain), Link::LOOSE);
        match older {
            NONE => self.oldest = newer,
            older => table.row_mut(older).link_mut(self.chain).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => table.row_mut(newer).link_mut(self.chain).older = older,
        }
        self.len -= 1;
    }

    /// The rows, oldest first.
    pub(crate) fn iter<'a, T: Linked>(&self, table: &'a Table<T>) -> impl Iterator<Item = u32> + use<'a, T> {
        let chain = self.chain;
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let index = (next != NONE).then_some(next)?;
            next = table.row(index).link(chain).newer;
            Some(index)
        })
    }
}
