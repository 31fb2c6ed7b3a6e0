//! How a table's segments grow, split, shrink and merge, and how the directory follows.
//!
//! Everything that moves an item to another slot is here or in `Block::vacate`. Done marks move with their
//! item; a `next_due` pass over a segment that is rebuilt learns nothing (`floor`).

use super::{DirectoryEntry, Header, Item, SlotId, Table};
use crate::marks::{Bits, Marks, Running};
use crate::segment::{Block, TOP_LEVEL, address_in, level_for, limit_at, slots_at};
use base::alloc::prefetch;
use base::hash::hash as hash_of;

/// A segment's slots under construction.
struct Build<'t> {
    slots: Block,
    marks: Marks,
    running: &'t Running,
    count: u16,
    level: u8,
}

impl<'t> Build<'t> {
    fn new(count: usize, running: &'t Running) -> Self {
        let level = level_for(count);
        Build { slots: Block::new(level), marks: Marks::default(), running, count: 0, level }
    }

    /// Puts every item of `header` for which `belongs` holds, given its slot.
    fn take_from(&mut self, header: &Header, belongs: impl Fn(u16) -> bool) {
        let taken = header.slots.live().filter(|&(index, _)| belongs(index));
        if self.running.any() {
            return self.take_with_marks(taken, &header.marks);
        }
        taken.for_each(|(_, value)| {
            self.slots.place(value);
            self.count += 1;
        });
    }

    /// Puts items, which take their done marks along.
    #[cold]
    fn take_with_marks(&mut self, taken: impl Iterator<Item = (u16, u64)>, marks: &Marks) {
        for (from, value) in taken {
            let to = self.slots.place(value);
            self.count += 1;
            for lane in self.running.lanes().filter(|&lane| marks.is_done(lane, from)) {
                self.marks.mark(lane, to);
            }
        }
    }

    /// The header, of items that had `marks`. Where all of these are complete, its own are.
    fn finish(mut self, marks: &[&Marks], place: u64, depth: u8, expiry: Expiry) -> Header {
        for lane in self.running.lanes().filter(|&lane| marks.iter().all(|marks| marks.is_complete(lane))) {
            self.marks.complete(lane, self.running);
        }
        Header {
            place,
            slots: self.slots,
            next_expiry: expiry.next,
            floor: i64::MIN,
            marks: self.marks,
            count: self.count,
            expiring: expiry.count,
            depth,
            level: self.level,
        }
    }
}

#[derive(Clone, Copy)]
struct Expiry {
    count: u16,
    next: i64,
}

impl Expiry {
    const NONE: Expiry = Expiry { count: 0, next: i64::MAX };

    fn add(&mut self, at: i64) {
        if at != i64::MAX {
            self.count += 1;
            self.next = self.next.min(at);
        }
    }
}

/// How a segment's items divide at the next bit of their places.
struct Division {
    /// The slots whose items go to the upper half.
    upper: Bits,
    counts: [usize; 2],
    expiry: [Expiry; 2],
}

impl<T: Item> Table<T> {
    /// The number of the segment that `hash` belongs to, with room for one item more.
    pub(super) fn segment_with_room(&mut self, hash: u64) -> u32 {
        let place = hash << self.skip;
        loop {
            let Some(segment) = self.segment_of(place) else {
                self.plant(0, 0);
                continue;
            };
            let header = &self.headers[segment as usize];
            if usize::from(header.count) < limit_at(header.level) {
                return segment;
            }
            if header.level < TOP_LEVEL {
                self.resize(segment, limit_at(header.level));
            } else {
                self.split(segment);
            }
        }
    }

    /// Gives memory back after a removal from `segment`.
    pub(super) fn contract(&mut self, segment: u32) {
        let header = &self.headers[segment as usize];
        let count = usize::from(header.count);
        if count.is_multiple_of(MERGE_CHECK) && self.merge_up(segment) {
            return;
        }
        let header = &self.headers[segment as usize];
        if header.level > 0 && count < slots_at(header.level) / 4 {
            self.resize(segment, count + count / 2);
        }
    }

    pub(super) fn span_of(&self, header: &Header) -> usize {
        1 << (self.depth - header.depth)
    }

