//! MEMORY USAGE is what the allocator has set aside for a key, to the byte, in each form of each type.

use base::alloc;
use engine::testing::TestEngine;

#[global_allocator]
static ALLOCATOR: alloc::Jemalloc = alloc::Jemalloc;

/// A key's share of its table, which grows by segments.
const SLOT: i64 = 9;

/// Requests that make the key `k`: each of them so many times, with the number in place of `#`.
const KEYS: &[(&str, &[(&str, usize)])] = &[
    ("an integer", &[("SET k 12345", 1)]),
    ("a short string", &[("SET k short", 1)]),
    ("a string of 1000 bytes", &[("SETRANGE k 999 x", 1)]),
    ("a string of 2 MB", &[("SETRANGE k 2000000 x", 1)]),
    ("a string that grew", &[("APPEND k 0123456789abcdef", 1000)]),
    ("a string that expires", &[("SET k short EX 1000", 1)]),
    ("a key that expires later", &[("SET k 1", 1), ("EXPIRE k 1000", 1)]),
    ("a sketch", &[("PFADD k #", 3000)]),
    ("a few integers", &[("SADD k #", 100)]),
    ("many integers", &[("SADD k #", 3000)]),
    ("a small set", &[("SADD k member#", 20)]),
    ("a large set", &[("SADD k member#", 3000)]),
    ("a set that shrank", &[("SADD k member#", 3000), ("SPOP k 2900", 1)]),
    ("a small hash", &[("HSET k field# value#", 20)]),
    ("a large hash", &[("HSET k field# value#", 3000)]),
    ("fields that expire", &[("HSET k field# value#", 3000), ("HEXPIRE k 1000 FIELDS 1 field#", 1000)]),
    ("a hash with large values", &[("HSET k field# value#", 200), ("HSET k field# %", 50)]),
    ("a small sorted set", &[("ZADD k # member#", 20)]),
    ("a large sorted set", &[("ZADD k # member#", 3000)]),
    ("a sorted set that shrank", &[("ZADD k # member#", 3000), ("ZREMRANGEBYRANK k 10 2990", 1)]),
    ("a small list", &[("RPUSH k element#", 20)]),
    ("a large list", &[("RPUSH k element#", 5000)]),
    ("a list with large elements", &[("LPUSH k %", 30), ("RPUSH k small", 30)]),
    ("a set of 30000", &[("SADD k member#", 30_000)]),
    ("a hash of 30000", &[("HSET k field# value#", 30_000)]),
    ("a sorted set of 30000", &[("ZADD k # member#", 30_000)]),
    ("a stream", &[("XADD k * field #", 2000)]),
    ("a stream of one entry", &[("XADD k 1-1 field value", 1), ("XGROUP CREATE k group 0", 1)]),
    (
        "a stream with a group",
        &[
            ("XADD k * field #", 500),
            ("XGROUP CREATE k group 0", 1),
            ("XREADGROUP GROUP group consumer# COUNT 50 STREAMS k >", 5),
            ("XGROUP CREATECONSUMER k group other#", 100),
            ("XGROUP DELCONSUMER k group other#", 50),
            ("XAUTOCLAIM k group consumer1 0 0 COUNT 20", 1),
        ],
    ),
    (
        "a stream with many groups",
        &[("XADD k 1-1 field 1", 1), ("XGROUP CREATE k group# 0", 100), ("XGROUP DESTROY k group#", 40)],
    ),
    ("a stream with producers", &[("XADD k IDMPAUTO producer1 * field #", 200)]),
    ("a stream with many producers", &[("XADD k IDMPAUTO producer# * field #", 200)]),
];

/// Bytes that this thread holds: tables give segments back to a pool, and take them from it.
fn held() -> i64 {
    alloc::thread_balance() - alloc::segment_pool_bytes() as i64
}

fn make(test: &mut TestEngine, requests: &[(&str, usize)], long: &str) {
    for (request, times) in requests {
        for number in 0..*times {
            let reply = test.run(&request.replace('#', &number.to_string()).replace('%', long));
            assert!(!reply.is_error(), "{request}: {reply:?}");
        }
    }
}

/// What a request sets aside for the key is what that is said to take. The second such key is looked at: more
/// comes with the first one.
fn check(what: &str, test: &mut TestEngine, key: &str, request: impl Fn(&mut TestEngine)) {
    request(test);
    test.run(&format!("RENAME {key} first"));
    test.run("MEMORY USAGE first");
    let before = held();
    request(test);
    let found = held() - before;
    let told = test.run(&format!("MEMORY USAGE {key} SAMPLES 0")).as_i64().expect("a number");
    assert_eq!(told - SLOT, found, "{what}: {key}");
    test.run("DEL first");
}

#[test]
fn usage_is_exact() {
    let long = "x".repeat(20_000);
    for (what, requests) in KEYS {
        let mut test = TestEngine::new();
        check(what, &mut test, "k", |test| make(test, requests, &long));
        // The bytes of large strings are shared.
        if test.run("TYPE k").as_text().as_deref() != Some("string") {
            check(what, &mut test, "copy", |test| assert_eq!(test.run("COPY k copy").as_i64(), Some(1)));
        }
    }
}
