//! What scripts return, what errors say, and what the sandbox withholds.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use resp::reply::{Protocol, Reply};
use script::{Host, Machine, Passing, Pool, Run, Words};

/// A server that echoes: `echo x` returns its argument, `raw x` replies with these bytes, after `slow` it is
/// time to ask for the script's end, `fail` fails.
#[derive(Default)]
struct Echo {
    log: Vec<u8>,
    /// Commands that were called.
    calls: usize,
    end_after: Cell<Option<u32>>,
    /// What a debugger's client sends, and what it was shown.
    to_hear: VecDeque<&'static str>,
    shown: Vec<String>,
}

impl Host for Echo {
    fn call(&mut self, command: Words<'_>, reply: &mut Reply) -> bool {
        self.calls += 1;
        let words: Vec<&[u8]> = command.spans.iter().map(|span| span.of(command.input)).collect();
        match words[0] {
            b"echo" => reply.bulk(words[1]),
            b"raw" => reply.raw(words[1]),
            b"slow" => reply.integer(1),
            _ => reply.error("ERR unknown"),
        }
        words[0] == b"slow"
    }

    fn knows(&mut self, command: Words<'_>) -> bool {
        command.spans[0].of(command.input) != b"nosuch"
    }

    fn set_logged(&mut self, _: bool) {}

    fn log(&mut self, _: u8, message: &[u8]) {
        self.log.extend_from_slice(message);
    }

    fn count_error(&mut self, _: &[u8], _: bool) {}

    fn must_end(&mut self) -> Option<&'static str> {
        match self.end_after.get() {
            Some(0) => Some("ERR told to end"),
            left => {
                self.end_after.set(left.map(|left| left - 1));
                None
            }
        }
    }

    fn clock_s(&mut self) -> f64 {
        1.5
    }

    fn say(&mut self, shown: &[u8]) {
        self.shown.push(String::from_utf8_lossy(shown).replace("\r\n", "|"));
    }

    fn hear(&mut self, input: &mut Vec<u8>) -> bool {
        let line = self.to_hear.pop_front();
        if let Some(raw) = line.filter(|line| line.starts_with('*')) {
            input.extend_from_slice(raw.as_bytes());
            return true;
        }
        for word in line.iter().flat_map(|line| line.split(' ')) {
            if input.is_empty() {
                let count = line.map_or(0, |line| line.split(' ').count());
                input.extend_from_slice(format!("*{count}\r\n").as_bytes());
            }
            input.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        line.is_some()
    }
}

/// The reply of a script, or its error.
fn run_with(machine: &mut Machine, source: &str, protocol: Protocol, words: &[&str], keys: usize) -> String {
    run_on(machine, &mut Echo::default(), source, protocol, words, keys)
}

fn run_on(
    machine: &mut Machine,
    host: &mut Echo,
    source: &str,
    protocol: Protocol,
    words: &[&str],
    keys: usize,
) -> String {
    let function = match machine.compile(source.as_bytes(), c"@user_script") {
        Ok(function) => function,
        Err(message) => return String::from_utf8_lossy(&message).into_owned(),
    };
    let word = |index: usize| words[index].as_bytes();
    let run = Run {
        function,
        passing: Passing::Globals,
        name: b"f0",
        keys,
        words: words.len(),
        word: &word,
        debugged: None,
    };
    let mut reply = Reply::new(protocol);
    let result = machine.run(host, &run, &mut reply);
    machine.forget(function);
    match result {
        Ok(()) => String::from_utf8_lossy(&reply.buf).into_owned(),
        Err(failure) => format!("-{}", String::from_utf8_lossy(&failure.text)),
    }
}

fn machine_of(limit: usize) -> Machine {
    Machine::new(&Arc::new(Pool::new(1, limit)), 0, 7).expect("there is memory for a machine")
}

fn check_each(cases: &[(&str, &str)], protocol: Protocol) {
    let mut machine = machine_of(32 << 20);
    for (source, expected) in cases {
        let reply = run_with(&mut machine, source, protocol, &["k1", "a1", "a2"], 1);
        assert_eq!(reply.replace("\r\n", " "), *expected, "{source}");
    }
}

#[test]
fn values_become_replies() {
    let cases = [
        ("return 'hello'", "$5 hello "),
        ("return 3.99", ":3 "),
        ("return -7", ":-7 "),
        ("return true", ":1 "),
        ("return false", "$-1 "),
        ("return nil", "$-1 "),
        ("return", "$-1 "),
        ("return {1,2,{3,'four',nil,5}}", "*3 :1 :2 *2 :3 $4 four "),
        ("return {}", "*0 "),
        ("return {ok='fine'}", "+fine "),
        ("return {err='MINE bad'}", "-MINE bad "),
        ("return redis.error_reply('MINE bad')", "-MINE bad "),
        ("return redis.error_reply('bad')", "-ERR bad "),
        ("return redis.error_reply('')", "-ERR  "),
        ("return redis.error_reply('-bad\\r\\n')", "-ERR bad "),
        ("return redis.error_reply('MINE bad ')", "-MINE bad  "),
        ("return redis.error_reply('MINE \\nbad\\0more')", "-MINE bad "),
        ("return {err='MINE\\0bad'}", "-MINE "),
        ("return {ok='fine\\0more'}", "+fine "),
        ("return redis.call('echo', 0/0)", "$4 -nan "),
        ("return redis.call('echo', -(0/0))", "$3 nan "),
        ("return redis.status_reply('fine')", "+fine "),
        ("return {double=3.5}", "$3 3.5 "),
        ("return {big_number='123'}", "$3 123 "),
        ("return {map={a=1}}", "*2 $1 a :1 "),
        ("return {set={a=true}}", "*1 $1 a "),
        ("return {verbatim_string={format='txt',string='hi'}}", "$2 hi "),
        ("return {KEYS[1], ARGV[1], ARGV[2], #ARGV}", "*4 $2 k1 $2 a1 $2 a2 :2 "),
        ("return function() end", "$-1 "),
    ];
    check_each(&cases, Protocol::Resp2);
    let cases = [
        ("return true", ":1 "),
        ("redis.setresp(3) return true", "#t "),
        ("redis.setresp(3) return {false}", "*1 #f "),
        ("return nil", "_ "),
        ("return {double=3.5}", ",3.5 "),
        ("return {big_number='123'}", "(123 "),
        ("return {map={a={map={b=2}}}}", "%1 $1 a %1 $1 b :2 "),
        ("return {set={a=true}}", "~1 $1 a "),
        ("return {verbatim_string={format='txt',string='hi'}}", "=6 txt:hi "),
    ];
    check_each(&cases, Protocol::Resp3);
}

#[test]
fn replies_become_values() {
    let cases = [
        ("return redis.call('echo', 'x')", "$1 x "),
        ("return redis.call('echo', 12)", "$2 12 "),
        ("return redis.call('echo', 0.1)", "$3 0.1 "),
        ("return redis.call('echo', 1e20)", "$5 1e+20 "),
        ("return redis.call('raw', ':12\\r\\n') + 1", ":13 "),
        ("return redis.call('raw', '*2\\r\\n$1\\r\\na\\r\\n*-1\\r\\n')", "*2 $1 a $-1 "),
        ("return type(redis.call('raw', '$-1\\r\\n'))", "$7 boolean "),
        ("return type(redis.call('raw', '_\\r\\n'))", "$3 nil "),
        // In RESP3 a table has gaps, and Lua finds it as long as its growth has made it.
        ("redis.setresp(3) return #redis.call('raw', '*3\\r\\n:1\\r\\n_\\r\\n:3\\r\\n')", ":1 "),
        ("redis.setresp(3) return #redis.call('raw', '*2\\r\\n_\\r\\n:2\\r\\n')", ":0 "),
        ("return redis.call('raw', '+OK\\r\\n').ok", "$2 OK "),
        ("return redis.call('raw', ',1.5\\r\\n').double * 2", ":3 "),
        ("return redis.call('raw', '%1\\r\\n+a\\r\\n:1\\r\\n').map", "*0 "),
        ("return redis.call('raw', '%1\\r\\n$1\\r\\na\\r\\n:1\\r\\n').map.a", ":1 "),
        ("return redis.call('raw', '~1\\r\\n$1\\r\\na\\r\\n').set.a", ":1 "),
        ("return redis.call('raw', '#t\\r\\n')", ":1 "),
        ("return redis.call('raw', '(12\\r\\n').big_number", "$2 12 "),
        ("return redis.call('raw', '=6\\r\\ntxt:hi\\r\\n').verbatim_string.string", "$2 hi "),
        ("return redis.call('raw', '|1\\r\\n+a\\r\\n*1\\r\\n:1\\r\\n:5\\r\\n')", ":5 "),
        ("return redis.pcall('nope').err", "$11 ERR unknown "),
        ("return redis.call('nope')", "-ERR unknown script: f0, on @user_script:1."),
        ("return {pcall(redis.call, 'nope')}", "*2 $-1 $11 ERR unknown "),
        ("return select(2, pcall(redis.call, 'nope'))", "$11 ERR unknown "),
        (
            "return redis.call('echo', {})",
            "-ERR Lua redis lib command arguments must be strings or integers script: f0, on @user_script:1.",
        ),
        (
            "redis.call()",
            "-ERR Please specify at least one argument for this redis lib call script: f0, on @user_script:1.",
        ),
    ];
    check_each(&cases, Protocol::Resp2);
}

