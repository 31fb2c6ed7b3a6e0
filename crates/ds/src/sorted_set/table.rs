//! The large sorted set: a table that owns the members and finds their scores, and a tree of their ranks.
//!
//! Both always hold the same members: nothing is added to, moved in or taken from one alone.
#![allow(unsafe_code)]

use std::ops::Range;

use base::defrag::Mover;
use base::hash::hash;

use crate::listpack::{Element, Listpack};
use crate::moving::{Movable, MovePosition};
use crate::saving::{Part, Piece, TableSaving, TableSavings};
use crate::sorted_set::Interval;
use crate::sorted_set::leaf::Target;
use crate::sorted_set::packed::packed_items;
use crate::sorted_set::rank_tree::{Direction, Items, RankTree};
use crate::sorted_set::scored::{Link, Scored, ScoredRef};
use crate::table::{SlotId, Table};

#[derive(Default)]
pub struct ScoredTable {
    table: Table<Scored>,
    tree: RankTree,
    block_bytes: usize,
    rdb_len: u64,
    savings: TableSavings<Scored>,
}

/// Where a member stands or would stand. Valid until the set's next change.
#[derive(Clone, Copy)]
pub struct Place {
    hash: u64,
    found: Option<(SlotId, f64)>,
}

impl Place {
    /// The member's score, if it is there.
    pub fn score(self) -> Option<f64> {
        self.found.map(|(_, score)| score)
    }
}

impl ScoredTable {
    /// Fetches the line at which a search for this hash of a member begins.
    pub fn prefetch_line(&self, hash: u64) {
        self.table.prefetch_line(hash);
    }

    /// Fetches the member that a search for `hash` will most likely end at.
    pub fn prefetch_item(&self, hash: u64) {
        self.table.prefetch_item(hash);
        self.table.prefetch_marks(hash);
    }

    /// The members of a packed set; of equal ones, which a well-formed set does not have, the first.
    pub fn from_packed(pack: Listpack<'_>) -> Self {
        let mut set = ScoredTable::default();
        let mut member = Vec::new();
        for item in packed_items(pack) {
            member.clear();
            item.member.write_to(&mut member);
            set.insert_new(&member, item.score);
        }
        set
    }

    pub fn duplicate(&self) -> Self {
        let mut copy = ScoredTable::default();
        for item in self.tree.items(0..self.len(), Direction::Ascending) {
            copy.add(hash(item.member()), item.member(), item.score());
        }
        copy
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Makes an empty table ready for so many members.
    pub fn lay_out(&mut self, count: usize) {
        self.table.lay_out(count);
    }

    /// Bytes on the heap, as the allocator counts them.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.tree.memory() + self.block_bytes
    }

    /// About how many blocks are freed with it.
    pub fn free_effort(&self) -> usize {
        self.len() + self.len() / LINKS_PER_LEAF
    }

    /// Bytes of all members and scores in RDB form: each member behind its length, uncompressed and not
    /// turned into a number, each score as a binary double.
    pub fn rdb_len(&self) -> u64 {
        self.rdb_len
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        Some(self.table.find_view(hash(member), member)?.1.score())
    }

