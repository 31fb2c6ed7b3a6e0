//! The table `struct`: packs and unpacks values as C lays out structures, by a format string.

use std::ffi::{c_int, c_void};

use crate::from_lua::to_integer;
use crate::lua::{Lua, NativeFunction, STRING, State, up_to_zero};
use crate::machine::{Shared, push_function, shared};

pub(crate) fn push_table(lua: Lua, machine: *mut c_void) {
    lua.new_table(0, FUNCTIONS.len());
    let table = lua.top();
    for (name, function) in FUNCTIONS {
        push_function(lua, machine, *function);
        lua.raw_set_field(table, name);
    }
}

const FUNCTIONS: &[(&str, NativeFunction)] = &[("pack", pack), ("unpack", unpack), ("size", size)];

/// Reads a format, item by item.
struct Format<'a> {
    text: &'a [u8],
    at: usize,
    big_endian: bool,
    align: usize,
    /// Letters that mean nothing are no error: so `struct.size` takes it.
    passes_unknown: bool,
    /// Bytes of the data that are unpacked: even an item without any has to lie within them.
    data_len: usize,
}

/// One item of a format.
struct Item {
    code: u8,
    /// Bytes it takes; 0 where its value says so.
    len: usize,
    /// Zero bytes before it.
    padding: usize,
}

impl<'a> Format<'a> {
    fn new(text: &'a [u8]) -> Format<'a> {
        Format {
            text: up_to_zero(text),
            at: 0,
            big_endian: false,
            align: 1,
            passes_unknown: false,
            data_len: usize::MAX,
        }
    }

    /// The next item that stands for bytes, if it is to begin at `position`.
    fn next(&mut self, lua: Lua, position: usize) -> Option<Item> {
        while let Some(&code) = self.text.get(self.at) {
            self.at += 1;
            let len = match code {
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'f' => 4,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'i' | b'I' => self.integer_len(lua),
                b'c' => self.number(lua, 1),
                b's' => 0,
                _ => {
                    need(lua, self.data_len, position, 0);
                    self.control(lua, code);
                    continue;
                }
            };
            return Some(Item { code, len, padding: self.padding(position, code, len) });
        }
        None
    }

    fn integer_len(&mut self, lua: Lua) -> usize {
        let len = self.number(lua, 4);
        if len > INTEGER_LEN_MAX {
            shared(lua)
                .fail(lua, format_args!("integral size {len} is larger than limit of {INTEGER_LEN_MAX}"));
        }
        len
    }

    fn control(&mut self, lua: Lua, code: u8) {
        match code {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let align = self.number(lua, ALIGN_DEFAULT);
                if !align.is_power_of_two() {
                    shared(lua).fail(lua, format_args!("alignment {align} is not a power of 2"));
                }
                self.align = align;
            }
            _ if self.passes_unknown => {}
            _ => {
                let option = code as char;
                shared(lua).fail_argument(lua, 1, format_args!("invalid format option '{option}'"));
            }
        }
    }

    /// The digits that follow, or the default.
    fn number(&mut self, lua: Lua, default: usize) -> usize {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return default;
        }
        let text = &self.text[self.at..self.at + digits];
        self.at += digits;
        match base::num::parse_u64_lenient(text) {
            Some(number) if number <= i32::MAX as u64 => number as usize,
            _ => lua.fail(c"integral size overflow"),
        }
    }

    fn padding(&self, position: usize, code: u8, len: usize) -> usize {
        if len == 0 || code == b'c' {
            return 0;
        }
        let len = len.min(self.align);
        len.wrapping_sub(position & (len.wrapping_sub(1))) & (len.wrapping_sub(1))
    }

    /// The last bytes of a big-endian number, in the order asked for.
    fn append(&self, out: &mut Vec<u8>, big_endian: &[u8]) {
        let start = out.len();
        out.extend_from_slice(big_endian);
        if !self.big_endian {
            out[start..].reverse();
        }
    }

    /// The other way.
    fn read<const LEN: usize>(&self, bytes: &[u8]) -> [u8; LEN] {
        let mut read: [u8; LEN] = bytes.try_into().expect("an item has its length");
        if !self.big_endian {
            read.reverse();
        }
        read
    }
}

unsafe extern "C-unwind" fn pack(state: State) -> c_int {
    let lua = Lua(state);
    let mut format = Format::new(lua.check_bytes(1));
    let machine = shared(lua);
    machine.text.clear();
    // Redis has something behind the arguments, and says so of the first that is missing.
    lua.push_nil();
    let mut argument = 2;
    while let Some(item) = format.next(lua, machine.text.len()) {
        machine.make_room(lua, item.padding + item.len + 1);
        machine.text.resize(machine.text.len() + item.padding, 0);
        if item.code != b'x' {
            pack_one(lua, machine, &format, &item, argument);
            argument += 1;
        } else {
            machine.text.push(0);
        }
    }
    machine.push_made(lua);
    1
}

