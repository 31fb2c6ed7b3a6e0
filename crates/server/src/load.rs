//! Fills the keyspace from a dump file. Commands may run beside it (they are refused while loading); it
//! must never leave out a key without saying so, nor go on after damage.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base::bytes::escape;
use base::time::UnixMs;
use engine::Engine;
use engine::config::{Config, SanitizePayload};
use engine::engine::thresholds;
use engine::host::LoadStatus;
use rdb::{Item, ReadOptions, Reader, Record};
use store::{DbIndex, Entry, Key, Plan};

use crate::log::{LOG, reason};

/// How far the load is; read by INFO while it goes on.
#[derive(Default)]
pub struct Progress {
    started: AtomicI64,
    total_bytes: AtomicU64,
    loaded_bytes: AtomicU64,
    keys_loaded: AtomicU64,
    keys_expired: AtomicU64,
}

impl Progress {
    fn begin(&self, now: UnixMs, total_bytes: u64) {
        self.started.store(now.0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        for count in [&self.loaded_bytes, &self.keys_loaded, &self.keys_expired] {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub fn status(&self) -> LoadStatus {
        LoadStatus {
            started: UnixMs(self.started.load(Ordering::Relaxed)),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            loaded_bytes: self.loaded_bytes.load(Ordering::Relaxed),
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

/// Loads `path` into the keyspace, which holds none of its keys. The error says what is wrong, and where.
/// If it takes long enough for somebody to notice, `takes_long` is called, again and again.
pub fn load(
    engine: &Engine,
    path: &Path,
    progress: &Progress,
    now: UnixMs,
    takes_long: &mut dyn FnMut(),
) -> Result<Loaded, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Absent),
        Err(error) => return Err(reason(&error)),
    };
    let config = engine.config();
    progress.begin(now, file.metadata().map_or(0, |metadata| metadata.len()));
    let reader = Reader::new(file, &read_options(&config)).map_err(|error| error.to_string())?;
    let clock = (now.seconds() & 0xff_ffff) as u32;
    let (db, waiting) = (DbIndex(0), Vec::with_capacity(BATCH));
    let mut load = Load { engine, reader, progress, now, clock, db, waiting, loaded: 0, expired: 0 };
    load.run(&config, takes_long)?;
    load.report();
    Ok(Loaded::Yes)
}

fn read_options(config: &Config) -> ReadOptions {
    ReadOptions {
        thresholds: thresholds(config),
        verify_checksum: config.rdbchecksum,
        deep_sanitize: config.sanitize_dump_payload == SanitizePayload::Yes,
    }
}

struct Load<'a> {
    engine: &'a Engine,
    reader: Reader<File>,
    progress: &'a Progress,
    now: UnixMs,
    /// The access clock of every key: all were used last now.
    clock: u32,
    db: DbIndex,
    /// Keys of `db` with their hashes, whose places in the table are on their way to the processor.
    waiting: Vec<(u64, Record)>,
    loaded: u64,
    expired: u64,
}

/// Keys that wait for memory together instead of one after the other.
const BATCH: usize = 32;

/// Keys between two updates of the figures that others see.
const PROGRESS_KEYS: u64 = 1024;
/// A client that comes up to so much earlier rather waits than hears that the server is loading.
const NOTICEABLE: Duration = Duration::from_millis(25);
/// How often a long load says in the log how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(5);

impl Load<'_> {
    fn run(&mut self, config: &Config, takes_long: &mut dyn FnMut()) -> Result<(), String> {
        let begin = Instant::now();
        let mut reported = begin;
        loop {
            match self.reader.next().map_err(|error| error.to_string())? {
                Item::End => return self.insert_waiting(),
                Item::Record(record) => {
                    self.add(record)?;
                    if self.waiting.is_empty() && begin.elapsed() > NOTICEABLE {
                        takes_long();
                    }
                    if (self.loaded + self.expired).is_multiple_of(PROGRESS_KEYS) {
                        self.show_progress(&mut reported);
                    }
                    if config.key_load_delay_us != 0 {
                        std::thread::sleep(delay(config.key_load_delay_us, 1));
                    }
                }
                other => {
                    self.insert_waiting()?;
                    self.note(other)?;
                }
            }
        }
    }

    /// What stands between the keys.
    fn note(&mut self, item: Item) -> Result<(), String> {
        match item {
            Item::SelectDb(db) if db < u64::from(self.engine.store.databases()) => {
                self.db = DbIndex(db as u16)
            }
            Item::SelectDb(db) => return Err(self.too_many_databases(db)),
            Item::Aux { key, value } => note_aux(&key, &value, self.now),
            Item::ModuleAux { module } => LOG.warning(&format!(
                "The RDB file contains AUX module data I can't load: no matching module '{module}'"
            )),
            Item::Function(_) => return Err("the file holds functions, which are not served yet".into()),
            Item::ResizeDb { .. } | Item::SlotInfo { .. } | Item::Record(_) | Item::End => {}
        }
        Ok(())
    }

    fn too_many_databases(&self, db: u64) -> String {
        let databases = self.engine.store.databases();
        format!(
            "Data file was created with a Redis server configured to handle more than {databases} \
             databases (database {db})"
        )
    }

    fn add(&mut self, record: Record) -> Result<(), String> {
        if record.expires_at.is_some_and(|at| at <= self.now.0) {
            self.expired += 1;
            return Ok(());
        }
        let hash = Key::new(&record.key).hash;
        self.engine.store.prefetch_line(self.db, hash);
        self.waiting.push((hash, record));
        self.loaded += 1;
        if self.waiting.len() == BATCH { self.insert_waiting() } else { Ok(()) }
    }

    fn insert_waiting(&mut self) -> Result<(), String> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let result = waiting.drain(..).try_for_each(|(hash, record)| self.insert(hash, record));
        self.waiting = waiting;
        result
    }

