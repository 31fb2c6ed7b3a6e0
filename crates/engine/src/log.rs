//! The log: every effect in the one order in which memory changed.
//!
//! Effects are appended while their shards are locked, so the order in memory, in a file and on a replica is
//! the same. Readers are attached; without one, appending is a branch not taken.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use base::alloc::size_class;
use parking_lot::Mutex;
use store::DbIndex;

use crate::args::{Argv, OwnedArgv};
use crate::effects::{Effects, write_command};

/// Bytes since the log began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Offset(pub u64);

/// Somebody who follows the log: a file, a replica's link, a test.
pub trait LogReader: Send {
    /// `bytes` are whole requests, the first of them at `from`. Called in order, under the log's lock: copy
    /// and return.
    fn read(&mut self, from: Offset, bytes: &[u8]);
}

pub struct Log {
    active: AtomicBool,
    offset: AtomicU64,
    /// What the file has for certain.
    durable: AtomicU64,
    /// What may be answered: beside that, what `no-appendfsync-on-rewrite` does not wait for.
    released: AtomicU64,
    /// A `FileState`.
    file: AtomicU8,
    /// Nobody is answered before the file has for certain what is in memory.
    strict: AtomicBool,
    /// How long the file's last sync took.
    sync_ns: AtomicU64,
    /// The file is so far behind that whoever writes has to wait.
    behind: AtomicBool,
    /// Bytes of what transactions that run have done, and append at their end.
    withheld: AtomicUsize,
    state: Mutex<LogState>,
}

struct LogState {
    replication_id: [u8; 40],
    /// The database that the next reader's commands apply to.
    db: Option<DbIndex>,
    scratch: Vec<u8>,
    readers: Vec<(ReaderId, Box<dyn LogReader>)>,
    next_reader: u64,
}

/// Whether there is a file, and what it is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileState {
    None,
    /// It has what came since some moment, but not yet the base.
    WithoutBase,
    Whole,
}

/// A reader that was attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReaderId(u64);

impl Log {
    pub fn new(replication_id: [u8; 40]) -> Log {
        let (scratch, readers) = (Vec::new(), Vec::new());
        let state = LogState { replication_id, db: None, scratch, readers, next_reader: 0 };
        Log {
            active: AtomicBool::new(false),
            offset: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            released: AtomicU64::new(0),
            file: AtomicU8::new(FileState::None as u8),
            strict: AtomicBool::new(false),
            sync_ns: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            withheld: AtomicUsize::new(0),
            state: Mutex::new(state),
        }
    }

    #[inline]
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    pub fn offset(&self) -> Offset {
        Offset(self.offset.load(Ordering::Relaxed))
    }

    /// Whether replies have to wait until the file has all that is in the log now (`appendfsync always`).
    #[inline]
    pub fn holds_replies(&self) -> bool {
        self.holds_reply_at(self.offset())
    }

    /// Whether the reply to what ends there has to wait.
    #[inline]
    pub fn holds_reply_at(&self, offset: Offset) -> bool {
        self.strict.load(Ordering::Relaxed) && self.released.load(Ordering::Acquire) < offset.0
    }

    #[inline]
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    pub fn durable(&self) -> Offset {
        Offset(self.durable.load(Ordering::Acquire))
    }

    /// For whoever writes the file.
    pub fn set_durable(&self, to: Offset) {
        self.durable.fetch_max(to.0, Ordering::Release);
        self.release(to);
    }

    /// What came up to here may be answered, though the disk may lack it.
    pub fn release(&self, to: Offset) {
        self.released.fetch_max(to.0, Ordering::Release);
    }

    pub fn file(&self) -> FileState {
        match self.file.load(Ordering::Acquire) {
            0 => FileState::None,
            1 => FileState::WithoutBase,
            _ => FileState::Whole,
        }
    }

    pub fn set_file(&self, state: FileState) {
        self.file.store(state as u8, Ordering::Release);
    }

    /// Whether the file has for certain all that led to the state at some offset.
    pub fn file_has(&self, offset: Offset) -> bool {
        self.file() == FileState::Whole && self.durable() >= offset
    }

    pub fn set_strict(&self, on: bool) {
        self.strict.store(on, Ordering::Relaxed);
    }

    /// How long the file's last sync took.
    pub fn sync_ns(&self) -> u64 {
        self.sync_ns.load(Ordering::Relaxed)
    }

