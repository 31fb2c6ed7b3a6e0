//! Shards, their locks, and the guard that holds those of a plan.
//!
//! Locks are taken once for a command, ascending, before it runs, and nowhere else. Whoever needs all
//! of them never sits on some while waiting long for another.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use base::limits;
use smallvec::SmallVec;

use crate::db::{Db, DbIndex, Key};
use crate::entry::{Entry, EntryRef};
use crate::plan::{Plan, ShardId, ShardList};
use crate::snapshot::Snapshots;
use crate::sync::{Mutex, MutexGuard};
use ds::table::Table;

/// One lock's worth of the keyspace: this shard's part of every logical database.
pub struct Shard {
    pub(crate) dbs: Vec<Db>,
    bits: u8,
}

/// A shard with a cache line pair of its own, so that neighbours' locks do not share one.
#[repr(align(128))]
struct Slot {
    shard: Mutex<Shard>,
}

pub struct Store {
    shards: Box<[Slot]>,
    bits: u8,
    databases: u16,
    pub(crate) snapshots: Arc<Snapshots>,
    snapshot_limit: AtomicUsize,
    pub(crate) snapshot_number: AtomicU32,
}

impl Store {
    /// `shards` is rounded up to a power of two.
    pub fn new(shards: usize, databases: u16) -> Store {
        let count = shards.next_power_of_two().min(limits::SHARDS);
        let bits = count.trailing_zeros() as u8;
        let shard = || Shard { dbs: (0..databases).map(|_| Db::new(bits)).collect(), bits };
        let shards = (0..count).map(|_| Slot { shard: Mutex::new(shard()) }).collect();
        Store {
            shards,
            bits,
            databases,
            snapshots: Arc::default(),
            snapshot_limit: AtomicUsize::new(limits::SNAPSHOT_MEMORY_DEFAULT),
            snapshot_number: AtomicU32::new(0),
        }
    }

    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    pub fn shard_bits(&self) -> u8 {
        self.bits
    }

    pub fn databases(&self) -> u16 {
        self.databases
    }

    /// The shard of a key: the top bits of its hash, so that hash order runs through the shards.
    #[inline]
    pub fn shard_of(&self, hash: u64) -> ShardId {
        ShardId((hash >> 1 >> (63 - self.bits)) as u16)
    }

    /// Bytes of pre-images and pieces that wait for the snapshots' threads.
    pub fn snapshot_backlog(&self) -> usize {
        if limits::SNAPSHOTS { self.snapshots.backlog.load(Ordering::Relaxed) } else { 0 }
    }

    /// Bytes that the running snapshots hold: what waits, and room for what is to come.
    pub fn snapshot_memory(&self) -> usize {
        self.snapshot_backlog() + self.snapshots.spare.load(Ordering::Relaxed)
    }

    /// Whether so much waits that nothing is to be added.
    #[inline]
    pub fn snapshots_are_behind(&self) -> bool {
        limits::SNAPSHOTS && self.snapshots.is_behind(self.snapshot_limit())
    }

    #[inline]
    pub fn snapshots_run(&self) -> bool {
        limits::SNAPSHOTS && self.snapshots.count.load(Ordering::Relaxed) > 0
    }

    /// How many snapshots there were, and how often one of them has written something.
    pub fn snapshot_progress(&self) -> (u32, u64) {
        let written = self.snapshots.steps.load(Ordering::Relaxed);
        (self.snapshot_number.load(Ordering::Relaxed), written)
    }

    /// As many snapshots run as may.
    pub fn snapshots_are_full(&self) -> bool {
        !limits::SNAPSHOTS || self.snapshots.count.load(Ordering::Relaxed) == limits::SNAPSHOTS_MOST
    }

    /// Bytes that the running snapshots may hold in memory together (`snapshot-memory-limit`).
    pub fn snapshot_limit(&self) -> usize {
        self.snapshot_limit.load(Ordering::Relaxed)
    }

    pub fn set_snapshot_limit(&self, bytes: usize) {
        self.snapshot_limit.store(bytes, Ordering::Relaxed);
    }

