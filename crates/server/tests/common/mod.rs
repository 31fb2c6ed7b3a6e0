//! Shared by the tests of the process: the server under test, and dump files read with the project's own
//! reader.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use rdb::{Item, Object, ReadOptions, Reader};
use resp::Value;
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Client, Server};

/// What a dump holds, by database and key: strings as they are, other values as the reader describes them.
pub type Dump = BTreeMap<(u64, Vec<u8>), Vec<u8>>;

/// A server with its own directory. It saves only when told to, unless `arguments` say otherwise.
pub fn start(arguments: &[&str]) -> Server {
    let mut all = vec!["--save", "", "--enable-protected-configs", "yes", "--enable-debug-command", "yes"];
    all.extend(arguments);
    Server::start(env!("CARGO_BIN_EXE_onefold-server"), &all)
}

/// What a server says that does not start from this folder.
pub fn refusal(folder: &Path, arguments: &[&str]) -> String {
    // One that starts all the same is ended, and has the wrong exit code.
    let output = Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_onefold-server"), "--port", "0", "--unixsocket", "socket"])
        .args(["--save", "", "--dir"])
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the server's program starts");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Reads a dump to its checksum; the error is the reader's.
pub fn read_dump(path: &Path) -> Result<Dump, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut reader = Reader::new(file, &ReadOptions::default()).map_err(|error| error.to_string())?;
    let (mut dump, mut db) = (Dump::new(), 0);
    loop {
        match reader.next().map_err(|error| error.to_string())? {
            Item::End => return Ok(dump),
            Item::SelectDb(number) => db = number,
            Item::Record(record) => {
                let text = match record.value {
                    Object::Bytes(bytes) => bytes,
                    Object::Int(number) => number.to_string().into_bytes(),
                    other => format!("{other:?}").into_bytes(),
                };
                let twice = dump.insert((db, record.key), text);
                assert!(twice.is_none(), "a key comes twice");
            }
            _ => {}
        }
    }
}

/// A field of INFO.
pub fn info(client: &mut Client, field: &str) -> String {
    let text = match client.run("INFO everything") {
        Value::Bulk(Some(text)) => text,
        Value::Verbatim { text, .. } => text,
        other => panic!("INFO answers {other:?}"),
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("INFO has no {field}")).to_string()
}

/// Asks until INFO shows this value. Patient: a busy disk can take tens of seconds for one fsync.
pub fn wait_for_info(client: &mut Client, field: &str, value: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(180);
    while info(client, field) != value {
        assert!(std::time::Instant::now() < deadline, "{field} does not become {value}");
    }
}

/// Looks until the log has this text.
pub fn wait_for_log(server: &Server, text: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(180);
    while !server.log().contains(text) {
        assert!(std::time::Instant::now() < deadline, "no {text} in\n{}", server.log());
    }
}

pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a process id");
    kill_process(pid, signal).expect("the process is there");
}

/// BGSAVE, until it has ended.
pub fn save_in_background(client: &mut Client) {
    assert_eq!(client.run("BGSAVE"), Value::Simple(b"Background saving started".to_vec()));
    wait_for_info(client, "rdb_bgsave_in_progress", "0");
}
