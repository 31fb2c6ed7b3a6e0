//! The process from the outside: how it starts, what it refuses, how it loads, reports a crash and ends.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{info, signal, start, wait_for_info, wait_for_log};
use rdb::{ValueRef, WriteOptions, write_eof, write_header, write_record, write_select_db};
use resp::Value;
use rustix::process::Signal;
use testkit::client::{encode, error, ok};
use testkit::{Client, Server};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onefold-server"));
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("the program runs")
}

#[test]
fn words_before_the_server_starts() {
    let check = |arguments: &[&str], good: bool, out: &str, err: &str| {
        let output = run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(output.status.code(), Some(if good { 0 } else { 1 }), "{arguments:?}");
        assert!(text(&output.stdout).contains(out), "{}", text(&output.stdout));
        assert!(text(&output.stderr).contains(err), "{}", text(&output.stderr));
    };
    check(&["--version"], true, "Redis server v=7.2.4 sha=", "");
    check(&["-v"], true, "bits=64", "");
    check(&["--help"], false, "", "Usage: onefold-server");
    check(&["--test-memory", "1"], false, "", "does not test memory");
    check(&["--dump-docs", "conf"], true, "maxmemory", "");
    check(&["--dump-docs", "config"], true, "maxmemory", "");
    check(&["--dump-docs", "commands"], true, "BGSAVE", "");
    check(&["--dump-docs", "info"], true, "redis_version", "");
    check(&["--dump-docs", "nothing"], false, "", "no generated page");
    check(
        &["/nonexistent.conf"],
        false,
        "",
        "Fatal error, can't open config file '/nonexistent.conf': No such file",
    );
    let fatal = "*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n";
    check(&["--prot", "1"], false, "", fatal);
    check(&["--port", "x"], false, "", "argument couldn't be parsed into an integer");
    check(&["--dir", "/nonexistent"], false, "", "No such file or directory");
    check(
        &["--logfile", "/nonexistent/log"],
        false,
        "",
        "Can't open the log file: No such file or directory",
    );
    check(&["--port", "0"], false, "Configured to not listen anywhere, exiting.", "");
    check(&["--port", "1", "--bind", "192.0.2.1"], false, "Failed listening on port 1 (TCP), aborting.", "");
}

#[test]
fn a_configuration_on_standard_input() {
    let mut child = program().arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"port 0\nsave \"\"\n").expect("the program reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends by itself");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Configured to not listen anywhere"));
}

