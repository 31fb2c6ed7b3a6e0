//! The set in its three forms against ordered sets of the standard library.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use base::num::parse_i64;
use base::random::Rng;
use ds::intset::{self, Intset};
use ds::listpack::{Element, Listpack};
use ds::set::{
    Member, MemberTable, SetRef, packed_insert, packed_push, packed_remove, packed_without_sample,
};
use ds::set_algebra::{difference, intersection, union, union_estimate};
use proptest::prelude::*;

type Model = BTreeSet<Vec<u8>>;

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

/// A set, whatever its form, is the model.
fn check(set: SetRef<'_>, model: &Model) {
    assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
    let listed: Vec<_> = set.iter().map(Element::to_vec).collect();
    assert_eq!(listed.len(), model.len());
    assert_eq!(listed.into_iter().collect::<Model>(), *model);
    for member in model {
        assert!(set.contains(member));
        assert!(set.contains_element(Element::Bytes(member)));
        assert!(parse_i64(member).is_none_or(|value| set.contains_element(Element::Int(value))));
    }
    assert!(!set.contains(b"nobody") && !set.contains(b"007") && !set.contains(b"123456789"));
    assert!(!set.contains_element(Element::Int(123_456_789)));
    check_scan(set, model);
    check_random(set, model);
}

fn check_scan(set: SetRef<'_>, model: &Model) {
    let (mut cursor, mut scanned) = (0, Model::new());
    loop {
        cursor = set.scan(cursor, 10, &mut |member| {
            scanned.insert(member.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned, *model);
}

fn check_random(set: SetRef<'_>, model: &Model) {
    let mut rng = Rng::from_seed(model.len() as u64);
    let below = &mut |bound| rng.below(bound);
    match set.random(below) {
        Some(member) => assert!(model.contains(&member.to_vec())),
        None => assert!(model.is_empty()),
    }
    for count in [0, 1, model.len() / 10, model.len() / 2, model.len(), model.len() + 1] {
        let sample: Vec<_> = set.sample(count, below).into_iter().map(Element::to_vec).collect();
        assert_eq!(sample.len(), count.min(model.len()));
        let distinct: Model = sample.into_iter().collect();
        assert_eq!(distinct.len(), count.min(model.len()), "members are drawn once");
        assert!(distinct.is_subset(model));
    }
}

fn check_table(table: &MemberTable, model: &Model) {
    table.check_invariants();
    check(SetRef::Table(table), model);
    assert_eq!(table.rdb_len(), model.iter().map(|member| rdb_len(member.len())).sum::<u64>());
    assert_eq!(table.free_effort(), model.len());
    let copy = table.duplicate();
    copy.check_invariants();
    assert_eq!(copy.iter().map(<[u8]>::to_vec).collect::<Model>(), *model);
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..300u32).prop_map(|index| index.to_string().into_bytes()),
        4 => (0..300u32).prop_map(|index| format!("member:{index}").into_bytes()),
        1 => (0..300usize).prop_map(|len| vec![b'z'; len * len]),
    ]
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => -40..40i64,
        2 => (-10..10i64).prop_map(|index| index * 10_000),
        1 => (-10..10i64).prop_map(|index| index * 1_000_000_000_000),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, -32_768, 32_767, -32_769, 32_768, 1 << 31]),
    ]
}

