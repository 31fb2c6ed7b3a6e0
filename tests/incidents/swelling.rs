//! Memory that swells with every save, and saves that stop the server for as long as the fork takes. Onefold
//! shows what a save costs in the fields that operators know, forks never, and its dump can be judged and
//! mended.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use testkit::{Server, onefold};

use super::{begin_save, field, number, ok, wait_for};

#[test]
fn info_tells_what_a_save_costs() {
    let _turn = super::turn();
    let server = Server::start(onefold(), &["--save", ""]);
    let mut client = server.client();
    for key in 0..1000 {
        ok(client.call(&["SET", &format!("key:{key}"), "value"]));
    }
    assert_eq!(number(&mut client, "rdb_changes_since_last_save"), 1000);
    let saved_before = number(&mut client, "rdb_last_save_time");
    begin_save(&mut client);
    wait_for(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(number(&mut client, "rdb_changes_since_last_save"), 0);
    assert_eq!(field(&mut client, "rdb_last_bgsave_status").as_deref(), Some("ok"));
    assert!(number(&mut client, "rdb_last_save_time") >= saved_before);
    assert_eq!(number(&mut client, "latest_fork_usec"), 0);
    assert_eq!(number(&mut client, "total_forks"), 0);
    assert!(number(&mut client, "rdb_last_cow_size") < 32 << 20);
    for name in ["rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec", "snapshot_cut_usec"] {
        assert!(field(&mut client, name).is_some(), "INFO has no {name}");
    }
}

/// Whichever thread might have started them.
fn children(server: &Server) -> String {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the server runs");
    let children = threads.flatten().map(|thread| fs::read_to_string(thread.path().join("children")));
    // A thread may end meanwhile.
    children.map(Result::unwrap_or_default).collect()
}

#[test]
fn a_save_is_no_child_process() {
    let _turn = super::turn();
    let server = Server::start(onefold(), &["--save", "", "--rdb-key-save-delay", "1000"]);
    let mut client = server.client();
    for key in 0..2000 {
        ok(client.call(&["SET", &format!("key:{key}"), "value"]));
    }
    begin_save(&mut client);
    let mut looks = 0;
    while field(&mut client, "rdb_bgsave_in_progress").as_deref() == Some("1") {
        assert_eq!(children(&server), "");
        looks += 1;
    }
    assert!(looks > 10, "only {looks} looks at a running save");
}

/// The server's neighbour, which judges dumps.
fn check_rdb() -> PathBuf {
    onefold().with_file_name("onefold-check-rdb")
}

#[test]
fn a_damaged_dump_is_judged_and_mended() {
    let _turn = super::turn();
    let mut server = Server::start(onefold(), &["--save", "", "--rdbcompression", "no"]);
    let mut client = server.client();
    for key in 0..1000 {
        ok(client.call(&["SET", &format!("key:{key}"), "value"]));
    }
    ok(client.run("SAVE"));
    let (path, mended) = (server.dir().join("dump.rdb"), server.dir().join("mended.rdb"));
    server.kill_hard();
    let mut dump = fs::read(&path).expect("it was saved");
    dump.truncate(dump.len() / 2);
    fs::write(&path, &dump).expect("it can be written");
    let output = Command::new(check_rdb()).arg(&path).output().expect("it is built beside the server");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && text.contains("[offset "), "{text}");
    let output = Command::new(check_rdb()).arg(&path).arg("--repair").arg(&mended).output();
    let output = output.expect("it is built beside the server");
    assert!(output.status.success() && mended.exists(), "{}", String::from_utf8_lossy(&output.stdout));
    fs::rename(&mended, &path).expect("both are in one folder");
    server.start_again();
    let mut client = server.client();
    wait_for(&mut client, "loading", "0");
    let kept: usize = (0..1000).filter(|key| super::is_there(&mut client, *key)).count();
    assert!((400..600).contains(&kept), "{kept} of 1000 keys in half of the file");
}
