//! Replies as Lua values: RESP2 and RESP3, whole and in one piece, as a command has just written them.

use crate::from_lua::COUNTED;
use crate::lua::Lua;

/// Whether arrays may have nil among their elements, as in RESP3. How long Lua finds such a table depends on
/// how it grew: element by element, as scripts know it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    None,
    Some,
}

/// Pushes the reply that `bytes` begin with; returns what follows it. Nesting is that of our own commands'
/// replies, so it may recurse.
pub(crate) fn push_reply(lua: Lua, bytes: &[u8], gaps: Gaps) -> &[u8] {
    let (&marker, rest) = bytes.split_first().expect("a command that ran has written a reply");
    if !lua.has_room(6) {
        lua.fail(c"reached lua stack limit");
    }
    let (line, rest) = split_line(rest);
    match marker {
        b':' => lua.push_number(integer(line) as f64),
        b'$' if line[0] == b'-' => lua.push_bool(false),
        b'$' => return push_bulk(lua, integer(line) as usize, rest),
        b'+' => push_field(lua, "ok", line),
        b'-' => push_error(lua, line),
        b'*' if line[0] == b'-' => lua.push_bool(false),
        b'*' | b'>' => return push_array(lua, integer(line) as usize, rest, gaps),
        b'%' => return push_map(lua, integer(line) as usize, rest, gaps),
        b'~' => return push_set(lua, integer(line) as usize, rest, gaps),
        b'_' => lua.push_nil(),
        b'#' => lua.push_bool(line == b"t"),
        b',' => push_double(lua, line),
        b'(' => push_field(lua, "big_number", line),
        b'=' => return push_verbatim(lua, integer(line) as usize, rest),
        b'|' => return push_reply(lua, skip(rest, 2 * integer(line) as usize), gaps),
        _ => unreachable!("commands write RESP"),
    }
    rest
}

/// A table with an `err` field; what `redis.call` raises.
pub(crate) fn push_error(lua: Lua, text: &[u8]) {
    push_field(lua, "err", text);
    // The pipeline has counted it.
    lua.push_bool(true);
    lua.raw_set_field(lua.top() - 1, COUNTED);
}

pub(crate) fn push_field(lua: Lua, name: &str, value: &[u8]) {
    lua.new_table(0, 1);
    lua.push_text(name);
    lua.push_bytes(value);
    lua.raw_set(-3);
}

fn push_bulk(lua: Lua, len: usize, rest: &[u8]) -> &[u8] {
    lua.push_bytes(&rest[..len]);
    &rest[len + 2..]
}

fn push_array(lua: Lua, count: usize, mut rest: &[u8], gaps: Gaps) -> &[u8] {
    lua.new_table(if gaps == Gaps::None { count } else { 0 }, 0);
    for index in 1..=count {
        rest = push_reply(lua, rest, gaps);
        lua.raw_set_at(-2, index as i32);
    }
    rest
}

fn push_map(lua: Lua, pairs: usize, mut rest: &[u8], gaps: Gaps) -> &[u8] {
    lua.new_table(0, 1);
    lua.push_text("map");
    lua.new_table(0, pairs);
    for _ in 0..pairs {
        rest = push_reply(lua, rest, gaps);
        rest = push_reply(lua, rest, gaps);
        lua.raw_set(-3);
    }
    lua.raw_set(-3);
    rest
}

fn push_set(lua: Lua, count: usize, mut rest: &[u8], gaps: Gaps) -> &[u8] {
    lua.new_table(0, 1);
    lua.push_text("set");
    lua.new_table(0, count);
    for _ in 0..count {
        rest = push_reply(lua, rest, gaps);
        lua.push_bool(true);
        lua.raw_set(-3);
    }
    lua.raw_set(-3);
    rest
}

fn push_double(lua: Lua, line: &[u8]) {
    let text = std::str::from_utf8(line).unwrap_or_default();
    lua.new_table(0, 1);
    lua.push_text("double");
    lua.push_number(text.parse().unwrap_or(f64::NAN));
    lua.raw_set(-3);
}

fn push_verbatim(lua: Lua, len: usize, rest: &[u8]) -> &[u8] {
    let (format, text) = (&rest[..3], &rest[4..len]);
    lua.new_table(0, 1);
    lua.push_text("verbatim_string");
    lua.new_table(0, 2);
    lua.push_text("string");
    lua.push_bytes(text);
    lua.raw_set(-3);
    lua.push_text("format");
    lua.push_bytes(format);
    lua.raw_set(-3);
    lua.raw_set(-3);
    &rest[len + 2..]
}

/// Passes over `count` replies.
fn skip(mut rest: &[u8], mut count: usize) -> &[u8] {
    while count > 0 {
        count -= 1;
        let (line, after) = split_line(&rest[1..]);
        let number = integer(line).max(0) as usize;
        match rest[0] {
            b'$' | b'=' if line[0] != b'-' => rest = &after[number + 2..],
            b'*' | b'~' | b'>' => (rest, count) = (after, count + number),
            b'%' | b'|' => (rest, count) = (after, count + 2 * number),
            _ => rest = after,
        }
    }
    rest
}

#[inline]
pub(crate) fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\r').expect("lines of a reply end");
    (&bytes[..end], &bytes[end + 2..])
}

#[inline]
pub(crate) fn integer(line: &[u8]) -> i64 {
    match line {
        [digit @ b'0'..=b'9'] => i64::from(digit - b'0'),
        _ => base::num::parse_i64(line).unwrap_or(0),
    }
}
