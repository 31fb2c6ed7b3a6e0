//! Lists: packed, or a sequence of packed nodes (placeholder).

use crate::listpack::Listpack;

#[derive(Clone, Copy)]
pub enum ListRef<'a> {
    Packed(Listpack<'a>),
    Nodes(&'a PackedList),
}

#[derive(Default, Debug)]
pub struct PackedList {
    len: usize,
}

impl PackedList {
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
        PackedList { len: self.len }
    }
}
