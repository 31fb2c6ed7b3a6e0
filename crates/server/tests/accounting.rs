//! All memory is accounted for: whatever the server is given to hold, its consumers' sum is what the
//! allocator counts, within one per cent.

mod common;

use common::start;
use testkit::client::ok;
use testkit::memory::{check_memory, memory};
use testkit::{Client, Server};

/// Elements of a big value.
const COUNT: usize = 20_000;

/// Sends the requests in pipelines.
fn fill(client: &mut Client, requests: impl Iterator<Item = String>) {
    let requests: Vec<Vec<String>> =
        requests.map(|line| line.split(' ').map(str::to_owned).collect()).collect();
    for some in requests.chunks(500) {
        client.pipeline(some);
    }
}

/// Connections that each ran a request.
fn clients(server: &Server, count: usize, request: impl Fn(usize) -> String) -> Vec<Client> {
    (0..count)
        .map(|index| {
            let mut client = server.client();
            for line in request(index).lines() {
                client.run(line);
            }
            client
        })
        .collect()
}

#[test]
fn data_of_every_type_add_up() {
    let server = start(&["--io-threads", "2"]);
    let mut client = server.client();
    check_memory(&mut client, "an empty server");
    let long = "x".repeat(300);
    let part = |len: usize| &long[..len % 300];
    type Line<'a> = &'a dyn Fn(usize) -> String;
    let fills: [(&str, Line); 17] = [
        ("strings", &|i| format!("SET k{i} {}", i * i)),
        ("longer strings", &|i| format!("SET l{i} {}.", part(i))),
        ("strings with expiries", &|i| format!("SET e{i} {}. EX 1000", part(i))),
        ("appended strings", &|i| format!("APPEND a{} {}", i % 200, part(i))),
        ("a hash", &|i| format!("HSET hash f{i} {}.", part(i))),
        ("fields with expiries", &|i| format!("HEXPIRE hash 1000 FIELDS 1 f{i}")),
        ("a set", &|i| format!("SADD set member{i}")),
        ("a set of integers", &|i| format!("SADD ints {}", i % 500)),
        ("a sorted set", &|i| format!("ZADD zset {i} member{i}")),
        ("a list", &|i| format!("RPUSH list {}", part(i))),
        ("a stream", &|i| format!("XADD stream * field {i} other {}", part(i))),
        ("small sets", &|i| format!("SADD s{} {i}", i % 5000)),
        ("small hashes", &|i| format!("HSET h{} f{i} v", i % 5000)),
        ("small lists", &|i| format!("LPUSH q{} v{i}", i % 5000)),
        ("small sorted sets", &|i| format!("ZADD z{} {i} v{i}", i % 5000)),
        ("small streams", &|i| format!("XADD t{} * f {i}", i % 500)),
        ("sketches", &|i| format!("PFADD p{} {i}", i % 50)),
    ];
    for (what, line) in fills {
        fill(&mut client, (0..COUNT).map(line));
        check_memory(&mut client, what);
    }
    client.run("XGROUP CREATE stream group 0");
    fill(&mut client, (0..20).map(|i| format!("XREADGROUP GROUP group c{i} COUNT 900 STREAMS stream >")));
    check_memory(&mut client, "pending entries");
    for removal in ["HDEL hash f", "ZREM zset member", "SREM set member", "DEL k", "DEL l"] {
        fill(&mut client, (0..COUNT).step_by(2).map(|i| format!("{removal}{i}")));
    }
    fill(&mut client, (0..COUNT / 2).map(|_| "LPOP list".to_owned()));
    check_memory(&mut client, "half of it removed");
    client.run("FLUSHALL");
    check_memory(&mut client, "all of it removed");
    assert_eq!(memory(&mut client)["data"], 0);
}

