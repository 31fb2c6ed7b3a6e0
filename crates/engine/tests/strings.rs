//! The commands of strings, request by request, compared with the Redis that is installed.

mod common;

use common::check_as_redis;
use engine::testing::checks::{Script, check_replay, check_scripts};
use engine::testing::{START, TestEngine, show};
use resp::reply::Protocol;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const OVERFLOW: &str = "-ERR increment or decrement would overflow";
const SYNTAX: &str = "-ERR syntax error";
const TOO_LONG: &str = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";

const SET_AND_GET: Script = &[
    ("GET a", "nil"),
    ("SET a 1", "+OK"),
    ("GET a", "\"1\""),
    ("SET a \"\"", "+OK"),
    ("GET a", "\"\""),
    ("SET a 01", "+OK"),
    ("GET a", "\"01\""),
    ("SET a -9223372036854775808", "+OK"),
    ("GET a", "\"-9223372036854775808\""),
    ("HSET h f v", "1"),
    ("GET h", WRONG_TYPE),
    ("SET h s", "+OK"),
    ("GET h", "\"s\""),
    ("SET a \"\\x00\\xff\\r\\n\"", "+OK"),
    ("GET a", "\"\\x00\\xff\\r\\n\""),
];

const SET_OPTIONS: Script = &[
    ("SET a 1 XX", "nil"),
    ("SET a 1 NX", "+OK"),
    ("SET a 2 NX", "nil"),
    ("SET a 2 XX", "+OK"),
    ("SET a 3 NX GET", "\"2\""),
    ("SET b 3 NX GET", "nil"),
    ("SET b 4 GET", "\"3\""),
    ("SET c 4 XX GET", "nil"),
    ("EXISTS c", "0"),
    ("SET a 1 NX XX", SYNTAX),
    ("SET a 1 NX NX", "nil"),
    ("SET a 1 BAD", SYNTAX),
    ("SET a 1 EX", SYNTAX),
    ("SET a 1 EX 10 PX 10", SYNTAX),
    ("SET a 1 EX 10 KEEPTTL", SYNTAX),
    ("SET a 1 KEEPTTL EX 10", SYNTAX),
    ("SET a 1 PERSIST", SYNTAX),
    ("SET a 1 EX ten", NOT_INTEGER),
    ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command"),
    ("SET a 1 PX -1", "-ERR invalid expire time in 'set' command"),
    ("SET a 1 EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
    ("SET a 1 EX 9223372036854775", "-ERR invalid expire time in 'set' command"),
    ("SET a 1 PX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
    ("SET a 1 EXAT 9223372036854776", "-ERR invalid expire time in 'set' command"),
    ("SETEX a 0 1", "-ERR invalid expire time in 'setex' command"),
    ("PSETEX a -1 1", "-ERR invalid expire time in 'psetex' command"),
    ("SETEX a x 1", NOT_INTEGER),
    ("SET a 1 EX 10", "+OK"),
    ("TTL a", "10"),
    ("SET a 2 KEEPTTL", "+OK"),
    ("TTL a", "10"),
    ("SET a 2", "+OK"),
    ("TTL a", "-1"),
    ("SET a 2 PX 100000", "+OK"),
    ("SET a 2 EX 10 EX 20 XX", "+OK"),
    ("TTL a", "20"),
    ("SETEX a 30 x", "+OK"),
    ("TTL a", "30"),
    ("PSETEX a 40000 x", "+OK"),
    ("TTL a", "40"),
    ("SET a 1 EXAT 99999999999", "+OK"),
    ("EXPIRETIME a", "99999999999"),
    ("SET a 1 PXAT 99999999999123", "+OK"),
    ("PEXPIRETIME a", "99999999999123"),
    ("HSET h f v", "1"),
    ("SET h 1 GET", WRONG_TYPE),
    ("SET h 1 NX", "nil"),
    ("HGET h f", "\"v\""),
];

const SMALL_ONES: Script = &[
    ("SETNX a 1", "1"),
    ("SETNX a 2", "0"),
    ("GETSET a 3", "\"1\""),
    ("GETSET n 3", "nil"),
    ("GETDEL a", "\"3\""),
    ("GETDEL a", "nil"),
    ("EXISTS a", "0"),
    ("HSET h f v", "1"),
    ("GETSET h 1", WRONG_TYPE),
    ("GETDEL h", WRONG_TYPE),
    ("SETNX h 1", "0"),
    ("STRLEN h", WRONG_TYPE),
    ("STRLEN missing", "0"),
    ("SET a hello", "+OK"),
    ("STRLEN a", "5"),
    ("SET a -100", "+OK"),
    ("STRLEN a", "4"),
    ("MSET a 1 b 2 a 3", "+OK"),
    ("MGET a b missing h a", "[\"3\" \"2\" nil nil \"3\"]"),
    ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
    ("MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command"),
    ("MSETNX x 1 a 2", "0"),
    ("EXISTS x", "0"),
    ("MSETNX x 1 y 2 x 3", "1"),
    ("MGET x y", "[\"3\" \"2\"]"),
    ("MSETNX h 1", "0"),
    ("MSET h 1", "+OK"),
    ("GET h", "\"1\""),
];

const GETEX: Script = &[
    ("GETEX a", "nil"),
    ("GETEX a EX 10", "nil"),
    ("GETEX a EX bad", "nil"),
    ("SET a v", "+OK"),
    ("GETEX a", "\"v\""),
    ("TTL a", "-1"),
    ("GETEX a PERSIST", "\"v\""),
    ("GETEX a EX 10", "\"v\""),
    ("TTL a", "10"),
    ("GETEX a", "\"v\""),
    ("TTL a", "10"),
    ("GETEX a PERSIST", "\"v\""),
    ("TTL a", "-1"),
    ("GETEX a PX 20000", "\"v\""),
    ("TTL a", "20"),
    ("GETEX a EXAT 99999999999", "\"v\""),
    ("EXPIRETIME a", "99999999999"),
    ("GETEX a PXAT 99999999999999", "\"v\""),
    ("PEXPIRETIME a", "99999999999999"),
    ("GETEX a EX 10 PERSIST", SYNTAX),
    ("GETEX a KEEPTTL", SYNTAX),
    ("GETEX a NX", SYNTAX),
    ("GETEX a EX 0", "-ERR invalid expire time in 'getex' command"),
    ("GETEX a PXAT 1", "\"v\""),
    ("EXISTS a", "0"),
    ("HSET h f v", "1"),
    ("GETEX h", WRONG_TYPE),
];

const COUNTERS: Script = &[
    ("INCR a", "1"),
    ("INCR a", "2"),
    ("DECR a", "1"),
    ("INCRBY a 41", "42"),
    ("DECRBY a 50", "-8"),
    ("DECR missing", "-1"),
    ("INCRBY a x", NOT_INTEGER),
    ("INCRBY a 9223372036854775808", NOT_INTEGER),
    ("DECRBY a -9223372036854775808", "-ERR decrement would overflow"),
    ("SET a 9223372036854775807", "+OK"),
    ("INCR a", OVERFLOW),
    ("SET a -9223372036854775808", "+OK"),
    ("DECR a", OVERFLOW),
    ("GET a", "\"-9223372036854775808\""),
    ("SET a 9223372036854775808", "+OK"),
    ("INCR a", NOT_INTEGER),
    ("SET a \" 1\"", "+OK"),
    ("INCR a", NOT_INTEGER),
    ("SET a 01", "+OK"),
    ("INCR a", NOT_INTEGER),
    ("SET a \"\"", "+OK"),
    ("INCR a", NOT_INTEGER),
    ("SET a 1", "+OK"),
    ("APPEND a 2", "2"),
    ("OBJECT ENCODING a", "\"raw\""),
    ("INCR a", "13"),
    ("OBJECT ENCODING a", "\"int\""),
    ("HSET h f v", "1"),
    ("INCR h", WRONG_TYPE),
    ("SET t 1 EX 100", "+OK"),
    ("INCR t", "2"),
    ("TTL t", "100"),
];

const FLOATS: Script = &[
    ("INCRBYFLOAT a 1.5", "\"1.5\""),
    ("INCRBYFLOAT a 1.25", "\"2.75\""),
    ("INCRBYFLOAT a -2.75", "\"0\""),
    ("INCRBYFLOAT a 5.0e3", "\"5000\""),
    ("INCRBYFLOAT a 1e-20", "\"5000\""),
    ("SET a 3", "+OK"),
    ("INCRBYFLOAT a 1.1", "\"4.1\""),
    ("SET a 17179869184", "+OK"),
    ("INCRBYFLOAT a 1.5", "\"17179869185.5\""),
    ("INCRBYFLOAT a x", "-ERR value is not a valid float"),
    ("INCRBYFLOAT a \" 1\"", "-ERR value is not a valid float"),
    ("INCRBYFLOAT a inf", "-ERR increment would produce NaN or Infinity"),
    ("SET a text", "+OK"),
    ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
    ("HSET h f v", "1"),
    ("INCRBYFLOAT h 1", WRONG_TYPE),
    ("SET t 1 EX 100", "+OK"),
    ("INCRBYFLOAT t 0.1", "\"1.1\""),
    ("TTL t", "100"),
];

const PARTS: Script = &[
    ("APPEND a foo", "3"),
    ("APPEND a bar", "6"),
    ("APPEND a \"\"", "6"),
    ("GET a", "\"foobar\""),
    ("APPEND n 12", "2"),
    ("OBJECT ENCODING n", "\"int\""),
    ("APPEND n 3", "3"),
    ("GET n", "\"123\""),
    ("GETRANGE a 0 2", "\"foo\""),
    ("GETRANGE a -3 -1", "\"bar\""),
    ("GETRANGE a 0 -1", "\"foobar\""),
    ("GETRANGE a 4 1", "\"\""),
    ("GETRANGE a -1 -5", "\"\""),
    ("GETRANGE a 5 1000", "\"r\""),
    ("GETRANGE a -100 2", "\"foo\""),
    ("GETRANGE a -100 -50", "\"f\""),
    ("GETRANGE a -9223372036854775808 9223372036854775807", "\"foobar\""),
    ("GETRANGE n 1 1", "\"2\""),
    ("GETRANGE missing 0 -1", "\"\""),
    ("GETRANGE a x 1", NOT_INTEGER),
    ("SUBSTR a 1 3", "\"oob\""),
    ("SETRANGE missing 3 \"\"", "0"),
    ("EXISTS missing", "0"),
    ("SETRANGE a 3 \"\"", "6"),
    ("SETRANGE a 1 XY", "6"),
    ("GET a", "\"fXYbar\""),
    ("SETRANGE a 8 Z", "9"),
    ("GET a", "\"fXYbar\\x00\\x00Z\""),
    ("SETRANGE new 2 ab", "4"),
    ("GET new", "\"\\x00\\x00ab\""),
    ("SETRANGE n 1 9", "3"),
    ("GET n", "\"193\""),
    ("SETRANGE a -1 x", "-ERR offset is out of range"),
    ("SETRANGE a x x", NOT_INTEGER),
    ("SETRANGE a 536870911 xy", TOO_LONG),
    ("SETRANGE a 9223372036854775807 xy", TOO_LONG),
    ("HSET h f v", "1"),
    ("SETRANGE h 0 x", WRONG_TYPE),
    ("APPEND h x", WRONG_TYPE),
    ("GETRANGE h 0 1", WRONG_TYPE),
    ("SUBSTR h 0 1", WRONG_TYPE),
];

const LCS: Script = &[
    ("MSET a ohmytext b mynewtext", "+OK"),
    ("LCS a b", "\"mytext\""),
    ("LCS a b LEN", "6"),
    ("LCS a b IDX", "[\"matches\" [[[4 7] [5 8]] [[2 3] [0 1]]] \"len\" 6]"),
    ("LCS a b IDX MINMATCHLEN 4", "[\"matches\" [[[4 7] [5 8]]] \"len\" 6]"),
    ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", "[\"matches\" [[[4 7] [5 8] 4]] \"len\" 6]"),
    ("LCS a b IDX MINMATCHLEN -1 WITHMATCHLEN", "[\"matches\" [[[4 7] [5 8] 4] [[2 3] [0 1] 2]] \"len\" 6]"),
    ("LCS a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX."),
    ("LCS a b MINMATCHLEN", SYNTAX),
    ("LCS a b MINMATCHLEN x", NOT_INTEGER),
    ("LCS a b WHAT", SYNTAX),
    ("LCS a missing", "\"\""),
    ("LCS a missing LEN", "0"),
    ("LCS a missing IDX", "[\"matches\" [] \"len\" 0]"),
    ("LCS a a IDX", "[\"matches\" [[[0 7] [0 7]]] \"len\" 8]"),
    ("MSET x 12345 y 13524", "+OK"),
    ("LCS x y IDX WITHMATCHLEN", "[\"matches\" [[[4 4] [2 2] 1] [[2 2] [1 1] 1] [[0 0] [0 0] 1]] \"len\" 3]"),
    ("MSET x AAAGTTTCA y GTACACTGA", "+OK"),
    ("LCS x y", "\"GTCA\""),
    ("HSET h f v", "1"),
    ("LCS h a", "-ERR The specified keys must contain string values"),
    ("LCS a h BAD", "-ERR The specified keys must contain string values"),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[SET_AND_GET, SET_OPTIONS, SMALL_ONES, GETEX, COUNTERS, FLOATS, PARTS]);
}

#[test]
fn common_subsequences_are_those_of_redis() {
    check_as_redis(&[LCS]);
}

#[test]
fn conditions_on_the_value() {
    const CONDITIONS: Script = &[
        ("SET a 1 IFEQ 1", "nil"),
        ("EXISTS a", "0"),
        ("SET a 1", "+OK"),
        ("SET a 2 IFEQ x", "nil"),
        ("SET a 2 IFEQ 1", "+OK"),
        ("SET a 3 IFEQ 9 GET", "\"2\""),
        ("SET a 3 IFEQ 2 GET EX 10", "\"2\""),
        ("TTL a", "10"),
        ("GET a", "\"3\""),
        ("SET a 3 IFEQ", SYNTAX),
        ("SET a 3 IFEQ 3 NX", SYNTAX),
        ("SET a 3 IFEQ 3 IFEQ 3", SYNTAX),
        ("SET a 3 XX IFEQ 3", SYNTAX),
        ("DELIFEQ a 4", "0"),
        ("DELIFEQ a 3", "1"),
        ("DELIFEQ a 3", "0"),
        ("HSET h f v", "1"),
        ("SET h 1 IFEQ 1", WRONG_TYPE),
        ("DELIFEQ h 1", WRONG_TYPE),
    ];
    check_scripts(&[CONDITIONS]);
}

#[test]
fn every_size_of_string_in_every_command() {
    let mut test = TestEngine::new();
    test.collect_effects();
    for len in [0, 1, 44, 45, 127, 128, 16_383, 16_384, 40_000] {
        let value = "v".repeat(len);
        test.run_words(&["SET", "a", &value]);
        assert_eq!(test.run("GET a"), value.as_str().into());
        assert_eq!(test.run("STRLEN a").as_i64(), Some(len as i64));
        test.run_words(&["SET", "b", &value]);
        test.run_words(&["APPEND", "b", &value]);
        assert_eq!(test.run("GET b"), value.repeat(2).as_str().into());
        test.run_words(&["SETRANGE", "b", "1", "X"]);
        assert_eq!(test.run("GETRANGE b 1 1"), "X".into(), "{len}");
        test.run_words(&["SETRANGE", "fresh", &len.to_string(), "X"]);
        assert_eq!(
            test.run("STRLEN fresh").as_i64(),
            Some(len.max(1) as i64 + 1).filter(|_| len > 0).or(Some(1))
        );
        test.run("DEL fresh");
        check_growth(&mut test, &value);
    }
    test.check_invariants();
    check_replay(&mut test);
}

/// From this value to each of the others by SET, with and without a time of expiry.
fn check_growth(test: &mut TestEngine, value: &str) {
    for other in ["", "7", "short", &"m".repeat(200), &"l".repeat(20_000)] {
        for options in [&["PX", "1000000"][..], &["KEEPTTL"], &[]] {
            test.run_words(&[&["SET", "g", value][..], options].concat());
            test.run_words(&[&["SET", "g", other][..], options].concat());
            assert_eq!(test.run("GET g"), other.into());
        }
    }
}

#[test]
fn large_values_are_replied_by_reference_and_unshared_by_edits() {
    let mut test = TestEngine::new();
    let value = "x".repeat(50_000);
    test.run_words(&["SET", "a", &value]);
    let before = test.run("GET a");
    test.run("APPEND a y");
    assert_eq!(before, value.as_str().into());
    assert_eq!(test.run("STRLEN a").as_i64(), Some(50_001));
}

#[test]
fn effects_and_events() {
    let at = |ms: i64| (START.0 + ms).to_string();
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("SET a 1", &["SET a 1"], &["set a"]),
        ("SET a 2 XX", &["SET a 2"], &["set a"]),
        ("SET a 2 NX", &[], &[]),
        ("SET a 3 EX 10", &[&format!("SET a 3 PXAT {}", at(10_000))], &["set a", "expire a"]),
        ("SET a 3 KEEPTTL GET", &["SET a 3 KEEPTTL"], &["set a"]),
        ("SETEX a 1 x", &[&format!("SET a x PXAT {}", at(1_000))], &["set a", "expire a"]),
        ("SET a 4 PXAT 5", &["DEL a"], &["expired a"]),
        ("SET a 4 PXAT 5", &[], &[]),
        ("SETNX a 5", &["SETNX a 5"], &["set a"]),
        ("GETSET a 6", &["SET a 6"], &["set a"]),
        ("GETEX a PX 7", &[&format!("PEXPIREAT a {}", at(7))], &["expire a"]),
        ("GETEX a PERSIST", &["PERSIST a"], &["persist a"]),
        ("GETEX a PERSIST", &[], &[]),
        ("GETEX a", &[], &[]),
        ("GETEX a EXAT 1", &["DEL a"], &["del a"]),
        ("APPEND a 1", &["APPEND a 1"], &["append a"]),
        ("INCRBY a 3", &["INCRBY a 3"], &["incrby a"]),
        ("DECR a", &["DECR a"], &["incrby a"]),
        ("INCRBYFLOAT a 0.5", &["SET a 3.5 KEEPTTL"], &["incrbyfloat a"]),
        ("SETRANGE a 0 4", &["SETRANGE a 0 4"], &["setrange a"]),
        ("SETRANGE a 0 ''", &[], &[]),
        ("GETDEL a", &["DEL a"], &["del a"]),
        ("GETDEL a", &[], &[]),
        ("MSET a 1 b 2", &["MSET a 1 b 2"], &["set a", "set b"]),
        ("MSETNX a 1 c 2", &[], &[]),
        ("DELIFEQ a 1", &["DEL a"], &["del a"]),
        ("GET b", &[], &[]),
    ];
    let mut test = TestEngine::new();
    test.collect_events("");
    test.collect_effects();
    for (line, effects, events) in cases {
        test.run(line);
        assert_eq!(test.take_effect_lines(), *effects, "effects of {line}");
        assert_eq!(test.take_events(), *events, "events of {line}");
    }
    assert_eq!(show(&test.run("SET new 1")), "+OK");
    test.collect_events("nm");
    test.run("SET newer 1");
    test.run("GET missing");
    assert_eq!(test.take_events(), ["set new", "new newer", "set newer", "keymiss missing"]);
}

