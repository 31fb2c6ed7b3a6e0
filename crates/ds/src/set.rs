//! The set value: an intset while its members are few integers, a listpack while they are few and short, a
//! table of members when they are not.
//!
//! It does not decide when a set changes its form, and knows neither keys nor time.

use std::collections::HashSet;

use base::defrag::Mover;
use base::hash::hash;
use base::num::parse_i64;

use crate::hash::rdb_len;
use crate::intset::{self, Intset};
use crate::listpack::{self, Buffer, Element, Listpack};
pub use crate::member::Member;
use crate::moving::{Movable, MovePosition};
use crate::reading::{Readings, Shown};
use crate::saving::{Part, Piece, TableSaving, TableSavings};
use crate::table::{SlotId, Table};

/// A set in any form.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    Ints(Intset<'a>),
    Packed(Listpack<'a>),
    Table(&'a MemberTable),
}

impl<'a> SetRef<'a> {
    pub fn len(self) -> usize {
        match self {
            SetRef::Ints(ints) => ints.len(),
            SetRef::Packed(pack) => pack.len(),
            SetRef::Table(table) => table.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        match self {
            SetRef::Ints(ints) => ints.is_empty(),
            SetRef::Packed(pack) => pack.is_empty(),
            SetRef::Table(table) => table.is_empty(),
        }
    }

    #[inline]
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            SetRef::Ints(ints) => parse_i64(member).is_some_and(|value| ints.contains(value)),
            SetRef::Packed(pack) => packed_contains(pack, member),
            SetRef::Table(table) => table.contains(member),
        }
    }

    /// As `contains`, for another set's member.
    pub fn contains_element(self, element: Element<'_>) -> bool {
        match (self, element) {
            (_, Element::Bytes(bytes)) => self.contains(bytes),
            (SetRef::Ints(ints), Element::Int(value)) => ints.contains(value),
            (_, Element::Int(value)) => self.contains(itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// Every member: an intset's ascending, a pack's in its order, a table's in no particular one.
    pub fn iter(self) -> impl Iterator<Item = Element<'a>> + use<'a> {
        let (ints, pack, table) = match self {
            SetRef::Ints(ints) => (Some(ints), None, None),
            SetRef::Packed(pack) => (None, Some(pack), None),
            SetRef::Table(table) => (None, None, Some(table)),
        };
        let ints = ints.into_iter().flat_map(Intset::iter).map(Element::Int);
        let pack = pack.into_iter().flat_map(Listpack::iter);
        let table = table.into_iter().flat_map(MemberTable::iter).map(Element::Bytes);
        ints.chain(pack).chain(table)
    }

    /// A member, each with the same probability. `below(n)` gives a number under n.
    pub fn random(self, below: &mut dyn FnMut(u64) -> u64) -> Option<Element<'a>> {
        match self {
            SetRef::Table(table) => table.random(below).map(Element::Bytes),
            _ if self.is_empty() => None,
            _ => self.nth(below(self.len() as u64) as usize),
        }
    }

    /// Up to `count` distinct members, every choice of so many with the same probability.
    pub fn sample(self, count: usize, below: &mut dyn FnMut(u64) -> u64) -> Vec<Element<'a>> {
        let drawn = match self {
            SetRef::Table(table) if count.saturating_mul(FEW_SHARE) < table.len() => table.draw(count, below),
            _ => None,
        };
        drawn.unwrap_or_else(|| self.shuffle(count, below))
    }

    /// One step of a scan; returns the next cursor, 0 at the end. A packed set is visited in one step.
    pub fn scan(self, cursor: u64, count: usize, visit: &mut dyn FnMut(Element<'_>)) -> u64 {
        if let SetRef::Table(table) = self {
            return table.table.scan(cursor, count, &mut |member| visit(Element::Bytes(member)));
        }
        self.iter().for_each(visit);
        0
    }

    fn nth(self, index: usize) -> Option<Element<'a>> {
        match self {
            SetRef::Ints(ints) => ints.at(index).map(Element::Int),
            _ => self.iter().nth(index),
        }
    }

    /// A sample from a list of all members.
    fn shuffle(self, count: usize, below: &mut dyn FnMut(u64) -> u64) -> Vec<Element<'a>> {
        let mut members: Vec<_> = self.iter().collect();
        if count < members.len() {
            for index in 0..count {
                let other = index + below((members.len() - index) as u64) as usize;
                members.swap(index, other);
            }
            members.truncate(count);
        }
        members
    }
}

