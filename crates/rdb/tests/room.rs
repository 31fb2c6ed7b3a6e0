//! Large collections announce how many items they have: their tables are made ready for them, as far as what
//! may follow justifies that.

use ds::hash::{FieldTable, HashRef};
use ds::set::{MemberTable, SetRef};
use ds::sorted_set::{ScoredTable, SortedSetRef};
use rdb::{
    ErrorKind, Item, Object, ReadOptions, Reader, ValueRef, WriteOptions, dump, restore, write_eof,
    write_header, write_record,
};

const PLAIN: WriteOptions = WriteOptions { compress: false };
/// The segments of a table that has grown to so many items have other sizes than of one laid out for them:
/// they are near the end of one.
const COUNT: usize = 315_000;

fn texts() -> impl DoubleEndedIterator<Item = Vec<u8>> + ExactSizeIterator {
    (0..COUNT).map(|number| format!("item:{number:012}").into_bytes())
}

fn hash() -> FieldTable {
    let mut table = FieldTable::default();
    table.lay_out(COUNT);
    texts().for_each(|text| assert!(table.insert_new(&text, b"v", None)));
    table
}

fn set() -> MemberTable {
    let mut table = MemberTable::default();
    table.lay_out(COUNT);
    texts().for_each(|text| assert!(table.insert(&text)));
    table
}

fn sorted_set() -> ScoredTable {
    let mut table = ScoredTable::default();
    table.lay_out(COUNT);
    // As they are read: from the last to the first.
    texts().enumerate().rev().for_each(|(rank, text)| assert!(table.insert_new(&text, rank as f64)));
    table
}

fn memory(object: &Object) -> usize {
    match object.view() {
        ValueRef::Hash(HashRef::Table(table)) => table.memory(),
        ValueRef::Set(SetRef::Table(table)) => table.memory(),
        ValueRef::SortedSet(SortedSetRef::Table(table)) => table.memory(),
        _ => panic!("it has a table"),
    }
}

fn file(value: ValueRef<'_>) -> Vec<u8> {
    let mut file = write_header(12).to_vec();
    write_record(&mut file, b"key", None, value, &PLAIN);
    write_eof(&mut file, None);
    file
}

fn read(file: &[u8], room: u64) -> Result<Object, ErrorKind> {
    let options = ReadOptions { room, ..ReadOptions::default() };
    match Reader::new(file, &options).expect("a header").next() {
        Ok(Item::Record(record)) => Ok(record.value),
        Ok(other) => panic!("{other:?} is no record"),
        Err(error) => Err(error.kind),
    }
}

fn check(value: ValueRef<'_>, laid_out: usize) {
    let file = file(value);
    let from_file = |room| memory(&read(&file, room).expect("a sound file"));
    assert_eq!(from_file(file.len() as u64), laid_out);
    assert_ne!(from_file(0), laid_out, "nothing is known of the file's length");
    let payload = dump(value, 12, &PLAIN);
    let restored = restore(&payload, &ReadOptions::default()).expect("a sound payload");
    assert_eq!(memory(&restored), laid_out, "a payload is there as a whole");
}

#[test]
fn tables_are_made_ready_for_what_is_announced() {
    let table = hash();
    check(ValueRef::Hash(HashRef::Table(&table)), table.memory());
    let table = set();
    check(ValueRef::Set(SetRef::Table(&table)), table.memory());
    let table = sorted_set();
    check(ValueRef::SortedSet(SortedSetRef::Table(&table)), table.memory());
}

/// An exabyte would be set aside for the fields that it announces.
#[test]
fn a_false_count_takes_no_more_memory_than_what_follows_may_need() {
    let mut table = FieldTable::default();
    (0..1000).for_each(|number| assert!(table.insert_new(format!("{number}").as_bytes(), b"v", None)));
    let mut file = file(ValueRef::Hash(HashRef::Table(&table)));
    let count = file.windows(2).position(|bytes| bytes == 0x43e8u16.to_be_bytes()).expect("a count of 1000");
    let most = [&[0x81][..], &u64::MAX.to_be_bytes()].concat();
    file.splice(count..count + 2, most);
    let len = file.len() as u64;
    for room in [0, len, 100 * len] {
        assert!(read(&file, room).is_err(), "room for {room} bytes");
    }
}
