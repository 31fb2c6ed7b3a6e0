//! Scripts of real processes that run for too long: others learn of it, and can end them, whichever worker
//! serves them.

mod common;

use std::io::ErrorKind;

use common::{info, signal, wait_for_info, wait_for_log};
use resp::Value;
use rustix::process::Signal;
use testkit::client::{encode, error, ok};
use testkit::{Client, Server};

const ENDLESS: &str = "while true do end";
const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";

fn start(workers: &str) -> Server {
    start_patient(workers, "1")
}

/// A server that is busy after so many milliseconds.
fn start_patient(workers: &str, threshold: &str) -> Server {
    let arguments = ["--save", "", "--io-threads", workers, "--busy-reply-threshold", threshold];
    Server::start(env!("CARGO_BIN_EXE_onefold-server"), &arguments)
}

/// Waits until the server says that it is busy.
fn await_busy(client: &mut Client) {
    loop {
        match client.run("PING") {
            Value::Simple(_) => {}
            reply => return assert_eq!(error(reply), BUSY),
        }
    }
}

fn pong(client: &mut Client) {
    assert_eq!(client.run("PING"), Value::Simple("PONG".into()));
}

fn array(texts: &[&str]) -> Value {
    Value::Array(Some(texts.iter().map(|text| Value::Bulk(Some(text.as_bytes().to_vec()))).collect()))
}

fn check_on_workers(check: impl Fn(&Server)) {
    ["1", "2", "3"].into_iter().for_each(|workers| check(&start(workers)));
}

#[test]
fn an_endless_script_is_ended_from_any_connection() {
    check_on_workers(|server| {
        let mut others: Vec<_> = (0..6).map(|_| server.client()).collect();
        for at in 0..others.len() {
            let mut caller = server.client();
            caller.send(&["EVAL", ENDLESS, "0"]);
            caller.send(&["GET", "k"]);
            others.iter_mut().for_each(await_busy);
            // Its turn comes when the script has ended.
            caller.send(&["PING"]);
            let mut late = server.client();
            for line in ["GET k", "INFO", "DBSIZE", "EVAL 'return 1' 0", "SHUTDOWN", "FLUSHALL", "SCAN 0"] {
                assert_eq!(error(late.run(line)), BUSY, "{line}");
            }
            // Redis says so without a transaction too.
            let aborted = format!("EXECABORT Transaction discarded because of: {BUSY}");
            assert_eq!(error(late.run("EXEC")), aborted);
            ok(late.run("MULTI"));
            assert_eq!(error(late.run("SET k v")), BUSY);
            ok(late.run("DISCARD"));
            ok(others[at].run("SCRIPT KILL"));
            let end = error(caller.read_value());
            assert!(end.starts_with("ERR Script killed by user with SCRIPT KILL"), "{end}");
            assert_eq!(caller.read_value(), Value::Bulk(None));
            assert_eq!(caller.read_value(), Value::Simple("PONG".into()));
            others.iter_mut().chain([&mut late]).for_each(|client| ok(client.run("SET k v")));
            ok(late.run("FLUSHALL"));
        }
    });
}

/// Whoever connects while a worker runs a long script is served by another, whichever of them it is.
#[test]
fn newcomers_do_not_wait_for_a_script() {
    let long = "for i = 1, 2e7 do end redis.log(redis.LOG_WARNING, 'it goes on') while true do end";
    for at in 0..2 {
        let server = start_patient("2", "1000000");
        let mut callers = [server.client(), server.client()];
        callers.iter_mut().for_each(pong);
        callers[at].send(&["EVAL", long, "0"]);
        wait_for_log(&server, "it goes on");
        for _ in 0..10 {
            pong(&mut server.client());
        }
        let mut late: Vec<_> = (0..4).map(|_| server.client()).collect();
        late.iter_mut().for_each(pong);
    }
}

#[test]
fn replies_do_not_wait_for_the_script_behind_them() {
    check_on_workers(|server| {
        let (mut caller, mut other) = (server.client(), server.client());
        let requests: [&[&str]; 3] = [&["SET", "k", "v"], &["PING"], &["EVAL", ENDLESS, "0"]];
        caller.send_raw(&requests.map(encode).concat());
        ok(caller.read_value());
        assert_eq!(caller.read_value(), Value::Simple("PONG".into()));
        await_busy(&mut other);
        ok(other.run("SCRIPT KILL"));
        error(caller.read_value());
    });
}

