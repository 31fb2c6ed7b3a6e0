//! EXEC and the log: what a transaction leaves there, what a change in another database does, and what a
//! request that waits must not lose.

use std::sync::atomic::Ordering;

use engine::clients::flag;
use engine::pipeline::Outcome;
use engine::session::ReplyMode;
use engine::testing::{TestEngine, check_script, show};

/// The effects of some lines, SELECT included.
fn effects(test: &mut TestEngine, lines: &[&str]) -> Vec<String> {
    test.take_effects();
    lines.iter().for_each(|line| assert!(!test.run(line).is_error(), "{line}"));
    let bytes = String::from_utf8(test.take_effects()).expect("plain text");
    let words = bytes.split("\r\n").filter(|word| !word.starts_with('$'));
    let text = words.collect::<Vec<_>>().join(" ");
    text.split('*')
        .skip(1)
        .filter_map(|line| line.split_once(' '))
        .map(|(_, line)| line.trim().into())
        .collect()
}

#[test]
fn one_effect_is_not_wrapped() {
    let check = |lines: &[&str], expected: &[&str]| {
        let mut test = TestEngine::new();
        test.collect_effects();
        check_script(&mut test, &[("SET s 1", "+OK")]);
        assert_eq!(effects(&mut test, lines), expected, "{lines:?}");
        // The next effect knows which database is selected by now.
        let db = test.sessions[0].db.0;
        assert_eq!(effects(&mut test, &["SET after 1"]), ["SET after 1"], "{lines:?} in {db}");
    };
    check(&["MULTI", "GET s", "EXEC"], &[]);
    check(&["MULTI", "GET s", "INCR s", "GET s", "EXEC"], &["INCR s"]);
    check(&["MULTI", "INCR s", "INCR s", "EXEC"], &["MULTI", "INCR s", "INCR s", "EXEC"]);
    check(&["MULTI", "SELECT 1", "SET a 1", "EXEC"], &["SELECT 1", "SET a 1"]);
    check(
        &["MULTI", "SET a 1", "SELECT 1", "SET a 1", "EXEC"],
        &["MULTI", "SET a 1", "SELECT 1", "SET a 1", "EXEC"],
    );
}

/// A key that has expired in the other database is deleted there, not under the same name in this one.
#[test]
fn an_expiry_in_another_database_is_logged_for_that_one() {
    for (line, expected) in [
        ("MOVE k 1", vec!["MULTI", "SELECT 1", "DEL k", "SELECT 0", "MOVE k 1", "EXEC"]),
        ("COPY k k DB 1", vec!["MULTI", "SELECT 1", "DEL k", "SELECT 0", "COPY k k DB 1", "EXEC"]),
        ("COPY k other DB 1", vec!["COPY k other DB 1"]),
    ] {
        let mut test = TestEngine::new();
        test.collect_effects();
        check_script(&mut test, &[("SELECT 1", "+OK"), ("SET k old PX 5", "+OK")]);
        check_script(&mut test, &[("SELECT 0", "+OK"), ("SET k new", "+OK")]);
        let mut before = test.take_effects();
        test.advance_ms(5);
        let own = effects(&mut test, &[]);
        assert!(own.is_empty());
        check_script(&mut test, &[(line, "1")]);
        let after = test.take_effects();
        before.extend_from_slice(&after);
        let replica = test.replay(&before);
        assert_eq!(replica.digest(), test.digest(), "{line}");
        let text = String::from_utf8(after).expect("plain text");
        let count = text.matches('*').count();
        assert_eq!(count, expected.len(), "{line}: {text}");
    }
}

#[test]
fn reads_by_writing_commands_count_as_in_redis() {
    let check = |line: &str, hits: u64, misses: u64| {
        let mut test = TestEngine::new();
        check_script(&mut test, &[("SET k v", "+OK"), ("HSET h f v", "1")]);
        test.run(line);
        let stats = &test.engine.stats[0];
        assert_eq!((stats.hits.value(), stats.misses.value()), (hits, misses), "{line}");
    };
    check("GET k", 1, 0);
    check("GETEX k PERSIST", 1, 0);
    check("GETDEL k", 1, 0);
    check("GETDEL none", 0, 1);
    check("GETSET k w", 1, 0);
    check("SET k w GET", 1, 0);
    check("SET none w GET", 0, 1);
    check("SET k w", 0, 0);
    check("COPY k l", 1, 0);
    check("INCR n", 0, 0);
    check("APPEND k v", 0, 0);
    check("HSET h f w", 0, 0);
    check("DEL k none", 0, 0);
}

