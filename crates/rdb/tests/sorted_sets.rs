//! Sorted sets: what is written is read back, every form there has been is read, damage is refused, and Redis
//! and Valkey agree.

mod common;

use base::crc::crc64;
use common::peer::Peer;
use common::{COMPRESSED, Content, Model, PLAIN, content, file, model, scored, sorted_set_object};
use ds::listpack::{Listpack, push_back};
use proptest::collection::btree_map;
use proptest::prelude::*;
use rdb::{
    Object, ReadOptions, RestoreError, SortedSetObject, Thresholds, ValueRef, WriteOptions, dump, restore,
    write_record,
};

/// Members in their order, with the bits of their scores.
type Members = Vec<(Vec<u8>, u64)>;

/// A pack knows no -0.0.
fn sort(members: impl IntoIterator<Item = (Vec<u8>, f64)>) -> Members {
    let mut members: Vec<_> = members.into_iter().map(|(member, score)| (score + 0.0, member)).collect();
    members.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    members.into_iter().map(|(score, member)| (member, score.to_bits())).collect()
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-20..20i32).prop_map(f64::from),
        (-20..20i32).prop_map(|score| f64::from(score) / 7.0),
        any::<f64>().prop_filter("a score is a number", |score| !score.is_nan()),
    ]
}

fn members() -> impl Strategy<Value = Members> {
    let member = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        ("[a-d]{1,4}", 1..40usize).prop_map(|(piece, count)| piece.repeat(count).into_bytes()),
    ];
    btree_map(member, score(), 1..160).prop_map(sort)
}

fn entries(zset_entries: usize) -> Thresholds {
    Thresholds { zset_entries, ..Thresholds::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn payloads_survive(
        expected in members(),
        written in 0..200usize,
        read in 0..200usize,
        compress in any::<bool>(),
    ) {
        let set = sorted_set_object(&expected, entries(written));
        let payload = dump(ValueRef::SortedSet(set.view()), 10, &WriteOptions { compress });
        let options = ReadOptions { thresholds: entries(read), ..ReadOptions::default() };
        let object = restore(&payload, &options).expect("it was just written");
        prop_assert_eq!(model(&object), Model::SortedSet(expected));
    }
}

/// A payload of a value's bytes, its type in front.
fn payload(value: &[u8]) -> Vec<u8> {
    let summed = [value, &10u16.to_le_bytes()].concat();
    let sum = crc64(0, &summed);
    [&summed[..], &sum.to_le_bytes()].concat()
}

fn read(value: &[u8]) -> Result<Members, String> {
    match restore(&payload(value), &ReadOptions::default()) {
        Ok(Object::SortedSet(set)) => Ok(scored(&set)),
        Ok(other) => panic!("{value:?} gives {other:?}"),
        Err(RestoreError::BadData(error)) => Err(error.kind.to_string()),
        Err(other) => panic!("{value:?} gives {other:?}"),
    }
}

fn pack(elements: &[&str]) -> Vec<u8> {
    let mut blob = Listpack::new_empty();
    elements.iter().for_each(|element| push_back(&mut blob, element.as_bytes()));
    blob
}

/// A listpack of less than 64 bytes behind its type and its length.
fn packed(elements: &[&str]) -> Vec<u8> {
    let blob = pack(elements);
    [&[0x11, blob.len() as u8], &blob[..]].concat()
}

/// Members `a` of score 1 and `b` of score x.
const ZIPLIST: &[u8] = b"\x0c\x16\x16\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf2\x02\x01b\x03\x01x\xff";

/// The ziplist with a digit as its last element.
fn ziplist(score: u8) -> Vec<u8> {
    ZIPLIST.iter().map(|&byte| if byte == b'x' { score } else { byte }).collect()
}

#[test]
fn every_form_is_read() {
    let check = |value: &[u8], expected: &[(&str, f64)]| {
        let expected = expected.iter().map(|(member, score)| (member.as_bytes().to_vec(), score.to_bits()));
        assert_eq!(read(value), Ok(expected.collect()), "{value:?}");
    };
    let infinite = [("c", f64::NEG_INFINITY), ("a", 1.5), ("7", f64::INFINITY)];
    check(b"\x03\x03\x01a\x031.5\xc0\x07\xfe\x01c\xff", &infinite);
    let one = 1.0f64.to_le_bytes();
    check(&[&b"\x05\x02\x01b"[..], &one, b"\x01a", &one].concat(), &[("a", 1.0), ("b", 1.0)]);
    check(&[&b"\x05\x01\x01a"[..], &(-0.0f64).to_le_bytes()].concat(), &[("a", 0.0)]);
    check(&ziplist(b'9'), &[("a", 1.0), ("b", 9.0)]);
    check(&ziplist(b'0'), &[("b", 0.0), ("a", 1.0)]);
    check(&packed(&["a", "1", "b", "2.5"]), &[("a", 1.0), ("b", 2.5)]);
    check(&packed(&["b", "2.5", "a", "-inf"]), &[("a", f64::NEG_INFINITY), ("b", 2.5)]);
    check(&packed(&["12", "1e2"]), &[("12", 100.0)]);
}

#[test]
fn what_is_wrong_is_told() {
    let check = |value: &[u8], expected: &str| assert_eq!(read(value), Err(expected.to_owned()), "{value:?}");
    let (empty, lacks) = ("the collection is empty", "a packed sorted set lacks a score");
    let (no_number, twice) =
        ("a score of a sorted set is not a number", "a member comes twice in a sorted set");
    let (nan, one) = (f64::NAN.to_le_bytes(), 1.0f64.to_le_bytes());
    check(b"\x03\x00", empty);
    check(b"\x05\x00", empty);
    check(&packed(&[]), empty);
    check(b"\x03\x01\x01a\xfd", no_number);
    check(b"\x03\x01\x01a\x01x", no_number);
    check(b"\x03\x01\x01a\x03nan", no_number);
    check(&[&b"\x05\x01\x01a"[..], &nan].concat(), no_number);
    check(ZIPLIST, no_number);
    check(&packed(&["a", "x"]), no_number);
    check(&packed(&["a", "nan"]), no_number);
    check(&packed(&["a"]), lacks);
    check(&packed(&["a", "1", "b"]), lacks);
    check(&packed(&["a", "1", "a", "1"]), twice);
    check(&packed(&["a", "1", "a", "2"]), twice);
    check(&packed(&["a", "2", "a", "1"]), twice);
    check(&[&b"\x05\x02\x01a"[..], &one, b"\x01a", &one].concat(), twice);
    check(b"\x0c\x03abc", "a ziplist is damaged");
    check(b"\x11\x03abc", "a listpack is damaged");
    check(b"\x05\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a", "the data ends too early");
    check(b"\x03\x02\x01a\x011", "the data ends too early");
}

#[test]
fn thresholds_decide_the_form() {
    let expected = sort((0..10u8).map(|index| (vec![b'a' + index; 20], f64::from(index))));
    let is_packed = |set: &SortedSetObject| matches!(set, SortedSetObject::Packed(_));
    for written in [0, 128] {
        let set = sorted_set_object(&expected, entries(written));
        assert_eq!(is_packed(&set), written > 0);
        let payload = dump(ValueRef::SortedSet(set.view()), 10, &PLAIN);
        for (thresholds, expected) in [
            (entries(10), true),
            (entries(9), false),
            (Thresholds { zset_value: 20, ..Thresholds::default() }, true),
        ] {
            let options = ReadOptions { thresholds, ..ReadOptions::default() };
            let Object::SortedSet(set) = restore(&payload, &options).expect("it was just written") else {
                panic!("a sorted set is expected")
            };
            assert_eq!(is_packed(&set), expected, "written with {written}");
        }
    }
}

/// Few members, many, long ones, and scores of every kind.
fn sorted_sets() -> Vec<Members> {
    let numbered = |count: u32, by: f64| {
        sort((0..count).map(|n| (format!("member:{n}").into_bytes(), f64::from(n * 7919 % 1009) * by)))
    };
    let scores =
        [0.0, 1.0, -17.0, 0.1, 1e300, 5e-324, 9_007_199_254_740_993.0, 1e19, f64::INFINITY, -f64::INFINITY];
    let odd =
        |len: usize| sort(scores.iter().enumerate().map(|(n, score)| (vec![b'a' + n as u8; len], *score)));
    vec![numbered(1, 1.0), numbered(100, 0.1), numbered(129, 1.0), numbered(3000, 1.5), odd(5), odd(100)]
}

fn check_members(peer: &mut Peer, key: &[u8], expected: &Members) {
    let found = peer.call_all(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]);
    let number = |text: &[u8]| base::num::parse_f64(text).expect("a score").to_bits();
    let found: Members = found.chunks(2).map(|pair| (pair[0].clone(), number(&pair[1]))).collect();
    assert_eq!(&found, expected, "{}", String::from_utf8_lossy(key));
}

