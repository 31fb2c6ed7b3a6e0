//! Saving without a fork: the cut under all locks, the walk on the saving thread, and the record of what
//! became of it. One save at a time. A save that fails or is cancelled frees the writers at once and leaves
//! the old dump in place.

mod pace;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use base::time::UnixMs;
use engine::access::Access;
use engine::config::Config;
use engine::functions::Libraries;
use engine::host::{SCRIPT_RUNS, SaveRefused, SaveStarted, SaveStatus, Wait};
use engine::{Engine, REDIS_VERSION};
use parking_lot::{Condvar, Mutex};
use rdb::{WriteOptions, write_aux, write_function, write_resize_db, write_select_db};
use store::snapshot::{Block, DbCounts, Opening, Output, Piece, Region, Snapshot};
use store::{DbIndex, Plan};

use crate::disk::AnyDisk;
use crate::dumpfile::{DumpFile, DumpOptions, SaveError};
use crate::host::Process;
use crate::load::delay;
use crate::log::{LOG, path};
use crate::{aside, boot};
use pace::{Manners, Pace};

pub struct Saver {
    disk: AnyDisk,
    state: Mutex<State>,
    /// A save has ended.
    ended: Condvar,
    cancelled: AtomicBool,
    /// The process ends without saving: nothing is saved any more.
    closed: AtomicBool,
    /// To the thread that writes background saves.
    jobs: OnceLock<Sender<Job>>,
}

/// What the thread for background saves is given.
enum Job {
    /// Without a cut it makes its own.
    Save(Option<Cut>),
    /// A worker gave this one up, and does not wait for the shards that it has to be taken from.
    GiveUp(Snapshot),
    /// Until the other end is dropped.
    #[cfg(test)]
    Pause(std::sync::mpsc::Receiver<()>),
}

struct State {
    status: SaveStatus,
    /// Of the save that is in progress.
    kind: Kind,
    last_try: Option<UnixMs>,
    /// How many there were before; unlike what is counted for INFO it tells one save from the next.
    number: u64,
}

/// What becomes of a save while as many snapshots are taken as may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtFull {
    Refuse,
    Schedule,
}

/// Who waits for a save, which decides what a failure means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Background,
    Foreground,
}

/// Workers come first: a client waits for them, nobody waits for a background save.
pub const SAVE_NICENESS: i32 = 10;
const IN_PROGRESS: SaveRefused = "ERR Background save already in progress";
const TOO_MANY: SaveRefused = "ERR Too many snapshots are being taken, try again later";
const REWRITING: SaveRefused = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
                                SCHEDULE in order to schedule a BGSAVE whenever possible.";
/// Redis says no more: the log has the reason.
const FAILED: SaveRefused = "ERR";
/// After a failure nothing is tried for so long, unless asked for.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A disk that hangs does not keep a process that was told twice.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// How often whoever waits for the end of a save looks whether to go on waiting.
const LOOK: Duration = Duration::from_millis(5);

