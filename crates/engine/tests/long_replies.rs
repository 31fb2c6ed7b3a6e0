//! Long replies show what there was when the command ran, whatever others do before they are complete.

use std::collections::BTreeSet;

use base::random::Rng;
use engine::pipeline::Outcome;
use engine::testing::{TestEngine, show};
use resp::decode::{DecodeLimits, Value, decode};

const COUNT: usize = 30_000;

/// A set, a hash and a list of many elements each, and who reads them.
struct Fixture {
    test: TestEngine,
    reader: usize,
}

const READS: [&[&str]; 6] = [
    &["SMEMBERS", "set"],
    &["HGETALL", "hash"],
    &["HKEYS", "hash"],
    &["HVALS", "hash"],
    &["LRANGE", "list", "0", "-1"],
    &["LRANGE", "list", "5", "-7"],
];

/// What others do meanwhile. None of it makes the reader wait or see anything else.
const CHANGES: [&[&str]; 16] = [
    &[],
    &["DEL set hash list"],
    &["UNLINK set hash list"],
    &["FLUSHALL"],
    &["FLUSHALL ASYNC"],
    &["FLUSHDB", "SADD set a", "HSET hash f v", "RPUSH list a"],
    &["RENAME set s2", "RENAME hash h2", "RENAME list l2", "DEL s2", "SADD set other"],
    &["MOVE set 3", "MOVE hash 3", "MOVE list 3", "SELECT 3", "DEL hash", "SADD set new"],
    &["SWAPDB 0 5", "SADD set a", "HSET hash f v", "SELECT 5", "SPOP set 20000", "HSET hash f v"],
    &["SET set x", "SET hash x", "SET list x"],
    &["SPOP set 29999", "LTRIM list 5 10", "HSET hash field:7 other field:8 other new new"],
    &["COPY set copy", "COPY hash copy2", "SPOP copy 20000", "HSET copy2 field:7 x"],
    &["PEXPIREAT set 1", "PEXPIREAT hash 1", "PEXPIREAT list 1"],
    &["SINTERSTORE set none", "RENAMENX hash other", "SUNIONSTORE list none"],
    &[
        "HPEXPIRE hash 1 FIELDS 2 field:3 field:4",
        "SADD set new",
        "LSET list 7 new",
        "LINSERT list BEFORE element:9 x",
    ],
    &["MULTI", "SREM set member:5 member:7", "HDEL hash field:5", "LPOP list 100", "RPOP list 100", "EXEC"],
];

impl Fixture {
    fn new() -> Fixture {
        let mut test = TestEngine::new();
        for first in (0..COUNT).step_by(1000) {
            let numbers = || first..first + 1000;
            let words = |line: &str, add: &dyn Fn(&mut String, usize)| {
                let mut line = line.to_owned();
                numbers().for_each(|number| add(&mut line, number));
                line
            };
            test.run(&words("SADD set", &|line, number| *line += &format!(" member:{number}")));
            test.run(&words("HSET hash", &|line, number| {
                *line += &format!(" field:{number} value:{number}")
            }));
            test.run(&words("RPUSH list", &|line, number| *line += &format!(" element:{number}")));
        }
        let reader = test.connect();
        Fixture { test, reader }
    }

    /// What the request is answered at once, inside a transaction.
    fn whole(&mut self, request: &[&str]) -> Value {
        self.test.run("MULTI");
        self.test.run_words(request);
        match self.test.run("EXEC") {
            Value::Array(Some(mut replies)) => replies.pop().expect("one command was queued"),
            other => panic!("{other:?}"),
        }
    }
}

fn decoded(bytes: &[u8]) -> Value {
    match decode(bytes, &DecodeLimits::default()) {
        Ok(Some((value, len))) if len == bytes.len() => value,
        other => panic!("one whole reply, not {:?}", other.map(|found| found.map(|(_, len)| len))),
    }
}

/// The elements in a form that does not depend on the order in which a table has them.
fn elements(request: &[&str], value: &Value) -> Vec<String> {
    let Value::Array(Some(items)) = value else { panic!("an array: {}", show(value)) };
    let mut texts: Vec<String> = match request[0] {
        "HGETALL" => items.chunks(2).map(|pair| format!("{}={}", show(&pair[0]), show(&pair[1]))).collect(),
        _ => items.iter().map(show).collect(),
    };
    if request[0] != "LRANGE" {
        texts.sort_unstable();
    }
    texts
}