proptest! {
    #[test]
    fn a_table_agrees_with_a_set(ops in prop::collection::vec((0..5u8, member()), 0..400), seed: u64) {
        let (mut table, mut model, mut rng) = (MemberTable::default(), Model::new(), Rng::from_seed(seed));
        for (kind, member) in ops {
            match kind {
                0..=2 => prop_assert_eq!(table.insert(&member), model.insert(member)),
                3 => {
                    let removed = table.remove(&member);
                    prop_assert_eq!(removed.is_some(), model.remove(&member));
                    prop_assert!(removed.is_none_or(|removed| removed.bytes() == member));
                }
                _ => {
                    let removed = table.remove_random(&mut |bound| rng.below(bound));
                    prop_assert_eq!(removed.is_none(), model.is_empty());
                    prop_assert!(removed.is_none_or(|removed| model.remove(removed.bytes())));
                }
            }
        }
        check_table(&table, &model);
    }

    #[test]
    fn a_pack_agrees_with_a_list(ops in prop::collection::vec((0..3u8, member()), 0..200)) {
        let (mut pack, mut model) = (Listpack::new_empty(), Vec::<Vec<u8>>::new());
        for (kind, member) in ops {
            let at = model.iter().position(|other| *other == member);
            if kind == 0 {
                prop_assert_eq!(packed_remove(&mut pack, &member), at.is_some());
                at.map(|at| model.remove(at));
            } else {
                prop_assert_eq!(packed_insert(&mut pack, &member), at.is_none());
                if at.is_none() {
                    model.push(member);
                }
            }
        }
        let view = Listpack::validate(&pack, true).expect("is valid");
        prop_assert!(view.iter().map(Element::to_vec).eq(model.iter().cloned()));
        let model = model.into_iter().collect();
        check(SetRef::Packed(view), &model);
        check_table(&MemberTable::collect(view.iter()), &model);
    }

    #[test]
    fn an_intset_agrees_with_a_set(ops in prop::collection::vec((0..3u8, integer()), 0..200)) {
        let (mut bytes, mut model) = (Intset::new_empty(), BTreeSet::new());
        for (kind, value) in ops {
            if kind == 0 {
                prop_assert_eq!(intset::remove(&mut bytes, value), model.remove(&value));
            } else {
                prop_assert_eq!(intset::insert(&mut bytes, value), model.insert(value));
            }
        }
        let view = Intset::validate(&bytes, true).expect("is valid");
        prop_assert!(view.iter().eq(model.iter().copied()));
        prop_assert!((0..=view.len()).all(|rank| view.at(rank) == model.iter().nth(rank).copied()));
        let sorted: Vec<_> = model.iter().copied().collect();
        let made = intset::from_sorted(&sorted);
        prop_assert!(Intset::validate(&made, true).expect("is valid").iter().eq(sorted));
        let model = model.into_iter().map(|value| value.to_string().into_bytes()).collect();
        check(SetRef::Ints(view), &model);
        check_table(&MemberTable::collect(SetRef::Ints(view).iter()), &model);
    }

    #[test]
    fn the_algebra_of_sets(inputs in prop::collection::vec((0..3u8, 0..60i64, 1..40i64, 1..5i64), 1..6)) {
        let owned: Vec<_> =
            inputs.iter().map(|&(form, start, len, step)| Owned::new(form, start, len, step)).collect();
        let mut views: Vec<_> = owned.iter().map(Owned::view).collect();
        let models: Vec<Model> = views.iter().map(|set| set.iter().map(Element::to_vec).collect()).collect();
        let (first, others) = (views[0], &models[1..]);
        let which = |wanted: &dyn Fn(&Vec<u8>) -> bool| -> Model {
            models.iter().flatten().filter(|member| wanted(member)).cloned().collect()
        };
        let left = |member: &Vec<u8>| {
            models[0].contains(member) && !others.iter().any(|set| set.contains(member))
        };
        check_walk(|visit| difference(first, &mut views.clone()[1..], visit), &which(&left));
        let common = |member: &Vec<u8>| models.iter().all(|set| set.contains(member));
        check_walk(|visit| intersection(&mut views, visit), &which(&common));
        check_walk(|visit| union(&mut views, visit), &which(&|_| true));
    }
}

enum Owned {
    Ints(Vec<u8>),
    Packed(Vec<u8>),
    Table(MemberTable),
}

