//! Snapshots beside every write command in any mixture, with time, expiry, eviction, defragmentation and
//! other encodings: whatever happens while they are read out, the file of each is the keyspace at its cut.

#[path = "../../../store/tests/common/file.rs"]
mod file;

use std::sync::atomic::Ordering;

use base::alloc;
use base::defrag::Mover;
use base::limits;
use base::time::UnixMs;
use engine::config::EvictionPolicy;
use engine::memory::Look;
use engine::testing::{START, TestEngine};
use file::File;
use rdb::{Item, ReadOptions, Reader};
use store::defrag::DefragCursor;
use store::snapshot::{Output, Snapshot};
use store::{DbIndex, Entry, Key, Plan};

use super::{Mixture, fill_large, run};

#[global_allocator]
static ALLOCATOR: alloc::Jemalloc = alloc::Jemalloc;

const RUNS: u64 = 2000;
const STEPS: usize = 60;

/// Bytes from which a value is saved in pieces: all, what has a table, what is large in a server.
const LARGE: [u64; 3] = [1, 300, 64 * 1024];

/// What may wait, which says how large the blocks are: hardly anything, or enough.
const ROOM: [usize; 2] = [1000, 1 << 20];

struct Scene {
    mixture: Mixture,
    running: Vec<Running>,
    cursor: DefragCursor,
    seen: Seen,
    /// Of the keys that were added last.
    added: u64,
}

/// A snapshot that is being read out, and what its file should say.
struct Running {
    snapshot: Snapshot,
    file: File,
    cut: Vec<String>,
    at: UnixMs,
}

/// What was seen over all runs: a test in which nothing happens would pass too.
#[derive(Default, Debug)]
struct Seen {
    files: usize,
    in_pieces: usize,
    pre_images: usize,
    evicted: u64,
}

#[test]
fn the_files_of_snapshots_beside_any_mixture_are_the_keyspace_at_their_cuts() {
    let mut seen = Seen::default();
    for seed in 0..RUNS {
        println!("seed {seed}");
        let mut scene = Scene::new(seed, seen);
        (0..STEPS).for_each(|_| scene.step());
        seen = scene.finish();
    }
    println!("{seen:?}");
    let runs = RUNS as usize;
    let Seen { files, in_pieces, pre_images, evicted } = seen;
    assert!(files > runs && in_pieces > runs && pre_images > runs && evicted as usize > runs / 4, "{seen:?}");
}

impl Scene {
    fn new(seed: u64, seen: Seen) -> Scene {
        let mut mixture = Mixture::new(seed);
        mixture.test.engine.store.set_snapshot_limit(ROOM[seed as usize % 2]);
        mixture.test.configure(|config| config.maxmemory_policy = EvictionPolicy::AllkeysRandom);
        mixture.set_up_again();
        fill_large(&mut mixture.test);
        Scene { mixture, running: Vec::new(), cursor: DefragCursor::default(), seen, added: 0 }
    }

    fn step(&mut self) {
        match self.mixture.rng.below(40) {
            0..=3 => self.begin(),
            4..=15 => self.read_on(),
            16 => self.evict(),
            17 => self.defragment(),
            18 => self.change_encodings(),
            19 => self.add_keys(),
            20 => fill_large(&mut self.mixture.test),
            21 => self.cancel(),
            _ => self.mixture.step(),
        }
        self.mixture.test.take_effects();
    }

    fn begin(&mut self) {
        if self.running.len() == limits::SNAPSHOTS_MOST {
            return;
        }
        let test = &self.mixture.test;
        let (cut, at) = (test.digest_of_keys(), test.now());
        let large = LARGE[self.mixture.rng.below(LARGE.len() as u64) as usize];
        let snapshot = Snapshot::begin_with(&mut test.engine.store.lock(&Plan::All), large);
        let snapshot = snapshot.expect("there is room for another");
        self.running.push(Running { snapshot, file: File::default(), cut, at });
    }

    fn read_on(&mut self) {
        if let Some(index) = self.any_running() {
            let count = 1 + self.mixture.rng.below(5);
            let _ = (0..count).try_for_each(|_| self.read(index).then_some(()));
        }
    }

    fn any_running(&mut self) -> Option<usize> {
        let count = self.running.len() as u64;
        (count > 0).then(|| self.mixture.rng.below(count) as usize)
    }

    /// False at the end of this one.
    fn read(&mut self, index: usize) -> bool {
        let Running { snapshot, file, .. } = &mut self.running[index];
        let output = snapshot.next(&self.mixture.test.engine.store);
        let Some(output) = output else {
            self.compare(index);
            return false;
        };
        assert!(!matches!(output, Output::Wait), "nobody has what is to be saved");
        file.add(&output);
        snapshot.written(output);
        true
    }

