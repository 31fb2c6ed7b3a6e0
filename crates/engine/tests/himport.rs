//! HIMPORT, as Redis 8.10 answers it; no Redis that is installed here has it.

use engine::testing::checks::{Script, check_scripts};
use engine::testing::{TestEngine, show};

const UNKNOWN: &str = "-ERR no such fieldset";
const TWICE: &str = "-ERR duplicate field name in fieldset";
const WRONG_COUNT: &str = "-ERR value count does not match fieldset field count";

const IMPORT: Script = &[
    ("HIMPORT", "-ERR wrong number of arguments for 'himport' command"),
    ("HIMPORT nope", "-ERR unknown subcommand 'nope'. Try HIMPORT HELP."),
    ("HIMPORT PREPARE u", "-ERR wrong number of arguments for 'himport|prepare' command"),
    ("HIMPORT SET k u", "-ERR wrong number of arguments for 'himport|set' command"),
    ("HIMPORT DISCARD", "-ERR wrong number of arguments for 'himport|discard' command"),
    ("HIMPORT DISCARDALL u", "-ERR wrong number of arguments for 'himport|discardall' command"),
    ("HIMPORT SET k u v", UNKNOWN),
    ("HIMPORT PREPARE u a a", TWICE),
    ("HIMPORT SET k u v w", UNKNOWN),
    ("HIMPORT PREPARE u name email", "+OK"),
    ("HIMPORT SET k u alice a@b", "+OK"),
    ("HGETALL k", "[\"name\" \"alice\" \"email\" \"a@b\"]"),
    ("HIMPORT SET k u bob", WRONG_COUNT),
    ("HIMPORT SET k u bob b@b 3", WRONG_COUNT),
    ("HSET k more 1", "1"),
    ("EXPIRE k 100", "1"),
    ("HIMPORT SET k u bob b@b", "+OK"),
    ("HGETALL k", "[\"name\" \"bob\" \"email\" \"b@b\"]"),
    ("TTL k", "-1"),
    ("HIMPORT PREPARE u a b c", "+OK"),
    ("HIMPORT SET k u 1 2", WRONG_COUNT),
    ("HIMPORT PREPARE u b b", TWICE),
    ("HIMPORT SET k u 1 2 3", "+OK"),
    ("HMGET k a b c name", "[\"1\" \"2\" \"3\" nil]"),
    ("SET s text", "+OK"),
    ("HIMPORT SET s u 1 2 3", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HIMPORT PREPARE '' '' x", "+OK"),
    ("HIMPORT SET empty '' 1 2", "+OK"),
    ("HGET empty ''", "\"1\""),
    ("HIMPORT DISCARD none", "0"),
    ("HIMPORT DISCARD u", "1"),
    ("HIMPORT DISCARD u", "0"),
    ("HIMPORT SET k u 1 2 3", UNKNOWN),
    ("HIMPORT PREPARE v x", "+OK"),
    ("HIMPORT DISCARDALL", "2"),
    ("HIMPORT DISCARDALL", "0"),
    ("HIMPORT SET k v 1", UNKNOWN),
    ("MULTI", "+OK"),
    ("HIMPORT PREPARE u a b", "+QUEUED"),
    ("HIMPORT SET k u 1 2", "+QUEUED"),
    ("EXEC", "[+OK +OK]"),
    ("RESET", "+RESET"),
    ("HIMPORT SET k u 1 2", UNKNOWN),
];

#[test]
fn replies() {
    check_scripts(&[IMPORT]);
}

#[test]
fn fields_are_prepared_for_one_connection_and_count_as_its_memory() {
    let mut test = TestEngine::new();
    let other = test.connect();
    let before = test.sessions[0].client.memory();
    test.run("HIMPORT PREPARE u name email");
    assert_eq!(show(&test.run_as(other, "HIMPORT SET k u 1 2")), UNKNOWN);
    let prepared = test.sessions[0].client.memory();
    assert!(prepared > before + 10);
    test.run("HIMPORT PREPARE u name email");
    assert_eq!(test.sessions[0].client.memory(), prepared);
    test.run("HIMPORT DISCARD u");
    assert_eq!(test.sessions[0].client.memory(), before);
}

#[test]
fn effects_and_events() {
    let mut test = TestEngine::new();
    test.run("HIMPORT PREPARE u a b");
    test.collect_events("");
    test.collect_effects();
    test.run("HIMPORT SET k u 1 2");
    assert_eq!(test.take_effect_lines(), ["HSET k a 1 b 2"]);
    assert_eq!(test.take_events(), ["hset k"]);
    test.run("HIMPORT SET k u 3 4");
    assert_eq!(test.take_effect_lines(), ["MULTI", "DEL k", "HSET k a 3 b 4", "EXEC"]);
    assert_eq!(test.take_events(), ["hset k"]);
}

#[test]
fn many_fields_make_a_table() {
    let mut test = TestEngine::new();
    let fields: Vec<String> = (0..600).map(|number| format!("field:{number}")).collect();
    let words =
        |head: &[&str]| head.iter().map(ToString::to_string).chain(fields.clone()).collect::<Vec<_>>();
    test.run_words(&words(&["HIMPORT", "PREPARE", "u"]));
    test.run_words(&words(&["HIMPORT", "SET", "k", "u"]));
    assert_eq!(show(&test.run("OBJECT ENCODING k")), "\"hashtable\"");
    assert_eq!(show(&test.run("HLEN k")), "600");
    assert_eq!(show(&test.run("HGET k field:299")), "\"field:299\"");
    test.check_invariants();
}
