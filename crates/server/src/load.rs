//! Fills the keyspace from a dump file, with a thread for each core. Commands may run beside it (they are
//! refused while loading); it must never leave out a key without saying so, nor go on after damage unless
//! that was asked for.
//!
//! Whoever of the threads has nothing to do takes the reader's lock, cuts the next records out of the file
//! by their lengths alone, lets go, and decodes and inserts them. So there is no queue, memory holds one
//! batch for each thread, and a fault is told as by a single reader: batches are taken in the file's order,
//! those taken are ended, and of several faults the first in the file counts.

mod recovery;
mod room;
mod watch;

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use base::bytes::escape;
use base::time::UnixMs;
use engine::Engine;
use engine::access::Access;
use engine::config::{BeyondMemory, Config, REDACTED, SanitizePayload};
use engine::functions::LoadTime;
use engine::host::{AtDuplicate, LoadStatus};
use parking_lot::Mutex;
use rdb::{Attributes, Batch, HashObject, Item, Object, RawValue, ReadOptions, Reader};
use rustix::process::{Resource, getrlimit};
use store::{DbIndex, Entry, Garbage, Key, Plan, ShardId};

use crate::disk::{AnyDisk, FileReader};
use crate::governor;
use crate::log::{LOG, reason};
use room::RoomMaker;

pub use watch::watch_over;

/// How far the load is; read by INFO while it goes on.
#[derive(Default)]
pub struct Progress {
    started: AtomicI64,
    total_bytes: AtomicU64,
    loaded_bytes: AtomicU64,
    rdb_used_memory: AtomicU64,
    keys_loaded: AtomicU64,
    keys_expired: AtomicU64,
    keys_empty: AtomicU64,
    /// Bytes that readers and batches take.
    buffer_bytes: AtomicU64,
    /// Bytes of the files before this one.
    before: AtomicU64,
}

impl Progress {
    pub fn begin(&self, now: UnixMs, total_bytes: u64) {
        self.started.store(now.0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        let counts = [
            &self.loaded_bytes,
            &self.rdb_used_memory,
            &self.keys_loaded,
            &self.keys_expired,
            &self.keys_empty,
            &self.before,
        ];
        counts.into_iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// One more file, behind others of so many bytes.
    pub fn begin_file(&self, before: u64) {
        self.before.store(before, Ordering::Relaxed);
        self.reach(0);
    }

    /// The file is read up to there.
    pub fn reach(&self, offset: u64) {
        self.loaded_bytes.store(self.before.load(Ordering::Relaxed) + offset, Ordering::Relaxed);
    }

    /// A buffer that took `before` bytes takes `now`.
    fn hold(&self, before: usize, now: usize) {
        self.buffer_bytes.fetch_add((now as u64).wrapping_sub(before as u64), Ordering::Relaxed);
    }

    pub fn log_state(&self) {
        let status = self.status();
        let percent = status.loaded_bytes * 100 / status.total_bytes.max(1);
        LOG.notice(&format!("Loading DB in memory: {percent}% done, {} keys so far", status.keys_loaded));
    }

    /// The last words.
    fn report(&self) {
        let (loaded, expired) = (self.status().keys_loaded, self.status().keys_expired);
        let empty = self.keys_empty.load(Ordering::Relaxed);
        if empty > 0 {
            LOG.warning(&format!(
                "Done loading RDB, keys loaded: {loaded}, keys expired: {expired}, empty keys skipped: \
                 {empty}."
            ));
        } else {
            LOG.notice(&format!("Done loading RDB, keys loaded: {loaded}, keys expired: {expired}."));
        }
    }

    pub fn status(&self) -> LoadStatus {
        LoadStatus {
            started: UnixMs(self.started.load(Ordering::Relaxed)),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            loaded_bytes: self.loaded_bytes.load(Ordering::Relaxed),
            buffer_bytes: self.buffer_bytes.load(Ordering::Relaxed),
            rdb_used_memory: self.rdb_used_memory.load(Ordering::Relaxed),
            keys_loaded: self.keys_loaded.load(Ordering::Relaxed),
            keys_expired: self.keys_expired.load(Ordering::Relaxed),
        }
    }
}

/// What became of the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    Yes,
    /// There is no file: an empty keyspace.
    Absent,
}

/// What damage means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtDamage {
    Refuse,
    /// Whatever is whole is loaded; the file is kept under another name as well.
    Recover,
}

