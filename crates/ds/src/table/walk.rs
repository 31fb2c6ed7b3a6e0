//! The snapshot walk: every item that was in the table when a snapshot began is visited once, unless its
//! owner marked it done before.
//!
//! The walk only visits and marks. Whoever changes or removes an item that is not done saves it first and
//! marks it; items inserted meanwhile are born done. Marks move with their items, so after any change each
//! item of the cut is either done or still ahead: nothing before the position's place is undone.

use std::ops::ControlFlow;

use super::{Item, SlotId, Table};
use crate::marks::Marks;
use crate::segment::{LINE_SLOTS, Mask, address_in};
use base::alloc::prefetch;

/// Where a snapshot walk goes on. The default is the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct WalkPosition {
    place: u64,
    line: u16,
}

impl<T: Item> Table<T> {
    /// From now on every item counts as not done for snapshot `number`, which was never used before.
    pub fn snapshot_begin(&mut self, number: u32) {
        assert!(number != 0 && number != self.snapshot, "snapshot numbers are not used twice");
        self.snapshot = number;
    }

    /// Ends or cancels the snapshot. Left marks are freed when their segments are touched by a later one.
    pub fn snapshot_end(&mut self) {
        self.snapshot = 0;
    }

    pub fn snapshot_active(&self) -> bool {
        self.snapshot != 0
    }

    /// Bytes of marks. Looks at every segment.
    pub fn snapshot_memory(&self) -> usize {
        self.headers.iter().map(|header| header.marks.memory()).sum()
    }

    pub fn is_done(&self, slot: SlotId) -> bool {
        self.headers[slot.segment as usize].marks.is_done(self.snapshot, slot.index)
    }

    pub fn mark_done(&mut self, slot: SlotId) {
        assert!(self.snapshot != 0, "marks belong to a snapshot");
        let snapshot = self.snapshot;
        self.header_mut(slot.segment).marks.mark(snapshot, slot.index);
    }

    /// Visits the items of up to `lines` lines that are not done, marks them done, and returns where to go
    /// on; `None` when every item in the table is done. `Break` stops after the item, which counts as done.
    pub fn snapshot_walk(
        &mut self,
        mut position: WalkPosition,
        lines: usize,
        visit: &mut dyn FnMut(T::Ref<'_>) -> ControlFlow<()>,
    ) -> Option<WalkPosition> {
        assert!(self.snapshot != 0, "a walk belongs to a snapshot");
        for _ in 0..lines.max(1) {
            let segment = self.segment_of(position.place)?;
            let Some(line) = self.undone_line(segment, usize::from(position.line)) else {
                let marks = Marks::new(self.snapshot, true);
                self.header_mut(segment).marks = marks;
                position = WalkPosition { place: self.end_of(segment)?, line: 0 };
                continue;
            };
            position.line = line as u16;
            if self.visit_line(segment, line, visit).is_break() {
                break;
            }
            position.line += 1;
        }
        Some(position)
    }

    /// The first line from `from` on, cyclically, with an item that is not done.
    fn undone_line(&self, segment: u32, from: usize) -> Option<usize> {
        let header = &self.headers[segment as usize];
        if header.marks.is_complete(self.snapshot) {
            return None;
        }
        let lines = header.slots.len();
        (from..lines).chain(0..from.min(lines)).find(|&line| self.undone(segment, line).any())
    }

    /// The live slots of a line that are not done.
    fn undone(&self, segment: u32, line: usize) -> Mask {
        let header = &self.headers[segment as usize];
        Mask(header.slots[line].live().0 & !header.marks.line(self.snapshot, line))
    }

    fn visit_line(
        &mut self,
        segment: u32,
        line: usize,
        visit: &mut dyn FnMut(T::Ref<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let undone = self.undone(segment, line);
        for slot in undone {
            prefetch(address_in(self.headers[segment as usize].slots[line].slot(slot)));
        }
        for slot in undone {
            let slot = SlotId { segment, index: (line * LINE_SLOTS + slot) as u16 };
            self.mark_done(slot);
            visit(self.view(slot))?;
        }
        ControlFlow::Continue(())
    }
}
