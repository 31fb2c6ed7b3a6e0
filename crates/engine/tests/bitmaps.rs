//! The commands of bits, compared with the Redis that is installed.

mod common;

use common::check_as_redis;
use engine::testing::TestEngine;
use engine::testing::checks::{Script, check_scripts};

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
    ("BITPOS a 1 0 x WORD", SYNTAX),
    ("BITPOS a 1 x 1 WORD", NOT_INTEGER),
];

const COMBINING: Script = &[
    ("SET a \"\\xf0\\x0f\\xff\"", "+OK"),
    ("SET b \"\\xff\\x00\"", "+OK"),
    ("BITOP AND r a b", "3"),
    ("GET r", "\"\\xf0\\x00\\x00\""),
    ("BITOP or r a b none", "3"),
    ("GET r", "\"\\xff\\x0f\\xff\""),
    ("BITOP XOR r a b", "3"),
    ("GET r", "\"\\x0f\\x0f\\xff\""),
    ("BITOP NOT r b", "2"),
    ("GET r", "\"\\x00\\xff\""),
    ("BITOP AND a a b", "3"),
    ("GET a", "\"\\xf0\\x00\\x00\""),
    ("SET n 12", "+OK"),
    ("BITOP OR r n", "2"),
    ("GET r", "\"12\""),
    ("OBJECT ENCODING r", "\"raw\""),
    ("EXPIRE r 100", "1"),
    ("BITOP OR r n n", "2"),
    ("TTL r", "-1"),
    ("SET empty \"\"", "+OK"),
    ("BITOP OR r empty none", "0"),
    ("EXISTS r", "0"),
    ("BITOP OR r empty none", "0"),
    ("BITOP AND b none b", "2"),
    ("GET b", "\"\\x00\\x00\""),
    ("HSET h f v", "1"),
    ("BITOP OR r a h", WRONG_TYPE),
    ("BITOP OR h a", "3"),
    ("TYPE h", "+string"),
    ("BITOP NOT r a b", "-ERR BITOP NOT must be called with a single source key."),
    ("BITOP NAND r a b", SYNTAX),
    ("BITOP OR r", "-ERR wrong number of arguments for 'bitop' command"),
];

/// Operations of Redis 8.2.
const COMBINING_SINCE: Script = &[
    ("SET a \"\\xf0\\x0f\\xff\"", "+OK"),
    ("SET b \"\\xff\\x00\"", "+OK"),
    ("SET c \"\\x81\\x01\\x01\\x01\"", "+OK"),
    ("BITOP DIFF r a b c", "4"),
    ("GET r", "\"\\x00\\x0e\\xfe\\x00\""),
    ("BITOP DIFF1 r a b c", "4"),
    ("GET r", "\"\\x0f\\x00\\x00\\x01\""),
    ("BITOP ANDOR r a b c", "4"),
    ("GET r", "\"\\xf0\\x01\\x01\\x00\""),
    ("BITOP ONE r a b c", "4"),
    ("GET r", "\"\\x0e\\x0e\\xfe\\x01\""),
    ("BITOP one r a", "3"),
    ("GET r", "\"\\xf0\\x0f\\xff\""),
    ("BITOP diff r a", "-ERR BITOP DIFF must be called with at least two source keys."),
    ("BITOP Diff1 r a", "-ERR BITOP DIFF1 must be called with at least two source keys."),
    ("BITOP ANDOR r a", "-ERR BITOP ANDOR must be called with at least two source keys."),
    ("BITOP DIFF r none missing", "0"),
];

const BAD_FIELD: &str =
    "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";

