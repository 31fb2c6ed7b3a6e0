//! The commands of lists, request by request, in both encodings; those that Redis 7.0 knows are compared with
//! it.

mod common;

use common::check_as_redis;
use engine::config::DebugAccess;
use engine::testing::checks::{Script, changes, check_replay, check_scripts, check_wait};
use engine::testing::{TestEngine, show};
use resp::decode::Value;
use resp::reply::Protocol;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive";
const BEYOND_RANGE: &str =
    "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
const SYNTAX: &str = "-ERR syntax error";

const ENDS: Script = &[
    ("RPUSH l a b c", "3"),
    ("LPUSH l d e", "5"),
    ("LRANGE l 0 -1", "[\"e\" \"d\" \"a\" \"b\" \"c\"]"),
    ("LLEN l", "5"),
    ("LLEN missing", "0"),
    ("LPUSHX l f", "6"),
    ("RPUSHX l g h", "8"),
    ("LPUSHX missing x", "0"),
    ("RPUSHX missing x y", "0"),
    ("EXISTS missing", "0"),
    ("LPOP l", "\"f\""),
    ("RPOP l", "\"h\""),
    ("LPOP l 2", "[\"e\" \"d\"]"),
    ("RPOP l 2", "[\"g\" \"c\"]"),
    ("LPOP l 0", "[]"),
    ("LPOP missing", "nil"),
    ("LPOP missing 0", "nil"),
    ("RPOP missing 5", "nil"),
    ("LPOP l -1", NOT_POSITIVE),
    ("LPOP l x", NOT_POSITIVE),
    ("LPOP l 9223372036854775808", NOT_POSITIVE),
    ("LPOP missing x", NOT_POSITIVE),
    ("LPOP l 1 1", "-ERR wrong number of arguments for 'lpop' command"),
    ("RPOP l 1 1", "-ERR wrong number of arguments for 'rpop' command"),
    ("RPOP l 100", "[\"b\" \"a\"]"),
    ("EXISTS l", "0"),
    ("RPUSH l 1 -1 01 9223372036854775807 \"\"", "5"),
    ("LRANGE l 0 -1", "[\"1\" \"-1\" \"01\" \"9223372036854775807\" \"\"]"),
    ("TYPE l", "+list"),
    ("DEL l", "1"),
    ("SET s 1", "+OK"),
    ("LPUSH s a", WRONG_TYPE),
    ("RPUSHX s a", WRONG_TYPE),
    ("LPOP s", WRONG_TYPE),
    ("RPOP s 0", WRONG_TYPE),
    ("LPOP s x", NOT_POSITIVE),
    ("LLEN s", WRONG_TYPE),
];

