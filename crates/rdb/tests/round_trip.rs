//! What is written is read back: random content, every form a hash has had, and the rules of RESTORE.

mod common;

use base::crc::crc64;
use common::{
    COMPRESSED, Content, Fields, Model, PLAIN, content, file, hash_object, list_object, model, set_object,
};
use ds::set::SetRef;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use rdb::{
    Attributes, Item, Object, ReadOptions, Reader, RestoreError, SetObject, Thresholds, ValueRef,
    WriteOptions, dump, restore, write_record, write_record_with,
};
use std::collections::BTreeSet;

fn text() -> impl Strategy<Value = Vec<u8>> {
    let repeated = ("[a-d]{1,4}", 1..100usize).prop_map(|(piece, count)| piece.repeat(count).into_bytes());
    let number = any::<i64>().prop_map(|number| number.to_string().into_bytes());
    prop_oneof![vec(any::<u8>(), 0..80), repeated, number, "-?[0-9]{0,21}".prop_map(String::into_bytes)]
}

fn hash() -> impl Strategy<Value = Fields> {
    let expiry = proptest::option::of(0..i64::MAX);
    prop_oneof![
        btree_map(text(), (text(), Just(None)), 1..200),
        btree_map("[a-z]{1,9}".prop_map(String::into_bytes), (text(), expiry), 1..20),
    ]
}

fn set() -> impl Strategy<Value = BTreeSet<Vec<u8>>> {
    let numbers = any::<i64>().prop_map(|number| number.to_string().into_bytes());
    prop_oneof![btree_set(text(), 1..200), btree_set(text(), 1..20), btree_set(numbers, 1..600)]
}

fn value() -> impl Strategy<Value = Model> {
    let list = vec(text(), 1..60).prop_map(Model::List);
    let (hash, set) = (hash().prop_map(Model::Hash), set().prop_map(Model::Set));
    prop_oneof![text().prop_map(Model::Text), list, hash, set]
}

