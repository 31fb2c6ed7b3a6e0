//! Packed sets of integers, as Redis has them (placeholder).

/// Integers in ascending order.
#[derive(Clone, Copy)]
pub struct Intset<'a>(&'a [u8]);

impl<'a> Intset<'a> {
    /// The bytes are those of a whole intset: they are not checked.
    pub fn trusted(bytes: &'a [u8]) -> Intset<'a> {
        Intset(bytes)
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}
