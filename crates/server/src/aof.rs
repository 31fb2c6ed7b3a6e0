//! The append-only file: whether there is one, its parts, and who works on it. The log brings what happened
//! to the queue; the writer's thread takes it to the increment; a rewrite makes a new base. Decides nothing
//! about what is logged.

mod commands;
mod folder;
mod loading;
mod notes;
mod queue;
mod rewrite;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aof::Manifest;
use arc_swap::ArcSwapOption;
use base::time::UnixMs;
use engine::config::{AppendSync, Config};
use engine::host::{LogFileStatus, SaveStatus};
use engine::log::{FileState, ReaderId};
use parking_lot::{Condvar, Mutex};
use store::Plan;

use crate::aside;
use crate::disk::AnyDisk;
use crate::host::Process;
use crate::log::LOG;
use crate::persist::Saver;
use folder::Folder;
use notes::{Locked, Notes};
use queue::{Feed, Orders, Queue, Rules};
use rewrite::{Task, Tries};
use writer::Writer;

pub use loading::{Found, load};

pub struct Aof {
    disk: AnyDisk,
    /// The files there are, known since the first use. Locked by whoever works on them, for as long as the
    /// disk takes: nobody waits for it who holds the state, and of the workers only one that turns the file
    /// on or off.
    parts: Mutex<Option<Parts>>,
    state: Mutex<State>,
    /// Saves the bases of rewrites.
    saver: Saver,
    /// Bytes held while a snapshot is made a base of commands.
    rewrite_memory: AtomicUsize,
    /// Somebody is ending the process: nothing new begins.
    closed: AtomicBool,
    /// A rewrite has ended.
    rewritten: Condvar,
    /// That of the line, for whoever must not wait for the rest.
    writer: ArcSwapOption<Writer>,
}

/// How long the end of the process waits for a rewrite that was told to end: only a disk that hangs uses it.
const REWRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Whoever holds shards may lock it, but nobody who holds it locks shards or waits for a disk.
#[derive(Default)]
struct State {
    /// As `epoch`, it changes only while the parts are locked too; but the file is turned on at any time.
    mode: Mode,
    /// Ascends whenever it is turned off.
    epoch: u64,
    /// Bytes of the base, and of the increments before the last one.
    settled_len: u64,
    line: Option<Line>,
    /// Those that were asked for last: the configuration has them a little later.
    rules: Option<Rules>,
    /// A rewrite was begun and not ended, neither by itself nor by whoever turned the file off.
    rewriting: bool,
    /// A thread works on a rewrite, which may be one that was ended: it has files to remove then.
    at_work: bool,
    /// The rewrite for the thread to begin when it is done with one that was ended.
    next: Option<Task>,
    scheduled: bool,
    tries: Tries,
    status: LogFileStatus,
    /// For the server's log, once this is unlocked.
    notes: Notes,
}

/// The files there are.
struct Parts {
    folder: Folder,
    manifest: Manifest,
}

/// What is at work while there is a file.
struct Line {
    queue: Arc<Queue>,
    reader: ReaderId,
    thread: JoinHandle<()>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    #[default]
    Off,
    /// Turned on: what happens goes to a temporary increment, once a rewrite has begun.
    AwaitsBase,
    On,
}

impl Aof {
    pub fn new(disk: AnyDisk, now: UnixMs) -> Aof {
        let saver = Saver::new(disk, now);
        Aof {
            disk,
            parts: Mutex::default(),
            state: Mutex::default(),
            saver,
            rewrite_memory: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            rewritten: Condvar::new(),
            writer: ArcSwapOption::empty(),
        }
    }

