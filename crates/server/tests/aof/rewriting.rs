//! Rewrites, and the files they leave.

use std::fs;
use std::path::PathBuf;

use resp::Value;
use testkit::client::{error, ok};
use testkit::{Client, Server};

use crate::common::{self, info, wait_for_info};
use crate::{
    ALWAYS, check_started_again, connected, digest, fill, fill_more, folder, lines, manifest, names, read,
    rewrite, start, wait_until,
};

#[test]
fn a_rewrite_leaves_one_base_and_one_increment() {
    let mut server = start(ALWAYS);
    let mut client = server.client();
    fill(&mut client);
    for round in 2..5 {
        rewrite(&mut client);
        ok(client.run(&format!("SET round {round}")));
        let expected = format!(
            "file appendonly.aof.{round}.base.rdb seq {round} type b\n\
             file appendonly.aof.{round}.incr.aof seq {round} type i\n"
        );
        assert_eq!(manifest(&server), expected);
        assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
        let increment = format!("appendonly.aof.{round}.incr.aof");
        assert_eq!(lines(&read(&server, &increment)), ["SELECT 0".to_owned(), format!("SET round {round}")]);
    }
    assert_eq!(info(&mut client, "aof_rewrites"), "3");
    ok(client.run("CONFIG RESETSTAT"));
    assert_eq!(info(&mut client, "aof_rewrites"), "0");
    let before = digest(&mut client);
    server.kill_hard();
    server.start_again();
    assert_eq!(digest(&mut connected(&server)), before);
}

#[test]
fn the_numbers_of_its_files_are_those_of_redis() {
    let server = start(ALWAYS);
    let mut client = server.client();
    fill(&mut client);
    let base =
        |number: u32, kind: char| format!("file appendonly.aof.{number}.base.rdb seq {number} type {kind}\n");
    let increment =
        |number: u32, kind: char| format!("file appendonly.aof.{number}.incr.aof seq {number} type {kind}\n");
    rewrite(&mut client);
    assert_eq!(manifest(&server), [base(2, 'b'), increment(2, 'i')].concat());
    ok(client.run("CONFIG SET appendonly no"));
    rewrite(&mut client);
    assert_eq!(manifest(&server), base(3, 'b'), "nothing is logged");
    assert_eq!(names(&server).len(), 2);
    let before = digest(&mut client);
    ok(client.run("DEBUG LOADAOF"));
    assert_eq!(digest(&mut client), before);
    ok(client.run("CONFIG SET appendonly yes"));
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    assert_eq!(manifest(&server), [base(4, 'b'), increment(1, 'i')].concat());
    ok(client.run("CONFIG SET aof-disable-auto-gc yes"));
    rewrite(&mut client);
    rewrite(&mut client);
    let history = [increment(2, 'h'), base(5, 'h'), increment(1, 'h'), base(4, 'h')].concat();
    assert_eq!(manifest(&server), [base(6, 'b'), history, increment(3, 'i')].concat());
    assert_eq!(names(&server).len(), 7, "{:?}", names(&server));
    ok(client.run("CONFIG SET aof-disable-auto-gc no"));
    assert_eq!(manifest(&server), [base(6, 'b'), increment(3, 'i')].concat());
    assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
    let before = digest(&mut client);
    ok(client.run("DEBUG LOADAOF"));
    assert_eq!(digest(&mut client), before);
    rewrite(&mut client);
    assert_eq!(manifest(&server), [base(7, 'b'), increment(4, 'i')].concat());
}

/// The base cannot be made while a folder has the name of the file on its way.
fn block_bases(server: &Server) -> PathBuf {
    let path = folder(server).join("temp-rewriteaof.base");
    fs::create_dir_all(&path).expect("nothing is called so");
    path
}

