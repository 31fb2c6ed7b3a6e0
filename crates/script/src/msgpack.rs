//! The table `cmsgpack`: MessagePack, as Redis' scripts know it.

use std::ffi::{c_int, c_void};

use crate::lua::{BOOLEAN, Lua, NIL, NUMBER, NativeFunction, STRING, State, TABLE};
use crate::machine::{Shared, push_function, shared};

pub(crate) fn push_table(lua: Lua, machine: *mut c_void) {
    lua.new_table(0, FUNCTIONS.len() + TEXTS.len());
    let table = lua.top();
    for (name, function) in FUNCTIONS {
        push_function(lua, machine, *function);
        lua.raw_set_field(table, name);
    }
    for (name, text) in TEXTS {
        lua.push_text(text);
        lua.raw_set_field(table, name);
    }
}

const FUNCTIONS: &[(&str, NativeFunction)] =
    &[("pack", pack), ("unpack", unpack), ("unpack_one", unpack_one), ("unpack_limit", unpack_limit)];

/// The library whose behaviour scripts see says who made it, and so does this one.
const TEXTS: &[(&str, &str)] = &[
    ("_NAME", "cmsgpack"),
    ("_VERSION", "lua-cmsgpack 0.4.0"),
    ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
    ("_DESCRIPTION", "MessagePack C implementation for Lua"),
];

/// Tables inside one another that are packed; what is deeper becomes nil.
const DEPTH_MAX: usize = 16;

unsafe extern "C-unwind" fn pack(state: State) -> c_int {
    let lua = Lua(state);
    let count = lua.top();
    if count == 0 {
        lua.fail_argument(0, c"MessagePack pack needs input.");
    }
    let machine = shared(lua);
    machine.text.clear();
    for index in 1..=count {
        lua.push_value(index);
        pack_value(lua, machine, 0);
    }
    machine.push_made(lua);
    1
}

/// Bytes of a number, or of what stands before a value.
const HEAD_LEN: usize = 9;

/// Packs the value on top and takes it. It recurses `DEPTH_MAX` times at most.
fn pack_value(lua: Lua, machine: &mut Shared, depth: usize) {
    let len = if lua.kind(-1) == STRING { lua.len(-1) } else { 0 };
    if !lua.has_room(5) {
        lua.fail(c"not enough memory to pack");
    }
    machine.make_room(lua, len + HEAD_LEN);
    let out = &mut machine.text;
    match lua.kind(-1) {
        STRING => {
            let text = lua.bytes(-1).unwrap_or_default();
            write_len(out, text.len(), &STRING_HEADS);
            out.extend_from_slice(text);
        }
        BOOLEAN => out.push(if lua.boolean(-1) { 0xc3 } else { 0xc2 }),
        NUMBER => write_number(out, lua.number(-1)),
        TABLE if depth < DEPTH_MAX => match array_len(lua) {
            Some(len) => pack_array(lua, machine, len, depth),
            None => pack_map(lua, machine, depth),
        },
        _ => out.push(0xc0),
    }
    lua.pop(1);
}

fn pack_array(lua: Lua, machine: &mut Shared, len: usize, depth: usize) {
    write_len(&mut machine.text, len, &ARRAY_HEADS);
    for index in 1..=len {
        lua.raw_get_at(-1, index as c_int);
        pack_value(lua, machine, depth + 1);
    }
}

fn pack_map(lua: Lua, machine: &mut Shared, depth: usize) {
    let mut pairs = 0;
    lua.push_nil();
    while lua.next(-2) {
        lua.pop(1);
        pairs += 1;
    }
    write_len(&mut machine.text, pairs, &MAP_HEADS);
    lua.push_nil();
    while lua.next(-2) {
        lua.push_value(-2);
        pack_value(lua, machine, depth + 1);
        pack_value(lua, machine, depth + 1);
    }
}

/// The length of the table on top, if its keys are 1 to that, without a hole.
fn array_len(lua: Lua) -> Option<usize> {
    let (count, highest) = lua.indexes()?;
    (count == i64::from(highest)).then_some(highest as usize)
}

