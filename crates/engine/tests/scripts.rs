//! Scripts: what their commands may do, what is logged of them, and which of them the server remembers.

use engine::args::OwnedArgv;
use engine::config::DebugAccess;
use engine::engine::WorkerSeat;
use engine::host::WorkerId;
use engine::running::{Details, Running, ScriptKind};
use engine::scripts::lower_sha;
use engine::testing::{TestEngine, check_script, show};

/// The reply to a request of these words; a text without its quotes.
fn request(test: &mut TestEngine, words: &[&str]) -> String {
    let shown = show(&test.run_words(words));
    let text = shown.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    text.map_or_else(|| shown.clone(), str::to_owned)
}

fn eval(test: &mut TestEngine, command: &str, source: &str, rest: &[&str]) -> String {
    request(test, &[&[command, source], rest].concat())
}

#[test]
fn scripts_run_commands() {
    let mut test = TestEngine::new();
    for (source, rest, expected) in [
        ("return redis.call('set', KEYS[1], ARGV[1])", &["1", "k", "v"][..], "+OK"),
        ("return redis.call('get', KEYS[1])", &["1", "k"], "v"),
        ("return redis.call('get', 'none')", &["0"], "nil"),
        ("return redis.REDIS_VERSION", &["0"], engine::REDIS_VERSION),
        (
            "redis.call('rpush', 'l', 1, 2, 3) return redis.call('lrange', 'l', 0, -1)",
            &["0"],
            "[\"1\" \"2\" \"3\"]",
        ),
        ("redis.call('select', 3) redis.call('set', 'other', 1) return 1", &["0"], "1"),
        ("return redis.call('exists', 'other')", &["0"], "0"),
        ("#!lua flags=\nreturn redis.call('exists', 'other')", &["0"], "0"),
        ("return redis.call('hgetall', 'none')", &["0"], "[]"),
        (
            "redis.setresp(3) redis.call('hset', 'h', 'f', 1) return redis.call('hgetall', 'h').map.f",
            &["0"],
            "1",
        ),
        (
            "return #redis.call('set', 'big', string.rep('x', 100000)).ok + #redis.call('get', 'big')",
            &["0"],
            "100002",
        ),
    ] {
        assert_eq!(eval(&mut test, "EVAL", source, rest), expected, "{source}");
    }
    for (source, expected) in [
        ("return redis.call('nope')", "-ERR Unknown Redis command called from script script: "),
        ("return redis.call('get')", "-ERR Wrong number of args calling Redis command from script script: "),
        (
            "return redis.call('eval', 'return 1', 0)",
            "-ERR This Redis command is not allowed from script script: ",
        ),
        ("return redis.call('multi')", "-ERR This Redis command is not allowed from script script: "),
        ("return redis.call('incr', 'k')", "-ERR value is not an integer or out of range script: "),
        (
            "#!lua flags=no-writes\nreturn redis.call('set', 'k', 1)",
            "-ERR Write commands are not allowed from read-only scripts. script: ",
        ),
        ("#!lua flags=nope\nreturn 1", "-ERR Unexpected flag in script shebang: nope"),
        ("#!lua name=x\nreturn 1", "-ERR Unknown lua shebang option: name=x"),
        ("#!python\nreturn 1", "-ERR Unexpected engine in script shebang: #!python"),
        ("#!lua", "-ERR Invalid script shebang"),
        ("#!lua 'flags=no-writes\nreturn 1", "-ERR Invalid engine in script shebang"),
        ("#!lua flags=no-writes,\nreturn 1", "-ERR Unexpected flag in script shebang: "),
        (
            "#!lua \"flags=no-writes\"\nreturn redis.call('set', 'k', 1)",
            "-ERR Write commands are not allowed",
        ),
        (
            "#!lua flags=\"no-writes\"\nreturn redis.call('set', 'k', 1)",
            "-ERR Write commands are not allowed",
        ),
        (
            "return (",
            "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'",
        ),
    ] {
        let reply = eval(&mut test, "EVAL", source, &["0"]);
        assert!(reply.starts_with(expected), "{source}: {reply}");
    }
    check_script(
        &mut test,
        &[
            ("EVAL 'return 1' x", "-ERR value is not an integer or out of range"),
            ("EVAL 'return 1' 1", "-ERR Number of keys can't be greater than number of args"),
            ("EVAL 'return 1' -1", "-ERR Number of keys can't be negative"),
            ("EVAL_RO 'return 1' 0", "1"),
            ("EVALSHA nope 0", "-NOSCRIPT No matching script. Please use EVAL."),
            ("SCRIPT KILL", "-NOTBUSY No scripts in execution right now."),
            ("MULTI", "+OK"),
            ("EVAL 'return redis.call(\"incr\", KEYS[1])' 1 n", "+QUEUED"),
            ("EXEC", "[1]"),
        ],
    );
    let reply = eval(&mut test, "EVAL_RO", "return redis.call('set', 'k', 1)", &["0"]);
    assert!(reply.starts_with("-ERR Write commands are not allowed from read-only scripts."), "{reply}");
}

