//! The scripts the server knows: their texts by name, within a limit in bytes, and each worker's machine with
//! what it has compiled of them. Runs nothing.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use base::alloc::size_class;
use base::defrag::Mover;
use parking_lot::{Mutex, RwLock};
use script::{Function, Machine, Pool};

use crate::engine::Engine;
use crate::host::WorkerId;
use crate::running::Running;
use crate::shebang::{Shebang, parse};

/// A script's name: the SHA-1 of its text, in hexadecimal digits.
pub type Sha = [u8; 40];

/// A script. Workers keep it as long as they have it compiled, whether the cache has it or not.
#[derive(Debug)]
pub struct Script {
    pub sha: Sha,
    /// It may be moved to another place.
    text: RwLock<Box<[u8]>>,
    pub shebang: Shebang,
    /// It is no more in the cache.
    gone: AtomicBool,
    /// Used since the cache last thought of dropping it.
    used: AtomicBool,
    /// Somebody counts on its name: it was loaded, or asked for by EVALSHA.
    wanted: AtomicBool,
    /// Bytes of all scripts, with this one.
    held: Arc<AtomicUsize>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.held.fetch_sub(self.own_memory(), Ordering::Relaxed);
    }
}

impl Script {
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub fn text(&self) -> impl Deref<Target = Box<[u8]>> {
        self.text.read()
    }

    /// Whether a cache of so many bytes can hold it; 0 is no limit.
    pub fn fits(&self, limit: usize) -> bool {
        limit == 0 || self.memory() <= limit
    }

    /// What it takes in the cache.
    fn memory(&self) -> usize {
        self.own_memory() + PLACES_LEN
    }

    /// The blocks of itself and of its text, which are as long wherever they are moved.
    fn own_memory(&self) -> usize {
        size_class(self.text.read().len()) + size_class(SCRIPT_LEN)
    }

