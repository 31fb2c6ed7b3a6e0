//! A list that changes while several snapshots save it: each gets every byte of every node of its own moment
//! once, at its place among the bytes of all.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use base::random::Rng;
use ds::list::{Direction, End, Limits, NodeRef, PackedList};
use ds::listpack::Needle;
use ds::saving::{Piece, Savable, Saver};

#[derive(Default)]
struct Seen {
    /// All nodes as they are stored; `None` is still to come.
    stored: Vec<Option<u8>>,
    pieces: Vec<Range<u64>>,
}

struct Collector(Arc<Mutex<Seen>>);

impl Saver for Collector {
    fn save(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
        let Piece::Nodes { at, nodes, .. } = piece else { panic!("lists are made of nodes") };
        let mut seen = self.0.lock().expect("no test panics with it");
        let begin = at as usize;
        let mut end = begin;
        for (node, part) in nodes.parts() {
            for byte in &stored(node)[part.start as usize..part.end as usize] {
                assert!(seen.stored[end].replace(*byte).is_none(), "the byte at {end} comes twice");
                end += 1;
            }
        }
        assert_eq!((end - begin) as u64, nodes.stored_len());
        seen.pieces.push(at..end as u64);
        ControlFlow::Break(())
    }

    fn lacks_room(&self) -> bool {
        self.0.lock().expect("no test panics with it").pieces.len() % 3 == 2
    }
}

/// As many bytes as a node is stored in: its content behind something.
fn stored(node: NodeRef<'_>) -> Vec<u8> {
    let content = match node {
        NodeRef::Packed(pack) => pack.bytes(),
        NodeRef::Plain(element) => element,
        NodeRef::Compressed { lzf, .. } => lzf,
    };
    let mut stored = vec![0xFE; node.stored_len() as usize - content.len()];
    stored.extend_from_slice(content);
    stored
}

fn all_nodes(list: &PackedList) -> Vec<u8> {
    let all: Vec<u8> = list.nodes().flat_map(stored).collect();
    assert_eq!(all.len() as u64, list.stored_len());
    all
}

/// One saving, and what it has to come to.
struct Begun {
    number: u32,
    expected: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
}

fn begin(list: &mut PackedList, number: u32) -> Begun {
    let expected = all_nodes(list);
    let seen = Seen { stored: vec![None; expected.len()], pieces: Vec::new() };
    let seen = Arc::new(Mutex::new(seen));
    list.begin_saving(number, Box::new(Collector(Arc::clone(&seen))));
    Begun { number, expected, seen }
}

fn finish(list: &mut PackedList, begun: &Begun) {
    while list.save_on(begun.number) {}
    assert!(list.end_saving(begun.number).is_some());
    let seen = begun.seen.lock().expect("no test panics with it");
    let same = seen.stored.iter().zip(&begun.expected).all(|(seen, expected)| *seen == Some(*expected));
    assert!(same, "saving {} has other nodes", begun.number);
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
    let pieces = begun.seen.lock().expect("no test panics with it").pieces.clone();
    let bytes = pieces.iter().map(|piece| piece.end - piece.start).sum();
    finish(&mut list, &begun);
    bytes
}

#[test]
fn a_write_hands_over_what_it_changes() {
    type Write = fn(&mut PackedList);
    let writes: [(&str, Write, u64); 5] = [
        ("replace", |list| list.replace(25_000, b"new"), NODE_PAGES),
        ("push", |list| list.push(End::Back, &[b'n'; 9000]), NODE_PAGES),
        ("pop", |list| _ = list.pop(End::Front, |_| ()), NODE_PAGES),
        ("insert", |list| list.insert(25_000, b"new"), NODE_PAGES),
        ("remove", |list| list.remove(25_000, 1), 3 * NODE_PAGES),
    ];
    for (name, write, most) in writes {
        let bytes = handed_over(Limits::default(), 50_000, write);
        assert!((1..=most).contains(&bytes), "{name}: {bytes}");
    }
    // Of a list of short nodes it is a chunk, so that their places need not be noted.
    let bytes = handed_over(Limits::new(1, 0), 5_000, |list| list.replace(2500, b"new"));
    assert!((1000..=16 * 1024).contains(&bytes), "short nodes: {bytes}");
}

/// Of long elements no piece is long, whether they are changed or not.
#[test]
fn long_elements_are_saved_in_pieces() {
    let mut list = filled(Limits::default(), 300, 80);
    for at in [0, 100, 300] {
        list.insert(at, &vec![b'l'; 3_000_000 + at]);
    }
    let begun = begin(&mut list, 1);
    (0..20).for_each(|_| assert!(list.save_on(1)));
    list.replace(100, b"short");
    finish(&mut list, &begun);
    let pieces = begun.seen.lock().expect("no test panics with it").pieces.clone();
    let longest = pieces.iter().map(|piece| piece.end - piece.start).max();
    assert!(longest.is_some_and(|len| len <= 128 * 1024), "{longest:?}");
}

const PAGE: u64 = 4096;
/// A node of 8 KB and the pages that it begins and ends in.
const NODE_PAGES: u64 = 4 * PAGE;

/// A page that two parts of a file share would be read back from the disk between them.
#[test]
fn pieces_end_with_pages() {
    let mut rng = Rng::from_seed(1);
    let mut list = filled(Limits::default(), 200_000, 80);
    let begun = begin(&mut list, 1);
    for _ in 0..2000 {
        list.replace(rng.below(200_000) as usize, &[b'n'; 80]);
        list.save_on(1);
    }
    finish(&mut list, &begun);
    let pieces = begun.seen.lock().expect("no test panics with it").pieces.clone();
    let odd = pieces.iter().filter(|piece| piece.end % PAGE > 0).count();
    let chunks = list.node_count() / 64;
    assert!(odd <= chunks + 1, "{odd} of {} pieces, {chunks} chunks", pieces.len());
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
