//! A listpack with spare room on both sides, while it is edited. Only the shorter side of an edit moves: a
//! push or pop at the front moves the header.

use base::alloc::size_class;

use super::End;
use crate::listpack::Buffer;

/// The block, where the listpack begins in it, and its length.
pub(super) struct Roomy<'a> {
    block: &'a mut Box<[u8]>,
    start: &'a mut u32,
    len: &'a mut u32,
}

impl<'a> Roomy<'a> {
    #[inline]
    pub fn new(block: &'a mut Box<[u8]>, start: &'a mut u32, len: &'a mut u32) -> Roomy<'a> {
        Roomy { block, start, len }
    }

    fn start(&self) -> usize {
        *self.start as usize
    }

    fn len(&self) -> usize {
        *self.len as usize
    }

    /// Moves the listpack to `start` in another block.
    pub fn reallocate(&mut self, block_len: usize, start: usize) {
        let mut block = vec![0; block_len].into_boxed_slice();
        block[start..start + self.len()].copy_from_slice(self.bytes());
        *self.block = block;
        *self.start = start as u32;
    }

    /// Makes at least `wanted` bytes of room before or behind the listpack, by a larger block if the growth
    /// of half as much again is not there. Who pushes at one end only gets all of it there.
    #[cold]
    fn make_room(&mut self, end: End, wanted: usize) {
        let (start, len, block_len) = (self.start(), self.len(), self.block.len());
        let needed = len + wanted;
        // Limits are powers of two: beyond the next one the node is not going to grow.
        let grown = size_class((needed + needed / 2).min(needed.next_power_of_two())).max(block_len);
        let spare = grown - len;
        let half = (spare - wanted) / 2;
        let other = match end {
            _ if grown == block_len => half,
            End::Front => half.min(block_len - start - len),
            End::Back => half.min(start),
        };
        let to = if end == End::Front { spare - other } else { other };
        if grown == block_len {
            self.block.copy_within(start..start + len, to);
            *self.start = to as u32;
        } else {
            self.reallocate(grown, to);
        }
    }

    /// Makes the `old` bytes at `at` of the listpack `new` bytes, by moving the shorter side.
    fn resize_at(&mut self, at: usize, old: usize, new: usize) {
        let tail = self.len() - at - old;
        let end = if at < tail { End::Front } else { End::Back };
        if new > old {
            self.grow_at(at, tail, end, new - old);
        } else {
            self.shrink_at(at, tail, end, old - new);
        }
    }

    fn grow_at(&mut self, at: usize, tail: usize, end: End, added: usize) {
        let behind = self.block.len() - self.start() - self.len();
        let room = if end == End::Front { self.start() } else { behind };
        if room < added {
            self.make_room(end, added);
        }
        let (start, len) = (self.start(), self.len());
        match end {
            End::Front => {
                self.block.copy_within(start..start + at, start - added);
                *self.start -= added as u32;
            }
            End::Back => {
                let tail = start + len - tail..start + len;
                self.block.copy_within(tail.clone(), tail.start + added);
            }
        }
        *self.len += added as u32;
    }

    fn shrink_at(&mut self, at: usize, tail: usize, end: End, removed: usize) {
        let (start, len) = (self.start(), self.len());
        match end {
            End::Front => {
                self.block.copy_within(start..start + at, start + removed);
                *self.start += removed as u32;
            }
            End::Back => {
                let tail = start + len - tail..start + len;
                self.block.copy_within(tail.clone(), tail.start - removed);
            }
        }
        *self.len -= removed as u32;
    }
}

impl Buffer for Roomy<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.block[self.start()..][..self.len()]
    }

    #[inline]
    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
        let added = insert.iter().map(|piece| piece.len()).sum();
        if added != remove {
            self.resize_at(at, remove, added);
        }
        let mut to = self.start() + at;
        let block = &mut *self.block;
        for piece in insert {
            block[to..to + piece.len()].copy_from_slice(piece);
            to += piece.len();
        }
    }
}

pub(super) const BLOCK_LEN_MIN: usize = 64;
