//! The commands of hashes, request by request, in both encodings; those that Redis 7.0 knows are compared
//! with it.

mod common;

use std::collections::BTreeSet;

use common::check_as_redis;
use engine::testing::checks::{Script, check_draws, check_replay, check_scripts, scan_all};
use engine::testing::{START, TestEngine, show};
use resp::reply::Protocol;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_FLOAT: &str = "-ERR value is not a valid float";
const SYNTAX: &str = "-ERR syntax error";
const WRONG_COUNT: &str = "-ERR numfields should be greater than 0 and match the provided number of fields";

const FIELDS: Script = &[
    ("HSET h a 1 b 2", "2"),
    ("HSET h a 3 c 4", "1"),
    ("HGET h a", "\"3\""),
    ("HGET h missing", "nil"),
    ("HGET missing a", "nil"),
    ("HGETALL h", "[\"a\" \"3\" \"b\" \"2\" \"c\" \"4\"]"),
    ("HKEYS h", "[\"a\" \"b\" \"c\"]"),
    ("HVALS h", "[\"3\" \"2\" \"4\"]"),
    ("HGETALL missing", "[]"),
    ("HKEYS missing", "[]"),
    ("HLEN h", "3"),
    ("HLEN missing", "0"),
    ("HEXISTS h a", "1"),
    ("HEXISTS h x", "0"),
    ("HEXISTS missing x", "0"),
    ("HSTRLEN h a", "1"),
    ("HSTRLEN h x", "0"),
    ("HSTRLEN missing x", "0"),
    ("HMGET h a x b", "[\"3\" nil \"2\"]"),
    ("HMGET missing a x", "[nil nil]"),
    ("HMSET h a 5 d hello", "+OK"),
    ("HMSET h a", "-ERR wrong number of arguments for 'hmset' command"),
    ("HMSET h a 1 b", "-ERR wrong number of arguments for 'hmset' command"),
    ("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command"),
    ("HSTRLEN h d", "5"),
    ("HSETNX h d x", "0"),
    ("HSETNX h e x", "1"),
    ("HSETNX new e x", "1"),
    ("HDEL h x", "0"),
    ("HDEL h a a x b", "2"),
    ("HDEL missing a", "0"),
    ("HDEL h c d e", "3"),
    ("EXISTS h", "0"),
    ("OBJECT ENCODING new", "\"listpack\""),
    ("HSET h \"\" \"\"", "1"),
    ("HGET h \"\"", "\"\""),
    ("HSET h 12 -128", "1"),
    ("HGETALL h", "[\"\" \"\" \"12\" \"-128\"]"),
    ("HSTRLEN h 12", "4"),
    ("HGET h 012", "nil"),
    ("SET s 1", "+OK"),
    ("HSET s a 1", WRONG_TYPE),
    ("HSETNX s a 1", WRONG_TYPE),
    ("HGET s a", WRONG_TYPE),
    ("HMGET s a", WRONG_TYPE),
    ("HGETALL s", WRONG_TYPE),
    ("HKEYS s", WRONG_TYPE),
    ("HVALS s", WRONG_TYPE),
    ("HLEN s", WRONG_TYPE),
    ("HSTRLEN s a", WRONG_TYPE),
    ("HEXISTS s a", WRONG_TYPE),
    ("HDEL s a", WRONG_TYPE),
    ("HINCRBY s a 1", WRONG_TYPE),
    ("HINCRBYFLOAT s a 1", WRONG_TYPE),
    ("HRANDFIELD s", WRONG_TYPE),
    ("HRANDFIELD s 1", WRONG_TYPE),
    ("HSCAN s 0", WRONG_TYPE),
];

const NUMBERS: Script = &[
    ("HINCRBY h a 5", "5"),
    ("HINCRBY h a -7", "-2"),
    ("HINCRBY h a x", NOT_INTEGER),
    ("HSET h t text", "1"),
    ("HINCRBY h t 1", "-ERR hash value is not an integer"),
    ("HSET h big 9223372036854775807", "1"),
    ("HINCRBY h big 1", "-ERR increment or decrement would overflow"),
    ("HINCRBY missing a x", NOT_INTEGER),
    ("EXISTS missing", "0"),
    ("HINCRBYFLOAT h f 1.5", "\"1.5\""),
    ("HINCRBYFLOAT h f 1.25", "\"2.75\""),
    ("HINCRBYFLOAT h a 0.1", "\"-1.9\""),
    ("HINCRBYFLOAT h f x", NOT_FLOAT),
    ("HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity"),
    ("HINCRBYFLOAT h t 1", "-ERR hash value is not a float"),
    ("HINCRBYFLOAT h big 1", "\"9223372036854775808\""),
    ("HGET h f", "\"2.75\""),
];

