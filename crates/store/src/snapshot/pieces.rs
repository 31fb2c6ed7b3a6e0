//! Large values that snapshots save in pieces while commands go on changing them.
//!
//! The value itself knows what of it is saved, and has a [`Courier`] for each snapshot who takes each part
//! there before it changes. So nothing has to be told of moves, swaps, conversions or flushes: the saving
//! goes where the value goes, and who drops a value in the middle of it leaves it to the snapshots instead. A
//! [`Job`] is what a snapshot knows of one: under which key to look for it.
//!
//! What is still done at once, under the lock: one field, member or node is copied whole, however long it is,
//! and so is a value that the configured limits keep packed; what a stream knows of its producers is encoded
//! when it is begun.

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use ds::list::SharedNodes;
use ds::saving::{Ended, Fate, Savable, Saver};
use rdb::pieces::{Shape, place, plan, write_nodes, write_piece};

use crate::db::{Db, DbIndex, Garbage, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::keyspace::{Store, after_a_moment};
use crate::plan::Plan;
use crate::snapshot::sink::Sink;
use crate::snapshot::{Output, attributes, value_ref};
use crate::sync::Mutex;

/// The part of a file that one value gets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Region(pub u64);

/// A value whose pieces follow.
pub struct Opening {
    pub region: Region,
    pub db: DbIndex,
    /// The lowest RDB version that holds it.
    pub version: u32,
    /// The record up to the pieces.
    pub head: Vec<u8>,
    /// Bytes of all pieces.
    pub body_len: u64,
    /// Its pieces come in any order: the body should begin with a page of the file.
    pub by_pages: bool,
    job: Arc<Job>,
}

impl Opening {
    pub(crate) fn job(&self) -> Arc<Job> {
        Arc::clone(&self.job)
    }
}

/// A part of a region.
pub struct Piece {
    pub region: Region,
    /// Where it stands in the region's body.
    pub at: u64,
    content: Content,
    /// Bytes of memory that it counts.
    memory: usize,
}

enum Content {
    Bytes(Vec<u8>),
    Nodes(SharedNodes),
}

impl Piece {
    fn new(region: Region, at: u64, bytes: Vec<u8>) -> Piece {
        Piece { region, at, memory: bytes.len() + PIECE_COST, content: Content::Bytes(bytes) }
    }

    /// Its bytes, which are put together in `room` if they are in several places.
    pub fn bytes<'a>(&'a self, room: &'a mut Vec<u8>) -> &'a [u8] {
        match &self.content {
            Content::Bytes(bytes) => bytes,
            Content::Nodes(nodes) => {
                room.clear();
                write_nodes(room, nodes);
                room
            }
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.memory
    }
}

/// What a piece that waits takes beyond its bytes: some are a few bytes only.
const PIECE_COST: usize = size_of::<Output>();

/// Bytes of a value that can be saved in pieces, about; 0 for any other.
pub(crate) fn rdb_len(entry: EntryRef<'_>) -> u64 {
    match entry.payload() {
        Payload::Fields(table) => table.rdb_bytes(),
        Payload::Members(table) => table.rdb_len(),
        Payload::Scored(table) => table.rdb_len(),
        Payload::Nodes(list) => list.rdb_len(),
        Payload::Stream(stream) => stream.rdb_len(),
        // Up to a megabyte it is shared instead: that way it can be compressed, and who changes it meanwhile
        // copies no more than that.
        Payload::Shared(text) => text.bytes().len() as u64 / TEXT_SHARE,
        Payload::Bytes(_) | Payload::Ints(_) | Payload::Int(_) => 0,
    }
}

/// Strings are saved in pieces from so many times the length on that goes for collections.
const TEXT_SHARE: u64 = 16;

/// Begins to save an entry's value as it is now.
pub(crate) fn begin(entry: &mut Entry, sink: &Arc<Sink>, db: DbIndex) {
    let view = entry.view();
    let attributes = attributes(view.clock(), view.expires_at(), sink.uses.as_ref());
    let plan = plan(view.key(), attributes, value_ref(view)).expect("the caller saw its length");
    let key = Key::new(view.key());
    let home = Home::Key { name: key.bytes.into(), hash: key.hash };
    let memory = JOB_COST + key.bytes.len();
    let region = sink.begin_job(memory);
    let job = Arc::new(Job {
        region,
        sink: Arc::clone(sink),
        home: Mutex::new(home),
        done: AtomicBool::new(false),
        memory,
    });
    sink.grow(plan.head.len());
    let begun = sink.push(Output::Opening(Opening {
        region,
        db,
        version: plan.version,
        head: plan.head,
        body_len: plan.body_len,
        by_pages: plan.by_pages,
        job: Arc::clone(&job),
    }));
    if !begun {
        return sink.end_job(memory);
    }
    let left = plan.body_len;
    let mut courier = Courier { job, shape: plan.shape, buffer: Vec::new(), at: 0, next: 0, left };
    for (at, bytes) in plan.fixed {
        let len = bytes.len() as u64;
        let _ = courier.send(Piece::new(region, at, bytes), len);
    }
    entry.make_paged();
    let value = entry.savable().expect("the caller saw its length");
    value.begin_saving(sink.number, Box::new(courier));
}

/// Saves a quantum of a value for the snapshot of this number; false if that was the last one.
pub(crate) fn save_on(entry: &mut Entry, number: u32) -> bool {
    let value = entry.savable().expect("it was begun");
    if value.save_on(number) {
        return true;
    }
    if let Some(Ended { saver, kept }) = value.end_saving(number) {
        let saver: Box<dyn Any> = saver;
        if let Ok(courier) = saver.downcast::<Courier>() {
            courier.finish(kept);
        }
    }
    entry.make_unpaged();
    false
}

/// The snapshot does not want the value any more. What was kept for it alone is handed back: it may be much
/// to free, and somebody holds the value.
pub(crate) fn give_up(entry: &mut Entry, number: u32) -> Option<Garbage> {
    let ended = entry.savable()?.end_saving(number);
    entry.make_unpaged();
    Some(Garbage::Other(ended?.kept?, 0))
}

/// Saves what a request is going to change of a value that is being saved: the parts of these names, for as
/// long as `goes_on` says. Returns how many of them that were; and how many bytes so many other parts may
/// make it copy yet.
pub(crate) fn save_ahead<'n>(
    entry: &mut Entry,
    names: impl Iterator<Item = &'n [u8]>,
    parts: u64,
    goes_on: &dyn Fn() -> bool,
) -> (usize, u64) {
    let Some(value) = entry.savable() else { return (usize::MAX, 0) };
    let mut left = 0;
    value.each_saver(&mut |saver| {
        let courier = (saver as &dyn Any).downcast_ref::<Courier>();
        left = courier.map_or(left, |courier| courier.left.max(left));
    });
    if left == 0 {
        return (usize::MAX, 0);
    }
    let saved = names.take_while(|_| goes_on()).map(|name| value.save_named(name)).count();
    (saved, left.min(parts.saturating_mul(value.part_len())))
}

/// Saves a quantum of a value for each snapshot that is saving it.
pub(crate) fn save_more(entry: &mut Entry) {
    let jobs = entry.savable().map(jobs_of).unwrap_or_default();
    for job in jobs {
        save_on(entry, job.sink.number);
    }
}

/// A value is out of its entry, and nobody needs it but the snapshots that are not done with it.
pub(crate) fn leave(kind: Type, mut value: NewPayload<'static>) {
    let Some(savable) = value.savable() else { return };
    let sinks: Vec<_> = jobs_of(savable).iter().map(|job| Arc::clone(&job.sink)).collect();
    if sinks.is_empty() {
        return;
    }
    let entry = Entry::new(b"", kind, value, None, 0);
    let memory = entry.view().memory();
    let entry = Arc::new(Mutex::new(entry));
    for sink in &sinks {
        if !sink.take_in(&entry, memory, sinks.len()) {
            drop(give_up(&mut entry.lock(), sink.number));
        }
    }
}

/// The entry's value is under another key now. Both keys' shards are locked, or it is in no table.
pub(crate) fn moved(value: &mut dyn Savable, name: &[u8]) {
    for job in jobs_of(value) {
        let key = Key::new(name);
        *job.home.lock() = Home::Key { name: name.into(), hash: key.hash };
    }
}

/// An entry out of the keyspace that somebody else keeps.
pub type Parked = Arc<Mutex<Option<Entry>>>;

/// Puts an entry away so that its snapshot finds it.
pub(crate) fn park(mut entry: Entry) -> Parked {
    let jobs = entry.savable().map(jobs_of).unwrap_or_default();
    let parked = Arc::new(Mutex::new(Some(entry)));
    for job in jobs {
        *job.home.lock() = Home::Parked(Arc::downgrade(&parked));
    }
    parked
}

/// What the snapshots know that are saving a value. Mostly none is: that allocates nothing.
fn jobs_of(value: &mut dyn Savable) -> Vec<Arc<Job>> {
    let mut jobs = Vec::new();
    value.each_saver(&mut |saver| {
        let courier = (saver as &dyn Any).downcast_ref::<Courier>();
        jobs.extend(courier.map(|courier| Arc::clone(&courier.job)));
    });
    jobs
}

/// What one snapshot knows of a value that it saves in pieces.
pub(crate) struct Job {
    region: Region,
    sink: Arc<Sink>,
    home: Mutex<Home>,
    done: AtomicBool,
    /// Bytes that it counts with its name and its courier.
    memory: usize,
}

/// Beside the name: what the snapshot, the value and the file know of it.
const JOB_COST: usize = size_of::<Job>() + size_of::<Courier>() + 128;

/// Where the value is, if it is not left to the snapshots.
#[derive(Clone)]
enum Home {
    /// In one of the databases of the key's shard, or in nobody's hands for a moment.
    Key {
        name: Arc<[u8]>,
        hash: u64,
    },
    Parked(Weak<Mutex<Option<Entry>>>),
}

/// A value is not in the keyspace.
pub(crate) struct Gone;

/// How a job went on.
pub(crate) enum Step {
    More,
    Done,
    /// The value is not there: it is about to be left to the snapshots.
    Away,
}

impl Job {
    /// One quantum.
    pub fn go_on(&self, store: &Store) -> Step {
        if self.done.load(Ordering::Relaxed) {
            return Step::Done;
        }
        match self.with_value(store, &after_a_moment(), |entry| save_on(entry, self.sink.number)) {
            Some(true) => Step::More,
            Some(false) => Step::Done,
            None => Step::Away,
        }
    }

    /// What is to be freed; `Err` if the value is not there.
    pub fn give_up(&self, store: &Store) -> Result<Option<Garbage>, Gone> {
        self.with_value(store, &|| false, |entry| give_up(entry, self.sink.number)).ok_or(Gone)
    }

    /// Takes the value out of a database that nobody else sees, if it is there.
    pub fn take_from(&self, db: &mut Db) -> Option<Entry> {
        let Home::Key { name, hash } = self.home.lock().clone() else { return None };
        let (db, slot) = self.part_of(db, Key { bytes: &name, hash })?;
        Some(db.remove(slot))
    }

    /// Works on the entry, under the lock of its shard; `None` if it is not there, or the lock not to be had.
    fn with_value<R>(
        &self,
        store: &Store,
        give_up: &dyn Fn() -> bool,
        work: impl FnOnce(&mut Entry) -> R,
    ) -> Option<R> {
        loop {
            let home = self.home.lock().clone();
            match home {
                Home::Key { name, hash } => {
                    let shard = store.shard_of(hash);
                    let mut guard = store.lock_unless(&Plan::One(shard), give_up)?;
                    // It may have moved before the lock was there, and does not move while it is.
                    if !self.is_at(&name) {
                        continue;
                    }
                    let key = Key { bytes: &name, hash };
                    return guard
                        .shard(shard)
                        .dbs()
                        .find_map(|(_, db)| self.part_of(db, key))
                        .map(|(db, slot)| db.edit_aside(slot, work));
                }
                Home::Parked(entry) => return entry.upgrade()?.lock().as_mut().map(work),
            }
        }
    }

    fn is_at(&self, name: &[u8]) -> bool {
        matches!(&*self.home.lock(), Home::Key { name: own, .. } if **own == *name)
    }

    /// The database and the slot, if this is the value's key there.
    fn part_of<'d>(&self, db: &'d mut Db, key: Key<'_>) -> Option<(&'d mut Db, ds::SlotId)> {
        let slot = db.find(key)?;
        self.saves(db.view(slot)).then_some((db, slot))
    }

    fn saves(&self, entry: EntryRef<'_>) -> bool {
        let saver = entry.saver(self.sink.number).map(|saver| saver as &dyn Any);
        let courier = saver.and_then(|saver| saver.downcast_ref::<Courier>());
        courier.is_some_and(|courier| std::ptr::eq(&raw const *courier.job, self))
    }
}

