//! RDB files: whatever the bytes, the reader returns sound values or an error, and allocates in proportion.
#![no_main]

use fuzz::{bounded, model};
use libfuzzer_sys::fuzz_target;
use rdb::{Error, Item, ReadOptions, Reader, Record};

fuzz_target!(|data: &[u8]| {
    let options = ReadOptions { verify_checksum: false, ..ReadOptions::default() };
    // A byte of LZF can stand for 88 bytes, which are copied a few times on their way into a table.
    let records = bounded(data.len(), 2 << 20, 2000, || read(data, &options));
    for record in records.iter().flatten() {
        model(&record.value);
    }
    if let Ok(again) = read(data, &ReadOptions::default()) {
        let records = records.expect("what passes with its checksum passes without");
        assert!(again.iter().map(|record| &record.key).eq(records.iter().map(|record| &record.key)));
    }
});

fn read(bytes: &[u8], options: &ReadOptions) -> Result<Vec<Record>, Error> {
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