const RANDOM: Script = &[
    ("HRANDFIELD missing", "nil"),
    ("HRANDFIELD missing 3", "[]"),
    ("HRANDFIELD missing 3 WITHVALUES", "[]"),
    ("HSET h a 1", "1"),
    ("HRANDFIELD h", "\"a\""),
    ("HRANDFIELD h 0", "[]"),
    ("HRANDFIELD h 5", "[\"a\"]"),
    ("HRANDFIELD h 5 WITHVALUES", "[\"a\" \"1\"]"),
    ("HRANDFIELD h -3", "[\"a\" \"a\" \"a\"]"),
    ("HRANDFIELD h -2 WITHVALUES", "[\"a\" \"1\" \"a\" \"1\"]"),
    ("HRANDFIELD h x", NOT_INTEGER),
    ("HRANDFIELD h 1 BAD", SYNTAX),
    ("HRANDFIELD h 1 WITHVALUES x", SYNTAX),
    ("HRANDFIELD h -9223372036854775808", OUT_OF_RANGE),
    ("HRANDFIELD h -9223372036854775807 WITHVALUES", "-ERR value is out of range"),
    ("HRANDFIELD h 9223372036854775807 WITHVALUES", "-ERR value is out of range"),
];
const OUT_OF_RANGE: &str =
    "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";

const SCANS: Script = &[
    ("HSCAN missing 0", "[\"0\" []]"),
    ("HSET h a 1 b 2 ab 3", "3"),
    ("HSCAN h 0", "[\"0\" [\"a\" \"1\" \"b\" \"2\" \"ab\" \"3\"]]"),
    ("HSCAN h 0 MATCH a*", "[\"0\" [\"a\" \"1\" \"ab\" \"3\"]]"),
    ("HSCAN h 0 MATCH * COUNT 1", "[\"0\" [\"a\" \"1\" \"b\" \"2\" \"ab\" \"3\"]]"),
    ("HSCAN h 0 COUNT 0", SYNTAX),
    ("HSCAN h 0 COUNT x", NOT_INTEGER),
    ("HSCAN h 0 COUNT", SYNTAX),
    ("HSCAN h 0 TYPE hash", SYNTAX),
    ("HSCAN h x", "-ERR invalid cursor"),
    ("HSCAN missing x", "-ERR invalid cursor"),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[FIELDS, NUMBERS, RANDOM, SCANS]);
}

/// The replies that do not depend on the order of fields are the same in a table.
#[test]
fn replies_are_the_same_in_a_table() {
    let ordered =
        |line: &str| line.starts_with("HGETALL") || line.starts_with("HKEYS") || line.starts_with("HVALS");
    for script in [FIELDS, NUMBERS, RANDOM] {
        let mut test = TestEngine::with_config(|config| config.thresholds.hash_entries = 0);
        for (line, expected) in
            script.iter().filter(|(line, _)| !line.starts_with("OBJECT") && !ordered(line))
        {
            assert_eq!(show(&test.run(line)), *expected, "the reply to: {line}");
        }
        test.check_invariants();
    }
}

#[test]
fn no_values_and_maps() {
    let mut test = TestEngine::new();
    test.run("HSET h a 1 b 2");
    assert_eq!(show(&test.run("HSCAN h 0 NOVALUES")), "[\"0\" [\"a\" \"b\"]]");
    assert_eq!(show(&test.run("HSCAN h 0 NOVALUES MATCH b")), "[\"0\" [\"b\"]]");
    test.set_protocol(0, Protocol::Resp3);
    assert_eq!(show(&test.run("HGETALL h")), "{\"a\":\"1\" \"b\":\"2\"}");
    assert_eq!(show(&test.run("HGETALL missing")), "{}");
    assert_eq!(show(&test.run("HKEYS h")), "[\"a\" \"b\"]");
    assert_eq!(show(&test.run("HDEL h b")), "1");
    assert_eq!(show(&test.run("HRANDFIELD h -2 WITHVALUES")), "[[\"a\" \"1\"] [\"a\" \"1\"]]");
    assert_eq!(show(&test.run("HRANDFIELD h 2 WITHVALUES")), "[[\"a\" \"1\"]]");
}

