//! Finding the items whose time has come, a few at a time.
//!
//! It only finds: whether an item is removed, and when "now" is, is the caller's business.

use super::{Item, SlotId, Table};
use crate::segment::{LINE_SLOTS, address_in};
use base::alloc::prefetch;

/// How far a round through the segments of one table has come.
#[derive(Clone, Copy, Default, Debug)]
pub struct DuePosition {
    segment: u32,
    slot: u16,
    /// The pass over the segment that `slot` belongs to.
    pass: u64,
    /// What stood in the slot returned last.
    returned: u64,
}

impl DuePosition {
    fn at_segment(segment: u32) -> Self {
        DuePosition { segment, ..Self::default() }
    }
}

impl<T: Item> Table<T> {
    /// How many items have an expiry time.
    pub fn expiring_count(&self) -> usize {
        self.expiring
    }

    /// No item expires before; `i64::MAX` if none has an expiry time. Looks at every segment.
    pub fn next_expiry(&self) -> i64 {
        self.headers.iter().map(|header| header.next_expiry).min().unwrap_or(i64::MAX)
    }

    /// Shows up to `count` items that have an expiry time and are `wanted`, neighbours behind a random place.
    /// Looks at segments from a random one on, until one has such items.
    pub fn some_expiring(
        &self,
        count: usize,
        below: &mut dyn FnMut(u64) -> u64,
        wanted: &dyn Fn(T::Ref<'_>) -> bool,
        visit: &mut dyn FnMut(T::Ref<'_>),
    ) {
        if self.expiring == 0 {
            return;
        }
        let first = below(self.headers.len() as u64) as usize;
        let segments = (first..self.headers.len()).chain(0..first);
        for segment in segments.filter(|&segment| self.headers[segment].expiring > 0) {
            let from = below(u64::from(self.headers[segment].count).max(1)) as usize;
            let slots = || self.segment_slots(segment as u32);
            let items = slots().skip(from).chain(slots().take(from)).map(|slot| self.view(slot));
            let found = items.filter(|item| T::expires_at(*item) != i64::MAX && wanted(*item)).take(count);
            if found.map(&mut *visit).count() > 0 {
                return;
            }
        }
    }

    /// The next item with `expires_at <= now`, of a round through all segments that goes on from call to
    /// call. `budget` falls by one for each item looked at and each segment passed over. `None` with budget
    /// left is the end of the round, and the position is at the start again; `None` without is a pause. The
    /// caller removes the item or leaves it: then it comes up again in the next round.
    ///
    /// Segments in which nothing can be due are passed over. `next_expiry` may be too low, never too high:
    /// a pass over a segment raises it to its `floor`, the earliest time seen in it. Meanwhile removals may
    /// move items backward past the position, and changes set new times: both lower the floor. Whatever
    /// rebuilds or renumbers a segment sets its floor to the lowest number, so that the pass raises nothing.
    /// There is one pass at a time: a position whose pass is not the latest begins its segment anew.
    pub fn next_due(&mut self, position: &mut DuePosition, now: i64, budget: &mut usize) -> Option<SlotId> {
        if self.expiring == 0 {
            *position = DuePosition::default();
            return None;
        }
        while *budget > 0 {
            let Some(header) = self.headers.get(position.segment as usize) else {
                *position = DuePosition::default();
                return None;
            };
            if position.slot == 0 || position.pass != self.pass {
                if header.next_expiry > now {
                    *budget -= 1;
                    *position = DuePosition::at_segment(position.segment + 1);
                    continue;
                }
                self.begin_pass(position);
            }
            if let Some(slot) = self.due_in_segment(position, now, budget) {
                return Some(slot);
            }
        }
        None
    }

    fn begin_pass(&mut self, position: &mut DuePosition) {
        self.pass += 1;
        self.header_mut(position.segment).floor = i64::MAX;
        position.pass = self.pass;
        position.slot = 0;
    }

    /// Goes on in the current segment: to a due item, the budget's end, or the segment's.
    fn due_in_segment(&mut self, position: &mut DuePosition, now: i64, budget: &mut usize) -> Option<SlotId> {
        let segment = position.segment;
        let slots = self.headers[segment as usize].slots.len() * LINE_SLOTS;
        while usize::from(position.slot) < slots {
            let index = position.slot;
            self.prefetch_line_after(segment, index);
            let header = &self.headers[segment as usize];
            let value = header.slots.value(index);
            if value != 0 {
                if *budget == 0 {
                    return None;
                }
                *budget -= 1;
                let slot = SlotId { segment, index };
                let expiry = T::expires_at(self.view(slot));
                if expiry <= now && value != position.returned {
                    position.returned = value;
                    return Some(slot);
                }
                let floor = &mut self.headers[segment as usize].floor;
                *floor = (*floor).min(expiry);
            }
            position.slot += 1;
        }
        let header = &mut self.headers[segment as usize];
        header.next_expiry = header.next_expiry.max(header.floor);
        header.floor = i64::MIN;
        *position = DuePosition::at_segment(segment + 1);
        None
    }

    /// At a line's first slot, fetches the items of the line after it.
    fn prefetch_line_after(&self, segment: u32, index: u16) {
        let slots = &self.headers[segment as usize].slots;
        let next = usize::from(index) / LINE_SLOTS + 1;
        if usize::from(index).is_multiple_of(LINE_SLOTS) && next < slots.len() {
            for slot in slots[next].live() {
                prefetch(address_in(slots[next].slot(slot)));
            }
        }
    }
}
