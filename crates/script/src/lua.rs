//! Lua's C interface as methods: the one place that calls it.
//!
//! Each method may leave its caller by a jump to the nearest protected call, when Lua raises an error. So
//! whoever calls them owns nothing at that moment that must be dropped: buffers live in the machine, never on
//! the stack. An index that a caller gives exists on the stack, and it has made room for what it pushes:
//! Lua grants 20 places to each call.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::slice;

use mlua_sys as ffi;

pub(crate) type State = *mut ffi::lua_State;
/// A function that Lua calls with its arguments on the stack; it returns how many results are on top.
pub(crate) type NativeFunction = unsafe extern "C-unwind" fn(State) -> c_int;

pub(crate) const GLOBALS: c_int = ffi::LUA_GLOBALSINDEX;
pub(crate) const REGISTRY: c_int = ffi::LUA_REGISTRYINDEX;

pub(crate) const NIL: c_int = ffi::LUA_TNIL;
pub(crate) const BOOLEAN: c_int = ffi::LUA_TBOOLEAN;
pub(crate) const POINTER: c_int = ffi::LUA_TLIGHTUSERDATA;
pub(crate) const NUMBER: c_int = ffi::LUA_TNUMBER;
pub(crate) const STRING: c_int = ffi::LUA_TSTRING;
pub(crate) const TABLE: c_int = ffi::LUA_TTABLE;
pub(crate) const FUNCTION: c_int = ffi::LUA_TFUNCTION;

/// The place of a native function's own value, from 1.
pub(crate) const fn upvalue(index: c_int) -> c_int {
    ffi::lua_upvalueindex(index)
}

/// A Lua thread's stack.
#[derive(Clone, Copy)]
pub(crate) struct Lua(pub(crate) State);

