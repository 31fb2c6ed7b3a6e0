//! The libraries of functions the server knows, and the machines with those that they have loaded. A library
//! is its source: every machine loads it anew, and learns the same functions. Runs no function.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use base::quoting::split_args;
use parking_lot::Mutex;
use resp::reply::Reply;
use script::{Function, Host, Machine, Pool, Registered, Words, is_name};

use crate::engine::Engine;
use crate::host::WorkerId;
use crate::scripts::NO_MEMORY;
use crate::shebang::FLAGS;

/// Why a library is not accepted: the error's text without its code.
pub type Refusal = Vec<u8>;

pub struct Library {
    pub name: Box<[u8]>,
    pub code: Box<[u8]>,
    /// By their names.
    pub functions: Vec<FunctionInfo>,
}

pub struct FunctionInfo {
    pub name: Box<[u8]>,
    pub description: Option<Box<[u8]>>,
    /// Bits by the places in `shebang::FLAGS`.
    pub flags: u32,
}

impl Library {
    fn memory(&self) -> usize {
        let described = |function: &FunctionInfo| function.description.as_ref().map_or(0, |text| text.len());
        let functions = self.functions.iter();
        let functions: usize =
            functions.map(|function| 2 * function.name.len() + described(function) + FUNCTION_LEN).sum();
        2 * self.name.len() + self.code.len() + functions + LIBRARY_LEN
    }

    /// Where its code begins: the machine does not see the line before.
    fn body(&self) -> &[u8] {
        body(&self.code)
    }
}

/// Bytes of a function and of a library beside their texts.
const FUNCTION_LEN: usize = 128;
const LIBRARY_LEN: usize = 256;

fn body(code: &[u8]) -> &[u8] {
    let line = code.iter().position(|&byte| byte == b'\n').unwrap_or(code.len());
    &code[line..]
}

/// All libraries at one time.
#[derive(Default, Clone)]
pub struct Libraries {
    by_name: BTreeMap<Box<[u8]>, Arc<Library>>,
    /// Where each function is, by its name in small letters.
    by_function: HashMap<Box<[u8]>, (Arc<Library>, usize)>,
}

impl Libraries {
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn function_count(&self) -> usize {
        self.by_function.len()
    }

    pub fn find(&self, function: &[u8]) -> Option<(&Arc<Library>, &FunctionInfo)> {
        let (library, place) = self.place(function)?;
        Some((library, &library.functions[place]))
    }

    fn place(&self, function: &[u8]) -> Option<(&Arc<Library>, usize)> {
        let found = match function.iter().any(u8::is_ascii_uppercase) {
            true => self.by_function.get(&*function.to_ascii_lowercase()),
            false => self.by_function.get(function),
        };
        found.map(|(library, place)| (library, *place))
    }

    fn add(&mut self, library: Arc<Library>, replace: bool) -> Result<(), Refusal> {
        if !replace && self.by_name.contains_key(&library.name) {
            return Err([b"Library '", &*library.name, b"' already exists"].concat());
        }
        let old = self.take(&library.name);
        let taken = library.functions.iter().find(|function| self.find(&function.name).is_some());
        if let Some(function) = taken {
            let refusal = [b"Function ", &*function.name, b" already exists"].concat();
            old.into_iter().for_each(|old| self.link(old));
            return Err(refusal);
        }
        self.link(library);
        Ok(())
    }

    fn link(&mut self, library: Arc<Library>) {
        for (place, function) in library.functions.iter().enumerate() {
            let name = function.name.to_ascii_lowercase().into();
            self.by_function.insert(name, (Arc::clone(&library), place));
        }
        self.by_name.insert(library.name.clone(), library);
    }

    fn take(&mut self, name: &[u8]) -> Option<Arc<Library>> {
        let library = self.by_name.remove(name)?;
        for function in &library.functions {
            self.by_function.remove(&*function.name.to_ascii_lowercase());
        }
        Some(library)
    }
}

/// What FUNCTION RESTORE does with the libraries that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RestorePolicy {
    Flush,
    Append,
    Replace,
}