    /// The place at which the share of a segment's right neighbour begins; none for the last.
    pub(super) fn end_of(&self, segment: u32) -> Option<u64> {
        let header = &self.headers[segment as usize];
        header.place.checked_add(1u64.checked_shl(64 - u32::from(header.depth))?)
    }

    /// Gives a table without segments as many as so many items need: on the way there few of them grow.
    pub fn lay_out(&mut self, count: usize) {
        if count == 0 || !self.headers.is_empty() {
            return;
        }
        let is_enough = |&depth: &u8| share(count, depth) <= limit_at(TOP_LEVEL);
        let depth = (0..).find(is_enough).expect("shares shrink to 0");
        self.plant(depth, share(count.max(self.expected), depth));
    }

    /// Says how many items there will be: new segments have room for their shares of these from then on.
    pub fn expect(&mut self, count: usize) {
        self.expected = count;
    }

    /// The first segments of a table: 2^depth, each with room for so many items.
    fn plant(&mut self, depth: u8, count: usize) {
        assert!(depth + self.skip <= DEPTH_LIMIT, "a table has less than 2^44 segments");
        self.headers.reserve_exact(1 << depth);
        self.directory.reserve_exact(1 << depth);
        (self.depth, self.deepest) = (depth, 1 << depth);
        for segment in 0..1 << depth {
            let place = u64::from(segment) << (63 - depth) << 1;
            let header = Build::new(count, &self.running).finish(&[], place, depth, Expiry::NONE);
            self.directory.push(entry_of(&header, segment));
            self.slot_bytes += header.slots.size();
            self.headers.push(header);
        }
    }

    /// Rebuilds a segment with the fewest slots that leave room beyond `count` items.
    fn resize(&mut self, segment: u32, count: usize) {
        let header = &self.headers[segment as usize];
        let mut build = Build::new(count, &self.running);
        build.take_from(header, |_| true);
        let expiry = Expiry { count: header.expiring, next: header.next_expiry };
        let header = build.finish(&[&header.marks], header.place, header.depth, expiry);
        self.set_header(segment, header);
    }

    /// Divides a segment at the next bit of its places.
    fn split(&mut self, segment: u32) {
        if self.headers[segment as usize].depth == self.depth {
            self.double_directory();
        }
        let division = self.divide(segment);
        let header = &self.headers[segment as usize];
        let (place, depth) = (header.place, header.depth + 1);
        let expected = share(self.expected, depth);
        let half = |side: usize| {
            let room = expected.max(division.counts[side] + SPLIT_SLACK);
            let mut build = Build::new(room, &self.running);
            build.take_from(header, |index| division.upper.test(index) == (side == 1));
            let place = place | (side as u64) << (64 - depth);
            build.finish(&[&header.marks], place, depth, division.expiry[side])
        };
        let (lower, upper) = (half(0), half(1));
        if depth == self.depth {
            self.deepest += 2;
        }
        self.set_header(segment, lower);
        self.add_header(upper);
    }

    fn divide(&self, segment: u32) -> Division {
        let header = &self.headers[segment as usize];
        let bit = 63 - header.depth;
        let mut division = Division { upper: Bits::default(), counts: [0; 2], expiry: [Expiry::NONE; 2] };
        let mut ahead = header.slots.live().skip(SPLIT_PREFETCH);
        for (index, _) in header.slots.live() {
            if let Some((_, value)) = ahead.next() {
                prefetch(address_in(value));
            }
            let item = self.view(SlotId { segment, index });
            let side = (hash_of(T::key(item)) << self.skip) >> bit & 1;
            if side == 1 {
                division.upper.set(index);
            }
            division.counts[side as usize] += 1;
            division.expiry[side as usize].add(T::expires_at(item));
        }
        division
    }

    /// Merges a segment with its buddy while both together are small, and the result again.
    fn merge_up(&mut self, mut segment: u32) -> bool {
        let mut merged = false;
        while let Some((lower, upper)) = self.small_pair(segment) {
            segment = self.merge(lower, upper);
            merged = true;
        }
        merged
    }

