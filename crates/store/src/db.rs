//! One logical database's part of one shard: the table of entries, and the one way they are changed.
//!
//! Every change to an entry goes through [`Db::edit`], [`Db::replace`] or [`Db::remove`], and each of them
//! first gives a running snapshot the entry as it was at the cut. There is no other mutable access.

use base::hash::hash;
use ds::table::{SlotId, Table};

use crate::entry::{Entry, EntryRef};
use crate::snapshot::Capture;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct DbIndex(pub u16);

/// A key with its hash: the hash is computed once, where the request is parsed.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}

impl<'a> Key<'a> {
    pub fn new(bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: hash(bytes) }
    }
}

/// What a command took out of the keyspace and a slow lane may free: nothing here is reachable any more.
pub enum Garbage {
    Entry(Entry),
    Table(Table<Entry>),
}

impl Garbage {
    /// How many allocations freeing it costs, about.
    pub fn effort(&self) -> usize {
        match self {
            Garbage::Entry(entry) => entry.view().free_effort(),
            Garbage::Table(table) => table.len(),
        }
    }
}

/// One logical database's part of one shard.
pub struct Db {
    table: Table<Entry>,
    /// The running snapshot's ear, from the cut until this table is saved.
    pub(crate) capture: Option<Box<Capture>>,
}

impl Db {
    pub(crate) fn new(shard_bits: u8) -> Db {
        Db { table: Table::new(shard_bits), capture: None }
    }

    pub fn table(&self) -> &Table<Entry> {
        &self.table
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    #[inline]
    pub fn find(&self, key: Key<'_>) -> Option<SlotId> {
        self.table.find(key.hash, key.bytes)
    }

    #[inline]
    pub fn view(&self, slot: SlotId) -> EntryRef<'_> {
        self.table.view(slot)
    }

    /// Adds an entry under a key that is absent.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> SlotId {
        self.table.insert_new(hash, entry)
    }

    /// Puts an entry with the same key in the place of another.
    pub fn replace(&mut self, slot: SlotId, entry: Entry) -> Entry {
        self.save_pre_image(slot);
        self.table.replace(slot, entry)
    }

    pub fn remove(&mut self, slot: SlotId) -> Entry {
        self.save_pre_image(slot);
        self.table.remove(slot)
    }

    /// Changes an entry in place; it may move.
    #[inline]
    pub fn edit<R>(&mut self, slot: SlotId, change: impl FnOnce(&mut Entry) -> R) -> R {
        self.save_pre_image(slot);
        self.table.update(slot, |mut entry| {
            let result = change(&mut entry);
            (entry, result)
        })
    }

    #[inline]
    fn save_pre_image(&mut self, slot: SlotId) {
        if self.capture.is_some() {
            self.capture_slot(slot);
        }
    }

    #[cold]
    fn capture_slot(&mut self, slot: SlotId) {
        let capture = self.capture.as_mut().expect("the caller saw a capture");
        if !self.table.is_done(slot) {
            capture.pre_image(self.table.view(slot));
            self.table.mark_done(slot);
        }
    }

    /// Empties the database. A running snapshot takes over what it has not saved yet.
    pub(crate) fn take_all(&mut self, shard_bits: u8) -> Option<Table<Entry>> {
        let table = std::mem::replace(&mut self.table, Table::new(shard_bits));
        match self.capture.take() {
            Some(capture) => {
                capture.adopt(table);
                None
            }
            None => Some(table),
        }
    }

    /// An entry whose time of expiry has passed, if there is one in the next `budget` items looked at.
    pub fn next_due(&mut self, position: &mut ds::table::DuePosition, now: i64, budget: &mut usize) -> Option<SlotId> {
        self.table.next_due(position, now, budget)
    }

    pub(crate) fn table_mut(&mut self) -> &mut Table<Entry> {
        &mut self.table
    }
}
