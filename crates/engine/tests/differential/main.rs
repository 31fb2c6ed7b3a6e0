//! Random requests of every family, answered by an engine and by the Redis that is installed: every reply
//! must be the same, and what is left in the databases. Nothing here depends on time, on chance or on the
//! order of sets.
//!
//! DIFFERENTIAL_SECONDS makes it run for so long, from the seed DIFFERENTIAL_SEED on.

mod requests;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use base::num::parse_f64;
use base::random::Rng;
use engine::config::{DebugAccess, EncodingNames};
use engine::testing::{TestEngine, show};
use requests::{FAMILIES, Templates, WAITING, draw};
use resp::Value;
use testkit::{Client, Server};

type Request = Vec<String>;

/// Replies whose elements come in any order.
const UNORDERED: &[&str] = &[
    "SMEMBERS", "SINTER", "SUNION", "SDIFF", "HGETALL", "HKEYS", "HVALS", "KEYS", "SCAN", "HSCAN", "SSCAN",
    "ZSCAN", "SPOP", "EXEC",
];

/// Requests sent to Redis at once.
const BATCH: usize = 40;

/// The server, and how Onefold has to be set up to encode as it does.
fn redis() -> Option<Server> {
    let program = testkit::redis()?;
    Some(Server::start(program, &["--save", "", "--enable-debug-command", "yes"]))
}

fn engine() -> TestEngine {
    TestEngine::with_config(|config| {
        config.object_encoding_names = EncodingNames::Redis70;
        config.set_max_listpack_entries = 0;
        config.enable_debug_command = DebugAccess::Yes;
    })
}

