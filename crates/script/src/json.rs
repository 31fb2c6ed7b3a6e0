//! The table `cjson`: texts of JSON from Lua values and back, with the settings that Redis' scripts know.
//! Neither way recurses.

use std::ffi::{CStr, c_int, c_void};

use crate::lua::{BOOLEAN, Lua, NIL, NUMBER, NativeFunction, POINTER, STRING, State, TABLE, upvalue};
use crate::machine::{Shared, shared};

mod decode;
mod number;

pub(crate) use decode::Open;

/// Pushes the table whose settings are the machine's.
pub(crate) fn push_table(lua: Lua, machine: *mut c_void) {
    lua.push_pointer(std::ptr::null_mut());
    push_table_for_settings(lua, machine);
}

/// Pushes a table of functions in place of a pointer to their settings.
fn push_table_for_settings(lua: Lua, machine: *mut c_void) {
    let settings = lua.top();
    lua.new_table(0, FUNCTIONS.len() + 3);
    let table = lua.top();
    for (name, function) in FUNCTIONS {
        lua.push_pointer(machine);
        lua.push_value(settings);
        lua.push_native(*function, 2);
        lua.raw_set_field(table, name);
    }
    for (name, text) in [("_NAME", "cjson"), ("_VERSION", "2.1.0")] {
        lua.push_text(text);
        lua.raw_set_field(table, name);
    }
    lua.push_pointer(std::ptr::null_mut());
    lua.raw_set_field(table, "null");
    lua.remove(settings);
}

/// The settings of a function of a table: its second own value, or else the machine's.
fn settings<'a>(lua: Lua) -> &'a mut Settings {
    let own = lua.pointer(upvalue(2)).cast::<Settings>();
    // SAFETY: `new` has filled the block, which lives as long as a function has it; as of the machine, nobody
    // keeps a reference across a call of Lua.
    unsafe { own.as_mut() }.unwrap_or_else(|| &mut shared(lua).json)
}

const FUNCTIONS: &[(&str, NativeFunction)] = &[
    ("new", new),
    ("encode", encode),
    ("decode", decode::decode),
    ("encode_sparse_array", encode_sparse_array),
    ("encode_max_depth", encode_max_depth),
    ("decode_max_depth", decode_max_depth),
    ("encode_number_precision", encode_number_precision),
    ("encode_keep_buffer", encode_keep_buffer),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("decode_invalid_numbers", decode_invalid_numbers),
];

/// What a script may set: of its own tables, and of `cjson` until it ends.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    sparse_convert: bool,
    /// 0: tables may be as sparse as they like.
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: i64,
    decode_depth: i64,
    precision: i64,
    keep_buffer: bool,
    encode_invalid: Invalid,
    decode_invalid: bool,
}

/// What becomes of numbers that JSON does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refused,
    Kept,
    Null,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

/// A table that is being written.
#[derive(Clone, Copy)]
pub(crate) enum Frame {
    /// On the stack: the table.
    Array { len: c_int, done: c_int },
    /// On the stack: the table, the last key.
    Object { done: usize },
}

/// A table of its own, with settings of its own.
unsafe extern "C-unwind" fn new(state: State) -> c_int {
    let lua = Lua(state);
    let own = lua.push_block(size_of::<Settings>()).cast::<Settings>();
    // SAFETY: the block is as long as settings are, and aligned for all that Lua knows: numbers of 8 bytes.
    unsafe { own.write(Settings::default()) };
    push_table_for_settings(lua, lua.pointer(upvalue(1)));
    1
}

unsafe extern "C-unwind" fn encode(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() != 1 {
        lua.fail_argument(1, c"expected 1 argument");
    }
    let own = *settings(lua);
    let machine = shared(lua);
    machine.json_in_use = own;
    machine.text.clear();
    machine.json_frames.clear();
    encode_value(lua, machine);
    while let Some(&frame) = machine.json_frames.last() {
        machine.make_room(lua, LEAF_LEN);
        match frame {
            Frame::Array { len, done } => encode_element(lua, machine, len, done),
            Frame::Object { done } => encode_pair(lua, machine, done),
        }
    }
    machine.push_made(lua);
    1
}

/// Bytes of the longest leaf but texts, with what stands around it.
const LEAF_LEN: usize = 64;

fn encode_element(lua: Lua, machine: &mut Shared, len: c_int, done: c_int) {
    if done == len {
        machine.text.push(b']');
        machine.json_frames.pop();
        return lua.pop(1);
    }
    if done > 0 {
        machine.text.push(b',');
    }
    *machine.json_frames.last_mut().expect("its frame is open") = Frame::Array { len, done: done + 1 };
    lua.raw_get_at(-1, done + 1);
    encode_value(lua, machine);
}

