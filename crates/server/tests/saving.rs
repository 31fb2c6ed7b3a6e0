//! Saving without a fork, from the outside: the file is always whole, equals the state at one instant,
//! survives a kill at any moment, and a failure leaves the old one in place and says so.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use base::random::Rng;
use common::{Dump, info, read_dump, save_in_background, start, wait_for_info};
use resp::Value;
use testkit::client::{error, ok};
use testkit::{Client, Server};

const KEYS: usize = 1000;

/// Sets every key to `version`, in one transaction.
fn write_version(client: &mut Client, version: i64) {
    let mut request = vec!["MSET".to_string()];
    for key in 0..KEYS {
        request.push(format!("key:{key}"));
        request.push(format!("{version:>100}"));
    }
    ok(client.call(&request));
}

/// The one version that all keys of a dump have.
fn version_of(dump: &Dump) -> i64 {
    let versions: Vec<i64> = dump.values().map(|value| number(value)).collect();
    assert_eq!(versions.len(), KEYS);
    assert!(versions.iter().all(|version| *version == versions[0]), "the file mixes two states");
    versions[0]
}

fn number(text: &[u8]) -> i64 {
    String::from_utf8_lossy(text).trim().parse().expect("values are versions")
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_dump() {
    const SEED: u64 = 20_261_121;
    println!("seed {SEED}");
    let mut rng = Rng::from_seed(SEED);
    let mut server = start(&["--rdbcompression", "no"]);
    let path = server.dir().join("dump.rdb");
    let mut client = server.client();
    write_version(&mut client, 0);
    ok(client.run("SAVE"));
    let (mut saved, mut kept) = (0, 0);
    // Round trips between BGSAVE and the kill, at most: chosen so that about half of the saves do not end.
    let mut patience = 32;
    for version in 1..=100 {
        write_version(&mut client, version);
        client.send(&["BGSAVE"]);
        for _ in 0..rng.below(patience) {
            client.send(&["PING"]);
            client.read_value();
        }
        server.kill_hard();
        let dump = read_dump(&path).expect("the dump is whole");
        let found = version_of(&dump);
        assert!(found == saved || found == version, "{found} is neither the old state nor the new one");
        kept += usize::from(found == saved);
        patience = if found == saved { patience * 5 / 4 + 1 } else { (patience * 3 / 4).max(1) };
        saved = found;
        server.start_again();
        client = server.client();
        wait_for_info(&mut client, "loading", "0");
        assert_eq!(client.run("DBSIZE"), Value::Integer(KEYS as i64));
    }
    println!("the old state was left {kept} times");
    assert!((5..=95).contains(&kept), "the kills do not fall into the saves: {kept}");
}

#[test]
fn what_a_killed_save_left_behind_does_not_disturb() {
    let mut server = start(&["--rdb-key-save-delay", "10000000"]);
    let mut client = server.client();
    ok(client.run("SET a 1"));
    client.run("BGSAVE");
    wait_for_info(&mut client, "rdb_bgsave_in_progress", "1");
    server.kill_hard();
    assert!(!server.dir().join("dump.rdb").exists());
    server.start_again();
    let mut client = server.client();
    assert_eq!(client.run("DBSIZE"), Value::Integer(0));
}

/// A group of keys that one client overwrites again and again, all in one transaction.
struct Group {
    id: usize,
    /// The last version that was sent, and the last that was answered.
    sent: AtomicI64,
    answered: AtomicI64,
}

const GROUP_KEYS: usize = 20;

impl Group {
    fn write(&self, client: &mut Client, version: i64) {
        self.sent.store(version, Ordering::SeqCst);
        let (id, value) = (self.id, version.to_string());
        let set = |key: String| vec!["SET".to_string(), key, value.clone()];
        let mut requests = vec![vec!["MULTI".to_string()]];
        requests.extend((0..GROUP_KEYS).map(|key| set(format!("group:{id}:{key}"))));
        // A key that changes its name with every version, and one that comes and goes.
        let name = |version: i64| format!("group:{id}:name:{}", version % 2);
        requests.push(vec!["DEL".to_string(), name(version - 1)]);
        requests.push(set(name(version)));
        requests.push(vec!["EXEC".to_string()]);
        let replies = client.pipeline(&requests);
        assert!(matches!(replies.last(), Some(Value::Array(Some(_)))), "{replies:?}");
        self.answered.store(version, Ordering::SeqCst);
    }

    /// All keys of the group have one version, and it is one of the instant of the cut.
    fn check(&self, dump: &Dump, earliest: i64, latest: i64) {
        let prefix = format!("group:{}:", self.id).into_bytes();
        let own: Vec<i64> = dump
            .iter()
            .filter(|((_, key), _)| key.starts_with(&prefix))
            .map(|(_, value)| number(value))
            .collect();
        assert_eq!(own.len(), GROUP_KEYS + 1, "a key of the group is missing or comes too much");
        assert!(own.iter().all(|version| *version == own[0]), "the file mixes states: {own:?}");
        assert!((earliest..=latest).contains(&own[0]), "{} is not in {earliest}..={latest}", own[0]);
    }
}

/// Stops the writers when a test's body ends, also when it ends in a panic: else they would write for ever.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_background_save_is_the_state_at_the_cut() {
    const FILLER: usize = 3000;
    let server = start(&["--rdb-key-save-delay", "20"]);
    let mut client = server.client();
    for key in 0..FILLER {
        client.send(&["SET", &format!("filler:{key}"), "0"]);
    }
    (0..FILLER).for_each(|_| ok(client.read_value()));
    let groups: Vec<Group> =
        (0..3).map(|id| Group { id, sent: AtomicI64::new(0), answered: AtomicI64::new(0) }).collect();
    let stop = AtomicBool::new(false);
    groups.iter().for_each(|group| group.write(&mut client, 1));
    thread::scope(|scope| {
        let _stopped = StopAtEnd(&stop);
        for group in &groups {
            let (mut own, stop) = (server.client(), &stop);
            scope.spawn(move || {
                let versions = 2..;
                versions
                    .take_while(|_| !stop.load(Ordering::Relaxed))
                    .for_each(|version| group.write(&mut own, version));
            });
        }
        for _ in 0..10 {
            let earliest: Vec<i64> =
                groups.iter().map(|group| group.answered.load(Ordering::SeqCst)).collect();
            assert_eq!(client.run("BGSAVE"), Value::Simple(b"Background saving started".to_vec()));
            let latest: Vec<i64> = groups.iter().map(|group| group.sent.load(Ordering::SeqCst)).collect();
            wait_for_info(&mut client, "rdb_bgsave_in_progress", "0");
            let dump = read_dump(&server.dir().join("dump.rdb")).expect("the dump is whole");
            assert_eq!(dump.len(), FILLER + groups.len() * (GROUP_KEYS + 1));
            for (at, group) in groups.iter().enumerate() {
                group.check(&dump, earliest[at], latest[at]);
            }
        }
    });
    assert!(groups.iter().all(|group| group.answered.load(Ordering::SeqCst) > 10), "nothing was overwritten");
}

