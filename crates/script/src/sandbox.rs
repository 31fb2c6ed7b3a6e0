//! What scripts see: Lua's own libraries without what reaches out of the machine, all behind read-only doors,
//! and functions in place of those of Lua's that would let a script harm the process or later scripts.

use std::ffi::{CStr, c_int, c_void};

use mlua_sys as ffi;

use crate::chance::Chance;
use crate::lua::{FUNCTION, GLOBALS, Lua, NIL, NativeFunction, STRING, State, TABLE, up_to_zero, upvalue};
use crate::machine::{Shared, push_function, shared};
use crate::{api, bits, json, library, msgpack, patterns, structs};

/// Pushes the globals first, which scripts see through a door, and last what the loading of libraries needs.
pub(crate) fn build(lua: Lua, machine: *mut c_void) {
    for (library, name) in OWN_LIBRARIES {
        lua.open(*library, name);
    }
    lua.push_value(GLOBALS);
    let globals = lua.top();
    // Doors lead to what they guard, by this table; every function that must know a door has it.
    lua.new_table(0, 16);
    let doors = lua.top();
    make_lock(lua, doors);
    for name in REMOVED {
        lua.push_nil();
        lua.raw_set_field(globals, name);
    }
    replace_functions(lua, machine, (globals, doors));
    let libraries: [(&str, PushTable); 5] = [
        ("cjson", json::push_table),
        ("cmsgpack", msgpack::push_table),
        ("struct", structs::push_table),
        ("bit", bits::push_table),
        ("redis", api::push_table),
    ];
    for (name, push_table) in libraries {
        push_table(lua, machine);
        lua.raw_set_field(globals, name);
    }
    lua.new_table(0, 1);
    push_function(lua, machine, clock);
    lua.raw_set_field(lua.top() - 1, "clock");
    lua.raw_set_field(globals, "os");
    shut(lua, (globals, doors));
    let places = library::Places { globals, scripts: lua.top(), doors };
    library::push_globals(lua, machine, &places);
}

/// Pushes a library's table.
type PushTable = fn(Lua, *mut c_void);

/// Puts a door before each library and before the globals; pushes the latter.
fn shut(lua: Lua, (globals, doors): (c_int, c_int)) {
    for name in LIBRARIES {
        lua.raw_get_field(globals, name);
        push_door(lua, doors);
        lua.raw_set_field(globals, name);
        lua.pop(1);
    }
    lua.raw_get_field(globals, "redis");
    lua.raw_set_field(globals, "server");
    // Texts find their methods behind the door, and nobody finds the way there.
    lua.push_text("");
    lua.push_metatable(-1);
    let texts = lua.top();
    push_locked(lua, doors);
    lua.raw_set_field(texts, "__metatable");
    lua.set_top(texts - 2);
    refuse_missing(lua, globals);
    lua.push_value(globals);
    push_door(lua, doors);
    lua.push_value(-1);
    lua.raw_set_field(globals, "_G");
    lua.remove(-2);
    // What is loaded from now on has the door for its globals.
    lua.push_value(-1);
    lua.replace(GLOBALS);
}

/// Makes it an error to read what a table does not have.
pub(crate) fn refuse_missing(lua: Lua, table: c_int) {
    lua.new_table(0, 1);
    lua.push_native(missing_global, 0);
    lua.raw_set_field(lua.top() - 1, "__index");
    lua.set_metatable(table);
}

/// Pushes an empty table through which the one on top can be read only; that one stays below it.
pub(crate) fn push_door(lua: Lua, doors: c_int) {
    let guarded = lua.top();
    lua.new_table(0, 0);
    lua.new_table(0, 3);
    lua.push_value(guarded);
    lua.raw_set_field(guarded + 2, "__index");
    close(lua, guarded + 2, doors);
    lua.set_metatable(guarded + 1);
    lua.push_value(guarded + 1);
    lua.push_value(guarded);
    lua.raw_set(doors);
}

/// Makes a metatable one of those that nobody changes and through which nobody writes.
pub(crate) fn close(lua: Lua, metatable: c_int, doors: c_int) {
    lua.push_native(read_only, 0);
    lua.raw_set_field(metatable, "__newindex");
    push_locked(lua, doors);
    lua.raw_set_field(metatable, "__metatable");
}

