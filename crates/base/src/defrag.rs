//! Which blocks should be moved so that whole slabs become free, and how much moving is enough for one go.
//!
//! The allocator puts small blocks of one size into slabs, and reuses the oldest slab with room first. Who
//! allocates anew what lies in a sparse slab and frees the old block empties that slab for a full one, if no
//! thread cache is between: the thread that moves blocks does without (`alloc::thread_cache_off`). It judges
//! blocks by their addresses, and never knows what they hold.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;

use crate::alloc::{self, Slabs};

/// Judges blocks, moves the plain ones and counts.
pub struct Mover {
    aim: Aim,
    /// What is left of the effort of this go.
    effort: usize,
    pub moved: u64,
    pub stayed: u64,
}

enum Aim {
    /// By the size of a slot, or of what one holds, in steps of 8 bytes: a slab with more free slots than
    /// these is sparse.
    Sparse(Box<[u16]>),
    Everything,
}

impl Default for Mover {
    /// Moves nothing until it is told how full the slabs are.
    fn default() -> Mover {
        Mover::new(Aim::Sparse(vec![NEVER; SIZES].into()))
    }
}

impl Mover {
    /// Moves whatever it is shown: for tests of those who show it.
    pub fn of_everything() -> Mover {
        Mover::new(Aim::Everything)
    }

    fn new(aim: Aim) -> Mover {
        Mover { aim, effort: 0, moved: 0, stayed: 0 }
    }

    /// Learns how full the slabs of each size are; returns the bytes free in those sizes that are worth it.
    pub fn aim(&mut self, slabs: &[Slabs]) -> usize {
        let Aim::Sparse(limits) = &mut self.aim else { return 0 };
        limits.fill(NEVER);
        let (mut bytes, mut first) = (0, 0);
        for size in slabs {
            let last = size.slot_len / STEP;
            if let (Some(limit), Some(own)) = (size.sparse_from(), limits.get_mut(first..=last)) {
                own.fill(limit);
                bytes += size.free_bytes();
            }
            first = last + 1;
        }
        bytes
    }

    /// Whether a block of so many bytes may have to be moved: where it lies need not be looked up if not.
    #[inline]
    pub fn may_want(&self, len: usize) -> bool {
        match &self.aim {
            Aim::Everything => true,
            Aim::Sparse(limits) => limits.get(len.div_ceil(STEP)).is_some_and(|&limit| limit != NEVER),
        }
    }

    /// So many blocks need not be judged.
    pub fn pass(&mut self, blocks: usize) {
        self.stayed += blocks as u64;
        self.spend(blocks.div_ceil(PASSED_PER_EFFORT));
    }

    /// A new go: about as many blocks can be looked at.
    pub fn begin(&mut self, effort: usize) {
        self.effort = effort;
    }