fn encode_pair(lua: Lua, machine: &mut Shared, done: usize) {
    if !lua.next(-2) {
        machine.text.push(b'}');
        machine.json_frames.pop();
        return lua.pop(1);
    }
    if done > 0 {
        machine.text.push(b',');
    }
    *machine.json_frames.last_mut().expect("its frame is open") = Frame::Object { done: done + 1 };
    match lua.kind(-2) {
        NUMBER => {
            machine.text.push(b'"');
            encode_number(lua, machine, -2);
            machine.text.push(b'"');
        }
        STRING => encode_text(lua, machine, lua.bytes(-2).unwrap_or_default()),
        _ => refuse(lua, -2, c"table key must be a number or string"),
    }
    machine.text.push(b':');
    encode_value(lua, machine);
}

/// Writes the leaf on top and takes it, or opens the table there.
fn encode_value(lua: Lua, machine: &mut Shared) {
    match lua.kind(-1) {
        STRING => encode_text(lua, machine, lua.bytes(-1).unwrap_or_default()),
        NUMBER => encode_number(lua, machine, -1),
        BOOLEAN => machine.text.extend_from_slice(if lua.boolean(-1) { b"true" } else { b"false" }),
        NIL => machine.text.extend_from_slice(b"null"),
        POINTER if lua.pointer(-1).is_null() => machine.text.extend_from_slice(b"null"),
        TABLE => return open_table(lua, machine),
        _ => refuse(lua, -1, c"type not supported"),
    }
    lua.pop(1);
}

fn open_table(lua: Lua, machine: &mut Shared) {
    let depth = machine.json_frames.len() as i64 + 1;
    if depth > machine.json_in_use.encode_depth || !lua.has_room(6) {
        machine.fail(lua, format_args!("Cannot serialise, excessive nesting ({depth})"));
    }
    match array_len(lua, &machine.json_in_use) {
        Some(len) if len > 0 => {
            machine.text.push(b'[');
            machine.json_frames.push(Frame::Array { len, done: 0 });
        }
        _ => {
            machine.text.push(b'{');
            machine.json_frames.push(Frame::Object { done: 0 });
            lua.push_nil();
        }
    }
}

/// The greatest index of the table on top, if it is to be an array.
fn array_len(lua: Lua, settings: &Settings) -> Option<c_int> {
    let (count, len) = lua.indexes()?;
    let is_sparse = settings.sparse_ratio > 0
        && i64::from(len) > count.saturating_mul(settings.sparse_ratio)
        && i64::from(len) > settings.sparse_safe;
    if is_sparse && !settings.sparse_convert {
        refuse(lua, -1, c"excessively sparse array");
    }
    (!is_sparse).then_some(len)
}

fn encode_text(lua: Lua, machine: &mut Shared, text: &[u8]) {
    machine.text.push(b'"');
    for chunk in text.chunks(CHUNK_LEN) {
        machine.make_room(lua, ESCAPE_LEN * chunk.len() + LEAF_LEN);
        encode_chunk(&mut machine.text, chunk);
    }
    machine.text.push(b'"');
}

/// Bytes of a text that are written at once.
const CHUNK_LEN: usize = 4096;
/// Bytes that stand for one byte at most.
const ESCAPE_LEN: usize = 6;