    /// A segment and its buddy, lower places first, if they should be one.
    fn small_pair(&self, segment: u32) -> Option<(u32, u32)> {
        let header = &self.headers[segment as usize];
        let distance = 1u64.checked_shl(64 - u32::from(header.depth))?;
        let buddy = self.segment_of(header.place ^ distance)?;
        let other = &self.headers[buddy as usize];
        if other.depth != header.depth || usize::from(other.count + header.count) >= MERGE_LIMIT {
            return None;
        }
        Some(if header.place & distance == 0 { (segment, buddy) } else { (buddy, segment) })
    }

    /// Makes one segment of two buddies and returns its number.
    fn merge(&mut self, lower: u32, upper: u32) -> u32 {
        let (left, right) = (&self.headers[lower as usize], &self.headers[upper as usize]);
        let count = usize::from(left.count + right.count);
        let mut build = Build::new(count + count / 4, &self.running);
        build.take_from(left, |_| true);
        build.take_from(right, |_| true);
        let expiry =
            Expiry { count: left.expiring + right.expiring, next: left.next_expiry.min(right.next_expiry) };
        if left.depth == self.depth {
            self.deepest -= 2;
        }
        let header = build.finish(&[&left.marks, &right.marks], left.place, left.depth - 1, expiry);
        self.set_header(lower, header);
        let lower = self.remove_header(upper, lower);
        self.halve_directory();
        lower
    }

    fn add_header(&mut self, header: Header) {
        self.slot_bytes += header.slots.size();
        self.headers.push(header);
        self.publish(self.headers.len() as u32 - 1);
    }

    fn set_header(&mut self, segment: u32, header: Header) {
        self.slot_bytes += header.slots.size();
        self.slot_bytes -= self.headers[segment as usize].slots.size();
        self.headers[segment as usize] = header;
        self.publish(segment);
    }

    /// Removes a header that no directory entry should name any more; returns the number of `kept` then.
    fn remove_header(&mut self, segment: u32, kept: u32) -> u32 {
        let removed = self.headers.swap_remove(segment as usize);
        self.slot_bytes -= removed.slots.size();
        let last = self.headers.len() as u32;
        if segment != last {
            self.headers[segment as usize].floor = i64::MIN;
            self.publish(segment);
        }
        if self.headers.len() < self.headers.capacity() / 4 {
            self.headers.shrink_to(self.headers.len() * 2);
        }
        if kept == last { segment } else { kept }
    }

    /// Writes a segment's lines and number to its directory entries.
    pub(super) fn publish(&mut self, segment: u32) {
        let header = &self.headers[segment as usize];
        let entry = entry_of(header, segment);
        let start = self.index_of(header.place);
        let span = self.span_of(header);
        self.directory[start..start + span].fill(entry);
    }

    fn double_directory(&mut self) {
        assert!(self.depth + self.skip < DEPTH_LIMIT, "hashes are so evenly spread that this never happens");
        let mut doubled = Vec::with_capacity(self.directory.len() * 2);
        doubled.extend(self.directory.iter().flat_map(|&entry| [entry; 2]));
        self.directory = doubled;
        self.depth += 1;
        self.deepest = 0;
    }

    /// Halves the directory while no segment is as deep as it.
    fn halve_directory(&mut self) {
        while self.deepest == 0 {
            self.directory = self.directory.iter().step_by(2).copied().collect();
            self.depth -= 1;
            self.deepest = self.headers.iter().filter(|header| header.depth == self.depth).count() as u32;
        }
    }
}

/// How many of a table's items one segment of such a depth has to have room for.
fn share(count: usize, depth: u8) -> usize {
    let mean = count >> depth;
    mean + mean.isqrt()
}

fn entry_of(header: &Header, segment: u32) -> DirectoryEntry {
    DirectoryEntry { first: header.slots.first(), segment, lines: header.slots.len() as u16 }
}

/// Buddies with fewer items together become one segment: far from the count at which that splits again.
const MERGE_LIMIT: usize = 384;
/// Removals between two looks at the buddy.
const MERGE_CHECK: usize = 16;
/// Room that each half of a split has beyond its items.
const SPLIT_SLACK: usize = 4;
/// How many items ahead a split fetches: it waits for memory otherwise.
const SPLIT_PREFETCH: usize = 24;
/// Bits of a hash that the directory may use: a scan's cursor has 47 for places.
const DEPTH_LIMIT: u8 = 44;
