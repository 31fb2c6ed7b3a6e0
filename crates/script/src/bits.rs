//! The table `bit`: operations on 32-bit integers, as the Bit Operations Library defines them.

use std::ffi::{c_int, c_void};

use crate::lua::{Lua, NativeFunction, State};

pub(crate) fn push_table(lua: Lua, _: *mut c_void) {
    lua.new_table(0, FUNCTIONS.len());
    let table = lua.top();
    for (name, function) in FUNCTIONS {
        lua.push_native(*function, 0);
        lua.raw_set_field(table, name);
    }
}

const FUNCTIONS: &[(&str, NativeFunction)] = &[
    ("tobit", tobit),
    ("bnot", bnot),
    ("band", band),
    ("bor", bor),
    ("bxor", bxor),
    ("lshift", lshift),
    ("rshift", rshift),
    ("arshift", arshift),
    ("rol", rol),
    ("ror", ror),
    ("bswap", bswap),
    ("tohex", tohex),
];

/// An argument's low 32 bits; a fraction is rounded to the nearest even integer.
fn argument(lua: Lua, index: c_int) -> u32 {
    // The sum's lowest bit stands for 1: what is too large for that loses bits, as with Redis.
    (lua.check_number(index) + LOW_BITS).to_bits() as u32
}

/// 2^52 + 2^51.
const LOW_BITS: f64 = 6_755_399_441_055_744.0;

fn push(lua: Lua, bits: u32) -> c_int {
    lua.push_number(f64::from(bits as i32));
    1
}

fn fold(state: State, combine: fn(u32, u32) -> u32) -> c_int {
    let lua = Lua(state);
    let mut bits = argument(lua, 1);
    for index in 2..=lua.top() {
        bits = combine(bits, argument(lua, index));
    }
    push(lua, bits)
}

fn shift(state: State, by: fn(u32, u32) -> u32) -> c_int {
    let lua = Lua(state);
    push(lua, by(argument(lua, 1), argument(lua, 2) & 31))
}

unsafe extern "C-unwind" fn tobit(state: State) -> c_int {
    let lua = Lua(state);
    push(lua, argument(lua, 1))
}

unsafe extern "C-unwind" fn bnot(state: State) -> c_int {
    let lua = Lua(state);
    push(lua, !argument(lua, 1))
}

unsafe extern "C-unwind" fn band(state: State) -> c_int {
    fold(state, |bits, other| bits & other)
}

unsafe extern "C-unwind" fn bor(state: State) -> c_int {
    fold(state, |bits, other| bits | other)
}

unsafe extern "C-unwind" fn bxor(state: State) -> c_int {
    fold(state, |bits, other| bits ^ other)
}

unsafe extern "C-unwind" fn lshift(state: State) -> c_int {
    shift(state, |bits, by| bits << by)
}

unsafe extern "C-unwind" fn rshift(state: State) -> c_int {
    shift(state, |bits, by| bits >> by)
}

unsafe extern "C-unwind" fn arshift(state: State) -> c_int {
    shift(state, |bits, by| (bits as i32 >> by) as u32)
}

unsafe extern "C-unwind" fn rol(state: State) -> c_int {
    shift(state, u32::rotate_left)
}

unsafe extern "C-unwind" fn ror(state: State) -> c_int {
    shift(state, u32::rotate_right)
}

unsafe extern "C-unwind" fn bswap(state: State) -> c_int {
    let lua = Lua(state);
    push(lua, argument(lua, 1).swap_bytes())
}

/// `tohex(number, digits)`: the lowest digits; upper case where their number is negative.
unsafe extern "C-unwind" fn tohex(state: State) -> c_int {
    let lua = Lua(state);
    let bits = argument(lua, 1);
    let wanted = if lua.top() < 2 { 8 } else { argument(lua, 2) as i32 };
    let alphabet = if wanted < 0 { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let count = wanted.unsigned_abs().min(8) as usize;
    let text: [u8; 8] = std::array::from_fn(|at| alphabet[(bits >> (28 - 4 * at)) as usize & 15]);
    lua.push_bytes(&text[8 - count..]);
    1
}
