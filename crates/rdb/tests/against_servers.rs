//! Compares with the Redis and Valkey that are installed: their files and payloads read here, ours loaded
//! there.

mod common;

use common::peer::Peer;
use common::{
    COMPRESSED, Content, Fields, Model, PLAIN, content, fields, file, hash_object, model, set_object,
};
use rdb::{
    HashObject, Item, Object, ReadOptions, Reader, Thresholds, ValueRef, WriteOptions, dump, restore,
    write_record, write_record_with, write_select_db,
};
use std::collections::BTreeSet;

/// Strings that take every path of the encoder.
fn strings() -> Vec<Vec<u8>> {
    let numbers = [
        0,
        -1,
        127,
        -128,
        128,
        32767,
        -32768,
        32768,
        2147483647,
        -2147483648,
        2147483648,
        i64::MAX,
        i64::MIN,
    ];
    let lengths = [0, 1, 20, 21, 44, 63, 64, 100, 16383, 16384, 70_000];
    let mut strings: Vec<Vec<u8>> = numbers.iter().map(|number| number.to_string().into_bytes()).collect();
    strings
        .extend(["007", "+1", "-0", " 1", "1.5", "9223372036854775808"].map(|text| text.as_bytes().to_vec()));
    strings.extend(lengths.map(|len| b"abcd".iter().copied().cycle().take(len).collect()));
    strings.extend(lengths.map(noise));
    strings
}

/// Bytes that LZF gains nothing on.
fn noise(len: usize) -> Vec<u8> {
    let mut random = base::random::Rng::from_seed(len as u64);
    (0..len).map(|_| random.below(256) as u8).collect()
}

/// A small hash, one too long for the packed form, one too wide for it, one whose fields need every encoding.
fn hashes() -> Vec<Fields> {
    let numbered = |count: u32| {
        (0..count).map(|n| (format!("field:{n}").into_bytes(), (format!("{n}").into_bytes(), None))).collect()
    };
    let wide = [(b"field".to_vec(), (vec![b'v'; 65], None))].into_iter().collect();
    let varied = strings().into_iter().map(|text| (text.clone(), (text, None))).collect();
    vec![numbered(1), numbered(10), numbered(1000), wide, varied]
}

/// Sets of integers of each width, few and many, and sets that need a table for their number or for a member.
fn sets() -> Vec<BTreeSet<Vec<u8>>> {
    let numbers = |count: i64, step: i64| {
        (0..count).map(|number| (number * step - 5).to_string().into_bytes()).collect::<BTreeSet<_>>()
    };
    let named = |count: u32| (0..count).map(|number| format!("member:{number}").into_bytes()).collect();
    let mixed = numbers(20, 1000).into_iter().chain([b"member".to_vec()]).collect();
    let varied = strings().into_iter().collect();
    let numbered =
        [numbers(1, 1), numbers(10, 7), numbers(100, 70_000), numbers(100, 1 << 40), numbers(600, 1)];
    numbered.into_iter().chain([named(1), named(10), named(1000), mixed, varied]).collect()
}

/// Sets strings, hashes and sets in the peer, some with a TTL; the same as a model.
fn fill(peer: &mut Peer) -> Content {
    let mut expected = Content::new();
    for (index, text) in strings().into_iter().enumerate() {
        let key = format!("string:{index}").into_bytes();
        peer.call(&[b"SET", &key, &text]);
        let expires_at = (index % 3 == 0).then_some(FUTURE_MS + index as i64);
        if let Some(time) = expires_at {
            peer.call(&[b"PEXPIREAT", &key, time.to_string().as_bytes()]);
        }
        expected.insert(key, (expires_at, Model::Text(text)));
    }
    for (index, hash) in hashes().into_iter().enumerate() {
        let key = format!("hash:{index}").into_bytes();
        for (field, (value, _)) in &hash {
            peer.call(&[b"HSET", &key, field, value]);
        }
        expected.insert(key, (None, Model::Hash(hash)));
    }
    for (index, set) in sets().into_iter().enumerate() {
        let key = format!("set:{index}").into_bytes();
        for member in &set {
            peer.call(&[b"SADD", &key, member]);
        }
        expected.insert(key, (None, Model::Set(set)));
    }
    expected
}

fn check_reading(program: &str, arguments: &[&str]) {
    let Some(mut peer) = Peer::start(program, "reading", None, arguments) else { return };
    let expected = fill(&mut peer);
    let bytes = peer.save();
    assert_eq!(content(&bytes, &ReadOptions::default()).expect("the file is sound"), expected);
    let mut encodings = Vec::new();
    for (key, (_, value)) in &expected {
        let payload = peer.call(&[b"DUMP", key]);
        let object = restore(&payload, &ReadOptions::default()).expect("the payload is sound");
        assert_eq!(&model(&object), value);
        encodings.push(matches!(object, Object::Hash(HashObject::Packed(_))));
    }
    assert!(encodings.contains(&true), "some hash is packed");
}

