//! The commands of sets, request by request, in each encoding; those that Redis 7.0 knows are compared with
//! it.

mod common;

use std::collections::BTreeSet;

use common::check_as_redis;
use engine::config::DebugAccess;
use engine::testing::checks::{Script, check_draws, check_replay, check_scripts, scan_all, texts};
use engine::testing::{TestEngine, show};
use resp::reply::Protocol;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const MUST_BE_POSITIVE: &str = "-ERR value is out of range, must be positive";

const MEMBERS: Script = &[
    ("SADD s 1 2 1", "2"),
    ("SADD s 2 3", "1"),
    ("SADD s 3", "0"),
    ("SMEMBERS s", "[\"1\" \"2\" \"3\"]"),
    ("OBJECT ENCODING s", "\"intset\""),
    ("SCARD s", "3"),
    ("SCARD none", "0"),
    ("SISMEMBER s 1", "1"),
    ("SISMEMBER s 01", "0"),
    ("SISMEMBER s a", "0"),
    ("SISMEMBER none 1", "0"),
    ("SMISMEMBER s 1 x 3", "[1 0 1]"),
    ("SMISMEMBER none 1 x", "[0 0]"),
    ("SMEMBERS none", "[]"),
    ("SREM s 9 x", "0"),
    ("SREM none 1", "0"),
    ("SREM s 1 1 3", "2"),
    ("SREM s 2", "1"),
    ("EXISTS s", "0"),
    ("SADD s -5 70000 5000000000", "3"),
    ("SMEMBERS s", "[\"-5\" \"70000\" \"5000000000\"]"),
    ("SADD s \"\"", "1"),
    ("SISMEMBER s \"\"", "1"),
    ("SISMEMBER s 5000000000", "1"),
    ("SREM s 70000", "1"),
    ("SCARD s", "3"),
    ("TYPE s", "+set"),
    ("SADD s", "-ERR wrong number of arguments for 'sadd' command"),
    ("SREM s", "-ERR wrong number of arguments for 'srem' command"),
    ("SMISMEMBER s", "-ERR wrong number of arguments for 'smismember' command"),
];

const MOVES: Script = &[
    ("SADD a 1 2 x", "3"),
    ("SADD b 2 3", "2"),
    ("SMOVE a b 1", "1"),
    ("SMOVE a b 1", "0"),
    ("SMOVE a b 2", "1"),
    ("SMEMBERS b", "[\"1\" \"2\" \"3\"]"),
    ("SMOVE a a x", "1"),
    ("SMOVE a a y", "0"),
    ("SMOVE none b 1", "0"),
    ("SMOVE a c x", "1"),
    ("EXISTS a", "0"),
    ("SMEMBERS c", "[\"x\"]"),
    ("SET text 1", "+OK"),
    ("SMOVE none text 1", "0"),
    ("SMOVE b text 1", WRONG_TYPE),
    ("SMOVE b text nobody", WRONG_TYPE),
    ("SMOVE text b 1", WRONG_TYPE),
    ("SCARD b", "3"),
];

