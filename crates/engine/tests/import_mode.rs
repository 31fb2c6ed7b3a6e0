//! Import mode: nothing expires by the clock. The source of the import sees what has expired, all others do
//! not.

use engine::testing::{TestEngine, check_script, show};

const OTHER: usize = 1;

/// An engine in import mode with a second client; the first is the source.
fn importing() -> TestEngine {
    let mut test = TestEngine::new();
    test.connect();
    check_script(
        &mut test,
        &[("CONFIG SET import-mode yes", "+OK"), ("CLIENT IMPORT-SOURCE ON", "+OK"), ("DBSIZE", "0")],
    );
    test
}

fn check_as(test: &mut TestEngine, client: usize, script: &[(&str, &str)]) {
    for (line, expected) in script {
        assert_eq!(show(&test.run_as(client, line)), *expected, "client {client}: {line}");
    }
}

fn flags(test: &mut TestEngine) -> String {
    let info = test.run("CLIENT INFO").as_text().expect("a line");
    let flags = info.split(' ').find_map(|field| field.strip_prefix("flags="));
    flags.expect("the line has flags").to_owned()
}

#[test]
fn only_in_import_mode_can_a_client_become_a_source() {
    const NOT_NOW: &str = "-ERR Server is not in import mode";
    let mut test = TestEngine::new();
    check_script(
        &mut test,
        &[
            ("CLIENT IMPORT-SOURCE ON", NOT_NOW),
            ("CLIENT IMPORT-SOURCE x", NOT_NOW),
            ("CLIENT IMPORT-SOURCE off", "+OK"),
            ("CLIENT IMPORT-SOURCE", "-ERR wrong number of arguments for 'client|import-source' command"),
            ("CONFIG SET import-mode yes", "+OK"),
            ("CLIENT IMPORT-SOURCE x", "-ERR syntax error"),
            ("CLIENT IMPORT-SOURCE on", "+OK"),
        ],
    );
    assert_eq!(flags(&mut test), "I");
    test.run("RESET");
    assert_eq!(flags(&mut test), "N");
    test.run("CLIENT IMPORT-SOURCE ON");
    test.run("CONFIG SET import-mode no");
    assert_eq!(flags(&mut test), "I");
    test.run("CLIENT IMPORT-SOURCE OFF");
    assert_eq!(flags(&mut test), "N");
}

#[test]
fn the_source_sees_what_has_expired_and_others_do_not() {
    let mut test = importing();
    test.run("SET k 1 PX 5");
    test.run("HSETEX h PX 5 FIELDS 1 f v");
    test.advance_ms(10);
    test.expire_cycle();
    let others = [
        ("GET k", "nil"),
        ("TTL k", "-2"),
        ("KEYS *", "[\"h\"]"),
        ("KEYS k", "[]"),
        ("RANDOMKEY", "\"h\""),
        ("SCAN 0", "[\"0\" [\"h\"]]"),
        ("HGET h f", "nil"),
        ("DBSIZE", "2"),
    ];
    check_as(&mut test, OTHER, &others);
    let source = [
        ("GET k", "\"1\""),
        ("TTL k", "0"),
        ("INCR k", "2"),
        ("KEYS k", "[\"k\"]"),
        ("HGET h f", "\"v\""),
        ("DEL h", "1"),
        ("KEYS *", "[\"k\"]"),
        ("RANDOMKEY", "\"k\""),
        ("SCAN 0", "[\"0\" [\"k\"]]"),
    ];
    check_as(&mut test, 0, &source);
    check_as(&mut test, OTHER, &[("KEYS *", "[]"), ("RANDOMKEY", "nil"), ("DBSIZE", "1")]);
    // A write of another finds nothing, and makes it so.
    check_as(&mut test, OTHER, &[("APPEND k x", "1"), ("TTL k", "-1")]);
    test.check_invariants();
}

#[test]
fn a_time_that_has_passed_deletes_nothing() {
    let mut test = importing();
    let writes = [
        ("SET k v", "+OK"),
        ("EXPIREAT k -1", "1"),
        ("PEXPIRETIME k", "0"),
        ("SET past v PXAT 1", "+OK"),
        ("INCREX count PXAT 1", "[1 1]"),
        ("HSETEX h PXAT 1 FIELDS 1 f v", "1"),
        ("SET e v", "+OK"),
        ("GETEX e EXAT 1", "\"v\""),
        ("DBSIZE", "5"),
        ("MGET k past count e", "[\"v\" \"v\" \"1\" \"v\"]"),
        ("CONFIG SET import-mode no", "+OK"),
        ("MGET k past count e", "[nil nil nil nil]"),
    ];
    check_as(&mut test, 0, &writes);
    test.expire_cycle();
    check_as(&mut test, 0, &[("DBSIZE", "0")]);
    test.check_invariants();
}

#[test]
fn what_others_write_with_a_passed_time_stays_hidden_until_the_mode_ends() {
    let mut test = importing();
    check_as(&mut test, OTHER, &[("SET k v PXAT 1", "+OK"), ("GET k", "nil"), ("DBSIZE", "1")]);
    check_as(&mut test, 0, &[("GET k", "\"v\"")]);
    test.run("CLIENT IMPORT-SOURCE OFF");
    check_as(&mut test, 0, &[("GET k", "nil"), ("DBSIZE", "1")]);
    test.run("CONFIG SET import-mode no");
    check_as(&mut test, 0, &[("GET k", "nil"), ("DBSIZE", "0")]);
}

#[test]
fn effects_of_an_import_replay_to_the_same() {
    let mut test = importing();
    test.collect_effects();
    for line in ["SET k 1 PX 5", "SET gone v PX 5", "SADD s a", "EXPIREAT s -1"] {
        test.run(line);
    }
    test.advance_ms(10);
    for (client, line) in [(0, "INCR k"), (OTHER, "APPEND gone x"), (0, "PERSIST s"), (OTHER, "GET k")] {
        test.run_as(client, line);
    }
    let effects = test.take_effects();
    assert_eq!(test.replay(&effects).digest(), test.digest(), "{}", String::from_utf8_lossy(&effects));
    check_as(&mut test, 0, &[("PERSIST k", "1"), ("GET k", "\"2\""), ("SMEMBERS s", "[\"a\"]")]);
}
