//! The commands of HyperLogLogs, compared with the Redis that is installed, byte by byte.

mod common;

use base::random::Rng;
use common::check_as_redis;
use engine::testing::TestEngine;
use engine::testing::checks::{Script, check_scripts};
use testkit::Server;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NO_SKETCH: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPT: &str = "-INVALIDOBJ Corrupted HLL object detected";

const ADDING: Script = &[
    ("PFADD p", "1"),
    ("GET p", r#""HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff""#),
    ("OBJECT ENCODING p", "\"raw\""),
    ("PFCOUNT p", "0"),
    ("GET p", r#""HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7f\xff""#),
    ("PFADD p", "0"),
    ("PFADD p a b c", "1"),
    ("PFADD p a b c", "0"),
    ("PFCOUNT p", "3"),
    ("PFADD p \"\" a", "1"),
    ("PFCOUNT p p none", "4"),
    ("PFDEBUG DECODE p", "\"Z:5938 v:2,1 Z:2497 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603\""),
    ("PFDEBUG ENCODING p", "+sparse"),
    ("EXPIRE p 100", "1"),
    ("PFADD p d", "1"),
    ("TTL p", "100"),
    ("PFDEBUG TODENSE p", "1"),
    ("PFDEBUG TODENSE p", "0"),
    ("TTL p", "100"),
    ("PFDEBUG ENCODING p", "+dense"),
    ("STRLEN p", "12304"),
    ("OBJECT ENCODING p", "\"raw\""),
    ("PFCOUNT p", "5"),
    ("PFADD p d e", "1"),
    ("PFCOUNT p", "6"),
    ("PFCOUNT none", "0"),
    ("PFCOUNT none none", "0"),
];

const MERGING: Script = &[
    ("PFADD a 1 2 3", "1"),
    ("PFADD b 3 4 5", "1"),
    ("PFMERGE c a b none", "+OK"),
    ("PFCOUNT c", "5"),
    ("PFDEBUG ENCODING c", "+sparse"),
    ("PFMERGE c", "+OK"),
    ("PFCOUNT c", "5"),
    ("PFMERGE new", "+OK"),
    ("STRLEN new", "18"),
    ("PFDEBUG TODENSE b", "1"),
    ("EXPIRE c 100", "1"),
    ("PFMERGE c a b", "+OK"),
    ("PFDEBUG ENCODING c", "+dense"),
    ("TTL c", "100"),
    ("PFCOUNT c", "5"),
    ("PFMERGE b a", "+OK"),
    ("PFCOUNT b", "5"),
    ("PFCOUNT a b c", "5"),
];

const FAULTS: Script = &[
    ("SET s text", "+OK"),
    ("SET n 12", "+OK"),
    ("HSET h f v", "1"),
    ("PFADD ok a", "1"),
    ("PFADD s a", NO_SKETCH),
    ("PFADD n a", NO_SKETCH),
    ("PFADD h a", WRONG_TYPE),
    ("PFCOUNT s", NO_SKETCH),
    ("PFCOUNT ok s", NO_SKETCH),
    ("PFCOUNT h", WRONG_TYPE),
    ("PFMERGE ok s", NO_SKETCH),
    ("PFMERGE s ok", NO_SKETCH),
    ("PFMERGE h", WRONG_TYPE),
    ("PFDEBUG GETREG none", "-ERR The specified key does not exist"),
    ("PFDEBUG NOSUCH none", "-ERR The specified key does not exist"),
    ("PFDEBUG NOSUCH s", NO_SKETCH),
    ("PFDEBUG NOSUCH ok", "-ERR Unknown PFDEBUG subcommand 'NOSUCH'"),
    ("PFDEBUG DECODE", "-ERR wrong number of arguments for 'pfdebug' command"),
    ("PFDEBUG TODENSE ok", "1"),
    ("PFDEBUG DECODE ok", "-ERR HLL encoding is not sparse"),
    ("PFADD p a b c", "1"),
    ("APPEND p hello", "32"),
    ("PFCOUNT p", CORRUPT),
    ("PFCOUNT p ok", CORRUPT),
    ("PFMERGE new p", CORRUPT),
    ("PFDEBUG TODENSE p", CORRUPT),
    ("SETRANGE p 4 \"\\x00\"", "32"),
    ("PFCOUNT p", NO_SKETCH),
    ("SETRANGE p 4 \"\\x02\"", "32"),
    ("PFCOUNT p", NO_SKETCH),
    ("SETRANGE p 0 0123", "32"),
    ("PFADD p a", NO_SKETCH),
    ("SET short HYLL", "+OK"),
    ("PFCOUNT short", NO_SKETCH),
    (r#"SET cut "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x60\x00""#, "+OK"),
    ("PFADD cut a", CORRUPT),
    ("PFCOUNT cut", CORRUPT),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[ADDING, MERGING, FAULTS]);
}

/// What Valkey added: a switch, of which there is nothing to switch here.
#[test]
fn valkey_debugging() {
    const SIMD: Script = &[
        ("PFDEBUG SIMD ON", "+disabled"),
        ("PFDEBUG simd off", "+disabled"),
        ("PFDEBUG SIMD k", "-ERR Argument must be ON or OFF"),
    ];
    check_scripts(&[SIMD, &[("PFSELFTEST", "+OK")]]);
}

#[test]
fn a_failure_half_way_changes_nothing() {
    let mut test = TestEngine::new();
    test.run(r#"SET p "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x60\x00""#);
    test.collect_effects();
    let before = test.digest();
    // The empty element's register is among those that the run covers, that of `a` is not.
    let reply = test.run("PFADD p \"\" a");
    assert!(reply.is_error());
    assert_eq!(test.digest(), before);
    assert!(test.take_effect_lines().is_empty());
}

#[test]
fn effects_and_events() {
    let mut test = TestEngine::new();
    test.collect_events("");
    test.collect_effects();
    let mut check = |line: &str, events: &[&str], effects: &[&str]| {
        test.run(line);
        assert_eq!(test.take_events(), events, "{line}");
        assert_eq!(test.take_effect_lines(), effects, "{line}");
    };
    check("PFADD p a", &["pfadd p"], &["PFADD p a"]);
    check("PFADD p a", &[], &[]);
    check("PFCOUNT p", &[], &["PFCOUNT p"]);
    check("PFCOUNT p", &[], &[]);
    check("PFCOUNT p none", &[], &[]);
    check("PFMERGE q p", &["pfadd q"], &["PFMERGE q p"]);
    check("PFMERGE q p", &["pfadd q"], &["PFMERGE q p"]);
    check("PFDEBUG TODENSE p", &[], &["PFDEBUG TODENSE p"]);
    check("PFDEBUG GETREG p", &[], &[]);
}

/// Long mixtures of additions and merges: the strings must be the same, and what DUMP makes of them must
/// restore to the same on the other side.
#[test]
fn bytes_are_those_of_redis() {
    let Some(program) = testkit::redis() else {
        eprintln!("SKIPPED: there is no Redis to compare with");
        return;
    };
    let server = Server::start(program, &["--save", "", "--hll-sparse-max-bytes", "700"]);
    let mut client = server.client();
    let mut test = TestEngine::with_config(|config| config.hll_sparse_max_bytes = 700);
    let mut rng = Rng::from_seed(5);
    for round in 0..3000 {
        let mut words = vec!["PFADD".to_owned(), format!("p{}", rng.below(4))];
        match rng.below(30) {
            0..=25 => words.extend((0..rng.below(20)).map(|_| format!("{}", rng.below(1 << 40)))),
            26 => words = vec!["PFMERGE".into(), format!("p{}", rng.below(4)), format!("p{}", rng.below(5))],
            27 => words = vec!["PFCOUNT".into(), format!("p{}", rng.below(4))],
            28 => words = vec!["PFCOUNT".into(), "p0".into(), "p1".into(), "p2".into()],
            _ => words = vec!["DEL".into(), format!("p{}", rng.below(4))],
        }
        assert_eq!(test.run_words(&words), client.call(&words), "round {round}: {words:?}");
        let get = ["GET", words[1].as_str()];
        let ours = test.run_words(&get);
        assert_eq!(ours, client.call(&get), "round {round}: {words:?}");
        if round % 100 == 0 && !ours.is_null() {
            let (dump, theirs) = (test.run_words(&["DUMP", get[1]]), client.call(&["DUMP", get[1]]));
            let restore = |payload: &testkit::Value| {
                let payload = payload.as_bytes().expect("a payload").to_vec();
                [b"RESTORE".to_vec(), b"copy".to_vec(), b"0".to_vec(), payload, b"REPLACE".to_vec()]
            };
            assert!(!client.call(&restore(&dump)).is_error());
            assert!(!test.run_words(&restore(&theirs)).is_error());
            assert_eq!(client.call(&["GET", "copy"]), ours);
            assert_eq!(test.run_words(&["GET", "copy"]), ours);
        }
    }
}
