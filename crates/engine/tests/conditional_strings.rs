//! Strings set and deleted on conditions: SET with IFEQ and its kin, DELEX, DELIFEQ, DIGEST, MSETEX. No Redis
//! that is installed here has them; replies are those of Redis 8.4 and Valkey 9.1.

use engine::testing::checks::{Script, check_scripts};
use engine::testing::{TestEngine, show};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const NOT_A_DIGEST: &str = "-ERR must be exactly 16 hexadecimal characters";
const NOT_A_STRING: &str = "-ERR Key should be of string type if conditions are specified";
const BAD_CONDITION: &str = "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE";
const BAD_COUNT: &str = "-ERR invalid numkeys value or out of range";

const DIGEST: Script = &[
    ("DIGEST none", "nil"),
    ("SET a 'Hello world'", "+OK"),
    ("DIGEST a", "\"b6acb9d84a38ff74\""),
    ("SET a ''", "+OK"),
    ("DIGEST a", "\"2d06800538d394c2\""),
    ("MSET int 12345 text 12345x", "+OK"),
    ("SETRANGE text 5 ''", "6"),
    ("SADD s m", "1"),
    ("DIGEST s", WRONG_TYPE),
    ("DIGEST", "-ERR wrong number of arguments for 'digest' command"),
    ("DIGEST a b", "-ERR wrong number of arguments for 'digest' command"),
];

const SET: Script = &[
    ("SET a v IFEQ x", "nil"),
    ("SET a v IFDEQ 2d06800538d394c2", "nil"),
    ("EXISTS a", "0"),
    ("SET a v IFNE x", "+OK"),
    ("SET a w IFNE v", "nil"),
    ("SET a w IFEQ x", "nil"),
    ("SET a w IFEQ v", "+OK"),
    ("SET a x IFEQ v GET", "\"w\""),
    ("SET a 'Hello world' IFEQ w GET EX 100", "\"w\""),
    ("TTL a", "100"),
    ("SET a v IFDNE b6acb9d84a38ff74", "nil"),
    ("SET a v IFDEQ b6acb9d84a38ff75", "nil"),
    ("SET a 12 IFDEQ B6ACB9D84A38FF74 KEEPTTL", "+OK"),
    ("TTL a", "100"),
    ("SET a 13 IFEQ 12", "+OK"),
    ("SET a v IFDEQ 6acb9d84a38ff74", NOT_A_DIGEST),
    ("SET a v IFDNE ''", NOT_A_DIGEST),
    ("SET a v IFDNE 00b6acb9d84a38ff74", NOT_A_DIGEST),
    ("SET none v IFDEQ 1", "nil"),
    ("SET none v IFDNE 1 GET", "nil"),
    ("GET none", "\"v\""),
    ("SADD s m", "1"),
    ("SET s v IFEQ m", WRONG_TYPE),
    ("SET s v IFNE m", WRONG_TYPE),
    ("SET s v IFDEQ 1", WRONG_TYPE),
    ("SET s v IFNE m GET", WRONG_TYPE),
    ("SET a v IFNE", SYNTAX),
    ("SET a v IFNE x NX", SYNTAX),
    ("SET a v IFDNE x IFEQ y", SYNTAX),
    ("SET a v XX IFDEQ x", SYNTAX),
];

const DELEX: Script = &[
    ("DELEX a", "0"),
    ("DELEX a IFEQ x", "0"),
    ("DELEX a IFNE x", "0"),
    ("DELEX a NOPE x", "0"),
    ("DELEX a IFEQ", "-ERR wrong number of arguments for 'delex' command"),
    ("SET a 'Hello world'", "+OK"),
    ("DELEX a IFEQ", "-ERR wrong number of arguments for 'delex' command"),
    ("DELEX a IFEQ x y", "-ERR wrong number of arguments for 'delex' command"),
    ("DELEX a NOPE x", BAD_CONDITION),
    ("DELEX a IFEQ x", "0"),
    ("DELEX a IFNE 'Hello world'", "0"),
    ("DELEX a IFDEQ b6acb9d84a38ff75", "0"),
    ("DELEX a IFDNE b6acb9d84a38ff74", "0"),
    ("DELEX a IFDEQ b6acb9d84a38ff7", NOT_A_DIGEST),
    ("DELEX a IFDEQ b6acb9d84a38FF74", "1"),
    ("EXISTS a", "0"),
    ("SET a 5", "+OK"),
    ("DELEX a ifeq 5", "1"),
    ("SET a 5", "+OK"),
    ("DELEX a IfNe 6", "1"),
    ("SET a 5", "+OK"),
    ("DELEX a", "1"),
    ("SADD s m", "1"),
    ("DELEX s IFEQ m", NOT_A_STRING),
    ("DELEX s NOPE m", NOT_A_STRING),
    ("DELEX s", "1"),
    ("DELIFEQ a x", "0"),
    ("SET a x", "+OK"),
    ("DELIFEQ a y", "0"),
    ("DELIFEQ a x", "1"),
    ("SADD s m", "1"),
    ("DELIFEQ s m", WRONG_TYPE),
];

