//! What the tests of this crate share: a plain model of the keyspace, and a snapshot's blocks read back
//! into one.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod groups;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::bytes::escape;
use base::crc::crc64;
use ds::stream::Stream;
use rdb::{Item, Object, ReadOptions, Reader, ValueRef, WriteOptions};
use store::snapshot::{Block, Output, Region};
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

/// A snapshot's file, made of encoded blocks and of regions that are filled in any order.
pub struct File {
    bytes: Vec<u8>,
    keys: usize,
    open: BTreeMap<Region, Body>,
    /// Values that came in pieces.
    pub regions: usize,
}

/// Where a region's body is, and which bytes of it have come.
struct Body {
    start: usize,
    filled: Vec<bool>,
}

impl Default for File {
    fn default() -> File {
        let bytes = rdb::write_header(rdb::format::VERSION_FIELD_TTL).to_vec();
        File { bytes, keys: 0, open: BTreeMap::new(), regions: 0 }
    }
}

impl File {
    pub fn add(&mut self, output: &Output) {
        self.keys += output.keys();
        match output {
            Output::Entries(block) => self.add_block(block),
            Output::Opening(opening) => {
                rdb::write_select_db(&mut self.bytes, u64::from(opening.db.0));
                self.bytes.extend_from_slice(&opening.head);
                let (start, len) = (self.bytes.len(), opening.body_len as usize);
                self.bytes.resize(start + len, 0);
                self.open.insert(opening.region, Body { start, filled: vec![false; len] });
                self.regions += 1;
            }
            Output::Piece(piece) => {
                let body = self.open.get_mut(&piece.region).expect("a region is opened before its pieces");
                let mut room = Vec::new();
                let bytes = piece.bytes(&mut room);
                let place = piece.at as usize..piece.at as usize + bytes.len();
                assert!(!body.filled[place.clone()].contains(&true), "a byte is written once");
                body.filled[place.clone()].fill(true);
                self.bytes[body.start..][place].copy_from_slice(bytes);
            }
            Output::Closing(region) => {
                let body = self.open.remove(region).expect("a region is closed once");
                assert!(!body.filled.contains(&false), "a region is filled exactly");
            }
            Output::Garbage(_) | Output::Wait => {}
        }
    }

    fn add_block(&mut self, block: &Block) {
        rdb::write_select_db(&mut self.bytes, u64::from(block.db.0));
        for record in block.records() {
            let rest = record.encode(&mut self.bytes, &WriteOptions { compress: false });
            self.bytes.extend_from_slice(rest);
        }
    }

    /// Reads the file back; panics if a key comes twice or is not counted.
    pub fn finish(mut self) -> Model {
        assert!(self.open.is_empty(), "every region is closed");
        let crc = crc64(0, &self.bytes);
        rdb::write_eof(&mut self.bytes, Some(crc));
        let mut reader = Reader::new(self.bytes.as_slice(), &ReadOptions::default()).expect("a header");
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
        assert_eq!(model.len(), self.keys);
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