/// A hash leaves its pack by number of fields, by a long field and by a long value, and keeps all.
#[test]
fn conversions_keep_everything() {
    let long = "l".repeat(64);
    let cases: [(usize, &str, &str, &str); 5] = [
        (512, "f", "v", "listpack"),
        (513, "f", "v", "hashtable"),
        (3, "f", &format!("{long}l"), "hashtable"),
        (3, &long, "v", "hashtable"),
        (3, "f", &long, "listpack"),
    ];
    for (count, field, value, encoding) in cases {
        let mut test = TestEngine::new();
        test.collect_effects();
        for index in 0..count {
            test.run_words(&["HSET", "h", &format!("{field}{index}"), value]);
        }
        assert_eq!(test.run("OBJECT ENCODING h"), encoding.into(), "{count} of {field} and {value}");
        assert_eq!(test.run("HLEN h").as_i64(), Some(count as i64));
        for index in 0..count {
            assert_eq!(test.run_words(&["HGET", "h", &format!("{field}{index}")]), value.into());
        }
        test.check_invariants();
        check_replay(&mut test);
    }
}

/// A table of 5,000 fields: scans return each, draws are distinct and complete.
#[test]
fn scans_and_draws_of_a_large_hash() {
    let mut test = TestEngine::new();
    let names: BTreeSet<String> = (0..5_000).map(|index| format!("field{index}")).collect();
    for name in &names {
        test.run_words(&["HSET", "h", name, "v"]);
    }
    assert_eq!(scan_all(&mut test, "HSCAN", "h", &["NOVALUES"]), names);
    check_draws(&mut test, "HRANDFIELD", "h", &names);
}

#[test]
fn a_client_cannot_ask_for_more_than_there_is_memory() {
    let mut test = TestEngine::with_config(|config| config.proto_max_bulk_len = 1 << 20);
    test.run("HSET h a 1");
    assert_eq!(show(&test.run("HRANDFIELD h -4000000000000000000")), "-ERR value is out of range");
}

const TIMES: Script = &[
    ("HEXPIRE missing 10 FIELDS 2 a b", "[-2 -2]"),
    ("HSET h a 1 b 2 c 3", "3"),
    ("HTTL h FIELDS 2 a x", "[-1 -2]"),
    ("HEXPIRE h 10 FIELDS 2 a x", "[1 -2]"),
    ("HTTL h FIELDS 3 a b x", "[10 -1 -2]"),
    ("HPTTL h FIELDS 1 a", "[10000]"),
    ("HEXPIRETIME h FIELDS 1 a", "[1700000010]"),
    ("HPEXPIRETIME h FIELDS 1 a", "[1700000010000]"),
    ("HTTL missing FIELDS 1 a", "[-2]"),
    ("HEXPIRE h 20 NX FIELDS 2 a b", "[0 1]"),
    ("HEXPIRE h 30 XX FIELDS 2 a c", "[1 0]"),
    ("HEXPIRE h 10 GT FIELDS 3 a b c", "[0 0 0]"),
    ("HEXPIRE h 40 GT FIELDS 3 a b c", "[1 1 0]"),
    ("HEXPIRE h 50 LT FIELDS 3 a b c", "[0 0 1]"),
    ("HPEXPIRE h 1234 LT FIELDS 1 a", "[1]"),
    ("HPTTL h FIELDS 1 a", "[1234]"),
    ("HTTL h FIELDS 1 a", "[1]"),
    ("HEXPIREAT h 1800000000 FIELDS 1 a", "[1]"),
    ("HPEXPIREAT h 1800000000123 FIELDS 1 b", "[1]"),
    ("HPEXPIRETIME h FIELDS 2 a b", "[1800000000000 1800000000123]"),
    ("HPERSIST h FIELDS 3 a c x", "[1 1 -2]"),
    ("HPERSIST h FIELDS 1 a", "[-1]"),
    ("HPERSIST missing FIELDS 1 a", "[-2]"),
    ("HEXPIRE h 0 FIELDS 2 c x", "[2 -2]"),
    ("HEXISTS h c", "0"),
    ("HEXPIREAT h 1 FIELDS 1 b", "[2]"),
    ("HPEXPIREAT h 1 FIELDS 1 a", "[2]"),
    ("EXISTS h", "0"),
    ("HSET h a 1", "1"),
    ("HEXPIRE h 10 FIELDS 1 a", "[1]"),
    ("HSET h a 2", "0"),
    ("HTTL h FIELDS 1 a", "[-1]"),
    ("HEXPIRE h 10 FIELDS 1 a", "[1]"),
    ("HINCRBY h a 1", "3"),
    ("HINCRBYFLOAT h a 0.5", "\"3.5\""),
    ("HTTL h FIELDS 1 a", "[10]"),
];

