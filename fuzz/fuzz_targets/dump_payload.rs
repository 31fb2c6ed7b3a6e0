//! DUMP payloads: RESTORE takes any bytes, and what it takes comes back from DUMP unchanged.
#![no_main]

use fuzz::{Choices, bounded, model};
use libfuzzer_sys::fuzz_target;
use rdb::{ReadOptions, WriteOptions, dump, restore};

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let write = WriteOptions { compress: choices.is_true() };
    let versions = [9, 10, 11, 12, 80];
    let version: u16 = versions[choices.below(versions.len())];
    let mut payload = choices.rest().to_vec();
    payload.extend_from_slice(&version.to_le_bytes());
    payload.extend_from_slice(&[0; 8]);
    let options = ReadOptions { verify_checksum: false, ..ReadOptions::default() };
    // Of a long string whose length cannot be true one piece of 1 MB is made ready.
    let found = bounded(payload.len(), 2 << 20, 2000, || restore(&payload, &options));
    let Ok(object) = found else { return };
    let content = model(&object);
    let again = restore(&dump(object.view(), 10, &write), &ReadOptions::default());
    assert_eq!(model(&again.expect("what DUMP writes is restored")), content);
});
