//! The lock plan under real threads: whoever holds a shard holds it alone, everybody gets what they ask for,
//! and a change to several shards is never half seen.
#![cfg(not(feature = "shuttle"))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use base::random::Rng;
use common::{check_equal, put_text};
use store::{DbIndex, Guard, Key, Plan, ShardId, Store};

const SHARDS: usize = 16;
const DB: DbIndex = DbIndex(0);

#[test]
fn plans_of_all_kinds_exclude_each_other_and_end() {
    let store = Store::new(SHARDS, 1);
    let holders: Vec<AtomicBool> = (0..SHARDS).map(|_| AtomicBool::new(false)).collect();
    let rounds = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 0..8 {
            let (store, holders, rounds) = (&store, &holders, &rounds);
            scope.spawn(move || {
                let mut rng = Rng::from_seed(seed);
                for _ in 0..3000 {
                    let plan = random_plan(&mut rng, SHARDS);
                    hold_alone(store.lock(&plan), &plan, holders);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(rounds.into_inner(), 8 * 3000);
}

fn random_plan(rng: &mut Rng, shards: usize) -> Plan {
    let mut shard = || ShardId(rng.below(shards as u64) as u16);
    let some = [shard(), shard(), shard(), shard()];
    match rng.below(20) {
        0 => Plan::All,
        1 => Plan::None,
        2..=12 => Plan::One(some[0]),
        _ => Plan::of(some),
    }
}

fn hold_alone(mut guard: Guard<'_>, plan: &Plan, holders: &[AtomicBool]) {
    let held: Vec<ShardId> = guard.shards().map(|(id, _)| id).collect();
    assert!(held.is_sorted());
    let expected = match plan {
        Plan::None => 0,
        Plan::One(_) => 1,
        Plan::Some(list) => list.len(),
        Plan::All => holders.len(),
    };
    assert_eq!(held.len(), expected);
    for id in &held {
        assert!(guard.holds(*id));
        assert!(!holders[id.0 as usize].swap(true, Ordering::SeqCst), "two hold {id:?}");
    }
    held.iter().for_each(|id| holders[id.0 as usize].store(false, Ordering::SeqCst));
}

/// Every writer sets all of its keys to one number under one guard; readers never see two numbers.
#[test]
fn a_change_to_several_shards_is_seen_whole() {
    let store = Store::new(SHARDS, 1);
    let names: Vec<String> = (0..6).map(|number| format!("key:{number}")).collect();
    write_all(&store, &names, b"0");
    thread::scope(|scope| {
        for writer in 0..3 {
            let (store, names) = (&store, &names);
            scope.spawn(move || {
                (0..2000).for_each(|round| write_all(store, names, format!("{writer}:{round}").as_bytes()));
            });
        }
        for reader in 0..3 {
            let (store, names) = (&store, &names);
            let plan = if reader == 0 { Plan::All } else { plan_of(store, names) };
            scope.spawn(move || (0..2000).for_each(|_| read_all(store.lock(&plan), names)));
        }
    });
}

fn plan_of(store: &Store, names: &[String]) -> Plan {
    Plan::of(names.iter().map(|name| store.shard_of(Key::new(name.as_bytes()).hash)))
}

fn write_all(store: &Store, names: &[String], value: &[u8]) {
    let mut guard = store.lock(&plan_of(store, names));
    for name in names {
        put_text(guard.db(DB, Key::new(name.as_bytes()).hash), name.as_bytes(), value);
    }
}

fn read_all(mut guard: Guard<'_>, names: &[String]) {
    let mut values = names.iter().map(|name| {
        let key = Key::new(name.as_bytes());
        let db = guard.db(DB, key.hash);
        let slot = db.find(key).expect("written before the threads began");
        rdb::dump(store::snapshot::value_ref(db.view(slot)), 10, &rdb::WriteOptions { compress: false })
    });
    let first = values.next().expect("there are names");
    assert!(values.all(|value| value == first), "a half done change was seen");
}

/// Snapshots one after another while threads write: each file is the state at its cut.
#[test]
fn snapshots_beside_writers_are_exact() {
    let store = Store::new(SHARDS, 1);
    // Shard by shard what its keys hold; a shard's part changes only under the shard's lock.
    let model: Vec<parking_lot::Mutex<common::Model>> = (0..SHARDS).map(|_| Default::default()).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..3 {
            let (store, model, done) = (&store, &model, &done);
            scope.spawn(move || {
                let mut rng = Rng::from_seed(seed);
                while !done.load(Ordering::Relaxed) {
                    change_one(store, model, &mut rng);
                }
            });
        }
        for _ in 0..30 {
            let (file, cut) = take_snapshot(&store, &model);
            check_equal(&file, &cut, "a snapshot");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(store.snapshot_memory(), 0);
}

fn change_one(store: &Store, model: &[parking_lot::Mutex<common::Model>], rng: &mut Rng) {
    let name = format!("key:{}", rng.below(2000));
    let (key, value) = (Key::new(name.as_bytes()), rng.next_u64().to_string());
    let shard = store.shard_of(key.hash);
    let mut guard = store.lock(&Plan::One(shard));
    let mut model = model[shard.0 as usize].lock();
    let db = guard.db(DB, key.hash);
    match db.find(key) {
        Some(slot) if rng.below(3) == 0 => {
            drop(db.remove(slot));
            model.remove(&(0, name.into_bytes()));
        }
        _ => {
            put_text(db, key.bytes, value.as_bytes());
            model.insert((0, name.into_bytes()), common::text(value.as_bytes()));
        }
    }
}

fn take_snapshot(
    store: &Store,
    model: &[parking_lot::Mutex<common::Model>],
) -> (common::Model, common::Model) {
    let mut guard = store.lock(&Plan::All);
    let mut snapshot = store::snapshot::Snapshot::begin(&mut guard).expect("no other runs");
    let cut = model.iter().flat_map(|shard| shard.lock().clone()).collect();
    drop(guard);
    let mut file = common::File::default();
    while let Some(block) = snapshot.next(store) {
        file.add(&block);
        snapshot.written(block);
    }
    (file.finish(), cut)
}
