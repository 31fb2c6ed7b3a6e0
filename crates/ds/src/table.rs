//! The segmented table: extendible hashing over segments of at most 1,024 slots, for items that are one
//! heap block each.
//!
//! It owns its items and finds them by key; it never looks at a clock, never evicts and never waits. The
//! bits of a hash below the `skip` highest choose a directory entry, which names the segment's lines; the
//! low 16 bits choose the line (`segment.rs`). A full segment grows by a step and, at 1,024 slots, splits in
//! two; a segment that empties shrinks and merges with its buddy. No operation touches more than two
//! segments' items; only a doubling of the directory, 16 bytes for each segment, grows with the table.
//!
//! Every hash passed in must be `base::hash::hash` of the item's key: a split computes it anew.
#![allow(unsafe_code)]

mod due;
mod moving;
mod read;
mod resize;
mod scan;
mod walk;

use std::marker::PhantomData;
use std::mem;
use std::ptr::NonNull;

use crate::marks::{Marks, Running};
use crate::segment::{Block, LINE_SLOTS, Line, address_in, after, home, limit_at, pack, tag_in, tag_of};
use base::alloc::prefetch;
use base::hash::hash as hash_of;
pub use due::DuePosition;
pub use moving::LookedAt;
pub use read::ReadPosition;
pub use scan::ScanPosition;
pub use walk::WalkPosition;

/// An owning thin pointer to one heap block.
///
/// # Safety
/// `into_raw` gives the start of a block of the process's allocator, below 2^47, and neither the block nor
/// its key moves or changes while a table holds it. `from_raw` undoes `into_raw`; `view` reads a block
/// between the two.
pub unsafe trait Item: Sized + 'static {
    type Ref<'a>: Copy
    where
        Self: 'a;

    fn into_raw(self) -> NonNull<u8>;

    /// # Safety
    /// `raw` came from `into_raw` and is not used afterwards.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// # Safety
    /// `raw` came from `into_raw`, and during `'a` it is neither given to `from_raw` nor changed.
    unsafe fn view<'a>(raw: NonNull<u8>) -> Self::Ref<'a>;

    fn key<'a>(item: Self::Ref<'a>) -> &'a [u8];

    /// The same item in a new block.
    fn moved(self) -> Self;

    /// Bytes of its block, if that is quickly said.
    fn block_len(_item: Self::Ref<'_>) -> Option<usize> {
        None
    }

    /// Unix milliseconds at which the item expires, `i64::MAX` if never.
    fn expires_at(_item: Self::Ref<'_>) -> i64 {
        i64::MAX
    }
}

/// Where an item stands. Valid until the table's next insertion or removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotId {
    segment: u32,
    index: u16,
}

pub struct Table<T: Item> {
    directory: Vec<DirectoryEntry>,
    headers: Vec<Header>,
    len: usize,
    expiring: usize,
    slot_bytes: usize,
    running: Running,
    /// Items that there will be, as far as it was told.
    expected: usize,
    /// Segments as deep as the directory: while there are none, it can be halved.
    deepest: u32,
    /// Passes of `next_due` over a segment so far.
    pass: u64,
    /// The directory has 2^depth entries, once it has any.
    depth: u8,
    skip: u8,
    items: PhantomData<T>,
}

/// All that a lookup needs of a segment.
#[derive(Clone, Copy)]
struct DirectoryEntry {
    first: NonNull<Line>,
    segment: u32,
    lines: u16,
}

// SAFETY: the lines belong to a Block of the same table, which is Send and Sync itself.
unsafe impl Send for DirectoryEntry {}
// SAFETY: as above.
unsafe impl Sync for DirectoryEntry {}

/// The rest of what is known of a segment: in this order one cache line, which begins with the slots.
#[repr(C)]
struct Header {
    slots: Block,
    count: u16,
    expiring: u16,
    /// How many bits of a place the segment's items have in common.
    depth: u8,
    level: u8,
    /// The place (a hash without its skipped bits, shifted up) at which the segment's share begins.
    place: u64,
    /// No item expires before.
    next_expiry: i64,
    /// While `next_due` goes through the segment: no item that it has passed expires before. Else i64::MIN.
    floor: i64,
    marks: Marks,
}

