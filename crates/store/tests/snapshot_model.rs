//! Snapshots against a model: whatever commands do while they are read out, the file of each is the state at
//! its own cut.
#![cfg(not(feature = "shuttle"))]

mod common;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::defrag::Mover;
use base::limits;
use base::random::Rng;
use common::groups::{change_groups, fill_groups};
use common::{Entry, File, Model, Value, check_equal};
use ds::hash::Ttl;
use ds::list::{Direction, End};
use ds::stream::{NodeLimits, References, Stream, StreamId, Trim, TrimTo};
use store::defrag::DefragCursor;
use store::list::ListMut;
use store::reading::{Parked, park};
use store::set::SetMut;
use store::snapshot::{Output, Snapshot};
use store::sorted_set::SortedSetMut;
use store::text::{Expiry, Incoming};
use store::value::Place;
use store::{Db, DbIndex, Garbage, Hash, Key, Kind, List, Plan, Set, SortedSet, Store, Text, Thresholds};

const DATABASES: u16 = 3;

/// A store and what it should hold.
struct World {
    seed: u64,
    store: Store,
    model: Model,
    rng: Rng,
    names: u64,
    running: Vec<Running>,
    /// How many snapshots run at once, at most.
    most: usize,
    finished: usize,
    pre_images: usize,
    /// Values that came in pieces.
    regions: usize,
    /// Entries out of the keyspace that wait to be freed, or are kept for their readers.
    limbo: Vec<store::Entry>,
    parked: Vec<Parked>,
    defrag: DefragCursor,
    operations: &'static [Operation],
}

/// A snapshot that is being read out, and what its file should say.
struct Running {
    snapshot: Snapshot,
    cut: Model,
    file: File,
    /// How often in a row there was nothing to read.
    waits: usize,
}

/// An operation and how often it comes, relative to the others.
type Operation = (u64, fn(&mut World));

const OPERATIONS: &[Operation] = &[
    (30, World::set_text),
    (10, World::append),
    (30, World::set_field),
    (6, World::fill_hash),
    (8, World::remove_field),
    (8, World::expire_field),
    (30, World::change_list),
    (3, World::fill_list),
    (30, World::change_sorted_set),
    (3, World::fill_sorted_set),
    (20, World::change_set),
    (3, World::fill_set),
    (15, World::remove),
    (10, World::expire),
    (10, World::rename),
    (10, World::move_key),
    (5, World::copy_key),
    (1, World::flush),
    (1, World::flush_all),
    (2, World::swap),
    (5, World::touch),
    (3, World::begin),
    (20, World::read_on),
    (10, World::defragment),
    (1, World::cancel),
];

/// Few values, nearly all of them large, and everything that can become of one.
const LARGE_OPERATIONS: &[Operation] = &[
    (3, World::set_text),
    (20, World::set_field),
    (4, World::fill_hash),
    (20, World::remove_field),
    (15, World::expire_field),
    (4, World::remove_due_fields),
    (20, World::change_sorted_set),
    (4, World::fill_sorted_set),
    (4, World::remove_ranks),
    (20, World::change_set),
    (4, World::fill_set),
    (4, World::pop_members),
    (20, World::change_list),
    (4, World::fill_list),
    (6, World::trim_list),
    (6, World::remove_matching),
    (4, World::set_large_text),
    (10, World::append),
    (4, World::overwrite_text),
    (15, World::set_range),
    (15, World::add_to_stream),
    (10, World::remove_from_stream),
    (3, World::trim_stream),
    (3, World::fill_groups),
    (25, World::change_groups),
    (4, World::remove),
    (4, World::remove_late),
    (3, World::park),
    (3, World::forget_parked),
    (5, World::expire),
    (8, World::rename),
    (8, World::move_key),
    (4, World::copy_key),
    (1, World::flush),
    (1, World::flush_all),
    (3, World::swap),
    (6, World::begin),
    (60, World::read_on),
    (20, World::defragment),
    (20, World::save_ahead),
    (1, World::cancel),
];

#[test]
fn large_values_are_saved_in_pieces_as_they_were_at_the_cut() {
    let (mut regions, mut pre_images) = (0, 0);
    for seed in 0..RUNS {
        let mut world = World::new(seed, [2, 5, 12][seed as usize % 3]);
        world.operations = LARGE_OPERATIONS;
        // Without room what is taken out is kept as it is.
        if seed % 2 == 1 {
            world.store.set_snapshot_limit(1000);
        }
        (0..5).for_each(|_| {
            FILLS.iter().for_each(|fill| fill(&mut world));
        });
        (0..250).for_each(|_| world.step());
        world.finish();
        assert_eq!(world.store.snapshot_memory(), 0, "seed {seed}");
        world.limbo.clear();
        world.parked.clear();
        let contents = world.contents();
        check_equal(&contents, &world.model, &format!("seed {seed}, at the end"));
        regions += world.regions;
        pre_images += world.pre_images;
    }
    assert!(regions as u64 > 3 * RUNS, "{regions} values came in pieces");
    assert!(pre_images as u64 > RUNS, "{pre_images} entries were changed before they were read");
}

const RUNS: u64 = 2000;
const FILLS: [fn(&mut World); 6] = [
    World::fill_hash,
    World::fill_set,
    World::fill_sorted_set,
    World::fill_list,
    World::fill_stream,
    World::fill_groups,
];

