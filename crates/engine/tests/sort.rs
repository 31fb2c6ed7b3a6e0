//! SORT and SORT_RO, request by request, compared with Redis.

mod common;

use common::check_as_redis;
use engine::testing::TestEngine;
use engine::testing::checks::{Script, check_replay};

const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NO_SCORE: &str = "-ERR One or more scores can't be converted into double";

const VALUES: Script = &[
    ("RPUSH l 3 20 1.5 -4 1e2", "5"),
    ("SORT l", "[\"-4\" \"1.5\" \"3\" \"20\" \"1e2\"]"),
    ("SORT l DESC", "[\"1e2\" \"20\" \"3\" \"1.5\" \"-4\"]"),
    ("SORT l DESC ASC", "[\"-4\" \"1.5\" \"3\" \"20\" \"1e2\"]"),
    ("SORT l ALPHA", "[\"-4\" \"1.5\" \"1e2\" \"20\" \"3\"]"),
    ("sort l alpha desc", "[\"3\" \"20\" \"1e2\" \"1.5\" \"-4\"]"),
    ("SORT l LIMIT 1 2", "[\"1.5\" \"3\"]"),
    ("SORT l LIMIT 0 0", "[]"),
    ("SORT l LIMIT -5 2", "[\"-4\" \"1.5\"]"),
    ("SORT l LIMIT 3 -1", "[\"20\" \"1e2\"]"),
    ("SORT l LIMIT 3 100", "[\"20\" \"1e2\"]"),
    ("SORT l LIMIT 5 1", "[]"),
    ("SORT l LIMIT 100 1", "[]"),
    ("SORT l LIMIT 9223372036854775807 9223372036854775807", "[]"),
    ("SORT l BY nosort", "[\"3\" \"20\" \"1.5\" \"-4\" \"1e2\"]"),
    ("SORT l BY nosort DESC", "[\"1e2\" \"-4\" \"1.5\" \"20\" \"3\"]"),
    ("SORT l BY nosort DESC LIMIT 1 2", "[\"-4\" \"1.5\"]"),
    ("SORT l BY nosort LIMIT 1 2", "[\"20\" \"1.5\"]"),
    ("SORT l BY nosort LIMIT 4 10", "[\"1e2\"]"),
    ("SORT l GET # GET # LIMIT 0 1", "[\"-4\" \"-4\"]"),
    ("SORT l GET nothing LIMIT 0 2", "[nil nil]"),
    ("SORT missing", "[]"),
    ("SORT missing BY w_* GET v_*", "[]"),
    ("RPUSH words b a \"\" c", "4"),
    ("SORT words", NO_SCORE),
    ("SORT words ALPHA", "[\"\" \"a\" \"b\" \"c\"]"),
    ("RPUSH odd \"\" \" 5\" 0x10 +3 inf -inf", "6"),
    ("SORT odd", "[\"-inf\" \"\" \"+3\" \" 5\" \"0x10\" \"inf\"]"),
    ("RPUSH cut \"7\\x00a\" \"\\x00b\" \"\\x0b\\t3\"", "3"),
    ("SORT cut", "[\"\\x00b\" \"\\x0b\\t3\" \"7\\x00a\"]"),
    ("RPUSH blank \" \"", "1"),
    ("SORT blank", NO_SCORE),
    ("RPUSH bad \"5 \"", "1"),
    ("SORT bad", NO_SCORE),
    ("RPUSH equal 1.0 1 01 1e0", "4"),
    ("SORT equal", "[\"01\" \"1\" \"1.0\" \"1e0\"]"),
    ("SORT equal DESC", "[\"1e0\" \"1.0\" \"1\" \"01\"]"),
    ("SORT l LIMIT 0", SYNTAX),
    ("SORT l LIMIT x 1", NOT_INTEGER),
    ("SORT l LIMIT 1 x", NOT_INTEGER),
    ("SORT l BY", SYNTAX),
    ("SORT l GET", SYNTAX),
    ("SORT l STORE", SYNTAX),
    ("SORT l BAD", SYNTAX),
    ("SORT missing BAD", SYNTAX),
    ("SORT_RO l", "[\"-4\" \"1.5\" \"3\" \"20\" \"1e2\"]"),
    ("SORT_RO l STORE m", SYNTAX),
    ("SET s 1", "+OK"),
    ("SORT s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("SORT s BAD", SYNTAX),
];

const OTHER_KEYS: Script = &[
    ("RPUSH l a b c d", "4"),
    ("MSET w_a 3 w_b 1 w_d 2 v_a A v_b 22 v_c C", "+OK"),
    ("SORT l BY w_*", "[\"c\" \"b\" \"d\" \"a\"]"),
    ("SORT l BY w_* DESC", "[\"a\" \"d\" \"b\" \"c\"]"),
    ("SORT l BY w_* LIMIT 1 2", "[\"b\" \"d\"]"),
    ("SORT l BY w_* GET v_*", "[\"C\" \"22\" nil \"A\"]"),
    ("SORT l BY w_* GET # GET v_*", "[\"c\" \"C\" \"b\" \"22\" \"d\" nil \"a\" \"A\"]"),
    ("SORT_RO l BY w_* GET # GET v_*", "[\"c\" \"C\" \"b\" \"22\" \"d\" nil \"a\" \"A\"]"),
    ("SORT l BY nosort GET v_*", "[\"A\" \"22\" \"C\" nil]"),
    ("SORT l BY v_* ALPHA", "[\"d\" \"b\" \"a\" \"c\"]"),
    ("SORT l BY v_* ALPHA DESC", "[\"c\" \"a\" \"b\" \"d\"]"),
    ("SORT l BY v_*", NO_SCORE),
    ("HSET h_a n 1 m x", "2"),
    ("HSET h_b n 5", "1"),
    ("HSET h_c n 3", "1"),
    ("SORT l BY h_*->n", "[\"d\" \"a\" \"c\" \"b\"]"),
    ("SORT l BY h_*->n GET h_*->m GET h_*->n", "[nil nil \"x\" \"1\" nil \"3\" nil \"5\"]"),
    ("SORT l BY h_*->none ALPHA", "[\"a\" \"b\" \"c\" \"d\"]"),
    ("SORT l BY nosort GET h_*", "[nil nil nil nil]"),
    ("SORT l BY nosort GET w_*->n", "[nil nil nil nil]"),
    ("SET x_a->  arrow", "+OK"),
    ("SORT l BY nosort GET x_*->", "[\"arrow\" nil nil nil]"),
    ("SET ->a_y 7", "+OK"),
    ("SORT l BY nosort GET ->*_y LIMIT 0 1", "[\"7\"]"),
    ("SET a*b stars", "+OK"),
    ("RPUSH one a", "1"),
    ("SORT one BY nosort GET **b", "[\"stars\"]"),
];

const STORED: Script = &[
    ("RPUSH l 3 1 2", "3"),
    ("SORT l STORE m", "3"),
    ("LRANGE m 0 -1", "[\"1\" \"2\" \"3\"]"),
    ("SET v_1 one", "+OK"),
    ("SORT l GET # GET v_* STORE m", "6"),
    ("LRANGE m 0 -1", "[\"1\" \"one\" \"2\" \"\" \"3\" \"\"]"),
    ("SORT l LIMIT 1 1 STORE l", "1"),
    ("LRANGE l 0 -1", "[\"2\"]"),
    ("SORT missing STORE m", "0"),
    ("EXISTS m", "0"),
    ("SORT missing STORE m", "0"),
    ("SET s 1 EX 100", "+OK"),
    ("SORT l STORE s", "1"),
    ("TTL s", "-1"),
    ("TYPE s", "+list"),
    ("SORT l STORE s STORE t", "1"),
    ("EXISTS t", "1"),
    ("SORT l STORE get STORE t", "1"),
    ("EXISTS get t", "1"),
    ("SORT l LIMIT 5 5 STORE t", "0"),
    ("EXISTS t", "0"),
    ("RPUSH bad x", "1"),
    ("SORT bad STORE s", NO_SCORE),
    ("TYPE s", "+list"),
    ("HSET h_2 f v", "1"),
    ("SORT l GET h_*->f STORE m", "1"),
    ("LRANGE m 0 -1", "[\"v\"]"),
    ("COMMAND GETKEYS SORT abc BY store STORE def", "[\"abc\" \"def\"]"),
    ("COMMAND GETKEYS SORT abc STORE def STORE ghi", "[\"abc\" \"ghi\"]"),
    ("COMMAND GETKEYS SORT abc LIMIT x 1 FOO STORE def ALPHA", "[\"abc\" \"def\"]"),
    ("COMMAND GETKEYS SORT abc FOO STORE", "[\"abc\"]"),
    ("COMMAND GETKEYSANDFLAGS SORT abc STORE def", "[[\"abc\" [+RO +access]] [\"def\" [+OW +update]]]"),
    ("COMMAND GETKEYS SORT_RO abc", "[\"abc\"]"),
];

const SORTED_SETS: Script = &[
    ("ZADD z 1 30 2 4 3 100 3 2 4 5", "5"),
    ("SORT z", "[\"2\" \"4\" \"5\" \"30\" \"100\"]"),
    ("SORT z ALPHA DESC", "[\"5\" \"4\" \"30\" \"2\" \"100\"]"),
    ("SORT z BY nosort", "[\"30\" \"4\" \"100\" \"2\" \"5\"]"),
    ("SORT z BY nosort ASC", "[\"30\" \"4\" \"100\" \"2\" \"5\"]"),
    ("SORT z BY nosort DESC", "[\"5\" \"2\" \"100\" \"4\" \"30\"]"),
    ("SORT z BY nosort LIMIT 1 2", "[\"4\" \"100\"]"),
    ("SORT z BY nosort DESC LIMIT 1 2", "[\"2\" \"100\"]"),
    ("SORT z BY nosort LIMIT 4 9", "[\"5\"]"),
    ("SORT z BY nosort LIMIT 9 9", "[]"),
    ("SORT z BY nosort DESC STORE l", "5"),
    ("LRANGE l 0 -1", "[\"5\" \"2\" \"100\" \"4\" \"30\"]"),
    ("MSET w_30 1 w_4 3 w_2 2", "+OK"),
    ("SORT z BY w_* DESC LIMIT 0 3 GET # GET w_*", "[\"4\" \"3\" \"2\" \"2\" \"30\" \"1\"]"),
    ("SORT_RO z BY nosort LIMIT 0 1", "[\"30\"]"),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[VALUES, OTHER_KEYS, STORED, SORTED_SETS]);
}