#[test]
fn a_flush_during_a_save_is_not_in_the_file() {
    let server = start(&["--rdb-key-save-delay", "100"]);
    let mut client = server.client();
    write_version(&mut client, 7);
    client.run("BGSAVE");
    ok(client.run("FLUSHDB ASYNC"));
    ok(client.run("SET new 1"));
    wait_for_info(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(version_of(&read_dump(&server.dir().join("dump.rdb")).expect("whole")), 7);
    assert_eq!(client.run("DBSIZE"), Value::Integer(1));
}

#[test]
fn functions_are_saved_as_they_were_at_the_cut() {
    let mut server = start(&["--rdb-key-save-delay", "100"]);
    let mut client = server.client();
    write_version(&mut client, 7);
    let load = |client: &mut Client, name: &str| {
        let code = format!("#!lua name={name}\nredis.register_function('{name}', function() return 1 end)");
        assert_eq!(client.call(&["FUNCTION", "LOAD", &code]), Value::Bulk(Some(name.into())));
    };
    load(&mut client, "before");
    client.run("BGSAVE");
    ok(client.run("FUNCTION DELETE before"));
    load(&mut client, "meanwhile");
    assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "1");
    wait_for_info(&mut client, "rdb_bgsave_in_progress", "0");
    server.kill_hard();
    server.start_again();
    let mut client = server.client();
    wait_for_info(&mut client, "loading", "0");
    assert_eq!(client.run("FCALL before 0"), Value::Integer(1));
    assert!(matches!(client.run("FCALL meanwhile 0"), Value::Error(_)));
}