#[test]
fn reads_what_redis_writes() {
    check_reading("redis-server", &[]);
    check_reading("redis-server", &["--rdbcompression", "no"]);
    check_reading("redis-server", &["--rdbchecksum", "no", "--maxmemory-policy", "allkeys-lfu"]);
}

#[test]
fn reads_what_valkey_writes() {
    check_reading("valkey-server", &[]);
}

#[test]
fn reads_field_ttls_of_valkey() {
    let Some(mut peer) = Peer::start("valkey-server", "field ttls", None, &[]) else { return };
    peer.call(&[b"HSET", b"key", b"a", b"1", b"b", b"2"]);
    let time = FUTURE_MS.to_string();
    assert_eq!(peer.call_all(&[b"HPEXPIREAT", b"key", time.as_bytes(), b"FIELDS", b"1", b"a"]), [b"1"]);
    let payload = peer.call(&[b"DUMP", b"key"]);
    let expected: Fields =
        [(b"a".to_vec(), (b"1".to_vec(), Some(FUTURE_MS))), (b"b".to_vec(), (b"2".to_vec(), None))].into();
    let hash = Model::Hash(expected);
    let object = restore(&payload, &ReadOptions::default()).expect("the payload is sound");
    assert_eq!(model(&object), hash);
    let bytes = peer.save();
    let reader = Reader::new(&bytes[..], &ReadOptions::default()).expect("the header is sound");
    assert_eq!((reader.version(), reader.dialect()), (80, rdb::Dialect::Valkey));
    let expected: Content = [(b"key".to_vec(), (None, hash))].into();
    assert_eq!(content(&bytes, &ReadOptions::default()).expect("the file is sound"), expected);
}

#[test]
fn attributes_of_redis_are_read() {
    let read = |policy: &str| {
        let mut peer = Peer::start("redis-server", "attributes", None, &["--maxmemory-policy", policy])?;
        peer.call(&[b"SET", b"key", b"value"]);
        let bytes = peer.save();
        let mut records = common::records(&bytes, &ReadOptions::default()).expect("the file is sound");
        records.pop()
    };
    if let (Some(by_age), Some(by_use)) = (read("allkeys-lru"), read("allkeys-lfu")) {
        assert_eq!((by_age.idle_s, by_age.freq), (Some(0), None));
        assert_eq!((by_use.idle_s, by_use.freq), (None, Some(5)));
    }
}

#[test]
fn aux_fields_and_functions_are_read() {
    let Some(mut peer) = Peer::start("redis-server", "aux fields", None, &[]) else { return };
    let code = b"#!lua name=mylib\nredis.register_function('f', function() return 1 end)";
    assert_eq!(peer.call(&[b"FUNCTION", b"LOAD", code]), b"mylib");
    peer.call(&[b"SET", b"key", b"value"]);
    let bytes = peer.save();
    let mut reader = Reader::new(&bytes[..], &ReadOptions::default()).expect("the header is sound");
    let mut names = Vec::new();
    loop {
        match reader.next().expect("the file is sound") {
            Item::Aux { key, .. } => names.push(String::from_utf8(key).expect("names are text")),
            Item::Function(read) => assert_eq!(read, code),
            Item::SelectDb(db) => assert_eq!(db, 0),
            Item::ResizeDb { keys, expires } => assert_eq!((keys, expires), (1, 0)),
            Item::End => break,
            _ => {}
        }
    }
    assert_eq!(names, ["redis-ver", "redis-bits", "ctime", "used-mem", "aof-base"]);
    assert_eq!(reader.offset(), bytes.len() as u64);
}

fn check_writing(program: &str, options: &WriteOptions) {
    let mut bytes = Vec::new();
    write_select_db(&mut bytes, 0);
    let mut expected = Vec::new();
    for (index, text) in strings().into_iter().enumerate() {
        let key = format!("string:{index}").into_bytes();
        let number = base::num::parse_i64(&text);
        let value = number.map_or(ValueRef::Bytes(&text), ValueRef::Int);
        write_record(&mut bytes, &key, (index % 2 == 0).then_some(FUTURE_MS), value, options);
        expected.push((key, Model::Text(text)));
    }
    for (index, hash) in hashes().into_iter().enumerate() {
        for packed in [false, true] {
            let key = format!("hash:{index}:{packed}").into_bytes();
            let object = hash_object(&hash, packed);
            write_record(&mut bytes, &key, None, ValueRef::Hash(object.view()), options);
            expected.push((key, Model::Hash(hash.clone())));
        }
    }
    for (index, set) in sets().into_iter().enumerate() {
        for thresholds in
            [Thresholds::default(), Thresholds { set_ints: 0, set_entries: 0, ..Thresholds::default() }]
        {
            let key = format!("set:{index}:{}", thresholds.set_ints).into_bytes();
            let object = set_object(&set, thresholds);
            write_record(&mut bytes, &key, None, ValueRef::Set(object.view()), options);
            expected.push((key, Model::Set(set.clone())));
        }
    }
    let Some(mut peer) = Peer::start(program, "writing", Some(&file(10, &bytes)), &[]) else { return };
    assert_eq!(peer.call(&[b"DBSIZE"]), expected.len().to_string().as_bytes());
    for (key, value) in &expected {
        check_value(&mut peer, key, value);
    }
    assert_eq!(peer.call(&[b"PEXPIRETIME", b"string:0"]), FUTURE_MS.to_string().as_bytes());
    assert_eq!(peer.call(&[b"PEXPIRETIME", b"string:1"]), b"-1");
}