/// What several clients name is held once for each and once for all.
#[test]
fn long_names_add_up() {
    let server = start(&["--io-threads", "2"]);
    let mut client = server.client();
    check_memory(&mut client, "before");
    let name = "n".repeat(30_000);
    let verbs =
        ["CLIENT SETNAME", "CLIENT SETINFO LIB-NAME", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "WATCH"];
    let mut all: Vec<Vec<Client>> = Vec::new();
    for verb in verbs.into_iter().chain(["CLIENT TRACKING ON BCAST PREFIX"]) {
        all.push(clients(&server, 30, |_| format!("{verb} {name}")));
        check_memory(&mut client, verb);
    }
    let mut waiting = clients(&server, 30, |_| "PING".into());
    waiting.iter_mut().for_each(|one| one.send(&["BLPOP", &name, "0"]));
    common::wait_for_info(&mut client, "blocked_clients", "30");
    check_memory(&mut client, "BLPOP");
    drop((all, waiting));
    common::wait_for_info(&mut client, "connected_clients", "1");
    check_memory(&mut client, "without them");
    assert_eq!(memory(&mut client)["clients.registries"], 0);
}

/// Nothing stays with each shard of each database.
#[test]
fn a_snapshot_leaves_nothing() {
    let server = start(&["--io-threads", "2"]);
    let mut client = server.client();
    for db in 0..16 {
        client.run(&format!("SELECT {db}"));
        fill(&mut client, (0..500).map(|i| format!("SET k{i} v")));
    }
    check_memory(&mut client, "before");
    client.run("SAVE");
    check_memory(&mut client, "SAVE");
}

#[test]
fn a_running_save_adds_up() {
    let server = start(&["--rdb-key-save-delay", "10000000"]);
    let mut client = server.client();
    client.run("SET k v");
    client.run("BGSAVE");
    common::wait_for_info(&mut client, "rdb_bgsave_in_progress", "1");
    check_memory(&mut client, "BGSAVE");
    client.run("BGSAVE CANCEL");
    common::wait_for_info(&mut client, "rdb_bgsave_in_progress", "0");
    check_memory(&mut client, "BGSAVE CANCEL");
}

/// A connection that stays, and the worker, give back what a request took.
#[test]
fn large_requests_leave_nothing() {
    let server = start(&["--io-threads", "2", "--notify-keyspace-events", "KEA", "--appendonly", "yes"]);
    let mut client = server.client();
    check_memory(&mut client, "before");
    let names: Vec<String> = (0..50_000).map(|i| format!("k{i}")).collect();
    let with = |verb: &str, between: &str| format!("{verb} {}", names.join(between));
    let script = "for i = 1, #KEYS do redis.call('SET', KEYS[i], 'v') redis.call('DEL', KEYS[i]) end";
    let run = |client: &mut Client, line: &str| client.call(&line.split(' ').collect::<Vec<_>>());
    run(&mut client, &with("WATCH", " "));
    run(&mut client, "UNWATCH");
    check_memory(&mut client, "UNWATCH");
    run(&mut client, &(with("MSET", " v ") + " v"));
    run(&mut client, "FLUSHALL");
    check_memory(&mut client, "MSET");
    let count = names.len().to_string();
    let mut words = vec!["EVAL", script, &count];
    words.extend(names.iter().map(String::as_str));
    client.call(&words);
    check_memory(&mut client, "EVAL");
    let many =
        "local all = {} for i = 1, 7900 do all[i] = i end return redis.call('RPUSH', 'l', unpack(all))";
    client.call(&["EVAL", many, "0"]);
    check_memory(&mut client, many);
    fill(&mut client, (0..2000).map(|i| format!("EVAL return{i}=1 0")));
    fill(&mut client, (0..2000).map(|i| format!("SCRIPT LOAD a{i}=1")));
    check_memory(&mut client, "SCRIPT LOAD");
    client.run("SCRIPT FLUSH");
    check_memory(&mut client, "SCRIPT FLUSH");
}

