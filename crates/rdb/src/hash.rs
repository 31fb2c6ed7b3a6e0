//! Hashes as bytes and back, in all the forms Redis and Valkey have had. It decides nothing about expiry:
//! fields whose time is over are written and read like others.

use crate::error::ErrorKind;
use crate::format::{self, Dialect};
use crate::legacy;
use crate::length::{self, WriteOptions};
use crate::source::Input;
use crate::values::{Duplicates, HashObject, Rules, Thresholds};
use base::num;
use ds::hash::{FieldTable, HashRef};
use ds::listpack::{self, Element, Listpack};
use std::collections::HashSet;

pub(crate) fn version_needed(hash: HashRef<'_>) -> u32 {
    match type_code(hash) {
        format::TYPE_HASH_METADATA => format::VERSION_FIELD_TTL,
        _ => format::VERSION_PLAIN,
    }
}

pub(crate) fn type_code(hash: HashRef<'_>) -> u8 {
    match hash {
        HashRef::Packed(_) => format::TYPE_HASH_LISTPACK,
        HashRef::Table(table) if table.expiring_count() == 0 => format::TYPE_HASH,
        HashRef::Table(_) => format::TYPE_HASH_METADATA,
    }
}

pub(crate) fn write(out: &mut Vec<u8>, hash: HashRef<'_>, options: &WriteOptions) {
    match hash {
        HashRef::Packed(packed) => length::write_string(out, packed.bytes(), options),
        HashRef::Table(table) if table.expiring_count() == 0 => write_pairs(out, table, options),
        HashRef::Table(table) => write_metadata(out, table, options),
    }
}

fn write_pairs(out: &mut Vec<u8>, table: &FieldTable, options: &WriteOptions) {
    length::write_len(out, table.len() as u64);
    table.for_each(|field| {
        length::write_string(out, field.field, options);
        length::write_string(out, field.value, options);
    });
}

/// Type 24: the least expiry in ms, the count, then for each field its expiry less the least one plus 1 (0 if
/// none), itself and its value.
fn write_metadata(out: &mut Vec<u8>, table: &FieldTable, options: &WriteOptions) {
    let least = least_expiry(table);
    out.extend_from_slice(&least.to_le_bytes());
    length::write_len(out, table.len() as u64);
    table.for_each(|field| {
        length::write_len(out, field.expires_at.map_or(0, |time| ttl(time, least)));
        length::write_string(out, field.field, options);
        length::write_string(out, field.value, options);
    });
}

/// A time before 1970 cannot be told; any past time means the same.
pub(crate) fn least_expiry(table: &FieldTable) -> i64 {
    table.next_expiry().max(0)
}

/// A field's time as the file tells it.
pub(crate) fn ttl(time: i64, least: i64) -> u64 {
    (time.max(least) - least + 1) as u64
}

/// Reads a hash of type `code`; None if it is empty.
pub(crate) fn read<I: Input>(
    source: &mut I,
    code: u8,
    rules: &Rules,
) -> Result<Option<HashObject>, ErrorKind> {
    match (code, rules.dialect) {
        (format::TYPE_HASH, _) => read_plain(source, rules, read_no_expiry, read_no_expiry),
        (format::TYPE_HASH_ZIPMAP, _) => read_zipmap(source, rules),
        (format::TYPE_HASH_ZIPLIST, _) => read_ziplist(source, rules),
        (format::TYPE_HASH_LISTPACK, _) => read_listpack(source, rules),
        (format::TYPE_HASH_2, Dialect::Valkey) => {
            read_plain(source, rules, read_no_expiry, read_expiry_behind)
        }
        (format::TYPE_HASH_METADATA_PRE_GA, Dialect::Redis) => {
            read_plain(source, rules, |source| read_expiry_before(source, 1), read_no_expiry)
        }
        (format::TYPE_HASH_METADATA, Dialect::Redis) => {
            let least = read_least_expiry(source)?;
            read_plain(source, rules, |source| read_expiry_before(source, least), read_no_expiry)
        }
        (format::TYPE_HASH_LISTPACK_EX_PRE_GA, Dialect::Redis) => read_triples(source, rules),
        (format::TYPE_HASH_LISTPACK_EX, Dialect::Redis) => {
            read_least_expiry(source)?;
            read_triples(source, rules)
        }
        _ => Err(ErrorKind::Corrupt("the type code is not one of a hash")),
    }
}

/// A count, then fields and values with an expiry before or behind them.
fn read_plain<I: Input>(
    source: &mut I,
    rules: &Rules,
    before: impl Fn(&mut I) -> Result<Option<i64>, ErrorKind>,
    behind: impl Fn(&mut I) -> Result<Option<i64>, ErrorKind>,
) -> Result<Option<HashObject>, ErrorKind> {
    let count = length::read_len(source)?;
    let mut builder = Builder::new(count, rules.thresholds);
    builder.lay_out(source.items_ahead(count));
    let (mut field, mut value) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let expires_before = before(source)?;
        length::read_string_into(source, &mut field)?;
        length::read_string_into(source, &mut value)?;
        let expires_at = expires_before.or(behind(source)?);
        builder.push(&field, &value, expires_at)?;
    }
    builder.finish()
}