/// Makes what stands for each metatable that nobody may have: an empty table, a door to itself.
fn make_lock(lua: Lua, doors: c_int) {
    lua.new_table(0, 0);
    lua.new_table(0, 2);
    let metatable = lua.top();
    lua.push_native(read_only, 0);
    lua.raw_set_field(metatable, "__newindex");
    lua.push_bool(false);
    lua.raw_set_field(metatable, "__metatable");
    lua.set_metatable(metatable - 1);
    lua.push_value(metatable - 1);
    lua.push_value(metatable - 1);
    lua.raw_set(doors);
    lua.push_bool(true);
    lua.insert(-2);
    lua.raw_set(doors);
}

/// Pushes it: the doors have it at `true`, too.
fn push_locked(lua: Lua, doors: c_int) {
    lua.push_bool(true);
    lua.raw_get(doors);
}

/// Puts functions of ours in place of Lua's. They know their machine, the doors, and what they replace.
fn replace_functions(lua: Lua, machine: *mut c_void, (globals, doors): (c_int, c_int)) {
    for (library, replaced) in REPLACED {
        lua.push_value(globals);
        if !library.is_empty() {
            lua.raw_get_field(globals, library);
        }
        let table = lua.top();
        for (name, function) in *replaced {
            lua.push_pointer(machine);
            lua.push_value(doors);
            // `pairs` has no use for what it replaces, but for `next`, which stands before it.
            lua.raw_get_field(table, if *name == "pairs" { "next" } else { name });
            lua.push_native(*function, 3);
            lua.raw_set_field(table, name);
        }
        lua.set_top(doors);
    }
}

const OWN_LIBRARIES: &[(NativeFunction, &str)] = &[
    (ffi::luaopen_base, ""),
    (ffi::luaopen_table, "table"),
    (ffi::luaopen_string, "string"),
    (ffi::luaopen_math, "math"),
];

const REMOVED: &[&str] =
    &["dofile", "loadfile", "print", "newproxy", "module", "require", "getfenv", "setfenv"];

const LIBRARIES: &[&str] =
    &["string", "table", "math", "coroutine", "os", "cjson", "cmsgpack", "struct", "bit", "redis"];

type Replaced = &'static [(&'static str, NativeFunction)];

const REPLACED: &[(&str, Replaced)] = &[
    (
        "",
        &[
            ("pcall", pcall),
            ("xpcall", xpcall),
            ("load", load),
            ("loadstring", loadstring),
            ("rawset", guarded_call),
            ("setmetatable", guarded_call),
            ("rawget", rawget),
            ("next", next),
            ("pairs", pairs),
            ("unpack", unpack),
            ("collectgarbage", collectgarbage),
        ],
    ),
    // The others find nothing behind a door: it is empty itself.
    ("table", &[("insert", guarded_call)]),
    ("coroutine", &[("resume", resume), ("wrap", wrap)]),
    ("math", &[("random", random), ("randomseed", randomseed)]),
    (
        "string",
        &[
            ("find", patterns::guarded_pattern),
            ("match", patterns::guarded_pattern),
            ("gmatch", patterns::guarded_pattern),
            ("gsub", patterns::guarded_pattern),
            ("rep", rep),
        ],
    ),
];

const DOORS: c_int = upvalue(2);
/// What a function of ours replaces.
pub(crate) const REPLACED_FUNCTION: c_int = upvalue(3);

unsafe extern "C-unwind" fn read_only(state: State) -> c_int {
    Lua(state).fail(READ_ONLY)
}

const READ_ONLY: &CStr = c"Attempt to modify a readonly table";

unsafe extern "C-unwind" fn missing_global(state: State) -> c_int {
    let lua = Lua(state);
    lua.push_place(1);
    lua.push_text("Script attempted to access nonexistent global variable '");
    match lua.bytes(2) {
        Some(_) => lua.push_value(2),
        None => lua.push_bytes(lua.kind_name(2).to_bytes()),
    }
    lua.push_text("'");
    lua.concat(4);
    lua.raise()
}

