//! A process that occupied 80 GB with `maxmemory 45gb`: nine of ten keys had gone, at random, and others of
//! another size came, for which there was no room between those that were left. Onefold lets those who write
//! wait until pages come free.

use std::path::Path;

use base::random::Rng;
use testkit::{Client, Server, onefold, redis};

use super::{number, ok};

const MEMORY: u64 = 64 << 20;
/// What is not in `maxmemory`, as in the hostile mix, and what the process may hold beyond both.
const FIXED: u64 = 12 << 20;
const BEYOND: u64 = MEMORY / 20;
/// What an entry takes beside its value, about.
const ENTRY_LEN: usize = 60;
const VALUE_LENS: [usize; 9] = [100, 1000, 10, 100, 1000, 10, 100, 1000, 10];

#[test]
fn sizes_that_shift_leave_no_holes_beyond_the_limit() {
    let _turn = super::turn();
    let server = start(onefold());
    let mut client = server.client();
    let peak = shift_sizes(&server, &mut client);
    assert!(peak <= MEMORY + BEYOND + FIXED, "{peak} bytes were occupied");
    ok(client.run("SET key value"));
    assert!(number(&mut client, "maxmemory_delayed_requests") > 0, "nobody waited for pages");
}

#[test]
fn sizes_that_shift_leave_holes_in_redis() {
    let _turn = super::turn();
    let Some(program) = redis() else {
        eprintln!("SKIPPED: redis-server is not installed");
        return;
    };
    let server = start(program);
    let peak = shift_sizes(&server, &mut server.client());
    assert!(peak > MEMORY + 2 * BEYOND + FIXED, "{peak} bytes were occupied, no more");
}

fn start(program: impl AsRef<Path>) -> Server {
    let memory = MEMORY.to_string();
    Server::start(program, &["--save", "", "--maxmemory", &memory, "--maxmemory-policy", "allkeys-lru"])
}

/// Fills memory with values of one length after the other, and deletes most before the next. The most that
/// the process occupied, but for the program's text.
fn shift_sizes(server: &Server, client: &mut Client) -> u64 {
    let (mut rng, mut peak) = (Rng::from_seed(1), 0);
    let mut look = || peak = peak.max(server.status_bytes("RssAnon") + server.status_bytes("RssShmem"));
    for (cycle, len) in VALUE_LENS.into_iter().enumerate() {
        let value = "v".repeat(len);
        let count = MEMORY as usize / (len + ENTRY_LEN);
        let set = |key: usize| vec!["SET".into(), format!("{cycle}:{key}"), value.clone()];
        pipeline(client, (0..count).map(set), &mut look);
        let doomed = (0..count).filter(|_| rng.below(10) != 0);
        pipeline(client, doomed.map(|key| vec!["DEL".into(), format!("{cycle}:{key}")]), &mut look);
    }
    peak
}

fn pipeline(client: &mut Client, requests: impl Iterator<Item = Vec<String>>, mut look: impl FnMut()) {
    let requests: Vec<_> = requests.collect();
    for some in requests.chunks(500) {
        for reply in client.pipeline(some) {
            assert!(!reply.is_error(), "{reply:?}");
        }
        look();
    }
}
