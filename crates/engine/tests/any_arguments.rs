//! No arguments make a command panic, wait for itself or answer more or less than one reply: every row, with
//! words of its own syntax and awkward numbers, alone and in transactions.

use base::random::Rng;
use engine::blocking::end_wait;
use engine::command::flag;
use engine::config::DebugAccess;
use engine::pipeline::Outcome;
use engine::registry::{REGISTRY, Registered};
use engine::session::ReplyMode;
use engine::testing::TestEngine;
use resp::decode::{DecodeLimits, decode};
use resp::reply::Protocol;

/// Numbers at the edges, names of keys of each kind, words that many commands know.
const WORDS: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "2",
    "3",
    "8",
    "63",
    "64",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "18446744073709551615",
    "1e400",
    "nan",
    "-inf",
    "1.5",
    "0x10",
    " 1",
    "*",
    "[",
    "\\",
    "text",
    "number",
    "hash",
    "list",
    "ints",
    "table",
    "timed",
    "none",
    "f",
    "u8",
    "i64",
    "u64",
    "#1",
    "#9223372036854775807",
    "fields",
    "get",
    "set",
    "incrby",
    "db",
    "match",
    "count",
    "\u{0}",
    "\u{ff}",
];

/// What blocks the test's own thread or ends the process by design.
const LEFT_OUT: &[&str] = &["debug", "shutdown"];

const SETUP: &[&str] = &[
    "SELECT 0",
    "SET text abc",
    "SET number 12",
    "SET 1 1 PX 5000",
    "HSET hash f v 1 2",
    "HSET timed f v 1 2",
    "HPEXPIRE timed 5000 FIELDS 1 f",
    "SET none x PX 1",
    "RPUSH list a b 3",
    "SADD set a b c",
    "SADD ints 1 2 3",
];

fn words_of(row: &Registered) -> Vec<String> {
    let separators = |letter: char| " []|<>.".contains(letter);
    let mut words: Vec<String> = WORDS.iter().map(|word| word.to_string()).collect();
    let own = row.row.syntax.split(separators).filter(|word| word.chars().any(|c| c.is_ascii_uppercase()));
    // Twice, as they are what brings a command past its parser.
    for word in own {
        words.extend([word.to_string(), word.to_string()]);
    }
    words
}

fn request(row: &Registered, words: &[String], rng: &mut Rng) -> Vec<String> {
    let mut request: Vec<String> = row.full_name.split('|').map(str::to_string).collect();
    let least = row.row.arity.unsigned_abs() as usize;
    let more = if row.row.arity < 0 { rng.below(7) as usize } else { 0 };
    while request.len() < least + more {
        request.push(words[rng.below(words.len() as u64) as usize].clone());
    }
    request
}

/// Runs a request and checks that it has as many replies as it should: none of a client that wants none.
fn run(test: &mut TestEngine, request: &[String]) {
    let silent = test.sessions[0].reply_mode != ReplyMode::On;
    let mut bytes = test.run_raw(0, request);
    if test.outcome == Outcome::Blocked {
        bytes.extend(time_out(test));
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let decoded = decode(rest, &DecodeLimits::default());
        let Ok(Some((_, len))) = decoded else {
            panic!("{request:?} -> {}", String::from_utf8_lossy(&bytes))
        };
        rest = &rest[len..];
    }
    let held = test.outcome == Outcome::Paused;
    assert!(silent || held || !bytes.is_empty() || is_silent(request), "no reply to {request:?}");
}

/// The reply to a request that waits, as if its time were over.
fn time_out(test: &mut TestEngine) -> Vec<u8> {
    let ticket = end_wait(&mut test.sessions[0]).expect("a blocked session holds its ticket");
    test.engine.time_out(&test.seat.worker.stats, &ticket).expect("nobody else has answered")
}

fn is_silent(request: &[String]) -> bool {
    let name = request[0].as_str();
    ["monitor", "client", "exec", "replconf"].contains(&name) || name.ends_with("subscribe")
}

fn set_up(protocol: Protocol) -> TestEngine {
    let mut test = TestEngine::with_config(|config| {
        config.enable_debug_command = DebugAccess::Yes;
        config.proto_max_bulk_len = 1 << 20;
    });
    test.collect_effects();
    test.collect_events("mn");
    SETUP.iter().for_each(|line| drop(test.run(line)));
    (0..200).for_each(|number| drop(test.run(&format!("HSET table {number} v"))));
    test.advance_ms(2);
    test.set_protocol(0, protocol);
    test
}

#[test]
fn no_arguments_make_a_command_panic() {
    let rows = REGISTRY.all.iter().filter(|row| row.children.is_empty());
    for (seed, row) in rows.enumerate().filter(|(_, row)| !LEFT_OUT.contains(&row.row.name)) {
        let mut rng = Rng::from_seed(seed as u64);
        let words = words_of(row);
        for round in 0..8 {
            let mut test = set_up(if round % 2 == 0 { Protocol::Resp2 } else { Protocol::Resp3 });
            for _ in 0..60 {
                run(&mut test, &request(row, &words, &mut rng));
            }
            test.check_invariants();
        }
    }
}

#[test]
fn no_mixture_makes_a_transaction_panic() {
    let queued = |row: &&Registered| {
        row.children.is_empty() && !row.row.has(flag::NO_MULTI) && !LEFT_OUT.contains(&row.row.name)
    };
    let rows: Vec<&Registered> = REGISTRY.all.iter().filter(queued).collect();
    for seed in 0..60 {
        let mut rng = Rng::from_seed(seed);
        let mut test = set_up(Protocol::Resp3);
        for _ in 0..20 {
            test.run_raw(0, &["WATCH", "text", "none"]);
            test.run_raw(0, &["MULTI"]);
            for _ in 0..8 {
                let row = rows[rng.below(rows.len() as u64) as usize];
                run(&mut test, &request(row, &words_of(row), &mut rng));
            }
            run(&mut test, &["exec".to_string()]);
            test.run_raw(0, &["CLIENT", "UNPAUSE"]);
            test.run_raw(0, &["CLIENT", "REPLY", "ON"]);
        }
        test.check_invariants();
    }
}
