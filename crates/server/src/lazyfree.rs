//! Frees what commands took out of the keyspace, on a thread of its own and in slices. It must never touch
//! anything that is still reachable, nor make a command wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use engine::host::ReclaimCounts;
use store::Garbage;

use crate::aside;

/// Hands garbage to the thread that frees it.
pub struct Reclaimer {
    inbox: Sender<Garbage>,
    counts: Arc<Counts>,
}

/// As `ReclaimCounts`.
#[derive(Default)]
struct Counts {
    waiting: AtomicU64,
    waiting_bytes: AtomicU64,
    freed: AtomicU64,
    freed_bytes: AtomicU64,
}

impl Reclaimer {
    /// Starts the thread; it ends with the reclaimer.
    pub fn start() -> io::Result<Reclaimer> {
        let (inbox, garbage) = channel();
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        aside::spawn("lazyfree", move || free_all(&garbage, &shared))?;
        Ok(Reclaimer { inbox, counts })
    }

    pub fn reclaim(&self, garbage: Garbage) {
        self.counts.waiting.fetch_add(garbage.len() as u64, Ordering::Relaxed);
        self.counts.waiting_bytes.fetch_add(garbage.memory() as u64, Ordering::Relaxed);
        // Were the thread gone, the error would bring the garbage back and free it here.
        self.inbox.send(garbage).ok();
    }

    pub fn counts(&self) -> ReclaimCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { waiting, waiting_bytes, freed, freed_bytes } = &*self.counts;
        ReclaimCounts {
            waiting: load(waiting),
            waiting_bytes: load(waiting_bytes),
            freed: load(freed),
            freed_bytes: load(freed_bytes),
        }
    }
}

/// After so long without garbage more is not expected.
const IDLE: Duration = Duration::from_millis(100);

fn free_all(inbox: &Receiver<Garbage>, counts: &Counts) {
    while let Ok(first) = inbox.recv() {
        let mut next = Ok(first);
        while let Ok(garbage) = next {
            garbage.free(|objects, bytes| counts.settle(objects as u64, bytes as u64));
            next = inbox.recv_timeout(IDLE);
        }
        // What it keeps would hold slabs for as long as nothing comes.
        base::alloc::flush_thread_cache();
    }
}

impl Counts {
    fn settle(&self, objects: u64, bytes: u64) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.freed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.waiting.fetch_sub(objects, Ordering::Relaxed);
        self.freed.fetch_add(objects, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use store::entry::NewPayload;
    use store::{Db, DbIndex, Entry, Key, Plan, Store, Type};

    fn entry(key: &str) -> Entry {
        Entry::new(key.as_bytes(), Type::String, NewPayload::Int(1), None, 0)
    }

    /// A shard's table of so many keys, taken out by a flush.
    fn table(keys: usize) -> Garbage {
        let store = Store::new(1, 1);
        let mut guard = store.lock(&Plan::All);
        let shard = guard.shard(store.ids().next().expect("there is one"));
        let db: &mut Db = shard.db(DbIndex(0));
        for key in 0..keys {
            let key = key.to_string();
            db.insert(Key::new(key.as_bytes()).hash, entry(&key));
        }
        Garbage::Table(shard.flush(DbIndex(0)).expect("no snapshot runs"))
    }

    #[test]
    fn everything_is_freed_and_counted() {
        let reclaimer = Reclaimer::start().expect("a thread");
        let table_of_many = table(5000);
        let bytes = (table_of_many.memory() + Garbage::Entry(entry("one")).memory()) as u64;
        reclaimer.reclaim(table_of_many);
        reclaimer.reclaim(Garbage::Entry(entry("one")));
        reclaimer.reclaim(table(0));
        // No object of the keyspace.
        reclaimer.reclaim(Garbage::Other(Box::new(vec![0; 5000]), 5000));
        let deadline = Instant::now() + Duration::from_secs(30);
        let freed_bytes = bytes + table(0).memory() as u64 + 5000;
        let done = ReclaimCounts { freed: 5001, freed_bytes, ..ReclaimCounts::default() };
        while reclaimer.counts() != done {
            assert!(Instant::now() < deadline, "{:?}", reclaimer.counts());
        }
    }
}
