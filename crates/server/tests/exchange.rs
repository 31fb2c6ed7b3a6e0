//! Dumps between this server and Redis, both ways: what one saves the other loads, key by key the same.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{start, wait_for_info};
use resp::Value;
use testkit::client::ok;
use testkit::{Client, Server};

/// Type, expiry and content of every key, by database and name.
type State = BTreeMap<(usize, Vec<u8>), (Value, Value, Value)>;

fn state(client: &mut Client) -> State {
    let mut state = State::new();
    for db in 0..3 {
        ok(client.call(&["SELECT", &db.to_string()]));
        let Value::Array(Some(keys)) = client.call(&["KEYS", "*"]) else { panic!("KEYS answers an array") };
        for key in keys {
            let Value::Bulk(Some(key)) = key else { panic!("keys are strings") };
            let kind = client.call(&[b"TYPE".as_slice(), &key]);
            let content = match kind {
                Value::Simple(ref name) if name == b"hash" => {
                    sorted(client.call(&[b"HGETALL".as_slice(), &key]))
                }
                _ => client.call(&[b"GET".as_slice(), &key]),
            };
            let expiry = client.call(&[b"PEXPIRETIME".as_slice(), &key]);
            state.insert((db, key), (kind, expiry, content));
        }
    }
    state
}

/// Fields in the order of their names.
fn sorted(value: Value) -> Value {
    let Value::Array(Some(parts)) = value else { panic!("HGETALL answers an array") };
    let mut pairs: Vec<_> = parts.chunks(2).map(|pair| format!("{pair:?}").into_bytes()).collect();
    pairs.sort();
    Value::Array(Some(pairs.into_iter().map(|pair| Value::Bulk(Some(pair))).collect()))
}

fn fill(client: &mut Client) {
    let long = "x".repeat(20_000);
    let random: String = (0..30_000u32).map(|at| char::from(b'a' + (at * at % 23) as u8)).collect();
    for db in ["0", "2"] {
        ok(client.call(&["SELECT", db]));
        for (key, value) in
            [("int", "123"), ("negative", "-7"), ("short", "v"), ("long", &long), ("random", &random)]
        {
            ok(client.call(&["SET", key, value]));
        }
        ok(client.call(&["SET", "empty", ""]));
        ok(client.call(&["SET", "later", "1", "PXAT", "99999999999999"]));
        for field in 0..1000 {
            let (name, value) = (format!("field:{field}"), format!("value:{}", field * 7));
            client.call(&["HSET", "large", &name, &value]);
            if field < 10 {
                client.call(&["HSET", "small", &name, &value]);
            }
        }
        for key in 0..500 {
            ok(client.call(&["SET", &format!("key:{key}"), &key.to_string()]));
        }
    }
}

/// Copies the dump of a stopped server to another's directory.
fn hand_over(from: &Server, to: &Server) {
    fs::copy(from.dir().join("dump.rdb"), to.dir().join("dump.rdb")).expect("both directories are there");
}

#[test]
fn redis_loads_our_dump_and_we_load_its() {
    let Some(redis) = testkit::redis() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let ours = start(&["--save", "1000 1"]);
    fill(&mut ours.client());
    let expected = state(&mut ours.client());
    ok(ours.client().run("SAVE"));

    let mut theirs = Server::start(redis, &["--save", ""]);
    theirs.kill_hard();
    hand_over(&ours, &theirs);
    theirs.start_again();
    let mut client = theirs.client();
    wait_for_info(&mut client, "loading", "0");
    assert_eq!(state(&mut client), expected);
    ok(client.run("SAVE"));

    let mut again = start(&[]);
    again.kill_hard();
    hand_over(&theirs, &again);
    again.start_again();
    let mut client = again.client();
    wait_for_info(&mut client, "loading", "0");
    assert_eq!(state(&mut client), expected);
}
