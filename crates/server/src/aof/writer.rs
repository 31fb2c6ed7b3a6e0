//! Writes increments and forces them to the disk: a thread does, and whoever waits for the disk does it for
//! all who wait. One step at a time, each of which may fail: what was not written is tried again; of what was
//! not synced nothing is taken for granted any more.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::process::exit;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use engine::Engine;
use engine::config::AppendSync;
use engine::log::Offset;
use engine::memory::Meter;

use super::queue::{Chunk, Queue, Taken};
use crate::disk::{AnyDisk, write_all_at};
use crate::log::{LOG, reason};

pub struct Writer {
    pub queue: Arc<Queue>,
    engine: Arc<Engine>,
    /// Locked while the disk works. Whoever holds shards must not wait for it. One of the standard library,
    /// because who waits for it sleeps at once: a lock that yields the processor first gives up its share of
    /// it, and comes to run milliseconds later where there are more threads than processors.
    increment: Mutex<Increment>,
}

/// What is being written.
struct Increment {
    disk: AnyDisk,
    queue: Arc<Queue>,
    engine: Arc<Engine>,
    /// The increment, and its bytes that are written.
    file: Option<(File, u64)>,
    /// Taken, not written yet.
    backlog: VecDeque<Chunk>,
    /// Where the log is behind the backlog.
    end: Offset,
    /// Memory of what was written last.
    used: Option<Vec<u8>>,
    /// Since when something written, or about to be, is not on the disk for certain.
    unsynced_since: Option<Instant>,
    last_sync: Instant,
    /// It had a name when it began: there are file systems on which nothing seems to have one.
    has_name: bool,
    /// When that was looked at last.
    looked: Instant,
    /// A write failed; it is tried again then.
    retry_at: Option<Instant>,
}

/// What comes within this time is written together, unless somebody waits for it.
const PACE: Duration = Duration::from_millis(2);
/// With `always` somebody waits for nearly all, and writes it himself: the thread must not be woken for it
/// by those who hold locks.
const STRICT_PACE: Duration = Duration::from_millis(20);
const SYNC_EVERY: Duration = Duration::from_secs(1);
const RETRY_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Writer {
    pub fn new(disk: AnyDisk, queue: Arc<Queue>, engine: Arc<Engine>, file: Option<(File, u64)>) -> Writer {
        queue.increment_len.store(file.as_ref().map_or(0, |(_, len)| *len), Ordering::Relaxed);
        let end = engine.log.offset();
        engine.log.set_durable(end);
        let increment = Increment {
            disk,
            queue: Arc::clone(&queue),
            engine: Arc::clone(&engine),
            has_name: file.as_ref().is_some_and(|(file, _)| has_name(disk, file)),
            file,
            backlog: VecDeque::new(),
            end,
            used: None,
            unsynced_since: None,
            last_sync: Instant::now(),
            looked: Instant::now(),
            retry_at: None,
        };
        Writer { queue, engine, increment: Mutex::new(increment) }
    }

    fn increment(&self) -> MutexGuard<'_, Increment> {
        self.increment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: works until it is ordered to end.
    pub fn run(&self) {
        let (mut due, mut meter) = (None, Meter::default());
        loop {
            let (orders, came) = self.queue.await_work(due);
            if came.is_some() {
                thread::sleep(self.pace());
            }
            // Whoever waits for it may see to it meanwhile.
            let is_done = || came.is_some_and(|end| self.engine.log.durable() >= end);
            if is_done() {
                continue;
            }
            let mut increment = self.increment();
            if !is_done() {
                increment.step(orders.sync);
            }
            meter.report(&self.engine.memory);
            if orders.stop {
                increment.drop_backlog();
                return self.queue.set_undurable_since(None);
            }
            due = increment.next_due();
        }
    }

    fn pace(&self) -> Duration {
        match self.queue.policy() {
            AppendSync::Always => STRICT_PACE,
            AppendSync::EverySecond | AppendSync::No => PACE,
        }
    }

    /// Writes and syncs what was logged up to there, unless somebody else does it first. Whoever comes while
    /// the disk works waits for the next turn, which is for all who have come by then.
    pub fn commit(&self, end: Offset) {
        let log = &self.engine.log;
        let mut increment = self.increment();
        if log.holds_reply_at(end) {
            increment.step(false);
        }
        drop(increment);
        // A disk that has failed, which the thread tries again, or a policy that is about to change.
        if log.holds_reply_at(end) {
            self.queue.wait_a_moment();
        }
    }

    /// Waits until nobody writes.
    pub fn await_turn(&self) {
        drop(self.increment());
    }

    /// Writes and syncs all there is.
    pub fn flush(&self) {
        self.increment().step(true);
    }
}

