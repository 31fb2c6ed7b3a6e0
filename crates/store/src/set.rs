//! Sets in entries: packed in the entry while small, integers alone in their own form, and a table of members
//! beyond the thresholds. A set that has grown out of a form does not go back to it.

use base::num::{i64_len, parse_i64};
use ds::intset::{self, Intset};
use ds::listpack::{self, Element, Listpack, bytes_needed};
use ds::set::{MemberTable, SetRef, packed_insert, packed_push, packed_remove, packed_without_sample};
use ds::table::SlotId;
use rdb::{PACKED_SET_LEN_MAX, int_count_max};
pub use rdb::{SetBuilder, SetObject};

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::value::Place;

/// The set in an entry of that type.
pub fn view_set(entry: EntryRef<'_>) -> SetRef<'_> {
    match entry.payload() {
        Payload::Ints(ints) => SetRef::Ints(Intset::trusted(ints)),
        Payload::Bytes(packed) => SetRef::Packed(Listpack::trusted(packed)),
        Payload::Members(table) => SetRef::Table(table),
        _ => unreachable!("a set is packed or a table"),
    }
}

/// The encoding's name, as OBJECT ENCODING answers it.
pub fn encoding(entry: EntryRef<'_>) -> &'static str {
    match entry.payload() {
        Payload::Ints(_) => "intset",
        Payload::Members(_) => "hashtable",
        _ => "listpack",
    }
}

/// A set, for edits.
pub struct SetMut<'a>(Place<'a>);

impl<'a> SetMut<'a> {
    pub(crate) fn new(place: Place<'a>) -> SetMut<'a> {
        SetMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        db.insert(key.hash, Entry::new(key.bytes, Type::Set, NewPayload::Ints(intset::EMPTY), None, clock))
    }

    pub fn view(&self) -> SetRef<'_> {
        view_set(self.0.view())
    }

    pub fn len(&self) -> usize {
        self.view().len()
    }

    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Up to `count` members will be added, `first` before the others: takes on the form for that at once, as
    /// Redis does.
    pub fn expect(&mut self, first: &[u8], count: usize) {
        let (most_ints, most_packed) = (int_count_max(self.0.thresholds), self.0.thresholds.set_entries);
        match self.view() {
            SetRef::Ints(_) if count <= most_ints && parse_i64(first).is_some() => {}
            SetRef::Ints(ints) if ints.is_empty() && count <= most_packed => self.make_pack(),
            SetRef::Ints(ints) if ints.is_empty() || count > most_ints => self.make_table(),
            SetRef::Packed(_) if count > most_packed => self.make_table(),
            _ => {}
        }
    }

    /// Adds a member; says whether it was absent.
    pub fn add(&mut self, member: &[u8]) -> bool {
        match self.view() {
            SetRef::Table(_) => self.insert(member),
            SetRef::Packed(pack) => {
                if self.packs(pack.len(), pack.bytes().len() + bytes_needed(member), member.len()) {
                    return self.insert(member);
                }
                let absent = !self.view().contains(member);
                if absent {
                    self.make_table();
                    self.insert(member);
                }
                absent
            }
            SetRef::Ints(ints) => match parse_i64(member) {
                Some(value) => !ints.contains(value) && self.add_int(value),
                None => {
                    self.leave_ints_for(member);
                    self.insert(member)
                }
            },
        }
    }

    /// Removes a member; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        if !matches!(self.view(), SetRef::Table(_)) && !self.view().contains(member) {
            return false;
        }
        let is_ints = matches!(self.view(), SetRef::Ints(_));
        self.0.db.edit(self.0.slot, |entry| match entry.members_mut() {
            Some(table) => table.remove(member).is_some(),
            None if is_ints => {
                parse_i64(member).is_some_and(|value| intset::remove(&mut entry.packed(), value))
            }
            None => packed_remove(&mut entry.packed(), member),
        })
    }

    /// Removes a member, each with the same probability, and shows it. `below(n)` gives a number under n.
    /// The set must not be empty.
    pub fn remove_random(&mut self, below: &mut dyn FnMut(u64) -> u64, shown: &mut dyn FnMut(Element<'_>)) {
        match self.view() {
            SetRef::Table(_) => {
                let removed = self.0.db.edit(self.0.slot, |entry| {
                    let table = entry.members_mut().expect("the view is a table");
                    table.remove_random(below).expect("the set is not empty")
                });
                shown(Element::Bytes(removed.bytes()));
            }
            SetRef::Ints(ints) => {
                let value = ints.at(below(ints.len() as u64) as usize).expect("the set is not empty");
                shown(Element::Int(value));
                self.0.db.edit(self.0.slot, |entry| intset::remove(&mut entry.packed(), value));
            }
            SetRef::Packed(pack) => {
                let at = pack.at(below(pack.len() as u64) as i64).expect("the set is not empty");
                shown(pack.element(at));
                self.0.db.edit(self.0.slot, |entry| listpack::remove(&mut entry.packed(), at, 1));
            }
        }
    }

    /// Removes `count` members, every choice of so many with the same probability, and shows each.
    pub fn remove_sample(
        &mut self,
        count: usize,
        below: &mut dyn FnMut(u64) -> u64,
        shown: &mut dyn FnMut(Element<'_>),
    ) {
        let view = self.view();
        if matches!(view, SetRef::Table(_)) {
            return self.0.db.edit(self.0.slot, |entry| {
                let table = entry.members_mut().expect("the view is a table");
                table.remove_sample(count, below, &mut |member| shown(Element::Bytes(member)));
            });
        }
        let is_ints = matches!(view, SetRef::Ints(_));
        let left = packed_without_sample(view, count, below, shown);
        let payload = if is_ints { NewPayload::Ints(&left) } else { NewPayload::Bytes(&left) };
        self.0.db.edit(self.0.slot, |entry| entry.set_payload(payload));
    }

    /// Adds a member to a table, or to a pack that has room for it.
    #[inline]
    fn insert(&mut self, member: &[u8]) -> bool {
        self.0.db.edit(self.0.slot, |entry| match entry.members_mut() {
            Some(table) => table.insert(member),
            None => packed_insert(&mut entry.packed(), member),
        })
    }

    fn add_int(&mut self, value: i64) -> bool {
        let added = self.0.db.edit(self.0.slot, |entry| intset::insert(&mut entry.packed(), value));
        if self.len() > int_count_max(self.0.thresholds) {
            self.make_table();
        }
        added
    }

    /// A member that is no integer comes to a set of integers.
    fn leave_ints_for(&mut self, member: &[u8]) {
        let SetRef::Ints(ints) = self.view() else { return };
        let ends = [ints.at(0), ints.len().checked_sub(1).and_then(|last| ints.at(last))];
        let digits = ends.into_iter().flatten().map(i64_len).max().unwrap_or(0);
        let size = ints.len() * INT_LEN_MAX + bytes_needed(member);
        if self.packs(ints.len(), size, member.len().max(digits)) {
            self.make_pack();
        } else {
            self.make_table();
        }
    }

    /// Whether a pack of `count` members takes one more, being `size` bytes long with it; `longest` is the
    /// length of the longest member that comes in.
    fn packs(&self, count: usize, size: usize, longest: usize) -> bool {
        let thresholds = self.0.thresholds;
        count < thresholds.set_entries && longest <= thresholds.set_value && size <= PACKED_SET_LEN_MAX
    }

    fn make_pack(&mut self) {
        let mut pack = Listpack::new_empty();
        self.view().iter().for_each(|member| packed_push(&mut pack, member));
        self.0.db.edit(self.0.slot, |entry| entry.set_payload(NewPayload::Bytes(&pack)));
    }

    fn make_table(&mut self) {
        let table = Box::new(MemberTable::collect(self.view().iter()));
        self.0.db.edit(self.0.slot, |entry| entry.set_payload(NewPayload::Members(table)));
    }
}

/// Bytes that an integer takes in a listpack, at most.
const INT_LEN_MAX: usize = 10;
