//! The state of the whole keyspace at one instant, read out piece by piece while commands go on.
//!
//! The cut: with all shards locked, every table gets the snapshot's number and every database a
//! [`Capture`]. From then on an entry is saved exactly once: by the [`Snapshot`]'s walk, or as a pre-image
//! by the write that changes it first. A large value is only begun then, and comes out in pieces
//! (`pieces.rs`). Several snapshots run at once, each for itself; what leaves the keyspace before all of them
//! have it belongs to them together. Nothing is encoded under a lock but small collections and pieces;
//! files, CRC and compression are the caller's.

pub(crate) mod pieces;
mod sink;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::limits;
use ds::table::{SlotId, WalkPosition};
use rdb::{Attributes, ValueRef, WriteOptions, write_record_with, write_string_head};

use crate::db::{Db, DbIndex, Garbage, Key};
use crate::entry::{Entry, EntryRef, Payload, Type};
use crate::keyspace::{Guard, Shard, Store, after_a_moment};
use crate::plan::{Plan, ShardId};
use crate::snapshot::pieces::{Job, Step};
pub use crate::snapshot::pieces::{Opening, Piece, Region};
pub(crate) use crate::snapshot::sink::Snapshots;
use crate::snapshot::sink::{Adopted, Flushed, Left, Sink};
use crate::value::{Hash, Kind, List, Set, SortedSet, Stream};

/// What a snapshot is made of, as it comes out.
pub enum Output {
    Entries(Block),
    /// A large value follows in pieces.
    Opening(Opening),
    Piece(Piece),
    /// All pieces of a value have come.
    Closing(Region),
    /// A value that nobody needs any more.
    Garbage(Garbage),
    /// What is left is on its way out of the keyspace, or somebody holds its shard for long: try again a
    /// little later.
    Wait,
}

impl Output {
    /// Keys that begin with it.
    pub fn keys(&self) -> usize {
        match self {
            Output::Entries(block) => block.keys,
            Output::Opening(_) => 1,
            _ => 0,
        }
    }

    /// Bytes that are free again when it is written.
    fn memory(&self) -> usize {
        match self {
            Output::Entries(block) => block.memory(),
            Output::Opening(opening) => opening.head.len(),
            Output::Piece(piece) => piece.memory(),
            Output::Closing(_) | Output::Garbage(_) | Output::Wait => 0,
        }
    }
}

/// What a snapshot says of a key's use, which its access clock tells: the expiry is not part of it.
pub type Uses = Arc<dyn Fn(u32) -> Attributes + Send + Sync>;

fn attributes(clock: u32, expires_at: Option<i64>, uses: Option<&Uses>) -> Attributes {
    Attributes { expires_at, ..uses.map_or_else(Attributes::default, |uses| uses(clock)) }
}

/// Entries of one database as they were at the cut, copied, not yet encoded.
pub struct Block {
    pub db: DbIndex,
    /// Keys in it.
    pub keys: usize,
    /// The lowest RDB version that holds them.
    pub version: u32,
    uses: Option<Uses>,
    bytes: Vec<u8>,
    shared: VecDeque<SharedString>,
    /// Bytes that only it holds, beside `bytes`.
    apart: usize,
    /// Bytes of strings that are the keyspace's too, until they are overwritten there.
    shared_len: usize,
}

/// A string in a block of its own, kept alive until it is written.
pub struct SharedString {
    key: Box<[u8]>,
    attributes: Attributes,
    value: Arc<Vec<u8>>,
}

/// What precedes a record in a block, before its length.
const IMAGE: u8 = 0;
const ENCODED: u8 = 1;
const RECORD_HEAD_LEN: usize = 1 + size_of::<u64>();

impl Block {
    fn new(db: DbIndex, uses: Option<Uses>) -> Block {
        let (version, shared) = (rdb::format::VERSION_PLAIN, VecDeque::new());
        Block { db, keys: 0, version, uses, bytes: Vec::new(), shared, apart: 0, shared_len: 0 }
    }

    /// Bytes of entries that only it holds.
    fn len(&self) -> usize {
        self.bytes.len() + self.apart
    }

    /// Bytes of memory that only it holds.
    fn memory(&self) -> usize {
        self.bytes.capacity() + self.apart
    }

