//! The commands of streams, request by request; those that Redis 7.0 knows are compared with it. Groups are
//! `stream_groups.rs`'.

mod common;

use common::check_as_redis;
use engine::testing::checks::{Script, changes, check_replay, check_scripts, check_wait_after};
use engine::testing::{TestEngine, show};
use resp::decode::Value;
use resp::reply::Protocol;

const SYNTAX: &str = "-ERR syntax error";
const NOT_ABOVE: &str = "-ERR The ID specified in XADD is equal or smaller than the target stream top item";

const ADDING: Script = &[
    ("XADD x 1-1 f v", "\"1-1\""),
    ("XADD x 1-1 f v", NOT_ABOVE),
    ("XADD x 1-0 f v", NOT_ABOVE),
    ("XADD x 0-0 f v", "-ERR The ID specified in XADD must be greater than 0-0"),
    ("XADD new 0-0 f v", "-ERR The ID specified in XADD must be greater than 0-0"),
    ("XADD x 1-* f w", "\"1-2\""),
    ("XADD x 1-* f z g more", "\"1-3\""),
    ("XADD x 2-* f v", "\"2-0\""),
    ("XADD x 5 f v", "\"5-0\""),
    ("XADD x 5-18446744073709551615 f v", "\"5-18446744073709551615\""),
    ("XADD x 4-* f v", NOT_ABOVE),
    ("XADD x a-* f v", "-ERR Invalid stream ID specified as stream command argument"),
    ("XADD x 1-1-* f v", "-ERR Invalid stream ID specified as stream command argument"),
    ("XADD x -* f v", "-ERR Invalid stream ID specified as stream command argument"),
    ("XADD x abc f v", "-ERR Invalid stream ID specified as stream command argument"),
    ("XADD x 6-1 f", "-ERR wrong number of arguments for 'xadd' command"),
    ("XADD x 6-1 f v g", "-ERR wrong number of arguments for 'xadd' command"),
    ("XADD x *", "-ERR wrong number of arguments for 'xadd' command"),
    ("XADD none NOMKSTREAM * f v", "nil"),
    ("XADD none NOMKSTREAM 1-1 f v", "nil"),
    ("EXISTS none", "0"),
    ("XADD x NOMKSTREAM 6-1 f v", "\"6-1\""),
    ("XLEN x", "7"),
    ("XLEN none", "0"),
    ("TYPE x", "+stream"),
    ("OBJECT ENCODING x", "\"stream\""),
    (
        "XRANGE x - +",
        "[[\"1-1\" [\"f\" \"v\"]] [\"1-2\" [\"f\" \"w\"]] [\"1-3\" [\"f\" \"z\" \"g\" \"more\"]] [\"2-0\" \
         [\"f\" \"v\"]] [\"5-0\" [\"f\" \"v\"]] [\"5-18446744073709551615\" [\"f\" \"v\"]] [\"6-1\" [\"f\" \
         \"v\"]]]",
    ),
    ("XADD x MAXLEN = 3 7-1 f v", "\"7-1\""),
    ("XLEN x", "3"),
    ("XADD x MAXLEN 2 8-1 f v", "\"8-1\""),
    ("XRANGE x - +", "[[\"7-1\" [\"f\" \"v\"]] [\"8-1\" [\"f\" \"v\"]]]"),
    ("XADD x MINID 8 9-1 f v", "\"9-1\""),
    ("XRANGE x - +", "[[\"8-1\" [\"f\" \"v\"]] [\"9-1\" [\"f\" \"v\"]]]"),
    ("XADD x MAXLEN ~ 1 9-2 f v", "\"9-2\""),
    ("XLEN x", "3"),
    ("XADD x MAXLEN ~ 1 LIMIT 0 9-3 f v", "\"9-3\""),
    ("XADD x MAXLEN 0 9-4 f v", "\"9-4\""),
    ("XLEN x", "0"),
    ("EXISTS x", "1"),
    ("XADD x MAXLEN -1 * f v", "-ERR The MAXLEN argument must be >= 0."),
    ("XADD x MAXLEN a * f v", "-ERR value is not an integer or out of range"),
    ("XADD x MINID a * f v", "-ERR Invalid stream ID specified as stream command argument"),
    (
        "XADD x MAXLEN 1 MINID 1 * f v",
        "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
    ),
    (
        "XADD x MAXLEN 1 MAXLEN 2 * f v",
        "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
    ),
    (
        "XADD x LIMIT 5 * f v",
        "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
    ),
    ("XADD x LIMIT 0 10-1 f v", "-ERR syntax error, LIMIT cannot be used without the special ~ option"),
    (
        "XADD x MAXLEN = 5 LIMIT 5 * f v",
        "-ERR syntax error, LIMIT cannot be used without the special ~ option",
    ),
    ("XADD x MAXLEN ~ 5 LIMIT -1 * f v", "-ERR The LIMIT argument must be >= 0."),
    ("XADD x MAXLEN ~ 5 LIMIT a * f v", "-ERR value is not an integer or out of range"),
    ("XADD x MAXLEN ~ * f v", "-ERR value is not an integer or out of range"),
    ("XADD x MAXLEN", "-ERR wrong number of arguments for 'xadd' command"),
    ("XADD x MAXLEN 5 f v", "-ERR Invalid stream ID specified as stream command argument"),
    ("XADD x 18446744073709551615-18446744073709551614 f v", "\"18446744073709551615-18446744073709551614\""),
    ("XADD x 18446744073709551615-* f v", "\"18446744073709551615-18446744073709551615\""),
    ("XADD x * f v", "-ERR The stream has exhausted the last possible ID, unable to add more items"),
    (
        "XADD x 18446744073709551615-18446744073709551615 f v",
        "-ERR The stream has exhausted the last possible ID, unable to add more items",
    ),
    ("XADD y 18446744073709551616-1 f v", "-ERR Invalid stream ID specified as stream command argument"),
    ("XADD y 1-18446744073709551616 f v", "-ERR Invalid stream ID specified as stream command argument"),
    ("SET s 1", "+OK"),
    ("XADD s 1-1 f v", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("XADD s abc f v", "-ERR Invalid stream ID specified as stream command argument"),
    ("XADD s MAXLEN a f v", "-ERR value is not an integer or out of range"),
    ("XLEN s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
];

const RANGES: Script = &[
    ("XADD x 1-0 f 1", "\"1-0\""),
    ("XADD x 1-5 f 2", "\"1-5\""),
    ("XADD x 2-0 f 3", "\"2-0\""),
    ("XADD x 2-7 g 4", "\"2-7\""),
    ("XADD x 3-0 f 5", "\"3-0\""),
    (
        "XRANGE x - +",
        "[[\"1-0\" [\"f\" \"1\"]] [\"1-5\" [\"f\" \"2\"]] [\"2-0\" [\"f\" \"3\"]] [\"2-7\" [\"g\" \"4\"]] \
         [\"3-0\" [\"f\" \"5\"]]]",
    ),
    (
        "XREVRANGE x + -",
        "[[\"3-0\" [\"f\" \"5\"]] [\"2-7\" [\"g\" \"4\"]] [\"2-0\" [\"f\" \"3\"]] [\"1-5\" [\"f\" \"2\"]] \
         [\"1-0\" [\"f\" \"1\"]]]",
    ),
    (
        "XRANGE x 1 2",
        "[[\"1-0\" [\"f\" \"1\"]] [\"1-5\" [\"f\" \"2\"]] [\"2-0\" [\"f\" \"3\"]] [\"2-7\" [\"g\" \"4\"]]]",
    ),
    ("XRANGE x 1-5 2-0", "[[\"1-5\" [\"f\" \"2\"]] [\"2-0\" [\"f\" \"3\"]]]"),
    (
        "XRANGE x (1-0 (3",
        "[[\"1-5\" [\"f\" \"2\"]] [\"2-0\" [\"f\" \"3\"]] [\"2-7\" [\"g\" \"4\"]] [\"3-0\" [\"f\" \"5\"]]]",
    ),
    (
        "XRANGE x (1 +",
        "[[\"1-5\" [\"f\" \"2\"]] [\"2-0\" [\"f\" \"3\"]] [\"2-7\" [\"g\" \"4\"]] [\"3-0\" [\"f\" \"5\"]]]",
    ),
    (
        "XRANGE x - (2",
        "[[\"1-0\" [\"f\" \"1\"]] [\"1-5\" [\"f\" \"2\"]] [\"2-0\" [\"f\" \"3\"]] [\"2-7\" [\"g\" \"4\"]]]",
    ),
    ("XREVRANGE x (3-0 (1-0", "[[\"2-7\" [\"g\" \"4\"]] [\"2-0\" [\"f\" \"3\"]] [\"1-5\" [\"f\" \"2\"]]]"),
    (
        "XREVRANGE x 2 1",
        "[[\"2-7\" [\"g\" \"4\"]] [\"2-0\" [\"f\" \"3\"]] [\"1-5\" [\"f\" \"2\"]] [\"1-0\" [\"f\" \"1\"]]]",
    ),
    ("XRANGE x 1-6 1-9", "[]"),
    ("XRANGE x + -", "[]"),
    ("XRANGE x - + COUNT 2", "[[\"1-0\" [\"f\" \"1\"]] [\"1-5\" [\"f\" \"2\"]]]"),
    ("XREVRANGE x + - COUNT 2", "[[\"3-0\" [\"f\" \"5\"]] [\"2-7\" [\"g\" \"4\"]]]"),
    ("XRANGE x - + COUNT 0", "nil"),
    ("XRANGE x - + COUNT -5", "nil"),
    (
        "XRANGE x - + COUNT 1 COUNT 3",
        "[[\"1-0\" [\"f\" \"1\"]] [\"1-5\" [\"f\" \"2\"]] [\"2-0\" [\"f\" \"3\"]]]",
    ),
    ("XRANGE x - + COUNT", SYNTAX),
    ("XRANGE x - + COUNT a", "-ERR value is not an integer or out of range"),
    ("XRANGE x - + FOO 3", SYNTAX),
    ("XRANGE x a +", "-ERR Invalid stream ID specified as stream command argument"),
    ("XRANGE x - a", "-ERR Invalid stream ID specified as stream command argument"),
    ("XRANGE x (- +", "-ERR Invalid stream ID specified as stream command argument"),
    ("XRANGE x - (+", "-ERR Invalid stream ID specified as stream command argument"),
    ("XRANGE x - (0-0", "-ERR invalid end ID for the interval"),
    ("XRANGE x (18446744073709551615-18446744073709551615 +", "-ERR invalid start ID for the interval"),
    ("XRANGE x ( +", "-ERR Invalid stream ID specified as stream command argument"),
    ("XRANGE none - +", "[]"),
    ("XRANGE none - + COUNT 0", "[]"),
    ("XRANGE none a +", "-ERR Invalid stream ID specified as stream command argument"),
    ("SET s 1", "+OK"),
    ("XRANGE s - +", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("XREVRANGE s + -", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("XRANGE s - + COUNT a", "-ERR value is not an integer or out of range"),
];

const REMOVING: Script = &[
    ("XADD x 1-0 f 1", "\"1-0\""),
    ("XADD x 2-0 f 2", "\"2-0\""),
    ("XADD x 3-0 f 3", "\"3-0\""),
    ("XADD x 4-0 f 4", "\"4-0\""),
    ("XADD x 5-0 f 5", "\"5-0\""),
    ("XDEL x 2-0", "1"),
    ("XDEL x 2-0 9-9", "0"),
    ("XDEL x 3 4-0 4-0", "2"),
    ("XRANGE x - +", "[[\"1-0\" [\"f\" \"1\"]] [\"5-0\" [\"f\" \"5\"]]]"),
    (
        "XINFO STREAM x",
        "[\"length\" 2 \"radix-tree-keys\" 1 \"radix-tree-nodes\" 2 \"last-generated-id\" \"5-0\" \
         \"max-deleted-entry-id\" \"4-0\" \"entries-added\" 5 \"recorded-first-entry-id\" \"1-0\" \
         \"groups\" 0 \"first-entry\" [\"1-0\" [\"f\" \"1\"]] \"last-entry\" [\"5-0\" [\"f\" \"5\"]]]",
    ),
    ("XDEL x a", "-ERR Invalid stream ID specified as stream command argument"),
    ("XDEL none a", "0"),
    ("XDEL none 1-1", "0"),
    ("XDEL x 1-0 5-0", "2"),
    ("XLEN x", "0"),
    ("EXISTS x", "1"),
    (
        "XINFO STREAM x",
        "[\"length\" 0 \"radix-tree-keys\" 0 \"radix-tree-nodes\" 1 \"last-generated-id\" \"5-0\" \
         \"max-deleted-entry-id\" \"5-0\" \"entries-added\" 5 \"recorded-first-entry-id\" \"0-0\" \
         \"groups\" 0 \"first-entry\" nil \"last-entry\" nil]",
    ),
    ("XADD x 4-0 f v", NOT_ABOVE),
    ("XADD x 5-1 f v", "\"5-1\""),
    ("XTRIM x MAXLEN 0", "1"),
    ("XTRIM none MAXLEN 0", "0"),
    ("XTRIM x", "-ERR wrong number of arguments for 'xtrim' command"),
    ("XTRIM x MAXLEN", "-ERR wrong number of arguments for 'xtrim' command"),
    ("XTRIM x LIMIT 5", "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"),
    ("XTRIM x LIMIT 0", "-ERR syntax error, XTRIM must be called with a trimming strategy"),
    ("XTRIM x FOO 5", SYNTAX),
    ("XTRIM x MAXLEN = 5 LIMIT 3", "-ERR syntax error, LIMIT cannot be used without the special ~ option"),
    ("XTRIM x MAXLEN 5 5", SYNTAX),
    ("XTRIM x MAXLEN ~", "-ERR value is not an integer or out of range"),
    (
        "XTRIM x MAXLEN 1 MINID 2",
        "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
    ),
    ("XADD x 6-1 f v", "\"6-1\""),
    ("XADD x 6-2 f v", "\"6-2\""),
    ("XADD x 7-0 f v", "\"7-0\""),
    ("XTRIM x MINID 6-2", "1"),
    ("XTRIM x MINID = 7", "1"),
    ("XTRIM x MINID ~ 9", "1"),
    ("XTRIM x MAXLEN ~ 0", "0"),
    ("XRANGE x - +", "[]"),
    ("SET s 1", "+OK"),
    ("XDEL s 1-1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("XDEL s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("XTRIM s MAXLEN 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("XTRIM s MAXLEN a", "-ERR value is not an integer or out of range"),
];

const SETTING: Script = &[
    ("XSETID x 1-1", "-ERR no such key"),
    ("XADD x 5-5 f v", "\"5-5\""),
    ("XSETID x 5-4", "-ERR The ID specified in XSETID is smaller than the target stream top item"),
    ("XSETID x 5-5", "+OK"),
    ("XSETID x 9", "+OK"),
    ("XADD x 9-0 f v", NOT_ABOVE),
    ("XADD x 9-1 f v", "\"9-1\""),
    ("XSETID x a", "-ERR Invalid stream ID specified as stream command argument"),
    (
        "XSETID x 10-0 ENTRIESADDED 1",
        "-ERR The entries_added specified in XSETID is smaller than the target stream length",
    ),
    (
        "XSETID x 10-0 ENTRIESADDED 1 MAXDELETEDID 11-0",
        "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
    ),
    ("XSETID x 10-0 ENTRIESADDED -1 MAXDELETEDID 5-0", "-ERR entries_added must be positive"),
    (
        "XSETID x 10-0 ENTRIESADDED 1 MAXDELETEDID 5-0",
        "-ERR The entries_added specified in XSETID is smaller than the target stream length",
    ),
    ("XSETID x 10-0 ENTRIESADDED 100 MAXDELETEDID 5-0", "+OK"),
    (
        "XINFO STREAM x",
        "[\"length\" 2 \"radix-tree-keys\" 1 \"radix-tree-nodes\" 2 \"last-generated-id\" \"10-0\" \
         \"max-deleted-entry-id\" \"5-0\" \"entries-added\" 100 \"recorded-first-entry-id\" \"5-5\" \
         \"groups\" 0 \"first-entry\" [\"5-5\" [\"f\" \"v\"]] \"last-entry\" [\"9-1\" [\"f\" \"v\"]]]",
    ),
    ("XSETID x 10-0 ENTRIESADDED 100 MAXDELETEDID 0-0", "+OK"),
    ("XSETID x 10-0 FOO 100 MAXDELETEDID 0-0", SYNTAX),
    ("XSETID x 10-0 MAXDELETEDID 0-0", "+OK"),
    ("XDEL x 9-1", "1"),
    ("XSETID x 18446744073709551615-18446744073709551615", "+OK"),
    ("XADD x * f v", "-ERR The stream has exhausted the last possible ID, unable to add more items"),
    ("SET s 1", "+OK"),
    ("XSETID s 1-1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("XSETID s a", "-ERR Invalid stream ID specified as stream command argument"),
];

const READING: Script = &[
    ("XADD x 1-1 f 1", "\"1-1\""),
    ("XADD x 2-1 f 2", "\"2-1\""),
    ("XADD y 5-1 g 1", "\"5-1\""),
    ("XREAD STREAMS x 0", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"2-1\" [\"f\" \"2\"]]]]]"),
    ("XREAD STREAMS x 1-1", "[[\"x\" [[\"2-1\" [\"f\" \"2\"]]]]]"),
    ("XREAD STREAMS x 2-1", "nil"),
    (
        "XREAD STREAMS x y 0 0",
        "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"2-1\" [\"f\" \"2\"]]]] [\"y\" [[\"5-1\" [\"g\" \"1\"]]]]]",
    ),
    (
        "XREAD COUNT 1 STREAMS x y 0 0",
        "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]] [\"y\" [[\"5-1\" [\"g\" \"1\"]]]]]",
    ),
    ("XREAD COUNT 0 STREAMS x 0", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"2-1\" [\"f\" \"2\"]]]]]"),
    ("XREAD COUNT -3 STREAMS x 0", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"2-1\" [\"f\" \"2\"]]]]]"),
    ("XREAD COUNT a STREAMS x 0", "-ERR value is not an integer or out of range"),
    ("XREAD STREAMS x y 2-1 5-1", "nil"),
    ("XREAD STREAMS none 0", "nil"),
    ("XREAD STREAMS x none y 2-1 0 0", "[[\"y\" [[\"5-1\" [\"g\" \"1\"]]]]]"),
    (
        "XREAD STREAMS x x 0 1",
        "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"2-1\" [\"f\" \"2\"]]]] [\"x\" [[\"1-1\" [\"f\" \"1\"]] \
         [\"2-1\" [\"f\" \"2\"]]]]]",
    ),
    ("XREAD STREAMS x $", "nil"),
    (
        "XREAD STREAMS x >",
        "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> \
         option.",
    ),
    ("XREAD STREAMS x a", "-ERR Invalid stream ID specified as stream command argument"),
    ("XREAD STREAMS x", "-ERR wrong number of arguments for 'xread' command"),
    ("XREAD STREAMS", "-ERR wrong number of arguments for 'xread' command"),
    ("XREAD COUNT 1", "-ERR wrong number of arguments for 'xread' command"),
    ("XREAD COUNT 1 FOO 1 STREAMS x 0", SYNTAX),
    (
        "XREAD GROUP g c STREAMS x 0",
        "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
    ),
    (
        "XREAD NOACK STREAMS x 0",
        "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
    ),
    ("XREAD BLOCK a STREAMS x 0", "-ERR timeout is not an integer or out of range"),
    ("XREAD BLOCK -1 STREAMS x 0", "-ERR timeout is negative"),
    ("XREAD BLOCK 0 STREAMS x 0", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"2-1\" [\"f\" \"2\"]]]]]"),
    ("XREAD BLOCK 10 STREAMS none x 0 1-1", "[[\"x\" [[\"2-1\" [\"f\" \"2\"]]]]]"),
    ("XREAD BLOCK 1 STREAMS none $", "nil"),
    ("XREAD streams x 0 count 1", "-ERR Invalid stream ID specified as stream command argument"),
    ("XREAD STREAMS x 18446744073709551615-18446744073709551615", "nil"),
    ("SET s 1", "+OK"),
    ("XREAD STREAMS s 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("XREAD STREAMS x s 0 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("MULTI", "+OK"),
    ("XREAD BLOCK 0 STREAMS none $", "+QUEUED"),
    ("XREADGROUP GROUP g c BLOCK 0 STREAMS x >", "+QUEUED"),
    ("EXEC", "[nil -NOGROUP No such key 'x' or consumer group 'g' in XREADGROUP with GROUP option]"),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[ADDING, RANGES, REMOVING, SETTING, READING]);
}

/// Redis 7.0 says other things here; so does Valkey.
#[test]
fn replies_of_later_versions() {
    check_scripts(&[&[
        ("XADD x 5-18446744073709551615 f v", "\"5-18446744073709551615\""),
        ("XADD x 5-* f v", NOT_ABOVE),
        ("XADD x 6-0 f v", "\"6-0\""),
        ("XDEL x 6-0", "1"),
        (
            "XSETID x 5-18446744073709551615",
            "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ),
        (
            "XREAD STREAMS x y 0",
            "-ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.",
        ),
        (
            "XREADGROUP GROUP g a STREAMS x x >",
            "-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be \
             specified.",
        ),
    ]]);
}

#[test]
fn the_last_entry_is_read_by_plus() {
    check_scripts(&[&[
        ("XREAD STREAMS x +", "nil"),
        ("XADD x 1-1 f 1", "\"1-1\""),
        ("XADD x 1-2 f 2", "\"1-2\""),
        ("XREAD STREAMS x +", "[[\"x\" [[\"1-2\" [\"f\" \"2\"]]]]]"),
        ("XREAD COUNT 5 STREAMS x none + +", "[[\"x\" [[\"1-2\" [\"f\" \"2\"]]]]]"),
        ("XDEL x 1-2", "1"),
        ("XREAD STREAMS x +", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]]]"),
        ("XTRIM x MAXLEN 0", "1"),
        ("XREAD STREAMS x +", "nil"),
    ]]);
}

#[test]
fn a_read_is_bounded_over_all_streams() {
    check_scripts(&[&[
        ("XADD x 1-1 f 1", "\"1-1\""),
        ("XADD x 1-2 f 2", "\"1-2\""),
        ("XADD y 1-1 f 3", "\"1-1\""),
        ("XADD y 1-2 f 4", "\"1-2\""),
        (
            "XREAD MAXCOUNT 3 STREAMS x y 0 0",
            "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"1-2\" [\"f\" \"2\"]]]] [\"y\" [[\"1-1\" [\"f\" \"3\"]]]]]",
        ),
        ("XREAD MAXCOUNT 1 STREAMS x y 0 0", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]]]"),
        (
            "XREAD COUNT 1 MAXCOUNT 3 STREAMS x y 0 0",
            "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]] [\"y\" [[\"1-1\" [\"f\" \"3\"]]]]]",
        ),
        ("XREAD MAXSIZE 1 STREAMS x y 0 0", "[[\"x\" [[\"1-1\" [\"f\" \"1\"]]]]]"),
        ("XREAD MAXCOUNT 0 STREAMS x 0", "-ERR MAXCOUNT must be a positive integer"),
        ("XREAD MAXSIZE -1 STREAMS x 0", "-ERR MAXSIZE must be a positive integer"),
        ("XREAD COUNT 5 MAXCOUNT 3 STREAMS x 0", "-ERR MAXCOUNT must be greater than or equal to COUNT"),
    ]]);
}

const REFERENCES: Script = &[
    ("XADD x 1-1 f 1", "\"1-1\""),
    ("XADD x 2-1 f 2", "\"2-1\""),
    ("XADD x 3-1 f 3", "\"3-1\""),
    ("XADD x 4-1 f 4", "\"4-1\""),
    ("XGROUP CREATE x g 0", "+OK"),
    ("XGROUP CREATE x h 0", "+OK"),
    (
        "XREADGROUP GROUP g a COUNT 3 STREAMS x >",
        "[[\"x\" [[\"1-1\" [\"f\" \"1\"]] [\"2-1\" [\"f\" \"2\"]] [\"3-1\" [\"f\" \"3\"]]]]]",
    ),
    ("XDELEX x IDS 2 1-1 9-9", "[1 -1]"),
    ("XPENDING x g", "[3 \"1-1\" \"3-1\" [[\"a\" \"3\"]]]"),
    ("XDELEX x DELREF IDS 2 1-1 2-1", "[-1 1]"),
    ("XPENDING x g", "[1 \"3-1\" \"3-1\" [[\"a\" \"1\"]]]"),
    ("XDELEX x ACKED IDS 2 3-1 4-1", "[2 2]"),
    ("XACKDEL x g ACKED IDS 1 3-1", "[2]"),
    ("XACKDEL x g IDS 1 3-1", "[-1]"),
    ("XREADGROUP GROUP h b COUNT 1 STREAMS x >", "[[\"x\" [[\"3-1\" [\"f\" \"3\"]]]]]"),
    ("XACKDEL x h ACKED IDS 1 3-1", "[1]"),
    ("XLEN x", "1"),
    ("XACKDEL x none IDS 1 4-1", "[-1]"),
    ("XACKDEL none g IDS 2 4-1 5-1", "[-1 -1]"),
    ("XDELEX none IDS 2 4-1 5-1", "[-1 -1]"),
    ("XDELEX x IDS 0 4-1", "-ERR Number of IDs must be a positive integer"),
    ("XDELEX x IDS a 4-1", "-ERR Number of IDs must be a positive integer"),
    ("XDELEX x IDS 2 4-1", "-ERR The `numids` parameter must match the number of arguments"),
    ("XDELEX x IDS 1 4-1 5-1", SYNTAX),
    ("XDELEX x KEEPREF ACKED IDS 1 4-1", SYNTAX),
    ("XDELEX x FOO IDS 1 4-1", SYNTAX),
    ("XDELEX x IDS 1 a", "-ERR Invalid stream ID specified as stream command argument"),
    ("XADD x 5-1 f 5", "\"5-1\""),
    ("XREADGROUP GROUP g a COUNT 1 STREAMS x >", "[[\"x\" [[\"4-1\" [\"f\" \"4\"]]]]]"),
    ("XTRIM x MAXLEN 0 ACKED", "0"),
    ("XTRIM x MAXLEN 1 DELREF", "1"),
    ("XPENDING x g", "[0 nil nil nil]"),
    ("XADD x DELREF MAXLEN 1 6-1 f 6", "\"6-1\""),
    ("XADD x ACKED KEEPREF MAXLEN 1 7-1 f 6", SYNTAX),
    ("XLEN x", "1"),
    ("SET s 1", "+OK"),
    ("XDELEX s IDS 1 1-1", WRONG_TYPE),
    ("XACKDEL s g IDS 1 1-1", WRONG_TYPE),
];

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn removal_regards_where_entries_are_pending() {
    check_scripts(&[REFERENCES]);
}

/// What a producer sends twice is added once, as long as it is remembered.
#[test]
fn entries_of_producers() {
    let mut test = TestEngine::new();
    test.collect_effects();
    let first = show(&test.run("XADD x IDMP p one * f v"));
    test.advance_ms(5);
    let second = show(&test.run("XADD x IDMP p two * f v"));
    assert_ne!(first, second);
    assert_eq!(show(&test.run("XADD x IDMP p one * f other")), first);
    assert_ne!(show(&test.run("XADD x IDMP q one * f v")), first);
    let auto = show(&test.run("XADD x IDMPAUTO p * f v"));
    test.advance_ms(5);
    assert_eq!(show(&test.run("XADD x IDMPAUTO p * f v")), auto);
    assert_ne!(show(&test.run("XADD x IDMPAUTO p * f w")), auto);
    assert_eq!(show(&test.run("XLEN x")), "5");
    check_replay(&mut test);
    test.advance_ms(100_000);
    assert_ne!(show(&test.run("XADD x IDMP p one * f v")), first);
    engine::testing::check_script(
        &mut test,
        &[
            ("XLEN x", "6"),
            ("XADD x IDMP p one 5-5 f v", "-ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"),
            ("XADD x IDMP p one IDMP p one * f v", SYNTAX),
            ("XCFGSET x IDMP-DURATION 5 IDMP-MAXSIZE 2", "+OK"),
            ("XCFGSET x IDMP-DURATION 0", "-ERR IDMP-DURATION must be between 1 and 86400 seconds"),
            ("XCFGSET x IDMP-MAXSIZE 10001", "-ERR IDMP-MAXSIZE must be between 1 and 10000 entries"),
            ("XCFGSET x", SYNTAX),
            ("XCFGSET x FOO 1", SYNTAX),
            ("XCFGSET none IDMP-DURATION 5", "-ERR no such key"),
        ],
    );
    test.check_invariants();
}

fn check_wait(waiting: &str, others: &[&str], expected: &str) {
    let before = ["XADD seen 1-1 f v", "XADD seen 2-1 f v", "XDEL seen 2-1", "XGROUP CREATE x g 0 MKSTREAM"];
    check_wait_after(&before, waiting, others, expected, &[]);
}

#[test]
fn who_waits_is_served() {
    let got = "[[\"x\" [[\"5-5\" [\"f\" \"v\"]]]]]";
    check_wait("XREAD BLOCK 0 STREAMS x 0", &["XADD x 5-5 f v"], got);
    check_wait("XREAD BLOCK 0 STREAMS x $", &["XADD x 5-5 f v"], got);
    check_wait("XREAD BLOCK 0 STREAMS none x $ $", &["XADD y 1-1 f v", "XADD x 5-5 f v"], got);
    check_wait("XREAD BLOCK 0 STREAMS x 5-4", &["XADD x 5-3 f v", "XADD x 5-5 f v"], got);
    check_wait("XREAD BLOCK 0 STREAMS x 0", &["XADD y 5-5 f v", "RENAME y x"], got);
    check_wait("XREAD BLOCK 0 STREAMS x 0", &["DEL x", "SET x 1", "DEL x", "XADD x 5-5 f v"], got);
    check_wait("XREAD BLOCK 0 STREAMS x 0", &["XADD x MAXLEN 0 4-4 f v", "XADD x 5-5 f v"], got);
    // The last id counts, not the last entry: 2-1 was there.
    let seen = "[[\"seen\" [[\"2-2\" [\"f\" \"v\"]]]]]";
    check_wait("XREAD BLOCK 0 STREAMS seen $", &["XADD x 1-1 f v", "XADD seen 2-2 f v"], seen);
}

#[test]
fn who_waits_for_a_group_is_served_or_told_why_not() {
    let read = "XREADGROUP GROUP g a BLOCK 0 STREAMS x >";
    let got = "[[\"x\" [[\"5-5\" [\"f\" \"v\"]]]]]";
    check_wait(read, &["XADD x 5-5 f v"], got);
    check_wait("XREADGROUP GROUP g a NOACK BLOCK 0 STREAMS x >", &["XADD x 5-5 f v"], got);
    let missing = "-NOGROUP No such key 'x' or consumer group 'g' in XREADGROUP with GROUP option";
    check_wait(read, &["XGROUP DESTROY x g"], missing);
    check_wait(read, &["DEL x"], missing);
    check_wait(read, &["RENAME x y"], missing);
    check_wait(read, &["XADD y 1-1 f v", "RENAME y x"], missing);
    check_wait(read, &["FLUSHALL"], missing);
    check_wait(read, &["SET x 1"], WRONG_TYPE);
}

#[test]
fn an_entry_serves_one_of_a_group_and_all_others() {
    let mut test = TestEngine::new();
    test.run("XGROUP CREATE x g 0 MKSTREAM");
    let waiting: Vec<usize> = (0..4).map(|_| test.connect()).collect();
    for (&session, line) in waiting.iter().zip([
        "XREADGROUP GROUP g a BLOCK 0 STREAMS x >",
        "XREADGROUP GROUP g b BLOCK 0 STREAMS x >",
        "XREAD BLOCK 0 STREAMS x $",
        "XREAD BLOCK 0 STREAMS y x $ $",
    ]) {
        test.run_raw(session, &line.split(' ').collect::<Vec<_>>());
    }
    test.run("XADD x 1-1 f v");
    let served: Vec<usize> = test.take_served().iter().map(|(who, _)| *who).collect();
    assert_eq!(served, [waiting[0], waiting[2], waiting[3]]);
    test.run("XADD x 1-2 f v");
    let served: Vec<usize> = test.take_served().iter().map(|(who, _)| *who).collect();
    assert_eq!(served, [waiting[1]]);
    test.check_invariants();
}

#[test]
fn reads_are_maps_in_resp3() {
    let mut test = TestEngine::new();
    test.set_protocol(0, Protocol::Resp3);
    test.run("XADD x 1-1 f v");
    test.run("XGROUP CREATE x g 0");
    for (line, expected) in [
        ("XREAD STREAMS x 0", "{\"x\":[[\"1-1\" [\"f\" \"v\"]]]}"),
        ("XREADGROUP GROUP g a STREAMS x >", "{\"x\":[[\"1-1\" [\"f\" \"v\"]]]}"),
        ("XINFO CONSUMERS x g", "[{\"name\":\"a\" \"pending\":1 \"idle\":0 \"inactive\":0}]"),
        ("XRANGE x - +", "[[\"1-1\" [\"f\" \"v\"]]]"),
    ] {
        assert_eq!(show(&test.run(line)), expected, "{line}");
    }
    for line in ["XREAD STREAMS x $", "XRANGE x - + COUNT 0", "XADD none NOMKSTREAM * f v"] {
        assert_eq!(test.run(line), Value::Null, "{line}");
    }
}

#[test]
fn events() {
    let check = |lines: &[&str], expected: &[&str]| {
        let mut test = TestEngine::new();
        test.run("XADD x 1-1 f v");
        test.run("XADD x 1-2 f v");
        test.run("XGROUP CREATE x g 0");
        test.collect_events("");
        lines.iter().for_each(|line| drop(test.run(line)));
        assert_eq!(test.take_events(), expected, "{lines:?}");
    };
    check(&["XADD x * f v"], &["xadd x"]);
    check(&["XADD x MAXLEN 1 * f v"], &["xadd x", "xtrim x"]);
    check(&["XDEL x 1-1", "XDEL x 1-1"], &["xdel x"]);
    check(&["XDELEX x IDS 1 1-1", "XDELEX x IDS 1 1-1"], &["xdel x"]);
    check(&["XTRIM x MAXLEN 0", "XTRIM x MAXLEN 0"], &["xtrim x"]);
    check(&["XSETID x 9-9"], &["xsetid x"]);
    check(&["XGROUP CREATE x h 0", "XGROUP CREATE x h 0"], &["xgroup-create x"]);
    check(&["XGROUP SETID x g 0"], &["xgroup-setid x"]);
    check(&["XGROUP DESTROY x g", "XGROUP DESTROY x g"], &["xgroup-destroy x"]);
    check(
        &["XGROUP CREATECONSUMER x g a", "XGROUP CREATECONSUMER x g a", "XGROUP DELCONSUMER x g a"],
        &["xgroup-createconsumer x", "xgroup-delconsumer x"],
    );
    check(&["XREADGROUP GROUP g a STREAMS x >"], &["xgroup-createconsumer x"]);
    check(&["XCLAIM x g a 0 1-1", "XAUTOCLAIM x g b 0 0"], &["xgroup-createconsumer x"; 2]);
}

#[test]
fn effects() {
    let check = |line: &str, expected: &[&str]| {
        let mut test = TestEngine::new();
        test.collect_effects();
        test.run("XADD x 1-1 f v");
        test.run("XADD x 1-2 f v");
        test.run("XGROUP CREATE x g 0");
        test.take_effects();
        test.run(line);
        let now = test.now().0.to_string();
        let mut expected: Vec<_> = expected.iter().map(|line| line.replace("NOW", &now)).collect();
        // Several effects are one transaction.
        if expected.len() > 1 {
            expected.insert(0, "MULTI".into());
            expected.push("EXEC".into());
        }
        assert_eq!(test.take_effect_lines(), expected, "{line}");
    };
    check("XADD x * f v", &["XADD x NOW-0 f v"]);
    check("XADD x 5-* f v", &["XADD x 5-0 f v"]);
    check("XADD x 5-5 f v", &["XADD x 5-5 f v"]);
    check("XADD x NOMKSTREAM * f v", &["XADD x NOW-0 f v"]);
    check("XADD x MAXLEN ~ 1 * f v", &["XADD x MAXLEN = 3 NOW-0 f v"]);
    check("XADD x MAXLEN 1 * f v", &["XADD x MAXLEN = 1 NOW-0 f v"]);
    check("XTRIM x MAXLEN 1", &["XTRIM x MAXLEN = 1"]);
    check("XTRIM x MAXLEN 2", &[]);
    check(
        "XREADGROUP GROUP g a COUNT 1 STREAMS x >",
        &[
            "XGROUP CREATECONSUMER x g a",
            "XCLAIM x g a 0 1-1 TIME NOW RETRYCOUNT 1 FORCE JUSTID LASTID 1-1",
            "XGROUP SETID x g 1-1 ENTRIESREAD 1",
        ],
    );
    check(
        "XREADGROUP GROUP g a NOACK COUNT 1 STREAMS x >",
        &["XGROUP CREATECONSUMER x g a", "XGROUP SETID x g 1-1 ENTRIESREAD 1"],
    );
    check("XACK x g 1-1", &[]);
}

#[test]
fn changes_are_counted() {
    let check = |line: &str, expected: u64| {
        let mut test = TestEngine::new();
        test.run("XADD x 1-1 f v");
        test.run("XADD x 1-2 f v");
        test.run("XADD x 1-3 f v");
        let before = changes(&mut test);
        test.run(line);
        assert_eq!(changes(&mut test) - before, expected, "{line}");
    };
    check("XADD x * f v", 1);
    check("XDEL x 1-1 1-2 9-9", 2);
    check("XTRIM x MAXLEN 1", 2);
    check("XSETID x 9-9", 1);
    check("XGROUP CREATE x g 0", 1);
}

/// Redis makes an approximate trim an exact one when it logs it, and leaves LIMIT behind it.
#[test]
fn a_log_may_limit_an_exact_trim() {
    let mut test = TestEngine::new();
    for number in 1..=3 {
        test.run(&format!("XADD x {number}-0 f v"));
    }
    assert!(test.run("XTRIM x MAXLEN = 1 LIMIT 1").is_error());
    test.apply(
        b"*7\r\n$5\r\nXTRIM\r\n$1\r\nx\r\n$6\r\nMAXLEN\r\n$1\r\n=\r\n$1\r\n1\r\n$5\r\nLIMIT\r\n$1\r\n1\r\n",
    );
    assert_eq!(show(&test.run("XLEN x")), "1");
}
