//! What commands of sorted sets announce: events, effects, counts of changes, and keys to those who wait.

use engine::config::DebugAccess;
use engine::testing::checks::{changes, check_wait};
use engine::testing::{TestEngine, show};

/// A request on `z` (a:1 b:2 c:3), `single` (x:5) and the set `s`, its events, and its effects.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    ("ZADD new 1 a 2 b", &["new new", "zadd new"], &["ZADD new 1 a 2 b"]),
    ("ZADD z 1 a", &[], &[]),
    ("ZADD z 1.0 a 7 b", &["zadd z"], &["ZADD z 1.0 a 7 b"]),
    ("ZADD z XX 9 none", &[], &[]),
    ("ZADD new XX 9 none", &[], &[]),
    ("ZADD z NX 9 a", &[], &[]),
    ("ZADD z GT 0 a", &[], &[]),
    ("ZADD z INCR 5 a", &["zincr z"], &["ZADD z INCR 5 a"]),
    ("ZADD z INCR 0 a", &[], &[]),
    ("ZINCRBY z 0.5 a", &["zincr z"], &["ZINCRBY z 0.5 a"]),
    ("ZREM z none", &[], &[]),
    ("ZREM z a none", &["zrem z"], &["ZREM z a none"]),
    ("ZREM single x", &["zrem single", "del single"], &["ZREM single x"]),
    ("ZREMRANGEBYRANK z 0 0", &["zremrangebyrank z"], &["ZREMRANGEBYRANK z 0 0"]),
    ("ZREMRANGEBYRANK z 5 9", &[], &[]),
    ("ZREMRANGEBYSCORE z -inf +inf", &["zremrangebyscore z", "del z"], &["ZREMRANGEBYSCORE z -inf +inf"]),
    ("ZREMRANGEBYLEX z - [a", &["zremrangebylex z"], &["ZREMRANGEBYLEX z - [a"]),
    ("ZPOPMIN z", &["zpopmin z"], &["ZPOPMIN z"]),
    ("ZPOPMAX single 3", &["zpopmax single", "del single"], &["ZPOPMAX single 3"]),
    ("ZPOPMAX single 0", &[], &[]),
    ("ZMPOP 2 none z MIN COUNT 2", &["zpopmin z"], &["ZPOPMIN z 2"]),
    ("ZMPOP 1 single MAX COUNT 9", &["zpopmax single", "del single"], &["ZPOPMAX single 1"]),
    ("ZMPOP 1 none MAX", &[], &[]),
    ("BZPOPMIN z 0", &["zpopmin z"], &["ZPOPMIN z"]),
    ("BZPOPMAX none single 0", &["zpopmax single", "del single"], &["ZPOPMAX single"]),
    ("BZMPOP 0 1 z MIN", &["zpopmin z"], &["ZPOPMIN z 1"]),
    ("ZRANGESTORE z z 0 1", &["zrangestore z"], &["ZRANGESTORE z z 0 1"]),
    ("ZRANGESTORE z z 5 9", &["del z"], &["ZRANGESTORE z z 5 9"]),
    ("ZRANGESTORE none z 5 9", &[], &[]),
    ("ZUNIONSTORE new 2 z s", &["new new", "zunionstore new"], &["ZUNIONSTORE new 2 z s"]),
    ("ZINTERSTORE s 2 z z", &["zinterstore s"], &["ZINTERSTORE s 2 z z"]),
    ("ZINTERSTORE z 2 z single", &["del z"], &["ZINTERSTORE z 2 z single"]),
    ("ZDIFFSTORE single 2 z s", &["zdiffstore single"], &["ZDIFFSTORE single 2 z s"]),
    ("ZRANDMEMBER z 2", &[], &[]),
    ("ZSCORE none a", &["keymiss none"], &[]),
    ("ZUNION 2 z none", &["keymiss none"], &[]),
];

#[test]
fn events_and_effects() {
    for (line, events, effects) in CASES {
        let mut test = TestEngine::new();
        for line in ["ZADD z 1 a 2 b 3 c", "ZADD single 5 x", "SADD s a q"] {
            test.run(line);
        }
        test.collect_events("mn");
        test.collect_effects();
        let reply = test.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        assert_eq!(test.take_events(), *events, "{line}");
        assert_eq!(test.take_effect_lines(), *effects, "{line}");
    }
}

