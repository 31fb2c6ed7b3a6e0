//! Replies too long to be built at once. What a command has to answer is read as it was when the command
//! ran, a piece whenever the socket has taken the last one: memory holds one piece, no shard is locked for
//! longer than that takes, and the other connections of the worker are served in between.
//!
//! A large set or hash is read where it lies ([`store::reading`]); the registry here knows where that is.
//! Whoever takes such a value out of the keyspace leaves it to its readings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use base::limits::LAZY_FREE_EFFORT;
use ds::list::{ListReading, PackedList};
use parking_lot::Mutex;
use resp::reply::Reply;
use store::reading::{Parked, Readable, park, readings};
use store::{DbIndex, Entry, Garbage, Guard, Key, Plan};

use crate::ctx::Ctx;
use crate::elements::reply_element;
use crate::engine::{Busy, Engine};
use crate::keys::Keys;
use crate::pipeline::Outcome;
use crate::session::{Origin, ReplyMode, Session};

/// Bytes of elements from which a reply is sent in pieces.
const LONG: u64 = 128 * 1024;
/// Bytes of one piece, about.
const PIECE: usize = 64 * 1024;
/// Elements looked at under one lock, at most.
const STRIDE: usize = 512;

/// What is left of a reply.
pub struct LongReply {
    source: Source,
    /// Bytes of all of it, about.
    len: u64,
}

enum Source {
    List(ListReading),
    Table { id: u64, halves: Halves },
}

/// Which parts of a set's or hash's items are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    Fields,
    Values,
    Both,
}

/// Where the values are that are being read, by the ids of the readings.
#[derive(Default)]
pub struct Readings {
    homes: Mutex<BTreeMap<u64, Home>>,
    count: AtomicUsize,
    /// Those whose clients are gone, while their ends have to wait.
    abandoned: Mutex<Vec<u64>>,
    last_id: AtomicU64,
}

#[derive(Clone)]
enum Home {
    Key {
        db: DbIndex,
        name: Arc<[u8]>,
        hash: u64,
    },
    /// Out of the keyspace: nobody else has it but other readings.
    Left(Parked),
}

impl Home {
    fn of(db: DbIndex, key: Key<'_>) -> Home {
        Home::Key { db, name: key.bytes.into(), hash: key.hash }
    }

    fn is(&self, db: DbIndex, key: Key<'_>) -> bool {
        matches!(self, Home::Key { db: own, name, .. } if *own == db && **name == *key.bytes)
    }
}

impl Readings {
    /// Whether there are any: a change to a key that is read is ordered after the beginning of its reading
    /// by its shard's lock.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    fn begin(&self, db: DbIndex, key: Key<'_>) -> u64 {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        self.homes.lock().insert(id, Home::of(db, key));
        self.count.fetch_add(1, Ordering::Relaxed);
        id
    }

    fn home(&self, id: u64) -> Option<Home> {
        self.homes.lock().get(&id).cloned()
    }

    fn end(&self, id: u64) -> Option<Home> {
        let home = self.homes.lock().remove(&id);
        self.count.fetch_sub(usize::from(home.is_some()), Ordering::Relaxed);
        home
    }

    /// An entry is at another key now, whose shard is locked.
    #[cold]
    pub fn moved(&self, ids: &[u64], db: DbIndex, key: Key<'_>) {
        let mut homes = self.homes.lock();
        ids.iter().for_each(|id| drop(homes.insert(*id, Home::of(db, key))));
    }

    /// Leaves an entry that is out of the keyspace to its readings, or returns it if it has none.
    #[cold]
    pub fn leave(&self, entry: Entry) -> Option<Entry> {
        let ids = readings(entry.view());
        if ids.is_empty() {
            return Some(entry);
        }
        let left = Home::Left(park(entry));
        let mut homes = self.homes.lock();
        ids.iter().for_each(|id| drop(homes.insert(*id, left.clone())));
        None
    }

    /// The databases are about to be emptied: takes out what is read in them, and returns how many keys
    /// that were. All shards are locked.
    pub fn leave_all(&self, guard: &mut Guard<'_>, includes: impl Fn(DbIndex) -> bool) -> u64 {
        let mut count = 0;
        let keys: Vec<(DbIndex, Arc<[u8]>, u64)> = self.homes.lock().values().filter_map(key_of).collect();
        for (db, name, hash) in keys.into_iter().filter(|(db, ..)| includes(*db)) {
            let part = guard.db(db, hash);
            // Found once only, if several read it.
            if let Some(slot) = part.find(Key { bytes: &name, hash }) {
                let entry = part.remove(slot);
                drop(self.leave(entry));
                count += 1;
            }
        }
        count
    }

    /// Two databases change places. All shards are locked.
    pub fn swap(&self, first: DbIndex, second: DbIndex) {
        for home in self.homes.lock().values_mut() {
            if let Home::Key { db, .. } = home {
                *db = match *db {
                    db if db == first => second,
                    db if db == second => first,
                    db => db,
                };
            }
        }
    }
}

