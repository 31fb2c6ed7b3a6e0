//! The lock plan and the snapshot under schedules that a program chooses:
//! `cargo test -p store --features shuttle --test schedules`.
#![cfg(feature = "shuttle")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Entry, File, Model, Value, check_equal, put_text, text};
use ds::hash::Ttl;
use shuttle::sync::Mutex;
use shuttle::thread;
use store::hash::HashMut;
use store::snapshot::{Output, Snapshot};
use store::value::Place;
use store::{DbIndex, Guard, Hash, Key, Kind, Plan, ShardId, Store, Thresholds};

type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

const SHARDS: usize = 4;
const DB: DbIndex = DbIndex(0);

/// Schedules tried by each test; a failure prints the one that failed.
const SCHEDULES: usize = 2000;

/// A deadlock fails the test: the scheduler sees that nobody can go on.
#[test]
fn no_schedule_deadlocks_or_lets_two_hold_a_shard() {
    shuttle::check_random(
        || {
            let store = Arc::new(Store::new(SHARDS, 1));
            let holders: Arc<Vec<AtomicBool>> =
                Arc::new((0..SHARDS).map(|_| AtomicBool::new(false)).collect());
            let plans =
                [[Plan::All, plan(&[0, 3])], [plan(&[1, 3]), Plan::All], [plan(&[3, 0, 2]), plan(&[2])]];
            let threads: Vec<_> = plans
                .into_iter()
                .map(|plans| {
                    let (store, holders) = (Arc::clone(&store), Arc::clone(&holders));
                    thread::spawn(move || {
                        plans.iter().for_each(|plan| hold_alone(store.lock(plan), &holders))
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        },
        SCHEDULES,
    );
}

fn plan(shards: &[u16]) -> Plan {
    Plan::of(shards.iter().map(|&id| ShardId(id)))
}

fn hold_alone(mut guard: Guard<'_>, holders: &[AtomicBool]) {
    let held: Vec<ShardId> = guard.shards().map(|(id, _)| id).collect();
    for id in &held {
        assert!(!holders[id.0 as usize].swap(true, Ordering::SeqCst), "two hold {id:?}");
    }
    thread::yield_now();
    held.iter().for_each(|id| holders[id.0 as usize].store(false, Ordering::SeqCst));
}

/// What writers do while a snapshot is cut and read out.
#[derive(Clone, Copy)]
enum Change {
    Set(u32, &'static [u8]),
    Remove(u32),
    FlushAll,
    /// Of the hash, wherever it is.
    SetField(u32, &'static [u8]),
    RemoveField(u32),
    /// The hash gets its other name.
    Rename,
    RemoveHash,
}

const CHANGES: [&[Change]; 3] = [
    &[Change::Set(1, b"one"), Change::Remove(2), Change::Set(2, b"two")],
    &[Change::Set(3, b"three"), Change::FlushAll, Change::Set(1, b"uno")],
    &[Change::Remove(4), Change::Set(4, b"four"), Change::Set(3, b"tres")],
];

#[test]
fn under_every_schedule_the_file_is_the_state_at_the_cut() {
    let fill = |world: &World| (0..6).for_each(|number| world.change(Change::Set(number, b"old")));
    check_snapshot(fill, CHANGES, &[]);
    check_snapshot(fill, CHANGES, &[World::check_snapshot, World::cancel_snapshot]);
}

const HASH_CHANGES: [&[Change]; 3] = [
    &[Change::SetField(1, b"one"), Change::Rename, Change::SetField(2, b"two"), Change::Rename],
    &[Change::RemoveField(3), Change::RemoveField(1), Change::SetField(3, b"three"), Change::RemoveHash],
    &[Change::Rename, Change::SetField(4, b"four"), Change::FlushAll],
];

#[test]
fn under_every_schedule_a_value_in_pieces_is_as_it_was_at_the_cut() {
    check_snapshot(World::create_hash, HASH_CHANGES, &[]);
    check_snapshot(World::create_hash, HASH_CHANGES, &[World::check_snapshot]);
    check_snapshot(World::create_hash, HASH_CHANGES, &[World::cancel_snapshot, World::check_snapshot]);
}

/// A snapshot of what `fill` made, while each writer makes its changes and others do what they do.
fn check_snapshot(
    fill: impl Fn(&World) + Send + Sync + 'static,
    changes: [&'static [Change]; 3],
    others: &'static [fn(&World)],
) {
    let schedule = move || {
        let world = Arc::new(World::new());
        fill(&world);
        let writer = |changes: &'static [Change]| {
            let world = Arc::clone(&world);
            thread::spawn(move || changes.iter().for_each(|change| world.change(*change)))
        };
        let other = |other: &fn(&World)| {
            let (world, other) = (Arc::clone(&world), *other);
            thread::spawn(move || other(&world))
        };
        let threads: Vec<_> = changes.into_iter().map(writer).chain(others.iter().map(other)).collect();
        world.check_snapshot();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(world.store.snapshot_memory(), 0);
    };
    shuttle::check_random(schedule, SCHEDULES);
}

const HASH_NAMES: [&[u8]; 2] = [b"hash", b"another name"];

/// A store, and what it holds, changed under the same locks.
struct World {
    store: Store,
    model: Mutex<Model>,
}

impl World {
    fn new() -> World {
        World { store: Store::new(SHARDS, 1), model: Mutex::new(Model::new()) }
    }

    fn change(&self, change: Change) {
        match change {
            Change::Set(number, value) => self.set(&name(number), value),
            Change::Remove(number) => self.remove(&name(number)),
            Change::FlushAll => self.flush_all(),
            Change::SetField(field, value) => self.change_hash(|hash, fields| {
                hash.set(&name(field), value, Ttl::Drop);
                fields.insert(name(field), (value.to_vec(), None));
            }),
            Change::RemoveField(field) => self.change_hash(|hash, fields| {
                assert_eq!(hash.remove(&name(field)), fields.remove(&name(field)).is_some());
            }),
            Change::Rename => self.rename(),
            Change::RemoveHash => HASH_NAMES.iter().for_each(|name| self.remove(name)),
        }
    }

    fn set(&self, name: &[u8], value: &[u8]) {
        let key = Key::new(name);
        let mut guard = self.store.lock(&Plan::One(self.store.shard_of(key.hash)));
        put_text(guard.db(DB, key.hash), name, value);
        self.model.lock().expect("no panic").insert((0, name.to_vec()), text(value));
    }

    fn remove(&self, name: &[u8]) {
        let key = Key::new(name);
        let mut guard = self.store.lock(&Plan::One(self.store.shard_of(key.hash)));
        let db = guard.db(DB, key.hash);
        if let Some(slot) = db.find(key) {
            drop(db.remove(slot));
            self.model.lock().expect("no panic").remove(&(0, name.to_vec()));
        }
    }

    fn flush_all(&self) {
        let mut guard = self.store.lock(&Plan::All);
        guard.shards().for_each(|(_, shard)| drop(shard.flush(DB)));
        self.model.lock().expect("no panic").clear();
    }

    /// Fields enough for a table.
    fn create_hash(&self) {
        let key = Key::new(HASH_NAMES[0]);
        let mut guard = self.store.lock(&Plan::All);
        Hash::create(guard.db(DB, key.hash), key, 0);
        let entry = Entry { value: Value::Hash(BTreeMap::new()), expires_at: None };
        self.model.lock().expect("no panic").insert((0, key.bytes.to_vec()), entry);
        drop(guard);
        (0..6).for_each(|number| self.change(Change::SetField(number, b"old")));
    }

    fn change_hash(&self, change: impl FnOnce(&mut HashMut<'_>, &mut Fields)) {
        for name in HASH_NAMES {
            let key = Key::new(name);
            let mut guard = self.store.lock(&Plan::One(self.store.shard_of(key.hash)));
            let db = guard.db(DB, key.hash);
            let Some(slot) = db.find(key) else { continue };
            let thresholds = Thresholds { hash_entries: 2, ..Thresholds::DEFAULT };
            let mut hash = Hash::edit(Place { db, slot, thresholds: &thresholds, now: 0 });
            let mut model = self.model.lock().expect("no panic");
            let entry = model.get_mut(&(0, name.to_vec())).expect("the store has it");
            let Value::Hash(fields) = &mut entry.value else { panic!("it is a hash") };
            return change(&mut hash, fields);
        }
    }

    fn rename(&self) {
        let keys = HASH_NAMES.map(Key::new);
        let plan = Plan::of(keys.map(|key| self.store.shard_of(key.hash)));
        let mut guard = self.store.lock(&plan);
        let from = keys.iter().position(|key| guard.find(DB, *key));
        let Some(from) = from else { return };
        let (from, to) = (keys[from], keys[1 - from]);
        let db = guard.db(DB, from.hash);
        let slot = db.find(from).expect("found above");
        let entry = db.remove(slot).with_key(to.bytes);
        guard.db(DB, to.hash).insert(to.hash, entry);
        let mut model = self.model.lock().expect("no panic");
        let entry = model.remove(&(0, from.bytes.to_vec())).expect("the store has it");
        model.insert((0, to.bytes.to_vec()), entry);
    }

    fn begin_snapshot(&self) -> (Snapshot, Model) {
        let mut guard = self.store.lock(&Plan::All);
        let snapshot = Snapshot::begin_with(&mut guard, 1).expect("no more than four run");
        let cut = self.model.lock().expect("no panic").clone();
        (snapshot, cut)
    }

    /// Reads a snapshot to its end.
    fn check_snapshot(&self) {
        let (mut snapshot, cut) = self.begin_snapshot();
        let mut file = File::default();
        while let Some(output) = snapshot.next(&self.store) {
            if matches!(output, Output::Wait) {
                thread::yield_now();
            }
            file.add(&output);
            snapshot.written(output);
        }
        check_equal(&file.finish(), &cut, "a snapshot");
    }

    /// Reads some of a snapshot.
    fn cancel_snapshot(&self) {
        let (mut snapshot, _) = self.begin_snapshot();
        for _ in 0..4 {
            snapshot.next(&self.store).into_iter().for_each(|output| snapshot.written(output));
        }
        snapshot.cancel(&self.store, &drop);
    }
}

fn name(number: u32) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}
