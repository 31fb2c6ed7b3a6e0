//! Lists as bytes and back (placeholder).

use crate::error::ErrorKind;
use crate::format;
use crate::length::WriteOptions;
use crate::source::Source;
use crate::values::Rules;
use std::io::Read;

use ds::list::{ListRef, PackedList};
use ds::listpack::Listpack;

/// A list in the form the store keeps.
pub enum ListObject {
    Packed(Vec<u8>),
    Nodes(Box<PackedList>),
}

impl ListObject {
    /// The value as the writer sees it.
    pub fn view(&self) -> ListRef<'_> {
        match self {
            ListObject::Packed(packed) => ListRef::Packed(Listpack::trusted(packed)),
            ListObject::Nodes(nodes) => ListRef::Nodes(nodes),
        }
    }
}

pub(crate) fn type_code(_: ListRef<'_>) -> u8 {
    format::TYPE_LIST_QUICKLIST_2
}

pub(crate) fn version_needed(_: ListRef<'_>) -> u32 {
    format::VERSION_PLAIN
}

pub(crate) fn write(_: &mut Vec<u8>, _: ListRef<'_>, _: &WriteOptions) {}

/// Reads a value of type `code`; None if it is empty.
pub(crate) fn read<R: Read>(_: &mut Source<R>, code: u8, _: &Rules) -> Result<Option<ListObject>, ErrorKind> {
    Err(ErrorKind::UnsupportedType { code, name: format::TypeName { family: "lists", name: "" } })
}