/// What XREADGROUP does for a consumer that is new.
const CLAIMED: &str = "MULTI | XGROUP CREATECONSUMER x g c | XCLAIM x g c 0 1-1 TIME 1700000000000 RETRYCOUNT 1 \
                       FORCE JUSTID LASTID 1-1 | XGROUP SETID x g 1-1 ENTRIESREAD 1 | EXEC";

#[test]
fn what_waits_answers_scripts_at_once() {
    let mut test = TestEngine::new();
    test.collect_effects();
    test.run("RPUSH l 1 2 3 4 5 6");
    test.run("ZADD z 1 a 2 b 3 c");
    test.run("XGROUP CREATE x g $ MKSTREAM");
    test.run("XADD x 1-1 f v");
    test.take_effects();
    let entry = "[[\"x\" [[\"1-1\" [\"f\" \"v\"]]]]]";
    for (call, expected, effect) in [
        ("'blpop', 'l', 0", "[\"l\" \"1\"]", "LPOP l"),
        ("'brpop', 'none', 'l', 5", "[\"l\" \"6\"]", "RPOP l"),
        ("'blmove', 'l', 'm', 'left', 'right', 0", "2", "LMOVE l m left right"),
        ("'brpoplpush', 'l', 'm', 0", "5", "RPOPLPUSH l m"),
        ("'blmpop', 0, 2, 'none', 'l', 'left'", "[\"l\" [\"3\"]]", "LPOP l 1"),
        ("'bzpopmin', 'z', 0", "[\"z\" \"a\" \"1\"]", "ZPOPMIN z"),
        ("'bzpopmax', 'z', 0.5", "[\"z\" \"c\" \"3\"]", "ZPOPMAX z"),
        ("'bzmpop', 0, 1, 'z', 'max', 'count', 3", "[\"z\" [[\"b\" \"2\"]]]", "ZPOPMAX z 1"),
        ("'xread', 'block', 0, 'streams', 'x', 0", entry, ""),
        ("'xreadgroup', 'group', 'g', 'c', 'block', 0, 'streams', 'x', '>'", entry, CLAIMED),
        ("'xreadgroup', 'group', 'g', 'c', 'block', 0, 'streams', 'x', '>'", "nil", ""),
        ("'xread', 'block', 0, 'streams', 'x', '$'", "nil", ""),
        ("'blpop', 'none', 0", "nil", ""),
        ("'brpop', 'none', 'neither', 5", "nil", ""),
        ("'blmove', 'none', 'm', 'left', 'right', 0", "nil", ""),
        ("'brpoplpush', 'none', 'm', 0", "nil", ""),
        ("'blmpop', 0, 1, 'none', 'left'", "nil", ""),
        ("'bzpopmin', 'none', 0", "nil", ""),
        ("'bzpopmax', 'none', 0", "nil", ""),
        ("'bzmpop', 0, 1, 'none', 'min'", "nil", ""),
        ("'wait', 1, 0", "0", ""),
        ("'waitaof', 0, 1, 0", "[0 0]", ""),
    ] {
        let source = format!("return redis.call({call})");
        assert_eq!(eval(&mut test, "EVAL", &source, &["0"]), expected, "{call}");
        assert_eq!(test.take_effect_lines().join(" | "), effect, "{call}");
    }
    assert_eq!(test.engine.waiters.key_counts(), (0, 0), "nobody waits");
    let reply = eval(&mut test, "EVAL", "return redis.call('blpop', 'none', -1)", &["0"]);
    assert!(reply.starts_with("-ERR timeout is negative script: "), "{reply}");
}

