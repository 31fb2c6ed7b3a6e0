//! What a script returns, as a reply. Tables are walked without recursion: they nest as deep as the script
//! likes.

use resp::reply::{Mark, Reply};

use crate::lua::{BOOLEAN, Lua, NIL, NUMBER, STRING, TABLE, up_to_zero};

/// How replies are written.
pub(crate) struct Shape<'a> {
    /// The script asked for RESP3: its booleans are booleans.
    pub(crate) resp3: bool,
    /// Bytes that a reply may have.
    pub(crate) len_max: usize,
    /// Told of each error, and whether somebody has counted it.
    pub(crate) count_error: &'a mut dyn FnMut(&[u8], bool),
}

/// An aggregate that is being written.
pub(crate) struct Frame {
    kind: Kind,
    mark: Mark,
    count: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// On the stack: the table.
    Array,
    /// On the stack: the table, the key that was written last.
    Set,
    MapKey,
    /// The same, and the value that comes next.
    MapValue,
}

/// Writes the value on top and takes it; false: it is too long. `frames` is the caller's, because errors
/// leave without a word.
pub(crate) fn write_reply(
    lua: Lua,
    reply: &mut Reply,
    frames: &mut Vec<Frame>,
    shape: &mut Shape<'_>,
) -> bool {
    frames.clear();
    let start = reply.len();
    write_value(lua, reply, frames, shape);
    while let Some(frame) = frames.last_mut() {
        if reply.len() - start > shape.len_max {
            return false;
        }
        if advance(lua, frame) {
            write_value(lua, reply, frames, shape);
            continue;
        }
        lua.pop(1);
        let Frame { kind, mark, count } = frames.pop().expect("a frame was just looked at");
        match kind {
            Kind::Array => reply.close_array(mark, count),
            Kind::Set => reply.close_set(mark, count),
            Kind::MapKey | Kind::MapValue => reply.close_map(mark, count),
        }
    }
    true
}

/// Pushes what the aggregate writes next; false at its end, with its table on top.
fn advance(lua: Lua, frame: &mut Frame) -> bool {
    match frame.kind {
        Kind::Array => {
            lua.raw_get_at(-1, frame.count as i32 + 1);
            if lua.kind(-1) == NIL {
                lua.pop(1);
                return false;
            }
        }
        Kind::MapValue => {
            frame.kind = Kind::MapKey;
            return true;
        }
        Kind::Set => {
            if !lua.next(-2) {
                return false;
            }
            lua.pop(1);
            lua.push_value(-1);
        }
        Kind::MapKey => {
            if !lua.next(-2) {
                return false;
            }
            lua.push_value(-2);
            frame.kind = Kind::MapValue;
        }
    }
    frame.count += 1;
    true
}

/// Writes a leaf and takes it, or opens an aggregate.
fn write_value(lua: Lua, reply: &mut Reply, frames: &mut Vec<Frame>, shape: &mut Shape<'_>) {
    if !lua.has_room(5) {
        reply.error("ERR reached lua stack limit");
        return lua.pop(1);
    }
    match lua.kind(-1) {
        STRING => reply.bulk(lua.bytes(-1).unwrap_or_default()),
        NUMBER => reply.integer(to_integer(lua.number(-1))),
        BOOLEAN if shape.resp3 => reply.bool(lua.boolean(-1)),
        BOOLEAN if lua.boolean(-1) => reply.integer(1),
        TABLE => return write_table(lua, reply, frames, shape),
        _ => reply.null(),
    }
    lua.pop(1);
}

fn write_table(lua: Lua, reply: &mut Reply, frames: &mut Vec<Frame>, shape: &mut Shape<'_>) {
    let table = lua.top();
    if write_error(lua, reply, shape) {
        return lua.set_top(table - 1);
    }
    for (name, kind, write) in LEAVES {
        lua.raw_get_field(table, name);
        if lua.kind(-1) == *kind && write(lua, reply) {
            return lua.set_top(table - 1);
        }
        lua.set_top(table);
    }
    for (name, kind) in [("map", Kind::MapKey), ("set", Kind::Set)] {
        lua.raw_get_field(table, name);
        if lua.kind(-1) == TABLE {
            lua.remove(table);
            lua.push_nil();
            return frames.push(Frame { kind, mark: reply.defer(), count: 0 });
        }
        lua.set_top(table);
    }
    frames.push(Frame { kind: Kind::Array, mark: reply.defer(), count: 0 });
}

/// Writes the table on top if it is an error; it stays there.
fn write_error(lua: Lua, reply: &mut Reply, shape: &mut Shape<'_>) -> bool {
    let table = lua.top();
    lua.raw_get_field(table, "err");
    let is_error = lua.kind(-1) == STRING;
    if is_error {
        let text = up_to_zero(lua.bytes(-1).unwrap_or_default());
        reply.error(text);
        lua.raw_get_field(table, COUNTED);
        (shape.count_error)(text, lua.boolean(-1));
    }
    lua.set_top(table);
    is_error
}

/// The field that says of an error that statistics know it.
pub(crate) const COUNTED: &str = "ignore_error_stats_update";

/// Writes the field on top; false if it is not of the form it should have.
type WriteLeaf = fn(Lua, &mut Reply) -> bool;

/// Fields that make a table a reply of another kind, in the order in which they are looked for.
const LEAVES: &[(&str, i32, WriteLeaf)] = &[
    ("ok", STRING, |lua, reply| {
        reply.raw(b"+");
        write_line(reply, up_to_zero(lua.bytes(-1).unwrap_or_default()));
        true
    }),
    ("double", NUMBER, |lua, reply| {
        reply.double(lua.number(-1));
        true
    }),
    ("big_number", STRING, |lua, reply| {
        reply.big_number(
            &String::from_utf8_lossy(lua.bytes(-1).unwrap_or_default()).replace(['\r', '\n'], " "),
        );
        true
    }),
    ("verbatim_string", TABLE, write_verbatim),
];

fn write_verbatim(lua: Lua, reply: &mut Reply) -> bool {
    let table = lua.top();
    lua.raw_get_field(table, "format");
    lua.raw_get_field(table, "string");
    if lua.kind(-1) != STRING || lua.kind(-2) != STRING {
        return false;
    }
    let mut format = [b' '; 3];
    let given = lua.bytes(-2).unwrap_or_default();
    let len = given.len().min(3);
    format[..len].copy_from_slice(&given[..len]);
    reply.verbatim(std::str::from_utf8(&format).unwrap_or("txt"), lua.bytes(-1).unwrap_or_default());
    true
}

/// A text that may hold line ends, as one line.
fn write_line(reply: &mut Reply, text: &[u8]) {
    let as_space = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
    reply.buf.extend(text.iter().map(as_space));
    reply.raw(b"\r\n");
}

/// As a C compiler converts a double: what is out of range becomes the least integer.
pub(crate) fn to_integer(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}