const _: () = assert!(size_of::<Header>() == 64, "a segment's header is one cache line");

impl<T: Item> Table<T> {
    /// An empty table, for hashes that agree in their `skip_bits` highest bits. Allocates nothing.
    pub const fn new(skip_bits: u8) -> Self {
        Table {
            directory: Vec::new(),
            headers: Vec::new(),
            len: 0,
            expiring: 0,
            slot_bytes: 0,
            running: Running::none(),
            expected: 0,
            deepest: 0,
            pass: 0,
            depth: 0,
            skip: skip_bits,
            items: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the directory, headers and slots; neither the items' nor a snapshot's.
    pub fn memory(&self) -> usize {
        self.slot_bytes
            + self.directory.capacity() * size_of::<DirectoryEntry>()
            + self.headers.capacity() * size_of::<Header>()
    }

    /// How many segments there are. Their numbers are dense, and change when one is added or removed.
    pub fn segment_count(&self) -> usize {
        self.headers.len()
    }

    /// Fetches the line at which a search for `hash` begins.
    #[inline]
    pub fn prefetch_line(&self, hash: u64) {
        if let Some(entry) = self.entry(hash) {
            let lines = usize::from(entry.lines);
            let line = home(tag_of(hash), lines);
            prefetch(entry.first.as_ptr().wrapping_add(line));
            prefetch(entry.first.as_ptr().wrapping_add(after(line, lines)));
        }
    }

    /// As `prefetch_line`, with what an insertion changes besides.
    #[inline]
    pub fn prefetch_room(&self, hash: u64) {
        self.prefetch_line(hash);
        if let Some(entry) = self.entry(hash) {
            prefetch(&raw const self.headers[entry.segment as usize]);
        }
    }

    /// Fetches the item that a search for `hash` will most likely end at.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        if let Some(value) = self.likely_value(hash) {
            let item = address_in(value);
            prefetch(item);
            prefetch(item.wrapping_add(PREFETCH_SECOND));
        }
    }

    /// Fetches what says whether running snapshots have the item: whoever changes it asks that first.
    #[inline]
    pub fn prefetch_marks(&self, hash: u64) {
        if self.running.any() {
            self.fetch_marks(hash);
        }
    }

    #[cold]
    fn fetch_marks(&self, hash: u64) {
        if let Some(entry) = self.entry(hash) {
            self.headers[entry.segment as usize].marks.prefetch();
        }
    }

