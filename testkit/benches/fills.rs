//! Resident bytes for each key, member and field, averaged over fills of the tables from 2 to 4 million, and
//! the most that was resident on the way from one fill to the next over what stays. One fill alone says
//! little: a table takes most for each item when its segments have just been split. The program's text is
//! left out: how much of it is resident depends on what was last called.
//!
//! `cargo bench -p testkit --bench fills [SERVER [ITEMS [NAME]]]`, ITEMS being the largest fill.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use testkit::client::Client;
use testkit::server::{Server, onefold};

/// What is filled: how it is called, the bytes that each should take at most, the request for the item of
/// this number.
struct Kind {
    name: &'static str,
    goal: f64,
    request: fn(u64) -> Vec<String>,
}

const KINDS: &[Kind] = &[
    Kind { name: "string, key 16 value 8", goal: 43.0, request: |item| set(item, 8, &[]) },
    Kind { name: "string, key 16 value 32", goal: 67.0, request: |item| set(item, 32, &[]) },
    Kind {
        name: "string, key 16 value 100, TTL",
        goal: 142.0,
        request: |item| set(item, 100, &["EX", "100000"]),
    },
    Kind { name: "set, member 12", goal: 27.0, request: |item| words(&["SADD", "set", &member(item)]) },
    Kind {
        name: "hash, field 12 value 16",
        goal: 43.0,
        request: |item| words(&["HSET", "hash", &member(item), &value(item, 16)]),
    },
    Kind {
        name: "sorted set, member 12",
        goal: 46.0,
        request: |item| words(&["ZADD", "zset", &(item * 7919 % 4_000_037).to_string(), &member(item)]),
    },
    Kind {
        name: "list, element 16",
        goal: 19.0,
        request: |item| words(&["RPUSH", "list", &value(item, 16)]),
    },
    Kind {
        name: "stream, field 1 value 16",
        goal: 30.0,
        request: |item| words(&["XADD", "stream", "*", "f", &value(item, 16)]),
    },
];

const ITEMS: u64 = 4_000_000;
/// Fills from half of the largest to all of it.
const FILLS: u64 = 9;
const PIPELINE: u64 = 500;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let program = arguments.next().map_or_else(onefold, Into::into);
    let items = arguments.next().map_or(ITEMS, |text| text.parse().expect("ITEMS is a number"));
    let chosen = arguments.next().unwrap_or_default();
    println!("{items} items at most; bytes resident for each: mean, least, most, goal; peak over what stays");
    for kind in KINDS.iter().filter(|kind| kind.name.starts_with(&chosen)) {
        let server = Server::start(&program, &["--save", ""]);
        measure(&server, kind, items);
    }
}

fn measure(server: &Server, kind: &Kind, items: u64) {
    let mut client = server.client();
    // What the first request brings into memory is not the items'.
    client.run("PING");
    sleep(SETTLING);
    let before = resident(server);
    let (mut filled, mut each, mut peak) = (0, Vec::new(), 0.0_f64);
    for fill in 0..FILLS {
        let next = items / 2 + items / 2 * fill / (FILLS - 1);
        let most = most_resident(server, || insert(&mut client, kind, filled..next));
        sleep(SETTLING);
        let stays = resident(server) - before;
        peak = peak.max((most - before) / stays);
        each.push(stays / next as f64);
        filled = next;
    }
    let mean = each.iter().sum::<f64>() / each.len() as f64;
    let (least, most) =
        each.iter().fold((f64::MAX, 0.0_f64), |(low, high), &one| (low.min(one), high.max(one)));
    println!("{:30} {mean:6.1} {least:6.1} {most:6.1} {:6.0}   {peak:.3}", kind.name, kind.goal);
}

fn insert(client: &mut Client, kind: &Kind, items: Range<u64>) {
    for first in items.clone().step_by(PIPELINE as usize) {
        let requests: Vec<_> = (first..items.end.min(first + PIPELINE)).map(kind.request).collect();
        client.pipeline(&requests);
    }
}

/// The most that is resident while something is done.
fn most_resident(server: &Server, act: impl FnOnce()) -> f64 {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0.0_f64;
            while !over.load(Ordering::Relaxed) {
                most = most.max(resident(server));
                sleep(LOOK_EVERY);
            }
            most.max(resident(server))
        });
        act();
        over.store(true, Ordering::Relaxed);
        watch.join().expect("it only looks")
    })
}

fn resident(server: &Server) -> f64 {
    server.status_bytes("RssAnon") as f64
}

fn set(item: u64, len: usize, more: &[&str]) -> Vec<String> {
    words(&[&["SET", &format!("key:{item:012}"), &value(item, len)], more].concat())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn member(item: u64) -> String {
    format!("f{item:011}")
}

/// No number, and no two alike.
fn value(item: u64, len: usize) -> String {
    let text = format!("v{:x}", item.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    text.chars().cycle().take(len).collect()
}

const LOOK_EVERY: Duration = Duration::from_millis(1);
/// What was outgrown has gone back to the system by then.
const SETTLING: Duration = Duration::from_secs(2);
