//! Lists in entries (placeholder).

use ds::list::ListRef;
use ds::listpack::Listpack;
use ds::table::SlotId;

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::value::Place;

/// The value in an entry of that type.
pub fn view_list(entry: EntryRef<'_>) -> ListRef<'_> {
    match entry.payload() {
        Payload::Bytes(packed) => ListRef::Packed(Listpack::trusted(packed)),
        Payload::Nodes(nodes) => ListRef::Nodes(nodes),
        _ => unreachable!("a list is packed or nodes"),
    }
}

/// The encoding's name, as OBJECT ENCODING answers it.
pub fn encoding(entry: EntryRef<'_>) -> &'static str {
    match entry.payload() {
        Payload::Nodes(_) => "quicklist",
        _ => "listpack",
    }
}

/// The value, for edits.
pub struct ListMut<'a>(Place<'a>);

impl<'a> ListMut<'a> {
    pub(crate) fn new(place: Place<'a>) -> ListMut<'a> {
        ListMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        db.insert(key.hash, Entry::new(key.bytes, Type::List, NewPayload::Nodes(Box::default()), None, clock))
    }

    pub fn view(&self) -> ListRef<'_> {
        view_list(self.0.view())
    }
}
