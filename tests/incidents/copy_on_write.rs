//! "Plan twice the memory": under a write load, a fork's copies come near to the size of the data. All keys
//! are overwritten while they are saved to a slow disk; Onefold's peak grows by a fixed amount.

use std::fs;
use std::path::Path;

use testkit::{Client, Server, Value, onefold, redis};

use super::{begin_save, number, ok, wait_for};

const KEYS: usize = 250_000;
const VALUE_LEN: usize = 400;
const DATA: u64 = (KEYS * VALUE_LEN) as u64;
/// The memory a save may take: so much, and a fifth of a byte for each key.
const BOUND: u64 = (32 << 20) + KEYS as u64 / 5;

#[test]
fn the_peak_of_a_save_is_bounded() {
    let _turn = super::turn();
    let (grown, reported) = overwrite_during_save(&onefold(), &["--snapshot-write-rate", "20mb"]);
    assert!(grown <= BOUND, "{grown} bytes more than without a save, {reported} reported");
    assert!((1 << 20..=BOUND).contains(&reported), "{reported}: writers come before a slow disk");
    match redis() {
        Some(program) => {
            // A pause after each key makes the disk slow.
            let (_, copied) = overwrite_during_save(&program, &["--rdb-key-save-delay", "20"]);
            assert!(copied > DATA / 2, "a fork copies what is written: {copied} of {DATA}");
        }
        None => eprintln!("SKIPPED: redis-server is not installed"),
    }
}

/// Bytes that the process grew by during a save in which every key was overwritten, and what INFO says that
/// the save took.
fn overwrite_during_save(program: &Path, arguments: &[&str]) -> (u64, u64) {
    let settings = ["--save", "", "--rdbcompression", "no"];
    let server = Server::start(program, &[&settings, arguments].concat());
    let mut client = server.client();
    write_all(&mut client, b'a');
    // What the first round left free is used by the second, with or without a save.
    write_all(&mut client, b'b');
    // From here on the process's peak is counted anew.
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("an own process");
    let before = server.status_bytes("VmRSS");
    begin_save(&mut client);
    write_all(&mut client, b'c');
    let grown = server.status_bytes("VmHWM").saturating_sub(before);
    client.set_timeout(None);
    wait_for(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(super::field(&mut client, "rdb_last_bgsave_status").as_deref(), Some("ok"));
    let reported = number(&mut client, "rdb_last_cow_size");
    (grown, reported)
}

fn write_all(client: &mut Client, byte: u8) {
    let value = vec![byte; VALUE_LEN];
    for first in (0..KEYS).step_by(1000) {
        let request =
            |key: usize| vec![b"SET".to_vec(), format!("key:{key:012}").into_bytes(), value.clone()];
        let requests: Vec<_> = (first..first + 1000).map(request).collect();
        client.pipeline(&requests).into_iter().for_each(|reply: Value| ok(reply));
    }
}
