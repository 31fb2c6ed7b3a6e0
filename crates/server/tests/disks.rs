//! Saving to disks that fail: full, read-only, closed to the server, limited; and starting from files that
//! cannot be read. Without privileges some of them cannot be made: then the test says so, and the faults of
//! src/faults.rs stand for them.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{info, read_dump, save_in_background};
use resp::Value;
use testkit::client::{error, ok};
use testkit::{Client, Server, unprivileged};

const PROGRAM: &str = env!("CARGO_BIN_EXE_onefold-server");
const SETTINGS: [&str; 6] =
    ["--save", "100000 1", "--enable-protected-configs", "yes", "--rdbcompression", "no"];

/// Keys of 1,000 bytes.
fn fill(client: &mut Client, keys: usize) {
    let value = "x".repeat(1000);
    let set = |key: usize| ["SET".into(), format!("key:{key}"), value.clone()].to_vec();
    let requests: Vec<Vec<String>> = (0..keys).map(set).collect();
    client.pipeline(&requests).into_iter().for_each(ok);
}

/// A background save fails for this reason; the dump stays as it was, and nothing stays beside it.
fn check_failure(server: &Server, client: &mut Client, dump: &Path, reason: &str) {
    let (before, changes) = (fs::read(dump).ok(), info(client, "rdb_changes_since_last_save"));
    let temporary = dump.with_file_name(format!("temp-{}.rdb", server.pid()));
    save_in_background(client);
    assert!(server.log().contains(reason), "{reason}\n{}", server.log());
    assert_eq!(info(client, "rdb_last_bgsave_status"), "err");
    assert_eq!(info(client, "rdb_changes_since_last_save"), changes);
    assert!(error(client.run("SET b 1")).starts_with("MISCONF "));
    assert_eq!(error(client.run("SAVE")), "ERR");
    assert!(fs::read(dump).ok() == before, "the old dump has changed");
    assert!(!temporary.exists(), "the temporary file is still there");
}

/// As [`check_failure`], in the folder that CONFIG SET makes the server's own.
fn check_folder(server: &Server, client: &mut Client, folder: &Path, reason: &str) {
    ok(client.call(&["CONFIG", "SET", "dir", folder.to_str().expect("plain text")]));
    check_failure(server, client, &folder.join("dump.rdb"), reason);
}

fn check_good(client: &mut Client, dump: &Path) {
    save_in_background(client);
    assert_eq!(info(client, "rdb_last_bgsave_status"), "ok");
    assert_eq!(info(client, "rdb_changes_since_last_save"), "0");
    let Value::Integer(keys) = client.run("DBSIZE") else { panic!("DBSIZE is a number") };
    assert_eq!(read_dump(dump).expect("a whole dump").len(), keys as usize);
    ok(client.run("SET a 3"));
}

/// RLIMIT_FSIZE: the kernel would end a process that does not say otherwise.
#[test]
fn a_file_that_may_not_grow_fails_the_save_and_not_the_server() {
    let server = Server::start_after(PROGRAM, &SETTINGS, "ulimit -f 2048");
    let (mut client, dump) = (server.client(), server.dir().join("dump.rdb"));
    ok(client.run("SET a 1"));
    save_in_background(&mut client);
    fill(&mut client, 3000);
    check_failure(&server, &mut client, &dump, "Write error saving DB on disk(write): File too large");
    ok(client.run("CONFIG SET stop-writes-on-bgsave-error no"));
    for key in 100..3000 {
        client.call(&["DEL", &format!("key:{key}")]);
    }
    check_good(&mut client, &dump);
}

/// A file system of its own for the server; the words that make it so, if this process may do that.
fn namespace() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] =
        [&["unshare", "--mount"], &["unshare", "--user", "--map-root-user", "--mount"]];
    let works = |words: &&&[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/tmp"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    WAYS.iter().find(works).copied()
}

