//! Damaged files are refused, at the right place, and never bring the process down.

mod common;

use base::random::Rng;
use common::{
    COMPRESSED, Fields, PLAIN, file, hash_object, list_object, records, set_object, sorted_set_object,
};
use rdb::{
    ErrorKind, ReadOptions, Thresholds, ValueRef, restore, write_aux, write_record, write_resize_db,
    write_select_db,
};

/// A small file with a record of each kind.
fn sample() -> Vec<u8> {
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
