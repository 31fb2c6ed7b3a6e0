//! Entries made from values that exist already: what the RDB reader yields, and copies of other entries.
//! It chooses the form in which a value is kept; it touches no table and knows no expiry rules.

use std::sync::Arc;

use ds::hash::FieldTable;
use rdb::{HashObject, ListObject, Object, SetObject, SortedSetObject};

use crate::entry::{Entry, EntryRef, NewPayload, Payload, SHARED_LEN, Type};
use crate::{hash, list, set, sorted_set, stream, text};

impl Entry {
    /// A string that is not the digits of a number.
    pub fn from_text(key: &[u8], text: &[u8], expires_at: Option<i64>, clock: u32) -> Entry {
        if text.len() >= SHARED_LEN {
            return Entry::from_object(key, Object::Bytes(text.to_vec()), expires_at, clock);
        }
        Entry::new(key, Type::String, NewPayload::Bytes(text), expires_at, clock)
    }

    /// A value as an RDB file or a DUMP payload gave it. The reader has brought it into one of our forms.
    pub fn from_object(key: &[u8], object: Object, expires_at: Option<i64>, clock: u32) -> Entry {
        let new = |kind, payload: NewPayload<'_>| Entry::new(key, kind, payload, expires_at, clock);
        match object {
            Object::Int(value) => new(Type::String, NewPayload::Int(value)),
            Object::Bytes(bytes) if bytes.len() >= SHARED_LEN => {
                new(Type::String, NewPayload::Shared(Arc::new(bytes)))
            }
            Object::Bytes(bytes) => new(Type::String, NewPayload::Bytes(&bytes)),
            Object::Hash(HashObject::Packed(packed)) => new(Type::Hash, NewPayload::Bytes(&packed)),
            Object::Hash(HashObject::Table(table)) => new(Type::Hash, NewPayload::Fields(table)),
            Object::List(ListObject::Packed(packed)) => new(Type::List, NewPayload::Bytes(&packed)),
            Object::List(ListObject::Nodes(nodes)) => new(Type::List, NewPayload::Nodes(nodes)),
            Object::Set(SetObject::Ints(ints)) => new(Type::Set, NewPayload::Ints(&ints)),
            Object::Set(SetObject::Packed(packed)) => new(Type::Set, NewPayload::Bytes(&packed)),
            Object::Set(SetObject::Table(table)) => new(Type::Set, NewPayload::Members(table)),
            Object::SortedSet(SortedSetObject::Packed(packed)) => {
                new(Type::SortedSet, NewPayload::Bytes(&packed))
            }
            Object::SortedSet(SortedSetObject::Table(table)) => {
                new(Type::SortedSet, NewPayload::Scored(table))
            }
            Object::Stream(stream) => new(Type::Stream, NewPayload::Stream(stream)),
        }
    }
}

impl EntryRef<'_> {
    /// The same value, expiry and clock under another key. A large string's block is shared until either
    /// is edited; a large collection is copied element by element.
    pub fn copy(self, key: &[u8]) -> Entry {
        let payload = match self.payload() {
            Payload::Bytes(bytes) if self.is_raw() => NewPayload::Raw(bytes),
            Payload::Bytes(bytes) => NewPayload::Bytes(bytes),
            Payload::Int(value) => NewPayload::Int(value),
            Payload::Shared(shared) => NewPayload::Shared(shared.to_arc()),
            Payload::Ints(ints) => NewPayload::Ints(ints),
            Payload::Nodes(list) => NewPayload::Nodes(Box::new(list.duplicate())),
            Payload::Members(table) => NewPayload::Members(Box::new(table.duplicate())),
            Payload::Scored(table) => NewPayload::Scored(Box::new(table.duplicate())),
            Payload::Fields(table) => NewPayload::Fields(Box::new(copy_table(table))),
            Payload::Stream(stream) => NewPayload::Stream(Box::new(stream.duplicate())),
        };
        Entry::new(key, self.kind(), payload, self.expires_at(), self.clock())
    }

    /// The encoding's name, as OBJECT ENCODING answers it.
    pub fn encoding(self) -> &'static str {
        match self.kind() {
            Type::String => text::encoding(self),
            Type::Hash => hash::encoding(self),
            Type::List => list::encoding(self),
            Type::Set => set::encoding(self),
            Type::SortedSet => sorted_set::encoding(self),
            Type::Stream => stream::encoding(self),
        }
    }
}

