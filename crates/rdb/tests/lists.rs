//! Lists: what is written is read back, every form there has been is read, damage is refused, and Redis and
//! Valkey agree.

mod common;

use base::crc::crc64;
use common::peer::Peer;
use common::{COMPRESSED, Model, PLAIN, content, elements, file, model};
use ds::list::{End, Limits, PackedList};
use ds::listpack::{Listpack, push_back};
use proptest::collection::vec;
use proptest::prelude::*;
use rdb::{
    ListObject, Object, ReadOptions, RestoreError, Thresholds, ValueRef, WriteOptions, dump, restore,
    write_record,
};

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..80),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        ("[a-d]{1,4}", 1..4000usize).prop_map(|(piece, count)| piece.repeat(count).into_bytes()),
    ]
}

fn list_of(elements: &[Vec<u8>], limits: Limits) -> ListObject {
    let mut list = PackedList::new(limits);
    elements.iter().for_each(|element| list.push(End::Back, element));
    ListObject::new(list)
}

fn thresholds(list_node_size: i64, list_compress_depth: usize) -> Thresholds {
    Thresholds { list_node_size, list_compress_depth, ..Thresholds::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn payloads_survive(
        expected in vec(element(), 1..60),
        written in (-5..6i64, 0..3usize),
        read in (-5..6i64, 0..3usize),
        compress in any::<bool>(),
    ) {
        let list = list_of(&expected, Limits::new(written.0, written.1));
        let payload = dump(ValueRef::List(list.view()), 10, &WriteOptions { compress });
        let options = ReadOptions { thresholds: thresholds(read.0, read.1), ..ReadOptions::default() };
        let object = restore(&payload, &options).expect("it was just written");
        prop_assert_eq!(model(&object), Model::List(expected));
    }
}

/// A payload of a value's bytes, its type in front.
fn payload(value: &[u8]) -> Vec<u8> {
    let summed = [value, &10u16.to_le_bytes()].concat();
    let sum = crc64(0, &summed);
    [&summed[..], &sum.to_le_bytes()].concat()
}

fn read(value: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    match restore(&payload(value), &ReadOptions::default()) {
        Ok(Object::List(list)) => Ok(elements(&list)),
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

/// Bytes of less than 64 behind their length.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

const ZIPLIST: &[u8] = b"\x16\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf2\x02\x01b\x03\x01x\xff";
const EMPTY_ZIPLIST: &[u8] = b"\x0b\0\0\0\x0a\0\0\0\0\0\xff";

#[test]
fn every_form_is_read() {
    let check = |value: &[u8], expected: &[&str]| {
        let expected = expected.iter().map(|element| element.as_bytes().to_vec()).collect();
        assert_eq!(read(value), Ok(expected), "{value:?}");
    };
    check(b"\x01\x03\x01a\xc0\x07\x00", &["a", "7", ""]);
    check(&[&b"\x0a"[..], &string(ZIPLIST)].concat(), &["a", "1", "b", "x"]);
    let (full, empty) = (string(ZIPLIST), string(EMPTY_ZIPLIST));
    check(&[&b"\x0e\x03"[..], &full, &empty, &full].concat(), &["a", "1", "b", "x", "a", "1", "b", "x"]);
    check(&[&b"\x12\x01\x02"[..], &string(&pack(&["a", "-5"]))].concat(), &["a", "-5"]);
    let two = [&b"\x12\x03\x02"[..], &string(&pack(&["a"])), b"\x01\x03one\x02", &string(&pack(&["b", "c"]))];
    check(&two.concat(), &["a", "one", "b", "c"]);
    check(&[&b"\x12\x02\x02"[..], &string(&pack(&[])), b"\x01\xc0\x07"].concat(), &["7"]);
}

#[test]
fn what_is_wrong_is_told() {
    let check = |value: &[u8], expected: &str| assert_eq!(read(value), Err(expected.to_owned()), "{value:?}");
    let empty = "the collection is empty";
    check(b"\x01\x00", empty);
    check(&[&b"\x0a"[..], &string(EMPTY_ZIPLIST)].concat(), empty);
    check(b"\x0e\x00", empty);
    check(b"\x12\x00", empty);
    check(&[&b"\x12\x01\x02"[..], &string(&pack(&[]))].concat(), empty);
    check(b"\x0a\x03abc", "a ziplist is damaged");
    check(b"\x0e\x01\x03abc", "a ziplist is damaged");
    check(b"\x12\x01\x02\x03abc", "a listpack is damaged");
    check(b"\x12\x01\x01\x00", "a list's node is empty");
    check(b"\x12\x02\x01\x01a\x02\x03abc", "a listpack is damaged");
    check(b"\x12\x02\x01\x01a\x03\x01b", "a list's node is of an unknown kind");
    check(b"\x12\x01\x00\x01a", "a list's node is of an unknown kind");
    check(b"\x12\x02\x01\x01a", "the data ends too early");
    check(b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a", "the data ends too early");
}

#[test]
fn thresholds_decide_the_form() {
    let list = list_of(&(0..10u8).map(|n| vec![b'a' + n; 20]).collect::<Vec<_>>(), Limits::default());
    let payload = dump(ValueRef::List(list.view()), 10, &PLAIN);
    let is_packed = |size| {
        let options = ReadOptions { thresholds: thresholds(size, 0), ..ReadOptions::default() };
        match restore(&payload, &options).expect("it was just written") {
            Object::List(list) => matches!(list, ListObject::Packed(_)),
            other => panic!("a list is expected, not {other:?}"),
        }
    };
    assert_eq!([-2, 10, 9, 1].map(is_packed), [true, true, false, false]);
}

/// A short list, one of numbers, one of several nodes, long elements, one node for each element.
fn lists() -> Vec<(Vec<Vec<u8>>, Limits)> {
    let numbered = |count: u32| (0..count).map(|n| format!("element:{n}").into_bytes()).collect::<Vec<_>>();
    let numbers = [0, -1, 127, 128, -4097, 8_388_608, i64::from(i32::MIN), i64::MAX, i64::MIN];
    let varied = vec![vec![b'x'; 9000], b"".to_vec(), b"12".to_vec(), vec![b'y'; 70_000], vec![b'z'; 64]];
    vec![
        (numbered(3), Limits::default()),
        (numbers.iter().map(|number| number.to_string().into_bytes()).collect(), Limits::default()),
        (numbered(3000), Limits::default()),
        (numbered(3000), Limits::new(-1, 1)),
        (varied, Limits::default()),
        (numbered(50), Limits::new(1, 2)),
    ]
}

fn check_reading(program: &str, arguments: &[&str]) {
    let Some(mut peer) = Peer::start(program, "reading lists", None, arguments) else { return };
    let mut expected = common::Content::new();
    for (index, (elements, _)) in lists().into_iter().enumerate() {
        let key = format!("list:{index}").into_bytes();
        for element in &elements {
            peer.call(&[b"RPUSH", &key, element.as_slice()]);
        }
        let object = restore(&peer.call(&[b"DUMP", &key]), &ReadOptions::default());
        let value = Model::List(elements);
        assert_eq!(model(&object.expect("the payload is sound")), value);
        expected.insert(key, (None, value));
    }
    assert_eq!(content(&peer.save(), &ReadOptions::default()).expect("the file is sound"), expected);
}

#[test]
fn what_servers_write_is_read() {
    check_reading("redis-server", &[]);
    check_reading("redis-server", &["--rdbcompression", "no", "--list-max-listpack-size", "3"]);
    check_reading("redis-server", &["--list-compress-depth", "1"]);
    check_reading("valkey-server", &[]);
}

fn check_writing(program: &str, options: &WriteOptions) {
    let mut bytes = Vec::new();
    for (index, (elements, limits)) in lists().iter().enumerate() {
        let key = format!("list:{index}").into_bytes();
        write_record(&mut bytes, &key, None, ValueRef::List(list_of(elements, *limits).view()), options);
    }
    let Some(mut peer) = Peer::start(program, "writing lists", Some(&file(10, &bytes)), &[]) else { return };
    for (index, (elements, limits)) in lists().iter().enumerate() {
        let key = format!("list:{index}").into_bytes();
        assert_eq!(&peer.call_all(&[b"LRANGE", &key, b"0", b"-1"]), elements, "list {index}");
        let payload = dump(ValueRef::List(list_of(elements, *limits).view()), 10, options);
        assert_eq!(peer.call(&[b"RESTORE", &key, b"0", &payload, b"REPLACE"]), b"OK");
        assert_eq!(&peer.call_all(&[b"LRANGE", &key, b"0", b"-1"]), elements, "list {index}");
    }
}

#[test]
fn servers_load_what_is_written() {
    check_writing("redis-server", &PLAIN);
    check_writing("redis-server", &COMPRESSED);
    check_writing("valkey-server", &COMPRESSED);
}
