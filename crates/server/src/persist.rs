//! Saving without a fork: the cut under all locks, the walk on the saving thread, and the record of what
//! became of it. One save at a time. A save that fails or is cancelled frees the writers at once and leaves
//! the old dump in place.

pub mod link;
mod pace;
mod walk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base::time::UnixMs;
use engine::Engine;
use engine::config::Config;
use engine::host::{DumpStatus, SCRIPT_RUNS, SaveRefused, SaveStarted, SaveStatus, Wait};
use parking_lot::{Condvar, Mutex};
use store::snapshot::Snapshot;

use crate::aside;
use crate::disk::AnyDisk;
use crate::dumpfile::{DumpFile, DumpOptions, SaveError};
use crate::host::Process;
use crate::log::{LOG, path};
use walk::{Cut, Facts, Purpose, Watch, cancel, is_kept_busy};

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
            dumps: DumpStatus::default(),
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
        let cut = Cut::make(engine, &|| walk::check_patience(self, engine));
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
        let cut = Cut::make_and(process.engine(), &|| walk::check_cancelled(self), at_cut)?;
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
        let Cut { mut snapshot, facts, .. } = cut;
        let result = self.write_file(engine, &mut snapshot, &facts, target);
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
        facts: &Facts,
        target: Target<'_>,
    ) -> Result<u64, SaveError> {
        let dump = target.create(self.disk, &facts.config)?;
        let purpose = if matches!(target, Target::Dump) { Purpose::Dump } else { Purpose::AofBase };
        let (dump, version) = walk::write(engine, facts, Some(snapshot), (dump, purpose), self)?;
        dump.commit(version, &target.path(&facts.config))
    }
}

impl Watch for Saver {
    fn is_cancelled(&self) -> bool {
        Saver::is_cancelled(self)
    }

    fn note_progress(&self, keys: usize, backlog_peak: usize) {
        let status = &mut self.state.lock().status;
        status.keys_done += keys as u64;
        status.snapshot_bytes = backlog_peak as u64;
    }
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

/// What the client is told.
fn refusal(error: &SaveError) -> SaveRefused {
    match error {
        SaveError::Busy => SCRIPT_RUNS,
        SaveError::TooMany => TOO_MANY,
        _ => FAILED,
    }
}
