//! Records that are cut out as they are and decoded later are what the reader yields one by one, and are
//! refused as it refuses them; behind a damaged record reading can go on.

mod common;

use std::io::{Cursor, Read};

use base::random::Rng;
use common::streams::{newer_samples, samples};
use common::{Model, PLAIN, file, model, sample};
use rdb::{
    Batch, Error, Item, Object, RawValue, ReadOptions, Reader, ValueRef, write_record, write_select_db,
};

/// What a file holds, in order, and where and why it was refused.
type Outcome = (Vec<String>, Option<String>);

fn record(key: &[u8], expires_at: Option<i64>, value: Model) -> String {
    format!("{key:?} {expires_at:?} {value:?}")
}

fn other(item: &Item) -> String {
    format!("{item:?}")
}

fn one_by_one(bytes: &[u8], options: &ReadOptions) -> Outcome {
    let mut seen = Vec::new();
    let mut read = || -> Result<(), Error> {
        let mut reader = Reader::new(bytes, options)?;
        loop {
            match reader.next()? {
                Item::End => return Ok(()),
                Item::Record(one) => seen.push(record(&one.key, one.expires_at, model(&one.value))),
                item => seen.push(other(&item)),
            }
        }
    };
    let end = read().err().map(|error| format!("{error} {}", error.item_offset));
    (seen, end)
}

fn in_batches(input: impl Read, options: &ReadOptions) -> Outcome {
    let mut seen = Vec::new();
    let read = || -> Result<(), Error> {
        let (mut reader, mut batch) = (Reader::new(input, options)?, Batch::default());
        loop {
            match reader.next_batch(&mut batch)? {
                Some(Item::End) => return Ok(()),
                Some(Item::Record(one)) => seen.push(record(&one.key, one.expires_at, model(&one.value))),
                Some(item) => seen.push(other(&item)),
                None => decode(&batch, &mut seen)?,
            }
        }
    };
    let end = read().err().map(|error| format!("{error} {}", error.item_offset));
    (seen, end)
}

fn decode(batch: &Batch, seen: &mut Vec<String>) -> Result<(), Error> {
    assert!(!batch.is_empty());
    let mut records = batch.records();
    while let Some(one) = records.next()? {
        let value = match one.value {
            RawValue::Text(bytes) => Model::Text(bytes.into_owned()),
            RawValue::Object(object) => model(&object),
        };
        seen.push(record(&one.key, one.attributes.expires_at, value));
    }
    assert_eq!(records.offset(), batch.begin() + batch.len() as u64);
    Ok(())
}

/// Gives a few bytes per read.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = out.len().min(1 + self.0.len() % 7).min(self.0.len());
        self.0.read(&mut out[..len])
    }
}

fn check(bytes: &[u8], options: &ReadOptions) {
    let expected = one_by_one(bytes, options);
    assert_eq!(in_batches(bytes, options), expected);
}

fn stream_files() -> Vec<Vec<u8>> {
    let streams = samples().into_iter().map(|stream| (11, stream)).chain(newer_samples());
    let one = |(version, stream)| {
        let mut bytes = Vec::new();
        write_record(&mut bytes, b"stream", Some(9), ValueRef::Stream(&stream), &PLAIN);
        write_record(&mut bytes, b"next", None, ValueRef::Int(1), &PLAIN);
        file(version, &bytes)
    };
    streams.map(one).collect()
}

/// Records of many sizes, so that windows and batches end everywhere.
fn large() -> Vec<u8> {
    let (mut random, mut bytes) = (Rng::from_seed(3), Vec::new());
    for number in 0..400u32 {
        if number.is_multiple_of(50) {
            write_select_db(&mut bytes, u64::from(number / 50));
        }
        let len = 1usize << random.below(18);
        let value = vec![number as u8; len + random.below(len as u64) as usize];
        write_record(&mut bytes, &number.to_le_bytes(), None, ValueRef::Bytes(&value), &PLAIN);
    }
    file(10, &bytes)
}

#[test]
fn batches_hold_what_the_reader_yields() {
    let options = ReadOptions::default();
    for bytes in stream_files().into_iter().chain([sample(), large(), file(10, b"")]) {
        check(&bytes, &options);
    }
    let bytes = sample();
    assert_eq!(in_batches(Trickle(&bytes), &options), one_by_one(&bytes, &options));
}

#[test]
fn a_record_too_large_for_a_batch_comes_by_itself() {
    let mut bytes = Vec::new();
    for (key, len) in [(b"a", 10), (b"b", 6 << 20), (b"c", 10)] {
        write_record(&mut bytes, key, None, ValueRef::Bytes(&vec![b'x'; len]), &PLAIN);
    }
    check(&file(10, &bytes), &ReadOptions::default());
}

