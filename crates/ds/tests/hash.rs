//! The hash in both forms against a map with expiry times.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use base::random::Rng;
use ds::hash::{Field, FieldTable, HashRef, Set, Ttl, packed_get, packed_pairs, packed_remove, packed_set};
use ds::listpack::{Element, Listpack};
use ds::saving::{Piece, Savable, Saver};
use proptest::prelude::*;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, Vec<u8>, bool),
    InsertNew(Vec<u8>, Vec<u8>, Option<i64>),
    Remove(Vec<u8>),
    SetExpiry(Vec<u8>, Option<i64>),
    RemoveDue(usize),
    Advance(i64),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    (0..300u32).prop_map(|index| {
        if index % 3 == 0 { index.to_string().into_bytes() } else { format!("field:{index}").into_bytes() }
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        (16_000..17_000usize).prop_map(|len| vec![b'z'; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let expiry = || prop::option::of(0..1000i64);
    prop_oneof![
        6 => (name(), value(), any::<bool>()).prop_map(|(field, value, keep)| Op::Set(field, value, keep)),
        3 => (name(), value(), expiry()).prop_map(|(field, value, at)| Op::InsertNew(field, value, at)),
        3 => name().prop_map(Op::Remove),
        3 => (name(), expiry()).prop_map(|(field, at)| Op::SetExpiry(field, at)),
        1 => (0..20usize).prop_map(Op::RemoveDue),
        1 => (0..60i64).prop_map(Op::Advance),
    ]
}

fn expired(entry: &(Vec<u8>, Option<i64>), now: i64) -> bool {
    entry.1.is_some_and(|at| at <= now)
}

fn apply(table: &mut FieldTable, model: &mut Model, now: &mut i64, op: Op) {
    match op {
        Op::Set(field, value, keep) => {
            let old = model.get(&field).filter(|entry| !expired(entry, *now));
            let set = table.set(&field, &value, if keep { Ttl::Keep } else { Ttl::Drop }, *now);
            assert_eq!(set, if old.is_some() { Set::Updated } else { Set::Added });
            let expiry = old.and_then(|entry| entry.1).filter(|_| keep);
            model.insert(field, (value, expiry));
        }
        Op::InsertNew(field, value, at) => {
            assert_eq!(table.insert_new(&field, &value, at), !model.contains_key(&field));
            model.entry(field).or_insert((value, at));
        }
        Op::Remove(field) => {
            let removed = table.remove(&field);
            let (value, expires_at) = model.remove(&field).unzip();
            let view = removed.as_ref().map(Field::view);
            assert_eq!(view.map(|view| view.value.to_vec()), value);
            assert_eq!(view.map(|view| view.expires_at), expires_at);
        }
        Op::SetExpiry(field, at) => {
            assert_eq!(table.set_expiry(&field, at), model.contains_key(&field));
            model.entry(field).and_modify(|entry| entry.1 = at);
        }
        Op::RemoveDue(max) => {
            let mut told = 0;
            let count = table.remove_due(*now, max, |field| {
                let entry = model.remove(field.field).expect("is there");
                assert!(expired(&entry, *now) && entry.0 == field.value);
                told += 1;
            });
            assert!(count == told && count <= max);
        }
        Op::Advance(ms) => *now += ms,
    }
}

fn rdb_len(len: usize) -> u64 {
    len as u64
        + if len < 64 {
            1
        } else if len < 16_384 {
            2
        } else {
            5
        }
}

fn check(table: &FieldTable, model: &Model, now: i64) {
    table.check_invariants();
    let view = HashRef::Table(table);
    assert_eq!((view.len(), view.is_empty()), (model.len(), model.is_empty()));
    let live = || model.iter().filter(|(_, entry)| !expired(entry, now));
    assert_eq!(view.live_len(now), live().count());
    let timed = model.values().filter(|entry| entry.1.is_some());
    assert_eq!(table.expiring_count(), timed.clone().count());
    assert!(timed.clone().all(|entry| entry.1.is_some_and(|at| at >= table.next_expiry())));
    let pairs: u64 = model.iter().map(|(field, entry)| rdb_len(field.len()) + rdb_len(entry.0.len())).sum();
    let times = if timed.count() > 0 { 8 * model.len() as u64 } else { 0 };
    assert_eq!(table.rdb_bytes(), pairs + times);
    for (field, entry) in model {
        let shown = (!expired(entry, now)).then_some(entry);
        assert_eq!(view.get(field, now).map(Element::to_vec), shown.map(|entry| entry.0.clone()));
        assert_eq!(view.expiry(field, now), shown.map(|entry| entry.1));
        assert_eq!(table.expiry(field), Some(entry.1));
    }
    let mut seen = Model::new();
    view.for_each(now, |pair| {
        seen.insert(pair.field.to_vec(), (pair.value.to_vec(), pair.expires_at));
    });
    assert!(seen.iter().eq(live()));
    let (mut cursor, mut scanned) = (0, BTreeSet::new());
    loop {
        cursor = view.scan(cursor, 10, now, &mut |pair| {
            scanned.insert(pair.field.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert!(scanned.iter().eq(live().map(|(field, _)| field)));
}

proptest! {
    #[test]
    fn a_table_agrees_with_a_map(ops in prop::collection::vec(op(), 0..400)) {
        let (mut table, mut model, mut now) = (FieldTable::default(), Model::new(), 0);
        for op in ops {
            apply(&mut table, &mut model, &mut now, op);
        }
        check(&table, &model, now);
        while model.values().any(|entry| expired(entry, now)) {
            apply(&mut table, &mut model, &mut now, Op::RemoveDue(3));
        }
        check(&table, &model, now);
        let mut rng = Rng::from_seed(model.len() as u64);
        let drawn = table.random(now, &mut |bound| rng.below(bound));
        prop_assert_eq!(drawn.is_none(), model.is_empty());
    }

    #[test]
    fn a_packed_hash_agrees_with_a_list(ops in prop::collection::vec((name(), value(), 0..4u8), 0..200)) {
        let (mut pack, mut model) = (Listpack::new_empty(), Vec::<(Vec<u8>, Vec<u8>)>::new());
        for (field, value, kind) in ops {
            let at = model.iter().position(|(other, _)| *other == field);
            match (kind, at) {
                (0, _) => {
                    prop_assert_eq!(packed_remove(&mut pack, &field), at.is_some());
                    at.map(|at| model.remove(at));
                }
                (_, Some(at)) => {
                    prop_assert_eq!(packed_set(&mut pack, &field, &value), Set::Updated);
                    model[at].1 = value;
                }
                (_, None) => {
                    prop_assert_eq!(packed_set(&mut pack, &field, &value), Set::Added);
                    model.push((field, value));
                }
            }
        }
        let view = Listpack::validate(&pack, true).expect("is valid");
        let pairs = || packed_pairs(view).map(|pair| (pair.field.to_vec(), pair.value.to_vec()));
        prop_assert!(pairs().eq(model.iter().cloned()));
        for (field, value) in &model {
            prop_assert!(packed_get(view, field).is_some_and(|found| found.eq_bytes(value)));
        }
        let table = FieldTable::from_packed(view);
        let model: Model = model.into_iter().map(|(field, value)| (field, (value, None))).collect();
        check(&table, &model, 0);
    }
}

#[test]
fn random_fields_are_live_and_all_come_up() {
    let check = |hash: HashRef<'_>, wanted: usize| {
        let mut rng = Rng::from_seed(1);
        let draw = |_| hash.random(5, &mut |bound| rng.below(bound)).map(|pair| pair.field.to_vec());
        let drawn: BTreeSet<_> = (0..2000).map(draw).collect();
        assert!(!drawn.contains(&None));
        assert_eq!(drawn.len(), wanted);
    };
    let (mut pack, mut table) = (Listpack::new_empty(), FieldTable::default());
    for index in 0..100 {
        packed_set(&mut pack, index.to_string().as_bytes(), b"");
        table.insert_new(index.to_string().as_bytes(), b"", (index > 2).then_some(5));
    }
    check(HashRef::Packed(Listpack::trusted(&pack)), 100);
    check(HashRef::Table(&table), 3);
    // A generator that only knows one number always finds the same field, or has to count.
    assert!(table.random(5, &mut |bound| bound - 1).is_some());
    assert!(table.random(5, &mut |_| 0).is_some());
    let empty = Listpack::new_empty();
    assert_eq!(HashRef::Packed(Listpack::trusted(&empty)).random(0, &mut |_| 0), None);
    assert_eq!(HashRef::Table(&FieldTable::default()).random(0, &mut |_| 0), None);
}

/// Keeps what it is given: fields and values.
#[derive(Clone, Default)]
struct Kept {
    pairs: Arc<Mutex<Vec<Pair>>>,
    is_full: bool,
}

type Pair = (Vec<u8>, Vec<u8>);

impl Saver for Kept {
    fn save(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
        let Piece::Field(field) = piece else { panic!("a hash has fields") };
        self.pairs.lock().expect("no panic").push((field.field.to_vec(), field.value.to_vec()));
        ControlFlow::Continue(())
    }

    fn lacks_room(&self) -> bool {
        self.is_full
    }
}

#[test]
fn a_snapshot_of_a_hash() {
    let mut table = FieldTable::default();
    for index in 0..2000 {
        table.insert_new(format!("f{index}").as_bytes(), b"before", None);
    }
    let kept = Kept::default();
    let count = || kept.pairs.lock().expect("no panic").len();
    assert!(table.saver(1).is_none());
    table.begin_saving(1, Box::new(kept.clone()));
    table.set(b"f7", b"after", Ttl::Drop, 0);
    assert_eq!(count(), 1);
    table.set(b"f7", b"again", Ttl::Drop, 0);
    table.set(b"new", b"new", Ttl::Drop, 0);
    table.remove(b"new");
    assert_eq!(count(), 1, "it is saved already, or not of the snapshot");
    table.remove(b"f8");
    table.set_expiry(b"f9", Some(5));
    assert_eq!(table.remove_due(6, 100, |_| {}), 1);
    assert_eq!(count(), 3);
    while table.save_on(1) {}
    assert!(table.end_saving(1).is_some() && table.saver(1).is_none());
    let mut found = kept.pairs.lock().expect("no panic").clone();
    assert!(found.iter().all(|(_, value)| value == b"before"));
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 2000);
    table.check_invariants();
}

/// While there is no room for copies, what is removed is kept until everyone has it, and not copied.
#[test]
fn what_goes_while_there_is_no_room() {
    let mut table = FieldTable::default();
    for index in 0..5000 {
        table.insert_new(format!("f{index}").as_bytes(), b"before", None);
    }
    let kept = [1, 2, 3].map(|number| {
        let kept = Kept { is_full: number == 2, ..Kept::default() };
        table.begin_saving(number, Box::new(kept.clone()));
        kept
    });
    let count = |index: usize| kept[index].pairs.lock().expect("no panic").len();
    while count(0) < 1000 {
        table.save_on(1);
    }
    let saved = count(0);
    for index in 0..4900 {
        assert!(
            table.remove(format!("f{index}").as_bytes()).is_some_and(|field| field.view().value == b"before")
        );
    }
    assert_eq!([count(0), count(1), count(2)], [saved, 0, 0]);
    assert_eq!(table.iter().count(), 100);
    // One of them does not come to its end.
    assert!(table.end_saving(3).is_some());
    for number in [1, 2] {
        while table.save_on(number) {}
        assert!(table.end_saving(number).is_some());
    }
    for kept in &kept[..2] {
        let mut found = kept.pairs.lock().expect("no panic").clone();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 5000);
    }
    assert_eq!([count(0), count(1)], [5000, 5000]);
    table.check_invariants();
}

#[test]
fn a_field_in_a_table_costs_its_block_and_a_slot() {
    let mut table = FieldTable::default();
    for index in 0..100_000 {
        table.insert_new(format!("field:{index:06}").as_bytes(), &[b'v'; 16], None);
    }
    let each = table.memory() as f64 / 100_000.0;
    assert!(each < 32.0 + 13.0, "{each} bytes");
    while table.drain_some(1000) > 0 {}
    assert_eq!(table.memory(), 0);
    table.check_invariants();
}