#[test]
fn a_scripts_effects_are_one_transaction() {
    let mut test = TestEngine::new();
    test.collect_effects();
    let check = |test: &mut TestEngine, source: &str, expected: &[&str]| {
        test.take_effects();
        request(test, &["EVAL", source, "0"]);
        let bytes = String::from_utf8(test.take_effects()).expect("plain text");
        let words: Vec<&str> =
            bytes.split("\r\n").filter(|word| !word.is_empty() && !word.starts_with(['$', '*'])).collect();
        assert_eq!(words, expected, "{source}");
    };
    check(&mut test, "redis.call('set', 'a', 1)", &["SELECT", "0", "set", "a", "1"]);
    check(&mut test, "redis.call('get', 'a')", &[]);
    check(
        &mut test,
        "redis.call('incr', 'a') redis.call('spop', 'none') redis.call('incr', 'b')",
        &["MULTI", "incr", "a", "incr", "b", "EXEC"],
    );
    check(&mut test, "redis.call('incr', 'a') error('x')", &["incr", "a"]);
    check(&mut test, "redis.set_repl(redis.REPL_REPLICA) redis.call('incr', 'a')", &[]);
    check(
        &mut test,
        "redis.set_repl(redis.REPL_NONE) redis.call('incr', 'a') redis.set_repl(redis.REPL_ALL) redis.call('incr', 'b')",
        &["incr", "b"],
    );
}

/// A script that keeps its effects out of the log does not keep out what time has removed.
#[test]
fn expiries_are_logged_whatever_a_script_wants() {
    let mut test = TestEngine::new();
    test.collect_effects();
    for muted in
        ["redis.call('get', KEYS[1])", "redis.call('set', KEYS[1], 5)", "redis.call('spop', KEYS[1])"]
    {
        test.run("SET k 10 PX 100");
        test.advance_ms(200);
        test.take_effects();
        let source = format!(
            "redis.set_repl(redis.REPL_NONE) {muted} redis.set_repl(redis.REPL_ALL) return redis.call('incr', 'n')"
        );
        eval(&mut test, "EVAL", &source, &["1", "k"]);
        let lines = test.take_effect_lines();
        assert_eq!(lines, ["MULTI", "DEL k", "incr n", "EXEC"], "{muted}");
        test.run("DEL k");
    }
    test.take_effects();
    eval(&mut test, "EVAL", "redis.set_repl(redis.REPL_NONE) return redis.call('incr', 'n')", &["0"]);
    assert_eq!(test.take_effect_lines(), [] as [&str; 0]);
}

fn load(test: &mut TestEngine, source: &str) -> String {
    request(test, &["SCRIPT", "LOAD", source])
}

#[test]
fn scripts_are_remembered_within_bounds() {
    let mut test = TestEngine::with_config(|config| config.script_cache_limit = 64 * 1024);
    let loaded = load(&mut test, "return 'loaded'");
    assert!(lower_sha(loaded.as_bytes()).is_some());
    assert_eq!(eval(&mut test, "EVALSHA", &loaded.to_uppercase(), &["0"]), "loaded");
    assert_eq!(request(&mut test, &["SCRIPT", "SHOW", &loaded]), "return 'loaded'");
    let mut names = Vec::new();
    for number in 0..2000 {
        let source = format!("return {number}");
        assert_eq!(eval(&mut test, "EVAL", &source, &["0"]), number.to_string());
        names.push(String::from_utf8_lossy(&script::sha1_hex(source.as_bytes())).into_owned());
    }
    // The last ones and the one that was loaded are there, the first ones are not.
    assert_eq!(eval(&mut test, "EVALSHA", &names[1999], &["0"]), "1999");
    assert_eq!(
        eval(&mut test, "EVALSHA", &names[0], &["0"]),
        "-NOSCRIPT No matching script. Please use EVAL."
    );
    assert_eq!(eval(&mut test, "EVALSHA", &loaded, &["0"]), "loaded");
    let engine = &test.engine;
    assert!(engine.scripts.memory() <= 64 * 1024, "{}", engine.scripts.memory());
    assert!(engine.scripts.pool.used() < 6 << 20, "{}", engine.scripts.pool.used());
    check_script(
        &mut test,
        &[("SCRIPT FLUSH", "+OK"), ("SCRIPT FLUSH x", "-ERR SCRIPT FLUSH only support SYNC|ASYNC option")],
    );
    assert_eq!(request(&mut test, &["SCRIPT", "EXISTS", &loaded, &names[1999]]), "[0 0]");
    assert_eq!(eval(&mut test, "EVALSHA", &loaded, &["0"]), "-NOSCRIPT No matching script. Please use EVAL.");
    // One that does not fit is run, but not remembered.
    let long = format!("return 1 -- {}", "x".repeat(70_000));
    assert_eq!(eval(&mut test, "EVAL", &long, &["0"]), "1");
    assert_eq!(test.engine.scripts.count(), 0);
}

