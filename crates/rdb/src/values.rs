//! A value as bytes and back: the type code and what follows the key. One match per direction, a module per
//! family; it knows nothing of keys, expiry or files.

use crate::error::ErrorKind;
use crate::format::{self, Dialect, TypeName};
use crate::hash;
use crate::length::{self, Text, WriteOptions};
use crate::source::Source;
use base::num;
use ds::hash::{FieldTable, HashRef};
use ds::listpack::Listpack;
use std::fmt;
use std::io::Read;

/// What a value looks like to the writer.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    Bytes(&'a [u8]),
    Int(i64),
    Hash(HashRef<'a>),
}

/// What the reader yields, in the form the store keeps.
#[derive(Debug)]
pub enum Object {
    Bytes(Vec<u8>),
    Int(i64),
    Hash(HashObject),
}

pub enum HashObject {
    /// A listpack of fields and values, none with a TTL, none twice.
    Packed(Vec<u8>),
    Table(Box<FieldTable>),
}

impl Object {
    /// The value as the writer sees it.
    pub fn view(&self) -> ValueRef<'_> {
        match self {
            Object::Bytes(bytes) => ValueRef::Bytes(bytes),
            Object::Int(number) => ValueRef::Int(*number),
            Object::Hash(hash) => ValueRef::Hash(hash.view()),
        }
    }
}

impl HashObject {
    /// The value as the writer sees it.
    pub fn view(&self) -> HashRef<'_> {
        match self {
            HashObject::Packed(packed) => HashRef::Packed(Listpack::trusted(packed)),
            HashObject::Table(table) => HashRef::Table(table),
        }
    }
}

impl fmt::Debug for HashObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if matches!(self, HashObject::Packed(_)) { "Packed" } else { "Table" };
        write!(f, "{form}({} fields)", self.view().len())
    }
}

/// Up to which size a collection is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// Fields of a hash.
    pub hash_entries: usize,
    /// Bytes of a field or a value.
    pub hash_value: usize,
}

impl Default for Thresholds {
    /// Redis' defaults.
    fn default() -> Self {
        Thresholds { hash_entries: 128, hash_value: 64 }
    }
}

/// The lowest version that holds the value.
pub fn version_needed(value: ValueRef<'_>) -> u32 {
    match value {
        ValueRef::Bytes(_) | ValueRef::Int(_) => format::VERSION_PLAIN,
        ValueRef::Hash(hash) => hash::version_needed(hash),
    }
}

/// The type code `write_value` writes for.
pub fn type_code(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Bytes(_) | ValueRef::Int(_) => format::TYPE_STRING,
        ValueRef::Hash(hash) => hash::type_code(hash),
    }
}

/// Writes what follows the key.
pub fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>, options: &WriteOptions) {
    match value {
        ValueRef::Bytes(bytes) => length::write_string(out, bytes, options),
        ValueRef::Int(number) => length::write_int(out, number),
        ValueRef::Hash(hash) => hash::write(out, hash, options),
    }
}

/// Under which rules a value is read.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) dialect: Dialect,
    pub(crate) thresholds: Thresholds,
    pub(crate) duplicates: Duplicates,
}

/// Whether a packed hash that is taken as it is is searched for a field that comes twice. Where fields are
/// added one by one, they always are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Duplicates {
    Sought,
    Trusted,
}

/// Reads what follows the key; None if it is an empty collection, which old versions of Redis could leave
/// behind.
pub(crate) fn read_value<R: Read>(
    source: &mut Source<R>,
    code: u8,
    name: TypeName,
    rules: &Rules,
) -> Result<Option<Object>, ErrorKind> {
    match name.family {
        "string" => read_text_object(source).map(Some),
        "hash" => Ok(hash::read(source, code, rules)?.map(Object::Hash)),
        _ => Err(ErrorKind::UnsupportedType { code, name }),
    }
}

/// A string value: an integer if it is the digits of one, as a client's SET would make it.
fn read_text_object<R: Read>(source: &mut Source<R>) -> Result<Object, ErrorKind> {
    let mut bytes = Vec::new();
    if let Text::Int(number) = length::read_text(source, &mut bytes)? {
        return Ok(Object::Int(number));
    }
    let number = if bytes.len() <= MAX_DIGITS { num::parse_i64(&bytes) } else { None };
    Ok(number.map_or(Object::Bytes(bytes), Object::Int))
}

/// `-9223372036854775808`.
const MAX_DIGITS: usize = 20;
