//! The segmented table against a map, with snapshots and scans while it grows and shrinks.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use base::hash::hash;
use base::limits::SNAPSHOTS_MOST;
use ds::hash::{Field, FieldRef};
use ds::{DuePosition, Table, WalkPosition};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut state = State::new();
    while !choices.is_empty() && state.work < WORK_MAX {
        state.step(&mut choices);
    }
    state.finish();
});

struct State {
    table: Table<Field>,
    model: Model,
    running: Vec<Running>,
    due: DuePosition,
    snapshots: u32,
    /// The scan that is under way: its cursor, what was there all the time, what it returned.
    cursor: u64,
    stable: BTreeSet<Vec<u8>>,
    scanned: BTreeSet<Vec<u8>>,
    /// Items touched so far.
    work: usize,
}

/// A snapshot: what it must see, and what it has seen.
struct Running {
    number: u32,
    cut: Model,
    saved: Model,
    position: WalkPosition,
}

impl State {
    fn new() -> State {
        State {
            table: Table::new(0),
            model: Model::new(),
            running: Vec::new(),
            due: DuePosition::default(),
            snapshots: 0,
            cursor: 0,
            stable: BTreeSet::new(),
            scanned: BTreeSet::new(),
            work: 0,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        self.work += 1;
        match choices.byte() % 12 {
            0..4 => self.insert_some(choices),
            4 | 5 => self.remove_some(choices),
            6 => self.change(choices),
            7 => self.snapshot(choices),
            8 => self.walk(choices),
            9 => self.scan(choices),
            10 => self.remove_due(choices),
            _ => self.table.check_invariants(),
        }
    }

    /// Few bytes of input must suffice to split segments.
    fn insert_some(&mut self, choices: &mut Choices<'_>) {
        let (first, count) = (choices.below(8192), 1 + usize::from(choices.byte()) * 8);
        let expires_at = choices.is_true().then(|| choices.below(1000) as i64);
        for number in first..first + count {
            let key = key(number);
            self.work += 1;
            if self.table.find(hash(&key), &key).is_some() {
                assert!(self.model.contains_key(&key));
                continue;
            }
            let slot = self.table.insert_new(hash(&key), Field::new(&key, b"new", expires_at));
            assert_eq!(self.table.view(slot).field, key);
            assert_eq!(self.model.insert(key, (b"new".to_vec(), expires_at)), None);
        }
    }

    fn remove_some(&mut self, choices: &mut Choices<'_>) {
        let (first, count) = (choices.below(8192), 1 + usize::from(choices.byte()) * 16);
        for number in first..first + count {
            self.remove(&key(number));
        }
    }

    fn remove(&mut self, key: &[u8]) {
        self.work += 1;
        let Some(slot) = self.table.find(hash(key), key) else {
            assert!(!self.model.contains_key(key));
            return;
        };
        self.save(key);
        let item = self.table.remove(slot);
        let (value, expires_at) = self.model.remove(key).expect("the table has nothing else");
        assert_eq!((item.view().value, item.view().expires_at), (&value[..], expires_at));
        self.stable.remove(key);
    }

    fn change(&mut self, choices: &mut Choices<'_>) {
        let key = key(choices.below(8192));
        let (len, expires_at) = (choices.below(300), choices.is_true().then(|| choices.below(1000) as i64));
        let Some(slot) = self.table.find(hash(&key), &key) else { return };
        self.save(&key);
        let value = vec![b'c'; len];
        if choices.is_true() {
            self.table.replace(slot, Field::new(&key, &value, expires_at));
        } else {
            self.table.update(slot, |old| (old.with_value(&value).with_expiry(expires_at), ()));
        }
        self.model.insert(key, (value, expires_at));
    }

    /// What a caller does before it changes an item: the snapshots that have not got it get the old one.
    fn save(&mut self, key: &[u8]) {
        let slot = self.table.find(hash(key), key).expect("the caller found it");
        for Running { number, saved, .. } in &mut self.running {
            if !self.table.is_done(*number, slot) {
                see(saved, self.table.view(slot));
                self.table.mark_done(*number, slot);
            }
        }
    }

    /// One begins, and takes the place of another if there are enough.
    fn snapshot(&mut self, choices: &mut Choices<'_>) {
        if self.running.len() == SNAPSHOTS_MOST {
            let ended = self.running.swap_remove(choices.below(SNAPSHOTS_MOST));
            self.table.snapshot_end(ended.number);
        }
        self.snapshots += 1;
        self.table.snapshot_begin(self.snapshots);
        self.work += self.model.len();
        let (cut, saved, position) = (self.model.clone(), Model::new(), WalkPosition::default());
        self.running.push(Running { number: self.snapshots, cut, saved, position });
    }

    fn walk(&mut self, choices: &mut Choices<'_>) {
        if self.running.is_empty() {
            return;
        }
        let index = choices.below(self.running.len());
        let (lines, mut left) = (choices.below(64), choices.below(500));
        let Running { number, saved, position, .. } = &mut self.running[index];
        let next = self.table.snapshot_walk(*number, *position, lines, &mut |item| {
            see(saved, item);
            left = left.saturating_sub(1);
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match next {
            Some(next) => *position = next,
            None => self.end_snapshot(index),
        }
    }

    fn end_snapshot(&mut self, index: usize) {
        let Running { number, cut, saved, .. } = self.running.swap_remove(index);
        assert!(saved == cut, "the snapshot is the state at the cut");
        self.table.snapshot_end(number);
    }

    fn scan(&mut self, choices: &mut Choices<'_>) {
        if self.cursor == 0 {
            self.stable = self.model.keys().cloned().collect();
            self.scanned.clear();
            self.work += self.stable.len();
        }
        let scanned = &mut self.scanned;
        self.cursor = self.table.scan(self.cursor, choices.below(100), &mut |item| {
            scanned.insert(item.field.to_vec());
        });
        if self.cursor == 0 {
            assert!(self.stable.is_subset(&self.scanned), "a scan returns all that stays");
        }
    }

    fn remove_due(&mut self, choices: &mut Choices<'_>) {
        let (now, mut budget) = (choices.below(1000) as i64, choices.below(3000));
        while let Some(slot) = self.table.next_due(&mut self.due, now, &mut budget) {
            let item = self.table.view(slot);
            assert!(item.expires_at.is_some_and(|at| at <= now));
            let key = item.field.to_vec();
            self.remove(&key);
        }
    }

    fn finish(mut self) {
        self.table.check_invariants();
        assert_eq!(self.table.len(), self.model.len());
        for (key, (value, expires_at)) in &self.model {
            let (_, item) = self.table.find_view(hash(key), key).expect("every key of the model is there");
            assert_eq!((item.value, item.expires_at), (&value[..], *expires_at));
        }
        let soonest = self.model.values().filter_map(|(_, at)| *at).min().unwrap_or(i64::MAX);
        assert!(self.table.next_expiry() <= soonest);
        while self.table.drain_some(1000) > 0 {}
        assert!(self.table.is_empty());
    }
}

fn key(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn see(saved: &mut Model, item: FieldRef<'_>) {
    let before = saved.insert(item.field.to_vec(), (item.value.to_vec(), item.expires_at));
    assert_eq!(before, None, "an item is saved once");
}

/// Keeps one input under some hundredths of a second.
const WORK_MAX: usize = 20_000;