impl Saver {
    pub fn new(disk: AnyDisk, now: UnixMs) -> Saver {
        let status = SaveStatus {
            in_progress: false,
            scheduled: false,
            last_save: now,
            last_ok: true,
            last_seconds: None,
            started: None,
            saves: 0,
            keys_done: 0,
            keys_total: 0,
            last_snapshot_bytes: 0,
            snapshot_bytes: 0,
            cut_us: 0,
            cuts: 0,
        };
        let state = Mutex::new(State { status, kind: Kind::Background, last_try: None, number: 0 });
        let (cancelled, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        Saver { disk, state, ended: Condvar::new(), cancelled, closed, jobs: OnceLock::new() }
    }

    pub fn status(&self) -> SaveStatus {
        self.state.lock().status.clone()
    }

    pub fn reset_counts(&self) {
        let status = &mut self.state.lock().status;
        (status.saves, status.cuts) = (0, 0);
    }

    /// Starts a save on the thread for it. The state saved is that of this moment; if it is only to be
    /// scheduled, the caller may sit on locks (EXEC), and the state is that of the moment when it lets go.
    pub fn start(&self, process: &Arc<Process>, schedule: bool) -> Result<SaveStarted, SaveRefused> {
        if process.aof.is_rewriting() {
            return self.follow_rewrite(schedule);
        }
        let now = process.now();
        if !self.claim(now, Kind::Background) {
            return self.follow(schedule);
        }
        LOG.notice(&format!("Background saving started by pid {}", std::process::id()));
        let cut = match schedule {
            true => None,
            false => Some(self.cut(process, AtFull::Refuse)?),
        };
        self.send(Job::Save(cut));
        Ok(SaveStarted::Started)
    }

    fn send(&self, job: Job) {
        let jobs = self.jobs.get().expect("boot starts the thread");
        assert!(jobs.send(job).is_ok(), "the thread lives as long as the process");
    }

    /// The cut of a save that was claimed. Whoever hears that the save has begun can ask how far it is.
    fn cut(&self, process: &Process, at_full: AtFull) -> Result<Cut, SaveRefused> {
        let engine = process.engine();
        let cut = Cut::make(engine, &|| self.check_patience(engine));
        cut.inspect(|cut| self.note_cut(cut)).map_err(|error| self.refuse(process, &error, at_full))
    }

    /// Starts the thread that writes background saves.
    pub fn start_thread(process: &Arc<Process>) -> io::Result<()> {
        let (jobs, inbox) = channel();
        let own = Arc::clone(process);
        let work = move || {
            // Of this thread alone. Where it is not allowed, a save competes with the workers as an equal.
            rustix::process::setpriority_process(None, SAVE_NICENESS).ok();
            for job in inbox {
                own.saver.work(&own, job);
            }
        };
        aside::spawn("save", work)?;
        process.saver.jobs.set(jobs).map_err(|_| io::Error::other("the thread runs already"))
    }

    /// The thread for background saves begins none until what is returned is dropped.
    #[cfg(test)]
    pub fn pause_thread(&self) -> Sender<()> {
        let (pause, end) = channel();
        self.send(Job::Pause(end));
        pause
    }

    /// On the thread for background saves.
    fn work(&self, process: &Process, job: Job) {
        let cut = match job {
            Job::Save(Some(cut)) => Ok(cut),
            Job::Save(None) => self.cut(process, AtFull::Schedule),
            Job::GiveUp(snapshot) => return cancel(process.engine(), snapshot),
            #[cfg(test)]
            Job::Pause(end) => return assert!(end.recv().is_err(), "nothing is ever sent"),
        };
        if let Ok(cut) = cut {
            drop(self.run(process, cut, Kind::Background));
        }
    }

    /// A save that comes after another. None follows a background save, as with Redis: there, only what
    /// blocks the server or writes another file is waited for.
    fn follow(&self, schedule: bool) -> Result<SaveStarted, SaveRefused> {
        let mut state = self.state.lock();
        if !schedule || (state.status.in_progress && state.kind == Kind::Background) {
            return Err(IN_PROGRESS);
        }
        state.status.scheduled = true;
        Ok(SaveStarted::Scheduled)
    }

    /// A save that is to come after a rewrite of the append-only file.
    fn follow_rewrite(&self, schedule: bool) -> Result<SaveStarted, SaveRefused> {
        if !schedule {
            return Err(REWRITING);
        }
        self.state.lock().status.scheduled = true;
        Ok(SaveStarted::Scheduled)
    }

    /// Saves on the calling thread, which holds no lock.
    pub fn save_now(&self, process: &Arc<Process>) -> Result<(), SaveRefused> {
        if !self.claim(process.now(), Kind::Foreground) {
            return Err(IN_PROGRESS);
        }
        let cut = self.cut(process, AtFull::Refuse)?;
        self.run(process, cut, Kind::Foreground).map_err(|error| refusal(&error))
    }

    /// A save that was claimed cannot begin: nothing has failed, and it may be tried again.
    fn refuse(&self, process: &Process, error: &SaveError, at_full: AtFull) -> SaveRefused {
        LOG.warning(&error.to_string());
        let refusal = refusal(error);
        // First: nobody sees it ended and not put off.
        if refusal == TOO_MANY && at_full == AtFull::Schedule {
            self.state.lock().status.scheduled = true;
        }
        self.settle(process.now(), Kind::Foreground, false, false);
        refusal
    }

    /// Ends a running or scheduled background save; false if there was none. Who sits on shards (EXEC) must
    /// not wait for the end: the save needs them to come to it. Nor does a worker while a script may do so.
    pub fn cancel(&self, process: &Process, wait: Wait) -> bool {
        let mut state = self.state.lock();
        let scheduled = std::mem::take(&mut state.status.scheduled);
        let running = state.status.in_progress;
        self.cancelled.store(running, Ordering::Relaxed);
        // One that begins meanwhile is somebody else's.
        let number = state.number;
        let waits = || wait == Wait::ForEnd && !is_kept_busy(process.engine());
        while state.status.in_progress && state.number == number && waits() {
            self.ended.wait_for(&mut state, LOOK);
        }
        scheduled || running
    }

    /// Ends whatever is being saved, for good; waits for that, but not for long.
    pub fn close(&self) {
        let mut state = self.state.lock();
        self.closed.store(true, Ordering::Relaxed);
        let end = Instant::now() + CLOSE_PATIENCE;
        while state.status.in_progress {
            if self.ended.wait_until(&mut state, end).timed_out() {
                return;
            }
        }
    }

    /// The timer's part: saves that were scheduled, or that the save points ask for.
    pub fn tick(&self, process: &Arc<Process>, config: &Config, now: UnixMs) {
        let (status, rested) = {
            let state = self.state.lock();
            let waited = state.last_try.map_or(i64::MAX, |last| now.since(last));
            (state.status.clone(), state.status.last_ok || waited > RETRY_AFTER.as_millis() as i64)
        };
        let engine = process.engine();
        // A script that runs for long may hold all shards: the timer does not wait for it.
        let away = engine.store.snapshots_are_full() || engine.scripts.running.is_busy();
        if status.in_progress || !rested || away || process.aof.is_rewriting() {
            return;
        }
        let changes = engine.changes_since_save();
        let seconds = now.seconds() - status.last_save.seconds();
        let reached =
            |point: &&engine::config::SavePoint| changes >= point.changes as u64 && seconds > point.seconds;
        if let Some(point) = config.save.iter().find(reached) {
            LOG.notice(&format!("{} changes in {} seconds. Saving...", point.changes, point.seconds));
        } else if !status.scheduled {
            return;
        }
        self.start(process, false).ok();
    }

    /// Makes the caller the one who saves; false if somebody else is.
    fn claim(&self, now: UnixMs, kind: Kind) -> bool {
        let mut state = self.state.lock();
        if state.status.in_progress || self.closed.load(Ordering::Relaxed) {
            return false;
        }
        (state.kind, state.last_try) = (kind, Some(now));
        state.number += 1;
        let status = &mut state.status;
        status.in_progress = true;
        status.scheduled = false;
        status.started = Some(now);
        status.saves += 1;
        self.cancelled.store(false, Ordering::Relaxed);
        true
    }

    fn run(&self, process: &Process, cut: Cut, kind: Kind) -> Result<(), SaveError> {
        let (dirty, engine) = (cut.dirty, process.engine());
        let result = self.write(engine, cut, Target::Dump).map(drop);
        match &result {
            Ok(()) => {
                LOG.notice("DB saved on disk");
                engine.dirty_saved.store(dirty, Ordering::Relaxed);
                engine.writes_stopped.store(false, Ordering::Relaxed);
            }
            Err(error) => LOG.warning(&error.to_string()),
        }
        let failed = result.as_ref().is_err_and(|error| !matches!(error, SaveError::Cancelled));
        if kind == Kind::Background && failed {
            LOG.warning("Background saving error");
            engine.writes_stopped.store(true, Ordering::Relaxed);
        } else if kind == Kind::Background && result.is_ok() {
            LOG.notice("Background saving terminated with success");
        }
        self.settle(process.now(), kind, result.is_ok(), failed);
        result
    }

    fn note_cut(&self, cut: &Cut) {
        let status = &mut self.state.lock().status;
        status.cuts += 1;
        status.cut_us = cut.held.as_micros() as u64;
        status.keys_total = cut.snapshot.keys_total() as u64;
    }

    /// The save is over.
    fn settle(&self, now: UnixMs, kind: Kind, good: bool, failed: bool) {
        let mut state = self.state.lock();
        let status = &mut state.status;
        let started = status.started.take().unwrap_or(now);
        if kind == Kind::Background {
            status.last_seconds = Some(now.seconds() - started.seconds());
        }
        if good {
            status.last_save = now;
            status.last_ok = true;
        } else if kind == Kind::Background && failed {
            status.last_ok = false;
        }
        if kind == Kind::Background && good {
            status.last_snapshot_bytes = status.snapshot_bytes;
        }
        status.in_progress = false;
        (status.keys_done, status.keys_total, status.snapshot_bytes) = (0, 0, 0);
        self.ended.notify_all();
    }

    /// Saves the base of an append-only file, and returns its length. `at_cut` runs with all shards held.
    pub fn write_base(
        &self,
        process: &Process,
        path: &Path,
        temporary: &str,
        at_cut: impl FnOnce(),
    ) -> Result<u64, SaveError> {
        self.cancelled.store(false, Ordering::Relaxed);
        let cut = Cut::make_and(process.engine(), &|| self.check_cancelled(), at_cut)?;
        self.note_cut(&cut);
        let written = self.write(process.engine(), cut, Target::Base { path, temporary });
        let status = &mut self.state.lock().status;
        status.last_snapshot_bytes = status.snapshot_bytes;
        (status.keys_done, status.keys_total, status.snapshot_bytes) = (0, 0, 0);
        written
    }

    /// Ends the base that is being saved, or the next one at its cut.
    pub fn cancel_base(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || self.closed.load(Ordering::Relaxed)
    }

    /// Writes the file of a cut; a failure ends the snapshot.
    fn write(&self, engine: &Engine, cut: Cut, target: Target<'_>) -> Result<u64, SaveError> {
        let Cut { mut snapshot, libraries, config, at, .. } = cut;
        let result = self.write_file(engine, &mut snapshot, (&config, at, &libraries), target);
        match &result {
            Ok(_) => {}
            Err(SaveError::Busy) => self.send(Job::GiveUp(snapshot)),
            Err(SaveError::Cancelled) if is_kept_busy(engine) => self.send(Job::GiveUp(snapshot)),
            Err(_) => cancel(engine, snapshot),
        }
        result
    }

    fn write_file(
        &self,
        engine: &Engine,
        snapshot: &mut Snapshot,
        (config, at, libraries): (&Config, UnixMs, &Libraries),
        target: Target<'_>,
    ) -> Result<u64, SaveError> {
        let dump = target.create(self.disk, config)?;
        let mut records = Records::new(dump, snapshot.counts.clone());
        write_facts(&mut records.dump.buffer, at, target);
        let compress = WriteOptions { compress: config.rdbcompression };
        for library in libraries.iter() {
            write_function(&mut records.dump.buffer, &library.code, &compress);
        }
        records.count_held(snapshot);
        let (mut pace, mut manners) = (Pace::new(), Manners::new());
        while let Some(output) = snapshot.next(&engine.store) {
            let output = match output {
                Output::Garbage(garbage) => {
                    engine.host.reclaim(garbage);
                    continue;
                }
                Output::Wait => {
                    self.check_patience(engine)?;
                    self.dawdle(AWAY_PAUSE)?;
                    continue;
                }
                output => output,
            };
            let keys = output.keys();
            let written = self.check_cancelled().and_then(|()| records.write(&output, &compress));
            // Its memory is free again whatever became of it.
            snapshot.written(output);
            records.count_held(snapshot);
            written?;
            self.note_progress(keys, snapshot.backlog_peak());
            // A quantum takes a lock: it begins with a fresh share of the processor, so that it is not put
            // aside while a worker waits for that lock.
            if !snapshot.has_output() {
                manners.give_way();
            }
            self.dawdle(delay(config.rdb_key_save_delay_us, keys))?;
            self.dawdle(pace.delay(records.dump.written(), engine))?;
        }
        self.check_cancelled()?;
        records.check_closed()?;
        let version = records.version.max(rdb::format::VERSION_PLAIN);
        records.dump.commit(version, &target.path(config))
    }

    fn check_cancelled(&self) -> Result<(), SaveError> {
        if self.is_cancelled() { Err(SaveError::Cancelled) } else { Ok(()) }
    }

    /// Whether to wait for shards any longer.
    fn check_patience(&self, engine: &Engine) -> Result<(), SaveError> {
        self.check_cancelled()?;
        if is_kept_busy(engine) { Err(SaveError::Busy) } else { Ok(()) }
    }

    fn note_progress(&self, keys: usize, backlog_peak: usize) {
        let status = &mut self.state.lock().status;
        status.keys_done += keys as u64;
        status.snapshot_bytes = backlog_peak as u64;
    }

    /// Debugging aid: a slow save, which can be cancelled all the same.
    fn dawdle(&self, time: Duration) -> Result<(), SaveError> {
        let end = Instant::now() + time.min(DAWDLE_MAX);
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.check_cancelled()?;
            thread::sleep(left.min(DAWDLE_STEP));
        }
        Ok(())
    }
}

