//! The append-only file of real processes: what was answered is there after any end, files go to Redis and
//! come from it, and what is cut off or damaged is told apart.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{info, wait_for_info};
use resp::Value;
use testkit::client::{encode, error, ok};
use testkit::{Client, Server};

const ALWAYS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_onefold-server")
}

fn start(arguments: &[&str]) -> Server {
    let all = [&["--save", "", "--enable-debug-command", "yes"], arguments].concat();
    Server::start(program(), &all)
}

fn folder(server: &Server) -> PathBuf {
    server.dir().join("appendonlydir")
}

fn read(server: &Server, name: &str) -> Vec<u8> {
    fs::read(folder(server).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn manifest(server: &Server) -> String {
    String::from_utf8(read(server, "appendonly.aof.manifest")).expect("it is text")
}

fn names(server: &Server) -> Vec<String> {
    let entries = fs::read_dir(folder(server)).expect("there is a folder").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn digest(client: &mut Client) -> Value {
    client.run("DEBUG DIGEST")
}

/// Ready to answer: a server that loads answers too, but not this.
fn connected(server: &Server) -> Client {
    let mut client = server.client();
    wait_for_info(&mut client, "loading", "0");
    client
}

/// Another server finds in the folder of one that has ended what that one held.
fn check_started_again(ended: &Server, held: &Value) {
    let dir = ended.dir().to_str().expect("a name of text");
    let again = start(&[ALWAYS, &["--dir", dir]].concat());
    assert_eq!(digest(&mut connected(&again)), *held);
}

/// Every type, several databases, times to live, a transaction, and effects that are not the command.
fn fill(client: &mut Client) {
    let lines = [
        "SET a 1",
        "SET t 5 PX 100000000",
        "INCRBYFLOAT f 0.1",
        "RPUSH l a b c d e",
        "SADD s 1 2 3 x y z",
        "SPOP s 2",
        "HSET h f v g w",
        "ZADD z 1 a 2.5 b",
        "ZPOPMIN z",
        "XADD x * f v",
        "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g me STREAMS x >",
        "SELECT 3",
        "SET other db",
        "EXPIRE other 100000",
        "MULTI",
        "SET in transaction",
        "LPOP none",
        "SELECT 5",
        "APPEND in five",
        "EXEC",
        "SELECT 0",
        "MOVE a 7",
        "PFADD p a b c",
        "GETEX t PX 50000000",
    ];
    for line in lines {
        let reply = client.run(line);
        assert!(!matches!(reply, Value::Error(_)), "{line}: {reply:?}");
    }
}

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

/// The requests of an increment, a line each.
fn lines(bytes: &[u8]) -> Vec<String> {
    let (mut spans, mut at, mut lines) = (Vec::new(), 0, Vec::new());
    while at < bytes.len() {
        let rest = &bytes[at..];
        let Ok(aof::Scan::Whole { record, len }) = aof::scan(rest, &mut spans) else {
            panic!("no record at {at}: {:?}", String::from_utf8_lossy(rest));
        };
        lines.push(match record {
            aof::Record::Request => {
                let words = spans.iter().map(|span| String::from_utf8_lossy(span.of(rest)));
                words.collect::<Vec<_>>().join(" ")
            }
            aof::Record::Annotation(second) => format!("# {}", second.is_some()),
        });
        at += len;
    }
    lines
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

fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "it does not come to pass");
    }
}

/// What a server says that does not start again.
fn refusal(server: &Server, arguments: &[&str]) -> String {
    common::refusal(server.dir(), &[&["--appendonly", "yes"], arguments].concat())
}

/// A stopped server whose increment is this.
fn with_increment(bytes: &[u8]) -> Server {
    let mut server = start(ALWAYS);
    server.stop();
    fs::write(folder(&server).join("appendonly.aof.1.incr.aof"), bytes).expect("the folder is there");
    server
}

fn request(line: &str) -> Vec<u8> {
    let words: Vec<_> = line.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn requests(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| request(line)).collect()
}

#[test]
fn an_end_that_was_cut_off_is_left_out_wherever_the_cut_is() {
    let (first, second) = (requests(&["SELECT 0", "SET a 1"]), request("SET b 22"));
    let all = [&first[..], &second].concat();
    let mut server = with_increment(&all);
    let path = folder(&server).join("appendonly.aof.1.incr.aof");
    for cut in [1, 2, 3, 4, 9, 12, second.len() - 1] {
        fs::write(&path, &all[..all.len() - cut]).expect("the folder is there");
        let refused = refusal(&server, &["--aof-load-truncated", "no"]);
        assert!(refused.contains(&format!("whole up to offset {}", first.len())), "{refused}");
        server.start_again();
        let mut client = connected(&server);
        assert_eq!(client.run("DBSIZE"), Value::Integer(1), "{cut}");
        ok(client.run("SET c 3"));
        server.restart();
        assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(2), "{cut}: written behind the cut");
        server.stop();
    }
}

