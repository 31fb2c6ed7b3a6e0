//! What is loaded of a file as it was found, and what is refused.

use std::fs;

use resp::Value;
use testkit::Server;
use testkit::client::{encode, ok};

use crate::common;
use crate::{ALWAYS, connected, folder, manifest, names, read, rewrite, start};

/// What a server says that does not start again.
fn refusal(server: &Server, arguments: &[&str]) -> String {
    common::refusal(server.dir(), &[&["--appendonly", "yes"], arguments].concat())
}

/// A stopped server whose increment is this.
fn with_increment(bytes: &[u8]) -> Server {
    let mut server = start(ALWAYS);
    server.stop();
    fs::write(folder(&server).join("appendonly.aof.1.incr.aof"), bytes).expect("the folder is there");
    server
}

fn request(line: &str) -> Vec<u8> {
    let words: Vec<_> = line.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn requests(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| request(line)).collect()
}

#[test]
fn an_end_that_was_cut_off_is_left_out_wherever_the_cut_is() {
    let (first, second) = (requests(&["SELECT 0", "SET a 1"]), request("SET b 22"));
    let all = [&first[..], &second].concat();
    let mut server = with_increment(&all);
    let path = folder(&server).join("appendonly.aof.1.incr.aof");
    for cut in [1, 2, 3, 4, 9, 12, second.len() - 1] {
        fs::write(&path, &all[..all.len() - cut]).expect("the folder is there");
        let refused = refusal(&server, &["--aof-load-truncated", "no"]);
        assert!(refused.contains(&format!("whole up to offset {}", first.len())), "{refused}");
        server.start_again();
        let mut client = connected(&server);
        assert_eq!(client.run("DBSIZE"), Value::Integer(1), "{cut}");
        ok(client.run("SET c 3"));
        server.restart();
        assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(2), "{cut}: written behind the cut");
        server.stop();
    }
}

#[test]
fn an_end_is_cut_off_where_only_empty_parts_follow() {
    let whole = requests(&["SELECT 0", "SET a 1"]);
    let mut server = with_increment(&[&whole[..], b"*2\r\n$3"].concat());
    let next = folder(&server).join("appendonly.aof.2.incr.aof");
    let two = manifest(&server) + "file appendonly.aof.2.incr.aof seq 2 type i\n";
    fs::write(folder(&server).join("appendonly.aof.manifest"), two).expect("the folder is there");
    fs::write(&next, request("SET b 1")).expect("the folder is there");
    assert!(refusal(&server, &[]).contains("the truncated file is not the last file"));
    fs::write(&next, b"").expect("the folder is there");
    server.start_again();
    let mut client = connected(&server);
    assert_eq!(client.run("DBSIZE"), Value::Integer(1));
    ok(client.run("SET b 1"));
    server.restart();
    assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(2));
    assert_eq!(read(&server, "appendonly.aof.1.incr.aof"), whole);
}

#[test]
fn a_transaction_is_loaded_whole_or_not_at_all() {
    let before = requests(&["SELECT 0", "SET a 1"]);
    let transaction = requests(&["MULTI", "SET b 1", "SET c 1", "EXEC"]);
    let all = [&before[..], &transaction].concat();
    let mut server = with_increment(&all);
    let path = folder(&server).join("appendonly.aof.1.incr.aof");
    for cut in 1..transaction.len() {
        // Each byte of the last request, and a few before that.
        if cut > 20 && cut % 11 != 0 {
            continue;
        }
        fs::write(&path, &all[..all.len() - cut]).expect("the folder is there");
        server.start_again();
        assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(1), "{cut}");
        server.stop();
        assert_eq!(fs::read(&path).expect("it is there"), before, "{cut}");
    }
    fs::write(&path, &all).expect("the folder is there");
    server.start_again();
    assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(3));
}