/// The form of a member by which it equals the same member from a set of another form.
#[inline]
pub fn canonical(member: Element<'_>) -> Element<'_> {
    match member {
        Element::Bytes(bytes) => parse_i64(bytes).map_or(member, Element::Int),
        Element::Int(_) => member,
    }
}

pub fn packed_contains(pack: Listpack<'_>, member: &[u8]) -> bool {
    pack.first().is_some_and(|first| pack.find(member, first, 0).is_some())
}

/// Adds a member; says whether it was absent.
pub fn packed_insert(buffer: &mut impl Buffer, member: &[u8]) -> bool {
    let absent = !packed_contains(Listpack::trusted(buffer.bytes()), member);
    if absent {
        listpack::push_back(buffer, member);
    }
    absent
}

/// Adds a member that is absent.
pub fn packed_push(buffer: &mut impl Buffer, member: Element<'_>) {
    match member {
        Element::Bytes(bytes) => listpack::push_back(buffer, bytes),
        Element::Int(value) => listpack::push_back(buffer, itoa::Buffer::new().format(value).as_bytes()),
    }
}

/// Removes a member; says whether it was there.
pub fn packed_remove(buffer: &mut impl Buffer, member: &[u8]) -> bool {
    let pack = Listpack::trusted(buffer.bytes());
    let found = pack.first().and_then(|first| pack.find(member, first, 0));
    if let Some(at) = found {
        listpack::remove(buffer, at, 1);
    }
    found.is_some()
}

/// The bytes of an intset or a pack without `count` of its members, or without all if there are no more:
/// every choice of so many has the same probability. Each member left out is shown. `below(n)` gives a number
/// under n.
pub fn packed_without_sample(
    set: SetRef<'_>,
    count: usize,
    below: &mut dyn FnMut(u64) -> u64,
    removed: &mut dyn FnMut(Element<'_>),
) -> Vec<u8> {
    let (mut ahead, mut wanted) = (set.len() as u64, count as u64);
    let (mut ints, mut pack) = (Vec::new(), Listpack::new_empty());
    for member in set.iter() {
        if below(ahead) < wanted {
            wanted -= 1;
            removed(member);
        } else {
            match (set, member) {
                (SetRef::Ints(_), Element::Int(value)) => ints.push(value),
                _ => packed_push(&mut pack, member),
            }
        }
        ahead -= 1;
    }
    if matches!(set, SetRef::Ints(_)) { intset::from_sorted(&ints) } else { pack }
}

/// A set of any size.
#[derive(Default)]
pub struct MemberTable {
    table: Table<Member>,
    item_bytes: usize,
    member_bytes: u64,
    readings: Readings,
    savings: TableSavings<Member>,
}

impl MemberTable {
    /// Fetches the line at which a search for this hash of a member begins.
    pub fn prefetch_line(&self, hash: u64) {
        self.table.prefetch_line(hash);
    }

    /// Fetches the member that a search for `hash` will most likely end at.
    pub fn prefetch_item(&self, hash: u64) {
        self.table.prefetch_item(hash);
        self.table.prefetch_marks(hash);
    }

    /// Makes an empty table ready for so many members.
    pub fn lay_out(&mut self, count: usize) {
        self.table.lay_out(count);
    }

    /// The distinct ones of `members`.
    pub fn collect<'a>(members: impl Iterator<Item = Element<'a>>) -> Self {
        let mut table = MemberTable::default();
        members.for_each(|member| {
            table.insert_element(member);
        });
        table
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes on the heap, as the allocator counts them.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.item_bytes + self.readings.memory()
    }

    /// How many blocks freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        self.table.len()
    }

    /// Bytes of all members in RDB form: each behind its length, neither compressed nor turned into a number.
    pub fn rdb_len(&self) -> u64 {
        self.member_bytes
    }

    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        self.table.find(hash(member), member).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.table.iter()
    }

    /// Adds a member; says whether it was absent.
    #[inline]
    pub fn insert(&mut self, member: &[u8]) -> bool {
        let hash = hash(member);
        let absent = self.table.find(hash, member).is_none();
        if absent {
            self.add(hash, member);
        }
        absent
    }

    /// As `insert`, for another set's member.
    pub fn insert_element(&mut self, element: Element<'_>) -> bool {
        match element {
            Element::Bytes(bytes) => self.insert(bytes),
            Element::Int(value) => self.insert(itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// Removes a member and returns it.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> Option<Member> {
        let slot = self.table.find(hash(member), member)?;
        Some(self.take(slot))
    }

    /// Removes a member, each with the same probability, and returns it. `below(n)` gives a number under n.
    pub fn remove_random(&mut self, below: &mut dyn FnMut(u64) -> u64) -> Option<Member> {
        let slot = self.table.random(below)?;
        Some(self.take(slot))
    }

    /// Removes `count` members, or all if there are no more, and shows each: every choice of so many has the
    /// same probability. `below(n)` gives a number under n.
    pub fn remove_sample(
        &mut self,
        count: usize,
        below: &mut dyn FnMut(u64) -> u64,
        removed: &mut dyn FnMut(&[u8]),
    ) {
        let left = self.len().saturating_sub(count);
        if left.saturating_mul(MOST_SHARE) > count || self.readings.any() || self.savings.any() {
            for _ in 0..count.min(self.len()) {
                let member = self.remove_random(below).expect("more members are left than are removed");
                removed(member.bytes());
            }
            return;
        }
        // Nearly all go: the few that stay are drawn instead.
        let mut kept = MemberTable::default();
        for _ in 0..left {
            let member = self.remove_random(below).expect("more members are left than are kept");
            kept.insert(member.bytes());
        }
        self.iter().for_each(removed);
        *self = kept;
    }

    /// A member, each with the same probability. `below(n)` gives a number under n.
    pub fn random(&self, below: &mut dyn FnMut(u64) -> u64) -> Option<&[u8]> {
        Some(self.table.view(self.table.random(below)?))
    }

    /// A copy, member by member.
    pub fn duplicate(&self) -> Self {
        let mut copy = MemberTable::default();
        self.iter().for_each(|member| copy.add(hash(member), member));
        copy
    }

    /// Begins a reading: whoever calls [`MemberTable::read_on`] with this id, never used before, is shown all
    /// members that there are now.
    pub fn begin_reading(&mut self, id: u64) {
        self.readings.begin(id);
    }

    /// Shows about `wanted` members to a reading; false if that was all of them, or if there is no such
    /// reading: it is over.
    pub fn read_on(&mut self, id: u64, wanted: usize, show: &mut dyn FnMut(&[u8])) -> bool {
        let Some(mut reading) = self.readings.take(id) else { return false };
        let more = reading.next(&self.table, wanted, &mut |shown| match shown {
            Shown::Item(member) | Shown::Kept([member]) => show(member),
        });
        if more {
            self.readings.put_back(reading);
        }
        more
    }

    pub fn end_reading(&mut self, id: u64) {
        self.readings.take(id);
    }

    /// Bytes that a reading keeps.
    pub fn reading_memory(&self, id: u64) -> usize {
        self.readings.memory_of(id)
    }

    /// The ids of the readings that go on.
    pub fn readings(&self) -> impl Iterator<Item = u64> {
        self.readings.ids()
    }

    /// Drops up to `count` members; see `Table::drain_some`.
    pub fn drain_some(&mut self, count: usize) -> usize {
        self.item_bytes = 0;
        self.member_bytes = 0;
        self.table.drain_some(count)
    }

    /// Panics if the table or a count is wrong.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        assert_eq!(self.iter().map(Member::size_of).sum::<usize>(), self.item_bytes);
        assert_eq!(self.iter().map(|member| rdb_len(member.len())).sum::<u64>(), self.member_bytes);
    }

    /// Distinct members by drawing until there are enough; None if that takes too long.
    fn draw<'a>(&'a self, count: usize, below: &mut dyn FnMut(u64) -> u64) -> Option<Vec<Element<'a>>> {
        let (mut seen, mut members) = (HashSet::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count * DRAWS_PER_MEMBER {
            if members.len() == count {
                break;
            }
            let member = self.random(below)?;
            // Every member has a block of its own.
            if seen.insert(member.as_ptr().addr()) {
                members.push(Element::Bytes(member));
            }
        }
        (members.len() == count).then_some(members)
    }

    #[inline]
    fn add(&mut self, hash: u64, member: &[u8]) {
        self.item_bytes += Member::size_of(member);
        self.member_bytes += rdb_len(member.len());
        if self.readings.any() {
            self.readings.note_new(&self.table, member);
        }
        self.table.insert_new(hash, Member::new(member));
    }

    fn take(&mut self, slot: SlotId) -> Member {
        if self.readings.any() {
            let member = self.table.view(slot);
            self.readings.keep(&self.table, member, &[member]);
        }
        let member = self.savings.take(&mut self.table, slot);
        self.item_bytes -= Member::size_of(member.bytes());
        self.member_bytes -= rdb_len(member.bytes().len());
        member
    }
}

impl Movable for MemberTable {
    fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        self.table.move_items(position, mover)
    }
}

impl TableSaving for MemberTable {
    type Part = Member;

    fn savings(&self) -> &TableSavings<Member> {
        &self.savings
    }

    fn parts(&mut self) -> (&mut TableSavings<Member>, &mut Table<Member>) {
        (&mut self.savings, &mut self.table)
    }
}

impl Part for Member {
    fn piece<'a>(item: Self::Ref<'a>) -> Piece<'a> {
        Piece::Member(item)
    }

    fn content(&self) -> Self::Ref<'_> {
        self.bytes()
    }

    fn copy(item: Self::Ref<'_>) -> Self {
        Member::new(item)
    }
}

/// A table with so many times more members than are wanted: drawing finds the same one twice rarely enough.
const FEW_SHARE: usize = 3;
/// So many times fewer members than are removed: moving those that stay costs less than removing the others.
const MOST_SHARE: usize = 5;
/// With a fair generator, more draws than these are never needed.
const DRAWS_PER_MEMBER: usize = 32;