#[test]
fn an_end_is_cut_off_where_only_empty_parts_follow() {
    let whole = requests(&["SELECT 0", "SET a 1"]);
    let mut server = with_increment(&[&whole[..], b"*2\r\n$3"].concat());
    let next = folder(&server).join("appendonly.aof.2.incr.aof");
    let two = manifest(&server) + "file appendonly.aof.2.incr.aof seq 2 type i\n";
    fs::write(folder(&server).join("appendonly.aof.manifest"), two).expect("the folder is there");
    fs::write(&next, request("SET b 1")).expect("the folder is there");
    assert!(refusal(&server, &[]).contains("the truncated file is not the last file"));
    fs::write(&next, b"").expect("the folder is there");
    server.start_again();
    let mut client = connected(&server);
    assert_eq!(client.run("DBSIZE"), Value::Integer(1));
    ok(client.run("SET b 1"));
    server.restart();
    assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(2));
    assert_eq!(read(&server, "appendonly.aof.1.incr.aof"), whole);
}

#[test]
fn a_transaction_is_loaded_whole_or_not_at_all() {
    let before = requests(&["SELECT 0", "SET a 1"]);
    let transaction = requests(&["MULTI", "SET b 1", "SET c 1", "EXEC"]);
    let all = [&before[..], &transaction].concat();
    let mut server = with_increment(&all);
    let path = folder(&server).join("appendonly.aof.1.incr.aof");
    for cut in 1..transaction.len() {
        // Each byte of the last request, and a few before that.
        if cut > 20 && cut % 11 != 0 {
            continue;
        }
        fs::write(&path, &all[..all.len() - cut]).expect("the folder is there");
        server.start_again();
        assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(1), "{cut}");
        server.stop();
        assert_eq!(fs::read(&path).expect("it is there"), before, "{cut}");
    }
    fs::write(&path, &all).expect("the folder is there");
    server.start_again();
    assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(3));
}