    pub fn note_sync(&self, ns: u64) {
        self.sync_ns.store(ns, Ordering::Relaxed);
    }

    pub fn set_behind(&self, on: bool) {
        self.behind.store(on, Ordering::Relaxed);
    }

    /// A transaction has so much more to append at its end.
    pub(crate) fn withhold(&self, len: usize) {
        self.withheld.fetch_add(len, Ordering::Relaxed);
    }

    /// It has appended it.
    pub(crate) fn hand_over(&self, len: usize) {
        self.withheld.fetch_sub(len, Ordering::Relaxed);
    }

    /// Bytes in which effects are written down before the readers have them.
    pub fn scratch(&self) -> usize {
        size_class(self.state.lock().scratch.capacity())
    }

    pub fn withheld(&self) -> usize {
        self.withheld.load(Ordering::Relaxed)
    }

    pub fn replication_id(&self) -> [u8; 40] {
        self.state.lock().replication_id
    }

    /// Another history begins: who follows the old one must copy everything.
    pub fn set_replication_id(&self, id: [u8; 40]) {
        self.state.lock().replication_id = id;
    }

    /// From now on `reader` sees every effect. The caller holds all shards, so nothing is half seen.
    pub fn attach(&self, reader: Box<dyn LogReader>) -> ReaderId {
        let mut state = self.state.lock();
        let id = ReaderId(state.next_reader);
        state.next_reader += 1;
        state.readers.push((id, reader));
        state.db = None;
        self.active.store(true, Ordering::Relaxed);
        id
    }

    /// The reader sees nothing more. What a command that runs now has still to append is lost to it.
    pub fn detach(&self, id: ReaderId) {
        let mut state = self.state.lock();
        state.readers.retain(|(other, _)| *other != id);
        self.active.store(!state.readers.is_empty(), Ordering::Relaxed);
    }

    /// What is appended from here on can be replayed without what came before it. The caller holds all
    /// shards.
    pub fn begin_part(&self) -> Offset {
        self.state.lock().db = None;
        self.offset()
    }

    /// Appends a command's effects, as a transaction if there are several; returns where they end. The caller
    /// holds the command's shards.
    pub fn append(&self, db: DbIndex, effects: &Effects, argv: &Argv<'_>) -> Offset {
        self.write((db, db), Vec::new(), 0, |out| {
            let several = effects.count() > 1;
            if several {
                write_command(out, [b"MULTI".as_slice()].into_iter());
            }
            effects.write(argv, out);
            if several {
                write_command(out, [b"EXEC".as_slice()].into_iter());
            }
        })
    }

    /// Appends effects of no command: each stands for itself.
    pub fn append_apart(&self, db: DbIndex, effects: &Effects) {
        self.write((db, db), Vec::new(), 0, |out| effects.write(&OwnedArgv::default().view(), out));
    }

    /// Appends requests that begin in the first database and leave the second selected, without so many bytes
    /// of the first part; returns where they end.
    pub fn append_requests(&self, dbs: (DbIndex, DbIndex), parts: Vec<Vec<u8>>, skipped: usize) -> Offset {
        self.write(dbs, parts, skipped, |_| {})
    }

    /// Appends what `write` writes, and the parts, each of which is dropped once the readers have it.
    fn write(
        &self,
        (first, last): (DbIndex, DbIndex),
        parts: Vec<Vec<u8>>,
        mut skipped: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Offset {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.scratch.clear();
        state.scratch.shrink_to(SCRATCH_KEPT);
        if state.db != Some(first) {
            write_select(&mut state.scratch, first);
        }
        state.db = Some(last);
        write(&mut state.scratch);
        let mut end = Offset(self.offset.load(Ordering::Relaxed));
        let mut tell = |bytes: &[u8]| {
            if !bytes.is_empty() {
                state.readers.iter_mut().for_each(|(_, reader)| reader.read(end, bytes));
                end.0 += bytes.len() as u64;
            }
        };
        tell(&state.scratch);
        for part in parts {
            tell(&part[std::mem::take(&mut skipped)..]);
        }
        self.offset.store(end.0, Ordering::Relaxed);
        end
    }
}

/// Capacity that the buffer keeps after one large effect.
const SCRATCH_KEPT: usize = 1 << 20;

/// Appends `SELECT db`.
pub fn write_select(out: &mut Vec<u8>, db: DbIndex) {
    let number = db.0.to_string();
    write_command(out, [b"SELECT".as_slice(), number.as_bytes()].into_iter());
}