    /// It was enough for one go.
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.effort == 0
    }

    /// Which of up to [`BATCH`] blocks have to be moved, as bits. The caller does so.
    ///
    /// # Safety
    /// As for `alloc::slab_use`.
    pub unsafe fn judge(&mut self, blocks: &[*const u8]) -> u32 {
        let count = blocks.len().min(BATCH);
        let mut slabs = [alloc::SlabUse::default(); BATCH];
        let (mut chosen, mut effort) = (0u32, count + 1);
        match &self.aim {
            Aim::Everything => chosen = ((1u64 << count) - 1) as u32,
            Aim::Sparse(limits) => {
                // SAFETY: the caller promises what is asked for.
                unsafe { alloc::slab_use(&blocks[..count], &mut slabs[..count]) };
                for (index, slab) in slabs[..count].iter().enumerate() {
                    let limit = limits.get(slab.slot_len() / STEP).copied().unwrap_or(NEVER);
                    if slab.free > usize::from(limit) {
                        chosen |= 1 << index;
                        effort += MOVE_EFFORT + slab.slot_len() / BYTES_PER_EFFORT;
                    }
                }
            }
        }
        let moved = u64::from(chosen.count_ones());
        self.moved += moved;
        self.stayed += count as u64 - moved;
        self.spend(effort);
        chosen
    }

    /// Something else was done that costs as much as looking at so many blocks.
    pub fn spend(&mut self, effort: usize) {
        self.effort = self.effort.saturating_sub(effort);
    }

    /// Whether one block has to be moved. The caller does so.
    ///
    /// # Safety
    /// As for `judge`.
    pub unsafe fn wants<T: ?Sized>(&mut self, block: *const T) -> bool {
        // SAFETY: the caller promises what is asked for.
        unsafe { self.judge(&[block.cast()]) != 0 }
    }

    /// Moves what a vector holds, with as much room as before.
    pub fn vec<T>(&mut self, vec: &mut Vec<T>) {
        // SAFETY: a vector with room has a block.
        if fits_slab::<T>(vec.capacity()) && unsafe { self.wants(vec.as_ptr()) } {
            let mut fresh = Vec::with_capacity(vec.capacity());
            fresh.append(vec);
            *vec = fresh;
        }
    }

    /// As `vec`.
    pub fn deque<T>(&mut self, deque: &mut VecDeque<T>) {
        // An empty one does not tell where its block is.
        let Some(first) = deque.as_slices().0.first() else { return };
        // SAFETY: the element lies in the block, and all pages of a block that fits a slab are known.
        if fits_slab::<T>(deque.capacity()) && unsafe { self.wants(first) } {
            let mut fresh = VecDeque::with_capacity(deque.capacity());
            fresh.append(deque);
            *deque = fresh;
        }
    }

    pub fn bytes(&mut self, bytes: &mut Box<[u8]>) {
        // SAFETY: the box has a block, since it is not empty.
        if fits_slab::<u8>(bytes.len()) && unsafe { self.wants(bytes.as_ptr()) } {
            *bytes = bytes.clone();
        }
    }

    /// Moves what a box holds; the default is left in the old block for a moment.
    pub fn boxed<T: Default>(&mut self, boxed: &mut Box<T>) {
        // SAFETY: the box has a block, since what it holds has a size.
        if fits_slab::<T>(1) && unsafe { self.wants(&raw const **boxed) } {
            let fresh = Box::new(std::mem::take(&mut **boxed));
            *boxed = fresh;
        }
    }

    /// Moves the block of a shared value that has no other owner.
    pub fn shared<T: Default>(&mut self, shared: &mut Arc<T>) {
        let is_own = fits_slab::<T>(1) && Arc::get_mut(shared).is_some();
        // SAFETY: the value stands near the start of a block, behind its counts.
        if is_own && unsafe { self.wants(Arc::as_ptr(shared)) } {
            let value = Arc::get_mut(shared).map(std::mem::take);
            *shared = Arc::new(value.expect("nobody else has it"));
        }
    }
}

/// Whether so many values have a block, and one that can lie in a slab.
fn fits_slab<T>(count: usize) -> bool {
    (1..=SLOT_LEN_MOST).contains(&count.saturating_mul(size_of::<T>()))
}

impl Slabs {
    /// A slab with more free slots than these should be emptied; `None` if that does not gain enough.
    fn sparse_from(&self) -> Option<u16> {
        let free = self.slots().saturating_sub(self.used);
        if self.partial < PARTIAL_LEAST || free < self.used / FREE_SHARE {
            return None;
        }
        // The slabs being filled may have most of the free slots: they do not make the others sparse.
        let open = self.partial + self.current;
        // Somewhat fuller than the average counts as sparse too: the blocks of all of these fit into full
        // slabs, and a block that has moved lies in a full one and is not moved again.
        u16::try_from(free.min(open * self.slots_each) * 3 / (4 * open)).ok()
    }
}

/// Blocks that are judged at once.
pub const BATCH: usize = 8;

