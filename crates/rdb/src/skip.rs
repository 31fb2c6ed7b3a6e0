//! Goes past records by their lengths alone, to find where they end. It decodes nothing and judges nothing:
//! what it has gone past may still be damaged inside.

use crate::error::ErrorKind;
use crate::format::{self, Dialect};
use crate::length::{self, read_len};
use crate::source::{Input, Slice};

/// What a window into a file begins with.
pub(crate) enum Ahead {
    /// A whole record, what is said of its key before it included, and its length.
    Record(usize),
    /// The beginning of something longer.
    Part,
    /// No record, or one that does not tell where it ends.
    Other,
}

pub(crate) fn look(window: &[u8], dialect: Dialect) -> Ahead {
    let mut input = Slice::new(window, 0);
    match pass_record(&mut input, dialect) {
        Ok(()) => Ahead::Record(input.consumed()),
        Err(ErrorKind::Truncated) => Ahead::Part,
        Err(_) => Ahead::Other,
    }
}

/// Goes past one record.
pub(crate) fn pass_record<I: Input>(input: &mut I, dialect: Dialect) -> Result<(), ErrorKind> {
    loop {
        match input.byte()? {
            format::OPCODE_EXPIRE_MS => input.pass(8)?,
            format::OPCODE_EXPIRE_S => input.pass(4)?,
            format::OPCODE_FREQ => input.pass(1)?,
            format::OPCODE_IDLE => read_len(input).map(drop)?,
            code if code < format::OPCODE_MIN => {
                length::pass_string(input)?;
                return pass_value(input, code, dialect);
            }
            _ => return Err(NO_RECORD),
        }
    }
}

/// Goes past the value of a record of type `code`.
pub(crate) fn pass_value<I: Input>(input: &mut I, code: u8, dialect: Dialect) -> Result<(), ErrorKind> {
    match code {
        format::TYPE_MODULE_2 => pass_module_value(input),
        format::TYPE_STREAM_LISTPACKS
        | format::TYPE_STREAM_LISTPACKS_2
        | format::TYPE_STREAM_LISTPACKS_3
        | format::TYPE_STREAM_LISTPACKS_4
        | format::TYPE_STREAM_LISTPACKS_5 => pass_stream(input, code),
        _ => pass_collection(input, code, dialect),
    }
}

/// What a collection's elements consist of.
#[derive(Clone, Copy)]
enum Part {
    Text,
    Len,
    Bytes(u64),
    /// A score as text: a byte of length, or one that stands for what has no digits.
    Score,
}

fn pass_part<I: Input>(input: &mut I, part: Part) -> Result<(), ErrorKind> {
    match part {
        Part::Text => length::pass_string(input),
        Part::Len => read_len(input).map(drop),
        Part::Bytes(count) => input.pass(count),
        Part::Score => match input.byte()? {
            SCORE_SPECIAL..=u8::MAX => Ok(()),
            len => input.pass(u64::from(len)),
        },
    }
}

/// A string, or a count and so many elements.
fn pass_collection<I: Input>(input: &mut I, code: u8, dialect: Dialect) -> Result<(), ErrorKind> {
    let known = |row: &&Shape| row.code == code && row.dialect.is_none_or(|own| own == dialect);
    let shape = SHAPES.iter().find(known).ok_or(NO_RECORD)?;
    input.pass(shape.head)?;
    let count = if shape.counted { read_len(input)? } else { 1 };
    for _ in 0..count {
        shape.parts.iter().try_for_each(|part| pass_part(input, *part))?;
    }
    Ok(())
}

/// As `stream.rs` reads it.
fn pass_stream<I: Input>(input: &mut I, code: u8) -> Result<(), ErrorKind> {
    repeat(input, |input| pass_parts(input, &[Part::Text, Part::Text]))?;
    let numbers = if code >= format::TYPE_STREAM_LISTPACKS_2 { 8 } else { 3 };
    (0..numbers).try_for_each(|_| read_len(input).map(drop))?;
    repeat(input, |input| pass_group(input, code))?;
    if code >= format::TYPE_STREAM_LISTPACKS_4 {
        pass_parts(input, &[Part::Len, Part::Len])?;
        repeat(input, |input| {
            length::pass_string(input)?;
            repeat(input, |input| pass_parts(input, &[Part::Text, Part::Len, Part::Len]))
        })?;
        pass_parts(input, &[Part::Len, Part::Len])?;
    }
    Ok(())
}

