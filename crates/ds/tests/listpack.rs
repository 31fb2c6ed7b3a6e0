//! The listpack against a vector of strings, against bytes made by hand, and against damage.

use ds::listpack::{self, Buffer, Element, Listpack, Position};
use proptest::prelude::*;

fn pack_of(elements: &[&[u8]]) -> Vec<u8> {
    let mut pack = Listpack::new_empty();
    elements.iter().for_each(|element| listpack::push_back(&mut pack, element));
    pack
}

fn strings(pack: Listpack<'_>) -> Vec<Vec<u8>> {
    pack.iter().map(Element::to_vec).collect()
}

#[test]
fn bytes_are_as_redis_writes_them() {
    let check = |element: &[u8], expected: &[u8]| {
        let pack = pack_of(&[element]);
        assert_eq!(&pack[6..pack.len() - 1], expected, "{:?}", String::from_utf8_lossy(element));
        assert_eq!(listpack::bytes_needed(element), expected.len());
        assert_eq!(strings(Listpack::validate(&pack, true).expect("is valid")), [element]);
    };
    check(b"", &[0x80, 1]);
    check(b"ab", &[0x82, b'a', b'b', 3]);
    check(b"0", &[0, 1]);
    check(b"127", &[127, 1]);
    check(b"128", &[0xc0, 128, 2]);
    check(b"4095", &[0xcf, 0xff, 2]);
    check(b"-1", &[0xdf, 0xff, 2]);
    check(b"-4096", &[0xd0, 0, 2]);
    check(b"4096", &[0xf1, 0, 0x10, 3]);
    check(b"-4097", &[0xf1, 0xff, 0xef, 3]);
    check(b"32768", &[0xf2, 0, 0x80, 0, 4]);
    check(b"-8388608", &[0xf2, 0, 0, 0x80, 4]);
    check(b"8388608", &[0xf3, 0, 0, 0x80, 0, 5]);
    check(b"-2147483648", &[0xf3, 0, 0, 0, 0x80, 5]);
    check(b"2147483648", &[0xf4, 0, 0, 0, 0x80, 0, 0, 0, 0, 9]);
    check(b"-9223372036854775808", &[0xf4, 0, 0, 0, 0, 0, 0, 0, 0x80, 9]);
    check(b"9223372036854775808", b"\x939223372036854775808\x14");
    check(b"-0", b"\x82-0\x03");
    check(b"01", b"\x8201\x03");
    check(b"+1", b"\x82+1\x03");
    let long = |len: usize, code: &[u8], back: &[u8]| {
        let content = vec![b'x'; len];
        check(&content, &[code, &content, back].concat());
    };
    long(63, &[0xbf], &[64]);
    long(64, &[0xe0, 64], &[66]);
    long(125, &[0xe0, 125], &[127]);
    long(126, &[0xe0, 126], &[1, 0x80]);
    long(4095, &[0xef, 0xff], &[32, 0x81]);
    long(4096, &[0xf0, 0, 0x10, 0, 0], &[32, 0x85]);
    long(16_377, &[0xf0, 0xf9, 0x3f, 0, 0], &[127, 0xfe]);
    long(16_378, &[0xf0, 0xfa, 0x3f, 0, 0], &[0, 0xff, 0xff]);
    long(2_097_145, &[0xf0, 0xf9, 0xff, 0x1f, 0], &[127, 0xff, 0xfe]);
    long(2_097_146, &[0xf0, 0xfa, 0xff, 0x1f, 0], &[0, 0xff, 0xff, 0xff]);
}

#[test]
fn header_and_empty_pack() {
    let pack = pack_of(&[b"a", b"1"]);
    assert_eq!(pack, [12, 0, 0, 0, 2, 0, 0x81, b'a', 2, 1, 1, 0xff]);
    let empty = Listpack::new_empty();
    let view = Listpack::validate(&empty, true).expect("is valid");
    assert_eq!((view.len(), view.is_empty(), view.first(), view.last()), (0, true, None, None));
    assert_eq!((view.at(0), view.at(-1), view.iter().next()), (None, None, None));
}

