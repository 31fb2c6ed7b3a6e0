//! The hash value: packed in a listpack while it is small, a table of fields when it is not.
//!
//! It decides neither when a packed hash becomes a table nor what the time is: callers pass `now` where an
//! expired field must count as absent. Only a table's fields have expiry times. An expired field stays,
//! and counts in `len`, until it is removed.

use base::defrag::Mover;
use base::hash::hash;

pub use crate::field::{Field, FieldRef};
use crate::listpack::{self, Buffer, Element, Listpack};
use crate::moving::{Movable, MovePosition};
use crate::reading::{Readings, Shown};
use crate::saving::{Part, Piece, TableSaving, TableSavings};
use crate::table::{DuePosition, SlotId, Table};

/// A hash in either form.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    Packed(Listpack<'a>),
    Table(&'a FieldTable),
}

/// A field in either form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair<'a> {
    pub field: Element<'a>,
    pub value: Element<'a>,
    /// Unix milliseconds.
    pub expires_at: Option<i64>,
}

/// What setting a field did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    Added,
    Updated,
}

/// What setting a field does to its expiry time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    Keep,
    Drop,
}

impl<'a> HashRef<'a> {
    /// How many fields there are, expired ones included.
    pub fn len(self) -> usize {
        match self {
            HashRef::Packed(pack) => pack.len() / 2,
            HashRef::Table(table) => table.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        match self {
            HashRef::Packed(pack) => pack.is_empty(),
            HashRef::Table(table) => table.is_empty(),
        }
    }

    /// How many fields are not expired. Looks at every field if some have expiry times.
    pub fn live_len(self, now: i64) -> usize {
        match self {
            HashRef::Table(table) if table.expiring_count() > 0 => {
                table.iter().filter(|field| !field.is_expired(now)).count()
            }
            _ => self.len(),
        }
    }

    pub fn get(self, field: &[u8], now: i64) -> Option<Element<'a>> {
        match self {
            HashRef::Packed(pack) => packed_get(pack, field),
            HashRef::Table(table) => Some(Element::Bytes(table.get(field, now)?.value)),
        }
    }

    /// A field's expiry time, if it is there; that is None if it has none.
    pub fn expiry(self, field: &[u8], now: i64) -> Option<Option<i64>> {
        match self {
            HashRef::Packed(pack) => packed_get(pack, field).map(|_| None),
            HashRef::Table(table) => Some(table.get(field, now)?.expires_at),
        }
    }

    /// Visits every field that is not expired.
    pub fn for_each(self, now: i64, mut visit: impl FnMut(Pair<'a>)) {
        match self {
            HashRef::Packed(pack) => packed_pairs(pack).for_each(visit),
            HashRef::Table(table) => {
                table.iter().filter(|field| !field.is_expired(now)).for_each(|field| visit(pair(field)));
            }
        }
    }

    /// A field that is not expired, each with the same probability. `below(n)` gives a number under n.
    pub fn random(self, now: i64, below: &mut dyn FnMut(u64) -> u64) -> Option<Pair<'a>> {
        match self {
            HashRef::Packed(pack) if pack.is_empty() => None,
            HashRef::Packed(pack) => packed_pairs(pack).nth(below(self.len() as u64) as usize),
            HashRef::Table(table) => table.random(now, below).map(pair),
        }
    }

    /// One step of a scan over fields that are not expired; returns the next cursor, 0 at the end. A packed
    /// hash is visited in one step.
    pub fn scan(self, cursor: u64, count: usize, now: i64, visit: &mut dyn FnMut(Pair<'_>)) -> u64 {
        let HashRef::Table(table) = self else {
            self.for_each(now, visit);
            return 0;
        };
        table.table.scan(cursor, count, &mut |field| {
            if !field.is_expired(now) {
                visit(pair(field));
            }
        })
    }
}

pub fn packed_get<'a>(pack: Listpack<'a>, field: &[u8]) -> Option<Element<'a>> {
    let at = pack.find(field, pack.first()?, 1)?;
    Some(pack.element(pack.next(at)?))
}

