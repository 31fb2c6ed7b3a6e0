//! Streams (placeholder).

#[derive(Default, Debug)]
pub struct Stream {
    len: usize,
}

impl Stream {
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
        Stream { len: self.len }
    }
}
