//! Sets as bytes and back (placeholder).

use crate::error::ErrorKind;
use crate::format;
use crate::length::WriteOptions;
use crate::source::Source;
use crate::values::Rules;
use std::io::Read;

use ds::intset::Intset;
use ds::listpack::Listpack;
use ds::set::{MemberTable, SetRef};

/// A set in the form the store keeps.
pub enum SetObject {
    Ints(Vec<u8>),
    Packed(Vec<u8>),
    Table(Box<MemberTable>),
}

impl SetObject {
    /// The value as the writer sees it.
    pub fn view(&self) -> SetRef<'_> {
        match self {
            SetObject::Ints(ints) => SetRef::Ints(Intset::trusted(ints)),
            SetObject::Packed(packed) => SetRef::Packed(Listpack::trusted(packed)),
            SetObject::Table(table) => SetRef::Table(table),
        }
    }
}

pub(crate) fn type_code(_: SetRef<'_>) -> u8 {
    format::TYPE_SET
}

pub(crate) fn version_needed(_: SetRef<'_>) -> u32 {
    format::VERSION_PLAIN
}

pub(crate) fn write(_: &mut Vec<u8>, _: SetRef<'_>, _: &WriteOptions) {}

/// Reads a value of type `code`; None if it is empty.
pub(crate) fn read<R: Read>(_: &mut Source<R>, code: u8, _: &Rules) -> Result<Option<SetObject>, ErrorKind> {
    Err(ErrorKind::UnsupportedType { code, name: format::TypeName { family: "sets", name: "" } })
}
