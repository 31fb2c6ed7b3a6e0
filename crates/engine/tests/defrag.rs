//! Memory that is full of holes: after some slices of defragmentation little more is held than used, and the
//! data are what they were.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::alloc;
use base::random::Rng;
use engine::testing::{TestEngine, show};
use store::plan::Plan;

#[global_allocator]
static ALLOCATOR: alloc::Jemalloc = alloc::Jemalloc;

/// What is allocated counts for the whole process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(alloc::thread_cache_off());
    guard
}

/// Bytes that the allocator holds for a thousand that are used: in pages with data, and in all but those of
/// its own tables.
fn held() -> (usize, usize) {
    alloc::purge();
    let stats = alloc::stats();
    let resident = stats.resident - stats.metadata;
    (stats.active * 1000 / stats.allocated, resident * 1000 / stats.allocated)
}

/// Bytes that are free between others.
fn holes() -> usize {
    alloc::stats();
    alloc::slabs().iter().map(|slabs| slabs.free_bytes()).sum()
}

/// Slices until a whole round moves nothing; their number is bounded.
fn defragment(test: &mut TestEngine) {
    let mut idle = 0;
    for slice in 0..SLICES_MOST {
        idle = if test.engine.defrag.slice(&test.engine, 100_000) == 0 { idle + 1 } else { 0 };
        if slice % 20 == 0 {
            test.check_invariants();
            // The slabs are looked at anew.
            test.advance_ms(1000);
        }
        if idle > IDLE_SLICES {
            break;
        }
    }
    test.check_invariants();
}

/// The clock stands still during a slice, which ends after a number of steps then.
const SLICES_MOST: usize = 1000;
const IDLE_SLICES: usize = 50;

fn run(test: &mut TestEngine, words: &[&str]) {
    let reply = show(&test.run_words(words));
    assert!(!reply.starts_with('-'), "{words:?}: {reply}");
}

/// The goal of issue 5 at a smaller scale, in counts instead of seconds. There is enough data that the slab
/// which each arena fills next, one for each size, and the caches of the test's other threads do not count.
#[test]
fn keys_of_another_size_fill_the_holes() {
    let _alone = alone();
    let mut test = TestEngine::new();
    let mut rng = Rng::from_seed(5);
    let (small, large) = ("v".repeat(64), "w".repeat(256));
    for key in 0..KEYS {
        run(&mut test, &["SET", &format!("key:{key}"), &small]);
    }
    for key in 0..KEYS {
        if rng.below(10) > 0 {
            run(&mut test, &["DEL", &format!("key:{key}")]);
        }
    }
    for key in 0..KEYS / 4 {
        run(&mut test, &["SET", &format!("new:{key}"), &large]);
    }
    let (before, digest) = (held(), test.digest());
    defragment(&mut test);
    let after = held();
    assert!(before.0 > 1300, "the test makes holes: {before:?}");
    assert!(after.0 < 1060 && after.1 < 1100, "{before:?}, then {after:?}");
    assert!(test.digest() == digest, "nothing else changed");
}

const KEYS: usize = 300_000;

/// Scripts and keys of one size come in turns; then the keys go.
#[test]
fn scripts_move() {
    let _alone = alone();
    let mut test = TestEngine::new();
    let text = |script: usize| format!("--{}\nreturn {script:06}", "x".repeat(400));
    for script in 0..SCRIPTS {
        run(&mut test, &["SCRIPT", "LOAD", &text(script)]);
        // With the key it is as long as a script.
        run(&mut test, &["SET", &format!("key:{script}"), &text(script)[..380]]);
    }
    run(&mut test, &["FLUSHALL"]);
    let before = holes();
    defragment(&mut test);
    let after = holes();
    // What the machine has compiled leaves holes too, and stays where it is.
    assert!(before > after + 350 * SCRIPTS, "{before}, then {after}");
    for script in 0..SCRIPTS {
        run(&mut test, &["EVAL", &text(script), "0"]);
    }
    assert_eq!(test.engine.scripts.count(), SCRIPTS);
}

const SCRIPTS: usize = 10_000;

/// Whoever asks now and then whether it works sees that it did, though its work took a moment.
#[test]
fn it_is_active_until_the_slabs_are_looked_at() {
    [false, true].into_iter().for_each(check_activity);
}

/// Three of four keys are gone.
fn with_holes() -> TestEngine {
    let mut test = TestEngine::with_config(|config| config.active_defrag_ignore_bytes = 1000);
    for key in 0..ELEMENTS {
        run(&mut test, &["SET", &format!("key:{key}"), &"v".repeat(100)]);
    }
    for key in (0..ELEMENTS).filter(|key| key % 4 > 0) {
        run(&mut test, &["DEL", &format!("key:{key}")]);
    }
    test
}

