//! Dumps for clients (SYNC): what they get is the state at the cut, whoever reads slowly holds up nobody, and
//! nothing is left of who went away.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Dump, info, read_dump, start, wait_for_info, wait_for_log};
use resp::Value;
use testkit::client::{error, ok};
use testkit::{Client, Server};

const FIELDS: usize = 40_000;
const SMALL: usize = 5_000;
/// Bytes a second: slow enough that others come before the walk.
const RATE: &str = "2mb";
/// Far more than what sockets hold.
const LARGE: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

fn fill(client: &mut Client) {
    let value = "v".repeat(80);
    let hash = |field| ["HSET".into(), "hash".into(), format!("field:{field}"), value.clone()].to_vec();
    let small = |key| ["SET".into(), format!("small:{key}"), value.clone()].to_vec();
    let requests: Vec<Vec<String>> = (0..FIELDS).map(hash).chain((0..SMALL).map(small)).collect();
    for requests in requests.chunks(1000) {
        client.pipeline(requests).into_iter().for_each(|reply| assert!(!matches!(reply, Value::Error(_))));
    }
    client.call(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
    ]);
}

/// A client that has asked for a dump.
fn ask(server: &Server) -> Client {
    let mut client = server.client();
    client.set_timeout(Some(PATIENCE));
    ok(client.run("REPLCONF capa eof rdb-only 1"));
    client.send(&["SYNC"]);
    client
}

/// The dump that a client gets, read to the end of its connection.
fn receive(mut client: Client) -> Vec<u8> {
    let bytes = client.read_to_end();
    let rest = bytes.trim_ascii_start();
    let line = rest.iter().position(|byte| *byte == b'\n').expect("a line");
    let (head, dump) = rest.split_at(line + 1);
    let len = head.strip_prefix(b"$").map(|len| String::from_utf8_lossy(len).trim().parse::<usize>());
    assert_eq!(len, Some(Ok(dump.len())), "{}", String::from_utf8_lossy(head));
    dump.to_vec()
}

fn read(server: &Server, bytes: &[u8]) -> Dump {
    let path = server.dir().join("received");
    fs::write(&path, bytes).expect("the folder is there");
    let dump = read_dump(&path).expect("a whole dump");
    fs::remove_file(path).expect("it is there");
    dump
}

/// What the process has: threads (`task`), open files (`fd`).
fn entries(server: &Server, folder: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(format!("/proc/{}/{folder}", server.pid())).expect("it runs").flatten();
    entries.map(|entry| entry.path())
}

/// Open files that nobody else finds.
fn unnamed(server: &Server) -> impl Iterator<Item = PathBuf> {
    let is_unnamed = |to: PathBuf| to.to_string_lossy().contains("(deleted)");
    entries(server, "fd").filter(move |path| fs::read_link(path).is_ok_and(is_unnamed))
}

/// How many threads, and how many such files.
fn kept(server: &Server) -> (usize, usize) {
    (entries(server, "task").count(), unnamed(server).count())
}

/// How many of the files have something in them.
fn parts(server: &Server) -> usize {
    unnamed(server).filter(|path| fs::metadata(path).is_ok_and(|file| file.len() > 0)).count()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        thread::yield_now();
    }
}

/// Until the cut of a dump is made.
fn wait_for_cut(client: &mut Client) {
    wait_until("a cut", || info(client, "current_save_keys_total") != "0");
}

/// Names of files, but for the log.
fn names(server: &Server) -> Vec<String> {
    let entries = fs::read_dir(server.dir()).expect("the folder is there").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("rdb")).collect()
}

fn digest_of(mut server: Server, dump: &[u8]) -> Value {
    server.kill_hard();
    fs::write(server.dir().join("dump.rdb"), dump).expect("the folder is there");
    server.start_again();
    let mut client = server.client();
    wait_for_info(&mut client, "loading", "0");
    client.run("DEBUG DIGEST")
}