#[test]
fn others_change_nothing_of_a_long_reply() {
    for request in READS {
        for (number, changes) in CHANGES.iter().enumerate() {
            let mut fixture = Fixture::new();
            let expected = elements(request, &fixture.whole(request));
            assert!(expected.len() > COUNT - 100);
            let Fixture { test, reader } = &mut fixture;
            let mut reply = test.begin_raw(*reader, request);
            assert_eq!(test.outcome, Outcome::Unfinished, "{request:?}");
            if number % 2 == 1 {
                assert!(test.continue_raw(*reader, &mut reply));
            }
            for line in *changes {
                test.run(line);
                assert!(test.continue_raw(*reader, &mut reply), "{request:?} is long");
            }
            while test.continue_raw(*reader, &mut reply) {}
            let seen = elements(request, &decoded(&reply));
            assert!(seen == expected, "{request:?} during {changes:?}");
            test.check_invariants();
            assert!(!test.engine.readings.any());
        }
    }
}

#[test]
fn a_piece_is_small_and_short_replies_have_none() {
    let mut fixture = Fixture::new();
    let Fixture { test, reader } = &mut fixture;
    for request in READS {
        let mut reply = test.begin_raw(*reader, request);
        assert!(reply.len() < 20, "{request:?}: only the number is there at first");
        loop {
            let before = reply.len();
            let more = test.continue_raw(*reader, &mut reply);
            assert!(reply.len() - before <= 96 * 1024, "{request:?}: {} bytes", reply.len() - before);
            if !more {
                break;
            }
        }
    }
    for request in [["LRANGE", "list", "0", "99"], ["SRANDMEMBER", "set", "99", ""]] {
        let words: Vec<&str> = request.iter().copied().filter(|word| !word.is_empty()).collect();
        test.begin_raw(*reader, &words);
        assert_eq!(test.outcome, Outcome::Done);
    }
}

#[test]
fn several_readers_and_one_that_leaves() {
    let mut fixture = Fixture::new();
    let expected = fixture.whole(READS[1]);
    let expected = elements(READS[1], &expected);
    let test = &mut fixture.test;
    let readers: Vec<usize> = (0..4).map(|_| test.connect()).collect();
    let mut replies: Vec<Vec<u8>> = Vec::new();
    for &reader in &readers {
        let mut reply = test.begin_raw(reader, READS[1]);
        for _ in 0..reader {
            assert!(test.continue_raw(reader, &mut reply));
        }
        replies.push(reply);
    }
    test.run("HSET hash field:1 other");
    test.engine.disconnect(&mut test.sessions[readers[1]]);
    test.run("DEL hash");
    test.engine.disconnect(&mut test.sessions[readers[0]]);
    for at in [2, 3] {
        while test.continue_raw(readers[at], &mut replies[at]) {}
        assert!(elements(READS[1], &decoded(&replies[at])) == expected);
    }
    assert!(!test.engine.readings.any());
    test.run("SADD set x");
    test.check_invariants();
}

/// What changes under a reading is in memory for its sake, and is its client's.
#[test]
fn who_reads_holds_what_others_have_no_more() {
    for request in [READS[0], READS[1], READS[4]] {
        let mut fixture = Fixture::new();
        let test = &mut fixture.test;
        let whole = match test.run(&format!("MEMORY USAGE {}", request[1])) {
            Value::Integer(bytes) => bytes as usize,
            other => panic!("{other:?}"),
        };
        let readers: Vec<usize> = (0..4).map(|_| test.connect()).collect();
        for &reader in &readers {
            let mut reply = test.begin_raw(reader, request);
            assert!(test.continue_raw(reader, &mut reply));
        }
        let held = |test: &TestEngine| {
            let bytes = |reader: &usize| {
                test.engine.weigh_reply(&test.sessions[*reader]);
                test.sessions[*reader].reading_bytes()
            };
            readers.iter().map(bytes).collect::<Vec<_>>()
        };
        assert!(held(test).into_iter().all(|bytes| bytes < 50_000), "the value is in memory anyhow");
        let before = held(test)[0];
        let client = test.sessions[readers[0]].client.clone();
        let memory = client.memory();
        match request[0] {
            "SMEMBERS" => drop(test.run("SPOP set 20000")),
            "HGETALL" => (0..20_000).for_each(|at| drop(test.run(&format!("HSET hash field:{at} x")))),
            _ => drop(test.run("LTRIM list 20000 -1")),
        }
        let share = if request[0] == "LRANGE" { whole / 4 / 4 } else { whole / 4 };
        assert!(held(test)[0] > share, "{request:?}: {:?} of {whole}", held(test));
        assert_eq!(client.memory() - memory, held(test)[0] - before);
        test.run(&format!("DEL {}", request[1]));
        let sum: usize = held(test).iter().sum();
        assert!((whole * 3 / 4..whole * 10).contains(&sum), "{request:?}: {sum} of {whole}");
        readers.iter().for_each(|&reader| test.engine.disconnect(&mut test.sessions[reader]));
        assert_eq!(client.memory(), memory - before);
    }
}