/// Error statistics know each error once, wherever it came from.
#[test]
fn errors_are_counted_once() {
    let mut test = TestEngine::new();
    test.run("RPUSH l 1");
    let count = |test: &TestEngine, code: &str| {
        test.engine.errors.all().iter().find(|(name, _)| name == code).map_or(0, |(_, count)| *count)
    };
    for (source, code, expected) in [
        ("return redis.call('incr', 'l')", "WRONGTYPE", 1),
        ("return redis.pcall('incr', 'l')", "WRONGTYPE", 2),
        ("return redis.error_reply('MINE x')", "MINE", 1),
        ("error({err = 'MINE x'})", "MINE", 2),
        ("return {err = string.rep('A', 30) .. ' x'}", &*"A".repeat(30), 1),
        // What Redis takes for no code.
        ("return {err = string.rep('A', 31) .. ' x'}", "ERR", 1),
        ("return {err = ' x'}", "ERR", 2),
        ("return {err = ''}", "ERR", 3),
        ("return {err = 'CODE'}", "ERR", 4),
        ("return {1, {err = string.rep('A', 1e6)}}", "ERR", 5),
    ] {
        eval(&mut test, "EVAL", source, &["0"]);
        assert_eq!(count(&test, code), expected, "{source}");
    }
}

/// What a command answers a script has no more room than Lua.
#[test]
fn replies_to_scripts_are_bounded() {
    let mut test = TestEngine::with_config(|config| config.lua_memory_limit = 4 << 20);
    let value = "x".repeat(100_000);
    for _ in 0..100 {
        test.run_words(&["RPUSH", "list", &value]);
    }
    test.run_words(&["SET", "text", &"x".repeat(3_000_000)]);
    let refusal = "-ERR the reply is too long for a script (lua-memory-limit)";
    for (source, expected) in [
        ("return #redis.call('lrange', 'list', 0, 9)", "10"),
        ("return #redis.call('lrange', 'list', 0, -1)", refusal),
        ("return #redis.call('sort', 'list', 'alpha')", refusal),
        ("return #redis.call('mget', 'text', 'text')", refusal),
        ("return redis.pcall('lrange', 'list', 0, -1)", refusal),
        ("return redis.call('llen', 'list')", "100"),
    ] {
        let reply = eval(&mut test, "EVAL", source, &["0"]);
        assert!(reply.starts_with(expected), "{source}: {reply}");
    }
}

/// Whatever a worker has compiled, the script that it has just compiled stays until it has run.
#[test]
fn a_new_script_does_not_make_way_for_old_ones() {
    let mut test = TestEngine::new();
    let padding = "p".repeat(8192);
    for number in 0..500 {
        let source = format!("return {number} --{padding}");
        for _ in 0..2 {
            assert_eq!(eval(&mut test, "EVAL", &source, &["0"]), number.to_string());
        }
        // Every one is in use.
        for older in (0..number).rev().take(2) {
            let source = format!("return {older} --{padding}");
            assert_eq!(eval(&mut test, "EVAL", &source, &["0"]), older.to_string());
        }
    }
}

/// A small cache takes a new script though all others are in use, and a script that another worker has
/// brought back is that one's.
#[test]
fn scripts_come_back_into_a_small_cache() {
    let mut test = TestEngine::with_config(|config| config.script_cache_limit = 2000);
    let names: Vec<_> = (0..7).map(|number| load(&mut test, &format!("return {number}"))).collect();
    for (number, name) in names.iter().enumerate() {
        assert_eq!(eval(&mut test, "EVALSHA", name, &["0"]), number.to_string());
    }
    for _ in 0..2 {
        let name = load(&mut test, "return 'new'");
        assert_eq!(eval(&mut test, "EVALSHA", &name, &["0"]), "new");
    }
    let mut other = WorkerSeat::new(&test.engine, test.seat.worker.id);
    for round in 0..3 {
        let source = format!("return 'round {round}'");
        let name = load(&mut test, &source);
        for number in 0..30 {
            load(&mut test, &format!("return {number}"));
        }
        std::mem::swap(&mut test.seat, &mut other);
        assert_eq!(load(&mut test, &source), name, "by another worker");
        std::mem::swap(&mut test.seat, &mut other);
        for _ in 0..2 {
            assert_eq!(load(&mut test, &source), name);
            assert_eq!(request(&mut test, &["SCRIPT", "EXISTS", &name]), "[1]");
            assert_eq!(eval(&mut test, "EVALSHA", &name, &["0"]), format!("round {round}"));
        }
    }
    let long = format!("return 1 --{}", "x".repeat(2000));
    assert_eq!(load(&mut test, &long), "-ERR the script is longer than script-cache-limit");
}

