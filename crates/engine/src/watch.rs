//! WATCH: who must not EXEC when a key changes.
//!
//! Watchers are registered and marked under the lock of the key's shard, so whoever changes a key sees
//! those who watched it before. While nobody watches anything, a change costs one relaxed load.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base::alloc::size_class;
use base::sparse::shrink_sparse;
use parking_lot::Mutex;
use store::{DbIndex, ShardId};

use crate::clients::Client;

type WatchKey = (DbIndex, Box<[u8]>);

/// One shard's keys that are watched.
type WatchedShard = Mutex<HashMap<WatchKey, Vec<Watcher>>>;

/// The server's side.
pub struct Watches {
    count: AtomicUsize,
    /// Of the shards' tables, but their lists' watchers.
    bytes: AtomicUsize,
    shards: Box<[WatchedShard]>,
}

struct Watcher {
    dirty: Arc<AtomicBool>,
    /// To this watcher the key is one whose time had passed: that it goes is no change.
    stale: bool,
}

/// A session's side.
#[derive(Default)]
pub struct Watched {
    /// Set when one of the keys changed.
    pub dirty: Arc<AtomicBool>,
    pub keys: Vec<WatchedKey>,
    /// Memory of their names, and of its places in the lists of watchers.
    pub(crate) name_bytes: usize,
}

pub struct WatchedKey {
    pub shard: ShardId,
    pub db: DbIndex,
    pub key: Box<[u8]>,
    pub hash: u64,
    /// It had expired already when it was watched: its removal is no change.
    pub was_expired: bool,
}

/// What stands under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    Absent,
    /// A key whose time has passed, not removed yet.
    Expired,
    Live,
}

/// Memory of a key that is watched: its place in the shard's table with its share of spare ones, and a list's
/// least room.
fn name_bytes(name: &[u8]) -> usize {
    size_class(name.len()) + 2 * size_of::<(WatchKey, Vec<Watcher>)>() + 3 * size_of::<Watcher>()
}

/// What a watcher takes in a key's list, with its share of spare places.
const WATCHER_BYTES: usize = 5 * size_of::<Watcher>() / 4;

/// Keys for which a session keeps room from one transaction to the next: 2 KB.
const KEYS_KEPT: usize = 64;

impl Watched {
    /// Memory of the keys, the server's own names of them not counted.
    pub fn memory(&self) -> usize {
        self.name_bytes + size_class(self.keys.capacity() * size_of::<WatchedKey>())
    }
}

impl Watches {
    pub fn new(shards: usize) -> Watches {
        let shards = (0..shards).map(|_| Mutex::default()).collect();
        Watches { count: AtomicUsize::new(0), bytes: AtomicUsize::new(0), shards }
    }

    /// The caller holds the key's shard.
    pub fn add(&self, client: &Client, watched: &mut Watched, key: WatchedKey) {
        let watcher = Watcher { dirty: Arc::clone(&watched.dirty), stale: key.was_expired };
        let mut shard = self.shards[key.shard.0 as usize].lock();
        let watchers = shard.entry((key.db, key.key.clone())).or_insert_with(|| {
            self.bytes.fetch_add(name_bytes(&key.key), Ordering::Relaxed);
            Vec::new()
        });
        if watchers.iter().any(|watcher| Arc::ptr_eq(&watcher.dirty, &watched.dirty)) {
            return;
        }
        watchers.push(watcher);
        client.enter_name(name_bytes(&key.key));
        self.count.fetch_add(1, Ordering::Relaxed);
        watched.name_bytes += size_class(key.key.len()) + WATCHER_BYTES;
        watched.keys.push(key);
    }

    /// Forgets all keys of a session and its mark.
    pub fn clear(&self, client: &Client, watched: &mut Watched) {
        for key in watched.keys.drain(..) {
            let mut shard = self.shards[key.shard.0 as usize].lock();
            let name = (key.db, key.key);
            if let Some(watchers) = shard.get_mut(&name) {
                watchers.retain(|watcher| !Arc::ptr_eq(&watcher.dirty, &watched.dirty));
                if watchers.is_empty() {
                    shard.remove(&name);
                    shrink_sparse(&mut shard);
                    self.bytes.fetch_sub(name_bytes(&name.1), Ordering::Relaxed);
                }
            }
            client.strike_name(name_bytes(&name.1));
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        if watched.keys.capacity() > KEYS_KEPT {
            watched.keys = Vec::new();
        }
        watched.name_bytes = 0;
        watched.dirty.store(false, Ordering::Relaxed);
    }

    /// A key changed. The caller holds its shard.
    #[inline]
    pub fn touch(&self, shard: ShardId, db: DbIndex, key: &[u8]) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.settle(shard, db, key, Presence::Live, Presence::Live);
        }
    }

    /// A key whose time had passed was removed. The caller holds its shard.
    pub fn touch_expired(&self, shard: ShardId, db: DbIndex, key: &[u8]) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.settle(shard, db, key, Presence::Expired, Presence::Absent);
        }
    }

    #[cold]
    fn settle(&self, shard: ShardId, db: DbIndex, key: &[u8], before: Presence, after: Presence) {
        let mut shard = self.shards[shard.0 as usize].lock();
        let watchers = shard.get_mut(&(db, key.into())).into_iter().flatten();
        watchers.for_each(|watcher| watcher.settle(before, after));
    }

    /// Many keys change at once: `change` says what each watched name stands for before and after. The
    /// caller holds all shards.
    pub fn touch_all(&self, mut change: impl FnMut(DbIndex, &[u8]) -> (Presence, Presence)) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        for shard in &self.shards {
            for ((db, key), watchers) in shard.lock().iter_mut() {
                let (before, after) = change(*db, key);
                watchers.iter_mut().for_each(|watcher| watcher.settle(before, after));
            }
        }
    }

    /// Whether a session takes one of its keys for expired since before it watched it.
    pub fn is_stale(&self, watched: &Watched, key: &WatchedKey) -> bool {
        let shard = self.shards[key.shard.0 as usize].lock();
        let watchers = shard.get(&(key.db, key.key.clone()));
        watchers
            .into_iter()
            .flatten()
            .any(|watcher| watcher.stale && Arc::ptr_eq(&watcher.dirty, &watched.dirty))
    }

    /// Bytes of the names, once for all watchers.
    pub fn memory(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn key_count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Watcher {
    fn settle(&mut self, before: Presence, after: Presence) {
        match (before, after) {
            (Presence::Absent, Presence::Absent) => {}
            (Presence::Absent, Presence::Expired) => self.stale = true,
            (Presence::Expired, Presence::Expired) if self.stale => {}
            (Presence::Expired, Presence::Absent) if self.stale => self.stale = false,
            _ => self.dirty.store(true, Ordering::Relaxed),
        }
    }
}