/// A request that CLIENT PAUSE holds has not been answered, so CLIENT REPLY SKIP still waits for it.
#[test]
fn a_paused_request_keeps_its_place_for_reply_skip() {
    let mut test = TestEngine::new();
    let other = test.connect();
    assert_eq!(test.run_raw(0, &["CLIENT", "REPLY", "SKIP"]), b"");
    test.run_as(other, "CLIENT PAUSE 1000 WRITE");
    assert_eq!(test.run_raw(0, &["SET", "k", "v"]), b"");
    assert_eq!((test.outcome, test.sessions[0].reply_mode), (Outcome::Paused, ReplyMode::SkipNext));
    test.run_as(other, "CLIENT UNPAUSE");
    assert_eq!(test.run_raw(0, &["SET", "k", "v"]), b"");
    check_script(&mut test, &[("GET k", "\"v\"")]);
}

#[test]
fn a_changed_configuration_holds_for_the_rest_of_a_transaction() {
    let mut test = TestEngine::new();
    check_script(
        &mut test,
        &[
            ("MULTI", "+OK"),
            ("CONFIG SET hash-max-listpack-entries 1", "+QUEUED"),
            ("HSET h a 1 b 2", "+QUEUED"),
            ("OBJECT ENCODING h", "+QUEUED"),
            ("EXEC", "[+OK 2 \"hashtable\"]"),
        ],
    );
}

/// EXEC with a wrong number of arguments ends the transaction, and the watch, even where there is none.
#[test]
fn an_exec_that_is_refused_says_so() {
    let refused = "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    let mut test = TestEngine::new();
    check_script(
        &mut test,
        &[("EXEC x", refused), ("MULTI", "+OK"), ("EXEC x", refused), ("EXEC", "-ERR EXEC without MULTI")],
    );
    let errors = show(&test.run("INFO errorstats"));
    assert!(errors.contains("errorstat_EXECABORT:count=2\\r\\n"), "{errors}");
    check_script(
        &mut test,
        &[
            ("WATCH k", "+OK"),
            ("SET k v", "+OK"),
            ("EXEC x", refused),
            ("MULTI", "+OK"),
            ("GET k", "+QUEUED"),
            ("EXEC", "[\"v\"]"),
        ],
    );
}

#[test]
fn exec_lasts_as_long_as_what_it_ran() {
    let mut test = TestEngine::with_config(|config| {
        config.enable_debug_command = engine::config::DebugAccess::Yes;
    });
    check_script(&mut test, &[("MULTI", "+OK"), ("DEBUG SLEEP 1", "+QUEUED"), ("EXEC", "[+OK]")]);
    let of = |name: &[u8]| {
        let row = engine::registry::REGISTRY.find(name).expect("it is a command");
        test.engine.stats[0].commands[row.id as usize].nanoseconds.value()
    };
    assert!(of(b"debug") >= 1_000_000_000);
    assert!(of(b"exec") >= of(b"debug"));
}

/// Over `maxmemory` not even a reading command is queued: the queue is memory too.
#[test]
fn nothing_is_queued_without_memory() {
    let mut test = TestEngine::new();
    check_script(&mut test, &[("MULTI", "+OK"), ("PING", "+QUEUED")]);
    test.engine.memory.set_over(true);
    let reply = show(&test.run("PING"));
    assert!(reply.starts_with("-OOM "), "{reply}");
    assert!(test.sessions[0].client.has_flag(flag::MULTI));
    check_script(
        &mut test,
        &[("EXEC", "-EXECABORT Transaction discarded because of previous errors."), ("GET k", "nil")],
    );
}

/// Whoever watches a few keys anew needs no memory for that. Whoever has watched many gives it back.
#[test]
fn room_for_a_few_watched_keys_stays() {
    let mut test = TestEngine::new();
    let mut check = |count: usize, room: usize, bytes: usize| {
        let names: String = (0..count).map(|index| format!(" k{index}")).collect();
        let line = format!("WATCH{names}");
        check_script(&mut test, &[(&line, "+OK"), ("MULTI", "+OK"), ("EXEC", "[]")]);
        let session = &test.sessions[0];
        assert_eq!(session.watched.keys.capacity(), room, "{count} keys");
        assert_eq!(session.client.watched_bytes.load(Ordering::Relaxed), bytes, "{count} keys");
    };
    check(4, 4, 128);
    check(40, 64, 2048);
    check(2, 64, 2048);
    check(65, 0, 0);
}