#[test]
fn damage_is_refused_with_its_place() {
    let (first, last) = (requests(&["SELECT 0", "SET a 1"]), request("SET c 1"));
    let cases: [(&[u8], usize, &str); 6] = [
        (b"SET b 1\r\n", 0, "a request begins with '*'"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nbb\r\n$1\r\n1\r\n", 18, "an argument ends with a line end"),
        (b"\0\0\0\0\0\0\0\0", 0, "a request begins with '*'"),
        (b"*1\r\n$9\r\nNOCOMMAND\r\n", 0, "Unknown command 'NOCOMMAND'"),
        (b"*2\r\n$2\r\nNO\r\n$1\r\nx\r\n", 0, "unknown command 'NO', with args beginning with: 'x'"),
        (b"*2\r\n$6\r\nOBJECT\r\n$2\r\nNO\r\n", 0, "unknown subcommand 'NO'. Try OBJECT HELP."),
    ];
    let mut server = with_increment(b"");
    let path = folder(&server).join("appendonly.aof.1.incr.aof");
    for (damage, at, what) in cases {
        let bytes = [&first[..], damage, &last].concat();
        fs::write(&path, &bytes).expect("the folder is there");
        let refused = refusal(&server, &[]);
        assert!(refused.contains(what), "{what}: {refused}");
        assert!(refused.contains(&format!("at offset {}", first.len() + at)), "{what}: {refused}");
        assert_eq!(fs::read(&path).expect("it is there"), bytes, "nothing was changed");
    }
    let zeros = [&first[..], &[0; 100]].concat();
    fs::write(&path, &zeros).expect("the folder is there");
    refusal(&server, &["--aof-load-corrupt-tail-max-size", "99"]);
    assert_eq!(fs::read(&path).expect("it is there"), zeros);
    server.kill_hard();
    let arguments = ["--appendonly", "yes", "--aof-load-corrupt-tail-max-size", "100"];
    let other = start(&[&arguments[..], &["--dir", server.dir().to_str().expect("a name of text")]].concat());
    assert_eq!(connected(&other).run("DBSIZE"), Value::Integer(1));
    assert_eq!(fs::read(&path).expect("it is there"), first);
}

/// Without a library that it holds, a log leads to another state, which the next rewrite would keep.
#[test]
fn a_library_that_is_refused_ends_the_start() {
    let library = "#!lua name=lib\nlocal t = {} for i = 1, 100000 do t[i] = 'x' .. i end\n\
                   redis.register_function('f', function() return #t end)";
    let load = encode(&["FUNCTION", "LOAD", library]);
    let in_transaction = [request("MULTI"), load.clone(), request("SET a 1"), request("EXEC")].concat();
    for bytes in [load, in_transaction] {
        let mut server = with_increment(&bytes);
        let refused = refusal(&server, &["--lua-memory-limit", "1mb"]);
        assert!(
            refused.contains("A library of functions was refused reading the append only file "),
            "{refused}"
        );
        let path = folder(&server).join("appendonly.aof.1.incr.aof");
        assert_eq!(fs::read(&path).expect("it is there"), bytes, "nothing was changed");
        server.start_again();
        assert_eq!(connected(&server).run("FCALL f 0"), Value::Integer(100_000));
    }
}

#[test]
fn a_manifest_that_is_none_and_a_part_that_is_missing_are_refused() {
    let server = with_increment(b"");
    let path = folder(&server).join("appendonly.aof.manifest");
    fs::write(&path, "file ../x seq 1 type b\n").expect("the folder is there");
    let refused = refusal(&server, &[]);
    assert!(refused.contains("FATAL AOF MANIFEST FILE ERROR"), "{refused}");
    assert!(refused.contains("at line 1") && refused.contains("File can't be a path"), "{refused}");
    fs::write(&path, "file gone seq 1 type b\n").expect("the folder is there");
    let refused = refusal(&server, &[]);
    assert!(
        refused.contains("Unable to obtain the AOF file gone length. stat: No such file or directory"),
        "{refused}"
    );
}

/// The manifest says what is loaded, and nothing else does.
#[test]
fn a_file_that_is_no_part_does_not_come_back() {
    let mut server = with_increment(&requests(&["SELECT 0", "SET stale 1"]));
    fs::remove_file(folder(&server).join("appendonly.aof.manifest")).expect("it is there");
    server.start_again();
    let mut client = connected(&server);
    assert_eq!(client.run("DBSIZE"), Value::Integer(0));
    ok(client.run("SET a 1"));
    server.restart();
    let mut client = connected(&server);
    assert_eq!((client.run("DBSIZE"), client.run("EXISTS a")), (Value::Integer(1), Value::Integer(1)));
}

/// Where no increment is left numbers begin anew: with the name of one that is still to be removed its
/// requests would be loaded once more, and then all that followed would be removed.
#[test]
fn no_increment_has_the_name_of_one_that_is_history() {
    let mut server = start(&[ALWAYS, &["--aof-disable-auto-gc", "yes"]].concat());
    let mut client = server.client();
    assert_eq!(client.run("INCR n"), Value::Integer(1));
    ok(client.run("CONFIG SET appendonly no"));
    rewrite(&mut client);
    server.restart();
    assert_eq!(connected(&server).run("INCR n"), Value::Integer(2));
    server.restart();
    let mut client = connected(&server);
    assert_eq!(client.run("INCR n"), Value::Integer(3));
    let [base, increment] =
        ["file appendonly.aof.2.base.rdb seq 2 type b\n", "file appendonly.aof.2.incr.aof seq 2 type i\n"];
    let history =
        "file appendonly.aof.1.incr.aof seq 1 type h\nfile appendonly.aof.1.base.rdb seq 1 type h\n";
    assert_eq!(manifest(&server), [base, history, increment].concat());
    ok(client.run("CONFIG SET aof-disable-auto-gc no"));
    assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
    server.stop();
    // As Redis leaves it, which gives the name again.
    let twice = [base, "file appendonly.aof.2.incr.aof seq 2 type h\n", increment].concat();
    fs::write(folder(&server).join("appendonly.aof.manifest"), twice).expect("the folder is there");
    server.start_again();
    ok(connected(&server).run("CONFIG SET aof-disable-auto-gc no"));
    assert_eq!(manifest(&server), [base, increment].concat());
    server.restart();
    assert_eq!(connected(&server).run("INCR n"), Value::Integer(4));
}

/// Whoever wrote the file was not refused: what is told has the place.
#[test]
fn what_is_refused_while_loading_is_told_with_its_place() {
    let before = requests(&["SELECT 0", "SET a 1"]);
    let transaction = requests(&["MULTI", "RPUSH a x", "SET b 1", "RPUSH a y"]);
    let behind = [transaction.clone(), request("EXEC"), request("RPUSH a z")].concat();
    let mut server = with_increment(&[&before[..], &behind].concat());
    server.start_again();
    assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(2));
    let at = before.len() + transaction.len();
    let first = format!("holds what is refused at offset {at}: 2 of the transaction's requests");
    assert!(server.log().contains(&first), "{}", server.log());
    assert!(
        server.log().contains("3 requests of the append only file appendonly.aof.1.incr.aof were refused")
    );
    server.stop();
    let path = folder(&server).join("appendonly.aof.1.incr.aof");
    fs::write(path, [before, request("RPUSH a z")].concat()).expect("the folder is there");
    let refused = refusal(&server, &["--propagation-error-behavior", "panic"]);
    assert!(refused.contains("refused at offset 50: WRONGTYPE"), "{refused}");
    server.start_again();
    connected(&server);
    assert!(
        server.log().contains("refused at offset 50: WRONGTYPE Operation against a key"),
        "{}",
        server.log()
    );
}