/// What it alone has kept is freed where nobody waits.
fn cancel(engine: &Engine, snapshot: Snapshot) {
    snapshot.cancel(&engine.store, &|garbage| engine.host.reclaim(garbage));
}

/// What a snapshot becomes.
#[derive(Clone, Copy)]
enum Target<'a> {
    Dump,
    /// Of an append-only file: its path, and its name beside that until it is whole.
    Base {
        path: &'a Path,
        temporary: &'a str,
    },
}

impl Target<'_> {
    fn create(self, disk: AnyDisk, config: &Config) -> Result<DumpFile, SaveError> {
        let checksum = config.rdbchecksum;
        match self {
            Target::Dump => {
                let incremental_sync = config.rdb_save_incremental_fsync;
                DumpFile::create(disk, DumpOptions { checksum, incremental_sync })
            }
            Target::Base { path, temporary } => {
                let incremental_sync = config.aof_rewrite_incremental_fsync;
                let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
                let options = DumpOptions { checksum, incremental_sync };
                DumpFile::create_in(disk, folder, temporary.to_owned(), options)
            }
        }
    }

    fn path(self, config: &Config) -> PathBuf {
        match self {
            Target::Dump => path(&config.dbfilename),
            Target::Base { path, .. } => path.to_path_buf(),
        }
    }
}

