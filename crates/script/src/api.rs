//! The table `redis`, also called `server`: what scripts may ask of the server.

use std::ffi::{CStr, c_int, c_void};

use base::num::write_f64_shortest;
use resp::reply::Protocol;
use resp::request::Span;

use crate::debugger::Debugger;
use crate::lua::{Lua, NUMBER, NativeFunction, STRING, State, up_to_zero};
use crate::machine::{Shared, of_running, push_function, shared};
use crate::sandbox::stop_if_ended;
use crate::to_lua::{Gaps, push_error, push_field, push_reply};
use crate::{Words, debugger};

/// Pushes the table.
pub(crate) fn push_table(lua: Lua, machine: *mut c_void) {
    push_with(lua, machine, FUNCTIONS);
}

/// Pushes what of it is there while a library is loaded.
pub(crate) fn push_loading_table(lua: Lua, machine: *mut c_void) {
    push_with(lua, machine, &[("log", log)]);
}

fn push_with(lua: Lua, machine: *mut c_void, functions: &[(&str, NativeFunction)]) {
    lua.new_table(0, functions.len() + CONSTANTS.len() + 2);
    let table = lua.top();
    for (name, function) in functions {
        push_function(lua, machine, *function);
        lua.raw_set_field(table, name);
    }
    for (name, value) in CONSTANTS {
        lua.push_number(*value);
        lua.raw_set_field(table, name);
    }
    lua.push_text(VERSION);
    lua.raw_set_field(table, "REDIS_VERSION");
}

/// The version of Redis whose behaviour scripts see.
const VERSION: &str = "7.2.4";

const FUNCTIONS: &[(&str, NativeFunction)] = &[
    ("call", call),
    ("pcall", pcall),
    ("acl_check_cmd", acl_check_cmd),
    ("sha1hex", sha1hex),
    ("error_reply", error_reply),
    ("status_reply", status_reply),
    ("log", log),
    ("setresp", setresp),
    ("set_repl", set_repl),
    ("replicate_commands", replicate_commands),
    ("breakpoint", breakpoint),
    ("debug", debug),
];

const CONSTANTS: &[(&str, f64)] = &[
    ("LOG_DEBUG", 0.0),
    ("LOG_VERBOSE", 1.0),
    ("LOG_NOTICE", 2.0),
    ("LOG_WARNING", 3.0),
    ("REPL_NONE", REPL_NONE),
    ("REPL_AOF", REPL_AOF),
    ("REPL_SLAVE", 2.0),
    ("REPL_REPLICA", 2.0),
    ("REPL_ALL", REPL_ALL),
    ("REDIS_VERSION_NUM", 0x0007_0204 as f64),
];

const REPL_NONE: f64 = 0.0;
const REPL_AOF: f64 = 1.0;
const REPL_ALL: f64 = 3.0;

unsafe extern "C-unwind" fn call(state: State) -> c_int {
    let lua = Lua(state);
    if !run_command(lua) {
        lua.raise()
    }
    1
}

unsafe extern "C-unwind" fn pcall(state: State) -> c_int {
    run_command(Lua(state));
    1
}

/// Whether the script's client may run a command: without users of their own, every client may run all there
/// are.
unsafe extern "C-unwind" fn acl_check_cmd(state: State) -> c_int {
    let lua = Lua(state);
    let machine = shared(lua);
    if let Err(reason) = collect_words(lua, machine) {
        push_field(lua, "err", reason);
        lua.raise();
    }
    let (input, spans) = (std::mem::take(&mut machine.input), std::mem::take(&mut machine.spans));
    let known = machine.host().is_some_and(|host| host.knows(Words { input: &input, spans: &spans }));
    (machine.input, machine.spans) = (input, spans);
    if !known {
        push_field(lua, "err", b"ERR Invalid command passed to redis.acl_check_cmd()");
        lua.raise();
    }
    lua.push_bool(true);
    1
}