    fn compare(&mut self, index: usize) {
        let Running { snapshot, file, cut, at } = self.running.swap_remove(index);
        self.seen.files += 1;
        self.seen.in_pieces += file.regions;
        self.seen.pre_images += snapshot.pre_images();
        check_equal(&loaded(file, at), &cut);
    }

    fn cancel(&mut self) {
        if let Some(index) = self.any_running() {
            let snapshot = self.running.swap_remove(index).snapshot;
            snapshot.cancel(&self.mixture.test.engine.store, &drop);
        }
    }

    /// Some keys have to give way for others.
    fn evict(&mut self) {
        let test = &mut self.mixture.test;
        let used = alloc::stats().allocated;
        let look =
            |limit: usize| Look { allocated: used, resident: used, limit: limit as u64, ..Look::default() };
        test.engine.memory.refresh(look(used), 0);
        for number in 0..3 {
            test.run_words(&[b"SET".to_vec(), format!("filler:{number}").into_bytes(), vec![b'f'; 3000]]);
        }
        test.engine.memory.refresh(look(0), 0);
        self.seen.evicted += test.engine.evicted_keys.swap(0, Ordering::Relaxed);
    }

    fn defragment(&mut self) {
        let mut mover = Mover::of_everything();
        mover.begin(1 + self.mixture.rng.below(200) as usize);
        self.cursor.step(&self.mixture.test.engine.store, &mut mover);
    }

    /// From now on small collections are tables, or packed.
    fn change_encodings(&mut self) {
        let entries = ["0", "4", "128"][self.mixture.rng.below(3) as usize];
        for directive in
            ["hash-max-listpack-entries", "set-max-listpack-entries", "zset-max-listpack-entries"]
        {
            run(&mut self.mixture.test, &format!("CONFIG SET {directive} {entries}"));
        }
        run(&mut self.mixture.test, &format!("CONFIG SET set-max-intset-entries {entries}"));
        let size = ["-2", "2"][self.mixture.rng.below(2) as usize];
        run(&mut self.mixture.test, &format!("CONFIG SET list-max-listpack-size {size}"));
    }

    /// So many that segments of the keyspace's tables split.
    fn add_keys(&mut self) {
        let first = self.added;
        self.added += 1 + self.mixture.rng.below(600);
        for number in first..self.added {
            self.mixture.test.run(&format!("SET added:{number} {number}"));
        }
    }

    fn finish(mut self) -> Seen {
        while let Some(index) = self.any_running() {
            self.read(index);
        }
        assert_eq!(self.mixture.test.engine.store.snapshot_memory(), 0);
        self.mixture.test.check_invariants();
        self.seen
    }
}

/// Compares, and shows the first few lines that differ.
fn check_equal(found: &[String], expected: &[String]) {
    // A packed sorted set knows no -0.
    let plain = |lines: &[String]| lines.iter().map(|line| line.replace("=-0.0", "=0.0")).collect::<Vec<_>>();
    let (found, expected) = (&plain(found)[..], &plain(expected)[..]);
    let only = |these: &[String], others: &[String]| -> Vec<String> {
        let missing = these.iter().filter(|line| others.binary_search(line).is_err());
        missing.take(3).map(|line| line.chars().take(2000).collect()).collect()
    };
    let (more, fewer) = (only(found, expected), only(expected, found));
    assert!(found == expected, "in the file alone: {more:#?}\nat the cut alone: {fewer:#?}");
}

/// What an engine holds that has loaded the file, at that time.
fn loaded(file: File, at: UnixMs) -> Vec<String> {
    let mut test = TestEngine::new();
    test.advance_ms((at.0 - START.0) as u64);
    let (keys, bytes) = (file.keys, file.close());
    let mut reader = Reader::new(bytes.as_slice(), &ReadOptions::default()).expect("a header");
    let (mut db, mut found) = (DbIndex(0), 0);
    let mut guard = test.engine.store.lock(&Plan::All);
    loop {
        match reader.next().expect("a whole file") {
            Item::SelectDb(number) => db = DbIndex(number as u16),
            Item::Record(record) => {
                let key = Key::new(&record.key);
                let part = guard.db(db, key.hash);
                assert!(part.find(key).is_none(), "a key is saved once");
                part.insert(key.hash, Entry::from_object(&record.key, record.value, record.expires_at, 0));
                found += 1;
            }
            Item::End => break,
            other => panic!("nothing but records, not {other:?}"),
        }
    }
    drop(guard);
    assert_eq!(found, keys);
    test.digest_of_keys()
}
