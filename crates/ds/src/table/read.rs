//! How far a reading of a table has come: its items are visited in pieces, each exactly once, whatever
//! happens to the table in between.
//!
//! A position is a set of hashes: those whose items the reading is done with. It is given by a place, below
//! which all are, and by shares, each an end and a tag: of the places up to the end those with a lower tag
//! are done too. Items change neither place nor tag, so a split or a merge of segments moves nothing into the
//! set or out of it; a window of a segment that was split or merged in the middle of its tags only looks at
//! more items than it visits.

use base::hash::hash as hash_of;

use super::{Item, SlotId, Table};
use crate::segment::{tag_in, tag_of};

/// The default is the start.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ReadPosition {
    place: u64,
    shares: Vec<Share>,
    at_end: bool,
}

/// Of the places up to `last`, tags below `tag` are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Share {
    last: u64,
    tag: u32,
}

impl ReadPosition {
    #[inline]
    fn is_behind(&self, place: u64, tag: u16) -> bool {
        let in_share = |share: &Share| place <= share.last && u32::from(tag) < share.tag;
        self.at_end || place < self.place || self.shares.iter().any(in_share)
    }

    /// The lowest tag that is not done of any place up to `last`.
    fn first_tag(&self, last: u64) -> u32 {
        self.shares.iter().filter(|share| share.last >= last).map(|share| share.tag).max().unwrap_or(0)
    }

    /// Tags below `tag` are done of the places up to `last`.
    fn note_tags(&mut self, last: u64, tag: u32) {
        self.shares.retain(|share| share.last > last || share.tag > tag);
        self.shares.push(Share { last, tag });
    }

    /// All places up to `last` are done.
    fn note_places(&mut self, last: u64) {
        match last.checked_add(1) {
            Some(next) => self.place = next,
            None => self.at_end = true,
        }
        self.shares.retain(|share| share.last > last);
    }
}

impl<T: Item> Table<T> {
    /// Whether a reading is done with the items of this hash: with those there were, and those to come.
    pub fn has_read(&self, position: &ReadPosition, hash: u64) -> bool {
        position.is_behind(hash << self.skip, tag_of(hash))
    }

    /// Visits about `wanted` items that the reading is not done with, and moves the position behind them;
    /// false if there are no more.
    pub fn read(
        &self,
        position: &mut ReadPosition,
        wanted: usize,
        visit: &mut dyn FnMut(T::Ref<'_>),
    ) -> bool {
        let segment = if position.at_end { None } else { self.segment_of(position.place) };
        let Some(segment) = segment else {
            *position = ReadPosition { at_end: true, ..ReadPosition::default() };
            return false;
        };
        let header = &self.headers[segment as usize];
        let last = self.end_of(segment).map_or(u64::MAX, |end| end - 1);
        let first = position.first_tag(last);
        let width = (wanted.saturating_mul(TAGS as usize) / usize::from(header.count.max(1))).max(1);
        let end = first.saturating_add(width.min(TAGS as usize) as u32).min(TAGS);
        // Whether some of the window's items may be done: only after a split or a merge in between.
        let mixed = position.place > header.place || position.shares.iter().any(|share| share.tag > first);
        header.slots.each_tagged(first as u16, (end - 1) as u16, |index| {
            let slot = SlotId { segment, index };
            let item = self.view(slot);
            let place = || hash_of(T::key(item)) << self.skip;
            if !(mixed && position.is_behind(place(), tag_in(self.live(slot)))) {
                visit(item);
            }
        });
        if end == TAGS {
            position.note_places(last);
        } else {
            position.note_tags(last, end);
        }
        true
    }
}

const TAGS: u32 = 1 << 16;