#[test]
fn errors_say_where() {
    let cases = [
        ("return (", "user_script:1: unexpected symbol near '<eof>'"),
        ("\nerror('x')", "-ERR user_script:2: x script: f0, on @user_script:2."),
        ("error({err='MINE x'})", "-MINE x script: f0, on @user_script:1."),
        ("error(true)", "-ERR true script: f0, on @user_script:1."),
        ("error()", "-ERR nil script: f0, on @user_script:1."),
        (
            "return foo",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'foo' script: f0, on \
             @user_script:1.",
        ),
        (
            "return string.rep()",
            "-ERR user_script:1: bad argument #1 to 'rep' (string expected, got no value) script: f0, on \
             @user_script:1.",
        ),
    ];
    check_each(&cases, Protocol::Resp2);
}

#[test]
fn the_sandbox_is_shut() {
    let read_only = "-ERR user_script:1: Attempt to modify a readonly table script: f0, on @user_script:1.";
    let attempts = [
        "x = 1",
        "redis = 1",
        "redis.call = 1",
        "_G.x = 1",
        "KEYS = 1",
        "ARGV = nil",
        "_G.KEYS = {}",
        "rawset(_G, 'KEYS', 1)",
        "_G = {}",
        "rawset(_G, 'x', 1)",
        "rawset(redis, 'call', 1)",
        "setmetatable(_G, {})",
        "setmetatable(redis, {})",
        "getmetatable(_G).__index = {}",
        "getmetatable('').__index = {}",
        "getmetatable(redis).__index = {}",
        "table.insert(redis, 1)",
        "string.format = 1",
        "cjson.encode = 1",
        "bit.band = 1",
        "server.call = 1",
        "rawset(getmetatable(''), 'x', 1)",
        "rawset(getmetatable(_G), 'x', 1)",
        "table.insert(getmetatable(redis), 1)",
        "setmetatable(getmetatable(cjson), {})",
    ];
    // A function of Lua's has no place in the script.
    let in_function = "-ERR Attempt to modify a readonly table script: f0, on @user_script:1.";
    let cases: Vec<(&str, &str)> = attempts
        .iter()
        .map(|attempt| (*attempt, if attempt.ends_with(')') { in_function } else { read_only }))
        .collect();
    check_each(&cases, Protocol::Resp2);
    let absent = [
        "dofile", "loadfile", "print", "require", "module", "io", "debug", "package", "newproxy", "getfenv",
        "setfenv",
    ];
    let mut machine = machine_of(0);
    for name in absent {
        let reply = run_with(&mut machine, &format!("return {name}"), Protocol::Resp2, &[], 0);
        assert!(reply.contains("nonexistent global"), "{name}: {reply}");
        let reply = run_with(&mut machine, &format!("return rawget(_G, '{name}')"), Protocol::Resp2, &[], 0);
        assert_eq!(reply, "$-1\r\n", "{name}");
    }
    let cases = [
        ("return os.execute", "$-1 "),
        ("return os.clock() > 1", ":1 "),
        (
            "return {loadstring('\\27Lua') == nil, select(2, loadstring('\\27Lua', '@x'))}",
            "*2 :1 $38 x:1: unexpected symbol near 'char(27)' ",
        ),
        (
            "local ok, f, e = pcall(load, function() return {} end) return {ok, f == nil, e}",
            "*3 :1 :1 $36 reader function must return a string ",
        ),
        ("local f, e = load(function() error('mine', 0) end) return {f == nil, e}", "*2 :1 $4 mine "),
        ("return {rawget(_G, 'KEYS')[1], _G.ARGV[2]}", "*2 $2 k1 $2 a2 "),
        ("return loadstring('return 5')()", ":5 "),
        ("local n = 0 return load(function() n = n + 1 return ({'return ', '6'})[n] end)()", ":6 "),
        (
            "local function inner() local n = 0 return load(function() n = n + 1 return ({'return ', '6'})[n] end)() end \
             local n = 0 return load(function() n = n + 1 cjson.encode('x') \
             return ({'return ', inner() .. '', '7'})[n] end)()",
            ":67 ",
        ),
        ("return pcall(load, 'return 1')", "$-1 "),
        ("local n = 0 for k, v in pairs(redis) do n = n + 1 end return n > 10", ":1 "),
        ("local n = 0 for k, v in pairs({1, 2, a=3}) do n = n + 1 end return n", ":3 "),
        ("return ('x'):rep(3)", "$3 xxx "),
        ("collectgarbage('stop') return collectgarbage('count') > 1", ":1 "),
        ("return server.sha1hex('')", "$40 da39a3ee5e6b4b0d3255bfef95601890afd80709 "),
    ];
    check_each(&cases, Protocol::Resp2);
}

#[test]
fn what_a_script_leaves_behind_is_undone() {
    let mut machine = machine_of(0);
    // An error's place is noted in a table of ours, not in the one that was raised.
    for table in ["redis", "_G", "string", "getmetatable('')"] {
        let reply = run_with(&mut machine, &format!("error({table})"), Protocol::Resp2, &[], 0);
        assert_eq!(reply, "-ERR unknown error script: f0, on @user_script:1.", "{table}");
        let places = format!("return {{rawget({table}, 'source'), rawget({table}, 'line'), 1}}");
        assert_eq!(run_with(&mut machine, &places, Protocol::Resp2, &[], 0), "*0\r\n", "{table}");
    }
    let kept = "local t = {err = 'MINE x'} error(t)";
    assert_eq!(
        run_with(&mut machine, kept, Protocol::Resp2, &[], 0),
        "-MINE x script: f0, on @user_script:1."
    );
    let set = "cjson.encode_number_precision(3) return cjson.encode(1/3)";
    assert_eq!(run_with(&mut machine, set, Protocol::Resp2, &[], 0), "$5\r\n0.333\r\n");
    let plain = "return cjson.encode(1/3)";
    assert_eq!(run_with(&mut machine, plain, Protocol::Resp2, &[], 0), "$16\r\n0.33333333333333\r\n");
}

#[test]
fn memory_is_bounded_and_comes_back() {
    let pool = Arc::new(Pool::new(1, 8 << 20));
    let mut machine = Machine::new(&pool, 0, 7).expect("there is memory for a machine");
    let bombs = [
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e9)",
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} t[1] = t t[2] = t return t",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 1e5 do t[i] = s end return cjson.encode(t)",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 1e5 do t[i] = s end return cmsgpack.pack(t)",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 1e5 do t[i] = s end return t",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 7e3 do t[i] = s end redis.call(unpack(t))",
    ];
    for bomb in bombs {
        let reply = run_with(&mut machine, bomb, Protocol::Resp2, &[], 0);
        assert!(reply.starts_with("-ERR"), "{bomb}: {}", &reply[..reply.len().min(100)]);
        assert_eq!(run_with(&mut machine, "return 1", Protocol::Resp2, &[], 0), ":1\r\n", "after {bomb}");
    }
    run_with(&mut machine, "collectgarbage()", Protocol::Resp2, &[], 0);
    assert!(machine.used() < 1 << 20, "{}", machine.used());
    assert_eq!(pool.used(), machine.used());
    drop(machine);
    assert_eq!(pool.used(), 0);
}