#[test]
fn it_is_rewritten_when_it_has_grown_but_not_again_and_again_if_that_fails() {
    let server = start(ALWAYS);
    let mut client = server.client();
    let blocked = block_bases(&server);
    for failed in 1..=3 {
        client.run("BGREWRITEAOF");
        wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
        assert_eq!(info(&mut client, "aof_rewrites_consecutive_failures"), failed.to_string());
        ok(client.run(&format!("SET failed {failed}")));
    }
    let increment = |number: u32| format!("file appendonly.aof.{number}.incr.aof seq {number} type i\n");
    let increments: String = (1..=4).map(increment).collect();
    let base = "file appendonly.aof.1.base.rdb seq 1 type b\n";
    assert_eq!(manifest(&server), [base, &increments].concat());
    let before = digest(&mut client);
    ok(client.run("DEBUG LOADAOF"));
    assert_eq!(digest(&mut client), before);
    ok(client.run("CONFIG SET auto-aof-rewrite-min-size 1 auto-aof-rewrite-percentage 1"));
    common::wait_for_log(&server, "triggered the limit, will retry in 1 minutes");
    assert_eq!(manifest(&server), [base, &increments].concat(), "it was tried nevertheless");
    ok(client.run("CONFIG SET auto-aof-rewrite-percentage 0"));
    fs::remove_dir(blocked).expect("it is empty");
    rewrite(&mut client);
    let good = ["file appendonly.aof.2.base.rdb seq 2 type b\n", &increment(5)].concat();
    assert_eq!(manifest(&server), good, "who asks for it is heard");
    assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
    ok(client.run("CONFIG SET auto-aof-rewrite-percentage 100"));
    ok(client.call(&["SET", "long", &"v".repeat(1000)]));
    common::wait_for_log(&server, "Starting automatic rewriting of AOF on ");
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    assert!(manifest(&server).starts_with("file appendonly.aof.3.base.rdb seq 3 type b\n"));
}

#[test]
fn what_comes_before_the_first_base_is_in_no_file_that_counts() {
    let mut server = start(&[]);
    let mut client = server.client();
    ok(client.run("SET a 1"));
    let blocked = block_bases(&server);
    ok(client.run("CONFIG SET appendonly yes"));
    wait_for_info(&mut client, "aof_last_bgrewrite_status", "err");
    ok(client.run("SET b 1"));
    assert!(names(&server).iter().all(|name| name.starts_with("temp-")), "{:?}", names(&server));
    fs::remove_dir(blocked).expect("it is empty");
    while info(&mut client, "aof_last_bgrewrite_status") == "err" {
        client.run("BGREWRITEAOF");
        wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    }
    let first = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    assert_eq!(manifest(&server), first);
    ok(client.run("CONFIG SET appendonly no"));
    // While a save runs, nothing begins.
    ok(client.run("CONFIG SET rdb-key-save-delay 10000000"));
    ok(client.run("SET c 1"));
    client.run("BGSAVE");
    ok(client.run("CONFIG SET appendonly yes"));
    assert_eq!(info(&mut client, "aof_rewrite_scheduled"), "1");
    ok(client.run("SET d 1"));
    assert_eq!((manifest(&server).as_str(), names(&server).len()), (first, 3));
    ok(client.run("CONFIG SET rdb-key-save-delay 0"));
    client.run("BGSAVE CANCEL");
    wait_for_info(&mut client, "aof_rewrite_scheduled", "0");
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    let second = "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n";
    assert_eq!(manifest(&server), second);
    let before = digest(&mut client);
    server.stop();
    check_started_again(&server, &before);
}

#[test]
fn a_base_of_commands_holds_all_values() {
    for stamps in ["no", "yes"] {
        let arguments = ["--aof-use-rdb-preamble", "no", "--aof-timestamp-enabled", stamps];
        let mut server = start(&[ALWAYS, &arguments].concat());
        let mut client = server.client();
        fill(&mut client);
        fill_more(&mut client);
        ok(client.call(&["SET", "", "empty\r\nkey"]));
        for line in
            ["HPEXPIRE h 100000000 FIELDS 1 f", "ZADD z -0 zero inf top 1e300 far 0.1 near", "SET n -12"]
        {
            client.run(line);
        }
        let before = digest(&mut client);
        rewrite(&mut client);
        let expected =
            "file appendonly.aof.2.base.aof seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n";
        assert_eq!(manifest(&server), expected);
        assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
        let lines = lines(&read(&server, "appendonly.aof.2.base.aof"));
        assert_eq!(lines[0] == "# true", stamps == "yes");
        assert!(lines.iter().any(|line| line == "RPUSH l a b c d e"), "{lines:?}");
        assert_eq!(
            lines.iter().filter(|line| line.starts_with("ZADD scores ")).count(),
            500usize.div_ceil(64)
        );
        server.kill_hard();
        server.start_again();
        let mut client = connected(&server);
        assert_eq!(digest(&mut client), before);
        let Value::Array(Some(times)) = client.run("HPEXPIRETIME h FIELDS 1 f") else { panic!("no array") };
        assert!(matches!(times[0], Value::Integer(time) if time > 0), "{times:?}");
    }
}