#[test]
fn more_elements_than_the_header_counts() {
    let mut pack = Listpack::new_empty();
    for index in 0..65_600u32 {
        listpack::push_back(&mut pack, index.to_string().as_bytes());
        assert!(index > 65_533 || pack[4..6] == (index as u16 + 1).to_le_bytes());
    }
    assert_eq!(pack[4..6], [0xff, 0xff]);
    assert_eq!(Listpack::validate(&pack, true).expect("is valid").len(), 65_600);
    let at = position(&pack, 100);
    listpack::remove(&mut pack, at, 65_000);
    let view = Listpack::validate(&pack, true).expect("is valid");
    assert_eq!(view.len(), 600);
    assert_eq!(view.element(view.at(100).expect("is there")), Element::Int(65_100));
}

#[test]
fn find_leaves_out_values() {
    let pack = pack_of(&[b"a", b"b", b"b", b"7", b"7", b"x"]);
    let view = Listpack::trusted(&pack);
    let first = view.first().expect("is there");
    let check = |needle: &[u8], skip, index: Option<i64>| {
        let found = view.find(needle, first, skip);
        assert_eq!(found, index.and_then(|index| view.at(index)), "{needle:?}");
    };
    check(b"b", 1, Some(2));
    check(b"b", 0, Some(1));
    check(b"7", 1, Some(4));
    check(b"7", 0, Some(3));
    check(b"07", 0, None);
    check(b"x", 1, None);
    check(b"x", 0, Some(5));
    assert_eq!(view.find(b"x", view.end(), 0), None);
}

#[test]
fn damage_is_refused() {
    let check = |bytes: &[u8]| assert!(Listpack::validate(bytes, true).is_err(), "{bytes:?}");
    check(b"");
    check(&[7, 0, 0, 0, 0, 0]);
    check(&[7, 0, 0, 0, 0, 0, 0]);
    check(&[8, 0, 0, 0, 0, 0, 0xff]);
    check(&[7, 0, 0, 0, 1, 0, 0xff]);
    check(&[8, 0, 0, 0, 1, 0, 1, 0xff]);
    check(&[9, 0, 0, 0, 2, 0, 1, 1, 0xff]);
    check(&[9, 0, 0, 0, 1, 0, 1, 2, 0xff]);
    check(&[9, 0, 0, 0, 1, 0, 0xf5, 1, 0xff]);
    check(&[9, 0, 0, 0, 1, 0, 0xbf, 1, 0xff]);
    check(&[13, 0, 0, 0, 1, 0, 0xf0, 0xff, 0xff, 0xff, 0xff, 5, 0xff]);
    assert!(Listpack::validate(&[9, 0, 0, 0, 0xff, 0xff, 1, 1, 0xff], true).is_ok());
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::collection::vec(any::<u8>(), 0..200);
    let near = (0..64u32, -2..3i64).prop_map(|(bits, off)| (1i64 << bits.min(62)).wrapping_add(off));
    let number = prop_oneof![any::<i64>(), near.clone(), near.prop_map(i64::wrapping_neg)];
    prop_oneof![
        4 => text,
        4 => number.prop_map(|value| value.to_string().into_bytes()),
        1 => (4000..20_000usize).prop_map(|len| vec![b'y'; len]),
    ]
}

#[derive(Clone, Debug)]
enum Edit {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    Insert(usize, Vec<u8>),
    InsertAfter(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        content().prop_map(Edit::PushBack),
        content().prop_map(Edit::PushFront),
        (any::<usize>(), content()).prop_map(|(at, content)| Edit::Insert(at, content)),
        (any::<usize>(), content()).prop_map(|(at, content)| Edit::InsertAfter(at, content)),
        (any::<usize>(), content()).prop_map(|(at, content)| Edit::Replace(at, content)),
        (any::<usize>(), 0..4usize).prop_map(|(at, count)| Edit::Remove(at, count)),
    ]
}

fn position(pack: &[u8], index: usize) -> Position {
    Listpack::trusted(pack).at(index as i64).expect("the index is in range")
}

