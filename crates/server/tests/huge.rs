//! Values of many megabytes that are written to while they are saved: the file holds them as they were at the
//! cut, Redis loads it, and what waits in memory stays small.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use base::random::Rng;
use common::{info, start, wait_for_info};
use resp::Value;
use testkit::client::ok;
use testkit::{Client, Server};

const ITEMS: usize = 40_000;
const CONSUMERS: usize = 4;
const TEXT_LEN: usize = 8 << 20;
/// Bytes a second: slow enough that writers come before the walk.
const RATE: &str = "2mb";
/// What may wait in memory, more than 20 times smaller than the data.
const LIMIT: u64 = 1 << 20;

/// Small keys beside the large values.
const SMALL: usize = 20_000;

const KEYS: [&str; 6] = ["hash", "set", "zset", "list", "stream", "text"];

fn fill(client: &mut Client) {
    let value = "v".repeat(80);
    let mut requests: Vec<Vec<String>> = Vec::new();
    let mut add = |words: &[&str]| requests.push(words.iter().map(|word| word.to_string()).collect());
    for item in 0..ITEMS {
        let (name, score) = (format!("item:{item}:{value}"), (item * 7919 % 1000).to_string());
        add(&["HSET", "hash", &name, &item.to_string()]);
        add(&["SADD", "set", &name]);
        add(&["ZADD", "zset", &score, &name]);
        add(&["RPUSH", "list", if item % 10 == 0 { "same" } else { &name }]);
        add(&["XADD", "stream", &format!("{}-1", item + 1), "field", &name]);
    }
    add(&["XGROUP", "CREATE", "stream", "17", "5-5"]);
    add(&["XGROUP", "CREATE", "stream", "group", "0"]);
    for consumer in 0..30 {
        let name = (consumer % CONSUMERS).to_string();
        add(&["XREADGROUP", "GROUP", "group", &name, "COUNT", "1000", "STREAMS", "stream", ">"]);
    }
    add(&["SETRANGE", "text", &(TEXT_LEN - 1).to_string(), "x"]);
    (0..SMALL).for_each(|number| add(&["SET", &small(number), &value]));
    for requests in requests.chunks(1000) {
        for reply in client.pipeline(requests) {
            assert!(!matches!(reply, Value::Error(_)), "{reply:?}");
        }
    }
}

/// A request of these words, and of others.
fn words(command: &str, rest: &[String]) -> Vec<String> {
    command.split(' ').map(String::from).chain(rest.iter().cloned()).collect()
}

fn small(number: usize) -> String {
    format!("small:{number}")
}

fn digests(client: &mut Client) -> BTreeMap<String, Value> {
    let mut digests: BTreeMap<String, Value> =
        KEYS.iter().map(|key| (key.to_string(), client.call(&["DEBUG", "DIGEST-VALUE", key]))).collect();
    let small_keys: Vec<_> = (0..SMALL).map(small).collect();
    digests.insert("small".into(), client.call(&words("DEBUG DIGEST-VALUE", &small_keys)));
    // The digest of a stream knows no groups.
    digests.insert("pending".into(), pending(client));
    digests.insert("by consumer".into(), client.run("XPENDING stream group"));
    digests
}

/// All pending entries, without the time that has passed.
fn pending(client: &mut Client) -> Value {
    let Value::Array(Some(mut entries)) = client.run("XPENDING stream group - + 100000") else {
        panic!("there is a group");
    };
    for entry in &mut entries {
        let Value::Array(Some(parts)) = entry else { panic!("an id, a consumer, a time and a count") };
        parts.remove(2);
    }
    Value::Array(Some(entries))
}

/// Changes all values as fast as it can.
fn disturb(client: &mut Client, seed: u64, stop: &AtomicBool) -> u64 {
    let (mut rng, mut count) = (Rng::from_seed(seed), 0);
    let value = "v".repeat(80);
    while !stop.load(Ordering::Relaxed) {
        let requests: Vec<Vec<String>> = (0..50).map(|_| change(&mut rng, &value)).collect();
        client.pipeline(&requests);
        count += 50;
    }
    count
}