fn pass_group<I: Input>(input: &mut I, code: u8) -> Result<(), ErrorKind> {
    pass_parts(input, &[Part::Text, Part::Len, Part::Len])?;
    if code >= format::TYPE_STREAM_LISTPACKS_2 {
        read_len(input)?;
    }
    // Id, time, and how often it was delivered.
    repeat(input, |input| pass_parts(input, &[Part::Bytes(24), Part::Len]))?;
    let times = if code >= format::TYPE_STREAM_LISTPACKS_3 { 16 } else { 8 };
    repeat(input, |input| {
        pass_parts(input, &[Part::Text, Part::Bytes(times)])?;
        pass_ids(input)
    })?;
    if code >= format::TYPE_STREAM_LISTPACKS_5 { pass_ids(input) } else { Ok(()) }
}

fn pass_ids<I: Input>(input: &mut I) -> Result<(), ErrorKind> {
    repeat(input, |input| input.pass(16))
}

fn pass_parts<I: Input>(input: &mut I, parts: &[Part]) -> Result<(), ErrorKind> {
    parts.iter().try_for_each(|part| pass_part(input, *part))
}

/// A count, and so many of something that takes at least a byte: a false count ends with the input.
fn repeat<I: Input>(
    input: &mut I,
    mut pass_one: impl FnMut(&mut I) -> Result<(), ErrorKind>,
) -> Result<(), ErrorKind> {
    let count = read_len(input)?;
    (0..count).try_for_each(|_| pass_one(input))
}

/// The module's number, then tagged values.
fn pass_module_value<I: Input>(input: &mut I) -> Result<(), ErrorKind> {
    read_len(input)?;
    pass_module_values(input)
}

/// A module's data, which tells of itself how long it is: tagged values up to an end tag.
pub(crate) fn pass_module_values<I: Input>(input: &mut I) -> Result<(), ErrorKind> {
    loop {
        match read_len(input)? {
            format::MODULE_EOF => return Ok(()),
            format::MODULE_SINT | format::MODULE_UINT => read_len(input).map(drop)?,
            format::MODULE_FLOAT => input.pass(4)?,
            format::MODULE_DOUBLE => input.pass(8)?,
            format::MODULE_STRING => length::pass_string(input)?,
            _ => return Err(ErrorKind::Corrupt("a module's data has an unknown tag")),
        }
    }
}

/// How a type's values lie in a file.
struct Shape {
    code: u8,
    /// Whose type it is, where a code means different things.
    dialect: Option<Dialect>,
    /// Bytes before all else.
    head: u64,
    counted: bool,
    parts: &'static [Part],
}

const fn text(code: u8) -> Shape {
    Shape { code, dialect: None, head: 0, counted: false, parts: &[Part::Text] }
}

const fn counted(code: u8, parts: &'static [Part]) -> Shape {
    Shape { code, dialect: None, head: 0, counted: true, parts }
}

const REDIS: Option<Dialect> = Some(Dialect::Redis);
const VALKEY: Option<Dialect> = Some(Dialect::Valkey);

const SHAPES: &[Shape] = &[
    text(format::TYPE_STRING),
    counted(format::TYPE_LIST, &[Part::Text]),
    counted(format::TYPE_SET, &[Part::Text]),
    counted(format::TYPE_ZSET, &[Part::Text, Part::Score]),
    counted(format::TYPE_HASH, &[Part::Text, Part::Text]),
    counted(format::TYPE_ZSET_2, &[Part::Text, Part::Bytes(8)]),
    text(format::TYPE_HASH_ZIPMAP),
    text(format::TYPE_LIST_ZIPLIST),
    text(format::TYPE_SET_INTSET),
    text(format::TYPE_ZSET_ZIPLIST),
    text(format::TYPE_HASH_ZIPLIST),
    counted(format::TYPE_LIST_QUICKLIST, &[Part::Text]),
    text(format::TYPE_HASH_LISTPACK),
    text(format::TYPE_ZSET_LISTPACK),
    counted(format::TYPE_LIST_QUICKLIST_2, &[Part::Len, Part::Text]),
    text(format::TYPE_SET_LISTPACK),
    Shape { dialect: REDIS, ..counted(format::TYPE_HASH_METADATA_PRE_GA, METADATA) },
    Shape { dialect: VALKEY, ..counted(format::TYPE_HASH_2, &[Part::Text, Part::Text, Part::Bytes(8)]) },
    Shape { dialect: REDIS, ..text(format::TYPE_HASH_LISTPACK_EX_PRE_GA) },
    Shape { dialect: REDIS, head: 8, ..counted(format::TYPE_HASH_METADATA, METADATA) },
    Shape { dialect: REDIS, head: 8, ..text(format::TYPE_HASH_LISTPACK_EX) },
];
/// An expiry, a field, a value.
const METADATA: &[Part] = &[Part::Len, Part::Text, Part::Text];
/// From here up a score's length stands for what has no digits.
const SCORE_SPECIAL: u8 = 253;
const NO_RECORD: ErrorKind = ErrorKind::Corrupt("where a record ends cannot be told");