/// What one machine leaves behind does not keep others from working: nobody else can collect it.
#[test]
fn garbage_leaves_room_for_other_machines() {
    let pool = Arc::new(Pool::new(9, 64 << 20));
    let machine = |index| Machine::new(&pool, index, 7).expect("there is memory for a machine");
    let mut machines: Vec<_> = (0..8).map(machine).collect();
    let wasteful = "local t = {} for i = 1, 195000 do t[i] = 'abcdefgh' .. i end return #t";
    for round in 0..3 {
        for (index, machine) in machines.iter_mut().enumerate() {
            let reply = run_with(machine, wasteful, Protocol::Resp2, &[], 0);
            assert_eq!(reply, ":195000\r\n", "machine {index} in round {round}");
        }
    }
    assert!(pool.used() < 20 << 20, "{}", pool.used());
}

/// A script that finds no memory for itself gets what the one before left behind.
#[test]
fn garbage_gives_way_to_a_script() {
    let pool = Arc::new(Pool::new(1, 8 << 20));
    let mut machine = Machine::new(&pool, 0, 7).expect("there is memory for a machine");
    let hoard = "local t = {} for i = 1, 20000 do t[i] = 'abcdefgh' .. i end return 1";
    for _ in 0..20 {
        assert_eq!(run_with(&mut machine, hoard, Protocol::Resp2, &[], 0), ":1\r\n");
        // Now it has no room beyond what it uses, garbage included.
        pool.set_limit(machine.used());
        let long = format!("local t = {{{}}} return #t", "'x', ".repeat(2000));
        assert_eq!(run_with(&mut machine, &long, Protocol::Resp2, &[], 0), ":2000\r\n");
        pool.set_limit(8 << 20);
    }
}

/// To make its table of strings smaller, Lua's collector makes a new one: where a full pool refused it that,
/// after a script, nothing caught the error, and the process ended.
#[test]
fn the_collector_is_refused_nothing() {
    let strings = "local t = {} for i = 1, 60000 do t[i] = 'k' .. i end t = nil";
    let bomb = "local t = {} for i = 1, 1e9 do t[i] = {} end";
    let long_bomb = "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 10000) .. i end";
    let check = |scripts: &[&str]| {
        let pool = Arc::new(Pool::new(1, 8 << 20));
        let mut machine = Machine::new(&pool, 0, 7).expect("there is memory for a machine");
        for source in scripts {
            run_with(&mut machine, source, Protocol::Resp2, &[], 0);
        }
        pool.set_limit(100_000);
        run_with(&mut machine, "return 1", Protocol::Resp2, &[], 0);
        pool.set_limit(8 << 20);
        assert_eq!(run_with(&mut machine, "return 1", Protocol::Resp2, &[], 0), ":1\r\n", "{scripts:?}");
    };
    check(&[&format!("{strings} {bomb}")]);
    check(&[&format!("{strings} {long_bomb}")]);
    check(&[strings, bomb]);
    check(&["local t = {} for i = 1, 1e9 do t[i] = 'k' .. i end"]);
}

/// Results that fill the stack leave no place for what comes with them.
#[test]
fn results_that_fill_the_stack() {
    let check = |source: &str| {
        let mut machine = machine_of(32 << 20);
        let setting = "local t = {} for i = 1, 9000 do t[i] = i end ";
        let reply = run_with(&mut machine, &format!("{setting}{source}"), Protocol::Resp2, &[], 0);
        let ends_well = reply == ":1\r\n" || reply == "$-1\r\n" || reply.contains("too many");
        assert!(ends_well, "{source}: {reply}");
        assert_eq!(run_with(&mut machine, "return 1", Protocol::Resp2, &[], 0), ":1\r\n", "{source}");
    };
    for count in [1, 2, 18, 19, 20, 21, 100, 7900, 7990, 7995, 7997, 7998, 7999, 8000] {
        let results = format!("function() return unpack(t, 1, {count}) end");
        check(&format!("local n = select('#', pcall({results})) return n == {count} + 1 or n == 2"));
        check(&format!(
            "local n = select('#', xpcall({results}, function(e) return e end)) return n == {count} + 1 or n == 2"
        ));
        check(&format!("return pcall(struct.unpack, ('b'):rep({count}), ('\\1'):rep({count})) and 1"));
        check(&format!("return pcall(cmsgpack.unpack_one, ('\\1'):rep({count})) and 1"));
        check(&format!("return pcall(cmsgpack.unpack_limit, ('\\1'):rep({count}), {count}) and 1"));
        check(&format!("return pcall(cmsgpack.unpack, ('\\145'):rep({count}) .. '\\1') and 1"));
    }
}

/// A script's keys and arguments go with it, also when it fails.
#[test]
fn words_do_not_outlive_a_script() {
    let mut machine = machine_of(32 << 20);
    let look = machine.compile(b"return {rawget(_G, 'KEYS') or 1, rawget(_G, 'ARGV') or 2}", c"@user_script");
    let function = look.expect("it compiles");
    for source in ["return 1", "error('x')", "local t = {} for i = 1, 1e9 do t[i] = {} end"] {
        run_with(&mut machine, source, Protocol::Resp2, &["k1", "a1"], 1);
        let run = Run {
            function,
            passing: Passing::Arguments,
            name: b"f0",
            keys: 0,
            words: 0,
            word: &|_| &[],
            debugged: None,
        };
        let mut reply = Reply::new(Protocol::Resp2);
        machine.run(&mut Echo::default(), &run, &mut reply).expect("it runs");
        assert_eq!(reply.buf, b"*2\r\n:1\r\n:2\r\n", "{source}");
    }
}

/// What is made outside of Lua counts as the machine's, before it grows.
#[test]
fn texts_in_the_making_count() {
    let pool = Arc::new(Pool::new(1, 16 << 20));
    let mut machine = Machine::new(&pool, 0, 7).expect("there is memory for a machine");
    let s = "local s = string.rep('\\1', 4000000) ";
    for source in [
        "return #cjson.encode(s)",
        "return #cmsgpack.pack(s, s, s)",
        "return #struct.pack('c0c0c0', s, s, s)",
        "return #struct.pack('sss', s, s, s)",
        "return #string.rep(s, 3)",
    ] {
        let reply = run_with(&mut machine, &format!("{s}{source}"), Protocol::Resp2, &[], 0);
        assert!(reply.starts_with("-ERR not enough memory"), "{source}: {reply}");
        machine.collect();
        assert!(pool.used() < 1 << 20, "{source}: {}", pool.used());
    }
    for (source, expected) in [
        ("return #cjson.encode(string.rep('x', 3000000))", ":3000002\r\n"),
        ("return #cmsgpack.pack(s)", ":4000005\r\n"),
        ("return #struct.pack('s', s)", ":4000001\r\n"),
        ("return #string.rep(s, 1) + #string.rep('ab', 7) + #string.rep('abc', 1)", ":4000017\r\n"),
        ("return string.rep('ab', 5)", "$10\r\nababababab\r\n"),
        (
            "return {string.rep('ab', 0), string.rep('ab', -1), string.rep(12, 2)}",
            "*3\r\n$0\r\n\r\n$0\r\n\r\n$4\r\n1212\r\n",
        ),
        ("return #string.rep('', 2147483647) + #string.rep('x', 2^32 + 3)", ":3\r\n"),
    ] {
        assert_eq!(
            run_with(&mut machine, &format!("{s}{source}"), Protocol::Resp2, &[], 0),
            expected,
            "{source}"
        );
    }
}

/// Lua waits for twice what it needs before it looks for garbage, and then takes its time.
#[test]
fn garbage_makes_room_before_the_limit() {
    let scripts = [
        "for i = 1, 50 do local t = {} for j = 1, 30000 do t[j] = {} end end",
        "local s = string.rep('x', 1000000) for i = 1, 100 do local t = s .. i end",
        "for i = 1, 100 do local t = string.rep('x', 1500000) .. i end",
        "local t = {} for i = 1, 40000 do t[i] = {} end for i = 1, 100000 do local t = {i} end",
    ];
    for source in scripts {
        let mut machine = machine_of(8 << 20);
        assert_eq!(run_with(&mut machine, source, Protocol::Resp2, &[], 0), "$-1\r\n", "{source}");
    }
    let mut machine = machine_of(64 << 20);
    let large = "return #string.rep('x', 25000000)";
    assert_eq!(run_with(&mut machine, large, Protocol::Resp2, &[], 0), ":25000000\r\n");
}

