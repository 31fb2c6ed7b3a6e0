//! One Lua state: made once, then scripts are compiled into it and run, each within its memory and until its
//! host ends it. What a script leaves behind is undone before the next one runs.

use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::io::Write;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use mlua_sys as ffi;
use resp::reply::{Protocol, Reply};
use resp::request::Span;

use crate::chance::Chance;
use crate::debugger::Debugger;
use crate::from_lua::{COUNTED, Frame, Shape, write_reply};
use crate::library::Loading;
use crate::lua::{
    BOOLEAN, ErrorKind, HookEvery, Lua, NIL, NUMBER, NativeFunction, REGISTRY, STRING, State, TABLE,
    up_to_zero, upvalue,
};
use crate::memory::{Meter, Pool, allocate};
use crate::{Host, debugger, json, library, msgpack, sandbox};

/// A compiled script, until the machine that holds it forgets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function(c_int);

impl Function {
    /// What the registry keeps at a place.
    pub(crate) fn of(place: c_int) -> Function {
        Function(place)
    }
}

/// How a script gets its keys and arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passing {
    /// As KEYS and ARGV.
    Globals,
    /// As the arguments of the function.
    Arguments,
}

/// One run of a script.
pub struct Run<'a> {
    pub function: Function,
    pub passing: Passing,
    /// What error texts call the script.
    pub name: &'a [u8],
    /// The first so many words are KEYS, the others ARGV.
    pub keys: usize,
    pub words: usize,
    pub word: &'a dyn Fn(usize) -> &'a [u8],
    /// The script's text, if its client debugs it.
    pub debugged: Option<&'a [u8]>,
}

/// Why a script has no reply of its own.
#[derive(Debug)]
pub struct Failure {
    /// The error's code and text.
    pub text: Vec<u8>,
    /// It was counted where it came from.
    pub counted: bool,
}

pub struct Machine {
    lua: Lua,
    shared: NonNull<Shared>,
    meter: NonNull<Meter>,
    pub(crate) entries: Entries,
    /// Bytes that were left when garbage was last collected.
    live: usize,
}

// SAFETY: everything the pointers lead to belongs to the machine alone; Lua has no ties to a thread.
unsafe impl Send for Machine {}

/// What the machine calls under protection, kept in the registry: calling them then allocates nothing.
pub(crate) struct Entries {
    pub(crate) load: c_int,
    run: c_int,
    compile: c_int,
    collect: c_int,
    explain: c_int,
    on_error: c_int,
}

/// What native functions find of their machine.
pub(crate) struct Shared {
    host: Option<NonNull<dyn Host>>,
    pub(crate) pool: Arc<Pool>,
    /// The script was told to end: no pcall holds it up any more.
    pub(crate) ended: Option<&'static str>,
    /// How often coroutines were resumed since the host was last asked.
    resumes: u32,
    pub(crate) resp3: bool,
    pub(crate) chance: Chance,
    /// The command that is being called.
    pub(crate) input: Vec<u8>,
    pub(crate) spans: Vec<Span>,
    pub(crate) reply: Reply,
    /// A reply with parts by reference, in one piece.
    pub(crate) flat: Vec<u8>,
    /// Texts and encodings in the making: who lets one grow without bound asks `make_room` first.
    pub(crate) text: Vec<u8>,
    /// Bytes of the text that are counted as the machine's.
    text_counted: usize,
    meter: NonNull<Meter>,
    frames: Vec<Frame>,
    /// How long texts and encodings may become.
    pub(crate) text_max: usize,
    /// The settings of `cjson`, and those of the table whose function runs.
    pub(crate) json: json::Settings,
    pub(crate) json_in_use: json::Settings,
    pub(crate) json_frames: Vec<json::Frame>,
    pub(crate) json_open: Vec<json::Open>,
    pub(crate) levels: Vec<msgpack::Level>,
    /// The library that is being loaded.
    pub(crate) loading: Option<Loading>,
    /// What scripts see as their globals, in the registry, and the names of its KEYS and ARGV.
    pub(crate) globals: c_int,
    word_names: [c_int; 2],
    pub(crate) debugger: Option<Box<Debugger>>,
}