const INDEXES: Script = &[
    ("RPUSH l a b c d e", "5"),
    ("LINDEX l 0", "\"a\""),
    ("LINDEX l -1", "\"e\""),
    ("LINDEX l -5", "\"a\""),
    ("LINDEX l -6", "nil"),
    ("LINDEX l 5", "nil"),
    ("LINDEX l 9223372036854775807", "nil"),
    ("LINDEX l -9223372036854775808", "nil"),
    ("LINDEX missing 0", "nil"),
    ("LINDEX missing x", "nil"),
    ("LINDEX l x", NOT_INTEGER),
    ("LRANGE l 1 2", "[\"b\" \"c\"]"),
    ("LRANGE l -2 -1", "[\"d\" \"e\"]"),
    ("LRANGE l -100 1", "[\"a\" \"b\"]"),
    ("LRANGE l 3 100", "[\"d\" \"e\"]"),
    ("LRANGE l 3 2", "[]"),
    ("LRANGE l 5 10", "[]"),
    ("LRANGE l 0 -100", "[]"),
    ("LRANGE l -9223372036854775808 9223372036854775807", "[\"a\" \"b\" \"c\" \"d\" \"e\"]"),
    ("LRANGE missing 0 -1", "[]"),
    ("LRANGE missing x 1", NOT_INTEGER),
    ("LRANGE l 0 x", NOT_INTEGER),
    ("LSET l 1 B", "+OK"),
    ("LSET l -1 5", "+OK"),
    ("LSET l 5 x", "-ERR index out of range"),
    ("LSET l -6 x", "-ERR index out of range"),
    ("LSET l x y", NOT_INTEGER),
    ("LSET missing x y", "-ERR no such key"),
    ("LINSERT l BEFORE B 1", "6"),
    ("LINSERT l after B 2", "7"),
    ("LINSERT l AFTER 5 end", "8"),
    ("LINSERT l BEFORE a start", "9"),
    ("LINSERT l BEFORE none x", "-1"),
    ("LINSERT missing BEFORE a x", "0"),
    ("LINSERT l around a x", SYNTAX),
    ("LINSERT missing around a x", SYNTAX),
    ("LRANGE l 0 -1", "[\"start\" \"a\" \"1\" \"B\" \"2\" \"c\" \"d\" \"5\" \"end\"]"),
    ("LTRIM l 1 -2", "+OK"),
    ("LTRIM l 0 -1", "+OK"),
    ("LTRIM l -100 100", "+OK"),
    // Whoever watches the list sees a change, although nothing is removed.
    ("WATCH l", "+OK"),
    ("LTRIM l 0 -1", "+OK"),
    ("MULTI", "+OK"),
    ("EXEC", "nil"),
    ("LRANGE l 0 -1", "[\"a\" \"1\" \"B\" \"2\" \"c\" \"d\" \"5\"]"),
    ("LTRIM l x 1", NOT_INTEGER),
    ("LTRIM missing 0 x", NOT_INTEGER),
    ("LTRIM missing 0 1", "+OK"),
    ("LTRIM l 2 1", "+OK"),
    ("EXISTS l", "0"),
    ("SET s 1", "+OK"),
    ("LINDEX s 0", WRONG_TYPE),
    ("LINDEX s x", WRONG_TYPE),
    ("LRANGE s 0 1", WRONG_TYPE),
    ("LSET s 0 x", WRONG_TYPE),
    ("LINSERT s BEFORE a b", WRONG_TYPE),
    ("LTRIM s 0 1", WRONG_TYPE),
];

const SEARCHES: Script = &[
    ("RPUSH l a b c 1 2 3 c c", "8"),
    ("LPOS l a", "0"),
    ("LPOS l c", "2"),
    ("LPOS l c RANK 2", "6"),
    ("LPOS l c RANK 4", "nil"),
    ("LPOS l c RANK -1", "7"),
    ("LPOS l c RANK -2", "6"),
    ("LPOS l c RANK -4", "nil"),
    ("LPOS l c COUNT 0", "[2 6 7]"),
    ("LPOS l c COUNT 2", "[2 6]"),
    ("LPOS l c COUNT 0 RANK 2", "[6 7]"),
    ("LPOS l c COUNT 2 RANK -1", "[7 6]"),
    ("LPOS l c COUNT 0 MAXLEN 3", "[2]"),
    ("LPOS l c COUNT 0 MAXLEN 3 RANK -1", "[7 6]"),
    ("LPOS l c COUNT 0 MAXLEN 7 RANK 2", "[6]"),
    ("LPOS l c MAXLEN 2", "nil"),
    ("LPOS l c maxlen 0 rank 3", "7"),
    ("LPOS l none COUNT 5", "[]"),
    ("LPOS l 1", "3"),
    ("LPOS l 01", "nil"),
    ("LPOS missing a", "nil"),
    ("LPOS missing a COUNT 1", "[]"),
    (
        "LPOS l c RANK 0",
        "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative \
         to start from the end of the list",
    ),
    ("LPOS l c RANK x", NOT_INTEGER),
    ("LPOS l c COUNT -1", "-ERR COUNT can't be negative"),
    ("LPOS l c COUNT x", "-ERR COUNT can't be negative"),
    ("LPOS l c MAXLEN -1", "-ERR MAXLEN can't be negative"),
    ("LPOS l c MAXLEN", SYNTAX),
    ("LPOS l c RANK 1 COUNT", SYNTAX),
    ("LPOS l c BAD 1", SYNTAX),
    ("LPOS missing c BAD 1", SYNTAX),
    ("LREM l 1 c", "1"),
    ("LREM l -1 c", "1"),
    ("LREM l 0 none", "0"),
    ("LREM missing 0 none", "0"),
    ("LREM l x c", NOT_INTEGER),
    ("LREM missing x c", NOT_INTEGER),
    ("LRANGE l 0 -1", "[\"a\" \"b\" \"1\" \"2\" \"3\" \"c\"]"),
    ("RPUSH l 1 1 a 1", "10"),
    ("LREM l -3 1", "3"),
    ("LRANGE l 0 -1", "[\"a\" \"b\" \"1\" \"2\" \"3\" \"c\" \"a\"]"),
    ("LREM l 2 a", "2"),
    ("LREM l 0 1", "1"),
    ("LTRIM l 0 0", "+OK"),
    ("LREM l 0 b", "1"),
    ("EXISTS l", "0"),
    ("SET s 1", "+OK"),
    ("LPOS s a", WRONG_TYPE),
    ("LREM s 0 a", WRONG_TYPE),
];