    /// The item that a search for `hash` will most likely end at: its key was not looked at.
    #[inline]
    pub fn likely(&self, hash: u64) -> Option<T::Ref<'_>> {
        // SAFETY: a slot with a tag is live, and the table owns its item.
        self.likely_value(hash).map(|value| unsafe { view::<T>(value) })
    }

    /// What the first slot with the hash's tag holds, in the lines where it most likely is.
    #[inline]
    fn likely_value(&self, hash: u64) -> Option<u64> {
        let entry = self.entry(hash)?;
        let tag = tag_of(hash);
        let mut line = home(tag, usize::from(entry.lines));
        for _ in 0..LIKELY_LINES {
            let slots = &self.lines(entry)[line];
            if let Some(found) = slots.matches(tag).next() {
                return Some(slots.slot(found));
            }
            if slots.empty().any() {
                return None;
            }
            line = after(line, usize::from(entry.lines));
        }
        None
    }

    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<SlotId> {
        Some(self.find_view(hash, key)?.0)
    }

    /// As `find`, with the item: saves the way from the slot back to it.
    #[inline]
    pub fn find_view(&self, hash: u64, key: &[u8]) -> Option<(SlotId, T::Ref<'_>)> {
        let entry = self.entry(hash)?;
        let lines = self.lines(entry);
        let tag = tag_of(hash);
        let mut line = home(tag, lines.len());
        loop {
            let slots = &lines[line];
            for found in slots.matches(tag) {
                // SAFETY: a slot with a tag is live, and the table owns its item.
                let item = unsafe { view::<T>(slots.slot(found)) };
                if T::key(item) == key {
                    let index = (line * LINE_SLOTS + found) as u16;
                    return Some((SlotId { segment: entry.segment, index }, item));
                }
            }
            // Ends: a segment always has an empty slot.
            if slots.empty().any() {
                return None;
            }
            line = after(line, lines.len());
        }
    }

    #[inline]
    pub fn view(&self, slot: SlotId) -> T::Ref<'_> {
        // SAFETY: the slot is live (`live` asserts it), and the table owns its item.
        unsafe { view::<T>(self.live(slot)) }
    }

    /// Adds an item whose key is not in the table.
    pub fn insert_new(&mut self, hash: u64, item: T) -> SlotId {
        let segment = self.segment_with_room(hash);
        let value = pack(tag_of(hash), item.into_raw());
        // SAFETY: the value was made of an item just now; it is the table's from here on.
        let (expiry, key) = unsafe { (expiry::<T>(value), T::key(view::<T>(value))) };
        debug_assert_eq!(hash_of(key), hash, "the hash is the key's");
        let header = self.header_mut(segment);
        let index = header.slots.place(value);
        header.count += 1;
        if self.running.any() {
            self.mark_born(segment, index);
        }
        self.len += 1;
        self.add_expiry(segment, expiry);
        SlotId { segment, index }
    }

    /// Puts an item of the same key in the old one's place, and returns that.
    pub fn replace(&mut self, slot: SlotId, item: T) -> T {
        self.update(slot, |old| (item, old))
    }

    /// Takes the item out, lets `change` work on it and puts back what it gives: an item of the same key.
    ///
    /// Should `change` panic, the slot is removed.
    pub fn update<R>(&mut self, slot: SlotId, change: impl FnOnce(T) -> (T, R)) -> R {
        let value = self.live(slot);
        let before = T::expires_at(self.view(slot));
        let mut taken = Taken { table: self, slot, expiry: before };
        // SAFETY: the slot is live; its content is not looked at until it is set anew or removed.
        let (item, result) = change(unsafe { T::from_raw(pointer(value)) });
        let value = pack(tag_in(value), item.into_raw());
        taken.table().header_mut(slot.segment).slots.set(slot.index, value);
        mem::forget(taken);
        let after = T::expires_at(self.view(slot));
        if before != after {
            self.drop_expiry(slot.segment, before);
            self.add_expiry(slot.segment, after);
        }
        result
    }

    pub fn remove(&mut self, slot: SlotId) -> T {
        let value = self.live(slot);
        let expiry = T::expires_at(self.view(slot));
        // SAFETY: the slot is live, and nothing looks at it before `vacate` empties it.
        let item = unsafe { T::from_raw(pointer(value)) };
        self.vacate(slot, expiry);
        item
    }

    /// Drops every item, one by one.
    pub fn clear(&mut self) {
        while self.drain_some(usize::MAX) > 0 {}
    }

    /// Drops up to `count` items and returns how many; in slices, this frees a large table without a pause.
    /// From the first call on nothing is found; only `drain_some` and dropping make sense until it is empty.
    pub fn drain_some(&mut self, count: usize) -> usize {
        self.directory = Vec::new();
        self.depth = 0;
        let before = self.len;
        while let Some(header) = self.headers.last_mut() {
            for index in 0..(header.slots.len() * LINE_SLOTS) as u16 {
                let value = header.slots.value(index);
                if before - self.len == count {
                    return count;
                }
                if value != 0 {
                    header.slots.set(index, 0);
                    self.len -= 1;
                    // SAFETY: the slot was live until now and is empty from now on.
                    drop(unsafe { T::from_raw(pointer(value)) });
                }
            }
            self.drop_last_segment();
        }
        self.forget_segments();
        before - self.len
    }

    /// An item, each with the same probability. `below(n)` gives a number under n.
    pub fn random(&self, below: &mut dyn FnMut(u64) -> u64) -> Option<SlotId> {
        if self.len == 0 {
            return None;
        }
        let widest = if self.headers.len() == 1 { self.headers[0].slots.len() } else { 128 } * LINE_SLOTS;
        for _ in 0..RANDOM_TRIES {
            let segment = below(self.headers.len() as u64) as u32;
            let index = below(widest as u64) as usize;
            let slots = &self.headers[segment as usize].slots;
            if index < slots.len() * LINE_SLOTS && slots.value(index as u16) != 0 {
                return Some(SlotId { segment, index: index as u16 });
            }
        }
        self.nth(below(self.len as u64) as usize)
    }

    pub fn for_each(&self, visit: impl FnMut(T::Ref<'_>)) {
        self.iter().for_each(visit);
    }

    pub fn iter(&self) -> impl Iterator<Item = T::Ref<'_>> {
        let segments = 0..self.headers.len() as u32;
        segments.flat_map(|segment| self.segment_slots(segment)).map(|slot| self.view(slot))
    }

    /// The live slots of one segment, by its number.
    pub fn segment_slots(&self, segment: u32) -> impl Iterator<Item = SlotId> {
        self.headers[segment as usize].slots.live().map(move |(index, _)| SlotId { segment, index })
    }

    /// Panics if the table is not as it should be. Costs a visit to every item.
    pub fn check_invariants(&self) {
        let headers = || self.headers.iter();
        assert_eq!(headers().map(|h| usize::from(h.count)).sum::<usize>(), self.len);
        assert_eq!(headers().map(|h| usize::from(h.expiring)).sum::<usize>(), self.expiring);
        assert_eq!(headers().map(|h| h.slots.size()).sum::<usize>(), self.slot_bytes);
        assert_eq!(headers().filter(|h| h.depth == self.depth).count(), self.deepest as usize);
        let entries = if self.headers.is_empty() { 0 } else { 1 << self.depth };
        assert_eq!(self.directory.len(), entries);
        for (index, entry) in self.directory.iter().enumerate() {
            let header = &self.headers[entry.segment as usize];
            assert_eq!(entry.first, header.slots.first());
            assert_eq!(usize::from(entry.lines), header.slots.len());
            assert_eq!(self.index_of(header.place), index & !(self.span_of(header) - 1));
        }
        (0..self.headers.len()).for_each(|segment| self.check_segment(segment as u32));
    }

    fn check_segment(&self, segment: u32) {
        let header = &self.headers[segment as usize];
        header.slots.check_invariants();
        let slots = || self.segment_slots(segment);
        assert_eq!(slots().count(), usize::from(header.count));
        assert!(usize::from(header.count) <= limit_at(header.level));
        let expiries = || slots().map(|slot| T::expires_at(self.view(slot))).filter(|&at| at != i64::MAX);
        assert_eq!(expiries().count(), usize::from(header.expiring));
        assert!(expiries().all(|at| at >= header.next_expiry));
        for slot in slots() {
            let hash = hash_of(T::key(self.view(slot)));
            assert_eq!(tag_of(hash), tag_in(self.live(slot)));
            assert_eq!(self.segment_of(hash << self.skip), Some(segment));
            let other = self.find(hash, T::key(self.view(slot)));
            assert_eq!(other, Some(slot), "a key stands in the table once");
        }
    }

    /// The item of rank `rank` in no particular order.
    fn nth(&self, mut rank: usize) -> Option<SlotId> {
        for segment in 0..self.headers.len() as u32 {
            let count = usize::from(self.headers[segment as usize].count);
            if rank < count {
                return self.segment_slots(segment).nth(rank);
            }
            rank -= count;
        }
        None
    }

    /// Removes a slot whose item is gone already.
    fn vacate(&mut self, slot: SlotId, expiry: i64) {
        // Nobody looks at marks of snapshots that are over.
        let marked = self.running.any();
        let header = self.header_mut(slot.segment);
        let Header { slots, marks, floor, .. } = header;
        if marked {
            marks.clear(slot.index);
        }
        slots.vacate(slot.index, |value, from, to| {
            if marked {
                marks.shift(from, to);
            }
            if *floor != i64::MIN {
                // SAFETY: a slot that moves is live.
                *floor = (*floor).min(unsafe { self::expiry::<T>(value) });
            }
        });
        header.count -= 1;
        self.len -= 1;
        self.drop_expiry(slot.segment, expiry);
        self.contract(slot.segment);
    }

    fn add_expiry(&mut self, segment: u32, expiry: i64) {
        if expiry != i64::MAX {
            let header = self.header_mut(segment);
            header.expiring += 1;
            header.next_expiry = header.next_expiry.min(expiry);
            header.floor = header.floor.min(expiry);
            self.expiring += 1;
        }
    }

    fn drop_expiry(&mut self, segment: u32, expiry: i64) {
        if expiry != i64::MAX {
            let header = self.header_mut(segment);
            header.expiring -= 1;
            if header.expiring == 0 {
                header.next_expiry = i64::MAX;
            }
            self.expiring -= 1;
        }
    }

    fn drop_last_segment(&mut self) {
        if let Some(header) = self.headers.pop() {
            self.slot_bytes -= header.slots.size();
        }
    }

    /// Back to the state of a new table; snapshots go on.
    fn forget_segments(&mut self) {
        assert_eq!(self.len, 0, "items are dropped before their segments");
        self.headers = Vec::new();
        self.expiring = 0;
        self.deepest = 0;
    }

    fn header_mut(&mut self, segment: u32) -> &mut Header {
        &mut self.headers[segment as usize]
    }

    /// A live slot's content.
    fn live(&self, slot: SlotId) -> u64 {
        let value = self.headers[slot.segment as usize].slots.value(slot.index);
        assert!(value != 0, "a slot id outlived an insertion or a removal");
        value
    }

    #[inline]
    fn entry(&self, hash: u64) -> Option<&DirectoryEntry> {
        self.directory.get(self.index_of(hash << self.skip))
    }

    #[inline]
    fn index_of(&self, place: u64) -> usize {
        (place >> 1 >> (63 - self.depth)) as usize
    }

    #[inline]
    fn lines(&self, entry: &DirectoryEntry) -> &[Line] {
        // SAFETY: every directory entry is a copy of the Block of a header of this table (`publish`), which
        // lives as long and is only changed through `&mut self`.
        unsafe { std::slice::from_raw_parts(entry.first.as_ptr(), usize::from(entry.lines)) }
    }

    /// The segment whose share of the places contains `place`.
    fn segment_of(&self, place: u64) -> Option<u32> {
        Some(self.directory.get(self.index_of(place))?.segment)
    }
}