    fn key_count(&self, db: DbIndex, shard: ShardId) -> usize {
        self.lock_one(shard).db(db).len()
    }

    /// Keys of a database, summed over the shards one by one.
    pub fn len(&self, db: DbIndex) -> usize {
        self.ids().map(|id| self.key_count(db, id)).sum()
    }

    /// Fetches the line of the table where the key's slot is.
    #[inline]
    pub fn prefetch_line(&self, db: DbIndex, hash: u64) {
        if let Some(shard) = self.slot_of(hash).shard.try_lock() {
            shard.dbs[db.0 as usize].table().prefetch_line(hash);
        }
    }

    #[inline]
    fn slot_of(&self, hash: u64) -> &Slot {
        &self.shards[self.shard_of(hash).0 as usize]
    }

    /// Fetches the lines of the tables where the keys' slots are, then the entries that these lead to. All
    /// shards are taken before, those that are free, so that nothing stands between the fetches and they
    /// overlap: most of their time goes into address translation. Then the same for parts of values. Of many
    /// keys only the first `LOOK_AHEAD` are fetched.
    pub fn look_ahead(&self, wanted: &[Wanted], parts: &[WantedPart]) {
        let wanted = &wanted[..wanted.len().min(LOOK_AHEAD)];
        let mut held = HeldAhead::new();
        let mut places = [0; LOOK_AHEAD];
        for (place, wanted) in places.iter_mut().zip(wanted) {
            *place = self.hold_ahead(&mut held, self.shard_of(wanted.hash));
        }
        let table = |place: usize, db: DbIndex| Some(held.get(place)?.1.dbs[db.0 as usize].table());
        for (&place, wanted) in places.iter().zip(wanted) {
            if let Some(table) = table(place, wanted.db) {
                table.prefetch_line(wanted.hash);
            }
        }
        for (&place, wanted) in places.iter().zip(wanted) {
            if let Some(table) = table(place, wanted.db) {
                table.prefetch_item(wanted.hash);
            }
        }
        if self.snapshots_run() {
            for (&place, wanted) in places.iter().zip(wanted) {
                if let Some(table) = table(place, wanted.db) {
                    table.prefetch_marks(wanted.hash);
                }
            }
        }
        let entry = |part: &WantedPart| {
            let wanted = wanted.get(part.of)?;
            table(places[part.of], wanted.db)?.likely(wanted.hash)
        };
        for stage in [EntryRef::prefetch_line, EntryRef::prefetch_part] {
            for part in parts {
                if let Some(entry) = entry(part) {
                    stage(entry, part.hash);
                }
            }
        }
    }