/// What stands before a length: the short form with its bits and greatest length, then the markers of
/// lengths in one byte (0: there is none), two and four.
struct Heads {
    short: u8,
    short_max: usize,
    one: u8,
    two: u8,
    four: u8,
}

const STRING_HEADS: Heads = Heads { short: 0xa0, short_max: 31, one: 0xd9, two: 0xda, four: 0xdb };
const ARRAY_HEADS: Heads = Heads { short: 0x90, short_max: 15, one: 0, two: 0xdc, four: 0xdd };
const MAP_HEADS: Heads = Heads { short: 0x80, short_max: 15, one: 0, two: 0xde, four: 0xdf };

fn write_len(out: &mut Vec<u8>, len: usize, heads: &Heads) {
    match len {
        _ if len <= heads.short_max => out.push(heads.short | len as u8),
        ..=0xff if heads.one != 0 => out.extend_from_slice(&[heads.one, len as u8]),
        ..=0xffff => {
            out.push(heads.two);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(heads.four);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

fn write_number(out: &mut Vec<u8>, value: f64) {
    let integer = value as i64;
    let is_integer = integer as f64 == value && integer != i64::MAX;
    if is_integer {
        return write_integer(out, integer);
    }
    let short = value as f32;
    if f64::from(short) == value {
        out.push(0xca);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    let (marker, len) = match value {
        -32..=127 => return out.push(value as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -0x80..=-33 => (0xd0, 1),
        -0x8000..=-0x81 => (0xd1, 2),
        -0x8000_0000..=-0x8001 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(marker);
    out.extend_from_slice(&value.to_be_bytes()[8 - len..]);
}

unsafe extern "C-unwind" fn unpack(state: State) -> c_int {
    let lua = Lua(state);
    lua.check_bytes(1);
    lua.set_top(1);
    unpack_from(lua, 0, i64::MAX).1
}

unsafe extern "C-unwind" fn unpack_one(state: State) -> c_int {
    let lua = Lua(state);
    let offset = lua.optional_integer(2, 0);
    unpack_counted(lua, offset, 1)
}

unsafe extern "C-unwind" fn unpack_limit(state: State) -> c_int {
    let lua = Lua(state);
    let (limit, offset) = (lua.check_integer(2), lua.optional_integer(3, 0));
    // Neither a limit nor an offset: all, and no offset returned.
    if limit == 0 && offset == 0 {
        lua.set_top(1);
        return unpack_from(lua, 0, i64::MAX).1;
    }
    unpack_counted(lua, offset, limit)
}

/// Unpacks so many values from an offset; the next offset comes first, -1 at the end.
fn unpack_counted(lua: Lua, offset: i64, limit: i64) -> c_int {
    let len = lua.check_bytes(1).len();
    lua.set_top(1);
    if offset < 0 || limit < 0 {
        shared(lua)
            .fail(lua, format_args!("Invalid request to unpack with offset of {offset} and limit of {len}."));
    }
    if offset as u64 > len as u64 {
        shared(lua).fail(lua, format_args!("Start offset {offset} greater than input length {len}."));
    }
    let (left, count) = unpack_from(lua, offset as usize, limit);
    if !lua.has_room(1) {
        lua.fail_alone(TOO_MANY);
    }
    lua.push_number(if left == 0 { -1.0 } else { (len - left) as f64 });
    lua.insert(2);
    count + 1
}

/// Pushes up to `limit` values of the text at 1; how much of it is left, and how many values there are.
fn unpack_from(lua: Lua, offset: usize, limit: i64) -> (usize, c_int) {
    let mut input = Input { bytes: &lua.check_bytes(1)[offset..] };
    let machine = shared(lua);
    let mut count = 0;
    while !input.bytes.is_empty() && i64::from(count) < limit {
        match push_packed(lua, &mut input, &mut machine.levels) {
            Ok(()) => count += 1,
            Err(Broken::Short) => lua.fail(c"Missing bytes in input."),
            Err(Broken::Format) => lua.fail(c"Bad data format in input."),
        }
    }
    (input.bytes.len(), count)
}

enum Broken {
    Short,
    Format,
}

struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Broken::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn fixed<const LEN: usize>(&mut self) -> Result<[u8; LEN], Broken> {
        Ok(self.take(LEN)?.try_into().expect("so many bytes were taken"))
    }

    /// An unsigned number of so many bytes.
    fn number(&mut self, len: usize) -> Result<u64, Broken> {
        Ok(self.take(len)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }
}

/// A table that is being unpacked.
pub(crate) struct Level {
    is_map: bool,
    /// Values that are missing, keys among them.
    left: u64,
    done: c_int,
}

/// Pushes the next value. Nesting goes as deep as Lua's stack.
fn push_packed(lua: Lua, input: &mut Input<'_>, levels: &mut Vec<Level>) -> Result<(), Broken> {
    levels.clear();
    loop {
        if !lua.has_room(5) {
            lua.fail_alone(TOO_MANY);
        }
        match push_element(lua, input)? {
            Some(level) if level.left > 0 => {
                levels.push(level);
                continue;
            }
            _ => {}
        }
        // The value on top is whole: into its table, which may be whole then.
        loop {
            let Some(level) = levels.last_mut() else { return Ok(()) };
            (level.left, level.done) = (level.left - 1, level.done.wrapping_add(1));
            if !level.is_map {
                lua.raw_set_at(-2, level.done);
            } else if level.left % 2 == 0 {
                if lua.kind(-2) == NIL {
                    return Err(Broken::Format);
                }
                lua.raw_set(-3);
            }
            if level.left > 0 {
                break;
            }
            levels.pop();
        }
    }
}

/// Pushes a leaf, or an empty table with what belongs into it.
fn push_element(lua: Lua, input: &mut Input<'_>) -> Result<Option<Level>, Broken> {
    let marker = input.take(1)?[0];
    match marker {
        ..=0x7f => lua.push_number(f64::from(marker)),
        0xe0.. => lua.push_number(f64::from(marker as i8)),
        0x80..=0x8f => return Ok(Some(open(lua, true, u64::from(marker & 15)))),
        0x90..=0x9f => return Ok(Some(open(lua, false, u64::from(marker & 15)))),
        0xa0..=0xbf => lua.push_bytes(input.take(usize::from(marker & 31))?),
        0xc0 => lua.push_nil(),
        0xc2 | 0xc3 => lua.push_bool(marker == 0xc3),
        0xd9..=0xdb => push_text(lua, input, 1 << (marker - 0xd9))?,
        0xca => lua.push_number(f64::from(f32::from_be_bytes(input.fixed()?))),
        0xcb => lua.push_number(f64::from_be_bytes(input.fixed()?)),
        // As C's `long`, also of eight bytes.
        0xcc..=0xcf => lua.push_number(input.number(1 << (marker - 0xcc))? as i64 as f64),
        0xd0..=0xd3 => {
            let len = 1 << (marker - 0xd0);
            let unused = 64 - 8 * len as u32;
            lua.push_number(((input.number(len)? << unused) as i64 >> unused) as f64);
        }
        0xdc | 0xdd => {
            let count = input.number(2 << (marker - 0xdc))?;
            return Ok(Some(open(lua, false, count)));
        }
        0xde | 0xdf => {
            let count = input.number(2 << (marker - 0xde))?;
            return Ok(Some(open(lua, true, count)));
        }
        _ => return Err(Broken::Format),
    }
    Ok(None)
}

fn push_text(lua: Lua, input: &mut Input<'_>, len_bytes: usize) -> Result<(), Broken> {
    let len = input.number(len_bytes)? as usize;
    lua.push_bytes(input.take(len)?);
    Ok(())
}

fn open(lua: Lua, is_map: bool, count: u64) -> Level {
    lua.new_table(0, 0);
    Level { is_map, left: if is_map { 2 * count } else { count }, done: 0 }
}

const TOO_MANY: &std::ffi::CStr = c"too many return values at once; use unpack_one or unpack_limit instead.";
