//! Keys give way when memory is used up: which ones, how many, and what is told of it.

use std::sync::atomic::Ordering;

use base::alloc;
use base::random::Rng;
use engine::config::EvictionPolicy;
use engine::memory::{Look, Memory, Meter};
use engine::testing::{TestEngine, show};
use testkit::caches::{Rule, Zipf};

#[global_allocator]
static ALLOCATOR: alloc::Jemalloc = alloc::Jemalloc;

const KEYS: usize = 2000;
const ADDED: usize = 500;
const VALUE_LEN: usize = 1000;

fn set(test: &mut TestEngine, key: &str) -> String {
    show(&test.run_words(&[b"SET".to_vec(), key.as_bytes().to_vec(), vec![b'v'; VALUE_LEN]]))
}

/// An engine with keys `k0` to `k1999`, of which a minute later those of every fourth number are used, and
/// then so much memory at most as is in use now.
fn full(policy: EvictionPolicy, prepare: fn(&mut TestEngine, usize)) -> TestEngine {
    let mut test = TestEngine::with_config(|config| config.maxmemory_policy = policy);
    for index in 0..KEYS {
        assert_eq!(set(&mut test, &format!("k{index}")), "+OK");
        prepare(&mut test, index);
    }
    test.advance_ms(60_000);
    for index in (0..KEYS).step_by(4) {
        (0..20).for_each(|_| drop(test.run(&format!("GET k{index}"))));
    }
    test.advance_ms(1000);
    limit(&test);
    test
}

fn limit(test: &TestEngine) {
    let used = alloc::stats().allocated;
    let look = Look { allocated: used, resident: used, limit: used as u64, ..Look::default() };
    test.engine.memory.refresh(look, 0);
}

fn evicted(test: &TestEngine) -> usize {
    test.engine.evicted_keys.load(Ordering::Relaxed) as usize
}

/// A script that alone would fill memory is stopped, whether keys may give way or not: none does while it
/// runs.
#[test]
fn a_script_does_not_outgrow_memory() {
    let source = "for i = 1, 20000 do redis.call('set', 'big' .. i, ARGV[1]) end return 1";
    let value = "x".repeat(10_000);
    for policy in [EvictionPolicy::NoEviction, EvictionPolicy::AllkeysLru] {
        let mut test = TestEngine::with_config(|config| config.maxmemory_policy = policy);
        test.collect_effects();
        let (allocated, limit) = (alloc::stats().allocated, 30 << 20);
        let look =
            Look { allocated, resident: allocated, limit: (allocated + limit) as u64, ..Look::default() };
        test.engine.memory.refresh(look, 0);
        let before = alloc::thread_balance();
        let reply = show(&test.run_words(&["EVAL", source, "0", &value]));
        assert!(reply.starts_with("-OOM command not allowed when used memory > 'maxmemory'."), "{reply}");
        let grown = (alloc::thread_balance() - before) as usize;
        assert!(grown < 4 * limit, "{grown} bytes");
        let allowed = ["EVAL", &format!("#!lua flags=allow-oom\n{source}"), "0", "x"];
        assert_eq!(show(&test.run_words(&allowed)), "1");
    }
    // What takes little runs to its end, though it fills memory.
    let mut test = full(EvictionPolicy::AllkeysLru, |_, _| {});
    let source = "for i = 1, 50 do redis.call('set', 'n' .. i, ARGV[1]) end return 1";
    assert_eq!(show(&test.run_words(&["EVAL", source, "0", "x"])), "1");
}

/// How many of the old keys with such numbers are left.
fn left(test: &mut TestEngine, wanted: impl Fn(usize) -> bool) -> usize {
    let numbers = (0..KEYS).filter(|index| wanted(*index));
    numbers.filter(|index| show(&test.run(&format!("EXISTS k{index}"))) == "1").count()
}

fn is_used(index: usize) -> bool {
    index.is_multiple_of(4)
}

/// Adds keys; as many old ones have to go, about.
fn add(test: &mut TestEngine) {
    for index in 0..ADDED {
        assert_eq!(set(test, &format!("added{index}")), "+OK", "key {index}");
    }
    let gone = evicted(test);
    assert!((ADDED - 50..ADDED + 100).contains(&gone), "{gone} evicted for {ADDED} added");
    let keys = count(test);
    assert_eq!(keys, KEYS + ADDED - gone, "each evicted key is counted");
}

fn nothing(_: &mut TestEngine, _: usize) {}

#[test]
fn the_least_used_go() {
    for policy in [EvictionPolicy::AllkeysLru, EvictionPolicy::AllkeysLfu] {
        let mut test = full(policy, nothing);
        add(&mut test);
        let used = left(&mut test, is_used);
        assert!(used >= KEYS / 4 - 5, "{policy:?}: {used} of the used keys are left");
    }
}