/// A dump must not bring back what was flushed: the save ends, and the file before it is left.
#[test]
fn a_flush_of_all_ends_a_save() {
    let server = start(&[]);
    let mut client = server.client();
    write_version(&mut client, 7);
    ok(client.run("SAVE"));
    ok(client.run("CONFIG SET rdb-key-save-delay 10000000"));
    for request in ["FLUSHALL", "FLUSHALL ASYNC"] {
        write_version(&mut client, 8);
        client.run("BGSAVE");
        assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "1");
        ok(client.run(request));
        assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "0", "{request}");
        assert_eq!(version_of(&read_dump(&server.dir().join("dump.rdb")).expect("whole")), 7);
    }
}

#[test]
fn with_save_points_a_flush_of_all_is_on_the_disk_when_it_is_answered() {
    let server = start(&["--save", "100000 100000", "--rdb-key-save-delay", "100"]);
    let mut client = server.client();
    let path = server.dir().join("dump.rdb");
    for request in ["FLUSHALL", "FLUSHALL ASYNC", "EXEC"] {
        write_version(&mut client, 7);
        save_in_background(&mut client);
        assert_eq!(version_of(&read_dump(&path).expect("whole")), 7);
        client.run("BGSAVE");
        if request == "EXEC" {
            ok(client.run("MULTI"));
            client.run("FLUSHALL");
        }
        client.run(request);
        assert_eq!(read_dump(&path).expect("whole").len(), 0, "{request}");
        assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "0");
        assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "0");
    }
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
}

/// A server whose background save does not end by itself.
fn saving() -> (Server, Client) {
    let server = start(&["--rdb-key-save-delay", "10000000"]);
    let mut client = server.client();
    ok(client.run("SET a 1"));
    client.run("BGSAVE");
    (server, client)
}

#[test]
fn one_save_at_a_time() {
    let (_server, mut client) = saving();
    assert_eq!(error(client.run("BGSAVE")), "ERR Background save already in progress");
    assert_eq!(error(client.run("SAVE")), "ERR Background save already in progress");
    assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "1");
    ok(client.run("CONFIG SET rdb-key-save-delay 0"));
}

/// Redis schedules a save behind the rewrite of an append-only file, never behind another save.
#[test]
fn no_background_save_follows_another() {
    let (_server, mut client) = saving();
    assert_eq!(error(client.run("BGSAVE SCHEDULE")), "ERR Background save already in progress");
    ok(client.run("MULTI"));
    client.run("BGSAVE");
    let replies = client.run("EXEC");
    let error = Value::Error(b"ERR Background save already in progress".to_vec());
    assert_eq!(replies.as_items(), Some(&[error][..]));
    assert_eq!(client.run("BGSAVE CANCEL"), Value::Simple(b"Background saving cancelled".to_vec()));
    assert_eq!(info(&mut client, "rdb_saves"), "1");
}