#[test]
fn a_single_file_of_old_times_moves_into_the_folder() {
    let mut saved = start(&[]);
    let mut client = saved.client();
    ok(client.run("SET dumped 1"));
    ok(client.run("SAVE"));
    saved.stop();
    let dump = fs::read(saved.dir().join("dump.rdb")).expect("it was saved");
    let plain = requests(&["SELECT 0", "SET a 1", "SET b 1"]);
    for (bytes, keys) in [(plain.clone(), 2), ([&dump[..], &plain].concat(), 3)] {
        let mut server = start(ALWAYS);
        server.stop();
        fs::remove_dir_all(folder(&server)).expect("it is there");
        fs::write(server.dir().join("appendonly.aof"), &bytes).expect("the folder is there");
        server.start_again();
        let mut client = connected(&server);
        assert_eq!(client.run("DBSIZE"), Value::Integer(keys));
        ok(client.run("SET more 1"));
        assert!(!server.dir().join("appendonly.aof").exists());
        let expected = "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
        assert_eq!(manifest(&server), expected);
        server.restart();
        assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(keys + 1));
        // As after a crash between the manifest and the move.
        server.stop();
        fs::rename(folder(&server).join("appendonly.aof"), server.dir().join("appendonly.aof"))
            .expect("moved");
        fs::write(folder(&server).join("appendonly.aof.manifest"), "file appendonly.aof seq 1 type b\n")
            .expect("the folder is there");
        server.start_again();
        assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(keys));
    }
}

fn rewrite(client: &mut Client) {
    let started = Value::Simple(b"Background append only file rewriting started".to_vec());
    assert_eq!(client.run("BGREWRITEAOF"), started);
    wait_for_info(client, "aof_rewrite_in_progress", "0");
    assert_eq!(info(client, "aof_last_bgrewrite_status"), "ok");
}

#[test]
fn a_rewrite_leaves_one_base_and_one_increment() {
    let mut server = start(ALWAYS);
    let mut client = server.client();
    fill(&mut client);
    for round in 2..5 {
        rewrite(&mut client);
        ok(client.run(&format!("SET round {round}")));
        let expected = format!(
            "file appendonly.aof.{round}.base.rdb seq {round} type b\n\
             file appendonly.aof.{round}.incr.aof seq {round} type i\n"
        );
        assert_eq!(manifest(&server), expected);
        assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
        let increment = format!("appendonly.aof.{round}.incr.aof");
        assert_eq!(lines(&read(&server, &increment)), ["SELECT 0".to_owned(), format!("SET round {round}")]);
    }
    assert_eq!(info(&mut client, "aof_rewrites"), "3");
    ok(client.run("CONFIG RESETSTAT"));
    assert_eq!(info(&mut client, "aof_rewrites"), "0");
    let before = digest(&mut client);
    server.kill_hard();
    server.start_again();
    assert_eq!(digest(&mut connected(&server)), before);
}