const TIME_ERRORS: Script = &[
    ("HSET h a 1 b 2", "2"),
    ("SET s 1", "+OK"),
    ("HEXPIRE s 10 FIELDS 1 a", WRONG_TYPE),
    ("HTTL s FIELDS 1 a", WRONG_TYPE),
    ("HPERSIST s FIELDS 1 a", WRONG_TYPE),
    ("HGETEX s FIELDS 1 a", WRONG_TYPE),
    ("HGETDEL s FIELDS 1 a", WRONG_TYPE),
    ("HSETEX s FIELDS 1 a 1", WRONG_TYPE),
    ("HEXPIRE h 10 FIELDS 2 a", WRONG_COUNT),
    ("HEXPIRE h 10 FIELDS 0 a", WRONG_COUNT),
    ("HEXPIRE h 10 FIELDS -1 a", WRONG_COUNT),
    ("HEXPIRE h 10 FIELDS x a", NOT_INTEGER),
    ("HEXPIRE h 10 OTHER 1 a", WRONG_COUNT),
    ("HEXPIRE h 10 BAD FIELDS 1 a", "-ERR Unsupported option BAD"),
    ("HEXPIRE h 10 NX XX FIELDS 1 a", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
    ("HEXPIRE h 10 GT LT FIELDS 1 a", "-ERR GT and LT options at the same time are not compatible"),
    ("HEXPIRE h x FIELDS 1 a", NOT_INTEGER),
    ("HEXPIRE h -1 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
    ("HEXPIRE h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
    ("HPEXPIRE h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hpexpire' command"),
    ("HTTL h OTHER 1 a", SYNTAX),
    ("HTTL h FIELDS 2 a", SYNTAX),
    ("HTTL h FIELDS x a", NOT_INTEGER),
    ("HPERSIST h OTHER 1 a", SYNTAX),
    ("HPERSIST h FIELDS 2 a", WRONG_COUNT),
    ("HGETEX h EX 10 PERSIST FIELDS 1 a", SYNTAX),
    ("HGETEX h KEEPTTL FIELDS 1 a", SYNTAX),
    ("HGETEX h EX FIELDS 1 a", SYNTAX),
    ("HGETEX h EX -1 FIELDS 1 a", "-ERR invalid expire time in 'hgetex' command"),
    ("HGETEX h FIELDS 2 a", WRONG_COUNT),
    ("HGETDEL h FIELDS 2 a", WRONG_COUNT),
    ("HGETDEL h OTHER 1 a", SYNTAX),
    ("HSETEX h FIELDS 2 a 1", WRONG_COUNT),
    ("HSETEX h FIELDS 1 a 1 b", WRONG_COUNT),
    ("HSETEX h NX XX FIELDS 1 a 1", SYNTAX),
    ("HSETEX h FNX FXX FIELDS 1 a 1", SYNTAX),
    ("HSETEX h EX 1 KEEPTTL FIELDS 1 a 1", SYNTAX),
    ("HSETEX h PERSIST FIELDS 1 a 1", SYNTAX),
    ("HSETEX h PX x FIELDS 1 a 1", NOT_INTEGER),
    ("HGETALL h", "[\"a\" \"1\" \"b\" \"2\"]"),
];

const TOGETHER: Script = &[
    ("HGETDEL missing FIELDS 2 a b", "[nil nil]"),
    ("HSET h a 1 b 2 c 3", "3"),
    ("HGETDEL h FIELDS 3 a x a", "[\"1\" nil nil]"),
    ("HLEN h", "2"),
    ("HGETDEL h FIELDS 2 b c", "[\"2\" \"3\"]"),
    ("EXISTS h", "0"),
    ("HGETEX missing EX 10 FIELDS 1 a", "[nil]"),
    ("HSET h a 1 b 2", "2"),
    ("HGETEX h FIELDS 2 a x", "[\"1\" nil]"),
    ("HGETEX h EX 10 FIELDS 2 a x", "[\"1\" nil]"),
    ("HTTL h FIELDS 2 a b", "[10 -1]"),
    ("HGETEX h PERSIST FIELDS 2 a b", "[\"1\" \"2\"]"),
    ("HTTL h FIELDS 2 a b", "[-1 -1]"),
    ("HGETEX h PXAT 1 FIELDS 1 a", "[\"1\"]"),
    ("HKEYS h", "[\"b\"]"),
    ("HGETEX h EX 0 FIELDS 1 b", "[\"2\"]"),
    ("EXISTS h", "0"),
    ("HSETEX h XX FIELDS 1 a 1", "0"),
    ("HSETEX h NX EX 10 FIELDS 2 a 1 b 2", "1"),
    ("HSETEX h NX FIELDS 1 a 1", "0"),
    ("HTTL h FIELDS 2 a b", "[10 10]"),
    ("HSETEX h FNX FIELDS 2 a 9 c 9", "0"),
    ("HSETEX h FXX FIELDS 2 a 9 c 9", "0"),
    ("HSETEX h FXX KEEPTTL FIELDS 1 a 9", "1"),
    ("HTTL h FIELDS 1 a", "[10]"),
    ("HSETEX h FNX FIELDS 1 c 3", "1"),
    ("HTTL h FIELDS 3 a b c", "[10 10 -1]"),
    ("HSETEX h FIELDS 1 a 8", "1"),
    ("HTTL h FIELDS 1 a", "[-1]"),
    ("HMGET h a b c", "[\"8\" \"2\" \"3\"]"),
    ("HSETEX h PXAT 1 FIELDS 2 a 1 x 1", "1"),
    ("HLEN h", "2"),
    ("HSETEX new PXAT 1 FIELDS 1 a 1", "1"),
    ("EXISTS new", "0"),
    ("HSETEX other FXX FIELDS 1 a 1", "0"),
    ("EXISTS other", "0"),
];

#[test]
fn times_of_fields() {
    check_scripts(&[TIMES, TIME_ERRORS, TOGETHER]);
}

/// A field whose time has passed is not there for any command, before and after it is removed.
#[test]
fn expired_fields_are_not_there() {
    let cases = [
        ("HGET h gone", "nil"),
        ("HMGET h gone stays", "[nil \"2\"]"),
        ("HGETALL h", "[\"stays\" \"2\"]"),
        ("HKEYS h", "[\"stays\"]"),
        ("HVALS h", "[\"2\"]"),
        ("HEXISTS h gone", "0"),
        ("HSTRLEN h gone", "0"),
        ("HSCAN h 0", "[\"0\" [\"stays\" \"2\"]]"),
        ("HRANDFIELD h 5", "[\"stays\"]"),
        ("HRANDFIELD h -2", "[\"stays\" \"stays\"]"),
        ("HDEL h gone", "0"),
        ("HSET h gone 3", "1"),
        ("HSETNX h gone 3", "1"),
        ("HINCRBY h gone 3", "3"),
        ("HINCRBYFLOAT h gone 3", "\"3\""),
        ("HTTL h FIELDS 1 gone", "[-2]"),
        ("HEXPIRE h 5 FIELDS 1 gone", "[-2]"),
        ("HPERSIST h FIELDS 1 gone", "[-2]"),
        ("HGETEX h PERSIST FIELDS 1 gone", "[nil]"),
        ("HGETDEL h FIELDS 2 gone stays", "[nil \"2\"]"),
        ("HSETEX h FNX FIELDS 1 gone 3", "1"),
        ("HSETEX h FXX FIELDS 1 gone 3", "0"),
        ("HSETEX h KEEPTTL FIELDS 1 gone 3", "1"),
    ];
    for (line, expected) in cases {
        for removed in [false, true] {
            let mut test = with_expired_field();
            if removed {
                test.expire_cycle();
                assert_eq!(test.take_effect_lines(), ["HDEL h gone"]);
                assert_eq!(test.run("HLEN h").as_i64(), Some(1));
            }
            assert_eq!(show(&test.run(line)), expected, "{line}, removed: {removed}");
            test.check_invariants();
        }
        let mut test = with_expired_field();
        test.run(line);
        assert!(show(&test.run("HTTL h FIELDS 1 gone")).starts_with("[-"), "a new field has no time: {line}");
        test.expire_cycle();
        let mut effects = history();
        effects.extend(test.take_effects());
        assert_eq!(test.replay(&effects).digest(), test.digest(), "{line}");
    }
}

/// A hash with a field that stays and one whose time has passed; its history's effects are not collected any
/// more.
fn with_expired_field() -> TestEngine {
    let mut test = TestEngine::new();
    test.collect_effects();
    test.run("HSET h gone 1 stays 2");
    test.run("HPEXPIRE h 10 FIELDS 1 gone");
    test.advance_ms(10);
    test.take_effects();
    test
}

/// The effects that `with_expired_field` threw away.
fn history() -> Vec<u8> {
    let mut test = TestEngine::new();
    test.collect_effects();
    test.run("HSET h gone 1 stays 2");
    test.run("HPEXPIRE h 10 FIELDS 1 gone");
    test.take_effects()
}

#[test]
fn a_hash_goes_with_its_last_field() {
    let mut test = TestEngine::new();
    test.collect_events("");
    test.collect_effects();
    test.run("HSETEX h PX 10 FIELDS 2 a 1 b 2");
    test.advance_ms(10);
    assert_eq!(show(&test.run("HGETALL h")), "[]");
    test.take_events();
    test.expire_cycle();
    assert_eq!(show(&test.run("EXISTS h")), "0");
    assert_eq!(test.take_events(), ["hexpired h", "del h"]);
    check_replay(&mut test);
}

/// Many fields with times: a few cycles remove what is due, no more, and the key's next time is known.
#[test]
fn the_active_cycle_removes_what_is_due() {
    let mut test = TestEngine::new();
    test.collect_effects();
    for index in 0..1_000 {
        let (field, ms) = (format!("f{index}"), (index * 10 + 10).to_string());
        test.run_words(&["HSETEX", "h", "PX", &ms, "FIELDS", "1", &field, "v"]);
    }
    test.run("HSET h stays 1");
    for step in 1..=10 {
        test.advance_ms(1_000);
        (0..20).for_each(|_| test.expire_cycle());
        assert_eq!(test.run("HLEN h").as_i64(), Some(1_001 - step * 100), "{step}");
        test.check_invariants();
    }
    check_replay(&mut test);
}

#[test]
fn keys_with_a_time_of_their_own_are_counted_apart() {
    let mut test = TestEngine::new();
    let expires = |test: &TestEngine| {
        let mut guard = test.engine.store.lock(&store::Plan::All);
        guard.shards().map(|(_, shard)| shard.db(store::DbIndex(0)).expires_count()).sum::<usize>()
    };
    let steps = [
        ("HSETEX h EX 10 FIELDS 1 a 1", 0),
        ("EXPIRE h 100", 1),
        ("PERSIST h", 0),
        ("SET s 1 EX 10", 1),
        ("RENAME h g", 1),
        ("EXPIRE g 100", 2),
        ("HPERSIST g FIELDS 1 a", 2),
        ("HEXPIRE g 10 FIELDS 1 a", 2),
        ("PERSIST g", 1),
        ("SET g 1", 1),
        ("DEL s", 0),
        ("HSETEX h EX 10 FIELDS 1 a 1", 0),
        ("DEL h", 0),
    ];
    for (line, expected) in steps {
        assert!(!test.run(line).is_error(), "{line}");
        assert_eq!(expires(&test), expected, "{line}");
        test.check_invariants();
    }
}

#[test]
fn effects_and_events() {
    let at = |ms: i64| (START.0 + ms).to_string();
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("HSET h a 1 b 2", &["HSET h a 1 b 2"], &["hset h"]),
        ("HSETNX h a 1", &[], &[]),
        ("HSETNX h c 3", &["HSETNX h c 3"], &["hset h"]),
        ("HINCRBY h a 1", &["HINCRBY h a 1"], &["hincrby h"]),
        ("HINCRBYFLOAT h a 0.5", &["HSET h a 2.5"], &["hincrbyfloat h"]),
        ("HDEL h x", &[], &[]),
        ("HDEL h c x", &["HDEL h c"], &["hdel h"]),
        ("HEXPIRE h 10 FIELDS 2 a x", &[&format!("HPEXPIREAT h {} FIELDS 1 a", at(10_000))], &["hexpire h"]),
        ("HEXPIRE h 10 NX FIELDS 1 a", &[], &[]),
        ("HINCRBYFLOAT h a 1", &["HSETEX h KEEPTTL FIELDS 1 a 3.5"], &["hincrbyfloat h"]),
        ("HPERSIST h FIELDS 2 a b", &["HPERSIST h FIELDS 1 a"], &["hpersist h"]),
        ("HGETEX h FIELDS 1 a", &[], &[]),
        ("HGETEX h PX 5 FIELDS 2 a x", &[&format!("HPEXPIREAT h {} FIELDS 1 a", at(5))], &["hexpire h"]),
        ("HGETEX h PERSIST FIELDS 1 a", &["HPERSIST h FIELDS 1 a"], &["hpersist h"]),
        (
            "HSETEX h EX 1 FIELDS 1 c 1",
            &[&format!("HSETEX h PXAT {} FIELDS 1 c 1", at(1_000))],
            &["hset h", "hexpire h"],
        ),
        ("HSETEX h FXX KEEPTTL FIELDS 1 c 2", &["HSETEX h KEEPTTL FIELDS 1 c 2"], &["hset h"]),
        ("HSETEX h FIELDS 1 c 3", &["HSET h c 3"], &["hset h"]),
        ("HSETEX h PXAT 1 FIELDS 2 c 3 x 1", &["HDEL h c"], &["hset h", "hexpire h", "hexpired h"]),
        ("HEXPIRE h 0 FIELDS 1 b", &["HDEL h b"], &["hexpired h"]),
        ("HGETDEL h FIELDS 2 a x", &["HDEL h a"], &["hdel h", "del h"]),
        ("HGETDEL h FIELDS 1 a", &[], &[]),
        ("HSET h a 1", &["HSET h a 1"], &["hset h"]),
        ("HDEL h a", &["HDEL h a"], &["hdel h", "del h"]),
    ];
    let mut test = TestEngine::new();
    test.collect_events("");
    test.collect_effects();
    for (line, effects, events) in cases {
        test.run(line);
        assert_eq!(test.take_effect_lines(), *effects, "effects of {line}");
        assert_eq!(test.take_events(), *events, "events of {line}");
    }
}

#[test]
fn overwriting_an_expired_field_expires_it() {
    let at = START.0 + 10;
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("HSET h gone 3", &["HSET h gone 3"], &["hexpired h", "hset h"]),
        ("HSETNX h gone 3", &["HSET h gone 3"], &["hexpired h", "hset h"]),
        ("HINCRBY h gone 3", &["HSET h gone 3"], &["hexpired h", "hincrby h"]),
        ("HINCRBYFLOAT h gone 3", &["HSET h gone 3"], &["hexpired h", "hincrbyfloat h"]),
        (
            "HSETEX h KEEPTTL FIELDS 2 gone 3 stays 4",
            &["MULTI", "HSET h gone 3", "HSETEX h KEEPTTL FIELDS 2 gone 3 stays 4", "EXEC"],
            &["hexpired h", "hset h"],
        ),
        ("HDEL h gone stays", &["HDEL h stays"], &["hdel h"]),
    ];
    for (line, effects, events) in cases {
        let mut test = with_expired_field();
        test.collect_events("");
        test.run(line);
        assert_eq!(test.take_effect_lines(), *effects, "effects of {line}, gone since {at}");
        assert_eq!(test.take_events(), *events, "events of {line}");
    }
}

/// However many fields are due, one cycle with time enough removes them all, and says so.
#[test]
fn a_cycle_removes_all_fields_that_are_due() {
    let mut test = TestEngine::new();
    for first in (0..10_000).step_by(500) {
        let fields: String = (first..first + 500).map(|number| format!(" f{number}")).collect();
        let pairs: String = (first..first + 500).map(|number| format!(" f{number} v")).collect();
        for key in ["one", "two"] {
            test.run(&format!("HSET {key}{pairs}"));
            test.run(&format!("HPEXPIRE {key} 100 FIELDS 500{fields}"));
        }
    }
    test.run("HSET two stays v");
    test.advance_ms(200);
    test.expire_cycle();
    assert_eq!(show(&test.run("HLEN two")), "1");
    assert_eq!(show(&test.run("DBSIZE")), "1");
    test.check_invariants();
}
