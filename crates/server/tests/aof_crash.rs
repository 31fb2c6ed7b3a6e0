//! Processes that are killed while clients write and the append-only file is rewritten: what was answered is
//! there again, a transaction whole or not at all, and the file always loads. `ONEFOLD_CRASHES` sets how
//! often.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base::random::Rng;
use common::wait_for_info;
use resp::Value;
use testkit::{Client, Server};

const CLIENTS: usize = 4;
const CRASHES: usize = 50;
/// Transactions answered before a crash.
const CRASH_AFTER_MOST: u64 = 400;
/// What may be lost with `everysec`.
const LOSS: Duration = Duration::from_secs(1);

/// One client: each step is a transaction on keys of its own. Returns when each was answered.
fn write(mut client: Client, number: usize, first: i64, told: &Sender<()>) -> Vec<Instant> {
    let mut answered = Vec::new();
    for step in first.. {
        let (counter, list) = (format!("counter:{number}"), format!("list:{number}"));
        let step = step.to_string();
        let requests: [&[&str]; 5] = [
            &["MULTI"],
            &["INCR", &counter],
            &["RPUSH", &list, &step],
            &["LTRIM", &list, "-100", "-1"],
            &["EXEC"],
        ];
        for request in requests {
            match client.try_call(request) {
                Ok(Value::Error(text)) => panic!("{}", String::from_utf8_lossy(&text)),
                Ok(_) => {}
                Err(_) => return answered,
            }
        }
        answered.push(Instant::now());
        told.send(()).ok();
    }
    answered
}

/// Rewrites again and again, until the server is gone.
fn rewrite(mut client: Client, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) && client.try_call(&["BGREWRITEAOF"]).is_ok() {
        thread::yield_now();
    }
}

fn integer(client: &mut Client, line: &str) -> i64 {
    match client.run(line) {
        Value::Integer(number) => number,
        Value::Bulk(Some(text)) => String::from_utf8_lossy(&text).parse().expect("a number"),
        Value::Bulk(None) => 0,
        other => panic!("{line}: {other:?}"),
    }
}

/// Counters of all clients; each agrees with its list.
fn counters(server: &Server) -> Vec<i64> {
    let mut client = server.client();
    wait_for_info(&mut client, "loading", "0");
    let counter = |number| {
        let value = integer(&mut client, &format!("GET counter:{number}"));
        let last = integer(&mut client, &format!("LINDEX list:{number} -1"));
        assert_eq!(last, value, "a transaction was torn");
        value
    };
    (0..CLIENTS).map(counter).collect()
}

/// Kills the server when so many transactions were answered; `loss`: what was answered so short before may be
/// lost.
fn crash(server: &mut Server, after: u64, loss: Duration) {
    let before = counters(server);
    let (told, answers) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let (client, stopped) = (server.client(), Arc::clone(&stop));
    let rewriter = thread::spawn(move || rewrite(client, &stopped));
    let writers: Vec<JoinHandle<_>> = (0..CLIENTS)
        .map(|number| {
            let (client, first) = (server.client(), before[number] + 1);
            let told = told.clone();
            thread::spawn(move || write(client, number, first, &told))
        })
        .collect();
    (0..after).for_each(|_| answers.recv().expect("the clients go on"));
    let killed = Instant::now();
    server.kill_hard();
    stop.store(true, Ordering::Relaxed);
    rewriter.join().expect("no panic");
    let answered: Vec<_> = writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
    server.start_again();
    for (number, value) in counters(server).into_iter().enumerate() {
        let all = before[number] + answered[number].len() as i64;
        let safe = answered[number].iter().filter(|time| loss.is_zero() || **time + loss < killed).count();
        let least = before[number] + safe as i64;
        assert!(value >= least, "client {number}: {value} is there of {least} that had to be");
        assert!(value <= all + 1, "client {number}: {value} is there of {all} that were answered");
    }
}

fn check(policy: &str, loss: Duration) {
    let crashes = std::env::var("ONEFOLD_CRASHES").ok().and_then(|text| text.parse().ok());
    let arguments = ["--save", "", "--appendonly", "yes", "--appendfsync", policy];
    let mut server = Server::start(env!("CARGO_BIN_EXE_onefold-server"), &arguments);
    let seed = u64::from(server.pid());
    println!("seed {seed}");
    let mut rng = Rng::from_seed(seed);
    for _ in 0..crashes.unwrap_or(CRASHES) / 2 {
        crash(&mut server, rng.below(CRASH_AFTER_MOST), loss);
    }
}

#[test]
fn with_always_nothing_that_was_answered_is_lost() {
    check("always", Duration::ZERO);
}

#[test]
fn with_everysec_nothing_older_than_a_second_is_lost() {
    check("everysec", LOSS);
}
