//! A leaf of the rank tree: up to 128 links in order, and what tells most of them apart without a look at
//! their blocks.
//!
//! Each link carries a mark of 16 bits: how far its item's order key lies above the leaf's `base`, in steps
//! of 2^`shift`. Marks never order two items wrongly, they only may be equal; then the blocks decide. A key
//! beyond the marks' range makes the steps longer; when a split leaves few marks in use, they are made anew.
//! The leaf never frees a block.

use base::defrag::Mover;

use crate::sorted_set::scored::{Link, ScoredRef};

/// A score as a number in the scores' order; -0.0 and 0.0 are one, as they are to a comparison.
#[inline]
pub fn order_key(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// An item's place in the order: by score, then by the member's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target<'a> {
    pub key: u64,
    pub member: &'a [u8],
}

impl<'a> Target<'a> {
    pub fn new(score: f64, member: &'a [u8]) -> Self {
        Target { key: order_key(score), member }
    }

    #[inline]
    pub fn of(item: ScoredRef<'a>) -> Self {
        Target::new(item.score(), item.member())
    }
}

#[derive(Default)]
pub struct Leaf {
    links: Vec<Link>,
    base: u64,
    shift: u32,
}

impl Leaf {
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Bytes of the links' block: a size class of the allocator, whatever the length.
    pub fn size(&self) -> usize {
        self.links.capacity() * size_of::<Link>()
    }

    /// Asks for the links to be brought near, so that a search and an insertion wait for all of them at once.
    #[inline]
    pub fn prefetch(&self) {
        for line in self.links.chunks(LINKS_PER_LINE) {
            base::alloc::prefetch(line.as_ptr());
        }
    }

    /// Asks for the block to be brought near with which an item of this key may have to be compared.
    #[inline]
    pub fn prefetch_rival(&self, key: u64) {
        let mark = self.mark_of(key);
        let low = self.links.partition_point(|link| link.mark() < mark);
        if let Some(link) = self.links.get(low).filter(|link| link.mark() == mark) {
            link.prefetch();
        }
    }

    /// How many items come before `target`.
    #[inline]
    pub fn search(&self, target: Target<'_>) -> usize {
        let mark = self.mark_of(target.key);
        let low = self.links.partition_point(|link| link.mark() < mark);
        let rest = &self.links[low..];
        if rest.first().is_none_or(|link| link.mark() != mark) {
            return low;
        }
        low + rest.partition_point(|link| link.mark() == mark && Target::of(link.view()) < target)
    }