    /// How many members come before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let (_, item) = self.table.find_view(hash(member), member)?;
        Some((self.tree.rank_of(Target::of(item), self.link_to(item)), item.score()))
    }

    /// How many members come before the interval, and how many before its end.
    pub(super) fn ranks(&self, interval: Interval<'_>) -> (usize, usize) {
        match interval {
            Interval::Scores(min, max) => {
                let rank = |key| self.tree.rank(Target { key, member: &[] });
                (rank(min.first_key()), rank(max.end_key()))
            }
            Interval::Members(min, max) => {
                let rank = |before: &dyn Fn(Element<'_>) -> bool| {
                    self.tree.rank_by(|item| before(Element::Bytes(item.member())))
                };
                (rank(&|member| min.is_after(member)), rank(&|member| max.reaches(member)))
            }
        }
    }

    /// The members of these ranks, which are below the length.
    pub fn items(&self, ranks: Range<usize>, direction: Direction) -> Items<'_> {
        self.tree.items(ranks, direction)
    }

    /// Every member, in no particular order.
    pub fn for_each(&self, visit: impl FnMut(ScoredRef<'_>)) {
        self.table.for_each(visit);
    }

    /// A member, each with the same probability. `below(n)` gives a number under n.
    pub fn random(&self, below: &mut dyn FnMut(u64) -> u64) -> Option<ScoredRef<'_>> {
        Some(self.table.view(self.table.random(below)?))
    }

    /// One step of a scan; returns the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(ScoredRef<'_>)) -> u64 {
        self.table.scan(cursor, count, visit)
    }

    /// Where a member stands.
    pub fn find(&self, member: &[u8]) -> Place {
        let hash = hash(member);
        let found = self.table.find_view(hash, member);
        Place { hash, found: found.map(|(slot, item)| (slot, item.score())) }
    }

    /// As `find`. `likely` is a score that it may get next: what the change will need is asked for
    /// meanwhile.
    pub fn locate(&self, member: &[u8], likely: f64) -> Place {
        let hash = hash(member);
        self.table.prefetch_line(hash);
        self.tree.prefetch(likely);
        let found = self.table.find_view(hash, member);
        Place { hash, found: found.map(|(slot, item)| (slot, item.score())) }
    }

    /// Sets the score of the member at a place that was just located.
    pub fn put(&mut self, place: Place, member: &[u8], score: f64) {
        match place.found {
            None => self.add(place.hash, member, score),
            Some((slot, old)) => self.change(slot, old, score),
        }
    }

    /// Sets a member's score, and returns the score it had.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let place = self.locate(member, score);
        self.put(place, member, score);
        place.score()
    }

    /// Adds a member if it is absent; says whether it did.
    pub fn insert_new(&mut self, member: &[u8], score: f64) -> bool {
        let hash = hash(member);
        let absent = self.table.find(hash, member).is_none();
        if absent {
            self.add(hash, member, score);
        }
        absent
    }

    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let place = self.find(member);
        self.take(place);
        place.score()
    }

    /// Removes the member at a place that was just found, if there is one.
    pub fn take(&mut self, place: Place) {
        let Some((slot, _)) = place.found else { return };
        let link = self.link_to(self.table.view(slot));
        self.tree.remove(Target::of(link.view()), link);
        self.drop_block(slot);
    }

    /// Removes the members of these ranks, which are below the length, telling of each in ascending order.
    pub fn remove_ranks(&mut self, ranks: Range<usize>, mut removed: impl FnMut(ScoredRef<'_>)) {
        let mut left = ranks.len();
        let mut links = Vec::with_capacity(left.min(LINKS_PER_LEAF));
        while left > 0 {
            links.clear();
            left -= self.tree.remove_run(ranks.start, left, |link| links.push(link));
            links.iter().for_each(|link| link.prefetch());
            for link in &links {
                let member = link.view().member();
                let slot = self.table.find(hash(member), member).expect("the table holds what the tree held");
                removed(link.view());
                self.drop_block(slot);
            }
        }
    }

    /// Drops up to `count` members; see `Table::drain_some`.
    pub fn drain_some(&mut self, count: usize) -> usize {
        self.tree = RankTree::default();
        self.block_bytes = 0;
        self.rdb_len = 0;
        self.table.drain_some(count)
    }

    /// Panics if table and tree differ, or either is not as it should be.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.tree.check_invariants();
        assert_eq!(self.table.len(), self.tree.len());
        for item in self.tree.items(0..self.len(), Direction::Ascending) {
            let (_, found) = self.table.find_view(hash(item.member()), item.member()).expect("is in both");
            assert!(std::ptr::eq(found.member(), item.member()), "the tree links to the table's block");
        }
        let block = |item: ScoredRef<'_>| Scored::new(item.member(), item.score()).size();
        assert_eq!(self.table.iter().map(block).sum::<usize>(), self.block_bytes);
        assert_eq!(self.table.iter().map(|item| rdb_len(item.member())).sum::<u64>(), self.rdb_len);
    }

    fn add(&mut self, hash: u64, member: &[u8], score: f64) {
        debug_assert!(!score.is_nan(), "a score is a number");
        self.tree.prefetch_rival(score);
        let block = Scored::new(member, score);
        self.block_bytes += block.size();
        self.rdb_len += rdb_len(member);
        let slot = self.table.insert_new(hash, block);
        let link = self.link_to(self.table.view(slot));
        self.tree.insert(Target::new(score, member), link);
    }

    fn change(&mut self, slot: SlotId, old: f64, new: f64) {
        debug_assert!(!new.is_nan(), "a score is a number");
        self.savings.keep(&mut self.table, slot);
        self.tree.prefetch(old);
        self.tree.prefetch_rival(new);
        let link = self.link_to(self.table.view(slot));
        let member = link.view().member();
        let (from, to) = (Target::new(old, member), Target::new(new, member));
        // The tree compares blocks: it has to be told before this one changes, or not know it meanwhile.
        let stays = self.tree.shift(from, to, link);
        if !stays {
            self.tree.remove(from, link);
        }
        self.table.update(slot, |block| (block.with_score(new), ()));
        if !stays {
            self.tree.insert(to, link);
        }
    }

    fn move_item(&mut self, slot: SlotId) {
        let tree = &mut self.tree;
        self.table.update(slot, |old| {
            let new = Scored::new(old.view().member(), old.view().score());
            // SAFETY: the tree looks for the old block while that is there, and has the new one from then on.
            let (from, to) = unsafe { (Link::new(old.view()), Link::new(new.view())) };
            tree.relink(Target::of(old.view()), from, to);
            (new, ())
        });
    }

    /// A link for the tree to a block in the table.
    fn link_to(&self, item: ScoredRef<'_>) -> Link {
        // SAFETY: a block is freed by `drop_block`, which is called for what the tree has let go of, and by
        // dropping the table, after which nobody looks into the tree; other copies live no longer than a
        // call.
        unsafe { Link::new(item) }
    }

    /// Frees a block that the tree no longer has.
    fn drop_block(&mut self, slot: SlotId) {
        let block = self.savings.take(&mut self.table, slot);
        self.block_bytes -= block.size();
        self.rdb_len -= rdb_len(block.view().member());
    }
}

