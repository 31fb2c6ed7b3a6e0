//! Checks over every row, and CONFIG GET and SET.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::config_file::parse;

const ANYBODY: Setter = Setter { local: false, loading: false };

#[test]
fn the_table_is_sound() {
    let mut names = BTreeSet::new();
    for name in DIRECTIVES.iter().flat_map(Directive::names) {
        assert!(names.insert(name), "{name} stands there twice");
        assert_eq!(name, name.to_ascii_lowercase());
    }
    for row in DIRECTIVES {
        assert!(row.doc.len() > 20 && row.doc.ends_with('.'), "{} is not documented", row.name);
        assert!(row.unserved(&Config::default()).is_none() && row.warning(&Config::default()).is_none());
        if let Status::Harmless(text) | Status::Later(text) = row.status {
            assert!(!text.is_empty() && !text.ends_with('.'), "{}", row.name);
        }
    }
    let mut sections: Vec<_> = DIRECTIVES.iter().map(|row| row.section).collect();
    sections.dedup();
    assert_eq!(sections, Section::ALL, "the rows are grouped in the order of the sections");
}

#[test]
fn defaults_return_from_a_file() {
    for row in DIRECTIVES {
        let default = row.default_value();
        let lines: Vec<_> =
            row.shape.file_lines(&default).iter().map(|line| format!("{} {line}\n", row.name)).collect();
        let read = parse(&lines.concat(), "a file", Config::default(), &mut |_: &str| Ok(Vec::new()));
        let config = read.unwrap_or_else(|error| panic!("{error}")).config;
        assert_eq!(row.value(&config), default, "{}", row.name);
    }
}

#[test]
fn the_shipped_file_is_the_default() {
    let text = shipped_conf();
    let config = parse(&text, "onefold.conf", Config::default(), &mut |_: &str| Ok(Vec::new()))
        .unwrap_or_else(|error| panic!("{error}"))
        .config;
    for row in DIRECTIVES {
        assert!(row.is_default(&config), "{}", row.name);
        assert!(reference_page().contains(&format!("\n### {}\n", row.name)), "{}", row.name);
        assert!(row.hidden || text.contains(&format!("{} ", row.name)), "{}", row.name);
    }
    assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 100));
}

fn set(
    config: &Config,
    pairs: &[(&str, &str)],
    setter: Setter,
) -> Result<(Config, Vec<&'static str>), Refusal> {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let (config, changed) = set_many(config, &pairs, setter)?;
    Ok((config, changed.iter().map(|row| row.name).collect()))
}

fn check_refused(pairs: &[(&str, &str)], expected: &str) {
    let found = set(&Config::default(), pairs, ANYBODY).map(|(_, changed)| changed);
    assert_eq!(found, Err(Refusal::Text(expected.to_string())), "{pairs:?}");
}

fn check_related(name: &str, value: &str, error: &str) {
    let expected = format!("CONFIG SET failed (possibly related to argument '{name}') - {error}");
    check_refused(&[(name, value)], &expected);
}

/// Texts of a running Redis 7.0.15, unless the directive is refused as not served.
#[test]
fn set_errors() {
    let (check, related) = (check_refused, check_related);
    check(&[("foo", "1")], "Unknown option or number of arguments for CONFIG SET - 'foo'");
    check(&[("port", "7"), ("Foo", "1")], "Unknown option or number of arguments for CONFIG SET - 'Foo'");
    check(
        &[("hz", "10"), ("HZ", "11")],
        "CONFIG SET failed (possibly related to argument 'HZ') - duplicate parameter",
    );
    check(
        &[("HZ", "x")],
        "CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer",
    );
    related("DATABASES", "4", "can't set immutable config");
    related("dir", "/x", "can't set protected config");
    related("dbfilename", "a/b", "can't set protected config");
    related("hz", "-1", "argument must be between 0 and 2147483647 inclusive");
    related("port", " 1", "argument couldn't be parsed into an integer");
    related("slowlog-max-len", "", "argument couldn't be parsed into an integer");
    related("lua-time-limit", "x", "argument couldn't be parsed into an integer");
    related("maxclients", "0", "argument must be between 1 and 4294967295 inclusive");
    related("proto-max-bulk-len", "1", "argument must be between 1048576 and 9223372036854775807 inclusive");
    related("proto-max-bulk-len", "abc", "argument must be a memory value");
    related("maxmemory", "-1", "argument must be a memory value");
    related("maxmemory", "0%", "percentage argument must be at least 1");
    for huge in ["9223372036854775808", "18446744073709551616", "99999999999999999999gb"] {
        for name in ["auto-aof-rewrite-min-size", "hash-max-listpack-value", "hll-sparse-max-bytes"] {
            related(name, huge, "argument must be between 0 and 9223372036854775807 inclusive");
        }
    }
    related("maxmemory-clients", "101%", "percentage argument must be less or equal to 100");
    related("maxmemory-clients", "x", "argument must be a memory or percent value");
    related("appendonly", "maybe", "argument must be 'yes' or 'no'");
    related("loglevel", "loud", "argument(s) must be one of the following: debug, verbose, notice, warning");
}