/// What INFO says of a save while it runs, and after a good one, a failed one and one in the foreground: as
/// Redis.
#[test]
fn info_follows_a_save_and_forgets_it() {
    let server = start(&["--rdb-key-save-delay", "10000000"]);
    let mut client = server.client();
    write_version(&mut client, 1);
    let check = |client: &mut Client, expected: &[(&str, &str)]| {
        for (field, value) in expected {
            assert_eq!(info(client, field), *value, "{field}");
        }
    };
    let idle = [
        ("current_cow_peak", "0"),
        ("current_cow_size", "0"),
        ("current_cow_size_age", "0"),
        ("current_fork_perc", "0.00"),
        ("current_save_keys_processed", "0"),
        ("current_save_keys_total", "0"),
        ("rdb_bgsave_in_progress", "0"),
        ("rdb_current_bgsave_time_sec", "-1"),
        ("latest_fork_usec", "0"),
    ];
    check(&mut client, &idle);
    check(&mut client, &[("rdb_last_bgsave_time_sec", "-1"), ("rdb_last_cow_size", "0")]);
    client.run("BGSAVE");
    wait_for_info(&mut client, "current_save_keys_total", "1000");
    wait_for_field(&mut client, "current_save_keys_processed", |keys| keys > 0);
    assert_ne!(info(&mut client, "current_fork_perc"), "0.00");
    assert_ne!(info(&mut client, "current_cow_peak"), "0");
    check(&mut client, &[("rdb_bgsave_in_progress", "1"), ("rdb_saves", "1")]);
    client.run("BGSAVE CANCEL");
    check(&mut client, &idle);
    // One that was cancelled is none that failed, and has saved nothing.
    check(&mut client, &[("rdb_last_bgsave_status", "ok"), ("rdb_changes_since_last_save", "1000")]);
    check(&mut client, &[("rdb_last_cow_size", "0")]);
    ok(client.run("CONFIG SET rdb-key-save-delay 0"));
    save_in_background(&mut client);
    check(&mut client, &idle);
    check(&mut client, &[("rdb_changes_since_last_save", "0"), ("rdb_saves", "2")]);
    let held = info(&mut client, "rdb_last_cow_size");
    assert_ne!(held, "0");
    // Neither a save in the foreground nor one that fails says anything of its memory.
    ok(client.run("SAVE"));
    check(&mut client, &idle);
    check(&mut client, &[("rdb_last_cow_size", &held), ("rdb_saves", "3")]);
    fs::create_dir(server.dir().join(format!("temp-{}.rdb", server.pid()))).expect("nothing has that name");
    save_in_background(&mut client);
    check(&mut client, &idle);
    check(
        &mut client,
        &[("rdb_last_cow_size", &held), ("rdb_last_bgsave_status", "err"), ("rdb_saves", "4")],
    );
    ok(client.run("CONFIG RESETSTAT"));
    check(&mut client, &[("rdb_saves", "0"), ("snapshot_cuts", "0"), ("rdb_last_bgsave_status", "err")]);
}

/// The base of an append-only file is a snapshot too.
#[test]
fn info_follows_a_rewrite_and_forgets_it() {
    let server = start(&["--appendonly", "yes", "--rdb-key-save-delay", "10000000"]);
    let mut client = server.client();
    write_version(&mut client, 1);
    client.run("BGREWRITEAOF");
    wait_for_info(&mut client, "current_save_keys_total", "1000");
    wait_for_field(&mut client, "current_save_keys_processed", |keys| keys > 0);
    assert_ne!(info(&mut client, "current_fork_perc"), "0.00");
    ok(client.run("CONFIG SET rdb-key-save-delay 0"));
    ok(client.run("CONFIG SET appendonly no"));
    wait_for_info(&mut client, "aof_rewrite_in_progress", "0");
    for field in ["current_save_keys_processed", "current_save_keys_total", "current_cow_size"] {
        assert_eq!(info(&mut client, field), "0", "{field}");
    }
}

/// Asks until a number of INFO is as wanted.
fn wait_for_field(client: &mut Client, field: &str, wanted: impl Fn(u64) -> bool) {
    while !wanted(info(client, field).parse().expect("a number")) {}
}

