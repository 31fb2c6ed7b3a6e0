//! Frees what commands took out of the keyspace, on a thread of its own and in slices. It must never touch
//! anything that is still reachable, nor make a command wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use store::Garbage;

/// Hands garbage to the thread that frees it.
pub struct Reclaimer {
    inbox: Sender<Garbage>,
    counts: Arc<Counts>,
}

/// Objects: an entry is one, a table as many as it holds.
#[derive(Default)]
struct Counts {
    pending: AtomicU64,
    freed: AtomicU64,
}

/// Items of a table freed between two updates of the counts.
const SLICE: usize = 1024;

impl Reclaimer {
    /// Starts the thread; it ends with the reclaimer.
    pub fn start() -> io::Result<Reclaimer> {
        let (inbox, garbage) = channel();
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        thread::Builder::new().name("lazyfree".into()).spawn(move || free_all(&garbage, &shared))?;
        Ok(Reclaimer { inbox, counts })
    }

    pub fn reclaim(&self, garbage: Garbage) {
        self.counts.pending.fetch_add(objects(&garbage), Ordering::Relaxed);
        // Were the thread gone, the error would bring the garbage back and free it here.
        self.inbox.send(garbage).ok();
    }

    /// Objects waiting, and objects freed so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.pending.load(Ordering::Relaxed), self.counts.freed.load(Ordering::Relaxed))
    }
}

fn free_all(inbox: &Receiver<Garbage>, counts: &Counts) {
    while let Ok(garbage) = inbox.recv() {
        match garbage {
            Garbage::Table(mut table) => loop {
                match table.drain_some(SLICE) {
                    0 => break,
                    freed => counts.settle(freed as u64),
                }
            },
            one => {
                drop(one);
                counts.settle(1);
            }
        }
    }
}

impl Counts {
    fn settle(&self, objects: u64) {
        self.pending.fetch_sub(objects, Ordering::Relaxed);
        self.freed.fetch_add(objects, Ordering::Relaxed);
    }
}

fn objects(garbage: &Garbage) -> u64 {
    match garbage {
        Garbage::Table(table) => table.len() as u64,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};
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
        reclaimer.reclaim(table(5000));
        reclaimer.reclaim(Garbage::Entry(entry("one")));
        reclaimer.reclaim(table(0));
        let deadline = Instant::now() + Duration::from_secs(30);
        while reclaimer.counts() != (0, 5001) {
            assert!(Instant::now() < deadline, "{:?}", reclaimer.counts());
        }
    }
}