#[test]
fn the_numbers_of_its_files_are_those_of_redis() {
    let server = start(ALWAYS);
    let mut client = server.client();
    fill(&mut client);
    let base =
        |number: u32, kind: char| format!("file appendonly.aof.{number}.base.rdb seq {number} type {kind}\n");
    let increment =
        |number: u32, kind: char| format!("file appendonly.aof.{number}.incr.aof seq {number} type {kind}\n");
    rewrite(&mut client);
    assert_eq!(manifest(&server), [base(2, 'b'), increment(2, 'i')].concat());
    ok(client.run("CONFIG SET appendonly no"));
    rewrite(&mut client);
    assert_eq!(manifest(&server), base(3, 'b'), "nothing is logged");
    assert_eq!(names(&server).len(), 2);
    let before = digest(&mut client);
    ok(client.run("DEBUG LOADAOF"));
    assert_eq!(digest(&mut client), before);
    ok(client.run("CONFIG SET appendonly yes"));
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    assert_eq!(manifest(&server), [base(4, 'b'), increment(1, 'i')].concat());
    ok(client.run("CONFIG SET aof-disable-auto-gc yes"));
    rewrite(&mut client);
    rewrite(&mut client);
    let history = [increment(2, 'h'), base(5, 'h'), increment(1, 'h'), base(4, 'h')].concat();
    assert_eq!(manifest(&server), [base(6, 'b'), history, increment(3, 'i')].concat());
    assert_eq!(names(&server).len(), 7, "{:?}", names(&server));
    ok(client.run("CONFIG SET aof-disable-auto-gc no"));
    assert_eq!(manifest(&server), [base(6, 'b'), increment(3, 'i')].concat());
    assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
    let before = digest(&mut client);
    ok(client.run("DEBUG LOADAOF"));
    assert_eq!(digest(&mut client), before);
    rewrite(&mut client);
    assert_eq!(manifest(&server), [base(7, 'b'), increment(4, 'i')].concat());
}

/// The base cannot be made while a folder has the name of the file on its way.
fn block_bases(server: &Server) -> PathBuf {
    let path = folder(server).join("temp-rewriteaof.base");
    fs::create_dir_all(&path).expect("nothing is called so");
    path
}

#[test]
fn it_is_rewritten_when_it_has_grown_but_not_again_and_again_if_that_fails() {
    let server = start(ALWAYS);
    let mut client = server.client();
    let blocked = block_bases(&server);
    for failed in 1..=3 {
        client.run("BGREWRITEAOF");
        wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
        assert_eq!(info(&mut client, "aof_rewrites_consecutive_failures"), failed.to_string());
        ok(client.run(&format!("SET failed {failed}")));
    }
    let increment = |number: u32| format!("file appendonly.aof.{number}.incr.aof seq {number} type i\n");
    let increments: String = (1..=4).map(increment).collect();
    let base = "file appendonly.aof.1.base.rdb seq 1 type b\n";
    assert_eq!(manifest(&server), [base, &increments].concat());
    let before = digest(&mut client);
    ok(client.run("DEBUG LOADAOF"));
    assert_eq!(digest(&mut client), before);
    ok(client.run("CONFIG SET auto-aof-rewrite-min-size 1 auto-aof-rewrite-percentage 1"));
    common::wait_for_log(&server, "triggered the limit, will retry in 1 minutes");
    assert_eq!(manifest(&server), [base, &increments].concat(), "it was tried nevertheless");
    ok(client.run("CONFIG SET auto-aof-rewrite-percentage 0"));
    fs::remove_dir(blocked).expect("it is empty");
    rewrite(&mut client);
    let good = ["file appendonly.aof.2.base.rdb seq 2 type b\n", &increment(5)].concat();
    assert_eq!(manifest(&server), good, "who asks for it is heard");
    assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
    ok(client.run("CONFIG SET auto-aof-rewrite-percentage 100"));
    ok(client.call(&["SET", "long", &"v".repeat(1000)]));
    common::wait_for_log(&server, "Starting automatic rewriting of AOF on ");
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    assert!(manifest(&server).starts_with("file appendonly.aof.3.base.rdb seq 3 type b\n"));
}