fn encode_chunk(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        let short = match byte {
            b'"' | b'\\' | b'/' => byte,
            8 => b'b',
            9 => b't',
            10 => b'n',
            12 => b'f',
            13 => b'r',
            ..32 | 127 => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
}

fn encode_number(lua: Lua, machine: &mut Shared, place: c_int) {
    let value = lua.number(place);
    if value.is_finite() {
        return number::write(&mut machine.text, value, machine.json_in_use.precision as usize);
    }
    match machine.json_in_use.encode_invalid {
        Invalid::Refused => refuse(lua, place, c"must not be NaN or Inf"),
        Invalid::Null => machine.text.extend_from_slice(b"null"),
        Invalid::Kept if value.is_nan() => machine.text.extend_from_slice(b"nan"),
        Invalid::Kept if value > 0.0 => machine.text.extend_from_slice(b"inf"),
        Invalid::Kept => machine.text.extend_from_slice(b"-inf"),
    }
}

/// Raises `Cannot serialise table: ...`.
fn refuse(lua: Lua, place: c_int, reason: &CStr) -> ! {
    let kind = lua.kind_name(place);
    lua.push_place(1);
    lua.push_text("Cannot serialise ");
    lua.push_bytes(kind.to_bytes());
    lua.push_text(": ");
    lua.push_bytes(reason.to_bytes());
    lua.concat(5);
    lua.raise()
}

/// Leaves the arguments of a setting: so many, nil where they are missing.
fn take_arguments(lua: Lua, count: c_int) {
    if lua.top() > count {
        lua.fail_argument(count + 1, c"found too many arguments");
    }
    lua.set_top(count);
}

/// Pushes a setting that is an integer, with what an argument makes of it.
fn set_integer(lua: Lua, index: c_int, setting: Setting<i64>, (least, most): (i64, i64)) {
    if lua.kind(index) > NIL {
        let value = lua.check_integer(index);
        if !(least..=most).contains(&value) {
            let reason = format_args!("expected integer between {least} and {most}");
            shared(lua).fail_argument(lua, index, reason);
        }
        *setting(settings(lua)) = value;
    }
    lua.push_number(*setting(settings(lua)) as f64);
}

/// One of the settings.
type Setting<T> = fn(&mut Settings) -> &mut T;

/// The same for a boolean, or `off` and `on` in words.
fn set_bool(lua: Lua, index: c_int, setting: Setting<bool>) {
    match lua.kind(index) {
        ..=NIL => {}
        BOOLEAN => *setting(settings(lua)) = lua.boolean(index),
        _ => match lua.check_bytes(index) {
            b"on" => *setting(settings(lua)) = true,
            b"off" => *setting(settings(lua)) = false,
            option => fail_option(lua, index, option),
        },
    }
    lua.push_bool(*setting(settings(lua)));
}

fn fail_option(lua: Lua, index: c_int, option: &[u8]) -> ! {
    shared(lua).fail_argument(
        lua,
        index,
        format_args!("invalid option '{}'", option[..option.len().min(SHOWN)].escape_ascii()),
    )
}

/// Bytes of a wrong word that its error shows.
const SHOWN: usize = 100;

/// As C's greatest int.
const INT_MAX: i64 = i32::MAX as i64;

unsafe extern "C-unwind" fn encode_sparse_array(state: State) -> c_int {
    let lua = Lua(state);
    take_arguments(lua, 3);
    set_bool(lua, 1, |settings| &mut settings.sparse_convert);
    set_integer(lua, 2, |settings| &mut settings.sparse_ratio, (0, INT_MAX));
    set_integer(lua, 3, |settings| &mut settings.sparse_safe, (0, INT_MAX));
    3
}

unsafe extern "C-unwind" fn encode_max_depth(state: State) -> c_int {
    let lua = Lua(state);
    take_arguments(lua, 1);
    set_integer(lua, 1, |settings| &mut settings.encode_depth, (1, INT_MAX));
    1
}

unsafe extern "C-unwind" fn decode_max_depth(state: State) -> c_int {
    let lua = Lua(state);
    take_arguments(lua, 1);
    set_integer(lua, 1, |settings| &mut settings.decode_depth, (1, INT_MAX));
    1
}

unsafe extern "C-unwind" fn encode_number_precision(state: State) -> c_int {
    let lua = Lua(state);
    take_arguments(lua, 1);
    set_integer(lua, 1, |settings| &mut settings.precision, (1, 14));
    1
}

/// The buffer is always kept while a script runs; the setting is only remembered.
unsafe extern "C-unwind" fn encode_keep_buffer(state: State) -> c_int {
    let lua = Lua(state);
    take_arguments(lua, 1);
    set_bool(lua, 1, |settings| &mut settings.keep_buffer);
    1
}

unsafe extern "C-unwind" fn encode_invalid_numbers(state: State) -> c_int {
    let lua = Lua(state);
    take_arguments(lua, 1);
    let setting = &mut settings(lua).encode_invalid;
    match lua.kind(1) {
        ..=NIL => {}
        BOOLEAN => *setting = if lua.boolean(1) { Invalid::Kept } else { Invalid::Refused },
        _ => match lua.check_bytes(1) {
            b"on" => *setting = Invalid::Kept,
            b"off" => *setting = Invalid::Refused,
            b"null" => *setting = Invalid::Null,
            option => fail_option(lua, 1, option),
        },
    }
    match settings(lua).encode_invalid {
        Invalid::Null => lua.push_text("null"),
        other => lua.push_bool(other == Invalid::Kept),
    }
    1
}

unsafe extern "C-unwind" fn decode_invalid_numbers(state: State) -> c_int {
    let lua = Lua(state);
    take_arguments(lua, 1);
    set_bool(lua, 1, |settings| &mut settings.decode_invalid);
    1
}