    /// The place of a shard among those held; past their end if somebody else has it.
    #[inline]
    fn hold_ahead<'s>(&'s self, held: &mut HeldAhead<'s>, id: ShardId) -> usize {
        match self.shards[id.0 as usize].shard.try_lock() {
            Some(shard) => {
                held.push((id, shard));
                held.len() - 1
            }
            None => held.iter().position(|&(held, _)| held == id).unwrap_or(usize::MAX),
        }
    }

    #[inline]
    pub fn lock(&self, plan: &Plan) -> Guard<'_> {
        let held = match plan {
            Plan::None => Held::None,
            Plan::One(id) => Held::One(*id, self.lock_one(*id)),
            Plan::Some(list) => Held::Many(list.iter().map(|&id| (id, self.lock_one(id))).collect()),
            Plan::All => Held::Many(self.lock_all()),
        };
        Guard { store: self, held }
    }

    /// The shard of a plan that needs no more than one, if nobody has it.
    #[inline]
    pub fn lock_at_once(&self, plan: &Plan) -> Option<Guard<'_>> {
        let held = match plan {
            Plan::None => Held::None,
            Plan::One(id) => Held::One(*id, self.shards[id.0 as usize].shard.try_lock()?),
            _ => return None,
        };
        Some(Guard { store: self, held })
    }

    /// As `lock`, but before it waits for shards, and every now and then while it does, it asks whether to
    /// give up: then it holds none.
    #[inline(never)]
    pub fn lock_unless(&self, plan: &Plan, give_up: &dyn Fn() -> bool) -> Option<Guard<'_>> {
        match plan {
            Plan::None => Some(Guard { store: self, held: Held::None }),
            Plan::One(id) => {
                let shard = self.lock_one_unless(*id, give_up)?;
                Some(Guard { store: self, held: Held::One(*id, shard) })
            }
            _ => Some(Guard { store: self, held: Held::Many(self.lock_many_unless(plan, give_up)?) }),
        }
    }

    #[inline(never)]
    fn lock_many_unless(&self, plan: &Plan, give_up: &dyn Fn() -> bool) -> Option<HeldList<'_>> {
        let Plan::Some(list) = plan else { return self.lock_all_unless(give_up) };
        list.iter().map(|&id| Some((id, self.lock_one_unless(id, give_up)?))).collect()
    }

    #[inline]
    fn lock_one_unless(&self, id: ShardId, give_up: &dyn Fn() -> bool) -> Option<MutexGuard<'_, Shard>> {
        let shard = &self.shards[id.0 as usize].shard;
        shard.try_lock().or_else(|| wait_unless(shard, give_up))
    }

    fn lock_all_unless(&self, give_up: &dyn Fn() -> bool) -> Option<HeldList<'_>> {
        for _ in 0..PATIENT_ATTEMPTS {
            if let Some(held) = self.try_lock_all() {
                return Some(held);
            }
            if give_up() {
                return None;
            }
        }
        self.ids().map(|id| Some((id, self.lock_one_unless(id, give_up)?))).collect()
    }

    #[inline]
    fn lock_one(&self, id: ShardId) -> MutexGuard<'_, Shard> {
        self.shards[id.0 as usize].shard.lock()
    }

    fn lock_all(&self) -> HeldList<'_> {
        for _ in 0..PATIENT_ATTEMPTS {
            if let Some(held) = self.try_lock_all() {
                return held;
            }
        }
        self.ids().map(|id| (id, self.lock_one(id))).collect()
    }

    /// All locks, or none if one of them was not to be had within the patience.
    fn try_lock_all(&self) -> Option<HeldList<'_>> {
        let mut held = HeldList::with_capacity(self.shards.len());
        for id in self.ids() {
            held.push((id, self.shards[id.0 as usize].shard.try_lock_for(PATIENCE)?));
        }
        Some(held)
    }

    pub fn ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards.len() as u16).map(ShardId)
    }

    /// The shards a SCAN step from `first` on needs to see about `count` keys. Whoever gives up waiting for
    /// one of them plans no further than that.
    pub fn scan_plan(&self, db: DbIndex, first: ShardId, count: usize, give_up: &dyn Fn() -> bool) -> Plan {
        let mut seen = 0;
        let mut list = ShardList::new();
        for id in self.ids().skip(first.0 as usize) {
            list.push(id);
            let Some(mut shard) = self.lock_one_unless(id, give_up) else { break };
            seen += shard.db(db).len();
            if seen >= count.max(1) {
                break;
            }
        }
        Plan::of(list)
    }
}

#[cold]
fn wait_unless<'s>(shard: &'s Mutex<Shard>, give_up: &dyn Fn() -> bool) -> Option<MutexGuard<'s, Shard>> {
    while !give_up() {
        if let Some(held) = shard.try_lock_for(BETWEEN_QUESTIONS) {
            return Some(held);
        }
    }
    None
}

/// Gives up a wait for shards when it is asked again, a moment later.
pub(crate) fn after_a_moment() -> impl Fn() -> bool {
    let asked = Cell::new(false);
    move || asked.replace(true)
}

/// How long somebody waits for a shard before asking whether to go on.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(1);

/// A key that is about to be looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub db: DbIndex,
    pub hash: u64,
}

/// A field or member that is about to be looked for. Its value must be worth a look: near, because others
/// want it too.
#[derive(Clone, Copy)]
pub struct WantedPart {
    /// The place of its key among those wanted.
    pub of: usize,
    pub hash: u64,
}

/// So many keys' lines are fetched at once: more would drive each other out of the nearest cache.
const LOOK_AHEAD: usize = 32;