impl Shared {
    /// The host of the script that runs; none while a machine is set up.
    pub(crate) fn host(&mut self) -> Option<&mut dyn Host> {
        // SAFETY: `Machine::run` sets it to a host that it borrows exclusively until it takes it away again.
        self.host.map(|mut host| unsafe { host.as_mut() })
    }

    /// Notes that a coroutine is resumed: each counts its own instructions, so the hook may never run.
    pub(crate) fn note_resume(&mut self) {
        self.resumes += 1;
        if self.resumes >= RESUMES {
            self.ask_for_end();
        }
    }

    /// Bytes of its buffers that the meter does not count.
    fn buffers(&self) -> usize {
        let lists = [
            self.input.capacity(),
            self.spans.capacity() * size_of::<Span>(),
            self.reply.memory(),
            self.flat.capacity(),
            self.text.capacity().saturating_sub(self.text_counted),
            self.frames.capacity() * size_of::<Frame>(),
            self.json_frames.capacity() * size_of::<json::Frame>(),
            self.json_open.capacity() * size_of::<json::Open>(),
            self.levels.capacity() * size_of::<msgpack::Level>(),
        ];
        lists.into_iter().sum()
    }

    pub(crate) fn ask_for_end(&mut self) {
        self.resumes = 0;
        if self.ended.is_none() {
            self.ended = self.host().and_then(|host| host.must_end());
        }
    }

    /// Makes room for so many more bytes of text; raises an error if the machine may not have them.
    #[inline]
    pub(crate) fn make_room(&mut self, lua: Lua, len: usize) {
        let wanted = self.text.len().saturating_add(len);
        if wanted > self.text_counted.max(BUFFER_KEPT) && !self.count_text(wanted) {
            self.drop_text();
            lua.fail_for_memory();
        }
    }

    /// Counts so many bytes of text, and more if there are: it grows by doubling.
    fn count_text(&mut self, wanted: usize) -> bool {
        if wanted > self.text_max.min(isize::MAX as usize) {
            return false;
        }
        // SAFETY: a native function of ours runs, so Lua's allocator does not.
        let meter = unsafe { self.meter.as_mut() };
        let counted = self.text_counted;
        let sizes = [wanted.max(2 * counted), wanted];
        let Some(size) = sizes.into_iter().find(|size| meter.grow(size - counted)) else { return false };
        self.text_counted = size;
        self.text.try_reserve_exact(size - self.text.len()).is_ok()
    }

    /// Pushes the text that was made, and takes no more than it needs meanwhile.
    pub(crate) fn push_made(&mut self, lua: Lua) {
        let len = self.text.len().max(BUFFER_KEPT);
        if self.text_counted > len {
            self.text.shrink_to(len);
            // SAFETY: as in `count_text`.
            unsafe { self.meter.as_mut() }.shrink(self.text_counted - len);
            self.text_counted = len;
        }
        lua.push_bytes(&self.text);
        if self.text_counted > 0 {
            self.drop_text();
        }
    }

    /// Raises a text with values in it, with the place in the script before it.
    pub(crate) fn fail(&mut self, lua: Lua, text: fmt::Arguments<'_>) -> ! {
        self.write_text(text);
        lua.push_place(1);
        lua.push_bytes(&self.text);
        lua.concat(2);
        lua.raise()
    }

    /// Raises what is wrong with an argument.
    pub(crate) fn fail_argument(&mut self, lua: Lua, index: c_int, text: fmt::Arguments<'_>) -> ! {
        self.write_text(text);
        self.text.push(0);
        let text = CStr::from_bytes_until_nul(&self.text).expect("a zero byte ends it");
        lua.fail_argument(index, text)
    }

    fn write_text(&mut self, text: fmt::Arguments<'_>) {
        self.text.clear();
        self.text.write_fmt(text).expect("memory takes it");
    }

    fn drop_text(&mut self) {
        self.text.clear();
        self.text.shrink_to(BUFFER_KEPT);
        // SAFETY: as in `count_text`.
        unsafe { self.meter.as_mut() }.shrink(std::mem::take(&mut self.text_counted));
    }
}

