//! What the tests of this crate share: a plain model of the keyspace, and a snapshot's blocks read back
//! into one.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod file;
pub mod groups;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::bytes::escape;
use ds::stream::Stream;
pub use file::File;
use rdb::{Item, Object, ReadOptions, Reader, ValueRef, WriteOptions};
use store::{Db, DbIndex, Key};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Text(Vec<u8>),
    List(VecDeque<Vec<u8>>),
    /// Member to the bits of its score.
    SortedSet(BTreeMap<Vec<u8>, u64>),
    /// Field to value and time of expiry.
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>),
    Set(BTreeSet<Vec<u8>>),
    /// As DUMP tells it.
    Stream(Vec<u8>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub value: Value,
    pub expires_at: Option<i64>,
}

/// Database and name to what stands there.
pub type Model = BTreeMap<(u16, Vec<u8>), Entry>;

/// Compares, and names the first few keys that differ: whole models would fill the screen.
pub fn check_equal(found: &Model, expected: &Model, what: &str) {
    let names = expected.keys().chain(found.keys().filter(|name| !expected.contains_key(name)));
    let differing = names.filter(|name| found.get(name) != expected.get(name));
    let shown: Vec<String> = differing.take(5).map(|(db, name)| format!("{db}/{}", escape(name))).collect();
    assert!(shown.is_empty(), "{what}: the content is not the expected one at {}", shown.join(" "));
}

pub fn text(bytes: &[u8]) -> Entry {
    Entry { value: Value::Text(bytes.to_vec()), expires_at: None }
}

/// Puts a text under a key, whatever is there.
pub fn put_text(db: &mut Db, name: &[u8], bytes: &[u8]) {
    let key = Key::new(name);
    let entry = store::text::entry(name, store::text::Incoming::Slice(bytes), None, 0);
    match db.find(key) {
        Some(slot) => drop(db.replace(slot, entry)),
        None => drop(db.insert(key.hash, entry)),
    }
}

impl File {
    /// Reads the file back; panics if a key comes twice or is not counted.
    pub fn finish(self) -> Model {
        let keys = self.keys;
        let bytes = self.close();
        let mut reader = Reader::new(bytes.as_slice(), &ReadOptions::default()).expect("a header");
        let (mut model, mut db) = (Model::new(), DbIndex(0));
        loop {
            match reader.next().expect("a whole file") {
                Item::SelectDb(number) => db = DbIndex(number as u16),
                Item::Record(record) => {
                    let entry = Entry { value: read_value(&record.value), expires_at: record.expires_at };
                    let old = model.insert((db.0, record.key), entry);
                    assert_eq!(old, None, "a key is saved once");
                }
                Item::End => break,
                other => panic!("blocks hold nothing but records, not {other:?}"),
            }
        }
        assert_eq!(model.len(), keys);
        model
    }
}

/// All that there is to know of a stream.
pub fn stream_bytes(stream: &Stream) -> Vec<u8> {
    let options = WriteOptions { compress: false };
    rdb::dump(ValueRef::Stream(stream), rdb::format::VERSION_FIELD_TTL, &options)
}

fn read_value(object: &Object) -> Value {
    match object {
        Object::Bytes(bytes) => Value::Text(bytes.clone()),
        Object::Int(number) => Value::Text(number.to_string().into_bytes()),
        Object::Set(set) => Value::Set(set.view().iter().map(|member| member.to_vec()).collect()),
        Object::List(list) => {
            let mut elements = VecDeque::new();
            list.view().for_each(|element| elements.push_back(element.to_vec()));
            Value::List(elements)
        }
        Object::SortedSet(set) => {
            let members = set.view().iter().map(|item| (item.member.to_vec(), item.score.to_bits()));
            Value::SortedSet(members.collect())
        }
        Object::Stream(stream) => Value::Stream(stream_bytes(stream)),
        Object::Hash(hash) => {
            let mut fields = BTreeMap::new();
            hash.view().for_each(i64::MIN, |pair| {
                fields.insert(pair.field.to_vec(), (pair.value.to_vec(), pair.expires_at));
            });
            Value::Hash(fields)
        }
    }
}