const MSETEX: Script = &[
    ("MSETEX 1 k", "-ERR wrong number of arguments for 'msetex' command"),
    ("MSETEX 0 k v", BAD_COUNT),
    ("MSETEX -1 k v", BAD_COUNT),
    ("MSETEX 1.5 k v", BAD_COUNT),
    ("MSETEX 2147483648 k v", BAD_COUNT),
    ("MSETEX 2147483647 k v", SYNTAX),
    ("MSETEX 2 k v", SYNTAX),
    ("MSETEX 2 k v l", SYNTAX),
    ("MSETEX 1 k v l w", SYNTAX),
    ("MSETEX 1 k v NX XX", SYNTAX),
    ("MSETEX 1 k v IFEQ x", SYNTAX),
    ("MSETEX 1 k v PERSIST", SYNTAX),
    ("MSETEX 1 k v EX", SYNTAX),
    ("MSETEX 1 k v EX 1 KEEPTTL", SYNTAX),
    ("MSETEX 1 k v EX 1 PX 1", SYNTAX),
    ("MSETEX 1 k v EX 0", "-ERR invalid expire time in 'msetex' command"),
    ("MSETEX 1 k v PXAT -1", "-ERR invalid expire time in 'msetex' command"),
    ("MSETEX 1 k v EX x", NOT_INTEGER),
    ("EXISTS k", "0"),
    ("MSETEX 2 k v l w", "1"),
    ("MGET k l", "[\"v\" \"w\"]"),
    ("MSETEX 2 k x new y NX", "0"),
    ("MSETEX 2 k x new y XX", "0"),
    ("MGET k l new", "[\"v\" \"w\" nil]"),
    ("MSETEX 2 k x l y EX 100 XX", "1"),
    ("MGET k l", "[\"x\" \"y\"]"),
    ("TTL l", "100"),
    ("MSETEX 2 k 1 new 2 keepttl", "1"),
    ("TTL k", "100"),
    ("TTL new", "-1"),
    ("MSETEX 1 k 1", "1"),
    ("TTL k", "-1"),
    ("SADD s m", "1"),
    ("MSETEX 2 s 1 s 2", "1"),
    ("GET s", "\"2\""),
    ("MSETEX 1 k 1 PXAT 1", "1"),
    ("EXISTS k", "0"),
];

#[test]
fn replies() {
    check_scripts(&[DIGEST, SET, DELEX, MSETEX]);
}

#[test]
fn a_time_that_has_passed_is_set_like_any_other() {
    let mut test = TestEngine::new();
    test.run("MSETEX 2 k v l w EXAT 1");
    assert_eq!(show(&test.run("DBSIZE")), "2");
    assert_eq!(show(&test.run("EXISTS k l")), "0");
    assert_eq!(show(&test.run("DBSIZE")), "0");
}

#[test]
fn effects_and_events() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("DELEX a IFEQ 1", &["DEL a"], &["del a"]),
        ("DELEX s", &["DEL s"], &["del s"]),
        ("DELEX a IFEQ 2", &[], &[]),
        ("SET a 2 IFNE 2 GET", &["SET a 2"], &["set a"]),
        ("SET a 2 IFEQ 2", &[], &[]),
        ("MSETEX 2 a 1 b 2", &["MSETEX 2 a 1 b 2"], &["set a", "set b"]),
        ("MSETEX 1 a 1 KEEPTTL XX", &["MSETEX 1 a 1 KEEPTTL"], &["set a"]),
        ("MSETEX 1 b 1 NX", &["MSETEX 1 b 1"], &["set b"]),
        (
            "MSETEX 2 a 1 b 2 PX 5000",
            &["MSETEX 2 a 1 b 2 PXAT 1700000005000"],
            &["set a", "expire a", "set b", "expire b"],
        ),
        ("MSETEX 2 a 1 b 2 NX", &[], &[]),
    ];
    for (line, effects, events) in cases {
        let mut test = TestEngine::new();
        test.run("SET a 1");
        test.run("SADD s m");
        test.collect_events("");
        test.collect_effects();
        test.run(line);
        assert_eq!(test.take_effect_lines(), *effects, "effects of {line}");
        assert_eq!(test.take_events(), *events, "events of {line}");
    }
}

#[test]
fn keys_and_what_is_done_to_them() {
    check_scripts(&[&[
        ("COMMAND GETKEYS MSETEX 2 a 1 b 2 EX 5", "[\"a\" \"b\"]"),
        ("COMMAND GETKEYS MSETEX 3 a 1 b 2", "-ERR Invalid arguments specified for command"),
        ("COMMAND GETKEYSANDFLAGS DELEX a", "[[\"a\" [+RM +delete]]]"),
        ("COMMAND GETKEYSANDFLAGS DELEX a IFEQ b", "[[\"a\" [+RW +access +delete]]]"),
        ("COMMAND GETKEYSANDFLAGS SET a b", "[[\"a\" [+OW +update]]]"),
        ("COMMAND GETKEYSANDFLAGS SET a b IFDNE c", "[[\"a\" [+RW +access +update]]]"),
        ("COMMAND GETKEYSANDFLAGS HIMPORT SET a GET v", "[[\"a\" [+OW +update]]]"),
    ]]);
}