const CHANCE: Script = &[
    ("SPOP none", "nil"),
    ("SPOP none 3", "[]"),
    ("SADD s a", "1"),
    ("SPOP s 0", "[]"),
    ("SPOP s -1", MUST_BE_POSITIVE),
    ("SPOP s x", MUST_BE_POSITIVE),
    ("SPOP none x", MUST_BE_POSITIVE),
    ("SPOP s 1 2", SYNTAX),
    ("SPOP s", "\"a\""),
    ("EXISTS s", "0"),
    ("SADD s 5", "1"),
    ("SPOP s", "\"5\""),
    ("EXISTS s", "0"),
    ("SADD s 5 6", "2"),
    ("SPOP s 2", "[\"5\" \"6\"]"),
    ("EXISTS s", "0"),
    ("SADD s 5", "1"),
    ("SPOP s 9223372036854775807", "[\"5\"]"),
    ("SRANDMEMBER none", "nil"),
    ("SRANDMEMBER none 3", "[]"),
    ("SRANDMEMBER none -3", "[]"),
    ("SADD s a", "1"),
    ("SRANDMEMBER s", "\"a\""),
    ("SRANDMEMBER s 0", "[]"),
    ("SRANDMEMBER s 5", "[\"a\"]"),
    ("SRANDMEMBER s -3", "[\"a\" \"a\" \"a\"]"),
    ("SRANDMEMBER s x", NOT_INTEGER),
    ("SRANDMEMBER s 1 2", SYNTAX),
    (
        "SRANDMEMBER s -9223372036854775808",
        "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    ),
];

const TOGETHER: Script = &[
    ("SADD a 1 2 3 4", "4"),
    ("SADD b 2 4 6", "3"),
    ("SADD c 4 8", "2"),
    ("SINTER a b", "[\"2\" \"4\"]"),
    ("SINTER a b c", "[\"4\"]"),
    ("SINTER a", "[\"1\" \"2\" \"3\" \"4\"]"),
    ("SINTER a a", "[\"1\" \"2\" \"3\" \"4\"]"),
    ("SINTER a none", "[]"),
    ("SINTER none", "[]"),
    ("SDIFF a b", "[\"1\" \"3\"]"),
    ("SDIFF a b c", "[\"1\" \"3\"]"),
    ("SDIFF a none", "[\"1\" \"2\" \"3\" \"4\"]"),
    ("SDIFF none a", "[]"),
    ("SDIFF a a", "[]"),
    ("SUNION c none", "[\"4\" \"8\"]"),
    ("SUNION none", "[]"),
    ("SINTERCARD 2 a b", "2"),
    ("SINTERCARD 2 a b LIMIT 1", "1"),
    ("SINTERCARD 2 a b limit 0", "2"),
    ("SINTERCARD 2 a b LIMIT 1 LIMIT 5", "2"),
    ("SINTERCARD 2 a none", "0"),
    ("SINTERCARD 1 none LIMIT 1", "0"),
    ("SINTERCARD 0 a", "-ERR numkeys should be greater than 0"),
    ("SINTERCARD -1 a", "-ERR numkeys should be greater than 0"),
    ("SINTERCARD x a", "-ERR numkeys should be greater than 0"),
    ("SINTERCARD 3 a b", "-ERR Number of keys can't be greater than number of args"),
    ("SINTERCARD 2 a b LIMIT", SYNTAX),
    ("SINTERCARD 2 a b LIMIT -1", "-ERR LIMIT can't be negative"),
    ("SINTERCARD 2 a b LIMIT x", "-ERR LIMIT can't be negative"),
    ("SINTERCARD 2 a b c", SYNTAX),
    ("SINTERCARD 2 a b APPROX", SYNTAX),
    ("SINTERSTORE d a b", "2"),
    ("SMEMBERS d", "[\"2\" \"4\"]"),
    ("SDIFFSTORE d a b", "2"),
    ("SMEMBERS d", "[\"1\" \"3\"]"),
    ("SUNIONSTORE d b c", "4"),
    ("SMEMBERS d", "[\"2\" \"4\" \"6\" \"8\"]"),
    ("SINTERSTORE a a b", "2"),
    ("SMEMBERS a", "[\"2\" \"4\"]"),
    ("PEXPIRE d 100000", "1"),
    ("SUNIONSTORE d d a", "4"),
    ("TTL d", "-1"),
    ("SINTERSTORE d a none", "0"),
    ("EXISTS d", "0"),
    ("SET text 1", "+OK"),
    ("SDIFFSTORE text none a", "0"),
    ("EXISTS text", "0"),
    ("SET text 1", "+OK"),
    ("SUNIONSTORE text b", "3"),
    ("TYPE text", "+set"),
    ("SINTERSTORE none none", "0"),
];

const TYPES: Script = &[
    ("SET text 1", "+OK"),
    ("SADD s 1", "1"),
    ("SADD text 1", WRONG_TYPE),
    ("SREM text 1", WRONG_TYPE),
    ("SISMEMBER text 1", WRONG_TYPE),
    ("SMISMEMBER text 1", WRONG_TYPE),
    ("SCARD text", WRONG_TYPE),
    ("SMEMBERS text", WRONG_TYPE),
    ("SPOP text", WRONG_TYPE),
    ("SPOP text 0", WRONG_TYPE),
    ("SPOP text -1", MUST_BE_POSITIVE),
    ("SRANDMEMBER text", WRONG_TYPE),
    ("SRANDMEMBER text 2", WRONG_TYPE),
    ("SSCAN text 0", WRONG_TYPE),
    ("SINTER s text", WRONG_TYPE),
    ("SINTER none text", WRONG_TYPE),
    ("SUNION s text", WRONG_TYPE),
    ("SDIFF none text", WRONG_TYPE),
    ("SINTERCARD 2 none text", WRONG_TYPE),
    ("SINTERSTORE s s text", WRONG_TYPE),
    ("SUNIONSTORE none s text", WRONG_TYPE),
    ("SDIFFSTORE none s text", WRONG_TYPE),
    ("SCARD s", "1"),
];

const SCANS: Script = &[
    ("SSCAN none 0", "[\"0\" []]"),
    ("SADD s 1 2 12", "3"),
    ("SSCAN s 0", "[\"0\" [\"1\" \"2\" \"12\"]]"),
    ("SSCAN s 0 MATCH 1*", "[\"0\" [\"1\" \"12\"]]"),
    ("SSCAN s 0 MATCH * COUNT 1", "[\"0\" [\"1\" \"2\" \"12\"]]"),
    ("SSCAN s 0 COUNT 0", SYNTAX),
    ("SSCAN s 0 COUNT x", NOT_INTEGER),
    ("SSCAN s 0 COUNT", SYNTAX),
    ("SSCAN s 0 TYPE set", SYNTAX),
    ("SSCAN s 0 NOVALUES", SYNTAX),
    ("SSCAN s x", "-ERR invalid cursor"),
    ("SSCAN none x", "-ERR invalid cursor"),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[MEMBERS, MOVES, CHANCE, TOGETHER, TYPES, SCANS]);
}