fn check_reading(program: &str, arguments: &[&str]) {
    let Some(mut peer) = Peer::start(program, "reading sorted sets", None, arguments) else { return };
    let mut expected = Content::new();
    for (index, members) in sorted_sets().into_iter().enumerate() {
        let key = format!("z:{index}").into_bytes();
        for (member, bits) in &members {
            let score = format!("{:?}", f64::from_bits(*bits));
            peer.call(&[b"ZADD", &key, score.as_bytes(), member]);
        }
        let object = restore(&peer.call(&[b"DUMP", &key]), &ReadOptions::default());
        let value = Model::SortedSet(members);
        assert_eq!(model(&object.expect("the payload is sound")), value);
        expected.insert(key, (None, value));
    }
    assert_eq!(content(&peer.save(), &ReadOptions::default()).expect("the file is sound"), expected);
}

#[test]
fn what_servers_write_is_read() {
    check_reading("redis-server", &[]);
    check_reading("redis-server", &["--rdbcompression", "no", "--zset-max-listpack-entries", "5"]);
    check_reading("valkey-server", &[]);
}

fn check_writing(program: &str, options: &WriteOptions) {
    let mut bytes = Vec::new();
    let forms = [entries(0), Thresholds::default()];
    for (index, members) in sorted_sets().iter().enumerate() {
        for thresholds in forms {
            let key = format!("z:{index}:{}", thresholds.zset_entries).into_bytes();
            let set = sorted_set_object(members, thresholds);
            write_record(&mut bytes, &key, None, ValueRef::SortedSet(set.view()), options);
        }
    }
    let Some(mut peer) = Peer::start(program, "writing sorted sets", Some(&file(10, &bytes)), &[]) else {
        return;
    };
    for (index, members) in sorted_sets().iter().enumerate() {
        for thresholds in forms {
            let key = format!("z:{index}:{}", thresholds.zset_entries).into_bytes();
            check_members(&mut peer, &key, members);
            let set = sorted_set_object(members, thresholds);
            let payload = dump(ValueRef::SortedSet(set.view()), 10, options);
            assert_eq!(peer.call(&[b"RESTORE", &key, b"0", &payload, b"REPLACE"]), b"OK");
            check_members(&mut peer, &key, members);
        }
    }
}

#[test]
fn servers_load_what_is_written() {
    check_writing("redis-server", &PLAIN);
    check_writing("redis-server", &COMPRESSED);
    check_writing("valkey-server", &COMPRESSED);
}