/// The machine of a native function, whose first own value points to it.
#[inline]
pub(crate) fn shared<'a>(lua: Lua) -> &'a mut Shared {
    // SAFETY: `push_function` gives every function that asks for it this pointer; the machine outlives its
    // state, and one native function runs at a time and keeps no reference across a call of Lua.
    unsafe { &mut *lua.pointer(upvalue(1)).cast::<Shared>() }
}

/// Pushes a native function that finds its machine.
pub(crate) fn push_function(lua: Lua, shared: *mut c_void, function: NativeFunction) {
    lua.push_pointer(shared);
    lua.push_native(function, 1);
}

/// What passes through a protected call.
struct RunFrame<'a, 'w> {
    run: &'a Run<'w>,
    reply: &'a mut Reply,
    len_max: usize,
    too_long: bool,
}

struct CompileFrame<'a> {
    source: &'a [u8],
    name: &'a CStr,
    message: Vec<u8>,
    function: Option<c_int>,
    ran_out: bool,
}

struct ExplainFrame<'a> {
    name: &'a [u8],
    text: Vec<u8>,
    counted: bool,
}

impl Machine {
    /// A machine of the pool; none if there is no memory for it.
    pub fn new(pool: &Arc<Pool>, index: usize, seed: u64) -> Option<Machine> {
        let meter = leak(Meter::new(Arc::clone(pool), index));
        // SAFETY: the allocator gets the meter it expects; both live until `drop`.
        let state = unsafe { ffi::lua_newstate(allocate, meter.as_ptr().cast()) };
        if state.is_null() {
            // SAFETY: nobody else knows the meter.
            drop(unsafe { Box::from_raw(meter.as_ptr()) });
            return None;
        }
        let shared = leak(Shared::new(seed, meter, Arc::clone(pool)));
        let entries = Entries { load: 0, run: 0, compile: 0, collect: 0, explain: 0, on_error: 0 };
        Lua(state).set_panic(panic);
        // SAFETY: Lua does not run, so nobody else has a reference.
        unsafe { &mut *meter.as_ptr() }.attach(Lua(state));
        let mut machine = Machine { lua: Lua(state), shared, meter, entries, live: 0 };
        machine.set_up().then_some(machine)
    }

    fn set_up(&mut self) -> bool {
        let mut frame = (self.shared.as_ptr(), &mut self.entries);
        // SAFETY: `set_up` gets the pair it expects, which outlives the call.
        unsafe { ffi::lua_cpcall(self.lua.0, set_up, (&raw mut frame).cast()) == 0 }
    }

    /// Bytes its Lua state has.
    pub fn used(&self) -> usize {
        // SAFETY: Lua does not run, so nobody changes the meter.
        unsafe { self.meter.as_ref() }.used()
    }

    /// Bytes of its buffers, which are not Lua's.
    pub fn buffers(&self) -> usize {
        // SAFETY: Lua does not run, so nobody changes them.
        unsafe { self.shared.as_ref() }.buffers()
    }

    /// Compiles a script. An error is the compiler's message.
    pub fn compile(&mut self, source: &[u8], name: &CStr) -> Result<Function, Vec<u8>> {
        let mut frame = self.try_compile(source, name);
        if frame.ran_out {
            // Lua does not collect garbage when it gets no memory.
            self.collect();
            frame = self.try_compile(source, name);
        }
        frame.function.map(Function).ok_or(frame.message)
    }

    fn try_compile<'a>(&mut self, source: &'a [u8], name: &'a CStr) -> CompileFrame<'a> {
        let mut frame = CompileFrame { source, name, message: Vec::new(), function: None, ran_out: false };
        if let Some(kind) = self.enter(self.entries.compile, (&raw mut frame).cast(), 0) {
            self.lua.pop(1);
            frame.ran_out = kind == ErrorKind::Memory;
            frame.message = match kind {
                ErrorKind::Memory => OUT_OF_MEMORY.to_vec(),
                ErrorKind::Raised => b"the compiler failed".to_vec(),
            };
        }
        frame
    }

    /// Collects all garbage. Each collection halves buffers and tables of Lua's own that are too large.
    pub fn collect(&mut self) {
        loop {
            let before = self.used();
            self.collect_once();
            self.live = self.used();
            if self.live > before - before / 8 {
                return;
            }
        }
    }