#[test]
fn nothing_catches_the_end() {
    let stubborn = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end",
    ];
    check_ends(&stubborn);
}

/// Between commands that take long the script has few instructions: each of them is an occasion to look.
#[test]
fn a_script_of_long_commands_ends() {
    let mut machine = machine_of(0);
    for source in [
        "for i = 1, 1000 do redis.call('slow') end",
        "for i = 1, 1000 do redis.pcall('slow') end",
        "for i = 1, 1000 do pcall(redis.call, 'slow') end",
        "for i = 1, 1000 do pcall(function() pcall(redis.call, 'slow') end) end",
        "local function f() redis.call('slow') end for i = 1, 1000 do xpcall(f, redis.call) end",
        "local function f() redis.call('slow') end for i = 1, 99 do coroutine.resume(coroutine.create(f)) end",
        "local function f() pcall(redis.call, 'slow') end for i = 1, 1000 do pcall(coroutine.wrap(f)) end",
    ] {
        let mut host = Echo { end_after: Cell::new(Some(3)), ..Echo::default() };
        let reply = run_on(&mut machine, &mut host, source, Protocol::Resp2, &[], 0);
        assert!(reply.starts_with("-ERR told to end"), "{source}: {reply}");
        assert_eq!(host.calls, 4, "{source}");
    }
}

/// Each coroutine counts its own instructions: short ones never met the hook.
#[test]
fn coroutines_do_not_put_off_the_end() {
    check_ends(&[
        "for i = 1, 100 do coroutine.wrap(function() for i = 1, 45000 do end end)() end",
        "for i = 1, 100 do coroutine.resume(coroutine.create(function() for i = 1, 45000 do end end)) end",
        "for i = 1, 100 do pcall(coroutine.wrap(function() coroutine.wrap(function() end)() end)) end",
        "local f = coroutine.wrap(function() while true do coroutine.yield() end end) \
         for i = 1, 100 do pcall(f) end",
    ]);
    let cases = [
        ("return coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end)(1)", ":2 "),
        ("local f = coroutine.wrap(function(a) return coroutine.yield(a) * 2 end) f(1) return f(4)", ":8 "),
        (
            "local f = coroutine.wrap(function() error('x') end) return {pcall(f)}",
            "*2 $-1 $16 user_script:1: x ",
        ),
        (
            "local f = coroutine.wrap(function() error('x') end) return {pcall(function() f() end)}",
            "*2 $-1 $31 user_script:1: user_script:1: x ",
        ),
        (
            "local f = coroutine.wrap(function() end) f() return {pcall(f)}",
            "*2 $-1 $28 cannot resume dead coroutine ",
        ),
    ];
    check_each(&cases, Protocol::Resp2);
}

fn check_ends(stubborn: &[&str]) {
    let mut machine = machine_of(0);
    for source in stubborn {
        let mut host = Echo { end_after: Cell::new(Some(3)), ..Echo::default() };
        let reply = run_on(&mut machine, &mut host, source, Protocol::Resp2, &[], 0);
        assert!(reply.starts_with("-ERR told to end"), "{source}: {reply}");
        assert_eq!(run_with(&mut machine, "return 1", Protocol::Resp2, &[], 0), ":1\r\n");
    }
}

