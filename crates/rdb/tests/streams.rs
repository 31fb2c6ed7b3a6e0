//! Streams as bytes: written and read again, in every form they have had, damaged, and to and from the
//! servers that are installed.

mod common;

use base::crc::crc64;
use base::random::Rng;
use common::peer::Peer;
use common::streams::{newer_samples, samples};
use common::{COMPRESSED, Model, PLAIN, content, describe, file, model};
use ds::stream::{Pending, Stream, StreamId};
use proptest::collection::vec;
use proptest::prelude::*;
use rdb::{Object, ReadOptions, RestoreError, ValueRef, WriteOptions, dump, restore, write_record};

fn payload_of(stream: &Stream, options: &WriteOptions) -> Vec<u8> {
    dump(ValueRef::Stream(stream), 10, options)
}

fn restored(payload: &[u8]) -> Box<Stream> {
    match restore(payload, &ReadOptions::default()) {
        Ok(Object::Stream(stream)) => stream,
        other => panic!("a stream is expected, not {other:?}"),
    }
}

#[test]
fn streams_survive() {
    let check = |stream: &Stream, version: u32| {
        assert_eq!(rdb::version_needed(ValueRef::Stream(stream)), version);
        for options in [&PLAIN, &COMPRESSED] {
            let payload = payload_of(stream, options);
            assert_eq!(u32::from(payload[payload.len() - 10]), version);
            let copy = restored(&payload);
            assert_eq!(describe(&copy), describe(stream));
            assert_eq!(payload_of(&copy, options), payload);
        }
        let mut bytes = Vec::new();
        write_record(&mut bytes, b"key", None, ValueRef::Stream(stream), &COMPRESSED);
        let read = content(&file(version, &bytes), &ReadOptions::default()).expect("it was just written");
        assert_eq!(read[&b"key"[..]], (None, Model::Stream(describe(stream))));
    };
    samples().iter().for_each(|stream| check(stream, 10));
    newer_samples().iter().for_each(|(version, stream)| check(stream, *version));
}

#[test]
fn the_length_of_what_is_large_is_known() {
    for stream in samples() {
        let payload = payload_of(&stream, &PLAIN);
        let around: usize = stream.groups().map(|(_, group)| 40 + 30 * group.consumer_count()).sum();
        let rest = payload.len() as u64 - stream.rdb_len();
        assert!(rest <= 60 + around as u64, "{rest} bytes beside {}", stream.rdb_len());
    }
}

/// Two entries: 1-1 with field a, 2-0 likewise.
const NODE: &[u8] = b"\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\
    \x27\x27\0\0\0\x0f\0\x02\x01\0\x01\x01\x01\x81a\x02\0\x01\
    \x02\x01\0\x01\0\x01\x01\x01\x04\x01\x02\x01\x01\x01\xdf\xff\x02\x02\x01\x04\x01\xff";

fn payload(value: &[&[u8]]) -> Vec<u8> {
    let summed = [&value.concat(), &b"\x0b\0"[..]].concat();
    [&summed[..], &crc64(0, &summed).to_le_bytes()].concat()
}