fn change(rng: &mut Rng, value: &str) -> Vec<String> {
    let item = rng.below(ITEMS as u64 * 5 / 4);
    let name = format!("item:{item}:{value}");
    let words: Vec<String> = match rng.below(16) {
        0..=1 => ["HSET", "hash", &name, "changed"].map(String::from).to_vec(),
        2 => ["HDEL", "hash", &name].map(String::from).to_vec(),
        3 => ["SADD", "set", &name].map(String::from).to_vec(),
        4 => ["SREM", "set", &name].map(String::from).to_vec(),
        5 => ["ZADD", "zset", "-5", &name].map(String::from).to_vec(),
        6 => ["ZREMRANGEBYRANK", "zset", "100", "105"].map(String::from).to_vec(),
        7 => ["LPUSH", "list", &name].map(String::from).to_vec(),
        8 => ["RPOP", "list"].map(String::from).to_vec(),
        9 => ["LSET", "list", "20000", "changed"].map(String::from).to_vec(),
        10 => ["XDEL", "stream", &format!("{}-1", item + 1)].map(String::from).to_vec(),
        11 => ["XADD", "stream", "*", "field", &name].map(String::from).to_vec(),
        12 => change_group(rng, &format!("{}-1", item + 1)),
        13 => ["SETBIT", "text", &(item * 1000).to_string(), "1"].map(String::from).to_vec(),
        14 => ["APPEND", "text", "tail"].map(String::from).to_vec(),
        _ => ["SETRANGE", "text", &(item * 100).to_string(), &name].map(String::from).to_vec(),
    };
    words
}

fn change_group(rng: &mut Rng, id: &str) -> Vec<String> {
    let consumer = &rng.below(2 * CONSUMERS as u64).to_string();
    let words = match rng.below(400) {
        0 => "XGROUP DESTROY stream group".to_string(),
        1 => format!("XGROUP DELCONSUMER stream group {consumer}"),
        2..=20 => "XGROUP CREATE stream group 100-0".to_string(),
        21..=40 => format!("XGROUP CREATECONSUMER stream 17 {consumer}"),
        41..=100 => format!("XREADGROUP GROUP group {consumer} COUNT 10 STREAMS stream >"),
        101..=150 => format!("XAUTOCLAIM stream group {consumer} 0 {id} COUNT 10 JUSTID"),
        151..=250 => format!("XCLAIM stream group {consumer} 0 {id}"),
        _ => format!("XACK stream group {id}"),
    };
    words.split(' ').map(String::from).collect()
}

/// The digests of what a program loads from the dump.
fn loaded_by(mut server: Server, dump: &std::path::Path) -> BTreeMap<String, Value> {
    server.kill_hard();
    fs::copy(dump, server.dir().join("dump.rdb")).expect("both directories are there");
    server.start_again();
    let mut client = server.client();
    wait_for_info(&mut client, "loading", "0");
    digests(&mut client)
}

/// Saves while `meanwhile` goes on, and compares what is loaded with what was there at the cut.
fn check(arguments: &[&str], meanwhile: impl Fn(&Server, &mut Client)) {
    let limit = LIMIT.to_string();
    let mut all = vec!["--snapshot-memory-limit", &limit];
    all.extend(arguments);
    let server = start(&all);
    let mut client = server.client();
    fill(&mut client);
    let expected = digests(&mut client);
    ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", RATE]));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stopped = StopAtEnd(&stop);
        assert_eq!(client.run("BGSAVE"), Value::Simple(b"Background saving started".to_vec()));
        let writers: Vec<_> = (0..2)
            .map(|seed| {
                let (mut own, stop) = (server.client(), &stop);
                scope.spawn(move || disturb(&mut own, seed, stop))
            })
            .collect();
        meanwhile(&server, &mut client);
        ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", "0"]));
        wait_for_info(&mut client, "rdb_bgsave_in_progress", "0");
        stop.store(true, Ordering::Relaxed);
        let changes: u64 = writers.into_iter().map(|writer| writer.join().expect("no panic")).sum();
        assert!(changes > 1000, "{changes} changes are none");
    });
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
    let most: u64 = info(&mut client, "rdb_last_cow_size").parse().expect("a number");
    println!("{most} bytes waited in memory");
    assert!(most < 2 * LIMIT, "{most} bytes waited in memory");
    let dump = server.dir().join("dump.rdb");
    assert_eq!(loaded_by(start(&[]), &dump), expected, "loaded by ourselves");
    let Some(redis) = testkit::redis() else { return println!("SKIPPED: redis-server is not installed") };
    let redis = Server::start(redis, &["--save", "", "--enable-debug-command", "yes"]);
    assert_eq!(loaded_by(redis, &dump), expected, "loaded by Redis");
}

/// The writers end, whatever fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn check_saving(client: &mut Client) {
    assert_eq!(info(client, "rdb_bgsave_in_progress"), "1", "the save was too fast to be disturbed");
}