#[test]
fn any_may_go() {
    let mut test = full(EvictionPolicy::AllkeysRandom, nothing);
    add(&mut test);
    let used = left(&mut test, is_used);
    assert!((KEYS / 8..KEYS / 4 - 20).contains(&used), "{used} of the used keys are left");
}

#[test]
fn reads_do_not_save_what_is_not_modified() {
    let mut test = full(EvictionPolicy::AllkeysLrm, nothing);
    for index in (0..KEYS).step_by(2) {
        test.run(&format!("APPEND k{index} x"));
    }
    limit(&test);
    test.advance_ms(60_000);
    (1..KEYS).step_by(2).for_each(|index| drop(test.run(&format!("GET k{index}"))));
    add(&mut test);
    let modified = left(&mut test, |index| index.is_multiple_of(2));
    assert!(modified >= KEYS / 2 - 5, "{modified} of the modified keys are left");
}

/// Every tenth key has a time to live, the later the higher its number.
fn expire_some(test: &mut TestEngine, index: usize) {
    if index.is_multiple_of(10) {
        test.run(&format!("EXPIRE k{index} {}", 100_000 + index));
    }
}

#[test]
fn only_keys_with_a_time_to_live_go_if_so_it_was_said() {
    for policy in [
        EvictionPolicy::VolatileLru,
        EvictionPolicy::VolatileLfu,
        EvictionPolicy::VolatileLrm,
        EvictionPolicy::VolatileRandom,
        EvictionPolicy::VolatileTtl,
    ] {
        let mut test = full(policy, expire_some);
        (0..100).for_each(|index| assert_eq!(set(&mut test, &format!("added{index}")), "+OK"));
        if policy == EvictionPolicy::VolatileTtl {
            let late = left(&mut test, |index| index.is_multiple_of(10) && index >= KEYS / 2 + 300);
            assert!(late >= 60, "{late} of those that expire last are left");
        }
        let reply =
            (100..KEYS).map(|index| set(&mut test, &format!("added{index}"))).find(|reply| reply != "+OK");
        let refusal = "-OOM command not allowed when used memory > 'maxmemory'.";
        assert_eq!(reply.as_deref(), Some(refusal), "{policy:?}: at last there are none");
        assert_eq!(left(&mut test, |index| index.is_multiple_of(10)), 0, "{policy:?}");
        assert_eq!(left(&mut test, |index| !index.is_multiple_of(10)), KEYS - KEYS / 10, "{policy:?}");
        assert_eq!(show(&test.run("DEL k1")), "1", "what needs no memory is served");
    }
}

/// Hashes of which fields expire may not go, and do not hide the few keys that may.
#[test]
fn keys_with_a_time_to_live_are_found_among_fields_that_expire() {
    let mut test = full(EvictionPolicy::VolatileLru, |test, index| {
        test.run(&format!("HSET h{index} f v"));
        test.run(&format!("HEXPIRE h{index} 1000 FIELDS 1 f"));
        if index.is_multiple_of(100) {
            test.run(&format!("EXPIRE k{index} 1000"));
        }
    });
    (0..15).for_each(|index| assert_eq!(set(&mut test, &format!("added{index}")), "+OK"));
    (15..100).for_each(|index| drop(set(&mut test, &format!("added{index}"))));
    assert_eq!(left(&mut test, |index| index.is_multiple_of(100)), 0, "all that may go do");
}

/// What is read still frees nothing when it goes.
#[test]
fn a_value_that_is_read_makes_no_room() {
    for is_read in [false, true] {
        let mut test =
            TestEngine::with_config(|config| config.maxmemory_policy = EvictionPolicy::VolatileLru);
        for first in (0..50_000).step_by(1000) {
            let members: String = (first..first + 1000).map(|number| format!(" member:{number}")).collect();
            test.run(&format!("SADD set{members}"));
        }
        test.run("EXPIRE set 1000");
        let reader = test.connect();
        if is_read {
            test.begin_raw(reader, &["SMEMBERS", "set"]);
        }
        let used = alloc::stats().allocated;
        let look = Look { allocated: used, resident: used, limit: used as u64 - 1000, ..Look::default() };
        test.engine.memory.refresh(look, 0);
        let expected =
            if is_read { "-OOM command not allowed when used memory > 'maxmemory'." } else { "+OK" };
        assert_eq!(set(&mut test, "key"), expected);
        assert_eq!(evicted(&test), 1);
    }
}

/// A flush makes room at once, whoever frees what it took out, and however long that takes.
#[test]
fn what_was_flushed_is_room() {
    for policy in [EvictionPolicy::NoEviction, EvictionPolicy::AllkeysLru] {
        for flush in ["FLUSHALL ASYNC", "FLUSHALL SYNC"] {
            let mut test = full(policy, nothing);
            let before = evicted(&test);
            *test.host.garbage.lock() = Some(Vec::new());
            assert_eq!(show(&test.run(flush)), "+OK");
            for index in 0..ADDED {
                assert_eq!(set(&mut test, &format!("added{index}")), "+OK", "{policy:?} {flush}");
            }
            assert_eq!(evicted(&test), before);
            assert_eq!(count(&mut test), ADDED);
        }
    }
}