#[test]
fn a_dump_is_the_state_at_the_cut() {
    let server = start(&["--snapshot-memory-limit", "1mb"]);
    let mut client = server.client();
    fill(&mut client);
    let expected = client.run("DEBUG DIGEST");
    ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", RATE]));
    let asker = ask(&server);
    wait_for_cut(&mut client);
    let stop = AtomicBool::new(false);
    let dump = thread::scope(|scope| {
        let (mut own, stop) = (server.client(), &stop);
        let writer = scope.spawn(move || {
            let mut changes = 0;
            while !stop.load(Ordering::Relaxed) {
                let field = format!("field:{}", changes * 7919 % FIELDS);
                own.call(&["HSET", "hash", &field, "changed"]);
                own.call(&["SET", &format!("small:{}", changes % SMALL), "changed"]);
                changes += 1;
            }
            changes
        });
        let reader = scope.spawn(|| receive(asker));
        wait_until("changes", || info(&mut client, "rdb_changes_since_last_save").len() > 5);
        ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", "0"]));
        let dump = reader.join().expect("no panic");
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().expect("no panic") > 1000);
        dump
    });
    assert_ne!(client.run("DEBUG DIGEST"), expected);
    assert_eq!(digest_of(start(&[]), &dump), expected, "loaded by ourselves");
    let Some(redis) = testkit::redis() else { return println!("SKIPPED: redis-server is not installed") };
    let redis = Server::start(redis, &["--save", "", "--enable-debug-command", "yes"]);
    assert_eq!(digest_of(redis, &dump), expected, "loaded by Redis");
}

#[test]
fn redis_cli_writes_dumps_to_files() {
    let is_there = Command::new("redis-cli").arg("--version").output().is_ok();
    if !is_there {
        return println!("SKIPPED: redis-cli is not installed");
    }
    let server = start(&[]);
    fill(&mut server.client());
    for (option, keys) in [("--rdb", SMALL + 1), ("--functions-rdb", 0)] {
        let path = server.dir().join("received");
        let status = Command::new("redis-cli")
            .args(["-p", &server.port().to_string(), option])
            .arg(&path)
            .status()
            .expect("it is there");
        assert!(status.success(), "{option}");
        let bytes = fs::read(&path).expect("it was written");
        assert_eq!(read_dump(&path).expect("a whole dump").len(), keys, "{option}");
        assert!(bytes.windows(20).any(|part| part == b"redis.register_funct"), "{option}");
    }
}

#[test]
fn parts_of_a_dump_may_be_all_that_is_wanted() {
    let server = start(&[]);
    fill(&mut server.client());
    for (filter, has_functions) in [("functions", true), ("", false)] {
        let mut client = server.client();
        ok(client.call(&["REPLCONF", "capa", "eof", "rdb-only", "1", "rdb-filter-only", filter]));
        client.send(&["PSYNC", "?", "-1"]);
        let head = client.read_value();
        assert!(matches!(head, Value::Simple(text) if text.starts_with(b"FULLRESYNC ")));
        let bytes = receive(client);
        assert!(read(&server, &bytes).is_empty());
        assert_eq!(bytes.windows(8).any(|part| part == b"#!lua na"), has_functions, "{filter}");
    }
}

/// What the client does not take stays in the file.
#[test]
fn a_client_that_reads_nothing_holds_up_nobody() {
    let server = start(&["--rdbcompression", "no"]);
    let mut client = server.client();
    ok(client.call(&["SET", "large", &"x".repeat(LARGE)]));
    let (kept_before, used_before) = (kept(&server), used_memory(&mut client));
    let reader = ask(&server);
    wait_for_info(&mut client, "mem_clients_slaves", "65536");
    assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "0");
    let list = client.run("CLIENT LIST TYPE replica").as_text().unwrap_or_default().to_string();
    assert!(list.contains(" flags=S ") && list.contains(" cmd=sync "), "{list}");
    (0..1000).for_each(|key| ok(client.call(&["SET", &key.to_string(), "value"])));
    let more = used_memory(&mut client).saturating_sub(used_before);
    assert!(more < 4 << 20, "{more} bytes more for {LARGE} that wait");
    assert_eq!(kept(&server).1, kept_before.1 + 1);
    ok(client.run("CONFIG SET repl-timeout 1"));
    wait_for_log(&server, "Disconnecting timedout replica (full sync): 127.0.0.1:");
    wait_until("its end", || kept(&server) == kept_before);
    wait_for_info(&mut client, "connected_clients", "1");
    drop(reader);
}