/// By a thread that goes on with a cache of its own; the one that tends leaves the work to it meanwhile.
#[test]
fn whose_clients_wait_helps() {
    let _alone = alone();
    let test = with_holes();
    let (before, digest) = (holes(), test.digest());
    let engine = &test.engine;
    let guard = engine.store.lock(&Plan::All);
    assert!(!engine.defrag.help(engine), "somebody has the shards");
    assert_eq!(alloc::mallctl_read(c"thread.tcache.enabled"), Some(true));
    drop(guard);
    engine.defrag.tend(engine);
    assert_eq!(engine.defrag.figures(0).moved, 0, "who helps is at it");
    let slices = (0..SLICES_MOST).take_while(|_| engine.defrag.help(engine)).count();
    assert!(slices > 0 && slices < SLICES_MOST, "{slices} slices");
    assert!(holes() < before / 2, "{before}, then {}", holes());
    assert!(test.digest() == digest, "nothing else changed");
}

/// The clock stands still: nothing waits until the slabs are looked at by themselves.
#[test]
fn a_share_that_is_configured_counts_at_once() {
    let _alone = alone();
    let mut test = with_holes();
    let steps: [(&[&str], u64); 5] = [
        // A slice does little of the work.
        (&["active-defrag-max-scan-fields", "1", "active-defrag-cycle-min", "5"], 5),
        (&["active-defrag-cycle-max", "60", "active-defrag-cycle-min", "60"], 60),
        (&["active-defrag-cycle-min", "2", "active-defrag-cycle-max", "2"], 2),
        (&["activedefrag", "no"], 0),
        (&["activedefrag", "yes"], 2),
    ];
    for (settings, percent) in steps {
        run(&mut test, &[&["CONFIG", "SET"], settings].concat());
        test.engine.defrag.tend(&test.engine);
        assert_eq!(test.engine.defrag.figures(0).percent, percent, "{settings:?}");
    }
    assert!(test.engine.defrag.figures(0).moved > 0);
}

#[test]
fn it_takes_little_time_while_a_worker_is_busy() {
    let _alone = alone();
    let mut test = with_holes();
    // A slice does little of the work.
    for (name, value) in
        [("max-scan-fields", "1"), ("cycle-min", "3"), ("cycle-max", "60"), ("threshold-upper", "1000")]
    {
        run(&mut test, &["CONFIG", "SET", &format!("active-defrag-{name}"), value]);
    }
    let wanted = percent_after(&mut test, 0);
    assert!(wanted > 6, "{wanted}");
    assert_eq!(percent_after(&mut test, 100), 3);
    let between = percent_after(&mut test, 25);
    assert!((4..wanted).contains(&between), "{between}");
    assert_eq!(percent_after(&mut test, 0), wanted);
    // Memory is short.
    test.engine.defrag.hurry(true);
    assert_eq!(percent_after(&mut test, 100), 60);
}

/// What it takes after a tenth of a second of which a worker worked so many milliseconds.
fn percent_after(test: &mut TestEngine, worked_ms: u64) -> u64 {
    test.engine.stats[0].tick_ns.add(worked_ms * 1_000_000);
    test.advance_ms(100);
    test.engine.defrag.tend(&test.engine);
    test.engine.defrag.figures(0).percent
}

fn check_activity(while_loading: bool) {
    let _alone = alone();
    let mut test = with_holes();
    test.engine.loading.store(while_loading, Ordering::Relaxed);
    let defrag = &test.engine.defrag;
    defrag.tend(&test.engine);
    assert!(defrag.gain() > 0, "it has begun");
    for _ in 0..SLICES_MOST {
        defrag.tend(&test.engine);
    }
    let moved = defrag.figures(0).moved;
    assert!(moved > 0 && defrag.gain() == 0, "its work is done");
    assert!(defrag.figures(0).percent > 0);
    test.advance_ms(1000);
    test.engine.defrag.tend(&test.engine);
    assert_eq!((test.engine.defrag.figures(0).percent, test.engine.defrag.figures(0).moved), (0, moved));
}

/// Two large values of each type grow side by side; then one of the two goes.
#[test]
fn large_values_of_every_type_move() {
    let _alone = alone();
    let mut test = TestEngine::with_config(|config| {
        config.thresholds.list_node_size = 5;
        config.thresholds.stream_node_entries = 5;
    });
    for element in 0..ELEMENTS {
        for side in ["stays", "goes"] {
            grow(&mut test, side, &format!("element:{element}"));
        }
    }
    for kind in ["hash", "set", "zset", "list", "stream"] {
        run(&mut test, &["DEL", &format!("{kind}:goes")]);
    }
    let (before, digest) = (holes(), test.digest());
    defragment(&mut test);
    let after = holes();
    assert!(before > 100 * ELEMENTS, "the test makes holes: {before}");
    assert!(after < before / 4, "{before}, then {after}");
    assert!(test.digest() == digest, "nothing else changed");
}

const ELEMENTS: usize = 40_000;

fn grow(test: &mut TestEngine, side: &str, element: &str) {
    let key = |kind: &str| format!("{kind}:{side}");
    run(test, &["HSET", &key("hash"), element, "value of some length"]);
    run(test, &["SADD", &key("set"), element]);
    run(test, &["ZADD", &key("zset"), &element["element:".len()..], element]);
    run(test, &["RPUSH", &key("list"), element]);
    run(test, &["XADD", &key("stream"), "*", "field", element]);
    if element == "element:0" {
        run(test, &["XGROUP", "CREATE", &key("stream"), "group", "0"]);
    }
    run(test, &["XREADGROUP", "GROUP", "group", "one", "COUNT", "1", "STREAMS", &key("stream"), ">"]);
}