/// The replies that do not depend on the order of members are the same in a pack and in a table.
#[test]
fn replies_are_the_same_in_every_encoding() {
    for (ints, packed) in [(0, 128), (0, 0)] {
        for script in [MEMBERS, MOVES, CHANCE, TOGETHER, TYPES, SCANS] {
            let mut test = TestEngine::with_config(|config| {
                config.thresholds.set_ints = ints;
                config.thresholds.set_entries = packed;
            });
            let depends = |line: &str| line.starts_with("OBJECT") || line.ends_with("COUNT 1");
            for (line, expected) in script.iter().filter(|(line, _)| !depends(line)) {
                let reply = test.run(line);
                assert_eq!(in_any_order(&show(&reply)), in_any_order(expected), "the reply to: {line}");
            }
            test.check_invariants();
        }
    }
}

/// The characters of a reply: equal for equal members in any order, unless they were chosen to deceive.
fn in_any_order(reply: &str) -> Vec<char> {
    let mut letters: Vec<char> = reply.chars().collect();
    letters.sort_unstable();
    letters
}

#[test]
fn counts_of_later_versions() {
    check_scripts(&[&[
        ("SADD a 1 2 3 4", "4"),
        ("SADD b 2 4 x", "3"),
        ("SET text 1", "+OK"),
        ("SUNIONCARD 2 a b", "5"),
        ("SUNIONCARD 3 a none b LIMIT 3", "3"),
        ("SUNIONCARD 2 a b APPROX", "5"),
        ("SUNIONCARD 2 a b LIMIT 4 approx", "4"),
        ("SUNIONCARD 1 none APPROX", "0"),
        ("SUNIONCARD 2 a b APPROX LIMIT 0", "5"),
        ("SUNIONCARD 2 a text", WRONG_TYPE),
        ("SUNIONCARD 2 a b LIMIT -1", "-ERR LIMIT can't be negative"),
        ("SUNIONCARD 0 a", "-ERR numkeys should be greater than 0"),
        ("SUNIONCARD 2 a", "-ERR Number of keys can't be greater than number of args"),
        ("SDIFFCARD 2 a b", "2"),
        ("SDIFFCARD 2 a b LIMIT 1", "1"),
        ("SDIFFCARD 2 none b", "0"),
        ("SDIFFCARD 1 a LIMIT 0", "4"),
        ("SDIFFCARD 2 a b APPROX", SYNTAX),
        ("SDIFFCARD 2 a text", WRONG_TYPE),
    ]]);
}

