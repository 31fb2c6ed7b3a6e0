//! Random requests for strings, bits and hashes, answered by an engine and by the Redis that is installed:
//! every reply must be the same. Nothing here depends on time or on the order of fields.

use base::random::Rng;
use engine::testing::{TestEngine, show};
use testkit::Server;

/// A capital letter stands for something drawn: K a key, F a field, V a value, S a short one, N a number, I
/// an index, B a bit.
const TEMPLATES: &[&str] = &[
    "SET K V",
    "SET K V NX",
    "SET K V XX GET",
    "GET K",
    "GETDEL K",
    "GETSET K V",
    "SETNX K V",
    "MSET K V K V",
    "MSETNX K V K V",
    "MGET K K K",
    "APPEND K V",
    "STRLEN K",
    "GETRANGE K I I",
    "SETRANGE K N V",
    "INCR K",
    "DECRBY K N",
    "INCRBYFLOAT K V",
    "LCS K K",
    "LCS K K IDX WITHMATCHLEN",
    "SETBIT K N B",
    "GETBIT K N",
    "BITCOUNT K",
    "BITCOUNT K I I BIT",
    "BITCOUNT K I I",
    "BITPOS K B",
    "BITPOS K B I",
    "BITPOS K B I I",
    "BITPOS K B I I BIT",
    "DEL K",
    "TYPE K",
    "HSET K F V F V",
    "HSETNX K F V",
    "HGET K F",
    "HMGET K F F",
    "HDEL K F F",
    "HLEN K",
    "HSTRLEN K F",
    "HEXISTS K F",
    "HINCRBY K F N",
    "HINCRBYFLOAT K F V",
    "HGETALL small",
    "HSET small F S",
    "HDEL small F",
];

const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "12",
    "007",
    "+5",
    "3.0",
    "-0",
    "1e3",
    "0.1",
    "inf",
    "text",
    "9223372036854775807",
    "-9223372036854775808",
    "123456789012345678901",
    "a much longer text, which is over forty-four bytes long",
];

fn draw(rng: &mut Rng, letter: &str) -> String {
    let below = |rng: &mut Rng, bound| rng.below(bound) as i64;
    match letter {
        "K" => format!("key{}", below(rng, 6)),
        "F" => format!("field{}", below(rng, 5)),
        "V" if rng.below(40) == 0 => "long".repeat(rng.below(9_000) as usize),
        "V" | "S" => VALUES[rng.below(VALUES.len() as u64) as usize].to_owned(),
        "N" => below(rng, 200).to_string(),
        "I" => (below(rng, 120) - 60).to_string(),
        "B" => below(rng, 2).to_string(),
        word => word.to_owned(),
    }
}

#[test]
fn random_requests_are_answered_as_by_redis() {
    let Some(program) = testkit::redis() else {
        eprintln!("SKIPPED: there is no Redis to compare with");
        return;
    };
    let server = Server::start(program, &["--save", ""]);
    let mut client = server.client();
    for seed in 0..8 {
        let mut rng = Rng::from_seed(seed);
        client.call(&["FLUSHALL"]);
        let mut test = TestEngine::new();
        for step in 0..1_000 {
            let template = TEMPLATES[rng.below(TEMPLATES.len() as u64) as usize];
            let words: Vec<String> = template.split(' ').map(|letter| draw(&mut rng, letter)).collect();
            let (ours, theirs) = (show(&test.run_words(&words)), show(&client.call(&words)));
            assert_eq!(ours, theirs, "seed {seed}, step {step}: {words:?}");
        }
        test.check_invariants();
    }
}
