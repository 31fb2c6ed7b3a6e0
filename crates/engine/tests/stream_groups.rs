//! Groups that read streams, request by request; what Redis 7.0 knows is compared with it.

mod common;

use common::check_as_redis;
use engine::testing::checks::{Script, check_replay, check_scripts};
use engine::testing::{TestEngine, show};

const SYNTAX: &str = "-ERR syntax error";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NO_STREAM: &str = "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you \
    may want \
                         to use the MKSTREAM option to create an empty stream automatically.";

const GROUPS: Script = &[
    ("XGROUP CREATE x g 0", NO_STREAM),
    ("XGROUP CREATE x g a MKSTREAM", "-ERR Invalid stream ID specified as stream command argument"),
    ("XGROUP CREATE x g $ MKSTREAM", "+OK"),
    ("XGROUP CREATE x g $", "-BUSYGROUP Consumer Group name already exists"),
    ("XLEN x", "0"),
    ("XADD x 1-1 f v", "\"1-1\""),
    ("XADD x 2-1 f v", "\"2-1\""),
    ("XADD x 3-1 f v", "\"3-1\""),
    ("XGROUP CREATE x h 1-1", "+OK"),
    ("XGROUP CREATE x i $", "+OK"),
    ("XGROUP CREATE x j $ ENTRIESREAD 7", "+OK"),
    ("XGROUP CREATE x k 0 ENTRIESREAD -1", "+OK"),
    ("XGROUP CREATE x l 0 ENTRIESREAD -2", "-ERR value for ENTRIESREAD must be positive or -1"),
    ("XGROUP CREATE x l 0 ENTRIESREAD a", "-ERR value is not an integer or out of range"),
    (
        "XGROUP CREATE x l 0 ENTRIESREAD",
        "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
    ),
    (
        "XGROUP CREATE x l 0 FOO",
        "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
    ),
    ("XGROUP CREATE x l 0 MKSTREAM MKSTREAM", "+OK"),
    (
        "XGROUP CREATE x l 0 MKSTREAM ENTRIESREAD 5 MKSTREAM",
        "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
    ),
    ("XGROUP CREATE x l", "-ERR wrong number of arguments for 'xgroup|create' command"),
    ("XGROUP CREATE x l -", "-ERR Invalid stream ID specified as stream command argument"),
    (
        "XINFO GROUPS x",
        "[[\"name\" \"g\" \"consumers\" 0 \"pending\" 0 \"last-delivered-id\" \"0-0\" \"entries-read\" nil \
         \"lag\" 3] [\"name\" \"h\" \"consumers\" 0 \"pending\" 0 \"last-delivered-id\" \"1-1\" \
         \"entries-read\" nil \"lag\" 2] [\"name\" \"i\" \"consumers\" 0 \"pending\" 0 \
         \"last-delivered-id\" \"3-1\" \"entries-read\" nil \"lag\" 0] [\"name\" \"j\" \"consumers\" 0 \
         \"pending\" 0 \"last-delivered-id\" \"3-1\" \"entries-read\" 7 \"lag\" -4] [\"name\" \"k\" \
         \"consumers\" 0 \"pending\" 0 \"last-delivered-id\" \"0-0\" \"entries-read\" nil \"lag\" 3] \
         [\"name\" \"l\" \"consumers\" 0 \"pending\" 0 \"last-delivered-id\" \"0-0\" \"entries-read\" nil \
         \"lag\" 3]]",
    ),
    ("XGROUP SETID x h 2-1", "+OK"),
    ("XGROUP SETID x h $ ENTRIESREAD 2", "+OK"),
    ("XGROUP SETID x h -", "+OK"),
    ("XGROUP SETID x h +", "+OK"),
    ("XGROUP SETID x h a", "-ERR Invalid stream ID specified as stream command argument"),
    ("XGROUP SETID x h 0 ENTRIESREAD -5", "-ERR value for ENTRIESREAD must be positive or -1"),
    (
        "XGROUP SETID x h 0 MKSTREAM",
        "-ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.",
    ),
    ("XGROUP SETID x none 0", "-NOGROUP No such consumer group 'none' for key name 'x'"),
    ("XGROUP SETID none h 0", NO_STREAM),
    ("XGROUP SETID x h", "-ERR wrong number of arguments for 'xgroup|setid' command"),
    ("XGROUP CREATECONSUMER x g alice", "1"),
    ("XGROUP CREATECONSUMER x g alice", "0"),
    ("XGROUP CREATECONSUMER x none alice", "-NOGROUP No such consumer group 'none' for key name 'x'"),
    ("XGROUP CREATECONSUMER none g alice", NO_STREAM),
    ("XGROUP CREATECONSUMER x g", "-ERR wrong number of arguments for 'xgroup|createconsumer' command"),
    ("XGROUP DELCONSUMER x g alice", "0"),
    ("XGROUP DELCONSUMER x g alice", "0"),
    ("XGROUP DELCONSUMER x none alice", "-NOGROUP No such consumer group 'none' for key name 'x'"),
    ("XGROUP DESTROY x g", "1"),
    ("XGROUP DESTROY x g", "0"),
    ("XGROUP DESTROY none g", NO_STREAM),
    ("XGROUP FOO x g", "-ERR unknown subcommand 'FOO'. Try XGROUP HELP."),
    ("XGROUP", "-ERR wrong number of arguments for 'xgroup' command"),
    (
        "XINFO GROUPS x",
        "[[\"name\" \"h\" \"consumers\" 0 \"pending\" 0 \"last-delivered-id\" \
         \"18446744073709551615-18446744073709551615\" \"entries-read\" nil \"lag\" nil] [\"name\" \"i\" \
         \"consumers\" 0 \"pending\" 0 \"last-delivered-id\" \"3-1\" \"entries-read\" nil \"lag\" 0] \
         [\"name\" \"j\" \"consumers\" 0 \"pending\" 0 \"last-delivered-id\" \"3-1\" \"entries-read\" 7 \
         \"lag\" -4] [\"name\" \"k\" \"consumers\" 0 \"pending\" 0 \"last-delivered-id\" \"0-0\" \
         \"entries-read\" nil \"lag\" 3] [\"name\" \"l\" \"consumers\" 0 \"pending\" 0 \
         \"last-delivered-id\" \"0-0\" \"entries-read\" nil \"lag\" 3]]",
    ),
    ("XINFO GROUPS none", "-ERR no such key"),
    ("XINFO CONSUMERS x h", "[]"),
    ("XINFO CONSUMERS x none", "-NOGROUP No such consumer group 'none' for key name 'x'"),
    ("XINFO CONSUMERS none h", "-ERR no such key"),
    ("XINFO STREAM none", "-ERR no such key"),
    (
        "XINFO STREAM x FOO",
        "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
    ),
    (
        "XINFO STREAM x FULL COUNT",
        "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
    ),
    ("XINFO STREAM none FOO", "-ERR no such key"),
    ("XINFO FOO x", "-ERR unknown subcommand 'FOO'. Try XINFO HELP."),
    ("SET s 1", "+OK"),
    ("XGROUP CREATE s g 0", WRONG_TYPE),
    ("XGROUP CREATE s g a", WRONG_TYPE),
    ("XGROUP CREATE s g 0 MKSTREAM", WRONG_TYPE),
    ("XGROUP DESTROY s g", WRONG_TYPE),
    ("XGROUP CREATECONSUMER s g c", WRONG_TYPE),
    ("XINFO STREAM s", WRONG_TYPE),
    ("XINFO GROUPS s", WRONG_TYPE),
    ("XINFO CONSUMERS s g", WRONG_TYPE),
];

