//! Moving a table's blocks out of sparse slabs, a line of slots at a time, while it is used.
//!
//! Where an item's block lies is known to its slot alone (besides, to a sorted set's tree, which its owner
//! tells): slots, marks and times stay as they are. What is inserted or removed meanwhile may be passed over
//! or seen twice; the next round comes to it.

use base::alloc::prefetch;
use base::defrag::Mover;

use super::{Item, SlotId, Table, view};
use crate::moving::MovePosition;
use crate::segment::{LINE_SLOTS, Mask, address_in};

/// A line of slots that was looked at.
pub struct LookedAt {
    segment: u32,
    line: usize,
    live: Mask,
    sparse: Mask,
}

impl LookedAt {
    /// The slots with items.
    pub fn live(&self) -> impl Iterator<Item = SlotId> + use<> {
        self.slots(self.live)
    }

    /// The slots with items that have to be moved.
    pub fn sparse(&self) -> impl Iterator<Item = SlotId> + use<> {
        self.slots(self.sparse)
    }

    fn slots(&self, slots: Mask) -> impl Iterator<Item = SlotId> + use<> {
        let (segment, first) = (self.segment, self.line * LINE_SLOTS);
        slots.map(move |slot| SlotId { segment, index: (first + slot) as u16 })
    }
}

impl<T: Item> Table<T> {
    /// Moves the items of some lines, and what they stand in; false if that was the end.
    pub fn move_items(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        while !mover.is_spent() {
            let Some(looked) = self.look_on(position, mover) else { return false };
            looked.sparse().for_each(|slot| self.move_item(slot));
        }
        true
    }

    pub fn move_item(&mut self, slot: SlotId) {
        self.update(slot, |item| (item.moved(), ()));
    }

    /// Looks at the next line and says which of its items have to be moved; `None` at the end. What the table
    /// itself is made of moves on the way.
    pub fn look_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> Option<LookedAt> {
        let MovePosition { at: place, index: line, .. } = *position;
        if place == 0 && line == 0 {
            mover.vec(&mut self.directory);
            mover.vec(&mut self.headers);
        }
        let segment = self.segment_of(place)?;
        if line == 0 {
            self.move_segment(segment, mover);
        }
        let slots = &self.headers[segment as usize].slots;
        if line >= slots.len() {
            (position.at, position.index) = (self.end_of(segment)?, 0);
            return Some(LookedAt { segment, line: 0, live: Mask(0), sparse: Mask(0) });
        }
        position.index = line + 1;
        if let Some(next) = slots.get(line + 1) {
            next.live().for_each(|slot| prefetch(address_in(next.slot(slot))));
        }
        let live = slots[line].live();
        // SAFETY: a live slot holds an item.
        let len = |slot| T::block_len(unsafe { view::<T>(slots[line].slot(slot)) });
        let asked = live.filter(|&slot| len(slot).is_none_or(|len| mover.may_want(len)));
        let asked = Mask(asked.fold(0, |mask, slot| mask | 1 << slot));
        mover.pass(live.count() - asked.count());
        let mut blocks = [std::ptr::null(); LINE_SLOTS];
        for (block, slot) in blocks.iter_mut().zip(asked) {
            *block = address_in(slots[line].slot(slot)).cast_const();
        }
        // SAFETY: a live slot holds the address of its item's block.
        let chosen = unsafe { mover.judge(&blocks[..asked.count()]) };
        let is_chosen = |(nth, _): &(usize, usize)| chosen >> nth & 1 == 1;
        let sparse = asked.enumerate().filter(is_chosen).fold(0, |mask, (_, slot)| mask | 1 << slot);
        Some(LookedAt { segment, line, live, sparse: Mask(sparse) })
    }

    fn move_segment(&mut self, segment: u32, mover: &mut Mover) {
        let slots = &mut self.headers[segment as usize].slots;
        // SAFETY: the lines stand in a block of their own as long as the segment is there.
        if unsafe { mover.wants(slots.first().as_ptr()) } {
            slots.move_block();
            self.publish(segment);
        }
    }
}