const MOVES: Script = &[
    ("RPUSH l a b c d", "4"),
    ("LMOVE l m LEFT RIGHT", "\"a\""),
    ("LMOVE l m RIGHT LEFT", "\"d\""),
    ("LMOVE l m left left", "\"b\""),
    ("LRANGE m 0 -1", "[\"b\" \"d\" \"a\"]"),
    ("RPOPLPUSH l m", "\"c\""),
    ("EXISTS l", "0"),
    ("LMOVE l m LEFT LEFT", "nil"),
    ("RPOPLPUSH l m", "nil"),
    ("LRANGE m 0 -1", "[\"c\" \"b\" \"d\" \"a\"]"),
    ("LMOVE m m LEFT RIGHT", "\"c\""),
    ("LMOVE m m LEFT LEFT", "\"b\""),
    ("RPOPLPUSH m m", "\"c\""),
    ("LRANGE m 0 -1", "[\"c\" \"b\" \"d\" \"a\"]"),
    ("RPUSH one x", "1"),
    ("LMOVE one one RIGHT RIGHT", "\"x\""),
    ("RPOPLPUSH one one", "\"x\""),
    ("LMOVE one one LEFT x", SYNTAX),
    ("LMOVE one one up RIGHT", SYNTAX),
    ("LMOVE missing one up RIGHT", SYNTAX),
    ("SET s 1", "+OK"),
    ("LMOVE s one LEFT LEFT", WRONG_TYPE),
    ("LMOVE one s LEFT LEFT", WRONG_TYPE),
    ("LMOVE missing s LEFT LEFT", "nil"),
    ("RPOPLPUSH s one", WRONG_TYPE),
    ("RPOPLPUSH one s", WRONG_TYPE),
    ("LRANGE one 0 -1", "[\"x\"]"),
];

const POPS: Script = &[
    ("RPUSH a 1 2 3", "3"),
    ("RPUSH b 4 5", "2"),
    ("LMPOP 2 a b LEFT", "[\"a\" [\"1\"]]"),
    ("LMPOP 2 none a RIGHT COUNT 10", "[\"a\" [\"3\" \"2\"]]"),
    ("EXISTS a", "0"),
    ("LMPOP 2 a b right count 1", "[\"b\" [\"5\"]]"),
    ("LMPOP 1 b LEFT", "[\"b\" [\"4\"]]"),
    ("LMPOP 2 a b LEFT", "nil"),
    ("LMPOP 0 a LEFT", "-ERR numkeys should be greater than 0"),
    ("LMPOP x a LEFT", "-ERR numkeys should be greater than 0"),
    ("LMPOP -1 a LEFT", "-ERR numkeys should be greater than 0"),
    ("LMPOP 2 a LEFT", SYNTAX),
    ("LMPOP 9223372036854775807 a LEFT", SYNTAX),
    ("LMPOP 1 a UP", SYNTAX),
    ("LMPOP 1 a LEFT COUNT", SYNTAX),
    ("LMPOP 1 a LEFT COUNT 0", "-ERR count should be greater than 0"),
    ("LMPOP 1 a LEFT COUNT x y", "-ERR count should be greater than 0"),
    ("LMPOP 1 a LEFT COUNT 1 COUNT 1", SYNTAX),
    ("LMPOP 1 a LEFT BAD 1", SYNTAX),
    ("SET s 1", "+OK"),
    ("RPUSH c 1", "1"),
    ("LMPOP 2 s c LEFT", WRONG_TYPE),
    ("LMPOP 2 c s LEFT", "[\"c\" [\"1\"]]"),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[ENDS, INDEXES, SEARCHES, MOVES, POPS]);
}

