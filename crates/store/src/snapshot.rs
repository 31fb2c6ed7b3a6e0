//! The state of the whole keyspace at one instant, read out piece by piece while commands go on.
//!
//! The cut: with all shards locked, every table gets the snapshot's number and every database a
//! [`Capture`]. From then on an entry is saved exactly once: by the [`Snapshot`]'s walk, or as a pre-image
//! by the write that changes it first. Nothing is encoded under a lock but a large hash; files, CRC and
//! compression are the caller's.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base::limits;
use ds::table::{Table, WalkPosition};
use rdb::{ValueRef, WriteOptions, write_record, write_string_head};

use crate::db::{Db, DbIndex};
use crate::entry::{Entry, EntryRef, Payload, Type};
use crate::keyspace::{Guard, Shard, Store};
use crate::plan::{Plan, ShardId};
use crate::sync::Mutex;
use crate::value::{Hash, Kind, List, Set, SortedSet, Stream};

/// Entries of one database as they were at the cut, copied, not yet encoded.
pub struct Block {
    pub db: DbIndex,
    /// Keys in it.
    pub keys: usize,
    /// The lowest RDB version that holds them.
    pub version: u32,
    bytes: Vec<u8>,
    shared: VecDeque<SharedString>,
    /// Bytes of memory it holds that nobody else does.
    memory: usize,
}

/// A string in a block of its own, kept alive until it is written.
pub struct SharedString {
    key: Box<[u8]>,
    expires_at: Option<i64>,
    value: Arc<Vec<u8>>,
}

/// What precedes a record in a block, before its length.
const IMAGE: u8 = 0;
const ENCODED: u8 = 1;
const RECORD_HEAD_LEN: usize = 1 + size_of::<u64>();

impl Block {
    fn new(db: DbIndex) -> Block {
        let (bytes, shared) = (Vec::new(), VecDeque::new());
        Block { db, keys: 0, version: rdb::format::VERSION_PLAIN, bytes, shared, memory: 0 }
    }

    fn push(&mut self, entry: EntryRef<'_>) {
        self.keys += 1;
        let before = self.bytes.len();
        match entry.payload() {
            Payload::Shared(value) => {
                self.memory += entry.key().len() + size_of::<SharedString>();
                self.shared.push_back(SharedString {
                    key: entry.key().into(),
                    expires_at: entry.expires_at(),
                    value: value.to_arc(),
                });
            }
            Payload::Nodes(_)
            | Payload::Members(_)
            | Payload::Scored(_)
            | Payload::Fields(_)
            | Payload::Stream(_) => self.push_encoded(entry),
            Payload::Bytes(_) | Payload::Ints(_) | Payload::Int(_) => {
                let image = entry.image().expect("only boxed payloads have no image");
                self.bytes.push(IMAGE);
                self.bytes.extend_from_slice(&(image.len() as u64).to_le_bytes());
                self.bytes.extend_from_slice(image);
            }
        }
        self.memory += self.bytes.len() - before;
    }

    /// As `push`, for an entry that is about to change: from then on a large string is the block's alone.
    fn push_pre_image(&mut self, entry: EntryRef<'_>) {
        self.push(entry);
        if let Payload::Shared(value) = entry.payload() {
            self.memory += value.bytes().len();
        }
    }

    /// A large collection: its record is made here, under the shard's lock, in the plain form.
    fn push_encoded(&mut self, entry: EntryRef<'_>) {
        let value = value_ref(entry);
        self.version = self.version.max(rdb::version_needed(value));
        self.bytes.push(ENCODED);
        let at = self.bytes.len() + size_of::<u64>();
        self.bytes.resize(at, 0);
        let options = WriteOptions { compress: false };
        write_record(&mut self.bytes, entry.key(), entry.expires_at(), value, &options);
        let len = (self.bytes.len() - at) as u64;
        self.bytes[at - size_of::<u64>()..at].copy_from_slice(&len.to_le_bytes());
    }

