//! Sorted sets in entries: packed in the entry while small, a table with a rank tree beyond the thresholds.

use std::ops::Range;

use ds::listpack::Listpack;
use ds::sorted_set::{
    ScoredMember, ScoredTable, SortedSetRef, packed_bytes_needed, packed_remove, packed_remove_ranks,
    packed_set,
};
use ds::table::SlotId;
use rdb::{ErrorKind, Object, PACKED_SORTED_SET_LEN_MAX, SortedSetBuilder};

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::value::{Place, Thresholds};

/// The value in an entry of that type.
pub fn view_sorted_set(entry: EntryRef<'_>) -> SortedSetRef<'_> {
    match entry.payload() {
        Payload::Bytes(packed) => SortedSetRef::Packed(Listpack::trusted(packed)),
        Payload::Scored(table) => SortedSetRef::Table(table),
        _ => unreachable!("a sorted set is packed or a table"),
    }
}

/// The encoding's name, as OBJECT ENCODING answers it.
pub fn encoding(entry: EntryRef<'_>) -> &'static str {
    match entry.payload() {
        Payload::Scored(_) => "skiplist",
        _ => "listpack",
    }
}

/// An entry of these members, whose scores are numbers; None if there are none. Fails if one comes twice.
pub fn entry<'a>(
    key: &[u8],
    members: impl IntoIterator<Item = ScoredMember<'a>>,
    thresholds: Thresholds,
    clock: u32,
) -> Result<Option<Entry>, ErrorKind> {
    let mut builder = SortedSetBuilder::new(thresholds);
    members.into_iter().try_for_each(|item| builder.push(item.member, item.score))?;
    let made = builder.finish()?;
    Ok(made.map(|set| Entry::from_object(key, Object::SortedSet(set), None, clock)))
}

/// A sorted set, for edits.
pub struct SortedSetMut<'a>(Place<'a>);

impl<'a> SortedSetMut<'a> {
    pub(crate) fn new(place: Place<'a>) -> SortedSetMut<'a> {
        SortedSetMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        let empty = Listpack::new_empty();
        db.insert(key.hash, Entry::new(key.bytes, Type::SortedSet, NewPayload::Bytes(&empty), None, clock))
    }

    pub fn view(&self) -> SortedSetRef<'_> {
        view_sorted_set(self.0.view())
    }

    pub fn len(&self) -> usize {
        self.view().len()
    }

    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Lets `decide` choose a member's score from the one it has, None if it is absent. If it chooses none,
    /// nothing changes. `likely` is the score that will come out of it, if the caller can tell.
    pub fn update(
        &mut self,
        member: &[u8],
        likely: Option<f64>,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) {
        if let SortedSetRef::Table(table) = self.view() {
            let place = match likely {
                Some(score) => table.locate(member, score),
                None => table.find(member),
            };
            if let Some(score) = decide(place.score()) {
                self.edit_table(|table| table.put(place, member, score));
            }
            return;
        }
        let old = self.view().score(member);
        let Some(score) = decide(old) else { return };
        if old.is_none() && self.must_leave_pack(member, score) {
            self.make_table();
            self.edit_table(|table| table.set(member, score));
        } else {
            self.0.db.edit(self.0.slot, |entry| packed_set(&mut entry.packed(), member, score));
        }
    }

    /// Removes a member; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        if let SortedSetRef::Table(table) = self.view() {
            let place = table.find(member);
            if place.score().is_some() {
                self.edit_table(|table| table.take(place));
            }
            return place.score().is_some();
        }
        let found = self.view().score(member).is_some();
        if found {
            self.0.db.edit(self.0.slot, |entry| packed_remove(&mut entry.packed(), member));
        }
        found
    }

    /// Removes the members of these ranks, which are below the length.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        if ranks.is_empty() {
            return;
        }
        self.0.db.edit(self.0.slot, |entry| match entry.scored_mut() {
            Some(table) => table.remove_ranks(ranks, |_| {}),
            None => packed_remove_ranks(&mut entry.packed(), ranks.start, ranks.len()),
        });
    }

    fn edit_table<R>(&mut self, change: impl FnOnce(&mut ScoredTable) -> R) -> R {
        self.0.db.edit(self.0.slot, |entry| change(entry.scored_mut().expect("the caller saw a table")))
    }

    fn must_leave_pack(&self, member: &[u8], score: f64) -> bool {
        let SortedSetRef::Packed(pack) = self.view() else { return false };
        let grown = pack.bytes().len() + packed_bytes_needed(member, score);
        self.len() >= self.0.thresholds.zset_entries
            || member.len() > self.0.thresholds.zset_value
            || grown > PACKED_SORTED_SET_LEN_MAX
    }

    fn make_table(&mut self) {
        let SortedSetRef::Packed(pack) = self.view() else { return };
        let table = Box::new(ScoredTable::from_packed(pack));
        self.0.db.edit(self.0.slot, |entry| entry.set_payload(NewPayload::Scored(table)));
    }
}