fn used_memory(client: &mut Client) -> u64 {
    info(client, "used_memory").parse().expect("a number")
}

#[test]
fn nothing_is_left_of_who_goes_away() {
    let server = start(&["--rdbcompression", "no"]);
    let mut client = server.client();
    fill(&mut client);
    let before = kept(&server);
    ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", "1"]));
    // Closed by itself, by another, and by itself while it waits for the socket.
    for way in ["close", "kill", "late"] {
        if way == "late" {
            ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", "0"]));
            ok(client.call(&["SET", "large", &"x".repeat(LARGE)]));
        }
        let reader = ask(&server);
        match way {
            "late" => wait_for_info(&mut client, "mem_clients_slaves", "65536"),
            _ => wait_for_cut(&mut client),
        }
        assert_eq!(kept(&server).1, before.1 + 1, "{way}");
        match way {
            "kill" => assert_eq!(client.run("CLIENT KILL TYPE replica"), Value::Integer(1)),
            _ => drop(reader),
        }
        wait_until(way, || kept(&server) == before);
        for field in ["rdb_bgsave_in_progress", "current_save_keys_total", "mem_clients_slaves"] {
            assert_eq!(info(&mut client, field), "0", "{way}");
        }
        wait_for_info(&mut client, "mem_snapshot_buffer", "0");
        wait_for_info(&mut client, "connected_clients", "1");
    }
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
    wait_for_log(&server, " lost.");
}

#[test]
fn many_clients_take_turns() {
    let server = start(&["--rdbcompression", "no"]);
    let mut client = server.client();
    fill(&mut client);
    ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", "1"]));
    let before = kept(&server);
    let askers: Vec<_> = (0..base::limits::DUMPS_MOST).map(|_| ask(&server)).collect();
    let most = base::limits::DUMPS_AT_ONCE;
    let all = (most * (SMALL + 1)).to_string();
    wait_for_info(&mut client, "current_save_keys_total", &all);
    assert_eq!(kept(&server), (before.0 + most, before.1 + most));
    // At this rate the rest after the first part would take a day.
    wait_until("the first part of each", || parts(&server) == most);
    wait_for_info(&mut client, "sync_full", &askers.len().to_string());
    let refused = error(ask(&server).read_value());
    assert_eq!(refused, "ERR Too many clients wait for a dump, try again later");
    assert_eq!(error(client.run("BGSAVE")), "ERR Too many snapshots are being taken, try again later");
    ok(client.call(&["SET", "late", "value"]));
    ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", "0"]));
    let keys: Vec<_> = askers.into_iter().map(|asker| read(&server, &receive(asker)).len()).collect();
    // Those who waited get what was there when it was their turn.
    let (first, late) = (SMALL + 1, SMALL + 2);
    assert_eq!(keys.iter().filter(|count| **count == first).count(), most, "{keys:?}");
    assert_eq!(keys.iter().filter(|count| **count == late).count(), keys.len() - most, "{keys:?}");
    wait_until("the end of all", || kept(&server) == before);
    common::save_in_background(&mut client);
}

#[test]
fn a_server_that_is_killed_leaves_no_file() {
    let mut server = start(&[]);
    let mut client = server.client();
    fill(&mut client);
    ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", "1"]));
    let reader = ask(&server);
    wait_for_cut(&mut client);
    assert_eq!(kept(&server).1, 1);
    assert!(names(&server).is_empty(), "{:?}", names(&server));
    server.kill_hard();
    assert!(names(&server).is_empty(), "{:?}", names(&server));
    drop(reader);
}

/// What the client may have asked for before comes before the dump, and what it asks for later never.
#[test]
fn requests_around_it_keep_their_order() {
    let server = start(&[]);
    let mut client = server.client();
    let value = "v".repeat(1 << 20);
    ok(client.call(&["SET", "key", &value]));
    client.send_raw(b"REPLCONF rdb-only 1\r\nGET key\r\nGET key\r\nSYNC\r\nPING\r\n");
    ok(client.read_value());
    for _ in 0..2 {
        assert_eq!(client.read_value(), Value::Bulk(Some(value.clone().into_bytes())));
    }
    assert_eq!(read(&server, &receive(client)).len(), 1);
}