/// Waits until the writers have made so many changes more, while the save goes on.
fn await_changes(client: &mut Client, count: u64) {
    let before = changes(client);
    while changes(client) < before + count {}
    check_saving(client);
}

fn changes(client: &mut Client) -> u64 {
    info(client, "rdb_changes_since_last_save").parse().expect("a number")
}

#[test]
fn values_that_change_are_saved_as_they_were() {
    check(&[], |_, client| await_changes(client, 5000));
}

#[test]
fn values_that_go_are_saved_as_they_were() {
    check(&["--rdbchecksum", "no"], |_, client| {
        ok(client.run("RENAME hash other"));
        ok(client.run("SET set small"));
        client.run("UNLINK zset");
        client.run("MOVE list 1");
        ok(client.run("SWAPDB 0 2"));
        ok(client.run("SELECT 2"));
        client.run("DEL stream");
        ok(client.run("FLUSHDB"));
        // FLUSHALL would end the save.
        for db in ["SELECT 1", "SELECT 0"] {
            ok(client.run(db));
            ok(client.run("FLUSHDB SYNC"));
        }
        await_changes(client, 1000);
    });
}

#[test]
fn values_that_others_take_the_place_of_are_saved_as_they_were() {
    check(&[], |server, client| {
        client.run("RPUSH numbers{h} 3 1 2");
        client.run("HSET fields{h} a 1");
        // Within a transaction, where each is the target of a command that stores.
        ok(client.run("MULTI"));
        for line in ["COPY fields{h} hash REPLACE", "SORT numbers{h} STORE zset", "SUNIONSTORE set set"] {
            client.run(line);
        }
        assert!(matches!(client.run("EXEC"), Value::Array(Some(replies)) if replies.len() == 3));
        // It goes when one of the writers looks at it.
        client.run("PEXPIRE text 1");
        ok(client.run("RENAME list kept"));
        // What somebody waits for is moved into the list that is being saved.
        let mut blocked = server.client();
        blocked.send(&["BLMOVE", "source", "kept", "LEFT", "RIGHT", "0"]);
        wait_for_info(client, "blocked_clients", "1");
        client.run("LPUSH source moved");
        assert_eq!(blocked.read_value(), Value::Bulk(Some(b"moved".to_vec())));
        client.run("XTRIM stream MAXLEN 38000");
        await_changes(client, 1000);
    });
}

/// What one command takes out of a value is handed over, however much it is.
#[test]
fn values_that_lose_most_at_once_are_saved_as_they_were() {
    check(&[], |_, client| {
        let value = "v".repeat(80);
        let fields: Vec<String> = (0..ITEMS).map(|item| format!("item:{item}:{value}")).collect();
        let ids: Vec<String> = (20_000..39_000).map(|item| format!("{item}-1")).collect();
        let requests = [
            words("HDEL hash", &fields[..ITEMS - 1000]),
            words("SREM set", &fields[..ITEMS / 2]),
            words("SPOP set 19000", &[]),
            words("ZREMRANGEBYRANK zset 0 15000", &[]),
            words("ZPOPMAX zset 15000", &[]),
            words("LTRIM list 19000 -1000", &[]),
            words("LPOP list 18000", &[]),
            words("XTRIM stream MAXLEN 20000", &[]),
            words("XDEL stream", &ids),
        ];
        for request in requests {
            let reply = client.call(&request);
            assert!(!matches!(reply, Value::Error(_) | Value::Integer(0)), "{}: {reply:?}", request[0]);
        }
        await_changes(client, 1000);
    });
}

