//! The commands of bits, compared with the Redis that is installed.

mod common;

use common::{Script, check_as_redis, check_script};
use engine::testing::TestEngine;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const BAD_OFFSET: &str = "-ERR bit offset is not an integer or out of range";
const BAD_BIT: &str = "-ERR bit is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";

const SETTING: Script = &[
    ("SETBIT a 1 1", "0"),
    ("GET a", "\"@\""),
    ("SETBIT a 0 0", "0"),
    ("SETBIT a 1 0", "1"),
    ("GET a", "\"\\x00\""),
    ("SETBIT a 23 1", "0"),
    ("GET a", "\"\\x00\\x00\\x01\""),
    ("SETBIT fresh 9 0", "0"),
    ("STRLEN fresh", "2"),
    ("SET n 12", "+OK"),
    ("GETBIT n 2", "1"),
    ("SETBIT n 7 0", "1"),
    ("GET n", "\"02\""),
    ("GETBIT a 23", "1"),
    ("GETBIT a 24", "0"),
    ("GETBIT a 4294967295", "0"),
    ("GETBIT missing 3", "0"),
    ("SETBIT a x 1", BAD_OFFSET),
    ("SETBIT a -1 1", BAD_OFFSET),
    ("SETBIT a 4294967296 1", BAD_OFFSET),
    ("GETBIT a 4294967296", BAD_OFFSET),
    ("SETBIT a 1 2", BAD_BIT),
    ("SETBIT a 1 x", BAD_BIT),
    ("HSET h f v", "1"),
    ("SETBIT h 1 1", WRONG_TYPE),
    ("GETBIT h 1", WRONG_TYPE),
    ("BITCOUNT h", WRONG_TYPE),
    ("BITPOS h 1", WRONG_TYPE),
];

const COUNTING: Script = &[
    ("SET a foobar", "+OK"),
    ("BITCOUNT a", "26"),
    ("BITCOUNT missing", "0"),
    ("BITCOUNT a 0 0", "4"),
    ("BITCOUNT a 1 1", "6"),
    ("BITCOUNT a 0 -1", "26"),
    ("BITCOUNT a -2 -1", "7"),
    ("BITCOUNT a -1 -2", "0"),
    ("BITCOUNT a 5 30 BIT", "17"),
    ("BITCOUNT a 5 30 BYTE", "4"),
    ("BITCOUNT a -100 -50", "4"),
    ("BITCOUNT a 5 1000", "4"),
    ("BITCOUNT a 10 1000", "0"),
    ("BITCOUNT a 0", SYNTAX),
    ("BITCOUNT a 0 1 WORD", SYNTAX),
    ("BITCOUNT a 0 1 BIT x", SYNTAX),
    ("BITCOUNT a x 1", NOT_INTEGER),
    ("SET n 123", "+OK"),
    ("BITCOUNT n", "10"),
];

const FINDING: Script = &[
    ("SET a \"\\xff\\xf0\\x00\"", "+OK"),
    ("BITPOS a 0", "12"),
    ("BITPOS a 1", "0"),
    ("BITPOS a 1 2", "-1"),
    ("BITPOS a 0 2", "16"),
    ("BITPOS a 0 0 0", "-1"),
    ("BITPOS a 0 0 -1 BIT", "12"),
    ("BITPOS a 0 3 9 BIT", "-1"),
    ("BITPOS a 1 9 20 BIT", "9"),
    ("BITPOS a 1 -8 -1 BIT", "-1"),
    ("BITPOS a 1 -100 -50", "0"),
    ("BITPOS a 1 5", "-1"),
    ("BITPOS a 0 5", "-1"),
    ("SET full \"\\xff\\xff\"", "+OK"),
    ("BITPOS full 0", "16"),
    ("BITPOS full 0 1", "16"),
    ("BITPOS full 0 0 -1", "-1"),
    ("SET empty \"\"", "+OK"),
    ("BITPOS empty 0", "-1"),
    ("BITPOS empty 1", "-1"),
    ("BITPOS missing 0", "0"),
    ("BITPOS missing 1", "-1"),
    ("BITPOS a 2", "-ERR The bit argument must be 1 or 0."),
    ("BITPOS a x", NOT_INTEGER),
    ("BITPOS a 1 x", NOT_INTEGER),
    ("BITPOS a 1 0 1 WORD", SYNTAX),
    ("BITPOS a 1 0 1 BIT x", SYNTAX),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[SETTING, COUNTING, FINDING]);
}

/// Redis 7.0 did not look at the arguments when the key was missing; since 7.2 it does.
#[test]
fn arguments_are_checked_without_a_key() {
    const MISSING: Script =
        &[("BITCOUNT k 0 x", NOT_INTEGER), ("BITCOUNT k 0 1 X", SYNTAX), ("BITPOS k 1 x", NOT_INTEGER)];
    check_script(&[MISSING]);
}

#[test]
fn setting_a_bit_as_it_is_changes_nothing() {
    let mut test = TestEngine::new();
    test.collect_events("");
    test.collect_effects();
    let cases: &[(&str, &[&str])] = &[
        ("SETBIT a 8 0", &["setbit a"]),
        ("SETBIT a 8 0", &[]),
        ("SETBIT a 8 1", &["setbit a"]),
        ("SETBIT a 8 1", &[]),
        ("SETBIT a 16 0", &["setbit a"]),
    ];
    for (line, events) in cases {
        test.run(line);
        assert_eq!(test.take_events(), *events, "{line}");
        assert_eq!(test.take_effect_lines().len(), events.len(), "{line}");
    }
}