fn read_no_expiry<I: Input>(_: &mut I) -> Result<Option<i64>, ErrorKind> {
    Ok(None)
}

/// Valkey: unix ms in 8 bytes, -1 if none.
fn read_expiry_behind<I: Input>(source: &mut I) -> Result<Option<i64>, ErrorKind> {
    match i64::from_le_bytes(source.array()?) {
        NEVER | i64::MAX => Ok(None),
        time if time >= 0 => Ok(Some(time)),
        _ => Err(BAD_EXPIRY),
    }
}

/// Redis: 0 if none, else 1 is `least`.
fn read_expiry_before<I: Input>(source: &mut I, least: i64) -> Result<Option<i64>, ErrorKind> {
    match i64::try_from(length::read_len(source)?) {
        Ok(0) => Ok(None),
        Ok(ttl) => expiry(least.checked_add(ttl - 1)),
        Err(_) => Err(BAD_EXPIRY),
    }
}

fn read_least_expiry<I: Input>(source: &mut I) -> Result<i64, ErrorKind> {
    let time = i64::from_le_bytes(source.array()?);
    if time >= 0 { Ok(time) } else { Err(BAD_EXPIRY) }
}

/// The largest number means never in memory, so it is no time.
fn expiry(time: Option<i64>) -> Result<Option<i64>, ErrorKind> {
    match time {
        Some(time) if (0..i64::MAX).contains(&time) => Ok(Some(time)),
        _ => Err(BAD_EXPIRY),
    }
}

fn read_zipmap<I: Input>(source: &mut I, rules: &Rules) -> Result<Option<HashObject>, ErrorKind> {
    let blob = length::read_string(source)?;
    let mut builder = Builder::new(0, rules.thresholds);
    legacy::for_each_in_zipmap(&blob, |field, value| builder.push(field, value, None))?;
    builder.finish()
}

fn read_ziplist<I: Input>(source: &mut I, rules: &Rules) -> Result<Option<HashObject>, ErrorKind> {
    let blob = length::read_string(source)?;
    let mut builder = Builder::new(0, rules.thresholds);
    let (mut field, mut value) = (Vec::new(), Vec::new());
    let mut count = 0u64;
    legacy::for_each_in_ziplist(&blob, |element| {
        count += 1;
        if count % 2 == 1 {
            set_digits_or_bytes(&mut field, element);
            return Ok(());
        }
        set_digits_or_bytes(&mut value, element);
        builder.push(&field, &value, None)
    })?;
    if count.is_multiple_of(2) { builder.finish() } else { Err(ODD) }
}

fn set_digits_or_bytes(out: &mut Vec<u8>, element: legacy::Element<'_>) {
    out.clear();
    match element {
        legacy::Element::Int(number) => num::write_i64(out, number),
        legacy::Element::Bytes(bytes) => out.extend_from_slice(bytes),
    }
}

/// A listpack of fields and values: kept as it is, if there are not too many.
fn read_listpack<I: Input>(source: &mut I, rules: &Rules) -> Result<Option<HashObject>, ErrorKind> {
    let blob = length::read_string(source)?;
    let packed = checked_listpack(&blob)?;
    let count = packed.len();
    if count % 2 != 0 {
        return Err(ODD);
    }
    if count == 0 {
        return Ok(None);
    }
    if count / 2 > rules.thresholds.hash_entries {
        return table_of(packed).map(|table| Some(HashObject::Table(table)));
    }
    if rules.duplicates == Duplicates::Sought && repeats_field(packed) {
        return Err(DUPLICATE);
    }
    Ok(Some(HashObject::Packed(blob)))
}

/// A listpack of fields, values and expiries (unix ms, 0 if none).
fn read_triples<I: Input>(source: &mut I, rules: &Rules) -> Result<Option<HashObject>, ErrorKind> {
    let blob = length::read_string(source)?;
    let packed = checked_listpack(&blob)?;
    let mut builder = Builder::new((packed.len() / 3) as u64, rules.thresholds);
    let (mut field, mut value) = (Vec::new(), Vec::new());
    let mut elements = packed.iter();
    while let Some(element) = elements.next() {
        set_element(&mut field, element);
        set_element(&mut value, elements.next().ok_or(ODD)?);
        builder.push(&field, &value, triple_expiry(elements.next())?)?;
    }
    builder.finish()
}

pub(crate) fn checked_listpack(blob: &[u8]) -> Result<Listpack<'_>, ErrorKind> {
    // Always down to the elements: code above trusts a listpack that was let in.
    Listpack::validate(blob, true).map_err(|_| ErrorKind::Corrupt("a listpack is damaged"))
}