/// Takes the pieces of a value to its snapshot.
struct Courier {
    job: Arc<Job>,
    shape: Shape,
    buffer: Vec<u8>,
    /// Where the buffer begins in the region's body.
    at: u64,
    /// Where the next piece goes that has no place of its own.
    next: u64,
    /// Bytes of the body that are not saved.
    left: u64,
}

impl Saver for Courier {
    fn save(&mut self, piece: ds::saving::Piece<'_>) -> ControlFlow<()> {
        let piece = match piece {
            ds::saving::Piece::Nodes { at, nodes, fate } if self.shares(&nodes, fate) => {
                // What leaves in place of being copied takes no more memory than before.
                let counted = if self.hands_over(fate) { 0 } else { nodes.stored_len() as usize };
                let (len, memory) = (nodes.stored_len(), counted + PIECE_COST);
                let content = Content::Nodes(nodes);
                return self.send(Piece { region: self.job.region, at, content, memory }, len);
            }
            ds::saving::Piece::Bytes { at, bytes } => {
                let piece = Piece::new(self.job.region, at, bytes.to_vec());
                return self.send(piece, bytes.len() as u64);
            }
            other => other,
        };
        let own = place(&piece, self.shape);
        let at = own.unwrap_or(self.next);
        if at != self.at + self.buffer.len() as u64 {
            self.hand_over();
            self.at = at;
        }
        let before = self.buffer.len();
        write_piece(&mut self.buffer, piece, self.shape);
        let len = self.buffer.len() - before;
        self.next += if own.is_none() { len as u64 } else { 0 };
        self.left = self.left.saturating_sub(len as u64);
        self.job.sink.grow(len);
        if self.buffer.len() < self.job.sink.piece_len() {
            return ControlFlow::Continue(());
        }
        self.hand_over();
        ControlFlow::Break(())
    }