// SAFETY, for every block below: the state is alive, as whoever has a `Lua` got it from a machine that runs
// or from Lua itself; indexes and room are the callers' duty (see above).
impl Lua {
    #[inline]
    pub(crate) fn top(self) -> c_int {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_gettop(self.0) }
    }

    #[inline]
    pub(crate) fn set_top(self, index: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_settop(self.0, index) }
    }

    #[inline]
    pub(crate) fn pop(self, count: c_int) {
        self.set_top(-count - 1);
    }

    #[inline]
    pub(crate) fn push_value(self, index: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_pushvalue(self.0, index) }
    }

    pub(crate) fn remove(self, index: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_remove(self.0, index) }
    }

    pub(crate) fn insert(self, index: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_insert(self.0, index) }
    }

    pub(crate) fn replace(self, index: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_replace(self.0, index) }
    }

    /// Makes room for `count` more values; false: there cannot be so many.
    #[inline]
    pub(crate) fn has_room(self, count: c_int) -> bool {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_checkstack(self.0, count) != 0 }
    }

    #[inline]
    pub(crate) fn kind(self, index: c_int) -> c_int {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_type(self.0, index) }
    }

    /// The function behind a native one.
    pub(crate) fn native(self, index: c_int) -> Option<NativeFunction> {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_tocfunction(self.0, index) }
    }

    #[inline]
    pub(crate) fn number(self, index: c_int) -> f64 {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_tonumber(self.0, index) }
    }

    /// A number, or text that is one.
    pub(crate) fn is_number(self, index: c_int) -> bool {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_isnumber(self.0, index) != 0 }
    }

    #[inline]
    pub(crate) fn boolean(self, index: c_int) -> bool {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_toboolean(self.0, index) != 0 }
    }

    /// A string's bytes, or a number's as text: they live as long as the value stays on the stack.
    #[inline]
    pub(crate) fn bytes<'a>(self, index: c_int) -> Option<&'a [u8]> {
        let mut len = 0;
        // SAFETY: as said above the block; Lua's strings do not move, and callers keep the value.
        unsafe {
            let start = ffi::lua_tolstring(self.0, index, &raw mut len);
            (!start.is_null()).then(|| slice::from_raw_parts(start.cast::<u8>(), len))
        }
    }

    /// A string up to its first zero byte.
    pub(crate) fn c_text<'a>(self, index: c_int) -> &'a CStr {
        // SAFETY: as said above the block; Lua puts a zero byte behind every string.
        unsafe { CStr::from_ptr(ffi::lua_tolstring(self.0, index, std::ptr::null_mut())) }
    }

    pub(crate) fn pointer(self, index: c_int) -> *mut c_void {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_touserdata(self.0, index) }
    }

    #[inline]
    pub(crate) fn push_nil(self) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_pushnil(self.0) }
    }

    #[inline]
    pub(crate) fn push_number(self, value: f64) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_pushnumber(self.0, value) }
    }

    #[inline]
    pub(crate) fn push_bool(self, value: bool) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_pushboolean(self.0, c_int::from(value)) }
    }

    #[inline]
    pub(crate) fn push_bytes(self, bytes: &[u8]) {
        // SAFETY: as said above the block; Lua copies the bytes.
        unsafe { ffi::lua_pushlstring_(self.0, bytes.as_ptr().cast(), bytes.len()) }
    }

    pub(crate) fn push_text(self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    #[inline]
    pub(crate) fn push_pointer(self, pointer: *mut c_void) {
        // SAFETY: as said above the block; Lua never follows it.
        unsafe { ffi::lua_pushlightuserdata(self.0, pointer) }
    }

    /// Pushes a block of so many bytes, and returns where it is as long as Lua has it.
    pub(crate) fn push_block(self, len: usize) -> *mut c_void {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_newuserdata(self.0, len) }
    }

    /// Pushes a native function with the top `values` as its own, in their place.
    pub(crate) fn push_native(self, function: NativeFunction, values: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_pushcclosure(self.0, function, values) }
    }

    pub(crate) fn new_table(self, elements: usize, fields: usize) {
        let room = |count: usize| c_int::try_from(count.min(TABLE_ROOM_MAX)).unwrap_or(0);
        // SAFETY: as said above the block.
        unsafe { ffi::lua_createtable(self.0, room(elements), room(fields)) }
    }

    /// Replaces the key on top by its value, without metamethods.
    #[inline]
    pub(crate) fn raw_get(self, table: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_rawget_(self.0, table) }
    }

    #[inline]
    pub(crate) fn raw_get_at(self, table: c_int, index: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_rawgeti_(self.0, table, index) }
    }

    /// Pushes a field; the table's place must not be counted from the top.
    pub(crate) fn raw_get_field(self, table: c_int, name: &str) {
        self.push_text(name);
        self.raw_get(table);
    }

    /// Takes the key and the value on top.
    #[inline]
    pub(crate) fn raw_set(self, table: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_rawset(self.0, table) }
    }

    #[inline]
    pub(crate) fn raw_set_at(self, table: c_int, index: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_rawseti_(self.0, table, index) }
    }

    /// Takes the value on top; the table's place must not be counted from the top.
    pub(crate) fn raw_set_field(self, table: c_int, name: &str) {
        self.push_text(name);
        self.insert(-2);
        self.raw_set(table);
    }

    /// Replaces the key on top by the pair behind it; false, and nothing in its place, at the end.
    #[inline]
    pub(crate) fn next(self, table: c_int) -> bool {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_next(self.0, table) != 0 }
    }

    /// How many keys the table on top has, and the greatest: if all are whole numbers from 1 on.
    pub(crate) fn indexes(self) -> Option<(i64, c_int)> {
        let (mut count, mut greatest) = (0, 0);
        self.push_nil();
        while self.next(-2) {
            self.pop(1);
            let key = if self.kind(-1) == NUMBER { self.number(-1) } else { 0.0 };
            if key < 1.0 || key.fract() != 0.0 || key > f64::from(c_int::MAX) {
                self.pop(1);
                return None;
            }
            (count, greatest) = (count + 1, greatest.max(key as c_int));
        }
        Some((count, greatest))
    }

    /// Bytes of a string, the border of a table.
    pub(crate) fn len(self, index: c_int) -> usize {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_objlen(self.0, index) }
    }

    pub(crate) fn push_metatable(self, index: c_int) -> bool {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_getmetatable(self.0, index) != 0 }
    }

    /// Takes the metatable on top.
    pub(crate) fn set_metatable(self, index: c_int) {
        // SAFETY: as said above the block.
        unsafe {
            ffi::lua_setmetatable(self.0, index);
        }
    }

    /// Takes the table on top as the function's globals.
    pub(crate) fn set_environment(self, index: c_int) {
        // SAFETY: as said above the block.
        unsafe {
            ffi::lua_setfenv(self.0, index);
        }
    }

    /// Joins the top values to one string in their place.
    pub(crate) fn concat(self, count: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_concat(self.0, count) }
    }

    pub(crate) fn call(self, arguments: c_int, results: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_call(self.0, arguments, results) }
    }

    /// As `call`, but an error comes back: nothing for none, else its kind, with its value on top.
    pub(crate) fn protected_call(
        self,
        arguments: c_int,
        results: c_int,
        handler: c_int,
    ) -> Option<ErrorKind> {
        // SAFETY: as said above the block.
        ErrorKind::of(unsafe { ffi::lua_pcall(self.0, arguments, results, handler) })
    }

    /// Compiles source text; on an error the message is on top in the function's place. `name` is C text, and
    /// on the stack while Lua reads: the parser keeps it without telling the collector.
    ///
    /// What begins with Lua's mark of a compiled script is text too: those can do anything.
    pub(crate) fn compile(self, source: &[u8], name: &CStr) -> Result<(), ErrorKind> {
        if source.len() > SOURCE_MAX {
            self.push_text("chunk is too long");
            return Err(ErrorKind::Raised);
        }
        let mark = ffi::LUA_SIGNATURE[0];
        let before: &[u8] = if source.first() == Some(&mark) { b" " } else { b"" };
        let mut pieces = [before, source];
        // SAFETY: as said above the block; the pieces outlive the call.
        let status = unsafe {
            ffi::lua_pushstring_(self.0, name.as_ptr());
            let status = ffi::lua_load(self.0, read_pieces, (&raw mut pieces).cast(), name.as_ptr());
            ffi::lua_remove(self.0, -2);
            status
        };
        ErrorKind::of(status).map_or(Ok(()), Err)
    }

    /// Takes the value on top into the registry.
    pub(crate) fn keep(self) -> c_int {
        // SAFETY: as said above the block.
        unsafe { ffi::luaL_ref(self.0, REGISTRY) }
    }

    pub(crate) fn release(self, kept: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::luaL_unref(self.0, REGISTRY, kept) }
    }

    /// What is called for an error outside of a protected call; it must not return.
    pub(crate) fn set_panic(self, function: NativeFunction) {
        // SAFETY: as said above the block.
        unsafe {
            ffi::lua_atpanic(self.0, function);
        }
    }

    pub(crate) fn collect_garbage(self) {
        // SAFETY: as said above the block.
        unsafe {
            ffi::lua_gc(self.0, ffi::LUA_GCCOLLECT, 0);
        }
    }

    /// When the collector begins its next round, in percent of what is in use, and how much it does at a
    /// step, in percent of a kilobyte. It only notes that: an allocator may call it.
    pub(crate) fn set_pace(self, pause: c_int, step: c_int) {
        // SAFETY: as said above the block.
        unsafe {
            ffi::lua_gc(self.0, ffi::LUA_GCSETPAUSE, pause);
            ffi::lua_gc(self.0, ffi::LUA_GCSETSTEPMUL, step);
        }
    }

    /// One step of the collector; true at the end of a round.
    pub(crate) fn step_garbage(self, size: c_int) -> bool {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_gc(self.0, ffi::LUA_GCSTEP, size) != 0 }
    }

    /// Raises the value on top.
    pub(crate) fn raise(self) -> ! {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_error(self.0) }
    }

    /// Raises a text with the place in the script before it.
    pub(crate) fn fail(self, text: &CStr) -> ! {
        self.push_place(1);
        self.push_bytes(text.to_bytes());
        self.concat(2);
        self.raise()
    }

    /// Raises what Lua says itself where memory is short.
    pub(crate) fn fail_for_memory(self) -> ! {
        self.set_top(0);
        self.push_text("not enough memory");
        self.raise()
    }

    /// Raises a text where the stack may be full: what is on it goes first.
    pub(crate) fn fail_alone(self, text: &CStr) -> ! {
        self.set_top(0);
        self.fail(text)
    }

    /// Pushes `user_script:1: ` of the function so many calls below, or nothing.
    pub(crate) fn push_place(self, level: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::luaL_where(self.0, level) }
    }

    pub(crate) fn fail_argument(self, index: c_int, text: &CStr) -> ! {
        // SAFETY: as said above the block.
        unsafe { ffi::luaL_argerror(self.0, index, text.as_ptr()) };
        unreachable!("an argument's error is raised")
    }

    pub(crate) fn check_number(self, index: c_int) -> f64 {
        // SAFETY: as said above the block.
        unsafe { ffi::luaL_checknumber(self.0, index) }
    }

    /// An argument as an integer, as C converts it.
    pub(crate) fn check_integer(self, index: c_int) -> i64 {
        // SAFETY: as said above the block.
        unsafe { ffi::luaL_checkinteger(self.0, index) as i64 }
    }

    pub(crate) fn optional_integer(self, index: c_int, default: i64) -> i64 {
        if self.kind(index) <= NIL { default } else { self.check_integer(index) }
    }

    pub(crate) fn check_bytes<'a>(self, index: c_int) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: as said above the block, and as for `bytes`.
        unsafe {
            let start = ffi::luaL_checklstring(self.0, index, &raw mut len);
            slice::from_raw_parts(start.cast::<u8>(), len)
        }
    }

    pub(crate) fn check_kind(self, index: c_int, kind: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::luaL_checktype(self.0, index, kind) }
    }

    pub(crate) fn kind_name<'a>(self, index: c_int) -> &'a CStr {
        // SAFETY: as said above the block; the names are constants.
        unsafe { CStr::from_ptr(ffi::lua_typename(self.0, ffi::lua_type(self.0, index))) }
    }

    /// Where the function so many calls below stands.
    pub(crate) fn caller<'a>(self, level: c_int) -> Option<Place<'a>> {
        // SAFETY: as said above the block; Lua fills in what `S` and `l` name, and only that is read. The
        // source belongs to the function, which runs.
        unsafe {
            let mut debug = std::mem::zeroed::<ffi::lua_Debug>();
            if ffi::lua_getstack(self.0, level, &raw mut debug) == 0
                || ffi::lua_getinfo(self.0, c"Sl".as_ptr(), &raw mut debug) == 0
            {
                return None;
            }
            let is_native = *debug.what == b'C' as c_char;
            Some(Place { source: CStr::from_ptr(debug.source), line: debug.currentline, is_native })
        }
    }

    /// The name by which the function so many calls below was called.
    pub(crate) fn function_name<'a>(self, level: c_int) -> Option<&'a CStr> {
        // SAFETY: as said above the block; Lua fills in what `n` names, and only that is read. The name
        // belongs to the function that calls.
        unsafe {
            let mut debug = std::mem::zeroed::<ffi::lua_Debug>();
            let known = ffi::lua_getstack(self.0, level, &raw mut debug) != 0
                && ffi::lua_getinfo(self.0, c"n".as_ptr(), &raw mut debug) != 0
                && !debug.name.is_null();
            known.then(|| CStr::from_ptr(debug.name))
        }
    }

    /// Pushes a local variable of the function so many calls below, and returns its name.
    pub(crate) fn push_local<'a>(self, level: c_int, index: c_int) -> Option<&'a CStr> {
        // SAFETY: as said above the block; the name belongs to the function, which runs.
        unsafe {
            let mut debug = std::mem::zeroed::<ffi::lua_Debug>();
            if ffi::lua_getstack(self.0, level, &raw mut debug) == 0 {
                return None;
            }
            let name = ffi::lua_getlocal(self.0, &raw const debug, index);
            (!name.is_null()).then(|| CStr::from_ptr(name))
        }
    }

    /// Pushes a thread, which lives as long as it stays on the stack.
    pub(crate) fn push_thread(self) -> Lua {
        // SAFETY: as said above the block.
        Lua(unsafe { ffi::lua_newthread(self.0) })
    }

    /// Moves the top values to another thread of the same machine, which has room for them.
    pub(crate) fn give(self, other: Lua, count: c_int) {
        // SAFETY: as said above the block.
        unsafe { ffi::lua_xmove(self.0, other.0, count) }
    }

    /// Runs the function of a fresh thread with the arguments on top; false: an error is on top.
    pub(crate) fn resume(self, arguments: c_int) -> bool {
        // SAFETY: as said above the block; errors do not leave a thread.
        unsafe { ffi::lua_resume_(self.0, arguments) == 0 }
    }

    /// Calls `hook` after every so many instructions, or at every line; none takes it away.
    pub(crate) fn set_hook(self, hook: Option<ffi::lua_Hook>, every: HookEvery) {
        let (mask, count) = match every {
            HookEvery::Instructions(count) => (ffi::LUA_MASKCOUNT, count),
            HookEvery::Line => (ffi::LUA_MASKLINE | ffi::LUA_MASKCOUNT, 1),
            HookEvery::LineOrInstructions(count) => (ffi::LUA_MASKLINE | ffi::LUA_MASKCOUNT, count),
        };
        // SAFETY: as said above the block.
        unsafe {
            ffi::lua_sethook(self.0, hook, if hook.is_some() { mask } else { 0 }, count);
        }
    }

    /// Pushes an own value of a native function.
    pub(crate) fn push_value_of(self, function: c_int, index: c_int) {
        // SAFETY: as said above the block.
        unsafe {
            ffi::lua_getupvalue(self.0, function, index);
        }
    }

    /// Opens one of Lua's own libraries.
    pub(crate) fn open(self, library: NativeFunction, name: &str) {
        self.push_native(library, 0);
        self.push_text(name);
        self.call(1, 0);
    }
}

