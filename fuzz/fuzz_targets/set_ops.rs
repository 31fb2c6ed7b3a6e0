//! The set in its three forms against an ordered set, and the algebra of sets.
#![no_main]

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use base::num::parse_i64;
use ds::intset::{self, Intset};
use ds::listpack::{Element, Listpack};
use ds::set::{MemberTable, SetRef, packed_insert, packed_remove};
use ds::set_algebra::{difference, intersection, union};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

type Model = BTreeSet<Vec<u8>>;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut state = State::new(&mut choices);
    while !choices.is_empty() {
        state.step(&mut choices);
    }
    state.check();
});

/// A set in each form, and what each should be.
struct State {
    ints: Vec<u8>,
    pack: Vec<u8>,
    table: MemberTable,
    models: [Model; 3],
}

impl State {
    /// Bytes from outside come first: either they are refused, or they are an intset that can be used.
    fn new(choices: &mut Choices<'_>) -> State {
        let raw = choices.bytes(200);
        let raw = if Intset::validate(raw, true).is_ok() { raw.to_vec() } else { Intset::new_empty() };
        let model = Intset::trusted(&raw).iter().map(|value| value.to_string().into_bytes()).collect();
        State {
            ints: raw,
            pack: Listpack::new_empty(),
            table: MemberTable::default(),
            models: [model, Model::new(), Model::new()],
        }
    }

    fn views(&self) -> [SetRef<'_>; 3] {
        [
            SetRef::Ints(Intset::trusted(&self.ints)),
            SetRef::Packed(Listpack::trusted(&self.pack)),
            SetRef::Table(&self.table),
        ]
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let (form, kind, member) = (choices.below(3), choices.byte() % 8, member(choices));
        match (form, parse_i64(&member), kind) {
            (_, _, 7) => self.look(choices),
            (0, None, _) => {}
            (0, Some(value), 0..3) => {
                assert_eq!(intset::remove(&mut self.ints, value), self.models[0].remove(&member));
            }
            (0, Some(value), _) => {
                assert_eq!(intset::insert(&mut self.ints, value), self.models[0].insert(member));
            }
            (1, _, 0..3) => {
                assert_eq!(packed_remove(&mut self.pack, &member), self.models[1].remove(&member))
            }
            (1, _, _) if self.models[1].len() < 200 => {
                assert_eq!(packed_insert(&mut self.pack, &member), self.models[1].insert(member));
            }
            (1, _, _) => {}
            (_, _, 0..2) => assert_eq!(self.table.remove(&member).is_some(), self.models[2].remove(&member)),
            (_, _, 2) => {
                let removed = self.table.remove_random(&mut |bound| choices.below(65_536) as u64 % bound);
                assert_eq!(removed.is_none(), self.models[2].is_empty());
                assert!(removed.is_none_or(|removed| self.models[2].remove(removed.bytes())));
            }
            _ => assert_eq!(self.table.insert(&member), self.models[2].insert(member)),
        }
    }

    fn look(&self, choices: &mut Choices<'_>) {
        let member = member(choices);
        for (set, model) in self.views().into_iter().zip(&self.models) {
            assert_eq!(set.contains(&member), model.contains(&member));
            let count = choices.below(100);
            let sample = set.sample(count, &mut |bound| choices.below(65_536) as u64 % bound);
            let distinct: Model = sample.iter().map(|member| member.to_vec()).collect();
            assert!(distinct.len() == count.min(model.len()) && distinct.is_subset(model));
        }
    }

    fn check(&self) {
        self.table.check_invariants();
        assert!(Intset::validate(&self.ints, true).is_ok() && Listpack::validate(&self.pack, true).is_ok());
        for (set, model) in self.views().into_iter().zip(&self.models) {
            let members: Vec<_> = set.iter().map(Element::to_vec).collect();
            assert_eq!((set.len(), members.len()), (model.len(), model.len()));
            assert_eq!(members.into_iter().collect::<Model>(), *model);
        }
        let [one, two, three] = &self.models;
        let seen = |walk: &mut dyn FnMut(&mut [SetRef<'_>], &mut Model)| {
            let mut seen = Model::new();
            walk(&mut self.views(), &mut seen);
            seen
        };
        let common: Model = (&(one & two) & three).into_iter().collect();
        assert_eq!(seen(&mut |sets, seen| intersection(sets, &mut |member| once(seen, member))), common);
        let all: Model = (&(one | two) | three).into_iter().collect();
        assert_eq!(seen(&mut |sets, seen| union(sets, &mut |member| once(seen, member))), all);
        let left: Model = (&(one - two) - three).into_iter().collect();
        let subtract = &mut |sets: &mut [SetRef<'_>], seen: &mut Model| {
            difference(sets[0], &mut sets[1..], &mut |member| once(seen, member));
        };
        assert_eq!(seen(subtract), left);
    }
}

fn once(seen: &mut Model, member: Element<'_>) -> ControlFlow<()> {
    assert!(seen.insert(member.to_vec()), "a member is visited once");
    ControlFlow::Continue(())
}

fn member(choices: &mut Choices<'_>) -> Vec<u8> {
    let number = choices.below(600) as i64;
    match choices.byte() % 8 {
        0 => (number << choices.below(55)).to_string().into_bytes(),
        1 => (-number).to_string().into_bytes(),
        2 => choices.bytes(60).to_vec(),
        3 => vec![b'z'; number as usize * 40],
        4 => format!("member:{number}").into_bytes(),
        _ => number.to_string().into_bytes(),
    }
}