fn pack_one(lua: Lua, machine: &mut Shared, format: &Format<'_>, item: &Item, argument: c_int) {
    if item.len == 0 && lua.kind(argument) == STRING {
        machine.make_room(lua, lua.len(argument) + 1);
    }
    let out = &mut machine.text;
    match item.code {
        b'f' => format.append(out, &(lua.check_number(argument) as f32).to_be_bytes()),
        b'd' => format.append(out, &lua.check_number(argument).to_be_bytes()),
        b'c' | b's' => {
            let text = lua.check_bytes(argument);
            let len = if item.len == 0 { text.len() } else { item.len };
            if text.len() < len {
                lua.fail_argument(argument + 1, c"string too short");
            }
            out.extend_from_slice(&text[..len]);
            if item.code == b's' {
                out.push(0);
            }
        }
        _ => pack_integer(lua.check_number(argument), format, item.len, out),
    }
}

fn pack_integer(value: f64, format: &Format<'_>, len: usize, out: &mut Vec<u8>) {
    let bits = wrap(value);
    let mut bytes = [0; INTEGER_LEN_MAX];
    bytes[INTEGER_LEN_MAX - 8..].copy_from_slice(&bits.to_be_bytes());
    format.append(out, &bytes[INTEGER_LEN_MAX - len..]);
}

/// The low bits of a whole number; of one that has no place in 64 bits, those that C compilers leave.
fn wrap(value: f64) -> u64 {
    if value < 0.0 {
        return to_integer(value) as u64;
    }
    if value < TWO_POW_63 { value as u64 } else { to_integer(value - TWO_POW_63) as u64 ^ 1 << 63 }
}

const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;

unsafe extern "C-unwind" fn unpack(state: State) -> c_int {
    let lua = Lua(state);
    let mut format = Format::new(lua.check_bytes(1));
    let data = lua.check_bytes(2);
    format.data_len = data.len();
    let from = lua.optional_integer(3, 1);
    if from <= 0 {
        lua.fail_argument(3, c"offset must be 1 or greater");
    }
    let (mut at, mut results) = (from as usize - 1, 0);
    while let Some(item) = format.next(lua, at) {
        at += item.padding;
        need(lua, data.len(), at, item.len);
        // The value, the position after the last one, and an error's place and text.
        if !lua.has_room(4) {
            lua.fail_alone(c"too many results");
        }
        at += unpack_one(lua, &format, &item, (data, at), &mut results);
    }
    lua.push_number((at + 1) as f64);
    results + 1
}

/// Pushes the value at a place; how many bytes it took.
fn unpack_one(
    lua: Lua,
    format: &Format<'_>,
    item: &Item,
    (data, at): (&[u8], usize),
    results: &mut c_int,
) -> usize {
    let bytes = &data[at..at + item.len];
    *results += 1;
    match item.code {
        b'x' => *results -= 1,
        b'f' => lua.push_number(f64::from(f32::from_be_bytes(format.read(bytes)))),
        b'd' => lua.push_number(f64::from_be_bytes(format.read(bytes))),
        b'c' if item.len == 0 => {
            if *results == 1 || !lua.is_number(-1) {
                lua.fail(c"format 'c0' needs a previous size");
            }
            let len = lua.number(-1);
            let len = if (0.0..data.len() as f64 + 1.0).contains(&len) { len as usize } else { usize::MAX };
            need(lua, data.len(), at, len);
            lua.pop(1);
            *results -= 1;
            lua.push_bytes(&data[at..at + len]);
            return len;
        }
        b'c' => lua.push_bytes(bytes),
        b's' => {
            let Some(len) = data[at..].iter().position(|&byte| byte == 0) else {
                lua.fail(c"unfinished string in data")
            };
            lua.push_bytes(&data[at..at + len]);
            return len + 1;
        }
        code => lua.push_number(unpack_integer(format, bytes, code.is_ascii_lowercase())),
    }
    item.len
}

/// Of more than eight bytes, the lowest ones count.
fn unpack_integer(format: &Format<'_>, bytes: &[u8], signed: bool) -> f64 {
    let fold = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
    let bits = match format.big_endian {
        true => bytes.iter().fold(0, fold),
        false => bytes.iter().rev().fold(0, fold),
    };
    let unused = 64 - 8 * bytes.len().min(8) as u32;
    match signed {
        true if unused < 64 => ((bits << unused) as i64 >> unused) as f64,
        _ => bits as f64,
    }
}

fn need(lua: Lua, data_len: usize, at: usize, len: usize) {
    if len > data_len || at > data_len - len {
        lua.fail_argument(2, c"data string too short");
    }
}

unsafe extern "C-unwind" fn size(state: State) -> c_int {
    let lua = Lua(state);
    let mut format = Format::new(lua.check_bytes(1));
    format.passes_unknown = true;
    let mut at = 0;
    while let Some(item) = format.next(lua, at) {
        match item.code {
            b's' => lua.fail_argument(1, c"option 's' has no fixed size"),
            b'c' if item.len == 0 => lua.fail_argument(1, c"option 'c0' has no fixed size"),
            _ => at += item.padding + item.len,
        }
    }
    lua.push_number(at as f64);
    1
}

const INTEGER_LEN_MAX: usize = 32;
/// What `!` alone means: the strictest alignment of C's types.
const ALIGN_DEFAULT: usize = 8;
