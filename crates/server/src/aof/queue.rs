//! What the log has brought and the file does not have yet. The log appends while shards are locked, so
//! appending only copies; the writer takes all there is at once. Knows no file but to hand it on.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine::Engine;
use engine::config::{AppendSync, Config};
use engine::log::{LogReader, Offset};
use parking_lot::{Condvar, Mutex};

use crate::host::unix_now;

pub struct Queue {
    state: Mutex<State>,
    /// To the writer: there is something to do.
    work: Condvar,
    /// From the writer: something has reached the disk.
    progress: Condvar,
    /// Bytes that wait here or with the writer.
    waiting: AtomicUsize,
    /// So many may wait before writers do.
    waiting_most: AtomicUsize,
    /// Memory that the writer has taken.
    pub taken_memory: AtomicUsize,
    /// `appendfsync`, as its place in `AppendSync::ALL`.
    policy: AtomicUsize,
    stamps: AtomicBool,
    /// The disk is busy with a snapshot, and `no-appendfsync-on-rewrite` leaves it alone.
    pub spares_disk: AtomicBool,
    pub is_syncing: AtomicBool,
    /// Bytes of the increment that is being written.
    pub increment_len: AtomicU64,
    /// Of those before it that the base does not hold.
    pub ended_len: AtomicU64,
    pub delays: AtomicU64,
    /// A write failed and is tried again.
    pub is_stuck: AtomicBool,
    /// Since when something is in memory that the disk does not have for certain. Asked by those who wait for
    /// the writer, and so hold the state.
    undurable_since: Mutex<Option<Instant>>,
    doubts: Doubts,
}

/// Times that an fsync failed or bytes were dropped: only a rewrite makes the file good again.
#[derive(Default)]
struct Doubts {
    all: AtomicU64,
    /// When the increment began that is being written.
    at_begin: AtomicU64,
    /// Before the base began on which that increment builds.
    settled: AtomicU64,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// Memory for the next chunk.
    spare: Vec<u8>,
    /// Where the log was when the last byte came.
    end: u64,
    /// The second of the last stamp.
    stamped: i64,
    writer_sleeps: bool,
    orders: Orders,
}

/// What it goes by.
#[derive(Clone, Copy)]
pub struct Rules {
    policy: AppendSync,
    /// Seconds are noted between the requests.
    stamps: bool,
}

impl Rules {
    pub fn of(config: &Config) -> Rules {
        Rules { policy: config.appendfsync, stamps: config.aof_timestamp_enabled }
    }
}

/// What the writer is asked for beside the usual.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Orders {
    /// All there is goes to the disk now.
    pub sync: bool,
    /// It ends.
    pub stop: bool,
}

/// Bytes of one file.
pub struct Chunk {
    /// They are the first of this file.
    pub begins: Option<File>,
    pub bytes: Vec<u8>,
}

/// All there was at one moment.
pub struct Taken {
    pub chunks: VecDeque<Chunk>,
    pub end: Offset,
}

/// So long the disk may lack what was acknowledged with `everysec`, before writers wait.
const UNDURABLE_MOST: Duration = Duration::from_secs(2);
/// How often whoever waits looks whether he still has to.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of a chunk, but for one large effect, and room for a line with the second.
const CHUNK_LEN: usize = 1 << 20;
const STAMP_LEN: usize = 32;
/// Capacity that goes back and forth between the log and the writer.
const CAPACITY_KEPT: usize = 2 * CHUNK_LEN;

impl Queue {
    pub fn new(config: &Config) -> Queue {
        let queue = Queue {
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            waiting: AtomicUsize::new(0),
            waiting_most: AtomicUsize::new(0),
            taken_memory: AtomicUsize::new(0),
            policy: AtomicUsize::new(0),
            stamps: AtomicBool::new(false),
            spares_disk: AtomicBool::new(false),
            is_syncing: AtomicBool::new(false),
            increment_len: AtomicU64::new(0),
            ended_len: AtomicU64::new(0),
            delays: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
            undurable_since: Mutex::default(),
            doubts: Doubts::default(),
        };
        queue.obey(Rules::of(config));
        queue.bound(config);
        queue
    }

