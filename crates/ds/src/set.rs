//! Sets: integers alone, packed, or a table of members (placeholder).

use crate::intset::Intset;
use crate::listpack::Listpack;

#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    Ints(Intset<'a>),
    Packed(Listpack<'a>),
    Table(&'a MemberTable),
}

#[derive(Default, Debug)]
pub struct MemberTable {
    len: usize,
}

impl MemberTable {
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
        MemberTable { len: self.len }
    }
}
