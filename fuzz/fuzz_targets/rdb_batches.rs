//! Records cut out of a file and decoded later: the same content, or the same refusal in the same place, as
//! one by one; and reading goes on behind damage without an end only if the input has none.
#![no_main]

use std::io::Cursor;

use fuzz::{Model, bounded, model};
use libfuzzer_sys::fuzz_target;
use rdb::{Batch, Error, Item, RawValue, ReadOptions, Reader};

/// What a file holds, in order, and how it was refused.
type Outcome = (Vec<(Vec<u8>, Option<i64>, Model)>, Option<String>);

fuzz_target!(|data: &[u8]| {
    for verify_checksum in [false, true] {
        let options = ReadOptions { verify_checksum, ..ReadOptions::default() };
        assert_eq!(in_batches(data, &options), one_by_one(data, &options));
    }
    bounded(data.len(), 2 << 20, 2000, || salvage(data));
});

fn one_by_one(bytes: &[u8], options: &ReadOptions) -> Outcome {
    let mut seen = Vec::new();
    let mut read = || -> Result<(), Error> {
        let mut reader = Reader::new(bytes, options)?;
        loop {
            match reader.next()? {
                Item::End => return Ok(()),
                Item::Record(one) => seen.push((one.key, one.expires_at, model(&one.value))),
                _ => {}
            }
        }
    };
    let end = read().err().map(|error| error.to_string());
    (seen, end)
}

fn in_batches(bytes: &[u8], options: &ReadOptions) -> Outcome {
    let mut seen = Vec::new();
    let mut read = || -> Result<(), Error> {
        let (mut reader, mut batch) = (Reader::new(bytes, options)?, Batch::default());
        loop {
            match reader.next_batch(&mut batch)? {
                Some(Item::End) => return Ok(()),
                Some(Item::Record(one)) => seen.push((one.key, one.expires_at, model(&one.value))),
                Some(_) => {}
                None => {
                    let mut records = batch.records();
                    while let Some(one) = records.next()? {
                        let value = match one.value {
                            RawValue::Text(bytes) => Model::Text(bytes.into_owned()),
                            RawValue::Object(object) => model(&object),
                        };
                        seen.push((one.key.into_owned(), one.attributes.expires_at, value));
                    }
                }
            }
        }
    };
    let end = read().err().map(|error| error.to_string());
    (seen, end)
}

fn salvage(bytes: &[u8]) {
    let Ok(mut reader) = Reader::new(Cursor::new(bytes), &ReadOptions::default()) else { return };
    let mut steps = 0;
    loop {
        match reader.next() {
            Ok(Item::End) => return,
            Ok(_) => {}
            Err(error) if reader.pass_damaged(&error).is_err() => return,
            Err(_) => {}
        }
        steps += 1;
        assert!(steps <= 2 * bytes.len(), "each step goes on by a byte at least");
    }
}