    fn push(&mut self, entry: EntryRef<'_>) {
        self.keys += 1;
        match entry.payload() {
            Payload::Shared(value) => {
                self.apart += entry.key().len() + size_of::<SharedString>();
                self.shared_len += value.bytes().len();
                self.shared.push_back(SharedString {
                    key: entry.key().into(),
                    attributes: attributes(entry.clock(), entry.expires_at(), self.uses.as_ref()),
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
    }

    /// No entry follows: gives back the room that was made for more, if it is much.
    fn trim(&mut self) {
        if self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to_fit();
        }
    }

    /// As `push`, for an entry that is about to change: from then on a large string is the block's alone.
    fn push_pre_image(&mut self, entry: EntryRef<'_>) {
        self.push(entry);
        self.apart += std::mem::take(&mut self.shared_len);
    }

    /// A large collection: its record is made here, under the shard's lock, in the plain form.
    fn push_encoded(&mut self, entry: EntryRef<'_>) {
        self.version = self.version.max(rdb::version_needed(value_ref(entry)));
        self.bytes.push(ENCODED);
        let at = self.bytes.len() + size_of::<u64>();
        self.bytes.resize(at, 0);
        let options = WriteOptions { compress: false };
        encode_entry(&mut self.bytes, entry, self.uses.as_ref(), &options);
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
            let uses = self.uses.as_ref();
            Some(if *kind == IMAGE { Record::Image(record, uses) } else { Record::Encoded(record) })
        });
        copied.chain(self.shared.iter().map(Record::Shared))
    }
}

/// One entry of a block.
#[derive(Clone, Copy)]
pub enum Record<'a> {
    Image(&'a [u8], Option<&'a Uses>),
    Encoded(&'a [u8]),
    Shared(&'a SharedString),
}

impl<'a> Record<'a> {
    /// Appends the beginning of the entry's RDB record to `out` and returns the rest, which follows as it is:
    /// of a large value nothing is copied. A small one has no rest.
    pub fn encode(self, out: &mut Vec<u8>, options: &WriteOptions) -> &'a [u8] {
        match self {
            Record::Image(image, uses) => encode_entry(out, EntryRef::from_image(image), uses, options),
            Record::Encoded(record) => return record,
            Record::Shared(shared) if options.compress && shared.value.len() <= COMPRESSED_LEN_MAX => {
                let value = ValueRef::Bytes(&shared.value);
                write_record_with(out, &shared.key, shared.attributes, value, options);
            }
            Record::Shared(shared) => {
                write_string_head(out, &shared.key, shared.attributes, shared.value.len(), options);
                return &shared.value;
            }
        }
        &[]
    }
}

/// Longer strings are written as they are: compressing one takes as much memory again.
const COMPRESSED_LEN_MAX: usize = 1 << 20;

/// Appends the RDB record of one entry.
fn encode_entry(out: &mut Vec<u8>, entry: EntryRef<'_>, uses: Option<&Uses>, options: &WriteOptions) {
    let attributes = attributes(entry.clock(), entry.expires_at(), uses);
    write_record_with(out, entry.key(), attributes, value_ref(entry), options);
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

/// A running snapshot's ear in one database of one shard.
pub struct Capture {
    sink: Arc<Sink>,
    /// The database's number at the cut; SWAPDB moves the capture with its table.
    at_cut: DbIndex,
    block: Block,
}

impl Capture {
    fn new(sink: &Arc<Sink>, at_cut: DbIndex) -> Capture {
        Capture { sink: Arc::clone(sink), at_cut, block: Block::new(at_cut, sink.uses.clone()) }
    }

    /// The snapshot's.
    pub(crate) fn number(&self) -> u32 {
        self.sink.number
    }

    /// Keeps an entry as it is now, before its first change after the cut.
    pub(crate) fn pre_image(&mut self, entry: EntryRef<'_>) {
        // A little more than a block's length would take a block of the next size.
        let len = entry.image().map_or(0, |image| RECORD_HEAD_LEN + image.len());
        if self.block.len() + len > self.sink.block_len {
            self.hand_over();
        }
        let before = self.block.memory();
        if len > 0 && self.block.bytes.capacity() == 0 {
            self.block.bytes = self.sink.take_room();
        }
        self.block.push_pre_image(entry);
        // What all threads count is told only when it changes: mostly the block has room.
        let grown = self.block.memory() - before;
        if grown > 0 {
            self.sink.grow(grown);
        }
        if self.block.len() >= self.sink.block_len {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if self.block.keys > 0 {
            let mut block =
                std::mem::replace(&mut self.block, Block::new(self.at_cut, self.sink.uses.clone()));
            self.sink.pre_images.fetch_add(block.keys, Ordering::Relaxed);
            let before = block.memory();
            block.trim();
            self.sink.shrink(before - block.memory());
            self.sink.push(Output::Entries(block));
        }
    }

    /// Whether an entry is saved in pieces.
    pub(crate) fn takes_in_pieces(&self, entry: EntryRef<'_>) -> bool {
        pieces::rdb_len(entry) >= self.sink.large
    }

    /// Begins to save an entry in pieces, before its first change.
    pub(crate) fn begin_pieces(&self, entry: &mut Entry) {
        self.sink.pre_images.fetch_add(1, Ordering::Relaxed);
        pieces::begin(entry, &self.sink, self.at_cut);
    }
}

/// Leaves a flushed database to the snapshots that have not saved it: their walks save what is left in it.
pub(crate) fn adopt(flushed: &Flushed) {
    let db = flushed.lock();
    db.captures().take(1).for_each(|capture| capture.sink.common.add_flushed(flushed));
    for Capture { sink, at_cut, .. } in db.captures() {
        let walk = WalkPosition::default();
        sink.adopt(Adopted { flushed: Arc::clone(flushed), at_cut: *at_cut, walk });
    }
}

/// What the keyspace held at the cut.
#[derive(Clone, Copy, Default, Debug)]
pub struct DbCounts {
    pub keys: usize,
    pub expires: usize,
}

/// A point-in-time walk. Every entry of the cut comes out of [`Snapshot::next`] exactly once.
///
/// Several run at once and end in any order. One that did not come to its end has to be cancelled.
pub struct Snapshot {
    sink: Arc<Sink>,
    /// Values that are saved in pieces and have not come to their end.
    jobs: VecDeque<Arc<Job>>,
    /// By database number at the cut.
    pub counts: Vec<DbCounts>,
    place: Place,
    /// See [`Snapshot::count_held`].
    held: usize,
    room: usize,
}

/// Where the walk is: shard, database, position in its table.
struct Place {
    shard: u16,
    db: u16,
    walk: WalkPosition,
}

impl Snapshot {
    /// The cut. `guard` holds every shard. `None` if `limits::SNAPSHOTS_MOST` snapshots run already.
    pub fn begin(guard: &mut Guard<'_>) -> Option<Snapshot> {
        Snapshot::begin_telling(guard, None)
    }

    /// As `begin`, with what is told of keys' use.
    pub fn begin_telling(guard: &mut Guard<'_>, uses: Option<Uses>) -> Option<Snapshot> {
        Snapshot::begin_as(guard, limits::SNAPSHOT_LARGE, uses)
    }

    /// As `begin`; collections of `large` bytes and more are saved in pieces.
    pub fn begin_with(guard: &mut Guard<'_>, large: u64) -> Option<Snapshot> {
        Snapshot::begin_as(guard, large, None)
    }

    fn begin_as(guard: &mut Guard<'_>, large: u64, uses: Option<Uses>) -> Option<Snapshot> {
        assert!(guard.holds_all(), "a cut is made under all locks");
        let store = guard.store();
        // Under all locks nobody else begins one.
        if store.snapshots_are_full() {
            return None;
        }
        store.snapshots.count.fetch_add(1, Ordering::Relaxed);
        let number = store.snapshot_number.fetch_add(1, Ordering::Relaxed) + 1;
        let captures =
            guard.shards().map(|(_, shard)| shard.dbs().filter(|(_, db)| !db.is_empty()).count()).sum();
        let sink = Sink::new(store, number, (large, uses), captures);
        let mut counts = vec![DbCounts::default(); store.databases() as usize];
        for (_, shard) in guard.shards() {
            for (index, db) in shard.dbs().filter(|(_, db)| !db.is_empty()) {
                let count = &mut counts[index.0 as usize];
                count.keys += db.len();
                count.expires += db.expires_count();
                db.captured_by(Capture::new(&sink, index));
            }
        }
        let place = Place { shard: 0, db: 0, walk: WalkPosition::default() };
        Some(Snapshot { sink, jobs: VecDeque::new(), counts, place, held: 0, room: 0 })
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

    /// Whether something waits to be written: [`Snapshot::next`] takes no lock for it.
    pub fn has_output(&self) -> bool {
        self.sink.has_output()
    }

    /// What to write next; `None` when every entry of the cut has come out. The caller returns it to
    /// [`Snapshot::written`] so that its memory is counted as free.
    pub fn next(&mut self, store: &Store) -> Option<Output> {
        loop {
            if let Some(output) = self.sink.pop() {
                if let Output::Opening(opening) = &output {
                    self.jobs.push_back(opening.job());
                }
                return Some(output);
            }
            if let Some(garbage) = self.save_left() {
                return Some(garbage);
            }
            if self.sink.has_left() || self.save_pieces(store) {
                continue;
            }
            if (self.place.shard as usize) < store.shard_count() {
                if let Some(output) = self.walk_keyspace(store) {
                    return Some(output);
                }
                continue;
            }
            if let Some(adopted) = self.sink.next_adopted() {
                if let Some(block) = self.walk_adopted(adopted) {
                    return Some(block);
                }
                continue;
            }
            // Nothing can begin any more: what is queued now was so before the last look.
            let rest = self.sink.pop();
            if rest.is_some() || self.jobs.is_empty() {
                return rest;
            }
            return Some(Output::Wait);
        }
    }

    /// Counts the bytes that whoever writes the snapshot holds because of what was written, and what its
    /// buffers have room for.
    pub fn count_held(&mut self, bytes: usize, room: usize) {
        let before = std::mem::replace(&mut self.room, room);
        self.sink.common.spare.fetch_add(room.wrapping_sub(before), Ordering::Relaxed);
        let before = std::mem::replace(&mut self.held, bytes);
        if bytes > before {
            self.sink.grow(bytes - before);
        } else {
            self.sink.shrink(before - bytes);
        }
    }

    /// The output's memory is free again.
    pub fn written(&self, output: Output) {
        self.sink.shrink(output.memory());
        self.sink.common.steps.fetch_add(1, Ordering::Relaxed);
        if let Output::Entries(block) = output {
            self.sink.keep_room(block.bytes);
        }
    }

    /// Goes on with a value that is out of the keyspace: they come first, as the end frees them.
    fn save_left(&mut self) -> Option<Output> {
        let left = self.sink.next_left()?;
        if pieces::save_on(&mut left.entry.lock(), self.sink.number) {
            self.sink.put_back(left);
            return None;
        }
        let Left { entry, counted } = left;
        self.sink.shrink(counted);
        let entry = Arc::into_inner(entry)?.into_inner();
        Some(Output::Garbage(Garbage::Entry(entry)))
    }

    /// Goes on with a value in the keyspace; false if there is none.
    fn save_pieces(&mut self, store: &Store) -> bool {
        for _ in 0..self.jobs.len().min(AWAY_MOST) {
            let Some(job) = self.jobs.front() else { return false };
            match job.go_on(store) {
                Step::More => return true,
                Step::Done => {
                    self.jobs.pop_front();
                    return true;
                }
                Step::Away if self.take_from_flushed(job) => return true,
                Step::Away => self.jobs.rotate_left(1),
            }
        }
        false
    }

    /// A value may lie in a flushed database that another snapshot takes long for: taken out and dropped, it
    /// is left to the snapshots like any other. False if it is in none.
    fn take_from_flushed(&self, job: &Job) -> bool {
        let flushed = self.sink.common.flushed();
        flushed.iter().any(|flushed| job.take_from(&mut flushed.lock()).is_some())
    }

    /// One quantum under one shard's lock; moves to the next database or shard at an end.
    fn walk_keyspace(&mut self, store: &Store) -> Option<Output> {
        let (shard, at_cut) = (ShardId(self.place.shard), DbIndex(self.place.db));
        let Some(mut guard) = store.lock_unless(&Plan::One(shard), &after_a_moment()) else {
            return Some(Output::Wait);
        };
        let walked = captured_db(guard.shard(shard), self.sink.number, at_cut)
            .map(|db| walk_db(db, &self.sink, at_cut, self.place.walk));
        drop(guard);
        match walked.as_ref().and_then(|walked| walked.next) {
            Some(walk) => self.place.walk = walk,
            None => self.place.advance(store.databases()),
        }
        self.counted(walked?.block)
    }

    /// A piece of a database that a flush left to the snapshots; nobody else sees it any more.
    fn walk_adopted(&mut self, adopted: Adopted) -> Option<Output> {
        let Adopted { flushed, at_cut, walk } = adopted;
        let mut db = flushed.lock();
        let walked = walk_db(&mut db, &self.sink, at_cut, walk);
        let large = walked.large.map(|slot| db.remove(slot));
        drop(db);
        // It is left to the snapshots like any other.
        drop(large);
        if let Some(walk) = walked.next {
            self.sink.adopt_again(Adopted { flushed, at_cut, walk });
        }
        self.counted(walked.block)
    }

    fn counted(&self, mut block: Block) -> Option<Output> {
        if block.keys == 0 {
            return None;
        }
        block.trim();
        self.sink.grow(block.memory());
        Some(Output::Entries(block))
    }

    /// Ends a snapshot whose file failed: writers are free of it at once. `reclaim` is given what it alone
    /// has kept.
    pub fn cancel(mut self, store: &Store, reclaim: &dyn Fn(Garbage)) {
        self.sink.cancelled.store(true, Ordering::Relaxed);
        // Nothing is added any more. A script that waits for room has locks that are needed below.
        while let Some(output) = self.sink.pop() {
            if let Output::Opening(opening) = &output {
                self.jobs.push_back(opening.job());
            }
            self.written(output);
        }
        for id in store.ids() {
            let mut guard = store.lock(&Plan::One(id));
            guard.shard(id).dbs().for_each(|(_, db)| self.release(db));
        }
        while let Some(Adopted { flushed, .. }) = self.sink.next_adopted() {
            self.release(&mut flushed.lock());
            if let Some(db) = Arc::into_inner(flushed) {
                reclaim(Garbage::Table(db.into_inner().into_table()));
            }
        }
        for job in &self.jobs {
            match job.give_up(store) {
                Ok(garbage) => garbage.into_iter().for_each(reclaim),
                Err(pieces::Gone) => {
                    self.take_from_flushed(job);
                }
            }
        }
        while let Some(Left { entry, counted }) = self.sink.next_left() {
            self.sink.shrink(counted);
            pieces::give_up(&mut entry.lock(), self.sink.number).into_iter().for_each(reclaim);
            if let Some(entry) = Arc::into_inner(entry) {
                reclaim(Garbage::Entry(entry.into_inner()));
            }
        }
    }

    fn release(&self, db: &mut Db) {
        if let Some(capture) = db.release(self.sink.number) {
            self.sink.shrink(capture.block.memory());
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.count_held(0, 0);
        self.sink.common.count.fetch_sub(1, Ordering::Relaxed);
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
fn captured_db(shard: &mut Shard, number: u32, at_cut: DbIndex) -> Option<&mut Db> {
    let is_it = |db: &Db| db.capture(number).is_some_and(|capture| capture.at_cut == at_cut);
    shard.dbs.iter_mut().find(|db| is_it(db))
}

/// What a quantum of a walk has come to.
struct Walked {
    block: Block,
    /// `None` when the database is saved.
    next: Option<WalkPosition>,
    /// An entry that is not in the block: it was begun to be saved in pieces.
    large: Option<SlotId>,
}

/// Copies the entries of one quantum, up to the first that is large: that one is begun. At the end the
/// snapshot lets go of the database.
fn walk_db(db: &mut Db, sink: &Arc<Sink>, at_cut: DbIndex, from: WalkPosition) -> Walked {
    let mut block = Block::new(at_cut, sink.uses.clone());
    let mut large: Option<Box<[u8]>> = None;
    let next = db.table_mut().snapshot_walk(sink.number, from, limits::SNAPSHOT_WALK_LINES, &mut |entry| {
        if pieces::rdb_len(entry) >= sink.large {
            large = Some(entry.key().into());
            return ControlFlow::Break(());
        }
        block.push(entry);
        if block.len() + block.shared_len >= limits::SNAPSHOT_BLOCK_LEN {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let large = large.map(|name| db.find(Key::new(&name)).expect("the walk has seen it"));
    if let Some(slot) = large {
        db.edit_aside(slot, |entry| pieces::begin(entry, sink, at_cut));
    }
    if next.is_none() {
        let capture = db.release(sink.number);
        capture.expect("a walk ends once").hand_over();
    }
    Walked { block, next, large }
}

/// Values looked for in one go that are on their way out of the keyspace.
const AWAY_MOST: usize = 8;