#[test]
fn what_clients_hold_adds_up() {
    let server = start(&["--io-threads", "2"]);
    let mut client = server.client();
    fill(&mut client, (0..COUNT).map(|i| format!("SET k{i} {i}")));
    client.call(&["SET", "big", &"x".repeat(5_000_000)]);
    check_memory(&mut client, "before");
    let words = |verb: &str, name: &str, of: usize, count: usize| {
        let names: Vec<String> = (0..count).map(|i| format!("{name}{}", of * count + i)).collect();
        format!("{verb} {}", names.join(" "))
    };
    let queued = format!("SET a {}\n", "y".repeat(1000)).repeat(50);
    let mut check = |clients: Vec<Client>, what: &str| {
        check_memory(&mut client, what);
        clients
    };
    let groups = [
        check(clients(&server, 200, |_| "PING".into()), "connections"),
        check(
            clients(&server, 200, |of| (0..20).map(|i| format!("SUBSCRIBE c{of}.{i}\n")).collect()),
            "subscribers",
        ),
        check(
            clients(&server, 50, |of| format!("CLIENT TRACKING ON\n{}", words("MGET", "k", of, 200))),
            "tracking",
        ),
        check(clients(&server, 100, |of| words("WATCH", "w", of, 100)), "watched keys"),
        check(clients(&server, 100, |_| format!("MULTI\n{queued}")), "transactions"),
    ];
    let mut waiting = clients(&server, 100, |_| "PING".into());
    for (of, one) in waiting.iter_mut().enumerate() {
        let line = format!("{} 0", words("BLPOP", "q", of, 10));
        one.send(&line.split(' ').collect::<Vec<_>>());
    }
    let mut halves = clients(&server, 30, |_| "PING".into());
    let half = ["*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n", &"x".repeat(300_000)].concat();
    halves.iter_mut().for_each(|one| one.send_raw(half.as_bytes()));
    let mut readers = clients(&server, 20, |_| "PING".into());
    readers.iter_mut().for_each(|one| (0..3).for_each(|_| one.send(&["GET", "big"])));
    common::wait_for_info(&mut client, "blocked_clients", "100");
    check_memory(&mut client, "waiting, half sent and unread requests");
    drop((groups, waiting, halves, readers));
    common::wait_for_info(&mut client, "connected_clients", "1");
    check_memory(&mut client, "without them");
}

/// Texts lie in blocks that are longer than they, and so do Lua's own strings; what a worker has compiled
/// keeps its text when the cache has let it go.
#[test]
fn scripts_that_come_and_go_add_up() {
    let limits = ["--script-cache-limit", "8mb", "--lua-memory-limit", "32mb"];
    let server = start(&[&["--io-threads", "2"][..], &limits].concat());
    let comment = "c".repeat(8200);
    let mut clients: Vec<Client> = (0..2).map(|_| server.client()).collect();
    for number in 0..3000 {
        let client = &mut clients[number % 2];
        let script = format!("return {number} -- {comment}");
        client.call(&["EVAL", &script, "0"]);
        client.call(&["SCRIPT", "LOAD", &format!("{script} too")]);
    }
    check_memory(&mut clients[0], "texts");
    clients[0].run("SCRIPT FLUSH");
    clients.iter_mut().for_each(|client| drop(client.run("EVAL return{1} 0")));
    check_memory(&mut clients[0], "SCRIPT FLUSH");
    let library = "#!lua name=held\nlocal held = {} redis.register_function('f', function()
                   for i = 1, 300 do held[i] = string.rep('x', 16400 + i) end return #held end)";
    for request in [&["FUNCTION", "LOAD", library][..], &["FCALL", "f", "0"]] {
        let reply = clients[0].call(request);
        assert!(!reply.is_error(), "{reply:?}");
    }
    check_memory(&mut clients[0], "a library's strings");
}

/// Whoever looks at memory at that moment does not bring the old limit back.
#[test]
fn a_limit_counts_from_the_next_request() {
    let server = start(&[]);
    let mut client = server.client();
    for round in 0..10_000 {
        ok(client.run("CONFIG SET maxmemory 1"));
        assert!(client.run("SET key value").is_error(), "in round {round}");
        ok(client.run("CONFIG SET maxmemory 0"));
        ok(client.run("SET key value"));
    }
}