const MANY_MOVES: Script = &[
    ("RPUSH l 1 2 3 4", "4"),
    ("RPUSH m 5 6", "2"),
    ("LMOVEM l m LEFT LEFT COUNT 2 OBO", "[\"2\" \"1\"]"),
    ("LRANGE m 0 -1", "[\"2\" \"1\" \"5\" \"6\"]"),
    ("LMOVEM m l LEFT LEFT COUNT 2 bulk", "[\"2\" \"1\"]"),
    ("LRANGE l 0 -1", "[\"2\" \"1\" \"3\" \"4\"]"),
    ("LMOVEM l m RIGHT RIGHT COUNT 2 OBO", "[\"4\" \"3\"]"),
    ("LMOVEM m l RIGHT RIGHT EXACTLY 2 BULK", "[\"4\" \"3\"]"),
    ("LRANGE l 0 -1", "[\"2\" \"1\" \"4\" \"3\"]"),
    ("LMOVEM l m LEFT RIGHT COUNT 2 OBO", "[\"2\" \"1\"]"),
    ("LMOVEM m l RIGHT LEFT COUNT 2 OBO", "[\"2\" \"1\"]"),
    ("LMOVEM l m LEFT RIGHT COUNT 2 BULK", "[\"2\" \"1\"]"),
    ("LMOVEM m l RIGHT LEFT COUNT 2 BULK", "[\"2\" \"1\"]"),
    ("LRANGE l 0 -1", "[\"2\" \"1\" \"4\" \"3\"]"),
    ("LMOVEM l m LEFT LEFT", "[\"2\"]"),
    ("LMOVEM l m LEFT LEFT EXACTLY 4 OBO", "nil"),
    ("LMOVEM l m LEFT LEFT COUNT 4 OBO", "[\"3\" \"4\" \"1\"]"),
    ("EXISTS l", "0"),
    ("LMOVEM l m LEFT LEFT COUNT 4 OBO", "[]"),
    ("LMOVEM l m LEFT LEFT", "[]"),
    ("LMOVEM l m LEFT LEFT EXACTLY 1 OBO", "nil"),
    ("LRANGE m 0 -1", "[\"3\" \"4\" \"1\" \"2\" \"5\" \"6\"]"),
    ("LMOVEM m m LEFT LEFT EXACTLY 3 OBO", "[\"1\" \"4\" \"3\"]"),
    ("LMOVEM m m LEFT LEFT EXACTLY 3 BULK", "[\"1\" \"4\" \"3\"]"),
    ("LMOVEM m m LEFT RIGHT COUNT 100 OBO", "[\"1\" \"4\" \"3\" \"2\" \"5\" \"6\"]"),
    ("LMOVEM m l LEFT LEFT COUNT 2", SYNTAX),
    ("LMOVEM m l LEFT LEFT COUNT 2 OBO x", SYNTAX),
    ("LMOVEM m l LEFT LEFT COUNT 2 x", SYNTAX),
    ("LMOVEM m l LEFT LEFT x 2 OBO", SYNTAX),
    ("LMOVEM m l LEFT x COUNT 2 OBO", SYNTAX),
    ("LMOVEM m l LEFT LEFT COUNT 0 OBO", "-ERR count should be greater than 0"),
    ("SET s 1", "+OK"),
    ("LMOVEM s m LEFT LEFT", WRONG_TYPE),
    ("LMOVEM m s LEFT LEFT", WRONG_TYPE),
];

#[test]
fn several_elements_are_moved_at_once() {
    check_scripts(&[MANY_MOVES]);
}

/// Redis 7.0 negates it and goes on with what that gives.
#[test]
fn the_lowest_number_has_no_opposite() {
    check_scripts(&[&[
        ("LREM l -9223372036854775808 c", BEYOND_RANGE),
        ("LPOS l c RANK -9223372036854775808", BEYOND_RANGE),
    ]]);
}