#[test]
fn the_file_is_the_state_at_the_cut() {
    for seed in 0..15 {
        let names = [15, 200, 4000][seed as usize % 3];
        let mut world = World::new(seed, names);
        let operations = if names == 4000 { 10_000 } else { 4000 };
        for _ in 0..operations {
            world.step();
        }
        world.finish();
        assert!(world.finished > 0, "seed {seed} saw no snapshot to its end");
        assert!(world.pre_images > 0, "seed {seed} changed nothing before it was read");
        assert_eq!(world.store.snapshot_memory(), 0, "seed {seed}");
        let contents = world.contents();
        check_equal(&contents, &world.model, &format!("seed {seed}, at the end"));
    }
}

#[test]
fn a_cut_of_many_keys_outlives_all_of_them() {
    for destroy in [World::flush_all as fn(&mut World), World::remove_everything, World::overwrite_everything]
    {
        for count in 1..=limits::SNAPSHOTS_MOST {
            let mut world = World::new(count as u64, 100_000);
            world.most = count;
            (0..20_000).for_each(|_| world.set_text());
            for _ in 0..count {
                world.begin();
                (0..10).for_each(|_| world.read_on());
                (0..1000).for_each(|_| world.set_text());
            }
            destroy(&mut world);
            world.finish();
            assert_eq!(world.finished, count);
            assert_eq!(world.store.snapshot_memory(), 0);
        }
    }
}

/// More segments than one quantum of the walk passes: the walk of a flushed table has to go on where it was.
#[test]
fn a_flushed_table_of_many_segments_is_read_to_its_end() {
    let (store, keys) = (Store::new(1, 1), 60_000);
    let mut guard = store.lock(&Plan::All);
    for key in 0..keys {
        let name = format!("key:{key}");
        common::put_text(guard.db(DbIndex(0), Key::new(name.as_bytes()).hash), name.as_bytes(), b"v");
    }
    let mut snapshot = Snapshot::begin(&mut guard).expect("no other runs");
    guard.shards().for_each(|(_, shard)| assert!(shard.flush(DbIndex(0)).is_none()));
    drop(guard);
    let mut found = 0;
    while let Some(block) = snapshot.next(&store) {
        assert!(block.keys() > 0, "every block brings the walk on");
        found += block.keys();
        snapshot.written(block);
    }
    assert_eq!((found, store.snapshot_backlog()), (keys, 0));
}

/// What was written leaves its memory to what is to be written next: the snapshot takes no more than once.
#[test]
fn the_memory_of_written_blocks_is_used_again() {
    let (store, keys) = (Store::new(1, 1), 40_000);
    let write = |keys: std::ops::Range<u32>, byte: u8| {
        let mut guard = store.lock(&Plan::All);
        for key in keys {
            let name = format!("key:{key}");
            let db = guard.db(DbIndex(0), Key::new(name.as_bytes()).hash);
            common::put_text(db, name.as_bytes(), &[byte; 100]);
        }
    };
    write(0..keys, b'a');
    let mut snapshot = Snapshot::begin(&mut store.lock(&Plan::All)).expect("no other runs");
    let mut peaks = Vec::new();
    for first in (0..keys).step_by(10_000) {
        write(first..first + 10_000, b'b');
        peaks.push(store.snapshot_memory());
        while snapshot.has_output() {
            let block = snapshot.next(&store).expect("it has some");
            snapshot.written(block);
        }
        assert!(store.snapshot_memory() > store.snapshot_backlog(), "room for blocks to come is counted");
    }
    assert!(peaks.iter().all(|peak| peak.abs_diff(peaks[0]) < peaks[0] / 10), "{peaks:?}");
    snapshot.cancel(&store, &drop);
    assert_eq!(store.snapshot_memory(), 0);
}

/// Parts that were kept for one snapshot alone are not freed while it holds their value's shard.
#[test]
fn who_cancels_a_snapshot_frees_what_it_has_kept() {
    let (store, hash, other) = (Store::new(1, 1), Key::new(b"hash"), Key::new(b"other"));
    store.set_snapshot_limit(1000);
    let field = |index: u32| format!("field:{index}:{}", "v".repeat(100)).into_bytes();
    let with_db = |work: &dyn Fn(&mut Db)| work(store.lock(&Plan::All).db(DbIndex(0), 0));
    with_db(&|db| {
        for key in [hash, other] {
            Hash::create(db, key, 0);
            (0..2000).for_each(|index| {
                edit::<Hash>(db, key).set(&field(index), b"", Ttl::Drop);
            });
        }
    });
    let snapshot = Snapshot::begin(&mut store.lock(&Plan::All)).expect("no other runs");
    with_db(&|db| {
        (0..1000).for_each(|index| assert!(edit::<Hash>(db, hash).remove(&field(index))));
        drop(db.remove(db.find(other).expect("it is there")));
    });
    let freed = RefCell::new(Vec::new());
    snapshot.cancel(&store, &|garbage| freed.borrow_mut().push(garbage));
    let freed = freed.into_inner();
    assert!(matches!(freed[..], [Garbage::Other(..), Garbage::Entry(_)]), "{} in all", freed.len());
    assert_eq!(store.snapshot_memory(), 0);
}

