//! Long records in parts: each element comes once and in order, payloads are those of DUMP, short records
//! stay whole, and a file that ends too early is refused.

mod common;

use std::io::Cursor;

use common::{
    Content, Fields, Model, PLAIN, content, file, hash_object, list_object, model, set_object,
    sorted_set_object,
};
use rdb::{Item, Long, Part, ReadOptions, Reader, Thresholds, ValueRef, dump, restore, write_record};

/// Long enough that no window holds them all.
const COUNT: usize = 60_000;
/// Of a text that comes in pieces.
const LONG_LEN: usize = 300_000;
/// How many of the texts are.
const LONG_COUNT: usize = 2;

fn texts() -> Vec<Vec<u8>> {
    let text = |number| {
        let before = if matches!(number, 1 | 30_000) { "0".repeat(LONG_LEN) } else { String::new() };
        format!("{before}{number:0100}").into_bytes()
    };
    (0..COUNT).map(text).collect()
}

fn pairs(expires_at: Option<i64>) -> Fields {
    let name = |text: &[u8]| text[text.len() - 10..].to_vec();
    let pairs = texts().into_iter().map(|text| (name(&text), (text, expires_at)));
    let long = |byte: u8| vec![byte; LONG_LEN];
    let more = [(long(b'f'), b"short".to_vec()), (long(b'g'), long(b'v'))];
    pairs.chain(more.map(|(field, value)| (field, (value, expires_at)))).collect()
}

/// How long a text was said to be, and the text.
type Announced = (u64, Vec<u8>);

/// What the parts of one record say.
#[derive(Default)]
struct Taken {
    /// What came as texts.
    long: Vec<(Long, Vec<Announced>)>,
    elements: Vec<Vec<u8>>,
    members: Vec<Vec<u8>>,
    scored: Vec<(Vec<u8>, u64)>,
    pairs: Fields,
    expires_at: Option<i64>,
    /// Items that came as texts.
    item_count: usize,
}

impl Taken {
    fn take(&mut self, part: Part<'_>) {
        match part {
            Part::Begin(long) => {
                self.item_count += usize::from(!matches!(long, Long::String | Long::Payload));
                self.long.push((long, Vec::new()));
            }
            Part::Text(len) => self.texts().push((len, Vec::new())),
            Part::Bytes(bytes) => self.texts().last_mut().expect("it was announced").1.extend(bytes),
            Part::Element(element) => {
                self.settle();
                self.elements.push(element.to_vec());
            }
            Part::Member(member) => self.members.push(member.to_vec()),
            Part::Scored(member, score) => {
                self.settle();
                self.scored.push((member.to_vec(), score.to_bits()));
            }
            Part::Pair(field, value) => drop(self.pairs.insert(field.to_vec(), (value.to_vec(), None))),
            Part::End(expires_at) => self.expires_at = expires_at,
        }
    }

    fn texts(&mut self) -> &mut Vec<Announced> {
        &mut self.long.last_mut().expect("something has begun").1
    }

    /// Long items stand where they came.
    fn settle(&mut self) {
        let is_item = |long: &Long| !matches!(long, Long::String | Long::Payload);
        for (long, texts) in self.long.extract_if(.., |(long, _)| is_item(long)) {
            let mut texts = texts.into_iter().map(|(len, text)| {
                assert_eq!(text.len() as u64, len);
                text
            });
            let text = texts.next().expect("each has one");
            match long {
                Long::Element => self.elements.push(text),
                Long::Member => self.members.push(text),
                Long::Scored(score) => self.scored.push((text, score.to_bits())),
                _ => drop(self.pairs.insert(text, (texts.next().expect("a pair has two"), None))),
            }
            assert_eq!(texts.next(), None);
        }
    }

    /// The one text of a string or a payload.
    fn text(&self) -> &[u8] {
        let [(_, texts)] = &self.long[..] else { panic!("it began {} times", self.long.len()) };
        let [(len, text)] = &texts[..] else { panic!("{} texts", texts.len()) };
        assert_eq!(text.len() as u64, *len);
        text
    }

    fn model(mut self) -> Model {
        self.settle();
        self.scored.reverse();
        match () {
            () if !self.elements.is_empty() => Model::List(self.elements),
            () if !self.members.is_empty() => Model::Set(self.members.into_iter().collect()),
            () if !self.scored.is_empty() => Model::SortedSet(self.scored),
            () if !self.pairs.is_empty() => Model::Hash(self.pairs),
            () if self.long[0].0 == Long::Payload => {
                model(&restore(self.text(), &ReadOptions::default()).expect("a payload"))
            }
            () => Model::Text(self.text().to_vec()),
        }
    }
}

/// All of a file, how many records came in parts, and how many of what those hold.
fn read(bytes: &[u8]) -> Result<(Content, usize, usize), rdb::Error> {
    let mut reader = Reader::new(Cursor::new(bytes), &ReadOptions::default())?;
    let (mut found, mut record_count, mut item_count) = (Content::new(), 0, 0);
    loop {
        let (mut taken, mut name) = (Taken::default(), Vec::new());
        let item = reader.next_or_parts(&mut |key, part| {
            name = key.to_vec();
            taken.take(part);
            Ok(())
        })?;
        match item {
            None => {
                record_count += 1;
                item_count += taken.item_count;
                let expires_at = taken.expires_at;
                found.insert(name, (expires_at, taken.model()));
            }
            Some(Item::End) => return Ok((found, record_count, item_count)),
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
    let (found, record_count, item_count) = read(&bytes).expect("it was just written");
    // Of a hash, two more.
    assert_eq!((record_count, item_count), (6, 4 * LONG_COUNT + 2));
    assert!(found == expected, "the content differs");
}

#[test]
fn a_payload_is_that_of_dump() {
    let hash = hash_object(&pairs(Some(9_000)), false);
    let mut out = Vec::new();
    write_record(&mut out, b"key", None, ValueRef::Hash(hash.view()), &PLAIN);
    let mut reader = Reader::new(Cursor::new(file(12, &out)), &ReadOptions::default()).expect("a header");
    let mut taken = Taken::default();
    while taken.long.is_empty() {
        let item = reader.next_or_parts(&mut |_, part| {
            taken.take(part);
            Ok(())
        });
        assert!(!matches!(item.expect("it was just written"), Some(Item::End)), "no record is long");
    }
    assert!(taken.text() == dump(ValueRef::Hash(hash.view()), 12, &PLAIN), "the payload differs");
}

#[test]
fn what_ends_too_early_is_refused() {
    let bytes = file(12, &sample());
    for cut in (1..20).map(|step| bytes.len() * step / 20) {
        read(&bytes[..cut]).expect_err("it is cut off");
    }
}