/// The replies are the same when each element has a node, and when inner nodes are compressed.
#[test]
fn replies_do_not_depend_on_the_encoding() {
    for settings in [("1", "0"), ("2", "1"), ("-1", "1")] {
        for script in [ENDS, INDEXES, SEARCHES, MOVES, POPS, MANY_MOVES] {
            let mut test = TestEngine::new();
            test.collect_effects();
            test.run(&format!("CONFIG SET list-max-listpack-size {}", settings.0));
            test.run(&format!("CONFIG SET list-compress-depth {}", settings.1));
            engine::testing::check_script(&mut test, script);
            test.check_invariants();
            check_replay(&mut test);
        }
    }
}

#[test]
fn absent_lists_are_null_in_resp3_too() {
    let mut test = TestEngine::new();
    test.set_protocol(0, Protocol::Resp3);
    for line in ["LPOP l", "LPOP l 1", "LINDEX l 0", "LMPOP 1 l LEFT", "LPOS l a", "LMOVE l m LEFT LEFT"] {
        assert_eq!(test.run(line), Value::Null, "{line}");
    }
    let mut test = TestEngine::new();
    for (line, expected) in [
        ("LPOP l", Value::Bulk(None)),
        ("LPOP l 1", Value::Array(None)),
        ("LMPOP 1 l LEFT", Value::Array(None)),
        ("LMOVE l m LEFT LEFT", Value::Bulk(None)),
    ] {
        assert_eq!(test.run(line), expected, "{line}");
    }
}

fn encoding(test: &mut TestEngine, key: &str) -> String {
    show(&test.run(&format!("OBJECT ENCODING {key}")))
}

#[test]
fn a_list_changes_its_encoding_as_in_redis_7_2() {
    let check = |size: &str, element_len: usize, most: usize, least: usize| {
        let mut test = TestEngine::new();
        test.run(&format!("CONFIG SET list-max-listpack-size {size}"));
        let element = "x".repeat(element_len);
        for _ in 0..most {
            test.run(&format!("RPUSH l {element}"));
        }
        assert_eq!(encoding(&mut test, "l"), "\"listpack\"", "{size}: {most}");
        test.run(&format!("RPUSH l {element}"));
        assert_eq!(encoding(&mut test, "l"), "\"quicklist\"", "{size}: {most} and one");
        for count in (least + 1..=most).rev() {
            test.run("LPOP l");
            assert_eq!(encoding(&mut test, "l"), "\"quicklist\"", "{size}: {count}");
        }
        test.run("RPOP l");
        assert_eq!(encoding(&mut test, "l"), "\"listpack\"", "{size}: {least}");
        test.check_invariants();
    };
    // An element of 16 bytes takes 18; a growing list counts the 16 only.
    check("-2", 16, 454, 227);
    check("-1", 16, 227, 113);
    check("5", 16, 5, 2);
    check("2", 16, 2, 1);
    check("3", 3000, 2, 1);
}

#[test]
fn what_makes_a_list_leave_the_listpack() {
    let check = |command: &str, expected: &str| {
        let mut test = TestEngine::new();
        test.run("CONFIG SET list-max-listpack-size 4");
        test.run("RPUSH l a b c d");
        assert_eq!(encoding(&mut test, "l"), "\"listpack\"");
        assert!(!test.run(command).is_error(), "{command}");
        assert_eq!(encoding(&mut test, "l"), expected, "{command}");
        test.run("RPUSH l2 1 2 3 4");
        assert_eq!(encoding(&mut test, "l2"), "\"listpack\"");
    };
    check("LPUSH l x", "\"quicklist\"");
    check("RPUSHX l x", "\"quicklist\"");
    check("LINSERT l BEFORE a x", "\"quicklist\"");
    check("LSET l 0 x", "\"quicklist\"");
    check("LMOVE l l LEFT RIGHT", "\"listpack\"");
    check("LREM l 1 a", "\"listpack\"");
}

