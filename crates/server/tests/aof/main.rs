//! The append-only file of real processes: what was answered is there after any end, files go to Redis and
//! come from it, and what is cut off or damaged is told apart.

#[path = "../common/mod.rs"]
mod common;
mod exchange;
mod loading;
mod rewriting;
mod writing;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{info, wait_for_info};
use resp::Value;
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

fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "it does not come to pass");
    }
}

fn rewrite(client: &mut Client) {
    let started = Value::Simple(b"Background append only file rewriting started".to_vec());
    assert_eq!(client.run("BGREWRITEAOF"), started);
    wait_for_info(client, "aof_rewrite_in_progress", "0");
    assert_eq!(info(client, "aof_last_bgrewrite_status"), "ok");
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