pub fn packed_set(buffer: &mut impl Buffer, field: &[u8], value: &[u8]) -> Set {
    let pack = Listpack::trusted(buffer.bytes());
    let found = pack.first().and_then(|first| pack.find(field, first, 1));
    if let Some(at) = found.and_then(|at| pack.next(at)) {
        listpack::replace(buffer, at, value);
        return Set::Updated;
    }
    listpack::push_back(buffer, field);
    listpack::push_back(buffer, value);
    Set::Added
}

/// Whether the field was there.
pub fn packed_remove(buffer: &mut impl Buffer, field: &[u8]) -> bool {
    let pack = Listpack::trusted(buffer.bytes());
    let found = pack.first().and_then(|first| pack.find(field, first, 1));
    if let Some(at) = found {
        listpack::remove(buffer, at, 2);
    }
    found.is_some()
}

/// The fields of a packed hash, in order.
pub fn packed_pairs(pack: Listpack<'_>) -> impl Iterator<Item = Pair<'_>> {
    let mut elements = pack.iter();
    std::iter::from_fn(move || {
        Some(Pair { field: elements.next()?, value: elements.next()?, expires_at: None })
    })
}

/// A hash of any size.
#[derive(Default)]
pub struct FieldTable {
    table: Table<Field>,
    due: DuePosition,
    /// No field expires before; of no meaning while none has an expiry time.
    soonest: i64,
    item_bytes: usize,
    pair_bytes: u64,
    readings: Readings,
    savings: TableSavings<Field>,
}

impl FieldTable {
    /// Fetches the line at which a search for this hash of a field begins.
    pub fn prefetch_line(&self, hash: u64) {
        self.table.prefetch_line(hash);
    }

    /// Fetches the field that a search for `hash` will most likely end at.
    pub fn prefetch_item(&self, hash: u64) {
        self.table.prefetch_item(hash);
        self.table.prefetch_marks(hash);
    }

    /// The fields of a packed hash; of equal ones, which a well-formed hash does not have, the first.
    pub fn from_packed(pack: Listpack<'_>) -> Self {
        let mut table = FieldTable::default();
        let (mut field, mut value) = (Vec::new(), Vec::new());
        for pair in packed_pairs(pack) {
            field.clear();
            value.clear();
            pair.field.write_to(&mut field);
            pair.value.write_to(&mut value);
            table.insert_new(&field, &value, None);
        }
        table
    }

    /// Makes an empty table ready for so many fields.
    pub fn lay_out(&mut self, count: usize) {
        self.table.lay_out(count);
    }

    /// How many fields there are, expired ones included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many fields have an expiry time.
    pub fn expiring_count(&self) -> usize {
        self.table.expiring_count()
    }

    /// No field expires before; `i64::MAX` if none has an expiry time. It may be too low until `remove_due`
    /// has gone all round.
    pub fn next_expiry(&self) -> i64 {
        if self.expiring_count() == 0 { i64::MAX } else { self.soonest }
    }

    /// Bytes on the heap, as the allocator counts them.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.item_bytes + self.readings.memory()
    }

    /// Bytes of all fields and values in RDB form: each behind its length, neither compressed nor turned
    /// into a number. If any field has an expiry time, 8 bytes more for every field.
    pub fn rdb_bytes(&self) -> u64 {
        let per_field = if self.expiring_count() > 0 { 8 } else { 0 };
        self.pair_bytes + per_field * self.len() as u64
    }

    /// As `rdb_bytes`, without anything that tells times of expiry.
    pub fn pair_bytes(&self) -> u64 {
        self.pair_bytes
    }

    /// A field that is not expired.
    pub fn get(&self, field: &[u8], now: i64) -> Option<FieldRef<'_>> {
        self.find(field).filter(|found| !found.is_expired(now))
    }

    /// A field, expired or not.
    pub fn find(&self, field: &[u8]) -> Option<FieldRef<'_>> {
        Some(self.table.find_view(hash(field), field)?.1)
    }

    /// Every field, expired or not.
    pub fn iter(&self) -> impl Iterator<Item = FieldRef<'_>> {
        self.table.iter()
    }

    /// Visits every field, expired or not.
    pub fn for_each(&self, visit: impl FnMut(FieldRef<'_>)) {
        self.table.for_each(visit);
    }

    /// Sets a field's value. An expired field counts as absent: it is added anew, without its time.
    pub fn set(&mut self, field: &[u8], value: &[u8], ttl: Ttl, now: i64) -> Set {
        let hash = hash(field);
        let Some((slot, old)) = self.table.find_view(hash, field) else {
            self.add(hash, Field::new(field, value, None));
            return Set::Added;
        };
        let expired = old.is_expired(now);
        let keeps = ttl == Ttl::Keep && !expired;
        self.change(slot, |old| {
            let old = if keeps { old } else { old.with_expiry(None) };
            old.with_value(value)
        });
        if expired { Set::Added } else { Set::Updated }
    }

    /// Adds a field if there is none of this name, expired or not; says whether it did.
    pub fn insert_new(&mut self, field: &[u8], value: &[u8], expires_at: Option<i64>) -> bool {
        let hash = hash(field);
        let absent = self.table.find(hash, field).is_none();
        if absent {
            self.add(hash, Field::new(field, value, expires_at));
        }
        absent
    }

    /// Removes a field, expired or not, and returns it.
    pub fn remove(&mut self, field: &[u8]) -> Option<Field> {
        let slot = self.table.find(hash(field), field)?;
        Some(self.take(slot))
    }

    /// Sets a field's expiry time; says whether there is such a field, expired or not.
    pub fn set_expiry(&mut self, field: &[u8], expires_at: Option<i64>) -> bool {
        let Some(slot) = self.table.find(hash(field), field) else { return false };
        self.note_expiry(expires_at);
        self.change(slot, |old| old.with_expiry(expires_at));
        true
    }

    /// A field's expiry time, if it is there, expired or not; that is None if it has none.
    pub fn expiry(&self, field: &[u8]) -> Option<Option<i64>> {
        Some(self.find(field)?.expires_at)
    }

    /// Removes up to `max` expired fields, telling of each, and returns how many. Goes on from call to call
    /// and looks at a bounded number of fields: 0 does not mean that none is left.
    pub fn remove_due(&mut self, now: i64, max: usize, mut removed: impl FnMut(FieldRef<'_>)) -> usize {
        let mut budget = max.saturating_mul(LOOKS_PER_REMOVAL);
        let mut count = 0;
        while count < max {
            let Some(slot) = self.table.next_due(&mut self.due, now, &mut budget) else {
                if budget > 0 {
                    self.soonest = self.table.next_expiry();
                }
                break;
            };
            removed(self.take(slot).view());
            count += 1;
        }
        count
    }

    /// A field that is not expired, each with the same probability. `below(n)` gives a number under n.
    pub fn random(&self, now: i64, below: &mut dyn FnMut(u64) -> u64) -> Option<FieldRef<'_>> {
        for _ in 0..RANDOM_TRIES {
            let field = self.table.view(self.table.random(below)?);
            if !field.is_expired(now) {
                return Some(field);
            }
        }
        let live = || self.iter().filter(|field| !field.is_expired(now));
        let count = live().count() as u64;
        if count == 0 { None } else { live().nth(below(count) as usize) }
    }

    /// Begins a reading: whoever calls [`FieldTable::read_on`] with this id, never used before, is shown all
    /// fields that there are now, expired or not, with their values.
    pub fn begin_reading(&mut self, id: u64) {
        self.readings.begin(id);
    }

    /// Shows about `wanted` fields to a reading; false if that was all of them, or if there is no such
    /// reading: it is over.
    pub fn read_on(&mut self, id: u64, wanted: usize, show: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        let Some(mut reading) = self.readings.take(id) else { return false };
        let more = reading.next(&self.table, wanted, &mut |shown| match shown {
            Shown::Item(item) => show(item.field, item.value),
            Shown::Kept([field, value]) => show(field, value),
        });
        if more {
            self.readings.put_back(reading);
        }
        more
    }

    pub fn end_reading(&mut self, id: u64) {
        self.readings.take(id);
    }

    /// Bytes that a reading keeps.
    pub fn reading_memory(&self, id: u64) -> usize {
        self.readings.memory_of(id)
    }

    /// The ids of the readings that go on.
    pub fn readings(&self) -> impl Iterator<Item = u64> {
        self.readings.ids()
    }

    /// Drops up to `count` fields; see `Table::drain_some`.
    pub fn drain_some(&mut self, count: usize) -> usize {
        self.item_bytes = 0;
        self.pair_bytes = 0;
        self.table.drain_some(count)
    }

    /// Panics if the table or a count is wrong.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        assert!(self.iter().filter_map(|field| field.expires_at).all(|at| at >= self.next_expiry()));
        let pair_bytes: u64 = self.iter().map(pair_bytes).sum();
        assert_eq!(pair_bytes, self.pair_bytes);
        let copy = |field: FieldRef<'_>| Field::new(field.field, field.value, field.expires_at);
        let item_bytes: usize = self.iter().map(|field| copy(field).size()).sum();
        assert_eq!(item_bytes, self.item_bytes);
    }

    fn add(&mut self, hash: u64, field: Field) {
        self.note_expiry(field.view().expires_at);
        self.item_bytes += field.size();
        self.pair_bytes += pair_bytes(field.view());
        if self.readings.any() {
            self.readings.note_new(&self.table, field.view().field);
        }
        self.table.insert_new(hash, field);
    }

    /// A field is about to get this expiry time.
    fn note_expiry(&mut self, expires_at: Option<i64>) {
        if let Some(at) = expires_at {
            self.soonest = self.next_expiry().min(at);
        }
    }

    /// A field is about to be changed or removed.
    #[inline]
    fn keep_for_readings(&mut self, slot: SlotId) {
        if self.readings.any() {
            let FieldRef { field, value, .. } = self.table.view(slot);
            self.readings.keep(&self.table, field, &[field, value]);
        }
    }

    fn take(&mut self, slot: SlotId) -> Field {
        self.keep_for_readings(slot);
        let field = self.savings.take(&mut self.table, slot);
        self.item_bytes -= field.size();
        self.pair_bytes -= pair_bytes(field.view());
        field
    }

    fn change(&mut self, slot: SlotId, change: impl FnOnce(Field) -> Field) {
        self.keep_for_readings(slot);
        self.savings.keep(&mut self.table, slot);
        let (old_size, old_bytes, new_size, new_bytes) = self.table.update(slot, |old| {
            let (old_size, old_bytes) = (old.size(), pair_bytes(old.view()));
            let new = change(old);
            let (new_size, new_bytes) = (new.size(), pair_bytes(new.view()));
            (new, (old_size, old_bytes, new_size, new_bytes))
        });
        self.item_bytes = self.item_bytes - old_size + new_size;
        self.pair_bytes = self.pair_bytes - old_bytes + new_bytes;
    }
}

