//! The slots of one segment: 64-byte lines of eight, searched by a 16-bit tag.
//!
//! It owns the block of slots, never what they point to, and knows nothing of keys, counts or the
//! directory. A slot is 0 when empty, else a tag (never 0) above a 48-bit address. A tag's home line is
//! `tag * lines >> 16`, so another number of lines needs no look at the items; an item stands in the first
//! line from its home, cyclically, that had room.
//!
//! Invariant: every line between an item's home and the line it stands in is full. A line with an empty
//! slot therefore ends every search, and `vacate` restores the invariant without tombstones. The owner
//! keeps at least one slot of a block empty.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use base::alloc::{segment_alloc, segment_free, segment_move};

/// The tag under which `hash` is stored: its low 16 bits, but never the 0 of an empty slot.
pub(crate) fn tag_of(hash: u64) -> u16 {
    (hash as u16).max(1)
}

/// A live slot's content.
pub(crate) fn pack(tag: u16, item: NonNull<u8>) -> u64 {
    let address = item.as_ptr().expose_provenance() as u64;
    assert!(address <= ADDRESS_MASK && tag != 0, "an item lies in the lower half of the address space");
    u64::from(tag) << 48 | address
}

pub(crate) fn tag_in(slot: u64) -> u16 {
    (slot >> 48) as u16
}

/// The address in a slot; null for an empty one.
pub(crate) fn address_in(slot: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut((slot & ADDRESS_MASK) as usize)
}

/// How many slots a segment of this level has.
pub(crate) fn slots_at(level: u8) -> usize {
    usize::from(LEVELS[usize::from(level)])
}

/// How many items a segment of this level may hold. 98 %: what it takes to stay under 10 bytes a slot.
pub(crate) fn limit_at(level: u8) -> usize {
    let slots = slots_at(level);
    if slots < 64 { slots - 1 } else { slots * 98 / 100 }
}

/// The smallest level with room for one item more than `count`; the largest if there is none.
pub(crate) fn level_for(count: usize) -> u8 {
    (0..TOP_LEVEL).find(|&level| limit_at(level) > count).unwrap_or(TOP_LEVEL)
}

/// The line at which the search for `tag` begins.
pub(crate) fn home(tag: u16, lines: usize) -> usize {
    (usize::from(tag) * lines) >> 16
}

/// The line at which it goes on.
#[inline]
pub(crate) fn after(line: usize, lines: usize) -> usize {
    if line + 1 == lines { 0 } else { line + 1 }
}

/// Eight slots in one cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u64; LINE_SLOTS]);

impl Line {
    pub fn slot(&self, index: usize) -> u64 {
        self.0[index]
    }

    /// The slots whose tag is `tag`; 0 finds the empty ones.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub fn matches(&self, tag: u16) -> Mask {
        use std::arch::x86_64::*;
        // SAFETY: a Line is 64 bytes long and aligned to 64, so each of its four quarters is an aligned
        // 16-byte load; SSE2 is part of x86_64.
        unsafe {
            let quarter = |i| _mm_castsi128_ps(_mm_load_si128(self.0.as_ptr().cast::<__m128i>().add(i)));
            let low = _mm_castps_si128(_mm_shuffle_ps(quarter(0), quarter(1), UPPER_HALVES));
            let high = _mm_castps_si128(_mm_shuffle_ps(quarter(2), quarter(3), UPPER_HALVES));
            let tags = _mm_packs_epi32(_mm_srai_epi32(low, 16), _mm_srai_epi32(high, 16));
            let equal = _mm_cmpeq_epi16(tags, _mm_set1_epi16(tag as i16));
            Mask(_mm_movemask_epi8(_mm_packs_epi16(equal, equal)) as u8)
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    pub fn matches(&self, tag: u16) -> Mask {
        self.matches_portable(tag)
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn matches_portable(&self, tag: u16) -> Mask {
        let bit = |(index, &slot): (usize, &u64)| u8::from(tag_in(slot) == tag) << index;
        Mask(self.0.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit))
    }

    #[inline]
    pub fn empty(&self) -> Mask {
        self.matches(0)
    }

    #[inline]
    pub fn live(&self) -> Mask {
        Mask(!self.empty().0)
    }
}

/// A set of a line's slots; iterates over their indices, ascending.
#[derive(Clone, Copy)]
pub(crate) struct Mask(pub u8);

impl Mask {
    #[inline]
    pub fn any(self) -> bool {
        self.0 != 0
    }

    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl Iterator for Mask {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let index = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(index)
    }
}

/// The owned lines of one segment. Packed, so that a segment's header stays within one cache line.
#[repr(C, packed(2))]
pub(crate) struct Block {
    first: NonNull<Line>,
    lines: u16,
}

// SAFETY: a Block is the only owner of its lines, which are plain numbers; the items they name are the
// table's, whose own bounds apply.
unsafe impl Send for Block {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Block {}

impl Block {
    /// Empty slots, as many as `level` has.
    pub fn new(level: u8) -> Self {
        let lines = slots_at(level) / LINE_SLOTS;
        Block { first: allocate(lines * size_of::<Line>()).cast(), lines: lines as u16 }
    }

