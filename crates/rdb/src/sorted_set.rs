//! Sorted sets as bytes and back (placeholder).

use crate::error::ErrorKind;
use crate::format;
use crate::length::WriteOptions;
use crate::source::Source;
use crate::values::Rules;
use std::io::Read;

use ds::listpack::Listpack;
use ds::sorted_set::{ScoredTable, SortedSetRef};

/// A sorted set in the form the store keeps.
pub enum SortedSetObject {
    Packed(Vec<u8>),
    Table(Box<ScoredTable>),
}

impl SortedSetObject {
    /// The value as the writer sees it.
    pub fn view(&self) -> SortedSetRef<'_> {
        match self {
            SortedSetObject::Packed(packed) => SortedSetRef::Packed(Listpack::trusted(packed)),
            SortedSetObject::Table(table) => SortedSetRef::Table(table),
        }
    }
}

pub(crate) fn type_code(_: SortedSetRef<'_>) -> u8 {
    format::TYPE_ZSET_2
}

pub(crate) fn version_needed(_: SortedSetRef<'_>) -> u32 {
    format::VERSION_PLAIN
}

pub(crate) fn write(_: &mut Vec<u8>, _: SortedSetRef<'_>, _: &WriteOptions) {}

/// Reads a value of type `code`; None if it is empty.
pub(crate) fn read<R: Read>(
    _: &mut Source<R>,
    code: u8,
    _: &Rules,
) -> Result<Option<SortedSetObject>, ErrorKind> {
    Err(ErrorKind::UnsupportedType { code, name: format::TypeName { family: "sorted sets", name: "" } })
}
