//! What is larger than memory, or nearly: a value of half of `maxmemory` that is refused because it counts
//! twice, readers of large replies that push the whole keyspace out, arguments that are announced and never
//! come, and a dump that holds more than `maxmemory` allows.

use std::path::Path;
use std::process::Command;

use testkit::{Client, Server, Value, onefold};

use super::{error, number, ok};

const MEMORY: usize = 64 << 20;

fn start(arguments: &[&str]) -> Server {
    let memory = MEMORY.to_string();
    Server::start(onefold(), &[&["--save", "", "--maxmemory", &memory], arguments].concat())
}

/// So many megabytes of keys of 1,000 bytes, which expire some time.
fn fill(client: &mut Client, megabytes: usize) {
    let value = "v".repeat(1000);
    for key in (0..megabytes * 1000).step_by(100) {
        let set = |key: usize| {
            let words = ["SET", &format!("key:{key}"), &value, "EX", "10000"];
            words.map(str::to_string).to_vec()
        };
        let requests: Vec<Vec<String>> = (key..key + 100).map(set).collect();
        client.pipeline(&requests).into_iter().for_each(ok);
    }
}

fn length_of(value: &Value) -> usize {
    match value {
        Value::Bulk(Some(bytes)) => bytes.len(),
        other => panic!("{other:?} is no string"),
    }
}

#[test]
fn a_value_of_nearly_half_of_memory_comes_and_goes() {
    let _turn = super::turn();
    for policy in ["noeviction", "volatile-lru"] {
        let server = start(&["--maxmemory-policy", policy]);
        let (mut client, value) = (server.client(), "b".repeat(MEMORY / 100 * 45));
        if policy != "noeviction" {
            fill(&mut client, 80);
        }
        for _ in 0..3 {
            ok(client.call(&["SET", "big", &value]));
            assert_eq!(client.run("STRLEN big"), Value::from(value.len() as i64), "{policy}");
            assert_eq!(length_of(&client.run("GET big")), value.len(), "{policy}");
            assert_eq!(length_of(&client.run("GETRANGE big 1 -2")), value.len() - 2, "{policy}");
            client.run("DEL big");
        }
        assert_eq!(number(&mut client, "evicted_clients"), 0, "{policy}");
        // What has to go for it leaves holes, until defragmentation has closed them.
        let peak = server.status_bytes("VmHWM");
        assert!(peak < MEMORY as u64 * 3 / 2 + (20 << 20), "{policy}: {peak} bytes");
    }
}

#[test]
fn readers_of_large_replies_evict_nothing() {
    let _turn = super::turn();
    let server = start(&["--maxmemory-policy", "allkeys-lru"]);
    let mut client = server.client();
    fill(&mut client, 20);
    for key in ["a", "b"] {
        ok(client.call(&["SET", key, &"l".repeat(10_000_000)]));
    }
    let slow: Vec<Client> = (0..100)
        .map(|_| {
            let mut slow = server.client();
            slow.send(&["MGET", "a", "b", "a", "b", "a", "b"]);
            slow
        })
        .collect();
    for _ in 0..100 {
        client.run("PING");
    }
    assert_eq!(number(&mut client, "evicted_keys"), 0);
    assert_eq!(length_of(&client.run("GET key:0")), 1000);
    drop(slow);
}

/// Memory follows the bytes that come, not those that are announced.
#[test]
fn arguments_that_never_come_take_nothing() {
    let _turn = super::turn();
    let server = start(&["--maxmemory-policy", "allkeys-lru"]);
    let mut client = server.client();
    fill(&mut client, 20);
    let announced: Vec<Client> = (0..200)
        .map(|_| {
            let mut half = server.client();
            half.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n");
            half.send_raw(&[b'x'; 40_000]);
            half
        })
        .collect();
    for _ in 0..100 {
        client.run("PING");
    }
    assert_eq!(number(&mut client, "evicted_keys"), 0);
    let used = number(&mut client, "used_memory");
    assert!(used < MEMORY as u64, "{used} bytes for what did not come");
    for request in ["SETRANGE far 536870000 x", "SETBIT far 4294967295 1", "BITFIELD far SET u8 4294967000 1"]
    {
        assert!(error(client.run(request)).starts_with("OOM "), "{request}");
    }
    let peak = server.status_bytes("VmHWM");
    assert!(peak < MEMORY as u64 * 5 / 4, "{peak} bytes");
    drop(announced);
}

/// Saves 40 MB, to be loaded by a server that may have 16.
fn large_dump() -> Server {
    let mut server = start(&[]);
    let mut client = server.client();
    fill(&mut client, 40);
    ok(client.run("SAVE"));
    server.stop();
    server
}

#[test]
fn a_dump_larger_than_memory_is_cut_down_or_refused() {
    let _turn = super::turn();
    let saved = large_dump();
    let folder = saved.dir().to_str().expect("it is text").to_string();
    let small = ["--dir", &folder, "--save", "", "--maxmemory", "16mb", "--maxmemory-policy"];
    let server = Server::start(onefold(), &[&small[..], &["allkeys-lru"]].concat());
    let mut client = server.client();
    super::wait_for(&mut client, "loading", "0");
    let kept = client.run("DBSIZE").as_i64().expect("a number");
    assert!((1000..20_000).contains(&kept), "{kept} of 40,000 keys of 1,000 bytes in 16 MB");
    assert!(server.log().contains("Keys evicted while loading, to stay within maxmemory: "));
    let peak = server.status_bytes("VmHWM");
    assert!(peak < (16 << 20) * 5 / 4 + (24 << 20), "{peak} bytes");
    drop((client, server));
    let text =
        refusal(&folder, &[&small[2..], &["allkeys-lru", "--load-beyond-maxmemory", "refuse"]].concat());
    assert!(text.contains(TOO_MUCH), "{text}");
    // What no key may give way to is loaded all the same: a full server starts again from what it has saved.
    for beyond in ["load", "evict"] {
        let all = Server::start(
            onefold(),
            &[&small[..], &["noeviction", "--load-beyond-maxmemory", beyond]].concat(),
        );
        let mut client = all.client();
        super::wait_for(&mut client, "loading", "0");
        assert_eq!(client.run("DBSIZE"), Value::from(40_000));
        assert!(all.log().contains(TOO_MUCH));
    }
}

const TOO_MUCH: &str = "The data takes more memory than maxmemory allows (16777216 bytes)";

/// What a server says that does not start.
fn refusal(folder: &str, arguments: &[&str]) -> String {
    let output = Command::new(onefold())
        .current_dir(Path::new(folder))
        .args(["--port", "0", "--unixsocket", "refused.sock"])
        .args(arguments)
        .output()
        .expect("the program is there");
    assert_eq!(output.status.code(), Some(1), "it ends in order");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