impl Movable for FieldTable {
    fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        self.table.move_items(position, mover)
    }
}

impl TableSaving for FieldTable {
    type Part = Field;

    fn savings(&self) -> &TableSavings<Field> {
        &self.savings
    }

    fn parts(&mut self) -> (&mut TableSavings<Field>, &mut Table<Field>) {
        (&mut self.savings, &mut self.table)
    }
}

impl Part for Field {
    fn piece<'a>(item: Self::Ref<'a>) -> Piece<'a> {
        Piece::Field(item)
    }

    fn content(&self) -> Self::Ref<'_> {
        self.view()
    }

    fn copy(item: Self::Ref<'_>) -> Self {
        Field::new(item.field, item.value, item.expires_at)
    }
}

fn pair(field: FieldRef<'_>) -> Pair<'_> {
    Pair {
        field: Element::Bytes(field.field),
        value: Element::Bytes(field.value),
        expires_at: field.expires_at,
    }
}

fn pair_bytes(field: FieldRef<'_>) -> u64 {
    rdb_len(field.field.len()) + rdb_len(field.value.len())
}

/// Bytes of a plain RDB string: 6, 14, 32 or 64 bits of length, then the string.
pub(crate) fn rdb_len(len: usize) -> u64 {
    let prefix = match len {
        0..64 => 1,
        64..16_384 => 2,
        16_384..=0xffff_ffff => 5,
        _ => 9,
    };
    prefix + len as u64
}

/// Fields that `remove_due` looks at, at most, for each that it may remove.
const LOOKS_PER_REMOVAL: usize = 64;
/// Tries before `random` counts the live fields: so many misses mean that nearly all are expired.
const RANDOM_TRIES: usize = 64;
