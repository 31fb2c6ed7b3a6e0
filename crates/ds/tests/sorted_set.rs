//! The sorted set in both forms against a sorted vector.

use std::collections::BTreeSet;
use std::ops::Range;

use base::random::Rng;
use ds::listpack::{Element, Listpack};
use ds::sorted_set::{
    Direction, Interval, LexBound, ScoreBound, ScoredTable, SortedSetRef, packed_bytes_needed, packed_push,
    packed_remove, packed_remove_ranks, packed_set,
};
use proptest::prelude::*;

/// Members in order.
#[derive(Default, Debug)]
struct Model(Vec<(f64, Vec<u8>)>);

impl Model {
    fn score(&self, member: &[u8]) -> Option<f64> {
        self.0.iter().find(|item| item.1 == member).map(|item| item.0)
    }

    fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        // A score that only differs in the sign of zero is set, too.
        let old = self.remove(member);
        let at = self.0.partition_point(|item| precedes(item, score, member));
        self.0.insert(at, (score, member.to_vec()));
        old
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let at = self.0.iter().position(|item| item.1 == member)?;
        Some(self.0.remove(at).0)
    }
}

fn precedes(item: &(f64, Vec<u8>), score: f64, member: &[u8]) -> bool {
    item.0 < score || item.0 == score && item.1.as_slice() < member
}

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, f64),
    /// Adds to a score.
    Nudge(Vec<u8>, f64),
    Remove(Vec<u8>),
    RemoveRanks(usize, usize),
    /// Adds so many members in order, up or down.
    Fill(usize, f64, f64),
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..300u32).prop_map(|index| index.to_string().into_bytes()),
        (0..300u32).prop_map(|index| format!("member:{index}").into_bytes()),
        Just(Vec::new()),
        (200..300usize).prop_map(|len| vec![b'm'; len]),
    ]
}

const ODD_SCORES: [f64; 7] = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 5e-324];

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0..1000i32).prop_map(f64::from),
        4 => (-10..10i32).prop_map(|score| f64::from(score) / 3.0),
        2 => any::<f64>().prop_filter("a score is a number", |score| !score.is_nan()),
        1 => prop::sample::select(ODD_SCORES.to_vec()),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (member(), score()).prop_map(|(member, score)| Op::Set(member, score)),
        4 => (member(), -2..3i32).prop_map(|(member, by)| Op::Nudge(member, f64::from(by))),
        6 => member().prop_map(Op::Remove),
        1 => (0..1000usize, 0..300usize).prop_map(|(rank, count)| Op::RemoveRanks(rank, count)),
        1 => (0..600usize, score(), -2..3i32)
            .prop_map(|(count, from, by)| Op::Fill(count, from, f64::from(by))),
    ]
}

fn apply(table: &mut ScoredTable, model: &mut Model, op: Op) {
    match op {
        Op::Set(member, score) => assert_eq!(table.set(&member, score), model.set(&member, score)),
        Op::Nudge(member, by) => {
            let score = model.score(&member).unwrap_or(0.0) + by;
            assert_eq!(table.set(&member, score), model.set(&member, score));
        }
        Op::Remove(member) => assert_eq!(table.remove(&member), model.remove(&member)),
        Op::RemoveRanks(rank, count) => {
            let start = rank.min(model.0.len());
            let ranks = start..model.0.len().min(start + count);
            let mut removed = Vec::new();
            table.remove_ranks(ranks.clone(), |item| removed.push((item.score(), item.member().to_vec())));
            assert_eq!(removed, model.0.drain(ranks).collect::<Vec<_>>());
        }
        Op::Fill(count, from, by) => {
            let mut score = from;
            for index in 0..count {
                let member = format!("fill:{index}");
                assert_eq!(table.set(member.as_bytes(), score), model.set(member.as_bytes(), score));
                score += if score.is_finite() { by } else { 0.0 };
            }
        }
    }
}

fn all(set: SortedSetRef<'_>, ranks: Range<usize>, direction: Direction) -> Vec<(f64, Vec<u8>)> {
    let items = set.items(ranks.clone(), direction);
    assert_eq!(items.len(), ranks.len());
    items.map(|item| (item.score, item.member.to_vec())).collect()
}

