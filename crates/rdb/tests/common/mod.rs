//! What the tests of this crate share: a model of a file's content, files made from models, models read from
//! files.
#![allow(dead_code, reason = "each test program uses a part")]

pub mod peer;
pub mod streams;

use base::crc::crc64;
use ds::hash::{FieldTable, HashRef};
use ds::list::{End, ListRef, PackedList};
use ds::listpack::Element;
use ds::set::SetRef;
use ds::sorted_set::SortedSetRef;
use ds::stream::{Stream, StreamId};
use rdb::{
    Error, HashObject, Item, ListObject, Object, ReadOptions, Reader, Record, SetBuilder, SetObject,
    SortedSetBuilder, SortedSetObject, Thresholds, ValueRef, WriteOptions, write_aux, write_record,
    write_resize_db, write_select_db,
};
use std::collections::{BTreeMap, BTreeSet};

pub const PLAIN: WriteOptions = WriteOptions { compress: false };
pub const COMPRESSED: WriteOptions = WriteOptions { compress: true };

/// Field to value and expiry.
pub type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Model {
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
    Hash(Fields),
    Set(BTreeSet<Vec<u8>>),
    /// Members in their order, with the bits of their scores.
    SortedSet(Vec<(Vec<u8>, u64)>),
    /// As `describe` tells it.
    Stream(String),
}

/// Key to expiry and value.
pub type Content = BTreeMap<Vec<u8>, (Option<i64>, Model)>;

/// A hash in the form asked for: packed, or a table.
pub fn hash_object(fields: &Fields, packed: bool) -> HashObject {
    if packed {
        let mut bytes = ds::listpack::Listpack::new_empty();
        for (field, (value, _)) in fields {
            ds::listpack::push_back(&mut bytes, field);
            ds::listpack::push_back(&mut bytes, value);
        }
        return HashObject::Packed(bytes);
    }
    let mut table = Box::<FieldTable>::default();
    for (field, (value, expires_at)) in fields {
        assert!(table.insert_new(field, value, *expires_at), "no field comes twice");
    }
    HashObject::Table(table)
}

/// A list in the form that Redis' defaults ask for.
pub fn list_object(elements: &[Vec<u8>]) -> ListObject {
    let mut list = PackedList::default();
    elements.iter().for_each(|element| list.push(End::Back, element));
    ListObject::new(list)
}

pub fn model(object: &Object) -> Model {
    match object {
        Object::Bytes(bytes) => Model::Text(bytes.clone()),
        Object::Set(set) => Model::Set(members(set)),
        Object::List(list) => Model::List(elements(list)),
        Object::SortedSet(set) => Model::SortedSet(scored(set)),
        Object::Stream(stream) => Model::Stream(describe(stream)),
        Object::Int(number) => Model::Text(number.to_string().into_bytes()),
        Object::Hash(hash) => Model::Hash(fields(hash)),
    }
}

/// A set in the form that the thresholds give it.
pub fn set_object(members: &BTreeSet<Vec<u8>>, thresholds: Thresholds) -> SetObject {
    let mut builder = SetBuilder::new(thresholds);
    members.iter().for_each(|member| builder.push(Element::Bytes(member)).expect("no member comes twice"));
    builder.finish().expect("no member comes twice").expect("a set has a member")
}

pub fn members(set: &SetObject) -> BTreeSet<Vec<u8>> {
    if let SetRef::Table(table) = set.view() {
        table.check_invariants();
    }
    let members: BTreeSet<_> = set.view().iter().map(Element::to_vec).collect();
    assert_eq!(members.len(), set.view().len(), "no member comes twice");
    members
}

/// A sorted set in the form that the thresholds give it.
pub fn sorted_set_object(members: &[(Vec<u8>, u64)], thresholds: Thresholds) -> SortedSetObject {
    let mut builder = SortedSetBuilder::new(thresholds);
    for (member, bits) in members {
        builder.push(Element::Bytes(member), f64::from_bits(*bits)).expect("no member comes twice");
    }
    builder.finish().expect("no member comes twice").expect("a sorted set has a member")
}

pub fn scored(set: &SortedSetObject) -> Vec<(Vec<u8>, u64)> {
    if let SortedSetRef::Table(table) = set.view() {
        table.check_invariants();
    }
    let items: Vec<_> = set.view().iter().map(|item| (item.member.to_vec(), item.score)).collect();
    assert!(items.is_sorted_by(|a, b| a.1 < b.1 || a.1 == b.1 && a.0 < b.0), "members stand in order");
    assert_eq!(items.len(), set.view().len());
    items.into_iter().map(|(member, score)| (member, score.to_bits())).collect()
}

pub fn elements(list: &ListObject) -> Vec<Vec<u8>> {
    if let ListRef::Nodes(nodes) = list.view() {
        nodes.check_invariants();
    }
    let mut elements = Vec::new();
    list.view().for_each(|element| elements.push(element.to_vec()));
    elements
}