/// A base has what expired between the rewrite and the next start: what stands behind it may have made it
/// stay.
#[test]
fn what_expired_in_the_base_is_there_for_what_stands_behind_it() {
    for preamble in ["yes", "no"] {
        let arguments = ["--aof-use-rdb-preamble", preamble];
        let mut server = start(&[ALWAYS, &arguments].concat());
        let mut client = server.client();
        ok(client.run("CONFIG SET import-mode yes"));
        ok(client.run("CLIENT IMPORT-SOURCE ON"));
        for line in [
            "SET kept v PX 1",
            "SET gone v PX 1",
            "HSET hash f v",
            "HPEXPIRE hash 1 FIELDS 1 f",
            "HSET half f v g w",
            "HPEXPIRE half 1 FIELDS 1 f",
            "HSET past f v",
            "HPEXPIRE past 1 FIELDS 1 f",
        ] {
            let reply = client.run(line);
            assert!(!matches!(reply, Value::Error(_)), "{line}: {reply:?}");
        }
        rewrite(&mut client);
        assert_eq!(client.run("PERSIST kept"), Value::Integer(1));
        for key in ["hash", "half"] {
            let reply = client.call(&["HPERSIST", key, "FIELDS", "1", "f"]);
            assert_eq!(reply, Value::Array(Some(vec![Value::Integer(1)])), "{key}");
        }
        server.kill_hard();
        server.start_again();
        let mut client = connected(&server);
        let replies = ["GET kept", "HGET hash f", "HGET half f", "GET gone", "HGET past f"];
        let replies = replies.map(|line| client.run(line));
        let v = || Value::Bulk(Some(b"v".to_vec()));
        assert_eq!(replies, [v(), v(), v(), Value::Bulk(None), Value::Bulk(None)], "preamble {preamble}");
        wait_until(|| client.run("DBSIZE") == Value::Integer(3));
    }
}

#[test]
fn a_folder_that_was_removed_is_there_again_with_all_that_was_answered() {
    for policy in ["everysec", "always"] {
        let mut server = start(&["--appendonly", "yes", "--appendfsync", policy]);
        let mut client = server.client();
        fill(&mut client);
        fs::remove_dir_all(folder(&server)).expect("it is there");
        let is_whole = |client: &mut Client| {
            // Writes make it known; while the files are made they are refused.
            client.run("SET after removed");
            info(client, "aof_rewrite_in_progress") == "0" && folder(&server).exists()
        };
        wait_until(|| is_whole(&mut client));
        wait_for_info(&mut client, "aof_last_write_status", "ok");
        common::wait_for_log(&server, "The append-only file was removed from its folder");
        ok(client.run("SET after made"));
        let local = Value::Array(Some(vec![Value::Integer(1), Value::Integer(0)]));
        assert_eq!(client.run("WAITAOF 1 0 0"), local);
        let before = digest(&mut client);
        server.kill_hard();
        server.start_again();
        assert_eq!(digest(&mut connected(&server)), before, "{policy}");
    }
}

/// One long value of each type: each is more than is ever looked at as a whole.
fn fill_long(client: &mut Client) {
    let texts: Vec<String> = (0..60_000).map(|number| format!("{number:0100}")).collect();
    for texts in texts.chunks(1000) {
        let words: Vec<&str> = texts.iter().map(String::as_str).collect();
        let twice: Vec<&str> = words.iter().flat_map(|text| [&text[90..], *text]).collect();
        for (head, words) in [
            (&["RPUSH", "long:list"][..], &words),
            (&["SADD", "long:set"], &words),
            (&["ZADD", "long:zset"], &twice),
            (&["HSET", "long:hash"], &twice),
            (&["HSET", "long:expiring"], &twice),
            (&["XADD", "long:stream", "*"], &twice),
        ] {
            assert!(!client.call(&[head, words].concat()).is_error(), "{head:?}");
        }
    }
    // Longer than what is written at once.
    let long = |byte: &str| byte.repeat(500_000);
    for request in [
        &["RPUSH", "long:list", &long("a"), "last"][..],
        &["SADD", "long:set", &long("b")],
        &["ZADD", "long:zset", "1.5", &long("c")],
        &["HSET", "long:hash", &long("d"), "short", "short", &long("e"), &long("f"), &long("g")],
    ] {
        assert!(!client.call(request).is_error(), "{}", request[0]);
    }
    client.run("HPEXPIRE long:expiring 100000000 FIELDS 1 0000000001");
    client.run("XGROUP CREATE long:stream group 0");
    client.run("XREADGROUP GROUP group me COUNT 3 STREAMS long:stream >");
    ok(client.call(&["SET", "long:string", &texts.concat(), "PX", "100000000"]));
}