impl Increment {
    /// Writes all there is, and syncs it if that is due. `ordered`: however it stands, it is tried now.
    fn step(&mut self, ordered: bool) {
        let Taken { chunks, end } = self.queue.take(self.used.take());
        let came = Instant::now();
        if !chunks.is_empty() && self.unsynced_since.is_none() {
            self.unsynced_since = Some(came);
            self.queue.set_undurable_since(self.unsynced_since);
        }
        self.backlog.extend(chunks);
        self.end = end;
        if self.retry_at.is_none_or(|at| at <= came || ordered) {
            self.write_out();
        }
        self.shed();
        if ordered || self.looked.elapsed() >= LOOK_EVERY {
            self.look();
        }
        if self.backlog.is_empty() && self.wants_sync(ordered) {
            self.sync(ordered);
        }
        let taken = self.backlog.iter().map(|chunk| &chunk.bytes).chain(&self.used).map(Vec::capacity);
        self.queue.taken_memory.store(taken.sum(), Ordering::Relaxed);
        self.queue.announce();
    }

    /// When something is to be done although nothing comes.
    fn next_due(&self) -> Option<Instant> {
        let waits_for_sync = self.unsynced_since.is_some() && self.queue.policy() != AppendSync::No;
        let sync = waits_for_sync.then(|| self.last_sync + SYNC_EVERY);
        self.retry_at.into_iter().chain(sync).min()
    }

    /// Writes the backlog, as far as that goes.
    fn write_out(&mut self) {
        let delay_us = self.engine.debug.log_delay_us.load(Ordering::Relaxed);
        if delay_us > 0 && !self.backlog.is_empty() {
            thread::sleep(Duration::from_micros(delay_us));
        }
        while let Some(mut chunk) = self.backlog.pop_front() {
            if let Some(file) = chunk.begins.take() {
                self.begin(file);
            }
            let (file, len) = self.file.as_mut().expect("the first chunk begins a file, or one was given");
            match write_all_at(self.disk, file, &chunk.bytes, *len) {
                Ok(()) => {
                    *len += chunk.bytes.len() as u64;
                    self.queue.increment_len.store(*len, Ordering::Relaxed);
                    self.queue.remove(chunk.bytes.len());
                    self.engine.memory.buffer_log(-(chunk.bytes.len() as i64));
                    self.used = Some(chunk.bytes);
                }
                Err(error) => {
                    self.backlog.push_front(chunk);
                    return self.write_failed(&error);
                }
            }
        }
        if self.retry_at.take().is_some() {
            self.queue.is_stuck.store(false, Ordering::Relaxed);
            if !self.queue.is_distrusted() {
                LOG.warning("AOF write error looks solved, Redis can write again.");
                self.engine.log_fault.clear();
            }
        }
    }

    /// The next increment. What came before must be on the disk before anything of it is.
    fn begin(&mut self, file: File) {
        if self.file.is_some() && self.unsynced_since.is_some() {
            self.sync_file();
        }
        self.queue.note_begin();
        let ended = self.queue.increment_len.swap(0, Ordering::Relaxed);
        self.queue.ended_len.fetch_add(ended, Ordering::Relaxed);
        self.has_name = has_name(self.disk, &file);
        self.file = Some((file, 0));
    }

    fn write_failed(&mut self, error: &io::Error) {
        let why = reason(error);
        if self.queue.policy() == AppendSync::Always {
            LOG.warning(&format!("Error writing to the AOF file: {why}"));
            give_up("Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...");
        }
        if self.retry_at.is_none() {
            LOG.warning(&format!("Error writing to the AOF file: {why}"));
        }
        self.retry_at = Some(Instant::now() + RETRY_EVERY);
        self.queue.is_stuck.store(true, Ordering::Relaxed);
        self.engine.log_fault.set(why);
        // The next attempt writes over what was written of it; until then a crash leaves a file that loads.
        if let Some((file, len)) = &self.file
            && let Err(error) = self.disk.truncate(file, *len)
        {
            LOG.warning(&format!(
                "Could not remove short write from the append-only file. ftruncate: {}",
                reason(&error)
            ));
        }
    }

