//! A script on another worker has been running for too long and holds every shard: nothing that a worker does
//! beside its clients' requests waits for that, and what had to be left is made up for afterwards.

use std::sync::atomic::Ordering;

use base::alloc;
use base::random::Rng;
use engine::args::OwnedArgv;
use engine::blocking::ReadyKey;
use engine::config::EvictionPolicy;
use engine::cycle::Cycle;
use engine::evict::Room;
use engine::host::WorkerId;
use engine::memory::Look;
use engine::running::{Details, ScriptKind};
use engine::testing::{TestEngine, show};
use engine::{Engine, Session, WorkerSeat};
use resp::decode::{DecodeLimits, Value, decode};
use resp::reply::Reply;
use store::{DbIndex, Plan};

#[global_allocator]
static ALLOCATOR: alloc::Jemalloc = alloc::Jemalloc;

/// What is done while a script holds all shards.
fn while_busy<R>(
    test: &mut TestEngine,
    work: impl FnOnce(&Engine, &mut WorkerSeat, &mut [Session]) -> R,
) -> R {
    let TestEngine { engine, seat, sessions, .. } = test;
    let guard = engine.store.lock(&Plan::All);
    let (running, script) = (&engine.scripts.running, WorkerId(0));
    running.begin(script, ScriptKind::Eval, 1);
    running.set_busy(script, || Details { name: b"f".as_slice().into(), command: OwnedArgv::default() });
    let result = work(engine, seat, sessions);
    running.end(script);
    drop(guard);
    result
}

#[test]
fn keys_give_way_later() {
    let mut test = TestEngine::with_config(|config| config.maxmemory_policy = EvictionPolicy::AllkeysLru);
    (0..100).for_each(|number| drop(test.run(&format!("SET k{number} v"))));
    let used = alloc::stats().allocated;
    let look = Look { allocated: used, resident: used, limit: used as u64 / 2, ..Look::default() };
    test.engine.memory.refresh(look, 0);
    let make_room = |engine: &Engine, seat: &mut WorkerSeat| {
        let WorkerSeat { evictor, config, worker, .. } = seat;
        evictor.make_room(engine, config, worker.now, &mut Rng::from_seed(1))
    };
    assert_eq!(while_busy(&mut test, |engine, seat, _| make_room(engine, seat)), Room::Later);
    let TestEngine { engine, seat, .. } = &mut test;
    assert_eq!(engine.evicted_keys.load(Ordering::Relaxed), 0);
    assert_eq!(make_room(engine, seat), Room::Nothing, "all of them are too little");
    assert_eq!(engine.evicted_keys.load(Ordering::Relaxed), 100);
}

/// The timer does not wait for the script either.
#[test]
fn what_is_due_goes_later() {
    let mut test = TestEngine::new();
    (0..100).for_each(|number| drop(test.run(&format!("SET k{number} v PX 100"))));
    test.advance_ms(200);
    let now = test.now();
    let mut cycle = Cycle::default();
    while_busy(&mut test, |engine, _, _| cycle.expire(engine, now, u64::MAX));
    assert_eq!(test.engine.cycle.expired_keys.value(), 0);
    cycle.expire(&test.engine, now, u64::MAX);
    assert_eq!(test.engine.cycle.expired_keys.value(), 100);
}

/// A set of many members, of which the first client reads the beginning.
fn reading() -> (TestEngine, Vec<u8>) {
    let mut test = TestEngine::new();
    for first in (0..30_000).step_by(1000) {
        let members: Vec<String> = (first..first + 1000).map(|number| format!("member:{number}")).collect();
        test.run(&format!("SADD set {}", members.join(" ")));
    }
    let bytes = test.begin_raw(0, &["SMEMBERS", "set"]);
    (test, bytes)
}

#[test]
fn a_long_reply_goes_on_later() {
    let (mut test, mut bytes) = reading();
    loop {
        let mut reply = Reply::default();
        let more =
            while_busy(&mut test, |engine, _, sessions| engine.continue_reply(&mut sessions[0], &mut reply));
        assert!(more && reply.is_empty());
        if !test.continue_raw(0, &mut bytes) {
            break;
        }
    }
    match decode(&bytes, &DecodeLimits::default()) {
        Ok(Some((Value::Array(Some(members)), len))) => {
            assert_eq!((members.len(), len), (30_000, bytes.len()));
        }
        other => panic!("not an array but {other:?}"),
    }
    assert!(!test.engine.readings.any());
}

#[test]
fn the_reader_of_a_long_reply_may_leave() {
    let (mut test, _) = reading();
    while_busy(&mut test, |engine, _, sessions| {
        engine.disconnect(&mut sessions[0]);
        engine.end_abandoned_readings();
    });
    assert!(test.engine.readings.any());
    test.engine.end_abandoned_readings();
    assert!(!test.engine.readings.any());
}

#[test]
fn scan_plans_no_further_than_it_sees() {
    let mut test = TestEngine::new();
    (0..100).for_each(|number| drop(test.run(&format!("SET k{number} v"))));
    while_busy(&mut test, |engine, _, sessions| {
        let mut argv = OwnedArgv::default();
        [b"SCAN".as_slice(), b"0"].into_iter().for_each(|word| argv.push(word));
        let command = engine.prepare(&argv.view()).command.expect("there is such a command");
        let plan = engine.plan_at(command, None, &argv.view(), &sessions[0], engine.started);
        assert!(matches!(plan, Plan::One(_)));
    });
}

#[test]
fn who_waits_for_keys_is_served_later() {
    let mut test = TestEngine::new();
    let other = test.connect();
    test.run("BLPOP list 0");
    let ticket = test.sessions[0].blocked.clone().expect("there is nothing to pop");
    let key = ReadyKey { db: DbIndex(0), name: b"list".as_slice().into(), hash: base::hash::hash(b"list") };
    while_busy(&mut test, |engine, seat, _| {
        engine.serve_again(seat, &ticket);
        engine.serve_posted(seat, key);
        engine.serve_left(seat);
    });
    test.run_as(other, "RPUSH list a");
    let served = test.take_served();
    assert_eq!(served.len(), 1);
    assert_eq!(show(&served[0].1), "[\"list\" \"a\"]");
}
