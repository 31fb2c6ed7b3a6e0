//! Folders of Redis here, and ours there.

use std::collections::BTreeMap;

use resp::Value;
use testkit::client::ok;
use testkit::{Client, Server};

use crate::common::wait_for_info;
use crate::{connected, fill, fill_more, rewrite, start};

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