/// Pushes what the first argument guards, if it is a door.
fn push_guarded(lua: Lua) -> bool {
    if lua.kind(1) != TABLE || !lua.push_metatable(1) {
        return false;
    }
    lua.pop(1);
    lua.push_value(1);
    lua.raw_get(DOORS);
    if lua.kind(-1) == NIL {
        lua.pop(1);
        return false;
    }
    true
}

/// A function of Lua's that writes into its first argument: not if that is a door.
unsafe extern "C-unwind" fn guarded_call(state: State) -> c_int {
    let lua = Lua(state);
    if push_guarded(lua) {
        lua.push_bytes(READ_ONLY.to_bytes());
        lua.raise();
    }
    let function = lua.native(REPLACED_FUNCTION).expect("the replaced functions are native");
    // SAFETY: it finds its arguments as Lua would pass them.
    unsafe { function(state) }
}

/// Leaves a table and a key: what the door guards in place of a door.
fn open_door(lua: Lua) {
    lua.check_kind(1, TABLE);
    lua.set_top(2);
    if push_guarded(lua) {
        lua.replace(1);
    }
}

unsafe extern "C-unwind" fn rawget(state: State) -> c_int {
    let lua = Lua(state);
    open_door(lua);
    lua.raw_get(1);
    1
}

unsafe extern "C-unwind" fn next(state: State) -> c_int {
    let lua = Lua(state);
    open_door(lua);
    if lua.next(1) {
        return 2;
    }
    lua.push_nil();
    1
}

unsafe extern "C-unwind" fn pairs(state: State) -> c_int {
    let lua = Lua(state);
    lua.check_kind(1, TABLE);
    lua.push_value(REPLACED_FUNCTION);
    lua.push_value(1);
    lua.push_nil();
    3
}

/// An error that the server raised is a table; scripts get its text, as before Redis 7.
unsafe extern "C-unwind" fn pcall(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() == 0 {
        // Redis calls what is to be its first result.
        lua.push_bool(true);
    }
    let failed = lua.protected_call(lua.top() - 1, ffi::LUA_MULTRET, 0).is_some();
    stop_if_ended(lua);
    if failed && lua.kind(1) == TABLE {
        lua.push_text("err");
        lua.raw_get(1);
        if lua.kind(-1) == STRING {
            lua.replace(1);
        }
        lua.set_top(1);
    }
    // The results may have left no place.
    if !lua.has_room(1) {
        lua.fail_alone(TOO_MANY_RESULTS);
    }
    lua.push_bool(!failed);
    lua.insert(1);
    lua.top()
}

unsafe extern "C-unwind" fn xpcall(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() < 2 {
        lua.fail_argument(2, c"value expected");
    }
    lua.set_top(2);
    lua.push_value(upvalue(1));
    lua.push_value(2);
    lua.push_native(handle_error, 2);
    lua.replace(2);
    lua.insert(1);
    let failed = lua.protected_call(0, ffi::LUA_MULTRET, 1).is_some();
    stop_if_ended(lua);
    if !lua.has_room(1) {
        lua.fail_alone(TOO_MANY_RESULTS);
    }
    lua.push_bool(!failed);
    lua.replace(1);
    lua.top()
}

const TOO_MANY_RESULTS: &CStr = c"too many results";

/// Nor does a coroutine hold up the end of a script.
unsafe extern "C-unwind" fn resume(state: State) -> c_int {
    let lua = Lua(state);
    shared(lua).note_resume();
    stop_if_ended(lua);
    let function = lua.native(REPLACED_FUNCTION).expect("the replaced functions are native");
    // SAFETY: it finds its arguments as Lua would pass them.
    let results = unsafe { function(state) };
    stop_if_ended(lua);
    results
}

/// What Lua's own returns finds its coroutine as its first own value: so does ours.
unsafe extern "C-unwind" fn wrap(state: State) -> c_int {
    let lua = Lua(state);
    let function = lua.native(REPLACED_FUNCTION).expect("the replaced functions are native");
    // SAFETY: it finds its arguments as Lua would pass them.
    unsafe { function(state) };
    let wrapped = lua.top();
    lua.push_value_of(wrapped, 1);
    lua.push_value(upvalue(1));
    lua.push_value(wrapped);
    lua.push_native(resume_wrapped, 3);
    1
}