/// Expired fields are not shown, so such a hash is answered at once; those that expire later are.
#[test]
fn fields_that_expire() {
    let mut fixture = Fixture::new();
    let Fixture { test, reader } = &mut fixture;
    test.run("HPEXPIRE hash 50 FIELDS 3 field:1 field:2 field:3");
    let mut reply = test.begin_raw(*reader, READS[2]);
    assert_eq!(test.outcome, Outcome::Unfinished);
    test.advance_ms(60);
    (0..20).for_each(|_| test.expire_cycle());
    while test.continue_raw(*reader, &mut reply) {}
    assert_eq!(elements(READS[2], &decoded(&reply)).len(), COUNT);
    test.run("HPEXPIRE hash 50 FIELDS 1 field:5");
    test.advance_ms(60);
    let reply = test.begin_raw(*reader, READS[2]);
    assert_eq!(test.outcome, Outcome::Done);
    assert_eq!(elements(READS[2], &decoded(&reply)).len(), COUNT - 4);
}

/// Random changes between the pieces of random readers.
#[test]
fn random_mixtures() {
    for seed in 0..6 {
        let mut rng = Rng::from_seed(seed);
        let mut fixture = Fixture::new();
        let test = &mut fixture.test;
        let mut open: Vec<(usize, usize, Vec<u8>, Vec<String>)> = Vec::new();
        for _ in 0..600 {
            let number = rng.below(COUNT as u64 * 2);
            let line = match rng.below(8) {
                0 => format!("SADD set member:{number}"),
                1 => format!("SREM set member:{number}"),
                2 => format!("HSET hash field:{number} other:{number}"),
                3 => format!("HDEL hash field:{number}"),
                4 => format!("LSET list {} x{number}", number % 1000),
                5 => format!("LPUSH list {number}"),
                6 => format!("LREM list 1 element:{number}"),
                _ => format!("SPOP set {}", number % 50),
            };
            test.run(&line);
            if open.len() < 3 && rng.below(10) == 0 {
                let at = rng.below(READS.len() as u64) as usize;
                test.run("MULTI");
                test.run_words(READS[at]);
                let Value::Array(Some(whole)) = test.run("EXEC") else { panic!("EXEC has replies") };
                let reader = test.connect();
                let reply = test.begin_raw(reader, READS[at]);
                open.push((at, reader, reply, elements(READS[at], &whole[0])));
            }
            if !open.is_empty() {
                let chosen = rng.below(open.len() as u64) as usize;
                let (_, reader, reply, _) = &mut open[chosen];
                if !test.continue_raw(*reader, reply) {
                    let (at, _, reply, expected) = open.swap_remove(chosen);
                    assert!(elements(READS[at], &decoded(&reply)) == expected, "seed {seed} {:?}", READS[at]);
                }
            }
        }
        test.check_invariants();
    }
}

#[test]
fn nothing_is_shown_twice() {
    let mut fixture = Fixture::new();
    let Fixture { test, reader } = &mut fixture;
    let mut reply = test.begin_raw(*reader, READS[0]);
    let mut added = 0;
    while test.continue_raw(*reader, &mut reply) {
        for _ in 0..2_000 {
            added += 1;
            test.run(&format!("SADD set new:{added}"));
        }
    }
    let members = elements(READS[0], &decoded(&reply));
    let distinct: BTreeSet<&String> = members.iter().collect();
    assert_eq!((members.len(), distinct.len()), (COUNT, COUNT));
}
