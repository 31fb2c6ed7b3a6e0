//! Listpacks: what passes the check can be read from both ends and changed like a list.
#![no_main]

use ds::listpack::{self, Element, Listpack};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut pack = choices.bytes(2000).to_vec();
    if Listpack::validate(&pack, true).is_err() {
        pack = Listpack::new_empty();
    }
    let mut list: Vec<Vec<u8>> = Listpack::trusted(&pack).iter().map(Element::to_vec).collect();
    check(&pack, &list);
    while !choices.is_empty() {
        change(&mut pack, &mut list, &mut choices);
    }
    check(&pack, &list);
});

fn change(pack: &mut Vec<u8>, list: &mut Vec<Vec<u8>>, choices: &mut Choices<'_>) {
    let kind = choices.byte() % 5;
    let index = choices.below(list.len().max(1));
    let content = long_content(choices);
    let at = Listpack::trusted(pack).at(index as i64);
    match (kind, at) {
        (0, Some(at)) => {
            listpack::replace(pack, at, &content);
            list[index] = content;
        }
        (1, Some(at)) => {
            let count = choices.below(4).min(list.len() - index);
            listpack::remove(pack, at, count);
            list.drain(index..index + count);
        }
        (2, Some(at)) => {
            listpack::insert(pack, at, &content);
            list.insert(index, content);
        }
        (3, _) => {
            listpack::push_front(pack, &content);
            list.insert(0, content);
        }
        _ => {
            listpack::push_back(pack, &content);
            list.push(content);
        }
    }
}

/// Bytes of the input, a number, or many equal bytes: each encoding comes up.
fn long_content(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.byte() % 4 {
        0 => vec![b'x'; choices.below(5000)],
        1 => i64::from_le_bytes(std::array::from_fn(|_| choices.byte())).to_string().into_bytes(),
        2 => (choices.below(9000) as i64 - 4500).to_string().into_bytes(),
        _ => choices.bytes(100).to_vec(),
    }
}

fn check(pack: &[u8], list: &[Vec<u8>]) {
    let view = Listpack::validate(pack, true).expect("it is sound after every change");
    assert_eq!(view.len(), list.len());
    assert!(view.iter().map(Element::to_vec).eq(list.iter().cloned()));
    assert!(view.iter().rev().map(Element::to_vec).eq(list.iter().rev().cloned()));
    for (index, content) in list.iter().enumerate().take(50) {
        let found = view.find(content, view.first().expect("it is not empty"), 0);
        let first = list.iter().position(|other| other == content).expect("it is there");
        assert_eq!(found, view.at(first as i64));
        assert!(view.element(view.at(index as i64).expect("is there")).eq_bytes(content));
    }
}