/// Its own values: the coroutine, the machine, and Lua's function.
unsafe extern "C-unwind" fn resume_wrapped(state: State) -> c_int {
    let lua = Lua(state);
    let machine = lua.pointer(upvalue(2)).cast::<Shared>();
    // SAFETY: as for `shared`.
    unsafe { &mut *machine }.note_resume();
    // SAFETY: the same.
    raise_end(lua, unsafe { &*machine }.ended);
    let function = lua.native(upvalue(3)).expect("what wrap returns is native");
    // SAFETY: it finds its arguments and its own value as Lua would pass them.
    let results = unsafe { function(state) };
    // SAFETY: as for `shared`.
    raise_end(lua, unsafe { &*machine }.ended);
    results
}

/// Calls a script's handler, its second own value, but not for the end of the script: the hook that raised
/// that is off while the handler runs.
unsafe extern "C-unwind" fn handle_error(state: State) -> c_int {
    let lua = Lua(state);
    if shared(lua).ended.is_none() {
        lua.push_value(upvalue(2));
        lua.insert(1);
        lua.call(1, 1);
    }
    1
}

/// A script that was told to end does not get to handle that: what ends it is raised wherever it might go on.
pub(crate) fn stop_if_ended(lua: Lua) {
    raise_end(lua, shared(lua).ended);
}

fn raise_end(lua: Lua, ended: Option<&'static str>) {
    if let Some(reason) = ended {
        lua.set_top(0);
        crate::to_lua::push_field(lua, "err", reason.as_bytes());
        lua.raise();
    }
}

unsafe extern "C-unwind" fn loadstring(state: State) -> c_int {
    let lua = Lua(state);
    lua.check_bytes(1);
    load_source(lua, 1)
}

/// `load(function)`: joins what the function returns until it returns nothing.
unsafe extern "C-unwind" fn load(state: State) -> c_int {
    let lua = Lua(state);
    lua.check_kind(1, FUNCTION);
    lua.set_top(2);
    lua.new_table(0, 0);
    let (mut count, mut len) = (0, 0);
    loop {
        lua.push_value(1);
        if lua.protected_call(0, 1, 0).is_some() {
            stop_if_ended(lua);
            return fail_loading(lua);
        }
        match lua.kind(-1) {
            NIL => break,
            STRING if lua.len(-1) == 0 => break,
            STRING => (count, len) = (count + 1, len + lua.len(-1)),
            _ => {
                lua.push_place(1);
                lua.push_text("reader function must return a string");
                lua.concat(2);
                return fail_loading(lua);
            }
        }
        // A function that never ends would go on with the same piece.
        if len > shared(lua).text_max {
            lua.fail_for_memory();
        }
        lua.raw_set_at(3, count);
    }
    // Joined only now: the function may have used the machine's text itself.
    let machine = shared(lua);
    machine.text.clear();
    for index in 1..=count {
        lua.raw_get_at(3, index);
        let piece = lua.bytes(-1).unwrap_or_default();
        machine.make_room(lua, piece.len());
        machine.text.extend_from_slice(piece);
        lua.pop(1);
    }
    machine.push_made(lua);
    lua.replace(3);
    lua.set_top(3);
    if lua.kind(2) == NIL {
        lua.push_text("=(load)");
        lua.replace(2);
    }
    load_source(lua, 3)
}

/// What there is in place of a function: nothing, and the error on top.
fn fail_loading(lua: Lua) -> c_int {
    lua.push_nil();
    lua.insert(-2);
    2
}

/// Compiles the text at a place under the name at 2, or by default its own.
fn load_source(lua: Lua, place: c_int) -> c_int {
    let source = lua.bytes(place).unwrap_or_default();
    if lua.kind(2) <= NIL {
        lua.set_top(1.max(place));
        lua.push_value(place);
    } else {
        lua.check_bytes(2);
        lua.push_value(2);
    }
    let name = lua.bytes(-1).unwrap_or_default();
    // A copy that ends with a zero byte stays on the stack while it is used.
    lua.push_bytes(up_to_zero(name));
    let name = lua.c_text(-1);
    if lua.compile(source, name).is_ok() {
        return 1;
    }
    fail_loading(lua)
}