#[test]
fn what_is_said_of_a_key_may_stand_before_other_things() {
    let bytes = file(10, b"\xfc\x01\0\0\0\0\0\0\0\xfe\x03\0\x01k\x01v\0\x01l\x01v\xf9\x07");
    check(&bytes, &ReadOptions::default());
    assert_eq!(
        one_by_one(&bytes, &ReadOptions::default()).0[1],
        record(b"k", Some(1), Model::Text(b"v".to_vec()))
    );
}

#[test]
fn damage_is_told_as_the_reader_tells_it() {
    let mut files = stream_files();
    files.push(sample());
    for bytes in files {
        for verify_checksum in [true, false] {
            let options = ReadOptions { verify_checksum, ..ReadOptions::default() };
            for at in 0..bytes.len() {
                check(&bytes[..at], &options);
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                check(&damaged, &options);
                damaged[at] = !bytes[at];
                check(&damaged, &options);
            }
        }
    }
}

/// Every record of the file but those that are damaged, and why the rest could not be read.
fn salvage(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>, Option<Error>) {
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(Cursor::new(bytes), &ReadOptions::default()).expect("a header");
    loop {
        match reader.next() {
            Ok(Item::End) => return (kept, lost, None),
            Ok(Item::Record(record)) => kept.push(record.key),
            Ok(_) => {}
            Err(error) => {
                lost.push(error.key.clone().unwrap_or_default());
                if let Err(end) = reader.pass_damaged(&error) {
                    return (kept, lost, Some(end));
                }
            }
        }
    }
}

#[test]
fn reading_goes_on_behind_a_damaged_record() {
    let mut bytes = Vec::new();
    write_record(&mut bytes, b"a", None, ValueRef::Int(1), &PLAIN);
    // A listpack that is none, with a time of expiry before it; a compressed string that does not unpack; a
    // module's value: a number, a double, a string.
    bytes.extend_from_slice(b"\xfc\x01\0\0\0\0\0\0\0\x10\x01b\x03abc");
    bytes.extend_from_slice(b"\0\x01c\xc3\x02\x09\0a");
    bytes.extend_from_slice(b"\x07\x01d\x81\0\0\0\0\0\0\0\x01\x02\x05\x0412345678\x05\x02xy\0");
    write_record(&mut bytes, b"e", None, ValueRef::Int(1), &PLAIN);
    let keys = |names: &[u8]| names.iter().map(|name| vec![*name]).collect::<Vec<_>>();
    let (kept, lost, end) = salvage(&file(10, &bytes));
    assert_eq!((kept, lost), (keys(b"ae"), keys(b"bcd")));
    assert!(end.is_none(), "{end:?}");
    bytes.extend_from_slice(b"\x63\x01f\x01v");
    let (kept, lost, end) = salvage(&file(10, &bytes));
    assert_eq!((kept, lost.len()), (keys(b"ae"), 4));
    let end = end.expect("what has no type cannot be gone past");
    assert_eq!(end.item_offset + 5 + 9, file(10, &bytes).len() as u64);
}

#[test]
fn salvage_ends_whatever_the_damage() {
    let (bytes, mut random) = (sample(), Rng::from_seed(11));
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(3) {
            let index = 9 + random.below(bytes.len() as u64 - 9) as usize;
            damaged[index] = random.below(256) as u8;
        }
        let (kept, lost, _) = salvage(&damaged);
        assert!(kept.len() + lost.len() <= bytes.len());
    }
}

#[test]
fn numbers_and_texts_are_told_apart() {
    let mut bytes = Vec::new();
    for text in [&b""[..], b"7", b"007", b"-9223372036854775808", b"12345678901", b"abc", &[b'x'; 30]] {
        bytes.extend_from_slice(b"\0\x01k");
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text);
    }
    let bytes = file(10, &bytes);
    let (mut reader, mut batch) =
        (Reader::new(&bytes[..], &ReadOptions::default()).expect("a header"), Batch::default());
    assert!(reader.next_batch(&mut batch).expect("a sound file").is_none());
    let (mut records, mut numbers) = (batch.records(), Vec::new());
    while let Some(record) = records.next().expect("sound records") {
        if let RawValue::Object(Object::Int(number)) = record.value {
            numbers.push(number);
        }
    }
    assert_eq!(numbers, [7, i64::MIN, 12_345_678_901]);
}