const CONSUMING: Script = &[
    ("XADD x 1-1 f 1", "\"1-1\""),
    ("XADD x 2-1 f 2", "\"2-1\""),
    ("XADD x 3-1 f 3", "\"3-1\""),
    ("XADD x 4-1 f 4", "\"4-1\""),
    ("XGROUP CREATE x g 0", "+OK"),
    ("XREADGROUP GROUP g a COUNT 1 STREAMS x >", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]]]"),
    (
        "XREADGROUP GROUP g b COUNT 2 STREAMS x >",
        "[[\"x\" [[\"2-1\" [\"f\" \"2\"]] [\"3-1\" [\"f\" \"3\"]]]]]",
    ),
    ("XREADGROUP GROUP g a STREAMS x 0", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]]]"),
    ("XREADGROUP GROUP g b STREAMS x 0", "[[\"x\" [[\"2-1\" [\"f\" \"2\"]] [\"3-1\" [\"f\" \"3\"]]]]]"),
    ("XREADGROUP GROUP g b STREAMS x 2-1", "[[\"x\" [[\"3-1\" [\"f\" \"3\"]]]]]"),
    ("XREADGROUP GROUP g b COUNT 1 STREAMS x 0", "[[\"x\" [[\"2-1\" [\"f\" \"2\"]]]]]"),
    ("XREADGROUP GROUP g c STREAMS x 0", "[[\"x\" []]]"),
    ("XPENDING x g", "[3 \"1-1\" \"3-1\" [[\"a\" \"1\"] [\"b\" \"2\"]]]"),
    ("XDEL x 2-1", "1"),
    ("XREADGROUP GROUP g b STREAMS x 0", "[[\"x\" [[\"2-1\" nil] [\"3-1\" [\"f\" \"3\"]]]]]"),
    ("XPENDING x g", "[3 \"1-1\" \"3-1\" [[\"a\" \"1\"] [\"b\" \"2\"]]]"),
    ("XREADGROUP GROUP g c NOACK STREAMS x >", "[[\"x\" [[\"4-1\" [\"f\" \"4\"]]]]]"),
    ("XREADGROUP GROUP g c NOACK STREAMS x 0", "[[\"x\" []]]"),
    ("XREADGROUP GROUP g c STREAMS x >", "nil"),
    ("XPENDING x g", "[3 \"1-1\" \"3-1\" [[\"a\" \"1\"] [\"b\" \"2\"]]]"),
    ("XPENDING x none", "-NOGROUP No such key 'x' or consumer group 'none'"),
    ("XPENDING none g", "-NOGROUP No such key 'none' or consumer group 'g'"),
    ("XPENDING x g - +", SYNTAX),
    ("XPENDING x g - + a", "-ERR value is not an integer or out of range"),
    ("XPENDING x g a + 10", "-ERR Invalid stream ID specified as stream command argument"),
    ("XPENDING x g - + 10 none", "[]"),
    ("XPENDING x g - + 0", "[]"),
    ("XPENDING x g - + -1", "[]"),
    ("XPENDING x g IDLE 0", SYNTAX),
    ("XPENDING x g IDLE a - + 10", "-ERR value is not an integer or out of range"),
    ("XPENDING x g IDLE 100000 - + 10", "[]"),
    ("XPENDING x g IDLE 100000 - + 10 b", "[]"),
    ("XACK x g 1-1", "1"),
    ("XACK x g 1-1", "0"),
    ("XACK x g 2-1 3-1 9-9", "2"),
    ("XACK x none 1-1", "0"),
    ("XACK none g 1-1", "0"),
    ("XACK none g a", "0"),
    ("XACK x g a", "-ERR Invalid stream ID specified as stream command argument"),
    ("XPENDING x g", "[0 nil nil nil]"),
    ("XPENDING x g - + 10", "[]"),
    ("XGROUP DELCONSUMER x g b", "0"),
    ("XADD x 5-1 f 5", "\"5-1\""),
    ("XADD x 6-1 f 6", "\"6-1\""),
    ("XREADGROUP GROUP g a STREAMS x >", "[[\"x\" [[\"5-1\" [\"f\" \"5\"]] [\"6-1\" [\"f\" \"6\"]]]]]"),
    ("XGROUP DELCONSUMER x g a", "2"),
    ("XPENDING x g", "[0 nil nil nil]"),
    (
        "XREADGROUP GROUP none a STREAMS x >",
        "-NOGROUP No such key 'x' or consumer group 'none' in XREADGROUP with GROUP option",
    ),
    (
        "XREADGROUP GROUP g a STREAMS none >",
        "-NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option",
    ),
    (
        "XREADGROUP GROUP g a STREAMS x none > >",
        "-NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option",
    ),
    (
        "XREADGROUP GROUP g a STREAMS x $",
        "-ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
         consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
         return an empty result set.",
    ),
    ("XREADGROUP GROUP g a STREAMS x -", "-ERR Invalid stream ID specified as stream command argument"),
    ("XREADGROUP GROUP g a STREAMS x a", "-ERR Invalid stream ID specified as stream command argument"),
    ("XREADGROUP GROUP g a COUNT a STREAMS x >", "-ERR value is not an integer or out of range"),
    ("XREADGROUP GROUP g a BLOCK -1 STREAMS x >", "-ERR timeout is negative"),
    ("XREADGROUP COUNT 1 BLOCK 1 NOACK STREAMS x >", "-ERR Missing GROUP option for XREADGROUP"),
    ("XREADGROUP FOO g a STREAMS x >", SYNTAX),
    ("XREADGROUP GROUP g a STREAMS x >", "nil"),
    ("XREADGROUP GROUP g a BLOCK 1 STREAMS x >", "nil"),
    ("XREADGROUP GROUP g a BLOCK 1 STREAMS x 0", "[[\"x\" []]]"),
    (
        "XINFO GROUPS x",
        "[[\"name\" \"g\" \"consumers\" 2 \"pending\" 0 \"last-delivered-id\" \"6-1\" \"entries-read\" 6 \
         \"lag\" 0]]",
    ),
    ("SET s 1", "+OK"),
    ("XREADGROUP GROUP g a STREAMS s >", WRONG_TYPE),
    ("XPENDING s g", WRONG_TYPE),
    ("XACK s g 1-1", WRONG_TYPE),
    ("XACK s g a", WRONG_TYPE),
];

