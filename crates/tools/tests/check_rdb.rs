//! `onefold-check-rdb` beside redis-check-rdb, on files that a Redis wrote and on damaged ones; what it tells
//! beyond; and what it repairs.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use base::crc::crc64;
use common::Folder;
use rdb::{ValueRef, WriteOptions, write_aux, write_record, write_resize_db, write_select_db};
use testkit::{Client, Server, Value};

/// Standard output and exit code.
fn run(program: &str, arguments: &[&str], file: &Path) -> (String, i32) {
    let output = Command::new(program).args(arguments).arg(file).output().expect("the program starts");
    let code = output.status.code().expect("it ends by itself");
    (String::from_utf8_lossy(&output.stdout).into_owned(), code)
}

const OURS: &str = env!("CARGO_BIN_EXE_onefold-check-rdb");

fn ours(arguments: &[&str], file: &Path) -> (String, i32) {
    run(OURS, arguments, file)
}

fn redis_check() -> Option<&'static str> {
    let path = "/usr/bin/redis-check-rdb";
    if Path::new(path).exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: redis-check-rdb is not installed, nothing was compared");
    None
}

/// A file around `records`, which hold opcodes and records.
fn file(header: &[u8], records: &[u8]) -> Vec<u8> {
    let mut bytes = [header, records].concat();
    let crc = crc64(0, &bytes);
    rdb::write_eof(&mut bytes, Some(crc));
    bytes
}

fn text_record(out: &mut Vec<u8>, key: &[u8], expires_at: Option<i64>, value: &[u8]) {
    write_record(out, key, expires_at, ValueRef::Bytes(value), &WriteOptions { compress: true });
}

/// What a Redis is asked to hold: every type in every encoding, expiries, databases.
fn fill(client: &mut Client) {
    let many = |command: &str, part: &dyn Fn(u32) -> String| {
        let parts: Vec<_> = (0..600).map(part).collect();
        format!("{command} {}", parts.join(" "))
    };
    let long = "x".repeat(90);
    let lines = [
        "SET int 12345".into(),
        "SET text value".into(),
        format!("SET compressed {}", "abc".repeat(100)),
        "SET expiring value PX 100000000".into(),
        "RPUSH list a b c".into(),
        many("RPUSH nodes", &|n| format!("{n}-{long}")),
        "SADD ints 1 2 3".into(),
        "SADD members a b c".into(),
        many("SADD table", &|n| format!("m{n}")),
        "ZADD packed 1 a 2.5 b".into(),
        many("ZADD scored", &|n| format!("{n} m{n}")),
        "HSET hash f v g w".into(),
        many("HSET fields", &|n| format!("f{n} v{n}")),
        "XADD stream 1-1 f v".into(),
        "XADD stream 2-1 f v".into(),
        "XGROUP CREATE stream g 0".into(),
        "XREADGROUP GROUP g alice COUNT 1 STREAMS stream >".into(),
        "SELECT 3".into(),
        "SET other value".into(),
        "SELECT 0".into(),
    ];
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        assert!(!matches!(client.call(&words), Value::Error(_)), "{line}");
    }
    client.call(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
    ]);
}

/// The dump of a Redis that holds all of that, None where there is no Redis.
fn redis_dump() -> Option<Vec<u8>> {
    let server = Server::start(testkit::redis()?, &["--save", ""]);
    let mut client = server.client();
    fill(&mut client);
    client.call(&["SAVE"]);
    Some(fs::read(server.dir().join("dump.rdb")).expect("the dump was saved"))
}

/// The lines that both programs have: Redis names no type beyond a few, takes the type of an error before the
/// first record for a string's, and counts a key before its value.
fn comparable(output: &str) -> Vec<String> {
    let shared = |line: &&str| {
        line.contains("Checking RDB file")
            || line.contains("AUX FIELD")
            || line.contains("Selecting DB")
            || line.starts_with("---")
            || line.contains("While doing")
            || line.contains("Reading key")
            || line.contains("already expired")
    };
    output.lines().filter(shared).map(str::to_owned).collect()
}