#[test]
fn the_list_stored_has_its_best_form() {
    let mut test = TestEngine::new();
    test.collect_effects();
    for number in 0..3000 {
        test.run(&format!("RPUSH l {}", (number * 7919) % 3000));
    }
    test.run("SORT l STORE m");
    test.run("SORT l LIMIT 0 100 STORE n");
    let encoding = |test: &mut TestEngine, key| test.run(&format!("OBJECT ENCODING {key}")).as_text();
    assert_eq!(encoding(&mut test, "m").as_deref(), Some("quicklist"));
    assert_eq!(encoding(&mut test, "n").as_deref(), Some("listpack"));
    assert_eq!(test.run("LINDEX m 1234").as_text().as_deref(), Some("1234"));
    check_replay(&mut test);
}

#[test]
fn events() {
    let mut test = TestEngine::new();
    test.run("RPUSH l 3 1 2");
    test.collect_events("");
    test.run("SORT l");
    test.run("SORT l STORE m");
    test.run("SORT none STORE m");
    test.run("SORT none STORE m");
    assert_eq!(test.take_events(), ["sortstore m", "del m"]);
}

/// What a field of a hash holds can depend on the time.
#[test]
fn effects() {
    let check = |line: &str, expected: &[&str]| {
        let mut test = TestEngine::new();
        test.collect_effects();
        test.run("RPUSH l 3 1 2");
        test.run("HSET h_1 f x");
        test.take_effects();
        test.run(line);
        assert_eq!(test.take_effect_lines(), expected, "{line}");
    };
    check("SORT l", &[]);
    check("SORT l GET v_* STORE m", &["SORT l GET v_* STORE m"]);
    check("SORT l GET h_*->f GET # STORE m", &["MULTI", "DEL m", "RPUSH m x 1  2  3", "EXEC"]);
    check("SORT none GET h_*->f STORE l", &["DEL l"]);
    check("SORT none STORE none", &[]);
}