const CLAIMING: Script = &[
    ("XADD x 1-1 f 1", "\"1-1\""),
    ("XADD x 2-1 f 2", "\"2-1\""),
    ("XADD x 3-1 f 3", "\"3-1\""),
    ("XADD x 4-1 f 4", "\"4-1\""),
    ("XGROUP CREATE x g 0", "+OK"),
    (
        "XREADGROUP GROUP g a COUNT 3 STREAMS x >",
        "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"2-1\" [\"f\" \"2\"]] [\"3-1\" [\"f\" \"3\"]]]]]",
    ),
    ("XCLAIM x g b 0 1-1", "[[\"1-1\" [\"f\" \"1\"]]]"),
    ("XCLAIM x g b 0 1-1 2-1 JUSTID", "[\"1-1\" \"2-1\"]"),
    ("XCLAIM x g b 100000 3-1", "[]"),
    ("XCLAIM x g b 0 4-1", "[]"),
    ("XCLAIM x g b 0 4-1 FORCE", "[[\"4-1\" [\"f\" \"4\"]]]"),
    ("XCLAIM x g b 0 9-1 FORCE", "[]"),
    ("XCLAIM x g c 0 3-1 RETRYCOUNT 7 JUSTID", "[\"3-1\"]"),
    ("XCLAIM x g c 0 3-1 IDLE 1000 TIME 5 RETRYCOUNT 7 FORCE JUSTID LASTID 4-1", "[\"3-1\"]"),
    ("XPENDING x g", "[4 \"1-1\" \"4-1\" [[\"b\" \"3\"] [\"c\" \"1\"]]]"),
    ("XDEL x 2-1", "1"),
    ("XCLAIM x g c 0 2-1", "[]"),
    ("XCLAIM x g c 0 1-1 2-1 3-1", "[[\"1-1\" [\"f\" \"1\"]] [\"3-1\" [\"f\" \"3\"]]]"),
    ("XPENDING x g", "[3 \"1-1\" \"4-1\" [[\"b\" \"1\"] [\"c\" \"2\"]]]"),
    ("XCLAIM x g c a 1-1", "-ERR Invalid min-idle-time argument for XCLAIM"),
    ("XCLAIM x g c -5 1-1 JUSTID", "[\"1-1\"]"),
    ("XCLAIM x g c 0 1-1 IDLE a", "-ERR Invalid IDLE option argument for XCLAIM"),
    ("XCLAIM x g c 0 1-1 TIME a", "-ERR Invalid TIME option argument for XCLAIM"),
    ("XCLAIM x g c 0 1-1 RETRYCOUNT a", "-ERR Invalid RETRYCOUNT option argument for XCLAIM"),
    ("XCLAIM x g c 0 1-1 RETRYCOUNT -1 JUSTID", "[\"1-1\"]"),
    ("XCLAIM x g c 0 1-1 LASTID a", "-ERR Invalid stream ID specified as stream command argument"),
    ("XCLAIM x g c 0 1-1 FOO", "-ERR Unrecognized XCLAIM option 'FOO'"),
    ("XCLAIM x g c 0 FOO", "-ERR Unrecognized XCLAIM option 'FOO'"),
    ("XCLAIM x g c 0 1-1 IDLE", "-ERR Unrecognized XCLAIM option 'IDLE'"),
    ("XCLAIM x none c 0 1-1", "-NOGROUP No such key 'x' or consumer group 'none'"),
    ("XCLAIM none g c 0 1-1", "-NOGROUP No such key 'none' or consumer group 'g'"),
    ("XCLAIM none g c a FOO", "-NOGROUP No such key 'none' or consumer group 'g'"),
    (
        "XAUTOCLAIM x g d 0 -",
        "[\"0-0\" [[\"1-1\" [\"f\" \"1\"]] [\"3-1\" [\"f\" \"3\"]] [\"4-1\" [\"f\" \"4\"]]] []]",
    ),
    ("XAUTOCLAIM x g d 0 - COUNT 1", "[\"3-1\" [[\"1-1\" [\"f\" \"1\"]]] []]"),
    ("XAUTOCLAIM x g d 0 3-1 COUNT 1 JUSTID", "[\"4-1\" [\"3-1\"] []]"),
    ("XAUTOCLAIM x g d 0 (3-1 COUNT 1", "[\"0-0\" [[\"4-1\" [\"f\" \"4\"]]] []]"),
    ("XAUTOCLAIM x g d 100000 -", "[\"0-0\" [] []]"),
    ("XDEL x 3-1", "1"),
    ("XAUTOCLAIM x g d 0 0", "[\"0-0\" [[\"1-1\" [\"f\" \"1\"]] [\"4-1\" [\"f\" \"4\"]]] [\"3-1\"]]"),
    ("XAUTOCLAIM x g d a 0", "-ERR Invalid min-idle-time argument for XAUTOCLAIM"),
    ("XAUTOCLAIM x g d 0 a", "-ERR Invalid stream ID specified as stream command argument"),
    ("XAUTOCLAIM x g d 0 0 COUNT 0", "-ERR COUNT must be > 0"),
    ("XAUTOCLAIM x g d 0 0 COUNT a", "-ERR COUNT must be > 0"),
    ("XAUTOCLAIM x g d 0 0 COUNT", SYNTAX),
    ("XAUTOCLAIM x g d 0 0 FOO", SYNTAX),
    ("XAUTOCLAIM x g d 0 +", "[\"0-0\" [] []]"),
    ("XAUTOCLAIM x none d 0 0", "-NOGROUP No such key 'x' or consumer group 'none'"),
    ("XAUTOCLAIM none g d 0 0", "-NOGROUP No such key 'none' or consumer group 'g'"),
    ("XAUTOCLAIM x g e -1 -", "[\"0-0\" [[\"1-1\" [\"f\" \"1\"]] [\"4-1\" [\"f\" \"4\"]]] []]"),
    ("XPENDING x g", "[2 \"1-1\" \"4-1\" [[\"e\" \"2\"]]]"),
    (
        "XINFO GROUPS x",
        "[[\"name\" \"g\" \"consumers\" 5 \"pending\" 2 \"last-delivered-id\" \"4-1\" \"entries-read\" 3 \
         \"lag\" 1]]",
    ),
    ("SET s 1", "+OK"),
    ("XCLAIM s g c 0 1-1", WRONG_TYPE),
    ("XAUTOCLAIM s g c 0 -", WRONG_TYPE),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[GROUPS, CONSUMING, CLAIMING]);
}