#[test]
fn reads_leave_watchers_alone_and_changes_do_not() {
    let cases = [
        ("GET a", true),
        ("SET a 1 NX", true),
        ("SETRANGE a 0 ''", true),
        ("GETEX a", true),
        ("GETEX a PERSIST", true),
        ("GETEX a EX 10", false),
        ("APPEND a 1", false),
        ("MSETNX a 1 b 1", true),
        ("INCR b", true),
        ("SET a x GET", false),
    ];
    for (line, passes) in cases {
        let mut test = TestEngine::new();
        let other = test.connect();
        test.run("SET a 1");
        test.run("WATCH a");
        test.run_as(other, line);
        test.run("MULTI");
        test.run("PING");
        assert_eq!(!test.run("EXEC").is_null(), passes, "{line}");
    }
}

#[test]
fn lcs_is_a_map_in_resp3() {
    let mut test = TestEngine::new();
    test.set_protocol(0, Protocol::Resp3);
    test.run("MSET a abc b abd");
    assert_eq!(show(&test.run("LCS a b IDX")), "{\"matches\":[[[0 1] [0 1]]] \"len\":2}");
    assert_eq!(show(&test.run("MGET a c")), "[\"abc\" nil]");
}

#[test]
fn lcs_refuses_what_would_take_too_much_memory() {
    let mut test = TestEngine::with_config(|config| config.proto_max_bulk_len = 1 << 20);
    let long = "x".repeat(600);
    test.run_words(&["MSET", "a", &long, "b", &long]);
    let reply = show(&test.run("LCS a b LEN"));
    assert_eq!(reply, "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
}

/// A large value is not freed by whoever puts another in its place.
#[test]
fn a_large_value_that_is_overwritten_is_freed_elsewhere() {
    let mut test = TestEngine::new();
    let large = vec![b'x'; 16 << 20];
    for (value, freed) in [(&large[..], 0), (&large[1..], 1), (b"small", 2), (b"other", 2)] {
        assert_eq!(show(&test.run_words(&[b"SET", &b"key"[..], value])), "+OK");
        assert_eq!(test.engine.host.reclaim_counts().freed, freed);
    }
}