#[test]
fn a_base_of_commands_holds_long_values_in_short_commands() {
    let mut server = start(&[ALWAYS, &["--aof-use-rdb-preamble", "no"]].concat());
    let mut client = server.client();
    fill(&mut client);
    fill_long(&mut client);
    let before = digest(&mut client);
    rewrite(&mut client);
    let lines = lines(&read(&server, "appendonly.aof.2.base.aof"));
    for (command, words) in [("RPUSH long:list", 64), ("SADD long:set", 64), ("ZADD long:zset", 128)] {
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(command)).collect();
        let whole = own.iter().filter(|line| line.split(' ').count() == 2 + words).count();
        // A long item has a command of its own, before which one with fewer items may end.
        assert!((60_000 / 64 - 1..=60_000 / 64).contains(&whole), "{command}: {whole}");
        assert!((1..=3).contains(&(own.len() - whole)), "{command}: {}", own.len());
    }
    server.kill_hard();
    server.start_again();
    let mut client = connected(&server);
    assert_eq!(digest(&mut client), before);
    assert!(matches!(client.run("PTTL long:string"), Value::Integer(1..)));
    let Value::Array(Some(pending)) = client.run("XPENDING long:stream group") else { panic!("no array") };
    assert_eq!(pending[0], Value::Integer(3));
}

#[test]
fn saves_and_rewrites_wait_for_each_other() {
    let server = start(ALWAYS);
    let mut client = server.client();
    ok(client.run("MSET a 1 b 2 c 3"));
    ok(client.run("CONFIG SET rdb-key-save-delay 10000000"));
    assert_eq!(client.run("BGSAVE"), Value::Simple(b"Background saving started".to_vec()));
    let scheduled = Value::Simple(b"Background append only file rewriting scheduled".to_vec());
    assert_eq!(client.run("BGREWRITEAOF"), scheduled);
    assert_eq!(info(&mut client, "aof_rewrite_scheduled"), "1");
    client.run("BGSAVE CANCEL");
    wait_for_info(&mut client, "aof_rewrite_in_progress", "1");
    let refused = error(client.run("BGSAVE"));
    assert!(refused.starts_with("ERR Another child process is active (AOF?)"), "{refused}");
    let refused = error(client.run("BGREWRITEAOF"));
    assert_eq!(refused, "ERR Background append only file rewriting already in progress");
    assert_eq!(client.run("BGSAVE SCHEDULE"), Value::Simple(b"Background saving scheduled".to_vec()));
    ok(client.run("CONFIG SET appendonly no rdb-key-save-delay 0"));
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    wait_for_info(&mut client, "rdb_bgsave_in_progress", "0");
}

#[test]
fn the_end_of_the_process_leaves_nothing_of_a_rewrite() {
    for preamble in ["yes", "no"] {
        let slow = ["--rdb-key-save-delay", "1000000", "--aof-use-rdb-preamble", preamble];
        let mut server = start(&[ALWAYS, &slow].concat());
        let mut client = server.client();
        (0..1000).for_each(|number| ok(client.run(&format!("SET k{number} v"))));
        client.run("BGREWRITEAOF");
        let is_temporary = |file: fs::DirEntry| file.file_name().to_string_lossy().starts_with("temp-");
        let has_temporary =
            || fs::read_dir(folder(&server)).expect("it is there").flatten().any(is_temporary);
        while !has_temporary() {
            assert_eq!(info(&mut client, "aof_rewrite_in_progress"), "1");
        }
        let folder = folder(&server);
        server.stop();
        assert!(!fs::read_dir(folder).expect("it is there").flatten().any(is_temporary));
    }
}
