//! Streams as bytes and back (placeholder).

use crate::error::ErrorKind;
use crate::format;
use crate::length::WriteOptions;
use crate::source::Source;
use crate::values::Rules;
use std::io::Read;

use ds::stream::Stream;

pub(crate) fn type_code(_: &Stream) -> u8 {
    format::TYPE_STREAM_LISTPACKS_2
}

pub(crate) fn version_needed(_: &Stream) -> u32 {
    format::VERSION_PLAIN
}

pub(crate) fn write(_: &mut Vec<u8>, _: &Stream, _: &WriteOptions) {}

/// Reads a value of type `code`; None if it is empty.
pub(crate) fn read<R: Read>(
    _: &mut Source<R>,
    code: u8,
    _: &Rules,
) -> Result<Option<Box<Stream>>, ErrorKind> {
    Err(ErrorKind::UnsupportedType { code, name: format::TypeName { family: "streams", name: "" } })
}
