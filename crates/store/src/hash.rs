//! Hashes in entries: packed in the entry while small, a table of fields beyond the thresholds or as soon
//! as a field gets a time of expiry.

use ds::hash::{FieldTable, HashRef, Set, Ttl, packed_remove, packed_set};
use ds::listpack::{Listpack, bytes_needed};
use ds::table::SlotId;

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::value::Place;

/// The hash in an entry of that type.
pub fn view_hash(entry: EntryRef<'_>) -> HashRef<'_> {
    match entry.payload() {
        Payload::Fields(table) => HashRef::Table(table),
        Payload::Bytes(packed) => HashRef::Packed(Listpack::trusted(packed)),
        _ => unreachable!("a hash is packed or a table"),
    }
}

/// The encoding's name, as OBJECT ENCODING answers it.
pub fn encoding(entry: EntryRef<'_>) -> &'static str {
    match entry.payload() {
        Payload::Fields(_) => "hashtable",
        _ => "listpack",
    }
}

/// A hash, for edits.
pub struct HashMut<'a>(Place<'a>);

impl<'a> HashMut<'a> {
    pub(crate) fn new(place: Place<'a>) -> HashMut<'a> {
        HashMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        let empty = Listpack::new_empty();
        db.insert(key.hash, Entry::new(key.bytes, Type::Hash, NewPayload::Bytes(&empty), None, clock))
    }

    pub fn view(&self) -> HashRef<'_> {
        view_hash(self.0.view())
    }

    /// Fields, those whose time has passed included.
    pub fn len(&self) -> usize {
        self.view().len()
    }

    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Sets a field's value; a field whose time has passed counts as absent.
    pub fn set(&mut self, field: &[u8], value: &[u8], ttl: Ttl) -> Set {
        if self.must_leave_pack(field, value) {
            self.make_table();
        }
        let now = self.0.now;
        let set = self.0.db.edit(self.0.slot, |entry| match entry.fields_mut() {
            Some(table) => table.set(field, value, ttl, now),
            None => packed_set(&mut entry.packed(), field, value),
        });
        self.check_count(set);
        set
    }

    /// A field is there whose time has passed.
    pub fn has_expired(&self, field: &[u8]) -> bool {
        match self.view() {
            HashRef::Table(table) if table.expiring_count() > 0 => {
                table.find(field).is_some_and(|found| found.is_expired(self.0.now))
            }
            _ => false,
        }
    }

    /// Removes a field; false, and nothing happens, if it is absent or its time has passed.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.view().get(field, self.0.now).is_some() && self.remove_any(field)
    }

    /// Removes a field, whether its time has passed or not; false if it is absent.
    pub fn remove_any(&mut self, field: &[u8]) -> bool {
        if self.view().get(field, i64::MIN).is_none() {
            return false;
        }
        self.0.db.edit(self.0.slot, |entry| match entry.fields_mut() {
            Some(table) => table.remove(field).is_some(),
            None => packed_remove(&mut entry.packed(), field),
        })
    }

    /// Sets or removes a field's time of expiry; false if the field is absent.
    pub fn set_expiry(&mut self, field: &[u8], expires_at: Option<i64>) -> bool {
        if self.view().get(field, self.0.now).is_none() {
            return false;
        }
        if matches!(self.view(), HashRef::Packed(_)) {
            if expires_at.is_none() {
                return true;
            }
            self.make_table();
        }
        self.0.db.edit(self.0.slot, |entry| {
            let table = entry.fields_mut().expect("made a table above");
            table.set_expiry(field, expires_at)
        })
    }

    /// Removes up to `max` fields whose time has passed, showing each to `removed`.
    pub fn remove_due(&mut self, max: usize, mut removed: impl FnMut(&[u8])) -> usize {
        let now = self.0.now;
        self.0.db.edit(self.0.slot, |entry| match entry.fields_mut() {
            Some(table) => table.remove_due(now, max, |field| removed(field.field)),
            None => 0,
        })
    }

    /// A packed hash grew beyond the number of fields it may have.
    fn check_count(&mut self, set: Set) {
        if set == Set::Added
            && matches!(self.view(), HashRef::Packed(_))
            && self.len() > self.0.thresholds.hash_entries
        {
            self.make_table();
        }
    }

    fn must_leave_pack(&self, field: &[u8], value: &[u8]) -> bool {
        let HashRef::Packed(pack) = self.view() else { return false };
        let longest = self.0.thresholds.hash_value;
        let grown = pack.bytes().len() + bytes_needed(field) + bytes_needed(value);
        field.len() > longest || value.len() > longest || grown > PACKED_LEN_MAX
    }

    fn make_table(&mut self) {
        let HashRef::Packed(pack) = self.view() else { return };
        let table = Box::new(FieldTable::from_packed(pack));
        self.0.db.edit(self.0.slot, |entry| entry.set_payload(NewPayload::Fields(table)));
    }
}

/// A pack is never longer, whatever the thresholds are set to: it is copied as a whole.
const PACKED_LEN_MAX: usize = 1 << 20;