/// The libraries, and what the machines for functions share. Whoever changes them holds all shards.
pub struct Functions {
    current: ArcSwap<Libraries>,
    changes: AtomicU64,
    pub pool: Arc<Pool>,
    /// The workers', and after them that of whoever holds all shards: most functions do, and what their
    /// libraries keep from one call to the next is one state then.
    seats: Box<[Mutex<FunctionSeat>]>,
    /// One machine at a time learns what a library registers.
    learning: Mutex<()>,
}

impl Functions {
    /// `pool` counts the workers' machines for scripts, those of the seats, and the one that learns.
    pub fn new(pool: Arc<Pool>, workers: usize) -> Functions {
        let seats = (0..=workers).map(|_| Mutex::default()).collect();
        let (current, changes, learning) = <_>::default();
        Functions { current, changes, pool, seats, learning }
    }

    /// Runs with the seat of whoever holds all shards, or else the worker's. It is out of others' sight
    /// meanwhile.
    pub fn with_seat<R>(
        &self,
        worker: WorkerId,
        holds_all: bool,
        work: impl FnOnce(&mut FunctionSeat) -> R,
    ) -> R {
        let place = if holds_all { self.seats.len() - 1 } else { usize::from(worker.0) };
        let mut seat = std::mem::take(&mut *self.seats[place].lock());
        seat.index = self.first_index() + place;
        let result = work(&mut seat);
        *self.seats[place].lock() = seat;
        result
    }

    /// Where the pool has the first seat's machine.
    fn first_index(&self) -> usize {
        self.seats.len() - 1
    }

    /// From now on these are the libraries; machines that nobody uses forget the others.
    fn change(&self, libraries: Libraries) {
        self.seats.iter().for_each(|seat| seat.lock().follow(&libraries));
        self.current.store(Arc::new(libraries));
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often the libraries have changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub fn current(&self) -> Guard<Arc<Libraries>> {
        self.current.load()
    }

    /// As `current`, for whoever keeps it for long.
    pub fn snapshot(&self) -> Arc<Libraries> {
        self.current.load_full()
    }

    /// Bytes of the machines for functions.
    pub fn heap(&self) -> usize {
        self.pool.used_by(self.first_index()..self.pool.machines())
    }

    /// Bytes of the machines' buffers, but of those that run.
    pub fn buffers(&self) -> usize {
        let idle = self.seats.iter().filter_map(|seat| seat.try_lock());
        idle.filter_map(|seat| seat.machine.as_ref().map(Machine::buffers)).sum()
    }

    /// Bytes of the libraries.
    pub fn memory(&self) -> usize {
        self.current().iter().map(|library| library.memory()).sum()
    }

    /// Adds a library and returns its name.
    pub fn load(
        &self,
        engine: &Engine,
        code: &[u8],
        replace: bool,
        time: LoadTime,
    ) -> Result<Box<[u8]>, Refusal> {
        let mut libraries = Libraries::clone(&self.current());
        let name = metadata(code)?;
        if !replace && libraries.by_name.contains_key(&*name) {
            return Err([b"Library '", &name[..], b"' already exists"].concat());
        }
        let library = self.learn(engine, name, code, time)?;
        let name = library.name.clone();
        libraries.add(Arc::new(library), replace)?;
        self.change(libraries);
        Ok(name)
    }

    /// Finds out what a library registers.
    fn learn(&self, engine: &Engine, name: Vec<u8>, code: &[u8], time: LoadTime) -> Result<Library, Refusal> {
        let _learning = self.learning.lock();
        let index = self.pool.machines() - 1;
        let machine = Machine::new(&self.pool, index, engine.host.random());
        let mut machine = machine.ok_or_else(|| NO_MEMORY.to_vec())?;
        let mut host = LoadHost { engine, began_ns: engine.host.monotonic_ns(), time };
        let mut functions: Vec<_> = machine
            .load(&mut host, body(code), FLAGS)?
            .into_iter()
            .map(|registered| FunctionInfo {
                name: registered.name.into(),
                description: registered.description.map(Into::into),
                flags: registered.flags,
            })
            .collect();
        if functions.is_empty() {
            return Err(b"No functions registered".to_vec());
        }
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        let same = |pair: &&[FunctionInfo]| pair[0].name.eq_ignore_ascii_case(&pair[1].name);
        if let Some(pair) = functions.windows(2).find(same) {
            return Err([b"Function ", &*pair[1].name, b" already exists"].concat());
        }
        Ok(Library { name: name.into(), code: code.into(), functions })
    }

    /// Removes a library; false if it is not there.
    pub fn delete(&self, name: &[u8]) -> bool {
        let mut libraries = Libraries::clone(&self.current());
        let found = libraries.take(name).is_some();
        if found {
            self.change(libraries);
        }
        found
    }

    pub fn flush(&self) {
        self.change(Libraries::default());
    }

    /// Adds the libraries of these sources, all or none.
    pub fn restore(
        &self,
        engine: &Engine,
        codes: &[Vec<u8>],
        policy: RestorePolicy,
        time: LoadTime,
    ) -> Result<(), Refusal> {
        let mut restored = Libraries::default();
        for code in codes {
            let library = self.learn(engine, metadata(code)?, code, time)?;
            restored.add(Arc::new(library), false)?;
        }
        if policy == RestorePolicy::Flush {
            self.change(restored);
            return Ok(());
        }
        let mut libraries = Libraries::clone(&self.current());
        let replace = policy == RestorePolicy::Replace;
        // First all that give way, so that a function may move from one library to another.
        for library in restored.iter().filter(|_| replace) {
            libraries.take(&library.name);
        }
        for library in restored.iter() {
            libraries.add(Arc::clone(library), replace).map_err(|_| collision(library, &libraries))?;
        }
        self.change(libraries);
        Ok(())
    }
}

fn collision(library: &Library, libraries: &Libraries) -> Refusal {
    let taken = library.functions.iter().find(|function| libraries.find(&function.name).is_some());
    match taken {
        _ if libraries.by_name.contains_key(&library.name) => {
            [b"Library ", &*library.name, b" already exists"].concat()
        }
        Some(function) => [b"Function ", &*function.name, b" already exists"].concat(),
        None => b"failed loading the given functions payload".to_vec(),
    }
}

/// How long a library may take to register its functions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LoadTime {
    /// A client waits.
    Short,
    /// A client waits, and it was accepted before.
    Long,
    /// It was accepted before.
    Unlimited,
}