    pub fn first(&self) -> NonNull<Line> {
        self.first
    }

    pub fn size(&self) -> usize {
        self.len() * size_of::<Line>()
    }

    /// Puts the lines into a new block.
    pub fn move_block(&mut self) {
        let (size, old) = (self.size(), self.first.cast());
        self.first = if size >= ARENA_SIZE {
            // SAFETY: `allocate` returned the block for this same size, and nobody uses it any more.
            unsafe { segment_move(old, size) }.cast()
        } else {
            let new = allocate(size);
            // SAFETY: both blocks have `size` bytes.
            unsafe { new.copy_from_nonoverlapping(old, size) };
            release(old, size);
            new.cast()
        };
    }

    pub fn value(&self, index: u16) -> u64 {
        self[usize::from(index) / LINE_SLOTS].0[usize::from(index) % LINE_SLOTS]
    }

    pub fn set(&mut self, index: u16, slot: u64) {
        self[usize::from(index) / LINE_SLOTS].0[usize::from(index) % LINE_SLOTS] = slot;
    }

    /// Every live slot's index and content, ascending.
    pub fn live(&self) -> impl Iterator<Item = (u16, u64)> {
        self.iter()
            .enumerate()
            .flat_map(|(line, slots)| slots.live().map(move |i| ((line * LINE_SLOTS + i) as u16, slots.0[i])))
    }

    /// Puts a slot in its place and returns the index.
    pub fn place(&mut self, slot: u64) -> u16 {
        let start = home(tag_in(slot), self.len());
        let (head, tail) = (start..self.len(), 0..start);
        for line in head.chain(tail) {
            if let Some(free) = self[line].empty().next() {
                self[line].0[free] = slot;
                return (line * LINE_SLOTS + free) as u16;
            }
        }
        unreachable!("a block's owner never fills it");
    }

    /// Empties a slot and closes the gap, telling of each slot that moves: its content, from, to.
    pub fn vacate(&mut self, index: u16, mut moved: impl FnMut(u64, u16, u16)) {
        self.set(index, 0);
        let mut hole = index;
        // Searches pass a line only while it is full: then the hole is its one empty slot.
        while self[usize::from(hole) / LINE_SLOTS].empty().count() == 1 {
            let Some(from) = self.follower(usize::from(hole) / LINE_SLOTS) else { return };
            let slot = self.value(from);
            self.set(hole, slot);
            self.set(from, 0);
            moved(slot, from, hole);
            hole = from;
        }
    }

    /// Calls `visit` for each slot whose tag lies in `first..=last`.
    pub fn each_tagged(&self, first: u16, last: u16, mut visit: impl FnMut(u16)) {
        let start = home(first, self.len());
        let homes = home(last, self.len()) - start;
        for step in 0..self.len() {
            let at = self.wrap(start + step);
            for slot in self[at].live().filter(|&i| (first..=last).contains(&tag_in(self[at].0[i]))) {
                visit((at * LINE_SLOTS + slot) as u16);
            }
            if step >= homes && self[at].empty().any() {
                return;
            }
        }
    }

    /// Panics unless each live slot can be found.
    pub fn check_invariants(&self) {
        assert!(self.iter().any(|line| line.empty().any()), "a block has an empty slot");
        for (index, slot) in self.live() {
            let line = usize::from(index) / LINE_SLOTS;
            let start = home(tag_in(slot), self.len());
            for step in 0..self.distance(start, line) {
                assert!(!self[self.wrap(start + step)].empty().any(), "a search passes full lines only");
            }
        }
    }

    /// A slot of a later line whose search passes through `line`.
    fn follower(&self, line: usize) -> Option<u16> {
        for step in 1..self.len() {
            let at = self.wrap(line + step);
            let passes = |&i: &usize| self.distance(home(tag_in(self[at].0[i]), self.len()), at) >= step;
            if let Some(found) = self[at].live().find(passes) {
                return Some((at * LINE_SLOTS + found) as u16);
            }
            if self[at].empty().any() {
                return None;
            }
        }
        None
    }