    fn collect_once(&mut self) {
        self.meter_mut().set_lenient(true);
        let error = self.enter(self.entries.collect, ptr::null_mut(), 0);
        self.meter_mut().set_lenient(false);
        self.lua.set_top(0);
        assert!(error.is_none(), "the collector is refused nothing");
    }

    fn meter_mut(&mut self) -> &mut Meter {
        // SAFETY: Lua does not run, so nobody else has a reference.
        unsafe { self.meter.as_mut() }
    }

    /// Gives a compiled script back to the collector.
    pub fn forget(&mut self, function: Function) {
        self.lua.release(function.0);
    }

    /// Runs a script and writes what it returns. On failure nothing is written.
    pub fn run(&mut self, host: &mut dyn Host, run: &Run<'_>, reply: &mut Reply) -> Result<(), Failure> {
        let start = reply.len();
        let text_max = self.begin(host);
        if let Some(source) = run.debugged {
            self.shared_mut().debugger = Some(Box::new(Debugger::new(source)));
            self.lua.set_hook(Some(debugger::hook), HookEvery::LineOrInstructions(HOOK_INSTRUCTIONS));
        }
        let len_max = text_max.saturating_mul(REPLY_PER_MEMORY);
        let mut frame = RunFrame { run, reply, len_max, too_long: false };
        let error = self.enter(self.entries.run, (&raw mut frame).cast(), self.entries.on_error);
        let too_long = frame.too_long;
        let result = match error {
            None if too_long => Err(failure(REPLY_TOO_LONG, run.name)),
            None => Ok(()),
            Some(kind) => Err(self.explain(kind, run.name)),
        };
        self.end(error == Some(ErrorKind::Memory));
        if result.is_err() {
            reply.truncate(start);
        }
        result
    }