#[test]
fn changes_are_counted() {
    let check = |line: &str, expected: u64| {
        let mut test = TestEngine::new();
        test.run("ZADD z 1 a 2 b 3 c 4 d");
        let before = changes(&mut test);
        test.run(line);
        assert_eq!(changes(&mut test) - before, expected, "{line}");
    };
    check("ZADD z 1 a 3 b 5 x 6 y", 3);
    check("ZINCRBY z 1 a", 1);
    check("ZREM z a b none", 2);
    check("ZREMRANGEBYRANK z 1 3", 3);
    check("ZPOPMIN z 2", 2);
    check("ZPOPMAX z 9", 4);
    check("ZRANGESTORE new z 0 -1", 1);
    check("ZUNIONSTORE new 2 z z", 1);
}

#[test]
fn who_waits_is_served() {
    let popped = "[\"b\" \"x\" \"1\"]";
    check_wait("BZPOPMIN a b 0", &["ZADD b 2 y 1 x"], popped, &["ZADD b 2 y 1 x", "ZPOPMIN b"]);
    check_wait("BZPOPMIN a b 0", &["SET b x", "LPUSH a x", "DEL b", "ZADD b 1 x"], popped, &["ZPOPMIN b"]);
    check_wait("BZPOPMAX b 0", &["ZADD c 1 x 0 y", "RENAME c b"], popped, &["ZPOPMAX b"]);
    check_wait("BZPOPMAX b 0", &["SADD c x", "ZUNIONSTORE b 1 c"], popped, &["ZPOPMAX b"]);
    check_wait("BZPOPMAX b 0", &["ZADD c 1 x 0 y", "ZRANGESTORE b c 0 -1"], popped, &["ZPOPMAX b"]);
    check_wait("BZPOPMIN b 0", &["ZINCRBY b 1 x"], popped, &["ZPOPMIN b"]);
    let several = "[\"b\" [[\"y\" \"2\"] [\"x\" \"1\"]]]";
    check_wait("BZMPOP 0 2 a b MAX COUNT 5", &["ZADD b 1 x 2 y"], several, &["ZPOPMAX b 2"]);
    check_wait("BZMPOP 0 2 a b MIN", &["ZADD b 1 x 2 y"], "[\"b\" [[\"x\" \"1\"]]]", &["ZPOPMIN b 1"]);
}

#[test]
fn each_member_serves_one_in_the_order_of_arrival() {
    let mut test = TestEngine::new();
    let waiting: Vec<usize> = (0..3).map(|_| test.connect()).collect();
    for (&session, command) in waiting.iter().zip(["BZPOPMIN", "BZPOPMAX", "BZPOPMIN"]) {
        test.run_raw(session, &[command, "z", "0"]);
    }
    assert_eq!(show(&test.run("ZADD z 1 a 2 b")), "2");
    let served: Vec<_> = test.take_served().iter().map(|(who, reply)| (*who, show(reply))).collect();
    let expected = [(waiting[0], "[\"z\" \"a\" \"1\"]"), (waiting[1], "[\"z\" \"b\" \"2\"]")];
    assert_eq!(served, expected.map(|(who, reply)| (who, reply.to_owned())));
    assert_eq!(show(&test.run("EXISTS z")), "0");
    test.run("ZADD z 3 c");
    assert_eq!(test.take_served().len(), 1);
    test.check_invariants();
}

/// The time stands still in a transaction, not for those who wait for its end.
#[test]
fn what_has_expired_serves_nobody() {
    let mut test = TestEngine::with_config(|config| config.enable_debug_command = DebugAccess::Yes);
    let waiting = test.connect();
    test.run_raw(waiting, &["BZPOPMIN", "z", "0"]);
    for line in ["MULTI", "ZADD z 1 a", "PEXPIRE z 100", "DEBUG SLEEP 0.2", "EXEC"] {
        test.run(line);
    }
    assert_eq!(test.take_served(), []);
    assert_eq!(show(&test.run("ZADD z 2 b")), "1");
    assert_eq!(test.take_served().len(), 1);
}

#[test]
fn copies_and_dumps() {
    for count in [3, 129, 5_000] {
        let mut test = TestEngine::new();
        for index in 0..count {
            let score = f64::from(index * 7919 % 1000) / 3.0;
            test.run(&format!("ZADD z {score} member:{index}"));
        }
        test.run("ZADD z inf infinite -inf least");
        let expected = test.run("ZRANGE z 0 -1 WITHSCORES");
        test.run("COPY z copy");
        let payload = test.run("DUMP z");
        let payload = payload.as_bytes().expect("a payload").to_vec();
        test.run_words(&[b"RESTORE".as_slice(), b"restored", b"0", &payload]);
        test.run("ZADD z 5 more");
        for key in ["copy", "restored"] {
            assert_eq!(test.run(&format!("ZRANGE {key} 0 -1 WITHSCORES")), expected);
            assert_eq!(
                test.run(&format!("OBJECT ENCODING {key}")),
                if count > 100 { "skiplist" } else { "listpack" }.into()
            );
        }
        test.check_invariants();
    }
}