/// A script that keeps to its keys sees no others, whatever shards those are in.
#[test]
fn declared_keys_are_all_that_a_script_has() {
    let run = |test: &mut TestEngine, body: &str, keys: &[&str]| {
        let source = format!("#!lua flags=declared-keys\n{body}");
        let count = keys.len().to_string();
        eval(test, "EVAL", &source, &[&[count.as_str()], keys].concat())
    };
    const UNDECLARED: &str = "-ERR Script attempted to access a key that it did not declare script: ";
    const KEYSPACE: &str = "-ERR This command needs the whole keyspace, and the script keeps to the keys that it \
                            declared script: ";
    let mut test = TestEngine::new();
    test.run("MSET a 1 b 2 c 3");
    for (body, keys, expected) in [
        ("return redis.call('get', KEYS[1])", &["a"][..], "1"),
        ("return redis.call('get', 'b')", &["a", "b", "a"], "2"),
        ("return redis.call('mget', 'c', 'a')", &["a", "c"], "[\"3\" \"1\"]"),
        ("return redis.call('publish', 'c', 'a')", &[], "0"),
        ("return redis.call('echo', 'c')", &[], "c"),
        ("return redis.call('sort', 'none')", &["none"], "[]"),
        ("redis.call('select', 1) return redis.call('exists', 'a')", &["a"], "0"),
    ] {
        assert_eq!(run(&mut test, body, keys), expected, "{body}");
    }
    for (body, keys, expected) in [
        ("return redis.call('get', 'b')", &["a"][..], UNDECLARED),
        ("return redis.call('get', 'b')", &[], UNDECLARED),
        ("return redis.call('mget', 'a', 'b')", &["a"], UNDECLARED),
        ("return redis.call('sort', 'a', 'by', 'w*')", &["a"], UNDECLARED),
        ("return redis.call('keys', '*')", &["a"], KEYSPACE),
        ("return redis.call('dbsize')", &["a"], KEYSPACE),
        ("return redis.call('info')", &["a"], KEYSPACE),
        ("return redis.call('memory', 'stats')", &["a"], KEYSPACE),
        ("return redis.call('scan', 0)", &["a"], KEYSPACE),
        ("return redis.call('flushall')", &["a"], KEYSPACE),
        ("return redis.call('randomkey')", &["a"], KEYSPACE),
    ] {
        let reply = run(&mut test, body, keys);
        assert!(reply.starts_with(expected), "{body}: {reply}");
    }
    // The same by name, and for all scripts if that is asked for.
    let name = load(&mut test, "#!lua flags=declared-keys\nreturn redis.call('get', 'a')");
    assert_eq!(eval(&mut test, "EVALSHA", &name, &["1", "a"]), "1");
    assert!(eval(&mut test, "EVALSHA", &name, &["1", "b"]).starts_with(UNDECLARED));
    let plain = load(&mut test, "return redis.call('get', 'a')");
    assert_eq!(eval(&mut test, "EVALSHA", &plain, &["1", "b"]), "1");
    test.run("CONFIG SET lua-strict-keys yes");
    assert_eq!(eval(&mut test, "EVALSHA", &plain, &["1", "a"]), "1");
    assert!(eval(&mut test, "EVALSHA", &plain, &["1", "b"]).starts_with(UNDECLARED));
    test.check_invariants();
}

