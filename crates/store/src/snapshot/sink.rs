//! Where all that a snapshot has to write waits for its thread, and the count of what that is; and what the
//! running snapshots have in common. It never looks into a value.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use base::limits;
use ds::table::WalkPosition;

use crate::db::{Db, DbIndex};
use crate::entry::Entry;
use crate::keyspace::Store;
use crate::snapshot::pieces::Region;
use crate::snapshot::{Output, Uses};
use crate::sync::Mutex;

/// What all running snapshots share.
#[derive(Default)]
pub(crate) struct Snapshots {
    /// How many run.
    pub count: AtomicUsize,
    /// Bytes that they hold in memory: above their limit writers are delayed before they lock.
    pub backlog: AtomicUsize,
    /// Bytes that they keep for what is to come.
    pub spare: AtomicUsize,
    /// How often something was written: it tells a slow disk from one that hangs.
    pub steps: AtomicU64,
    /// Databases that are not in the keyspace any more, and not saved by all.
    flushed: Mutex<Vec<Weak<Mutex<Db>>>>,
}

impl Snapshots {
    pub fn add_flushed(&self, flushed: &Flushed) {
        self.flushed.lock().push(Arc::downgrade(flushed));
    }

    /// Whether nothing is to be added to what they hold, under this limit.
    pub fn is_behind(&self, limit: usize) -> bool {
        self.backlog.load(Ordering::Relaxed) > limit / limits::SNAPSHOT_FULL_SHARE
    }

    pub fn flushed(&self) -> Vec<Flushed> {
        let mut all = self.flushed.lock();
        all.retain(|flushed| flushed.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    }
}

pub(crate) struct Sink {
    queue: Mutex<VecDeque<Output>>,
    /// The memory of blocks that were written, for those to come: freed and allocated anew it would lie
    /// unused in the allocator as well, which gives pages back later.
    spare: Mutex<Vec<Vec<u8>>>,
    adopted: Mutex<VecDeque<Adopted>>,
    left: Mutex<VecDeque<Left>>,
    /// The snapshot's.
    pub number: u32,
    /// RDB bytes from which a value is saved in pieces.
    pub large: u64,
    pub uses: Option<Uses>,
    /// A capture hands its block over when it holds so many bytes.
    pub block_len: usize,
    pub limit: usize,
    pub common: Arc<Snapshots>,
    /// Values that are being saved in pieces.
    jobs: AtomicUsize,
    last_region: AtomicU64,
    pub pre_images: AtomicUsize,
    pub backlog_peak: AtomicUsize,
    pub cancelled: AtomicBool,
}

/// A flushed database, which belongs to all snapshots that have not saved it: the last one frees it.
pub(crate) type Flushed = Arc<Mutex<Db>>;

/// A flushed database, and how far this snapshot's walk has come in it.
pub(crate) struct Adopted {
    pub flushed: Flushed,
    pub at_cut: DbIndex,
    pub walk: WalkPosition,
}

/// A value that left the keyspace while it was saved. It belongs to all snapshots that are saving it: the
/// last one frees it.
pub(crate) struct Left {
    pub entry: Arc<Mutex<Entry>>,
    /// Bytes that it counts in the backlog.
    pub counted: usize,
}

impl Sink {
    pub fn new(store: &Store, number: u32, (large, uses): (u64, Option<Uses>), captures: usize) -> Arc<Sink> {
        let limit = store.snapshot_limit();
        Arc::new(Sink {
            queue: Mutex::default(),
            spare: Mutex::default(),
            adopted: Mutex::default(),
            left: Mutex::default(),
            number,
            large,
            uses,
            block_len: share(limit, captures),
            limit,
            common: Arc::clone(&store.snapshots),
            jobs: AtomicUsize::new(0),
            last_region: AtomicU64::new(0),
            pre_images: AtomicUsize::new(0),
            backlog_peak: AtomicUsize::new(0),
            cancelled: AtomicBool::new(false),
        })
    }

