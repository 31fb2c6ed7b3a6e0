//! A list that changes while several snapshots save it: each gets every node of its own moment once, at its
//! place among the bytes of all.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use base::random::Rng;
use ds::list::{Direction, End, Limits, NodeRef, PackedList};
use ds::listpack::Needle;
use ds::saving::{Piece, Savable, Saver};

/// Nodes by where they begin: how many bytes each is stored in, and its content.
type Stored = BTreeMap<u64, (u64, Vec<u8>)>;

#[derive(Default)]
struct Seen {
    stored: Stored,
    pieces: usize,
}

struct Collector(Arc<Mutex<Seen>>);

impl Saver for Collector {
    fn save(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
        let Piece::Nodes { mut at, nodes } = piece else { panic!("lists are made of nodes") };
        let mut seen = self.0.lock().expect("no test panics with it");
        seen.pieces += 1;
        for node in nodes.iter() {
            let old = seen.stored.insert(at, stored(node));
            assert!(old.is_none(), "the node at {at} comes twice");
            at += node.stored_len();
        }
        ControlFlow::Break(())
    }
}

fn stored(node: NodeRef<'_>) -> (u64, Vec<u8>) {
    let content = match node {
        NodeRef::Packed(pack) => pack.bytes(),
        NodeRef::Plain(element) => element,
        NodeRef::Compressed { lzf, .. } => lzf,
    };
    (node.stored_len(), content.to_vec())
}

fn all_nodes(list: &PackedList) -> Stored {
    let mut at = 0;
    let begin = |node: NodeRef<'_>| {
        let start = at;
        at += node.stored_len();
        (start, stored(node))
    };
    let all = list.nodes().map(begin).collect();
    assert_eq!(at, list.stored_len());
    all
}

/// One saving, and what it has to come to.
struct Begun {
    number: u32,
    expected: Stored,
    seen: Arc<Mutex<Seen>>,
}

fn begin(list: &mut PackedList, number: u32) -> Begun {
    let (expected, seen) = (all_nodes(list), Arc::default());
    list.begin_saving(number, Box::new(Collector(Arc::clone(&seen))));
    Begun { number, expected, seen }
}

fn finish(list: &mut PackedList, begun: &Begun) {
    while list.save_on(begun.number) {}
    assert!(list.end_saving(begun.number).is_some());
    let seen = begun.seen.lock().expect("no test panics with it");
    assert!(seen.stored == begun.expected, "saving {} has other nodes", begun.number);
}

fn filled(limits: Limits, count: usize, element_len: usize) -> PackedList {
    let mut list = PackedList::new(limits);
    for index in 0..count {
        list.push(End::Back, format!("{index:0element_len$}").as_bytes());
    }
    list
}

/// A random change; the weight of most lies on where it happens, so that chunks fill up and run empty.
fn change(list: &mut PackedList, rng: &mut Rng, focus: usize) {
    let len = list.len();
    let end = if rng.below(2) == 0 { End::Front } else { End::Back };
    let index = (focus + rng.below(200) as usize).min(len.saturating_sub(1));
    let content = vec![b'x'; rng.below(200) as usize];
    match rng.below(12) {
        0..=2 => list.push(end, &content),
        3..=4 => _ = list.pop(end, |_| ()),
        5..=6 => list.insert(index, &content),
        7..=8 if len > 0 => list.replace(index, &content),
        9 => list.remove(index, rng.below(60) as usize),
        10 => _ = list.remove_matching(&Needle::new(b"x"), 3, Direction::Forward),
        _ => list.insert(index, &vec![b'y'; 10_000]),
    }
}

#[test]
fn each_saving_gets_the_nodes_of_its_moment() {
    for seed in 0..120 {
        let mut rng = Rng::from_seed(seed);
        let limits = [Limits::new(-2, 0), Limits::new(-1, 2), Limits::new(1, 0), Limits::new(3, 1)];
        let limits = limits[seed as usize % limits.len()];
        let mut list = filled(limits, 200 + rng.below(3000) as usize, 1 + rng.below(300) as usize);
        let (mut running, mut number) = (Vec::new(), 0);
        let mut focus = 0;
        for step in 0..1500 {
            if step % 100 == 0 {
                focus = rng.below(1 + list.len() as u64) as usize;
                list.check_invariants();
            }
            match rng.below(60) {
                0 if running.len() < 3 => {
                    number += 1;
                    running.push(begin(&mut list, number));
                }
                1 if !running.is_empty() => {
                    let ended = running.swap_remove(rng.below(running.len() as u64) as usize);
                    finish(&mut list, &ended);
                }
                2..=4 => running.iter().for_each(|begun| _ = list.save_on(begun.number)),
                _ => change(&mut list, &mut rng, focus),
            }
        }
        running.iter().for_each(|begun| finish(&mut list, begun));
        list.check_invariants();
    }
}

/// How many bytes come out before a change of one element.
fn handed_over(limits: Limits, count: usize, write: impl FnOnce(&mut PackedList)) -> u64 {
    let mut list = filled(limits, count, 80);
    let begun = begin(&mut list, 1);
    write(&mut list);
    let bytes = begun.seen.lock().expect("no test panics with it").stored.values().map(|(len, _)| len).sum();
    finish(&mut list, &begun);
    bytes
}

#[test]
fn a_write_hands_over_what_it_changes() {
    type Write = fn(&mut PackedList);
    let writes: [(&str, Write, u64); 5] = [
        ("replace", |list| list.replace(25_000, b"new"), 9_000),
        ("push", |list| list.push(End::Back, &[b'n'; 9000]), 9_000),
        ("pop", |list| _ = list.pop(End::Front, |_| ()), 9_000),
        ("insert", |list| list.insert(25_000, b"new"), 9_000),
        ("remove", |list| list.remove(25_000, 1), 3 * 9_000),
    ];
    for (name, write, most) in writes {
        let bytes = handed_over(Limits::default(), 50_000, write);
        assert!((1..=most).contains(&bytes), "{name}: {bytes}");
    }
    // Of a list of short nodes it is a chunk, so that their places need not be noted.
    let bytes = handed_over(Limits::new(1, 0), 5_000, |list| list.replace(2500, b"new"));
    assert!((1000..=16 * 1024).contains(&bytes), "short nodes: {bytes}");
}

#[test]
fn a_quantum_is_short() {
    let mut list = filled(Limits::new(-5, 0), 50_000, 80);
    let begun = begin(&mut list, 1);
    let mut quanta = 0;
    while list.save_on(1) {
        quanta += 1;
    }
    assert!(quanta > list.node_count() / 3, "{quanta} for {} nodes of 64 KB", list.node_count());
    finish(&mut list, &begun);
}
