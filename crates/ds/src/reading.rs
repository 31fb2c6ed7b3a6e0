//! Readings of a large set or hash: each sees it as it was when the reading began and takes it in pieces,
//! while the table changes. Any number of them go on at once.
//!
//! Whoever changes or removes an item that a reading has not come to leaves it a copy first; what comes in
//! is not the reading's. The names of both are noted until the reading has passed them, so its memory grows
//! with what is changed meanwhile and never with the table. It does not know what the pieces are for.

use base::hash::hash as hash_of;

use crate::member::Member;
use crate::table::{Item, ReadPosition, Table};

/// The readings of one table.
#[derive(Default)]
pub(crate) struct Readings(Vec<Reading>);

/// One of them.
pub(crate) struct Reading {
    id: u64,
    position: ReadPosition,
    /// Keys of items that the position has not passed and that the table does not hold as they were.
    noted: Table<Member>,
    noted_bytes: usize,
    kept: Kept,
}

/// What a reading shows: an item of the table, or the parts of one that was.
pub(crate) enum Shown<'a, T: Item, const PARTS: usize> {
    Item(T::Ref<'a>),
    Kept([&'a [u8]; PARTS]),
}

/// Copies of items: the parts of each one behind their lengths.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    shown: usize,
}

impl Readings {
    #[inline]
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Begins one: `id` was never used before.
    pub fn begin(&mut self, id: u64) {
        let (noted, kept) = (Table::default(), Kept::default());
        self.0.push(Reading { id, position: ReadPosition::default(), noted, noted_bytes: 0, kept });
    }

    /// The ids of those that go on.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|reading| reading.id)
    }

    pub fn take(&mut self, id: u64) -> Option<Reading> {
        let at = self.0.iter().position(|reading| reading.id == id)?;
        Some(self.0.swap_remove(at))
    }

    pub fn put_back(&mut self, reading: Reading) {
        self.0.push(reading);
    }

    /// An item of this key comes in.
    #[cold]
    pub fn note_new<T: Item>(&mut self, table: &Table<T>, key: &[u8]) {
        let hash = hash_of(key);
        for reading in self.0.iter_mut().filter(|reading| !table.has_read(&reading.position, hash)) {
            reading.note(hash, key);
        }
    }

    /// An item is about to be changed or removed: `parts` are what there is to show of it.
    #[cold]
    pub fn keep<T: Item>(&mut self, table: &Table<T>, key: &[u8], parts: &[&[u8]]) {
        let hash = hash_of(key);
        for reading in self.0.iter_mut().filter(|reading| !table.has_read(&reading.position, hash)) {
            if reading.note(hash, key) {
                reading.kept.push(parts);
            }
        }
    }

    /// Bytes on the heap.
    pub fn memory(&self) -> usize {
        self.0.iter().map(Reading::memory).sum()
    }

    /// Of these, one reading's.
    pub fn memory_of(&self, id: u64) -> usize {
        self.0.iter().filter(|reading| reading.id == id).map(Reading::memory).sum()
    }
}

impl Reading {
    /// Shows about `wanted` items, first those that were kept; false if there are no more.
    pub fn next<T: Item, const PARTS: usize>(
        &mut self,
        table: &Table<T>,
        wanted: usize,
        show: &mut dyn FnMut(Shown<'_, T, PARTS>),
    ) -> bool {
        let mut count = 0;
        let end = self.kept.shown + KEPT_PIECE;
        while let Some(kept) = self.kept.next() {
            show(Shown::Kept(kept));
            count += 1;
            if count == wanted || self.kept.shown >= end {
                return true;
            }
        }
        let Reading { position, noted, noted_bytes, .. } = self;
        table.read(position, wanted - count, &mut |item| {
            let key = T::key(item);
            let found = if noted.is_empty() { None } else { noted.find(hash_of(key), key) };
            match found {
                Some(slot) => *noted_bytes -= Member::size_of(noted.remove(slot).bytes()),
                None => show(Shown::Item(item)),
            }
        })
    }

    /// Notes a key; false if it was noted before.
    fn note(&mut self, hash: u64, key: &[u8]) -> bool {
        let absent = self.noted.find(hash, key).is_none();
        if absent {
            self.noted_bytes += Member::size_of(key);
            self.noted.insert_new(hash, Member::new(key));
        }
        absent
    }

    fn memory(&self) -> usize {
        size_of::<Reading>() + self.noted.memory() + self.noted_bytes + self.kept.bytes.capacity()
    }
}

impl Kept {
    fn push(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            self.bytes.extend_from_slice(part);
        }
    }

    /// The next copy. Its memory is free once all copies are shown.
    fn next<const PARTS: usize>(&mut self) -> Option<[&[u8]; PARTS]> {
        if self.shown == self.bytes.len() {
            *self = Kept::default();
            return None;
        }
        let (mut rest, mut parts) = (&self.bytes[self.shown..], [&[][..]; PARTS]);
        for part in &mut parts {
            let (len, behind) = rest.split_first_chunk().expect("every part stands behind its length");
            (*part, rest) = behind.split_at(u64::from_le_bytes(*len) as usize);
        }
        self.shown = self.bytes.len() - rest.len();
        Some(parts)
    }
}

/// Bytes of copies that are shown at once, about.
const KEPT_PIECE: usize = 64 * 1024;