fn write(out: &mut Vec<u8>, key: &[u8], expires_at: Option<i64>, value: &Model, options: &WriteOptions) {
    match value {
        Model::Text(text) => write_record(out, key, expires_at, ValueRef::Bytes(text), options),
        Model::List(elements) => {
            let object = list_object(elements);
            write_record(out, key, expires_at, ValueRef::List(object.view()), options);
        }
        Model::Hash(fields) => {
            let plain = fields.values().all(|(_, expires_at)| expires_at.is_none());
            let object = hash_object(fields, plain && fields.len() < 10);
            write_record(out, key, expires_at, ValueRef::Hash(object.view()), options);
        }
        Model::Set(members) => {
            let object = set_object(members, Thresholds::default());
            write_record(out, key, expires_at, ValueRef::Set(object.view()), options);
        }
        Model::SortedSet(_) => unreachable!("sorted sets have tests of their own"),
        Model::Stream(_) => unreachable!("streams have tests of their own"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn content_survives(
        expected in btree_map(text(), (proptest::option::of(0..i64::MAX), value()), 0..10),
        compress in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        for (key, (expires_at, value)) in &expected {
            write(&mut bytes, key, *expires_at, value, &WriteOptions { compress });
        }
        let read = content(&file(12, &bytes), &ReadOptions::default()).expect("it was just written");
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn payloads_survive(expected in value(), compress in any::<bool>()) {
        let options = WriteOptions { compress };
        let payload = match &expected {
            Model::Text(text) => dump(ValueRef::Bytes(text), 10, &options),
            Model::List(elements) => dump(ValueRef::List(list_object(elements).view()), 10, &options),
            Model::Hash(fields) => dump(ValueRef::Hash(hash_object(fields, false).view()), 10, &options),
            Model::Set(members) => {
                dump(ValueRef::Set(set_object(members, Thresholds::default()).view()), 10, &options)
            }
            Model::SortedSet(_) => unreachable!("sorted sets have tests of their own"),
            Model::Stream(_) => unreachable!("streams have tests of their own"),
        };
        let object = restore(&payload, &ReadOptions::default()).expect("it was just written");
        prop_assert_eq!(model(&object), expected);
    }
}

fn fields(fields: &[(&str, &str, Option<i64>)]) -> Fields {
    let owned = |text: &str| text.as_bytes().to_vec();
    fields.iter().map(|&(field, value, expires_at)| (owned(field), (owned(value), expires_at))).collect()
}

/// A payload of a value's bytes, its type in front.
fn payload(version: u16, value: &[u8]) -> Vec<u8> {
    let summed = [value, &version.to_le_bytes()].concat();
    let sum = crc64(0, &summed);
    [&summed[..], &sum.to_le_bytes()].concat()
}

fn check_hash(version: u16, value: &[u8], expected: &[(&str, &str, Option<i64>)]) {
    let object = restore(&payload(version, value), &ReadOptions::default()).expect("the payload is sound");
    assert_eq!(model(&object), Model::Hash(fields(expected)));
}

fn check_refused(version: u16, value: &[u8], expected: &str) {
    match restore(&payload(version, value), &ReadOptions::default()) {
        Err(RestoreError::BadData(error)) => assert_eq!(error.kind.to_string(), expected, "{value:?}"),
        other => panic!("{value:?} gives {other:?}"),
    }
}

/// A listpack as a string, its type in front.
fn packed(prefix: &[u8], elements: &[&str]) -> Vec<u8> {
    let mut blob = ds::listpack::Listpack::new_empty();
    elements.iter().for_each(|element| ds::listpack::push_back(&mut blob, element.as_bytes()));
    [prefix, &[blob.len() as u8], &blob].concat()
}

#[test]
fn every_form_of_a_hash_is_read() {
    let plain = [("a", "1", None), ("b", "x", None)];
    let expiring = [("a", "1", Some(1000)), ("b", "x", None), ("c", "y", Some(1005))];
    check_hash(1, b"\x04\x02\x01a\xc0\x01\x01b\x01x", &plain);
    check_hash(2, b"\x09\x0c\x02\x01a\x01\x00\x31\x01b\x01\x00x\xff", &plain);
    let ziplist = b"\x0d\x16\x16\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf2\x02\x01b\x03\x01x\xff";
    check_hash(9, ziplist, &plain);
    check_hash(10, &packed(b"\x10", &["a", "1", "b", "x"]), &plain);
    check_hash(12, b"\x16\x03\x43\xe8\x01a\xc0\x01\0\x01b\x01x\x43\xed\x01c\x01y", &expiring);
    check_hash(12, b"\x18\xe8\x03\0\0\0\0\0\0\x03\x01\x01a\xc0\x01\0\x01b\x01x\x06\x01c\x01y", &expiring);
    let triples = ["a", "1", "1000", "b", "x", "0", "c", "y", "1005"];
    check_hash(12, &packed(b"\x17", &triples), &expiring);
    check_hash(12, &packed(b"\x19\xe8\x03\0\0\0\0\0\0", &triples), &expiring);
    let (at_1000, never, at_1005) = (1000i64.to_le_bytes(), (-1i64).to_le_bytes(), 1005i64.to_le_bytes());
    let pieces = [&b"\x16\x03\x01a\xc0\x01"[..], &at_1000, b"\x01b\x01x", &never, b"\x01c\x01y", &at_1005];
    check_hash(80, &pieces.concat(), &expiring);
}

#[test]
fn what_is_wrong_with_a_hash_is_told() {
    let twice = "a field comes twice in a hash";
    let odd = "a packed hash lacks a value";
    let expiry = "a field's expiry is out of range";
    check_refused(10, b"\x04\x02\x01a\xc0\x01\x01a\x01x", twice);
    check_refused(10, b"\x04\x81\0\0\0\0\xff\xff\xff\xff\x01a\x01b\x01a\x01b", twice);
    check_refused(10, b"\x09\x0c\x02\x01a\x01\x00\x31\x01a\x01\x00x\xff", twice);
    check_refused(10, &packed(b"\x10", &["a", "1", "a", "x"]), twice);
    check_refused(12, b"\x16\x02\x01\x01a\x01x\x01\x01a\x01y", twice);
    check_refused(10, &packed(b"\x10", &["a", "1", "b"]), odd);
    check_refused(9, b"\x0d\x0e\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff", odd);
    check_refused(12, &packed(b"\x17", &["a", "1"]), "a packed hash lacks an expiry");
    check_refused(12, &packed(b"\x17", &["a", "1", "soon"]), expiry);
    check_refused(12, &packed(b"\x17", &["a", "1", "-1"]), expiry);
    check_refused(12, b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x01a\x01x", expiry);
    check_refused(12, b"\x18\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x02\x01a\x01x", expiry);
    check_refused(12, b"\x16\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a\x01x", expiry);
    check_refused(80, b"\x16\x01\x01a\x01x\xfe\xff\xff\xff\xff\xff\xff\xff", expiry);
    check_refused(10, b"\x10\x03abc", "a listpack is damaged");
    check_refused(10, b"\x04\x00", "the collection is empty");
    check_refused(10, &packed(b"\x10", &[]), "the collection is empty");
    check_refused(10, b"\x06\x01", "module (type 6, MODULE_PRE_GA) is not supported");
    check_refused(80, b"\xf3\x01", "slot migration (type 243, SLOT_IMPORT) is not supported");
    check_refused(10, b"\xff", "there is no such type or opcode");
    check_refused(10, b"\xfa\x01a\x01b", "there is no such type or opcode");
    check_refused(80, b"\x18\x01", "there is no such type or opcode");
    check_refused(10, b"", "the data ends too early");
}

/// How a set is kept.
fn form(set: &SetObject) -> &'static str {
    match set.view() {
        SetRef::Ints(_) => "ints",
        SetRef::Packed(_) => "packed",
        SetRef::Table(_) => "table",
    }
}

/// Two integers at most alone, three members packed, four bytes each.
fn narrow() -> Thresholds {
    Thresholds { set_ints: 2, set_entries: 3, set_value: 4, ..Thresholds::default() }
}

#[test]
fn every_form_of_a_set_is_read() {
    let check = |value: &[u8], expected: &[&str], wanted: &str| {
        let options = ReadOptions { thresholds: narrow(), ..ReadOptions::default() };
        let object = restore(&payload(11, value), &options).expect("the payload is sound");
        let members = expected.iter().map(|member| member.as_bytes().to_vec()).collect();
        assert_eq!(model(&object), Model::Set(members));
        let Object::Set(set) = object else { panic!("a set is expected, not {object:?}") };
        assert_eq!(form(&set), wanted, "{expected:?}");
    };
    check(b"\x02\x02\xc0\x07\x018", &["7", "8"], "ints");
    check(b"\x02\x03\xc0\x07\x018\xc0\x09", &["7", "8", "9"], "table");
    check(b"\x02\x02\x01a\xc0\x07", &["a", "7"], "packed");
    check(b"\x02\x03\xc0\x07\x018\x04abcd", &["7", "8", "abcd"], "packed");
    check(b"\x02\x02\xc0\x07\x05abcde", &["7", "abcde"], "table");
    check(b"\x02\x02\xc2\x40\x42\x0f\0\x01a", &["1000000", "a"], "table");
    check(b"\x02\x04\x01a\x01b\x01c\x01d", &["a", "b", "c", "d"], "table");
    check(b"\x0b\x0c\x02\0\0\0\x02\0\0\0\xff\xff\x07\0", &["-1", "7"], "ints");
    check(b"\x0b\x0e\x02\0\0\0\x03\0\0\0\xff\xff\x07\0\x08\0", &["-1", "7", "8"], "table");
    check(&packed(b"\x14", &["7", "8"]), &["7", "8"], "packed");
    check(&packed(b"\x14", &["7", "8", "a", "b"]), &["7", "8", "a", "b"], "table");
}

#[test]
fn what_is_wrong_with_a_set_is_told() {
    let twice = "a member comes twice in a set";
    let damaged = "a set of integers is damaged";
    check_refused(10, b"\x02\x02\xc0\x07\x017", twice);
    check_refused(10, b"\x02\x03\xc0\x07\x01a\x017", twice);
    check_refused(10, b"\x02\x03\x01a\xc0\x07\x01a", twice);
    check_refused(10, b"\x02\x81\0\0\0\0\xff\xff\xff\xff\x01a\x01b\x01a\x01b", twice);
    check_refused(10, b"\x02\x81\0\0\0\0\xff\xff\xff\xff\x01a\x01b", "the data ends too early");
    check_refused(11, &packed(b"\x14", &["a", "1", "a"]), twice);
    check_refused(10, b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x07\0\x07\0", damaged);
    check_refused(10, b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x07\0\xff\xff", damaged);
    check_refused(10, b"\x0b\x0c\x03\0\0\0\x02\0\0\0\x07\0\x08\0", damaged);
    check_refused(10, b"\x0b\x0c\x02\0\0\0\x03\0\0\0\x07\0\x08\0", damaged);
    check_refused(10, b"\x0b\x03\x02\0\0", damaged);
    check_refused(11, b"\x14\x03abc", "a listpack is damaged");
    check_refused(10, b"\x0b\x08\x02\0\0\0\0\0\0\0", "the collection is empty");
    check_refused(10, b"\x02\x00", "the collection is empty");
    check_refused(11, &packed(b"\x14", &[]), "the collection is empty");
}

#[test]
fn only_sound_payloads_of_known_versions_are_restored() {
    let check = |payload: &[u8], verify_checksum: bool, expected: bool| {
        let restored = restore(payload, &ReadOptions { verify_checksum, ..ReadOptions::default() });
        assert_eq!(restored.is_ok(), expected, "{payload:?}");
        assert!(expected || matches!(restored, Err(RestoreError::VersionOrChecksum)));
    };
    for (version, known) in
        [(0, false), (1, true), (14, true), (15, false), (79, false), (80, true), (81, false)]
    {
        check(&payload(version, b"\x00\x01x"), true, known);
    }
    let sound = payload(10, b"\x00\x01x");
    for index in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[index] ^= 1;
        check(&damaged, true, false);
        check(&sound[..index], true, false);
    }
    let mut unsummed = sound;
    unsummed[12] ^= 1;
    check(&unsummed, false, true);
}

#[test]
fn field_ttls_raise_the_version() {
    let version = |hash: &Fields| {
        let object = hash_object(hash, false);
        let payload = dump(ValueRef::Hash(object.view()), 10, &PLAIN);
        (rdb::version_needed(ValueRef::Hash(object.view())), payload[0], payload[payload.len() - 10])
    };
    assert_eq!(version(&fields(&[("a", "1", None)])), (10, 4, 10));
    assert_eq!(version(&fields(&[("a", "1", None), ("b", "2", Some(5))])), (12, 24, 12));
}

fn items(bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut reader = Reader::new(bytes, &ReadOptions::default()).map_err(|error| error.to_string())?;
    let mut items = Vec::new();
    loop {
        match reader.next().map_err(|error| error.to_string())? {
            Item::End => break,
            item => items.push(format!("{item:?}")),
        }
    }
    assert!(matches!(reader.next(), Ok(Item::End)), "the end stays the end");
    Ok(items)
}

#[test]
fn opcodes() {
    let check = |records: &[u8], expected: &[&str]| {
        assert_eq!(items(&file(10, records)), Ok(expected.iter().map(|&text| text.to_owned()).collect()));
    };
    check(b"\xfe\x0f", &["SelectDb(15)"]);
    check(b"\xfb\x02\x01", &["ResizeDb { keys: 2, expires: 1 }"]);
    check(b"\xf4\x03\x02\x01", &["SlotInfo { slot: 3, keys: 2, expires: 1 }"]);
    check(b"\xfa\x01a\xc0\x07", &["Aux { key: [97], value: [55] }"]);
    check(b"\xf5\x01a", &["Function([97])"]);
    let module =
        [&b"\xf7\x81"[..], &module_id("graphdata").to_be_bytes(), b"\x02\x01", MODULE_VALUES].concat();
    check(&module, &["ModuleAux { module: \"graphdata\" }"]);
    check(b"\x04\x01k\x00\x00\x01k\x01v", &[&record("None", "None", "None")]);
    check(b"\xfd\x02\0\0\0\x00\x01k\x01v", &[&record("Some(2000)", "None", "None")]);
    check(b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01k\x01v", &[&record("None", "None", "None")]);
    check(b"\xf8\x02\xf9\x03\x00\x01k\x01v", &[&record("None", "Some(2)", "Some(3)")]);
}

fn record(expires_at: &str, idle_s: &str, freq: &str) -> String {
    let value = "value: Bytes([118])";
    format!(
        "Record(Record {{ key: [107], expires_at: {expires_at}, idle_s: {idle_s}, freq: {freq}, {value} }})"
    )
}

/// One value of each tag: signed, unsigned, float, double, string, end.
const MODULE_VALUES: &[u8] = b"\x01\x05\x02\x05\x03\0\0\0\0\x04\0\0\0\0\0\0\0\0\x05\x01x\x00";

fn module_id(name: &str) -> u64 {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = |letter| letters.find(letter).expect("the letter is one of 64") as u64;
    name.chars().fold(0, |id, letter| id << 6 | bits(letter)) << 10 | 1
}

#[test]
fn refusals_name_place_and_reason() {
    let check = |bytes: &[u8], expected: &str| {
        assert_eq!(items(bytes), Err(format!("RDB data cannot be read: {expected}.")));
    };
    check(b"REDIS00", "the data ends too early at offset 7, while reading the header");
    check(b"HELLO WORLD", "the data is not an RDB file at offset 9, while reading the header");
    check(
        b"REDIS0015",
        "version 15 is not supported (Redis 1 to 14 and Valkey 80 are) at offset 9, while reading the header",
    );
    check(b"REDIS0010", "the data ends too early at offset 9, while reading an opcode");
    check(
        b"REDIS0010\x06\x03key",
        "module (type 6, MODULE_PRE_GA) is not supported at offset 14, \
         while reading the module (MODULE_PRE_GA) of key \"key\"",
    );
    check(
        b"REDIS0010\x04\x03key\x02\x01a",
        "the data ends too early at offset 17, while reading the hash (HASH) of key \"key\"",
    );
    check(b"REDIS0010\x08", "there is no such type or opcode at offset 10, while reading an opcode");
    check(b"REDIS0010\xf7\x00\x01", "a module's data lacks its time at offset 12, while reading MODULE_AUX");
    let sum = crc64(0, b"REDIS0010\xff");
    check(
        b"REDIS0010\xff\x01\0\0\0\0\0\0\0",
        &format!(
            "CRC error: the checksum is 0000000000000001 where the data gives {sum:016x} at offset 18, \
             while reading the checksum"
        ),
    );
}

#[test]
fn checksums_may_be_off_or_missing() {
    let read = |bytes: &[u8], verify_checksum| {
        content(bytes, &ReadOptions { verify_checksum, ..ReadOptions::default() }).is_ok()
    };
    let summed = |sum: u64| [&b"REDIS0010\x00\x01k\x01v\xff"[..], &sum.to_le_bytes()].concat();
    assert!(read(&summed(0), true));
    assert!(!read(&summed(1), true));
    assert!(read(&summed(1), false));
    assert!(read(b"REDIS0004\x00\x01k\x01v\xff", true));
    assert!(!read(b"REDIS0005\x00\x01k\x01v\xff", true));
}

#[test]
fn what_follows_the_file_is_handed_back() {
    let long = vec![b'x'; 200_000];
    for tail in [&b""[..], b"*1\r\n$4\r\nPING\r\n", &long] {
        let mut bytes = Vec::new();
        write_record(&mut bytes, b"key", None, ValueRef::Bytes(&long), &PLAIN);
        let bytes = [&file(10, &bytes), tail].concat();
        let mut reader = Reader::new(&bytes[..], &ReadOptions::default()).expect("the header is sound");
        while !matches!(reader.next().expect("the file is sound"), Item::End) {}
        assert_eq!(reader.offset() as usize, bytes.len() - tail.len());
        let (rest, input) = reader.into_rest();
        assert_eq!([&rest, input].concat(), tail);
    }
}

#[test]
fn attributes_survive() {
    let attributes = Attributes { expires_at: Some(5), idle_s: Some(1 << 40), freq: Some(255) };
    let mut bytes = Vec::new();
    write_record_with(&mut bytes, b"key", attributes, ValueRef::Int(i64::MIN), &COMPRESSED);
    let mut records =
        common::records(&file(10, &bytes), &ReadOptions::default()).expect("it was just written");
    let record = records.pop().expect("one was written");
    assert_eq!((record.expires_at, record.idle_s, record.freq), (Some(5), Some(1 << 40), Some(255)));
    assert!(matches!(record.value, Object::Int(i64::MIN)));
}

#[test]
fn an_empty_file_is_empty() {
    assert_eq!(content(&file(10, b""), &ReadOptions::default()).expect("it is sound"), Content::new());
}