#[test]
fn random_requests_are_answered_as_by_redis() {
    let Some(server) = redis() else {
        eprintln!("SKIPPED: there is no Redis to compare with");
        return;
    };
    let mut client = server.client();
    for (name, templates) in FAMILIES {
        (0..2).for_each(|seed| compare(&mut client, name, &[templates], seed, 1_000));
    }
    let all: Vec<Templates> = FAMILIES.iter().map(|(_, templates)| *templates).collect();
    (0..4).for_each(|seed| compare(&mut client, "all", &all, seed, 2_000));
    if let Some(seconds) = number("DIFFERENTIAL_SECONDS") {
        compare_for(&mut client, &all, Duration::from_secs(seconds));
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn compare_for(client: &mut Client, all: &[Templates], time: Duration) {
    let (start, first) = (Instant::now(), number("DIFFERENTIAL_SEED").unwrap_or(1_000));
    let mut seed = first;
    while start.elapsed() < time {
        match FAMILIES.get(seed as usize % (2 * FAMILIES.len())) {
            Some((name, templates)) => compare(client, name, &[templates], seed, LONG_RUN),
            None => compare(client, "all", all, seed, LONG_RUN),
        }
        seed += 1;
    }
    eprintln!("{} requests from seed {first} to {seed}", (seed - first) * LONG_RUN as u64);
}

/// Requests from one seed in a long run.
const LONG_RUN: usize = 4_000;

/// Redis 7.0 says so of numbers too if the last conversion before was out of range: SORT reads a C variable
/// that nobody has reset.
const LEFT_OVER: &str = "-ERR One or more scores can't be converted into double";

/// Of a HyperLogLog that SETBIT or SETRANGE has damaged, Redis keeps what PFADD put in before it noticed;
/// here it stays as it was. Nothing can be compared after that.
const DAMAGED: &str = "-INVALIDOBJ";

/// One fresh engine against an emptied server.
fn compare(client: &mut Client, name: &str, families: &[Templates], seed: u64, count: usize) {
    let mut rng = Rng::from_seed(seed);
    client.call(&["RESET"]);
    client.call(&["FLUSHALL"]);
    let mut test = engine();
    let mut done = 0;
    while done < count {
        let requests = batch(&mut rng, families);
        let theirs = client.pipeline(&requests);
        for (request, theirs) in requests.iter().zip(theirs) {
            let ours = canonical(request, test.run_words(request));
            let theirs = canonical(request, theirs);
            if ours != theirs && theirs.contains(LEFT_OVER) {
                return;
            }
            assert_eq!(ours, theirs, "{name}, seed {seed}, {done}: {request:?}");
            if theirs.contains(DAMAGED) {
                return;
            }
            done += 1;
        }
        test.check_invariants();
    }
    let digest = ["DEBUG", "DIGEST"];
    assert_eq!(show(&test.run_words(&digest)), show(&client.call(&digest)), "{name}, seed {seed}");
}

/// Some requests, now and then a few of them in a transaction.
fn batch(rng: &mut Rng, families: &[Templates]) -> Vec<Request> {
    let mut requests = Vec::new();
    while requests.len() < BATCH {
        if rng.below(12) > 0 {
            requests.push(request(rng, families));
            continue;
        }
        requests.push(vec!["MULTI".to_owned()]);
        for _ in 0..rng.below(5) {
            let waits = rng.below(3) == 0;
            requests.push(request(rng, if waits { &[WAITING] } else { families }));
        }
        let end = if rng.below(8) == 0 { "DISCARD" } else { "EXEC" };
        requests.push(vec![end.to_owned()]);
    }
    requests
}

fn request(rng: &mut Rng, families: &[Templates]) -> Request {
    let family = families[rng.below(families.len() as u64) as usize];
    let template = family[rng.below(family.len() as u64) as usize];
    let mut words = Vec::new();
    template.split(' ').for_each(|word| draw(rng, word, &mut words));
    words
}

/// A reply as text, without what depends on the order of a set.
fn canonical(request: &Request, reply: Value) -> String {
    if UNORDERED.contains(&request[0].as_str()) { sorted(&reply) } else { as_before(&show(&reply)) }
}

/// Elements in their texts' order, those of elements too.
fn sorted(value: &Value) -> String {
    let Value::Array(Some(items)) = value else { return as_before(&show(value)) };
    if items.iter().any(|item| show(item) == "\"consumers\"") {
        return as_before(&show(value));
    }
    let mut texts: Vec<String> = items.iter().map(sorted).collect();
    texts.sort();
    format!("{texts:?}")
}

/// What is known to differ, as Redis 7.0 has it. The text for a member that is not there is that of 7.2, and
/// what INCRBYFLOAT makes is a number if it is whole. SORT leaves a sorted set packed.
fn as_before(text: &str) -> String {
    let no_member = text.starts_with("-ERR member ") && text.ends_with(" does not exist");
    match text {
        _ if no_member => "-ERR could not decode requested zset member".to_owned(),
        _ if text.contains("\"entries-read\"") => without_counts(text),
        "\"embstr\"" => "\"int\"".to_owned(),
        "\"skiplist\"" => "\"listpack\"".to_owned(),
        _ => text.split('"').map(short_number).collect::<Vec<_>>().join("\""),
    }
}

/// A long fraction in one form: Redis 7.0 shows all its digits, later versions as few as are the same number.
fn short_number(text: &str) -> Cow<'_, str> {
    let number = if text.len() > 15 { parse_f64(text.as_bytes()) } else { None };
    number.map_or(Cow::Borrowed(text), |number| Cow::Owned(format!("{number:e}")))
}

/// The groups of a stream without what was counted otherwise before 7.2: XREADGROUP makes a consumer even if
/// there is nothing to read, and what a group has read is known more often.
fn without_counts(groups: &str) -> String {
    let (mut kept, mut rest) = (String::new(), groups);
    while let Some((before, behind)) = rest.split_once("\"consumers\" ") {
        let pending = behind.find(" \"pending\"").unwrap_or(0);
        let read = behind.find("\"entries-read\"").unwrap_or(behind.len());
        kept.push_str(before);
        kept.push_str(&behind[pending..read]);
        rest = behind[read..].split_once(']').map_or("", |(_, next)| next);
    }
    kept + rest
}
