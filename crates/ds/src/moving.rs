//! Values that move their blocks out of sparse slabs, some at a time, while they are used, read and saved.
//!
//! Moving changes nothing of what a value holds, so nobody who reads or saves it has to know; what is shared
//! with one of them stays where it is. It never decides which blocks move.

use base::defrag::Mover;

/// How far one round through a value has come. The default is the start; what it says is each value's own.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct MovePosition {
    pub(crate) part: u32,
    pub(crate) at: u64,
    pub(crate) index: usize,
    pub(crate) name: Box<[u8]>,
}

impl MovePosition {
    /// The start of the next part.
    pub(crate) fn next_part(&mut self) {
        *self = MovePosition { part: self.part + 1, ..MovePosition::default() };
    }
}

/// A value of many blocks.
pub trait Movable {
    /// Moves what has to be, until the mover has done enough; false if that was the end of the round.
    fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool;
}