    fn lacks_room(&self) -> bool {
        self.job.sink.common.is_behind(self.job.sink.limit)
    }
}

impl Courier {
    /// Whether nodes are to be kept as they are, in place of a copy of their bytes.
    fn shares(&self, nodes: &SharedNodes, fate: Fate) -> bool {
        fate == Fate::Stays || !nodes.is_short() || self.hands_over(fate)
    }

    fn hands_over(&self, fate: Fate) -> bool {
        fate == Fate::Leaving && self.lacks_room()
    }

    fn hand_over(&mut self) {
        let mut bytes = std::mem::take(&mut self.buffer);
        if !bytes.is_empty() {
            // What waits is counted by its length.
            bytes.shrink_to_fit();
            let end = self.at + bytes.len() as u64;
            let piece = Piece::new(self.job.region, self.at, bytes);
            self.at = end;
            self.job.sink.grow(PIECE_COST);
            self.job.sink.push(Output::Piece(piece));
        }
    }

    /// Sends a piece of so many bytes whose place is its own.
    fn send(&mut self, piece: Piece, len: u64) -> ControlFlow<()> {
        self.left = self.left.saturating_sub(len);
        self.job.sink.grow(piece.memory());
        self.job.sink.push(Output::Piece(piece));
        ControlFlow::Break(())
    }

    /// With what was kept for it alone: that is freed where nobody waits.
    fn finish(mut self, kept: Option<Box<dyn Send>>) {
        self.hand_over();
        self.job.done.store(true, Ordering::Relaxed);
        self.job.sink.push(Output::Closing(self.job.region));
        if let Some(kept) = kept {
            self.job.sink.push(Output::Garbage(Garbage::Other(kept, 0)));
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.job.sink.shrink(self.buffer.len());
        self.job.sink.end_job(self.job.memory);
    }
}