/// The file, and what is done with it.
#[derive(Clone, Copy)]
pub struct Dump<'a> {
    pub disk: AnyDisk,
    pub path: &'a Path,
    pub at_damage: AtDamage,
    pub at_duplicate: AtDuplicate,
    /// What becomes of it if it is larger than `maxmemory`.
    pub beyond: BeyondMemory,
}

/// Loads a dump into the keyspace. The error says what is wrong, and where.
/// If it takes long enough for somebody to notice, `takes_long` is called, again and again.
pub fn load(
    engine: &Engine,
    dump: Dump<'_>,
    progress: &Progress,
    now: UnixMs,
    takes_long: &mut dyn FnMut(),
) -> Result<Loaded, String> {
    let file = match dump.disk.open(&dump.disk.folder().join(dump.path)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Absent),
        Err(error) => return Err(reason(&error)),
    };
    let len = len_of(&file);
    progress.begin(now, len);
    let mut load =
        Load::new(engine, (FileReader { disk: dump.disk, file }, len), dump.beyond, progress, now)?;
    load.at_duplicate = dump.at_duplicate;
    match dump.at_damage {
        AtDamage::Refuse => load.run_on_threads(takes_long),
        AtDamage::Recover => {
            watch_over(1, (engine, progress), takes_long, || recovery::run(&load, dump));
        }
    }
    load.end()?;
    Ok(Loaded::Yes)
}

/// As `load`, for a dump at the beginning of a file that others may stand behind. Returns where it ends. No
/// key gives way, and none is left out because it has expired: what stands behind it builds on each of them.
pub fn load_file(
    engine: &Engine,
    disk: AnyDisk,
    file: File,
    progress: &Progress,
    now: UnixMs,
    takes_long: &mut dyn FnMut(),
) -> Result<u64, String> {
    let beyond = match engine.config().load_beyond_maxmemory {
        BeyondMemory::Refuse => BeyondMemory::Refuse,
        _ => BeyondMemory::Load,
    };
    let len = len_of(&file);
    let load = Load::new(engine, (FileReader { disk, file }, len), beyond, progress, now)?;
    let load = Load { expired_by: UnixMs(i64::MIN), ..load };
    load.run_on_threads(takes_long);
    load.end()
}

/// Bytes; 0 if it does not say.
fn len_of(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

/// `room` is the one of the options.
fn read_options(config: &Config, room: u64) -> ReadOptions {
    ReadOptions {
        thresholds: config.thresholds,
        verify_checksum: config.rdbchecksum,
        deep_sanitize: config.sanitize_dump_payload == SanitizePayload::Yes,
        version_check: config.rdb_version_check,
        room,
    }
}

/// How many threads decode. Whoever asks for a delay at each key wants them one after the other; and where
/// the address space is limited, each further thread would reserve a part of it that the data may need.
fn threads(config: &Config) -> usize {
    let narrow = getrlimit(Resource::As).current.is_some();
    if config.key_load_delay_us == 0 && !narrow { config.workers().min(THREADS_MAX) } else { 1 }
}

/// More only wait for the lock of the one that reads.
const THREADS_MAX: usize = 16;
/// Keys that wait for memory together instead of one after the other.
const GROUP: usize = 32;
/// What a key takes in a file, and in memory: few take less.
const RECORD_LEN: u64 = 16;
const ENTRY_LEN: u64 = 64;
/// Keys for which there are segments before any has come, of 40 MB at most: more come with them, whatever is
/// announced.
const BELIEVED: u64 = 2 << 20;

struct Load<'a> {
    engine: &'a Engine,
    progress: &'a Progress,
    now: UnixMs,
    /// What expired by then is left out.
    expired_by: UnixMs,
    /// For keys' access clocks: of what the dump tells nothing, that was used last now.
    access: Access,
    at_duplicate: AtDuplicate,
    beyond: BeyondMemory,
    /// Keys evicted before it began.
    evicted_before: u64,
    input: Mutex<Input>,
    /// Of all faults the first in the file, with its offset.
    fault: Mutex<Option<(u64, String)>>,
    stopped: AtomicBool,
}

