//! Long records in parts: each element comes once and in order, payloads are those of DUMP, short records
//! stay whole, and a file that ends too early is refused.

mod common;

use std::io::Cursor;

use common::{
    Content, Fields, Model, PLAIN, content, file, hash_object, list_object, model, set_object,
    sorted_set_object,
};
use rdb::{Item, Part, ReadOptions, Reader, Thresholds, ValueRef, dump, restore, write_record};

/// Long enough that no window holds them all.
const COUNT: usize = 60_000;

fn texts() -> Vec<Vec<u8>> {
    (0..COUNT).map(|number| format!("{number:0100}").into_bytes()).collect()
}

fn pairs(expires_at: Option<i64>) -> Fields {
    texts().into_iter().map(|text| (text[90..].to_vec(), (text, expires_at))).collect()
}

/// What the parts of one record say.
#[derive(Default)]
struct Taken {
    bytes: Vec<u8>,
    announced: u64,
    is_payload: bool,
    elements: Vec<Vec<u8>>,
    members: Vec<Vec<u8>>,
    scored: Vec<(Vec<u8>, u64)>,
    pairs: Fields,
    expires_at: Option<i64>,
}

impl Taken {
    fn take(&mut self, part: Part<'_>) {
        match part {
            Part::String(len) => self.announced = len,
            Part::Payload(len) => (self.announced, self.is_payload) = (len, true),
            Part::Bytes(bytes) => self.bytes.extend_from_slice(bytes),
            Part::Element(element) => self.elements.push(element.to_vec()),
            Part::Member(member) => self.members.push(member.to_vec()),
            Part::Scored(member, score) => self.scored.push((member.to_vec(), score.to_bits())),
            Part::Pair(field, value) => drop(self.pairs.insert(field.to_vec(), (value.to_vec(), None))),
            Part::End(expires_at) => self.expires_at = expires_at,
        }
    }

    fn model(mut self) -> Model {
        assert_eq!(self.bytes.len() as u64, self.announced);
        if self.is_payload {
            return model(&restore(&self.bytes, &ReadOptions::default()).expect("a payload"));
        }
        self.scored.reverse();
        match () {
            () if !self.elements.is_empty() => Model::List(self.elements),
            () if !self.members.is_empty() => Model::Set(self.members.into_iter().collect()),
            () if !self.scored.is_empty() => Model::SortedSet(self.scored),
            () if !self.pairs.is_empty() => Model::Hash(self.pairs),
            () => Model::Text(self.bytes),
        }
    }
}

/// All of a file, and how many records came in parts.
fn read(bytes: &[u8]) -> Result<(Content, usize), rdb::Error> {
    let mut reader = Reader::new(Cursor::new(bytes), &ReadOptions::default())?;
    let (mut found, mut long_count) = (Content::new(), 0);
    loop {
        let (mut taken, mut name) = (Taken::default(), Vec::new());
        let item = reader.next_or_parts(&mut |key, part| {
            name = key.to_vec();
            taken.take(part);
            Ok(())
        })?;
        match item {
            None => {
                long_count += 1;
                let expires_at = taken.expires_at;
                found.insert(name, (expires_at, taken.model()));
            }
            Some(Item::End) => return Ok((found, long_count)),
            Some(Item::Record(record)) => {
                found.insert(record.key, (record.expires_at, model(&record.value)));
            }
            Some(_) => {}
        }
    }
}

fn add(out: &mut Vec<u8>, key: &str, expires_at: Option<i64>, value: ValueRef<'_>) {
    let short = format!("short {key}");
    write_record(out, short.as_bytes(), Some(7), ValueRef::Int(1), &PLAIN);
    write_record(out, key.as_bytes(), expires_at, value, &PLAIN);
}

fn sample() -> Vec<u8> {
    let mut out = Vec::new();
    let (texts, thresholds) = (texts(), Thresholds::default());
    add(&mut out, "string", Some(1_000), ValueRef::Bytes(&texts.concat()));
    add(&mut out, "list", None, ValueRef::List(list_object(&texts).view()));
    add(
        &mut out,
        "set",
        Some(2_000),
        ValueRef::Set(set_object(&texts.iter().cloned().collect(), thresholds).view()),
    );
    let scored: Vec<_> =
        texts.iter().enumerate().map(|(at, text)| (text.clone(), (at as f64 / 2.0).to_bits())).collect();
    add(&mut out, "zset", None, ValueRef::SortedSet(sorted_set_object(&scored, thresholds).view()));
    add(&mut out, "hash", Some(3_000), ValueRef::Hash(hash_object(&pairs(None), false).view()));
    add(&mut out, "expiring", None, ValueRef::Hash(hash_object(&pairs(Some(9_000)), false).view()));
    out
}

#[test]
fn parts_make_up_the_values() {
    let bytes = file(12, &sample());
    let expected = content(&bytes, &ReadOptions::default()).expect("it was just written");
    let (found, long_count) = read(&bytes).expect("it was just written");
    assert_eq!(long_count, 6);
    assert!(found == expected, "the content differs");
}

#[test]
fn a_payload_is_that_of_dump() {
    let hash = hash_object(&pairs(Some(9_000)), false);
    let mut out = Vec::new();
    write_record(&mut out, b"key", None, ValueRef::Hash(hash.view()), &PLAIN);
    let mut reader = Reader::new(Cursor::new(file(12, &out)), &ReadOptions::default()).expect("a header");
    let mut taken = Taken::default();
    while taken.bytes.is_empty() {
        let item = reader.next_or_parts(&mut |_, part| {
            taken.take(part);
            Ok(())
        });
        assert!(!matches!(item.expect("it was just written"), Some(Item::End)), "no record is long");
    }
    assert!(taken.bytes == dump(ValueRef::Hash(hash.view()), 12, &PLAIN), "the payload differs");
}

#[test]
fn what_ends_too_early_is_refused() {
    let bytes = file(12, &sample());
    for cut in (1..20).map(|step| bytes.len() * step / 20) {
        read(&bytes[..cut]).expect_err("it is cut off");
    }
}