/// All that a stream holds, but when consumers last got something, which no file of version 10 tells.
pub fn describe(stream: &Stream) -> String {
    stream.check_invariants();
    let entries = stream.entries();
    let mut text = format!(
        "{} entries, last {:?}, first {:?}, deleted up to {:?}, {} added",
        entries.len(),
        entries.last_id(),
        entries.first_id(),
        entries.max_deleted_id(),
        entries.added()
    );
    for entry in entries.range(StreamId::MIN, StreamId::MAX) {
        let pairs: Vec<_> = entry.pairs().map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
        text.push_str(&format!("\n{:?} {pairs:?}", entry.id));
    }
    for (name, group) in stream.groups() {
        text.push_str(&format!("\ngroup {name:?} last {:?} read {:?}", group.last_id, group.entries_read));
        for (id, pending) in group.pending_from(StreamId::MIN) {
            let owner = pending.consumer.map(|owner| group.consumer(owner).name().to_vec());
            let (time, count) = (pending.delivered_at, pending.deliveries);
            text.push_str(&format!("\n  {id:?} of {owner:?} at {time}, {count} times"));
        }
        for (_, consumer) in group.consumers() {
            text.push_str(&format!("\n  consumer {:?} seen {}", consumer.name(), consumer.seen_at));
        }
        text.push_str(&format!("\n  back: {:?}", group.returned_ids().collect::<Vec<_>>()));
    }
    if let Some(producers) = stream.producers() {
        text.push_str(&format!("\n{:?} {:?}", producers.limits(), producers.totals()));
        for (name, ids) in producers.iter() {
            text.push_str(&format!("\nproducer {name:?}: {:?}", ids.collect::<Vec<_>>()));
        }
    }
    text
}

pub fn fields(hash: &HashObject) -> Fields {
    let mut fields = Fields::new();
    let mut add = |field: Vec<u8>, value: Vec<u8>, expires_at| {
        assert_eq!(fields.insert(field, (value, expires_at)), None, "no field comes twice");
    };
    match hash.view() {
        HashRef::Packed(packed) => {
            let elements: Vec<_> = packed.iter().map(|element| element.to_vec()).collect();
            elements.chunks(2).for_each(|pair| add(pair[0].clone(), pair[1].clone(), None));
        }
        HashRef::Table(table) => {
            table.check_invariants();
            table.for_each(|item| add(item.field.to_vec(), item.value.to_vec(), item.expires_at));
        }
    }
    fields
}

/// A file around `records`, which hold opcodes and records.
pub fn file(version: u32, records: &[u8]) -> Vec<u8> {
    let mut bytes = rdb::write_header(version).to_vec();
    bytes.extend_from_slice(records);
    let crc = crc64(0, &bytes);
    rdb::write_eof(&mut bytes, Some(crc));
    bytes
}

pub fn records(bytes: &[u8], options: &ReadOptions) -> Result<Vec<Record>, Error> {
    let mut reader = Reader::new(bytes, options)?;
    let mut records = Vec::new();
    loop {
        match reader.next()? {
            Item::Record(record) => records.push(record),
            Item::End => return Ok(records),
            _ => {}
        }
    }
}

pub fn content(bytes: &[u8], options: &ReadOptions) -> Result<Content, Error> {
    let pairs = records(bytes, options)?.into_iter();
    Ok(pairs.map(|record| (record.key, (record.expires_at, model(&record.value)))).collect())
}

/// A small file with a record of each kind.
pub fn sample() -> Vec<u8> {
    let mut bytes = Vec::new();
    write_aux(&mut bytes, b"redis-ver", b"7.0.15");
    write_select_db(&mut bytes, 0);
    write_resize_db(&mut bytes, 6, 1);
    write_record(&mut bytes, b"int", Some(5), ValueRef::Int(1_000_000), &PLAIN);
    write_record(&mut bytes, b"text", None, ValueRef::Bytes(b"value"), &PLAIN);
    write_record(&mut bytes, b"long", None, ValueRef::Bytes(&[b'x'; 300]), &COMPRESSED);
    for (key, packed, expires_at) in
        [(b"h1", true, None), (b"h2", false, None), (b"h3", false, Some(1 << 41))]
    {
        let mut fields: Fields = (0..5u8).map(|n| (vec![b'a' + n; 3], (vec![n; 4], expires_at))).collect();
        fields.insert(b"n".to_vec(), (b"12345".to_vec(), None));
        let object = hash_object(&fields, packed);
        write_record(&mut bytes, key, None, ValueRef::Hash(object.view()), &PLAIN);
    }
    let elements: Vec<_> = (0..9u8).map(|n| vec![b'a' + n; 5]).collect();
    write_record(&mut bytes, b"list", None, ValueRef::List(list_object(&elements).view()), &PLAIN);
    bytes.extend_from_slice(b"\x0d\x02zl\x16\x16\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf2\x02\x01b\x03\x01x\xff");
    bytes.extend_from_slice(b"\x09\x02zm\x0c\x02\x01a\x01\x00\x31\x01b\x01\x00x\xff");
    for thresholds in [Thresholds::default(), Thresholds { set_ints: 0, ..Thresholds::default() }] {
        let members = (1000..1020).map(|number| number.to_string().into_bytes()).collect();
        let set = set_object(&members, thresholds);
        write_record(&mut bytes, b"set", None, ValueRef::Set(set.view()), &PLAIN);
    }
    for zset_entries in [0, 128] {
        let members: Vec<_> = (0..9u8).map(|n| (vec![b'a' + n; 4], f64::from(n).sqrt().to_bits())).collect();
        let set = sorted_set_object(&members, Thresholds { zset_entries, ..Thresholds::default() });
        write_record(&mut bytes, b"sorted", None, ValueRef::SortedSet(set.view()), &PLAIN);
    }
    bytes.extend_from_slice(b"\x03\x02z1\x02\x01a\x031.5\x01b\xfe");
    bytes.extend_from_slice(b"\x0c\x02z2\x16\x16\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf2\x02\x01b\x03\x019\xff");
    bytes.extend_from_slice(b"\x14\x02sp\x0c\x0c\0\0\0\x02\0\x81a\x02\x07\x01\xff");
    file(12, &bytes)
}