fn check_value(peer: &mut Peer, key: &[u8], expected: &Model) {
    let found = match expected {
        Model::Text(_) => Model::Text(peer.call(&[b"GET", key])),
        Model::List(_) => Model::List(peer.call_all(&[b"LRANGE", key, b"0", b"-1"])),
        Model::Hash(_) => {
            let elements = peer.call_all(&[b"HGETALL", key]);
            let pairs = elements.chunks(2).map(|pair| (pair[0].clone(), (pair[1].clone(), None)));
            Model::Hash(pairs.collect())
        }
        Model::Set(_) => Model::Set(peer.call_all(&[b"SMEMBERS", key]).into_iter().collect()),
        Model::SortedSet(_) => unreachable!("sorted sets have tests of their own"),
        Model::Stream(_) => unreachable!("streams have tests of their own"),
    };
    assert_eq!(&found, expected, "{}", String::from_utf8_lossy(key));
}

#[test]
fn servers_load_what_is_written() {
    check_writing("redis-server", &PLAIN);
    check_writing("redis-server", &COMPRESSED);
    check_writing("valkey-server", &COMPRESSED);
}

#[test]
fn redis_restores_what_is_dumped() {
    let arguments = ["--rdbcompression", "no"];
    let Some(mut peer) = Peer::start("redis-server", "dumping", None, &arguments) else { return };
    let mut restored = |payload: &[u8], value: &Model| {
        assert_eq!(peer.call(&[b"RESTORE", b"key", b"0", payload, b"REPLACE"]), b"OK");
        check_value(&mut peer, b"key", value);
        peer.call(&[b"DUMP", b"key"])
    };
    for text in strings() {
        let number = base::num::parse_i64(&text);
        let value = number.map_or(ValueRef::Bytes(&text), ValueRef::Int);
        let model = Model::Text(text.clone());
        let (plain, compressed) = (dump(value, 10, &PLAIN), dump(value, 10, &COMPRESSED));
        assert_eq!(restored(&compressed, &model), plain);
        assert_eq!(restored(&plain, &model), plain);
    }
    for hash in hashes() {
        let payload = dump(ValueRef::Hash(hash_object(&hash, false).view()), 10, &COMPRESSED);
        restored(&payload, &Model::Hash(hash));
    }
    for set in sets() {
        let payload = dump(ValueRef::Set(set_object(&set, Thresholds::default()).view()), 10, &COMPRESSED);
        restored(&payload, &Model::Set(set));
    }
}

#[test]
fn thresholds_decide_the_form() {
    let Some(mut peer) = Peer::start("redis-server", "thresholds", None, &[]) else { return };
    peer.call(&[b"HSET", b"key", b"a", b"1", b"b", b"2", b"c", b"3"]);
    let payload = peer.call(&[b"DUMP", b"key"]);
    let form = |hash_entries| {
        let thresholds = Thresholds { hash_entries, ..Thresholds::default() };
        match restore(&payload, &ReadOptions { thresholds, ..ReadOptions::default() }) {
            Ok(Object::Hash(hash)) => (matches!(hash, HashObject::Packed(_)), fields(&hash).len()),
            other => panic!("a hash is expected, not {other:?}"),
        }
    };
    assert_eq!(form(3), (true, 3));
    assert_eq!(form(2), (false, 3));
}

#[test]
fn redis_loads_idle_times_and_frequencies() {
    let mut bytes = Vec::new();
    let idle = rdb::Attributes { idle_s: Some(100_000), ..rdb::Attributes::default() };
    write_record_with(&mut bytes, b"idle", idle, ValueRef::Int(1), &PLAIN);
    let bytes = file(10, &bytes);
    let policy = ["--maxmemory-policy", "allkeys-lru"];
    let Some(mut peer) = Peer::start("redis-server", "attributes", Some(&bytes), &policy) else { return };
    let reply = String::from_utf8(peer.call(&[b"OBJECT", b"IDLETIME", b"idle"])).expect("digits");
    let idle_s: u64 = reply.parse().expect("a number of seconds");
    assert!((100_000..100_100).contains(&idle_s), "{idle_s}");
}

/// In the year 2100.
const FUTURE_MS: i64 = 4_102_444_800_000;