    fn wrap(&self, line: usize) -> usize {
        if line >= self.len() { line - self.len() } else { line }
    }

    /// Lines from `from` on to `to`, cyclically.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.len() - from }
    }
}

impl Deref for Block {
    type Target = [Line];

    #[inline]
    fn deref(&self) -> &[Line] {
        // SAFETY: `first` heads `lines` initialised lines that this block owns until it is dropped.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), usize::from(self.lines)) }
    }
}

impl DerefMut for Block {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Line] {
        // SAFETY: as for `deref`; `&mut self` excludes every other access.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), usize::from(self.lines)) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        release(self.first.cast(), self.size());
    }
}

/// Zeroed memory for lines. Full-grown segments come from the arena that returns memory at once; small ones
/// belong to collections, live shortly and are better off with the general allocator.
fn allocate(size: usize) -> NonNull<u8> {
    if size >= ARENA_SIZE {
        return segment_alloc(size);
    }
    let layout = lines_layout(size);
    // SAFETY: the layout's size is at least one line.
    let block = unsafe { std::alloc::alloc_zeroed(layout) };
    NonNull::new(block).unwrap_or_else(|| std::alloc::handle_alloc_error(layout))
}

fn release(block: NonNull<u8>, size: usize) {
    if size >= ARENA_SIZE {
        // SAFETY: `allocate` returned the block for this same size.
        return unsafe { segment_free(block, size) };
    }
    // SAFETY: `allocate` returned the block for this same size.
    unsafe { std::alloc::dealloc(block.as_ptr(), lines_layout(size)) }
}

fn lines_layout(size: usize) -> Layout {
    Layout::from_size_align(size, align_of::<Line>()).expect("at most 1,024 slots of 8 bytes")
}

pub(crate) const LINE_SLOTS: usize = 8;
pub(crate) const TOP_LEVEL: u8 = LEVELS.len() as u8 - 1;

/// Slots by level. From 512 on in steps that are allocator classes exactly.
const LEVELS: [u16; 11] = [8, 16, 32, 64, 128, 256, 512, 640, 768, 896, 1024];
const ADDRESS_MASK: u64 = (1 << 48) - 1;
const ARENA_SIZE: usize = 4096;
#[cfg(target_arch = "x86_64")]
const UPPER_HALVES: i32 = 0b11_01_11_01;

#[cfg(test)]
mod tests {
    use super::*;
    use base::random::Rng;

    fn slot(tag: u16, address: u64) -> u64 {
        u64::from(tag) << 48 | address
    }

    #[test]
    fn both_ways_to_match_a_tag_agree() {
        let mut rng = Rng::from_seed(1);
        let tags = [0, 1, 2, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff];
        for _ in 0..20_000 {
            let mut any = || slot(tags[rng.below(8) as usize], rng.below(ADDRESS_MASK));
            let line = Line(std::array::from_fn(|_| any()));
            for tag in tags {
                assert_eq!(line.matches(tag).0, line.matches_portable(tag).0, "{tag} in {:x?}", line.0);
            }
        }
    }

    #[test]
    fn a_block_stays_searchable_and_windows_are_whole() {
        let check = |level: u8, seed: u64| {
            let mut rng = Rng::from_seed(seed);
            let mut block = Block::new(level);
            let mut live = Vec::new();
            for round in 0..4000 {
                let fill = if round % 1000 < 500 { 80 } else { 20 };
                if live.len() < limit_at(level) && rng.below(100) < fill {
                    let value = slot(1 + rng.below(0xffff) as u16, 8 * (round + 1));
                    block.place(value);
                    live.push(value);
                } else if !live.is_empty() {
                    let value = live.swap_remove(rng.below(live.len() as u64) as usize);
                    let (index, _) = block.live().find(|&(_, other)| other == value).expect("is live");
                    block.vacate(index, |_, _, _| {});
                }
                if round % 50 == 0 {
                    block.check_invariants();
                    check_window(&block, &live, &mut rng);
                }
            }
        };
        (0..=TOP_LEVEL).for_each(|level| check(level, u64::from(level)));
    }

    fn check_window(block: &Block, live: &[u64], rng: &mut Rng) {
        let first = rng.below(1 << 16) as u16;
        let last = first.saturating_add(rng.below(1 << 15) as u16);
        let mut found = Vec::new();
        block.each_tagged(first, last, |index| found.push(block.value(index)));
        let mut wanted: Vec<u64> =
            live.iter().copied().filter(|&value| (first..=last).contains(&tag_in(value))).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
    }
}