fn triple_expiry(element: Option<Element<'_>>) -> Result<Option<i64>, ErrorKind> {
    match element {
        Some(Element::Int(0)) => Ok(None),
        Some(Element::Int(time)) => expiry(Some(time)),
        Some(_) => Err(BAD_EXPIRY),
        None => Err(ErrorKind::Corrupt("a packed hash lacks an expiry")),
    }
}

fn set_element(out: &mut Vec<u8>, element: Element<'_>) {
    out.clear();
    element.write_to(out);
}

fn repeats_field(packed: Listpack<'_>) -> bool {
    let mut hashes = Vec::with_capacity(packed.len() / 2);
    let mut field = Vec::new();
    for element in packed.iter().step_by(2) {
        set_element(&mut field, element);
        hashes.push(base::hash::hash(&field));
    }
    repeats(&mut hashes) && repeats_exactly(packed)
}

/// Builds a hash in the form the store keeps it: packed as long as the thresholds allow, then a table.
struct Builder {
    thresholds: Thresholds,
    packed: Vec<u8>,
    /// Of the packed fields. Equal ones are looked at again at the end; comparing each field with all before
    /// it would take quadratic time.
    hashes: Vec<u64>,
    table: Option<Box<FieldTable>>,
}

impl Builder {
    /// `count` is what the file claims.
    fn new(count: u64, thresholds: Thresholds) -> Self {
        let table = (count > thresholds.hash_entries as u64).then(Box::default);
        Builder { thresholds, packed: Listpack::new_empty(), hashes: Vec::new(), table }
    }

    /// So many fields will come.
    fn lay_out(&mut self, count: usize) {
        if let Some(table) = &mut self.table {
            table.lay_out(count);
        }
    }

    fn push(&mut self, field: &[u8], value: &[u8], expires_at: Option<i64>) -> Result<(), ErrorKind> {
        if self.table.is_none() && (expires_at.is_some() || !self.fits(field, value)) {
            self.unpack()?;
        }
        match &mut self.table {
            Some(table) => insert(table, field, value, expires_at),
            None => {
                self.hashes.push(base::hash::hash(field));
                listpack::push_back(&mut self.packed, field);
                listpack::push_back(&mut self.packed, value);
                Ok(())
            }
        }
    }

    fn finish(mut self) -> Result<Option<HashObject>, ErrorKind> {
        if let Some(table) = self.table {
            return Ok((!table.is_empty()).then_some(HashObject::Table(table)));
        }
        if self.hashes.is_empty() {
            return Ok(None);
        }
        if repeats(&mut self.hashes) && repeats_exactly(Listpack::trusted(&self.packed)) {
            return Err(DUPLICATE);
        }
        Ok(Some(HashObject::Packed(self.packed)))
    }

    fn fits(&self, field: &[u8], value: &[u8]) -> bool {
        self.hashes.len() < self.thresholds.hash_entries
            && field.len().max(value.len()) <= self.thresholds.hash_value
            && self.packed.len() + field.len() + value.len() < listpack::MAX_SIZE
    }

    fn unpack(&mut self) -> Result<(), ErrorKind> {
        self.table = Some(table_of(Listpack::trusted(&self.packed))?);
        self.packed = Vec::new();
        self.hashes = Vec::new();
        Ok(())
    }
}

fn table_of(packed: Listpack<'_>) -> Result<Box<FieldTable>, ErrorKind> {
    let table = FieldTable::from_packed(packed);
    if table.len() * 2 == packed.len() { Ok(Box::new(table)) } else { Err(DUPLICATE) }
}

fn insert(
    table: &mut FieldTable,
    field: &[u8],
    value: &[u8],
    expires_at: Option<i64>,
) -> Result<(), ErrorKind> {
    if table.insert_new(field, value, expires_at) { Ok(()) } else { Err(DUPLICATE) }
}

fn repeats(hashes: &mut [u64]) -> bool {
    hashes.sort_unstable();
    hashes.windows(2).any(|pair| pair[0] == pair[1])
}

/// Tells equal fields from fields whose hashes are equal.
fn repeats_exactly(packed: Listpack<'_>) -> bool {
    let mut seen = HashSet::new();
    packed.iter().step_by(2).any(|element| {
        let mut field = Vec::new();
        set_element(&mut field, element);
        !seen.insert(field)
    })
}

/// Valkey's word for no expiry.
const NEVER: i64 = -1;
const BAD_EXPIRY: ErrorKind = ErrorKind::Corrupt("a field's expiry is out of range");
const DUPLICATE: ErrorKind = ErrorKind::Corrupt("a field comes twice in a hash");
const ODD: ErrorKind = ErrorKind::Corrupt("a packed hash lacks a value");
