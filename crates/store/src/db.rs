//! One logical database's part of one shard: the table of entries, and the one way they are changed.
//!
//! Every change to an entry goes through [`Db::edit`], [`Db::replace`] or [`Db::remove`], and each of them
//! first gives every running snapshot the entry as it was at its cut. There is no other way to change one.

use std::sync::Arc;

use base::hash::hash;
use base::limits::SNAPSHOTS;
use ds::table::{SlotId, Table};

use crate::entry::{Entry, EntryRef, FieldsExpire};
use crate::reading::Readable;
use crate::snapshot::{Capture, adopt, pieces};
use crate::sync::Mutex;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
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
    /// What was never in the keyspace, of so many bytes.
    Other(Box<dyn Send>, usize),
}

impl Garbage {
    /// Bytes that are free once it is dropped; of a table, as a few of its entries have it. The same for as
    /// long as nothing of it is freed.
    pub fn memory(&self) -> usize {
        match self {
            Garbage::Entry(entry) => entry.view().memory(),
            Garbage::Table(table) => {
                let sum: usize = table.iter().take(WEIGHED).map(EntryRef::memory).sum();
                table.memory() + sum * table.len() / table.len().clamp(1, WEIGHED)
            }
            Garbage::Other(_, bytes) => *bytes,
        }
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        match self {
            Garbage::Entry(_) => 1,
            Garbage::Table(table) => table.len(),
            Garbage::Other(..) => 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops it in slices; `freed` hears of the entries and the bytes of each.
    pub fn free(self, mut freed: impl FnMut(usize, usize)) {
        let (len, bytes) = (self.len(), self.memory());
        let mut left = bytes;
        match self {
            Garbage::Table(mut table) => loop {
                let count = table.drain_some(FREED_AT_ONCE);
                if count == 0 {
                    break freed(0, left);
                }
                let share = (bytes as u128 * count as u128 / len as u128) as usize;
                left -= share;
                freed(count, share);
            },
            one => {
                drop(one);
                freed(len, bytes);
            }
        }
    }
}

/// Entries of a table that are dropped in one slice.
const FREED_AT_ONCE: usize = 1024;

/// Entries that tell how large all entries of a table are.
const WEIGHED: usize = 256;

/// One logical database's part of one shard.
pub struct Db {
    table: Table<Entry>,
    /// Entries that the table counts as expiring although only fields of theirs do.
    by_fields: usize,
    /// Entries of which fields expire, and the key too.
    by_both: usize,
    /// The running snapshots' ears: each from its cut until this table is saved.
    captures: Vec<Capture>,
}

impl Db {
    pub(crate) fn new(shard_bits: u8) -> Db {
        Db { table: Table::new(shard_bits), by_fields: 0, by_both: 0, captures: Vec::new() }
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

    /// Keys that have a time of expiry of their own.
    pub fn expires_count(&self) -> usize {
        self.table.expiring_count() - self.by_fields
    }

    /// Hashes of which fields have a time of expiry.
    pub fn fields_expire_count(&self) -> usize {
        self.by_fields + self.by_both
    }

    /// Makes an empty table ready for so many entries. Where more are expected it grows with that in view.
    pub fn lay_out(&mut self, count: usize, expected: usize) {
        self.table.expect(expected);
        self.table.lay_out(count);
    }

    /// No more are expected than there are.
    pub fn end_expecting(&mut self) {
        self.table.expect(0);
    }

    #[inline]
    pub fn find(&self, key: Key<'_>) -> Option<SlotId> {
        self.table.find(key.hash, key.bytes)
    }

    /// As `find`, with the entry.
    #[inline]
    pub fn find_view(&self, key: Key<'_>) -> Option<(SlotId, EntryRef<'_>)> {
        self.table.find_view(key.hash, key.bytes)
    }

    #[inline]
    pub fn view(&self, slot: SlotId) -> EntryRef<'_> {
        self.table.view(slot)
    }

    /// Adds an entry under a key that is absent.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> SlotId {
        self.count_by_fields(FieldsExpire::No, entry.view().fields_expire());
        self.table.insert_new(hash, entry)
    }

    /// Puts an entry with the same key in the place of another.
    pub fn replace(&mut self, slot: SlotId, entry: Entry) -> Entry {
        self.save_pre_image(slot);
        let after = entry.view().fields_expire();
        let old = self.table.replace(slot, entry);
        self.count_by_fields(old.view().fields_expire(), after);
        old
    }

    pub fn remove(&mut self, slot: SlotId) -> Entry {
        self.save_pre_image(slot);
        let old = self.table.remove(slot);
        self.count_by_fields(old.view().fields_expire(), FieldsExpire::No);
        old
    }

    /// Changes an entry in place; it may move.
    #[inline]
    pub fn edit<R>(&mut self, slot: SlotId, change: impl FnOnce(&mut Entry) -> R) -> R {
        self.save_pre_image(slot);
        let (result, before, after) = self.table.update(slot, |mut entry| {
            let before = entry.view().fields_expire();
            let result = change(&mut entry);
            let after = entry.view().fields_expire();
            (entry, (result, before, after))
        });
        self.count_by_fields(before, after);
        result
    }

    /// Puts an integer in the place of another; false if the value is kept in another form.
    #[inline]
    pub(crate) fn replace_int(&mut self, slot: SlotId, value: i64) -> bool {
        self.save_pre_image(slot);
        self.table.view(slot).replace_int(value)
    }

    /// Works on the readings of a large value, if it is one: that changes nothing of what it holds.
    pub fn with_readings<R>(&mut self, slot: SlotId, work: impl FnOnce(Readable<'_>) -> R) -> Option<R> {
        self.edit_aside(slot, |entry| entry.readable().map(work))
    }

    /// Lets `work` change an entry, but nothing of what it holds.
    pub(crate) fn edit_aside<R>(&mut self, slot: SlotId, work: impl FnOnce(&mut Entry) -> R) -> R {
        self.table.update(slot, |mut entry| {
            let result = work(&mut entry);
            (entry, result)
        })
    }

    #[inline]
    fn count_by_fields(&mut self, before: FieldsExpire, after: FieldsExpire) {
        if before != after {
            self.by_fields += usize::from(after == FieldsExpire::Alone);
            self.by_fields -= usize::from(before == FieldsExpire::Alone);
            self.by_both += usize::from(after == FieldsExpire::WithKey);
            self.by_both -= usize::from(before == FieldsExpire::WithKey);
        }
    }

    #[inline]
    fn save_pre_image(&mut self, slot: SlotId) {
        if SNAPSHOTS && !self.captures.is_empty() {
            self.capture_slot(slot);
        }
    }

    #[cold]
    fn capture_slot(&mut self, slot: SlotId) {
        let Db { table, captures, .. } = self;
        for capture in captures {
            let number = capture.number();
            if table.is_done(number, slot) {
                continue;
            }
            table.mark_done(number, slot);
            if capture.takes_in_pieces(table.view(slot)) {
                table.update(slot, |mut entry| {
                    capture.begin_pieces(&mut entry);
                    (entry, ())
                });
            } else {
                capture.pre_image(table.view(slot));
            }
        }
    }

    /// A snapshot begins.
    pub(crate) fn captured_by(&mut self, capture: Capture) {
        self.table.snapshot_begin(capture.number());
        self.captures.push(capture);
    }

    /// The ear of the snapshot of this number, if it has one here.
    pub(crate) fn capture(&self, number: u32) -> Option<&Capture> {
        self.captures.iter().find(|capture| capture.number() == number)
    }

    /// The snapshot is done with the database.
    pub(crate) fn release(&mut self, number: u32) -> Option<Capture> {
        let at = self.captures.iter().position(|capture| capture.number() == number)?;
        self.table.snapshot_end(number);
        let capture = self.captures.swap_remove(at);
        if self.captures.is_empty() {
            self.captures = Vec::new();
        }
        Some(capture)
    }

    /// Empties the database. Running snapshots take over what they have not saved yet.
    pub(crate) fn take_all(&mut self, shard_bits: u8) -> Option<Table<Entry>> {
        let flushed = std::mem::replace(self, Db::new(shard_bits));
        if flushed.captures.is_empty() {
            return Some(flushed.table);
        }
        adopt(&Arc::new(Mutex::new(flushed)));
        None
    }

    pub(crate) fn captures(&self) -> impl Iterator<Item = &Capture> {
        self.captures.iter()
    }

    /// An entry whose time of expiry has passed, if there is one in the next `budget` items looked at.
    pub fn next_due(
        &mut self,
        position: &mut ds::table::DuePosition,
        now: i64,
        budget: &mut usize,
    ) -> Option<SlotId> {
        self.table.next_due(position, now, budget)
    }

    /// Panics if the table, a count or a value is wrong.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.table.iter().for_each(|entry| entry.check_invariants());
        let count = |wanted| self.table.iter().filter(|entry| entry.fields_expire() == wanted).count();
        assert_eq!(count(FieldsExpire::Alone), self.by_fields);
        assert_eq!(count(FieldsExpire::WithKey), self.by_both);
    }

    pub(crate) fn table_mut(&mut self) -> &mut Table<Entry> {
        &mut self.table
    }

    pub(crate) fn into_table(self) -> Table<Entry> {
        self.table
    }

    /// Saves for the running snapshots, before a request takes its locks, what it is going to change: the
    /// entry, or of a large value the parts of these names, for as long as `goes_on` says. Returns how many
    /// of them that were; and how many bytes so many other parts may make the request copy yet.
    pub fn save_ahead<'n>(
        &mut self,
        key: Key<'_>,
        names: impl Iterator<Item = &'n [u8]>,
        parts: u64,
        goes_on: &dyn Fn() -> bool,
    ) -> (usize, u64) {
        let Some(slot) = self.find(key) else { return (usize::MAX, 0) };
        self.save_pre_image(slot);
        self.edit_aside(slot, |entry| pieces::save_ahead(entry, names, parts, goes_on))
    }

    /// Saves a quantum more of a large value, for each snapshot that is saving it.
    pub fn save_more(&mut self, key: Key<'_>) {
        if let Some(slot) = self.find(key) {
            self.edit_aside(slot, pieces::save_more);
        }
    }
}
