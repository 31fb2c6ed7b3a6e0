//! The list in both forms against a deque of strings.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use base::random::Rng;
use ds::list::{Direction, End, Limits, ListReading, ListRef, NodeRef, PackedList, Shrinking, packed};
use ds::listpack::{self, Listpack, Needle};
use proptest::prelude::*;

type Model = VecDeque<Vec<u8>>;

#[derive(Clone, Debug)]
enum Op {
    Push(End, Vec<u8>),
    Pop(End),
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEnd(End, usize),
    RemoveMatching(Vec<u8>, usize, Direction),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Forward), Just(Direction::Backward)]
}

/// Few different ones, so that some match; long ones among them.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0..20u32).prop_map(|number| number.to_string().into_bytes()),
        8 => (0..20u32).prop_map(|number| format!("element:{number}").into_bytes()),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        2 => (0..1000usize).prop_map(|len| b"abcdefg".iter().copied().cycle().take(len).collect()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (3000..10_000usize).prop_map(|len| vec![b'z'; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<usize>;
    prop_oneof![
        12 => (end(), content()).prop_map(|(end, content)| Op::Push(end, content)),
        3 => end().prop_map(Op::Pop),
        4 => (index(), content()).prop_map(|(index, content)| Op::Insert(index, content)),
        3 => (index(), content()).prop_map(|(index, content)| Op::Replace(index, content)),
        1 => (index(), 0..20usize).prop_map(|(index, count)| Op::Remove(index, count)),
        1 => (end(), 0..30usize).prop_map(|(end, count)| Op::RemoveEnd(end, count)),
        1 => (content(), 1..6usize, direction())
            .prop_map(|(content, max, direction)| Op::RemoveMatching(content, max, direction)),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let size = prop_oneof![Just(-2i64), Just(-1), Just(-5), Just(1), Just(2), Just(5), Just(128)];
    (size, 0..4usize, any::<bool>()).prop_map(|(size, depth, plain)| {
        let limits = Limits::new(size, depth);
        if plain { limits.with_plain_from(11) } else { limits }
    })
}

/// Makes the change in the model and says what a list should answer: an element popped, a number removed.
fn apply_to_model(model: &mut Model, op: &Op) -> (Option<Vec<u8>>, usize) {
    let len = model.len();
    match op.clone() {
        Op::Push(End::Front, content) => model.push_front(content),
        Op::Push(End::Back, content) => model.push_back(content),
        Op::Pop(End::Front) => return (model.pop_front(), 0),
        Op::Pop(End::Back) => return (model.pop_back(), 0),
        Op::Insert(index, content) => model.insert(index % (len + 1), content),
        Op::Replace(index, content) if len > 0 => model[index % len] = content,
        Op::Replace(..) => {}
        Op::Remove(index, count) => {
            let from = index % (len + 1);
            model.drain(from..len.min(from + count));
        }
        Op::RemoveEnd(End::Front, count) => {
            model.drain(..count.min(len));
        }
        Op::RemoveEnd(End::Back, count) => model.truncate(len - count.min(len)),
        Op::RemoveMatching(content, max, direction) => {
            let mut matching: Vec<_> = (0..len).filter(|&index| model[index] == content).collect();
            if direction == Direction::Backward {
                matching.reverse();
            }
            matching.truncate(max);
            matching.sort_unstable();
            matching.iter().rev().for_each(|&index| {
                model.remove(index);
            });
            return (None, matching.len());
        }
    }
    (None, 0)
}

fn apply(list: &mut PackedList, op: &Op) -> (Option<Vec<u8>>, usize) {
    let len = list.len();
    match op {
        Op::Push(end, content) => list.push(*end, content),
        Op::Pop(end) => return (list.pop(*end, |element| element.to_vec()), 0),
        Op::Insert(index, content) => list.insert(index % (len + 1), content),
        Op::Replace(index, content) if len > 0 => list.replace(index % len, content),
        Op::Replace(..) => {}
        Op::Remove(index, count) => list.remove(index % (len + 1), *count),
        Op::RemoveEnd(End::Front, count) => list.remove(0, *count),
        Op::RemoveEnd(End::Back, count) => list.remove(len - count.min(&len), *count),
        Op::RemoveMatching(content, max, direction) => {
            return (None, list.remove_matching(&Needle::new(content), *max, *direction));
        }
    }
    (None, 0)
}

fn apply_packed(pack: &mut Vec<u8>, op: &Op) -> (Option<Vec<u8>>, usize) {
    let len = Listpack::trusted(pack).len();
    match op {
        Op::Push(end, content) => packed::push(pack, *end, content),
        Op::Pop(End::Front) => return (pop_packed(pack, 0), 0),
        Op::Pop(End::Back) => return (pop_packed(pack, len.wrapping_sub(1)), 0),
        Op::Insert(index, content) => packed::insert(pack, index % (len + 1), content),
        Op::Replace(index, content) if len > 0 => packed::replace(pack, index % len, content),
        Op::Replace(..) => {}
        Op::Remove(index, count) => packed::remove(pack, index % (len + 1), *count),
        Op::RemoveEnd(End::Front, count) => packed::remove(pack, 0, *count),
        Op::RemoveEnd(End::Back, count) => packed::remove(pack, len - count.min(&len), *count),
        Op::RemoveMatching(content, max, direction) => {
            return (None, packed::remove_matching(pack, &Needle::new(content), *max, *direction));
        }
    }
    (None, 0)
}

fn pop_packed(pack: &mut Vec<u8>, index: usize) -> Option<Vec<u8>> {
    let popped = ListRef::Packed(Listpack::trusted(pack)).get(index, |element| element.to_vec())?;
    packed::remove(pack, index, 1);
    Some(popped)
}

fn walked(list: ListRef<'_>, index: usize, count: usize, direction: Direction) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    let flow = list.walk(index, count, direction, &mut |element| {
        seen.push(element.to_vec());
        ControlFlow::Continue(())
    });
    assert!(flow.is_continue());
    seen
}

fn check(list: ListRef<'_>, model: &Model) {
    assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
    assert!(walked(list, 0, usize::MAX, Direction::Forward).iter().eq(model));
    for index in (0..model.len() + 2).step_by(1 + model.len() / 7) {
        let forward = walked(list, index, 9, Direction::Forward);
        assert!(forward.iter().eq(model.iter().skip(index).take(9)), "from {index}");
        let backward = walked(list, index, 9, Direction::Backward);
        let expected = (0..=index).rev().take(9).filter_map(|index| model.get(index));
        assert!(index >= model.len() || backward.iter().eq(expected), "back from {index}");
        assert_eq!(list.get(index, |element| element.to_vec()), model.get(index).cloned());
    }
    for needle in [b"7".as_slice(), b"element:3", b"absent"] {
        assert_eq!(list.find(&Needle::new(needle)), model.iter().position(|content| content == needle));
    }
}

fn rdb_len(len: usize) -> u64 {
    len as u64
        + match len {
            0..64 => 1,
            64..16_384 => 2,
            _ => 5,
        }
}

fn check_list(list: &PackedList, model: &Model) {
    list.check_invariants();
    check(ListRef::Nodes(list), model);
    assert_eq!(list.rdb_len(), model.iter().map(|content| rdb_len(content.len())).sum::<u64>());
    assert_eq!(list.nodes().count(), list.node_count());
}

proptest! {
    #[test]
    fn nodes_agree_with_a_deque(limits in limits(), ops in prop::collection::vec(op(), 0..500)) {
        let (mut list, mut model) = (PackedList::new(limits), Model::new());
        for (index, op) in ops.iter().enumerate() {
            prop_assert_eq!(apply(&mut list, op), apply_to_model(&mut model, op));
            if index % 16 == 0 {
                list.check_invariants();
            }
        }
        check_list(&list, &model);
        check_list(&list.duplicate(), &model);
        list.remove(0, usize::MAX);
        check_list(&list, &Model::new());
    }

    #[test]
    fn a_list_is_read_as_it_was(
        limits in limits(),
        ops in prop::collection::vec(op(), 0..300),
        stretches in prop::collection::vec((0..200usize, 0..150usize, 1..9usize), 1..6),
    ) {
        let (mut list, mut model) = (PackedList::new(limits), Model::new());
        let mut readings: Vec<(ListReading, usize, Model, Vec<Vec<u8>>)> = Vec::new();
        for (number, op) in ops.iter().enumerate() {
            apply(&mut list, op);
            apply_to_model(&mut model, op);
            let (index, count, wanted) = stretches[number % stretches.len()];
            if number % 40 == 20 {
                let expected = model.iter().skip(index).take(count).cloned().collect();
                readings.push((list.read(index, count), wanted, expected, Vec::new()));
            }
            for (reading, wanted, _, shown) in &mut readings {
                reading.next(*wanted, &mut |element| shown.push(element.to_vec()));
            }
        }
        list.check_invariants();
        drop(list);
        for (mut reading, wanted, expected, mut shown) in readings {
            prop_assert_eq!(reading.left() + shown.len(), expected.len());
            while reading.next(wanted, &mut |element| shown.push(element.to_vec())) {}
            prop_assert_eq!(expected, shown);
        }
    }

    #[test]
    fn a_packed_list_agrees_with_a_deque(limits in limits(), ops in prop::collection::vec(op(), 0..120)) {
        let (mut pack, mut model) = (Listpack::new_empty(), Model::new());
        for op in &ops {
            prop_assert_eq!(apply_packed(&mut pack, op), apply_to_model(&mut model, op));
        }
        let view = Listpack::validate(&pack, true).expect("is valid");
        check(ListRef::Packed(view), &model);
        check_list(&PackedList::from_packed(view, limits), &model);
    }
}

fn numbered(count: usize, limits: Limits, end: End) -> PackedList {
    let mut list = PackedList::new(limits);
    for index in 0..count {
        list.push(end, format!("element:{index:08}").as_bytes());
    }
    list
}

#[test]
fn every_element_of_a_long_list_is_found_by_its_index() {
    for (limits, count) in [(Limits::default(), 300_000), (Limits::new(1, 0), 5000), (Limits::new(1, 3), 500)]
    {
        let mut list = numbered(count, limits, End::Back);
        list.check_invariants();
        for index in (0..count).step_by(count / 500) {
            let element = ListRef::Nodes(&list).get(index, |element| element.to_vec());
            assert_eq!(element, Some(format!("element:{index:08}").into_bytes()));
        }
        for index in (0..count / 2).rev().step_by(7) {
            list.remove(index, 1);
            list.insert(index, b"other");
        }
        list.check_invariants();
        assert_eq!(list.len(), count);
    }
}

#[test]
fn memory_is_what_the_elements_take() {
    let check = |end, per_element: f64| {
        let list = numbered(100_000, Limits::default(), end);
        list.check_invariants();
        let each = list.memory() as f64 / 100_000.0;
        // 16 bytes behind two of lengths.
        assert!(each < per_element, "{each} bytes");
    };
    check(End::Back, 18.5);
    check(End::Front, 18.5);
    let mut short = PackedList::default();
    short.push(End::Back, b"short");
    assert!(short.memory() <= 64 + 128 + 40, "{}", short.memory());
}

#[test]
fn a_queue_keeps_no_memory() {
    for (push, pop) in [(End::Front, End::Back), (End::Back, End::Front), (End::Back, End::Back)] {
        let mut list = numbered(1000, Limits::default(), push);
        let before = list.memory();
        for index in 0..50_000 {
            list.push(push, format!("element:{index:08}").as_bytes());
            assert!(list.pop(pop, |element| element.len() == 16).expect("is not empty"));
        }
        list.check_invariants();
        assert!(list.memory() < before + 16 * 1024, "{} after {before}", list.memory());
    }
}

#[test]
fn pushing_at_both_ends_in_turn() {
    let mut list = PackedList::default();
    let mut model = Model::new();
    for index in 0..20_000u32 {
        let (end, content) = (if index % 2 == 0 { End::Front } else { End::Back }, index.to_string());
        let op = Op::Push(end, content.into_bytes());
        assert_eq!(apply(&mut list, &op), apply_to_model(&mut model, &op));
    }
    check_list(&list, &model);
}

#[test]
fn small_neighbours_are_joined() {
    let mut list = numbered(100_000, Limits::default(), End::Back);
    let before = list.node_count();
    for index in (1..99_000).rev() {
        if index % 10 != 0 {
            list.remove(index, 1);
        }
    }
    list.check_invariants();
    assert!(list.node_count() < before / 5, "{} nodes of {before}", list.node_count());
    let mut list = PackedList::default();
    for index in 0..100_000u32 {
        list.push(End::Back, if index % 10 == 0 { b"kept" } else { b"gone" });
    }
    let before = list.node_count();
    assert_eq!(list.remove_matching(&Needle::new(b"gone"), usize::MAX, Direction::Backward), 90_000);
    list.check_invariants();
    assert!(list.node_count() < before / 5, "{} nodes of {before}", list.node_count());
}

#[test]
fn inner_nodes_are_compressed() {
    let compressed = |list: &PackedList| -> Vec<bool> {
        list.nodes().map(|node| matches!(node, NodeRef::Compressed { .. })).collect()
    };
    let check = |list: &PackedList, depth: usize| {
        list.check_invariants();
        let flags = compressed(list);
        let inner = depth..flags.len() - depth;
        assert!(flags.iter().enumerate().all(|(index, &flag)| flag == inner.contains(&index)), "{flags:?}");
    };
    for depth in 1..4 {
        for end in [End::Front, End::Back] {
            let mut list = numbered(20_000, Limits::new(-1, depth), end);
            check(&list, depth);
            assert!(list.memory() < 200_000, "{}", list.memory());
            list.insert(10_000, b"in the middle");
            check(&list, depth);
            list.replace(9000, &[b'x'; 5000]);
            list.remove(8500, 900);
            list.remove(0, 700);
            assert_eq!(list.remove_matching(&Needle::new(b"in the middle"), 1, Direction::Forward), 1);
            list.check_invariants();
            list.remove(50, usize::MAX);
            assert!(!compressed(&list).contains(&true));
        }
    }
    let mut rng = Rng::from_seed(1);
    let random: Vec<u8> = (0..3000).map(|_| rng.below(256) as u8).collect();
    let mut list = PackedList::new(Limits::new(1, 1));
    (0..10).for_each(|_| list.push(End::Back, &random));
    assert!(!compressed(&list).contains(&true), "what does not become shorter stays as it is");
}

#[test]
fn redis_limits() {
    let check = |size, len, count, exceeded| {
        assert_eq!(Limits::new(size, 0).are_exceeded_by(len, count), exceeded, "{size}: {len}, {count}");
    };
    check(-1, 4096, 5000, false);
    check(-1, 4097, 1, true);
    check(-2, 8192, 5000, false);
    check(-2, 8193, 1, true);
    check(-5, 65_536, 1, false);
    check(-9, 65_536, 1, false);
    check(-9, 65_537, 1, true);
    check(5, 100, 5, false);
    check(5, 100, 6, true);
    check(5, 8193, 1, true);
    check(0, 100, 1, false);
    check(0, 100, 2, true);
    check(i64::MAX, 8000, 32_767, false);
    check(i64::MAX, 8000, 32_768, true);
    assert_eq!(Limits::default(), Limits::new(-2, 0));
}

#[test]
fn a_list_is_packed_again_when_it_is_small() {
    let check = |limits: Limits, count: usize, grown: bool, shrunk: bool| {
        let list = numbered(count, limits, End::Back);
        assert_eq!(list.as_packed(Shrinking::No).is_some(), grown, "{limits:?}, {count}");
        assert_eq!(list.as_packed(Shrinking::Yes).is_some(), shrunk, "{limits:?}, {count}");
    };
    // Elements of 18 bytes and a frame of 7.
    check(Limits::default(), 227, true, true);
    check(Limits::default(), 228, true, false);
    check(Limits::default(), 454, true, false);
    check(Limits::default(), 455, false, false);
    check(Limits::new(5, 0), 2, true, true);
    check(Limits::new(5, 0), 3, true, false);
    check(Limits::new(5, 0), 6, false, false);
    check(Limits::new(1, 0), 1, true, false);
    check(Limits::default().with_plain_from(3), 1, false, false);
}

#[test]
fn long_elements_are_nodes_of_their_own() {
    let nodes = |list: &PackedList| -> Vec<Option<usize>> {
        let plain = |node| if let NodeRef::Plain(element) = node { Some(element.len()) } else { None };
        list.nodes().map(plain).collect()
    };
    let mut list = PackedList::default();
    [3, 8178, 8179, 4].iter().for_each(|&len| list.push(End::Back, &vec![b'x'; len]));
    assert_eq!(nodes(&list), [None, None, Some(8179), None]);
    list.replace(3, &[b'y'; 9000]);
    assert_eq!(nodes(&list), [None, None, Some(8179), Some(9000)]);
    list.replace(2, b"short");
    list.insert(1, &[b'z'; 10_000]);
    assert_eq!(nodes(&list), [None, Some(10_000), None, None, Some(9000)]);
    list.append_element(vec![b'a'; 20_000]);
    list.append_element(b"short".to_vec());
    assert_eq!(nodes(&list)[4..], [Some(9000), Some(20_000), None]);
    list.check_invariants();
}

#[test]
fn listpacks_are_taken_as_nodes() {
    let pack_of = |count: usize| {
        let mut pack = Listpack::new_empty();
        (0..count).for_each(|index| listpack::push_back(&mut pack, index.to_string().as_bytes()));
        pack
    };
    let mut list = PackedList::new(Limits::new(4, 1));
    for count in [0, 1, 10, 3000, 40_000, 0] {
        list.append_pack(pack_of(count));
        list.check_invariants();
    }
    assert_eq!(list.len(), 43_011);
    assert_eq!(list.node_count(), 3 + 40_000 / 4);
    assert_eq!(ListRef::Nodes(&list).get(43_010, |element| element.to_vec()), Some(b"39999".to_vec()));
}