/// Sizes of slots are multiples of this.
const STEP: usize = 8;
/// The largest slot.
const SLOT_LEN_MOST: usize = 30 << 10;
const SIZES: usize = SLOT_LEN_MOST / STEP + 1;
/// No slab has so many free slots.
const NEVER: u16 = u16::MAX;
/// So many blocks that are not judged cost as much as a look at one.
const PASSED_PER_EFFORT: usize = 4;
/// What moving a block costs, beside its bytes, in looks at one.
const MOVE_EFFORT: usize = 4;
/// So many bytes cost as much to copy as a look.
const BYTES_PER_EFFORT: usize = 512;
/// Fewer slabs that are not full are left alone.
const PARTIAL_LEAST: usize = 4;
/// A size of which a smaller share of what is used is free is left alone.
const FREE_SHARE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sparse_follows_from_the_average() {
        let of_size = |slot_len, slots_each, [count, partial, current, used]: [usize; 4]| Slabs {
            slot_len,
            slots_each,
            count,
            partial,
            current,
            used,
        };
        let slabs = |counts| of_size(96, 128, counts);
        let check = |slabs: Slabs, limit| assert_eq!(slabs.sparse_from(), limit, "{slabs:?}");
        check(slabs([0, 0, 0, 0]), None);
        // Nine of ten slots are free: 115 in each slab.
        check(slabs([100, 100, 0, 1300]), Some(86));
        check(slabs([200, 100, 0, 12_800 + 1300]), Some(86));
        check(slabs([100, 100, 0, 12_800 - 128]), None);
        check(slabs([3, 3, 0, 10]), None);
        // Two of four: those with two free are sparse.
        check(of_size(1024, 4, [80, 76, 0, 167]), Some(1));
        // Half of each slab is free, but nearly all of the two that are being filled: 75 in each.
        check(slabs([10, 8, 2, 8 * 64 + 12]), Some(56));
    }

    #[test]
    fn sizes_without_sparse_slabs_are_passed() {
        let slabs =
            |slot_len, used| Slabs { slot_len, slots_each: 100, count: 100, partial: 100, current: 0, used };
        let mut mover = Mover::default();
        assert!(!mover.may_want(64));
        assert_eq!(mover.aim(&[slabs(56, 9999), slabs(64, 1000), slabs(80, 10_000)]), 64 * 9000);
        let wanted = [0, 56, 57, 64, 65, 80, 81, SLOT_LEN_MOST + 1].map(|len| mover.may_want(len));
        assert_eq!(wanted, [false, false, true, true, false, false, false, false]);
        assert!(Mover::of_everything().may_want(1));
        mover.begin(3);
        mover.pass(8);
        assert_eq!((mover.stayed, mover.is_spent()), (8, false));
        mover.pass(1);
        assert!(mover.is_spent());
    }

    #[test]
    fn plain_blocks_are_moved_whole() {
        let mut mover = Mover::of_everything();
        mover.begin(100);
        let mut vec = Vec::with_capacity(10);
        vec.extend([1, 2, 3]);
        let mut deque: VecDeque<u8> = (0..9).collect();
        deque.rotate_left(4);
        let mut bytes = Box::<[u8]>::from(&b"abc"[..]);
        let (mut boxed, mut shared, other) = (Box::new(7), Arc::new(vec![8]), Arc::new(9));
        mover.vec(&mut vec);
        mover.deque(&mut deque);
        mover.bytes(&mut bytes);
        mover.boxed(&mut boxed);
        mover.shared(&mut shared);
        mover.shared(&mut Arc::clone(&other));
        assert_eq!((&vec[..], vec.capacity(), *boxed, &shared[..]), (&[1, 2, 3][..], 10, 7, &[8][..]));
        assert_eq!((deque, &bytes[..]), ([4, 5, 6, 7, 8, 0, 1, 2, 3].into(), &b"abc"[..]));
        assert_eq!((mover.moved, mover.stayed, mover.is_spent()), (5, 0, false));
    }
}