/// Of several scripts that run for too long, the one goes that may.
#[test]
fn the_longest_script_that_has_not_written_is_ended() {
    use ScriptKind::{Eval, Function};
    const WROTE: bool = true;
    let check = |scripts: &[(ScriptKind, bool)], kind: ScriptKind, expected: Result<usize, &str>| {
        let running = Running::new(scripts.len());
        for (index, &(kind, wrote)) in scripts.iter().enumerate() {
            let worker = WorkerId(index as u16);
            running.begin(worker, kind, 10 + index as u64);
            running.set_busy(worker, || Details { name: Box::default(), command: OwnedArgv::default() });
            assert!(!wrote || running.begin_write(worker));
        }
        let result = running.kill(kind);
        let killed: Vec<_> =
            (0..scripts.len()).filter(|&index| running.is_killed(WorkerId(index as u16))).collect();
        match expected {
            Ok(index) => assert_eq!((result, killed), (Ok(()), vec![index]), "{scripts:?}"),
            Err(code) => {
                let error = result.expect_err("nothing may be ended");
                assert!(error.to_string().starts_with(code), "{scripts:?}: {error}");
                assert_eq!(killed, [0; 0]);
            }
        }
    };
    check(&[], Eval, Err("NOTBUSY"));
    check(&[(Eval, !WROTE), (Eval, !WROTE)], Eval, Ok(0));
    check(&[(Eval, WROTE), (Eval, !WROTE), (Eval, !WROTE)], Eval, Ok(1));
    check(&[(Function, WROTE), (Eval, !WROTE)], Eval, Ok(1));
    check(&[(Function, !WROTE), (Eval, !WROTE)], Eval, Ok(1));
    check(&[(Eval, WROTE), (Eval, WROTE)], Eval, Err("UNKILLABLE"));
    check(&[(Function, !WROTE), (Eval, WROTE)], Eval, Err("BUSY"));
    check(&[(Eval, !WROTE)], Function, Err("BUSY"));
}

/// Who is told to end once is left to it: the next is told to end then.
#[test]
fn each_kill_ends_another_script() {
    let running = Running::new(3);
    let killed = || -> Vec<u16> { (0..3).filter(|&index| running.is_killed(WorkerId(index))).collect() };
    for index in 0..3 {
        running.begin(WorkerId(index), ScriptKind::Eval, 10 + u64::from(index));
        let details = || Details { name: Box::default(), command: OwnedArgv::default() };
        running.set_busy(WorkerId(index), details);
    }
    assert!(running.begin_write(WorkerId(1)));
    for expected in [&[0][..], &[0, 2]] {
        assert_eq!((running.kill(ScriptKind::Eval), &killed()[..]), (Ok(()), expected));
    }
    let refusal = running.kill(ScriptKind::Eval).expect_err("the one that is left has written");
    assert!(refusal.to_string().starts_with("UNKILLABLE"), "{refusal}");
    running.end(WorkerId(1));
    assert_eq!(running.kill(ScriptKind::Eval), Ok(()), "it is on the way");
    running.end(WorkerId(0));
    running.end(WorkerId(2));
    let refusal = running.kill(ScriptKind::Eval).expect_err("all have ended");
    assert!(refusal.to_string().starts_with("NOTBUSY"), "{refusal}");
}

#[test]
fn the_line_that_says_what_a_script_is() {
    let mut test = TestEngine::new();
    for (line, expected) in [
        ("#!lua", "1"),
        ("#!lua flags=no-writes,allow-oom,allow-stale,no-cluster,allow-cross-slot-keys,declared-keys", "1"),
        ("#!lua flags=", "1"),
        ("#!lua flags=none", "-ERR Unexpected flag in script shebang: none"),
        ("#!lua name=x", "-ERR Unknown lua shebang option: name=x"),
        ("#!other", "-ERR Unexpected engine in script shebang: #!other"),
    ] {
        assert_eq!(eval(&mut test, "EVAL", &format!("{line}\nreturn 1"), &["0"]), expected, "{line}");
    }
    assert_eq!(eval(&mut test, "EVAL", "#!lua", &["0"]), "-ERR Invalid script shebang");
}