#[test]
fn damage_is_refused_with_its_place() {
    let (first, last) = (requests(&["SELECT 0", "SET a 1"]), request("SET c 1"));
    let cases: [(&[u8], usize, &str); 6] = [
        (b"SET b 1\r\n", 0, "a request begins with '*'"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nbb\r\n$1\r\n1\r\n", 18, "an argument ends with a line end"),
        (b"\0\0\0\0\0\0\0\0", 0, "a request begins with '*'"),
        (b"*1\r\n$9\r\nNOCOMMAND\r\n", 0, "Unknown command 'NOCOMMAND'"),
        (b"*2\r\n$2\r\nNO\r\n$1\r\nx\r\n", 0, "unknown command 'NO', with args beginning with: 'x'"),
        (b"*2\r\n$6\r\nOBJECT\r\n$2\r\nNO\r\n", 0, "unknown subcommand 'NO'. Try OBJECT HELP."),
    ];
    let mut server = with_increment(b"");
    let path = folder(&server).join("appendonly.aof.1.incr.aof");
    for (damage, at, what) in cases {
        let bytes = [&first[..], damage, &last].concat();
        fs::write(&path, &bytes).expect("the folder is there");
        let refused = refusal(&server, &[]);
        assert!(refused.contains(what), "{what}: {refused}");
        assert!(refused.contains(&format!("at offset {}", first.len() + at)), "{what}: {refused}");
        assert_eq!(fs::read(&path).expect("it is there"), bytes, "nothing was changed");
    }
    let zeros = [&first[..], &[0; 100]].concat();
    fs::write(&path, &zeros).expect("the folder is there");
    refusal(&server, &["--aof-load-corrupt-tail-max-size", "99"]);
    assert_eq!(fs::read(&path).expect("it is there"), zeros);
    server.kill_hard();
    let arguments = ["--appendonly", "yes", "--aof-load-corrupt-tail-max-size", "100"];
    let other = start(&[&arguments[..], &["--dir", server.dir().to_str().expect("a name of text")]].concat());
    assert_eq!(connected(&other).run("DBSIZE"), Value::Integer(1));
    assert_eq!(fs::read(&path).expect("it is there"), first);
}

/// Without a library that it holds, a log leads to another state, which the next rewrite would keep.
#[test]
fn a_library_that_is_refused_ends_the_start() {
    let library = "#!lua name=lib\nlocal t = {} for i = 1, 100000 do t[i] = 'x' .. i end\n\
                   redis.register_function('f', function() return #t end)";
    let load = encode(&["FUNCTION", "LOAD", library]);
    let in_transaction = [request("MULTI"), load.clone(), request("SET a 1"), request("EXEC")].concat();
    for bytes in [load, in_transaction] {
        let mut server = with_increment(&bytes);
        let refused = refusal(&server, &["--lua-memory-limit", "1mb"]);
        assert!(
            refused.contains("A library of functions was refused reading the append only file "),
            "{refused}"
        );
        let path = folder(&server).join("appendonly.aof.1.incr.aof");
        assert_eq!(fs::read(&path).expect("it is there"), bytes, "nothing was changed");
        server.start_again();
        assert_eq!(connected(&server).run("FCALL f 0"), Value::Integer(100_000));
    }
}

#[test]
fn a_manifest_that_is_none_and_a_part_that_is_missing_are_refused() {
    let server = with_increment(b"");
    let path = folder(&server).join("appendonly.aof.manifest");
    fs::write(&path, "file ../x seq 1 type b\n").expect("the folder is there");
    let refused = refusal(&server, &[]);
    assert!(refused.contains("FATAL AOF MANIFEST FILE ERROR"), "{refused}");
    assert!(refused.contains("at line 1") && refused.contains("File can't be a path"), "{refused}");
    fs::write(&path, "file gone seq 1 type b\n").expect("the folder is there");
    let refused = refusal(&server, &[]);
    assert!(
        refused.contains("Unable to obtain the AOF file gone length. stat: No such file or directory"),
        "{refused}"
    );
}

/// The manifest says what is loaded, and nothing else does.
#[test]
fn a_file_that_is_no_part_does_not_come_back() {
    let mut server = with_increment(&requests(&["SELECT 0", "SET stale 1"]));
    fs::remove_file(folder(&server).join("appendonly.aof.manifest")).expect("it is there");
    server.start_again();
    let mut client = connected(&server);
    assert_eq!(client.run("DBSIZE"), Value::Integer(0));
    ok(client.run("SET a 1"));
    server.restart();
    let mut client = connected(&server);
    assert_eq!((client.run("DBSIZE"), client.run("EXISTS a")), (Value::Integer(1), Value::Integer(1)));
}

/// Where no increment is left numbers begin anew: with the name of one that is still to be removed its
/// requests would be loaded once more, and then all that followed would be removed.
#[test]
fn no_increment_has_the_name_of_one_that_is_history() {
    let mut server = start(&[ALWAYS, &["--aof-disable-auto-gc", "yes"]].concat());
    let mut client = server.client();
    assert_eq!(client.run("INCR n"), Value::Integer(1));
    ok(client.run("CONFIG SET appendonly no"));
    rewrite(&mut client);
    server.restart();
    assert_eq!(connected(&server).run("INCR n"), Value::Integer(2));
    server.restart();
    let mut client = connected(&server);
    assert_eq!(client.run("INCR n"), Value::Integer(3));
    let [base, increment] =
        ["file appendonly.aof.2.base.rdb seq 2 type b\n", "file appendonly.aof.2.incr.aof seq 2 type i\n"];
    let history =
        "file appendonly.aof.1.incr.aof seq 1 type h\nfile appendonly.aof.1.base.rdb seq 1 type h\n";
    assert_eq!(manifest(&server), [base, history, increment].concat());
    ok(client.run("CONFIG SET aof-disable-auto-gc no"));
    assert_eq!(names(&server).len(), 3, "{:?}", names(&server));
    server.stop();
    // As Redis leaves it, which gives the name again.
    let twice = [base, "file appendonly.aof.2.incr.aof seq 2 type h\n", increment].concat();
    fs::write(folder(&server).join("appendonly.aof.manifest"), twice).expect("the folder is there");
    server.start_again();
    ok(connected(&server).run("CONFIG SET aof-disable-auto-gc no"));
    assert_eq!(manifest(&server), [base, increment].concat());
    server.restart();
    assert_eq!(connected(&server).run("INCR n"), Value::Integer(4));
}

/// Whoever wrote the file was not refused: what is told has the place.
#[test]
fn what_is_refused_while_loading_is_told_with_its_place() {
    let before = requests(&["SELECT 0", "SET a 1"]);
    let transaction = requests(&["MULTI", "RPUSH a x", "SET b 1", "RPUSH a y"]);
    let behind = [transaction.clone(), request("EXEC"), request("RPUSH a z")].concat();
    let mut server = with_increment(&[&before[..], &behind].concat());
    server.start_again();
    assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(2));
    let at = before.len() + transaction.len();
    let first = format!("holds what is refused at offset {at}: 2 of the transaction's requests");
    assert!(server.log().contains(&first), "{}", server.log());
    assert!(
        server.log().contains("3 requests of the append only file appendonly.aof.1.incr.aof were refused")
    );
    server.stop();
    let path = folder(&server).join("appendonly.aof.1.incr.aof");
    fs::write(path, [before, request("RPUSH a z")].concat()).expect("the folder is there");
    let refused = refusal(&server, &["--propagation-error-behavior", "panic"]);
    assert!(refused.contains("refused at offset 50: WRONGTYPE"), "{refused}");
    server.start_again();
    connected(&server);
    assert!(
        server.log().contains("refused at offset 50: WRONGTYPE Operation against a key"),
        "{}",
        server.log()
    );
}

