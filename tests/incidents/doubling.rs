//! A loop of evictions that took 55 seconds: the table doubled when memory was full, and millions of keys had
//! to give way to its larger half; or 512 MB more in one go. Here keys are counted while their number passes
//! many powers of two, and then while memory is full: no step takes much, or makes more keys go than come.

use testkit::{Client, Server, onefold};

use super::{number, ok};

const MEMORY: u64 = 24 << 20;
const BATCH: u64 = 500;
/// What so many keys take, and a little of the tables.
const STEP_MOST: u64 = MEMORY / 100;
/// More than there is room for.
const KEYS: u64 = 1_500_000;

/// What INFO tells after a batch.
struct Step {
    used: u64,
    evicted: u64,
    keys: i64,
}

fn add(client: &mut Client, first: u64) -> Step {
    let set = |key: u64| vec!["SET".to_string(), format!("key:{key}"), "value".to_string()];
    let requests: Vec<Vec<String>> = (first..first + BATCH).map(set).collect();
    client.pipeline(&requests).into_iter().for_each(ok);
    Step {
        used: number(client, "used_memory"),
        evicted: number(client, "evicted_keys"),
        keys: client.run("DBSIZE").as_i64().expect("a number"),
    }
}

#[test]
fn a_table_that_grows_takes_little_at_a_time() {
    let _turn = super::turn();
    let memory = MEMORY.to_string();
    let limits = ["--save", "", "--maxmemory", &memory, "--maxmemory-policy", "allkeys-lru"];
    let server = Server::start(onefold(), &limits);
    let mut client = server.client();
    let mut last = add(&mut client, 0);
    let mut most = last.keys;
    let (mut step_most, mut evicted_most) = (0, 0);
    for first in (BATCH..KEYS).step_by(BATCH as usize) {
        let step = add(&mut client, first);
        step_most = step_most.max(step.used.saturating_sub(last.used));
        evicted_most = evicted_most.max(step.evicted - last.evicted);
        most = most.max(step.keys);
        last = step;
    }
    println!("{most} keys at most, {} in the end, step {step_most}, evicted {evicted_most}", last.keys);
    assert!(most > 1 << 18, "{most} keys are too few to tell");
    assert!(step_most <= STEP_MOST, "{BATCH} keys took {step_most} bytes");
    assert!(evicted_most <= 10 * BATCH, "{evicted_most} keys went for {BATCH}");
    assert!(last.keys > most / 100 * 95, "{} keys of {most} are left", last.keys);
    assert!(last.used <= MEMORY + STEP_MOST, "{}", last.used);
}