    fn state(&self) -> Locked<'_> {
        Locked::of(&self.state)
    }

    pub fn status(&self) -> LogFileStatus {
        let state = self.state();
        let mut status = state.status.clone();
        status.enabled = state.mode != Mode::Off;
        (status.rewriting, status.rewrite_scheduled) = (state.rewriting, state.scheduled);
        status.current_size = state.current_size();
        status.buffer_memory = self.rewrite_memory.load(Ordering::Relaxed) as u64;
        if let Some(Line { queue, .. }) = &state.line {
            status.buffered = queue.len() as u64;
            status.buffer_memory += queue.memory() as u64;
            status.is_syncing = queue.is_syncing.load(Ordering::Relaxed);
            status.delays = queue.delays.load(Ordering::Relaxed);
            status.last_write_ok = !queue.is_stuck.load(Ordering::Relaxed) && !queue.is_distrusted();
        }
        status
    }

    /// Of the base that is being written; of a rewrite that was ended nothing is told any more.
    pub fn base_status(&self) -> Option<SaveStatus> {
        self.is_rewriting().then(|| self.saver.status())
    }

    pub fn is_rewriting(&self) -> bool {
        self.state().rewriting
    }

    /// The file goes on where it was loaded, or begins with what is in memory. No client is served yet.
    pub fn begin(&self, process: &Arc<Process>) -> Result<(), String> {
        let (engine, config) = (process.engine(), process.engine().config());
        let folder = Folder::of(self.disk, &config);
        folder.create()?;
        let mut manifest = folder.manifest()?;
        let before = manifest.clone();
        if manifest.is_empty() {
            let form = rewrite::base_form(&config);
            let base = manifest.next_base(&folder.file_name, form);
            self.write_base(process, &folder, (&base.name, form), || {})?;
            let name = String::from_utf8_lossy(&base.name);
            LOG.notice(&format!("Creating AOF base file {name} on server start"));
            manifest.replace_base(base, 0);
        }
        let (word, name, (file, len)) = match manifest.increments.last() {
            Some(part) => ("Opening", part.name.clone(), folder.open_increment(&part.name)?),
            None => {
                // Of a file that happens to be called so the manifest knows nothing.
                let name = manifest.add_increment(&folder.file_name);
                let file = folder.create_increment(&name)?;
                ("Creating", name, (file, 0))
            }
        };
        if manifest != before {
            let next = manifest.clone();
            folder.store(&mut manifest, next)?;
        }
        LOG.notice(&format!("{word} AOF incr file {} on server start", String::from_utf8_lossy(&name)));
        let sizes = folder.sizes(&manifest)?;
        let queue = Arc::new(Queue::new(&config));
        let (writer, thread) = self.start_writer(process, &queue, Some((file, len)))?;
        let guard = engine.store.lock(&Plan::All);
        let reader = self.attach(process, &queue);
        drop(guard);
        if !config.aof_disable_auto_gc {
            folder.remove_history(&mut manifest);
        }
        let has_base = manifest.base.is_some();
        let mut parts = self.parts.lock();
        *parts = Some(Parts { folder, manifest });
        let mut state = self.state();
        state.status.base_size = sizes.first().copied().filter(|_| has_base).unwrap_or(0);
        state.settled_len = sizes.iter().sum::<u64>() - len;
        self.writer.store(Some(writer));
        state.line = Some(Line { queue, reader, thread });
        state.mode = Mode::On;
        engine.log.set_file(FileState::Whole);
        Ok(())
    }

    fn attach(&self, process: &Arc<Process>, queue: &Arc<Queue>) -> ReaderId {
        let engine = process.engine();
        let feed = Feed { queue: Arc::clone(queue), engine: Arc::clone(engine) };
        engine.log.set_strict(queue.policy() == AppendSync::Always);
        engine.log.attach(Box::new(feed))
    }

    fn start_writer(
        &self,
        process: &Arc<Process>,
        queue: &Arc<Queue>,
        file: Option<(std::fs::File, u64)>,
    ) -> Result<(Arc<Writer>, JoinHandle<()>), String> {
        let writer = Writer::new(self.disk, Arc::clone(queue), Arc::clone(process.engine()), file);
        let writer = Arc::new(writer);
        let own = Arc::clone(&writer);
        let spawned = aside::spawn("aof", move || own.run());
        let thread =
            spawned.map_err(|error| format!("Can't start the thread of the append-only file: {error}"))?;
        Ok((writer, thread))
    }

    /// While there is no file, the folder may become another one: it is read again when it is needed next.
    pub fn forget_parts(&self) {
        let mut parts = self.parts.lock();
        let state = self.state();
        if state.mode == Mode::Off && !state.at_work {
            *parts = None;
        }
    }

    /// A directive has changed.
    pub fn configure(&self, process: &Arc<Process>, config: &Config) -> Result<(), String> {
        let rules = Rules::of(config);
        self.state().rules = Some(rules);
        let is_on = || self.state().mode != Mode::Off;
        match config.appendonly {
            true => self.turn_on(process, config)?,
            false if is_on() => {
                let _parts = self.parts.lock();
                if is_on() {
                    self.turn_off(process);
                }
            }
            false => {}
        }
        let state = self.state();
        if let Some(Line { queue, .. }) = &state.line {
            queue.obey(rules);
            process.engine().log.set_strict(queue.policy() == AppendSync::Always);
        }
        let at_work = state.at_work;
        drop(state);
        // Whoever works on the parts sees to it himself.
        if !config.aof_disable_auto_gc
            && !at_work
            && let Some(Some(Parts { folder, manifest })) = self.parts.try_lock().as_deref_mut()
        {
            folder.remove_history(manifest);
        }
        Ok(())
    }

    /// Whether there can be a folder is known when this returns, as in Redis; the rest is a rewrite's, which
    /// makes the first base, and nobody waits for it.
    fn turn_on(&self, process: &Arc<Process>, config: &Config) -> Result<(), String> {
        if self.state().mode != Mode::Off {
            return Ok(());
        }
        // Who has the parts now is a rewrite that was given up: it has made the folder.
        if let Some(mut parts) = self.parts.try_lock() {
            let ready = self.known(&mut parts, config).and_then(|parts| parts.folder.create());
            ready.map_err(|why| {
                LOG.warning(&why);
                "Unable to turn on AOF. Check server logs.".to_owned()
            })?;
        }
        let mut state = self.state();
        if state.mode != Mode::Off {
            return Ok(());
        }
        (state.mode, state.scheduled) = (Mode::AwaitsBase, true);
        process.engine().log.set_file(FileState::WithoutBase);
        if !state.rewriting && !process.saver.status().in_progress {
            // Else, and if it fails, the timer does.
            self.start_rewrite(process, &mut state).ok();
        }
        Ok(())
    }

    /// All that was logged is in the file; from here on nothing is. The caller has locked the parts.
    fn turn_off(&self, process: &Process) {
        let mut state = self.state();
        if state.rewriting {
            state
                .notes
                .notice("Killing the running AOF rewrite, which is a thread and no child process".into());
            self.saver.cancel_base();
        }
        // Its thread may take a while to come to its end: nobody is told to wait for that.
        (state.rewriting, state.next, state.status.rewrite_started) = (false, None, None);
        (state.mode, state.scheduled) = (Mode::Off, false);
        state.epoch += 1;
        let line = state.line.take();
        process.engine().log.set_file(FileState::None);
        drop(state);
        process.engine().post_file_waits();
        self.end_line(process, line);
    }

    /// Nothing more is logged; what was goes to the disk. The caller has locked the parts.
    fn end_line(&self, process: &Process, line: Option<Line>) {
        let Some(line) = line else { return };
        let engine = process.engine();
        engine.log.detach(line.reader);
        line.queue.order(Orders { sync: true, stop: true });
        line.thread.join().ok();
        engine.log.set_strict(false);
        engine.log.set_behind(false);
        engine.log_fault.clear();
        self.writer.store(None);
    }

    /// Sees to it that what is in the log now may be answered.
    pub fn await_durable(&self, process: &Process) {
        let log = &process.engine().log;
        let end = log.offset();
        while log.holds_reply_at(end)
            && let Some(writer) = self.writer.load_full()
        {
            writer.commit(end);
        }
    }

    /// As if the disk had lacked something since then, until it has it.
    #[cfg(test)]
    pub fn set_undurable_since(&self, since: Instant) {
        let writer = self.writer.load_full().expect("there is a file");
        writer.queue.set_undurable_since(Some(since));
    }

    /// Waits until the disk works for nobody.
    pub fn await_turn(&self) {
        if let Some(writer) = self.writer.load_full() {
            writer.await_turn();
        }
    }

    /// Whether too much waits already, which the log is told. A file that cannot be written holds up nobody:
    /// writes are refused.
    pub fn is_behind(&self, process: &Process) -> bool {
        let engine = process.engine();
        let writer = self.writer.load();
        let behind = writer.as_ref().is_some_and(|writer| writer.queue.is_behind())
            && !engine.log_fault.is_on()
            && !process.stopping.load(Ordering::Relaxed);
        engine.log.set_behind(behind);
        behind
    }

    /// A request waits until that is not so.
    pub fn note_delay(&self) {
        if let Some(writer) = &*self.writer.load() {
            writer.queue.delays.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes out and syncs all there is; false if the file does not take it.
    pub fn flush(&self, process: &Process) -> bool {
        let Some(writer) = self.writer.load_full() else { return true };
        let log = &process.engine().log;
        let end = log.offset();
        writer.flush();
        log.durable() >= end
    }

    /// The timer's part.
    pub fn tick(&self, process: &Arc<Process>, config: &Config) {
        if let Some(writer) = self.writer.load_full() {
            let queue = &writer.queue;
            let busy = self.is_rewriting() || process.saver.status().in_progress;
            queue.bound(config);
            queue.spare_disk(busy && config.no_appendfsync_on_rewrite);
        }
        self.is_behind(process);
        self.rewrite_if_due(process, config);
    }

    /// What cannot be waited for any longer: whether a first base is missing.
    pub fn is_without_base(&self) -> bool {
        self.state().mode == Mode::AwaitsBase
    }

    /// The end of the process: rewrites end and leave nothing behind, and all that was logged goes to the
    /// disk.
    pub fn close(&self, process: &Process) {
        self.closed.store(true, Ordering::Relaxed);
        let at_work = self.state().at_work;
        if at_work {
            LOG.warning("There is a rewrite of the AOF running. Ending it!");
            self.saver.close();
            self.await_rewrite();
        }
        if self.writer.load().is_some() {
            LOG.notice("Calling fsync() on the AOF file.");
            if !self.flush(process) {
                LOG.warning("Fail to fsync the AOF file.");
            }
        }
    }

    /// Waits until no thread works on a rewrite, but not for long.
    fn await_rewrite(&self) {
        let end = Instant::now() + REWRITE_PATIENCE;
        let mut state = self.state.lock();
        while state.at_work && !self.rewritten.wait_until(&mut state, end).timed_out() {}
    }
}

impl State {
    fn current_size(&self) -> u64 {
        self.settled_len + self.line.as_ref().map_or(0, |line| line.queue.written_len())
    }
}