    /// Makes ready for a run; returns how long texts may become.
    pub(crate) fn begin(&mut self, host: &mut dyn Host) -> usize {
        // SAFETY: Lua does not run, so nobody else reads the meter.
        if unsafe { self.meter.as_ref() }.is_short_with(self.live) {
            self.collect();
        }
        // SAFETY: Lua does not run, so nobody else reads the meter.
        let text_max = unsafe { self.meter.as_ref() }.text_max();
        let host: NonNull<dyn Host + '_> = NonNull::from(host);
        // SAFETY: only the lifetime changes; `end` takes the host away before the borrow ends, and nothing
        // between them returns early.
        let host = unsafe { std::mem::transmute::<NonNull<dyn Host + '_>, NonNull<dyn Host>>(host) };
        // SAFETY: Lua does not run, so nobody else has a reference.
        let shared = unsafe { self.shared.as_mut() };
        (shared.host, shared.resp3, shared.ended) = (Some(host), false, None);
        (shared.json, shared.text_max) = (json::Settings::default(), text_max);
        self.lua.set_hook(Some(hook), HookEvery::Instructions(HOOK_INSTRUCTIONS));
        text_max
    }

    /// What native functions find; while Lua does not run.
    pub(crate) fn shared_mut(&mut self) -> &mut Shared {
        // SAFETY: Lua does not run, so nobody else has a reference.
        unsafe { self.shared.as_mut() }
    }

    /// `ran_out`: it failed for want of memory.
    pub(crate) fn end(&mut self, ran_out: bool) {
        self.lua.set_hook(None, HookEvery::Line);
        self.drop_words();
        // SAFETY: as in `begin`.
        let shared = unsafe { self.shared.as_mut() };
        if let Some((mut debugger, host)) = shared.debugger.take().zip(shared.host()) {
            debugger.end(host);
        }
        shared.host = None;
        shared.drop_text();
        for buffer in [&mut shared.input, &mut shared.flat, &mut shared.reply.buf] {
            buffer.clear();
            buffer.shrink_to(BUFFER_KEPT);
        }
        shared.reply.clear();
        // SAFETY: Lua does not run, so nobody changes the meter.
        let garbage_max = unsafe { self.meter.as_ref() }.garbage_max_beside(self.live);
        self.live = self.live.min(self.used());
        if ran_out {
            self.collect();
        } else if self.used() - self.live > garbage_max {
            self.collect_once();
            self.live = self.used();
        }
    }

    /// Takes KEYS and ARGV from the globals. Nothing new is stored: this cannot fail.
    fn drop_words(&mut self) {
        let lua = self.lua;
        let Shared { globals, word_names, .. } = *self.shared_mut();
        lua.set_top(0);
        lua.raw_get_at(REGISTRY, globals);
        for name in word_names {
            lua.raw_get_at(REGISTRY, name);
            lua.push_value(-1);
            lua.raw_get(1);
            if lua.kind(-1) != NIL {
                lua.pop(1);
                lua.push_nil();
                lua.raw_set(1);
            }
            lua.set_top(1);
        }
        lua.set_top(0);
    }

    /// Makes a text of the error on top.
    fn explain(&mut self, kind: ErrorKind, name: &[u8]) -> Failure {
        if kind == ErrorKind::Memory {
            return failure(OUT_OF_MEMORY, name);
        }
        let mut frame = ExplainFrame { name, text: Vec::new(), counted: false };
        self.lua.raw_get_at(REGISTRY, self.entries.explain);
        self.lua.insert(-2);
        self.lua.push_pointer((&raw mut frame).cast());
        if self.lua.protected_call(2, 0, 0).is_some() {
            return failure(b"the error cannot be shown", name);
        }
        Failure { text: frame.text, counted: frame.counted }
    }

    /// Calls one of the entries with a pointer. An error stays on top.
    pub(crate) fn enter(&mut self, entry: c_int, frame: *mut c_void, on_error: c_int) -> Option<ErrorKind> {
        self.lua.set_top(0);
        let mut handler = 0;
        if on_error != 0 {
            self.lua.raw_get_at(REGISTRY, on_error);
            handler = 1;
        }
        self.lua.raw_get_at(REGISTRY, entry);
        self.lua.push_pointer(frame);
        self.lua.protected_call(1, 0, handler)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: the state was made by `new` and is closed once; then nothing points to the boxes any more.
        unsafe {
            ffi::lua_close(self.lua.0);
            drop(Box::from_raw(self.shared.as_ptr()));
            drop(Box::from_raw(self.meter.as_ptr()));
        }
    }
}

impl Shared {
    fn new(seed: u64, meter: NonNull<Meter>, pool: Arc<Pool>) -> Shared {
        Shared {
            host: None,
            pool,
            ended: None,
            resumes: 0,
            resp3: false,
            chance: Chance::from_seed(seed as u32),
            input: Vec::new(),
            spans: Vec::new(),
            reply: Reply::new(Protocol::Resp2),
            flat: Vec::new(),
            text: Vec::new(),
            text_counted: 0,
            meter,
            frames: Vec::new(),
            text_max: usize::MAX,
            json: json::Settings::default(),
            json_in_use: json::Settings::default(),
            json_frames: Vec::new(),
            json_open: Vec::new(),
            levels: Vec::new(),
            loading: None,
            globals: 0,
            word_names: [0; 2],
            debugger: None,
        }
    }
}

fn leak<T>(value: T) -> NonNull<T> {
    NonNull::from(Box::leak(Box::new(value)))
}

fn failure(reason: &[u8], name: &[u8]) -> Failure {
    Failure { text: [b"ERR ", reason, b" script: ", name].concat(), counted: false }
}

/// Builds the sandbox; its argument is a pair of the machine and its entries.
unsafe extern "C-unwind" fn set_up(state: State) -> c_int {
    let lua = Lua(state);
    // SAFETY: `Machine::set_up` passes this pair and waits for the return.
    let (shared, entries) = unsafe { &mut *lua.pointer(1).cast::<(*mut Shared, &mut Entries)>() };
    let pointer = shared.cast::<c_void>();
    lua.push_pointer(hook_key());
    lua.push_pointer(pointer);
    lua.raw_set(REGISTRY);
    sandbox::build(lua, pointer);
    lua.push_pointer(pointer);
    lua.insert(-5);
    lua.push_native(library::load, 5);
    entries.load = lua.keep();
    lua.set_top(GLOBALS_PLACE);
    let globals = lua.keep();
    let word_names = ["KEYS", "ARGV"].map(|name| {
        lua.push_text(name);
        lua.keep()
    });
    // SAFETY: the machine is being made: nobody else has a reference.
    unsafe { ((**shared).globals, (**shared).word_names) = (globals, word_names) };
    lua.push_pointer(pointer);
    lua.raw_get_at(REGISTRY, globals);
    word_names.iter().for_each(|&name| lua.raw_get_at(REGISTRY, name));
    lua.push_native(run, 4);
    entries.run = lua.keep();
    for (native, entry) in [
        (compile as NativeFunction, &mut entries.compile),
        (collect, &mut entries.collect),
        (explain, &mut entries.explain),
        (on_error, &mut entries.on_error),
    ] {
        lua.push_native(native, 0);
        *entry = lua.keep();
    }
    // The registry's list of free places is made with the first one.
    lua.push_bool(true);
    let kept = lua.keep();
    lua.release(kept);
    0
}

/// Where `sandbox::build` has left the globals, behind the pair.
const GLOBALS_PLACE: c_int = 2;

/// Its own values: the machine, the globals, "KEYS" and "ARGV".
unsafe extern "C-unwind" fn run(state: State) -> c_int {
    let lua = Lua(state);
    // SAFETY: `Machine::run` passes its frame and waits for the return.
    let frame = unsafe { &mut *lua.pointer(1).cast::<RunFrame<'_, '_>>() };
    let run = frame.run;
    lua.raw_get_at(REGISTRY, run.function.0);
    match run.passing {
        Passing::Arguments => {
            push_words(lua, run, 0, run.keys);
            push_words(lua, run, run.keys, run.words);
            lua.call(2, 1);
        }
        Passing::Globals => call_with_globals(lua, run),
    }
    let shared = shared(lua);
    let host = shared.host;
    let mut count_error = |text: &[u8], known| {
        if let Some(mut host) = host {
            // SAFETY: as in `Shared::host`; writing a reply calls nothing else of the host's.
            unsafe { host.as_mut() }.count_error(text, known);
        }
    };
    let mut shape = Shape { resp3: shared.resp3, len_max: frame.len_max, count_error: &mut count_error };
    frame.too_long = !write_reply(lua, frame.reply, &mut shared.frames, &mut shape);
    0
}

/// Pushes a table of the words in a range.
fn push_words(lua: Lua, run: &Run<'_>, from: usize, to: usize) {
    lua.new_table(to - from, 0);
    for index in from..to {
        lua.push_bytes((run.word)(index));
        lua.raw_set_at(-2, (index - from) as c_int + 1);
    }
}

/// Calls the script on top, within `run`.
fn call_with_globals(lua: Lua, run: &Run<'_>) {
    for (name, from, to) in [(upvalue(3), 0, run.keys), (upvalue(4), run.keys, run.words)] {
        lua.push_value(name);
        push_words(lua, run, from, to);
        lua.raw_set(upvalue(2));
    }
    lua.call(0, 1);
}

unsafe extern "C-unwind" fn compile(state: State) -> c_int {
    let lua = Lua(state);
    // SAFETY: `Machine::compile` passes its frame and waits for the return.
    let frame = unsafe { &mut *lua.pointer(1).cast::<CompileFrame<'_>>() };
    if let Err(kind) = lua.compile(frame.source, frame.name) {
        frame.ran_out = kind == ErrorKind::Memory;
        frame.message.extend_from_slice(lua.bytes(-1).unwrap_or_default());
    } else {
        frame.function = Some(lua.keep());
    }
    0
}

unsafe extern "C-unwind" fn collect(state: State) -> c_int {
    Lua(state).collect_garbage();
    0
}

/// What becomes of an error where it was raised: a table of ours with its text and place. One that the
/// script has made may be anybody's.
unsafe extern "C-unwind" fn on_error(state: State) -> c_int {
    let lua = Lua(state);
    lua.set_top(1);
    lua.new_table(0, 4);
    let table = lua.top();
    if lua.kind(1) == TABLE {
        for name in ["err", COUNTED] {
            lua.raw_get_field(1, name);
            lua.raw_set_field(table, name);
        }
    } else {
        lua.push_text("ERR ");
        match lua.kind(1) {
            STRING | NUMBER => lua.push_value(1),
            BOOLEAN => lua.push_text(if lua.boolean(1) { "true" } else { "false" }),
            _ => lua.push_bytes(lua.kind_name(1).to_bytes()),
        }
        lua.concat(2);
        lua.raw_set_field(table, "err");
    }
    // Of a native function's error, the place that called it is worth knowing.
    let place = lua.caller(1).filter(|place| !place.is_native).or_else(|| lua.caller(2));
    if let Some(place) = place {
        lua.push_bytes(place.source.to_bytes());
        lua.raw_set_field(table, "source");
        lua.push_number(f64::from(place.line));
        lua.raw_set_field(table, "line");
    }
    lua.set_top(table);
    1
}

/// Takes the error and an `ExplainFrame`.
unsafe extern "C-unwind" fn explain(state: State) -> c_int {
    let lua = Lua(state);
    // SAFETY: `Machine::explain` passes its frame and waits for the return.
    let frame = unsafe { &mut *lua.pointer(2).cast::<ExplainFrame<'_>>() };
    if lua.kind(1) != TABLE {
        let text = lua.bytes(1).unwrap_or(b"execution failure");
        let head = [b"ERR Error running script ", frame.name, b", "];
        head.iter().for_each(|part| frame.text.extend_from_slice(part));
        frame.text.extend_from_slice(&text[..text.len().min(100)]);
        return 0;
    }
    for name in ["err", "source", "line", COUNTED] {
        lua.raw_get_field(1, name);
    }
    frame.text.extend_from_slice(up_to_zero(lua.bytes(3).unwrap_or(b"ERR unknown error")));
    if let (Some(source), Some(line)) = (lua.bytes(4), lua.bytes(5)) {
        for part in [b" script: ", frame.name, b", on ", source, b":", line, b"."] {
            frame.text.extend_from_slice(part);
        }
    }
    frame.counted = lua.boolean(6);
    0
}

/// An error that no protected call waits for: the machine is in no state to go on, nor is who called it.
unsafe extern "C-unwind" fn panic(state: State) -> c_int {
    let text = String::from_utf8_lossy(Lua(state).bytes(-1).unwrap_or_default());
    // What is told of a panic is told; unwinding would pass through Lua.
    let _ = std::panic::catch_unwind(|| panic!("Lua failed outside of a protected call: {text}"));
    std::process::abort()
}

/// Where the registry has the machine for `hook`, which has no values of its own.
fn hook_key() -> *mut c_void {
    static KEY: u8 = 0;
    (&raw const KEY).cast_mut().cast()
}

/// The machine whose Lua calls us, for what has no values of its own: hooks, and what they lead to.
pub(crate) fn of_running<'a>(lua: Lua) -> &'a mut Shared {
    lua.push_pointer(hook_key());
    lua.raw_get(REGISTRY);
    let pointer = lua.pointer(-1);
    lua.pop(1);
    // SAFETY: `set_up` has put the machine there, and one function of ours runs at a time; none keeps the
    // reference across a call of Lua that may call another.
    unsafe { &mut *pointer.cast::<Shared>() }
}

/// Runs every `HOOK_INSTRUCTIONS`.
pub(crate) unsafe extern "C-unwind" fn hook(state: State, _: *mut ffi::lua_Debug) {
    end_if_told(Lua(state));
}

/// Raises an error if the script has to end; from then on at every line, so that it cannot catch that.
pub(crate) fn end_if_told(lua: Lua) {
    let shared = of_running(lua);
    shared.ask_for_end();
    let Some(reason) = shared.ended else { return };
    lua.set_hook(Some(hook), HookEvery::Line);
    crate::to_lua::push_field(lua, "err", reason.as_bytes());
    lua.raise()
}

pub(crate) const OUT_OF_MEMORY: &[u8] = b"not enough memory: lua-memory-limit is reached.";
const REPLY_TOO_LONG: &[u8] = b"the script's reply is too long.";
/// How much longer than Lua's memory a reply may be: one string can stand in it many times.
const REPLY_PER_MEMORY: usize = 4;
/// Instructions between two looks at whether a script must end: about a millisecond.
pub(crate) const HOOK_INSTRUCTIONS: c_int = 100_000;
/// The same in coroutines that were resumed.
const RESUMES: u32 = 16;
/// Capacity that a buffer keeps after a script.
const BUFFER_KEPT: usize = 64 * 1024;
