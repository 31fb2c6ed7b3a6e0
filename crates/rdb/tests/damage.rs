//! Damaged files are refused, at the right place, and never bring the process down.

mod common;

use base::random::Rng;
use common::{records, sample};
use rdb::{ErrorKind, ReadOptions, restore};

#[test]
fn every_cut_is_noticed_where_the_data_ends() {
    let bytes = sample();
    assert_eq!(records(&bytes, &ReadOptions::default()).expect("the sample is sound").len(), 16);
    for len in 0..bytes.len() {
        let error = records(&bytes[..len], &ReadOptions::default()).expect_err("the file is cut");
        assert!(matches!(error.kind, ErrorKind::Truncated), "cut at {len}: {error}");
        assert_eq!(error.offset, len as u64, "{error}");
    }
}

/// The header apart: a lower version has no checksum, and damage to its number cannot be told from one.
#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = sample();
    for bit in 9 * 8..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(records(&damaged, &ReadOptions::default()).is_err(), "bit {bit}");
    }
}

/// Without checksum much damage passes as other content; nothing may panic, and whatever is read must be
/// whole.
#[test]
fn random_damage_does_no_harm() {
    let bytes = sample();
    let mut random = Rng::from_seed(7);
    let options = ReadOptions { verify_checksum: false, ..ReadOptions::default() };
    let mut read_count = 0;
    for _ in 0..50_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(3) {
            let index = 9 + random.below(bytes.len() as u64 - 9) as usize;
            damaged[index] = random.below(256) as u8;
        }
        if let Ok(records) = records(&damaged, &options) {
            records.iter().for_each(|record| drop(common::model(&record.value)));
            read_count += 1;
        }
    }
    assert!(read_count > 100, "some damage must have passed: {read_count}");
}

#[test]
fn random_payloads_do_no_harm() {
    let mut random = Rng::from_seed(8);
    let options = ReadOptions { verify_checksum: false, ..ReadOptions::default() };
    for _ in 0..50_000 {
        let len = random.below(40);
        let mut payload: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
        payload[..].iter_mut().take(1).for_each(|code| *code %= 26);
        payload.extend_from_slice(&[10 + random.below(3) as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        if let Ok(object) = restore(&payload, &options) {
            common::model(&object);
        }
    }
}