#[test]
fn long_elements_come_back() {
    let mut test = TestEngine::new();
    let long = [vec![b'a'; 50_000], vec![b'b'; 9000], vec![b'c'; 20]];
    test.run_words(&[b"RPUSH".as_slice(), b"l", &long[0], &long[1], &long[2]]);
    for (index, element) in long.iter().enumerate() {
        assert_eq!(test.run(&format!("LINDEX l {index}")).as_bytes(), Some(element.as_slice()));
    }
    test.run_words(&[b"LSET".as_slice(), b"l", b"2", &long[0]]);
    assert_eq!(show(&test.run_words(&[b"LPOS".as_slice(), b"l", &long[0], b"COUNT", b"0"])), "[0 2]");
    assert_eq!(test.run("RPOP l").as_bytes(), Some(long[0].as_slice()));
    test.check_invariants();
}

#[test]
fn events() {
    let check = |lines: &[&str], expected: &[&str]| {
        let mut test = TestEngine::new();
        test.run("RPUSH l a b c");
        test.run("RPUSH one x");
        test.collect_events("");
        lines.iter().for_each(|line| drop(test.run(line)));
        assert_eq!(test.take_events(), expected, "{lines:?}");
    };
    check(&["LPUSH l x y"], &["lpush l"]);
    check(&["RPUSH new x"], &["rpush new"]);
    check(&["LPUSHX l x", "RPUSHX l x", "LPUSHX none x"], &["lpush l", "rpush l"]);
    check(&["LPOP l", "RPOP l 1", "LPOP l 0", "LPOP none"], &["lpop l", "rpop l"]);
    check(&["RPOP l 3"], &["rpop l", "del l"]);
    check(&["LMPOP 2 none l RIGHT COUNT 9"], &["rpop l", "del l"]);
    check(&["LINSERT l BEFORE a x", "LINSERT l BEFORE none x"], &["linsert l"]);
    check(&["LSET l 0 x"], &["lset l"]);
    check(&["LREM l 0 a", "LREM l 0 none", "LREM one 0 x"], &["lrem l", "lrem one", "del one"]);
    check(&["LTRIM l 0 -1", "LTRIM l 0 0", "LTRIM l 1 0"], &["ltrim l", "ltrim l", "ltrim l", "del l"]);
    check(&["LMOVE l one RIGHT LEFT"], &["lpush one", "rpop l"]);
    check(&["RPOPLPUSH one l"], &["lpush l", "rpop one", "del one"]);
    check(&["LMOVE one one LEFT LEFT"], &["lpush one", "lpop one"]);
    check(&["LMOVEM l one LEFT RIGHT COUNT 9 BULK"], &["rpush one", "lpop l", "del l"]);
}

#[test]
fn effects() {
    let check = |line: &str, expected: &[&str]| {
        let mut test = TestEngine::new();
        test.collect_effects();
        test.run("RPUSH l a b c");
        test.take_effects();
        test.run(line);
        assert_eq!(test.take_effect_lines(), expected, "{line}");
    };
    check("LPOP l 2", &["LPOP l 2"]);
    check("LPOP l 0", &[]);
    check("LMPOP 2 none l RIGHT COUNT 9", &["RPOP l 3"]);
    check("LMPOP 1 none LEFT", &[]);
    check("LTRIM l 0 -1", &[]);
    check("LREM l 0 none", &[]);
    check("LINSERT l BEFORE none x", &[]);
    check("RPOPLPUSH l m", &["RPOPLPUSH l m"]);
}

const WAITS: Script = &[
    ("RPUSH l a b c d e", "5"),
    ("BLPOP none l 0", "[\"l\" \"a\"]"),
    ("BRPOP l none 0.5", "[\"l\" \"e\"]"),
    ("BLMPOP 0 2 none l LEFT COUNT 2", "[\"l\" [\"b\" \"c\"]]"),
    ("BLMOVE l m LEFT RIGHT 0", "\"d\""),
    ("BRPOPLPUSH m l 0", "\"d\""),
    ("BLPOP l x", "-ERR timeout is not a float or out of range"),
    ("BLPOP l -1", "-ERR timeout is negative"),
    ("BLMOVE l m LEFT up 0", SYNTAX),
    ("BLMOVE l m LEFT LEFT x", "-ERR timeout is not a float or out of range"),
    ("BRPOPLPUSH l m -1", "-ERR timeout is negative"),
    ("BLMPOP 0 0 l LEFT", "-ERR numkeys should be greater than 0"),
    ("BLMPOP x 1 l LEFT", "-ERR timeout is not a float or out of range"),
    ("BLMPOP x 1 l UP", SYNTAX),
    ("SET s 1", "+OK"),
    ("BLPOP s l 0", WRONG_TYPE),
    ("BLPOP none s 0", WRONG_TYPE),
    ("BLMOVE s l LEFT LEFT 0", WRONG_TYPE),
    ("BLMOVE l s LEFT LEFT 0", WRONG_TYPE),
    ("LRANGE l 0 -1", "[\"d\"]"),
    ("MULTI", "+OK"),
    ("BLPOP none 0", "+QUEUED"),
    ("BLMOVE none l LEFT LEFT 0", "+QUEUED"),
    ("BRPOPLPUSH none l 0", "+QUEUED"),
    ("BLMPOP 0 1 none LEFT", "+QUEUED"),
    ("EXEC", "[nil nil nil nil]"),
];

