//! The sorted set in both forms against a sorted vector.
#![no_main]

use ds::listpack::Listpack;
use ds::sorted_set::{
    Direction, Interval, ScoreBound, ScoredTable, SortedSetRef, packed_remove, packed_remove_ranks,
    packed_set,
};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

/// Members in order.
#[derive(Default)]
struct Model(Vec<(f64, Vec<u8>)>);

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let (mut table, mut model) = packed(&mut choices);
    while !choices.is_empty() {
        step(&mut table, &mut model, &mut choices);
    }
    table.check_invariants();
    look(SortedSetRef::Table(&table), &model, &mut choices);
    table.duplicate().check_invariants();
});

/// The first changes are to a packed set, which then becomes a table.
fn packed(choices: &mut Choices<'_>) -> (ScoredTable, Model) {
    let (mut pack, mut model) = (Listpack::new_empty(), Model::default());
    for _ in 0..choices.byte() % 64 {
        let member = member(choices);
        match choices.byte() % 8 {
            0 => assert_eq!(packed_remove(&mut pack, &member), model.remove(&member)),
            1 => {
                let start = choices.below(8).min(model.0.len());
                let end = model.0.len().min(start + choices.below(4));
                packed_remove_ranks(&mut pack, start, end - start);
                model.0.drain(start..end);
            }
            _ => {
                let score = score(choices);
                assert_eq!(packed_set(&mut pack, &member, score), model.set(&member, score));
            }
        }
    }
    let view = Listpack::validate(&pack, true).expect("it is sound after every change");
    look(SortedSetRef::Packed(view), &model, choices);
    (ScoredTable::from_packed(view), model)
}

fn step(table: &mut ScoredTable, model: &mut Model, choices: &mut Choices<'_>) {
    match choices.byte() % 8 {
        0 => {
            let member = member(choices);
            assert_eq!(table.remove(&member), model.remove(&member));
        }
        1 => {
            let start = choices.below(1000).min(model.0.len());
            let end = model.0.len().min(start + choices.below(200));
            let mut removed = Vec::new();
            table.remove_ranks(start..end, |item| removed.push((item.score(), item.member().to_vec())));
            assert!(removed.into_iter().eq(model.0.drain(start..end)));
        }
        2 => {
            let (mut score, by) = (score(choices), f64::from(choices.byte() as i8));
            for index in 0..choices.below(300) {
                let member = format!("fill:{index}").into_bytes();
                assert_eq!(table.set(&member, score), model.set(&member, score));
                score = if (score + by).is_nan() { score } else { score + by };
            }
        }
        _ => {
            let (member, score) = (member(choices), score(choices));
            assert_eq!(table.set(&member, score), model.set(&member, score));
        }
    }
}

fn look(set: SortedSetRef<'_>, model: &Model, choices: &mut Choices<'_>) {
    assert_eq!(set.len(), model.0.len());
    let all = |direction| set.items(0..set.len(), direction).map(|item| (item.score, item.member.to_vec()));
    assert!(all(Direction::Ascending).eq(model.0.iter().cloned()));
    assert!(all(Direction::Descending).eq(model.0.iter().rev().cloned()));
    for (rank, (score, member)) in model.0.iter().enumerate() {
        assert_eq!(set.rank(member), Some((rank, *score)));
    }
    let (min, max) = (score(choices), score(choices));
    let ranks = set.ranks(Interval::Scores(ScoreBound::Inclusive(min), ScoreBound::Exclusive(max)));
    assert_eq!(ranks.len(), model.0.iter().filter(|item| item.0 >= min && item.0 < max).count());
}

impl Model {
    fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let old = self.remove(member);
        let precedes =
            |item: &(f64, Vec<u8>)| item.0 < score || item.0 == score && item.1.as_slice() < member;
        let at = self.0.partition_point(precedes);
        self.0.insert(at, (score, member.to_vec()));
        old
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let at = self.0.iter().position(|item| item.1 == member)?;
        Some(self.0.remove(at).0)
    }
}

fn member(choices: &mut Choices<'_>) -> Vec<u8> {
    let number = choices.below(600);
    if number.is_multiple_of(3) {
        number.to_string().into_bytes()
    } else {
        format!("member:{number}").into_bytes()
    }
}

/// Now and then any double but a NaN.
fn score(choices: &mut Choices<'_>) -> f64 {
    let number = choices.below(65_536);
    if number.is_multiple_of(4) {
        let bytes = std::array::from_fn(|_| choices.byte());
        let any = f64::from_bits(u64::from_le_bytes(bytes));
        return if any.is_nan() { -0.0 } else { any };
    }
    (number % 256) as f64 / 4.0
}
