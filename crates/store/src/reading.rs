//! Large values that can be read piece by piece while they change.

use ds::hash::FieldTable;
use ds::set::MemberTable;

use crate::entry::{Entry, EntryRef, Payload, Type};
use crate::snapshot::pieces;
pub use crate::snapshot::pieces::Parked;

/// A value that keeps what its readings have not come to.
pub enum Readable<'a> {
    Members(&'a mut MemberTable),
    Fields(&'a mut FieldTable),
}

impl Readable<'_> {
    /// See [`MemberTable::begin_reading`].
    pub fn begin(&mut self, id: u64) {
        match self {
            Readable::Members(table) => table.begin_reading(id),
            Readable::Fields(table) => table.begin_reading(id),
        }
    }

    pub fn end(&mut self, id: u64) {
        match self {
            Readable::Members(table) => table.end_reading(id),
            Readable::Fields(table) => table.end_reading(id),
        }
    }

    /// Bytes that a reading keeps.
    pub fn reading_memory(&self, id: u64) -> usize {
        match self {
            Readable::Members(table) => table.reading_memory(id),
            Readable::Fields(table) => table.reading_memory(id),
        }
    }
}

impl Entry {
    pub fn readable(&mut self) -> Option<Readable<'_>> {
        match self.view().kind() {
            Type::Set => self.members_mut().map(Readable::Members),
            Type::Hash => self.fields_mut().map(Readable::Fields),
            _ => None,
        }
    }
}

/// Puts an entry that is out of the keyspace away for its readings. A snapshot that has begun to save it goes
/// on with it there.
pub fn park(entry: Entry) -> Parked {
    pieces::park(entry)
}

/// The ids of the readings that an entry's value is held for.
pub fn readings(entry: EntryRef<'_>) -> Vec<u64> {
    match entry.payload() {
        Payload::Members(table) => table.readings().collect(),
        Payload::Fields(table) => table.readings().collect(),
        _ => Vec::new(),
    }
}