#[test]
fn an_eviction_is_a_deletion_to_all_who_want_to_know() {
    let mut test = full(EvictionPolicy::AllkeysLru, nothing);
    test.configure(|config| config.notify_keyspace_events = engine::notify::class::EVICTED | 3);
    let watcher = test.connect();
    (0..KEYS).for_each(|index| drop(test.run_as(watcher, &format!("WATCH k{index}"))));
    assert_eq!(set(&mut test, "one more"), "+OK");
    assert_eq!(set(&mut test, "and another"), "+OK");
    assert!(evicted(&test) > 0);
    test.run_as(watcher, "MULTI");
    assert_eq!(show(&test.run_as(watcher, "EXEC")), "nil", "a watched key was evicted");
}

/// Messages that workers have not come to yet take more memory than the keys did that they are about.
#[test]
fn no_key_goes_for_what_is_on_its_way_to_who_is_told() {
    let mut test = TestEngine::with_config(|config| config.maxmemory_policy = EvictionPolicy::AllkeysLru);
    let names: Vec<String> = (0..KEYS).map(|index| format!("{index}:{}", "n".repeat(VALUE_LEN))).collect();
    let readers: Vec<usize> = (0..100).map(|_| test.connect()).collect();
    for &reader in &readers {
        test.run_as(reader, "HELLO 3");
        test.run_as(reader, "CLIENT TRACKING ON");
    }
    for name in &names {
        test.run(&format!("SET {name} x"));
        readers.iter().for_each(|&reader| drop(test.run_as(reader, &format!("GET {name}"))));
    }
    let most = alloc::stats().allocated - 40 * VALUE_LEN;
    for _ in 0..200 {
        let allocated = alloc::stats().allocated;
        let look = Look { allocated, resident: most, limit: most as u64, ..Look::default() };
        test.engine.memory.refresh(look, 0);
        test.run("SET key x");
    }
    let evicted = evicted(&test);
    // Each name is in its entry and in the table of those who read it.
    assert!((10..40).contains(&evicted), "{evicted} keys for as much as 40 names take");
    assert!(test.host.posts.lock().len() >= evicted * readers.len());
}

#[test]
fn a_thread_reports_what_it_holds() {
    let (memory, mut meter) = (Memory::default(), Meter::default());
    meter.report(&memory);
    memory.refresh(Look { limit: 1 << 20, ..Look::default() }, 0);
    let block = vec![1u8; 2 << 20];
    meter.report(&memory);
    assert!(memory.is_over());
    drop(block);
    meter.report(&memory);
    assert!(!memory.is_over());
}

/// Requests by Zipf's law, fifty in a second; what is missed is put in. `testkit/benches/misses.rs` shows the
/// same of whole servers.
#[test]
fn little_more_is_missed_than_by_exact_rules() {
    for (policy, rule, most_percent) in [
        (EvictionPolicy::AllkeysLru, Rule::LeastRecent, 110),
        (EvictionPolicy::AllkeysLfu, Rule::LeastFrequent, 120),
    ] {
        let mut test = TestEngine::with_config(|config| config.maxmemory_policy = policy);
        let (zipf, mut rng) = (Zipf::new(10 * ROOM as u64), Rng::from_seed(3));
        let trace: Vec<usize> = (0..REQUESTS).map(|_| zipf.key(&mut rng)).collect();
        let (mut missed, mut full_at) = (0, None);
        for (index, key) in trace.iter().enumerate() {
            if !ask(&mut test, &format!("key:{key:05}")) {
                missed += usize::from(full_at.is_some());
            }
            if full_at.is_none() && count(&mut test) == ROOM {
                limit(&test);
                full_at = Some(index + 1);
            }
        }
        let (full_at, room) = (full_at.expect("so many keys are asked for"), count(&mut test));
        assert!(room.abs_diff(ROOM) < ROOM / 20, "{room} keys have room");
        let ideal = testkit::caches::misses(&trace, full_at, room, rule);
        assert!(
            missed * 100 < ideal * most_percent,
            "{policy:?}: {missed} missed, and {ideal} by exact rules"
        );
        assert!(missed * 10 > ideal * 9, "{policy:?}: {missed} missed, and {ideal} by exact rules");
    }
}

const REQUESTS: usize = 60_000;
const ROOM: usize = 1000;

/// False if the key was missed; it is there now.
fn ask(test: &mut TestEngine, key: &str) -> bool {
    test.advance_ms(20);
    let found = show(&test.run_words(&["GET", key])) != "nil";
    if !found {
        assert_eq!(set(test, key), "+OK");
    }
    found
}

fn count(test: &mut TestEngine) -> usize {
    show(&test.run("DBSIZE")).parse().expect("a number")
}