    pub fn obey(&self, Rules { policy, stamps }: Rules) {
        let old = self.policy.swap(policy as usize, Ordering::Relaxed);
        self.stamps.store(stamps, Ordering::Relaxed);
        // A stricter policy is owed what a laxer one has left.
        if policy as usize != old && policy != AppendSync::No {
            self.order(Orders { sync: true, stop: false });
        }
    }

    /// The disk is left alone, or not any more: then it is owed what it was spared. Whoever wrote that may
    /// have been a worker, and the thread sleeps.
    pub fn spare_disk(&self, spares: bool) {
        let spared = self.spares_disk.swap(spares, Ordering::Relaxed);
        if spared && !spares && self.policy() != AppendSync::No {
            self.order(Orders { sync: true, stop: false });
        }
    }

    /// How much may wait follows `maxmemory`.
    pub fn bound(&self, config: &Config) {
        self.waiting_most.store(config.log_buffer_limit() as usize, Ordering::Relaxed);
    }

    /// More waits than may.
    pub fn is_full(&self) -> bool {
        self.len() > self.waiting_most.load(Ordering::Relaxed)
    }

    pub fn policy(&self) -> AppendSync {
        AppendSync::ALL[self.policy.load(Ordering::Relaxed)]
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Memory of what waits, and for what comes next.
    pub fn memory(&self) -> usize {
        let state = self.state.lock();
        let chunks: usize = state.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        chunks + state.spare.capacity() + self.taken_memory.load(Ordering::Relaxed)
    }

    /// Bytes that are written and that the base does not hold.
    pub fn written_len(&self) -> u64 {
        self.increment_len.load(Ordering::Relaxed) + self.ended_len.load(Ordering::Relaxed)
    }

    /// From here on another file is written. The caller holds all shards, so nothing is appended meanwhile.
    pub fn begin_file(&self, file: File, at: Offset) {
        let mut state = self.state.lock();
        state.end = at.0;
        state.stamped = 0;
        state.chunks.push_back(Chunk { begins: Some(file), bytes: Vec::new() });
        self.wake_for(&mut state);
    }

    /// Returns by how much more waits.
    fn append(&self, end: u64, bytes: &[u8]) -> usize {
        let stamp = self.stamps.load(Ordering::Relaxed).then(|| unix_now().seconds());
        let mut state = self.state.lock();
        state.end = end;
        let stamp = stamp.filter(|second| *second != state.stamped);
        let chunk = state.chunk_for(bytes.len());
        let before = chunk.bytes.len();
        if let Some(second) = stamp {
            chunk.bytes.extend_from_slice(format!("#TS:{second}\r\n").as_bytes());
        }
        chunk.bytes.extend_from_slice(bytes);
        let added = chunk.bytes.len() - before;
        state.stamped = stamp.unwrap_or(state.stamped);
        self.waiting.fetch_add(added, Ordering::Relaxed);
        self.wake_for(&mut state);
        added
    }

    fn wake_for(&self, state: &mut State) {
        if std::mem::take(&mut state.writer_sleeps) {
            self.work.notify_one();
        }
    }

    /// The part of the writer's thread: waits until there is something to do, at most until then. What nobody
    /// has ordered may wait a little longer: it ends there.
    pub fn await_work(&self, until: Option<Instant>) -> (Orders, Option<Offset>) {
        let mut state = self.state.lock();
        while state.chunks.is_empty() && state.orders == Orders::default() {
            state.writer_sleeps = true;
            match until {
                None => self.work.wait(&mut state),
                Some(until) if self.work.wait_until(&mut state, until).timed_out() => break,
                Some(_) => {}
            }
        }
        state.writer_sleeps = false;
        let orders = std::mem::take(&mut state.orders);
        let may_wait = orders == Orders::default()
            && !state.chunks.is_empty()
            && state.chunks.iter().all(|chunk| chunk.begins.is_none());
        (orders, may_wait.then_some(Offset(state.end)))
    }

    /// All there is. `used` is what was taken last: its memory serves again.
    pub fn take(&self, used: Option<Vec<u8>>) -> Taken {
        let mut state = self.state.lock();
        let chunks = std::mem::take(&mut state.chunks);
        if let Some(mut bytes) = used.filter(|bytes| bytes.capacity() <= CAPACITY_KEPT) {
            bytes.clear();
            state.spare = bytes;
        }
        Taken { chunks, end: Offset(state.end) }
    }

    /// The writer has written so many bytes, or has given them up.
    pub fn remove(&self, len: usize) {
        self.waiting.fetch_sub(len, Ordering::Relaxed);
    }

    /// Since when the disk lacks something; `None`: it has all.
    pub fn set_undurable_since(&self, since: Option<Instant>) {
        *self.undurable_since.lock() = since;
    }

    /// Something has changed for whoever waits.
    pub fn announce(&self) {
        // Whoever has looked and is about to wait holds the lock.
        drop(self.state.lock());
        self.progress.notify_all();
    }

    pub fn order(&self, orders: Orders) {
        let mut state = self.state.lock();
        state.orders.sync |= orders.sync;
        state.orders.stop |= orders.stop;
        state.writer_sleeps = false;
        self.work.notify_one();
    }

    /// Waits until the writer has come further, or a moment.
    pub fn wait_a_moment(&self) {
        self.progress.wait_for(&mut self.state.lock(), LOOK);
    }

    /// The file may lack something.
    pub fn doubt(&self) {
        self.doubts.all.fetch_add(1, Ordering::Relaxed);
    }

    pub fn is_distrusted(&self) -> bool {
        self.doubts.all.load(Ordering::Relaxed) > self.doubts.settled.load(Ordering::Relaxed)
    }

    /// A new increment is written from here on.
    pub fn note_begin(&self) {
        self.doubts.at_begin.store(self.doubts.all.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// What came before the increment is not needed any more.
    pub fn settle_doubts(&self) {
        self.doubts.settled.store(self.doubts.at_begin.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether so much waits, or for so long, that nothing may be added.
    pub fn is_behind(&self) -> bool {
        if self.is_full() {
            return true;
        }
        let since = self.undurable_since.lock().filter(|_| self.policy() == AppendSync::EverySecond);
        since.is_some_and(|since| since.elapsed() >= UNDURABLE_MOST)
            && !self.spares_disk.load(Ordering::Relaxed)
    }
}

impl State {
    /// Where so many bytes go. Chunks are short, so that hardly more memory is taken than bytes wait.
    fn chunk_for(&mut self, len: usize) -> &mut Chunk {
        let fits = |chunk: &Chunk| chunk.bytes.is_empty() || chunk.bytes.len() + len + STAMP_LEN <= CHUNK_LEN;
        if !self.chunks.back().is_some_and(fits) {
            let bytes = match self.chunks.is_empty() {
                true => std::mem::take(&mut self.spare),
                false => Vec::with_capacity(CHUNK_LEN),
            };
            self.chunks.push_back(Chunk { begins: None, bytes });
        }
        self.chunks.back_mut().expect("there is one by now")
    }
}

/// The log's end of the queue.
pub struct Feed {
    pub queue: Arc<Queue>,
    pub engine: Arc<Engine>,
}

impl LogReader for Feed {
    fn read(&mut self, from: Offset, bytes: &[u8]) {
        let added = self.queue.append(from.0 + bytes.len() as u64, bytes);
        self.engine.memory.buffer_log(added as i64);
        if self.queue.is_full() {
            self.engine.log.set_behind(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody else may come: then what was written last would wait for the disk for ever.
    #[test]
    fn what_the_disk_was_spared_is_synced_when_it_is_spared_no_more() {
        let sync = Orders { sync: true, stop: false };
        let cases = [(AppendSync::Always, sync), (AppendSync::EverySecond, sync)];
        for (policy, owed) in cases.into_iter().chain([(AppendSync::No, Orders::default())]) {
            let queue = Queue::new(&Config { appendfsync: policy, ..Config::default() });
            let ordered = |spares| {
                queue.spare_disk(spares);
                queue.await_work(Some(Instant::now())).0
            };
            queue.await_work(Some(Instant::now()));
            assert_eq!(ordered(false), Orders::default());
            assert_eq!(ordered(true), Orders::default());
            assert_eq!(ordered(false), owed, "{policy:?}");
            assert_eq!(ordered(false), Orders::default());
        }
    }
}