/// What requests change all over a value, or of many keys, is saved before they run, and then they do.
#[test]
fn values_that_change_all_over_at_once_are_saved_as_they_were() {
    check(&[], |_, client| {
        let value = "v".repeat(80);
        let name = |item: usize| format!("item:{item}:{value}");
        let each = |step: usize, words: &dyn Fn(usize) -> Vec<String>| -> Vec<String> {
            (0..ITEMS).step_by(step).flat_map(words).collect()
        };
        let bits = |item: usize| ["SET", "u8", &(item * 1600).to_string(), "1"].map(String::from).to_vec();
        let smalls = |to: &str| -> Vec<String> {
            (0..SMALL / 2).flat_map(|number| [small(number), to.to_owned()]).collect()
        };
        let script = "for i = 10000, 14999 do redis.call('SET', 'small:' .. i, 'by a script') end \
                      for i = 0, 39999, 8 do redis.call('ZADD', 'zset', 7, ARGV[1] .. i .. ARGV[2]) end \
                      return 1";
        let requests = [
            words("XDEL stream", &each(40, &|item| vec![format!("{}-1", item + 1)])),
            words("HSET hash", &each(8, &|item| vec![name(item), "changed".into()])),
            words("MSET", &smalls("changed")),
            vec!["EVAL".into(), script.into(), "0".into(), "item:".into(), format!(":{value}")],
        ];
        for request in requests {
            let reply = client.call(&request);
            assert!(!matches!(reply, Value::Error(_)), "{}: {reply:?}", request[0]);
        }
        ok(client.run("MULTI"));
        (SMALL / 4 * 3..SMALL).for_each(|number| drop(client.call(&["SET", &small(number), "changed"])));
        assert!(matches!(client.run("EXEC"), Value::Array(Some(replies)) if replies.len() == SMALL / 4));
        check_saving(client);
        // These wait until little of the value is not saved.
        ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", "8mb"]));
        // Of the first ones there are fewer the longer the others were at work: they take from the other end.
        assert!(matches!(client.call(&words("LPUSH list", &vec!["same".into(); 2000])), Value::Integer(_)));
        let removed = client.run("LREM list 0 same");
        assert!(matches!(removed, Value::Integer(1000..)), "{removed:?}");
        assert!(matches!(client.call(&words("BITFIELD text", &each(200, &bits))), Value::Array(Some(_))));
    });
}

/// A rewrite of the append-only file takes no more memory than a save, and what the increment holds of each
/// value follows what the base does.
#[test]
fn values_that_change_while_the_file_is_rewritten_are_loaded_as_they_are_in_the_end() {
    let limit = LIMIT.to_string();
    let kept =
        ["--snapshot-memory-limit", &limit, "--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];
    for preamble in ["yes", "no"] {
        println!("preamble {preamble}");
        let mut server = start(&[&kept[..], &["--aof-use-rdb-preamble", preamble]].concat());
        let mut client = server.client();
        fill(&mut client);
        rewrite_disturbed(&server, &mut client);
        let most: u64 = info(&mut client, "aof_last_cow_size").parse().expect("a number");
        println!("{most} bytes waited in memory");
        assert!(most < 2 * LIMIT, "{most} bytes waited in memory");
        let expected = digests(&mut client);
        server.kill_hard();
        server.start_again();
        let mut client = server.client();
        wait_for_info(&mut client, "loading", "0");
        assert_eq!(digests(&mut client), expected, "preamble {preamble}");
    }
}

/// Rewrites the append-only file while somebody writes. In the end it is known to hold all of that.
fn rewrite_disturbed(server: &Server, client: &mut Client) {
    ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", RATE]));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stopped = StopAtEnd(&stop);
        let (mut own, stop) = (server.client(), &stop);
        let writer = scope.spawn(move || disturb(&mut own, 1, stop));
        // A disk that keeps the writer waiting may let one come to its end.
        assert!((0..10).any(|_| begin_disturbed(client)), "it was too fast to be disturbed");
        ok(client.call(&["CONFIG", "SET", "snapshot-write-rate", "0"]));
        wait_for_info(client, "aof_rewrite_in_progress", "0");
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no panic");
    });
    assert_eq!(info(client, "aof_last_bgrewrite_status"), "ok");
    // The writer may have left the stream without its group. WAITAOF is about what its own connection has
    // written: this comes behind all that the writer has.
    client.run("XGROUP CREATE stream group 100-0");
    assert_eq!(client.run("XGROUP CREATECONSUMER stream group last"), Value::Integer(1));
    let durable = Value::Array(Some(vec![Value::Integer(1), Value::Integer(0)]));
    assert_eq!(client.run("WAITAOF 1 0 0"), durable);
}

/// Begins a rewrite; false if it was over before much was changed behind its cut.
fn begin_disturbed(client: &mut Client) -> bool {
    let is_saving = |client: &mut Client| info(client, "current_save_keys_total") != "0";
    wait_for_info(client, "aof_rewrite_in_progress", "0");
    let started = Value::Simple(b"Background append only file rewriting started".to_vec());
    assert_eq!(client.run("BGREWRITEAOF"), started);
    wait_for_info(client, "current_save_keys_total", &(KEYS.len() + SMALL).to_string());
    let before = changes(client);
    while changes(client) < before + 2000 && is_saving(client) {}
    is_saving(client)
}
