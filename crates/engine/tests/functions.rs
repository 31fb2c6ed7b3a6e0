//! Libraries of functions: what loading them refuses, what their functions may do, and how they move from one
//! server to another.

use engine::args::OwnedArgv;
use engine::host::WorkerId;
use engine::pipeline::lookup;
use engine::testing::{TestEngine, show};
use store::Plan;

fn request(test: &mut TestEngine, words: &[&str]) -> String {
    show(&test.run_words(words))
}

fn load(test: &mut TestEngine, code: &str) -> String {
    request(test, &["FUNCTION", "LOAD", code])
}

fn library(name: &str, body: &str) -> String {
    format!("#!lua name={name}\n{body}")
}

const ONE: &str = "redis.register_function('one', function(keys, args) return {keys[1], args[1], #args} end)";

#[test]
fn functions_run() {
    let mut test = TestEngine::new();
    assert_eq!(load(&mut test, &library("lib", ONE)), r#""lib""#);
    let writing = "local count = 0
        redis.register_function('count', function() count = count + 1 return count end)
        redis.register_function('put', function(k, a) return redis.call('set', k[1], a[1]) end)
        redis.register_function{function_name='get', description='reads', flags={'no-writes'},
            callback=function(k) return server.call('get', k[1]) end}
        redis.register_function{function_name='put2', flags={'no-writes'},
            callback=function(k) return redis.call('set', k[1], 1) end}
        redis.register_function{function_name='own', flags={'declared-keys'},
            callback=function(k) return redis.call('get', 'k') end}
        redis.register_function('bad', function() return missing end)
        redis.register_function('again', function() redis.register_function('x', function() end) end)
        local captured = redis
        redis.register_function('late', function() captured.register_function('x', function() end) end)
        redis.register_function('plant', function() rawset(captured, 'x', 1) end)
        redis.register_function('lib', function() return math.floor(3.7) + cjson.decode('[1]')[1] end)";
    assert_eq!(load(&mut test, &library("w", writing)), r#""w""#);
    for (words, expected) in [
        (&["FCALL", "one", "1", "k", "a", "b"][..], r#"["k" "a" 2]"#),
        (&["FCALL", "ONE", "0"], r#"[]"#),
        (&["FCALL", "count", "0"], "1"),
        (&["FCALL", "count", "0"], "2"),
        (&["FCALL", "put", "1", "k", "v"], "+OK"),
        (&["FCALL", "get", "1", "k"], r#""v""#),
        (&["FCALL_RO", "get", "1", "k"], r#""v""#),
        (&["FCALL", "own", "1", "k"], r#""v""#),
        (&["FCALL", "lib", "0"], "4"),
        (&["FCALL", "nope", "0"], "-ERR Function not found"),
        (&["FCALL", "one", "x"], "-ERR Bad number of keys provided"),
        (&["FCALL", "one", "1"], "-ERR Number of keys can't be greater than number of args"),
        (&["FCALL", "one", "-1"], "-ERR Number of keys can't be negative"),
        (
            &["FCALL_RO", "put", "1", "k", "v"],
            "-ERR Can not execute a script with write flag using *_ro command.",
        ),
        (
            &["FCALL", "put2", "1", "k"],
            "-ERR Write commands are not allowed from read-only scripts. script: put2, on @user_function:8.",
        ),
    ] {
        assert_eq!(request(&mut test, words), expected, "{words:?}");
    }
    for (name, expected) in [
        ("own", "-ERR Script attempted to access a key that it did not declare"),
        ("bad", "-ERR user_function:11: Script attempted to access nonexistent global variable 'missing'"),
        ("again", "-ERR user_function:12: attempt to call field 'register_function' (a nil value)"),
        ("late", "-ERR redis.register_function can only be called on FUNCTION LOAD command"),
        ("plant", "-ERR Attempt to modify a readonly table"),
    ] {
        let reply = request(&mut test, &["FCALL", name, "0"]);
        assert!(reply.starts_with(expected), "{name}: {reply}");
    }
}

#[test]
fn what_is_no_library_is_refused() {
    let mut test = TestEngine::new();
    load(&mut test, &library("there", ONE));
    for (code, expected) in [
        ("return 1".to_owned(), "Missing library metadata"),
        ("#!lua name=x".to_owned(), "Invalid library metadata"),
        ("#!lua 'name=x\n".to_owned(), "Invalid library metadata"),
        ("#!lua\nreturn 1".to_owned(), "Library name was not given"),
        (
            "#!lua name=a name=b\n".to_owned(),
            "Invalid metadata value, name argument was given multiple times",
        ),
        ("#!lua name=a other=b\n".to_owned(), "Invalid metadata value given: other=b"),
        ("#!js name=a\n".to_owned(), "Engine 'js' not found"),
        (
            "#!lua name=a-b\n".to_owned(),
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character \
             long",
        ),
        (library("there", "x"), "Library 'there' already exists"),
        (library("x", ONE), "Function one already exists"),
        (library("x", "return 1"), "No functions registered"),
        (library("x", "bad bad"), "Error compiling function: user_function:2: '=' expected near 'bad'"),
        (
            library("x", "x = 1"),
            "Error registering functions: ERR user_function:2: Attempt to modify a readonly table",
        ),
        (
            library("x", "local x = math.pi"),
            "Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable \
             'math'",
        ),
        (
            library("x", "redis.call('get', 'x')"),
            "Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable \
             'call'",
        ),
        (
            library("x", "redis.register_function{function_name='a', callback=function() end, flags={'x'}}"),
            "Error registering functions: ERR unknown flag given",
        ),
        (
            library("x", "redis.register_function('a')"),
            "Error registering functions: ERR calling redis.register_function with a single argument is only \
             applicable to Lua table (representing named arguments).",
        ),
        (
            library("x", "redis.register_function('a', 1)"),
            "Error registering functions: ERR second argument to redis.register_function must be a function",
        ),
        (
            library("x", "server.register_function('a', 1)"),
            "Error registering functions: ERR second argument to server.register_function must be a function",
        ),
        (
            library("x", "server.register_function{callback=function() end}"),
            "Error registering functions: ERR server.register_function must get a function name argument",
        ),
        (
            library("x", "redis.register_function('a-b', function() end)"),
            "Error registering functions: ERR Library names can only contain letters, numbers, or underscores(_) and \
             must be at least one character long",
        ),
        (
            library("x", "server.register_function('', function() end)"),
            "Error registering functions: ERR Function names can only contain letters, numbers, or underscores(_) and \
             must be at least one character long",
        ),
        (
            library(
                "x",
                "redis.register_function('a', function() end) redis.register_function('a', function() end)",
            ),
            "Error registering functions: ERR Function already exists in the library",
        ),
    ] {
        assert_eq!(load(&mut test, &code), format!("-ERR {expected}"), "{code}");
    }
    // The one that is there is as it was.
    assert_eq!(request(&mut test, &["FCALL", "one", "0", "a"]), "[]");
}

#[test]
fn libraries_are_listed_and_moved() {
    let mut test = TestEngine::new();
    let described =
        "redis.register_function{function_name='f', description='does', callback=function() return 1 end,
        flags={'allow-oom', 'no-writes'}}";
    load(&mut test, &library("b", described));
    load(&mut test, &library("a", ONE));
    let functions = [
        r#"[["name" "one" "description" nil "flags" []]]"#,
        r#"[["name" "f" "description" "does" "flags" [+no-writes +allow-oom]]]"#,
    ];
    let shown = |name: &str, functions: &str| {
        format!(r#"["library_name" "{name}" "engine" "LUA" "functions" {functions}]"#)
    };
    let listed = format!("[{} {}]", shown("a", functions[0]), shown("b", functions[1]));
    assert_eq!(request(&mut test, &["FUNCTION", "LIST"]), listed);
    assert_eq!(request(&mut test, &["FUNCTION", "LIST", "LIBRARYNAME", "c*"]), "[]");
    let dump = test.run("FUNCTION DUMP").as_bytes().expect("a payload").to_vec();
    let restore = |test: &mut TestEngine, policy: &[&str]| {
        let mut words: Vec<Vec<u8>> = vec![b"FUNCTION".to_vec(), b"RESTORE".to_vec(), dump.clone()];
        words.extend(policy.iter().map(|word| word.as_bytes().to_vec()));
        show(&test.run_words(&words))
    };
    assert_eq!(restore(&mut test, &[]), "-ERR Library a already exists");
    assert_eq!(restore(&mut test, &["REPLACE"]), "+OK");
    assert_eq!(request(&mut test, &["FUNCTION", "DELETE", "a"]), "+OK");
    assert_eq!(request(&mut test, &["FUNCTION", "DELETE", "a"]), "-ERR Library not found");
    load(&mut test, &library("c", ONE));
    // All or nothing.
    assert_eq!(restore(&mut test, &["REPLACE"]), "-ERR Function one already exists");
    assert_eq!(restore(&mut test, &["FLUSH"]), "+OK");
    assert_eq!(request(&mut test, &["FUNCTION", "LIST"]), listed);
    assert_eq!(request(&mut test, &["FCALL", "f", "0"]), "1");
    assert_eq!(request(&mut test, &["FUNCTION", "FLUSH"]), "+OK");
    assert_eq!(request(&mut test, &["FCALL", "f", "0"]), "-ERR Function not found");
    assert_eq!(restore(&mut test, &[]), "+OK");
    assert_eq!(
        request(&mut test, &["FUNCTION", "STATS"]),
        r#"["running_script" nil "engines" ["LUA" ["libraries_count" 2 "functions_count" 2]]]"#
    );
    assert_eq!(request(&mut test, &["FUNCTION", "KILL"]), "-NOTBUSY No scripts in execution right now.");
    let broken = [&dump[..dump.len() - 1], b"x"].concat();
    assert_eq!(
        show(&test.run_words(&[b"FUNCTION".as_slice(), b"RESTORE", &broken])),
        "-ERR DUMP payload version or checksum are wrong"
    );
}

/// What a library keeps between calls is the same whichever worker runs them, unless the function keeps to
/// its keys; and what nobody can call any more takes no memory.
#[test]
fn libraries_have_one_state_and_leave_nothing() {
    let mut test = TestEngine::with_workers(3);
    let body = "local n = 0 local function count() n = n + 1 return n end
        redis.register_function('count', count)
        redis.register_function{function_name='own', callback=count, flags={'declared-keys'}}
        local t = {} for i = 1, 50000 do t[i] = 'abcdefgh' .. i end
        redis.register_function('len', function() return #t end)";
    load(&mut test, &library("lib", body));
    let call = |test: &mut TestEngine, worker: u16, name: &str| {
        test.seat.worker.id = WorkerId(worker);
        request(test, &["FCALL", name, "0"])
    };
    let counts: Vec<_> = (0..6).map(|round| call(&mut test, round % 3, "count")).collect();
    assert_eq!(counts, ["1", "2", "3", "4", "5", "6"]);
    let counts: Vec<_> = (0..6).map(|round| call(&mut test, round % 3, "own")).collect();
    assert_eq!(counts, ["1", "1", "1", "2", "2", "2"]);
    let heap = |test: &TestEngine| test.engine.functions.heap();
    assert!(heap(&test) > 8 << 20, "{}", heap(&test));
    load(&mut test, &library("other", ONE));
    request(&mut test, &["FCALL", "one", "0"]);
    request(&mut test, &["FUNCTION", "DELETE", "lib"]);
    assert!(heap(&test) < 1 << 20, "{}", heap(&test));
    request(&mut test, &["FUNCTION", "FLUSH"]);
    assert_eq!(heap(&test), 0);
}

/// Between the plan of a call and its locks the function may be loaded: a call of one that is not there yet
/// is planned as if it were.
#[test]
fn calls_of_functions_to_come_have_their_shards() {
    let mut test = TestEngine::new();
    let plan = |test: &TestEngine, words: &[&str]| {
        let mut argv = OwnedArgv::default();
        words.iter().for_each(|word| argv.push(word.as_bytes()));
        let argv = argv.view();
        let command = lookup(&argv).expect("the command is known");
        test.engine.plan_at(command, None, &argv, &test.sessions[0], test.now())
    };
    for words in [&["FCALL", "nope", "1", "k"][..], &["FCALL_RO", "nope", "0"]] {
        assert_eq!(plan(&test, words), Plan::All, "{words:?}");
    }
    assert_eq!(plan(&test, &["FCALL", "nope", "x"]), Plan::None, "it is refused anyway");
    test.run("CONFIG SET lua-strict-keys yes");
    let one = plan(&test, &["FCALL", "nope", "1", "k"]);
    assert_eq!(one, plan(&test, &["GET", "k"]), "it has to keep to its keys");
}