    /// Its entries, in any order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = self.bytes.as_slice();
        let copied = std::iter::from_fn(move || {
            let ([kind, len @ ..], behind) = rest.split_first_chunk::<RECORD_HEAD_LEN>()?;
            let (record, after) = behind.split_at(u64::from_le_bytes(*len) as usize);
            rest = after;
            Some(if *kind == IMAGE { Record::Image(record) } else { Record::Encoded(record) })
        });
        copied.chain(self.shared.iter().map(Record::Shared))
    }
}

/// One entry of a block.
#[derive(Clone, Copy)]
pub enum Record<'a> {
    Image(&'a [u8]),
    Encoded(&'a [u8]),
    Shared(&'a SharedString),
}

impl<'a> Record<'a> {
    /// Appends the beginning of the entry's RDB record to `out` and returns the rest, which follows as it is:
    /// of a large value nothing is copied. A small one has no rest.
    pub fn encode(self, out: &mut Vec<u8>, options: &WriteOptions) -> &'a [u8] {
        match self {
            Record::Image(image) => encode_entry(out, EntryRef::from_image(image), options),
            Record::Encoded(record) => return record,
            Record::Shared(shared) if options.compress && shared.value.len() <= COMPRESSED_LEN_MAX => {
                let value = ValueRef::Bytes(&shared.value);
                write_record(out, &shared.key, shared.expires_at, value, options);
            }
            Record::Shared(shared) => {
                write_string_head(out, &shared.key, shared.expires_at, shared.value.len(), options);
                return &shared.value;
            }
        }
        &[]
    }
}

/// Longer strings are written as they are: compressing one takes as much memory again.
const COMPRESSED_LEN_MAX: usize = 1 << 20;

/// Appends the RDB record of one entry.
pub fn encode_entry(out: &mut Vec<u8>, entry: EntryRef<'_>, options: &WriteOptions) {
    write_record(out, entry.key(), entry.expires_at(), value_ref(entry), options);
}

/// The entry's value as the RDB writer takes it.
pub fn value_ref(entry: EntryRef<'_>) -> ValueRef<'_> {
    match entry.kind() {
        Type::String => match entry.payload() {
            Payload::Int(value) => ValueRef::Int(value),
            Payload::Shared(value) => ValueRef::Bytes(value.bytes()),
            Payload::Bytes(bytes) => ValueRef::Bytes(bytes),
            _ => unreachable!("a string is bytes or a number"),
        },
        Type::List => ValueRef::List(List::view(entry)),
        Type::Set => ValueRef::Set(Set::view(entry)),
        Type::SortedSet => ValueRef::SortedSet(SortedSet::view(entry)),
        Type::Hash => ValueRef::Hash(Hash::view(entry)),
        Type::Stream => ValueRef::Stream(Stream::view(entry)),
    }
}

/// Where pre-images and flushed tables wait for the walk.
struct Sink {
    queue: Mutex<VecDeque<Block>>,
    adopted: Mutex<VecDeque<Adopted>>,
    /// A capture hands its block over when it holds so many bytes.
    block_len: usize,
    backlog: Arc<AtomicUsize>,
    pre_images: AtomicUsize,
    backlog_peak: AtomicUsize,
    cancelled: AtomicBool,
}

/// A flushed table, and how far the walk has come in it.
struct Adopted {
    db: DbIndex,
    table: Table<Entry>,
    walk: WalkPosition,
}

impl Sink {
    fn new(store: &Store, captures: usize) -> Arc<Sink> {
        Arc::new(Sink {
            queue: Mutex::default(),
            adopted: Mutex::default(),
            block_len: block_len(captures),
            backlog: Arc::clone(&store.snapshot_backlog),
            pre_images: AtomicUsize::new(0),
            backlog_peak: AtomicUsize::new(0),
            cancelled: AtomicBool::new(false),
        })
    }

    fn push(&self, block: Block) {
        if self.cancelled.load(Ordering::Relaxed) {
            return self.shrink(block.memory);
        }
        self.queue.lock().push_back(block);
    }

    fn grow(&self, bytes: usize) {
        let now = self.backlog.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.backlog_peak.fetch_max(now, Ordering::Relaxed);
    }

    fn shrink(&self, bytes: usize) {
        self.backlog.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Blocks that captures are still filling cannot be written yet: together they stay well below the backlog
/// at which writers are delayed.
fn block_len(captures: usize) -> usize {
    let share = limits::SNAPSHOT_BACKLOG / 4 / captures.max(1);
    share.clamp(BLOCK_LEN_LEAST, limits::SNAPSHOT_BLOCK_LEN)
}

const BLOCK_LEN_LEAST: usize = 1024;

/// A running snapshot's ear in one database of one shard.
pub struct Capture {
    sink: Arc<Sink>,
    /// The database's number at the cut; SWAPDB moves the capture with its table.
    db: DbIndex,
    block: Block,
}

impl Capture {
    fn new(sink: &Arc<Sink>, db: DbIndex) -> Box<Capture> {
        Box::new(Capture { sink: Arc::clone(sink), db, block: Block::new(db) })
    }

    /// Keeps an entry as it is now, before its first change after the cut.
    pub(crate) fn pre_image(&mut self, entry: EntryRef<'_>) {
        let before = self.block.memory;
        self.block.push_pre_image(entry);
        self.sink.grow(self.block.memory - before);
        self.sink.pre_images.fetch_add(1, Ordering::Relaxed);
        if self.block.memory >= self.sink.block_len {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if self.block.keys > 0 {
            self.sink.push(std::mem::replace(&mut self.block, Block::new(self.db)));
        }
    }

    /// Takes over a flushed table: the walk saves what is left in it and frees it.
    pub(crate) fn adopt(mut self, table: Table<Entry>) {
        self.hand_over();
        let (db, walk) = (self.db, WalkPosition::default());
        self.sink.adopted.lock().push_back(Adopted { db, table, walk });
    }
}

/// What the keyspace held at the cut.
#[derive(Clone, Copy, Default, Debug)]
pub struct DbCounts {
    pub keys: usize,
    pub expires: usize,
}

/// A point-in-time walk. Every entry of the cut comes out of [`Snapshot::next`] exactly once.
pub struct Snapshot {
    sink: Arc<Sink>,
    /// By database number at the cut.
    pub counts: Vec<DbCounts>,
    place: Place,
}

/// Where the walk is: shard, database, position in its table.
struct Place {
    shard: u16,
    db: u16,
    walk: WalkPosition,
}

impl Snapshot {
    /// The cut. `guard` holds every shard.
    pub fn begin(guard: &mut Guard<'_>) -> Snapshot {
        assert!(guard.holds_all(), "a cut is made under all locks");
        let store = guard.store();
        let number = store.snapshot_number.fetch_add(1, Ordering::Relaxed) + 1;
        let captures =
            guard.shards().map(|(_, shard)| shard.dbs().filter(|(_, db)| !db.is_empty()).count()).sum();
        let sink = Sink::new(store, captures);
        let mut counts = vec![DbCounts::default(); store.databases() as usize];
        for (_, shard) in guard.shards() {
            for (index, db) in shard.dbs().filter(|(_, db)| !db.is_empty()) {
                assert!(db.capture.is_none(), "one snapshot at a time");
                let count = &mut counts[index.0 as usize];
                count.keys += db.len();
                count.expires += db.expires_count();
                db.table_mut().snapshot_begin(number);
                db.capture = Some(Capture::new(&sink, index));
            }
        }
        Snapshot { sink, counts, place: Place { shard: 0, db: 0, walk: WalkPosition::default() } }
    }

    pub fn keys_total(&self) -> usize {
        self.counts.iter().map(|count| count.keys).sum()
    }

    /// Entries saved by writers before their first change.
    pub fn pre_images(&self) -> usize {
        self.sink.pre_images.load(Ordering::Relaxed)
    }

    /// The most bytes that waited in memory at once.
    pub fn backlog_peak(&self) -> usize {
        self.sink.backlog_peak.load(Ordering::Relaxed)
    }

    /// The next entries to write; `None` when every entry of the cut has come out. The caller returns the
    /// block to [`Snapshot::written`] so that its memory is counted as free.
    pub fn next(&mut self, store: &Store) -> Option<Block> {
        loop {
            let queued = self.sink.queue.lock().pop_front();
            if queued.is_some() {
                return queued;
            }
            if (self.place.shard as usize) < store.shard_count() {
                if let Some(block) = self.walk_keyspace(store) {
                    return Some(block);
                }
                continue;
            }
            let adopted = self.sink.adopted.lock().pop_front();
            let Some(adopted) = adopted else { return self.sink.queue.lock().pop_front() };
            if let Some(block) = self.walk_adopted(adopted) {
                return Some(block);
            }
        }
    }

    /// The block's memory is free again.
    pub fn written(&self, block: Block) {
        self.sink.shrink(block.memory);
    }

    /// One quantum under one shard's lock; moves to the next database or shard at an end.
    fn walk_keyspace(&mut self, store: &Store) -> Option<Block> {
        let mut guard = store.lock(&Plan::One(ShardId(self.place.shard)));
        let shard = guard.shard(ShardId(self.place.shard));
        let Some(db) = captured_db(shard, DbIndex(self.place.db)) else {
            self.place.advance(store.databases());
            return None;
        };
        let mut block = Block::new(DbIndex(self.place.db));
        match walk_table(db.table_mut(), self.place.walk, &mut block) {
            Some(walk) => self.place.walk = walk,
            None => {
                let mut capture = db.capture.take().expect("found by its capture");
                capture.hand_over();
                db.table_mut().snapshot_end();
                self.place.advance(store.databases());
            }
        }
        drop(guard);
        self.counted(block)
    }

    /// A piece of a table that a flush left to the snapshot; nobody else sees it any more.
    fn walk_adopted(&mut self, mut adopted: Adopted) -> Option<Block> {
        let mut block = Block::new(adopted.db);
        if let Some(walk) = walk_table(&mut adopted.table, adopted.walk, &mut block) {
            self.sink.adopted.lock().push_front(Adopted { walk, ..adopted });
        }
        self.counted(block)
    }

    fn counted(&self, block: Block) -> Option<Block> {
        if block.keys == 0 {
            return None;
        }
        self.sink.grow(block.memory);
        Some(block)
    }

    /// Ends a snapshot whose file failed: writers are free of it at once.
    pub fn cancel(self, store: &Store) {
        self.sink.cancelled.store(true, Ordering::Relaxed);
        for id in store.ids() {
            let mut guard = store.lock(&Plan::One(id));
            for (_, db) in guard.shard(id).dbs().filter(|(_, db)| db.capture.is_some()) {
                let capture = db.capture.take().expect("filtered by it");
                self.sink.shrink(capture.block.memory);
                db.table_mut().snapshot_end();
            }
        }
        for block in self.sink.queue.lock().drain(..) {
            self.sink.shrink(block.memory);
        }
    }
}

impl Place {
    fn advance(&mut self, databases: u16) {
        self.walk = WalkPosition::default();
        self.db += 1;
        if self.db == databases {
            (self.db, self.shard) = (0, self.shard + 1);
        }
    }
}

/// The database that had this number at the cut, if it is not saved or flushed yet.
fn captured_db(shard: &mut Shard, at_cut: DbIndex) -> Option<&mut Db> {
    shard.dbs.iter_mut().find(|db| db.capture.as_ref().is_some_and(|capture| capture.db == at_cut))
}

/// Copies the entries of one quantum; the next position, or `None` when the table is saved.
fn walk_table(table: &mut Table<Entry>, from: WalkPosition, block: &mut Block) -> Option<WalkPosition> {
    table.snapshot_walk(from, limits::SNAPSHOT_WALK_LINES, &mut |entry| {
        block.push(entry);
        if block.memory >= limits::SNAPSHOT_BLOCK_LEN {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })
}
