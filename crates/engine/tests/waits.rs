//! WAIT and WAITAOF without replicas: what is asked for is checked, and whoever waits for the append-only
//! file is answered when the file has his own writes, not before.

mod common;

use common::check_as_redis;
use engine::log::FileState;
use engine::pipeline::Outcome;
use engine::testing::checks::check_scripts;
use engine::testing::{TestEngine, show};

const NO_FILE: &str = "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
const NO_FILE_AFTER_ZEROS: &str =
    "[[0 0] -ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.]";

#[test]
fn arguments() {
    check_as_redis(&[&[
        ("WAIT 0 0", "0"),
        ("WAIT -1 0", "0"),
        ("WAIT x 0", "-ERR value is not an integer or out of range"),
        ("WAIT 0 x", "-ERR timeout is not an integer or out of range"),
        ("WAIT 2 -1", "-ERR timeout is negative"),
        ("MULTI", "+OK"),
        ("WAIT 1 0", "+QUEUED"),
        ("EXEC", "[0]"),
    ]]);
    check_scripts(&[&[
        // Redis 7.0 waits.
        ("WAIT 2 9223372036854775807", "-ERR timeout is out of range"),
        ("WAITAOF 0 0 0", "[0 0]"),
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF -1 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF x 0 0", "-ERR value is not an integer or out of range"),
        ("WAITAOF 0 -1 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 0 x 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 0 0 -1", "-ERR timeout is negative"),
        ("WAITAOF 1 0 -1", "-ERR timeout is negative"),
        ("WAITAOF 1 0 0", NO_FILE),
        ("MULTI", "+OK"),
        ("WAITAOF 0 1 0", "+QUEUED"),
        ("WAITAOF 1 0 0", "+QUEUED"),
        ("EXEC", NO_FILE_AFTER_ZEROS),
    ]]);
}

/// An engine whose log is followed and whose file is in force.
fn with_file() -> TestEngine {
    let mut test = TestEngine::new();
    test.collect_effects();
    test.engine.log.set_file(FileState::Whole);
    test
}

/// The file has all that is in the log.
fn sync(test: &mut TestEngine) {
    test.engine.log.set_durable(test.engine.log.offset());
    look(test);
}

fn look(test: &mut TestEngine) {
    test.engine.post_file_waits();
    test.engine.serve_file_waits(&test.seat.worker.stats);
}

fn served(test: &mut TestEngine) -> Vec<(usize, String)> {
    test.take_served().iter().map(|(session, reply)| (*session, show(reply))).collect()
}

fn begin_wait(test: &mut TestEngine, session: usize, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(test.run_raw(session, &words), b"", "{line}");
    assert_eq!(test.outcome, Outcome::Blocked, "{line}");
}

#[test]
fn a_wait_ends_when_the_file_has_what_the_client_wrote() {
    let mut test = with_file();
    let (other, idle) = (test.connect(), test.connect());
    for write in [&["SET a 1"][..], &["MULTI", "SET a 2", "EXEC"], &["MULTI", "INCR a", "DEL a", "EXEC"]] {
        write.iter().for_each(|line| drop(test.run(line)));
        begin_wait(&mut test, 0, "WAITAOF 1 0 0");
        assert_eq!(show(&test.run_as(idle, "WAITAOF 1 0 0")), "[1 0]", "{write:?}");
        look(&mut test);
        assert_eq!(served(&mut test), []);
        let reached = test.engine.log.offset();
        test.run_as(other, "SET b 1");
        begin_wait(&mut test, other, "WAITAOF 1 0 0");
        test.engine.log.set_durable(reached);
        look(&mut test);
        assert_eq!(served(&mut test), [(0, "[1 0]".to_owned())], "{write:?}");
        sync(&mut test);
        assert_eq!(served(&mut test), [(other, "[1 0]".to_owned())], "{write:?}");
    }
    assert_eq!(show(&test.run("WAITAOF 1 0 0")), "[1 0]");
    test.check_invariants();
}

/// A request that was served for a client counts as that client's write.
#[test]
fn a_served_request_is_a_write_of_its_client() {
    let mut test = with_file();
    let pusher = test.connect();
    begin_wait(&mut test, 0, "BLPOP list 0");
    test.run_as(pusher, "RPUSH list a");
    assert_eq!(served(&mut test).len(), 1);
    begin_wait(&mut test, 0, "WAITAOF 1 0 0");
    sync(&mut test);
    assert_eq!(served(&mut test), [(0, "[1 0]".to_owned())]);
}

#[test]
fn a_wait_for_replicas_ends_with_its_time() {
    let mut test = with_file();
    let control = test.connect();
    test.run("SET a 1");
    let cases = [("WAIT 1 0", "0"), ("WAITAOF 0 1 0", "[0 0]"), ("WAITAOF 1 1 0", "[0 0]")];
    for (line, expected) in cases {
        begin_wait(&mut test, 0, line);
        let id = test.sessions[0].client.id.0;
        assert_eq!(show(&test.run_as(control, &format!("CLIENT UNBLOCK {id}"))), "1");
        assert_eq!(served(&mut test), [(0, expected.to_owned())], "{line}");
    }
    begin_wait(&mut test, 0, "WAITAOF 1 1 0");
    sync(&mut test);
    assert_eq!(served(&mut test), []);
    let ticket = test.sessions[0].blocked.clone().expect("it waits");
    let reply = test.engine.time_out(&test.seat.worker.stats, &ticket);
    assert_eq!(reply.as_deref(), Some(&b"*2\r\n:1\r\n:0\r\n"[..]));
}

#[test]
fn a_file_without_its_base_has_nothing_and_one_that_is_turned_off_ends_the_waits() {
    let mut test = with_file();
    let replicas = test.connect();
    test.engine.log.set_file(FileState::WithoutBase);
    begin_wait(&mut test, 0, "WAITAOF 1 0 0");
    sync(&mut test);
    assert_eq!(served(&mut test), []);
    test.engine.log.set_file(FileState::Whole);
    look(&mut test);
    assert_eq!(served(&mut test), [(0, "[1 0]".to_owned())]);
    test.run("SET a 1");
    begin_wait(&mut test, 0, "WAITAOF 1 0 0");
    begin_wait(&mut test, replicas, "WAITAOF 1 1 0");
    test.engine.log.set_file(FileState::None);
    look(&mut test);
    let error = NO_FILE.to_owned();
    let mut answers = served(&mut test);
    answers.sort();
    assert_eq!(answers, [(0, error.clone()), (replicas, error)]);
}