/// All fields, those whose time has passed included: the copy's log must replay to the same.
fn copy_table(table: &FieldTable) -> FieldTable {
    let mut copy = FieldTable::default();
    table.for_each(|field| {
        let added = copy.insert_new(field.field, field.value, field.expires_at);
        debug_assert!(added, "a field is in a table once");
    });
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use ds::intset::Intset;
    use ds::listpack::{Element, Listpack, push_back};
    use ds::set::MemberTable;

    #[test]
    fn a_copy_is_equal_and_independent() {
        let check = |entry: Entry| {
            let copy = entry.view().copy(b"another key");
            assert_eq!(copy.view().key(), b"another key");
            assert_eq!((copy.view().kind(), copy.view().clock()), (entry.view().kind(), 77));
            assert_eq!(copy.view().expires_at(), Some(5));
            assert_eq!(copy.view().encoding(), entry.view().encoding());
            let value =
                |entry: &Entry| rdb::dump(crate::snapshot::value_ref(entry.view()), 10, &OPTIONS).len();
            assert_eq!(value(&copy), value(&entry));
            let before = value(&copy);
            drop(entry);
            assert_eq!(value(&copy), before);
        };
        let text = |payload: NewPayload<'_>| Entry::new(b"k", Type::String, payload, Some(5), 77);
        check(text(NewPayload::Bytes(b"abc")));
        check(text(NewPayload::Raw(b"abc")));
        check(text(NewPayload::Int(-3)));
        check(text(NewPayload::Shared(Arc::new(vec![b'x'; SHARED_LEN]))));
        let mut packed = Listpack::new_empty();
        [b"f", b"v"].iter().for_each(|part| push_back(&mut packed, *part));
        check(Entry::new(b"k", Type::Hash, NewPayload::Bytes(&packed), Some(5), 77));
        let mut table = FieldTable::default();
        (0..500).for_each(|n: u32| {
            table.insert_new(&n.to_le_bytes(), b"v", n.is_multiple_of(3).then_some(i64::from(n)));
        });
        check(Entry::new(b"k", Type::Hash, NewPayload::Fields(Box::new(table)), Some(5), 77));
        let set = |payload: NewPayload<'_>| Entry::new(b"k", Type::Set, payload, Some(5), 77);
        check(set(NewPayload::Ints(&ds::intset::from_sorted(&[-7, 7, 70_000]))));
        check(set(NewPayload::Bytes(&packed)));
        let members = MemberTable::collect((0..500).map(Element::Int));
        check(set(NewPayload::Members(Box::new(members))));
    }

    const OPTIONS: rdb::WriteOptions = rdb::WriteOptions { compress: false };

    #[test]
    fn objects_become_entries_of_the_form_a_command_would_make() {
        let check = |object, kind, encoding| {
            let entry = Entry::from_object(b"k", object, None, 1);
            assert_eq!((entry.view().kind(), entry.view().encoding()), (kind, encoding));
        };
        check(Object::Int(5), Type::String, "int");
        check(Object::Bytes(b"abc".to_vec()), Type::String, "embstr");
        check(Object::Bytes(vec![b'x'; 45]), Type::String, "raw");
        check(Object::Bytes(vec![b'x'; SHARED_LEN]), Type::String, "raw");
        check(Object::Hash(HashObject::Packed(Listpack::new_empty().to_vec())), Type::Hash, "listpack");
        check(Object::Hash(HashObject::Table(Box::default())), Type::Hash, "hashtable");
        check(Object::Set(SetObject::Ints(Intset::new_empty())), Type::Set, "intset");
        check(Object::Set(SetObject::Packed(Listpack::new_empty())), Type::Set, "listpack");
        check(Object::Set(SetObject::Table(Box::default())), Type::Set, "hashtable");
    }
}
