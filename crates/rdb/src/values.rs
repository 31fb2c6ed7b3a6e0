//! A value as bytes and back: the type code and what follows the key. One match per direction, a module per
//! family; it knows nothing of keys, expiry or files.

use crate::error::ErrorKind;
use crate::format::{self, Dialect, TypeName};
use crate::length::{self, Text, WriteOptions};
use crate::list::{self, ListObject};
use crate::set::{self, SetObject};
use crate::sorted_set::{self, SortedSetObject};
use crate::source::Input;
use crate::{hash, stream};
use base::num;
use ds::hash::{FieldTable, HashRef};
use ds::list::{Limits, ListRef};
use ds::listpack::Listpack;
use ds::set::SetRef;
use ds::sorted_set::SortedSetRef;
use ds::stream::Stream;
use std::fmt;

/// What a value looks like to the writer.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    Bytes(&'a [u8]),
    Int(i64),
    List(ListRef<'a>),
    Set(SetRef<'a>),
    SortedSet(SortedSetRef<'a>),
    Hash(HashRef<'a>),
    Stream(&'a Stream),
}

/// What the reader yields, in the form the store keeps.
pub enum Object {
    Bytes(Vec<u8>),
    Int(i64),
    List(ListObject),
    Set(SetObject),
    SortedSet(SortedSetObject),
    Hash(HashObject),
    Stream(Box<Stream>),
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
            Object::List(list) => ValueRef::List(list.view()),
            Object::Set(set) => ValueRef::Set(set.view()),
            Object::SortedSet(set) => ValueRef::SortedSet(set.view()),
            Object::Hash(hash) => ValueRef::Hash(hash.view()),
            Object::Stream(stream) => ValueRef::Stream(stream),
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

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Bytes(bytes) => f.debug_tuple("Bytes").field(bytes).finish(),
            Object::Int(number) => f.debug_tuple("Int").field(number).finish(),
            Object::List(_) => f.write_str("List"),
            Object::Set(_) => f.write_str("Set"),
            Object::SortedSet(_) => f.write_str("SortedSet"),
            Object::Hash(hash) => write!(f, "Hash({} fields)", hash.view().len()),
            Object::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Up to which size a collection is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// Fields of a hash.
    pub hash_entries: usize,
    /// Bytes of a field or a value.
    pub hash_value: usize,
    /// Members of a set of integers.
    pub set_ints: usize,
    /// Members of a packed set.
    pub set_entries: usize,
    /// Bytes of a member.
    pub set_value: usize,
    /// Members of a packed sorted set.
    pub zset_entries: usize,
    /// Bytes of a member.
    pub zset_value: usize,
    /// Of a list's node: elements, or if negative a class of bytes (-1: 4 KB to -5: 64 KB).
    pub list_node_size: i64,
    /// Nodes at each end of a list that are not compressed; 0: none is compressed.
    pub list_compress_depth: usize,
    /// Elements of a list of this length and more get a node of their own; 0: those too long for a node.
    pub list_plain_from: usize,
    /// Bytes of a stream's block; 0: no limit.
    pub stream_node_bytes: usize,
    /// Entries of a stream's block; 0: no limit.
    pub stream_node_entries: usize,
}

impl Thresholds {
    /// Redis' defaults.
    pub const DEFAULT: Thresholds = Thresholds {
        hash_entries: 512,
        hash_value: 64,
        set_ints: 512,
        set_entries: 128,
        set_value: 64,
        zset_entries: 128,
        zset_value: 64,
        list_node_size: -2,
        list_compress_depth: 0,
        list_plain_from: 0,
        stream_node_bytes: 4096,
        stream_node_entries: 100,
    };

    pub fn list_limits(&self) -> Limits {
        let limits = Limits::new(self.list_node_size, self.list_compress_depth);
        if self.list_plain_from == 0 { limits } else { limits.with_plain_from(self.list_plain_from) }
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds::DEFAULT
    }
}

/// The lowest version that holds the value.
pub fn version_needed(value: ValueRef<'_>) -> u32 {
    match value {
        ValueRef::Bytes(_) | ValueRef::Int(_) => format::VERSION_PLAIN,
        ValueRef::List(list) => list::version_needed(list),
        ValueRef::Set(set) => set::version_needed(set),
        ValueRef::SortedSet(set) => sorted_set::version_needed(set),
        ValueRef::Hash(hash) => hash::version_needed(hash),
        ValueRef::Stream(stream) => stream::version_needed(stream),
    }
}

/// The type code `write_value` writes for.
pub fn type_code(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Bytes(_) | ValueRef::Int(_) => format::TYPE_STRING,
        ValueRef::List(list) => list::type_code(list),
        ValueRef::Set(set) => set::type_code(set),
        ValueRef::SortedSet(set) => sorted_set::type_code(set),
        ValueRef::Hash(hash) => hash::type_code(hash),
        ValueRef::Stream(stream) => stream::type_code(stream),
    }
}

/// Writes what follows the key.
pub fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>, options: &WriteOptions) {
    match value {
        ValueRef::Bytes(bytes) => length::write_string(out, bytes, options),
        ValueRef::Int(number) => length::write_int(out, number),
        ValueRef::List(list) => list::write(out, list, options),
        ValueRef::Set(set) => set::write(out, set, options),
        ValueRef::SortedSet(set) => sorted_set::write(out, set, options),
        ValueRef::Hash(hash) => hash::write(out, hash, options),
        ValueRef::Stream(stream) => stream::write(out, stream, options),
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
pub(crate) fn read_value<I: Input>(
    source: &mut I,
    code: u8,
    name: TypeName,
    rules: &Rules,
) -> Result<Option<Object>, ErrorKind> {
    match name.family {
        "string" => read_text_object(source).map(Some),
        "list" => Ok(list::read(source, code, rules)?.map(Object::List)),
        "set" => Ok(set::read(source, code, rules)?.map(Object::Set)),
        "sorted set" => Ok(sorted_set::read(source, code, rules)?.map(Object::SortedSet)),
        "hash" => Ok(hash::read(source, code, rules)?.map(Object::Hash)),
        "stream" => Ok(stream::read(source, code)?.map(Object::Stream)),
        _ => Err(ErrorKind::UnsupportedType(Box::new(name))),
    }
}

/// A string value: an integer if it is the digits of one, as a client's SET would make it.
fn read_text_object<I: Input>(source: &mut I) -> Result<Object, ErrorKind> {
    let mut bytes = Vec::new();
    if let Text::Int(number) = length::read_text(source, &mut bytes)? {
        return Ok(Object::Int(number));
    }
    Ok(number_of(&bytes).map_or(Object::Bytes(bytes), Object::Int))
}

/// The number that a string value is kept as.
pub(crate) fn number_of(bytes: &[u8]) -> Option<i64> {
    if bytes.len() <= MAX_DIGITS { num::parse_i64(bytes) } else { None }
}

/// `-9223372036854775808`.
const MAX_DIGITS: usize = 20;