#[test]
fn the_log_tells_the_start_as_redis_does() {
    let server = start(&["--always-show-logo", "yes"]);
    let (log, pid) = (server.log(), server.pid());
    for line in [
        "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo",
        &format!("Redis version=7.2.4, bits=64, commit=00000000, modified=0, pid={pid}, just started"),
        "Configuration loaded",
        &format!(" PID: {pid}"),
        "Server initialized",
        "Ready to accept connections",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn a_log_file_that_is_moved_away_is_made_anew() {
    let server = start(&["--logfile", "the.log", "--pidfile", "the.pid"]);
    let (log, moved) = (server.dir().join("the.log"), server.dir().join("moved.log"));
    assert_eq!(
        fs::read_to_string(server.dir().join("the.pid")).expect("written"),
        format!("{}\n", server.pid())
    );
    fs::rename(&log, &moved).expect("it is there");
    ok(server.client().run("SAVE"));
    assert!(fs::read_to_string(&log).expect("made anew").contains("DB saved on disk"));
    assert!(fs::read_to_string(&moved).expect("moved").contains("Ready to accept connections"));
    assert!(server.log().is_empty(), "nothing goes to standard output");
}

#[test]
fn a_start_is_quick_and_small() {
    let begin = Instant::now();
    let server = start(&[]);
    let took = begin.elapsed();
    println!("started in {took:?}");
    // It is small once it has given back what only the start has needed.
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.expect("every process has it").trim().trim_end_matches(" kB");
        if resident.parse::<u64>().expect("a number") < 8 * 1024 {
            break;
        }
        assert!(Instant::now() < deadline, "{resident} KB");
        std::thread::yield_now();
    }
}

#[test]
fn threads_beside_the_workers_share_an_arena() {
    let server = start(&[]);
    let (mut client, deadline) = (server.client(), Instant::now() + Duration::from_secs(180));
    // The figure is of the last look at memory, and threads may still be starting.
    while !matches!(client.run("DEBUG MALLCTL stats.arenas.0.nthreads"), Value::Integer(5..)) {
        assert!(Instant::now() < deadline, "threads have arenas of their own");
    }
}

#[test]
fn the_port_can_change() {
    let (server, other) = (start(&[]), start(&[]));
    let mut client = server.client();
    let taken = other.port().to_string();
    let text = error(client.call(&["CONFIG", "SET", "port", &taken]));
    assert!(text.contains("Unable to listen on this port. Check server logs."), "{text}");
    let text = error(client.call(&["CONFIG", "SET", "bind", "192.0.2.1"]));
    assert!(text.ends_with(" - Failed to bind to specified addresses."), "{text}");
    // Addresses may be opened beside this server's own, and never beside another's.
    for address in ["127.0.0.1", "*"] {
        for order in [["bind", address, "port", &taken], ["port", &taken, "bind", address]] {
            error(client.call(&[&["CONFIG", "SET"], &order[..]].concat()));
        }
    }
    assert_eq!(server.client().run("PING"), Value::Simple(b"PONG".to_vec()));
    drop(other);
    ok(client.call(&["CONFIG", "SET", "port", &taken]));
    let deadline = Instant::now() + Duration::from_secs(30);
    while Client::try_connect(("127.0.0.1", server.port())).is_ok() {
        assert!(Instant::now() < deadline, "the old port is still open");
    }
    assert_eq!(
        Client::connect(("127.0.0.1", taken.parse::<u16>().expect("a port"))).run("PING"),
        Value::Simple(b"PONG".to_vec())
    );
}

#[test]
fn a_configuration_is_rewritten_in_place() {
    let path = std::env::temp_dir().join(format!("onefold-rewrite-{}.conf", std::process::id()));
    // A comment need not be UTF-8.
    fs::write(&path, b"# mine \xe9\nhz 20\nsave \"\"\n").expect("a small file");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("free")
        .port();
    let mut child = program()
        .arg(&path)
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--dir",
            "/tmp",
            "--dbfilename",
            "onefold-none.rdb",
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut client = connect(port);
    ok(client.run("CONFIG SET hz 50"));
    ok(client.run("CONFIG REWRITE"));
    client.send(&["SHUTDOWN", "NOSAVE"]);
    child.wait().expect("it ends");
    let bytes = fs::read(&path).expect("it is there");
    fs::remove_file(&path).expect("it is there");
    let text = String::from_utf8_lossy(&bytes);
    assert!(bytes.starts_with(b"# mine \xe9\nhz 50\n"), "{text}");
    assert!(text.contains(&format!("port {port}")), "{text}");
}

/// A connection to a server that is coming up.
fn connect(port: u16) -> Client {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answered = Client::try_connect(("127.0.0.1", port))
            .and_then(|mut client| client.try_call(&["PING"]).map(|_| client));
        match answered {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

/// A dump with `content` between header and end.
fn dump(content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = write_header(10).to_vec();
    content(&mut bytes);
    let crc = base::crc::crc64(0, &bytes);
    write_eof(&mut bytes, Some(crc));
    bytes
}

fn record(out: &mut Vec<u8>, key: &str, expires_at: Option<i64>) {
    write_record(
        out,
        key.as_bytes(),
        expires_at,
        ValueRef::Bytes(b"value"),
        &WriteOptions { compress: false },
    );
}

/// Puts a dump in the place of a server's and starts it again.
fn reload(server: &mut Server, bytes: &[u8]) {
    server.kill_hard();
    fs::write(server.dir().join("dump.rdb"), bytes).expect("a small file");
    server.start_again();
}

#[test]
fn expired_keys_are_left_out_and_databases_kept() {
    let mut server = start(&[]);
    let bytes = dump(|out| {
        for db in [0, 9] {
            write_select_db(out, db);
            record(out, "stays", None);
            record(out, "later", Some(99_999_999_999_999));
            record(out, "gone", Some(1000));
        }
    });
    reload(&mut server, &bytes);
    let mut client = server.client();
    wait_for_info(&mut client, "loading", "0");
    assert_eq!(client.run("DBSIZE"), Value::Integer(2));
    ok(client.run("SELECT 9"));
    assert_eq!(client.run("PEXPIRETIME later"), Value::Integer(99_999_999_999_999));
    assert_eq!(client.run("EXISTS gone"), Value::Integer(0));
    assert!(server.log().contains("Done loading RDB, keys loaded: 4, keys expired: 2."), "{}", server.log());
    assert!(server.log().contains("DB loaded from disk: "));
}

/// A server that finds these bytes ends with an error, and says why.
fn check_refused(bytes: &[u8], reason: &str) {
    let folder = std::env::temp_dir().join(format!("onefold-damage-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    fs::write(folder.join("dump.rdb"), bytes).expect("a small file");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("free")
        .port();
    let folder_name = folder.to_str().expect("plain text");
    let output = run(&["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", folder_name]);
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(reason), "{log}");
    assert!(log.contains("Fatal error loading the DB"), "{log}");
    let untouched = fs::read(folder.join("dump.rdb")).expect("it is there");
    fs::remove_dir_all(&folder).expect("it is there");
    assert_eq!(untouched, bytes, "a damaged dump is left as it is");
}

#[test]
fn a_damaged_dump_stops_the_start() {
    let good = dump(|out| record(out, "a key", None));
    let mut wrong_sum = good.clone();
    *wrong_sum.last_mut().expect("it has bytes") ^= 1;
    check_refused(&wrong_sum, "the checksum is ");
    check_refused(&good[..20], "the data ends too early at offset 20");
    check_refused(b"not a dump at all", "the data is not an RDB file");
    check_refused(&dump(|out| write_select_db(out, 16)), "configured to handle more than 16 databases");
    let twice = |out: &mut Vec<u8>| (0..2).for_each(|_| record(out, "twice", None));
    check_refused(&dump(twice), "RDB has duplicated key \"twice\" in DB 0");
}

#[test]
fn commands_are_refused_while_loading() {
    let mut server = start(&["--key-load-delay", "1000"]);
    let bytes = dump(|out| (0..2000).for_each(|key| record(out, &format!("key:{key}"), None)));
    reload(&mut server, &bytes);
    let mut client = server.client();
    assert_eq!(info(&mut client, "loading"), "1");
    for line in ["GET key:0", "SAVE", "BGSAVE"] {
        assert_eq!(error(client.run(line)), "LOADING Redis is loading the dataset in memory", "{line}");
    }
    signal(server.pid(), Signal::TERM);
    assert!(server.wait_for_end());
    assert!(server.log().contains("Received shutdown signal during loading, scheduling shutdown."));
    assert_eq!(
        fs::read(server.dir().join("dump.rdb")).expect("it is there"),
        bytes,
        "half a keyspace is not saved"
    );
}

/// Four thousand seconds would pass otherwise.
#[test]
fn a_load_follows_the_configuration() {
    let mut server = start(&["--key-load-delay", "200000"]);
    let bytes = dump(|out| (0..20_000).for_each(|key| record(out, &format!("key:{key}"), None)));
    reload(&mut server, &bytes);
    let mut client = server.client();
    assert_eq!(info(&mut client, "loading"), "1");
    ok(client.run("CONFIG SET key-load-delay 0"));
    wait_for_info(&mut client, "loading", "0");
    assert_eq!(client.run("DBSIZE"), Value::Integer(20_000));
}

#[test]
fn a_folder_without_a_name_is_none() {
    let server = start(&[]);
    let mut client = server.client();
    let before = client.run("CONFIG GET dir");
    let text = error(client.call(&["CONFIG", "SET", "dir", ""]));
    assert_eq!(
        text,
        "ERR CONFIG SET failed (possibly related to argument 'dir') - No such file or directory"
    );
    assert_eq!(client.run("CONFIG GET dir"), before);
}

#[test]
fn half_a_keyspace_is_never_saved() {
    let bytes = dump(|out| (0..20_000).for_each(|key| record(out, &format!("key:{key}"), None)));
    for words in [&["SHUTDOWN"][..], &["SHUTDOWN", "SAVE"]] {
        let mut server = start(&["--key-load-delay", "1000", "--save", "3600 1"]);
        reload(&mut server, &bytes);
        server.client().send(words);
        assert!(server.wait_for_end());
        assert_eq!(fs::read(server.dir().join("dump.rdb")).expect("it is there"), bytes, "{words:?}");
    }
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let mut server = start(&["--save", "100000 1", "--rdb-key-save-delay", "10000000"]);
    ok(server.client().run("SET a 1"));
    signal(server.pid(), Signal::INT);
    wait_for_log(&server, "Saving the final RDB snapshot");
    signal(server.pid(), Signal::INT);
    assert!(!server.wait_for_end());
    assert!(server.log().contains("You insist... exiting now."));
    let left = fs::read_dir(server.dir()).expect("it is there").flatten();
    assert!(left.into_iter().all(|file| !file.file_name().to_string_lossy().starts_with("temp-")));
}

/// A server that saves for so long that it does not end by itself, and two clients of before.
fn saving_finally(delay_us: &str) -> (Server, Client, Client) {
    let server = start(&["--save", "100000 1", "--rdb-key-save-delay", delay_us]);
    let (mut client, other) = (server.client(), server.client());
    (0..300).for_each(|number| ok(client.run(&format!("SET k{number} v"))));
    signal(server.pid(), Signal::TERM);
    wait_for_log(&server, "Saving the final RDB snapshot");
    (server, client, other)
}

#[test]
fn an_end_without_a_save_does_not_wait_for_one_with() {
    for line in ["SHUTDOWN NOSAVE", "SHUTDOWN NOSAVE NOW FORCE"] {
        let (mut server, mut client, _other) = saving_finally("10000000");
        signal(server.pid(), Signal::TERM);
        let refusal = error(client.run("SHUTDOWN"));
        assert!(refusal.starts_with("ERR Errors trying to SHUTDOWN"), "{refusal}");
        client.send(&line.split(' ').collect::<Vec<_>>());
        assert!(client.read_to_end().is_empty());
        assert!(server.wait_for_end());
        assert!(!server.log().contains("errors trying to shut down"), "{}", server.log());
        let left = fs::read_dir(server.dir()).expect("it is there").flatten();
        assert!(left.into_iter().all(|file| !file.file_name().to_string_lossy().ends_with(".rdb")));
    }
}

#[test]
fn no_restart_comes_before_an_end() {
    let (mut server, mut client, mut other) = saving_finally("10000000");
    client.send(&["DEBUG", "RESTART"]);
    wait_for_log(&server, "Can't restart: the server is shutting down");
    other.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(other.read_to_end().is_empty());
    assert!(server.wait_for_end());
    assert_eq!(server.log().matches("Server initialized").count(), 1, "{}", server.log());
}

/// What is acknowledged while the last save runs would be in no file.
#[test]
fn no_client_ends_the_pause_of_the_last_save() {
    let (mut server, mut client, mut writer) = saving_finally("30000");
    ok(client.run("CLIENT UNPAUSE"));
    let requests: Vec<_> =
        (0..100).flat_map(|number| encode(&["SET", &format!("late{number}"), "v"])).collect();
    writer.send_raw(&requests);
    let acknowledged = writer.read_to_end().len() / "+OK\r\n".len();
    assert!(server.wait_for_end());
    server.start_again();
    let mut client = server.client();
    let kept =
        (0..acknowledged).filter(|number| client.run(&format!("EXISTS late{number}")) == Value::Integer(1));
    assert_eq!(kept.count(), acknowledged);
}

#[test]
fn a_hangup_is_ignored() {
    let server = start(&[]);
    signal(server.pid(), Signal::HUP);
    assert_eq!(server.client().run("PING"), Value::Simple(b"PONG".to_vec()));
}

#[test]
fn a_crash_leaves_a_report() {
    for number in [Signal::SEGV, Signal::ABORT] {
        let mut server = start(&[]);
        signal(server.pid(), number);
        assert!(!server.wait_for_end());
        let log = server.log();
        let expected = format!("Redis 7.2.4 crashed by signal: {}", number.as_raw());
        for line in ["=== REDIS BUG REPORT START", &expected, "STACK TRACE", "=== REDIS BUG REPORT END"] {
            assert!(log.contains(line), "{line}: {log}");
        }
    }
}

#[test]
fn a_broken_assertion_leaves_a_report() {
    for how in ["PANIC", "ASSERT"] {
        let mut server = start(&[]);
        server.client().send(&["DEBUG", how]);
        assert!(!server.wait_for_end());
        let log = server.log();
        let starts = log.matches("=== REDIS BUG REPORT START").count();
        assert!(starts == 1 && log.contains("ASSERTION FAILED") && log.contains("Guru Meditation"), "{log}");
    }
}

#[test]
fn a_restart_keeps_the_process_and_the_saved_data() {
    for (how, kept) in [("RESTART", 1), ("CRASH-AND-RECOVER", 0)] {
        let server = start(&["--save", "100000 1"]);
        let mut client = server.client();
        let run_id = info(&mut client, "run_id");
        ok(client.run("SET a 1"));
        client.send(&["DEBUG", how]);
        client.read_to_end();
        let mut client = connect(server.port());
        assert_ne!(info(&mut client, "run_id"), run_id);
        wait_for_info(&mut client, "loading", "0");
        assert_eq!(client.run("DBSIZE"), Value::Integer(kept), "{how}");
        assert_eq!(info(&mut client, "process_id"), server.pid().to_string());
    }
}

#[test]
fn a_server_in_the_background() {
    let folder_name = format!("onefold-daemon-{}", std::process::id());
    let folder = std::env::temp_dir().join(&folder_name);
    fs::create_dir_all(&folder).expect("a temporary folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("free")
        .port();
    // The folder's name is relative to where the program is called, also for the process in the background.
    let arguments = [
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--dir",
        &folder_name,
        "--save",
        "",
        "--daemonize",
        "yes",
        "--pidfile",
        "the.pid",
        "--logfile",
        "the.log",
    ];
    let output = program().current_dir(std::env::temp_dir()).args(arguments).output();
    let output = output.expect("the program runs");
    assert!(output.status.success() && output.stdout.is_empty());
    let mut client = connect(port);
    assert_eq!(client.run("PING"), Value::Simple(b"PONG".to_vec()));
    assert_eq!(info(&mut client, "process_id"), read_pid(&folder));
    client.send(&["SHUTDOWN"]);
    client.read_to_end();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fs::read_to_string(folder.join("the.log")).expect("it is there").contains("bye bye...") {
        assert!(Instant::now() < deadline, "it does not end");
    }
    assert!(!folder.join("the.pid").exists());
    fs::remove_dir_all(&folder).expect("it is there");
}

fn read_pid(folder: &Path) -> String {
    fs::read_to_string(folder.join("the.pid")).expect("written before it serves").trim().to_string()
}

#[test]
fn systemd_is_told() {
    let folder = std::env::temp_dir().join(format!("onefold-notify-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let socket = std::os::unix::net::UnixDatagram::bind(folder.join("notify")).expect("a free name");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout above zero");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("free")
        .port();
    let mut child = program()
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--supervised", "auto", "--save", ""])
        .arg("--dir")
        .arg(&folder)
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let receive = || {
        let mut buffer = [0; 200];
        let len = socket.recv(&mut buffer).expect("the server tells");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    };
    assert_eq!(receive(), "STATUS=Redis is loading...\n");
    assert_eq!(receive(), "STATUS=Ready to accept connections\n");
    assert_eq!(receive(), "READY=1\n");
    signal(child.id(), Signal::TERM);
    assert_eq!(receive(), "STOPPING=1\n");
    assert!(child.wait().expect("it ends").success());
    fs::remove_dir_all(&folder).expect("it is there");
}
