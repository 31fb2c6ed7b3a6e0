//! Sorted sets: packed, or a table of members with a rank tree (placeholder).

use crate::listpack::Listpack;

#[derive(Clone, Copy)]
pub enum SortedSetRef<'a> {
    Packed(Listpack<'a>),
    Table(&'a ScoredTable),
}

#[derive(Default, Debug)]
pub struct ScoredTable {
    len: usize,
}

impl ScoredTable {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        0
    }

    /// Allocations that dropping it frees, about.
    pub fn free_effort(&self) -> usize {
        self.len
    }

    pub fn duplicate(&self) -> Self {
        ScoredTable { len: self.len }
    }
}
