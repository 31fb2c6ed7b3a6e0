//! A snapshot on its way into a file: the cut under all locks, the walk, and the records in the order in
//! which they come. Who wants it, and what becomes of the file, is others' business.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base::time::UnixMs;
use engine::access::Access;
use engine::config::Config;
use engine::functions::Libraries;
use engine::{Engine, REDIS_VERSION};
use rdb::{WriteOptions, write_aux, write_function, write_resize_db, write_select_db};
use store::snapshot::{Block, DbCounts, Opening, Output, Piece, Region, Snapshot};
use store::{DbIndex, Plan};

use super::pace::{Manners, Pace};
use crate::boot;
use crate::dumpfile::{DumpFile, SaveError};
use crate::load::delay;

/// Who looks on while a file is written, and may end that.
pub(super) trait Watch {
    fn is_cancelled(&self) -> bool;
    /// So many more keys are written; `backlog_peak` is the most bytes that have waited in memory.
    fn note_progress(&self, keys: usize, backlog_peak: usize);
}

/// What a file is written for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Dump,
    /// Of an append-only file.
    AofBase,
}

/// What is written of an instant beside the keys.
pub(super) struct Facts {
    pub config: Arc<Config>,
    pub at: UnixMs,
    /// None if they are not wanted.
    pub libraries: Option<Arc<Libraries>>,
}

/// Writes all but the end of a file, and returns it with its version. Without a snapshot it holds no keys.
pub(super) fn write(
    engine: &Engine,
    facts: &Facts,
    snapshot: Option<&mut Snapshot>,
    (dump, purpose): (DumpFile, Purpose),
    watch: &dyn Watch,
) -> Result<(DumpFile, u32), SaveError> {
    let counts = snapshot.as_ref().map_or_else(Vec::new, |snapshot| snapshot.counts.clone());
    let mut records = Records::new(dump, counts);
    write_facts(&mut records.dump.buffer, facts.at, purpose);
    let compress = WriteOptions { compress: facts.config.rdbcompression };
    for library in facts.libraries.iter().flat_map(|libraries| libraries.iter()) {
        write_function(&mut records.dump.buffer, &library.code, &compress);
    }
    if let Some(snapshot) = snapshot {
        write_keys(engine, &facts.config, snapshot, &mut records, watch)?;
    }
    check_cancelled(watch)?;
    records.check_closed()?;
    Ok((records.dump, records.version.max(rdb::format::VERSION_PLAIN)))
}

fn write_keys(
    engine: &Engine,
    config: &Config,
    snapshot: &mut Snapshot,
    records: &mut Records,
    watch: &dyn Watch,
) -> Result<(), SaveError> {
    let compress = WriteOptions { compress: config.rdbcompression };
    records.count_held(snapshot);
    let (mut pace, mut manners) = (Pace::new(), Manners::new());
    while let Some(output) = snapshot.next(&engine.store) {
        let output = match output {
            Output::Garbage(garbage) => {
                engine.host.reclaim(garbage);
                continue;
            }
            Output::Wait => {
                check_patience(watch, engine)?;
                dawdle(watch, AWAY_PAUSE)?;
                continue;
            }
            output => output,
        };
        let keys = output.keys();
        let written = check_cancelled(watch).and_then(|()| records.write(&output, &compress));
        // Its memory is free again whatever became of it.
        snapshot.written(output);
        records.count_held(snapshot);
        written?;
        watch.note_progress(keys, snapshot.backlog_peak());
        // A quantum takes a lock: it begins with a fresh share of the processor, so that it is not put
        // aside while a worker waits for that lock.
        if !snapshot.has_output() {
            manners.give_way();
        }
        dawdle(watch, delay(config.rdb_key_save_delay_us, keys))?;
        keep_pace(watch, || pace.delay(records.dump.written(), engine))?;
    }
    Ok(())
}