/// What Redis 7.2 keeps a set as; 7.0 has no packed sets of names.
#[test]
fn encodings_are_those_of_redis_7_2() {
    let numbers = |from: usize, to: usize| (from..to).map(|n| format!(" {n}")).collect::<String>();
    let names = |count: usize| (0..count).map(|n| format!(" n{n}")).collect::<String>();
    let long = "l".repeat(65);
    let cases: [(&[String], &str); 17] = [
        (&[format!("SADD s{}", numbers(0, 512))], "intset"),
        (&[format!("SADD s{}", numbers(0, 513))], "hashtable"),
        (&[format!("SADD s{}", numbers(0, 512)), "SADD s 512".into()], "hashtable"),
        (&[format!("SADD s{}", numbers(0, 127)), "SADD s a".into()], "listpack"),
        (&[format!("SADD s{}", numbers(0, 128)), "SADD s a".into()], "hashtable"),
        (&["SADD s 1".into(), format!("SADD s {long}")], "hashtable"),
        (&[format!("SADD s{}", names(128))], "listpack"),
        (&[format!("SADD s{}", names(129))], "hashtable"),
        (&[format!("SADD s{}", names(128)), "SADD s a".into()], "hashtable"),
        (&["SADD s a".into(), format!("SADD s{}", numbers(0, 200))], "hashtable"),
        (&[format!("SADD s {}", &long[1..])], "listpack"),
        (&["SADD s a b".into(), "SREM s a b".into(), "SADD s 1".into()], "intset"),
        (&["SADD s a 1".into(), "SREM s a".into()], "listpack"),
        (&["SADD t 1 2 a".into(), "SADD u 1 2 b".into(), "SINTERSTORE s t u".into()], "intset"),
        (&["SADD t a b".into(), "SUNIONSTORE s t".into()], "listpack"),
        (&[format!("SADD t{}", names(129)), "SDIFFSTORE s t u".into()], "hashtable"),
        (&[format!("SADD s{}", names(200)), "SPOP s 150".into()], "hashtable"),
    ];
    for (lines, encoding) in cases {
        let mut test = TestEngine::new();
        lines.iter().for_each(|line| assert!(!test.run(line).is_error(), "{line}"));
        assert_eq!(test.run("OBJECT ENCODING s"), encoding.into(), "{lines:?}");
        test.check_invariants();
    }
}

#[test]
fn sets_are_sets_in_resp3() {
    let mut test = TestEngine::new();
    test.set_protocol(0, Protocol::Resp3);
    test.run("SADD s 1 2");
    for (line, expected) in [
        ("SMEMBERS s", "<\"1\" \"2\">"),
        ("SMEMBERS none", "<>"),
        ("SINTER s s", "<\"1\" \"2\">"),
        ("SINTER s none", "<>"),
        ("SUNION s", "<\"1\" \"2\">"),
        ("SDIFF none", "<>"),
        ("SMISMEMBER s 1 3", "[1 0]"),
        ("SRANDMEMBER s 2", "[\"1\" \"2\"]"),
        ("SRANDMEMBER none 2", "[]"),
        ("SSCAN s 0", "[\"0\" [\"1\" \"2\"]]"),
        ("SPOP s 0", "<>"),
        ("SPOP none 1", "<>"),
        ("SPOP none", "nil"),
        ("SPOP s 2", "<\"1\" \"2\">"),
    ] {
        assert_eq!(show(&test.run(line)), expected, "the reply to: {line}");
    }
}

#[test]
fn events_and_effects() {
    let cases: [(&str, &[&str], &[&str]); 15] = [
        ("SADD new a b a", &["new new", "sadd new"], &["SADD new a b a"]),
        ("SADD s 1", &[], &[]),
        ("SREM s 1 9", &["srem s"], &["SREM s 1 9"]),
        ("SREM s 9", &[], &[]),
        ("SREM s 1 2", &["srem s", "del s"], &["SREM s 1 2"]),
        ("SMOVE s t 1", &["srem s", "sadd t"], &["SMOVE s t 1"]),
        (
            "SMOVE single none 7",
            &["srem single", "del single", "new none", "sadd none"],
            &["SMOVE single none 7"],
        ),
        ("SMOVE s s 1", &[], &[]),
        ("SPOP single", &["spop single", "del single"], &["SREM single 7"]),
        ("SPOP s 2", &["spop s", "del s"], &["DEL s"]),
        ("SPOP single 1", &["spop single", "del single"], &["DEL single"]),
        ("SUNIONSTORE s t", &["sunionstore s"], &["SUNIONSTORE s t"]),
        ("SDIFFSTORE s t t", &["del s"], &["SDIFFSTORE s t t"]),
        ("SINTERSTORE other s none", &["keymiss none"], &[]),
        ("SINTER s none", &["keymiss none"], &[]),
    ];
    for (line, events, effects) in cases {
        let mut test = TestEngine::new();
        ["SADD s 1 2", "SADD t 3", "SADD single 7"].iter().for_each(|line| drop(test.run(line)));
        test.collect_events("mn");
        test.collect_effects();
        assert!(!test.run(line).is_error());
        assert_eq!(test.take_events(), events, "{line}");
        assert_eq!(test.take_effect_lines(), effects, "{line}");
    }
}

