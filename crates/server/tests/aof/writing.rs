//! What is logged, and when a client is answered.

use std::fs;

use resp::Value;
use testkit::client::{error, ok};

use crate::common::{info, wait_for_info};
use crate::{
    ALWAYS, check_started_again, connected, digest, fill, folder, lines, manifest, read, start, wait_until,
};

#[test]
fn what_was_answered_outlives_a_kill() {
    let mut server = start(ALWAYS);
    let mut client = server.client();
    fill(&mut client);
    let before = digest(&mut client);
    for round in 0..3 {
        server.kill_hard();
        server.start_again();
        let mut client = connected(&server);
        assert_eq!(digest(&mut client), before, "round {round}");
        assert_eq!(client.run("SELECT 3"), Value::Simple(b"OK".to_vec()));
        assert_eq!(client.run("GET other"), Value::Bulk(Some(b"db".to_vec())));
    }
    let expected =
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    assert_eq!(manifest(&server), expected);
}

/// Large arguments take ways of their own from the socket to the value.
#[test]
fn large_values_are_logged_whole() {
    let mut server = start(ALWAYS);
    let mut client = server.client();
    let (large, huge) = ("l".repeat(40_000), "h".repeat(3_000_000));
    for value in [&large, &huge] {
        ok(client.call(&["SET", "text", value]));
        ok(client.call(&["SET", value, "named"]));
        for request in [
            &["APPEND", "text", value][..],
            &["RPUSH", "list", value, "short", value],
            &["HSET", "hash", value, value],
            &["SADD", "set", value],
            &["MULTI"],
            &["SET", "in", value],
            &["LPUSH", "list", value],
            &["EXEC"],
        ] {
            let reply = client.call(request);
            assert!(!matches!(reply, Value::Error(_)), "{} {reply:?}", request[0]);
        }
    }
    let before = digest(&mut client);
    server.kill_hard();
    server.start_again();
    assert_eq!(digest(&mut connected(&server)), before);
}

#[test]
fn each_policy_keeps_all_when_the_server_is_told_to_end() {
    for policy in ["always", "everysec", "no"] {
        let mut server = start(&["--appendonly", "yes", "--appendfsync", policy]);
        let mut client = server.client();
        fill(&mut client);
        let before = digest(&mut client);
        assert_eq!(info(&mut client, "aof_enabled"), "1");
        assert_eq!(info(&mut client, "aof_last_write_status"), "ok");
        server.restart();
        assert_eq!(digest(&mut connected(&server)), before, "{policy}");
    }
}

#[test]
fn a_stricter_policy_is_owed_what_a_laxer_one_has_left() {
    let server = start(&["--appendonly", "yes", "--appendfsync", "no"]);
    let mut client = server.client();
    ok(client.run("SET a 1"));
    ok(client.run("CONFIG SET appendfsync always"));
    // Nothing is written any more: whoever reads must not wait for that.
    assert_eq!(client.run("GET a"), Value::Bulk(Some(b"1".to_vec())));
}

#[test]
fn without_an_append_only_file_it_begins_with_the_dump() {
    let mut server = start(&[]);
    let mut client = server.client();
    fill(&mut client);
    ok(client.run("SAVE"));
    let before = digest(&mut client);
    let dump = fs::read(server.dir().join("dump.rdb")).expect("it was saved");
    server.stop();
    let mut other = start(&["--appendonly", "yes", "--dbfilename", "absent.rdb"]);
    assert_eq!(other.client().run("DBSIZE"), Value::Integer(0));
    other.stop();
    fs::remove_dir_all(folder(&other)).expect("it is there");
    fs::write(other.dir().join("absent.rdb"), dump).expect("it can be written");
    for _ in 0..2 {
        other.start_again();
        assert_eq!(digest(&mut connected(&other)), before);
        other.stop();
        fs::remove_file(other.dir().join("absent.rdb")).ok();
    }
}