/// What each published escape or crash of the engines before us would try: scripts, and what their replies
/// hold here. `CHUNK` is a compiled `return 42`.
const ATTACKS: &[(&str, &[(&str, &str)])] = &[
    (
        "CVE-2014-5461: parameters of a function with `...` beyond the stack",
        &[
            (
                "local names = {} for i = 1, 190 do names[i] = 'p' .. i end \
                 local f = loadstring('return function(f, n, ' .. table.concat(names, ',') .. ', ...) \
                 return (f(f, n + 1)) end')() return {pcall(f, f, 1)}",
                "*2 $-1 $",
            ),
            ("local function f(...) return select('#', ...) end return f(unpack({}, 1, 7000))", ":7000"),
        ],
    ),
    (
        "CVE-2015-4335: compiled code",
        &[
            ("return {string.dump(pcall or 1)}", "unable to dump given function"),
            (
                "local dumped = string.dump(function() return 42 end) \
                 return {dumped:sub(1, 12) == CHUNK:sub(1, 12), loadstring(dumped) == nil, \
                 loadstring(CHUNK) == nil}",
                "*3 :1 :1 :1 ",
            ),
            ("return select(2, loadstring(CHUNK, '=c'))", "c:1: unexpected symbol near 'char(27)'"),
            (
                "local n = 0 return select(2, load(function() n = n + 1 return CHUNK:sub(n, n) end, '=c'))",
                "c:1: unexp",
            ),
            (
                "return select(2, load(function() local c = CHUNK CHUNK = nil return c end, '=c'))",
                "c:1: unexp",
            ),
            ("\x1bLuaQ\0\x01\x04\x08\x04\x08\0", "unexpected symbol near 'char(27)'"),
        ],
    ),
    (
        "CVE-2018-11218: what cmsgpack unpacks fills the stack",
        &[
            ("return cmsgpack.unpack(('\\145'):rep(1000000))", "-ERR"),
            ("return cmsgpack.unpack(('\\129\\1'):rep(1000000))", "-ERR"),
            ("return cmsgpack.unpack('\\221\\255\\255\\255\\255')", "-ERR"),
            ("return cmsgpack.unpack('\\223\\255\\255\\255\\255')", "-ERR"),
            ("return cmsgpack.unpack('\\219\\255\\255\\255\\255x')", "-ERR"),
            ("return {pcall(cmsgpack.unpack, ('\\1'):rep(1000000))}", "*2 $-1 "),
            ("local t = {} t[1] = t return #cmsgpack.pack(t)", ":17 "),
        ],
    ),
    (
        "CVE-2018-11219, CVE-2020-14147: sizes in formats of struct that an int does not hold",
        &[
            ("return struct.unpack('c2147483648', 'x')", "-ERR"),
            ("return struct.unpack('c4294967296', 'x')", "-ERR"),
            ("return struct.unpack('c99999999999999999999', 'x')", "-ERR"),
            ("return struct.unpack('i33', 'x')", "-ERR"),
            ("return struct.pack('>I2147483648', 1)", "-ERR"),
            ("return struct.pack('>I4294967297', 1)", "-ERR"),
            ("return struct.pack('!2147483648i', 1)", "-ERR"),
            ("return struct.size('c2147483647c2147483647c2147483647')", ":6442450941 "),
            ("return struct.unpack('c0', 'x')", "-ERR"),
            ("return struct.unpack('bc0', '\\255x')", "-ERR"),
            ("return struct.unpack('i', 'xxxx', 2147483647)", "-ERR"),
            ("return struct.unpack('i', 'xxxx', -1)", "-ERR"),
        ],
    ),
    (
        "CVE-2021-32626: functions of C that push without asking for room",
        &[
            ("return {unpack({}, 1, 1000000)}", "too many results to unpack"),
            ("return {pcall(struct.unpack, ('b'):rep(20000), ('\\1'):rep(20000))}", "too many results"),
            ("return {pcall(cmsgpack.unpack, ('\\1'):rep(20000))}", "too many"),
            ("return cjson.decode(('['):rep(100000))", "Found too many nested data structures"),
            ("return cjson.decode(('{\"a\":'):rep(100000))", "Found too many nested data structures"),
            ("local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)", "excessive"),
            ("local t = {} for i = 1, 100000 do t = {t} end return t", "reached lua stack limit"),
            ("return redis.call('raw', ('*1\\r\\n'):rep(20000) .. ':1\\r\\n')", "reached lua stack limit"),
            ("local t = {} for i = 1, 7000 do t[i] = 'x' end return #redis.call('echo', unpack(t))", ":1 "),
            ("local t = {} for i = 1, 7000 do t[i] = i end return #cmsgpack.pack(unpack(t)) > 7000", ":1 "),
            ("return string.char(unpack({}, 1, 7999)) .. 'x'", "-ERR"),
        ],
    ),
    (
        "CVE-2022-0543: libraries of the system's Lua",
        &[
            (
                "return {rawget(_G, 'package') == nil, rawget(_G, 'io') == nil, os.execute == nil}",
                "*3 :1 :1 :1 ",
            ),
            (
                "return package.loadlib('liblua5.1.so.0', 'luaopen_io')",
                "nonexistent global variable 'package'",
            ),
        ],
    ),
    (
        "CVE-2022-24735: what one script plants, another one runs",
        &[
            ("getmetatable(_G).__newindex = nil", "readonly table"),
            ("setmetatable(_G, {__index = function() return 'planted' end})", "readonly table"),
            ("rawset(_G, 'planted', 1)", "readonly table"),
            ("redis.call = function() return 'planted' end", "readonly table"),
            ("rawset(redis, 'call', pcall)", "readonly table"),
            ("table.insert(redis, 'planted')", "readonly table"),
            ("string.rep = function() return 'planted' end", "readonly table"),
            ("cjson.encode = function() return 'planted' end", "readonly table"),
            ("for k, v in pairs(getmetatable(_G)) do getmetatable(_G)[k] = 1 end return 'none'", "none"),
            ("KEYS.planted = 1 ARGV.planted = 1 return 'own'", "own"),
            (
                "return {rawget(_G, 'planted') or 0, KEYS.planted or 0, redis.planted or 0, ('x'):rep(2)}",
                "*4 :0 :0 :0 $2 xx ",
            ),
        ],
    ),
    (
        "CVE-2022-24736: a text that ends the function it is put into, and fails without a message",
        &[
            ("return 1 end error({}) function f()", "'<eof>' expected near 'end'"),
            ("end error() --", "'<eof>' expected near 'end'"),
            ("error({})", "-ERR unknown error"),
            ("error()", "-ERR nil"),
            ("error(function() end)", "-ERR function"),
            ("return loadstring('error({})', '')()", "-ERR unknown error"),
            ("return loadstring('x y', '')()", "-ERR"),
            ("return select(2, loadstring('x y', ('n'):rep(100000)))", "'=' expected near 'y'"),
        ],
    ),
    (
        "CVE-2022-24834: lengths of what cjson and cmsgpack write, which an int does not hold",
        &[
            ("return cjson.encode(('\\1'):rep(8000000))", "not enough memory"),
            (
                "local s = ('\\1'):rep(1000000) return cjson.encode({s, s, s, s, s, s, s, s})",
                "not enough memory",
            ),
            ("return #cjson.encode(('\\1'):rep(1000000))", ":6000002 "),
            ("local s = ('x'):rep(8000000) return #cmsgpack.pack(s, s, s, s)", "not enough memory"),
            ("return #cmsgpack.pack(('x'):rep(70000))", ":70005 "),
        ],
    ),
    (
        "CVE-2024-31449: the count of bit.tohex",
        &[
            ("return bit.tohex(65535, -2147483648)", "$8 0000FFFF "),
            ("return bit.tohex(65535, 2147483647)", "$8 0000ffff "),
            ("return bit.tohex(-1, -2^31 - 1)", "$8 "),
            ("return bit.tohex(1, 0)", "$0  "),
        ],
    ),
    (
        "CVE-2024-46981: finalizers run while a state ends",
        &[
            ("return rawget(_G, 'newproxy')", "$-1 "),
            ("setmetatable({}, {__gc = function() error('x') end}) collectgarbage() return 1", ":1 "),
            ("local json = cjson.new() setmetatable(json, {__gc = print}) return 1", "-ERR"),
            ("collectgarbage('stop') for i = 1, 10 do collectgarbage('step', i) end return 1", ":1 "),
            ("collectgarbage('setpause', 0) collectgarbage('setstepmul', 0) return 1", ":1 "),
        ],
    ),
    (
        "CVE-2025-46817: ranges that an int does not hold",
        &[
            ("return {unpack({1, 2, 3}, -2, 2147483647)}", "too many results"),
            ("return unpack({1, 2, 3}, 0, 2147483647)", "too many results"),
            ("return unpack({1, 2, 3}, -2147483648, 2147483647)", "too many results"),
            ("return unpack({1, 2, 3}, -2^31 - 1, -2^31)", "$-1 "),
            ("return {unpack({1, 2, 3}, 2147483647, 2147483647)}", "*0 "),
            ("return {unpack({1, 2, 3}, 2147483646, -2147483648)}", "*0 "),
            (
                "local t = {1, 2} return {t[-2147483648] or 0, t[-2147483649] or 0, t[2^31] or 0, t[2^53] or 0}",
                "*4 :0 :0 :0 :0 ",
            ),
            (
                "return {('x'):sub(-2147483648, 2147483647), ('x'):byte(-2147483648, -2147483648) or 0}",
                "*2 $1 x :0 ",
            ),
        ],
    ),
    (
        "CVE-2025-46818: metatables of basic types",
        &[
            ("getmetatable('').__index = function() return 'planted' end", "readonly table"),
            ("getmetatable('').__add = function() end", "readonly table"),
            ("rawset(getmetatable(''), '__call', pcall)", "readonly table"),
            ("setmetatable(getmetatable(''), {})", "readonly table"),
            ("getmetatable('').__index.upper = 1", "(a nil value)"),
            ("return setmetatable('', {})", "bad argument #1 to 'setmetatable'"),
            (
                "local ok = true for _, v in ipairs({1, true, print or 1}) do ok = ok and getmetatable(v) == nil end return ok",
                "-ERR",
            ),
            (
                "return {getmetatable(1) == nil, getmetatable(true) == nil, getmetatable(pcall) == nil}",
                "*3 :1 :1 :1 ",
            ),
        ],
    ),
    (
        "CVE-2025-46819: brackets of long strings and comments",
        &[
            ("return loadstring('return [' .. ('='):rep(100000))()", "-ERR"),
            (
                "return select(2, loadstring('return [' .. ('='):rep(1000000), '=c'))",
                "invalid long string delimiter",
            ),
            (
                "return select(2, loadstring('return [' .. ('='):rep(1000000) .. '[', '=c'))",
                "unfinished long string",
            ),
            (
                "return select(2, loadstring('--[' .. ('='):rep(1000000) .. '[', '=c'))",
                "unfinished long comment",
            ),
            (
                "local e = ('='):rep(1000000) return loadstring('return [' .. e .. '[x]' .. e .. ']')()",
                "$1 x ",
            ),
            ("return select(2, loadstring('', '['))", "$-1 "),
        ],
    ),
    (
        "CVE-2025-49844: the collector takes the name of a text that is being compiled",
        &[
            (
                "for i = 1, 50 do local s = ('local x%d = {'):format(i) .. ('{},'):rep(2000) .. '}' \
                 loadstring(s, 'n' .. i .. ('x'):rep(1000)) collectgarbage() end return 1",
                ":1 ",
            ),
            (
                "for i = 1, 300 do local t = {} for j = 1, 200 do t[j] = 's' .. i .. '_' .. j .. ' = 0' end \
                 local n, text = 0, table.concat(t, ' ') collectgarbage('step', i) \
                 local f, e = load(function() n = n + 1 if n == 1 then return 'local ' .. text:sub(1, 1) .. ' ' end \
                 if n == 2 then return text .. ' x y' end end, 'name' .. i) \
                 if f or not e:find('name' .. i, 1, true) then return e end end return 1",
                ":1 ",
            ),
            (
                "for i = 1, 300 do collectgarbage('step', 0) \
                 local f, e = loadstring(('local a = \"' .. i .. '\" '):rep(199) .. ' x y', '=' .. ('n'):rep(i % 50) .. i) \
                 if not e:find('n?' .. i .. ':1:') then return e end end return 1",
                ":1 ",
            ),
        ],
    ),
    (
        "CVE-2025-67733: an error's text goes on in the stream of replies",
        &[
            ("return redis.error_reply('X a\\0b\\r\\n+planted\\r\\n')", "-X a "),
            ("return {err = 'X a\\r\\n+planted\\r\\n'}", "-X a  +planted "),
            ("return {err = 'X a\\0\\r\\n+planted\\r\\n'}", "-X a "),
            ("return {ok = 'a\\r\\n+planted\\r\\n'}", "+a  +planted   "),
            ("return {ok = 'a\\0\\r\\n+planted\\r\\n'}", "+a"),
            ("return redis.status_reply('a\\r\\n:1')", "+a  :1 "),
            ("error('a\\0\\r\\n+planted\\r\\n')", "-"),
            ("error({err = 'X a\\0b\\r\\n+planted\\r\\n'})", "-"),
            ("return {{err = 'X\\n+planted'}, {double = 1}}", "*2 -X +planted"),
            ("return {big_number = '1\\r\\n+planted'}", "$11 1  +planted "),
            ("return {verbatim_string = {format = 'a\\r\\n', string = 'x\\r\\n'}}", "$3 x  "),
        ],
    ),
    (
        "Patterns that go deep, and try for long",
        &[
            ("return string.find(('a'):rep(100000), ('a?'):rep(100000))", "pattern too complex"),
            ("return string.find(('a'):rep(300000), ('.-'):rep(200000) .. 'b')", "pattern too complex"),
            ("return string.find('a', ('('):rep(100))", "too many captures"),
            ("return string.gsub('abc', '%f', 'x')", "missing '[' after '%f' in pattern"),
        ],
    ),
    (
        "CVE-2021-43519: coroutines within coroutines",
        &[
            ("local function f() return coroutine.wrap(f)() end return f()", "C stack overflow"),
            (
                "local function f(n) return coroutine.resume(coroutine.create(f), n + 1) end return f(1)",
                ":1 ",
            ),
            ("local f f = function() return select(2, pcall(f)) end return f()", "stack overflow"),
            (
                "local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k + 1] end return t[1]",
                "overflow",
            ),
            ("return (('x'):gsub('x', function() return (('x'):rep(250):gsub('x', '%0')) end))", "xxx"),
            (
                "local s = ('('):rep(300) .. '1' .. (')'):rep(300) return select(2, loadstring('return ' .. s))",
                "chunk has too many syntax levels",
            ),
        ],
    ),
];

