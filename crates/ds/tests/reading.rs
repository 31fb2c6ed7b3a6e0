//! Readings of sets and hashes under random changes: each shows exactly what there was when it began.

use std::collections::{BTreeMap, BTreeSet};

use base::random::Rng;
use ds::hash::{FieldTable, Ttl};
use ds::set::MemberTable;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is done to both kinds of value.
trait Value: Default {
    fn set(&mut self, key: &[u8], value: &[u8]);
    fn remove(&mut self, key: &[u8]);
    fn begin(&mut self, id: u64);
    fn read_on(&mut self, id: u64, wanted: usize, show: &mut dyn FnMut(&[u8], &[u8])) -> bool;
    fn end(&mut self, id: u64);
    fn check(&self, model: &Model);
    /// The value a model has for what was set.
    fn seen(value: &[u8]) -> Vec<u8>;
}

impl Value for FieldTable {
    fn set(&mut self, key: &[u8], value: &[u8]) {
        FieldTable::set(self, key, value, Ttl::Drop, 0);
    }
    fn remove(&mut self, key: &[u8]) {
        FieldTable::remove(self, key);
    }
    fn begin(&mut self, id: u64) {
        self.begin_reading(id);
    }
    fn read_on(&mut self, id: u64, wanted: usize, show: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        FieldTable::read_on(self, id, wanted, show)
    }
    fn end(&mut self, id: u64) {
        self.end_reading(id);
    }
    fn check(&self, model: &Model) {
        self.check_invariants();
        assert_eq!(self.len(), model.len());
    }
    fn seen(value: &[u8]) -> Vec<u8> {
        value.to_vec()
    }
}

impl Value for MemberTable {
    fn set(&mut self, key: &[u8], _: &[u8]) {
        self.insert(key);
    }
    fn remove(&mut self, key: &[u8]) {
        MemberTable::remove(self, key);
    }
    fn begin(&mut self, id: u64) {
        self.begin_reading(id);
    }
    fn read_on(&mut self, id: u64, wanted: usize, show: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        MemberTable::read_on(self, id, wanted, &mut |member| show(member, b""))
    }
    fn end(&mut self, id: u64) {
        self.end_reading(id);
    }
    fn check(&self, model: &Model) {
        self.check_invariants();
        assert_eq!(self.len(), model.len());
    }
    fn seen(_: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

/// A reading with what it has shown and what it is to show.
struct Reading {
    id: u64,
    expected: Model,
    shown: Model,
}

struct Driver<V> {
    value: V,
    model: Model,
    readings: Vec<Reading>,
    rng: Rng,
    begun: u64,
    ended: usize,
    /// Changes between two looks: above it the value grows, below it shrinks.
    keys: u64,
}

impl<V: Value> Driver<V> {
    fn new(seed: u64) -> Self {
        let (value, model, rng) = (V::default(), Model::new(), Rng::from_seed(seed));
        Driver { value, model, readings: Vec::new(), rng, begun: 0, ended: 0, keys: 1 }
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key:{}", self.rng.below(self.keys)).into_bytes()
    }

    fn set(&mut self) {
        let key = self.key();
        let value = vec![b'v'; self.rng.below(20) as usize];
        self.value.set(&key, &value);
        self.model.insert(key, V::seen(&value));
    }

    fn remove(&mut self) {
        let key = self.key();
        self.value.remove(&key);
        self.model.remove(&key);
    }

    fn begin(&mut self) {
        self.begun += 1;
        self.value.begin(self.begun);
        let (expected, shown) = (self.model.clone(), Model::new());
        self.readings.push(Reading { id: self.begun, expected, shown });
    }

    /// One piece of a reading, or its end before its time.
    fn read(&mut self) {
        if self.readings.is_empty() {
            return;
        }
        let at = self.rng.below(self.readings.len() as u64) as usize;
        if self.rng.below(200) == 0 {
            let reading = self.readings.swap_remove(at);
            return self.value.end(reading.id);
        }
        let Reading { id, shown, .. } = &mut self.readings[at];
        let wanted = 1 + self.rng.below(500) as usize;
        let more = self.value.read_on(*id, wanted, &mut |key, value| {
            assert!(shown.insert(key.to_vec(), value.to_vec()).is_none(), "shown twice");
        });
        if !more {
            let reading = self.readings.swap_remove(at);
            assert!(reading.expected == reading.shown, "seen as it was");
            assert!(!self.value.read_on(reading.id, 1, &mut |_, _| panic!("it is over")));
            self.ended += 1;
        }
    }

    /// Changes of all kinds, more of one than of the others at times.
    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let most = [10, 3_000, 60_000][self.rng.below(3) as usize];
            self.keys = 1 + self.rng.below(most);
            let (sets, removes, reads) = (self.rng.below(4_000), self.rng.below(4_000), self.rng.below(40));
            for _ in 0..sets {
                self.set();
            }
            if self.readings.len() < 4 {
                self.begin();
            }
            for _ in 0..reads {
                self.read();
                (0..self.rng.below(20)).for_each(|_| self.set());
                (0..self.rng.below(20)).for_each(|_| self.remove());
            }
            for _ in 0..removes {
                self.remove();
            }
        }
        self.value.check(&self.model);
        while !self.readings.is_empty() {
            self.read();
        }
    }
}

fn check<V: Value>() {
    for seed in 0..8 {
        let mut driver = Driver::<V>::new(seed);
        driver.run(40);
        assert!(driver.ended > 0, "seed {seed}");
    }
}

#[test]
fn a_hash_is_read_as_it_was() {
    check::<FieldTable>();
}

#[test]
fn a_set_is_read_as_it_was() {
    check::<MemberTable>();
}

#[test]
fn members_that_go_together_are_kept_too() {
    let mut table = MemberTable::default();
    let names: BTreeSet<Vec<u8>> = (0..5_000).map(|number| format!("{number}").into_bytes()).collect();
    names.iter().for_each(|name| assert!(table.insert(name)));
    table.begin_reading(7);
    let mut rng = Rng::from_seed(1);
    table.remove_sample(4_990, &mut |bound| rng.below(bound), &mut |_| {});
    let mut shown = BTreeSet::new();
    while table.read_on(7, 100, &mut |member| assert!(shown.insert(member.to_vec()))) {}
    assert_eq!(shown, names);
    assert_eq!(table.readings().count(), 0);
}

/// What is not changed costs nothing.
#[test]
fn memory_grows_with_what_is_changed() {
    let mut table = FieldTable::default();
    for number in 0..100_000 {
        table.set(format!("{number}").as_bytes(), b"value", Ttl::Drop, 0);
    }
    let before = table.memory();
    table.begin_reading(1);
    for number in 0..1_000 {
        table.set(format!("{number}").as_bytes(), b"other", Ttl::Drop, 0);
    }
    assert!(table.memory() - before < 1_000 * 200, "{}", table.memory() - before);
    for number in 0..1_000 {
        table.set(format!("{number}").as_bytes(), b"third", Ttl::Drop, 0);
    }
    let changed = table.memory();
    for number in 0..1_000 {
        table.set(format!("{number}").as_bytes(), b"fifth", Ttl::Drop, 0);
    }
    assert_eq!(table.memory(), changed, "the first change of a field costs, and no other");
    table.end_reading(1);
    assert_eq!(table.memory(), before);
}