fn key_of(home: &Home) -> Option<(DbIndex, Arc<[u8]>, u64)> {
    match home {
        Home::Key { db, name, hash } => Some((*db, Arc::clone(name), *hash)),
        Home::Left(_) => None,
    }
}

impl Keys<'_, '_> {
    /// Begins a reading of the large value at a key that is there.
    fn begin_reading(&mut self, key: Key<'_>) -> u64 {
        let id = self.engine.readings.begin(self.db, key);
        let db = self.guard.db(self.db, key.hash);
        let slot = db.find(key).expect("the caller has found it");
        db.with_readings(slot, |mut value| value.begin(id)).expect("the caller has seen a table");
        id
    }
}

/// Whether a reply with so many bytes of elements goes out in pieces. Inside a transaction the replies
/// behind it would have to wait, so there it is built at once.
#[inline]
pub fn is_long(session: &Session, bytes: u64) -> bool {
    bytes > LONG && may_be_long(session)
}

fn may_be_long(session: &Session) -> bool {
    let alone = !session.in_exec && !session.serving && session.origin == Origin::Client;
    alone && session.reply_mode == ReplyMode::On
}

impl Session {
    /// Bytes of what is left of a long reply when its command has run, about.
    #[inline]
    pub fn unfinished_len(&self) -> u64 {
        self.long_reply.as_ref().map_or(0, |reply| reply.len)
    }

    /// Bytes that were in memory for its long reply only when that was last weighed.
    #[inline]
    pub fn reading_bytes(&self) -> usize {
        self.long_reply.as_ref().map_or(0, |_| self.client.reading_bytes.load(Ordering::Relaxed))
    }

    fn forget_reply(&mut self) -> Option<LongReply> {
        self.client.reading_bytes.store(0, Ordering::Relaxed);
        self.long_reply.take()
    }

    /// The reading of its long reply, if that has one.
    fn reading(&self) -> Option<u64> {
        match self.long_reply.as_ref()?.source {
            Source::Table { id, .. } => Some(id),
            Source::List(_) => None,
        }
    }
}

impl Ctx<'_, '_> {
    /// The items of the set or hash at a key follow, whose number is written already: about `len` bytes.
    pub fn reply_table(&mut self, key: Key<'_>, halves: Halves, len: u64) {
        let id = self.keys.begin_reading(key);
        self.reply_long(Source::Table { id, halves }, len);
    }

    /// Elements of a list follow, whose number is written already: about `len` bytes.
    pub fn reply_list(&mut self, reading: ListReading, len: u64) {
        self.reply_long(Source::List(reading), len);
    }

    fn reply_long(&mut self, source: Source, len: u64) {
        self.session.long_reply = Some(LongReply { source, len });
        self.outcome = Outcome::Unfinished;
    }
}

/// Bytes of `count` of a list's elements, about.
pub fn share_of(list: &PackedList, count: usize) -> u64 {
    (u128::from(list.rdb_len()) * count as u128 / list.len().max(1) as u128) as u64
}

impl Engine {
    /// Writes the next piece of a session's long reply; false if that was the last one. What a script has
    /// locked is written later.
    pub fn continue_reply(&self, session: &mut Session, reply: &mut Reply) -> bool {
        let Some(LongReply { source, .. }) = &mut session.long_reply else { return false };
        reply.protocol = session.protocol;
        let start = reply.len();
        let more = loop {
            let more = match source {
                Source::List(reading) => reading.next(STRIDE, &mut |element| reply_element(reply, element)),
                Source::Table { id, halves } => match self.read_on(*id, *halves, reply) {
                    Ok(more) => more,
                    Err(Busy) => return true,
                },
            };
            if !more || reply.len() - start >= PIECE {
                break more;
            }
        };
        let more = more || self.end_reply(session).is_err();
        self.weigh_reply(session);
        more
    }