#[test]
fn memory_of_scripts_is_told() {
    let mut test = TestEngine::new();
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    request(&mut test, &["FUNCTION", "LOAD", library]);
    request(&mut test, &["FCALL", "f", "0"]);
    (0..10).for_each(|number| drop(eval(&mut test, "EVAL", &format!("return {number}"), &["0"])));
    let engine = &test.engine;
    let (eval, functions) = (engine.scripts.heap(), engine.functions.heap());
    let (scripts, libraries) = (engine.scripts.memory(), engine.functions.memory());
    let expected = [
        ("used_memory_lua", eval),
        ("used_memory_vm_eval", eval),
        ("used_memory_vm_functions", functions),
        ("used_memory_vm_total", eval + functions),
        ("used_memory_scripts_eval", scripts),
        ("used_memory_functions", libraries),
        ("used_memory_scripts", scripts + libraries),
        ("number_of_cached_scripts", 10),
        ("number_of_functions", 1),
        ("number_of_libraries", 1),
    ];
    assert!(eval > 0 && functions > 0 && scripts > 10 * "return 0".len() && libraries > library.len());
    let told = request(&mut test, &["INFO", "memory"]);
    for (field, value) in expected {
        assert!(told.contains(&format!("\\r\\n{field}:{value}\\r\\n")), "{field} is not {value}: {told}");
    }
}

/// What a script has written waits in parts until it ends, counted all the while, and comes whole.
#[test]
fn many_effects_are_one_transaction() {
    const KEYS: usize = 3000;
    let mut test = TestEngine::new();
    test.collect_effects();
    let source = "for i = 1, ARGV[1] do redis.call('set', 'k' .. i, ARGV[2]) end
                  redis.call('select', 1) redis.call('set', 'long', string.rep('l', 1e6))
                  local stats = redis.call('memory', 'stats')
                  for i = 1, #stats, 2 do if stats[i] == 'transactions' then return stats[i + 1] end end";
    let value = "v".repeat(1000);
    let withheld = eval(&mut test, "EVAL", source, &["0", &KEYS.to_string(), &value]);
    let (withheld, written): (usize, usize) = (withheld.parse().expect("a number"), KEYS * 1000 + 1_000_000);
    let most = written + KEYS * 64 + (1 << 20);
    assert!((written - (1 << 20)..most).contains(&withheld), "{withheld} of {written} bytes");
    assert_eq!(test.engine.log.withheld(), 0);
    let lines = test.take_effect_lines();
    assert_eq!(lines.len(), KEYS + 3);
    assert_eq!((&lines[0][..], &lines[KEYS + 2][..]), ("MULTI", "EXEC"));
    for (index, line) in lines[1..=KEYS].iter().enumerate() {
        assert_eq!(*line, format!("set k{} {value}", index + 1));
    }
    assert!(lines[KEYS + 1].starts_with("set long llll"), "{}", &lines[KEYS + 1][..20]);
}

/// Planning it looks into shards: it must hold none then.
#[test]
fn a_transaction_may_have_a_scan_beside_a_script() {
    let mut test = TestEngine::new();
    request(&mut test, &["SET", "k", "v"]);
    request(&mut test, &["MULTI"]);
    eval(&mut test, "EVAL", "#!lua flags=declared-keys\nreturn redis.call('get', KEYS[1])", &["1", "k"]);
    request(&mut test, &["SCAN", "0"]);
    let replies = request(&mut test, &["EXEC"]);
    assert!(replies.contains('v') && replies.contains('k'), "{replies}");
}

/// The time stands still for a script: what has not expired when it begins does not while it runs.
#[test]
fn nothing_expires_while_a_script_runs() {
    let mut test = TestEngine::new();
    test.run("SET k v PX 5");
    let source = "local t = redis.call('time') local n = 0 repeat n = n + 1 until n > 1e6 \
                  return {redis.call('get', 'k'), redis.call('pttl', 'k')}";
    assert_eq!(eval(&mut test, "EVAL", source, &["0"]), "[\"v\" 5]");
}

#[test]
fn time_stands_still_for_a_script() {
    let mut test = TestEngine::with_config(|config| config.enable_debug_command = DebugAccess::Yes);
    assert_eq!(request(&mut test, &["DEBUG", "SET-DISABLE-DENY-SCRIPTS", "1"]), "+OK");
    let source = "local a = redis.call('time') redis.call('debug', 'sleep', 2) local b = redis.call('time') \
                  return a[1] == b[1] and a[2] == b[2]";
    for _ in 0..2 {
        let before = request(&mut test, &["TIME"]);
        assert_eq!(eval(&mut test, "EVAL", source, &["0"]), "1");
        assert_ne!(request(&mut test, &["TIME"]), before);
    }
}