unsafe extern "C-unwind" fn unpack(state: State) -> c_int {
    let lua = Lua(state);
    lua.check_kind(1, TABLE);
    let first = to_int(lua.optional_integer(2, 1));
    let last = match lua.kind(3) {
        ..=NIL => lua.len(1).min(c_int::MAX as usize) as c_int,
        _ => to_int(lua.check_integer(3)),
    };
    if first > last {
        return 0;
    }
    let count = i64::from(last) - i64::from(first) + 1;
    if count > UNPACKED_MAX || !lua.has_room(count as c_int) {
        lua.fail(c"too many results to unpack");
    }
    for index in first..=last {
        lua.raw_get_at(1, index);
    }
    count as c_int
}

/// More than Lua has places for.
const UNPACKED_MAX: i64 = 1 << 20;

/// As C cuts a long down to an int.
fn to_int(value: i64) -> c_int {
    value as c_int
}

/// Scripts may look at the collector and push it, but not change how it works for the next one.
unsafe extern "C-unwind" fn collectgarbage(state: State) -> c_int {
    let lua = Lua(state);
    let option = if lua.kind(1) <= NIL { b"collect" } else { lua.check_bytes(1) };
    match option {
        b"count" => {
            lua.push_value(REPLACED_FUNCTION);
            lua.push_text("count");
            lua.call(1, 1);
            return 1;
        }
        b"collect" => lua.collect_garbage(),
        b"step" => {
            let size = lua.optional_integer(2, 0).clamp(0, GARBAGE_STEP_MAX);
            lua.push_bool(lua.step_garbage(size as c_int));
            return 1;
        }
        b"stop" | b"restart" | b"setpause" | b"setstepmul" => {}
        option => {
            let option = option[..option.len().min(SHOWN)].escape_ascii();
            shared(lua).fail_argument(lua, 1, format_args!("invalid option '{option}'"));
        }
    }
    lua.push_number(0.0);
    1
}

const GARBAGE_STEP_MAX: i64 = 1 << 20;
/// Bytes of a wrong word that its error shows.
const SHOWN: usize = 100;

/// Lua's own takes as long for many times nothing as for many times something, and more memory.
unsafe extern "C-unwind" fn rep(state: State) -> c_int {
    let lua = Lua(state);
    let text = lua.check_bytes(1);
    let count = usize::try_from(to_int(lua.check_integer(2))).unwrap_or(0);
    let machine = shared(lua);
    machine.text.clear();
    let len = text.len().saturating_mul(count);
    machine.make_room(lua, len);
    if let [byte] = text {
        machine.text.resize(len, *byte);
    } else if len > 0 {
        (0..count).for_each(|_| machine.text.extend_from_slice(text));
    }
    machine.push_made(lua);
    1
}

unsafe extern "C-unwind" fn random(state: State) -> c_int {
    let lua = Lua(state);
    let share = shared(lua).chance.next();
    let (low, high) = match lua.top() {
        0 => {
            lua.push_number(share);
            return 1;
        }
        1 => (1, to_int(lua.check_integer(1))),
        2 => (to_int(lua.check_integer(1)), to_int(lua.check_integer(2))),
        _ => lua.fail(c"wrong number of arguments"),
    };
    if low > high {
        lua.fail_argument(lua.top(), c"interval is empty");
    }
    let span = f64::from(high) - f64::from(low) + 1.0;
    lua.push_number((share * span).floor() + f64::from(low));
    1
}

unsafe extern "C-unwind" fn randomseed(state: State) -> c_int {
    let lua = Lua(state);
    let seed = lua.check_integer(1);
    shared(lua).chance = Chance::from_seed(seed as u32);
    0
}

unsafe extern "C-unwind" fn clock(state: State) -> c_int {
    let lua = Lua(state);
    let seconds = shared(lua).host().map_or(0.0, |host| host.clock_s());
    lua.push_number(seconds);
    1
}
