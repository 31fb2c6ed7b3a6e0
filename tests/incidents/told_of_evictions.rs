//! Each key that was evicted was told to clients with client-side caching, what they were told and did not
//! read took memory, and the next key had to go for it, until none was left.

use testkit::{Client, Server, onefold};

use super::{number, ok};

const MEMORY: usize = 64 << 20;
const VALUE_LEN: usize = 1000;
/// As many values as are memory without what belongs to them.
const COUNT: usize = MEMORY / VALUE_LEN;
/// Keys whose place all clients may take with what they do not read: `maxmemory-clients` is a tenth.
const FOR_CLIENTS: usize = MEMORY / 10 / VALUE_LEN;

fn set(client: &mut Client, keys: std::ops::Range<usize>) {
    let value = "v".repeat(VALUE_LEN);
    for first in keys.clone().step_by(500) {
        let set = |key: usize| vec!["SET".to_string(), format!("key:{key}"), value.clone()];
        let requests: Vec<Vec<String>> = (first..keys.end.min(first + 500)).map(set).collect();
        client.pipeline(&requests).into_iter().for_each(ok);
    }
}

#[test]
fn who_is_told_of_evictions_evicts_nothing() {
    let _turn = super::turn();
    let memory = MEMORY.to_string();
    let limits = ["--save", "", "--maxmemory", &memory, "--maxmemory-policy", "allkeys-lru"];
    let server = Server::start(onefold(), &limits);
    let mut client = server.client();
    let keys = |client: &mut Client| client.run("DBSIZE").as_i64().expect("a number");
    set(&mut client, 0..COUNT);
    let deaf: Vec<Client> = (0..10)
        .map(|_| {
            let mut deaf = server.client();
            deaf.run("HELLO 3");
            ok(deaf.run("CLIENT TRACKING ON BCAST"));
            deaf
        })
        .collect();
    let (evicted_before, before) = (number(&mut client, "evicted_keys"), keys(&mut client));
    set(&mut client, COUNT..2 * COUNT);
    let evicted = number(&mut client, "evicted_keys") - evicted_before;
    let most = COUNT * 105 / 100 + FOR_CLIENTS;
    assert!(evicted < most as u64, "{evicted} keys for {COUNT} new ones");
    let left = keys(&mut client);
    assert!(left > before * 8 / 10, "{left} of {before} are left");
    drop(deaf);
}