impl<T: Item> Drop for Table<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<T: Item> Default for Table<T> {
    #[inline]
    fn default() -> Self {
        Table::new(0)
    }
}

/// A slot whose item is out for a change. Dropped only if the change panics: the item is gone then.
struct Taken<'a, T: Item> {
    table: &'a mut Table<T>,
    slot: SlotId,
    expiry: i64,
}

impl<T: Item> Taken<'_, T> {
    fn table(&mut self) -> &mut Table<T> {
        self.table
    }
}

impl<T: Item> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        self.table.vacate(self.slot, self.expiry);
    }
}

fn pointer(value: u64) -> NonNull<u8> {
    NonNull::new(address_in(value)).expect("a live slot holds an address")
}

/// # Safety
/// `value` is the content of a live slot of a table that outlives `'a` and does not change it meanwhile.
#[inline]
unsafe fn view<'a, T: Item + 'a>(value: u64) -> T::Ref<'a> {
    // SAFETY: slots are made of what `into_raw` returned; the rest is the caller's promise.
    unsafe { T::view(NonNull::new_unchecked(address_in(value))) }
}

/// # Safety
/// As for `view`, for the time of this call.
unsafe fn expiry<T: Item>(value: u64) -> i64 {
    // SAFETY: the caller's promise.
    T::expires_at(unsafe { view::<T>(value) })
}

/// How many lines `likely_value` looks at before it leaves the rest to `find`.
const LIKELY_LINES: usize = 4;
/// Where the second line to fetch of an item begins: what lies there even if the block is not aligned to 64.
const PREFETCH_SECOND: usize = 48;
/// Tries before `random` counts instead; only a table that lost most of its items ever gets that far.
const RANDOM_TRIES: usize = 64;
