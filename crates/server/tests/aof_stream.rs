//! A long stream of random requests of every family, by real processes: what the append-only file brings back
//! is what was in memory, times to live and the groups of streams included, with rewrites on the way, and
//! whatever process wrote it.

mod common;
#[path = "../../engine/tests/differential/requests.rs"]
mod requests;

use std::collections::BTreeMap;

use base::random::Rng;
use common::{start, wait_for_info};
use requests::{FAMILIES, WAITING, draw, keys};
use resp::Value;
use testkit::{Client, Server};

const ROUNDS: u64 = 4;
const REQUESTS: usize = 6_000;
const BATCH: usize = 50;
/// A key that expires sooner may be gone when it is looked at again.
const SOON_MS: i64 = 3_600_000;

fn request(rng: &mut Rng, in_transaction: bool) -> Vec<String> {
    let (_, family) = FAMILIES[rng.below(FAMILIES.len() as u64) as usize];
    // What would wait does not in a transaction.
    let family = if in_transaction && rng.below(8) == 0 { WAITING } else { family };
    let template = family[rng.below(family.len() as u64) as usize];
    let mut words = Vec::new();
    template.split(' ').for_each(|word| draw(rng, word, &mut words));
    words
}

/// Requests in several databases, some of them in transactions, and a rewrite among them.
fn stream(client: &mut Client, rng: &mut Rng) {
    for done in 0..REQUESTS / BATCH {
        let mut batch = vec![vec!["SELECT".to_owned(), rng.below(3).to_string()]];
        let transaction = rng.below(3) == 0;
        batch.extend(transaction.then(|| vec!["MULTI".to_owned()]));
        batch.extend((0..BATCH).map(|_| request(rng, transaction)));
        batch.extend(transaction.then(|| vec!["EXEC".to_owned()]));
        batch.extend((done == REQUESTS / BATCH / 2).then(|| vec!["BGREWRITEAOF".to_owned()]));
        client.pipeline(&batch);
    }
    wait_for_info(client, "aof_rewrite_in_progress", "0");
}

/// What each key holds that does not expire soon, streams with all their groups.
fn contents(client: &mut Client) -> BTreeMap<String, String> {
    let now = match client.run("TIME") {
        Value::Array(Some(parts)) => match &parts[0] {
            Value::Bulk(Some(second)) => String::from_utf8_lossy(second).parse::<i64>().expect("seconds"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let mut contents = BTreeMap::new();
    for db in 0..3 {
        client.run(&format!("SELECT {db}"));
        for key in keys() {
            let time = client.call(&["PEXPIRETIME", &key]);
            if matches!(time, Value::Integer(time) if time >= 0 && time < now * 1000 + SOON_MS) {
                continue;
            }
            let kind = client.call(&["TYPE", &key]);
            if matches!(&kind, Value::Simple(kind) if kind == b"none") {
                continue;
            }
            let value = client.call(&["DEBUG", "DIGEST-VALUE", &key]);
            let is_stream = matches!(&kind, Value::Simple(kind) if kind == b"stream");
            let more = is_stream.then(|| client.call(&["XINFO", "STREAM", &key, "FULL", "COUNT", "0"]));
            let parts = [Some(kind), Some(time), Some(value), more].into_iter().flatten();
            contents.insert(format!("{db} {key}"), parts.map(|part| shown(&part) + " ").collect());
        }
    }
    contents
}

/// What the log does not hold: when a consumer was last seen, and how nodes are laid out.
const UNTOLD: [&[u8]; 4] = [b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes"];

fn shown(value: &Value) -> String {
    match value {
        Value::Array(Some(items)) => {
            let (mut texts, mut items) = (Vec::new(), items.iter());
            while let Some(item) = items.next() {
                match item {
                    Value::Bulk(Some(name)) if UNTOLD.contains(&&name[..]) => drop(items.next()),
                    item => texts.push(shown(item)),
                }
            }
            format!("[{}]", texts.join(" "))
        }
        Value::Simple(text) | Value::Bulk(Some(text)) => String::from_utf8_lossy(text).into_owned(),
        Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn connected(server: &Server) -> Client {
    let mut client = server.client();
    wait_for_info(&mut client, "loading", "0");
    client
}

fn check_same(after: &BTreeMap<String, String>, before: &BTreeMap<String, String>, what: &str) {
    for (key, value) in before {
        assert_eq!(after.get(key), Some(value), "{what}: database and key {key}");
    }
    let more: Vec<_> = after.keys().filter(|key| !before.contains_key(*key)).collect();
    assert!(more.is_empty(), "{what}: {more:?} should not be there");
}

#[test]
fn what_is_loaded_again_is_what_was_in_memory() {
    check_again("yes");
}

#[test]
fn what_is_loaded_again_from_commands_is_what_was_in_memory() {
    check_again("no");
}

fn check_again(preamble: &str) {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", preamble];
    let mut server = start(&arguments);
    for seed in 0..ROUNDS {
        let mut client = connected(&server);
        stream(&mut client, &mut Rng::from_seed(seed));
        let before = contents(&mut client);
        assert!(before.len() > 30, "few keys are left");
        server.kill_hard();
        server.start_again();
        check_same(&contents(&mut connected(&server)), &before, &format!("seed {seed}"));
    }
}

/// The sets' and hashes' order differs, so digests are compared, which do not depend on that.
#[test]
fn redis_loads_what_random_requests_leave_and_the_other_way_round() {
    let Some(redis) = testkit::redis() else { return println!("SKIPPED: redis-server is not installed") };
    for seed in 0..ROUNDS / 2 {
        let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
        let mut ours = start(&arguments);
        let mut client = ours.client();
        stream(&mut client, &mut Rng::from_seed(seed));
        let before = contents(&mut client);
        ours.kill_hard();
        let common = ["--save", "", "--enable-debug-command", "yes", "--dir"];
        let dir = ours.dir().to_str().expect("a name of text").to_owned();
        let mut theirs = Server::start(&redis, &[&common[..], &[&dir], &arguments].concat());
        let mut client = connected(&theirs);
        check_same(&contents(&mut client), &before, &format!("ours in Redis, seed {seed}"));
        stream(&mut client, &mut Rng::from_seed(seed + 100));
        theirs.kill_hard();
        // Redis 7.0 does not log a consumer that XREADGROUP makes where it finds nothing to read: its file
        // counts, not its memory.
        theirs.start_again();
        let before = contents(&mut connected(&theirs));
        theirs.kill_hard();
        ours.start_again();
        check_same(&contents(&mut connected(&ours)), &before, &format!("Redis' here, seed {seed}"));
    }
}