/// Gives `Lua::compile`'s pieces to Lua, which takes an empty one for the end.
unsafe extern "C-unwind" fn read_pieces(_: State, pieces: *mut c_void, len: *mut usize) -> *const c_char {
    // SAFETY: `compile` passes its pieces and waits for the return; Lua takes the length from where it says.
    let (pieces, len) = unsafe { (&mut *pieces.cast::<[&[u8]; 2]>(), &mut *len) };
    let next = pieces.iter_mut().find(|piece| !piece.is_empty()).map(std::mem::take).unwrap_or_default();
    *len = next.len();
    next.as_ptr().cast()
}

/// What C sees of a text.
pub(crate) fn up_to_zero(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A place in a script.
pub(crate) struct Place<'a> {
    pub(crate) source: &'a CStr,
    pub(crate) line: c_int,
    pub(crate) is_native: bool,
}

/// Why a protected call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ErrorKind {
    Raised,
    Memory,
}

impl ErrorKind {
    fn of(status: c_int) -> Option<ErrorKind> {
        match status {
            0 => None,
            ffi::LUA_ERRMEM => Some(ErrorKind::Memory),
            _ => Some(ErrorKind::Raised),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum HookEvery {
    Instructions(c_int),
    Line,
    LineOrInstructions(c_int),
}

/// Places that an announced length alone may reserve in a table.
const TABLE_ROOM_MAX: usize = 1 << 20;

/// Bytes of a text that is compiled: Lua's lexer counts some of what it reads in ints.
const SOURCE_MAX: usize = 1 << 30;