#[test]
fn a_script_that_wrote_ends_with_the_server_only() {
    check_on_workers(|server| {
        let mut other = server.client();
        let mut caller = server.client();
        caller.send(&["EVAL", "redis.call('set', 'k', 'v') while true do end", "0"]);
        await_busy(&mut other);
        let refusal = error(other.run("SCRIPT KILL"));
        assert!(refusal.starts_with("UNKILLABLE "), "{refusal}");
        assert_eq!(error(other.run("SHUTDOWN SAVE")), BUSY);
        other.send(&["SHUTDOWN", "NOSAVE"]);
        assert!(other.read_to_end().is_empty());
        // Who sees the end of a connection meets nobody who still accepts.
        let late = Client::try_connect(("127.0.0.1", server.port()));
        assert_eq!(late.err().map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
    });
}

/// Who goes away meanwhile, or waits for something, is served afterwards as ever.
#[test]
fn a_script_that_wrote_ends_with_a_server_whose_file_awaits_its_base() {
    check_on_workers(|server| {
        let (mut caller, mut other) = (server.client(), server.client());
        caller.run("EVAL 'for i = 1, 300000 do redis.call([[set]], i, i) end' 0");
        let requests: [&[&str]; 2] = [
            &["CONFIG", "SET", "appendonly", "yes"],
            &["EVAL", "redis.call('set', 'k', 'v') while true do end", "0"],
        ];
        caller.send_raw(&requests.map(encode).concat());
        await_busy(&mut other);
        other.send(&["SHUTDOWN", "NOSAVE"]);
        assert!(other.read_to_end().is_empty());
    });
}

#[test]
fn others_are_served_after_a_long_script() {
    check_on_workers(|server| {
        let mut other = server.client();
        let mut waiting = server.client();
        waiting.send(&["BLPOP", "list", "0"]);
        wait_for_info(&mut other, "blocked_clients", "1");
        let mut subscriber = server.client();
        subscriber.run("SUBSCRIBE news");
        let mut leaving = server.client();
        let mut caller = server.client();
        caller.send(&["EVAL", ENDLESS, "0"]);
        await_busy(&mut other);
        leaving.send(&["PING"]);
        drop(leaving);
        ok(other.run("SCRIPT KILL"));
        error(caller.read_value());
        assert_eq!(other.run("RPUSH list a"), Value::Integer(1));
        assert_eq!(waiting.read_value(), array(&["list", "a"]));
        assert_eq!(other.run("PUBLISH news x"), Value::Integer(1));
        assert_eq!(subscriber.read_value(), array(&["message", "news", "x"]));
    });
}

/// Both workers hear old clients and new ones while a script runs, which is then ended.
fn check_all_heard(server: &Server, caller: &mut Client, others: &mut [Client]) {
    let mut late: Vec<_> = (0..4).map(|_| server.client()).collect();
    others.iter_mut().chain(&mut late).for_each(await_busy);
    ok(late[0].run("SCRIPT KILL"));
    let end = error(caller.read_value());
    assert!(end.starts_with("ERR Script killed by user with SCRIPT KILL"), "{end}");
    others.iter_mut().chain(&mut late).for_each(|client| ok(client.run("SET k v")));
}

/// What was sent before others were attended to is heard before what was sent later.
#[test]
fn messages_of_a_long_script_keep_their_order() {
    let server = start("1");
    let (mut subscriber, mut caller) = (server.client(), server.client());
    subscriber.run("SUBSCRIBE c");
    let script = "local function spin() local e = os.clock() + 0.02 while os.clock() < e do end end
                  for i = 1, 5 do spin() redis.call('PUBLISH', 'c', i) end spin()";
    assert_eq!(caller.call(&["EVAL", script, "0"]), Value::Bulk(None));
    for number in 1..=5 {
        assert_eq!(subscriber.read_value(), array(&["message", "c", &number.to_string()]));
    }
}

/// A worker that waits for shards before a script is known to run for too long stops waiting then.
#[test]
fn nobody_waits_for_a_long_script() {
    let scripts = [ENDLESS, "#!lua flags=declared-keys\nwhile true do end"];
    for (script, line) in scripts.iter().flat_map(|script| {
        ["SAVE", "BGSAVE", "BGSAVE CANCEL", "SCAN 0 COUNT 100000", "GET k"].map(|line| (script, line))
    }) {
        let server = start_patient("2", "300");
        let mut caller = server.client();
        let mut others: Vec<_> = (0..4).map(|_| server.client()).collect();
        (0..100).for_each(|number| ok(caller.run(&format!("SET k{number} v"))));
        caller.send(&["EVAL", script, "1", "k1"]);
        others.iter_mut().for_each(|other| other.send(&line.split(' ').collect::<Vec<_>>()));
        others.iter_mut().for_each(|other| drop(other.read_value()));
        check_all_heard(&server, &mut caller, &mut others);
    }
}

#[test]
fn nobody_waits_with_a_long_reply_for_a_long_script() {
    let server = start_patient("2", "300");
    let mut caller = server.client();
    for first in (0..200_000).step_by(1000) {
        let members: Vec<String> =
            (first..first + 1000).map(|number| format!("member:{number:040}")).collect();
        caller.run(&format!("SADD set {}", members.join(" ")));
    }
    let mut others: Vec<_> = (0..3).map(|_| server.client()).collect();
    let mut readers: Vec<_> = (0..2).map(|_| server.client()).collect();
    readers.iter_mut().for_each(|reader| reader.send(&["SMEMBERS", "set"]));
    caller.send(&["EVAL", ENDLESS, "0"]);
    std::thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(|| match reader.read_value() {
                Value::Array(Some(members)) => assert_eq!(members.len(), 200_000),
                // The script was first.
                reply => assert_eq!(error(reply), BUSY),
            });
        }
        check_all_heard(&server, &mut caller, &mut others);
    });
}

