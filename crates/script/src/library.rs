//! Libraries of functions: source that registers its functions while it is loaded, and sees little else of
//! the server meanwhile. What the functions' names mean to clients is the caller's business.

use std::collections::HashSet;
use std::ffi::{c_int, c_void};

use crate::lua::{ErrorKind, FUNCTION, Lua, NIL, STRING, State, TABLE, upvalue};
use crate::machine::{Function, Machine, OUT_OF_MEMORY, Shared, shared};
use crate::{Host, api, sandbox};

/// A function that a library has registered.
#[derive(Debug)]
pub struct Registered {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    /// Bits by the places of the flags in the list that `load` was given.
    pub flags: u32,
    pub function: Function,
}

/// A library that is being loaded.
pub(crate) struct Loading {
    flags: &'static [&'static str],
    functions: Vec<Registered>,
    names: HashSet<Vec<u8>>,
}

/// What passes through a protected call.
struct LoadFrame<'a> {
    source: &'a [u8],
    error: Option<Vec<u8>>,
    ran_out: bool,
}

impl Machine {
    /// Loads a library. An error is the text that its author is told.
    pub fn load(
        &mut self,
        host: &mut dyn Host,
        source: &[u8],
        flags: &'static [&'static str],
    ) -> Result<Vec<Registered>, Vec<u8>> {
        self.begin(host);
        self.shared_mut().loading = Some(Loading { flags, functions: Vec::new(), names: HashSet::new() });
        let mut frame = LoadFrame { source, error: None, ran_out: false };
        let entry = self.entries.load;
        if self.enter(entry, (&raw mut frame).cast(), 0).is_some() {
            (frame.error, frame.ran_out) = (Some(OUT_OF_MEMORY.to_vec()), true);
        }
        self.end(frame.ran_out);
        let loading = self.shared_mut().loading.take();
        let functions = loading.map(|loading| loading.functions).unwrap_or_default();
        let Some(error) = frame.error else { return Ok(functions) };
        for registered in functions {
            self.forget(registered.function);
        }
        Err(error)
    }
}

/// Pushes what `load` has for its own values beside the machine: the globals of libraries, what those lead
/// to while a library is loaded, what they lead to later, and the field that says which.
pub(crate) fn push_globals(lua: Lua, machine: *mut c_void, places: &Places) {
    lua.new_table(0, 0);
    let library = lua.top();
    lua.new_table(0, 3);
    lua.push_value(places.scripts);
    lua.raw_set_field(library + 1, "__index");
    sandbox::close(lua, library + 1, places.doors);
    lua.set_metatable(library);
    lua.push_value(library);
    lua.push_value(places.globals);
    lua.raw_set(places.doors);
    push_loading(lua, machine, places.doors);
    lua.push_value(places.scripts);
    lua.push_text("__index");
}

/// Where the stack has what the globals of libraries are made of.
pub(crate) struct Places {
    /// The globals themselves, and what scripts see of them.
    pub(crate) globals: c_int,
    pub(crate) scripts: c_int,
    pub(crate) doors: c_int,
}

/// The tables that lead to the server. Errors speak of the one that was called and, as the servers do whose
/// names these are, of what bears a name that is none.
const TABLES: [(&str, &str); 2] = [("redis", "Library"), ("server", "Function")];

/// Pushes all that a library sees while it is loaded.
fn push_loading(lua: Lua, machine: *mut c_void, doors: c_int) {
    lua.new_table(0, TABLES.len());
    let globals = lua.top();
    for (table, noun) in TABLES {
        api::push_loading_table(lua, machine);
        lua.push_pointer(machine);
        lua.push_text(table);
        lua.push_text(noun);
        lua.push_native(register_function, 3);
        lua.raw_set_field(globals + 1, "register_function");
        sandbox::refuse_missing(lua, globals + 1);
        sandbox::push_door(lua, doors);
        lua.raw_set_field(globals, table);
        lua.set_top(globals);
    }
    sandbox::refuse_missing(lua, globals);
    sandbox::push_door(lua, doors);
    lua.remove(globals);
}