/// Runs lines after five milliseconds each.
fn check_in_time(lines: &[(&str, &str)]) {
    let mut test = TestEngine::new();
    test.collect_effects();
    for (line, expected) in lines {
        test.advance_ms(5);
        assert_eq!(show(&test.run(line)), *expected, "{line}");
    }
    test.check_invariants();
    check_replay(&mut test);
}

#[test]
fn how_long_and_how_often() {
    check_in_time(&[
        ("XADD x 1-1 f 1", "\"1-1\""),
        ("XADD x 2-1 f 2", "\"2-1\""),
        ("XGROUP CREATE x g 0", "+OK"),
        ("XREADGROUP GROUP g a COUNT 1 STREAMS x >", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]]]"),
        ("XREADGROUP GROUP g b STREAMS x >", "[[\"x\" [[\"2-1\" [\"f\" \"2\"]]]]]"),
        ("XPENDING x g - + 10", "[[\"1-1\" \"a\" 10 1] [\"2-1\" \"b\" 5 1]]"),
        ("XPENDING x g IDLE 12 - + 10", "[[\"1-1\" \"a\" 15 1]]"),
        ("XPENDING x g IDLE 12 - + 10 b", "[[\"2-1\" \"b\" 15 1]]"),
        ("XPENDING x g IDLE 30 - + 10 b", "[]"),
        ("XREADGROUP GROUP g a STREAMS x 0", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]]]"),
        ("XPENDING x g - + 10 a", "[[\"1-1\" \"a\" 5 2]]"),
        ("XCLAIM x g c 20 1-1 2-1 JUSTID", "[\"2-1\"]"),
        ("XPENDING x g - + 10", "[[\"1-1\" \"a\" 15 2] [\"2-1\" \"c\" 5 1]]"),
        ("XCLAIM x g c 0 2-1 IDLE 100 RETRYCOUNT 9 JUSTID", "[\"2-1\"]"),
        ("XPENDING x g (1-1 + 10", "[[\"2-1\" \"c\" 105 9]]"),
        ("XAUTOCLAIM x g a 50 - COUNT 5", "[\"0-0\" [[\"2-1\" [\"f\" \"2\"]]] []]"),
        ("XPENDING x g (1-1 + 10", "[[\"2-1\" \"a\" 5 10]]"),
        (
            "XINFO CONSUMERS x g",
            "[[\"name\" \"a\" \"pending\" 2 \"idle\" 10 \"inactive\" 10] [\"name\" \"b\" \"pending\" 0 \
             \"idle\" 65 \
             \"inactive\" 65] [\"name\" \"c\" \"pending\" 0 \"idle\" 20 \"inactive\" 20]]",
        ),
    ]);
}