#[test]
fn every_form_is_read() {
    let group = b"\x01\x01g\x02\0";
    let pending = b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x07\0\0\0\0\0\0\0\x03";
    let consumer = b"\x01\x01c\x08\0\0\0\0\0\0\0";
    let own = b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01";
    let check = |value: &[&[u8]], read: Option<u64>, active: Option<i64>| {
        let stream = restored(&payload(value));
        let text = describe(&stream);
        assert!(
            text.starts_with("2 entries, last StreamId { ms: 2, seq: 0 }, first StreamId { ms: 1, seq: 1 }")
        );
        let group = stream.group(b"g").expect("there is one");
        assert_eq!((group.entries_read, group.last_id), (read, StreamId::new(2, 0)));
        let consumer = group.consumer_named(b"c").expect("there is one");
        assert_eq!((group.consumer(consumer).seen_at, group.consumer(consumer).active_at), (8, active));
        let pending = Pending { consumer: Some(consumer), delivered_at: 7, deliveries: 3 };
        assert_eq!(group.pending(StreamId::new(1, 1)), Some(pending));
    };
    check(&[b"\x0f\x01", NODE, b"\x02\x02\0", group, pending, consumer, own], Some(2), Some(8));
    let ids = b"\x02\x02\0\x01\x01\0\0\x05";
    check(&[b"\x13\x01", NODE, ids, group, b"\x02", pending, consumer, own], Some(2), Some(8));
    let unknown = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff";
    check(&[b"\x13\x01", NODE, ids, group, unknown, pending, consumer, own], None, Some(8));
    let (active, never) = (b"\x06\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\xff");
    check(&[b"\x15\x01", NODE, ids, group, b"\x02", pending, consumer, active, own], Some(2), Some(6));
    check(&[b"\x15\x01", NODE, ids, group, b"\x02", pending, consumer, never, own], Some(2), None);
    let unused = b"\x40\x64\x40\x64\0\0\0";
    check(
        &[b"\x1a\x01", NODE, ids, group, b"\x02", pending, consumer, active, own, unused],
        Some(2),
        Some(6),
    );
    check(
        &[b"\x1b\x01", NODE, ids, group, b"\x02", pending, consumer, active, own, b"\0", unused],
        Some(2),
        Some(6),
    );
}