/// SPOP of some of many names them in effects of bounded size.
#[test]
fn many_popped_members_are_named_in_batches() {
    for (count, batches) in [(1, 1), (1024, 1), (1025, 2), (2900, 3)] {
        let mut test = TestEngine::new();
        test.collect_effects();
        (0..3000).for_each(|number| drop(test.run(&format!("SADD s member:{number}"))));
        let before = test.take_effects();
        let popped = texts(&test.run(&format!("SPOP s {count}")));
        assert_eq!(popped.iter().collect::<BTreeSet<_>>().len(), count);
        assert_eq!(test.run("SCARD s").as_i64(), Some(3000 - count as i64));
        let own = test.take_effects();
        let replica = test.replay(&[before, own.clone()].concat());
        assert_eq!(replica.digest(), test.digest());
        let requests = own.windows(4).filter(|bytes| bytes == b"SREM").count();
        assert_eq!(requests, batches);
        test.check_invariants();
    }
}

/// A table of 5,000 members: scans return each, draws are distinct and complete.
#[test]
fn scans_and_draws_of_a_large_set() {
    let mut test = TestEngine::new();
    let names: BTreeSet<String> = (0..5_000).map(|index| format!("member{index}")).collect();
    for name in &names {
        test.run_words(&["SADD", "s", name]);
    }
    assert_eq!(texts(&test.run("SMEMBERS s")).into_iter().collect::<BTreeSet<_>>(), names);
    assert_eq!(scan_all(&mut test, "SSCAN", "s", &[]), names);
    check_draws(&mut test, "SRANDMEMBER", "s", &names);
}

#[test]
fn a_client_cannot_ask_for_more_than_there_is_memory() {
    for member in ["1", "a"] {
        let mut test = TestEngine::with_config(|config| config.proto_max_bulk_len = 1 << 20);
        test.run(&format!("SADD s {member}"));
        assert_eq!(show(&test.run("SRANDMEMBER s -4000000000000000000")), "-ERR value is out of range");
    }
}

/// Copies, renames, dumps and digests of a set in each encoding.
#[test]
fn generic_commands_know_sets() {
    for count in [0, 10, 600] {
        let mut test = TestEngine::with_config(|config| config.enable_debug_command = DebugAccess::Yes);
        test.collect_effects();
        test.run("SADD s 1 2 3");
        (0..count).for_each(|number| drop(test.run(&format!("SADD s member:{number}"))));
        let len = Some(count + 3);
        let encoding = test.run("OBJECT ENCODING s");
        assert_eq!(test.run("COPY s copy").as_i64(), Some(1));
        test.run("RENAME s t");
        let payload = test.run("DUMP t");
        let payload = payload.as_bytes().expect("a payload");
        assert_eq!(show(&test.run_words(&[b"RESTORE".as_slice(), b"back", b"0", payload])), "+OK");
        for key in ["copy", "t", "back"] {
            assert_eq!(test.run(&format!("SCARD {key}")).as_i64(), len);
            assert_eq!(test.run(&format!("OBJECT ENCODING {key}")), encoding);
            assert!(test.run(&format!("MEMORY USAGE {key}")).as_i64() > Some(0));
        }
        let digests = test.run("DEBUG DIGEST-VALUE copy t back");
        let digests = texts(&digests);
        assert!(digests.iter().all(|digest| *digest == digests[0]));
        check_replay(&mut test);
        test.check_invariants();
    }
}