pub(super) fn check_cancelled(watch: &dyn Watch) -> Result<(), SaveError> {
    if watch.is_cancelled() { Err(SaveError::Cancelled) } else { Ok(()) }
}

/// Whether to wait for shards any longer.
pub(super) fn check_patience(watch: &dyn Watch, engine: &Engine) -> Result<(), SaveError> {
    check_cancelled(watch)?;
    if is_kept_busy(engine) { Err(SaveError::Busy) } else { Ok(()) }
}

/// Debugging aid: a slow save, which can be cancelled all the same.
fn dawdle(watch: &dyn Watch, time: Duration) -> Result<(), SaveError> {
    let end = Instant::now() + time.min(DAWDLE_MAX);
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        check_cancelled(watch)?;
        thread::sleep(left.min(DAWDLE_STEP));
    }
    Ok(())
}

/// Rests for as long as is asked for; the answer may change meanwhile.
fn keep_pace(watch: &dyn Watch, mut rest: impl FnMut() -> Duration) -> Result<(), SaveError> {
    loop {
        match rest() {
            Duration::ZERO => return Ok(()),
            rest => dawdle(watch, rest.min(DAWDLE_STEP))?,
        }
    }
}

/// What it alone has kept is freed where nobody waits.
pub(super) fn cancel(engine: &Engine, snapshot: Snapshot) {
    snapshot.cancel(&engine.store, &|garbage| engine.host.reclaim(garbage));
}

/// The caller is a worker that has to answer its clients, because a script has been running for too long.
pub(super) fn is_kept_busy(engine: &Engine) -> bool {
    boot::is_worker() && engine.scripts.running.is_busy()
}

/// How long to wait for values that are on their way from a command to the snapshot.
const AWAY_PAUSE: Duration = Duration::from_millis(1);

/// Longer than anybody waits.
const DAWDLE_MAX: Duration = Duration::from_secs(365 * 86_400);
const DAWDLE_STEP: Duration = Duration::from_millis(10);

/// Whether to wait for shards any longer.
pub(super) type Patience<'a> = dyn Fn() -> Result<(), SaveError> + 'a;

/// The state of an instant, and what to do with it.
pub(super) struct Cut {
    pub snapshot: Snapshot,
    pub facts: Facts,
    /// Changes since the start that it contains.
    pub dirty: u64,
    /// How long all locks were held.
    pub held: Duration,
}

impl Cut {
    /// The caller holds no lock.
    pub fn make(engine: &Engine, patience: &Patience<'_>) -> Result<Cut, SaveError> {
        Cut::make_and(engine, patience, || {})
    }

    /// As `make`, with something that is done at the same instant.
    pub fn make_and(
        engine: &Engine,
        patience: &Patience<'_>,
        at_cut: impl FnOnce(),
    ) -> Result<Cut, SaveError> {
        let mut guard = loop {
            match engine.store.lock_unless(&Plan::All, &|| patience().is_err()) {
                Some(guard) => break guard,
                None => patience()?,
            }
        };
        let begin = Instant::now();
        let (config, at) = (engine.config(), UnixMs(engine.host.unix_us() / 1000));
        let uses = Access::at(at, &config, 0).uses(config.maxmemory_policy);
        let (dirty, snapshot) = (engine.dirty(), Snapshot::begin_telling(&mut guard, uses));
        let snapshot = snapshot.ok_or(SaveError::TooMany)?;
        let libraries = Some(engine.functions.snapshot());
        at_cut();
        drop(guard);
        Ok(Cut { snapshot, facts: Facts { config, at, libraries }, dirty, held: begin.elapsed() })
    }
}

/// The part of a file between its first facts and its end.
struct Records {
    dump: DumpFile,
    counts: Vec<DbCounts>,
    /// Large values of which pieces are still to come.
    open: HashMap<Region, Body>,
    room: Vec<u8>,
    /// Of the last record.
    db: Option<DbIndex>,
    /// Databases whose size was told.
    announced: Vec<bool>,
    version: u32,
}