    /// False if the snapshot was cancelled: nobody is going to write it.
    pub fn push(&self, output: Output) -> bool {
        let mut queue = self.queue.lock();
        let wanted = !self.cancelled.load(Ordering::Relaxed);
        if wanted {
            queue.push_back(output);
        } else {
            self.shrink(output.memory());
        }
        wanted
    }

    /// Memory for a capture's block.
    pub fn take_room(&self) -> Vec<u8> {
        let spare = self.spare.lock().pop();
        let Some(room) = spare else { return Vec::with_capacity(self.block_len) };
        self.common.spare.fetch_sub(room.capacity(), Ordering::Relaxed);
        room
    }

    /// Takes back a block's memory. There are never more than once waited to be written.
    pub fn keep_room(&self, mut room: Vec<u8>) {
        if room.capacity() == self.block_len {
            room.clear();
            self.common.spare.fetch_add(room.capacity(), Ordering::Relaxed);
            self.spare.lock().push(room);
        }
    }

    pub fn has_output(&self) -> bool {
        !self.queue.lock().is_empty()
    }

    pub fn pop(&self) -> Option<Output> {
        self.queue.lock().pop_front()
    }

    pub fn adopt(&self, adopted: Adopted) {
        self.adopted.lock().push_back(adopted);
    }

    pub fn adopt_again(&self, adopted: Adopted) {
        self.adopted.lock().push_front(adopted);
    }

    pub fn next_adopted(&self) -> Option<Adopted> {
        self.adopted.lock().pop_front()
    }

    /// Takes over a value that leaves the keyspace, of so many bytes, together with other owners; false if it
    /// is not needed any more.
    pub fn take_in(&self, entry: &Arc<Mutex<Entry>>, memory: usize, owners: usize) -> bool {
        // One huge value must not hold up writers until it is saved: it takes no more memory than before.
        let counted = memory.min(self.limit / LEFT_SHARE) / owners;
        let mut left = self.left.lock();
        let wanted = !self.cancelled.load(Ordering::Relaxed);
        if wanted {
            self.grow(counted);
            left.push_back(Left { entry: Arc::clone(entry), counted });
        }
        wanted
    }

    pub fn next_left(&self) -> Option<Left> {
        self.left.lock().pop_front()
    }

    pub fn put_back(&self, value: Left) {
        self.left.lock().push_front(value);
    }

    pub fn has_left(&self) -> bool {
        !self.left.lock().is_empty()
    }

    pub fn grow(&self, bytes: usize) {
        let now = self.common.backlog.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.backlog_peak.fetch_max(now, Ordering::Relaxed);
    }

    pub fn shrink(&self, bytes: usize) {
        self.common.backlog.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// `memory`: what is known of the value until [`Sink::end_job`], beside its pieces.
    pub fn begin_job(&self, memory: usize) -> Region {
        self.grow(memory);
        self.jobs.fetch_add(1, Ordering::Relaxed);
        Region(self.last_region.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub fn end_job(&self, memory: usize) {
        self.shrink(memory);
        self.jobs.fetch_sub(1, Ordering::Relaxed);
    }

    /// A piece is handed over when it has so many bytes.
    pub fn piece_len(&self) -> usize {
        share(self.limit, self.jobs.load(Ordering::Relaxed))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let spare = self.spare.lock().iter().map(Vec::capacity).sum();
        self.common.spare.fetch_sub(spare, Ordering::Relaxed);
    }
}

/// What is still being filled cannot be written yet: that of all snapshots together stays well below the
/// backlog at which writers are delayed.
fn share(limit: usize, parts: usize) -> usize {
    (limit / 8 / limits::SNAPSHOTS_MOST / parts.max(1)).clamp(BLOCK_LEN_LEAST, limits::SNAPSHOT_BLOCK_LEN)
}

const BLOCK_LEN_LEAST: usize = 1024;
/// Values out of the keyspace count with at most this part of the limit each.
const LEFT_SHARE: usize = 16;