#[test]
fn a_full_disk_and_one_that_is_sealed() {
    let Some(namespace) = namespace() else {
        eprintln!("SKIPPED: no file system can be mounted here");
        return;
    };
    let mount = "mkdir {dir}/small {dir}/sealed && mount -t tmpfs -o size=2m,mode=777 tmpfs {dir}/small \
                 && mount -t tmpfs -o ro tmpfs {dir}/sealed && exec \"$0\" \"$@\"";
    let wrapper = [namespace, &["/bin/sh", "-c", mount]].concat();
    let arguments = [&SETTINGS[..], &["--dir", "{dir}/small"]].concat();
    let server = Server::start_under(PROGRAM, &arguments, &wrapper);
    let mut client = server.client();
    // What the server sees there, this process sees only through the server.
    let seen = PathBuf::from(format!("/proc/{}/root", server.pid()));
    let inside = |path: &Path| seen.join(path.strip_prefix("/").expect("an absolute path"));
    let dump = inside(&server.dir().join("small/dump.rdb"));
    ok(client.run("SET a 1"));
    save_in_background(&mut client);
    fill(&mut client, 3000);
    check_failure(
        &server,
        &mut client,
        &dump,
        "Write error saving DB on disk(write): No space left on device",
    );
    assert_eq!(read_dump(&dump).expect("the old dump")[&(0, b"a".to_vec())], b"1");
    check_folder(&server, &mut client, &server.dir().join("sealed"), "for saving: Read-only file system");
    let home = server.dir().to_str().expect("plain text").to_string();
    ok(client.call(&["CONFIG", "SET", "dir", &home]));
    check_good(&mut client, &server.dir().join("dump.rdb"));
    // The full one is good again as soon as there is room.
    ok(client.call(&["CONFIG", "SET", "dir", &format!("{home}/small")]));
    ok(client.run("FLUSHALL"));
    fill(&mut client, 500);
    check_good(&mut client, &dump);
}

#[test]
fn a_folder_that_is_closed_to_the_server() {
    let Some(wrapper) = unprivileged(Path::new(PROGRAM)) else {
        eprintln!("SKIPPED: the server cannot be started without privileges here");
        return;
    };
    let server = Server::start_under(PROGRAM, &SETTINGS, wrapper);
    let mut client = server.client();
    let folder = |name: &str, mode: u32| {
        let path = server.dir().join(name);
        fs::create_dir(&path).expect("nothing has that name");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("our own folder");
        path
    };
    let (open, closed) = (folder("open", 0o777), folder("closed", 0o555));
    fs::write(closed.join("dump.rdb"), "an older one").ok();
    ok(client.run("SET a 1"));
    check_folder(&server, &mut client, &closed, "for saving: Permission denied");
    ok(client.call(&["CONFIG", "SET", "dir", open.to_str().expect("plain text")]));
    check_good(&mut client, &open.join("dump.rdb"));
}

/// The folder goes while the server is in it. Another of the same name is not the one the server is in, until
/// it is told the name again.
#[test]
fn a_folder_that_is_removed_and_made_again() {
    let server = Server::start(PROGRAM, &SETTINGS);
    let mut client = server.client();
    let folder = server.dir().join("folder");
    let shown = folder.to_str().expect("plain text").to_string();
    fs::create_dir(&folder).expect("nothing has that name");
    ok(client.call(&["CONFIG", "SET", "dir", &shown]));
    ok(client.run("SET a 1"));
    save_in_background(&mut client);
    fs::remove_dir_all(&folder).expect("it is there");
    for _ in 0..2 {
        save_in_background(&mut client);
        assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "err");
        assert!(server.log().contains("(in server root dir unknown) for saving: No such file or directory"));
        fs::create_dir(&folder).ok();
    }
    ok(client.call(&["CONFIG", "SET", "dir", &shown]));
    check_good(&mut client, &folder.join("dump.rdb"));
}

/// A dump that is there and cannot be read keeps the server from starting: it would save an empty one.
#[test]
fn no_start_from_a_file_that_cannot_be_read() {
    let folder = std::env::temp_dir().join(format!("onefold-unreadable-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let check = |reason: &str| {
        for recover in [&[][..], &["--recover"]] {
            let output = Command::new("timeout")
                .args(["60", PROGRAM, "--port", "0", "--unixsocket"])
                .arg(folder.with_extension("sock"))
                .arg("--dir")
                .arg(&folder)
                .args(recover)
                .stdin(Stdio::null())
                .output()
                .expect("the server's program starts");
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains(reason) && text.contains("Fatal error loading the DB"), "{text}");
        }
        let names: Vec<_> = fs::read_dir(&folder).expect("it is there").flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    };
    let dump = folder.join("dump.rdb");
    fs::create_dir(&dump).expect("nothing has that name");
    check("Is a directory");
    fs::remove_dir(&dump).expect("it is empty");
    // The beginning of a process's memory: reading it is an I/O error.
    symlink("/proc/self/mem", &dump).expect("nothing has that name");
    check("Input/output error");
    fs::remove_file(&dump).expect("it is there");
    symlink("dump.rdb", &dump).expect("nothing has that name");
    check("Too many levels of symbolic links");
    fs::remove_dir_all(&folder).expect("it is there");
    fs::remove_file(folder.with_extension("sock")).ok();
}
