//! Random requests of every family, answered by an engine and by the Redis that is installed: every reply
//! must be the same, and the encodings and contents of what is left in the databases. What depends on time,
//! on chance or on the order of sets is compared without it (`rules.rs`).
//!
//! DIFFERENTIAL_SECONDS makes it run for so long, from the seed DIFFERENTIAL_SEED on.

mod requests;
mod rules;
mod scripts;

use std::time::{Duration, Instant};

use base::random::Rng;
use engine::config::{DebugAccess, EncodingNames};
use engine::testing::{TestEngine, show};
use requests::{FAMILIES, Templates, WAITING, keys};
use resp::Value;
use rules::{Sorts, canonical, check_choice, is_choice, is_settled_outside_transactions};
use scripts::{SCRIPTS, draw};
use testkit::{Client, Server, mistakes};

type Request = Vec<String>;

/// Requests sent to Redis at once.
const BATCH: usize = 40;

/// The server, and how Onefold has to be set up to encode as it does.
fn redis() -> Option<Server> {
    let program = testkit::redis()?;
    Some(Server::start(program, &["--save", "", "--enable-debug-command", "yes", "--rdbcompression", "no"]))
}

fn engine() -> TestEngine {
    TestEngine::with_config(|config| {
        config.object_encoding_names = EncodingNames::Redis70;
        config.thresholds.set_entries = 0;
        config.enable_debug_command = DebugAccess::Yes;
        config.rdbcompression = false;
    })
}

#[test]
fn random_requests_are_answered_as_by_redis() {
    let Some(server) = redis() else {
        eprintln!("SKIPPED: there is no Redis to compare with");
        return;
    };
    let mut client = server.client();
    let families = families();
    for (name, templates) in &families {
        (0..2).for_each(|seed| compare(&mut client, name, &[templates], seed, 1_000));
    }
    let all: Vec<Templates> = families.iter().map(|(_, templates)| *templates).collect();
    (0..4).for_each(|seed| compare(&mut client, "all", &all, seed, 2_000));
    if let Some(seconds) = number("DIFFERENTIAL_SECONDS") {
        compare_for(&mut client, &families, &all, Duration::from_secs(seconds));
    }
}

fn families() -> Vec<(&'static str, Templates)> {
    FAMILIES.iter().copied().chain([("scripts", SCRIPTS)]).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn compare_for(client: &mut Client, families: &[(&str, Templates)], all: &[Templates], time: Duration) {
    let (start, first) = (Instant::now(), number("DIFFERENTIAL_SEED").unwrap_or(1_000));
    let mut seed = first;
    while start.elapsed() < time {
        match families.get(seed as usize % (2 * families.len())) {
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

/// Redis packs what ZRANGESTORE stores until it is too long, and what was packed has lost the sign of a zero.
fn unsigned(value: Value) -> Value {
    match value {
        Value::Bulk(Some(text)) if text == b"-0" => Value::Bulk(Some(b"0".to_vec())),
        Value::Array(Some(items)) => Value::Array(Some(items.into_iter().map(unsigned).collect())),
        value => value,
    }
}

/// Of a HyperLogLog that SETBIT or SETRANGE has damaged, Redis keeps what PFADD put in before it noticed;
/// here it stays as it was. Nothing can be compared after that.
const DAMAGED: &str = "-INVALIDOBJ";

/// Where every write of BITFIELD fails, Redis lengthens the string all the same and tells nobody of it; here
/// who watches the key is told. What a script of that answers says nothing of it.
fn lengthens_in_silence(request: &Request, theirs: &Value) -> bool {
    let is_script = request.get(1).is_some_and(|script| script.contains("'BITFIELD'"));
    let Value::Array(Some(answers)) = theirs else { return is_script };
    is_script || request[0] == "BITFIELD" && answers.contains(&Value::Bulk(None))
}

/// Redis 7.0 does not look at what was deleted; Valkey does. The streams differ from then on.
const BEFORE_DELETED: &str = "smaller than current max_deleted_entry_id";

/// One fresh engine against an emptied server.
fn compare(client: &mut Client, name: &str, families: &[Templates], seed: u64, count: usize) {
    let mut rng = Rng::from_seed(seed);
    client.call(&["RESET"]);
    for words in [&["FLUSHALL"][..], &["SCRIPT", "FLUSH"], &["FUNCTION", "FLUSH"]] {
        client.call(words);
    }
    let mut test = engine();
    let sorts = if ["SORT", "all"].contains(&name) { Sorts::Yes } else { Sorts::No };
    let (mut done, mut lengthened) = (0, false);
    while done < count {
        let mut requests = batch(&mut rng, families);
        done += requests.len();
        requests.extend(keys().map(|key| vec!["OBJECT".to_owned(), "ENCODING".to_owned(), key]));
        let theirs = client.pipeline(&requests);
        for (request, theirs) in requests.iter().zip(theirs) {
            let ours = test.run_words(request);
            if is_choice(request) {
                check_choice(&mut test, request, &ours);
            }
            let same = |value: Value| canonical(request, value, sorts);
            lengthened |= lengthens_in_silence(request, &theirs);
            if request[0] == "EXEC" && lengthened && show(&ours) != show(&theirs) && show(&ours) == "nil" {
                return;
            }
            let lost_signs = || same(unsigned(ours.clone())) == same(theirs.clone());
            if show(&theirs).contains(LEFT_OVER) && show(&ours) != show(&theirs) {
                return;
            }
            let (ours, theirs) = match same(ours.clone()) == same(theirs.clone()) {
                false if lost_signs() || show(&ours).contains(BEFORE_DELETED) => return,
                _ => (same(ours), same(theirs)),
            };
            assert_eq!(ours, theirs, "{name}, seed {seed}, {done}: {request:?}");
            if theirs.contains(DAMAGED) {
                return;
            }
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
            requests.extend(counted(request(rng, families)));
            continue;
        }
        requests.push(vec!["MULTI".to_owned()]);
        for _ in 0..rng.below(5) {
            let waits = rng.below(3) == 0;
            let request = request(rng, if waits { &[WAITING] } else { families });
            let is_settled = is_settled_outside_transactions(&request);
            requests.extend(is_settled.then_some(request).into_iter().flat_map(counted));
        }
        let end = if rng.below(8) == 0 { "DISCARD" } else { "EXEC" };
        requests.push(vec![end.to_owned()]);
    }
    requests
}

/// A key that SET gives a time long past counts for the DBSIZE of Redis 7.0 until somebody looks at it; here
/// it is gone at once.
fn counted(request: Request) -> impl Iterator<Item = Request> {
    let is_absolute = |word: &String| ["EXAT", "PXAT"].iter().any(|unit| word.eq_ignore_ascii_case(unit));
    let is_dated = request[0] == "SET" && request.iter().any(is_absolute);
    let look = is_dated.then(|| vec!["TYPE".to_owned(), request[1].clone()]);
    std::iter::once(request).chain(look)
}

fn request(rng: &mut Rng, families: &[Templates]) -> Request {
    let family = families[rng.below(families.len() as u64) as usize];
    let template = family[rng.below(family.len() as u64) as usize];
    let mut words = Vec::new();
    template.split(' ').for_each(|word| draw(rng, word, &mut words));
    // The members of some have one score, whatever mistakes there are.
    let is_apart = words.get(1).is_some_and(|key| key.starts_with('n'));
    if rng.below(12) == 0 && !is_apart && mistakes::may_err(&words) {
        mistakes::make(rng, &mut words);
    }
    words
}