#[test]
fn good_files_are_told_as_redis_tells_them() {
    let (Some(redis), Some(dump)) = (redis_check(), redis_dump()) else { return };
    let folder = Folder::new("good");
    let path = folder.write("dump.rdb", &dump);
    let (expected, code) = run(redis, &[], &path);
    let (found, own_code) = ours(&[], &path);
    assert_eq!((own_code, code), (0, 0), "{found}");
    assert!(found.starts_with(&expected), "{found}\n---\n{expected}");
    for line in [
        "[info] 1 functions",
        "[info] string: 5 keys, 5 elements, ",
        "[info] list: 2 keys, 603 elements, ",
        "[info] set: 3 keys, 606 elements, ",
        "[info] zset: 2 keys, 602 elements, ",
        "[info] hash: 2 keys, 602 elements, ",
        "[info] stream: 1 keys, 2 elements, ",
    ] {
        assert!(found.contains(line), "{line} is missing:\n{found}");
    }
}

fn check_beside_redis(redis: &str, folder: &Folder, bytes: &[u8], what: &str) {
    let path = folder.write("damaged.rdb", bytes);
    let (expected, code) = run(redis, &[], &path);
    let (found, own_code) = ours(&[], &path);
    assert_eq!((own_code, code), (1, 1), "{what}\n{found}\n---\n{expected}");
    assert_eq!(comparable(&found), comparable(&expected), "{what}\n{found}\n---\n{expected}");
}

#[test]
fn cut_files_are_told_as_redis_tells_them() {
    let (Some(redis), Some(dump)) = (redis_check(), redis_dump()) else { return };
    let folder = Folder::new("cut");
    let step = dump.len() / 150;
    for len in (0..9).chain((9..dump.len()).step_by(step)).chain([dump.len() - 8, dump.len() - 1]) {
        check_beside_redis(redis, &folder, &dump[..len], &format!("cut at {len}"));
    }
}

#[test]
fn other_versions_are_told_as_redis_tells_them() {
    let Some(redis) = redis_check() else { return };
    let folder = Folder::new("versions");
    for header in [&b"REDIS0000"[..], b"REDIS0099", b"REDIX0010", b"RED", b""] {
        let bytes = file(header, b"\0\x01k\x01v");
        let bytes = if header.len() < 9 { header } else { &bytes };
        check_beside_redis(redis, &folder, bytes, &String::from_utf8_lossy(header));
    }
}

/// Any other byte changes the checksum at least; what Redis reads into the damage may differ.
#[test]
fn every_flipped_byte_is_noticed_as_by_redis() {
    let (Some(redis), Some(dump)) = (redis_check(), redis_dump()) else { return };
    let folder = Folder::new("flipped");
    for at in (9..dump.len()).step_by(dump.len() / 150) {
        let mut damaged = dump.clone();
        damaged[at] ^= 0x81;
        let path = folder.write("damaged.rdb", &damaged);
        let (found, code) = ours(&[], &path);
        assert_eq!(code, 1, "byte {at}: {found}");
        assert_eq!(run(redis, &[], &path).1, 1, "byte {at}");
        assert!(found.contains("--- RDB ERROR DETECTED ---"), "{found}");
    }
}

/// A file with three records of which the second is damaged inside, and where that begins.
fn with_damage() -> (Vec<u8>, usize) {
    let mut records = Vec::new();
    write_aux(&mut records, b"redis-ver", b"7.0.15");
    write_select_db(&mut records, 2);
    write_resize_db(&mut records, 3, 0);
    text_record(&mut records, b"first", Some(1), b"value");
    let at = 9 + records.len();
    records.extend_from_slice(b"\xfc\x01\0\0\0\0\0\0\0\x10\x06second\x03abc");
    text_record(&mut records, b"third", None, &[b'x'; 100]);
    (file(b"REDIS0010", &records), at)
}

#[test]
fn the_place_of_damage_is_told() {
    let folder = Folder::new("place");
    let (bytes, at) = with_damage();
    let path = folder.write("dump.rdb", &bytes);
    let (found, code) = ours(&[], &path);
    let expected = format!(
        "--- RDB ERROR DETECTED ---
[offset {}] a listpack is damaged
[additional info] While doing: read-object-value
[additional info] Reading key 'second'
[additional info] Reading type 16 (hash-listpack)
[additional info] It begins at offset {at}, in DB ID 2
[info] 1 keys read
[info] 1 expires
[info] 1 already expired
[info] 0 functions
[info] string: 1 keys, 1 elements, 22 bytes, 1 expires
",
        at + 21
    );
    assert!(found.ends_with(&expected), "{found}\n---\n{expected}");
    assert_eq!(code, 1);
}

