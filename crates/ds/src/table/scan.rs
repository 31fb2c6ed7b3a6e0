//! SCAN: a way through all items that survives whatever happens to the table in between.
//!
//! # Why nothing is missed
//! A position is a place and a tag. With tag 0 it says: every item with a place below has been returned.
//! With a tag t > 0 it names a segment as it was, its first place and its depth, and says besides: of that
//! segment's share of places, every item whose tag is below t has been returned. Items never change place
//! or tag, so this stays true however segments change; growth, shrinking and shifts inside a segment do not
//! even concern it. A step looks up the segment that now holds the first place:
//! - It is as deep or deeper (split): its share lies within the old one's, so its tags below t are done;
//!   when its last tag is done, all places below its end are. The other half follows from tag 0.
//! - It is shallower (merged): it has items of which nothing is known, so it is gone through from tag 0.
//!
//! In both cases the next position says no more than what was returned. What is returned twice is an item
//! of the other half or of the merged segment; with no split and no merge in between, nothing is.

use super::{Item, SlotId, Table};

/// Where a scan goes on. The default is the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ScanPosition {
    /// The segment's first place and, for a tag other than 0, its depth: see `within`.
    place: u64,
    tag: u16,
}

impl ScanPosition {
    /// The number that clients see: below 2^63, 0 only for the start. `shard` is the `shard_bits`-bit
    /// number of the table among those that share the hash's space. Of a place only the first bits are used,
    /// so they come last: clients that take numbers for doubles have 53 bits, enough for 2^36 segments.
    pub fn to_cursor(self, shard: u64, shard_bits: u8) -> u64 {
        let place = self.place >> shard_bits;
        let top = shard.checked_shl(64 - u32::from(shard_bits)).unwrap_or(0);
        ((top | place) >> 17 << 17).reverse_bits() << 16 | u64::from(self.tag)
    }

    /// The shard and position of a cursor; any number will do.
    pub fn from_cursor(cursor: u64, shard_bits: u8) -> (u64, Self) {
        let whole = (cursor << 1 >> 17).reverse_bits();
        let shard = whole.checked_shr(64 - u32::from(shard_bits)).unwrap_or(0);
        (shard, ScanPosition { place: whole << shard_bits, tag: cursor as u16 })
    }

    /// A segment in the middle of its tags. The depth is kept as the lowest set bit, which halves the
    /// segment's share.
    fn within(place: u64, depth: u8, tag: u16) -> Self {
        ScanPosition { place: place | 1 << (63 - depth), tag }
    }

    /// The place at which to go on, and the depth of the segment as it was if anything is known of its tags.
    fn resolve(self) -> (u64, Option<u32>) {
        if self.tag == 0 || self.place == 0 {
            return (self.place, None);
        }
        (self.place & (self.place - 1), Some(63 - self.place.trailing_zeros()))
    }
}

impl<T: Item> Table<T> {
    /// One step of a scan through this table alone: visits about `count` items and returns the next cursor,
    /// 0 at the end. 0 starts.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(T::Ref<'_>)) -> u64 {
        let (_, position) = ScanPosition::from_cursor(cursor, 0);
        self.scan_from(position, count, visit).map_or(0, |next| next.to_cursor(0, 0))
    }

    /// One step of a scan: visits about `count` items and says where to go on; `None` at the end.
    pub fn scan_from(
        &self,
        mut position: ScanPosition,
        count: usize,
        visit: &mut dyn FnMut(T::Ref<'_>),
    ) -> Option<ScanPosition> {
        let mut visited = 0;
        for _ in 0..count.saturating_mul(WINDOWS_PER_ITEM).max(1) {
            let wanted = count.saturating_sub(visited).max(1);
            visited += self.scan_window(&mut position, wanted, visit)?;
            if visited >= count {
                break;
            }
        }
        Some(position)
    }

    /// Visits one window of tags of one segment, moves the position behind it and returns how many items
    /// there were; `None` if that was the last window of all, or the table is empty.
    fn scan_window(
        &self,
        position: &mut ScanPosition,
        wanted: usize,
        visit: &mut dyn FnMut(T::Ref<'_>),
    ) -> Option<usize> {
        let (place, depth) = position.resolve();
        let segment = self.segment_of(place)?;
        let header = &self.headers[segment as usize];
        let known = depth.is_some_and(|depth| u32::from(header.depth) >= depth);
        let first = if known { position.tag } else { 0 };
        let width = (wanted.saturating_mul(TAGS) / usize::from(header.count.max(1))).clamp(1, TAGS);
        let last = (usize::from(first) + width - 1).min(TAGS - 1) as u16;
        let mut visited = 0;
        header.slots.each_tagged(first, last, |index| {
            visit(self.view(SlotId { segment, index }));
            visited += 1;
        });
        *position = match last.checked_add(1) {
            Some(tag) => ScanPosition::within(header.place, header.depth, tag),
            None => ScanPosition { place: self.end_of(segment)?, tag: 0 },
        };
        Some(visited)
    }
}

const TAGS: usize = 1 << 16;
/// Looking at a window costs about as much as an item: this bounds a step through empty segments.
const WINDOWS_PER_ITEM: usize = 10;