    fn touch(&self, wanted: bool) {
        for (flag, set) in [(&self.used, true), (&self.wanted, wanted)] {
            // Most are set already: nothing is written then, and no cache line moves.
            if set && !flag.load(Ordering::Relaxed) {
                flag.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Bytes of a script with the counts of who shares it.
const SCRIPT_LEN: usize = size_of::<Script>() + 2 * size_of::<usize>();
/// Bytes of a script's places in the table and in a queue, which may be nearly empty.
const PLACES_LEN: usize = 36;
const PLACE_LEN: usize = size_of::<Arc<Script>>();

/// The cache, and what the machines share.
pub struct Scripts {
    cache: Mutex<Cache>,
    /// Bytes of all scripts, those that are only compiled too.
    held: Arc<AtomicUsize>,
    pub pool: Arc<Pool>,
    workers: usize,
    pub evicted: AtomicU64,
    /// How often all were dropped: machines of an earlier round are closed.
    flushes: AtomicUsize,
    /// Some script that was met keeps to its keys, or all have to: only then is it asked of each.
    some_keep_to_keys: AtomicBool,
    all_keep_to_keys: AtomicBool,
    strict_changes: AtomicU64,
    pub running: Running,
}

#[derive(Default)]
struct Cache {
    by_sha: ByName,
    /// Oldest first; those used since go to the end again. A script is in the queue that it was `wanted` for
    /// when it came there.
    seldom: VecDeque<Arc<Script>>,
    kept: VecDeque<Arc<Script>>,
    bytes: usize,
}

/// Scripts by their names, which stand in the scripts alone: the table is a few bytes for each, even when it
/// has doubled because many came and went.
#[derive(Default)]
struct ByName(HashSet<Named>);

struct Named(Arc<Script>);

impl PartialEq for Named {
    fn eq(&self, other: &Named) -> bool {
        self.0.sha == other.0.sha
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.sha.hash(state);
    }
}

impl Borrow<Sha> for Named {
    fn borrow(&self) -> &Sha {
        &self.0.sha
    }
}

impl ByName {
    fn insert(&mut self, script: &Arc<Script>) {
        self.0.insert(Named(Arc::clone(script)));
    }

    fn get(&self, sha: &Sha) -> Option<&Arc<Script>> {
        self.0.get(sha).map(|named| &named.0)
    }

    fn remove(&mut self, sha: &Sha) {
        self.0.remove(sha);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn values(&self) -> impl Iterator<Item = &Arc<Script>> {
        self.0.iter().map(|named| &named.0)
    }
}

impl Cache {
    /// Bytes of the table and the queues.
    fn tables(&self) -> usize {
        let queues = [&self.seldom, &self.kept].map(|queue| size_class(queue.capacity() * PLACE_LEN));
        queues.into_iter().sum::<usize>() + size_class(self.by_sha.0.capacity() * (PLACE_LEN + 1) * 8 / 7)
    }

    fn insert(&mut self, script: &Arc<Script>) {
        self.bytes += script.memory();
        self.by_sha.insert(script);
        self.enqueue(Arc::clone(script));
    }

    fn enqueue(&mut self, script: Arc<Script>) {
        let wanted = script.wanted.load(Ordering::Relaxed);
        let queue = if wanted { &mut self.kept } else { &mut self.seldom };
        queue.push_back(script);
    }

    /// Drops the script that is likeliest not to be missed.
    fn evict(&mut self) -> bool {
        loop {
            let from_kept = self.seldom.is_empty();
            let queue = if from_kept { &mut self.kept } else { &mut self.seldom };
            let Some(script) = queue.pop_front() else { return false };
            let moved = !from_kept && script.wanted.load(Ordering::Relaxed);
            if script.used.swap(false, Ordering::Relaxed) || moved {
                self.enqueue(script);
                continue;
            }
            script.gone.store(true, Ordering::Relaxed);
            self.by_sha.remove(&script.sha);
            self.bytes -= script.memory();
            return true;
        }
    }
}

/// Lua itself has no room.
pub const NO_MEMORY: &[u8] = b"not enough memory for Lua (lua-memory-limit)";

/// Why a script is not accepted: the error's text.
pub type Refusal = Vec<u8>;

impl Scripts {
    pub fn new(workers: usize, memory_limit: usize) -> Scripts {
        Scripts {
            cache: Mutex::default(),
            held: Arc::default(),
            // The workers' for scripts, and those of `Functions`.
            pool: Arc::new(Pool::new(2 * workers + 2, memory_limit)),
            workers,
            evicted: AtomicU64::new(0),
            flushes: AtomicUsize::new(0),
            some_keep_to_keys: AtomicBool::new(false),
            all_keep_to_keys: AtomicBool::new(false),
            strict_changes: AtomicU64::new(0),
            running: Running::new(workers),
        }
    }

    /// `lua-strict-keys`.
    pub fn set_strict(&self, strict: bool) {
        if self.all_keep_to_keys.swap(strict, Ordering::Release) != strict {
            self.strict_changes.fetch_add(1, Ordering::Release);
        }
    }

    /// How often `lua-strict-keys` has changed.
    pub fn strict_changes(&self) -> u64 {
        self.strict_changes.load(Ordering::Acquire)
    }

    /// Whether every script keeps to its keys.
    pub fn all_keep_to_keys(&self) -> bool {
        self.all_keep_to_keys.load(Ordering::Relaxed)
    }

    /// Whether the script of a text keeps to its keys.
    pub fn text_keeps_to_keys(&self, text: &[u8]) -> bool {
        self.all_keep_to_keys()
            || text.starts_with(b"#!") && parse(text).is_ok_and(|shebang| shebang.declared_keys)
    }

    /// Whether the script of a name keeps to its keys.
    pub fn sha_keeps_to_keys(&self, sha: &[u8]) -> bool {
        self.all_keep_to_keys()
            || self.some_keep_to_keys.load(Ordering::Relaxed)
                && self.find(sha).is_some_and(|script| script.shebang.declared_keys)
    }

    pub fn count(&self) -> usize {
        self.cache.lock().by_sha.len()
    }

    /// Bytes of the machines for scripts.
    pub fn heap(&self) -> usize {
        self.pool.used_by(0..self.workers)
    }

    /// Bytes of all cached scripts.
    pub fn memory(&self) -> usize {
        self.cache.lock().bytes
    }

    /// Bytes of all scripts, in the cache or only compiled, and of the cache's tables.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed) + self.cache.lock().tables()
    }

    pub fn contains(&self, sha: &[u8]) -> bool {
        self.find(sha).is_some()
    }

    /// The script of a name, in any case.
    pub fn find(&self, sha: &[u8]) -> Option<Arc<Script>> {
        self.cache.lock().by_sha.get(&lower_sha(sha)?).cloned()
    }

    /// Puts a script into the cache, if it fits there; returns it, or the one of its text that is there.
    fn remember(&self, script: Arc<Script>, limit: usize) -> Arc<Script> {
        if script.shebang.declared_keys {
            self.some_keep_to_keys.store(true, Ordering::Relaxed);
        }
        let mut cache = self.cache.lock();
        if let Some(known) = cache.by_sha.get(&script.sha) {
            return Arc::clone(known);
        }
        // A text that would push out all others is only run.
        if !script.fits(limit) {
            return script;
        }
        while limit != 0 && cache.bytes + script.memory() > limit && cache.evict() {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        script.used.store(false, Ordering::Relaxed);
        script.gone.store(false, Ordering::Relaxed);
        cache.insert(&script);
        script
    }

    /// Moves texts out of sparse slabs until the mover has done enough, on from where it was; false at the
    /// end.
    pub fn move_on(&self, done: &mut usize, mover: &mut Mover) -> bool {
        let cache = self.cache.lock();
        let mut texts = cache.seldom.iter().chain(&cache.kept).skip(*done);
        while !mover.is_spent() {
            let Some(script) = texts.next() else {
                *done = 0;
                return false;
            };
            *done += 1;
            // Who reads it now would wait.
            if let Some(mut text) = script.text.try_write() {
                mover.bytes(&mut text);
            }
        }
        true
    }

    /// Drops all scripts.
    pub fn flush(&self) {
        let cache = std::mem::take(&mut *self.cache.lock());
        for script in cache.by_sha.values() {
            script.gone.store(true, Ordering::Relaxed);
        }
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }
}

/// A name's digits in small letters, if it has as many as a name has.
pub fn lower_sha(sha: &[u8]) -> Option<Sha> {
    let mut sha: Sha = sha.try_into().ok()?;
    sha.make_ascii_lowercase();
    Some(sha)
}

/// A worker's machine.
#[derive(Default)]
pub struct ScriptSeat {
    machine: Option<Machine>,
    compiled: Vec<Option<Compiled>>,
    free: Vec<usize>,
    by_text: HashMap<u64, usize, NumberHash>,
    by_sha: HashMap<Sha, usize, NumberHash>,
    /// Places in the order in which they were compiled.
    queue: VecDeque<usize>,
    /// Bytes of Lua's memory that compiled scripts took.
    bytes: usize,
    flushes: usize,
}

struct Compiled {
    script: Arc<Script>,
    function: Function,
    text_hash: u64,
    bytes: usize,
    used: bool,
}

/// A script that is ready to run, at a place of the seat.
pub struct Ready {
    pub script: Arc<Script>,
    pub function: Function,
}

impl ScriptSeat {
    /// Bytes that are not Lua's: the machine's buffers, and the tables of what is compiled.
    pub fn memory(&self) -> usize {
        let places = self.free.capacity() + self.queue.capacity();
        let names = self.by_text.capacity() * TEXT_ROW + self.by_sha.capacity() * SHA_ROW;
        let tables = [
            self.compiled.capacity() * size_of::<Option<Compiled>>(),
            places * size_of::<usize>(),
            names * 8 / 7,
        ];
        self.machine.as_ref().map_or(0, Machine::buffers) + tables.into_iter().sum::<usize>()
    }
}

/// Bytes of a table's rows: of which seven in eight are used at most.
const TEXT_ROW: usize = size_of::<(u64, usize)>() + 1;
const SHA_ROW: usize = size_of::<(Sha, usize)>() + 1;

/// What to do with a text that is not in the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It is run: EVAL.
    Once,
    /// It will be asked for by its name: SCRIPT LOAD, EVALSHA.
    Again,
}

impl ScriptSeat {
    /// The script of a text, compiled and cached.
    pub fn by_text(
        &mut self,
        engine: &Engine,
        text: &[u8],
        wanted: Wanted,
        limit: usize,
        worker: WorkerId,
    ) -> Result<Ready, Refusal> {
        self.follow_flushes(&engine.scripts);
        let hash = base::hash::hash(text);
        let place = self.by_text.get(&hash).copied();
        if let Some(ready) = self.ready(place, |script| **script.text() == *text) {
            ready.script.touch(wanted == Wanted::Again);
            if !ready.script.is_gone() {
                return Ok(ready);
            }
            let script = engine.scripts.remember(ready.script, limit);
            script.touch(wanted == Wanted::Again);
            return Ok(self.adopt(place, script, ready.function));
        }
        let script = match engine.scripts.find(&script::sha1_hex(text)) {
            Some(script) => script,
            None => Arc::new(Script::new(text, wanted, &engine.scripts.held)?),
        };
        script.touch(wanted == Wanted::Again);
        let (function, bytes) = self.compile(engine, &script, worker)?;
        let script = engine.scripts.remember(script, limit);
        Ok(self
            .file(Compiled { script, function, text_hash: hash, bytes, used: false }, &engine.scripts.pool))
    }

    /// The script of a name; nothing if the server does not know it.
    pub fn by_sha(
        &mut self,
        engine: &Engine,
        sha: &[u8],
        worker: WorkerId,
    ) -> Result<Option<Ready>, Refusal> {
        self.follow_flushes(&engine.scripts);
        let Some(sha) = lower_sha(sha) else { return Ok(None) };
        let place = self.by_sha.get(&sha).copied();
        let ready = match self.ready(place, |_| true) {
            Some(ready) if !ready.script.is_gone() => {
                ready.script.touch(true);
                return Ok(Some(ready));
            }
            ready => ready,
        };
        let Some(script) = engine.scripts.find(&sha) else { return Ok(None) };
        script.touch(true);
        if let Some(ready) = ready {
            return Ok(Some(self.adopt(place, script, ready.function)));
        }
        let text_hash = base::hash::hash(&script.text());
        let (function, bytes) = self.compile(engine, &script, worker)?;
        let compiled = Compiled { script, function, text_hash, bytes, used: false };
        Ok(Some(self.file(compiled, &engine.scripts.pool)))
    }

    /// What is compiled at a place belongs to another script of the same text from now on: the one that is in
    /// the cache.
    fn adopt(&mut self, place: Option<usize>, script: Arc<Script>, function: Function) -> Ready {
        if let Some(compiled) = place.and_then(|place| self.compiled[place].as_mut()) {
            compiled.script = Arc::clone(&script);
        }
        Ready { script, function }
    }

    pub fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("a script that is ready has a machine")
    }

    fn ready(&mut self, place: Option<usize>, fits: impl Fn(&Script) -> bool) -> Option<Ready> {
        let compiled = self.compiled[place?].as_mut()?;
        if !fits(&compiled.script) {
            return None;
        }
        compiled.used = true;
        Some(Ready { script: Arc::clone(&compiled.script), function: compiled.function })
    }

    /// SCRIPT FLUSH closes the machine with all that is compiled.
    pub(crate) fn follow_flushes(&mut self, scripts: &Scripts) {
        let flushes = scripts.flushes.load(Ordering::Relaxed);
        if flushes != self.flushes {
            *self = ScriptSeat { flushes, ..ScriptSeat::default() };
        }
    }

    /// The function of a script, and the bytes that it takes.
    fn compile(
        &mut self,
        engine: &Engine,
        script: &Script,
        worker: WorkerId,
    ) -> Result<(Function, usize), Refusal> {
        let pool = &engine.scripts.pool;
        if self.machine.is_none() {
            self.machine = Machine::new(pool, usize::from(worker.0), engine.host.random());
        }
        let Some(machine) = &mut self.machine else {
            return Err([b"ERR ", NO_MEMORY].concat());
        };
        let before = machine.used();
        let text = script.text();
        let source = &text[script.shebang.len..];
        let function = machine
            .compile(source, c"@user_script")
            .map_err(|message| [b"ERR Error compiling script (new function): ", &message[..]].concat())?;
        // The collector may have worked meanwhile: never less than the text stands for.
        let bytes = machine.used().saturating_sub(before).max(source.len() + COMPILED_LEN);
        Ok((function, bytes))
    }

    /// Puts a script in its place, which it keeps until it has run at least.
    fn file(&mut self, compiled: Compiled, pool: &Pool) -> Ready {
        self.trim(compiled_limit(pool).saturating_sub(compiled.bytes));
        let ready = Ready { script: Arc::clone(&compiled.script), function: compiled.function };
        let (hash, sha) = (compiled.text_hash, compiled.script.sha);
        self.bytes += compiled.bytes;
        let place = self.free.pop().unwrap_or_else(|| {
            self.compiled.push(None);
            self.compiled.len() - 1
        });
        self.compiled[place] = Some(compiled);
        self.queue.push_back(place);
        self.by_text.insert(hash, place);
        self.by_sha.insert(sha, place);
        ready
    }

    /// Forgets what was not used since it was last looked at, oldest first.
    fn trim(&mut self, limit: usize) {
        while self.bytes > limit
            && let Some(place) = self.queue.pop_front()
        {
            let compiled = self.compiled[place].as_mut().expect("what is queued is there");
            if std::mem::take(&mut compiled.used) {
                self.queue.push_back(place);
                continue;
            }
            let compiled = self.compiled[place].take().expect("it was just looked at");
            self.bytes -= compiled.bytes;
            self.free.push(place);
            if self.by_text.get(&compiled.text_hash) == Some(&place) {
                self.by_text.remove(&compiled.text_hash);
            }
            if self.by_sha.get(&compiled.script.sha) == Some(&place) {
                self.by_sha.remove(&compiled.script.sha);
            }
            self.machine().forget(compiled.function);
        }
    }
}

/// Bytes of the smallest compiled script.
const COMPILED_LEN: usize = 700;

/// Bytes of compiled scripts that a machine keeps: what it has beyond them is for those that run.
fn compiled_limit(pool: &Pool) -> usize {
    match pool.limit() {
        0 => COMPILED_LIMIT,
        limit => (limit / (4 * pool.machines())).min(COMPILED_LIMIT),
    }
}

const COMPILED_LIMIT: usize = 4 << 20;

impl Script {
    fn new(text: &[u8], wanted: Wanted, held: &Arc<AtomicUsize>) -> Result<Script, Refusal> {
        let shebang = parse(text)?;
        let script = Script {
            sha: script::sha1_hex(text),
            text: RwLock::new(text.into()),
            shebang,
            gone: AtomicBool::new(true),
            used: AtomicBool::new(false),
            wanted: AtomicBool::new(wanted == Wanted::Again),
            held: Arc::clone(held),
        };
        held.fetch_add(script.own_memory(), Ordering::Relaxed);
        Ok(script)
    }
}

/// For keys that are hashes already: takes their first bytes as they are.
#[derive(Clone, Copy, Default)]
struct NumberHash;

impl std::hash::BuildHasher for NumberHash {
    type Hasher = Number;

    fn build_hasher(&self) -> Number {
        Number(0)
    }
}

struct Number(u64);

impl std::hash::Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write(&mut self, bytes: &[u8]) {
        let words = bytes.chunks_exact(8);
        self.0 = words.fold(self.0, |hash, word| {
            let word = u64::from_le_bytes(word.try_into().expect("a chunk has eight bytes"));
            (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
        });
    }
}