/// The save needs the shards that the transaction holds: EXEC must not wait for its end.
#[test]
fn a_save_is_cancelled_in_a_transaction() {
    let server = start(&["--rdb-key-save-delay", "10000000"]);
    let mut client = server.client();
    for begin in [&["BGSAVE"][..], &["MULTI", "BGSAVE"]] {
        ok(client.run("SET a 1"));
        begin.iter().for_each(|line| drop(client.run(line)));
        if begin.len() == 1 {
            ok(client.run("MULTI"));
        }
        for line in ["SET a 2", "FLUSHALL", "SET a 3", "BGSAVE CANCEL"] {
            assert_eq!(client.run(line), Value::Simple(b"QUEUED".to_vec()));
        }
        let replies = client.run("EXEC");
        let last = replies.as_items().and_then(|items| items.last().cloned());
        assert_eq!(last, Some(Value::Simple(b"Background saving cancelled".to_vec())));
        wait_for_info(&mut client, "rdb_bgsave_in_progress", "0");
        assert_eq!(info(&mut client, "mem_snapshot_buffer"), "0");
    }
    let left = fs::read_dir(server.dir()).expect("it is there").flatten();
    assert!(left.into_iter().all(|file| !file.file_name().to_string_lossy().starts_with("temp-")));
}

/// What a failed save held no longer counts, or writers would be delayed for good.
#[test]
fn a_failed_save_gives_its_memory_back() {
    let (server, mut client, _) = with_a_dump();
    // So much is written that the disk is found full while blocks are still coming.
    ok(client.run("CONFIG SET rdbcompression no"));
    for key in 0..5000 {
        client.send(&["SET", &format!("key:{key}"), &"x".repeat(1000)]);
    }
    (0..5000).for_each(|_| ok(client.read_value()));
    let temporary = server.dir().join(format!("temp-{}.rdb", server.pid()));
    std::os::unix::fs::symlink("/dev/full", &temporary).expect("nothing has that name");
    check_failure(&server, &mut client, "No space left on device");
    assert_eq!(info(&mut client, "mem_snapshot_buffer"), "0");
}

/// A server with a good dump of `a`=1, whose next background save is to fail.
fn with_a_dump() -> (Server, Client, PathBuf) {
    let server = start(&["--save", "100000 1"]);
    let mut client = server.client();
    ok(client.run("SET a 1"));
    save_in_background(&mut client);
    ok(client.run("SET a 2"));
    let path = server.dir().join("dump.rdb");
    (server, client, path)
}

fn check_failure(server: &Server, client: &mut Client, reason: &str) {
    save_in_background(client);
    assert!(server.log().contains(reason), "{}", server.log());
    assert!(server.log().contains("Background saving error"));
    assert_eq!(info(client, "rdb_last_bgsave_status"), "err");
    assert!(error(client.run("SET a 3")).starts_with("MISCONF "), "writes are refused after a failure");
}

#[test]
fn a_file_that_cannot_be_opened_leaves_the_old_dump() {
    let (server, mut client, path) = with_a_dump();
    let obstacle = server.dir().join(format!("temp-{}.rdb", server.pid()));
    fs::create_dir(&obstacle).expect("nothing has that name");
    check_failure(&server, &mut client, "Failed opening the temp RDB file");
    assert_eq!(read_dump(&path).expect("the old dump")[&(0, b"a".to_vec())], b"1");
    fs::remove_dir(&obstacle).expect("it is still a directory");
    save_in_background(&mut client);
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
    ok(client.run("SET a 3"));
    assert_eq!(read_dump(&path).expect("the new dump")[&(0, b"a".to_vec())], b"2");
}

#[test]
fn a_full_disk_leaves_the_old_dump() {
    let (server, mut client, path) = with_a_dump();
    // Writes to /dev/full fail as on a full disk.
    let temporary = server.dir().join(format!("temp-{}.rdb", server.pid()));
    std::os::unix::fs::symlink("/dev/full", &temporary).expect("nothing has that name");
    check_failure(&server, &mut client, "Write error saving DB on disk(write): No space left on device");
    assert_eq!(read_dump(&path).expect("the old dump")[&(0, b"a".to_vec())], b"1");
    assert!(!temporary.is_symlink(), "the temporary file is removed");
    save_in_background(&mut client);
    ok(client.run("SET a 3"));
}