/// The file, in the hands of one thread at a time.
struct Input {
    reader: Reader<FileReader>,
    db: DbIndex,
    /// Keys that the tables are ready for, or will be.
    announced: u64,
    ended: bool,
}

/// What a thread does next.
enum Work {
    /// The batch holds records.
    Batch(DbIndex),
    /// One record, decoded already: too large for a batch.
    Record(DbIndex, Box<rdb::Record>),
    Nothing,
}

/// Keys on their way into tables, by shard: a shard's lock and tables are fetched once for many of them.
struct Arrivals {
    shards: Vec<Vec<(u64, Entry)>>,
    /// Of the last batch.
    count: u64,
    expired: u64,
}

impl<'a> Load<'a> {
    fn new(
        engine: &'a Engine,
        (file, len): (FileReader, u64),
        beyond: BeyondMemory,
        progress: &'a Progress,
        now: UnixMs,
    ) -> Result<Load<'a>, String> {
        let config = engine.config();
        let room = match config.memory_limit() {
            0 => len,
            limit => len.min(limit),
        };
        let reader = Reader::new(file, &read_options(&config, room)).map_err(|error| error.to_string())?;
        governor::look(engine);
        progress.hold(0, reader.memory());
        Ok(Load {
            engine,
            progress,
            now,
            expired_by: now,
            access: Access::at(now, &config, 0),
            at_duplicate: AtDuplicate::Refuse,
            beyond,
            evicted_before: engine.evicted_keys.load(Ordering::Relaxed),
            input: Mutex::new(Input { reader, db: DbIndex(0), announced: 0, ended: false }),
            fault: Mutex::new(None),
            stopped: AtomicBool::new(false),
        })
    }

    /// Where the dump ends, or what is wrong with it.
    fn end(self) -> Result<u64, String> {
        self.progress.hold(self.input.lock().reader.memory(), 0);
        self.end_expecting();
        if let Some((_, text)) = self.fault.into_inner() {
            return Err(text);
        }
        self.progress.report();
        let evicted = self.engine.evicted_keys.load(Ordering::Relaxed) - self.evicted_before;
        if evicted > 0 {
            LOG.warning(&format!("Keys evicted while loading, to stay within maxmemory: {evicted}."));
        }
        governor::look(self.engine);
        if self.engine.memory.is_over() {
            let reason = room::beyond_memory(&self.engine.config());
            LOG.warning(&format!("{reason}: commands that need memory are refused until there is room."));
        }
        Ok(self.input.into_inner().reader.offset())
    }

    fn run_on_threads(&self, takes_long: &mut dyn FnMut()) {
        let count = threads(&self.engine.config());
        watch_over(count, (self.engine, self.progress), takes_long, || self.run());
    }

    /// A thread's share: batch after batch, until there is nothing left.
    fn run(&self) {
        let mut rooms = RoomMaker::new(self.engine, self.beyond);
        let (mut batch, mut arrivals) = (Batch::default(), self.no_arrivals());
        loop {
            let done = match self.take(&mut batch) {
                Work::Batch(db) => self.load_batch(db, &batch, &mut arrivals),
                Work::Record(db, record) => self.load_record(db, *record, &mut arrivals),
                Work::Nothing => break,
            };
            if let Err((offset, text)) = done.and_then(|()| self.make_room(&mut rooms)) {
                self.fail(offset, text);
            }
        }
        self.progress.hold(batch.memory(), 0);
    }

    /// Called after each batch: memory is exceeded by what the threads have in hand at most.
    fn make_room(&self, rooms: &mut RoomMaker) -> Result<(), (u64, String)> {
        let made = rooms.make_room(self.engine, &self.engine.config(), self.now);
        made.map_err(|text| (self.input.lock().reader.offset(), text))
    }

    fn no_arrivals(&self) -> Arrivals {
        let shards = (0..self.engine.store.shard_count()).map(|_| Vec::new()).collect();
        Arrivals { shards, count: 0, expired: 0 }
    }

    fn take(&self, batch: &mut Batch) -> Work {
        let mut input = self.input.lock();
        while !input.ended && !self.stopped.load(Ordering::Relaxed) {
            let before = batch.memory();
            let taken = input.reader.next_batch(batch);
            self.progress.hold(before, batch.memory());
            let offset = input.reader.offset();
            self.progress.reach(offset);
            match taken {
                Ok(None) => return Work::Batch(input.db),
                Ok(Some(Item::Record(record))) => return Work::Record(input.db, Box::new(record)),
                Ok(Some(Item::End)) => {
                    input.ended = true;
                    self.progress.keys_empty.fetch_add(input.reader.empty_count(), Ordering::Relaxed);
                }
                Ok(Some(other)) => {
                    if let Err(text) = self.note(other, &mut input) {
                        self.fail(offset, text);
                    }
                }
                Err(error) => self.fail(error.offset, self.told(error)),
            }
        }
        Work::Nothing
    }

    /// Remembers a fault, unless there is one before it in the file. No thread takes anything more.
    fn fail(&self, offset: u64, text: String) {
        self.stopped.store(true, Ordering::Relaxed);
        let mut fault = self.fault.lock();
        if fault.as_ref().is_none_or(|(before, _)| offset < *before) {
            *fault = Some((offset, text));
        }
    }

    /// What is wrong, for the log.
    fn told(&self, mut error: rdb::Error) -> String {
        if self.engine.config().hide_user_data_from_log {
            error.key = error.key.map(|_| REDACTED.into());
        }
        error.to_string()
    }

    /// What stands between the keys.
    fn note(&self, item: Item, input: &mut Input) -> Result<(), String> {
        match item {
            Item::SelectDb(number) if number < u64::from(self.engine.store.databases()) => {
                input.db = DbIndex(number as u16)
            }
            Item::SelectDb(number) => return Err(self.too_many_databases(number)),
            Item::Aux { key, value } => self.note_aux(&key, &value),
            Item::ModuleAux { module } => LOG.warning(&format!(
                "The RDB file contains AUX module data I can't load: no matching module '{module}'"
            )),
            Item::Function(code) => self.load_library(&code)?,
            Item::ResizeDb { keys, .. } => self.lay_out(input, keys),
            Item::SlotInfo { .. } | Item::Record(_) | Item::End => {}
        }
        Ok(())
    }

    /// Makes the tables ready for as many keys as the file announces, and may have by its length; but not for
    /// more than there can be room for. Beyond the first two million they are ready for as many as have come,
    /// and as many again.
    fn lay_out(&self, input: &mut Input, keys: u64) {
        let by_length = self.progress.total_bytes.load(Ordering::Relaxed) / RECORD_LEN;
        let most = match self.engine.config().memory_limit() {
            0 => by_length,
            limit => by_length.min(limit / ENTRY_LEN),
        };
        let keys = keys.min(most.saturating_sub(input.announced));
        let at_once = keys.min(BELIEVED.saturating_sub(input.announced));
        input.announced += keys;
        let share = |keys: u64| keys as usize / self.engine.store.shard_count();
        for shard in self.engine.store.ids() {
            let mut guard = self.engine.store.lock(&Plan::One(shard));
            guard.shard(shard).db(input.db).lay_out(share(at_once), share(keys));
        }
    }

    fn end_expecting(&self) {
        for shard in self.engine.store.ids() {
            let mut guard = self.engine.store.lock(&Plan::One(shard));
            guard.shard(shard).dbs().for_each(|(_, db)| db.end_expecting());
        }
    }

    fn load_library(&self, code: &[u8]) -> Result<(), String> {
        let replace = self.at_duplicate == AtDuplicate::Replace;
        let loaded = self.engine.functions.load(self.engine, code, replace, LoadTime::Unlimited);
        match loaded {
            Ok(_) => Ok(()),
            Err(reason) => {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                Err(format!("Failed loading a function library: {}", self.engine.config().for_log(reason)))
            }
        }
    }

    fn note_aux(&self, key: &[u8], value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        match key {
            b"redis-ver" | b"valkey-ver" => LOG.notice(&format!("Loading RDB produced by version {text}")),
            b"ctime" => {
                let age = self.now.seconds() - text.parse::<i64>().unwrap_or_default();
                LOG.notice(&format!("RDB age {} seconds", age.max(0)));
            }
            b"used-mem" => {
                let bytes: u64 = text.parse().unwrap_or_default();
                self.progress.rdb_used_memory.store(bytes, Ordering::Relaxed);
                let megabytes = bytes as f64 / (1024.0 * 1024.0);
                LOG.notice(&format!("RDB memory usage when created {megabytes:.2} Mb"));
            }
            _ => {}
        }
    }

    fn too_many_databases(&self, db: u64) -> String {
        let databases = self.engine.store.databases();
        format!(
            "Data file was created with a Redis server configured to handle more than {databases} \
             databases (database {db})"
        )
    }

    fn load_batch(&self, db: DbIndex, batch: &Batch, arrivals: &mut Arrivals) -> Result<(), (u64, String)> {
        let mut records = batch.records();
        // Without one a batch takes no time to speak of; with one the next key may have another.
        let mut key_delay = self.key_delay();
        while let Some(record) = records.next().map_err(|error| (error.offset, self.told(error)))? {
            self.arrive(&record.key, record.attributes, record.value, arrivals);
            if key_delay != 0 {
                self.insert_all(db, arrivals).map_err(|second| self.duplicate(db, &second))?;
                thread::sleep(delay(key_delay, 1));
                key_delay = self.key_delay();
            }
        }
        self.progress.keys_empty.fetch_add(records.empty_count(), Ordering::Relaxed);
        self.insert_all(db, arrivals).map_err(|second| self.duplicate(db, &second))
    }

    fn key_delay(&self) -> i64 {
        self.engine.config().key_load_delay_us
    }

    /// Inserts a record that came by itself.
    fn load_record(
        &self,
        db: DbIndex,
        record: rdb::Record,
        arrivals: &mut Arrivals,
    ) -> Result<(), (u64, String)> {
        self.arrive_decoded(record, arrivals);
        self.insert_all(db, arrivals).map_err(|second| self.duplicate(db, &second))
    }

    /// As `arrive`; returns the key.
    fn arrive_decoded(&self, record: rdb::Record, arrivals: &mut Arrivals) -> Vec<u8> {
        let rdb::Record { key, expires_at, idle_s, freq, value } = record;
        self.arrive(&key, Attributes { expires_at, idle_s, freq }, RawValue::Object(value), arrivals);
        key
    }

    /// Makes an entry of a key that has not expired, with its last field if it is a hash.
    fn arrive(&self, key: &[u8], attributes: Attributes, value: RawValue<'_>, arrivals: &mut Arrivals) {
        let Attributes { expires_at, idle_s, freq } = attributes;
        if expires_at.is_some_and(|at| at <= self.expired_by.0) || self.has_no_field_left(&value) {
            arrivals.expired += 1;
            return;
        }
        let clock = self.access.clock_told(idle_s, freq);
        let entry = match value {
            RawValue::Text(Cow::Borrowed(text)) => Entry::from_text(key, text, expires_at, clock),
            RawValue::Text(Cow::Owned(text)) => {
                Entry::from_object(key, Object::Bytes(text), expires_at, clock)
            }
            RawValue::Object(object) => Entry::from_object(key, object, expires_at, clock),
        };
        let hash = Key::new(key).hash;
        arrivals.shards[usize::from(self.engine.store.shard_of(hash).0)].push((hash, entry));
        arrivals.count += 1;
    }

    fn has_no_field_left(&self, value: &RawValue<'_>) -> bool {
        let RawValue::Object(Object::Hash(HashObject::Table(fields))) = value else { return false };
        // Most tables answer this without a look at their fields.
        let all_may_expire = fields.expiring_count() == fields.len();
        all_may_expire
            && fields.next_expiry() <= self.expired_by.0
            && fields.iter().all(|field| field.is_expired(self.expired_by.0))
    }

    /// Puts what has arrived into its tables; gives back one whose key was there already.
    fn insert_all(&self, db: DbIndex, arrivals: &mut Arrivals) -> Result<(), Entry> {
        for shard in self.engine.store.ids() {
            let own = &mut arrivals.shards[usize::from(shard.0)];
            if !own.is_empty() {
                self.insert(db, shard, own)?;
            }
        }
        let (count, expired) = (mem::take(&mut arrivals.count), mem::take(&mut arrivals.expired));
        self.progress.keys_loaded.fetch_add(count, Ordering::Relaxed);
        self.progress.keys_expired.fetch_add(expired, Ordering::Relaxed);
        Ok(())
    }

    /// Puts keys of one shard into its table; gives back one that the table has already.
    fn insert(&self, db: DbIndex, shard: ShardId, arrivals: &mut Vec<(u64, Entry)>) -> Result<(), Entry> {
        let mut guard = self.engine.store.lock(&Plan::One(shard));
        let table = guard.shard(shard).db(db);
        while !arrivals.is_empty() {
            let begin = arrivals.len().saturating_sub(GROUP);
            for (hash, entry) in &arrivals[begin..] {
                entry.prefetch();
                table.table().prefetch_room(*hash);
            }
            for (hash, entry) in arrivals.drain(begin..) {
                match table.find(Key { bytes: entry.view().key(), hash }) {
                    None => drop(table.insert(hash, entry)),
                    Some(_) if self.at_duplicate == AtDuplicate::Refuse => return Err(entry),
                    Some(slot) => self.discard(table.replace(slot, entry)),
                }
            }
        }
        Ok(())
    }

    /// What was in the place of an entry of the file.
    fn discard(&self, entry: Entry) {
        if let Some(entry) = self.engine.readings.leave(entry) {
            self.engine.host.reclaim(Garbage::Entry(entry));
        }
    }

    /// The other of the two may come behind in the file: what is certain is that both have been read.
    fn duplicate(&self, db: DbIndex, second: &Entry) -> (u64, String) {
        let key = self.engine.config().for_log(escape(second.view().key()));
        let offset = self.input.lock().reader.offset();
        (offset, format!("RDB has duplicated key {key} in DB {} before offset {offset}", db.0))
    }
}

/// What a debugging directive asks for so many keys: microseconds for each, or if negative one for so many.
pub fn delay(per_key: i64, keys: usize) -> Duration {
    let keys = keys as u64;
    match u64::try_from(per_key) {
        Ok(us) => Duration::from_micros(us.saturating_mul(keys)),
        Err(_) => Duration::from_nanos(keys.saturating_mul(1000) / per_key.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays() {
        assert_eq!(delay(10, 3), Duration::from_micros(30));
        assert_eq!(delay(-10, 100), Duration::from_micros(10));
        assert_eq!(delay(i64::MIN, 1), Duration::ZERO);
    }
}