const FIELDS: Script = &[
    ("BITFIELD f", "[]"),
    ("BITFIELD f GET u8 0 GET i8 100", "[0 0]"),
    ("EXISTS f", "0"),
    ("BITFIELD f SET i8 0 -100 SET i8 8 101 GET i8 0 GET i8 #1 GET u16 0", "[0 0 -100 101 40037]"),
    ("BITFIELD f INCRBY u2 100 1 GET u4 0", "[1 9]"),
    ("STRLEN f", "13"),
    ("BITFIELD f INCRBY u2 100 3", "[0]"),
    ("BITFIELD f OVERFLOW SAT INCRBY u2 100 7 OVERFLOW FAIL INCRBY u2 100 1 INCRBY u2 100 -1", "[3 nil 2]"),
    ("BITFIELD f OVERFLOW sat SET u8 0 -1 SET i8 8 1000 OVERFLOW WRAP SET u8 0 257", "[156 101 255]"),
    ("BITFIELD f GET u8 0 GET i8 8", "[1 127]"),
    ("BITFIELD f INCRBY i64 3 9223372036854775807 GET u63 3", "[-8360932708213325825 5042905682748112895]"),
    ("SET n 12", "+OK"),
    ("BITFIELD n GET u8 0", "[49]"),
    ("OBJECT ENCODING n", "\"int\""),
    ("BITFIELD_RO n GET u8 #1 GET u8 16", "[50 0]"),
    ("BITFIELD n INCRBY u8 8 1", "[51]"),
    ("GET n", "\"13\""),
    ("OBJECT ENCODING n", "\"raw\""),
    ("BITFIELD new OVERFLOW FAIL SET u8 16 300", "[nil]"),
    ("STRLEN new", "3"),
    ("BITFIELD f GET u8", SYNTAX),
    ("BITFIELD f SET u8 0", SYNTAX),
    ("BITFIELD f OVERFLOW", SYNTAX),
    ("BITFIELD f OVERFLOW SATURATE SET u8 0 1", "-ERR Invalid OVERFLOW type specified"),
    ("BITFIELD f GET u64 0", BAD_FIELD),
    ("BITFIELD f GET x8 0", BAD_FIELD),
    ("BITFIELD f GET i65 0", BAD_FIELD),
    ("BITFIELD f GET u8 -1", BAD_OFFSET),
    ("BITFIELD f GET u8 #x", BAD_OFFSET),
    ("BITFIELD f GET u8 4294967296", BAD_OFFSET),
    ("BITFIELD f GET u8 4294967295", "[0]"),
    ("BITFIELD f GET u8 #536870911", "[0]"),
    ("BITFIELD f GET u8 #536870912", BAD_OFFSET),
    ("BITFIELD f SET u8 0 x", NOT_INTEGER),
    ("BITFIELD f SET u8 0 1 GET", SYNTAX),
    ("BITFIELD_RO f SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"),
    ("BITFIELD_RO f GET u8 0 OVERFLOW WRAP", "[17]"),
    ("HSET h f v", "1"),
    ("BITFIELD h GET u8 0", WRONG_TYPE),
    ("BITFIELD h SET u8 0 1", WRONG_TYPE),
    ("BITFIELD_RO h GET u8 0", WRONG_TYPE),
    ("BITFIELD_RO h SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[SETTING, COUNTING, FINDING, COMBINING, FIELDS]);
}

#[test]
fn what_came_later() {
    check_scripts(&[COMBINING_SINCE, COUNTING_SINCE]);
}

/// Valkey 8.0 made the end optional.
const COUNTING_SINCE: Script = &[("SET a foobar", "+OK"), ("BITCOUNT a 1", "22"), ("BITCOUNT a -1", "4")];

/// Redis 7.0 did not look at the arguments when the key was missing; since 7.2 it does.
#[test]
fn arguments_are_checked_without_a_key() {
    const MISSING: Script =
        &[("BITCOUNT k 0 x", NOT_INTEGER), ("BITCOUNT k 0 1 X", SYNTAX), ("BITPOS k 1 x", NOT_INTEGER)];
    check_scripts(&[MISSING]);
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

/// One event for a request, and as many changes as writes that changed something.
#[test]
fn fields_count_as_changes_when_they_change() {
    let mut test = TestEngine::new();
    test.collect_events("");
    test.collect_effects();
    let cases: &[(&str, u64, &[&str])] = &[
        ("BITFIELD a SET u8 0 0 GET u8 0", 1, &["setbit a"]),
        ("BITFIELD a SET u8 0 0", 0, &[]),
        ("BITFIELD a SET u8 0 5 SET u8 0 6 SET u8 0 6", 2, &["setbit a"]),
        ("BITFIELD a GET u8 0", 0, &[]),
        ("BITFIELD a OVERFLOW FAIL INCRBY u8 0 300", 0, &[]),
        ("BITFIELD a OVERFLOW FAIL INCRBY u8 8 300", 1, &[]),
    ];
    for (line, changes, events) in cases {
        let before = dirty(&mut test);
        test.run(line);
        assert_eq!(dirty(&mut test) - before, *changes, "{line}");
        assert_eq!(test.take_events(), *events, "{line}");
        assert_eq!(test.take_effect_lines().len(), usize::from(*changes > 0), "{line}");
    }
}

fn dirty(test: &mut TestEngine) -> u64 {
    let info = test.run("INFO persistence").as_text().expect("INFO is text");
    let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

/// Strings from 16 KB on are blocks of their own, which the operation shares.
#[test]
fn large_strings_are_combined() {
    let mut test = TestEngine::new();
    test.run_words(&[b"SET".as_slice(), b"a", &[0xf0; 40_000]]);
    test.run_words(&[b"SET".as_slice(), b"b", &[0x3c; 20_000]]);
    engine::testing::check_script(
        &mut test,
        &[
            ("BITOP AND a a b", "40000"),
            ("BITCOUNT a", "40000"),
            ("GETRANGE a 19999 20000", "\"0\\x00\""),
            ("BITOP NOT c a", "40000"),
            ("BITCOUNT c", "280000"),
        ],
    );
    test.check_invariants();
}
