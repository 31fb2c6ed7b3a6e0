//! The list with all kinds of limits against a deque.
#![no_main]

use std::collections::VecDeque;
use std::ops::ControlFlow;

use ds::list::{Direction, End, Limits, ListRef, PackedList, packed};
use ds::listpack::{Listpack, Needle};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

type Model = VecDeque<Vec<u8>>;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let limits = limits(&mut choices);
    let (pack, model) = packed(&mut choices);
    let mut state = State { list: PackedList::from_packed(Listpack::trusted(&pack), limits), model };
    while !choices.is_empty() {
        state.step(&mut choices);
        state.list.check_invariants();
    }
    state.check();
});

fn limits(choices: &mut Choices<'_>) -> Limits {
    let size = i64::from(choices.byte() % 12) - 5;
    let limits = Limits::new(size, usize::from(choices.byte() % 4));
    if choices.is_true() { limits.with_plain_from(choices.below(100)) } else { limits }
}

/// The first changes are to a packed list, which then gets nodes.
fn packed(choices: &mut Choices<'_>) -> (Vec<u8>, Model) {
    let (mut pack, mut model) = (Listpack::new_empty(), Model::new());
    for _ in 0..choices.byte() % 64 {
        let (content, index) = (content(choices), choices.below(64));
        match choices.byte() % 4 {
            0 if index < model.len() => {
                packed::replace(&mut pack, index, &content);
                model[index] = content;
            }
            1 if index < model.len() => {
                packed::remove(&mut pack, index, 1);
                model.remove(index);
            }
            _ => {
                let index = index % (model.len() + 1);
                packed::insert(&mut pack, index, &content);
                model.insert(index, content);
            }
        }
    }
    Listpack::validate(&pack, true).expect("it is sound after every change");
    (pack, model)
}

struct State {
    list: PackedList,
    model: Model,
}

impl State {
    fn step(&mut self, choices: &mut Choices<'_>) {
        let content = content(choices);
        let len = self.model.len();
        let index = choices.below(65_536) % (len + 1);
        match choices.byte() % 8 {
            0 => {
                self.list.push(End::Front, &content);
                self.model.push_front(content);
            }
            1 => {
                self.list.push(End::Back, &content);
                self.model.push_back(content);
            }
            2 => assert_eq!(self.list.pop(End::Front, |front| front.to_vec()), self.model.pop_front()),
            3 => assert_eq!(self.list.pop(End::Back, |back| back.to_vec()), self.model.pop_back()),
            4 if index < len => {
                self.list.replace(index, &content);
                self.model[index] = content;
            }
            5 => {
                let count = choices.below(16);
                self.list.remove(index, count);
                self.model.drain(index..len.min(index + count));
            }
            6 => self.remove_matching(&content, choices),
            _ => {
                self.list.insert(index, &content);
                self.model.insert(index, content);
            }
        }
    }

    fn remove_matching(&mut self, content: &[u8], choices: &mut Choices<'_>) {
        let (max, forward) = (choices.below(4), choices.is_true());
        let mut indexes: Vec<_> = (0..self.model.len()).filter(|&at| self.model[at] == content).collect();
        if !forward {
            indexes.reverse();
        }
        indexes.truncate(max);
        let direction = if forward { Direction::Forward } else { Direction::Backward };
        assert_eq!(self.list.remove_matching(&Needle::new(content), max, direction), indexes.len());
        indexes.sort_unstable();
        for index in indexes.into_iter().rev() {
            self.model.remove(index);
        }
    }

    fn check(&self) {
        let view = ListRef::Nodes(&self.list);
        assert_eq!(view.len(), self.model.len());
        let mut expected = self.model.iter();
        view.for_each(|element| assert!(expected.next().is_some_and(|content| element.eq_bytes(content))));
        let mut expected = self.model.iter().rev();
        let _ =
            view.walk(self.model.len().saturating_sub(1), usize::MAX, Direction::Backward, &mut |element| {
                assert!(expected.next().is_some_and(|content| element.eq_bytes(content)));
                ControlFlow::Continue(())
            });
        assert_eq!(expected.next(), None);
    }
}

fn content(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.byte() % 8 {
        0 => vec![b'z'; choices.below(10_000)],
        1 => choices.bytes(600).to_vec(),
        2 => choices.bytes(8).to_vec(),
        _ => choices.below(12).to_string().into_bytes(),
    }
}
