//! The snapshot walk: every item that was in the table when a snapshot began is visited once, unless its
//! owner marked it done before. Several snapshots may run at once, and know nothing of each other.
//!
//! The walk only visits and marks. Whoever changes or removes an item that is not done saves it first and
//! marks it; items inserted meanwhile are born done. Marks move with their items, so after any change each
//! item of the cut is either done or still ahead: nothing before the position's place is undone.

use std::ops::ControlFlow;

use super::{Item, SlotId, Table};
use crate::marks::Lane;
use crate::segment::{LINE_SLOTS, Mask, address_in};
use base::alloc::prefetch;

/// Where a snapshot walk goes on. The default is the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct WalkPosition {
    place: u64,
    line: u16,
}

impl<T: Item> Table<T> {
    /// From now on every item counts as not done for snapshot `number`, which was never used before. At most
    /// `limits::SNAPSHOTS_MOST` run at once.
    pub fn snapshot_begin(&mut self, number: u32) {
        self.running.begin(number);
    }

    /// Ends or cancels a snapshot. Left marks are freed when a later one's walk comes to their segments.
    pub fn snapshot_end(&mut self, number: u32) {
        self.running.end(number);
    }

    /// Whether any snapshot runs.
    pub fn snapshot_active(&self) -> bool {
        self.running.any()
    }

    /// Bytes of marks. Looks at every segment.
    pub fn snapshot_memory(&self) -> usize {
        self.headers.iter().map(|header| header.marks.memory()).sum()
    }

    pub fn is_done(&self, number: u32, slot: SlotId) -> bool {
        self.headers[slot.segment as usize].marks.is_done(self.lane(number), slot.index)
    }

    pub fn mark_done(&mut self, number: u32, slot: SlotId) {
        let lane = self.lane(number);
        self.header_mut(slot.segment).marks.mark(lane, slot.index);
    }

    /// Visits the items of up to `lines` lines that are not done for a snapshot, marks them done, and returns
    /// where to go on; `None` when every item in the table is done. `Break` stops after the item, which
    /// counts as done.
    pub fn snapshot_walk(
        &mut self,
        number: u32,
        mut position: WalkPosition,
        lines: usize,
        visit: &mut dyn FnMut(T::Ref<'_>) -> ControlFlow<()>,
    ) -> Option<WalkPosition> {
        let lane = self.lane(number);
        for _ in 0..lines.max(1) {
            let segment = self.segment_of(position.place)?;
            let Some(line) = self.undone_line(lane, segment, usize::from(position.line)) else {
                self.headers[segment as usize].marks.complete(lane, &self.running);
                position = WalkPosition { place: self.end_of(segment)?, line: 0 };
                continue;
            };
            position.line = line as u16;
            if self.visit_line(lane, segment, line, visit).is_break() {
                break;
            }
            position.line += 1;
        }
        Some(position)
    }

    /// An item that was not there at the cut of any running snapshot.
    pub(super) fn mark_born(&mut self, segment: u32, index: u16) {
        let marks = &mut self.headers[segment as usize].marks;
        self.running.lanes().for_each(|lane| marks.mark(lane, index));
    }

    fn lane(&self, number: u32) -> Lane {
        self.running.lane(number).expect("marks belong to a running snapshot")
    }

    /// The first line from `from` on, cyclically, with an item that is not done.
    fn undone_line(&self, lane: Lane, segment: u32, from: usize) -> Option<usize> {
        let header = &self.headers[segment as usize];
        if header.marks.is_complete(lane) {
            return None;
        }
        let lines = header.slots.len();
        (from..lines).chain(0..from.min(lines)).find(|&line| self.undone(lane, segment, line).any())
    }

    /// The live slots of a line that are not done.
    fn undone(&self, lane: Lane, segment: u32, line: usize) -> Mask {
        let header = &self.headers[segment as usize];
        Mask(header.slots[line].live().0 & !header.marks.line(lane, line))
    }

    fn visit_line(
        &mut self,
        lane: Lane,
        segment: u32,
        line: usize,
        visit: &mut dyn FnMut(T::Ref<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let undone = self.undone(lane, segment, line);
        for slot in undone {
            prefetch(address_in(self.headers[segment as usize].slots[line].slot(slot)));
        }
        for slot in undone {
            let slot = SlotId { segment, index: (line * LINE_SLOTS + slot) as u16 };
            self.header_mut(segment).marks.mark(lane, slot.index);
            visit(self.view(slot))?;
        }
        ControlFlow::Continue(())
    }
}