impl LoadTime {
    fn most_ns(self) -> u64 {
        match self {
            LoadTime::Short => 500_000_000,
            LoadTime::Long => 5_000_000_000,
            LoadTime::Unlimited => u64::MAX,
        }
    }
}

/// What a library may ask of the server while it is loaded.
struct LoadHost<'e> {
    engine: &'e Engine,
    began_ns: u64,
    time: LoadTime,
}

impl Host for LoadHost<'_> {
    fn call(&mut self, _: Words<'_>, reply: &mut Reply) -> bool {
        reply.error("ERR redis.call/pcall can only be called inside a script invocation");
        false
    }

    fn knows(&mut self, _: Words<'_>) -> bool {
        false
    }

    fn set_logged(&mut self, _: bool) {}

    fn log(&mut self, level: u8, message: &[u8]) {
        self.engine.log_of_script(level, message);
    }

    fn count_error(&mut self, _: &[u8], _: bool) {}

    fn must_end(&mut self) -> Option<&'static str> {
        let elapsed = self.engine.host.monotonic_ns().saturating_sub(self.began_ns);
        (elapsed > self.time.most_ns()).then_some("ERR FUNCTION LOAD timeout")
    }

    fn clock_s(&mut self) -> f64 {
        self.engine.host.monotonic_ns() as f64 / 1e9
    }

    fn say(&mut self, _: &[u8]) {}

    fn hear(&mut self, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// The name in a library's first line.
fn metadata(code: &[u8]) -> Result<Vec<u8>, Refusal> {
    const INVALID: &[u8] = b"Invalid library metadata";
    if !code.starts_with(b"#!") {
        return Err(b"Missing library metadata".to_vec());
    }
    let end = code.iter().position(|&byte| byte == b'\n').ok_or(INVALID)?;
    let words = split_args(&code[..end]).map_err(|_| INVALID)?;
    let (engine, options) = words.split_first().ok_or(INVALID)?;
    let mut name = None;
    for option in options {
        match option.split_at_checked(NAME.len()) {
            Some((key, _)) if key.eq_ignore_ascii_case(NAME) && name.is_some() => {
                return Err(b"Invalid metadata value, name argument was given multiple times".to_vec());
            }
            Some((key, value)) if key.eq_ignore_ascii_case(NAME) => name = Some(value.to_vec()),
            _ => return Err([b"Invalid metadata value given: ", &option[..]].concat()),
        }
    }
    let name = name.ok_or(b"Library name was not given")?;
    if !is_name(&name) {
        return Err(
            b"Library names can only contain letters, numbers, or underscores(_) and must be at least one \
                     character long"
                .to_vec(),
        );
    }
    if !engine[2..].eq_ignore_ascii_case(b"lua") {
        return Err([b"Engine '", &engine[2..], b"' not found"].concat());
    }
    Ok(name)
}

const NAME: &[u8] = b"name=";

/// A machine for functions.
#[derive(Default)]
pub struct FunctionSeat {
    machine: Option<Machine>,
    /// Its place in the pool.
    index: usize,
    loaded: HashMap<Box<[u8]>, Loaded>,
}

/// A library in a machine.
struct Loaded {
    library: Arc<Library>,
    /// By their places in the library.
    functions: Vec<Function>,
}

/// A function that is ready to run.
pub struct Ready {
    library: Arc<Library>,
    /// Its place in the library.
    place: usize,
    pub function: Function,
}

impl Ready {
    pub fn info(&self) -> &FunctionInfo {
        &self.library.functions[self.place]
    }
}

impl FunctionSeat {
    /// The function of a name; nothing if there is none.
    pub fn find(&mut self, engine: &Engine, function: &[u8]) -> Result<Option<Ready>, Refusal> {
        let libraries = engine.functions.current();
        let Some((library, place)) = libraries.place(function) else { return Ok(None) };
        let is_loaded =
            self.loaded.get(&library.name).is_some_and(|loaded| Arc::ptr_eq(&loaded.library, library));
        if !is_loaded {
            self.load(engine, &libraries, library)?;
        }
        let function = self.loaded[&library.name].functions[place];
        Ok(Some(Ready { library: Arc::clone(library), place, function }))
    }

    pub fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("a function that is ready has a machine")
    }

    /// Forgets libraries that are no more, and with the last of them the machine and its garbage.
    fn follow(&mut self, libraries: &Libraries) {
        let is_current = |loaded: &Loaded| {
            let current = libraries.by_name.get(&loaded.library.name);
            current.is_some_and(|current| Arc::ptr_eq(current, &loaded.library))
        };
        let Some(machine) = &mut self.machine else { return };
        if !self.loaded.values().any(is_current) {
            *self = FunctionSeat { index: self.index, ..FunctionSeat::default() };
            return;
        }
        let gone = self.loaded.extract_if(|_, loaded| !is_current(loaded));
        let functions: Vec<_> = gone.flat_map(|(_, loaded)| loaded.functions).collect();
        if !functions.is_empty() {
            functions.into_iter().for_each(|function| machine.forget(function));
            machine.collect();
        }
    }

    /// Loads a library, and forgets those that are no more.
    fn load(
        &mut self,
        engine: &Engine,
        libraries: &Libraries,
        library: &Arc<Library>,
    ) -> Result<(), Refusal> {
        self.follow(libraries);
        if self.machine.is_none() {
            self.machine = Machine::new(&engine.functions.pool, self.index, engine.host.random());
        }
        let machine = self.machine.as_mut().ok_or_else(|| NO_MEMORY.to_vec())?;
        let mut host = LoadHost { engine, began_ns: engine.host.monotonic_ns(), time: LoadTime::Long };
        let mut registered = machine.load(&mut host, library.body(), FLAGS)?;
        registered.sort_by(|one, other| one.name.cmp(&other.name));
        let same = |(one, info): (&Registered, &FunctionInfo)| one.name[..] == *info.name;
        let functions = registered.iter().map(|one| one.function).collect();
        if registered.len() != library.functions.len() || !registered.iter().zip(&library.functions).all(same)
        {
            registered.iter().for_each(|one| machine.forget(one.function));
            return Err(b"the library registers other functions each time that it is loaded".to_vec());
        }
        self.loaded.insert(library.name.clone(), Loaded { library: Arc::clone(library), functions });
        Ok(())
    }
}