#[test]
fn what_comes_before_the_first_base_is_in_no_file_that_counts() {
    let mut server = start(&[]);
    let mut client = server.client();
    ok(client.run("SET a 1"));
    let blocked = block_bases(&server);
    ok(client.run("CONFIG SET appendonly yes"));
    wait_for_info(&mut client, "aof_last_bgrewrite_status", "err");
    ok(client.run("SET b 1"));
    assert!(names(&server).iter().all(|name| name.starts_with("temp-")), "{:?}", names(&server));
    fs::remove_dir(blocked).expect("it is empty");
    while info(&mut client, "aof_last_bgrewrite_status") == "err" {
        client.run("BGREWRITEAOF");
        wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    }
    let first = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    assert_eq!(manifest(&server), first);
    ok(client.run("CONFIG SET appendonly no"));
    // While a save runs, nothing begins.
    ok(client.run("CONFIG SET rdb-key-save-delay 10000000"));
    ok(client.run("SET c 1"));
    client.run("BGSAVE");
    ok(client.run("CONFIG SET appendonly yes"));
    assert_eq!(info(&mut client, "aof_rewrite_scheduled"), "1");
    ok(client.run("SET d 1"));
    assert_eq!((manifest(&server).as_str(), names(&server).len()), (first, 3));
    ok(client.run("CONFIG SET rdb-key-save-delay 0"));
    client.run("BGSAVE CANCEL");
    wait_for_info(&mut client, "aof_rewrite_scheduled", "0");
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    let second = "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n";
    assert_eq!(manifest(&server), second);
    let before = digest(&mut client);
    server.stop();
    check_started_again(&server, &before);
}

#[test]
fn a_base_of_commands_holds_all_values() {
    for stamps in ["no", "yes"] {
        let arguments = ["--aof-use-rdb-preamble", "no", "--aof-timestamp-enabled", stamps];
        let mut server = start(&[ALWAYS, &arguments].concat());
        let mut client = server.client();
        fill(&mut client);
        fill_more(&mut client);
        ok(client.call(&["SET", "", "empty\r\nkey"]));
        for line in
            ["HPEXPIRE h 100000000 FIELDS 1 f", "ZADD z -0 zero inf top 1e300 far 0.1 near", "SET n -12"]
        {
            client.run(line);
        }
        let before = digest(&mut client);
        rewrite(&mut client);
        let expected =
            "file appendonly.aof.2.base.aof seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n";
        assert_eq!(manifest(&server), expected);
        assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
        let lines = lines(&read(&server, "appendonly.aof.2.base.aof"));
        assert_eq!(lines[0] == "# true", stamps == "yes");
        assert!(lines.iter().any(|line| line == "RPUSH l a b c d e"), "{lines:?}");
        assert_eq!(
            lines.iter().filter(|line| line.starts_with("ZADD scores ")).count(),
            500usize.div_ceil(64)
        );
        server.kill_hard();
        server.start_again();
        let mut client = connected(&server);
        assert_eq!(digest(&mut client), before);
        let Value::Array(Some(times)) = client.run("HPEXPIRETIME h FIELDS 1 f") else { panic!("no array") };
        assert!(matches!(times[0], Value::Integer(time) if time > 0), "{times:?}");
    }
}

/// A base has what expired between the rewrite and the next start: what stands behind it may have made it
/// stay.
#[test]
fn what_expired_in_the_base_is_there_for_what_stands_behind_it() {
    for preamble in ["yes", "no"] {
        let arguments = ["--aof-use-rdb-preamble", preamble];
        let mut server = start(&[ALWAYS, &arguments].concat());
        let mut client = server.client();
        ok(client.run("CONFIG SET import-mode yes"));
        ok(client.run("CLIENT IMPORT-SOURCE ON"));
        for line in [
            "SET kept v PX 1",
            "SET gone v PX 1",
            "HSET hash f v",
            "HPEXPIRE hash 1 FIELDS 1 f",
            "HSET half f v g w",
            "HPEXPIRE half 1 FIELDS 1 f",
            "HSET past f v",
            "HPEXPIRE past 1 FIELDS 1 f",
        ] {
            let reply = client.run(line);
            assert!(!matches!(reply, Value::Error(_)), "{line}: {reply:?}");
        }
        rewrite(&mut client);
        assert_eq!(client.run("PERSIST kept"), Value::Integer(1));
        for key in ["hash", "half"] {
            let reply = client.call(&["HPERSIST", key, "FIELDS", "1", "f"]);
            assert_eq!(reply, Value::Array(Some(vec![Value::Integer(1)])), "{key}");
        }
        server.kill_hard();
        server.start_again();
        let mut client = connected(&server);
        let replies = ["GET kept", "HGET hash f", "HGET half f", "GET gone", "HGET past f"];
        let replies = replies.map(|line| client.run(line));
        let v = || Value::Bulk(Some(b"v".to_vec()));
        assert_eq!(replies, [v(), v(), v(), Value::Bulk(None), Value::Bulk(None)], "preamble {preamble}");
        wait_until(|| client.run("DBSIZE") == Value::Integer(3));
    }
}