fn check(set: SortedSetRef<'_>, model: &Model) {
    let len = model.0.len();
    assert_eq!((set.len(), set.is_empty()), (len, len == 0));
    assert_eq!(all(set, 0..len, Direction::Ascending), model.0);
    // A pack has no -0.0.
    let bits =
        |score: f64| if matches!(set, SortedSetRef::Packed(_)) { score + 0.0 } else { score }.to_bits();
    assert!(set.iter().map(|item| item.score.to_bits()).eq(model.0.iter().map(|item| bits(item.0))));
    for (rank, (score, member)) in model.0.iter().enumerate() {
        assert_eq!(set.rank(member), Some((rank, *score)));
        assert_eq!(set.score(member), Some(*score));
    }
    assert_eq!(set.rank(b"absent"), None);
    for ranks in [0..len, len / 3..len / 2, len / 2..len, 0..len.min(1)] {
        let (mut expected, reversed) = (model.0[ranks.clone()].to_vec(), Direction::Descending);
        assert_eq!(all(set, ranks.clone(), Direction::Ascending), expected);
        expected.reverse();
        assert_eq!(all(set, ranks, reversed), expected);
    }
    let (mut cursor, mut scanned) = (0, BTreeSet::new());
    loop {
        cursor = set.scan(cursor, 10, &mut |item| {
            scanned.insert(item.member.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert!(scanned.into_iter().eq(model.0.iter().map(|item| item.1.clone()).collect::<BTreeSet<_>>()));
}

/// Every range between some scores against a filter.
fn check_score_ranges(set: SortedSetRef<'_>, model: &Model, extra: &[f64]) {
    let step = (model.0.len() / 5).max(1);
    let mut bounds: Vec<f64> = model.0.iter().step_by(step).map(|item| item.0).collect();
    bounds.extend_from_slice(extra);
    bounds.extend([0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY]);
    let ends = |score| [ScoreBound::Inclusive(score), ScoreBound::Exclusive(score)];
    for min in bounds.iter().flat_map(|&score| ends(score)) {
        for max in bounds.iter().flat_map(|&score| ends(score)) {
            let inside = |item: &&(f64, Vec<u8>)| {
                let above = match min {
                    ScoreBound::Inclusive(min) => item.0 >= min,
                    ScoreBound::Exclusive(min) => item.0 > min,
                };
                above
                    && match max {
                        ScoreBound::Inclusive(max) => item.0 <= max,
                        ScoreBound::Exclusive(max) => item.0 < max,
                    }
            };
            let ranks = set.ranks(Interval::Scores(min, max));
            let expected: Vec<_> = model.0.iter().filter(inside).cloned().collect();
            assert_eq!(all(set, ranks, Direction::Ascending), expected, "{min:?} {max:?}");
        }
    }
}

fn check_lex_ranges(set: SortedSetRef<'_>, model: &Model) {
    let some = [b"".as_slice(), b"1", b"150", b"199", b"2", b"fill:1", b"member:", b"member:77", b"z"];
    let mut bounds = vec![LexBound::Lowest, LexBound::Highest];
    bounds.extend(some.iter().flat_map(|bound| [LexBound::Inclusive(bound), LexBound::Exclusive(bound)]));
    for &min in &bounds {
        for &max in &bounds {
            let inside = |item: &&(f64, Vec<u8>)| {
                let above = match min {
                    LexBound::Lowest => true,
                    LexBound::Highest => false,
                    LexBound::Inclusive(min) => item.1.as_slice() >= min,
                    LexBound::Exclusive(min) => item.1.as_slice() > min,
                };
                above
                    && match max {
                        LexBound::Lowest => false,
                        LexBound::Highest => true,
                        LexBound::Inclusive(max) => item.1.as_slice() <= max,
                        LexBound::Exclusive(max) => item.1.as_slice() < max,
                    }
            };
            let ranks = set.ranks(Interval::Members(min, max));
            let expected: Vec<_> = model.0.iter().filter(inside).cloned().collect();
            assert_eq!(all(set, ranks, Direction::Ascending), expected, "{min:?} {max:?}");
        }
    }
}

fn rdb_len(model: &Model) -> u64 {
    let len = |len: usize| len + if len < 64 { 1 } else { 2 } + 8;
    model.0.iter().map(|item| len(item.1.len()) as u64).sum()
}

proptest! {
    #[test]
    fn a_table_agrees_with_a_vector(ops in prop::collection::vec(op(), 0..150), extra in score()) {
        let (mut table, mut model) = (ScoredTable::default(), Model::default());
        for op in ops {
            apply(&mut table, &mut model, op);
        }
        table.check_invariants();
        prop_assert_eq!(table.rdb_len(), rdb_len(&model));
        check(SortedSetRef::Table(&table), &model);
        check_score_ranges(SortedSetRef::Table(&table), &model, &[extra]);
        let copy = table.duplicate();
        copy.check_invariants();
        check(SortedSetRef::Table(&copy), &model);
        let mut removed = 0;
        table.remove_ranks(0..model.0.len(), |_| removed += 1);
        prop_assert_eq!((removed, table.len(), table.rdb_len()), (model.0.len(), 0, 0));
        table.check_invariants();
    }

    #[test]
    fn equal_scores_stand_in_the_order_of_members(
        members in prop::collection::btree_set(member(), 0..500),
        removed in prop::collection::vec(member(), 0..100),
    ) {
        let (mut table, mut model) = (ScoredTable::default(), Model::default());
        for member in &members {
            prop_assert!(table.insert_new(member, 1.0) && !table.insert_new(member, 2.0));
            model.set(member, 1.0);
        }
        for member in &removed {
            prop_assert_eq!(table.remove(member), model.remove(member));
        }
        table.check_invariants();
        check(SortedSetRef::Table(&table), &model);
        check_lex_ranges(SortedSetRef::Table(&table), &model);
    }

    #[test]
    fn a_pack_agrees_with_a_vector(ops in prop::collection::vec(op(), 0..80), extra in score()) {
        let (mut pack, mut model) = (Listpack::new_empty(), Model::default());
        for op in ops {
            match op {
                Op::Set(member, score) | Op::Nudge(member, score) => {
                    let (before, needed) = (pack.len(), packed_bytes_needed(&member, score));
                    let old = packed_set(&mut pack, &member, score);
                    prop_assert_eq!(old, model.set(&member, score));
                    prop_assert!(old.is_some() || pack.len() == before + needed);
                }
                Op::Remove(member) => {
                    prop_assert_eq!(packed_remove(&mut pack, &member), model.remove(&member));
                }
                Op::RemoveRanks(rank, count) => {
                    let start = (rank / 50).min(model.0.len());
                    let count = (count / 50).min(model.0.len() - start);
                    packed_remove_ranks(&mut pack, start, count);
                    model.0.drain(start..start + count);
                }
                Op::Fill(..) => {}
            }
        }
        let pack = Listpack::validate(&pack, true).expect("it is sound after every change");
        check(SortedSetRef::Packed(pack), &model);
        check_score_ranges(SortedSetRef::Packed(pack), &model, &[extra]);
        let table = ScoredTable::from_packed(pack);
        table.check_invariants();
        model.0.iter_mut().for_each(|item| item.0 += 0.0);
        check(SortedSetRef::Table(&table), &model);
    }

    #[test]
    fn lex_ranges_of_a_pack(members in prop::collection::btree_set(member(), 0..40)) {
        let (mut pack, mut model) = (Listpack::new_empty(), Model::default());
        for member in &members {
            packed_push(&mut pack, member, 0.5);
            model.set(member, 0.5);
        }
        check_lex_ranges(SortedSetRef::Packed(Listpack::trusted(&pack)), &model);
    }
}

#[test]
fn packed_scores_are_integers_or_shortest_digits() {
    let check = |score: f64, expected: Element<'_>| {
        let mut pack = Listpack::new_empty();
        packed_set(&mut pack, b"m", score);
        let pack = Listpack::trusted(&pack);
        assert_eq!(pack.iter().nth(1), Some(expected));
        assert_eq!(SortedSetRef::Packed(pack).score(b"m").map(f64::to_bits), Some((score + 0.0).to_bits()));
    };
    check(0.0, Element::Int(0));
    check(-0.0, Element::Int(0));
    check(-17.0, Element::Int(-17));
    check(0.1, Element::Bytes(b"0.1"));
    check(9_007_199_254_740_992.0, Element::Int(1 << 53));
    check(-4_611_686_018_427_387_904.0, Element::Int(-1 << 62));
    check(9_223_372_036_854_775_808.0, Element::Bytes(b"9223372036854776000"));
    check(f64::INFINITY, Element::Bytes(b"inf"));
    check(f64::NEG_INFINITY, Element::Bytes(b"-inf"));
    check(1e300, Element::Bytes(b"1e+300"));
}

#[test]
fn random_members_all_come_up() {
    let check = |set: SortedSetRef<'_>| {
        let mut rng = Rng::from_seed(1);
        let draw = |_| set.random(&mut |bound| rng.below(bound)).map(|item| item.member.to_vec());
        let drawn: BTreeSet<_> = (0..2000).map(draw).collect();
        assert!(!drawn.contains(&None) && drawn.len() == 100);
    };
    let (mut pack, mut table) = (Listpack::new_empty(), ScoredTable::default());
    for index in 0..100 {
        packed_set(&mut pack, index.to_string().as_bytes(), 1.0);
        table.set(index.to_string().as_bytes(), 1.0);
    }
    check(SortedSetRef::Packed(Listpack::trusted(&pack)));
    check(SortedSetRef::Table(&table));
    let (empty, none) = (Listpack::new_empty(), ScoredTable::default());
    assert_eq!(SortedSetRef::Packed(Listpack::trusted(&empty)).random(&mut |_| 0), None);
    assert_eq!(SortedSetRef::Table(&none).random(&mut |_| 0), None);
}

/// Bytes for each member after so many have come, 12 bytes long, with scores as `score` gives them.
fn check_memory(count: u64, most: f64, score: impl Fn(u64) -> f64) {
    let mut table = ScoredTable::default();
    for index in 0..count {
        table.set(format!("f{index:011}").as_bytes(), score(index));
    }
    let each = table.memory() as f64 / count as f64;
    assert!(each < most, "{each} bytes");
    table.check_invariants();
    while table.drain_some(1000) > 0 {}
    assert_eq!(table.memory(), 0);
    table.check_invariants();
}

#[test]
fn a_member_in_a_table_costs_its_block_a_slot_and_a_link() {
    const BLOCK_AND_SLOT: f64 = 24.0 + 10.5;
    check_memory(100_000, BLOCK_AND_SLOT + 9.5, |index| index as f64);
    check_memory(100_000, BLOCK_AND_SLOT + 9.5, |index| -(index as f64));
    check_memory(100_000, BLOCK_AND_SLOT + 11.0, |index| (index * 7919 % 100_003) as f64);
    let mut rng = Rng::from_seed(7);
    let random: Vec<f64> = (0..100_000).map(|_| rng.unit()).collect();
    check_memory(100_000, BLOCK_AND_SLOT + 11.0, |index| random[index as usize]);
    check_memory(100_000, BLOCK_AND_SLOT + 11.0, |_| 1.0);
}

/// High enough for branches above branches, and down again.
#[test]
fn a_large_set_grows_changes_and_shrinks() {
    const MEMBERS: u64 = 20_000;
    let (mut table, mut model) = (ScoredTable::default(), BTreeSet::new());
    let mut scores = vec![None; MEMBERS as usize];
    let mut rng = Rng::from_seed(3);
    for step in 0..200_000 {
        let index = rng.below(MEMBERS) as usize;
        let member = format!("member:{index:05}");
        let score = (rng.below(50_000) as f64).floor();
        // Grows at first, shrinks in the end.
        if rng.below(200_000) > step {
            assert_eq!(table.set(member.as_bytes(), score), scores[index].map(f64::from));
            scores[index].replace(score as u32).map(|old| model.remove(&(old, index)));
            model.insert((score as u32, index));
        } else {
            assert_eq!(table.remove(member.as_bytes()), scores[index].map(f64::from));
            scores[index].take().map(|old| model.remove(&(old, index)));
        }
        if step % 40_000 == 0 {
            table.check_invariants();
        }
    }
    table.check_invariants();
    let set = SortedSetRef::Table(&table);
    assert!(set.iter().map(|item| item.score as u32).eq(model.iter().map(|item| item.0)));
    while !table.is_empty() {
        let start = rng.below(table.len() as u64) as usize;
        let end = table.len().min(start + rng.below(400) as usize + 1);
        table.remove_ranks(start..end, |_| {});
    }
    table.check_invariants();
}
