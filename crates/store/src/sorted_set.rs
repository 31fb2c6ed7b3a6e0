//! Sorted sets in entries (placeholder).

use ds::listpack::Listpack;
use ds::sorted_set::SortedSetRef;
use ds::table::SlotId;

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::value::Place;

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

/// The value, for edits.
pub struct SortedSetMut<'a>(Place<'a>);

impl<'a> SortedSetMut<'a> {
    pub(crate) fn new(place: Place<'a>) -> SortedSetMut<'a> {
        SortedSetMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        db.insert(
            key.hash,
            Entry::new(key.bytes, Type::SortedSet, NewPayload::Scored(Box::default()), None, clock),
        )
    }

    pub fn view(&self) -> SortedSetRef<'_> {
        view_sorted_set(self.0.view())
    }
}