/// Runs the command on the stack and pushes its reply; false if that is an error.
fn run_command(lua: Lua) -> bool {
    stop_if_ended(lua);
    let machine = shared(lua);
    if let Err(reason) = collect_words(lua, machine) {
        push_field(lua, "err", reason);
        return false;
    }
    lua.set_top(0);
    let Shared { input, spans, debugger, .. } = machine;
    if let Some(debugger) = debugger {
        debugger.note_call(input, spans);
    }
    let (input, spans) = (std::mem::take(input), std::mem::take(spans));
    let mut reply = std::mem::take(&mut machine.reply);
    let room = machine.pool.room();
    reply.clear();
    reply.begin(room);
    reply.protocol = if machine.resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
    let ran = machine.host().map(|host| host.call(Words { input: &input, spans: &spans }, &mut reply));
    // Back before Lua is called: an error there drops nothing.
    (machine.input, machine.spans, machine.reply) = (input, spans, reply);
    if ran.is_none() {
        push_field(lua, "err", b"ERR redis.call/pcall can only be called inside a script invocation");
        return false;
    }
    if ran == Some(true) {
        machine.ask_for_end();
        stop_if_ended(lua);
    }
    if machine.reply.is_cut() || room != 0 && machine.reply.total_len() > room {
        push_field(lua, "err", b"ERR the reply is too long for a script (lua-memory-limit)");
        return false;
    }
    if machine.debugger.is_some() {
        note_reply(machine);
    }
    let gaps = if machine.resp3 { Gaps::Some } else { Gaps::None };
    let bytes = whole(machine);
    match bytes {
        [b'-', line @ ..] => {
            push_error(lua, line.strip_suffix(b"\r\n").unwrap_or(line));
            false
        }
        _ => {
            push_reply(lua, bytes, gaps);
            true
        }
    }
}

#[cold]
fn note_reply(machine: &mut Shared) {
    let mut debugger = machine.debugger.take();
    if let Some(debugger) = &mut debugger {
        debugger.note_reply(whole(machine));
    }
    machine.debugger = debugger;
}

/// Pushes `redis.pcall`.
pub(crate) fn push_pcall(lua: Lua) {
    let machine: *mut Shared = of_running(lua);
    push_function(lua, machine.cast(), pcall);
}

/// The reply in one piece.
fn whole(machine: &mut Shared) -> &[u8] {
    if machine.reply.shared.is_empty() {
        return &machine.reply.buf;
    }
    machine.flat.clear();
    machine.reply.chunks().for_each(|chunk| machine.flat.extend_from_slice(chunk));
    &machine.flat
}

/// Copies the arguments on the stack into the machine's request.
fn collect_words(lua: Lua, machine: &mut Shared) -> Result<(), &'static [u8]> {
    let count = lua.top();
    if count == 0 {
        return Err(b"ERR Please specify at least one argument for this redis lib call");
    }
    machine.input.clear();
    machine.spans.clear();
    let len_max = machine.text_max.min(COMMAND_LEN_MAX);
    for index in 1..=count {
        let start = machine.input.len();
        let is_text = lua.kind(index) == STRING;
        if start + if is_text { lua.len(index) } else { 0 } > len_max {
            return Err(b"ERR the command is too long");
        }
        if lua.kind(index) == NUMBER {
            write_number(&mut machine.input, lua.number(index));
        } else if is_text {
            machine.input.extend_from_slice(lua.bytes(index).unwrap_or_default());
        } else {
            return Err(b"ERR Lua redis lib command arguments must be strings or integers");
        }
        let len = machine.input.len() - start;
        machine.spans.push(Span { start: start as u32, len: len as u32 });
    }
    Ok(())
}

/// What 0/0 comes to in C on most machines has a sign, and scripts see it.
fn write_number(out: &mut Vec<u8>, number: f64) {
    if number.is_nan() && number.is_sign_negative() {
        out.push(b'-');
    }
    // Adding nothing takes the sign from zero.
    write_f64_shortest(out, number + 0.0);
}

/// Bytes of one command: places in it are 32 bits.
const COMMAND_LEN_MAX: usize = 1 << 31;

/// Raises a table with `ERR` and the text.
pub(crate) fn fail(lua: Lua, text: &CStr) -> ! {
    lua.push_text("ERR ");
    lua.push_bytes(text.to_bytes());
    lua.concat(2);
    fail_with_top(lua)
}

/// Raises the text on top.
pub(crate) fn fail_with_top(lua: Lua) -> ! {
    push_field(lua, "err", lua.bytes(-1).unwrap_or_default());
    lua.raise()
}