/// The caller is a worker that has to answer its clients, because a script has been running for too long.
fn is_kept_busy(engine: &Engine) -> bool {
    boot::is_worker() && engine.scripts.running.is_busy()
}

/// What the client is told.
fn refusal(error: &SaveError) -> SaveRefused {
    match error {
        SaveError::Busy => SCRIPT_RUNS,
        SaveError::TooMany => TOO_MANY,
        _ => FAILED,
    }
}

/// How long to wait for values that are on their way from a command to the snapshot.
const AWAY_PAUSE: Duration = Duration::from_millis(1);

/// Longer than anybody waits.
const DAWDLE_MAX: Duration = Duration::from_secs(365 * 86_400);
const DAWDLE_STEP: Duration = Duration::from_millis(10);

/// Whether to wait for shards any longer.
type Patience<'a> = dyn Fn() -> Result<(), SaveError> + 'a;

/// The state of an instant, and what to do with it.
struct Cut {
    snapshot: Snapshot,
    libraries: Arc<Libraries>,
    config: Arc<Config>,
    at: UnixMs,
    /// Changes since the start that it contains.
    dirty: u64,
    /// How long all locks were held.
    held: Duration,
}

impl Cut {
    /// The caller holds no lock.
    fn make(engine: &Engine, patience: &Patience<'_>) -> Result<Cut, SaveError> {
        Cut::make_and(engine, patience, || {})
    }

    /// As `make`, with something that is done at the same instant.
    fn make_and(engine: &Engine, patience: &Patience<'_>, at_cut: impl FnOnce()) -> Result<Cut, SaveError> {
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
        let libraries = engine.functions.snapshot();
        at_cut();
        drop(guard);
        Ok(Cut { snapshot, libraries, config, at, dirty, held: begin.elapsed() })
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
fn write_facts(out: &mut Vec<u8>, at: UnixMs, target: Target<'_>) {
    let used = base::alloc::stats().allocated;
    write_aux(out, b"redis-ver", REDIS_VERSION.as_bytes());
    write_aux(out, b"redis-bits", b"64");
    write_aux(out, b"ctime", at.seconds().to_string().as_bytes());
    write_aux(out, b"used-mem", used.to_string().as_bytes());
    write_aux(out, b"aof-base", if matches!(target, Target::Base { .. }) { b"1" } else { b"0" });
}
