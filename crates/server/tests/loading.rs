//! Starting from a dump: several threads load what one would; a file that is damaged is refused with the
//! place, or with `--recover` loaded as far as it is whole.

mod common;

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use base::crc::crc64;
use common::{info, refusal, start, wait_for_info};
use rdb::{ValueRef, WriteOptions, write_record, write_resize_db, write_select_db};
use resp::Value;
use testkit::client::{error, ok};
use testkit::{Client, Server};

const PLAIN: WriteOptions = WriteOptions { compress: false };

/// A file around `records`, which hold opcodes and records.
fn file(header: &[u8], records: &[u8]) -> Vec<u8> {
    let mut bytes = [header, records].concat();
    let crc = crc64(0, &bytes);
    rdb::write_eof(&mut bytes, Some(crc));
    bytes
}

fn text_record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    write_record(out, key.as_bytes(), None, ValueRef::Bytes(value), &PLAIN);
}

/// A folder with a dump in it, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn with_dump(name: &str, bytes: &[u8]) -> Folder {
        let path = std::env::temp_dir().join(format!("onefold-loading-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        fs::write(path.join("dump.rdb"), bytes).expect("the folder is there");
        Folder(path)
    }

    fn shown(&self) -> &str {
        self.0.to_str().expect("the folder's name is text")
    }

    /// Names of the files beside the dump that begin as its own.
    fn set_aside(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("the folder is there").filter_map(Result::ok);
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.display().to_string().contains("dump.rdb.damaged-")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn started(folder: &Folder, arguments: &[&str]) -> (Server, Client) {
    let all = [&["--dir", folder.shown(), "--enable-debug-command", "yes", "--save", ""], arguments].concat();
    let server = Server::start(env!("CARGO_BIN_EXE_onefold-server"), &all);
    let mut client = server.client();
    wait_for_info(&mut client, "loading", "0");
    (server, client)
}

fn text(value: Value) -> String {
    match value {
        Value::Simple(text) | Value::Bulk(Some(text)) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{other:?} is no text"),
    }
}

/// Fills several databases with every type, small and large, with and without expiry.
fn fill(client: &mut Client) {
    let mut requests = Vec::new();
    for db in [0, 3, 9] {
        requests.push(vec!["SELECT".to_owned(), db.to_string()]);
        for number in 0..4000 {
            let (key, value) = (format!("{db}:{number}"), "v".repeat(number % 300));
            let line = match number % 8 {
                0 => format!("SET {key} x{value}"),
                1 => format!("SET {key} {number}"),
                2 => format!("RPUSH {key} a b c{value}"),
                3 => format!("SADD {key} 1 2 {number}"),
                4 => format!("HSET {key} f x{value} g {number}"),
                5 => format!("ZADD {key} 1 a {number} b"),
                6 => format!("XADD {key} {}-1 f x{value}", number + 1),
                _ => format!("SET {key} x{value} PX 100000000"),
            };
            requests.push(line.split(' ').map(str::to_owned).collect());
        }
        let long: Vec<_> = (0..2000).map(|number| format!("{number}{}", "x".repeat(90))).collect();
        for command in ["RPUSH list", "SADD set"] {
            let head = format!("{command}:{db}");
            requests.push(head.split(' ').map(str::to_owned).chain(long.iter().cloned()).collect());
        }
        requests.push(vec!["SET".into(), format!("huge:{db}"), "y".repeat(5 << 20)]);
    }
    for reply in client.pipeline(&requests) {
        assert!(!matches!(reply, Value::Error(_)), "{reply:?}");
    }
}

#[test]
fn several_threads_load_what_one_does() {
    let mut server = start(&["--io-threads", "1", "--databases", "16"]);
    let mut client = server.client();
    fill(&mut client);
    let digest = text(client.run("DEBUG DIGEST"));
    ok(client.run("SAVE"));
    let dump = fs::read(server.dir().join("dump.rdb")).expect("the dump was saved");
    server.stop();
    for threads in ["1", "2", "4"] {
        let folder = Folder::with_dump(&format!("threads{threads}"), &dump);
        let (_server, mut client) = started(&folder, &["--io-threads", threads]);
        assert_eq!(text(client.run("DEBUG DIGEST")), digest, "{threads} threads");
        assert_eq!(info(&mut client, "rdb_last_load_keys_loaded"), "12009");
        ok(client.run("DEBUG RELOAD"));
        assert_eq!(text(client.run("DEBUG DIGEST")), digest, "{threads} threads, again");
    }
}

/// With as many keys in some databases as it says, whatever it has.
fn announcing(databases: u64, keys: u64, value: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    for db in 0..databases {
        write_select_db(&mut records, db);
        write_resize_db(&mut records, keys, 0);
        text_record(&mut records, "key", value);
    }
    file(b"REDIS0010", &records)
}

/// Tables are made ready for the keys that a file announces, as far as it can have them.
#[test]
fn tables_are_laid_out_as_far_as_the_file_justifies() {
    const MB: usize = 1_000_000;
    let check = |databases, keys, maxmemory, len, kilobytes: Range<u64>| {
        let bytes = announcing(databases, keys, &vec![b'x'; len]);
        let folder = Folder::with_dump(&format!("announced{databases}-{keys}-{maxmemory}-{len}"), &bytes);
        let (_server, mut client) = started(&folder, &["--io-threads", "2", "--maxmemory", maxmemory]);
        assert_eq!(info(&mut client, "rdb_last_load_keys_loaded"), databases.to_string());
        let of_database = |db| {
            let stats = text(client.run(&format!("DEBUG HTSTATS {db}")));
            let bytes = stats.split(" bytes: ").nth(1).and_then(|rest| rest.lines().next());
            bytes.and_then(|bytes| bytes.parse::<u64>().ok()).expect("a number")
        };
        let sum = (0..databases).map(of_database).sum::<u64>() / 1024;
        assert!(kilobytes.contains(&sum), "{sum} KB for {keys} keys in {databases} databases");
    };
    check(1, 0, "0", MB, 0..1);
    check(1, 50_000, "0", MB, 400..600);
    check(1, u64::MAX, "0", MB, 500..750);
    check(8, 50_000, "0", MB, 3200..4800);
    check(8, u64::MAX, "0", MB, 4000..6000);
    check(8, u64::MAX, "16mb", MB, 2000..3000);
    // However long it is, it is not believed without keys.
    check(2, 4_000_000, "0", 50 * MB, 20_000..48_000);
}

/// Many small records, then what is given, then many more.
fn among_many(damage: &[u8]) -> (Vec<u8>, usize) {
    let mut records = Vec::new();
    write_select_db(&mut records, 1);
    write_resize_db(&mut records, 40_000, 0);
    (0..20_000).for_each(|number| text_record(&mut records, &format!("before:{number}"), b"some value"));
    let at = 9 + records.len();
    records.extend_from_slice(damage);
    (0..20_000).for_each(|number| text_record(&mut records, &format!("behind:{number}"), b"some value"));
    (file(b"REDIS0010", &records), at)
}

/// A hash whose listpack is none.
const DAMAGED: &[u8] = b"\x10\x06broken\x03abc";

/// Times that have passed are made in import mode, which keeps what they belong to.
#[test]
fn a_hash_whose_fields_have_all_expired_is_not_loaded() {
    let folder = Folder::with_dump("fields", &file(b"REDIS0010", &[]));
    let (_server, mut client) = started(&folder, &["--import-mode", "yes"]);
    for line in [
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "HSETEX gone PXAT 1 FIELDS 2 f v g v",
        "HSETEX half PXAT 1 FIELDS 1 f v",
        "HSET half g v",
        "CONFIG SET import-mode no",
    ] {
        client.call(&line.split(' ').collect::<Vec<_>>());
    }
    assert_eq!(client.call(&["DBSIZE"]), Value::Integer(2));
    client.call(&["DEBUG", "RELOAD"]);
    assert_eq!(client.call(&["DBSIZE"]), Value::Integer(1));
    assert_eq!(text(client.call(&["HGET", "half", "g"])), "v");
}

#[test]
fn damage_is_refused_with_place_and_reason() {
    let check = |name: &str, bytes: &[u8], expected: &str| {
        for threads in ["1", "2", "4"] {
            let folder = Folder::with_dump(&format!("{name}{threads}"), bytes);
            let found = refusal(&folder.0, &["--io-threads", threads]);
            assert!(found.contains(expected), "{name}: {expected}\n{found}");
            assert!(found.contains("Fatal error loading the DB, check server logs. Exiting."), "{found}");
        }
    };
    let (bytes, at) = among_many(DAMAGED);
    let place = |offset: usize| {
        format!(
            "a listpack is damaged at offset {offset}, while reading the hash (HASH_LISTPACK) of key \"broken\""
        )
    };
    check("inside", &bytes, &place(at + 12));
    // Of two faults the first counts, whichever thread finds its own earlier.
    let (twice, first) = among_many(&[DAMAGED, &b"\0\x01k\x01v".repeat(200_000), DAMAGED].concat());
    check("twice", &twice, &place(first + 12));
    let (shapeless, first) = among_many(&[DAMAGED, b"\x63"].concat());
    check("shapeless", &shapeless, &place(first + 12));
    let (whole, _) = among_many(b"");
    let cut = &whole[..whole.len() / 2];
    check("cut", cut, &format!("the data ends too early at offset {}, while reading", cut.len()));
    check(
        "no-end",
        &whole[..whole.len() - 9],
        &format!("the data ends too early at offset {}", whole.len() - 9),
    );
    let mut flipped = whole.clone();
    flipped.last_mut().map(|byte| *byte ^= 1).expect("it has bytes");
    check("sum", &flipped, "the checksum is ");
    check(
        "future",
        &file(b"REDIS0099", b""),
        "version 99 is not supported (Redis 1 to 14 and Valkey 80 are) at offset 9",
    );
    check("other", b"nothing of the kind", "the data is not an RDB file at offset 9");
    check("empty", b"", "the data ends too early at offset 0");
    let (duplicate, at) = among_many(b"\0\x08before:7\x01v");
    check("duplicate", &duplicate, "RDB has duplicated key \"before:7\" in DB 1 before offset ");
    assert!(at < duplicate.len());
    check("databases", &file(b"REDIS0010", b"\xfe\x40\xff"), "handle more than 16 databases (database 255)");
}

/// With `hide-user-data-from-log` no key stands in the log, whatever is wrong with the dump.
#[test]
fn keys_are_left_out_of_the_log_where_that_is_asked_for() {
    let hide = ["--hide-user-data-from-log", "yes", "--loglevel", "debug"];
    let (damaged, _) = among_many(DAMAGED);
    let (duplicate, _) = among_many(b"\0\x08before:7\x01v");
    let library = b"\xf5\x2b#!lua name=secret\nredis.register_function(";
    let code = file(b"REDIS0010", &[&library[..], b"'"].concat());
    for (name, bytes) in [("damage", &damaged), ("duplicate", &duplicate), ("library", &code)] {
        let folder = Folder::with_dump(&format!("hidden-{name}"), bytes);
        let refused = refusal(&folder.0, &hide);
        let (server, _client) = started(&folder, &[&hide[..], &["--recover"]].concat());
        for log in [refused, server.log()] {
            assert!(log.contains("*redacted*"), "{name}: {log}");
            let user_data = ["broken", "before:", "secret", "register"];
            assert!(!user_data.iter().any(|data| log.contains(data)), "{name}: {log}");
        }
    }
}

#[test]
fn recovery_keeps_what_is_whole() {
    let (bytes, at) = among_many(&[DAMAGED, b"\0\x08before:7\x01v"].concat());
    let folder = Folder::with_dump("recovery", &bytes);
    let (mut server, mut client) = started(&folder, &["--recover"]);
    ok(client.run("SELECT 1"));
    assert_eq!(client.run("DBSIZE"), Value::Integer(40_000));
    assert_eq!(text(client.run("GET before:7")), "some value");
    let log = server.log();
    for expected in [
        &format!(
            "a listpack is damaged at offset {}, while reading the hash (HASH_LISTPACK) of key",
            at + 12
        ),
        "RDB has duplicated key \"before:7\" in DB 1",
        "Recovered what is whole of a damaged RDB file: 40000 keys kept, 0 expired; lost 1 damaged records, 1 \
         duplicates, 0 function libraries.",
    ] {
        assert!(log.contains(expected), "{expected}\n{log}");
    }
    // A save replaces the dump, and what was set aside stays.
    let aside = folder.set_aside();
    assert_eq!(aside.len(), 1, "{log}");
    ok(client.run("SAVE"));
    assert_eq!(fs::read(&aside[0]).expect("it was set aside"), bytes);
    server.stop();
    let (_server, mut client) = started(&folder, &["--recover"]);
    ok(client.run("SELECT 1"));
    assert_eq!(client.run("DBSIZE"), Value::Integer(40_000));
    assert_eq!(folder.set_aside().len(), 1, "a sound file is not set aside");
}

#[test]
fn recovery_tells_what_is_lost_behind_damage() {
    let (whole, _) = among_many(b"");
    let cut = &whole[..whole.len() / 2];
    let folder = Folder::with_dump("rest", cut);
    let (server, mut client) = started(&folder, &["--recover"]);
    ok(client.run("SELECT 1"));
    let Value::Integer(kept) = client.run("DBSIZE") else { panic!("DBSIZE is a number") };
    assert!((19_000..21_000).contains(&kept), "{kept}");
    let log = server.log();
    assert!(log.contains(&format!("{kept} keys kept, 0 expired; lost 0 damaged records")), "{log}");
    assert!(log.contains(&format!("at least {} keys are lost with the last ", 40_000 - kept)), "{log}");
    assert_eq!(fs::read(&folder.set_aside()[0]).expect("it was set aside"), cut);
}

#[test]
fn a_wrong_checksum_loses_nothing() {
    let (mut bytes, _) = among_many(b"");
    bytes.last_mut().map(|byte| *byte ^= 1).expect("it has bytes");
    let folder = Folder::with_dump("wrong-sum", &bytes);
    let (server, mut client) = started(&folder, &["--recover"]);
    ok(client.run("SELECT 1"));
    assert_eq!(client.run("DBSIZE"), Value::Integer(40_000));
    assert!(server.log().contains("the checksum is "), "{}", server.log());
    assert_eq!(folder.set_aside().len(), 1);
}

#[test]
fn what_no_recovery_helps_against_is_refused() {
    for (name, bytes) in [("future", file(b"REDIS0099", b"")), ("other", b"nothing of the kind".to_vec())] {
        let folder = Folder::with_dump(&format!("hopeless-{name}"), &bytes);
        refusal(&folder.0, &["--recover"]);
        assert!(folder.set_aside().is_empty());
        assert_eq!(fs::read(folder.0.join("dump.rdb")).expect("it is there"), bytes);
    }
}

/// Where keys go by age or frequency a dump tells both, and who loads it goes on from there.
#[test]
fn keys_stay_as_old_and_as_often_used_as_they_were() {
    let check = |policy: &str, restored: [&[u8]; 2], field: &str, expected: std::ops::RangeInclusive<i64>| {
        let mut server =
            start(&["--maxmemory", "1gb", "--maxmemory-policy", policy, "--enable-debug-command", "yes"]);
        let mut client = server.client();
        let large = vec![b'x'; 1 << 20];
        ok(client.run("SET text v"));
        ok(client.call(&[b"SET".as_slice(), b"large", &large]));
        client.run("SADD set a b");
        for key in ["text", "large", "set"] {
            let payload = client.run(&format!("DUMP {key}"));
            let payload = payload.as_bytes().expect("a payload");
            let words = [b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE", restored[0], restored[1]];
            ok(client.call(&words));
        }
        ok(client.run("DEBUG RELOAD"));
        for key in ["text", "large", "set"] {
            let value = client.run(&format!("OBJECT {field} {key}")).as_i64().expect("a number");
            assert!(expected.contains(&value), "{policy}: {key}: {value}");
        }
        server.stop();
    };
    check("allkeys-lfu", [b"FREQ", b"200"], "FREQ", 190..=200);
    check("volatile-lru", [b"IDLETIME", b"1000"], "IDLETIME", 1000..=1100);
}

/// DEBUG RELOAD as a load on top of what is there.
#[test]
fn what_is_there_already_is_refused_or_replaced() {
    let server = start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    let library = |number| {
        format!("#!lua name=l{number}\nredis.register_function('f{number}', function() return {number} end)")
    };
    let load = |client: &mut Client, number| client.call(&["FUNCTION", "LOAD", &library(number)]);
    ok(client.run("SET a saved"));
    ok(client.run("SET b saved"));
    client.run("RPUSH list 1 2 3");
    load(&mut client, 1);
    ok(client.run("SAVE"));
    ok(client.run("SET a later"));
    ok(client.run("SET c later"));
    client.run("DEL list");
    client.run("SADD list member");
    load(&mut client, 2);
    let refused = error(client.run("DEBUG RELOAD NOSAVE NOFLUSH"));
    assert!(refused.starts_with("ERR Error trying to load the RDB dump"), "{refused}");
    assert_eq!(info(&mut client, "loading"), "0");
    ok(client.run("DEBUG RELOAD NOSAVE NOFLUSH MERGE"));
    assert_eq!(client.run("GET a"), Value::from("saved"));
    assert_eq!(client.run("GET c"), Value::from("later"));
    assert_eq!(client.run("LRANGE list 1 1"), Value::Array(Some(vec![Value::from("2")])));
    assert_eq!(client.run("DBSIZE"), Value::Integer(4));
    for number in [1, 2] {
        assert_eq!(client.run(&format!("FCALL f{number} 0")), Value::Integer(number));
    }
    ok(client.run("DEBUG RELOAD NOSAVE"));
    assert_eq!(client.run("DBSIZE"), Value::Integer(3));
}