    /// How many items come before the first that is not `before`.
    pub fn search_by(&self, before: impl Fn(ScoredRef<'_>) -> bool) -> usize {
        self.links.partition_point(|link| before(link.view()))
    }

    /// Where an item stands that is here.
    pub fn position(&self, key: u64, link: Link) -> usize {
        let wanted = link.with_mark(self.mark_of(key));
        let low = self.links.partition_point(|link| link.mark() < wanted.mark());
        let found = self.links[low..].iter().position(|&link| link == wanted);
        low + found.expect("the tree has led to the leaf that holds the item")
    }

    /// Adds an item; a full leaf splits, and what is right of the cut is returned.
    pub fn insert(&mut self, target: Target<'_>, link: Link) -> Option<Leaf> {
        let index = self.search(target);
        if self.links.len() < CAPACITY {
            self.put(index, target.key, link);
            return None;
        }
        // Items that come in order leave full leaves behind them.
        let cut = if index == 0 || index == CAPACITY { index } else { cut_for(target.key) };
        let mut right = self.split_off(cut);
        if index > cut || cut == CAPACITY {
            right.put(index - cut, target.key, link);
        } else {
            self.put(index, target.key, link);
        }
        Some(right)
    }

    /// Moves an item to another score if it stays in this leaf and comes first neither before nor after.
    pub fn shift(&mut self, from: Target<'_>, to: Target<'_>, link: Link) -> bool {
        let (old, new) = (self.position(from.key, link), self.search(to));
        if old == 0 || new == 0 || !self.covers(to.key) {
            return false;
        }
        let index = if new > old {
            self.links[old..new].rotate_left(1);
            new - 1
        } else {
            self.links[new..=old].rotate_right(1);
            new
        };
        self.links[index] = link.with_mark(self.mark_of(to.key));
        true
    }

    /// An item has moved to another block.
    pub fn relink(&mut self, key: u64, from: Link, to: Link) {
        let index = self.position(key, from);
        self.links[index] = to.with_mark(self.links[index].mark());
    }

    pub fn move_links(&mut self, mover: &mut Mover) {
        mover.vec(&mut self.links);
    }

    /// Removes up to `count` items from `index` on, telling of each, and returns how many.
    pub fn remove(&mut self, index: usize, count: usize, removed: &mut dyn FnMut(Link)) -> usize {
        let end = self.links.len().min(index + count);
        self.links.drain(index..end).for_each(removed);
        self.give_back();
        end - index
    }

    /// Takes in the items of the leaf to the right.
    pub fn absorb(&mut self, right: Leaf) {
        self.links.reserve_exact((self.len() + right.len()).next_multiple_of(STEP) - self.len());
        self.links.extend_from_slice(&right.links);
        self.mark_anew();
    }

    /// Panics if the items are out of order or marked wrongly.
    pub fn check_invariants(&self) {
        assert!(self.len() <= CAPACITY && self.links.capacity() <= CAPACITY);
        assert!(self.links.is_sorted_by(|a, b| Target::of(a.view()) < Target::of(b.view())));
        for link in &self.links {
            let key = order_key(link.view().score());
            assert!(self.covers(key) && link.mark() == self.mark_of(key));
        }
    }

    /// The mark of a key; keys beyond the range get the nearest.
    #[inline]
    fn mark_of(&self, key: u64) -> u16 {
        (key.saturating_sub(self.base) >> self.shift).min(MARK_MAX) as u16
    }

    fn covers(&self, key: u64) -> bool {
        key >= self.base && (key - self.base) >> self.shift <= MARK_MAX
    }

    fn put(&mut self, index: usize, key: u64, link: Link) {
        self.cover(key);
        if self.links.len() == self.links.capacity() {
            self.links.reserve_exact(STEP);
        }
        let link = link.with_mark(self.mark_of(key));
        self.links.insert(index, link);
    }

    /// Widens the range of the marks until it covers `key`. The new marks follow from the old ones.
    fn cover(&mut self, key: u64) {
        if self.links.is_empty() {
            (self.base, self.shift) = (key, 0);
        }
        if key >= self.base {
            let steps = (key - self.base) >> self.shift;
            return self.coarsen(MARK_MAX.leading_zeros().saturating_sub(steps.leading_zeros()));
        }
        // The base sinks by whole steps. It ends at most one step below the key, and the order key of the
        // least score, -inf, is above the longest step: no overflow.
        let highest = self.links.last().map_or(0, |link| u64::from(link.mark()));
        let total = (self.base - key).div_ceil(1 << self.shift) + highest;
        self.coarsen(MARK_MAX.leading_zeros().saturating_sub(total.leading_zeros()));
        let mut steps = (self.base - key).div_ceil(1 << self.shift);
        let highest = self.links.last().map_or(0, |link| u64::from(link.mark()));
        if highest + steps > MARK_MAX {
            self.coarsen(1);
            steps = (self.base - key).div_ceil(1 << self.shift);
        }
        self.base -= steps << self.shift;
        for link in &mut self.links {
            *link = link.with_mark(link.mark() + steps as u16);
        }
    }

    /// Makes the steps 2^`bits` times as long.
    fn coarsen(&mut self, bits: u32) {
        if bits > 0 {
            self.shift += bits;
            for link in &mut self.links {
                *link = link.with_mark((u64::from(link.mark()) >> bits) as u16);
            }
        }
    }

    fn split_off(&mut self, cut: usize) -> Leaf {
        let (base, shift) = (self.base, self.shift);
        // `Vec::split_off` would leave room for as many again on the left.
        let links = if cut == 0 { std::mem::take(&mut self.links) } else { self.links.split_off(cut) };
        let mut right = Leaf { links, base, shift };
        self.give_back();
        self.refine();
        right.refine();
        right
    }

    /// Makes the marks anew if few of their values are in use.
    fn refine(&mut self) {
        let [first, .., last] = &self.links[..] else { return };
        if self.shift > 0 && last.mark() - first.mark() < MARKS_IN_USE {
            self.mark_anew();
        }
    }

    /// Gives every item the mark that tells the most.
    fn mark_anew(&mut self) {
        self.links.iter().for_each(|link| link.prefetch());
        let key_of = |link: &Link| order_key(link.view().score());
        let (Some(first), Some(last)) = (self.links.first(), self.links.last()) else { return };
        let (base, highest) = (key_of(first), key_of(last));
        let shift = MARK_MAX.leading_zeros().saturating_sub((highest - base).leading_zeros());
        for link in &mut self.links {
            *link = link.with_mark(((key_of(link) - base) >> shift) as u16);
        }
        (self.base, self.shift) = (base, shift);
    }

    fn give_back(&mut self) {
        if self.links.capacity() - self.links.len() >= 2 * STEP {
            self.links.shrink_to((self.links.len() + 1).next_multiple_of(STEP));
        }
    }
}

/// Where a full leaf splits into which an item of this key comes: near its middle, but each elsewhere. Leaves
/// that are all cut alike fill alike, and outgrow a size class of the allocator at the same time: its slabs
/// would stand half empty until the last one has left.
fn cut_for(key: u64) -> usize {
    let chance = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    CUT_LEAST + ((chance as usize * CUTS) >> 32) * STEP
}

/// Links in a leaf at most: 1,024 bytes.
pub const CAPACITY: usize = 128;
/// By how many links a leaf's block grows: 64 bytes, which between 64 and 1,024 always gives a size class.
const STEP: usize = 8;
const LINKS_PER_LINE: usize = 8;
/// Where a leaf is cut at the earliest, and at how many places, a step apart, around its middle.
const CUT_LEAST: usize = 40;
const CUTS: usize = 7;
const MARK_MAX: u64 = u16::MAX as u64;
/// With fewer marks between the first item and the last, a leaf is marked anew when it splits.
const MARKS_IN_USE: u16 = 1 << 12;
const SIGN: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_keys_order_as_scores_do() {
        let scores = [f64::NEG_INFINITY, f64::MIN, -2.0, -1.0, -f64::MIN_POSITIVE, -5e-324, 0.0, 5e-324, 1.0];
        let more = [1.0 + f64::EPSILON, 2.0, 1e300, f64::MAX, f64::INFINITY];
        let keys: Vec<u64> = scores.iter().chain(&more).map(|&score| order_key(score)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert_eq!(order_key(-0.0), order_key(0.0));
    }
}