#[test]
fn what_is_there_is_not_waited_for() {
    check_as_redis(&[WAITS]);
    check_scripts(&[&[
        ("RPUSH l a b c d e", "5"),
        ("BLMOVEM l m LEFT LEFT 0", "[\"a\"]"),
        ("BLMOVEM l m LEFT LEFT 0 EXACTLY 2 BULK", "[\"b\" \"c\"]"),
        ("BLMOVEM l m LEFT LEFT 0 COUNT 9 OBO", "[\"e\" \"d\"]"),
        ("BLMOVEM l m LEFT LEFT x", "-ERR timeout is not a float or out of range"),
        ("BLMOVEM l m LEFT LEFT 0 COUNT 9", SYNTAX),
        ("MULTI", "+OK"),
        ("BLMOVEM m l LEFT LEFT 0 EXACTLY 9 BULK", "+QUEUED"),
        ("EXEC", "[nil]"),
    ]]);
}

#[test]
fn who_waits_is_served() {
    check_wait("BLPOP a b 0", &["RPUSH b 1 2"], "[\"b\" \"1\"]", &["RPUSH b 1 2", "LPOP b"]);
    check_wait("BRPOP a b 0", &["SET b x", "RPUSH a 1 2"], "[\"a\" \"2\"]", &["RPOP a"]);
    check_wait("BLPOP a 0", &["RPUSH c 1", "RENAME c a"], "[\"a\" \"1\"]", &["LPOP a"]);
    check_wait("BLPOP a 0", &["RPUSH c 1", "COPY c a"], "[\"a\" \"1\"]", &["LPOP a"]);
    check_wait("BLPOP a 0", &["SELECT 1", "RPUSH a 1", "MOVE a 0"], "[\"a\" \"1\"]", &["LPOP a"]);
    check_wait("BLPOP a 0", &["SELECT 1", "RPUSH a 1", "SWAPDB 0 1"], "[\"a\" \"1\"]", &["LPOP a"]);
    let transaction = &["MULTI", "RPUSH a 1", "DEL a", "RPUSH a 2", "EXEC"];
    check_wait("BLPOP a 0", transaction, "[\"a\" \"2\"]", &["LPOP a"]);
    check_wait("BLPOP a 0", &["RPUSH c 2 1", "SORT c STORE a"], "[\"a\" \"1\"]", &["LPOP a"]);
    check_wait("BLPOP a 0", &["RPUSH c 1", "LMOVE c a LEFT LEFT"], "[\"a\" \"1\"]", &["LPOP a"]);
    check_wait("BLMPOP 0 2 a b RIGHT COUNT 5", &["RPUSH b 1 2"], "[\"b\" [\"2\" \"1\"]]", &["RPOP b 2"]);
    check_wait("BLMOVE a b LEFT RIGHT 0", &["RPUSH b x", "RPUSH a 1 2"], "\"1\"", &["LMOVE a b LEFT RIGHT"]);
    check_wait("BRPOPLPUSH a b 0", &["RPUSH a 1 2"], "\"2\"", &["RPOPLPUSH a b"]);
    check_wait("BRPOPLPUSH a a 0", &["RPUSH a 1 2"], "\"2\"", &["RPOPLPUSH a a"]);
    let moved = &["LMOVEM a b LEFT RIGHT EXACTLY 2 OBO"];
    check_wait("BLMOVEM a b LEFT RIGHT 0 EXACTLY 2 OBO", &["RPUSH a 1", "RPUSH a 2"], "[\"1\" \"2\"]", moved);
    check_wait("BLMOVEM a b LEFT LEFT 0", &["RPUSH a 1 2"], "[\"1\"]", &["LMOVEM a b LEFT LEFT"]);
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    check_wait("BLMOVE a b LEFT LEFT 0", &["SET b x", "RPUSH a 1"], wrong_type, &[]);
    check_wait("BLMOVE a b LEFT LEFT 0", &["SET a x", "RPUSH b 1", "DEL a", "RPUSH a 2"], "\"2\"", &[]);
}