#[test]
fn reports_as_json() {
    let folder = Folder::new("json");
    let (bytes, at) = with_damage();
    let size = bytes.len();
    let path = folder.write("dump.rdb", &bytes);
    let name = path.display();
    let (found, code) = ours(&["--json"], &path);
    let expected = format!(
        "{{\"file\":\"{name}\",\"size\":{size},\"sound\":false,\"format\":\"redis\",\"version\":10,\"offset\":{0},\
         \"checksum\":\"unknown\",\"keys\":1,\"expires\":1,\"already_expired\":1,\"functions\":0,\"types\":\
         {{\"string\":{{\"keys\":1,\"elements\":1,\"bytes\":22,\"expires\":1}}}},\"aux\":{{\"redis-ver\":\"7.0.15\"}},\
         \"fault_count\":1,\"faults\":[{{\"offset\":{0},\"record_offset\":{at},\"reason\":\"a listpack is damaged\",\
         \"detail\":\"a listpack is damaged\",\"doing\":\"read-object-value\",\"db\":2,\"key\":\"second\",\
         \"type_code\":16,\"type\":\"hash-listpack\"}}],\"repaired\":null}}\n",
        at + 21
    );
    assert_eq!((found, code), (expected, 1));
    let absent = folder.0.join("absent.rdb");
    let expected = format!(
        "{{\"file\":\"{0}\",\"sound\":null,\"reason\":\"Can't open {0}: No such file or directory \
         (os error 2)\"}}\n",
        absent.display()
    );
    assert_eq!(ours(&["--json"], &absent), (expected, 1));
    let path = folder.write("sound.rdb", &file(b"VALKEY080", b"\0\x01k\x01v"));
    let (found, code) = ours(&["--json"], &path);
    assert_eq!(code, 0);
    for member in
        ["\"sound\":true", "\"format\":\"valkey\",\"version\":80", "\"checksum\":\"ok\"", "\"faults\":[]"]
    {
        assert!(found.contains(member), "{member} is missing: {found}");
    }
}

/// Checks what a repaired file of `bytes` holds: the records `kept`, as they were.
fn check_repair(folder: &Folder, bytes: &[u8], header: &[u8], kept: &[u8]) {
    let path = folder.write("dump.rdb", bytes);
    let repaired = folder.0.join("repaired.rdb");
    let name = repaired.to_str().expect("the folder's name is text");
    let (found, code) = ours(&["--repair", name], &path);
    assert_eq!(code, 0, "{found}");
    assert_eq!(fs::read(&repaired).expect("it was written"), file(header, kept), "{found}");
    assert_eq!(fs::read(&path).expect("it is there"), bytes, "the damaged file stays as it is");
    assert_eq!(ours(&[], &repaired).1, 0);
    fs::remove_file(&repaired).expect("it is there");
}

/// A key with a module's value of which only the lengths are understood.
const MODULE: &[u8] = b"\x07\x01d\x81\0\0\0\0\0\0\0\x01\x02\x05\x05\x02xy\0";

#[test]
fn the_checksum_holds_over_the_values_of_modules() {
    let folder = Folder::new("module");
    let expiry = b"\xfc\x01\0\0\0\0\0\0\0";
    let sound = file(b"REDIS0010", &[b"\0\x01a\x01b", &expiry[..], MODULE, b"\0\x01k\x01v"].concat());
    let path = folder.write("dump.rdb", &sound);
    let (found, _) = ours(&[], &path);
    let expected = "[info] 3 keys read\n[info] 1 expires\n[info] 1 already expired\n";
    assert!(found.contains(expected), "{found}");
    assert!(!found.contains("checksum"), "{found}");
    let payload = sound.windows(2).position(|bytes| bytes == b"xy").expect("the module's text");
    for at in [13, payload, sound.len() - 10] {
        let mut flipped = sound.clone();
        flipped[at] ^= 1;
        let (found, code) = ours(&[], &folder.write("dump.rdb", &flipped));
        assert_eq!(code, 1, "{found}");
        assert!(found.to_lowercase().contains("checksum"), "byte {at}: {found}");
    }
}