#[test]
fn a_folder_that_was_removed_is_there_again_with_all_that_was_answered() {
    for policy in ["everysec", "always"] {
        let mut server = start(&["--appendonly", "yes", "--appendfsync", policy]);
        let mut client = server.client();
        fill(&mut client);
        fs::remove_dir_all(folder(&server)).expect("it is there");
        let is_whole = |client: &mut Client| {
            // Writes make it known; while the files are made they are refused.
            client.run("SET after removed");
            info(client, "aof_rewrite_in_progress") == "0" && folder(&server).exists()
        };
        wait_until(|| is_whole(&mut client));
        wait_for_info(&mut client, "aof_last_write_status", "ok");
        common::wait_for_log(&server, "The append-only file was removed from its folder");
        ok(client.run("SET after made"));
        let local = Value::Array(Some(vec![Value::Integer(1), Value::Integer(0)]));
        assert_eq!(client.run("WAITAOF 1 0 0"), local);
        let before = digest(&mut client);
        server.kill_hard();
        server.start_again();
        assert_eq!(digest(&mut connected(&server)), before, "{policy}");
    }
}

/// One long value of each type: each is more than is ever looked at as a whole.
fn fill_long(client: &mut Client) {
    let texts: Vec<String> = (0..60_000).map(|number| format!("{number:0100}")).collect();
    for texts in texts.chunks(1000) {
        let words: Vec<&str> = texts.iter().map(String::as_str).collect();
        let twice: Vec<&str> = words.iter().flat_map(|text| [&text[90..], *text]).collect();
        for (head, words) in [
            (&["RPUSH", "long:list"][..], &words),
            (&["SADD", "long:set"], &words),
            (&["ZADD", "long:zset"], &twice),
            (&["HSET", "long:hash"], &twice),
            (&["HSET", "long:expiring"], &twice),
            (&["XADD", "long:stream", "*"], &twice),
        ] {
            assert!(!client.call(&[head, words].concat()).is_error(), "{head:?}");
        }
    }
    // Longer than what is written at once.
    let long = |byte: &str| byte.repeat(500_000);
    for request in [
        &["RPUSH", "long:list", &long("a"), "last"][..],
        &["SADD", "long:set", &long("b")],
        &["ZADD", "long:zset", "1.5", &long("c")],
        &["HSET", "long:hash", &long("d"), "short", "short", &long("e"), &long("f"), &long("g")],
    ] {
        assert!(!client.call(request).is_error(), "{}", request[0]);
    }
    client.run("HPEXPIRE long:expiring 100000000 FIELDS 1 0000000001");
    client.run("XGROUP CREATE long:stream group 0");
    client.run("XREADGROUP GROUP group me COUNT 3 STREAMS long:stream >");
    ok(client.call(&["SET", "long:string", &texts.concat(), "PX", "100000000"]));
}

#[test]
fn a_base_of_commands_holds_long_values_in_short_commands() {
    let mut server = start(&[ALWAYS, &["--aof-use-rdb-preamble", "no"]].concat());
    let mut client = server.client();
    fill(&mut client);
    fill_long(&mut client);
    let before = digest(&mut client);
    rewrite(&mut client);
    let lines = lines(&read(&server, "appendonly.aof.2.base.aof"));
    for (command, words) in [("RPUSH long:list", 64), ("SADD long:set", 64), ("ZADD long:zset", 128)] {
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(command)).collect();
        let whole = own.iter().filter(|line| line.split(' ').count() == 2 + words).count();
        // A long item has a command of its own, before which one with fewer items may end.
        assert!((60_000 / 64 - 1..=60_000 / 64).contains(&whole), "{command}: {whole}");
        assert!((1..=3).contains(&(own.len() - whole)), "{command}: {}", own.len());
    }
    server.kill_hard();
    server.start_again();
    let mut client = connected(&server);
    assert_eq!(digest(&mut client), before);
    assert!(matches!(client.run("PTTL long:string"), Value::Integer(1..)));
    let Value::Array(Some(pending)) = client.run("XPENDING long:stream group") else { panic!("no array") };
    assert_eq!(pending[0], Value::Integer(3));
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