/// Overwritten large strings live on in the snapshot alone: they count, and they are handed over at once.
#[test]
fn large_pre_images_count_and_do_not_wait() {
    let store = Store::new(1, 1);
    let write = |key: u32, byte: u8| {
        let name = key.to_string();
        let mut guard = store.lock(&Plan::All);
        common::put_text(
            guard.db(DbIndex(0), Key::new(name.as_bytes()).hash),
            name.as_bytes(),
            &[byte; LARGE],
        );
    };
    (0..100).for_each(|key| write(key, b'a'));
    let mut snapshot = Snapshot::begin(&mut store.lock(&Plan::All)).expect("no other runs");
    for key in 0..100 {
        write(key, b'b');
        assert!(store.snapshot_backlog() >= (key as usize + 1) * LARGE);
    }
    let first = snapshot.next(&store).expect("100 keys are to be read");
    assert!(first.keys() <= 3, "a block is handed over as soon as it is large: {}", first.keys());
    snapshot.written(first);
    assert!(store.snapshot_backlog() < 100 * LARGE);
    snapshot.cancel(&store, &drop);
    assert_eq!(store.snapshot_memory(), 0);
}

/// What the walk has in hand is the snapshot's alone once it is overwritten: it is never much.
#[test]
fn a_block_of_the_walk_shares_few_large_strings() {
    let (store, keys) = (Store::new(1, 1), 200);
    let mut guard = store.lock(&Plan::All);
    for key in 0..keys {
        let name = key.to_string();
        let hash = Key::new(name.as_bytes()).hash;
        common::put_text(guard.db(DbIndex(0), hash), name.as_bytes(), &[b'a'; LARGE]);
    }
    let mut snapshot = Snapshot::begin(&mut guard).expect("no other runs");
    drop(guard);
    let mut found = 0;
    while let Some(block) = snapshot.next(&store) {
        assert!(block.keys() * LARGE < limits::SNAPSHOT_BLOCK_LEN + LARGE, "{} keys", block.keys());
        found += block.keys();
        snapshot.written(block);
    }
    assert_eq!(found, keys);
}

const LARGE: usize = 50_000;

impl World {
    fn new(seed: u64, names: u64) -> World {
        let (store, model, rng) = (Store::new(4, DATABASES), Model::new(), Rng::from_seed(seed));
        World {
            seed,
            store,
            model,
            rng,
            names,
            running: Vec::new(),
            most: [1, 2, limits::SNAPSHOTS_MOST][seed as usize / 3 % 3],
            finished: 0,
            pre_images: 0,
            regions: 0,
            limbo: Vec::new(),
            parked: Vec::new(),
            defrag: DefragCursor::default(),
            operations: OPERATIONS,
        }
    }

    fn step(&mut self) {
        let total = self.operations.iter().map(|(weight, _)| weight).sum();
        let mut rank = self.rng.below(total);
        for (weight, operation) in self.operations {
            if rank < *weight {
                return operation(self);
            }
            rank -= weight;
        }
    }

    fn place(&mut self) -> (u16, Vec<u8>) {
        let name = format!("key:{}", self.rng.below(self.names));
        (self.rng.below(u64::from(DATABASES)) as u16, name.into_bytes())
    }

    /// A key that is there, most of the time.
    fn known(&mut self) -> Option<(u16, Vec<u8>)> {
        let place = self.place();
        self.model.range(place..).next().map(|(place, _)| place.clone())
    }

    fn known_hash(&mut self) -> Option<(u16, Vec<u8>)> {
        let place = self.place();
        let is_hash = |entry: &Entry| matches!(entry.value, Value::Hash(_));
        self.model.range(place..).find(|(_, entry)| is_hash(entry)).map(|(place, _)| place.clone())
    }

    fn bytes(&mut self) -> Vec<u8> {
        match self.rng.below(30) {
            0 => vec![b'x'; 16_000 + self.rng.below(8000) as usize],
            1..=5 => self.rng.below(1 << 40).to_string().into_bytes(),
            _ => vec![b'a' + self.rng.below(26) as u8; self.rng.below(100) as usize],
        }
    }

    fn time(&mut self) -> Option<i64> {
        (self.rng.below(4) > 0).then(|| 1 + self.rng.below(1 << 50) as i64)
    }