#[test]
fn a_server_that_cannot_save_for_a_script_ends_without() {
    for workers in ["1", "2"] {
        let arguments = ["--save", "3600 1", "--io-threads", workers, "--busy-reply-threshold", "1"];
        let mut server = Server::start(env!("CARGO_BIN_EXE_onefold-server"), &arguments);
        let (mut caller, mut other) = (server.client(), server.client());
        caller.send(&["EVAL", "redis.call('set', 'k', 'v') while true do end", "0"]);
        await_busy(&mut other);
        signal(server.pid(), Signal::TERM);
        wait_for_log(&server, "Saving the final RDB snapshot");
        other.send(&["SHUTDOWN", "NOSAVE"]);
        assert!(other.read_to_end().is_empty());
        assert!(server.wait_for_end());
    }
}

/// The save that is to be ended waits for a script of which nobody knows yet that it is endless.
#[test]
fn an_end_without_a_save_does_not_wait_for_a_script() {
    let mut server = common::start(&[
        "--io-threads",
        "2",
        "--rdb-key-save-delay",
        "1000000",
        "--busy-reply-threshold",
        "1000000000",
        "--shutdown-on-sigterm",
        "nosave",
    ]);
    let mut caller = server.client();
    (0..300).for_each(|number| ok(caller.run(&format!("SET k{number} v"))));
    assert_eq!(caller.run("BGSAVE"), Value::Simple("Background saving started".into()));
    caller.send(&["EVAL", "redis.log(redis.LOG_WARNING, 'begun') while true do end", "0"]);
    wait_for_log(&server, "begun");
    signal(server.pid(), Signal::TERM);
    assert!(server.wait_for_end());
}

const LIBRARY: &str = "#!lua name=lib\n\
    redis.register_function('put', function(k, a) redis.call('set', k[1], a[1]) return redis.call('incr', 'n') end)\n\
    redis.register_function('endless', function() while true do end end)";

fn call(client: &mut Client, words: &[&str]) -> Value {
    client.call(words)
}

#[test]
fn an_endless_function_is_ended_by_its_own_command() {
    check_on_workers(|server| {
        let mut other = server.client();
        let mut caller = server.client();
        call(&mut caller, &["FUNCTION", "LOAD", LIBRARY]);
        caller.send(&["FCALL", "endless", "1", "key"]);
        let text = loop {
            match other.run("PING") {
                Value::Simple(_) => {}
                reply => break error(reply),
            }
        };
        let expected =
            "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
        assert_eq!(text, expected);
        assert_eq!(error(other.run("SCRIPT KILL")), expected);
        let stats = format!("{:?}", other.run("FUNCTION STATS"));
        assert!(stats.contains(&format!("{:?}", Value::Bulk(Some(b"endless".to_vec())))), "{stats}");
        ok(other.run("FUNCTION KILL"));
        let end = error(caller.read_value());
        assert!(end.starts_with("ERR Script killed by user with FUNCTION KILL"), "{end}");
    });
}