#[test]
fn a_read_claims_what_waits_too_long() {
    check_in_time(&[
        ("XADD x 1-1 f 1", "\"1-1\""),
        ("XADD x 2-1 f 2", "\"2-1\""),
        ("XADD x 3-1 f 3", "\"3-1\""),
        ("XGROUP CREATE x g 0", "+OK"),
        ("XREADGROUP GROUP g a COUNT 1 STREAMS x >", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]]]"),
        (
            "XREADGROUP GROUP g b COUNT 2 CLAIM 5 STREAMS x >",
            "[[\"x\" [[\"1-1\" [\"f\" \"1\"] 5 1] [\"2-1\" [\"f\" \"2\"]]]]]",
        ),
        ("XREADGROUP GROUP g b CLAIM 100 STREAMS x >", "[[\"x\" [[\"3-1\" [\"f\" \"3\"]]]]]"),
        ("XREADGROUP GROUP g a CLAIM 100 STREAMS x >", "nil"),
        ("XPENDING x g", "[3 \"1-1\" \"3-1\" [[\"b\" \"3\"]]]"),
        ("XDEL x 2-1", "1"),
        (
            "XREADGROUP GROUP g a CLAIM 0 STREAMS x >",
            "[[\"x\" [[\"1-1\" [\"f\" \"1\"] 25 2] [\"3-1\" [\"f\" \"3\"] 20 1]]]]",
        ),
        ("XPENDING x g", "[2 \"1-1\" \"3-1\" [[\"a\" \"2\"]]]"),
        ("XREADGROUP GROUP g a CLAIM -1 STREAMS x >", "-ERR Invalid min-idle-time argument for XREADGROUP"),
        (
            "XREADGROUP GROUP g a CLAIM 0 STREAMS x 0",
            "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"3-1\" [\"f\" \"3\"]]]]]",
        ),
    ]);
}