#[test]
fn effects_are_those_that_redis_propagates() {
    let server = start(ALWAYS);
    let mut client = server.client();
    for line in [
        "SET a 1",
        "SADD s one",
        "SPOP s",
        "SELECT 2",
        "SET b 1 EX 100",
        "MULTI",
        "SET c 1",
        "GET c",
        "SET d 1",
        "EXEC",
        "MULTI",
        "SET e 1",
        "EXEC",
        "DEL none",
        "GET b",
    ] {
        client.run(line);
    }
    let mut lines = lines(&read(&server, "appendonly.aof.1.incr.aof"));
    let timed = lines.iter_mut().find(|line| line.starts_with("SET b")).expect("it was set");
    assert!(timed.starts_with("SET b 1 PXAT "), "{timed}");
    *timed = "SET b".into();
    let expected = [
        "SELECT 0",
        "SET a 1",
        "SADD s one",
        "SREM s one",
        "SELECT 2",
        "SET b",
        "MULTI",
        "SET c 1",
        "SET d 1",
        "EXEC",
        "SET e 1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn stamps_of_time_stand_between_requests() {
    let mut server = start(&[ALWAYS, &["--aof-timestamp-enabled", "yes"]].concat());
    let mut client = server.client();
    ok(client.run("SET a 1"));
    let found = lines(&read(&server, "appendonly.aof.1.incr.aof"));
    assert_eq!(found, ["# true", "SELECT 0", "SET a 1"]);
    ok(client.run("CONFIG SET aof-timestamp-enabled no"));
    ok(client.run("SET b 1"));
    assert_eq!(lines(&read(&server, "appendonly.aof.1.incr.aof")).len(), 4);
    server.restart();
    assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(2));
}

#[test]
fn who_writes_waits_for_a_slow_disk_and_goes_on() {
    let server = start(&["--appendonly", "yes", "--maxmemory", "100mb"]);
    let mut client = server.client();
    ok(client.run("DEBUG AOF-FLUSH-SLEEP 500000"));
    // Much more than may wait in memory, one after the other so that it waits there and not with the client.
    let value = "v".repeat(100_000);
    while info(&mut client, "aof_delayed_fsync") == "0" {
        let requests = vec![vec!["SET".to_owned(), "key".to_owned(), value.clone()]; 50];
        client.pipeline(&requests).into_iter().for_each(ok);
    }
    ok(client.run("DEBUG AOF-FLUSH-SLEEP 0"));
    ok(client.run("SET key last"));
    assert_eq!(client.run("GET key"), Value::Bulk(Some(b"last".to_vec())));
}

/// Only a file of another server, and an old one, has scripts.
#[test]
fn a_slow_script_in_the_file_leaves_the_server_answerable() {
    let mut server = start(&[ALWAYS, &["--busy-reply-threshold", "1"]].concat());
    server.stop();
    let script = "redis.call('set', KEYS[1], 'y') while true do redis.call('ping') end";
    let text = format!("*4\r\n$4\r\nEVAL\r\n${}\r\n{script}\r\n$1\r\n1\r\n$1\r\nx\r\n", script.len());
    fs::write(folder(&server).join("appendonly.aof.1.incr.aof"), text).expect("the folder is there");
    server.start_again();
    let mut client = server.client();
    assert_eq!(error(client.run("PING")), "LOADING Redis is loading the dataset in memory");
    wait_until(|| server.log().contains("Slow script detected: still in execution after "));
    for line in ["PING", "GET x", "SCRIPT KILL", "EVALSHA abc 0"] {
        assert_eq!(error(client.run(line)), "LOADING Redis is loading the dataset in memory", "{line}");
    }
    for line in ["INFO", "CONFIG GET save", "SHUTDOWN SAVE"] {
        assert!(error(client.run(line)).starts_with("BUSY "), "{line}");
    }
    client.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait_for_end());
}

