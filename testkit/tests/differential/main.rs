//! The same random stream of requests to Onefold and to redis-server 7.0.15: replies and final state must be
//! equal, but for what `rules.rs` names with a reason.
//!
//! `DIFFERENTIAL_SEED` repeats a run, `DIFFERENTIAL_REQUESTS` makes it longer.

mod grammar;
mod rules;
mod streams;

use base::random::Rng;
use resp::decode::Value;
use testkit::client::Client;
use testkit::memory::check_memory;
use testkit::server::{Server, onefold, redis};

use grammar::Grammar;
use rules::{normalized, same, same_exec, same_shape};

/// Requests of one stream by default.
const REQUESTS: usize = 20_000;
/// Requests between two comparisons of the whole state.
const STATE_EVERY: usize = 2_000;

struct Pair {
    ours: Client,
    theirs: Client,
}

impl Pair {
    fn both(&mut self, words: &[Vec<u8>]) -> (Value, Value) {
        self.ours.send(words);
        self.theirs.send(words);
        (self.ours.read_value(), self.theirs.read_value())
    }

    /// Whether a request sorts a set without an order, which a RENAME may have put at the key of a list: what
    /// comes first is chance.
    fn takes_set_as_it_comes(&mut self, words: &[Vec<u8>]) -> bool {
        let is_sort = ["SORT", "SORT_RO"].iter().any(|name| words[0].eq_ignore_ascii_case(name.as_bytes()));
        let is_unordered = |pair: &[Vec<u8>]| pair[0].eq_ignore_ascii_case(b"BY") && pair[1] == b"nosort";
        if !is_sort || !words.windows(2).any(is_unordered) {
            return false;
        }
        let (ours, theirs) = self.both(&[b"TYPE".to_vec(), words[1].clone()]);
        ours == theirs && ours == Value::Simple(b"set".to_vec())
    }

    fn both_line(&mut self, line: &str) -> (Value, Value) {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        self.both(&words)
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn show(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| base::bytes::escape(word)).collect::<Vec<_>>().join(" ")
}

fn run(protocol: &str, seed: u64) {
    let Some(redis) = redis() else {
        println!("SKIPPED: the differential test needs redis-server");
        return;
    };
    println!("DIFFERENTIAL_SEED={seed} over RESP{protocol}");
    let options = ["--save", "", "--hash-max-listpack-entries", "12", "--hash-max-listpack-value", "24"];
    let options = [
        &options[..],
        &["--set-max-intset-entries", "8", "--hll-sparse-max-bytes", "300"],
        &["--zset-max-listpack-entries", "12", "--zset-max-listpack-value", "24"],
        &["--stream-node-max-entries", "5", "--list-max-listpack-size", "4", "--list-compress-depth", "1"],
    ]
    .concat();
    // Redis 7.0 does not pack sets of names, and knows one encoding of lists.
    let ours = [
        "--set-max-listpack-entries",
        "6",
        "--object-encoding-names",
        "redis-7.0",
        "--enable-debug-command",
        "yes",
    ];
    let ours = [&options[..], &ours].concat();
    let (ours, theirs) = (Server::start(onefold(), &ours), Server::start(redis, &options));
    let mut pair = Pair { ours: ours.client(), theirs: theirs.client() };
    pair.both_line(&format!("HELLO {protocol}"));
    let mut grammar = Grammar::new(Rng::from_seed(seed));
    let (mut history, mut queued) = (Vec::new(), Vec::new());
    for index in 0..number("DIFFERENTIAL_REQUESTS", REQUESTS as u64) as usize {
        let words = grammar.request();
        let (ours, theirs) = pair.both(&words);
        history.push(show(&words));
        let equal = if words[0].eq_ignore_ascii_case(b"EXEC") {
            same_exec(&queued, &ours, &theirs)
        } else {
            same(&words, &ours, &theirs)
        };
        let equal = equal || same_shape(&ours, &theirs) && pair.takes_set_as_it_comes(&words);
        if !equal {
            fail(seed, &history, &ours, &theirs);
        }
        match &ours {
            Value::Simple(text) if text == b"QUEUED" => queued.push(words),
            _ if words[0].eq_ignore_ascii_case(b"MULTI") && !ours.is_error() => queued.clear(),
            _ => {}
        }
        if index % STATE_EVERY == STATE_EVERY - 1 {
            compare_state(&mut pair, seed, &history);
        }
    }
    compare_state(&mut pair, seed, &history);
    // The stream may have ended inside a transaction.
    check_memory(&mut ours.client(), "all that was left");
}

fn fail(seed: u64, history: &[String], ours: &Value, theirs: &Value) -> ! {
    let last = &history[history.len().saturating_sub(12)..];
    panic!(
        "seed {seed}, request {}:\n  {}\nours   {ours:?}\ntheirs {theirs:?}",
        history.len(),
        last.join("\n  ")
    );
}

/// Every key of every database: type, encoding, time of expiry and value.
fn compare_state(pair: &mut Pair, seed: u64, history: &[String]) {
    if grammar::in_transaction(history) {
        return;
    }
    for db in 0..grammar::DATABASES {
        pair.both_line(&format!("SELECT {db}"));
        let (ours, theirs) = pair.both_line("KEYS *");
        let keys = key_names(&ours);
        if keys != key_names(&theirs) {
            fail(seed, history, &ours, &theirs);
        }
        for key in keys {
            compare_key(pair, seed, history, &key);
        }
    }
    pair.both_line("SELECT 0");
}

fn key_names(value: &Value) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = value
        .as_items()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_bytes().map(<[u8]>::to_vec))
        .collect();
    names.sort();
    names
}

fn compare_key(pair: &mut Pair, seed: u64, history: &[String], key: &[u8]) {
    let kind = pair.both(&[b"TYPE".to_vec(), key.to_vec()]).0;
    let value: &[&[u8]] = match kind.as_text().unwrap_or_default().as_str() {
        "hash" => &[b"HGETALL", key],
        "list" => &[b"LRANGE", key, b"0", b"-1"],
        "set" => &[b"SMEMBERS", key],
        "zset" => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
        "stream" => &[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"],
        _ => &[b"GET", key],
    };
    let common: [&[&[u8]]; 3] = [&[b"TYPE", key], &[b"OBJECT", b"ENCODING", key], &[b"PEXPIRETIME", key]];
    for command in common.into_iter().chain([value]) {
        let words: Vec<Vec<u8>> = command.iter().map(|word| word.to_vec()).collect();
        let (ours, theirs) = pair.both(&words);
        if !same(&words, &normalized(&words, ours.clone()), &normalized(&words, theirs.clone())) {
            let mut history = history.to_vec();
            history.push(show(&words));
            fail(seed, &history, &ours, &theirs);
        }
    }
}

/// A new seed each run, so that many runs see more than one; printed, so that one can be repeated.
fn seed() -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    number("DIFFERENTIAL_SEED", clock.expect("the clock is past 1970").as_nanos() as u64)
}

#[test]
fn replies_and_state_equal_redis_over_resp2() {
    run("2", seed());
}

#[test]
fn replies_and_state_equal_redis_over_resp3() {
    run("3", seed() ^ 0x5eed);
}
