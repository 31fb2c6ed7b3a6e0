//! INCREX, as Redis 8.8 answers it; no Redis that is installed here has it.

use engine::testing::checks::{Script, check_scripts};
use engine::testing::{TestEngine, show};
use resp::reply::Protocol;

const SYNTAX: &str = "-ERR syntax error";
const BAD_BOUNDS: &str = "-ERR LBOUND can't be greater than UBOUND";
const INFINITE: &str = "-ERR applied increment would be Infinity";

const WHOLE: Script = &[
    ("INCREX k", "[1 1]"),
    ("INCREX k", "[2 1]"),
    ("INCREX k BYINT 5", "[7 5]"),
    ("INCREX k BYINT -10", "[-3 -10]"),
    ("INCREX k BYINT 0", "[-3 0]"),
    ("OBJECT ENCODING k", "\"int\""),
    ("SET k 10", "+OK"),
    ("INCREX k BYINT 5 UBOUND 12", "[10 0]"),
    ("INCREX k BYINT 5 UBOUND 15", "[15 5]"),
    ("INCREX k BYINT 5 UBOUND 12", "[15 0]"),
    ("INCREX k BYINT 5 UBOUND 12 SATURATE", "[12 -3]"),
    ("INCREX k BYINT -5 LBOUND 8", "[12 0]"),
    ("INCREX k LBOUND 0 BYINT -50 UBOUND 10 SATURATE", "[0 -12]"),
    ("SET k 50", "+OK"),
    ("INCREX k BYINT -25 UBOUND 30", "[25 -25]"),
    ("INCREX new UBOUND 0", "[0 0]"),
    ("EXISTS new", "0"),
    ("INCREX new LBOUND 5 SATURATE", "[5 5]"),
    ("GET new", "\"5\""),
    ("SET k 9223372036854775800", "+OK"),
    ("INCREX k BYINT 9223372036854775800", "[9223372036854775800 0]"),
    ("INCREX k BYINT 9223372036854775800 SATURATE", "[9223372036854775807 7]"),
    ("INCREX k SATURATE UBOUND -9223372036854775808", "-ERR applied increment would overflow"),
    ("SET k -9223372036854775800", "+OK"),
    ("INCREX k BYINT -10", "[-9223372036854775800 0]"),
    ("INCREX k BYINT -10 LBOUND -9223372036854775808 SATURATE", "[-9223372036854775808 -8]"),
];

const FRACTIONS: Script = &[
    ("INCREX f BYFLOAT 2.5", "[\"2.5\" \"2.5\"]"),
    ("INCREX f BYFLOAT 0.5 UBOUND 2.75", "[\"2.5\" \"0\"]"),
    ("INCREX f BYFLOAT 0.5 UBOUND 2.75 SATURATE", "[\"2.75\" \"0.25\"]"),
    ("INCREX f BYFLOAT -100 LBOUND -5.5 SATURATE", "[\"-5.5\" \"-8.25\"]"),
    ("INCREX f BYFLOAT 1 UBOUND inf LBOUND -inf", "[\"-4.5\" \"1\"]"),
    ("INCREX f BYFLOAT 1 LBOUND -inf UBOUND -inf", "[\"-4.5\" \"0\"]"),
    ("INCREX f BYFLOAT 1 LBOUND inf UBOUND inf SATURATE", INFINITE),
    ("INCREX f BYFLOAT 1 LBOUND inf", BAD_BOUNDS),
    ("INCREX f BYFLOAT 1 UBOUND -inf", BAD_BOUNDS),
    ("INCREX f BYFLOAT 1.0 LBOUND 10.5 UBOUND 1.5", BAD_BOUNDS),
    ("INCREX f BYFLOAT +inf", "-ERR BYFLOAT increment cannot be Infinity"),
    ("INCREX f BYFLOAT abc", "-ERR Increment is not a valid float"),
    ("INCREX f BYFLOAT 1 UBOUND abc", "-ERR UBOUND is not a valid float"),
    ("INCREX f BYINT 1", "-ERR value is not an integer or out of range"),
    ("SET f inf", "+OK"),
    ("INCREX f BYFLOAT 1", "-ERR value cannot be Infinity"),
    ("SET f abc", "+OK"),
    ("INCREX f BYFLOAT 1", "-ERR value is not a valid float"),
];