impl Movable for ScoredTable {
    fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        while position.part == ITEMS {
            if mover.is_spent() {
                return true;
            }
            match self.table.look_on(position, mover) {
                Some(looked) => looked.sparse().for_each(|slot| self.move_item(slot)),
                None => position.next_part(),
            }
        }
        while !mover.is_spent() {
            let Some(next) = self.tree.move_nodes(position.index, mover) else { return false };
            position.index = next;
        }
        true
    }
}

impl TableSaving for ScoredTable {
    type Part = Scored;

    fn savings(&self) -> &TableSavings<Scored> {
        &self.savings
    }

    fn parts(&mut self) -> (&mut TableSavings<Scored>, &mut Table<Scored>) {
        (&mut self.savings, &mut self.table)
    }
}

impl Part for Scored {
    fn piece<'a>(item: Self::Ref<'a>) -> Piece<'a> {
        Piece::Scored { member: item.member(), score: item.score() }
    }

    fn content(&self) -> Self::Ref<'_> {
        self.view()
    }

    fn copy(item: Self::Ref<'_>) -> Self {
        Scored::new(item.member(), item.score())
    }
}

/// Bytes of a member and its score in RDB form: 6, 14, 32 or 64 bits of length, the member, 8 bytes.
fn rdb_len(member: &[u8]) -> u64 {
    let prefix = match member.len() {
        0..64 => 1,
        64..16_384 => 2,
        16_384..=0xffff_ffff => 5,
        _ => 9,
    };
    prefix + member.len() as u64 + size_of::<f64>() as u64
}

/// The first part of a round, before that through the tree.
const ITEMS: u32 = 0;
/// About.
const LINKS_PER_LEAF: usize = 64;
