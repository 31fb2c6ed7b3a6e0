//! The hash in both forms against a map with expiry times.
#![no_main]

use std::collections::BTreeMap;

use ds::hash::{FieldTable, HashRef, Set, Ttl, packed_get, packed_pairs, packed_remove, packed_set};
use ds::listpack::{Element, Listpack};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let (table, model) = packed(&mut choices);
    let mut state = State { table, model, now: 0 };
    while !choices.is_empty() {
        state.step(&mut choices);
    }
    state.check();
});

/// The first changes are to a packed hash, which then becomes a table.
fn packed(choices: &mut Choices<'_>) -> (FieldTable, Model) {
    let (mut pack, mut model) = (Listpack::new_empty(), Model::new());
    for _ in 0..choices.byte() % 64 {
        let (field, value) = (field(choices), value(choices));
        if choices.byte().is_multiple_of(4) {
            assert_eq!(packed_remove(&mut pack, &field), model.remove(&field).is_some());
            continue;
        }
        let expected = if model.contains_key(&field) { Set::Updated } else { Set::Added };
        assert_eq!(packed_set(&mut pack, &field, &value), expected);
        model.insert(field, (value, None));
    }
    let view = Listpack::validate(&pack, true).expect("it is sound after every change");
    assert_eq!(packed_pairs(view).count(), model.len());
    for (field, (value, _)) in &model {
        assert!(packed_get(view, field).is_some_and(|found| found.eq_bytes(value)));
    }
    (FieldTable::from_packed(view), model)
}

struct State {
    table: FieldTable,
    model: Model,
    now: i64,
}

impl State {
    fn step(&mut self, choices: &mut Choices<'_>) {
        let field = field(choices);
        let expires_at = choices.is_true().then(|| self.now + choices.below(100) as i64);
        match choices.byte() % 8 {
            0 | 1 => self.set(field, value(choices), choices.is_true()),
            2 => {
                assert_eq!(
                    self.table.insert_new(&field, b"new", expires_at),
                    !self.model.contains_key(&field)
                );
                self.model.entry(field).or_insert((b"new".to_vec(), expires_at));
            }
            3 => {
                let removed = self.table.remove(&field);
                let expected = self.model.remove(&field);
                assert_eq!(removed.map(|item| item.view().value.to_vec()), expected.map(|(value, _)| value));
            }
            4 => {
                assert_eq!(self.table.set_expiry(&field, expires_at), self.model.contains_key(&field));
                self.model.entry(field).and_modify(|entry| entry.1 = expires_at);
            }
            5 => self.remove_due(choices.below(20)),
            6 => self.now += choices.below(50) as i64,
            _ => self.look(&field, choices),
        }
    }

    fn set(&mut self, field: Vec<u8>, value: Vec<u8>, keeps: bool) {
        let old = self.model.get(&field).filter(|entry| !is_expired(entry, self.now));
        let ttl = if keeps { Ttl::Keep } else { Ttl::Drop };
        let expected = if old.is_some() { Set::Updated } else { Set::Added };
        assert_eq!(self.table.set(&field, &value, ttl, self.now), expected);
        let expires_at = old.and_then(|entry| entry.1).filter(|_| keeps);
        self.model.insert(field, (value, expires_at));
    }

    fn remove_due(&mut self, max: usize) {
        let (model, now) = (&mut self.model, self.now);
        let count = self.table.remove_due(now, max, |field| {
            let entry = model.remove(field.field).expect("the table has nothing else");
            assert!(is_expired(&entry, now) && entry.0 == field.value);
        });
        assert!(count <= max);
    }

    fn look(&self, field: &[u8], choices: &mut Choices<'_>) {
        let shown = self.model.get(field).filter(|entry| !is_expired(entry, self.now));
        let view = HashRef::Table(&self.table);
        assert_eq!(view.get(field, self.now).map(Element::to_vec), shown.map(|entry| entry.0.clone()));
        assert_eq!(view.expiry(field, self.now), shown.map(|entry| entry.1));
        let drawn = view.random(self.now, &mut |bound| choices.below(65_536) as u64 % bound);
        let live = self.model.values().any(|entry| !is_expired(entry, self.now));
        assert_eq!(drawn.is_some(), live);
    }

    fn check(&self) {
        self.table.check_invariants();
        let live = || self.model.iter().filter(|(_, entry)| !is_expired(entry, self.now));
        let view = HashRef::Table(&self.table);
        assert_eq!((view.len(), view.live_len(self.now)), (self.model.len(), live().count()));
        let mut seen = Model::new();
        let mut cursor = 0;
        loop {
            cursor = view.scan(cursor, 10, self.now, &mut |pair| {
                seen.insert(pair.field.to_vec(), (pair.value.to_vec(), pair.expires_at));
            });
            if cursor == 0 {
                break;
            }
        }
        assert!(seen.iter().eq(live()));
    }
}

fn is_expired(entry: &(Vec<u8>, Option<i64>), now: i64) -> bool {
    entry.1.is_some_and(|at| at <= now)
}

fn field(choices: &mut Choices<'_>) -> Vec<u8> {
    let number = choices.below(600);
    if number.is_multiple_of(3) {
        number.to_string().into_bytes()
    } else {
        format!("field:{number}").into_bytes()
    }
}

fn value(choices: &mut Choices<'_>) -> Vec<u8> {
    if choices.byte().is_multiple_of(8) {
        vec![b'z'; choices.below(17_000)]
    } else {
        choices.bytes(60).to_vec()
    }
}