    /// Works on the part of a database that has a key, under the lock of its shard.
    fn at<R>(&self, (db, name): &(u16, Vec<u8>), work: impl FnOnce(&mut Db, Key<'_>) -> R) -> R {
        let key = Key::new(name);
        let mut guard = self.store.lock(&Plan::One(self.store.shard_of(key.hash)));
        work(guard.db(DbIndex(*db), key.hash), key)
    }

    fn set_text(&mut self) {
        let (place, bytes, expires_at) = (self.place(), self.bytes(), self.time());
        self.at(&place, |db, key| {
            let entry = store::text::entry(key.bytes, Incoming::Slice(&bytes), expires_at, 0);
            match db.find(key) {
                Some(slot) => drop(db.replace(slot, entry)),
                None => drop(db.insert(key.hash, entry)),
            }
        });
        self.model.insert(place, Entry { value: Value::Text(bytes), expires_at });
    }

    /// As SET does over another string: in the same entry.
    fn overwrite_text(&mut self) {
        let Some(place) = self.known_as(|entry| matches!(entry.value, Value::Text(_))) else { return };
        let (bytes, time) = (self.bytes(), self.time());
        self.at(&place, |db, key| {
            let slot = db.find(key).expect("the model has it");
            let expiry = time.map_or(Expiry::Drop, Expiry::At);
            db.edit(slot, |entry| store::text::overwrite(entry, Incoming::Slice(&bytes), expiry, 0));
        });
        self.model.insert(place, Entry { value: Value::Text(bytes), expires_at: time });
    }

    fn append(&mut self) {
        let (Some(place), suffix) = (self.known(), self.bytes()) else { return };
        let Some(Entry { value: Value::Text(text), .. }) = self.model.get_mut(&place) else { return };
        text.extend_from_slice(&suffix);
        self.at(&place, |db, key| {
            let len = edit::<Text>(db, key).append(&suffix);
            assert!(len >= suffix.len());
        });
    }

    fn set_field(&mut self) {
        let (place, field, value) = (self.place(), self.field(), self.bytes());
        self.set_field_to(place, field, value);
    }

    /// Enough fields for a table.
    fn fill_hash(&mut self) {
        let place = self.place();
        for _ in 0..200 {
            let (field, value) = (self.field(), vec![b'v'; self.rng.below(10) as usize]);
            self.set_field_to(place.clone(), field, value);
        }
    }

    fn field(&mut self) -> Vec<u8> {
        format!("field:{}", self.rng.below(400)).into_bytes()
    }

    fn set_field_to(&mut self, place: (u16, Vec<u8>), field: Vec<u8>, value: Vec<u8>) {
        let empty = || Entry { value: Value::Hash(BTreeMap::new()), expires_at: None };
        let is_other = |entry: &Entry| !matches!(entry.value, Value::Hash(_));
        if self.model.get(&place).is_some_and(is_other) {
            return;
        }
        let entry = self.model.entry(place.clone()).or_insert_with(empty);
        let Value::Hash(fields) = &mut entry.value else { return };
        fields.insert(field.clone(), (value.clone(), None));
        self.at(&place, |db, key| {
            if db.find(key).is_none() {
                Hash::create(db, key, 0);
            }
            edit::<Hash>(db, key).set(&field, &value, Ttl::Drop);
        });
    }

    fn remove_field(&mut self) {
        let (Some(place), field) = (self.known_hash(), self.field()) else { return };
        let Some(Entry { value: Value::Hash(fields), .. }) = self.model.get_mut(&place) else { return };
        let removed = fields.remove(&field).is_some();
        let emptied = fields.is_empty();
        self.at(&place, |db, key| assert_eq!(edit::<Hash>(db, key).remove(&field), removed));
        if emptied {
            self.remove_at(&place);
        }
    }

    fn expire_field(&mut self) {
        let (Some(place), expires_at) = (self.known_hash(), self.time()) else { return };
        let Some(Entry { value: Value::Hash(fields), .. }) = self.model.get_mut(&place) else { return };
        let rank = self.rng.below(fields.len() as u64) as usize;
        let (field, (_, time)) = fields.iter_mut().nth(rank).expect("a hash is never empty");
        *time = expires_at;
        let field = field.clone();
        self.at(&place, |db, key| assert!(edit::<Hash>(db, key).set_expiry(&field, expires_at)));
    }

    /// Pushes, pops or replaces an element of a list.
    fn change_list(&mut self) {
        let (place, element) = (self.known_list(), self.bytes());
        let place = place.filter(|_| self.rng.below(3) > 0).unwrap_or_else(|| self.place());
        let (change, index) = (self.rng.below(4), self.rng.below(1 << 20) as usize);
        let entry = self.model.entry(place.clone()).or_insert_with(empty_list);
        let Value::List(elements) = &mut entry.value else { return };
        match change {
            0 => drop(elements.pop_front()),
            1 if !elements.is_empty() => {
                let len = elements.len();
                elements[index % len] = element.clone();
            }
            2 => elements.push_front(element.clone()),
            _ => elements.push_back(element.clone()),
        }
        let emptied = elements.is_empty();
        self.at(&place, |db, key| {
            let mut list = list_at(db, key);
            match change {
                0 if list.is_empty() => {}
                0 => list.remove(0, 1),
                1 if !list.is_empty() => list.replace(index % list.len(), &element),
                2 => _ = list.push(End::Front, &element),
                _ => _ = list.push(End::Back, &element),
            }
        });
        if emptied {
            self.remove_at(&place);
        }
    }

    /// Enough elements for nodes.
    fn fill_list(&mut self) {
        let place = self.place();
        let added: Vec<_> = (0..400).map(|_| vec![b'e'; self.rng.below(100) as usize]).collect();
        let entry = self.model.entry(place.clone()).or_insert_with(empty_list);
        let Value::List(elements) = &mut entry.value else { return };
        elements.extend(added.iter().cloned());
        self.at(&place, |db, key| {
            list_at(db, key).push_all(End::Back, added.iter().map(Vec::as_slice));
        });
    }

    fn known_list(&mut self) -> Option<(u16, Vec<u8>)> {
        let place = self.place();
        let is_list = |entry: &Entry| matches!(entry.value, Value::List(_));
        self.model.range(place..).find(|(_, entry)| is_list(entry)).map(|(place, _)| place.clone())
    }

    /// Gives a member of a sorted set a score, or removes it.
    fn change_sorted_set(&mut self) {
        let is_sorted_set = |entry: &Entry| matches!(entry.value, Value::SortedSet(_));
        let (from, elsewhere) = (self.place(), self.place());
        let known = self.model.range(from..).find(|(_, entry)| is_sorted_set(entry));
        let place = known.map_or(elsewhere, |(place, _)| place.clone());
        let (member, score) = (format!("member:{}", self.rng.below(600)), self.rng.below(300) as f64 / 4.0);
        let removes = self.rng.below(3) == 0;
        let entry = self.model.entry(place.clone()).or_insert_with(empty_sorted_set);
        let Value::SortedSet(members) = &mut entry.value else { return };
        match removes {
            true => drop(members.remove(member.as_bytes())),
            false => drop(members.insert(member.clone().into_bytes(), score.to_bits())),
        }
        let emptied = members.is_empty();
        self.at(&place, |db, key| {
            let mut set = sorted_set_at(db, key);
            match removes {
                true => drop(set.remove(member.as_bytes())),
                false => set.update(member.as_bytes(), Some(score), |_| Some(score)),
            }
        });
        if emptied {
            self.remove_at(&place);
        }
    }

    /// Enough members for a table.
    fn fill_sorted_set(&mut self) {
        let place = self.place();
        let score = |index: u64| (index * 7919 % 300) as f64;
        let entry = self.model.entry(place.clone()).or_insert_with(empty_sorted_set);
        let Value::SortedSet(members) = &mut entry.value else { return };
        let added = (0..400).map(|index| (format!("member:{index}").into_bytes(), score(index).to_bits()));
        members.extend(added);
        self.at(&place, |db, key| {
            let mut set = sorted_set_at(db, key);
            for index in 0..400 {
                set.update(format!("member:{index}").as_bytes(), None, |_| Some(score(index)));
            }
        });
    }

    /// Removes a range of a list, at an end or in the middle.
    fn trim_list(&mut self) {
        let Some(place) = self.known_list() else { return };
        let Some(Entry { value: Value::List(elements), .. }) = self.model.get_mut(&place) else { return };
        let len = elements.len() as u64;
        let (index, count) = (self.rng.below(len) as usize, self.rng.below(len.min(150)) as usize);
        let index = if self.rng.below(3) == 0 { 0 } else { index };
        elements.drain(index..(index + count).min(len as usize));
        let emptied = elements.is_empty();
        self.at(&place, |db, key| edit::<List>(db, key).remove(index, count));
        if emptied {
            self.remove_at(&place);
        }
    }

    fn remove_matching(&mut self) {
        let Some(place) = self.known_list() else { return };
        let element = vec![b'e'; self.rng.below(100) as usize];
        let Some(Entry { value: Value::List(elements), .. }) = self.model.get_mut(&place) else { return };
        elements.retain(|other| *other != element);
        let emptied = elements.is_empty();
        self.at(&place, |db, key| {
            let needle = ds::listpack::Needle::new(&element);
            edit::<List>(db, key).remove_matching(&needle, usize::MAX, Direction::Forward);
        });
        if emptied {
            self.remove_at(&place);
        }
    }

    /// A text of several pages.
    fn set_large_text(&mut self) {
        let place = self.place();
        let bytes = vec![b'l'; 16_000 + self.rng.below(200_000) as usize];
        self.at(&place, |db, key| common::put_text(db, key.bytes, &bytes));
        self.model.insert(place, common::text(&bytes));
    }

    fn set_range(&mut self) {
        let Some(place) = self.known_as(|entry| matches!(entry.value, Value::Text(_))) else { return };
        let (offset, len) = (self.rng.below(220_000) as usize, self.rng.below(30_000) as usize);
        let bytes = vec![b'a' + self.rng.below(26) as u8; len];
        let Some(Entry { value: Value::Text(text), .. }) = self.model.get_mut(&place) else { return };
        let offset = offset % (text.len() + 100);
        text.resize(text.len().max(offset + len), 0);
        text[offset..offset + len].copy_from_slice(&bytes);
        self.at(&place, |db, key| {
            edit::<Text>(db, key).set_range(offset, &bytes);
        });
    }

    /// Changes a stream, and notes what it is then.
    fn change_stream(&mut self, place: (u16, Vec<u8>), change: impl FnOnce(&mut Stream, &mut Rng)) {
        let empty = Entry { value: Value::Stream(Vec::new()), expires_at: None };
        let mut rng = Rng::from_seed(self.rng.below(u64::MAX));
        if !matches!(self.model.entry(place.clone()).or_insert(empty).value, Value::Stream(_)) {
            return;
        }
        let bytes = self.at(&place, |db, key| {
            if db.find(key).is_none() {
                store::Stream::create(db, key, 0);
            }
            let mut stream = edit::<store::Stream>(db, key);
            stream.edit(|stream| change(stream, &mut rng));
            common::stream_bytes(stream.view())
        });
        self.model.get_mut(&place).expect("it was made above").value = Value::Stream(bytes);
    }

    fn known_stream(&mut self) -> Option<(u16, Vec<u8>)> {
        self.known_as(|entry| matches!(entry.value, Value::Stream(_)))
    }

    /// Enough entries for many nodes.
    fn fill_stream(&mut self) {
        let place = self.place();
        self.change_stream(place, |stream, rng| (0..100).for_each(|_| add_entry(stream, rng)));
    }

    fn add_to_stream(&mut self) {
        let place = self.known_stream().unwrap_or_else(|| self.place());
        self.change_stream(place, add_entry);
    }

    fn remove_from_stream(&mut self) {
        let Some(place) = self.known_stream() else { return };
        self.change_stream(place, |stream, rng| {
            let rank = rng.below(stream.len() as u64 + 1) as usize;
            let found = stream.entries().range(StreamId::MIN, StreamId::MAX).nth(rank).map(|entry| entry.id);
            found.map(|id| stream.remove(id, References::Drop));
        });
    }

    /// Trims a stream; an empty one may begin again with lower ids.
    fn trim_stream(&mut self) {
        let Some(place) = self.known_stream() else { return };
        self.change_stream(place, |stream, rng| {
            let to = TrimTo::Len([0, rng.below(100)][rng.below(2) as usize]);
            stream.trim(Trim { to, approximate: rng.below(2) == 0, limit: 0 }, References::Keep);
            if stream.is_empty() && rng.below(2) == 0 {
                stream.set_last_id(StreamId::new(rng.below(5), 0));
            }
        });
    }

    /// Enough pending entries for many chunks.
    fn fill_groups(&mut self) {
        let place = self.known_stream().unwrap_or_else(|| self.place());
        self.change_stream(place, fill_groups);
    }

    fn change_groups(&mut self) {
        let Some(place) = self.known_stream() else { return };
        self.change_stream(place, |stream, rng| {
            (0..1 + rng.below(4)).for_each(|_| change_groups(stream, rng));
        });
    }

    /// Adds or removes a member of a set.
    fn change_set(&mut self) {
        let is_set = |entry: &Entry| matches!(entry.value, Value::Set(_));
        let place = self.known_as(is_set).unwrap_or_else(|| self.place());
        let (member, removes) = (format!("member:{}", self.rng.below(600)), self.rng.below(2) == 0);
        let entry = self.model.entry(place.clone()).or_insert_with(empty_set);
        let Value::Set(members) = &mut entry.value else { return };
        match removes {
            true => drop(members.remove(member.as_bytes())),
            false => drop(members.insert(member.clone().into_bytes())),
        }
        let emptied = members.is_empty();
        self.at(&place, |db, key| {
            let mut set = set_at(db, key);
            match removes {
                true => drop(set.remove(member.as_bytes())),
                false => drop(set.add(member.as_bytes())),
            }
        });
        if emptied {
            self.remove_at(&place);
        }
    }

    /// Enough members for a table.
    fn fill_set(&mut self) {
        let place = self.place();
        let entry = self.model.entry(place.clone()).or_insert_with(empty_set);
        let Value::Set(members) = &mut entry.value else { return };
        let added: Vec<_> = (0..400).map(|index| format!("member:{index}").into_bytes()).collect();
        members.extend(added.iter().cloned());
        self.at(&place, |db, key| {
            let mut set = set_at(db, key);
            for member in &added {
                set.add(member);
            }
        });
    }

    /// Removes members of a set by chance, nearly all of them at times.
    fn pop_members(&mut self) {
        let Some(place) = self.known_as(|entry| matches!(entry.value, Value::Set(_))) else { return };
        let Some(Entry { value: Value::Set(members), .. }) = self.model.get_mut(&place) else { return };
        let most = members.len() as u64 - 1;
        let count = if self.rng.below(2) == 0 { most } else { self.rng.below(most + 1) };
        let mut rng = Rng::from_seed(self.rng.below(u64::MAX));
        let mut removed = Vec::new();
        self.at(&place, |db, key| {
            let mut below = |bound| rng.below(bound);
            let mut set = edit::<Set>(db, key);
            set.remove_sample(count as usize, &mut below, &mut |member| removed.push(member.to_vec()));
        });
        let Some(Entry { value: Value::Set(members), .. }) = self.model.get_mut(&place) else { return };
        assert!(removed.iter().all(|member| members.remove(member)));
    }

    /// Removes a range of a sorted set, not all of it.
    fn remove_ranks(&mut self) {
        let Some(place) = self.known_as(|entry| matches!(entry.value, Value::SortedSet(_))) else { return };
        let Some(Entry { value: Value::SortedSet(members), .. }) = self.model.get_mut(&place) else { return };
        let end = self.rng.below(members.len() as u64) as usize;
        let start = self.rng.below(end as u64 + 1) as usize;
        let mut order: Vec<_> =
            members.iter().map(|(member, bits)| (f64::from_bits(*bits), member)).collect();
        order.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(other.1)));
        let gone: Vec<_> = order[start..end].iter().map(|(_, member)| member.to_vec()).collect();
        gone.iter().for_each(|member| assert!(members.remove(member).is_some()));
        self.at(&place, |db, key| edit::<SortedSet>(db, key).remove_ranks(start..end));
    }

    /// Removes fields whose time has come.
    fn remove_due_fields(&mut self) {
        let (Some(place), now) = (self.known_hash(), self.time().unwrap_or(0)) else { return };
        let mut removed = Vec::new();
        self.at(&place, |db, key| {
            let slot = db.find(key).expect("the model has it");
            let mut hash = Hash::edit(Place { db, slot, thresholds: &Thresholds::DEFAULT, now });
            hash.remove_due(100, |field| removed.push(field.to_vec()));
        });
        let Some(Entry { value: Value::Hash(fields), .. }) = self.model.get_mut(&place) else { return };
        removed.iter().for_each(|field| drop(fields.remove(field)));
        if fields.is_empty() {
            self.remove_at(&place);
        }
    }

    fn known_as(&mut self, is: impl Fn(&Entry) -> bool) -> Option<(u16, Vec<u8>)> {
        let place = self.place();
        self.model.range(place..).find(|(_, entry)| is(entry)).map(|(place, _)| place.clone())
    }

    /// A removed entry that another thread frees later.
    fn remove_late(&mut self) {
        if let Some(entry) = self.take_known() {
            self.limbo.push(entry);
        }
    }

    /// A removed entry that its readers keep for a while.
    fn park(&mut self) {
        if let Some(entry) = self.take_known() {
            self.parked.push(park(entry));
        }
    }

    fn forget_parked(&mut self) {
        self.parked.pop();
        self.limbo.pop();
    }

    fn take_known(&mut self) -> Option<store::Entry> {
        let place = self.known()?;
        self.model.remove(&place);
        Some(self.at(&place, |db, key| db.remove(db.find(key).expect("the model has it"))))
    }

    fn remove(&mut self) {
        if let Some(place) = self.known() {
            self.remove_at(&place);
        }
    }

    fn remove_at(&mut self, place: &(u16, Vec<u8>)) {
        self.model.remove(place);
        self.at(place, |db, key| {
            let slot = db.find(key).expect("the model has it");
            drop(db.remove(slot));
        });
    }

    fn remove_everything(&mut self) {
        let places: Vec<_> = self.model.keys().cloned().collect();
        places.iter().for_each(|place| self.remove_at(place));
    }

    fn overwrite_everything(&mut self) {
        let places: Vec<_> = self.model.keys().cloned().collect();
        for place in places {
            self.at(&place, |db, key| common::put_text(db, key.bytes, b"new"));
            self.model.insert(place, common::text(b"new"));
        }
    }

    fn expire(&mut self) {
        let (Some(place), expires_at) = (self.known(), self.time()) else { return };
        self.at(&place, |db, key| {
            let slot = db.find(key).expect("the model has it");
            db.edit(slot, |entry| entry.set_expires_at(expires_at));
        });
        self.model.get_mut(&place).expect("known").expires_at = expires_at;
    }

    fn rename(&mut self) {
        let (Some(from), (_, name)) = (self.known(), self.place()) else { return };
        let to = (from.0, name);
        self.carry(from, to);
    }

    fn move_key(&mut self) {
        let (Some(from), (db, _)) = (self.known(), self.place()) else { return };
        let to = (db, from.1.clone());
        self.carry(from, to);
    }

    fn carry(&mut self, from: (u16, Vec<u8>), to: (u16, Vec<u8>)) {
        if from == to {
            return;
        }
        let entry = self.at(&from, |db, key| db.remove(db.find(key).expect("the model has it")));
        self.put(&to, entry.with_key(&to.1));
        let entry = self.model.remove(&from).expect("known");
        self.model.insert(to, entry);
    }

    fn copy_key(&mut self) {
        let (Some(from), to) = (self.known(), self.place()) else { return };
        if from == to {
            return;
        }
        let entry = self.at(&from, |db, key| db.view(db.find(key).expect("the model has it")).copy(&to.1));
        self.put(&to, entry);
        self.model.insert(to, self.model[&from].clone());
    }

    fn put(&self, place: &(u16, Vec<u8>), entry: store::Entry) {
        self.at(place, |db, key| match db.find(key) {
            Some(slot) => drop(db.replace(slot, entry)),
            None => drop(db.insert(key.hash, entry)),
        });
    }

    fn flush(&mut self) {
        let db = self.rng.below(u64::from(DATABASES)) as u16;
        let mut guard = self.store.lock(&Plan::All);
        guard.shards().for_each(|(_, shard)| drop(shard.flush(DbIndex(db))));
        self.model.retain(|(index, _), _| *index != db);
    }

    fn flush_all(&mut self) {
        let mut guard = self.store.lock(&Plan::All);
        for (_, shard) in guard.shards() {
            (0..DATABASES).for_each(|db| drop(shard.flush(DbIndex(db))));
        }
        self.model.clear();
    }

    fn swap(&mut self) {
        let mut other = || self.rng.below(u64::from(DATABASES)) as u16;
        let (a, b) = (other(), other());
        let mut guard = self.store.lock(&Plan::All);
        guard.shards().for_each(|(_, shard)| shard.swap(DbIndex(a), DbIndex(b)));
        let swapped = |db| {
            if db == a {
                b
            } else if db == b {
                a
            } else {
                db
            }
        };
        let model = std::mem::take(&mut self.model);
        self.model = model.into_iter().map(|((db, name), entry)| ((swapped(db), name), entry)).collect();
    }

    fn touch(&mut self) {
        if let Some(place) = self.known() {
            let clock = self.rng.below(1 << 24) as u32;
            self.at(&place, |db, key| db.view(db.find(key).expect("the model has it")).touch(clock));
        }
    }

    /// As for a request that is going to change much of a value: nobody sees any of that.
    fn save_ahead(&mut self) {
        let Some(place) = self.known() else { return };
        let forms = [|n| format!("member:{n}"), |n| format!("field:{n}"), |n| format!("{n}-{}", n % 3)];
        let form = forms[self.rng.below(3) as usize];
        let names: Vec<String> = (0..40).map(|_| form(self.rng.below(600))).collect();
        let most = self.rng.below(50) as usize;
        let seen = Cell::new(0);
        let goes_on = || seen.replace(seen.get() + 1) < most;
        let names = names.iter().map(String::as_bytes);
        let (saved, copies) = self.at(&place, |db, key| db.save_ahead(key, names, 1, &goes_on));
        assert!(saved == usize::MAX || saved <= most);
        assert!(copies == 0 || !self.running.is_empty());
    }

    fn begin(&mut self) {
        let large = [1, 300, 64 * 1024][self.rng.below(3) as usize];
        let room = self.running.len() < limits::SNAPSHOTS_MOST;
        if self.running.len() < self.most || !room {
            let snapshot = Snapshot::begin_with(&mut self.store.lock(&Plan::All), large);
            assert_eq!(snapshot.is_some(), room);
            let Some(snapshot) = snapshot else { return };
            assert_eq!(snapshot.keys_total(), self.model.len());
            let (cut, file) = (self.model.clone(), File::default());
            self.running.push(Running { snapshot, cut, file, waits: 0 });
        }
    }

    fn read_on(&mut self) {
        if let Some(index) = self.any_running() {
            self.read(index);
        }
    }

    /// Moves some blocks, more or fewer; that changes nothing.
    fn defragment(&mut self) {
        let mut mover = Mover::of_everything();
        mover.begin(1 + self.rng.below(200) as usize);
        self.defrag.step(&self.store, &mut mover);
        if self.rng.below(50) == 0 {
            self.check_tables();
        }
    }

    fn check_tables(&self) {
        let mut guard = self.store.lock(&Plan::All);
        guard.shards().for_each(|(_, shard)| shard.dbs().for_each(|(_, db)| db.check_invariants()));
    }

    fn any_running(&mut self) -> Option<usize> {
        (!self.running.is_empty()).then(|| self.rng.below(self.running.len() as u64) as usize)
    }

    fn read(&mut self, index: usize) {
        let running = &mut self.running[index];
        match running.snapshot.next(&self.store) {
            Some(Output::Wait) => {
                running.waits += 1;
                assert!(running.waits < 1000, "seed {}: a snapshot waits for another", self.seed);
                self.limbo.clear();
            }
            Some(output) => {
                running.waits = 0;
                running.file.add(&output);
                running.snapshot.written(output);
            }
            None => self.compare(index),
        }
    }

    fn compare(&mut self, index: usize) {
        let Running { snapshot, cut, file, .. } = self.running.swap_remove(index);
        self.regions += file.regions;
        check_equal(&file.finish(), &cut, &format!("seed {}", self.seed));
        self.pre_images += snapshot.pre_images();
        self.finished += 1;
    }

    fn cancel(&mut self) {
        if self.rng.below(5) == 0
            && let Some(index) = self.any_running()
        {
            self.running.swap_remove(index).snapshot.cancel(&self.store, &drop);
            self.limbo.clear();
            assert!(!self.running.is_empty() || self.store.snapshot_backlog() == 0);
        }
    }

    fn finish(&mut self) {
        // One after the other, or in turns.
        let in_turns = self.rng.below(2) == 0;
        while !self.running.is_empty() {
            if in_turns { self.read_on() } else { self.read(0) }
        }
    }

    /// What the store holds, by way of a snapshot; checks its tables besides.
    fn contents(&mut self) -> Model {
        self.check_tables();
        let mut snapshot = Snapshot::begin(&mut self.store.lock(&Plan::All)).expect("all others have ended");
        let mut file = File::default();
        while let Some(output) = snapshot.next(&self.store) {
            file.add(&output);
            snapshot.written(output);
        }
        file.finish()
    }
}