/// Where the pieces of a value go.
struct Body {
    start: u64,
    len: u64,
    filled: u64,
}

impl Records {
    fn new(dump: DumpFile, counts: Vec<DbCounts>) -> Records {
        let announced = vec![false; counts.len()];
        Records { dump, counts, open: HashMap::new(), room: Vec::new(), db: None, announced, version: 0 }
    }

    fn count_held(&self, snapshot: &mut Snapshot) {
        snapshot.count_held(self.dump.memory(), self.dump.buffer.capacity() + self.room.capacity());
    }

    fn write(&mut self, output: &Output, options: &WriteOptions) -> Result<(), SaveError> {
        match output {
            Output::Entries(block) => self.write_block(block, options),
            Output::Opening(opening) => self.open(opening),
            Output::Piece(piece) => self.fill(piece),
            Output::Closing(region) => self.close(*region),
            Output::Garbage(_) | Output::Wait => Ok(()),
        }
    }

    fn write_block(&mut self, block: &Block, options: &WriteOptions) -> Result<(), SaveError> {
        self.select(block.db);
        self.version = self.version.max(block.version);
        for record in block.records() {
            let rest = record.encode(&mut self.dump.buffer, options);
            self.dump.advance()?;
            self.dump.append(rest)?;
        }
        Ok(())
    }

    /// Reserves room for a value whose pieces come between other records.
    fn open(&mut self, opening: &Opening) -> Result<(), SaveError> {
        self.select(opening.db);
        self.version = self.version.max(opening.version);
        if opening.by_pages {
            self.dump.pad_before(opening.head.len());
        }
        self.dump.append(&opening.head)?;
        let (len, filled) = (opening.body_len, 0);
        let start = self.dump.reserve(len)?;
        self.open.insert(opening.region, Body { start, len, filled });
        Ok(())
    }

    fn fill(&mut self, piece: &Piece) -> Result<(), SaveError> {
        let body = self.open.get_mut(&piece.region).ok_or(NOT_OPEN)?;
        let bytes = piece.bytes(&mut self.room);
        body.filled += bytes.len() as u64;
        if piece.at + bytes.len() as u64 > body.len {
            return Err(SaveError::Inconsistent("a value is longer than was known before"));
        }
        self.dump.fill(body.start + piece.at, bytes)
    }

    fn close(&mut self, region: Region) -> Result<(), SaveError> {
        let body = self.open.remove(&region).ok_or(NOT_OPEN)?;
        if body.filled != body.len {
            return Err(SaveError::Inconsistent("a value is not as long as was known before"));
        }
        Ok(())
    }

    fn check_closed(&self) -> Result<(), SaveError> {
        if self.open.is_empty() { Ok(()) } else { Err(SaveError::Inconsistent("a value has no end")) }
    }

    /// Records of this database follow.
    fn select(&mut self, db: DbIndex) {
        let buffer = &mut self.dump.buffer;
        if self.db != Some(db) {
            self.db = Some(db);
            write_select_db(buffer, u64::from(db.0));
        }
        let index = db.0 as usize;
        if !std::mem::replace(&mut self.announced[index], true) {
            let count = self.counts[index];
            write_resize_db(buffer, count.keys as u64, count.expires as u64);
        }
    }
}

const NOT_OPEN: SaveError = SaveError::Inconsistent("a piece of a value comes before or behind it");

/// What a file says of itself.
fn write_facts(out: &mut Vec<u8>, at: UnixMs, purpose: Purpose) {
    let used = base::alloc::stats().allocated;
    write_aux(out, b"redis-ver", REDIS_VERSION.as_bytes());
    write_aux(out, b"redis-bits", b"64");
    write_aux(out, b"ctime", at.seconds().to_string().as_bytes());
    write_aux(out, b"used-mem", used.to_string().as_bytes());
    write_aux(out, b"aof-base", if purpose == Purpose::AofBase { b"1" } else { b"0" });
}