#[test]
fn it_is_turned_on_and_off_while_clients_write() {
    let mut server = start(&[]);
    let mut client = server.client();
    fill(&mut client);
    ok(client.run("CONFIG SET appendonly yes appendfsync always"));
    ok(client.run("SET after on"));
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    wait_for_info(&mut client, "aof_rewrite_scheduled", "0");
    let expected =
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    assert_eq!(manifest(&server), expected);
    ok(client.run("CONFIG SET appendonly no"));
    assert_eq!(info(&mut client, "aof_enabled"), "0");
    let len = read(&server, "appendonly.aof.1.incr.aof").len();
    ok(client.run("SET unlogged 1"));
    assert_eq!(read(&server, "appendonly.aof.1.incr.aof").len(), len);
    ok(client.run("CONFIG SET appendonly yes"));
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    ok(client.run("SET last 1"));
    let expected =
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n";
    assert_eq!(manifest(&server), expected);
    let before = digest(&mut client);
    server.kill_hard();
    check_started_again(&server, &before);
}

/// Whoever waits is answered by the sync that covers his write, whichever worker and whichever policy; nobody
/// by a file that has no base yet.
#[test]
fn waitaof() {
    let both = |file| Value::Array(Some(vec![Value::Integer(file), Value::Integer(0)]));
    let server = start(&["--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"]);
    let (mut client, mut control) = (server.client(), server.client());
    ok(client.run("SET a 1"));
    // One sync may be owed from the beginning, but no other comes by itself.
    while client.run("WAITAOF 1 0 1") != both(0) {
        ok(client.run("SET a 1"));
    }
    for policy in ["everysec", "always"] {
        client.send(&["WAITAOF", "1", "0", "0"]);
        ok(control.call(&["CONFIG", "SET", "appendfsync", policy]));
        assert_eq!(client.read_value(), both(1), "{policy}");
        ok(client.run("SET a 2"));
        assert_eq!(client.run("WAITAOF 1 0 0"), both(1), "{policy}");
        ok(control.run("CONFIG SET appendfsync no"));
        ok(client.run("SET a 3"));
    }
    client.send(&["WAITAOF", "1", "1", "0"]);
    wait_for_info(&mut control, "blocked_clients", "1");
    ok(control.run("CONFIG SET appendonly no"));
    assert_eq!(
        error(client.read_value()),
        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    );
    ok(control.call(&["CONFIG", "SET", "rdb-key-save-delay", "10000000", "appendfsync", "always"]));
    ok(control.run("CONFIG SET appendonly yes"));
    ok(client.run("SET a 4"));
    assert_eq!(client.run("WAITAOF 1 0 1"), both(0));
    client.send(&["WAITAOF", "1", "0", "0"]);
    ok(control.run("CONFIG SET appendonly no"));
    error(client.read_value());
    ok(control.run("CONFIG SET rdb-key-save-delay 0"));
    ok(control.run("CONFIG SET appendonly yes"));
    assert_eq!(client.run("WAITAOF 1 0 0"), both(1));
}

/// `no-appendfsync-on-rewrite` answers without the disk, and does not say that the disk has what it was not
/// asked to take.
#[test]
fn what_is_answered_without_the_disk_is_not_called_durable() {
    let both = |local| Value::Array(Some(vec![Value::Integer(local), Value::Integer(0)]));
    let slow = ["--no-appendfsync-on-rewrite", "yes", "--rdb-key-save-delay", "1000000"];
    let server = start(&[ALWAYS, &slow].concat());
    let mut client = server.client();
    (0..1000).for_each(|number| ok(client.run(&format!("SET k{number} v"))));
    assert_eq!(client.run("WAITAOF 1 0 0"), both(1));
    client.run("BGREWRITEAOF");
    // The timer says when the disk is spared.
    loop {
        ok(client.run("SET k v"));
        if client.run("WAITAOF 1 0 1") == both(0) {
            break;
        }
        assert_eq!(info(&mut client, "aof_rewrite_in_progress"), "1", "it was never spared");
    }
    (0..100).for_each(|_| ok(client.run("SET k v")));
    assert_eq!(client.run("WAITAOF 1 0 1"), both(0));
    ok(client.run("CONFIG SET no-appendfsync-on-rewrite no"));
    assert_eq!(client.run("WAITAOF 1 0 0"), both(1));
}