#[test]
fn set_errors_of_lists() {
    let related = check_related;
    related("save", "1 2 3", "Invalid save parameters");
    related("save", "a b", "Invalid save parameters");
    related(
        "client-output-buffer-limit",
        "foo 1 2 3",
        "Invalid client class specified in buffer limit configuration.",
    );
    related(
        "client-output-buffer-limit",
        "normal 1 2",
        "Wrong number of arguments in buffer limit configuration.",
    );
    related(
        "client-output-buffer-limit",
        "slave x 1 1",
        "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
    );
    related("notify-keyspace-events", "KEQ", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    related(
        "shutdown-on-sigint",
        "save nosave",
        "shutdown options SAVE and NOSAVE can't be used simultaneously",
    );
    related(
        "shutdown-on-sigint",
        "",
        "argument(s) must be one of the following: default, save, nosave, now, force",
    );
    related(
        "latency-tracking-info-percentiles",
        "50 101",
        "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
    );
    related(
        "latency-tracking-info-percentiles",
        "50 x",
        "Invalid latency-tracking-info-percentiles parameters",
    );
    for template in ["{foo}", "{title", "", " "] {
        related("proc-title-template", template, "template format is invalid or contains unknown variables");
    }
    related("oom-score-adj-values", "1 2", "wrong number of arguments");
    related(
        "oom-score-adj-values",
        "1 2 3000",
        "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
    );
    related("bind", "a b c d e f g h i j k l m n o p q", "Too many bind addresses specified.");
}

#[test]
fn set_and_get() {
    let check = |name: &str, value: &str, expected: &str| {
        let (config, _) = set(&Config::default(), &[(name, value)], ANYBODY).expect("an accepted value");
        let found = matching(&config, &[name.as_bytes()]);
        assert_eq!(found, [(name.as_bytes().to_vec(), expected.as_bytes().to_vec())]);
    };
    check("hz", "10000", "500");
    check("MaxMemory", "100mb", "104857600");
    check("maxmemory", "", "0");
    check("save", "", "");
    check("save", "60 1 30 0", "60 1 30 0");
    check(
        "client-output-buffer-limit",
        "normal 1mb 2kb 3",
        "normal 1048576 2048 3 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    );
    check("notify-keyspace-events", "KEgx", "gxKE");
    check("shutdown-on-sigint", "force now", "now force");
    check("latency-tracking-info-percentiles", "50 99.99 0.1234567", "50 99.99 0.123457");
    check("proc-title-template", "{{title", "{{title");
    check("sanitize-dump-payload", "Clients", "clients");
    check("repl-backlog-size", "1", "16384");
    check("repl-backlog-size", "1mb", "1048576");
    check("slave-priority", "3", "3");
    check("key-load-delay", "-5", "-5");
    check("bind", "", "");
}

#[test]
fn all_or_nothing() {
    let (config, changed) =
        set(&Config::default(), &[("port", "7"), ("hz", "10"), ("maxclients", "5")], ANYBODY).expect("valid");
    assert_eq!(changed, ["port", "maxclients"]);
    assert_eq!((config.port, config.maxclients), (7, 5));
    assert!(set(&config, &[("port", "8"), ("hz", "x")], ANYBODY).is_err());
    let names = [("slave-priority", "1"), ("replica-priority", "2")];
    let (config, changed) = set(&config, &names, ANYBODY).expect("two names of one");
    assert_eq!(changed, ["replica-priority"]);
    assert_eq!(config.unserved["replica-priority"], b"2");
    assert!(set(&config, &[names[0], names[0]], ANYBODY).is_err());
}

#[test]
fn protection() {
    let check = |access, setter: Setter, allowed: bool| {
        let config = Config { enable_protected_configs: access, ..Config::default() };
        assert_eq!(set(&config, &[("dbfilename", "x.rdb")], setter).is_ok(), allowed);
    };
    let local = Setter { local: true, loading: false };
    check(DebugAccess::No, local, false);
    check(DebugAccess::Local, local, true);
    check(DebugAccess::Local, ANYBODY, false);
    check(DebugAccess::Yes, ANYBODY, true);
    let loading = Setter { local: true, loading: true };
    let denied = set(&Config::default(), &[("repl-diskless-load", "swapdb")], loading).map(|_| ());
    assert_eq!(denied, Err(Refusal::Loading));
}

#[test]
fn patterns() {
    let check = |patterns: &[&str], expected: &[&str]| {
        let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        let found = matching(&Config::default(), &patterns).into_iter();
        let names: Vec<_> = found.map(|(name, _)| String::from_utf8(name).expect("ASCII")).collect();
        assert_eq!(names, expected);
    };
    check(&["PORT"], &["PORT"]);
    check(&["port", "Po?t", "port"], &["port"]);
    check(&["hash-max-*-value"], &["hash-max-listpack-value", "hash-max-ziplist-value"]);
    check(&["slave-priority"], &["slave-priority"]);
    check(&["key-load*", "key-load-delay"], &["key-load-delay"]);
    check(&["nothing", "no*thing"], &[]);
}

#[test]
fn workers() {
    let check = |cores: usize, io_threads: i64, expected: usize| {
        assert_eq!(Config { io_threads, ..Config::with_cores(cores) }.workers(), expected);
    };
    check(8, 0, 8);
    check(8, 3, 3);
    check(0, 0, 1);
}

/// Values that differ from Redis 7.0.15 on purpose.
const DIFFERENCES: &[(&str, &str)] = &[
    ("io-threads", "0 is a worker for each core"),
    ("dir", "the server puts in the directory it runs in"),
    ("maxmemory-clients", "maxmemory bounds the process only if clients are bounded"),
    ("activedefrag", "memory is not left full of holes"),
    ("active-defrag-ignore-bytes", "what is resident stays near what is used, in small data sets too"),
    ("active-defrag-threshold-lower", "what is resident stays within a tenth of what is used"),
    ("active-defrag-cycle-min", "what nine of ten deletions leave is gone in half a minute under full load"),
    ("active-defrag-cycle-max", "commands lose no more than a few per cent of their time"),
];

/// What the test's own arguments set.
const GIVEN: [&str; 2] = ["port", "bind"];

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A Redis that listens on a free port, if one is installed.
fn start_peer() -> Option<(Peer, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port().to_string();
    drop(listener);
    let mut command = Command::new("redis-server");
    command.args(["--port", &port, "--bind", "127.0.0.1", "--daemonize", "no", "--loglevel", "notice"]);
    let mut peer = Peer(command.stdout(Stdio::piped()).spawn().ok()?);
    let log = BufReader::new(peer.0.stdout.take().expect("a pipe was asked for"));
    let ready = log.lines().map_while(Result::ok).any(|line| line.contains("Ready to accept"));
    assert!(ready, "redis-server did not start");
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("a server that is ready");
    Some((peer, stream))
}

/// Names and values of CONFIG GET *, from a reply of bulk strings.
fn peer_settings(stream: TcpStream) -> Vec<(String, String)> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"CONFIG GET *\r\n").expect("an open connection");
    let number = |stream: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        line.trim_end()[1..].parse::<usize>().expect("a number")
    };
    let count = number(&mut stream);
    let mut texts = Vec::new();
    for _ in 0..count {
        let mut text = vec![0; number(&mut stream) + 2];
        stream.read_exact(&mut text).expect("a whole bulk string");
        texts.push(String::from_utf8(text[..text.len() - 2].to_vec()).expect("ASCII"));
    }
    texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

#[test]
fn defaults_are_those_of_redis() {
    let Some((_peer, stream)) = start_peer() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let settings = peer_settings(stream);
    assert!(settings.len() > 150);
    for (name, value) in settings {
        let (_, row) = find(name.as_bytes()).unwrap_or_else(|| panic!("{name} is no row"));
        let differs = row.text(&Config::default()) != value.as_bytes();
        let explained = DIFFERENCES.iter().any(|(known, _)| *known == row.name);
        assert!(GIVEN.contains(&row.name) || differs == explained, "{name} is {value} in Redis");
    }
}
