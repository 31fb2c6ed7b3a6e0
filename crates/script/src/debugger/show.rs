//! Values of Lua and replies of commands, as the debugger shows them: on one line.

use base::bytes::escape;
use base::num::write_f64_shortest;

use crate::lua::{BOOLEAN, FUNCTION, Lua, NIL, NUMBER, STRING, TABLE};
use crate::to_lua::{integer, split_line};

/// A table that is being shown.
pub(crate) struct Frame {
    is_array: bool,
    is_begun: bool,
}

/// Adds the value on top, which stays there; what is beyond `len_max` may be left out. The caller has made
/// room on the stack.
pub(crate) fn value(lua: Lua, out: &mut Vec<u8>, frames: &mut Vec<Frame>, len_max: usize) {
    frames.clear();
    lua.push_value(-1);
    begin(lua, out, frames, len_max);
    while let Some(frame) = frames.last_mut() {
        // On the stack: the table, and the key that was shown last.
        let is_cut = out.len() > len_max;
        if is_cut || !lua.next(-2) {
            lua.pop(if is_cut { 2 } else { 1 });
            out.push(b'}');
            frames.pop();
            continue;
        }
        if std::mem::replace(&mut frame.is_begun, true) {
            out.extend_from_slice(b"; ");
        }
        if !frame.is_array {
            out.push(b'[');
            lua.push_value(-2);
            scalar(lua, out, len_max);
            lua.pop(1);
            out.extend_from_slice(b"]=");
        }
        begin(lua, out, frames, len_max);
    }
}

/// Takes the value on top: adds it, or begins a table.
fn begin(lua: Lua, out: &mut Vec<u8>, frames: &mut Vec<Frame>, len_max: usize) {
    if lua.kind(-1) != TABLE {
        scalar(lua, out, len_max);
        return lua.pop(1);
    }
    if frames.len() == DEPTH_MAX {
        out.extend_from_slice(b"<max recursion level reached! Nested table?>");
        return lua.pop(1);
    }
    let is_array = lua.indexes().is_some_and(|(count, greatest)| count == i64::from(greatest));
    out.push(b'{');
    frames.push(Frame { is_array, is_begun: false });
    lua.push_nil();
}

/// Adds the value on top, which is no table or stands for one.
fn scalar(lua: Lua, out: &mut Vec<u8>, len_max: usize) {
    match lua.kind(-1) {
        STRING => text(lua.bytes(-1).unwrap_or_default(), out, len_max),
        NUMBER => write_f64_shortest(out, lua.number(-1)),
        BOOLEAN => out.extend_from_slice(if lua.boolean(-1) { b"true" } else { b"false" }),
        NIL => out.extend_from_slice(b"nil"),
        FUNCTION => out.extend_from_slice(b"\"function\""),
        _ => out.extend_from_slice(&[b"\"", lua.kind_name(-1).to_bytes(), b"\""].concat()),
    }
}

/// Adds bytes as they are, cut where `out` becomes longer than `len_max`.
pub(crate) fn cut(bytes: &[u8], out: &mut Vec<u8>, len_max: usize) {
    let room = len_max.saturating_sub(out.len());
    out.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// The same, quoted: some bytes more, by which one sees that it was cut.
fn text(bytes: &[u8], out: &mut Vec<u8>, len_max: usize) {
    let room = len_max.saturating_sub(out.len()) + 1;
    out.extend_from_slice(escape(&bytes[..bytes.len().min(room)]).as_bytes());
}

/// Adds the reply that `bytes` begin with; returns what follows it. What is beyond `len_max` may be left out.
/// Nesting is that of our own commands' replies, so it may recurse.
pub(crate) fn reply<'a>(bytes: &'a [u8], out: &mut Vec<u8>, len_max: usize) -> &'a [u8] {
    // Behind what was cut nothing is left.
    let Some((&marker, rest)) = bytes.split_first() else { return bytes };
    let (line, rest) = split_line(rest);
    match marker {
        b'$' | b'*' if line[0] == b'-' => out.extend_from_slice(b"NULL"),
        b'$' | b'=' => {
            let len = integer(line) as usize;
            text(&rest[..len], out, len_max);
            return &rest[len + 2..];
        }
        b'+' | b'-' => text(&bytes[..line.len() + 1], out, len_max),
        b'*' | b'>' => return list(rest, integer(line), (b"[", b"]"), out, len_max),
        b'~' => return list(rest, integer(line), (b"~(", b")"), out, len_max),
        b'%' => return map(rest, integer(line), out, len_max),
        b'_' => out.extend_from_slice(b"(null)"),
        b'#' => out.extend_from_slice(if line == b"t" { b"#true" } else { b"#false" }),
        b',' => {
            out.extend_from_slice(b"(double) ");
            out.extend_from_slice(line);
        }
        _ => out.extend_from_slice(line),
    }
    rest
}

fn list<'a>(
    mut rest: &'a [u8],
    count: i64,
    (begin, end): (&[u8], &[u8]),
    out: &mut Vec<u8>,
    len_max: usize,
) -> &'a [u8] {
    out.extend_from_slice(begin);
    for index in 0..count {
        if out.len() > len_max {
            return &[];
        }
        if index > 0 {
            out.push(b',');
        }
        rest = reply(rest, out, len_max);
    }
    out.extend_from_slice(end);
    rest
}

fn map<'a>(mut rest: &'a [u8], count: i64, out: &mut Vec<u8>, len_max: usize) -> &'a [u8] {
    out.push(b'{');
    for index in 0..count {
        if out.len() > len_max {
            return &[];
        }
        if index > 0 {
            out.push(b',');
        }
        rest = reply(rest, out, len_max);
        out.extend_from_slice(b" => ");
        rest = reply(rest, out, len_max);
    }
    out.push(b'}');
    rest
}

/// Tables in each other that are shown.
const DEPTH_MAX: usize = 10;