    /// What no disk takes must not fill the memory: it is dropped, and only a rewrite helps.
    fn shed(&mut self) {
        if self.retry_at.is_none() || !self.queue.is_full() {
            return;
        }
        LOG.warning("The append-only file lacks changes that could not be written; it has to be rewritten.");
        self.queue.doubt();
        self.drop_backlog();
    }

    /// A file that was removed takes what is written to it, and nobody finds it again: only a rewrite makes
    /// that good, in a folder that is made anew.
    fn look(&mut self) {
        let Some((file, _)) = &self.file else { return };
        self.looked = Instant::now();
        if !self.has_name || has_name(self.disk, file) {
            return;
        }
        if !self.queue.is_distrusted() {
            LOG.warning("The append-only file was removed from its folder; it has to be rewritten.");
        }
        self.queue.doubt();
        self.engine.log_fault.set(reason(&io::Error::from_raw_os_error(libc::ENOENT)));
    }

    fn drop_backlog(&mut self) {
        for chunk in &mut self.backlog {
            self.queue.remove(chunk.bytes.len());
            self.engine.memory.buffer_log(-(chunk.bytes.len() as i64));
            chunk.bytes = Vec::new();
        }
    }

    fn wants_sync(&self, ordered: bool) -> bool {
        let policy = self.queue.policy();
        if self.unsynced_since.is_none() {
            return false;
        }
        let spared = self.queue.spares_disk.load(Ordering::Relaxed);
        match policy {
            _ if ordered => true,
            AppendSync::Always => true,
            AppendSync::EverySecond => !spared && self.last_sync.elapsed() >= SYNC_EVERY,
            AppendSync::No => false,
        }
    }

    fn sync(&mut self, ordered: bool) {
        let begun = Instant::now();
        self.last_sync = begun;
        if !ordered && self.queue.spares_disk.load(Ordering::Relaxed) {
            // Nobody waits for the disk now; it is not taken to have anything.
            return self.engine.log.release(self.end);
        }
        if !self.sync_file() {
            return;
        }
        if self.queue.is_distrusted() {
            // Syncs that succeed now prove nothing: they are done again and again until a rewrite has made
            // good what is lacking. Writes are refused until then, and nobody waits for it, however long it
            // takes.
            return self.engine.log.release(self.end);
        }
        // What came meanwhile is not much younger.
        self.unsynced_since = (self.queue.len() > 0).then_some(begun);
        self.queue.set_undurable_since(self.unsynced_since);
        self.engine.log.set_durable(self.end);
        self.engine.post_file_waits();
    }

    /// False if it failed: then nobody knows what the disk has.
    fn sync_file(&mut self) -> bool {
        let Some((file, _)) = &self.file else { return true };
        let begun = Instant::now();
        self.queue.is_syncing.store(true, Ordering::Relaxed);
        let synced = self.disk.sync_data(file);
        self.queue.is_syncing.store(false, Ordering::Relaxed);
        self.engine.log.note_sync(begun.elapsed().as_nanos() as u64);
        let Err(error) = synced else { return true };
        let why = reason(&error);
        if self.queue.policy() == AppendSync::Always {
            give_up(&format!(
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {why}. Exiting..."
            ));
        }
        if !self.queue.is_distrusted() {
            LOG.warning(&format!("Fail to fsync the AOF file: {why}. It has to be rewritten."));
        }
        self.queue.doubt();
        self.engine.log_fault.set(why);
        false
    }
}

/// A disk that does not say shows what is wrong when it is written to.
fn has_name(disk: AnyDisk, file: &File) -> bool {
    disk.has_name(file).unwrap_or(true)
}

/// Somebody may have seen what cannot be made to last: nothing true can be answered any more.
fn give_up(why: &str) -> ! {
    LOG.warning(why);
    exit(1)
}
