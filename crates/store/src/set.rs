//! Sets in entries (placeholder).

use ds::intset::Intset;
use ds::listpack::Listpack;
use ds::set::SetRef;
use ds::table::SlotId;

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::value::Place;

/// The value in an entry of that type.
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

/// The value, for edits.
pub struct SetMut<'a>(Place<'a>);

impl<'a> SetMut<'a> {
    pub(crate) fn new(place: Place<'a>) -> SetMut<'a> {
        SetMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        db.insert(
            key.hash,
            Entry::new(key.bytes, Type::Set, NewPayload::Members(Box::default()), None, clock),
        )
    }

    pub fn view(&self) -> SetRef<'_> {
        view_set(self.0.view())
    }
}