/// Shards held for a look ahead.
type HeldAhead<'s> = SmallVec<[(ShardId, MutexGuard<'s, Shard>); LOOK_AHEAD]>;

/// How long a taker of all locks waits for one of them while it holds others.
const PATIENCE: Duration = Duration::from_micros(200);
/// After so many releases it waits for good: nobody else takes a second lock out of order, so it gets all.
const PATIENT_ATTEMPTS: usize = 200;

type HeldList<'s> = SmallVec<[(ShardId, MutexGuard<'s, Shard>); 4]>;

enum Held<'s> {
    None,
    One(ShardId, MutexGuard<'s, Shard>),
    Many(HeldList<'s>),
}

/// Where a shard stands in a list of those held.
fn place_in(list: &HeldList<'_>, id: ShardId, shard_count: usize) -> usize {
    if list.len() == shard_count {
        return id.0 as usize;
    }
    list.binary_search_by_key(&id, |held| held.0).expect("a command keeps to the shards of its plan")
}

/// The locks of a plan.
pub struct Guard<'s> {
    store: &'s Store,
    held: Held<'s>,
}

impl<'s> Guard<'s> {
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// The database that holds the keys of this hash. Its shard must be in the plan.
    #[inline]
    pub fn db(&mut self, db: DbIndex, hash: u64) -> &mut Db {
        let id = self.store.shard_of(hash);
        &mut self.shard(id).dbs[db.0 as usize]
    }

    /// As `db`, to look at only.
    pub fn peek_db(&self, db: DbIndex, hash: u64) -> &Db {
        let id = self.store.shard_of(hash);
        let shard = match &self.held {
            Held::One(held, shard) if *held == id => shard,
            Held::Many(list) => &list[place_in(list, id, self.store.shards.len())].1,
            _ => panic!("a command keeps to the shards of its plan"),
        };
        &shard.dbs[db.0 as usize]
    }

    #[inline]
    pub fn shard(&mut self, id: ShardId) -> &mut Shard {
        match &mut self.held {
            Held::One(held, shard) if *held == id => shard,
            Held::Many(list) => {
                let place = place_in(list, id, self.store.shards.len());
                &mut list[place].1
            }
            _ => panic!("a command keeps to the shards of its plan"),
        }
    }

    /// Every shard held, ascending.
    pub fn shards(&mut self) -> impl Iterator<Item = (ShardId, &mut Shard)> {
        let (one, many) = match &mut self.held {
            Held::None => (None, None),
            Held::One(id, shard) => (Some((*id, &mut **shard)), None),
            Held::Many(list) => (None, Some(list.iter_mut().map(|(id, shard)| (*id, &mut **shard)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Whether a shard is in the plan.
    pub fn holds(&self, id: ShardId) -> bool {
        match &self.held {
            Held::None => false,
            Held::One(held, _) => *held == id,
            Held::Many(list) => list.binary_search_by_key(&id, |held| held.0).is_ok(),
        }
    }

    pub fn holds_all(&self) -> bool {
        matches!(&self.held, Held::Many(list) if list.len() == self.store.shards.len())
    }

    /// Keys of a database in the shards held.
    pub fn key_count(&mut self, db: DbIndex) -> usize {
        self.shards().map(|(_, shard)| shard.db(db).len()).sum()
    }

    pub fn find(&mut self, db: DbIndex, key: Key<'_>) -> bool {
        self.db(db, key.hash).find(key).is_some()
    }
}

impl Shard {
    pub fn db(&mut self, db: DbIndex) -> &mut Db {
        &mut self.dbs[db.0 as usize]
    }

    pub fn dbs(&mut self) -> impl Iterator<Item = (DbIndex, &mut Db)> {
        self.dbs.iter_mut().enumerate().map(|(index, db)| (DbIndex(index as u16), db))
    }

    pub fn swap(&mut self, a: DbIndex, b: DbIndex) {
        self.dbs.swap(a.0 as usize, b.0 as usize);
    }

    /// Empties a database; what no running snapshot needs is handed back.
    pub fn flush(&mut self, db: DbIndex) -> Option<Table<Entry>> {
        let bits = self.bits;
        self.dbs[db.0 as usize].take_all(bits)
    }
}
