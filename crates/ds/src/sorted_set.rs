//! The sorted set: packed in a listpack while it is small, a table of members with a tree of their ranks when
//! it is not.
//!
//! It does not decide when a packed set becomes a table. Scores are never NaN: callers refuse it. Members of
//! equal score (-0.0 equals 0.0) stand in the order of their bytes.

mod leaf;
mod packed;
mod rank_tree;
mod scored;
mod table;

use std::ops::Range;

use crate::listpack::{Element, Listpack};
use leaf::order_key;
pub use packed::{
    PackedItems, packed_bytes_needed, packed_items, packed_push, packed_remove, packed_remove_ranks,
    packed_score, packed_set, score_of,
};
pub use rank_tree::Direction;
pub use scored::ScoredRef;
pub use table::{Place, ScoredTable};

/// A sorted set in either form.
#[derive(Clone, Copy)]
pub enum SortedSetRef<'a> {
    Packed(Listpack<'a>),
    Table(&'a ScoredTable),
}

/// A member in either form.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScoredMember<'a> {
    pub member: Element<'a>,
    pub score: f64,
}

/// One end of a range of scores.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ScoreBound {
    Inclusive(f64),
    Exclusive(f64),
}

/// One end of a range of members of equal score.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LexBound<'a> {
    Lowest,
    Highest,
    Inclusive(&'a [u8]),
    Exclusive(&'a [u8]),
}

/// Which members are meant, from the first bound to the second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Interval<'a> {
    Scores(ScoreBound, ScoreBound),
    /// Of any use only where all scores are equal.
    Members(LexBound<'a>, LexBound<'a>),
}

impl<'a> SortedSetRef<'a> {
    pub fn len(self) -> usize {
        match self {
            SortedSetRef::Packed(pack) => pack.len() / 2,
            SortedSetRef::Table(table) => table.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        match self {
            SortedSetRef::Packed(pack) => pack.is_empty(),
            SortedSetRef::Table(table) => table.is_empty(),
        }
    }

    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            SortedSetRef::Packed(pack) => packed_score(pack, member),
            SortedSetRef::Table(table) => table.score(member),
        }
    }

    /// How many members come before this one, and its score.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            SortedSetRef::Packed(pack) => {
                let mut items = packed_items(pack).enumerate();
                items.find(|(_, item)| item.member.eq_bytes(member)).map(|(rank, item)| (rank, item.score))
            }
            SortedSetRef::Table(table) => table.rank(member),
        }
    }

    /// The ranks of the members in an interval; an empty range if there are none.
    pub fn ranks(self, interval: Interval<'_>) -> Range<usize> {
        let (start, end) = match self {
            SortedSetRef::Packed(pack) => interval.packed_ranks(pack),
            SortedSetRef::Table(table) => table.ranks(interval),
        };
        if start < end { start..end } else { 0..0 }
    }

    /// The members of these ranks, which are below the length.
    pub fn items(self, ranks: Range<usize>, direction: Direction) -> Items<'a> {
        match self {
            SortedSetRef::Table(table) => Items::Table(table.items(ranks, direction)),
            SortedSetRef::Packed(pack) => {
                let (mut items, count) = (packed_items(pack), ranks.len());
                let skipped = match direction {
                    Direction::Ascending => ranks.start.checked_sub(1).map(|last| items.nth(last)),
                    Direction::Descending => {
                        let behind = (self.len() - ranks.end).checked_sub(1);
                        behind.map(|last| items.nth_back(last))
                    }
                };
                assert!(!matches!(skipped, Some(None)), "ranks are below the length");
                Items::Packed { items, direction, left: count }
            }
        }
    }

    /// Every member, in ascending order.
    pub fn iter(self) -> Items<'a> {
        self.items(0..self.len(), Direction::Ascending)
    }

    /// A member, each with the same probability. `below(n)` gives a number under n.
    pub fn random(self, below: &mut dyn FnMut(u64) -> u64) -> Option<ScoredMember<'a>> {
        match self {
            SortedSetRef::Packed(pack) if pack.is_empty() => None,
            SortedSetRef::Packed(pack) => packed_items(pack).nth(below(self.len() as u64) as usize),
            SortedSetRef::Table(table) => table.random(below).map(ScoredMember::of),
        }
    }

    /// One step of a scan; returns the next cursor, 0 at the end. A packed set is visited in one step.
    pub fn scan(self, cursor: u64, count: usize, visit: &mut dyn FnMut(ScoredMember<'_>)) -> u64 {
        match self {
            SortedSetRef::Packed(pack) => {
                packed_items(pack).for_each(visit);
                0
            }
            SortedSetRef::Table(table) => {
                table.scan(cursor, count, &mut |item| visit(ScoredMember::of(item)))
            }
        }
    }
}

impl<'a> ScoredMember<'a> {
    fn of(item: ScoredRef<'a>) -> Self {
        ScoredMember { member: Element::Bytes(item.member()), score: item.score() }
    }
}

impl ScoreBound {
    /// As a lower end: the least order key inside.
    fn first_key(self) -> u64 {
        match self {
            ScoreBound::Inclusive(score) => order_key(score),
            ScoreBound::Exclusive(score) => order_key(score) + 1,
        }
    }

    /// As an upper end: the least order key beyond it.
    fn end_key(self) -> u64 {
        match self {
            ScoreBound::Inclusive(score) => order_key(score) + 1,
            ScoreBound::Exclusive(score) => order_key(score),
        }
    }
}

impl LexBound<'_> {
    /// Whether a member lies before a range that this begins.
    fn is_after(self, member: Element<'_>) -> bool {
        match self {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Inclusive(bytes) => packed::cmp_bytes(member, bytes).is_lt(),
            LexBound::Exclusive(bytes) => packed::cmp_bytes(member, bytes).is_le(),
        }
    }

    /// Whether a member lies inside or before a range that this ends.
    fn reaches(self, member: Element<'_>) -> bool {
        match self {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Inclusive(bytes) => packed::cmp_bytes(member, bytes).is_le(),
            LexBound::Exclusive(bytes) => packed::cmp_bytes(member, bytes).is_lt(),
        }
    }
}

impl Interval<'_> {
    /// The members before the interval, and those before its end.
    fn packed_ranks(self, pack: Listpack<'_>) -> (usize, usize) {
        let count = |before: &dyn Fn(ScoredMember<'_>) -> bool| {
            packed_items(pack).take_while(|&item| before(item)).count()
        };
        match self {
            Interval::Scores(min, max) => {
                let (first, end) = (min.first_key(), max.end_key());
                (count(&|item| order_key(item.score) < first), count(&|item| order_key(item.score) < end))
            }
            Interval::Members(min, max) => {
                (count(&|item| min.is_after(item.member)), count(&|item| max.reaches(item.member)))
            }
        }
    }
}

/// Members in order.
pub enum Items<'a> {
    Packed { items: PackedItems<'a>, direction: Direction, left: usize },
    Table(rank_tree::Items<'a>),
}

impl<'a> Iterator for Items<'a> {
    type Item = ScoredMember<'a>;

    #[inline]
    fn next(&mut self) -> Option<ScoredMember<'a>> {
        match self {
            Items::Table(items) => items.next().map(ScoredMember::of),
            Items::Packed { left: 0, .. } => None,
            Items::Packed { items, direction, left } => {
                *left -= 1;
                if *direction == Direction::Ascending { items.next() } else { items.next_back() }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            Items::Table(items) => items.len(),
            Items::Packed { left, .. } => *left,
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Items<'_> {}
