//! Operations reports about Redis, retold as tests: each does to Onefold what broke an instance in
//! production, and where the cause is the fork, does it to the installed redis-server too, which must show
//! the damage. One file for each incident; this one has what they share.

mod beyond_memory;
mod copy_on_write;
mod doubling;
mod failed_save;
mod no_room_to_fork;
mod script_floods;
mod shifting_sizes;
mod swelling;
mod told_of_evictions;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use testkit::client::{error, ok};
use testkit::{Client, Value};

/// One story at a time: each writes as much as the disk takes, and memory that waits for the disk is what
/// they are about.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A field of INFO, if there is one.
fn field(client: &mut Client, name: &str) -> Option<String> {
    let text = match client.run("INFO everything") {
        Value::Bulk(Some(text)) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("INFO answers {other:?}"),
    };
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(str::to_string)
}

fn number(client: &mut Client, name: &str) -> u64 {
    let text = field(client, name).unwrap_or_else(|| panic!("INFO has no {name}"));
    text.parse().unwrap_or_else(|_| panic!("{name} is {text}"))
}

/// Asks until INFO shows this value. Patient: a busy disk can take tens of seconds for one fsync.
fn wait_for(client: &mut Client, name: &str, value: &str) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while field(client, name).as_deref() != Some(value) {
        assert!(Instant::now() < deadline, "{name} does not become {value}");
    }
}

fn begin_save(client: &mut Client) {
    assert_eq!(client.run("BGSAVE"), Value::Simple(b"Background saving started".to_vec()));
}

fn is_there(client: &mut Client, key: usize) -> bool {
    client.call(&["EXISTS", &format!("key:{key}")]) == Value::from(1)
}