/// A function that is loaded between the plan of its call and the locks runs under locks that suffice.
#[test]
fn functions_come_and_go_while_they_are_called() {
    let server = start("2");
    let changes = [encode(&["FUNCTION", "LOAD", LIBRARY]), encode(&["FUNCTION", "DELETE", "lib"])].concat();
    let fcall = encode(&["FCALL", "put", "1", "k", "v"]);
    let calls = [fcall.repeat(50), encode(&["MULTI"]), fcall, encode(&["EXEC"])].concat();
    let mut loader = server.client();
    let mut callers: Vec<_> = (0..5).map(|_| server.client()).collect();
    for _ in 0..50 {
        loader.send_raw(&changes.repeat(20));
        callers.iter_mut().for_each(|caller| caller.send_raw(&calls));
        for caller in &mut callers {
            (0..53).for_each(|_| drop(caller.read_value()));
        }
        (0..40).for_each(|_| drop(loader.read_value()));
    }
    assert_eq!(loader.run("PING"), Value::Simple("PONG".into()));
}

/// A function that keeps to its keys is replaced by one that does not, between the plan of a call and the
/// locks: by itself and within a transaction.
#[test]
fn a_function_that_is_replaced_gets_its_locks() {
    let server = start_patient("2", "5000");
    let load = |flags: &str, key: &str| {
        let code = format!(
            "#!lua name=lib\nredis.register_function{{function_name='f', flags={{{flags}}}, \
             callback=function(k) return redis.call('incr', {key}) end}}"
        );
        encode(&["FUNCTION", "LOAD", "REPLACE", &code])
    };
    let changes = [load("'declared-keys'", "k[1]"), load("", "'other'")].concat();
    let fcall = encode(&["FCALL", "f", "1", "k"]);
    let calls = [fcall.repeat(4), encode(&["MULTI"]), fcall.repeat(2), encode(&["EXEC"])].concat();
    let (mut loader, mut callers) = (server.client(), [(); 5].map(|()| server.client()));
    loader.send_raw(&changes);
    (0..2).for_each(|_| drop(loader.read_value()));
    for _ in 0..100 {
        loader.send_raw(&changes.repeat(20));
        callers.iter_mut().for_each(|caller| caller.send_raw(&calls.repeat(10)));
        for caller in &mut callers {
            for _ in 0..10 {
                (0..4).for_each(|_| assert!(matches!(caller.read_value(), Value::Integer(_))));
                (0..3).for_each(|_| assert!(matches!(caller.read_value(), Value::Simple(_))));
                let replies = caller.read_value();
                assert!(
                    matches!(&replies, Value::Array(Some(replies))
                    if matches!(replies[..], [Value::Integer(_), Value::Integer(_)])),
                    "{replies:?}"
                );
            }
        }
        (0..40).for_each(|_| drop(loader.read_value()));
    }
}

/// A library that does not come to its end is refused, however it comes.
#[test]
fn libraries_that_load_for_ever_are_refused() {
    let server = start("2");
    let mut client = server.client();
    let code = "#!lua name=lib\nwhile true do end";
    let payload = rdb::dump_functions([code.as_bytes()].into_iter(), &rdb::WriteOptions { compress: false });
    for words in [[&b"LOAD"[..], code.as_bytes()], [&b"RESTORE"[..], &payload[..]]] {
        let refusal = error(client.call(&[b"FUNCTION".as_slice(), words[0], words[1]]));
        assert_eq!(refusal, "ERR Error registering functions: ERR FUNCTION LOAD timeout");
    }
    assert_eq!(client.run("GET k"), Value::Bulk(None));
}