    fn insert(&self, hash: u64, record: Record) -> Result<(), String> {
        let mut guard = self.engine.store.lock(&Plan::One(self.engine.store.shard_of(hash)));
        let db = guard.db(self.db, hash);
        if db.find(Key { bytes: &record.key, hash }).is_some() {
            return Err(self.duplicate(&record.key));
        }
        db.insert(hash, Entry::from_object(&record.key, record.value, record.expires_at, self.clock));
        Ok(())
    }

    fn duplicate(&self, key: &[u8]) -> String {
        let (key, offset) = (escape(key), self.reader.offset());
        format!("RDB has duplicated key {key} in DB {} before offset {offset}", self.db.0)
    }

    fn show_progress(&self, reported: &mut Instant) {
        let (offset, progress) = (self.reader.offset(), self.progress);
        progress.loaded_bytes.store(offset, Ordering::Relaxed);
        progress.keys_loaded.store(self.loaded, Ordering::Relaxed);
        progress.keys_expired.store(self.expired, Ordering::Relaxed);
        if reported.elapsed() >= REPORT_EVERY {
            *reported = Instant::now();
            let percent = offset * 100 / progress.total_bytes.load(Ordering::Relaxed).max(1);
            LOG.notice(&format!("Loading DB in memory: {percent}% done, {} keys so far", self.loaded));
        }
    }

    /// The last words, and the last figures.
    fn report(&self) {
        self.show_progress(&mut Instant::now());
        let (loaded, expired, empty) = (self.loaded, self.expired, self.reader.empty_count());
        if empty > 0 {
            LOG.warning(&format!(
                "Done loading RDB, keys loaded: {loaded}, keys expired: {expired}, empty keys skipped: \
                 {empty}."
            ));
        } else {
            LOG.notice(&format!("Done loading RDB, keys loaded: {loaded}, keys expired: {expired}."));
        }
    }
}

fn note_aux(key: &[u8], value: &[u8], now: UnixMs) {
    let text = String::from_utf8_lossy(value);
    match key {
        b"redis-ver" | b"valkey-ver" => LOG.notice(&format!("Loading RDB produced by version {text}")),
        b"ctime" => {
            let age = now.seconds() - text.parse::<i64>().unwrap_or_default();
            LOG.notice(&format!("RDB age {} seconds", age.max(0)));
        }
        b"used-mem" => {
            let bytes = text.parse::<f64>().unwrap_or_default();
            LOG.notice(&format!("RDB memory usage when created {:.2} Mb", bytes / (1024.0 * 1024.0)));
        }
        _ => {}
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