#[test]
fn each_element_serves_one_in_the_order_of_arrival() {
    let mut test = TestEngine::new();
    let waiting: Vec<usize> = (0..3).map(|_| test.connect()).collect();
    for &session in &waiting {
        test.run_raw(session, &["BLPOP", "l", "0"]);
    }
    assert_eq!(show(&test.run("RPUSH l a b")), "2");
    let served: Vec<_> = test.take_served().iter().map(|(who, reply)| (*who, show(reply))).collect();
    assert_eq!(served, [(waiting[0], "[\"l\" \"a\"]".to_owned()), (waiting[1], "[\"l\" \"b\"]".to_owned())]);
    assert_eq!(show(&test.run("EXISTS l")), "0");
    test.run("RPUSH l c");
    assert_eq!(test.take_served().len(), 1);
    test.check_invariants();
}

#[test]
fn changes_are_counted() {
    let check = |line: &str, expected: u64| {
        let mut test = TestEngine::new();
        test.run("RPUSH l a b c a");
        let before = changes(&mut test);
        test.run(line);
        assert_eq!(changes(&mut test) - before, expected, "{line}");
    };
    check("LPUSH l x y z", 3);
    check("LPOP l 3", 3);
    check("LMPOP 1 l LEFT COUNT 2", 2);
    check("LREM l 0 a", 2);
    check("LTRIM l 1 1", 3);
    check("LMOVE l m LEFT LEFT", 1);
    check("LSET l 0 x", 1);
    check("LINSERT l AFTER a x", 1);
}

#[test]
fn copies_and_dumps() {
    for element_len in [5, 3000, 30_000] {
        let mut test = TestEngine::new();
        for index in 0..20 {
            let element = format!("{index}").repeat(element_len);
            test.run_words(&[b"RPUSH".as_slice(), b"l", element.as_bytes()]);
        }
        let expected = test.run("LRANGE l 0 -1");
        test.run("COPY l copy");
        let payload = test.run("DUMP l");
        let payload = payload.as_bytes().expect("a payload").to_vec();
        test.run_words(&[b"RESTORE".as_slice(), b"restored", b"0", &payload]);
        test.run("RPUSH l more");
        assert_eq!(test.run("LRANGE copy 0 -1"), expected);
        assert_eq!(test.run("LRANGE restored 0 -1"), expected);
        let encoding_of_copy = encoding(&mut test, "copy");
        assert_eq!(encoding(&mut test, "restored"), encoding_of_copy);
        test.check_invariants();
    }
}

#[test]
fn plain_nodes_by_order_of_debug() {
    let mut test = TestEngine::with_config(|config| config.enable_debug_command = DebugAccess::Yes);
    test.run("CONFIG SET list-max-listpack-size 1");
    engine::testing::check_script(
        &mut test,
        &[
            ("DEBUG QUICKLIST-PACKED-THRESHOLD 5b", "+OK"),
            ("RPUSH l aa bb cc dd ee", "5"),
            ("LSET l 2 a_long_element", "+OK"),
            ("LINSERT l AFTER a_long_element another_long_one", "6"),
            ("LRANGE l 0 -1", "[\"aa\" \"bb\" \"a_long_element\" \"another_long_one\" \"dd\" \"ee\"]"),
            (
                "DEBUG QUICKLIST-PACKED-THRESHOLD 4gb",
                "-ERR argument must be a memory value bigger than 1 and smaller than 4gb",
            ),
            ("DEBUG QUICKLIST-PACKED-THRESHOLD 0", "+OK"),
        ],
    );
    test.check_invariants();
}