#[test]
fn saves_and_rewrites_wait_for_each_other() {
    let server = start(ALWAYS);
    let mut client = server.client();
    ok(client.run("MSET a 1 b 2 c 3"));
    ok(client.run("CONFIG SET rdb-key-save-delay 10000000"));
    assert_eq!(client.run("BGSAVE"), Value::Simple(b"Background saving started".to_vec()));
    let scheduled = Value::Simple(b"Background append only file rewriting scheduled".to_vec());
    assert_eq!(client.run("BGREWRITEAOF"), scheduled);
    assert_eq!(info(&mut client, "aof_rewrite_scheduled"), "1");
    client.run("BGSAVE CANCEL");
    wait_for_info(&mut client, "aof_rewrite_in_progress", "1");
    let refused = error(client.run("BGSAVE"));
    assert!(refused.starts_with("ERR Another child process is active (AOF?)"), "{refused}");
    let refused = error(client.run("BGREWRITEAOF"));
    assert_eq!(refused, "ERR Background append only file rewriting already in progress");
    assert_eq!(client.run("BGSAVE SCHEDULE"), Value::Simple(b"Background saving scheduled".to_vec()));
    ok(client.run("CONFIG SET appendonly no rdb-key-save-delay 0"));
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    wait_for_info(&mut client, "rdb_bgsave_in_progress", "0");
}

#[test]
fn files_go_to_redis_and_come_from_it() {
    let Some(redis) = testkit::redis() else { return println!("SKIPPED: redis-server is not installed") };
    for preamble in ["yes", "no"] {
        let common = ["--appendonly", "yes", "--save", "", "--enable-debug-command", "yes"];
        let theirs = [&common[..], &["--aof-use-rdb-preamble", preamble]].concat();
        let mut server = Server::start(&redis, &theirs);
        let mut client = server.client();
        fill(&mut client);
        client.run("BGREWRITEAOF");
        wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
        ok(client.run("SET behind base"));
        let before = values(&mut client);
        server.stop();
        let dir = server.dir().to_str().expect("a name of text").to_owned();
        let mut ours = start(&["--appendonly", "yes", "--aof-use-rdb-preamble", preamble, "--dir", &dir]);
        let mut client = connected(&ours);
        assert_eq!(values(&mut client), before, "preamble {preamble}: Redis' folder here");
        fill_more(&mut client);
        rewrite(&mut client);
        ok(client.run("SET behind ours"));
        let before = values(&mut client);
        ours.stop();
        server.start_again();
        assert_eq!(values(&mut connected(&server)), before, "preamble {preamble}: our folder there");
    }
}

fn fill_more(client: &mut Client) {
    for number in 0..500 {
        client.run(&format!("SADD many {number}"));
        client.run(&format!("ZADD scores {number} m{number}"));
    }
    client.run("MULTI");
    client.run("SPOP many 10");
    client.run("EXPIRE scores 100000");
    client.run("EXEC");
}

/// What all keys hold, by names that both servers answer alike.
fn values(client: &mut Client) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for db in 0..8 {
        client.run(&format!("SELECT {db}"));
        let Value::Array(Some(keys)) = client.run("KEYS *") else { panic!("KEYS answers an array") };
        for key in keys {
            let Value::Bulk(Some(key)) = key else { panic!("a key is a bulk") };
            let key = String::from_utf8(key).expect("keys are text");
            let kind = client.run(&format!("TYPE {key}"));
            let Value::Simple(kind) = kind else { panic!("TYPE answers a word") };
            let read = match &kind[..] {
                b"string" => format!("GET {key}"),
                b"list" => format!("LRANGE {key} 0 -1"),
                b"set" => format!("SORT {key} ALPHA"),
                b"hash" => format!("HGETALL {key}"),
                b"zset" => format!("ZRANGE {key} 0 -1 WITHSCORES"),
                _ => format!("XINFO GROUPS {key}"),
            };
            let times = client.run(&format!("PEXPIRETIME {key}"));
            values.insert(format!("{db} {key}"), format!("{:?} {times:?}", client.run(&read)));
        }
    }
    client.run("SELECT 0");
    values
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

#[test]
fn the_end_of_the_process_leaves_nothing_of_a_rewrite() {
    for preamble in ["yes", "no"] {
        let slow = ["--rdb-key-save-delay", "1000000", "--aof-use-rdb-preamble", preamble];
        let mut server = start(&[ALWAYS, &slow].concat());
        let mut client = server.client();
        (0..1000).for_each(|number| ok(client.run(&format!("SET k{number} v"))));
        client.run("BGREWRITEAOF");
        let is_temporary = |file: fs::DirEntry| file.file_name().to_string_lossy().starts_with("temp-");
        let has_temporary =
            || fs::read_dir(folder(&server)).expect("it is there").flatten().any(is_temporary);
        while !has_temporary() {
            assert_eq!(info(&mut client, "aof_rewrite_in_progress"), "1");
        }
        let folder = folder(&server);
        server.stop();
        assert!(!fs::read_dir(folder).expect("it is there").flatten().any(is_temporary));
    }
}