/// Loads a library. Its own values: the machine, and the four of `push_globals`.
pub(crate) unsafe extern "C-unwind" fn load(state: State) -> c_int {
    let lua = Lua(state);
    // SAFETY: `Machine::load` passes its frame and waits for the return.
    let frame = unsafe { &mut *lua.pointer(1).cast::<LoadFrame<'_>>() };
    if let Err(kind) = lua.compile(frame.source, c"@user_function") {
        frame.ran_out = kind == ErrorKind::Memory;
        frame.error = Some([b"Error compiling function: ", lua.bytes(-1).unwrap_or_default()].concat());
        return 0;
    }
    lua.push_value(upvalue(2));
    lua.set_environment(-2);
    let function = lua.top();
    lua.push_metatable(upvalue(2));
    let metatable = lua.top();
    lead_to(lua, metatable, 3);
    lua.push_value(function);
    let failed = lua.protected_call(0, 0, 0);
    // Nothing new is stored: this cannot fail, whatever the library has used up.
    lead_to(lua, metatable, 4);
    if let Some(kind) = failed {
        frame.ran_out = kind == ErrorKind::Memory;
        frame.error = Some([b"Error registering functions: ", &error_text(lua, kind)[..]].concat());
    }
    0
}

/// Points the globals of libraries to one of the function's own values.
fn lead_to(lua: Lua, metatable: c_int, value: c_int) {
    lua.push_value(upvalue(5));
    lua.push_value(upvalue(value));
    lua.raw_set(metatable);
}

/// The text of the error on top.
fn error_text(lua: Lua, kind: ErrorKind) -> Vec<u8> {
    if kind == ErrorKind::Memory {
        return OUT_OF_MEMORY.to_vec();
    }
    if lua.kind(-1) == TABLE {
        lua.raw_get_field(lua.top(), "err");
        return lua.bytes(-1).unwrap_or(b"ERR unknown error").to_vec();
    }
    [b"ERR ", lua.bytes(-1).unwrap_or(b"unknown error")].concat()
}

/// Places of what `register_function` was given, by name or by position.
const NAME: c_int = 2;
const DESCRIPTION: c_int = 3;
const CALLBACK: c_int = 4;
const FLAGS: c_int = 5;

/// Its own values: the machine, and the words of `TABLES`.
unsafe extern "C-unwind" fn register_function(state: State) -> c_int {
    let lua = Lua(state);
    let machine = shared(lua);
    if machine.loading.is_none() {
        fail(lua, "", " can only be called on FUNCTION LOAD command");
    }
    match lua.top() {
        1 => take_named(lua),
        2 => take_positional(lua),
        _ => fail(lua, "wrong number of arguments to ", ""),
    }
    let flags = read_flags(lua, machine);
    let name = lua.bytes(NAME).unwrap_or_default();
    if !is_name(name) {
        fail_for_name(lua);
    }
    if machine.loading.as_ref().is_some_and(|loading| loading.names.contains(name)) {
        api::fail(lua, c"Function already exists in the library");
    }
    lua.push_value(CALLBACK);
    let function = Function::of(lua.keep());
    let description = lua.bytes(DESCRIPTION).map(<[u8]>::to_vec);
    if let Some(loading) = &mut machine.loading {
        loading.names.insert(name.to_vec());
        loading.functions.push(Registered { name: name.to_vec(), description, flags, function });
    }
    0
}

/// Raises an error that speaks of the function that runs.
fn fail(lua: Lua, before: &str, after: &str) -> ! {
    lua.push_text("ERR ");
    lua.push_text(before);
    lua.push_value(upvalue(2));
    lua.push_text(".register_function");
    lua.push_text(after);
    lua.concat(5);
    api::fail_with_top(lua)
}

fn fail_for_name(lua: Lua) -> ! {
    lua.push_text("ERR ");
    lua.push_value(upvalue(3));
    lua.push_text(
        " names can only contain letters, numbers, or underscores(_) and must be at least one character long",
    );
    lua.concat(3);
    api::fail_with_top(lua)
}

fn take_positional(lua: Lua) {
    if !is_text(lua, 1) {
        fail(lua, "first argument to ", " must be a string");
    }
    if lua.kind(2) != FUNCTION {
        fail(lua, "second argument to ", " must be a function");
    }
    lua.push_value(1);
    lua.push_nil();
    lua.push_value(2);
    lua.push_nil();
    lua.remove(2);
}

fn take_named(lua: Lua) {
    if lua.kind(1) != TABLE {
        fail(
            lua,
            "calling ",
            " with a single argument is only applicable to Lua table (representing named arguments).",
        );
    }
    (NAME..=FLAGS).for_each(|_| lua.push_nil());
    lua.push_nil();
    while lua.next(1) {
        if lua.kind(-2) != STRING {
            fail(lua, "named argument key given to ", " is not a string");
        }
        let key = lua.bytes(-2).unwrap_or_default();
        let is = |name: &str| key.eq_ignore_ascii_case(name.as_bytes());
        let place = if is("function_name") {
            if !is_text(lua, -1) {
                fail(lua, "function_name argument given to ", " must be a string");
            }
            NAME
        } else if is("description") {
            if !is_text(lua, -1) {
                fail(lua, "description argument given to ", " must be a string");
            }
            DESCRIPTION
        } else if is("callback") {
            if lua.kind(-1) != FUNCTION {
                fail(lua, "callback argument given to ", " must be a function");
            }
            CALLBACK
        } else if is("flags") {
            if lua.kind(-1) != TABLE {
                fail(lua, "flags argument to ", " must be a table representing function flags");
            }
            FLAGS
        } else {
            fail(lua, "unknown argument given to ", "")
        };
        lua.replace(place);
    }
    if lua.kind(NAME) == NIL {
        fail(lua, "", " must get a function name argument");
    }
    if lua.kind(CALLBACK) == NIL {
        fail(lua, "", " must get a callback argument");
    }
}

fn is_text(lua: Lua, index: c_int) -> bool {
    lua.kind(index) == STRING || lua.is_number(index)
}

fn read_flags(lua: Lua, machine: &Shared) -> u32 {
    let known = machine.loading.as_ref().map_or(&[][..], |loading| loading.flags);
    let mut flags = 0;
    if lua.kind(FLAGS) != TABLE {
        return flags;
    }
    for index in 1.. {
        lua.raw_get_at(FLAGS, index);
        if lua.kind(-1) == NIL {
            break;
        }
        let name = if lua.kind(-1) == STRING { lua.bytes(-1).unwrap_or_default() } else { b"" };
        match known.iter().position(|flag| flag.as_bytes().eq_ignore_ascii_case(name)) {
            Some(bit) => flags |= 1 << bit,
            None => api::fail(lua, c"unknown flag given"),
        }
        lua.pop(1);
    }
    flags
}

/// Whether a text may be the name of a library or a function.
pub fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}
