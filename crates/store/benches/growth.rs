//! The longest insertion while a keyspace grows to 10 million keys, in one process and without sockets.
//!
//! The same keys go in several times over. What the structure causes comes at the same key each time; what
//! the machine causes (another guest, an interrupt) does not: the least time of each insertion is kept.

use std::time::Instant;

use store::entry::NewPayload;
use store::{DbIndex, Entry, Key, Plan, Store, Type};

#[global_allocator]
static ALLOCATOR: base::alloc::Jemalloc = base::alloc::Jemalloc;

const KEYS: usize = 10_000_000;
const SHARDS: usize = 16;
const RUNS: usize = 5;
const STEPS_US: [u32; 6] = [10, 50, 100, 200, 300, 1000];

fn main() {
    let mut least = vec![u32::MAX; KEYS];
    for run in 1..=RUNS {
        let mut own = 0;
        fill(|index, nanoseconds| {
            own = own.max(nanoseconds);
            least[index] = least[index].min(nanoseconds);
        });
        println!("run {run}: longest {} us", own / 1000);
    }
    println!("{KEYS} keys in {SHARDS} shards, the least of {RUNS} runs at each key:");
    for step in STEPS_US {
        let over = least.iter().filter(|&&nanoseconds| nanoseconds > step * 1000).count();
        println!("  over {step} us: {over}");
    }
    println!("  longest: {} us", least.iter().max().expect("there are keys") / 1000);
}

/// Inserts every key, as SET does, and shows how long each took.
fn fill(mut took: impl FnMut(usize, u32)) {
    let store = Store::new(SHARDS, 1);
    let db = DbIndex(0);
    for index in 0..KEYS {
        let name = format!("key:{index:012}");
        let began = Instant::now();
        let key = Key::new(name.as_bytes());
        let mut guard = store.lock(&Plan::One(store.shard_of(key.hash)));
        let part = guard.db(db, key.hash);
        assert!(part.find(key).is_none());
        part.insert(key.hash, Entry::new(key.bytes, Type::String, NewPayload::Bytes(b"12345678x"), None, 0));
        drop(guard);
        took(index, began.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32);
    }
}