#[test]
fn a_name_that_cannot_be_taken_leaves_nothing_behind() {
    let (server, mut client, path) = with_a_dump();
    fs::create_dir(server.dir().join("taken")).expect("nothing has that name");
    ok(client.run("CONFIG SET dbfilename taken"));
    check_failure(&server, &mut client, "Error moving temp DB file");
    assert!(
        !server.dir().join(format!("temp-{}.rdb", server.pid())).exists(),
        "the temporary file is removed"
    );
    assert_eq!(read_dump(&path).expect("the old dump")[&(0, b"a".to_vec())], b"1");
}

#[test]
fn a_folder_that_is_gone_stops_writes_until_there_is_another() {
    let (server, mut client, _) = with_a_dump();
    let folder = server.dir().join("folder");
    fs::create_dir(&folder).expect("nothing has that name");
    ok(client.call(&["CONFIG", "SET", "dir", folder.to_str().expect("plain text")]));
    fs::remove_dir(&folder).expect("it is empty");
    check_failure(&server, &mut client, "No such file or directory");
    assert_eq!(error(client.run("SAVE")), "ERR");
    ok(client.call(&["CONFIG", "SET", "dir", server.dir().to_str().expect("plain text")]));
    ok(client.run("SAVE"));
    ok(client.run("SET a 3"));
}

#[test]
fn save_points_start_a_save() {
    let server = start(&["--save", "1 2"]);
    let mut client = server.client();
    ok(client.run("SET a 1"));
    ok(client.run("SET b 1"));
    wait_for_info(&mut client, "rdb_saves", "1");
    wait_for_info(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "0");
    assert!(server.log().contains("2 changes in 1 seconds. Saving..."));
    assert_eq!(read_dump(&server.dir().join("dump.rdb")).expect("whole").len(), 2);
}

#[test]
fn the_end_saves_what_was_written_until_then() {
    let mut server = start(&["--save", "100000 1"]);
    let path = server.dir().join("dump.rdb");
    ok(server.client().run("SET a 1"));
    server.stop();
    assert_eq!(read_dump(&path).expect("whole")[&(0, b"a".to_vec())], b"1");
    let log = server.log();
    for line in [
        "Received SIGTERM scheduling shutdown...",
        "User requested shutdown...",
        "Saving the final RDB snapshot before exiting.",
        "DB saved on disk",
        "Redis is now ready to exit, bye bye...",
    ] {
        assert!(log.contains(line), "{log}");
    }
    server.start_again();
    ok(server.client().run("SET a 2"));
    server.client().send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait_for_end());
    assert_eq!(read_dump(&path).expect("whole")[&(0, b"a".to_vec())], b"1");
}

#[test]
fn no_end_without_the_data_unless_forced() {
    let (mut server, mut client, path) = with_a_dump();
    let obstacle = server.dir().join(format!("temp-{}.rdb", server.pid()));
    fs::create_dir(&obstacle).expect("nothing has that name");
    assert_eq!(error(client.run("SHUTDOWN")), "ERR Errors trying to SHUTDOWN. Check logs.");
    ok(client.run("SET a 3"));
    client.send(&["SHUTDOWN", "FORCE"]);
    assert!(server.wait_for_end());
    assert_eq!(read_dump(&path).expect("the old dump")[&(0, b"a".to_vec())], b"1");
}

#[test]
fn the_end_does_not_wait_for_a_background_save() {
    let mut server = start(&["--save", "100000 1", "--rdb-key-save-delay", "10000000"]);
    let mut client = server.client();
    ok(client.run("SET a 1"));
    client.run("BGSAVE");
    client.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait_for_end());
    let left = fs::read_dir(server.dir()).expect("it is there").flatten();
    assert!(left.into_iter().all(|file| !file.file_name().to_string_lossy().starts_with("temp-")));
}
