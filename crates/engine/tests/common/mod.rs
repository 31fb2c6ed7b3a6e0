//! Scripts of requests with their replies: run on an engine, and on the Redis that is installed, which must
//! answer the same. It never fails a test where there is none.
#![allow(dead_code, reason = "each test file uses its part")]

use base::quoting::split_args;
use engine::pipeline::Outcome;
use engine::testing::{TestEngine, show};
use testkit::{Client, Server};

/// Requests and the replies to them, as `engine::testing::show` writes them.
pub type Script = &'static [(&'static str, &'static str)];

/// Runs each script on a fresh engine and, emptied before each, on Redis; what the effects leave behind when
/// they are replayed must be the same keyspace.
pub fn check_as_redis(scripts: &[Script]) {
    scripts.iter().for_each(|script| check_here(script));
    let Some(program) = testkit::redis() else {
        eprintln!("SKIPPED: there is no Redis to compare with");
        return;
    };
    let server = Server::start(program, &["--save", ""]);
    let mut client = server.client();
    scripts.iter().for_each(|script| check_there(&mut client, script));
}

/// Runs each script on a fresh engine, with what replaying its effects leads to.
pub fn check_script(scripts: &[Script]) {
    scripts.iter().for_each(|script| check_here(script));
}

fn check_here(script: Script) {
    let mut test = TestEngine::new();
    test.collect_effects();
    engine::testing::check_script(&mut test, script);
    test.check_invariants();
    check_replay(&mut test);
}

/// Replaying the effects leads to the same keyspace.
pub fn check_replay(test: &mut TestEngine) {
    let effects = test.take_effects();
    assert_eq!(test.replay(&effects).digest(), test.digest(), "{}", String::from_utf8_lossy(&effects));
}

fn check_there(client: &mut Client, script: Script) {
    client.call(&["FLUSHALL"]);
    for (line, expected) in script {
        let words = split_args(line.as_bytes()).expect("a test's quotes are balanced");
        assert_eq!(show(&client.call(&words)), *expected, "Redis' reply to: {line}");
    }
}

/// The first line waits; the others are run by somebody else, and then the reply has come. What is logged
/// replays to the same.
pub fn check_wait(waiting: &str, others: &[&str], expected: &str, effects: &[&str]) {
    let mut test = TestEngine::new();
    test.collect_effects();
    let other = test.connect();
    assert_eq!(test.run_raw(0, &waiting.split(' ').collect::<Vec<_>>()), b"", "{waiting} waits");
    assert_eq!(test.outcome, Outcome::Blocked);
    for line in others {
        assert_eq!(test.take_served(), [], "{waiting}, before {line}");
        assert!(!test.run_as(other, line).is_error(), "{line}");
    }
    let served = test.take_served();
    let replies: Vec<_> = served.iter().map(|(session, reply)| (*session, show(reply))).collect();
    assert_eq!(replies, [(0, expected.to_owned())], "{waiting}");
    let log = test.take_effects();
    assert_eq!(test.replay(&log).digest(), test.digest(), "{waiting}");
    let lines = String::from_utf8_lossy(&log).into_owned();
    for effect in effects {
        let words = effect.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len()));
        assert!(lines.contains(&words.collect::<String>()), "{waiting}: {effect} is not in {lines:?}");
    }
    test.check_invariants();
}