impl Owned {
    /// Some numbers in one of the forms; a table and a pack get names as well.
    fn new(form: u8, start: i64, len: i64, step: i64) -> Owned {
        let numbers: Vec<_> = (0..len).map(|index| start + index * step).collect();
        let names: Vec<_> = numbers.iter().map(|number| format!("n{number}").into_bytes()).collect();
        let ints = intset::from_sorted(&numbers);
        let members = || {
            let named = names.iter().map(|name| Element::Bytes(name));
            numbers.iter().map(|&number| Element::Int(number)).chain(named)
        };
        match form {
            0 => Owned::Ints(ints),
            1 => {
                let mut pack = Listpack::new_empty();
                members().for_each(|member| assert!(packed_insert(&mut pack, &member.to_vec())));
                Owned::Packed(pack)
            }
            _ => Owned::Table(MemberTable::collect(members())),
        }
    }

    fn view(&self) -> SetRef<'_> {
        match self {
            Owned::Ints(bytes) => SetRef::Ints(Intset::trusted(bytes)),
            Owned::Packed(bytes) => SetRef::Packed(Listpack::trusted(bytes)),
            Owned::Table(table) => SetRef::Table(table),
        }
    }
}

/// `walk` visits what is expected, each once, and stops when it is told to.
fn check_walk<'a>(mut walk: impl FnMut(&mut dyn FnMut(Element<'a>) -> ControlFlow<()>), expected: &Model) {
    let mut visited = Vec::new();
    walk(&mut |member| {
        visited.push(member.to_vec());
        ControlFlow::Continue(())
    });
    assert_eq!(visited.len(), expected.len());
    assert_eq!(visited.into_iter().collect::<Model>(), *expected);
    for limit in [1, 2, expected.len() / 2 + 1] {
        let mut count = 0;
        walk(&mut |_| {
            count += 1;
            if count == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(count, limit.min(expected.len()));
    }
}

/// Removes `count` members at random from a set of `len` numbers in each form: what is shown and what is left
/// make up the set.
fn check_removal(len: i64, count: usize, below: &mut dyn FnMut(u64) -> u64) {
    let ints = intset::from_sorted(&(0..len).collect::<Vec<_>>());
    let mut pack = Listpack::new_empty();
    (0..len).for_each(|value| packed_push(&mut pack, Element::Int(value)));
    let mut table = MemberTable::collect((0..len).map(Element::Int));
    let check = |left: SetRef<'_>, shown: &[Vec<u8>]| {
        assert_eq!(shown.len(), count.min(len as usize));
        assert_eq!(left.len() + shown.len(), len as usize);
        let all: Model = left.iter().map(Element::to_vec).chain(shown.iter().cloned()).collect();
        assert_eq!(all.len(), len as usize);
    };
    let mut shown = Vec::new();
    let left = packed_without_sample(SetRef::Ints(Intset::trusted(&ints)), count, below, &mut |member| {
        shown.push(member.to_vec());
    });
    check(SetRef::Ints(Intset::validate(&left, true).expect("is valid")), &shown);
    shown.clear();
    let left = packed_without_sample(SetRef::Packed(Listpack::trusted(&pack)), count, below, &mut |member| {
        shown.push(member.to_vec());
    });
    check(SetRef::Packed(Listpack::validate(&left, true).expect("is valid")), &shown);
    shown.clear();
    table.remove_sample(count, below, &mut |member| shown.push(member.to_vec()));
    table.check_invariants();
    check(SetRef::Table(&table), &shown);
}

#[test]
fn members_are_removed_at_random() {
    for (len, count) in [(0, 1), (1, 0), (1, 1), (100, 3), (100, 50), (100, 95), (100, 99), (100, 101)] {
        let mut rng = Rng::from_seed(len as u64 + count as u64);
        check_removal(len, count, &mut |bound| rng.below(bound));
        check_removal(len, count, &mut |_| 0);
        check_removal(len, count, &mut |bound| bound - 1);
    }
}

#[test]
fn unions_are_estimated() {
    let check = |ranges: &[(i64, i64)], expected: f64| {
        let table = |&(from, to): &(i64, i64)| MemberTable::collect((from..to).map(Element::Int));
        let tables: Vec<_> = ranges.iter().map(table).collect();
        let views: Vec<_> = tables.iter().map(SetRef::Table).collect();
        let estimate = union_estimate(&views) as f64;
        // Four standard errors.
        assert!((estimate - expected).abs() <= expected * 0.033, "{estimate} for {expected}");
    };
    check(&[], 0.0);
    check(&[(0, 1)], 1.0);
    check(&[(0, 5), (3, 8), (7, 10)], 10.0);
    check(&[(0, 1000), (500, 2000)], 2000.0);
    check(&[(0, 40_000), (20_000, 60_000)], 60_000.0);
    check(&[(0, 300_000)], 300_000.0);
    // The same member in any form is one.
    let ints = intset::from_sorted(&[1, 2, 3]);
    let table = MemberTable::collect((1..4).map(Element::Int));
    assert_eq!(union_estimate(&[SetRef::Ints(Intset::trusted(&ints)), SetRef::Table(&table)]), 3);
}

#[test]
fn bytes_that_are_no_intset() {
    let check = |bytes: &[u8], shallow: bool, deep: bool| {
        assert_eq!(Intset::validate(bytes, false).is_ok(), shallow, "{bytes:?}");
        assert_eq!(Intset::validate(bytes, true).is_ok(), deep, "{bytes:?}");
    };
    check(&[], false, false);
    check(&[2, 0, 0, 0, 0, 0, 0], false, false);
    check(&[2, 0, 0, 0, 0, 0, 0, 0], true, true);
    check(&[3, 0, 0, 0, 0, 0, 0, 0], false, false);
    check(&[0, 0, 0, 0, 0, 0, 0, 0], false, false);
    check(&[2, 0, 0, 0, 1, 0, 0, 0, 7], false, false);
    check(&[2, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0], false, false);
    check(&[2, 0, 0, 0, 2, 0, 0, 0, 7, 0, 8, 0], true, true);
    check(&[2, 0, 0, 0, 2, 0, 0, 0, 7, 0, 7, 0], true, false);
    check(&[2, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0xff, 0xff], true, false);
    check(&[8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], false, false);
}

#[test]
fn every_member_comes_up_and_any_generator_will_do() {
    let mut pack = Listpack::new_empty();
    let table = MemberTable::collect((0..100).map(Element::Int));
    (0..100).for_each(|index: u32| assert!(packed_insert(&mut pack, index.to_string().as_bytes())));
    let ints = intset::from_sorted(&(0..100).collect::<Vec<_>>());
    let sets = [
        SetRef::Ints(Intset::trusted(&ints)),
        SetRef::Packed(Listpack::trusted(&pack)),
        SetRef::Table(&table),
    ];
    for set in sets {
        let mut rng = Rng::from_seed(1);
        let drawn: Model = (0..2000)
            .filter_map(|_| set.random(&mut |bound| rng.below(bound)))
            .map(Element::to_vec)
            .collect();
        assert_eq!(drawn.len(), 100);
        let sampled: Model = (0..200)
            .flat_map(|_| set.sample(5, &mut |bound| rng.below(bound)))
            .map(Element::to_vec)
            .collect();
        assert_eq!(sampled.len(), 100);
        // A generator that knows one number only still yields distinct members.
        assert_eq!(set.sample(5, &mut |_| 0).len(), 5);
        assert_eq!(set.sample(5, &mut |bound| bound - 1).len(), 5);
        assert!(set.random(&mut |bound| bound - 1).is_some());
    }
}

#[test]
fn a_member_in_a_table_costs_its_block_and_a_slot() {
    let mut table = MemberTable::default();
    for count in 1..=300_000 {
        table.insert(format!("m:{count:010}").as_bytes());
        if count >= 20_000 && count % 10_000 == 0 {
            let each = table.memory() as f64 / f64::from(count);
            assert!(each < 27.0, "{each} bytes at {count}");
        }
    }
    assert_eq!(Member::size_of(b"m:0000000001"), 16);
    while table.drain_some(1000) > 0 {}
    assert_eq!((table.memory(), table.rdb_len()), (0, 0));
    table.check_invariants();
}
