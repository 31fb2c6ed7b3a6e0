//! How often servers that evict miss what is asked for, beside caches of as many keys that know exactly which
//! key was used least. The requests follow Zipf's law; what is missed is put in. Plots the share that is
//! missed by the room there is, and by `maxmemory-samples`.
//!
//! `cargo bench -p testkit --bench misses [SERVER...]`: Onefold's and the machine's Redis server, if none is
//! named.

use std::path::{Path, PathBuf};

use base::random::Rng;
use testkit::Value;
use testkit::caches::{Rule, Zipf, misses};
use testkit::client::Client;
use testkit::server::{Server, onefold, redis};

const POLICIES: &[(&str, Rule)] = &[("allkeys-lru", Rule::LeastRecent), ("allkeys-lfu", Rule::LeastFrequent)];
/// Megabytes of room beside what an empty server uses, of a hundred that all keys take; and samples.
const CASES: &[(u64, &str)] = &[(3, "5"), (6, "5"), (11, "5"), (22, "5"), (44, "5"), (11, "3"), (11, "10")];
const REQUESTS: usize = 200_000;
const KEYS: u64 = 100_000;
/// Characters for all requests.
const BAR: f64 = 80.0;
const VALUE: [u8; 1000] = [b'v'; 1000];

fn main() {
    let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let mut programs: Vec<PathBuf> = arguments.map(Into::into).collect();
    if programs.is_empty() {
        programs.extend([onefold()].into_iter().chain(redis()));
    }
    let (zipf, mut rng) = (Zipf::new(KEYS), Rng::from_seed(1));
    let trace: Vec<usize> = (0..REQUESTS).map(|_| zipf.key(&mut rng)).collect();
    println!(
        "server, policy, room in MB, samples: requests missed of a hundred, and by exact rules with as many"
    );
    println!("keys, ratio; a bar of what is missed, in which the exact rule's end is |");
    for program in &programs {
        for &(policy, rule) in POLICIES {
            CASES.iter().for_each(|&case| measure(program, policy, case, &trace, rule));
        }
    }
}

fn measure(program: &Path, policy: &str, (megabytes, samples): (u64, &str), trace: &[usize], rule: Rule) {
    let server =
        Server::start(program, &["--save", "", "--maxmemory-policy", policy, "--maxmemory-samples", samples]);
    let mut client = server.client();
    let limit = used(&mut client) + (megabytes << 20);
    client.run(&format!("CONFIG SET maxmemory {limit}"));
    let from = trace.len() / 2;
    let missed = (0..trace.len()).filter(|&index| !ask(&mut client, trace[index]) && index >= from).count();
    let Value::Integer(room) = client.run("DBSIZE") else { panic!("a server counts its keys") };
    let ideal = misses(trace, from, room as usize, rule);
    let percent = |count: usize| count as f64 * 100.0 / (trace.len() - from) as f64;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let (own, exact, ratio) = (percent(missed), percent(ideal), missed as f64 / ideal as f64);
    println!(
        "{name:16} {policy:12} {megabytes:2} {samples:>2}: {own:5.2} {exact:5.2} {ratio:5.3} {}",
        bar(own, exact)
    );
}

/// Of so many requests of a hundred, with a mark at as many others.
fn bar(own: f64, mark: f64) -> String {
    let [own, mark] = [own, mark].map(|percent| (percent / 100.0 * BAR).round() as usize);
    let shown = |at: usize| match at {
        at if at == mark => '|',
        at if at < own => '#',
        _ => ' ',
    };
    (0..=own.max(mark)).map(shown).collect()
}

/// False if the key was missed; it is there now.
fn ask(client: &mut Client, key: usize) -> bool {
    let key = format!("key:{key:06}");
    let found = client.call(&[b"GET", key.as_bytes()]) != Value::Bulk(None);
    if !found {
        testkit::client::ok(client.call(&[b"SET", key.as_bytes(), &VALUE]));
    }
    found
}

fn used(client: &mut Client) -> u64 {
    let Value::Bulk(Some(text)) = client.run("INFO memory") else { panic!("INFO is a text") };
    let text = String::from_utf8_lossy(&text);
    let figure = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
    figure.and_then(|figure| figure.trim().parse().ok()).expect("INFO says how much is used")
}