fn apply(pack: &mut Vec<u8>, model: &mut Vec<Vec<u8>>, edit: Edit) {
    let len = model.len();
    match edit {
        Edit::PushBack(content) => {
            listpack::push_back(pack, &content);
            model.push(content);
        }
        Edit::PushFront(content) => {
            listpack::push_front(pack, &content);
            model.insert(0, content);
        }
        _ if len == 0 => {}
        Edit::Insert(at, content) => {
            let at = at % len;
            let found = position(pack, at);
            listpack::insert(pack, found, &content);
            model.insert(at, content);
        }
        Edit::InsertAfter(at, content) => {
            let at = at % len;
            let found = position(pack, at);
            let new = listpack::insert_after(pack, found, &content);
            assert_eq!(new, position(pack, at + 1));
            model.insert(at + 1, content);
        }
        Edit::Replace(at, content) => {
            let found = position(pack, at % len);
            listpack::replace(pack, found, &content);
            model[at % len] = content;
        }
        Edit::Remove(at, count) => {
            let at = at % len;
            let found = position(pack, at);
            listpack::remove(pack, found, count);
            model.drain(at..(at + count).min(len));
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_vector(edits in prop::collection::vec(edit(), 0..60)) {
        let (mut pack, mut model) = (Listpack::new_empty(), Vec::new());
        for edit in edits {
            apply(&mut pack, &mut model, edit);
            let view = Listpack::validate(&pack, true).expect("an edited listpack is valid");
            prop_assert_eq!(view.len(), model.len());
            prop_assert_eq!(&strings(view), &model);
            let backward: Vec<Vec<u8>> = view.iter().rev().map(Element::to_vec).collect();
            prop_assert!(backward.iter().eq(model.iter().rev()));
        }
        let view = Listpack::trusted(&pack);
        for (index, content) in model.iter().enumerate() {
            let at = view.at(index as i64).expect("is there");
            prop_assert_eq!(view.at(index as i64 - model.len() as i64), Some(at));
            prop_assert!(view.element(at).eq_bytes(content));
            prop_assert_eq!(view.element(at).len(), content.len());
            let first = model.iter().position(|other| other == content).expect("is there");
            prop_assert_eq!(view.find(content, view.first().expect("is there"), 0), view.at(first as i64));
        }
        let needed: usize = model.iter().map(|content| listpack::bytes_needed(content)).sum();
        prop_assert_eq!(pack.len(), 7 + needed);
    }

    #[test]
    fn any_bytes_are_accepted_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..60),
        framed: bool,
    ) {
        if framed && bytes.len() > 6 {
            let len = bytes.len() as u32;
            bytes[..4].copy_from_slice(&len.to_le_bytes());
            bytes[4..6].copy_from_slice(&[0xff, 0xff]);
            bytes.pop();
            bytes.push(0xff);
        }
        if let Ok(view) = Listpack::validate(&bytes, true) {
            prop_assert_eq!(view.iter().count(), view.iter().rev().count());
        }
    }

    #[test]
    fn any_flipped_bit_is_accepted_or_refused(
        contents in prop::collection::vec(content(), 1..10),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let mut pack = Listpack::new_empty();
        contents.iter().for_each(|content| listpack::push_back(&mut pack, content));
        let at = at.index(pack.len());
        pack[at] ^= 1 << bit;
        if let Ok(view) = Listpack::validate(&pack, true) {
            prop_assert_eq!(view.iter().count(), view.iter().rev().count());
        }
    }

    #[test]
    fn splice_is_splice(
        start in prop::collection::vec(any::<u8>(), 0..40),
        range: (prop::sample::Index, prop::sample::Index),
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..4),
    ) {
        let (a, b) = (range.0.index(start.len() + 1), range.1.index(start.len() + 1));
        let (mut spliced, mut model) = (start.clone(), start);
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
        Buffer::splice(&mut spliced, a.min(b), a.abs_diff(b), &pieces);
        model.splice(a.min(b)..a.max(b), pieces.concat());
        prop_assert_eq!(spliced, model);
    }
}