unsafe extern "C-unwind" fn sha1hex(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() != 1 {
        fail(lua, c"wrong number of arguments");
    }
    lua.push_bytes(&crate::sha1_hex(lua.bytes(1).unwrap_or_default()));
    1
}

unsafe extern "C-unwind" fn error_reply(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() != 1 || lua.kind(1) != STRING {
        push_field(lua, "err", b"ERR wrong number or type of arguments");
        return 1;
    }
    let given = lua.bytes(1).unwrap_or_default();
    let given = up_to_zero(given.strip_prefix(b"-").unwrap_or(given));
    // Without a space the whole is the text, and the code the usual one.
    let (code, text) = match given.iter().position(|&byte| byte == b' ') {
        Some(end) => (&given[..end], &given[end + 1..]),
        None => (&b"ERR"[..], given),
    };
    let machine = shared(lua);
    machine.text.clear();
    machine.make_room(lua, code.len() + 1 + text.len());
    for part in [code, b" ", without_line_ends(text)] {
        machine.text.extend_from_slice(part);
    }
    push_field(lua, "err", &machine.text);
    1
}

fn without_line_ends(text: &[u8]) -> &[u8] {
    let is_kept = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    let start = text.iter().position(is_kept).unwrap_or(text.len());
    let end = text.iter().rposition(is_kept).map_or(start, |last| last + 1);
    &text[start..end]
}

unsafe extern "C-unwind" fn status_reply(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() != 1 || lua.kind(1) != STRING {
        push_field(lua, "err", b"ERR wrong number or type of arguments");
        return 1;
    }
    push_field(lua, "ok", lua.bytes(1).unwrap_or_default());
    1
}

unsafe extern "C-unwind" fn log(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() < 2 {
        fail(lua, c"redis.log() requires two arguments or more.");
    }
    if !lua.is_number(1) {
        fail(lua, c"First argument must be a number (log level).");
    }
    let level = lua.number(1);
    if !(0.0..4.0).contains(&level) {
        fail(lua, c"Invalid log level.");
    }
    let count = lua.top();
    for index in 2..=count {
        // Numbers become texts here, where an error loses nothing.
        lua.bytes(index);
    }
    let machine = shared(lua);
    machine.text.clear();
    machine.make_room(lua, (2..=count).map(|index| lua.len(index) + 1).sum());
    let mut message = std::mem::take(&mut machine.text);
    for index in 2..=count {
        if let Some(word) = lua.bytes(index) {
            if index > 2 {
                message.push(b' ');
            }
            message.extend_from_slice(word);
        }
    }
    if let Some(host) = machine.host() {
        host.log(level as u8, &message);
    }
    machine.text = message;
    0
}

unsafe extern "C-unwind" fn setresp(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() != 1 {
        fail(lua, c"redis.setresp() requires one argument.");
    }
    let version = lua.number(1).trunc();
    if version != 2.0 && version != 3.0 {
        fail(lua, c"RESP version must be 2 or 3.");
    }
    shared(lua).resp3 = version == 3.0;
    0
}

unsafe extern "C-unwind" fn set_repl(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() != 1 {
        fail(lua, c"redis.set_repl() requires one argument.");
    }
    let flags = lua.number(1);
    if !(REPL_NONE..=REPL_ALL).contains(&flags) {
        fail(lua, c"Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    }
    // The log feeds files, and nobody else yet.
    if let Some(host) = shared(lua).host() {
        host.set_logged(flags as u8 & REPL_AOF as u8 != 0);
    }
    0
}

/// Effects are what is replicated, always.
unsafe extern "C-unwind" fn replicate_commands(state: State) -> c_int {
    Lua(state).push_bool(true);
    1
}

/// Stops at the next line, if there is a debugger.
unsafe extern "C-unwind" fn breakpoint(state: State) -> c_int {
    let lua = Lua(state);
    let debugger = shared(lua).debugger.as_deref_mut();
    let is_debugged = debugger.map(Debugger::ask_to_stop).is_some();
    lua.push_bool(is_debugged);
    1
}

unsafe extern "C-unwind" fn debug(state: State) -> c_int {
    debugger::show_arguments(Lua(state));
    0
}