/// A script that waits for the clock ends: past `busy-reply-threshold` the time goes on.
#[test]
fn time_goes_on_for_a_slow_script() {
    let mut test = TestEngine::with_config(|config| config.enable_debug_command = DebugAccess::Yes);
    assert_eq!(request(&mut test, &["DEBUG", "SET-DISABLE-DENY-SCRIPTS", "1"]), "+OK");
    let source = "local before = redis.call('time')[1] redis.call('debug', 'sleep', 6) \
                  local n = 0 repeat n = n + 1 until n > 1e6 return redis.call('time')[1] - before";
    assert_eq!(eval(&mut test, "EVAL", source, &["0"]), "6");
}

/// A script of few instructions and long commands: whoever asks for its end is heard between them.
#[test]
fn a_script_of_long_commands_lets_others_be_heard() {
    let mut test = TestEngine::with_config(|config| {
        config.enable_debug_command = DebugAccess::Yes;
        config.busy_reply_threshold_ms = 1;
    });
    assert_eq!(request(&mut test, &["DEBUG", "SET-DISABLE-DENY-SCRIPTS", "1"]), "+OK");
    let source = "for i = 1, 100 do redis.call('debug', 'sleep', 0.006) end return 1";
    assert_eq!(eval(&mut test, "EVAL", source, &["0"]), "1");
    let looks = test.host.calls.lock().iter().filter(|call| *call == "attend").count();
    assert_eq!(looks, 50, "every ten milliseconds, at the end of a command");
}

/// Errors among what a script returns: with each that a command has met EVAL has failed, and once with all
/// others.
#[test]
fn a_script_fails_with_the_errors_it_returns() {
    let mut test = TestEngine::new();
    test.run("SET k text");
    for (source, failed, errors) in [
        ("return redis.call('incr', 'k')", 1, 1),
        ("return redis.pcall('incr', 'k')", 1, 1),
        ("redis.pcall('incr', 'k') return 1", 0, 1),
        ("local e = redis.pcall('incr', 'k') return {e, {e}}", 2, 1),
        ("return {redis.pcall('incr', 'k'), redis.pcall('incr', 'k')}", 2, 2),
        ("return {{err='MINE x'}, {err='MINE y'}}", 1, 2),
        ("return {{err='MINE x'}, redis.pcall('incr', 'k')}", 2, 2),
    ] {
        test.run("CONFIG RESETSTAT");
        eval(&mut test, "EVAL", source, &["0"]);
        let calls = format!("rejected_calls=0,failed_calls={failed}");
        let stats = request(&mut test, &["INFO", "commandstats"]);
        let eval = stats.split("cmdstat_eval:").nth(1).unwrap_or_default();
        let eval = eval.split("\\r\\n").next().unwrap_or_default();
        assert!(eval.ends_with(&calls), "{source}: {eval}");
        let stats = request(&mut test, &["INFO", "stats"]);
        assert!(stats.contains(&format!("total_error_replies:{errors}\\r\\n")), "{source}: {stats}");
    }
}

#[test]
fn a_client_asks_for_a_debugger() {
    let mut test = TestEngine::new();
    for (words, expected) in [
        (&["SCRIPT", "DEBUG", "NO"][..], "+OK"),
        (&["SCRIPT", "DEBUG", "maybe"], "-ERR Use SCRIPT DEBUG YES/SYNC/NO"),
        (&["EVAL", "return 1", "0"], "1"),
        (&["SCRIPT", "DEBUG", "SYNC"], "+OK"),
        (&["SCRIPT", "DEBUG", "no"], "+OK"),
        (&["EVAL", "return 2", "0"], "2"),
        (&["SCRIPT", "DEBUG", "sync"], "+OK"),
        (&["RESET"], "+RESET"),
        (&["EVALSHA", NO_SUCH, "0"], "-NOSCRIPT No matching script. Please use EVAL."),
        (&["SCRIPT", "DEBUG", "sync"], "+OK"),
        (&["EVALSHA", NO_SUCH, "0"], "-ERR Please use EVAL instead of EVALSHA for debugging"),
        (&["EVAL", "return 3", "0"], "3"),
    ] {
        assert_eq!(request(&mut test, words), expected, "{words:?}");
    }
    assert!(request(&mut test, &["SCRIPT", "DEBUG", "YES"]).contains("never forks: use SCRIPT DEBUG SYNC"));
    assert!(test.sessions[0].closing, "a debugged script is its client's last");
}

const NO_SUCH: &str = "0000000000000000000000000000000000000000";