#[test]
fn entries_are_given_back() {
    check_in_time(&[
        ("XADD x 1-1 f 1", "\"1-1\""),
        ("XADD x 2-1 f 2", "\"2-1\""),
        ("XGROUP CREATE x g 0", "+OK"),
        ("XREADGROUP GROUP g a STREAMS x >", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"2-1\" [\"f\" \"2\"]]]]]"),
        ("XNACK x g FAIL IDS 1 1-1", "1"),
        ("XNACK x g SILENT IDS 2 2-1 9-9", "1"),
        ("XPENDING x g", "[2 \"1-1\" \"2-1\" []]"),
        ("XPENDING x g - + 10", "[[\"1-1\" \"\" -1 1] [\"2-1\" \"\" -1 0]]"),
        (
            "XREADGROUP GROUP g b CLAIM 1000 COUNT 1 STREAMS x >",
            "[[\"x\" [[\"1-1\" [\"f\" \"1\"] 1700000000045 1]]]]",
        ),
        ("XNACK x g FATAL IDS 1 1-1", "1"),
        ("XNACK x g FOO IDS 1 1-1", "-ERR mode must be SILENT, FAIL, or FATAL"),
        ("XNACK x g FAIL IDS 1 1-1 RETRYCOUNT -1", "-ERR RETRYCOUNT must be a non-negative integer"),
        ("XNACK x none FAIL IDS 1 1-1", "-NOGROUP No such key 'x' or consumer group 'none'"),
    ]);
}

#[test]
fn all_that_is_known_of_a_stream() {
    check_scripts(&[&[
        ("XADD x 1-1 f 1", "\"1-1\""),
        ("XADD x 2-1 f 2", "\"2-1\""),
        ("XGROUP CREATE x g 0", "+OK"),
        (
            "XINFO STREAM x FULL COUNT 1",
            "[\"length\" 2 \"radix-tree-keys\" 1 \"radix-tree-nodes\" 2 \"last-generated-id\" \"2-1\" \
             \"max-deleted-entry-id\" \"0-0\" \"entries-added\" 2 \"recorded-first-entry-id\" \"1-1\" \
                 \"entries\" \
             [[\"1-1\" [\"f\" \"1\"]]] \"groups\" [[\"name\" \"g\" \"last-delivered-id\" \"0-0\" \
                 \"entries-read\" nil \
             \"lag\" 2 \"pel-count\" 0 \"pending\" [] \"consumers\" []]]]",
        ),
    ]]);
}