#[test]
fn a_single_file_of_old_times_moves_into_the_folder() {
    let mut saved = start(&[]);
    let mut client = saved.client();
    ok(client.run("SET dumped 1"));
    ok(client.run("SAVE"));
    saved.stop();
    let dump = fs::read(saved.dir().join("dump.rdb")).expect("it was saved");
    let plain = requests(&["SELECT 0", "SET a 1", "SET b 1"]);
    for (bytes, keys) in [(plain.clone(), 2), ([&dump[..], &plain].concat(), 3)] {
        let mut server = start(ALWAYS);
        server.stop();
        fs::remove_dir_all(folder(&server)).expect("it is there");
        fs::write(server.dir().join("appendonly.aof"), &bytes).expect("the folder is there");
        server.start_again();
        let mut client = connected(&server);
        assert_eq!(client.run("DBSIZE"), Value::Integer(keys));
        ok(client.run("SET more 1"));
        assert!(!server.dir().join("appendonly.aof").exists());
        let expected = "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
        assert_eq!(manifest(&server), expected);
        server.restart();
        assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(keys + 1));
        // As after a crash between the manifest and the move.
        server.stop();
        fs::rename(folder(&server).join("appendonly.aof"), server.dir().join("appendonly.aof"))
            .expect("moved");
        fs::write(folder(&server).join("appendonly.aof.manifest"), "file appendonly.aof seq 1 type b\n")
            .expect("the folder is there");
        server.start_again();
        assert_eq!(connected(&server).run("DBSIZE"), Value::Integer(keys));
    }
}