fn empty_list() -> Entry {
    Entry { value: Value::List(VecDeque::new()), expires_at: None }
}

/// The list, which is made if it is not there.
fn empty_sorted_set() -> Entry {
    Entry { value: Value::SortedSet(BTreeMap::new()), expires_at: None }
}

fn add_entry(stream: &mut Stream, rng: &mut Rng) {
    let (value, last) = (vec![b'v'; rng.below(60) as usize], stream.entries().last_id());
    let content = [b"field".as_slice(), &value];
    let id = StreamId::new(last.ms + rng.below(3), last.seq + 1);
    stream.append(id, content.into_iter(), NodeLimits { bytes: 200, entries: 5 }).expect("the id is above");
}

fn empty_set() -> Entry {
    Entry { value: Value::Set(BTreeSet::new()), expires_at: None }
}

fn set_at<'a>(db: &'a mut Db, key: Key<'_>) -> SetMut<'a> {
    if db.find(key).is_none() {
        Set::create(db, key, 0);
    }
    edit::<Set>(db, key)
}

fn sorted_set_at<'a>(db: &'a mut Db, key: Key<'_>) -> SortedSetMut<'a> {
    if db.find(key).is_none() {
        SortedSet::create(db, key, 0);
    }
    edit::<SortedSet>(db, key)
}

fn list_at<'a>(db: &'a mut Db, key: Key<'_>) -> ListMut<'a> {
    if db.find(key).is_none() {
        List::create(db, key, 0);
    }
    edit::<List>(db, key)
}

fn edit<'a, K: Kind>(db: &'a mut Db, key: Key<'_>) -> K::Mut<'a> {
    let slot = db.find(key).expect("the model has it");
    // Short nodes under some names, so that lists have many of them.
    const SHORT: Thresholds = Thresholds { list_node_size: 2, ..Thresholds::DEFAULT };
    let thresholds = if key.hash.is_multiple_of(2) { &SHORT } else { &Thresholds::DEFAULT };
    K::edit(Place { db, slot, thresholds, now: 0 })
}