#[test]
fn what_is_whole_is_kept() {
    let folder = Folder::new("repair");
    let (mut before, mut behind) = (Vec::new(), Vec::new());
    write_aux(&mut before, b"redis-ver", b"7.0.15");
    write_select_db(&mut before, 2);
    text_record(&mut before, b"first", Some(1), b"value");
    write_select_db(&mut behind, 3);
    text_record(&mut behind, b"last", None, &[b'x'; 100]);
    let kept = [&before[..], &behind].concat();
    let check = |bytes: &[u8], kept: &[u8]| check_repair(&folder, bytes, b"REDIS0010", kept);
    let around = |damage: &[u8]| file(b"REDIS0010", &[&before[..], damage, &behind].concat());
    check(&around(b""), &kept);
    // A listpack that is none; hints; an empty collection; a module's value, which is kept unseen.
    check(&around(b"\xfc\x01\0\0\0\0\0\0\0\x10\x01b\x03abc"), &kept);
    check(&around(b"\xfb\x40\xff\x02\x02\x01s\0"), &kept);
    check(&around(MODULE), &[&before[..], MODULE, &behind].concat());
    // From what has no shape on all is lost; so is a record that is cut.
    check(&around(b"\x63\x01f\x01v"), &before);
    check(&around(b"\0\x01k\x7f\xff"), &before);
    let whole = around(b"");
    check(&whole[..whole.len() - 20], &[&before[..], b"\xfe\x03"].concat());
    let mut wrong_sum = whole.clone();
    wrong_sum.last_mut().map(|byte| *byte ^= 1).expect("it has bytes");
    check(&wrong_sum, &kept);
    assert_eq!(fs::read_dir(&folder.0).expect("it is there").count(), 1, "no temporary file is left");
}

#[test]
fn what_cannot_be_repaired_is_left_alone() {
    let folder = Folder::new("hopeless");
    for (what, bytes) in
        [("future", file(b"REDIS0099", b"")), ("empty", Vec::new()), ("other", vec![b'x'; 50])]
    {
        let path = folder.write("dump.rdb", &bytes);
        let target = folder.0.join("repaired.rdb");
        let (found, code) = ours(&["--repair", target.to_str().expect("the folder's name is text")], &path);
        assert_eq!(code, 1, "{what}: {found}");
        assert!(!target.exists(), "{what}");
    }
    let path = folder.write("dump.rdb", &with_damage().0);
    let name = path.to_str().expect("the folder's name is text");
    assert_eq!(ours(&["--repair", name], &path).1, 1, "it must not replace what it reads");
    assert_eq!(fs::read(&path).expect("it is there"), with_damage().0);
    assert_eq!(ours(&["--repair", "/nonexistent/out.rdb"], &path).1, 1);
    assert_eq!(ours(&[], &folder.0.join("absent.rdb")).1, 1);
    assert_eq!(fs::read_dir(&folder.0).expect("it is there").count(), 1, "no temporary file is left");
}

#[test]
fn redis_loads_a_repaired_file() {
    let (Some(dump), Some(program)) = (redis_dump(), testkit::redis()) else { return };
    let folder = Folder::new("loads");
    let mut damaged = dump.clone();
    let at = dump.windows(6).position(|window| window == b"packed").expect("the key is in the dump") + 6;
    // The end of the listpack behind its length.
    damaged[at + usize::from(dump[at])] = 0;
    let path = folder.write("damaged.rdb", &damaged);
    let mut server = Server::start(&program, &["--save", ""]);
    let target = server.dir().join("dump.rdb");
    let (found, code) = ours(&["--repair", target.to_str().expect("the folder's name is text")], &path);
    assert_eq!(code, 0, "{found}");
    assert!(found.contains("[additional info] Reading key 'packed'"), "{found}");
    server.kill_hard();
    server.start_again();
    let mut client = server.client();
    assert_eq!(client.call(&["DBSIZE"]), Value::Integer(13), "{found}");
    assert_eq!(client.call(&["EXISTS", "packed", "scored", "stream"]), Value::Integer(2));
    client.call(&["SELECT", "3"]);
    assert_eq!(client.call(&["DBSIZE"]), Value::Integer(1));
}

#[test]
fn false_lengths_cost_nothing() {
    let folder = Folder::new("lengths");
    let claims: [&[u8]; 5] = [
        b"\0\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\x01k\xc3\x81\0\0\0\xff\xff\xff\xff\xff\x81\0\0\0\xff\xff\xff\xff\xffab",
        b"\x02\x01k\x81\0\xff\xff\xff\xff\xff\xff\xff\x01a",
        b"\x0f\x01k\x81\0\xff\xff\xff\xff\xff\xff\xff\x10",
        b"\x81\0\xff\xff\xff\xff\xff\xff\xff",
    ];
    for claim in claims {
        let path = folder.write("dump.rdb", &file(b"REDIS0010", claim));
        let limited = format!("ulimit -v 300000; exec '{OURS}' '{}'", path.display());
        let output = Command::new("sh").args(["-c", &limited]).output().expect("there is a shell");
        assert_eq!(output.status.code(), Some(1), "{claim:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