/// What a script does, and the libraries, are there after a restart: from a dump, from the log, and after
/// the log was rewritten in either form.
#[test]
fn libraries_and_effects_survive() {
    let forms: [&[&str]; 4] = [
        &["--save", "3600 1000000"],
        &["--save", "", "--appendonly", "yes"],
        &["--save", "", "--appendonly", "yes", "--aof-use-rdb-preamble", "yes"],
        &["--save", "", "--appendonly", "yes", "--aof-use-rdb-preamble", "no"],
    ];
    for (form, arguments) in forms.into_iter().enumerate() {
        let mut server = Server::start(env!("CARGO_BIN_EXE_onefold-server"), arguments);
        let mut client = server.client();
        call(&mut client, &["FUNCTION", "LOAD", LIBRARY]);
        assert_eq!(call(&mut client, &["FCALL", "put", "1", "k", "a"]), Value::Integer(1));
        if form >= 2 {
            client.run("BGREWRITEAOF");
            wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
            assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "ok");
        }
        assert_eq!(call(&mut client, &["FCALL", "put", "1", "k", "b"]), Value::Integer(2));
        server.restart();
        let mut client = server.client();
        wait_for_info(&mut client, "loading", "0");
        assert_eq!(client.run("GET k"), Value::Bulk(Some(b"b".to_vec())), "{arguments:?}");
        assert_eq!(call(&mut client, &["FCALL", "put", "1", "k", "c"]), Value::Integer(3));
        assert_eq!(info(&mut client, "number_of_libraries"), "1");
    }
}

/// Nothing of what waits for the end of a script can give way: one whose effects would take ever more memory
/// ends, and what it did until then is in the log, all of it.
#[test]
fn effects_are_bounded_and_whole() {
    const LIMIT: u64 = 32 << 20;
    let limit = LIMIT.to_string();
    let arguments = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--maxmemory", &limit];
    let mut server = Server::start(env!("CARGO_BIN_EXE_onefold-server"), &arguments);
    let mut client = server.client();
    let source = "local v = string.rep('v', 1e6) for i = 1, 1e4 do redis.call('set', 'k', v .. i) end";
    let refusal = error(client.call(&["EVAL", source, "0"]));
    assert!(refusal.starts_with("OOM command not allowed"), "{refusal}");
    let peak: u64 = info(&mut client, "used_memory_peak").parse().expect("a number");
    assert!(peak < 2 * LIMIT, "{peak} bytes");
    let (source, last) = ("for i = 1, ARGV[1] do redis.call('incr', 'n') end", client.run("GET k"));
    assert_eq!(client.call(&["EVAL", source, "0", "20000"]), Value::Bulk(None));
    server.kill_hard();
    server.start_again();
    let mut client = server.client();
    wait_for_info(&mut client, "loading", "0");
    assert_eq!(client.run("GET k"), last);
    assert_eq!(client.run("GET n"), Value::Bulk(Some(b"20000".to_vec())));
}

fn shown(lines: &[&str]) -> Value {
    Value::Array(Some(lines.iter().map(|line| Value::Simple(line.as_bytes().to_vec())).collect()))
}

/// A client whose script has stopped at its first line, which is all of it.
fn debug(server: &Server, source: &str) -> Client {
    let mut client = server.client();
    ok(client.run("SCRIPT DEBUG SYNC"));
    let line = format!("-> 1   {source}");
    let stopped = shown(&["* Stopped at 1, stop reason = step over", &line]);
    assert_eq!(client.call(&["EVAL", source, "1", "k"]), stopped);
    client
}

#[test]
fn a_script_is_debugged_over_its_connection() {
    check_on_workers(|server| {
        let mut other = server.client();
        let mut client = debug(server, "return redis.call('incr', KEYS[1])");
        await_busy(&mut other);
        assert_eq!(client.run("print KEYS"), shown(&["<value> {\"k\"}"]));
        assert_eq!(client.run("redis incr k"), shown(&["<redis> incr k", "<reply> 1"]));
        assert_eq!(client.run("continue"), shown(&["<endsession>"]));
        assert_eq!(client.read_value(), Value::from(2));
        assert!(client.read_to_end().is_empty());
        assert_eq!(other.run("GET k"), Value::Bulk(Some(b"2".to_vec())));

        let mut client = debug(server, ENDLESS);
        await_busy(&mut other);
        ok(other.run("SCRIPT KILL"));
        assert_eq!(client.read_value(), shown(&["<endsession>"]));
        let end = error(client.read_value());
        assert!(end.starts_with("ERR Script killed by user"), "{end}");

        // Who leaves lets the script run to its end.
        drop(debug(server, "return redis.call('set', KEYS[1], 'left')"));
        while other.run("GET k") != Value::Bulk(Some(b"left".to_vec())) {}
    });
}