/// Each published escape or crash of the engines before us ends as here, and leaves the machine whole.
#[test]
fn published_attacks_come_to_nothing() {
    let chunk = "local CHUNK = '\\27LuaQ\\0\\1\\4\\8\\4\\8\\0' .. struct.pack('<i8iiBBBBiIIIiBdiiii', \
                 0, 0, 0, 0, 0, 2, 2, 3, 1, 16777246, 8388638, 1, 3, 42, 0, 0, 0, 0) ";
    let mut wrong = Vec::new();
    for (attack, cases) in ATTACKS {
        let mut machine = machine_of(32 << 20);
        for (source, expected) in *cases {
            let source =
                if source.contains("CHUNK") { format!("{chunk}{source}") } else { (*source).to_owned() };
            let reply = run_with(&mut machine, &source, Protocol::Resp2, &["k1", "a1"], 1);
            let shown = reply.replace("\r\n", " ");
            let is_line = reply.starts_with(['+', '-', ':']);
            let end = if reply.ends_with("\r\n") { reply.len() - 2 } else { reply.len() };
            if !shown.contains(expected) || is_line && reply[..end].contains(['\r', '\n']) {
                wrong.push(format!("{attack}: {source}: {shown}"));
            }
            let sane = "return {('x'):rep(3), redis.call('echo', KEYS[1]), cjson.encode({1}), #ARGV}";
            let sane = run_with(&mut machine, sane, Protocol::Resp2, &["k1", "a1"], 1);
            assert_eq!(sane.replace("\r\n", " "), "*4 $3 xxx $2 k1 $3 [1] :1 ", "{attack}: after {source}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lua's lexer counts the brackets of a long string in an int (CVE-2025-46819).
#[test]
fn a_text_is_not_so_long_that_ints_overflow() {
    let mut machine = machine_of(0);
    // Nobody reads it, so it takes no memory.
    let text = vec![0; (1 << 30) + 1];
    assert_eq!(machine.compile(&text, c"@user_script"), Err(b"chunk is too long".to_vec()));
    assert_eq!(run_with(&mut machine, "return 1", Protocol::Resp2, &[], 0), ":1\r\n");
}

/// A text has no line of its own where RESP3 would take it for another reply (CVE-2025-67733).
#[test]
fn nothing_is_planted_among_replies() {
    let cases = [
        ("return {big_number = '1\\r\\n+planted'}", "(1  +planted\r\n"),
        ("return {big_number = '1\\0\\r\\n+planted'}", "(1\0  +planted\r\n"),
        ("return {verbatim_string = {format = 'a\\r\\n', string = 'x'}}", "=5\r\na\r\n:x\r\n"),
        ("return {err = 'X a\\r\\n+planted'}", "-X a  +planted\r\n"),
        ("return {ok = 'a\\r\\n+planted'}", "+a  +planted\r\n"),
        ("return {map = {['k\\r\\n'] = 'v'}}", "%1\r\n$3\r\nk\r\n\r\n$1\r\nv\r\n"),
    ];
    let mut machine = machine_of(32 << 20);
    for (source, expected) in cases {
        let source = format!("redis.setresp(3) {source}");
        assert_eq!(run_with(&mut machine, &source, Protocol::Resp3, &[], 0), expected, "{source}");
    }
}

#[test]
fn a_deep_reply_is_cut() {
    let mut machine = machine_of(32 << 20);
    let deep = "local t = {} for i = 1, 20000 do t = {t} end return t";
    let reply = run_with(&mut machine, deep, Protocol::Resp2, &[], 0);
    assert!(reply.ends_with("-ERR reached lua stack limit\r\n"), "{}", reply.len());
}

#[test]
fn json_is_that_of_cjson() {
    let cases = [
        ("return cjson.encode({1, 2.5, 'x', true, false, cjson.null})", "$27 [1,2.5,\"x\",true,false,null] "),
        ("return cjson.encode({})", "$2 {} "),
        ("return cjson.encode({a={b={1}}})", "$15 {\"a\":{\"b\":[1]}} "),
        ("return cjson.encode({[1]=1,[3]=3})", "$10 [1,null,3] "),
        ("return cjson.encode('a/\\\"\\n\\1')", "$15 \"a\\/\\\"\\n\\u0001\" "),
        (
            "return cjson.decode('[1,[],{\"a\":[1e2,\"\\\\u00e9\\\\ud83d\\\\ude00\"]}]')[3].a",
            "*2 :100 $6 \u{e9}\u{1f600} ",
        ),
        ("return cjson.decode(' {\"k\" : null } ').k == cjson.null", ":1 "),
        (
            "return cjson.encode({[1]=1,[100]=1})",
            "-ERR user_script:1: Cannot serialise table: excessively sparse array script: f0, on @user_script:1.",
        ),
        (
            "return cjson.decode('[1,')",
            "-ERR user_script:1: Expected value but found T_END at character 4 script: f0, on @user_script:1.",
        ),
        (
            "return cjson.decode('{1}')",
            "-ERR user_script:1: Expected object key string but found T_NUMBER at character 2 script: f0, on \
             @user_script:1.",
        ),
        (
            "return cjson.encode({f = function() end})",
            "-ERR user_script:1: Cannot serialise function: type not supported script: f0, on @user_script:1.",
        ),
        ("return cjson.decode_max_depth(2)", ":2 "),
        (
            "cjson.decode_max_depth(2) return cjson.decode('[[[1]]]')",
            "-ERR user_script:1: Found too many nested data structures (3) at character 3 script: f0, on \
             @user_script:1.",
        ),
    ];
    check_each(&cases, Protocol::Resp2);
}

#[test]
fn odd_arguments_are_taken_as_redis_takes_them() {
    let hex =
        "local function hex(s) return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) end)) end ";
    let cases = [
        ("return cjson.decode('[0x1p3]')[1]", ":8 "),
        ("return cjson.decode('[1]\\0')[1]", ":1 "),
        ("return cmsgpack.unpack('\\207\\255\\255\\255\\255\\255\\255\\255\\255')", ":-1 "),
        ("return hex(struct.pack('iI', 1e300, 1/0))", "$16 0000000000000000 "),
        ("return hex(struct.pack('lL', 2^63, 2^64))", "$32 00000000000000800000000000000000 "),
        ("return hex(struct.pack('ll', -1e300, 2^63 + 2048))", "$32 00000000000000800008000000000080 "),
        ("return hex(struct.pack('LL', -1, 2^64 - 2048))", "$32 ffffffffffffffff00f8ffffffffffff "),
        ("return {bit.tobit(2^53 + 1), bit.tobit(2^52 + 3), bit.tobit(2^51 + 3)}", "*3 :0 :2 :2 "),
        ("return {bit.tobit(-2^52 - 5), bit.tobit(1e300), bit.tobit(-1)}", "*3 :-20 :-2013235812 :-1 "),
        ("return struct.size('ajb')", ":1 "),
        ("return {pcall()}", "*2 $-1 $31 attempt to call a boolean value "),
        ("redis.setresp(2.5) return 1", ":1 "),
        ("table.sort(redis) return table.remove(redis) == nil", ":1 "),
        ("return cjson.new().encode({1, 2})", "$5 [1,2] "),
        ("local json = cjson.new() json.encode = 1 return cjson.encode({1})", "$3 [1] "),
        (
            "local json = cjson.new() json.encode_number_precision(3) collectgarbage() \
             return {json.encode(1/3), cjson.encode(1/3), json.new().encode(1/3)}",
            "*3 $5 0.333 $16 0.33333333333333 $16 0.33333333333333 ",
        ),
        (
            "cjson.decode_max_depth(2) local json = cjson.new() \
             return {json.decode_max_depth(), json.decode('[[[1]]]')[1][1][1], \
             pcall(cjson.decode, '[[[1]]]') == false}",
            "*3 :1000 :1 :1 ",
        ),
        ("local json = cjson.new() json.encode_invalid_numbers('null') return json.encode(0/0)", "$4 null "),
        ("return {cmsgpack._COPYRIGHT ~= nil, cmsgpack._DESCRIPTION ~= nil}", "*2 :1 :1 "),
        ("return {redis.acl_check_cmd('get', 'k'), redis.acl_check_cmd('GET')}", "*2 :1 :1 "),
    ];
    let mut machine = machine_of(0);
    for (source, expected) in cases {
        let reply = run_with(&mut machine, &format!("{hex}{source}"), Protocol::Resp2, &[], 0);
        assert_eq!(reply.replace("\r\n", " "), expected, "{source}");
    }
    let texts = [
        ("error(true)", "ERR true script: f0, on @user_script:1."),
        ("return cmsgpack.unpack('\\196\\1x')", "Bad data format in input."),
        ("return struct.pack('!3i', 1)", "alignment 3 is not a power of 2"),
        ("return struct.pack('i33', 1)", "integral size 33 is larger than limit of 32"),
        ("return struct.pack('i')", "bad argument #2 to 'pack' (number expected, got nil)"),
        ("return redis.acl_check_cmd('nosuch')", "ERR Invalid command passed to redis.acl_check_cmd()"),
        ("return redis.acl_check_cmd()", "ERR Please specify at least one argument for this redis lib call"),
        ("return struct.pack('a', 1)", "bad argument #1 to 'pack' (invalid format option 'a')"),
        (
            "return cmsgpack.unpack_one('x', -1)",
            "Invalid request to unpack with offset of -1 and limit of 1.",
        ),
        ("return cmsgpack.unpack_one('x', 100)", "Start offset 100 greater than input length 1."),
        (
            "return cmsgpack.unpack_limit('x', -1)",
            "Invalid request to unpack with offset of 0 and limit of 1.",
        ),
        (
            "return cjson.encode_number_precision(20)",
            "bad argument #1 to 'encode_number_precision' (expected integer between 1 and 14)",
        ),
        ("return cjson.encode_max_depth(0)", "(expected integer between 1 and 2147483647)"),
        ("return cjson.encode_sparse_array('x')", "#1 to 'encode_sparse_array' (invalid option 'x')"),
        ("return cjson.encode_invalid_numbers('x')", "(invalid option 'x')"),
        ("return cjson.decode_max_depth(1, 2)", "#2 to 'decode_max_depth' (found too many arguments)"),
        ("return cjson.encode_sparse_array(true, 1, 2, 3)", "#4 to 'encode_sparse_array' (found too many"),
        ("return collectgarbage('x')", "bad argument #1 to 'collectgarbage' (invalid option 'x')"),
    ];
    for (source, expected) in texts {
        let reply = run_with(&mut machine, source, Protocol::Resp2, &[], 0);
        assert!(reply.starts_with("-ERR ") && reply.contains(expected), "{source}: {reply}");
    }
}

/// Lua is built with functions of ours for both.
#[test]
fn texts_are_told_apart_and_numbers_written() {
    let cases = [
        // Equal however they were made, at every length about where the hash changes.
        (
            "local t, n = {}, 0 for len = 0, 100 do t[('x'):rep(len)] = len end \
             for len = 0, 100 do local s = '' for i = 1, len do s = s .. 'x' end n = n + (t[s] == len and 1 or 0) end \
             return n",
            ":101 ",
        ),
        // Different wherever they differ.
        (
            "local t, n, s = {}, 0, ('abcdefgh'):rep(20) \
             for i = 1, #s do t[s:sub(1, i - 1) .. '!' .. s:sub(i + 1)] = i end \
             for k, v in pairs(t) do n = n + 1 if k:find('!') ~= v then return -1 end end return n",
            ":160 ",
        ),
        // Garbage that is asked for again before it is collected.
        (
            "local n = 0 for i = 1, 200000 do local s = ('y'):rep(40) .. i % 100 n = n + #s end return n",
            ":8380000 ",
        ),
        (
            "local z = 0 \
             return {tostring(z), '' .. z * -1, tostring(-1), '' .. 10, '' .. -99999999999999, '' .. 1e13}",
            "*6 $1 0 $2 -0 $2 -1 $2 10 $15 -99999999999999 $14 10000000000000 ",
        ),
        (
            "return {'' .. 1e14, '' .. -1e14, '' .. 0.5, '' .. 1e300, '' .. 2^53, tostring(1/0), tostring(-1/0)}",
            "*7 $5 1e+14 $6 -1e+14 $3 0.5 $6 1e+300 $18 9.007199254741e+15 $3 inf $4 -inf ",
        ),
    ];
    check_each(&cases, Protocol::Resp2);
}

#[test]
fn other_libraries_are_those_of_redis() {
    let hex =
        "local function hex(s) return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) end)) end ";
    let cases = [
        ("return hex(cmsgpack.pack({1, 2, 3}))", "$8 93010203 "),
        ("return hex(cmsgpack.pack({a = 1.5}))", "$16 81a161ca3fc00000 "),
        ("return hex(cmsgpack.pack(-33, 255, 65536, 0.1))", "$36 d0dfccffce00010000cb3fb999999999999a "),
        ("return hex(cmsgpack.pack(true, false, nil, 'x'))", "$10 c3c2c0a178 "),
        ("return {cmsgpack.unpack('\\147\\1\\2\\3\\161x')}", "*2 *3 :1 :2 :3 $1 x "),
        ("return {cmsgpack.unpack_one('\\1\\2')}", "*2 :1 :1 "),
        ("return {cmsgpack.unpack_one('\\1\\2', 1)}", "*2 :-1 :2 "),
        ("return {cmsgpack.unpack_limit('\\1\\2\\3', 2)}", "*3 :2 :1 :2 "),
        ("return cmsgpack.unpack('\\208\\128')", ":-128 "),
        ("return cmsgpack.unpack(cmsgpack.pack({a={b={1,2}}})).a.b", "*2 :1 :2 "),
        ("return hex(struct.pack('>HBs', 258, 3, 'ab'))", "$12 010203616200 "),
        ("return hex(struct.pack('<i8', -2))", "$16 feffffffffffffff "),
        ("return {struct.unpack('>HBs', '\\1\\2\\3ab\\0')}", "*4 :258 :3 $2 ab :7 "),
        ("return {struct.unpack('>bc0', '\\2abc')}", "*2 $2 ab :4 "),
        ("return struct.size('!8bd')", ":16 "),
        ("return struct.unpack('d', struct.pack('d', 2.5)) * 2", ":5 "),
        ("return {bit.band(7, 3), bit.bor(4, 1), bit.bxor(5, 1), bit.bnot(0)}", "*4 :3 :5 :4 :-1 "),
        ("return {bit.lshift(1, 31), bit.rshift(-1, 28), bit.arshift(-8, 1)}", "*3 :-2147483648 :15 :-4 "),
        (
            "return {bit.tohex(255), bit.tohex(255, -4), bit.bswap(1), bit.tobit(2^32 + 3)}",
            "*4 $8 000000ff $4 00FF :16777216 :3 ",
        ),
        // As Redis 7.0.15 answers.
        (
            "math.randomseed(5) return {math.random(1, 1e6), math.random(10), math.random(-5, 1e6)}",
            "*3 :524840 :3 :788599 ",
        ),
        ("math.randomseed(-1) return tostring(math.random())", "$16 0.30002572727391 "),
        ("return struct.unpack('>', 'abc', 4)", ":4 "),
        (
            "return select(2, pcall(struct.unpack, 'z', 'abc', 5))",
            "$46 bad argument #2 to '?' (data string too short) ",
        ),
        (
            "return select(2, pcall(struct.unpack, '>', 'abc', 5))",
            "$46 bad argument #2 to '?' (data string too short) ",
        ),
    ];
    let mut machine = machine_of(0);
    for (source, expected) in cases {
        let reply = run_with(&mut machine, &format!("{hex}{source}"), Protocol::Resp2, &[], 0);
        assert_eq!(reply.replace("\r\n", " "), expected, "{source}");
    }
}

/// Debugs a script with one key and one argument: what the client was shown for each line it sent, and the
/// reply.
fn check_debugged(source: &str, lines: &[(&'static str, &[&str])], reply: &str) {
    let pool = Arc::new(Pool::new(1, 64 << 20));
    let mut machine = Machine::new(&pool, 0, 1).expect("there is memory");
    let function = machine.compile(source.as_bytes(), c"@user_script").expect("it compiles");
    let to_hear = lines.iter().map(|(line, _)| *line).filter(|line| !line.is_empty()).collect();
    let end_after = Cell::new(source.starts_with("while").then_some(3));
    let mut host = Echo { to_hear, end_after, ..Echo::default() };
    let run = Run {
        function,
        passing: Passing::Globals,
        name: b"f0",
        keys: 1,
        words: 2,
        word: &|index| [&b"key"[..], b"argument"][index],
        debugged: Some(source.as_bytes()),
    };
    let mut own = Reply::new(Protocol::Resp2);
    let result = machine.run(&mut host, &run, &mut own);
    let text = result.map_or_else(|failure| failure.text, |()| own.buf);
    let wanted: Vec<String> = lines.iter().filter(|(_, shown)| !shown.is_empty()).map(shown_lines).collect();
    assert_eq!(host.shown, wanted, "{source}");
    assert_eq!(String::from_utf8_lossy(&text).trim_end(), reply, "{source}");
}

fn shown_lines((_, shown): &(&str, &[&str])) -> String {
    let lines: String = shown.iter().map(|line| format!("+{line}|")).collect();
    format!("*{}|{lines}", shown.len())
}

const FIRST: (&str, &[&str]) =
    ("", &["* Stopped at 1, stop reason = step over", "-> 1   local a = {1, 'x'}"]);
const END: (&str, &[&str]) = ("", &["<endsession>"]);
const SOURCE: &str = "local a = {1, 'x'}\nlocal b = redis.call('echo', KEYS[1])\nlocal function f(n)\n  return n + \
                      1\nend\nlocal c = f(#a)\nreturn c\n";

#[test]
fn a_script_is_debugged() {
    let second: (&str, &[&str]) = (
        "next",
        &["* Stopped at 2, stop reason = step over", "-> 2   local b = redis.call('echo', KEYS[1])"],
    );
    let third: &[&str] =
        &["<redis> echo key", "<reply> \"key\"", "* Stopped at 5, stop reason = step over", "-> 5   end"];
    check_debugged(SOURCE, &[FIRST, ("c", &[]), END], ":3");
    check_debugged(SOURCE, &[FIRST, second, ("S", third), ("continue", &[]), END], ":3");
    check_debugged(
        SOURCE,
        &[
            FIRST,
            ("b 4", &["   3   local function f(n)", "  #4     return n + 1", "   5   end"]),
            ("b", &["1 breakpoints set:", "  #4     return n + 1"]),
            (
                "b x 99 -7",
                &["Invalid argument:'x'", "Wrong line number.", "No breakpoint in the specified line."],
            ),
            ("c", &["* Stopped at 4, stop reason = break point", "->#4     return n + 1"]),
            ("t", &["In f:", "->#4     return n + 1", "From top level:", "   6   local c = f(#a)"]),
            ("p", &["<value> n = 2"]),
            ("p a", &["<value> {1; \"x\"}"]),
            ("p b", &["<value> \"key\""]),
            ("p ARGV", &["<value> {\"argument\"}"]),
            ("p none", &["No such variable."]),
            ("b 0", &["All breakpoints removed."]),
            ("c", &[]),
            END,
        ],
        ":3",
    );
}

#[test]
fn a_debugger_runs_code_and_commands() {
    check_debugged(
        SOURCE,
        &[
            FIRST,
            ("e {1, {x=true}, KEYS[1]}", &["<retval> {1; {[\"x\"]=true}; \"key\"}"]),
            ("e local x = 1 + 2; return x", &["<retval> 3"]),
            ("e local t = {} t.t = t return t", &[&nested(9)]),
            ("e error('no')", &["<error> ldb_eval:1: no"]),
            ("e redis.call('fail')", &["<error> ERR unknown"]),
            ("e x y", &["<error> ldb_eval:1: '=' expected near 'y'"]),
            ("r echo x", &["<redis> echo x", "<reply> \"x\""]),
            ("r fail", &["<redis> fail", "<error> ERR unknown"]),
            ("r", &["<error> Unknown Redis Lua debugger command or wrong number of arguments."]),
            ("why", &["<error> Unknown Redis Lua debugger command or wrong number of arguments."]),
            ("m 10", &["<value> replies are truncated at 60 bytes."]),
            ("e string.rep('x', 100)", &[&format!("<retval> \"{} ...", "x".repeat(50))]),
            ("a", &[]),
            END,
        ],
        "ERR script aborted for user request script: f0, on @user_script:1.",
    );
}

#[test]
fn what_is_too_much_for_a_debugger_is_cut() {
    const ALL: usize = 4 << 20;
    let begin = "<debug> line 1: \"";
    let cut = format!("{begin}{}", "x".repeat(ALL - begin.len()));
    check_debugged(
        "redis.debug(string.rep('x', 5000000))\nredis.debug('more')\n",
        &[
            (
                "",
                &["* Stopped at 1, stop reason = step over", "-> 1   redis.debug(string.rep('x', 5000000))"],
            ),
            ("c", &[]),
            ("", &[&cut, "<endsession>"]),
        ],
        "$-1",
    );
}

fn nested(depth: usize) -> String {
    let (open, close) = ("{[\"t\"]=".repeat(depth), "}".repeat(depth));
    format!("<retval> {open}{{[\"t\"]=<max recursion level reached! Nested table?>}}{close}")
}

#[test]
fn a_script_speaks_to_its_debugger() {
    let source = "redis.debug('a', {1})\nlocal x = redis.breakpoint()\nreturn tostring(x)";
    check_debugged(
        source,
        &[
            ("", &["* Stopped at 1, stop reason = step over", "-> 1   redis.debug('a', {1})"]),
            (
                "c",
                &[
                    "<debug> line 1: \"a\", {1}",
                    "* Stopped at 3, stop reason = redis.breakpoint() called",
                    "-> 3   return tostring(x)",
                ],
            ),
            ("l 1 0", &["   1   redis.debug('a', {1})"]),
            ("c", &[]),
            END,
        ],
        "$4\r\ntrue",
    );
}

/// CVE-2021-32672: what a debugger's client sends is believed too much.
#[test]
fn what_a_debugger_hears_is_no_request() {
    for sent in [
        "*2147483648\r\n",
        "*4294967297\r\n$1\r\nc\r\n",
        "*1\r\n$-2\r\nc\r\n",
        "*1\r\n$9999999999\r\nc\r\n",
        "*1\r\n$4294967297\r\nc\r\n",
        "*1\r\nc\r\n",
        "*x\r\n",
    ] {
        let refused = "ERR protocol error script: f0, on @user_script:1.";
        check_debugged(SOURCE, &[FIRST, (sent, &[]), END], refused);
    }
}

#[test]
fn a_script_goes_on_when_its_debugger_leaves() {
    check_debugged(SOURCE, &[FIRST, END], ":3");
    check_debugged(
        "while true do end",
        &[
            ("", &["* Stopped at 1, stop reason = step over", "-> 1   while true do end"]),
            ("e while true do end", &["<error> ERR told to end"]),
            END,
        ],
        "ERR told to end script: f0, on @user_script:1.",
    );
}
