//! The log: every effect in the one order in which memory changed.
//!
//! Effects are appended while their shards are locked, so the order in memory, in a file and on a replica is
//! the same. Readers are attached; without one, appending is a branch not taken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use store::DbIndex;

use crate::args::Argv;
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
    state: Mutex<LogState>,
}

struct LogState {
    replication_id: [u8; 40],
    /// The database that the next reader's commands apply to.
    db: Option<DbIndex>,
    scratch: Vec<u8>,
    readers: Vec<Box<dyn LogReader>>,
}

impl Log {
    pub fn new(replication_id: [u8; 40]) -> Log {
        let state = LogState { replication_id, db: None, scratch: Vec::new(), readers: Vec::new() };
        Log { active: AtomicBool::new(false), offset: AtomicU64::new(0), state: Mutex::new(state) }
    }

    #[inline]
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    pub fn offset(&self) -> Offset {
        Offset(self.offset.load(Ordering::Relaxed))
    }

    pub fn replication_id(&self) -> [u8; 40] {
        self.state.lock().replication_id
    }

    /// Another history begins: who follows the old one must copy everything.
    pub fn set_replication_id(&self, id: [u8; 40]) {
        self.state.lock().replication_id = id;
    }

    /// From now on `reader` sees every effect. The caller holds all shards, so nothing is half seen.
    pub fn attach(&self, reader: Box<dyn LogReader>) {
        let mut state = self.state.lock();
        state.readers.push(reader);
        state.db = None;
        self.active.store(true, Ordering::Relaxed);
    }

    /// Appends a command's effects. The caller holds the command's shards.
    pub fn append(&self, db: DbIndex, effects: &Effects, argv: &Argv<'_>) {
        self.write((db, db), |out| effects.write(argv, out));
    }

    /// Appends requests that begin in the first database and leave the second selected.
    pub fn append_requests(&self, (first, last): (DbIndex, DbIndex), requests: &[u8]) {
        self.write((first, last), |out| out.extend_from_slice(requests));
    }

    fn write(&self, (first, last): (DbIndex, DbIndex), write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.scratch.clear();
        state.scratch.shrink_to(SCRATCH_KEPT);
        if state.db != Some(first) {
            write_select(&mut state.scratch, first);
        }
        state.db = Some(last);
        write(&mut state.scratch);
        let from = Offset(self.offset.load(Ordering::Relaxed));
        for reader in &mut state.readers {
            reader.read(from, &state.scratch);
        }
        self.offset.store(from.0 + state.scratch.len() as u64, Ordering::Relaxed);
    }
}

/// Capacity that the buffer keeps after one large effect.
const SCRATCH_KEPT: usize = 1 << 20;

/// Appends `SELECT db`.
pub fn write_select(out: &mut Vec<u8>, db: DbIndex) {
    let number = db.0.to_string();
    write_command(out, [b"SELECT".as_slice(), number.as_bytes()].into_iter());
}