    /// Brings up to date what a session's long reply holds in memory. It grows while the client does not
    /// read and others change what it reads.
    pub fn weigh_reply(&self, session: &Session) {
        let Some(reply) = &session.long_reply else { return };
        let bytes = match &reply.source {
            Source::List(reading) => Ok(reading.memory()),
            Source::Table { id, .. } => self.reading_memory(*id),
        };
        // What a script has locked is weighed later.
        if let Ok(bytes) = bytes {
            session.client.reading_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes that a reading keeps, or its share of a value that nobody else has.
    fn reading_memory(&self, id: u64) -> Result<usize, Busy> {
        if let Some(Home::Left(entry)) = self.readings.home(id) {
            let share = |entry: &Entry| entry.view().memory() / readings(entry.view()).len().max(1);
            return Ok(entry.lock().as_ref().map_or(0, share));
        }
        Ok(self.with_readable(id, |value| value.reading_memory(id))?.unwrap_or(0))
    }

    /// All of a long reply is written.
    fn end_reply(&self, session: &mut Session) -> Result<(), Busy> {
        if let Some(id) = session.reading() {
            self.end_reading(id)?;
        }
        session.forget_reply();
        Ok(())
    }

    /// The client of a long reply is gone.
    pub(crate) fn abandon_reply(&self, session: &mut Session) {
        if let Some(id) = session.reading() {
            self.readings.abandoned.lock().push(id);
            self.end_abandoned_readings();
        }
        if let Some(LongReply { source: Source::List(reading), .. }) = session.forget_reply() {
            self.free_reading(reading);
        }
    }

    /// A list may be gone but for its reading: much of it is freed on the lazy-free thread.
    fn free_reading(&self, reading: ListReading) {
        if reading.node_count() > LAZY_FREE_EFFORT {
            let bytes = reading.memory();
            self.memory.expect(bytes);
            self.host.reclaim(Garbage::Other(Box::new(reading), bytes));
        }
    }

    /// Ends readings whose clients are gone, except what a script has locked: the timer comes back for that.
    pub fn end_abandoned_readings(&self) {
        let mut ids = std::mem::take(&mut *self.readings.abandoned.lock());
        ids.retain(|&id| self.end_reading(id).is_err());
        if !ids.is_empty() {
            self.readings.abandoned.lock().append(&mut ids);
        }
    }

    fn end_reading(&self, id: u64) -> Result<(), Busy> {
        self.with_readable(id, |value| value.end(id))?;
        let Some(Home::Left(entry)) = self.readings.end(id) else { return Ok(()) };
        let last = Arc::into_inner(entry).and_then(|entry| entry.lock().take());
        if let Some(entry) = last {
            self.host.reclaim(Garbage::Entry(entry));
        }
        Ok(())
    }

    fn read_on(&self, id: u64, halves: Halves, reply: &mut Reply) -> Result<bool, Busy> {
        let more = self.with_readable(id, |value| match value {
            Readable::Members(table) => {
                let wanted = stride(table.rdb_len(), table.len());
                table.read_on(id, wanted, &mut |member| reply.bulk(member))
            }
            Readable::Fields(table) => {
                let wanted = stride(table.rdb_bytes(), table.len());
                table.read_on(id, wanted, &mut |field, value| {
                    if halves != Halves::Values {
                        reply.bulk(field);
                    }
                    if halves != Halves::Fields {
                        reply.bulk(value);
                    }
                })
            }
        })?;
        Ok(more.expect("a value that is read is kept until its readings end"))
    }

    /// Works on the value of a reading, wherever it is.
    fn with_readable<R>(
        &self,
        id: u64,
        work: impl FnOnce(&mut Readable<'_>) -> R,
    ) -> Result<Option<R>, Busy> {
        loop {
            let Some(home) = self.readings.home(id) else { return Ok(None) };
            match home {
                Home::Key { db, name, hash } => {
                    let key = Key { bytes: &name, hash };
                    let mut guard = self.lock_unless_busy(&Plan::One(self.store.shard_of(hash)))?;
                    // It may have moved before the lock was there, and does not move while it is.
                    if self.readings.home(id).is_some_and(|home| home.is(db, key)) {
                        let part = guard.db(db, hash);
                        let Some(slot) = part.find(key) else { return Ok(None) };
                        return Ok(part.with_readings(slot, |mut value| work(&mut value)));
                    }
                }
                Home::Left(entry) => {
                    let mut entry = entry.lock();
                    let mut readable = entry.as_mut().and_then(Entry::readable);
                    return Ok(readable.as_mut().map(work));
                }
            }
        }
    }
}

/// How many elements to look at in one go.
fn stride(bytes: u64, len: usize) -> usize {
    let each = bytes / (len.max(1) as u64);
    (PIECE as u64 / each.max(1)).clamp(1, STRIDE as u64) as usize
}