const OPTIONS: Script = &[
    ("INCREX", "-ERR wrong number of arguments for 'increx' command"),
    ("INCREX k FOO", SYNTAX),
    ("INCREX k BYINT", SYNTAX),
    ("INCREX k LBOUND", SYNTAX),
    ("INCREX k EX", SYNTAX),
    ("INCREX k KEEPTTL", SYNTAX),
    ("INCREX k NX", SYNTAX),
    ("INCREX k BYINT 1 BYFLOAT 1.5", SYNTAX),
    ("INCREX k BYINT 1 BYINT 1", SYNTAX),
    ("INCREX k UBOUND 1 UBOUND 1", SYNTAX),
    ("INCREX k SATURATE SATURATE", SYNTAX),
    ("INCREX k ENX ENX EX 10", SYNTAX),
    ("INCREX k EX 10 PX 10", SYNTAX),
    ("INCREX k EX 10 EX 10", SYNTAX),
    ("INCREX k PERSIST PERSIST", SYNTAX),
    ("INCREX k PERSIST EX 10", SYNTAX),
    ("INCREX k PERSIST ENX", SYNTAX),
    ("INCREX k ENX PERSIST", SYNTAX),
    ("INCREX k ENX", "-ERR ENX flag requires an expiration"),
    ("INCREX k BYINT 1.5", "-ERR Increment is not an integer or out of range"),
    ("INCREX k UBOUND inf", "-ERR UBOUND is not an integer or out of range"),
    ("INCREX k LBOUND abc UBOUND x", "-ERR LBOUND is not an integer or out of range"),
    ("INCREX k LBOUND 6 UBOUND 5", BAD_BOUNDS),
    ("INCREX k EX 0", "-ERR invalid expire time in 'increx' command"),
    ("INCREX k PX -1", "-ERR invalid expire time in 'increx' command"),
    ("EXISTS k", "0"),
    ("SADD s m", "1"),
    ("INCREX s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("INCREX s EXAT 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
];

const TIMES: Script = &[
    ("INCREX k EX 100", "[1 1]"),
    ("TTL k", "100"),
    ("INCREX k", "[2 1]"),
    ("TTL k", "100"),
    ("INCREX k EX 50 ENX", "[3 1]"),
    ("TTL k", "100"),
    ("INCREX k EXAT 1 ENX", "[4 1]"),
    ("TTL k", "100"),
    ("INCREX k EX 50 UBOUND 0", "[4 0]"),
    ("TTL k", "100"),
    ("INCREX k PX 50000", "[5 1]"),
    ("TTL k", "50"),
    ("INCREX k PERSIST", "[6 1]"),
    ("TTL k", "-1"),
    ("INCREX k EX 70 ENX", "[7 1]"),
    ("TTL k", "70"),
    ("INCREX k PXAT 1", "[8 1]"),
    ("EXISTS k", "0"),
    ("INCREX k PXAT 1", "[1 1]"),
    ("EXISTS k", "0"),
];

#[test]
fn replies() {
    check_scripts(&[WHOLE, FRACTIONS, OPTIONS, TIMES]);
}

#[test]
fn a_sum_too_large_becomes_the_bound_or_nothing() {
    let mut test = TestEngine::new();
    test.run("SET f 1e4932");
    let reply = test.run("INCREX f BYFLOAT 1e4932");
    let items = reply.as_items().expect("a pair");
    assert_eq!(show(&items[1]), "\"0\"");
    assert_eq!(show(&test.run("GET f")), "\"1e4932\"");
    let reply = test.run("INCREX f BYFLOAT 1e4932 SATURATE");
    let items = reply.as_items().expect("a pair");
    assert_eq!(items[0], test.run("GET f"));
    let largest = show(&items[0]);
    assert!(
        largest
            .starts_with("\"118973149535723176502126385303097020516906332229462420044032373389173700552297")
    );
}

#[test]
fn fractions_are_doubles_in_resp3() {
    let mut test = TestEngine::new();
    test.set_protocol(0, Protocol::Resp3);
    assert_eq!(test.run_raw(0, &["INCREX", "f", "BYFLOAT", "2.5"]), b"*2\r\n,2.5\r\n,2.5\r\n");
    assert_eq!(test.run_raw(0, &["INCREX", "k"]), b"*2\r\n:1\r\n:1\r\n");
}

#[test]
fn effects_and_events() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("INCREX k", &["SET k 11 KEEPTTL"], &["incrby k"]),
        ("INCREX k BYFLOAT 0.5", &["SET k 10.5 KEEPTTL"], &["incrbyfloat k"]),
        ("INCREX k PX 5000", &["SET k 11 PXAT 1700000005000"], &["incrby k", "expire k"]),
        ("INCREX k PERSIST", &["SET k 11"], &["incrby k"]),
        ("INCREX k EXAT 1", &["DEL k"], &["del k"]),
        ("INCREX new EXAT 1", &[], &[]),
        ("INCREX k UBOUND 5", &[], &[]),
        ("INCREX k UBOUND 5 SATURATE", &["SET k 5 KEEPTTL"], &["incrby k"]),
        ("INCREX t PERSIST", &["SET t 6"], &["incrby t", "persist t"]),
        ("INCREX t EX 5 ENX", &["SET t 6 KEEPTTL"], &["incrby t"]),
    ];
    for (line, effects, events) in cases {
        let mut test = TestEngine::new();
        test.run("SET k 10");
        test.run("SET t 5 EX 100");
        test.collect_events("");
        test.collect_effects();
        test.run(line);
        assert_eq!(test.take_effect_lines(), *effects, "effects of {line}");
        assert_eq!(test.take_events(), *events, "events of {line}");
    }
}