#[test]
fn what_is_wrong_is_told() {
    let check = |value: &[&[u8]], expected: &str| match restore(&payload(value), &ReadOptions::default()) {
        Err(RestoreError::BadData(error)) => assert_eq!(error.kind.to_string(), expected),
        other => panic!("{value:?} gives {other:?}"),
    };
    let ids = b"\x02\x02\0\x01\x01\0\0\x05";
    check(&[b"\x13\x01\x01k", &NODE[17..]], "a stream node's key is no id");
    check(&[b"\x13\x01", &NODE[..17], b"\x03abc"], "a stream's node is damaged");
    check(&[b"\x13\x02", NODE, NODE], "a stream's node is damaged");
    check(
        &[b"\x13\x01", NODE, b"\x03\x02\0\x01\x01\0\0\x05\0"],
        "a stream's length is not that of its nodes",
    );
    let group = b"\x01g\x02\0\x02\0\0";
    check(&[b"\x13\x01", NODE, ids, b"\x02", group, group], "a stream has a group twice");
    let pending = b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x07\0\0\0\0\0\0\0\x03";
    let head = b"\x01\x01g\x02\0\x02";
    check(&[b"\x13\x01", NODE, ids, head, b"\x02", pending, pending], "an entry is pending twice");
    check(&[b"\x13\x01", NODE, ids, head, b"\x01", pending, b"\0"], "a pending entry has no consumer");
    let consumer = b"\x01c\x08\0\0\0\0\0\0\0";
    let own = &pending[..16];
    check(
        &[b"\x13\x01", NODE, ids, head, b"\0\x02", consumer, b"\0", consumer, b"\0"],
        "a group has a consumer twice",
    );
    let strange = "a consumer's entry is not pending in its group, or another's";
    check(&[b"\x13\x01", NODE, ids, head, b"\0\x01", consumer, b"\x01", own], strange);
    let other = b"\x01d\x08\0\0\0\0\0\0\0";
    check(
        &[
            b"\x13\x01",
            NODE,
            ids,
            head,
            b"\x01",
            pending,
            b"\x02",
            consumer,
            b"\x01",
            own,
            other,
            b"\x01",
            own,
        ],
        strange,
    );
    check(&[b"\x13\x81\xff\xff\xff\xff\xff\xff\xff\xff", NODE], "the data ends too early");
    check(
        &[b"\x13\x01", NODE, ids, head, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff"],
        "the data ends too early",
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_does_no_harm(
        sample in 0..8usize,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let newer = newer_samples().into_iter().map(|(_, stream)| stream);
        let stream = samples().into_iter().chain(newer).nth(sample).expect("there are eight");
        let mut payload = payload_of(&stream, &PLAIN);
        let len = payload.len() - 10;
        for (at, byte) in damage {
            let at = at.index(len);
            payload[at] = byte;
        }
        let options = ReadOptions { verify_checksum: false, ..ReadOptions::default() };
        if let Ok(object) = restore(&payload, &options) {
            model(&object);
        }
    }
}

#[test]
fn cuts_are_noticed() {
    let mut random = Rng::from_seed(3);
    for stream in samples().into_iter().chain(newer_samples().into_iter().map(|(_, stream)| stream)) {
        let payload = payload_of(&stream, &PLAIN);
        for _ in 0..200 {
            let cut = 1 + random.below(payload.len() as u64 - 11) as usize;
            let cut = [&payload[..cut], &payload[payload.len() - 10..]].concat();
            let options = ReadOptions { verify_checksum: false, ..ReadOptions::default() };
            assert!(matches!(restore(&cut, &options), Err(RestoreError::BadData(_))));
        }
    }
}

/// Commands that leave a stream with everything that Redis 7.0 knows.
const COMMANDS: &[&str] = &[
    "XADD s 1-1 a 1 b two",
    "XADD s 1-2 a 2 b three",
    "XADD s 5-0 other -70000",
    "XADD s 5-7 a 3 b four",
    "XADD s 6-0 gone 1",
    "XGROUP CREATE s g 0",
    "XGROUP CREATE s h 5-0",
    "XREADGROUP GROUP g alice COUNT 2 STREAMS s >",
    "XREADGROUP GROUP g bob COUNT 1 STREAMS s >",
    "XCLAIM s g alice 0 5-0 TIME 5000 RETRYCOUNT 70",
    "XACK s g 1-2",
    "XDEL s 1-2 6-0",
    "XSETID s 9-9 ENTRIESADDED 50",
];

fn call(peer: &mut Peer, line: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    peer.call(&words)
}

#[test]
fn servers_streams_are_read() {
    for program in ["redis-server", "valkey-server"] {
        let Some(mut peer) = Peer::start(program, "reading streams", None, &[]) else { continue };
        for line in COMMANDS {
            peer.send(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        }
        let stream = restored(&peer.call(&[b"DUMP", b"s"]));
        let text = describe(&stream);
        assert!(text.starts_with("3 entries, last StreamId { ms: 9, seq: 9 }"), "{text}");
        assert!(text.contains("50 added"), "{text}");
        let group = stream.group(b"g").expect("was created");
        let pending: Vec<_> = group.pending_from(StreamId::MIN).collect();
        let alice = group.consumer_named(b"alice");
        assert_eq!(pending.len(), 2);
        assert_eq!(
            pending[1],
            (StreamId::new(5, 0), Pending { consumer: alice, delivered_at: 5000, deliveries: 70 })
        );
        // What is made of it again is what the server made.
        if program == "redis-server" {
            peer.call(&[b"CONFIG", b"SET", b"rdbcompression", b"no"]);
            assert_eq!(payload_of(&stream, &PLAIN), peer.call(&[b"DUMP", b"s"]));
        }
    }
}

#[test]
fn servers_load_what_is_written() {
    for program in ["redis-server", "valkey-server"] {
        let Some(mut peer) = Peer::start(program, "writing streams", None, &[]) else { continue };
        for stream in samples() {
            for options in [&PLAIN, &COMPRESSED] {
                let payload = payload_of(&stream, options);
                assert_eq!(peer.call(&[b"RESTORE", b"key", b"0", &payload, b"REPLACE"]), b"OK");
                assert_eq!(call(&mut peer, "XLEN key"), stream.len().to_string().as_bytes());
                assert_eq!(describe(&restored(&peer.call(&[b"DUMP", b"key"]))), describe(&stream));
            }
        }
    }
}
